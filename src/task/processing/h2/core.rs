//! `Core`: what is held of one connection beside its framing.

use std::rc::Rc;

use super::ids::Ids;
use super::stream::Own;
use super::windows::Window;
use crate::decode::hpack::Decoder;
use crate::decode::http2::{Header, MAX_FRAME};
use crate::process::Process;
use crate::process::metadata::Meta;
use crate::task::record::Net;
use crate::time::{Instant, Timestamp};

/// One connection: `dirs[TX]` is what `Tx` chunks bring, `dirs[RX]` the other way.
pub struct Core {
    pub flow: u64,
    pub net: Option<Net>,
    pub process: Option<(Rc<Process>, Meta)>,
    /// The groups of the record as JSON; empty until one is written, and again when they change.
    pub groups: Vec<u8>,
    /// Whether the flow's start was seen.
    pub started: bool,
    /// Whether the connection's preface was seen.
    pub preface: bool,
    /// Whether it stood at the first byte of a flow whose start was seen: nothing opened a stream before it.
    pub direct: bool,
    /// Whether a frame that may have opened a stream could not be read.
    pub opening_lost: bool,
    /// Whether the first byte seen is taken for a boundary.
    pub aligned: bool,
    /// Which direction the client sends in, once it is known.
    pub client: Option<usize>,
    /// Whether the search for that was given up; later frames may still tell.
    pub failed: bool,
    pub dirs: [Dir; 2],
    /// What the client opens, what the server opens.
    pub ids: [Ids; 2],
    pub own: Own,
    /// Bytes of its streams.
    pub own_bytes: usize,
    /// The longest frame that either end has said to take.
    pub max_frame: u32,
    pub pending: Pending,
    /// An HTTP/1.1 request that may turn the connection into HTTP/2.
    pub upgrade: super::upgrade::Watch,
    /// When a frame of its streams last came.
    pub streams_at: Instant,
    /// Whether its buffers were given back since anything came.
    pub released: bool,
    /// The stream looked up last.
    pub recent: (u32, u32),
}

/// One direction of a connection.
pub struct Dir {
    /// The offset behind the last byte.
    pub next: Option<u64>,
    /// Whether bytes of it were missing, the first ones included.
    pub gapped: bool,
    /// Whether its first frame found is not at the first byte seen.
    pub late: bool,
    pub over: bool,
    pub proven: bool,
    /// Whether all of it was read, from the connection's start.
    pub whole: bool,
    /// Whether the decoder was made for what is known of the connection.
    pub begun: bool,
    pub decoder: Decoder,
    /// The largest SETTINGS_HEADER_TABLE_SIZE it has sent.
    pub table_size: Option<u32>,
    /// The header block that frames must go on with.
    pub assembling: Option<Assembling>,
    pub block: Block,
    /// Whether the frame being read was refused by a counter.
    pub refused: bool,
    pub data: Data,
    /// What it may send.
    pub window: Window,
}

/// A header block that CONTINUATION frames must complete, as the checks of frames see it.
#[derive(Clone, Copy)]
pub struct Assembling {
    pub stream: u32,
    pub held: usize,
    /// Whether the block is lost already.
    pub lost: bool,
}

/// The same as the streams see it, with its bytes.
#[derive(Default)]
pub struct Block {
    pub header: Option<Header>,
    pub promised: Option<u32>,
    pub refused: bool,
    pub bytes: Vec<u8>,
}

/// The DATA frame being read.
#[derive(Clone, Copy, Default)]
pub struct Data {
    /// Its stream's place, if it is handed on.
    pub stream: Option<u32>,
    pub id: u32,
    /// Bytes of padding, once known.
    pub padding: Option<u8>,
    /// Bytes of content still to come.
    pub left: u32,
    pub refused: bool,
}

/// Frames that wait until it is known who the client is.
#[derive(Default)]
pub struct Pending {
    pub items: Vec<Item>,
    pub bytes: Vec<u8>,
    pub frames: usize,
}

pub struct Item {
    pub dir: usize,
    pub now: Now,
    pub what: What,
}

/// What happened to a direction, in order.
#[derive(Clone, Copy)]
pub enum What {
    /// A frame, its payload in the next so many bytes.
    Frame {
        header: Header,
        length: usize,
        refused: bool,
    },
    /// A header block that cannot be decoded.
    Lost {
        header: Option<Header>,
        why: super::meters::Missing,
    },
    Gap,
}

/// The time of what is being handled.
#[derive(Clone, Copy, Default, Debug)]
pub struct Now {
    pub timestamp: Timestamp,
    pub at: Instant,
}

impl Core {
    pub fn new(flow: u64) -> Core {
        Core {
            flow,
            net: None,
            process: None,
            groups: Vec::new(),
            started: false,
            preface: false,
            direct: false,
            opening_lost: false,
            aligned: false,
            client: None,
            failed: false,
            dirs: [Dir::new(), Dir::new()],
            ids: Default::default(),
            own: Own::default(),
            own_bytes: 0,
            max_frame: MAX_FRAME,
            pending: Pending::default(),
            upgrade: super::upgrade::Watch::default(),
            streams_at: Instant(0),
            released: false,
            recent: (0, 0),
        }
    }

    /// Whether either direction was shown to be HTTP/2.
    pub fn proven(&self) -> bool {
        self.dirs.iter().any(|dir| dir.proven)
    }

    /// Whether every stream that either end has opened so far is known.
    pub fn knows_openings(&self) -> bool {
        let upgraded = self.upgrade.requested();
        (self.direct || upgraded)
            && !self.failed
            && !self.opening_lost
            && self.dirs.iter().all(|dir| !dir.gapped && (!dir.late || upgraded))
    }

    /// Bytes that it holds beside its place in the table.
    pub fn capacity(&self) -> usize {
        let of = |dir: &Dir| dir.decoder.capacity() + dir.block.bytes.capacity() + dir.window.capacity();
        let dirs: usize = self.dirs.iter().map(of).sum();
        dirs + self.own_bytes
            + self.groups.capacity()
            + self.ids.iter().map(Ids::capacity).sum::<usize>()
            + self.pending.bytes.capacity()
            + self.pending.items.capacity() * size_of::<Item>()
            + self.upgrade.capacity()
    }
}

impl Dir {
    fn new() -> Dir {
        Dir {
            next: None,
            gapped: false,
            late: false,
            over: false,
            proven: false,
            whole: false,
            begun: false,
            decoder: Decoder::new(),
            table_size: None,
            assembling: None,
            block: Block::default(),
            refused: false,
            data: Data::default(),
            window: Window::new(),
        }
    }
}

/// `dirs` by direction.
pub const TX: usize = 0;
pub const RX: usize = 1;
