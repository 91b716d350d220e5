//! Events that come while the program that they are for is running on the same CPU.

use std::net::{TcpListener, TcpStream};

use libbpf_rs::query::ProgInfoIter;
use tawon::agent::loader::Hooks;
use tawon::agent::plans::plan;
use tawon::kernel::abi;
use tawon::kernel::load::{Module, Plan, Shared, Sizes, Variant};
use tawon::kernel::stats::Counts;

use crate::agent::Agent;
use crate::flows::directive;
use crate::reload::whole;
use crate::worker::{self, Worker};

#[test]
fn what_comes_in_the_middle_of_a_program_is_not_missed() {
    const PAIRS: usize = 3;
    const CONNECTIONS: usize = 1500;
    let names: Vec<String> = (0..2 * PAIRS).map(|_| worker::name("ti")).collect();
    let agent = Agent::alone("", &directive("{}", &names.iter().map(String::as_str).collect::<Vec<_>>()));
    let times = CONNECTIONS.to_string();
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
    // Without a copy: an accept that is missed is made good at the close, an owner of datagrams at the next one.
    let elsewhere = ["tawon_accept", "tawon_sent", "tawon_received"];
    let missed: Vec<_> = found
        .nonzero("tawon_bpf_errors_total")
        .into_iter()
        .filter(|(series, _)| !elsewhere.iter().any(|program| series.contains(program)))
        .collect();
    assert_eq!(missed, []);
    assert_eq!(found.value("flow_msgs_lost"), 0.0);
    agent.until_shows("flow_flows_tracked", 0.0);
    let logged = |status: &str| {
        agent.scrape().value(&format!("tawon_sink_records_total{{sink=\"log\",status=\"{status}\"}}")) as usize
    };
    agent.wait("all records have been worked on", || logged("written") + logged("dropped") == 4 * PAIRS * CONNECTIONS);
    let dropped = logged("dropped");
    let records = agent.stop();
    // Standard output is dropped, and counted, where nobody reads it fast enough.
    if dropped == 0 {
        whole(&records, 2 * PAIRS * CONNECTIONS);
    }
}

#[test]
fn a_copy_acts_for_all_that_its_first_does_not_run_for() {
    const CONNECTIONS: u64 = 23;
    const ARRIVED: u16 = 2;
    let firsts = ["tawon_set_state", "tawon_send_reset", "tawon_receive_reset", "tawon_destroy_sock"];
    let real = plan(Hooks::Flows);
    let variants: Vec<Variant> = real
        .variants
        .iter()
        .map(|variant| Variant { without: Vec::leak([variant.without, &firsts].concat()), ..*variant })
        .collect();
    let plan = Plan { variants: Vec::leak(variants), ..*real };
    let sizes = Sizes { pages: 64, wakeup: 64, ring_buffer: None, entries: Vec::new() };
    let mut module = Module::load(&plan, &sizes, &mut Shared::default()).unwrap();
    module.set_live(&abi::Live { threads: 0, tcp: 1, udp: 0 }).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    for _ in 0..CONNECTIONS {
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        drop((listener.accept().unwrap(), stream));
    }
    let mut counts = Counts::new(module.map("tawon_counts").unwrap()).unwrap();
    counts.read();
    // Others on the machine may connect meanwhile.
    assert!(counts.produced(ARRIVED) >= CONNECTIONS, "{}", counts.produced(ARRIVED));
    // SYN_SENT, ESTABLISHED on both sides, and one change at least to close each.
    assert!(counts.again(0) >= 5 * CONNECTIONS, "{}", counts.again(0));
    assert!(counts.again(3) >= CONNECTIONS, "{}", counts.again(3));
    assert_eq!(module.take_links().detach(), Vec::<String>::new());
}
