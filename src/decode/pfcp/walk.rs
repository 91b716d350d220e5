//! The walk through a value by its layout: what is there is told to a `Visit`, field by field, in the
//! order of the octets.

use super::layout::{Count, Field, Label, Part, Scalar};
use super::value::{Value, named, number};
use crate::decode::{Error, Reader};

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
            Field::One(name, scalar) => tell(name, *scalar, &mut self.reader, visit)?,
            Field::Sized(name, octets, scalar) => {
                let mut inner = self.sized(*octets)?;
                if !inner.is_empty() {
                    tell(name, *scalar, &mut inner, visit)?;
                }
            }
            Field::RestBut(name, less, scalar) => {
                let length = self.reader.remaining().checked_sub(*less).ok_or(Error::Truncated)?;
                tell(name, *scalar, &mut self.reader.sub(length)?, visit)?;
            }
            Field::List(name, count, scalar) => self.list(name, *count, *scalar, visit)?,
            Field::SizedList(name, octets, scalar) => {
                let mut inner = self.sized(*octets)?;
                visit.list(name);
                while !inner.is_empty() {
                    scalar.read(&mut inner, |value| visit.item(value))?;
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
            scalar.read(&mut self.reader, |value| visit.item(value))?;
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

// Once for each kind of visit, with what that does with each kind of value.
#[inline(never)]
fn tell<'a>(
    name: &'static Label,
    scalar: Scalar,
    reader: &mut Reader<'a>,
    visit: &mut impl Visit<'a>,
) -> Result<(), Error> {
    scalar.read(reader, |value| visit.field(name, value))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::decode::pfcp::ie::{Body, definition};

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
