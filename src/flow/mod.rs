//! Flows: who talks to whom, bounded tables of what is known of them, and byte streams put back in
//! order. Imports nothing above itself; everything here takes (input, time) and gives values.

pub mod assembler;
pub mod connection;
pub mod fragments;
mod index;
pub mod key;
pub mod number;
pub mod reassembly;
pub mod seeded;
pub mod segment;
pub mod table;

/// Which way bytes went, seen from the process watched. After `capture`, where neither end is
/// watched, `Tx` is what the side that sent first (or opened) sends.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, serde::Serialize, schemars::JsonSchema)]
pub enum Direction {
    #[serde(rename = "RX")]
    Rx,
    #[serde(rename = "TX")]
    Tx,
}

impl Direction {
    /// The other way.
    pub const fn reverse(self) -> Direction {
        match self {
            Direction::Rx => Direction::Tx,
            Direction::Tx => Direction::Rx,
        }
    }
}

/// How a direction of a flow ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FlowEnd {
    Fin,
    Rst,
    Close,
    Exit,
}
