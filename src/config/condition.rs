//! Conditions: which processes a directive is for. Decided when a process starts, execs or gains its
//! container or pod metadata, never per event. Regular expressions are compiled once, with bounds.

use std::fmt;
use std::io::Write;
use std::str::FromStr;
use std::sync::Arc;

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
                Some(number) => Err(format!("{} is written {number}, not {value:?}", self.name())),
                None => Err(format!("{} is a number from 0 to {}; {value:?} is not", self.name(), u32::MAX)),
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
pub struct Pattern(Arc<Regex>); // shared: a copy of a compiled one costs more than a pointer

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
            .map(|regex| Pattern(Arc::new(regex)))
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
        None => labels.iter().any(|(key, value)| {
            let mut label = [0; LABEL];
            let mut rest = &mut label[..];
            // A label longer than Kubernetes allows is matched as far as it fits.
            let _ = write!(rest, "{key}={value}");
            let left = rest.len();
            passes(&label[..LABEL - left])
        }),
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
/// A prefix of 253, a slash, a name of 63, `=` and a value of 63 (Kubernetes, labels and selectors).
const LABEL: usize = 512;
const PATTERN_TEXT: usize = 4096;
const PATTERN_SIZE: usize = 1 << 20;
const PATTERN_NESTING: u32 = 64;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::process::{Container, Pod};

    fn amf() -> Process {
        Process {
            pid: 4711,
            name: b"amf".to_vec(),
            exe: b"/opt/amf".to_vec(),
            cmd: b"amf\0--config\0/etc/amf.yaml\0".to_vec(),
            uid: Some(0),
            container: Some(Arc::new(Container {
                id: "c0ffee".to_owned(),
                name: Some("main".to_owned()),
                labels: vec![("tier".to_owned(), "core".to_owned())],
                ..Default::default()
            })),
            pod: Some(Arc::new(Pod {
                id: "uid-1".to_owned(),
                name: Some("amf-0".to_owned()),
                namespace: Some("core".to_owned()),
                labels: vec![("app".to_owned(), "amf".to_owned()), ("x".to_owned(), String::new())],
                ..Default::default()
            })),
            ..Default::default()
        }
    }

    fn equal(field: &str, value: &str) -> Condition {
        Condition::Equal(field.parse().unwrap(), value.to_owned())
    }

    fn regex(field: &str, text: &str) -> Condition {
        Condition::Regex(field.parse().unwrap(), Pattern::new(text).unwrap())
    }

    fn not(condition: Condition) -> Condition {
        Condition::Not(Box::new(condition))
    }

    #[test]
    fn every_field_is_compared_with_what_the_process_has() {
        for (field, value, other) in [
            ("process.pid", "4711", "471"),
            ("process.name", "amf", "am"),
            ("process.exe", "/opt/amf", "/opt/amf2"),
            ("process.cmd", "amf --config /etc/amf.yaml", "amf"),
            ("process.uid", "0", "1"),
            ("container.id", "c0ffee", "c0ffe"),
            ("container.name", "main", "amf"),
            ("container.label", "tier=core", "tier=edge"),
            ("container.label", "tier", "core"),
            ("pod.id", "uid-1", "uid"),
            ("pod.name", "amf-0", "amf"),
            ("pod.namespace", "core", "cor"),
            ("pod.label", "app=amf", "app=smf"),
            ("pod.label", "app", "ap"),
            ("pod.label", "x", "y"),
            ("pod.label", "x=", "app="),
        ] {
            assert!(equal(field, value).matches(&amf()), "{field}={value}");
            assert!(!equal(field, other).matches(&amf()), "{field}={other}");
            assert!(not(equal(field, other)).matches(&amf()), "not {field}={other}");
        }
        for (field, text, other) in [
            ("process.pid", "^47", "^11"),
            ("process.name", "^(amf|smf)$", "^mf"),
            ("process.cmd", "--config /etc", r"\x00"),
            ("process.uid", "^0$", "1"),
            ("container.label", "^tier=c", "^core"),
            ("pod.label", "^app=(amf|smf)$", "^amf"),
            ("pod.name", r"^amf-\d+$", "smf"),
        ] {
            assert!(regex(field, text).matches(&amf()), "{field}~{text}");
            assert!(!regex(field, other).matches(&amf()), "{field}~{other}");
        }
    }

    #[test]
    fn names_that_are_not_utf8_are_compared_byte_by_byte() {
        let process = Process { name: vec![b'a', 0xff], ..Default::default() };
        assert!(regex("process.name", r"(?-u)^a\xff$").matches(&process));
        assert!(!equal("process.name", "a").matches(&process));
    }

    #[test]
    fn what_hangs_on_metadata_to_come_is_undecided_and_does_not_match() {
        let mut process = amf();
        process.pod = Some(Arc::new(Pod { id: "uid-1".to_owned(), ..Default::default() }));
        let (pending, decided) = (equal("pod.namespace", "core"), equal("process.name", "amf"));
        let never = equal("process.name", "smf");
        for (condition, result) in [
            (pending.clone(), None),
            (not(pending.clone()), None),
            (equal("pod.label", "app"), None),
            (equal("pod.id", "uid-1"), Some(true)),
            (Condition::And(vec![pending.clone(), decided.clone()]), None),
            (Condition::And(vec![pending.clone(), never.clone()]), Some(false)),
            (Condition::Or(vec![pending.clone(), decided]), Some(true)),
            (Condition::Or(vec![pending.clone(), never]), None),
        ] {
            assert_eq!(condition.decide(&process), result, "{condition:?}");
            assert_eq!(condition.matches(&process), result == Some(true));
        }
        process.pod = None;
        assert_eq!(pending.decide(&process), Some(false), "a process in no pod is in no namespace");
        assert_eq!(not(pending).decide(&process), Some(true));
    }

    #[test]
    fn a_condition_knows_what_it_has_to_be_told() {
        let id = equal("container.id", "x");
        let name = Condition::And(vec![id.clone(), not(equal("pod.name", "x"))]);
        assert!(id.needs_container() && !id.needs_metadata() && !id.needs_name());
        assert!(name.needs_container() && name.needs_metadata());
        assert!(regex("process.name", "x").needs_name());
        assert!(!regex("process.exe", "x").needs_container());
    }

    #[test]
    fn an_argument_list_beyond_its_bound_does_not_panic() {
        let process = Process { cmd: vec![b'a'; 10_000], ..Default::default() };
        assert!(regex("process.cmd", "^a{1,4096}$").matches(&process));
        assert!(!equal("process.cmd", "").matches(&process));
    }

    #[test]
    fn patterns_are_bounded_and_equal_when_written_equally() {
        assert_eq!(Pattern::new("a+").unwrap(), Pattern::new("a+").unwrap());
        assert_ne!(Pattern::new("a+").unwrap(), Pattern::new("aa*").unwrap());
        assert!(Pattern::new(&"x".repeat(5000)).unwrap_err().contains("at most 4096 bytes"));
        assert!(Pattern::new(r"(\pL{50}){50}{50}").unwrap_err().contains("grows too large"));
        assert!(Pattern::new(&"(".repeat(200)).is_err());
        assert!(Pattern::new(&format!("{}a{}", "(".repeat(200), ")".repeat(200))).is_err());
        assert_eq!(Pattern::new("a**[").unwrap_err(), "\"a**[\" is not a regular expression: unclosed character class");
    }
}
