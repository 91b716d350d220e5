//! eCPRI 2.0 (eCPRI Specification V2.0, 2019-05-10): the common header, concatenated messages and the
//! message types 0 to 11, as views. User data is not looked into; only O-RAN's split of the identifiers
//! is (O-RAN.WG4.CUS section 5.1.3).

use super::{Error, Reader};

/// One message (section 3.1.3).
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    pub revision: u8,
    /// C: another message follows within the same PDU.
    pub concatenated: bool,
    pub message_type: u8,
    /// Bytes behind the common header, as it says.
    pub payload_size: u16,
    pub body: Body<'a>,
    /// User data behind the type's own header.
    pub data: &'a [u8],
}

/// What is before the user data, by message type (section 3.2.4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Body<'a> {
    /// 0, IQ Data, and 1, Bit Sequence.
    Stream { pc_id: u16, seq_id: u16 },
    /// 2, Real-Time Control Data.
    RealTimeControl { rtc_id: u16, seq_id: u16 },
    /// 3, Generic Data Transfer.
    GenericData { pc_id: u32, seq_id: u32 },
    /// 4, Remote Memory Access.
    Rma { id: u8, read_write: u8, request_response: u8, element_id: u16, address: u64, length: u16 },
    /// 5, One-Way Delay Measurement. The compensation is in units of 2^-16 ns.
    Owd { id: u8, action_type: u8, seconds: u64, nanoseconds: u32, compensation: i64 },
    /// 6, Remote Reset.
    Reset { id: u16, code_op: u8 },
    /// 7, Event Indication.
    Event { id: u8, event_type: u8, sequence: u8, count: u8, faults: Faults<'a> },
    /// 8, IWF Start-Up. The time stamp is in nanoseconds.
    IwfStartUp { pc_id: u16, hyperframe: u8, subframe: u8, timestamp: u32, fec: bool, scrambling: bool, line_rate: u8 },
    /// 9, IWF Operation, and 10, IWF Mapping; what is behind their id is left to the IWF.
    Iwf { pc_id: u16 },
    /// 11, IWF Delay Control. Delays are in units of 1/16 ns.
    IwfDelayControl { pc_id: u16, id: u8, action_type: u8, delay_a: u32, delay_b: u32 },
    /// A type that is reserved or a vendor's.
    Unknown,
}

/// Why no message could be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wrong {
    /// The bytes end before what the header announces.
    Truncated,
    /// The payload is too short for its type.
    Malformed,
    /// A protocol revision that is reserved.
    Revision(u8),
    /// No revision of eCPRI begins like this.
    NotMatching,
}

impl<'a> Message<'a> {
    pub const HEADER: usize = 4;

    /// Takes one message of a PDU that starts where the reader's bytes start. Where another one follows,
    /// the padding before it is taken too; what else is behind stays.
    pub fn read(reader: &mut Reader<'a>) -> Result<Message<'a>, Wrong> {
        let first = reader.peek().ok_or(Wrong::NotMatching)?;
        match first >> 4 {
            REVISION => {}
            0 => return Err(Wrong::NotMatching),
            revision => return Err(Wrong::Revision(revision)),
        }
        let mut ahead = *reader;
        let (message_type, payload_size, payload) = Message::head(&mut ahead).map_err(|_| Wrong::Truncated)?;
        let concatenated = first & C != 0;
        if concatenated {
            // Section 3.1.3.1: the next one starts at a boundary of four bytes.
            let padding = ahead.position().next_multiple_of(4) - ahead.position();
            let _ = ahead.skip(padding.min(ahead.remaining()));
        }
        *reader = ahead;
        let mut payload = Reader::new(payload);
        let body = body(message_type, &mut payload).map_err(|_| Wrong::Malformed)?;
        Ok(Message { revision: REVISION, concatenated, message_type, payload_size, body, data: payload.rest() })
    }

    fn head(reader: &mut Reader<'a>) -> Result<(u8, u16, &'a [u8]), Error> {
        reader.u8()?;
        let message_type = reader.u8()?;
        let payload_size = reader.u16()?;
        Ok((message_type, payload_size, reader.take(usize::from(payload_size))?))
    }
}

fn body<'a>(message_type: u8, r: &mut Reader<'a>) -> Result<Body<'a>, Error> {
    Ok(match message_type {
        0 | 1 => Body::Stream { pc_id: r.u16()?, seq_id: r.u16()? },
        2 => Body::RealTimeControl { rtc_id: r.u16()?, seq_id: r.u16()? },
        3 => Body::GenericData { pc_id: r.u32()?, seq_id: r.u32()? },
        4 => {
            let (id, kind, element_id, address, length) = (r.u8()?, r.u8()?, r.u16()?, r.u48()?, r.u16()?);
            // What is written, or was read, stands behind its length.
            if matches!(kind, RMA_READ_RESPONSE | RMA_WRITE_REQUEST | RMA_WRITE_NO_RESPONSE_REQUEST)
                && r.remaining() < usize::from(length)
            {
                return Err(Error::Malformed);
            }
            Body::Rma { id, read_write: kind >> 4, request_response: kind & 0x0f, element_id, address, length }
        }
        5 => Body::Owd {
            id: r.u8()?,
            action_type: r.u8()?,
            seconds: r.u48()?,
            nanoseconds: r.u32()?,
            compensation: r.u64()? as i64,
        },
        6 => Body::Reset { id: r.u16()?, code_op: r.u8()? },
        7 => {
            let (id, event_type, sequence, count) = (r.u8()?, r.u8()?, r.u8()?, r.u8()?);
            // Only faults and notifications bring elements.
            let elements = if matches!(event_type, 0 | 2) { usize::from(count) } else { 0 };
            Body::Event { id, event_type, sequence, count, faults: Faults { bytes: r.take(elements * Fault::SIZE)? } }
        }
        8 => {
            let (pc_id, hyperframe, subframe, timestamp, last) = (r.u16()?, r.u8()?, r.u8()?, r.u32()?, r.u8()?);
            Body::IwfStartUp {
                pc_id,
                hyperframe,
                subframe,
                timestamp,
                fec: last & 0x80 != 0,
                scrambling: last & 0x40 != 0,
                line_rate: last & 0x1f,
            }
        }
        9 | 10 => Body::Iwf { pc_id: r.u16()? },
        11 => Body::IwfDelayControl {
            pc_id: r.u16()?,
            id: r.u8()?,
            action_type: r.u8()?,
            delay_a: r.u32()?,
            delay_b: r.u32()?,
        },
        _ => Body::Unknown,
    })
}

/// The elements of an event indication.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Faults<'a> {
    bytes: &'a [u8],
}

/// One fault or notification (section 3.2.4.8).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fault {
    pub element_id: u16,
    /// 0 raise, 1 cease.
    pub raise_cease: u8,
    /// 12 bits.
    pub number: u16,
    pub additional_information: u32,
}

impl Fault {
    const SIZE: usize = 8;
}

impl<'a> Faults<'a> {
    pub fn iter(&self) -> impl Iterator<Item = Fault> + use<'a> {
        self.bytes.chunks_exact(Fault::SIZE).map(|f| Fault {
            element_id: u16::from_be_bytes([f[0], f[1]]),
            raise_cease: f[2] >> 4,
            number: u16::from_be_bytes([f[2] & 0x0f, f[3]]),
            additional_information: u32::from_be_bytes([f[4], f[5], f[6], f[7]]),
        })
    }
}

/// O-RAN's split of PC_ID and RTC_ID (O-RAN.WG4.CUS section 5.1.3.1.7): the widths in bits, 16 together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EaxcWidths {
    pub du_port_id: u8,
    pub band_sector_id: u8,
    pub cc_id: u8,
    pub ru_port_id: u8,
}

/// The parts of an eAxC id.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Eaxc {
    pub du_port_id: u16,
    pub band_sector_id: u16,
    pub cc_id: u16,
    pub ru_port_id: u16,
}

impl EaxcWidths {
    /// None where the widths are not 16 bits together.
    pub fn new([du_port_id, band_sector_id, cc_id, ru_port_id]: [u8; 4]) -> Option<EaxcWidths> {
        let sum = [du_port_id, band_sector_id, cc_id, ru_port_id].into_iter().map(u32::from).sum::<u32>();
        (sum == 16).then_some(EaxcWidths { du_port_id, band_sector_id, cc_id, ru_port_id })
    }

    pub fn split(&self, id: u16) -> Eaxc {
        let mut left = 16;
        let mut next = |width: u8| {
            left -= u32::from(width);
            ((u32::from(id) >> left) & ((1 << width) - 1)) as u16
        };
        Eaxc {
            du_port_id: next(self.du_port_id),
            band_sector_id: next(self.band_sector_id),
            cc_id: next(self.cc_id),
            ru_port_id: next(self.ru_port_id),
        }
    }
}

/// The name of a message type (section 3.2.4, table 4).
pub fn message_name(message_type: u8) -> Option<&'static str> {
    const NAMES: [&str; 12] = [
        "IQ Data",
        "Bit Sequence",
        "Real-Time Control Data",
        "Generic Data Transfer",
        "Remote Memory Access",
        "One-Way Delay Measurement",
        "Remote Reset",
        "Event Indication",
        "IWF Start-Up",
        "IWF Operation",
        "IWF Mapping",
        "IWF Delay Control",
    ];
    NAMES.get(usize::from(message_type)).copied()
}

/// The second octet of remote memory accesses (section 3.2.4.5).
const RMA_READ_RESPONSE: u8 = 0x01;
const RMA_WRITE_REQUEST: u8 = 0x10;
const RMA_WRITE_NO_RESPONSE_REQUEST: u8 = 0x20;

const REVISION: u8 = 1;
const C: u8 = 0x01;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn concatenated_messages_start_at_boundaries_of_four_bytes() {
        let pdu = [0x11, 0, 0, 5, 0, 1, 0, 2, 9, 0, 0, 0, 0x10, 2, 0, 4, 0, 3, 0, 4, 0xff, 0xff];
        let mut reader = Reader::new(&pdu);
        let first = Message::read(&mut reader).unwrap();
        assert_eq!(
            (first.concatenated, first.body, first.data),
            (true, Body::Stream { pc_id: 1, seq_id: 2 }, &[9][..])
        );
        let second = Message::read(&mut reader).unwrap();
        assert_eq!((second.concatenated, second.body), (false, Body::RealTimeControl { rtc_id: 3, seq_id: 4 }));
        assert_eq!(reader.rest(), [0xff, 0xff]);
    }

    #[test]
    #[allow(clippy::unusual_byte_groupings)] // grouped as the widths are
    fn an_eaxc_id_is_split_from_its_high_bits_down() {
        let widths = EaxcWidths::new([2, 6, 3, 5]).unwrap();
        let parts = widths.split(0b10_000101_110_00011);
        assert_eq!(parts, Eaxc { du_port_id: 2, band_sector_id: 5, cc_id: 6, ru_port_id: 3 });
        assert_eq!(EaxcWidths::new([16, 0, 0, 0]).unwrap().split(0xabcd).du_port_id, 0xabcd);
        assert_eq!(EaxcWidths::new([4, 4, 4, 5]), None);
        assert_eq!(EaxcWidths::new([255, 255, 4, 14]), None);
    }

    #[test]
    fn what_is_wrong_with_a_message_is_told_apart() {
        for (bytes, wrong) in [
            (&[][..], Wrong::NotMatching),
            (&[0x00, 0, 0, 0], Wrong::NotMatching),
            (&[0x20, 0, 0, 0], Wrong::Revision(2)),
            (&[0x10, 0, 0], Wrong::Truncated),
            (&[0x10, 0, 0, 5, 0, 0, 0, 0], Wrong::Truncated),
            (&[0x10, 0, 0, 3, 0, 0, 0, 0], Wrong::Malformed),
            (&[0x10, 7, 0, 4, 0, 0, 0, 1], Wrong::Malformed),
        ] {
            assert_eq!(Message::read(&mut Reader::new(bytes)).map(|_| ()), Err(wrong), "{bytes:?}");
        }
    }
}
