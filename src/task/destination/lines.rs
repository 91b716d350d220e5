//! What `log` and `file` share: each event becomes one line of a batch; a batch goes to the writer
//! when it is full, and the writer is woken for several, or when the first line has waited long enough.

use std::time::Duration;

use super::envelope::Envelope;
use super::writer::Sink;
use crate::pipeline::{End, Event, Next, Task};
use crate::task::Context;
use crate::time::Instant;

pub(super) struct Lines {
    sink: Sink,
    envelope: Envelope,
    text: bool,
    batch: Vec<u8>,
    records: u64,
    /// The present, as `tick` was last told.
    now: Instant,
    /// When the writer must be at it; set while a line waits in the batch or before a writer that sleeps.
    due: Option<Instant>,
}

impl Lines {
    /// `text`: one readable line per record instead of JSON.
    pub fn new(sink: Sink, context: &Context, text: bool) -> Lines {
        let envelope = Envelope::new(context);
        Lines { sink, envelope, text, batch: Vec::new(), records: 0, now: Instant(0), due: None }
    }

    fn hand_over(&mut self) {
        if self.records > 0 && self.sink.push(&mut self.batch, std::mem::take(&mut self.records)) {
            self.due = None;
        }
    }

    fn flush(&mut self) {
        self.hand_over();
        if self.due.take().is_some() {
            self.sink.wake();
        }
    }
}

impl Task for Lines {
    fn event(&mut self, event: &Event<'_>, next: &mut Next<'_>) {
        if self.text {
            self.envelope.text(event, &mut self.batch);
        } else {
            self.envelope.json(event, &mut self.batch);
        }
        self.batch.push(b'\n');
        self.records += 1;
        // Already due where time has passed since the last tick: a lone record does not wait.
        self.due.get_or_insert(self.now + DELAY);
        if self.batch.len() >= BATCH {
            self.hand_over();
        }
        next.event(event);
    }

    fn tick(&mut self, now: Instant, _next: &mut Next<'_>) {
        self.now = now;
        if self.due.is_some_and(|due| due <= now) {
            self.flush();
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.due
    }

    fn close(&mut self, _why: End, _now: Instant, _next: &mut Next<'_>) {
        self.flush();
    }

    fn congested(&self) -> bool {
        self.sink.congested()
    }

    fn drained(&self) -> bool {
        self.sink.drained()
    }

    fn abandon(&mut self) {
        self.sink.abandon();
    }

    fn finished(&self) -> bool {
        self.sink.gone()
    }

    fn counts(&self, each: &mut dyn FnMut(&'static str, u64)) {
        let (written, dropped) = self.sink.counts();
        each("written", written);
        each("dropped", dropped);
    }
}

/// Bytes: one lock and one write for so many.
const BATCH: usize = 128 * 1024;
const DELAY: Duration = Duration::from_millis(50);
