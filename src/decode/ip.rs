//! IPv4 (RFC 791) and IPv6 (RFC 8200) with its extension headers.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::Error;

/// IANA protocol numbers that are more than carried.
pub mod protocol {
    pub const HOP_BY_HOP: u8 = 0;
    pub const ICMP: u8 = 1;
    pub const IPV4: u8 = 4;
    pub const TCP: u8 = 6;
    pub const UDP: u8 = 17;
    pub const IPV6: u8 = 41;
    pub const ROUTING: u8 = 43;
    pub const FRAGMENT: u8 = 44;
    pub const GRE: u8 = 47;
    pub const AH: u8 = 51;
    pub const ICMPV6: u8 = 58;
    pub const DESTINATION: u8 = 60;
    pub const SCTP: u8 = 132;
    pub const MOBILITY: u8 = 135;
    pub const MPLS: u8 = 137;
    pub const HIP: u8 = 139;
    pub const SHIM6: u8 = 140;
}

/// An IPv4 packet, its options included.
#[derive(Clone, Copy, Debug)]
pub struct Ipv4<'a> {
    header: &'a [u8; 20],
    options: &'a [u8],
    after: &'a [u8],
}

impl<'a> Ipv4<'a> {
    pub fn new_checked(bytes: &'a [u8]) -> Result<Ipv4<'a>, Error> {
        let (header, after): (&[u8; 20], _) = bytes.split_first_chunk().ok_or(Error::Truncated)?;
        let length = usize::from(header[0] & 0x0f) * 4;
        let total = usize::from(u16::from_be_bytes([header[2], header[3]]));
        if header[0] >> 4 != 4 || length < 20 || (total != 0 && total < length) {
            return Err(Error::Malformed);
        }
        let (options, after) = after.split_at_checked(length - 20).ok_or(Error::Truncated)?;
        Ok(Ipv4 { header, options, after })
    }

    /// In 32-bit words, 5 to 15.
    pub fn ihl(&self) -> u8 {
        self.header[0] & 0x0f
    }

    /// Differentiated services code point (RFC 2474).
    pub fn dscp(&self) -> u8 {
        self.header[1] >> 2
    }

    /// Explicit congestion notification (RFC 3168).
    pub fn ecn(&self) -> u8 {
        self.header[1] & 3
    }

    /// Header and payload in bytes; 0 where segmentation offload left it to the interface.
    pub fn total_length(&self) -> u16 {
        self.half(2)
    }

    pub fn id(&self) -> u16 {
        self.half(4)
    }

    pub fn reserved_flag(&self) -> bool {
        self.header[6] & 0x80 != 0
    }

    pub fn dont_fragment(&self) -> bool {
        self.header[6] & 0x40 != 0
    }

    pub fn more_fragments(&self) -> bool {
        self.header[6] & 0x20 != 0
    }

    /// In bytes.
    pub fn fragment_offset(&self) -> u32 {
        u32::from(self.half(6) & 0x1fff) * 8
    }

    pub fn is_fragment(&self) -> bool {
        self.half(6) & 0x3fff != 0
    }

    /// Where this fragment belongs; None for a whole packet.
    pub fn fragment(&self) -> Option<Fragment> {
        let (offset, more) = (self.fragment_offset(), self.more_fragments());
        self.is_fragment().then(|| Fragment { offset, more, id: self.id().into() })
    }

    pub fn ttl(&self) -> u8 {
        self.header[8]
    }

    pub fn protocol(&self) -> u8 {
        self.header[9]
    }

    pub fn checksum(&self) -> u16 {
        self.half(10)
    }

    pub fn src(&self) -> Ipv4Addr {
        let [.., a, b, c, d, _, _, _, _] = *self.header;
        Ipv4Addr::new(a, b, c, d)
    }

    pub fn dst(&self) -> Ipv4Addr {
        let [.., a, b, c, d] = *self.header;
        Ipv4Addr::new(a, b, c, d)
    }

    pub fn options(&self) -> &'a [u8] {
        self.options
    }

    /// What the header announces behind itself; None where it leaves that open.
    pub fn payload_length(&self) -> Option<usize> {
        (self.total_length() != 0).then(|| usize::from(self.total_length()) - 20 - self.options.len())
    }

    /// All bytes behind the header, padding of the link layer included.
    pub fn after(&self) -> &'a [u8] {
        self.after
    }

    const fn half(&self, at: usize) -> u16 {
        u16::from_be_bytes([self.header[at], self.header[at + 1]])
    }
}

/// The fixed header of an IPv6 packet.
#[derive(Clone, Copy, Debug)]
pub struct Ipv6<'a> {
    header: &'a [u8; 40],
    after: &'a [u8],
}

impl<'a> Ipv6<'a> {
    pub fn new_checked(bytes: &'a [u8]) -> Result<Ipv6<'a>, Error> {
        let (header, after): (&[u8; 40], _) = bytes.split_first_chunk().ok_or(Error::Truncated)?;
        match header[0] >> 4 {
            6 => Ok(Ipv6 { header, after }),
            _ => Err(Error::Malformed),
        }
    }

    pub fn dscp(&self) -> u8 {
        (self.header[0] << 2 | self.header[1] >> 6) & 0x3f
    }

    pub fn ecn(&self) -> u8 {
        self.header[1] >> 4 & 3
    }

    /// 20 bits (RFC 6437).
    pub fn flow_label(&self) -> u32 {
        u32::from_be_bytes([0, self.header[1] & 0x0f, self.header[2], self.header[3]])
    }

    /// Of all behind the fixed header; 0 for jumbograms (RFC 2675) and where offload left it open.
    pub fn payload_length(&self) -> u16 {
        u16::from_be_bytes([self.header[4], self.header[5]])
    }

    pub fn next_header(&self) -> u8 {
        self.header[6]
    }

    pub fn hop_limit(&self) -> u8 {
        self.header[7]
    }

    pub fn src(&self) -> Ipv6Addr {
        let [_, _, _, _, _, _, _, _, address @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = *self.header;
        Ipv6Addr::from(address)
    }

    pub fn dst(&self) -> Ipv6Addr {
        let mut address = [0; 16];
        address.copy_from_slice(&self.header[24..]);
        Ipv6Addr::from(address)
    }

    /// All bytes behind the fixed header, padding of the link layer included.
    pub fn after(&self) -> &'a [u8] {
        self.after
    }
}

/// One IPv6 extension header.
#[derive(Clone, Copy, Debug)]
pub struct Extension<'a> {
    kind: u8,
    header: &'a [u8; 8],
    body: &'a [u8],
    payload: &'a [u8],
}

impl<'a> Extension<'a> {
    /// Whether this protocol number is an extension header that can be read past.
    pub const fn is(kind: u8) -> bool {
        use protocol::*;
        matches!(kind, HOP_BY_HOP | ROUTING | FRAGMENT | AH | DESTINATION | MOBILITY | HIP | SHIM6)
    }

    pub fn new_checked(kind: u8, bytes: &'a [u8]) -> Result<Extension<'a>, Error> {
        let header: &[u8; 8] = bytes.first_chunk().ok_or(Error::Truncated)?;
        let length = match kind {
            protocol::FRAGMENT => 8,
            // RFC 4302 2.2: in 32-bit words, minus 2
            protocol::AH => (usize::from(header[1]) + 2) * 4,
            // RFC 8200 4: in 8-byte units, the first left out
            _ => (usize::from(header[1]) + 1) * 8,
        };
        let (whole, payload) = bytes.split_at_checked(length.max(8)).ok_or(Error::Truncated)?;
        Ok(Extension { kind, header, body: whole.get(2..).unwrap_or_default(), payload })
    }

    /// Its own protocol number.
    pub fn kind(&self) -> u8 {
        self.kind
    }

    pub fn next_header(&self) -> u8 {
        self.header[0]
    }

    /// Whole length in bytes.
    pub fn length(&self) -> usize {
        self.body.len() + 2
    }

    /// What stands behind next header and length.
    pub fn body(&self) -> &'a [u8] {
        self.body
    }

    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// Of a fragment header: offset in bytes, whether more follow, identification (RFC 8200 4.5).
    pub fn fragment(&self) -> Option<Fragment> {
        let [_, _, a, b, c, d, e, f] = *self.header;
        (self.kind == protocol::FRAGMENT).then(|| Fragment {
            offset: u32::from(u16::from_be_bytes([a, b]) & 0xfff8),
            more: b & 1 != 0,
            id: u32::from_be_bytes([c, d, e, f]),
        })
    }
}

/// Where a fragment belongs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fragment {
    /// In bytes of the original packet's fragmentable part.
    pub offset: u32,
    pub more: bool,
    pub id: u32,
}

impl Fragment {
    /// RFC 6946: offset 0 and no more to come, a whole packet behind a fragment header.
    pub fn is_atomic(&self) -> bool {
        self.offset == 0 && !self.more
    }
}
