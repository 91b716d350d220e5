//! `RawPacket`: the record of a captured frame.

use std::io::Write;
use std::net::IpAddr;

use crate::decode::padded::Padded;
use crate::pipeline::{Record, View};
use crate::process::metadata::Meta;
use crate::task::Kind;
use crate::task::json;
use crate::task::processing::text;
use crate::task::record::Frame;
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

impl Record for RawPacket<'_> {
    fn kind(&self) -> Kind {
        Kind::RawPacket
    }

    fn json(&self, out: &mut Vec<u8>) {
        // Once per frame, before the record of any task: keys are made at compile time.
        json::object(out, |o| {
            json::base64(o.prepared(const { &Padded::key("payload") }), self.frame.bytes);
            json::number(o.prepared(const { &Padded::key("length") }), self.frame.length.into());
            json::number(o.prepared(const { &Padded::key("captured") }), self.frame.bytes.len() as u64);
            json::number(o.prepared(const { &Padded::key("tsNs") }), self.time.0);
            let (name, index, addrs) = self.wanted();
            if name.is_none() && index.is_none() && addrs.is_empty() {
                return;
            }
            o.object("interface", |o| {
                if let Some(name) = name {
                    o.string("name", name);
                }
                if let Some(index) = index {
                    o.number("index", index.into());
                }
                if !addrs.is_empty() {
                    o.array("addrs", |array| addrs.iter().for_each(|addr| address(array.item(), addr)));
                }
            });
        });
    }

    fn text(&self, out: &mut Vec<u8>) {
        if !self.interface.name.is_empty() {
            out.extend_from_slice(self.interface.name.as_bytes());
            out.push(b' ');
        }
        text::packet(out, &self.frame);
    }

    fn view(&self) -> View<'_> {
        View::Frame(&self.frame)
    }
}

impl RawPacket<'_> {
    /// What is known of the interface and wanted.
    fn wanted(&self) -> (Option<&str>, Option<u32>, &[IpAddr]) {
        let Interface { name, index, addrs } = self.interface;
        let wants = |field: Meta| self.meta.any(field);
        (
            (wants(Meta::INTERFACE_NAME) && !name.is_empty()).then_some(name),
            index.filter(|_| wants(Meta::INTERFACE_INDEX)),
            if wants(Meta::INTERFACE_ADDRS) { addrs } else { &[] },
        )
    }
}

fn address(out: &mut Vec<u8>, address: &IpAddr) {
    // writing into memory cannot fail
    let _ = write!(out, "\"{address}\"");
}
