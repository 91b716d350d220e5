//! tshark as an independent decoder, and the other programs that come with it.

use std::path::Path;
use std::process::Command;

/// The rows of `tshark -T fields`: every value of each field, one list per field and frame.
pub fn fields(file: &Path, more: &[&str], fields: &[&str]) -> Vec<Vec<Vec<String>>> {
    let mut command = Command::new("tshark");
    // addresses and ports as numbers; no name resolution of any kind
    command.args(["-n", "-r"]).arg(file).args(more).args(["-T", "fields", "-E", "separator=\x1f"]);
    command.args(["-E", "aggregator=\x1e"]);
    for field in fields {
        command.args(["-e", field]);
    }
    let output = output(&mut command);
    output
        .lines()
        .map(|line| {
            let values = |cell: &str| match cell {
                // None, or a single empty one: tshark does not tell which.
                "" => Vec::new(),
                _ => cell.split('\x1e').map(str::to_owned).collect(),
            };
            line.split('\x1f').map(values).collect()
        })
        .collect()
}

/// Standard output of a program that must end well.
pub fn output(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
