//! The `dns` task fed by bytes, cuts, gaps and directions: every message leads to a record or a count,
//! and a stream cut in pieces gives what it gives as a whole.
#![no_main]

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use tawon::metrics::Metrics;
use tawon::pipeline::{End, Event, Next, Pipeline, Record, Task, View};
use tawon::task::record::{Chunk, Direction, Net};
use tawon::task::{Build, Context, Kind, Options, Value};
use tawon::time::{Instant, Timestamp};

static METRICS: LazyLock<Arc<Metrics>> = LazyLock::new(|| Arc::new(Metrics::new("").unwrap()));

fuzz_target!(|data: &[u8]| {
    let Some((&[cut, gap, datagram], bytes)) = data.split_first_chunk() else { return };
    if datagram & 1 == 1 {
        run(&[(bytes, 0)], true);
        return;
    }
    let whole = run(&[(bytes, 0)], false);
    let pieces: Vec<(&[u8], u64)> = bytes.chunks(usize::from(cut) + 1).map(|piece| (piece, 0)).collect();
    assert_eq!(whole, run(&pieces, false));
    let lossy: Vec<(&[u8], u64)> =
        pieces.iter().enumerate().map(|(at, (piece, _))| (*piece, if at % 3 == 2 { gap.into() } else { 0 })).collect();
    run(&lossy, false);
});

/// The records of chunks, each behind a gap.
fn run(chunks: &[(&[u8], u64)], datagram: bool) -> Vec<u8> {
    let context = Context {
        tawon_id: "".into(),
        hostname: "".into(),
        directive: "".into(),
        metrics: METRICS.clone(),
        redact: Arc::new([]),
        packets: false,
        memory: 1 << 20,
    };
    let mut options = Options::default();
    options.set("ports", Value::Ports(vec![53]));
    let Build::Processing(make) = tawon::task::find("dns").unwrap().build else { unreachable!() };
    let keep = Keep::default();
    let mut pipeline = Pipeline::new(vec![make(&options, &context).unwrap(), Box::new(keep.clone())]);
    let mut offset = 0;
    for (seq, (bytes, gap)) in chunks.iter().enumerate() {
        offset += gap;
        let chunk = Chunk {
            flow: Some(1),
            direction: Direction::Tx,
            seq: seq as u64,
            offset,
            gap: *gap,
            gap_unknown: false,
            bytes,
            length: bytes.len() as u64,
            start: seq == 0,
            end: None,
            datagram,
            net: Some(Net {
                local: None,
                local_port: 40_000,
                peer: "10.0.0.53:53".parse().unwrap(),
                proto: if datagram { 17 } else { 6 },
                netns: None,
                packet: false,
            }),
            process: None,
        };
        offset += bytes.len() as u64;
        pipeline.event(&Event::new(Timestamp(0), Instant(0), &Payload(chunk)));
    }
    pipeline.close(End::Completed, Instant(0));
    keep.0.take()
}

struct Payload<'a>(Chunk<'a>);

impl Record for Payload<'_> {
    fn kind(&self) -> Kind {
        Kind::Payload
    }

    fn json(&self, _: &mut Vec<u8>) {}

    fn text(&self, _: &mut Vec<u8>) {}

    fn view(&self) -> View<'_> {
        View::Chunk(&self.0)
    }
}

#[derive(Clone, Default)]
struct Keep(Rc<RefCell<Vec<u8>>>);

impl Task for Keep {
    fn event(&mut self, event: &Event<'_>, _: &mut Next<'_>) {
        let mut out = self.0.borrow_mut();
        event.record.json(&mut out);
        event.record.text(&mut out);
        out.push(b'\n');
    }
}
