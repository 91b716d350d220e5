//! The shapes that several records share, and those that processing tasks take from
//! any source: `Chunk`, bytes of a flow; `Frame`, one captured frame; `Net`, who talks to whom.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use serde::ser::{Serialize, SerializeMap, Serializer};

pub use crate::flow::{Direction, FlowEnd};
use crate::process::Process;
use crate::process::metadata::Meta;

/// Bytes of one flow and direction: what `payload`, `tlsplaintext` and reassembled packets give.
#[derive(Clone, Copy, Debug)]
pub struct Chunk<'a> {
    /// The flow's number, equal in all records of the flow; None where the source could not tell.
    pub flow: Option<u64>,
    pub direction: Direction,
    /// Counted up by one per record of this flow and direction.
    pub seq: u64,
    /// Of the first byte here, in its direction of the flow, missing bytes included.
    pub offset: u64,
    /// Bytes missing just before this chunk. With `gap_unknown` their number is not known.
    pub gap: u64,
    pub gap_unknown: bool,
    pub bytes: &'a [u8],
    /// Of the whole operation; more than `bytes` where it was cut.
    pub length: u64,
    /// The first record of a flow whose start was seen.
    pub start: bool,
    /// On a last record of length 0 per direction.
    pub end: Option<FlowEnd>,
    /// Whether each chunk is a datagram of its own.
    pub datagram: bool,
    pub net: Option<Net>,
    /// The process watched, with what the directive wants to tell of it.
    pub process: Option<(&'a Rc<Process>, Meta)>,
}

/// One captured frame.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    pub bytes: &'a [u8],
    /// On the wire; more than `bytes` where the snap length cut it.
    pub length: u32,
    /// LINKTYPE_* of the capture (1 Ethernet, 101 raw IP, 113 Linux SLL, 276 SLL2, 0 loopback).
    pub link_type: u16,
}

/// The `net` group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Net {
    /// None on a wildcard bind. In packets the sender of the flow's first packet.
    pub local: Option<IpAddr>,
    pub local_port: u16,
    /// In packets the receiver of the flow's first packet.
    pub peer: SocketAddr,
    /// IANA protocol number.
    pub proto: u8,
    /// Inode number of the network namespace; None in packets.
    pub netns: Option<u32>,
    /// Whether these are a packet's addresses: written as src and dst.
    pub packet: bool,
}

impl Serialize for Net {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(None)?;
        let names = if self.packet {
            ["srcAddr", "srcPort", "dstAddr", "dstPort"]
        } else {
            ["selfAddr", "selfPort", "peerAddr", "peerPort"]
        };
        let peer = self.peer.ip().to_canonical();
        if let Some(local) = self.local {
            map.serialize_entry(names[0], &local.to_canonical())?;
        }
        map.serialize_entry(names[1], &self.local_port)?;
        map.serialize_entry(names[2], &peer)?;
        map.serialize_entry(names[3], &self.peer.port())?;
        match proto_name(self.proto) {
            Some(name) => map.serialize_entry("proto", name)?,
            None => map.serialize_entry("proto", &self.proto)?,
        }
        map.serialize_entry("af", if peer.is_ipv4() { "INET" } else { "INET6" })?;
        if let Some(netns) = self.netns {
            map.serialize_entry("netns", &netns)?;
        }
        map.end()
    }
}

impl schemars::JsonSchema for Net {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Net".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "object",
            "properties": {
                "selfAddr": {"type": "string"}, "selfPort": {"type": "integer"},
                "peerAddr": {"type": "string"}, "peerPort": {"type": "integer"},
                "srcAddr": {"type": "string"}, "srcPort": {"type": "integer"},
                "dstAddr": {"type": "string"}, "dstPort": {"type": "integer"},
                "proto": {"type": ["string", "integer"]},
                "af": {"enum": ["INET", "INET6"]},
                "netns": {"type": "integer"}
            },
            "required": ["proto", "af"],
            "additionalProperties": false
        })
    }
}

/// The IANA keyword of a transport protocol.
pub const fn proto_name(proto: u8) -> Option<&'static str> {
    Some(match proto {
        1 => "ICMP",
        6 => "TCP",
        17 => "UDP",
        58 => "ICMPV6",
        132 => "SCTP",
        _ => return None,
    })
}

/// A number written as 16 lower-case hexadecimal digits: flowID, cookie, SEID.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Hex64(pub u64);

impl Serialize for Hex64 {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&format_args!("{:016x}", self.0))
    }
}

impl schemars::JsonSchema for Hex64 {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Hex64".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "pattern": "^[0-9a-f]{16}$"})
    }
}

/// Bytes written as standard base64 with padding.
#[derive(Clone, Copy, Debug)]
pub struct Base64<'a>(pub &'a [u8]);

impl Serialize for Base64<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&base64::display::Base64Display::new(self.0, &base64::engine::general_purpose::STANDARD))
    }
}

impl schemars::JsonSchema for Base64<'_> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Base64".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "contentEncoding": "base64"})
    }
}

/// Appends `value` as JSON. A record's Serialize writes into memory, which cannot fail.
pub fn json_into<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) {
    if let Err(error) = serde_json::to_writer(&mut *out, value) {
        debug_assert!(false, "a record did not serialize: {error}");
    }
}
