//! What exec records tell of a process: in their fixed part, and behind it in parts of the lengths that stand there, some
//! of them paths.

use crate::kernel::abi;
use crate::process::{Caps, Namespaces, Process};
use crate::time::Offsets;

/// The parts, one after the other.
pub(super) struct Parts<'a>(pub &'a [u8]);

impl<'a> Parts<'a> {
    pub fn take(&mut self, len: u16) -> &'a [u8] {
        let (part, rest) = self.0.split_at_checked(len.into()).unwrap_or((self.0, &[]));
        self.0 = rest;
        part
    }
}

/// Components, innermost first, each ended by a zero byte, to a path. Nothing where the last is not the root directory,
/// whose own name is a slash: what is left of a path that was cut would be another path.
pub(super) fn put_path(to: &mut Vec<u8>, components: &[u8]) {
    to.clear();
    let Some(components) = components.strip_suffix(b"\0") else { return };
    let mut components = components.rsplit(|&byte| byte == 0);
    if components.next() != Some(b"/") {
        return;
    }
    for component in components {
        if component != b"/" {
            to.push(b'/');
            to.extend_from_slice(component);
        }
    }
    if to.is_empty() {
        to.push(b'/');
    }
}

/// What every record of the kernel side tells of its process.
pub(super) fn describe(process: &mut Process, exec: &abi::Exec, offsets: Offsets) {
    process.pid = exec.tgid;
    process.ppid = exec.ppid;
    process.start = exec.start;
    process.started_at = offsets.wall_of_start(exec.start).0;
    process.uid = Some(exec.uid);
    process.gid = Some(exec.gid);
    put_name(&mut process.name, &exec.comm);
    if matches!(exec.header.kind, FORK | EXEC) {
        process.caps = Some(Caps { effective: exec.caps_effective, permitted: exec.caps_permitted });
        process.namespaces = (exec.ns_net != 0).then_some(Namespaces {
            pid: exec.ns_pid,
            net: exec.ns_net,
            mnt: exec.ns_mnt,
            user: exec.ns_user,
            uts: exec.ns_uts,
            ipc: exec.ns_ipc,
            cgroup: exec.ns_cgroup,
        });
    }
}

pub(super) fn put_name(to: &mut Vec<u8>, comm: &[u8; 16]) {
    to.clear();
    to.extend_from_slice(comm.split(|&byte| byte == 0).next().unwrap_or_default());
}

// Kinds of include/tawon/exec.h.
pub(super) const FORK: u16 = 1;
pub(super) const EXEC: u16 = 2;
pub(super) const EXIT: u16 = 3;
pub(super) const RENAME: u16 = 4;
pub(super) const THREAD: u16 = 5;
pub(super) const THREAD_EXIT: u16 = 6;

/// A flag of include/tawon/record.h.
pub(super) const THREADS: u16 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_known_where_its_components_go_up_to_the_root() {
        for (components, path) in [
            (&b"true\0bin\0usr\0/\0"[..], &b"/usr/bin/true"[..]),
            (b"/\0", b"/"),
            (b"/\0/\0", b"/"),
            (b"memfd:x\0/\0", b"/memfd:x"),
            (b"true\0bin\0", b""),
            (b"true\0bin\0us", b""),
            (b"", b""),
        ] {
            let mut told = b"of another".to_vec();
            put_path(&mut told, components);
            assert_eq!(told.escape_ascii().to_string(), path.escape_ascii().to_string());
        }
    }
}
