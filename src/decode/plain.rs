//! `plain`: what nearly every frame is, Ethernet, IP and TCP and nothing else, read in one go. `Layers`
//! tells of the same frame the same, and of all others.

use std::net::Ipv4Addr;

use super::ethernet::Ethernet;
use super::ip::{Ipv4, Ipv6, protocol};
use super::tcp::Tcp;
use super::{ethertype, link};

/// Addresses as 128 bits, IPv4 mapped (RFC 4291 2.5.5.2), and the segment.
#[derive(Clone, Copy, Debug)]
pub struct Plain<'a> {
    pub src: u128,
    pub dst: u128,
    pub tcp: Tcp<'a>,
}

/// A whole packet of TCP right behind Ethernet and one IP header; None for anything else, what is cut
/// short or malformed included.
#[inline]
pub fn plain(link_type: u16, bytes: &[u8]) -> Option<Plain<'_>> {
    if link_type != link::ETHERNET {
        return None;
    }
    let ethernet = Ethernet::new_checked(bytes).ok()?;
    let (src, dst, next, packet) = match ethernet.ethertype() {
        ethertype::IPV4 => {
            let ip = Ipv4::new_checked(ethernet.payload()).ok().filter(|ip| !ip.is_fragment())?;
            (mapped(ip.src()), mapped(ip.dst()), ip.protocol(), ip.after().get(..ip.payload_length()?)?)
        }
        ethertype::IPV6 => {
            let ip = Ipv6::new_checked(ethernet.payload()).ok().filter(|ip| ip.payload_length() != 0)?;
            let packet = ip.after().get(..ip.payload_length().into())?;
            (ip.src().to_bits(), ip.dst().to_bits(), ip.next_header(), packet)
        }
        _ => return None,
    };
    if next != protocol::TCP {
        return None;
    }
    Some(Plain { src, dst, tcp: Tcp::new_checked(packet).ok()? })
}

/// An IPv4-mapped IPv6 address. As a number from the start, not by way of `to_ipv6_mapped`: octets would be
/// written in pieces, which the processor waits for before it reads the whole.
#[inline]
pub fn mapped(address: Ipv4Addr) -> u128 {
    0xffff_0000_0000 | u128::from(address.to_bits())
}
