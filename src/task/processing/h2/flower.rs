//! The flower: which end of a connection is the client, and what waits until that is known.

use super::core::{Item, What};
use super::ids::Missed;
use super::link::Link;
use super::meters::{Missing, Part};
use super::shape::Role;
use crate::decode::hpack::{self, Decoder};
use crate::decode::http2::{Header, Type, fragment};

impl Link<'_, '_> {
    /// A frame that passed its checks.
    pub fn hand(&mut self, header: &Header, payload: &[u8], refused: bool) {
        if self.core.client.is_none() {
            match self.evidence(header, payload) {
                Some(client) => self.decide(client),
                None if self.core.failed => return self.dismiss(header, payload),
                None => return self.wait(header, payload, refused),
            }
        }
        self.take(header, payload, refused);
    }

    /// A header block cannot be decoded: bytes of it were lost or refused. `header` is that of its
    /// HEADERS frame where that is all that is missing to open the stream.
    pub fn lose_block(&mut self, header: Option<Header>, why: Missing) {
        self.core.opening_lost = true;
        self.happen(What::Lost { header, why });
    }

    /// Framing was lost and found again, or will be. `reset`: the decoder has not been told yet.
    pub fn gap(&mut self, reset: bool) {
        (self.core.dirs[self.dir].gapped, self.core.dirs[self.dir].whole) = (true, false);
        self.core.forget_windows();
        if reset && self.core.dirs[self.dir].begun {
            self.reset_decoder();
        }
        self.happen(What::Gap);
    }

    fn happen(&mut self, what: What) {
        if self.core.client.is_some() || self.core.failed {
            return self.apply(what);
        }
        self.core.pending.items.push(Item { dir: self.dir, now: self.now, what });
    }

    fn apply(&mut self, what: What) {
        match what {
            What::Lost { header, why } => self.block_lost(header, why),
            What::Gap => self.stream_gap(),
            What::Frame { .. } => {}
        }
    }

    /// What a frame tells of who the client is.
    fn evidence(&self, header: &Header, payload: &[u8]) -> Option<usize> {
        match header.kind {
            Type::PUSH_PROMISE => Some(1 - self.dir),
            Type::HEADERS => match hpack::first(fragment(header, payload)?.0)? {
                1..=7 => Some(self.dir),
                8..=14 => Some(1 - self.dir),
                _ => None,
            },
            _ => None,
        }
    }

    /// The client is known: what waited goes on, in order.
    pub fn decide(&mut self, client: usize) {
        self.core.client = Some(client);
        let role = match (self.shared.config.packets, client) {
            (true, _) => Role::Unknown,
            (false, super::core::TX) => Role::Client,
            (false, _) => Role::Server,
        };
        let waited = if self.core.preface { 0 } else { self.core.pending.frames };
        self.shared.meters.connections[role as usize].inc();
        self.shared.meters.direction_buffer[role as usize].observe(waited as f64);
        let upgraded = self.core.upgrade.requested();
        let joined = self.core.failed || !(self.core.preface || self.core.started || upgraded);
        for (side, ids) in self.core.ids.iter_mut().enumerate() {
            let dir = &self.core.dirs[if side == 0 { client } else { 1 - client }];
            if joined {
                ids.miss(Missed::Joined);
            } else if dir.gapped || dir.late && !upgraded {
                ids.miss(Missed::Gap);
            }
        }
        for dir in 0..2 {
            if self.core.dirs[dir].proven {
                self.begin(dir);
            }
        }
        self.upgrade_stream();
        self.replay(false);
    }

    /// Makes a direction's decoder for what is known of its table.
    pub fn begin(&mut self, dir: usize) {
        let upgraded = self.core.upgrade.requested();
        let (preface, started, from_client) =
            (self.core.preface, self.core.started, self.core.preface && self.core.client == Some(dir));
        let this = &mut self.core.dirs[dir];
        if this.begun {
            return;
        }
        this.begun = true;
        let whole = from_client || !this.gapped && (!this.late || upgraded) && (preface || started || upgraded);
        this.whole = whole;
        if !whole {
            this.decoder = Decoder::joined();
            self.shared.meters.resets.inc();
        }
        self.limit_table(dir);
    }

    /// Takes the frame up among those that wait, or gives up waiting.
    fn wait(&mut self, header: &Header, payload: &[u8], refused: bool) {
        let pending = &mut self.core.pending;
        if pending.frames == FRAMES || pending.bytes.len() + header.size() > BYTES {
            self.shared.meters.failed_directions.inc();
            self.core.failed = true;
            for dir in 0..2 {
                if self.core.dirs[dir].proven {
                    self.begin(dir);
                }
            }
            self.replay(true);
            return self.dismiss(header, payload);
        }
        pending.frames += 1;
        pending.bytes.extend_from_slice(payload);
        let what = What::Frame { header: *header, length: payload.len(), refused };
        pending.items.push(Item { dir: self.dir, now: self.now, what });
    }

    /// Handles what waited, as if it came now but for its time.
    pub fn replay(&mut self, dismissed: bool) {
        let pending = std::mem::take(&mut self.core.pending);
        self.core.pending.frames = pending.frames;
        let (dir, now) = (self.dir, self.now);
        let mut bytes = &pending.bytes[..];
        for item in pending.items {
            (self.dir, self.now) = (item.dir, item.now);
            match item.what {
                What::Frame { header, length, refused } => {
                    let (payload, rest) = bytes.split_at(length.min(bytes.len()));
                    bytes = rest;
                    match dismissed {
                        true => self.dismiss(&header, payload),
                        false => self.take(&header, payload, refused),
                    }
                }
                what => self.apply(what),
            }
        }
        (self.dir, self.now) = (dir, now);
    }

    /// The connection ends, or its buffers are given back, before anybody knew who the client is.
    pub fn forget_pending(&mut self) {
        let pending = std::mem::take(&mut self.core.pending);
        for item in &pending.items {
            if let What::Frame { header, .. } = item.what {
                self.shared.meters.frame(header.kind, true);
            }
        }
    }

    /// A frame of a connection whose client is not known: its block is decoded, for those behind it.
    fn dismiss(&mut self, header: &Header, payload: &[u8]) {
        self.shared.meters.frame(header.kind, true);
        self.block_frame(header, payload, true);
    }

    /// The message that header blocks of this direction belong to.
    pub fn part(&self) -> Part {
        match self.core.client {
            None => Part::Unknown,
            Some(client) if client == self.dir => Part::Request,
            Some(_) => Part::Response,
        }
    }

    /// When and for whom the process watched takes part.
    pub fn role(&self) -> Role {
        match (self.shared.config.packets, self.core.client) {
            (false, Some(super::core::TX)) => Role::Client,
            (false, Some(_)) => Role::Server,
            _ => Role::Unknown,
        }
    }

    /// Whether a header block of this direction is being put together; `held`: its first frame is not
    /// whole yet.
    pub fn in_block(&self, held: bool) -> bool {
        let dir = &self.core.dirs[self.dir];
        dir.assembling.is_some_and(|block| !block.lost) || held && !dir.refused
    }
}

/// Frames that may wait.
const FRAMES: usize = 500;
/// Bytes that may wait, frame headers left out.
const BYTES: usize = 256 << 10;
