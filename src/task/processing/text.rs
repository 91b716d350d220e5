//! Phrases that the readable forms of several records share.

use std::io::Write;
use std::net::{IpAddr, SocketAddr};

use crate::decode::layers::{Layer, Layers};
use crate::decode::tcp::Flags;
use crate::task::record::{Direction, Frame, Net, proto_name};

/// Who sends to whom: `10.0.0.1:8805 > 10.0.0.2:8805 `, or nothing where it is not known.
pub fn ends(out: &mut Vec<u8>, ends: Option<(Net, Direction)>) {
    let Some((net, direction)) = ends else { return };
    let Some(local) = net.local else { return };
    let local = std::net::SocketAddr::new(local.to_canonical(), net.local_port);
    let peer = std::net::SocketAddr::new(net.peer.ip().to_canonical(), net.peer.port());
    let (from, to) = if direction == Direction::Tx { (local, peer) } else { (peer, local) };
    // Writing into memory cannot fail.
    let _ = write!(out, "{from} > {to} ");
}

/// A frame by its innermost packet, behind the tunnels it came through:
/// `vxlan 7: 10.0.0.1:40000 > 10.0.0.2:80 TCP SYN seq=1 ack=0, 74 bytes`.
pub fn packet(out: &mut Vec<u8>, frame: &Frame<'_>) {
    let (mut ips, mut ports, mut protocol, mut segment) = (None::<(IpAddr, IpAddr)>, None, None, None);
    // Writing into memory cannot fail.
    for layer in Layers::new(frame.link_type, frame.bytes, frame.length as usize).map_while(Result::ok) {
        match layer {
            Layer::Vlan(tag) => drop(write!(out, "vlan {}: ", tag.vid())),
            Layer::Mpls(entry) => drop(write!(out, "mpls {}: ", entry.label())),
            Layer::Gre(_) => out.extend_from_slice(b"gre: "),
            Layer::Vxlan(vxlan) => drop(write!(out, "vxlan {}: ", vxlan.vni())),
            Layer::Geneve(geneve) => drop(write!(out, "geneve {}: ", geneve.vni())),
            Layer::Gtpu(gtpu) => drop(write!(out, "gtpu {:08x}: ", gtpu.teid())),
            Layer::Ipv4(ip) => {
                (ips, ports, protocol) = (Some((ip.src().into(), ip.dst().into())), None, Some(ip.protocol()));
            }
            Layer::Ipv6(ip) => {
                (ips, ports, protocol) = (Some((ip.src().into(), ip.dst().into())), None, Some(ip.next_header()));
            }
            Layer::Extension(extension) => protocol = Some(extension.next_header()),
            Layer::Udp(udp) => ports = Some((udp.src_port(), udp.dst_port())),
            Layer::Sctp(sctp) => ports = Some((sctp.src_port(), sctp.dst_port())),
            Layer::Tcp(tcp) => {
                ports = Some((tcp.src_port(), tcp.dst_port()));
                segment = Some(tcp);
            }
            Layer::Ethernet(_) | Layer::Sll(_) | Layer::Loopback(_) | Layer::Icmp(_) => {}
        }
    }
    let _ = match (ips, ports) {
        (Some((src, dst)), Some((from, to))) => {
            write!(out, "{} > {} ", SocketAddr::new(src, from), SocketAddr::new(dst, to))
        }
        (Some((src, dst)), None) => write!(out, "{src} > {dst} "),
        (None, _) => Ok(()),
    };
    let _ = match (protocol, protocol.and_then(proto_name)) {
        (_, Some(name)) => out.write_all(name.as_bytes()),
        (Some(number), None) => write!(out, "protocol {number}"),
        (None, None) => out.write_all(b"frame"),
    };
    if let Some(tcp) = segment {
        for (bit, name) in Flags::NAMES {
            if tcp.flags().has(bit) {
                out.push(b' ');
                out.extend_from_slice(name.as_bytes());
            }
        }
        let _ = write!(out, " seq={} ack={}", tcp.seq(), tcp.ack_number());
    }
    let _ = write!(out, ", {} bytes", frame.length);
}

/// Bytes that the wire gave, on one line: what is no printable ASCII as `\xNN`.
pub fn printable(out: &mut Vec<u8>, bytes: &[u8]) {
    for byte in bytes {
        match byte {
            b'!'..=b'~' => out.push(*byte),
            _ => {
                out.extend_from_slice(b"\\x");
                crate::task::json::digits(out, &[*byte]);
            }
        }
    }
}
