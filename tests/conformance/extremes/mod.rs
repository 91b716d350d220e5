//! What gets in that nobody means well with: every length field at its extremes, lists that claim more
//! than there is, groups that are empty or nest in themselves, names that compress in circles, bytes
//! behind the end, two messages in one datagram. Each is counted by its right status, once.

mod dns;
mod ecpri;
mod headers;
mod pfcp;
mod tls;

use tawon::task::Value;
use tawon::task::record::Chunk;

use crate::support::chunk::chunk;
use crate::support::tasks::Run;

/// ok, truncated, malformed, unsupported, not_matching.
type Counts = [u64; 5];

const OK: Counts = [1, 0, 0, 0, 0];
const TRUNCATED: Counts = [0, 1, 0, 0, 0];
const MALFORMED: Counts = [0, 0, 1, 0, 0];
const UNSUPPORTED: Counts = [0, 0, 0, 1, 0];
const NOT_MATCHING: Counts = [0, 0, 0, 0, 1];

/// Where a length stands, in how many bytes, and what it is where nothing is wrong.
#[derive(Clone, Copy, Debug)]
struct Length {
    at: usize,
    width: usize,
}

impl Length {
    const fn new(at: usize, width: usize) -> Length {
        Length { at, width }
    }

    fn of(self, bytes: &[u8]) -> u64 {
        bytes[self.at..self.at + self.width].iter().fold(0, |value, byte| value << 8 | u64::from(*byte))
    }

    fn max(self) -> u64 {
        u64::MAX >> (64 - 8 * self.width)
    }

    /// The bytes with this length in place.
    fn set(self, bytes: &[u8], value: u64) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        bytes[self.at..self.at + self.width].copy_from_slice(&value.to_be_bytes()[8 - self.width..]);
        bytes
    }

    /// All that is more than the right value.
    fn too_long(self, bytes: &[u8]) -> Vec<u64> {
        let right = self.of(bytes);
        let mut values =
            vec![right + 1, right + 2, right + 4, self.max() / 2, self.max() / 2 + 1, self.max() - 1, self.max()];
        values.retain(|value| (right + 1..=self.max()).contains(value));
        values
    }

    /// All that is less than the right value.
    fn too_short(self, bytes: &[u8]) -> impl Iterator<Item = u64> {
        0..self.of(bytes)
    }
}

/// What a task makes of something.
struct Made {
    counts: Counts,
    records: Vec<serde_json::Value>,
}

/// One task that takes one thing after the other. Each comes on a flow of its own.
struct Probe {
    run: Run,
    task: &'static str,
    flow: u64,
}

impl Probe {
    fn new(task: &'static str, port: u16) -> Probe {
        let option = if task == "ecpri" { "udpPorts" } else { "ports" };
        Probe { run: Run::new(task, task == "headers", &[(option, Value::Ports(vec![port]))]), task, flow: 0 }
    }

    /// Feeds the task; what it counted and told for that.
    fn make(&mut self, feed: impl FnOnce(&mut Run, u64)) -> Made {
        let before = self.counts();
        self.flow += 1;
        feed(&mut self.run, self.flow);
        let after = self.counts();
        Made { counts: std::array::from_fn(|at| after[at] - before[at]), records: self.run.drain() }
    }

    /// One datagram of a port, of which the capture kept `keep` bytes.
    fn datagram(&mut self, port: u16, bytes: &[u8], keep: usize) -> Made {
        self.make(|run, flow| run.chunk(&Chunk { length: bytes.len() as u64, ..chunk(flow, 17, port, &bytes[..keep]) }))
    }

    fn counts(&self) -> Counts {
        STATUSES.map(|status| match (self.task, status) {
            // Its counter is shared with other tasks, and has `other` for what it does not know.
            ("headers", "not_matching") => self.run.count("tawon_frames_total", &["headers", "other"]),
            ("headers", "unsupported") => 0,
            ("headers", _) => self.run.count("tawon_frames_total", &["headers", status]),
            ("dns", _) => self.run.count("tawon_dns_parse_total", &[status]),
            (task, _) => self.run.count(&format!("{task}_parse_total"), &[status]),
        })
    }
}

const STATUSES: [&str; 5] = ["ok", "truncated", "malformed", "unsupported", "not_matching"];
