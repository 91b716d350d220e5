//! The frame header and what every frame type asks of it (RFC 9113 sections 4.1 and 6).

use super::HEADER;

/// A frame header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// Bytes of payload, below 2^24.
    pub length: u32,
    pub kind: Type,
    pub flags: u8,
    /// The reserved bit, which a receiver ignores.
    pub reserved: bool,
    pub stream: u32,
}

/// A frame's type, by its number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Type(pub u8);

impl Type {
    pub const DATA: Type = Type(0x0);
    pub const HEADERS: Type = Type(0x1);
    pub const PRIORITY: Type = Type(0x2);
    pub const RST_STREAM: Type = Type(0x3);
    pub const SETTINGS: Type = Type(0x4);
    pub const PUSH_PROMISE: Type = Type(0x5);
    pub const PING: Type = Type(0x6);
    pub const GOAWAY: Type = Type(0x7);
    pub const WINDOW_UPDATE: Type = Type(0x8);
    pub const CONTINUATION: Type = Type(0x9);
    /// RFC 7838 section 4.
    pub const ALTSVC: Type = Type(0xa);
    /// RFC 8336 section 2.
    pub const ORIGIN: Type = Type(0xc);
    /// RFC 9218 section 7.1.
    pub const PRIORITY_UPDATE: Type = Type(0x10);

    /// Whether RFC 9113 or a registered extension defines it.
    pub const fn known(self) -> bool {
        self.0 <= 0xa || self.0 == 0xc || self.0 == 0x10
    }

    /// The flags that it defines.
    pub const fn flags(self) -> u8 {
        match self {
            Type::DATA => flag::END_STREAM | flag::PADDED,
            Type::HEADERS => flag::END_STREAM | flag::END_HEADERS | flag::PADDED | flag::PRIORITY,
            Type::SETTINGS | Type::PING => flag::ACK,
            Type::PUSH_PROMISE => flag::END_HEADERS | flag::PADDED,
            Type::CONTINUATION => flag::END_HEADERS,
            _ => 0,
        }
    }

    /// Whether it must name a stream (Some(true)), must not (Some(false)), or may do either.
    pub const fn names_stream(self) -> Option<bool> {
        match self {
            Type::DATA
            | Type::HEADERS
            | Type::PRIORITY
            | Type::RST_STREAM
            | Type::PUSH_PROMISE
            | Type::CONTINUATION => Some(true),
            Type::SETTINGS | Type::PING | Type::GOAWAY | Type::ORIGIN | Type::PRIORITY_UPDATE => Some(false),
            _ => None,
        }
    }
}

/// Flag bits; which of them a frame may carry its type says.
pub mod flag {
    pub const ACK: u8 = 0x1;
    pub const END_STREAM: u8 = 0x1;
    pub const END_HEADERS: u8 = 0x4;
    pub const PADDED: u8 = 0x8;
    pub const PRIORITY: u8 = 0x20;
}

impl Header {
    /// Reads the first nine bytes; None where there are fewer.
    #[inline]
    pub fn parse(bytes: &[u8]) -> Option<Header> {
        let &[a, b, c, kind, flags, w, x, y, z] = bytes.first_chunk::<HEADER>()?;
        let stream = u32::from_be_bytes([w, x, y, z]);
        Some(Header {
            length: u32::from_be_bytes([0, a, b, c]),
            kind: Type(kind),
            flags,
            reserved: stream >> 31 != 0,
            stream: stream & 0x7fff_ffff,
        })
    }

    pub const fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Header and payload together.
    pub const fn size(&self) -> usize {
        HEADER + self.length as usize
    }

    /// Whether the length is one that the type allows; DATA and HEADERS allow all.
    pub const fn fits(&self) -> bool {
        match self.kind {
            Type::PRIORITY => self.length == 5,
            Type::RST_STREAM | Type::WINDOW_UPDATE => self.length == 4,
            Type::PING => self.length == 8,
            Type::GOAWAY => self.length >= 8,
            Type::PUSH_PROMISE => self.length >= 4 + (self.has(flag::PADDED) as u32),
            Type::SETTINGS if self.has(flag::ACK) => self.length == 0,
            Type::SETTINGS => self.length.is_multiple_of(6),
            Type::PRIORITY_UPDATE => self.length >= 4,
            Type::HEADERS => {
                self.length >= (self.has(flag::PADDED) as u32) + if self.has(flag::PRIORITY) { 5 } else { 0 }
            }
            _ => true,
        }
    }

    /// Whether it is empty though its type has no use for that: what zeros look like.
    const fn says_nothing(&self) -> bool {
        self.length == 0
            && match self.kind {
                Type::DATA => !self.has(flag::END_STREAM) || self.has(flag::PADDED),
                Type::HEADERS => true,
                _ => false,
            }
    }

    /// Whether a peer that keeps to the protocol could have sent it; `max` is the longest payload.
    pub fn plausible(&self, max: u32) -> bool {
        self.length <= max
            && self.kind.known()
            && self.flags & !self.kind.flags() == 0
            && !self.reserved
            && self.kind.names_stream().is_none_or(|names| names == (self.stream != 0))
            && self.fits()
            && !self.says_nothing()
    }
}

/// The payload of DATA, HEADERS or PUSH_PROMISE without its padding (section 6.1); None where the
/// padding is longer than the payload.
pub fn unpadded<'a>(header: &Header, payload: &'a [u8]) -> Option<&'a [u8]> {
    if !header.has(flag::PADDED) {
        return Some(payload);
    }
    let (&padding, rest) = payload.split_first()?;
    rest.get(..rest.len().checked_sub(usize::from(padding))?)
}

/// The field block fragment of a HEADERS, PUSH_PROMISE or CONTINUATION frame, with the promised stream
/// of a PUSH_PROMISE (sections 6.2, 6.6, 6.10). None where padding or priority leave no room.
pub fn fragment<'a>(header: &Header, payload: &'a [u8]) -> Option<(&'a [u8], Option<u32>)> {
    match header.kind {
        Type::HEADERS => {
            let rest = unpadded(header, payload)?;
            Some((rest.get(if header.has(flag::PRIORITY) { 5 } else { 0 }..)?, None))
        }
        Type::PUSH_PROMISE => {
            let (promised, rest) = unpadded(header, payload)?.split_first_chunk::<4>()?;
            Some((rest, Some(u32::from_be_bytes(*promised) & 0x7fff_ffff)))
        }
        _ => Some((payload, None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(kind: Type, flags: u8, stream: u32, length: u32) -> Header {
        Header { length, kind, flags, reserved: false, stream }
    }

    #[test]
    fn a_header_is_read_and_its_reserved_bit_set_apart() {
        let parsed = Header::parse(&[0, 0x40, 1, 1, 0x25, 0x80, 0, 0, 3]);
        assert_eq!(parsed, Some(Header { reserved: true, ..header(Type::HEADERS, 0x25, 3, 0x4001) }));
        assert_eq!(Header::parse(&[0; 8]), None);
    }

    #[test]
    fn what_no_peer_would_send_is_not_plausible() {
        for (good, right) in [
            (header(Type::DATA, 0x9, 1, 16384), true),
            (header(Type::DATA, 0x9, 1, 16385), false),
            (header(Type::DATA, 0x9, 0, 1), false),
            (header(Type::DATA, 0x2, 1, 1), false),
            (header(Type::SETTINGS, 0, 0, 6), true),
            (header(Type::SETTINGS, 0, 0, 7), false),
            (header(Type::SETTINGS, 1, 0, 6), false),
            (header(Type::SETTINGS, 0, 1, 6), false),
            (header(Type::WINDOW_UPDATE, 0, 0, 4), true),
            (header(Type::WINDOW_UPDATE, 0, 9, 4), true),
            (header(Type::PING, 1, 0, 8), true),
            (header(Type::PING, 1, 0, 9), false),
            (header(Type::GOAWAY, 0, 0, 8), true),
            (header(Type::GOAWAY, 0, 0, 7), false),
            (header(Type::HEADERS, 0x2d, 1, 6), true),
            (header(Type::HEADERS, 0x2d, 1, 5), false),
            (header(Type(0xb), 0, 0, 0), false),
            (header(Type::PRIORITY_UPDATE, 0, 0, 4), true),
        ] {
            assert_eq!(good.plausible(16384), right, "{good:?}");
            assert!(!Header { reserved: true, ..good }.plausible(16384));
        }
    }

    #[test]
    fn padding_and_priority_are_taken_off() {
        let padded = header(Type::HEADERS, 0x28, 1, 0);
        assert_eq!(fragment(&padded, &[1, 0, 0, 0, 0, 9, b'x', 0]), Some((&b"x"[..], None)));
        assert_eq!(fragment(&padded, &[1, 0, 0, 0, 0, 9]), None);
        assert_eq!(fragment(&padded, &[9, 0, 0, 0, 0, 9, b'x']), None);
        let promise = header(Type::PUSH_PROMISE, 0, 1, 0);
        assert_eq!(fragment(&promise, &[0x80, 0, 0, 4, b'x']), Some((&b"x"[..], Some(4))));
        assert_eq!(unpadded(&header(Type::DATA, 8, 1, 0), &[]), None);
    }
}
