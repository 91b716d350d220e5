//! Python with the pinned scapy: that of `TAWON_PYTHON`, else one made once under `target`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The interpreter; None, with the reason printed, where there is none with scapy or no tshark.
pub fn python() -> Option<PathBuf> {
    static FOUND: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    match FOUND.get_or_init(find) {
        Ok(python) => Some(python.clone()),
        Err(reason) => {
            eprintln!("skipped: {reason}");
            None
        }
    }
}

/// Runs a script of tests/scapy and expects it to succeed; what it printed.
pub fn run(python: &Path, script: &str, args: &[&str]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scapy").join(script);
    let output = Command::new(python).arg(&script).args(args).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{} failed:\n{out}\n{err}", script.display());
    out.into_owned()
}

fn find() -> Result<PathBuf, String> {
    if !works(Path::new("tshark"), &["--version"]) {
        return Err("tshark is not installed".to_owned());
    }
    if let Some(python) = std::env::var_os("TAWON_PYTHON").map(PathBuf::from) {
        return Ok(python);
    }
    let venv = Path::new(env!("CARGO_TARGET_TMPDIR")).join("scapy");
    let python = venv.join("bin/python");
    if works(&python, &["-c", "import scapy"]) {
        return Ok(python);
    }
    let requirements = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scapy/requirements.txt");
    let made = works(Path::new("python3"), &["-m", "venv", venv.to_str().unwrap_or_default()])
        && works(&python, &["-m", "pip", "-q", "install", "-r", requirements.to_str().unwrap_or_default()]);
    if made { Ok(python) } else { Err("scapy cannot be installed".to_owned()) }
}

fn works(program: &Path, args: &[&str]) -> bool {
    Command::new(program).args(args).output().is_ok_and(|output| output.status.success())
}
