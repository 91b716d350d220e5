//! Connect, accept, close over loopback, without the agent and with it: what the agent adds per
//! connection, and what the kernel says that its BPF programs take (run_time_ns). Then the longest
//! that a scrape waits while flows comes at 50 000 records a second.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

#[path = "../tests/support/agent.rs"]
#[allow(dead_code)]
mod agent;

use agent::Agent;

fn main() {
    let quick = !std::env::args().any(|arg| arg == "--bench");
    // SAFETY: takes and changes nothing.
    if unsafe { libc::geteuid() } != 0 {
        return println!("SKIPPED: connections: not root");
    }
    let count = if quick { 500 } else { 20_000 };
    let rounds = if quick { 1 } else { 5 };
    connections(count);
    let without = median((0..rounds).map(|_| connections(count)).collect());
    let agent = Agent::start("connections", CONFIG);
    let before = Bpf::read(&agent);
    let with = median((0..rounds).map(|_| connections(count)).collect());
    let bpf = Bpf::read(&agent).since(&before);
    let all = f64::from(count * rounds);
    println!("{count} connections, in turn, ns each");
    println!("{:<32}{without:>10.0}", "without the agent");
    println!("{:<32}{with:>10.0}{:>8.2} times", "with the agent", with / without);
    println!(
        "{:<32}{:>10.0}  {:.1} runs per connection, both ends",
        "of that in BPF programs",
        bpf.ns / all,
        bpf.runs / all
    );
    scrapes(&agent, if quick { Duration::from_millis(500) } else { Duration::from_secs(10) });
    assert!(agent.stop().success());
}

/// Nanoseconds per connection: connect, accept, close at both ends.
fn connections(count: u32) -> f64 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = listener.local_addr().expect("its address");
    let start = Instant::now();
    for _ in 0..count {
        let client = TcpStream::connect(at).expect("connects");
        // Reset at the end, so that no port waits in TIME_WAIT.
        socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).expect("lingers");
        let (server, _) = listener.accept().expect("accepts");
        drop(server);
        drop(client);
    }
    start.elapsed().as_nanos() as f64 / f64::from(count)
}

/// Scrapes one after the other while datagrams to ever new addresses make flows.
fn scrapes(agent: &Agent, time: Duration) {
    let (running, before) = (AtomicBool::new(true), records(agent));
    let start = Instant::now();
    let (mut waits, mut lost) = (Vec::new(), 0.0);
    std::thread::scope(|scope| {
        scope.spawn(|| load(&running));
        while start.elapsed() < time {
            let asked = Instant::now();
            let answer = agent.get("/metrics").expect("a scrape");
            waits.push(asked.elapsed().as_secs_f64() * 1e3);
            lost = value(&answer.body, "flow_msgs_lost");
            std::thread::sleep(Duration::from_millis(5));
        }
        running.store(false, Ordering::Relaxed);
    });
    let rate = (records(agent) - before) / start.elapsed().as_secs_f64();
    waits.sort_by(f64::total_cmp);
    let (middle, longest) = (waits[waits.len() / 2], waits[waits.len() - 1]);
    println!(
        "{} scrapes at {rate:.0} records a second ({lost:.0} lost): median {middle:.1} ms, longest {longest:.1} ms, limit 50; load average {}",
        waits.len(),
        std::fs::read_to_string("/proc/loadavg").unwrap_or_default().trim()
    );
}

/// 50 000 first datagrams a second, from sockets that are closed after 1000 of them.
fn load(running: &AtomicBool) {
    let (start, mut sent) = (Instant::now(), 0u32);
    let mut socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    while running.load(Ordering::Relaxed) {
        let due = (start.elapsed().as_secs_f64() * RATE) as u32;
        if sent >= due {
            std::thread::sleep(Duration::from_millis(1));
            continue;
        }
        if sent % 1000 == 0 {
            socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
        }
        let [_, b, c, d] = (sent % 0xff_0000 + 0x1_0000).to_be_bytes();
        // Nobody listens there: what comes back is of no interest.
        let _ = socket.send_to(b"23", SocketAddr::from((Ipv4Addr::new(127, b, c, d), 9)));
        sent += 1;
    }
}

fn records(agent: &Agent) -> f64 {
    value(&agent.metrics(), "flow_msgs")
}

fn value(scrape: &str, series: &str) -> f64 {
    scrape.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok()).unwrap_or_default()
}

/// What the programs of flows have run.
struct Bpf {
    ns: f64,
    runs: f64,
}

impl Bpf {
    fn read(agent: &Agent) -> Bpf {
        let directory = format!("/proc/{}/fd", agent.pid());
        let (mut ns, mut runs) = (0.0, 0.0);
        for number in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            let info = format!("/proc/{}/fdinfo/{}", agent.pid(), number.file_name().to_string_lossy());
            let Ok(info) = std::fs::read_to_string(info) else { continue };
            if !info.contains("prog_tag:") {
                continue;
            }
            let field = |name: &str| -> f64 {
                info.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()).unwrap_or_default()
            };
            // A program has more than one descriptor: links have none of these lines.
            ns += field("run_time_ns:");
            runs += field("run_cnt:");
        }
        Bpf { ns, runs }
    }

    fn since(&self, before: &Bpf) -> Bpf {
        Bpf { ns: self.ns - before.ns, runs: self.runs - before.runs }
    }
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

const RATE: f64 = 50_000.0;
const CONFIG: &str = "\
metrics: {listen: \"PORT\"}
probes: {listen: \"PORT\"}
bpf: {enableStats: true}
directives:
  - name: connections
    tasks:
      - task: flows
      - {task: file, config: {path: /dev/null}}
";
