//! The ids of a message that matter, gathered from wherever they stand in it.

use crate::decode::pfcp::layout::{Value, Visit, walk};
use crate::decode::pfcp::{Body, Ie, Ies, Message};

/// Those that a message has once. Those that it may have often are walked to by `teids` and `ue_ips`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ids<'a> {
    pub node_id: Option<Value<'a>>,
    /// SEID and addresses of the F-SEID that the CP function chose.
    pub cp_seid: Option<u64>,
    /// Of the F-SEID that the UP function chose.
    pub up_seid: Option<u64>,
    pub cause: Option<u8>,
    /// Whether every value had the octets that its type and flags ask for.
    pub sound: bool,
}

impl<'a> Ids<'a> {
    pub fn gather(message: &Message<'a>) -> Ids<'a> {
        let mut ids = Ids { sound: all_sound(message.ies), ..Ids::default() };
        for ie in message.ies.iter().flatten().filter(|ie| ie.enterprise_id.is_none()) {
            match ie.code {
                NODE_ID if ids.node_id.is_none() => ids.node_id = field(ie, "nodeIdValue"),
                CAUSE if ids.cause.is_none() => ids.cause = ie.value.first().copied(),
                F_SEID => {
                    let Some(Value::Hex(seid, _)) = field(ie, "seid") else { continue };
                    // Clauses 7.5.2 to 7.5.9: only this message carries one of the UP function.
                    let slot = match message.message_type {
                        SESSION_ESTABLISHMENT_RESPONSE => &mut ids.up_seid,
                        _ => &mut ids.cp_seid,
                    };
                    slot.get_or_insert(seid);
                }
                _ => {}
            }
        }
        ids
    }
}

/// Calls `each` with the TEID of every F-TEID and Outer Header Creation, once per value as far as
/// `MEMORY` values go.
pub fn teids(ies: Ies<'_>, each: &mut dyn FnMut(u32)) {
    let mut seen = Seen::<u32>::default();
    visit(ies, &mut |ie| {
        if matches!(ie.code, F_TEID | OUTER_HEADER_CREATION)
            && let Some(Value::Hex(teid, _)) = field(ie, "teid")
            && seen.is_new(teid as u32)
        {
            each(teid as u32);
        }
    });
}

/// Calls `each` with the address of every UE IP Address, once per value as far as `MEMORY` values go.
pub fn ue_ips<'a>(ies: Ies<'a>, each: &mut dyn FnMut(Value<'a>)) {
    let mut seen = Seen::<[u8; 16]>::default();
    visit(ies, &mut |ie| {
        if ie.code != UE_IP_ADDRESS {
            return;
        }
        for name in ["ipv4Address", "ipv6Address"] {
            let Some(address) = field(ie, name) else { continue };
            let key = match address {
                Value::Ipv4(v4) => std::net::Ipv4Addr::from(v4).to_ipv6_mapped().octets(),
                Value::Ipv6(v6) => v6,
                _ => continue,
            };
            if seen.is_new(key) {
                each(address);
            }
        }
    });
}

/// Every IE of a list and of the groups in it.
fn visit<'a>(ies: Ies<'a>, each: &mut dyn FnMut(Ie<'a>)) {
    for ie in ies.iter().flatten() {
        match ie.group() {
            // Nesting is bounded: only well-formed messages come here.
            Some(group) => visit(group, each),
            None => each(ie),
        }
    }
}

fn all_sound(ies: Ies<'_>) -> bool {
    let mut sound = true;
    visit(ies, &mut |ie| {
        if let Some(Body::Fields(fields)) = ie.definition().map(|definition| &definition.body) {
            sound &= walk(fields, ie.value, &mut Ignore).is_ok();
        }
    });
    sound
}

/// The first field of an IE that has this name.
fn field<'a>(ie: Ie<'a>, name: &'static str) -> Option<Value<'a>> {
    let Body::Fields(fields) = &ie.definition()?.body else { return None };
    let mut find = Find { name, found: None };
    walk(fields, ie.value, &mut find).ok()?;
    find.found
}

struct Find<'a> {
    name: &'static str,
    found: Option<Value<'a>>,
}

impl<'a> Visit<'a> for Find<'a> {
    fn field(&mut self, name: &'static str, value: Value<'a>) {
        if self.found.is_none() && self.name == name {
            self.found = Some(value);
        }
    }

    fn list(&mut self, _: &'static str) {}
    fn item(&mut self, _: Value<'a>) {}
    fn end(&mut self) {}
}

struct Ignore;

impl<'a> Visit<'a> for Ignore {
    fn field(&mut self, _: &'static str, _: Value<'a>) {}
    fn list(&mut self, _: &'static str) {}
    fn item(&mut self, _: Value<'a>) {}
    fn end(&mut self) {}
}

/// The first values that came, so that each is told once.
#[derive(Default)]
struct Seen<T> {
    values: [T; MEMORY],
    count: usize,
}

impl<T: Copy + PartialEq> Seen<T> {
    fn is_new(&mut self, value: T) -> bool {
        if self.values[..self.count].contains(&value) {
            return false;
        }
        if let Some(slot) = self.values.get_mut(self.count) {
            *slot = value;
            self.count += 1;
        }
        true
    }
}

const MEMORY: usize = 32;

const CAUSE: u16 = 19;
const F_TEID: u16 = 21;
const F_SEID: u16 = 57;
const NODE_ID: u16 = 60;
const OUTER_HEADER_CREATION: u16 = 84;
const UE_IP_ADDRESS: u16 = 93;
const SESSION_ESTABLISHMENT_RESPONSE: u8 = 51;
