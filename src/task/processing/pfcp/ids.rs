//! The ids of a message that matter, gathered from wherever they stand in it.

use crate::decode::pfcp::layout::{Value, Visit, walk};
use crate::decode::pfcp::{Body, Ie, Ies, Message};

/// The ids of one message.
#[derive(Clone, Debug, Default)]
pub struct Ids<'a> {
    pub node_id: Option<Value<'a>>,
    /// SEID and addresses of the F-SEID that the CP function chose.
    pub cp_seid: Option<u64>,
    /// Of the F-SEID that the UP function chose.
    pub up_seid: Option<u64>,
    pub cause: Option<u8>,
    /// Of every F-TEID and Outer Header Creation.
    pub teids: Distinct<u32>,
    /// IPv4 and IPv6 of every UE IP Address.
    pub ue_ips: Distinct<Option<Value<'a>>>,
    /// Whether every value had the octets that its type and flags ask for.
    pub sound: bool,
}

impl<'a> Ids<'a> {
    pub fn gather(message: &Message<'a>) -> Ids<'a> {
        let mut ids = Ids { sound: true, ..Ids::default() };
        ids.values(message.ies);
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

    /// Walks through every value of a list and of the groups in it, once.
    fn values(&mut self, ies: Ies<'a>) {
        for ie in ies.iter().flatten() {
            let Some(definition) = ie.definition() else { continue };
            match definition.body {
                // Nesting is bounded: only well-formed messages come here.
                Body::Group => self.values(Ies::new(ie.value)),
                Body::Fields(fields) => {
                    let mut take = Take { ids: self, code: ie.code };
                    let sound = walk(fields, ie.value, &mut take).is_ok();
                    self.sound &= sound;
                }
                Body::Opaque => {}
            }
        }
    }
}

/// Takes the ids among the fields of an IE of a type.
struct Take<'i, 'a> {
    ids: &'i mut Ids<'a>,
    code: u16,
}

impl<'a> Visit<'a> for Take<'_, 'a> {
    #[inline]
    fn field(&mut self, name: &'static str, value: Value<'a>) {
        match (self.code, value) {
            (F_TEID | OUTER_HEADER_CREATION, Value::Hex(teid, _)) if name == "teid" => {
                self.ids.teids.add(teid as u32);
            }
            (UE_IP_ADDRESS, Value::Ipv4(_) | Value::Ipv6(_)) => self.ids.ue_ips.add(Some(value)),
            _ => {}
        }
    }

    fn list(&mut self, _: &'static str) {}
    fn item(&mut self, _: Value<'a>) {}
    fn end(&mut self) {}
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

/// Values in the order in which they came, each once as far as `MEMORY` values go.
#[derive(Clone, Debug)]
pub struct Distinct<T> {
    values: [T; MEMORY],
    count: usize,
    /// What no message of a session has: more of them.
    more: Vec<T>,
}

impl<T: Copy + PartialEq> Distinct<T> {
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub fn iter(&self) -> impl Iterator<Item = T> {
        self.values[..self.count].iter().chain(&self.more).copied()
    }

    fn add(&mut self, value: T) {
        if self.values[..self.count].contains(&value) {
            return;
        }
        match self.values.get_mut(self.count) {
            Some(slot) => {
                *slot = value;
                self.count += 1;
            }
            None => self.more.push(value),
        }
    }
}

impl<T: Copy + Default> Default for Distinct<T> {
    fn default() -> Distinct<T> {
        Distinct { values: [T::default(); MEMORY], count: 0, more: Vec::new() }
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
