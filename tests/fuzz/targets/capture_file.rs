//! Capture files: any bytes are read or refused; what is lent lies within the file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tawon::task::source::capture::file::Reader;

fuzz_target!(|file: &[u8]| {
    let Ok(mut reader) = Reader::new(file) else { return };
    let mut total = 0;
    while let Ok(Some(packet)) = reader.next() {
        assert!(packet.length as usize >= packet.bytes.len());
        total += packet.bytes.len();
    }
    assert!(total <= file.len());
});
