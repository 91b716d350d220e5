//! A task's options: what can be set, of which type, with which default; and what was set. The
//! parser turns text into `Value`s by `Type`, so a constructor only picks validated values up.

use std::collections::BTreeMap;
use std::time::Duration;

/// One option of a task.
pub struct Opt {
    /// Its key in `config`.
    pub name: &'static str,
    pub ty: Type,
    /// As it would be written in a configuration; "" means that there is none, `REQUIRED` that there
    /// must be a value.
    pub default: &'static str,
    /// One sentence.
    pub help: &'static str,
}

/// The default of an option that has to be set.
pub const REQUIRED: &str = "(required)";

/// What an option's text must be.
#[derive(Clone, Copy, Debug)]
pub enum Type {
    Bool,
    /// A whole number within bounds, both included.
    Count {
        min: u64,
        max: u64,
    },
    /// Bytes: `64Ki`, `1Mi`, or a plain number; bounds included.
    Size {
        min: u64,
        max: u64,
    },
    /// `300ms`, `30s`, `5m`, `2h`; bounds included.
    Duration {
        min: Duration,
        max: Duration,
    },
    Text,
    /// A file's path.
    Path,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A filter, as `config::filter` reads it: `port 8080 and not host 10.0.0.1`.
    Filter,
    /// libpcap's filter language.
    PcapFilter,
    /// Ports: a number, or a list (YAML, or separated by `+`).
    Ports,
    /// Words: a list (YAML, or separated by `+`).
    Words,
    /// A regular expression.
    Regex,
    /// The shared groups to attach, of `process::metadata`: `process.min+pod`.
    Meta,
}

/// A validated option.
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    Bool(bool),
    Count(u64),
    /// Bytes.
    Size(u64),
    Duration(Duration),
    /// Text, Path, Choice, Filter, PcapFilter, Regex and Meta keep their text; it is known to parse.
    Text(String),
    Ports(Vec<u16>),
    Words(Vec<String>),
}

/// The validated options of one task: every option that has a default or was set is there.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Options(BTreeMap<&'static str, Value>);

impl Options {
    pub fn set(&mut self, name: &'static str, value: Value) {
        self.0.insert(name, value);
    }

    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Value)> {
        self.0.iter().map(|(name, value)| (*name, value))
    }

    /// A `Bool`; false where it is not set.
    pub fn flag(&self, name: &str) -> bool {
        matches!(self.0.get(name), Some(Value::Bool(true)))
    }

    /// A `Count` or a `Size`.
    pub fn number(&self, name: &str) -> Option<u64> {
        match self.0.get(name)? {
            Value::Count(n) | Value::Size(n) => Some(*n),
            _ => None,
        }
    }

    pub fn duration(&self, name: &str) -> Option<Duration> {
        match self.0.get(name)? {
            Value::Duration(d) => Some(*d),
            _ => None,
        }
    }

    /// A `Text`, `Path`, `Choice`, `Filter`, `PcapFilter`, `Regex` or `Meta`.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.0.get(name)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// `Ports`; empty where it is not set.
    pub fn ports(&self, name: &str) -> &[u16] {
        match self.0.get(name) {
            Some(Value::Ports(ports)) => ports,
            _ => &[],
        }
    }

    /// `Words`; empty where it is not set.
    pub fn words(&self, name: &str) -> &[String] {
        match self.0.get(name) {
            Some(Value::Words(words)) => words,
            _ => &[],
        }
    }
}
