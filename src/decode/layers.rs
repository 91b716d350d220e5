//! `Layers`: a frame's headers from the outermost to the transport, through tunnels to a depth of 4.
//! Yields each header as a view; an error ends it. What the transport carries is `payload`.

use super::ethernet::{Ethernet, Loopback, Sll, Vlan};
use super::ip::{Extension, Ipv4, Ipv6, protocol};
use super::tcp::Tcp;
use super::transport::{Icmp, Sctp};
use super::tunnel::{Geneve, Gre, Gtpu, Mpls, Vxlan};
use super::udp::Udp;
use super::{Error, ethertype, link};

/// One header.
#[derive(Clone, Copy, Debug)]
pub enum Layer<'a> {
    Ethernet(Ethernet<'a>),
    Sll(Sll<'a>),
    Loopback(Loopback<'a>),
    Vlan(Vlan<'a>),
    Mpls(Mpls<'a>),
    Ipv4(Ipv4<'a>),
    Ipv6(Ipv6<'a>),
    Extension(Extension<'a>),
    Gre(Gre<'a>),
    Vxlan(Vxlan<'a>),
    Geneve(Geneve<'a>),
    Gtpu(Gtpu<'a>),
    Tcp(Tcp<'a>),
    Udp(Udp<'a>),
    Sctp(Sctp<'a>),
    Icmp(Icmp<'a>),
}

/// Walks the headers of one frame.
#[derive(Clone, Copy, Debug)]
pub struct Layers<'a> {
    next: Next,
    /// What stands behind the header yielded last, cut to what it announced.
    bytes: &'a [u8],
    /// Bytes that were on the wire behind `bytes` and that the capture, or fragmentation, left out.
    missing: usize,
    /// Whether `bytes` are a first fragment, whose headers announce more than it carries.
    fragment: bool,
    tunnels: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Next {
    Ethernet,
    Sll,
    Sll2,
    Loopback,
    Ip,
    Ethertype(u16),
    Mpls,
    Ipv4,
    Ipv6,
    Protocol { protocol: u8, v6: bool },
    Vxlan,
    Geneve,
    Gtpu,
    End,
}

impl<'a> Layers<'a> {
    /// `wire_length` is the frame's length before the capture cut it; `link_type` is LINKTYPE_*.
    pub fn new(link_type: u16, bytes: &'a [u8], wire_length: usize) -> Layers<'a> {
        let next = match link_type {
            link::ETHERNET => Next::Ethernet,
            link::LINUX_SLL => Next::Sll,
            link::LINUX_SLL2 => Next::Sll2,
            link::NULL | link::LOOP => Next::Loopback,
            link::RAW | link::IPV4 | link::IPV6 | 12 | 14 => Next::Ip,
            _ => Next::End,
        };
        let missing = wire_length.saturating_sub(bytes.len());
        Layers { next, bytes, missing, fragment: false, tunnels: 0 }
    }

    /// The headers behind IP of a packet put together from fragments.
    pub fn reassembled(protocol: u8, v6: bool, bytes: &'a [u8], tunnels: u8) -> Layers<'a> {
        Layers { next: Next::Protocol { protocol, v6 }, bytes, missing: 0, fragment: false, tunnels }
    }

    /// What stands behind the header yielded last.
    pub fn payload(&self) -> &'a [u8] {
        self.bytes
    }

    /// Bytes of the payload that the capture cut off.
    pub fn missing(&self) -> usize {
        self.missing
    }

    /// Tunnels entered so far.
    pub fn tunnels(&self) -> u8 {
        self.tunnels
    }

    /// Whether the payload is of a kind that is not read further.
    pub fn is_done(&self) -> bool {
        self.next == Next::End
    }

    fn step(&mut self) -> Result<Option<Layer<'a>>, Error> {
        let bytes = self.bytes;
        Ok(Some(match self.next {
            Next::Ethernet => {
                let ethernet = Ethernet::new_checked(bytes)?;
                self.go(Next::Ethertype(ethernet.ethertype()), ethernet.payload());
                Layer::Ethernet(ethernet)
            }
            Next::Sll | Next::Sll2 => {
                let sll = if self.next == Next::Sll { Sll::v1(bytes)? } else { Sll::v2(bytes)? };
                self.go(Next::Ethertype(sll.protocol), sll.payload());
                Layer::Sll(sll)
            }
            Next::Loopback => {
                let loopback = Loopback::new_checked(bytes)?;
                self.go(Next::Ip, loopback.payload());
                Layer::Loopback(loopback)
            }
            Next::Ip => match bytes.first().map(|byte| byte >> 4) {
                Some(4) => return self.ipv4(),
                Some(6) => return self.ipv6(),
                Some(_) => return Err(Error::Malformed),
                None => return Err(Error::Truncated),
            },
            Next::Ipv4 => return self.ipv4(),
            Next::Ipv6 => return self.ipv6(),
            Next::Ethertype(kind) => return self.ethertype(kind),
            Next::Mpls => self.mpls()?,
            Next::Protocol { protocol, v6 } => return self.protocol(protocol, v6),
            Next::Vxlan => {
                let vxlan = Vxlan::new_checked(bytes)?;
                self.go(Next::Ethernet, vxlan.payload());
                Layer::Vxlan(vxlan)
            }
            Next::Geneve => {
                let geneve = Geneve::new_checked(bytes)?;
                self.go(inner(geneve.protocol()), geneve.payload());
                Layer::Geneve(geneve)
            }
            Next::Gtpu => {
                let gtpu = Gtpu::new_checked(bytes)?;
                let announced = gtpu.payload_length().ok_or(Error::Malformed)?;
                let next = if gtpu.message_type() == Gtpu::G_PDU { Next::Ip } else { Next::End };
                self.go(next, gtpu.payload());
                self.limit(Some(announced))?;
                Layer::Gtpu(gtpu)
            }
            Next::End => return Ok(None),
        }))
    }

    fn ethertype(&mut self, kind: u16) -> Result<Option<Layer<'a>>, Error> {
        match kind {
            ethertype::IPV4 => self.ipv4(),
            ethertype::IPV6 => self.ipv6(),
            ethertype::VLAN | ethertype::QINQ | ethertype::QINQ_OLD => {
                let vlan = Vlan::new_checked(kind, self.bytes)?;
                self.go(Next::Ethertype(vlan.ethertype()), vlan.payload());
                Ok(Some(Layer::Vlan(vlan)))
            }
            ethertype::MPLS | ethertype::MPLS_MULTICAST => self.mpls().map(Some),
            _ => Ok(self.end()),
        }
    }

    fn mpls(&mut self) -> Result<Layer<'a>, Error> {
        let mpls = Mpls::new_checked(self.bytes)?;
        // what a label stack carries is not named: IP by its version, else perhaps Ethernet
        let (next, skip) = match (mpls.bottom(), mpls.payload().first().map(|byte| byte >> 4)) {
            (false, _) => (Next::Mpls, 0),
            (true, Some(4)) => (Next::Ipv4, 0),
            (true, Some(6)) => (Next::Ipv6, 0),
            (true, _) => match pseudowire(mpls.payload()) {
                Some(skip) => (self.tunnel(Next::Ethernet), skip),
                None => (Next::End, 0),
            },
        };
        self.go(next, mpls.payload().get(skip..).unwrap_or_default());
        Ok(Layer::Mpls(mpls))
    }

    #[inline]
    fn ipv4(&mut self) -> Result<Option<Layer<'a>>, Error> {
        let ip = Ipv4::new_checked(self.bytes)?;
        let next =
            if ip.fragment_offset() == 0 { Next::Protocol { protocol: ip.protocol(), v6: false } } else { Next::End };
        self.go(next, ip.after());
        self.limit(ip.payload_length())?;
        self.fragment = ip.is_fragment();
        Ok(Some(Layer::Ipv4(ip)))
    }

    #[inline]
    fn ipv6(&mut self) -> Result<Option<Layer<'a>>, Error> {
        let ip = Ipv6::new_checked(self.bytes)?;
        self.go(Next::Protocol { protocol: ip.next_header(), v6: true }, ip.after());
        self.limit((ip.payload_length() != 0).then(|| ip.payload_length().into()))?;
        self.fragment = false;
        Ok(Some(Layer::Ipv6(ip)))
    }

    #[inline]
    fn protocol(&mut self, number: u8, v6: bool) -> Result<Option<Layer<'a>>, Error> {
        let bytes = self.bytes;
        Ok(Some(match number {
            protocol::TCP => {
                let tcp = Tcp::new_checked(bytes)?;
                self.go(Next::End, tcp.payload());
                Layer::Tcp(tcp)
            }
            protocol::UDP => {
                let udp = Udp::new_checked(bytes)?;
                let next = match (udp.src_port(), udp.dst_port()) {
                    (_, Vxlan::PORT) => self.tunnel(Next::Vxlan),
                    (_, Geneve::PORT) => self.tunnel(Next::Geneve),
                    (_, Gtpu::PORT) | (Gtpu::PORT, _) => self.tunnel(Next::Gtpu),
                    _ => Next::End,
                };
                self.go(next, udp.after());
                self.limit(udp.payload_length())?;
                Layer::Udp(udp)
            }
            protocol::SCTP => {
                let sctp = Sctp::new_checked(bytes)?;
                self.next = Next::End;
                Layer::Sctp(sctp)
            }
            protocol::ICMP | protocol::ICMPV6 => {
                let icmp = Icmp::new_checked(number == protocol::ICMPV6, bytes)?;
                self.next = Next::End;
                Layer::Icmp(icmp)
            }
            protocol::GRE => {
                let gre = Gre::new_checked(bytes)?;
                let next = self.tunnel(inner(gre.protocol));
                self.go(next, gre.payload());
                Layer::Gre(gre)
            }
            protocol::IPV4 | protocol::IPV6 | protocol::MPLS => {
                self.next = self.tunnel(match number {
                    protocol::IPV4 => Next::Ipv4,
                    protocol::IPV6 => Next::Ipv6,
                    _ => Next::Mpls,
                });
                return self.step();
            }
            _ if Extension::is(number) && (v6 || number == protocol::AH) => {
                let extension = Extension::new_checked(number, bytes)?;
                let fragment = extension.fragment().filter(|fragment| !fragment.is_atomic());
                let next = match fragment {
                    Some(fragment) if fragment.offset != 0 => Next::End,
                    _ => Next::Protocol { protocol: extension.next_header(), v6 },
                };
                self.fragment |= fragment.is_some();
                self.go(next, extension.payload());
                Layer::Extension(extension)
            }
            _ => return Ok(self.end()),
        }))
    }

    fn go(&mut self, next: Next, payload: &'a [u8]) {
        self.next = next;
        self.bytes = payload;
    }

    fn end(&mut self) -> Option<Layer<'a>> {
        self.next = Next::End;
        None
    }

    /// Enters a tunnel, unless it is one too many.
    fn tunnel(&mut self, next: Next) -> Next {
        if next == Next::End || self.tunnels == TUNNELS {
            return Next::End;
        }
        self.tunnels += 1;
        next
    }

    /// Cuts the payload to what a header announced; what lies behind it is padding.
    #[inline]
    fn limit(&mut self, announced: Option<usize>) -> Result<(), Error> {
        let Some(announced) = announced else { return Ok(()) };
        match self.bytes.get(..announced) {
            Some(whole) => (self.bytes, self.missing) = (whole, 0),
            None if self.fragment || announced <= self.bytes.len() + self.missing => {
                self.missing = announced - self.bytes.len();
            }
            None => return Err(Error::Malformed),
        }
        Ok(())
    }
}

impl<'a> Iterator for Layers<'a> {
    type Item = Result<Layer<'a>, Error>;

    #[inline]
    fn next(&mut self) -> Option<Result<Layer<'a>, Error>> {
        let step = self.step();
        if step.is_err() {
            self.next = Next::End;
        }
        // an end of the bytes that the capture did not make was made by the sender
        step.map_err(|error| if self.missing == 0 { Error::Malformed } else { error }).transpose()
    }
}

/// What a GRE or Geneve protocol type says that is inside.
fn inner(kind: u16) -> Next {
    match kind {
        ethertype::TRANSPARENT_BRIDGING => Next::Ethernet,
        ethertype::IPV4 | ethertype::IPV6 | ethertype::MPLS | ethertype::MPLS_MULTICAST => Next::Ethertype(kind),
        _ => Next::End,
    }
}

/// Where Ethernet begins in a pseudowire, if it is one by the EtherType that it then has: at once, or
/// behind a control word, whose first four bits are 0 (RFC 4385 3).
fn pseudowire(bytes: &[u8]) -> Option<usize> {
    let known = |at: usize| {
        let kind =
            bytes.get(at..).and_then(|bytes| bytes.get(12..14)).map(|kind| u16::from_be_bytes([kind[0], kind[1]]));
        matches!(kind, Some(ethertype::IPV4 | ethertype::IPV6 | ethertype::ARP | ethertype::VLAN | ethertype::QINQ))
    };
    let control_word = bytes.first().is_some_and(|byte| byte >> 4 == 0);
    [0, 4].into_iter().find(|&at| known(at) && (at == 0 || control_word))
}

/// How many tunnels are entered.
const TUNNELS: u8 = 4;
