//! The main file: from its tree to a `Config`, all or nothing.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use super::keys::{self, Key, Shape, names};
use super::options;
use super::pipeline::directive;
use super::problem::{Position, suggestion};
use super::raw::{Node, Value as Raw};
use super::read::{Map, Reader};
use super::units::{self, Listen, Network};
use super::{Bpf, Config, Directive, Limits, Memory, Metrics, Pattern, PerfBufferPages, Probes, Status, Transport};
use crate::task::{Build, Source, Spec, Stage, TASKS, Value};

/// Reads the main file's tree. Where the reader has no problems afterwards the result is whole; the
/// positions are those of the directives.
pub fn config(reader: &mut Reader, node: &Node, tawon_id: &str) -> (Config, Vec<Position>) {
    let mut config = defaults(tawon_id);
    let mut positions = Vec::new();
    let Some(map) = section(reader, node, "the configuration", keys::CONFIG) else { return (config, positions) };
    set(&mut config.tawon_id, map, "tawonID", |node| reader.parsed(node, "tawonID", identifier));
    if let Some(map) = subsection(reader, map, "metrics") {
        let metrics = &mut config.metrics;
        set(&mut metrics.listen, map, "listen", |node| listen(reader, node, "metrics.listen"));
        set(&mut metrics.path, map, "path", |node| reader.parsed(node, "metrics.path", path));
        set(&mut metrics.prefix, map, "prefix", |node| reader.parsed(node, "metrics.prefix", prefix));
        set(&mut metrics.quantiles, map, "quantiles", |node| quantiles(reader, node));
    }
    if let Some(map) = subsection(reader, map, "probes") {
        set(&mut config.probes.listen, map, "listen", |node| listen(reader, node, "probes.listen"));
    }
    collisions(reader, map, &config);
    if let Some(map) = subsection(reader, map, "bpf") {
        let bpf = &mut config.bpf;
        set(&mut bpf.perf_buffer_pages, map, "perfBufferPages", |node| perf_buffer_pages(reader, node));
        set(&mut bpf.transport, map, "transport", |node| reader.parsed(node, "bpf.transport", transport));
        set(&mut bpf.stats_interval, map, "statsInterval", |node| {
            match typed(reader, node, "bpf.statsInterval", keys::BPF, "statsInterval")? {
                Value::Duration(interval) => Some(interval),
                _ => None,
            }
        });
        set(&mut bpf.enable_stats, map, "enableStats", |node| reader.flag(node, "bpf.enableStats"));
    }
    if let Some(map) = subsection(reader, map, "limits") {
        let limits = &mut config.limits;
        set(&mut limits.memory, map, "memory", |node| reader.parsed(node, "limits.memory", memory));
        set(&mut limits.processes, map, "processes", |node| count(reader, node, "limits.processes", "processes"));
        set(&mut limits.flows, map, "flows", |node| count(reader, node, "limits.flows", "flows"));
    }
    set(&mut config.redact, map, "redact", |node| redact(reader, node));
    set(&mut config.redact_args, map, "redactArgs", |node| {
        reader.parsed(node, "redactArgs", |text| match text {
            "" => Ok(None),
            text => Pattern::new(text).map(Some),
        })
    });
    if let Some(map) = subsection(reader, map, "status") {
        set(&mut config.status.allow, map, "allow", |node| networks(reader, node));
    }
    if let Some(list) = map.find("directives").and_then(|node| reader.list(node, "directives", false)) {
        for node in list {
            let read: Option<Directive> = directive(reader, node);
            if let Some(directive) = read {
                config.directives.push(directive);
                positions.push(node.find("name").map_or(node.at, |name| name.at));
            }
        }
    }
    (config, positions)
}

/// What an empty file means.
pub fn defaults(tawon_id: &str) -> Config {
    Config {
        tawon_id: tawon_id.to_owned(),
        metrics: Metrics {
            listen: vec![Listen::All(9990)],
            path: "/metrics".to_owned(),
            prefix: String::new(),
            quantiles: vec![0.5, 0.9, 0.99],
        },
        probes: Probes { listen: vec![Listen::All(8081)] },
        bpf: Bpf {
            perf_buffer_pages: PerfBufferPages::default(),
            transport: Transport::Auto,
            stats_interval: Duration::from_secs(1),
            enable_stats: false,
        },
        limits: Limits { memory: Memory::Percent(70), processes: 65_536, flows: 65_536 },
        redact: ["authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key"].map(str::to_owned).into(),
        redact_args: Pattern::new(keys::REDACT_ARGS).ok(),
        status: Status::default(),
        directives: Vec::new(),
    }
}

fn set<T>(to: &mut T, map: Map<'_>, key: &str, read: impl FnOnce(&Node) -> Option<T>) {
    if let Some(value) = map.find(key).and_then(read) {
        *to = value;
    }
}

fn section<'n>(reader: &mut Reader, node: &'n Node, what: &str, keys: &'static [Key]) -> Option<Map<'n>> {
    let known: Vec<&str> = names(keys).collect();
    reader.map(node, what, &known)
}

fn subsection<'n>(reader: &mut Reader, map: Map<'n>, name: &'static str) -> Option<Map<'n>> {
    let node = map.find(name)?;
    let key = keys::CONFIG.iter().find(|key| key.name == name)?;
    match key.shape {
        Shape::Map(keys) => section(reader, node, name, keys),
        _ => None,
    }
}

/// Reads a value by the type that the table of keys gives it.
fn typed(reader: &mut Reader, node: &Node, what: &str, keys: &'static [Key], name: &str) -> Option<Value> {
    let ty = keys.iter().find(|key| key.name == name).and_then(|key| match key.shape {
        Shape::Of(ty) => Some(ty),
        _ => None,
    })?;
    reader.parsed(node, what, |text| options::value(text, ty))?
}

fn count(reader: &mut Reader, node: &Node, what: &str, name: &str) -> Option<usize> {
    match typed(reader, node, what, keys::LIMITS, name)? {
        Value::Count(count) => usize::try_from(count).ok(),
        _ => None,
    }
}

fn identifier(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > 253 || text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(format!("{text:?} is not a name of 1 to 253 bytes without white space"));
    }
    Ok(text.to_owned())
}

fn listen(reader: &mut Reader, node: &Node, what: &str) -> Option<Vec<Listen>> {
    let list = reader.list(node, what, true)?;
    if list.len() > MOST_LISTENERS {
        reader.problem(node.at, format!("{what}: at most {MOST_LISTENERS} addresses"));
        return None;
    }
    let mut addresses = Vec::with_capacity(list.len());
    for node in list {
        let Some(address) = reader.parsed(node, what, str::parse::<Listen>) else { continue };
        if addresses.contains(&address) {
            reader.problem(node.at, format!("{what}: {address} stands twice"));
        }
        addresses.push(address);
    }
    Some(addresses)
}

/// Addresses of which one could not be bound beside the other. Those that are the same share a socket.
fn collisions(reader: &mut Reader, map: Map<'_>, config: &Config) {
    let mut before: Vec<(&str, Listen, Option<Position>)> = Vec::new();
    for (section, default) in [("metrics", &config.metrics.listen), ("probes", &config.probes.listen)] {
        let written = map.find(section).and_then(|node| node.find("listen")).filter(|node| !node.is_null());
        let items = match written.map(|node| &node.value) {
            Some(Raw::List(items)) => items.as_slice(),
            _ => written.map(std::slice::from_ref).unwrap_or_default(),
        };
        let read = |node: &Rc<Node>| Some((node.text()?.parse().ok()?, Some(node.at)));
        let items = items.iter().take(MOST_LISTENERS).filter_map(read);
        let default = default.iter().map(|address| (*address, None));
        let here: Vec<_> = if written.is_some() { items.collect() } else { default.collect() };
        for (address, at) in here {
            if let Some((of, other, before)) = before.iter().find(|(_, other, _)| address.collides(*other))
                && let Some(at) = at.or(*before)
            {
                let message = format!("{section}.listen: {address} cannot be bound beside {other} of {of}.listen");
                reader.problem(at, message);
            }
            before.push((section, address, at));
        }
    }
}

fn path(text: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_graphic() && !b"?#%\"<>\\".contains(&byte);
    if !text.starts_with('/') || text.len() > 255 || !text.bytes().all(plain) {
        return Err(format!("{text:?} is not a path like /metrics"));
    }
    if ["/", "/healthz", "/readyz", "/directives"].contains(&text) {
        return Err(format!("{text:?} is served for something else"));
    }
    Ok(text.to_owned())
}

/// What a metric's name may begin with (Prometheus data model).
fn prefix(text: &str) -> Result<String, String> {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if text.len() > 64 || !text.bytes().all(word) || text.bytes().next().is_some_and(|byte| byte.is_ascii_digit()) {
        return Err(format!("{text:?} is not a prefix: letters, digits and '_', no digit first, at most 64"));
    }
    Ok(text.to_owned())
}

fn quantiles(reader: &mut Reader, node: &Node) -> Option<Vec<f64>> {
    let what = "metrics.quantiles";
    let mut quantiles = Vec::new();
    for node in reader.list(node, what, false)? {
        let quantile = reader.parsed(node, what, |text| {
            let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
            let value = text.parse::<f64>().ok().filter(|value| plain && (0.0..=1.0).contains(value));
            value.ok_or_else(|| format!("{text:?} is not a number from 0 to 1"))
        });
        let Some(quantile) = quantile else { continue };
        if quantiles.contains(&quantile) {
            reader.problem(node.at, format!("{what}: {quantile} stands twice"));
        }
        quantiles.push(quantile);
    }
    if quantiles.len() > MOST_QUANTILES {
        reader.problem(node.at, format!("{what}: at most {MOST_QUANTILES}"));
        return None;
    }
    quantiles.sort_by(f64::total_cmp);
    Some(quantiles)
}

fn perf_buffer_pages(reader: &mut Reader, node: &Node) -> Option<PerfBufferPages> {
    let what = "bpf.perfBufferPages";
    if !matches!(node.value, Raw::Map(_)) {
        return Some(PerfBufferPages { all: reader.parsed(node, what, pages)?, by_source: BTreeMap::new() });
    }
    let known: Vec<&'static str> = ring_sources().collect();
    let map = reader.map(node, what, &known)?;
    let mut by_source = BTreeMap::new();
    for source in known {
        if let Some(node) = map.find(source) {
            by_source.insert(source, reader.parsed(node, what, pages).flatten());
        }
    }
    Some(PerfBufferPages { all: None, by_source })
}

/// The sources whose records come by a ring of kernel programs.
pub fn ring_sources() -> impl Iterator<Item = &'static str> {
    let ring = |spec: &&Spec| spec.stage() == Stage::Source && !matches!(spec.build, Build::Source(Source::Capture));
    TASKS.iter().copied().filter(ring).map(|spec| spec.name)
}

fn pages(text: &str) -> Result<Option<u32>, String> {
    if text == "auto" {
        return Ok(None);
    }
    match units::digits(text).and_then(|pages| u32::try_from(pages).ok()) {
        Some(pages) if pages.is_power_of_two() && pages <= MOST_PAGES => Ok(Some(pages)),
        _ => Err(format!("{text:?} is neither auto nor a power of two from 1 to {MOST_PAGES}")),
    }
}

fn transport(text: &str) -> Result<Transport, String> {
    let known = [("auto", Transport::Auto), ("perf", Transport::Perf), ("ring", Transport::Ring)];
    let found = known.into_iter().find(|(name, _)| *name == text).map(|(_, transport)| transport);
    found.ok_or_else(|| format!("unknown word {text:?}{}", suggestion(text, known.map(|(name, _)| name))))
}

fn memory(text: &str) -> Result<Memory, String> {
    if let Some(percent) = text.strip_suffix('%') {
        let percent = units::digits(percent).filter(|percent| (1..=100).contains(percent));
        return percent
            .map(|percent| Memory::Percent(percent as u8))
            .ok_or_else(|| format!("{text:?} is not a part from 1% to 100%"));
    }
    match units::size(text) {
        Ok(bytes) if bytes < LEAST_MEMORY => Err(format!("{text} is less than {}", units::size_text(LEAST_MEMORY))),
        Ok(bytes) => Ok(Memory::Bytes(bytes)),
        Err(_) => Err(format!("{text:?} is neither a part like 70% nor a size like 256Mi")),
    }
}

fn redact(reader: &mut Reader, node: &Node) -> Option<Vec<String>> {
    let list = reader.list(node, "redact", true)?;
    let mut names = Vec::with_capacity(list.len());
    for node in list {
        // RFC 9110 section 5.1: a field name is a token; a pseudo-header begins with a colon.
        let name = reader.parsed(node, "redact", |text| {
            let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
            match text.strip_prefix(':').unwrap_or(text) {
                "" => Err(format!("{text:?} is not a header's name")),
                name if !name.bytes().all(token) => Err(format!("{text:?} is not a header's name")),
                _ => Ok(text.to_ascii_lowercase()),
            }
        });
        let Some(name) = name else { continue };
        if !names.contains(&name) {
            names.push(name);
        }
        if names.len() > MOST_NAMES {
            reader.problem(node.at, format!("redact: at most {MOST_NAMES} names"));
            return None;
        }
    }
    Some(names)
}

fn networks(reader: &mut Reader, node: &Node) -> Option<Vec<Network>> {
    let list = reader.list(node, "status.allow", true)?;
    Some(list.into_iter().filter_map(|node| reader.parsed(node, "status.allow", str::parse)).collect())
}

const MOST_LISTENERS: usize = 16;
const MOST_QUANTILES: usize = 32;
const MOST_NAMES: usize = 1024;
/// 256 MiB per CPU.
const MOST_PAGES: u32 = 1 << 16;
const LEAST_MEMORY: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::raw;

    fn read(text: &str) -> Result<Config, Vec<String>> {
        let mut reader = Reader::new("f".into());
        let documents = raw::parse(text, &"f".into(), &mut reader.problems).expect("YAML");
        let config = match documents.first() {
            Some(node) => super::config(&mut reader, node, "node-7").0,
            None => defaults("node-7"),
        };
        reader.problems.sort();
        match reader.problems.is_empty() {
            true => Ok(config),
            false => Err(reader.problems.iter().map(ToString::to_string).collect()),
        }
    }

    #[test]
    fn an_empty_file_means_the_defaults_that_the_table_of_keys_documents() {
        assert_eq!(read(""), Ok(defaults("node-7")));
        assert_eq!(read("metrics:\nlimits: {}\nredact: ~\n"), Ok(defaults("node-7")));
        let mut text = String::new();
        for key in keys::CONFIG.iter().filter(|key| !key.default.is_empty()) {
            match key.shape {
                Shape::Map(keys) => {
                    text += &format!("{}:\n", key.name);
                    keys.iter().for_each(|key| text += &format!("  {}: {}\n", key.name, key.default));
                }
                _ => text += &format!("{}: {}\n", key.name, key.default),
            }
        }
        assert_eq!(read(&text), Ok(defaults("node-7")), "{text}");
    }

    #[test]
    fn every_setting_is_read() {
        let config = read(
            "tawonID: core-1
metrics: {listen: [':9991', '127.0.0.1:1', '[::1]:2'], path: /m, prefix: tw, quantiles: [0.99, 0.5]}
probes: {listen: ':9991'}
bpf: {perfBufferPages: {flows: 64, exec: auto}, transport: ring, statsInterval: 5s, enableStats: 'true'}
limits: {memory: 256Mi, processes: 1000, flows: '2000'}
redact: [X-Key, x-key, Cookie]
redactArgs: ''
status: {allow: [10.0.0.0/8, '::1']}
directives: []
",
        )
        .unwrap();
        assert_eq!(config.tawon_id, "core-1");
        assert_eq!(config.metrics.listen.len(), 3);
        assert_eq!((config.metrics.path.as_str(), config.metrics.prefix.as_str()), ("/m", "tw"));
        assert_eq!(config.metrics.quantiles, [0.5, 0.99]);
        assert_eq!(config.probes.listen, [Listen::All(9991)]);
        let pages = &config.bpf.perf_buffer_pages;
        assert_eq!((pages.of("flows"), pages.of("exec"), pages.of("payload")), (Some(64), None, None));
        assert_eq!((config.bpf.transport, config.bpf.stats_interval.as_secs()), (Transport::Ring, 5));
        assert!(config.bpf.enable_stats);
        assert_eq!(
            (config.limits.memory, config.limits.processes, config.limits.flows),
            (Memory::Bytes(256 << 20), 1000, 2000)
        );
        assert_eq!(config.redact, ["x-key", "cookie"]);
        assert_eq!(config.redact_args, None);
        assert_eq!(config.status.allow.len(), 2);
        assert_eq!(read("bpf: {perfBufferPages: 128}").unwrap().bpf.perf_buffer_pages.of("flows"), Some(128));
        assert!(read("metrics: {listen: [], quantiles: []}").unwrap().metrics.listen.is_empty());
        for right in ["['0.0.0.0:8081', '[::1]:1'], path: /m}\nprobes: {listen: '[::]:8081'", "':8081'"] {
            assert!(read(&format!("metrics: {{listen: {right}}}")).is_ok(), "{right}");
        }
    }

    #[test]
    fn memory_is_a_part_of_what_there_is_or_a_size() {
        assert_eq!(Memory::Percent(70).bytes(1000), 700);
        assert_eq!(Memory::Percent(100).bytes(u64::MAX), u64::MAX);
        assert_eq!(Memory::Bytes(5).bytes(1000), 5);
    }

    #[test]
    fn wrong_settings_are_named_with_key_place_and_nearest_known_key() {
        for (text, expected) in [
            ("metrcs: {}", "f:1:1: unknown key \"metrcs\" in the configuration; did you mean \"metrics\"?"),
            ("metrics:\n  lisen: 1", "f:2:3: unknown key \"lisen\" in metrics; did you mean \"listen\"?"),
            ("metrics: []", "f:1:10: metrics: expected a map, found a list"),
            ("metrics: 9990", "f:1:10: metrics: expected a map, found \"9990\""),
            ("- a", "f:1:1: the configuration: expected a map, found a list"),
            ("hello", "f:1:1: the configuration: expected a map, found \"hello\""),
            ("metrics: {listen: 9990}", "f:1:19: metrics.listen: \"9990\" is not an address to listen on"),
            ("metrics: {listen: {}}", "f:1:19: metrics.listen: expected a list, found a map"),
            ("metrics: {listen: [':1', ':1']}", "f:1:26: metrics.listen: :1 stands twice"),
            (
                "metrics: {listen: ':23066'}\nprobes: {listen: '127.0.0.1:23066'}",
                "f:2:18: probes.listen: 127.0.0.1:23066 cannot be bound beside :23066 of metrics.listen",
            ),
            (
                "metrics: {listen: ['[::]:1', '[::1]:1']}",
                "f:1:30: metrics.listen: [::1]:1 cannot be bound beside [::]:1 of metrics.listen",
            ),
            (
                "metrics: {listen: '127.0.0.1:8081'}",
                "f:1:19: probes.listen: :8081 cannot be bound beside 127.0.0.1:8081 of metrics.listen",
            ),
            ("metrics: {path: metrics}", "f:1:17: metrics.path: \"metrics\" is not a path like /metrics"),
            ("metrics: {path: /healthz}", "is served for something else"),
            ("metrics: {prefix: 9a}", "\"9a\" is not a prefix"),
            ("metrics: {prefix: a-b}", "is not a prefix"),
            ("metrics: {quantiles: [1.1]}", "f:1:23: metrics.quantiles: \"1.1\" is not a number from 0 to 1"),
            ("metrics: {quantiles: [NaN]}", "is not a number from 0 to 1"),
            ("metrics: {quantiles: [0.5, 0.50]}", "0.5 stands twice"),
            ("metrics: {quantiles: 0.5}", "expected a list"),
            ("bpf: {perfBufferPages: 3}", "f:1:24: bpf.perfBufferPages: \"3\" is neither auto nor a power of two"),
            ("bpf: {perfBufferPages: 0}", "is neither auto nor a power of two"),
            (
                "bpf: {perfBufferPages: {flow: 4}}",
                "unknown key \"flow\" in bpf.perfBufferPages; did you mean \"flows\"?",
            ),
            ("bpf: {transport: pref}", "unknown word \"pref\"; did you mean \"perf\"?"),
            ("bpf: {statsInterval: 1}", "\"1\" is not a duration"),
            ("bpf: {statsInterval: 1ms}", "1ms is not from 100ms to 1h"),
            ("bpf: {enableStats: 1}", "expected true or false, found \"1\""),
            ("limits: {memory: 0%}", "f:1:18: limits.memory: \"0%\" is not a part from 1% to 100%"),
            ("limits: {memory: 101%}", "is not a part from 1% to 100%"),
            ("limits: {memory: lots}", "\"lots\" is neither a part like 70% nor a size like 256Mi"),
            ("limits: {memory: 1}", "1 is less than 1Mi"),
            ("limits: {flows: 0}", "0 is not from 1 to 16777216"),
            ("limits: {flows: -5}", "expected a whole number, found \"-5\""),
            ("redact: {a: b}", "redact: expected a list, found a map"),
            ("redact: ['a b']", "\"a b\" is not a header's name"),
            ("redactArgs: '('", "f:1:13: redactArgs: \"(\" is not a regular expression"),
            (
                "status: {allow: [10.0.0.0/99]}",
                "f:1:18: status.allow: \"10.0.0.0/99\": a network of this family has at most 32",
            ),
            ("tawonID: ''", "\"\" is not a name"),
            ("tawonID: {}", "tawonID: expected a text, found a map"),
            ("directives: {}", "f:1:13: directives: expected a list, found a map"),
            ("directives: [7]", "f:1:14: a directive: expected a map, found \"7\""),
        ] {
            let found = read(text).expect_err(text);
            assert_eq!(found.len(), 1, "{text}: {found:?}");
            assert!(found[0].contains(expected), "{text}: {found:?}");
        }
    }

    #[test]
    fn what_follows_the_words_for_secrets_in_arguments_is_found() {
        let pattern = defaults("x").redact_args.expect("the default compiles");
        let found = |args: &[&str]| {
            let argv: Vec<u8> = args.iter().flat_map(|arg| [arg.as_bytes(), b"\0"].concat()).collect();
            let captures = pattern.regex().captures(&argv)?;
            Some(String::from_utf8_lossy(captures.get(1)?.as_bytes()).into_owned())
        };
        for (args, secret) in [
            (&["x", "--password", "hunter2", "y"][..], "hunter2"),
            (&["x", "--password=hun ter", "y"], "hun ter"),
            (&["env", "API_KEY=abc"], "abc"),
            (&["x", "-apiKey:abc"], "abc"),
            (&["x", "--client-secret", "s"], "s"),
            (&["x", "accessToken=t"], "t"),
            (&["key=v"], "v"),
        ] {
            assert_eq!(found(args).as_deref(), Some(secret), "{args:?}");
        }
        for args in
            [&["ssh-keygen", "-t", "rsa"][..], &["monkey", "bars"], &["x", "--keyboard=us"], &["x", "--password"]]
        {
            assert_eq!(found(args), None, "{args:?}");
        }
    }
}
