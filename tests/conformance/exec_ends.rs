//! Ends of processes and threads: who is told of them, and what of, whatever happened since the start.

use std::cell::RefCell;
use std::rc::Rc;

use serde_json::Value;
use tawon::config::condition::{Condition, Field};
use tawon::kernel::abi::{self, Exec};
use tawon::metrics::Metrics;
use tawon::pipeline::{Event, Next, Pipeline, Task};
use tawon::task::source::exec::{Engine, Options};

use crate::support::records::{self, Around, EXEC, EXIT, FIRST_PID, FORK, RENAME, SECOND, START, THREAD, THREAD_EXIT};

const PID: u32 = FIRST_PID;

#[test]
fn a_thread_that_ends_behind_its_process_is_told_of_like_one_before_it() {
    let mut bench = Bench::new();
    bench.come(1, Some(named("server")), Options { threads: true, ..Options::default() });
    bench.come(2, Some(named("worker")), Options { threads: true, ..Options::default() });
    bench.come(3, None, Options::default());
    bench.record(EXIT, PID, |exit| exit.header.flags = THREADS_LEFT);
    assert_eq!(bench.take(), [(1, PID, "ended"), (3, PID, "ended")]);
    bench.record(THREAD_EXIT, PID, |thread| thread.tid = 77);
    assert_eq!(bench.take(), [(1, 77, "ended")]);
    // Another one with the bit of a directive that has gone is not told in its place.
    bench.go(1);
    bench.come(1, Some(named("other")), Options { threads: true, ..Options::default() });
    bench.record(THREAD_EXIT, PID, |thread| thread.tid = 78);
    assert_eq!(bench.take(), []);
    // Of a process that is not known at all, the record tells itself: its name is "worker".
    bench.record(THREAD_EXIT, PID + 1000, |thread| thread.tid = 79);
    assert_eq!(bench.take(), [(2, 79, "ended")]);
}

#[test]
fn a_thread_that_ends_behind_a_process_that_nobody_wants_is_not_told_of() {
    let mut bench = Bench::new();
    let others = Condition::Not(Box::new(Condition::Equal(Field::Exe, "/usr/bin/worker".to_owned())));
    bench.come(1, Some(others), Options { threads: true, ..Options::default() });
    bench.record(EXEC, PID, |_| ());
    bench.record(EXIT, PID, |exit| exit.header.flags = THREADS_LEFT);
    bench.record(THREAD_EXIT, PID, |thread| thread.tid = 77);
    assert_eq!(bench.take(), []);
}

#[test]
fn a_thread_that_execs_has_ended_as_what_it_was() {
    let mut bench = Bench::new();
    bench.come(1, Some(named("server")), Options { threads: true, ..Options::default() });
    bench.come(2, Some(named("worker")), Options::default());
    bench.record(EXEC, PID, |exec| exec.tid = 77);
    let told = bench.told.take();
    assert_eq!(states(&told), [(1, 77, "ended"), (2, PID, "started")]);
    assert_eq!((&told[0].1["process"]["name"], &told[1].1["process"]["name"]), (&"server".into(), &"worker".into()));
}

#[test]
fn a_threads_end_tells_of_its_start_where_that_is_known() {
    let mut bench = Bench::new();
    bench.come(1, None, Options { threads: true, ..Options::default() });
    for kind in [THREAD, THREAD_EXIT] {
        bench.record(kind, PID, |thread| (thread.tid, thread.thread_start) = (77, SECOND));
    }
    // Of the one that execs the kernel does not know it any more: not known of one that was there before.
    bench.record(EXEC, PID, |exec| exec.tid = 78);
    let told = bench.told.take();
    assert_eq!(states(&told), [(1, 77, "started"), (1, 77, "ended"), (1, 78, "ended"), (1, PID, "started")]);
    let [started, ended, execs] = [&told[0].1, &told[1].1, &told[2].1];
    assert_eq!(started["startedAt"], "2027-01-15T08:00:01.000000000Z");
    assert_eq!(ended["startedAt"], started["startedAt"]);
    assert_eq!(ended["durationUs"], 2000, "a record comes each millisecond");
    assert_eq!((&execs["startedAt"], &execs["durationUs"]), (&Value::Null, &Value::Null));
    assert!(execs["endedAt"].is_string());
    bench.record(THREAD, PID, |thread| (thread.tid, thread.thread_start) = (79, SECOND));
    bench.record(EXEC, PID, |exec| exec.tid = 79);
    let told = bench.told.take();
    assert_eq!(states(&told), [(1, 79, "started"), (1, 79, "ended"), (1, PID, "started")]);
    assert_eq!((&told[1].1["startedAt"], &told[1].1["durationUs"]), (&started["startedAt"], &5000.into()));
}

#[test]
fn threads_end_before_their_process_and_once_wherever_their_own_ends_are() {
    let mut bench = Bench::new();
    bench.come(1, None, Options { threads: true, ..Options::default() });
    let begin = |bench: &mut Bench, tid| {
        bench.record(THREAD, PID, |thread| (thread.tid, thread.thread_start) = (tid, SECOND));
        assert_eq!(bench.take(), [(1, tid, "started")]);
    };
    (77..80).for_each(|tid| begin(&mut bench, tid));
    // Of an exec as of the end: the kernel lost what it had to tell of 77.
    for tid in [78, 79] {
        bench.record(THREAD_EXIT, PID, |thread| (thread.tid, thread.thread_start) = (tid, SECOND));
    }
    bench.record(EXEC, PID, |_| ());
    assert_eq!(bench.take(), [(1, 78, "ended"), (1, 79, "ended"), (1, 77, "ended"), (1, PID, "started")]);
    (77..80).for_each(|tid| begin(&mut bench, tid));
    bench.record(THREAD_EXIT, PID, |thread| (thread.tid, thread.thread_start) = (78, SECOND));
    assert_eq!(bench.take(), [(1, 78, "ended")]);
    bench.record(EXIT, PID, |exit| (exit.tid, exit.header.flags) = (77, THREADS_LEFT));
    let told = bench.told.take();
    assert_eq!(states(&told), [(1, 79, "ended"), (1, 77, "ended"), (1, PID, "ended")]);
    assert!(told.iter().all(|(_, record)| record["endedAt"] == told[0].1["endedAt"]));
    // 76 was there before anybody wanted to know.
    for tid in [77, 76, 79] {
        bench.record(THREAD_EXIT, PID, |thread| (thread.tid, thread.thread_start) = (tid, SECOND));
    }
    assert_eq!(bench.take(), [(1, 76, "ended")]);
}

#[test]
fn what_is_told_of_a_start_is_told_at_the_end_wherever_the_wall_clock_has_gone_since() {
    let mut bench = Bench::new();
    bench.come(1, None, Options { threads: true, forks: true, ..Options::default() });
    bench.record(FORK, PID + 1, |_| ());
    (77..80).for_each(|tid| bench.record(THREAD, PID + 1, |thread| (thread.tid, thread.thread_start) = (tid, SECOND)));
    bench.ahead = 5000;
    bench.record(THREAD_EXIT, PID + 1, |thread| (thread.tid, thread.thread_start) = (77, SECOND));
    bench.record(EXEC, PID + 1, |exec| exec.tid = 78);
    bench.record(EXIT, PID + 1, |_| ());
    let told = bench.told.take();
    let (own, of_threads): (Vec<_>, Vec<_>) = told.iter().partition(|(_, record)| record["process"]["tid"] == PID + 1);
    assert_eq!((own.len(), of_threads.len()), (3, 6));
    assert!(own.iter().all(|(_, record)| record["startedAt"] == "2027-01-15T08:00:05.000000000Z"), "{own:?}");
    assert!(of_threads.iter().all(|(_, record)| record["startedAt"] == "2027-01-15T08:00:01.000000000Z"));
}

#[test]
fn threads_that_only_a_directive_that_has_gone_was_told_of_do_not_end_by_their_process() {
    for late in [false, true] {
        let mut bench = Bench::new();
        let threads = Options { threads: true, ..Options::default() };
        bench.come(1, None, threads);
        bench.come(2, Some(named("server")), Options::default());
        bench.record(THREAD, PID, |thread| (thread.tid, thread.thread_start) = (77, SECOND));
        assert_eq!(bench.take(), [(1, 77, "started")]);
        bench.leave(1);
        if !late {
            bench.decide();
        }
        // Meanwhile 77 may have ended, which the kernel has told nobody.
        bench.watch(1, None, threads);
        if !late {
            bench.decide();
        }
        bench.record(EXIT, PID, |exit| exit.header.flags = THREADS_LEFT);
        assert_eq!(bench.take(), [(1, PID, "ended"), (2, PID, "ended")]);
        bench.record(THREAD_EXIT, PID, |thread| (thread.tid, thread.thread_start) = (77, SECOND));
        assert_eq!(bench.take(), [(1, 77, "ended")]);
    }
}

#[test]
fn who_was_told_of_a_threads_start_is_told_of_the_end_of_it_and_of_the_process_by_whatever_name() {
    let mut bench = Bench::new();
    let threads = Options { threads: true, ..Options::default() };
    bench.come(1, Some(named("server")), threads);
    bench.come(2, Some(named("server")), Options::default());
    bench.record(THREAD, PID, |thread| thread.tid = 77);
    bench.come(3, Some(named("other")), threads);
    bench.record(RENAME, PID, |_| ());
    let masks = bench.around.processes.decisions.last().unwrap().masks;
    assert_eq!(masks[0], 0b10, "the kernel side is to tell of threads further on");
    bench.record(THREAD_EXIT, PID, |thread| thread.tid = 77);
    bench.record(EXIT, PID, |_| ());
    assert_eq!(bench.take(), [(1, 77, "started"), (1, 77, "ended"), (1, PID, "ended")]);
}

#[test]
fn who_was_told_of_a_start_is_told_of_the_end_and_of_threads_by_whatever_name() {
    let mut bench = Bench::new();
    let (existing, threads) = (true, true);
    bench.come(1, Some(named("server")), Options { existing, threads, ..Options::default() });
    assert_eq!(bench.take(), [(1, PID, "started")]);
    bench.come(2, Some(named("worker")), Options::default());
    bench.record(RENAME, PID, |_| ());
    let masks = bench.around.processes.decisions.last().unwrap().masks;
    assert_eq!(masks[0], 0b110, "the kernel side is to tell of threads further on");
    for kind in [THREAD, THREAD_EXIT] {
        bench.record(kind, PID, |thread| thread.tid = 77);
    }
    assert_eq!(bench.take(), [(1, 77, "started"), (1, 77, "ended")]);
    // Another exec is told of to those who want what the process is by then.
    bench.record(EXEC, PID, |_| ());
    assert_eq!(bench.take(), [(2, PID, "started")]);
    bench.record(RENAME, PID, |process| process.comm[..6].copy_from_slice(b"other\0"));
    // Its children are others.
    bench.record(FORK, PID + 1, |child| child.ppid = PID);
    bench.record(EXIT, PID + 1, |child| child.ppid = PID);
    assert_eq!(bench.take(), []);
    bench.record(EXIT, PID, |_| ());
    assert_eq!(bench.take(), [(1, PID, "ended"), (2, PID, "ended")]);
}

#[test]
fn a_fork_that_was_told_of_ends_for_whoever_was_told() {
    let mut bench = Bench::new();
    bench.come(1, Some(named("worker")), Options { forks: true, ..Options::default() });
    bench.come(2, Some(named("worker")), Options::default());
    bench.come(3, Some(named("other")), Options::default());
    bench.record(FORK, PID + 1, |_| ());
    bench.record(RENAME, PID + 1, |child| child.comm[..6].copy_from_slice(b"other\0"));
    bench.record(EXIT, PID + 1, |_| ());
    assert_eq!(bench.take(), [(1, PID + 1, "started"), (1, PID + 1, "ended")]);
    // To one that came later it was there.
    bench.record(FORK, PID + 2, |_| ());
    bench.go(1);
    bench.come(4, Some(named("worker")), Options { existing: true, ..Options::default() });
    bench.record(EXIT, PID + 2, |_| ());
    assert_eq!(bench.take(), [(1, PID + 2, "started"), (4, PID + 2, "started"), (4, PID + 2, "ended")]);
}

#[test]
fn a_directive_with_the_bit_of_one_that_was_told_of_a_start_is_not_told_of_the_end() {
    for late in [false, true] {
        let mut bench = Bench::new();
        let existing = Options { existing: true, ..Options::default() };
        bench.come(1, Some(named("server")), existing);
        bench.come(2, Some(named("server")), existing);
        bench.record(RENAME, PID, |_| ());
        assert_eq!(bench.take(), [(1, PID, "started"), (2, PID, "started")]);
        bench.leave(1);
        if !late {
            bench.decide();
        }
        // Before its turn comes to be decided for, too.
        bench.watch(1, Some(named("other")), Options::default());
        if !late {
            bench.decide();
        }
        bench.record(EXIT, PID, |_| ());
        assert_eq!(bench.take(), [(2, PID, "ended")]);
    }
}

type Told = Vec<(u32, Value)>;

struct Bench {
    engine: Engine,
    around: Around,
    told: Rc<RefCell<Told>>,
    /// By how much the wall clock is ahead of what it was first.
    ahead: u64,
}

impl Bench {
    /// One process, named "server".
    fn new() -> Bench {
        let mut around = Around::new(1);
        around.processes.watchers.remove(0, 0);
        Bench { engine: Engine::new(&Metrics::new("").unwrap()), around, told: Rc::default(), ahead: 0 }
    }

    fn come(&mut self, bit: u32, condition: Option<Condition>, options: Options) {
        self.watch(bit, condition, options);
        self.decide();
    }

    /// A directive comes, and processes are to be decided for.
    fn watch(&mut self, bit: u32, condition: Option<Condition>, options: Options) {
        let seen = Seen { bit, told: self.told.clone() };
        let pipeline = Pipeline::new(vec![Box::new(seen)]);
        records::watch(&mut self.engine, &mut self.around, (bit, condition), options, pipeline);
    }

    fn go(&mut self, bit: u32) {
        self.leave(bit);
        self.decide();
    }

    /// Processes are to be decided for.
    fn leave(&mut self, bit: u32) {
        assert!(self.engine.leave(bit).is_some());
        self.around.processes.watchers.remove(0, bit);
        self.around.processes.decide_anew();
    }

    fn decide(&mut self) {
        while !self.engine.decide(&mut self.around.world()) {}
    }

    /// A record with what `change` makes of it, a millisecond after the one before.
    fn record(&mut self, kind: u16, pid: u32, change: impl FnOnce(&mut Exec)) {
        self.around.now += SECOND / 1000;
        let mut exec = records::exec(kind, pid, 1, START, self.around.now);
        change(&mut exec);
        let mut bytes = Vec::from(abi::bytes(&exec));
        if kind == EXEC {
            records::exec_with_data(exec, &mut bytes);
        }
        let mut world = self.around.world();
        world.offsets.monotonic += self.ahead;
        world.offsets.boottime += self.ahead;
        self.engine.record(&bytes, &mut world);
    }

    /// What was told since it was last asked: to which directive, of which thread (of what was there, process).
    fn take(&self) -> Vec<(u32, u32, &'static str)> {
        states(&self.told.take())
    }
}

fn states(told: &Told) -> Vec<(u32, u32, &'static str)> {
    let state = |record: &Value| if record["state"] == "started" { "started" } else { "ended" };
    let id = |process: &Value| process["tid"].as_u64().or(process["pid"].as_u64()).unwrap() as u32;
    told.iter().map(|(bit, record)| (*bit, id(&record["process"]), state(record))).collect()
}

fn named(name: &str) -> Condition {
    Condition::Equal(Field::Name, name.to_owned())
}

struct Seen {
    bit: u32,
    told: Rc<RefCell<Told>>,
}

impl Task for Seen {
    fn event(&mut self, event: &Event<'_>, _: &mut Next<'_>) {
        let mut json = Vec::new();
        event.record.json(&mut json);
        self.told.borrow_mut().push((self.bit, serde_json::from_slice(&json).unwrap()));
    }
}

/// A flag of include/tawon/record.h.
const THREADS_LEFT: u16 = 4;
