//! The `ecpri` record, one per message.

use std::io::Write;

use super::Ends;
use crate::decode::ecpri::{Body, EaxcWidths, Fault, Message, message_name};
use crate::decode::padded::Padded;
use crate::pipeline::Record;
use crate::task::Kind;
use crate::task::json::{self, Object};

/// One message.
pub struct Ecpri<'a> {
    pub message: Message<'a>,
    /// Set where ids are to be split as O-RAN does.
    pub eaxc: Option<EaxcWidths>,
    pub ends: Ends,
}

impl Record for Ecpri<'_> {
    fn kind(&self) -> Kind {
        Kind::Ecpri
    }

    fn json(&self, out: &mut Vec<u8>) {
        let message = &self.message;
        // Fronthaul is a message per microsecond: the keys that most of them have are made at compile time.
        json::object(out, |o| {
            json::object(o.prepared(const { &Padded::key("header") }), |o| {
                json::number(o.prepared(const { &Padded::key("revision") }), u64::from(message.revision));
                let concatenated: &[u8] = if message.concatenated { b"true" } else { b"false" };
                o.prepared(const { &Padded::key("concatenated") }).extend_from_slice(concatenated);
                json::number(o.prepared(const { &Padded::key("messageType") }), u64::from(message.message_type));
                if let Some(name) = message_name(message.message_type) {
                    json::plain(o.prepared(const { &Padded::key("messageName") }), name.as_bytes());
                }
                json::number(o.prepared(const { &Padded::key("payloadSize") }), u64::from(message.payload_size));
            });
            self.body(o);
            json::number(o.prepared(const { &Padded::key("payloadLength") }), message.data.len() as u64);
        });
    }

    fn text(&self, out: &mut Vec<u8>) {
        match self.ends {
            // Writing into memory cannot fail.
            Ends::Ethernet { src, dst } => drop(write!(out, "{src} > {dst} ")),
            Ends::Untold => {}
        }
        out.extend_from_slice(b"eCPRI ");
        match message_name(self.message.message_type) {
            Some(name) => out.extend_from_slice(name.as_bytes()),
            None => drop(write!(out, "message {}", self.message.message_type)),
        }
        self.ids_text(out);
        let _ = write!(out, " payload={}", self.message.data.len());
    }
}

impl Ecpri<'_> {
    fn body(&self, o: &mut Object<'_>) {
        match self.message.body {
            Body::Stream { pc_id, seq_id } => {
                json::hex(o.prepared(const { &Padded::key("pcID") }), &pc_id.to_be_bytes());
                json::number(o.prepared(const { &Padded::key("seqID") }), u64::from(seq_id));
                self.oran(o, pc_id, seq_id);
            }
            Body::RealTimeControl { rtc_id, seq_id } => {
                o.hex("rtcID", &rtc_id.to_be_bytes());
                o.number("seqID", u64::from(seq_id));
                self.oran(o, rtc_id, seq_id);
            }
            Body::GenericData { pc_id, seq_id } => {
                o.hex("pcID", &pc_id.to_be_bytes());
                o.number("seqID", u64::from(seq_id));
            }
            Body::Rma { id, read_write, request_response, element_id, address, length } => o.object("rma", |o| {
                o.number("id", u64::from(id));
                code(o, "readWrite", u64::from(read_write), READ_WRITE);
                code(o, "requestResponse", u64::from(request_response), REQUEST_RESPONSE);
                o.number("elementID", u64::from(element_id));
                o.hex("address", &address.to_be_bytes()[2..]);
                o.number("length", u64::from(length));
            }),
            Body::Owd { id, action_type, seconds, nanoseconds, compensation } => o.object("owd", |o| {
                o.number("measurementID", u64::from(id));
                code(o, "actionType", u64::from(action_type), OWD_ACTIONS);
                o.number("seconds", seconds);
                o.number("nanoseconds", u64::from(nanoseconds));
                let out = o.key("compensation");
                if compensation < 0 {
                    out.push(b'-');
                }
                json::number(out, compensation.unsigned_abs());
            }),
            Body::Reset { id, code_op } => o.object("reset", |o| {
                o.number("resetID", u64::from(id));
                code(o, "codeOp", u64::from(code_op), RESET_CODES);
            }),
            Body::Event { id, event_type, sequence, count, faults } => o.object("event", |o| {
                o.number("eventID", u64::from(id));
                code(o, "eventType", u64::from(event_type), EVENT_TYPES);
                o.number("sequenceNumber", u64::from(sequence));
                o.number("numberOfFaultsNotifications", u64::from(count));
                if matches!(event_type, 0 | 2) {
                    o.array("faults", |array| faults.iter().for_each(|one| fault(array.item(), one)));
                }
            }),
            Body::IwfStartUp { pc_id, hyperframe, subframe, timestamp, fec, scrambling, line_rate } => {
                o.hex("pcID", &pc_id.to_be_bytes());
                o.object("iwfStartUp", |o| {
                    o.number("hyperframeNumber", u64::from(hyperframe));
                    o.number("subframeNumber", u64::from(subframe));
                    o.number("timestamp", u64::from(timestamp));
                    o.flag("fec", fec);
                    o.flag("scrambling", scrambling);
                    o.number("lineRate", u64::from(line_rate));
                });
            }
            Body::Iwf { pc_id } => o.hex("pcID", &pc_id.to_be_bytes()),
            Body::IwfDelayControl { pc_id, id, action_type, delay_a, delay_b } => {
                o.hex("pcID", &pc_id.to_be_bytes());
                o.object("iwfDelayControl", |o| {
                    o.number("delayControlID", u64::from(id));
                    code(o, "actionType", u64::from(action_type), DELAY_ACTIONS);
                    o.number("delayA", u64::from(delay_a));
                    o.number("delayB", u64::from(delay_b));
                });
            }
            Body::Unknown => {}
        }
    }

    /// O-RAN's reading of the two ids (O-RAN.WG4.CUS sections 5.1.3.1.7 and 5.1.3.1.8).
    fn oran(&self, o: &mut Object<'_>, id: u16, seq_id: u16) {
        let Some(widths) = self.eaxc else { return };
        let parts = widths.split(id);
        o.object("eAxC", |o| {
            o.number("duPortID", u64::from(parts.du_port_id));
            o.number("bandSectorID", u64::from(parts.band_sector_id));
            o.number("ccID", u64::from(parts.cc_id));
            o.number("ruPortID", u64::from(parts.ru_port_id));
        });
        let [sequence, last] = seq_id.to_be_bytes();
        o.number("sequenceID", u64::from(sequence));
        o.flag("eBit", last & 0x80 != 0);
        o.number("subsequenceID", u64::from(last & 0x7f));
    }

    fn ids_text(&self, out: &mut Vec<u8>) {
        let of_stream = |out: &mut Vec<u8>, label: &str, id: u16, seq_id: u16| {
            let _ = match self.eaxc.map(|widths| widths.split(id)) {
                None => write!(out, " {label}={id:04x} seq={seq_id}"),
                Some(parts) => write!(
                    out,
                    " {label}={id:04x} du={} bandSector={} cc={} ru={} seq={}.{}{}",
                    parts.du_port_id,
                    parts.band_sector_id,
                    parts.cc_id,
                    parts.ru_port_id,
                    seq_id >> 8,
                    seq_id & 0x7f,
                    if seq_id & 0x80 != 0 { " last" } else { "" }
                ),
            };
        };
        let _ = match self.message.body {
            Body::Stream { pc_id, seq_id } => return of_stream(out, "pcID", pc_id, seq_id),
            Body::RealTimeControl { rtc_id, seq_id } => return of_stream(out, "rtcID", rtc_id, seq_id),
            Body::GenericData { pc_id, seq_id } => write!(out, " pcID={pc_id:08x} seq={seq_id}"),
            Body::Rma { id, read_write, request_response, element_id, address, length } => write!(
                out,
                " id={id} {} {} element={element_id} address={address:012x} length={length}",
                name(u64::from(read_write), READ_WRITE),
                name(u64::from(request_response), REQUEST_RESPONSE)
            ),
            Body::Owd { id, action_type, seconds, nanoseconds, .. } => {
                write!(out, " id={id} {} time={seconds}.{nanoseconds:09}", name(u64::from(action_type), OWD_ACTIONS))
            }
            Body::Reset { id, code_op } => write!(out, " id={id} {}", name(u64::from(code_op), RESET_CODES)),
            Body::Event { id, event_type, sequence, count, .. } => {
                write!(out, " id={id} {} seq={sequence} elements={count}", name(u64::from(event_type), EVENT_TYPES))
            }
            Body::IwfStartUp { pc_id, .. } | Body::Iwf { pc_id } => write!(out, " pcID={pc_id:04x}"),
            Body::IwfDelayControl { pc_id, id, action_type, delay_a, delay_b } => write!(
                out,
                " pcID={pc_id:04x} id={id} {} delayA={delay_a} delayB={delay_b}",
                name(u64::from(action_type), DELAY_ACTIONS)
            ),
            Body::Unknown => Ok(()),
        };
    }
}

fn fault(out: &mut Vec<u8>, fault: Fault) {
    json::object(out, |o| {
        o.number("elementID", u64::from(fault.element_id));
        code(o, "raiseCease", u64::from(fault.raise_cease), RAISE_CEASE);
        code(o, "faultNotification", u64::from(fault.number), FAULTS);
        o.number("additionalInformation", u64::from(fault.additional_information));
    });
}

/// A code point, and its meaning under the same key with `Name` behind it.
fn code(o: &mut Object<'_>, key: &str, code: u64, names: &[(u64, &str)]) {
    o.number(key, code);
    if let Some((_, name)) = names.iter().find(|(known, _)| *known == code) {
        json::plain(o.member(key, "Name"), name.as_bytes());
    }
}

fn name(code: u64, names: &'static [(u64, &'static str)]) -> &'static str {
    names.iter().find(|(known, _)| *known == code).map_or("?", |(_, name)| name)
}

const READ_WRITE: &[(u64, &str)] = &[(0, "Read"), (1, "Write"), (2, "Write_No_resp")];
const REQUEST_RESPONSE: &[(u64, &str)] = &[(0, "Request"), (1, "Response"), (2, "Failure")];
const OWD_ACTIONS: &[(u64, &str)] = &[
    (0, "Request"),
    (1, "Request with Follow_Up"),
    (2, "Response"),
    (3, "Remote Request"),
    (4, "Remote Request with Follow_Up"),
    (5, "Follow_Up"),
];
const RESET_CODES: &[(u64, &str)] = &[(1, "Remote reset request"), (2, "Remote reset response")];
const EVENT_TYPES: &[(u64, &str)] = &[
    (0, "Fault(s) Indication"),
    (1, "Fault(s) Indication Acknowledge"),
    (2, "Notification(s) Indication"),
    (3, "Synchronization Request"),
    (4, "Synchronization Acknowledge"),
    (5, "Synchronization End Indication"),
];
const RAISE_CEASE: &[(u64, &str)] = &[(0, "Raise"), (1, "Cease")];
const FAULTS: &[(u64, &str)] = &[
    (0x000, "General Userplane HW Fault"),
    (0x001, "General Userplane SW Fault"),
    (0x400, "Unknown message type received"),
    (0x401, "Userplane data buffer underflow"),
    (0x402, "Userplane data buffer overflow"),
    (0x403, "Userplane data arrived too early"),
    (0x404, "Userplane data received too late"),
];
const DELAY_ACTIONS: &[(u64, &str)] = &[(0, "Request Get Delays"), (1, "Response Get Delays")];
