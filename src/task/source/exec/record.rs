//! The `exec` record.

use schemars::JsonSchema;
use serde::Serialize;

use crate::pipeline::Record;
use crate::process::metadata::{Arguments, ContainerView, Meta, PodView, ProcessView, Text};
use crate::process::{Process, metadata};
use crate::task::Kind;
use crate::task::record::json_into;
use crate::time::Timestamp;

/// A process (or, with `threads`, a thread) that started or ended.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExecRecord<'a> {
    pub state: State,
    pub ts_ns: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<ProcessView<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub args: Option<Arguments<'a>>,
    /// Whether `args` is only the first 4 KiB.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal: Option<u8>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub core_dumped: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<Parent<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<ContainerView<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<PodView<'a>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Started,
    Ended,
}

/// The parent as it was known when the record was made.
#[derive(Serialize, JsonSchema)]
pub struct Parent<'a> {
    pub pid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exe: Option<Text<'a>>,
}

/// How a process ended, as wait(2) tells it.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Status {
    pub exit_code: Option<u8>,
    pub signal: Option<u8>,
    pub core_dumped: bool,
}

impl Status {
    /// WIFEXITED, WEXITSTATUS, WTERMSIG, WCOREDUMP.
    pub fn parse(status: i32) -> Status {
        match (status & 0x7f) as u8 {
            0 => Status { exit_code: Some((status >> 8) as u8), ..Status::default() },
            signal => Status { signal: Some(signal), core_dumped: status & 0x80 != 0, exit_code: None },
        }
    }
}

impl<'a> ExecRecord<'a> {
    /// What start and end have in common.
    pub fn new(
        state: State,
        at: Timestamp,
        process: &'a Process,
        tid: Option<u32>,
        parent: Option<&'a Process>,
        meta: Meta,
    ) -> ExecRecord<'a> {
        ExecRecord {
            state,
            ts_ns: at.0,
            process: metadata::process(process, tid, meta),
            args: (!process.cmd.is_empty()).then_some(Arguments(process)),
            truncated: process.cmd_truncated,
            started_at: (process.started_at != 0).then_some(Timestamp(process.started_at)),
            ended_at: None,
            duration_us: None,
            exit_code: None,
            signal: None,
            core_dumped: false,
            parent: (process.ppid != 0).then(|| Parent {
                pid: process.ppid,
                name: parent.and_then(|parent| Text::new(&parent.name)),
                exe: parent.and_then(|parent| Text::new(&parent.exe)),
            }),
            container: metadata::container(process, meta),
            pod: metadata::pod(process, meta),
        }
    }
}

impl Record for ExecRecord<'_> {
    fn kind(&self) -> Kind {
        Kind::Exec
    }

    fn json(&self, out: &mut Vec<u8>) {
        json_into(self, out);
    }

    fn text(&self, out: &mut Vec<u8>) {
        use std::io::Write as _;
        // Writing into memory cannot fail.
        let _ = match self.state {
            State::Started => write!(out, "started"),
            State::Ended => write!(out, "ended"),
        };
        if let Some(view) = &self.process {
            let name = String::from_utf8_lossy(&view.process.name);
            let _ = write!(out, " {name}[{}]", view.process.pid);
        }
        if let Some(parent) = &self.parent {
            let _ = write!(out, " ppid={}", parent.pid);
        }
        if let Some(code) = self.exit_code {
            let _ = write!(out, " exit={code}");
        }
        if let Some(signal) = self.signal {
            let _ = write!(out, " signal={signal}{}", if self.core_dumped { " core" } else { "" });
        }
        if let Some(us) = self.duration_us {
            let _ = write!(out, " duration={}.{:03}ms", us / 1000, us % 1000);
        }
        if let (State::Started, Some(Arguments(process))) = (self.state, &self.args) {
            out.extend_from_slice(b" :");
            for arg in process.args() {
                let _ = write!(out, " {}", String::from_utf8_lossy(arg).escape_debug());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_status_is_told_apart() {
        assert_eq!(Status::parse(0), Status { exit_code: Some(0), ..Status::default() });
        assert_eq!(Status::parse(3 << 8), Status { exit_code: Some(3), ..Status::default() });
        assert_eq!(Status::parse(9), Status { signal: Some(9), ..Status::default() });
        assert_eq!(Status::parse(11 | 0x80), Status { signal: Some(11), core_dumped: true, exit_code: None });
    }
}
