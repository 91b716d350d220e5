//! `h2`: HTTP/2 of any source to round trips, one record per stream. A direction's bytes become frames
//! (framer), the client is told from the server (flower), frames become messages (streamer), and those
//! round trips (trips). What is lost or refused is counted; what cannot be known is told as unknown.
//! State is bounded in connections, streams and bytes; nothing is allocated per frame, header or round
//! trip once the buffers have grown, which are used again.

mod body;
mod config;
mod connection;
mod connections;
mod content;
mod core;
mod fields;
mod flower;
mod framer;
mod ids;
mod json;
mod link;
mod meters;
mod multipart;
mod names;
mod recent;
mod record;
pub mod shape;
mod stream;
mod streamer;
mod trips;
mod upgrade;
mod windows;

pub use record::{Ended, Ends, RoundTrip, schema};
pub use shape::{Reason, Role};

use std::sync::Arc;

use self::config::Config;
use self::connections::Connections;
use self::core::Now;
use self::fields::Draft;
use self::meters::Meters;
use self::names::Names;
use self::stream::Streams;
use super::streams;
use crate::decode::hpack::Scratch;
use crate::flow::assembler::{Limits, Select};
use crate::pipeline::{End, Event, Next, Task};
use crate::task::{Build, Context, Kind, Options, Spec};
use crate::time::Instant;

pub static SPEC: Spec = Spec {
    name: "h2",
    help: "HTTP/2 and gRPC round trips: requests with their responses, headers and bodies.",
    options: config::OPTIONS,
    accepts: &[Kind::Payload, Kind::TlsPlaintext, Kind::RawPacket],
    emits: &[Kind::H2],
    needs_condition: false,
    build: Build::Processing(build),
};

fn build(options: &Options, context: &Context) -> Result<Box<dyn Task>, String> {
    let config = Config::new(options, context);
    // Packets have to be put in order first, which takes its part of what may be held.
    let parts = if config.packets { 4 } else { usize::MAX };
    let limits = Limits { flows: config.max_flows, bytes: config.memory / parts, ..Limits::default() };
    let flows = streams::Streams::new(context, "h2", Select { udp: false, ..Select::default() }, limits);
    let connections = Connections::new(config, Names::new(config::redacted(options, context)), context);
    Ok(Box::new(H2 { flows, connections, redact_configured: options.words("redact").is_empty() }))
}

/// The task: flows put together, and what is known of their connections.
struct H2 {
    flows: streams::Streams,
    connections: Connections,
    /// Whether the configuration's list says what to redact, not an option of the task.
    redact_configured: bool,
}

impl Task for H2 {
    fn redact(&mut self, names: &Arc<[String]>) {
        if self.redact_configured {
            self.connections.redact(names);
        }
    }

    fn event(&mut self, event: &Event<'_>, next: &mut Next<'_>) {
        self.flows.event(event, &mut |chunk, when| {
            self.connections.chunk(chunk, Now { timestamp: when.timestamp, at: when.at }, next);
        });
    }

    fn tick(&mut self, now: Instant, next: &mut Next<'_>) {
        self.flows.tick(now, &mut |chunk, when| {
            self.connections.chunk(chunk, Now { timestamp: when.timestamp, at: when.at }, next);
        });
        self.connections.expire(now, next);
    }

    fn deadline(&self) -> Option<Instant> {
        self.flows.deadline().into_iter().chain(self.connections.deadline()).min()
    }

    fn close(&mut self, _: End, now: Instant, next: &mut Next<'_>) {
        self.flows.close(now, &mut |chunk, when| {
            self.connections.chunk(chunk, Now { timestamp: when.timestamp, at: when.at }, next);
        });
        self.connections.close(next);
    }
}

/// What all connections use.
pub struct Shared {
    config: Config,
    names: Names,
    meters: Meters,
    streams: Streams,
    scratch: Scratch,
    draft: Draft,
    dates: json::Dates,
}
