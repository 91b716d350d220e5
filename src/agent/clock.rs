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
        if self.is_off(mono, wall) {
            // Or this thread was kept waiting between the two, which must not become the records' time.
            let now = together(syscalls::clock);
            if self.is_off(now.mono, now.wall) {
                self.offsets =
                    Offsets { monotonic: now.wall.wrapping_sub(now.mono), boottime: now.wall.wrapping_sub(now.boot) };
            }
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

    fn is_off(&self, mono: u64, wall: u64) -> bool {
        wall.wrapping_sub(mono).abs_diff(self.offsets.monotonic) > TOLERANCE
    }
}

/// The clocks at one moment.
struct Moment {
    mono: u64,
    wall: u64,
    boot: u64,
}

/// Reads them until nothing came between, or the least of what did in so many tries.
fn together(clock: impl Fn(libc::clockid_t) -> u64) -> Moment {
    let mut best: Option<(u64, Moment)> = None;
    for _ in 0..TRIES {
        let before = clock(libc::CLOCK_MONOTONIC);
        let (wall, boot) = (clock(libc::CLOCK_REALTIME), clock(libc::CLOCK_BOOTTIME));
        let took = clock(libc::CLOCK_MONOTONIC).saturating_sub(before);
        if best.as_ref().is_none_or(|(least, _)| took < *least) {
            best = Some((took, Moment { mono: before + took / 2, wall, boot }));
        }
        if took <= AT_ONCE {
            break;
        }
    }
    best.map_or(Moment { mono: 0, wall: 0, boot: 0 }, |(_, moment)| moment)
}

/// Nanoseconds by which the wall clock may drift from the monotonic one before it counts as set.
const TOLERANCE: u64 = 1_000_000;
/// Nanoseconds that four readings take where nothing comes between.
const AT_ONCE: u64 = 2_000;
const TRIES: usize = 20;

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_wait_between_two_clocks_does_not_become_a_difference_of_them() {
        const WALL: u64 = 1_800_000_000_000_000_000;
        const BOOT: u64 = 7_000_000_000;
        // After each of the first readings the thread has to wait, last for nothing.
        for waits in 0..8 {
            let (time, read) = (Cell::new(1_000_000_000), Cell::new(0));
            let moment = together(|id| {
                let now = time.get();
                read.set(read.get() + 1);
                time.set(now + if read.get() <= waits { 900_000 } else { 100 });
                match id {
                    libc::CLOCK_REALTIME => WALL + now,
                    libc::CLOCK_BOOTTIME => BOOT + now,
                    _ => now,
                }
            });
            assert!((moment.wall - moment.mono).abs_diff(WALL) < 1_000, "{waits}");
            assert!((moment.boot - moment.mono).abs_diff(BOOT) < 1_000, "{waits}");
        }
    }
}
