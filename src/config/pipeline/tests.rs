//! Pipelines of tasks made for these tests alone, so that they hold whichever tasks a build has.

use super::*;
use crate::config::raw;
use crate::task::options::REQUIRED;
use crate::task::{Build, Opt, Source, Type};

/// A task for these tests alone, so that they hold whichever tasks a build has.
const fn spec(
    name: &'static str,
    accepts: &'static [Kind],
    emits: &'static [Kind],
    options: &'static [Opt],
    build: Build,
) -> Spec {
    Spec { name, help: "", options, accepts, emits, needs_condition: false, build }
}

const SOURCE: Build = Build::Source(Source::Flows);
const PROCESSING: Build = Build::Processing(|_, _| Err(String::new()));
const DESTINATION: Build = Build::Destination(|_, _| Err(String::new()));
const BYTES: &[Kind] = &[Kind::Payload, Kind::RawPacket];

static FLOWS: Spec = spec("flows", &[], &[Kind::Flow], &[], SOURCE);
static PAYLOAD: Spec = Spec { needs_condition: true, ..spec("payload", &[], &[Kind::Payload], OPTIONS, SOURCE) };
static CAPTURE: Spec = spec("capture", &[], &[Kind::RawPacket], &[], SOURCE);
static DNS: Spec = spec("dns", BYTES, &[Kind::Dns], &[], PROCESSING);
static H2: Spec = spec("h2", BYTES, &[Kind::H2], &[], PROCESSING);
static LOG: Spec = spec("log", &[], &[], &[], DESTINATION);
static PUBLISH: Spec = spec("publish", &[], &[], PUBLISH_OPTIONS, DESTINATION);
static KNOWN: &[&Spec] = &[&FLOWS, &PAYLOAD, &CAPTURE, &DNS, &H2, &LOG, &PUBLISH];

const fn option(name: &'static str, ty: Type, default: &'static str) -> Opt {
    Opt { name, ty, default, help: "what it is for" }
}

static PUBLISH_OPTIONS: &[Opt] = &[option("addr", Type::Text, REQUIRED), option("tls", Type::Bool, "false")];
static OPTIONS: &[Opt] = &[
    option("filter", Type::Filter, ""),
    option("maxBytes", Type::Size { min: 1, max: 1 << 20 }, "64Ki"),
    option("window", Type::Duration { min: Duration::from_millis(1), max: Duration::from_secs(10) }, "50ms"),
    option("count", Type::Count { min: 1, max: 100 }, ""),
    option("requireStart", Type::Bool, "false"),
    option("directions", Type::Choice(&["rx+tx", "rx", "tx"]), "rx+tx"),
    option("ports", Type::Ports, "8805"),
    option("names", Type::Words, ""),
    option("meta", Type::Meta, "process.min"),
    option("regex", Type::Regex, ""),
    option("pcap", Type::PcapFilter, ""),
    option("path", Type::Path, ""),
];

fn read(text: &str) -> (Option<Directive>, Vec<String>, Vec<String>) {
    let mut reader = Reader::new("f".into());
    reader.tasks = KNOWN;
    let documents = raw::parse(text, &"f".into(), &mut reader.problems).expect("YAML");
    let directive = directive(&mut reader, &documents[0]);
    reader.problems.sort();
    let texts = |problems: Vec<crate::config::Problem>| problems.iter().map(|problem| problem.to_string()).collect();
    (directive, texts(reader.problems), texts(reader.warnings))
}

fn problems(text: &str) -> Vec<String> {
    let (directive, problems, _) = read(text);
    assert_eq!(directive.is_none(), !problems.is_empty(), "{text}: {problems:?}");
    problems
}

/// The tasks as a pipeline of a directive that is right otherwise; they stand in column 20.
fn pipeline(tasks: &[&str]) -> Vec<String> {
    let tasks: Vec<String> = tasks.iter().map(|task| format!("    - task: {task}")).collect();
    let condition = "condition: {equal: {field: process.uid, value: 0}}";
    problems(&format!("name: a\n{condition}\ntasks:\n{}\n", tasks.join("\n")))
}

#[test]
fn a_whole_directive_becomes_its_values() {
    let (directive, problems, warnings) = read(
        "name: sbi.core-1
enabled: \"false\"
startAt: 2026-11-22T16:00:00Z
stopAt: \"2026-11-22T17:00:00+01:00\"
duration: 30m
condition:
  and:
    - equal: {field: pod.namespace, value: core}
    - not: {regex: {field: process.name, regex: \"^(amf|smf)$\"}}
    - or: [equal: {field: process.pid, value: 7}]
tasks:
  - task: payload
    config: {filter: port 8080, maxBytes: \"1000\", window: 5s, requireStart: \"true\", ports: [2152, \"8805\", 2152], names: a+b, meta: [process, pod.min]}
  - {task: log}
",
    );
    // 17:00 at +01:00 is 16:00Z, which is not after startAt.
    assert_eq!(problems, ["f:4:9: stopAt is not after startAt"]);
    assert!(warnings.is_empty() && directive.is_none());
    let (directive, problems, _) = read(
        "name: sbi.core-1
enabled: \"false\"
startAt: 2026-11-22T16:00:00Z
stopAt: 2026-11-22T17:00:00Z
duration: 30m
condition:
  and:
    - equal: {field: pod.namespace, value: core}
    - not: {regex: {field: process.name, regex: \"^(amf|smf)$\"}}
    - or: [equal: {field: process.pid, value: 7}]
tasks:
  - task: payload
    config: {filter: port 8080, maxBytes: \"1000\", window: 5s, requireStart: \"true\", ports: [2152, \"8805\", 2152], names: a+b, meta: [process, pod.min]}
  - {task: log}
",
    );
    assert!(problems.is_empty(), "{problems:?}");
    let directive = directive.unwrap();
    assert_eq!((directive.name.as_str(), directive.enabled), ("sbi.core-1", false));
    assert_eq!(directive.start_at.unwrap().to_string(), "2026-11-22T16:00:00.000000000Z");
    assert_eq!(directive.duration, Some(Duration::from_secs(1800)));
    let equal = |field, value: &str| Condition::Equal(field, value.to_owned());
    let name = Condition::Regex(Field::Name, Pattern::new("^(amf|smf)$").unwrap());
    assert_eq!(
        directive.condition,
        Some(Condition::And(vec![
            equal(Field::PodNamespace, "core"),
            Condition::Not(Box::new(name)),
            Condition::Or(vec![equal(Field::Pid, "7")])
        ]))
    );
    let options = &directive.tasks[0].options;
    assert_eq!(options.text("filter"), Some("port 8080"));
    assert_eq!(options.number("maxBytes"), Some(1000));
    assert_eq!(options.duration("window"), Some(Duration::from_secs(5)));
    assert!(options.flag("requireStart"));
    assert_eq!(options.ports("ports"), [2152, 8805]);
    assert_eq!(options.words("names"), ["a", "b"]);
    assert_eq!(options.text("meta"), Some("process+pod.min"));
    assert_eq!(options.text("directions"), Some("rx+tx"), "a default");
    assert_eq!(options.number("count"), None, "no default");
}

#[test]
fn options_mean_the_same_whichever_yaml_type_carries_them() {
    let with = |config: &str| {
        let head = "name: a\ncondition: {equal: {field: process.uid, value: 0}}\ntasks:\n";
        let (directive, problems, _) = read(&format!("{head}  - {{task: payload, config: {config}}}\n  - task: log\n"));
        assert!(problems.is_empty(), "{config}: {problems:?}");
        directive.unwrap()
    };
    assert_eq!(with("{maxBytes: 1024, requireStart: true}"), with("{maxBytes: 1Ki, requireStart: \"true\"}"));
    assert_eq!(with("{}"), with("{maxBytes: 65536, window: 50ms, filter: , names: \"\", count: ~}"));
    assert_eq!(with("{names: []}"), with("{filter: \"\"}"));
    assert_ne!(with("{}"), with("{ports: []}"));
    assert_ne!(with("{}"), with("{maxBytes: 1}"));
}

#[test]
fn wrong_options_are_named_with_their_place_and_the_right_form() {
    for (config, expected) in [
        ("filtre: x", "f:5:22: unknown option \"filtre\" of payload; did you mean \"filter\"?"),
        ("filter: prot 80", "f:5:30: option filter of payload: filter: expected host"),
        ("filter: [a]", "f:5:30: option filter of payload: expected a text, found a list"),
        ("maxBytes: 2Mi", "f:5:32: option maxBytes of payload: 2Mi is not from 1 to 1Mi"),
        ("maxBytes: big", "\"big\" is not a size"),
        ("window: 20s", "20s is not from 1ms to 10s"),
        ("window: 300", "is not a duration; write one like 300ms"),
        ("count: 0", "0 is not from 1 to 100"),
        ("count: -1", "expected a whole number, found \"-1\""),
        ("count: 1.0", "expected a whole number"),
        ("requireStart: yes", "expected true or false, found \"yes\""),
        ("directions: xr", "unknown word \"xr\"; did you mean \"rx\"?"),
        ("ports: [1, 70000]", "\"70000\" is not a port"),
        ("ports: 0", "\"0\" is not a port"),
        ("ports: [a+b]", "f:5:30: option ports of payload: \"a+b\" is not a word of a list"),
        ("meta: process.colour", "unknown meta \"process.colour\""),
        ("regex: (", "\"(\" is not a regular expression: unclosed group"),
        ("pcap: \"a\\0b\"", "holds a zero byte"),
        ("regex: \"(a{1000}){1000}\"", "grows too large"),
    ] {
        let text = format!(
            "name: a\ncondition: {{equal: {{field: process.uid, value: 0}}}}\ntasks:\n  - task: payload\n    config:         {{{config}}}\n  - task: log\n"
        );
        let found = problems(&text);
        assert_eq!(found.len(), 1, "{config}: {found:?}");
        assert!(found[0].contains(expected), "{config}: {found:?}");
    }
}

#[test]
fn a_pipeline_that_does_not_fit_is_refused_with_its_place() {
    for (tasks, expected) in [
        (&["flows", "log"][..], None),
        (&["capture", "dns", "log", "publish, config: {addr: 127.0.0.1}"], None),
        (&["log", "log"], Some("f:4:14: log is no source, and a pipeline begins with one: flows, payload, capture")),
        (&["dns", "log"], Some("f:4:14: dns is no source")),
        (&["flows", "flows", "log"], Some("f:5:14: flows is a source; only the first task is one")),
        (&["capture", "log", "dns"], Some("f:6:14: dns stands behind a destination; destinations come last")),
        (&["capture", "dns"], Some("f:4:5: no destination at the end; known are log, publish")),
        (&["flows"], Some("f:4:5: a pipeline has at least two tasks, a source and a destination")),
        (&["flows", "h2", "log"], Some("f:5:14: h2 accepts payload, rawpacket; the tasks before it give flow")),
        (&["payload", "h2", "dns", "log"], Some("f:6:14: dns accepts payload, rawpacket; the tasks before it give h2")),
        (&["payload", "dns", "h2", "log"], None),
        (&["flwos", "log"], Some("f:4:14: unknown task \"flwos\"; did you mean \"flows\"? (known are flows, payload")),
        (&["flows", "printer"], Some("f:5:14: unknown task \"printer\"; known are flows, payload, capture")),
        (&["flows", "publish"], Some("f:5:14: publish needs the option addr: what it is for")),
        (&["flows", "log, confg: {}"], Some("f:5:19: unknown key \"confg\" in a task; did you mean \"config\"?")),
    ] {
        let tasks: Vec<String> = tasks.iter().map(|task| format!("{{task: {task}}}")).collect();
        let text = format!(
            "name: a\ncondition: {{equal: {{field: process.uid, value: 0}}}}\ntasks:\n    - {}\n",
            tasks.join("\n    - ")
        );
        let found = problems(&text);
        match expected {
            None => assert_eq!(found, [""; 0], "{tasks:?}"),
            Some(expected) => {
                assert_eq!(found.len(), 1, "{tasks:?}: {found:?}");
                assert!(found[0].starts_with(expected), "{tasks:?}: {found:?}");
            }
        }
    }
    assert!(pipeline(&["log"; 33])[0].contains("33 tasks; a pipeline has at most 32"));
}

#[test]
fn sources_that_need_a_condition_are_refused_without() {
    assert_eq!(
        problems("name: a\ntasks: [{task: payload}, {task: log}]\n"),
        ["f:2:16: payload needs a condition that says which processes"]
    );
    assert!(problems("name: a\ntasks: [{task: flows}, {task: log}]\n").is_empty());
}

#[test]
fn wrong_conditions_are_named_with_their_place() {
    let deep = |levels: usize| {
        format!("{}{{equal: {{field: process.uid, value: 0}}}}{}", "{not: ".repeat(levels), "}".repeat(levels))
    };
    for (condition, expected) in [
        ("{}".to_owned(), "f:1:13: a condition is one of equal, regex, and, or, not"),
        ("[]".to_owned(), "f:1:13: a condition: expected a map, found a list"),
        ("{equals: {}}".to_owned(), "f:1:14: unknown key \"equals\" in a condition; did you mean \"equal\"?"),
        ("{equal: {}}".to_owned(), "f:1:21: equal without field"),
        ("{equal: {field: process.uid}}".to_owned(), "f:1:21: equal without value"),
        (
            "{equal: {field: process.nam, value: a}}".to_owned(),
            "f:1:29: field: unknown field \"process.nam\"; did you mean \"process.name\"?",
        ),
        ("{equal: {field: process.pid, value: x}}".to_owned(), "f:1:49: value: process.pid is a number"),
        ("{equal: {field: process.uid, value: -1}}".to_owned(), "process.uid is a number"),
        ("{equal: {field: process.uid, value: 007}}".to_owned(), "process.uid is written 7, not \"007\""),
        (
            "{equal: {field: process.pid, value: 4294967296}}".to_owned(),
            "process.pid is a number from 0 to 4294967295; \"4294967296\" is not",
        ),
        ("{equal: {field: process.name, value: sixteen-bytes-xx}}".to_owned(), "at most 15 bytes long"),
        ("{equal: {field: pod.name, value: \"\"}}".to_owned(), "pod.name is never empty"),
        (
            "{regex: {field: pod.name, regex: \"[\"}}".to_owned(),
            "f:1:46: regex: \"[\" is not a regular expression: unclosed character class",
        ),
        ("{regex: {field: pod.name, value: a}}".to_owned(), "f:1:21: regex without regex"),
        ("{and: []}".to_owned(), "f:1:14: and without a condition in it"),
        ("{or: {}}".to_owned(), "f:1:18: or: expected a list, found a map"),
        ("{not: }".to_owned(), "a condition says nothing"),
        ("{equal: {field: process.uid, value: 0}, not: {}}".to_owned(), "f:1:13: a condition is one of"),
        (deep(32), "nested deeper than 32"),
    ] {
        let found = problems(&format!("condition:  {condition}\nname: a\ntasks: [{{task: flows}}, {{task: log}}]\n"));
        assert!(found[0].contains(expected), "{condition}: {found:?}");
    }
    assert!(
        problems(&format!("condition: {}\nname: a\ntasks: [{{task: flows}}, {{task: log}}]\n", deep(31))).is_empty()
    );
}

#[test]
fn names_are_dns_1123_subdomains() {
    for name in ["a", "a-b", "a.b-c.d0", "0", &"a".repeat(253)] {
        assert!(dns_subdomain(name).is_ok(), "{name}");
    }
    for name in ["", "A", "a_b", "-a", "a-", "a..b", ".a", "a.", "a.-b", "é", "a/b", "a b", &"a".repeat(254)] {
        assert!(dns_subdomain(name).is_err(), "{name}");
    }
    assert_eq!(problems("tasks: [{task: flows}, {task: log}]\n"), ["f:1:1: a directive without a name"]);
}

#[test]
fn all_mistakes_of_a_directive_are_told_at_once_and_in_order() {
    let found = problems(
        "nam: x
enabled: maybe
startAt: today
duration: 0s
condition: {not: 7}
tasks:
  - task: payload
    config: {filter: x, maxBytes: y}
  - task: printer
  - tusk: log
",
    );
    let starts = [
        "f:1:1:", "f:1:1:", "f:2:10:", "f:3:10:", "f:4:11:", "f:5:18:", "f:8:22:", "f:8:35:", "f:9:11:", "f:10:5:",
        "f:10:5:",
    ];
    assert_eq!(found.len(), starts.len(), "{found:#?}");
    for (problem, start) in found.iter().zip(starts) {
        assert!(problem.starts_with(start), "{problem} at {start}");
    }
}

#[test]
fn plaintext_that_leaves_the_node_is_warned_of_and_credentials_are_not_shown() {
    let warned = |source: &str, publish: &str| {
        let (_, problems, warnings) = read(&format!(
            "name: a\ncondition: {{equal: {{field: process.uid, value: 0}}}}\ntasks: [{{task: {source}}}, {{task: publish, config: {{{publish}}}}}]\n"
        ));
        assert!(problems.is_empty(), "{problems:?}");
        warnings
    };
    assert_eq!(
        warned("payload", "addr: \"nats://user:secret@nats.core:4222/x\""),
        ["f:3:33: publish sends the contents of connections to nats.core without TLS"]
    );
    assert_eq!(warned("capture", "addr: \"192.0.2.7:4222\"").len(), 1);
    assert_eq!(warned("capture", "addr: \"[2001:db8::1]:4222\"").len(), 1);
    for publish in [
        "addr: \"nats://127.0.0.1:4222\"",
        "addr: \"[::1]:1\"",
        "addr: localhost",
        "addr: \"tls://x:1\"",
        "addr: x, tls: true",
    ] {
        assert_eq!(warned("payload", publish), [""; 0], "{publish}");
    }
    assert_eq!(warned("flows", "addr: x"), [""; 0], "flows carry no contents");
}

#[test]
fn a_directive_of_a_namespace_sees_the_pods_of_its_namespace_alone() {
    let read = |condition: &str| {
        let text = format!(
            "apiVersion: tawon.mantisnet.com/v1alpha1\nkind: Directive\nmetadata: {{name: sbi, namespace: core}}\nspec: {{tasks: [{{task: payload}}, {{task: publish, config: {{addr: localhost}}}}], condition: {condition}}}\n"
        );
        let mut reader = Reader::new("f".into());
        reader.tasks = KNOWN;
        let documents = raw::parse(&text, &"f".into(), &mut reader.problems).expect("YAML");
        let mut placed = Vec::new();
        crate::config::directive_file::document(&mut reader, &documents[0], &mut placed);
        (placed.pop().map(|placed| placed.directive), reader.problems)
    };
    let own = Condition::Equal(Field::PodNamespace, "core".to_owned());
    let (directive, problems) = read("{not: {equal: {field: pod.namespace, value: core}}}");
    assert_eq!(problems, []);
    let directive = directive.unwrap();
    assert_eq!(directive.name, "core/sbi");
    assert_eq!(directive.condition, Some(Condition::And(vec![own.clone(), Condition::Not(Box::new(own.clone()))])));
    let (directive, problems) = read("");
    assert_eq!(problems, [], "its namespace is condition enough");
    assert_eq!(directive.unwrap().condition, Some(Condition::And(vec![own])));
    let deep = |levels: usize| {
        format!("{}{{equal: {{field: process.uid, value: 0}}}}{}", "{not: ".repeat(levels), "}".repeat(levels))
    };
    assert!(read(&deep(30)).0.is_some());
    assert!(read(&deep(31)).0.is_none(), "the namespace takes a level");
}
