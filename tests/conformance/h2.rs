//! The h2 task: what it makes of connections, whole and cut, lost in part and joined in the middle.

use tawon::task::Value;
use tawon::task::processing::h2::shape::{Reason, Role};
use tawon::task::record::FlowEnd;

use crate::support::h2::*;

#[test]
fn a_request_with_its_response_is_one_record() {
    let mut rig = Rig::new(&[("body", Value::Text("text".into()))]);
    rig.connect();
    rig.send(Tx, &headers(1, 0, &[POST, &[("content-type", "Text/Plain; charset=utf-8")]].concat()));
    rig.send(Tx, &data(1, 0, b"hello "));
    rig.send(Tx, &frame(DATA, END_STREAM | PADDED, 1, b"\x03world\0\0\0"));
    rig.send(Rx, &headers(1, 0, &[OK, &[("server", "s"), ("set-cookie", "x")]].concat()));
    rig.send(Rx, &data(1, 0, b"ok"));
    rig.send(Rx, &headers(1, END_STREAM, &[("checksum", "1")]));
    let records = rig.records();
    let [record] = &records[..] else { panic!("{records:?}") };
    assert_eq!(
        (record.stream_id, record.role, record.partial, record.reason),
        (1, Role::Client, false, Reason::Complete)
    );
    assert_eq!(record.flow_id, "0000000000000001");
    let request = &record.request;
    assert_eq!(
        [&request.method, &request.scheme, &request.authority, &request.path].map(|text| text.as_deref()),
        [Some("POST"), Some("http"), Some("a"), Some("/x")]
    );
    assert_eq!(request.content_type.as_deref(), Some("text/plain"));
    assert_eq!((request.body_length, request.body.as_deref()), (Some(11), Some("hello world")));
    let names = |fields: &Option<Vec<tawon::task::processing::h2::shape::Field>>| -> Vec<String> {
        fields.iter().flatten().map(|field| field.name.clone().unwrap()).collect()
    };
    assert_eq!(names(&request.headers), [":method", ":scheme", ":authority", ":path", "content-type"]);
    assert_eq!(record.response.status, Some(200));
    assert_eq!(names(&record.response.headers), [":status", "server", "set-cookie"]);
    assert_eq!(names(&record.response.trailers), ["checksum"]);
    assert_eq!((record.response.body_length, record.response.body.as_deref()), (Some(2), Some("ok")));
    let net = record.net.as_ref().unwrap();
    assert_eq!((&net["clientAddr"], &net["clientPort"]), (&"10.0.0.1".into(), &40000.into()));
    assert_eq!((&net["serverAddr"], &net["serverPort"]), (&"10.0.0.2".into(), &8080.into()));
    assert_eq!(record.duration_us, Some(5));
    assert!(rig.errors().is_empty(), "{:?}", rig.errors());
    assert_eq!(rig.value("h2_connections{client}"), 1.0);
    assert_eq!(rig.value("h2_conn_dir_buffer{client}"), 1.0);
    assert_eq!(rig.value("h2_content_types{text/plain}"), 1.0);
    rig.end(1, Tx, FlowEnd::Fin);
    rig.end(1, Rx, FlowEnd::Fin);
    assert!(rig.close().is_empty());
}

#[test]
fn one_conversation_cut_anywhere_gives_the_same_records() {
    let mut lines = Vec::new();
    for cut in 0..=100 {
        let mut rig = Rig::new(&[("body", Value::Text("all".into())), ("maxBody", Value::Size(64))]);
        rig.cut = cut;
        conversation(&mut rig);
        rig.finish();
        lines.push((rig.lines(), rig.errors(), rig.value("h2_incoming_frames{false,data}")));
    }
    assert_eq!(lines[0].0.len(), 9);
    for (cut, got) in lines.iter().enumerate() {
        assert_eq!(got.0.len(), lines[0].0.len(), "{cut}");
        for (one, other) in got.0.iter().zip(&lines[0].0) {
            assert_eq!(String::from_utf8_lossy(one), String::from_utf8_lossy(other), "cut into {cut}");
        }
        assert_eq!((&got.1, got.2), (&lines[0].1, lines[0].2), "{cut}");
    }
}

#[test]
fn a_join_at_any_byte_never_shows_a_wrong_value_and_each_stream_once() {
    // Nothing is hidden: what stands under an unknown name is compared too.
    let shown = [("redact", Value::Words(vec!["none".into()]))];
    let mut whole = Rig::new(&shown);
    conversation(&mut whole);
    whole.finish();
    let truth: std::collections::HashMap<u32, _> =
        whole.records().into_iter().map(|record| (record.stream_id, record)).collect();
    let (client, server) = wire();
    let mut nameless = 0;
    for from in 0..client.len().max(server.len()) {
        let mut rig = Rig::new(&shown);
        rig.join(1);
        rig.send(Tx, &client[from.min(client.len())..]);
        rig.send(Rx, &server[from.min(server.len())..]);
        rig.finish();
        let mut seen = std::collections::HashSet::new();
        for record in rig.records() {
            assert!(seen.insert(record.stream_id), "stream {} twice, joined at {from}", record.stream_id);
            let Some(truth) = truth.get(&record.stream_id) else { panic!("stream {} at {from}", record.stream_id) };
            for (got, right) in [
                (&record.request.method, &truth.request.method),
                (&record.request.path, &truth.request.path),
                (&record.request.authority, &truth.request.authority),
            ] {
                assert!(got.is_none() || got == right, "joined at {from}: {got:?}");
            }
            assert!(record.response.status.is_none() || record.response.status == truth.response.status);
            for (got, right) in [
                (&record.request.headers, &truth.request.headers),
                (&record.response.headers, &truth.response.headers),
                (&record.response.trailers, &truth.response.trailers),
            ] {
                let Some(got) = got else { continue };
                for (got, right) in got.iter().zip(right.as_deref().unwrap_or_default()) {
                    assert!(got.name.is_none() || got.name == right.name, "joined at {from}");
                    assert!(
                        got.value.is_none() || got.value == right.value,
                        "joined at {from}: {got:?} is not {right:?}"
                    );
                    nameless += u32::from(got.name.is_none() && got.value.is_some());
                }
            }
        }
    }
    assert!(nameless > 100, "{nameless} values under unknown names");
}

#[test]
fn a_gap_inside_a_data_payload_costs_the_body_alone() {
    let mut rig = Rig::new(&[("body", Value::Text("all".into()))]);
    rig.connect();
    rig.send(Tx, &headers(1, END_STREAM, GET));
    let response = [headers(1, 0, OK), data(1, END_STREAM, &[b'x'; 1000])].concat();
    rig.send(Rx, &response[..400]);
    rig.send_after_gap(Rx, 300, &response[700..]);
    rig.send(Tx, &headers(3, END_STREAM, GET));
    rig.send(Rx, &headers(3, END_STREAM, OK));
    let records = rig.records();
    assert_eq!(records.len(), 2);
    let response = &records[0].response;
    assert_eq!(
        (records[0].reason, response.body_length, response.body_truncated),
        (Reason::Gap, Some(1000), Some(true))
    );
    assert_eq!(records[1].reason, Reason::Complete);
    assert_eq!(errors(&rig), [("h2_terminated_streams{gap}", 1.0)]);
}

#[test]
fn any_other_gap_resyncs_its_direction_and_empties_its_table() {
    let mut rig = Rig::new(&[]);
    rig.ready();
    rig.send(Tx, &headers(3, END_STREAM, GET));
    rig.send(Rx, &frame(HEADERS, END_HEADERS, 3, &[&[0x88][..], &indexed(&[("kept", "v")])].concat()));
    // 17 bytes that would have been a WINDOW_UPDATE and a bit; nobody knows.
    let after = [
        data(3, END_STREAM, b"end"),
        frame(HEADERS, END_HEADERS | END_STREAM, 5, &[0x88, 0xbe]),
        headers(7, END_STREAM, OK),
    ]
    .concat();
    rig.send(Tx, &[headers(5, END_STREAM, GET), headers(7, END_STREAM, GET)].concat());
    rig.send_after_gap(Rx, 17, &after);
    let records = rig.records();
    let reasons: Vec<_> = records.iter().map(|record| (record.stream_id, record.reason)).collect();
    assert_eq!(reasons, [(3, Reason::Gap), (5, Reason::Gap), (7, Reason::Gap)]);
    let field = &records[1].response.headers.as_ref().unwrap()[1];
    assert_eq!((field.index, field.name.as_ref()), (Some(62), None));
    assert_eq!(
        errors(&rig),
        [
            ("h2_header_decoder_resets", 1.0),
            ("h2_missing_headers{response,table}", 1.0),
            ("h2_terminated_streams{gap}", 3.0)
        ]
    );
    rig.finish();
}

#[test]
fn grpc_calls_tell_service_method_status_message_and_messages() {
    let mut rig = Rig::new(&[]);
    rig.connect();
    let call = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/pkg.Greeter/SayHello"),
        (":authority", "a"),
        ("content-type", "application/grpc+proto"),
        ("te", "trailers"),
    ];
    rig.send(Tx, &headers(1, 0, &call));
    rig.send(Tx, &data(1, 0, b"\0\0\0\0\x03abc\0\0\0\0"));
    rig.send(Tx, &data(1, END_STREAM, b"\x00"));
    rig.send(Rx, &headers(1, 0, &[OK, &[("content-type", "application/grpc")]].concat()));
    rig.send(Rx, &data(1, 0, b"\0\0\0\0\x01x"));
    rig.send(Rx, &headers(1, END_STREAM, &[("grpc-status", "5"), ("grpc-message", "no%20such%0Athing %zz")]));
    rig.send(Tx, &headers(3, END_STREAM, &call));
    rig.send(
        Rx,
        &headers(3, END_STREAM, &[OK, &[("content-type", "application/grpc"), ("grpc-status", "12")]].concat()),
    );
    let records = rig.records();
    let grpc = records[0].grpc.as_ref().unwrap();
    assert_eq!((grpc.service.as_deref(), grpc.method.as_deref()), (Some("pkg.Greeter"), Some("SayHello")));
    assert_eq!((grpc.status, grpc.message.as_deref()), (Some(5), Some("no such\nthing %zz")));
    assert_eq!((grpc.request_messages, grpc.response_messages), (Some(2), Some(1)));
    let grpc = records[1].grpc.as_ref().unwrap();
    assert_eq!((grpc.status, grpc.request_messages, grpc.response_messages), (Some(12), Some(0), Some(0)));
    assert!(rig.errors().is_empty(), "{:?}", rig.errors());
}

#[test]
fn secrets_are_redacted_unless_the_option_says_none() {
    for (set, shown) in [(vec![], false), (vec![("redact", Value::Words(vec!["none".into()]))], true)] {
        let mut rig = Rig::new(&set);
        rig.join(1);
        let mut request = block(GET);
        request.extend(block(&[("authorization", "Bearer x"), ("plain", "p")]));
        // Never indexed; and a literal whose name stands in an entry that was never seen.
        request.extend(b"\x10\x01n\x01s\x7e\x01v");
        rig.send(Tx, &frame(HEADERS, END_HEADERS | END_STREAM, 1, &request));
        rig.send(Rx, &headers(1, END_STREAM, OK));
        let records = rig.records();
        let fields = records[0].request.headers.as_ref().unwrap();
        let value = |at: usize| fields[at].value.as_deref().unwrap();
        let expect = |text| if shown { text } else { "[redacted]" };
        assert_eq!([value(4), value(5), value(6), value(7)], [expect("Bearer x"), "p", expect("s"), expect("v")]);
        assert_eq!((fields[6].never_indexed, fields[7].name.is_none(), fields[7].index), (Some(true), true, Some(62)));
        assert_eq!(records[0].unknown_fields, 1);
    }
}

#[test]
fn a_list_of_secrets_that_changes_holds_from_then_on_for_what_was_inserted_before_too() {
    let list = |names: &[&str]| -> std::sync::Arc<[String]> { names.iter().map(|&name| name.to_owned()).collect() };
    for (set, obeys) in [
        (vec![], true),
        (vec![("redact", Value::Words(vec!["none".into()]))], false),
        (vec![("redact", Value::Words(vec!["x-b".into()]))], false),
    ] {
        let mut rig = Rig::with(&set, |context| context.redact = list(&["x-a"]));
        rig.connect();
        let shown = |rig: &mut Rig, stream: u32, request: &[u8]| -> Vec<bool> {
            rig.send(Tx, &frame(HEADERS, END_HEADERS | END_STREAM, stream, request));
            rig.send(Rx, &headers(stream, END_STREAM, OK));
            let records = rig.records();
            let fields = records[0].request.headers.as_ref().unwrap();
            let of = |name: &str| fields.iter().find(|field| field.name.as_deref() == Some(name)).unwrap();
            ["x-a", "x-b", "authorization"].map(|name| of(name).value.as_deref() != Some("[redacted]")).to_vec()
        };
        let literal = indexed(&[GET, &[("x-a", "1"), ("x-b", "2"), ("authorization", "3")]].concat());
        let before = shown(&mut rig, 1, &literal);
        rig.redact(&list(&["x-b", "authorization"]));
        // By index: the newest is 62. Of GET only authority and path were inserted too.
        let again = [&literal[..2], &[0xc1, 0xc2, 0xc0, 0xbf, 0xbe]].concat();
        let after = shown(&mut rig, 3, &again);
        match obeys {
            true => assert_eq!((before, after), (vec![false, true, true], vec![true, false, false])),
            false => assert_eq!(before, after),
        }
        assert!(rig.errors().is_empty(), "{:?}", rig.errors());
    }
}

#[test]
fn pushes_interim_responses_and_resets_are_told_for_what_they_are() {
    let mut rig = Rig::new(&[]);
    rig.connect();
    rig.send(Tx, &headers(1, END_STREAM, GET));
    let promise = [&2u32.to_be_bytes()[..], &block(GET)].concat();
    rig.send(Rx, &frame(PUSH_PROMISE, END_HEADERS, 1, &promise));
    rig.send(Rx, &headers(1, 0, &[(":status", "103"), ("link", "x")]));
    rig.send(Rx, &headers(1, END_STREAM, OK));
    rig.send(Rx, &headers(2, END_STREAM, &[(":status", "404")]));
    rig.send(Tx, &headers(3, 0, GET));
    rig.send(Tx, &frame(RST_STREAM, 0, 3, &8u32.to_be_bytes()));
    rig.send(Rx, &data(3, 0, b"late"));
    rig.send(Tx, &headers(5, END_STREAM, GET));
    rig.send(Tx, &headers(7, END_STREAM, GET));
    rig.send(Rx, &frame(GOAWAY, 0, 0, &[0, 0, 0, 5, 0, 0, 0, 0]));
    rig.send(Rx, &headers(5, 0, OK));
    rig.end(1, Tx, FlowEnd::Rst);
    let told: Vec<_> = rig
        .records()
        .iter()
        .map(|record| (record.stream_id, record.reason, record.pushed, record.response.status))
        .collect();
    assert_eq!(
        told,
        [
            (1, Reason::Complete, false, Some(200)),
            (2, Reason::Complete, true, Some(404)),
            (3, Reason::RstStream, false, None),
            (7, Reason::Goaway, false, None),
            (5, Reason::ConnectionClosed, false, Some(200)),
        ]
    );
    assert_eq!(
        errors(&rig),
        [
            ("h2_server_stream_frames{headers}", 1.0),
            ("h2_terminated_streams{connection_closed}", 1.0),
            ("h2_terminated_streams{goaway}", 1.0),
            ("h2_terminated_streams{rst_stream}", 1.0)
        ]
    );
    assert_eq!(rig.value("h2_incoming_frames{true,data}"), 1.0);
    assert_eq!(rig.value("h2_incoming_frames{true,settings}"), 1.0);
    rig.finish();
}

#[test]
fn an_upgraded_request_is_stream_one() {
    let mut rig = Rig::new(&[]);
    rig.send(
        Tx,
        b"GET /up HTTP/1.1\r\nHost: a:80\r\nAuthorization: s\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAUAAIAA\r\n\r\n",
    );
    rig.send(Rx, b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n");
    rig.send(Rx, &[frame(SETTINGS, 0, 0, &[]), headers(1, 0, OK)].concat());
    rig.send(Tx, &client_start());
    // The settings of the upgrade allow 32768.
    rig.send(Rx, &data(1, END_STREAM, &[b'x'; 20000]));
    let records = rig.records();
    assert_eq!(records.len(), 1, "{:?}", rig.series());
    assert_eq!(records[0].request.path.as_deref(), Some("/up"));
    assert_eq!(records[0].request.authority.as_deref(), Some("a:80"));
    let fields = records[0].request.headers.as_ref().unwrap();
    let secret = fields.iter().find(|field| field.name.as_deref() == Some("authorization")).unwrap();
    assert_eq!(secret.value.as_deref(), Some("[redacted]"));
    assert_eq!((records[0].reason, records[0].response.body_length), (Reason::Complete, Some(20000)));
    assert!(rig.errors().is_empty(), "{:?}", rig.errors());
}

#[test]
fn multipart_bodies_are_split_whatever_body_says() {
    let mut rig = Rig::new(&[]);
    rig.connect();
    let kind = [("content-type", "multipart/related; boundary=b")];
    rig.send(Tx, &headers(1, 0, &[POST, &kind].concat()));
    rig.send(Tx, &data(1, 0, b"--b\r\nContent-Type: application/json\r\nContent-Id: n\r\n\r\n{}\r\n--b\r\n"));
    rig.send(Tx, &data(1, END_STREAM, b"Content-Type: application/vnd.3gpp.ngap\r\n\r\n\x01\x02\r\n--b--\r\n"));
    rig.send(Rx, &headers(1, END_STREAM, OK));
    let records = rig.records();
    let parts = records[0].request.parts.as_ref().unwrap();
    let told: Vec<_> =
        parts.iter().map(|part| (part.content_type.as_str(), part.content_id.as_deref(), part.length)).collect();
    assert_eq!(told, [("application/json", Some("n"), 2), ("application/vnd.3gpp.ngap", None, 2)]);
    assert_eq!(rig.value("h2_multipart_bodies"), 1.0);
    assert_eq!(rig.value("h2_content_types{application/vnd.3gpp.ngap}"), 1.0);
    assert!(rig.errors().is_empty(), "{:?}", rig.errors());
}

#[test]
fn idle_streams_and_connections_expire_on_made_up_time() {
    for packets in [true, false] {
        let mut rig = Rig::with(&[], |context| context.packets = packets);
        rig.connect();
        rig.send(Tx, &frame(HEADERS, END_HEADERS, 1, &[block(GET), indexed(&[("kept", "v")])].concat()));
        rig.pass(59.0);
        rig.send(Tx, &data(1, 0, b"alive"));
        rig.pass(59.0);
        assert!(rig.records().is_empty());
        rig.pass(2.0);
        assert_eq!(rig.records()[0].reason, Reason::Timeout);
        assert_eq!(errors(&rig), [("h2_expired_streams", 1.0)]);
        rig.send(Tx, &data(1, END_STREAM, b"late"));
        assert!(rig.records().is_empty());
        rig.pass(301.0);
        assert_eq!(rig.context.metrics.gauge("h2_flower_flows").get(), if packets { 0 } else { 1 });
        // After sockets the tables are kept: what was inserted is still known.
        rig.send(Tx, &frame(HEADERS, END_HEADERS | END_STREAM, 3, &[&block(GET)[..], &[0xbe]].concat()));
        rig.send(Rx, &headers(3, END_STREAM, OK));
        let record = &rig.records()[0];
        let last = record.request.headers.as_ref().unwrap().last().unwrap().clone();
        assert_eq!(last.name.as_deref(), (!packets).then_some("kept"));
        rig.finish();
    }
}

#[test]
fn bounds_evict_what_was_used_longest_ago() {
    let mut rig =
        Rig::new(&[("streamer_max_streams_per_flow", Value::Count(2)), ("flower_max_flows", Value::Count(3))]);
    rig.connect();
    for stream in [1, 3, 5] {
        rig.send(Tx, &headers(stream, 0, GET));
    }
    let told: Vec<_> = rig.records().iter().map(|record| (record.stream_id, record.reason)).collect();
    assert_eq!(told, [(1, Reason::Evicted)]);
    for flow in 2..=4 {
        rig.send_on(flow, Tx, &client_start());
    }
    let told: Vec<_> = rig.records().iter().map(|record| (record.stream_id, record.reason)).collect();
    assert_eq!(told, [(3, Reason::Evicted), (5, Reason::Evicted)]);
    assert_eq!(rig.context.metrics.gauge("h2_flower_flows").get(), 3);
    assert_eq!(errors(&rig), [("h2_terminated_streams{evicted}", 3.0)]);
    rig.finish();
}

#[test]
fn other_protocols_move_no_error_counter() {
    let mut seed = 7u64;
    let mut random = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed as u8
    };
    let mut rig = Rig::new(&[]);
    let mut flow = 0;
    let mut feed = |rig: &mut Rig, bytes: &[u8], joined: bool| {
        flow += 1;
        if joined {
            rig.join(flow);
        }
        for piece in bytes.chunks(1448) {
            rig.send_on(flow, Tx, piece);
            rig.send_on(flow, Rx, piece);
        }
    };
    for joined in [false, true] {
        for text in [
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "POST /x HTTP/1.1\r\nContent-Length: 9\r\n\r\n",
            "PRI / HTTP/1.1\r\n\r\n",
        ] {
            feed(
                &mut rig,
                &[text.as_bytes(), &[0; 40000], b"HTTP/1.1 200 OK\r\n\r\n", &[b'a'; 50000]].concat(),
                joined,
            );
        }
        for _ in 0..20 {
            let bytes: Vec<u8> = (0..70000).map(|_| random()).collect();
            feed(&mut rig, &bytes, joined);
            let mut tls = Vec::new();
            for record in bytes.chunks(4000) {
                tls.extend([0x17, 3, 3, (record.len() >> 8) as u8, record.len() as u8]);
                tls.extend(record);
            }
            feed(&mut rig, &tls, joined);
        }
    }
    let ignored = rig.value("tawon_h2_flows_ignored_total");
    assert_eq!(ignored, 2.0 * flow as f64);
    let mut errors = rig.errors();
    errors.remove("tawon_h2_flows_ignored_total");
    assert!(errors.is_empty(), "{errors:?}");
    rig.finish();
}

#[test]
fn nothing_is_allocated_per_frame_header_or_round_trip() {
    use crate::support::alloc;
    use tawon::pipeline::{Event, Next, Task};
    struct Line(Vec<u8>);
    impl Task for Line {
        fn event(&mut self, event: &Event<'_>, _: &mut Next<'_>) {
            self.0.clear();
            event.walk(&mut |record| record.json(&mut self.0));
        }
    }
    let mut rig = Rig::with(&[], |context| context.packets = false);
    rig.replace_destination(Box::new(Line(Vec::new())));
    rig.connect();
    let turn = |rig: &mut Rig, stream: u32, count: &mut u64| {
        let request = [GET, &[("content-type", "application/json"), ("x-id", "0123456789")]].concat();
        let up = [
            headers(stream, 0, &request),
            data(stream, END_STREAM, b"{\"some\":\"body\"}"),
            headers(stream + 2, 0, &[POST, &[("content-type", "multipart/mixed; boundary=b")]].concat()),
            data(stream + 2, END_STREAM, b"--b\r\n\r\npart\r\n--b--"),
        ]
        .concat();
        let down = [
            frame(HEADERS, 0, stream, &block(OK)),
            frame(CONTINUATION, END_HEADERS, stream, &indexed(&[("date", "today"), ("server", "me")])),
            data(stream, 0, &[b'x'; 500]),
            headers(stream, END_STREAM, &[("grpc-status", "0"), ("grpc-message", "fine")]),
            headers(stream + 2, END_STREAM, OK),
        ]
        .concat();
        let up_chunk = rig.plain(1, Tx, &up);
        *count += alloc::count(|| rig.feed(&up_chunk));
        rig.skip(1, Tx, up.len());
        let half = rig.plain(1, Rx, &down[..20]);
        *count += alloc::count(|| rig.feed(&half));
        rig.skip(1, Rx, 20);
        let rest = rig.plain(1, Rx, &down[20..]);
        *count += alloc::count(|| rig.feed(&rest));
        rig.skip(1, Rx, down.len() - 20);
    };
    for round in 0..200 {
        turn(&mut rig, 1 + 4 * round, &mut 0);
    }
    let mut count = 0;
    for round in 200..1200 {
        turn(&mut rig, 1 + 4 * round, &mut count);
    }
    count += alloc::count(|| rig.pass(0.0));
    assert_eq!(rig.value("h2_round_trips_emitted{false,complete}"), 2400.0);
    assert_eq!(count, 0);
}

fn errors(rig: &Rig) -> Vec<(&'static str, f64)> {
    rig.errors().into_iter().map(|(name, value)| (&*name.leak(), value)).collect()
}

/// Nine round trips of many kinds, sent in turns.
fn conversation(rig: &mut Rig) {
    let (client, server) = steps();
    rig.connect();
    for (up, down) in client.iter().zip(&server) {
        rig.send(Tx, up);
        rig.send(Rx, down);
    }
}

/// The same as two streams of bytes.
fn wire() -> (Vec<u8>, Vec<u8>) {
    let (client, server) = steps();
    ([client_start(), client.concat()].concat(), [server_start(), server.concat()].concat())
}

fn steps() -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let mut client = Vec::new();
    let mut server = Vec::new();
    let mut seed = 23u64;
    // Each value stands for itself: one taken for another would show.
    let mut random = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        format!("{seed:016x}")
    };
    for turn in 0..4u32 {
        let (one, two) = (1 + 4 * turn, 3 + 4 * turn);
        let request =
            indexed(&[(":method", "GET"), (":scheme", "http"), (":path", &format!("/{turn}")), ("x-n", &random())]);
        // Literals whose name is that of the newest entry: inserted, then not inserted.
        let named = [&[0x7e, 16][..], random().as_bytes(), &[0x0f, 0x2f, 16], random().as_bytes()].concat();
        client.push(
            [
                frame(HEADERS, END_STREAM | END_HEADERS, one, &request),
                frame(HEADERS, 0, two, &block(POST)),
                frame(CONTINUATION, END_HEADERS, two, &[&[0xbe, 0xbf][..], &named].concat()),
                frame(DATA, PADDED, two, b"\x05\0\0\0\x01\0ab\0\0\0\0\0"),
                frame(WINDOW_UPDATE, 0, 0, &[0, 0, 1, 0]),
                data(two, END_STREAM, &[0xff; 200]),
            ]
            .concat(),
        );
        let response = indexed(&[(":status", "200"), ("content-type", "text/plain"), ("x-turn", &random())]);
        server.push(
            [
                frame(HEADERS, END_HEADERS, one, &response),
                data(one, 0, format!("body {turn} é").as_bytes()),
                frame(PING, 0, 0, &[0; 8]),
                frame(HEADERS, END_HEADERS | END_STREAM, two, &[&[0x8d][..], &[0xbe, 0xbf]].concat()),
                headers(one, END_STREAM, &[("trailer", "t")]),
            ]
            .concat(),
        );
    }
    client.push(headers(17, 0, GET));
    server.push(frame(PING, ACK, 0, &[0; 8]));
    (client, server)
}

#[test]
fn two_hundred_thousand_connections_stay_within_the_memory_they_may_take() {
    let limit = 64u64 << 20;
    let mut rig = Rig::with(&[("flower_max_flows", Value::Count(200_000))], |context| {
        context.memory = limit;
        context.packets = false;
    });
    rig.replace_destination(Box::new(Nothing));
    let request =
        [client_start(), frame(HEADERS, END_HEADERS, 1, &indexed(&[GET, &[("x", &"v".repeat(200))]].concat()))]
            .concat();
    let bytes = rig.context.metrics.gauges("tawon_table_bytes").with_label_values(&["h2"]);
    let mut most = 0;
    for flow in 0..200_000u64 {
        let chunk = rig.plain(flow, Tx, &request);
        rig.feed(&tawon::task::record::Chunk { start: true, offset: 0, ..chunk });
        if flow % 10_000 == 0 {
            rig.pass(1.0);
            most = most.max(bytes.get());
        }
    }
    assert!(most > limit as i64 / 2 && most <= limit as i64, "{most}");
    let evicted = rig.context.metrics.counters("tawon_table_evictions_total").with_label_values(&["h2"]).get();
    let kept = rig.context.metrics.gauge("h2_flower_flows").get() as u64;
    assert_eq!(evicted + kept, 200_000);
    assert!(evicted > 0);
    rig.finish();
}

struct Nothing;

impl tawon::pipeline::Task for Nothing {
    fn event(&mut self, _: &tawon::pipeline::Event<'_>, _: &mut tawon::pipeline::Next<'_>) {}
}
