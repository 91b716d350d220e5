//! `Fragments`: IPv4 (RFC 791) and IPv6 (RFC 8200 4.5) fragments put together, bounded in datagrams,
//! bytes and time. Fragments that overlap without being the same make the whole datagram go, as
//! RFC 5722 demands of IPv6 and as Linux does for both.

use std::hash::{Hash, Hasher};
use std::net::Ipv6Addr;
use std::time::Duration;

use crate::decode::ip::Fragment;
use crate::flow::table::Table;
use crate::time::Instant;

/// What the fragments of one datagram have in common.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FragmentKey {
    pub src: Ipv6Addr,
    pub dst: Ipv6Addr,
    /// 0 for IPv6, where the first fragment alone tells it (RFC 8200 4.5).
    pub protocol: u8,
    pub id: u32,
}

impl Hash for FragmentKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let mut bytes = [0; 40];
        bytes[..16].copy_from_slice(&self.src.octets());
        bytes[16..32].copy_from_slice(&self.dst.octets());
        bytes[32..36].copy_from_slice(&self.id.to_be_bytes());
        bytes[36] = self.protocol;
        state.write(&bytes);
    }
}

/// A datagram whose fragments have all come.
#[derive(Debug)]
pub struct Datagram {
    /// Of what the bytes begin with.
    pub protocol: u8,
    pub bytes: Vec<u8>,
}

/// What happened on the way, counted up.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counts {
    pub reassembled: u64,
    /// Fragments that came again.
    pub duplicates: u64,
    /// Datagrams dropped for fragments that overlap, end beyond 65 535 bytes or contradict each other.
    pub malformed: u64,
    /// Datagrams dropped since a fragment did not come in time.
    pub expired: u64,
    /// Datagrams dropped to make room.
    pub evicted: u64,
    /// Fragments that the capture cut.
    pub truncated: u64,
}

/// The datagrams that wait for fragments.
#[derive(Default)]
pub struct Fragments {
    waiting: Table<FragmentKey, Waiting>,
    bytes: usize,
    /// Buffers to use again.
    free: Vec<Vec<u8>>,
    pub counts: Counts,
}

struct Waiting {
    since: Instant,
    protocol: Option<u8>,
    bytes: Vec<u8>,
    /// What came, as (from, to), in order, never touching.
    ranges: Vec<(u32, u32)>,
    /// Length of the whole, once the last fragment came.
    length: Option<u32>,
}

impl Fragments {
    /// Takes one fragment; gives the datagram that it completes, whose buffer `recycle` takes back.
    /// `next` is the protocol of what stands behind the fragment header; `cut` whether the capture cut it.
    pub fn push(
        &mut self,
        key: FragmentKey,
        fragment: Fragment,
        next: u8,
        bytes: &[u8],
        cut: bool,
        at: Instant,
    ) -> Option<Datagram> {
        if cut {
            self.counts.truncated += 1;
            return None;
        }
        if self.waiting.get(&key).is_some_and(|waiting| at.since(waiting.since) >= LIFETIME) {
            self.counts.expired += 1;
            self.drop(&key);
        }
        if self.waiting.get(&key).is_none() {
            self.insert(key, at);
        }
        let waiting = self.waiting.get_mut(&key)?;
        let before = waiting.bytes.capacity();
        let taken = waiting.take(fragment, next, bytes);
        self.bytes += waiting.bytes.capacity() - before;
        match taken {
            Taken::Part => None,
            Taken::Again => {
                self.counts.duplicates += 1;
                None
            }
            Taken::Wrong => {
                self.counts.malformed += 1;
                self.drop(&key);
                None
            }
            Taken::Last => {
                let whole = self.waiting.remove(&key)?;
                self.bytes -= whole.bytes.capacity();
                self.counts.reassembled += 1;
                Some(Datagram { protocol: whole.protocol?, bytes: whole.bytes })
            }
        }
    }

    /// Takes a datagram's buffer back.
    pub fn recycle(&mut self, mut bytes: Vec<u8>) {
        if self.free.len() < FREE {
            bytes.clear();
            self.free.push(bytes);
        }
    }

    /// Drops what has waited for too long (RFC 8200 4.5: 60 s; Linux: 30 s).
    pub fn tick(&mut self, now: Instant) {
        while self.waiting.oldest(0).is_some_and(|(_, waiting)| now.since(waiting.since) >= LIFETIME) {
            self.counts.expired += 1;
            self.drop_oldest();
        }
    }

    /// Datagrams that wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Bytes that they take.
    pub fn bytes(&self) -> usize {
        self.bytes + self.waiting.len() * Table::<FragmentKey, Waiting>::ENTRY_BYTES
    }

    fn insert(&mut self, key: FragmentKey, at: Instant) {
        while self.waiting.len() >= DATAGRAMS || self.bytes > BYTES {
            self.counts.evicted += 1;
            self.drop_oldest();
        }
        let bytes = self.free.pop().unwrap_or_default();
        self.bytes += bytes.capacity();
        let waiting = Waiting { since: at, protocol: None, bytes, ranges: Vec::new(), length: None };
        self.waiting.insert(key, waiting, 0);
    }

    fn drop(&mut self, key: &FragmentKey) {
        if let Some(waiting) = self.waiting.remove(key) {
            self.bytes -= waiting.bytes.capacity();
            self.recycle(waiting.bytes);
        }
    }

    fn drop_oldest(&mut self) {
        if let Some(key) = self.waiting.oldest(0).map(|(key, _)| *key) {
            self.drop(&key);
        }
    }
}

enum Taken {
    Part,
    Again,
    Last,
    Wrong,
}

impl Waiting {
    fn take(&mut self, fragment: Fragment, next: u8, bytes: &[u8]) -> Taken {
        let (from, to) = (fragment.offset, fragment.offset + bytes.len() as u32);
        // all but the last carry a multiple of 8 bytes (RFC 791 3.2, RFC 8200 4.5)
        let misfit = fragment.more && (bytes.is_empty() || !bytes.len().is_multiple_of(8));
        let beyond = self.length.is_some_and(|length| to > length || (!fragment.more && to != length));
        let short = !fragment.more && self.ranges.last().is_some_and(|&(_, last)| last > to);
        if misfit || beyond || short || to > 65_535 {
            return Taken::Wrong;
        }
        let after = self.ranges.partition_point(|&(begin, _)| begin <= from);
        if let Some(&(begin, end)) = after.checked_sub(1).and_then(|at| self.ranges.get(at))
            && begin <= from
            && from < end
        {
            let same = self.bytes.get(from as usize..to as usize) == Some(bytes) && to <= end;
            return if same { Taken::Again } else { Taken::Wrong };
        }
        if self.ranges.get(after).is_some_and(|&(begin, _)| begin < to) || self.ranges.len() >= RANGES {
            return Taken::Wrong;
        }
        if fragment.offset == 0 {
            self.protocol = Some(next);
        }
        if !fragment.more {
            self.length = Some(to);
        }
        if self.bytes.len() < to as usize {
            self.bytes.resize(to as usize, 0);
        }
        if let Some(place) = self.bytes.get_mut(from as usize..to as usize) {
            place.copy_from_slice(bytes);
        }
        self.mark(after, from, to);
        match (self.length, self.ranges.as_slice()) {
            (Some(length), &[(0, end)]) if end == length => Taken::Last,
            _ => Taken::Part,
        }
    }

    /// Notes that a range has come, which stands before the range at `after` and overlaps none.
    fn mark(&mut self, after: usize, from: u32, to: u32) {
        let joins_next = self.ranges.get(after).is_some_and(|&(begin, _)| begin == to);
        let joins_before = after.checked_sub(1).and_then(|at| self.ranges.get(at)).is_some_and(|&(_, end)| end == from);
        match (joins_before, joins_next) {
            (true, true) => self.ranges[after - 1].1 = self.ranges.remove(after).1,
            (true, false) => self.ranges[after - 1].1 = to,
            (false, true) => self.ranges[after].0 = from,
            (false, false) => self.ranges.insert(after, (from, to)),
        }
    }
}

/// How long a datagram waits for its last fragment.
const LIFETIME: Duration = Duration::from_secs(30);
const DATAGRAMS: usize = 4096;
/// Of all buffers together.
const BYTES: usize = 8 << 20;
/// Holes of one datagram: far more than reordering makes.
const RANGES: usize = 1024;
/// Buffers kept for use again.
const FREE: usize = 16;
