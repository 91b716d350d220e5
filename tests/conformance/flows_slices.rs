//! What takes flows more than a turn is done in slices: none handles more than its share, records come
//! in between, and every flow is told exactly what it would have been told at once.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use tawon::kernel::abi::{self, Flow};
use tawon::metrics::Metrics;
use tawon::pipeline::{Event, Next, Pipeline, Task};
use tawon::process::metadata::Meta;
use tawon::task::options::{Options, Value};
use tawon::task::source::flows::{self, Engine, Finished, SLICE};
use tawon::task::source::{NoSockets, Tap, World};
use tawon::time::Instant;

use crate::support::records::{self, ARRIVED, Around, CLAIMED, DATAGRAM, FIRST_PID, RELEASED, SECOND};

const OPEN: u16 = 9;
const FLOWS: u64 = 3 * SLICE as u64 + 23;
const SOCKET: u64 = 77;

#[test]
fn a_directive_that_ends_is_told_of_each_open_flow_once_and_another_of_nothing() {
    let mut bench = Bench::new(2);
    bench.open_all();
    bench.take();
    bench.engine.leave(0);
    // Handled by the first slice or not, an end that comes meanwhile is told once to either directive.
    let mut turns = bench.work(|bench, turn| {
        bench.end(turn * 7);
        bench.end(FLOWS - 1 - turn);
        // What begins now is none of the directive's that ends.
        bench.open(FLOWS + turn);
    });
    let ended_meanwhile: Vec<u64> = (0..turns.len() as u64 - 1).flat_map(|turn| [turn * 7, FLOWS - 1 - turn]).collect();
    assert_eq!(turns.pop().expect("several"), [Finished::Left(0)]);
    assert!(turns.len() > 2 && turns.iter().all(Vec::is_empty));
    let told = bench.take();
    for at in 0..FLOWS {
        assert_eq!(told.get(&(0, at)).map(Vec::as_slice), Some(["ended".to_owned()].as_slice()), "flow {at}");
        let other = ended_meanwhile.contains(&at).then(|| vec!["ended".to_owned()]);
        assert_eq!(told.get(&(1, at)), other.as_ref(), "flow {at}");
    }
    assert!(told.keys().all(|(directive, at)| *directive == 1 || *at < FLOWS));
    // The next directive with this bit is another one: it is told of ends alone.
    bench.engine.taps.insert(0, bench.tap(0));
    bench.engine.join(0);
    bench.work(|_, _| ());
    bench.end(1);
    assert_eq!(bench.take().get(&(0, 1)).cloned(), Some(vec!["ended".to_owned()]));
}

#[test]
fn a_directive_that_comes_is_told_the_end_of_each_flow_that_was_open() {
    let mut bench = Bench::new(1);
    bench.open_all();
    bench.engine.taps.insert(1, bench.tap(1));
    bench.around.processes.watchers.add(1, 1, None);
    bench.engine.join(1);
    bench.take();
    let turns = bench.work(|bench, turn| {
        bench.end(turn);
        bench.end(FLOWS - 1 - turn);
    });
    assert!(turns.len() > 2);
    assert_eq!(turns.concat(), [Finished::Joined(1)]);
    let between = turns.len() as u64 - 1;
    (between..FLOWS - between).for_each(|at| bench.end(at));
    let told = bench.take();
    for (directive, at) in (0..2).flat_map(|directive| (0..FLOWS).map(move |at| (directive, at))) {
        let ends = told.get(&(directive, at)).map(|states| states.iter().filter(|state| *state == "ended").count());
        assert_eq!(ends, Some(1), "directive {directive} flow {at}");
    }
}

#[test]
fn statistics_reach_every_flow_and_each_that_is_due_goes_on_once() {
    let mut bench = Bench::with(1, Some(Duration::from_secs(5)));
    bench.open_all();
    bench.take();
    bench.around.now += 5 * SECOND;
    let told: Vec<u8> = (0..FLOWS).flat_map(|at| abi::bytes(&statistics(at)).to_vec()).collect();
    bench.engine.ongoing(told);
    let turns = bench.work(|bench, turn| {
        bench.around.now += 1;
        bench.open(FLOWS + turn);
    });
    assert!(turns.len() > 5, "statistics, then records");
    assert_eq!(turns.concat(), [Finished::Ongoing]);
    let told = bench.take();
    for at in 0..FLOWS {
        assert_eq!(told.get(&(0, at)).cloned(), Some(vec!["ongoing 77".to_owned()]), "flow {at}");
    }
    // One that comes meanwhile has no need of it, once it is known who is due.
    let late: Vec<u64> = told.keys().map(|(_, at)| *at).filter(|at| *at >= FLOWS).collect();
    let newest = late.iter().max().expect("some came");
    assert_eq!(told[&(0, *newest)], ["started"]);
    assert!(late.iter().all(|at| told[&(0, *at)][0] == "started" && told[&(0, *at)].len() <= 2));
    assert_eq!(bench.engine.ongoing_due(), Some(Instant(11 * SECOND)));
}

#[test]
fn sockets_older_than_the_agent_come_in_slices_and_none_that_ended_meanwhile_comes_back() {
    let mut bench = Bench::new(1);
    bench.engine.expect_existing();
    let told: Vec<u8> = (0..FLOWS).flat_map(|at| abi::bytes(&statistics(at)).to_vec()).collect();
    // Ends before it is told of at all.
    bench.end_old(FLOWS - 1);
    bench.engine.existing(told);
    assert!(bench.engine.expects_existing());
    let turns = bench.work(|bench, turn| bench.end_old(FLOWS - 2 - turn));
    let ended = turns.len() as u64;
    assert_eq!(turns.concat(), [Finished::Existing]);
    assert!(!bench.engine.expects_existing());
    assert_eq!(bench.engine.occupancy().0 as u64, FLOWS - ended);
    (0..FLOWS - ended).for_each(|at| bench.end_old(at));
    let told = bench.take();
    assert_eq!(told.len() as u64, FLOWS);
    assert!(told.values().all(|states| *states == ["ended"]));
}

#[test]
fn what_ended_unseen_is_told_of_in_slices() {
    let mut bench = Bench::new(1);
    bench.open_all();
    bench.take();
    // Every third is open still.
    let open: Vec<u8> =
        (0..FLOWS).filter(|at| at % 3 == 0).flat_map(|at| abi::bytes(&statistics(at)).to_vec()).collect();
    bench.engine.reconcile(open, 100 * SECOND);
    assert_eq!(bench.work(|_, _| ()).concat(), [Finished::Reconciled]);
    let told = bench.take();
    for at in 0..FLOWS {
        assert_eq!(told.contains_key(&(0, at)), at % 3 != 0, "flow {at}");
    }
}

#[test]
fn what_went_unseen_is_told_of_in_slices() {
    let mut bench = Bench::new(1);
    bench.open_all();
    bench.take();
    // Of one more the kernel side told nothing before.
    let gone: Vec<u8> = (0..=FLOWS).flat_map(|at| abi::bytes(&statistics(at)).to_vec()).collect();
    bench.engine.gone(gone);
    let turns = bench.work(|_, _| ());
    assert!(turns.len() > 2);
    assert_eq!(turns.concat(), [Finished::Cleared]);
    let told = bench.take();
    for at in 0..=FLOWS {
        assert_eq!(told.get(&(0, at)).map(Vec::as_slice), Some(["ended".to_owned()].as_slice()), "flow {at}");
    }
    assert_eq!(bench.engine.occupancy().0, 0);
}

#[test]
fn statistics_that_are_older_than_a_change_undo_nothing() {
    let mut bench = Bench::with(1, Some(Duration::from_secs(5)));
    (0..2).for_each(|at| bench.open(at));
    bench.take();
    let claimed = bench.around.now;
    bench.around.now += 5 * SECOND;
    let read_at = |at: u64, time: u64| {
        let mut flow = Flow { claimed: 0, tgid: 0, ..statistics(at) };
        flow.header.time = time;
        abi::bytes(&flow).to_vec()
    };
    bench.engine.ongoing([read_at(0, claimed - 1), read_at(1, claimed + 1)].concat());
    bench.work(|_, _| ());
    let told = bench.take();
    assert_eq!(
        (&told[&(0, 0)][..], &told[&(0, 1)][..]),
        (&["ongoing 1048576".to_owned()][..], &["ongoing 77".to_owned()][..])
    );
}

#[test]
fn a_directive_that_is_about_to_end_is_told_of_ends_alone() {
    let mut bench = Bench::new(2);
    (0..23).for_each(|at| bench.open(at));
    bench.engine.forgo(0);
    (23..46).for_each(|at| bench.open(at));
    (0..46).filter(|at| at % 2 == 0).for_each(|at| bench.end(at));
    bench.engine.leave(0);
    assert_eq!(bench.work(|_, _| ()).concat(), [Finished::Left(0)]);
    let told = bench.take();
    for at in 0..46 {
        // Those that are open are told to have no end that it knows of.
        let first = (at < 23).then(|| vec!["started".to_owned(), "ended".to_owned()]);
        assert_eq!(told.get(&(0, at)), first.as_ref(), "flow {at}");
        let states = if at % 2 == 0 { vec!["started", "ended"] } else { vec!["started"] };
        assert_eq!(told[&(1, at)], states, "flow {at}");
    }
}

#[test]
fn a_udp_socket_with_many_peers_is_claimed_in_slices_and_whatever_happens_meanwhile_finds_it_claimed() {
    let mut bench = Bench::new(1);
    (0..FLOWS).for_each(|at| bench.datagram(at));
    bench.claim_socket(SOCKET, FIRST_PID);
    let at_once = bench.told_so_far();
    assert!((1..SLICE).contains(&at_once), "{at_once} in one go");
    // Its owner ends, and so do the second that no flow may wait beyond and the flow that is next of the rest.
    let exited = bench.around.processes.table.remove(FIRST_PID).expect("it was there");
    bench.around.now += SECOND + SECOND / 2;
    bench.engine.tick(&mut bench.around.world());
    assert_eq!(bench.told_so_far(), at_once, "nobody gives up what is being claimed");
    let mut others = Vec::new();
    let turns = bench.work(|bench, turn| {
        // Another socket's claim comes between, and a new peer of this one, which is the owner's already.
        bench.datagram_of(SOCKET + 1 + turn, FLOWS + 2 * turn, None);
        bench.claim_socket(SOCKET + 1 + turn, FIRST_PID + 1);
        bench.around.processes.table.insert(exited.clone());
        bench.datagram_of(SOCKET, FLOWS + 2 * turn + 1, Some(FIRST_PID));
        bench.around.processes.table.remove(FIRST_PID);
        others.extend([(FLOWS + 2 * turn, FIRST_PID + 1), (FLOWS + 2 * turn + 1, FIRST_PID)]);
    });
    assert!(turns.len() > 1 && turns.concat().is_empty());
    let told = bench.take();
    assert_eq!(told.len(), FLOWS as usize + others.len());
    assert!(told.values().all(|states| *states == ["started"]));
    let owners = bench.owners.take();
    for at in 0..FLOWS {
        assert_eq!(owners.get(&at), Some(&FIRST_PID), "flow {at}");
    }
    assert!(others.iter().all(|(at, owner)| owners[at] == *owner));
}

#[test]
fn a_udp_socket_that_is_closed_while_it_is_claimed_ends_as_its_owners() {
    let mut bench = Bench::new(1);
    (0..FLOWS).for_each(|at| bench.datagram(at));
    bench.claim_socket(SOCKET, FIRST_PID);
    bench.release(SOCKET);
    // A directive that ends now is told of the end of all that has not ended yet.
    bench.engine.leave(0);
    while bench.engine.has_work() || bench.engine.deadline().is_some_and(|due| due.0 <= bench.around.now) {
        bench.engine.tick(&mut bench.around.world());
        bench.work(|bench, _| bench.engine.tick(&mut bench.around.world()));
    }
    bench.assert_all_began_and_ended_of(FIRST_PID);
    assert_eq!(bench.engine.occupancy().0, 0);
}

#[test]
fn a_second_claim_of_a_udp_socket_comes_behind_the_whole_of_the_first() {
    let mut bench = Bench::new(1);
    (0..FLOWS).for_each(|at| bench.datagram(at));
    bench.claim_socket(SOCKET, FIRST_PID);
    bench.claim_socket(SOCKET, FIRST_PID + 1);
    bench.work(|_, _| ());
    let owners = bench.owners.borrow().clone();
    assert!((0..FLOWS).all(|at| owners.get(&at) == Some(&FIRST_PID)), "the first is who began them");
    bench.release(SOCKET);
    while bench.engine.deadline().is_some_and(|due| due.0 <= bench.around.now) {
        bench.engine.tick(&mut bench.around.world());
    }
    bench.assert_all_began_and_ended_of(FIRST_PID + 1);
}

#[test]
fn a_lower_limit_evicts_the_oldest_over_several_turns() {
    let mut bench = Bench::new(1);
    bench.open_all();
    bench.take();
    bench.engine.set_limit(23);
    let mut ticks = 0;
    while bench.engine.deadline().is_some_and(|due| due <= Instant(bench.around.now)) {
        let before = bench.engine.occupancy().0;
        bench.engine.tick(&mut bench.around.world());
        assert!(before - bench.engine.occupancy().0 <= SLICE);
        ticks += 1;
    }
    assert!(ticks > 2);
    assert_eq!((bench.engine.occupancy().0, bench.engine.occupancy().2), (23, FLOWS - 23));
    let told = bench.take();
    assert_eq!(told.len() as u64, FLOWS - 23);
    assert!(told.iter().all(|((_, at), states)| *at < FLOWS - 23 && *states == ["ended"]));
}

#[test]
fn a_connection_that_is_claimed_late_outlives_those_that_came_after_it() {
    let mut bench = Bench::new(1);
    for at in 0..4 {
        bench.around.now = (1 + at) * SECOND;
        bench.open(at);
    }
    // Accepted once more while it is new: no younger than it was. That is said of the first one much later.
    bench.claim(2);
    bench.around.now = 10 * SECOND;
    bench.claim(0);
    bench.engine.set_limit(4);
    bench.take();
    let evicted = (4..8).map(|at| {
        bench.around.now += SECOND;
        bench.open(at);
        let ended: Vec<u64> =
            bench.take().into_iter().filter(|(_, states)| *states == ["ended"]).map(|((_, at), _)| at).collect();
        ended
    });
    assert_eq!(evicted.collect::<Vec<_>>(), [[1], [2], [3], [0]]);
}

/// By directive and flow: the states that were told, `ongoing` with the bytes received.
type Told = HashMap<(u32, u64), Vec<String>>;

struct Bench {
    engine: Engine,
    around: Around,
    told: Rc<RefCell<Told>>,
    /// By flow: the process of the last record that had one.
    owners: Rc<RefCell<HashMap<u64, u32>>>,
    options: Options,
}

impl Bench {
    fn new(directives: u32) -> Bench {
        Bench::with(directives, None)
    }

    fn with(directives: u32, interval: Option<Duration>) -> Bench {
        let mut options = Options::default();
        interval.into_iter().for_each(|interval| options.set("interval", Value::Duration(interval)));
        let metrics = Metrics::new("").unwrap();
        let mut bench = Bench {
            engine: Engine::new(&metrics, 2 * FLOWS as usize),
            around: Around::new(16),
            told: Rc::default(),
            owners: Rc::default(),
            options,
        };
        for bit in 0..directives {
            bench.engine.taps.insert(bit, bench.tap(bit));
            if bit > 0 {
                bench.around.processes.watchers.add(1, bit, None);
            }
        }
        bench.around.processes.decide_anew();
        while bench.around.processes.decide_next().is_some() {}
        bench
    }

    fn tap(&self, directive: u32) -> Tap<flows::Options> {
        let seen = Seen { directive, told: self.told.clone(), owners: self.owners.clone() };
        let options = flows::Options::new(&self.options, Instant(self.around.now)).unwrap();
        Tap::new(options, Meta::parse("process.min").unwrap(), Pipeline::new(vec![Box::new(seen)]))
    }

    fn open_all(&mut self) {
        (0..FLOWS).for_each(|at| self.open(at));
    }

    fn open(&mut self, at: u64) {
        let time = self.around.now;
        let flow = records::owned(records::flow(ARRIVED, at, time), FIRST_PID + at as u32 % 16);
        self.engine.record(abi::bytes(&flow), &mut self.around.world());
        self.claim(at);
    }

    fn claim(&mut self, at: u64) {
        let claim = records::claim(CLAIMED, records::number(at), 0, FIRST_PID + at as u32 % 16, self.around.now);
        self.engine.record(abi::bytes(&claim), &mut self.around.world());
    }

    /// The first datagram between the socket and a peer that nobody has claimed yet.
    fn datagram(&mut self, at: u64) {
        self.datagram_of(SOCKET, at, None);
    }

    fn datagram_of(&mut self, sock: u64, at: u64, owner: Option<u32>) {
        let flow = Flow { sock, protocol: 17, ..records::flow(DATAGRAM, at, self.around.now) };
        let flow = owner.map_or(flow, |pid| records::owned(flow, pid));
        self.engine.record(abi::bytes(&flow), &mut self.around.world());
    }

    fn claim_socket(&mut self, sock: u64, pid: u32) {
        let claim = records::claim(CLAIMED, 0, sock, pid, self.around.now);
        self.engine.record(abi::bytes(&claim), &mut self.around.world());
    }

    fn release(&mut self, sock: u64) {
        let claim = records::claim(RELEASED, 0, sock, 0, self.around.now);
        self.engine.record(abi::bytes(&claim), &mut self.around.world());
    }

    fn end(&mut self, at: u64) {
        let flow = records::owned(records::flow(ARRIVED, at, 1), FIRST_PID + at as u32 % 16);
        let ended = records::ended(flow, self.around.now);
        self.engine.record(abi::bytes(&ended), &mut self.around.world());
    }

    /// The end of a flow that began before the agent.
    fn end_old(&mut self, at: u64) {
        let ended = records::ended(Flow { started: 0, ..statistics(at) }, self.around.now);
        self.engine.record(abi::bytes(&ended), &mut self.around.world());
    }

    /// Works to the end, `between` after every turn but the last. What each turn finished.
    fn work(&mut self, mut between: impl FnMut(&mut Bench, u64)) -> Vec<Vec<Finished>> {
        let mut turns = Vec::new();
        while self.engine.has_work() {
            let before = self.told_so_far();
            // The kernel knows none of these sockets.
            let mut world = World { sockets: &NoSockets, ..self.around.world() };
            turns.push(self.engine.work(&mut world));
            assert!(self.told_so_far() - before <= SLICE, "a turn tells more than its share");
            assert!(turns.len() < 100, "it comes to an end");
            if self.engine.has_work() {
                between(self, turns.len() as u64 - 1);
            }
        }
        turns
    }

    fn told_so_far(&self) -> usize {
        self.told.borrow().values().map(Vec::len).sum()
    }

    fn assert_all_began_and_ended_of(&mut self, owner: u32) {
        let (told, owners) = (self.take(), self.owners.take());
        for at in 0..FLOWS {
            let states = told.get(&(0, at)).cloned();
            assert_eq!(states, Some(["started", "ended"].map(str::to_owned).to_vec()), "flow {at}");
            assert_eq!(owners.get(&at), Some(&owner), "flow {at}");
        }
    }

    fn take(&mut self) -> Told {
        self.told.take()
    }
}

/// What an iterator tells of an open flow.
fn statistics(at: u64) -> Flow {
    let mut flow = records::flow(OPEN, at, 1);
    flow.header.time = u64::MAX; // behind whatever else was told of it
    Flow { bytes_rx: 77, started: 0, ..records::owned(flow, FIRST_PID + at as u32 % 16) }
}

struct Seen {
    directive: u32,
    told: Rc<RefCell<Told>>,
    owners: Rc<RefCell<HashMap<u64, u32>>>,
}

impl Task for Seen {
    fn event(&mut self, event: &Event<'_>, _: &mut Next<'_>) {
        let mut json = Vec::new();
        event.record.json(&mut json);
        let record: serde_json::Value = serde_json::from_slice(&json).unwrap();
        let mut state = record["state"].as_str().unwrap().to_owned();
        if state == "ongoing" {
            state = format!("ongoing {}", record["bytesRX"]);
        }
        let at = records::at(&record);
        if let Some(pid) = record["process"]["pid"].as_u64() {
            self.owners.borrow_mut().insert(at, pid as u32);
        }
        self.told.borrow_mut().entry((self.directive, at)).or_default().push(state);
    }
}
