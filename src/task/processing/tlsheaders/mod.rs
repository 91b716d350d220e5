//! `tlsheaders`: what TLS and DTLS say in the clear: hellos with their fingerprints, certificates
//! before TLS 1.3, alerts. One record per handshake message and alert; a direction is left alone
//! after its first application data. Nothing is decrypted.

mod certificate;
mod datagrams;
mod fingerprints;
mod record;
mod schema;
mod stream;

use prometheus::{IntCounter, IntGauge};

use self::datagrams::Datagrams;
use self::fingerprints::Fingerprints;
use self::record::{Body, TlsHeaders};
pub use self::schema::schema;
use self::stream::Stream;
use super::parse::{Counts, Status};
use super::streams::{Streams, When};
use crate::decode::Error;
use crate::decode::tls::{Alert, Certificates, ClientHello, Handshake, ServerHello, content, handshake};
use crate::flow::assembler::{Limits, Select};
use crate::flow::seeded::Seeded;
use crate::flow::table::{Id, Table};
use crate::pipeline::{End, Event, Next, Task};
use crate::task::record::{Chunk, Direction, Net};
use crate::task::{Build, Context, Kind, Options, Spec};
use crate::time::Instant;

pub static SPEC: Spec = Spec {
    name: "tlsheaders",
    help: "TLS and DTLS hellos with JA3, JA3S and JA4, alerts, and certificates that travel in the clear.",
    options: &[],
    accepts: &[Kind::Payload, Kind::RawPacket],
    emits: &[Kind::TlsHeaders],
    needs_condition: false,
    build: Build::Processing(build),
};

fn build(_: &Options, context: &Context) -> Result<Box<dyn Task>, String> {
    let limits = Limits { bytes: Limits::default().bytes.min(context.memory as usize / 2), ..Limits::default() };
    let streams = Streams::new(context, "tlsheaders", Select::default(), limits);
    Ok(Box::new(TlsTask { streams, flows: Flows::new(context) }))
}

/// What a direction gives, in order.
enum Found<'a> {
    Handshake { version: u16, handshake: Handshake<'a>, datagram: bool },
    Alert { version: u16, alert: Alert },
    Wrong(Status),
}

struct TlsTask {
    streams: Streams,
    flows: Flows,
}

/// What is known of each flow, bounded in number and in bytes.
struct Flows {
    table: Table<u64, Flow, 1, Seeded>,
    /// That of the last chunk: the next is often of the same.
    last: Id,
    /// Bytes that all flows keep of unfinished records and messages.
    held: usize,
    max_held: usize,
    output: Output,
    entries: IntGauge,
    bytes: IntGauge,
    evictions: IntCounter,
    /// This task's part in the gauges, which all directives share.
    shown: (i64, i64),
}

/// One connection or association. `Tx` first.
enum Flow {
    Stream([Stream; 2]),
    Datagrams([Datagrams; 2]),
    /// Told once that it is not TLS, or nothing more is to be seen.
    Over,
}

/// Where what was found goes.
struct Output {
    counts: Counts,
    fingerprints: Fingerprints,
}

impl Task for TlsTask {
    fn event(&mut self, event: &Event<'_>, next: &mut Next<'_>) {
        let flows = &mut self.flows;
        self.streams.event(event, &mut |chunk, _| flows.chunk(event, chunk, next));
    }

    fn tick(&mut self, now: Instant, next: &mut Next<'_>) {
        let flows = &mut self.flows;
        self.streams.tick(now, &mut |chunk, when| flows.late(chunk, when, next));
        flows.show();
    }

    fn deadline(&self) -> Option<Instant> {
        self.streams.deadline()
    }

    fn close(&mut self, _why: End, now: Instant, next: &mut Next<'_>) {
        let flows = &mut self.flows;
        self.streams.close(now, &mut |chunk, when| flows.late(chunk, when, next));
        while flows.evict() {}
        flows.show();
    }
}

impl Flows {
    fn new(context: &Context) -> Flows {
        let of_table = ["tlsheaders"];
        Flows {
            table: Table::with_room(MAX_FLOWS),
            last: Id::NOWHERE,
            held: 0,
            max_held: MAX_HELD.min(context.memory as usize / 4),
            output: Output {
                counts: Counts::new(&context.metrics, "tlsheaders_parse_total"),
                fingerprints: Fingerprints::new(),
            },
            entries: context.metrics.gauges("tawon_table_entries").with_label_values(&of_table),
            bytes: context.metrics.gauges("tawon_table_bytes").with_label_values(&of_table),
            evictions: context.metrics.counters("tawon_table_evictions_total").with_label_values(&of_table),
            shown: (0, 0),
        }
    }

    fn chunk(&mut self, event: &Event<'_>, chunk: &Chunk<'_>, next: &mut Next<'_>) {
        self.take(chunk, None, &mut |record| next.event(&event.with(record)));
    }

    /// What comes without a frame of its own, since a gap was waited for in vain.
    fn late(&mut self, chunk: &Chunk<'_>, when: When, next: &mut Next<'_>) {
        let ends = chunk.net.map(|net| (net, chunk.direction));
        self.take(chunk, ends, &mut |record| next.event(&Event::new(when.timestamp, when.at, record)));
    }

    fn take(&mut self, chunk: &Chunk<'_>, ends: Option<(Net, Direction)>, pass: &mut dyn FnMut(&TlsHeaders<'_>)) {
        let Some(id) = chunk.flow else {
            // Without a flow nothing ties chunks together: each stands for itself.
            let mut flow = Flow::new(chunk.datagram);
            self.output.feed(&mut flow, chunk, ends, pass);
            return flow.close(&mut |status| self.output.counts.add(status));
        };
        let at = match self.table.touch_guess(&id, self.last) {
            Some(at) => at,
            None if chunk.end.is_some() || chunk.length == 0 && chunk.gap == 0 && !chunk.gap_unknown => return,
            None => self.table.insert(id, Flow::new(chunk.datagram), 0),
        };
        self.last = at;
        let Some(flow) = self.table.at(at) else { return };
        let before = flow.held();
        self.output.feed(flow, chunk, ends, pass);
        let ended = chunk.end.is_some() && flow.ended(chunk.direction);
        self.held = self.held + flow.held() - before;
        if ended {
            self.table.remove(&id);
        }
        while (self.table.len() > MAX_FLOWS || self.held > self.max_held) && self.evict() {
            self.evictions.inc();
        }
    }

    /// Forgets the flow used least recently; false where there is none.
    fn evict(&mut self) -> bool {
        let Some((_, mut flow)) = self.table.pop_oldest(0) else { return false };
        self.held -= flow.held();
        flow.close(&mut |status| self.output.counts.add(status));
        true
    }

    fn show(&mut self) {
        let bytes = self.table.len() * Table::<u64, Flow, 1, Seeded>::ENTRY_BYTES + self.held;
        let now = (self.table.len() as i64, bytes as i64);
        self.entries.add(now.0 - self.shown.0);
        self.bytes.add(now.1 - self.shown.1);
        self.shown = now;
    }
}

impl Flow {
    fn new(datagram: bool) -> Flow {
        if datagram { Flow::Datagrams(Default::default()) } else { Flow::Stream(Default::default()) }
    }

    fn held(&self) -> usize {
        match self {
            Flow::Stream(directions) => directions.iter().map(Stream::held).sum(),
            Flow::Datagrams(directions) => directions.iter().map(Datagrams::held).sum(),
            Flow::Over => 0,
        }
    }

    /// A direction has ended; whether none is left.
    fn ended(&mut self, direction: Direction) -> bool {
        match self {
            Flow::Stream(directions) => {
                directions[direction as usize].done();
                directions.iter().all(Stream::is_done)
            }
            Flow::Datagrams(_) | Flow::Over => true,
        }
    }

    fn close(&mut self, wrong: &mut dyn FnMut(Status)) {
        let mut each = |found: Found<'_>| {
            if let Found::Wrong(status) = found {
                wrong(status);
            }
        };
        match self {
            Flow::Stream(directions) => directions.iter_mut().for_each(|stream| stream.cut(&mut each)),
            Flow::Datagrams(directions) => directions.iter_mut().for_each(|datagrams| datagrams.close(&mut each)),
            Flow::Over => {}
        }
        *self = Flow::Over;
    }
}

impl Output {
    fn feed(
        &mut self,
        flow: &mut Flow,
        chunk: &Chunk<'_>,
        ends: Option<(Net, Direction)>,
        pass: &mut dyn FnMut(&TlsHeaders<'_>),
    ) {
        let mut other_protocol = false;
        let mut each = |found: Found<'_>| {
            other_protocol |= matches!(found, Found::Wrong(Status::NotMatching));
            self.found(found, ends, pass);
        };
        let cut = chunk.length > chunk.bytes.len() as u64;
        let over = match flow {
            Flow::Stream(directions) => {
                let stream = &mut directions[chunk.direction as usize];
                if chunk.gap > 0 || chunk.gap_unknown {
                    stream.cut(&mut each);
                }
                stream.bytes(chunk.bytes, &mut each);
                if cut || chunk.end.is_some() {
                    stream.cut(&mut each);
                }
                directions.iter().all(Stream::is_done)
            }
            Flow::Datagrams(directions) => {
                let datagrams = &mut directions[chunk.direction as usize];
                if !chunk.bytes.is_empty() {
                    datagrams.datagram(chunk.bytes, cut, &mut each);
                }
                directions.iter().all(Datagrams::is_done)
            }
            Flow::Over => return,
        };
        if other_protocol || over {
            *flow = Flow::Over;
        }
    }

    fn found(&mut self, found: Found<'_>, ends: Option<(Net, Direction)>, pass: &mut dyn FnMut(&TlsHeaders<'_>)) {
        let Output { counts, fingerprints } = self;
        let (content_type, version, handshake_type, body) = match found {
            Found::Wrong(status) => return counts.add(status),
            Found::Alert { version, alert } => (content::ALERT, version, None, Ok(Body::Alert(alert))),
            Found::Handshake { version, handshake, datagram } => {
                let body = body(&handshake, datagram, fingerprints);
                (content::HANDSHAKE, version, Some(handshake.handshake_type), body)
            }
        };
        let Ok(body) = body else { return counts.add(Status::Malformed) };
        counts.add(Status::Ok);
        pass(&TlsHeaders { content_type, version, handshake_type, body, ends });
    }
}

fn body<'a>(message: &Handshake<'a>, datagram: bool, fingerprints: &'a mut Fingerprints) -> Result<Body<'a>, Error> {
    Ok(match message.handshake_type {
        handshake::CLIENT_HELLO => {
            let hello = ClientHello::read(message.body, datagram)?;
            Body::ClientHello(hello, fingerprints.of_client(&hello))
        }
        handshake::SERVER_HELLO => {
            let hello = ServerHello::read(message.body)?;
            Body::ServerHello(hello, fingerprints.of_server(&hello))
        }
        handshake::CERTIFICATE => Body::Certificates(Certificates::read(message.body)?),
        _ => Body::None,
    })
}

/// Flows that are remembered.
const MAX_FLOWS: usize = 1 << 16;
/// Bytes of unfinished records and messages that all flows together may keep.
const MAX_HELD: usize = 64 << 20;
