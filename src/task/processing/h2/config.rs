//! The options of the h2 task.

use std::time::Duration;

use crate::task::{Context, Opt, Options, Type};

/// What a directive set, or the defaults.
pub struct Config {
    pub max_flows: usize,
    pub expire_flows: Duration,
    pub expire_interval: Duration,
    pub streamer_max_flows: usize,
    pub max_streams: usize,
    pub streamer_expire: Duration,
    pub max_age: Duration,
    /// Bytes that a direction may hold of what is not complete.
    pub frame_buffer: usize,
    pub body: BodyMode,
    pub max_body: usize,
    pub ports: Vec<u16>,
    /// Whether events come from packets: then all idle state expires.
    pub packets: bool,
    /// Bytes that the task may hold in all.
    pub memory: usize,
}

/// What of a body goes into a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BodyMode {
    None,
    /// Where it is UTF-8 and not encoded.
    Text,
    /// Else as base64.
    All,
}

impl Config {
    pub fn new(options: &Options, context: &Context) -> Config {
        let count = |name| options.number(name).unwrap_or_default() as usize;
        let duration = |name| options.duration(name).unwrap_or_default();
        Config {
            max_flows: count("flower_max_flows"),
            expire_flows: duration("flower_expire_flows"),
            expire_interval: duration("flower_expire_interval"),
            streamer_max_flows: count("streamer_max_flows"),
            max_streams: count("streamer_max_streams_per_flow"),
            streamer_expire: duration("streamer_expire_flows"),
            max_age: duration("round_tripper_max_age"),
            frame_buffer: count("frameBuffer"),
            body: match options.text("body") {
                Some("text") => BodyMode::Text,
                Some("all") => BodyMode::All,
                _ => BodyMode::None,
            },
            max_body: count("maxBody"),
            ports: options.ports("ports").to_vec(),
            packets: context.packets,
            memory: usize::try_from(context.memory).unwrap_or(usize::MAX),
        }
    }
}

/// Header names whose values are redacted: the option's, or the configuration's; None for `none`.
pub fn redacted<'a>(options: &'a Options, context: &'a Context) -> Option<&'a [String]> {
    match options.words("redact") {
        [] => Some(&context.redact),
        [word] if word == "none" => None,
        words => Some(words),
    }
}

/// The options as the parser and the documents know them.
pub static OPTIONS: &[Opt] = &[
    count("flower_max_flows", "100000", "Connections tracked at most; the one used least recently goes."),
    time("flower_expire_flows", "300s", "How long a connection without bytes is kept."),
    time("flower_expire_interval", "1s", "How often idle connections are looked for."),
    count("streamer_max_flows", "100000", "Connections with headers and streams at most."),
    count("streamer_max_streams_per_flow", "1000", "Open streams per connection at most."),
    time("streamer_expire_flows", "300s", "How long a connection without streams' frames keeps their state."),
    time("round_tripper_max_age", "60s", "How long a stream without frames is kept."),
    Opt {
        name: "frameBuffer",
        ty: Type::Size { min: 1 << 10, max: 16 << 20 },
        default: "64Ki",
        help: "Bytes per direction held of what is not complete.",
    },
    Opt {
        name: "body",
        ty: Type::Choice(&["none", "text", "all"]),
        default: "none",
        help: "Which bodies to put into records: none, text (UTF-8, not encoded) or all (else as base64).",
    },
    Opt {
        name: "maxBody",
        ty: Type::Size { min: 0, max: 16 << 20 },
        default: "16Ki",
        help: "Bytes of a body kept for its record.",
    },
    Opt {
        name: "redact",
        ty: Type::Words,
        default: "",
        help: "Header names whose values are not shown, or none; default: the configuration's list.",
    },
    Opt {
        name: "ports",
        ty: Type::Ports,
        default: "",
        help: "Ports on which the first byte seen is taken for a frame boundary.",
    },
];

const fn count(name: &'static str, default: &'static str, help: &'static str) -> Opt {
    Opt { name, ty: Type::Count { min: 1, max: 10_000_000 }, default, help }
}

const fn time(name: &'static str, default: &'static str, help: &'static str) -> Opt {
    let (min, max) = (Duration::from_millis(10), Duration::from_secs(7 * 24 * 3600));
    Opt { name, ty: Type::Duration { min, max }, default, help }
}
