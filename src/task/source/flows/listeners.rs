//! Who listens where, so that a connection that nobody accepts can be laid at its listener's door.

use fnv::FnvHashMap;

use crate::kernel::abi;

/// Listening sockets by place, and the place of each. Bounded by the kernel side's table.
#[derive(Default)]
pub struct Listeners {
    by_socket: FnvHashMap<u64, Place>,
    /// In order; a machine has few, so that moving those behind costs little.
    by_place: Vec<(Place, Listener)>,
}

/// Network namespace and port.
type Place = (u32, u16);

#[derive(Clone, Copy)]
struct Listener {
    sock: u64,
    local: [u8; 16],
    tgid: u32,
    process_start: u64,
}

impl Listeners {
    pub fn insert(&mut self, flow: &abi::Flow) {
        self.remove(flow.sock);
        let place = (flow.netns, flow.local_port);
        self.by_socket.insert(flow.sock, place);
        let listener =
            Listener { sock: flow.sock, local: flow.local, tgid: flow.tgid, process_start: flow.process_start };
        let at = self.by_place.partition_point(|(other, _)| *other <= place);
        self.by_place.insert(at, (place, listener));
    }

    pub fn remove(&mut self, sock: u64) {
        let Some(place) = self.by_socket.remove(&sock) else { return };
        let from = self.by_place.partition_point(|(other, _)| *other < place);
        if let Some(at) = self.by_place[from..].iter().position(|(_, listener)| listener.sock == sock) {
            self.by_place.remove(from + at);
        }
    }

    /// The process (tgid, start) that listens for this connection, if it is just one.
    pub fn owner(&self, flow: &abi::Flow) -> Option<(u32, u64)> {
        let place = (flow.netns, flow.local_port);
        let from = self.by_place.partition_point(|(other, _)| *other < place);
        let there = || self.by_place[from..].iter().take_while(|(at, _)| *at == place).map(|(_, listener)| listener);
        let exact = |listener: &&Listener| listener.local == flow.local;
        let any_exact = there().any(|listener| exact(&listener));
        let mut owners = there()
            .filter(|listener| if any_exact { exact(listener) } else { is_wildcard(&listener.local) })
            .map(|listener| (listener.tgid, listener.process_start));
        let first = owners.next()?;
        owners.all(|owner| owner == first).then_some(first)
    }

    pub fn clear(&mut self) {
        *self = Listeners::default();
    }
}

/// `::` or IPv4's 0.0.0.0 as it is mapped.
fn is_wildcard(local: &[u8; 16]) -> bool {
    std::net::Ipv6Addr::from(*local).to_canonical().is_unspecified()
}
