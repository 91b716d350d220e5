//! Capture files: pcap and pcapng (draft-ietf-opsawg-pcap, -pcapng), both byte orders, any number of
//! interfaces, any resolution of time. Frames are lent from one large buffer. A reader of our own, since
//! libpcap refuses files whose interfaces differ in link type and drops the interfaces' names, and the
//! `pcap-file` crate allocates for every block of a pcapng file.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::ahead::Blocks;
use super::record::Interface;
use crate::kernel::cache;

/// A frame of a file, lent until the next is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Packet<'a> {
    pub bytes: &'a [u8],
    /// On the wire.
    pub length: u32,
    pub link_type: u16,
    /// Nanoseconds since the epoch.
    pub time: u64,
    /// Its name is empty where the file does not tell.
    pub interface: &'a Interface,
}

/// What the file says of an interface.
struct Described {
    interface: Interface,
    link_type: u16,
    snaplen: u32,
    clock: Clock,
}

/// Why a file cannot be read, or not to its end.
#[derive(Debug)]
pub enum Error {
    Io(io::Error),
    /// It is a pipe, a device, a directory: reading it might wait without end.
    Irregular,
    /// It is neither pcap nor pcapng.
    Format,
    /// What it says cannot be, at this byte.
    Corrupt(&'static str, u64),
    /// It ends in the middle of a frame, at this byte, as when its writer was killed.
    Cut(u64),
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Error::Io(error) => error.fmt(f),
            Error::Irregular => f.write_str("is no regular file"),
            Error::Format => f.write_str("is neither a pcap nor a pcapng file"),
            Error::Corrupt(what, at) => write!(f, "is corrupt at byte {at}: {what}"),
            Error::Cut(at) => write!(f, "ends in the middle of a frame at byte {at}"),
        }
    }
}

impl Error {
    /// A file that ends within its header is none.
    fn of_header(self) -> Error {
        match self {
            Error::Cut(_) => Error::Format,
            error => error,
        }
    }
}

/// Opens a file, which is not waited for.
pub fn open(path: &Path) -> Result<File, Error> {
    let regular = |is: Metadata| if is.is_file() { Ok(()) } else { Err(Error::Irregular) };
    // Before it is opened, which a pipe's writer or a device would notice.
    regular(fs::metadata(path).map_err(Error::Io)?)?;
    // And behind it, as the name may have come to mean a pipe, whose writer must not be waited for.
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path);
    let file = file.map_err(Error::Io)?;
    regular(file.metadata().map_err(Error::Io)?)?;
    Ok(file)
}

/// Reads the frames of a file in their order.
pub struct Reader<R> {
    input: Input<R>,
    format: Format,
    big_endian: bool,
    interfaces: Vec<Described>,
    /// Where the interfaces of the present section begin (pcapng).
    section: usize,
    /// For frames that carry no time (pcapng, simple packet blocks).
    last_time: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Format {
    Pcap,
    Pcapng,
}

impl<R: Read + Send + 'static> Reader<R> {
    /// Reads the file's header. Where the file is large a thread reads ahead.
    pub fn ahead(source: R) -> Result<Reader<R>, Error> {
        Reader::of(Blocks::ahead(source))
    }
}

impl<R: Read> Reader<R> {
    /// Reads the file's header.
    pub fn new(source: R) -> Result<Reader<R>, Error> {
        Reader::of(Blocks::new(source))
    }

    fn of(source: Blocks<R>) -> Result<Reader<R>, Error> {
        let mut input = Input::new(source);
        let magic: [u8; 4] = match input.peek(4).map_err(Error::of_header)?.and_then(|bytes| bytes.first_chunk()) {
            Some(magic) => *magic,
            None => return Err(Error::Format),
        };
        let mut reader = Reader {
            input,
            format: Format::Pcapng,
            big_endian: false,
            interfaces: Vec::new(),
            section: 0,
            last_time: 0,
        };
        let header = if magic == SECTION.to_be_bytes() {
            reader.section_header(0)
        } else {
            reader.format = Format::Pcap;
            reader.pcap_header(magic)
        };
        header.map_err(Error::of_header)?;
        Ok(reader)
    }

    /// The next frame; None at the end of the file.
    #[allow(clippy::should_implement_trait)] // a packet borrows from the reader
    pub fn next(&mut self) -> Result<Option<Packet<'_>>, Error> {
        let found = match self.format {
            Format::Pcap => self.pcap_record()?,
            Format::Pcapng => self.pcapng_packet()?,
        };
        let Some(Found { length, captured, time, interface }) = found else { return Ok(None) };
        self.last_time = time;
        let at = self.input.before();
        let Some(Described { interface, link_type, .. }) = self.interfaces.get(interface) else {
            return Err(Error::Corrupt("a frame of an unknown interface", at));
        };
        let bytes = self.input.lent(captured);
        // The next record begins behind it, in memory that another processor has written.
        cache::fetch(bytes.as_ptr_range().end);
        let length = length.max(bytes.len() as u32);
        Ok(Some(Packet { bytes, length, link_type: *link_type, time, interface }))
    }

    fn pcap_header(&mut self, magic: [u8; 4]) -> Result<(), Error> {
        let (big_endian, nanoseconds) = match u32::from_be_bytes(magic) {
            0xa1b2_c3d4 => (true, false),
            0xa1b2_3c4d => (true, true),
            0xd4c3_b2a1 => (false, false),
            0x4d3c_b2a1 => (false, true),
            _ => return Err(Error::Format),
        };
        self.big_endian = big_endian;
        let header: [u8; 24] = self.input.take()?.ok_or(Error::Format)?;
        let [.., a, b, c, d] = header;
        // the upper bits tell of frame check sequences; the link type is the lower 16
        let link_type = self.u32([a, b, c, d]) as u16;
        let clock = Clock { per_second: if nanoseconds { NANOS } else { 1_000_000 }, offset: 0 };
        self.interfaces.push(Described { interface: Interface::default(), link_type, snaplen: 0, clock });
        Ok(())
    }

    fn pcap_record(&mut self) -> Result<Option<Found>, Error> {
        let at = self.input.position();
        let Some(header) = self.input.take::<16>()? else { return Ok(None) };
        let word = |at: usize| self.u32([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let (seconds, fraction, captured, length) = (word(0), word(4), word(8), word(12));
        if captured > LARGEST {
            return Err(Error::Corrupt("a frame of more than 16 MiB", at));
        }
        let nanos = self.interfaces.first().is_some_and(|interface| interface.clock.per_second == NANOS);
        let fraction = if nanos { u64::from(fraction) } else { u64::from(fraction) * 1000 };
        let time = u64::from(seconds) * NANOS + fraction;
        self.input.need(captured as usize)?;
        Ok(Some(Found { length, captured: captured as usize, time, interface: 0 }))
    }

    fn pcapng_packet(&mut self) -> Result<Option<Found>, Error> {
        loop {
            let at = self.input.position();
            let Some(header) = self.input.peek(8)? else { return Ok(None) };
            let kind = [header[0], header[1], header[2], header[3]];
            let length = [header[4], header[5], header[6], header[7]];
            if kind == SECTION.to_be_bytes() {
                self.section_header(at)?;
                continue;
            }
            let (kind, length) = (self.u32(kind), self.u32(length));
            if length < 12 || !length.is_multiple_of(4) {
                return Err(Error::Corrupt("the length of a block", at));
            }
            let fixed = match kind {
                INTERFACE => 8,
                ENHANCED | PACKET => 20,
                SIMPLE => 4,
                _ => {
                    self.input.skip(length.into())?;
                    continue;
                }
            };
            if length > LARGEST || length < 12 + fixed {
                return Err(Error::Corrupt("the length of a block", at));
            }
            self.input.need(length as usize)?;
            if kind == INTERFACE {
                self.interface(length as usize, at)?;
                continue;
            }
            return self.packet_block(kind, length as usize, at).map(Some);
        }
    }

    fn section_header(&mut self, at: u64) -> Result<(), Error> {
        self.input.need(28)?;
        let header = self.input.lent(12);
        self.big_endian = match header.get(8..) {
            Some([0x1a, 0x2b, 0x3c, 0x4d]) => true,
            Some([0x4d, 0x3c, 0x2b, 0x1a]) => false,
            _ => return Err(Error::Corrupt("the byte order of a section", at)),
        };
        let length = [header[4], header[5], header[6], header[7]];
        let length = self.u32(length);
        if length < 28 || !length.is_multiple_of(4) {
            return Err(Error::Corrupt("the length of a section header", at));
        }
        self.section = self.interfaces.len();
        self.input.skip(u64::from(length) - 28)
    }

    fn interface(&mut self, length: usize, at: u64) -> Result<(), Error> {
        if self.interfaces.len() == INTERFACES {
            return Err(Error::Corrupt("more than 65536 interfaces", at));
        }
        let big_endian = self.big_endian;
        let body = Fields { bytes: self.input.lent(length).get(8..length - 4).unwrap_or_default(), big_endian };
        let mut described = Described {
            interface: Interface::default(),
            link_type: body.u16(0),
            snaplen: body.u32(4),
            clock: Clock { per_second: 1_000_000, offset: 0 },
        };
        let mut options = body.bytes.get(8..).unwrap_or_default();
        while let Some((head, rest)) = options.split_first_chunk::<4>() {
            let head = Fields { bytes: head, big_endian };
            let (code, length) = (head.u16(0), usize::from(head.u16(2)));
            let Some(value) = rest.get(..length) else { break };
            let fields = Fields { bytes: value, big_endian };
            match (code, value) {
                (0, _) => break,
                (2, name) => described.interface.name = String::from_utf8_lossy(name).trim_end_matches('\0').to_owned(),
                (9, &[resolution]) => {
                    described.clock.per_second =
                        Clock::resolution(resolution).ok_or(Error::Corrupt("an interface's resolution of time", at))?;
                }
                (14, [_, _, _, _, _, _, _, _]) => described.clock.offset = fields.u64(0) as i64,
                _ => {}
            }
            options = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
        self.interfaces.push(described);
        Ok(())
    }

    /// Stands at the frame's bytes afterwards, with the rest of the block to skip.
    fn packet_block(&mut self, kind: u32, length: usize, at: u64) -> Result<Found, Error> {
        let block = Fields { bytes: self.input.lent(length), big_endian: self.big_endian };
        let (head, local, captured, wire) = match kind {
            SIMPLE => (12, 0, u32::MAX, block.u32(8)),
            PACKET => (28, u32::from(block.u16(8)), block.u32(20), block.u32(24)),
            _ => (28, block.u32(8), block.u32(20), block.u32(24)),
        };
        let ticks = u64::from(block.u32(12)) << 32 | u64::from(block.u32(16));
        let index = self.section + local as usize;
        let interface = self.interfaces.get(index).ok_or(Error::Corrupt("a frame of an unknown interface", at))?;
        let time = if kind == SIMPLE { self.last_time } else { interface.clock.nanos(ticks) };
        let room = length - head - 4;
        let captured = match (kind, interface.snaplen) {
            (SIMPLE, 0) => (wire as usize).min(room),
            (SIMPLE, snaplen) => (wire.min(snaplen) as usize).min(room),
            _ if captured as usize > room => return Err(Error::Corrupt("a frame longer than its block", at)),
            _ => captured as usize,
        };
        self.input.consume(head);
        Ok(Found { length: wire, captured, time, interface: index })
    }

    fn u32(&self, bytes: [u8; 4]) -> u32 {
        if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    }
}

/// A frame that stands at the front of the input.
struct Found {
    length: u32,
    captured: usize,
    time: u64,
    /// Index into `interfaces`.
    interface: usize,
}

/// An interface's unit of time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Clock {
    per_second: u64,
    /// Seconds to add.
    offset: i64,
}

impl Clock {
    /// if_tsresol: a negative power of 10, or of 2 where the highest bit is set.
    fn resolution(byte: u8) -> Option<u64> {
        match byte & 0x80 {
            0 => 10_u64.checked_pow(byte.into()),
            _ => 1_u64.checked_shl((byte & 0x7f).into()),
        }
    }

    fn nanos(self, ticks: u64) -> u64 {
        let nanos = match self.per_second {
            1_000_000 => ticks.saturating_mul(1000),
            NANOS => ticks,
            other => (u128::from(ticks) * u128::from(NANOS) / u128::from(other)).try_into().unwrap_or(u64::MAX),
        };
        nanos.saturating_add_signed(self.offset.saturating_mul(NANOS as i64))
    }
}

/// Integers in the byte order of the section; what is not there reads as 0, and lengths are checked before.
#[derive(Clone, Copy)]
struct Fields<'a> {
    bytes: &'a [u8],
    big_endian: bool,
}

impl Fields<'_> {
    fn u16(&self, at: usize) -> u16 {
        let bytes = self.array(at);
        if self.big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) }
    }

    fn u32(&self, at: usize) -> u32 {
        let bytes = self.array(at);
        if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    }

    fn u64(&self, at: usize) -> u64 {
        let bytes = self.array(at);
        if self.big_endian { u64::from_be_bytes(bytes) } else { u64::from_le_bytes(bytes) }
    }

    fn array<const N: usize>(&self, at: usize) -> [u8; N] {
        self.bytes.get(at..).and_then(|bytes| bytes.first_chunk()).copied().unwrap_or([0; N])
    }
}

/// A buffered input whose next bytes can be lent as one slice.
struct Input<R> {
    source: Blocks<R>,
    buffer: Vec<u8>,
    from: usize,
    to: usize,
    /// Of the file, read so far.
    read: u64,
    /// Bytes to leave behind before the next read: those lent last.
    behind: usize,
}

impl<R: Read> Input<R> {
    fn new(source: Blocks<R>) -> Input<R> {
        Input { source, buffer: Vec::new(), from: 0, to: 0, read: 0, behind: 0 }
    }

    fn position(&mut self) -> u64 {
        self.settle();
        self.before()
    }

    /// Where in the file the bytes stand that are lent, or come next.
    fn before(&self) -> u64 {
        self.read - (self.to - self.from) as u64
    }

    /// The next `count` bytes, which stay; None at the end of the file.
    fn peek(&mut self, count: usize) -> Result<Option<&[u8]>, Error> {
        self.settle();
        match self.fill(count)? {
            true => Ok(self.buffer.get(self.from..self.to)),
            false if self.from == self.to => Ok(None),
            false => Err(Error::Cut(self.before())),
        }
    }

    fn take<const N: usize>(&mut self) -> Result<Option<[u8; N]>, Error> {
        let taken = self.peek(N)?.and_then(|bytes| bytes.first_chunk()).copied();
        self.consume(if taken.is_some() { N } else { 0 });
        Ok(taken)
    }

    /// Makes sure that `count` bytes can be lent.
    fn need(&mut self, count: usize) -> Result<(), Error> {
        self.settle();
        match self.fill(count)? {
            true => {
                self.behind = count;
                Ok(())
            }
            false => Err(Error::Cut(self.before())),
        }
    }

    /// The next bytes, known to be there.
    fn lent(&self, count: usize) -> &[u8] {
        self.buffer.get(self.from..self.from + count).unwrap_or_default()
    }

    fn consume(&mut self, count: usize) {
        self.from += count;
        self.behind = self.behind.saturating_sub(count);
    }

    fn skip(&mut self, mut count: u64) -> Result<(), Error> {
        self.settle();
        while count > 0 {
            if self.from == self.to && !self.fill(1)? {
                return Err(Error::Cut(self.before()));
            }
            let step = ((self.to - self.from) as u64).min(count);
            self.from += step as usize;
            count -= step;
        }
        Ok(())
    }

    fn settle(&mut self) {
        self.from += std::mem::take(&mut self.behind);
    }

    /// Reads until `count` bytes are there; false where the file ends before.
    #[inline]
    fn fill(&mut self, count: usize) -> Result<bool, Error> {
        if self.to - self.from >= count {
            return Ok(true);
        }
        self.refill(count)
    }

    fn refill(&mut self, count: usize) -> Result<bool, Error> {
        while self.to - self.from < count {
            match self.source.more(&mut self.buffer, &mut self.from, &mut self.to).map_err(Error::Io)? {
                0 => return Ok(false),
                read => self.read += read as u64,
            }
        }
        Ok(true)
    }
}

/// Block types of pcapng.
const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const PACKET: u32 = 2;
const SIMPLE: u32 = 3;
const ENHANCED: u32 = 6;

const NANOS: u64 = 1_000_000_000;
/// Of a frame or block; libpcap's own bound for a frame is 256 KiB.
const LARGEST: u32 = 16 << 20;
const INTERFACES: usize = 65_536;
