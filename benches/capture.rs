//! What packets cost before any decoder: nanoseconds per frame of each step. `cargo bench --bench capture`;
//! prints, asserts nothing. Whole pipelines beside tshark stand in `decoders`.

#[path = "../tests/support/packets.rs"]
mod packets;

use std::hint::black_box;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use packets::{ACK, Random, SYN};
use tawon::decode::layers::Layers;
use tawon::flow::assembler::{Assembler, Limits, Select};
use tawon::task::source::capture::file::Reader;

fn main() {
    let segments = segments(64, 400);
    println!("one frame of                                       ns");
    layers(&segments);
    reassembly(&segments);
    reader(&segments);
}

/// TCP connections whose segments take turns, with their handshakes.
fn segments(connections: u16, each: u32) -> Vec<Vec<u8>> {
    let server: SocketAddr = "10.0.0.2:80".parse().unwrap();
    let client = |at: u16| SocketAddr::new("10.0.0.1".parse().unwrap(), 20_000 + at);
    let payload = Random(1).bytes(500);
    let mut frames: Vec<Vec<u8>> =
        (0..connections).map(|at| packets::tcp(client(at), server, 99, 0, SYN, b"")).collect();
    for step in 0..each {
        frames.extend((0..connections).map(|at| packets::tcp(client(at), server, 100 + step * 500, 1, ACK, &payload)));
    }
    frames
}

/// Prints the least of several runs, per item.
fn measure(what: &str, items: usize, mut run: impl FnMut()) {
    let mut best = Duration::MAX;
    for _ in 0..7 {
        let begin = Instant::now();
        run();
        best = best.min(begin.elapsed());
    }
    println!("{what:<46} {:>7.1}", best.as_nanos() as f64 / items as f64);
}

fn layers(frames: &[Vec<u8>]) {
    measure("headers walked, Ethernet to TCP", frames.len(), || {
        for frame in frames {
            black_box(Layers::new(1, frame, frame.len()).filter(Result::is_ok).count());
        }
    });
}

fn reassembly(frames: &[Vec<u8>]) {
    measure("TCP segment in order, 64 connections", frames.len(), || {
        let mut assembler = Assembler::new(Select::default(), Limits::default());
        for frame in frames {
            assembler.push(1, frame, frame.len(), tawon::time::Instant(1), &mut |segment| {
                black_box(segment.bytes.len());
            });
        }
    });
}

fn reader(frames: &[Vec<u8>]) {
    let file = packets::pcap(frames.iter().map(|frame| (1, &frame[..])));
    measure("pcap file read", frames.len(), || {
        let mut reader = Reader::new(&file[..]).unwrap();
        while let Some(packet) = reader.next().unwrap() {
            black_box(packet.bytes.len());
        }
    });
}
