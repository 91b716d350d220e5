//! Rings that are too small: what finds no room is counted, to the record.

use crate::agent::{Agent, Scrape, count};
use crate::flows::directive;
use crate::worker::{self, Worker};

#[test]
fn a_perf_ring_of_one_page_counts_what_it_loses() {
    overflow("perf");
}

#[test]
fn a_ring_buffer_of_one_page_counts_what_it_loses() {
    overflow("ring");
}

/// Refused connections faster than a ring of one page is read, and processes whose records it cannot even hold.
fn overflow(transport: &str) {
    let names: Vec<String> = (0..4).map(|_| worker::name("tr")).collect();
    let mut workers: Vec<Worker> = names.iter().map(|name| Worker::start(name, &["refused", "3000"])).collect();
    workers.iter_mut().for_each(|worker| drop(worker.line()));
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let settings = format!("bpf: {{perfBufferPages: 1, transport: {transport}}}");
    let agent = Agent::with(&settings, &directive("{}", &names));
    // Stopped, it reads nothing: a ring of one page has to overflow.
    agent.freeze();
    workers.iter_mut().for_each(Worker::go);
    workers.into_iter().for_each(|worker| drop(worker.end()));
    agent.thaw();
    let (flows, exec) = (agent.wait_for_idle("flows"), agent.wait_for_idle("exec"));
    check(&flows, "flow", "flows");
    check(&exec, "exec", "exec");
    assert!(flows.produced("flows", "ended") >= 12_000.0);
    let lost = flows.value("flow_msgs_lost");
    assert!(lost > 10_000.0, "the ring never was too small: {lost}");
    agent.until_shows("flow_flows_tracked", 0.0);
    let records = agent.stop();
    let told = count(&records, "ended") as f64;
    assert!(told > 0.0 && told + lost >= 12_000.0, "told {told}, lost {lost}");
}

fn check(found: &Scrape, metric: &str, module: &str) {
    let (read, lost) = (found.value(&format!("{metric}_msgs")), found.value(&format!("{metric}_msgs_lost")));
    assert_eq!(read + lost, found.produced_all(module), "{module}");
    assert_eq!(found.missed(), [], "{module}");
}
