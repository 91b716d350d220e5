//! What no program of the agent was run for: on kernels that leave them out without a word, and where an
//! interrupt falls into one of them.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;

use libbpf_rs::{MapCore, MapFlags, MapHandle};
use socket2::{Domain, Socket, Type};
use tawon::kernel::abi;

use crate::agent::{Agent, Record, count};
use crate::support::syscalls;

#[test]
fn a_connection_whose_establishment_was_not_seen_is_told_of_and_counted_on_both_sides() {
    const UNSEEN: &str =
        "tawon_bpf_errors_total{module=\"flows\",program=\"tawon_set_state\",reason=\"established_unseen\"}";
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    listener.listen(0).unwrap();
    let at = listener.local_addr().unwrap().as_socket().unwrap();
    let agent = Agent::start(&format!(
        "  - name: all\n    tasks: [{{task: flows, config: {{filter: \"port {}\"}}}}, {{task: log}}]",
        at.port()
    ));
    // The queue is full: the other's SYN is dropped, and sent again a second later.
    let queued = TcpStream::connect(at).unwrap();
    agent.wait("it is in the queue", || established(at.port()) == 1);
    let waiting = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    waiting.set_nonblocking(true).unwrap();
    assert_eq!(waiting.connect(&at.into()).unwrap_err().raw_os_error(), Some(libc::EINPROGRESS));
    // As where the kernel runs no program, and counts none as left out.
    let blind = Blind::make(&agent);
    let first = listener.accept().unwrap();
    agent.wait("both are established", || established(at.port()) == 2);
    drop(blind);
    let port = waiting.local_addr().unwrap().as_socket().unwrap().port();
    let (second, peer) = listener.accept().unwrap();
    assert_eq!(peer.as_socket().unwrap().port(), port);
    drop((waiting, queued));
    drop((first, second));
    let of = |record: &Record| [record.number("net.selfPort"), record.number("net.peerPort")].contains(&port.into());
    agent
        .until("both ends have ended", |all| all.iter().filter(|record| record.is("ended") && of(record)).count() == 2);
    // Others on the machine may have connected meanwhile.
    agent.wait("it is counted", || agent.scrape().value(UNSEEN) >= 1.0);
    assert_eq!(agent.scrape().value("flow_missing_started"), 1.0);
    let mut told: Vec<Record> = agent.stop().into_iter().filter(of).collect();
    told.sort_by_key(|record| record.number("net.selfPort") == u64::from(port));
    let [inbound, outbound] = &told[..] else { panic!("{told:?}") };
    // Of neither a start was told.
    assert!(inbound.is("ended") && outbound.is("ended"), "{told:?}");
    assert!(outbound.at("startedAt").is_string() && outbound.at("establishedAt").is_null(), "{outbound:?}");
    assert!(inbound.at("startedAt").is_null() && inbound.at("establishedAt").is_null(), "{inbound:?}");
    for record in &told {
        assert_eq!((record.text("closeReason"), record.number("process.pid")), ("fin", std::process::id().into()));
    }
}

#[test]
fn a_connection_whose_end_was_not_seen_ends_when_its_socket_connects_again() {
    let (listener, agent) = listening();
    let (client, _accepted) = connected(&listener, &agent);
    let blind = Blind::make(&agent);
    syscalls::disconnect(client.as_fd()).unwrap();
    drop(blind);
    client.connect(&listener.local_addr().unwrap().into()).unwrap();
    listener.accept().unwrap();
    let outbound = |record: &Record| record.text("direction") == "outbound";
    let records = agent.until("the second one has started", |all| {
        all.iter().filter(|record| record.is("started") && outbound(record)).count() == 2
    });
    let ended = records.iter().filter(|record| record.is("ended") && outbound(record)).collect::<Vec<_>>();
    let [ended] = &ended[..] else { panic!("{ended:?}") };
    assert_eq!(ended.text("flowID"), records.iter().find(|record| outbound(record)).unwrap().text("flowID"));
    is_unseen(ended);
    agent.wait("it is counted", || agent.scrape().value(&end_unseen("tawon_set_state")) >= 1.0);
    assert_eq!(agent.scrape().value("flow_missing_ended"), 1.0);
    agent.stop();
}

#[test]
fn a_connection_whose_socket_went_unseen_ends_all_the_same() {
    let (listener, agent) = listening();
    let (client, _accepted) = connected(&listener, &agent);
    let port = client.local_addr().unwrap().as_socket().unwrap().port();
    // As if the socket had been another's memory for long.
    let [map] = &maps(&agent, "tawon_sockets")[..] else { panic!("one map of sockets") };
    let flow = |key: &Vec<u8>| map.lookup(key, MapFlags::ANY).unwrap().and_then(|value| abi::read::<abi::Flow>(&value));
    let is = |flow: abi::Flow| flow.local_port == port && flow.direction == 1;
    let key = map.keys().find(|key| flow(key).is_some_and(is)).expect("it is known");
    let value = map.lookup(&key, MapFlags::ANY).unwrap().expect("it is open");
    map.delete(&key).unwrap();
    let elsewhere = u64::from_ne_bytes(key.try_into().unwrap()) + 8;
    map.update(&elsewhere.to_ne_bytes(), &value, MapFlags::NO_EXIST).unwrap();

    let records = agent.until("it has ended", |all| count(all, "ended") == 1);
    let ended = records.iter().find(|record| record.is("ended")).unwrap();
    assert_eq!((ended.text("direction"), ended.number("net.selfPort")), ("outbound", port.into()));
    is_unseen(ended);
    agent.wait("it is counted", || agent.scrape().value(&end_unseen("tawon_gone")) >= 1.0);
    assert!(map.lookup(&elsewhere.to_ne_bytes(), MapFlags::ANY).unwrap().is_none(), "its entry is free again");
    // The other end's socket is there.
    agent.until_shows("flow_flows_tracked", 1.0);
    agent.stop();
}

/// What nobody saw is not told: neither when it ended, nor why, nor what it did.
fn is_unseen(ended: &Record) {
    for field in ["endedAt", "closeReason", "bytesTX", "segsTX"] {
        assert!(ended.at(field).is_null(), "{field}: {ended:?}");
    }
    assert!(ended.at("startedAt").is_string() && ended.number("process.pid") == u64::from(std::process::id()));
}

fn end_unseen(program: &str) -> String {
    format!("tawon_bpf_errors_total{{module=\"flows\",program=\"{program}\",reason=\"end_unseen\"}}")
}

/// A listener and an agent that tells of its connections.
fn listening() -> (TcpListener, Agent) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let tasks = format!("[{{task: flows, config: {{filter: \"port {port}\"}}}}, {{task: log}}]");
    (listener, Agent::start(&format!("  - {{name: all, tasks: {tasks}}}")))
}

/// One that was accepted, and of both ends of which the start was told.
fn connected(listener: &TcpListener, agent: &Agent) -> (Socket, TcpStream) {
    let client = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    client.connect(&listener.local_addr().unwrap().into()).unwrap();
    let (accepted, _) = listener.accept().unwrap();
    agent.until("both have started", |all| count(all, "started") == 2);
    (client, accepted)
}

/// As long as it lives the programs of an agent take changes of TCP sockets for of no interest, as where the kernel
/// runs none and counts none as left out.
struct Blind(Vec<(MapHandle, Vec<u8>)>);

impl Blind {
    fn make(agent: &Agent) -> Blind {
        let with = |map: MapHandle| {
            let before = map.lookup(&ZERO, MapFlags::ANY).unwrap().expect("it is an array");
            let mut live = before.clone();
            live[TCP_AT..][..4].copy_from_slice(&0_u32.to_ne_bytes());
            map.update(&ZERO, &live, MapFlags::ANY).unwrap();
            (map, before)
        };
        let blind: Vec<_> = maps(agent, ".data.live").into_iter().map(with).collect();
        assert!(!blind.is_empty(), "programs that look at it");
        Blind(blind)
    }
}

impl Drop for Blind {
    fn drop(&mut self) {
        self.0.iter().for_each(|(map, before)| map.update(&ZERO, before, MapFlags::ANY).unwrap());
    }
}

/// The maps of this name that an agent holds.
fn maps(agent: &Agent, name: &str) -> Vec<MapHandle> {
    let mut ids: Vec<u32> = std::fs::read_dir(format!("/proc/{}/fdinfo", agent.pid()))
        .unwrap()
        .filter_map(|entry| std::fs::read_to_string(entry.unwrap().path()).ok())
        .filter_map(|text| text.lines().find_map(|line| line.strip_prefix("map_id:")?.trim().parse().ok()))
        .collect();
    ids.sort_unstable();
    ids.dedup();
    ids.into_iter().filter_map(|id| MapHandle::from_map_id(id).ok()).filter(|map| map.name() == name).collect()
}

/// How many sockets of a listener on this port are established.
fn established(port: u16) -> usize {
    let (local, state) = (format!(":{port:04X}"), "01");
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    rows.filter(|row| row[1].ends_with(&local) && row[3] == state).count()
}

const ZERO: [u8; 4] = [0; 4];
const TCP_AT: usize = std::mem::offset_of!(abi::Live, tcp);
