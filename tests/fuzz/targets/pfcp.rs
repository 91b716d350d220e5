//! Any datagram is messages or is counted; what comes of one message does not hang on the one before.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../task.rs"]
mod task;

fuzz_target!(|data: &[u8]| {
    let once = task::records("pfcp", 8805, true, &[data]);
    assert!(once.len() <= data.len() / 8);
    assert_eq!(task::records("pfcp", 8805, true, &[data, data]), [&once[..], &once].concat());
});
