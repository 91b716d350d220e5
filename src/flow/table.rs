//! `Table`: a map that knows which of its entries was used least recently, in one or several lists,
//! so that what is bounded can evict and what is idle can expire, each in constant time.

use std::hash::{BuildHasher, Hash, RandomState};

use super::index::{Index, half};

/// Entries by key, each in one of `LISTS` lists ordered by use. Keys that a peer can choose need the
/// seeded hash that is the default; keys that the kernel gives may take a faster one.
pub struct Table<K, V, const LISTS: usize = 1, S = RandomState> {
    index: Index,
    hasher: S,
    /// None in a free slot.
    slots: Vec<Option<Entry<K, V>>>,
    links: Vec<Link>,
    /// Head of the chain of free slots, through `newer`.
    free: u32,
    lists: [List; LISTS],
}

/// Where an entry is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Id(u32);

impl Id {
    /// Of no entry.
    pub const NOWHERE: Id = Id(NONE);

    /// The number that `from_number` makes it of again.
    pub fn number(self) -> u32 {
        self.0
    }

    pub fn from_number(number: u32) -> Id {
        Id(number)
    }
}

/// Key before value, so that a value's beginning shares the key's cache line, and each entry from the
/// beginning of one: what a use reads spans no more lines than it must.
#[repr(C, align(64))]
struct Entry<K, V> {
    key: K,
    /// Whether `mark` said that it was used.
    marked: bool,
    value: V,
}

/// A slot's neighbours. Apart from the entries, since using one entry moves three of these about.
#[derive(Clone, Copy)]
struct Link {
    newer: u32,
    older: u32,
    list: u32,
}

#[derive(Clone, Copy)]
struct List {
    newest: u32,
    oldest: u32,
    length: usize,
}

impl<K: Copy + Eq + Hash, V, const LISTS: usize, S: BuildHasher + Default> Default for Table<K, V, LISTS, S> {
    fn default() -> Self {
        Table {
            index: Index::default(),
            hasher: S::default(),
            slots: Vec::new(),
            links: Vec::new(),
            free: NONE,
            lists: [List { newest: NONE, oldest: NONE, length: 0 }; LISTS],
        }
    }
}

impl<K: Copy + Eq + Hash, V, const LISTS: usize, S: BuildHasher> Table<K, V, LISTS, S> {
    /// What one entry takes in bytes, its share of the index included.
    pub const ENTRY_BYTES: usize = size_of::<Option<Entry<K, V>>>() + size_of::<Link>() + Index::ENTRY_BYTES;

    pub fn len(&self) -> usize {
        self.index.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Entries of one list.
    pub fn list_len(&self, list: usize) -> usize {
        self.lists.get(list).map_or(0, |list| list.length)
    }

    #[inline]
    pub fn get(&self, key: &K) -> Option<&V> {
        self.slot(self.find(key)?).map(|entry| &entry.value)
    }

    /// The entry, which keeps its place.
    #[inline]
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let at = self.find(key)?;
        self.at(Id(at))
    }

    /// Calls `fetch` with the memory that `guess` is going to read, a while before that, and gives what
    /// to call that with.
    #[inline]
    pub fn fetch_place(&self, key: &K, fetch: impl Fn(*const u8)) -> u32 {
        let half = half(self.hasher.hash_one(key));
        if let Some(place) = self.index.place(half) {
            fetch(std::ptr::from_ref(place).cast());
        }
        half
    }

    /// Where the entry most likely is that `fetch_place` was called for. Calls `fetch` with its first two
    /// cache lines.
    #[inline]
    pub fn guess(&self, half: u32, fetch: impl Fn(*const u8)) -> Id {
        let Some(at) = self.index.guess(half) else { return Id::NOWHERE };
        if let Some(slot) = self.slots.get(at as usize) {
            fetch(std::ptr::from_ref(slot).cast());
            fetch(std::ptr::from_ref(slot).cast::<u8>().wrapping_add(LINE));
        }
        Id(at)
    }

    /// Finds the entry, first where it is guessed to be. Where `used` says so of it, `pass_marked` will give
    /// it a second chance: unlike `touch`, which moves three links about, this stays within the entry.
    #[inline]
    pub fn mark(&mut self, key: &K, guess: Id, used: impl FnOnce(&V) -> bool) -> Option<&mut V> {
        let mut at = guess.0;
        if !is(&self.slots, at, key) {
            at = self.find(key)?;
        }
        let entry = self.slots.get_mut(at as usize)?.as_mut()?;
        entry.marked |= used(&entry.value);
        Some(&mut entry.value)
    }

    /// Moves the oldest of a list that are marked to its end, without their marks, at most `limit`: `oldest`
    /// then is one that has not been marked since it came there, as far as that goes.
    pub fn pass_marked(&mut self, list: usize, limit: usize) {
        for _ in 0..limit {
            let Some(at) = self.lists.get(list).map(|list| list.oldest) else { return };
            let Some(Some(entry)) = self.slots.get_mut(at as usize) else { return };
            if !std::mem::take(&mut entry.marked) {
                return;
            }
            self.unlink(at);
            self.link(at, list as u32);
        }
    }

    /// Finds the entry and makes it the one of its list that was used last. A mark stays.
    #[inline]
    pub fn touch(&mut self, key: &K) -> Option<Id> {
        let at = self.find(key)?;
        let link = *self.links.get(at as usize)?;
        if link.newer != NONE {
            self.unlink(at);
            self.link(at, link.list);
        }
        Some(Id(at))
    }

    /// The same for whoever wants no more than the entry.
    #[inline]
    pub fn touch_mut(&mut self, key: &K) -> Option<&mut V> {
        let at = self.touch(key)?;
        self.at(at)
    }

    /// The entry that `touch` or `insert` told of, as long as it is not removed.
    #[inline]
    pub fn at(&mut self, id: Id) -> Option<&mut V> {
        self.slots.get_mut(id.0 as usize)?.as_mut().map(|entry| &mut entry.value)
    }

    /// Adds an entry as the newest of `list`, in the place of what the key had before.
    pub fn insert(&mut self, key: K, value: V, list: usize) -> Id {
        let hash = self.hasher.hash_one(key);
        if let Some(at) = self.probe(hash, &key) {
            self.unlink(at);
            self.link(at, list as u32);
            if let Some(old) = self.at(Id(at)) {
                *old = value;
            }
            return Id(at);
        }
        let entry = Some(Entry { key, marked: false, value });
        let at = match self.slots.get_mut(self.free as usize) {
            Some(slot) => {
                *slot = entry;
                let next = self.links.get(self.free as usize).map_or(NONE, |link| link.newer);
                std::mem::replace(&mut self.free, next)
            }
            None => {
                self.slots.push(entry);
                self.links.push(Link { newer: NONE, older: NONE, list: 0 });
                self.slots.len() as u32 - 1
            }
        };
        self.link(at, list as u32);
        self.index.insert(hash, at);
        Id(at)
    }

    pub fn remove(&mut self, key: &K) -> Option<V> {
        let slots = &self.slots;
        let at = self.index.remove(self.hasher.hash_one(key), |at| is(slots, at, key))?;
        self.release(at).map(|entry| entry.value)
    }

    /// Moves an entry to another list, as its newest.
    pub fn shift(&mut self, key: &K, list: usize) {
        if let Some(at) = self.find(key) {
            self.unlink(at);
            self.link(at, list as u32);
        }
    }

    /// The entry of a list that was used least recently.
    pub fn oldest(&self, list: usize) -> Option<(&K, &V)> {
        self.slot(self.lists.get(list)?.oldest).map(|entry| (&entry.key, &entry.value))
    }

    pub fn pop_oldest(&mut self, list: usize) -> Option<(K, V)> {
        let oldest = self.lists.get(list)?.oldest;
        let key = self.slot(oldest)?.key;
        self.index.remove(self.hasher.hash_one(key), |at| at == oldest)?;
        self.release(oldest).map(|entry| (entry.key, entry.value))
    }

    /// All entries, in no order.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&K, &mut V)> {
        self.slots.iter_mut().flatten().map(|entry| (&entry.key, &mut entry.value))
    }

    /// How many slots there are, free ones included. An entry keeps its slot, so that all that are there
    /// can be visited in several goes.
    pub fn slots(&self) -> usize {
        self.slots.len()
    }

    /// What a slot holds.
    pub fn in_slot(&mut self, slot: usize) -> Option<(&K, &mut V)> {
        self.slots.get_mut(slot)?.as_mut().map(|entry| (&entry.key, &mut entry.value))
    }

    #[inline]
    fn find(&self, key: &K) -> Option<u32> {
        self.probe(self.hasher.hash_one(key), key)
    }

    #[inline]
    fn probe(&self, hash: u64, key: &K) -> Option<u32> {
        self.index.find(hash, |at| is(&self.slots, at, key))
    }

    /// Frees a slot that the index does not know any more.
    fn release(&mut self, at: u32) -> Option<Entry<K, V>> {
        self.unlink(at);
        self.links.get_mut(at as usize)?.newer = std::mem::replace(&mut self.free, at);
        self.slots.get_mut(at as usize)?.take()
    }

    fn slot(&self, at: u32) -> Option<&Entry<K, V>> {
        self.slots.get(at as usize)?.as_ref()
    }

    fn unlink(&mut self, at: u32) {
        let Some(&Link { newer, older, list }) = self.links.get(at as usize) else { return };
        let Some(list) = self.lists.get_mut(list as usize) else { return };
        list.length -= 1;
        match self.links.get_mut(newer as usize) {
            Some(link) => link.older = older,
            None => list.newest = older,
        }
        match self.links.get_mut(older as usize) {
            Some(link) => link.newer = newer,
            None => list.oldest = newer,
        }
    }

    fn link(&mut self, at: u32, list: u32) {
        let Some(ends) = self.lists.get_mut(list as usize) else { return };
        ends.length += 1;
        let older = std::mem::replace(&mut ends.newest, at);
        match self.links.get_mut(older as usize) {
            Some(link) => link.newer = at,
            None => ends.oldest = at,
        }
        if let Some(link) = self.links.get_mut(at as usize) {
            *link = Link { newer: NONE, older, list };
        }
    }
}

/// Whether the slot holds this key.
#[inline]
fn is<K: PartialEq, V>(slots: &[Option<Entry<K, V>>], at: u32, key: &K) -> bool {
    slots.get(at as usize).and_then(Option::as_ref).is_some_and(|entry| entry.key == *key)
}

/// Bytes of a cache line.
const LINE: usize = 64;
/// No slot.
const NONE: u32 = u32::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(table: &mut Table<u32, &'static str, 2>, list: usize) -> Vec<u32> {
        std::iter::from_fn(|| table.pop_oldest(list).map(|(key, _)| key)).collect()
    }

    #[test]
    fn entries_leave_in_the_order_of_their_last_use() {
        let mut table = Table::<u32, &str, 2>::default();
        for key in 0..5 {
            table.insert(key, "", 0);
        }
        let id = table.touch(&1).unwrap();
        assert_eq!(table.at(id), Some(&mut ""));
        table.touch(&0);
        table.get_mut(&2);
        assert_eq!(table.remove(&3), Some(""));
        assert_eq!(keys(&mut table, 0), [2, 4, 1, 0]);
        assert!(table.is_empty());
        assert_eq!(table.oldest(0), None);
    }

    #[test]
    fn a_shifted_entry_is_the_newest_of_its_other_list() {
        let mut table = Table::<u32, &str, 2>::default();
        for key in 0..4 {
            table.insert(key, "", (key % 2) as usize);
        }
        table.shift(&0, 1);
        assert_eq!((table.list_len(0), table.list_len(1)), (1, 3));
        assert_eq!(keys(&mut table, 1), [1, 3, 0]);
        assert_eq!(keys(&mut table, 0), [2]);
    }

    #[test]
    fn slots_are_used_again() {
        let mut table = Table::<u32, &str, 2>::default();
        for key in 0..10_000 {
            table.insert(key, "", 0);
            if table.len() > 8 {
                table.pop_oldest(0);
            }
        }
        assert_eq!(table.slots.len(), 9);
        table.insert(9_999, "again", 1);
        assert_eq!(table.get(&9_999), Some(&"again"));
        assert_eq!(keys(&mut table, 0), [9_992, 9_993, 9_994, 9_995, 9_996, 9_997, 9_998]);
    }

    #[test]
    fn any_order_of_calls_agrees_with_a_plain_list() {
        let (mut table, mut model) = (Table::<u32, u32>::default(), Vec::<(u32, u32)>::new());
        let mut random = 0x2545_f491_4f6c_dd1d_u64;
        for step in 0..100_000 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let key = (random >> 8) as u32 % 16;
            let known = model.iter().position(|entry| entry.0 == key);
            match random % 4 {
                0 => {
                    known.map(|at| model.remove(at));
                    model.push((key, step));
                    let id = table.insert(key, step, 0);
                    assert_eq!(table.at(id), Some(&mut step.clone()));
                }
                1 => assert_eq!(table.remove(&key), known.map(|at| model.remove(at).1)),
                2 => {
                    let found = known.map(|at| model.remove(at));
                    model.extend(found);
                    let id = table.touch(&key);
                    assert_eq!(id.and_then(|id| table.at(id).copied()), found.map(|entry| entry.1));
                }
                _ => assert_eq!(table.oldest(0).map(|(k, v)| (*k, *v)), model.first().copied()),
            }
            assert_eq!(table.len(), model.len());
        }
    }
}
