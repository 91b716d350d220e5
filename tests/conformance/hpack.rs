//! The HPACK decoder against the header lists that other encoders' blocks stand for, from their first
//! block and joined at every later one.

use tawon::decode::hpack::{self, Decoder, Error, Field, Scratch, Visitor, static_table};

use crate::support::alloc;
use crate::support::origins::Account;
use crate::support::stories::{self, Story};

#[test]
fn every_story_decodes_to_its_header_lists() {
    let mut blocks = 0;
    for_every_story(|set, story| {
        let (mut decoder, mut scratch) = (Decoder::new(), Scratch::default());
        decoder.limit(Some(4096));
        for (number, case) in story.cases.iter().enumerate() {
            if let Some(size) = case.header_table_size {
                decoder.limit(Some(size));
            }
            let mut list = List::default();
            assert_eq!(decoder.decode(&case.wire, &mut scratch, &mut list), Ok(()), "{set} {} {number}", story.story);
            assert_eq!(list.known(), case.headers, "{set} {} {number}", story.story);
            assert!(decoder.whole());
            assert!(hpack::check(&case.wire).is_ok());
            blocks += 1;
        }
    });
    assert_eq!(blocks, BLOCKS);
}

/// An independent account: the table's entries with the block that each name and value came from. A
/// decoder that joined at block `start` must know a name or value if and only if it came from `start`
/// or a later block (or stands in the static table).
#[test]
fn joined_at_every_block_what_is_knowable_is_known_and_nothing_is_wrong() {
    let (mut right, mut unknown) = (0u64, 0u64);
    for_every_story(|set, story| {
        let noted = Account::of(4096, story.cases.iter().map(|case| (&case.wire[..], &case.headers[..])));
        let mut scratch = Scratch::default();
        for start in 0..story.cases.len() {
            let mut decoder = Decoder::joined();
            for (number, case) in story.cases.iter().enumerate().skip(start) {
                let place = format!("{set} {} joined at {start}, block {number}", story.story);
                let mut list = List::default();
                assert_eq!(decoder.decode(&case.wire, &mut scratch, &mut list), Ok(()), "{place}");
                assert_eq!(list.0.len(), case.headers.len(), "{place}");
                for ((got, true_), origin) in list.0.iter().zip(&case.headers).zip(&noted[number]) {
                    for (got, true_, origin) in [(&got.0, &true_.0, origin.name), (&got.1, &true_.1, origin.value)] {
                        match got {
                            Some(got) => assert_eq!(got, true_, "{place}"),
                            None => unknown += 1,
                        }
                        assert_eq!(got.is_some(), origin.is_none_or(|origin| origin >= start), "{place}: {true_}");
                        right += u64::from(got.is_some());
                    }
                }
            }
        }
    });
    println!("{right} names and values right, {unknown} unknown, 0 wrong");
    assert!(unknown > 0 && right > unknown);
}

#[test]
fn a_joined_table_is_whole_where_the_rule_says() {
    let mut scratch = Scratch::default();
    let mut insert = |decoder: &mut Decoder, value: usize| {
        let mut block = vec![0x40, 1, b'n', 0x7f];
        let mut rest = value - 127;
        while rest >= 128 {
            block.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        block.push(rest as u8);
        block.resize(block.len() + value, b'v');
        assert_eq!(decoder.decode(&block, &mut scratch, &mut List::default()), Ok(()));
    };
    // 4096 after an update: one byte less than 4096 - 32 + 1 is not enough, the next one is.
    for (sum, whole) in [(4096 - 32, false), (4096 - 32 + 1, true)] {
        let mut decoder = Decoder::joined();
        assert_eq!(decoder.decode(&[0x3f, 0xe1, 0x1f], &mut Scratch::default(), &mut List::default()), Ok(()));
        insert(&mut decoder, sum - 33);
        assert_eq!(decoder.whole(), whole, "{sum}");
    }
    // Without an update the size is taken for 65536.
    for (last, whole) in [(65536 - 32 - 40000, false), (65536 - 32 - 40000 + 1, true)] {
        let mut decoder = Decoder::joined();
        insert(&mut decoder, 40000 - 33);
        insert(&mut decoder, last - 33);
        assert_eq!(decoder.whole(), whole, "{last}");
    }
    // An update below 32 leaves room for nothing.
    for (update, whole) in [(&[0x3f, 0x01][..], false), (&[0x3f, 0x00], true), (&[0x20], true)] {
        let mut decoder = Decoder::joined();
        assert_eq!(decoder.decode(update, &mut Scratch::default(), &mut List::default()), Ok(()));
        assert_eq!(decoder.whole(), whole, "{update:?}");
    }
}

#[test]
fn an_index_past_the_table_is_an_error_when_whole_and_unknown_before() {
    let mut scratch = Scratch::default();
    let mut list = List::default();
    assert_eq!(Decoder::new().decode(&[0xbe], &mut scratch, &mut list), Err(Error::Index));
    assert_eq!(Decoder::new().decode(&[0x7e, 1, b'v'], &mut scratch, &mut list), Err(Error::Index));
    assert!(list.0.is_empty());

    let mut decoder = Decoder::joined();
    // Literal with the name of an unseen entry, which is inserted; then that entry; then one before it.
    assert_eq!(decoder.decode(&[0x7e, 1, b'v', 0xbe, 0xbf], &mut scratch, &mut list), Ok(()));
    let value = Some("v".to_owned());
    assert_eq!(list.0, [(None, value.clone(), 62, false), (None, value, 62, false), (None, None, 63, false)]);
}

#[test]
fn never_indexed_literals_are_told_and_not_inserted() {
    let (mut decoder, mut scratch, mut list) = (Decoder::new(), Scratch::default(), List::default());
    assert_eq!(decoder.decode(&[0x10, 1, b'a', 1, b'b', 0x00, 1, b'c', 1, b'd'], &mut scratch, &mut list), Ok(()));
    assert_eq!(list.0.iter().map(|field| field.3).collect::<Vec<_>>(), [true, false]);
    assert_eq!(decoder.decode(&[0xbe], &mut scratch, &mut list), Err(Error::Index));
}

#[test]
fn a_size_update_behind_a_field_or_above_the_limit_is_an_error() {
    let (mut scratch, mut list) = (Scratch::default(), List::default());
    assert_eq!(Decoder::new().decode(&[0x82, 0x20], &mut scratch, &mut list), Err(Error::SizeUpdate));
    let mut decoder = Decoder::new();
    decoder.limit(Some(64));
    assert_eq!(decoder.decode(&[0x3f, 0x21, 0x20], &mut scratch, &mut list), Ok(()));
    assert_eq!(decoder.decode(&[0x3f, 0x22], &mut scratch, &mut list), Err(Error::SizeUpdate));
}

#[test]
fn an_entry_larger_than_the_table_empties_it() {
    let (mut decoder, mut scratch, mut list) = (Decoder::new(), Scratch::default(), List::default());
    assert_eq!(decoder.decode(&[0x3f, 0x21, 0x40, 1, b'a', 1, b'b', 0xbe], &mut scratch, &mut list), Ok(()));
    let long = [&[0x40, 1, b'a', 40][..], &[b'x'; 40]].concat();
    assert_eq!(decoder.decode(&long, &mut scratch, &mut list), Ok(()));
    assert_eq!(list.0.len(), 3);
    assert_eq!(decoder.decode(&[0xbe], &mut scratch, &mut list), Err(Error::Index));
}

#[test]
fn every_prefix_of_a_block_ends_in_an_error_or_in_fewer_fields() {
    for_every_story(|_, story| {
        for case in story.cases.iter().take(3) {
            for length in 0..case.wire.len() {
                let mut list = List::default();
                let mut decoder = Decoder::joined();
                let _ = decoder.decode(&case.wire[..length], &mut Scratch::default(), &mut list);
                assert!(list.0.len() < case.headers.len());
            }
        }
    });
}

#[test]
fn decoding_allocates_nothing_once_the_table_has_grown() {
    struct Sink(usize);
    impl Visitor for Sink {
        fn field(&mut self, field: Field<'_>) {
            self.0 += field.name.map_or(0, <[u8]>::len);
        }
    }
    let story = stories::read("nghttp2").into_iter().max_by_key(|story| story.cases.len()).unwrap();
    let (mut decoder, mut scratch, mut sink) = (Decoder::new(), Scratch::default(), Sink(0));
    let mut run = || {
        for case in &story.cases {
            decoder.decode(&case.wire, &mut scratch, &mut sink).unwrap();
        }
        // The encoder starts anew: what it thinks is an empty table is one.
        decoder.decode(&[0x20, 0x3f, 0xe1, 0x1f], &mut scratch, &mut sink).unwrap();
    };
    run();
    assert_eq!(alloc::count(run), 0);
}

const BLOCKS: usize = 6941;

/// Fields as name, value, index, never indexed.
#[derive(Default)]
struct List(Vec<(Option<String>, Option<String>, u32, bool)>);

impl List {
    fn known(self) -> Vec<(String, String)> {
        self.0.into_iter().map(|field| (field.0.unwrap(), field.1.unwrap())).collect()
    }
}

impl Visitor for List {
    fn tag(&mut self, name: &[u8]) -> u8 {
        name.len() as u8
    }

    fn static_tag(&mut self, index: usize) -> u8 {
        static_table::entry(index).unwrap().0.len() as u8
    }

    fn field(&mut self, field: Field<'_>) {
        let text = |bytes: Option<&[u8]>| bytes.map(|bytes| String::from_utf8(bytes.to_vec()).unwrap());
        if let Some(name) = field.name {
            assert_eq!(field.tag, name.len() as u8, "a tag stays with its name");
        }
        self.0.push((text(field.name), text(field.value), field.index, field.never_indexed));
    }
}

fn for_every_story(mut each: impl FnMut(&str, &Story)) {
    for set in stories::SETS {
        stories::read(set).iter().for_each(|story| each(set, story));
    }
}
