//! Threads: each start and end once, and processes that go on without the thread that they began with.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use serde_json::json;

use crate::agent::{Agent, Record, count, directory};
use crate::exec::{directive, nanoseconds};
use crate::worker::{self, Worker, alias};

#[test]
fn an_exec_from_another_thread_goes_on_as_the_same_process() {
    let directory = directory("thread-exec");
    let (before, after) = (worker::name("ta"), worker::name("tb"));
    let program = alias(&directory, &after, Path::new("/bin/true"));
    let mut worker = Worker::start(&before, &["thread-execs", program.to_str().unwrap()]);
    let pid = u64::from(worker.pid());
    let agent = Agent::start(&directive(&after, "{}"));
    worker.go();
    worker.end();
    agent.until("the end", |records| count(records, "ended") == 1);
    let records = agent.stop();
    assert_eq!(records.len(), 2, "{records:?}");
    for record in &records {
        assert_eq!((record.number("process.pid"), record.text("process.name")), (pid, &*after));
        assert_eq!(record.at("args"), &json!(["true", "from-a-thread"]));
    }
    assert_eq!(records[1].number("exitCode"), 0);
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn a_process_lives_on_when_its_leader_has_left() {
    let name = worker::name("tl");
    let mut worker = Worker::start(&name, &["leader-leaves"]);
    let agent = Agent::start(&directive(&name, "existing: true"));
    agent.until("the start", |records| count(records, "started") == 1);
    let began = nanoseconds();
    worker.go();
    agent.until("the end", |records| count(records, "ended") == 1);
    drop(worker);
    let records = agent.stop();
    assert_eq!((count(&records, "started"), count(&records, "ended")), (1, 1));
    let ended = records.iter().find(|record| record.is("ended")).unwrap();
    assert_eq!(ended.number("exitCode"), 7);
    assert!(ended.number("tsNs") >= began + 500_000_000, "the end came with the leader's");
}

#[test]
fn threads_are_told_of_where_they_are_wanted() {
    let name = worker::name("tt");
    let mut worker = Worker::start(&name, &["threads", "9"]);
    let pid = worker.pid();
    let agent = Agent::start(&directive(&name, "threads: true"));
    let before = nanoseconds();
    worker.go();
    let tids: HashSet<u64> = worker.end().iter().map(|line| line.parse().unwrap()).collect();
    agent.until("the process's end", |records| {
        records.iter().any(|record| record.is("ended") && record.at("exitCode") == 0)
    });
    let records = agent.stop();
    let of_threads = |state: &str| -> HashSet<u64> {
        let threads = records.iter().filter(|record| record.is(state) && record.at("process.tid") != pid);
        threads.map(|record| record.number("process.tid")).collect()
    };
    assert_eq!(of_threads("started"), tids);
    assert_eq!(of_threads("ended"), tids);
    for tid in tids {
        let [started, ended] = ["started", "ended"].map(|state| {
            let mut those = records.iter().filter(|record| record.is(state) && record.at("process.tid") == tid);
            those.next().unwrap()
        });
        assert_eq!(ended.text("startedAt"), started.text("startedAt"));
        // A duration is told in whole microseconds, what is left of the last one is not.
        assert!((before..started.number("tsNs") + 1000).contains(&began_at(ended)), "{started:?} {ended:?}");
    }
    assert_eq!((count(&records, "started"), count(&records, "ended")), (9, 10));
}

#[test]
fn each_thread_and_each_process_starts_and_ends_once_whichever_of_the_last_is_first() {
    const TIMES: usize = 100;
    let name = worker::name("tx");
    let times = TIMES.to_string();
    let ways = [("apart", 1), ("left", 8), ("exit", 7), ("kill", 7)];
    let workers = ways.map(|(how, _)| Worker::start(&name, &["ends-of-threads", how, &times]));
    let agent = Agent::start(&directive(&name, "threads: true, forks: true, meta: all"));
    let mut processes = HashMap::new();
    for (mut worker, (_, threads)) in workers.into_iter().zip(ways) {
        worker.go();
        processes.extend(worker.end().iter().map(|line| (line.parse().unwrap(), threads)));
    }
    // Pids come again only after many more.
    assert_eq!(processes.len(), ways.len() * TIMES);
    until_ended(&agent, processes.len() + ways.len());
    each_once(&agent.stop(), &processes);
}

#[test]
fn each_thread_that_an_exec_ends_and_the_one_that_execs_ends_once_with_its_start() {
    const TIMES: usize = 50;
    let directory = directory("thread-execs");
    let (name, after) = (worker::name("tv"), worker::name("tw"));
    let program = alias(&directory, &after, Path::new("/bin/true"));
    let times = TIMES.to_string();
    let ways = ["among", "left"];
    let workers = ways.map(|how| Worker::start(&name, &["execs-of-threads", how, &times, program.to_str().unwrap()]));
    let agent = Agent::start(&directive(&name, "threads: true, forks: true, meta: all"));
    let mut processes = HashMap::new();
    for mut worker in workers {
        worker.go();
        processes.extend(worker.end().iter().map(|line| (line.parse().unwrap(), 23)));
    }
    assert_eq!(processes.len(), ways.len() * TIMES);
    until_ended(&agent, processes.len() + ways.len());
    each_once(&agent.stop(), &processes);
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn who_was_told_of_a_threads_start_is_told_of_its_end_under_another_name_of_its_process() {
    for wanted in [true, false] {
        let (before, after) = (worker::name("ty"), worker::name("tz"));
        let mut worker = Worker::start(&before, &["rename-with-threads", "23", &after]);
        let pid = u64::from(worker.pid());
        let told = directive(&before, "threads: true, meta: all");
        let agent = Agent::start(&told);
        worker.go();
        let tids: HashSet<u64> = (0..23).map(|_| worker.numbers()[0]).collect();
        agent.until("all starts", |records| count(records, "started") == 23);
        // Everything is decided anew, with one that wants what the process is going to be or with one that does not.
        let name = if wanted { after.clone() } else { worker::name("tu") };
        let late = directive(&name, "threads: true, meta: all").replace("name: test", "name: late");
        agent.reload(&format!("{told}\n{late}"));
        agent.until_shows("tawon_directive_state{directive=\"late\",state=\"running\"}", 1.0);
        worker.go();
        worker.line();
        worker.go();
        worker.end();
        agent.until("all ends", |records| {
            let of_process = records.iter().filter(|record| record.at("exitCode") == 0);
            of_process.count() == 1 + usize::from(wanted)
        });
        let records = agent.stop();
        let of = |directive: &str, state: &str| -> Vec<&Record> {
            let those = records.iter().filter(|record| record.directive == directive && record.is(state));
            those.filter(|record| record.at("process.tid") != pid).collect()
        };
        let late = if wanted { 23 } else { 0 };
        assert_eq!((of("test", "started").len(), of("test", "ended").len()), (23, 23));
        assert_eq!((of("late", "started").len(), of("late", "ended").len()), (0, late));
        let ended: HashSet<u64> = of("test", "ended").iter().map(|record| record.number("process.tid")).collect();
        assert_eq!(ended, tids);
        for ended in of("test", "ended") {
            assert_eq!(ended.text("process.name"), after);
            assert!(ended.at("startedAt").is_string() && ended.at("durationUs").is_u64(), "{ended:?}");
        }
    }
}

#[test]
fn threads_that_an_exec_ends_are_told_of_and_so_is_the_one_that_execs() {
    let directory = directory("thread-pairs");
    let (before, after) = (worker::name("tq"), worker::name("tr"));
    let program = alias(&directory, &after, Path::new("/bin/true"));
    let mut worker = Worker::start(&before, &["thread-execs", program.to_str().unwrap()]);
    let pid = u64::from(worker.pid());
    let before = directive(&before, "threads: true, meta: all");
    let after = directive(&after, "threads: true, meta: all").replace("name: test", "name: after");
    let agent = Agent::start(&format!("{before}\n{after}"));
    worker.go();
    let tids: Vec<u64> = worker.end().iter().map(|line| line.parse().unwrap()).collect();
    agent.until("both ends", |records| records.iter().filter(|record| record.at("exitCode") == 0).count() == 2);
    let records = agent.stop();
    let of = |directive: &str| -> Vec<(u64, String)> {
        let those = records.iter().filter(|record| record.directive == directive);
        those.map(|record| (record.number("process.tid"), record.text("state").to_owned())).collect()
    };
    let told = of("test");
    let [other, execs] = [tids[0], tids[1]];
    for tid in [other, execs] {
        let states: Vec<&str> = told.iter().filter(|(of, _)| *of == tid).map(|(_, state)| &**state).collect();
        assert_eq!(states, ["started", "ended"], "{tid}: {records:?}");
    }
    // Who was told of threads is told of the process's end, too.
    assert_eq!(told[told.len() - 2..], [(execs, "ended".to_owned()), (pid, "ended".to_owned())]);
    assert_eq!(told.len(), 5);
    assert_eq!(of("after"), [(pid, "started".to_owned()), (pid, "ended".to_owned())]);
    std::fs::remove_dir_all(directory).unwrap();
}

/// Waits for the ends of so many processes.
fn until_ended(agent: &Agent, processes: usize) {
    agent.until("all ends", |records| records.iter().filter(|record| has_status(record)).count() >= processes);
}

/// Of each process, its start, that and the end of so many threads, each with when it began, and its end, all once.
fn each_once(records: &[Record], processes: &HashMap<u64, usize>) {
    let mut told: HashMap<u64, Vec<&Record>> = HashMap::new();
    for record in records {
        told.entry(record.number("process.pid")).or_default().push(record);
    }
    for (pid, threads) in processes {
        let [started, of_threads @ .., ended] = &told[pid][..] else { panic!("{:?}", told[pid]) };
        for (record, state) in [(started, "started"), (ended, "ended")] {
            assert!(record.is(state) && record.at("process.tid") == *pid, "{:?}", told[pid]);
        }
        assert!(has_status(ended) && ended.at("startedAt") == started.at("startedAt"), "{ended:?}");
        let mut open = HashMap::new();
        for record in of_threads {
            let tid = record.number("process.tid");
            assert!(tid != *pid && !has_status(record), "{record:?}");
            if record.is("started") {
                assert!(open.insert(tid, record.text("startedAt")).is_none(), "twice: {record:?}");
            } else {
                let began = open.remove(&tid).expect("it has started");
                assert_eq!(record.text("startedAt"), began);
                assert!(record.at("durationUs").is_u64() && record.at("endedAt").is_string(), "{record:?}");
            }
        }
        assert!(open.is_empty() && of_threads.len() == 2 * threads, "{pid}: {open:?}, {}", of_threads.len());
    }
}

fn has_status(record: &Record) -> bool {
    record.at("exitCode").is_u64() || record.at("signal").is_u64()
}

/// When what ended began, by how long it took.
fn began_at(ended: &Record) -> u64 {
    ended.number("tsNs") - 1000 * ended.number("durationUs")
}
