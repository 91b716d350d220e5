//! The only reader of clocks.

use super::directive::Now;
use crate::kernel::syscalls;
use crate::time::{Instant, Offsets, Timestamp};

/// Reads the clocks once per turn of the loop.
#[derive(Default)]
pub struct Clock {
    offsets: Offsets,
}

impl Clock {
    /// The present. What turns the kernel's clocks into wall-clock time moves with it only when the wall
    /// clock was set, or drifted by more than can be told apart: records keep one time base meanwhile.
    pub fn read(&mut self) -> Now {
        let mono = syscalls::clock(libc::CLOCK_MONOTONIC);
        let wall = syscalls::clock(libc::CLOCK_REALTIME);
        let measured = wall.wrapping_sub(mono);
        if measured.abs_diff(self.offsets.monotonic) > TOLERANCE {
            let boot = syscalls::clock(libc::CLOCK_BOOTTIME);
            self.offsets = Offsets { monotonic: measured, boottime: wall.wrapping_sub(boot) };
        }
        Now { wall: Timestamp(wall), mono: Instant(mono) }
    }

    pub fn offsets(&self) -> Offsets {
        self.offsets
    }

    /// Nanoseconds of CLOCK_BOOTTIME, on which processes start.
    pub fn boottime(&self) -> u64 {
        syscalls::clock(libc::CLOCK_BOOTTIME)
    }
}

/// Nanoseconds by which the wall clock may drift from the monotonic one before it counts as set.
const TOLERANCE: u64 = 1_000_000;
