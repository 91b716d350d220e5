//! The record layer and the head of a handshake message.

use crate::decode::{Error, Reader};

/// TLS ContentType of what is read here.
pub mod content {
    pub const CHANGE_CIPHER_SPEC: u8 = 20;
    pub const ALERT: u8 = 21;
    pub const HANDSHAKE: u8 = 22;
    pub const APPLICATION_DATA: u8 = 23;
    pub const HEARTBEAT: u8 = 24;
    pub const TLS12_CID: u8 = 25;
    pub const ACK: u8 = 26;
}

/// TLS HandshakeType of what is read here.
pub mod handshake {
    pub const CLIENT_HELLO: u8 = 1;
    pub const SERVER_HELLO: u8 = 2;
    pub const CERTIFICATE: u8 = 11;
}

/// TLSPlaintext or TLSCiphertext (RFC 8446 section 5.1, RFC 5246 section 6.2.1).
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    pub content_type: u8,
    pub version: u16,
    pub fragment: &'a [u8],
}

impl<'a> Record<'a> {
    pub const HEADER: usize = 5;

    /// The longest fragment that any version allows: 2^14 bytes and 2048 for protection (RFC 5246
    /// section 6.2.3).
    pub const MAX_FRAGMENT: usize = (1 << 14) + 2048;

    /// Takes one record. `Truncated` means that more bytes may complete it; `Malformed` that these
    /// bytes begin no TLS record.
    pub fn read(reader: &mut Reader<'a>) -> Result<Record<'a>, Error> {
        let bytes = reader.rest();
        if !Record::plausible(bytes) {
            return Err(Error::Malformed);
        }
        let mut ahead = *reader;
        let record =
            Record { content_type: ahead.u8()?, version: ahead.u16()?, fragment: ahead.prefixed_u16()?.take_rest() };
        *reader = ahead;
        Ok(record)
    }

    /// Whether bytes, few as they may be, can be the beginning of a record of SSL 3.0 or TLS.
    pub fn plausible(bytes: &[u8]) -> bool {
        let of_type = |b: &u8| (content::CHANGE_CIPHER_SPEC..=content::HEARTBEAT).contains(b);
        bytes.first().is_none_or(of_type)
            && bytes.get(1).is_none_or(|major| *major == 3)
            && bytes.get(2).is_none_or(|minor| *minor <= 4)
            && bytes.get(3..5).is_none_or(|at| usize::from(u16::from_be_bytes([at[0], at[1]])) <= Record::MAX_FRAGMENT)
    }

    /// Whether bytes begin with a ClientHello in the format of SSL 2.0, which old clients send to say
    /// that they also speak TLS (RFC 5246 appendix E.2).
    pub fn ssl2_hello(bytes: &[u8]) -> bool {
        matches!(bytes, [length, _, 1, 3, 0..=3, ..] | [length, _, 1, 0, 2, ..] if length & 0x80 != 0)
    }
}

/// The head and body of a handshake message (RFC 8446 section 4).
#[derive(Clone, Copy, Debug)]
pub struct Handshake<'a> {
    pub handshake_type: u8,
    pub body: &'a [u8],
}

impl<'a> Handshake<'a> {
    pub const HEADER: usize = 4;

    /// Takes one message. `Truncated`: it goes on in the next record.
    pub fn read(reader: &mut Reader<'a>) -> Result<Handshake<'a>, Error> {
        let mut ahead = *reader;
        let message = Handshake { handshake_type: ahead.u8()?, body: ahead.prefixed_u24()?.take_rest() };
        *reader = ahead;
        Ok(message)
    }

    /// The length that a message which begins with these bytes says, its head included.
    pub fn announced(bytes: &[u8]) -> Option<usize> {
        let [_, a, b, c] = *bytes.first_chunk()?;
        Some(Handshake::HEADER + u32::from_be_bytes([0, a, b, c]) as usize)
    }
}

/// An alert in the clear (RFC 8446 section 6).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Alert {
    pub level: u8,
    pub description: u8,
}

impl Alert {
    /// Reads a fragment of type alert. Of any other length it is encrypted or broken.
    pub fn read(fragment: &[u8]) -> Result<Alert, Error> {
        match *fragment {
            [level @ 1..=2, description] => Ok(Alert { level, description }),
            _ => Err(Error::Malformed),
        }
    }
}

/// DTLSPlaintext (RFC 6347 section 4.1; RFC 9147 section 4 for the records of DTLS 1.3 in the clear).
#[derive(Clone, Copy, Debug)]
pub struct DtlsRecord<'a> {
    pub content_type: u8,
    pub version: u16,
    /// 0 until keys are in use.
    pub epoch: u16,
    pub sequence: u64,
    pub fragment: &'a [u8],
}

impl<'a> DtlsRecord<'a> {
    pub const HEADER: usize = 13;

    /// Takes one record of a datagram. `Malformed`: these bytes begin no DTLS record; `Truncated`: the
    /// datagram ends within it.
    pub fn read(reader: &mut Reader<'a>) -> Result<DtlsRecord<'a>, Error> {
        let [content_type, major, minor, ..] = *reader.rest() else { return Err(Error::Malformed) };
        let of_type = (content::CHANGE_CIPHER_SPEC..=content::ACK).contains(&content_type);
        if !of_type || major != 0xfe || !matches!(minor, 0xfc..=0xff) {
            return Err(Error::Malformed);
        }
        let mut ahead = *reader;
        let record = DtlsRecord {
            content_type: ahead.u8()?,
            version: ahead.u16()?,
            epoch: ahead.u16()?,
            sequence: ahead.u48()?,
            fragment: ahead.prefixed_u16()?.take_rest(),
        };
        *reader = ahead;
        Ok(record)
    }

    /// Whether bytes begin with the unified header of an encrypted DTLS 1.3 record (RFC 9147 section 4).
    pub fn unified(bytes: &[u8]) -> bool {
        bytes.first().is_some_and(|first| first & 0xe0 == 0x20)
    }
}

/// A handshake message of DTLS, or a fragment of one (RFC 6347 section 4.2.2).
#[derive(Clone, Copy, Debug)]
pub struct DtlsHandshake<'a> {
    pub handshake_type: u8,
    /// Of the whole message.
    pub length: usize,
    pub message_seq: u16,
    pub fragment_offset: usize,
    pub fragment: &'a [u8],
}

impl<'a> DtlsHandshake<'a> {
    pub fn read(reader: &mut Reader<'a>) -> Result<DtlsHandshake<'a>, Error> {
        let message = DtlsHandshake {
            handshake_type: reader.u8()?,
            length: reader.u24()? as usize,
            message_seq: reader.u16()?,
            fragment_offset: reader.u24()? as usize,
            fragment: reader.prefixed_u24()?.take_rest(),
        };
        if message.fragment_offset + message.fragment.len() > message.length {
            return Err(Error::Malformed);
        }
        Ok(message)
    }

    pub fn is_whole(&self) -> bool {
        self.fragment.len() == self.length
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_taken_whole_or_not_at_all() {
        let bytes = [22, 3, 1, 0, 2, 9, 8, 21];
        for cut in 0..7 {
            assert_eq!(Record::read(&mut Reader::new(&bytes[..cut])).map(|_| ()), Err(Error::Truncated), "{cut}");
        }
        let mut reader = Reader::new(&bytes);
        let record = Record::read(&mut reader).unwrap();
        assert_eq!((record.content_type, record.version, record.fragment), (22, 0x0301, &[9, 8][..]));
        assert_eq!(reader.rest(), [21]);
    }

    #[test]
    fn what_begins_no_record_is_told_from_its_first_bytes() {
        for bytes in [&b"GET "[..], &[22, 2], &[22, 3, 5], &[22, 3, 3, 0x48, 1], &[0x80, 0x2e, 1, 3, 1]] {
            assert_eq!(Record::read(&mut Reader::new(bytes)).map(|_| ()), Err(Error::Malformed));
        }
        assert!(Record::ssl2_hello(&[0x80, 0x2e, 1, 3, 1, 0]));
        assert!(!Record::ssl2_hello(&[0x16, 3, 1, 0, 1]));
    }
}
