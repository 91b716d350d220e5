//! Streams in random pieces, orders and losses; frames changed at random.

use super::*;

#[test]
fn any_cuts_order_and_repetition_of_segments_give_the_same_stream() {
    for seed in 1..=300 {
        let mut random = Random(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed));
        let length = 1 + random.below(4000);
        let stream = random.bytes(length);
        let isn = random.next() as u32;
        let mut segments = Vec::new();
        let mut at = 0;
        while at < stream.len() {
            let to = (at + 1 + random.below(300)).min(stream.len());
            let from = at.saturating_sub(random.below(60));
            for _ in 0..1 + random.below(2) {
                segments.push((from, to));
            }
            at = to;
        }
        for at in 0..segments.len() {
            let with = (at + random.below(12)).min(segments.len() - 1);
            segments.swap(at, with);
        }
        let mut bench = Bench::new();
        bench.tx(isn.wrapping_sub(1), SYN, b"").rx(1, isn, SYN | ACK, b"");
        for (from, to) in segments {
            let flags = if to == stream.len() { ACK | FIN } else { ACK };
            bench.tx(isn.wrapping_add(from as u32), flags, &stream[from..to]);
        }
        let told: Vec<u8> = bench.got.iter().flat_map(|got| got.bytes.clone()).collect();
        assert!(told == stream, "seed {seed}");
        assert!(bench.got.iter().all(|got| got.gap == 0 && !got.gap_unknown), "seed {seed}");
        assert_eq!(bench.got.last().unwrap().end, Some(FlowEnd::Fin), "seed {seed}");
        assert_eq!(bench.got.iter().filter(|got| got.end.is_some()).count(), 1, "seed {seed}");
        assert_eq!(bench.assembler.counts().streams.conflicts, 0, "seed {seed}");
        assert_eq!(bench.assembler.counts().streams.gaps, 0, "seed {seed}");
    }
}

#[test]
fn with_random_losses_gaps_and_bytes_add_up_to_the_stream() {
    for seed in 1..=300 {
        let mut random = Random(0x2545_f491_4f6c_dd1d_u64.wrapping_mul(seed));
        let length = 1000 + random.below(4000);
        let stream = random.bytes(length);
        let mut bench = connected();
        let (mut at, mut lost) = (0, 0);
        while at < stream.len() {
            let to = (at + 1 + random.below(200)).min(stream.len());
            if random.below(4) == 0 {
                lost += to - at;
            } else {
                bench.tx(100 + at as u32, ACK, &stream[at..to]);
            }
            at = to;
        }
        bench.rx(500, 100 + stream.len() as u32 + 1, ACK, b"").tx(100 + stream.len() as u32, ACK | FIN, b"");
        bench.after(100 * MS);
        let mut next = 0;
        for got in &bench.got {
            assert_eq!(got.offset, next + got.gap, "seed {seed}");
            let from = got.offset as usize;
            assert!(got.bytes == stream[from..from + got.bytes.len()], "seed {seed}");
            next = got.offset + got.bytes.len() as u64;
        }
        assert_eq!(next, stream.len() as u64, "seed {seed}");
        assert_eq!(bench.assembler.counts().streams.gap_bytes, lost as u64, "seed {seed}");
        assert_eq!(bench.got.last().unwrap().end, Some(FlowEnd::Fin), "seed {seed}");
    }
}

#[test]
fn frames_cut_or_changed_at_any_byte_do_no_harm() {
    let inner = packets::tcp(client(), server(), 100, 500, ACK, b"payload");
    let (a, b): (SocketAddr, SocketAddr) = ("192.0.2.1:5000".parse().unwrap(), "192.0.2.2:4789".parse().unwrap());
    let frames = [inner.clone(), packets::udp(a, b, &[&[8, 0, 0, 0, 0, 0, 7, 0], &inner[..]].concat())];
    let mut bench = connected();
    for frame in &frames {
        for keep in 0..frame.len() {
            bench.cut(frame, keep).frame(&frame[..keep]);
        }
        for at in 0..frame.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut changed = frame.clone();
                changed[at] = value;
                bench.frame(&changed);
            }
        }
    }
    bench.finish();
    let counts = bench.assembler.counts();
    assert!(counts.truncated > 0 && counts.malformed > 0);
}
