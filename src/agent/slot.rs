//! One directive of the agent: its life, where its pipeline is now, and what it has done.

use std::os::fd::RawFd;
use std::sync::Arc;

use super::directive::{Life, Now};
use super::loader::Hooks;
use crate::config::Directive;
use crate::http::status;
use crate::metrics::Metrics;
use crate::pipeline::{End, Pipeline, Task};
use crate::task::source::capture::Capture;
use crate::task::{Build, Context, Source};
use crate::time::Instant;

/// A directive from when it is read until it is removed and has ended.
pub struct Slot {
    pub directive: Directive,
    /// The file that states it; None for the command line.
    pub origin: Option<String>,
    pub life: Life,
    pub place: Place,
    pub runs: status::Runs,
    pub last_end: Option<End>,
    /// Events that the source handed on in runs that have ended.
    pub events: u64,
    /// What the destinations counted in runs that have ended, by task.
    pub counted: Vec<Vec<(&'static str, u64)>>,
    /// Removed by a reload, or replaced: to go once it has ended.
    pub leaving: bool,
    /// Another one has its name already.
    pub replaced: bool,
    /// Whether what failed was the kernel's or the privileges' no.
    pub forbidden: bool,
}

/// Where the pipeline of a run is.
pub enum Place {
    None,
    /// The source's programs are on their way.
    Waiting(Hooks, Pipeline),
    /// A tap of a kernel source.
    Tap(Hooks, u32),
    /// Its tap gets what happened up to now: the rings are drained first, and where programs leave with
    /// it they are detached first.
    Draining {
        hooks: Hooks,
        bit: u32,
        why: End,
        step: Drain,
    },
    Capture(Box<CaptureRun>),
    /// What was handed to destinations is being written.
    Flushing(Pipeline, Instant),
}

/// What a run that ends waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Drain {
    Detach,
    Rings(Instant),
    /// Statistics of what is open.
    Statistics,
    /// What is open is being told.
    Telling,
}

/// How many directives of a source are on their way to a tap, or to give theirs back.
#[derive(Clone, Copy, Default, Debug)]
pub struct Taps {
    /// `Place::Waiting`.
    pub waiting: u32,
    /// `Place::Draining` that still gets events: `Drain::Detach` and `Drain::Rings`.
    pub emptying: u32,
    /// `Place::Draining`.
    pub leaving: u32,
}

pub struct CaptureRun {
    pub capture: Capture,
    pub pipeline: Pipeline,
    /// Descriptors that are registered with the loop.
    pub fds: Vec<RawFd>,
    /// Whether more can be read without waiting.
    pub ready: Vec<RawFd>,
}

impl Slot {
    pub fn new(directive: Directive, origin: Option<String>, now: Now) -> Slot {
        let life = Life::new(&directive, now);
        let counted = vec![Vec::new(); directive.tasks.len()];
        Slot {
            directive,
            origin,
            life,
            place: Place::None,
            runs: status::Runs::default(),
            last_end: None,
            events: 0,
            counted,
            leaving: false,
            replaced: false,
            forbidden: false,
        }
    }

    /// The processing and destination tasks of a run. The error names the task.
    pub fn pipeline(&self, context: &Context) -> Result<Pipeline, String> {
        let mut tasks: Vec<Box<dyn Task>> = Vec::new();
        for task in &self.directive.tasks {
            if let Build::Processing(build) | Build::Destination(build) = task.spec.build {
                tasks.push(build(&task.options, context).map_err(|error| format!("{}: {error}", task.spec.name))?);
            }
        }
        Ok(Pipeline::new(tasks))
    }

    /// What every task of a run is given.
    pub fn context(&self, shared: &SharedContext) -> Context {
        Context {
            tawon_id: shared.tawon_id.clone(),
            hostname: shared.hostname.clone(),
            directive: self.directive.name.as_str().into(),
            metrics: shared.metrics.clone(),
            redact: shared.redact.clone(),
            packets: self.directive.source() == Some(Source::Capture),
            memory: shared.memory,
        }
    }

    /// Remembers what a pipeline that goes now has counted.
    pub fn keep_counts(&mut self, pipeline: &Pipeline) {
        self.events += pipeline.events();
        pipeline.counts(&mut |task, name, count| {
            // The source is the first task and none of the pipeline's.
            if let Some(counted) = self.counted.get_mut(task + 1) {
                match counted.iter_mut().find(|(known, _)| *known == name) {
                    Some((_, total)) => *total += count,
                    None => counted.push((name, count)),
                }
            }
        });
    }
}

/// What the contexts of all directives have in common.
#[derive(Clone)]
pub struct SharedContext {
    pub tawon_id: Arc<str>,
    pub hostname: Arc<str>,
    pub metrics: Arc<Metrics>,
    pub redact: Arc<[String]>,
    /// Bytes that each task with tables of its own may hold.
    pub memory: u64,
}
