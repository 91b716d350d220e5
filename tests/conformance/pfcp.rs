//! PFCP against scapy, which builds it, and tshark, which decodes it too.

use std::path::{Path, PathBuf};

use tawon::task::Value;

use crate::support::chunk::chunk;
use crate::support::messages::{ie, pfcp};
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

#[test]
fn values_on_which_tshark_stumbles_are_read_by_the_specification() {
    let (v4, v6) = ([192, 0, 2, 1], [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9]);
    let values: [(u16, Vec<u8>, serde_json::Value); 5] = [
        (
            192,
            [&[6][..], &v4, &[24]].concat(),
            serde_json::json!({"v4": true, "mpl": true, "ipv4Address": "192.0.2.1", "maskPrefixLength": 24}),
        ),
        (
            193,
            [&[3, 0, 7, 0, 8][..], &0xe9e4_0000_4000_0000_u64.to_be_bytes()].concat(),
            serde_json::json!({
                "ul": true, "dl": true, "numberOfRemainingUplinkPacketsAllowed": 7,
                "numberOfRemainingDownlinkPacketsAllowed": 8,
                "rateControlStatusValidityTime": "2024-05-07T01:18:56.250000000Z"
            }),
        ),
        (
            229,
            [&[15][..], &v4, &v6, &v4, &v6].concat(),
            serde_json::json!({
                "v4": true, "v6": true, "nv4": true, "nv6": true,
                "ueLinkSpecificIpv4AddressFor3gppAccess": "192.0.2.1",
                "ueLinkSpecificIpv6AddressFor3gppAccess": "2001:db8::9",
                "ueLinkSpecificIpv4AddressForNon3gppAccess": "192.0.2.1",
                "ueLinkSpecificIpv6AddressForNon3gppAccess": "2001:db8::9"
            }),
        ),
        (
            230,
            vec![4, 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2],
            serde_json::json!({
                "mac": true, "macAddressFor3gppAccess": "02:00:00:00:00:01",
                "macAddressForNon3gppAccess": "02:00:00:00:00:02"
            }),
        ),
        (
            306,
            [&[0, 0, 0, 0x12, 0x34, 4][..], &v4, &[0x50], &v6].concat(),
            serde_json::json!({
                "commonTunnelEndpointIdentifier": "00001234", "distributionAddressType": 0,
                "distributionAddress": "192.0.2.1", "sourceAddressType": 1, "sourceAddress": "2001:db8::9"
            }),
        ),
    ];
    let ies: Vec<_> = values.iter().map(|(code, value, _)| ie(*code, value)).collect();
    let mut run = Run::new("pfcp", false, &[("ports", Value::Ports(vec![8805]))]);
    run.chunk(&chunk(1, 17, 8805, &pfcp(52, 0, &ies)));
    assert_eq!(run.counts(), [1, 0, 0, 0, 0]);
    let record = &run.records()[0];
    for (at, (code, _, expected)) in values.iter().enumerate() {
        assert_eq!(&record["ies"][at]["value"], expected, "{code}");
    }
}

fn temporary(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}
