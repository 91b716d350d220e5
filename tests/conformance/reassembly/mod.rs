//! TCP streams, datagrams and fragments put together from frames made byte by byte.

mod bounds;
mod connections;
mod frames;
mod order;
mod random;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tawon::flow::assembler::{Assembler, Limits, Select};
use tawon::flow::segment::Segment;
use tawon::flow::{Direction, FlowEnd};
use tawon::time::Instant;

use crate::support::packets::{self, ACK, FIN, RST, Random, SYN};

/// A segment with bytes of its own.
#[derive(Clone, PartialEq, Debug)]
struct Got {
    flow: u64,
    direction: Direction,
    seq: u64,
    offset: u64,
    gap: u64,
    gap_unknown: bool,
    bytes: Vec<u8>,
    start: bool,
    end: Option<FlowEnd>,
    ends: (SocketAddr, SocketAddr),
}

struct Bench {
    assembler: Assembler,
    now: Instant,
    got: Vec<Got>,
}

impl Bench {
    fn new() -> Bench {
        Bench::with(Select::default(), Limits::default())
    }

    fn with(select: Select, limits: Limits) -> Bench {
        Bench { assembler: Assembler::new(select, limits), now: Instant(1_000), got: Vec::new() }
    }

    fn frame(&mut self, frame: &[u8]) -> &mut Self {
        self.cut(frame, frame.len())
    }

    /// A frame of which the capture kept `keep` bytes.
    fn cut(&mut self, frame: &[u8], keep: usize) -> &mut Self {
        let got = &mut self.got;
        self.assembler.push(1, &frame[..keep], frame.len(), self.now, &mut |segment| got.push(own(segment)));
        self
    }

    fn tx(&mut self, seq: u32, flags: u8, payload: &[u8]) -> &mut Self {
        self.frame(&packets::tcp(client(), server(), seq, 0, flags, payload))
    }

    fn rx(&mut self, seq: u32, ack: u32, flags: u8, payload: &[u8]) -> &mut Self {
        self.frame(&packets::tcp(server(), client(), seq, ack, flags, payload))
    }

    fn after(&mut self, by: Duration) -> &mut Self {
        self.now = self.now + by;
        let got = &mut self.got;
        self.assembler.tick(self.now, &mut |segment| got.push(own(segment)));
        self
    }

    fn finish(&mut self) -> &mut Self {
        let got = &mut self.got;
        self.assembler.finish(self.now, &mut |segment| got.push(own(segment)));
        self
    }

    /// What came of one direction as text, with `<gap>` and `|end|` where they stand.
    fn told(&self, direction: Direction) -> String {
        let mut text = String::new();
        for got in self.got.iter().filter(|got| got.direction == direction) {
            if got.gap_unknown {
                text.push_str("<?>");
            }
            if got.gap > 0 {
                text.push_str(&format!("<{}>", got.gap));
            }
            text.push_str(&String::from_utf8_lossy(&got.bytes));
            if let Some(end) = got.end {
                text.push_str(&format!("|{end:?}|"));
            }
        }
        text
    }

    fn told_tx(&self) -> String {
        self.told(Direction::Tx)
    }

    fn told_rx(&self) -> String {
        self.told(Direction::Rx)
    }
}

fn own(segment: &Segment<'_>) -> Got {
    Got {
        flow: segment.flow,
        direction: segment.direction,
        seq: segment.seq,
        offset: segment.offset,
        gap: segment.gap,
        gap_unknown: segment.gap_unknown,
        bytes: segment.bytes.to_vec(),
        start: segment.start,
        end: segment.end,
        ends: segment.ends,
    }
}

fn client() -> SocketAddr {
    "10.0.0.9:40000".parse().unwrap()
}

fn server() -> SocketAddr {
    "10.0.0.2:80".parse().unwrap()
}

/// The handshake, with the first sequence numbers 100 and 500 of the bytes that follow.
fn connected() -> Bench {
    let mut bench = Bench::new();
    bench.tx(99, SYN, b"").rx(499, 100, SYN | ACK, b"").frame(&packets::tcp(client(), server(), 100, 500, ACK, b""));
    assert_eq!(bench.got, []);
    bench
}

const MS: Duration = Duration::from_millis(1);
