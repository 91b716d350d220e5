//! What a record costs the event loop on its way to a file: envelope, line, batch, hand-over; beside
//! writing the record's own JSON alone.

use std::sync::Arc;
use std::time::Instant as Clock;

use serde::Serialize;
use tawon::metrics::Metrics;
use tawon::pipeline::{End, Event, Pipeline, Record};
use tawon::task::{self, Build, Context, Kind, Options, Value};
use tawon::time::{Instant, Timestamp};

fn main() {
    let rounds = 400_000;
    let mut alone = Vec::new();
    let json = time(rounds, |at| {
        if alone.len() > 60_000 {
            alone.clear();
        }
        Started(at).json(&mut alone);
    });
    let mut pipeline = to_null();
    let path = time(rounds, |at| {
        pipeline.event(&Event::new(Timestamp(at * 1000), Instant(at), &Started(at)));
        while pipeline.congested() {
            std::thread::yield_now();
        }
    });
    pipeline.close(End::Stopped, Instant(0));
    while !pipeline.drained() {
        std::thread::yield_now();
    }
    let (mut written, mut dropped) = (0, 0);
    pipeline.counts(&mut |_, name, count| if name == "written" { written = count } else { dropped = count });
    println!("JSON of a record alone: {json:.0} ns");
    println!("to the writer: {path:.0} ns, {:.2} of that; {written} written, {dropped} dropped", path / json);
}

/// Nanoseconds per round.
fn time(rounds: u64, mut work: impl FnMut(u64)) -> f64 {
    (0..rounds / 10).for_each(&mut work);
    let start = Clock::now();
    (0..rounds).for_each(work);
    start.elapsed().as_nanos() as f64 / rounds as f64
}

fn to_null() -> Pipeline {
    let Build::Destination(build) = task::find("file").expect("a task").build else { panic!("a destination") };
    let mut options = Options::default();
    options.set("path", Value::Text("/dev/null".to_owned()));
    let context = Context {
        tawon_id: "node-7".into(),
        hostname: "node-7".into(),
        directive: "processes".into(),
        metrics: Arc::new(Metrics::new("").expect("no prefix")),
        redact: Arc::new([]),
        packets: false,
        memory: 1 << 30,
    };
    Pipeline::new(vec![build(&options, &context).expect("a device that is there")])
}

struct Started(u64);

impl Record for Started {
    fn kind(&self) -> Kind {
        Kind::Exec
    }

    fn json(&self, out: &mut Vec<u8>) {
        #[derive(Serialize)]
        struct Data<'a> {
            state: &'a str,
            ts_ns: u64,
            pid: u32,
            name: &'a str,
            args: [&'a str; 4],
        }
        let args = ["/usr/bin/env", "-i", "/bin/sh", "-c"];
        task::record::json_into(&Data { state: "started", ts_ns: self.0, pid: 4711, name: "env", args }, out);
    }

    fn text(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"started");
    }
}
