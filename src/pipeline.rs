//! How tasks are chained: a source makes an `Event`, each task adds to it or consumes it and calls
//! `Next`, a destination walks the chain. Nothing is boxed or cloned to pass it on: every part
//! borrows from the one before, so what must outlive the call is copied by the task that needs it.

use std::sync::Arc;

use crate::task::Kind;
use crate::task::processing::h2::RoundTrip;
use crate::task::record::{Chunk, Frame};
use crate::time::{Instant, Timestamp};

/// One thing that happened, as a stack-linked chain: what the source saw, then what each task added.
#[derive(Clone, Copy)]
pub struct Event<'a> {
    /// When it happened; the envelope's `timestamp`.
    pub timestamp: Timestamp,
    /// The same on the monotonic clock (or the capture file's), what time-outs are reckoned from.
    pub at: Instant,
    pub record: &'a (dyn Record + 'a),
    pub parent: Option<&'a Event<'a>>,
}

impl<'a> Event<'a> {
    /// What a source makes: the first link.
    pub fn new(timestamp: Timestamp, at: Instant, record: &'a (dyn Record + 'a)) -> Event<'a> {
        Event { timestamp, at, record, parent: None }
    }

    /// What a processing task makes of this one: the next link, at the same time.
    pub fn with(&'a self, record: &'a (dyn Record + 'a)) -> Event<'a> {
        Event { record, parent: Some(self), ..*self }
    }

    /// Calls `each` with every record of the chain, the source's first.
    pub fn walk(&self, each: &mut dyn FnMut(&dyn Record)) {
        if let Some(parent) = self.parent {
            parent.walk(each);
        }
        each(self.record);
    }

    /// The newest record of the chain that carries stream or datagram bytes of a flow.
    pub fn chunk(&self) -> Option<&'a Chunk<'a>> {
        self.find(|view| match view {
            View::Chunk(chunk) => Some(chunk),
            _ => None,
        })
    }

    /// The frame that `capture` saw.
    pub fn frame(&self) -> Option<&'a Frame<'a>> {
        self.find(|view| match view {
            View::Frame(frame) => Some(frame),
            _ => None,
        })
    }

    fn find<T>(&self, pick: impl Fn(View<'a>) -> Option<T>) -> Option<T> {
        let mut link = *self;
        loop {
            let record: &'a (dyn Record + 'a) = link.record;
            if let Some(found) = pick(record.view()) {
                return Some(found);
            }
            link = *link.parent?;
        }
    }
}

/// One entry of an event's `data`: a typed record, of the shape that `task::schema` tells.
pub trait Record {
    /// Which record type this is: the `type` of its entry.
    fn kind(&self) -> Kind;

    /// Appends the record's `data` object as JSON. Does not allocate once `out` has grown.
    fn json(&self, out: &mut Vec<u8>);

    /// Appends one readable phrase, without a line end, for `format: text`.
    fn text(&self, out: &mut Vec<u8>);

    /// What other tasks can make use of.
    fn view(&self) -> View<'_> {
        View::None
    }
}

/// The shared shapes that processing tasks take, whichever source they come from.
#[derive(Clone, Copy)]
pub enum View<'a> {
    None,
    /// Bytes of a flow: `payload`, `tlsplaintext`.
    Chunk(&'a Chunk<'a>),
    /// A frame: `capture`.
    Frame(&'a Frame<'a>),
    /// An HTTP/2 round trip: `h2`.
    RoundTrip(&'a RoundTrip<'a>),
}

/// One task of one directive's pipeline. State is sans-I/O: it gets events and time; it never reads
/// a clock, opens a file or takes a lock (destinations hand what blocks to a thread of their own).
pub trait Task {
    /// Takes one event; whatever comes of it goes on by `next.event`. Infallible: what is wrong is counted.
    fn event(&mut self, event: &Event<'_>, next: &mut Next<'_>);

    /// Time has passed. Called when `deadline` is due, and at least once a second.
    fn tick(&mut self, _now: Instant, _next: &mut Next<'_>) {}

    /// When `tick` next has something to do.
    fn deadline(&self) -> Option<Instant> {
        None
    }

    /// The directive ends: what is held goes on now. Called once, in the pipeline's order.
    fn close(&mut self, _why: End, _now: Instant, _next: &mut Next<'_>) {}

    /// The names, lower case, of headers whose values are redacted have changed.
    fn redact(&mut self, _names: &Arc<[String]>) {}

    /// What went wrong for good, if anything: the directive then ends as failed.
    fn failure(&self) -> Option<String> {
        None
    }

    /// Whether more waits to be written than is good. A source that can wait, because it replays a
    /// file, pauses while this holds; a live one goes on, and what finds no room is dropped and counted.
    fn congested(&self) -> bool {
        false
    }

    /// Whether all that was handed to a thread has been dealt with. After `close` the end of the
    /// directive waits for it, at most 5 s, without blocking the loop.
    fn drained(&self) -> bool {
        true
    }

    /// Nobody waits any more for what is not dealt with: it is given up and counted, and `drained` soon.
    fn abandon(&mut self) {}

    /// Whether nobody will ever read again what the task writes (a closed pipe): the directive then
    /// ends in order, as completed.
    fn finished(&self) -> bool {
        false
    }

    /// Calls `each` with what the task counts of its own, for /directives and the summary of `run`.
    fn counts(&self, _each: &mut dyn FnMut(&'static str, u64)) {}
}

/// Why a directive ends: the `status` of directives_ran_total.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// stopAt or duration reached, or its source came to its end.
    Completed,
    /// Removed by a reload, disabled, or the agent shut down.
    Stopped,
    /// A task could not start, or failed for good while running.
    Failed,
}

impl End {
    pub const ALL: [End; 3] = [End::Completed, End::Stopped, End::Failed];

    pub const fn name(self) -> &'static str {
        match self {
            End::Completed => "completed",
            End::Stopped => "stopped",
            End::Failed => "failed",
        }
    }
}

/// What a directive is at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// startAt is ahead.
    Scheduled,
    Running,
    Ended,
}

impl State {
    pub const ALL: [State; 3] = [State::Scheduled, State::Running, State::Ended];

    pub const fn name(self) -> &'static str {
        match self {
            State::Scheduled => "scheduled",
            State::Running => "running",
            State::Ended => "ended",
        }
    }
}

/// The tasks behind the one that is running.
pub struct Next<'a> {
    rest: &'a mut [Box<dyn Task>],
}

impl<'a> Next<'a> {
    pub fn new(rest: &'a mut [Box<dyn Task>]) -> Next<'a> {
        Next { rest }
    }

    /// Hands an event to the next task; behind the last one it ends.
    pub fn event(&mut self, event: &Event<'_>) {
        if let Some((task, rest)) = self.rest.split_first_mut() {
            task.event(event, &mut Next { rest });
        }
    }
}

/// The processing and destination tasks of one directive run, in order.
#[derive(Default)]
pub struct Pipeline {
    tasks: Vec<Box<dyn Task>>,
    events: u64,
    abandoned: bool,
}

impl Pipeline {
    pub fn new(tasks: Vec<Box<dyn Task>>) -> Pipeline {
        Pipeline { tasks, ..Pipeline::default() }
    }

    pub fn event(&mut self, event: &Event<'_>) {
        self.events += 1;
        Next::new(&mut self.tasks).event(event);
    }

    /// Whether nobody looks at events: then none needs to be made, and `pass` counts it.
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    pub fn pass(&mut self) {
        self.events += 1;
    }

    pub fn tick(&mut self, now: Instant) {
        self.each(|task, next| task.tick(now, next));
    }

    /// Closes the tasks first to last, so that what one still emits is seen by those behind it.
    pub fn close(&mut self, why: End, now: Instant) {
        self.each(|task, next| task.close(why, now, next));
    }

    pub fn deadline(&self) -> Option<Instant> {
        self.tasks.iter().filter_map(|task| task.deadline()).min()
    }

    pub fn failure(&self) -> Option<String> {
        self.tasks.iter().find_map(|task| task.failure())
    }

    /// Whether a source that can wait should.
    pub fn congested(&self) -> bool {
        self.tasks.iter().any(|task| task.congested())
    }

    /// Whether nothing is on its way any more.
    pub fn drained(&self) -> bool {
        self.tasks.iter().all(|task| task.drained())
    }

    /// Gives up what is on its way; false where that was done before.
    pub fn abandon(&mut self) -> bool {
        self.tasks.iter_mut().for_each(|task| task.abandon());
        !std::mem::replace(&mut self.abandoned, true)
    }

    pub fn finished(&self) -> bool {
        self.tasks.iter().any(|task| task.finished())
    }

    /// Events that the source has handed on.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// The names whose values are redacted have changed.
    pub fn redact(&mut self, names: &Arc<[String]>) {
        self.tasks.iter_mut().for_each(|task| task.redact(names));
    }

    /// Calls `each` with the position of a task, the source not counted, and what it counts.
    pub fn counts(&self, each: &mut dyn FnMut(usize, &'static str, u64)) {
        for (at, task) in self.tasks.iter().enumerate() {
            task.counts(&mut |name, count| each(at, name, count));
        }
    }

    fn each(&mut self, mut call: impl FnMut(&mut dyn Task, &mut Next<'_>)) {
        for at in 0..self.tasks.len() {
            if let Some((task, rest)) = self.tasks[at..].split_first_mut() {
                call(task.as_mut(), &mut Next { rest });
            }
        }
    }
}
