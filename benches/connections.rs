//! Connect, accept, close over loopback, without the agent and with it: what the agent adds per
//! connection, and what the kernel says that its BPF programs take (run_time_ns).

use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

#[path = "../tests/support/agent.rs"]
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
