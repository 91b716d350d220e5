//! TCP options (RFC 9293 3.1 and the IANA registry of option kinds).

/// One option.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TcpOption<'a> {
    End,
    NoOperation,
    /// Maximum segment size in bytes.
    MaximumSegmentSize(u16),
    /// RFC 7323 2.2: the shift count.
    WindowScale(u8),
    SackPermitted,
    /// RFC 2018 3: blocks of 8 bytes, left and right edge.
    Sack(&'a [u8]),
    /// RFC 7323 3.2.
    Timestamps {
        value: u32,
        echo: u32,
    },
    /// Kind, and what follows the length.
    Other(u8, &'a [u8]),
}

/// The options of a segment, up to the first that is not whole.
#[derive(Clone, Copy, Debug)]
pub struct TcpOptions<'a> {
    rest: &'a [u8],
}

impl<'a> TcpOptions<'a> {
    pub fn new(options: &'a [u8]) -> TcpOptions<'a> {
        TcpOptions { rest: options }
    }
}

impl<'a> Iterator for TcpOptions<'a> {
    type Item = TcpOption<'a>;

    fn next(&mut self) -> Option<TcpOption<'a>> {
        let (&kind, rest) = self.rest.split_first()?;
        match kind {
            0 => {
                self.rest = &[];
                return Some(TcpOption::End);
            }
            1 => {
                self.rest = rest;
                return Some(TcpOption::NoOperation);
            }
            _ => {}
        }
        let length = usize::from(*rest.first()?);
        let (whole, rest) = self.rest.split_at_checked(length)?;
        let data = whole.get(2..)?;
        self.rest = rest;
        Some(match (kind, data) {
            (2, &[a, b]) => TcpOption::MaximumSegmentSize(u16::from_be_bytes([a, b])),
            (3, &[shift]) => TcpOption::WindowScale(shift),
            (4, []) => TcpOption::SackPermitted,
            (5, blocks) if blocks.len() % 8 == 0 => TcpOption::Sack(blocks),
            (8, &[a, b, c, d, e, f, g, h]) => TcpOption::Timestamps {
                value: u32::from_be_bytes([a, b, c, d]),
                echo: u32::from_be_bytes([e, f, g, h]),
            },
            _ => TcpOption::Other(kind, data),
        })
    }
}
