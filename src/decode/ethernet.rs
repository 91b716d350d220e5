//! Link layers: Ethernet II, 802.1Q tags, Linux cooked capture, BSD loopback.

use super::Error;

/// A 48-bit MAC address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Mac(pub [u8; 6]);

impl std::fmt::Display for Mac {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// An Ethernet II header: 14 bytes, the frame check sequence left out as captures leave it out.
#[derive(Clone, Copy, Debug)]
pub struct Ethernet<'a> {
    header: &'a [u8; 14],
    payload: &'a [u8],
}

impl<'a> Ethernet<'a> {
    pub fn new_checked(bytes: &'a [u8]) -> Result<Ethernet<'a>, Error> {
        let (header, payload) = bytes.split_first_chunk().ok_or(Error::Truncated)?;
        Ok(Ethernet { header, payload })
    }

    pub fn dst(&self) -> Mac {
        let [a, b, c, d, e, f, ..] = *self.header;
        Mac([a, b, c, d, e, f])
    }

    pub fn src(&self) -> Mac {
        let [.., a, b, c, d, e, f, _, _] = *self.header;
        Mac([a, b, c, d, e, f])
    }

    /// The EtherType; below 0x600 it is an 802.3 length instead.
    pub fn ethertype(&self) -> u16 {
        u16::from_be_bytes([self.header[12], self.header[13]])
    }

    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }
}

/// One 802.1Q or 802.1ad tag: the control information and the type of what follows.
#[derive(Clone, Copy, Debug)]
pub struct Vlan<'a> {
    tpid: u16,
    header: &'a [u8; 4],
    payload: &'a [u8],
}

impl<'a> Vlan<'a> {
    /// `tpid` is the EtherType that announced the tag: 0x8100, 0x88a8 or 0x9100.
    pub fn new_checked(tpid: u16, bytes: &'a [u8]) -> Result<Vlan<'a>, Error> {
        let (header, payload) = bytes.split_first_chunk().ok_or(Error::Truncated)?;
        Ok(Vlan { tpid, header, payload })
    }

    pub fn tpid(&self) -> u16 {
        self.tpid
    }

    /// Priority code point, 0 to 7.
    pub fn pcp(&self) -> u8 {
        self.header[0] >> 5
    }

    /// Drop eligible indicator.
    pub fn dei(&self) -> bool {
        self.header[0] & 0x10 != 0
    }

    /// VLAN identifier, 12 bits.
    pub fn vid(&self) -> u16 {
        u16::from_be_bytes([self.header[0] & 0x0f, self.header[1]])
    }

    pub fn ethertype(&self) -> u16 {
        u16::from_be_bytes([self.header[2], self.header[3]])
    }

    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }
}

/// Linux cooked capture, version 1 (LINKTYPE_LINUX_SLL) or 2 (LINKTYPE_LINUX_SLL2).
#[derive(Clone, Copy, Debug)]
pub struct Sll<'a> {
    /// 0 to us, 1 broadcast, 2 multicast, 3 to somebody else, 4 sent by us.
    pub packet_type: u16,
    /// ARPHRD_* of the interface.
    pub hardware: u16,
    /// The sender's link-layer address; at most 8 bytes, of `address_length` as it was on the interface.
    pub address: &'a [u8],
    pub address_length: u16,
    /// An EtherType, or below 0x600 one of Linux's own protocol numbers.
    pub protocol: u16,
    /// Only version 2 tells.
    pub interface: Option<u32>,
    payload: &'a [u8],
}

impl<'a> Sll<'a> {
    pub fn v1(bytes: &'a [u8]) -> Result<Sll<'a>, Error> {
        let (header, payload): (&[u8; 16], _) = bytes.split_first_chunk().ok_or(Error::Truncated)?;
        let half = |at: [u8; 2]| u16::from_be_bytes(at);
        let address_length = half([header[4], header[5]]);
        Ok(Sll {
            packet_type: half([header[0], header[1]]),
            hardware: half([header[2], header[3]]),
            address: &header[6..6 + usize::from(address_length.min(8))],
            address_length,
            protocol: half([header[14], header[15]]),
            interface: None,
            payload,
        })
    }

    pub fn v2(bytes: &'a [u8]) -> Result<Sll<'a>, Error> {
        let (header, payload): (&[u8; 20], _) = bytes.split_first_chunk().ok_or(Error::Truncated)?;
        Ok(Sll {
            packet_type: header[10].into(),
            hardware: u16::from_be_bytes([header[8], header[9]]),
            address: &header[12..12 + usize::from(header[11].min(8))],
            address_length: header[11].into(),
            protocol: u16::from_be_bytes([header[0], header[1]]),
            interface: Some(u32::from_be_bytes([header[4], header[5], header[6], header[7]])),
            payload,
        })
    }

    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }
}

/// The address family before a packet of BSD loopback (LINKTYPE_NULL, LINKTYPE_LOOP).
#[derive(Clone, Copy, Debug)]
pub struct Loopback<'a> {
    pub family: u32,
    payload: &'a [u8],
}

impl<'a> Loopback<'a> {
    /// LINKTYPE_NULL is in the byte order of the machine that captured, LINKTYPE_LOOP in the network's;
    /// families are small numbers, so that the order shows in the value.
    pub fn new_checked(bytes: &'a [u8]) -> Result<Loopback<'a>, Error> {
        let (header, payload) = bytes.split_first_chunk().ok_or(Error::Truncated)?;
        let (big, little) = (u32::from_be_bytes(*header), u32::from_le_bytes(*header));
        Ok(Loopback { family: big.min(little), payload })
    }

    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }
}
