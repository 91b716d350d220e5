//! One million open flows: what a look-up, an insertion and an eviction cost in the flow table, which
//! keeps the order of use, beside a bare HashMap with the same hash, key and value, which does not. A flow
//! is looked up by itself, and as the agent does it, which has the records of a batch before it needs the
//! first flow. Then what a flow takes in memory.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::hint::black_box;
use std::time::Instant;

use fnv::FnvHasher;
use tawon::flow::table::{Id, Table};
use tawon::kernel::cache;
use tawon::task::source::flows::Tracked;

#[path = "../tests/support/records.rs"]
mod records;

type Hash = BuildHasherDefault<FnvHasher>;
type Ours = Table<u64, Tracked, 2, Hash>;
type Theirs = HashMap<u64, Tracked, Hash>;

fn main() {
    let quick = !std::env::args().any(|arg| arg == "--bench");
    let flows: u64 = if quick { 10_000 } else { 1_000_000 };
    let rounds = if quick { 1 } else { 15 };
    let resident = resident();
    let mut ours = Ours::default();
    for at in 0..flows {
        ours.insert(records::number(at), value(at), 0);
    }
    let (counted, measured) = (Ours::ENTRY_BYTES, (self::resident() - resident) as f64 / flows as f64);
    let mut theirs = Theirs::default();
    for at in 0..flows {
        theirs.insert(records::number(at), value(at));
    }
    let mut lines: Vec<(&str, Vec<f64>, Vec<f64>)> = NAMES.iter().map(|name| (*name, Vec::new(), Vec::new())).collect();
    let mut note = |line: usize, ours: f64, theirs: f64| {
        lines[line].1.push(ours);
        lines[line].2.push(theirs);
    };
    let scattered = |round: u64, at: u64| ((at + round * STEP).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16) % flows;
    for round in 0..rounds {
        let find = |at: u64| records::number(scattered(round, at));
        note(
            0,
            time(|at| _ = black_box(ours.get(&find(at)).unwrap().newest)),
            time(|at| _ = black_box(theirs.get(&find(at)).unwrap().newest)),
        );
        // Others, which the cache does not hold yet.
        let find = |at: u64| records::number(scattered(rounds + round, at));
        let mut batch = [(0, 0, Id::NOWHERE); BATCH];
        let in_batches = time(|at| {
            if at % BATCH as u64 == 0 {
                for (next, (key, noted, _)) in (at..).zip(&mut batch) {
                    *key = find(next);
                    *noted = ours.note(key);
                    ours.fetch_place(*noted, cache::fetch);
                }
                batch.iter_mut().for_each(|(_, noted, guess)| *guess = ours.guess(*noted, cache::fetch));
            }
            let (key, _, guess) = batch[at as usize % BATCH];
            black_box(ours.find_at(&key, guess).unwrap().1.newest);
        });
        note(1, in_batches, time(|at| _ = black_box(theirs.get(&find(at)).unwrap().newest)));
    }
    // Both are full: flows leave in the order in which they came, and others come.
    let model = value(7);
    for round in 0..rounds {
        let oldest = |at: u64| round * STEP + at;
        note(
            2,
            time(|_| _ = black_box(ours.pop_oldest(0).unwrap().1.newest)),
            time(|at| _ = black_box(theirs.remove(&records::number(oldest(at))).unwrap().newest)),
        );
        note(
            3,
            time(|at| _ = black_box(ours.insert(records::number(flows + oldest(at)), model.clone(), 0))),
            time(|at| _ = black_box(theirs.insert(records::number(flows + oldest(at)), model.clone()))),
        );
    }
    for round in 0..rounds {
        let find = |at: u64| records::number(rounds * STEP + scattered(round, at));
        note(
            4,
            time(|at| {
                let id = ours.touch(&find(at)).unwrap();
                ours.at(id).unwrap().newest += 1;
            }),
            time(|at| theirs.get_mut(&find(at)).unwrap().newest += 1),
        );
    }
    println!("{:<44}{:>10}{:>10}{:>8}", format!("{flows} flows, ns each"), "table", "HashMap", "ratio");
    for (name, ours, theirs) in lines {
        let (ours, theirs) = (median(ours), median(theirs));
        println!("{name:<44}{ours:>10.1}{theirs:>10.1}{:>8.2}", ours / theirs);
    }
    println!("limit 1.5");
    println!("bytes per flow: {counted} counted, {measured:.0} resident; limit 400");
}

fn value(at: u64) -> Tracked {
    Tracked::new(&records::flow(records::ARRIVED, at, at))
}

/// Nanoseconds per call.
fn time(mut work: impl FnMut(u64)) -> f64 {
    let start = Instant::now();
    (0..STEP).for_each(&mut work);
    start.elapsed().as_nanos() as f64 / STEP as f64
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

/// Bytes of this process in memory.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4096
}

const NAMES: [&str; 5] = [
    "look-up by itself",
    "look-up in a batch (HashMap: by itself)",
    "evict the oldest (HashMap: remove its key)",
    "insert",
    "look-up that is noted as a use",
];
/// Calls per measurement.
const STEP: u64 = 5_000;
/// Records whose flows are looked for at a time.
const BATCH: usize = 50;
