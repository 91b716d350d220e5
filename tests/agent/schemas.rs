//! What the real binary writes is held against the schemas that it prints.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

#[test]
fn records_of_captures_keep_to_the_schema_of_a_line() {
    let validator = validator();
    let mut lines = 0;
    for (file, tasks) in [
        ("dns/dns.pcap", &["headers", "dns"][..]),
        ("dns/a-and-ns.pcap", &["dns"]),
        ("headers/headers.pcap", &["headers"]),
        ("http2/grpc-unary.pcap", &["h2"]),
        ("http2/http2-multi.pcap", &["h2"]),
        ("http2/h2c_ascii.pcap", &["tlsheaders", "pfcp", "ecpri"]),
    ] {
        let source = format!("capture:meta=all,file={}/tests/data/{file}", env!("CARGO_MANIFEST_DIR"));
        let mut run = Command::new(env!("CARGO_BIN_EXE_tawon"));
        run.args(["run", "-t", &source]);
        for task in tasks {
            run.args(["-t", task]);
        }
        let output = run.args(["-t", "log"]).output().expect("tawon starts");
        assert!(output.status.success(), "{file}: {}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        text.lines().for_each(|line| keeps(&validator, line));
        lines += text.lines().count();
    }
    assert!(lines > 20, "{lines}");
}

#[test]
fn records_of_processes_keep_to_the_schema_of_a_line() {
    let validator = validator();
    let child = Command::new(env!("CARGO_BIN_EXE_tawon"))
        .args(["run", "-t", "exec:meta=all", "-t", "log", "--duration", "2s", "--if", "process.name=true"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("tawon starts");
    let ended = AtomicBool::new(false);
    let output = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                assert!(Command::new("true").status().expect("true").success());
            }
        });
        // It is read all the while: log waits for nobody.
        let output = child.wait_with_output().expect("a child");
        ended.store(true, Ordering::Relaxed);
        output
    });
    if output.status.code() == Some(3) {
        println!(
            "SKIPPED: records_of_processes_keep_to_the_schema_of_a_line: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        return;
    }
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(text.lines().count() >= 2, "{}", String::from_utf8_lossy(&output.stderr));
    text.lines().for_each(|line| keeps(&validator, line));
}

fn keeps(validator: &jsonschema::Validator, line: &str) {
    let record: Value = serde_json::from_str(line).expect("JSON");
    if let Err(error) = validator.validate(&record) {
        panic!("{error}\n{line}");
    }
}

fn validator() -> jsonschema::Validator {
    let output = Command::new(env!("CARGO_BIN_EXE_tawon")).args(["tasks", "--schema"]).output().expect("tawon starts");
    let schema = serde_json::from_slice(&output.stdout).expect("JSON");
    jsonschema::draft202012::new(&schema).expect("a schema")
}
