//! The whole h2 task: the input says bytes, cuts, directions, gaps and times. Records are JSON, each
//! stream is told of once, gauges end at 0.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use tawon::metrics::Metrics;
use tawon::pipeline::{End, Event, Next, Record, Task, View};
use tawon::task::record::{Chunk, Direction, FlowEnd};
use tawon::task::{Build, Context, Kind, Options, find};
use tawon::time::{Instant, Timestamp};

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

/// A destination that reads what it gets.
struct Read(Vec<u8>);

impl Task for Read {
    fn event(&mut self, event: &Event<'_>, _: &mut Next<'_>) {
        event.walk(&mut |record| {
            self.0.clear();
            record.json(&mut self.0);
            let value: serde_json::Value = serde_json::from_slice(&self.0).expect("a record is JSON");
            assert!(value["streamID"].is_u64());
        });
    }
}

fuzz_target!(|data: &[u8]| {
    let metrics = Arc::new(Metrics::new("").unwrap());
    let Some((&first, mut rest)) = data.split_first() else { return };
    let context = Context {
        tawon_id: "fuzz".into(),
        hostname: "fuzz".into(),
        directive: "fuzz".into(),
        metrics: metrics.clone(),
        redact: Arc::new([]),
        packets: first & 1 != 0,
        memory: 8 << 20,
    };
    let spec = find("h2").unwrap();
    let mut options = Options::default();
    for option in spec.options {
        if let Some(value) = tawon::config::options::default(option).unwrap() {
            options.set(option.name, value);
        }
    }
    let Build::Processing(make) = spec.build else { unreachable!() };
    let mut task = make(&options, &context).unwrap();
    let mut kept: Vec<Box<dyn Task>> = vec![Box::new(Read(Vec::new()))];
    let (mut now, mut offsets) = (1_000_000_000u64, [0u64; 2]);
    while let Some((&[how, length], after)) = rest.split_first_chunk::<2>() {
        let (bytes, after) = after.split_at(after.len().min(usize::from(length) << (how >> 6)));
        rest = after;
        let side = usize::from(how & 1);
        let gap = if how & 6 == 6 { u64::from(length) } else { 0 };
        offsets[side] += gap;
        now += if how & 0x38 == 0x38 { 61_000_000_000 } else { 1000 };
        let chunk = Chunk {
            flow: Some(u64::from(how >> 3 & 1)),
            direction: if side == 0 { Direction::Tx } else { Direction::Rx },
            seq: 0,
            offset: offsets[side],
            gap,
            gap_unknown: how & 0x1e == 0x1e,
            bytes,
            length: bytes.len() as u64,
            start: how & 0x10 != 0,
            end: (bytes.is_empty() && how & 0x20 != 0).then_some(FlowEnd::Fin),
            datagram: false,
            net: None,
            process: None,
        };
        offsets[side] += bytes.len() as u64;
        let record = Given(chunk);
        task.event(&Event::new(Timestamp(now), Instant(now), &record), &mut Next::new(&mut kept));
        task.tick(Instant(now), &mut Next::new(&mut kept));
    }
    task.close(End::Stopped, Instant(now), &mut Next::new(&mut kept));
    for gauge in ["h2_streams", "h2_framer_flows", "h2_flower_flows"] {
        assert_eq!(metrics.gauge(gauge).get(), 0, "{gauge}");
    }
});
