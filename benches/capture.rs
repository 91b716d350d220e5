//! What packets cost: nanoseconds per frame of each step, and the offline pipeline beside tshark on the
//! same file in the same run. `cargo bench --bench capture`; prints, asserts nothing.

#[path = "../tests/support/packets.rs"]
mod packets;

use std::hint::black_box;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use packets::{ACK, Random, SYN};
use tawon::decode::layers::Layers;
use tawon::flow::assembler::{Assembler, Limits, Select};
use tawon::metrics::Metrics;
use tawon::pipeline::{Event, Next, Pipeline, Record, Task};
use tawon::task::record::Frame;
use tawon::task::source::capture::file::Reader;
use tawon::task::source::capture::record::{Interface, RawPacket};
use tawon::task::{Build, Context, Options, Value};
use tawon::time::Timestamp;

fn main() {
    let segments = segments(64, 400);
    let answers: Vec<Vec<u8>> = (0..1000).map(dns_answer).collect();
    println!("one frame of                                       ns");
    layers(&segments);
    reassembly(&segments);
    reader(&segments);
    task("headers", "headers as JSON, Ethernet to TCP", &segments);
    task("dns", "DNS answer as JSON", &answers);
    println!();
    println!("offline pipeline, `file` to the null device        frames/s     tshark   ratio  wanted");
    let tcp = file("tcp.pcap", &segments, 8);
    offline("headers", &tcp, segments.len() * 8, HEADERS, 20.0);
    let dns = file("dns.pcap", &answers, 100);
    offline("dns", &dns, answers.len() * 100, DNS, 10.0);
}

/// The fields that tshark is asked for: some of what our records have, all of them decoded by it.
const HEADERS: &[&str] = &[
    "frame.time_epoch",
    "eth.src",
    "eth.dst",
    "ip.src",
    "ip.dst",
    "ip.ttl",
    "ip.id",
    "tcp.srcport",
    "tcp.dstport",
    "tcp.seq_raw",
    "tcp.ack_raw",
    "tcp.flags",
    "tcp.window_size_value",
    "tcp.checksum",
];
const DNS: &[&str] = &[
    "frame.time_epoch",
    "dns.id",
    "dns.flags",
    "dns.qry.name",
    "dns.qry.type",
    "dns.resp.name",
    "dns.resp.ttl",
    "dns.a",
];

/// TCP connections whose segments take turns, with their handshakes.
fn segments(connections: u16, each: u32) -> Vec<Vec<u8>> {
    let server: SocketAddr = "10.0.0.2:80".parse().unwrap();
    let client = |at: u16| SocketAddr::new("10.0.0.1".parse().unwrap(), 20_000 + at);
    let payload = Random(1).bytes(500);
    let mut frames: Vec<Vec<u8>> =
        (0..connections).map(|at| packets::tcp(client(at), server, 99, 0, SYN, b"")).collect();
    for step in 0..each {
        frames.extend((0..connections).map(|at| packets::tcp(client(at), server, 100 + step * 500, 1, ACK, &payload)));
    }
    frames
}

fn dns_answer(id: u16) -> Vec<u8> {
    let mut message = [&id.to_be_bytes()[..], &[0x81, 0x80, 0, 1, 0, 3, 0, 0, 0, 0]].concat();
    message.extend(b"\x03www\x07service\x07example\x00\x00\x01\x00\x01");
    message.extend(b"\xc0\x0c\x00\x05\x00\x01\x00\x00\x01\x2c\x00\x07\x04edge\xc0\x10");
    for last in [1, 2] {
        message.extend(b"\xc0\x31\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\xc0\x00\x02");
        message.push(last);
    }
    packets::udp("10.0.0.53:53".parse().unwrap(), SocketAddr::new("10.0.0.1".parse().unwrap(), 20_000 + id), &message)
}

/// Prints the least of several runs, per item.
fn measure(what: &str, items: usize, mut run: impl FnMut()) {
    let mut best = Duration::MAX;
    for _ in 0..7 {
        let begin = Instant::now();
        run();
        best = best.min(begin.elapsed());
    }
    println!("{what:<46} {:>7.1}", best.as_nanos() as f64 / items as f64);
}

fn layers(frames: &[Vec<u8>]) {
    measure("headers walked, Ethernet to TCP", frames.len(), || {
        for frame in frames {
            black_box(Layers::new(1, frame, frame.len()).filter(Result::is_ok).count());
        }
    });
}

fn reassembly(frames: &[Vec<u8>]) {
    measure("TCP segment in order, 64 connections", frames.len(), || {
        let mut assembler = Assembler::new(Select::default(), Limits::default());
        for frame in frames {
            assembler.push(1, frame, frame.len(), tawon::time::Instant(1), &mut |segment| {
                black_box(segment.bytes.len());
            });
        }
    });
}

fn reader(frames: &[Vec<u8>]) {
    let file = packets::pcap(frames.iter().map(|frame| (1, &frame[..])));
    measure("pcap file read", frames.len(), || {
        let mut reader = Reader::new(&file[..]).unwrap();
        while let Some(packet) = reader.next().unwrap() {
            black_box(packet.bytes.len());
        }
    });
}

struct Write(Vec<u8>);

impl Task for Write {
    fn event(&mut self, event: &Event<'_>, _: &mut Next<'_>) {
        self.0.clear();
        event.record.json(&mut self.0);
        black_box(self.0.len());
    }
}

fn task(name: &str, what: &str, frames: &[Vec<u8>]) {
    let context = Context {
        tawon_id: "bench".into(),
        hostname: "bench".into(),
        directive: "bench".into(),
        metrics: Arc::new(Metrics::new("").unwrap()),
        redact: Arc::new([]),
        packets: true,
        memory: 1 << 30,
    };
    let mut options = Options::default();
    options.set("ports", Value::Ports(vec![53]));
    let Build::Processing(make) = tawon::task::find(name).unwrap().build else { panic!("{name}") };
    let mut pipeline = Pipeline::new(vec![make(&options, &context).unwrap(), Box::new(Write(Vec::new()))]);
    let (interface, meta) = (Interface::default(), tawon::process::metadata::Meta::NONE);
    measure(what, frames.len(), || {
        for bytes in frames {
            let frame = Frame { bytes, length: bytes.len() as u32, link_type: 1 };
            let packet = RawPacket { frame, time: Timestamp(1), interface: &interface, meta };
            debug_assert_eq!(packet.kind().name(), "rawpacket");
            pipeline.event(&Event::new(Timestamp(1), tawon::time::Instant(1), &packet));
        }
    });
}

/// A file of the frames, repeated.
fn file(name: &str, frames: &[Vec<u8>], times: usize) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let all = (0..times).flat_map(|_| frames).enumerate();
    std::fs::write(&path, packets::pcap(all.map(|(at, frame)| (at as u64 * 1_000_000, &frame[..])))).unwrap();
    path
}

fn offline(task: &str, path: &Path, frames: usize, fields: &[&str], wanted: f64) {
    let mut ours = Command::new(env!("CARGO_BIN_EXE_tawon"));
    ours.args([
        "run",
        "--log-level",
        "error",
        "-t",
        &format!("capture:file={}", path.display()),
        "-t",
        task,
        "-t",
        "file:path=/dev/null",
    ]);
    let mut theirs = Command::new("tshark");
    theirs.args(["-n", "-r"]).arg(path).args(["-T", "fields"]);
    for field in fields {
        theirs.args(["-e", field]);
    }
    let seconds = |command: &mut Command| {
        let begin = Instant::now();
        let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
        assert!(status.success(), "{command:?}");
        begin.elapsed().as_secs_f64()
    };
    let ours = (0..3).map(|_| seconds(&mut ours)).fold(f64::MAX, f64::min);
    let theirs = seconds(&mut theirs);
    let rate = |seconds: f64| frames as f64 / seconds;
    println!("{task:<46} {:>12.0} {:>10.0} {:>6.1}x {wanted:>6}x", rate(ours), rate(theirs), theirs / ours);
}
