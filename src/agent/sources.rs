//! The kernel sources: their programs on the way in and out, their rings, their engines. One set of
//! programs per source, loaded when the first directive wants it and unloaded behind the last.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use libbpf_rs::{MapCore, MapHandle};
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token, Waker};

use super::loader::{Done, Hooks, Loader, Purpose};
use super::plans;
use super::source_metrics::SourceMetrics;
use crate::config::{Config, Transport};
use crate::kernel::abi;
use crate::kernel::load::{Error, Module, Sizes};
use crate::kernel::map;
use crate::kernel::merge::{Merge, Reader};
use crate::kernel::ring::Rings;
use crate::kernel::stats::{self, Counts};
use crate::kernel::watch::WatchMap;
use crate::metrics::Metrics;
use crate::metrics::bpf_stats::{BpfStats, Program};
use crate::process::{Processes, redact::Redaction};
use crate::task::source::{NoSockets, Sockets, World, exec, flows};
use crate::time::{Instant, Offsets};

/// All kernel sources.
pub struct Sources {
    pub exec: exec::Engine,
    pub flows: flows::Engine,
    pub processes: Processes,
    modules: [State; 2],
    loader: Loader,
    watch: Option<WatchMap>,
    sockets: KernelSockets,
    merge: Merge,
    metrics: SourceMetrics,
    /// Until when the kernel's masks may be older than ours.
    settling: Instant,
    /// When something last came out of a ring.
    busy: Instant,
    /// The latest time up to which all records have been worked on.
    drained: Instant,
    walks: u32,
    lost_seen: [u64; 2],
    /// After records were lost: when it was found out, the pids that there are and the flows that are open,
    /// and when the look at them began.
    pids: Option<(Instant, HashSet<u32>, u64)>,
    open_flows: Option<(Instant, Vec<u8>, u64)>,
    /// Flows are to be looked at as soon as no other walk is under way.
    flows_lost: bool,
}

enum State {
    Unloaded,
    Loading,
    Loaded(Box<Loaded>),
    /// Its links are being dropped; the rings are still read.
    Detaching(Box<Loaded>),
    /// Nothing comes any more; kept until its last records are worked on.
    Detached(Box<Loaded>),
}

impl State {
    fn rings(&mut self) -> Option<&mut Rings> {
        match self {
            State::Loaded(loaded) | State::Detaching(loaded) | State::Detached(loaded) => {
                Some(&mut loaded.module.rings)
            }
            State::Unloaded | State::Loading => None,
        }
    }
}

struct Loaded {
    module: Box<Module>,
    counts: Counts,
    programs: Vec<(String, std::os::fd::RawFd)>,
}

/// What happened to the programs of a source.
pub enum News {
    Loaded(Hooks),
    Failed(Hooks, Error),
    Detached(Hooks),
    /// Statistics of flows have been brought up to date.
    Walked,
    /// The directive of flows with this bit has been told of all that is open.
    Left(u32),
}

impl Sources {
    pub fn new(config: &Config, metrics: &Metrics, waker: Arc<Waker>) -> io::Result<Sources> {
        let mut processes = Processes::new(config.limits.processes);
        processes.redaction = Redaction::new(config.redact_args.as_ref());
        Ok(Sources {
            exec: exec::Engine::new(metrics),
            flows: flows::Engine::new(metrics, config.limits.flows),
            processes,
            modules: [State::Unloaded, State::Unloaded],
            loader: Loader::start(waker)?,
            watch: None,
            sockets: KernelSockets::default(),
            merge: Merge::default(),
            metrics: SourceMetrics::new(metrics),
            settling: Instant(0),
            busy: Instant(0),
            drained: Instant(0),
            walks: 0,
            lost_seen: [0; 2],
            pids: None,
            open_flows: None,
            flows_lost: false,
        })
    }

    /// Drops what takes a while to drop, elsewhere.
    pub fn free(&self, what: impl Send + 'static) {
        self.loader.free(what);
    }

    /// Whether the programs run.
    pub fn is_loaded(&self, hooks: Hooks) -> bool {
        matches!(self.modules[hooks as usize], State::Loaded(_)) && self.watch.is_some()
    }

    /// Whether nothing of a source's programs is left.
    pub fn is_gone(&self, hooks: Hooks) -> bool {
        matches!(self.modules[hooks as usize], State::Unloaded)
    }

    /// Whether a source's programs run or are on their way in.
    pub fn is_used(&self, hooks: Hooks) -> bool {
        matches!(self.modules[hooks as usize], State::Loading | State::Loaded(_))
    }

    /// Asks for the programs of a source, unless they are there or on their way. Every source needs
    /// those of exec, which keep the watch map.
    pub fn want(&mut self, hooks: Hooks, config: &Config) {
        for hooks in Hooks::ALL.into_iter().filter(|each| *each == hooks || *each == Hooks::Exec) {
            let state = &mut self.modules[hooks as usize];
            if matches!(state, State::Unloaded) {
                *state = State::Loading;
                self.loader.load(hooks, plans::plan(hooks), sizes(hooks, config));
            }
        }
    }

    /// Lets the links of a source go; `News::Detached` follows.
    pub fn detach(&mut self, hooks: Hooks) {
        let state = &mut self.modules[hooks as usize];
        match std::mem::replace(state, State::Unloaded) {
            State::Loaded(mut loaded) => {
                let links = loaded.module.take_links();
                *state = State::Detaching(loaded);
                self.loader.detach(hooks, links);
            }
            other => *state = other,
        }
    }

    /// Frees the programs and rings of a source that is detached and drained.
    pub fn unload(&mut self, hooks: Hooks, registry: &Registry, stats: &mut BpfStats, now: Instant) {
        let state = &mut self.modules[hooks as usize];
        match std::mem::replace(state, State::Unloaded) {
            State::Detached(mut loaded) => {
                for fd in loaded.module.rings.descriptors() {
                    // The descriptor goes next: what deregistering would say does not matter.
                    let _ = registry.deregister(&mut SourceFd(&fd));
                }
                self.metrics.refresh(hooks, &mut loaded.counts);
                self.metrics.restart(hooks);
                self.lost_seen[hooks as usize] = 0;
                for (name, _) in &loaded.programs {
                    let _ = self.metrics.attached.remove_label_values(&[hooks.name(), name]);
                }
                stats.sample(now, stats_enabled(), &infos(&[(hooks, &loaded)]));
                self.loader.free(loaded.module);
                match hooks {
                    Hooks::Exec => {
                        self.watch = None;
                        self.processes = std::mem::replace(&mut self.processes, Processes::new(1)).emptied();
                    }
                    Hooks::Flows => {
                        self.sockets = KernelSockets::default();
                        self.flows.clear();
                    }
                }
            }
            other => *state = other,
        }
    }

    /// What the thread has done since the last look.
    pub fn results(&mut self, registry: &Registry, token: Token, stats: &mut BpfStats, world: Times) -> Vec<News> {
        let done: Vec<Done> = self.loader.results().collect();
        let mut news = Vec::new();
        for done in done {
            match done {
                Done::Loaded(hooks, Ok((module, scanned))) => {
                    match self.arrived(hooks, module, registry, token, stats) {
                        Ok(()) => news.push(News::Loaded(hooks)),
                        Err(error) => news.push(News::Failed(hooks, error)),
                    }
                    for scanned in scanned {
                        if let Some(process) = self.processes.insert_scanned(scanned, world.offsets) {
                            let (engine, mut world) = split(&mut self.exec, &mut self.processes, &self.sockets, world);
                            engine.existing(&process, &mut world);
                        }
                    }
                }
                Done::Loaded(hooks, Err(error)) => {
                    self.modules[hooks as usize] = State::Unloaded;
                    for program in &error.programs {
                        self.metrics.attach_failures.with_label_values(&[hooks.name(), program]).inc();
                    }
                    news.push(News::Failed(hooks, error));
                }
                Done::Detached(hooks, failed) => {
                    for program in failed {
                        self.metrics.detach_failures.with_label_values(&[hooks.name(), &program]).inc();
                    }
                    let state = &mut self.modules[hooks as usize];
                    match std::mem::replace(state, State::Unloaded) {
                        State::Detaching(loaded) => *state = State::Detached(loaded),
                        other => *state = other,
                    }
                    news.push(News::Detached(hooks));
                }
                Done::Walked(Purpose::Lost, told, before) => {
                    self.walks -= 1;
                    self.open_flows = Some((world.now, told, before));
                }
                Done::Walked(Purpose::Existing, told, _) => self.flows.existing(told),
                Done::Walked(Purpose::Ongoing, told, _) => self.flows.ongoing(told),
                Done::Pids(alive, before) => self.pids = Some((world.now, alive, before)),
            }
        }
        self.reconcile(world);
        news
    }

    /// Records were lost: what they would have told is found out, once all that was in the rings when the
    /// look ended has been worked on.
    fn reconcile(&mut self, times: Times) {
        if let Some((_, alive, before)) = self.pids.take_if(|(at, ..)| *at <= self.drained) {
            let (engine, mut world) = split(&mut self.exec, &mut self.processes, &self.sockets, times);
            for pid in engine.reconcile(&alive, before, &mut world) {
                if let Some(watch) = &self.watch {
                    watch.forget(pid);
                }
            }
        }
        if let Some((_, told, before)) = self.open_flows.take_if(|(at, ..)| *at <= self.drained) {
            self.flows.reconcile(told, before);
        }
    }

    /// Goes on with what takes flows more than a turn.
    pub fn work(&mut self, times: Times) -> Vec<News> {
        if !self.flows.has_work() {
            return Vec::new();
        }
        let (engine, mut world) = split(&mut self.flows, &mut self.processes, &self.sockets, times);
        let finished = engine.work(&mut world);
        let mut news = Vec::new();
        for finished in finished {
            match finished {
                flows::Finished::Existing => self.walks -= 1,
                flows::Finished::Ongoing => {
                    self.walks -= 1;
                    news.push(News::Walked);
                }
                flows::Finished::Reconciled | flows::Finished::Joined(_) => {}
                flows::Finished::Left(bit) => news.push(News::Left(bit)),
            }
        }
        news
    }

    /// Whether `work` has something left to do.
    pub fn has_work(&self) -> bool {
        self.flows.has_work()
    }

    /// Works on what the rings hold that is older than now, in order of time over all rings and
    /// sources. Says whether more is left: then this is to be called again soon.
    pub fn drain(&mut self, times: Times) -> bool {
        let Sources { modules, merge, exec, flows, processes, sockets, .. } = self;
        let mut world =
            World { processes, sockets, offsets: times.offsets, now: times.now, settling: times.now < self.settling };
        let mut rings = modules.each_mut().map(State::rings);
        let mut engines = Engines { exec, flows, world: &mut world };
        let drained = merge.drain(&mut rings, times.now.0, &mut engines);
        if drained.records > 0 {
            self.busy = times.now;
            self.flows.gauges();
            self.tell_decisions();
        }
        if !drained.more {
            self.drained = times.now;
        }
        drained.more
    }

    /// The time up to which every record has been worked on.
    pub fn drained(&self) -> Instant {
        self.drained
    }

    /// Whether anything came lately, so that rings are to be looked at often.
    pub fn is_busy(&self, now: Instant) -> bool {
        now.since(self.busy) < Duration::from_millis(100)
    }

    pub fn has_rings(&self) -> bool {
        self.modules.iter().any(|state| !matches!(state, State::Unloaded | State::Loading))
    }

    pub fn tick(&mut self, times: Times) {
        let (engine, mut world) = split(&mut self.exec, &mut self.processes, &self.sockets, times);
        engine.tick(&mut world);
        let (engine, mut world) = split(&mut self.flows, &mut self.processes, &self.sockets, times);
        engine.tick(&mut world);
        if self.flows.ongoing_due().is_some_and(|due| due <= times.now) && self.walks == 0 {
            self.update_statistics();
        }
        self.tell_decisions();
    }

    pub fn deadline(&self) -> Option<Instant> {
        let ongoing = self.flows.ongoing_due().filter(|_| self.walks == 0);
        self.exec.deadline().into_iter().chain(self.flows.deadline()).chain(ongoing).min()
    }

    /// Asks for statistics of open flows; `News::Walked` follows. False where there is nobody to ask.
    pub fn update_statistics(&mut self) -> bool {
        self.walk_open(Purpose::Ongoing)
    }

    fn walk_open(&mut self, purpose: Purpose) -> bool {
        let walk =
            self.loaded(Hooks::Flows).and_then(|flows| flows.module.walk("tawon_ongoing", Some("tawon_sockets")));
        let Some(walk) = walk else { return false };
        self.walks += 1;
        self.loader.walk(purpose, walk);
        true
    }

    /// A directive has come or gone: who is watched is decided anew, and the kernel told.
    pub fn watchers_changed(&mut self, now: Instant) {
        self.settling = now + SETTLING;
        let watchers = &self.processes.watchers;
        if let Some(watch) = &self.watch
            && let Err(error) = watch.set_default(watchers.unconditional(), watchers.any_conditions())
        {
            log::error!("the watch map cannot be written error={error}");
        }
        self.processes.decide_all();
        self.tell_decisions();
        let (tcp, udp) = self.flows.protocols();
        let threads = self.exec.taps.iter().any(|(_, tap)| tap.options.threads);
        let live = abi::Live { threads: threads.into(), tcp: tcp.into(), udp: udp.into() };
        for hooks in Hooks::ALL {
            if let Some(loaded) = self.loaded(hooks)
                && let Err(error) = loaded.module.set_live(&live)
            {
                log::error!("settings cannot be told to the programs module={} error={error}", hooks.name());
            }
        }
    }

    /// A directive of flows has come: sockets that are there already are found.
    pub fn find_existing(&mut self) {
        let walk = self.loaded(Hooks::Flows).and_then(|flows| flows.module.walk("tawon_existing", None));
        if let Some(walk) = walk {
            self.walks += 1;
            self.flows.expect_existing();
            self.loader.walk(Purpose::Existing, walk);
        }
    }

    /// Calls `with` with an engine's world.
    pub fn with_exec(&mut self, times: Times, with: impl FnOnce(&mut exec::Engine, &mut World<'_>)) {
        let (engine, mut world) = split(&mut self.exec, &mut self.processes, &self.sockets, times);
        with(engine, &mut world);
    }

    pub fn with_flows(&mut self, times: Times, with: impl FnOnce(&mut flows::Engine, &mut World<'_>)) {
        let (engine, mut world) = split(&mut self.flows, &mut self.processes, &self.sockets, times);
        with(engine, &mut world);
    }

    /// Brings the counters that follow the kernel's up to date: at a scrape and once a second. Where
    /// records were lost, what they would have told is looked for.
    pub fn refresh(&mut self) {
        for hooks in Hooks::ALL {
            let (State::Loaded(loaded) | State::Detaching(loaded)) = &mut self.modules[hooks as usize] else {
                continue;
            };
            let lost = self.metrics.refresh(hooks, &mut loaded.counts);
            if lost > std::mem::replace(&mut self.lost_seen[hooks as usize], lost) {
                match hooks {
                    Hooks::Exec => self.loader.pids(),
                    Hooks::Flows => self.flows_lost = true,
                }
            }
        }
        if self.flows_lost && self.walks == 0 {
            self.flows_lost = false;
            self.walk_open(Purpose::Lost);
        }
        let processes = &self.processes.table;
        let (flows, flow_bytes, flow_evictions) = self.flows.occupancy();
        self.metrics.tables(processes.len(), processes.evictions(), flows, flow_bytes, flow_evictions);
    }

    /// Samples what the programs cost.
    pub fn sample(&mut self, stats: &mut BpfStats, now: Instant) {
        let loaded: Vec<(Hooks, &Loaded)> =
            Hooks::ALL.into_iter().filter_map(|hooks| Some((hooks, self.loaded(hooks)?))).collect();
        let programs = infos(&loaded);
        stats.sample(now, stats_enabled(), &programs);
        let left_out: Vec<_> = programs
            .iter()
            .filter(|program| program.misses > 0)
            .map(|program| (program.module, program.name.to_owned(), program.misses))
            .collect();
        for hooks in Hooks::ALL {
            let State::Loaded(loaded) = &mut self.modules[hooks as usize] else { continue };
            // Read after the misses: what a copy was run for in between is not taken for one.
            loaded.counts.read();
            for (_, program, misses) in left_out.iter().filter(|(module, ..)| *module == hooks.name()) {
                let missed = plans::missed(hooks, program, *misses, |pair| loaded.counts.again(pair));
                self.metrics.missed(hooks.name(), program, missed);
            }
        }
    }

    /// What is missed by the programs that run, one sentence each.
    pub fn degraded(&self) -> Vec<String> {
        Hooks::ALL
            .into_iter()
            .filter_map(|hooks| self.loaded(hooks))
            .flat_map(|loaded| loaded.module.missed())
            .collect()
    }

    fn loaded(&self, hooks: Hooks) -> Option<&Loaded> {
        match &self.modules[hooks as usize] {
            State::Loaded(loaded) | State::Detaching(loaded) | State::Detached(loaded) => Some(loaded),
            _ => None,
        }
    }

    fn arrived(
        &mut self,
        hooks: Hooks,
        module: Box<Module>,
        registry: &Registry,
        token: Token,
        stats: &mut BpfStats,
    ) -> Result<(), Error> {
        let fail = |step: &str, cause: String| Error {
            step: format!("{step} of {}", hooks.name()),
            cause,
            programs: Vec::new(),
            forbidden: false,
        };
        let broken = |what: &str| fail("read the maps", format!("no {what}"));
        for fd in module.rings.descriptors() {
            registry
                .register(&mut SourceFd(&fd), token, Interest::READABLE)
                .map_err(|error| fail("poll the rings", error.to_string()))?;
        }
        let counts = Counts::new(module.map("tawon_counts").ok_or_else(|| broken("tawon_counts"))?)
            .map_err(|error| fail("read the counters", error.to_string()))?;
        for (program, reason) in &module.unattached {
            log::warn!("a hook could not be attached module={} program={program} reason={reason:?}", hooks.name());
            self.metrics.attach_failures.with_label_values(&[hooks.name(), program]).inc();
        }
        for what in module.missed() {
            log::info!("not everything is seen module={} missed={what:?}", hooks.name());
        }
        match hooks {
            Hooks::Exec => self.watch = Some(WatchMap::of(&module).ok_or_else(|| broken("watch map"))?),
            Hooks::Flows => {
                self.sockets = KernelSockets { peers: module.map("tawon_peers"), sockets: module.map("tawon_sockets") };
            }
        }
        let programs = module.programs();
        for (name, _) in &programs {
            stats.loaded(hooks.name(), name);
            let attached = module.attached().any(|attached| attached == name);
            self.metrics.attached.with_label_values(&[hooks.name(), name]).set(attached.into());
        }
        self.modules[hooks as usize] = State::Loaded(Box::new(Loaded { module, counts, programs }));
        Ok(())
    }

    fn tell_decisions(&mut self) {
        let Some(watch) = &self.watch else { return self.processes.decisions.clear() };
        for decision in self.processes.decisions.drain(..) {
            watch.decide(decision.pid, decision.start, decision.execs, decision.masks);
        }
    }
}

/// Both engines, and what they work in.
struct Engines<'a, 'w> {
    exec: &'a mut exec::Engine,
    flows: &'a mut flows::Engine,
    world: &'a mut World<'w>,
}

impl Reader for Engines<'_, '_> {
    fn record(&mut self, source: usize, bytes: &[u8]) {
        match source {
            0 => self.exec.record(bytes, self.world),
            _ => self.flows.record(bytes, self.world),
        }
    }

    fn fetch<'a>(&self, source: usize, near: impl Iterator<Item = &'a [u8]>, far: impl Iterator<Item = &'a [u8]>) {
        if source == Hooks::Flows as usize {
            self.flows.fetch(near, far);
        }
    }
}

/// The time of a turn.
#[derive(Clone, Copy)]
pub struct Times {
    pub now: Instant,
    pub offsets: Offsets,
}

fn split<'a, E>(
    engine: &'a mut E,
    processes: &'a mut Processes,
    sockets: &'a KernelSockets,
    times: Times,
) -> (&'a mut E, World<'a>) {
    (engine, World { processes, sockets, offsets: times.offsets, now: times.now, settling: true })
}

/// The kernel's tables of sockets; None while the programs are not loaded.
#[derive(Default)]
struct KernelSockets {
    peers: Option<MapHandle>,
    sockets: Option<MapHandle>,
}

impl Sockets for KernelSockets {
    fn peer(&self, key: &abi::PeerKey) -> Option<abi::Peer> {
        let Some(peers) = &self.peers else { return NoSockets.peer(key) };
        map::lookup(peers, abi::bytes(key))
    }

    fn forget_peer(&self, key: &abi::PeerKey) {
        if let Some(peers) = &self.peers {
            // It may have gone by itself.
            let _ = peers.delete(abi::bytes(key));
        }
    }

    fn forget_socket(&self, sock: u64, flow: u64) {
        if let Some(sockets) = &self.sockets
            && self.is_open(sock, flow)
        {
            let _ = sockets.delete(&sock.to_ne_bytes());
        }
    }

    fn is_open(&self, sock: u64, flow: u64) -> bool {
        let Some(sockets) = &self.sockets else { return false };
        map::lookup::<abi::Flow>(sockets, &sock.to_ne_bytes()).is_some_and(|found| found.flow == flow)
    }
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
            ("tawon_peers", config.limits.flows as u32),
        ],
    }
}

/// Whether the kernel keeps run statistics now.
fn stats_enabled() -> bool {
    std::fs::read("/proc/sys/kernel/bpf_stats_enabled").is_ok_and(|text| text.starts_with(b"1"))
        || STATS_HELD.load(std::sync::atomic::Ordering::Relaxed)
}

/// Whether we hold a BPF_ENABLE_STATS descriptor; the sysctl does not show that.
pub static STATS_HELD: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);

fn infos<'a>(loaded: &[(Hooks, &'a Loaded)]) -> Vec<Program<'a>> {
    let mut infos = Vec::new();
    for (hooks, loaded) in loaded {
        for (name, fd) in &loaded.programs {
            if let Ok(runs) = stats::runs(*fd) {
                infos.push(Program {
                    id: runs.id,
                    module: hooks.name(),
                    name,
                    run_cnt: runs.count,
                    run_time_ns: runs.nanoseconds,
                    misses: runs.misses,
                });
            }
        }
    }
    infos
}

/// Records that wait in a ring before it says so.
const MOST_WAITING: usize = 128;
const RING_BYTES: usize = 8 << 20;
const PAGE: usize = 4096;
/// How long forks may still carry masks from before a change.
const SETTLING: Duration = Duration::from_secs(2);
