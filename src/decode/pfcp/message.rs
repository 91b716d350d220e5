//! The header of a message (TS 29.244 clause 7.2.2) and how messages stand in a datagram.

use super::ie::Ies;
use crate::decode::Reader;

/// One message of a datagram.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    pub version: u8,
    /// FO: another message follows in the datagram.
    pub follow_on: bool,
    pub message_type: u8,
    /// Octets behind the first four.
    pub length: u16,
    /// Absent where the S flag is 0, in node related messages.
    pub seid: Option<u64>,
    pub sequence: u32,
    /// Where the MP flag is set.
    pub priority: Option<u8>,
    pub ies: Ies<'a>,
}

/// Why no message could be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wrong {
    /// The bytes end before what the header announces.
    Truncated,
    /// The header contradicts itself.
    Malformed,
    /// Another version of PFCP.
    Version(u8),
    /// No version of PFCP begins like this.
    NotMatching,
}

impl<'a> Message<'a> {
    /// Takes one message. What is behind it stays in the reader: another message where `follow_on`
    /// says so, else padding.
    pub fn read(reader: &mut Reader<'a>) -> Result<Message<'a>, Wrong> {
        let flags = reader.peek().ok_or(Wrong::NotMatching)?;
        let version = flags >> 5;
        match version {
            1 => {}
            0 => return Err(Wrong::NotMatching),
            _ if Message::whole(reader.rest()) => return Err(Wrong::Version(version)),
            _ => return Err(Wrong::NotMatching),
        }
        Message::take(reader, flags).map_err(|error| match error {
            crate::decode::Error::Truncated => Wrong::Truncated,
            crate::decode::Error::Malformed => Wrong::Malformed,
        })
    }

    fn take(reader: &mut Reader<'a>, flags: u8) -> Result<Message<'a>, crate::decode::Error> {
        let mut ahead = *reader;
        ahead.u8()?;
        let message_type = ahead.u8()?;
        let length = ahead.u16()?;
        let mut body = ahead.sub(usize::from(length))?;
        let of_session = flags & S != 0;
        // The length counts what of the header follows it.
        let rest = if of_session { 12 } else { 4 };
        if usize::from(length) < rest {
            return Err(crate::decode::Error::Malformed);
        }
        let seid = if of_session { Some(body.u64()?) } else { None };
        let sequence = body.u24()?;
        let last = body.u8()?;
        *reader = ahead;
        Ok(Message {
            version: flags >> 5,
            follow_on: flags & FO != 0,
            message_type,
            length,
            seid,
            sequence,
            priority: (of_session && flags & MP != 0).then_some(last >> 4),
            ies: Ies::new(body.take_rest()),
        })
    }

    /// Whether bytes hold as many as their header announces.
    fn whole(bytes: &[u8]) -> bool {
        matches!(bytes, [_, _, high, low, rest @ ..] if rest.len() >= usize::from(u16::from_be_bytes([*high, *low])))
    }
}

/// The name of a message type (TS 29.244 table 7.3-1).
pub fn message_name(message_type: u8) -> Option<&'static str> {
    Some(match message_type {
        1 => "PFCP Heartbeat Request",
        2 => "PFCP Heartbeat Response",
        3 => "PFCP PFD Management Request",
        4 => "PFCP PFD Management Response",
        5 => "PFCP Association Setup Request",
        6 => "PFCP Association Setup Response",
        7 => "PFCP Association Update Request",
        8 => "PFCP Association Update Response",
        9 => "PFCP Association Release Request",
        10 => "PFCP Association Release Response",
        11 => "PFCP Version Not Supported Response",
        12 => "PFCP Node Report Request",
        13 => "PFCP Node Report Response",
        14 => "PFCP Session Set Deletion Request",
        15 => "PFCP Session Set Deletion Response",
        16 => "PFCP Session Set Modification Request",
        17 => "PFCP Session Set Modification Response",
        50 => "PFCP Session Establishment Request",
        51 => "PFCP Session Establishment Response",
        52 => "PFCP Session Modification Request",
        53 => "PFCP Session Modification Response",
        54 => "PFCP Session Deletion Request",
        55 => "PFCP Session Deletion Response",
        56 => "PFCP Session Report Request",
        57 => "PFCP Session Report Response",
        _ => return None,
    })
}

const S: u8 = 0x01;
const MP: u8 = 0x02;
const FO: u8 = 0x04;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_read_with_and_without_seid_and_priority() {
        let node = [0x20, 1, 0, 4, 0, 0, 7, 0];
        let message = Message::read(&mut Reader::new(&node)).unwrap();
        assert_eq!((message.message_type, message.seid, message.sequence, message.priority), (1, None, 7, None));
        let session = [0x23, 54, 0, 12, 0, 0, 0, 0, 0, 0, 0, 9, 0, 1, 2, 0x50];
        let message = Message::read(&mut Reader::new(&session)).unwrap();
        assert_eq!((message.seid, message.sequence, message.priority), (Some(9), 0x0102, Some(5)));
    }

    #[test]
    fn what_is_wrong_with_a_header_is_told_apart() {
        for (bytes, wrong) in [
            (&[][..], Wrong::NotMatching),
            (&[0x00, 1, 0, 4, 0, 0, 0, 0], Wrong::NotMatching),
            (b"GET / HTTP/1.1", Wrong::NotMatching),
            (&[0x40, 1, 0, 4, 0, 0, 0, 0], Wrong::Version(2)),
            (&[0x20, 1, 0], Wrong::Truncated),
            (&[0x20, 1, 0, 5, 0, 0, 0, 0], Wrong::Truncated),
            (&[0x20, 1, 0, 3, 0, 0, 0, 0], Wrong::Malformed),
            (&[0x21, 50, 0, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], Wrong::Malformed),
        ] {
            assert_eq!(Message::read(&mut Reader::new(bytes)).map(|_| ()), Err(wrong), "{bytes:?}");
        }
    }
}
