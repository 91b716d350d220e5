//! The h2 task: what it holds, for how long, and that it asks for no more memory on the way.

use tawon::pipeline::{Event, Next, Task};
use tawon::task::Value;
use tawon::task::processing::h2::shape::Reason;
use tawon::task::record::Chunk;

use crate::support::alloc;
use crate::support::h2::*;
use crate::support::tasks::Writer;

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
fn nothing_is_allocated_per_frame_header_or_round_trip() {
    let mut rig = Rig::with(&[], |context| context.packets = false);
    rig.replace_destination(Box::new(Writer::new()));
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
        rig.feed(&Chunk { start: true, offset: 0, ..chunk });
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

impl Task for Nothing {
    fn event(&mut self, _: &Event<'_>, _: &mut Next<'_>) {}
}
