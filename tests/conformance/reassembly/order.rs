//! Bytes of one direction: order, repetition, holes and what ends them.

use super::*;

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
fn a_stream_whose_sequence_numbers_jump_goes_on_with_an_unknown_gap() {
    let mut bench = connected();
    bench.tx(100, ACK, b"abc").tx(0x6000_0000, ACK, b"lost").tx(0x6000_0004, ACK, b"there").tx(0x6000_0009, ACK, b"!");
    assert_eq!(bench.told_tx(), "abc<?>there!");
    assert_eq!(bench.assembler.counts().streams.resyncs, 1);
}
