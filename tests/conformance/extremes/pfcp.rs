//! PFCP.

use std::cell::RefCell;

use super::{Counts, Length, MALFORMED, Made, NOT_MATCHING, OK, Probe, TRUNCATED, UNSUPPORTED};
use crate::support::messages::{ie, pfcp, session_establishment};

thread_local! {
    static PROBE: RefCell<Probe> = RefCell::new(Probe::new("pfcp", 8805));
}

fn made(bytes: &[u8]) -> Made {
    PROBE.with_borrow_mut(|probe| probe.datagram(8805, bytes, bytes.len()))
}

fn counts(bytes: &[u8]) -> Counts {
    made(bytes).counts
}

/// Of a datagram of which the capture kept so much.
fn cut(bytes: &[u8], keep: usize) -> Counts {
    PROBE.with_borrow_mut(|probe| probe.datagram(8805, bytes, keep)).counts
}

/// Offsets of the lengths of all IEs in a list, those in groups too.
fn lengths(bytes: &[u8], mut at: usize, end: usize, into: &mut Vec<Length>) {
    const GROUPS: [u16; 6] = [1, 2, 3, 4, 6, 7];
    while at < end {
        let length = Length::new(at + 2, 2);
        into.push(length);
        let next = at + 4 + length.of(bytes) as usize;
        if GROUPS.contains(&u16::from_be_bytes([bytes[at], bytes[at + 1]])) {
            lengths(bytes, at + 4, next, into);
        }
        at = next;
    }
}

#[test]
fn the_length_of_a_message_is_that_of_its_datagram_or_it_is_malformed() {
    let whole = session_establishment();
    let length = Length::new(2, 2);
    for value in length.too_long(&whole) {
        let bytes = length.set(&whole, value);
        assert_eq!(counts(&bytes), MALFORMED, "{value}");
        assert_eq!(made(&bytes).records.len(), 0);
        // The same of which the capture kept no more: who knows what it left out.
        assert_eq!(cut(&[&bytes[..], &[0; 9]].concat(), bytes.len()), TRUNCATED, "{value}");
    }
    // Less leaves out the end: that is padding where an IE ends there, else the last IE is cut in two.
    let mut ends = vec![12];
    let mut at = 16;
    while at < whole.len() {
        at += 4 + Length::new(at + 2, 2).of(&whole) as usize;
        ends.push(at as u64 - 4);
    }
    for value in length.too_short(&whole) {
        let expected = if ends.contains(&value) { OK } else { MALFORMED };
        assert_eq!(counts(&length.set(&whole, value)), expected, "{value}");
    }
}

#[test]
fn the_length_of_an_ie_that_runs_over_its_group_or_message_is_malformed() {
    let whole = session_establishment();
    let mut found = Vec::new();
    lengths(&whole, 16, whole.len(), &mut found);
    assert_eq!(found.len(), 40);
    for length in &found {
        for value in length.too_long(&whole) {
            // What still ends within the message swallows part of the next IE, and what is left of that may
            // look like one.
            let by_chance = value < whole.len() as u64 && counts(&length.set(&whole, value)) == OK;
            assert!(by_chance || counts(&length.set(&whole, value)) == MALFORMED, "{length:?} {value}");
        }
        for value in length.too_short(&whole) {
            let counts = counts(&length.set(&whole, value));
            assert!([OK, MALFORMED].contains(&counts), "{length:?} {value} {counts:?}");
        }
    }
}

#[test]
fn lengths_and_counts_within_values_are_malformed_where_the_value_ends_before_them() {
    let of_255 = |count: u8| [&[count][..], &[7; 6]].concat();
    for (code, right, wrong) in [
        // FQ-CSID: 15 sets of which there is one
        (65, vec![0x01, 10, 0, 0, 1, 0, 1], vec![0x0f, 10, 0, 0, 1, 0, 1]),
        // SDF Filter: the flow description's length
        (23, vec![1, 0, 0, 2, b'a', b'b'], vec![1, 0, 0xff, 0xff, b'a', b'b']),
        // User ID: that of the IMSI
        (141, vec![1, 2, 0x21, 0x43], vec![1, 0xff, 0x21, 0x43]),
        // PFD contents: that of a list, and that of a text within it
        (61, vec![0x20, 0, 0, 4, 0, 2, b'a', b'b'], vec![0x20, 0, 0xff, 0xff, 0, 2, b'a', b'b']),
        (61, vec![0x20, 0, 0, 4, 0, 2, b'a', b'b'], vec![0x20, 0, 0, 4, 0xff, 0xff, b'a', b'b']),
        // MAC Addresses Detected and PMF Control Information: how many
        (144, of_255(1), of_255(255)),
        (224, vec![4, 1, 9], vec![4, 255, 9]),
        // UE IP address Pool Identity
        (177, vec![0, 1, b'a'], vec![0xff, 0xff, b'a']),
        // DL Buffering Suggested Packet Count: a number of any length, but not of any
        (48, vec![1], vec![1; 9]),
    ] {
        let message = |value: &[u8]| pfcp(50, 0, &[ie(code, value)]);
        assert_eq!(counts(&message(&right)), OK, "{code}");
        let broken = made(&message(&wrong));
        assert_eq!(broken.counts, MALFORMED, "{code}");
        let hex: String = wrong.iter().map(|octet| format!("{octet:02x}")).collect();
        assert_eq!(broken.records[0]["ies"][0]["hex"], hex, "told as it stands");
        // Octets behind what the release knows are of a later one.
        assert_eq!(counts(&message(&[&right[..], &[0; 3]].concat()))[4], 0, "{code}");
    }
}

#[test]
fn an_ie_without_value_is_malformed_unless_it_is_a_group_or_may_be_empty() {
    for code in 1..=322 {
        let definition = tawon::decode::pfcp::definition(code).unwrap();
        let counts = counts(&pfcp(50, 0, &[ie(code, &[])]));
        match definition.body {
            tawon::decode::pfcp::Body::Fields(_) => assert!([OK, MALFORMED].contains(&counts), "{code} {counts:?}"),
            _ => assert_eq!(counts, OK, "{code}"),
        }
    }
    assert_eq!(counts(&pfcp(50, 0, &[ie(57, &[])])), MALFORMED);
    assert_eq!(counts(&pfcp(50, 0, &[ie(22, &[])])), OK);
    let empty = made(&pfcp(50, 0, &[ie(1, &[])]));
    assert_eq!(empty.records[0]["ies"][0], serde_json::json!({"type": 1, "name": "Create PDR", "ies": []}));
}

#[test]
fn groups_nest_in_themselves_to_a_fixed_depth_and_no_deeper() {
    let nested = |depth: usize| {
        let inner = (1..depth).fold(ie(1, &[]), |inner, _| ie(1, &inner));
        pfcp(50, 0, &[inner])
    };
    // The list of the message itself is the first of 8.
    for depth in 1..8 {
        let made = made(&nested(depth));
        assert_eq!(made.counts, OK, "{depth}");
        let mut at = made.records[0].clone();
        for _ in 0..depth {
            at = at["ies"][0].clone();
        }
        assert_eq!(at["ies"], serde_json::json!([]));
    }
    for depth in [8, 9, 100, 15_000] {
        let made = made(&nested(depth));
        assert_eq!((made.counts, made.records.len()), (MALFORMED, 0), "{depth}");
    }
}

#[test]
fn a_datagram_full_of_empty_ies_is_one_record() {
    let ies = vec![ie(1, &[]); (65_535 - 12) / 4];
    let made = made(&pfcp(50, 0, &ies));
    assert_eq!(made.counts, OK);
    assert_eq!(made.records[0]["ies"].as_array().unwrap().len(), ies.len());
}

#[test]
fn what_stands_behind_a_message_is_padding_unless_the_message_says_that_another_follows() {
    let message = pfcp(52, 0, &[ie(19, &[1])]);
    for behind in [&[][..], &[0], &[0; 40], b"GET / HTTP/1.1", &message] {
        assert_eq!(counts(&[&message[..], behind].concat()), OK, "{behind:?}");
    }
    let followed = pfcp(52, 0x04, &[ie(19, &[1])]);
    let both = |second: &[u8]| counts(&[&followed[..], second].concat());
    assert_eq!(both(&message), [2, 0, 0, 0, 0]);
    assert_eq!(both(&[]), [1, 0, 1, 0, 0]);
    assert_eq!(both(&message[..7]), [1, 0, 1, 0, 0]);
    // Announced, so it is not another protocol's.
    assert_eq!(both(&[0; 16]), [1, 0, 1, 0, 0]);
    assert_eq!(both(&pfcp(99, 0, &[])), [1, 0, 0, 1, 0]);
    let bundle = [&followed[..], &message].concat();
    for keep in followed.len()..bundle.len() {
        assert_eq!(cut(&bundle, keep), [1, 1, 0, 0, 0], "{keep}");
    }
    // As many as a datagram holds.
    let many: Vec<u8> = (0..2000).flat_map(|_| pfcp(52, 0x04, &[])).chain(pfcp(52, 0, &[])).collect();
    assert_eq!(counts(&many), [2001, 0, 0, 0, 0]);
}

#[test]
fn another_protocol_is_not_matching_and_another_version_is_unsupported() {
    for other in [&b"\x00"[..], b"\x00\x01hello", b"GET / HTTP/1.1\r\n", &[0xff; 40], &[0x16, 3, 1, 0, 1, 0]] {
        assert_eq!(counts(other), NOT_MATCHING, "{other:?}");
    }
    for version in 2..8_u8 {
        assert_eq!(counts(&[version << 5, 1, 0, 4, 0, 0, 0, 0]), UNSUPPORTED, "{version}");
    }
}

#[test]
fn however_many_ids_a_message_has_all_are_gathered() {
    let teid = |id: u32| ie(21, &[&[1][..], &id.to_be_bytes(), &[10, 0, 0, 2]].concat());
    let ids: Vec<u32> = (1..=100).collect();
    let ies: Vec<Vec<u8>> = ids.iter().chain(&[1, 2, 32]).map(|id| teid(*id)).collect();
    let made = made(&pfcp(50, 0, &ies));
    let told: Vec<String> = ids.iter().map(|id| format!("{id:08x}")).collect();
    assert_eq!(made.records[0]["teids"], serde_json::json!(told));
}
