//! What takes state, how much, and when it is given back.

use super::*;
use crate::support::alloc;

#[test]
fn only_the_wanted_ports_and_protocols_take_state() {
    let select = Select { tcp: false, udp: true, ports: Box::new([53]) };
    let mut bench = Bench::with(select, Limits::default());
    let dns: SocketAddr = "10.0.0.3:53".parse().unwrap();
    bench.frame(&packets::udp(client(), server(), b"no")).tx(1, ACK, b"no");
    assert!(bench.assembler.is_empty());
    bench.frame(&packets::udp(client(), dns, b"yes")).frame(&packets::udp(dns, client(), b"yes"));
    assert_eq!(bench.got.len(), 2);
}

#[test]
fn flows_are_bounded_and_the_one_used_least_recently_goes() {
    let limits = Limits { flows: 3, ..Limits::default() };
    let mut bench = Bench::with(Select::default(), limits);
    let from = |port: u16| SocketAddr::new(client().ip(), port);
    for port in 1..=3 {
        bench.frame(&packets::tcp(from(port), server(), 1, 0, ACK, b"x"));
    }
    bench.frame(&packets::tcp(from(1), server(), 2, 0, ACK, b"y"));
    bench.frame(&packets::tcp(from(4), server(), 1, 0, ACK, b"x"));
    let closed = bench.got.iter().find(|got| got.end.is_some()).cloned().unwrap();
    assert_eq!((closed.end, closed.ends.0), (Some(FlowEnd::Close), from(2)));
    assert_eq!((bench.assembler.len(), bench.assembler.counts().evicted), (3, 1));
    bench.frame(&packets::tcp(from(2), server(), 2, 0, ACK, b"z"));
    assert!(bench.got.last().unwrap().flow != closed.flow, "it comes back as another flow");
}

#[test]
fn idle_flows_expire_and_leave_nothing_behind() {
    let mut bench = connected();
    bench.tx(103, ACK, b"held").frame(&packets::udp(client(), server(), b"d"));
    assert_eq!(bench.assembler.len(), 2);
    bench.after(Duration::from_secs(61));
    assert_eq!(bench.assembler.len(), 1);
    bench.after(Duration::from_secs(240));
    assert_eq!(bench.told_tx(), "d<3>held|Close|");
    assert_eq!((bench.assembler.len(), bench.assembler.bytes(), bench.assembler.deadline()), (0, 0, None));
}

#[test]
fn the_end_of_a_run_gives_out_what_is_held_and_ends_no_flow() {
    let mut bench = connected();
    bench.tx(103, ACK, b"def").tx(109, ACK, b"jkl").finish();
    assert_eq!(bench.told_tx(), "<3>def<3>jkl");
}

#[test]
fn what_comes_in_order_allocates_nothing() {
    let mut bench = connected();
    let other: SocketAddr = "10.0.0.77:5060".parse().unwrap();
    let datagram = packets::udp(client(), other, &[7; 200]);
    let segments: Vec<Vec<u8>> =
        (0..100).map(|at| packets::tcp(client(), server(), 100 + at * 1000, 500, ACK, &[at as u8; 1000])).collect();
    bench.frame(&datagram);
    let (mut bytes, now) = (0, bench.now);
    let allocations = alloc::count(|| {
        for frame in segments.iter().chain([&datagram]) {
            bench.assembler.push(1, frame, frame.len(), now, &mut |segment| bytes += segment.bytes.len());
        }
    });
    assert_eq!((bytes, allocations), (100_200, 0));
}
