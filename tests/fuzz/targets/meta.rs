//! `meta` of a source: any text is a set of fields or an error that names the word.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tawon::process::metadata::Meta;

fuzz_target!(|text: &str| {
    match Meta::parse(text) {
        Ok(meta) => {
            let blank = text.split('+').all(|word| word.trim().is_empty());
            assert_eq!(meta == Meta::NONE, blank, "a word that is known sets a field");
        }
        Err(why) => assert!(why.starts_with("unknown meta "), "{why}"),
    }
});
