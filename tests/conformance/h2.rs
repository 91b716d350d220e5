//! The h2 task: what its records say of requests with their responses, and which flows it leaves alone.

use tawon::task::Value;
use tawon::task::processing::h2::shape::{Reason, Role};
use tawon::task::record::FlowEnd;

use crate::support::h2::*;
use crate::support::packets::Random;

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
fn other_protocols_move_no_error_counter() {
    let mut random = Random(7);
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
            let bytes = random.bytes(70_000);
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
