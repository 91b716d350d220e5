//! From frames to segments and datagrams: cut ones, padding, fragments, tunnels.

use super::*;

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
