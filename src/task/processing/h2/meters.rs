//! The metrics of the h2 task, their handles resolved when it is made. What counts chunks, frames and round
//! trips is kept by the task and told by `flush`: an atomic addition costs as much as some frames do.

use std::cell::Cell;
use std::collections::HashMap;

use prometheus::core::Collector;
use prometheus::local::{LocalHistogram, LocalIntCounter};
use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge};

use super::content::{ESSENCE, Media};
use super::multipart::Head;
use super::recent::Recent;
use crate::decode::http2::Type;
use crate::flow::seeded::Seeded;
use crate::metrics::Metrics;
use crate::metrics::catalogue::{
    COMPONENTS, FRAME_TYPES, H2_VIOLATIONS, MISSING, ROLES, ROUND_TRIPS, SIDES, TERMINATED,
};

/// One handle per metric, or per value of its labels.
pub struct Meters {
    pub chunks: LocalIntCounter,
    pub chunk_size: LocalHistogram,
    pub missing_flow: IntCounter,
    pub out_of_order: IntCounter,
    pub invalid_type: IntCounter,
    pub empty_data: IntCounter,
    pub empty_payload: ByType,
    pub payload_overflow: ByType,
    pub buffer_overflow: ByType,
    pub invalid_flags: ByType,
    /// Handed on, dismissed.
    pub frames: [[LocalIntCounter; FRAME_TYPES.len()]; 2],
    pub zero_stream: ByType,
    pub server_stream: ByType,
    pub failed_directions: IntCounter,
    /// By `Role`.
    pub connections: [IntCounter; 3],
    pub direction_buffer: [Histogram; 3],
    pub invalid_goaway: IntCounter,
    pub invalid_rst: IntCounter,
    pub resets: IntCounter,
    pub expired: IntCounter,
    /// By `Cut`.
    pub terminated: [IntCounter; 5],
    /// By `Part`, then `Missing`.
    pub missing_headers: [[IntCounter; 5]; 3],
    pub empty_headers: [IntCounter; 3],
    pub wrong_pseudo: [IntCounter; 3],
    pub multi_pseudo: [IntCounter; 3],
    /// Header and body of the request, then of the response.
    pub duplicates: [IntCounter; 4],
    /// By `Reason`.
    pub emitted: [LocalIntCounter; 9],
    pub content_type_failure: IntCounter,
    pub multipart_failure: IntCounter,
    pub multipart_bodies: LocalIntCounter,
    pub content_types: ContentTypes,
    pub framer_flows: IntGauge,
    pub flower_flows: IntGauge,
    pub streams: LocalGauge,
    pub ignored: IntCounter,
    /// By `Violation`.
    pub violations: [IntCounter; H2_VIOLATIONS.len()],
    pub opened: LocalIntCounter,
    pub table_entries: IntGauge,
    pub table_bytes: IntGauge,
    pub table_evictions: IntCounter,
}

/// Counters by frame type; all that RFC 9113 does not define share the last.
pub type ByType = [IntCounter; FRAME_TYPES.len()];

/// Which counter of a `ByType` is a type's.
pub fn slot(kind: Type) -> usize {
    usize::from(kind.0).min(FRAME_TYPES.len() - 1)
}

/// Which message a header block belongs to: `direction` of the header metrics.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    Request,
    Response,
    Unknown,
}

/// Why a header block could not be decoded, wholly or in part.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Missing {
    Table,
    Truncated,
    Malformed,
    Gap,
    Evicted,
}

/// `reason` of tawon_h2_protocol_errors_total, in the catalogue's order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Violation {
    FrameSize,
    Padding,
    Continuation,
    StreamId,
    Settings,
    WindowUpdate,
    FieldName,
    ConnectionField,
    PseudoOrder,
    MissingPseudo,
    Trailers,
    StreamClosed,
    FlowControl,
    ContentLength,
}

impl Meters {
    pub fn new(metrics: &Metrics) -> Meters {
        let one = |name| metrics.counter(name);
        let by = |name, value: &str| metrics.counters(name).with_label_values(&[value]);
        let types = |name| {
            let vec = metrics.counters(name);
            FRAME_TYPES.map(|kind| vec.with_label_values(&[kind]))
        };
        let parts = |name| SIDES.map(|part| by(name, part));
        let frames = metrics.counters("h2_incoming_frames");
        let missing = metrics.counters("h2_missing_headers");
        let emitted = metrics.counters("h2_round_trips_emitted");
        Meters {
            chunks: one("h2_chunks").local(),
            chunk_size: metrics.histogram("h2_chunk_size").local(),
            missing_flow: one("h2_chunks_missing_flowid"),
            out_of_order: one("h2_out_of_order"),
            invalid_type: one("h2_invalid_frame_type"),
            empty_data: one("h2_invalid_empty_data_frame"),
            empty_payload: types("h2_invalid_empty_payload"),
            payload_overflow: types("h2_payload_overflow_buffer"),
            buffer_overflow: types("h2_chunk_buffer_overflow"),
            invalid_flags: types("h2_invalid_frame_flags"),
            frames: ["false", "true"]
                .map(|dismissed| FRAME_TYPES.map(|kind| frames.with_label_values(&[kind, dismissed]).local())),
            zero_stream: types("h2_zero_stream_frames"),
            server_stream: types("h2_server_stream_frames"),
            failed_directions: one("h2_failed_dir_detections"),
            connections: ROLES.map(|role| by("h2_connections", role)),
            direction_buffer: ROLES.map(|role| metrics.histograms("h2_conn_dir_buffer").with_label_values(&[role])),
            invalid_goaway: one("h2_invalid_go_away_frames"),
            invalid_rst: one("h2_invalid_rst_stream_frames"),
            resets: one("h2_header_decoder_resets"),
            expired: one("h2_expired_streams"),
            terminated: TERMINATED.map(|reason| by("h2_terminated_streams", reason)),
            missing_headers: SIDES.map(|part| MISSING.map(|reason| missing.with_label_values(&[part, reason]))),
            empty_headers: parts("h2_empty_headers"),
            wrong_pseudo: parts("h2_wrong_pseudo_headers"),
            multi_pseudo: parts("h2_multi_pseudo_headers"),
            duplicates: COMPONENTS.map(|component| by("h2_duplicate_component", component)),
            emitted: ROUND_TRIPS.map(|row| emitted.with_label_values(row).local()),
            content_type_failure: one("h2_content_type_parse_failure"),
            multipart_failure: one("h2_multipart_failure"),
            multipart_bodies: one("h2_multipart_bodies").local(),
            content_types: ContentTypes::new(metrics.counters("h2_content_types")),
            framer_flows: metrics.gauge("h2_framer_flows"),
            flower_flows: metrics.gauge("h2_flower_flows"),
            streams: LocalGauge { gauge: metrics.gauge("h2_streams"), change: Cell::new(0) },
            ignored: one("tawon_h2_flows_ignored_total"),
            violations: H2_VIOLATIONS.map(|reason| by("tawon_h2_protocol_errors_total", reason)),
            opened: one("tawon_h2_streams_opened_total").local(),
            table_entries: metrics.gauges("tawon_table_entries").with_label_values(&[TABLE]),
            table_bytes: metrics.gauges("tawon_table_bytes").with_label_values(&[TABLE]),
            table_evictions: by("tawon_table_evictions_total", TABLE),
        }
    }

    /// Tells of what was counted since the last time.
    pub fn flush(&self) {
        let frames = self.frames.iter().flatten();
        let counters = [&self.chunks, &self.multipart_bodies, &self.opened].into_iter().chain(&self.emitted);
        counters.chain(frames).chain(&self.content_types.counters).for_each(LocalIntCounter::flush);
        self.chunk_size.flush();
        self.streams.flush();
    }

    /// A message's head (or, with `body`, its content) came twice; `side`: 0 the request's, 1 the response's.
    pub fn duplicate(&self, side: usize, body: bool) {
        self.duplicates[2 * side + usize::from(body)].inc();
    }

    pub fn violation(&self, what: Violation) {
        self.violations[what as usize].inc();
    }

    pub fn missing(&self, part: Part, why: Missing) {
        self.missing_headers[part as usize][why as usize].inc();
    }

    /// Counts a frame that was seen whole.
    pub fn frame(&self, kind: Type, dismissed: bool) {
        self.frames[usize::from(dismissed)][slot(kind)].inc();
    }
}

/// A gauge that many a change is made to before it is told.
pub struct LocalGauge {
    gauge: IntGauge,
    change: Cell<i64>,
}

impl LocalGauge {
    pub fn add(&self, count: i64) {
        self.change.set(self.change.get() + count);
    }

    fn flush(&self) {
        self.gauge.add(self.change.take());
    }
}

/// h2_content_types: a counter per media type, of which there are at most `DISTINCT`.
pub struct ContentTypes {
    vec: IntCounterVec,
    /// By type and subtype in lower case, its place in `counters`.
    known: HashMap<Box<[u8]>, usize, Seeded>,
    /// All other types' first.
    counters: Vec<LocalIntCounter>,
    full: bool,
    /// Values, and heads of parts, that were read not long ago.
    pub recent: Recent<Media>,
    pub heads: Recent<Head>,
}

impl ContentTypes {
    fn new(vec: IntCounterVec) -> ContentTypes {
        let counters = vec![vec.with_label_values(&["other"]).local()];
        let (recent, heads) = (Recent::default(), Recent::default());
        ContentTypes { vec, known: HashMap::default(), counters, full: false, recent, heads }
    }

    /// Counts one whose counter is known.
    #[inline]
    pub fn count(&self, counter: usize) {
        if let Some(counter) = self.counters.get(counter) {
            counter.inc();
        }
    }

    /// The counter of a type and subtype.
    pub fn counter(&mut self, essence: &[u8]) -> usize {
        // Those that are longer are no media types.
        let mut lower = [0; ESSENCE];
        let Some(lower) = lower.get_mut(..essence.len()) else { return OTHER };
        lower.copy_from_slice(essence);
        lower.make_ascii_lowercase();
        if let Some(&counter) = self.known.get(&*lower) {
            return counter;
        }
        match std::str::from_utf8(lower) {
            Ok(text) if !self.full => {
                // Other directives count into the same family, so what is there is asked of it.
                let families = self.vec.collect();
                let there = families.first().map_or(&[][..], |family| family.get_metric());
                let named =
                    |metric: &prometheus::proto::Metric| metric.get_label().iter().any(|label| label.value() == text);
                if there.len() > DISTINCT && !there.iter().any(named) {
                    self.full = true;
                    return OTHER;
                }
                self.counters.push(self.vec.with_label_values(&[text]).local());
                self.known.insert(text.as_bytes().into(), self.counters.len() - 1);
                self.counters.len() - 1
            }
            _ => OTHER,
        }
    }
}

const OTHER: usize = 0;
const TABLE: &str = "h2";
/// Media types counted by name.
const DISTINCT: usize = 100;
