//! Ring records of `exec` to the process table and to records, in order of time.

use std::collections::HashSet;
use std::rc::Rc;
use std::time::Duration;

use prometheus::IntCounter;

use super::data::{EXEC, EXIT, FORK, Parts, RENAME, THREAD, THREAD_EXIT, THREADS, describe, put_name, put_path};
use super::departed::Departed;
use super::record::{ExecRecord, State, Status};
use super::threads::{Known, Rest, Threads};
use crate::flow::table::Id;
use crate::kernel::abi;
use crate::metrics::Metrics;
use crate::pipeline::Event;
use crate::process::table::{Entry, same_start};
use crate::process::watch::{EXEC as SOURCE, Masks};
use crate::process::{Decided, Decision, Process, Processes};
use crate::task::source::{Tap, Taps, World};
use crate::time::{Instant, Timestamp};

/// What a directive's `exec` was configured with.
#[derive(Clone, Copy, Default, Debug)]
pub struct Options {
    pub threads: bool,
    pub forks: bool,
    pub existing: bool,
}

impl Options {
    pub fn new(options: &crate::task::Options) -> Options {
        Options { threads: options.flag("threads"), forks: options.flag("forks"), existing: options.flag("existing") }
    }
}

/// The `exec` source.
pub struct Engine {
    pub taps: Taps<Options>,
    /// Directives with `existing` that have come since every process was last decided for.
    newcomers: Vec<Newcomer>,
    /// Ends whose start has not been read yet.
    orphans: Vec<Orphan>,
    threads: Threads,
    departed: Departed,
    messages: IntCounter,
    end_before_start: IntCounter,
}

/// Is told of what was there when it came, process by process as that is decided for.
#[derive(Clone, Copy)]
struct Newcomer {
    bit: u32,
    /// The first round of `Watchers` in which it takes part.
    round: u32,
    /// When it came, CLOCK_MONOTONIC.
    at: u64,
}

struct Orphan {
    exit: abi::Exec,
    until: Instant,
}

impl Engine {
    pub fn new(metrics: &Metrics) -> Engine {
        Engine {
            taps: Taps::default(),
            newcomers: Vec::new(),
            orphans: Vec::new(),
            threads: Threads::new(),
            departed: Departed::default(),
            messages: metrics.counter("exec_msgs"),
            end_before_start: metrics.counter("exec_proc_end_before_start"),
        }
    }

    /// One record of the ring. Records of all rings come in order of time.
    pub fn record(&mut self, bytes: &[u8], world: &mut World<'_>) {
        let Some(exec) = abi::read::<abi::Exec>(bytes) else { return };
        self.messages.inc();
        self.catch_up(exec.tgid, world);
        match exec.header.kind {
            FORK => self.fork(&exec, world),
            EXEC => self.exec(&exec, bytes.get(size_of::<abi::Exec>()..).unwrap_or_default(), world),
            EXIT => self.exit(&exec, world),
            RENAME => rename(&exec, world.processes),
            THREAD => self.thread_began(&exec, world),
            THREAD_EXIT => self.thread_ended(&exec, world),
            _ => {}
        }
    }

    /// Time has passed: ends whose start did not come within a second go out as they are.
    pub fn tick(&mut self, world: &mut World<'_>) {
        while let Some(at) = self.orphans.iter().position(|orphan| orphan.until <= world.now) {
            let orphan = self.orphans.swap_remove(at);
            self.lone_end(&orphan.exit, world);
        }
    }

    /// When `tick` has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        self.orphans.iter().map(|orphan| orphan.until).min()
    }

    /// Threads whose end is to be told, and how many have had to make room.
    pub fn occupancy(&self) -> (usize, u64) {
        (self.threads.len(), self.threads.evictions())
    }

    /// A directive has come, of which the watchers know: with `existing` it is told of what is there.
    pub fn join(&mut self, bit: u32, world: &World<'_>) {
        if self.taps.get(bit).is_some_and(|tap| tap.options.existing) {
            self.newcomers.push(Newcomer { bit, round: world.processes.watchers.round(), at: world.now.0 });
        }
    }

    /// A directive goes.
    pub fn leave(&mut self, bit: u32) -> Option<Tap<Options>> {
        self.newcomers.retain(|newcomer| newcomer.bit != bit);
        self.departed.forget(bit);
        self.taps.remove(bit)
    }

    /// Directives have come or gone: decides for as many processes as one turn may, and tells newcomers of them.
    /// Records come in between, and find each process decided for. True behind the last.
    pub fn decide(&mut self, world: &mut World<'_>) -> bool {
        let share = SLICE / (1 + world.processes.watchers.conditions() / CONDITIONS);
        for _ in 0..share.max(1) {
            let Some(decided) = world.processes.decide_next() else {
                self.newcomers.clear();
                return true;
            };
            self.decided(decided, world);
        }
        false
    }

    /// Something happened to a process: before that it is decided for, and so is one that leaves to make room.
    #[inline]
    fn catch_up(&mut self, pid: u32, world: &mut World<'_>) {
        if world.processes.is_deciding() {
            for pid in [Some(pid), world.processes.table.leaves_next()].into_iter().flatten() {
                let decided = world.processes.decide_for(pid);
                self.decided(decided, world);
            }
        }
    }

    fn decided(&mut self, decided: Decided, world: &mut World<'_>) {
        let Decided::Now(process, before, masks) = decided else { return };
        // Of its threads the kernel tells nothing any more where none of those is left who were told of them.
        let table = &mut world.processes.table;
        if let Some(entry) = table.find_any(process.pid).filter(|entry| entry.threads != Id::NOWHERE)
            && !self.taps.iter().any(|(bit, tap)| tap.options.threads && entry.told >> bit & 1 == 1)
        {
            let head = &mut entry.threads;
            while self.threads.pop(head, Rest::Gone).is_some() {}
        }
        let mut told = 0;
        for at in 0..self.newcomers.len() {
            let Newcomer { bit, round, at } = self.newcomers[at];
            if before < round {
                told |= self.started(&process, None, at, masks[SOURCE] & 1 << bit, world, |_| true);
            }
        }
        if told != 0
            && let Some(entry) = world.processes.table.find_any(process.pid)
        {
            entry.told |= told;
        }
    }

    /// Records were lost: processes that began before `before` (CLOCK_BOOTTIME) and are not among
    /// `alive` have ended unseen. Returns them, so that the watch map forgets them too.
    pub fn reconcile(&mut self, alive: &HashSet<u32>, before: u64, world: &mut World<'_>) -> Vec<u32> {
        let gone = |entry: &&mut Entry| entry.process.start < before && !alive.contains(&entry.process.pid);
        let gone: Vec<u32> = world.processes.table.iter_mut().filter(gone).map(|entry| entry.process.pid).collect();
        for pid in &gone {
            self.catch_up(*pid, world);
            if let Some(entry) = world.processes.table.remove(*pid) {
                self.rest_ended(&entry.process, entry.masks[SOURCE], (entry.threads, Rest::Gone), world.now.0, world);
                self.ended(&entry, None, world.now.0, None, world);
                world.processes.table.recycle(entry.process);
            }
        }
        gone
    }

    fn fork(&mut self, exec: &abi::Exec, world: &mut World<'_>) {
        let processes = &mut *world.processes;
        let parent = processes.table.find(exec.ppid, None).map(|entry| (entry.process.clone(), entry.masks));
        let offsets = world.offsets;
        let process = processes.table.describe(|process| {
            if let Some((parent, _)) = &parent {
                process.copy_from(parent);
            }
            describe(process, exec, offsets);
        });
        let round = processes.watchers.round();
        let inherited = parent.map(|(_, masks)| masks);
        let (_, masks) = decide(processes, &process, 0, 0, inherited, world.settling);
        let (tid, time, wanted) = (Some(exec.tgid), exec.header.time, masks[SOURCE]);
        let told = self.started(&process, tid, time, wanted, world, |options| options.forks);
        let threads = Id::NOWHERE;
        world.processes.table.insert(Entry { process, round, execs: 0, masks, threads, told, existing: false });
    }

    fn exec(&mut self, exec: &abi::Exec, data: &[u8], world: &mut World<'_>) {
        // The thread that execs goes on as the first one: as the thread that it was, it has ended, like all others.
        let table = &mut world.processes.table;
        let execs = (exec.tid != exec.tgid).then(|| self.threads.take(exec.tid, exec.tgid, table));
        if let Some(entry) = table.find_mut(exec.tgid, exec.start) {
            let (process, mask) = (entry.process.clone(), entry.masks[SOURCE]);
            let rest = std::mem::replace(&mut entry.threads, Id::NOWHERE);
            self.rest_ended(&process, mask, (rest, Rest::Gone), exec.header.time, world);
        }
        if let Some(started_at) = execs {
            self.thread(exec, started_at, State::Ended, world);
        }
        let processes = &mut *world.processes;
        let known = processes.table.find(exec.tgid, Some(exec.start));
        let (execs, told, existing) =
            known.map_or((1, 0, false), |entry| (entry.execs + 1, entry.told, entry.existing));
        // As it was told: how the clocks compare may have been looked at anew since.
        let started_at = known.map(|entry| &entry.process).filter(|process| process.start == exec.start);
        let started_at = started_at.map(|process| process.started_at);
        let mut parts = Parts(data);
        let (exe, cwd, cgroup, args) = (
            parts.take(exec.exe_len),
            parts.take(exec.cwd_len),
            parts.take(exec.cgroup_len),
            parts.take(exec.args_len),
        );
        let (container, pod) = processes.containers.find(cgroup);
        let offsets = world.offsets;
        let redaction = &mut processes.redaction;
        let process = processes.table.describe(|process| {
            put_path(&mut process.exe, exe);
            put_path(&mut process.cwd, cwd);
            process.cmd.extend_from_slice(args);
            process.cmd_truncated = exec.args_size as usize > args.len();
            describe(process, exec, offsets);
            process.started_at = started_at.unwrap_or(process.started_at);
            (process.container, process.pod) = (container, pod);
            redaction.apply(process);
        });
        let round = processes.watchers.round();
        let (wanted, masks) = decide(processes, &process, execs, told, None, world.settling);
        let (tid, time) = (Some(exec.tgid), exec.header.time);
        let told = told | self.started(&process, tid, time, wanted[SOURCE], world, |_| true);
        let threads = Id::NOWHERE;
        world.processes.table.insert(Entry { process, round, execs, masks, threads, told, existing });
        let same = |orphan: &Orphan| orphan.exit.tgid == exec.tgid && same_start(orphan.exit.start, exec.start);
        if let Some(at) = self.orphans.iter().position(same) {
            let exit = self.orphans.swap_remove(at).exit;
            self.exit(&exit, world);
        }
    }

    fn exit(&mut self, exec: &abi::Exec, world: &mut World<'_>) {
        let table = &mut world.processes.table;
        if table.find(exec.tgid, Some(exec.start)).is_none() {
            self.end_before_start.inc();
            match self.orphans.len() < ORPHANS {
                true => self.orphans.push(Orphan { exit: *exec, until: world.now + JOINED_WITHIN }),
                false => self.lone_end(exec, world),
            }
            return;
        }
        if let Some(entry) = table.remove(exec.tgid) {
            let (mask, awaited) = (entry.masks[SOURCE], exec.header.flags & THREADS != 0);
            let rest = if awaited { Rest::Awaited } else { Rest::Gone };
            self.rest_ended(&entry.process, mask, (entry.threads, rest), exec.header.time, world);
            self.ended(&entry, Some(Status::parse(exec.status)), exec.header.time, Some(exec.tgid), world);
            let table = &mut world.processes.table;
            // Also where nobody wants it: what its threads tell by themselves may look as if somebody did.
            match awaited && self.taps.iter().any(|(_, tap)| tap.options.threads) {
                true => self.departed.push(entry.process, mask, exec.header.time, |process| table.recycle(process)),
                false => table.recycle(entry.process),
            }
        }
    }

    /// An end of which nothing else is known.
    fn lone_end(&mut self, exec: &abi::Exec, world: &mut World<'_>) {
        let (process, masks) = lone(exec, world);
        let round = world.processes.watchers.round();
        let entry = Entry { process, round, execs: 1, masks, threads: Id::NOWHERE, told: 0, existing: false };
        self.ended(&entry, Some(Status::parse(exec.status)), exec.header.time, Some(exec.tgid), world);
        world.processes.table.recycle(entry.process);
    }

    fn thread_began(&mut self, exec: &abi::Exec, world: &mut World<'_>) {
        let started_at = Some(world.offsets.wall_of_start(exec.thread_start));
        let told = self.thread(exec, started_at, State::Started, world);
        let table = &mut world.processes.table;
        if told != 0
            && let Some(entry) = table.find_mut(exec.tgid, exec.start)
        {
            entry.told |= told;
            self.threads.begin((exec.tid, exec.thread_start), started_at, exec.tgid, table);
        }
    }

    fn thread_ended(&mut self, exec: &abi::Exec, world: &mut World<'_>) {
        let started_at = match self.threads.end(exec.tid, exec.thread_start, &mut world.processes.table) {
            Known::Began(started_at) => started_at,
            Known::Not => Some(world.offsets.wall_of_start(exec.thread_start)),
            Known::Ended => return,
        };
        self.thread(exec, started_at, State::Ended, world);
    }

    /// A thread of which the kernel tells, and when it began, where that is known. Says who was told.
    fn thread(&mut self, exec: &abi::Exec, began: Option<Timestamp>, state: State, world: &mut World<'_>) -> u64 {
        let known = match world.processes.table.find(exec.tgid, Some(exec.start)) {
            Some(entry) => Some((&entry.process, entry.masks[SOURCE])),
            None => self.departed.find(exec.tgid, exec.start),
        };
        let (process, mask) = match known {
            Some((process, mask)) => (process.clone(), mask),
            None => {
                let (process, masks) = lone(exec, world);
                (process, masks[SOURCE])
            }
        };
        let told = self.tell_thread(&process, mask, (exec.tid, began), state, exec.header.time, world);
        world.processes.table.recycle(process);
        told
    }

    /// A process has ended, or all that it was but the thread that execs: so have its threads, also those whose own end
    /// comes only now, or was lost.
    fn rest_ended(&mut self, process: &Rc<Process>, mask: u64, rest: (Id, Rest), time: u64, world: &World<'_>) {
        let (mut head, rest) = rest;
        while let Some(thread) = self.threads.pop(&mut head, rest) {
            self.tell_thread(process, mask, thread, State::Ended, time, world);
        }
    }

    /// A thread by its tid and when it began, where that is known. Says who was told.
    fn tell_thread(
        &mut self,
        process: &Rc<Process>,
        mask: u64,
        (tid, began): (u32, Option<Timestamp>),
        state: State,
        time: u64,
        world: &World<'_>,
    ) -> u64 {
        let at = world.offsets.wall(time);
        emit(
            &mut self.taps,
            mask,
            |_, options| options.threads,
            world,
            process,
            at,
            |tap, parent| {
                let mut record = ExecRecord::new(state, at, process, Some(tid), parent, tap.meta);
                record.started_at = began;
                if state == State::Ended {
                    record.ended_at = Some(at);
                    record.duration_us = began.map(|began| at.0.saturating_sub(began.0) / 1000);
                }
                record
            },
        )
    }

    /// Says who was told.
    fn started(
        &mut self,
        process: &Rc<Process>,
        tid: Option<u32>,
        time: u64,
        mask: u64,
        world: &World<'_>,
        wanted: impl Fn(&Options) -> bool,
    ) -> u64 {
        let at = world.offsets.wall(time);
        emit(
            &mut self.taps,
            mask,
            |_, options| wanted(options),
            world,
            process,
            at,
            |tap, parent| ExecRecord::new(State::Started, at, process, tid, parent, tap.meta),
        )
    }

    fn ended(&mut self, entry: &Entry, status: Option<Status>, time: u64, tid: Option<u32>, world: &World<'_>) {
        let at = world.offsets.wall(time);
        let process = &entry.process;
        // Who was told of a start is told of the end, whatever the process is by now. So is who wants it only now, but
        // of a fork that never exec'd only with forks.
        let all = entry.existing || entry.execs > 0;
        emit(
            &mut self.taps,
            entry.masks[SOURCE],
            |bit, options| all || options.forks || entry.told >> bit & 1 == 1,
            world,
            process,
            at,
            |tap, parent| {
                let status = status.unwrap_or_default();
                ExecRecord {
                    ended_at: Some(at),
                    duration_us: (process.started_at != 0).then(|| at.0.saturating_sub(process.started_at) / 1000),
                    exit_code: status.exit_code,
                    signal: status.signal,
                    core_dumped: status.core_dumped,
                    ..ExecRecord::new(State::Ended, at, process, tid, parent, tap.meta)
                }
            },
        );
    }
}

/// Hands a record to each directive of the mask whose options want it. Says to whom.
fn emit<'a>(
    taps: &mut Taps<Options>,
    mask: u64,
    wanted: impl Fn(u32, &Options) -> bool,
    world: &'a World<'_>,
    process: &'a Rc<Process>,
    at: Timestamp,
    record: impl Fn(&Tap<Options>, Option<&'a Process>) -> ExecRecord<'a>,
) -> u64 {
    let mut told = 0;
    taps.each_of(mask, |bit, tap| {
        if !wanted(bit, &tap.options) {
            return;
        }
        told |= 1 << bit;
        let parent = world.processes.table.find(process.ppid, None).map(|entry| &*entry.process);
        let record = record(tap, parent);
        let monotonic = Instant(at.0.wrapping_sub(world.offsets.monotonic));
        tap.event(&Event::new(at, monotonic, &record));
    });
    told
}

/// A process of which only this record tells, and who wants it.
fn lone(exec: &abi::Exec, world: &mut World<'_>) -> (Rc<Process>, Masks) {
    let offsets = world.offsets;
    let process = world.processes.table.describe(|process| describe(process, exec, offsets));
    let masks = world.processes.watchers.decide(&process);
    (process, masks)
}

/// Which directives want the process now, and the same with those that were told of it; the kernel is told of these
/// where it cannot know by itself.
fn decide(
    processes: &mut Processes,
    process: &Process,
    execs: u32,
    told: u64,
    inherited: Option<Masks>,
    settling: bool,
) -> (Masks, Masks) {
    let wanted = processes.watchers.decide(process);
    let mut masks = wanted;
    masks[SOURCE] |= told;
    if settling || processes.watchers.any_conditions() && inherited != Some(masks) {
        let Process { pid, start, .. } = *process;
        processes.decisions.push(Decision { pid, start, execs: Some(execs), masks });
    }
    (wanted, masks)
}

fn rename(exec: &abi::Exec, processes: &mut Processes) {
    let Some(entry) = processes.table.find(exec.tgid, Some(exec.start)) else { return };
    let (old, masks, told) = (entry.process.clone(), entry.masks, entry.told);
    let fresh = processes.table.describe(|fresh| {
        fresh.copy_from(&old);
        put_name(&mut fresh.name, &exec.comm);
    });
    let decided = processes.watchers.decide_on(&fresh, told);
    if let Some(entry) = processes.table.find_mut(exec.tgid, exec.start) {
        (entry.process, entry.masks) = (fresh, decided);
    }
    if decided != masks {
        let Process { pid, start, .. } = *old;
        processes.decisions.push(Decision { pid, start, execs: None, masks: decided });
    }
    processes.table.recycle(old);
}

const JOINED_WITHIN: Duration = Duration::from_secs(1);
const ORPHANS: usize = 4096;
/// Slots of the table of processes that one turn decides for, a few microseconds each with what the watch map and
/// newcomers are told.
pub const SLICE: usize = 256;
/// So many conditions are worth about as much.
const CONDITIONS: usize = 8;
