//! The `dns` record. Names are written as RFC 1035 5.1 has them, without the last dot.

use std::io::Write;

use hickory_proto::op::{Edns, Message, Query};
use hickory_proto::rr::rdata::opt::EdnsOption;
use hickory_proto::rr::rdata::{CAA, MX, NAPTR, SOA, SRV, SSHFP, SVCB, TLSA};
use hickory_proto::rr::{DNSClass, Name, RData, Record as Resource, RecordType};

use super::dnssec;
use crate::decode::Reader;
use crate::flow::Direction;
use crate::pipeline::Record;
use crate::task::Kind;
use crate::task::json::{self, Object};
use crate::task::processing::text;
use crate::task::record::Net;

/// The JSON Schema of the record's `data`. What stands under `data` of a resource record follows its type.
pub fn schema() -> schemars::Schema {
    let records = || {
        serde_json::json!({"type": "array", "items": {
            "type": "object",
            "additionalProperties": false,
            "required": ["name", "type", "class", "ttl", "data"],
            "properties": {
                "name": {"type": "string"},
                "type": {"type": "string"},
                "class": {"type": "string"},
                "ttl": {"type": "integer", "minimum": 0},
                "data": {"type": "object"},
            },
        }})
    };
    schemars::json_schema!({
        "title": "dns",
        "description": "A DNS message.",
        "type": "object",
        "additionalProperties": false,
        "required": ["id", "response", "opcode", "rcode", "flags", "question", "answer", "authority", "additional"],
        "properties": {
            "id": {"type": "integer", "minimum": 0, "maximum": 65535},
            "response": {"type": "boolean"},
            "opcode": {"type": "string"},
            "rcode": {"type": "string"},
            "flags": {"type": "array", "items": {"enum": ["AA", "TC", "RD", "RA", "Z", "AD", "CD"]}},
            "question": {"type": "array", "items": {
                "type": "object",
                "additionalProperties": false,
                "required": ["name", "type", "class"],
                "properties": {"name": {"type": "string"}, "type": {"type": "string"}, "class": {"type": "string"}},
            }},
            "answer": records(),
            "authority": records(),
            "additional": records(),
            "edns": {
                "type": "object",
                "additionalProperties": false,
                "required": ["version", "udpSize", "do", "options"],
                "properties": {
                    "version": {"type": "integer", "minimum": 0},
                    "udpSize": {"type": "integer", "minimum": 0},
                    "do": {"type": "boolean"},
                    "options": {"type": "array", "items": {"type": "object", "required": ["code"]}},
                },
            },
        },
    })
}

/// One message.
pub struct Dns<'a> {
    pub message: &'a Message,
    /// The 16 bits behind the id: QR, opcode, flags, rcode.
    pub header: u16,
    pub ends: Option<(Net, Direction)>,
}

impl Record for Dns<'_> {
    fn kind(&self) -> Kind {
        Kind::Dns
    }

    fn json(&self, out: &mut Vec<u8>) {
        let message = self.message;
        json::object(out, |o| {
            o.number("id", message.metadata.id.into());
            o.flag("response", self.is_response());
            code(o, "opcode", self.opcode().into(), OPCODES, "OPCODE");
            code(o, "rcode", self.rcode(), RCODES, "RCODE");
            o.array("flags", |array| {
                for (_, name) in FLAGS.iter().filter(|(bit, _)| self.header & bit != 0) {
                    json::plain(array.item(), name.as_bytes());
                }
            });
            o.array("question", |array| {
                for query in &message.queries {
                    json::object(array.item(), |o| question(o, query));
                }
            });
            for (key, section) in [
                ("answer", &message.answers),
                ("authority", &message.authorities),
                ("additional", &message.additionals),
            ] {
                o.array(key, |array| {
                    for resource in section {
                        json::object(array.item(), |o| record(o, resource));
                    }
                });
            }
            if let Some(edns) = &message.edns {
                o.object("edns", |o| options(o, edns));
            }
        });
    }

    /// `10.0.0.1:40000 > 10.0.0.53:53 DNS 4711 NXDOMAIN example.org A, 0 answers`.
    fn text(&self, out: &mut Vec<u8>) {
        text::ends(out, self.ends);
        // writing into memory cannot fail
        let _ = write!(out, "DNS {} ", self.message.metadata.id);
        match self.is_response() {
            true => name_of(out, self.rcode(), RCODES, "RCODE"),
            false => name_of(out, self.opcode().into(), OPCODES, "OPCODE"),
        }
        for query in &self.message.queries {
            out.push(b' ');
            name_text(out, query.name());
            out.push(b' ');
            type_text(out, query.query_type());
        }
        if self.is_response() {
            let _ = write!(out, ", {} answers", self.message.answers.len());
        }
        for resource in self.message.answers.iter().take(4) {
            let _ = match &resource.data {
                RData::A(address) => write!(out, " {}", address.0),
                RData::AAAA(address) => write!(out, " {}", address.0),
                RData::CNAME(target) => {
                    out.push(b' ');
                    name_text(out, &target.0);
                    Ok(())
                }
                _ => Ok(()),
            };
        }
    }
}

impl Dns<'_> {
    fn is_response(&self) -> bool {
        self.header & 0x8000 != 0
    }

    fn opcode(&self) -> u8 {
        (self.header >> 11 & 0xf) as u8
    }

    /// RFC 6891 6.1.3: EDNS has the upper 8 of its 12 bits.
    fn rcode(&self) -> u16 {
        let high = self.message.edns.as_ref().map_or(0, Edns::rcode_high);
        u16::from(high) << 4 | self.header & 0xf
    }
}

fn question(o: &mut Object<'_>, query: &Query) {
    name(o, "name", query.name());
    kind(o, query.query_type());
    class(o, query.query_class());
}

fn record(o: &mut Object<'_>, resource: &Resource) {
    name(o, "name", &resource.name);
    kind(o, resource.record_type());
    class(o, resource.dns_class);
    o.number("ttl", resource.ttl.into());
    if let RData::Unknown { code, rdata } = &resource.data
        && let Some(layout) = dnssec::layout(*code)
        && o.try_object("data", |o| layout(o, &mut Reader::new(&rdata.anything))).is_ok()
    {
        return;
    }
    o.object("data", |o| data(o, &resource.data));
}

fn data(o: &mut Object<'_>, data: &RData) {
    match data {
        RData::A(address) => {
            let out = o.key("address");
            out.push(b'"');
            json::ipv4(out, address.0.octets());
            out.push(b'"');
        }
        RData::AAAA(address) => display(o, "address", address.0),
        RData::CNAME(target) => name(o, "target", &target.0),
        RData::NS(target) => name(o, "target", &target.0),
        RData::PTR(target) => name(o, "target", &target.0),
        RData::ANAME(target) => name(o, "target", &target.0),
        RData::MX(MX { preference, exchange, .. }) => {
            o.number("preference", (*preference).into());
            name(o, "exchange", exchange);
        }
        RData::SOA(soa) => authority(o, soa),
        RData::SRV(SRV { priority, weight, port, target, .. }) => {
            o.number("priority", (*priority).into());
            o.number("weight", (*weight).into());
            o.number("port", (*port).into());
            name(o, "target", target);
        }
        RData::TXT(text) => o.texts("text", text.txt_data.iter().map(|part| &**part)),
        RData::HINFO(host) => {
            o.text("cpu", &host.cpu);
            o.text("os", &host.os);
        }
        RData::CAA(CAA { issuer_critical, tag, value, .. }) => {
            o.flag("critical", *issuer_critical);
            o.string("tag", tag);
            o.text("value", value);
        }
        RData::NAPTR(NAPTR { order, preference, flags, services, regexp, replacement, .. }) => {
            o.number("order", (*order).into());
            o.number("preference", (*preference).into());
            o.text("flags", flags);
            o.text("services", services);
            o.text("regexp", regexp);
            name(o, "replacement", replacement);
        }
        RData::SVCB(service) => service_binding(o, service),
        RData::HTTPS(service) => service_binding(o, &service.0),
        RData::SSHFP(SSHFP { algorithm, fingerprint_type, fingerprint, .. }) => {
            o.number("algorithm", u8::from(*algorithm).into());
            o.number("fingerprintType", u8::from(*fingerprint_type).into());
            o.hex("fingerprint", fingerprint);
        }
        RData::TLSA(tlsa) => association(o, tlsa),
        RData::SMIMEA(smimea) => association(o, smimea),
        RData::OPENPGPKEY(key) => json::base64(o.key("publicKey"), &key.public_key),
        RData::NULL(bytes) => o.hex("hex", &bytes.anything),
        RData::Unknown { rdata, .. } => o.hex("hex", &rdata.anything),
        RData::Update0(_) => {}
        // the presentation format of their own RFC
        other => display(o, "presentation", other),
    }
}

fn authority(o: &mut Object<'_>, soa: &SOA) {
    name(o, "mname", &soa.mname);
    name(o, "rname", &soa.rname);
    o.number("serial", soa.serial.into());
    // RFC 1035 3.3.13 counts seconds in 32 bits; the library reads them as signed
    o.number("refresh", (soa.refresh as u32).into());
    o.number("retry", (soa.retry as u32).into());
    o.number("expire", (soa.expire as u32).into());
    o.number("minimum", soa.minimum.into());
}

fn service_binding(o: &mut Object<'_>, service: &SVCB) {
    o.number("priority", service.svc_priority.into());
    name(o, "target", &service.target_name);
    o.array("params", |array| {
        for (key, value) in &service.svc_params {
            json::object(array.item(), |o| {
                display(o, "key", key);
                display(o, "value", value);
            });
        }
    });
}

fn association(o: &mut Object<'_>, tlsa: &TLSA) {
    o.number("usage", u8::from(tlsa.cert_usage).into());
    o.number("selector", u8::from(tlsa.selector).into());
    o.number("matchingType", u8::from(tlsa.matching).into());
    o.hex("data", &tlsa.cert_data);
}

/// RFC 6891 6.1.
fn options(o: &mut Object<'_>, edns: &Edns) {
    o.number("version", edns.version().into());
    o.number("udpSize", edns.max_payload().into());
    o.flag("do", edns.flags().dnssec_ok);
    o.array("options", |array| {
        for (code, option) in &edns.options().options {
            json::object(array.item(), |o| {
                o.number("code", u16::from(*code).into());
                match option {
                    EdnsOption::Subnet(subnet) => {
                        display(o, "address", subnet.addr());
                        o.number("sourcePrefix", subnet.source_prefix().into());
                        o.number("scopePrefix", subnet.scope_prefix().into());
                    }
                    EdnsOption::Unknown(_, bytes) => o.hex("hex", bytes),
                    other => o.hex("hex", &Vec::<u8>::try_from(other).unwrap_or_default()),
                }
            });
        }
    });
}

fn display(o: &mut Object<'_>, key: &str, value: impl std::fmt::Display) {
    o.string(key, &value.to_string());
}

fn name(o: &mut Object<'_>, key: &str, name: &Name) {
    let out = o.key(key);
    out.push(b'"');
    let begin = out.len();
    name_text(out, name);
    // Escapes leave nothing but printable ASCII, of which JSON has these two escaped.
    if out[begin..].iter().any(|byte| matches!(byte, b'"' | b'\\')) {
        let text = out.split_off(begin);
        for byte in text {
            if matches!(byte, b'"' | b'\\') {
                out.push(b'\\');
            }
            out.push(byte);
        }
    }
    out.push(b'"');
}

/// RFC 1035 5.1: dots and backslashes within a label behind a backslash, what is no printable ASCII as
/// three decimal digits; the root is a dot.
fn name_text(out: &mut Vec<u8>, name: &Name) {
    for (at, label) in name.iter().enumerate() {
        if at > 0 {
            out.push(b'.');
        }
        label_text(out, label);
    }
    if name.is_root() {
        out.push(b'.');
    }
}

pub(super) fn label_text(out: &mut Vec<u8>, label: &[u8]) {
    for &byte in label {
        match byte {
            b'.' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'!'..=b'~' => out.push(byte),
            _ => drop(write!(out, "\\{byte:03}")),
        }
    }
}

fn kind(o: &mut Object<'_>, kind: RecordType) {
    let out = o.key("type");
    out.push(b'"');
    type_text(out, kind);
    out.push(b'"');
}

/// RFC 3597 5 for types without a name.
pub(super) fn type_text(out: &mut Vec<u8>, kind: RecordType) {
    match kind {
        // writing into memory cannot fail
        RecordType::Unknown(code) => drop(write!(out, "TYPE{code}")),
        known => out.extend_from_slice(<&str>::from(known).as_bytes()),
    }
}

fn class(o: &mut Object<'_>, class: DNSClass) {
    let out = o.key("class");
    // writing into memory cannot fail
    let _ = match class {
        DNSClass::Unknown(code) => write!(out, "\"CLASS{code}\""),
        // EDNS alone has these: the class is a size
        DNSClass::OPT(size) => write!(out, "\"CLASS{size}\""),
        known => write!(out, "\"{known}\""),
    };
}

fn code(o: &mut Object<'_>, key: &str, code: u16, names: &[(u16, &str)], unnamed: &str) {
    let out = o.key(key);
    out.push(b'"');
    name_of(out, code, names, unnamed);
    out.push(b'"');
}

fn name_of(out: &mut Vec<u8>, code: u16, names: &[(u16, &str)], unnamed: &str) {
    match names.iter().find(|(known, _)| *known == code) {
        Some((_, name)) => out.extend_from_slice(name.as_bytes()),
        None => drop(write!(out, "{unnamed}{code}")),
    }
}

/// The IANA registry of DNS parameters.
const FLAGS: &[(u16, &str)] =
    &[(0x400, "AA"), (0x200, "TC"), (0x100, "RD"), (0x80, "RA"), (0x40, "Z"), (0x20, "AD"), (0x10, "CD")];
const OPCODES: &[(u16, &str)] = &[(0, "QUERY"), (1, "IQUERY"), (2, "STATUS"), (4, "NOTIFY"), (5, "UPDATE"), (6, "DSO")];
const RCODES: &[(u16, &str)] = &[
    (0, "NOERROR"),
    (1, "FORMERR"),
    (2, "SERVFAIL"),
    (3, "NXDOMAIN"),
    (4, "NOTIMP"),
    (5, "REFUSED"),
    (6, "YXDOMAIN"),
    (7, "YXRRSET"),
    (8, "NXRRSET"),
    (9, "NOTAUTH"),
    (10, "NOTZONE"),
    (11, "DSOTYPENI"),
    (16, "BADVERS"),
    (17, "BADKEY"),
    (18, "BADTIME"),
    (19, "BADMODE"),
    (20, "BADNAME"),
    (21, "BADALG"),
    (22, "BADTRUNC"),
    (23, "BADCOOKIE"),
];
