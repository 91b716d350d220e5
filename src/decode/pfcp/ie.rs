//! Information elements (TS 29.244 clause 8.1.1): type, length, value, in lists that nest.

use super::layout::Field;
use super::table::TABLE;
use crate::decode::Error;

/// What the standard says of an IE type.
pub struct Definition {
    pub code: u16,
    /// As table 8.1.2-1 has it.
    pub name: &'static str,
    pub body: Body,
    /// How an object that tells of one begins, `{"type":21,"name":"F-TEID"`: every IE of every message says
    /// that much, so it is made at compile time.
    pub head: &'static str,
    /// As `layout::enough` says of its fields.
    pub enough: Option<usize>,
}

/// What the value of an IE is.
pub enum Body {
    /// A list of IEs.
    Group,
    /// Fields one after the other.
    Fields(&'static [Field]),
    /// Octets whose meaning is left to others.
    Opaque,
}

/// The definition of an IE type; None for those that the standard does not have.
pub fn definition(code: u16) -> Option<&'static Definition> {
    TABLE.get(usize::from(code) / 100)?.get(usize::from(code) % 100).filter(|definition| definition.code == code)
}

/// One information element.
#[derive(Clone, Copy, Debug)]
pub struct Ie<'a> {
    pub code: u16,
    /// Of a vendor's IE, whose type is 32768 or above (clause 8.1.1).
    pub enterprise_id: Option<u16>,
    pub value: &'a [u8],
}

impl<'a> Ie<'a> {
    /// Its definition; None for those of vendors and those that the standard does not have.
    pub fn definition(&self) -> Option<&'static Definition> {
        match self.enterprise_id {
            None => definition(self.code),
            Some(_) => None,
        }
    }
}

/// A list of IEs. Its iterator gives an error, then ends, where a length runs over the end.
#[derive(Clone, Copy, Debug)]
pub struct Ies<'a> {
    bytes: &'a [u8],
}

impl<'a> Ies<'a> {
    pub const fn new(bytes: &'a [u8]) -> Ies<'a> {
        Ies { bytes }
    }

    #[inline]
    pub fn iter(&self) -> impl Iterator<Item = Result<Ie<'a>, Error>> + Clone + use<'a> {
        let mut rest = self.bytes;
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let ie = take(&mut rest).ok_or(Error::Malformed);
            if ie.is_err() {
                rest = &[];
            }
            Some(ie)
        })
    }
}

/// Takes one IE off the front; None where its lengths do not fit.
#[inline]
fn take<'a>(bytes: &mut &'a [u8]) -> Option<Ie<'a>> {
    let (&[code_high, code_low, high, low], rest) = bytes.split_first_chunk()?;
    let code = u16::from_be_bytes([code_high, code_low]);
    let (mut value, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes([high, low])))?;
    let mut enterprise_id = None;
    if code & 0x8000 != 0 {
        let (id, of_vendor) = value.split_first_chunk()?;
        (enterprise_id, value) = (Some(u16::from_be_bytes(*id)), of_vendor);
    }
    *bytes = rest;
    Some(Ie { code, enterprise_id, value })
}

/// How deep lists of IEs may nest, that of the message itself counted. The standard's own go to 5.
pub const MAX_DEPTH: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_definition_is_found_by_its_code_and_has_a_name_of_its_own() {
        let mut names = std::collections::HashSet::new();
        let mut count = 0;
        for code in 0..=u16::MAX {
            let Some(found) = definition(code) else { continue };
            assert_eq!(found.code, code);
            assert!(found.name == "Reserved" || names.insert(found.name), "{}", found.name);
            count += 1;
        }
        assert_eq!(count, 323);
        assert_eq!(TABLE.iter().map(|part| part.len()).sum::<usize>(), count);
    }

    #[test]
    fn a_vendors_ie_carries_its_enterprise_and_is_never_taken_for_one_of_the_standard() {
        let bytes = [0x80, 0x13, 0, 3, 0x28, 0xaf, 1];
        let ie = Ies::new(&bytes).iter().next().unwrap().unwrap();
        assert_eq!((ie.code, ie.enterprise_id, ie.value), (0x8013, Some(10_415), &[1][..]));
        assert!(ie.definition().is_none());
    }
}
