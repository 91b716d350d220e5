//! The extensions of a hello (RFC 8446 section 4.2).

use crate::decode::{Error, Reader};

/// One extension.
#[derive(Clone, Copy, Debug)]
pub struct Extension<'a> {
    pub code: u16,
    pub data: &'a [u8],
}

/// The extension block of a hello, known to be well formed: a list of code and length-prefixed data.
#[derive(Clone, Copy, Debug, Default)]
pub struct Extensions<'a> {
    bytes: &'a [u8],
}

impl<'a> Extensions<'a> {
    /// Takes the block that ends a hello; a hello of TLS 1.2 and before may have none.
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Extensions<'a>, Error> {
        if reader.is_empty() {
            return Ok(Extensions::default());
        }
        let bytes = reader.prefixed_u16()?.take_rest();
        let mut walk = Reader::new(bytes);
        while !walk.is_empty() {
            walk.u16()?;
            walk.prefixed_u16()?;
        }
        if !reader.is_empty() {
            return Err(Error::Malformed);
        }
        Ok(Extensions { bytes })
    }

    /// In the order on the wire, GREASE included.
    pub fn iter(&self) -> impl Iterator<Item = Extension<'a>> + Clone + use<'a> {
        let mut reader = Reader::new(self.bytes);
        std::iter::from_fn(move || {
            let code = reader.u16().ok()?;
            let data = reader.prefixed_u16().ok()?.take_rest();
            Some(Extension { code, data })
        })
    }

    /// The data of the first extension of this code.
    pub fn find(&self, code: u16) -> Option<&'a [u8]> {
        self.iter().find(|extension| extension.code == code).map(|extension| extension.data)
    }
}

/// A list of 16-bit code points.
#[derive(Clone, Copy, Debug, Default)]
pub struct U16s<'a> {
    bytes: &'a [u8],
}

impl<'a> U16s<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Result<U16s<'a>, Error> {
        match bytes.len() % 2 {
            0 => Ok(U16s { bytes }),
            _ => Err(Error::Malformed),
        }
    }

    pub fn iter(&self) -> impl DoubleEndedIterator<Item = u16> + ExactSizeIterator + Clone + use<'a> {
        self.bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
    }

    /// As they stand on the wire.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

/// Whether a code point is one of those reserved to keep peers tolerant (RFC 8701 section 2).
pub const fn is_grease(code: u16) -> bool {
    code & 0x0f0f == 0x0a0a && code >> 8 == code & 0xff
}

pub(super) mod code {
    pub const SERVER_NAME: u16 = 0;
    pub const SUPPORTED_GROUPS: u16 = 10;
    pub const EC_POINT_FORMATS: u16 = 11;
    pub const SIGNATURE_ALGORITHMS: u16 = 13;
    pub const ALPN: u16 = 16;
    pub const SUPPORTED_VERSIONS: u16 = 43;
    pub const ENCRYPTED_CLIENT_HELLO: u16 = 0xfe0d;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sixteen_grease_values_and_no_other_are_grease() {
        let found: Vec<u16> = (0..=u16::MAX).filter(|code| is_grease(*code)).collect();
        let of_rfc: Vec<u16> = (0..16).map(|n| (n << 12) | 0x0a00 | (n << 4) | 0x0a).collect();
        assert_eq!(found, of_rfc);
    }
}
