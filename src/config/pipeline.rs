//! Directives: their keys, and the rules that a pipeline of tasks has to keep.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::condition::{Condition, Field, Pattern};
use super::keys::{self, names};
use super::options::options;
use super::problem::{Position, suggestion};
use super::raw::{Node, Value};
use super::read::{Map, Reader};
use super::{Directive, TaskConfig};
use crate::task::{Kind, Spec, Stage};

/// Where a directive comes from, which decides what it may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin<'a> {
    /// The main file, a file of `directives.d`, the command line, a ClusterDirective.
    Node,
    /// A Directive object of this namespace: it sees pods of this namespace alone.
    Namespace(&'a str),
}

/// Reads a directive of a file.
pub fn directive(reader: &mut Reader, node: &Node) -> Option<Directive> {
    let known: Vec<&str> = names(keys::DIRECTIVE).collect();
    let map = reader.map(node, "a directive", &known)?;
    let name = match map.find("name") {
        Some(name) => reader.parsed(name, "name", dns_subdomain),
        None => {
            reader.problem(node.at, "a directive without a name");
            None
        }
    };
    body(reader, map, name, Origin::Node)
}

/// Reads everything of a directive but its name. None where anything is wrong.
pub fn body(reader: &mut Reader, map: Map<'_>, name: Option<String>, origin: Origin<'_>) -> Option<Directive> {
    let before = reader.problems.len();
    let enabled = map.find("enabled").map_or(Some(true), |node| reader.flag(node, "enabled"));
    let start_at = map.find("startAt").and_then(|node| reader.time(node, "startAt"));
    let stop_at = map.find("stopAt").and_then(|node| reader.time(node, "stopAt"));
    let (shortest, longest) = (*DURATIONS.start(), *DURATIONS.end());
    let duration = map.find("duration").and_then(|node| reader.duration(node, "duration", shortest, longest));
    if let (Some(start), Some(stop), Some(node)) = (start_at, stop_at, map.find("stopAt"))
        && stop <= start
    {
        reader.problem(node.at, "stopAt is not after startAt");
    }
    // What a namespace adds around a condition counts as one level of it.
    let level = if origin == Origin::Node { 1 } else { 2 };
    let mut condition = map.find("condition").and_then(|node| self::condition(reader, node, level));
    let tasks = match map.find("tasks") {
        Some(node) => self::tasks(reader, node, map.find("condition").is_some(), origin),
        None => {
            reader.problem(map.at(), "a directive without tasks");
            None
        }
    };
    if let Origin::Namespace(namespace) = origin {
        let own = Condition::Equal(Field::PodNamespace, namespace.to_owned());
        condition = Some(Condition::And([own].into_iter().chain(condition).collect()));
    }
    let directive = Directive { name: name?, enabled: enabled?, start_at, stop_at, duration, condition, tasks: tasks? };
    (reader.problems.len() == before).then_some(directive)
}

/// A DNS-1123 subdomain: RFC 1123 section 2.1 in lower case, as Kubernetes takes it.
pub fn dns_subdomain(text: &str) -> Result<String, String> {
    let label = |label: &str| {
        let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        label.bytes().all(|byte| alphanumeric(byte) || byte == b'-')
            && label.bytes().next().is_some_and(alphanumeric)
            && label.bytes().last().is_some_and(alphanumeric)
    };
    if text.len() <= 253 && text.split('.').all(label) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "{text:?} is not a DNS-1123 subdomain: lower-case letters, digits, '-' and '.', a letter or digit at both ends, at most 253"
    ))
}

/// Reads a condition; `depth` counts from 1.
pub fn condition(reader: &mut Reader, node: &Node, depth: usize) -> Option<Condition> {
    if depth > DEPTH {
        reader.problem(node.at, format!("a condition nested deeper than {DEPTH}"));
        return None;
    }
    reader.map(node, "a condition", keys::CONDITION)?;
    let Value::Map(entries) = &node.value else {
        reader.problem(node.at, "a condition says nothing; known are equal, regex, and, or, not");
        return None;
    };
    let mut known = entries.iter().filter(|entry| keys::CONDITION.contains(&entry.key.as_str()));
    let (Some(entry), None) = (known.next(), known.next()) else {
        if entries.len() != 1 {
            reader.problem(node.at, "a condition is one of equal, regex, and, or, not; join several by and or or");
        }
        return None;
    };
    match entry.key.as_str() {
        "equal" => {
            let map = reader.map(&entry.value, "equal", keys::EQUAL)?;
            let field = field(reader, map, "equal");
            let value = required(reader, map, "equal", "value").and_then(|node| {
                let checked = |text: &str| match field {
                    Some(field) => field.check(text).map(|()| text.to_owned()),
                    None => Ok(text.to_owned()),
                };
                reader.parsed(node, "value", checked)
            });
            Some(Condition::Equal(field?, value?))
        }
        "regex" => {
            let map = reader.map(&entry.value, "regex", keys::REGEX)?;
            let field = field(reader, map, "regex");
            let regex =
                required(reader, map, "regex", "regex").and_then(|node| reader.parsed(node, "regex", Pattern::new));
            Some(Condition::Regex(field?, regex?))
        }
        "not" => condition(reader, &entry.value, depth + 1).map(|inner| Condition::Not(Box::new(inner))),
        join => {
            let list = reader.list(&entry.value, join, false)?;
            if list.is_empty() {
                reader.problem(entry.at, format!("{join} without a condition in it"));
                return None;
            }
            let read: Vec<_> = list.into_iter().map(|node| condition(reader, node, depth + 1)).collect();
            let all = read.into_iter().collect::<Option<Vec<Condition>>>()?;
            Some(if join == "and" { Condition::And(all) } else { Condition::Or(all) })
        }
    }
}

fn field(reader: &mut Reader, map: Map<'_>, what: &str) -> Option<Field> {
    let node = required(reader, map, what, "field")?;
    reader.parsed(node, "field", |text| {
        let hint = || suggestion(text, Field::ALL.iter().map(|(name, _)| *name));
        text.parse().map_err(|()| format!("unknown field {text:?}{}", hint()))
    })
}

fn required<'n>(reader: &mut Reader, map: Map<'n>, what: &str, key: &str) -> Option<&'n Node> {
    let node = map.find(key);
    if node.is_none() {
        reader.problem(map.at(), format!("{what} without {key}"));
    }
    node
}

/// A task that was found, and where its name stands.
struct Found {
    config: TaskConfig,
    at: Position,
}

/// Reads the tasks and holds them against the rules of a pipeline.
pub fn tasks(reader: &mut Reader, node: &Node, has_condition: bool, origin: Origin<'_>) -> Option<Vec<TaskConfig>> {
    let list = reader.list(node, "tasks", false)?;
    if list.len() > MOST_TASKS {
        reader.problem(node.at, format!("{} tasks; a pipeline has at most {MOST_TASKS}", list.len()));
        return None;
    }
    let count = list.len();
    let found: Vec<Option<Found>> = list.into_iter().map(|node| task(reader, node)).collect();
    // Rules about neighbours mean nothing while a task in between is not known.
    let found = found.into_iter().collect::<Option<Vec<Found>>>()?;
    if count < 2 {
        reader.problem(node.at, "a pipeline has at least two tasks, a source and a destination");
        return None;
    }
    let before = reader.problems.len();
    stages(reader, node, &found);
    if reader.problems.len() == before {
        fits(reader, &found);
        warn_of_plaintext(reader, &found);
    }
    if let Some(source) = found.first().filter(|task| task.config.spec.needs_condition && !has_condition)
        && matches!(origin, Origin::Node)
    {
        reader.problem(source.at, format!("{} needs a condition that says which processes", source.config.spec.name));
    }
    if let Origin::Namespace(namespace) = origin {
        for task in found.iter().filter(|task| CLUSTER_TASKS.contains(&task.config.spec.name)) {
            let name = task.config.spec.name;
            reader.problem(
                task.at,
                format!("{name} is for ClusterDirective objects, not for a Directive of namespace {namespace}"),
            );
        }
    }
    Some(found.into_iter().map(|task| task.config).collect())
}

fn task(reader: &mut Reader, node: &Node) -> Option<Found> {
    let known: Vec<&str> = names(keys::TASK).collect();
    let map = reader.map(node, "a task", &known)?;
    let name = required(reader, map, "a task", "task")?;
    let text = reader.text(name, "task")?;
    let tasks = reader.tasks;
    let Some(spec) = tasks.iter().copied().find(|spec| spec.name == text) else {
        let names: Vec<&str> = tasks.iter().map(|spec| spec.name).collect();
        let mut hint = suggestion(text, names.iter().copied());
        if !hint.contains("known are") {
            hint += &format!(" (known are {})", names.join(", "));
        }
        reader.problem(name.at, format!("unknown task {text:?}{hint}"));
        return None;
    };
    let options = options(reader, spec, map.find("config"), name.at);
    Some(Found { config: TaskConfig { spec, options }, at: name.at })
}

/// The first is the only source; destinations stand at the end, one at least.
fn stages(reader: &mut Reader, node: &Node, tasks: &[Found]) {
    let mut destinations = false;
    for (index, task) in tasks.iter().enumerate() {
        let spec = task.config.spec;
        match (index, spec.stage()) {
            (0, Stage::Source) => {}
            (0, _) => {
                let sources = of_stage(reader, Stage::Source);
                reader
                    .problem(task.at, format!("{} is no source, and a pipeline begins with one: {sources}", spec.name));
            }
            (_, Stage::Source) => {
                reader.problem(task.at, format!("{} is a source; only the first task is one", spec.name));
            }
            (_, Stage::Processing) if destinations => {
                reader.problem(task.at, format!("{} stands behind a destination; destinations come last", spec.name));
            }
            (_, Stage::Processing) => {}
            (_, Stage::Destination) => destinations = true,
        }
    }
    if !destinations {
        let known = of_stage(reader, Stage::Destination);
        reader.problem(node.at, format!("no destination at the end; known are {known}"));
    }
}

/// Each task must be able to take something of what the tasks before it give.
fn fits(reader: &mut Reader, tasks: &[Found]) {
    let mut given: BTreeSet<&'static str> = BTreeSet::new();
    for task in tasks {
        let Spec { name, accepts, emits, .. } = task.config.spec;
        if !accepts.is_empty() && !accepts.iter().any(|kind| given.contains(kind.name())) {
            let takes = list(accepts.iter().map(|kind| kind.name()));
            let given = list(given.iter().copied());
            reader.problem(task.at, format!("{name} accepts {takes}; the tasks before it give {given}"));
        }
        if emits.iter().any(|kind| kind.stands_alone()) {
            given.clear();
        }
        given.extend(emits.iter().map(|kind| kind.name()));
    }
}

/// Contents of connections that leave the node unencrypted.
fn warn_of_plaintext(reader: &mut Reader, tasks: &[Found]) {
    let content = [Kind::Payload, Kind::TlsPlaintext, Kind::RawPacket, Kind::H2];
    let carries = tasks.iter().any(|task| task.config.spec.emits.iter().any(|kind| content.contains(kind)));
    for task in tasks.iter().filter(|task| carries && task.config.spec.name == "publish") {
        let options = &task.config.options;
        let addr = options.text("addr").unwrap_or_default();
        let encrypted =
            options.flag("tls") || ["tls://", "https://", "wss://"].iter().any(|scheme| addr.starts_with(scheme));
        if !encrypted && !stays_on_node(addr) {
            reader.warn(task.at, format!("publish sends the contents of connections to {} without TLS", host(addr)));
        }
    }
}

fn stays_on_node(addr: &str) -> bool {
    let host = host(addr);
    host == "localhost" || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|addr| addr.is_loopback())
}

/// The host of `scheme://user@host:port/path`; never the credentials.
fn host(addr: &str) -> &str {
    let rest = addr.split_once("://").map_or(addr, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or_default();
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    match authority.rsplit_once(':') {
        Some((host, _)) if !authority.ends_with(']') => host,
        _ => authority,
    }
}

fn of_stage(reader: &Reader, stage: Stage) -> String {
    list(reader.tasks.iter().filter(|spec| spec.stage() == stage).map(|spec| spec.name))
}

fn list<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let words: Vec<&str> = words.collect();
    if words.is_empty() { "none".to_owned() } else { words.join(", ") }
}

/// How long a directive may run; 10 years at most.
pub const DURATIONS: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(10 * 365 * 86_400);
/// What a Directive object of a namespace may not use: it would reach beyond the namespace.
const CLUSTER_TASKS: &[&str] = &["capture", "resetconn", "file", "pcap", "log", "metrics"];
const DEPTH: usize = 32;
const MOST_TASKS: usize = 32;

#[cfg(test)]
mod tests;
