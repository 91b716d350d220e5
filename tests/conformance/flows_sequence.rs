//! Claims whose flows' places are guessed from those before them, as the agent does with the records of a
//! ring: each reaches its own flow in whatever order they come.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use tawon::kernel::abi::{self, Claim};
use tawon::metrics::Metrics;
use tawon::pipeline::{Event, Next, Pipeline, Task};

use crate::support::packets::Random;
use crate::support::records::{self, ARRIVED, Around, CLAIMED, FIRST_PID, SECOND};

#[test]
fn each_claim_reaches_its_own_flow_in_whatever_order_claims_come() {
    let seen = Rc::<RefCell<HashMap<u64, u64>>>::default();
    let pipeline = Pipeline::new(vec![Box::new(Owners(seen.clone()))]);
    let mut engine = records::flows_engine(&Metrics::new("").unwrap(), FLOWS as usize + 1, pipeline);
    let mut around = Around::new(FLOWS as u32);
    for at in 0..FLOWS {
        engine.record(abi::bytes(&records::flow(ARRIVED, at, SECOND)), &mut around.world());
    }
    // In a row, with some left out that come later, with neighbours that changed places, and in no order.
    let mut order: Vec<u64> = (0..1000).collect();
    order.extend((1000..2000).filter(|at| at % 100 != 0));
    order.extend((1000..2000).step_by(100));
    order.extend(2000..3000);
    (2100..3000).step_by(90).for_each(|at| order.swap(at, at + 1));
    let mut rest: Vec<u64> = (3000..FLOWS - 500).collect();
    let mut random = Random(7);
    (0..rest.len()).for_each(|at| rest.swap(at, random.next() as usize % (at + 1)));
    order.extend(rest);
    order.extend(FLOWS - 500..FLOWS);
    for batch in order.chunks(128) {
        let claims: Vec<Claim> =
            batch.iter().map(|at| records::claim(CLAIMED, records::number(*at), 0, owner(*at), 2 * SECOND)).collect();
        let noted: Vec<u32> = claims.iter().map(|claim| engine.note(abi::bytes(claim))).collect();
        let mut hints = Vec::new();
        for (at, claim) in claims.iter().enumerate() {
            while hints.len() < noted.len().min(at + 16) {
                hints.push(engine.fetch(noted[hints.len()]));
            }
            engine.record_at(abi::bytes(claim), hints[at], &mut around.world());
        }
    }
    let seen = seen.take();
    assert_eq!(seen.len() as u64, FLOWS);
    assert!(seen.iter().all(|(at, pid)| *pid == u64::from(owner(*at))));
}

/// The process that accepts a flow: another one each time.
fn owner(at: u64) -> u32 {
    FIRST_PID + at as u32
}

/// The owner of each flow that started.
struct Owners(Rc<RefCell<HashMap<u64, u64>>>);

impl Task for Owners {
    fn event(&mut self, event: &Event<'_>, _: &mut Next<'_>) {
        let mut json = Vec::new();
        event.record.json(&mut json);
        let record: serde_json::Value = serde_json::from_slice(&json).unwrap();
        let pid = record["process"]["pid"].as_u64().expect("an owner");
        assert_eq!(self.0.borrow_mut().insert(records::at(&record), pid), None, "told once");
    }
}

const FLOWS: u64 = 5000;
