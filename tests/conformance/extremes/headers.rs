//! The headers of frames.

use std::cell::RefCell;
use std::net::IpAddr;

use super::{Counts, Length, MALFORMED, Made, OK, Probe, TRUNCATED};
use crate::support::packets;

thread_local! {
    static PROBE: RefCell<Probe> = RefCell::new(Probe::new("headers", 0));
}

/// Of a frame of which `wire` bytes were on the wire.
fn of(bytes: &[u8], wire: usize) -> Made {
    PROBE.with_borrow_mut(|probe| probe.make(|run, _| run.frame(bytes, wire, 1)))
}

fn counts(bytes: &[u8]) -> Counts {
    of(bytes, bytes.len()).counts
}

fn v4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let address = |last: u8| IpAddr::from([192, 0, 2, last]);
    packets::ethernet(&packets::ip(address(1), address(2), protocol, payload))
}

fn v6(next: u8, payload: &[u8]) -> Vec<u8> {
    let address = |last: u16| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, last]);
    packets::ethernet(&packets::ip(address(1), address(2), next, payload))
}

fn udp(port: u16, payload: &[u8]) -> Vec<u8> {
    v4(17, &packets::udp_datagram(4000, port, payload))
}

const IP: usize = 14;
const V4: usize = IP + 20;
const V6: usize = IP + 40;

#[test]
fn lengths_that_run_over_the_frame_are_malformed_or_truncated_where_the_capture_cut_it() {
    let tcp = packets::tcp_segment(1, 2, 3, 4, 16, b"payload");
    let datagram = packets::udp_datagram(1, 2, b"payload");
    let gtpu = udp(
        2152,
        &[&[0x30, 255, 0, 20, 0, 0, 0, 1][..], &packets::ip([10, 0, 0, 1].into(), [10, 0, 0, 2].into(), 99, &[])]
            .concat(),
    );
    for (what, frame, length) in [
        ("IPv4 total length", v4(6, &tcp), Length::new(IP + 2, 2)),
        ("IPv6 payload length", v6(6, &tcp), Length::new(IP + 4, 2)),
        ("UDP length", v4(17, &datagram), Length::new(V4 + 4, 2)),
        ("UDP length over IPv6", v6(17, &datagram), Length::new(V6 + 4, 2)),
        ("GTP-U length", gtpu, Length::new(V4 + 8 + 2, 2)),
    ] {
        assert_eq!(counts(&frame), OK, "{what}");
        for value in length.too_long(&frame) {
            let long = length.set(&frame, value);
            assert_eq!(counts(&long), MALFORMED, "{what} {value}");
            // Within what was on the wire it may be right, and the headers are whole.
            let wire = frame.len() + (value - length.of(&frame)) as usize;
            if what.starts_with("IP") {
                assert_eq!(of(&long, wire).counts, OK, "{what} {value} of {wire}");
            }
        }
    }
}

#[test]
fn lengths_of_headers_are_at_least_what_a_header_has() {
    let tcp = v4(6, &packets::tcp_segment(1, 2, 3, 4, 16, b""));
    for words in 0..16_u8 {
        let mut ihl = tcp.clone();
        ihl[IP] = 0x40 | words;
        let expected = if words == 5 { OK } else { MALFORMED };
        // Longer ones swallow TCP's header.
        assert_eq!(counts(&ihl), expected, "IHL {words}");
        let mut offset = tcp.clone();
        offset[V4 + 12] = words << 4;
        assert_eq!(counts(&offset), expected, "data offset {words}");
        // Of a longer header that the capture cut nobody knows.
        let keep = offset.len();
        offset[IP + 3] += 40;
        let cut = if words < 5 {
            MALFORMED
        } else if words == 5 {
            OK
        } else {
            TRUNCATED
        };
        assert_eq!(of(&offset, keep + 40).counts, cut, "data offset {words}");
    }
    for total in 1..20 {
        assert_eq!(counts(&Length::new(IP + 2, 2).set(&tcp, total)), MALFORMED, "total length {total}");
    }
    for length in 1..8 {
        assert_eq!(counts(&Length::new(V4 + 4, 2).set(&udp(9, b"data"), length)), MALFORMED, "UDP length {length}");
    }
    // Left open by offload, and in jumbograms.
    assert_eq!(counts(&Length::new(IP + 2, 2).set(&tcp, 0)), OK);
    assert_eq!(counts(&Length::new(V4 + 4, 2).set(&udp(9, b"data"), 0)), OK);
    assert_eq!(counts(&Length::new(IP + 4, 2).set(&v6(17, &packets::udp_datagram(1, 2, b"")), 0)), OK);
    assert_eq!(counts(&v4(17, &[])), MALFORMED);
    assert_eq!(counts(&v4(6, &[])), MALFORMED);
    assert_eq!(counts(&[]), MALFORMED);
}

#[test]
fn options_and_chunks_whose_lengths_are_wrong_end_the_list_and_nothing_else() {
    for options in
        [[2, 0, 0, 0], [2, 1, 0, 0], [8, 255, 0, 0], [5, 3, 0, 0], [253, 4, 0, 0], [1, 1, 1, 2], [0, 0, 0, 0]]
    {
        let mut tcp = packets::tcp_segment(1, 2, 3, 4, 16, &options);
        tcp[12] = 0x60;
        let made = of(&v4(6, &tcp), v4(6, &tcp).len());
        assert_eq!(made.counts, OK, "{options:?}");
        assert_eq!(made.records[0]["tcp"]["dataOffset"], 6);
    }
    for length in [0, 1, 3, 4, 65_535_u16] {
        let sctp = [&[0, 1, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4][..], &[0, 3], &length.to_be_bytes(), &[0; 8]].concat();
        let made = of(&v4(132, &sctp), v4(132, &sctp).len());
        assert_eq!(made.counts, OK, "{length}");
        assert!(made.records[0]["sctp"]["chunks"].as_array().unwrap().len() <= 3, "{length}");
    }
}

#[test]
fn extension_headers_and_tunnel_headers_that_run_over_their_packet_are_malformed() {
    let tcp = packets::tcp_segment(1, 2, 3, 4, 16, b"");
    let extension = |kind: u8, length: u8| v6(kind, &[&[6, length][..], &[0; 14], &tcp].concat());
    for kind in [0, 43, 60, 135, 139, 140] {
        assert_eq!(counts(&extension(kind, 1)), OK, "{kind}");
        for length in [5, 127, 255] {
            assert_eq!(counts(&extension(kind, length)), MALFORMED, "{kind} {length}");
        }
    }
    // AH counts words of four bytes and leaves two out.
    assert_eq!(counts(&extension(51, 2)), OK);
    assert_eq!(counts(&extension(51, 255)), MALFORMED);
    // Geneve's options, GTP-U's extension headers.
    let inner = packets::ip([10, 0, 0, 1].into(), [10, 0, 0, 2].into(), 99, &[]);
    let geneve = |options: u8| udp(6081, &[&[options, 0, 8, 0, 0, 0, 1, 0][..], &inner].concat());
    assert_eq!(counts(&geneve(0)), OK);
    assert_eq!(counts(&geneve(63)), MALFORMED);
    let gtpu = |length: u16, extension: u8| {
        let head = [&[0x34, 255][..], &length.to_be_bytes(), &[0, 0, 0, 1, 0, 0, 0, 0x85, extension, 0, 0, 0]].concat();
        udp(2152, &[&head[..], &inner].concat())
    };
    assert_eq!(counts(&gtpu(28, 1)), OK);
    for (length, extension) in [(28, 0), (28, 255), (0, 1), (7, 1), (29, 1), (65_535, 1)] {
        assert_eq!(counts(&gtpu(length, extension)), MALFORMED, "{length} {extension}");
    }
}

#[test]
fn headers_that_nest_in_themselves_end_with_the_frame_or_at_the_fourth_tunnel() {
    // VLAN tags, label stack entries and extension headers as far as the frame goes.
    let tags = [&[0; 12][..], &[0x81, 0, 0, 1].repeat(10_000), &[0x88, 0xb5]].concat();
    let made = of(&tags, tags.len());
    assert_eq!(made.counts, OK);
    assert_eq!(made.records[0]["vlan"].as_array().unwrap().len(), 10_000);
    let labels = [&[0; 12][..], &[0x88, 0x47], &[0, 0, 0x10, 64].repeat(10_000)].concat();
    assert_eq!(counts(&labels), MALFORMED, "a stack without a bottom");
    let chain = v6(60, &[60, 0, 0, 0, 0, 0, 0, 0].repeat(8000));
    assert_eq!(counts(&chain), MALFORMED, "a chain without an end");
    // IP in IP, GRE in GRE: four deep, then what is inside is left alone.
    let ip = |inner: &[u8]| packets::ip([10, 0, 0, 1].into(), [10, 0, 0, 2].into(), 4, inner);
    let deep = (0..1000).fold(Vec::new(), |inner, _| ip(&inner));
    let gre = |inner: Vec<u8>| {
        packets::ip([10, 0, 0, 1].into(), [10, 0, 0, 2].into(), 47, &[&[0, 0, 8, 0][..], &inner].concat())
    };
    let deep_gre = (0..1000).fold(Vec::new(), |inner, _| gre(inner));
    for deep in [deep, deep_gre] {
        let made = of(&packets::ethernet(&deep), deep.len() + 14);
        assert_eq!(made.counts, OK);
        let (mut level, mut depth) = (&made.records[0], 0);
        while let Some(inner) = level.get("inner") {
            (level, depth) = (inner, depth + 1);
        }
        assert_eq!(depth, 4);
    }
}
