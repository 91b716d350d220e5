//! HPACK: any bytes are a block or an error, cut into blocks anywhere; what a joined decoder knows a
//! decoder from the start knows too.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tawon::decode::hpack::{Decoder, Field, Scratch, Visitor, check};

#[derive(Default)]
struct List(Vec<(Option<Vec<u8>>, Option<Vec<u8>>)>);

impl Visitor for List {
    fn field(&mut self, field: Field<'_>) {
        assert!(field.name.is_some() || field.index > 61);
        // A bomb is the caller's to bound; here only its start is looked at.
        if self.0.len() < 1000 {
            self.0.push((field.name.map(<[u8]>::to_vec), field.value.map(<[u8]>::to_vec)));
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((&first, rest)) = data.split_first() else { return };
    let (mut whole, mut joined) = (Decoder::new(), Decoder::joined());
    // As large as what is kept of a table, so that neither forgets what is live.
    whole.limit(Some(65_536));
    let mut scratch = Scratch::default();
    for (turn, block) in rest.chunks(usize::from(first).max(1)).enumerate() {
        let (mut all, mut some) = (List::default(), List::default());
        let right = whole.decode(block, &mut scratch, &mut all);
        if right.is_err() {
            return;
        }
        assert!(check(block).is_ok(), "what decodes is a block");
        if turn == 0 && block.len() % 2 == 0 {
            continue;
        }
        assert_eq!(joined.decode(block, &mut scratch, &mut some), Ok(()));
        for (known, right) in some.0.iter().zip(&all.0) {
            assert!(known.0.is_none() || known.0 == right.0);
            assert!(known.1.is_none() || known.1 == right.1);
        }
        assert!(whole.capacity() < 1 << 19 && joined.capacity() < 1 << 19);
    }
});
