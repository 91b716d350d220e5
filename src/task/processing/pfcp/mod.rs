//! `pfcp`: the messages of 3GPP TS 29.244 on UDP, each with all its IEs, one record per message.

mod ids;
mod record;
mod schema;

use self::ids::Room;
use self::record::Pfcp;
pub use self::schema::schema;
use super::parse::{Counts, Status};
use super::streams::Streams;
use crate::decode::Reader;
use crate::decode::pfcp::{Message, Wrong, message_name};
use crate::flow::assembler::{Limits, Select};
use crate::pipeline::{End, Event, Next, Task};
use crate::task::record::Chunk;
use crate::task::{Build, Context, Kind, Opt, Options, Spec, Type};
use crate::time::Instant;

pub static SPEC: Spec = Spec {
    name: "pfcp",
    help: "PFCP (3GPP TS 29.244 Release 17): every message with its IEs, and the ids that matter gathered.",
    options: &[Opt {
        name: "ports",
        ty: Type::Ports,
        default: "8805",
        help: "UDP ports, at either end, on which PFCP is spoken.",
    }],
    accepts: &[Kind::Payload, Kind::RawPacket],
    emits: &[Kind::Pfcp],
    needs_condition: false,
    build: Build::Processing(build),
};

fn build(options: &Options, context: &Context) -> Result<Box<dyn Task>, String> {
    if options.ports("ports").is_empty() {
        return Err("`ports` needs at least one port".to_owned());
    }
    let ports: Box<[u16]> = options.ports("ports").into();
    let limits = Limits { bytes: Limits::default().bytes.min(context.memory as usize), ..Limits::default() };
    let select = Select { tcp: false, udp: true, ports: ports.clone() };
    Ok(Box::new(PfcpTask {
        streams: Streams::new(context, "pfcp", select, limits),
        parser: Parser { ports, counts: Counts::new(&context.metrics, "pfcp_parse_total"), room: Room::default() },
    }))
}

struct PfcpTask {
    streams: Streams,
    parser: Parser,
}

struct Parser {
    ports: Box<[u16]>,
    counts: Counts,
    room: Room,
}

// Datagrams are never held back, so that neither `tick` nor `close` of the streams gives any.
impl Task for PfcpTask {
    fn event(&mut self, event: &Event<'_>, next: &mut Next<'_>) {
        let parser = &mut self.parser;
        self.streams.event(event, &mut |chunk, _| parser.chunk(event, chunk, next));
    }

    fn tick(&mut self, now: Instant, _next: &mut Next<'_>) {
        self.streams.tick(now, &mut |_, _| {});
    }

    fn close(&mut self, _why: End, now: Instant, _next: &mut Next<'_>) {
        self.streams.close(now, &mut |_, _| {});
    }
}

impl Parser {
    fn chunk(&mut self, event: &Event<'_>, chunk: &Chunk<'_>, next: &mut Next<'_>) {
        let Some(net) = chunk.net.filter(|net| net.proto == UDP && chunk.datagram) else { return };
        let of_pfcp = |port: u16| self.ports.contains(&port);
        if !of_pfcp(net.local_port) && !of_pfcp(net.peer.port()) || chunk.length == 0 {
            return;
        }
        let cut = chunk.length > chunk.bytes.len() as u64;
        let mut reader = Reader::new(chunk.bytes);
        let mut announced = false;
        loop {
            let message = match Message::read(&mut reader) {
                Ok(message) => message,
                Err(wrong) => return self.counts.add(status(wrong, cut, announced)),
            };
            match self.room.gather(&message) {
                Err(_) => self.counts.add(Status::Malformed),
                Ok(ids) => {
                    self.counts.add(match message_name(message.message_type) {
                        _ if !ids.sound => Status::Malformed,
                        Some(_) => Status::Ok,
                        None => Status::Unsupported,
                    });
                    next.event(&event.with(&Pfcp { message, ids }));
                }
            }
            // Clause 7.2.2.1: without FO nothing but padding follows.
            if !message.follow_on {
                return;
            }
            announced = true;
        }
    }
}

/// `announced`: the message before said that this one follows, so it is PFCP.
fn status(wrong: Wrong, cut: bool, announced: bool) -> Status {
    match wrong {
        Wrong::Truncated | Wrong::NotMatching if cut => Status::Truncated,
        Wrong::Truncated | Wrong::Malformed => Status::Malformed,
        Wrong::Version(_) => Status::Unsupported,
        Wrong::NotMatching if announced => Status::Malformed,
        Wrong::NotMatching => Status::NotMatching,
    }
}

const UDP: u8 = 17;
