//! What BPF programs cost: from samples of the kernel's program info to counters, gauges and a
//! histogram. Pure: the samples and the time are given.

use std::collections::HashMap;

use prometheus::{Gauge, GaugeVec, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge};

use super::Metrics;
use crate::time::Instant;

/// One loaded program, as the kernel tells (struct bpf_prog_info).
#[derive(Clone, Copy, Debug)]
pub struct Program<'a> {
    /// Of the kernel; another one after every load.
    pub id: u32,
    /// The source it belongs to.
    pub module: &'static str,
    /// Its C function's name, whole.
    pub name: &'a str,
    pub run_cnt: u64,
    pub run_time_ns: u64,
    /// Runs that the kernel left out since the program was running on that CPU already.
    pub misses: u64,
}

/// The sampler. Its state is as large as the programs that were ever loaded, by name.
pub struct BpfStats {
    enabled: IntGauge,
    runs: IntCounterVec,
    usage: GaugeVec,
    usages: HistogramVec,
    attach_failures: IntCounterVec,
    detach_failures: IntCounterVec,
    series: Vec<Series>,
    /// What each program had run at the last sample, by id.
    last: HashMap<u32, (u64, u64)>,
    /// When statistics were last sampled while they were on.
    since: Option<Instant>,
}

/// One module and program name; several loads of it, at once or one after the other.
struct Series {
    module: String,
    name: String,
    runs: IntCounter,
    usages: Histogram,
    usage: Option<Gauge>,
    /// Within one sample.
    loaded: bool,
    time_ns: u64,
}

impl BpfStats {
    pub fn new(metrics: &Metrics) -> BpfStats {
        BpfStats {
            enabled: metrics.gauge("tawon_bpf_stats_enabled"),
            runs: metrics.counters("bpf_run_counter"),
            usage: metrics.float_gauges("bpf_cpu_usage"),
            usages: metrics.histograms("bpf_cpu_usage_histogram"),
            attach_failures: metrics.counters("bpf_probes_attach_failure"),
            detach_failures: metrics.counters("bpf_probes_detach_failure"),
            series: Vec::new(),
            last: HashMap::new(),
            since: None,
        }
    }

    /// Shows the series of a program that was just loaded, at 0 if it never was before.
    pub fn loaded(&mut self, module: &str, name: &str) {
        self.at(module, name);
    }

    /// Takes one sample of every program that is loaded. `enabled` is whether the kernel counts now.
    /// Sample once more before a program is unloaded, or what it ran since the last time is not counted.
    pub fn sample(&mut self, now: Instant, enabled: bool, programs: &[Program<'_>]) {
        self.enabled.set(i64::from(enabled));
        for series in &mut self.series {
            (series.loaded, series.time_ns) = (false, 0);
        }
        for program in programs {
            let at = self.at(program.module, program.name);
            let (run_cnt, run_time_ns) =
                self.last.insert(program.id, (program.run_cnt, program.run_time_ns)).unwrap_or_default();
            let series = &mut self.series[at];
            series.runs.inc_by(program.run_cnt.saturating_sub(run_cnt));
            series.time_ns += program.run_time_ns.saturating_sub(run_time_ns);
            series.loaded = true;
        }
        self.last.retain(|id, _| programs.iter().any(|program| program.id == *id));
        let elapsed = self.since.map_or(0, |since| now.0.saturating_sub(since.0));
        self.since = enabled.then_some(now);
        for series in &mut self.series {
            let labels = [series.module.as_str(), series.name.as_str()];
            if !enabled {
                // Unknown is not 0.
                if series.usage.take().is_some() {
                    drop(self.usage.remove_label_values(&labels));
                }
            } else if elapsed > 0 {
                let percent = series.time_ns as f64 / elapsed as f64 * 100.0;
                series.usage.get_or_insert_with(|| self.usage.with_label_values(&labels)).set(percent);
                if series.loaded {
                    series.usages.observe(percent);
                }
            }
        }
    }

    fn at(&mut self, module: &str, name: &str) -> usize {
        if let Some(at) = self.series.iter().position(|series| series.name == name && series.module == module) {
            return at;
        }
        let labels = [module, name];
        self.attach_failures.with_label_values(&labels);
        self.detach_failures.with_label_values(&labels);
        self.series.push(Series {
            module: module.to_owned(),
            name: name.to_owned(),
            runs: self.runs.with_label_values(&labels),
            usages: self.usages.with_label_values(&labels),
            usage: None,
            loaded: false,
            time_ns: 0,
        });
        self.series.len() - 1
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const fn program(id: u32, run_cnt: u64, run_time_ns: u64) -> Program<'static> {
        Program { id, module: "flows", name: "handle_state", run_cnt, run_time_ns, misses: 0 }
    }

    struct Bench {
        metrics: Metrics,
        stats: BpfStats,
        now: Instant,
    }

    impl Bench {
        fn new() -> Bench {
            let metrics = Metrics::new("").unwrap();
            let stats = BpfStats::new(&metrics);
            Bench { metrics, stats, now: Instant(1) }
        }

        fn sample(&mut self, enabled: bool, programs: &[Program<'_>]) {
            self.now = self.now + Duration::from_secs(1);
            self.stats.sample(self.now, enabled, programs);
        }

        /// Runs, usage and how often usage was observed.
        fn shown(&self) -> (u64, Option<f64>, u64) {
            let labels = ["flows", "handle_state"];
            let families = self.metrics.gather();
            let usage = families.iter().find(|family| family.name() == "bpf_cpu_usage");
            let usage = usage.map(|family| family.get_metric()[0].get_gauge().get_value());
            let observed = self.metrics.histograms("bpf_cpu_usage_histogram").with_label_values(&labels);
            let runs = self.metrics.counters("bpf_run_counter").with_label_values(&labels).get();
            (runs, usage, observed.get_sample_count())
        }
    }

    #[test]
    fn runs_add_up_over_loads_and_usage_is_of_the_last_interval() {
        let mut bench = Bench::new();
        bench.sample(true, &[program(7, 10, 1_000_000)]);
        assert_eq!(bench.shown(), (10, None, 0), "one sample is no interval");
        bench.sample(true, &[program(7, 30, 21_000_000)]);
        assert_eq!(bench.shown(), (30, Some(2.0), 1));
        bench.sample(true, &[program(7, 30, 21_000_000), program(8, 5, 5_000_000)]);
        assert_eq!(bench.shown(), (35, Some(0.5), 2), "two loads of one program are one series");
        bench.sample(true, &[program(9, 4, 10_000_000)]);
        assert_eq!(bench.shown(), (39, Some(1.0), 3), "a reload lowers nothing");
        bench.sample(true, &[]);
        assert_eq!(bench.shown(), (39, Some(0.0), 3), "what is unloaded uses nothing and is not observed");
        bench.sample(true, &[program(10, 2, 0)]);
        assert_eq!(bench.shown(), (41, Some(0.0), 4));
    }

    #[test]
    fn while_statistics_are_off_the_gauge_is_absent_and_the_rest_stays() {
        let mut bench = Bench::new();
        bench.stats.loaded("flows", "handle_state");
        bench.sample(false, &[program(7, 0, 0)]);
        assert_eq!(bench.shown(), (0, None, 0));
        bench.sample(true, &[program(7, 0, 0)]);
        bench.sample(true, &[program(7, 9, 10_000_000)]);
        assert_eq!(bench.shown(), (9, Some(1.0), 1));
        bench.sample(false, &[program(7, 12, 30_000_000)]);
        assert_eq!(bench.shown(), (12, None, 1), "what ran until the switch is counted");
        bench.sample(true, &[program(7, 12, 30_000_000)]);
        assert_eq!(bench.shown(), (12, None, 1), "the interval before is not known");
        bench.sample(true, &[program(7, 12, 30_000_000)]);
        assert_eq!(bench.shown(), (12, Some(0.0), 2));
        assert_eq!(bench.metrics.gauge("tawon_bpf_stats_enabled").get(), 1);
    }
}
