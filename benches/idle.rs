//! The agent with the example configuration and nothing asked of it: how long it takes to be ready,
//! what it uses of a CPU and of memory, and how often it asks the kernel for something. Other programs
//! on the machine make events: their number is printed, and the quietest seconds are looked at apart.

use std::time::{Duration, Instant};

#[path = "../tests/support/agent.rs"]
#[allow(dead_code)]
mod agent;

use agent::Agent;

fn main() {
    let quick = !std::env::args().any(|arg| arg == "--bench");
    let example = include_str!("../scripts/example.yaml").replace(":9990", "PORT");
    let start = Instant::now();
    let agent = Agent::start("idle", &example);
    println!("start to ready: {:.0} ms, limit 1000", start.elapsed().as_secs_f64() * 1e3);
    let seconds = if quick { 2 } else { 60 };
    let mut each = Vec::new();
    let mut before = Used::read(&agent);
    for _ in 0..seconds {
        std::thread::sleep(Duration::from_secs(1));
        let now = Used::read(&agent);
        each.push((now.events - before.events, now.cpu_ns - before.cpu_ns, now.switches - before.switches));
        before = now;
    }
    // The looks themselves are scrapes; what one costs is taken off.
    let scrape = scrape_cost(&agent, if quick { 5 } else { 50 });
    each.sort_by_key(|(events, ..)| *events);
    let quiet = &each[..each.len().div_ceil(4)];
    for (what, seconds) in [("all", &each[..]), ("quietest quarter", quiet)] {
        let of =
            |pick: fn(&(u64, u64, u64)) -> u64| seconds.iter().map(pick).sum::<u64>() as f64 / seconds.len() as f64;
        let (events, cpu, switches) = (of(|each| each.0), of(|each| each.1) - scrape, of(|each| each.2));
        println!(
            "{what:<18}{:>4} s: {events:>8.1} events/s, CPU {:.3} % of one (limit 0.1 when quiet), {switches:.0} wake-ups/s",
            seconds.len(),
            cpu / 1e7
        );
    }
    println!("one scrape: {:.2} ms of CPU, taken off", scrape / 1e6);
    println!("resident: {:.1} MiB, limit 30", resident(&agent) / 1024.0);
    println!("load average: {}", std::fs::read_to_string("/proc/loadavg").unwrap_or_default().trim());
    assert!(agent.stop().success());
}

/// What the agent has used and seen so far.
struct Used {
    cpu_ns: u64,
    /// How often a thread of it went to sleep by itself.
    switches: u64,
    events: u64,
}

impl Used {
    fn read(agent: &Agent) -> Used {
        let (mut cpu_ns, mut switches) = (0, 0);
        let scrape = agent.metrics();
        for task in std::fs::read_dir(format!("/proc/{}/task", agent.pid())).into_iter().flatten().flatten() {
            let read = |file: &str| std::fs::read_to_string(task.path().join(file)).unwrap_or_default();
            // Nanoseconds on a CPU, nanoseconds of waiting for one, time slices.
            cpu_ns += read("schedstat").split(' ').next().and_then(|ns| ns.parse::<u64>().ok()).unwrap_or_default();
            let status = read("status");
            let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
            switches += line.and_then(|count| count.trim().parse::<u64>().ok()).unwrap_or_default();
        }
        let value = |series: &str| -> u64 {
            scrape
                .lines()
                .find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
                .unwrap_or_default()
        };
        Used { cpu_ns, switches, events: value("exec_msgs") + value("flow_msgs") }
    }
}

/// Nanoseconds of CPU per scrape: many in a row, less what the same time without costs is too little
/// to matter.
fn scrape_cost(agent: &Agent, count: u64) -> f64 {
    let before = Used::read(agent).cpu_ns;
    (0..count).for_each(|_| drop(agent.metrics()));
    (Used::read(agent).cpu_ns - before) as f64 / (count + 1) as f64
}

/// KiB.
fn resident(agent: &Agent) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", agent.pid())).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().unwrap_or_default()
}
