//! Live capture over a veth pair: the packets per second that `capture` takes without a drop, into `file`
//! and the null device, beside dumpcap with a ring of the same size into the same. The rate doubles until
//! the kernel drops. `cargo bench --bench live`; needs root, unshare, ip and dumpcap; prints, asserts nothing.

#[path = "../tests/support/agent.rs"]
mod agent;
#[path = "../tests/support/packets.rs"]
mod packets;

use std::ffi::CString;
use std::io::{BufRead, BufReader, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use agent::Agent;
use socket2::{Domain, Protocol, Socket, Type};

fn main() {
    if std::env::var_os(INSIDE).is_none() {
        // In a network namespace of its own, which goes with it.
        let this = std::env::current_exe().expect("its own path");
        let mut command = Command::new("unshare");
        command.arg("-n").arg(this).args(std::env::args().skip(1)).env(INSIDE, "1");
        assert!(command.status().expect("unshare runs").success());
        return;
    }
    for step in ["link set lo up", "link add va type veth peer name vb", "link set va up", "link set vb up"]
        .map(str::split_whitespace)
    {
        assert!(Command::new("ip").args(step).status().is_ok_and(|status| status.success()));
    }
    let quick = !std::env::args().any(|arg| arg == "--bench");
    let seconds = if quick { 0.2 } else { 3.0 };
    println!("{:<28}{:>12}{:>12}{:>12}{:>9}", "packets of 242 bytes", "sent/s", "taken", "dropped", "CPU %");
    let ours = ["", "{task: headers}, "].map(|tasks| best(|rate| tawon(tasks, rate, seconds), quick));
    let theirs = best(|rate| dumpcap(rate, seconds), quick);
    for (name, rate) in ["tawon capture", "tawon capture, headers"].iter().zip(ours) {
        println!("{name}: {rate:.0} packets/s without a drop, {:.2} of dumpcap's {theirs:.0}", rate / theirs);
    }
}

/// One run: packets per second that were really sent, and whether none of them was dropped.
type Run = (f64, bool);

/// The highest rate without a drop; the sender itself has one that it cannot go past.
fn best(run: impl Fn(u64) -> Run, quick: bool) -> f64 {
    let mut best = 0.0f64;
    for rate in (0..if quick { 1 } else { 8 }).map(|double| 25_000 << double) {
        let (sent, whole) = run(rate);
        if !whole {
            break;
        }
        best = best.max(sent);
        if sent < rate as f64 * 0.9 {
            break;
        }
    }
    best
}

fn tawon(tasks: &str, rate: u64, seconds: f64) -> Run {
    let config = format!(
        "metrics: {{listen: \"PORT\"}}\nprobes: {{listen: \"PORT\"}}\ndirectives:\n  - {{name: live, tasks: [{{task: capture, \
         config: {{interface: va, filter: \"udp port 7777\"}}}}, {tasks}{{task: file, config: {{path: /dev/null}}}}]}}\n"
    );
    let agent = Agent::start("live", &config);
    agent.until("capturing", || sockets() == 1);
    let used = cpu(agent.pid());
    let (sent, took) = send(rate, seconds);
    let sink = |status: &str| {
        agent.value(&format!("tawon_sink_records_total{{sink=\"file:/dev/null\",status=\"{status}\"}}")).unwrap_or(0.0)
            as u64
    };
    let kernel = || agent.value("tawon_capture_dropped_total{interface=\"va\"}").unwrap_or(0.0) as u64;
    let (mut taken, mut dropped) = (0, 0);
    agent.until("all told or dropped", || {
        (taken, dropped) = (sink("written"), kernel() + sink("dropped"));
        taken + dropped >= sent
    });
    let used = cpu(agent.pid()) - used;
    let name = if tasks.is_empty() { "tawon capture" } else { "tawon capture, headers" };
    told(name, sent, took, taken, dropped, used)
}

fn dumpcap(rate: u64, seconds: f64) -> Run {
    let mut command = Command::new("dumpcap");
    command.args(["-q", "-P", "-i", "va", "-B", "32", "-w", "/dev/null", "-f", "udp port 7777"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("dumpcap runs");
    let mut says = BufReader::new(child.stderr.take().expect("piped"));
    let mut said = String::new();
    while !said.contains("File: ") {
        assert!(says.read_line(&mut said).expect("text") > 0, "{said}");
    }
    let before = cpu(child.id());
    let (sent, took) = send(rate, seconds);
    // It says nothing until it ends: it is done once it uses no more of the CPU for a second.
    let mut used = cpu(child.id());
    loop {
        std::thread::sleep(Duration::from_secs(1));
        let now = cpu(child.id());
        if now == used {
            break;
        }
        used = now;
    }
    interrupt(&child);
    says.read_to_string(&mut said).expect("text");
    child.wait().expect("ends");
    let counts = said.split("on interface 'va': ").nth(1).and_then(|rest| rest.split_once(' ')?.0.split_once('/'));
    let (taken, dropped) = counts.unwrap_or_else(|| panic!("{said}"));
    told("dumpcap", sent, took, taken.parse().expect("a number"), dropped.parse().expect("a number"), used - before)
}

fn interrupt(child: &Child) {
    let sent = Command::new("kill").args(["-s", "INT", &child.id().to_string()]).status();
    assert!(sent.is_ok_and(|status| status.success()));
}

fn told(name: &str, sent: u64, took: Duration, taken: u64, dropped: u64, used: Duration) -> Run {
    let rate = sent as f64 / took.as_secs_f64();
    let share = 100.0 * used.as_secs_f64() / took.as_secs_f64();
    println!("{name:<28}{rate:>12.0}{taken:>12}{dropped:>12}{share:>9.1}");
    (rate, dropped == 0 && taken >= sent)
}

/// Sends datagrams over the pair's other end; how many, and how long it took.
fn send(rate: u64, seconds: f64) -> (u64, Duration) {
    let ends = ["10.9.9.1:4000", "10.9.9.2:7777"].map(|end| end.parse().expect("an address"));
    let frame = packets::udp(ends[0], ends[1], &[b'x'; 200]);
    let socket: OwnedFd = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(0))).expect("root").into();
    let name = CString::new("vb").expect("no zero in it");
    // SAFETY: the name ends with a zero; the structures are plain data and live as long as the calls, and
    // every pointer in them is to a buffer that does too.
    unsafe {
        let mut to: libc::sockaddr_ll = std::mem::zeroed();
        to.sll_family = libc::AF_PACKET as u16;
        to.sll_ifindex = libc::if_nametoindex(name.as_ptr()) as i32;
        let bound = libc::bind(socket.as_raw_fd(), (&raw const to).cast(), size_of::<libc::sockaddr_ll>() as u32);
        assert_eq!(bound, 0);
        let mut part = libc::iovec { iov_base: frame.as_ptr().cast_mut().cast(), iov_len: frame.len() };
        let mut messages: [libc::mmsghdr; BATCH] = std::mem::zeroed();
        for message in &mut messages {
            (message.msg_hdr.msg_iov, message.msg_hdr.msg_iovlen) = (&raw mut part, 1);
        }
        let begin = Instant::now();
        let mut sent = 0;
        while begin.elapsed().as_secs_f64() < seconds {
            let due = (begin.elapsed().as_secs_f64() * rate as f64) as u64;
            if sent >= due {
                std::thread::sleep(Duration::from_micros(100));
                continue;
            }
            let count = libc::sendmmsg(socket.as_raw_fd(), messages.as_mut_ptr(), BATCH as u32, 0);
            sent += u64::try_from(count).expect("sent");
        }
        (sent, begin.elapsed())
    }
}

/// Packet sockets that are open in this namespace.
fn sockets() -> usize {
    std::fs::read_to_string("/proc/net/packet").expect("readable").lines().count() - 1
}

/// Processor time of a process.
fn cpu(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it lives");
    let fields = stat.rsplit_once(')').expect("a name").1.split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).map(|ticks| ticks.parse::<u64>().expect("a number")).sum();
    Duration::from_millis(ticks * 10)
}

const INSIDE: &str = "TAWON_BENCH_NAMESPACE";
/// Frames per system call.
const BATCH: usize = 32;
