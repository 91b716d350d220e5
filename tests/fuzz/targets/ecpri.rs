//! Any PDU is messages or is counted; what comes of one does not hang on the one before.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../task.rs"]
mod task;

fuzz_target!(|data: &[u8]| {
    let once = task::records("ecpri", 5555, true, &[data]);
    assert!(once.len() <= data.len() / 4);
    assert_eq!(task::records("ecpri", 5555, true, &[data, data]), [&once[..], &once].concat());
});
