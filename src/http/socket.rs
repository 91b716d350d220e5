//! Listening sockets: the address as it is written, and binding it.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use socket2::{Domain, Protocol, SockRef, Socket, Type};

/// Where to listen: `:9990` is every address of both families, else an address and a port.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Address {
    /// None for every address of this machine.
    pub ip: Option<IpAddr>,
    pub port: u16,
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Address, String> {
        let wrong = || format!("`{text}` is no address such as :9990, 127.0.0.1:9990 or [::1]:9990");
        match text.strip_prefix(':') {
            Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
                Ok(Address { ip: None, port: port.parse().map_err(|_| wrong())? })
            }
            Some(_) => Err(wrong()),
            None => {
                let address: SocketAddr = text.parse().map_err(|_| wrong())?;
                Ok(Address { ip: Some(address.ip()), port: address.port() })
            }
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ip {
            None => write!(f, ":{}", self.port),
            Some(ip) => SocketAddr::new(ip, self.port).fmt(f),
        }
    }
}

/// Binds and listens. `:PORT` takes both families by one socket where there is IPv6, else IPv4.
/// `share` lets the socket stand beside another of ours that shares too, until it is told otherwise.
pub(super) fn listen(address: Address, share: bool) -> io::Result<Socket> {
    if let Some(ip) = address.ip {
        return bound(SocketAddr::new(ip, address.port), share);
    }
    match bound(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), address.port), share) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(error),
        // No IPv6 in the kernel, or switched off by net.ipv6.conf.*.disable_ipv6.
        Err(_) => bound(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port), share),
        listening => listening,
    }
}

/// Lets a further socket of this process bind an address that this one holds, or no longer.
pub(super) fn share(socket: SockRef<'_>, yes: bool) -> io::Result<()> {
    socket.set_reuse_port(yes)
}

fn bound(address: SocketAddr, share: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    if share {
        socket.set_reuse_port(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

const BACKLOG: i32 = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_they_are_written() {
        for text in [":9990", "127.0.0.1:80", "[::1]:8081", "[fd00::1]:0"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        for wrong in ["9990", ":", ":99999", ":+1", "localhost", "127.0.0.1", "::1:80", "", "[::1]"] {
            assert!(wrong.parse::<Address>().is_err(), "{wrong}");
        }
    }
}
