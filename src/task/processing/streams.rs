//! `Streams`: the bytes of flows for a processing task, whichever source stands before it: chunks of
//! `payload` and `tlsplaintext` as they come, frames of `capture` put together first.

use prometheus::{IntCounter, IntGauge};

use crate::flow::assembler::{Assembler, Counts, Limits, Select};
use crate::flow::fragments;
use crate::flow::segment::Segment;
use crate::pipeline::Event;
use crate::task::Context;
use crate::task::record::{Chunk, Frame, Net};
use crate::time::{Instant, Timestamp};

/// Puts the flows of one task together and counts what befalls them.
pub struct Streams {
    assembler: Option<Assembler>,
    told: Told,
    meters: Meters,
    /// From the monotonic clock to the wall clock, as the last frame had it.
    wall: u64,
}

/// When a chunk came to be whole.
#[derive(Clone, Copy, Debug)]
pub struct When {
    pub timestamp: Timestamp,
    pub at: Instant,
}

impl Streams {
    /// `task` is the value of the label `task`, and names its tables.
    pub fn new(context: &Context, task: &str, select: Select, limits: Limits) -> Streams {
        let memory = usize::try_from(context.memory).unwrap_or(usize::MAX);
        let limits = Limits { bytes: limits.bytes.min(memory), ..limits };
        Streams {
            assembler: context.packets.then(|| Assembler::new(select, limits)),
            told: Told::default(),
            meters: Meters::new(context, task),
            wall: 0,
        }
    }

    /// Gives the chunk that the event carries, or those that its frame completes.
    pub fn event(&mut self, event: &Event<'_>, each: &mut impl FnMut(&Chunk<'_>, When)) {
        let when = When { timestamp: event.timestamp, at: event.at };
        if let Some(chunk) = event.chunk() {
            return each(chunk, when);
        }
        if let (Some(frame), Some(assembler)) = (event.frame(), &mut self.assembler) {
            self.wall = when.timestamp.0.wrapping_sub(when.at.0);
            let &Frame { bytes, length, link_type } = frame;
            assembler.push(link_type, bytes, length as usize, when.at, &mut |segment| each(&segment.into(), when));
        }
    }

    /// Time has passed: gives what is not waited for any longer.
    pub fn tick(&mut self, now: Instant, each: &mut impl FnMut(&Chunk<'_>, When)) {
        let when = self.when(now);
        if let Some(assembler) = &mut self.assembler {
            assembler.tick(now, &mut |segment| each(&segment.into(), when));
        }
        self.count();
    }

    /// The directive ends: gives all that is held.
    pub fn close(&mut self, now: Instant, each: &mut impl FnMut(&Chunk<'_>, When)) {
        let when = self.when(now);
        if let Some(assembler) = &mut self.assembler {
            assembler.finish(now, &mut |segment| each(&segment.into(), when));
        }
        self.count();
        self.meters.clear();
    }

    /// When `tick` next has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        self.assembler.as_ref()?.deadline()
    }

    fn when(&self, at: Instant) -> When {
        When { timestamp: Timestamp(at.0.wrapping_add(self.wall)), at }
    }

    fn count(&mut self) {
        if let Some(assembler) = &self.assembler {
            let told = Told { frames: assembler.counts(), fragments: assembler.fragments().counts };
            self.meters.count(assembler, &self.told, &told);
            self.told = told;
        }
    }
}

impl<'a> From<&Segment<'a>> for Chunk<'a> {
    fn from(segment: &Segment<'a>) -> Chunk<'a> {
        let (src, dst) = segment.ends;
        Chunk {
            flow: Some(segment.flow),
            direction: segment.direction,
            seq: segment.seq,
            offset: segment.offset,
            gap: segment.gap,
            gap_unknown: segment.gap_unknown,
            bytes: segment.bytes,
            length: segment.length,
            start: segment.start,
            end: segment.end,
            datagram: segment.datagram,
            net: Some(Net {
                local: Some(src.ip()),
                local_port: src.port(),
                peer: dst,
                proto: segment.protocol,
                netns: None,
                packet: true,
            }),
            process: None,
        }
    }
}

/// The counts that the metrics have.
#[derive(Clone, Copy, Default)]
struct Told {
    frames: Counts,
    fragments: fragments::Counts,
}

/// The metrics of one task's assembler.
struct Meters {
    counters: Vec<(IntCounter, fn(&Told) -> u64)>,
    flows: Gauges,
    fragments: Gauges,
}

/// The part of one assembler in gauges that all directives with the task share.
struct Gauges {
    entries: IntGauge,
    bytes: IntGauge,
    part: (i64, i64),
}

impl Meters {
    fn new(context: &Context, task: &str) -> Meters {
        let counter = |name: &str, labels: &[&str]| context.metrics.counters(name).with_label_values(labels);
        let mut counters: Vec<(IntCounter, fn(&Told) -> u64)> = Vec::new();
        if context.packets {
            for (status, count) in FRAMES {
                counters.push((counter("tawon_frames_total", &[task, status]), *count));
            }
            for (event, count) in FRAGMENTS {
                counters.push((counter("tawon_fragments_total", &[task, event]), *count));
            }
            for (event, count) in REASSEMBLY {
                counters.push((counter("tawon_reassembly_total", &[task, event]), *count));
            }
            counters.push((counter("tawon_reassembly_gap_bytes_total", &[task]), |told| told.frames.streams.gap_bytes));
            let evictions = |table: &str| counter("tawon_table_evictions_total", &[table]);
            counters.push((evictions(&format!("{task}_flows")), |told| told.frames.evicted));
            counters.push((evictions(&format!("{task}_fragments")), |told| told.fragments.evicted));
        }
        Meters {
            counters,
            flows: Gauges::new(context, &format!("{task}_flows")),
            fragments: Gauges::new(context, &format!("{task}_fragments")),
        }
    }

    fn count(&mut self, assembler: &Assembler, before: &Told, now: &Told) {
        for (counter, count) in &self.counters {
            counter.inc_by(count(now) - count(before));
        }
        self.flows.set(assembler.len(), assembler.bytes());
        self.fragments.set(assembler.fragments().len(), assembler.fragments().bytes());
    }

    fn clear(&mut self) {
        self.flows.set(0, 0);
        self.fragments.set(0, 0);
    }
}

impl Gauges {
    fn new(context: &Context, table: &str) -> Gauges {
        let gauge = |name: &str| context.metrics.gauges(name).with_label_values(&[table]);
        Gauges { entries: gauge("tawon_table_entries"), bytes: gauge("tawon_table_bytes"), part: (0, 0) }
    }

    fn set(&mut self, entries: usize, bytes: usize) {
        let part = (entries as i64, bytes as i64);
        self.entries.add(part.0 - self.part.0);
        self.bytes.add(part.1 - self.part.1);
        self.part = part;
    }
}

type Count = (&'static str, fn(&Told) -> u64);

const FRAMES: &[Count] = &[
    ("ok", |told| told.frames.frames - told.frames.truncated - told.frames.malformed - told.frames.other),
    ("truncated", |told| told.frames.truncated),
    ("malformed", |told| told.frames.malformed),
    ("other", |told| told.frames.other),
];

const FRAGMENTS: &[Count] = &[
    ("reassembled", |told| told.fragments.reassembled),
    ("duplicate", |told| told.fragments.duplicates),
    ("malformed", |told| told.fragments.malformed),
    ("truncated", |told| told.fragments.truncated),
    ("expired", |told| told.fragments.expired),
];

const REASSEMBLY: &[Count] = &[
    ("out_of_order", |told| told.frames.streams.out_of_order),
    ("retransmit", |told| told.frames.streams.retransmits),
    ("conflict", |told| told.frames.streams.conflicts),
    ("gap", |told| told.frames.streams.gaps),
    ("stray", |told| told.frames.streams.strays),
    ("resync", |told| told.frames.streams.resyncs),
];
