//! UDP flows: one per socket and peer.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;

use crate::agent::{Agent, count};
use crate::flows::directive;
use crate::worker::{self, Worker};

#[test]
fn datagrams_over_ipv4_are_counted_to_the_byte() {
    exchanges("127.0.0.1:0", "127.0.0.1", "INET");
}

#[test]
fn datagrams_over_ipv6_are_counted_to_the_byte() {
    if std::net::UdpSocket::bind("[::1]:0").is_err() {
        return println!("SKIPPED: datagrams_over_ipv6_are_counted_to_the_byte: no IPv6");
    }
    exchanges("[::1]:0", "::1", "INET6");
}

#[test]
fn datagrams_to_mapped_addresses_are_written_as_ipv4() {
    if std::net::UdpSocket::bind("[::]:0").is_err() {
        return println!("SKIPPED: datagrams_to_mapped_addresses_are_written_as_ipv4: no IPv6");
    }
    exchanges("[::]:0", "127.0.0.1", "INET");
}

/// 23 sockets, connected and not, that talk to one.
fn exchanges(listen: &str, to: &str, family: &str) {
    let (name_of_server, name_of_client) = (worker::name("tu"), worker::name("tv"));
    let agent = Agent::start(&directive("{}", &[&name_of_server, &name_of_client]));
    if agent.stderr().contains("UDP: needs") {
        return println!("SKIPPED: UDP over {family}: no cgroup version 2 hierarchy, or no CAP_NET_ADMIN");
    }
    let mut server = Worker::start(&name_of_server, &["udp-serve", listen, "92"]);
    let port = server.numbers()[0];
    let at = if to.contains(':') { format!("[{to}]:{port}") } else { format!("{to}:{port}") };
    let mut client = Worker::start(&name_of_client, &["udp-send", &at, "23"]);
    let pids = [server.pid(), client.pid()].map(u64::from);
    client.go();
    let ports: HashMap<u64, u64> =
        client.end().iter().enumerate().map(|(turn, line)| (line.parse().unwrap(), turn as u64)).collect();
    // The server's flows end when it does.
    agent.until("23 ends", |records| count(records, "ended") >= 23);
    server.go();
    server.end();
    agent.until("46 ends", |records| count(records, "ended") >= 46);
    agent.until_shows("flow_flows_tracked", 0.0);
    agent.until_shows("flow_threads_tracked", 0.0);
    let records = agent.stop();
    assert_eq!((count(&records, "started"), count(&records, "ended")), (46, 46));
    let netns = std::fs::metadata("/proc/self/ns/net").unwrap().ino();
    let mut seen = HashMap::<String, u32>::new();
    for record in &records {
        let outbound = record.text("direction") == "outbound";
        let (own, peer) = match outbound {
            true => (record.number("net.selfPort"), record.number("net.peerPort")),
            false => (record.number("net.peerPort"), record.number("net.selfPort")),
        };
        assert_eq!(peer, port, "{record:?}");
        assert_eq!(record.number("process.pid"), pids[usize::from(outbound)], "{record:?}");
        assert_eq!(record.number("process.tid"), pids[usize::from(outbound)]);
        assert_eq!((record.text("net.proto"), record.text("net.af")), ("UDP", family));
        assert_eq!(record.text("net.peerAddr"), to);
        assert_eq!(record.number("net.netns"), netns, "{record:?}");
        // Absent where the socket is bound to none: the server's where it was asked for that, a client's until it connects.
        match record.at("net.selfAddr").as_str() {
            Some(address) => assert!(address == to && (outbound || !listen.starts_with("[::]")), "{record:?}"),
            None => assert!(outbound || listen.starts_with("[::]"), "{record:?}"),
        }
        *seen.entry(format!("{own} {} {}", record.text("direction"), record.text("state"))).or_default() += 1;
        if record.is("ended") {
            let sent = (ports[&own] + 1) * (1 + 2 + 3 + 4);
            let (tx, rx) = if outbound { (sent, 2 * sent) } else { (2 * sent, sent) };
            assert_eq!((record.number("bytesTX"), record.number("bytesRX")), (tx, rx), "{record:?}");
            assert_eq!((record.number("segsTX"), record.number("segsRX")), (4, 4), "{record:?}");
            assert!(record.text("startedAt") <= record.text("endedAt"));
        }
    }
    assert!(seen.len() == 92 && seen.values().all(|times| *times == 1), "{seen:?}");
}

#[test]
fn a_flow_without_datagrams_has_ended() {
    let name = worker::name("tw");
    // Longer than the answer may take.
    let agent = Agent::start(&directive("udpIdle: 5s", &[&name]));
    if agent.stderr().contains("UDP: needs") {
        return println!("SKIPPED: a_flow_without_datagrams_has_ended: no cgroup version 2 hierarchy");
    }
    let mut server = Worker::start(&name, &["udp-serve", "127.0.0.1:0", "1"]);
    let to = ("127.0.0.1", server.numbers()[0] as u16);
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.send_to(&[1; 100], to).unwrap();
    assert_eq!(socket.recv(&mut [0; 500]).unwrap(), 200);
    agent.until("the end", |records| count(records, "ended") == 1);
    server.go();
    server.end();
    let records = agent.stop();
    assert_eq!(records.len(), 2);
    assert_eq!((records[1].number("bytesRX"), records[1].number("bytesTX")), (100, 200));
}
