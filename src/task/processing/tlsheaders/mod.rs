//! `tlsheaders`: what TLS and DTLS say in the clear: hellos with their fingerprints, certificates
//! before TLS 1.3, alerts. One record per handshake message and alert; a direction is left alone
//! after its first application data. Nothing is decrypted.

mod certificate;
mod datagrams;
mod record;
mod stream;

use prometheus::{IntCounter, IntGauge};

use self::datagrams::Datagrams;
use self::record::{Body, TlsHeaders};
use self::stream::Stream;
use super::parse::{Counts, Status};
use crate::decode::tls::{Alert, Certificates, ClientHello, Handshake, ServerHello, content, fingerprint, handshake};
use crate::flow::table::Table;
use crate::pipeline::{End, Event, Next, Task};
use crate::task::record::{Chunk, Direction};
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
    Ok(Box::new(TlsTask::new(context)))
}

/// What a direction gives, in order.
enum Found<'a> {
    Handshake { version: u16, handshake: Handshake<'a>, datagram: bool },
    Alert { version: u16, alert: Alert },
    Wrong(Status),
}

struct TlsTask {
    flows: Table<u64, Flow>,
    /// Bytes that all flows keep of unfinished records and messages.
    held: usize,
    output: Output,
    entries: IntGauge,
    bytes: IntGauge,
    evictions: IntCounter,
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
    packets: bool,
    /// Room for sorting code points.
    scratch: Vec<u16>,
}

impl TlsTask {
    fn new(context: &Context) -> TlsTask {
        let of_table = ["tlsheaders"];
        TlsTask {
            flows: Table::default(),
            held: 0,
            output: Output {
                counts: Counts::new(&context.metrics, "tlsheaders_parse_total"),
                packets: context.packets,
                scratch: Vec::new(),
            },
            entries: context.metrics.gauges("tawon_table_entries").with_label_values(&of_table),
            bytes: context.metrics.gauges("tawon_table_bytes").with_label_values(&of_table),
            evictions: context.metrics.counters("tawon_table_evictions_total").with_label_values(&of_table),
        }
    }

    fn chunk(&mut self, event: &Event<'_>, chunk: &Chunk<'_>, next: &mut Next<'_>) {
        let Some(id) = chunk.flow else {
            // Without a flow nothing ties chunks together: each stands for itself.
            let mut flow = Flow::new(chunk.datagram);
            self.output.feed(&mut flow, event, chunk, next);
            return flow.close(&mut |status| self.output.counts.add(status));
        };
        if self.flows.get(&id).is_none() {
            if chunk.end.is_some() || (chunk.bytes.is_empty() && chunk.gap == 0 && !chunk.gap_unknown) {
                return;
            }
            self.flows.insert(id, Flow::new(chunk.datagram), 0);
        }
        let Some(flow) = self.flows.touch(&id) else { return };
        let before = flow.held();
        self.output.feed(flow, event, chunk, next);
        self.held = self.held + flow.held() - before;
        let over = chunk.end.is_some() && flow.ended(chunk.direction);
        if over {
            self.remove(id);
        }
        while self.flows.len() > MAX_FLOWS || self.held > MAX_HELD {
            let Some((_, mut flow)) = self.flows.pop_oldest(0) else { break };
            self.held -= flow.held();
            flow.close(&mut |status| self.output.counts.add(status));
            self.evictions.inc();
        }
    }

    fn remove(&mut self, id: u64) {
        if let Some(mut flow) = self.flows.remove(&id) {
            self.held -= flow.held();
            flow.close(&mut |status| self.output.counts.add(status));
        }
    }

    fn show(&self) {
        self.entries.set(self.flows.len() as i64);
        self.bytes.set((self.flows.len() * Table::<u64, Flow>::ENTRY_BYTES + self.held) as i64);
    }
}

impl Task for TlsTask {
    fn event(&mut self, event: &Event<'_>, next: &mut Next<'_>) {
        if let Some(chunk) = event.chunk() {
            self.chunk(event, chunk, next);
        }
    }

    fn tick(&mut self, _now: Instant, _next: &mut Next<'_>) {
        self.show();
    }

    fn close(&mut self, _why: End, _now: Instant, _next: &mut Next<'_>) {
        while let Some((_, mut flow)) = self.flows.pop_oldest(0) {
            flow.close(&mut |status| self.output.counts.add(status));
        }
        self.held = 0;
        self.show();
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
    fn feed(&mut self, flow: &mut Flow, event: &Event<'_>, chunk: &Chunk<'_>, next: &mut Next<'_>) {
        let mut other_protocol = false;
        let mut each = |found: Found<'_>| {
            other_protocol |= matches!(found, Found::Wrong(Status::NotMatching));
            self.found(found, event, chunk, next);
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

    fn found(&mut self, found: Found<'_>, event: &Event<'_>, chunk: &Chunk<'_>, next: &mut Next<'_>) {
        let (content_type, version, handshake_type, body) = match found {
            Found::Wrong(status) => return self.counts.add(status),
            Found::Alert { version, alert } => (content::ALERT, version, None, Ok(Body::Alert(alert))),
            Found::Handshake { version, handshake, datagram } => {
                let body = self.body(&handshake, datagram);
                (content::HANDSHAKE, version, Some(handshake.handshake_type), body)
            }
        };
        let Ok(body) = body else { return self.counts.add(Status::Malformed) };
        self.counts.add(Status::Ok);
        let ends = chunk.net.filter(|_| self.packets).map(|net| (net, chunk.direction));
        next.event(&event.with(&TlsHeaders { content_type, version, handshake_type, body, ends }));
    }

    fn body<'a>(&mut self, message: &Handshake<'a>, datagram: bool) -> Result<Body<'a>, crate::decode::Error> {
        Ok(match message.handshake_type {
            handshake::CLIENT_HELLO => {
                let hello = ClientHello::read(message.body, datagram)?;
                let (ja3, ja4) = (fingerprint::ja3(&hello), fingerprint::ja4(&hello, &mut self.scratch));
                Body::ClientHello { hello, ja3, ja4 }
            }
            handshake::SERVER_HELLO => {
                let hello = ServerHello::read(message.body)?;
                Body::ServerHello { hello, ja3s: fingerprint::ja3s(&hello) }
            }
            handshake::CERTIFICATE => Body::Certificates(Certificates::read(message.body)?),
            _ => Body::None,
        })
    }
}

/// Flows that are remembered.
const MAX_FLOWS: usize = 1 << 16;
/// Bytes of unfinished records and messages that all flows together may keep.
const MAX_HELD: usize = 64 << 20;
