//! The agent with the example configuration and nothing asked of it: how long it takes to be ready,
//! what it uses of a CPU and of memory, how often it wakes up. One scrape before the time that is looked
//! at and one behind it tell how many events other programs made meanwhile; what a scrape costs is
//! measured apart.

use std::time::{Duration, Instant};

#[path = "../tests/support/agent.rs"]
mod agent;

use agent::Agent;

fn main() {
    let quick = !std::env::args().any(|arg| arg == "--bench");
    let example = include_str!("../scripts/example.yaml").replace(":9990", "PORT");
    let start = Instant::now();
    let agent = Agent::start("idle", &example);
    println!("start to ready: {:.0} ms, limit 1000", start.elapsed().as_secs_f64() * 1e3);
    let window = Duration::from_secs(if quick { 2 } else { 30 });
    let events = events(&agent);
    // What the scrape has woken up goes to sleep again.
    std::thread::sleep(Duration::from_secs(1));
    let (before, start) = (Used::read(&agent), Instant::now());
    std::thread::sleep(window);
    let (after, seconds) = (Used::read(&agent), start.elapsed().as_secs_f64());
    let resident = resident(&agent);
    println!(
        "idle for {seconds:.0} s: {:.4} % of one CPU, limit 0.1; {:.1} wake-ups/s; {:.1} MiB resident, limit 30",
        (after.cpu_ns - before.cpu_ns) as f64 / 1e7 / seconds,
        (after.switches - before.switches) as f64 / seconds,
        resident / 1024.0
    );
    println!("events of other programs meanwhile: {:.1}/s", (self::events(&agent) - events) as f64 / (seconds + 1.0));
    println!("one scrape: {:.2} ms of CPU", scrape_cost(&agent, if quick { 5 } else { 50 }) / 1e6);
    println!("load average: {}", std::fs::read_to_string("/proc/loadavg").unwrap_or_default().trim());
    assert!(agent.stop().success());
}

/// What the agent has used so far.
struct Used {
    cpu_ns: u64,
    /// How often a thread of it went to sleep by itself.
    switches: u64,
}

impl Used {
    fn read(agent: &Agent) -> Used {
        let (mut cpu_ns, mut switches) = (0, 0);
        for task in std::fs::read_dir(format!("/proc/{}/task", agent.pid())).into_iter().flatten().flatten() {
            let read = |file: &str| std::fs::read_to_string(task.path().join(file)).unwrap_or_default();
            // Nanoseconds on a CPU, nanoseconds of waiting for one, time slices.
            cpu_ns += read("schedstat").split(' ').next().and_then(|ns| ns.parse::<u64>().ok()).unwrap_or_default();
            let status = read("status");
            let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
            switches += line.and_then(|count| count.trim().parse::<u64>().ok()).unwrap_or_default();
        }
        Used { cpu_ns, switches }
    }
}

/// Records that the agent has read.
fn events(agent: &Agent) -> u64 {
    let scrape = agent.metrics();
    let value = |series: &str| -> u64 {
        scrape.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok()).unwrap_or_default()
    };
    value("exec_msgs") + value("flow_msgs")
}

/// Nanoseconds of CPU per scrape, each on a connection of its own, many in a row.
fn scrape_cost(agent: &Agent, count: u64) -> f64 {
    let before = Used::read(agent).cpu_ns;
    (0..count).for_each(|_| drop(agent.metrics()));
    (Used::read(agent).cpu_ns - before) as f64 / count as f64
}

/// KiB.
fn resident(agent: &Agent) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", agent.pid())).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().unwrap_or_default()
}
