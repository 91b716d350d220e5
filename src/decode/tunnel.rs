//! Headers that carry another packet: MPLS (RFC 3032), GRE (RFC 2784, 2890), VXLAN (RFC 7348),
//! Geneve (RFC 8926), GTP-U (3GPP TS 29.281).

use super::{Error, Reader};

/// One entry of an MPLS label stack.
#[derive(Clone, Copy, Debug)]
pub struct Mpls<'a> {
    entry: u32,
    payload: &'a [u8],
}

impl<'a> Mpls<'a> {
    pub fn new_checked(bytes: &'a [u8]) -> Result<Mpls<'a>, Error> {
        let (entry, payload) = bytes.split_first_chunk().ok_or(Error::Truncated)?;
        Ok(Mpls { entry: u32::from_be_bytes(*entry), payload })
    }

    /// 20 bits.
    pub fn label(&self) -> u32 {
        self.entry >> 12
    }

    /// Traffic class (RFC 5462).
    pub fn traffic_class(&self) -> u8 {
        (self.entry >> 9 & 7) as u8
    }

    pub fn bottom(&self) -> bool {
        self.entry >> 8 & 1 != 0
    }

    pub fn ttl(&self) -> u8 {
        self.entry as u8
    }

    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }
}

/// A GRE header of version 0.
#[derive(Clone, Copy, Debug)]
pub struct Gre<'a> {
    pub flags: u16,
    /// An EtherType.
    pub protocol: u16,
    pub checksum: Option<u16>,
    pub key: Option<u32>,
    pub sequence: Option<u32>,
    payload: &'a [u8],
}

impl<'a> Gre<'a> {
    pub fn new_checked(bytes: &'a [u8]) -> Result<Gre<'a>, Error> {
        let mut reader = Reader::new(bytes);
        let (flags, protocol) = (reader.u16()?, reader.u16()?);
        // RFC 2784 2.2: a routing bit may be discarded; version 1 is PPTP's own (RFC 2637)
        if flags & 0x4007 != 0 {
            return Err(Error::Malformed);
        }
        let checksum = match flags & 0x8000 {
            0 => None,
            _ => Some((reader.u16()?, reader.skip(2)?).0),
        };
        let key = if flags & 0x2000 != 0 { Some(reader.u32()?) } else { None };
        let sequence = if flags & 0x1000 != 0 { Some(reader.u32()?) } else { None };
        Ok(Gre { flags, protocol, checksum, key, sequence, payload: reader.rest() })
    }

    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }
}

/// A VXLAN header.
#[derive(Clone, Copy, Debug)]
pub struct Vxlan<'a> {
    header: &'a [u8; 8],
    payload: &'a [u8],
}

impl<'a> Vxlan<'a> {
    pub const PORT: u16 = 4789;

    pub fn new_checked(bytes: &'a [u8]) -> Result<Vxlan<'a>, Error> {
        let (header, payload): (&[u8; 8], _) = bytes.split_first_chunk().ok_or(Error::Truncated)?;
        // RFC 7348 5: the I flag says that the network identifier is valid
        match header[0] & 0x08 {
            0 => Err(Error::Malformed),
            _ => Ok(Vxlan { header, payload }),
        }
    }

    pub fn flags(&self) -> u8 {
        self.header[0]
    }

    /// VXLAN network identifier, 24 bits.
    pub fn vni(&self) -> u32 {
        u32::from_be_bytes([0, self.header[4], self.header[5], self.header[6]])
    }

    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }
}

/// A Geneve header with its options.
#[derive(Clone, Copy, Debug)]
pub struct Geneve<'a> {
    header: &'a [u8; 8],
    options: &'a [u8],
    payload: &'a [u8],
}

impl<'a> Geneve<'a> {
    pub const PORT: u16 = 6081;

    pub fn new_checked(bytes: &'a [u8]) -> Result<Geneve<'a>, Error> {
        let (header, after): (&[u8; 8], _) = bytes.split_first_chunk().ok_or(Error::Truncated)?;
        if header[0] >> 6 != 0 {
            return Err(Error::Malformed);
        }
        let options = usize::from(header[0] & 0x3f) * 4;
        let (options, payload) = after.split_at_checked(options).ok_or(Error::Truncated)?;
        Ok(Geneve { header, options, payload })
    }

    /// The O bit: a control packet.
    pub fn control(&self) -> bool {
        self.header[1] & 0x80 != 0
    }

    /// The C bit: an option must be understood.
    pub fn critical(&self) -> bool {
        self.header[1] & 0x40 != 0
    }

    /// An EtherType.
    pub fn protocol(&self) -> u16 {
        u16::from_be_bytes([self.header[2], self.header[3]])
    }

    /// Virtual network identifier, 24 bits.
    pub fn vni(&self) -> u32 {
        u32::from_be_bytes([0, self.header[4], self.header[5], self.header[6]])
    }

    /// RFC 8926 3.5: the options, up to the first that is not whole.
    pub fn options(&self) -> GeneveOptions<'a> {
        GeneveOptions { rest: Reader::new(self.options) }
    }

    /// In bytes.
    pub fn options_length(&self) -> usize {
        self.options.len()
    }

    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }
}

#[derive(Clone, Copy, Debug)]
pub struct GeneveOption<'a> {
    pub class: u16,
    /// With the critical bit on top.
    pub kind: u8,
    pub data: &'a [u8],
}

#[derive(Clone, Copy, Debug)]
pub struct GeneveOptions<'a> {
    rest: Reader<'a>,
}

impl<'a> Iterator for GeneveOptions<'a> {
    type Item = GeneveOption<'a>;

    fn next(&mut self) -> Option<GeneveOption<'a>> {
        let rest = &mut self.rest;
        let (class, kind, length) = (rest.u16().ok()?, rest.u8().ok()?, rest.u8().ok()?);
        Some(GeneveOption { class, kind, data: rest.take(usize::from(length & 0x1f) * 4).ok()? })
    }
}

/// A GTP-U header with its extension headers.
#[derive(Clone, Copy, Debug)]
pub struct Gtpu<'a> {
    header: &'a [u8; 8],
    optional: Option<&'a [u8; 4]>,
    extensions: &'a [u8],
    payload: &'a [u8],
}

impl<'a> Gtpu<'a> {
    pub const PORT: u16 = 2152;
    /// The message type whose payload is a user's packet.
    pub const G_PDU: u8 = 255;

    pub fn new_checked(bytes: &'a [u8]) -> Result<Gtpu<'a>, Error> {
        let (header, after): (&[u8; 8], _) = bytes.split_first_chunk().ok_or(Error::Truncated)?;
        // TS 29.281 5.1: version 1, protocol type GTP
        if header[0] >> 4 != 3 {
            return Err(Error::Malformed);
        }
        if header[0] & 7 == 0 {
            return Ok(Gtpu { header, optional: None, extensions: &[], payload: after });
        }
        // 5.1: if any of E, S, PN is set the four bytes of all three are there
        let (optional, after): (&[u8; 4], _) = after.split_first_chunk().ok_or(Error::Truncated)?;
        let mut rest = Reader::new(after);
        let mut next = if header[0] & 4 != 0 { optional[3] } else { 0 };
        while next != 0 {
            // 5.2.1: length in units of 4 bytes, the type of the next in the last byte
            let length = usize::from(rest.peek().ok_or(Error::Truncated)?) * 4;
            next = *rest.take(length)?.last().ok_or(Error::Malformed)?;
        }
        let (extensions, payload) = after.split_at(rest.position());
        Ok(Gtpu { header, optional: Some(optional), extensions, payload })
    }

    /// Version, protocol type, and the flags E, S, PN.
    pub fn flags(&self) -> u8 {
        self.header[0]
    }

    pub fn message_type(&self) -> u8 {
        self.header[1]
    }

    /// Of all behind the first 8 bytes.
    pub fn length(&self) -> u16 {
        u16::from_be_bytes([self.header[2], self.header[3]])
    }

    /// Tunnel endpoint identifier.
    pub fn teid(&self) -> u32 {
        u32::from_be_bytes([self.header[4], self.header[5], self.header[6], self.header[7]])
    }

    pub fn sequence(&self) -> Option<u16> {
        self.optional.filter(|_| self.flags() & 2 != 0).map(|part| u16::from_be_bytes([part[0], part[1]]))
    }

    pub fn n_pdu(&self) -> Option<u8> {
        self.optional.filter(|_| self.flags() & 1 != 0).map(|part| part[2])
    }

    /// Type and content of each extension header.
    pub fn extensions(&self) -> GtpuExtensions<'a> {
        let first = self.optional.filter(|_| self.flags() & 4 != 0).map_or(0, |part| part[3]);
        GtpuExtensions { next: first, rest: self.extensions }
    }

    /// What the length announces behind everything here; None where it is less than what was read.
    pub fn payload_length(&self) -> Option<usize> {
        usize::from(self.length()).checked_sub(self.optional.map_or(0, |part| part.len()) + self.extensions.len())
    }

    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }
}

#[derive(Clone, Copy, Debug)]
pub struct GtpuExtensions<'a> {
    next: u8,
    rest: &'a [u8],
}

impl<'a> Iterator for GtpuExtensions<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let length = usize::from(*self.rest.first()?) * 4;
        let (whole, rest) = self.rest.split_at_checked(length)?;
        let [_, content @ .., next] = whole else { return None };
        let kind = std::mem::replace(&mut self.next, *next);
        self.rest = rest;
        Some((kind, content))
    }
}
