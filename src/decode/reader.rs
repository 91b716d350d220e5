//! `Reader`, a cursor over bytes in network byte order, for what is length-prefixed. Every read is
//! checked; a read that fails takes nothing.

/// Why bytes could not be decoded.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Error {
    /// The bytes end before what they announce. Whether the capture cut them or the sender wrote a
    /// length that is wrong only the caller can tell: it knows how long the frame was on the wire.
    Truncated,
    /// The bytes are all there and break the protocol.
    Malformed,
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Error::Truncated => "truncated",
            Error::Malformed => "malformed",
        })
    }
}

impl std::error::Error for Error {}

/// A cursor over borrowed bytes. What it hands out borrows from them too.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub const fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes, at: 0 }
    }

    /// Bytes read so far.
    pub const fn position(&self) -> usize {
        self.at
    }

    /// How many bytes are left.
    pub const fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    pub const fn is_empty(&self) -> bool {
        self.remaining() == 0
    }

    /// The bytes that are left, which stay.
    pub fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// The next byte, which stays.
    pub fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// The next `count` bytes.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], Error> {
        let taken = self.rest().get(..count).ok_or(Error::Truncated)?;
        self.at += count;
        Ok(taken)
    }

    /// All bytes that are left.
    pub fn take_rest(&mut self) -> &'a [u8] {
        let rest = self.rest();
        self.at = self.bytes.len();
        rest
    }

    pub fn skip(&mut self, count: usize) -> Result<(), Error> {
        self.take(count).map(drop)
    }

    /// The next `N` bytes as an array.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let taken = *self.rest().first_chunk().ok_or(Error::Truncated)?;
        self.at += N;
        Ok(taken)
    }

    pub fn u8(&mut self) -> Result<u8, Error> {
        self.array().map(|[byte]| byte)
    }

    pub fn u16(&mut self) -> Result<u16, Error> {
        self.array().map(u16::from_be_bytes)
    }

    pub fn u24(&mut self) -> Result<u32, Error> {
        self.array().map(|[a, b, c]| u32::from_be_bytes([0, a, b, c]))
    }

    pub fn u32(&mut self) -> Result<u32, Error> {
        self.array().map(u32::from_be_bytes)
    }

    pub fn u40(&mut self) -> Result<u64, Error> {
        self.array().map(|[a, b, c, d, e]| u64::from_be_bytes([0, 0, 0, a, b, c, d, e]))
    }

    pub fn u48(&mut self) -> Result<u64, Error> {
        self.array().map(|[a, b, c, d, e, f]| u64::from_be_bytes([0, 0, a, b, c, d, e, f]))
    }

    pub fn u64(&mut self) -> Result<u64, Error> {
        self.array().map(u64::from_be_bytes)
    }

    /// A reader of the next `count` bytes alone.
    pub fn sub(&mut self, count: usize) -> Result<Reader<'a>, Error> {
        self.take(count).map(Reader::new)
    }

    /// A reader of what a length of one byte announces.
    pub fn prefixed_u8(&mut self) -> Result<Reader<'a>, Error> {
        self.prefixed(|reader| reader.u8().map(usize::from))
    }

    /// A reader of what a length of two bytes announces.
    pub fn prefixed_u16(&mut self) -> Result<Reader<'a>, Error> {
        self.prefixed(|reader| reader.u16().map(usize::from))
    }

    /// A reader of what a length of three bytes announces.
    pub fn prefixed_u24(&mut self) -> Result<Reader<'a>, Error> {
        self.prefixed(|reader| reader.u24().map(|length| length as usize))
    }

    fn prefixed(&mut self, length: impl FnOnce(&mut Self) -> Result<usize, Error>) -> Result<Reader<'a>, Error> {
        let mut ahead = *self;
        let length = length(&mut ahead)?;
        let inner = ahead.sub(length)?;
        *self = ahead;
        Ok(inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_read_in_network_byte_order() {
        let bytes: Vec<u8> = (1..=31).collect();
        let mut reader = Reader::new(&bytes);
        assert_eq!(reader.u8(), Ok(0x01));
        assert_eq!(reader.u16(), Ok(0x0203));
        assert_eq!(reader.u24(), Ok(0x04_0506));
        assert_eq!(reader.u32(), Ok(0x0708_090a));
        assert_eq!(reader.u40(), Ok(0x0b_0c0d_0e0f));
        assert_eq!(reader.u48(), Ok(0x1011_1213_1415));
        assert_eq!(reader.u64(), Ok(0x1617_1819_1a1b_1c1d));
        assert_eq!((reader.position(), reader.remaining()), (29, 2));
    }

    #[test]
    fn a_read_past_the_end_is_truncated_and_takes_nothing() {
        let mut reader = Reader::new(&[0, 3, 1, 2]);
        assert_eq!(reader.prefixed_u16().map(|inner| inner.remaining()), Err(Error::Truncated));
        assert_eq!(reader.u64(), Err(Error::Truncated));
        assert_eq!(reader.take(usize::MAX), Err(Error::Truncated));
        assert_eq!(reader.rest(), [0, 3, 1, 2]);
        assert_eq!(reader.prefixed_u8().map(|inner| inner.remaining()), Ok(0));
        assert_eq!(reader.u8(), Ok(3));
        assert_eq!(reader.take_rest(), [1, 2]);
        assert!(reader.is_empty());
        assert_eq!(reader.peek(), None);
    }

    #[test]
    fn a_prefixed_reader_ends_where_its_length_says() {
        let mut reader = Reader::new(&[2, 7, 8, 0, 1, 9, 0, 0, 0, 5]);
        let mut inner = reader.prefixed_u8().unwrap();
        assert_eq!((inner.u16(), inner.u8()), (Ok(0x0708), Err(Error::Truncated)));
        assert_eq!(reader.prefixed_u16().unwrap().rest(), [9]);
        assert!(reader.prefixed_u24().unwrap().is_empty());
        assert_eq!(reader.rest(), [5]);
    }
}
