//! Destinations: where records go.

pub mod envelope;
pub mod file;
mod lines;
pub mod log;
mod rotate;
mod stream;
#[cfg(test)]
mod tests;
mod writer;

use super::{Opt, Options, Type};

const MAX_QUEUE: Opt = Opt {
    name: "maxQueue",
    ty: Type::Size { min: 64 << 10, max: 1 << 30 },
    default: "8Mi",
    help: "Bytes that may wait to be written; what finds no room is dropped and counted.",
};

fn max_queue(options: &Options) -> usize {
    options.number(MAX_QUEUE.name).and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(8 << 20)
}
