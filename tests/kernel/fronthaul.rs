//! PFCP and eCPRI made by scapy, over a veth pair between two network namespaces.

use std::path::Path;
use std::process::Command;

use crate::support::{scapy, tshark};

#[test]
fn of_23_messages_of_each_there_are_23_records_and_every_status_is_counted() {
    let Some(python) = scapy::python() else { return };
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fronthaul");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    let mut command = Command::new("unshare");
    command.args(["-n", "bash", "-c", SCRIPT]).current_dir(&folder);
    command.env("TAWON", env!("CARGO_BIN_EXE_tawon")).env("PYTHON", python);
    command.env("LIVE", Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scapy/live.py"));
    tshark::output(&mut command);

    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    for kind in ["pfcp", "ecpri"] {
        let records = read(&format!("{kind}.jsonl"));
        let of_kind = format!("{{\"type\":\"{kind}\",");
        assert_eq!(records.lines().filter(|line| line.contains(&of_kind)).count(), 23, "{kind}");
        assert_eq!(records.lines().count(), 23, "{kind}");
    }
    let metrics = read("metrics");
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
set -eu
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
until_true() { for _ in $(seq 300); do if eval "$1"; then return 0; fi; sleep 0.1; done; echo "never: $1" >&2; cat err >&2; return 1; }
export LC_ALL=C
ip link set lo up
sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1
unshare -n sleep 60 &
other=$!
until_true '[ "$(readlink /proc/$other/ns/net)" != "$(readlink /proc/self/ns/net)" ]'
ip link add va type veth peer name vb netns $other
ip link set va up
nsenter -t $other -n ip link set vb up
cat > config.yaml <<'YAML'
metrics: {listen: "127.0.0.1:9090"}
probes: {listen: "127.0.0.1:9091"}
directives:
  - {name: core, tasks: [{task: capture, config: {interface: va}}, {task: pfcp}, {task: file, config: {path: pfcp.jsonl}}]}
  - {name: radio, tasks: [{task: capture, config: {interface: va}}, {task: ecpri}, {task: file, config: {path: ecpri.jsonl}}]}
YAML
$TAWON agent --config config.yaml > out 2> err &
agent=$!
until_true '[ $(($(wc -l < /proc/net/packet) - 1)) -eq 2 ]'
nsenter -t $other -n "$PYTHON" "$LIVE" vb 23
scrape() { exec 3<>/dev/tcp/127.0.0.1/9090; printf 'GET /metrics HTTP/1.0\r\n\r\n' >&3; cat <&3 > metrics; exec 3>&-; }
until_true 'scrape; grep -q "pfcp_parse_total{status=\"malformed\"} [1-9]" metrics && grep -q "ecpri_parse_total{status=\"malformed\"} [1-9]" metrics'
kill -TERM $agent
wait $agent || true
"#;
