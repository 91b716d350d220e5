//! Directives come and go on a node with many processes: who is wanted is decided in slices. Records come in
//! between, and every process is decided for, and told of, exactly as if it had been done at once.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use tawon::config::condition::{Condition, Field};
use tawon::kernel::abi;
use tawon::metrics::Metrics;
use tawon::pipeline::{Event, Next, Pipeline, Task};
use tawon::process::metadata::Meta;
use tawon::process::watch::Masks;
use tawon::process::{Process, Processes};
use tawon::task::source::exec::{Engine, Options, SLICE};
use tawon::task::source::{Tap, World, flows};
use tawon::time::Instant;

use crate::support::records::{self, ARRIVED, Around, CLAIMED, EXEC, EXIT, FIRST_PID, FORK, RENAME, SECOND, START};

const PROCESSES: u32 = 3 * SLICE as u32 + 23;
const LAST: u32 = FIRST_PID + PROCESSES - 1;

#[test]
fn a_newcomer_is_told_of_each_process_once_over_several_turns() {
    let mut bench = Bench::new();
    bench.come(1, None);
    let at = bench.around.now;
    let turns = bench.decide(|bench, _| bench.around.now += SECOND);
    assert!(turns > 2);
    let told = bench.take();
    assert_eq!(told.len(), PROCESSES as usize);
    for pid in FIRST_PID..=LAST {
        assert_eq!(told[&(1, pid)], ["started"], "{pid}");
    }
    assert!(bench.times.take().iter().all(|time| *time == at), "all were there when it came");
    // All is decided: the next change tells nobody again.
    bench.come(2, Some(Condition::Equal(Field::Pid, FIRST_PID.to_string())));
    bench.decide(|_, _| ());
    assert_eq!(bench.take(), HashMap::from([((2, FIRST_PID), vec!["started".to_owned()])]));
}

#[test]
fn what_happens_to_a_process_before_its_turn_finds_it_decided_for_and_told_of() {
    let mut bench = Bench::new();
    bench.come(1, None);
    // From the end of the table, and from its beginning, which has had its turn.
    let mut changed = Vec::new();
    bench.decide(|bench, turn| {
        for first in [FIRST_PID + 10 * turn, LAST - 10 * turn - 9] {
            bench.exit(first);
            bench.exec(first + 1);
            bench.rename(first + 2);
            bench.exit(first + 3);
            bench.exec_as(FORK, first + 3, START + SECOND);
            changed.push(first);
        }
    });
    assert!(changed.len() > 4);
    let told = bench.take();
    for first in changed {
        assert_eq!(told[&(1, first)], ["started", "ended"], "{first} ended");
        assert_eq!(told[&(1, first + 1)], ["started", "started"], "{first} was there, then it exec'd");
        assert_eq!(told[&(1, first + 2)], ["started"], "{first} has another name");
        assert_eq!(told[&(1, first + 3)], ["started", "ended"], "{first} is another one, of which a fork tells nobody");
    }
    let there = (FIRST_PID..=LAST).filter(|pid| told.get(&(1, *pid)).is_some_and(|states| states[0] == "started"));
    assert_eq!(there.count(), PROCESSES as usize);
    bench.assert_decided();
}

#[test]
fn directives_that_come_and_go_in_the_middle_are_decided_for_each_once() {
    let mut bench = Bench::new();
    bench.come(1, None);
    bench.decide(|bench, turn| match turn {
        0 => bench.come(2, Some(even())),
        1 => {
            bench.fork(LAST + 1);
            bench.come(3, None);
        }
        2 => bench.go(1),
        _ => {}
    });
    let told = bench.take();
    let started = |directive: u32, pid: u32| told.get(&(directive, pid)).map_or(0, Vec::len);
    for pid in FIRST_PID..=LAST {
        assert!(started(1, pid) <= 1, "{pid}");
        assert_eq!(started(2, pid), usize::from(matches_even(pid)), "{pid}");
        assert_eq!(started(3, pid), 1, "{pid}");
    }
    // It began after the second had come, and before the third.
    assert_eq!((started(1, LAST + 1), started(2, LAST + 1), started(3, LAST + 1)), (0, 0, 1));
    bench.assert_decided();
    // Nothing is left of the one that went: another with its bit is told of what it wants.
    assert!((FIRST_PID..=LAST).all(|pid| bench.masks(pid)[0] & 2 == 0));
    bench.come_with(1, Some(even()), Options::default());
    bench.decide(|_, _| ());
    assert!(bench.take().is_empty());
    (FIRST_PID..=LAST).for_each(|pid| bench.exit(pid));
    let told = bench.take();
    assert!((FIRST_PID..=LAST).all(|pid| told.contains_key(&(1, pid)) == matches_even(pid)));
}

#[test]
fn another_directive_with_the_bit_of_one_that_has_gone_is_not_told_in_its_place() {
    let mut bench = Bench::new();
    bench.come(1, None);
    bench.decide(|bench, turn| {
        if turn == 0 {
            bench.go(1);
            bench.take();
            bench.come_with(1, None, Options::default());
        }
    });
    assert!(bench.take().is_empty());
    bench.assert_decided();
}

#[test]
fn a_process_that_leaves_a_full_table_before_its_turn_has_been_told_of() {
    let mut bench = Bench::new();
    bench.around.processes.table.set_limit(PROCESSES as usize);
    bench.come(1, None);
    let mut evicted = 0;
    bench.decide(|bench, turn| {
        // Those that were there longest leave first, and so do more than have had their turn.
        let more = if turn == 0 { 2 * SLICE as u32 } else { 0 };
        (0..more).for_each(|more| bench.exec(LAST + 1 + more));
        evicted += more;
    });
    assert_eq!(bench.around.processes.table.evictions(), u64::from(evicted));
    let told = bench.take();
    assert!((FIRST_PID..=LAST + evicted).all(|pid| told[&(1, pid)] == ["started"]));
}

#[test]
fn a_flow_of_a_process_before_its_turn_is_the_directives_that_want_it_now() {
    let mut bench = Bench::new();
    let told = Rc::new(RefCell::new(0));
    let mut engine = records::flows_engine(&Metrics::new("").unwrap(), 64, Pipeline::default());
    for (bit, counted) in [(0, None), (1, Some(told.clone()))] {
        let tasks: Vec<Box<dyn Task>> =
            counted.into_iter().map(|told| Box::new(Count(told)) as Box<dyn Task>).collect();
        let options = flows::Options::new(&tawon::task::Options::default(), Instant(0)).unwrap();
        engine.taps.insert(bit, Tap::new(options, Meta::parse("process.min").unwrap(), Pipeline::new(tasks)));
    }
    bench.around.processes.watchers.add(1, 1, Some(even()));
    bench.around.processes.decide_anew();
    for (at, pid) in [LAST, LAST - 1].into_iter().enumerate() {
        let flow = records::owned(records::flow(ARRIVED, at as u64, SECOND), pid);
        engine.record(abi::bytes(&flow), &mut bench.around.world());
        let claim = records::claim(CLAIMED, records::number(at as u64), 0, pid, SECOND);
        engine.record(abi::bytes(&claim), &mut bench.around.world());
    }
    assert!(bench.around.processes.is_deciding());
    assert_eq!(*told.borrow(), 1);
    bench.decide(|_, _| ());
    bench.assert_decided();
}

/// By directive and process: the states that were told.
type Told = HashMap<(u32, u32), Vec<String>>;

struct Bench {
    engine: Engine,
    around: Around,
    told: Rc<RefCell<Told>>,
    times: Rc<RefCell<Vec<u64>>>,
    /// What the kernel was told last of each process.
    kernel: HashMap<u32, Masks>,
}

impl Bench {
    /// One directive, which was there first, and which wants to be told of nothing.
    fn new() -> Bench {
        let metrics = Metrics::new("").unwrap();
        let mut bench = Bench {
            engine: Engine::new(&metrics),
            around: Around::new(PROCESSES),
            told: Rc::default(),
            times: Rc::default(),
            kernel: HashMap::new(),
        };
        bench.engine.taps.insert(0, Tap::new(Options::default(), Meta::default(), Pipeline::default()));
        let masks = bench.around.processes.watchers.unconditional();
        bench.kernel.extend((FIRST_PID..=LAST).map(|pid| (pid, masks)));
        bench
    }

    fn come(&mut self, bit: u32, condition: Option<Condition>) {
        self.come_with(bit, condition, Options { existing: true, ..Options::default() });
    }

    fn come_with(&mut self, bit: u32, condition: Option<Condition>, options: Options) {
        let seen = Seen { directive: bit, told: self.told.clone(), times: self.times.clone() };
        let pipeline = Pipeline::new(vec![Box::new(seen)]);
        records::watch(&mut self.engine, &mut self.around, (bit, condition), options, pipeline);
    }

    fn go(&mut self, bit: u32) {
        assert!(self.engine.leave(bit).is_some());
        self.around.processes.watchers.remove(0, bit);
        self.around.processes.decide_anew();
    }

    /// Decides to the end, `between` after every turn but the last. Says how many turns it took.
    fn decide(&mut self, mut between: impl FnMut(&mut Bench, u32)) -> u32 {
        let mut turns = 0;
        loop {
            let before = self.around.processes.decisions.len();
            let finished = self.engine.decide(&mut self.around.world());
            assert!(self.around.processes.decisions.len() - before <= SLICE, "a turn decides for more than its share");
            assert_eq!(finished, !self.around.processes.is_deciding());
            turns += 1;
            assert!(turns < 100, "it comes to an end");
            if finished {
                let decisions = self.around.processes.decisions.drain(..);
                self.kernel.extend(decisions.map(|decision| (decision.pid, decision.masks)));
                return turns;
            }
            between(self, turns - 1);
        }
    }

    /// Each process that there is: what is kept, and what the kernel was told, is what is wanted.
    fn assert_decided(&mut self) {
        let Processes { table, watchers, .. } = &mut self.around.processes;
        for entry in table.iter_mut() {
            let (pid, wanted) = (entry.process.pid, watchers.decide(&entry.process));
            assert_eq!((entry.masks, self.kernel[&pid]), (wanted, wanted), "{pid}");
        }
    }

    fn masks(&self, pid: u32) -> Masks {
        self.around.processes.table.find(pid, None).expect("it is there").masks
    }

    fn exit(&mut self, pid: u32) {
        self.exec_as(EXIT, pid, START);
    }

    fn rename(&mut self, pid: u32) {
        self.exec_as(RENAME, pid, START);
    }

    fn fork(&mut self, pid: u32) {
        self.exec_as(FORK, pid, START);
    }

    fn exec(&mut self, pid: u32) {
        let mut bytes = Vec::new();
        records::exec_with_data(records::exec(EXEC, pid, 1, START, self.around.now), &mut bytes);
        self.record(&bytes);
    }

    fn exec_as(&mut self, kind: u16, pid: u32, start: u64) {
        let exec = records::exec(kind, pid, 1, start, self.around.now);
        self.record(abi::bytes(&exec));
    }

    fn record(&mut self, bytes: &[u8]) {
        // As the loop says while it decides.
        let mut world = World { settling: true, ..self.around.world() };
        self.engine.record(bytes, &mut world);
    }

    fn take(&mut self) -> Told {
        self.told.take()
    }
}

/// Processes whose pid ends with an even digit.
fn even() -> Condition {
    Condition::Or((0..5).map(|half| Condition::Regex(Field::Pid, ends_with(2 * half))).collect())
}

fn ends_with(digit: u32) -> tawon::config::condition::Pattern {
    tawon::config::condition::Pattern::new(&format!("{digit}$")).unwrap()
}

fn matches_even(pid: u32) -> bool {
    even().matches(&Process { pid, ..Process::default() })
}

struct Seen {
    directive: u32,
    told: Rc<RefCell<Told>>,
    times: Rc<RefCell<Vec<u64>>>,
}

impl Task for Seen {
    fn event(&mut self, event: &Event<'_>, _: &mut Next<'_>) {
        let mut json = Vec::new();
        event.record.json(&mut json);
        let record: serde_json::Value = serde_json::from_slice(&json).unwrap();
        let pid = record["process"]["pid"].as_u64().unwrap() as u32;
        let state = record["state"].as_str().unwrap().to_owned();
        self.told.borrow_mut().entry((self.directive, pid)).or_default().push(state);
        self.times.borrow_mut().push(event.at.0);
    }
}

struct Count(Rc<RefCell<u32>>);

impl Task for Count {
    fn event(&mut self, _: &Event<'_>, _: &mut Next<'_>) {
        *self.0.borrow_mut() += 1;
    }
}
