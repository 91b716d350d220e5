//! `capture` on real interfaces: network namespaces of the tests' own, frames sent by a raw socket.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::tshark;

fn scratch(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("capture").join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Runs a script in a network namespace of its own, in a folder of its own; gives that folder.
fn in_namespace(name: &str, script: &str) -> PathBuf {
    let folder = scratch(name);
    let script = format!("{PRELUDE}{script}");
    let mut command = Command::new("unshare");
    command.args(["-n", "bash", "-c", &script]).current_dir(&folder).env("TAWON", env!("CARGO_BIN_EXE_tawon"));
    tshark::output(&mut command);
    folder
}

/// Functions that the scripts share. The agent's packet sockets show in /proc/net/packet once they are open.
const PRELUDE: &str = r#"
set -eu
sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1
ip link set lo up
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
until_true() { for _ in $(seq 300); do if eval "$1"; then return 0; fi; sleep 0.1; done; echo "never: $1" >&2; cat err >&2 || true; return 1; }
sockets() { until_true "[ \$((\$(wc -l < /proc/net/packet) - 1)) -eq $1 ]"; }
lines() { until_true "[ \$(wc -l < $1) -ge $2 ]"; }
# send INTERFACE PORT COUNT: that many UDP datagrams from 10.9.9.1 to 10.9.9.2 as Ethernet frames
send() { python3 - "$@" <<'PY'
import socket, struct, sys
name, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
link.bind((name, 0))
for at in range(count):
    data = struct.pack("!HHHH", 4000 + at, port, 12, 0) + at.to_bytes(4, "big")
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(data), at, 0, 64, 17, 0, bytes([10, 9, 9, 1]), bytes([10, 9, 9, 2]))
    link.send(bytes.fromhex("020000000002020000000001") + b"\x08\x00" + ip + data)
PY
}
"#;

fn records(folder: &Path, file: &str) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(folder.join(file)).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn frames_that_pass_the_filter_are_told_each_once_and_in_order() {
    let folder = in_namespace(
        "filter",
        r#"
        ip link add va type veth peer name vb
        ip link set va up; ip link set vb up
        $TAWON run -t "capture:interface=va,filter='udp dst port 7777',meta=interface" -t headers -t log > out 2> err &
        agent=$!
        sockets 1
        send vb 8888 40; send vb 7777 23; send vb 8888 40
        lines out 23
        send vb 7777 1
        lines out 24
        kill -INT $agent
        wait $agent
        "#,
    );
    let records = records(&folder, "out");
    assert_eq!(records.len(), 24);
    for (at, record) in records.iter().enumerate() {
        let [raw, headers] = [0, 1].map(|at| &record["data"][at]["data"]);
        assert_eq!((raw["length"].as_u64(), raw["captured"].as_u64()), (Some(46), Some(46)));
        assert_eq!((&raw["interface"]["name"], raw["interface"]["index"].is_u64()), (&"va".into(), true));
        assert_eq!(headers["udp"]["dstPort"], 7777);
        assert_eq!(headers["udp"]["srcPort"], 4000 + at % 23);
        assert_eq!(headers["ipv4"]["src"], "10.9.9.1");
    }
}

#[test]
fn a_glob_takes_interfaces_that_come_later_and_lets_go_of_those_that_leave() {
    let folder = in_namespace(
        "glob",
        r#"
        ip link add va type veth peer name other
        ip link set va up; ip link set other up
        $TAWON run -t "capture:interface=v*,filter='udp port 7777'" -t headers -t log > out 2> err &
        agent=$!
        sockets 1
        send other 7777 5
        lines out 5
        ip link add vlate type veth peer name late
        ip link set vlate up; ip link set late up
        sockets 2
        send late 7777 6
        lines out 11
        ip link del va
        sockets 1
        send late 7777 7
        lines out 18
        kill -INT $agent
        wait $agent
        "#,
    );
    let names: Vec<String> = records(&folder, "out")
        .iter()
        .map(|record| record["data"][0]["data"]["interface"]["name"].as_str().unwrap().to_owned())
        .collect();
    let expected = [vec!["va"; 5], vec!["vlate"; 13]].concat();
    assert_eq!(names, expected);
}

#[test]
fn an_interface_that_was_named_and_leaves_fails_the_directive() {
    let folder = in_namespace(
        "gone",
        r#"
        ip link add va type veth peer name vb
        ip link set va up; ip link set vb up
        $TAWON run -t capture:interface=va -t log > out 2> err &
        agent=$!
        sockets 1
        ip link del va
        code=0
        wait $agent || code=$?
        echo $code > code
        "#,
    );
    assert_eq!(std::fs::read_to_string(folder.join("code")).unwrap(), "4\n");
    assert!(std::fs::read_to_string(folder.join("err")).unwrap().contains("interface va: "));
}

#[test]
fn the_agents_own_frames_are_left_out_and_counted() {
    let folder = in_namespace(
        "own",
        r#"
        printf '%s\n' 'metrics: {listen: "127.0.0.1:9990"}' 'probes: {listen: "127.0.0.1:9990"}' 'directives:' \
            '  - {name: all, tasks: [{task: capture, config: {interface: lo}}, {task: headers}, {task: file, config: {path: out}}]}' > tawon.yaml
        $TAWON agent --config tawon.yaml > log 2> err &
        agent=$!
        sockets 1
        until_true 'curl -sf -o page http://127.0.0.1:9990/metrics'
        for _ in $(seq 20); do curl -sf -o page http://127.0.0.1:9990/metrics; done
        for at in $(seq 23); do echo $at > /dev/udp/127.0.0.1/7777; done
        until_true '[ -e out ] && [ $(grep -c 7777 out) -ge 23 ]'
        curl -sf -o page http://127.0.0.1:9990/metrics
        kill -TERM $agent
        wait $agent
        "#,
    );
    let records = records(&folder, "out");
    let ports: Vec<u64> =
        records.iter().filter_map(|record| record["data"][1]["data"]["udp"]["dstPort"].as_u64()).collect();
    assert_eq!(ports, vec![7777; 23]);
    let own = records.iter().filter(|record| record["data"][1]["data"].get("tcp").is_some()).count();
    assert_eq!(own, 0, "no frame of a scrape is told");
    let page = std::fs::read_to_string(folder.join("page")).unwrap();
    let value = |name: &str| -> u64 {
        let line = page.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    // a scrape is at least SYN, SYN-ACK, ACK, request, answer, and two FINs
    assert!(value("tawon_self_frames_total") >= 20 * 7);
    assert_eq!(value("tawon_capture_dropped_total{interface=\"lo\"}"), 0);
}
