//! The loop: one thread, one poll. A turn waits for readiness or time, lets each part do what it can
//! without waiting, and works on what the rings hold. Nothing here blocks: what does is the loader's
//! or a destination's thread's.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};

use super::clock::Clock;
use super::directive::{Action, Now};
use super::loader::Hooks;
use super::memory::share;
use super::modules::STATS_HELD;
use super::reconfigure::Reading;
use super::signals::Signals;
use super::site::Site;
use super::slot::{CaptureRun, Drain, Place, SharedContext, Slot, Taps};
use super::sources::{News, Sources, Times};
use super::watch_file::Watched;
use super::{Error, Setup};
use crate::config::Config;
use crate::http::listener::{Scope, Server};
use crate::http::routes::Routes;
use crate::metrics::Metrics;
use crate::metrics::bpf_stats::BpfStats;
use crate::metrics::runs::Runs;
use crate::pipeline::{End, Pipeline};
use crate::task;
use crate::task::source::capture::Batch;
use crate::task::source::capture::live::Drained;
use crate::time::{Instant, Timestamp};

/// The daemon, and what `tawon run` runs.
pub struct Agent {
    pub(super) poll: Poll,
    pub(super) clock: Clock,
    pub(super) setup: Setup,
    /// What is in effect.
    pub(super) config: Config,
    pub(super) slots: Vec<Slot>,
    pub(super) sources: Sources,
    /// By `Hooks`.
    pub(super) taps: [Taps; 2],
    /// Whether it was being decided who wants which process, when directives last were looked at.
    pub(super) was_deciding: bool,
    /// Taken out while it answers, since its answers are made of everything else.
    pub(super) server: Option<Server>,
    pub(super) shared: SharedContext,
    pub(super) runs: Runs,
    pub(super) stats: BpfStats,
    signals: Signals,
    pub(super) gauges: super::Gauges,
    pub(super) started_at: Timestamp,
    pub(super) disk: super::Disk,
    watched: Option<Watched>,
    pub(super) reading: Reading,
    pub(super) waker: Arc<Waker>,
    stats_descriptor: Option<std::os::fd::OwnedFd>,
    /// How many times the end was asked for.
    pub(super) ending: u32,
    next_second: Instant,
    next_sample: Instant,
    /// When something other than the rings is to be looked at, as of the last whole turn.
    due: Instant,
}

impl Agent {
    pub fn new(setup: Setup) -> Result<Agent, Error> {
        let poll = Poll::new().map_err(|error| Error::kernel("make the event loop", &error))?;
        let waker =
            Arc::new(Waker::new(poll.registry(), WAKER).map_err(|error| Error::kernel("make a waker", &error))?);
        // Standard output, to hear when nobody reads it any more. A file cannot be polled, and has no need of it.
        let _ = poll.registry().register(&mut SourceFd(&libc::STDOUT_FILENO), OUTPUT, Interest::PRIORITY);
        let mut clock = Clock::default();
        let now = clock.read();
        let config = Config { directives: Vec::new(), ..setup.loaded.config.clone() };
        let metrics =
            Arc::new(Metrics::new(&config.metrics.prefix).map_err(|error| Error::kernel("register metrics", &error))?);
        metrics.show_quantiles(&config.metrics.quantiles);
        let runs = Runs::new(&metrics, &config.tawon_id);
        let mut server = Server::new(SERVER, &metrics);
        server
            .listen(poll.registry(), &wanted(&config))
            .map_err(|error| Error { message: error.to_string(), forbidden: true })?;
        let signals = Signals::new(poll.registry(), SIGNALS, setup.single)
            .map_err(|error| Error::kernel("take signals", &error))?;
        let sources =
            Sources::new(&config, &metrics, waker.clone()).map_err(|error| Error::kernel("start a thread", &error))?;
        let watched = setup.watch.then(|| {
            let waker = waker.clone();
            // A loop that cannot be woken finds it at its next turn.
            Watched::start(setup.path.as_deref(), move || drop(waker.wake()))
        });
        let watched = watched.transpose().map_err(|error| Error::kernel("start a thread", &error))?;
        let mut agent = Agent {
            stats: BpfStats::new(&metrics),
            gauges: super::Gauges::new(&metrics),
            shared: SharedContext {
                tawon_id: config.tawon_id.as_str().into(),
                hostname: crate::config::files::hostname().into(),
                redact: config.redact.clone().into(),
                memory: share(&setup.loaded.config),
                metrics,
            },
            poll,
            clock,
            config,
            slots: Vec::new(),
            sources,
            taps: Default::default(),
            was_deciding: false,
            server: Some(server),
            runs,
            signals,
            started_at: now.wall,
            disk: super::Disk::default(),
            watched,
            stats_descriptor: None,
            ending: 0,
            next_second: now.mono,
            next_sample: now.mono,
            due: now.mono,
            reading: Reading::default(),
            waker,
            setup,
        };
        agent.hold_statistics();
        let loaded = agent.setup.loaded.clone();
        agent.take(loaded, now);
        Ok(agent)
    }

    /// Runs until the end is asked for, or, with a single directive, until that has ended.
    pub fn run(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(256);
        let mut left = Duration::ZERO;
        loop {
            match self.poll.poll(&mut events, Some(left)) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            let now = self.clock.read();
            left = self.turn(&events, now);
            let end = self.clock.read();
            self.gauges.busy.inc_by(end.mono.since(now.mono).as_secs_f64());
            if self.is_over() {
                return Ok(());
            }
        }
    }

    /// Whether nothing is left to do.
    fn is_over(&self) -> bool {
        let idle = self.slots.iter().all(|slot| matches!(slot.place, Place::None));
        let done = |slot: &Slot| matches!(slot.life.state(), super::directive::State::Ended(_));
        self.ending > 1 || idle && (self.ending > 0 || self.setup.single && self.slots.iter().all(done))
    }

    /// One turn. Says how long may be waited before the next.
    fn turn(&mut self, events: &Events, now: Now) -> Duration {
        // Most turns on a quiet machine: nothing has happened, and the rings turn out to be empty.
        if events.is_empty() && now.mono < self.due && self.sources.has_rings() {
            let more = self.sources.drain(self.times(now));
            if !more && !self.sources.is_busy(now.mono) {
                return self.due.min(now.mono + RINGS_QUIET).since(now.mono);
            }
        }
        for event in events {
            match event.token() {
                SIGNALS => self.signalled(now),
                WAKER | RINGS => {}
                OUTPUT if event.is_error() => task::destination::log::close(),
                OUTPUT => {}
                token if token.0 < CAPTURES => {
                    if let Some(server) = &mut self.server {
                        server.event(event);
                    }
                }
                Token(token) => {
                    let fd = token.wrapping_sub(CAPTURES) as i32;
                    for slot in &mut self.slots {
                        if let Place::Capture(run) = &mut slot.place
                            && run.fds.contains(&fd)
                            && !run.ready.contains(&fd)
                        {
                            run.ready.push(fd);
                        }
                    }
                }
            }
        }
        let times = self.times(now);
        let news = self.sources.results(self.poll.registry(), RINGS, &mut self.stats, times);
        news.into_iter().for_each(|news| self.heard(news, now));
        let mut more = self.sources.has_rings() && self.sources.drain(times);
        let news = self.sources.work(times);
        news.into_iter().for_each(|news| self.heard(news, now));
        more |= self.sources.has_work();
        self.configuration_read(now);
        if self.sources.deadline().is_some_and(|deadline| deadline <= now.mono) {
            self.sources.tick(times);
        }
        more |= self.captures(now);
        let each_second = self.next_second <= now.mono;
        if each_second {
            self.next_second = now.mono + Duration::from_secs(1);
            self.sources.refresh();
            if let Some(watched) = &mut self.watched {
                watched.look();
            }
        }
        if self.watched.as_mut().is_some_and(Watched::changed) {
            self.reload();
        }
        if self.next_sample <= now.mono {
            self.next_sample = now.mono + self.config.bpf.stats_interval;
            self.sources.sample(&mut self.stats, now.mono);
        }
        self.live(now, each_second);
        self.serve(now);
        // A turn may have put off work: asked again, since what came of it was heard later.
        if more || self.sources.has_work() {
            self.due = now.mono;
            return Duration::ZERO;
        }
        self.wait(now)
    }

    /// How long nothing has to be done.
    fn wait(&mut self, now: Now) -> Duration {
        let slots = self.slots.iter().flat_map(|slot| {
            if let Place::Capture(run) = &slot.place
                && run.capture.is_file()
            {
                // It has more at once, or when its readers have kept up; its pipeline's time is the frames'.
                let wait = if run.pipeline.congested() { READERS } else { Duration::ZERO };
                return [slot.life.deadline(now), Some(now.mono + wait), None];
            }
            let pipeline = self.pipeline(slot).and_then(Pipeline::deadline);
            // Destinations that flush, and rings that are to be drained, are looked at often.
            let soon = matches!(slot.place, Place::Flushing(..) | Place::Draining { .. })
                .then(|| now.mono + Duration::from_millis(5));
            [slot.life.deadline(now), pipeline, soon]
        });
        let rings = self
            .sources
            .has_rings()
            .then(|| now.mono + if self.sources.is_busy(now.mono) { RINGS_BUSY } else { RINGS_QUIET });
        let due = slots
            .flatten()
            .chain(self.sources.deadline())
            .chain(self.server.as_ref().and_then(Server::deadline))
            .chain([self.next_second])
            .fold(self.next_sample, Instant::min);
        self.due = due;
        rings.map_or(due, |rings| due.min(rings)).since(now.mono)
    }

    fn signalled(&mut self, now: Now) {
        let asked = self.signals.take();
        if asked.end > 0 {
            if self.ending == 0 {
                log::info!("ending");
                self.slots.iter_mut().for_each(|slot| slot.leaving = true);
                self.each_slot(|agent, slot| agent.stop(slot, End::Stopped, now));
            }
            self.ending += asked.end;
        }
        if asked.reload && self.ending == 0 {
            self.reload();
        }
    }

    fn heard(&mut self, news: News, now: Now) {
        match news {
            // Who waits for them gets a tap at the turn's end.
            News::Loaded(_) => self.sources.watchers_changed(),
            News::Failed(hooks, error) => self.each_slot(|agent, slot| {
                if let Place::Waiting(wanted, _) = &slot.place
                    && (*wanted == hooks || hooks == Hooks::Exec)
                {
                    agent.load_failed(slot, &error, now);
                }
            }),
            News::Detached(hooks) => self.each_slot(|_, slot| {
                if let Place::Draining { hooks: of, step, .. } = &mut slot.place
                    && (*of, *step) == (hooks, Drain::Detach)
                {
                    *step = Drain::Rings(now.mono);
                }
            }),
            News::Walked => self.each_slot(|agent, slot| {
                if let Place::Draining { step: Drain::Statistics, .. } = slot.place {
                    agent.tell_rest(slot);
                }
            }),
            News::Left(gone) => self.each_slot(|agent, slot| {
                if let Place::Draining { hooks: hooks @ Hooks::Flows, bit, why, step: Drain::Telling } = slot.place
                    && bit == gone
                {
                    agent.left(slot, hooks, bit, why, now);
                }
            }),
        }
    }

    /// Calls `each` with every slot, which is out of the list meanwhile.
    pub(super) fn each_slot(&mut self, mut each: impl FnMut(&mut Agent, &mut Slot)) {
        let mut slots = std::mem::take(&mut self.slots);
        for slot in &mut slots {
            each(self, slot);
        }
        slots.append(&mut self.slots);
        self.slots = slots;
    }

    /// Lets directives live: start, end, fail, be tried again, go.
    fn live(&mut self, now: Now, each_second: bool) {
        // Asked before any of them leaves, which has everything decided anew: those that leave at the same time go together.
        self.was_deciding = self.sources.is_deciding();
        self.each_slot(|agent, slot| {
            let before = slot.life.state();
            match slot.life.poll(now) {
                Some(Action::Start) => agent.start(slot, now),
                Some(Action::End) => agent.leave(slot, End::Completed, now),
                // Its time may be over before it began.
                None if slot.life.state() != before => agent.state(slot),
                None => {}
            }
            agent.pipeline_tick(slot, now, each_second);
            agent.drain(slot, now);
        });
        // Behind whatever has left in this turn.
        self.each_slot(|agent, slot| agent.attach(slot, now));
        let gone = |slot: &Slot| {
            slot.leaving
                && matches!(slot.place, Place::None)
                && matches!(slot.life.state(), super::directive::State::Ended(_))
        };
        if self.ending == 0 && self.slots.iter().any(gone) {
            for slot in self.slots.iter().filter(|slot| gone(slot)) {
                let name = &slot.directive.name;
                let taken = self.slots.iter().any(|other| !other.leaving && other.directive.name == *name);
                if !taken && !self.disk.shown.contains(name) {
                    self.runs.state(name, None);
                }
            }
            for slot in self.slots.extract_if(.., |slot| gone(slot)) {
                self.sources.free(slot.directive);
            }
        }
        self.unload(now);
    }

    /// Programs that nobody wants any more leave: a source's own behind its last directive, those of
    /// exec behind all. Whoever waits for what is on its way out gets it anew.
    fn unload(&mut self, now: Now) {
        let waits = |hooks| self.slots.iter().any(|slot| matches!(slot.place, Place::Waiting(of, _) if of == hooks));
        let taps = |hooks| {
            self.slots.iter().any(|slot| match slot.place {
                Place::Tap(of, _) | Place::Draining { hooks: of, .. } => of == hooks,
                _ => false,
            })
        };
        let waiting = Hooks::ALL.map(waits);
        let tapped = Hooks::ALL.map(taps);
        let flows = Hooks::Flows as usize;
        if !tapped[flows] && (!waiting[flows] || self.sources.is_leaving(Hooks::Flows)) {
            self.sources.detach(Hooks::Flows);
            self.sources.unload(Hooks::Flows, self.poll.registry(), &mut self.stats, now.mono);
        }
        let waited_for = waiting.contains(&true) && !self.sources.is_leaving(Hooks::Exec);
        if !tapped.contains(&true) && !waited_for && self.sources.is_gone(Hooks::Flows) {
            self.sources.detach(Hooks::Exec);
            self.sources.unload(Hooks::Exec, self.poll.registry(), &mut self.stats, now.mono);
        }
        for hooks in Hooks::ALL.into_iter().filter(|hooks| waiting[*hooks as usize]) {
            self.sources.want(hooks, &self.config);
        }
    }

    /// Reads what captures have; says whether one has more.
    fn captures(&mut self, now: Now) -> bool {
        let mut more = false;
        self.each_slot(|agent, slot| {
            let Place::Capture(run) = &mut slot.place else { return };
            if run.capture.is_file() {
                // A file is not live: it waits for its readers.
                if run.pipeline.congested() {
                    return;
                }
                // Few at a time: what is made of them must find room before the next look at the queue.
                for _ in 0..FRAMES / FILE_FRAMES {
                    match run.capture.batch(FILE_FRAMES, &mut run.pipeline) {
                        Ok(Batch::More) if run.pipeline.congested() => return,
                        Ok(Batch::More) => {}
                        Ok(Batch::End) => return agent.stop(slot, End::Completed, now),
                        Err(error) => return agent.fail(slot, format!("capture: {error}"), now),
                    }
                }
                more = true;
                return;
            }
            let CaptureRun { capture, pipeline, ready, .. } = run.as_mut();
            ready.retain(|&fd| capture.readable(fd, FRAMES, now.mono, now.wall, pipeline) == Drained::More);
            more |= !ready.is_empty();
        });
        more
    }

    fn pipeline_tick(&mut self, slot: &mut Slot, now: Now, each_second: bool) {
        if each_second
            && let Place::Capture(run) = &mut slot.place
            && run.capture.tick(now.mono)
        {
            let mut run = std::mem::replace(&mut slot.place, Place::None);
            if let Place::Capture(run) = &mut run {
                self.deregister(run);
                self.register(run);
            }
            slot.place = run;
        }
        let is_file = matches!(&slot.place, Place::Capture(run) if run.capture.is_file());
        let failure = match &slot.place {
            Place::Capture(run) => run.capture.failure().map(|failure| format!("capture: {failure}")),
            _ => None,
        };
        // A file's pipeline is ticked by its frames' time, one that is closed by nothing.
        let closed = matches!(slot.place, Place::Flushing(..));
        let Some(pipeline) = self.pipeline_mut(slot) else { return };
        if !is_file && !closed && (each_second || pipeline.deadline().is_some_and(|deadline| deadline <= now.mono)) {
            pipeline.tick(now.mono);
        }
        let (failure, finished) = (failure.or_else(|| pipeline.failure()), pipeline.finished());
        if matches!(slot.place, Place::Flushing(..)) {
            return;
        }
        if let Some(error) = failure {
            self.fail(slot, error, now);
        } else if finished {
            self.stop(slot, End::Completed, now);
        }
    }

    fn serve(&mut self, now: Now) {
        if self.server.as_ref().is_none_or(|server| server.deadline().is_none_or(|deadline| deadline > now.mono)) {
            return;
        }
        let Some(mut server) = self.server.take() else { return };
        let (path, allow) = (self.config.metrics.path.clone(), self.config.status.allow.clone());
        let mut site = Site { agent: self, now };
        let mut routes = Routes { metrics_path: &path, allow: &allow, site: &mut site };
        server.tick(now.mono, now.wall, &mut routes);
        self.server = Some(server);
    }

    pub(super) fn times(&self, now: Now) -> Times {
        Times { now: now.mono, offsets: self.clock.offsets() }
    }

    /// Holds a BPF_ENABLE_STATS descriptor, or lets it go, as the configuration says.
    pub(super) fn hold_statistics(&mut self) {
        if self.config.bpf.enable_stats == self.stats_descriptor.is_some() {
            return;
        }
        self.stats_descriptor = match self.config.bpf.enable_stats {
            true => crate::kernel::stats::enable()
                .inspect_err(|error| log::warn!("BPF statistics cannot be turned on error={error}"))
                .ok(),
            false => None,
        };
        STATS_HELD.store(self.stats_descriptor.is_some(), std::sync::atomic::Ordering::Relaxed);
    }
}

/// The addresses that a configuration wants listened on.
pub(super) fn wanted(config: &Config) -> Vec<(crate::config::Listen, Scope)> {
    let metrics = config.metrics.listen.iter().map(|listen| (*listen, Scope::All));
    metrics.chain(config.probes.listen.iter().map(|listen| (*listen, Scope::Probes))).collect()
}

const WAKER: Token = Token(0);
const SIGNALS: Token = Token(1);
const RINGS: Token = Token(2);
const OUTPUT: Token = Token(3);
const SERVER: usize = 16;
/// Captures' tokens are their descriptors behind this.
pub(super) const CAPTURES: usize = 1 << 20;
/// Records below the wake-up count wait for this at most.
const RINGS_BUSY: Duration = Duration::from_millis(10);
const RINGS_QUIET: Duration = Duration::from_millis(100);
/// After which a file's readers are looked at again.
const READERS: Duration = Duration::from_millis(1);
/// Frames that one capture reads in one turn.
const FRAMES: usize = 4096;
/// Frames of a file between two looks at whether its readers keep up.
const FILE_FRAMES: usize = 64;
