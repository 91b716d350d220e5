//! What several test programs share.
#![allow(dead_code)] // each test program uses a part of it

pub mod agent;
pub mod alloc;
pub mod chunk;
pub mod exchange;
pub mod h2;
pub mod messages;
pub mod namespace;
pub mod origins;
pub mod packets;
pub mod prometheus;
pub mod promtool;
pub mod python;
pub mod records;
pub mod replay;
pub mod scapy;
pub mod stories;
pub mod syscalls;
pub mod tasks;
pub mod tshark;
