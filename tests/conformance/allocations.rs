//! What an event costs on its whole way, from the record as the kernel side sends it to the line that
//! `log` writes: no allocation, once everything is warm.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant as Clock};

use tawon::kernel::abi;
use tawon::metrics::Metrics;
use tawon::pipeline::Pipeline;
use tawon::process::metadata::Meta;
use tawon::task::source::{Tap, exec};
use tawon::task::{self, Build, Context, Options};
use tawon::time::Instant;

use crate::support::alloc;
use crate::support::records::{self, *};

#[test]
fn processes_and_flows_are_logged_without_allocating_once_warm() {
    // What `log` writes would stand among the tests' output: the work is done by a child whose output
    // nobody reads.
    let child = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "allocations::every_kind_of_record", "--ignored", "--nocapture"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .expect("this program runs");
    let said = String::from_utf8_lossy(&child.stderr);
    assert!(child.status.success() && said.contains("allocations: exec 0, flows 0"), "{said}");
}

#[test]
#[ignore = "writes to standard output; the test above runs it"]
fn every_kind_of_record() {
    let metrics = Arc::new(Metrics::new("").unwrap());
    let exec = of_exec(&metrics);
    let flows = of_flows(&metrics);
    eprintln!("allocations: exec {exec}, flows {flows}");
}

/// Processes that fork, exec, rename themselves, make threads and end.
fn of_exec(metrics: &Arc<Metrics>) -> u64 {
    let (mut around, mut engine, mut record) = (Around::new(16), exec::Engine::new(metrics), Vec::new());
    let options = exec::Options { threads: true, forks: true, existing: false };
    engine.taps.insert(0, Tap::new(options, Meta::parse("all").unwrap(), log(metrics)));
    let mut round = |number: u64| {
        for at in 0..40 {
            around.now += 1_000_000;
            let time = around.now;
            let (pid, start) = (20_000 + at, number * SECOND * 10 + u64::from(at) * 1_000_000);
            let made = |kind| records::exec(kind, pid, FIRST_PID, start, time);
            engine.record(abi::bytes(&made(FORK)), &mut around.world());
            exec_with_data(made(EXEC), &mut record);
            engine.record(&record, &mut around.world());
            for kind in [RENAME, THREAD, THREAD_EXIT, EXIT] {
                engine.record(abi::bytes(&made(kind)), &mut around.world());
            }
            // An end without a beginning, told of after a second.
            let lone = records::exec(EXIT, 40_000 + at, FIRST_PID, start, time);
            engine.record(abi::bytes(&lone), &mut around.world());
            // Fewer than fill a batch of lines: how many buffers there are depends on nothing else.
            if at % 5 == 4 {
                settle(&mut engine.taps.get_mut(0).unwrap().pipeline, time);
            }
        }
        around.now += 2 * SECOND;
        engine.tick(&mut around.world());
        // The agent tells the kernel of them after every turn.
        around.processes.decisions.clear();
        settle(&mut engine.taps.get_mut(0).unwrap().pipeline, around.now);
    };
    let allocations = count(&mut round);
    let events = engine.taps.get(0).unwrap().pipeline.events();
    assert_eq!(events, ROUNDS * 40 * 6, "fork, exec, thread and its end, the end, the lone end");
    allocations
}

/// Connections in both directions, refused ones, ones that nobody accepts, and datagrams.
fn of_flows(metrics: &Arc<Metrics>) -> u64 {
    let mut around = Around::new(16);
    let mut engine = flows_engine(metrics, 4096, log(metrics));
    let mut round = |_| {
        for at in 0..40 {
            around.now += 1_000_000;
            let (time, pid) = (around.now, FIRST_PID + at as u32 % 16);
            let mut record = |bytes: &[u8]| engine.record(bytes, &mut around.world());
            let out = owned(flow(CONNECTED, at, time), pid);
            record(abi::bytes(&out));
            let arrived = flow(ARRIVED, 1000 + at, time);
            record(abi::bytes(&arrived));
            record(abi::bytes(&claim(CLAIMED, arrived.flow, arrived.sock, pid, time + 1)));
            // One that nobody accepts, at a socket that listens.
            let listening = owned(flow(LISTENING, 2000 + at, time), pid);
            record(abi::bytes(&listening));
            let waiting = flow(ARRIVED, 3000 + at, time);
            record(abi::bytes(&waiting));
            let mut datagram = flow(DATAGRAM, 4000 + at, time);
            datagram.protocol = 17;
            record(abi::bytes(&datagram));
            record(abi::bytes(&claim(CLAIMED, 0, datagram.sock, pid, time + 1)));
            record(abi::bytes(&claim(RELEASED, 0, datagram.sock, pid, time + 2)));
            record(abi::bytes(&ended(out, time + 3)));
            record(abi::bytes(&ended(owned(arrived, pid), time + 3)));
            if at % 5 == 4 {
                settle(&mut engine.taps.get_mut(0).unwrap().pipeline, time);
            }
        }
        around.now += 2 * SECOND;
        engine.tick(&mut around.world());
        settle(&mut engine.taps.get_mut(0).unwrap().pipeline, around.now);
        for at in 0..40 {
            let now = around.now;
            let mut record = |bytes: &[u8]| engine.record(bytes, &mut around.world());
            record(abi::bytes(&ended(flow(ARRIVED, 3000 + at, 1), now)));
            let listening = flow(LISTENING, 2000 + at, 1);
            record(abi::bytes(&claim(UNLISTENED, 0, listening.sock, FIRST_PID, now)));
        }
        settle(&mut engine.taps.get_mut(0).unwrap().pipeline, around.now);
    };
    let allocations = count(&mut round);
    engine.gauges();
    assert_eq!(metrics.counter("flow_msgs").get(), ROUNDS * 40 * 12);
    assert_eq!(engine.taps.get(0).unwrap().pipeline.events(), ROUNDS * 40 * 8, "four flows, each started and ended");
    assert_eq!(engine.occupancy().0, 0);
    allocations
}

/// Allocations of the rounds behind those that warm up.
fn count(round: &mut dyn FnMut(u64)) -> u64 {
    (0..WARM).for_each(&mut *round);
    alloc::count(|| (WARM..ROUNDS).for_each(&mut *round))
}

/// Waits until the lines are written.
fn settle(pipeline: &mut Pipeline, now: u64) {
    pipeline.tick(Instant(now));
    pipeline.tick(Instant(now + SECOND));
    let deadline = Clock::now() + Duration::from_secs(30);
    while !pipeline.drained() {
        assert!(Clock::now() < deadline, "lines are not written");
        std::thread::yield_now();
    }
}

fn log(metrics: &Arc<Metrics>) -> Pipeline {
    let Build::Destination(build) = task::find("log").unwrap().build else { panic!("a destination") };
    let context = Context {
        tawon_id: "node-7".into(),
        hostname: "node-7".into(),
        directive: "all".into(),
        metrics: metrics.clone(),
        redact: Arc::new([]),
        packets: false,
        memory: 1 << 30,
    };
    Pipeline::new(vec![build(&Options::default(), &context).unwrap()])
}

const WARM: u64 = 20;
const ROUNDS: u64 = 40;
