//! `tawon doctor`: what this kernel and this process's privileges allow, task by task. It loads and
//! attaches what each source would, and lets it go again: what it says was tried.

use clap::Args;
use serde::Serialize;

use super::{Exit, print};
use crate::agent::loader::Hooks;
use crate::agent::plans;
use crate::kernel::features::{self, Features};
use crate::kernel::load::{Module, Shared, Sizes};
use crate::kernel::messages;
use crate::task::source::capture::live;
use crate::task::{Build, Source, TASKS};

/// Tell what this kernel and the privileges allow: each task ok, degraded or unavailable, and the way out.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  tawon doctor\n  tawon doctor --json\n  setpriv --bounding-set -net_admin tawon doctor    with other privileges"
)]
pub struct Arguments {
    /// One JSON object instead of text.
    #[arg(long)]
    json: bool,
}

/// The report.
#[derive(Serialize)]
struct Report {
    kernel: String,
    #[serde(rename = "perfEventParanoid", skip_serializing_if = "Option::is_none")]
    perf_event_paranoid: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lockdown: Option<String>,
    /// What keeps kernel sources from running, or makes them see less, with the way out.
    findings: Vec<String>,
    tasks: Vec<Finding>,
}

#[derive(Serialize)]
struct Finding {
    task: &'static str,
    state: State,
    /// Which way of hooking is used.
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<&'static str>,
    /// What is missed, or why it cannot run.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    Degraded,
    Unavailable,
}

impl State {
    const fn name(self) -> &'static str {
        match self {
            State::Ok => "ok",
            State::Degraded => "degraded",
            State::Unavailable => "unavailable",
        }
    }
}

pub fn main(arguments: &Arguments) -> Exit {
    let features = Features::read();
    let mut shared = Shared::default();
    let tasks = TASKS
        .iter()
        .map(|spec| match spec.build {
            Build::Source(Source::Exec) => hooks(spec.name, Hooks::Exec, &features, &mut shared),
            Build::Source(Source::Flows) => hooks(spec.name, Hooks::Flows, &features, &mut shared),
            Build::Source(Source::Capture) => capture(spec.name, &features),
            _ => Finding { task: spec.name, state: State::Ok, by: None, reasons: Vec::new() },
        })
        .collect();
    let report = Report {
        kernel: features.release.clone(),
        perf_event_paranoid: features.perf_event_paranoid,
        lockdown: features.lockdown.clone(),
        findings: features.obstacles().into_iter().chain(features.shortcomings()).collect(),
        tasks,
    };
    match arguments.json {
        true => print(&(serde_json::to_string_pretty(&report).unwrap_or_default() + "\n")),
        false => print(&text(&report)),
    }
}

fn text(report: &Report) -> String {
    let mut text = format!("kernel {}\n", report.kernel);
    for finding in &report.findings {
        text += &format!("  {finding}\n");
    }
    for Finding { task, state, by, reasons } in &report.tasks {
        let by = by.map(|by| format!(" by {by}")).unwrap_or_default();
        text += &format!("{task:<14}{}{by}\n", state.name());
        for reason in reasons {
            text += &format!("{:<16}{reason}\n", "");
        }
    }
    text
}

/// Loads and attaches what a kernel source is made of.
fn hooks(task: &'static str, hooks: Hooks, features: &Features, shared: &mut Shared) -> Finding {
    let sizes = Sizes {
        pages: 4,
        wakeup: 1,
        ring_buffer: None,
        entries: vec![("tawon_watched", 1024), ("tawon_sockets", 1024), ("tawon_peers", 1024)],
    };
    match Module::load(plans::plan(hooks), &sizes, shared) {
        Ok(mut module) => {
            let reasons = module.missed();
            // What other ways of hooking said on the way is of no interest.
            messages::warnings();
            let state = if reasons.is_empty() { State::Ok } else { State::Degraded };
            let by = Some(module.variant.name);
            module.take_links().detach();
            Finding { task, state, by, reasons }
        }
        Err(error) => {
            let mut reasons = features.obstacles();
            reasons.push(error.to_string());
            let said = messages::warnings();
            if !said.is_empty() {
                reasons.push(said);
            }
            Finding { task, state: State::Unavailable, by: None, reasons }
        }
    }
}

/// Files can always be read; interfaces need a privilege.
fn capture(task: &'static str, features: &Features) -> Finding {
    let missing = features.missing(&[features::NET_RAW]);
    let mut reasons = Vec::new();
    if !missing.is_empty() {
        reasons.push("CAP_NET_RAW missing: only files can be read; grant it to capture from interfaces".to_owned());
    } else if let Err(error) = live::devices("all") {
        reasons.push(format!("only files can be read: {error}"));
    }
    let state = if reasons.is_empty() { State::Ok } else { State::Degraded };
    Finding { task, state, by: None, reasons }
}
