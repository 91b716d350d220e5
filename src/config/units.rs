//! Values with units as they are written: durations, sizes, addresses to listen on, networks.
//! Errors are one phrase that shows the forms that would be right.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

/// Parses `300ms`, `30s`, `5m`, `2h`: a whole number and its unit.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a duration; write one like 300ms, 30s, 5m or 2h");
    let (number, unit) = split(text).ok_or_else(wrong)?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(wrong()),
    };
    number.checked_mul(millis).map(Duration::from_millis).ok_or_else(|| format!("{text:?} is too long a duration"))
}

/// Writes a duration as `duration` reads it, in the largest unit that keeps it whole. What is
/// below a millisecond cannot be written and is left out.
pub fn duration_text(duration: Duration) -> String {
    let millis = duration.as_millis();
    match millis {
        0 => "0s".to_owned(),
        _ if millis.is_multiple_of(3_600_000) => format!("{}h", millis / 3_600_000),
        _ if millis.is_multiple_of(60_000) => format!("{}m", millis / 60_000),
        _ if millis.is_multiple_of(1000) => format!("{}s", millis / 1000),
        _ => format!("{millis}ms"),
    }
}

/// Parses bytes: `64Ki`, `1Mi`, `2Gi`, `1Ti` or a plain number.
pub fn size(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is not a size; write one like 64Ki, 1Mi, 2Gi or a number of bytes");
    let (number, unit) = split(text).ok_or_else(wrong)?;
    let shift = match unit {
        "" => 0,
        "Ki" => 10,
        "Mi" => 20,
        "Gi" => 30,
        "Ti" => 40,
        _ => return Err(wrong()),
    };
    number.checked_mul(1 << shift).ok_or_else(|| format!("{text:?} is too large a size"))
}

/// Writes bytes as `size` reads them, in the largest unit that keeps them whole.
pub fn size_text(bytes: u64) -> String {
    for (shift, unit) in [(40, "Ti"), (30, "Gi"), (20, "Mi"), (10, "Ki")] {
        if bytes != 0 && bytes.is_multiple_of(1 << shift) {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    bytes.to_string()
}

/// Where to listen.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Listen {
    /// `:9990`: all addresses, dual stack where there is IPv6, else IPv4.
    All(u16),
    /// `127.0.0.1:9990`, `[::1]:9990`.
    One(SocketAddr),
}

impl Listen {
    /// The addresses to bind, the first that can be bound being enough. An IPv6 wildcard is meant
    /// dual stack (IPV6_V6ONLY off) only here.
    pub fn candidates(self) -> impl Iterator<Item = SocketAddr> {
        let (first, second) = match self {
            Listen::All(port) => {
                ((Ipv6Addr::UNSPECIFIED, port).into(), Some(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))))
            }
            Listen::One(addr) => (addr, None),
        };
        [Some(first), second].into_iter().flatten()
    }

    /// Whether one keeps the other from being bound, and is not the same. Only `:PORT` is of both families.
    pub fn collides(self, other: Listen) -> bool {
        let everywhere = |one: SocketAddr, other: SocketAddr| {
            one.is_ipv4() == other.is_ipv4() && (one.ip().is_unspecified() || other.ip().is_unspecified())
        };
        self.port() == other.port()
            && self.port() != 0
            && self != other
            && match (self, other) {
                (Listen::One(one), Listen::One(other)) => everywhere(one, other),
                _ => true,
            }
    }

    pub fn port(self) -> u16 {
        match self {
            Listen::All(port) => port,
            Listen::One(addr) => addr.port(),
        }
    }
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Listen, String> {
        let parsed = match text.strip_prefix(':') {
            Some(port) => digits(port).and_then(|port| u16::try_from(port).ok()).map(Listen::All),
            None => text.parse().ok().map(Listen::One),
        };
        parsed.ok_or_else(|| {
            format!("{text:?} is not an address to listen on; write one like :9990, 127.0.0.1:9990 or [::1]:9990")
        })
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Listen::All(port) => write!(f, ":{port}"),
            Listen::One(addr) => addr.fmt(f),
        }
    }
}

/// An IP network: an address and how many of its leading bits count.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Network {
    addr: IpAddr,
    length: u8,
}

impl Network {
    /// Whether `addr` lies in it. IPv4-mapped addresses count as IPv4.
    pub fn contains(&self, addr: IpAddr) -> bool {
        match (self.addr, addr.to_canonical()) {
            (IpAddr::V4(net), IpAddr::V4(addr)) => (net.to_bits() ^ addr.to_bits()) & mask(self.length, 32) as u32 == 0,
            (IpAddr::V6(net), IpAddr::V6(addr)) => (net.to_bits() ^ addr.to_bits()) & mask(self.length, 128) == 0,
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = String;

    /// Parses `10.0.0.0/8`, `fd00::/8` or a single address.
    fn from_str(text: &str) -> Result<Network, String> {
        let wrong = || format!("{text:?} is not a network; write one like 10.0.0.0/8, fd00::/8 or 192.0.2.7");
        let (addr, length) = match text.split_once('/') {
            Some((addr, length)) => (addr, Some(digits(length).ok_or_else(wrong)?)),
            None => (text, None),
        };
        let addr: IpAddr = addr.parse().map_err(|_| wrong())?;
        let bits = if addr.is_ipv4() { 32 } else { 128 };
        let length = length.unwrap_or(bits);
        if length > bits {
            return Err(format!("{text:?}: a network of this family has at most {bits} leading bits"));
        }
        // Peers and flows are looked at as what they are, IPv4.
        let (addr, counted) = match addr {
            IpAddr::V6(mapped) if length >= MAPPED => match mapped.to_ipv4_mapped() {
                Some(addr) => (addr.into(), length - MAPPED),
                None => (addr, length),
            },
            addr => (addr, length),
        };
        let network = Network { addr, length: counted as u8 };
        let host_bits = match addr {
            IpAddr::V4(addr) => u128::from(addr.to_bits()) & !mask(network.length, 32) & u128::from(u32::MAX),
            IpAddr::V6(addr) => addr.to_bits() & !mask(network.length, 128),
        };
        if host_bits != 0 {
            return Err(format!("{text:?} has bits set behind the first {length}"));
        }
        Ok(network)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.addr, self.length)
    }
}

/// Leading bits of ::ffff:0:0/96, RFC 4291 section 2.5.5.2.
const MAPPED: u64 = 96;

/// The leading `length` bits of `width` set.
fn mask(length: u8, width: u8) -> u128 {
    let ones = if width == 128 { u128::MAX } else { (1 << width) - 1 };
    ones & ones.checked_shl(u32::from(width - length)).unwrap_or(0)
}

/// A number and what follows it; None without a digit in front.
fn split(text: &str) -> Option<(u64, &str)> {
    let end = text.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    Some((digits(&text[..end])?, &text[end..]))
}

/// A number of digits alone: no sign, no space.
pub fn digits(text: &str) -> Option<u64> {
    (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_a_number_and_a_unit() {
        for (text, millis) in [("300ms", 300), ("30s", 30_000), ("5m", 300_000), ("2h", 7_200_000), ("0s", 0)] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "30", "s", "1.5s", "-1s", "+1s", "1 s", "1d", "1S", "1h30m", "99999999999999999999s", "٣s"] {
            assert!(duration(text).is_err(), "{text}");
        }
        assert!(duration("18446744073709551615h").unwrap_err().contains("too long"));
    }

    #[test]
    fn durations_and_sizes_are_written_as_they_are_read() {
        for text in ["0s", "1ms", "1500ms", "90s", "5m", "2h"] {
            assert_eq!(duration_text(duration(text).unwrap()), text);
        }
        assert_eq!(duration_text(duration("120s").unwrap()), "2m");
        for text in ["0", "1", "1023", "64Ki", "1Mi", "3Gi", "2Ti", "1025"] {
            assert_eq!(size_text(size(text).unwrap()), text);
        }
        assert_eq!(size_text(65536), "64Ki");
    }

    #[test]
    fn sizes_are_bytes_or_binary_units() {
        for (text, bytes) in [("0", 0), ("1000", 1000), ("64Ki", 65_536), ("1Mi", 1 << 20), ("2Gi", 2 << 30)] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "Ki", "1K", "1KB", "1 Ki", "1.5Mi", "-1", "1Mib", "70%"] {
            assert!(size(text).is_err(), "{text}");
        }
        assert!(size("18446744073709551615Ki").unwrap_err().contains("too large"));
    }

    #[test]
    fn listen_takes_a_port_or_an_address_with_port() {
        assert_eq!(":9990".parse(), Ok(Listen::All(9990)));
        assert_eq!("127.0.0.1:1".parse(), Ok(Listen::One("127.0.0.1:1".parse().unwrap())));
        assert_eq!("[::1]:0".parse(), Ok(Listen::One("[::1]:0".parse().unwrap())));
        for text in ["", "9990", ":", ":65536", ":-1", ":+1", "localhost:1", "1.2.3.4", "::1:9", "[::1]"] {
            assert!(text.parse::<Listen>().is_err(), "{text}");
        }
        let all: Vec<SocketAddr> = Listen::All(7).candidates().collect();
        assert_eq!(all, ["[::]:7".parse().unwrap(), "0.0.0.0:7".parse().unwrap()]);
    }

    #[test]
    fn addresses_collide_where_one_covers_the_other_and_families_do_not() {
        let collide = |one: &str, other: &str| {
            let (one, other): (Listen, Listen) = (one.parse().unwrap(), other.parse().unwrap());
            assert_eq!(one.collides(other), other.collides(one));
            one.collides(other)
        };
        for (one, other) in [
            (":5", "127.0.0.1:5"),
            (":5", "[::1]:5"),
            (":5", "0.0.0.0:5"),
            (":5", "[::]:5"),
            ("0.0.0.0:5", "127.0.0.1:5"),
            ("[::]:5", "[::1]:5"),
        ] {
            assert!(collide(one, other), "{one} {other}");
        }
        for (one, other) in [
            (":5", ":5"),
            (":5", ":6"),
            (":5", "127.0.0.1:6"),
            ("0.0.0.0:5", "[::]:5"),
            ("0.0.0.0:5", "[::1]:5"),
            ("127.0.0.1:5", "127.0.0.2:5"),
            (":0", "127.0.0.1:0"),
        ] {
            assert!(!collide(one, other), "{one} {other}");
        }
    }

    #[test]
    fn networks_contain_what_shares_their_leading_bits() {
        let inside = |net: &str, addr: &str| net.parse::<Network>().unwrap().contains(addr.parse().unwrap());
        assert!(inside("10.0.0.0/8", "10.255.0.1"));
        assert!(inside("10.0.0.0/8", "::ffff:10.1.2.3"));
        assert!(!inside("10.0.0.0/8", "11.0.0.1"));
        assert!(inside("0.0.0.0/0", "255.1.1.1"));
        assert!(!inside("0.0.0.0/0", "::1"));
        assert!(inside("::/0", "fe80::1"));
        assert!(inside("fd00::/8", "fd12::1"));
        assert!(!inside("fd00::/8", "fe00::1"));
        assert!(inside("192.0.2.7", "192.0.2.7"));
        assert!(!inside("192.0.2.7", "192.0.2.6"));
        assert!(inside("::ffff:10.203.7.0/120", "10.203.7.9"));
        assert!(inside("::ffff:10.203.7.0/120", "::ffff:10.203.7.9"));
        assert!(!inside("::ffff:10.203.7.0/120", "10.203.8.9"));
        assert!(inside("::ffff:0:0/96", "192.0.2.7") && !inside("::ffff:0:0/96", "::1"));
        assert_eq!("::ffff:192.0.2.7".parse::<Network>(), "192.0.2.7".parse());
        assert!("::ffff:10.0.0.1/120".parse::<Network>().unwrap_err().contains("bits set behind the first 120"));
        assert!("::ffff:0:0/95".parse::<Network>().unwrap_err().contains("bits set behind the first 95"));
        for text in ["", "10.0.0.0/33", "::/129", "10.0.0.1/8", "x/8", "10.0.0.0/", "10.0.0.0/-1", "10.0.0.0/8/8"] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }
}
