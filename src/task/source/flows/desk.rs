//! Deciding who wants a flow and telling them of it, and the counting of both.

use std::collections::HashMap;
use std::rc::Rc;

use prometheus::IntGauge;
use prometheus::local::LocalIntCounter;

use super::options::Options;
use super::record::State;
use super::tracked::{Claimed, Tracked};
use crate::flow::number::BuildNumber;
use crate::kernel::abi;
use crate::metrics::Metrics;
use crate::pipeline::Event;
use crate::process::Process;
use crate::task::source::{Taps, World};
use crate::time::{Instant, Offsets};

/// What deciding and telling need beside the table of flows.
pub(super) struct Desk<'a> {
    pub taps: &'a mut Taps<Options>,
    pub threads: &'a mut HashMap<u32, u32, BuildNumber>,
    pub counts: &'a Counts,
    /// Directives that are ending: they get no flows any more.
    pub leaving: u64,
}

impl Desk<'_> {
    /// Finds the owner and the directives that want the flow; `told` is who the kernel side says does.
    #[inline]
    pub fn own(&mut self, flow: &mut Tracked, told: u64, world: &mut World<'_>) {
        let masks = match world.processes.table.find(flow.tgid, Some(flow.start)) {
            Some(entry) => {
                if !flow.owner.as_ref().is_some_and(|owner| Rc::ptr_eq(owner, &entry.process)) {
                    flow.owner = Some(entry.process.clone());
                }
                world.processes.watchers.mask(entry, SOURCE)
            }
            // Of a process that has gone. Directives of every process may have come since, but the agent itself is nobody's.
            None if flow.claimed == Claimed::By && told == 0 => 0,
            None if flow.claimed == Claimed::By => told | world.processes.watchers.unconditional()[SOURCE],
            None => world.processes.watchers.unconditional()[SOURCE],
        };
        self.want(flow, masks);
    }

    #[inline]
    fn want(&mut self, flow: &mut Tracked, masks: u64) {
        flow.mask = masks & self.taps.mask() & !self.leaving | flow.mask & self.leaving;
        if flow.tid != 0 && flow.mask != 0 && !flow.thread_counted {
            self.join_thread(flow);
        }
    }

    /// Somebody claimed the flow: whose it is, but not who wants it.
    #[inline]
    pub fn note_claim(&mut self, flow: &mut Tracked, claim: &abi::Claim) {
        flow.note_use(claim.header.time);
        match claim.header.time < flow.newest {
            true if flow.is_udp() => {}
            true => self.counts.out_of_order.inc(),
            false => flow.newest = claim.header.time,
        }
        if flow.tid != claim.tid {
            self.leave_thread(flow);
        }
        (flow.tgid, flow.tid, flow.start) = (claim.tgid, claim.tid, claim.process_start);
        flow.claimed = Claimed::by(&claim.header);
    }

    /// The same with the owner as it was at the claim, and the directives that want what is its own.
    pub fn claim_for(
        &mut self,
        flow: &mut Tracked,
        claim: &abi::Claim,
        owner: Option<Rc<Process>>,
        masks: u64,
        world: &World<'_>,
    ) {
        self.note_claim(flow, claim);
        let announced = flow.announced;
        flow.owner = owner.or_else(|| flow.owner.take());
        self.want(flow, masks);
        self.announce(flow, claim.header.time, world);
        // Who was told of a start is told of the end, whoever the owner turned out to be.
        flow.mask |= announced;
    }

    /// Leaves only the directives whose filter lets the flow through; counts the others.
    #[inline]
    pub fn filter(&mut self, flow: &mut Tracked) {
        flow.mask &= !flow.filtered();
        let counts = self.counts;
        self.taps.each_of(flow.mask & !flow.announced, |bit, tap| {
            if !tap.options.passes(flow) {
                flow.filter(bit);
                counts.filtered.inc();
            }
        });
    }

    /// Tells of a start to whoever has not been told yet.
    #[inline]
    pub fn announce(&mut self, flow: &mut Tracked, at: u64, world: &World<'_>) {
        self.filter(flow);
        let fresh = flow.mask & !flow.announced;
        if fresh == 0 {
            return;
        }
        self.counts.started.inc_by(tell(self.taps, flow, fresh, State::Started, at, world.offsets));
        flow.announced |= fresh;
    }

    /// A directive that has come while the flow was open: it is told of its end, where it wants it.
    pub fn join(&mut self, flow: &mut Tracked, bit: u32, world: &World<'_>) {
        if (flow.mask | flow.filtered()) >> bit & 1 == 1 {
            return;
        }
        let Some(tap) = self.taps.get(bit) else { return };
        let wanted = match &flow.owner {
            Some(owner) => world.processes.watchers.decide(owner),
            None => world.processes.watchers.unconditional(),
        };
        if wanted[SOURCE] >> bit & 1 == 0 {
            return;
        }
        match tap.options.passes(flow) {
            true => flow.mask |= 1 << bit,
            false => {
                flow.filter(bit);
                self.counts.filtered.inc();
            }
        }
    }

    #[inline(never)] // once per flow
    fn join_thread(&mut self, flow: &mut Tracked) {
        *self.threads.entry(flow.tid).or_default() += 1;
        flow.thread_counted = true;
    }

    #[inline]
    pub fn leave_thread(&mut self, flow: &mut Tracked) {
        if std::mem::take(&mut flow.thread_counted)
            && let Some(count) = self.threads.get_mut(&flow.tid)
        {
            *count -= 1;
            if *count == 0 {
                self.threads.remove(&flow.tid);
            }
        }
    }
}

/// Hands a record to each directive of the mask; says to how many.
pub(super) fn tell(
    taps: &mut Taps<Options>,
    flow: &Tracked,
    mask: u64,
    state: State,
    at: u64,
    offsets: Offsets,
) -> u64 {
    let mut told = 0;
    taps.each_of(mask, |_, tap| {
        told += 1;
        if tap.pipeline.is_empty() {
            return tap.pipeline.pass();
        }
        let record = flow.record(state, at, tap.meta, offsets);
        tap.event(&Event::new(offsets.wall(at), Instant(at), &record));
    });
    told
}

/// Counted here, and handed to the scraped counters by `gauges`, once per turn.
pub(super) struct Counts {
    pub messages: LocalIntCounter,
    pub out_of_order: LocalIntCounter,
    pub missing_ended: LocalIntCounter,
    pub missing_started: LocalIntCounter,
    pub extra_ended: LocalIntCounter,
    pub missing_tid: LocalIntCounter,
    pub missing_socket: LocalIntCounter,
    pub started: LocalIntCounter,
    pub ongoing: LocalIntCounter,
    pub ended: LocalIntCounter,
    pub filtered: LocalIntCounter,
    pub tracked: IntGauge,
    pub threads: IntGauge,
}

impl Counts {
    pub fn new(metrics: &Metrics) -> Counts {
        let status = metrics.counters("flows_task_total");
        Counts {
            messages: metrics.counter("flow_msgs").local(),
            out_of_order: metrics.counter("flow_out_of_order_msgs").local(),
            missing_ended: metrics.counter("flow_missing_ended").local(),
            missing_started: metrics.counter("flow_missing_started").local(),
            extra_ended: metrics.counter("flow_extra_ended").local(),
            missing_tid: metrics.counter("flow_missing_tid").local(),
            missing_socket: metrics.counter("flow_missing_socket").local(),
            started: status.with_label_values(&["started"]).local(),
            ongoing: status.with_label_values(&["ongoing"]).local(),
            ended: status.with_label_values(&["ended"]).local(),
            filtered: status.with_label_values(&["filtered"]).local(),
            tracked: metrics.gauge("flow_flows_tracked"),
            threads: metrics.gauge("flow_threads_tracked"),
        }
    }

    /// Shows what was counted.
    pub fn flush(&self) {
        for counter in [
            &self.messages,
            &self.out_of_order,
            &self.missing_ended,
            &self.missing_started,
            &self.extra_ended,
            &self.missing_tid,
            &self.missing_socket,
            &self.started,
            &self.ongoing,
            &self.ended,
            &self.filtered,
        ] {
            counter.flush();
        }
    }
}

/// The index of this source's mask.
pub(super) const SOURCE: usize = 1;
