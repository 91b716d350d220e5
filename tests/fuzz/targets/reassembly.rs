//! Segments of one stream in any order, cut, repetition, loss and time: what leaves is the stream, in
//! order, each byte at its offset, and nothing is left out without a gap of its length.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tawon::decode::link;
use tawon::flow::Direction;
use tawon::flow::assembler::{Assembler, Limits, Select};
use tawon::time::Instant;

fuzz_target!(|data: &[u8]| {
    let Some((first, steps)) = data.split_first_chunk::<4>() else { return };
    let isn = u32::from_be_bytes(*first);
    let mut limits = Limits::default();
    limits.patience.held = 4096;
    let mut assembler = Assembler::new(Select::default(), limits);
    let (mut now, mut next) = (Instant(0), 0_u64);
    let mut check = |segment: &tawon::flow::segment::Segment<'_>| {
        if segment.direction == Direction::Rx {
            return;
        }
        assert!(!segment.gap_unknown);
        assert_eq!(segment.offset, next + segment.gap);
        for (at, byte) in segment.bytes.iter().enumerate() {
            assert_eq!(*byte, byte_at(segment.offset + at as u64));
        }
        next = segment.offset + segment.bytes.len() as u64;
    };
    // No packet: time alone passes.
    let mut push = |assembler: &mut Assembler, now: Instant, packet: &[u8]| match packet {
        [] => assembler.tick(now, &mut check),
        _ => assembler.push(link::RAW, packet, packet.len(), now, &mut check),
    };
    push(&mut assembler, now, &tcp(true, isn, 0, 0x02, &[]));
    push(&mut assembler, now, &tcp(false, 0, isn.wrapping_add(1), 0x12, &[]));
    for step in steps.chunks_exact(4) {
        let [kind, high, low, length] = [step[0], step[1], step[2], step[3]];
        let from = u64::from(u16::from_be_bytes([high, low]) & 0x3fff);
        let seq = isn.wrapping_add(1).wrapping_add(from as u32);
        let bytes: Vec<u8> = (0..u64::from(length)).map(|at| byte_at(from + at)).collect();
        now.0 += u64::from(kind >> 3) * 1_000_000;
        match kind & 7 {
            0..=4 => push(&mut assembler, now, &tcp(true, seq, 1, 0x10, &bytes)),
            5 => push(&mut assembler, now, &tcp(false, 1, seq, 0x10, &[])),
            6 => push(&mut assembler, now, &[]),
            _ => push(&mut assembler, now, &tcp(false, 1, seq, 0x10, &bytes)),
        }
    }
});

/// The stream's content, told by the offset alone.
fn byte_at(offset: u64) -> u8 {
    (offset.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8
}

fn tcp(there: bool, seq: u32, ack: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    let length = (40 + payload.len() as u16).to_be_bytes();
    let mut packet = vec![0x45, 0, length[0], length[1], 0, 0, 0, 0, 64, 6, 0, 0];
    let (src, dst, ports) = if there { (1, 2, [0, 9, 0, 80]) } else { (2, 1, [0, 80, 0, 9]) };
    packet.extend([10, 0, 0, src, 10, 0, 0, dst]);
    packet.extend(ports);
    packet.extend(seq.to_be_bytes());
    packet.extend(ack.to_be_bytes());
    packet.extend([0x50, flags, 0, 0, 0, 0, 0, 0]);
    packet.extend(payload);
    packet
}
