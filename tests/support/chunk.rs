//! A piece of a flow's bytes, for tasks that take these. Fuzz targets take it, too.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use tawon::task::record::{Chunk, Direction, Net};

/// A chunk of a flow between 10.0.0.1 and 10.0.0.2.
pub fn chunk(flow: u64, protocol: u8, port: u16, bytes: &[u8]) -> Chunk<'_> {
    Chunk {
        flow: Some(flow),
        direction: Direction::Tx,
        seq: 0,
        offset: 0,
        gap: 0,
        gap_unknown: false,
        bytes,
        length: bytes.len() as u64,
        start: false,
        end: None,
        datagram: protocol == 17,
        net: Some(Net {
            local: Some(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1))),
            local_port: 40_000,
            peer: SocketAddr::from(([10, 0, 0, 2], port)),
            proto: protocol,
            netns: None,
            packet: false,
        }),
        process: None,
    }
}
