//! TCP streams, datagrams and fragments put together from frames made byte by byte.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tawon::flow::assembler::{Assembler, Limits, Segment, Select};
use tawon::flow::{Direction, FlowEnd};
use tawon::time::Instant;

use crate::support::alloc;
use crate::support::packets::{self, ACK, FIN, RST, Random, SYN};

/// A segment with bytes of its own.
#[derive(Clone, PartialEq, Debug)]
struct Got {
    flow: u64,
    direction: Direction,
    seq: u64,
    offset: u64,
    gap: u64,
    gap_unknown: bool,
    bytes: Vec<u8>,
    start: bool,
    end: Option<FlowEnd>,
    ends: (SocketAddr, SocketAddr),
}

struct Bench {
    assembler: Assembler,
    now: Instant,
    got: Vec<Got>,
}

impl Bench {
    fn new() -> Bench {
        Bench::with(Select::default(), Limits::default())
    }

    fn with(select: Select, limits: Limits) -> Bench {
        Bench { assembler: Assembler::new(select, limits), now: Instant(1_000), got: Vec::new() }
    }

    fn frame(&mut self, frame: &[u8]) -> &mut Self {
        self.cut(frame, frame.len())
    }

    /// A frame of which the capture kept `keep` bytes.
    fn cut(&mut self, frame: &[u8], keep: usize) -> &mut Self {
        let got = &mut self.got;
        self.assembler.push(1, &frame[..keep], frame.len(), self.now, &mut |segment| got.push(own(segment)));
        self
    }

    fn tx(&mut self, seq: u32, flags: u8, payload: &[u8]) -> &mut Self {
        self.frame(&packets::tcp(client(), server(), seq, 0, flags, payload))
    }

    fn rx(&mut self, seq: u32, ack: u32, flags: u8, payload: &[u8]) -> &mut Self {
        self.frame(&packets::tcp(server(), client(), seq, ack, flags, payload))
    }

    fn after(&mut self, by: Duration) -> &mut Self {
        self.now = self.now + by;
        let got = &mut self.got;
        self.assembler.tick(self.now, &mut |segment| got.push(own(segment)));
        self
    }

    fn finish(&mut self) -> &mut Self {
        let got = &mut self.got;
        self.assembler.finish(self.now, &mut |segment| got.push(own(segment)));
        self
    }

    /// What came of one direction as text, with `<gap>` and `|end|` where they stand.
    fn told(&self, direction: Direction) -> String {
        let mut text = String::new();
        for got in self.got.iter().filter(|got| got.direction == direction) {
            if got.gap_unknown {
                text.push_str("<?>");
            }
            if got.gap > 0 {
                text.push_str(&format!("<{}>", got.gap));
            }
            text.push_str(&String::from_utf8_lossy(&got.bytes));
            if let Some(end) = got.end {
                text.push_str(&format!("|{end:?}|"));
            }
        }
        text
    }

    fn told_tx(&self) -> String {
        self.told(Direction::Tx)
    }

    fn told_rx(&self) -> String {
        self.told(Direction::Rx)
    }
}

fn own(segment: &Segment<'_>) -> Got {
    Got {
        flow: segment.flow,
        direction: segment.direction,
        seq: segment.seq,
        offset: segment.offset,
        gap: segment.gap,
        gap_unknown: segment.gap_unknown,
        bytes: segment.bytes.to_vec(),
        start: segment.start,
        end: segment.end,
        ends: segment.ends,
    }
}

fn client() -> SocketAddr {
    "10.0.0.9:40000".parse().unwrap()
}

fn server() -> SocketAddr {
    "10.0.0.2:80".parse().unwrap()
}

/// The handshake, with the first sequence numbers 100 and 500 of the bytes that follow.
fn connected() -> Bench {
    let mut bench = Bench::new();
    bench.tx(99, SYN, b"").rx(499, 100, SYN | ACK, b"").frame(&packets::tcp(client(), server(), 100, 500, ACK, b""));
    assert_eq!(bench.got, []);
    bench
}

const MS: Duration = Duration::from_millis(1);

#[test]
fn a_connection_is_told_from_its_handshake_to_both_fins() {
    let mut bench = connected();
    bench.tx(100, ACK, b"request ").tx(108, ACK, b"more").rx(500, 112, ACK, b"answer");
    bench.tx(112, ACK | FIN, b".").rx(506, 114, ACK | FIN, b"");
    assert_eq!(bench.told_tx(), "request more.|Fin|");
    assert_eq!(bench.told_rx(), "answer|Fin|");
    let [first, second, answer, last, fin, other] = bench.got.as_slice() else { panic!("{:?}", bench.got) };
    assert_eq!(first.ends, (client(), server()));
    assert!(first.start && bench.got[1..].iter().all(|got| !got.start && got.flow == first.flow));
    assert_eq!([first.seq, second.seq, last.seq, fin.seq], [0, 1, 2, 3]);
    assert_eq!([first.offset, second.offset, last.offset, fin.offset], [0, 8, 12, 13]);
    assert_eq!([(answer.seq, answer.offset), (other.seq, other.offset)], [(0, 0), (1, 6)]);
    assert!(bench.assembler.is_empty(), "an ended connection is not tracked");
    bench.frame(&packets::tcp(client(), server(), 114, 507, ACK, b"")).tx(100, ACK, b"request ");
    assert_eq!(bench.got.len(), 6, "late packets of an ended connection are nothing new");
}

#[test]
fn segments_out_of_order_leave_in_order() {
    let mut bench = connected();
    bench.tx(106, ACK, b"ghi").tx(103, ACK, b"def").tx(100, ACK, b"abc").tx(109, ACK, b"jkl");
    assert_eq!(bench.told_tx(), "abcdefghijkl");
    assert_eq!(bench.got.iter().map(|got| got.bytes.len()).collect::<Vec<_>>(), [3, 3, 3, 3]);
    assert_eq!(bench.assembler.counts().streams.out_of_order, 2);
    assert_eq!(bench.assembler.counts().streams.retransmits, 0);
}

#[test]
fn retransmits_are_told_once() {
    let mut bench = connected();
    bench.tx(100, ACK, b"abc").tx(100, ACK, b"abc").tx(100, ACK, b"abcdef").tx(99, ACK, b"?").tx(102, ACK, b"cdefg");
    assert_eq!(bench.told_tx(), "abcdefg");
    assert_eq!(bench.assembler.counts().streams.retransmits, 4);
}

#[test]
fn of_overlaps_that_disagree_the_first_to_come_stands() {
    let mut bench = connected();
    // held first, then covered by one that begins before and ends behind it
    bench.tx(103, ACK, b"DEF").tx(100, ACK, b"abcdefghi");
    assert_eq!(bench.told_tx(), "abcDEFghi");
    assert_eq!(bench.assembler.counts().streams.conflicts, 1);
    // held twice, the second around the first
    bench.tx(113, ACK, b"N").tx(110, ACK, b"klmnop").tx(109, ACK, b"j");
    assert_eq!(bench.told_tx(), "abcDEFghijklmNop");
    assert_eq!(bench.assembler.counts().streams.conflicts, 2);
    // told already: nobody takes it back
    bench.tx(112, ACK, b"????qr");
    assert_eq!(bench.told_tx(), "abcDEFghijklmNopqr");
}

#[test]
fn sequence_numbers_wrap_around() {
    let mut bench = Bench::new();
    let first = u32::MAX - 3;
    bench.tx(first.wrapping_sub(1), SYN, b"").rx(u32::MAX, first, SYN | ACK, b"");
    bench.tx(2, ACK, b"ghi").tx(first, ACK, b"abcdef").rx(0, 5, ACK, b"from zero");
    bench.tx(first, ACK, b"abcdefghi").tx(5, FIN | ACK, b"");
    assert_eq!((bench.told_tx(), bench.told_rx()), ("abcdefghi|Fin|".into(), "from zero".into()));
    assert_eq!(bench.got.iter().find(|got| got.bytes == b"ghi").unwrap().offset, 6);
}

#[test]
fn what_the_receiver_acknowledged_and_nobody_saw_is_a_gap() {
    let mut bench = connected();
    bench.tx(100, ACK, b"abc").tx(110, ACK, b"klm");
    assert_eq!(bench.told_tx(), "abc");
    bench.rx(500, 107, ACK, b"");
    assert_eq!(bench.told_tx(), "abc", "the hole is not acknowledged as a whole");
    bench.rx(500, 113, ACK, b"");
    assert_eq!(bench.told_tx(), "abc", "an acknowledgement may be read before what it acknowledges");
    bench.after(60 * MS);
    assert_eq!(bench.told_tx(), "abc<7>klm");
    assert_eq!(bench.got.last().unwrap().offset, 10);
    assert_eq!((bench.assembler.counts().streams.gaps, bench.assembler.counts().streams.gap_bytes), (1, 7));
    assert_eq!(bench.assembler.deadline(), None);
    bench.tx(103, ACK, b"late").tx(113, ACK, b"n");
    assert_eq!(bench.told_tx(), "abc<7>klmn");
}

#[test]
fn a_hole_is_waited_for_as_long_as_the_receiver_has_not_acknowledged_it() {
    let mut bench = connected();
    bench.tx(103, ACK, b"def").after(5_000 * MS).rx(500, 100, ACK, b"").after(5_000 * MS);
    assert_eq!(bench.told_tx(), "");
    bench.tx(100, ACK, b"abc");
    assert_eq!(bench.told_tx(), "abcdef");
}

#[test]
fn where_only_one_side_is_seen_a_hole_is_waited_for_one_second() {
    let mut bench = Bench::new();
    bench.tx(100, ACK, b"abc").tx(106, ACK, b"ghi").after(990 * MS);
    assert_eq!(bench.told_tx(), "abc");
    bench.after(60 * MS);
    assert_eq!(bench.told_tx(), "abc<3>ghi");
}

#[test]
fn what_is_held_per_direction_is_bounded() {
    let mut limits = Limits::default();
    limits.patience.held = 10_000;
    let mut bench = Bench::with(Select::default(), limits);
    bench.tx(99, SYN, b"").rx(499, 100, SYN | ACK, b"");
    for at in 0..8 {
        bench.tx(101 + 1400 * at, ACK, &[b'x'; 1400]);
    }
    assert_eq!(bench.told_tx(), format!("<1>{}", "x".repeat(8 * 1400)));
    assert_eq!(bench.assembler.counts().streams.gaps, 1);
}

#[test]
fn a_fin_ahead_of_missing_bytes_ends_the_stream_only_behind_them() {
    let mut bench = connected();
    bench.tx(106, ACK | FIN, b"ghi").tx(109, ACK | FIN, b"").tx(103, ACK, b"def");
    assert_eq!(bench.told_tx(), "");
    bench.tx(100, ACK, b"abc");
    assert_eq!(bench.told_tx(), "abcdefghi|Fin|");
    bench.tx(109, ACK, b"behind the end");
    assert_eq!(bench.told_tx(), "abcdefghi|Fin|");
}

#[test]
fn a_lost_fin_segment_is_a_gap_before_the_end() {
    let mut bench = connected();
    bench.tx(100, ACK, b"abc").tx(110, ACK | FIN, b"").rx(500, 111, ACK, b"").after(100 * MS);
    assert_eq!(bench.told_tx(), "abc<7>|Fin|");
}

#[test]
fn a_reset_ends_both_directions_and_gives_out_what_is_held() {
    let mut bench = connected();
    bench.tx(100, ACK, b"abc").tx(106, ACK, b"ghi").rx(500, 103, ACK, b"answer").rx(506, 103, RST | ACK, b"");
    assert_eq!(bench.told_tx(), "abc<3>ghi|Rst|");
    assert_eq!(bench.told_rx(), "answer|Rst|");
    assert!(bench.assembler.is_empty());
}

#[test]
fn a_forged_reset_or_segment_out_of_the_window_is_left_out() {
    let mut bench = connected();
    bench.tx(100, ACK, b"abc").rx(0x7fff_0000, 103, RST, b"").tx(0x6000_0000, ACK, b"forged").tx(103, ACK, b"def");
    assert_eq!(bench.told_tx(), "abcdef");
    assert_eq!(bench.assembler.counts().streams.strays, 1);
    assert_eq!(bench.assembler.len(), 1);
}

#[test]
fn a_refused_connection_ends_though_it_carried_nothing() {
    let mut bench = Bench::new();
    bench.tx(99, SYN, b"").rx(0, 100, RST | ACK, b"");
    assert_eq!(bench.told_tx(), "|Rst|");
    assert!(bench.assembler.is_empty());
}

#[test]
fn a_stream_whose_sequence_numbers_jump_goes_on_with_an_unknown_gap() {
    let mut bench = connected();
    bench.tx(100, ACK, b"abc").tx(0x6000_0000, ACK, b"lost").tx(0x6000_0004, ACK, b"there").tx(0x6000_0009, ACK, b"!");
    assert_eq!(bench.told_tx(), "abc<?>there!");
    assert_eq!(bench.assembler.counts().streams.resyncs, 1);
}

#[test]
fn a_connection_joined_in_the_middle_says_no_start() {
    let mut bench = Bench::new();
    bench.rx(7_000, 100, ACK, b"").rx(7_000, 100, ACK, b"middle of an answer").tx(100, ACK, b"next request");
    let [answer, request] = bench.got.as_slice() else { panic!("{:?}", bench.got) };
    assert!(!answer.start && !request.start && answer.gap == 0 && !answer.gap_unknown);
    assert_eq!((answer.direction, request.direction), (Direction::Tx, Direction::Rx), "who is seen first is Tx");
    assert_eq!(answer.ends, (server(), client()));
}

#[test]
fn who_answers_a_handshake_is_not_the_one_that_opened() {
    let mut bench = Bench::new();
    bench.rx(499, 100, SYN | ACK, b"").rx(500, 100, ACK, b"banner").tx(100, ACK, b"hello");
    assert_eq!((bench.told_tx(), bench.told_rx()), ("hello".into(), "banner".into()));
    assert!(bench.got[0].start && !bench.got[1].start);
    assert_eq!(bench.got[0].ends, (client(), server()));
    bench.after(Duration::ZERO);
    // the SYN-ACK says where the client's bytes begin, so that a lost first segment is known
    let mut bench = Bench::new();
    bench.rx(499, 100, SYN | ACK, b"").tx(103, ACK, b"def").rx(500, 106, ACK, b"").after(100 * MS);
    assert_eq!(bench.told_tx(), "<3>def");
}

#[test]
fn where_the_answer_to_the_syn_was_lost_its_first_bytes_may_be_too() {
    let mut bench = Bench::new();
    bench.tx(99, SYN, b"").tx(100, ACK, b"hello").rx(507, 105, ACK, b"answer");
    assert_eq!((bench.told_tx(), bench.told_rx()), ("hello".into(), "<?>answer".into()));
}

#[test]
fn bytes_on_a_syn_come_first() {
    let mut bench = Bench::new();
    bench.tx(99, SYN, b"fast ").rx(499, 105, SYN | ACK, b"").tx(105, ACK, b"open");
    assert_eq!(bench.told_tx(), "fast open");
    assert!(bench.got[0].start);
}

#[test]
fn ports_used_again_are_another_flow() {
    let mut bench = connected();
    bench.tx(100, ACK | FIN, b"one").rx(500, 104, ACK | FIN, b"");
    bench.now = bench.now + MS;
    bench.tx(9_999, SYN, b"").rx(499, 10_000, SYN | ACK, b"").tx(10_000, ACK, b"two");
    assert_eq!(bench.told_tx(), "one|Fin|two");
    let (one, two) = (bench.got.first().unwrap(), bench.got.last().unwrap());
    assert!(one.flow != two.flow && two.start && two.seq == 0 && two.offset == 0);
}

#[test]
fn a_syn_alone_does_not_end_a_connection_that_lives() {
    let mut bench = connected();
    bench.tx(100, ACK, b"abc").tx(77_777, SYN, b"").tx(103, ACK, b"def");
    assert_eq!(bench.told_tx(), "abcdef");
    // the other end agrees: its old connection is gone
    bench.tx(88_888, SYN, b"").rx(1_234, 88_889, SYN | ACK, b"").tx(88_889, ACK, b"new").rx(1_235, 88_892, ACK, b"yes");
    assert_eq!(bench.told_tx(), "abcdef|Close|new");
    assert_eq!(bench.told_rx(), "|Close|yes");
    assert!(bench.got.iter().any(|got| got.bytes == b"new" && got.start && got.offset == 0));
}

#[test]
fn a_retransmitted_handshake_changes_nothing() {
    let mut bench = connected();
    bench.tx(99, SYN, b"").rx(499, 100, SYN | ACK, b"").tx(100, ACK, b"abc").rx(499, 100, SYN | ACK, b"");
    assert_eq!(bench.told_tx(), "abc");
    assert_eq!(bench.assembler.len(), 1);
}

#[test]
fn bytes_that_the_snap_length_cut_are_a_gap() {
    let mut bench = connected();
    let frame = packets::tcp(client(), server(), 100, 0, ACK, b"abcdefgh");
    bench.cut(&frame, frame.len() - 5).tx(108, ACK, b"ijk");
    assert_eq!(bench.told_tx(), "abc<5>ijk");
    let frame = packets::tcp(client(), server(), 114, 0, ACK, b"opqrst");
    bench.cut(&frame, frame.len() - 2).tx(111, ACK, b"lmn").tx(120, ACK, b"u");
    assert_eq!(bench.told_tx(), "abc<5>ijklmnopqr<2>u");
    // a frame cut within its headers says nothing of bytes
    bench.cut(&frame, 50);
    assert_eq!((bench.assembler.counts().truncated, bench.assembler.counts().malformed), (1, 0));
}

#[test]
fn padding_of_the_link_layer_is_no_payload() {
    let mut bench = connected();
    let mut frame = packets::tcp(client(), server(), 100, 0, ACK, b"abc");
    frame.extend([0xee; 9]);
    bench.frame(&frame).tx(103, ACK, b"d");
    assert_eq!(bench.told_tx(), "abcd");
}

#[test]
fn a_header_that_announces_more_than_the_frame_has_is_malformed() {
    let mut bench = connected();
    let mut frame = packets::tcp(client(), server(), 100, 0, ACK, b"abc");
    frame[17] += 1;
    bench.frame(&frame);
    assert_eq!((bench.got.len(), bench.assembler.counts().malformed), (0, 1));
}

#[test]
fn datagrams_come_as_they_are_with_both_directions_of_a_flow() {
    let mut bench = Bench::new();
    bench.frame(&packets::udp(client(), server(), b"query")).frame(&packets::udp(server(), client(), b"answer"));
    bench.frame(&packets::udp(client(), server(), b"query"));
    let flow = bench.got[0].flow;
    assert!(bench.got.iter().all(|got| got.flow == flow && got.ends == (client(), server()) && !got.start));
    let seen: Vec<_> = bench.got.iter().map(|got| (got.direction, got.seq, got.offset)).collect();
    assert_eq!(seen, [(Direction::Tx, 0, 0), (Direction::Rx, 0, 0), (Direction::Tx, 1, 5)]);
    let frame = packets::udp(client(), server(), b"0123456789");
    let mut length = 0;
    bench.assembler.push(1, &frame[..frame.len() - 4], frame.len(), bench.now, &mut |segment| {
        assert_eq!(segment.bytes, b"012345");
        length = segment.length;
    });
    assert_eq!(length, 10);
}

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
fn fragments_are_put_together_in_any_order() {
    let (src, dst) = (client().ip(), server().ip());
    let payload: Vec<u8> = (0..40_u8).collect();
    let whole = packets::udp_datagram(40_000, 80, &payload);
    let parts: Vec<Vec<u8>> = [(0, 16, true), (16, 32, true), (32, 48, false)]
        .map(|(from, to, more)| packets::fragment(src, dst, 17, 9, from as u16, more, &whole[from..to]))
        .iter()
        .map(|packet| packets::ethernet(packet))
        .collect();
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let mut bench = Bench::new();
        bench.frame(&parts[order[0]]).frame(&parts[order[0]]).frame(&parts[order[1]]);
        assert_eq!(bench.got, []);
        bench.frame(&parts[order[2]]);
        assert_eq!(bench.got[0].bytes, payload, "{order:?}");
        let counts = bench.assembler.fragments().counts;
        assert_eq!((counts.reassembled, counts.duplicates), (1, 1));
        assert_eq!(bench.assembler.fragments().len(), 0);
    }
    // one that overlaps another with other bytes takes the datagram with it
    let mut bench = Bench::new();
    let wrong = packets::ethernet(&packets::fragment(src, dst, 17, 9, 8, true, &[0xee; 16]));
    bench.frame(&parts[0]).frame(&wrong).frame(&parts[1]).frame(&parts[2]);
    assert_eq!((bench.got.len(), bench.assembler.fragments().counts.malformed), (0, 1));
    // and one that never comes is not waited for
    let mut bench = Bench::new();
    bench.frame(&parts[0]).after(Duration::from_secs(29)).after(Duration::from_secs(2));
    assert_eq!((bench.assembler.fragments().len(), bench.assembler.fragments().counts.expired), (0, 1));
}

#[test]
fn ipv6_fragments_and_a_fragmented_tcp_segment_are_put_together() {
    let (src, dst): (IpAddr, IpAddr) = ("fd00::1".parse().unwrap(), "fd00::2".parse().unwrap());
    let segment = packets::tcp_segment(1, 2, 10, 0, ACK, b"a segment in two fragments");
    let part = |offset: u16, more: bool, bytes: &[u8]| {
        let header = [&[6, 0][..], &(offset | u16::from(more)).to_be_bytes(), &[0, 0, 0, 5], bytes].concat();
        packets::ethernet(&packets::ip(src, dst, 44, &header))
    };
    let mut bench = Bench::new();
    bench.frame(&part(24, false, &segment[24..])).frame(&part(0, true, &segment[..24]));
    assert_eq!(bench.told_tx(), "a segment in two fragments");
    // an atomic fragment (RFC 6946) is a whole packet
    bench.frame(&part(0, false, &packets::tcp_segment(1, 2, 36, 0, ACK, b"!")));
    assert_eq!(bench.told_tx(), "a segment in two fragments!");
}

#[test]
fn flows_inside_tunnels_are_the_ones_that_are_told() {
    let inner = packets::tcp(client(), server(), 1, 0, ACK, b"inside");
    let (a, b): (SocketAddr, SocketAddr) = ("192.0.2.1:5000".parse().unwrap(), "192.0.2.2:4789".parse().unwrap());
    let vxlan = |frame: &[u8]| packets::udp(a, b, &[&[8, 0, 0, 0, 0, 0, 7, 0], frame].concat());
    let mut bench = Bench::new();
    bench.frame(&vxlan(&inner)).frame(&vxlan(&vxlan(&vxlan(&vxlan(&inner)))));
    assert_eq!(bench.got.len(), 1, "the second is a retransmit of the same inner segment");
    assert_eq!((bench.got[0].ends, bench.told_tx()), ((client(), server()), "inside".into()));
    bench.frame(&vxlan(&vxlan(&vxlan(&vxlan(&vxlan(&inner))))));
    assert_eq!(bench.got.last().unwrap().ends, (a, b), "the fifth tunnel is a datagram");
    bench.frame(&packets::udp(a, b, b"no tunnel after all"));
    assert_eq!(bench.got.last().unwrap().bytes, b"no tunnel after all");
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
fn any_cuts_order_and_repetition_of_segments_give_the_same_stream() {
    for seed in 1..=300 {
        let mut random = Random(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed));
        let length = 1 + random.below(4000);
        let stream = random.bytes(length);
        let isn = random.next() as u32;
        let mut segments = Vec::new();
        let mut at = 0;
        while at < stream.len() {
            let to = (at + 1 + random.below(300)).min(stream.len());
            let from = at.saturating_sub(random.below(60));
            for _ in 0..1 + random.below(2) {
                segments.push((from, to));
            }
            at = to;
        }
        for at in 0..segments.len() {
            let with = (at + random.below(12)).min(segments.len() - 1);
            segments.swap(at, with);
        }
        let mut bench = Bench::new();
        bench.tx(isn.wrapping_sub(1), SYN, b"").rx(1, isn, SYN | ACK, b"");
        for (from, to) in segments {
            let flags = if to == stream.len() { ACK | FIN } else { ACK };
            bench.tx(isn.wrapping_add(from as u32), flags, &stream[from..to]);
        }
        let told: Vec<u8> = bench.got.iter().flat_map(|got| got.bytes.clone()).collect();
        assert!(told == stream, "seed {seed}");
        assert!(bench.got.iter().all(|got| got.gap == 0 && !got.gap_unknown), "seed {seed}");
        assert_eq!(bench.got.last().unwrap().end, Some(FlowEnd::Fin), "seed {seed}");
        assert_eq!(bench.got.iter().filter(|got| got.end.is_some()).count(), 1, "seed {seed}");
        assert_eq!(bench.assembler.counts().streams.conflicts, 0, "seed {seed}");
        assert_eq!(bench.assembler.counts().streams.gaps, 0, "seed {seed}");
    }
}

#[test]
fn with_random_losses_gaps_and_bytes_add_up_to_the_stream() {
    for seed in 1..=300 {
        let mut random = Random(0x2545_f491_4f6c_dd1d_u64.wrapping_mul(seed));
        let length = 1000 + random.below(4000);
        let stream = random.bytes(length);
        let mut bench = connected();
        let (mut at, mut lost) = (0, 0);
        while at < stream.len() {
            let to = (at + 1 + random.below(200)).min(stream.len());
            if random.below(4) == 0 {
                lost += to - at;
            } else {
                bench.tx(100 + at as u32, ACK, &stream[at..to]);
            }
            at = to;
        }
        bench.rx(500, 100 + stream.len() as u32 + 1, ACK, b"").tx(100 + stream.len() as u32, ACK | FIN, b"");
        bench.after(100 * MS);
        let mut next = 0;
        for got in &bench.got {
            assert_eq!(got.offset, next + got.gap, "seed {seed}");
            let from = got.offset as usize;
            assert!(got.bytes == stream[from..from + got.bytes.len()], "seed {seed}");
            next = got.offset + got.bytes.len() as u64;
        }
        assert_eq!(next, stream.len() as u64, "seed {seed}");
        assert_eq!(bench.assembler.counts().streams.gap_bytes, lost as u64, "seed {seed}");
        assert_eq!(bench.got.last().unwrap().end, Some(FlowEnd::Fin), "seed {seed}");
    }
}

#[test]
fn frames_cut_or_changed_at_any_byte_do_no_harm() {
    let inner = packets::tcp(client(), server(), 100, 500, ACK, b"payload");
    let (a, b): (SocketAddr, SocketAddr) = ("192.0.2.1:5000".parse().unwrap(), "192.0.2.2:4789".parse().unwrap());
    let frames = [inner.clone(), packets::udp(a, b, &[&[8, 0, 0, 0, 0, 0, 7, 0], &inner[..]].concat())];
    let mut bench = connected();
    for frame in &frames {
        for keep in 0..frame.len() {
            bench.cut(frame, keep).frame(&frame[..keep]);
        }
        for at in 0..frame.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut changed = frame.clone();
                changed[at] = value;
                bench.frame(&changed);
            }
        }
    }
    bench.finish();
    let counts = bench.assembler.counts();
    assert!(counts.truncated > 0 && counts.malformed > 0);
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
