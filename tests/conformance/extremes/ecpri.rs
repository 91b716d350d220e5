//! eCPRI.

use std::cell::RefCell;

use super::{Counts, Length, MALFORMED, NOT_MATCHING, OK, Probe, TRUNCATED, UNSUPPORTED};
use crate::support::messages::iq;

thread_local! {
    static PROBE: RefCell<Probe> = RefCell::new(Probe::new("ecpri", 5555));
}

fn counts(bytes: &[u8]) -> Counts {
    cut(bytes, bytes.len())
}

/// Of a datagram of which the capture kept so much.
fn cut(bytes: &[u8], keep: usize) -> Counts {
    PROBE.with_borrow_mut(|probe| probe.datagram(5555, bytes, keep)).counts
}

fn message(kind: u8, concatenated: bool, body: &[u8]) -> Vec<u8> {
    [&[0x10 | u8::from(concatenated), kind][..], &(body.len() as u16).to_be_bytes(), body].concat()
}

/// How long the header of each message type is.
const HEADERS: [usize; 12] = [4, 4, 4, 8, 12, 20, 3, 4, 9, 2, 2, 12];

#[test]
fn the_payload_size_is_within_the_pdu_or_it_is_malformed() {
    let length = Length::new(2, 2);
    for kind in 0..12 {
        let whole = message(kind, false, &vec![0; HEADERS[usize::from(kind)] + 6]);
        assert_eq!(counts(&whole), OK, "{kind}");
        for value in length.too_long(&whole) {
            let bytes = length.set(&whole, value);
            assert_eq!(counts(&bytes), MALFORMED, "{kind} {value}");
            let more = [&bytes[..], &[0; 9]].concat();
            assert_eq!(cut(&more, bytes.len()), TRUNCATED, "{kind} {value}");
        }
        for value in length.too_short(&whole) {
            let expected = if value >= HEADERS[usize::from(kind)] as u64 { OK } else { MALFORMED };
            assert_eq!(counts(&length.set(&whole, value)), expected, "{kind} {value}");
        }
    }
    assert_eq!(counts(&message(12, false, &[])), UNSUPPORTED);
    assert_eq!(counts(&message(255, false, &[0; 30])), UNSUPPORTED);
}

#[test]
fn lengths_within_a_message_claim_no_more_than_there_is() {
    // An event indication that announces 255 faults.
    let event = |count: u8, faults: usize| message(7, false, &[&[1, 0, 0, count][..], &vec![0; 8 * faults]].concat());
    assert_eq!(counts(&event(255, 255)), OK);
    assert_eq!(counts(&event(255, 254)), MALFORMED);
    assert_eq!(counts(&event(255, 0)), MALFORMED);
    assert_eq!(counts(&event(0, 3)), OK);
    // Remote memory access: what writes or answers a read carries as much as it says.
    let access = |kind: u8, length: u16, carried: usize| {
        let body = [&[1, kind, 0, 2, 0, 0, 0, 0, 0, 3][..], &length.to_be_bytes(), &vec![0; carried]].concat();
        counts(&message(4, false, &body))
    };
    for kind in [0x01, 0x10, 0x20] {
        assert_eq!(access(kind, 4, 4), OK, "{kind:02x}");
        assert_eq!(access(kind, 4, 6), OK, "{kind:02x}");
        assert_eq!(access(kind, 5, 4), MALFORMED, "{kind:02x}");
        assert_eq!(access(kind, 0xffff, 4), MALFORMED, "{kind:02x}");
        assert_eq!(access(kind, 0xffff, 0), MALFORMED, "{kind:02x}");
    }
    // What asks for a read, or answers a write, carries nothing.
    for kind in [0x00, 0x11, 0x02] {
        assert_eq!(access(kind, 0xffff, 0), OK, "{kind:02x}");
    }
}

#[test]
fn what_stands_behind_a_message_is_padding_unless_it_says_that_another_follows() {
    let one = message(0, false, &[0, 1, 0, 2, 9]);
    for behind in [&[][..], &[0; 46], b"whatever", &one] {
        assert_eq!(counts(&[&one[..], behind].concat()), OK);
    }
    let followed = message(0, true, &[0, 1, 0, 2, 9]);
    let both = |second: &[u8]| counts(&[&followed[..], &[0; 3], second].concat());
    assert_eq!(both(&one), [2, 0, 0, 0, 0]);
    // Announced, so it is not another protocol's.
    assert_eq!(both(&[]), [1, 0, 1, 0, 0]);
    assert_eq!(both(&[0; 8]), [1, 0, 1, 0, 0]);
    assert_eq!(both(&one[..6]), [1, 0, 1, 0, 0]);
    assert_eq!(both(&message(200, false, &[])), [1, 0, 0, 1, 0]);
    assert_eq!(counts(&followed), [1, 0, 1, 0, 0]);
    let pdu = [&followed[..], &[0; 3], &one].concat();
    for keep in followed.len()..pdu.len() {
        assert_eq!(cut(&pdu, keep), [1, 1, 0, 0, 0], "{keep}");
    }
    // As many as a datagram holds.
    let many: Vec<u8> = (0..7000).flat_map(|_| message(9, true, &[0, 1, 0, 0])).chain(iq(0)).collect();
    assert_eq!(counts(&many), [7001, 0, 0, 0, 0]);
}

#[test]
fn another_protocol_is_not_matching_and_another_revision_is_unsupported() {
    assert_eq!(counts(&[0; 20]), NOT_MATCHING);
    for revision in 2..16_u8 {
        assert_eq!(counts(&[revision << 4, 0, 0, 0]), UNSUPPORTED, "{revision}");
    }
}
