//! What the real binary writes is held against the schemas that it prints.

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;
use socket2::{Domain, Socket, Type};

use crate::support::agent::Agent;

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

#[test]
fn records_of_flows_keep_to_the_schema_of_a_line() {
    let validator = validator();
    let agent = Agent::start("flow-schema", FLOWS);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = listener.local_addr().expect("bound");
    // Taken, so that nobody else gets it, and not listened on.
    let taken = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    taken.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a port");
    let nobody = taken.local_addr().expect("bound").as_socket().expect("an address");
    // Open for longer than the interval.
    let held = (TcpStream::connect(at).expect("connects"), listener.accept().expect("accepts"));
    for _ in 0..23 {
        let mut client = TcpStream::connect(at).expect("connects");
        client.write_all(b"23").expect("sends");
        let (server, _) = listener.accept().expect("accepts");
        // Unread: a reset.
        drop((server, client));
        assert!(TcpStream::connect(nobody).is_err());
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
        socket.send_to(b"23", at).expect("sends");
    }
    let lines = || std::fs::read_to_string(agent.directory.join("stdout")).unwrap_or_default();
    agent.until("records of every kind", || {
        let text = lines();
        let count = |what: &str| text.lines().filter(|line| line.contains(what)).count();
        text.ends_with('\n')
            && count("\"ongoing\"") > 0
            && count("\"ended\"") >= 23 * 3
            && count("\"proto\":\"UDP\"") >= 23
    });
    drop(held);
    let text = lines();
    text.lines().for_each(|line| keeps(&validator, line));
    assert!(agent.stop().success());
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

const FLOWS: &str = "\
metrics: {listen: \"PORT\"}
probes: {listen: \"PORT\"}
directives:
  - name: connections
    tasks:
      - {task: flows, config: {meta: all, interval: 1s}}
      - task: log
";
