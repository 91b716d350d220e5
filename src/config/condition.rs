//! Conditions: which processes a directive is for. Decided when a process starts, execs or gains its
//! container or pod metadata, never per event. Regular expressions are compiled once, with bounds.

use std::fmt;
use std::str::FromStr;

use regex::bytes::{Regex, RegexBuilder};

use super::units;
use crate::process::Process;

/// A validated condition. Equal when written equally.
#[derive(Clone, PartialEq, Debug)]
pub enum Condition {
    /// The field has this value; a label field has this `key` or `key=value`.
    Equal(Field, String),
    /// The field matches; a label field has a label whose `key=value` matches.
    Regex(Field, Pattern),
    And(Vec<Condition>),
    Or(Vec<Condition>),
    Not(Box<Condition>),
}

impl Condition {
    /// Whether the directive wants this process. What hangs on metadata that is not known yet does
    /// not match, not under a `not` either: a condition may only narrow.
    pub fn matches(&self, process: &Process) -> bool {
        self.decide(process) == Some(true)
    }

    /// The same, with None while it hangs on container or pod metadata that is still to come.
    pub fn decide(&self, process: &Process) -> Option<bool> {
        match self {
            Condition::Equal(field, value) => field.test(process, &|found| found == value.as_bytes(), Some(value)),
            Condition::Regex(field, pattern) => field.test(process, &|found| pattern.is_match(found), None),
            Condition::And(all) => fold(all, process, false),
            Condition::Or(any) => fold(any, process, true),
            Condition::Not(condition) => condition.decide(process).map(|matched| !matched),
        }
    }

    /// Whether it asks for names or labels of containers or pods, which the API server tells.
    pub fn needs_metadata(&self) -> bool {
        self.any_field(&|field| field.is_metadata())
    }

    /// Whether it asks for anything of containers or pods, their ids included.
    pub fn needs_container(&self) -> bool {
        self.any_field(&|field| field.is_metadata() || matches!(field, Field::ContainerId | Field::PodId))
    }

    /// Whether a change of comm can change the decision.
    pub fn needs_name(&self) -> bool {
        self.any_field(&|field| field == Field::Name)
    }

    fn any_field(&self, test: &dyn Fn(Field) -> bool) -> bool {
        match self {
            Condition::Equal(field, _) | Condition::Regex(field, _) => test(*field),
            Condition::And(list) | Condition::Or(list) => list.iter().any(|condition| condition.any_field(test)),
            Condition::Not(condition) => condition.any_field(test),
        }
    }
}

/// `deciding` is the value that settles the whole; without it, an unknown part leaves it unknown.
fn fold(list: &[Condition], process: &Process, deciding: bool) -> Option<bool> {
    let mut result = Some(!deciding);
    for condition in list {
        match condition.decide(process) {
            Some(value) if value == deciding => return Some(deciding),
            Some(_) => {}
            None => result = None,
        }
    }
    result
}

/// What a condition may ask of a process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Field {
    Pid,
    Name,
    Exe,
    Cmd,
    Uid,
    ContainerId,
    ContainerName,
    ContainerLabel,
    PodId,
    PodName,
    PodNamespace,
    PodLabel,
}

impl Field {
    /// Every field with its name in a configuration.
    pub const ALL: &'static [(&'static str, Field)] = &[
        ("process.pid", Field::Pid),
        ("process.name", Field::Name),
        ("process.exe", Field::Exe),
        ("process.cmd", Field::Cmd),
        ("process.uid", Field::Uid),
        ("container.id", Field::ContainerId),
        ("container.name", Field::ContainerName),
        ("container.label", Field::ContainerLabel),
        ("pod.id", Field::PodId),
        ("pod.name", Field::PodName),
        ("pod.namespace", Field::PodNamespace),
        ("pod.label", Field::PodLabel),
    ];

    pub fn name(self) -> &'static str {
        Field::ALL.iter().find(|(_, field)| *field == self).map_or("", |(name, _)| name)
    }

    /// Checks that a process could ever have this value: pids and uids are numbers.
    pub fn check(self, value: &str) -> Result<(), String> {
        match self {
            Field::Pid | Field::Uid => match units::digits(value).filter(|&number| number <= u64::from(u32::MAX)) {
                Some(number) if number.to_string() == value => Ok(()),
                _ => Err(format!("{} is a number; {value:?} is not", self.name())),
            },
            Field::Name if value.len() > COMM => {
                Err(format!("process.name is at most {COMM} bytes long (the kernel cuts it); {value:?} never matches"))
            }
            _ if value.is_empty() => Err(format!("{} is never empty", self.name())),
            _ => Ok(()),
        }
    }

    fn is_metadata(self) -> bool {
        use Field::*;
        matches!(self, ContainerName | ContainerLabel | PodName | PodNamespace | PodLabel)
    }

    /// Whether the field passes. `label` is what an equality wants of a label, as `key` or `key=value`.
    fn test(self, process: &Process, passes: &dyn Fn(&[u8]) -> bool, label: Option<&str>) -> Option<bool> {
        let text = |value: Option<&str>| value.map(|value| passes(value.as_bytes()));
        let labels = |known: bool, labels: &[(String, String)]| known.then(|| any_label(labels, passes, label));
        // A process in no container or pod will not gain one; one whose name is missing may yet.
        let container = process.container.as_deref();
        let pod = process.pod.as_deref();
        match self {
            Field::Pid => Some(number(process.pid, passes)),
            Field::Uid => process.uid.map(|uid| number(uid, passes)),
            Field::Name => Some(passes(&process.name)),
            Field::Exe => Some(passes(&process.exe)),
            Field::Cmd => Some(command_line(&process.cmd, passes)),
            Field::ContainerId => text(Some(container.map_or("", |container| &container.id))),
            Field::ContainerName => container.map_or(Some(false), |container| text(container.name.as_deref())),
            Field::ContainerLabel => {
                container.map_or(Some(false), |container| labels(container.name.is_some(), &container.labels))
            }
            Field::PodId => text(Some(pod.map_or("", |pod| &pod.id))),
            Field::PodName => pod.map_or(Some(false), |pod| text(pod.name.as_deref())),
            Field::PodNamespace => pod.map_or(Some(false), |pod| text(pod.namespace.as_deref())),
            Field::PodLabel => pod.map_or(Some(false), |pod| labels(pod.name.is_some(), &pod.labels)),
        }
    }
}

impl FromStr for Field {
    type Err = ();

    fn from_str(text: &str) -> Result<Field, ()> {
        Field::ALL.iter().find(|(name, _)| *name == text).map(|(_, field)| *field).ok_or(())
    }
}

/// A regular expression with bounds on its text and its compiled size, matched in linear time.
/// Equal when written equally.
#[derive(Clone)]
pub struct Pattern(Regex);

impl Pattern {
    /// The error is one sentence that names what is wrong with the text.
    pub fn new(text: &str) -> Result<Pattern, String> {
        if text.len() > PATTERN_TEXT {
            return Err(format!("a regular expression has at most {PATTERN_TEXT} bytes, this one {}", text.len()));
        }
        RegexBuilder::new(text)
            .size_limit(PATTERN_SIZE)
            .dfa_size_limit(PATTERN_SIZE)
            .nest_limit(PATTERN_NESTING)
            .build()
            .map(Pattern)
            .map_err(|error| match error {
                regex::Error::CompiledTooBig(_) => format!("the regular expression {text:?} grows too large"),
                error => {
                    let reason = error.to_string();
                    let reason = reason.lines().last().unwrap_or_default();
                    format!("{text:?} is not a regular expression: {}", reason.trim_start_matches("error: "))
                }
            })
    }

    pub fn is_match(&self, bytes: &[u8]) -> bool {
        self.0.is_match(bytes)
    }

    pub fn regex(&self) -> &Regex {
        &self.0
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_str().fmt(f)
    }
}

fn any_label(labels: &[(String, String)], passes: &dyn Fn(&[u8]) -> bool, wanted: Option<&str>) -> bool {
    match wanted.map(|wanted| wanted.split_once('=').map_or((wanted, None), |(key, value)| (key, Some(value)))) {
        Some((key, value)) => labels.iter().any(|(k, v)| k == key && value.is_none_or(|value| v == value)),
        None => labels.iter().any(|(key, value)| passes(format!("{key}={value}").as_bytes())),
    }
}

/// Passes a number on as its decimal digits, without allocating.
fn number(value: u32, passes: &dyn Fn(&[u8]) -> bool) -> bool {
    let mut digits = [0; 10];
    let mut at = digits.len();
    let mut rest = value;
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            return passes(&digits[at..]);
        }
    }
}

/// Passes argv on as one line, its arguments parted by spaces, without allocating.
fn command_line(cmd: &[u8], passes: &dyn Fn(&[u8]) -> bool) -> bool {
    let cmd = cmd.strip_suffix(b"\0").unwrap_or(cmd);
    let cmd = &cmd[..cmd.len().min(ARGV)];
    let mut line = [0; ARGV];
    for (to, &from) in line.iter_mut().zip(cmd) {
        *to = if from == 0 { b' ' } else { from };
    }
    passes(&line[..cmd.len()])
}

/// What the kernel keeps of a name: TASK_COMM_LEN without the zero byte.
const COMM: usize = 15;
/// What is kept of argv (`Process::cmd`).
const ARGV: usize = 4096;
const PATTERN_TEXT: usize = 4096;
const PATTERN_SIZE: usize = 1 << 20;
const PATTERN_NESTING: u32 = 64;
