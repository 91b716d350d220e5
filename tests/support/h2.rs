//! The h2 task fed with chunks: frames made by hand in, records and metrics out. After every run the
//! identity of streams and round trips is checked, and at its end that gauges are back at 0.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tawon::metrics::Metrics;
use tawon::pipeline::{End, Event, Next, Task, View};
use tawon::task::processing::h2::shape::H2;
use tawon::task::record::{Chunk, Direction, FlowEnd, Net};
use tawon::task::{Context, Value};
use tawon::time::{Instant, Timestamp};

use super::chunk::chunk;
use super::replay;
use super::tasks::Given;

pub use Direction::{Rx, Tx};

/// The task with a clock of its own. The process watched is the client unless a test sends otherwise.
pub struct Rig {
    pub context: Context,
    task: Box<dyn Task>,
    kept: Vec<Box<dyn Task>>,
    keep: Raw,
    /// Nanoseconds.
    pub now: u64,
    offsets: HashMap<(u64, Direction), u64>,
    /// Bytes per chunk; 0: as they are sent.
    pub cut: usize,
    started: HashMap<u64, bool>,
    emitted: Vec<prometheus::IntCounter>,
    opened: prometheus::IntCounter,
    open: prometheus::IntGauge,
}

/// Keeps the JSON lines of records as they are.
#[derive(Clone, Default)]
pub struct Raw(pub std::rc::Rc<std::cell::RefCell<Vec<Vec<u8>>>>);

impl Task for Raw {
    fn event(&mut self, event: &Event<'_>, _: &mut Next<'_>) {
        event.walk(&mut |record| {
            let mut json = Vec::new();
            record.json(&mut json);
            let mut text = Vec::new();
            record.text(&mut text);
            assert!(!text.is_empty() && !text.contains(&b'\n'));
            self.0.borrow_mut().push(json);
        });
    }
}

impl Rig {
    /// After a source that watches processes.
    pub fn new(set: &[(&'static str, Value)]) -> Rig {
        Rig::with(set, |context| context.packets = false)
    }

    pub fn with(set: &[(&'static str, Value)], change: impl FnOnce(&mut Context)) -> Rig {
        let mut context = Context {
            redact: Arc::new(["authorization".to_owned(), "cookie".to_owned()]),
            metrics: Arc::new(Metrics::new("").unwrap()),
            ..replay::context()
        };
        change(&mut context);
        let keep = Raw::default();
        let emitted = context.metrics.counters("h2_round_trips_emitted");
        let reasons = ["joined", "timeout", "rst_stream", "goaway", "connection_closed", "evicted", "gap", "shutdown"];
        let mut emitted: Vec<_> = reasons.iter().map(|reason| emitted.with_label_values(&["true", reason])).collect();
        emitted.push(context.metrics.counters("h2_round_trips_emitted").with_label_values(&["false", "complete"]));
        Rig {
            emitted,
            opened: context.metrics.counter("tawon_h2_streams_opened_total"),
            open: context.metrics.gauge("h2_streams"),
            task: replay::task("h2", &context, set),
            kept: vec![Box::new(keep.clone())],
            keep,
            context,
            now: 1_000_000_000,
            offsets: HashMap::new(),
            cut: 0,
            started: HashMap::new(),
        }
    }

    /// The flow's start will not have been seen.
    pub fn join(&mut self, flow: u64) {
        self.started.insert(flow, true);
    }

    /// Bytes of flow 1.
    pub fn send(&mut self, direction: Direction, bytes: &[u8]) {
        self.send_on(1, direction, bytes);
    }

    pub fn send_on(&mut self, flow: u64, direction: Direction, bytes: &[u8]) {
        self.now += 1000;
        let size = if self.cut == 0 { bytes.len().max(1) } else { self.cut };
        for piece in bytes.chunks(size) {
            let start = !std::mem::replace(self.started.entry(flow).or_default(), true);
            self.chunk(&Chunk { start, ..self.plain(flow, direction, piece) });
        }
    }

    /// Bytes of flow 1 with `gap` bytes missing before them.
    pub fn send_after_gap(&mut self, direction: Direction, gap: u64, bytes: &[u8]) {
        self.now += 1000;
        *self.offsets.entry((1, direction)).or_default() += gap;
        self.chunk(&Chunk { gap, ..self.plain(1, direction, bytes) });
    }

    pub fn end(&mut self, flow: u64, direction: Direction, end: FlowEnd) {
        self.now += 1000;
        self.chunk(&Chunk { end: Some(end), ..self.plain(flow, direction, &[]) });
    }

    /// A chunk that follows the ones before it.
    pub fn plain<'a>(&self, flow: u64, direction: Direction, bytes: &'a [u8]) -> Chunk<'a> {
        let offset = self.offsets.get(&(flow, direction)).copied().unwrap_or_default();
        let chunk = chunk(flow, 6, 8080, bytes);
        let net = chunk.net.map(|net| Net { packet: self.context.packets, ..net });
        Chunk { direction, offset, net, ..chunk }
    }

    pub fn chunk(&mut self, chunk: &Chunk<'_>) {
        if let Some(flow) = chunk.flow {
            let behind = self.offsets.entry((flow, chunk.direction)).or_default();
            *behind = (*behind).max(chunk.offset + chunk.bytes.len() as u64);
        }
        self.feed(chunk);
        // What is counted is told when time passes.
        self.task.tick(Instant(self.now), &mut Next::new(&mut self.kept));
        self.check();
    }

    /// Hands a chunk to the task and does nothing else.
    pub fn feed(&mut self, chunk: &Chunk<'_>) {
        let record = Given(View::Chunk(chunk));
        let event = Event::new(Timestamp(1_700_000_000_000_000_000 + self.now), Instant(self.now), &record);
        self.task.event(&event, &mut Next::new(&mut self.kept));
    }

    /// Takes note of bytes that were fed.
    pub fn skip(&mut self, flow: u64, direction: Direction, count: usize) {
        *self.offsets.entry((flow, direction)).or_default() += count as u64;
    }

    /// Records go there instead of being kept.
    pub fn replace_destination(&mut self, to: Box<dyn Task>) {
        self.kept = vec![to];
    }

    /// Time passes.
    pub fn pass(&mut self, seconds: f64) {
        self.now += (seconds * 1e9) as u64;
        self.task.tick(Instant(self.now), &mut Next::new(&mut self.kept));
        self.check();
    }

    /// Another list of secrets, as after a reload.
    pub fn redact(&mut self, names: &Arc<[String]>) {
        self.task.redact(names);
    }

    /// The directive ends; the records so far and at the end.
    pub fn close(mut self) -> Vec<H2> {
        self.finish();
        self.records()
    }

    /// The same, the task's end alone.
    pub fn finish(&mut self) {
        self.task.close(End::Stopped, Instant(self.now), &mut Next::new(&mut self.kept));
        self.check();
        for gauge in ["h2_streams", "h2_framer_flows", "h2_flower_flows"] {
            assert_eq!(self.context.metrics.gauge(gauge).get(), 0, "{gauge}");
        }
    }

    /// What was told since this was last asked.
    pub fn records(&mut self) -> Vec<H2> {
        self.lines().iter().map(|line| read(line)).collect()
    }

    pub fn lines(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut *self.keep.0.borrow_mut())
    }

    /// All series of the h2 group that are not 0, by name and labels.
    pub fn series(&self) -> BTreeMap<String, f64> {
        let mut all = BTreeMap::new();
        for family in self.context.metrics.gather() {
            if !family.name().starts_with("h2_") && !family.name().starts_with("tawon_h2_") {
                continue;
            }
            for metric in family.get_metric() {
                let labels: Vec<_> = metric.get_label().iter().map(|label| label.value()).collect();
                let name = format!("{}{{{}}}", family.name(), labels.join(","));
                let value = match family.get_field_type() {
                    prometheus::proto::MetricType::GAUGE => metric.get_gauge().get_value(),
                    prometheus::proto::MetricType::HISTOGRAM => metric.get_histogram().get_sample_count() as f64,
                    _ => metric.get_counter().get_value(),
                };
                if value != 0.0 {
                    all.insert(name.replace("{}", ""), value);
                }
            }
        }
        all
    }

    /// Those of them that say that something was wrong.
    pub fn errors(&self) -> BTreeMap<String, f64> {
        let fine =
            |name: &str| FINE.contains(&name) || ["h2_framer_flows", "h2_flower_flows", "h2_streams"].contains(&name);
        self.series().into_iter().filter(|(name, _)| !fine(name.split('{').next().unwrap())).collect()
    }

    pub fn value(&self, series: &str) -> f64 {
        self.series().get(series).copied().unwrap_or_default()
    }

    /// The identity that holds at any moment.
    fn check(&self) {
        let emitted: u64 = self.emitted.iter().map(|counter| counter.get()).sum();
        assert_eq!(self.opened.get(), emitted + self.open.get() as u64);
    }
}

/// The error counters that moved, as a test states them.
pub fn errors(rig: &Rig) -> Vec<(&'static str, f64)> {
    rig.errors().into_iter().map(|(name, value)| (&*name.leak(), value)).collect()
}

/// A record as its schema describes it.
pub fn read(line: &[u8]) -> H2 {
    serde_json::from_slice(line).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(line)))
}

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH_PROMISE: u8 = 5;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;
pub const END_STREAM: u8 = 1;
pub const ACK: u8 = 1;
pub const END_HEADERS: u8 = 4;
pub const PADDED: u8 = 8;

/// A frame on the wire.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend(payload);
    out
}

/// A header block of literals that are not indexed.
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    encode(fields, 0x00)
}

/// A header block of literals that are inserted.
pub fn indexed(fields: &[(&str, &str)]) -> Vec<u8> {
    encode(fields, 0x40)
}

fn encode(fields: &[(&str, &str)], first: u8) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in fields {
        // The first pseudo-headers by the static table, so that a block tells whose it is.
        match (*name, *value) {
            (":method", "GET") => out.push(0x82),
            (":method", "POST") => out.push(0x83),
            (":scheme", "http") => out.push(0x86),
            (":status", "200") => out.push(0x88),
            (":status", "404") => out.push(0x8d),
            _ => {
                out.push(first);
                for text in [name, value] {
                    integer(&mut out, text.len());
                    out.extend(text.bytes());
                }
            }
        }
    }
    out
}

fn integer(out: &mut Vec<u8>, value: usize) {
    if value < 127 {
        return out.push(value as u8);
    }
    out.push(127);
    let mut rest = value - 127;
    while rest >= 128 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

pub fn headers(stream: u32, flags: u8, fields: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, flags | END_HEADERS, stream, &block(fields))
}

pub fn data(stream: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    frame(DATA, flags, stream, payload)
}

pub const GET: &[(&str, &str)] = &[(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/x")];
pub const POST: &[(&str, &str)] = &[(":method", "POST"), (":scheme", "http"), (":authority", "a"), (":path", "/x")];
pub const OK: &[(&str, &str)] = &[(":status", "200")];

/// What a client and a server begin with.
pub fn client_start() -> Vec<u8> {
    [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()
}

pub fn server_start() -> Vec<u8> {
    [frame(SETTINGS, 0, 0, &[]), frame(SETTINGS, ACK, 0, &[])].concat()
}

impl Rig {
    /// A connection seen from its start, on flow 1.
    pub fn connect(&mut self) {
        self.send(Tx, &client_start());
        self.send(Rx, &server_start());
    }

    /// The same with a whole round trip on stream 1 behind it.
    pub fn ready(&mut self) {
        self.connect();
        self.send(Tx, &headers(1, END_STREAM, GET));
        self.send(Rx, &headers(1, END_STREAM, OK));
        assert_eq!(self.records().len(), 1);
        assert_eq!(self.errors(), BTreeMap::new());
    }
}

/// Counters and histograms that move where nothing is wrong.
pub const FINE: [&str; 9] = [
    "h2_chunks",
    "h2_chunk_size",
    "h2_incoming_frames",
    "h2_connections",
    "h2_conn_dir_buffer",
    "h2_round_trips_emitted",
    "h2_multipart_bodies",
    "h2_content_types",
    "tawon_h2_streams_opened_total",
];
