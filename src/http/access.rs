//! Who may read /directives and the page: loopback peers, and networks that the configuration names.

use std::net::IpAddr;
use std::str::FromStr;

/// Whether `peer` may see what the agent does, beyond its metrics and health.
pub fn allowed(peer: IpAddr, allow: &[Network]) -> bool {
    let peer = peer.to_canonical();
    peer.is_loopback() || allow.iter().any(|network| network.contains(peer))
}

/// An IP network, `10.0.0.0/8` or `fd00::/8`; a plain address is a network of one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Network {
    address: IpAddr,
    prefix: u32,
}

impl Network {
    /// Whether `ip` is in it. Addresses of the other family never are; IPv4-mapped ones are IPv4.
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.address, ip.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(ip)) => {
                (own.to_bits() ^ ip.to_bits()).checked_shr(32 - self.prefix).unwrap_or(0) == 0
            }
            (IpAddr::V6(own), IpAddr::V6(ip)) => {
                (own.to_bits() ^ ip.to_bits()).checked_shr(128 - self.prefix).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Network, String> {
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let address: IpAddr = address.parse().map_err(|_| format!("`{text}` is no network such as 10.0.0.0/8"))?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => most,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits
                .parse()
                .ok()
                .filter(|prefix| *prefix <= most)
                .ok_or(format!("`{text}`: the prefix is 0 to {most}"))?,
            Some(_) => return Err(format!("`{text}`: the prefix is 0 to {most}")),
        };
        Ok(Network { address, prefix })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_and_named_networks_are_let_in_and_nobody_else() {
        let allow: Vec<Network> =
            ["10.1.0.0/16", "fd00::/8", "192.0.2.7"].iter().map(|text| text.parse().unwrap()).collect();
        for (peer, let_in) in [
            ("127.0.0.1", true),
            ("127.9.9.9", true),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
            ("10.1.255.1", true),
            ("::ffff:10.1.2.3", true),
            ("10.2.0.1", false),
            ("fdff::1", true),
            ("fe80::1", false),
            ("192.0.2.7", true),
            ("192.0.2.8", false),
        ] {
            assert_eq!(allowed(peer.parse().unwrap(), &allow), let_in, "{peer}");
        }
        assert!("0.0.0.0/0".parse::<Network>().unwrap().contains("198.51.100.1".parse().unwrap()));
        assert!("::/0".parse::<Network>().unwrap().contains("2001:db8::1".parse().unwrap()));
        for wrong in ["10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/", "::/129", "node/8", "", "10.0.0.0/+8"] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
    }
}
