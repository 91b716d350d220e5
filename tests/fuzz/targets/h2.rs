//! The whole h2 task: the input says bytes, cuts, directions, gaps and times. Records are JSON of one
//! stream each, gauges end at 0.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tawon::task::record::{Chunk, Direction, FlowEnd};

#[path = "../task.rs"]
mod task;

fuzz_target!(|data: &[u8]| {
    let Some((&first, mut rest)) = data.split_first() else { return };
    let mut run = task::Run::new("h2", &[], first & 1 != 0);
    let mut offsets = [0u64; 2];
    while let Some((&[how, length], after)) = rest.split_first_chunk::<2>() {
        let (bytes, after) = after.split_at(after.len().min(usize::from(length) << (how >> 6)));
        rest = after;
        let side = usize::from(how & 1);
        let gap = if how & 6 == 6 { u64::from(length) } else { 0 };
        offsets[side] += gap;
        let chunk = Chunk {
            flow: Some(u64::from(how >> 3 & 1)),
            direction: if side == 0 { Direction::Tx } else { Direction::Rx },
            offset: offsets[side],
            gap,
            gap_unknown: how & 0x1e == 0x1e,
            start: how & 0x10 != 0,
            end: (bytes.is_empty() && how & 0x20 != 0).then_some(FlowEnd::Fin),
            net: None,
            ..task::chunk(80, false, bytes)
        };
        offsets[side] += bytes.len() as u64;
        run.chunk(if how & 0x38 == 0x38 { 61_000_000_000 } else { 1000 }, chunk);
    }
    for record in run.close() {
        assert!(record.contains("\"streamID\":"), "{record}");
    }
    for gauge in ["h2_streams", "h2_framer_flows", "h2_flower_flows"] {
        assert_eq!(task::METRICS.gauge(gauge).get(), 0, "{gauge}");
    }
});
