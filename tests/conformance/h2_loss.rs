//! The h2 task: the same bytes cut anywhere, lost in part, joined in the middle.

use tawon::task::Value;
use tawon::task::processing::h2::shape::Reason;

use crate::support::h2::*;
use crate::support::packets::Random;

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
    let mut seed = Random(23);
    // Each value stands for itself: one taken for another would show.
    let mut random = || format!("{:016x}", seed.next());
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
