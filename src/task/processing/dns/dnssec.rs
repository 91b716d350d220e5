//! What stands under `data` of DNSSEC's records: DS, RRSIG, NSEC, DNSKEY (RFC 4034), NSEC3 and
//! NSEC3PARAM (RFC 5155), CDS and CDNSKEY (RFC 7344). Names in them are never compressed.

use hickory_proto::rr::RecordType;

use super::record::{label_text, type_text};
use crate::decode::{Error, Reader};
use crate::task::json::{self, Object};
use crate::time::Timestamp;

/// Fills in the fields of a record type; None for types that are none of DNSSEC's.
pub fn layout(kind: RecordType) -> Option<Layout> {
    Some(match u16::from(kind) {
        DS | CDS => delegation,
        RRSIG => signature,
        NSEC => next,
        DNSKEY | CDNSKEY => key,
        NSEC3 => next_hashed,
        NSEC3PARAM => hashing,
        _ => return None,
    })
}

/// An error where the data are not what their type says; what was filled in is then to be undone.
pub type Layout = fn(&mut Object<'_>, &mut Reader<'_>) -> Result<(), Error>;

/// RFC 4034 5.1.
fn delegation(o: &mut Object<'_>, rdata: &mut Reader<'_>) -> Result<(), Error> {
    o.number("keyTag", rdata.u16()?.into());
    o.number("algorithm", rdata.u8()?.into());
    o.number("digestType", rdata.u8()?.into());
    o.hex("digest", rdata.take_rest());
    Ok(())
}

/// RFC 4034 2.1.
fn key(o: &mut Object<'_>, rdata: &mut Reader<'_>) -> Result<(), Error> {
    o.number("flags", rdata.u16()?.into());
    o.number("protocol", rdata.u8()?.into());
    o.number("algorithm", rdata.u8()?.into());
    json::base64(o.key("publicKey"), rdata.take_rest());
    Ok(())
}

/// RFC 4034 3.1.
fn signature(o: &mut Object<'_>, rdata: &mut Reader<'_>) -> Result<(), Error> {
    let covered = rdata.u16()?;
    quoted(o.key("typeCovered"), |out| type_text(out, covered.into()));
    o.number("algorithm", rdata.u8()?.into());
    o.number("labels", rdata.u8()?.into());
    o.number("originalTtl", rdata.u32()?.into());
    for key in ["expiration", "inception"] {
        let seconds = u64::from(rdata.u32()?);
        o.string(key, &Timestamp(seconds * 1_000_000_000).to_string());
    }
    o.number("keyTag", rdata.u16()?.into());
    name(o, "signer", rdata)?;
    json::base64(o.key("signature"), rdata.take_rest());
    Ok(())
}

/// RFC 4034 4.1.
fn next(o: &mut Object<'_>, rdata: &mut Reader<'_>) -> Result<(), Error> {
    name(o, "nextDomain", rdata)?;
    types(o, rdata)
}

/// RFC 5155 3.2.
fn next_hashed(o: &mut Object<'_>, rdata: &mut Reader<'_>) -> Result<(), Error> {
    hashing(o, rdata)?;
    let hash = rdata.prefixed_u8()?.take_rest();
    quoted(o.key("nextHashedOwner"), |out| base32(out, hash));
    types(o, rdata)
}

/// RFC 5155 4.2.
fn hashing(o: &mut Object<'_>, rdata: &mut Reader<'_>) -> Result<(), Error> {
    o.number("hashAlgorithm", rdata.u8()?.into());
    o.number("flags", rdata.u8()?.into());
    o.number("iterations", rdata.u16()?.into());
    o.hex("salt", rdata.prefixed_u8()?.take_rest());
    Ok(())
}

fn name(o: &mut Object<'_>, key: &str, rdata: &mut Reader<'_>) -> Result<(), Error> {
    let mut text = Vec::with_capacity(64);
    loop {
        let label = rdata.prefixed_u8()?.take_rest();
        match label.len() {
            0 if text.is_empty() => text.push(b'.'),
            0 => break,
            // RFC 1035 2.3.4; what is longer is a pointer
            1..64 => {
                if !text.is_empty() {
                    text.push(b'.');
                }
                label_text(&mut text, label);
                continue;
            }
            _ => return Err(Error::Malformed),
        }
        break;
    }
    o.text(key, &text);
    Ok(())
}

/// RFC 4034 4.1.2: a bit for each type that is there, in windows of 256.
fn types(o: &mut Object<'_>, rdata: &mut Reader<'_>) -> Result<(), Error> {
    let mut windows = *rdata;
    while !rdata.is_empty() {
        rdata.u8()?;
        if !(1..=32).contains(&rdata.prefixed_u8()?.remaining()) {
            return Err(Error::Malformed);
        }
    }
    o.array("types", |array| {
        while let (Ok(window), Ok(bitmap)) = (windows.u8(), windows.prefixed_u8()) {
            for (at, octet) in (0_u16..).zip(bitmap.rest()) {
                for bit in (0..8).filter(|bit| octet << bit & 0x80 != 0) {
                    let kind = u16::from(window) << 8 | at << 3 | bit;
                    quoted(array.item(), |out| type_text(out, kind.into()));
                }
            }
        }
    });
    Ok(())
}

/// With the alphabet that keeps the order, without padding, as owner names have it (RFC 5155 1.3).
fn base32(out: &mut Vec<u8>, bytes: &[u8]) {
    for group in bytes.chunks(5) {
        let mut word = [0; 8];
        word[3..3 + group.len()].copy_from_slice(group);
        let bits = u64::from_be_bytes(word);
        for at in 0..(group.len() * 8).div_ceil(5) {
            let digit = (bits >> (35 - 5 * at) & 31) as usize;
            out.push(b"0123456789abcdefghijklmnopqrstuv"[digit]);
        }
    }
}

fn quoted(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    out.push(b'"');
    write(out);
    out.push(b'"');
}

const DS: u16 = 43;
const RRSIG: u16 = 46;
const NSEC: u16 = 47;
const DNSKEY: u16 = 48;
const NSEC3: u16 = 50;
const NSEC3PARAM: u16 = 51;
const CDS: u16 = 59;
const CDNSKEY: u16 = 60;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base32_is_that_of_rfc_4648_with_the_extended_hex_alphabet() {
        for (bytes, text) in [("", ""), ("f", "co"), ("fo", "cpng"), ("foob", "cpnmuog"), ("foobar", "cpnmuoj1e8")] {
            let mut out = Vec::new();
            base32(&mut out, bytes.as_bytes());
            assert_eq!(String::from_utf8(out).unwrap(), text);
        }
    }

    #[test]
    fn what_is_not_what_its_type_says_is_an_error_at_every_cut() {
        let mut signature = vec![0, 1, 13, 2, 0, 0, 14, 16, 0, 0, 0, 2, 0, 0, 0, 1, 0, 7, 1, b'a', 0];
        let mut out = Vec::new();
        let mut read = |kind: u16, bytes: &[u8]| {
            let layout = layout(kind.into()).unwrap();
            json::object(&mut out, |o| _ = o.try_object("data", |o| layout(o, &mut Reader::new(bytes))));
            String::from_utf8(std::mem::take(&mut out)).unwrap()
        };
        for keep in 0..signature.len() {
            assert_eq!(read(RRSIG, &signature[..keep]), "{}", "{keep}");
        }
        assert!(read(RRSIG, &signature).ends_with(r#""keyTag":7,"signer":"a","signature":""}}"#));
        signature[18] = 0xc0; // a pointer
        assert_eq!(read(RRSIG, &signature), "{}");
        // A window of no octets, of more than 32, and one that is not there.
        for bitmap in [&[0, 0][..], &[0, 33], &[0, 2, 0x40]] {
            assert_eq!(read(NSEC, &[&[0], bitmap].concat()), "{}");
        }
        assert_eq!(read(NSEC, &[0, 0, 1, 0x40, 1, 1, 0x40]), r#"{"data":{"nextDomain":".","types":["A","CAA"]}}"#);
    }
}
