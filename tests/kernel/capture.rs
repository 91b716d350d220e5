//! `capture` on real interfaces: network namespaces of the tests' own, frames sent by a raw socket.

use crate::agent::beside_others;
use crate::support::namespace::{self, records, text, value};

#[test]
fn frames_that_pass_the_filter_are_told_each_once_and_in_order() {
    let _lock = beside_others();
    let folder = namespace::run(
        "capture",
        "filter",
        r#"
        ip link add va type veth peer name vb
        ip link set va up; ip link set vb up
        $TAWON run -t "capture:interface=va,filter='udp dst port 7777',meta=interface" -t headers -t log > out 2> err &
        agent=$!
        runs
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
    let _lock = beside_others();
    let folder = namespace::run(
        "capture",
        "glob",
        r#"
        ip link add va type veth peer name other
        ip link set va up; ip link set other up
        $TAWON run -t "capture:interface=v*,filter='udp port 7777'" -t headers -t log > out 2> err &
        agent=$!
        runs
        send other 7777 5
        lines out 5
        ip link add vlate type veth peer name late
        ip link set vlate up; ip link set late up
        until_true 'grep -q "interface joined capture: interface=vlate" err'
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
    let _lock = beside_others();
    let folder = namespace::run(
        "capture",
        "gone",
        r#"
        ip link add va type veth peer name vb
        ip link set va up; ip link set vb up
        $TAWON run -t capture:interface=va -t log > out 2> err &
        agent=$!
        runs
        ip link del va
        code=0
        wait $agent || code=$?
        echo $code > code
        "#,
    );
    assert_eq!(text(&folder, "code"), "4\n");
    assert!(text(&folder, "err").contains("interface va: "));
}

#[test]
fn the_agents_own_frames_are_left_out_and_counted() {
    let _lock = beside_others();
    let folder = namespace::run(
        "capture",
        "own",
        r#"
        printf '%s\n' 'metrics: {listen: "127.0.0.1:9990"}' 'probes: {listen: "127.0.0.1:9990"}' 'directives:' \
            '  - {name: all, tasks: [{task: capture, config: {interface: lo}}, {task: headers}, {task: file, config: {path: out}}]}' > tawon.yaml
        $TAWON agent --config tawon.yaml > log 2> err &
        agent=$!
        until_true 'curl -sf -o page http://127.0.0.1:9990/readyz'
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
    // a scrape is at least SYN, SYN-ACK, ACK, request, answer, and two FINs
    assert!(value(&folder, "tawon_self_frames_total") >= 20 * 7);
    assert_eq!(value(&folder, "tawon_capture_dropped_total{interface=\"lo\"}"), 0);
}

#[test]
fn of_what_came_while_the_agent_stood_still_each_frame_is_told_or_counted_as_dropped() {
    let _lock = beside_others();
    let folder = namespace::run(
        "capture",
        "drops",
        r#"
        ip link add va type veth peer name vb
        ip link set va up; ip link set vb up
        agent '{task: capture, config: {interface: va, filter: "udp dst port 7777"}}, {task: headers}, {task: file, config: {path: /dev/null}}'
        send vb 7777 23
        until_value 'tawon_frames_total{status="ok",task="headers"}' 23
        until_value 'tawon_capture_dropped_total{interface="va"}' 0
        kill -STOP $agent
        # more than the ring's 32 MiB
        send vb 7777 40000 1400
        kill -CONT $agent
        counted() { scrape && awk -F' ' '/^tawon_frames_total.*status="ok",task="headers"/ || /^tawon_capture_dropped_total/ {sum += $2} END {print sum}' page; }
        until_true '[ $(counted) -ge 40023 ]'
        send vb 7777 7
        until_true '[ $(counted) -ge 40030 ]'
        stop
        "#,
    );
    let seen = value(&folder, "tawon_frames_total{status=\"ok\",task=\"headers\"}");
    let dropped = value(&folder, "tawon_capture_dropped_total{interface=\"va\"}");
    assert_eq!(seen + dropped, 40_030, "{dropped} dropped");
    assert!(dropped > 0 && seen > 30, "{seen} seen, {dropped} dropped");
}
