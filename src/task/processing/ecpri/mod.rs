//! `ecpri`: eCPRI 2.0 over Ethernet (EtherType 0xAEFE behind any VLAN tags) and, on configured ports,
//! over UDP; one record per message.

mod record;
mod schema;

use self::record::Ecpri;
pub use self::schema::schema;
use super::parse::{Counts, Status};
use super::streams::Streams;
use crate::decode::ecpri::{EaxcWidths, Message, Wrong, message_name};
use crate::decode::ethernet::{Ethernet, Mac, Sll, Vlan};
use crate::decode::{Reader, ethertype, link};
use crate::flow::assembler::{Limits, Select};
use crate::pipeline::{End, Event, Next, Task};
use crate::task::record::{Chunk, Frame};
use crate::task::{Build, Context, Kind, Opt, Options, Spec, Type};
use crate::time::Instant;

pub static SPEC: Spec = Spec {
    name: "ecpri",
    help: "eCPRI 2.0 over Ethernet (0xAEFE, any VLAN stack) and UDP, with O-RAN's eAxC ids.",
    options: &[
        Opt {
            name: "udpPorts",
            ty: Type::Ports,
            default: "",
            help: "UDP ports, at either end, on which eCPRI is spoken; it has no registered one.",
        },
        Opt {
            name: "eaxc",
            ty: Type::Words,
            default: "",
            help: "Widths in bits of DU_Port_ID, BandSector_ID, CC_ID and RU_Port_ID, 16 together, to split ids by as O-RAN does: 4+4+4+4.",
        },
    ],
    accepts: &[Kind::Payload, Kind::RawPacket],
    emits: &[Kind::Ecpri],
    needs_condition: false,
    build: Build::Processing(build),
};

fn build(options: &Options, context: &Context) -> Result<Box<dyn Task>, String> {
    let ports: Box<[u16]> = options.ports("udpPorts").into();
    let limits = Limits { bytes: Limits::default().bytes.min(context.memory as usize), ..Limits::default() };
    let select = Select { tcp: false, udp: true, ports: ports.clone() };
    Ok(Box::new(EcpriTask {
        streams: (!ports.is_empty()).then(|| Streams::new(context, "ecpri", select, limits)),
        parser: Parser {
            ports,
            eaxc: widths(options.words("eaxc"))?,
            counts: Counts::new(&context.metrics, "ecpri_parse_total"),
        },
    }))
}

/// None where ids are not to be split.
fn widths(words: &[String]) -> Result<Option<EaxcWidths>, String> {
    if words.is_empty() {
        return Ok(None);
    }
    let numbers: Vec<u8> = words.iter().filter_map(|word| word.parse().ok()).collect();
    let widths = <[u8; 4]>::try_from(numbers).ok().filter(|_| words.len() == 4).and_then(EaxcWidths::new);
    widths
        .map(Some)
        .ok_or_else(|| "`eaxc` must be four widths in bits that are 16 together, such as 4+4+4+4".to_owned())
}

struct EcpriTask {
    /// Only where UDP ports are configured.
    streams: Option<Streams>,
    parser: Parser,
}

struct Parser {
    ports: Box<[u16]>,
    eaxc: Option<EaxcWidths>,
    counts: Counts,
}

/// Who sent a message to whom.
#[derive(Clone, Copy)]
enum Ends {
    Ethernet {
        src: Mac,
        dst: Mac,
    },
    /// Another record of the event tells, or nothing does.
    Untold,
}

// Datagrams are never held back, so that neither `tick` nor `close` of the streams gives any.
impl Task for EcpriTask {
    fn event(&mut self, event: &Event<'_>, next: &mut Next<'_>) {
        if let Some(frame) = event.frame() {
            self.parser.frame(event, frame, next);
        }
        if let Some(streams) = &mut self.streams {
            let parser = &self.parser;
            streams.event(event, &mut |chunk, _| parser.chunk(event, chunk, next));
        }
    }

    fn tick(&mut self, now: Instant, _next: &mut Next<'_>) {
        if let Some(streams) = &mut self.streams {
            streams.tick(now, &mut |_, _| {});
        }
    }

    fn close(&mut self, _why: End, now: Instant, _next: &mut Next<'_>) {
        if let Some(streams) = &mut self.streams {
            streams.close(now, &mut |_, _| {});
        }
    }
}

impl Parser {
    fn frame(&self, event: &Event<'_>, frame: &Frame<'_>, next: &mut Next<'_>) {
        let Some((ends, pdu)) = of_ethernet(frame) else { return };
        let cut = frame.length as usize > frame.bytes.len();
        self.pdu(pdu, cut, ends, event, next);
    }

    fn chunk(&self, event: &Event<'_>, chunk: &Chunk<'_>, next: &mut Next<'_>) {
        let Some(net) = chunk.net.filter(|net| net.proto == UDP && chunk.datagram) else { return };
        let of_ecpri = |port: u16| self.ports.contains(&port);
        if !of_ecpri(net.local_port) && !of_ecpri(net.peer.port()) || chunk.length == 0 {
            return;
        }
        let cut = chunk.length > chunk.bytes.len() as u64;
        self.pdu(chunk.bytes, cut, Ends::Untold, event, next);
    }

    /// The messages of one frame or datagram.
    fn pdu(&self, bytes: &[u8], cut: bool, ends: Ends, event: &Event<'_>, next: &mut Next<'_>) {
        let mut reader = Reader::new(bytes);
        let mut announced = false;
        loop {
            match Message::read(&mut reader) {
                Ok(message) => {
                    let known = message_name(message.message_type).is_some();
                    self.counts.add(if known { Status::Ok } else { Status::Unsupported });
                    next.event(&event.with(&Ecpri { message, eaxc: self.eaxc, ends }));
                    if !message.concatenated {
                        return;
                    }
                    announced = true;
                }
                Err(wrong) => return self.counts.add(status(wrong, cut, announced)),
            }
        }
    }
}

/// `announced`: the message before said that this one follows, so it is eCPRI.
fn status(wrong: Wrong, cut: bool, announced: bool) -> Status {
    match wrong {
        Wrong::Truncated | Wrong::NotMatching if cut => Status::Truncated,
        Wrong::Truncated | Wrong::Malformed => Status::Malformed,
        Wrong::Revision(_) => Status::Unsupported,
        Wrong::NotMatching if announced => Status::Malformed,
        Wrong::NotMatching => Status::NotMatching,
    }
}

/// What follows the EtherType of eCPRI, through any VLAN tags.
fn of_ethernet<'a>(frame: &Frame<'a>) -> Option<(Ends, &'a [u8])> {
    let (mut ethertype, mut payload, ends) = match frame.link_type {
        link::ETHERNET => {
            let ethernet = Ethernet::new_checked(frame.bytes).ok()?;
            let ends = Ends::Ethernet { src: ethernet.src(), dst: ethernet.dst() };
            (ethernet.ethertype(), ethernet.payload(), ends)
        }
        link::LINUX_SLL => {
            let sll = Sll::v1(frame.bytes).ok()?;
            (sll.protocol, sll.payload(), Ends::Untold)
        }
        link::LINUX_SLL2 => {
            let sll = Sll::v2(frame.bytes).ok()?;
            (sll.protocol, sll.payload(), Ends::Untold)
        }
        _ => return None,
    };
    while matches!(ethertype, ethertype::VLAN | ethertype::QINQ | ethertype::QINQ_OLD) {
        let vlan = Vlan::new_checked(ethertype, payload).ok()?;
        (ethertype, payload) = (vlan.ethertype(), vlan.payload());
    }
    (ethertype == ethertype::ECPRI).then_some((ends, payload))
}

const UDP: u8 = 17;
