//! HPACK (RFC 7541): header blocks to fields. `Decoder` holds one direction's dynamic table, also when
//! it joined a connection in the middle: then what it cannot know comes out as unknown, never as a
//! guess. Fields leave through a `Visitor`, borrowed from the block, the tables or the `Scratch`;
//! nothing is allocated once the table and the scratch have grown.

mod decoder;
pub mod huffman;
mod integer;
pub mod static_table;
mod table;

pub use decoder::{Decoder, Scratch, check, first};

/// One field of a header block, in wire order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Field<'a> {
    /// None: it stands in a dynamic-table entry that was never seen.
    pub name: Option<&'a [u8]>,
    /// None as for the name.
    pub value: Option<&'a [u8]>,
    /// The index that the block names, of the field or of its name; 0 where both are literal.
    pub index: u32,
    /// A literal never to be indexed (section 6.2.3): the sender holds it for a secret.
    pub never_indexed: bool,
    /// What the visitor said of the name.
    pub tag: u8,
    /// Whether the index names all of the field, not its name alone.
    pub indexed: bool,
    /// What the visitor noted of the field when it went into the dynamic table; empty where it has none.
    pub note: &'a [u8],
}

/// What a block's fields are handed to.
pub trait Visitor {
    /// A tag for a name, kept with it in the dynamic table, so that a name is judged once and not at
    /// each field. Called for names that stand literally in a block.
    fn tag(&mut self, _name: &[u8]) -> u8 {
        0
    }

    /// The same for the name of a static entry (1 to 61).
    fn static_tag(&mut self, _index: usize) -> u8 {
        0
    }

    fn field(&mut self, field: Field<'_>);

    /// What is to be kept with the field handed out last, which goes into the dynamic table: no more than
    /// its name, its value and some 32 bytes.
    fn note(&self) -> &[u8] {
        &[]
    }
}

/// Why a block is not one (all are decoding errors of RFC 7541).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Error {
    /// The block ends inside a field.
    Truncated,
    /// An integer above 2^31 or longer than it need be (section 5.1).
    Integer,
    /// Index 0, or one past the table (sections 2.3.3, 6.1).
    Index,
    /// A string that is no Huffman code, or is padded wrongly (section 5.2).
    Huffman,
    /// A table size update behind a field, or above the limit (sections 4.2, 6.3).
    SizeUpdate,
}
