//! What the agent tells about itself on /directives and on the page. The agent fills it when it is asked.

use std::borrow::Cow;

use serde::{Serialize, Serializer};

use crate::pipeline::{End, State};
use crate::time::Timestamp;

/// The answer of /directives.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    #[serde(rename = "tawonID")]
    pub tawon_id: String,
    pub hostname: String,
    pub version: &'static str,
    pub revision: &'static str,
    pub started_at: Timestamp,
    /// When this answer was made.
    pub now: Timestamp,
    pub ready: bool,
    pub config: Config,
    pub directives: Vec<Directive>,
    /// What was lost anywhere, by the metric that counts it; those at 0 too.
    pub losses: Counts,
}

/// The configuration that runs, and whether the one on disk could be taken.
#[derive(Clone, Default, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Config {
    /// The file; None for `run`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// When it was last read with success.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loaded_at: Option<Timestamp>,
    /// What is wrong with the one on disk, if the last reading failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    pub restart_required: bool,
}

/// One directive.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Directive {
    pub name: String,
    /// The file, and line where known, that states it; None for the command line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    #[serde(serialize_with = "state_name")]
    pub state: State,
    /// How the last run ended; None before the first end.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "end_name")]
    pub status: Option<End>,
    /// When it came into this state.
    pub since: Timestamp,
    /// When it starts, if it is scheduled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub starts_at: Option<Timestamp>,
    /// When it ends, if that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<Timestamp>,
    /// When it is tried again, if it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_try_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    pub runs: Runs,
    /// In the pipeline's order, the source first.
    pub tasks: Vec<Task>,
    /// Of the whole directive: records emitted and the like.
    pub counts: Counts,
}

/// Ended runs, by how they ended.
#[derive(Clone, Copy, Default, Debug, Serialize)]
pub struct Runs {
    pub completed: u64,
    pub stopped: u64,
    pub failed: u64,
}

/// One task of a directive.
#[derive(Clone, Debug, Serialize)]
pub struct Task {
    pub task: String,
    pub counts: Counts,
}

/// Named counts, written as an object in this order.
#[derive(Clone, Default, Debug)]
pub struct Counts(pub Vec<(Cow<'static, str>, u64)>);

impl Counts {
    pub fn set(&mut self, name: impl Into<Cow<'static, str>>, count: u64) {
        self.0.push((name.into(), count));
    }
}

impl Serialize for Counts {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.0.iter().map(|(name, count)| (name, count)))
    }
}

fn end_name<S: Serializer>(end: &Option<End>, to: S) -> Result<S::Ok, S::Error> {
    end.map(End::name).serialize(to)
}

fn state_name<S: Serializer>(state: &State, to: S) -> Result<S::Ok, S::Error> {
    state.name().serialize(to)
}
