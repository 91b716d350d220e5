//! Decoders: nanoseconds, messages per second and allocations of one task with its record written as
//! JSON, and the offline pipeline over a capture beside `tshark -T fields`, both reading the same file.
//!
//!     cargo bench --bench decoders              all
//!     cargo bench --bench decoders -- messages  without tshark
//!     cargo bench --bench decoders -- pfcp      the offline pipeline of this task
//!
//! The captures are made here from one message repeated with changing ids, and taken away afterwards.
//! tshark is asked for fields that say about what our record says.

use std::cell::Cell;
use std::fs::File;
use std::hint::black_box;
use std::io::{BufWriter, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant as Clock;

use tawon::metrics::Metrics;
use tawon::pipeline::{End, Event, Next, Pipeline, Task, View};
use tawon::task::Value;
use tawon::task::record::{Chunk, Direction, FlowEnd, Frame};
use tawon::task::source::capture::{Batch, Capture};
use tawon::time::{Instant, Timestamp};

#[path = "../tests/support/mod.rs"]
mod support;

use support::chunk::chunk;
use support::messages::{client_hello, iq, session_establishment};
use support::packets::{self, ACK};
use support::tasks::{Given, build, context};
use support::{alloc, replay};

fn main() {
    let only = std::env::args().skip(1).find(|argument| !argument.starts_with('-')).unwrap_or_default();
    if only.is_empty() || only == "messages" {
        messages();
    }
    if only == "messages" {
        return;
    }
    println!(
        "\n{:<24} {:>8} {:>10} {:>10} {:>8} {:>8}",
        "offline pipeline", "frames", "tawon s", "tshark s", "ratio", "needed"
    );
    // Without `--bench` it is only to be seen that it works.
    let copies = if std::env::args().any(|argument| argument == "--bench") { 50_000 } else { 500 };
    let measure = |name: &str, of_tshark, copies, frames: Frames, fields: &str, needed: &[u32]| {
        if name.contains(&only) {
            capture(name, of_tshark, copies, frames, fields, needed);
        }
    };
    measure("tlsheaders", "", copies / 5, tls_frames, TLS, &[50]);
    measure("pfcp", "", copies, pfcp_frames, PFCP, &[15, 50]);
    measure("ecpri", "", 4 * copies, ecpri_frames, &format!("{ECPRI} -e ecpri.payload"), &[50]);
    // Also beside a tshark that leaves out the payload, which our record has all the same.
    measure("ecpri", ", its ids alone", 4 * copies, ecpri_frames, ECPRI, &[50]);
    measure("headers", "", copies, tcp_frames, HEADERS, &[20]);
    measure("dns", "", copies, dns_frames, DNS, &[10]);
}

fn messages() {
    println!("{:<34} {:>8} {:>12} {:>8} {:>12}", "message", "ns", "messages/s", "bytes", "allocations");
    let segment = packets::tcp(CLIENT.into(), SERVER.into(), 1, 1, ACK, &[7; 500]);
    message("ClientHello (curl)", "tlsheaders", &client_hello(), Some((6, 443)));
    message("PFCP establishment of 40 IEs", "pfcp", &session_establishment(), Some((17, 8805)));
    message("eCPRI IQ data of 1000 bytes", "ecpri", &iq(1000), Some((17, 5555)));
    message("headers, Ethernet to TCP", "headers", &segment, None);
    message("DNS answer of 3 records", "dns", &dns_answer(7), Some((17, 53)));
}

const ROUNDS: usize = 5;

const CLIENT: ([u8; 4], u16) = ([10, 0, 0, 1], 40_000);
const SERVER: ([u8; 4], u16) = ([10, 0, 0, 2], 443);

const TLS: &str = "-Y tls.handshake.type==1 -e frame.time_epoch -e tls.handshake.version -e tls.handshake.random \
    -e tls.handshake.session_id -e tls.handshake.extensions_server_name -e tls.handshake.extensions_alpn_str \
    -e tls.handshake.ja3 -e tls.handshake.ciphersuite -e tls.handshake.extension.type \
    -e tls.handshake.extensions_supported_group -e tls.handshake.sig_hash_alg";
const PFCP: &str = "-e frame.time_epoch -e pfcp.version -e pfcp.msg_type -e pfcp.length -e pfcp.seid \
    -e pfcp.seqno -e pfcp.ie_type -e pfcp.ie_len -e pfcp.node_id_ipv4 -e pfcp.f_seid.ipv4 -e pfcp.pdr_id \
    -e pfcp.precedence -e pfcp.source_interface -e pfcp.f_teid.teid -e pfcp.f_teid.ipv4_addr \
    -e pfcp.network_instance -e pfcp.ue_ip_addr_ipv4 -e pfcp.out_hdr_desc -e pfcp.far_id \
    -e pfcp.apply_action.forw -e pfcp.dst_interface -e pfcp.outer_hdr_desc -e pfcp.outer_hdr_creation.teid \
    -e pfcp.outer_hdr_creation.ipv4 -e pfcp.urr_id -e pfcp.measurement_method_flags.volume \
    -e pfcp.reporting_triggers_flags.volth -e pfcp.volume_threshold.tovol -e pfcp.qer_id \
    -e pfcp.gate_status.ulgate -e pfcp.gate_status.dlgate -e pfcp.ul_mbr -e pfcp.dl_mbr -e pfcp.qfi_value \
    -e pfcp.pdn_type";
const ECPRI: &str = "--disable-protocol oran_fh_cus -e frame.time_epoch -e frame.len -e ecpri.revision -e ecpri.cbit \
    -e ecpri.type -e ecpri.size -e ecpri.pcid -e ecpri.seqid";
const HEADERS: &str = "-e frame.time_epoch -e eth.src -e eth.dst -e ip.src -e ip.dst -e ip.ttl -e ip.id -e tcp.srcport \
    -e tcp.dstport -e tcp.seq_raw -e tcp.ack_raw -e tcp.flags -e tcp.window_size_value -e tcp.checksum";
const DNS: &str = "-e frame.time_epoch -e dns.id -e dns.flags -e dns.qry.name -e dns.qry.type -e dns.resp.name \
    -e dns.resp.ttl -e dns.a";

/// Time of one message through the task and a destination that writes its record. As a chunk of a
/// protocol and port, or as a frame.
fn message(label: &str, task: &str, bytes: &[u8], of_flow: Option<(u8, u16)>) {
    let context = context(Arc::new(Metrics::new("").unwrap()), of_flow.is_none());
    let ports = Value::Ports(of_flow.map(|(_, port)| port).into_iter().collect());
    let options = [("ports", ports.clone()), ("udpPorts", ports)];
    let records = Rc::new(Cell::new(0));
    let sink = Json { buffer: Vec::with_capacity(1 << 16), records: records.clone() };
    let mut pipeline = Pipeline::new(vec![build(task, &options, &context).unwrap(), Box::new(sink)]);
    let mut event = |view: View<'_>| pipeline.event(&Event::new(Timestamp(1), Instant(1), &Given(view)));
    let mut flow = 0;
    let mut one = || {
        let Some((protocol, port)) = of_flow else {
            return event(View::Frame(&Frame { bytes: black_box(bytes), length: bytes.len() as u32, link_type: 1 }));
        };
        flow += 1;
        event(View::Chunk(&chunk(flow % 64, protocol, port, black_box(bytes))));
        if protocol == 6 {
            // Both directions end, so that the flow's next hello is one of another connection.
            for direction in [Direction::Tx, Direction::Rx] {
                let end = Chunk { direction, end: Some(FlowEnd::Fin), ..chunk(flow % 64, protocol, port, &[]) };
                event(View::Chunk(&end));
            }
        }
    };
    let mut rounds = |count: u32| {
        let from = Clock::now();
        (0..count).for_each(|_| one());
        from.elapsed()
    };
    let best = (0..20).map(|_| rounds(2000)).min().unwrap_or_default();
    let allocations = alloc::count(|| _ = rounds(100)) as f64 / 100.0;
    assert_eq!(records.get(), 20 * 2000 + 100, "each message leads to a record");
    let ns = best.as_nanos() as f64 / 2000.0;
    println!("{label:<34} {ns:>8.0} {:>12.0} {:>8} {allocations:>12}", 1e9 / ns, bytes.len());
}

type Frames = fn(u32) -> Vec<Vec<u8>>;

/// `tawon run` over a capture beside tshark, each writing to the null device: the median of `ROUNDS` runs
/// that take turns, so that a slow minute of the machine is one of both. With a second ratio to reach also
/// without a destination: the source and the task alone.
fn capture(name: &str, of_tshark: &str, copies: u32, frames: Frames, fields: &str, needed: &[u32]) {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("bench-{name}.pcap"));
    let count = write(&path, (0..copies).flat_map(frames));
    let program = |command: &mut Command| {
        let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
        assert!(status.success(), "{command:?}");
    };
    let mut tshark = Command::new("tshark");
    tshark.args(["-n", "-r"]).arg(&path).args(["-T", "fields"]).args(fields.split_whitespace());
    let mut tawon = Command::new(env!("CARGO_BIN_EXE_tawon"));
    let source = format!("capture:file={}", path.display());
    tawon.args(["run", "--log-level", "error", "-t", &source, "-t", name, "-t", "file:path=/dev/null"]);
    let (mut theirs, mut with, mut without) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        theirs.push(seconds(|| program(&mut tshark)));
        with.push(seconds(|| program(&mut tawon)));
        if needed.len() > 1 {
            without.push(seconds(|| decode(name, &path)));
        }
    }
    let theirs = median(theirs);
    let labels = [format!("{name}{of_tshark}"), format!("{name}, no destination")];
    for ((label, needed), ours) in labels.iter().zip(needed).zip([with, without]) {
        let ours = median(ours);
        println!("{label:<24} {count:>8} {ours:>10.3} {theirs:>10.3} {:>8.1} {needed:>8}", theirs / ours);
    }
    let _ = std::fs::remove_file(path);
}

fn seconds(run: impl FnOnce()) -> f64 {
    let from = Clock::now();
    run();
    from.elapsed().as_secs_f64()
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

fn decode(task: &str, path: &Path) {
    let context = replay::context();
    let file = Value::Text(path.to_str().unwrap().to_owned());
    let options = replay::options(tawon::task::find("capture").unwrap(), &[("file", file)]);
    let mut capture = Capture::open(&options, &context).unwrap();
    let mut pipeline = Pipeline::new(vec![replay::task(task, &context, &[])]);
    while capture.batch(1000, &mut pipeline).unwrap() == Batch::More {}
    pipeline.close(End::Completed, capture.time().unwrap());
}

/// The connection that curl made, from SYN to RST, from another client each time.
fn tls_frames(copy: u32) -> Vec<Vec<u8>> {
    let file = include_bytes!("../tests/data/tls/curl.pcap");
    let mut reader = tawon::task::source::capture::file::Reader::new(&file[..]).unwrap();
    let mut frames = Vec::new();
    while let Ok(Some(packet)) = reader.next() {
        let mut frame = packet.bytes.to_vec();
        let (src, dst) = (copy.to_be_bytes(), SERVER);
        let to_server = frame[36..38] == 4401_u16.to_be_bytes();
        let (client_at, server_at, port_at) = if to_server { (26, 30, 36) } else { (30, 26, 34) };
        frame[client_at..client_at + 4].copy_from_slice(&src);
        frame[server_at..server_at + 4].copy_from_slice(&dst.0);
        frame[port_at..port_at + 2].copy_from_slice(&dst.1.to_be_bytes());
        frames.push(frame);
    }
    frames
}

fn pfcp_frames(copy: u32) -> Vec<Vec<u8>> {
    let mut message = session_establishment();
    message[12..15].copy_from_slice(&copy.to_be_bytes()[1..]);
    vec![packets::udp(([10, 0, 0, 1], 8805).into(), ([10, 0, 0, 2], 8805).into(), &message)]
}

fn ecpri_frames(copy: u32) -> Vec<Vec<u8>> {
    let mut message = iq(1000);
    message[6..8].copy_from_slice(&(copy as u16).to_be_bytes());
    vec![[&[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0xae, 0xfe][..], &message].concat()]
}

/// The next segments of 64 connections that take turns.
fn tcp_frames(copy: u32) -> Vec<Vec<u8>> {
    let client = SocketAddr::from((CLIENT.0, 20_000 + (copy % 64) as u16));
    let seq = copy / 64 * 2000;
    (0..4).map(|at| packets::tcp(client, SERVER.into(), seq + at * 500, 1, ACK, &[7; 500])).collect()
}

fn dns_frames(copy: u32) -> Vec<Vec<u8>> {
    let client = |at: u16| SocketAddr::from((CLIENT.0, 20_000 + at % 1000));
    let ids = [2 * copy as u16, 2 * copy as u16 + 1];
    ids.map(|id| packets::udp(([10, 0, 0, 53], 53).into(), client(id), &dns_answer(id))).to_vec()
}

fn dns_answer(id: u16) -> Vec<u8> {
    let mut message = [&id.to_be_bytes()[..], &[0x81, 0x80, 0, 1, 0, 3, 0, 0, 0, 0]].concat();
    message.extend(b"\x03www\x07service\x07example\x00\x00\x01\x00\x01");
    message.extend(b"\xc0\x0c\x00\x05\x00\x01\x00\x00\x01\x2c\x00\x07\x04edge\xc0\x10");
    for last in [1, 2] {
        message.extend(b"\xc0\x31\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\xc0\x00\x02");
        message.push(last);
    }
    message
}

/// A capture file of these frames, 10 000 in a second, so that ended connections are forgotten as they are
/// live; how many they are.
fn write(path: &Path, frames: impl Iterator<Item = Vec<u8>>) -> usize {
    let mut file = BufWriter::new(File::create(path).unwrap());
    file.write_all(&packets::pcap([])).unwrap();
    let mut count = 0;
    for (at, frame) in (0_u64..).zip(frames) {
        let record = packets::pcap([(1_700_000_000_000_000_000 + at * 100_000, &frame[..])]);
        file.write_all(&record[24..]).unwrap();
        count += 1;
    }
    file.flush().unwrap();
    // What is still to be written to the disk would be written while somebody is measured.
    file.get_ref().sync_all().unwrap();
    count
}

/// Writes every record into the same buffer.
struct Json {
    buffer: Vec<u8>,
    records: Rc<Cell<u32>>,
}

impl Task for Json {
    fn event(&mut self, event: &Event<'_>, _: &mut Next<'_>) {
        self.buffer.clear();
        event.record.json(&mut self.buffer);
        black_box(&self.buffer);
        self.records.set(self.records.get() + 1);
    }
}
