//! One processing task over chunks, with a sink behind it that reads what comes: what targets have in common.

#[path = "../support/chunk.rs"]
mod of_flow;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Arc, LazyLock};

use serde::de::IgnoredAny;
use tawon::metrics::Metrics;
use tawon::pipeline::{End, Event, Next, Pipeline, Record, Task, View};
use tawon::task::record::Chunk;
use tawon::task::{Build, Context, Kind, Options, Value, find};
use tawon::time::{Instant, Timestamp};

/// Of all runs: to register them takes longer than most inputs do.
pub static METRICS: LazyLock<Arc<Metrics>> = LazyLock::new(|| Arc::new(Metrics::new("").unwrap()));

/// A task that is being fed.
pub struct Run {
    pipeline: Pipeline,
    kept: Rc<RefCell<Vec<String>>>,
    now: u64,
}

impl Run {
    /// With the defaults of its options but for these; `packets` says that the chunks are of a capture.
    pub fn new(task: &str, set: &[(&'static str, Value)], packets: bool) -> Run {
        let spec = find(task).unwrap();
        let mut options = Options::default();
        for option in spec.options {
            if let Some(value) = tawon::config::options::default(option).unwrap() {
                options.set(option.name, value);
            }
        }
        set.iter().for_each(|(name, value)| options.set(name, value.clone()));
        let context = Context {
            tawon_id: "fuzz".into(),
            hostname: "fuzz".into(),
            directive: "fuzz".into(),
            metrics: METRICS.clone(),
            redact: Arc::new([]),
            packets,
            memory: 8 << 20,
        };
        let Build::Processing(make) = spec.build else { unreachable!("{task} is a processing task") };
        let kept = Rc::<RefCell<Vec<String>>>::default();
        let pipeline = Pipeline::new(vec![make(&options, &context).unwrap(), Box::new(Keep(kept.clone()))]);
        Run { pipeline, kept, now: 1_000_000_000 }
    }

    /// So many nanoseconds pass, then the chunk comes.
    pub fn chunk(&mut self, after: u64, chunk: Chunk<'_>) {
        self.now += after;
        self.pipeline.event(&Event::new(Timestamp(self.now), Instant(self.now), &Given(chunk)));
        self.pipeline.tick(Instant(self.now));
    }

    /// The records, each JSON.
    pub fn close(mut self) -> Vec<String> {
        self.pipeline.close(End::Stopped, Instant(self.now));
        self.kept.take()
    }
}

/// The records of a task over these datagrams, or pieces of one direction of a stream.
pub fn records(task: &str, port: u16, datagram: bool, pieces: &[&[u8]]) -> Vec<String> {
    let option = if task == "ecpri" { "udpPorts" } else { "ports" };
    let mut run = Run::new(task, &[(option, Value::Ports(vec![port]))], false);
    let mut offset = 0;
    for bytes in pieces {
        run.chunk(0, Chunk { offset, ..chunk(port, datagram, bytes) });
        offset += bytes.len() as u64;
    }
    run.close()
}

/// Bytes of flow 1 to a port, without a gap.
pub fn chunk(port: u16, datagram: bool, bytes: &[u8]) -> Chunk<'_> {
    of_flow::chunk(1, if datagram { 17 } else { 6 }, port, bytes)
}

struct Given<'a>(Chunk<'a>);

impl Record for Given<'_> {
    fn kind(&self) -> Kind {
        Kind::Payload
    }

    fn json(&self, _: &mut Vec<u8>) {}

    fn text(&self, _: &mut Vec<u8>) {}

    fn view(&self) -> View<'_> {
        View::Chunk(&self.0)
    }
}

struct Keep(Rc<RefCell<Vec<String>>>);

impl Task for Keep {
    fn event(&mut self, event: &Event<'_>, _: &mut Next<'_>) {
        let (mut json, mut text) = (Vec::new(), Vec::new());
        event.record.json(&mut json);
        event.record.text(&mut text);
        assert!(std::str::from_utf8(&text).is_ok_and(|text| !text.contains('\n')), "{}", text.escape_ascii());
        let read = serde_json::from_slice::<IgnoredAny>(&json);
        assert!(read.is_ok(), "{read:?} {}", json.escape_ascii());
        self.0.borrow_mut().push(String::from_utf8(json).unwrap());
    }
}
