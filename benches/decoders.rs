//! Decoders: nanoseconds and messages per second of one task with its record written as JSON, and the
//! offline pipeline over a capture beside `tshark -T fields`, both reading the same file.
//!
//!     cargo bench --bench decoders              all
//!     cargo bench --bench decoders -- messages  without tshark
//!
//! The captures are made here from one message repeated with changing ids, `COPIES` frames each.

use std::hint::black_box;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant as Clock};

use tawon::metrics::Metrics;
use tawon::pipeline::{Event, Next, Pipeline, Task, View};
use tawon::task::Value;
use tawon::task::record::{Chunk, FlowEnd};
use tawon::time::{Instant, Timestamp};

#[path = "../tests/support/mod.rs"]
mod support;

use support::messages::{chunk, client_hello, iq, session_establishment};
use support::tasks::{Given, build, context};

fn main() {
    let messages_only = std::env::args().any(|argument| argument == "messages");
    println!("{:<34} {:>10} {:>14} {:>8}", "message", "ns", "messages/s", "bytes");
    for (label, task, protocol, port, bytes) in [
        ("ClientHello (curl)", "tlsheaders", 6, 443, client_hello()),
        ("PFCP establishment of 40 IEs", "pfcp", 17, 8805, session_establishment()),
        ("eCPRI IQ data of 1000 bytes", "ecpri", 17, 5555, iq(1000)),
    ] {
        message(label, task, protocol, port, &bytes);
    }
    if messages_only {
        return;
    }
    println!(
        "\n{:<12} {:>10} {:>12} {:>12} {:>8} {:>8}",
        "capture", "frames", "tawon s", "tshark s", "ratio", "needed"
    );
    for (name, needed, arguments, frames, port) in [
        ("tlsheaders", 50, TLS, tls_frames as Frames, 443),
        ("pfcp", 15, PFCP, pfcp_frames, 8805),
        ("ecpri", 50, ECPRI, ecpri_frames, 0),
    ] {
        capture(name, needed, arguments, frames, port);
    }
}

/// tshark as it is run: fields that say about what the record says.
const TLS: &[&str] = &[
    "-Y",
    "tls.handshake.type==1",
    "-e",
    "ip.src",
    "-e",
    "tcp.srcport",
    "-e",
    "tls.handshake.extensions_server_name",
    "-e",
    "tls.handshake.extensions_alpn_str",
    "-e",
    "tls.handshake.ja3",
    "-e",
    "tls.handshake.ciphersuite",
    "-e",
    "tls.handshake.extension.type",
];
const PFCP: &[&str] = &[
    "-e",
    "pfcp.msg_type",
    "-e",
    "pfcp.seid",
    "-e",
    "pfcp.seqno",
    "-e",
    "pfcp.ie_type",
    "-e",
    "pfcp.node_id_ipv4",
    "-e",
    "pfcp.f_teid.teid",
    "-e",
    "pfcp.ue_ip_addr_ipv4",
    "-e",
    "pfcp.pdr_id",
    "-e",
    "pfcp.far_id",
];
const ECPRI: &[&str] = &["-e", "ecpri.type", "-e", "ecpri.size", "-e", "ecpri.pcid", "-e", "ecpri.seqid"];

type Frames = fn(u32) -> Vec<Vec<u8>>;

const COPIES: u32 = 50_000;

/// Time of one message through the task and a destination that writes its record.
fn message(label: &str, task: &str, protocol: u8, port: u16, bytes: &[u8]) {
    let context = context(Arc::new(Metrics::new("").unwrap()), false);
    let options = [("ports", Value::Ports(vec![port])), ("udpPorts", Value::Ports(vec![port]))];
    let sink = Json(Vec::with_capacity(1 << 16));
    let mut pipeline = Pipeline::new(vec![build(task, &options, &context).unwrap(), Box::new(sink)]);
    let mut flow = 0;
    let mut one = || {
        flow += 1;
        let data = chunk(flow % 64, protocol, port, black_box(bytes));
        let end = Chunk { length: 0, end: Some(FlowEnd::Fin), ..chunk(flow % 64, protocol, port, &[]) };
        pipeline.event(&Event::new(Timestamp(1), Instant(1), &Given(View::Chunk(&data))));
        if protocol == 6 {
            pipeline.event(&Event::new(Timestamp(1), Instant(1), &Given(View::Chunk(&end))));
        }
    };
    let best = (0..20)
        .map(|_| {
            let from = Clock::now();
            (0..2000).for_each(|_| one());
            from.elapsed()
        })
        .min()
        .unwrap_or_default();
    let ns = best.as_nanos() as f64 / 2000.0;
    println!("{label:<34} {ns:>10.0} {:>14.0} {:>8}", 1e9 / ns, bytes.len());
}

/// `tawon run` over a capture beside tshark, each writing to the null device; the best of three.
fn capture(name: &str, needed: u32, arguments: &[&str], frames: Frames, port: u16) {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("bench-{name}.pcap"));
    let frames = (0..COPIES).flat_map(frames).collect::<Vec<_>>();
    write(&path, &frames);
    let source = format!("capture:file={}", path.display());
    let null = || Stdio::null();
    let run = |command: &mut Command| {
        (0..3)
            .map(|_| {
                let from = Clock::now();
                let status = command.stdin(null()).stdout(null()).stderr(null()).status().unwrap();
                assert!(status.success(), "{command:?}");
                from.elapsed()
            })
            .min()
            .unwrap_or(Duration::MAX)
    };
    let ours = |destination: &[&str]| {
        run(Command::new(env!("CARGO_BIN_EXE_tawon")).args(["run", "-t", &source, "-t", name]).args(destination))
            .as_secs_f64()
    };
    let ours_file = ours(&["-t", "file:path=/dev/null"]);
    let mut tshark = Command::new("tshark");
    tshark.args(["-n", "-r"]).arg(&path).args(["-T", "fields"]).args(arguments);
    if port == 0 {
        tshark.args(["--disable-protocol", "oran_fh_cus"]);
    }
    let theirs = run(&mut tshark).as_secs_f64();
    let ratio = theirs / ours_file;
    println!("{name:<12} {:>10} {ours_file:>12.3} {theirs:>12.3} {ratio:>8.1} {needed:>8}", frames.len());
}

fn tls_frames(copy: u32) -> Vec<Vec<u8>> {
    let (client, server) = (std::net::SocketAddr::from((copy.to_be_bytes(), 40_000)), ([10, 0, 0, 2], 443).into());
    let hello = client_hello();
    vec![
        support::packets::tcp(client, server, 1, 0, support::packets::SYN, &[]),
        support::packets::tcp(client, server, 2, 1, support::packets::ACK, &hello),
        support::packets::tcp(client, server, 2 + hello.len() as u32, 1, support::packets::RST, &[]),
    ]
}

fn pfcp_frames(copy: u32) -> Vec<Vec<u8>> {
    let mut message = session_establishment();
    message[12..15].copy_from_slice(&copy.to_be_bytes()[1..]);
    let (a, b) = (([10, 0, 0, 1], 8805).into(), ([10, 0, 0, 2], 8805).into());
    vec![support::packets::udp(a, b, &message)]
}

fn ecpri_frames(copy: u32) -> Vec<Vec<u8>> {
    let mut message = iq(1000);
    message[6..8].copy_from_slice(&(copy as u16).to_be_bytes());
    vec![[&[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0xae, 0xfe][..], &message].concat()]
}

fn write(path: &PathBuf, frames: &[Vec<u8>]) {
    let mut file = std::io::BufWriter::new(std::fs::File::create(path).unwrap());
    let word = |value: u32| value.to_le_bytes();
    file.write_all(&[word(0xa1b2_3c4d), word(0x0004_0002), word(0), word(0), word(262_144), word(1)].concat()).unwrap();
    for (at, frame) in frames.iter().enumerate() {
        let length = word(frame.len() as u32);
        let head = [word(1_700_000_000 + at as u32 / 1_000_000), word(at as u32 % 1_000_000 * 1000), length, length];
        file.write_all(&head.concat()).unwrap();
        file.write_all(frame).unwrap();
    }
    file.flush().unwrap();
}

/// Writes every record into the same buffer.
struct Json(Vec<u8>);

impl Task for Json {
    fn event(&mut self, event: &Event<'_>, _: &mut Next<'_>) {
        self.0.clear();
        event.record.json(&mut self.0);
        black_box(&self.0);
    }
}
