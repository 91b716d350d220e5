//! Metrics: `catalogue` says once what there is; `Metrics` registers all of it at start and gives
//! handles by name. A handle with labels is resolved when its key first appears and kept: never
//! `with_label_values` per event.

pub mod bpf_stats;
pub mod catalogue;
pub mod names;
mod process;
pub mod runs;
pub mod summary;
mod text;
pub mod total;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use prometheus::core::Collector;
use prometheus::{
    Counter, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Opts, Registry,
};

use catalogue::{CATALOGUE, Kind, Metric, Preset};
use names::Names;
pub use runs::{Runs, TaskRun};
use summary::{Summaries, View, locked};
pub use total::Total;

/// Every collector of the catalogue, registered under the configured prefix.
pub struct Metrics {
    registry: Registry,
    collectors: HashMap<&'static str, Handle>,
    prefix: String,
    view: Arc<Mutex<View>>,
    /// What the counters by directive, by sink and by interface show; gauges leave with what they are of.
    pub directives: Names,
    pub sinks: Names,
    pub interfaces: Names,
}

enum Handle {
    Counter(IntCounter),
    Counters(IntCounterVec),
    FloatCounter(Counter),
    Gauge(IntGauge),
    Gauges(IntGaugeVec),
    FloatGauge(Gauge),
    FloatGauges(GaugeVec),
    Histogram(Histogram),
    Histograms(HistogramVec),
    Summaries(Summaries),
}

/// The release that this is.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The commit that it was built from, where the build was told.
pub const REVISION: &str = match option_env!("TAWON_REVISION") {
    Some(revision) => revision,
    None => "unknown",
};

impl Metrics {
    /// Registers the whole catalogue. `prefix` is put before the contract's names with an underscore;
    /// the agent's own keep theirs. The error says which name is not a metric's name.
    pub fn new(prefix: &str) -> Result<Metrics, prometheus::Error> {
        let mut metrics = Metrics {
            registry: Registry::new(),
            collectors: HashMap::new(),
            prefix: prefix.to_owned(),
            view: Arc::default(),
            directives: Names::default(),
            sinks: Names::default(),
            interfaces: Names::default(),
        };
        for metric in CATALOGUE {
            let handle = Handle::new(metric, metrics.shown_name(metric), &metrics.view)?;
            metrics.registry.register(handle.collector())?;
            metrics.collectors.insert(metric.name, handle);
        }
        metrics.registry.register(Box::new(process::ProcessCollector::new()?))?;
        metrics.gauges("tawon_build_info").with_label_values(&[VERSION, REVISION]).set(1);
        Ok(metrics)
    }

    /// Chooses the quantiles that the summaries show from now on, ascending, each from 0 to 1.
    pub fn show_quantiles(&self, quantiles: &[f64]) {
        locked(&self.view).quantiles = quantiles.to_vec();
    }

    /// A metric's name as it is scraped.
    fn shown_name(&self, metric: &Metric) -> String {
        if self.prefix.is_empty() || metric.group == "own" {
            return metric.name.to_owned();
        }
        format!("{}_{}", self.prefix, metric.name)
    }

    /// The families as they stand now.
    pub fn gather(&self) -> Vec<prometheus::proto::MetricFamily> {
        self.registry.gather()
    }
}

/// Handles by the catalogue's name. Asking for a name or shape that the catalogue does not have is a
/// mistake in the program, found by the first test that builds the task.
macro_rules! handles {
    ($($method:ident $variant:ident $type:ty;)*) => {
        impl Metrics {
            $(pub fn $method(&self, name: &str) -> $type {
                match self.collectors.get(name) {
                    Some(Handle::$variant(handle)) => handle.clone(),
                    _ => panic!("no {} named {name} in the catalogue", stringify!($method)),
                }
            })*
        }

        impl Handle {
            fn collector(&self) -> Box<dyn Collector> {
                match self {
                    $(Handle::$variant(handle) => Box::new(handle.clone()),)*
                }
            }
        }
    };
}

handles! {
    counter Counter IntCounter;
    counters Counters IntCounterVec;
    float_counter FloatCounter Counter;
    gauge Gauge IntGauge;
    gauges Gauges IntGaugeVec;
    float_gauge FloatGauge Gauge;
    float_gauges FloatGauges GaugeVec;
    histogram Histogram Histogram;
    histograms Histograms HistogramVec;
    summaries Summaries Summaries;
}

impl Handle {
    fn new(metric: &Metric, name: String, view: &Arc<Mutex<View>>) -> Result<Handle, prometheus::Error> {
        let opts = || Opts::new(&name, metric.help);
        Ok(match (metric.kind, metric.labels.is_empty()) {
            (Kind::Counter, true) => Handle::Counter(IntCounter::with_opts(opts())?),
            (Kind::Counter, false) => Handle::Counters(IntCounterVec::new(opts(), metric.labels)?.preset(metric)),
            (Kind::FloatCounter, _) => Handle::FloatCounter(Counter::with_opts(opts())?),
            (Kind::Gauge, true) => Handle::Gauge(IntGauge::with_opts(opts())?),
            (Kind::Gauge, false) => Handle::Gauges(IntGaugeVec::new(opts(), metric.labels)?.preset(metric)),
            (Kind::FloatGauge, true) => Handle::FloatGauge(Gauge::with_opts(opts())?),
            (Kind::FloatGauge, false) => Handle::FloatGauges(GaugeVec::new(opts(), metric.labels)?.preset(metric)),
            (Kind::Histogram(bounds), empty) => {
                let opts = HistogramOpts { common_opts: opts(), buckets: bounds.to_vec() };
                match empty {
                    true => Handle::Histogram(Histogram::with_opts(opts)?),
                    false => Handle::Histograms(HistogramVec::new(opts, metric.labels)?.preset(metric)),
                }
            }
            (Kind::Summary, _) => Handle::Summaries(Summaries::new(name, metric.help, metric.labels, view.clone())?),
        })
    }
}

/// Makes the label values that show before anything happened.
trait Presets: Sized {
    fn touch(&self, values: &[&str]);

    fn preset(self, metric: &Metric) -> Self {
        match metric.preset {
            Preset::None => {}
            Preset::Rows(rows) => rows.iter().for_each(|row| self.touch(row)),
            Preset::Product(lists) => product(lists, &mut Vec::new(), &mut |row| self.touch(row)),
        }
        self
    }
}

impl<T: prometheus::core::MetricVecBuilder> Presets for prometheus::core::MetricVec<T> {
    fn touch(&self, values: &[&str]) {
        self.with_label_values(values);
    }
}

fn product<'a>(lists: &[&[&'a str]], row: &mut Vec<&'a str>, each: &mut dyn FnMut(&[&str])) {
    let Some((first, rest)) = lists.split_first() else { return each(row) };
    for value in *first {
        row.push(value);
        product(rest, row, each);
        row.pop();
    }
}
