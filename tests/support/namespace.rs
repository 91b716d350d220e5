//! Scripts in a network namespace of their own, with the agent and the makers of traffic beside it.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Runs a script in a network namespace of its own, in a folder of its own; gives that folder. The
/// script finds the binary in `TAWON`, and the functions of the prelude.
pub fn run(topic: &str, name: &str, script: &str) -> PathBuf {
    run_with(topic, name, script, &[])
}

/// The same with more variables in the environment.
pub fn run_with(topic: &str, name: &str, script: &str, env: &[(&str, &Path)]) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(topic).join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    let script = format!("{PRELUDE}{script}");
    let mut command = Command::new("unshare");
    command.args(["-n", "bash", "-c", &script]).current_dir(&folder).env("TAWON", env!("CARGO_BIN_EXE_tawon"));
    command.env("LC_ALL", "C").envs(env.iter().copied());
    let output = command.output().unwrap();
    assert!(output.status.success(), "in {}: {}", folder.display(), String::from_utf8_lossy(&output.stderr));
    folder
}

/// The lines of JSON in a file of the folder.
pub fn records(folder: &Path, file: &str) -> Vec<serde_json::Value> {
    text(folder, file).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

pub fn text(folder: &Path, file: &str) -> String {
    std::fs::read_to_string(folder.join(file)).unwrap()
}

/// The value of a series in a scrape that the script kept as `page`.
pub fn value(folder: &Path, series: &str) -> u64 {
    let page = text(folder, "page");
    let found = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse::<f64>().ok());
    found.unwrap_or_else(|| panic!("no {series} in\n{page}")) as u64
}

/// Functions that the scripts share. Packet sockets show in /proc/net/packet before anything is captured by them: what
/// captures is awaited by what it says, or by /readyz.
const PRELUDE: &str = r#"
set -eu
sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1
ip link set lo up
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
until_true() { for _ in $(seq 1800); do if eval "$1"; then return 0; fi; sleep 0.1; done; echo "never: $1" >&2; cat err >&2 || true; return 1; }
sockets() { until_true "[ \$((\$(wc -l < /proc/net/packet) - 1)) -eq $1 ]"; }
runs() { until_true 'grep -q "directive runs" err'; }
lines() { until_true "[ -e $1 ] && [ \$(wc -l < $1) -ge $2 ]"; }
listening() { until_true "ss -Hltn 'sport = :$1' | grep -q LISTEN"; }
# agent TASKS: the agent with one directive, its metrics on port 9990 of this namespace; then `stop`
agent() {
    printf '%s\n' 'metrics: {listen: "127.0.0.1:9990"}' 'probes: {listen: "127.0.0.1:9990"}' 'directives:' "  - {name: one, tasks: [$1]}" > tawon.yaml
    $TAWON agent --config tawon.yaml > log 2> err &
    agent=$!
    until_true 'curl -sf -o page http://127.0.0.1:9990/readyz'
}
stop() { kill -TERM $agent; wait $agent; }
scrape() { curl -sf -o page http://127.0.0.1:9990/metrics; }
# until_value SERIES VALUE
until_value() { until_true "scrape && grep -qxF '$1 $2' page"; }
# tape FILTER: what passes on lo, into wire.pcap, until `tape_end`, before which all of it is written
tape() {
    tcpdump -i lo -s 0 -B 65536 --immediate-mode -U -c 2000000 -w wire.pcap "$1 or udp port 9" 2> tape.log &
    tape=$!
    until_true 'grep -q listening tape.log'
}
tape_end() {
    echo END-OF-TAPE > /dev/udp/127.0.0.1/9
    until_true 'grep -q END-OF-TAPE wire.pcap'
    kill -INT $tape
    wait $tape
    grep -q '^0 packets dropped by kernel' tape.log
}
# send INTERFACE PORT COUNT [MORE]: that many UDP datagrams from 10.9.9.1 to 10.9.9.2 as Ethernet
# frames, each with a number and MORE bytes
send() { python3 - "$@" <<'PY'
import os, socket, struct, sys
# From one CPU, each of which has a queue of its own: frames of two may overtake each other.
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
name, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
more = bytes(int(sys.argv[4]) if len(sys.argv) > 4 else 0)
link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
link.bind((name, 0))
for at in range(count):
    data = struct.pack("!HHHH", 4000 + at % 60000, port, 12 + len(more), 0) + at.to_bytes(4, "big") + more
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(data), at % 65536, 0, 64, 17, 0, bytes([10, 9, 9, 1]), bytes([10, 9, 9, 2]))
    link.send(bytes.fromhex("020000000002020000000001") + b"\x08\x00" + ip + data)
PY
}
"#;
