//! The connections of one directive run, in a table bounded by number and by bytes. Which is evicted
//! or expires is decided here, and so is what the gauges of the table show.

use super::Shared;
use super::config::Config;
use super::connection::Connection;
use super::core::Now;
use super::fields::Draft;
use super::json;
use super::meters::Meters;
use super::names::Names;
use super::stream::Streams;
use super::trips::How;
use crate::decode::hpack::Scratch;
use crate::flow::seeded::Seeded;
use crate::flow::table::Table;
use crate::pipeline::Next;
use crate::task::Context;
use crate::task::record::Chunk;
use crate::time::Instant;

/// All connections of one directive run.
pub struct Connections {
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

impl Connections {
    pub fn new(config: Config, names: Names, context: &Context) -> Connections {
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

    pub fn chunk(&mut self, chunk: &Chunk<'_>, now: Now, next: &mut Next<'_>) {
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
            None => self.table.insert(flow, Connection::new(flow, now, OPEN), OPEN),
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
        connection.recount(&mut self.held);
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

    pub fn expire(&mut self, now: Instant, next: &mut Next<'_>) {
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
                    connection.recount(&mut self.held);
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
                connection.recount(&mut self.held);
            }
        }
    }

    /// Takes another list of names whose values are not shown. It holds for header blocks decoded from
    /// now on, those that refer to what was inserted before included.
    pub fn redact(&mut self, redacted: &[String]) {
        self.shared.names = Names::new(Some(redacted));
        let names = &self.shared.names;
        for (_, connection) in self.table.iter_mut() {
            for dir in &mut connection.core.dirs {
                dir.decoder.retag(|name| names.tag(name));
            }
        }
    }

    pub fn deadline(&self) -> Option<Instant> {
        (!self.table.is_empty()).then(|| self.expired_at + self.shared.config.expire_interval)
    }

    pub fn close(&mut self, next: &mut Next<'_>) {
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
