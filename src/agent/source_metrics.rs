//! Series that follow what the kernel sides count.

use std::cell::RefCell;
use std::collections::HashMap;

use prometheus::{IntCounterVec, IntGaugeVec};

use super::loader::Hooks;
use super::plans;
use crate::kernel::stats::Counts;
use crate::metrics::Metrics;
use crate::metrics::total::Total;

/// Series of the kernel sides.
pub(super) struct SourceMetrics {
    pub(super) attached: IntGaugeVec,
    pub(super) attach_failures: IntCounterVec,
    pub(super) detach_failures: IntCounterVec,
    errors: IntCounterVec,
    totals: [Totals; 2],
    entries: IntGaugeVec,
    bytes: IntGaugeVec,
    table_evictions: [Total; 3],
    /// By module and program.
    misses: RefCell<HashMap<(&'static str, String), Total>>,
}

struct Totals {
    lost: Total,
    produced: Vec<(u16, Total)>,
    errors: Vec<(u32, Total)>,
}

impl SourceMetrics {
    pub(super) fn new(metrics: &Metrics) -> SourceMetrics {
        let records = metrics.counters("tawon_bpf_records_total");
        let errors = metrics.counters("tawon_bpf_errors_total");
        let evictions = metrics.counters("tawon_table_evictions_total");
        let totals = |hooks: Hooks, lost: &str| Totals {
            lost: Total::new(metrics.counter(lost)),
            produced: plans::kinds(hooks)
                .iter()
                .map(|(number, kind)| (*number, Total::new(records.with_label_values(&[hooks.name(), kind]))))
                .collect(),
            errors: plans::errors(hooks)
                .iter()
                .enumerate()
                .map(|(number, (program, reason))| {
                    (number as u32, Total::new(errors.with_label_values(&[hooks.name(), program, reason])))
                })
                .collect(),
        };
        SourceMetrics {
            attached: metrics.gauges("bpf_probes_attached"),
            attach_failures: metrics.counters("bpf_probes_attach_failure"),
            detach_failures: metrics.counters("bpf_probes_detach_failure"),
            totals: [totals(Hooks::Exec, "exec_msgs_lost"), totals(Hooks::Flows, "flow_msgs_lost")],
            errors,
            entries: metrics.gauges("tawon_table_entries"),
            bytes: metrics.gauges("tawon_table_bytes"),
            table_evictions: ["processes", "flows", "threads"]
                .map(|table| Total::new(evictions.with_label_values(&[table]))),
            misses: Default::default(),
        }
    }

    /// Returns how many records were lost.
    pub(super) fn refresh(&mut self, hooks: Hooks, counts: &mut Counts) -> u64 {
        counts.read();
        let totals = &mut self.totals[hooks as usize];
        let mut lost = 0;
        for (kind, total) in &mut totals.produced {
            total.set(counts.produced(*kind));
            lost += counts.lost(*kind);
        }
        for (number, total) in &mut totals.errors {
            total.set(counts.error(*number));
        }
        totals.lost.set(lost);
        lost
    }

    /// The kernel's counters begin at 0 again.
    pub(super) fn restart(&mut self, hooks: Hooks) {
        let Totals { lost, produced, errors } = &mut self.totals[hooks as usize];
        lost.restart();
        produced.iter_mut().for_each(|(_, total)| total.restart());
        errors.iter_mut().for_each(|(_, total)| total.restart());
        self.misses.borrow_mut().retain(|(module, _), _| *module != hooks.name());
    }

    pub(super) fn missed(&self, module: &'static str, program: &str, missed: u64) {
        if missed == 0 {
            return;
        }
        let mut all = self.misses.borrow_mut();
        let total = all
            .entry((module, program.to_owned()))
            .or_insert_with(|| Total::new(self.errors.with_label_values(&[module, program, "recursion_miss"])));
        total.set(missed);
    }

    /// What the tables of exec hold, and how many have made room.
    pub(super) fn processes(&mut self, processes: usize, evictions: u64, threads: usize, thread_evictions: u64) {
        self.entries.with_label_values(&["processes"]).set(processes as i64);
        self.entries.with_label_values(&["threads"]).set(threads as i64);
        self.table_evictions[0].set(evictions);
        self.table_evictions[2].set(thread_evictions);
    }

    pub(super) fn flows(&mut self, flows: usize, bytes: usize, evictions: u64) {
        self.entries.with_label_values(&["flows"]).set(flows as i64);
        self.bytes.with_label_values(&["flows"]).set(bytes as i64);
        self.table_evictions[1].set(evictions);
    }
}
