//! The runs of directives: how they start, get their tap, fail, end, drain and are counted.

use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Interest, Token};

use super::directive::Now;
use super::event_loop::{Agent, CAPTURES};
use super::loader::Hooks;
use super::slot::{CaptureRun, Drain, Place, Slot};
use crate::kernel::features::{self, Features};
use crate::kernel::load;
use crate::metrics::runs::TaskRun;
use crate::pipeline::{End, Pipeline};
use crate::process::metadata::Meta;
use crate::task::source::capture::Capture;
use crate::task::source::{Tap, exec, flows};
use crate::task::{self, Source};

impl Agent {
    pub(super) fn start(&mut self, slot: &mut Slot, now: Now) {
        log::info!("directive starts directive={}", slot.directive.name);
        self.state(slot);
        let context = slot.context(&self.shared);
        let pipeline = match slot.pipeline(&context) {
            Ok(pipeline) => pipeline,
            Err(error) => return self.fail(slot, error, now),
        };
        let hooks = match slot.directive.source() {
            Some(Source::Exec) => Hooks::Exec,
            Some(Source::Flows) => Hooks::Flows,
            Some(Source::Capture) => return self.start_capture(slot, pipeline, &context, now),
            None => return self.fail(slot, "a directive without a source".to_owned(), now),
        };
        slot.place = Place::Waiting(hooks, pipeline);
        self.taps[hooks as usize].waiting += 1;
        self.sources.want(hooks, &self.config);
    }

    pub(super) fn start_capture(&mut self, slot: &mut Slot, pipeline: Pipeline, context: &task::Context, now: Now) {
        let Some(task) = slot.directive.tasks.first() else { return };
        match Capture::open(&task.options, context) {
            Ok(capture) => {
                let mut run = Box::new(CaptureRun { capture, pipeline, fds: Vec::new(), ready: Vec::new() });
                self.register(&mut run);
                slot.life.attached(now);
                log::info!("directive runs directive={}", slot.directive.name);
                slot.place = Place::Capture(run);
            }
            Err(mut error) => {
                // Files need no privilege.
                let live = task.options.text("file").is_none_or(str::is_empty);
                let remedy = live.then(|| Features::read().remedy(&[features::NET_RAW])).flatten();
                slot.forbidden = remedy.is_some();
                error.extend(remedy.map(|remedy| format!("; {remedy}")));
                self.fail(slot, format!("capture: {error}"), now);
            }
        }
    }

    /// Gives a directive that waits for it its tap, once the programs run. Where another one is giving its own
    /// back, not before that: no event is told to both, or to neither.
    pub(super) fn attach(&mut self, slot: &mut Slot, now: Now) {
        let Place::Waiting(hooks, _) = slot.place else { return };
        let taps = self.taps[hooks as usize];
        if !self.sources.is_loaded(hooks) || !self.sources.is_loaded(Hooks::Exec) || taps.emptying > 0 {
            return;
        }
        let bit = match hooks {
            Hooks::Exec => self.sources.exec.taps.free_bit(),
            Hooks::Flows => self.sources.flows.taps.free_bit(),
        };
        if bit.is_none() && taps.leaving > 0 {
            return;
        }
        let Some(pipeline) = self.waited(slot) else { return };
        let Some(task) = slot.directive.tasks.first() else { return };
        let meta = Meta::parse(task.options.text("meta").unwrap_or_default()).unwrap_or_default();
        let times = self.times(now);
        let Some(bit) = bit else { return self.fail(slot, "64 directives have this source already".to_owned(), now) };
        match hooks {
            Hooks::Exec => {
                self.sources.exec.taps.insert(bit, Tap::new(exec::Options::new(&task.options), meta, pipeline));
            }
            Hooks::Flows => match flows::Options::new(&task.options, now.mono) {
                Ok(options) => self.sources.flows.taps.insert(bit, Tap::new(options, meta, pipeline)),
                Err(error) => return self.fail(slot, format!("flows: {error}"), now),
            },
        }
        self.sources.processes.watchers.add(hooks as usize, bit, slot.directive.condition.clone());
        self.sources.watchers_changed();
        self.sources.join(hooks, bit, times);
        slot.life.attached(now);
        log::info!("directive runs directive={}", slot.directive.name);
        slot.place = Place::Tap(hooks, bit);
    }

    pub(super) fn load_failed(&mut self, slot: &mut Slot, error: &load::Error, now: Now) {
        slot.forbidden = error.forbidden;
        if let Some(mut pipeline) = self.waited(slot) {
            pipeline.close(End::Failed, now.mono);
        }
        self.fail(slot, error.to_string(), now);
    }

    /// The pipeline of a directive that need not wait for programs any more.
    fn waited(&mut self, slot: &mut Slot) -> Option<Pipeline> {
        match std::mem::replace(&mut slot.place, Place::None) {
            Place::Waiting(hooks, pipeline) => {
                self.taps[hooks as usize].waiting -= 1;
                Some(pipeline)
            }
            other => {
                slot.place = other;
                None
            }
        }
    }

    /// A task could not start, or failed for good.
    pub(super) fn fail(&mut self, slot: &mut Slot, error: String, now: Now) {
        if slot.life.fail(error.clone(), now) {
            log::error!("directive failed directive={} error={error:?}", slot.directive.name);
        }
        match slot.place {
            Place::None => self.ended(slot, now),
            Place::Draining { .. } | Place::Flushing(..) => {}
            _ => self.leave(slot, End::Failed, now),
        }
    }

    /// Not wanted any more, or its source came to its end.
    pub(super) fn stop(&mut self, slot: &mut Slot, why: End, now: Now) {
        if slot.life.end(why, now) {
            self.leave(slot, why, now);
        } else {
            self.state(slot);
        }
    }

    /// A run's end begins: its source detaches.
    pub(super) fn leave(&mut self, slot: &mut Slot, why: End, now: Now) {
        if let Some(pipeline) = self.waited(slot) {
            return self.flush(slot, pipeline, why, now);
        }
        match std::mem::replace(&mut slot.place, Place::None) {
            Place::Tap(hooks, bit) => {
                let last = match hooks {
                    Hooks::Exec => self.sources.exec.taps.mask() == 1 << bit && !self.sources.is_used(Hooks::Flows),
                    Hooks::Flows => self.sources.flows.taps.mask() == 1 << bit,
                };
                let taps = &mut self.taps[hooks as usize];
                taps.leaving += 1;
                taps.emptying += 1;
                let step = match last && taps.waiting == 0 {
                    true => {
                        self.sources.detach(hooks);
                        Drain::Detach
                    }
                    false => Drain::Rings(now.mono),
                };
                slot.place = Place::Draining { hooks, bit, why, step };
            }
            Place::Capture(mut run) => {
                self.deregister(&run);
                let at = run.capture.time().unwrap_or(now.mono);
                run.capture.tick(now.mono);
                run.pipeline.close(why, at);
                slot.place = Place::Flushing(run.pipeline, now.mono + FLUSH);
            }
            Place::None => self.ended(slot, now),
            other => slot.place = other,
        }
    }

    /// A run that is ending goes on as far as it can.
    pub(super) fn drain(&mut self, slot: &mut Slot, now: Now) {
        match &mut slot.place {
            Place::Draining { hooks, bit, why, step: step @ Drain::Rings(_) } => {
                let Drain::Rings(until) = *step else { return };
                // One that has only just come is told of what was there, too.
                if self.sources.drained() < until || self.was_deciding {
                    return;
                }
                let (hooks, bit, why) = (*hooks, *bit, *why);
                self.taps[hooks as usize].emptying -= 1;
                if hooks == Hooks::Flows {
                    self.sources.flows.forgo(bit);
                }
                match hooks {
                    Hooks::Exec => self.left(slot, hooks, bit, why, now),
                    // What is open is told with its statistics as they are now.
                    Hooks::Flows if self.sources.update_statistics() => *step = Drain::Statistics,
                    Hooks::Flows => self.tell_rest(slot),
                }
            }
            Place::Flushing(pipeline, until) if pipeline.drained() || *until <= now.mono => {
                if !pipeline.drained() && pipeline.abandon() {
                    log::warn!("records were not written within 5 s directive={}", slot.directive.name);
                    *until = now.mono + GIVING_UP;
                    return;
                }
                let Place::Flushing(pipeline, _) = std::mem::replace(&mut slot.place, Place::None) else { return };
                if let Some(error) = pipeline.failure() {
                    slot.life.fail(error, now);
                }
                slot.keep_counts(&pipeline);
                self.ended(slot, now);
            }
            _ => {}
        }
    }

    /// What is open is told to a directive of flows that ends; `News::Left` follows.
    pub(super) fn tell_rest(&mut self, slot: &mut Slot) {
        if let Place::Draining { bit, step, .. } = &mut slot.place {
            *step = Drain::Telling;
            let bit = *bit;
            self.sources.flows.leave(bit);
        }
    }

    /// All that happened up to the end has been told: the tap goes.
    pub(super) fn left(&mut self, slot: &mut Slot, hooks: Hooks, bit: u32, why: End, now: Now) {
        let pipeline = match hooks {
            Hooks::Exec => self.sources.exec.leave(bit).map(|tap| tap.pipeline),
            Hooks::Flows => self.sources.flows.taps.remove(bit).map(|tap| tap.pipeline),
        }
        .unwrap_or_default();
        self.taps[hooks as usize].leaving -= 1;
        self.sources.processes.watchers.remove(hooks as usize, bit);
        self.sources.watchers_changed();
        self.flush(slot, pipeline, why, now);
    }

    pub(super) fn flush(&mut self, slot: &mut Slot, mut pipeline: Pipeline, why: End, now: Now) {
        pipeline.close(why, now.mono);
        slot.place = Place::Flushing(pipeline, now.mono + FLUSH);
        self.drain(slot, now);
    }

    /// A run has ended: it is counted.
    pub(super) fn ended(&mut self, slot: &mut Slot, now: Now) {
        if let Some(run) = slot.life.drained(now) {
            slot.last_end = Some(run.status);
            match run.status {
                End::Completed => slot.runs.completed += 1,
                End::Stopped => slot.runs.stopped += 1,
                End::Failed => slot.runs.failed += 1,
            }
            let tasks: Vec<TaskRun<'_>> = slot
                .directive
                .tasks
                .iter()
                .map(|task| TaskRun { task: task.spec.name, end: run.status, took: run.length })
                .collect();
            self.runs.ended(&slot.directive.name, run.status, run.length, &tasks, now.mono);
            log::info!("directive ended directive={} status={}", slot.directive.name, run.status.name());
        }
        self.state(slot);
    }

    pub(super) fn state(&self, slot: &Slot) {
        if !slot.replaced {
            self.runs.state(&slot.directive.name, Some(slot.life.state().shown()));
        }
    }

    pub(super) fn register(&self, run: &mut CaptureRun) {
        run.fds = run.capture.fds().collect();
        run.ready.clone_from(&run.fds);
        for &fd in &run.fds {
            if let Err(error) =
                self.poll.registry().register(&mut SourceFd(&fd), Token(CAPTURES + fd as usize), Interest::READABLE)
            {
                log::error!("an interface cannot be polled error={error}");
            }
        }
    }

    pub(super) fn deregister(&self, run: &CaptureRun) {
        for &fd in &run.fds {
            // One whose interface has gone is closed already.
            let _ = self.poll.registry().deregister(&mut SourceFd(&fd));
        }
    }

    /// The pipeline of a slot, wherever it is.
    pub(super) fn pipeline<'a>(&'a self, slot: &'a Slot) -> Option<&'a Pipeline> {
        match &slot.place {
            Place::Waiting(_, pipeline) | Place::Flushing(pipeline, _) => Some(pipeline),
            Place::Capture(run) => Some(&run.pipeline),
            Place::Tap(hooks, bit) | Place::Draining { hooks, bit, .. } => match hooks {
                Hooks::Exec => self.sources.exec.taps.get(*bit).map(|tap| &tap.pipeline),
                Hooks::Flows => self.sources.flows.taps.get(*bit).map(|tap| &tap.pipeline),
            },
            Place::None => None,
        }
    }

    pub(super) fn pipeline_mut<'a>(&'a mut self, slot: &'a mut Slot) -> Option<&'a mut Pipeline> {
        match &mut slot.place {
            Place::Waiting(_, pipeline) | Place::Flushing(pipeline, _) => Some(pipeline),
            Place::Capture(run) => Some(&mut run.pipeline),
            Place::Tap(hooks, bit) | Place::Draining { hooks, bit, .. } => match hooks {
                Hooks::Exec => self.sources.exec.taps.get_mut(*bit).map(|tap| &mut tap.pipeline),
                Hooks::Flows => self.sources.flows.taps.get_mut(*bit).map(|tap| &mut tap.pipeline),
            },
            Place::None => None,
        }
    }
}

/// How long destinations may take to write what was handed to them.
const FLUSH: Duration = Duration::from_secs(5);
/// How long they may take to give up the rest: what they are writing just then may be with a disk.
const GIVING_UP: Duration = Duration::from_secs(1);
