//! UDP (RFC 768).

use super::Error;

/// A UDP header and what stands behind it.
#[derive(Clone, Copy, Debug)]
pub struct Udp<'a> {
    header: &'a [u8; 8],
    after: &'a [u8],
}

impl<'a> Udp<'a> {
    /// `bytes` end where the IP packet ends.
    pub fn new_checked(bytes: &'a [u8]) -> Result<Udp<'a>, Error> {
        let (header, after): (&[u8; 8], _) = bytes.split_first_chunk().ok_or(Error::Truncated)?;
        let udp = Udp { header, after };
        match udp.length() {
            1..8 => Err(Error::Malformed),
            _ => Ok(udp),
        }
    }

    pub fn src_port(&self) -> u16 {
        self.half(0)
    }

    pub fn dst_port(&self) -> u16 {
        self.half(2)
    }

    /// Header and data in bytes; 0 in a jumbogram (RFC 2675 4).
    pub fn length(&self) -> u16 {
        self.half(4)
    }

    pub fn checksum(&self) -> u16 {
        self.half(6)
    }

    /// What the header announces behind itself; None where it leaves that open.
    pub fn payload_length(&self) -> Option<usize> {
        usize::from(self.length()).checked_sub(8)
    }

    /// All bytes behind the header, those that the length leaves out included.
    pub fn after(&self) -> &'a [u8] {
        self.after
    }

    const fn half(&self, at: usize) -> u16 {
        u16::from_be_bytes([self.header[at], self.header[at + 1]])
    }
}
