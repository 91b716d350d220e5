//! The catalogue: every metric once, with its type, labels, help and the label values that show from
//! the first scrape. A data table; a test holds it against the contract in `tests/data/metrics.tsv`.

/// One metric family.
pub struct Metric {
    /// The source or task that it belongs to; `own` for the agent's metrics about itself.
    pub group: &'static str,
    pub kind: Kind,
    /// Without the configured prefix, which the agent's own do not take.
    pub name: &'static str,
    pub labels: &'static [&'static str],
    pub help: &'static str,
    pub preset: Preset,
}

/// The type of a family, and where it matters what its values are.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Kind {
    Counter,
    /// A counter of fractions (seconds).
    FloatCounter,
    Gauge,
    /// A gauge of fractions (percent, seconds).
    FloatGauge,
    /// With the upper bounds of its buckets, +Inf left out.
    Histogram(&'static [f64]),
    Summary,
}

impl Kind {
    /// As `# TYPE` writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Counter | Kind::FloatCounter => "counter",
            Kind::Gauge | Kind::FloatGauge => "gauge",
            Kind::Histogram(_) => "histogram",
            Kind::Summary => "summary",
        }
    }
}

/// Which label values exist before anything happened.
#[derive(Clone, Copy)]
pub enum Preset {
    None,
    /// Every combination of these values, one list per label.
    Product(&'static [&'static [&'static str]]),
    /// Just these rows of values.
    Rows(&'static [&'static [&'static str]]),
}

/// Finds a metric by its name without prefix.
pub fn find(name: &str) -> Option<&'static Metric> {
    CATALOGUE.iter().find(|metric| metric.name == name)
}

use Kind::{Counter, FloatCounter, FloatGauge, Gauge, Histogram, Summary};
use Preset::{None as Bare, Product, Rows};

/// `type` of the frame metrics: by number, all that RFC 9113 does not define last.
pub const FRAME_TYPES: [&str; 11] = [
    "data",
    "headers",
    "priority",
    "rst_stream",
    "settings",
    "push_promise",
    "ping",
    "goaway",
    "window_update",
    "continuation",
    "unknown",
];
const PARSED: &[&str] = &["ok", "truncated", "malformed", "unsupported", "not_matching"];
pub const ROLES: [&str; 3] = ["client", "server", "unknown"];
/// `direction` of the header metrics.
pub const SIDES: [&str; 3] = ["request", "response", "unknown"];
/// `reason` of h2_missing_headers.
pub const MISSING: [&str; 5] = ["table", "truncated", "malformed", "gap", "evicted"];
/// `reason` of h2_terminated_streams.
pub const TERMINATED: [&str; 5] = ["rst_stream", "goaway", "connection_closed", "evicted", "gap"];
/// `component` of h2_duplicate_component: of the request, then of the response.
pub const COMPONENTS: [&str; 4] = ["request_header", "request_body", "response_header", "response_body"];
/// `reason` of tawon_h2_protocol_errors_total.
pub const H2_VIOLATIONS: [&str; 14] = [
    "frame_size",
    "padding",
    "continuation",
    "stream_id",
    "settings",
    "window_update",
    "field_name",
    "connection_field",
    "pseudo_order",
    "missing_pseudo",
    "trailers",
    "stream_closed",
    "flow_control",
    "content_length",
];
/// `partial` and `reason` of h2_round_trips_emitted.
pub const ROUND_TRIPS: [&[&str]; 9] = [
    &["false", "complete"],
    &["true", "joined"],
    &["true", "timeout"],
    &["true", "rst_stream"],
    &["true", "goaway"],
    &["true", "connection_closed"],
    &["true", "evicted"],
    &["true", "gap"],
    &["true", "shutdown"],
];

const fn metric(
    group: &'static str,
    kind: Kind,
    name: &'static str,
    labels: &'static [&'static str],
    preset: Preset,
    help: &'static str,
) -> Metric {
    Metric { group, kind, name, labels, help, preset }
}

/// Every metric: the contract's in its order, then the agent's own.
#[rustfmt::skip]
pub static CATALOGUE: &[Metric] = &[
    metric("directive", Counter, "directives_ran_total", &["tawonID", "status"], Bare, "Directive runs that have ended, by how they ended. One run = one activation of a directive, from its sources attaching to the pipeline being drained."),
    metric("directive", Summary, "directive_duration_seconds", &["tawonID"], Bare, "Wall-clock length of each ended directive run."),
    metric("directive", Counter, "tasks_ran_total", &["task", "status", "tawonID"], Bare, "Task runs that have ended, by task name and how they ended. One run = one task of one directive run."),
    metric("directive", Summary, "task_duration_seconds", &["tawonID", "task"], Bare, "Wall-clock length of each ended task run."),
    metric("payload", Counter, "payload_task_total", &["status"], Product(&[&["emitted", "truncated", "filtered", "no_start"]]), "Payload records of the payload task per directive, by outcome (filtered once per flow)."),
    metric("payload", Gauge, "payload_processes_watched", &[], Bare, "Processes (tgid) that the payload task now watches."),
    metric("payload", Counter, "payload_msgs_lost", &[], Bare, "Records that found no room on a per-CPU perf ring, counted where the output failed."),
    metric("payload", Counter, "payload_out_of_order_msgs", &[], Bare, "Records whose per-socket sequence number was lower than one already processed."),
    metric("payload", Counter, "payload_msgs", &[], Bare, "Records read from the perf rings and processed."),
    metric("payload", Gauge, "payload_tids_watched", &[], Bare, "Threads (tid) that the payload task now watches."),
    metric("resetconn", Counter, "resetconn_msgs_lost", &[], Bare, "Records dropped at the perf rings."),
    metric("resetconn", Counter, "resetconn_msgs", &[], Bare, "Records processed."),
    metric("resetconn", Gauge, "resetconn_processes_watched", &[], Bare, "Processes that resetconn now watches."),
    metric("resetconn", Gauge, "resetconn_tids_watched", &[], Bare, "Threads that resetconn now watches."),
    metric("exec", Counter, "exec_msgs_lost", &[], Bare, "Records dropped at the perf rings."),
    metric("exec", Counter, "exec_proc_end_before_start", &[], Bare, "Process-exit records that arrived before the record of that process starting."),
    metric("exec", Counter, "exec_msgs", &[], Bare, "Records processed."),
    metric("tlsplaintext", Counter, "tlsplaintext_msgs_lost", &[], Bare, "Records dropped at the perf rings."),
    metric("tlsplaintext", Counter, "tlsplaintext_out_of_order_msgs", &[], Bare, "Records whose per-connection sequence number was lower than one already processed."),
    metric("tlsplaintext", Counter, "tlsplaintext_msgs", &[], Bare, "Records processed."),
    metric("tlsplaintext", Gauge, "tlsplaintext_processes_watched", &[], Bare, "Processes with TLS probes that are now watched."),
    metric("tlsplaintext", Gauge, "tlsplaintext_tids_watched", &[], Bare, "Threads of those processes."),
    metric("flows", Counter, "flows_task_total", &["status"], Product(&[&["started", "ongoing", "ended", "filtered"]]), "Flow records of the flows task per directive, by outcome (filtered once per flow)."),
    metric("flows", Counter, "flow_msgs", &[], Bare, "Flow events processed."),
    metric("flows", Counter, "flow_msgs_lost", &[], Bare, "Flow events dropped at the perf rings."),
    metric("flows", Counter, "flow_out_of_order_msgs", &[], Bare, "Flow events older than one already processed for the same flow."),
    metric("flows", Counter, "flow_missing_ended", &[], Bare, "Flows emitted without an end time (evicted, expired, or still open when the directive stopped)."),
    metric("flows", Counter, "flow_missing_started", &[], Bare, "Flows emitted without a start time (already open when the task started, or the start event was lost)."),
    metric("flows", Counter, "flow_extra_ended", &[], Bare, "End events for a flow that has already ended or was never tracked (listeners and sockets that never connected are no flows)."),
    metric("flows", Counter, "flow_missing_tid", &[], Bare, "Flows that ended without a thread that claimed them."),
    metric("flows", Counter, "flow_missing_socket", &[], Bare, "Flows that ended without usable socket information (no addresses or family)."),
    metric("flows", Gauge, "flow_flows_tracked", &[], Bare, "Flows now in the table."),
    metric("flows", Gauge, "flow_threads_tracked", &[], Bare, "Threads that have at least one flow in the table."),
    metric("tlsheaders", Counter, "tlsheaders_parse_total", &["status"], Product(&[PARSED]), "Payloads the tlsheaders task tried to parse, by outcome."),
    metric("pfcp", Counter, "pfcp_parse_total", &["status"], Product(&[PARSED]), "Payloads the pfcp task tried to parse, by outcome."),
    metric("ecpri", Counter, "ecpri_parse_total", &["status"], Product(&[PARSED]), "Payloads the ecpri task tried to parse, by outcome."),
    metric("bpf", Gauge, "bpf_probes_attached", &["module", "program"], Bare, "Attached links of this program."),
    metric("bpf", Counter, "bpf_probes_attach_failure", &["module", "program"], Bare, "Attach attempts that failed."),
    metric("bpf", Counter, "bpf_probes_detach_failure", &["module", "program"], Bare, "Detach attempts that failed."),
    metric("bpf", Histogram(&[0.01, 0.05, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0]), "bpf_cpu_usage_histogram", &["module", "program"], Bare, "Distribution of the sampled CPU usage, in percent of one CPU."),
    metric("bpf", FloatGauge, "bpf_cpu_usage", &["module", "program"], Bare, "CPU usage over the last sampling interval, in percent of one CPU: delta run_time_ns / delta wall ns * 100."),
    metric("bpf", Counter, "bpf_run_counter", &["module", "program"], Bare, "Executions of the program (run_cnt)."),
    metric("h2", Counter, "h2_chunks", &[], Bare, "Payload chunks handed to the h2 task."),
    metric("h2", Histogram(&[10.0, 50.0, 100.0, 250.0, 750.0, 1500.0]), "h2_chunk_size", &[], Bare, "Chunk sizes in bytes; bucket bounds 10, 50, 100, 250, 750, 1500."),
    metric("h2", Counter, "h2_chunks_missing_flowid", &[], Bare, "Chunks without the flow identity needed to assign them to a connection."),
    metric("h2", Counter, "h2_out_of_order", &[], Bare, "Chunks that arrived out of order for their flow."),
    metric("h2", Counter, "h2_invalid_frame_type", &[], Bare, "Frames of a type outside RFC 9113's set (and not a registered extension)."),
    metric("h2", Counter, "h2_invalid_empty_data_frame", &[], Bare, "Empty DATA frames without END_STREAM."),
    metric("h2", Counter, "h2_invalid_empty_payload", &["type"], Product(&[&FRAME_TYPES]), "Frames whose type requires a payload but that have none."),
    metric("h2", Counter, "h2_payload_overflow_buffer", &["type"], Product(&[&FRAME_TYPES]), "Frames whose declared payload is larger than the input buffer."),
    metric("h2", Counter, "h2_chunk_buffer_overflow", &["type"], Product(&[&FRAME_TYPES]), "Frames that could not be assembled because the accumulated chunks outgrew the input buffer."),
    metric("h2", Counter, "h2_invalid_frame_flags", &["type"], Product(&[&FRAME_TYPES]), "Frames carrying flags that their type does not define."),
    metric("h2", Counter, "h2_incoming_frames", &["type", "dismissed"], Product(&[&FRAME_TYPES, &["true", "false"]]), "Assembled frames; dismissed says whether the frame was set aside rather than handed on."),
    metric("h2", Counter, "h2_zero_stream_frames", &["type"], Product(&[&FRAME_TYPES]), "Frames on stream 0 of a type that must name a stream."),
    metric("h2", Counter, "h2_server_stream_frames", &["type"], Product(&[&FRAME_TYPES]), "Frames on a server-initiated (even) stream."),
    metric("h2", Counter, "h2_failed_dir_detections", &[], Bare, "Connections whose direction could not be told within the buffer allocated for it."),
    metric("h2", Counter, "h2_connections", &["direction"], Product(&[&ROLES]), "Bidirectional connections whose direction was detected."),
    metric("h2", Histogram(&[1.0, 5.0, 10.0, 50.0, 250.0, 500.0]), "h2_conn_dir_buffer", &["direction"], Product(&[&ROLES]), "Frames buffered on a connection before its direction was known; bucket bounds 1, 5, 10, 50, 250, 500."),
    metric("h2", Counter, "h2_invalid_go_away_frames", &[], Bare, "GOAWAY frames shorter than 8 bytes."),
    metric("h2", Counter, "h2_invalid_rst_stream_frames", &[], Bare, "RST_STREAM frames shorter than 4 bytes."),
    metric("h2", Counter, "h2_header_decoder_resets", &[], Bare, "Times an HPACK decoder's state was reset (after an error or a join in mid-connection)."),
    metric("h2", Counter, "h2_expired_streams", &[], Bare, "Unfinished streams dropped because they were idle for too long."),
    metric("h2", Counter, "h2_terminated_streams", &["reason"], Product(&[&TERMINATED]), "Unfinished streams that were ended (RST_STREAM, GOAWAY, connection closed, ...)."),
    metric("h2", Counter, "h2_missing_headers", &["direction", "reason"], Product(&[&SIDES, &MISSING]), "Header blocks that could not be decoded, wholly or in part."),
    metric("h2", Counter, "h2_empty_headers", &["direction"], Product(&[&SIDES]), "Header blocks with no field."),
    metric("h2", Counter, "h2_wrong_pseudo_headers", &["direction"], Product(&[&SIDES]), "Header blocks with a pseudo-header that does not belong to their direction."),
    metric("h2", Counter, "h2_multi_pseudo_headers", &["direction"], Product(&[&SIDES]), "Header blocks in which one pseudo-header stands more than once."),
    metric("h2", Counter, "h2_duplicate_component", &["component"], Product(&[&COMPONENTS]), "A second request or response header or body for a stream that already had it."),
    metric("h2", Counter, "h2_round_trips_emitted", &["partial", "reason"], Rows(&ROUND_TRIPS), "Round trips (request with its response) emitted, whole or partial."),
    metric("h2", Counter, "h2_content_type_parse_failure", &[], Bare, "content-type values that could not be parsed."),
    metric("h2", Counter, "h2_multipart_failure", &[], Bare, "Multipart bodies that could not be parsed."),
    metric("h2", Counter, "h2_multipart_bodies", &[], Bare, "Bodies found to be multipart."),
    metric("h2", Counter, "h2_content_types", &["type"], Product(&[&["other"]]), "Content types seen, the parts of multipart bodies included."),
    metric("h2", Gauge, "h2_framer_flows", &[], Bare, "Flows that the framer tracks."),
    metric("h2", Gauge, "h2_flower_flows", &[], Bare, "Connections that the flower tracks."),
    metric("h2", Gauge, "h2_streams", &[], Bare, "Streams tracked."),
    metric("own", Gauge, "tawon_build_info", &["version", "revision"], Bare, "Always 1; which build this is."),
    metric("own", Gauge, "tawon_config_last_reload_successful", &[], Bare, "Whether the last reading of the configuration was right: 1 or 0."),
    metric("own", FloatGauge, "tawon_config_last_reload_timestamp_seconds", &[], Bare, "When the configuration was last read with success, in seconds since the epoch."),
    metric("own", Counter, "tawon_config_reloads_total", &["status"], Product(&[&["success", "failure"]]), "Readings of the configuration, by outcome."),
    metric("own", Gauge, "tawon_config_restart_required", &[], Bare, "Whether the file on disk says something that only a restart applies: 1 or 0."),
    metric("own", Gauge, "tawon_directive_state", &["directive", "state"], Bare, "Whether the directive is in this state: 1 or 0."),
    metric("own", Counter, "tawon_directive_runs_total", &["directive", "status"], Bare, "Ended runs of a directive, by how they ended."),
    metric("own", FloatCounter, "tawon_loop_busy_seconds_total", &[], Bare, "Seconds that the event loop was busy, waiting left out."),
    metric("own", Counter, "tawon_listener_requests_total", &["handler", "code"], Bare, "Requests answered by the HTTP listener."),
    metric("own", Counter, "tawon_sink_records_total", &["sink", "status"], Bare, "Records handed to a destination, by outcome."),
    metric("own", Gauge, "tawon_sink_queue_bytes", &["sink"], Bare, "Bytes that wait in a destination's queue."),
    metric("own", Gauge, "tawon_table_entries", &["table"], Bare, "Entries of a bounded table."),
    metric("own", Gauge, "tawon_table_bytes", &["table"], Bare, "Bytes that a bounded table holds."),
    metric("own", Counter, "tawon_table_evictions_total", &["table"], Bare, "Entries evicted from a bounded table to make room."),
    metric("own", Counter, "tawon_capture_dropped_total", &["interface"], Bare, "Frames that the kernel dropped before capture could read them."),
    metric("own", Counter, "tawon_self_frames_total", &[], Bare, "Frames of the agent's own sockets that were left out of capture."),
    metric("own", Counter, "tawon_dns_parse_total", &["status"], Product(&[PARSED]), "DNS messages that the dns task tried to parse, by outcome."),
    metric("own", Counter, "tawon_frames_total", &["task", "status"], Bare, "Frames that a task took apart, by outcome."),
    metric("own", Counter, "tawon_fragments_total", &["task", "event"], Bare, "What befell fragmented IP datagrams."),
    metric("own", Counter, "tawon_reassembly_total", &["task", "event"], Bare, "What befell TCP segments that did not come in order."),
    metric("own", Counter, "tawon_reassembly_gap_bytes_total", &["task"], Bare, "Bytes of TCP streams that never came."),
    metric("own", Counter, "tawon_bpf_records_total", &["module", "kind"], Bare, "Records that the kernel side produced, by kind."),
    metric("own", Counter, "tawon_bpf_errors_total", &["module", "program", "reason"], Bare, "Records that the kernel side could not build or hand over for another reason than want of room."),
    metric("own", Gauge, "tawon_bpf_stats_enabled", &[], Bare, "Whether the kernel keeps BPF run statistics now: 1 or 0."),
    metric("own", Counter, "tawon_h2_flows_ignored_total", &[], Bare, "Flow directions that gave no proof of being HTTP/2 within 64 KiB."),
    metric("own", Counter, "tawon_h2_protocol_errors_total", &["reason"], Product(&[&H2_VIOLATIONS]), "What RFC 9113 forbids and no other counter names, by reason."),
    metric("own", Counter, "tawon_h2_streams_opened_total", &[], Bare, "Streams opened; equals round trips emitted plus streams tracked."),
];
