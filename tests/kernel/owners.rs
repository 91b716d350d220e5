//! Whose a connection is, however it came to whoever uses it.

use std::collections::HashMap;
use std::io::Write;
use std::net::{Shutdown, TcpStream};

use crate::agent::{Agent, count};
use crate::flows::directive;
use crate::worker::{self, Worker};

#[test]
fn a_connection_inherited_by_a_child_stays_its_parents() {
    passed("inherited");
}

#[test]
fn a_connection_sent_over_a_unix_socket_stays_the_senders() {
    passed("sent");
}

#[test]
fn a_connection_whose_accept_was_not_seen_is_whose_closes_it() {
    const CONNECTIONS: usize = 23;
    let name = worker::name("to");
    let agent = Agent::without_tracefs(&directive("{}", &[&name]));
    let mut worker = Worker::start(&name, &["serve", "127.0.0.1:0", "23", "5"]);
    let port = worker.numbers()[0] as u16;
    for _ in 0..CONNECTIONS {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        std::io::copy(&mut stream, &mut std::io::sink()).unwrap();
    }
    let owner = u64::from(worker.pid());
    worker.end();
    agent.until("all ends", |records| count(records, "ended") == CONNECTIONS);
    let records = agent.stop();
    assert_eq!((count(&records, "started"), records.len()), (CONNECTIONS, 2 * CONNECTIONS));
    for record in &records {
        assert_eq!((record.number("process.pid"), record.text("direction")), (owner, "inbound"), "{record:?}");
        assert!(record.is("started") || record.text("closeReason") == "fin", "{record:?}");
    }
}

#[test]
fn whoever_sleeps_in_accept_outlives_the_agent() {
    let name = worker::name("ts");
    let agent = Agent::start(&directive("{}", &[&name]));
    let mut worker = Worker::start(&name, &["serve", "127.0.0.1:0", "2", "5"]);
    let port = worker.numbers()[0] as u16;
    let exchange = || {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        std::io::copy(&mut stream, &mut std::io::sink()).unwrap()
    };
    assert_eq!(exchange(), 5);
    agent.until("the end", |records| count(records, "ended") == 1);
    let status = format!("/proc/{}/status", worker.pid());
    agent.wait("it sleeps", || std::fs::read_to_string(&status).unwrap().contains("State:\tS"));
    // What was on its way into accept(2) is taken away under it.
    agent.stop();
    assert_eq!(exchange(), 5);
    worker.end();
}

/// Accepted by a parent, used by its child, closed by the child's end.
fn passed(how: &str) {
    let name = worker::name("tp");
    let agent = Agent::start(&directive("{}", &[&name]));
    let mut worker = Worker::start(&name, &["accept-and-pass", how]);
    let (port, parent) = (worker.numbers()[0] as u16, worker.pid());
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(&[8; 3000]).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    std::io::copy(&mut stream, &mut std::io::sink()).unwrap();
    drop(stream);
    let child: u64 = worker.end()[0].parse().unwrap();
    assert_ne!(child, u64::from(parent));
    agent.until("the end", |records| count(records, "ended") == 1);
    agent.until_shows("flow_flows_tracked", 0.0);
    let records = agent.stop();
    assert_eq!((count(&records, "started"), records.len()), (1, 2));
    for record in &records {
        assert_eq!(record.number("process.pid"), u64::from(parent));
        assert_eq!(record.number("process.tid"), u64::from(parent));
        assert_eq!(record.text("direction"), "inbound");
    }
    assert_eq!((records[1].number("bytesRX"), records[1].number("bytesTX")), (3000, 5000));
    assert_eq!(records[1].text("closeReason"), "fin");
}

#[test]
fn listeners_that_share_a_port_each_own_what_they_accept() {
    let names = [worker::name("tq"), worker::name("tr")];
    let client_name = worker::name("ts");
    let agent = Agent::start(&directive("{}", &[&names[0], &names[1], &client_name]));
    let mut first = Worker::start(&names[0], &["read-to-end", "127.0.0.1:0", "1000"]);
    let at = format!("127.0.0.1:{}", first.numbers()[0]);
    let mut second = Worker::start(&names[1], &["read-to-end", &at, "1000"]);
    second.line();
    let mut client = Worker::start(&client_name, &["connect", &at, "60", "100"]);
    client.go();
    client.end();
    agent.until("120 ends", |records| count(records, "ended") == 120);
    let owners = [first.pid(), second.pid()].map(u64::from);
    let records = agent.stop();
    let mut by_owner = HashMap::<u64, u32>::new();
    for record in records.iter().filter(|record| record.text("direction") == "inbound") {
        assert_eq!(record.number("process.tid"), record.number("process.pid"));
        *by_owner.entry(record.number("process.pid")).or_default() += 1;
    }
    assert_eq!(by_owner.values().sum::<u32>(), 120, "60 starts and 60 ends");
    for owner in owners {
        // All 60 at one of two by chance: once in 2^59 times.
        assert!(by_owner[&owner] > 0, "{by_owner:?}");
    }
}

#[test]
fn multipath_connections_show_as_their_subflows() {
    let name = worker::name("tm");
    let agent = Agent::start(&directive("{}", &[&name]));
    let mut worker = Worker::start(&name, &["mptcp", "5"]);
    worker.go();
    let first = worker.line();
    if first.starts_with("cannot") {
        return println!("SKIPPED: multipath_connections_show_as_their_subflows: no IPPROTO_MPTCP: {first}");
    }
    let (port, parent): (u64, u64) = (first.parse().unwrap(), worker.pid().into());
    let child = worker.numbers()[0];
    worker.end();
    agent.until("10 ends", |records| count(records, "ended") == 10);
    agent.until_shows("flow_flows_tracked", 0.0);
    let records = agent.stop();
    assert_eq!((count(&records, "started"), records.len()), (10, 20));
    for record in &records {
        let outbound = record.text("direction") == "outbound";
        assert_eq!(record.number(if outbound { "net.peerPort" } else { "net.selfPort" }), port);
        assert_eq!(record.number("process.pid"), if outbound { child } else { parent }, "{record:?}");
        if record.is("ended") {
            let (tx, rx) = if outbound { (40_000, 60_000) } else { (60_000, 40_000) };
            assert_eq!((record.number("bytesTX"), record.number("bytesRX")), (tx, rx), "{record:?}");
        }
    }
}
