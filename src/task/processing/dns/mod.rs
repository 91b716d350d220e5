//! `dns`: DNS messages over UDP and TCP, out of frames or payloads; one record per message.

mod dnssec;
mod record;
mod stream;

use hickory_proto::op::Message;

use self::record::Dns;
pub use self::record::schema;
use self::stream::{Found, Messages};
use super::parse::{Counts, Status};
use super::streams::{Streams, When};
use crate::flow::Direction;
use crate::flow::assembler::{Limits, Select};
use crate::flow::seeded::Seeded;
use crate::flow::table::Table;
use crate::pipeline::{End, Event, Next, Task};
use crate::task::record::Chunk;
use crate::task::{Build, Context, Kind, Opt, Options, Spec, Type};
use crate::time::Instant;

pub static SPEC: Spec = Spec {
    name: "dns",
    help: "DNS messages over UDP and TCP, with typed record data.",
    options: &[Opt {
        name: "ports",
        ty: Type::Ports,
        default: "53+5353+5355",
        help: "Ports, at either end, on which DNS, mDNS or LLMNR is spoken.",
    }],
    accepts: &[Kind::Payload, Kind::RawPacket],
    emits: &[Kind::Dns],
    needs_condition: false,
    build: Build::Processing(build),
};

fn build(options: &Options, context: &Context) -> Result<Box<dyn Task>, String> {
    let ports: Box<[u16]> = options.ports("ports").into();
    if ports.is_empty() {
        return Err("`ports` must name at least one port".to_owned());
    }
    let select = Select { tcp: true, udp: true, ports: ports.clone() };
    let evicted = context.metrics.counters("tawon_table_evictions_total").with_label_values(&["dns_streams"]);
    Ok(Box::new(DnsTask {
        streams: Streams::new(context, "dns", select, Limits::default()),
        parser: Parser {
            ports,
            counts: Counts::new(&context.metrics, "tawon_dns_parse_total"),
            open: Table::default(),
            evicted,
        },
    }))
}

struct DnsTask {
    streams: Streams,
    parser: Parser,
}

struct Parser {
    ports: Box<[u16]>,
    counts: Counts,
    /// What TCP streams hold of messages that are not whole, by flow and direction.
    open: Table<(u64, Direction), Messages, 1, Seeded>,
    evicted: prometheus::IntCounter,
}

impl Task for DnsTask {
    fn event(&mut self, event: &Event<'_>, next: &mut Next<'_>) {
        let parser = &mut self.parser;
        self.streams.event(event, &mut |chunk, when| parser.chunk(chunk, when, Some(event), next));
    }

    fn tick(&mut self, now: Instant, next: &mut Next<'_>) {
        let parser = &mut self.parser;
        self.streams.tick(now, &mut |chunk, when| parser.chunk(chunk, when, None, next));
    }

    fn deadline(&self) -> Option<Instant> {
        self.streams.deadline()
    }

    fn close(&mut self, _why: End, now: Instant, next: &mut Next<'_>) {
        let parser = &mut self.parser;
        self.streams.close(now, &mut |chunk, when| parser.chunk(chunk, when, None, next));
        parser.open = Table::default();
    }
}

impl Parser {
    fn chunk(&mut self, chunk: &Chunk<'_>, when: When, event: Option<&Event<'_>>, next: &mut Next<'_>) {
        let speaks = |port: u16| self.ports.contains(&port);
        if !chunk.net.is_some_and(|net| speaks(net.local_port) || speaks(net.peer.port())) {
            return;
        }
        if chunk.datagram {
            if chunk.length > 0 {
                let cut = chunk.length > chunk.bytes.len() as u64;
                message(&self.counts, chunk.bytes, cut, chunk, when, event, next);
            }
            return;
        }
        let Some(flow) = chunk.flow else { return };
        let key = (flow, chunk.direction);
        let id = match self.open.touch(&key) {
            Some(id) => id,
            None if chunk.end.is_some() => return,
            None => {
                if self.open.len() >= STREAMS {
                    self.evicted.inc();
                    self.open.pop_oldest(0);
                }
                self.open.insert(key, Messages::default(), 0)
            }
        };
        let Some(messages) = self.open.at(id) else { return };
        let counts = &self.counts;
        messages.chunk(chunk, &mut |found| match found {
            Found::Whole(bytes) => message(counts, bytes, false, chunk, when, event, next),
            Found::Lost => counts.add(Status::Truncated),
            Found::NotDns => counts.add(Status::NotMatching),
        });
        if chunk.end.is_some() {
            self.open.remove(&key);
        }
    }
}

fn message(
    counts: &Counts,
    bytes: &[u8],
    cut: bool,
    chunk: &Chunk<'_>,
    when: When,
    event: Option<&Event<'_>>,
    next: &mut Next<'_>,
) {
    let parsed = match Message::from_vec(bytes) {
        Ok(parsed) => parsed,
        Err(_) => return counts.add(if cut { Status::Truncated } else { Status::Malformed }),
    };
    counts.add(Status::Ok);
    let header = bytes.get(2..4).map_or(0, |flags| u16::from_be_bytes([flags[0], flags[1]]));
    let record = Dns { message: &parsed, header, ends: chunk.net.map(|net| (net, chunk.direction)) };
    match event {
        Some(event) => next.event(&event.with(&record)),
        None => next.event(&Event::new(when.timestamp, when.at, &record)),
    }
}

/// TCP streams that hold part of a message; each at most 64 KiB.
const STREAMS: usize = 1024;
