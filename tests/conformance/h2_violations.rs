//! What RFC 9113 forbids and only the whole connection shows: frames of idle streams, SETTINGS that make a
//! window too wide, and content-lengths that are none. Each is counted exactly, and not where it may be legal.

use tawon::task::Value;

use crate::h2_counters::{Moved, moved};
use crate::h2_windows::{FLOW_CONTROL, bulk, initial_window, window};
use crate::support::alloc;
use crate::support::h2::*;

const STREAM_ID: &str = "tawon_h2_protocol_errors_total{stream_id}";
const CONTENT_LENGTH: &str = "tawon_h2_protocol_errors_total{content_length}";

fn reset(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &8u32.to_be_bytes())
}

fn promise(on: u32, promised: u32, fields: &[(&str, &str)]) -> Vec<u8> {
    frame(PUSH_PROMISE, END_HEADERS, on, &[&promised.to_be_bytes()[..], &block(fields)].concat())
}

/// Each frame that has no place on an idle stream.
fn forbidden(stream: u32) -> [Vec<u8>; 5] {
    [
        data(stream, 0, b"x"),
        data(stream, END_STREAM, b""),
        frame(DATA, PADDED, stream, b"\x01x\0"),
        window(stream, 1),
        reset(stream),
    ]
}

fn expected(name: &'static str, times: u32) -> Moved {
    if times == 0 { &[] } else { Box::leak(Box::new([(name, f64::from(times))])) }
}

#[test]
fn frames_of_idle_streams_are_counted_one_by_one() {
    for wrong in forbidden(9) {
        moved(&[], |rig| rig.send(Tx, &wrong), expected(STREAM_ID, 1));
        moved(&[], |rig| rig.send(Tx, &wrong.repeat(3)), expected(STREAM_ID, 3));
    }
    moved(&[], |rig| rig.send(Tx, &forbidden(9).concat()), expected(STREAM_ID, 5));
    for (wrong, also) in forbidden(2).iter().zip(["data", "data", "data", "window_update", "rst_stream"]) {
        let also: &str = Box::leak(format!("h2_server_stream_frames{{{also}}}").into_boxed_str());
        let both: Moved = Box::leak(Box::new([(also, 1.0), (STREAM_ID, 1.0)]));
        moved(&[], |rig| rig.send(Rx, wrong), both);
    }
    // The first frames of all that a client sends.
    for wrong in forbidden(1) {
        let mut rig = Rig::new(&[]);
        rig.connect();
        rig.send(Tx, &wrong);
        assert_eq!(rig.errors().into_iter().collect::<Vec<_>>(), [(STREAM_ID.to_owned(), 1.0)]);
        rig.finish();
    }
    // The stream may open all the same, and is like any other.
    moved(
        &[],
        |rig| {
            rig.send(Tx, &[forbidden(9).concat(), headers(9, 0, POST), data(9, END_STREAM, b"x")].concat());
            rig.send(Rx, &headers(9, END_STREAM, OK));
            let records = rig.records();
            assert_eq!((records.len(), records[0].partial, records[0].request.body_length), (1, false, Some(1)));
        },
        expected(STREAM_ID, 5),
    );
}

#[test]
fn frames_of_streams_that_are_not_idle_are_none_of_those() {
    // PRIORITY may come at any time; open streams take all of them; lower ids are closed, not idle.
    moved(&[], |rig| rig.send(Tx, &frame(PRIORITY, 0, 9, &[0, 0, 0, 0, 1])), &[]);
    moved(&[], |rig| rig.send(Tx, &[headers(9, 0, POST), forbidden(9)[..2].concat(), window(9, 1)].concat()), &[]);
    moved(&[], |rig| rig.send(Tx, &[headers(9, END_STREAM, GET), forbidden(5).concat()].concat()), &[]);
    // What ended in order, and what was reset, is closed for a while only by the word of one end.
    moved(
        &[],
        |rig| {
            rig.send(Tx, &[window(1, 1), reset(1)].concat());
            rig.send(Rx, &[window(1, 1), reset(1)].concat());
        },
        &[],
    );
    moved(
        &[],
        |rig| {
            rig.send(Tx, &[headers(3, 0, POST), reset(3), window(3, 1), reset(3)].concat());
            rig.send(Rx, &[headers(3, 0, OK), forbidden(3).concat()].concat());
            rig.send(Tx, &forbidden(3).concat());
        },
        &[("h2_terminated_streams{rst_stream}", 1.0)],
    );
    // The server's frames may have been read before the request: nobody can say.
    moved(
        &[],
        |rig| {
            rig.send(Rx, &[window(9, 1), data(9, 0, b"x")].concat());
            rig.send(Tx, &headers(9, END_STREAM, GET));
        },
        &[],
    );
    moved(&[], |rig| rig.send(Rx, &reset(9)), &[("h2_terminated_streams{rst_stream}", 1.0)]);
}

#[test]
fn promised_streams_are_not_idle() {
    let even = |rig: &Rig| {
        let mut errors = rig.errors();
        errors.retain(|name, _| !name.starts_with("h2_server_stream_frames"));
        errors.into_iter().collect::<Vec<_>>()
    };
    let told = |times: f64| (STREAM_ID.to_owned(), times);
    let cut = |times: f64| ("h2_terminated_streams{rst_stream}".to_owned(), times);
    let mut rig = Rig::new(&[]);
    rig.ready();
    rig.send(Tx, &headers(3, 0, POST));
    rig.send(Rx, &[promise(3, 2, GET), promise(3, 4, GET), promise(3, 8, GET)].concat());
    rig.send(Tx, &[window(2, 1), window(8, 1), reset(8)].concat());
    assert_eq!(even(&rig), [cut(1.0)]);
    rig.send(Rx, &[headers(2, 0, OK), data(2, END_STREAM, b"x"), window(2, 1), reset(2), reset(4)].concat());
    rig.send(Rx, &[forbidden(6).concat(), forbidden(8).concat()].concat());
    assert_eq!(even(&rig), [cut(2.0)]);
    // A reset of what was promised in bytes that are read later.
    rig.send(Tx, &window(10, 1));
    rig.send(Rx, &promise(3, 10, GET));
    assert_eq!(even(&rig), [cut(2.0)]);
    rig.send(Rx, &forbidden(12).concat());
    assert_eq!(even(&rig), [cut(2.0), told(5.0)]);
    rig.finish();
}

#[test]
fn no_stream_is_called_idle_where_its_opening_may_have_been_missed() {
    let none = |mut rig: Rig, what: &str| {
        rig.send(Tx, &forbidden(99).concat());
        rig.send(Rx, &forbidden(98).concat());
        // A stream that opens behind it makes nothing certain again.
        rig.send(Tx, &[headers(101, END_STREAM, GET), forbidden(103).concat()].concat());
        assert_eq!(rig.value(STREAM_ID), 0.0, "{what}");
        rig.finish();
    };
    let mut rig = Rig::new(&[]);
    rig.join(1);
    rig.send(Tx, &headers(21, END_STREAM, GET));
    rig.send(Rx, &headers(21, END_STREAM, OK));
    none(rig, "joined");
    // The preface was seen, but not what was before it: an upgrade may have opened stream 1.
    let mut rig = Rig::new(&[]);
    rig.join(1);
    rig.connect();
    rig.send(Tx, &forbidden(1).concat());
    none(rig, "joined before the preface");
    for side in [Tx, Rx] {
        let mut rig = Rig::new(&[]);
        rig.ready();
        let pings = frame(PING, 0, 0, &[0; 8]).repeat(4);
        rig.send_after_gap(side, 1000, &pings);
        none(rig, "gap");
    }
    // Frames that were to open a stream and were refused.
    let mut rig = Rig::new(&[]);
    rig.ready();
    rig.send(Tx, &[frame(HEADERS, END_HEADERS | PADDED, 99, b""), data(99, 0, b"x")].concat());
    assert_eq!(rig.errors().into_iter().collect::<Vec<_>>(), [("h2_invalid_empty_payload{headers}".to_owned(), 1.0)]);
    none(rig, "refused");
    // The client may not open it, nor the server answer.
    for side in [Tx, Rx] {
        let mut rig = Rig::new(&[]);
        rig.ready();
        rig.send(side, &headers(4, 0, if side == Tx { GET } else { OK }));
        rig.send(Rx, &forbidden(4).concat());
        none(rig, "opened by the wrong end");
    }
    let mut rig = Rig::new(&[("frameBuffer", Value::Size(2000))]);
    rig.ready();
    rig.send(Tx, &headers(3, 0, POST));
    rig.send(Rx, &promise(3, 2, &[GET, &[("n", &"x".repeat(2000))]].concat()));
    rig.send(Rx, &data(2, 0, b"x"));
    assert_eq!(rig.value("h2_payload_overflow_buffer{push_promise}"), 1.0);
    none(rig, "not held");
}

#[test]
fn the_stream_of_an_upgrade_is_not_idle() {
    let mut rig = Rig::new(&[]);
    let head = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAUAAIAA\r\n\r\n";
    rig.send(Tx, format!("GET /up HTTP/1.1\r\nHost: a:80\r\n{head}").as_bytes());
    rig.send(Rx, b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n");
    rig.send(Rx, &[frame(SETTINGS, 0, 0, &[]), headers(1, 0, OK)].concat());
    rig.send(Tx, &[client_start(), window(1, 1)].concat());
    assert!(rig.errors().is_empty(), "{:?}", rig.errors());
    rig.send(Tx, &window(3, 1));
    assert_eq!(rig.errors().into_iter().collect::<Vec<_>>(), [(STREAM_ID.to_owned(), 1.0)]);
    rig.finish();
}

/// What makes a window that began with 65 535 bytes as wide as it may be.
const WIDEST: u32 = (1 << 31) - 1 - 65_535;

/// Lets the time pass in which what is read late may clear a suspicion.
fn told(rig: &mut Rig) {
    assert_eq!(rig.value(FLOW_CONTROL), 0.0);
    rig.pass(2.0);
    rig.send(Rx, &frame(PING, 0, 0, &[0; 8]));
}

#[test]
fn settings_that_make_a_window_too_wide_are_counted_by_window() {
    let post = |streams: &[u32]| streams.iter().flat_map(|&stream| headers(stream, 0, POST)).collect::<Vec<_>>();
    for (size, times) in [(0, 0), (65_535, 0), (65_536, 1), ((1 << 31) - 1, 1)] {
        moved(
            &[],
            |rig| {
                rig.send(Tx, &post(&[3, 5]));
                rig.send(Rx, &[window(3, WIDEST), initial_window(size)].concat());
                told(rig);
            },
            expected(FLOW_CONTROL, times),
        );
        // The client's, for what the server sends.
        moved(
            &[],
            |rig| {
                rig.send(Tx, &[post(&[3]), window(3, WIDEST), initial_window(size)].concat());
                rig.send(Rx, &frame(SETTINGS, ACK, 0, &[]));
                told(rig);
            },
            expected(FLOW_CONTROL, times),
        );
        // What was sent before leaves room.
        moved(
            &[],
            |rig| {
                rig.send(Tx, &[post(&[3]), bulk(3, 1)].concat());
                rig.send(Rx, &[window(3, WIDEST), initial_window(size.min(65_536))].concat());
                told(rig);
            },
            &[],
        );
    }
    moved(
        &[],
        |rig| {
            rig.send(Tx, &[post(&[3, 5, 7, 9]), headers(11, END_STREAM, GET)].concat());
            let wide = [3, 5, 7, 11].map(|stream| window(stream, WIDEST)).concat();
            rig.send(Rx, &[wide, initial_window(65_537)].concat());
            told(rig);
        },
        expected(FLOW_CONTROL, 3),
    );
    // What ends with a suspicion is told of; no more than so many frames are looked at.
    let mut rig = Rig::new(&[]);
    rig.ready();
    rig.send(Tx, &post(&[3]));
    rig.send(Rx, &[window(3, WIDEST), initial_window(65_536).repeat(100)].concat());
    rig.end(1, Tx, tawon::task::record::FlowEnd::Rst);
    assert_eq!(rig.value(FLOW_CONTROL), 64.0);
    // A size that no window may have is an error of its own and changes nothing.
    moved(
        &[],
        |rig| {
            rig.send(Tx, &post(&[3]));
            rig.send(Rx, &[window(3, WIDEST), initial_window(1 << 31), initial_window(u32::MAX)].concat());
            told(rig);
        },
        expected("tawon_h2_protocol_errors_total{settings}", 2),
    );
}

#[test]
fn settings_that_may_have_come_too_late_for_a_window_are_not_judged() {
    const RESET: &str = "h2_terminated_streams{rst_stream}";
    // What was sent before them may be read behind them.
    for (size, late, times) in [
        (65_536, data(3, 0, b"x"), expected(FLOW_CONTROL, 0)),
        (65_537, data(3, 0, b"x"), expected(FLOW_CONTROL, 1)),
        (65_537, data(5, 0, b"xyz"), expected(FLOW_CONTROL, 1)),
        (90_000, data(3, END_STREAM, b""), expected(FLOW_CONTROL, 0)),
        (90_000, headers(3, END_STREAM, &[("t", "1")]), expected(FLOW_CONTROL, 0)),
        (90_000, reset(3), expected(RESET, 1)),
    ] {
        moved(
            &[],
            |rig| {
                rig.send(Tx, &[headers(3, 0, POST), headers(5, 0, POST)].concat());
                rig.send(Rx, &[window(3, WIDEST), initial_window(size)].concat());
                rig.send(Tx, &late);
                told(rig);
            },
            times,
        );
    }
    // Where not all is known, nothing is: after a gap, after a join, of streams of which nobody knows the opening.
    let mut rig = Rig::new(&[]);
    rig.ready();
    rig.send(Tx, &headers(3, 0, POST));
    rig.send_after_gap(Rx, 100, &[window(3, WIDEST), window(3, 1), initial_window(90_000)].concat());
    rig.send(Rx, &initial_window(95_000));
    told(&mut rig);
    assert_eq!(rig.value(FLOW_CONTROL), 0.0);
    rig.finish();
    let mut rig = Rig::new(&[]);
    rig.join(1);
    rig.send(Tx, &headers(3, 0, POST));
    rig.send(Rx, &[headers(3, 0, OK), window(3, WIDEST), initial_window(90_000)].concat());
    told(&mut rig);
    assert_eq!(rig.value(FLOW_CONTROL), 0.0);
    rig.finish();
    moved(
        &[],
        |rig| {
            rig.send(Rx, &[window(3, WIDEST), initial_window(90_000)].concat());
            rig.send(Tx, &headers(3, 0, POST));
            rig.send(Rx, &initial_window(95_000));
            told(rig);
        },
        &[],
    );
}

#[test]
fn content_lengths_that_are_none_or_differ() {
    let with = |fields: &'static [(&str, &str)], lengths: &[&'static str]| {
        [fields, &lengths.iter().map(|length| ("content-length", *length)).collect::<Vec<_>>()].concat()
    };
    let body = || data(3, END_STREAM, b"hello");
    for (lengths, times) in [
        (&["5"][..], 0),
        (&["005"], 0),
        (&["5", "5"], 0),
        (&["5", "05", "5"], 0),
        (&["5, 5"], 0),
        (&["5,5,05"], 0),
        (&["5, 5", "5"], 0),
        // More than can be counted is a number nevertheless.
        (&["99999999999999999999"], 0),
        (&["4, 4"], 1),
        (&[""], 1),
        (&["five"], 1),
        (&["5 "], 1),
        (&[" 5"], 1),
        (&["5 5"], 1),
        (&["+5"], 1),
        (&["-5"], 1),
        (&["5.0"], 1),
        (&["0x5"], 1),
        (&["5,"], 1),
        (&[",5"], 1),
        (&["5, 6"], 1),
        (&["5, x"], 1),
        (&["5", "6"], 1),
        (&["5", "6", "5"], 1),
        (&["5", "x", "y", "5"], 1),
        (&["x", "5"], 1),
        (&["5", "99999999999999999999"], 1),
    ] {
        let times = expected(CONTENT_LENGTH, times);
        moved(&[], |rig| rig.send(Tx, &[headers(3, 0, &with(POST, lengths)), body()].concat()), times);
        moved(
            &[],
            |rig| {
                rig.send(Tx, &headers(3, END_STREAM, GET));
                rig.send(Rx, &[headers(3, 0, &with(OK, lengths)), body()].concat());
            },
            times,
        );
    }
    // A promised request is a head too; each message counts.
    moved(
        &[],
        |rig| {
            rig.send(Tx, &headers(3, 0, &with(POST, &["x"])));
            rig.send(Rx, &[promise(3, 2, &with(GET, &["x"])), headers(3, 0, &with(OK, &["x"]))].concat());
        },
        expected(CONTENT_LENGTH, 3),
    );
    // Interim responses and trailers have none that would say anything.
    moved(
        &[],
        |rig| {
            rig.send(Tx, &[headers(3, 0, POST), headers(3, END_STREAM, &[("content-length", "x")])].concat());
            rig.send(Rx, &headers(3, 0, &[(":status", "103"), ("content-length", "x")]));
            rig.send(Rx, &headers(3, END_STREAM, OK));
        },
        &[],
    );
    // It needs nothing but its own block; a block that is lost says nothing.
    let mut rig = Rig::new(&[]);
    rig.join(1);
    rig.send(Tx, &headers(7, END_STREAM, &with(GET, &["1", "2"])));
    assert_eq!(rig.value(CONTENT_LENGTH), 1.0);
    rig.send(Tx, &frame(HEADERS, END_HEADERS, 9, &[block(&with(GET, &["x"])), vec![0x80]].concat()));
    assert_eq!((rig.value(CONTENT_LENGTH), rig.value("h2_missing_headers{request,malformed}")), (1.0, 1.0));
    rig.finish();
}

#[test]
fn nothing_is_allocated_to_judge_a_frame() {
    let mut rig = Rig::new(&[]);
    rig.ready();
    rig.replace_destination(Box::new(Nothing));
    let turn = |rig: &mut Rig, stream: u32| {
        let request = [POST, &[("content-length", "5, 5"), ("content-length", "6")]].concat();
        let up = [
            forbidden(stream + 2).concat(),
            headers(stream, 0, &request),
            data(stream, 0, b"hello"),
            window(stream, WIDEST),
            frame(SETTINGS, ACK, 0, &[]),
        ]
        .concat();
        let down = [
            [window(0, 5), window(stream, WIDEST), initial_window(65_535 + 5)].concat(),
            headers(stream, END_STREAM, OK),
            reset(stream),
        ]
        .concat();
        let mut count = 0;
        for (side, bytes) in [(Tx, up), (Rx, down)] {
            let chunk = rig.plain(1, side, &bytes);
            count += alloc::count(|| rig.feed(&chunk));
            rig.skip(1, side, bytes.len());
        }
        count
    };
    for round in 1..200 {
        turn(&mut rig, 1 + 2 * round);
    }
    let count: u64 = (200..1200).map(|round| turn(&mut rig, 1 + 2 * round)).sum();
    rig.pass(3.0);
    assert_eq!((rig.value(STREAM_ID), rig.value(CONTENT_LENGTH)), (5.0 * 1199.0, 1199.0));
    assert_eq!((rig.value(FLOW_CONTROL), rig.value("h2_streams")), (0.0, 0.0));
    assert_eq!(count, 0);
}

struct Nothing;

impl tawon::pipeline::Task for Nothing {
    fn event(&mut self, _: &tawon::pipeline::Event<'_>, _: &mut tawon::pipeline::Next<'_>) {}
}
