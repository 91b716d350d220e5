//! `OwnSockets`: which frames are the agent's own, so that it never watches itself. A frame is if one
//! of its ends is an address of this network namespace at a port of a socket that this process has open.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use nix::sys::socket::{SockaddrStorage, getsockname};

use crate::decode::layers::{Layer, Layers};
use crate::decode::tcp::Flags;
use crate::time::Instant;

/// The ends of this process's sockets, read anew each second, and when a connection opens: a SYN of
/// our own is read after the socket that sent it was made.
#[derive(Default)]
pub struct OwnSockets {
    /// Addresses of this network namespace.
    local: HashSet<IpAddr>,
    ends: HashSet<SocketAddr>,
    /// Ports of sockets bound to any address.
    wildcards: HashSet<u16>,
    read_at: Option<Instant>,
}

impl OwnSockets {
    /// Replaces the addresses of this network namespace.
    pub fn set_local(&mut self, addresses: impl Iterator<Item = IpAddr>) {
        self.local = addresses.collect();
    }

    /// Reads the sockets of this process anew, unless that was done just before.
    pub fn read(&mut self, now: Instant, at_most_every: Duration) {
        if self.read_at.is_some_and(|before| now.since(before) < at_most_every) {
            return;
        }
        self.read_at = Some(now);
        self.ends.clear();
        self.wildcards.clear();
        for end in own_ends() {
            match end.ip() {
                IpAddr::V4(Ipv4Addr::UNSPECIFIED) | IpAddr::V6(Ipv6Addr::UNSPECIFIED) => {
                    self.wildcards.insert(end.port());
                }
                _ => {
                    self.ends.insert(end);
                }
            }
        }
    }

    /// Whether this frame is to or from a socket of this process.
    pub fn owns(&mut self, link_type: u16, bytes: &[u8], wire_length: usize, now: Instant) -> bool {
        let Some((src, dst, opens)) = ends(link_type, bytes, wire_length) else { return false };
        if opens && self.local.contains(&src.ip()) {
            self.read(now, REREAD);
        }
        [src, dst].iter().any(|end| {
            self.local.contains(&end.ip()) && (self.ends.contains(end) || self.wildcards.contains(&end.port()))
        })
    }
}

/// The ends of the outermost packet of a frame, and whether it opens a connection.
fn ends(link_type: u16, bytes: &[u8], wire_length: usize) -> Option<(SocketAddr, SocketAddr, bool)> {
    let mut ends: Option<(IpAddr, IpAddr)> = None;
    for layer in Layers::new(link_type, bytes, wire_length) {
        match layer.ok()? {
            Layer::Ipv4(ip) => ends = Some((ip.src().into(), ip.dst().into())),
            Layer::Ipv6(ip) => ends = Some((ip.src().into(), ip.dst().into())),
            Layer::Tcp(tcp) => {
                let opens = tcp.flags().has(Flags::SYN) && !tcp.flags().has(Flags::ACK);
                return ends.map(|(src, dst)| ((src, tcp.src_port()).into(), (dst, tcp.dst_port()).into(), opens));
            }
            Layer::Udp(udp) => {
                return ends.map(|(src, dst)| ((src, udp.src_port()).into(), (dst, udp.dst_port()).into(), false));
            }
            _ => {}
        }
    }
    None
}

/// The local end of each of this process's internet sockets that has a port.
fn own_ends() -> impl Iterator<Item = SocketAddr> {
    let entries = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let fds: Vec<i32> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    fds.into_iter().filter_map(|fd| {
        let name: SockaddrStorage = getsockname(fd).ok()?;
        let v4 = name.as_sockaddr_in().map(|end| SocketAddr::new(end.ip().into(), end.port()));
        let end = v4.or_else(|| {
            name.as_sockaddr_in6().map(|end| SocketAddr::new(IpAddr::V6(end.ip()).to_canonical(), end.port()))
        })?;
        (end.port() != 0).then_some(end)
    })
}

/// A flood of connections must not make us read our descriptors for each.
const REREAD: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream, UdpSocket};

    use super::*;
    use crate::decode::link;

    fn frame(protocol: u8, src: SocketAddr, dst: SocketAddr, flags: u8) -> Vec<u8> {
        let (IpAddr::V4(from), IpAddr::V4(to)) = (src.ip(), dst.ip()) else { panic!("IPv4 alone") };
        let mut bytes = vec![0x45, 0, 0, 40, 0, 0, 0, 0, 64, protocol, 0, 0];
        bytes.extend(from.octets().into_iter().chain(to.octets()));
        bytes.extend(src.port().to_be_bytes().into_iter().chain(dst.port().to_be_bytes()));
        match protocol {
            6 => bytes.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, flags, 0, 0, 0, 0, 0, 0]),
            _ => bytes.extend([0, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        }
        bytes
    }

    #[test]
    fn frames_of_this_process_are_known_and_others_are_not() {
        let mut own = OwnSockets::default();
        own.set_local(["127.0.0.1".parse().unwrap()].into_iter());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let any = UdpSocket::bind("0.0.0.0:0").unwrap();
        own.read(Instant(0), Duration::ZERO);
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (ours, theirs) = (client.local_addr().unwrap(), listener.local_addr().unwrap());
        let far: SocketAddr = "192.0.2.1:9".parse().unwrap();
        let owns = |own: &mut OwnSockets, frame: &[u8]| own.owns(link::RAW, frame, frame.len(), Instant(NANOS));
        assert!(owns(&mut own, &frame(6, ours, far, 2)), "a SYN makes the sockets be read anew");
        assert!(owns(&mut own, &frame(6, far, theirs, 16)));
        let any = SocketAddr::new("127.0.0.1".parse().unwrap(), any.local_addr().unwrap().port());
        assert!(owns(&mut own, &frame(17, far, any, 0)));
        let forwarded = SocketAddr::new("192.0.2.7".parse().unwrap(), any.port());
        assert!(!owns(&mut own, &frame(17, far, forwarded, 0)), "the same port of somebody else");
        assert!(!owns(&mut own, &frame(6, far, SocketAddr::new(ours.ip(), 1), 16)));
    }

    const NANOS: u64 = 1_000_000_000;
}
