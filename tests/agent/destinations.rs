//! `log` and `file` of the real agent and of `tawon run`.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::agent::{Agent, PATIENCE};

#[test]
fn a_lone_record_comes_and_a_closed_pipe_ends_run_in_order() {
    let name = format!("lone{}", std::process::id());
    let (mut run, mut lines) = start(&["-t", "exec", "-t", "log", "--if", &format!("process.name={name}")]);
    // No copy: what other tests fork meanwhile would have it open for writing, which then cannot be exec'd.
    let program = std::env::temp_dir().join(&name);
    std::os::unix::fs::symlink("/bin/true", &program).expect("a link");
    // Until the first one is seen the programs may not be attached yet.
    let end = Instant::now() + PATIENCE;
    let (tell, told) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        let mut line = String::new();
        lines.read_line(&mut line).expect("a line");
        tell.send(line).expect("awaited");
        // The pipe is closed here.
    });
    let line = loop {
        assert!(Command::new(&program).status().expect("runs").success());
        match told.recv_timeout(Duration::from_millis(300)) {
            Ok(line) => break line,
            Err(_) => assert!(Instant::now() < end, "no record in {PATIENCE:?}"),
        }
    };
    reader.join().expect("read");
    let json: serde_json::Value = serde_json::from_str(&line).expect("one record on one line");
    assert_eq!((&json["data"][0]["type"], &json["data"][0]["data"]["process"]["name"]), (&"exec".into(), &name.into()));
    let code = loop {
        assert!(Command::new(&program).status().expect("runs").success());
        if let Some(status) = run.try_wait().expect("a child") {
            break status.code();
        }
        assert!(Instant::now() < end + PATIENCE, "the closed pipe is not noticed");
        std::thread::sleep(Duration::from_millis(50));
    };
    let _ = std::fs::remove_file(program);
    assert_eq!(code, Some(0));
}

#[test]
fn a_pipe_that_closes_while_nothing_happens_ends_run_in_order() {
    let (mut run, lines) = start(&["-t", "exec", "-t", "log", "--if", "process.name=nobody"]);
    drop(lines);
    let end = Instant::now() + PATIENCE;
    let code = loop {
        if let Some(status) = run.try_wait().expect("a child") {
            break status.code();
        }
        assert!(Instant::now() < end, "the closed pipe is not noticed");
        std::thread::sleep(Duration::from_millis(20));
    };
    assert_eq!(code, Some(0));
}

#[test]
fn a_replayed_file_waits_for_a_slow_reader_and_loses_nothing() {
    let file = std::env::temp_dir().join(format!("tawon-replay-{}.pcap", std::process::id()));
    let frames: u32 = 60_000;
    std::fs::write(&file, frames_of(frames)).expect("written");
    let (mut run, mut lines) = start(&["-t", &format!("capture:file={}", file.display()), "-t", "log"]);
    let mut got = Vec::new();
    let mut buffer = vec![0; 256 << 10];
    loop {
        let read = lines.read(&mut buffer).expect("a pipe");
        if read == 0 {
            break;
        }
        got.extend_from_slice(&buffer[..read]);
        // Slower than the file is read, so that the queue fills.
        std::thread::sleep(Duration::from_millis(2));
    }
    let status = run.wait().expect("ends");
    let _ = std::fs::remove_file(file);
    assert!(got.len() > 9 << 20, "{} bytes would fit the queue", got.len());
    assert_eq!(got.iter().filter(|byte| **byte == b'\n').count() as u32, frames);
    let last = got.split(|byte| *byte == b'\n').rev().nth(1).expect("a line");
    assert!(serde_json::from_slice::<serde_json::Value>(last).is_ok());
    assert_eq!(status.code(), Some(0));
}

#[test]
fn what_no_reader_took_within_the_flush_is_told_as_dropped() {
    let directory = std::env::temp_dir().join(format!("tawon-unread-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory");
    let (frames, pipe) = (directory.join("frames.pcap"), directory.join("pipe"));
    std::fs::write(&frames, frames_of(2_000)).expect("written");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("runs").success());
    let source = format!("capture:file={}", frames.display());
    let runs = ["log".to_owned(), format!("file:path={}", pipe.display())].map(|destination| {
        // Its standard output is held open and never read.
        Command::new(env!("CARGO_BIN_EXE_tawon"))
            .args(["run", "-t", &source, "-t", &destination])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("tawon starts")
    });
    let agent = Agent::start(
        "unread",
        &format!(
            "metrics: {{listen: PORT}}\nprobes: {{listen: PORT}}\ndirectives:\n  - name: a\n    tasks: [{{task: capture, config: {{file: {}}}}}, {{task: file, config: {{path: {}}}}}]\n",
            frames.display(),
            pipe.display()
        ),
    );
    for mut run in runs {
        let _unread = run.stdout.take();
        let mut told = String::new();
        run.stderr.take().expect("piped").read_to_string(&mut told).expect("text");
        assert_eq!(run.wait().expect("ends").code(), Some(0), "{told}");
        let summary = told.lines().find(|line| line.starts_with("tawon: completed, 2000 events, ")).expect("a summary");
        let count = |name: &str| -> u64 {
            let (_, behind) = summary.split_once(name).unwrap_or_else(|| panic!("{name}: {summary}"));
            behind.trim_start().split(',').next().and_then(|count| count.parse().ok()).expect("a number")
        };
        assert!(count("dropped") > 1_000 && count("written") + count("dropped") == 2_000, "{summary}");
    }
    let dropped = format!("tawon_sink_records_total{{sink=\"file:{}\",status=\"dropped\"}}", pipe.display());
    agent.until("all dropped", || agent.value(&dropped) == Some(2_000.0));
    agent.until("rid of the queue", || !agent.metrics().contains("tawon_sink_queue_bytes{"));
    let threads = std::path::PathBuf::from(format!("/proc/{}/task", agent.pid()));
    agent.until("rid of the thread", || {
        let threads = std::fs::read_dir(&threads).expect("threads").flatten();
        let name = |path: std::path::PathBuf| std::fs::read_to_string(path.join("comm")).unwrap_or_default();
        threads.map(|thread| name(thread.path())).all(|name| name.trim() != "sink")
    });
    assert!(agent.stop().success());
    let _ = std::fs::remove_dir_all(directory);
}

#[test]
fn several_directives_share_standard_output_and_a_file_line_by_line() {
    let agent = Agent::start("shared-output", CONFIG);
    let marks: BTreeSet<String> = (0..100).map(|at| format!("mark-{}-{at}", agent.pid())).collect();
    for mark in &marks {
        assert!(Command::new("/bin/true").arg(mark).status().expect("runs").success());
    }
    let directory = agent.directory.clone();
    let seen = |name: &str| {
        let text = std::fs::read_to_string(directory.join(name)).unwrap_or_default();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let mut seen = [BTreeSet::new(), BTreeSet::new()];
        for line in whole.lines() {
            let json: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{name}: {line}"));
            let data = &json["data"][0]["data"];
            if let Some(mark) =
                data["args"][1].as_str().filter(|mark| marks.contains(*mark) && data["state"] == "started")
            {
                assert!(seen[usize::from(json["directive"] == "b")].insert(mark.to_owned()), "twice: {line}");
            }
        }
        seen
    };
    for name in ["stdout", "both"] {
        agent.until("all in both directives", || seen(name).iter().all(|seen| *seen == marks));
    }
    assert!(agent.stop().success());
}

/// `tawon run`, and its standard output.
fn start(arguments: &[&str]) -> (Child, BufReader<ChildStdout>) {
    let mut run = Command::new(env!("CARGO_BIN_EXE_tawon"))
        .arg("run")
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("tawon starts");
    let lines = BufReader::new(run.stdout.take().expect("piped"));
    (run, lines)
}

/// A capture file of UDP datagrams over Ethernet.
fn frames_of(count: u32) -> Vec<u8> {
    let mut file = Vec::new();
    for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65_535, 1] {
        file.extend_from_slice(&word.to_le_bytes());
    }
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];
    frame.extend_from_slice(&[0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2]);
    frame.extend_from_slice(&[0x30, 0x39, 0x30, 0x3a, 0, 26, 0, 0]);
    frame.extend_from_slice(&[0; 18]);
    for at in 0..count {
        for word in [1_700_000_000 + at / 1000, at % 1000 * 1000, frame.len() as u32, frame.len() as u32] {
            file.extend_from_slice(&word.to_le_bytes());
        }
        file.extend_from_slice(&frame);
    }
    file
}

const CONFIG: &str = "
metrics: {listen: \"PORT\"}
probes: {listen: \"PORT\"}
directives:
  - name: a
    tasks: [{task: exec}, {task: log}, {task: file, config: {path: DIR/both}}]
  - name: b
    tasks: [{task: exec}, {task: log}, {task: file, config: {path: DIR/./both}}]
";
