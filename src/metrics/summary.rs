//! Summaries: `_sum`, `_count` and quantiles over the newest runs. The client library has none, so
//! this is a collector that makes SUMMARY families.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus::core::{Collector, Desc};
use prometheus::proto::{LabelPair, Metric, MetricFamily, MetricType, Quantile, Summary};

use crate::time::Instant;

/// Runs that the quantiles are of: the newest of them that are younger than `WINDOW`.
pub const NEWEST: usize = 256;
pub const WINDOW: Duration = Duration::from_secs(24 * 3600);

/// One summary family: durations by label values. A handle; clones show the same.
#[derive(Clone)]
pub struct Summaries {
    desc: Arc<Desc>,
    labels: &'static [&'static str],
    series: Arc<Mutex<BTreeMap<Vec<String>, Series>>>,
    view: Arc<Mutex<View>>,
}

/// What all summaries of a registry are shown with.
#[derive(Default)]
pub(super) struct View {
    /// Ascending.
    pub quantiles: Vec<f64>,
    /// The time of the scrape: a collector is not given one.
    pub now: Instant,
}

#[derive(Default)]
struct Series {
    newest: VecDeque<(Instant, f64)>,
    sum: f64,
    count: u64,
}

impl Summaries {
    pub(super) fn new(
        name: String,
        help: &str,
        labels: &'static [&'static str],
        view: Arc<Mutex<View>>,
    ) -> Result<Summaries, prometheus::Error> {
        let names = labels.iter().map(|label| (*label).to_owned()).collect();
        let desc = Arc::new(Desc::new(name, help.to_owned(), names, HashMap::new())?);
        Ok(Summaries { desc, labels, series: Arc::default(), view })
    }

    /// Shows these label values with a sum and count of 0, if they are not there yet.
    pub fn touch(&self, values: &[&str]) {
        self.with(values, |_| ());
    }

    /// Adds one value at the time at which it came about.
    pub fn observe(&self, values: &[&str], value: f64, now: Instant) {
        self.with(values, |series| {
            series.sum += value;
            series.count += 1;
            if series.newest.len() == NEWEST {
                series.newest.pop_front();
            }
            series.newest.push_back((now, value));
        });
    }

    fn with(&self, values: &[&str], work: impl FnOnce(&mut Series)) {
        debug_assert_eq!(values.len(), self.labels.len());
        let values = values.iter().map(|value| (*value).to_owned()).collect();
        work(locked(&self.series).entry(values).or_default());
    }
}

impl Collector for Summaries {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let view = locked(&self.view);
        let series = locked(&self.series);
        let metrics = series.iter().map(|(values, series)| {
            let labels = self.labels.iter().zip(values).map(|(name, value)| {
                let mut pair = LabelPair::default();
                pair.set_name((*name).to_owned());
                pair.set_value(value.clone());
                pair
            });
            let mut metric = Metric::from_label(labels.collect());
            metric.set_summary(series.shown(&view));
            metric
        });
        let mut family = MetricFamily::default();
        family.set_name(self.desc.fq_name.clone());
        family.set_help(self.desc.help.clone());
        family.set_field_type(MetricType::SUMMARY);
        family.set_metric(metrics.collect());
        vec![family]
    }
}

impl Series {
    fn shown(&self, view: &View) -> Summary {
        let young = self.newest.iter().filter(|(at, _)| view.now.since(*at) < WINDOW);
        let mut values: Vec<f64> = young.map(|(_, value)| *value).collect();
        values.sort_by(f64::total_cmp);
        let quantiles = view.quantiles.iter().filter_map(|&quantile| {
            // Nearest rank: the smallest value that at least this share of the values does not exceed.
            let rank = (quantile * values.len() as f64).ceil() as usize;
            let value = *values.get(rank.saturating_sub(1))?;
            let mut shown = Quantile::default();
            shown.set_quantile(quantile);
            shown.set_value(value);
            Some(shown)
        });
        let mut summary = Summary::default();
        summary.set_sample_sum(self.sum);
        summary.set_sample_count(self.count);
        summary.set_quantile(quantiles.collect());
        summary
    }
}

/// What is behind these locks is whole after every statement, so a panic elsewhere spoils nothing.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn family(quantiles: &[f64]) -> (Summaries, Arc<Mutex<View>>) {
        let view = Arc::new(Mutex::new(View { quantiles: quantiles.to_vec(), now: Instant(0) }));
        (Summaries::new("d_seconds".to_owned(), "D.", &["id"], view.clone()).unwrap(), view)
    }

    fn shown(summaries: &Summaries) -> (Vec<(f64, f64)>, f64, u64) {
        let families = summaries.collect();
        let summary = families[0].get_metric()[0].get_summary();
        let quantiles = summary.get_quantile().iter().map(|shown| (shown.quantile(), shown.value()));
        (quantiles.collect(), summary.sample_sum(), summary.sample_count())
    }

    #[test]
    fn there_are_no_quantiles_before_the_first_run() {
        let (summaries, _) = family(&[0.5]);
        summaries.touch(&["a"]);
        assert_eq!(shown(&summaries), (vec![], 0.0, 0));
    }

    #[test]
    fn quantiles_are_of_the_newest_256_runs_and_sum_and_count_of_all() {
        let (summaries, view) = family(&[0.0, 0.5, 0.99, 1.0]);
        for value in 1..=1256 {
            summaries.observe(&["a"], f64::from(value), Instant(value as u64));
        }
        let quantiles = vec![(0.0, 1001.0), (0.5, 1128.0), (0.99, 1254.0), (1.0, 1256.0)];
        assert_eq!(shown(&summaries), (quantiles, (1256 * 1257 / 2) as f64, 1256));
        locked(&view).quantiles.clear();
        assert_eq!(shown(&summaries).0, vec![], "quantiles change live");
    }

    #[test]
    fn runs_older_than_a_day_leave_the_quantiles_alone() {
        let (summaries, view) = family(&[0.5]);
        summaries.observe(&["a"], 5.0, Instant(0));
        summaries.observe(&["a"], 7.0, Instant(0) + Duration::from_secs(3600));
        locked(&view).now = Instant(0) + WINDOW;
        assert_eq!(shown(&summaries), (vec![(0.5, 7.0)], 12.0, 2));
        locked(&view).now = Instant(0) + WINDOW + WINDOW;
        assert_eq!(shown(&summaries), (vec![], 12.0, 2));
    }
}
