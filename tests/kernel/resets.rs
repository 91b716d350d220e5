//! Resets: who sent them is told at both ends.

use crate::agent::{Agent, count};
use crate::flows::directive;
use crate::worker::{self, Worker};

#[test]
fn a_close_with_linger_0_is_a_reset() {
    resets("linger", 334);
}

#[test]
fn a_close_with_unread_data_is_a_reset() {
    resets("unread", 333);
}

#[test]
fn a_connect_to_nowhere_is_a_reset() {
    resets("unspec", 333);
}

fn resets(how: &str, times: usize) {
    let (name_of_server, name_of_client) = (worker::name("ta"), worker::name("tb"));
    let mut server = Worker::start(&name_of_server, &["read-to-end", "127.0.0.1:0", &times.to_string()]);
    let port = server.numbers()[0];
    let mut client = Worker::start(&name_of_client, &["reset", how, &format!("127.0.0.1:{port}"), &times.to_string()]);
    let agent = Agent::start(&directive("{}", &[&name_of_server, &name_of_client]));
    client.go();
    client.end();
    server.end();
    agent.until("all ends", |records| count(records, "ended") >= 2 * times);
    agent.until_shows("flow_flows_tracked", 0.0);
    assert_eq!(agent.scrape().value("flow_extra_ended"), 0.0);
    let records = agent.stop();
    assert_eq!((count(&records, "started"), count(&records, "ended")), (2 * times, 2 * times));
    for record in records.iter().filter(|record| record.is("ended")) {
        let (reason, name, peer) = match record.text("direction") {
            "outbound" => ("rst_sent", &name_of_client, record.number("net.peerPort")),
            _ => ("rst_received", &name_of_server, record.number("net.selfPort")),
        };
        assert_eq!((record.text("closeReason"), record.text("process.name"), peer), (reason, &**name, port));
        assert!(record.number("net.selfPort") > 0 && record.number("net.peerPort") > 0);
    }
}
