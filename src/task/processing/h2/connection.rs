//! One connection: chunks of its flow are put in their place behind one another and framed; what it
//! holds is dropped when it is idle, and told of when it ends.

use std::rc::Rc;

use super::Shared;
use super::core::{Core, Now, RX, TX};
use super::framer::Framer;
use super::link::Link;
use super::meters::Missing;
use super::trips::How;
use crate::pipeline::Next;
use crate::task::record::{Chunk, Direction, FlowEnd, Net};

/// One flow that is or may be HTTP/2.
pub struct Connection {
    framers: [Framer; 2],
    pub core: Core,
    pub last: Now,
    /// Bytes of it in `Connections::held`.
    pub counted: usize,
    /// The table's list that it is in.
    pub list: usize,
}

impl Connection {
    /// A flow of which nothing is known, in that list of the table.
    pub fn new(flow: u64, now: Now, list: usize) -> Connection {
        let framers = [Framer::new(), Framer::new()];
        Connection { framers, core: Core::new(flow), last: now, counted: 0, list }
    }

    /// Handles one chunk; says whether the connection is over.
    pub fn chunk(&mut self, chunk: &Chunk<'_>, now: Now, shared: &mut Shared, next: &mut Next<'_>) -> bool {
        self.core.judge_windows(now.at, false, &shared.meters);
        let side = match chunk.direction {
            Direction::Tx => TX,
            Direction::Rx => RX,
        };
        self.describe(chunk, shared);
        let Connection { framers, core, .. } = self;
        core.started |= chunk.start;
        let mut bytes = chunk.bytes;
        let mut missing = None;
        let dir = &mut core.dirs[side];
        match dir.next {
            None => dir.gapped = chunk.offset > 0 || chunk.gap > 0 || chunk.gap_unknown,
            Some(expected) if chunk.offset < expected && !chunk.gap_unknown => {
                shared.meters.out_of_order.inc();
                let known = (expected - chunk.offset).min(bytes.len() as u64) as usize;
                bytes = bytes.get(known..).unwrap_or_default();
            }
            Some(_) if chunk.gap_unknown => missing = Some(None),
            Some(expected) => {
                let count = (chunk.offset - expected).max(chunk.gap);
                missing = (count > 0).then_some(Some(count));
            }
        }
        let end = chunk.offset.saturating_add(chunk.bytes.len() as u64);
        dir.next = Some(if chunk.gap_unknown { end } else { dir.next.map_or(end, |next| next.max(end)) });
        let aligned = core.aligned;
        let limit = shared.config.frame_buffer;
        if missing.is_some() && !core.dirs[side].proven {
            core.dirs[side].gapped = true;
            core.upgrade.gap();
        }
        if !core.dirs[side].proven {
            core.upgrade.push(side, bytes);
        }
        let mut link = Link { core, shared, next, dir: side, now };
        if let Some(count) = missing {
            framers[side].gap(count, &mut link);
        }
        framers[side].push(bytes, aligned, limit, &mut link);
        match chunk.end {
            None => false,
            Some(FlowEnd::Fin) => {
                core.dirs[side].over = true;
                core.dirs.iter().all(|dir| dir.over)
            }
            Some(_) => true,
        }
    }

    /// Keeps who talks to whom, and for which process.
    fn describe(&mut self, chunk: &Chunk<'_>, shared: &Shared) {
        let core = &mut self.core;
        // A flow of packets is one by its ends.
        let is_new = |net: &Net| !net.packet || core.net.is_none();
        if chunk.net.as_ref().is_some_and(is_new) && core.net != chunk.net {
            core.net = chunk.net;
            core.groups.clear();
            let ports = &shared.config.ports;
            core.aligned =
                chunk.net.is_some_and(|net| ports.contains(&net.local_port) || ports.contains(&net.peer.port()));
        }
        if let Some((process, meta)) = chunk.process
            && !core.process.as_ref().is_some_and(|(known, with)| Rc::ptr_eq(known, process) && *with == meta)
        {
            core.process = Some((process.clone(), meta));
            core.groups.clear();
        }
    }

    /// Ends it: nothing more will come.
    pub fn finish(&mut self, how: How, now: Now, shared: &mut Shared, next: &mut Next<'_>) {
        let Connection { framers, core, .. } = self;
        for side in [TX, RX] {
            let mut link = Link { core: &mut *core, shared: &mut *shared, next: &mut *next, dir: side, now };
            if how == How::Evicted && link.in_block(framers[side].holds_block()) {
                link.shared.meters.missing(link.part(), Missing::Evicted);
            }
            if side == TX {
                link.forget_pending();
                link.close_all(how);
            }
            if core.dirs[side].proven {
                shared.meters.framer_flows.dec();
            }
        }
        if core.proven() {
            shared.meters.flower_flows.dec();
        }
        core.judge_windows(now.at, how == How::ConnectionClosed, &shared.meters);
    }

    /// A stream of it had no frame for too long.
    pub fn timeout(&mut self, index: u32, shared: &mut Shared, next: &mut Next<'_>) {
        let mut link = Link { core: &mut self.core, shared, next, dir: TX, now: self.last };
        link.close(index, How::Timeout);
    }

    /// Nothing came for long: drops buffers and streams, and keeps what frames to come need.
    pub fn release(&mut self, shared: &mut Shared, next: &mut Next<'_>) {
        let Connection { framers, core, last, .. } = self;
        for side in [TX, RX] {
            let mut link = Link { core: &mut *core, shared: &mut *shared, next: &mut *next, dir: side, now: *last };
            link.close_all(How::Timeout);
            framers[side].release(&mut link);
            link.forget_pending();
        }
        core.groups = Vec::new();
        core.released = true;
    }

    /// No frame of a stream came for long: forgets what streams need.
    pub fn forget_streams(&mut self, shared: &mut Shared, next: &mut Next<'_>) {
        self.core.streams_at = self.last.at;
        for side in [TX, RX] {
            let mut link = Link { core: &mut self.core, shared, next, dir: side, now: self.last };
            link.close_all(How::Timeout);
            link.forget_table();
        }
    }

    /// Puts the bytes that it holds now in the place of those that were counted.
    pub fn recount(&mut self, held: &mut usize) {
        let bytes = self.capacity();
        *held = *held + bytes - self.counted;
        self.counted = bytes;
    }

    /// Bytes that it holds beside its place in the table.
    fn capacity(&self) -> usize {
        self.core.capacity() + self.framers[0].capacity() + self.framers[1].capacity()
    }
}
