//! TLS over a stream in one piece, and in two cut where the first byte says, gives the same records;
//! DTLS takes any datagram.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../task.rs"]
mod task;

fuzz_target!(|data: &[u8]| {
    let Some((&cut, bytes)) = data.split_first() else { return };
    let whole = task::records("tlsheaders", 443, false, &[bytes]);
    let (left, right) = bytes.split_at(usize::from(cut).min(bytes.len()));
    assert_eq!(task::records("tlsheaders", 443, false, &[left, right]), whole);
    task::records("tlsheaders", 443, true, &[left, right]);
});
