//! What is known of processes: who they are, in which container and pod, and which directives want them.

pub mod cgroup;
pub mod metadata;
pub mod scan;
pub mod table;
pub mod watch;

use std::rc::Rc;

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
    pub cwd: Vec<u8>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub namespaces: Option<Namespaces>,
    pub caps: Option<Caps>,
    pub container: Option<Rc<Container>>,
    pub pod: Option<Rc<Pod>>,
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

    /// argv, argument by argument.
    pub fn args(&self) -> impl Iterator<Item = &[u8]> {
        self.cmd.strip_suffix(b"\0").unwrap_or(&self.cmd).split(|&byte| byte == 0).filter(|_| !self.cmd.is_empty())
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
