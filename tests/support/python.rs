//! Python with the pinned packages of tests/requirements.txt: that of `TAWON_PYTHON`, else one made once
//! under `target`, where scripts/install-deps makes it too.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The interpreter; None, with the reason printed, where there is none with these packages.
pub fn find() -> Option<PathBuf> {
    static FOUND: OnceLock<Option<PathBuf>> = OnceLock::new();
    FOUND.get_or_init(look).clone()
}

fn look() -> Option<PathBuf> {
    if let Some(python) = std::env::var_os("TAWON_PYTHON").map(PathBuf::from) {
        return Some(python);
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let venv = root.join("target/venv");
    let python = venv.join("bin/python");
    let requirements = root.join("tests/requirements.txt");
    if works(&python, &["-c", "import scapy, grpc"]) {
        return Some(python);
    }
    let made = works(Path::new("python3"), &["-m", "venv", venv.to_str().unwrap_or_default()])
        && works(&python, &["-m", "pip", "-q", "install", "-r", requirements.to_str().unwrap_or_default()]);
    if made {
        return Some(python);
    }
    eprintln!("skipped: {} cannot be installed", requirements.display());
    None
}

/// Whether a program runs and ends well.
pub fn works(program: &Path, args: &[&str]) -> bool {
    Command::new(program).args(args).output().is_ok_and(|output| output.status.success())
}
