//! The stories of tests/data/hpack: what an encoder sent on one connection, block by block, with the
//! header lists that the blocks decode to.

#![allow(dead_code)] // each program uses a part of it

use std::fs::File;
use std::io::{BufRead, BufReader};

use flate2::read::GzDecoder;

pub const SETS: [&str; 4] = ["go-hpack", "nghttp2", "nghttp2-change-table-size", "node-http2-hpack"];

#[derive(serde::Deserialize)]
pub struct Story {
    pub story: String,
    pub cases: Vec<Case>,
}

/// One header block.
#[derive(serde::Deserialize)]
pub struct Case {
    #[serde(deserialize_with = "hex")]
    pub wire: Vec<u8>,
    /// What the reader had set SETTINGS_HEADER_TABLE_SIZE to before it.
    pub header_table_size: Option<u32>,
    pub headers: Vec<(String, String)>,
}

pub fn read(set: &str) -> Vec<Story> {
    let path = format!("{}/tests/data/hpack/{set}.jsonl.gz", env!("CARGO_MANIFEST_DIR"));
    let file = File::open(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let lines = BufReader::new(GzDecoder::new(file)).lines();
    lines.map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect()
}

fn hex<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
    bytes(&<String as serde::Deserialize>::deserialize(from)?).map_err(serde::de::Error::custom)
}

/// Bytes from hexadecimal digits.
pub fn bytes(digits: &str) -> Result<Vec<u8>, std::num::ParseIntError> {
    (0..digits.len() / 2).map(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16)).collect()
}
