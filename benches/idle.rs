//! The agent with the example configuration and nothing asked of it: how long it takes to be ready,
//! what it uses of a CPU and of memory, how often it wakes up. One scrape before the time that is looked
//! at and one behind it tell how many events other programs made meanwhile, and the seconds in which they
//! made none are looked at apart; so is what a scrape costs.

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
    let mut looks = vec![Look::at(&agent)];
    for _ in 0..window.as_secs() {
        std::thread::sleep(Duration::from_secs(1));
        looks.push(Look::at(&agent));
    }
    let resident = resident(&agent);
    let seconds: Vec<[&Look; 2]> = looks.windows(2).map(|pair| [&pair[0], &pair[1]]).collect();
    show("whole window", &seconds);
    // Where nothing was written in the second before either: what an event sets in motion lasts a little.
    let written = |pair: &[&Look; 2]| pair[1].written > pair[0].written;
    let quiet: Vec<[&Look; 2]> =
        seconds.windows(2).filter(|two| !written(&two[0]) && !written(&two[1])).map(|two| two[1]).collect();
    show("seconds without events", &quiet);
    println!("resident: {:.1} MiB, limit 30", resident / 1024.0);
    let events = self::events(&agent) - events;
    println!("events of other programs: {:.1}/s", events as f64 / (window.as_secs_f64() + 1.0));
    println!("one scrape: {:.2} ms of CPU", scrape_cost(&agent, if quick { 5 } else { 50 }) / 1e6);
    println!("load average: {}", std::fs::read_to_string("/proc/loadavg").unwrap_or_default().trim());
    assert!(agent.stop().success());
}

fn show(what: &str, seconds: &[[&Look; 2]]) {
    let sum = |pick: fn(&[&Look; 2]) -> u64| seconds.iter().map(pick).sum::<u64>() as f64;
    let time = sum(|[from, to]| (to.at - from.at).as_nanos() as u64) / 1e9;
    println!(
        "{what:<24}{time:>6.0} s: {:.4} % of one CPU, limit 0.1 when idle; {:.1} wake-ups/s",
        sum(|[from, to]| to.cpu_ns - from.cpu_ns) / 1e7 / time,
        sum(|[from, to]| to.switches - from.switches) / time
    );
}

/// What the agent has used so far, without asking it.
struct Look {
    at: Instant,
    cpu_ns: u64,
    /// How often a thread of it went to sleep by itself.
    switches: u64,
    /// Bytes of records.
    written: u64,
}

impl Look {
    fn at(agent: &Agent) -> Look {
        let (mut cpu_ns, mut switches) = (0, 0);
        for task in std::fs::read_dir(format!("/proc/{}/task", agent.pid())).into_iter().flatten().flatten() {
            let read = |file: &str| std::fs::read_to_string(task.path().join(file)).unwrap_or_default();
            // Nanoseconds on a CPU, nanoseconds of waiting for one, time slices.
            cpu_ns += read("schedstat").split(' ').next().and_then(|ns| ns.parse::<u64>().ok()).unwrap_or_default();
            let status = read("status");
            let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
            switches += line.and_then(|count| count.trim().parse::<u64>().ok()).unwrap_or_default();
        }
        let written = std::fs::metadata(agent.directory.join("stdout")).map_or(0, |found| found.len());
        Look { at: Instant::now(), cpu_ns, switches, written }
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
    let before = Look::at(agent).cpu_ns;
    (0..count).for_each(|_| drop(agent.metrics()));
    (Look::at(agent).cpu_ns - before) as f64 / count as f64
}

/// KiB.
fn resident(agent: &Agent) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", agent.pid())).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().unwrap_or_default()
}
