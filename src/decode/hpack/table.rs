//! The dynamic table of one direction (RFC 7541 section 2.3.2), or what is known of it after a join in
//! the middle of a connection: what was inserted since, newest first. The true table is always a
//! newest-first prefix of that list (sections 2.3.3, 4.4), whatever its size is and was.

/// Entries newest first, their bytes in one buffer that grows with use, up to four times `KEPT` where all
/// have notes as long as they may be.
#[derive(Default)]
pub struct Table {
    /// Names and values, oldest first; those of forgotten entries lie before `start`.
    bytes: Vec<u8>,
    start: usize,
    /// What was cut off the front of `bytes` so far, wrapping: an entry's place is `at - base`.
    base: u32,
    /// A ring of a power of two; the newest is at `newest`.
    ring: Vec<Entry>,
    newest: usize,
    length: usize,
    /// The sum of the entries' sizes as section 4.1 reckons them.
    size: usize,
}

#[derive(Clone, Copy, Default)]
struct Entry {
    at: u32,
    name: u32,
    value: u32,
    note: u32,
    /// False: the name stands in an entry that was never seen.
    named: bool,
    /// False: too large to be kept, only its place counts.
    valued: bool,
    /// Whether the note still holds.
    noted: bool,
    tag: u8,
}

/// One entry, borrowed.
pub struct View<'a> {
    pub name: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub tag: u8,
    pub note: &'a [u8],
}

/// Where an inserted entry's name comes from.
#[derive(Clone, Copy)]
pub enum Name<'a> {
    Bytes(&'a [u8]),
    /// The name of element k of the list.
    Element(usize),
    Unknown,
}

impl Table {
    /// Element `k` of the list, 0 the newest.
    #[inline]
    pub fn element(&self, k: usize) -> Option<View<'_>> {
        let entry = self.entry(k)?;
        let at = entry.at.wrapping_sub(self.base) as usize;
        let (name, rest) = self.bytes.get(at..at + entry.size_of_bytes())?.split_at(entry.name as usize);
        let (value, note) = rest.split_at(entry.value as usize);
        Some(View {
            name: entry.named.then_some(name),
            value: entry.valued.then_some(value),
            tag: entry.tag,
            note: if entry.noted { note } else { &[] },
        })
    }

    /// Judges the names of all entries anew; what was noted of them before no longer holds.
    pub fn retag(&mut self, mut tag: impl FnMut(&[u8]) -> u8) {
        for k in 0..self.length {
            let at = self.newest.wrapping_sub(k) & (self.ring.len() - 1);
            let new = self.element(k).and_then(|view| view.name).map(&mut tag);
            if let Some(entry) = self.ring.get_mut(at) {
                entry.noted = false;
                entry.tag = new.unwrap_or(entry.tag);
            }
        }
    }

    /// The sum of the sizes of the entries that are known.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Adds an entry. The caller has made sure that it may be kept, and calls `shrink` afterwards: the
    /// name may come from the entry that this one evicts (section 4.4).
    pub fn insert(&mut self, name: Name<'_>, value: &[u8], tag: u8, note: &[u8]) {
        let element = match name {
            Name::Element(k) => self.entry(k),
            _ => None,
        };
        let name_length = match name {
            Name::Bytes(bytes) => bytes.len(),
            Name::Element(_) => element.map_or(0, |entry| entry.name as usize),
            Name::Unknown => 0,
        };
        self.make_room(name_length + value.len() + note.len());
        let at = self.base.wrapping_add(self.bytes.len() as u32);
        match (name, element) {
            (Name::Bytes(bytes), _) => self.bytes.extend_from_slice(bytes),
            (Name::Element(_), Some(entry)) => {
                let from = entry.at.wrapping_sub(self.base) as usize;
                self.bytes.extend_from_within(from..from + name_length);
            }
            _ => {}
        }
        self.bytes.extend_from_slice(value);
        self.bytes.extend_from_slice(note);
        let named = match name {
            Name::Bytes(_) => true,
            Name::Element(_) => element.is_some_and(|entry| entry.named),
            Name::Unknown => false,
        };
        let (name, value, note) = (name_length as u32, value.len() as u32, note.len() as u32);
        let entry = Entry { at, name, value, note, named, valued: true, noted: note > 0, tag };
        self.push(entry);
    }

    /// Adds an entry that is too large to be kept: all before it is forgotten, its place is held.
    pub fn insert_unkept(&mut self) {
        self.clear();
        self.push(Entry { at: self.base, ..Entry::default() });
    }

    /// Forgets the oldest until the sum is at most `size`.
    pub fn shrink(&mut self, size: usize) {
        while self.size > size && self.length > 0 {
            if let Some(oldest) = self.entry(self.length - 1) {
                self.size -= oldest.size();
                self.start += oldest.size_of_bytes();
            }
            self.length -= 1;
        }
        if self.length == 0 {
            self.clear();
        }
    }

    pub fn clear(&mut self) {
        self.bytes.clear();
        (self.start, self.length, self.size) = (0, 0, 0);
    }

    /// Bytes that its buffers take.
    pub fn capacity(&self) -> usize {
        self.bytes.capacity() + self.ring.capacity() * size_of::<Entry>()
    }

    #[inline]
    fn entry(&self, k: usize) -> Option<Entry> {
        if k >= self.length {
            return None;
        }
        self.ring.get(self.newest.wrapping_sub(k) & (self.ring.len() - 1)).copied()
    }

    fn push(&mut self, entry: Entry) {
        if self.length == self.ring.len() {
            let mut ring = Vec::with_capacity((self.ring.len() * 2).max(8));
            ring.extend((0..self.length).rev().filter_map(|k| self.entry(k)));
            ring.resize(ring.capacity().next_power_of_two(), Entry::default());
            self.ring = ring;
            self.newest = self.length.wrapping_sub(1);
        }
        self.newest = self.newest.wrapping_add(1) & (self.ring.len() - 1);
        if let Some(slot) = self.ring.get_mut(self.newest) {
            *slot = entry;
        }
        self.length += 1;
        self.size += entry.size();
    }

    /// Makes the buffer take `count` more bytes: by dropping what was forgotten when that is half of it
    /// or more, so that each byte is moved a bounded number of times, else by growing.
    fn make_room(&mut self, count: usize) {
        if self.bytes.len() + count <= self.bytes.capacity() {
            return;
        }
        let held = self.bytes.len() - self.start;
        self.bytes.copy_within(self.start.., 0);
        self.bytes.truncate(held);
        self.base = self.base.wrapping_add(self.start as u32);
        self.start = 0;
        if (held + count) * 2 > self.bytes.capacity() {
            self.bytes.reserve_exact(((held + count) * 2).next_power_of_two() - held);
        }
    }
}

impl Entry {
    /// RFC 7541 section 4.1: the lengths of name and value plus 32.
    fn size(&self) -> usize {
        self.name as usize + self.value as usize + 32
    }

    /// What it takes of the buffer.
    fn size_of_bytes(&self) -> usize {
        self.name as usize + self.value as usize + self.note as usize
    }
}
