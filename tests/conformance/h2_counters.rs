//! Each error counter of the h2 group, moved to an exact value by exactly what it counts, while no other
//! error counter moves but those that the same thing moves by the rules.

use tawon::task::Value;

use crate::support::h2::*;

pub type Moved = &'static [(&'static str, f64)];

/// Runs `wrong` on a connection that has had a round trip and says which error counters moved.
pub fn moved(set: &[(&'static str, Value)], wrong: impl Fn(&mut Rig), expected: Moved) {
    for cut in [0, 1, 7] {
        let mut rig = Rig::new(set);
        rig.cut = cut;
        rig.ready();
        wrong(&mut rig);
        let got: Vec<_> = rig.errors().into_iter().collect();
        let got: Vec<_> = got.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        assert_eq!(got, expected, "cut into {cut}");
        rig.finish();
    }
}

#[test]
fn frames_of_types_that_nobody_registered() {
    moved(
        &[],
        |rig| {
            for kind in [0x0b, 0x0d, 0x11, 0xff] {
                rig.send(Tx, &frame(kind, 0xff, 1, b"payload"));
            }
            // Registered extensions are none of those.
            rig.send(Rx, &[frame(0x0a, 0, 0, b"x"), frame(0x0c, 0, 0, b""), frame(0x10, 0, 0, &[0; 5])].concat());
        },
        &[("h2_invalid_frame_type", 4.0)],
    );
}

#[test]
fn empty_frames_that_need_a_payload() {
    moved(
        &[],
        |rig| rig.send(Tx, &[data(3, 0, b""), data(3, 0, b"")].concat()),
        &[("h2_invalid_empty_data_frame", 2.0)],
    );
    for (kind, name) in [
        (HEADERS, "h2_invalid_empty_payload{headers}"),
        (PRIORITY, "h2_invalid_empty_payload{priority}"),
        (RST_STREAM, "h2_invalid_empty_payload{rst_stream}"),
        (PUSH_PROMISE, "h2_invalid_empty_payload{push_promise}"),
        (PING, "h2_invalid_empty_payload{ping}"),
        (GOAWAY, "h2_invalid_empty_payload{goaway}"),
        (WINDOW_UPDATE, "h2_invalid_empty_payload{window_update}"),
    ] {
        let flags = match kind {
            HEADERS => END_HEADERS | PADDED,
            PUSH_PROMISE => END_HEADERS,
            _ => 0,
        };
        let stream = if matches!(kind, PING | GOAWAY) { 0 } else { 1 };
        let expected: Moved = Box::leak(Box::new([(name, 3.0)]));
        moved(&[], |rig| rig.send(Rx, &frame(kind, flags, stream, b"").repeat(3)), expected);
    }
    let empty = |rig: &mut Rig| rig.send(Rx, &frame(SETTINGS, 0, 0, b""));
    moved(&[], empty, &[]);
}

#[test]
fn frames_that_are_too_short_or_too_long() {
    moved(&[], |rig| rig.send(Rx, &frame(GOAWAY, 0, 0, &[0; 7])), &[("h2_invalid_go_away_frames", 1.0)]);
    moved(&[], |rig| rig.send(Rx, &frame(RST_STREAM, 0, 1, &[0; 3])), &[("h2_invalid_rst_stream_frames", 1.0)]);
    moved(
        &[("frameBuffer", Value::Size(2000))],
        |rig| {
            rig.send(Rx, &frame(GOAWAY, 0, 0, &[0; 2001]));
            rig.send(Rx, &frame(SETTINGS, 0, 0, &[0; 2004]));
            rig.send(Rx, &frame(0x0a, 0, 0, &[0; 2001]));
        },
        &[
            ("h2_payload_overflow_buffer{goaway}", 1.0),
            ("h2_payload_overflow_buffer{settings}", 1.0),
            ("h2_payload_overflow_buffer{unknown}", 1.0),
        ],
    );
    moved(
        &[],
        |rig| {
            rig.send(Tx, &headers(3, 0, POST));
            rig.send(Tx, &data(3, END_STREAM, &[0; 16385]));
            rig.send(Rx, &headers(3, END_STREAM, OK));
            let record = &rig.records()[0];
            assert_eq!((record.request.body_length, record.request.body_truncated), (Some(16385), Some(true)));
        },
        &[("h2_payload_overflow_buffer{data}", 1.0)],
    );
    // What a peer has allowed is not too long.
    moved(
        &[],
        |rig| {
            rig.send(Rx, &frame(SETTINGS, 0, 0, &[0, 5, 0, 0, 0x80, 0]));
            rig.send(Tx, &[headers(3, 0, POST), data(3, END_STREAM, &[0; 32768])].concat());
        },
        &[],
    );
}

#[test]
fn blocks_that_outgrow_the_buffer_frame_by_frame() {
    moved(
        &[("frameBuffer", Value::Size(2000))],
        |rig| {
            let mut flood = frame(HEADERS, END_STREAM, 3, &block(GET));
            for _ in 0..20 {
                flood.extend(frame(CONTINUATION, 0, 3, &block(&[("n", &"x".repeat(500))])));
            }
            flood.extend(frame(CONTINUATION, END_HEADERS, 3, b""));
            rig.send(Tx, &flood);
            rig.send(Rx, &headers(3, END_STREAM, OK));
            assert_eq!(rig.records().len(), 1);
        },
        &[
            ("h2_chunk_buffer_overflow{continuation}", 1.0),
            ("h2_header_decoder_resets", 1.0),
            ("h2_missing_headers{request,truncated}", 1.0),
        ],
    );
}

#[test]
fn a_search_for_a_boundary_that_needs_too_much() {
    moved(
        &[("frameBuffer", Value::Size(2000))],
        |rig| {
            // Plausible, but its end is further away than may be held.
            rig.send_after_gap(Rx, 100, &frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]));
            rig.send(Rx, &data(3, 0, &[b'x'; 2100]));
            rig.send(Rx, &[frame(PING, 0, 0, &[0; 8]), frame(PING, 0, 0, &[0; 8])].concat());
            rig.send(Rx, &frame(PING, 0, 0, &[0; 8]));
        },
        &[("h2_chunk_buffer_overflow{unknown}", 2.0), ("h2_header_decoder_resets", 1.0)],
    );
}

#[test]
fn flags_and_streams_that_a_type_does_not_have() {
    moved(
        &[],
        |rig| {
            rig.send(Rx, &frame(PING, 0x80, 0, &[0; 8]));
            // RFC 9113 section 4.1: such flags are ignored, the frame is not.
            rig.send(Tx, &frame(HEADERS, END_HEADERS | END_STREAM | 0x42, 3, &block(GET)));
            rig.send(Rx, &headers(3, END_STREAM, OK));
            assert_eq!(rig.records().len(), 1);
        },
        &[("h2_invalid_frame_flags{headers}", 1.0), ("h2_invalid_frame_flags{ping}", 1.0)],
    );
    for (kind, name, payload) in [
        (DATA, "h2_zero_stream_frames{data}", &b"x"[..]),
        (HEADERS, "h2_zero_stream_frames{headers}", b"\x88"),
        (PRIORITY, "h2_zero_stream_frames{priority}", &[0; 5]),
        (RST_STREAM, "h2_zero_stream_frames{rst_stream}", &[0; 4]),
        (PUSH_PROMISE, "h2_zero_stream_frames{push_promise}", b"\0\0\0\x02\x82"),
        (CONTINUATION, "h2_zero_stream_frames{continuation}", b"\x88"),
    ] {
        let flags = if matches!(kind, HEADERS | PUSH_PROMISE | CONTINUATION) { END_HEADERS } else { 0 };
        let expected: Moved = Box::leak(Box::new([(name, 2.0)]));
        moved(&[], |rig| rig.send(Rx, &frame(kind, flags, 0, payload).repeat(2)), expected);
    }
    moved(
        &[],
        |rig| {
            rig.send(Tx, &headers(4, END_STREAM, GET));
            rig.send(Rx, &frame(WINDOW_UPDATE, 0, 4, &[0, 0, 0, 1]));
        },
        &[("h2_server_stream_frames{headers}", 1.0), ("h2_server_stream_frames{window_update}", 1.0)],
    );
}

#[test]
fn a_connection_that_never_tells_who_the_client_is() {
    for packets in [true, false] {
        let mut rig = Rig::with(&[], |context| context.packets = packets);
        rig.join(1);
        let chain = data(1, 0, b"x").repeat(3);
        rig.send(Rx, &chain);
        for _ in 0..497 {
            rig.send(Rx, &data(1, 0, b"x"));
        }
        rig.send(Rx, &frame(PING, 0, 0, &[0; 8]));
        assert_eq!(rig.value("h2_failed_dir_detections"), 0.0);
        assert_eq!(rig.value("h2_incoming_frames{true,data}"), 0.0);
        rig.send(Rx, &data(1, 0, b"x"));
        assert_eq!(rig.value("h2_failed_dir_detections"), 1.0);
        assert_eq!(rig.value("h2_incoming_frames{true,data}"), 501.0);
        rig.send(Rx, &data(1, 0, b"x").repeat(3));
        let failed = [("h2_failed_dir_detections".to_owned(), 1.0), ("h2_header_decoder_resets".to_owned(), 1.0)];
        assert_eq!(rig.errors().into_iter().collect::<Vec<_>>(), failed);
        // Later frames may still decide.
        let role = if packets { "unknown" } else { "client" };
        rig.send(Rx, &headers(5, END_STREAM, OK));
        assert_eq!(rig.value(&format!("h2_connections{{{role}}}")), 1.0);
        assert_eq!(rig.value(&format!("h2_conn_dir_buffer{{{role}}}")), 1.0);
        assert_eq!(rig.records().len(), 1);
        rig.finish();
    }
    let mut rig = Rig::new(&[]);
    rig.join(1);
    for _ in 0..17 {
        rig.send(Rx, &data(1, 0, &[b'x'; 16000]));
    }
    assert_eq!(rig.value("h2_failed_dir_detections"), 1.0);
    assert_eq!(rig.value("h2_incoming_frames{true,data}"), 17.0);
}

#[test]
fn chunks_without_a_flow_and_chunks_out_of_order() {
    let mut rig = Rig::new(&[]);
    rig.ready();
    let chunk = tawon::task::record::Chunk { flow: None, ..rig.plain(1, Tx, b"x") };
    rig.chunk(&chunk);
    rig.chunk(&chunk);
    assert_eq!(rig.errors().into_iter().collect::<Vec<_>>(), [("h2_chunks_missing_flowid".to_owned(), 2.0)]);
    let mut rig = Rig::new(&[]);
    rig.ready();
    let late = tawon::task::record::Chunk { offset: 3, ..rig.plain(1, Tx, b"again") };
    rig.chunk(&late);
    assert_eq!(rig.errors().into_iter().collect::<Vec<_>>(), [("h2_out_of_order".to_owned(), 1.0)]);
    rig.send(Tx, &headers(3, END_STREAM, GET));
    rig.send(Rx, &headers(3, END_STREAM, OK));
    assert_eq!(rig.records().len(), 1);
    let bounds = rig.context.metrics.histogram("h2_chunk_size");
    let families = prometheus::core::Collector::collect(&bounds);
    let bounds: Vec<_> =
        families[0].get_metric()[0].get_histogram().get_bucket().iter().map(|bucket| bucket.upper_bound()).collect();
    assert_eq!(bounds[..6], [10.0, 50.0, 100.0, 250.0, 750.0, 1500.0]);
}

#[test]
fn header_blocks_that_are_not_whole() {
    moved(&[], |rig| rig.send(Tx, &frame(HEADERS, END_HEADERS, 3, b"")), &[("h2_empty_headers{request}", 1.0)]);
    moved(&[], |rig| rig.send(Rx, &frame(HEADERS, END_HEADERS, 3, b"")), &[("h2_empty_headers{response}", 1.0)]);
    moved(
        &[],
        |rig| rig.send(Tx, &frame(HEADERS, END_HEADERS, 3, &[&block(GET)[..], &[0xbe]].concat())),
        &[("h2_header_decoder_resets", 1.0), ("h2_missing_headers{request,malformed}", 1.0)],
    );
    moved(
        &[],
        |rig| {
            let long = "x".repeat(9000);
            let mut wire = frame(HEADERS, 0, 3, &block(GET));
            for last in 0..7 {
                let flags = if last == 6 { END_HEADERS } else { 0 };
                wire.extend(frame(CONTINUATION, flags, 3, &block(&[("n", &long)])));
            }
            // Sixty references to a long entry: a list that expands.
            rig.send(
                Rx,
                &frame(
                    HEADERS,
                    END_HEADERS,
                    3,
                    &[&[0x88][..], &indexed(&[("n", &"y".repeat(3000))]), &[0xbe; 60]].concat(),
                ),
            );
            rig.send(Tx, &wire);
        },
        &[("h2_missing_headers{response,truncated}", 1.0)],
    );
    moved(
        &[],
        |rig| {
            let wire = frame(HEADERS, END_HEADERS, 3, &block(&[GET, &[("n", &"x".repeat(300))]].concat()));
            rig.send(Tx, &wire[..100]);
            rig.send_after_gap(Tx, 500, b"");
        },
        &[("h2_header_decoder_resets", 1.0), ("h2_missing_headers{request,gap}", 1.0)],
    );
    let mut rig = Rig::new(&[("flower_max_flows", Value::Count(1))]);
    rig.ready();
    rig.send(Tx, &frame(HEADERS, 0, 3, &block(GET)));
    rig.send_on(2, Tx, &client_start());
    let got: Vec<_> = rig.errors().into_iter().collect();
    assert_eq!(
        got,
        [("h2_missing_headers{request,evicted}".to_owned(), 1.0), ("h2_terminated_streams{evicted}".to_owned(), 0.0)]
            [..1]
    );
}

#[test]
fn pseudo_headers_in_the_wrong_place_or_twice() {
    moved(&[], |rig| rig.send(Tx, &headers(3, 0, &[GET, OK].concat())), &[("h2_wrong_pseudo_headers{request}", 1.0)]);
    moved(
        &[],
        |rig| rig.send(Rx, &headers(3, 0, &[OK, &[(":path", "/")]].concat())),
        &[("h2_wrong_pseudo_headers{response}", 1.0)],
    );
    moved(
        &[],
        |rig| rig.send(Tx, &headers(3, 0, &[GET, &[(":path", "/y")]].concat())),
        &[("h2_multi_pseudo_headers{request}", 1.0)],
    );
    moved(&[], |rig| rig.send(Rx, &headers(3, 0, &[OK, OK].concat())), &[("h2_multi_pseudo_headers{response}", 1.0)]);
    moved(
        &[],
        |rig| {
            rig.send(
                Tx,
                &headers(
                    3,
                    0,
                    &[
                        (":method", "CONNECT"),
                        (":authority", "a"),
                        (":protocol", "websocket"),
                        (":scheme", "http"),
                        (":path", "/"),
                    ],
                ),
            )
        },
        &[],
    );
}

#[test]
fn messages_that_come_twice() {
    moved(&[], |rig| rig.send(Tx, &headers(3, 0, POST).repeat(2)), &[("h2_duplicate_component{request_header}", 1.0)]);
    moved(
        &[],
        |rig| {
            rig.send(Tx, &headers(3, 0, POST));
            rig.send(Rx, &headers(3, 0, OK).repeat(3));
        },
        &[("h2_duplicate_component{response_header}", 2.0)],
    );
    moved(
        &[],
        |rig| {
            rig.send(Tx, &[headers(3, END_STREAM, POST), data(3, 0, b"x"), data(3, END_STREAM, b"")].concat());
        },
        &[("h2_duplicate_component{request_body}", 2.0)],
    );
    moved(
        &[],
        |rig| {
            rig.send(Tx, &headers(3, 0, POST));
            rig.send(Rx, &[headers(3, 0, OK), headers(3, END_STREAM, &[("t", "1")]), data(3, 0, b"x")].concat());
        },
        &[("h2_duplicate_component{response_body}", 1.0)],
    );
}

#[test]
fn content_types_and_multipart_bodies_that_cannot_be_parsed() {
    let typed = |kind: &str| headers(3, 0, &[POST, &[("content-type", kind)]].concat());
    moved(&[], |rig| rig.send(Tx, &typed("nonsense")), &[("h2_content_type_parse_failure", 1.0)]);
    moved(&[], |rig| rig.send(Tx, &typed("multipart/mixed")), &[("h2_content_type_parse_failure", 1.0)]);
    moved(
        &[],
        |rig| {
            rig.send(Tx, &[typed("multipart/mixed; boundary=b"), data(3, END_STREAM, b"no delimiter")].concat());
            assert_eq!(rig.value("h2_multipart_bodies"), 1.0);
        },
        &[("h2_multipart_failure", 1.0)],
    );
}

#[test]
fn what_rfc_9113_forbids_besides() {
    for (wrong, direction, name) in [
        (frame(PING, 0, 0, &[0; 9]), Tx, "tawon_h2_protocol_errors_total{frame_size}"),
        (frame(SETTINGS, ACK, 0, &[0; 6]), Tx, "tawon_h2_protocol_errors_total{frame_size}"),
        (frame(PING, 0, 1, &[0; 8]), Tx, "tawon_h2_protocol_errors_total{stream_id}"),
        (frame(RST_STREAM, 0, 9, &[0; 4]), Tx, "tawon_h2_protocol_errors_total{stream_id}"),
        (frame(CONTINUATION, END_HEADERS, 1, b"\x82"), Tx, "tawon_h2_protocol_errors_total{continuation}"),
        (frame(SETTINGS, 0, 0, &[0, 2, 0, 0, 0, 2]), Tx, "tawon_h2_protocol_errors_total{settings}"),
        (frame(WINDOW_UPDATE, 0, 0, &[0; 4]), Tx, "tawon_h2_protocol_errors_total{window_update}"),
        (headers(3, 0, &[GET, &[("Upper", "x")]].concat()), Tx, "tawon_h2_protocol_errors_total{field_name}"),
        (
            headers(3, 0, &[GET, &[("connection", "x")]].concat()),
            Tx,
            "tawon_h2_protocol_errors_total{connection_field}",
        ),
        (headers(3, 0, &GET[..3]), Tx, "tawon_h2_protocol_errors_total{missing_pseudo}"),
        (
            headers(3, 0, &[(":method", "GET"), (":scheme", "http"), ("x", "y"), (":path", "/")]),
            Tx,
            "tawon_h2_protocol_errors_total{pseudo_order}",
        ),
        ([headers(3, 0, GET), headers(3, 0, &[("t", "1")])].concat(), Tx, "tawon_h2_protocol_errors_total{trailers}"),
        (
            [headers(3, END_STREAM, GET), headers(3, END_STREAM, &[("t", "1")])].concat(),
            Tx,
            "tawon_h2_protocol_errors_total{stream_closed}",
        ),
        (
            [headers(3, 0, GET), frame(DATA, PADDED, 3, b"\x04abc")].concat(),
            Tx,
            "tawon_h2_protocol_errors_total{padding}",
        ),
    ] {
        let expected: Moved = Box::leak(Box::new([(name, 1.0)]));
        moved(&[], |rig| rig.send(direction, &wrong), expected);
    }
}

#[test]
fn content_lengths_that_are_not_the_contents() {
    const NAME: &str = "tawon_h2_protocol_errors_total{content_length}";
    let asked =
        |stream: u32, flags: u8, length: &str| headers(stream, flags, &[POST, &[("content-length", length)]].concat());
    let answered = |status: &str, length: &str| headers(3, 0, &[(":status", status), ("content-length", length)]);
    for (length, times) in
        [("5", 0.0), ("4", 1.0), ("6", 1.0), ("0", 1.0), ("five", 1.0), ("99999999999999999999", 0.0)]
    {
        let expected: Moved = if times > 0.0 { Box::leak(Box::new([(NAME, times)])) } else { &[] };
        // Padding is no content.
        let body = [data(3, 0, b"he"), frame(DATA, PADDED | END_STREAM, 3, b"\x02llo\0\0")].concat();
        moved(&[], |rig| rig.send(Tx, &[asked(3, 0, length), body.clone()].concat()), expected);
        moved(
            &[],
            |rig| {
                rig.send(Tx, &headers(3, END_STREAM, POST));
                rig.send(Rx, &[answered("200", length), body.clone()].concat());
            },
            expected,
        );
    }
    moved(&[], |rig| rig.send(Tx, &asked(3, END_STREAM, "5")), &[(NAME, 1.0)]);
    // Trailers end a message too; a reset one says nothing.
    let reset = |rig: &mut Rig| rig.send(Tx, &[asked(3, 0, "5"), frame(RST_STREAM, 0, 3, &[0; 4])].concat());
    moved(&[], reset, &[("h2_terminated_streams{rst_stream}", 1.0)]);
    let trailers = |rig: &mut Rig| {
        rig.send(Tx, &[asked(3, 0, "5"), data(3, 0, b"hell"), headers(3, END_STREAM, &[("t", "1")])].concat());
    };
    moved(&[], trailers, &[(NAME, 1.0)]);
    // Messages that are defined as having no content.
    for (method, status, times) in
        [("HEAD", "200", 0.0), ("GET", "304", 0.0), ("GET", "204", 0.0), ("CONNECT", "200", 0.0), ("GET", "404", 1.0)]
    {
        let expected: Moved = if times > 0.0 { Box::leak(Box::new([(NAME, times)])) } else { &[] };
        let request = [(":method", method), (":authority", "a"), (":scheme", "http"), (":path", "/x")];
        let request = if method == "CONNECT" { &request[..2] } else { &request[..] };
        moved(
            &[],
            |rig| {
                rig.send(Tx, &headers(3, 0, request));
                rig.send(Rx, &[answered(status, "500"), data(3, END_STREAM, b"")].concat());
            },
            expected,
        );
    }
    // Where content may be missing, nobody knows.
    let mut rig = Rig::new(&[]);
    rig.ready();
    let wire = [asked(3, 0, "1000"), data(3, END_STREAM, &[b'x'; 900])].concat();
    rig.send(Tx, &wire[..200]);
    rig.send_after_gap(Tx, 100, &wire[300..]);
    assert_eq!(rig.value(NAME), 0.0);
}
