//! PFCP against scapy, which builds it, and tshark, which decodes it too.

use std::path::{Path, PathBuf};

use tawon::task::Value;

use crate::support::scapy;
use crate::support::tasks::Run;

#[test]
fn ten_thousand_messages_of_every_type_decode_as_tshark_decodes_them() {
    let Some(python) = scapy::python() else { return };
    let pcap = temporary("pfcp.pcap");
    scapy::run(&python, "pfcp.py", &[pcap.to_str().unwrap(), "10000"]);
    let mut run = Run::new("pfcp", true, &[("ports", Value::Ports(vec![8805]))]);
    run.pcap(&pcap);
    run.close();
    let records = temporary("pfcp.jsonl");
    std::fs::write(&records, run.json().join("\n")).unwrap();
    scapy::run(&python, "compare.py", &["pfcp", pcap.to_str().unwrap(), records.to_str().unwrap()]);
    let [ok, truncated, malformed, unsupported, not_matching] = run.counts();
    assert_eq!((ok + malformed, truncated, unsupported, not_matching), (10_000, 0, 0, 0));
}

fn temporary(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}
