//! What gets into tlsheaders, pfcp and ecpri: cut, broken, strange and endless input, and what it costs.

use std::sync::Arc;

use tawon::metrics::Metrics;
use tawon::pipeline::{Event, Pipeline, View};
use tawon::task::Value;
use tawon::task::record::{Chunk, Direction, FlowEnd};
use tawon::time::{Instant, Timestamp};

use crate::support::chunk::chunk;
use crate::support::messages::{client_hello, ie, iq, pfcp, session_establishment};
use crate::support::tasks::{Given, Run, Writer, build, context};
use crate::support::{alloc, packets};

fn run(task: &str) -> Run {
    Run::new(task, false, &options(task))
}

fn options(task: &str) -> Vec<(&'static str, Value)> {
    match task {
        "pfcp" => vec![("ports", Value::Ports(vec![8805]))],
        "ecpri" => vec![("udpPorts", Value::Ports(vec![5555]))],
        _ => Vec::new(),
    }
}

/// A datagram of which the capture kept `keep` bytes.
fn cut(port: u16, bytes: &[u8], keep: usize) -> Chunk<'_> {
    Chunk { length: bytes.len() as u64, ..chunk(1, 17, port, &bytes[..keep]) }
}

#[test]
fn a_datagram_that_the_capture_cut_is_truncated_at_every_byte_and_one_that_was_sent_so_is_malformed() {
    for (task, port, whole) in [("pfcp", 8805, session_establishment()), ("ecpri", 5555, iq(40))] {
        let (mut cut_run, mut sent_run) = (run(task), run(task));
        for keep in 0..whole.len() {
            cut_run.chunk(&cut(port, &whole, keep));
            assert_eq!((cut_run.counts(), cut_run.json().len()), ([0, keep as u64 + 1, 0, 0, 0], 0), "{task} {keep}");
            sent_run.chunk(&chunk(1, 17, port, &whole[..keep]));
            assert_eq!((sent_run.counts(), sent_run.json().len()), ([0, 0, keep as u64, 0, 0], 0), "{task} {keep}");
        }
    }
}

#[test]
fn a_hello_cut_anywhere_into_chunks_gives_the_same_record() {
    let hello = client_hello();
    let mut whole = run("tlsheaders");
    whole.chunk(&chunk(1, 6, 443, &hello));
    assert_eq!(whole.counts(), [1, 0, 0, 0, 0]);
    // The same message in three records, the first with no more than part of its head.
    let record = |part: &[u8]| [&[22, 3, 1][..], &(part.len() as u16).to_be_bytes(), part].concat();
    let parts = [record(&hello[5..7]), record(&hello[7..8]), record(&hello[8..200]), record(&hello[200..])].concat();
    for bytes in [&hello, &parts] {
        for size in [1, 2, 3, 5, 7, 100, 250] {
            let mut run = run("tlsheaders");
            bytes.chunks(size).for_each(|part| run.chunk(&chunk(1, 6, 443, part)));
            let tail = |json: String| json.split("\"handshake\"").nth(1).unwrap().to_owned();
            assert_eq!(
                run.json().into_iter().map(tail).collect::<Vec<_>>(),
                whole.json().into_iter().map(tail).collect::<Vec<_>>()
            );
            assert_eq!(run.counts(), [1, 0, 0, 0, 0], "{size}");
        }
    }
    for at in 1..hello.len() {
        let mut run = run("tlsheaders");
        run.chunk(&chunk(1, 6, 443, &hello[..at]));
        run.chunk(&Chunk { length: 0, end: Some(FlowEnd::Fin), ..chunk(1, 6, 443, &[]) });
        assert_eq!((run.counts(), run.json().len()), ([0, 1, 0, 0, 0], 0), "ended after {at}");
    }
}

#[test]
fn a_hello_of_nearly_64_kib_is_put_together_and_a_longer_one_is_not() {
    let hello = |padding: usize| {
        let extension = [&[0, 21][..], &(padding as u16).to_be_bytes(), &vec![0; padding]].concat();
        let body =
            [&[3, 3][..], &[7; 32], &[0, 0, 2, 0x13, 1, 1, 0], &(extension.len() as u16).to_be_bytes(), &extension]
                .concat();
        let message = [&[1, 0][..], &(body.len() as u16).to_be_bytes(), &body].concat();
        message
            .chunks(16_384)
            .flat_map(|part| [&[22, 3, 1][..], &(part.len() as u16).to_be_bytes(), part].concat())
            .collect::<Vec<u8>>()
    };
    let mut run_short = run("tlsheaders");
    hello(65_000).chunks(1460).for_each(|part| run_short.chunk(&chunk(1, 6, 443, part)));
    assert_eq!((run_short.counts(), run_short.json().len()), ([1, 0, 0, 0, 0], 1));
    let mut run_long = run("tlsheaders");
    let mut long = hello(65_000);
    long[6] = 1; // the message now says that it has 64 KiB more
    long.chunks(1460).for_each(|part| run_long.chunk(&chunk(1, 6, 443, part)));
    assert_eq!((run_long.counts(), run_long.json().len()), ([0, 0, 0, 1, 0], 0));
}

#[test]
fn another_protocol_is_told_once_per_flow_and_quic_is_another_protocol() {
    let mut tls = run("tlsheaders");
    for _ in 0..3 {
        tls.chunk(&chunk(1, 6, 80, b"GET / HTTP/1.1\r\n\r\n"));
        tls.chunk(&chunk(2, 17, 443, &[0xc3, 0, 0, 0, 1, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0x41]));
    }
    assert_eq!((tls.counts(), tls.json().len()), ([0, 0, 0, 0, 2], 0));
    tls.chunk(&chunk(3, 6, 443, &[0x80, 0x2e, 1, 3, 1, 0, 0x15, 0, 0, 0, 0x10]));
    assert_eq!(tls.counts(), [0, 0, 0, 1, 2]);
    let mut on_port = run("pfcp");
    on_port.chunk(&chunk(1, 17, 8805, b"\x00\x01hello"));
    on_port.chunk(&chunk(1, 17, 53, b"\x00\x01hello"));
    on_port.chunk(&chunk(1, 17, 8805, &[0x40, 1, 0, 4, 0, 0, 0, 0]));
    assert_eq!((on_port.counts(), on_port.json().len()), ([0, 0, 0, 1, 1], 0));
}

#[test]
fn a_direction_is_left_alone_after_its_first_application_data() {
    let hello = client_hello();
    let mut run = run("tlsheaders");
    run.chunk(&chunk(1, 6, 443, &hello));
    run.chunk(&chunk(1, 6, 443, &[23, 3, 3, 0, 2, 1, 2]));
    run.chunk(&chunk(1, 6, 443, &hello));
    run.chunk(&chunk(1, 6, 443, b"whatever"));
    assert_eq!((run.counts(), run.json().len()), ([1, 0, 0, 0, 0], 1));
}

#[test]
fn two_messages_in_one_datagram_are_two_events_and_padding_is_none() {
    let one = pfcp(52, 0x04, &[ie(57, &[2, 0, 0, 0, 0, 0, 0, 0, 5, 10, 0, 0, 1])]);
    let other = pfcp(54, 0, &[]);
    let mut bundle = run("pfcp");
    bundle.chunk(&chunk(1, 17, 8805, &[&one[..], &other, &[0; 6]].concat()));
    let names: Vec<_> = bundle.records().iter().map(|record| record["header"]["messageName"].clone()).collect();
    assert_eq!(names, ["PFCP Session Modification Request", "PFCP Session Deletion Request"]);
    assert_eq!((bundle.counts(), &bundle.records()[0]["cpSeid"]), ([2, 0, 0, 0, 0], &"0000000000000005".into()));
    let mut alone = run("pfcp");
    alone.chunk(&chunk(1, 17, 8805, &one));
    assert_eq!((alone.counts(), alone.json().len()), ([1, 0, 1, 0, 0], 1));
}

#[test]
fn the_ids_that_matter_are_gathered_and_told_on_one_line() {
    let mut run = run("pfcp");
    run.chunk(&chunk(1, 17, 8805, &session_establishment()));
    let record = &run.records()[0];
    assert_eq!(record["nodeId"], "10.0.0.1");
    assert_eq!(record["cpSeid"], "0000000000000011");
    assert_eq!(record["teids"], serde_json::json!(["00001001", "00001002", "00002001"]));
    assert_eq!(record["ueIps"], serde_json::json!(["10.60.0.1"]));
    assert_eq!(
        run.text()[0],
        "PFCP Session Establishment Request seq=7 seid=0000000000000000 cpSeid=0000000000000011 node=10.0.0.1 \
         teids=00001001,00001002,00002001 ue=10.60.0.1"
    );
    let mut response = self::run("pfcp");
    response.chunk(&chunk(
        1,
        17,
        8805,
        &pfcp(51, 0, &[ie(19, &[64]), ie(57, &[2, 0, 0, 0, 0, 0, 0, 0, 9, 1, 1, 1, 1])]),
    ));
    assert_eq!(
        (&response.records()[0]["upSeid"], &response.records()[0]["cause"]),
        (&"0000000000000009".into(), &64.into())
    );
    assert!(response.text()[0].ends_with("upSeid=0000000000000009 cause=64 (Request rejected (reason not specified))"));
}

#[test]
fn an_ie_whose_value_is_too_short_is_malformed_and_told_as_hex_and_one_that_overruns_its_group_is_not_told() {
    let mut short = run("pfcp");
    short.chunk(&chunk(1, 17, 8805, &pfcp(50, 0, &[ie(60, &[0, 10, 0, 0, 1]), ie(57, &[2, 0, 0])])));
    assert_eq!(short.counts(), [0, 0, 1, 0, 0]);
    assert_eq!(short.records()[0]["ies"][1], serde_json::json!({"type": 57, "name": "F-SEID", "hex": "020000"}));
    let mut overrun = run("pfcp");
    overrun.chunk(&chunk(1, 17, 8805, &pfcp(50, 0, &[ie(1, &[0, 56, 0, 9, 0, 1])])));
    assert_eq!((overrun.counts(), overrun.json().len()), ([0, 0, 1, 0, 0], 0));
    let mut unknown = run("pfcp");
    unknown.chunk(&chunk(1, 17, 8805, &pfcp(99, 0, &[ie(60_000 & 0x7fff, &[1, 2])])));
    assert_eq!((unknown.counts(), unknown.records()[0]["ies"][0]["hex"].clone()), ([0, 0, 0, 1, 0], "0102".into()));
}

#[test]
fn random_changes_of_real_messages_never_panic_and_always_count() {
    let mut random = packets::Random(0x1234_5678);
    let seeds = [
        ("tlsheaders", 6, 443, client_hello()),
        ("pfcp", 17, 8805, session_establishment()),
        ("ecpri", 17, 5555, iq(40)),
    ];
    for (task, protocol, port, seed) in seeds {
        let mut run = run(task);
        for flow in 0..3000_u64 {
            let mut bytes = seed.clone();
            for _ in 0..1 + random.next() % 4 {
                let at = random.next() as usize % bytes.len();
                bytes[at] = [0, 1, 0x7f, 0x80, 0xff, random.next() as u8][random.next() as usize % 6];
            }
            let before: u64 = run.counts().iter().sum();
            run.chunk(&chunk(flow, protocol, port, &bytes));
            run.chunk(&Chunk { length: 0, end: Some(FlowEnd::Fin), ..chunk(flow, protocol, port, &[]) });
            let after: u64 = run.counts().iter().sum();
            assert!(after > before || task == "tlsheaders", "{task} {bytes:02x?}");
        }
    }
}

#[test]
fn a_message_costs_no_allocation_once_tables_are_warm() {
    let (hello, session, iq) = (client_hello(), session_establishment(), iq(1000));
    for (task, protocol, port, bytes) in
        [("tlsheaders", 6, 443, &hello), ("pfcp", 17, 8805, &session), ("ecpri", 17, 5555, &iq)]
    {
        let context = context(Arc::new(Metrics::new("").unwrap()), false);
        let sink = Writer::new();
        let records = sink.records.clone();
        let mut pipeline = Pipeline::new(vec![build(task, &options(task), &context).unwrap(), Box::new(sink)]);
        let mut one = || {
            let data = chunk(7, protocol, port, bytes);
            // Both directions end: what follows is another connection.
            let end = |direction| Chunk { direction, end: Some(FlowEnd::Fin), ..chunk(7, protocol, port, &[]) };
            for chunk in [&data, &end(Direction::Tx), &end(Direction::Rx)] {
                pipeline.event(&Event::new(Timestamp(1), Instant(1), &Given(View::Chunk(chunk))));
            }
        };
        one();
        assert_eq!(alloc::count(|| (0..100).for_each(|_| one())), 0, "{task}");
        assert_eq!(records.get(), 101, "{task}");
    }
}

#[test]
fn records_keep_to_their_schemas() {
    let seeds = [
        ("tlsheaders", tawon::task::Kind::TlsHeaders, 6, 443, client_hello()),
        ("pfcp", tawon::task::Kind::Pfcp, 17, 8805, session_establishment()),
        ("ecpri", tawon::task::Kind::Ecpri, 17, 5555, iq(4)),
    ];
    for (task, kind, protocol, port, bytes) in seeds {
        let schema = tawon::task::schema::record(kind).unwrap();
        let mut run = run(task);
        run.chunk(&chunk(1, protocol, port, &bytes));
        for record in run.records() {
            let judged = jsonschema::validate(schema.as_value(), &record);
            assert!(judged.is_ok(), "{task}: {judged:?}");
        }
    }
}
