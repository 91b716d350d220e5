//! Traffic made and taken apart by scapy, beside tshark.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::python;

/// The interpreter; None, with the reason printed, where there is none with scapy or no tshark.
pub fn python() -> Option<PathBuf> {
    if !python::works(Path::new("tshark"), &["--version"]) {
        eprintln!("skipped: tshark is not installed");
        return None;
    }
    python::find()
}

/// Runs a script of tests/scapy and expects it to succeed; what it printed.
pub fn run(python: &Path, script: &str, args: &[&str]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scapy").join(script);
    let output = Command::new(python).arg(&script).args(args).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{} failed:\n{out}\n{err}", script.display());
    out.into_owned()
}
