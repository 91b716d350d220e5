//! `Live`: frames of one interface by libpcap's memory-mapped ring, never blocking.

use std::net::IpAddr;
use std::os::fd::{AsRawFd, RawFd};

use pcap::{Active, Capture, Device, Precision};
use prometheus::IntCounter;

use super::record::Interface;

/// How an interface is opened.
pub struct Setup<'a> {
    pub filter: Option<&'a str>,
    pub snaplen: u32,
    pub promiscuous: bool,
    /// Of the ring, in bytes.
    pub ring: usize,
}

/// An interface that is being captured from.
pub struct Live {
    pub interface: Interface,
    pub link_type: u16,
    capture: Capture<Active>,
    dropped: Dropped,
}

/// What the kernel dropped so far; libpcap counts it in 32 bits.
struct Dropped {
    counter: IntCounter,
    last: u32,
}

/// What became of a read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Drained {
    /// The ring is empty: its descriptor will say when it is not.
    Empty,
    /// The budget is spent and there may be more: call again without waiting for the descriptor.
    More,
}

impl Live {
    pub fn open(device: Device, setup: &Setup<'_>, dropped: IntCounter) -> Result<Live, String> {
        let name = device.name.clone();
        let failed = |step: &str, error: pcap::Error| format!("interface {name}: {step}: {error}");
        let interface = Interface {
            name: name.clone(),
            index: index(&name),
            addrs: device.addresses.iter().map(|address| address.addr).filter(|addr| !addr.is_unspecified()).collect(),
        };
        let opened = Capture::from_device(device)
            .map_err(|error| failed("cannot open", error))?
            .promisc(setup.promiscuous)
            .snaplen(setup.snaplen.try_into().unwrap_or(i32::MAX))
            .timeout(RETIRE_MS)
            .buffer_size(setup.ring.try_into().unwrap_or(i32::MAX))
            .precision(Precision::Nano)
            .open()
            .map_err(|error| failed("cannot open", error))?;
        let mut capture = opened.setnonblock().map_err(|error| failed("cannot read without blocking", error))?;
        if let Some(filter) = setup.filter {
            capture.filter(filter, true).map_err(|error| failed(&format!("filter {filter:?}"), error))?;
        }
        let link_type = capture.get_datalink().0.try_into().unwrap_or(u16::MAX);
        Ok(Live { interface, link_type, capture, dropped: Dropped { counter: dropped, last: 0 } })
    }

    pub fn fd(&self) -> RawFd {
        self.capture.as_raw_fd()
    }

    /// Reads at most `budget` frames: bytes, length on the wire, nanoseconds since the epoch.
    pub fn read(
        &mut self,
        budget: usize,
        mut each: impl FnMut(&Interface, u16, &[u8], u32, u64),
    ) -> Result<Drained, String> {
        let mut left = budget;
        while left > 0 {
            let (interface, link_type) = (&self.interface, self.link_type);
            let read = self.capture.dispatch(Some(left.min(BATCH)), |packet| {
                let time = packet.header.ts;
                // with Precision::Nano the field holds nanoseconds
                let nanos = (time.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(time.tv_usec as u64);
                each(interface, link_type, packet.data, packet.header.len, nanos);
            });
            match read {
                Ok(0) | Err(pcap::Error::TimeoutExpired) => return Ok(Drained::Empty),
                Ok(count) => left = left.saturating_sub(count),
                Err(error) => return Err(format!("interface {}: {error}", self.interface.name)),
            }
        }
        Ok(Drained::More)
    }

    /// Whether the interface is there no more, or another of its name is.
    pub fn is_gone(&self) -> bool {
        index(&self.interface.name) != self.interface.index
    }

    /// Moves the counter of what the kernel dropped.
    pub fn count_drops(&mut self) {
        if let Ok(stat) = self.capture.stats() {
            self.dropped.counter.inc_by(stat.dropped.wrapping_sub(self.dropped.last).into());
            self.dropped.last = stat.dropped;
        }
    }
}

/// The interfaces whose name matches: a name, a glob with `*` and `?`, or `all`, which are those that
/// are up. The pseudo-interfaces of libpcap are none, unless named.
pub fn devices(pattern: &str) -> Result<Vec<Device>, String> {
    let known = Device::list().map_err(|error| format!("cannot list interfaces: {error}"))?;
    let real = |device: &Device| index(&device.name).is_some();
    if pattern == "all" {
        return Ok(known.into_iter().filter(|device| real(device) && device.flags.is_up()).collect());
    }
    if is_glob(pattern) {
        return Ok(known.into_iter().filter(|device| real(device) && matches(pattern, &device.name)).collect());
    }
    match known.into_iter().find(|device| device.name == pattern) {
        Some(device) => Ok(vec![device]),
        None => Err(format!("interface {pattern}: there is none of this name")),
    }
}

/// The addresses of this network namespace.
pub fn local_addresses() -> Vec<IpAddr> {
    let devices = Device::list().unwrap_or_default();
    devices.iter().flat_map(|device| &device.addresses).map(|address| address.addr).collect()
}

/// Whether the interfaces meant may change while the agent runs.
pub fn is_glob(pattern: &str) -> bool {
    pattern == "all" || pattern.contains(['*', '?'])
}

/// By the kernel, not by sysfs, which may be mounted for another network namespace.
fn index(name: &str) -> Option<u32> {
    nix::net::if_::if_nametoindex(name).ok()
}

/// Glob matching in linear space and, for names of 15 bytes, bounded time.
fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut at, mut in_name, mut star) = (0, 0, None);
    while in_name < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, in_name));
                at += 1;
            }
            Some(&byte) if byte == b'?' || byte == name[in_name] => (at, in_name) = (at + 1, in_name + 1),
            _ => match &mut star {
                Some((star, taken)) => {
                    *taken += 1;
                    (at, in_name) = (*star + 1, *taken);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|&byte| byte == b'*')
}

/// After which the kernel hands over a block of the ring that is not full, in milliseconds. libpcap makes
/// blocks of 256 KiB, and each one handed over is taken until it was read: the product with their number
/// is how long the agent may stand still before frames are dropped, however few they are.
const RETIRE_MS: i32 = 50;
/// Frames per call into libpcap.
const BATCH: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_names_whole() {
        for (pattern, name, is) in [
            ("eth0", "eth0", true),
            ("eth*", "eth0", true),
            ("eth*", "veth0", false),
            ("*eth*", "veth0", true),
            ("*a*b*c", "xaybzc", true),
            ("*a*b*c", "xaybzd", false),
            ("cali????", "cali12ab", true),
            ("cali????", "cali12abc", false),
            ("*", "", true),
            ("?", "", false),
        ] {
            assert_eq!(matches(pattern, name), is, "{pattern} {name}");
        }
    }
}
