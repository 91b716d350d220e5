//! Pure functions and views on byte slices. Fixed layouts are views: `new_checked`, then accessors
//! that cannot panic; what is length-prefixed is read with the cursor `reader::Reader`. Nothing here
//! allocates, reads a clock or counts: what is wrong leaves as `Error` and the caller counts it.

pub mod ecpri;
pub mod ethernet;
pub mod hpack;
pub mod http2;
pub mod ip;
pub mod layers;
pub mod padded;
pub mod pfcp;
pub mod plain;
pub mod reader;
pub mod tcp;
pub mod tcp_options;
pub mod tls;
pub mod transport;
pub mod tunnel;
pub mod udp;

pub use reader::{Error, Reader};

/// LINKTYPE_* values (the registry of link-layer header types of pcap).
pub mod link {
    pub const NULL: u16 = 0;
    pub const ETHERNET: u16 = 1;
    pub const RAW: u16 = 101;
    pub const LOOP: u16 = 108;
    pub const LINUX_SLL: u16 = 113;
    pub const IPV4: u16 = 228;
    pub const IPV6: u16 = 229;
    pub const LINUX_SLL2: u16 = 276;
}

/// EtherTypes (IEEE 802 Numbers).
pub mod ethertype {
    pub const IPV4: u16 = 0x0800;
    pub const ARP: u16 = 0x0806;
    pub const TRANSPARENT_BRIDGING: u16 = 0x6558;
    pub const VLAN: u16 = 0x8100;
    pub const IPV6: u16 = 0x86dd;
    pub const MPLS: u16 = 0x8847;
    pub const MPLS_MULTICAST: u16 = 0x8848;
    pub const QINQ: u16 = 0x88a8;
    pub const QINQ_OLD: u16 = 0x9100;
    pub const ECPRI: u16 = 0xaefe;
}
