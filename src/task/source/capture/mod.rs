//! `capture`: frames from interfaces by libpcap's ring, or from a file. The agent's loop owns when:
//! it polls the descriptors and calls `readable`, or calls `batch` until the file ends. Nothing here
//! blocks but opening. Frames of the agent's own sockets are left out, and counted.

mod ahead;
pub mod file;
pub mod live;
mod own;
pub mod record;

use std::fs::File;
use std::os::fd::RawFd;
use std::path::Path;
use std::time::Duration;

use prometheus::{IntCounter, IntCounterVec};

pub use live::Drained;
use live::{Live, Setup};
use own::OwnSockets;
use record::RawPacket;

use crate::metrics::names::Names;
use crate::pipeline::{Event, Pipeline};
use crate::process::metadata::Meta;
use crate::task::record::Frame;
use crate::task::{Build, Context, Kind, Opt, Options, Source, Spec, Type};
use crate::time::{Instant, Timestamp};

pub static SPEC: Spec = Spec {
    name: "capture",
    help: "Frames from interfaces or from a pcap or pcapng file.",
    options: &[
        Opt {
            name: "interface",
            ty: Type::Text,
            default: "all",
            help: "An interface's name, a glob (veth*), or all that are up.",
        },
        Opt { name: "file", ty: Type::Path, default: "", help: "Read this pcap or pcapng file and end." },
        Opt {
            name: "filter",
            ty: Type::PcapFilter,
            default: "",
            help: "Only frames that this expression of libpcap's filter language matches.",
        },
        Opt {
            name: "snaplen",
            ty: Type::Size { min: 64, max: 262_144 },
            default: "262144",
            help: "Bytes to capture of each frame.",
        },
        Opt {
            name: "promiscuous",
            ty: Type::Bool,
            default: "false",
            help: "Also frames that are not meant for this machine.",
        },
        Opt { name: "meta", ty: Type::Meta, default: "interface.min", help: "The shared groups to attach." },
    ],
    accepts: &[],
    emits: &[Kind::RawPacket],
    needs_condition: false,
    build: Build::Source(Source::Capture),
};

/// A run of the source.
pub struct Capture {
    input: Input,
    meta: Meta,
}

#[allow(clippy::large_enum_variant)] // there is one per task
enum Input {
    File(Box<Replay>),
    Live(Interfaces),
}

/// What became of a batch of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Batch {
    More,
    /// The file has come to its end: the directive is completed.
    End,
}

impl Capture {
    /// Opens the file or the interfaces. The error is one sentence.
    pub fn open(options: &Options, context: &Context) -> Result<Capture, String> {
        let meta = Meta::parse(options.text("meta").unwrap_or_default())?;
        let filter = options.text("filter").filter(|text| !text.trim().is_empty()).map(str::to_owned);
        let snaplen = options.number("snaplen").unwrap_or(SNAPLEN).min(SNAPLEN) as u32;
        let input = match options.text("file").filter(|path| !path.is_empty()) {
            Some(path) => Input::File(Box::new(Replay::open(path, filter, snaplen)?)),
            None => {
                let pattern = options.text("interface").unwrap_or("all").to_owned();
                let promiscuous = options.flag("promiscuous");
                Input::Live(Interfaces::open(pattern, filter, snaplen, promiscuous, context)?)
            }
        };
        Ok(Capture { input, meta })
    }

    /// The descriptors to poll; none of a file. They change when `tick` says so.
    pub fn fds(&self) -> impl Iterator<Item = RawFd> {
        let live = match &self.input {
            Input::Live(interfaces) => interfaces.open.as_slice(),
            Input::File(_) => &[],
        };
        live.iter().map(Live::fd)
    }

    /// Whether frames come from a file: then `batch` is called until it says `End`.
    pub fn is_file(&self) -> bool {
        matches!(self.input, Input::File(_))
    }

    /// Hands on at most `budget` frames of the interface with this descriptor. `now` and `wall` are the
    /// same moment on both clocks.
    pub fn readable(
        &mut self,
        fd: RawFd,
        budget: usize,
        now: Instant,
        wall: Timestamp,
        pipeline: &mut Pipeline,
    ) -> Drained {
        match &mut self.input {
            Input::Live(interfaces) => interfaces.readable(fd, budget, now, wall, self.meta, pipeline),
            Input::File(_) => Drained::Empty,
        }
    }

    /// Hands on at most `budget` frames of the file, with ticks by the frames' own time. The error is
    /// one sentence: the directive fails.
    pub fn batch(&mut self, budget: usize, pipeline: &mut Pipeline) -> Result<Batch, String> {
        match &mut self.input {
            Input::File(replay) => replay.batch(budget, self.meta, pipeline),
            Input::Live(_) => Ok(Batch::More),
        }
    }

    /// To be called once a second, and at a scrape: counts drops, finds interfaces that came and forgets
    /// those that went. Says whether `fds` changed.
    pub fn tick(&mut self, now: Instant) -> bool {
        match &mut self.input {
            Input::Live(interfaces) => interfaces.tick(now),
            Input::File(_) => false,
        }
    }

    /// Moves the counters of what the kernel dropped.
    pub fn count_drops(&mut self) {
        if let Input::Live(interfaces) = &mut self.input {
            interfaces.open.iter_mut().for_each(Live::count_drops);
        }
    }

    /// What went wrong for good, if anything.
    pub fn failure(&self) -> Option<&str> {
        match &self.input {
            Input::Live(interfaces) => interfaces.failure.as_deref(),
            Input::File(_) => None,
        }
    }

    /// The time of the file's last frame, which is when its pipeline closes; None of interfaces.
    pub fn time(&self) -> Option<Instant> {
        match &self.input {
            Input::File(replay) => Some(replay.time),
            Input::Live(_) => None,
        }
    }
}

/// A file that is replayed.
struct Replay {
    path: String,
    reader: file::Reader<File>,
    filter: Option<Filter>,
    snaplen: u32,
    time: Instant,
    ticked: Option<Instant>,
}

impl Replay {
    fn open(path: &str, filter: Option<String>, snaplen: u32) -> Result<Replay, String> {
        let file = file::open(Path::new(path)).map_err(|error| match error {
            file::Error::Io(error) => format!("cannot open {path}: {error}"),
            error => format!("{path} {error}"),
        })?;
        let reader = file::Reader::ahead(file).map_err(|error| format!("{path} {error}"))?;
        let filter = filter.map(Filter::new).transpose()?;
        let path = path.to_owned();
        Ok(Replay { path, reader, filter, snaplen, time: Instant(0), ticked: None })
    }

    fn batch(&mut self, budget: usize, meta: Meta, pipeline: &mut Pipeline) -> Result<Batch, String> {
        for _ in 0..budget {
            let packet = match self.reader.next() {
                Ok(Some(packet)) => packet,
                Ok(None) => return Ok(Batch::End),
                Err(error @ file::Error::Cut(_)) => {
                    log::warn!("capture file {}; what stands before was read: path={}", error, self.path);
                    return Ok(Batch::End);
                }
                Err(error) => return Err(format!("{} {error}", self.path)),
            };
            let file::Packet { bytes, length, link_type, time, interface } = packet;
            let bytes = bytes.get(..self.snaplen as usize).unwrap_or(bytes);
            let frame = Frame { bytes, length, link_type };
            self.time = Instant(time);
            if let Some(filter) = &mut self.filter
                && !filter.matches(&frame)?
            {
                continue;
            }
            tick(&mut self.ticked, self.time, pipeline);
            let time = Timestamp(time);
            let packet = RawPacket { frame, time, interface, meta };
            pipeline.event(&Event::new(time, self.time, &packet));
        }
        Ok(Batch::More)
    }
}

/// Lets the pipeline know that the frames' time has passed; also where it jumps back, as in files put
/// together from others.
fn tick(ticked: &mut Option<Instant>, now: Instant, pipeline: &mut Pipeline) {
    let before = *ticked.get_or_insert(now);
    if now.since(before) >= TICK || before.since(now) >= TICK {
        pipeline.tick(now);
        *ticked = Some(now);
    }
}

/// A filter for frames of a file, compiled for each link type that it has.
struct Filter {
    text: String,
    programs: Vec<(u16, pcap::BpfProgram)>,
}

impl Filter {
    /// Compiles it for Ethernet, so that what is no filter at all is told before anything starts.
    fn new(text: String) -> Result<Filter, String> {
        let mut filter = Filter { text, programs: Vec::new() };
        filter.compile(crate::decode::link::ETHERNET)?;
        Ok(filter)
    }

    fn matches(&mut self, frame: &Frame<'_>) -> Result<bool, String> {
        let program = match self.programs.iter().position(|(link_type, _)| *link_type == frame.link_type) {
            Some(known) => known,
            None => self.compile(frame.link_type)?,
        };
        Ok(self.programs.get(program).is_some_and(|(_, program)| program.filter(frame.bytes)))
    }

    fn compile(&mut self, link_type: u16) -> Result<usize, String> {
        let failed = |error: pcap::Error| format!("filter {:?}: {error}", self.text);
        // libpcap's own number for raw IP differs from the file format's
        let data_link = if link_type == crate::decode::link::RAW { DLT_RAW } else { link_type.into() };
        let dead = pcap::Capture::dead(pcap::Linktype(data_link)).map_err(failed)?;
        let program = dead.compile(&self.text, true).map_err(failed)?;
        self.programs.push((link_type, program));
        Ok(self.programs.len() - 1)
    }
}

/// Interfaces that are captured from.
struct Interfaces {
    pattern: String,
    filter: Option<String>,
    snaplen: u32,
    promiscuous: bool,
    open: Vec<Live>,
    own: OwnSockets,
    own_frames: IntCounter,
    dropped: IntCounterVec,
    /// What `dropped` calls an interface: under a glob they may come and go without end.
    names: Names,
    listed: Option<Instant>,
    failure: Option<String>,
}

impl Interfaces {
    fn open(
        pattern: String,
        filter: Option<String>,
        snaplen: u32,
        promiscuous: bool,
        context: &Context,
    ) -> Result<Interfaces, String> {
        let mut interfaces = Interfaces {
            pattern,
            filter,
            snaplen,
            promiscuous,
            open: Vec::new(),
            own: OwnSockets::default(),
            own_frames: context.metrics.counter("tawon_self_frames_total"),
            dropped: context.metrics.counters("tawon_capture_dropped_total"),
            names: context.metrics.interfaces.clone(),
            listed: None,
            failure: None,
        };
        let devices = live::devices(&interfaces.pattern)?;
        let ring = (RINGS / devices.len().max(1)).max(RING);
        for device in devices {
            if let Err(error) = interfaces.add(device, ring) {
                interfaces.failure = Some(error);
            }
        }
        // of several, one that went meanwhile or is down is no reason to fail
        match interfaces.failure.take() {
            Some(error) if interfaces.open.is_empty() => return Err(error),
            Some(error) => log::warn!("interface not captured from: reason={error:?}"),
            None => {}
        }
        interfaces.own.set_local(live::local_addresses().into_iter());
        Ok(interfaces)
    }

    fn add(&mut self, device: pcap::Device, ring: usize) -> Result<(), String> {
        let dropped = self.dropped.with_label_values(&[self.names.label(&device.name)]);
        let setup =
            Setup { filter: self.filter.as_deref(), snaplen: self.snaplen, promiscuous: self.promiscuous, ring };
        self.open.push(Live::open(device, &setup, dropped)?);
        Ok(())
    }

    fn readable(
        &mut self,
        fd: RawFd,
        budget: usize,
        now: Instant,
        wall: Timestamp,
        meta: Meta,
        pipeline: &mut Pipeline,
    ) -> Drained {
        let Some(at) = self.open.iter().position(|live| live.fd() == fd) else { return Drained::Empty };
        let (own, own_frames) = (&mut self.own, &self.own_frames);
        let read = self.open[at].read(budget, |interface, link_type, bytes, length, time| {
            if own.owns(link_type, bytes, length as usize, now) {
                own_frames.inc();
                return;
            }
            // frames carry the wall clock's time; time-outs need the monotonic one
            let at = Instant(now.0.saturating_sub(wall.0.saturating_sub(time)));
            let (frame, time) = (Frame { bytes, length, link_type }, Timestamp(time));
            pipeline.event(&Event::new(time, at, &RawPacket { frame, time, interface, meta }));
        });
        read.unwrap_or_else(|error| {
            self.lose(at, error);
            Drained::Empty
        })
    }

    /// An interface that was meant by its own name must be there; of a glob it may go.
    fn lose(&mut self, at: usize, error: String) {
        let mut live = self.open.swap_remove(at);
        live.count_drops();
        if live::is_glob(&self.pattern) {
            log::info!("interface left capture: interface={} reason={error:?}", live.interface.name);
        } else {
            self.failure = Some(error);
        }
    }

    fn tick(&mut self, now: Instant) -> bool {
        self.open.iter_mut().for_each(Live::count_drops);
        self.own.read(now, OWN);
        if self.listed.is_some_and(|before| now.since(before) < LIST) {
            return false;
        }
        self.listed = Some(now);
        self.own.set_local(live::local_addresses().into_iter());
        // Where libpcap looks between the steps in which the kernel takes an interface away, it reads that it is down
        // and is never told again.
        let before = self.open.len();
        while let Some(at) = self.open.iter().position(Live::is_gone) {
            let error = format!("interface {}: it has gone", self.open[at].interface.name);
            self.lose(at, error);
        }
        let fewer = self.open.len() < before;
        live::is_glob(&self.pattern) && self.look_for_more() || fewer
    }

    fn look_for_more(&mut self) -> bool {
        let devices = live::devices(&self.pattern).unwrap_or_default();
        let before = self.open.len();
        for device in devices {
            let name = device.name.clone();
            if self.open.iter().any(|live| live.interface.name == name) {
                continue;
            }
            match self.add(device, RING) {
                Ok(()) => log::info!("interface joined capture: interface={name}"),
                // it may be gone again; the next look will tell
                Err(error) => log::debug!("interface not captured from: interface={name} reason={error:?}"),
            }
        }
        self.open.len() != before
    }
}

const SNAPLEN: u64 = 262_144;
/// DLT_RAW of Linux.
const DLT_RAW: i32 = 12;
/// How often the pipeline of a file is told the time, in the frames' time.
const TICK: Duration = Duration::from_millis(50);
/// Bytes of all rings together, and the least of one.
const RINGS: usize = 32 << 20;
const RING: usize = 2 << 20;
/// How often own sockets are read, and interfaces listed.
const OWN: Duration = Duration::from_millis(500);
const LIST: Duration = Duration::from_secs(1);
