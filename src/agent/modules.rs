//! The programs of the kernel sources on their way in and out. One set per source, loaded when the first
//! directive wants it and unloaded behind the last.

use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, Ordering};

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};

use super::loader::{Hooks, Loader};
use super::plans;
use super::source_metrics::SourceMetrics;
use crate::config::{Config, Transport};
use crate::kernel::load::{Error, Module, Sizes};
use crate::kernel::ring::Rings;
use crate::kernel::stats::{self, Counts};
use crate::metrics::bpf_stats::{BpfStats, Program};
use crate::time::Instant;

/// How far each source's programs are, by `Hooks`.
#[derive(Default)]
pub(super) struct Modules([State; 2]);

#[derive(Default)]
enum State {
    #[default]
    Unloaded,
    Loading,
    Loaded(Box<Loaded>),
    /// Its links are being dropped; the rings are still read.
    Detaching(Box<Loaded>),
    /// Nothing comes any more; kept until its last records are worked on.
    Detached(Box<Loaded>),
}

/// What a source has in the kernel.
pub(super) struct Loaded {
    pub module: Box<Module>,
    pub counts: Counts,
    /// Names and descriptors.
    pub programs: Vec<(String, RawFd)>,
}

impl Modules {
    /// Whether the programs run.
    pub fn is_loaded(&self, hooks: Hooks) -> bool {
        matches!(self.0[hooks as usize], State::Loaded(_))
    }

    /// Whether nothing of a source's programs is left.
    pub fn is_gone(&self, hooks: Hooks) -> bool {
        matches!(self.0[hooks as usize], State::Unloaded)
    }

    /// Whether a source's programs run or are on their way in.
    pub fn is_used(&self, hooks: Hooks) -> bool {
        matches!(self.0[hooks as usize], State::Loading | State::Loaded(_))
    }

    /// Whether a source's programs are on their way out.
    pub fn is_leaving(&self, hooks: Hooks) -> bool {
        matches!(self.0[hooks as usize], State::Detaching(_) | State::Detached(_))
    }

    /// Asks for the programs of a source, unless they are there or on their way. Every source needs
    /// those of exec, which keep the watch map. What is on its way out has to be gone first: this is to be
    /// called again then.
    pub fn want(&mut self, hooks: Hooks, config: &Config, loader: &Loader) {
        let needed = || Hooks::ALL.into_iter().filter(|each| *each == hooks || *each == Hooks::Exec);
        if needed().any(|hooks| self.is_leaving(hooks)) {
            return;
        }
        for hooks in needed() {
            let state = &mut self.0[hooks as usize];
            if matches!(state, State::Unloaded) {
                *state = State::Loading;
                loader.load(hooks, plans::plan(hooks), sizes(hooks, config));
            }
        }
    }

    /// They could not be loaded.
    pub fn failed(&mut self, hooks: Hooks) {
        self.0[hooks as usize] = State::Unloaded;
    }

    /// They run: their rings are waited for from here on.
    pub fn arrived(
        &mut self,
        hooks: Hooks,
        module: Box<Module>,
        (registry, token): (&Registry, Token),
        stats: &mut BpfStats,
        metrics: &SourceMetrics,
    ) -> Result<&Loaded, Error> {
        for fd in module.rings.descriptors() {
            registry
                .register(&mut SourceFd(&fd), token, Interest::READABLE)
                .map_err(|error| unusable(hooks, "poll the rings", error.to_string()))?;
        }
        let counts = module.map("tawon_counts").ok_or_else(|| unusable(hooks, "read the maps", "no tawon_counts"))?;
        let counts = Counts::new(counts).map_err(|error| unusable(hooks, "read the counters", error.to_string()))?;
        for (program, reason) in &module.unattached {
            log::warn!("a hook could not be attached module={} program={program} reason={reason:?}", hooks.name());
            metrics.attach_failures.with_label_values(&[hooks.name(), program]).inc();
        }
        for what in module.missed() {
            log::info!("not everything is seen module={} missed={what:?}", hooks.name());
        }
        let programs = module.programs();
        for (name, _) in &programs {
            stats.loaded(hooks.name(), name);
            let attached = module.attached().any(|attached| attached == name);
            metrics.attached.with_label_values(&[hooks.name(), name]).set(attached.into());
        }
        self.0[hooks as usize] = State::Loaded(Box::new(Loaded { module, counts, programs }));
        self.loaded(hooks).ok_or_else(|| unusable(hooks, "keep the programs", "they are not there"))
    }

    /// Lets the links of a source go; `Done::Detached` follows.
    pub fn detach(&mut self, hooks: Hooks, loader: &Loader) {
        let state = &mut self.0[hooks as usize];
        match std::mem::take(state) {
            State::Loaded(mut loaded) => {
                let links = loaded.module.take_links();
                *state = State::Detaching(loaded);
                loader.detach(hooks, links);
            }
            other => *state = other,
        }
    }

    /// The links have gone.
    pub fn detached(&mut self, hooks: Hooks) {
        let state = &mut self.0[hooks as usize];
        match std::mem::take(state) {
            State::Detaching(loaded) => *state = State::Detached(loaded),
            other => *state = other,
        }
    }

    /// Takes out what is detached, with the series of its programs.
    pub fn take_detached(&mut self, hooks: Hooks, registry: &Registry, metrics: &SourceMetrics) -> Option<Box<Loaded>> {
        let state = &mut self.0[hooks as usize];
        match std::mem::take(state) {
            State::Detached(loaded) => {
                for fd in loaded.module.rings.descriptors() {
                    // The descriptor goes next: what deregistering would say does not matter.
                    let _ = registry.deregister(&mut SourceFd(&fd));
                }
                for (name, _) in &loaded.programs {
                    let _ = metrics.attached.remove_label_values(&[hooks.name(), name]);
                }
                Some(loaded)
            }
            other => {
                *state = other;
                None
            }
        }
    }

    /// What a source has in the kernel, also while it is on its way out.
    pub fn loaded(&self, hooks: Hooks) -> Option<&Loaded> {
        match &self.0[hooks as usize] {
            State::Loaded(loaded) | State::Detaching(loaded) | State::Detached(loaded) => Some(loaded),
            State::Unloaded | State::Loading => None,
        }
    }

    /// What a source has in the kernel while that may still count.
    pub fn counting(&mut self, hooks: Hooks) -> Option<&mut Loaded> {
        match &mut self.0[hooks as usize] {
            State::Loaded(loaded) | State::Detaching(loaded) => Some(loaded),
            _ => None,
        }
    }

    pub fn rings(&mut self) -> [Option<&mut Rings>; 2] {
        self.0.each_mut().map(|state| match state {
            State::Loaded(loaded) | State::Detaching(loaded) | State::Detached(loaded) => {
                Some(&mut loaded.module.rings)
            }
            State::Unloaded | State::Loading => None,
        })
    }

    pub fn has_rings(&self) -> bool {
        Hooks::ALL.into_iter().any(|hooks| self.loaded(hooks).is_some())
    }

    /// Samples what all programs cost. Says how many events each has been left out of, where any.
    pub fn sample(&self, stats: &mut BpfStats, now: Instant) -> Vec<(Hooks, String, u64)> {
        let programs: Vec<(Hooks, Program<'_>)> =
            Hooks::ALL.into_iter().filter_map(|hooks| Some((hooks, self.loaded(hooks)?))).flat_map(costs).collect();
        let left_out = programs
            .iter()
            .filter(|(_, program)| program.misses > 0)
            .map(|(hooks, program)| (*hooks, program.name.to_owned(), program.misses))
            .collect();
        let programs: Vec<_> = programs.into_iter().map(|(_, program)| program).collect();
        stats.sample(now, stats_enabled(), &programs);
        left_out
    }
}

/// Samples what the programs of a source have cost, before they go.
pub(super) fn last_sample(hooks: Hooks, loaded: &Loaded, stats: &mut BpfStats, now: Instant) {
    let programs: Vec<_> = costs((hooks, loaded)).map(|(_, program)| program).collect();
    stats.sample(now, stats_enabled(), &programs);
}

/// Programs that are there, but cannot be used.
pub(super) fn unusable(hooks: Hooks, step: &str, cause: impl Into<String>) -> Error {
    let step = format!("{step} of {}", hooks.name());
    Error { step, cause: cause.into(), programs: Vec::new(), forbidden: false }
}

fn costs((hooks, loaded): (Hooks, &Loaded)) -> impl Iterator<Item = (Hooks, Program<'_>)> {
    loaded.programs.iter().filter_map(move |(name, fd)| {
        let runs = stats::runs(*fd).ok()?;
        let program = Program {
            id: runs.id,
            module: hooks.name(),
            name,
            run_cnt: runs.count,
            run_time_ns: runs.nanoseconds,
            misses: runs.misses,
        };
        Some((hooks, program))
    })
}

/// Ring pages, wake-ups and map sizes of a source.
fn sizes(hooks: Hooks, config: &Config) -> Sizes {
    let cpus = crate::kernel::syscalls::cpus().map_or(1, |(_, online)| online.len().max(1));
    let share = (RING_BYTES / PAGE / cpus).max(4);
    let auto = 1 << share.ilog2();
    let pages = config.bpf.perf_buffer_pages.of(hooks.name()).unwrap_or(auto);
    Sizes {
        pages,
        // A quarter of the ring at most, in records of 256 bytes, so that a small one is read in time.
        wakeup: (pages as usize * PAGE / 1024).clamp(1, MOST_WAITING) as u32,
        ring_buffer: match config.bpf.transport {
            Transport::Auto => None,
            Transport::Perf => Some(false),
            Transport::Ring => Some(true),
        },
        entries: vec![
            ("tawon_watched", config.limits.processes as u32),
            ("tawon_sockets", config.limits.flows as u32),
            ("tawon_unwanted", config.limits.flows as u32),
            ("tawon_peers", config.limits.flows as u32),
        ],
    }
}

/// Whether the kernel keeps run statistics now.
fn stats_enabled() -> bool {
    std::fs::read("/proc/sys/kernel/bpf_stats_enabled").is_ok_and(|text| text.starts_with(b"1"))
        || STATS_HELD.load(Ordering::Relaxed)
}

/// Whether we hold a BPF_ENABLE_STATS descriptor; the sysctl does not show that.
pub static STATS_HELD: AtomicBool = AtomicBool::new(false);

/// Records that wait in a ring before it says so.
const MOST_WAITING: usize = 128;
const RING_BYTES: usize = 8 << 20;
const PAGE: usize = 4096;
