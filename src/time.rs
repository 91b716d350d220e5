//! The two times that everything carries: `Instant`, the kernel's monotonic clock, for order and
//! time-outs; `Timestamp`, the wall clock, for records. Neither reads a clock: `agent::clock` does.

use std::time::Duration;

/// Nanoseconds of CLOCK_MONOTONIC, or of a capture file's own time when a file is replayed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Instant(pub u64);

impl Instant {
    /// How long after `earlier` this is; zero when it is not after it.
    pub fn since(self, earlier: Instant) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl std::ops::Add<Duration> for Instant {
    type Output = Instant;

    fn add(self, by: Duration) -> Instant {
        Instant(self.0.saturating_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// Nanoseconds since the Unix epoch, UTC.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// Writes RFC 3339 with nanoseconds in UTC, `2026-11-22T16:00:00.000000000Z`, without allocating.
    pub fn rfc3339(self, out: &mut dyn std::fmt::Write) {
        let (days, secs) = ((self.0 / NANOS / 86_400) as i64, self.0 / NANOS % 86_400);
        let (year, month, day) = civil(days);
        // Writing into a buffer in memory cannot fail.
        let _ = write!(
            out,
            "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:09}Z",
            secs / 3600,
            secs / 60 % 60,
            secs % 60,
            self.0 % NANOS
        );
    }
}

impl Timestamp {
    /// Appends the same to a buffer, without the machinery of formats: records have several.
    pub fn write(self, out: &mut Vec<u8>) {
        let (days, secs) = ((self.0 / NANOS / 86_400) as i64, self.0 / NANOS % 86_400);
        let (year, month, day) = civil(days);
        let mut text = *b"0000-00-00T00:00:00.000000000Z";
        let year = year.unsigned_abs() % 10_000;
        let nanos = self.0 % NANOS;
        let mut pair = |at: usize, value: u64| text[at..at + 2].copy_from_slice(&PAIRS[value as usize % 100]);
        pair(0, year / 100);
        pair(2, year % 100);
        pair(5, month.into());
        pair(8, day.into());
        pair(11, secs / 3600);
        pair(14, secs / 60 % 60);
        pair(17, secs % 60);
        pair(20, nanos / 10_000_000);
        pair(22, nanos / 100_000 % 100);
        pair(24, nanos / 1000 % 100);
        pair(26, nanos / 10 % 100);
        text[28] = b'0' + (nanos % 10) as u8;
        out.extend_from_slice(&text);
    }
}

impl std::fmt::Display for Timestamp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.rfc3339(f);
        Ok(())
    }
}

impl serde::Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl schemars::JsonSchema for Timestamp {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Timestamp".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "format": "date-time"})
    }
}

/// What turns the kernel's clocks into wall-clock time; measured anew when the wall clock is set.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Offsets {
    /// CLOCK_REALTIME less CLOCK_MONOTONIC, nanoseconds.
    pub monotonic: u64,
    /// CLOCK_REALTIME less CLOCK_BOOTTIME, nanoseconds.
    pub boottime: u64,
}

impl Offsets {
    /// Of nanoseconds of CLOCK_MONOTONIC.
    pub fn wall(self, monotonic: u64) -> Timestamp {
        Timestamp(monotonic.wrapping_add(self.monotonic))
    }

    /// Of nanoseconds of CLOCK_BOOTTIME: when a process started.
    pub fn wall_of_start(self, boottime: u64) -> Timestamp {
        Timestamp(boottime.wrapping_add(self.boottime))
    }
}

/// Days since the epoch to year, month, day of the proleptic Gregorian calendar.
fn civil(days: i64) -> (i64, u32, u32) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let mp = (5 * day_of_year + 2) / 153;
    let day = (day_of_year - (153 * mp + 2) / 5 + 1) as u32;
    let month = if mp < 10 { mp + 3 } else { mp - 9 } as u32;
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

const NANOS: u64 = 1_000_000_000;
/// 00 to 99 in digits.
pub static PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[0; 2]; 100];
    let mut at = 0;
    while at < 100 {
        pairs[at] = [b'0' + (at / 10) as u8, b'0' + (at % 10) as u8];
        at += 1;
    }
    pairs
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_written_as_rfc3339_with_nanoseconds() {
        for (ns, text) in [
            (0, "1970-01-01T00:00:00.000000000Z"),
            (951_782_400_000_000_001, "2000-02-29T00:00:00.000000001Z"),
            (1_795_363_199_123_456_789, "2026-11-22T15:59:59.123456789Z"),
            (4_107_542_400_000_000_000, "2100-03-01T00:00:00.000000000Z"),
        ] {
            assert_eq!(Timestamp(ns).to_string(), text);
            let mut out = Vec::new();
            Timestamp(ns).write(&mut out);
            assert_eq!(out, text.as_bytes());
        }
    }
}
