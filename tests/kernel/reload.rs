//! Reloads while flows come and go: what does not change loses nothing.

use std::collections::HashMap;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::agent::{Agent, Record, directory};
use crate::flows::directive;
use crate::worker::{self, Worker, alias};

#[test]
fn removing_one_directive_of_flows_takes_nothing_from_another() {
    let name = worker::name("tk");
    let both = format!("{}\n{}", named("kept", &name), named("removed", &name));
    let agent = Agent::alone("", &both);
    let mut worker = Worker::start(&name, &["ping-pong", "127.0.0.1:0", PAUSE]);
    worker.line();
    agent.until("traffic", |records| records.len() > 2000);
    agent.reload(&named("kept", &name));
    agent.until_shows("tawon_directive_runs_total{directive=\"removed\",status=\"stopped\"}", 1.0);
    let then = agent.records();
    agent.until("more traffic", |records| records.len() > then + 2000);
    worker.go();
    let done: usize = worker.end()[0].parse().unwrap();
    let found = agent.wait_for_idle("flows");
    assert_eq!(found.value("flow_msgs_lost"), 0.0);
    agent.until_shows("flow_flows_tracked", 0.0);
    let records = agent.stop();
    let (kept, removed): (Vec<Record>, Vec<Record>) =
        records.into_iter().partition(|record| record.directive == "kept");
    whole(&kept, 2 * done);
    // Each flow that it was told the start of it was told the end of, with or without one.
    let mut open = HashMap::<&str, i32>::new();
    for record in &removed {
        *open.entry(record.text("flowID")).or_default() += if record.is("started") { 1 } else { -1 };
    }
    assert!(!removed.is_empty() && open.values().all(|balance| *balance == 0));
}

#[test]
fn a_thousand_reloads_leave_a_shared_directive_and_the_machine_as_they_were() {
    const RELOADS: usize = 1000;
    let name = worker::name("tl");
    let shared = named("shared", &name);
    let other = "  - name: other\n    condition: {equal: {field: process.name, value: nobody}}\n    tasks:\n      \
                 - {task: exec}\n      - {task: log}";
    let with = format!("{shared}\n{other}");
    let agent = Agent::alone("", &shared);
    let reloaded = |times: usize| {
        agent.wait(&format!("reload {times}"), || agent.scrape().value(SUCCESSES) >= times as f64);
    };
    for turn in 0..20 {
        agent.reload(if turn % 2 == 0 { &with } else { &shared });
        reloaded(turn + 1);
    }
    let before = Standing::of(&agent);
    let mut worker = Worker::start(&name, &["ping-pong", "127.0.0.1:0", PAUSE]);
    worker.line();
    agent.until("traffic", |records| records.len() > 100);
    for turn in 20..RELOADS {
        agent.reload(if turn % 2 == 0 { &with } else { &shared });
        reloaded(turn + 1);
    }
    worker.go();
    let done: usize = worker.end()[0].parse().unwrap();
    let found = agent.wait_for_idle("flows");
    assert_eq!(found.value("flow_msgs_lost"), 0.0);
    agent.until_shows("flow_flows_tracked", 0.0);
    agent.wait("the other directive has gone", || {
        let found = agent.scrape();
        let runs =
            |name: &str| found.opt(&format!("tawon_directive_runs_total{{directive=\"{name}\",status=\"stopped\"}}"));
        assert_eq!(runs("shared").unwrap_or_default(), 0.0, "the shared one's run goes on");
        // One that goes before its sources are attached has not run.
        assert!(runs("other").is_some_and(|runs| (1.0..=RELOADS as f64 / 2.0).contains(&runs)));
        found.opt("tawon_directive_state{directive=\"other\",state=\"running\"}").is_none()
    });
    let end = std::time::Instant::now() + crate::agent::patience();
    while let Some(difference) = Standing::of(&agent).differs(&before) {
        assert!(std::time::Instant::now() < end, "{difference}");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    assert_eq!(agent.scrape().missed(), []);
    let records = agent.stop();
    assert!(records.iter().all(|record| record.directive == "shared"));
    whole(&records, 2 * done);
}

/// Every flow once started and once ended.
pub fn whole(records: &[Record], flows: usize) {
    let mut seen = HashMap::<&str, (u32, u32)>::new();
    for record in records {
        let (started, ended) = seen.entry(record.text("flowID")).or_default();
        match record.is("started") {
            true => *started += 1,
            false => *ended += 1,
        }
        assert!(record.is("started") || record.at("endedAt").is_string(), "{record:?}");
    }
    assert_eq!(seen.len(), flows);
    assert_eq!(seen.values().filter(|times| **times != (1, 1)).count(), 0);
}

/// Microseconds between two connections: without one, an agent that is not optimised cannot follow.
const PAUSE: &str = if cfg!(debug_assertions) { "1000" } else { "0" };

/// What the agent holds of the machine.
#[derive(Debug)]
struct Standing {
    descriptors: usize,
    kibibytes: usize,
    programs: Option<usize>,
}

impl Standing {
    fn of(agent: &Agent) -> Standing {
        let proc = format!("/proc/{}", agent.pid());
        let status = std::fs::read_to_string(format!("{proc}/status")).unwrap();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        Standing {
            descriptors: std::fs::read_dir(format!("{proc}/fd")).unwrap().count(),
            kibibytes: resident.trim().trim_end_matches(" kB").parse().unwrap(),
            programs: programs(agent.pid()),
        }
    }

    fn differs(&self, before: &Standing) -> Option<String> {
        // Tables, and the queue before a reader that falls behind, grow to their working size once.
        let grown = self.kibibytes > before.kibibytes + 32 * 1024;
        // A scrape's connection may have been open at the first look.
        let same = self.descriptors <= before.descriptors && self.programs == before.programs && !grown;
        (!same).then(|| format!("{before:?} before, {self:?} now"))
    }
}

/// Loaded BPF programs whose names are ours, of this process.
fn programs(pid: u32) -> Option<usize> {
    let listed = Command::new("bpftool").args(["-j", "prog", "show"]).output().ok()?;
    let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).ok()?;
    let of_it = |program: &&serde_json::Value| {
        program["pids"].as_array().is_some_and(|pids| pids.iter().any(|of| of["pid"] == pid))
    };
    Some(listed.as_array()?.iter().filter(of_it).count())
}

/// `flows` of the process of this name, as a directive of another name.
fn named(directive_name: &str, name: &str) -> String {
    directive("{}", &[name]).replace("name: test", &format!("name: {directive_name}"))
}

#[test]
fn a_directive_in_the_place_of_the_last_one_of_its_source_misses_nothing_and_doubles_nothing() {
    let directory = directory("places");
    let name = worker::name("tp");
    let program = alias(&directory, &name, Path::new("/bin/true"));
    let of = |directives: &[(&str, &str)]| directives.iter().map(|(of, task)| one(of, task, &name)).collect::<String>();
    let agent = Agent::start(&of(&[("a", "exec")]));
    let ended = Arc::new(AtomicBool::new(false));
    let starts = std::thread::spawn({
        let (program, ended) = (program.clone(), ended.clone());
        move || {
            let mut starts = 0;
            while !ended.load(Ordering::Relaxed) {
                let status = Command::new(&program).arg0("true").arg(starts.to_string()).status();
                assert!(status.expect("it starts").success());
                starts += 1;
            }
            starts
        }
    });
    let steps: [&[(&str, &str)]; 5] = [
        &[("b", "exec")],
        &[("b", "exec, config: {meta: process}")],
        &[("b", "exec, config: {meta: process}"), ("f", "flows")],
        &[("c", "exec"), ("g", "flows")],
        &[("d", "exec")],
    ];
    for (turn, step) in steps.into_iter().enumerate() {
        agent.reload(&of(step));
        agent.wait("the reload", || agent.scrape().value(SUCCESSES) == turn as f64 + 2.0);
        agent.wait_until_ready();
        let found = agent.scrape();
        for (directive, _) in step {
            let state = format!("tawon_directive_state{{directive=\"{directive}\",state=\"running\"}}");
            assert_eq!(found.value(&state), 1.0, "{state}");
        }
        // Each is told of something before the next comes.
        let last = step[0].0;
        agent.until("a start", |records| records.iter().any(|record| record.directive == last && is_start(record)));
    }
    ended.store(true, Ordering::Relaxed);
    let starts: usize = starts.join().unwrap();
    agent.until("every start", |records| records.iter().filter(|record| is_start(record)).count() >= starts);
    let mut seen: Vec<usize> = agent
        .stop()
        .iter()
        .filter(|record| is_start(record))
        .map(|record| record.at("args")[1].as_str().unwrap().parse().unwrap())
        .collect();
    seen.sort_unstable();
    assert!(seen.iter().copied().eq(0..starts), "{starts} starts, {seen:?}");
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn a_directive_that_starts_when_the_last_one_of_its_source_stops_is_told_of_what_follows() {
    let name = worker::name("ts");
    let directory = directory("succession");
    let program = alias(&directory, &name, Path::new("/bin/true"));
    let now = jiff::Timestamp::now();
    // A whole second, and time enough for the first to begin.
    let at = jiff::Timestamp::from_second(now.as_second() + 4).unwrap();
    let [first, second] = [("first", "stopAt"), ("second", "startAt")].map(|(directive, when)| {
        one(directive, "exec", &name).replacen("    tasks", &format!("    {when}: {at}\n    tasks"), 1)
    });
    let agent = Agent::start(&format!("{first}{second}"));
    agent.until_shows("tawon_directive_runs_total{directive=\"first\",status=\"completed\"}", 1.0);
    agent.wait_until_ready();
    assert!(Command::new(&program).arg0("true").status().unwrap().success());
    agent.until("its start", |records| records.iter().any(|record| record.directive == "second" && is_start(record)));
    drop(agent);
    std::fs::remove_dir_all(directory).unwrap();
}

fn is_start(record: &Record) -> bool {
    record.is("started") && record.at("args").is_array()
}

/// A directive of one task and a log, of the processes of a name.
fn one(directive: &str, task: &str, name: &str) -> String {
    format!(
        "  - name: {directive}\n    condition: {{equal: {{field: process.name, value: {name}}}}}\n    tasks:\n      \
         - {{task: {task}}}\n      - {{task: log}}\n"
    )
}

const SUCCESSES: &str = "tawon_config_reloads_total{status=\"success\"}";
