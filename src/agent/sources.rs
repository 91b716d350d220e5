//! The kernel sources: their programs, their rings, their engines, and what is looked up for these.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use mio::{Registry, Token, Waker};

use super::loader::{Done, Hooks, Loader, Purpose};
use super::modules::{self, Modules, unusable};
use super::plans;
use super::sockets::KernelSockets;
use super::source_metrics::SourceMetrics;
use crate::config::Config;
use crate::kernel::abi;
use crate::kernel::iter::Walk;
use crate::kernel::load::{Error, Module};
use crate::kernel::merge::{Merge, Reader};
use crate::kernel::watch::WatchMap;
use crate::metrics::Metrics;
use crate::metrics::bpf_stats::BpfStats;
use crate::process::scan::Scanned;
use crate::process::{Processes, redact::Redaction};
use crate::task::source::{World, exec, flows};
use crate::time::{Instant, Offsets};

/// All kernel sources.
pub struct Sources {
    pub exec: exec::Engine,
    pub flows: flows::Engine,
    pub processes: Processes,
    modules: Modules,
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
    /// When flows are next looked through for those whose sockets went without a word.
    gone_due: Instant,
    /// Those that were found, and when.
    gone_flows: Option<(Instant, Vec<u8>)>,
    /// Programs that run, and processes that were there before and are not all known yet.
    arriving: Option<Arriving>,
    /// The walk over sockets that are older than the agent or a directive, once every process is decided for: the
    /// programs ask who is wanted.
    existing: Option<Walk>,
}

struct Arriving {
    hooks: Hooks,
    module: Box<Module>,
    scanned: std::vec::IntoIter<Scanned>,
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
            modules: Modules::default(),
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
            gone_due: Instant(0),
            gone_flows: None,
            arriving: None,
            existing: None,
        })
    }

    /// Drops what takes a while to drop, elsewhere.
    pub fn free(&self, what: impl Send + 'static) {
        self.loader.free(what);
    }

    /// Whether the programs run.
    pub fn is_loaded(&self, hooks: Hooks) -> bool {
        self.modules.is_loaded(hooks) && self.watch.is_some()
    }

    /// Whether nothing of a source's programs is left.
    pub fn is_gone(&self, hooks: Hooks) -> bool {
        self.modules.is_gone(hooks)
    }

    /// Whether a source's programs run or are on their way in.
    pub fn is_used(&self, hooks: Hooks) -> bool {
        self.modules.is_used(hooks)
    }

    /// Whether a source's programs are on their way out.
    pub fn is_leaving(&self, hooks: Hooks) -> bool {
        self.modules.is_leaving(hooks)
    }

    /// Asks for the programs of a source; `News::Loaded` or `News::Failed` follows, unless they are there, or
    /// on their way out: then they are to be asked for again once they have gone.
    pub fn want(&mut self, hooks: Hooks, config: &Config) {
        self.modules.want(hooks, config, &self.loader);
    }

    /// Lets the links of a source go; `News::Detached` follows.
    pub fn detach(&mut self, hooks: Hooks) {
        self.modules.detach(hooks, &self.loader);
    }

    /// Frees the programs and rings of a source that is detached and drained.
    pub fn unload(&mut self, hooks: Hooks, registry: &Registry, stats: &mut BpfStats, now: Instant) {
        let Some(mut loaded) = self.modules.take_detached(hooks, registry, &self.metrics) else { return };
        self.metrics.refresh(hooks, &mut loaded.counts);
        self.metrics.restart(hooks);
        self.lost_seen[hooks as usize] = 0;
        modules::last_sample(hooks, &loaded, stats, now);
        self.loader.free(loaded.module);
        match hooks {
            Hooks::Exec => {
                self.watch = None;
                self.processes = std::mem::replace(&mut self.processes, Processes::new(1)).emptied();
            }
            Hooks::Flows => {
                self.sockets = KernelSockets::default();
                self.gone_flows = None;
                self.flows.clear();
            }
        }
    }

    /// What the thread has done since the last look.
    pub fn results(&mut self, registry: &Registry, token: Token, stats: &mut BpfStats, world: Times) -> Vec<News> {
        let mut news = Vec::new();
        loop {
            if let Some(arriving) = &mut self.arriving {
                let some = arriving.scanned.by_ref().take(SCANNED);
                some.for_each(|scanned| self.processes.insert_scanned(scanned, world.offsets));
                if !arriving.scanned.as_slice().is_empty() {
                    break;
                }
            }
            // What it reads from its rings is of processes that are known.
            if let Some(Arriving { hooks, module, .. }) = self.arriving.take() {
                news.push(match self.arrived(hooks, module, (registry, token), stats) {
                    Ok(()) => News::Loaded(hooks),
                    Err(error) => News::Failed(hooks, error),
                });
            }
            let Some(done) = self.loader.result() else { break };
            match done {
                Done::Loaded(hooks, Ok((module, scanned))) => {
                    self.arriving = Some(Arriving { hooks, module, scanned: scanned.into_iter() });
                }
                Done::Loaded(hooks, Err(error)) => {
                    self.modules.failed(hooks);
                    for program in &error.programs {
                        self.metrics.attach_failures.with_label_values(&[hooks.name(), program]).inc();
                    }
                    news.push(News::Failed(hooks, error));
                }
                Done::Detached(hooks, failed) => {
                    for program in failed {
                        self.metrics.detach_failures.with_label_values(&[hooks.name(), &program]).inc();
                    }
                    self.modules.detached(hooks);
                    news.push(News::Detached(hooks));
                }
                Done::Walked(Purpose::Lost, told, before) => {
                    self.walks -= 1;
                    self.open_flows = Some((world.now, told, before));
                }
                Done::Walked(Purpose::Existing, told, _) => self.flows.existing(told),
                Done::Walked(Purpose::Ongoing, told, _) => self.flows.ongoing(told),
                Done::Walked(Purpose::Gone, told, _) => {
                    self.walks -= 1;
                    self.gone_flows = Some((world.now, told));
                }
                Done::Pids(alive, before) => self.pids = Some((world.now, alive, before)),
            }
        }
        self.reconcile(world);
        news
    }

    /// Records were lost, or never made: what they would have told is found out, once all that was in the rings when
    /// the look ended has been worked on.
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
        if let Some((_, told)) = self.gone_flows.take_if(|(at, _)| *at <= self.drained) {
            self.flows.gone(told);
        }
    }

    /// Goes on with what takes more than a turn.
    pub fn work(&mut self, times: Times) -> Vec<News> {
        if self.processes.is_deciding() {
            let (engine, mut world) = split(&mut self.exec, &mut self.processes, &self.sockets, times);
            if engine.decide(&mut world) {
                self.settling = times.now + SETTLING;
            }
            self.tell_decisions();
        }
        if let Some(walk) = self.existing.take_if(|_| !self.processes.is_deciding()) {
            self.loader.walk(Purpose::Existing, walk);
        }
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
                flows::Finished::Reconciled | flows::Finished::Cleared | flows::Finished::Joined(_) => {}
                flows::Finished::Left(bit) => news.push(News::Left(bit)),
            }
        }
        news
    }

    /// Whether `work` has something left to do.
    pub fn has_work(&self) -> bool {
        self.flows.has_work() || self.is_deciding() || self.existing.is_some() || self.arriving.is_some()
    }

    /// Whether there may be processes of which it is not decided yet who wants them.
    pub fn is_deciding(&self) -> bool {
        self.processes.is_deciding()
    }

    /// Works on what the rings hold that is older than now, in order of time over all rings and
    /// sources. Says whether more is left: then this is to be called again soon.
    pub fn drain(&mut self, times: Times) -> bool {
        let Sources { modules, merge, exec, flows, processes, sockets, .. } = self;
        let settling = times.now < self.settling || processes.is_deciding();
        let mut world = World { processes, sockets, offsets: times.offsets, now: times.now, settling };
        let mut rings = modules.rings();
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
        self.modules.has_rings()
    }

    pub fn tick(&mut self, times: Times) {
        let (engine, mut world) = split(&mut self.exec, &mut self.processes, &self.sockets, times);
        engine.tick(&mut world);
        let (engine, mut world) = split(&mut self.flows, &mut self.processes, &self.sockets, times);
        engine.tick(&mut world);
        if self.flows.ongoing_due().is_some_and(|due| due <= times.now) && self.walks == 0 {
            self.update_statistics();
        }
        // Put off, not left out, while another walk is under way: that may be so each time.
        if self.gone_due <= times.now && self.walks == 0 {
            self.gone_due = times.now + GONE_EVERY;
            self.walk_open(Purpose::Gone);
        }
        self.tell_decisions();
    }

    pub fn deadline(&self) -> Option<Instant> {
        let gone = self.is_loaded(Hooks::Flows).then_some(self.gone_due);
        let walks = self.flows.ongoing_due().into_iter().chain(gone).filter(|_| self.walks == 0);
        self.exec.deadline().into_iter().chain(self.flows.deadline()).chain(walks).min()
    }

    /// Asks for statistics of open flows; `News::Walked` follows. False where there is nobody to ask.
    pub fn update_statistics(&mut self) -> bool {
        self.walk_open(Purpose::Ongoing)
    }

    fn walk_open(&mut self, purpose: Purpose) -> bool {
        let program = if purpose == Purpose::Gone { "tawon_gone" } else { "tawon_ongoing" };
        let walk =
            self.modules.loaded(Hooks::Flows).and_then(|flows| flows.module.walk(program, Some("tawon_sockets")));
        let Some(walk) = walk else { return false };
        self.walks += 1;
        self.loader.walk(purpose, walk);
        true
    }

    /// A directive has come or gone: who is watched is decided anew, by `work`, and the kernel told.
    pub fn watchers_changed(&mut self) {
        let watchers = &self.processes.watchers;
        if let Some(watch) = &self.watch
            && let Err(error) = watch.set_default(watchers.unconditional(), watchers.any_conditions())
        {
            log::error!("the watch map cannot be written error={error}");
        }
        self.processes.decide_anew();
        let (tcp, udp) = self.flows.protocols();
        let threads = self.exec.taps.iter().any(|(_, tap)| tap.options.threads);
        let live = abi::Live { threads: threads.into(), tcp: tcp.into(), udp: udp.into() };
        for hooks in Hooks::ALL {
            if let Some(loaded) = self.modules.loaded(hooks)
                && let Err(error) = loaded.module.set_live(&live)
            {
                log::error!("settings cannot be told to the programs module={} error={error}", hooks.name());
            }
        }
    }

    /// A directive has come, and its tap and the watchers know of it: what is there already is found for it.
    pub fn join(&mut self, hooks: Hooks, bit: u32, times: Times) {
        match hooks {
            Hooks::Exec => {
                let (engine, world) = split(&mut self.exec, &mut self.processes, &self.sockets, times);
                engine.join(bit, &world);
            }
            Hooks::Flows => {
                self.flows.join(bit);
                self.find_existing();
            }
        }
    }

    fn find_existing(&mut self) {
        let walk = self.modules.loaded(Hooks::Flows).and_then(|flows| flows.module.walk("tawon_existing", None));
        // One for all directives that come at about the same time.
        if let Some(walk) = walk
            && self.existing.replace(walk).is_none()
        {
            self.walks += 1;
            self.flows.expect_existing();
        }
    }

    /// Brings the counters that follow the kernel's up to date: at a scrape and once a second. Where
    /// records were lost, what they would have told is looked for.
    pub fn refresh(&mut self) {
        for hooks in Hooks::ALL {
            let Some(loaded) = self.modules.counting(hooks) else { continue };
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
        let (threads, thread_evictions) = self.exec.occupancy();
        self.metrics.processes(processes.len(), processes.evictions(), threads, thread_evictions);
        self.metrics.flows(flows, flow_bytes, flow_evictions);
    }

    /// Samples what the programs cost.
    pub fn sample(&mut self, stats: &mut BpfStats, now: Instant) {
        let left_out = self.modules.sample(stats, now);
        for hooks in Hooks::ALL {
            let Some(loaded) = self.modules.counting(hooks) else { continue };
            // Read after the misses: what a copy was run for in between is not taken for one.
            loaded.counts.read();
            for (_, program, misses) in left_out.iter().filter(|(of, ..)| *of == hooks) {
                let missed = plans::missed(hooks, program, *misses, |number| loaded.counts.again(number));
                self.metrics.missed(hooks.name(), program, missed);
            }
        }
    }

    /// What is missed by the programs that run, one sentence each.
    pub fn degraded(&self) -> Vec<String> {
        Hooks::ALL
            .into_iter()
            .filter_map(|hooks| self.modules.loaded(hooks))
            .flat_map(|loaded| loaded.module.missed())
            .collect()
    }

    fn arrived(
        &mut self,
        hooks: Hooks,
        module: Box<Module>,
        poll: (&Registry, Token),
        stats: &mut BpfStats,
    ) -> Result<(), Error> {
        let loaded = self.modules.arrived(hooks, module, poll, stats, &self.metrics)?;
        match hooks {
            Hooks::Exec => {
                let watch = WatchMap::of(&loaded.module);
                self.watch = Some(watch.ok_or_else(|| unusable(hooks, "read the maps", "no watch map"))?);
            }
            Hooks::Flows => self.sockets = KernelSockets::of(&loaded.module),
        }
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
    fn note(&self, source: usize, bytes: &[u8]) -> u32 {
        if source == Hooks::Flows as usize { self.flows.note(bytes) } else { 0 }
    }

    fn fetch(&self, source: usize, hint: u32) -> u32 {
        if source == Hooks::Flows as usize { self.flows.fetch(hint) } else { hint }
    }

    fn record(&mut self, source: usize, bytes: &[u8], hint: u32) {
        match source {
            0 => self.exec.record(bytes, self.world),
            _ => self.flows.record_at(bytes, hint, self.world),
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

/// How often flows are looked through for those whose sockets went without a word.
const GONE_EVERY: Duration = Duration::from_secs(30);
/// How long forks may still carry masks from before a change.
const SETTLING: Duration = Duration::from_secs(2);
/// Processes from /proc that one turn puts into the table.
const SCANNED: usize = 256;
