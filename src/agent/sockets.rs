//! The kernel's tables of sockets, as `flows` asks them.

use libbpf_rs::{MapCore, MapFlags, MapHandle};

use crate::kernel::abi;
use crate::kernel::load::Module;
use crate::kernel::map;
use crate::task::source::{NoSockets, Sockets};

/// None while the programs are not loaded.
#[derive(Default)]
pub(super) struct KernelSockets {
    peers: Option<MapHandle>,
    sockets: Option<MapHandle>,
    unwanted: Option<MapHandle>,
}

impl KernelSockets {
    pub fn of(module: &Module) -> KernelSockets {
        let [peers, sockets, unwanted] =
            ["tawon_peers", "tawon_sockets", "tawon_unwanted"].map(|name| module.map(name));
        KernelSockets { peers, sockets, unwanted }
    }
}

impl Sockets for KernelSockets {
    fn peer(&self, key: &abi::PeerKey) -> Option<abi::Peer> {
        let Some(peers) = &self.peers else { return NoSockets.peer(key) };
        map::lookup(peers, abi::bytes(key))
    }

    fn forget_peer(&self, key: &abi::PeerKey) {
        if let Some(peers) = &self.peers {
            // It may have gone by itself.
            let _ = peers.delete(abi::bytes(key));
        }
    }

    fn forget_socket(&self, sock: u64, flow: u64) {
        let (Some(sockets), Some(unwanted)) = (&self.sockets, &self.unwanted) else { return };
        if !self.is_open(sock, flow) {
            return;
        }
        // First, since it may end in between. Where there is no room, the end is told of and thrown away.
        let _ = unwanted.update(&sock.to_ne_bytes(), &[1], MapFlags::ANY);
        if sockets.delete(&sock.to_ne_bytes()).is_err() {
            // It has gone by itself, and nothing would take this out any more.
            let _ = unwanted.delete(&sock.to_ne_bytes());
        }
    }

    fn is_open(&self, sock: u64, flow: u64) -> bool {
        let Some(sockets) = &self.sockets else { return false };
        map::lookup::<abi::Flow>(sockets, &sock.to_ne_bytes()).is_some_and(|found| found.flow == flow)
    }
}
