//! The rings through which records reach us: a perf ring per CPU, or one BPF ring buffer where
//! perf_event_open is refused. Records are looked at where they lie: `collect` notes what has come,
//! `merge` puts the notes of all rings in order of time and reads each record by `bytes`, and
//! `release` gives the room back. Nothing is copied but a record that wraps around a ring's end.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

use super::syscalls::{self, Mapping};

/// Where one record lies, and when it was made.
#[derive(Clone, Copy, Debug)]
pub struct Note {
    /// Nanoseconds of CLOCK_MONOTONIC: the first field of every record.
    pub time: u64,
    /// Where its header stands, counted from the ring's beginning.
    pub position: u64,
    len: u32,
    /// What whoever takes the record made of it when it was noted: where to look for what is known of it.
    pub hint: u32,
}

/// How a source's records come.
pub enum Rings {
    Perf(Vec<PerfRing>),
    Buffer(Box<RingBuffer>),
}

impl Rings {
    /// One perf ring of `pages` pages for each CPU that is up, readable once `wakeup` records wait.
    pub fn perf(pages: u32, wakeup: u32) -> io::Result<Rings> {
        let (_, online) = syscalls::cpus()?;
        online.into_iter().map(|cpu| PerfRing::open(cpu, pages, wakeup)).collect::<io::Result<_>>().map(Rings::Perf)
    }

    /// The descriptors to wait for.
    pub fn descriptors(&self) -> Vec<RawFd> {
        match self {
            Rings::Perf(rings) => rings.iter().map(|ring| ring.fd.as_raw_fd()).collect(),
            Rings::Buffer(ring) => vec![ring.fd.as_raw_fd()],
        }
    }

    /// How many rings there are; the methods below take their numbers.
    pub fn count(&self) -> usize {
        match self {
            Rings::Perf(rings) => rings.len(),
            Rings::Buffer(_) => 1,
        }
    }

    /// Appends a note of each record of one ring that is older than `before`, at most `budget`, in
    /// order of time, with the hint that `hint` gives for its bytes. Says whether it had more.
    #[inline]
    pub fn collect(
        &mut self,
        ring: usize,
        before: u64,
        budget: usize,
        notes: &mut Vec<Note>,
        hint: impl FnMut(&[u8]) -> u32,
    ) -> bool {
        match self {
            Rings::Perf(rings) => rings.get_mut(ring).is_some_and(|ring| ring.collect(before, budget, notes, hint)),
            Rings::Buffer(ring) => ring.collect(before, budget, notes, hint),
        }
    }

    /// One ring, to read records of.
    #[inline]
    pub fn ring(&self, ring: usize) -> Ring<'_> {
        match self {
            Rings::Perf(rings) => rings.get(ring).map_or(Ring::None, Ring::Perf),
            Rings::Buffer(ring) => Ring::Buffer(ring),
        }
    }

    /// Takes back that a record, and what lies behind it, was collected: the next `collect` brings it again.
    pub fn hold(&mut self, ring: usize, note: &Note) {
        match self {
            Rings::Perf(rings) => {
                if let Some(ring) = rings.get_mut(ring) {
                    ring.next = ring.next.min(note.position);
                }
            }
            Rings::Buffer(ring) => ring.next = ring.next.min(note.position as usize),
        }
    }

    /// Gives the room of all collected records back to the kernel.
    pub fn release(&mut self) {
        match self {
            Rings::Perf(rings) => rings.iter_mut().for_each(PerfRing::release),
            Rings::Buffer(ring) => ring.release(),
        }
    }

    /// Records that the kernel says it lost; only compared with what is counted where outputs fail.
    pub fn lost(&self) -> u64 {
        match self {
            Rings::Perf(rings) => rings.iter().map(|ring| ring.lost).sum(),
            Rings::Buffer(_) => 0,
        }
    }
}

/// One of the rings, as long as nothing is released.
#[derive(Clone, Copy)]
pub enum Ring<'a> {
    None,
    Perf(&'a PerfRing),
    Buffer(&'a RingBuffer),
}

impl<'a> Ring<'a> {
    /// The record of a note that was collected from this ring since the last `release`.
    #[inline]
    pub fn bytes(self, note: &Note) -> &'a [u8] {
        match self {
            Ring::None => &[],
            Ring::Perf(ring) => ring.bytes(note),
            Ring::Buffer(ring) => ring.bytes(note),
        }
    }
}

/// One CPU's perf ring.
pub struct PerfRing {
    fd: OwnedFd,
    pub cpu: u32,
    mapping: Mapping,
    /// Bytes of the data part: a power of two.
    size: usize,
    /// How far we have collected; the kernel's tail stands where it last was released.
    next: u64,
    /// The one collected record that wraps around the end, put together.
    wrapped: Vec<u8>,
    wrapped_at: usize,
    lost: u64,
}

impl PerfRing {
    fn open(cpu: u32, pages: u32, wakeup: u32) -> io::Result<PerfRing> {
        let fd = syscalls::open_bpf_output(cpu, wakeup)?;
        let mapping = Mapping::new(fd.as_fd(), (1 + pages as usize) * PAGE, 0, true)?;
        Ok(PerfRing {
            fd,
            cpu,
            mapping,
            size: pages as usize * PAGE,
            next: 0,
            wrapped: Vec::new(),
            wrapped_at: usize::MAX,
            lost: 0,
        })
    }

    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    fn collect(
        &mut self,
        before: u64,
        budget: usize,
        notes: &mut Vec<Note>,
        mut hint: impl FnMut(&[u8]) -> u32,
    ) -> bool {
        // SAFETY: the first page of the mapping is a perf_event_mmap_page, whose data_head the kernel
        // moves while we read it; acquire makes what was written before it visible.
        let head = unsafe { AtomicU64::from_ptr(self.mapping.at().add(DATA_HEAD).cast()) }.load(Ordering::Acquire);
        let (first, mask, mut next) = (notes.len(), self.size - 1, self.next);
        let mut more = false;
        while next < head {
            if notes.len() - first == budget {
                more = true;
                break;
            }
            let at = next as usize & mask;
            // perf_event_header { u32 type; u16 misc; u16 size }, never split: records are 8-byte aligned.
            let header = self.word(at);
            let (kind, size) = (header as u32, (header >> 48) as usize);
            if size < 8 {
                // Not a record: the ring is broken, and what is in it cannot be told apart.
                next = head;
                break;
            }
            match kind {
                PERF_RECORD_SAMPLE if size >= 24 => {
                    // u32 raw size, then the record, whose first field is its time: 4 mod 8.
                    let (low, high) = (self.word(at + 8), self.word(at + 16));
                    let len = (low as u32 as usize).min(size - 12);
                    let time = low >> 32 | high << 32;
                    if time >= before {
                        break;
                    }
                    let begin = (at + 12) & mask;
                    if begin + len > self.size {
                        self.put_together(begin, len);
                    }
                    let hint = hint(self.lying_at(begin, len));
                    put(notes, first, Note { time, position: next, len: len as u32, hint });
                }
                PERF_RECORD_LOST => self.lost += self.word(at + 16),
                _ => {}
            }
            next += size as u64;
        }
        self.next = next;
        more
    }

    #[inline]
    fn bytes(&self, note: &Note) -> &[u8] {
        self.lying_at((note.position as usize + 12) & (self.size - 1), note.len as usize)
    }

    #[inline]
    fn lying_at(&self, at: usize, len: usize) -> &[u8] {
        if at + len > self.size {
            return if at == self.wrapped_at { &self.wrapped } else { &[] };
        }
        // SAFETY: within the data part, and the kernel does not write between the tail, which moves
        // only in `release` (it takes &mut self), and the head.
        unsafe { std::slice::from_raw_parts(self.data().add(at), len) }
    }

    fn release(&mut self) {
        // SAFETY: data_tail is ours to write; release orders our reads before it.
        let tail = unsafe { AtomicU64::from_ptr(self.mapping.at().add(DATA_TAIL).cast()) };
        if tail.load(Ordering::Relaxed) != self.next {
            tail.store(self.next, Ordering::Release);
        }
    }

    #[cold]
    fn put_together(&mut self, begin: usize, len: usize) {
        let first = self.size - begin;
        self.wrapped.clear();
        // SAFETY: both parts lie within the data part; the kernel does not write there (see `bytes`).
        unsafe {
            self.wrapped.extend_from_slice(std::slice::from_raw_parts(self.data().add(begin), first));
            self.wrapped.extend_from_slice(std::slice::from_raw_parts(self.data(), len - first));
        }
        self.wrapped_at = begin;
    }

    /// The aligned 8 bytes in which a place lies.
    #[inline]
    fn word(&self, at: usize) -> u64 {
        // SAFETY: masked into the data part, which begins with a page and is a power of two, and aligned.
        unsafe { self.data().add(at & (self.size - 1) & !7).cast::<u64>().read() }
    }

    fn data(&self) -> *const u8 {
        // SAFETY: the data part begins one page into the mapping.
        unsafe { self.mapping.at().add(PAGE) }
    }
}

/// The BPF ring buffer: one for all CPUs.
pub struct RingBuffer {
    fd: OwnedFd,
    /// The page that holds the consumer's position.
    consumer: Mapping,
    /// The page of the producer's position, then the data twice in a row, so that nothing wraps.
    producer: Mapping,
    size: usize,
    next: usize,
}

impl RingBuffer {
    /// Maps the ring buffer map `fd` of `size` bytes.
    pub fn open(fd: OwnedFd, size: usize) -> io::Result<RingBuffer> {
        let consumer = Mapping::new(fd.as_fd(), PAGE, 0, true)?;
        let producer = Mapping::new(fd.as_fd(), PAGE + 2 * size, PAGE as i64, false)?;
        Ok(RingBuffer { fd, consumer, producer, size, next: 0 })
    }

    fn collect(
        &mut self,
        before: u64,
        budget: usize,
        notes: &mut Vec<Note>,
        mut hint: impl FnMut(&[u8]) -> u32,
    ) -> bool {
        // SAFETY: the page begins with the producer's position, which the kernel moves.
        let head = unsafe { AtomicUsize::from_ptr(self.producer.at().cast()) }.load(Ordering::Acquire);
        let first = notes.len();
        while self.next < head {
            if notes.len() - first == budget {
                return true;
            }
            let at = self.next & (self.size - 1);
            // SAFETY: a record's header lies 8-byte aligned at `at`; the kernel clears its busy bit last.
            let header = unsafe { AtomicU32::from_ptr(self.data().add(at).cast_mut().cast()) }.load(Ordering::Acquire);
            if header & BUSY != 0 {
                break;
            }
            let len = (header & !(BUSY | DISCARDED)) as usize;
            if header & DISCARDED == 0 && len >= 8 {
                // SAFETY: the record's bytes lie behind the header, within the doubled data part.
                let time = unsafe { self.data().add(at + 8).cast::<u64>().read_unaligned() };
                if time >= before {
                    break;
                }
                // SAFETY: within the doubled data part; not overwritten until `release`.
                let hint = hint(unsafe { std::slice::from_raw_parts(self.data().add(at + 8), len) });
                put(notes, first, Note { time, position: self.next as u64, len: len as u32, hint });
            }
            self.next += (len + 8).next_multiple_of(8);
        }
        false
    }

    fn bytes(&self, note: &Note) -> &[u8] {
        let at = (note.position as usize & (self.size - 1)) + 8;
        // SAFETY: within the doubled data part; not overwritten until `release`.
        unsafe { std::slice::from_raw_parts(self.data().add(at), note.len as usize) }
    }

    fn release(&mut self) {
        // SAFETY: the consumer's position is ours to write; release orders our reads before it.
        unsafe { AtomicUsize::from_ptr(self.consumer.at().cast()) }.store(self.next, Ordering::Release);
    }

    fn data(&self) -> *const u8 {
        // SAFETY: the data part begins one page into the mapping.
        unsafe { self.producer.at().add(PAGE) }
    }
}

/// Adds a note to those from `first` on, which stay in order of time: an interrupt's record may lie
/// before that of the program it interrupted, which had read the clock already.
#[inline]
fn put(notes: &mut Vec<Note>, first: usize, note: Note) {
    match notes.last() {
        // Field by field, so that the other way a note is not put together in memory first.
        Some(last) if last.time > note.time && notes.len() > first => {
            put_ahead(notes, first, note.time, note.position, note.len, note.hint);
        }
        _ => notes.push(note),
    }
}

#[cold]
fn put_ahead(notes: &mut Vec<Note>, first: usize, time: u64, position: u64, len: u32, hint: u32) {
    let at = first + notes[first..].partition_point(|before| before.time <= time);
    notes.insert(at, Note { time, position, len, hint });
}

const PAGE: usize = 4096;
const DATA_HEAD: usize = 1024;
const DATA_TAIL: usize = 1032;
const PERF_RECORD_LOST: u32 = 2;
const PERF_RECORD_SAMPLE: u32 = 9;
const BUSY: u32 = 1 << 31;
const DISCARDED: u32 = 1 << 30;

#[cfg(test)]
pub(super) mod tests {
    use std::os::fd::FromRawFd;

    use super::*;

    impl PerfRing {
        /// A ring in memory of our own, which `push` fills as the kernel would.
        pub(in super::super) fn made(pages: usize) -> PerfRing {
            // SAFETY: makes a descriptor, which is ours, or fails; the name is a constant.
            let fd = unsafe { OwnedFd::from_raw_fd(libc::memfd_create(c"ring".as_ptr(), libc::MFD_CLOEXEC)) };
            let file = std::fs::File::from(fd.try_clone().unwrap());
            file.set_len(((1 + pages) * PAGE) as u64).unwrap();
            let mapping = Mapping::new(fd.as_fd(), (1 + pages) * PAGE, 0, true).unwrap();
            let (size, wrapped, wrapped_at) = (pages * PAGE, Vec::new(), usize::MAX);
            PerfRing { fd, cpu: 0, mapping, size, next: 0, wrapped, wrapped_at, lost: 0 }
        }

        /// Adds a sample. False, as with ENOSPC, where there is no room.
        pub(in super::super) fn push(&mut self, record: &[u8]) -> bool {
            let padded = (12 + record.len()).next_multiple_of(8);
            let (head, tail) = (self.counter(DATA_HEAD), self.counter(DATA_TAIL));
            let (begin, used) =
                (head.load(Ordering::Relaxed), head.load(Ordering::Relaxed) - tail.load(Ordering::Relaxed));
            if used as usize + padded > self.size {
                return false;
            }
            let mut sample = Vec::from(PERF_RECORD_SAMPLE.to_ne_bytes());
            sample.extend([0, 0]);
            sample.extend((padded as u16).to_ne_bytes());
            sample.extend((padded as u32 - 12).to_ne_bytes());
            sample.extend(record);
            for (at, byte) in sample.iter().enumerate() {
                // SAFETY: masked into the data part, which is ours alone in a test.
                unsafe { *self.data().add((begin as usize + at) & (self.size - 1)).cast_mut() = *byte };
            }
            head.store(begin + padded as u64, Ordering::Release);
            true
        }

        fn counter(&self, at: usize) -> &AtomicU64 {
            // SAFETY: both counters stand in the mapping's first page, aligned.
            unsafe { AtomicU64::from_ptr(self.mapping.at().add(at).cast()) }
        }
    }

    /// The number that `record` says.
    pub(in super::super) fn number(record: &[u8]) -> u32 {
        u32::from_ne_bytes(record[8..12].try_into().unwrap())
    }

    /// A record of some size that begins with its time and says its number.
    pub(in super::super) fn record(time: u64, number: u64, size: usize) -> Vec<u8> {
        let mut record = [time.to_ne_bytes(), number.to_ne_bytes()].concat();
        record.resize(size.max(16), 23);
        record
    }

    #[test]
    fn records_come_whole_over_many_turns_of_a_ring() {
        let (mut ring, mut notes, mut read) = (PerfRing::made(1), Vec::new(), 0u64);
        let mut written = 0u64;
        while read < 10_000 {
            while ring.push(&record(written, written, 20 + (written % 300) as usize)) {
                written += 1;
            }
            notes.clear();
            assert!(!ring.collect(u64::MAX, usize::MAX, &mut notes, number));
            assert!(!notes.is_empty());
            for note in &notes {
                let wanted = record(read, read, 20 + (read % 300) as usize);
                assert_eq!(ring.bytes(note)[..wanted.len()], wanted);
                assert_eq!(u64::from(note.hint), read, "the hint was made of the same bytes");
                read += 1;
            }
            ring.release();
        }
        assert_eq!(read, written);
    }

    #[test]
    fn a_record_that_is_older_than_the_one_before_it_goes_ahead_of_it() {
        let (mut ring, mut notes) = (PerfRing::made(1), Vec::new());
        for time in [5, 3, 4, 9, 1, 20] {
            assert!(ring.push(&record(time, 0, 16)));
        }
        assert!(ring.collect(20, 5, &mut notes, number), "the budget is used up");
        assert_eq!(notes.iter().map(|note| note.time).collect::<Vec<_>>(), [1, 3, 4, 5, 9]);
        assert!(!ring.collect(20, 5, &mut notes, number), "what is not older waits");
        assert_eq!(notes.len(), 5);
    }
}
