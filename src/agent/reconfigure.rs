//! Taking a configuration: the first, and at every reload the next. All of it is read and validated
//! before anything changes; what did not change is not touched.

use std::sync::mpsc::{Receiver, TryRecvError, channel};

use super::directive::Now;
use super::event_loop::{Agent, wanted};
use super::memory::share;
use super::reload;
use super::slot::Slot;
use super::{one_line, reload::Plan};
use crate::config::Problem;
use crate::config::files::{self, Loaded};
use crate::kernel::syscalls;
use crate::pipeline::{End, State};
use crate::process::redact::Redaction;

/// A configuration that is being read.
#[derive(Default)]
pub struct Reading {
    result: Option<Receiver<Result<Loaded, Vec<Problem>>>>,
    /// Asked for again meanwhile.
    again: bool,
}

impl Agent {
    /// Has the configuration read anew, by a thread: it may be large, and on a disk that is slow.
    /// `configuration_read` finds what came of it; the running one stays until then.
    pub(super) fn reload(&mut self) {
        let Some(path) = self.setup.path.clone() else { return };
        if self.reading.result.is_some() {
            // What has been read already may be older than what is asked for now.
            self.reading.again = true;
            return;
        }
        let (done, result) = channel();
        let waker = self.waker.clone();
        let thread = std::thread::Builder::new().name("configuration".to_owned());
        let spawned = thread.spawn(move || {
            syscalls::give_way();
            // Nobody listens any more once the loop has ended.
            let _ = done.send(files::load(&path, &files::default_tawon_id()));
            let _ = waker.wake();
        });
        match spawned {
            Ok(_) => self.reading.result = Some(result),
            Err(error) => self.refuse(format!("no thread to read it with: {error}")),
        }
    }

    /// Takes what was read. If anything in the main file is wrong, or an address cannot be listened on, the
    /// running configuration stays.
    pub(super) fn configuration_read(&mut self, now: Now) {
        let Some(result) = &self.reading.result else { return };
        let read = match result.try_recv() {
            Ok(read) => Some(read),
            Err(TryRecvError::Empty) => return,
            Err(TryRecvError::Disconnected) => None,
        };
        self.reading.result = None;
        if self.ending > 0 {
            return;
        }
        let taken = match read {
            // Cut to nothing, as while it is written in place or on a disk that is full: nobody wants that.
            Some(Ok(loaded)) if loaded.is_empty && !self.setup.loaded.is_empty => {
                Err("the file is empty; {} stands for a configuration that says nothing".to_owned())
            }
            Some(Ok(mut loaded)) => {
                loaded.keep_last_good(&self.setup.loaded);
                let plan = reload::plan(&self.config, loaded.config.clone());
                self.carry_out(plan, &loaded, now).map(|()| loaded)
            }
            Some(Err(problems)) => {
                for problem in &problems {
                    log::error!("configuration refused {}: {}", problem.place, problem.message);
                }
                Err(one_line(&problems))
            }
            None => Err("reading it did not come to an end".to_owned()),
        };
        match taken {
            Ok(loaded) => {
                self.settle(&loaded, now);
                let before = std::mem::replace(&mut self.setup.loaded, loaded);
                self.sources.free(before);
                let path = self.setup.path.clone().unwrap_or_default();
                log::info!("configuration taken path={}", path.display());
            }
            Err(error) => self.refuse(error),
        }
        if std::mem::take(&mut self.reading.again) {
            self.reload();
        }
    }

    fn refuse(&mut self, error: String) {
        log::error!("the running configuration stays error={error:?}");
        self.gauges.reload_successful.set(0);
        self.gauges.reloads.with_label_values(&["failure"]).inc();
        self.disk.error = Some(error);
    }

    /// Takes the configuration that the agent was started with.
    pub(super) fn take(&mut self, loaded: Loaded, now: Now) {
        let plan = reload::plan(&self.config, loaded.config.clone());
        // Listeners are bound already.
        if let Err(error) = self.carry_out(plan, &loaded, now) {
            log::error!("listening failed error={error:?}");
        }
        self.settle(&loaded, now);
    }

    fn settle(&mut self, loaded: &Loaded, now: Now) {
        for refused in &loaded.refused {
            for problem in &refused.problems {
                log::error!("directives refused {}: {}", problem.place, problem.message);
            }
        }
        self.disk.refused.clone_from(&loaded.refused);
        self.show_refused();
        self.disk.loaded_at = Some(now.wall);
        self.disk.error = None;
        self.gauges.reload_successful.set(1);
        self.gauges.reloaded_at.set(now.wall.0 as f64 / 1e9);
        self.gauges.reloads.with_label_values(&["success"]).inc();
        self.gauges.restart_required.set(self.disk.restart_required.into());
    }

    /// Directives of files that are wrong have ended, as far as their names can be read and nothing runs under these.
    fn show_refused(&mut self) {
        let runs = |name: &String| self.slots.iter().any(|slot| !slot.leaving && slot.directive.name == *name);
        let names = self.disk.refused.iter().flat_map(|refused| &refused.names).filter(|name| !runs(name));
        let shown: Vec<String> = names.take(MOST_REFUSED).cloned().collect();
        for name in self.disk.shown.iter().filter(|name| !shown.contains(name) && !runs(name)) {
            self.runs.state(name, None);
        }
        for name in &shown {
            self.runs.state(name, Some(State::Ended));
        }
        self.disk.shown = shown;
    }

    fn carry_out(&mut self, plan: Plan, loaded: &Loaded, now: Now) -> Result<(), String> {
        let Plan { stop, start, keep: _, changed, restart_required, config } = plan;
        if changed.listeners
            && let Some(server) = &mut self.server
        {
            server.listen(self.poll.registry(), &wanted(&config)).map_err(|error| error.to_string())?;
        }
        let before = std::mem::replace(&mut self.config, config);
        self.sources.free(before);
        self.disk.restart_required = restart_required;
        if changed.quantiles {
            self.shared.metrics.show_quantiles(&self.config.metrics.quantiles);
        }
        if changed.enable_stats {
            self.hold_statistics();
        }
        if changed.limits {
            self.sources.flows.set_limit(self.config.limits.flows);
            self.sources.processes.table.set_limit(self.config.limits.processes);
        }
        self.shared.memory = share(&loaded.config);
        if changed.redact {
            self.shared.redact = self.config.redact.clone().into();
            self.each_slot(|agent, slot| {
                let names = agent.shared.redact.clone();
                if let Some(pipeline) = agent.pipeline_mut(slot) {
                    pipeline.redact(&names);
                }
            });
            self.sources.processes.redaction = Redaction::new(self.config.redact_args.as_ref());
        }
        for slot in &mut self.slots {
            slot.leaving |= stop.contains(&slot.directive.name);
            // It may have been leaving before.
            slot.replaced |= slot.leaving && start.iter().any(|directive| directive.name == slot.directive.name);
        }
        // The new ones first, so that programs which both they and what ends want stay.
        for directive in start {
            let tasks = directive.tasks.iter().map(|task| task.spec.name);
            self.runs.configured(&directive.name, tasks);
            let origin = loaded.origins.get(&directive.name).map(|path| path.display().to_string());
            let mut slot = Slot::new(directive, origin, now);
            match slot.life.poll(now) {
                Some(_) => self.start(&mut slot, now),
                None => self.state(&slot),
            }
            self.slots.push(slot);
        }
        self.each_slot(|agent, slot| {
            if slot.leaving {
                agent.stop(slot, End::Stopped, now);
            } else if let Some(path) = loaded.origins.get(&slot.directive.name) {
                // It may have been moved to another file.
                slot.origin = Some(path.display().to_string());
            }
        });
        Ok(())
    }
}

/// Names of refused directives that have series: a file may hold any number.
const MOST_REFUSED: usize = 256;
