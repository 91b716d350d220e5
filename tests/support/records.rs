//! Records as the kernel side sends them, and a world to take them in.

#![allow(dead_code)] // each program uses a part of it

use tawon::config::Condition;
use tawon::flow::table::Id;
use tawon::kernel::abi::{self, Claim, Exec, Flow, Header, Peer, PeerKey};
use tawon::metrics::Metrics;
use tawon::pipeline::Pipeline;
use tawon::process::metadata::Meta;
use tawon::process::{Process, Processes, table::Entry};
use tawon::task::source::{Sockets, Tap, World, exec, flows};
use tawon::time::{Instant, Offsets};

/// What is around the engines: processes from `FIRST_PID` on, all wanted by the first directive of
/// exec and of flows.
pub struct Around {
    pub processes: Processes,
    pub now: u64,
    pub sockets: Asked,
}

/// Says of every exchange of datagrams that it was of 23 bytes each way.
pub struct Asked;

impl Sockets for Asked {
    fn peer(&self, _: &PeerKey) -> Option<Peer> {
        Some(Peer { last: 1, bytes_rx: 23, bytes_tx: 23, segs_rx: 1, segs_tx: 1, ..Peer::default() })
    }

    fn forget_peer(&self, _: &PeerKey) {}

    fn forget_socket(&self, _: u64, _: u64) {}

    fn is_open(&self, _: u64, _: u64) -> bool {
        true
    }
}

impl Around {
    pub fn new(processes: u32) -> Around {
        let mut around = Around { processes: Processes::new(65_536), now: SECOND, sockets: Asked };
        around.processes.watchers.add(0, 0, None);
        around.processes.watchers.add(1, 0, None);
        let masks = around.processes.watchers.unconditional();
        for pid in FIRST_PID..FIRST_PID + processes {
            let process = Process { pid, start: START, name: b"server".to_vec(), ..Process::default() };
            let round = around.processes.watchers.round();
            let (process, threads) = (process.into(), Id::NOWHERE);
            around.processes.table.insert(Entry { process, round, execs: 1, masks, told: 0, threads, existing: true });
        }
        around
    }

    pub fn world(&mut self) -> World<'_> {
        World {
            processes: &mut self.processes,
            sockets: &self.sockets,
            offsets: Offsets { monotonic: 1_800_000_000 * SECOND, boottime: 1_800_000_000 * SECOND },
            now: Instant(self.now),
            settling: false,
        }
    }
}

/// A directive of exec comes, and processes are to be decided for.
pub fn watch(
    engine: &mut exec::Engine,
    around: &mut Around,
    (bit, condition): (u32, Option<Condition>),
    options: exec::Options,
    pipeline: Pipeline,
) {
    let meta = Meta::parse("process").expect("it is valid");
    engine.taps.insert(bit, Tap::new(options, meta, pipeline));
    around.processes.watchers.add(0, bit, condition);
    around.processes.decide_anew();
    engine.join(bit, &around.world());
}

/// An engine of flows with one directive behind it.
pub fn flows_engine(metrics: &Metrics, limit: usize, pipeline: Pipeline) -> flows::Engine {
    let mut engine = flows::Engine::new(metrics, limit);
    let options = flows::Options::new(&tawon::task::Options::default(), Instant(0)).expect("the defaults are valid");
    let meta = Meta::parse("process.min").expect("the default is valid");
    engine.taps.insert(0, Tap::new(options, meta, pipeline));
    engine
}

/// The number of the flow that is the `at`th.
pub fn number(at: u64) -> u64 {
    (at + 1) << 8
}

/// The flow that a record, as JSON, is of: the `at` that `number` made it from.
pub fn at(record: &serde_json::Value) -> u64 {
    let number = record["flowID"].as_str().and_then(|digits| u64::from_str_radix(digits, 16).ok());
    (number.expect("a flow's number") >> 8) - 1
}

pub fn flow(kind: u16, at: u64, time: u64) -> Flow {
    let mut flow = Flow {
        header: Header { time, mask: u64::MAX, size: size_of::<Flow>() as u32, kind, flags: PENDING },
        flow: number(at),
        sock: 0xffff_8000_0000_0000 + at * 0x940,
        started: time,
        established: time,
        bytes_rx: 1 << 20,
        bytes_tx: 4096,
        segs_rx: 23,
        segs_tx: 24,
        rtt_us: 87,
        min_rtt_us: 50,
        netns: 0xf000_0000,
        local_port: 8080,
        peer_port: 1024 + at as u16 % 60_000,
        family: 2,
        protocol: 6,
        direction: INBOUND,
        ..Flow::default()
    };
    (flow.local[10], flow.local[11], flow.peer[10], flow.peer[11]) = (0xff, 0xff, 0xff, 0xff);
    flow.local[12..].copy_from_slice(&[10, 0, 0, 1]);
    flow.peer[12..].copy_from_slice(&[10, 0, (at >> 8) as u8, at as u8]);
    flow.congestion[..5].copy_from_slice(b"cubic");
    flow
}

/// A flow with its owner.
pub fn owned(mut flow: Flow, pid: u32) -> Flow {
    (flow.tgid, flow.tid, flow.process_start, flow.claimed) = (pid, pid, START, 1);
    flow.header.flags = 0;
    flow
}

pub fn ended(mut flow: Flow, time: u64) -> Flow {
    flow.header.kind = ENDED;
    flow.header.time = time;
    (flow.ended, flow.reason) = (time, 1);
    flow
}

pub fn claim(kind: u16, flow: u64, sock: u64, pid: u32, time: u64) -> Claim {
    Claim {
        header: Header { time, mask: 1, size: size_of::<Claim>() as u32, kind, flags: 0 },
        flow,
        sock,
        process_start: START,
        tgid: pid,
        tid: pid,
        ..Claim::default()
    }
}

pub fn exec(kind: u16, pid: u32, ppid: u32, start: u64, time: u64) -> Exec {
    let mut exec = Exec {
        header: Header { time, mask: 1, size: size_of::<Exec>() as u32, kind, flags: 0 },
        start,
        tgid: pid,
        tid: pid,
        ppid,
        ns_net: 0xf000_0000,
        ..Exec::default()
    };
    exec.comm[..6].copy_from_slice(b"worker");
    exec
}

/// An exec record whole: the fixed part, executable, working directory, cgroup, arguments.
pub fn exec_with_data(mut exec: Exec, into: &mut Vec<u8>) {
    let parts: [&[u8]; 4] = [b"worker\0bin\0usr\0/\0", b"tmp\0/\0", CGROUP, b"worker\0--number=23\0/srv/data\0"];
    let [exe, cwd, cgroup, args] = parts.map(|part| part.len() as u16);
    (exec.exe_len, exec.cwd_len, exec.cgroup_len, exec.args_len) = (exe, cwd, cgroup, args);
    exec.args_size = args.into();
    into.clear();
    into.extend_from_slice(abi::bytes(&exec));
    parts.iter().for_each(|part| into.extend_from_slice(part));
}

const CGROUP: &[u8] =
    b"cri-containerd-4c01db0b339c0a5b9a4d0f7ad2b8a0b4a0a6a2f4f0d4a8e6b2c0d1e3f5a7b9c1.scope\0kubepods.slice\0/\0";

pub const FIRST_PID: u32 = 10_000;
pub const START: u64 = 5_000_000_000;
pub const SECOND: u64 = 1_000_000_000;
// Kinds of include/tawon/flows.h and include/tawon/exec.h.
pub const CONNECTED: u16 = 1;
pub const ARRIVED: u16 = 2;
pub const CLAIMED: u16 = 3;
pub const ENDED: u16 = 4;
pub const DATAGRAM: u16 = 5;
pub const RELEASED: u16 = 6;
pub const LISTENING: u16 = 7;
pub const UNLISTENED: u16 = 8;
pub const FORK: u16 = 1;
pub const EXEC: u16 = 2;
pub const EXIT: u16 = 3;
pub const RENAME: u16 = 4;
pub const THREAD: u16 = 5;
pub const THREAD_EXIT: u16 = 6;
const INBOUND: u8 = 2;
const PENDING: u16 = 1;
