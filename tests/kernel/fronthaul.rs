//! PFCP and eCPRI made by scapy, over a veth pair between two network namespaces.

use std::path::Path;

use crate::agent::beside_others;
use crate::support::namespace::{self, text};
use crate::support::scapy;

#[test]
fn of_23_messages_of_each_there_are_23_records_and_every_status_is_counted() {
    let Some(python) = scapy::python() else { return };
    let _lock = beside_others();
    let live = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scapy/live.py");
    let folder = namespace::run_with("capture", "fronthaul", SCRIPT, &[("PYTHON", &python), ("LIVE", &live)]);

    for kind in ["pfcp", "ecpri"] {
        let records = text(&folder, &format!("{kind}.jsonl"));
        let of_kind = format!("{{\"type\":\"{kind}\",");
        assert_eq!(records.lines().filter(|line| line.contains(&of_kind)).count(), 23, "{kind}");
        assert_eq!(records.lines().count(), 23, "{kind}");
    }
    let metrics = text(&folder, "page");
    for (series, value) in [
        ("pfcp_parse_total{status=\"ok\"}", 23),
        ("pfcp_parse_total{status=\"truncated\"}", 0),
        ("pfcp_parse_total{status=\"malformed\"}", 1),
        ("pfcp_parse_total{status=\"unsupported\"}", 1),
        ("pfcp_parse_total{status=\"not_matching\"}", 1),
        ("ecpri_parse_total{status=\"ok\"}", 23),
        ("ecpri_parse_total{status=\"malformed\"}", 1),
    ] {
        let line =
            metrics.lines().find(|line| line.contains(series)).unwrap_or_else(|| panic!("no {series}:\n{metrics}"));
        assert!(line.ends_with(&format!(" {value}")), "{line}");
    }
}

/// The agent in one namespace, the sender in another; the second lives as long as its `sleep`.
const SCRIPT: &str = r#"
unshare -n sleep 600 &
other=$!
until_true '[ "$(readlink /proc/$other/ns/net)" != "$(readlink /proc/self/ns/net)" ]'
ip link add va type veth peer name vb netns $other
ip link set va up
nsenter -t $other -n ip link set vb up
cat > config.yaml <<'YAML'
metrics: {listen: "127.0.0.1:9990"}
probes: {listen: "127.0.0.1:9990"}
directives:
  - {name: core, tasks: [{task: capture, config: {interface: va}}, {task: pfcp}, {task: file, config: {path: pfcp.jsonl}}]}
  - {name: radio, tasks: [{task: capture, config: {interface: va}}, {task: ecpri}, {task: file, config: {path: ecpri.jsonl}}]}
YAML
$TAWON agent --config config.yaml > out 2> err &
agent=$!
until_true 'curl -sf -o page http://127.0.0.1:9990/readyz'
nsenter -t $other -n "$PYTHON" "$LIVE" vb 23
until_true 'scrape && grep -q "pfcp_parse_total{status=\"malformed\"} [1-9]" page && grep -q "ecpri_parse_total{status=\"malformed\"} [1-9]" page'
kill -TERM $agent
wait $agent || true
"#;
