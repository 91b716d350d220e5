//! `Decoder`: the fields of one direction's header blocks, in order.

use super::table::{Name, Table, View};
use super::{Error, Field, Visitor, huffman, integer, static_table};

/// The state of one direction: what is known of its dynamic table.
pub struct Decoder {
    table: Table,
    /// The size that the table has: the last update seen, else what is taken for it.
    size: usize,
    /// Whether `size` is known, not taken for.
    sized: bool,
    /// Whether every entry of the true table is known.
    whole: bool,
    /// The largest size that an update may set: SETTINGS_HEADER_TABLE_SIZE of the reader, where known.
    limit: Option<usize>,
}

/// Where Huffman strings are decoded to; shared by all decoders of a thread.
#[derive(Default)]
pub struct Scratch(Vec<u8>);

impl Decoder {
    /// For a connection seen from its start: the table is empty and has its initial size.
    pub fn new() -> Decoder {
        Decoder { table: Table::default(), size: INITIAL, sized: true, whole: true, limit: None }
    }

    /// For a connection joined in the middle: nothing is known.
    pub fn joined() -> Decoder {
        Decoder { table: Table::default(), size: KEPT, sized: false, whole: false, limit: None }
    }

    /// Forgets everything: a block was lost, could not be decoded, or framing was lost.
    pub fn reset(&mut self) {
        self.table.clear();
        (self.size, self.sized, self.whole) = (KEPT, false, false);
    }

    /// Sets the largest size that a size update may name (section 4.2); None while it is not known.
    pub fn limit(&mut self, limit: Option<u32>) {
        self.limit = limit.map(|limit| limit as usize);
    }

    /// Whether every entry of the dynamic table is known, so that an index past them is an error.
    pub fn whole(&self) -> bool {
        self.whole
    }

    /// Judges the names of all entries anew, as `Visitor::tag` does at first.
    pub fn retag(&mut self, tag: impl FnMut(&[u8]) -> u8) {
        self.table.retag(tag);
    }

    /// Bytes that its buffers take.
    pub fn capacity(&self) -> usize {
        self.table.capacity()
    }

    /// Decodes one whole block. After an error the fields before it were handed out, and the caller
    /// calls `reset`.
    pub fn decode(&mut self, block: &[u8], scratch: &mut Scratch, visitor: &mut impl Visitor) -> Result<(), Error> {
        let mut at = 0;
        let mut fields = false;
        while let Some(&first) = block.get(at) {
            if first & 0x80 != 0 {
                self.indexed(block, &mut at, visitor)?;
            } else if first & 0x40 != 0 {
                self.literal(block, &mut at, 6, true, scratch, visitor)?;
            } else if first & 0x20 == 0 {
                self.literal(block, &mut at, 4, false, scratch, visitor)?;
            } else {
                let size = integer::read(block, &mut at, 5)?;
                // Section 4.2: only at the beginning of a block.
                if fields || self.limit.is_some_and(|limit| size > limit) {
                    return Err(Error::SizeUpdate);
                }
                self.resize(size);
                continue;
            }
            fields = true;
        }
        Ok(())
    }

    /// Section 6.1.
    #[inline]
    fn indexed(&mut self, block: &[u8], at: &mut usize, visitor: &mut impl Visitor) -> Result<(), Error> {
        let index = integer::read(block, at, 7)?;
        let (name, value, tag, note) = if let Some((name, value)) = static_table::entry(index) {
            (Some(name), Some(value), visitor.static_tag(index), &[][..])
        } else {
            match self.dynamic(index)? {
                Some(view) => (view.name, view.value, view.tag, view.note),
                None => (None, None, 0, &[][..]),
            }
        };
        visitor.field(Field { name, value, index: index as u32, never_indexed: false, tag, indexed: true, note });
        Ok(())
    }

    /// Sections 6.2.1 to 6.2.3.
    #[inline]
    fn literal(
        &mut self,
        block: &[u8],
        at: &mut usize,
        prefix: u32,
        insert: bool,
        scratch: &mut Scratch,
        visitor: &mut impl Visitor,
    ) -> Result<(), Error> {
        let never_indexed = !insert && block.get(*at).is_some_and(|first| first & 0x10 != 0);
        let index = integer::read(block, at, prefix)?;
        let literal_name = if index == 0 { Some(string(block, at)?) } else { None };
        let value = string(block, at)?;
        let (name, value) = scratch.texts(literal_name, value)?;
        let (source, tag) = match name {
            Some(name) => (Name::Bytes(name), visitor.tag(name)),
            None => match static_table::entry(index) {
                Some((name, _)) => (Name::Bytes(name), visitor.static_tag(index)),
                None => match self.dynamic(index)? {
                    Some(View { name: Some(_), tag, .. }) => (Name::Element(index - static_table::LENGTH - 1), tag),
                    _ => (Name::Unknown, 0),
                },
            },
        };
        let name = match source {
            Name::Bytes(name) => Some(name),
            Name::Element(k) => self.table.element(k).and_then(|view| view.name),
            Name::Unknown => None,
        };
        let length = name.map_or(0, <[u8]>::len) + value.len() + 32;
        let (index, indexed, note) = (index as u32, false, &[][..]);
        visitor.field(Field { name, value: Some(value), index, never_indexed, tag, indexed, note });
        if insert {
            self.insert(source, value, tag, length, visitor.note());
        }
        Ok(())
    }

    /// A dynamic entry; Ok(None) where it was never seen.
    #[inline]
    fn dynamic(&self, index: usize) -> Result<Option<View<'_>>, Error> {
        let k = index.checked_sub(static_table::LENGTH + 1).ok_or(Error::Index)?;
        match self.table.element(k) {
            None if self.whole => Err(Error::Index),
            element => Ok(element),
        }
    }

    #[inline]
    fn insert(&mut self, name: Name<'_>, value: &[u8], tag: u8, length: usize, note: &[u8]) {
        if length > self.size && self.sized {
            // Section 4.4: an entry larger than the table empties it and is not kept.
            self.table.clear();
            self.whole = true;
            return;
        }
        if length > KEPT {
            self.table.insert_unkept();
            self.whole = false;
            return;
        }
        self.table.insert(name, value, tag, note);
        self.settle();
    }

    /// Section 6.3.
    fn resize(&mut self, size: usize) {
        (self.size, self.sized) = (size, true);
        self.settle();
    }

    /// Evicts what the table's size leaves no room for. Once what is known fills the table so far that
    /// not even the smallest unknown entry fits beside it, all of it is known.
    #[inline]
    fn settle(&mut self) {
        if self.table.size() + 32 > self.size {
            self.whole = true;
        }
        if self.table.size() > KEPT && self.size > KEPT {
            self.whole = false;
        }
        self.table.shrink(self.size.min(KEPT));
    }
}

impl Default for Decoder {
    fn default() -> Decoder {
        Decoder::new()
    }
}

/// Whether `block` is a whole header block as far as that can be told without any table, and the static
/// entry (1 to 61) that its first field is or takes its name from.
pub fn check(block: &[u8]) -> Result<Option<usize>, Error> {
    let mut at = 0;
    let mut begins = None;
    let mut fields = false;
    while let Some(&first) = block.get(at) {
        let prefix = match first {
            0x80.. => 7,
            0x40.. => 6,
            0x20.. => 5,
            _ => 4,
        };
        let index = integer::read(block, &mut at, prefix)?;
        match prefix {
            5 if fields => return Err(Error::SizeUpdate),
            5 => continue,
            7 if index == 0 => return Err(Error::Index),
            7 => {}
            _ => {
                if index == 0 {
                    string(block, &mut at)?.check()?;
                }
                string(block, &mut at)?.check()?;
            }
        }
        if !fields {
            begins = (1..=static_table::LENGTH).contains(&index).then_some(index);
        }
        fields = true;
    }
    Ok(begins)
}

/// The static entry (1 to 61) that a block's first field is or takes its name from, as far as the block
/// goes.
pub fn first(block: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let prefix = match block.get(at)? {
            0x80.. => 7,
            0x40.. => 6,
            0x20.. => 5,
            _ => 4,
        };
        let index = integer::read(block, &mut at, prefix).ok()?;
        if prefix != 5 {
            return (1..=static_table::LENGTH).contains(&index).then_some(index);
        }
    }
}

/// A string as it stands in a block (section 5.2).
#[derive(Clone, Copy)]
struct Text<'a> {
    bytes: &'a [u8],
    huffman: bool,
}

#[inline]
fn string<'a>(block: &'a [u8], at: &mut usize) -> Result<Text<'a>, Error> {
    let huffman = block.get(*at).ok_or(Error::Truncated)? & 0x80 != 0;
    let length = integer::read(block, at, 7)?;
    let bytes = block.get(*at..*at + length).ok_or(Error::Truncated)?;
    *at += length;
    Ok(Text { bytes, huffman })
}

impl Text<'_> {
    fn check(self) -> Result<(), Error> {
        if self.huffman { huffman::check(self.bytes) } else { Ok(()) }
    }

    fn bound(self) -> usize {
        if self.huffman { huffman::bound(self.bytes.len()) } else { 0 }
    }
}

impl Scratch {
    /// Bytes that it takes.
    pub fn capacity(&self) -> usize {
        self.0.capacity()
    }

    /// The two texts decoded, name first.
    #[inline]
    fn texts<'a>(&'a mut self, name: Option<Text<'a>>, value: Text<'a>) -> Result<(Option<&'a [u8]>, &'a [u8]), Error> {
        let need = name.map_or(0, Text::bound) + value.bound();
        if self.0.len() < need {
            self.0.resize(need.next_power_of_two().max(4096), 0);
        }
        let (first, second) = self.0.split_at_mut(name.map_or(0, Text::bound));
        let name = match name {
            Some(name) if name.huffman => {
                let length = huffman::decode(name.bytes, first)?;
                Some(first.get(..length).unwrap_or_default())
            }
            name => name.map(|name| name.bytes),
        };
        if !value.huffman {
            return Ok((name, value.bytes));
        }
        let length = huffman::decode(value.bytes, second)?;
        Ok((name, second.get(..length).unwrap_or_default()))
    }
}

/// SETTINGS_HEADER_TABLE_SIZE before any SETTINGS (RFC 9113 section 6.5.2).
const INITIAL: usize = 4096;
/// What is kept of a table at most, and the size taken for one whose size was never seen.
const KEPT: usize = 65536;
