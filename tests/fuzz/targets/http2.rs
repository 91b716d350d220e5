//! Frame headers and payload views: never outside the bytes, never a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tawon::decode::http2::{HEADER, Header, fragment, settings, unpadded};

fuzz_target!(|data: &[u8]| {
    let mut rest = data;
    while let Some(header) = Header::parse(rest) {
        let payload = rest.get(HEADER..header.size().min(rest.len())).unwrap_or_default();
        let _ = (header.plausible(16384), header.fits());
        if let Some(content) = unpadded(&header, payload) {
            assert!(content.len() <= payload.len());
        }
        if let Some((block, _)) = fragment(&header, payload) {
            assert!(block.len() <= payload.len());
        }
        assert!(settings(payload).count() == payload.len() / 6);
        rest = rest.get(header.size()..).unwrap_or_default();
    }
});
