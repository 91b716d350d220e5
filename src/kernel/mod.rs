//! Everything that talks to the kernel, and the only unsafe code. Knows no task: it loads and attaches
//! the programs that a `Plan` names, and hands out what their rings, counters and iterators bring.
#![allow(unsafe_code)]

pub mod abi;
pub mod cache;
pub mod features;
pub mod iter;
pub mod load;
pub mod map;
pub mod merge;
pub mod messages;
pub mod ring;
pub mod stats;
pub mod syscalls;
pub mod watch;
