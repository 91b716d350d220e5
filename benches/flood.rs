//! The agent while flows come at 50 000 a second and 40 000 are open: the longest that a scrape waits,
//! while nothing else happens, while SIGHUP takes one of two directives away and brings it back, while
//! every open flow is told of at an interval, and while a
//! configuration of 1 MB is read. At the end every
//! flow must have been told of, as started and as ended, to the directive that stayed.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

#[path = "../tests/support/agent.rs"]
mod agent;

use agent::Agent;

fn main() {
    let quick = !std::env::args().any(|arg| arg == "--bench");
    // SAFETY: takes and changes nothing.
    if unsafe { libc::geteuid() } != 0 {
        return println!("SKIPPED: flood: not root");
    }
    let time = Duration::from_millis(if quick { 700 } else { 8000 });
    // An unoptimised agent is not to be more than busy.
    let flood = if quick { Flood { rate: 2000.0, open: 2000 } } else { Flood { rate: 50_000.0, open: 40_000 } };
    let both = config("");
    let one = both.split("  - name: removed").next().unwrap_or_default().to_owned();
    let agent = Agent::start("flood", &both);
    // What a thread takes that does nothing but answer, for comparison.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let echo = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read_exact(&mut [0; 2]).and_then(|()| stream.write_all(b"23"));
        }
    });
    let (running, sent) = (AtomicBool::new(true), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let load = scope.spawn(|| load(flood, &running, &sent));
        let warm = Instant::now();
        scrapes(&agent, echo, "", Duration::from_millis(900), &mut |_| ());
        agent.until("many open flows", || {
            value(&agent.metrics(), "flow_flows_tracked") > flood.open as f64 * 0.9 || warm.elapsed() > 5 * time
        });
        scrapes(&agent, echo, "steady", time, &mut |_| ());
        let mut steps = vec![(time / 3, &one), (2 * time / 3, &both)];
        scrapes(&agent, echo, "a directive goes and comes back", time, &mut |past| {
            steps.retain(|(at, config)| {
                let due = *at <= past;
                if due {
                    agent.reload(config);
                }
                !due
            });
        });
        agent.reload(&config(", interval: 2s"));
        scrapes(&agent, echo, "every open flow each 2 s", time, &mut |_| ());
        // Nearly as large as it may be: regular expressions, of a directive that is not enabled.
        let mut large = config(", interval: 2s");
        large.push_str(
            "  - name: large\n    enabled: false\n    tasks: [{task: exec}, {task: log}]\n    condition:\n      or:\n",
        );
        for at in 0..if quick { 100 } else { 10_000 } {
            writeln!(large, "        - regex: {{field: process.name, regex: '^nobody-{at:05}-(a|b|c)[0-9]+$'}}")
                .expect("in memory");
        }
        let reloads = value(&agent.metrics(), "tawon_config_reloads_total{status=\"success\"}");
        agent.reload(&large);
        scrapes(&agent, echo, &format!("a configuration of {} KB is read", large.len() / 1000), time, &mut |_| ());
        agent.until("the large configuration", || {
            value(&agent.metrics(), "tawon_config_reloads_total{status=\"success\"}") > reloads
        });
        running.store(false, Ordering::Relaxed);
        load.join().expect("the load ends");
    });
    agent.until("all flows ended", || value(&agent.metrics(), "flow_flows_tracked") == 0.0);
    let found = agent.metrics();
    let status: serde_json::Value =
        serde_json::from_str(&agent.get("/directives").expect("an answer").body).expect("JSON");
    let kept = status["directives"].as_array().into_iter().flatten().find(|one| one["name"] == "kept");
    let sent = sent.load(Ordering::Relaxed);
    let [started, ended, lost, evicted] = [
        "flows_task_total{status=\"started\"}",
        "flows_task_total{status=\"ended\"}",
        "flow_msgs_lost",
        "tawon_table_evictions_total{table=\"flows\"}",
    ]
    .map(|series| value(&found, series));
    println!(
        "{sent} flows: kept was handed {} records, started and ended; lost {lost}, evicted {evicted}; all directives together: {started} started, {ended} ended",
        kept.map_or(0, |kept| kept["counts"]["events"].as_u64().unwrap_or_default())
    );
    for line in found
        .lines()
        .filter(|line| line.starts_with("tawon_bpf_errors_total{module=\"flows\"") && !line.ends_with(" 0"))
    {
        println!("{line}");
    }
    assert!(agent.stop().success());
}

/// Scrapes one after the other; `meanwhile` is called in between with the time that has passed.
fn scrapes(agent: &Agent, echo: SocketAddr, what: &str, time: Duration, meanwhile: &mut dyn FnMut(Duration)) {
    let (start, before, queued) = (Instant::now(), records(agent), queued(agent));
    let (mut waits, mut bare) = (Vec::new(), 0f64);
    while start.elapsed() < time {
        meanwhile(start.elapsed());
        let asked = Instant::now();
        drop(agent.get("/metrics").expect("a scrape"));
        waits.push(asked.elapsed().as_secs_f64() * 1e3);
        let asked = Instant::now();
        let mut stream = TcpStream::connect(echo).expect("connects");
        stream.write_all(b"23").and_then(|()| stream.read_exact(&mut [0; 2])).expect("an answer");
        bare = bare.max(asked.elapsed().as_secs_f64() * 1e3);
        std::thread::sleep(Duration::from_millis(5));
    }
    let rate = (records(agent) - before) / start.elapsed().as_secs_f64();
    let queued = (self::queued(agent) - queued) / 1e7 / start.elapsed().as_secs_f64();
    waits.sort_by(f64::total_cmp);
    let (middle, longest) = (waits[waits.len() / 2], waits[waits.len() - 1]);
    if !what.is_empty() {
        println!(
            "{what:<40} {:>5} scrapes at {rate:.0} records/s: median {middle:.1} ms, longest {longest:.1} ms, limit 50; longest exchange with a bare thread {bare:.1} ms; the loop waited for a CPU {queued:.1} % of the time, load average {}",
            waits.len(),
            std::fs::read_to_string("/proc/loadavg").unwrap_or_default().trim()
        );
    }
}

/// First datagrams to ever new addresses, `EACH` from each socket; the sockets stay open until as many
/// flows are as there are to be.
fn load(Flood { rate, open }: Flood, running: &AtomicBool, sent: &AtomicU64) {
    let start = Instant::now();
    let mut sockets = VecDeque::new();
    let mut count = 0u32;
    while running.load(Ordering::Relaxed) {
        let due = (start.elapsed().as_secs_f64() * rate) as u32;
        if count >= due {
            std::thread::sleep(Duration::from_millis(1));
            continue;
        }
        if count.is_multiple_of(EACH) {
            sockets.push_back(UdpSocket::bind("127.0.0.1:0").expect("a port"));
            if sockets.len() > open / EACH as usize {
                sockets.pop_front();
            }
        }
        let [_, b, c, d] = (count % 0xff_0000 + 0x1_0000).to_be_bytes();
        let to = SocketAddr::from((Ipv4Addr::new(127, b, c, d), 9));
        // Nobody listens there: what comes back is of no interest.
        if sockets.back().is_some_and(|socket| socket.send_to(b"23", to).is_ok()) {
            sent.fetch_add(1, Ordering::Relaxed);
        }
        count += 1;
    }
}

/// Nanoseconds that the loop's thread could run and got no CPU.
fn queued(agent: &Agent) -> f64 {
    let schedstat = std::fs::read_to_string(format!("/proc/{}/schedstat", agent.pid())).unwrap_or_default();
    schedstat.split(' ').nth(1).and_then(|ns| ns.parse().ok()).unwrap_or_default()
}

fn records(agent: &Agent) -> f64 {
    value(&agent.metrics(), "flow_msgs")
}

fn value(scrape: &str, series: &str) -> f64 {
    scrape.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok()).unwrap_or_default()
}

/// Two directives of UDP flows; one writes to another file than the other.
fn config(options: &str) -> String {
    let directive = |name: &str, path: &str, options: &str| {
        format!(
            "  - name: {name}\n    tasks:\n      - {{task: flows, config: {{protocols: udp{options}}}}}\n      \
             - {{task: file, config: {{path: {path}}}}}\n"
        )
    };
    format!(
        "metrics: {{listen: \"PORT\"}}\nprobes: {{listen: \"PORT\"}}\ndirectives:\n{}{}",
        directive("kept", "/dev/null", ""),
        directive("removed", "/dev/zero", options)
    )
}

/// How many flows come in a second, and how many are open at a time.
#[derive(Clone, Copy)]
struct Flood {
    rate: f64,
    open: usize,
}

/// How many flows are of one socket.
const EACH: u32 = 1000;
