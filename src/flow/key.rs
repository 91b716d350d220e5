//! `FlowKey`: both ends of a flow in one order whoever sends, so that both directions find one entry.

use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use crate::time::Instant;

/// Addresses, ports and protocol, the lower end first. Peers choose these, so a table keyed by them
/// takes a seeded hash.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FlowKey {
    low: u128,
    high: u128,
    low_port: u16,
    high_port: u16,
    protocol: u8,
}

impl FlowKey {
    /// The key of addresses with 128 bits and ports, and whether `src` is its lower end.
    #[inline]
    pub fn new(protocol: u8, src: (u128, u16), dst: (u128, u16)) -> (FlowKey, bool) {
        let from_low = src <= dst;
        let (low, high) = if from_low { (src, dst) } else { (dst, src) };
        (FlowKey { low: low.0, high: high.0, low_port: low.1, high_port: high.1, protocol }, from_low)
    }

    /// Sender and receiver, where `from_low` says which end sends; mapped IPv4 addresses as IPv4.
    pub fn ends(&self, from_low: bool) -> (SocketAddr, SocketAddr) {
        let low = SocketAddr::new(canonical(self.low), self.low_port);
        let high = SocketAddr::new(canonical(self.high), self.high_port);
        if from_low { (low, high) } else { (high, low) }
    }

    pub fn protocol(&self) -> u8 {
        self.protocol
    }

    /// The flow's number: a hash of the tuple and its first packet, equal in every task
    /// that sees the same packets and in every replay of a file.
    pub fn flow_id(&self, first_at: Instant, first_seq: u32) -> u64 {
        let mut hasher = fnv::FnvHasher::default();
        hasher.write(&self.bytes());
        hasher.write(&first_at.0.to_be_bytes());
        hasher.write(&first_seq.to_be_bytes());
        // FNV mixes its last bytes into few bits: finish as MurmurHash3 does
        let mut id = hasher.finish();
        for multiplier in [0xff51_afd7_ed55_8ccd, 0xc4ce_b9fe_1a85_ec53] {
            id = (id ^ id >> 33).wrapping_mul(multiplier);
        }
        id ^ id >> 33
    }

    fn bytes(&self) -> [u8; 40] {
        let mut bytes = [0; 40];
        bytes[..16].copy_from_slice(&self.low.to_be_bytes());
        bytes[16..32].copy_from_slice(&self.high.to_be_bytes());
        bytes[32..34].copy_from_slice(&self.low_port.to_be_bytes());
        bytes[34..36].copy_from_slice(&self.high_port.to_be_bytes());
        bytes[36] = self.protocol;
        bytes
    }
}

impl Hash for FlowKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u128(self.low);
        state.write_u128(self.high);
        let ports = u64::from(self.low_port) << 16 | u64::from(self.high_port);
        state.write_u64(ports << 8 | u64::from(self.protocol));
    }
}

fn canonical(address: u128) -> IpAddr {
    let address = Ipv6Addr::from_bits(address);
    address.to_ipv4_mapped().map_or(IpAddr::V6(address), IpAddr::V4)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn end(last: u8, port: u16) -> (u128, u16) {
        (Ipv4Addr::new(10, 0, 0, last).to_ipv6_mapped().to_bits(), port)
    }

    #[test]
    fn both_directions_have_one_key() {
        let (there, from_low) = FlowKey::new(6, end(1, 40_000), end(2, 80));
        let (back, back_from_low) = FlowKey::new(6, end(2, 80), end(1, 40_000));
        assert_eq!((there, from_low), (back, !back_from_low));
        assert_eq!(there.ends(from_low), ("10.0.0.1:40000".parse().unwrap(), "10.0.0.2:80".parse().unwrap()));
        assert_eq!(back.ends(back_from_low), ("10.0.0.2:80".parse().unwrap(), "10.0.0.1:40000".parse().unwrap()));
    }

    #[test]
    fn a_flow_to_itself_has_two_directions_by_its_ports() {
        let (there, from_low) = FlowKey::new(6, end(1, 5), end(1, 7));
        let (back, back_from_low) = FlowKey::new(6, end(1, 7), end(1, 5));
        assert_eq!(there, back);
        assert_ne!(from_low, back_from_low);
    }

    #[test]
    fn flow_ids_differ_by_protocol_time_and_sequence_number() {
        let (tcp, _) = FlowKey::new(6, end(1, 5), end(2, 7));
        let (udp, _) = FlowKey::new(17, end(1, 5), end(2, 7));
        let ids = [
            tcp.flow_id(Instant(1), 1),
            udp.flow_id(Instant(1), 1),
            tcp.flow_id(Instant(2), 1),
            tcp.flow_id(Instant(1), 2),
        ];
        for (at, id) in ids.iter().enumerate() {
            assert!(!ids[..at].contains(id));
        }
        assert_eq!(ids[0], tcp.flow_id(Instant(1), 1));
    }
}
