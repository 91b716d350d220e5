//! Runs a processing task alone over frames, chunks or a capture file, and keeps the records that it
//! adds and what it counts.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use tawon::metrics::Metrics;
use tawon::pipeline::{End, Event, Next, Pipeline, Record, Task, View};
use tawon::task::record::{Chunk, Frame};
use tawon::task::{Build, Context, Kind, Options, Value, find};
use tawon::time::{Instant, Timestamp};

/// One task, with a sink behind it.
pub struct Run {
    pipeline: Pipeline,
    metrics: Arc<Metrics>,
    sink: Rc<RefCell<Vec<(String, String)>>>,
    counter: String,
    pub now: u64,
}

impl Run {
    /// `packets` says that frames come, not chunks.
    pub fn new(task: &str, packets: bool, options: &[(&'static str, Value)]) -> Run {
        let metrics = Arc::new(Metrics::new("").unwrap());
        let context = context(metrics.clone(), packets);
        let sink = Rc::<RefCell<Vec<_>>>::default();
        let tasks: Vec<Box<dyn Task>> = vec![build(task, options, &context).unwrap(), Box::new(Sink(sink.clone()))];
        Run { pipeline: Pipeline::new(tasks), metrics, sink, counter: format!("{task}_parse_total"), now: 1 }
    }

    pub fn frame(&mut self, bytes: &[u8], length: usize, link_type: u16) {
        let record = Given(View::Frame(&Frame { bytes, length: length as u32, link_type }));
        self.event(&record);
    }

    pub fn chunk(&mut self, chunk: &Chunk<'_>) {
        self.event(&Given(View::Chunk(chunk)));
    }

    /// All frames of a pcap file with nanoseconds, as the generators here write them.
    pub fn pcap(&mut self, path: &std::path::Path) {
        let file = std::fs::read(path).unwrap();
        assert_eq!(file[..4], 0xa1b2_3c4d_u32.to_le_bytes());
        let word = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap());
        let (link_type, mut at) = (word(20), 24);
        while at < file.len() {
            let (kept, length) = (word(at + 8) as usize, word(at + 12) as usize);
            self.now = u64::from(word(at)) * 1_000_000_000 + u64::from(word(at + 4));
            self.frame(&file[at + 16..at + 16 + kept], length, link_type as u16);
            at += 16 + kept;
        }
    }

    pub fn tick(&mut self, now: u64) {
        self.now = now;
        self.pipeline.tick(Instant(now));
    }

    pub fn close(&mut self) {
        self.pipeline.close(End::Stopped, Instant(self.now));
    }

    /// The records since this was last asked, as `records`.
    pub fn drain(&mut self) -> Vec<serde_json::Value> {
        let records = self.records();
        self.sink.borrow_mut().clear();
        records
    }

    /// The JSON of every record so far, one per event.
    pub fn json(&self) -> Vec<String> {
        self.sink.borrow().iter().map(|(json, _)| json.clone()).collect()
    }

    pub fn records(&self) -> Vec<serde_json::Value> {
        self.sink.borrow().iter().map(|(json, _)| serde_json::from_str(json).expect(json)).collect()
    }

    /// The readable form of every record so far.
    pub fn text(&self) -> Vec<String> {
        self.sink.borrow().iter().map(|(_, text)| text.clone()).collect()
    }

    /// Counts by status: ok, truncated, malformed, unsupported, not_matching.
    pub fn counts(&self) -> [u64; 5] {
        let family = self.metrics.counters(&self.counter);
        ["ok", "truncated", "malformed", "unsupported", "not_matching"].map(|s| family.with_label_values(&[s]).get())
    }

    /// One value of a counter.
    pub fn count(&self, counter: &str, labels: &[&str]) -> u64 {
        self.metrics.counters(counter).with_label_values(labels).get()
    }

    fn event(&mut self, record: &dyn Record) {
        self.pipeline.event(&Event::new(Timestamp(self.now), Instant(self.now), record));
    }
}

/// Builds a task by its name.
pub fn build(task: &str, options: &[(&'static str, Value)], context: &Context) -> Result<Box<dyn Task>, String> {
    let mut given = Options::default();
    options.iter().for_each(|(name, value)| given.set(name, value.clone()));
    match find(task).unwrap().build {
        Build::Processing(constructor) => constructor(&given, context),
        _ => panic!("{task} is no processing task"),
    }
}

pub fn context(metrics: Arc<Metrics>, packets: bool) -> Context {
    Context { metrics, packets, ..super::replay::context() }
}

/// What a source would have seen.
pub struct Given<'a>(pub View<'a>);

impl Record for Given<'_> {
    fn kind(&self) -> Kind {
        match self.0 {
            View::Frame(_) => Kind::RawPacket,
            _ => Kind::Payload,
        }
    }

    fn json(&self, _: &mut Vec<u8>) {}

    fn text(&self, _: &mut Vec<u8>) {}

    fn view(&self) -> View<'_> {
        self.0
    }
}

/// A destination that writes each record, as JSON and readable, into a buffer that is there, and counts them.
pub struct Writer {
    buffer: Vec<u8>,
    pub records: Rc<Cell<u32>>,
}

impl Writer {
    pub fn new() -> Writer {
        Writer { buffer: Vec::with_capacity(1 << 16), records: Rc::default() }
    }
}

impl Task for Writer {
    fn event(&mut self, event: &Event<'_>, _: &mut Next<'_>) {
        self.buffer.clear();
        event.record.json(&mut self.buffer);
        event.record.text(&mut self.buffer);
        assert!(self.buffer.len() > 50);
        self.records.set(self.records.get() + 1);
    }
}

/// Keeps the JSON and the readable form of the last record of each event.
struct Sink(Rc<RefCell<Vec<(String, String)>>>);

impl Task for Sink {
    fn event(&mut self, event: &Event<'_>, _: &mut Next<'_>) {
        let (mut json, mut text) = (Vec::new(), Vec::new());
        event.record.json(&mut json);
        event.record.text(&mut text);
        self.0.borrow_mut().push((String::from_utf8(json).unwrap(), String::from_utf8(text).unwrap()));
    }
}
