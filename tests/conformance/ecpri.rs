//! eCPRI of every message type against tshark.

use std::path::Path;

use tawon::task::Value;

use crate::support::scapy;
use crate::support::tasks::Run;

#[test]
fn messages_of_every_type_decode_as_tshark_decodes_them() {
    let Some(python) = scapy::python() else { return };
    let temporary = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (pcap, records) = (temporary.join("ecpri.pcap"), temporary.join("ecpri.jsonl"));
    scapy::run(&python, "ecpri.py", &[pcap.to_str().unwrap(), "2400"]);
    let mut run = Run::new("ecpri", true, &[("udpPorts", Value::Ports(vec![5555]))]);
    run.pcap(&pcap);
    run.close();
    std::fs::write(&records, run.json().join("\n")).unwrap();
    scapy::run(&python, "compare.py", &["ecpri", pcap.to_str().unwrap(), records.to_str().unwrap()]);
    assert_eq!(run.counts(), [2400, 0, 0, 0, 0]);
}

#[test]
fn the_types_that_tshark_does_not_look_into_are_read_by_the_specification() {
    let mut run = Run::new("ecpri", true, &[("eaxc", Value::Words(["2", "4", "4", "6"].map(str::to_owned).to_vec()))]);
    let messages: [&[u8]; 4] = [
        &[0x10, 8, 0, 10, 0, 1, 150, 3, 0, 0, 0, 9, 0xc5, 0xaa],
        &[0x10, 9, 0, 4, 0, 2, 1, 2],
        &[0x10, 11, 0, 12, 0, 3, 7, 1, 0, 0, 0, 16, 0, 0, 0, 32],
        &[0x10, 0, 0, 5, 0x6d, 0x4a, 5, 0x83, 1],
    ];
    for message in messages {
        let frame = [&[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0xae, 0xfe], message].concat();
        run.frame(&frame, frame.len(), 1);
    }
    let records = run.records();
    assert_eq!(records[0]["pcID"], "0001");
    assert_eq!(
        records[0]["iwfStartUp"],
        serde_json::json!({
            "hyperframeNumber": 150, "subframeNumber": 3, "timestamp": 9, "fec": true, "scrambling": true, "lineRate": 5
        })
    );
    assert_eq!((&records[1]["pcID"], &records[1]["payloadLength"]), (&"0002".into(), &2.into()));
    assert_eq!(
        records[2]["iwfDelayControl"],
        serde_json::json!({
            "delayControlID": 7, "actionType": 1, "actionTypeName": "Response Get Delays", "delayA": 16, "delayB": 32
        })
    );
    assert_eq!(records[3]["eAxC"], serde_json::json!({"duPortID": 1, "bandSectorID": 11, "ccID": 5, "ruPortID": 10}));
    assert_eq!((&records[3]["sequenceID"], &records[3]["eBit"]), (&5.into(), &true.into()));
    assert_eq!(records[3]["subsequenceID"], 3);
    assert_eq!(
        run.text()[3],
        "02:00:00:00:00:01 > 02:00:00:00:00:02 eCPRI IQ Data pcID=6d4a du=1 bandSector=11 cc=5 ru=10 seq=5.3 last payload=1"
    );
}
