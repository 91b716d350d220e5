//! What is known of processes: who they are, in which container and pod, and which directives want them.

pub mod cgroup;
pub mod containers;
pub mod metadata;
pub mod redact;
pub mod scan;
pub mod table;
pub mod watch;

use std::rc::Rc;
use std::sync::Arc;

use watch::UNDECIDED;

use crate::flow::table::Id;

/// Everything that sources share of processes.
pub struct Processes {
    pub table: table::Table,
    pub watchers: watch::Watchers,
    pub containers: containers::Containers,
    pub redaction: redact::Redaction,
    /// What was decided and the kernel has not been told yet.
    pub decisions: Vec<Decision>,
    /// The slot of the table that is next to be decided for; None where all are.
    deciding: Option<usize>,
}

/// What the watch map is to hold of a process.
#[derive(Clone, Copy, Debug)]
pub struct Decision {
    pub pid: u32,
    pub start: u64,
    /// The exec that it was decided for; None where that does not matter.
    pub execs: Option<u32>,
    pub masks: watch::Masks,
}

impl Processes {
    /// `limit` processes at most.
    pub fn new(limit: usize) -> Processes {
        Processes {
            table: table::Table::new(limit),
            watchers: watch::Watchers::default(),
            containers: containers::Containers::default(),
            redaction: redact::Redaction::default(),
            decisions: Vec::new(),
            deciding: None,
        }
    }

    /// Nothing is known of processes any more; watchers and redaction stay.
    pub fn emptied(self) -> Processes {
        let limit = self.table.limit();
        Processes { watchers: self.watchers, redaction: self.redaction, ..Processes::new(limit) }
    }

    /// A directive has come or gone: who is wanted is decided anew, by `decide_slot` for every process that is
    /// there, or before that wherever it is asked.
    pub fn decide_anew(&mut self) {
        self.deciding = Some(0);
    }

    /// Whether there may be processes that are not decided for yet.
    #[inline]
    pub fn is_deciding(&self) -> bool {
        self.deciding.is_some()
    }

    /// Goes on to the next slot of the table and decides for the process there. None behind the last.
    pub fn decide_next(&mut self) -> Option<Decided> {
        let slot = self.deciding?;
        if slot >= self.table.slots() {
            self.deciding = None;
            return None;
        }
        self.deciding = Some(slot + 1);
        let entry = self.table.in_slot(slot);
        Some(entry.map_or(Decided::Before, |entry| decide(entry, &self.watchers, &mut self.decisions)))
    }

    /// Decides for the process that has this pid now.
    pub fn decide_for(&mut self, pid: u32) -> Decided {
        let entry = self.table.find_any(pid);
        entry.map_or(Decided::Before, |entry| decide(entry, &self.watchers, &mut self.decisions))
    }

    /// Puts in a process that /proc told of, unless the kernel has told of it meanwhile. Nothing is decided yet.
    pub fn insert_scanned(&mut self, scanned: scan::Scanned, times: crate::time::Offsets) {
        let mut process = scanned.process;
        if self.table.find(process.pid, None).is_some() {
            return;
        }
        process.started_at = times.wall_of_start(process.start).0;
        let (container, pod) = self.containers.find_path(&scanned.cgroup);
        (process.container, process.pod) = (container, pod);
        self.redaction.apply(&mut process);
        let masks = watch::Masks::default();
        let (process, round, threads) = (process.into(), UNDECIDED, Id::NOWHERE);
        self.table.insert(table::Entry { process, round, execs: 0, masks, told: 0, threads, existing: true });
    }
}

/// What deciding for a process found.
pub enum Decided {
    /// There is none, or it had been decided for.
    Before,
    /// It had last been decided for in this round.
    Now(Rc<Process>, u32, watch::Masks),
}

/// Decides for a process, where that was not done since directives came or went.
fn decide(entry: &mut table::Entry, watchers: &watch::Watchers, decisions: &mut Vec<Decision>) -> Decided {
    let before = entry.round;
    if before == watchers.round() {
        return Decided::Before;
    }
    entry.round = watchers.round();
    entry.told &= watchers.still(before);
    let masks = watchers.decide_on(&entry.process, entry.told);
    if masks != entry.masks || before == UNDECIDED {
        entry.masks = masks;
        let Process { pid, start, .. } = *entry.process;
        decisions.push(Decision { pid, start, execs: None, masks });
    }
    Decided::Now(entry.process.clone(), before, masks)
}

/// A process (thread group). Its identity is pid and start time together, since pids are used again.
/// Byte fields are empty, and options None, where the value is unknown.
#[derive(Clone, Default, Debug)]
pub struct Process {
    /// The thread group's id in the first pid namespace.
    pub pid: u32,
    pub ppid: u32,
    /// Nanoseconds of CLOCK_BOOTTIME, cut to clock ticks as in /proc/PID/stat.
    pub start: u64,
    /// The same as wall-clock nanoseconds since the epoch.
    pub started_at: u64,
    /// comm: at most 15 bytes.
    pub name: Vec<u8>,
    /// The executable's path as the process sees it.
    pub exe: Vec<u8>,
    /// argv, each argument ended by a zero byte.
    pub cmd: Vec<u8>,
    /// Whether `cmd` is only the first 4 KiB.
    pub cmd_truncated: bool,
    /// `cmd` as it is shown, where something in it was redacted; else empty.
    pub cmd_redacted: Vec<u8>,
    pub cwd: Vec<u8>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub namespaces: Option<Namespaces>,
    pub caps: Option<Caps>,
    pub container: Option<Arc<Container>>,
    pub pod: Option<Arc<Pod>>,
}

impl Process {
    /// Makes it blank and keeps its buffers.
    pub fn clear(&mut self) {
        let Process { name, exe, cmd, cwd, .. } = std::mem::take(self);
        for (to, mut from) in [(&mut self.name, name), (&mut self.exe, exe), (&mut self.cmd, cmd), (&mut self.cwd, cwd)]
        {
            from.clear();
            *to = from;
        }
    }

    /// Becomes a copy of `other`, without allocating where the buffers are large enough.
    pub fn copy_from(&mut self, other: &Process) {
        self.clear();
        self.name.extend_from_slice(&other.name);
        self.exe.extend_from_slice(&other.exe);
        self.cmd.extend_from_slice(&other.cmd);
        self.cmd_redacted.extend_from_slice(&other.cmd_redacted);
        self.cwd.extend_from_slice(&other.cwd);
        self.pid = other.pid;
        self.ppid = other.ppid;
        self.start = other.start;
        self.started_at = other.started_at;
        self.cmd_truncated = other.cmd_truncated;
        self.uid = other.uid;
        self.gid = other.gid;
        self.namespaces = other.namespaces;
        self.caps = other.caps;
        self.container.clone_from(&other.container);
        self.pod.clone_from(&other.pod);
    }

    /// argv, argument by argument, as it may be shown.
    pub fn args(&self) -> impl Iterator<Item = &[u8]> {
        let cmd = if self.cmd_redacted.is_empty() { &self.cmd } else { &self.cmd_redacted };
        cmd.strip_suffix(b"\0").unwrap_or(cmd).split(|&byte| byte == 0).filter(|_| !cmd.is_empty())
    }
}

/// Inode numbers of a process's namespaces.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, serde::Serialize, schemars::JsonSchema)]
pub struct Namespaces {
    pub pid: u32,
    pub net: u32,
    pub mnt: u32,
    pub user: u32,
    pub uts: u32,
    pub ipc: u32,
    pub cgroup: u32,
}

/// Capability sets as bit masks, written as hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Caps {
    pub effective: u64,
    pub permitted: u64,
}

/// A container, by its cgroup path; name, image and labels come from the API server.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Container {
    pub id: String,
    pub name: Option<String>,
    pub image: Option<String>,
    pub labels: Vec<(String, String)>,
}

/// A pod, by its cgroup path; all but the uid comes from the API server.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Pod {
    /// The pod's uid.
    pub id: String,
    pub name: Option<String>,
    pub namespace: Option<String>,
    pub node: Option<String>,
    pub labels: Vec<(String, String)>,
}
