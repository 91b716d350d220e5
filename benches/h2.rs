//! The whole offline pipeline, `capture` of a file through `h2` into the null device, beside tshark on the
//! same file in the same run: requests and bytes per second of processor time, and the ratio.
//!
//! `scripts/h2-captures target/h2-captures` makes the files; TAWON_H2_CAPTURES names another directory.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Pinned: what tshark has to tell is a fraction of what a record says.
const TSHARK: [&str; 14] = [
    "-n",
    "-d",
    "tcp.port==8080,http2",
    "-Y",
    "http2.type==1",
    "-T",
    "fields",
    "-e",
    "http2.streamid",
    "-e",
    "http2.headers.path",
    "-e",
    "http2.headers.status",
    "-l",
];

fn main() {
    let directory = std::env::var_os("TAWON_H2_CAPTURES")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target/h2-captures"), PathBuf::from);
    println!(
        "{:<14}{:>10}{:>14}{:>12}{:>14}{:>8}{:>12}",
        "capture", "requests", "tawon req/s", "MB/s", "tshark req/s", "ratio", "tawon KiB"
    );
    for name in ["h2load.pcap", "stories.pcap", "sbi.pcap"] {
        let file = directory.join(name);
        let Ok(meta) = file.metadata() else {
            println!("{name}: not in {}; scripts/h2-captures makes it", directory.display());
            continue;
        };
        let (ours, memory, requests) = tawon(&file);
        let theirs = tshark(&file);
        let rate = |time: Duration| requests as f64 / time.as_secs_f64();
        println!(
            "{name:<14}{requests:>10}{:>14.0}{:>12.1}{:>14.0}{:>8.1}{memory:>12}",
            rate(ours),
            meta.len() as f64 / 1e6 / ours.as_secs_f64(),
            rate(theirs),
            theirs.as_secs_f64() / ours.as_secs_f64()
        );
    }
}

/// Processor time, the most memory in KiB, and how many records were written.
fn tawon(file: &Path) -> (Duration, i64, u64) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tawon"));
    command.args(["run", "-t"]).arg(format!("capture:file={}", file.display()));
    command.args(["-t", "h2", "-t", "file:path=/dev/null"]).stderr(Stdio::piped());
    let before = children();
    let output = command.output().expect("tawon runs");
    let after = children();
    let summary = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{summary}");
    let written = summary.split("file written ").nth(1).and_then(|rest| rest.split(',').next());
    (after.0 - before.0, after.1, written.and_then(|count| count.trim().parse().ok()).expect("a summary"))
}

fn tshark(file: &Path) -> Duration {
    let before = children();
    let status = Command::new("tshark")
        .arg("-r")
        .arg(file)
        .args(TSHARK)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .expect("tshark runs");
    assert!(status.success());
    children().0 - before.0
}

/// Processor time and the largest resident set of the children that have ended.
fn children() -> (Duration, i64) {
    // SAFETY: getrusage fills in the structure it is given.
    let usage = unsafe {
        let mut usage = std::mem::zeroed::<libc::rusage>();
        libc::getrusage(libc::RUSAGE_CHILDREN, &mut usage);
        usage
    };
    let time = |time: libc::timeval| Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1000);
    (time(usage.ru_utime) + time(usage.ru_stime), usage.ru_maxrss)
}
