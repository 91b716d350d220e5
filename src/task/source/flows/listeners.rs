//! Who listens where, so that a connection that nobody accepts can be laid at its listener's door.

use fnv::FnvHashMap;

use crate::kernel::abi;

/// Listening sockets by address of the socket and by place. Bounded by the kernel side's table.
#[derive(Default)]
pub struct Listeners {
    by_socket: FnvHashMap<u64, Place>,
    by_place: FnvHashMap<Place, Vec<Listener>>,
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
        self.by_place.entry(place).or_default().push(Listener {
            sock: flow.sock,
            local: flow.local,
            tgid: flow.tgid,
            process_start: flow.process_start,
        });
    }

    pub fn remove(&mut self, sock: u64) {
        let Some(place) = self.by_socket.remove(&sock) else { return };
        if let Some(there) = self.by_place.get_mut(&place) {
            there.retain(|listener| listener.sock != sock);
            if there.is_empty() {
                self.by_place.remove(&place);
            }
        }
    }

    /// The process (tgid, start) that listens for this connection, if it is just one.
    pub fn owner(&self, flow: &abi::Flow) -> Option<(u32, u64)> {
        let there = self.by_place.get(&(flow.netns, flow.local_port))?;
        let exact = |listener: &&Listener| listener.local == flow.local;
        let any_exact = there.iter().any(|listener| exact(&listener));
        let mut owners = there
            .iter()
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
