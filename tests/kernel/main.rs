//! Real kernel events, exact counts.

mod agent;
mod capture;
mod exec;
mod exec_threads;
mod flows;
mod fronthaul;
mod interrupts;
mod machine;
mod owners;
mod programs;
mod reload;
mod resets;
mod rings;
mod strangers;
#[path = "../support/mod.rs"]
mod support;
mod udp;
mod unseen;
mod work;
mod work_threads;
mod worker;
