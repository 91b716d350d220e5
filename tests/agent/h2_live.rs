//! `h2` over what `capture` sees on a real interface, beside tshark on a tape of the same traffic and
//! beside what the clients themselves say.

use std::collections::BTreeMap;
use std::path::Path;

use tawon::task::processing::h2::shape::{H2, Reason};

use crate::support::exchange::{self, Block, Exchange, Exchanges};
use crate::support::h2::FINE;
use crate::support::namespace::{self, text, value};
use crate::support::origins::Account;
use crate::support::python;

fn run(name: &str, script: &str) -> std::path::PathBuf {
    namespace::run("h2", name, script)
}

/// The same behind a proxy that speaks HTTP/1.1 on port 8080, and HTTP/2 over one connection to port 8081.
fn proxied(name: &str, script: &str) -> std::path::PathBuf {
    let proxy = r#"
        mkdir docs
        echo hello > docs/index.html
        nghttpd --no-tls -a 127.0.0.1 -d docs 8081 > server.log 2>&1 &
        nghttpx -f '127.0.0.1,8080;no-tls' -b '127.0.0.1,8081;;proto=h2' -n1 --backend-keep-alive-timeout=60s > proxy.log 2>&1 &
        listening 8080; listening 8081
    "#;
    run(name, &format!("{proxy}{script}"))
}

/// That the agent saw nothing wrong, lost nothing, and told of each stream once.
fn in_order(folder: &Path, records: usize) {
    let page = text(folder, "page");
    for line in page.lines().filter(|line| line.starts_with("h2_") || line.starts_with("tawon_h2_")) {
        let (series, moved) = line.rsplit_once(' ').unwrap();
        if !FINE.iter().chain(&["h2_server_stream_frames"]).any(|fine| series.starts_with(fine)) {
            assert_eq!(moved, "0", "{line}");
        }
    }
    assert_eq!(value(folder, "h2_round_trips_emitted{partial=\"false\",reason=\"complete\"}"), records as u64);
    assert_eq!(value(folder, "tawon_h2_streams_opened_total"), records as u64);
    assert_eq!(value(folder, "tawon_capture_dropped_total{interface=\"lo\"}"), 0);
}

/// That records, and what tshark sees on the tape, are the same.
fn agree(records: &[H2], folder: &Path) -> Exchanges {
    let (told, seen) = (exchange::told(records), exchange::seen(&folder.join("wire.pcap"), 8080, "http2"));
    assert_eq!(told.keys().collect::<Vec<_>>(), seen.keys().collect::<Vec<_>>());
    for (key, seen) in &seen {
        assert_eq!(&told[key], seen, "{key:?}");
    }
    assert!(records.iter().all(|record| record.reason == Reason::Complete));
    told
}

#[test]
fn of_23_requests_of_nghttp_there_are_23_round_trips_that_agree_with_its_log_and_with_tshark() {
    let folder = run(
        "nghttp",
        r#"
        mkdir docs
        echo hello > docs/index.html; head -c 300000 /dev/urandom > docs/big; echo pushed > docs/push
        nghttpd --no-tls -a 127.0.0.1 -d docs -p/big=/push --trailer 'x-end: yes' 8080 > server.log 2>&1 &
        listening 8080
        tape 'tcp port 8080'
        agent '{task: capture, config: {interface: lo, filter: "tcp port 8080"}}, {task: h2}, {task: file, config: {path: records}}'
        at=http://127.0.0.1:8080
        nghttp -v -n -H 'x-run: gets' -H 'x-colon: a: b:c' $at/ $at/big $(for n in $(seq 13); do echo $at/missing/$n?q=$n; done) > gets.log
        nghttp -v -n -H 'x-run: posts' -d docs/big -b 64 --trailer 'x-sum: 1' $at/a $at/b $at/c $at/d > posts.log
        nghttp -v -n -H 'x-run: long' --continuation $at/x $at/y $at/z > long.log
        nghttp -v -n -H 'x-run: window' -w 14 -W 14 $at/push > window.log
        # 23, and one that the server made up
        lines records 24
        until_value h2_flower_flows 0
        tape_end
        stop
        "#,
    );
    let records = exchange::records(&folder, "records");
    assert_eq!(records.iter().filter(|record| !record.pushed).count(), 23);
    assert_eq!(records.len(), 24);
    in_order(&folder, 24);
    let told = agree(&records, &folder);
    let mut runs = BTreeMap::<u16, (&str, BTreeMap<u32, &Exchange>)>::new();
    for ((port, stream), exchange) in &told {
        let run = runs.entry(*port).or_default();
        run.0 = exchange.asked("x-run").unwrap_or(run.0);
        run.1.insert(*stream, exchange);
    }
    assert_eq!(runs.len(), 4);
    for (name, streams) in runs.values() {
        let logged = exchange::logged(&text(&folder, &format!("{name}.log")));
        assert_eq!(*streams, logged.iter().map(|(id, exchange)| (*id, exchange)).collect(), "{name}");
    }
    let bodies: u64 = told.values().map(|exchange| exchange.request.body).sum();
    assert_eq!(bodies, 4 * 300_000);
}

#[test]
fn what_curl_asks_with_prior_knowledge_and_by_upgrade_is_told_as_curl_tells_it() {
    let folder = run(
        "curl",
        r#"
        mkdir docs
        echo hello > docs/index.html; head -c 200000 /dev/urandom > docs/big
        nghttpd --no-tls -a 127.0.0.1 -d docs 8081 > server.log 2>&1 &
        nghttpx -f '127.0.0.1,8080;no-tls' -b '127.0.0.1,8081;;proto=h2' -n1 --no-via > proxy.log 2>&1 &
        listening 8080; listening 8081
        tape 'tcp port 8080'
        agent '{task: capture, config: {interface: lo, filter: "tcp port 8080"}}, {task: h2}, {task: file, config: {path: records}}'
        at=http://127.0.0.1:8080
        form='%{stderr}%{json}\n'
        # ask NAME [OPTION...]: what curl says into NAME.json, the response's head into NAME.head
        ask() { name=$1; shift; curl -s -o body -w "$form" -D $name.head -H "x-run: $name" "$@" 2> $name.json; }
        ask get --http2-prior-knowledge $at/
        ask big --http2-prior-knowledge $at/big
        ask post --http2-prior-knowledge --data-binary @docs/big $at/post
        ask head --http2-prior-knowledge -I $at/big
        ask up --http2 $at/?up=1
        ask up-again --http2 $at/missing
        nghttp -v -n -u -H 'x-run: nghttp' $at/ $at/big > nghttp.log
        lines records 8
        until_value h2_flower_flows 0
        tape_end
        stop
        "#,
    );
    let records = exchange::records(&folder, "records");
    assert_eq!(records.len(), 8);
    in_order(&folder, 8);
    let told = exchange::told(&records);
    let seen = exchange::seen(&folder.join("wire.pcap"), 8080, "http");
    assert_eq!(told.keys().collect::<Vec<_>>(), seen.keys().collect::<Vec<_>>());
    for (key, seen) in &seen {
        assert_eq!(told[key].response, seen.response, "{key:?}");
        // The request of an upgrade was no HTTP/2 yet.
        assert_eq!(key.1 == 1 && seen.request.blocks.is_empty(), upgraded(&told[key]), "{key:?}");
        if !upgraded(&told[key]) {
            assert_eq!(told[key].request, seen.request, "{key:?}");
        }
    }
    assert_eq!(told.values().filter(|exchange| upgraded(exchange)).count(), 3);
    for name in ["get", "big", "post", "head", "up", "up-again"] {
        let (_, exchange) = told.iter().find(|told| told.1.asked("x-run") == Some(name)).unwrap();
        let said: serde_json::Value = serde_json::from_str(&text(&folder, &format!("{name}.json"))).unwrap();
        assert_eq!(said["method"], exchange.asked(":method").unwrap());
        let asked = ["scheme", "authority", "path"].map(|part| exchange.asked(&format!(":{part}")).unwrap());
        assert_eq!(said["url"], format!("{}://{}{}", asked[0], asked[1], asked[2]), "{name}");
        assert_eq!(said["size_upload"], exchange.request.body, "{name}");
        assert_eq!(said["size_download"], exchange.response.body, "{name}");
        // The head behind that of the 101.
        let head = text(&folder, &format!("{name}.head"));
        let (status, fields) = head.trim_end().rsplit("\r\n\r\n").next().unwrap().split_once("\r\n").unwrap();
        let fields =
            fields.lines().map(|line| line.split_once(": ").unwrap()).map(|(n, v)| (n.to_owned(), v.to_owned()));
        let status = (":status".to_owned(), status.split(' ').nth(1).unwrap().to_owned());
        assert_eq!(exchange.response.blocks, [std::iter::once(status).chain(fields).collect::<Vec<_>>()], "{name}");
    }
    let logged = exchange::logged(&text(&folder, "nghttp.log"));
    let (port, _) = told.iter().find(|told| told.1.asked("x-run") == Some("nghttp")).unwrap().0;
    for (stream, exchange) in &logged {
        assert_eq!(told[&(*port, *stream)].response, exchange.response);
    }
    assert_eq!(logged.len(), 2);
}

fn upgraded(exchange: &Exchange) -> bool {
    exchange.asked("http2-settings").is_some()
}

#[test]
fn of_23_grpc_calls_of_every_kind_there_are_23_round_trips_that_agree_with_the_client_and_with_tshark() {
    let Some(python) = python::find() else { return };
    let folder = grpc(
        "grpc",
        &python,
        r#"
        tape 'tcp port 8080'
        agent '{task: capture, config: {interface: lo, filter: "tcp port 8080"}}, {task: h2}, {task: file, config: {path: records}}'
        "$PYTHON" "$CALLS" client 8080 calls
        "#,
    );
    let records = exchange::records(&folder, "records");
    assert_eq!(records.len(), 23);
    in_order(&folder, 23);
    agree(&records, &folder);
    let mut records: Vec<&H2> = records.iter().collect();
    records.sort_by_key(|record| record.stream_id);
    for (record, said) in records.iter().zip(calls(&folder)) {
        let grpc = record.grpc.as_ref().unwrap();
        let path = format!("/{}/{}", grpc.service.as_deref().unwrap(), grpc.method.as_deref().unwrap());
        assert_eq!(said["path"], path);
        assert_eq!(record.request.path.as_deref(), Some(&*path));
        assert_eq!(record.request.method.as_deref(), Some("POST"));
        assert_eq!(record.response.status, Some(200));
        assert_eq!(said["status"], grpc.status.unwrap());
        assert_eq!(said["message"], grpc.message.as_deref().unwrap_or_default());
        // gRPC puts five bytes before each message.
        let bytes = |lengths: &serde_json::Value| -> (u64, u64) {
            let lengths = lengths.as_array().unwrap();
            (lengths.len() as u64, lengths.iter().map(|length| 5 + length.as_u64().unwrap()).sum())
        };
        assert_eq!(bytes(&said["up"]), (grpc.request_messages.unwrap(), record.request.body_length.unwrap()));
        assert_eq!(bytes(&said["down"]), (grpc.response_messages.unwrap(), record.response.body_length.unwrap()));
        for field in said["trailing"].as_array().unwrap() {
            let trailers = record.response.trailers.as_ref().unwrap();
            assert!(
                trailers
                    .iter()
                    .any(|of| field[0] == *of.name.as_ref().unwrap() && field[1] == *of.value.as_ref().unwrap())
            );
        }
    }
}

#[test]
fn a_join_in_the_middle_of_grpc_knows_method_and_status_and_never_the_path() {
    let Some(python) = python::find() else { return };
    let folder = grpc(
        "grpc-joined",
        &python,
        r#"
        tape 'tcp port 8080'
        "$PYTHON" "$CALLS" client 8080 calls 5 ready go &
        client=$!
        until_true '[ -e ready ]'
        agent '{task: capture, config: {interface: lo, filter: "tcp port 8080"}}, {task: h2}, {task: file, config: {path: records}}'
        touch go
        wait $client
        "#,
    );
    let records = exchange::records(&folder, "records");
    assert_eq!(records.len(), 23);
    let said = calls(&folder);
    let known = joined(&records, &folder, 8080);
    for record in &records {
        assert_eq!(record.request.method.as_deref(), Some("POST"));
        assert_eq!(record.response.status, Some(200));
    }
    // What it called Say before the join, and calls so again, is never told again.
    let say = |record: &&H2| record.request.path.is_none();
    assert_eq!(
        records.iter().filter(say).count(),
        said.iter().filter(|said| said["path"] == "/tawon.test.Greeter/Say").count()
    );
    assert!(known.0 >= 10, "{known:?}");
}

#[test]
fn a_join_in_the_middle_knows_all_once_the_table_has_turned_over() {
    let folder = proxied(
        "joined",
        r#"
        tape 'tcp port 8081'
        # ask FROM TO: requests whose headers change from one to the next, but for two
        ask() {
            for number in $(seq $1 $2); do
                [ $number -eq $1 ] || echo next
                printf '%s\n' 'url = "http://127.0.0.1:8080/"' 'output = "body"' 'header = "x-stays: the same"'
                printf 'header = "x-turns-%d: %0200d"\n' $number $number
            done > config
            curl -s --http1.1 -K config
        }
        ask 1 7
        agent '{task: capture, config: {interface: lo, filter: "tcp port 8081"}}, {task: h2}, {task: file, config: {path: records}}'
        ask 8 67
        lines records 60
        until_value h2_streams 0
        tape_end
        stop
        "#,
    );
    let records = exchange::records(&folder, "records");
    assert_eq!(records.len(), 60);
    let (lacking, _) = joined(&records, &folder, 8081);
    // 4096 bytes of table, and about 250 bytes inserted by each request.
    assert!((3..30).contains(&lacking), "{lacking} requests until all was known");
    for (at, record) in records.iter().enumerate() {
        let fields = record.request.headers.as_ref().unwrap();
        assert_eq!(fields.iter().any(|field| field.unknown.is_some()), at < lacking, "request {at}");
        let stays = fields.iter().any(|field| field.name.as_deref() == Some("x-stays"));
        assert!(stays || at < lacking, "request {at}");
    }
}

#[test]
fn a_reload_that_changes_what_is_secret_holds_within_a_connection() {
    let folder = proxied(
        "redact",
        r#"
        agent '{task: capture, config: {interface: lo, filter: "tcp port 8081"}}, {task: h2}, {task: file, config: {path: records}}'
        ask() { curl -s -o body --http1.1 -H 'x-one: first' -H 'x-two: second' http://127.0.0.1:8080/; lines records $1; }
        ask 1
        cp tawon.yaml first.yaml
        for list in x-one x-two; do
            { cat first.yaml; echo "redact: [$list]"; } > tawon.yaml
            scrape
            reloads=$(sed -n 's/^tawon_config_reloads_total{status="success"} //p' page)
            kill -HUP $agent
            until_value 'tawon_config_reloads_total{status="success"}' $((reloads + 1))
            ask $(($(wc -l < records) + 1))
        done
        stop
        "#,
    );
    let records = exchange::records(&folder, "records");
    assert!(records.iter().all(|record| record.flow_id == records[0].flow_id), "one connection");
    let shown = |record: &H2| {
        let fields = record.request.headers.as_ref().unwrap();
        let value = |name: &str| fields.iter().find(|field| field.name.as_deref() == Some(name)).unwrap().value.clone();
        ["x-one", "x-two"].map(|name| value(name).unwrap())
    };
    let shown: Vec<[String; 2]> = records.iter().map(shown).collect();
    assert_eq!(shown, [["first", "second"], ["[redacted]", "second"], ["first", "[redacted]"]]);
}

/// That the records of a joined connection tell each value that a decoder of all blocks says can be
/// known, mark all others, and that each block that lacks one was counted. Gives how many blocks of
/// requests and of responses did.
fn joined(records: &[H2], folder: &Path, port: u16) -> (usize, usize) {
    let mut lacking = [0, 0];
    let mut unknown_fields = BTreeMap::<u32, u64>::new();
    for response in [false, true] {
        let blocks = exchange::blocks(&folder.join("wire.pcap"), port, response);
        let first = records.iter().map(|record| record.stream_id).min().unwrap();
        let start = blocks.iter().position(|block| block.stream == first).unwrap();
        let origins = Account::of(4096, blocks.iter().map(|block| (&block.wire[..], &block.fields[..])));
        let mut heads = BTreeMap::<u32, usize>::new();
        for (number, Block { stream, fields, .. }) in blocks.iter().enumerate().skip(start) {
            let record = records.iter().find(|record| record.stream_id == *stream).unwrap();
            let (request, response_) = (&record.request, &record.response);
            let which = heads.entry(*stream).or_default();
            let got = match (response, *which) {
                (false, 0) => &request.headers,
                (false, _) => &request.trailers,
                (true, 0) => &response_.headers,
                (true, _) => &response_.trailers,
            };
            *which += 1;
            let got = got.as_ref().unwrap();
            assert_eq!(got.len(), fields.len(), "stream {stream}");
            let mut unknown = 0;
            for ((got, truth), origin) in got.iter().zip(fields).zip(&origins[number]) {
                for (got, truth, origin) in [(&got.name, &truth.0, origin.name), (&got.value, &truth.1, origin.value)] {
                    let knowable = origin.is_none_or(|origin| origin >= start);
                    // A secret's name may be unknown too, so such values are not shown.
                    assert!(
                        !knowable || got.as_ref() == Some(truth) || got.as_deref() == Some("[redacted]"),
                        "{got:?} is {truth}"
                    );
                    assert!(knowable || got.is_none(), "{got:?}");
                }
                unknown += u64::from(got.unknown.is_some());
            }
            *unknown_fields.entry(*stream).or_default() += unknown;
            lacking[usize::from(response)] += usize::from(unknown > 0);
        }
        let direction = if response { "response" } else { "request" };
        let series = format!("h2_missing_headers{{direction=\"{direction}\",reason=\"table\"}}");
        assert_eq!(value(folder, &series), lacking[usize::from(response)] as u64);
    }
    for record in records {
        assert_eq!(record.unknown_fields, unknown_fields[&record.stream_id]);
        assert_eq!(record.reason, Reason::Complete, "its stream began behind the join");
    }
    assert_eq!(value(folder, "h2_header_decoder_resets"), 2);
    (lacking[0], lacking[1])
}

/// A script between a server of grpcio and the end of all connections.
fn grpc(name: &str, python: &Path, script: &str) -> std::path::PathBuf {
    let calls = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/grpc/calls.py");
    let script = format!(
        "{}{script}{}",
        r#"
        "$PYTHON" "$CALLS" server 8080 > server.log 2>&1 &
        listening 8080
        "#,
        r#"
        lines records 23
        until_value h2_flower_flows 0
        tape_end
        stop
        "#
    );
    namespace::run_with("h2", name, &script, &[("PYTHON", python), ("CALLS", &calls)])
}

fn calls(folder: &Path) -> Vec<serde_json::Value> {
    namespace::records(folder, "calls")
}

#[test]
fn of_100_000_requests_of_h2load_there_are_100_000_round_trips() {
    let folder = run(
        "h2load",
        r#"
        mkdir docs
        echo hello > docs/index.html
        nghttpd --no-tls -a 127.0.0.1 -d docs 8080 > server.log 2>&1 &
        listening 8080
        agent '{task: capture, config: {interface: lo, filter: "tcp port 8080"}}, {task: h2}, {task: file, config: {path: /dev/null}}'
        # A tenth at a time: the ring holds that much, however long the machine lets the agent wait.
        for turn in $(seq 10); do
            h2load -n 10000 -c 8 -m 32 http://127.0.0.1:8080/ >> h2load.txt
            until_value 'tawon_sink_records_total{sink="file:/dev/null",status="written"}' $((turn * 10000))
        done
        until_value h2_flower_flows 0
        stop
        "#,
    );
    assert_eq!(text(&folder, "h2load.txt").matches("status codes: 10000 2xx, 0 3xx, 0 4xx, 0 5xx").count(), 10);
    in_order(&folder, 100_000);
}
