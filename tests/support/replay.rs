//! Capture files run through a pipeline as `tawon run` does, without the program around it.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use tawon::metrics::Metrics;
use tawon::pipeline::{End, Event, Next, Pipeline, Task};
use tawon::task::source::capture::{Batch, Capture};
use tawon::task::{Build, Context, Kind, Options, Spec, Value};

/// What a task is given in a run over packets.
pub fn context() -> Context {
    Context {
        tawon_id: "test".into(),
        hostname: "test".into(),
        directive: "test".into(),
        metrics: Arc::new(Metrics::new("").unwrap()),
        redact: Arc::new([]),
        packets: true,
        memory: 1 << 30,
    }
}

/// The options of a task with their defaults, and what is set besides.
pub fn options(spec: &'static Spec, set: &[(&'static str, Value)]) -> Options {
    let mut options = Options::default();
    for opt in spec.options {
        if let Some(value) = tawon::config::options::default(opt).unwrap() {
            options.set(opt.name, value);
        }
    }
    for (name, value) in set {
        options.set(name, value.clone());
    }
    options
}

/// A processing task or destination as a configuration would make it.
pub fn task(name: &str, context: &Context, set: &[(&'static str, Value)]) -> Box<dyn Task> {
    let spec = tawon::task::find(name).unwrap();
    let (Build::Processing(make) | Build::Destination(make)) = spec.build else { panic!("{name} is a source") };
    make(&options(spec, set), context).unwrap()
}

/// An event as a destination sees it: its time, and kind, JSON and text of each record.
pub struct Seen {
    pub time: u64,
    pub records: Vec<(&'static str, serde_json::Value, String)>,
}

impl Seen {
    /// The `data` of the record of this type.
    pub fn data(&self, kind: &str) -> &serde_json::Value {
        &self.records.iter().find(|record| record.0 == kind).unwrap_or_else(|| panic!("no {kind}")).1
    }
}

/// A destination that keeps what it gets.
#[derive(Clone, Default)]
pub struct Keep(pub Rc<RefCell<Vec<Seen>>>);

impl Task for Keep {
    fn event(&mut self, event: &Event<'_>, _: &mut Next<'_>) {
        let mut records = Vec::new();
        event.walk(&mut |record| {
            let (mut json, mut text) = (Vec::new(), Vec::new());
            record.json(&mut json);
            record.text(&mut text);
            let json = serde_json::from_slice(&json).unwrap();
            records.push((record.kind().name(), json, String::from_utf8(text).unwrap()));
        });
        self.0.borrow_mut().push(Seen { time: event.timestamp.0, records });
    }
}

/// Holds every record against the schema of its type.
pub fn hold_to_schema(seen: &[Seen]) {
    for (name, kind) in [("rawpacket", Kind::RawPacket), ("headers", Kind::Headers), ("dns", Kind::Dns)] {
        let records: Vec<_> = seen.iter().flat_map(|seen| &seen.records).filter(|record| record.0 == name).collect();
        if records.is_empty() {
            continue;
        }
        let schema = serde_json::Value::from(tawon::task::schema::record(kind).unwrap());
        let schema = jsonschema::draft202012::new(&schema).unwrap();
        for record in records {
            let errors: Vec<String> = schema.iter_errors(&record.1).map(|error| error.to_string()).collect();
            assert!(errors.is_empty(), "{name}: {errors:#?} in {:#}", record.1);
        }
    }
}

/// Runs a file through processing tasks, each with its options, to its end.
pub fn replay(
    path: &std::path::Path,
    set: &[(&'static str, Value)],
    tasks: &[(&str, &[(&'static str, Value)])],
    context: &Context,
) -> Result<Vec<Seen>, String> {
    let mut set = set.to_vec();
    set.push(("file", Value::Text(path.to_str().unwrap().to_owned())));
    let spec = tawon::task::find("capture").unwrap();
    let mut capture = Capture::open(&options(spec, &set), context)?;
    let keep = Keep::default();
    let mut chain: Vec<Box<dyn Task>> = tasks.iter().map(|(name, set)| task(name, context, set)).collect();
    chain.push(Box::new(keep.clone()));
    let mut pipeline = Pipeline::new(chain);
    while capture.batch(1000, &mut pipeline)? == Batch::More {}
    pipeline.close(End::Completed, capture.time().unwrap());
    drop(pipeline);
    let seen = Rc::into_inner(keep.0).unwrap().into_inner();
    hold_to_schema(&seen);
    Ok(seen)
}
