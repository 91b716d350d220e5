//! The language in which `table` says what the value of an IE is made of: fields one after the other,
//! each of scalars. Field names are the TS's own in lowerCamel. `walk` interprets it.

use crate::decode::padded::Padded;

/// The name of a field.
#[derive(PartialEq, Eq, Debug)]
pub struct Label {
    pub text: &'static str,
    /// As the key of a member in JSON: its quotes, the comma before and the colon behind.
    pub key: Padded,
}

impl Label {
    pub const fn new(text: &'static str) -> Label {
        Label { text, key: Padded::key(text) }
    }
}

/// One step through a value.
pub enum Field {
    /// An octet of flags and small numbers.
    Octet {
        flags: &'static [&'static Label],
        parts: &'static [Part],
    },
    /// Octets of one meaning.
    One(&'static Label, Scalar),
    /// As `One`, behind a length of so many octets.
    Sized(&'static Label, u8, Scalar),
    /// A scalar that takes what is left but for so many octets.
    RestBut(&'static Label, usize, Scalar),
    /// A list of scalars.
    List(&'static Label, Count, Scalar),
    /// Scalars behind the length, of so many octets, of them all.
    SizedList(&'static Label, u8, Scalar),
    /// Where any of these flags is set: bit 0 is bit 1 of the first octet of flags, bit 8 bit 1 of the
    /// second, and so on.
    If(u64, &'static [Field]),
    /// Where all of these flags are set.
    All(u64, &'static [Field]),
    /// Where none of these flags is set.
    Unless(u64, &'static [Field]),
    /// Where anything is left: what later versions of the TS added.
    Optional(&'static [Field]),
    /// By the first part of the last octet.
    Switch(&'static [(u8, &'static [Field])]),
    /// C-TAG and S-TAG: PCP, DEI and a VID of 12 bits in two octets (clause 8.2.94).
    VlanTag(&'static Label),
    /// 16 bits: a flag above a number of 15 bits (clause 8.2.91).
    Flagged15(&'static Label, &'static Label),
    Spare(usize),
}

/// Some bits of an octet: `width` bits from `shift` up.
pub struct Part {
    pub name: &'static Label,
    pub shift: u8,
    pub width: u8,
    pub names: Names,
}

/// How many items a list has.
#[derive(Clone, Copy)]
pub enum Count {
    /// As the octet before it says.
    Octet,
    /// As the second part of the last octet of parts says.
    Part,
    /// To the end.
    Rest,
}

/// Octets of one meaning.
#[derive(Clone, Copy)]
pub enum Scalar {
    /// An unsigned number of so many octets.
    Number(u8),
    /// A signed number of so many octets.
    Signed(u8),
    /// All that is left as one unsigned number.
    NumberRest,
    /// An identifier of so many octets.
    Hex(u8),
    /// 20 bits below 4 spare ones (clause 8.2.5).
    FlowLabel,
    /// A code point of so many octets.
    Code(u8, Names),
    /// An IE's type.
    IeType,
    Ipv4,
    Ipv6,
    /// IPv4 or IPv6 by what is left.
    Address,
    Mac,
    /// Seconds of NTP (clause 8.2.65 and others).
    Time,
    /// NTP's 64 bits (RFC 5905 section 6).
    Time64,
    Plmn,
    Text,
    /// A name in DNS labels, or text where it is none.
    Name,
    /// Digits in TBCD (TS 29.002).
    Digits,
    Bytes,
    /// So many octets.
    Octets(u8),
    /// Text behind a length of two octets.
    Text16,
}

/// Code points and what they mean.
pub type Names = &'static [(u16, &'static str)];

impl Scalar {
    /// How many octets it takes, where that is fixed.
    const fn octets(self) -> Option<usize> {
        Some(match self {
            Scalar::Number(octets)
            | Scalar::Signed(octets)
            | Scalar::Hex(octets)
            | Scalar::Code(octets, _)
            | Scalar::Octets(octets) => octets as usize,
            Scalar::IeType => 2,
            Scalar::FlowLabel | Scalar::Plmn => 3,
            Scalar::Ipv4 | Scalar::Time => 4,
            Scalar::Mac => 6,
            Scalar::Time64 => 8,
            Scalar::Ipv6 => 16,
            _ => return None,
        })
    }

    pub(super) const fn may_be_empty(self) -> bool {
        matches!(self, Scalar::Text | Scalar::Name | Scalar::Digits | Scalar::Bytes)
    }
}

/// How many octets suffice for a walk through these fields to end well, whatever the octets are. None
/// where that depends on them.
pub(super) const fn enough(fields: &[Field]) -> Option<usize> {
    let (mut octets, mut at, mut open) = (0, 0, false);
    while at < fields.len() {
        let more = match &fields[at] {
            // One octet is there where any is.
            Field::Optional([Field::Octet { .. }]) => {
                open = true;
                at += 1;
                continue;
            }
            // Takes what there is.
            Field::One(_, Scalar::Text | Scalar::Name | Scalar::Digits | Scalar::Bytes) if !open => {
                open = true;
                at += 1;
                continue;
            }
            Field::Octet { .. } => Some(1),
            Field::One(_, scalar) => scalar.octets(),
            Field::VlanTag(_) | Field::Flagged15(..) => Some(2),
            Field::Spare(octets) => Some(*octets),
            _ => None,
        };
        match more {
            Some(more) if !open => octets += more,
            _ => return None,
        }
        at += 1;
    }
    Some(octets)
}
