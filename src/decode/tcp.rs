//! TCP (RFC 9293).

use super::Error;

/// A TCP segment, its options included.
#[derive(Clone, Copy, Debug)]
pub struct Tcp<'a> {
    header: &'a [u8; 20],
    options: &'a [u8],
    payload: &'a [u8],
}

impl<'a> Tcp<'a> {
    /// `bytes` end where the IP packet ends.
    pub fn new_checked(bytes: &'a [u8]) -> Result<Tcp<'a>, Error> {
        let (header, after): (&[u8; 20], _) = bytes.split_first_chunk().ok_or(Error::Truncated)?;
        let length = usize::from(header[12] >> 4) * 4;
        let options = length.checked_sub(20).ok_or(Error::Malformed)?;
        let (options, payload) = after.split_at_checked(options).ok_or(Error::Truncated)?;
        Ok(Tcp { header, options, payload })
    }

    pub fn src_port(&self) -> u16 {
        self.half(0)
    }

    pub fn dst_port(&self) -> u16 {
        self.half(2)
    }

    pub fn seq(&self) -> u32 {
        self.word(4)
    }

    pub fn ack_number(&self) -> u32 {
        self.word(8)
    }

    /// In 32-bit words, 5 to 15.
    pub fn data_offset(&self) -> u8 {
        self.header[12] >> 4
    }

    /// The low 4 bits of byte 12 and byte 13: reserved, CWR, ECE, URG, ACK, PSH, RST, SYN, FIN.
    pub fn flags(&self) -> Flags {
        Flags(self.half(12) & 0x0fff)
    }

    pub fn window(&self) -> u16 {
        self.half(14)
    }

    pub fn checksum(&self) -> u16 {
        self.half(16)
    }

    pub fn urgent(&self) -> u16 {
        self.half(18)
    }

    pub fn options(&self) -> &'a [u8] {
        self.options
    }

    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }

    const fn half(&self, at: usize) -> u16 {
        u16::from_be_bytes([self.header[at], self.header[at + 1]])
    }

    const fn word(&self, at: usize) -> u32 {
        u32::from_be_bytes([self.header[at], self.header[at + 1], self.header[at + 2], self.header[at + 3]])
    }
}

/// The control bits of a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Flags(pub u16);

impl Flags {
    pub const FIN: Flags = Flags(0x001);
    pub const SYN: Flags = Flags(0x002);
    pub const RST: Flags = Flags(0x004);
    pub const PSH: Flags = Flags(0x008);
    pub const ACK: Flags = Flags(0x010);
    pub const URG: Flags = Flags(0x020);
    pub const ECE: Flags = Flags(0x040);
    pub const CWR: Flags = Flags(0x080);

    /// RFC 9293 3.1, from the least significant bit.
    pub const NAMES: [(Flags, &str); 8] = [
        (Flags::FIN, "FIN"),
        (Flags::SYN, "SYN"),
        (Flags::RST, "RST"),
        (Flags::PSH, "PSH"),
        (Flags::ACK, "ACK"),
        (Flags::URG, "URG"),
        (Flags::ECE, "ECE"),
        (Flags::CWR, "CWR"),
    ];

    /// Whether any of these bits is set.
    pub const fn has(self, bits: Flags) -> bool {
        self.0 & bits.0 != 0
    }
}
