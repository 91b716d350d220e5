//! Raw system calls that neither std nor a given crate offers.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;

/// Nanoseconds of a clock: CLOCK_MONOTONIC, CLOCK_BOOTTIME, CLOCK_REALTIME.
pub fn clock(id: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes one timespec. The three clocks always exist.
    unsafe { libc::clock_gettime(id, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// The number of CPUs that the kernel may ever bring up, and those that are up now.
pub fn cpus() -> io::Result<(usize, Vec<u32>)> {
    let possible = cpu_list(&std::fs::read_to_string("/sys/devices/system/cpu/possible")?);
    let online = cpu_list(&std::fs::read_to_string("/sys/devices/system/cpu/online")?);
    Ok((possible.last().map_or(1, |&last| last as usize + 1), online))
}

fn cpu_list(text: &str) -> Vec<u32> {
    let range = |part: &str| {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        Some(from.trim().parse::<u32>().ok()?..=to.trim().parse::<u32>().ok()?)
    };
    text.split(',').filter_map(range).flatten().collect()
}

/// This thread gets a CPU behind the others of the process.
pub fn give_way() {
    // SAFETY: changes the priority of the calling thread alone, and takes no memory. Lowering is always allowed.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 10) };
}

/// Opens the descriptor through which a BPF program's bpf_perf_event_output reaches us on one CPU.
/// It becomes readable once `wakeup` records wait.
pub fn open_bpf_output(cpu: u32, wakeup: u32) -> io::Result<OwnedFd> {
    // SAFETY: all zeros is a perf_event_attr.
    let mut attr: PerfEventAttr = unsafe { std::mem::zeroed() };
    attr.kind = 1; // PERF_TYPE_SOFTWARE
    attr.size = size_of::<PerfEventAttr>() as u32;
    attr.config = 10; // PERF_COUNT_SW_BPF_OUTPUT
    attr.sample_type = 1 << 10; // PERF_SAMPLE_RAW
    attr.sample_period = 1;
    attr.wakeup_events = wakeup;
    let (any_process, no_group, cloexec) = (-1, -1, 8);
    // SAFETY: the kernel reads attr.size bytes of attr.
    let fd =
        unsafe { libc::syscall(libc::SYS_perf_event_open, &attr, any_process, cpu as libc::c_int, no_group, cloexec) };
    let fd = owned(fd)?;
    // SAFETY: PERF_EVENT_IOC_ENABLE takes no memory.
    if unsafe { libc::ioctl(fd.as_raw_fd(), 0x2400, 0) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(fd)
}

/// The first 64 bytes of the kernel's struct (PERF_ATTR_SIZE_VER0): all that is set here.
#[repr(C)]
struct PerfEventAttr {
    kind: u32,
    size: u32,
    config: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup_events: u32,
    bp_type: u32,
    config1: u64,
}

/// Shared memory of a descriptor, unmapped when dropped.
pub struct Mapping {
    at: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping is process-wide memory; who may touch it when is the owner's business.
unsafe impl Send for Mapping {}

impl Mapping {
    pub fn new(fd: BorrowedFd<'_>, len: usize, offset: i64, writable: bool) -> io::Result<Mapping> {
        let protection = if writable { libc::PROT_READ | libc::PROT_WRITE } else { libc::PROT_READ };
        // SAFETY: a new mapping at a place that the kernel chooses.
        let at = unsafe { libc::mmap(std::ptr::null_mut(), len, protection, libc::MAP_SHARED, fd.as_raw_fd(), offset) };
        match NonNull::new(at.cast::<u8>()) {
            Some(at) if at.as_ptr().cast() != libc::MAP_FAILED => Ok(Mapping { at, len }),
            _ => Err(io::Error::last_os_error()),
        }
    }

    pub fn at(&self) -> *mut u8 {
        self.at.as_ptr()
    }

    #[allow(clippy::len_without_is_empty)] // a mapping never is
    pub fn len(&self) -> usize {
        self.len
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: this is the mapping that `new` made, and nobody keeps a pointer into it past us.
        unsafe { libc::munmap(self.at.as_ptr().cast(), self.len) };
    }
}

fn owned(fd: libc::c_long) -> io::Result<OwnedFd> {
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the system call has just given us this descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as libc::c_int) })
}
