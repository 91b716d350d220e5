//! One processing task over chunks, and the records that it gives.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::sync::Arc;

use tawon::metrics::Metrics;
use tawon::pipeline::{End, Event, Next, Pipeline, Record, Task, View};
use tawon::task::record::{Chunk, Direction, Net};
use tawon::task::{Build, Context, Kind, Options, Value, find};
use tawon::time::{Instant, Timestamp};

/// The records of a task over these pieces of one flow, each checked to be JSON.
pub fn records(task: &str, port: u16, datagram: bool, pieces: &[&[u8]]) -> Vec<String> {
    let mut options = Options::default();
    options.set("ports", Value::Ports(vec![port]));
    options.set("udpPorts", Value::Ports(vec![port]));
    let context = Context {
        tawon_id: "fuzz".into(),
        hostname: "fuzz".into(),
        directive: "fuzz".into(),
        metrics: Arc::new(Metrics::new("").unwrap()),
        redact: Arc::new([]),
        packets: false,
        memory: 1 << 26,
    };
    let Some(Build::Processing(make)) = find(task).map(|spec| spec.build) else { panic!("no task {task}") };
    let kept = Rc::<RefCell<Vec<String>>>::default();
    let mut pipeline = Pipeline::new(vec![make(&options, &context).unwrap(), Box::new(Keep(kept.clone()))]);
    for (seq, bytes) in pieces.iter().enumerate() {
        let chunk = Chunk {
            flow: Some(1),
            direction: Direction::Tx,
            seq: seq as u64,
            offset: 0,
            gap: 0,
            gap_unknown: false,
            bytes,
            length: bytes.len() as u64,
            start: false,
            end: None,
            datagram,
            net: Some(Net {
                local: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
                local_port: port,
                peer: ([127, 0, 0, 1], port).into(),
                proto: if datagram { 17 } else { 6 },
                netns: None,
                packet: false,
            }),
            process: None,
        };
        pipeline.event(&Event::new(Timestamp(1), Instant(1), &Given(&chunk)));
    }
    pipeline.close(End::Stopped, Instant(2));
    kept.take()
}

struct Given<'a>(&'a Chunk<'a>);

impl Record for Given<'_> {
    fn kind(&self) -> Kind {
        Kind::Payload
    }

    fn json(&self, _: &mut Vec<u8>) {}

    fn text(&self, _: &mut Vec<u8>) {}

    fn view(&self) -> View<'_> {
        View::Chunk(self.0)
    }
}

struct Keep(Rc<RefCell<Vec<String>>>);

impl Task for Keep {
    fn event(&mut self, event: &Event<'_>, _: &mut Next<'_>) {
        let (mut json, mut text) = (Vec::new(), Vec::new());
        event.record.json(&mut json);
        event.record.text(&mut text);
        assert!(std::str::from_utf8(&text).is_ok_and(|text| !text.contains('\n')));
        let json = String::from_utf8(json).unwrap();
        assert!(is_json(&json), "{json}");
        self.0.borrow_mut().push(json);
    }
}

/// Whether brackets and quotes close as JSON's do.
fn is_json(text: &str) -> bool {
    let (mut open, mut quoted, mut escaped) = (Vec::new(), false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            0..0x20 => return false,
            _ if quoted => {}
            b'{' => open.push(b'}'),
            b'[' => open.push(b']'),
            b'}' | b']' if open.pop() != Some(byte) => return false,
            _ => {}
        }
    }
    open.is_empty() && !quoted
}
