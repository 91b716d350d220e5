//! Transport headers that are shown but carry no flow of ours: SCTP (RFC 9260), ICMP (RFC 792, 4443).

use super::Error;

/// An SCTP common header; its chunks come one by one.
#[derive(Clone, Copy, Debug)]
pub struct Sctp<'a> {
    header: &'a [u8; 12],
    chunks: &'a [u8],
}

impl<'a> Sctp<'a> {
    pub fn new_checked(bytes: &'a [u8]) -> Result<Sctp<'a>, Error> {
        let (header, chunks) = bytes.split_first_chunk().ok_or(Error::Truncated)?;
        Ok(Sctp { header, chunks })
    }

    pub fn src_port(&self) -> u16 {
        u16::from_be_bytes([self.header[0], self.header[1]])
    }

    pub fn dst_port(&self) -> u16 {
        u16::from_be_bytes([self.header[2], self.header[3]])
    }

    pub fn verification_tag(&self) -> u32 {
        u32::from_be_bytes([self.header[4], self.header[5], self.header[6], self.header[7]])
    }

    pub fn checksum(&self) -> u32 {
        u32::from_be_bytes([self.header[8], self.header[9], self.header[10], self.header[11]])
    }

    /// The headers of the chunks, up to the first that is not whole.
    pub fn chunks(&self) -> SctpChunks<'a> {
        SctpChunks { rest: self.chunks }
    }
}

/// RFC 9260 3.2: type, flags, and the length with its own header and without padding.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SctpChunk {
    pub kind: u8,
    pub flags: u8,
    pub length: u16,
}

#[derive(Clone, Copy, Debug)]
pub struct SctpChunks<'a> {
    rest: &'a [u8],
}

impl Iterator for SctpChunks<'_> {
    type Item = SctpChunk;

    fn next(&mut self) -> Option<SctpChunk> {
        let &[kind, flags, high, low] = self.rest.first_chunk()?;
        let length = u16::from_be_bytes([high, low]);
        let padded = usize::from(length.max(4)).next_multiple_of(4);
        self.rest = self.rest.get(padded..).unwrap_or_default();
        Some(SctpChunk { kind, flags, length })
    }
}

/// An ICMP or ICMPv6 header.
#[derive(Clone, Copy, Debug)]
pub struct Icmp<'a> {
    /// Whether it is ICMPv6, whose types are other ones.
    pub v6: bool,
    header: &'a [u8; 4],
    body: &'a [u8],
}

impl<'a> Icmp<'a> {
    pub fn new_checked(v6: bool, bytes: &'a [u8]) -> Result<Icmp<'a>, Error> {
        let (header, body) = bytes.split_first_chunk().ok_or(Error::Truncated)?;
        Ok(Icmp { v6, header, body })
    }

    pub fn kind(&self) -> u8 {
        self.header[0]
    }

    pub fn code(&self) -> u8 {
        self.header[1]
    }

    pub fn checksum(&self) -> u16 {
        u16::from_be_bytes([self.header[2], self.header[3]])
    }

    /// Identifier and sequence number, of echo requests and replies.
    pub fn echo(&self) -> Option<(u16, u16)> {
        let &[a, b, c, d] = self.body.first_chunk()?;
        let echo = matches!((self.v6, self.kind()), (false, 0 | 8) | (true, 128 | 129));
        echo.then(|| (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])))
    }

    /// What stands behind the checksum.
    pub fn body(&self) -> &'a [u8] {
        self.body
    }
}
