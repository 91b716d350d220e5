//! The watch map as user space writes it: which directives want which process.

use libbpf_rs::{MapCore, MapFlags, MapHandle};

use super::abi;
use super::load::Module;
use super::map;

/// The two maps that all modules share.
pub struct WatchMap {
    watched: MapHandle,
    fallback: MapHandle,
}

impl WatchMap {
    pub fn of(module: &Module) -> Option<WatchMap> {
        Some(WatchMap { watched: module.map("tawon_watched")?, fallback: module.map("tawon_default")? })
    }

    /// What processes without an entry, and those to come, begin with.
    pub fn set_default(&self, masks: [u64; SOURCES], conditions: bool) -> Result<(), libbpf_rs::Error> {
        let flags = if conditions { CONDITIONS } else { 0 };
        let watch = abi::Watch { mask: masks, flags, ..Default::default() };
        self.fallback.update(&0u32.to_ne_bytes(), abi::bytes(&watch), MapFlags::ANY)
    }

    /// Writes what was decided for a process as of its `execs`-th exec. Leaves alone an entry that is of
    /// another process, or that has exec'd since: that one is pending and will be decided again.
    pub fn decide(&self, pid: u32, start: u64, execs: Option<u32>, masks: [u64; SOURCES]) {
        let key = pid.to_ne_bytes();
        let Some(mut watch) = map::lookup::<abi::Watch>(&self.watched, &key) else { return };
        if watch.start / TICK != start / TICK || execs.is_some_and(|execs| execs != watch.execs) {
            return;
        }
        if watch.mask == masks && watch.flags & PENDING == 0 {
            return;
        }
        watch.mask = masks;
        watch.flags &= !PENDING;
        // The process may have ended since: an entry that is gone stays gone.
        let _ = self.watched.update(&key, abi::bytes(&watch), MapFlags::EXIST);
    }

    /// Removes the entry of a process that ended without our being told.
    pub fn forget(&self, pid: u32) {
        let _ = self.watched.delete(&pid.to_ne_bytes());
    }
}

/// The number of sources that have a mask.
pub const SOURCES: usize = 5;
pub const PENDING: u32 = 1;
const CONDITIONS: u32 = 2;
/// Start times are compared as /proc/PID/stat gives them: in ticks of 10 ms.
pub const TICK: u64 = 10_000_000;
