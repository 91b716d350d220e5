//! The `pfcp` record, written by walking through the message.

use std::io::Write;
use std::net::IpAddr;

use super::ids::Ids;
use crate::decode::pfcp::layout::Label;
use crate::decode::pfcp::value::Value;
use crate::decode::pfcp::walk::{Visit, walk};
use crate::decode::pfcp::{Body, Ie, Ies, MAX_DEPTH, Message, message_name};
use crate::decode::{Error, Reader};
use crate::pipeline::Record;
use crate::task::Kind;
use crate::task::json::{self, Object};
use crate::task::processing::text;
use crate::time::Timestamp;

/// One message.
pub struct Pfcp<'a> {
    pub message: Message<'a>,
    pub ids: Ids<'a>,
}

impl Record for Pfcp<'_> {
    fn kind(&self) -> Kind {
        Kind::Pfcp
    }

    fn json(&self, out: &mut Vec<u8>) {
        let message = &self.message;
        json::object(out, |o| {
            if let Some(seid) = message.seid {
                o.hex("seid", &seid.to_be_bytes());
            }
            if let Some(node_id) = self.ids.node_id {
                value(o, const { &Label::new("nodeId") }, node_id);
            }
            for (key, seid) in [("cpSeid", self.ids.cp_seid), ("upSeid", self.ids.up_seid)] {
                if let Some(seid) = seid {
                    o.hex(key, &seid.to_be_bytes());
                }
            }
            if let Some(cause) = self.ids.cause {
                o.number("cause", u64::from(cause));
            }
            gathered(o, &self.ids);
            o.object("header", |o| {
                o.number("version", u64::from(message.version));
                o.number("messageType", u64::from(message.message_type));
                if let Some(name) = message_name(message.message_type) {
                    o.plain("messageName", name);
                }
                o.number("length", u64::from(message.length));
                if let Some(seid) = message.seid {
                    o.hex("seid", &seid.to_be_bytes());
                }
                o.number("sequence", u64::from(message.sequence));
                if let Some(priority) = message.priority {
                    o.number("priority", u64::from(priority));
                }
            });
            ies(o, message.ies, 1);
        });
    }

    fn text(&self, out: &mut Vec<u8>) {
        let message = &self.message;
        match message_name(message.message_type) {
            Some(name) => out.extend_from_slice(name.as_bytes()),
            None => {
                out.extend_from_slice(b"PFCP message ");
                json::number(out, u64::from(message.message_type));
            }
        }
        out.extend_from_slice(b" seq=");
        json::number(out, u64::from(message.sequence));
        let seids = [(" seid=", message.seid), (" cpSeid=", self.ids.cp_seid), (" upSeid=", self.ids.up_seid)];
        for (label, seid) in seids {
            if let Some(seid) = seid {
                out.extend_from_slice(label.as_bytes());
                json::digits(out, &seid.to_be_bytes());
            }
        }
        if let Some(node_id) = self.ids.node_id {
            out.extend_from_slice(b" node=");
            plain(out, node_id);
        }
        if let Some(cause) = self.ids.cause {
            out.extend_from_slice(b" cause=");
            json::number(out, u64::from(cause));
            if let Some(name) = cause_name(message.ies) {
                out.extend_from_slice(b" (");
                out.extend_from_slice(name.as_bytes());
                out.push(b')');
            }
        }
        for (at, teid) in self.ids.teids.iter().enumerate() {
            out.extend_from_slice(if at == 0 { b" teids=" } else { b"," });
            json::digits(out, &teid.to_be_bytes());
        }
        for (at, address) in self.ids.ue_ips.iter().enumerate() {
            out.extend_from_slice(if at == 0 { b" ue=" } else { b"," });
            ip(out, *address);
        }
    }
}

/// `teids` and `ueIps`, each absent where there are none.
fn gathered(o: &mut Object<'_>, ids: &Ids<'_>) {
    if !ids.teids.is_empty() {
        o.array("teids", |array| ids.teids.iter().for_each(|teid| json::hex(array.item(), &teid.to_be_bytes())));
    }
    if !ids.ue_ips.is_empty() {
        o.array("ueIps", |array| {
            for address in ids.ue_ips {
                let out = array.item();
                out.push(b'"');
                ip(out, *address);
                out.push(b'"');
            }
        });
    }
}

fn ies(o: &mut Object<'_>, list: Ies<'_>, depth: usize) {
    o.array("ies", |array| list.iter().flatten().for_each(|one| ie(array.item(), one, depth)));
}

fn ie(out: &mut Vec<u8>, ie: Ie<'_>, depth: usize) {
    let Some(definition) = ie.definition() else {
        return json::object(out, |o| {
            o.number("type", u64::from(ie.code));
            if let Some(enterprise_id) = ie.enterprise_id {
                o.number("enterpriseID", u64::from(enterprise_id));
            }
            o.hex("hex", ie.value);
        });
    };
    json::open(out, definition.head, |o| match definition.body {
        Body::Group if depth < MAX_DEPTH => ies(o, Ies::new(ie.value), depth + 1),
        Body::Fields(fields) => {
            let written = o.try_object("value", |o| walk(fields, ie.value, &mut Fields { o, in_list: None }));
            if written.is_err() {
                o.hex("hex", ie.value);
            }
        }
        Body::Group | Body::Opaque => o.hex("hex", ie.value),
    });
}

/// Writes fields as members of an object.
struct Fields<'o, 'b> {
    o: &'o mut Object<'b>,
    /// Inside a list: whether its next item is the first.
    in_list: Option<bool>,
}

impl<'a> Visit<'a> for Fields<'_, '_> {
    #[inline(always)] // where the kind of value is known
    fn field(&mut self, name: &'static Label, of: Value<'a>) {
        value(self.o, name, of);
    }

    fn list(&mut self, name: &'static Label) {
        self.o.prepared(&name.key).push(b'[');
        self.in_list = Some(true);
    }

    fn item(&mut self, of: Value<'a>) {
        let first = self.in_list.replace(false) == Some(true);
        let out = self.o.raw();
        if !first {
            out.push(b',');
        }
        match of {
            Value::Number(number) => json::number(out, number),
            Value::Text(text) => match std::str::from_utf8(text) {
                Ok(text) => json::string(out, text),
                Err(_) => json::hex(out, text),
            },
            other => quoted(out, other),
        }
    }

    fn end(&mut self) {
        self.o.raw().push(b']');
        self.in_list = None;
    }
}

/// One member of a value.
#[inline(always)] // where its kind is known
fn value(o: &mut Object<'_>, name: &Label, value: Value<'_>) {
    match value {
        Value::Text(text) => o.text(name.text, text),
        Value::Code(code, meaning) => {
            json::number(o.prepared(&name.key), code);
            if let Some(meaning) = meaning {
                json::plain(o.member(name.text, "Name"), meaning.as_bytes());
            }
        }
        Value::Flag => o.prepared(&name.key).extend_from_slice(b"true"),
        Value::Number(number) => json::number(o.prepared(&name.key), number),
        Value::Signed(number) => {
            let out = o.prepared(&name.key);
            if number < 0 {
                out.push(b'-');
            }
            json::number(out, number.unsigned_abs());
        }
        Value::Hex(..)
        | Value::Ipv4(_)
        | Value::Ipv6(_)
        | Value::Mac(_)
        | Value::Time(_)
        | Value::Time64(_)
        | Value::Plmn(_)
        | Value::Labels(_)
        | Value::Digits(_)
        | Value::Bytes(_) => quoted(o.prepared(&name.key), value),
    }
}

fn quoted(out: &mut Vec<u8>, value: Value<'_>) {
    out.push(b'"');
    match value {
        Value::Ipv4(address) => json::ipv4(out, address),
        Value::Hex(number, 4) => json::digits(out, &(number as u32).to_be_bytes()),
        // A label may hold quotes and backslashes.
        Value::Labels(bytes) if bytes.iter().any(|byte| matches!(byte, b'"' | b'\\')) => {
            each_label(bytes, |label| {
                for byte in label {
                    if matches!(byte, b'"' | b'\\') {
                        out.push(b'\\');
                    }
                    out.push(*byte);
                }
            });
        }
        value => plain(out, value),
    }
    out.push(b'"');
}

/// A value as text without quotes.
fn plain(out: &mut Vec<u8>, value: Value<'_>) {
    match value {
        Value::Flag => out.extend_from_slice(b"true"),
        Value::Number(number) | Value::Code(number, _) => json::number(out, number),
        Value::Signed(number) => out.extend_from_slice(number.to_string().as_bytes()),
        Value::Hex(number, octets) => json::digits(out, &number.to_be_bytes()[8 - usize::from(octets.min(8))..]),
        Value::Ipv4(address) => json::ipv4(out, address),
        Value::Ipv6(address) => json::ipv6(out, address),
        Value::Mac(address) => {
            for (at, octet) in address.iter().enumerate() {
                if at > 0 {
                    out.push(b':');
                }
                json::digits(out, &[*octet]);
            }
        }
        Value::Time(seconds) => time(out, seconds),
        Value::Time64(time) => time64(out, time),
        Value::Plmn(octets) => plmn(out, octets),
        Value::Text(bytes) => text::printable(out, bytes),
        Value::Labels(bytes) => each_label(bytes, |label| out.extend_from_slice(label)),
        Value::Digits(bytes) => tbcd(out, bytes),
        Value::Bytes(bytes) => json::digits(out, bytes),
    }
}

fn ip(out: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => json::ipv4(out, address.octets()),
        IpAddr::V6(address) => json::ipv6(out, address.octets()),
    }
}

/// The labels, with the dots between them.
fn each_label(bytes: &[u8], mut each: impl FnMut(&[u8])) {
    let mut reader = Reader::new(bytes);
    let mut first = true;
    while let Ok(label) = reader.prefixed_u8() {
        if label.is_empty() {
            break;
        }
        if !std::mem::take(&mut first) {
            each(b".");
        }
        each(label.rest());
    }
}

/// Two digits an octet, the first in the lower half; a filler ends them (TS 29.002 clause 17.7.8).
fn tbcd(out: &mut Vec<u8>, bytes: &[u8]) {
    for digit in bytes.iter().flat_map(|octet| [octet & 0x0f, octet >> 4]) {
        match b"0123456789*#abc".get(usize::from(digit)) {
            Some(character) => out.push(*character),
            None => return,
        }
    }
}

/// MCC and MNC, `262-01`; an MNC of two digits has a filler (TS 24.008 clause 10.5.1.13).
fn plmn(out: &mut Vec<u8>, [first, second, third]: [u8; 3]) {
    let mnc_third = second >> 4;
    let digits = [first & 0x0f, first >> 4, second & 0x0f, third & 0x0f, third >> 4, mnc_third];
    for (at, digit) in digits.into_iter().enumerate() {
        if at == 3 {
            out.push(b'-');
        }
        if at < 5 || digit != 0x0f {
            out.push(b"0123456789abcdef"[usize::from(digit & 0x0f)]);
        }
    }
}

/// RFC 3339 without fractions.
fn time(out: &mut Vec<u8>, seconds: u32) {
    let since_1900 = u64::from(seconds) + if seconds & 0x8000_0000 == 0 { NTP_ERA } else { 0 };
    // The calendar repeats after 28 years, so what is before 1970 is written as its like of 1996 or 1997.
    let (since_1970, years) = match since_1900.checked_sub(NTP_EPOCH) {
        Some(since_1970) => (since_1970, 0),
        None => (since_1900 + CYCLE - NTP_EPOCH, 28),
    };
    let at = out.len();
    // Writing into memory cannot fail.
    let _ = write!(out, "{}", Timestamp(since_1970 * 1_000_000_000));
    out.truncate(at + "2026-11-22T16:00:00".len());
    out.push(b'Z');
    if years > 0 {
        let year: &[u8; 4] = if out[at + 3] == b'6' { b"1968" } else { b"1969" };
        out[at..at + 4].copy_from_slice(year);
    }
}

/// RFC 3339 with nanoseconds.
fn time64(out: &mut Vec<u8>, of: u64) {
    time(out, (of >> 32) as u32);
    out.pop();
    // Writing into memory cannot fail.
    let _ = write!(out, ".{:09}Z", ((of & 0xffff_ffff) * 1_000_000_000) >> 32);
}

fn cause_name(ies: Ies<'_>) -> Option<&'static str> {
    let ie = ies.iter().flatten().find(|ie| ie.enterprise_id.is_none() && ie.code == CAUSE)?;
    let Body::Fields(fields) = &ie.definition()?.body else { return None };
    let mut name = Meaning(None);
    let read: Result<(), Error> = walk(fields, ie.value, &mut name);
    read.ok().and(name.0)
}

/// Picks up what a code point means.
struct Meaning(Option<&'static str>);

impl<'a> Visit<'a> for Meaning {
    fn field(&mut self, _: &'static Label, value: Value<'a>) {
        if let Value::Code(_, meaning) = value {
            self.0 = meaning;
        }
    }

    fn list(&mut self, _: &'static Label) {}
    fn item(&mut self, _: Value<'a>) {}
    fn end(&mut self) {}
}

const CAUSE: u16 = 19;
/// Seconds from 1900 to 1970.
const NTP_EPOCH: u64 = 2_208_988_800;
/// Seconds of one era of NTP.
const NTP_ERA: u64 = 1 << 32;
/// Seconds of 28 years.
const CYCLE: u64 = 10_227 * 86_400;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_ntp_lie_between_1968_and_2104() {
        for (seconds, expected) in [
            (0x8000_0000, "1968-01-20T03:14:08Z"),
            (2_208_988_799, "1969-12-31T23:59:59Z"),
            (2_208_988_800, "1970-01-01T00:00:00Z"),
            (u32::MAX, "2036-02-07T06:28:15Z"),
            (0, "2036-02-07T06:28:16Z"),
            (0x7fff_ffff, "2104-02-26T09:42:23Z"),
        ] {
            let mut out = Vec::new();
            time(&mut out, seconds);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }

    #[test]
    fn digits_and_networks_are_written_as_people_write_them() {
        let mut out = Vec::new();
        tbcd(&mut out, &[0x62, 0x02, 0x71, 0xf3]);
        out.push(b' ');
        plmn(&mut out, [0x62, 0xf2, 0x10]);
        out.push(b' ');
        plmn(&mut out, [0x13, 0x00, 0x14]);
        assert_eq!(String::from_utf8(out).unwrap(), "2620173 262-01 310-410");
    }
}
