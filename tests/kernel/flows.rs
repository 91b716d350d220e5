//! TCP flows: each socket's once, with exactly its bytes, its owner and its times.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::SystemTime;

use serde_json::json;

use crate::agent::{Agent, Record, count};
use crate::worker::{self, Worker};

#[test]
fn connections_over_ipv4_are_counted_to_the_byte() {
    transfers("127.0.0.1:0", "127.0.0.1", "INET");
}

#[test]
fn connections_over_ipv6_are_counted_to_the_byte() {
    if TcpListener::bind("[::1]:0").is_err() {
        return println!("SKIPPED: connections_over_ipv6_are_counted_to_the_byte: no IPv6");
    }
    transfers("[::1]:0", "::1", "INET6");
}

#[test]
fn connections_to_mapped_addresses_are_written_as_ipv4() {
    if TcpListener::bind("[::]:0").is_err() {
        return println!("SKIPPED: connections_to_mapped_addresses_are_written_as_ipv4: no IPv6");
    }
    transfers("[::]:0", "127.0.0.1", "INET");
}

/// 23 connections of 1 MB each way between two processes, accepted by several threads.
fn transfers(listen: &str, to: &str, family: &str) {
    const BYTES: u64 = 1_000_000;
    let (name_of_server, name_of_client) = (worker::name("ts"), worker::name("tc"));
    let mut server = Worker::start(&name_of_server, &["serve", listen, "23", &BYTES.to_string()]);
    let port = server.numbers()[0];
    let at = if to.contains(':') { format!("[{to}]:{port}") } else { format!("{to}:{port}") };
    let mut client = Worker::start(&name_of_client, &["connect", &at, "23", &BYTES.to_string()]);
    let (server_pid, client_pid) = (server.pid(), client.pid());
    let agent = Agent::start(&directive("meta: all", &[&name_of_server, &name_of_client]));
    let before = nanoseconds();
    client.go();
    let ports: Vec<u64> = client.end().iter().map(|line| line.parse().unwrap()).collect();
    let accepted: HashMap<u64, u64> = server.end().iter().map(|line| pair(line)).collect();
    agent.until("46 ends", |records| count(records, "ended") >= 46);
    agent.until_shows("flow_flows_tracked", 0.0);
    agent.until_shows("flow_threads_tracked", 0.0);
    let after = nanoseconds();
    let found = agent.scrape();
    for missing in ["flow_missing_ended", "flow_missing_tid", "flow_missing_socket", "flow_missing_started"] {
        assert_eq!(found.value(missing), 0.0, "{missing}");
    }
    assert_eq!(found.value("flows_task_total{status=\"started\"}"), 46.0);
    assert_eq!(found.value("flows_task_total{status=\"ended\"}"), 46.0);
    let records = agent.stop();
    assert_eq!((count(&records, "started"), count(&records, "ended")), (46, 46));
    let mut seen = HashMap::<(u64, String), u32>::new();
    for record in &records {
        let outbound = record.text("direction") == "outbound";
        let (own, peer) = match outbound {
            true => (record.number("net.selfPort"), record.number("net.peerPort")),
            false => (record.number("net.peerPort"), record.number("net.selfPort")),
        };
        assert!(ports.contains(&own) && peer == port, "{record:?}");
        *seen.entry((own, format!("{} {}", record.text("direction"), record.text("state")))).or_default() += 1;
        let (pid, name) = if outbound { (client_pid, &name_of_client) } else { (server_pid, &name_of_server) };
        assert_eq!((record.number("process.pid"), record.text("process.name")), (u64::from(pid), &**name));
        let tid = if outbound { u64::from(client_pid) } else { accepted[&own] };
        assert_eq!(record.number("process.tid"), tid);
        for (field, value) in [("proto", "TCP"), ("af", family), ("selfAddr", to), ("peerAddr", to)] {
            assert_eq!(record.text(&format!("net.{field}")), value, "{record:?}");
        }
        assert!(record.number("net.netns") > 0);
        assert!((before..=after).contains(&record.number("tsNs")));
        if record.is("ended") {
            assert_eq!((record.number("bytesTX"), record.number("bytesRX")), (BYTES, BYTES), "{record:?}");
            assert_eq!(record.text("closeReason"), "fin");
            let [started, established, ended] =
                ["startedAt", "establishedAt", "endedAt"].map(|field| record.text(field).to_owned());
            assert!(started <= established && established < ended, "{record:?}");
        }
    }
    assert!(seen.len() == 92 && seen.values().all(|times| *times == 1), "{seen:?}");
}

#[test]
fn refused_connections_are_one_flow_each() {
    let name = worker::name("tr");
    let mut worker = Worker::start(&name, &["refused", "1000"]);
    let (port, pid) = (worker.numbers()[0], worker.pid());
    let agent = Agent::start(&directive("{}", &[&name]));
    worker.go();
    worker.end();
    agent.until("1 000 ends", |records| records.len() >= 1000);
    agent.until_shows("flow_flows_tracked", 0.0);
    let records = agent.stop();
    assert_eq!((count(&records, "ended"), records.len()), (1000, 1000));
    let mut flows = std::collections::HashSet::new();
    for record in &records {
        assert!(flows.insert(record.text("flowID").to_owned()));
        assert_eq!(record.text("closeReason"), "rst_received");
        assert_eq!(record.text("direction"), "outbound");
        assert_eq!((record.number("net.peerPort"), record.number("process.pid")), (port, u64::from(pid)));
        assert!(record.number("net.selfPort") > 0);
        assert!(record.at("startedAt").is_string() && record.at("endedAt").is_string());
        assert!(record.at("establishedAt").is_null());
    }
}

#[test]
fn a_connect_that_nobody_answers_times_out() {
    let name = worker::name("to");
    let mut worker = Worker::start(&name, &["time-out"]);
    let agent = Agent::start(&directive("{}", &[&name]));
    worker.go();
    let said = worker.end();
    if said[0].starts_with("cannot") {
        return println!("SKIPPED: a_connect_that_nobody_answers_times_out: {}", said[0]);
    }
    assert_eq!(said[0], libc::ETIMEDOUT.to_string());
    agent.until("the end", |records| records.len() == 1);
    let records = agent.stop();
    assert_eq!(records.len(), 1);
    let record = &records[0];
    assert!(record.is("ended"));
    assert_eq!((record.text("closeReason"), record.text("net.peerAddr")), ("timeout", "192.0.2.2"));
    assert_eq!((record.number("net.peerPort"), record.text("process.name")), (7, &*name));
}

#[test]
fn a_connection_older_than_the_agent_ends_without_a_start() {
    let (name_of_server, name_of_client) = (worker::name("tv"), worker::name("tw"));
    let mut server = Worker::start(&name_of_server, &["serve", "127.0.0.1:0", "3", "100"]);
    let at = format!("127.0.0.1:{}", server.numbers()[0]);
    let mut client = Worker::start(&name_of_client, &["connect-and-hold", &at, "3"]);
    let ports: Vec<u64> = (0..3).map(|_| client.numbers()[0]).collect();
    let agent = Agent::start(&directive("{}", &[&name_of_server, &name_of_client]));
    if agent.stderr().contains("connections that were open before the agent are seen only") {
        return println!("SKIPPED: a_connection_older_than_the_agent_ends_without_a_start: no iterator over sockets");
    }
    agent.until_shows("flow_flows_tracked", 6.0);
    for _ in 0..3 {
        client.go();
    }
    client.go();
    client.end();
    server.end();
    agent.until("6 ends", |records| count(records, "ended") >= 6);
    agent.until_shows("flow_flows_tracked", 0.0);
    assert_eq!(agent.scrape().value("flow_missing_started"), 6.0);
    let records = agent.stop();
    assert_eq!((count(&records, "ended"), records.len()), (6, 6));
    for record in &records {
        assert!(record.at("startedAt").is_null() && record.at("endedAt").is_string(), "{record:?}");
        let outbound = ports.contains(&record.number("net.selfPort"));
        let (name, tx) = if outbound { (&name_of_client, 30) } else { (&name_of_server, 100) };
        assert_eq!((record.text("process.name"), record.number("bytesTX")), (&**name, tx), "{record:?}");
    }
}

#[test]
fn flows_that_are_open_when_the_directive_goes_end_without_an_end() {
    let (name_of_server, name_of_client) = (worker::name("tx"), worker::name("ty"));
    let agent = Agent::start(&directive("{}", &[&name_of_server, &name_of_client]));
    let mut server = Worker::start(&name_of_server, &["serve", "127.0.0.1:0", "5", "0"]);
    let at = format!("127.0.0.1:{}", server.numbers()[0]);
    let mut client = Worker::start(&name_of_client, &["connect-and-hold", &at, "5"]);
    (0..5).for_each(|_| drop(client.line()));
    client.go();
    client.line();
    agent.until("10 starts", |records| count(records, "started") == 10);
    agent.reload("  []");
    agent.until("10 ends", |records| count(records, "ended") == 10);
    agent.until_shows("flow_flows_tracked", 0.0);
    agent.until_shows("flow_threads_tracked", 0.0);
    let found = agent.scrape();
    assert_eq!((found.value("flow_missing_ended"), found.value("flow_missing_started")), (10.0, 0.0));
    assert_eq!(found.value("directives_ran_total{status=\"stopped\",tawonID=\"test\"}"), 1.0);
    let records = agent.stop();
    for record in records.iter().filter(|record| record.is("ended")) {
        assert!(record.at("endedAt").is_null() && record.at("closeReason").is_null(), "{record:?}");
        let outbound = record.text("direction") == "outbound";
        let field = if outbound { "bytesTX" } else { "bytesRX" };
        assert_eq!(record.number(field), 10, "statistics are as they are at the end: {record:?}");
    }
    for _ in 0..3 {
        client.go();
    }
    client.end();
    server.end();
}

#[test]
fn open_flows_are_told_of_at_every_interval() {
    let (name_of_server, name_of_client) = (worker::name("ti"), worker::name("tj"));
    let mut server = Worker::start(&name_of_server, &["serve", "127.0.0.1:0", "2", "0"]);
    let at = format!("127.0.0.1:{}", server.numbers()[0]);
    let agent = Agent::start(&directive("interval: 1s, meta: process", &[&name_of_server, &name_of_client]));
    let mut client = Worker::start(&name_of_client, &["connect-and-hold", &at, "2"]);
    (0..2).for_each(|_| drop(client.line()));
    for bytes in [10, 20, 30] {
        client.go();
        client.line();
        let told =
            |record: &Record| record.is("ongoing") && record.number("bytesTX").max(record.number("bytesRX")) == bytes;
        agent.until("an ongoing record of each flow", |records| {
            let flows: std::collections::HashSet<_> =
                records.iter().filter(|record| told(record)).map(|record| record.text("flowID")).collect();
            flows.len() == 4
        });
    }
    client.go();
    client.end();
    server.end();
    agent.until("4 ends", |records| count(records, "ended") == 4);
    let records = agent.stop();
    for record in records.iter().filter(|record| record.is("ongoing")) {
        assert!(record.at("endedAt").is_null() && record.at("startedAt").is_string(), "{record:?}");
        assert!(record.at("process.tid").is_number(), "{record:?}");
    }
}

#[test]
fn connections_that_nobody_accepts_are_their_listeners() {
    let name = worker::name("tu");
    let agent = Agent::start(&directive("{}", &[&name]));
    let mut listener = Worker::start(&name, &["never-accept"]);
    let (port, pid) = (listener.numbers()[0] as u16, listener.pid());
    let mut streams: Vec<TcpStream> = (0..3).map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap()).collect();
    streams.iter_mut().for_each(|stream| stream.write_all(b"hello").unwrap());
    agent.until("3 starts", |records| count(records, "started") == 3);
    listener.go();
    for stream in &mut streams {
        assert!(stream.read(&mut [0]).is_err(), "the listener's end resets it");
    }
    agent.until("3 ends", |records| count(records, "ended") == 3);
    listener.go();
    listener.end();
    let records = agent.stop();
    assert_eq!(records.len(), 6);
    for record in &records {
        assert_eq!(record.text("direction"), "inbound");
        assert_eq!(record.number("process.pid"), u64::from(pid));
        assert!(record.at("process.tid").is_null());
        if record.is("ended") {
            assert_eq!((record.text("closeReason"), record.number("bytesRX")), ("never_accepted", 5), "{record:?}");
        }
    }
}

#[test]
fn a_filter_lets_through_what_it_names_and_counts_the_rest() {
    let (name_of_server, name_of_client) = (worker::name("tg"), worker::name("th"));
    let mut servers = [0, 1].map(|_| Worker::start(&name_of_server, &["serve", "127.0.0.1:0", "4", "10"]));
    let ports = servers.each_mut().map(|server| server.numbers()[0]);
    let options = format!("filter: dst port {}", ports[0]);
    let agent = Agent::start(&directive(&options, &[&name_of_server, &name_of_client]));
    for port in ports {
        let mut client = Worker::start(&name_of_client, &["connect", &format!("127.0.0.1:{port}"), "4", "10"]);
        client.go();
        client.end();
    }
    servers.into_iter().for_each(|server| drop(server.end()));
    agent.until("8 ends", |records| count(records, "ended") == 8);
    agent.until_shows("flows_task_total{status=\"filtered\"}", 8.0);
    agent.until_shows("flow_flows_tracked", 0.0);
    let records = agent.stop();
    assert_eq!((count(&records, "started"), count(&records, "ended")), (8, 8));
    for record in &records {
        assert!([record.at("net.selfPort"), record.at("net.peerPort")].contains(&&json!(ports[0])));
    }
}

#[test]
fn what_finds_the_table_of_sockets_full_is_counted_as_that_and_as_nothing_else() {
    // The listener and both ends of each connection, less what there is room for.
    let full = "tawon_bpf_errors_total{module=\"flows\",program=\"tawon_set_state\",reason=\"socket_map_full\"}";
    let expected = [(full.to_owned(), 65.0)];
    // Whoever else of the machine opens a socket meanwhile is counted too: then once more.
    let mut errors = full_table();
    for _ in 0..20 {
        if errors != expected {
            errors = full_table();
        }
    }
    assert_eq!(errors, expected);
}

/// The errors that 40 connections make where there is room for 16 sockets.
fn full_table() -> Vec<(String, f64)> {
    let (server, client) = (worker::name("tf"), worker::name("tg"));
    let agent = Agent::alone("limits: {flows: 16}", &directive("{}", &[&server, &client]));
    // Stopped, it lets nothing go to make room.
    agent.freeze();
    let mut server = Worker::start(&server, &["never-accept"]);
    let mut client = Worker::start(&client, &["connect-and-hold", &format!("127.0.0.1:{}", server.numbers()[0]), "40"]);
    (0..40).for_each(|_| drop(client.line()));
    (0..4).for_each(|_| client.go());
    client.end();
    (0..2).for_each(|_| server.go());
    server.end();
    agent.thaw();
    let found = agent.wait_for_idle("flows");
    found.nonzero("tawon_bpf_errors_total").into_iter().map(|(series, count)| (series.to_owned(), count)).collect()
}

/// `flows` of the processes of these names.
pub fn directive(options: &str, names: &[&str]) -> String {
    format!(
        "  - name: test\n    condition: {{regex: {{field: process.name, regex: \"^({})$\"}}}}\n    tasks:\n      \
         - {{task: flows, config: {{{}}}}}\n      - {{task: log}}",
        names.join("|"),
        if options == "{}" { "meta: process" } else { options }
    )
}

fn pair(line: &str) -> (u64, u64) {
    let (a, b) = line.split_once(' ').expect("two numbers");
    (a.parse().unwrap(), b.parse().unwrap())
}

fn nanoseconds() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos() as u64
}
