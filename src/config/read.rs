//! From the tree to values: `Reader` collects everything that is wrong, each with its place, and goes
//! on. A value that is wrong reads as None, so that one mistake is told once.

use std::sync::Arc;
use std::time::Duration;

use super::problem::{Place, Position, Problem, suggestion};
use super::raw::{Node, Value};
use super::units;
use crate::task::{Spec, TASKS};
use crate::time::Timestamp;

/// Reads nodes of one file (or argument) and keeps what is wrong with them.
pub struct Reader {
    file: Arc<str>,
    /// The tasks that a pipeline can be made of.
    pub tasks: &'static [&'static Spec],
    /// Arguments of the command line, which have no lines: line 0 of a position means one of these.
    arguments: Vec<Arc<str>>,
    pub problems: Vec<Problem>,
    pub warnings: Vec<Problem>,
}

impl Reader {
    pub fn new(file: Arc<str>) -> Reader {
        let arguments = vec![Arc::clone(&file)];
        Reader { file, tasks: TASKS, arguments, problems: Vec::new(), warnings: Vec::new() }
    }

    /// The position that stands for an argument of the command line, shown as `text`.
    pub fn argument(&mut self, text: String) -> Position {
        self.arguments.push(text.into());
        Position { line: 0, column: (self.arguments.len() - 1) as u32 }
    }

    pub fn place(&self, at: Position) -> Place {
        match at.line {
            0 => Place { file: self.arguments.get(at.column as usize).unwrap_or(&self.file).clone(), position: None },
            _ => Place { file: Arc::clone(&self.file), position: Some(at) },
        }
    }

    pub fn problem(&mut self, at: Position, message: impl Into<String>) {
        self.problems.push(Problem::new(self.place(at), message));
    }

    pub fn warn(&mut self, at: Position, message: impl Into<String>) {
        self.warnings.push(Problem::new(self.place(at), message));
    }

    /// A map's entries, after keys that are not known have been named. Nothing counts as an empty map.
    pub fn map<'n>(&mut self, node: &'n Node, what: &str, known: &[&'static str]) -> Option<Map<'n>> {
        match &node.value {
            Value::Null => {}
            Value::Map(entries) => {
                for entry in entries.iter().filter(|entry| !known.contains(&entry.key.as_str())) {
                    let hint = suggestion(&entry.key, known.iter().copied());
                    self.problem(entry.at, format!("unknown key {:?} in {what}{hint}", entry.key));
                }
            }
            _ => {
                self.problem(node.at, format!("{what}: expected a map, found {}", node.what()));
                return None;
            }
        }
        Some(Map { node })
    }

    /// A list's items. One value stands for a list of itself where `single` says so; nothing is an empty list.
    pub fn list<'n>(&mut self, node: &'n Node, what: &str, single: bool) -> Option<Vec<&'n Node>> {
        match &node.value {
            Value::Null => Some(Vec::new()),
            Value::List(list) => Some(list.iter().map(|item| &**item).collect()),
            Value::Text(_) if single => Some(vec![node]),
            _ => {
                self.problem(node.at, format!("{what}: expected a list, found {}", node.what()));
                None
            }
        }
    }

    pub fn text<'n>(&mut self, node: &'n Node, what: &str) -> Option<&'n str> {
        let text = node.text();
        if text.is_none() {
            self.problem(node.at, format!("{what}: expected a text, found {}", node.what()));
        }
        text
    }

    /// A text that `parse` understands.
    pub fn parsed<T>(&mut self, node: &Node, what: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let text = self.text(node, what)?;
        match parse(text) {
            Ok(value) => Some(value),
            Err(error) => {
                self.problem(node.at, format!("{what}: {error}"));
                None
            }
        }
    }

    pub fn flag(&mut self, node: &Node, what: &str) -> Option<bool> {
        self.parsed(node, what, flag)
    }

    pub fn number(&mut self, node: &Node, what: &str, min: u64, max: u64) -> Option<u64> {
        self.parsed(node, what, |text| number(text, min, max))
    }

    pub fn duration(&mut self, node: &Node, what: &str, min: Duration, max: Duration) -> Option<Duration> {
        self.parsed(node, what, |text| duration(text, min, max))
    }

    pub fn time(&mut self, node: &Node, what: &str) -> Option<Timestamp> {
        self.parsed(node, what, time)
    }
}

/// A map whose keys have been looked at.
#[derive(Clone, Copy)]
pub struct Map<'n> {
    node: &'n Node,
}

impl<'n> Map<'n> {
    /// The value of a key; a key without a value counts as absent.
    pub fn find(&self, key: &str) -> Option<&'n Node> {
        self.node.find(key).map(|value| &**value).filter(|value| !value.is_null())
    }

    pub fn at(&self) -> Position {
        self.node.at
    }
}

pub fn flag(text: &str) -> Result<bool, String> {
    match text {
        "true" | "True" | "TRUE" => Ok(true),
        "false" | "False" | "FALSE" => Ok(false),
        _ => Err(format!("expected true or false, found {text:?}")),
    }
}

pub fn number(text: &str, min: u64, max: u64) -> Result<u64, String> {
    match units::digits(text) {
        Some(number) if (min..=max).contains(&number) => Ok(number),
        Some(_) => Err(format!("{text} is not from {min} to {max}")),
        None => Err(format!("expected a whole number, found {text:?}")),
    }
}

pub fn size(text: &str, min: u64, max: u64) -> Result<u64, String> {
    match units::size(text)? {
        size if (min..=max).contains(&size) => Ok(size),
        _ => Err(format!("{text} is not from {} to {}", units::size_text(min), units::size_text(max))),
    }
}

pub fn duration(text: &str, min: Duration, max: Duration) -> Result<Duration, String> {
    match units::duration(text)? {
        duration if (min..=max).contains(&duration) => Ok(duration),
        _ => Err(format!("{text} is not from {} to {}", units::duration_text(min), units::duration_text(max))),
    }
}

/// RFC 3339, with a zone, within what nanoseconds since 1970 can tell in 64 bits.
pub fn time(text: &str) -> Result<Timestamp, String> {
    let time = text.parse::<jiff::Timestamp>().ok();
    if let Some(nanos) = time.and_then(|time| u64::try_from(time.as_nanosecond()).ok()) {
        return Ok(Timestamp(nanos));
    }
    // jiff's own range ends a day before the last year does.
    let pieces = jiff::fmt::temporal::Pieces::parse(text).ok();
    Err(match pieces.is_some_and(|pieces| pieces.time().is_some() && pieces.offset().is_some()) {
        true => format!("{text} is not from {} to {}", Timestamp(0), Timestamp(u64::MAX)),
        false => format!("{text:?} is not a time; write one like 2026-11-22T16:00:00Z"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc3339_with_a_zone() {
        assert_eq!(time("2026-11-22T15:59:59.123456789Z"), Ok(Timestamp(1_795_363_199_123_456_789)));
        assert_eq!(time("2026-11-22T16:59:59.123456789+01:00"), Ok(Timestamp(1_795_363_199_123_456_789)));
        for text in ["", "now", "2026-11-22", "2026-11-22T16:00:00", "1969-12-31T00:00:00Z", "2026-13-01T00:00:00Z"] {
            assert!(time(text).is_err(), "{text}");
        }
        let last = "2554-07-21T23:34:33.709551615Z";
        assert_eq!(time(last), Ok(Timestamp(u64::MAX)));
        for text in
            ["1969-12-31T23:59:59Z", "2554-07-21T23:34:34Z", "9999-12-31T00:00:00Z", "9999-12-31T23:59:59+01:00"]
        {
            let range = format!("{text} is not from 1970-01-01T00:00:00.000000000Z to {last}");
            assert_eq!(time(text), Err(range));
        }
        assert_eq!(
            time("2026-13-01T00:00:00Z"),
            Err("\"2026-13-01T00:00:00Z\" is not a time; write one like 2026-11-22T16:00:00Z".to_owned())
        );
    }
}
