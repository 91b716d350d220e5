//! Events that come while the program that they are for is running on the same CPU.

use std::net::{TcpListener, TcpStream};

use libbpf_rs::query::ProgInfoIter;
use tawon::agent::loader::Hooks;
use tawon::agent::plans::plan;
use tawon::kernel::abi;
use tawon::kernel::features::{PREEMPTIBLE, SLEEPERS_RETURN, release};
use tawon::kernel::load::{Module, Plan, Shared, Sizes, Variant};
use tawon::kernel::stats::Counts;

use crate::agent::{Agent, beside_others};
use crate::flows::directive;
use crate::reload::whole;
use crate::worker::{self, Worker};

#[test]
fn what_comes_in_the_middle_of_a_program_is_not_missed() {
    const PAIRS: usize = 3;
    const TIMES: usize = 1500;
    let names: Vec<String> = (0..2 * PAIRS).map(|_| worker::name("ti")).collect();
    let agent = Agent::alone("", &directive("{}", &names.iter().map(String::as_str).collect::<Vec<_>>()));
    let times = TIMES.to_string();
    let mut workers = Vec::new();
    for pair in names.chunks(2) {
        let mut server = Worker::start(&pair[0], &["serve", "127.0.0.1:0", &times, "1"]);
        let at = format!("127.0.0.1:{}", server.line());
        workers.push(server);
        workers.push(Worker::start(&pair[1], &["connect", &at, &times, "1"]));
    }
    workers.iter_mut().skip(1).step_by(2).for_each(Worker::go);
    workers.into_iter().for_each(|worker| drop(worker.end()));
    let found = agent.wait_for_idle("flows");
    let left_out: u64 = ProgInfoIter::default()
        .filter(|program| program.name.to_string_lossy().starts_with("tawon_set_stat"))
        .map(|program| program.recursion_misses)
        .sum();
    println!("the kernel left programs out of {left_out} changes of state");
    assert_eq!(found.missed(), []);
    assert_eq!(found.value("flow_msgs_lost"), 0.0);
    agent.until_shows("flow_flows_tracked", 0.0);
    let logged = |status: &str| {
        agent.scrape().value(&format!("tawon_sink_records_total{{sink=\"log\",status=\"{status}\"}}")) as usize
    };
    agent.wait("all records have been worked on", || logged("written") + logged("dropped") == 4 * PAIRS * TIMES);
    let dropped = logged("dropped");
    let records = agent.stop();
    // Standard output is dropped, and counted, where nobody reads it fast enough.
    if dropped == 0 {
        whole(&records, 2 * PAIRS * TIMES);
    }
}

#[test]
fn a_copy_acts_for_all_that_those_before_it_do_not_run_for() {
    let _lock = beside_others();
    let programs = ["tawon_set_state", "tawon_send_reset", "tawon_receive_reset", "tawon_destroy_sock"];
    let before = ["", "_again", "_third"];
    // The third and the fourth are there since 7.0.
    let last = if release() >= PREEMPTIBLE { before.len() } else { 1 };
    for busy in 1..=last {
        let all = programs.iter().flat_map(|program| before[..busy].iter().map(move |copy| format!("{program}{copy}")));
        copies_alone(Vec::leak(all.map(|name| &*name.leak()).collect()));
    }
}

#[test]
fn accepts_are_seen_where_the_syscalls_exits_cannot_be() {
    const CLAIMED: u16 = 3;
    if release() < SLEEPERS_RETURN {
        return println!("SKIPPED: accepts_are_seen_where_the_syscalls_exits_cannot_be: fexit is used from 5.12 on");
    }
    let _lock = beside_others();
    let (mut module, mut counts) = match programs(&["tawon_accept4", "tawon_accept"], "fexit") {
        Ok(loaded) => loaded,
        Err(error) => return println!("SKIPPED: accepts_are_seen_where_the_syscalls_exits_cannot_be: {error}"),
    };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let open: Vec<_> = (0..CONNECTIONS).map(|_| connected(&listener)).collect();
    counts.read();
    assert!(counts.produced(CLAIMED) >= CONNECTIONS, "{}", counts.produced(CLAIMED));
    assert_eq!(module.take_links().detach(), Vec::<String>::new());
    drop(open);
}

/// Connections whose changes of state nobody but the copies that are left sees.
fn copies_alone(without: &'static [&'static str]) {
    const ARRIVED: u16 = 2;
    let (mut module, mut counts) = programs(without, "").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    (0..CONNECTIONS).for_each(|_| drop(connected(&listener)));
    counts.read();
    // Others on the machine may connect meanwhile.
    assert!(counts.produced(ARRIVED) >= CONNECTIONS, "{}", counts.produced(ARRIVED));
    // SYN_SENT, ESTABLISHED on both sides, and one change at least to close each.
    assert!(counts.again(0) >= 5 * CONNECTIONS, "{} without {without:?}", counts.again(0));
    assert!(counts.again(3) >= CONNECTIONS, "{}", counts.again(3));
    assert_eq!(module.take_links().detach(), Vec::<String>::new());
}

/// What `flows` loads, in one of the ways whose name has `way` in it, but for some programs.
fn programs(without: &'static [&'static str], way: &str) -> Result<(Module, Counts), String> {
    let real = plan(Hooks::Flows);
    let variants: Vec<Variant> = real
        .variants
        .iter()
        .filter(|variant| variant.name.contains(way))
        .map(|variant| Variant { without: Vec::leak([variant.without, &[without]].concat()), ..*variant })
        .collect();
    let plan = Plan { variants: Vec::leak(variants), ..*real };
    let sizes = Sizes { pages: 64, wakeup: 64, ring_buffer: None, entries: Vec::new() };
    let module = Module::load(&plan, &sizes, &mut Shared::default()).map_err(|error| error.to_string())?;
    module.set_live(&abi::Live { threads: 0, tcp: 1, udp: 0 })?;
    let counts = Counts::new(module.map("tawon_counts").unwrap()).unwrap();
    Ok((module, counts))
}

/// Both ends of a connection.
fn connected(listener: &TcpListener) -> (TcpStream, TcpStream) {
    let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (listener.accept().unwrap().0, stream)
}

const CONNECTIONS: u64 = 23;
