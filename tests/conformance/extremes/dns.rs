//! DNS.

use std::cell::RefCell;

use super::{Counts, Length, MALFORMED, Made, OK, Probe};
use crate::support::chunk::chunk;
use tawon::task::record::{Chunk, FlowEnd};

thread_local! {
    static PROBE: RefCell<Probe> = RefCell::new(Probe::new("dns", 53));
}

fn made(bytes: &[u8]) -> Made {
    PROBE.with_borrow_mut(|probe| probe.datagram(53, bytes, bytes.len()))
}

fn counts(bytes: &[u8]) -> Counts {
    made(bytes).counts
}

/// An answer: a question for `a.example`, an A record, a TXT record and OPT.
fn answer() -> Vec<u8> {
    let mut bytes = vec![0, 7, 0x81, 0x80, 0, 1, 0, 2, 0, 0, 0, 1];
    bytes.extend(b"\x01a\x07example\x00\x00\x01\x00\x01");
    bytes.extend(b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\xc0\x00\x02\x01");
    bytes.extend(b"\xc0\x0c\x00\x10\x00\x01\x00\x00\x00\x3c\x00\x06\x02hi\x02yo");
    bytes.extend(b"\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x06\x00\x0a\x00\x02ab");
    bytes
}

#[test]
fn lists_that_claim_65_535_entries_are_malformed() {
    let whole = answer();
    assert_eq!(counts(&whole), OK);
    for at in [4, 6, 8, 10] {
        let length = Length::new(at, 2);
        for value in length.too_long(&whole) {
            assert_eq!(counts(&length.set(&whole, value)), MALFORMED, "section at {at}, {value}");
        }
        for value in length.too_short(&whole) {
            let counts = counts(&length.set(&whole, value));
            assert!([OK, MALFORMED].contains(&counts), "section at {at}, {value} {counts:?}");
        }
    }
}

#[test]
fn lengths_of_record_data_and_of_labels_are_within_the_message_or_it_is_malformed() {
    let whole = answer();
    // Two labels, three records' data, two strings within the second, an option within the third.
    for (at, width, right) in
        [(12, 1, 1), (14, 1, 7), (37, 2, 4), (53, 2, 6), (70, 2, 6), (55, 1, 2), (58, 1, 2), (74, 2, 2)]
    {
        let length = Length::new(at, width);
        assert_eq!(length.of(&whole), right);
        for value in [length.max() / 2, length.max() - 1, length.max()] {
            assert_eq!(counts(&length.set(&whole, value)), MALFORMED, "at {at}, {value}");
        }
        for value in length.too_long(&whole).into_iter().chain(length.too_short(&whole)) {
            let counts = counts(&length.set(&whole, value));
            assert!([OK, MALFORMED].contains(&counts), "at {at}, {value} {counts:?}");
        }
    }
    // A record without data where its type has some.
    let mut empty = answer();
    empty.splice(37..43, [0, 0]);
    assert_eq!(counts(&empty), MALFORMED);
    // RFC 2136 section 2.4.1 has such records in updates.
    empty[2] = 0xa8;
    assert_eq!(counts(&empty), OK);
}

/// A question whose name is these bytes.
fn question(name: &[u8]) -> Vec<u8> {
    [&[0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0][..], name, &[0, 1, 0, 1]].concat()
}

#[test]
fn names_that_compress_in_circles_or_forward_are_malformed() {
    for name in [
        &[0xc0, 12][..],
        &[1, b'a', 0xc0, 12],
        &[0xc0, 14, 0xc0, 12],
        &[1, b'a', 0xc0, 16, 1, b'b', 0xc0, 12],
        &[0xc0, 14, 0],
        &[0xff, 0xff],
        &[1, b'a', 0xc0],
        // into the header, whose zeros are the root's, is allowed; into its middle it leads out again
        &[0x40, b'a', 0],
        &[0x80, 0],
    ] {
        assert_eq!(counts(&question(name)), MALFORMED, "{name:?}");
    }
    // Backwards is what pointers are for.
    assert_eq!(counts(&answer()), OK);
}

#[test]
fn labels_and_names_are_as_long_as_they_may_be_and_no_longer() {
    let name = |labels: &[usize]| {
        let bytes: Vec<u8> =
            labels.iter().flat_map(|length| [&[*length as u8][..], &vec![b'a'; *length]].concat()).collect();
        question(&[&bytes[..], &[0]].concat())
    };
    assert_eq!(counts(&name(&[63])), OK);
    assert_eq!(counts(&name(&[63, 63, 63, 61])), OK, "255 bytes");
    assert_eq!(counts(&name(&[63, 63, 63, 62])), MALFORMED, "256 bytes");
    assert_eq!(counts(&name(&[])), OK, "the root");
    // Pointers that each add a label to the one before.
    let mut message = vec![0, 7, 0x81, 0x80, 0, 0, 0, 200, 0, 0, 0, 0];
    let mut before = None::<usize>;
    for _ in 0..200 {
        let at = message.len();
        message.extend(b"\x01a");
        match before {
            Some(before) => message.extend((0xc000 | before as u16).to_be_bytes()),
            None => message.push(0),
        }
        message.extend([0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 192, 0, 2, 1]);
        before = Some(at);
    }
    assert_eq!(counts(&message), MALFORMED, "the 128th name is longer than any may be");
}

#[test]
fn bytes_behind_a_message_and_a_second_one_are_left_alone() {
    let whole = answer();
    for behind in [&[0][..], &[0xff; 30], &whole] {
        let bytes = [&whole[..], behind].concat();
        let made = made(&bytes);
        assert_eq!((made.counts, made.records.len()), (OK, 1));
    }
}

#[test]
fn over_tcp_the_length_before_a_message_decides() {
    let whole = answer();
    let stream = |bytes: &[u8]| {
        let end = |flow| Chunk { offset: bytes.len() as u64, end: Some(FlowEnd::Fin), ..chunk(flow, 6, 53, &[]) };
        let made = PROBE.with_borrow_mut(|probe| {
            probe.make(|run, flow| {
                run.chunk(&Chunk { start: true, ..chunk(flow, 6, 53, bytes) });
                run.chunk(&end(flow));
            })
        });
        made.counts
    };
    let prefixed = |length: usize| [&(length as u16).to_be_bytes()[..], &whole].concat();
    assert_eq!(stream(&prefixed(whole.len())), OK);
    assert_eq!(stream(&[prefixed(whole.len()), prefixed(whole.len())].concat()), [2, 0, 0, 0, 0]);
    for length in [whole.len() + 1, 32_767, 65_535] {
        assert_eq!(stream(&prefixed(length)), [0, 1, 0, 0, 0], "the stream ends before its message does: {length}");
    }
    for length in [0, 1, 11, whole.len() - 1] {
        let [ok, _, malformed, ..] = stream(&prefixed(length));
        assert!(ok == 0 && malformed > 0, "{length}");
    }
}
