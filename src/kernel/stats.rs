//! What the kernel counts: our per-CPU counters, and the run statistics of programs.

use std::io;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};

use libbpf_rs::MapHandle;

use super::map;

/// `run_cnt` and `run_time_ns` of a program, both since it was loaded.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Runs {
    pub id: u32,
    pub count: u64,
    pub nanoseconds: u64,
    /// Runs that the kernel left out since the program was running on that CPU already (5.12+).
    pub misses: u64,
}

/// Asks the kernel for a program's statistics.
pub fn runs(program: RawFd) -> io::Result<Runs> {
    let mut info = libbpf_sys::bpf_prog_info::default();
    let mut len = size_of::<libbpf_sys::bpf_prog_info>() as u32;
    // SAFETY: the kernel writes at most `len` bytes of info, whose pointers are all null.
    let error = unsafe { libbpf_sys::bpf_obj_get_info_by_fd(program, (&raw mut info).cast(), &mut len) };
    if error != 0 {
        return Err(io::Error::from_raw_os_error(-error));
    }
    Ok(Runs { id: info.id, count: info.run_cnt, nanoseconds: info.run_time_ns, misses: info.recursion_misses })
}

/// While it is held the kernel keeps run statistics, whatever the sysctl says.
pub fn enable() -> io::Result<OwnedFd> {
    // SAFETY: makes a descriptor or fails; takes no memory of ours.
    let fd = unsafe { libbpf_sys::bpf_enable_stats(libbpf_sys::BPF_STATS_RUN_TIME) };
    if fd < 0 {
        return Err(io::Error::from_raw_os_error(-fd));
    }
    // SAFETY: the call has just given us this descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A module's counters: bpf/lib/maps.bpf.h says what stands where.
pub struct Counts {
    map: MapHandle,
    /// What each CPU had counted when `read` looked, one after the other.
    values: Vec<u64>,
    of_one: usize,
}

impl Counts {
    pub fn new(map: MapHandle) -> io::Result<Counts> {
        let (of_one, all) = map::per_cpu_length(&map)?;
        Ok(Counts { map, values: vec![0; all], of_one })
    }

    /// Looks what the counters are now: one system call for all of them.
    pub fn read(&mut self) {
        if let Err(error) = map::per_cpu(&self.map, &mut self.values) {
            log::debug!("the counters of a module cannot be read error={error}");
        }
    }

    /// Records of this kind that were handed over or found no room.
    pub fn produced(&self, kind: u16) -> u64 {
        self.sum(usize::from(kind))
    }

    /// Of those, the ones that found no room.
    pub fn lost(&self, kind: u16) -> u64 {
        self.sum(16 + usize::from(kind))
    }

    /// How often the error of this number happened.
    pub fn error(&self, number: u32) -> u64 {
        self.sum(32 + number as usize)
    }

    /// How often the second of this pair of programs ran for what the first was left out of.
    pub fn again(&self, pair: u32) -> u64 {
        self.sum(56 + pair as usize)
    }

    fn sum(&self, slot: usize) -> u64 {
        self.values.chunks_exact(self.of_one).filter_map(|of_cpu| of_cpu.get(slot)).sum()
    }
}

/// A copy of a descriptor, so that a program's statistics can be read whoever holds the module.
pub fn duplicate(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    fd.try_clone_to_owned()
}
