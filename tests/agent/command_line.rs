//! The commands that only tell: what they print, where, and with which exit code.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use tawon::metrics::catalogue::CATALOGUE;
use tawon::task::TASKS;

use super::check::Scratch;

#[test]
fn every_command_has_help_with_examples() {
    let dir = Scratch::new("help");
    for command in [&[][..], &["agent"], &["run"], &["check"], &["tasks"], &["metrics"]] {
        let (code, text, errors) = dir.run(&[command, &["--help"]].concat());
        assert_eq!((code, errors.as_str()), (0, ""), "{command:?}");
        assert!(text.contains("Examples:\n  tawon ") && text.contains("Usage: tawon"), "{command:?}: {text}");
    }
}

#[test]
fn tasks_lists_the_table_and_shows_one_with_its_options() {
    let dir = Scratch::new("tasks");
    let (code, text, _) = dir.run(&["tasks"]);
    let names: Vec<&str> = text.lines().skip(1).filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!((code, names), (0, TASKS.iter().map(|spec| spec.name).collect()));
    for spec in TASKS {
        let (code, text, _) = dir.run(&["tasks", spec.name]);
        assert_eq!(code, 0);
        assert!(text.starts_with(&format!("{}: {}\n", spec.name, spec.help)));
        for option in spec.options {
            let line = text.lines().find(|line| line.split_whitespace().next() == Some(option.name));
            assert!(line.is_some_and(|line| line.ends_with(option.help)), "{} of {}", option.name, spec.name);
        }
    }
    assert_eq!(
        dir.run(&["tasks", "flwos"]),
        (2, String::new(), "tawon: unknown task \"flwos\"; did you mean \"flows\"?\n".to_owned())
    );
}

#[test]
fn defaults_of_all_options_are_what_their_type_allows() {
    for option in TASKS.iter().flat_map(|spec| spec.options) {
        assert_eq!(tawon::config::options::default(option).err(), None, "{}", option.name);
    }
}

#[test]
fn metrics_lists_the_catalogue() {
    let (code, text, _) = Scratch::new("metrics").run(&["metrics"]);
    assert_eq!(code, 0);
    let lines: Vec<&str> = text.lines().skip(1).collect();
    assert_eq!(lines.len(), CATALOGUE.len());
    for (line, metric) in lines.iter().zip(CATALOGUE) {
        let labels = if metric.labels.is_empty() { "-".to_owned() } else { metric.labels.join(",") };
        let words: Vec<&str> = line.split_whitespace().take(3).collect();
        assert_eq!(words, [metric.name, metric.kind.name(), labels.as_str()]);
        assert!(line.ends_with(metric.help), "{line}");
    }
}

#[test]
fn a_reader_that_has_enough_ends_a_command_in_order() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_tawon"))
        .args(["check", "--schema"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("tawon starts");
    let mut line = String::new();
    BufReader::with_capacity(1, child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((line.as_str(), output.status.code()), ("{\n", Some(0)));
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_exit_code_is_the_same_where_nothing_can_be_written_to_standard_error() {
    let dir = Scratch::new("full-stderr");
    dir.write("nothing.pcap", "");
    for (arguments, exit) in [
        (&["run", "-t", "exc"][..], 2),
        (&["run", "-f", "nonex"], 1),
        (&["run", "-t", "capture:file=nothing.pcap"], 4),
        (&["agent", "--config", "nonex"], 1),
        (&["tasks", "exc"], 2),
        (&["tasks", "log", "--schema"], 2),
        (&["tasks"], 0),
        (&["chekc"], 2),
    ] {
        let full = std::fs::File::options().write(true).open("/dev/full").expect("a device");
        let output = Command::new(env!("CARGO_BIN_EXE_tawon"))
            .args(arguments)
            .current_dir(dir.path(""))
            .stderr(full)
            .output()
            .expect("tawon starts");
        assert_eq!(output.status.code(), Some(exit), "{arguments:?}");
    }
}

#[test]
fn a_reader_that_leaves_early_ends_every_command_that_only_tells_in_order() {
    for arguments in [&["tasks"][..], &["metrics"], &["tasks", "flows"], &["run", "-t", "exec", "--print"]] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let output = Command::new(env!("CARGO_BIN_EXE_tawon"))
            .args(arguments)
            .stdout(writer.try_clone().expect("a pipe"))
            .stderr(writer)
            .output()
            .expect("tawon starts");
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
    }
}

#[test]
fn the_schema_knows_every_key_and_every_option() {
    let schema = json(&["check", "--schema"]);
    assert_eq!(schema["$schema"], "http://json-schema.org/draft-07/schema#");
    assert_eq!(schema["properties"]["metrics"]["properties"]["path"]["default"], "/metrics");
    assert_eq!(schema["properties"]["bpf"]["properties"]["enableStats"]["default"], false);
    let tasks = schema["definitions"]["task"]["allOf"].as_array().expect("a list");
    assert_eq!(tasks.len(), TASKS.len());
    for (schema, spec) in tasks.iter().zip(TASKS) {
        assert_eq!(schema["if"]["properties"]["task"]["const"], spec.name);
        let options = schema["then"]["properties"]["config"]["properties"].as_object().expect("a map");
        assert_eq!(options.len(), spec.options.len(), "{}", spec.name);
        assert!(spec.options.iter().all(|option| options.contains_key(option.name)), "{}", spec.name);
    }
}

#[test]
fn the_schema_takes_what_check_takes_and_refuses_what_a_schema_can_see() {
    let schema = json(&["check", "--schema"]);
    let validator = jsonschema::draft7::new(&schema).expect("a schema of draft 7");
    let valid = |yaml: &str| validator.is_valid(&serde_yaml::from_str(yaml).expect("YAML"));
    let dir = Scratch::new("schema");
    let check = |yaml: &str| {
        dir.write("tawon.yaml", yaml);
        dir.run(&["check", "tawon.yaml"]).0 == 0
    };
    for right in [
        super::check::EXAMPLE,
        "{}",
        "metrics: {listen: [':1', '[::1]:2'], quantiles: [], prefix: tw}",
        "metrics: ~\nprobes: {listen: ':9990'}\nlimits: {memory: 256Mi, processes: '1000', flows: 5}",
        "bpf: {perfBufferPages: {flows: 64, exec: auto}, enableStats: 'true', transport: ring}",
        "bpf: {perfBufferPages: 128}\nredact: cookie\nredactArgs: ''\nstatus: {allow: [10.0.0.0/8]}",
        "directives: [{name: a, tasks: [{task: flows, config: {interval: 10s, filter: port 80, meta: [process, pod]}}, {task: log}]}]",
        "directives: [{name: a, enabled: 'false', condition: {not: {or: [{equal: {field: process.uid, value: 0}}]}}, tasks: [{task: exec, config: {threads: 'true'}}, {task: file, config: {path: x, maxSize: 1Mi, maxFiles: '3'}}]}]",
    ] {
        assert!(check(right), "check: {right}");
        assert!(valid(right), "schema: {right}");
    }
    for wrong in [
        "metrcs: {}",
        "metrics: {listen: 9990}",
        "metrics: {listn: ':1'}",
        "metrics: {quantiles: [2]}",
        "bpf: {transport: pref}",
        "bpf: {statsInterval: 1}",
        "bpf: {perfBufferPages: {flow: 1}}",
        "limits: {memory: lots}",
        "limits: {flows: 0}",
        "directives: {}",
        "directives: [{tasks: [{task: exec}, {task: log}]}]",
        "directives: [{name: A, tasks: [{task: exec}, {task: log}]}]",
        "directives: [{name: a, tasks: [{task: exec}]}]",
        "directives: [{name: a, tasks: [{task: exce}, {task: log}]}]",
        "directives: [{name: a, tasks: [{task: exec, config: {thread: true}}, {task: log}]}]",
        "directives: [{name: a, tasks: [{task: exec, config: {threads: 1}}, {task: log}]}]",
        "directives: [{name: a, tasks: [{task: exec}, {task: file}]}]",
        "directives: [{name: a, tasks: [{task: exec}, {task: file, config: {}}]}]",
        "directives: [{name: a, tasks: [{task: exec}, {task: file, config: {path: ''}}]}]",
        "directives: [{name: a, condition: {equal: {field: pod.nam, value: x}}, tasks: [{task: exec}, {task: log}]}]",
        "directives: [{name: a, condition: {and: []}, tasks: [{task: exec}, {task: log}]}]",
        "directives: [{name: a, condition: {}, tasks: [{task: exec}, {task: log}]}]",
    ] {
        assert!(!check(wrong), "check: {wrong}");
        assert!(!valid(wrong), "schema: {wrong}");
    }
}

#[test]
fn schemas_of_records_are_schemas() {
    let line = json(&["tasks", "--schema"]);
    let validator = jsonschema::draft202012::new(&line).expect("a schema");
    let frame = |data: &str| {
        let entry = format!("{{\"type\":\"rawpacket\",\"data\":{data}}}");
        let text = format!(
            "{{\"timestamp\":\"2026-11-22T16:00:00.000000000Z\",\"src\":{{\"name\":\"a\",\"hostname\":\"b\"}},\"directive\":\"d\",\"data\":[{entry}]}}"
        );
        validator.is_valid(&serde_json::from_str(&text).expect("JSON"))
    };
    assert!(frame("{\"payload\":\"AA==\",\"length\":1,\"captured\":1,\"tsNs\":5}"));
    assert!(!frame("{\"payload\":\"AA==\",\"length\":1,\"captured\":1}"));
    assert!(!frame("{\"payload\":\"AA==\",\"length\":1,\"captured\":1,\"tsNs\":5,\"x\":1}"));
    assert_eq!(json(&["tasks", "capture", "--schema"])["title"], "rawpacket");
    let dir = Scratch::new("record-schema");
    assert_eq!(
        dir.run(&["tasks", "log", "--schema"]),
        (2, String::new(), "tawon: log gives no records of its own\n".to_owned())
    );
}

fn json(arguments: &[&str]) -> serde_json::Value {
    let (code, text, errors) = Scratch::new(&arguments.join("-")).run(arguments);
    assert_eq!((code, errors.as_str()), (0, ""));
    serde_json::from_str(&text).expect("JSON")
}

#[test]
fn run_prints_what_it_was_given_as_a_directive_that_check_and_run_take() {
    let dir = Scratch::new("print");
    let (code, text, errors) = dir.run(&[
        "run",
        "-t",
        "flows:filter='port 8080, or so',interval=10s".replace(", or so", "").as_str(),
        "-t",
        "log",
        "--if",
        "process.name~^(amf|smf)$ and not (process.uid=0 or pod.label=app=amf)",
        "--duration",
        "90s",
        "--print",
    ]);
    assert_eq!((code, errors.as_str()), (0, ""));
    assert_eq!(
        text,
        "name: run
duration: 90s
condition:
  and:
  - regex:
      field: process.name
      regex: ^(amf|smf)$
  - not:
      or:
      - equal:
          field: process.uid
          value: '0'
      - equal:
          field: pod.label
          value: app=amf
tasks:
- task: flows
  config:
    filter: port 8080
    interval: 10s
- task: log
"
    );
    dir.write("printed.yaml", &text);
    assert_eq!(dir.run(&["check", "printed.yaml"]).1, "printed.yaml: ok\n");
    assert_eq!(dir.run(&["run", "-f", "printed.yaml", "--print"]), (0, text, String::new()));
}

#[test]
fn run_without_a_destination_adds_log() {
    let (code, text, _) = Scratch::new("adds-log").run(&["run", "-t", "exec", "--print"]);
    assert_eq!((code, text.as_str()), (0, "name: run\ntasks:\n- task: exec\n- task: log\n"));
}

#[test]
fn run_names_the_argument_that_is_wrong() {
    let dir = Scratch::new("run-wrong");
    dir.write(
        "two.yaml",
        "- {name: a, tasks: [{task: exec}, {task: log}]}\n- {name: b, tasks: [{task: exec}, {task: log}]}\n",
    );
    dir.write("bad.yaml", "metrcs: {}\n");
    for (arguments, exit, expected) in [
        (
            &["-t", "flows:filtre=x"][..],
            2,
            "-t flows:filtre=x: error: unknown option \"filtre\" of flows; did you mean \"filter\"?\n",
        ),
        (&["-t", "exec", "-t", "file:path="], 2, "-t file:path=: error: option path of file is empty\n"),
        (&["-t", "flows:filter"], 2, "-t flows:filter: error: expected KEY=VALUE, found \"filter\"\n"),
        (
            &["-t", "flwos"],
            2,
            "-t flwos: error: unknown task \"flwos\"; did you mean \"flows\"? (known are exec, flows",
        ),
        (
            &["-t", "log", "-t", "log"],
            2,
            "-t log: error: log is no source, and a pipeline begins with one: exec, flows",
        ),
        (&["-t", "exec", "-t", "flows"], 2, "-t flows: error: flows is a source; only the first task is one\n"),
        (
            &["-t", "exec", "--if", "process.nam=x"],
            2,
            "--if:1:1: error: field: unknown field \"process.nam\"; did you mean \"process.name\"?\n",
        ),
        (
            &["-t", "exec", "--if", "process.name"],
            2,
            "--if:1:13: error: expected = or ~ behind \"process.name\", found the end\n",
        ),
        (
            &["-t", "exec", "--duration", "30"],
            2,
            "error: invalid value '30' for '--duration <TIME>': \"30\" is not a duration",
        ),
        (
            &["-t", "exec", "--duration", "100000h", "--print"],
            2,
            "error: invalid value '100000h' for '--duration <TIME>': 100000h is not from 1ms to 87600h",
        ),
        (
            &["-t", "exec", "--duration", "0s"],
            2,
            "error: invalid value '0s' for '--duration <TIME>': 0s is not from 1ms to 87600h",
        ),
        (&[], 2, "error: the following required arguments were not provided"),
        (&["-f", "two.yaml"], 1, "two.yaml: error: holds 2 directives; run takes one\n"),
        (&["-f", "none.yaml"], 1, "none.yaml: error: cannot be read: No such file"),
        (
            &["-t", "exec", "--config", "bad.yaml"],
            1,
            "bad.yaml:1:1: error: unknown key \"metrcs\" in the configuration; did you mean \"metrics\"?\n",
        ),
    ] {
        let (code, text, errors) = dir.run(&[&["run"], arguments].concat());
        assert_eq!((code, text.as_str()), (exit, ""), "{arguments:?}: {errors}");
        assert!(errors.starts_with(expected), "{arguments:?}: {errors}");
    }
}

#[test]
fn a_capture_without_the_privilege_says_which_one_and_how_to_get_it() {
    let tawon = |arguments: &[&str]| {
        let output = Command::new("setpriv")
            .args(["--bounding-set", "-net_raw", env!("CARGO_BIN_EXE_tawon"), "run", "-t"])
            .args(arguments)
            .output()
            .expect("setpriv of util-linux");
        (output.status.code(), String::from_utf8(output.stderr).expect("text"))
    };
    let (code, told) = tawon(&["capture:interface=lo", "--duration", "1s"]);
    assert_eq!(code, Some(3), "{told}");
    let last = told.lines().last().unwrap_or_default();
    assert!(last.starts_with("tawon: capture: interface lo: ") && last.contains("CAP_NET_RAW missing: "), "{told}");
    let (code, told) = tawon(&["capture:file=nowhere.pcap"]);
    assert!(code == Some(4) && !told.contains("CAP_NET_RAW"), "{told}");
}

#[test]
fn the_agent_names_what_is_wrong_and_does_not_start() {
    let dir = Scratch::new("agent-wrong");
    dir.write("tawon.yaml", "metrcs: {}\ndirectives: 7\n");
    let (code, text, errors) = dir.run(&["agent", "--config", "tawon.yaml"]);
    assert_eq!((code, text.as_str()), (1, ""));
    assert_eq!(
        errors,
        "tawon.yaml:1:1: error: unknown key \"metrcs\" in the configuration; did you mean \"metrics\"?\n\
         tawon.yaml:2:13: error: directives: expected a list, found \"7\"\n"
    );
}

#[test]
fn a_run_whose_terminal_is_lost_ends_in_order_unless_nohup_says_otherwise() {
    for (wrapper, ignored) in [(&[][..], false), (&["nohup"][..], true)] {
        let command = [wrapper, &[env!("CARGO_BIN_EXE_tawon"), "run", "-t", "exec", "--if", "process.pid=1"]].concat();
        let mut child = Command::new(command[0])
            .args(&command[1..])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        assert!(said.any(|line| line.contains("directive runs")), "it runs before it is told to end");
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
        assert_eq!(u64::from_str_radix(mask.trim(), 16).unwrap() & 1 == 1, ignored, "SIGHUP is the first");
        let name = if ignored { "TERM" } else { "HUP" };
        assert!(Command::new("kill").args(["-s", name, &child.id().to_string()]).status().unwrap().success());
        let rest: Vec<String> = said.collect();
        assert!(rest.iter().any(|line| line.starts_with("tawon: stopped, ")), "{rest:?}");
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
}
