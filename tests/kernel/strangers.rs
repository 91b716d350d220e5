//! Sockets that are not what they look like, or of which nothing was seen before their end.

use std::net::UdpSocket;
use std::path::Path;

use serde_json::Value;

use crate::agent::{Agent, Record, beside_others, without_others};
use crate::support::namespace::{self, records, text};
use crate::worker::{self, Worker};

#[test]
fn connections_older_than_the_agent_are_told_of_whatever_state_they_were_in() {
    // What nobody saw the beginning of is an `extra_ended` for every agent of the machine.
    let _lock = without_others();
    let folder = namespace::run(
        "strangers",
        "older",
        &script(
            r#"
listener = listen(24101, 1)
queued = [connect(24101) for _ in range(2)]
# The queue is full: its SYN is dropped, and sent again a second later.
waiting = socket.socket()
waiting.setblocking(False)
waiting.connect_ex(("127.0.0.1", 24101))
pending = listen(24102, 8)
never = [connect(24102) for _ in range(3)]
step()
accepted = [listener.accept()[0]]
select.select([], [waiting], [])
accepted += [listener.accept()[0] for _ in range(2)]
waiting.send(b"hello")
print(waiting.getsockname()[1], file=open("port", "w"))
pending.close()
for s in never + queued + [waiting] + accepted: s.close()
"#,
            "{task: flows, config: {filter: \"port 24101 or port 24102\"}}, {task: log}",
            // Others of the machine may end unseen, too.
            "until_true '[ $(grep -c ended log) -eq 12 ]'; scrape; [ \"$(sed -n 's/^flow_extra_ended //p' page)\" -ge 3 ]",
        ),
    );
    let flows = flows(&folder);
    let port = text(&folder, "port").trim().parse::<u64>().unwrap();
    let of = |own: u64, peer: u64| {
        flows.iter().filter(move |flow| flow["net"]["selfPort"] == own && flow["net"]["peerPort"] == peer)
    };
    // The one that was on its way: it came to a connection, but when it began is not known.
    let states: Vec<&str> = of(port, 24101).map(|flow| flow["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["started", "ended"]);
    for flow in of(port, 24101) {
        assert_eq!((&flow["direction"], &flow["startedAt"]), (&"outbound".into(), &Value::Null), "{flow}");
    }
    assert!(of(24101, port).all(|flow| flow["startedAt"].is_string() && flow["direction"] == "inbound"));
    // What no descriptor led to: nobody is known to have had it.
    let never: Vec<&Value> = flows.iter().filter(|flow| flow["net"]["selfPort"] == 24102).collect();
    assert_eq!(never.len(), 3);
    for flow in never {
        assert_eq!(
            (&flow["state"], &flow["startedAt"], &flow["process"]),
            (&"ended".into(), &Value::Null, &Value::Null)
        );
    }
}

#[test]
fn a_raw_socket_is_no_flow_and_doubles_none() {
    let _lock = beside_others();
    let folder = namespace::run(
        "strangers",
        "raw",
        &script(
            r#"
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)
raw.connect(("127.0.0.1", 24111))
copies = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP)
step()
receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
receiver.bind(("127.0.0.1", 24111))
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for _ in range(3): sender.sendto(b"one", ("127.0.0.1", 24111))
for _ in range(3): receiver.recv(9)
copies.recv(99)
for s in (raw, copies, sender, receiver): s.close()
"#,
            "{task: flows, config: {filter: port 24111}}, {task: log}",
            "until_true '[ $(grep -c ended log) -eq 2 ]'; until_value 'flow_flows_tracked' 0",
        ),
    );
    if text(&folder, "err").contains("UDP: needs") {
        return println!("SKIPPED PART: a raw socket of UDP: no cgroup version 2 hierarchy");
    }
    let netns = text(&folder, "netns").trim().parse::<u64>().unwrap();
    let flows = flows(&folder);
    assert_eq!(flows.len(), 4, "a start and an end for each of both sockets");
    for flow in flows {
        assert_eq!((&flow["net"]["proto"], &flow["net"]["netns"]), (&"UDP".into(), &netns.into()), "{flow}");
    }
}

#[test]
fn what_a_device_refuses_to_send_is_counted_once() {
    let _lock = beside_others();
    let folder = namespace::run(
        "strangers",
        "refused",
        &script(
            r#"
import ctypes, subprocess
def run(words): subprocess.check_call(words.split())
def enter(path):
    network = os.open(path, os.O_RDONLY)
    if ctypes.CDLL(None, use_errno=True).setns(network, 0x40000000): raise SystemExit("setns failed")
    os.close(network)
there = subprocess.Popen(["unshare", "-n", "sh", "-c", "ip link set lo up; touch there; exec sleep 600"])
wait(lambda: os.path.exists("there"))
run(f"ip link add va type veth peer name vb netns {there.pid}")
run("ip addr add 10.9.9.1/24 dev va")
run("ip link set va up")
enter(f"/proc/{there.pid}/ns/net")
run("ip addr add 10.9.9.2/24 dev vb")
run("ip link set vb up")
listener = listen(24121, 8, "10.9.9.2")
enter(f"/proc/{os.getppid()}/ns/net")
client = connect(24121, "10.9.9.2")
server, _ = listener.accept()
step()
client.sendall(b"x" * 100)
server.recv(100)
run(f"nsenter -t {there.pid} -n ip link set vb down")
client.sendall(b"x" * 1000)
# bytes_sent: the first time, and again.
sent = lambda: int.from_bytes(client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 208)[200:], "little")
wait(lambda: sent() >= 2100)
run(f"nsenter -t {there.pid} -n ip link set vb up")
left = 1000
while left: left -= len(server.recv(left))
client.close(); server.close()
there.kill()
"#,
            "{task: flows, config: {filter: port 24121}}, {task: log}",
            "until_true '[ $(grep -c ended log) -eq 2 ]'",
        ),
    );
    let ended: Vec<Value> = all(&folder).into_iter().filter(|flow| flow["state"] == "ended").collect();
    assert_eq!(ended.len(), 2);
    for flow in ended {
        let sent = if flow["net"]["peerPort"] == 24121 { (1100, 0) } else { (0, 1100) };
        assert_eq!((flow["bytesTX"].as_u64().unwrap(), flow["bytesRX"].as_u64().unwrap()), sent, "{flow}");
    }
}

#[test]
fn what_nobody_wants_ends_without_a_word() {
    let port = |server: &mut Worker| server.numbers()[0];
    let names = [worker::name("tn"), worker::name("to")];
    let mut server = Worker::start(&names[0], &["serve", "127.0.0.1:0", "8", "10"]);
    let at = format!("127.0.0.1:{}", port(&mut server));
    // Every process's flows, but only of a port that nobody has.
    let agent = Agent::alone("", "  - {name: test, tasks: [{task: flows, config: {filter: port 1}}, {task: log}]}");
    let before = agent.wait_for_idle("flows");
    let mut client = Worker::start(&names[1], &["connect", &at, "8", "10"]);
    client.go();
    client.end();
    server.end();
    // Each scrape is a connection of the agent's own.
    (0..40).for_each(|_| drop(agent.scrape()));
    agent.wait("what the filter keeps out", || {
        let filtered = "flows_task_total{status=\"filtered\"}";
        agent.scrape().value(filtered) >= before.value(filtered) + 16.0
    });
    let after = agent.wait_for_idle("flows");
    for series in ["flow_extra_ended", "flow_missing_started"] {
        assert_eq!(after.value(series), before.value(series), "{series}");
    }
}

#[test]
fn a_udp_socket_that_nobody_wanted_is_told_of_to_who_comes_later() {
    let bind = || UdpSocket::bind("127.0.0.1:0").unwrap();
    let (server, client, late) = (bind(), bind(), bind());
    let at = server.local_addr().unwrap();
    let flows = |more: &str| {
        format!(
            "  - {{name: test, {more}tasks: [{{task: flows, config: {{filter: port {}}}}}, {{task: log}}]}}",
            at.port()
        )
    };
    let agent = Agent::start(&flows("condition: {equal: {field: process.name, value: nobody}}, "));
    if agent.stderr().contains("UDP: needs") {
        return println!("SKIPPED: a_udp_socket_that_nobody_wanted_is_told_of_to_who_comes_later: no cgroup version 2");
    }
    let exchange = |from: &UdpSocket| {
        from.send_to(b"hello", at).unwrap();
        assert_eq!(server.recv(&mut [0; 9]).unwrap(), 5);
    };
    exchange(&client);
    agent.wait_for_idle("flows");
    agent.reload(&flows(""));
    agent.until_shows("tawon_config_reloads_total{status=\"success\"}", 2.0);
    agent.wait_until_ready();
    (0..3).for_each(|_| exchange(&late));
    drop((server, client, late));
    let of = |record: &Record, own: u16| record.number("net.selfPort") == u64::from(own) && record.is("ended");
    let records = agent.until("its end", |records| records.iter().any(|record| of(record, at.port())));
    let of_late = records.iter().find(|record| of(record, at.port())).unwrap();
    assert_eq!((of_late.number("segsRX"), of_late.number("bytesRX")), (3, 15), "{of_late:?}");
}

#[test]
fn a_udp_flow_that_every_filter_keeps_out_is_one_event() {
    let agent = Agent::alone("", "  - {name: test, tasks: [{task: flows, config: {filter: port 1}}, {task: log}]}");
    if agent.stderr().contains("UDP: needs") {
        return println!("SKIPPED: a_udp_flow_that_every_filter_keeps_out_is_one_event: no cgroup version 2");
    }
    let (server, client) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
    let at = server.local_addr().unwrap();
    let datagrams = |agent: &Agent| agent.wait_for_idle("flows").produced("flows", "datagram");
    let before = datagrams(&agent);
    for turn in 0..300 {
        client.send_to(b"hello", at).unwrap();
        assert_eq!(server.recv(&mut [0; 9]).unwrap(), 5);
        // Now and then the agent comes to what was told.
        if turn % 100 == 50 {
            agent.wait_for_idle("flows");
        }
    }
    // Of both sockets one, and of others on the machine a few.
    let told = datagrams(&agent) - before;
    assert!((2.0..50.0).contains(&told), "{told}");
}

/// Sockets by Python before an agent with these tasks starts and, from `step()` on, behind that; then `until` holds.
fn script(sockets: &str, tasks: &str, until: &str) -> String {
    format!(
        r#"
stat -Lc %i /proc/self/ns/net > netns
cat > sockets.py <<'PY'
import os, select, socket, time
def wait(condition):
    end = time.monotonic() + 60
    while not condition():
        if time.monotonic() > end: raise SystemExit("not within 60 s")
        time.sleep(0.02)
def step():
    open("made", "w").close()
    wait(lambda: os.path.exists("step"))
def listen(port, backlog, at="127.0.0.1"):
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind((at, port))
    s.listen(backlog)
    return s
def connect(port, to="127.0.0.1"): return socket.create_connection((to, port))
{sockets}PY
python3 sockets.py 2> python.err &
sockets=$!
until_true '[ -e made ]'
agent '{tasks}'
touch step
wait $sockets || {{ cat python.err >&2; exit 1; }}
{until}
stop
"#
    )
}

/// The flow records of the script's own network.
fn flows(folder: &Path) -> Vec<Value> {
    let netns: Value = text(folder, "netns").trim().parse::<u64>().unwrap().into();
    all(folder).into_iter().filter(|flow| flow["net"]["netns"] == netns).collect()
}

/// Those of whatever network.
fn all(folder: &Path) -> Vec<Value> {
    records(folder, "log").into_iter().map(|mut record| record["data"][0]["data"].take()).collect()
}
