//! What a record costs on its way out.

use std::sync::Arc;

use tawon::metrics::Metrics;
use tawon::pipeline::{End, Event, Pipeline, Record};
use tawon::task::{self, Build, Context, Kind, Options, Value};
use tawon::time::{Instant, Timestamp};

use crate::support::alloc;

#[test]
fn a_record_is_written_without_allocating_once_warm() {
    // What `log` writes would stand among the tests' output; it shares all but the descriptor with `file`.
    let mut pipeline = destination("file", vec![("path", Value::Text("/dev/null".to_owned()))]);
    let mut clock = 0;
    let mut turn = |pipeline: &mut Pipeline| {
        for _ in 0..2_000 {
            clock += 1_000_000;
            pipeline.event(&Event::new(Timestamp(clock), Instant(clock), &Tick(clock)));
        }
        pipeline.tick(Instant(clock + 1_000_000_000));
        while !pipeline.drained() {
            std::thread::yield_now();
        }
    };
    turn(&mut pipeline);
    assert_eq!(alloc::count(|| (0..10).for_each(|_| turn(&mut pipeline))), 0);
    pipeline.close(End::Stopped, Instant(0));
}

struct Tick(u64);

impl Record for Tick {
    fn kind(&self) -> Kind {
        Kind::Exec
    }

    fn json(&self, out: &mut Vec<u8>) {
        #[derive(serde::Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Data<'a> {
            ts_ns: u64,
            name: &'a str,
        }
        task::record::json_into(&Data { ts_ns: self.0, name: "a process with \"quotes\"" }, out);
    }

    fn text(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"tick");
    }
}

fn destination(name: &str, options: Vec<(&'static str, Value)>) -> Pipeline {
    let Build::Destination(build) = task::find(name).unwrap().build else { panic!("a destination") };
    let mut set = Options::default();
    options.into_iter().for_each(|(name, value)| set.set(name, value));
    let context = Context {
        tawon_id: "node-7".into(),
        hostname: "node-7".into(),
        directive: "a".into(),
        metrics: Arc::new(Metrics::new("").unwrap()),
        redact: Arc::new([]),
        packets: false,
        memory: 1 << 30,
    };
    Pipeline::new(vec![build(&set, &context).unwrap()])
}
