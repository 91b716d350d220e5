//! Phrases that the readable forms of several records share.

use std::io::Write;

use crate::task::record::{Direction, Net};

/// Who sends to whom: `10.0.0.1:8805 > 10.0.0.2:8805 `, or nothing where it is not known.
pub fn ends(out: &mut Vec<u8>, ends: Option<(Net, Direction)>) {
    let Some((net, direction)) = ends else { return };
    let Some(local) = net.local else { return };
    let local = std::net::SocketAddr::new(local.to_canonical(), net.local_port);
    let peer = std::net::SocketAddr::new(net.peer.ip().to_canonical(), net.peer.port());
    let (from, to) = if direction == Direction::Tx { (local, peer) } else { (peer, local) };
    // Writing into memory cannot fail.
    let _ = write!(out, "{from} > {to} ");
}

/// Bytes that the wire gave, on one line: what is no printable ASCII as `\xNN`.
pub fn printable(out: &mut Vec<u8>, bytes: &[u8]) {
    for byte in bytes {
        match byte {
            b'!'..=b'~' => out.push(*byte),
            _ => {
                out.extend_from_slice(b"\\x");
                crate::task::json::digits(out, &[*byte]);
            }
        }
    }
}
