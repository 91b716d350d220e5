//! What a record costs on its way out.

use tawon::pipeline::{End, Event, Pipeline, Record};
use tawon::task::{self, Kind, Value};
use tawon::time::{Instant, Timestamp};

use crate::support::{alloc, replay};

#[test]
fn a_record_is_written_without_allocating_once_warm() {
    // What `log` writes would stand among the tests' output; it shares all but the descriptor with `file`.
    let null = [("path", Value::Text("/dev/null".to_owned()))];
    let mut pipeline = Pipeline::new(vec![replay::task("file", &replay::context(), &null)]);
    let mut clock = 0;
    let mut turn = |pipeline: &mut Pipeline| {
        for _ in 0..2_000 {
            clock += 1_000_000;
            pipeline.event(&Event::new(Timestamp(clock), Instant(clock), &Tick(clock)));
            written(pipeline);
        }
        pipeline.tick(Instant(clock + 1_000_000_000));
        written(pipeline);
    };
    turn(&mut pipeline);
    assert_eq!(alloc::count(|| (0..10).for_each(|_| turn(&mut pipeline))), 0);
    pipeline.close(End::Stopped, Instant(0));
}

/// Waits for the batches handed over: there are as many buffers as batches were ever under way at
/// once, which is the scheduler's to say where nobody waits.
fn written(pipeline: &mut Pipeline) {
    while !pipeline.drained() {
        std::thread::yield_now();
    }
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
