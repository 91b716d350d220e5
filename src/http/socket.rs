//! Binding a listening socket.

use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::config::Listen;

/// Binds and listens. `:PORT` takes both families by one socket where there is IPv6, else IPv4.
/// `share` lets the socket stand beside another of ours that shares too, until it is told otherwise.
pub(super) fn listen(on: Listen, share: bool) -> io::Result<Socket> {
    first(on, |address| bound(address, matches!(on, Listen::One(_)), share))
}

fn first<T>(on: Listen, mut bound: impl FnMut(SocketAddr) -> io::Result<T>) -> io::Result<T> {
    let mut last = io::ErrorKind::AddrNotAvailable.into();
    for address in on.candidates() {
        match bound(address) {
            // IPv4 alone must not hide that somebody has the port.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(error),
            // No IPv6 in the kernel, or switched off by net.ipv6.conf.*.disable_ipv6.
            Err(error) => last = error,
            listening => return listening,
        }
    }
    Err(last)
}

/// Lets a further socket of this process bind an address that this one holds, or no longer.
pub(super) fn share(socket: SockRef<'_>, yes: bool) -> io::Result<()> {
    socket.set_reuse_port(yes)
}

fn bound(address: SocketAddr, one_family: bool, share: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(one_family)?;
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
    fn without_ipv6_a_port_is_listened_on_over_ipv4_unless_somebody_has_it() {
        let bound_over_ipv4 = |ipv6: i32| {
            first(Listen::All(9990), |address| match address {
                SocketAddr::V6(_) => Err(io::Error::from_raw_os_error(ipv6)),
                address => Ok(address),
            })
        };
        for refusal in [libc::EAFNOSUPPORT, libc::EADDRNOTAVAIL] {
            assert_eq!(bound_over_ipv4(refusal).unwrap(), "0.0.0.0:9990".parse().unwrap());
        }
        assert_eq!(bound_over_ipv4(libc::EADDRINUSE).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }
}
