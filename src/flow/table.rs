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
    value: V,
}

/// A slot's neighbours. Apart from the entries, since `touch` moves three of these about.
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

impl<K: Copy + Eq + Hash, V, const LISTS: usize, S: BuildHasher + Default> Table<K, V, LISTS, S> {
    /// With room for so many entries, as far as `ROOM` goes: growing to that many moves none of them. What is
    /// not used takes addresses, but no memory.
    pub fn with_room(entries: usize) -> Self {
        let mut table = Table::default();
        let entries = entries.min(ROOM / size_of::<Option<Entry<K, V>>>().max(1));
        // Without it the table grows as it must.
        let _ = table.slots.try_reserve_exact(entries);
        let _ = table.links.try_reserve_exact(entries);
        table
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

    /// What to call `fetch_place` and `guess` with.
    #[inline]
    pub fn note(&self, key: &K) -> u32 {
        half(self.hasher.hash_one(key))
    }

    /// Calls `fetch` with the memory that `guess` is going to read, a while before that.
    #[inline]
    pub fn fetch_place(&self, noted: u32, fetch: impl Fn(*const u8)) {
        if let Some(line) = self.index.line(noted) {
            fetch(line);
        }
    }

    /// Where the entry most likely is. Calls `fetch` with its first cache line.
    #[inline]
    pub fn guess(&self, noted: u32, fetch: impl Fn(*const u8)) -> Id {
        let Some(at) = self.index.guess(noted) else { return Id::NOWHERE };
        self.fetch_entry(Id(at), fetch);
        Id(at)
    }

    /// Calls `fetch` with the first cache line of what is there, if anything is.
    #[inline]
    pub fn fetch_entry(&self, id: Id, fetch: impl Fn(*const u8)) {
        if let Some(slot) = self.slots.get(id.0 as usize) {
            fetch(std::ptr::from_ref(slot).cast());
        }
    }

    /// Where the entry is, looked for first where it is guessed to be.
    #[inline]
    fn locate(&self, key: &K, guess: Id) -> Option<Id> {
        if is(&self.slots, guess.0, key) { Some(guess) } else { self.look_up(key) }
    }

    /// The entry and where it is, looked for first where it is guessed to be.
    #[inline]
    pub fn find_at(&self, key: &K, guess: Id) -> Option<(Id, &V)> {
        // A right guess is returned from here, so that what `is` has looked at is not looked at again.
        if is(&self.slots, guess.0, key) {
            return self.entry(guess).map(|value| (guess, value));
        }
        let id = self.look_up(key)?;
        self.entry(id).map(|value| (id, value))
    }

    /// The same, to be changed.
    #[inline]
    pub fn find_at_mut(&mut self, key: &K, guess: Id) -> Option<(Id, &mut V)> {
        if is(&self.slots, guess.0, key) {
            return self.at(guess).map(|value| (guess, value));
        }
        let id = self.look_up(key)?;
        self.at(id).map(|value| (id, value))
    }

    /// The entry that a method told of, as long as it is not removed.
    #[inline]
    pub fn entry(&self, id: Id) -> Option<&V> {
        self.slot(id.0).map(|entry| &entry.value)
    }

    /// Gives the oldest of a list a second chance, as long as `used` says so of them and at most `limit` of
    /// them: they become its newest. For whom `touch` with each use, which moves three entries' links, is too
    /// much: it notes a use in the entry, and `used` takes the note away.
    pub fn pass_used(&mut self, list: usize, limit: usize, mut used: impl FnMut(&mut V) -> bool) {
        for _ in 0..limit {
            let Some(at) = self.lists.get(list).map(|list| list.oldest) else { return };
            if !self.at(Id(at)).is_some_and(&mut used) {
                return;
            }
            self.unlink(at);
            self.link(at, list as u32);
        }
    }

    /// Finds the entry and makes it the one of its list that was used last.
    #[inline]
    pub fn touch(&mut self, key: &K) -> Option<Id> {
        let at = self.find(key)?;
        self.used(at)
    }

    /// The same, looked for first where it is guessed to be: what comes in bursts asks for one entry many
    /// times in turn.
    #[inline]
    pub fn touch_guess(&mut self, key: &K, guess: Id) -> Option<Id> {
        let Id(at) = self.locate(key, guess)?;
        self.used(at)
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
        let entry = Some(Entry { key, value });
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

    #[inline(never)] // where guesses are mostly right
    fn look_up(&self, key: &K) -> Option<Id> {
        self.find(key).map(Id)
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

    #[inline]
    fn slot(&self, at: u32) -> Option<&Entry<K, V>> {
        self.slots.get(at as usize)?.as_ref()
    }

    #[inline]
    fn used(&mut self, at: u32) -> Option<Id> {
        let link = *self.links.get(at as usize)?;
        if link.newer != NONE {
            self.unlink(at);
            self.link(at, link.list);
        }
        Some(Id(at))
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

/// Bytes of slots that are reserved at most.
const ROOM: usize = 64 << 20;
/// No slot.
const NONE: u32 = u32::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    /// The entry, looked for first where it is guessed to be.
    fn located<'t>(table: &'t mut Table<u32, char, 2>, key: &u32, guess: Id) -> Option<&'t mut char> {
        let (at, _) = table.find_at(key, guess)?;
        let (same, value) = table.find_at_mut(key, guess)?;
        assert_eq!(at, same);
        Some(value)
    }

    fn keys(table: &mut Table<u32, &'static str, 2>, list: usize) -> Vec<u32> {
        std::iter::from_fn(|| table.pop_oldest(list).map(|(key, _)| key)).collect()
    }

    #[test]
    fn growing_into_the_room_that_was_asked_for_moves_nothing() {
        let mut table = Table::<u32, u64>::with_room(1000);
        table.insert(0, 7, 0);
        let at = std::ptr::from_ref(table.get(&0).unwrap());
        for key in 1..1000 {
            table.insert(key, 8, 0);
        }
        assert_eq!(std::ptr::from_ref(table.get(&0).unwrap()), at);
        // More than can be had is no reason to fail.
        assert!(Table::<u32, u64>::with_room(usize::MAX).is_empty());
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
    fn what_was_used_is_passed_over_once_and_no_more_than_so_many() {
        let mut table = Table::<u32, (u32, bool), 2>::default();
        let take = |entry: &mut (u32, bool)| std::mem::take(&mut entry.1);
        for key in 0..6 {
            table.insert(key, (key, false), 0);
        }
        for key in [1, 0, 3, 0] {
            table.get_mut(&key).unwrap().1 = true;
        }
        assert_eq!(table.oldest(0), Some((&0, &(0, true))), "a use alone moves nothing");
        table.pass_used(0, 64, take);
        assert_eq!(table.pop_oldest(0), Some((2, (2, false))));
        table.get_mut(&1).unwrap().1 = true;
        table.pass_used(0, 64, take);
        // 0 and 1 had their chance and stand behind what was there before; 3 has just got it.
        let mut left = || {
            table.pass_used(0, 1, take);
            table.pop_oldest(0)
        };
        assert_eq!([(); 5].map(|()| left().map(|(key, _)| key)), [4, 5, 0, 3, 1].map(Some));
        assert_eq!(left(), None);

        for key in 0..4 {
            table.insert(key, (key, true), 0);
        }
        table.insert(9, (9, true), 1);
        table.pass_used(0, 3, take);
        assert_eq!(table.oldest(0), Some((&3, &(3, true))), "what is beyond the limit is not looked at");
        table.pass_used(0, 64, take);
        assert_eq!(table.oldest(0), Some((&0, &(0, false))), "once around is enough");
        assert_eq!(table.list_len(0), 4);
        assert_eq!(table.oldest(1), Some((&9, &(9, true))), "another list is left alone");
    }

    #[test]
    fn a_guess_is_only_where_to_look_first() {
        let mut table = Table::<u32, char, 2>::default();
        for key in 0..1000 {
            table.insert(key, char::from_u32(key + 23).unwrap(), 0);
        }
        let guess = |table: &Table<u32, char, 2>, key: u32| {
            let (place, entry) = (std::cell::Cell::new(0), std::cell::Cell::new(0));
            let noted = table.note(&key);
            table.fetch_place(noted, |at| place.set(at.addr()));
            let guess = table.guess(noted, |at| entry.set(at.addr()));
            assert_ne!(place.get(), 0, "the place is fetched");
            assert_eq!(entry.get() == 0, guess == Id::NOWHERE, "the entry is fetched if there is one");
            (guess, entry.get())
        };
        let mut right = 0;
        for key in 0..1000 {
            let (at, address) = guess(&table, key);
            let found = located(&mut table, &key, at).unwrap();
            assert_eq!(u32::from(*found), key + 23);
            // An entry begins with its key, in the same cache line.
            right += u32::from(std::ptr::from_ref(found).addr() - address < 64);
        }
        assert!(right > 950, "{right}");
        let (of_5, _) = guess(&table, 5);
        assert_eq!(located(&mut table, &7, of_5), Some(&mut '\u{1e}'), "a wrong guess costs a look-up");
        assert_eq!(table.remove(&5), Some('\u{1c}'));
        assert_eq!(located(&mut table, &5, of_5), None);
        table.insert(5000, 'x', 0);
        assert_eq!(located(&mut table, &5, of_5), None, "the slot is another's by now");
        assert_eq!(located(&mut table, &5000, of_5), Some(&mut 'x'));
    }

    #[test]
    fn a_use_is_noted_of_the_entry_that_was_asked_for_wherever_it_is_guessed_to_be() {
        let mut table = Table::<u32, &str, 2>::default();
        let ids = [7, 8, 9].map(|key| table.insert(key, "", 0));
        for (key, guess) in [(7, ids[0]), (8, ids[2]), (9, Id::NOWHERE), (7, ids[1])] {
            assert_eq!(table.touch_guess(&key, guess), Some(ids[key as usize - 7]));
        }
        assert_eq!(keys(&mut table, 0), [8, 9, 7]);
        table.insert(8, "", 0);
        table.remove(&8);
        assert_eq!(table.touch_guess(&8, ids[1]), None);
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
