//! `h2`: HTTP/2 of any source to round trips, one record per stream. A direction's bytes become frames
//! (framer), the client is told from the server (flower), frames become messages (streamer), and those
//! round trips (trips). What is lost or refused is counted; what cannot be known is told as unknown.
//! State is bounded in connections, streams and bytes; nothing is allocated per frame, header or round
//! trip once the buffers have grown, which are used again.

mod body;
mod config;
mod content;
mod core;
mod fields;
mod flower;
mod framer;
mod ids;
mod json;
mod link;
mod meters;
mod multipart;
mod names;
mod recent;
mod record;
pub mod shape;
mod stream;
mod streamer;
mod trips;
mod upgrade;
mod windows;

pub use record::{Ended, Ends, RoundTrip, schema};
pub use shape::{Reason, Role};

use std::rc::Rc;
use std::sync::Arc;

use self::config::Config;
use self::core::{Core, Now, RX, TX};
use self::fields::Draft;
use self::framer::Framer;
use self::link::Link;
use self::meters::{Meters, Missing};
use self::names::Names;
use self::stream::Streams;
use self::trips::How;
use super::streams;
use crate::decode::hpack::Scratch;
use crate::flow::assembler::{Limits, Select};
use crate::flow::seeded::Seeded;
use crate::flow::table::Table;
use crate::pipeline::{End, Event, Next, Task};
use crate::task::record::{Chunk, Direction, FlowEnd, Net};
use crate::task::{Build, Context, Kind, Options, Spec};
use crate::time::Instant;

pub static SPEC: Spec = Spec {
    name: "h2",
    help: "HTTP/2 and gRPC round trips: requests with their responses, headers and bodies.",
    options: config::OPTIONS,
    accepts: &[Kind::Payload, Kind::TlsPlaintext, Kind::RawPacket],
    emits: &[Kind::H2],
    needs_condition: false,
    build: Build::Processing(build),
};

fn build(options: &Options, context: &Context) -> Result<Box<dyn Task>, String> {
    let config = Config::new(options, context);
    // Packets have to be put in order first, which takes its part of what may be held.
    let parts = if config.packets { 4 } else { usize::MAX };
    let limits = Limits { flows: config.max_flows, bytes: config.memory / parts, ..Limits::default() };
    let flows = streams::Streams::new(context, "h2", Select { udp: false, ..Select::default() }, limits);
    let connections = Connections::new(config, Names::new(config::redacted(options, context)), context);
    Ok(Box::new(H2 { flows, connections, redact_configured: options.words("redact").is_empty() }))
}

/// The task: flows put together, and what is known of their connections.
struct H2 {
    flows: streams::Streams,
    connections: Connections,
    /// Whether the configuration's list says what to redact, not an option of the task.
    redact_configured: bool,
}

impl Task for H2 {
    fn redact(&mut self, names: &Arc<[String]>) {
        if self.redact_configured {
            self.connections.redact(names);
        }
    }

    fn event(&mut self, event: &Event<'_>, next: &mut Next<'_>) {
        self.flows.event(event, &mut |chunk, when| {
            self.connections.chunk(chunk, Now { timestamp: when.timestamp, at: when.at }, next);
        });
    }

    fn tick(&mut self, now: Instant, next: &mut Next<'_>) {
        self.flows.tick(now, &mut |chunk, when| {
            self.connections.chunk(chunk, Now { timestamp: when.timestamp, at: when.at }, next);
        });
        self.connections.expire(now, next);
    }

    fn deadline(&self) -> Option<Instant> {
        self.flows.deadline().into_iter().chain(self.connections.deadline()).min()
    }

    fn close(&mut self, _: End, now: Instant, next: &mut Next<'_>) {
        self.flows.close(now, &mut |chunk, when| {
            self.connections.chunk(chunk, Now { timestamp: when.timestamp, at: when.at }, next);
        });
        self.connections.close(next);
    }
}

/// All connections of one directive run.
struct Connections {
    table: Flows,
    shared: Shared,
    /// Bytes of all connections beside their places in the table.
    held: usize,
    expired_at: Instant,
    /// When idle streamers were last looked for.
    swept_at: Instant,
    /// This task's part in the gauges, which all directives share.
    shown: (i64, i64),
}

type Flows = Table<u64, Connection, LISTS, Seeded>;

/// One flow that is or may be HTTP/2.
struct Connection {
    framers: [Framer; 2],
    core: Core,
    last: Now,
    /// Bytes that `held` has for it.
    counted: usize,
    /// The table's list that it is in.
    list: usize,
}

/// What all connections use.
pub struct Shared {
    config: Config,
    names: Names,
    meters: Meters,
    streams: Streams,
    scratch: Scratch,
    draft: Draft,
    dates: json::Dates,
}

impl Connections {
    fn new(config: Config, names: Names, context: &Context) -> Connections {
        let shared = Shared {
            config,
            names,
            meters: Meters::new(&context.metrics),
            streams: Streams::new(Seeded::new()),
            scratch: Scratch::default(),
            draft: Draft::default(),
            dates: json::Dates::new(),
        };
        Connections {
            table: Flows::with_room(shared.config.max_flows),
            shared,
            held: 0,
            expired_at: Instant(0),
            swept_at: Instant(0),
            shown: (0, 0),
        }
    }

    fn chunk(&mut self, chunk: &Chunk<'_>, now: Now, next: &mut Next<'_>) {
        let meters = &self.shared.meters;
        meters.chunks.inc();
        meters.chunk_size.observe(chunk.bytes.len() as f64);
        let Some(flow) = chunk.flow else { return meters.missing_flow.inc() };
        if chunk.datagram {
            return;
        }
        let id = match self.table.touch(&flow) {
            Some(id) => id,
            None if chunk.bytes.is_empty() => return,
            None => self.table.insert(flow, Connection::new(flow, now), OPEN),
        };
        let Some(connection) = self.table.at(id) else { return };
        let was_idle = connection.last.at != now.at && std::mem::take(&mut connection.core.released);
        connection.last = now;
        let over = connection.chunk(chunk, now, &mut self.shared, next);
        let list = match connection.core.client {
            Some(_) => DECIDED,
            None if was_idle => OPEN,
            None => connection.list,
        };
        let moved = std::mem::replace(&mut connection.list, list) != list;
        let bytes = connection.capacity();
        self.held = self.held + bytes - connection.counted;
        connection.counted = bytes;
        if over {
            self.remove(flow, How::ConnectionClosed, now, next);
        } else if moved {
            self.table.shift(&flow, list);
        }
        self.bound(next);
    }

    /// Evicts what was used longest ago until all bounds hold.
    fn bound(&mut self, next: &mut Next<'_>) {
        let (decided, most) = (self.shared.config.streamer_max_flows, self.shared.config.max_flows);
        while self.table.list_len(DECIDED) > decided.min(most) || self.table.len() > most {
            let list = if self.table.list_len(DECIDED) > decided { DECIDED } else { self.oldest() };
            self.evict(list, next);
        }
        if self.bytes() > self.shared.config.memory {
            self.shared.streams.release();
        }
        while self.bytes() > self.shared.config.memory && !self.table.is_empty() {
            let list = self.oldest();
            self.evict(list, next);
            if self.shared.streams.spare() > SPARE {
                self.shared.streams.release();
            }
        }
    }

    /// Bytes that the task holds.
    fn bytes(&self) -> usize {
        self.held
            + self.table.len() * Flows::ENTRY_BYTES
            + self.shared.streams.spare()
            + self.shared.scratch.capacity()
            + self.shared.draft.capacity()
    }

    /// The list whose oldest connection was used longest ago.
    fn oldest(&self) -> usize {
        let last = |&list: &usize| self.table.oldest(list).map(|(_, connection)| connection.last.at);
        (0..LISTS).filter(|list| last(list).is_some()).min_by_key(last).unwrap_or(OPEN)
    }

    fn evict(&mut self, list: usize, next: &mut Next<'_>) {
        let Some((&flow, connection)) = self.table.oldest(list) else { return };
        let now = connection.last;
        self.shared.meters.table_evictions.inc();
        self.remove(flow, How::Evicted, now, next);
    }

    /// Takes a connection out, telling of what is open.
    fn remove(&mut self, flow: u64, how: How, now: Now, next: &mut Next<'_>) {
        if let Some(connection) = self.table.get_mut(&flow) {
            connection.finish(how, now, &mut self.shared, next);
            self.held -= connection.counted;
        }
        self.table.remove(&flow);
    }

    fn expire(&mut self, now: Instant, next: &mut Next<'_>) {
        if now.since(self.expired_at) < self.shared.config.expire_interval {
            return self.show();
        }
        self.expired_at = now;
        while let Some(index) = self.shared.streams.oldest() {
            let stream = self.shared.streams.at(index);
            if now.since(stream.last_at) < self.shared.config.max_age {
                break;
            }
            let flow = stream.connection;
            match self.table.get_mut(&flow) {
                Some(connection) => connection.timeout(index, &mut self.shared, next),
                None => break,
            }
        }
        for list in [OPEN, DECIDED] {
            while let Some((&flow, connection)) = self.table.oldest(list) {
                if now.since(connection.last.at) < self.shared.config.expire_flows {
                    break;
                }
                let last = connection.last;
                if self.shared.config.packets || !connection.core.proven() {
                    self.remove(flow, How::Timeout, last, next);
                } else if let Some(connection) = self.table.get_mut(&flow) {
                    connection.release(&mut self.shared, next);
                    self.held = self.held + connection.capacity() - connection.counted;
                    connection.counted = connection.capacity();
                    connection.list = IDLE;
                    self.table.shift(&flow, IDLE);
                }
            }
        }
        self.sweep(now, next);
        self.show();
    }

    /// After packets, a connection that only pings loses its streams and tables too. All are looked at,
    /// seldom enough that it costs nothing.
    fn sweep(&mut self, now: Instant, next: &mut Next<'_>) {
        let idle = self.shared.config.streamer_expire;
        if !self.shared.config.packets || now.since(self.swept_at) < idle / 4 {
            return;
        }
        self.swept_at = now;
        for (_, connection) in self.table.iter_mut() {
            if connection.core.client.is_some() && now.since(connection.core.streams_at) >= idle {
                connection.forget_streams(&mut self.shared, next);
                let bytes = connection.capacity();
                self.held = self.held + bytes - connection.counted;
                connection.counted = bytes;
            }
        }
    }

    /// Takes another list of names whose values are not shown. It holds for header blocks decoded from
    /// now on, those that refer to what was inserted before included.
    fn redact(&mut self, redacted: &[String]) {
        self.shared.names = Names::new(Some(redacted));
        let names = &self.shared.names;
        for (_, connection) in self.table.iter_mut() {
            for dir in &mut connection.core.dirs {
                dir.decoder.retag(|name| names.tag(name));
            }
        }
    }

    fn deadline(&self) -> Option<Instant> {
        (!self.table.is_empty()).then(|| self.expired_at + self.shared.config.expire_interval)
    }

    fn close(&mut self, next: &mut Next<'_>) {
        for list in 0..LISTS {
            while let Some((&flow, connection)) = self.table.oldest(list) {
                let last = connection.last;
                self.remove(flow, How::Shutdown, last, next);
            }
        }
        self.show();
    }

    /// Tells of what the gauges and counters have not told yet.
    fn show(&mut self) {
        self.shared.meters.flush();
        let now = (self.table.len() as i64, if self.table.is_empty() { 0 } else { self.bytes() as i64 });
        self.shared.meters.table_entries.add(now.0 - self.shown.0);
        self.shared.meters.table_bytes.add(now.1 - self.shown.1);
        self.shown = now;
    }
}

impl Connection {
    fn new(flow: u64, now: Now) -> Connection {
        let framers = [Framer::new(), Framer::new()];
        Connection { framers, core: Core::new(flow), last: now, counted: 0, list: OPEN }
    }

    /// Handles one chunk; says whether the connection is over.
    fn chunk(&mut self, chunk: &Chunk<'_>, now: Now, shared: &mut Shared, next: &mut Next<'_>) -> bool {
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
    fn finish(&mut self, how: How, now: Now, shared: &mut Shared, next: &mut Next<'_>) {
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
    fn timeout(&mut self, index: u32, shared: &mut Shared, next: &mut Next<'_>) {
        let mut link = Link { core: &mut self.core, shared, next, dir: TX, now: self.last };
        link.close(index, How::Timeout);
    }

    /// Nothing came for long: drops buffers and streams, and keeps what frames to come need.
    fn release(&mut self, shared: &mut Shared, next: &mut Next<'_>) {
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
    fn forget_streams(&mut self, shared: &mut Shared, next: &mut Next<'_>) {
        self.core.streams_at = self.last.at;
        for side in [TX, RX] {
            let mut link = Link { core: &mut self.core, shared, next, dir: side, now: self.last };
            link.close_all(How::Timeout);
            link.forget_table();
        }
    }

    /// Bytes that it holds beside its place in the table.
    fn capacity(&self) -> usize {
        self.core.capacity() + self.framers[0].capacity() + self.framers[1].capacity()
    }
}

impl Drop for Connections {
    /// Gauges that all directives share must not keep what this one had, however it ended.
    fn drop(&mut self) {
        let meters = &self.shared.meters;
        meters.table_entries.sub(self.shown.0);
        meters.table_bytes.sub(self.shown.1);
        meters.streams.add(-(self.shared.streams.len() as i64));
        meters.flush();
        for list in 0..LISTS {
            while let Some((_, connection)) = self.table.pop_oldest(list) {
                let proven = connection.core.dirs.iter().filter(|dir| dir.proven).count() as i64;
                meters.framer_flows.sub(proven);
                meters.flower_flows.sub(i64::from(proven > 0));
            }
        }
    }
}

/// Lists of the table: connections whose client is not known, those whose it is, and idle ones.
const OPEN: usize = 0;
const DECIDED: usize = 1;
const IDLE: usize = 2;
const LISTS: usize = 3;
/// Bytes of unused buffers kept while memory is short.
const SPARE: usize = 1 << 20;
