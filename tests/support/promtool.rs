//! `promtool check metrics`: Prometheus's own parser and lint of a scrape.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};

pub struct Promtool(());

/// None, with the reason printed, where the machine has no promtool.
pub fn find() -> Option<Promtool> {
    if Command::new("promtool").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok() {
        return Some(Promtool(()));
    }
    eprintln!("skipped: promtool (package prometheus) is not installed");
    None
}

impl Promtool {
    /// Its findings, one line each. Panics where the text cannot be parsed at all.
    pub fn check(&self, text: &str) -> BTreeSet<String> {
        let mut child = Command::new("promtool")
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("promtool starts");
        child.stdin.take().expect("piped").write_all(text.as_bytes()).expect("promtool reads");
        let output = child.wait_with_output().expect("promtool ends");
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(matches!(output.status.code(), Some(0 | 3)), "{:?}: {said}", output.status);
        said.lines().map(str::to_owned).collect()
    }
}
