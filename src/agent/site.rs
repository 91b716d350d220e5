//! What the agent shows over HTTP.

use super::directive::{Now, State};
use super::event_loop::Agent;
use super::slot::{Place, Slot};
use crate::config::files::Refused;
use crate::http::routes;
use crate::http::status::{Config, Counts, Directive, Status, Task};
use crate::metrics::{REVISION, VERSION};
use crate::pipeline::Pipeline;
use crate::time::{Instant, Timestamp};

/// The agent at one moment.
pub struct Site<'a> {
    pub agent: &'a mut Agent,
    pub now: Now,
}

impl routes::Site for Site<'_> {
    fn metrics(&mut self, out: &mut Vec<u8>) {
        self.agent.refresh();
        self.agent.shared.metrics.text(self.now.mono, out);
    }

    fn ready(&self) -> Result<(), String> {
        let unsettled = |slot: &&Slot| {
            !slot.leaving && (!slot.life.is_settled(self.now) || matches!(slot.place, Place::Waiting(..)))
        };
        match self.agent.slots.iter().find(unsettled) {
            Some(slot) => Err(format!("directive {} is not running yet", slot.directive.name)),
            None if self.agent.sources.is_deciding() => Err("who is watched is still being decided".to_owned()),
            None if self.agent.sources.flows.expects_existing() => {
                Err("sockets that are older than the agent are still looked for".to_owned())
            }
            None => Ok(()),
        }
    }

    fn status(&mut self) -> Status {
        self.agent.refresh();
        let ready = self.ready().is_ok();
        let agent = &*self.agent;
        let mut directives: Vec<Directive> =
            agent.slots.iter().filter(|slot| !slot.leaving).map(|slot| self.directive(slot)).collect();
        directives.extend(self.refused());
        Status {
            tawon_id: agent.shared.tawon_id.to_string(),
            hostname: agent.shared.hostname.to_string(),
            version: VERSION,
            revision: REVISION,
            started_at: agent.started_at,
            now: self.now.wall,
            ready,
            config: Config {
                path: agent.setup.path.as_ref().map(|path| path.display().to_string()),
                loaded_at: agent.disk.loaded_at,
                error: agent.disk.error.clone(),
                restart_required: agent.disk.restart_required,
            },
            directives,
            losses: agent.losses(),
        }
    }
}

impl Site<'_> {
    fn directive(&self, slot: &Slot) -> Directive {
        let life = &slot.life;
        let on_wall = |at: Instant| Timestamp(self.now.wall.0.saturating_add(at.0.saturating_sub(self.now.mono.0)));
        let state = life.state();
        let deadline = life.deadline(self.now).map(on_wall);
        let error = life
            .error()
            .filter(|_| slot.last_end == Some(crate::pipeline::End::Failed) || !matches!(state, State::Ended(_)))
            .map(str::to_owned);
        // Its file may be wrong now, so that this is its last good form.
        let of_file = |refused: &&Refused| slot.origin.as_ref() == Some(&refused.file.display().to_string());
        let refused = self.agent.disk.refused.iter().find(of_file);
        let refused = || refused.map(|refused| format!("its file is refused: {}", super::one_line(&refused.problems)));
        let error = error.or_else(refused);
        let mut tasks: Vec<Task> = slot
            .directive
            .tasks
            .iter()
            .zip(&slot.counted)
            .map(|(task, counted)| Task {
                task: task.spec.name.to_owned(),
                counts: Counts(counted.iter().map(|(name, count)| ((*name).into(), *count)).collect()),
            })
            .collect();
        if let Some(pipeline) = self.agent.pipeline(slot) {
            pipeline.counts(&mut |at, name, count| {
                if let Some(task) = tasks.get_mut(at + 1) {
                    match task.counts.0.iter_mut().find(|(known, _)| known == name) {
                        Some((_, total)) => *total += count,
                        None => task.counts.set(name, count),
                    }
                }
            });
        }
        let mut counts = Counts::default();
        counts.set("events", slot.events + self.agent.pipeline(slot).map_or(0, Pipeline::events));
        Directive {
            name: slot.directive.name.clone(),
            origin: slot.origin.clone(),
            state: state.shown(),
            status: if let State::Ended(end) = state { Some(end) } else { slot.last_end },
            since: life.since(),
            starts_at: deadline.filter(|_| state == State::Scheduled),
            ends_at: deadline.filter(|_| matches!(state, State::Running { .. })),
            next_try_at: deadline.filter(|_| matches!(state, State::Ended(_))),
            last_error: error,
            runs: slot.runs,
            tasks,
            counts,
        }
    }

    /// Directives of files that are wrong, and that have no last good form.
    fn refused(&self) -> Vec<Directive> {
        let agent = &*self.agent;
        let runs = |name: &str| agent.slots.iter().any(|slot| !slot.leaving && slot.directive.name == name);
        let mut directives = Vec::new();
        for refused in &agent.disk.refused {
            let file = refused.file.display().to_string();
            let mut names: Vec<&str> = refused.names.iter().map(String::as_str).filter(|name| !runs(name)).collect();
            // A file that could not be read at all, or says only what others say, stands for itself.
            if names.is_empty() && !agent.slots.iter().any(|slot| slot.origin.as_ref() == Some(&file)) {
                names.push(&file);
            }
            for name in names {
                directives.push(Directive {
                    name: name.to_owned(),
                    origin: Some(file.clone()),
                    state: crate::pipeline::State::Ended,
                    status: Some(crate::pipeline::End::Failed),
                    since: agent.disk.loaded_at.unwrap_or(agent.started_at),
                    starts_at: None,
                    ends_at: None,
                    next_try_at: None,
                    last_error: Some(super::one_line(&refused.problems)),
                    runs: Default::default(),
                    tasks: Vec::new(),
                    counts: Counts::default(),
                });
            }
        }
        directives
    }
}

impl Agent {
    /// Brings everything that follows other counters up to date.
    pub(super) fn refresh(&mut self) {
        self.sources.refresh();
        for slot in &mut self.slots {
            if let Place::Capture(run) = &mut slot.place {
                // New interfaces wait for the next second: their descriptors have to be polled.
                run.capture.count_drops();
            }
        }
    }

    /// Everything that was lost, by the metric that counts it.
    pub fn losses(&self) -> Counts {
        let mut losses = Counts::default();
        let metrics = &self.shared.metrics;
        for name in ["exec_msgs_lost", "flow_msgs_lost"] {
            losses.set(name, metrics.counter(name).get());
        }
        for (name, dropped) in self.dropped() {
            losses.set(name, dropped);
        }
        losses
    }

    /// Sums of the labelled counters that say something was lost.
    fn dropped(&self) -> Vec<(&'static str, u64)> {
        let mut sums = vec![
            ("tawon_bpf_errors_total", 0),
            ("tawon_capture_dropped_total", 0),
            ("tawon_table_evictions_total", 0),
            ("tawon_sink_records_total", 0),
        ];
        for family in self.shared.metrics.gather() {
            let Some((name, sum)) = sums.iter_mut().find(|(name, _)| *name == family.name()) else { continue };
            for metric in family.get_metric() {
                let written = metric.get_label().iter().any(|label| label.value() == "written");
                if *name != "tawon_sink_records_total" || !written {
                    *sum += metric.get_counter().get_value() as u64;
                }
            }
        }
        for (name, _) in &mut sums {
            if *name == "tawon_sink_records_total" {
                *name = "tawon_sink_records_total{status=\"dropped\"}";
            }
        }
        sums
    }

    /// What the programs that run do not see.
    pub fn degraded(&self) -> Vec<String> {
        self.sources.degraded()
    }
}
