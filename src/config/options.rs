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
                        Ok(None) if option.default == REQUIRED => {
                            reader.problem(entry.value.at, format!("{what} is empty"));
                        }
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
        Type::PcapFilter => Value::Text(pcap_filter(text).map(|()| text.to_owned())?),
        Type::Path if text.contains('\0') => return Err("holds a zero byte".to_owned()),
        Type::Text | Type::Path | Type::Choice(_) => Value::Text(text.to_owned()),
    }))
}

/// The option's text; a list is joined by `+` where the type is a list.
fn joined(reader: &mut Reader, node: &Node, what: &str, ty: Type) -> Option<String> {
    match &node.value {
        Raw::List(items) if matches!(ty, Type::Ports | Type::Words | Type::Meta) => {
            let before = reader.problems.len();
            let mut words = Vec::with_capacity(items.len());
            for item in items {
                let Some(word) = reader.text(item, what) else { continue };
                if word.contains('+') || word.trim().is_empty() {
                    reader.problem(item.at, format!("{what}: {word:?} is not a word of a list"));
                } else if let Err(error) = value(word, ty) {
                    reader.problem(item.at, format!("{what}: {error}"));
                }
                words.push(word);
            }
            (reader.problems.len() == before).then(|| words.join("+"))
        }
        _ => reader.text(node, what).map(str::to_owned),
    }
}

/// Whether libpcap understands it on Ethernet. libpcap asks the resolver about words that it does not know,
/// which may take long; such a filter is let through, and told when the source starts.
fn pcap_filter(text: &str) -> Result<(), String> {
    if text.contains('\0') {
        return Err("holds a zero byte".to_owned());
    }
    if text.len() > PCAP_FILTER {
        return Err(format!("a filter has at most {PCAP_FILTER} bytes, this one {}", text.len()));
    }
    let (done, result) = std::sync::mpsc::channel();
    let owned = text.to_owned();
    let compile = move || {
        let wrong = |error: pcap::Error| match error {
            pcap::Error::PcapError(reason) => format!("{owned:?} is not a filter: {reason}"),
            error => format!("{owned:?} is not a filter: {error}"),
        };
        let compiled = pcap::Capture::dead(pcap::Linktype::ETHERNET).and_then(|dead| dead.compile(&owned, false));
        // Nobody waits any more when it took too long.
        let _ = done.send(compiled.map(|_| ()).map_err(wrong));
    };
    match std::thread::Builder::new().name("filter".to_owned()).spawn(compile) {
        Ok(_) => result.recv_timeout(RESOLVING).unwrap_or(Ok(())),
        Err(error) => Err(format!("cannot be checked: {error}")),
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

/// What libpcap takes to compile grows with the square of the length.
const PCAP_FILTER: usize = 4 << 10;
const RESOLVING: std::time::Duration = std::time::Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_of_captures_are_those_that_libpcap_understands() {
        for filter in ["tcp port 80", "ether proto 0xaefe", "vlan and udp port 8805", "tcp[tcpflags] & tcp-rst != 0"] {
            assert_eq!(pcap_filter(filter), Ok(()), "{filter}");
        }
        assert!(pcap_filter("port 80 and and").unwrap_err().starts_with("\"port 80 and and\" is not a filter: "));
        assert!(pcap_filter("port 99999").is_err());
        assert!(pcap_filter("tcp\0").is_err());
        assert!(pcap_filter(&"tcp or ".repeat(10_000)).unwrap_err().contains("at most 4096 bytes"));
    }

    #[test]
    fn filters_of_captures_that_nest_or_repeat_come_to_an_end() {
        let joined = |word: &str| vec![word; PCAP_FILTER / (word.len() + 4)].join(" or ");
        for filter in
            [joined("host 10.0.0.1"), joined("tcp"), "(".repeat(PCAP_FILTER), format!("{}tcp", "not ".repeat(1000))]
        {
            let _ = pcap_filter(&filter);
        }
        let deep = format!("{}tcp{}", "(".repeat(2000), ")".repeat(2000));
        let _ = pcap_filter(&deep);
    }
}
