//! A task's options: from what was written to validated values, by the types of the task's table.

use super::filter::Filter;
use super::problem::suggestion;
use super::raw::{Node, Value as Raw};
use super::read::{self, Reader};
use super::{Pattern, units};
use crate::process::metadata::Meta;
use crate::task::options::REQUIRED;
use crate::task::{Opt, Options, Spec, Type, Value};

/// Reads `config` of a task, with defaults for what it does not set. Wrong options are left out and told.
pub fn options(
    reader: &mut Reader,
    spec: &'static Spec,
    config: Option<&Node>,
    at: super::problem::Position,
) -> Options {
    let mut options = Options::default();
    let entries = match config.map(|node| &node.value) {
        None | Some(Raw::Null) => &[][..],
        Some(Raw::Map(entries)) => entries,
        Some(_) => {
            let what = config.map(Node::what).unwrap_or_default();
            let at = config.map_or(at, |node| node.at);
            reader.problem(at, format!("config of {}: expected a map, found {what}", spec.name));
            return options;
        }
    };
    for entry in entries {
        match spec.options.iter().find(|option| option.name == entry.key) {
            Some(option) if !entry.value.is_null() => {
                let what = format!("option {} of {}", option.name, spec.name);
                if let Some(text) = joined(reader, &entry.value, &what, option.ty) {
                    match value(&text, option.ty) {
                        Ok(Some(value)) => options.set(option.name, value),
                        Ok(None) => {}
                        Err(error) => reader.problem(entry.value.at, format!("{what}: {error}")),
                    }
                }
            }
            Some(_) => {}
            None => {
                let hint = suggestion(&entry.key, spec.options.iter().map(|option| option.name));
                reader.problem(entry.at, format!("unknown option {:?} of {}{hint}", entry.key, spec.name));
            }
        }
    }
    let written = |option: &Opt| entries.iter().any(|entry| entry.key == option.name && !entry.value.is_null());
    for option in spec.options.iter().filter(|option| !written(option)) {
        if option.default == REQUIRED {
            reader.problem(at, format!("{} needs the option {}: {}", spec.name, option.name, option.help));
        } else if let Ok(Some(value)) = default(option) {
            options.set(option.name, value);
        }
    }
    options
}

/// An option's default as a value; None where it has none.
pub fn default(option: &Opt) -> Result<Option<Value>, String> {
    match option.default {
        "" | REQUIRED => Ok(None),
        text => value(text, option.ty),
    }
}

/// An option's text as a value; None where the text is empty and that means as much as not set.
pub fn value(text: &str, ty: Type) -> Result<Option<Value>, String> {
    Ok(Some(match ty {
        Type::Bool => Value::Bool(read::flag(text)?),
        Type::Count { min, max } => Value::Count(read::number(text, min, max)?),
        Type::Size { min, max } => Value::Size(read::size(text, min, max)?),
        Type::Duration { min, max } => Value::Duration(read::duration(text, min, max)?),
        _ if text.is_empty() => return Ok(None),
        Type::Ports => Value::Ports(ports(text)?),
        Type::Words => Value::Words(words(text).map(str::to_owned).collect()),
        Type::Choice(choices) if !choices.contains(&text) => {
            return Err(format!("unknown word {text:?}{}", suggestion(text, choices.iter().copied())));
        }
        Type::Filter => Value::Text(text.parse::<Filter>().map(|_| text.to_owned())?),
        Type::Regex => Value::Text(Pattern::new(text).map(|_| text.to_owned())?),
        Type::Meta => Value::Text(Meta::parse(text).map(|_| text.to_owned())?),
        Type::Path | Type::PcapFilter if text.contains('\0') => return Err("holds a zero byte".to_owned()),
        Type::Text | Type::Path | Type::Choice(_) | Type::PcapFilter => Value::Text(text.to_owned()),
    }))
}

/// The option's text; a list is joined by `+` where the type is a list.
fn joined(reader: &mut Reader, node: &Node, what: &str, ty: Type) -> Option<String> {
    match &node.value {
        Raw::List(items) if matches!(ty, Type::Ports | Type::Words | Type::Meta) => {
            let mut words = Vec::with_capacity(items.len());
            for item in items {
                let word = reader.text(item, what)?;
                if word.contains('+') || word.trim().is_empty() {
                    reader.problem(item.at, format!("{what}: {word:?} is not a word of a list"));
                    return None;
                }
                words.push(word);
            }
            Some(words.join("+"))
        }
        _ => reader.text(node, what).map(str::to_owned),
    }
}

fn ports(text: &str) -> Result<Vec<u16>, String> {
    let mut ports = words(text)
        .map(|word| {
            let port = units::digits(word).and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0);
            port.ok_or_else(|| format!("{word:?} is not a port; write 8805, 8805+2152 or a list"))
        })
        .collect::<Result<Vec<u16>, String>>()?;
    ports.sort_unstable();
    ports.dedup();
    Ok(ports)
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split('+').map(str::trim).filter(|word| !word.is_empty())
}
