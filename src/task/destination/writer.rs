//! Writing without waiting: batches of whole lines go through a queue, bounded in bytes, to a thread
//! that may wait for a reader or a disk. One writer per output of the process, whatever number of
//! directives use it, so that lines never interleave. What finds no room is dropped and counted, and
//! so is what is not written when its sink goes.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{
    AtomicBool, AtomicU64, AtomicUsize,
    Ordering::{Acquire, Relaxed, Release},
};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use prometheus::{IntCounter, IntGauge, IntGaugeVec};

use crate::metrics::Metrics;

/// Where lines go, on the writer's thread.
pub(super) trait Output: Send {
    /// Writes from the front of `lines`, of which the first may be the rest of one that was begun
    /// before. May wait for a disk, never for a reader.
    fn write(&mut self, lines: &[u8]) -> Progress;

    /// Waits until more can be written, as far as that can be told, and for this long at most. Says
    /// whether it can.
    fn wait(&mut self, most: Duration) -> bool {
        thread::sleep(most);
        false
    }

    /// The rest of a line that was begun is given up: what comes next is not that.
    fn tear(&mut self) {}
}

/// How far a write came.
#[derive(Debug)]
pub(super) struct Progress {
    /// Bytes that stand at the other end. They end with a whole line unless the write is blocked.
    pub written: usize,
    /// Bytes behind them, to the end of a line, that are given up.
    pub skipped: usize,
    pub step: Step,
}

#[derive(Debug)]
pub(super) enum Step {
    Done,
    /// Nothing can be written now; the rest is tried again a little later.
    Blocked,
    /// The rest of these lines is lost; the next may fare better.
    Failed(io::Error),
    /// Nothing can be written ever again: the reader has gone.
    Gone,
}

/// One task's access to a writer.
pub(super) struct Sink {
    shared: Arc<Shared>,
    tally: Arc<Tally>,
    /// Batches of this sink that the queue took.
    handed: u64,
}

/// What became of one task's records.
#[derive(Default)]
struct Tally {
    written: AtomicU64,
    dropped: AtomicU64,
    /// Batches that are dealt with.
    done: AtomicU64,
    /// What cannot be written at once is given up.
    abandoned: AtomicBool,
}

struct Shared {
    /// What is written to: `log`, or `file:` and a path. Also the label `sink`; that of the counters as
    /// far as there is room for it.
    key: String,
    state: Mutex<State>,
    wake: Condvar,
    /// Bound of `level`.
    limit: AtomicUsize,
    /// Bytes that wait or are being written.
    level: AtomicUsize,
    gone: AtomicBool,
    written: IntCounter,
    dropped: IntCounter,
    queue_bytes: IntGauge,
    /// Of all writers: `queue_bytes` leaves it with this one.
    queues: IntGaugeVec,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Batch>,
    /// Bytes in it.
    waiting: usize,
    /// Whether the thread sleeps until it is woken.
    asleep: bool,
    /// Buffers that were written and can be filled again.
    spare: Vec<Vec<u8>>,
    sinks: usize,
}

struct Batch {
    lines: Vec<u8>,
    records: u64,
    tally: Arc<Tally>,
}

impl Sink {
    /// A sink of the writer for `key`, which `open` makes where there is none yet. `limit` is in bytes;
    /// of several the newest holds.
    pub fn open(
        key: &str,
        limit: usize,
        metrics: &Metrics,
        open: impl FnOnce() -> Result<Box<dyn Output>, String>,
    ) -> Result<Sink, String> {
        let mut writers = locked(&WRITERS);
        let shared = match writers.iter().find(|shared| shared.key == key) {
            Some(shared) => shared.clone(),
            None => {
                let output = open()?;
                let records = metrics.counters("tawon_sink_records_total");
                let queues = metrics.gauges("tawon_sink_queue_bytes");
                let sink = metrics.sinks.label(key);
                let shared = Arc::new(Shared {
                    key: key.to_owned(),
                    state: Mutex::default(),
                    wake: Condvar::new(),
                    limit: AtomicUsize::new(limit),
                    level: AtomicUsize::new(0),
                    gone: AtomicBool::new(false),
                    written: records.with_label_values(&[sink, "written"]),
                    dropped: records.with_label_values(&[sink, "dropped"]),
                    queue_bytes: queues.with_label_values(&[key]),
                    queues,
                });
                let of_thread = shared.clone();
                thread::Builder::new()
                    .name("sink".to_owned())
                    .spawn(move || of_thread.run(output))
                    .map_err(|error| format!("no thread to write with: {error}"))?;
                writers.push(shared.clone());
                shared
            }
        };
        shared.limit.store(limit, Relaxed);
        locked(&shared.state).sinks += 1;
        Ok(Sink { shared, tally: Arc::default(), handed: 0 })
    }

    /// Hands `records` whole lines over and leaves an empty buffer for the next. Never waits; without
    /// room they are dropped. Says whether the writer is at it: else they wait for more, or for `wake`.
    pub fn push(&mut self, lines: &mut Vec<u8>, records: u64) -> bool {
        let shared = &*self.shared;
        let size = lines.len();
        let full = shared.level.load(Relaxed).saturating_add(size) > shared.limit.load(Relaxed);
        if full || shared.gone.load(Relaxed) {
            self.tally.lose(shared, records);
            lines.clear();
            return true;
        }
        shared.level.fetch_add(size, Relaxed);
        shared.queue_bytes.add(size as i64);
        let mut state = locked(&shared.state);
        // As large as this one, rather than growing to it step by step.
        let empty = state.spare.pop().unwrap_or_else(|| Vec::with_capacity(lines.capacity()));
        let lines = std::mem::replace(lines, empty);
        state.queue.push_back(Batch { lines, records, tally: self.tally.clone() });
        state.waiting += size;
        self.handed += 1;
        if state.asleep && state.waiting < WORTH_WAKING.min(shared.limit.load(Relaxed) / 8) {
            return false;
        }
        shared.wake_up(state);
        true
    }

    /// What was handed over waits no longer.
    pub fn wake(&self) {
        let state = locked(&self.shared.state);
        if !state.queue.is_empty() {
            self.shared.wake_up(state);
        }
    }

    /// Whether the queue is half full: a source that can wait should.
    pub fn congested(&self) -> bool {
        !self.gone() && self.shared.level.load(Relaxed) > self.shared.limit.load(Relaxed) / 2
    }

    /// Whether everything handed over is written or lost. Who asks waits for it, and so does the writer
    /// no longer.
    pub fn drained(&self) -> bool {
        let drained = self.tally.done.load(Acquire) == self.handed;
        if !drained {
            self.wake();
        }
        drained
    }

    /// What is not written yet is dropped: at once what waits, within `LAST_PAUSE` what was begun.
    pub fn abandon(&self) {
        let (shared, tally) = (&*self.shared, &self.tally);
        tally.abandoned.store(true, Relaxed);
        let mut state = locked(&shared.state);
        let mut size = 0;
        state.queue.retain(|batch| {
            let ours = Arc::ptr_eq(&batch.tally, tally);
            if ours {
                size += batch.lines.len();
                tally.lose(shared, batch.records);
                tally.done.fetch_add(1, Release);
            }
            !ours
        });
        state.waiting -= size;
        shared.release(size);
    }

    /// Whether the reader has gone for good.
    pub fn gone(&self) -> bool {
        self.shared.gone.load(Relaxed)
    }

    /// Records of this sink that are written and that were dropped.
    pub fn counts(&self) -> (u64, u64) {
        (self.tally.written.load(Relaxed), self.tally.dropped.load(Relaxed))
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.abandon();
        locked(&self.shared.state).sinks -= 1;
        self.shared.wake.notify_one();
    }
}

impl Tally {
    fn lose(&self, shared: &Shared, records: u64) {
        self.dropped.fetch_add(records, Relaxed);
        shared.dropped.inc_by(records);
    }
}

impl Shared {
    fn wake_up(&self, mut state: MutexGuard<'_, State>) {
        if std::mem::take(&mut state.asleep) {
            drop(state);
            self.wake.notify_one();
        }
    }

    /// The thread: until the last sink has gone and all is written.
    fn run(&self, mut output: Box<dyn Output>) {
        let mut failing = false;
        while let Some(batch) = self.next() {
            self.deliver(&batch, &mut *output, &mut failing);
            self.release(batch.lines.len());
            let mut lines = batch.lines;
            if lines.capacity() <= KEEP_CAPACITY {
                lines.clear();
                let mut state = locked(&self.state);
                if state.spare.len() < KEEP_SPARE {
                    state.spare.push(lines);
                }
            }
            // Last, so that whoever sees it finds the buffer and the counts as they are.
            batch.tally.done.fetch_add(1, Release);
        }
    }

    /// Bytes that wait no longer.
    fn release(&self, size: usize) {
        self.level.fetch_sub(size, Relaxed);
        self.queue_bytes.sub(size as i64);
    }

    /// The next batch; None once nobody can hand over another.
    fn next(&self) -> Option<Batch> {
        loop {
            let mut state = locked(&self.state);
            loop {
                if let Some(batch) = state.queue.pop_front() {
                    state.waiting -= batch.lines.len();
                    state.asleep = false;
                    return Some(batch);
                }
                if state.sinks == 0 {
                    break;
                }
                state.asleep = true;
                state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            drop(state);
            // In the order in which `open` locks; a sink may have come meanwhile.
            let mut writers = locked(&WRITERS);
            let state = locked(&self.state);
            if state.sinks == 0 && state.queue.is_empty() {
                writers.retain(|shared| shared.key != self.key);
                // An error says that it was not there.
                drop(self.queues.remove_label_values(&[&self.key]));
                return None;
            }
        }
    }

    fn deliver(&self, batch: &Batch, output: &mut dyn Output, failing: &mut bool) {
        let (mut rest, mut left) = (&*batch.lines, batch.records);
        let mut pause = FIRST_PAUSE;
        let mut can_write = false;
        while !rest.is_empty() && !self.gone.load(Relaxed) {
            let Progress { written, skipped, step } = output.write(rest);
            let (whole, behind) = rest.split_at(written.min(rest.len()));
            let (lost, behind) = behind.split_at(skipped.min(behind.len()));
            let here = if behind.is_empty() && lost.is_empty() { left } else { lines(whole) };
            self.written.inc_by(here);
            batch.tally.written.fetch_add(here, Relaxed);
            batch.tally.lose(self, lines(lost));
            left = left.saturating_sub(here + lines(lost));
            rest = behind;
            if written > 0 {
                (pause, can_write) = (FIRST_PAUSE, false);
            }
            match step {
                Step::Done => {}
                Step::Blocked => {
                    if batch.tally.abandoned.load(Relaxed) {
                        output.tear();
                        break;
                    }
                    // One that says that it can be written, and cannot, is not asked without a pause.
                    if std::mem::take(&mut can_write) {
                        thread::sleep(pause);
                    } else {
                        can_write = output.wait(pause);
                    }
                    pause = (pause * 2).min(LAST_PAUSE);
                    continue;
                }
                Step::Failed(error) => {
                    if !*failing {
                        log::warn!("records are lost sink={} error={error}", self.key);
                    }
                    *failing = true;
                    break;
                }
                Step::Gone => {
                    log::info!("the reader has gone sink={}", self.key);
                    self.gone.store(true, Relaxed);
                    break;
                }
            }
            if *failing {
                log::info!("records are written again sink={}", self.key);
                *failing = false;
            }
        }
        batch.tally.lose(self, left);
    }
}

/// The reader of the writer for `key` has gone, as somebody found out who does not write.
pub(super) fn close(key: &str) {
    if let Some(shared) = locked(&WRITERS).iter().find(|shared| shared.key == key) {
        log::info!("the reader has gone sink={key}");
        shared.gone.store(true, Relaxed);
    }
}

fn lines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|byte| **byte == b'\n').count() as u64
}

/// What is behind these locks is whole after every statement.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The writers whose threads run.
static WRITERS: Mutex<Vec<Arc<Shared>>> = Mutex::new(Vec::new());

/// Bytes for which the thread is woken before somebody asks for it: a wake-up costs as much as writing a
/// few hundred records, and this many still lie in the cache of the core that made them.
const WORTH_WAKING: usize = 512 << 10;
/// Buffers kept for reuse, so that in steady state none is made.
const KEEP_SPARE: usize = 16;
const KEEP_CAPACITY: usize = 1 << 20;
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LAST_PAUSE: Duration = Duration::from_millis(50);
