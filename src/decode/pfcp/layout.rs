//! The language in which `table` says what the value of an IE is made of, and its interpreter. Field
//! names are the TS's own in lowerCamel.

use crate::decode::padded::Padded;
use crate::decode::{Error, Reader};

/// The name of a field.
#[derive(PartialEq, Eq, Debug)]
pub struct Label {
    pub text: &'static str,
    /// As the key of a member in JSON: its quotes, the comma before and the colon behind.
    pub key: Padded,
}

impl Label {
    pub const fn new(text: &'static str) -> Label {
        Label { text, key: Padded::new(&[",\"", text, "\":"]) }
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

/// A typed value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Value<'a> {
    /// A flag that is set.
    Flag,
    Number(u64),
    Signed(i64),
    Code(u64, Option<&'static str>),
    /// An identifier, and how many octets it has.
    Hex(u64, u8),
    Ipv4([u8; 4]),
    Ipv6([u8; 16]),
    Mac([u8; 6]),
    /// Seconds since 1900 as NTP counts them, or since 2036 where the first bit is 0 (RFC 4330
    /// section 3).
    Time(u32),
    /// As `Time`, with the fraction of a second in the lower 32 bits.
    Time64(u64),
    /// MCC and MNC as TS 24.008 puts them.
    Plmn([u8; 3]),
    Text(&'a [u8]),
    /// Labels, checked: each a length and its bytes.
    Labels(&'a [u8]),
    Digits(&'a [u8]),
    Bytes(&'a [u8]),
}

/// Takes what a value is made of, in order.
pub trait Visit<'a> {
    fn field(&mut self, name: &'static Label, value: Value<'a>);
    /// Items follow by `item`, until `end`.
    fn list(&mut self, name: &'static Label);
    fn item(&mut self, value: Value<'a>);
    fn end(&mut self);
}

/// Walks through a value. An error means that it ends before its fields do; octets behind the last
/// field are of a later version and left out (clause 8.1.1).
pub fn walk<'a>(fields: &'static [Field], value: &'a [u8], visit: &mut impl Visit<'a>) -> Result<(), Error> {
    Walk { reader: Reader::new(value), flags: 0, octets: 0, parts: [0; 2] }.fields(fields, visit)
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

/// Whether a value has the octets that its fields take.
pub fn suffices(fields: &'static [Field], value: &[u8]) -> bool {
    walk(fields, value, &mut Ignore).is_ok()
}

struct Ignore;

impl<'a> Visit<'a> for Ignore {
    fn field(&mut self, _: &'static Label, _: Value<'a>) {}
    fn list(&mut self, _: &'static Label) {}
    fn item(&mut self, _: Value<'a>) {}
    fn end(&mut self) {}
}

struct Walk<'a> {
    reader: Reader<'a>,
    /// The octets of flags so far, the first lowest.
    flags: u64,
    octets: u32,
    /// The first two parts of the last octet that had any.
    parts: [u8; 2],
}

impl<'a> Walk<'a> {
    fn fields(&mut self, fields: &'static [Field], visit: &mut impl Visit<'a>) -> Result<(), Error> {
        fields.iter().try_for_each(|field| self.field(field, visit))
    }

    fn field(&mut self, field: &'static Field, visit: &mut impl Visit<'a>) -> Result<(), Error> {
        match field {
            Field::Octet { flags, parts } => self.octet(flags, parts, visit)?,
            // What is empty is not told: it says nothing.
            Field::One(_, scalar) if self.reader.is_empty() && scalar.may_be_empty() => {}
            Field::One(name, scalar) => visit.field(name, scalar.read(&mut self.reader)?),
            Field::Sized(name, octets, scalar) => {
                let mut inner = self.sized(*octets)?;
                if !inner.is_empty() {
                    visit.field(name, scalar.read(&mut inner)?);
                }
            }
            Field::RestBut(name, less, scalar) => {
                let length = self.reader.remaining().checked_sub(*less).ok_or(Error::Truncated)?;
                visit.field(name, scalar.read(&mut self.reader.sub(length)?)?);
            }
            Field::List(name, count, scalar) => self.list(name, *count, *scalar, visit)?,
            Field::SizedList(name, octets, scalar) => {
                let mut inner = self.sized(*octets)?;
                visit.list(name);
                while !inner.is_empty() {
                    visit.item(scalar.read(&mut inner)?);
                }
                visit.end();
            }
            Field::If(mask, fields) if self.flags & mask != 0 => self.fields(fields, visit)?,
            Field::All(mask, fields) if self.flags & mask == *mask => self.fields(fields, visit)?,
            Field::Unless(mask, fields) if self.flags & mask == 0 => self.fields(fields, visit)?,
            Field::Optional(fields) if !self.reader.is_empty() => self.fields(fields, visit)?,
            Field::If(..) | Field::All(..) | Field::Unless(..) | Field::Optional(_) => {}
            Field::Switch(cases) => match cases.iter().find(|(case, _)| *case == self.parts[0]) {
                Some((_, fields)) => self.fields(fields, visit)?,
                // A type that the TS does not know: what follows is of unknown shape.
                None => visit.field(const { &Label::new("value") }, Value::Bytes(self.reader.take_rest())),
            },
            Field::VlanTag(vid) => self.vlan_tag(vid, visit)?,
            Field::Flagged15(flag, name) => {
                let word = self.reader.u16()?;
                if word & 0x8000 != 0 {
                    visit.field(flag, Value::Flag);
                }
                visit.field(name, Value::Number(u64::from(word & 0x7fff)));
            }
            Field::Spare(octets) => self.reader.skip(*octets)?,
        }
        Ok(())
    }

    fn octet(
        &mut self,
        flags: &'static [&'static Label],
        parts: &'static [Part],
        visit: &mut impl Visit<'a>,
    ) -> Result<(), Error> {
        let octet = self.reader.u8()?;
        self.flags |= u64::from(octet).checked_shl(self.octets * 8).unwrap_or(0);
        self.octets += 1;
        for (bit, flag) in flags.iter().enumerate() {
            if octet >> bit & 1 != 0 && !flag.text.is_empty() {
                visit.field(flag, Value::Flag);
            }
        }
        for (at, part) in parts.iter().enumerate() {
            let value = octet >> part.shift & (0xff >> (8 - part.width));
            if let Some(kept) = self.parts.get_mut(at) {
                *kept = value;
            }
            if !part.name.text.is_empty() {
                visit.field(part.name, named(u64::from(value), part.names));
            }
        }
        Ok(())
    }

    fn list(
        &mut self,
        name: &'static Label,
        count: Count,
        scalar: Scalar,
        visit: &mut impl Visit<'a>,
    ) -> Result<(), Error> {
        let count = match count {
            Count::Octet => usize::from(self.reader.u8()?),
            Count::Part => usize::from(self.parts[1]),
            Count::Rest => usize::MAX,
        };
        visit.list(name);
        for at in 0..count {
            if count == usize::MAX && self.reader.is_empty() {
                break;
            }
            debug_assert!(at <= self.reader.position(), "a scalar of a list takes at least an octet");
            visit.item(scalar.read(&mut self.reader)?);
        }
        visit.end();
        Ok(())
    }

    fn sized(&mut self, octets: u8) -> Result<Reader<'a>, Error> {
        let length = number(&mut self.reader, octets)?;
        self.reader.sub(usize::try_from(length).map_err(|_| Error::Truncated)?)
    }

    fn vlan_tag(&mut self, vid: &'static Label, visit: &mut impl Visit<'a>) -> Result<(), Error> {
        let [high, low] = self.reader.array()?;
        // Clause 8.2.94: the flags of the octet before say which of the three matter.
        if self.flags & 1 != 0 {
            visit.field(const { &Label::new("pcpValue") }, Value::Number(u64::from(high & 0x07)));
        }
        if self.flags & 2 != 0 && high & 0x08 != 0 {
            visit.field(const { &Label::new("deiFlag") }, Value::Flag);
        }
        if self.flags & 4 != 0 {
            visit.field(vid, Value::Number(u64::from(high >> 4) << 8 | u64::from(low)));
        }
        Ok(())
    }
}

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

    const fn may_be_empty(self) -> bool {
        matches!(self, Scalar::Text | Scalar::Name | Scalar::Digits | Scalar::Bytes)
    }

    #[inline]
    fn read<'a>(self, reader: &mut Reader<'a>) -> Result<Value<'a>, Error> {
        Ok(match self {
            Scalar::Number(octets) => Value::Number(number(reader, octets)?),
            Scalar::Signed(octets) => {
                let unused = 64 - 8 * u32::from(octets);
                Value::Signed(((number(reader, octets)? << unused) as i64) >> unused)
            }
            Scalar::NumberRest => {
                let octets = u8::try_from(reader.remaining()).map_err(|_| Error::Malformed)?;
                if !(1..=8).contains(&octets) {
                    return Err(Error::Malformed);
                }
                Value::Number(number(reader, octets)?)
            }
            Scalar::Hex(octets) => Value::Hex(number(reader, octets)?, octets),
            Scalar::FlowLabel => Value::Hex(u64::from(reader.u24()? & 0x000f_ffff), 3),
            Scalar::Code(octets, names) => named(number(reader, octets)?, names),
            Scalar::IeType => {
                let code = reader.u16()?;
                Value::Code(u64::from(code), super::definition(code).map(|definition| definition.name))
            }
            Scalar::Ipv4 => Value::Ipv4(reader.array()?),
            Scalar::Ipv6 => Value::Ipv6(reader.array()?),
            Scalar::Address => match reader.remaining() {
                4 => Value::Ipv4(reader.array()?),
                16 => Value::Ipv6(reader.array()?),
                _ => return Err(Error::Malformed),
            },
            Scalar::Mac => Value::Mac(reader.array()?),
            Scalar::Time => Value::Time(reader.u32()?),
            Scalar::Time64 => Value::Time64(reader.u64()?),
            Scalar::Plmn => Value::Plmn(reader.array()?),
            Scalar::Text => Value::Text(reader.take_rest()),
            Scalar::Name => {
                let bytes = reader.take_rest();
                if labels(bytes) { Value::Labels(bytes) } else { Value::Text(bytes) }
            }
            Scalar::Digits => Value::Digits(reader.take_rest()),
            Scalar::Bytes => Value::Bytes(reader.take_rest()),
            Scalar::Octets(octets) => Value::Bytes(reader.take(usize::from(octets))?),
            Scalar::Text16 => Value::Text(reader.prefixed_u16()?.take_rest()),
        })
    }
}

fn named(value: u64, names: Names) -> Value<'static> {
    if names.is_empty() {
        return Value::Number(value);
    }
    Value::Code(value, names.iter().find(|(code, _)| u64::from(*code) == value).map(|(_, name)| *name))
}

/// A number of up to 8 octets.
#[inline]
fn number(reader: &mut Reader<'_>, octets: u8) -> Result<u64, Error> {
    match octets {
        1 => return reader.u8().map(u64::from),
        2 => return reader.u16().map(u64::from),
        4 => return reader.u32().map(u64::from),
        8 => return reader.u64(),
        _ => {}
    }
    Ok(reader.take(usize::from(octets))?.iter().fold(0, |number, octet| number << 8 | u64::from(*octet)))
}

/// Whether bytes are labels of a domain name to their end (TS 23.003 clause 9.1), with or without the
/// root's.
fn labels(bytes: &[u8]) -> bool {
    let mut reader = Reader::new(bytes);
    while !reader.is_empty() {
        match reader.prefixed_u8() {
            Ok(label) if label.is_empty() => return reader.is_empty() && bytes.len() > 1,
            Ok(label) if label.remaining() <= 63 && label.rest().iter().all(u8::is_ascii_graphic) => {}
            _ => return false,
        }
    }
    !bytes.is_empty()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::decode::pfcp::{Body, definition};

    /// Each name that fields can have, with how often one value may have it.
    fn names(fields: &'static [Field], into: &mut HashMap<&'static str, u32>) {
        for field in fields {
            match field {
                Field::Octet { flags, parts } => {
                    let parts = parts.iter().map(|part| part.name.text);
                    flags.iter().map(|flag| flag.text).chain(parts).filter(|name| !name.is_empty()).for_each(|name| {
                        *into.entry(name).or_default() += 1;
                    });
                }
                Field::One(name, _)
                | Field::Sized(name, ..)
                | Field::RestBut(name, ..)
                | Field::List(name, ..)
                | Field::SizedList(name, ..) => *into.entry(name.text).or_default() += 1,
                Field::If(_, inner) | Field::All(_, inner) | Field::Optional(inner) => names(inner, into),
                // Their cases exclude each other.
                Field::Unless(..) | Field::Switch(_) => {}
                Field::VlanTag(vid) => *into.entry(vid.text).or_default() += 1,
                Field::Flagged15(flag, name) => {
                    *into.entry(flag.text).or_default() += 1;
                    *into.entry(name.text).or_default() += 1;
                }
                Field::Spare(_) => {}
            }
        }
    }

    #[test]
    fn no_value_has_two_fields_of_one_name() {
        for definition in (0..=u16::MAX).filter_map(definition) {
            if let Body::Fields(fields) = definition.body {
                let mut found = HashMap::new();
                names(fields, &mut found);
                assert!(found.values().all(|count| *count == 1), "{}: {found:?}", definition.name);
            }
        }
    }

    #[test]
    fn where_octets_suffice_whatever_they_are_every_walk_ends_well() {
        let mut count = 0;
        for definition in (0..=u16::MAX).filter_map(definition) {
            let (Body::Fields(fields), Some(octets)) = (&definition.body, definition.enough) else { continue };
            count += 1;
            for fill in 0..=u8::MAX {
                let ends = |length: usize| suffices(fields, &[fill; 64][..length]);
                assert!((octets..64).all(ends), "{}", definition.name);
                assert!(octets == 0 || !ends(octets - 1), "{}", definition.name);
            }
        }
        assert!(count > 50, "{count}");
    }

    #[test]
    fn every_layout_ends_without_panic_whatever_its_octets_are() {
        struct Count(usize);
        impl<'a> Visit<'a> for Count {
            fn field(&mut self, _: &'static Label, _: Value<'a>) {
                self.0 += 1;
            }
            fn list(&mut self, _: &'static Label) {}
            fn item(&mut self, _: Value<'a>) {
                self.0 += 1;
            }
            fn end(&mut self) {}
        }
        for definition in (0..=u16::MAX).filter_map(definition) {
            let Body::Fields(fields) = definition.body else { continue };
            for fill in [0, 1, 2, 0x0f, 0x55, 0x7f, 0x80, 0xaa, 0xff] {
                let value = [fill; 600];
                for length in (0..80).chain([255, 256, 300, 600]) {
                    let mut count = Count(0);
                    let _ = walk(fields, &value[..length], &mut count);
                    assert!(count.0 <= length * 8 + 8, "{} of {length} octets gave {}", definition.name, count.0);
                }
            }
        }
    }
}
