//! `RawPacket`: the record of a captured frame.

use std::net::IpAddr;

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::decode::layers::{Layer, Layers};
use crate::pipeline::{Record, View};
use crate::process::metadata::Meta;
use crate::task::Kind;
use crate::task::record::{Base64, Frame, json_into, proto_name};
use crate::time::Timestamp;

/// One captured frame.
pub struct RawPacket<'a> {
    pub frame: Frame<'a>,
    pub time: Timestamp,
    pub interface: &'a Interface,
    pub meta: Meta,
}

/// Where frames come from; what is not known is empty or None.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Interface {
    pub name: String,
    pub index: Option<u32>,
    pub addrs: Vec<IpAddr>,
}

/// The record as it is written.
#[derive(serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Data<'a> {
    /// The frame, as far as it was captured.
    payload: Base64<'a>,
    /// Of the frame on the wire, in bytes.
    length: u32,
    /// Bytes in `payload`.
    captured: u32,
    ts_ns: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    interface: Option<InterfaceView<'a>>,
}

impl Record for RawPacket<'_> {
    fn kind(&self) -> Kind {
        Kind::RawPacket
    }

    fn json(&self, out: &mut Vec<u8>) {
        let interface = InterfaceView { interface: self.interface, meta: self.meta };
        let data = Data {
            payload: Base64(self.frame.bytes),
            length: self.frame.length,
            captured: self.frame.bytes.len() as u32,
            ts_ns: self.time.0,
            interface: (!interface.is_empty()).then_some(interface),
        };
        json_into(&data, out);
    }

    /// `eth0 10.0.0.1:40000 > 10.0.0.2:80 TCP, 74 bytes`: of the innermost packet.
    fn text(&self, out: &mut Vec<u8>) {
        use std::io::Write;
        // writing into memory cannot fail
        if !self.interface.name.is_empty() {
            let _ = write!(out, "{} ", self.interface.name);
        }
        let Frame { bytes, length, link_type } = self.frame;
        let (mut ends, mut ports, mut protocol) = (None::<(IpAddr, IpAddr)>, None, None);
        for layer in Layers::new(link_type, bytes, length as usize).map_while(Result::ok) {
            match layer {
                Layer::Ipv4(ip) => (ends, protocol) = (Some((ip.src().into(), ip.dst().into())), Some(ip.protocol())),
                Layer::Ipv6(ip) => {
                    (ends, protocol) = (Some((ip.src().into(), ip.dst().into())), Some(ip.next_header()));
                }
                Layer::Extension(extension) => protocol = Some(extension.next_header()),
                Layer::Tcp(tcp) => ports = Some((tcp.src_port(), tcp.dst_port())),
                Layer::Udp(udp) => ports = Some((udp.src_port(), udp.dst_port())),
                Layer::Sctp(sctp) => ports = Some((sctp.src_port(), sctp.dst_port())),
                _ => continue,
            }
        }
        let _ = match (ends, ports) {
            (Some((src, dst)), Some((from, to))) => {
                let ends = (std::net::SocketAddr::new(src, from), std::net::SocketAddr::new(dst, to));
                write!(out, "{} > {} ", ends.0, ends.1)
            }
            (Some((src, dst)), None) => write!(out, "{src} > {dst} "),
            (None, _) => Ok(()),
        };
        let _ = match (protocol, protocol.and_then(proto_name)) {
            (_, Some(name)) => write!(out, "{name}, {length} bytes"),
            (Some(number), None) => write!(out, "protocol {number}, {length} bytes"),
            (None, None) => write!(out, "frame, {length} bytes"),
        };
    }

    fn view(&self) -> View<'_> {
        View::Frame(&self.frame)
    }
}

/// The `interface` group as a directive wants it.
#[derive(Clone, Copy)]
struct InterfaceView<'a> {
    interface: &'a Interface,
    meta: Meta,
}

impl InterfaceView<'_> {
    fn name(&self) -> Option<&str> {
        (self.meta.any(Meta::INTERFACE_NAME) && !self.interface.name.is_empty()).then_some(&self.interface.name)
    }

    fn index(&self) -> Option<u32> {
        self.interface.index.filter(|_| self.meta.any(Meta::INTERFACE_INDEX))
    }

    fn addrs(&self) -> Option<&[IpAddr]> {
        (self.meta.any(Meta::INTERFACE_ADDRS) && !self.interface.addrs.is_empty()).then_some(&self.interface.addrs)
    }

    fn is_empty(&self) -> bool {
        self.name().is_none() && self.index().is_none() && self.addrs().is_none()
    }
}

impl Serialize for InterfaceView<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(None)?;
        if let Some(name) = self.name() {
            map.serialize_entry("name", name)?;
        }
        if let Some(index) = self.index() {
            map.serialize_entry("index", &index)?;
        }
        if let Some(addrs) = self.addrs() {
            map.serialize_entry("addrs", addrs)?;
        }
        map.end()
    }
}

impl schemars::JsonSchema for InterfaceView<'_> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Interface".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "index": {"type": "integer"},
                "addrs": {"type": "array", "items": {"type": "string"}}
            },
            "additionalProperties": false
        })
    }
}
