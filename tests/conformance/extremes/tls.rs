//! TLS and DTLS.

use std::cell::RefCell;

use super::{Counts, Length, MALFORMED, NOT_MATCHING, OK, Probe, TRUNCATED, UNSUPPORTED};
use crate::support::alloc;
use crate::support::chunk::chunk;
use crate::support::messages::client_hello;
use tawon::task::record::{Chunk, FlowEnd};

thread_local! {
    static PROBE: RefCell<Probe> = RefCell::new(Probe::new("tlsheaders", 443));
}

/// What comes of a stream that ends behind these bytes.
fn stream(bytes: &[u8]) -> Counts {
    let made = PROBE.with_borrow_mut(|probe| {
        probe.make(|run, flow| {
            run.chunk(&chunk(flow, 6, 443, bytes));
            run.chunk(&Chunk { end: Some(FlowEnd::Fin), ..chunk(flow, 6, 443, &[]) });
        })
    });
    made.counts
}

fn datagrams(datagrams: &[&[u8]]) -> Counts {
    let made = PROBE.with_borrow_mut(|probe| {
        probe.make(|run, flow| {
            datagrams.iter().for_each(|bytes| run.chunk(&chunk(flow, 17, 443, bytes)));
            run.close();
        })
    });
    made.counts
}

/// A handshake message in a record of its own.
fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let message = [&[kind][..], &(body.len() as u32).to_be_bytes()[1..], body].concat();
    [&[22, 3, 3][..], &(message.len() as u16).to_be_bytes(), &message].concat()
}

const RECORD: Length = Length::new(3, 2);
const HANDSHAKE: Length = Length::new(6, 3);
const SESSION_ID: Length = Length::new(43, 1);

/// The other lengths of the hello: ciphers, compression methods, extensions, and those of each extension.
fn lengths(hello: &[u8]) -> (Length, Length, Length, Vec<(u16, Length)>) {
    let ciphers = Length::new(44 + SESSION_ID.of(hello) as usize, 2);
    let compression = Length::new(ciphers.at + 2 + ciphers.of(hello) as usize, 1);
    let block = Length::new(compression.at + 1 + compression.of(hello) as usize, 2);
    let (mut each, mut at) = (Vec::new(), block.at + 2);
    while at < hello.len() {
        let length = Length::new(at + 2, 2);
        each.push((u16::from_be_bytes([hello[at], hello[at + 1]]), length));
        at += 4 + length.of(hello) as usize;
    }
    (ciphers, compression, block, each)
}

#[test]
fn a_record_that_ends_behind_the_stream_is_truncated_and_one_longer_than_any_is_another_protocol() {
    let hello = client_hello();
    for value in RECORD.too_long(&hello) {
        let expected = if value <= (1 << 14) + 2048 { TRUNCATED } else { NOT_MATCHING };
        assert_eq!(stream(&RECORD.set(&hello, value)), expected, "{value}");
    }
    // What is left then stands where a record should begin.
    for value in RECORD.too_short(&hello) {
        assert_eq!(stream(&RECORD.set(&hello, value)), MALFORMED, "{value}");
    }
}

#[test]
fn a_message_that_ends_behind_the_stream_is_truncated_and_one_longer_than_any_hello_is_unsupported() {
    let hello = client_hello();
    for value in HANDSHAKE.too_long(&hello) {
        let expected = if value + 4 <= 64 << 10 { TRUNCATED } else { UNSUPPORTED };
        assert_eq!(stream(&HANDSHAKE.set(&hello, value)), expected, "{value}");
    }
    let (_, _, block, _) = lengths(&hello);
    for value in HANDSHAKE.too_short(&hello) {
        // Only without extensions is less a hello too.
        let whole = value == (block.at - 9) as u64;
        // What is left stands where messages begin.
        let [ok, _, malformed, _, not_matching] = stream(&HANDSHAKE.set(&hello, value));
        assert!(if whole { ok > 0 } else { malformed > 0 }, "{value}");
        assert_eq!(not_matching, 0);
    }
}

#[test]
fn lengths_within_a_hello_that_do_not_fit_it_are_malformed() {
    let hello = client_hello();
    let (ciphers, compression, block, each) = lengths(&hello);
    for length in [SESSION_ID, ciphers, compression, block] {
        for value in length.too_long(&hello) {
            assert_eq!(stream(&length.set(&hello, value)), MALFORMED, "{length:?} {value}");
        }
        for value in length.too_short(&hello) {
            let counts = stream(&length.set(&hello, value));
            assert!([OK, MALFORMED].contains(&counts), "{length:?} {value} {counts:?}");
        }
    }
    assert!(each.len() > 8);
    for (code, length) in each {
        for value in [length.max() / 2, length.max() - 1, length.max()] {
            assert_eq!(stream(&length.set(&hello, value)), MALFORMED, "{code} {value}");
        }
        for value in length.too_long(&hello).into_iter().chain(length.too_short(&hello)) {
            // The length may then be right by chance, as where the next extension is empty.
            let counts = stream(&length.set(&hello, value));
            assert!([OK, MALFORMED].contains(&counts), "{code} {value} {counts:?}");
        }
        // Lists within: server names, groups, point formats, signature algorithms, ALPN, versions.
        let width = match code {
            0 | 10 | 13 | 16 => 2,
            11 | 43 => 1,
            _ => continue,
        };
        let list = Length::new(length.at + 2, width);
        for value in list.too_long(&hello).into_iter().chain(list.too_short(&hello)) {
            assert_eq!(stream(&list.set(&hello, value)), MALFORMED, "list in {code}, {value}");
        }
    }
}

#[test]
fn lists_that_claim_all_that_their_length_can_say_are_malformed() {
    let begin = [&[3, 3][..], &[7; 32], &[0]].concat();
    for body in [
        [&begin[..], &[0xff, 0xff, 0x13, 1, 1, 0]].concat(),
        [&begin[..], &[0, 2, 0x13, 1, 0xff, 0]].concat(),
        [&begin[..], &[0, 2, 0x13, 1, 1, 0, 0xff, 0xff, 0, 10]].concat(),
        [&begin[..], &[0, 2, 0x13, 1, 1, 0, 0, 6, 0, 10, 0xff, 0xff, 0, 29]].concat(),
        [&begin[..], &[0, 2, 0x13, 1, 1, 0, 0, 8, 0, 10, 0, 4, 0xff, 0xff, 0, 29]].concat(),
    ] {
        assert_eq!(stream(&message(1, &body)), MALFORMED, "{body:?}");
    }
    let server = [&[3, 3][..], &[7; 32], &[0, 0x13, 1, 0, 0xff, 0xff]].concat();
    assert_eq!(stream(&message(2, &server)), MALFORMED);
    for body in [&[0xff, 0xff, 0xff][..], &[0, 0, 6, 0xff, 0xff, 0xff, 1, 2, 3], &[0, 0, 3, 0, 0, 1]] {
        assert_eq!(stream(&message(11, body)), MALFORMED, "{body:?}");
    }
    assert_eq!(stream(&message(11, &[0, 0, 0])), OK, "a client may answer with no certificate");
    // 32 767 cipher suites are more than any has and no error: the message has room for them.
    let many = [&begin[..], &[0xfd, 0xe8], &vec![0x13; 65_000], &[1, 0]].concat();
    let body = [&[1][..], &(many.len() as u32).to_be_bytes()[1..], &many].concat();
    let records: Vec<u8> = body
        .chunks(1 << 14)
        .flat_map(|part| [&[22, 3, 1][..], &(part.len() as u16).to_be_bytes(), part].concat())
        .collect();
    assert_eq!(stream(&records), OK);
}

#[test]
fn what_stands_behind_a_hello_is_the_next_message_and_within_it_is_malformed() {
    let hello = client_hello();
    // Bytes behind the extensions, counted by every length around them.
    let body = [&hello[9..], &[0]].concat();
    assert_eq!(stream(&message(1, &body)), MALFORMED);
    // Two messages in one record, two records in one segment.
    let twice = [&hello[5..], &hello[5..]].concat();
    let one_record = [&[22, 3, 1][..], &(twice.len() as u16).to_be_bytes(), &twice].concat();
    assert_eq!(stream(&one_record), [2, 0, 0, 0, 0]);
    assert_eq!(stream(&[&hello[..], &hello].concat()), [2, 0, 0, 0, 0]);
    assert_eq!(stream(&[&hello[..], b"GET / HTTP/1.1\r\n"].concat()), [1, 0, 1, 0, 0]);
    // Records and messages that say nothing.
    assert_eq!(stream(&[&[22, 3, 1, 0, 0][..], &hello].concat()), OK);
    assert_eq!(stream(&message(1, &[])), MALFORMED);
    assert_eq!(stream(&message(14, &[])), OK, "ServerHelloDone is empty");
    for alert in [&[21, 3, 3, 0, 0][..], &[21, 3, 3, 0, 1, 1], &[21, 3, 3, 0, 3, 1, 0, 0], &[21, 3, 3, 0, 2, 3, 0]] {
        assert_eq!(stream(alert), MALFORMED, "{alert:?}");
    }
}

/// A DTLS record with a fragment of a handshake message of so many bytes.
fn fragment(length: u32, seq: u16, offset: u32, bytes: &[u8]) -> Vec<u8> {
    let handshake = [
        &[1][..],
        &length.to_be_bytes()[1..],
        &seq.to_be_bytes(),
        &offset.to_be_bytes()[1..],
        &(bytes.len() as u32).to_be_bytes()[1..],
        bytes,
    ]
    .concat();
    [&[22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0][..], &(handshake.len() as u16).to_be_bytes(), &handshake].concat()
}

/// A ClientHello of DTLS without extensions.
fn dtls_hello() -> Vec<u8> {
    [&[0xfe, 0xfd][..], &[7; 32], &[0, 0, 0, 2, 0xc0, 0x2b, 1, 0]].concat()
}

#[test]
fn lengths_of_dtls_are_within_the_datagram_or_it_is_malformed() {
    let body = dtls_hello();
    let total = body.len() as u32;
    let whole = fragment(total, 0, 0, &body);
    assert_eq!(datagrams(&[&whole]), OK);
    assert_eq!(datagrams(&[&[&whole[..], &whole].concat()]), [2, 0, 0, 0, 0], "two messages in one datagram");
    assert_eq!(datagrams(&[&[&whole[..], &[0; 3]].concat()]), [1, 0, 1, 0, 0]);
    let (record, length, offset, part) =
        (Length::new(11, 2), Length::new(14, 3), Length::new(19, 3), Length::new(22, 3));
    for value in record.too_long(&whole) {
        assert_eq!(datagrams(&[&record.set(&whole, value)]), NOT_MATCHING, "nothing before it was DTLS: {value}");
        assert_eq!(datagrams(&[&whole, &record.set(&whole, value)]), [1, 0, 1, 0, 0], "{value}");
    }
    for value in part.too_long(&whole) {
        assert_eq!(datagrams(&[&part.set(&whole, value)]), MALFORMED, "fragment of {value}");
    }
    for value in offset.too_long(&whole) {
        assert_eq!(datagrams(&[&offset.set(&whole, value)]), MALFORMED, "fragment at {value}");
    }
    for value in length.too_short(&whole) {
        assert_eq!(datagrams(&[&length.set(&whole, value)]), MALFORMED, "a fragment longer than its message: {value}");
    }
    for value in length.too_long(&whole) {
        let expected = if value <= 64 << 10 { TRUNCATED } else { UNSUPPORTED };
        assert_eq!(datagrams(&[&length.set(&whole, value)]), expected, "the rest never comes: {value}");
    }
}

#[test]
fn fragments_of_dtls_in_any_order_and_overlap_are_one_message() {
    let body = dtls_hello();
    let total = body.len() as u32;
    let part = |from: usize, to: usize| fragment(total, 3, from as u32, &body[from..to]);
    let end = body.len();
    assert_eq!(datagrams(&[&part(20, end), &part(0, 10), &part(5, 25)]), OK);
    assert_eq!(datagrams(&[&part(0, end - 1), &part(0, end - 1)]), TRUNCATED);
    assert_eq!(datagrams(&[&part(0, 0), &part(end, end), &part(0, end)]), [1, 1, 0, 0, 0]);
    let single: Vec<Vec<u8>> = (0..end).rev().map(|at| part(at, at + 1)).collect();
    assert_eq!(datagrams(&single.iter().map(|part| &part[..]).collect::<Vec<_>>()), OK);
    // Every second byte, so that nothing joins: more pieces than are kept.
    let gaps: Vec<Vec<u8>> = (0..end).step_by(2).map(|at| part(at, at + 1)).collect();
    assert_eq!(datagrams(&gaps.iter().map(|part| &part[..]).collect::<Vec<_>>()), [0, 1, 0, 1, 0]);
}

#[test]
fn a_message_that_is_given_up_leaves_its_room_to_the_next() {
    let parts: Vec<Vec<u8>> = (0..200).map(|seq| fragment(60_000, seq, 30_000, &[1, 2, 3])).collect();
    PROBE.with_borrow_mut(|probe| {
        probe.make(|run, flow| {
            let mut feed = |parts: &[Vec<u8>]| parts.iter().for_each(|part| run.chunk(&chunk(flow, 17, 443, part)));
            feed(&parts[..1]);
            assert_eq!(alloc::count(|| feed(&parts[1..])), 0);
        })
    });
}
