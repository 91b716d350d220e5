//! Typed values, and how the octets of a scalar become one.

use super::ie::definition;
use super::layout::{Names, Scalar};
use crate::decode::{Error, Reader};

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

impl Scalar {
    /// Takes its octets off the front and tells what they are: told, rather than given back, a value need
    /// not pass through memory. An error means that they are not there, or are too many.
    #[inline]
    pub(super) fn read<'a>(self, reader: &mut Reader<'a>, tell: impl FnOnce(Value<'a>)) -> Result<(), Error> {
        match self {
            Scalar::Number(octets) => tell(Value::Number(number(reader, octets)?)),
            Scalar::Signed(octets) => {
                let unused = 64 - 8 * u32::from(octets);
                tell(Value::Signed(((number(reader, octets)? << unused) as i64) >> unused));
            }
            Scalar::NumberRest => {
                let octets = u8::try_from(reader.remaining()).map_err(|_| Error::Malformed)?;
                if !(1..=8).contains(&octets) {
                    return Err(Error::Malformed);
                }
                tell(Value::Number(number(reader, octets)?));
            }
            Scalar::Hex(octets) => tell(Value::Hex(number(reader, octets)?, octets)),
            Scalar::FlowLabel => tell(Value::Hex(u64::from(reader.u24()? & 0x000f_ffff), 3)),
            Scalar::Code(octets, names) => tell(named(number(reader, octets)?, names)),
            Scalar::IeType => {
                let code = reader.u16()?;
                tell(Value::Code(u64::from(code), definition(code).map(|definition| definition.name)));
            }
            Scalar::Ipv4 => tell(Value::Ipv4(reader.array()?)),
            Scalar::Ipv6 => tell(Value::Ipv6(reader.array()?)),
            Scalar::Address => match reader.remaining() {
                4 => tell(Value::Ipv4(reader.array()?)),
                16 => tell(Value::Ipv6(reader.array()?)),
                _ => return Err(Error::Malformed),
            },
            Scalar::Mac => tell(Value::Mac(reader.array()?)),
            Scalar::Time => tell(Value::Time(reader.u32()?)),
            Scalar::Time64 => tell(Value::Time64(reader.u64()?)),
            Scalar::Plmn => tell(Value::Plmn(reader.array()?)),
            Scalar::Text => tell(Value::Text(reader.take_rest())),
            Scalar::Name => {
                let bytes = reader.take_rest();
                if labels(bytes) { tell(Value::Labels(bytes)) } else { tell(Value::Text(bytes)) }
            }
            Scalar::Digits => tell(Value::Digits(reader.take_rest())),
            Scalar::Bytes => tell(Value::Bytes(reader.take_rest())),
            Scalar::Octets(octets) => tell(Value::Bytes(reader.take(usize::from(octets))?)),
            Scalar::Text16 => tell(Value::Text(reader.prefixed_u16()?.take_rest())),
        }
        Ok(())
    }
}

/// A code point, or the number that it is where nothing is said of what its values mean.
#[inline]
pub(super) fn named(value: u64, names: Names) -> Value<'static> {
    if names.is_empty() {
        return Value::Number(value);
    }
    Value::Code(value, names.iter().find(|(code, _)| u64::from(*code) == value).map(|(_, name)| *name))
}

/// A number of up to 8 octets.
#[inline]
pub(super) fn number(reader: &mut Reader<'_>, octets: u8) -> Result<u64, Error> {
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
