//! `tawon check`: every error of a file, each with its place; and what nonsense gets for an answer.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

#[test]
fn a_right_configuration_is_ok() {
    let dir = Scratch::new("right");
    dir.write("tawon.yaml", EXAMPLE);
    dir.write("directives.d/one.yaml", "name: one\ntasks: [{task: exec}, {task: log}]\n");
    let (code, text) = dir.check(&["tawon.yaml", "directives.d/one.yaml"]);
    assert_eq!(text, "tawon.yaml: ok\ndirectives.d/one.yaml: ok\n");
    assert_eq!(code, 0);
    dir.write("empty.yaml", "");
    assert_eq!(dir.check(&["empty.yaml"]), (0, "empty.yaml: ok\n".to_owned()), "all defaults and no directive");
}

#[test]
fn every_mistake_is_told_at_once_with_line_and_column_in_order() {
    let dir = Scratch::new("mistakes");
    dir.write(
        "tawon.yaml",
        r#"tawonId: node-7
metrics:
  listen: "9990"
  qantiles: [0.5]
bpf:
  statsInterval: 30
limits: {memory: 170%}
redact: authorization
directives:
  - name: Web
    condition:
      and:
        - equal: {field: pod.namespce, value: core}
        - regex: {field: process.name, regex: "^(amf|smf$"}
    tasks:
      - task: flows
        config: {filter: "prot 8080", intervall: 10s}
      - task: log
  - name: twice
    duration: soon
    tasks: [{task: exec}, {task: exec}, {task: log}]
  - name: twice
    tasks: [{task: exec}, {task: log}]
  - name: twice
    tasks: [{task: exec}, {task: log}]
  - name: short
    tasks: [{task: flow}, {task: log}]
"#,
    );
    let (code, text) = dir.check(&["tawon.yaml"]);
    assert_eq!(code, 1);
    let expected = [
        r#"tawon.yaml:1:1: error: unknown key "tawonId" in the configuration; did you mean "tawonID"?"#,
        r#"tawon.yaml:3:11: error: metrics.listen: "9990" is not an address to listen on; write one like :9990, 127.0.0.1:9990 or [::1]:9990"#,
        r#"tawon.yaml:4:3: error: unknown key "qantiles" in metrics; did you mean "quantiles"?"#,
        r#"tawon.yaml:6:18: error: bpf.statsInterval: "30" is not a duration; write one like 300ms, 30s, 5m or 2h"#,
        r#"tawon.yaml:7:18: error: limits.memory: "170%" is not a part from 1% to 100%"#,
        r#"tawon.yaml:10:11: error: name: "Web" is not a DNS-1123 subdomain: lower-case letters, digits, '-' and '.', a letter or digit at both ends, at most 253"#,
        r#"tawon.yaml:13:26: error: field: unknown field "pod.namespce"; did you mean "pod.namespace"?"#,
        r#"tawon.yaml:14:47: error: regex: "^(amf|smf$" is not a regular expression: unclosed group"#,
        r#"tawon.yaml:17:26: error: option filter of flows: filter: expected host, net, port, portrange, src, dst, tcp, udp, ip, ip6, not or "(", found "prot""#,
        r#"tawon.yaml:17:39: error: unknown option "intervall" of flows; did you mean "interval"?"#,
        r#"tawon.yaml:20:15: error: duration: "soon" is not a duration; write one like 300ms, 30s, 5m or 2h"#,
        r#"tawon.yaml:21:34: error: exec is a source; only the first task is one"#,
        r#"tawon.yaml:22:11: error: another directive is named "twice" too"#,
        r#"tawon.yaml:24:11: error: another directive is named "twice" too"#,
    ];
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..expected.len()], expected);
    assert!(
        lines[14].starts_with(
            r#"tawon.yaml:27:20: error: unknown task "flow"; did you mean "flows"? (known are exec, flows"#
        )
    );
    assert_eq!(lines[15..], ["tawon.yaml: 15 errors"]);
}

#[test]
fn every_item_of_a_list_is_told_and_a_name_that_stands_twice_beside_other_mistakes() {
    let dir = Scratch::new("items");
    dir.write(
        "tawon.yaml",
        "metrics: {quantiles: [1.5, -1], listen: [a, b]}
probes: {listen: [c, d]}
status: {allow: [e, f]}
redact: [é, ü]
bpf: {perfBufferPages: {flows: 3, exec: 5}}
directives:
  - {name: a, tasks: [{task: exec, config: {meta: [x, y]}}, {task: log}]}
  - {name: a, tasks: [{task: exec}, {task: log}]}
  - {name: b, tasks: []}
  - {name: b, tasks: []}
",
    );
    dir.write("directives.d/beside.yaml", "name: c\n---\nname: c\n");
    let (code, text) = dir.check(&["tawon.yaml"]);
    let places = text.lines().filter_map(|line| line.split_once(": error: ")?.0.strip_prefix("tawon.yaml:"));
    let places = places.collect::<Vec<_>>().join(" ");
    assert_eq!(
        (code, places.as_str()),
        (1, "1:23 1:28 1:42 1:45 2:19 2:22 3:18 3:21 4:10 4:13 5:32 5:41 7:52 7:55 8:12 9:22 10:12 10:22"),
        "{text}"
    );
    assert!(text.contains("directives.d/beside.yaml:3:7: error: another directive is named \"c\" too\n"), "{text}");
}

#[test]
fn a_list_of_objects_has_what_kubectl_writes_and_nothing_else() {
    let dir = Scratch::new("kubectl");
    let item = "- {apiVersion: tawon.mantisnet.com/v1alpha1, kind: ClusterDirective, metadata: {name: a}, spec: {tasks: [{task: exec}, {task: log}]}}";
    for (list, expected) in [
        (format!("items:\n{item}\nmetadata: {{resourceVersion: ''}}"), "list.yaml: ok\n"),
        ("items: []".to_owned(), "list.yaml: ok\n"),
        (
            "itms: [1]".to_owned(),
            "list.yaml:1:1: error: a List without items\nlist.yaml:3:1: error: unknown key \"itms\" in a List; did you mean \"items\"?\n",
        ),
        ("metadata: {}".to_owned(), "list.yaml:1:1: error: a List without items\n"),
        ("items: 5".to_owned(), "list.yaml:3:8: error: items: expected a list, found \"5\"\n"),
        ("items: {a: b}".to_owned(), "list.yaml:3:8: error: items: expected a list, found a map\n"),
        ("items: [{kind: List}]".to_owned(), "list.yaml:3:9: error: an object without apiVersion\n"),
    ] {
        dir.write("list.yaml", &format!("apiVersion: v1\nkind: List\n{list}\n"));
        let (_, text) = dir.check(&["list.yaml"]);
        assert!(text.starts_with(expected), "{list}: {text}");
    }
    dir.write("list.yaml", &format!("apiVersion: v2\nkind: List\nitems:\n{item}\n"));
    let (_, text) = dir.check(&["list.yaml"]);
    assert!(text.starts_with("list.yaml:1:13: error: apiVersion: expected v1, found \"v2\"\n"), "{text}");
}

#[test]
fn files_of_directives_are_told_from_configurations_and_each_is_checked() {
    let dir = Scratch::new("directives");
    dir.write(
        "list.yaml",
        "- name: a\n  tasks: [{task: exec}, {task: log}]\n- name: a\n  tasks: [{task: exec}, {task: log}]\n",
    );
    dir.write("documents.yaml", "name: a\ntasks: [{task: exec}, {task: log}]\n---\nname: b\ntaks: []\n");
    dir.write("object.yaml", OBJECT);
    dir.write(
        "wrong-object.yaml",
        "apiVersion: tawon.mantisnet.com/v1\nkind: Directiv\nmetadata: {name: A}\nspec: {}\n",
    );
    let (code, text) = dir.check(&["list.yaml", "documents.yaml", "object.yaml", "wrong-object.yaml"]);
    assert_eq!(code, 1);
    assert_eq!(
        text,
        "list.yaml:3:9: error: another directive is named \"a\" too\n\
         list.yaml: 1 error\n\
         documents.yaml:4:1: error: a directive without tasks\n\
         documents.yaml:5:1: error: unknown key \"taks\" in a directive; did you mean \"tasks\"?\n\
         documents.yaml: 2 errors\n\
         object.yaml:11:3: warning: ignored, since it only makes sense in a cluster: nodeSelector, tolerations\n\
         object.yaml: ok, 1 warning\n\
         wrong-object.yaml:1:13: error: apiVersion: expected tawon.mantisnet.com/v1alpha1, found \"tawon.mantisnet.com/v1\"\n\
         wrong-object.yaml:2:7: error: kind: expected Directive or ClusterDirective, found \"Directiv\"\n\
         wrong-object.yaml:3:18: error: metadata.name: \"A\" is not a DNS-1123 subdomain: lower-case letters, digits, '-' and '.', a letter or digit at both ends, at most 253\n\
         wrong-object.yaml:4:7: error: a directive without tasks\n\
         wrong-object.yaml: 4 errors\n"
    );
}

#[test]
fn a_directive_of_a_namespace_may_not_reach_beyond_it() {
    let dir = Scratch::new("namespace");
    dir.write(
        "own.yaml",
        &OBJECT.replace("ClusterDirective", "Directive").replace("name: flows", "name: flows\n  namespace: core"),
    );
    let (code, text) = dir.check(&["own.yaml"]);
    assert_eq!(code, 1);
    assert!(
        text.starts_with(
            "own.yaml:20:13: error: log is for ClusterDirective objects, not for a Directive of namespace core\n"
        ),
        "{text}"
    );
    dir.write("cluster.yaml", &OBJECT.replace("name: flows", "name: flows\n  namespace: core"));
    assert!(
        dir.check(&["cluster.yaml"]).1.starts_with("cluster.yaml:5:14: error: a ClusterDirective has no namespace\n")
    );
}

#[test]
fn a_configuration_is_checked_with_its_directives_d() {
    let dir = Scratch::new("beside");
    dir.write("tawon.yaml", EXAMPLE);
    dir.write("directives.d/10-broken.yaml", "name: [\n");
    dir.write("directives.d/20-same.yaml", "name: processes\ntasks: [{task: exec}, {task: log}]\n");
    dir.write("directives.d/30-right.yaml", "name: right\ntasks: [{task: exec}, {task: log}]\n");
    dir.write("directives.d/README.md", "not a directive");
    dir.write("directives.d/.hidden.yaml", "nor: this");
    let (code, text) = dir.check(&["tawon.yaml"]);
    assert_eq!(code, 1);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert!(lines[0].starts_with("directives.d/10-broken.yaml:2:1: error: not YAML: "), "{text}");
    assert_eq!(
        lines[1..],
        ["directives.d/20-same.yaml:1:7: error: another directive is named \"processes\" too", "tawon.yaml: 2 errors"]
    );
}

#[test]
fn nonsense_is_refused_with_one_clear_error() {
    let dir = Scratch::new("nonsense");
    dir.write("huge.yaml", &"- name: a\n".repeat(1_048_576));
    dir.write_bytes("latin1.yaml", b"tawonID: a\n# caf\xe9\n");
    dir.write("directory/x", "");
    dir.write("cycle.yaml", "directives: &all\n  - *all\n");
    let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let below = vec![format!("*a{}", level - 1); 10].join(", ");
        laughs += &format!("a{level}: &a{level} [{below}]\n");
    }
    dir.write("laughs.yaml", &laughs);
    dir.write("deep.yaml", &format!("{}1{}", "[".repeat(200), "]".repeat(200)));
    dir.write("tab.yaml", "metrics:\n\tlisten: 1\n");
    dir.write("binary.yaml", "\u{0}\u{1}\u{2}ELF");
    dir.write("regex.yaml", "name: a\ncondition: {regex: {field: process.name, regex: \"((a{100}){100}){100}\"}}\ntasks: [{task: exec}, {task: log}]\n");
    dir.write("text.yaml", "hello\n");
    Command::new("mkfifo").arg(dir.path("pipe.yaml")).status().expect("mkfifo");
    std::os::unix::fs::symlink("nowhere", dir.path("dangling.yaml")).unwrap();
    for (file, expected) in [
        ("huge.yaml", "huge.yaml: error: is larger than 1048576 bytes, too large for a configuration"),
        ("latin1.yaml", "latin1.yaml:2:6: error: is not UTF-8 from here on"),
        ("directory", "directory: error: is a directory, not a file"),
        ("missing.yaml", "missing.yaml: error: cannot be read: No such file or directory (os error 2)"),
        ("dangling.yaml", "dangling.yaml: error: cannot be read: No such file or directory (os error 2)"),
        ("pipe.yaml", "pipe.yaml: error: is not a regular file"),
        ("/dev/zero", "/dev/zero: error: is not a regular file"),
        ("/proc/self/mem", "/proc/self/mem: error: cannot be read: Input/output error (os error 5)"),
        ("cycle.yaml", "cycle.yaml:2:5: error: an alias inside the very node that it stands for"),
        ("laughs.yaml", "laughs.yaml:6:10: error: more than 131072 values, aliases counted each time they stand"),
        ("deep.yaml", "deep.yaml:1:101: error: nested deeper than 100"),
        ("tab.yaml", "tab.yaml:2:1: error: "),
        ("binary.yaml", "binary.yaml:1:1: error: "),
        (
            "regex.yaml",
            "regex.yaml:2:49: error: regex: the regular expression \"((a{100}){100}){100}\" grows too large",
        ),
        ("text.yaml", "text.yaml:1:1: error: the configuration: expected a map, found \"hello\""),
    ] {
        let (code, text) = dir.check(&[file]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!((code, lines.len()), (1, 2), "{file}: {text}");
        assert!(lines[0].starts_with(expected), "{text}");
        assert_eq!(lines[1], format!("{file}: 1 error"));
    }
}

#[test]
fn sixty_four_directives_of_a_source_fit_and_the_next_is_refused() {
    let dir = Scratch::new("many");
    let directives = |count: usize| -> String {
        (0..count).map(|n| format!("- {{name: n{n}, tasks: [{{task: exec}}, {{task: log}}]}}\n")).collect()
    };
    dir.write("64.yaml", &directives(64));
    dir.write("65.yaml", &directives(65));
    dir.write("disabled.yaml", &directives(65).replace("name: n64", "enabled: false, name: n64"));
    let (code, text) = dir.check(&["64.yaml", "disabled.yaml", "65.yaml"]);
    assert_eq!(code, 1);
    assert_eq!(
        text,
        "64.yaml: ok\ndisabled.yaml: ok\n65.yaml:65:10: error: more than 64 directives with the source exec\n65.yaml: 1 error\n"
    );
}

#[test]
fn usage_is_told_on_standard_error_with_its_own_exit_code() {
    for arguments in [&["check"][..], &["check", "--schema", "x"], &["chekc"], &[]] {
        let output = tawon(Path::new("."), arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{arguments:?}");
    }
}

pub const EXAMPLE: &str = r#"tawonID: node-7
metrics:
  listen: ":9990"
  path: /metrics
  prefix: ""
  quantiles: [0.5, 0.9, 0.99]
probes:
  listen: ":8081"
bpf:
  perfBufferPages: auto
  transport: auto
  statsInterval: 1s
  enableStats: false
limits:
  memory: 70%
  processes: 65536
  flows: 65536
redact: [authorization, proxy-authorization, cookie, set-cookie, x-api-key]
directives:
  - name: processes
    enabled: true
    startAt: 2026-11-22T16:00:00Z
    duration: 30m
    condition:
      and:
        - equal: {field: pod.namespace, value: core}
        - regex: {field: process.name, regex: "^(amf|smf)$"}
    tasks:
      - task: exec
        config: {threads: "true", forks: false}
      - task: log
"#;

const OBJECT: &str = r#"apiVersion: tawon.mantisnet.com/v1alpha1
kind: ClusterDirective
metadata:
  name: flows
  labels: {app.kubernetes.io/part-of: core}
  annotations: {}
  uid: 3f0c1a52
status:
  conditions: []
spec:
  nodeSelector: {kubernetes.io/os: linux}
  tolerations: []
  enabled: "true"
  condition:
    equal: {field: process.uid, value: "0"}
  tasks:
    - task: flows
      config: {filter: port 8080, interval: "10s"}
    - task: log
"#;

fn tawon(directory: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tawon")).args(arguments).current_dir(directory).output().expect("tawon starts")
}

/// A directory of one test's own, emptied before.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Scratch {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("config").join(name);
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("a directory for the test");
        Scratch(path)
    }

    pub fn path(&self, file: &str) -> PathBuf {
        self.0.join(file)
    }

    pub fn write(&self, file: &str, text: &str) {
        self.write_bytes(file, text.as_bytes());
    }

    fn write_bytes(&self, file: &str, bytes: &[u8]) {
        let path = self.path(file);
        std::fs::create_dir_all(path.parent().expect("a file lies in a directory")).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    fn check(&self, files: &[&str]) -> (i32, String) {
        let output = tawon(&self.0, &[&["check"], files].concat());
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        (output.status.code().expect("no signal"), String::from_utf8(output.stdout).expect("UTF-8"))
    }

    /// Runs a command in the directory: its exit code, standard output and standard error.
    pub fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let output = tawon(&self.0, arguments);
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        (output.status.code().expect("no signal"), text(output.stdout), text(output.stderr))
    }
}
