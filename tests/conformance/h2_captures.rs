//! Captures through the whole pipeline beside tshark: what a record says must be what that sees.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tawon::task::Value;
use tawon::task::processing::h2::shape::{H2, Reason};

use crate::support::replay::{context, replay};
use crate::support::{h2, tshark};

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/http2").join(name)
}

fn records(path: &Path, set: &[(&'static str, Value)]) -> (Vec<H2>, tawon::task::Context) {
    let context = context();
    let seen = replay(path, &[], &[("h2", set)], &context).unwrap();
    let records = seen.iter().map(|seen| h2::read(seen.data("h2").to_string().as_bytes())).collect();
    let metrics = &context.metrics;
    for gauge in ["h2_streams", "h2_framer_flows", "h2_flower_flows"] {
        assert_eq!(metrics.gauge(gauge).get(), 0);
    }
    (records, context)
}

/// What tshark saw of each stream: the names and values of its header fields per direction.
type Streams = BTreeMap<(String, u32), (Vec<(String, String)>, u64)>;

fn tshark(path: &Path, port: u16) -> Streams {
    let decode = format!("tcp.port=={port},http2");
    let rows = tshark::fields(
        path,
        &["-d", &decode, "-Y", "http2"],
        &["tcp.srcport", "http2.type", "http2.streamid", "http2.header.name", "http2.header.value", "http2.length"],
    );
    let mut streams = Streams::new();
    for row in rows {
        let way = if row[0].first().is_some_and(|source| *source == port.to_string()) { "response" } else { "request" };
        // Header fields are told per packet, not per frame: only packets with one block are compared.
        let blocks = row[1].iter().filter(|kind| *kind == "1").count();
        for (at, kind) in row[1].iter().enumerate() {
            let Some(stream) = row[2].get(at).and_then(|id| id.parse().ok()).filter(|&id| id != 0) else { continue };
            let entry = streams.entry((way.to_owned(), stream)).or_default();
            match kind.as_str() {
                "1" if blocks == 1 => entry.0.extend(row[3].iter().cloned().zip(row[4].iter().cloned())),
                "0" => entry.1 += row[5].get(at).and_then(|length| length.parse::<u64>().ok()).unwrap_or(0),
                _ => {}
            }
        }
    }
    streams
}

#[test]
fn captures_joined_in_the_middle_say_what_tshark_sees_or_that_it_is_unknown() {
    for (name, port) in [
        ("grpc-segmented.pcap", 20035),
        ("grpc-unary.pcap", 30035),
        ("h2c_ascii.pcap", 7070),
        ("http2-multi.pcap", 3550),
    ] {
        let (records, context) = records(&data(name), &[]);
        let truth = tshark(&data(name), port);
        assert!(!records.is_empty(), "{name}");
        let mut compared = 0;
        for record in &records {
            for (way, headers) in [("request", &record.request.headers), ("response", &record.response.headers)] {
                let Some((fields, _)) = truth.get(&(way.to_owned(), record.stream_id)) else { continue };
                for field in headers.iter().flatten() {
                    let (Some(name), Some(value)) = (&field.name, &field.value) else { continue };
                    // tshark cannot know more than we do here, and says so by leaving the field out.
                    if let Some(other) = fields.iter().find(|other| other.0 == *name) {
                        assert_eq!(*value, other.1, "{name}");
                        compared += 1;
                    }
                }
            }
        }
        let unknown: u64 = records.iter().map(|record| record.unknown_fields).sum();
        println!("{name}: {} records, {compared} values compared, {unknown} unknown", records.len());
        // In one of them all fields stand in entries from before the join, for tshark too.
        assert!(compared > 0 || truth.values().all(|stream| stream.0.is_empty()), "{name}: {truth:?}");
        let emitted = context.metrics.counter("tawon_h2_streams_opened_total").get();
        assert_eq!(emitted, records.len() as u64);
        assert!(records.iter().all(|record| record.reason != Reason::Timeout));
        let violations = context.metrics.counters("tawon_h2_protocol_errors_total");
        for reason in tawon::metrics::catalogue::H2_VIOLATIONS {
            assert_eq!(violations.with_label_values(&[reason]).get(), 0, "{name}: {reason}");
        }
    }
}
