//! The whole offline pipeline, `capture` of a file through `h2` into the null device, beside tshark on the
//! same file in the same run: requests and bytes per second, and the ratio, that of processor time too
//! (the pipeline reads and writes beside its decoding, tshark is one thread). Of the pipeline, which
//! takes a fraction of a second, it is the median of five runs. Then the most memory that it has had by
//! each tenth of the file.
//!
//! `scripts/h2-captures target/h2-captures` makes the files; TAWON_H2_CAPTURES names another directory.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

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
        "{:<14}{:>10}{:>14}{:>8}{:>14}{:>8}{:>8}  most MiB by each tenth of the file",
        "capture", "requests", "tawon req/s", "MB/s", "tshark req/s", "ratio", "of CPU"
    );
    for name in ["h2load.pcap", "stories.pcap", "sbi.pcap"] {
        let file = directory.join(name);
        let Ok(meta) = file.metadata() else {
            println!("{name}: not in {}; scripts/h2-captures makes it", directory.display());
            continue;
        };
        let mut runs = [(); 5].map(|()| tawon(&file));
        runs.sort();
        let (ours, requests) = runs[2];
        let theirs = tshark(&file);
        let rate = |took: Took| requests as f64 / took.elapsed.as_secs_f64();
        print!(
            "{name:<14}{requests:>10}{:>14.0}{:>8.1}{:>14.0}{:>8.1}{:>8.1} ",
            rate(ours),
            meta.len() as f64 / 1e6 / ours.elapsed.as_secs_f64(),
            rate(theirs),
            theirs.elapsed.as_secs_f64() / ours.elapsed.as_secs_f64(),
            theirs.processor.as_secs_f64() / ours.processor.as_secs_f64()
        );
        memory(&file, meta.len()).iter().for_each(|most| print!(" {:.1}", *most as f64 / 1024.0));
        println!();
    }
}

/// The pipeline's largest resident set in KiB by each tenth of the file.
fn memory(file: &Path, size: u64) -> Vec<u64> {
    let mut child = pipeline(file).stderr(Stdio::null()).spawn().expect("tawon runs");
    let pid = child.id();
    let of = |name: &str| format!("/proc/{pid}/{name}");
    let (status, open) = (of("status"), of("fd"));
    // The place in the file is that of the descriptor that has it open.
    let place = || -> Option<u64> {
        let fds = std::fs::read_dir(&open).ok()?.flatten();
        let fd = fds.into_iter().find(|fd| std::fs::read_link(fd.path()).is_ok_and(|path| path == file))?;
        let info = std::fs::read_to_string(of("fdinfo") + "/" + fd.file_name().to_str()?).ok()?;
        info.lines().find_map(|line| line.strip_prefix("pos:")?.trim().parse().ok())
    };
    let most = || -> Option<u64> {
        let status = std::fs::read_to_string(&status).ok()?;
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok())
    };
    let mut tenths = Vec::new();
    while tenths.len() < 10 {
        let (at, most) = (place(), most());
        match (at, most) {
            (Some(at), Some(most)) if at >= size / 10 * (tenths.len() as u64 + 1) => tenths.push(most),
            (None, _) | (_, None) if child.try_wait().is_ok_and(|ended| ended.is_some()) => break,
            _ => std::thread::sleep(Duration::from_micros(200)),
        }
    }
    child.wait().expect("ends");
    tenths
}

fn pipeline(file: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tawon"));
    command.args(["run", "-t"]).arg(format!("capture:file={}", file.display()));
    command.args(["-t", "h2", "-t", "file:path=/dev/null"]);
    command
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Took {
    elapsed: Duration,
    processor: Duration,
}

fn took<T>(run: impl FnOnce() -> T) -> (Took, T) {
    let (before, from) = (children(), Instant::now());
    let result = run();
    (Took { elapsed: from.elapsed(), processor: children() - before }, result)
}

/// What the pipeline took, and how many records were written.
fn tawon(file: &Path) -> (Took, u64) {
    let (took, output) = took(|| pipeline(file).stderr(Stdio::piped()).output().expect("tawon runs"));
    let summary = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{summary}");
    let written = summary.split("file written ").nth(1).and_then(|rest| rest.split(',').next());
    (took, written.and_then(|count| count.trim().parse().ok()).expect("a summary"))
}

fn tshark(file: &Path) -> Took {
    let mut command = Command::new("tshark");
    command.arg("-r").arg(file).args(TSHARK).stdout(Stdio::null()).stderr(Stdio::null());
    let (took, status) = took(|| command.status().expect("tshark runs"));
    assert!(status.success());
    took
}

/// Processor time of the children that have ended.
fn children() -> Duration {
    // SAFETY: getrusage fills in the structure it is given.
    let usage = unsafe {
        let mut usage = std::mem::zeroed::<libc::rusage>();
        libc::getrusage(libc::RUSAGE_CHILDREN, &mut usage);
        usage
    };
    let time = |time: libc::timeval| Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1000);
    time(usage.ru_utime) + time(usage.ru_stime)
}
