//! How connections begin, end and follow one another on the same ports.

use super::*;

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
