//! What `tawon run` tells at its end: counts and losses, and whether it failed.

use std::fmt::Write as _;

use super::event_loop::Agent;
use crate::pipeline::{End, Pipeline};

/// How a run of one directive went.
pub struct Summary {
    /// Lines for standard error.
    pub text: String,
    pub failure: Option<Failure>,
}

/// Whose fault it was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failure {
    /// The kernel or the privileges do not allow it.
    Forbidden,
    /// It failed while it ran.
    Running,
}

impl Agent {
    pub fn summary(&self) -> Summary {
        let mut text = String::new();
        let mut failure = None;
        for slot in &self.slots {
            // Asked to end twice, it does not wait for its run's end.
            let pipeline = self.pipeline(slot);
            let open = if pipeline.is_some() { "broken off" } else { "not run" };
            let ended = slot.last_end.map_or(open, End::name);
            let events = slot.events + pipeline.map_or(0, Pipeline::events);
            // Writing into memory cannot fail.
            let _ = write!(text, "tawon: {ended}, {events} events");
            for (task, counted) in slot.directive.tasks.iter().zip(&slot.counted) {
                for (name, count) in counted {
                    let _ = write!(text, ", {} {name} {count}", task.spec.name);
                }
            }
            text.push('\n');
            if slot.last_end == Some(End::Failed) {
                failure = Some(if slot.forbidden { Failure::Forbidden } else { Failure::Running });
                let _ = writeln!(text, "tawon: {}", slot.life.error().unwrap_or("failed"));
            }
        }
        for (name, lost) in self.losses().0.iter().filter(|(_, lost)| *lost > 0) {
            let _ = writeln!(text, "tawon: lost: {name} {lost}");
        }
        Summary { text, failure }
    }
}
