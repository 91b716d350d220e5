//! The `headers` record. What is inside a tunnel stands in `inner`, shaped as the whole.

use std::io::Write;
use std::net::IpAddr;

use crate::decode::Error;
use crate::decode::ethernet::{Ethernet, Sll, Vlan};
use crate::decode::ip::{Extension, Ipv4, Ipv6, protocol};
use crate::decode::layers::{Layer, Layers};
use crate::decode::tcp::{Flags, Tcp};
use crate::decode::tcp_options::{TcpOption, TcpOptions};
use crate::decode::transport::{Icmp, Sctp};
use crate::decode::tunnel::{Geneve, Gre, Gtpu, Mpls, Vxlan};
use crate::decode::udp::Udp;
use crate::pipeline::Record;
use crate::task::Kind;
use crate::task::json::{self, Array, Object};
use crate::task::processing::text;
use crate::task::record::{Frame, proto_name};

/// The headers of one frame. They are read from the frame again when they are written.
pub struct Headers<'a> {
    pub frame: Frame<'a>,
    /// Why they end before the transport.
    pub error: Option<Error>,
}

impl Record for Headers<'_> {
    fn kind(&self) -> Kind {
        Kind::Headers
    }

    fn json(&self, out: &mut Vec<u8>) {
        json::object(out, |o| {
            let mut walk = Walk::new(&self.frame);
            level(o, &mut walk);
            o.number("payloadLength", walk.layers.payload().len() as u64);
            if let Some(error) = self.error {
                o.plain("error", if error == Error::Truncated { "truncated" } else { "malformed" });
            }
        });
    }

    fn text(&self, out: &mut Vec<u8>) {
        text::packet(out, &self.frame);
        if let Some(error) = self.error {
            // writing into memory cannot fail
            let _ = write!(out, " ({error})");
        }
    }
}

/// The layers, with the next one to be looked at before it is taken.
struct Walk<'a> {
    layers: Layers<'a>,
    next: Option<Layer<'a>>,
}

impl<'a> Walk<'a> {
    fn new(frame: &Frame<'a>) -> Walk<'a> {
        let mut layers = Layers::new(frame.link_type, frame.bytes, frame.length as usize);
        let next = layers.next().and_then(Result::ok);
        Walk { layers, next }
    }

    fn take(&mut self) {
        self.next = self.layers.next().and_then(Result::ok);
    }

    /// Takes layers as long as they are of one kind.
    fn each<T>(&mut self, pick: impl Fn(&Layer<'a>) -> Option<T>, mut give: impl FnMut(T)) {
        while let Some(picked) = self.next.as_ref().and_then(&pick) {
            give(picked);
            self.take();
        }
    }
}

/// One packet's headers; a packet inside it begins a level of its own.
fn level(o: &mut Object<'_>, walk: &mut Walk<'_>) {
    let (mut any, mut ip) = (false, false);
    while let Some(layer) = walk.next {
        let begins_another = match layer {
            Layer::Ethernet(_) => any,
            Layer::Ipv4(_) | Layer::Ipv6(_) | Layer::Mpls(_) => ip,
            _ => false,
        };
        if begins_another {
            return o.object("inner", |o| level(o, walk));
        }
        match layer {
            Layer::Vlan(_) => o.array("vlan", |array| {
                walk.each(
                    |layer| if let Layer::Vlan(tag) = layer { Some(*tag) } else { None },
                    |tag| vlan(array, &tag),
                );
            }),
            Layer::Mpls(_) => o.array("mpls", |array| {
                walk.each(
                    |layer| if let Layer::Mpls(one) = layer { Some(*one) } else { None },
                    |one| label(array, &one),
                );
            }),
            Layer::Extension(_) => o.array("extensions", |array| {
                let pick = |layer: &Layer<'_>| matches!(layer, Layer::Extension(_));
                while let Some(Layer::Extension(header)) = walk.next.filter(pick) {
                    extension(array, &header);
                    walk.take();
                }
            }),
            _ => {
                ip |= matches!(layer, Layer::Ipv4(_) | Layer::Ipv6(_));
                one(o, &layer);
                walk.take();
            }
        }
        any = true;
    }
}

fn one(o: &mut Object<'_>, layer: &Layer<'_>) {
    match layer {
        Layer::Ethernet(header) => o.object("ethernet", |o| ethernet(o, header)),
        Layer::Sll(header) => o.object("sll", |o| sll(o, header)),
        Layer::Loopback(header) => o.object("loopback", |o| o.number("family", header.family.into())),
        Layer::Ipv4(header) => o.object("ipv4", |o| ipv4(o, header)),
        Layer::Ipv6(header) => o.object("ipv6", |o| ipv6(o, header)),
        Layer::Gre(header) => o.object("gre", |o| gre(o, header)),
        Layer::Vxlan(header) => o.object("vxlan", |o| vxlan(o, header)),
        Layer::Geneve(header) => o.object("geneve", |o| geneve(o, header)),
        Layer::Gtpu(header) => o.object("gtpu", |o| gtpu(o, header)),
        Layer::Tcp(header) => o.object("tcp", |o| tcp(o, header)),
        Layer::Udp(header) => o.object("udp", |o| udp(o, header)),
        Layer::Sctp(header) => o.object("sctp", |o| sctp(o, header)),
        Layer::Icmp(header) => o.object("icmp", |o| icmp(o, header)),
        // these come several in a row, as arrays
        Layer::Vlan(_) | Layer::Mpls(_) | Layer::Extension(_) => {}
    }
}

fn ethernet(o: &mut Object<'_>, header: &Ethernet<'_>) {
    mac(o.key("src"), &header.src().0);
    mac(o.key("dst"), &header.dst().0);
    half(o, "ethtype", header.ethertype());
}

fn sll(o: &mut Object<'_>, header: &Sll<'_>) {
    o.number("packetType", header.packet_type.into());
    o.number("hardwareType", header.hardware.into());
    o.number("addressLength", header.address_length.into());
    mac(o.key("address"), header.address);
    half(o, "protocol", header.protocol);
    if let Some(interface) = header.interface {
        o.number("interfaceIndex", interface.into());
    }
}

fn vlan(array: &mut Array<'_>, tag: &Vlan<'_>) {
    json::object(array.item(), |o| {
        half(o, "tpid", tag.tpid());
        o.number("pcp", tag.pcp().into());
        o.flag("dei", tag.dei());
        o.number("vid", tag.vid().into());
        half(o, "ethtype", tag.ethertype());
    });
}

fn label(array: &mut Array<'_>, entry: &Mpls<'_>) {
    json::object(array.item(), |o| {
        o.number("label", entry.label().into());
        o.number("trafficClass", entry.traffic_class().into());
        o.flag("bottom", entry.bottom());
        o.number("ttl", entry.ttl().into());
    });
}

fn ipv4(o: &mut Object<'_>, header: &Ipv4<'_>) {
    o.number("version", 4);
    o.number("ihl", header.ihl().into());
    o.number("dscp", header.dscp().into());
    o.number("ecn", header.ecn().into());
    o.number("totalLength", header.total_length().into());
    o.number("id", header.id().into());
    let flags = [(header.reserved_flag(), "reserved"), (header.dont_fragment(), "DF"), (header.more_fragments(), "MF")];
    names(o, "flags", &flags);
    o.number("fragmentOffset", header.fragment_offset().into());
    o.number("ttl", header.ttl().into());
    protocol_number(o, "protocol", header.protocol());
    half(o, "checksum", header.checksum());
    address(o, "src", header.src().into());
    address(o, "dst", header.dst().into());
    if !header.options().is_empty() {
        o.hex("options", header.options());
    }
}

fn ipv6(o: &mut Object<'_>, header: &Ipv6<'_>) {
    o.number("version", 6);
    o.number("dscp", header.dscp().into());
    o.number("ecn", header.ecn().into());
    o.number("flowLabel", header.flow_label().into());
    o.number("payloadLength", header.payload_length().into());
    protocol_number(o, "nextHeader", header.next_header());
    o.number("hopLimit", header.hop_limit().into());
    address(o, "src", header.src().into());
    address(o, "dst", header.dst().into());
}

fn extension(array: &mut Array<'_>, header: &Extension<'_>) {
    json::object(array.item(), |o| {
        protocol_number(o, "type", header.kind());
        protocol_number(o, "nextHeader", header.next_header());
        o.number("length", header.length() as u64);
        match (header.kind(), header.fragment(), header.body()) {
            (_, Some(fragment), _) => {
                o.number("fragmentOffset", fragment.offset.into());
                o.flag("moreFragments", fragment.more);
                o.number("id", fragment.id.into());
            }
            (protocol::ROUTING, _, [kind, left, data @ ..]) => {
                o.number("routingType", (*kind).into());
                o.number("segmentsLeft", (*left).into());
                o.hex("data", data);
            }
            // RFC 4302 2: behind the reserved bytes
            (protocol::AH, _, [_, _, a, b, c, d, e, f, g, h, icv @ ..]) => {
                o.hex("spi", &[*a, *b, *c, *d]);
                o.number("sequence", u32::from_be_bytes([*e, *f, *g, *h]).into());
                o.hex("icv", icv);
            }
            (_, _, data) => o.hex("data", data),
        }
    });
}

fn gre(o: &mut Object<'_>, header: &Gre<'_>) {
    o.number("version", 0);
    half(o, "flags", header.flags);
    half(o, "protocol", header.protocol);
    if let Some(checksum) = header.checksum {
        half(o, "checksum", checksum);
    }
    if let Some(key) = header.key {
        o.hex("key", &key.to_be_bytes());
    }
    if let Some(sequence) = header.sequence {
        o.number("sequence", sequence.into());
    }
}

fn vxlan(o: &mut Object<'_>, header: &Vxlan<'_>) {
    o.hex("flags", &[header.flags()]);
    o.number("vni", header.vni().into());
}

fn geneve(o: &mut Object<'_>, header: &Geneve<'_>) {
    o.number("version", 0);
    o.number("optionsLength", header.options_length() as u64);
    o.flag("control", header.control());
    o.flag("critical", header.critical());
    half(o, "protocol", header.protocol());
    o.number("vni", header.vni().into());
    if header.options_length() > 0 {
        o.array("options", |array| {
            for option in header.options() {
                json::object(array.item(), |o| {
                    half(o, "class", option.class);
                    o.hex("type", &[option.kind]);
                    o.hex("data", option.data);
                });
            }
        });
    }
}

fn gtpu(o: &mut Object<'_>, header: &Gtpu<'_>) {
    o.number("version", 1);
    o.hex("flags", &[header.flags()]);
    o.number("messageType", header.message_type().into());
    o.number("length", header.length().into());
    o.hex("teid", &header.teid().to_be_bytes());
    if let Some(sequence) = header.sequence() {
        o.number("sequence", sequence.into());
    }
    if let Some(number) = header.n_pdu() {
        o.number("nPdu", number.into());
    }
    if header.extensions().next().is_some() {
        o.array("extensions", |array| {
            for (kind, content) in header.extensions() {
                json::object(array.item(), |o| {
                    o.hex("type", &[kind]);
                    o.hex("content", content);
                });
            }
        });
    }
}

fn tcp(o: &mut Object<'_>, header: &Tcp<'_>) {
    o.number("srcPort", header.src_port().into());
    o.number("dstPort", header.dst_port().into());
    o.number("seq", header.seq().into());
    o.number("ack", header.ack_number().into());
    o.number("dataOffset", header.data_offset().into());
    let flags = header.flags();
    names(o, "flags", &Flags::NAMES.map(|(bit, name)| (flags.has(bit), name)));
    if flags.0 >> 8 != 0 {
        o.number("reserved", (flags.0 >> 8).into());
    }
    o.number("window", header.window().into());
    half(o, "checksum", header.checksum());
    o.number("urgent", header.urgent().into());
    if !header.options().is_empty() {
        o.array("options", |array| {
            for option in TcpOptions::new(header.options()) {
                json::object(array.item(), |o| tcp_option(o, option));
            }
        });
    }
}

fn tcp_option(o: &mut Object<'_>, option: TcpOption<'_>) {
    let mut named = |kind: u64, name: &str| {
        o.number("kind", kind);
        o.plain("name", name);
    };
    match option {
        TcpOption::End => named(0, "end"),
        TcpOption::NoOperation => named(1, "nop"),
        TcpOption::MaximumSegmentSize(size) => {
            named(2, "mss");
            o.number("value", size.into());
        }
        TcpOption::WindowScale(shift) => {
            named(3, "windowScale");
            o.number("value", shift.into());
        }
        TcpOption::SackPermitted => named(4, "sackPermitted"),
        TcpOption::Sack(blocks) => {
            named(5, "sack");
            o.array("blocks", |array| {
                for block in blocks.chunks_exact(8) {
                    let edge =
                        |from: usize| block[from..from + 4].iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte));
                    json::object(array.item(), |o| {
                        o.number("left", edge(0));
                        o.number("right", edge(4));
                    });
                }
            });
        }
        TcpOption::Timestamps { value, echo } => {
            named(8, "timestamps");
            o.number("value", value.into());
            o.number("echo", echo.into());
        }
        TcpOption::Other(kind, data) => {
            o.number("kind", kind.into());
            o.hex("data", data);
        }
    }
}

fn udp(o: &mut Object<'_>, header: &Udp<'_>) {
    o.number("srcPort", header.src_port().into());
    o.number("dstPort", header.dst_port().into());
    o.number("length", header.length().into());
    half(o, "checksum", header.checksum());
}

fn sctp(o: &mut Object<'_>, header: &Sctp<'_>) {
    o.number("srcPort", header.src_port().into());
    o.number("dstPort", header.dst_port().into());
    o.hex("verificationTag", &header.verification_tag().to_be_bytes());
    o.hex("checksum", &header.checksum().to_be_bytes());
    o.array("chunks", |array| {
        for chunk in header.chunks() {
            json::object(array.item(), |o| {
                o.number("type", chunk.kind.into());
                o.hex("flags", &[chunk.flags]);
                o.number("length", chunk.length.into());
            });
        }
    });
}

fn icmp(o: &mut Object<'_>, header: &Icmp<'_>) {
    o.number("version", if header.v6 { 6 } else { 4 });
    o.number("type", header.kind().into());
    o.number("code", header.code().into());
    half(o, "checksum", header.checksum());
    if let Some((id, sequence)) = header.echo() {
        o.number("id", id.into());
        o.number("sequence", sequence.into());
    } else if let Some(rest) = header.body().first_chunk::<4>() {
        o.hex("restOfHeader", rest);
    }
}

/// A code point of 16 bits, or a checksum.
fn half(o: &mut Object<'_>, key: &str, value: u16) {
    o.hex(key, &value.to_be_bytes());
}

/// A protocol number, and its name under the same key with `Name` behind it.
fn protocol_number(o: &mut Object<'_>, key: &str, number: u8) {
    o.number(key, number.into());
    if let Some(name) = proto_name(number) {
        json::plain(o.member(key, "Name"), name.as_bytes());
    }
}

fn address(o: &mut Object<'_>, key: &str, address: IpAddr) {
    let out = o.key(key);
    out.push(b'"');
    match address {
        IpAddr::V4(address) => json::ipv4(out, address.octets()),
        IpAddr::V6(address) => drop(write!(out, "{address}")),
    }
    out.push(b'"');
}

fn mac(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    for (at, byte) in bytes.iter().enumerate() {
        if at > 0 {
            out.push(b':');
        }
        json::digits(out, &[*byte]);
    }
    out.push(b'"');
}

/// The names of the flags that are set.
fn names(o: &mut Object<'_>, key: &str, flags: &[(bool, &str)]) {
    o.array(key, |array| {
        for (_, name) in flags.iter().filter(|(set, _)| *set) {
            json::plain(array.item(), name.as_bytes());
        }
    });
}
