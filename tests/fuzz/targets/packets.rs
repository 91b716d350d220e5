//! Frames of any bytes, cut or whole, through the header walk, the `headers` record and reassembly.
//! Input: link type, then frames, each behind its captured length and the bytes that the capture cut off.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tawon::decode::layers::{Layer, Layers};
use tawon::decode::plain::plain;
use tawon::decode::{Error, Reader};
use tawon::flow::assembler::{Assembler, Limits, Select};
use tawon::time::Instant;

fuzz_target!(|data: &[u8]| {
    let mut input = Reader::new(data);
    let Ok(link_type) = input.u16() else { return };
    let limits = Limits { flows: 8, bytes: 1 << 16, ..Limits::default() };
    let mut assembler = Assembler::new(Select::default(), limits);
    let mut now = Instant(0);
    while let (Ok(length), Ok(cut), Ok(wait)) = (input.u16(), input.u8(), input.u8()) {
        let frame = input.take(usize::from(length).min(input.remaining())).unwrap_or_default();
        let wire = frame.len() + usize::from(cut);
        let mut fragment = false;
        let at_once = plain(link_type, frame).map(|plain| format!("{:?}", plain.tcp));
        let last = Layers::new(link_type, frame, wire).filter_map(Result::ok).last();
        assert!(at_once.is_none_or(|tcp| matches!(last, Some(Layer::Tcp(last)) if format!("{last:?}") == tcp)));
        for layer in Layers::new(link_type, frame, wire) {
            fragment |= layer.is_ok_and(is_fragment);
            let truncated = matches!(layer, Err(Error::Truncated));
            assert!(cut > 0 || fragment || !truncated, "a whole packet is never truncated");
        }
        now.0 += u64::from(wait) << 24;
        assembler.push(link_type, frame, wire, now, &mut |segment| {
            assert!(segment.bytes.len() as u64 <= segment.length);
        });
        assert!(assembler.len() <= 8);
        assembler.tick(now, &mut |_| {});
        if input.is_empty() {
            break;
        }
    }
    assembler.finish(now, &mut |_| {});
});

fn is_fragment(layer: Layer<'_>) -> bool {
    match layer {
        Layer::Ipv4(ip) => ip.is_fragment(),
        Layer::Extension(extension) => extension.fragment().is_some_and(|fragment| !fragment.is_atomic()),
        _ => false,
    }
}
