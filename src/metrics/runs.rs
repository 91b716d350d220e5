//! What is counted when a directive run ends, and the state that each directive is in.

use std::time::Duration;

use prometheus::{IntCounterVec, IntGaugeVec};

use super::Metrics;
use super::names::Names;
use super::summary::Summaries;
use crate::pipeline::{End, State};
use crate::time::Instant;

/// The run metrics of one agent.
pub struct Runs {
    tawon_id: String,
    directives: IntCounterVec,
    directive_seconds: Summaries,
    tasks: IntCounterVec,
    task_seconds: Summaries,
    runs: IntCounterVec,
    /// Of the directives in `runs`.
    names: Names,
    states: IntGaugeVec,
}

/// How one task of a directive run ended.
#[derive(Clone, Copy, Debug)]
pub struct TaskRun<'a> {
    /// Its name as in the pipeline.
    pub task: &'a str,
    pub end: End,
    pub took: Duration,
}

impl Runs {
    /// `tawon_id` is the configured one: the label `tawonID`.
    pub fn new(metrics: &Metrics, tawon_id: &str) -> Runs {
        let runs = Runs {
            tawon_id: tawon_id.to_owned(),
            directives: metrics.counters("directives_ran_total"),
            directive_seconds: metrics.summaries("directive_duration_seconds"),
            tasks: metrics.counters("tasks_ran_total"),
            task_seconds: metrics.summaries("task_duration_seconds"),
            runs: metrics.counters("tawon_directive_runs_total"),
            names: metrics.directives.clone(),
            states: metrics.gauges("tawon_directive_state"),
        };
        runs.directive_seconds.touch(&[&runs.tawon_id]);
        for end in End::ALL {
            runs.directives.with_label_values(&[runs.tawon_id.as_str(), end.name()]);
        }
        runs
    }

    /// Shows the series of a directive that is configured, at 0 if it never ran.
    pub fn configured<'a>(&self, directive: &str, tasks: impl IntoIterator<Item = &'a str>) {
        let directive = self.names.label(directive);
        for end in End::ALL {
            self.runs.with_label_values(&[directive, end.name()]);
        }
        for task in tasks {
            self.task_seconds.touch(&[&self.tawon_id, task]);
            for end in End::ALL {
                self.tasks.with_label_values(&[task, end.name(), &self.tawon_id]);
            }
        }
    }

    /// Says which state a directive is in; None where it is no longer configured.
    pub fn state(&self, directive: &str, state: Option<State>) {
        for each in State::ALL {
            let labels = [directive, each.name()];
            match state {
                Some(state) => self.states.with_label_values(&labels).set(i64::from(state == each)),
                // An error says that it was not there.
                None => drop(self.states.remove_label_values(&labels)),
            }
        }
    }

    /// Counts a run that has ended at `now`.
    pub fn ended(&self, directive: &str, end: End, took: Duration, tasks: &[TaskRun<'_>], now: Instant) {
        self.runs.with_label_values(&[self.names.label(directive), end.name()]).inc();
        self.directives.with_label_values(&[self.tawon_id.as_str(), end.name()]).inc();
        self.directive_seconds.observe(&[&self.tawon_id], took.as_secs_f64(), now);
        for run in tasks {
            self.tasks.with_label_values(&[run.task, run.end.name(), &self.tawon_id]).inc();
            self.task_seconds.observe(&[&self.tawon_id, run.task], run.took.as_secs_f64(), now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_that_come_and_go_leave_a_bounded_number_of_series_and_no_count_is_lost() {
        let metrics = Metrics::new("").unwrap();
        let runs = Runs::new(&metrics, "node-7");
        let replace = |name: &str| {
            runs.configured(name, ["exec", "log"]);
            runs.state(name, Some(State::Running));
            runs.ended(name, End::Stopped, Duration::from_secs(1), &[], Instant(1));
            runs.state(name, None);
        };
        (0..300).for_each(|at| replace(&format!("d{at}")));
        replace("d0");
        replace("d299");
        let families = metrics.gather();
        let series = |name: &str| families.iter().find(|family| family.name() == name).map(|it| it.get_metric().len());
        assert_eq!(series("tawon_directive_runs_total"), Some((256 + 1) * End::ALL.len()));
        assert_eq!(series("tawon_directive_state"), None);
        let counted = metrics.counters("tawon_directive_runs_total");
        let stopped = |name: &str| counted.with_label_values(&[name, "stopped"]).get();
        assert_eq!((stopped("d0"), stopped("d255"), stopped("other")), (2, 1, 300 - 256 + 1));
    }
}
