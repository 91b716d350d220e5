//! The `dns` task fed by bytes, cuts and gaps: whatever comes are records or counts, and a stream cut
//! in pieces gives what it gives as a whole.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tawon::task::Value;
use tawon::task::record::Chunk;

#[path = "../task.rs"]
mod task;

fuzz_target!(|data: &[u8]| {
    let Some((&[cut, gap, datagram], bytes)) = data.split_first_chunk() else { return };
    if datagram & 1 == 1 {
        assert!(task::records("dns", 53, true, &[bytes]).len() < 2);
        return;
    }
    let whole = stream(&[(bytes, 0)]);
    let pieces: Vec<(&[u8], u64)> = bytes.chunks(usize::from(cut) + 1).map(|piece| (piece, 0)).collect();
    assert_eq!(whole, stream(&pieces));
    let lossy: Vec<(&[u8], u64)> =
        pieces.iter().enumerate().map(|(at, (piece, _))| (*piece, if at % 3 == 2 { gap.into() } else { 0 })).collect();
    stream(&lossy);
});

/// The records of a stream in pieces, each behind a gap.
fn stream(pieces: &[(&[u8], u64)]) -> Vec<String> {
    let mut run = task::Run::new("dns", &[("ports", Value::Ports(vec![53]))], false);
    let mut offset = 0;
    for (at, &(bytes, gap)) in pieces.iter().enumerate() {
        offset += gap;
        run.chunk(0, Chunk { offset, gap, seq: at as u64, start: at == 0, ..task::chunk(53, false, bytes) });
        offset += bytes.len() as u64;
    }
    run.close()
}
