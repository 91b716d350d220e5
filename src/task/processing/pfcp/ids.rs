//! The ids of a message that matter, gathered from wherever they stand in it.

use std::net::IpAddr;

use crate::decode::Error;
use crate::decode::pfcp::layout::{Field, Label};
use crate::decode::pfcp::value::Value;
use crate::decode::pfcp::walk::{Visit, suffices, walk};
use crate::decode::pfcp::{Body, Ie, Ies, MAX_DEPTH, Message};

/// The ids of one message.
#[derive(Clone, Copy, Debug)]
pub struct Ids<'a> {
    pub node_id: Option<Value<'a>>,
    /// SEID and addresses of the F-SEID that the CP function chose.
    pub cp_seid: Option<u64>,
    /// Of the F-SEID that the UP function chose.
    pub up_seid: Option<u64>,
    pub cause: Option<u8>,
    /// Of every F-TEID and Outer Header Creation.
    pub teids: &'a [u32],
    /// IPv4 and IPv6 of every UE IP Address.
    pub ue_ips: &'a [IpAddr],
    /// Whether every value had the octets that its type and flags ask for.
    pub sound: bool,
}

/// Room for the ids of a message, kept so that nothing is allocated once it has grown.
#[derive(Default)]
pub struct Room {
    teids: Vec<u32>,
    ue_ips: Vec<IpAddr>,
}

impl Room {
    /// Walks through the message once. The error is that of a list or group whose lengths do not fit, or
    /// that nests deeper than `MAX_DEPTH`.
    pub fn gather<'a>(&'a mut self, message: &Message<'a>) -> Result<Ids<'a>, Error> {
        self.teids.clear();
        self.ue_ips.clear();
        let mut gather = Gather {
            message_type: message.message_type,
            teids: &mut self.teids,
            ue_ips: &mut self.ue_ips,
            node_id: None,
            cp_seid: None,
            up_seid: None,
            cause: None,
            sound: true,
        };
        gather.list(message.ies, 1)?;
        let Gather { node_id, cp_seid, up_seid, cause, sound, .. } = gather;
        Ok(Ids { node_id, cp_seid, up_seid, cause, sound, teids: &self.teids, ue_ips: &self.ue_ips })
    }
}

struct Gather<'a, 'r> {
    message_type: u8,
    teids: &'r mut Vec<u32>,
    ue_ips: &'r mut Vec<IpAddr>,
    node_id: Option<Value<'a>>,
    cp_seid: Option<u64>,
    up_seid: Option<u64>,
    cause: Option<u8>,
    sound: bool,
}

impl<'a> Gather<'a, '_> {
    fn list(&mut self, ies: Ies<'a>, depth: usize) -> Result<(), Error> {
        for ie in ies.iter() {
            let ie = ie?;
            let Some(definition) = ie.definition() else { continue };
            match definition.body {
                Body::Group if depth < MAX_DEPTH => self.list(Ies::new(ie.value), depth + 1)?,
                Body::Group => return Err(Error::Malformed),
                // Where the octets suffice whatever they are nothing is to be found but the ids.
                Body::Fields(fields) => match ie.code {
                    F_TEID | OUTER_HEADER_CREATION | UE_IP_ADDRESS => {
                        let mut take = Take { teids: self.teids, ue_ips: self.ue_ips, code: ie.code };
                        self.sound &= walk(fields, ie.value, &mut take).is_ok();
                    }
                    NODE_ID | F_SEID | CAUSE if depth == 1 => self.of_message(ie, fields),
                    _ if definition.enough.is_some_and(|octets| octets <= ie.value.len()) => {}
                    _ => self.sound &= suffices(fields, ie.value),
                },
                Body::Opaque => {}
            }
        }
        Ok(())
    }

    /// An id that stands in the message itself, not in a group.
    fn of_message(&mut self, ie: Ie<'a>, fields: &'static [Field]) {
        let mut find = Find { name: if ie.code == F_SEID { "seid" } else { "nodeIdValue" }, found: None };
        if walk(fields, ie.value, &mut find).is_err() {
            self.sound = false;
            find.found = None;
        }
        match (ie.code, find.found) {
            (CAUSE, _) => self.cause = self.cause.or(ie.value.first().copied()),
            (NODE_ID, found) => self.node_id = self.node_id.or(found),
            (F_SEID, Some(Value::Hex(seid, _))) => {
                // Clauses 7.5.2 to 7.5.9: only this message carries one of the UP function.
                let slot = match self.message_type {
                    SESSION_ESTABLISHMENT_RESPONSE => &mut self.up_seid,
                    _ => &mut self.cp_seid,
                };
                slot.get_or_insert(seid);
            }
            _ => {}
        }
    }
}

/// Takes the ids among the fields of an IE of a type.
struct Take<'r> {
    teids: &'r mut Vec<u32>,
    ue_ips: &'r mut Vec<IpAddr>,
    code: u16,
}

impl<'a> Visit<'a> for Take<'_> {
    #[inline]
    fn field(&mut self, name: &'static Label, value: Value<'a>) {
        match (self.code, value) {
            (F_TEID | OUTER_HEADER_CREATION, Value::Hex(teid, _)) if name.text == "teid" => {
                add(self.teids, teid as u32)
            }
            (UE_IP_ADDRESS, Value::Ipv4(address)) => add(self.ue_ips, address.into()),
            (UE_IP_ADDRESS, Value::Ipv6(address)) => add(self.ue_ips, address.into()),
            _ => {}
        }
    }

    fn list(&mut self, _: &'static Label) {}
    fn item(&mut self, _: Value<'a>) {}
    fn end(&mut self) {}
}

/// Adds a value that is not among the first `MEMORY`.
fn add<T: PartialEq>(values: &mut Vec<T>, value: T) {
    if !values.iter().take(MEMORY).any(|known| *known == value) {
        values.push(value);
    }
}

/// The first field of a name.
struct Find<'a> {
    name: &'static str,
    found: Option<Value<'a>>,
}

impl<'a> Visit<'a> for Find<'a> {
    fn field(&mut self, name: &'static Label, value: Value<'a>) {
        if self.found.is_none() && self.name == name.text {
            self.found = Some(value);
        }
    }

    fn list(&mut self, _: &'static Label) {}
    fn item(&mut self, _: Value<'a>) {}
    fn end(&mut self) {}
}

/// Values among which a new one is looked for, so that a message of many costs linear time.
const MEMORY: usize = 32;

const CAUSE: u16 = 19;
const F_TEID: u16 = 21;
const F_SEID: u16 = 57;
const NODE_ID: u16 = 60;
const OUTER_HEADER_CREATION: u16 = 84;
const UE_IP_ADDRESS: u16 = 93;
const SESSION_ESTABLISHMENT_RESPONSE: u8 = 51;

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(ies: &[u8]) -> bool {
        let message = Message {
            version: 1,
            follow_on: false,
            message_type: 50,
            length: 0,
            seid: None,
            sequence: 0,
            priority: None,
            ies: Ies::new(ies),
        };
        Room::default().gather(&message).is_ok()
    }

    #[test]
    fn groups_that_nest_without_end_are_refused_at_a_fixed_depth() {
        let mut bytes = Vec::new();
        let total = 16_000_usize;
        for level in 0..total {
            let length = ((total - level - 1) * 4) as u16;
            bytes.extend_from_slice(&[0, 1, (length >> 8) as u8, length as u8]);
        }
        assert!(!fits(&bytes));
        assert!(fits(&[0, 1, 0, 4, 0, 2, 0, 0]));
        assert!(!fits(&[0, 1, 0, 4, 0, 2, 0, 1]));
        assert!(!fits(&[0, 19, 0, 1]));
    }
}
