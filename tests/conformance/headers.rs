//! The `headers` task against tshark, field by field, on the captures of tests/data/headers.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::replay::{Seen, context, replay};
use crate::support::tasks::Writer;
use crate::support::{alloc, tshark};

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/headers").join(name)
}

fn headers(path: &Path) -> Vec<Value> {
    let seen: Vec<Seen> = replay(path, &[], &[("headers", &[])], &context()).unwrap();
    seen.iter().map(|seen| seen.data("headers").clone()).collect()
}

/// Every value that stands at a path, outermost level first. `[]` is each item of an array.
fn values(record: &Value, path: &str) -> Vec<Value> {
    let mut found = Vec::new();
    let mut level = Some(record);
    while let Some(at) = level {
        let mut here = vec![at];
        for step in path.split('.') {
            let (name, each) = step.strip_suffix("[]").map_or((step, false), |name| (name, true));
            here = here.into_iter().filter_map(|value| value.get(name)).collect();
            if each {
                here = here.into_iter().flat_map(|value| value.as_array().unwrap()).collect();
            }
        }
        found.extend(here.into_iter().cloned());
        level = at.get("inner");
    }
    found
}

/// How a value of tshark is to be read before it is compared.
#[derive(Clone, Copy)]
enum As {
    /// A decimal or 0x number, for one of ours that is a number.
    Number,
    /// A 0x number, for digits of ours.
    Hex,
    /// Bytes of an address and the like: the same text.
    Text,
    /// Ours in units of so many of theirs.
    Times(u64),
    /// Theirs in units of so many of ours.
    Per(u64),
}

fn agrees(theirs: &str, ours: &Value, how: As) -> bool {
    let number = |text: &str| match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    };
    match how {
        As::Number => number(theirs) == ours.as_u64() && ours.is_u64(),
        As::Hex => theirs.strip_prefix("0x") == ours.as_str(),
        As::Text => Some(theirs) == ours.as_str(),
        As::Times(by) => number(theirs) == ours.as_u64().map(|value| value * by),
        As::Per(by) => number(theirs).map(|value| value * by) == ours.as_u64(),
    }
}

const FIELDS: &[(&str, &str, As)] = &[
    ("eth.src", "ethernet.src", As::Text),
    ("eth.dst", "ethernet.dst", As::Text),
    ("eth.type", "ethernet.ethtype", As::Hex),
    ("mpls.label", "mpls[].label", As::Number),
    ("mpls.exp", "mpls[].trafficClass", As::Number),
    ("mpls.ttl", "mpls[].ttl", As::Number),
    ("ip.hdr_len", "ipv4.ihl", As::Times(4)),
    ("ip.dsfield.dscp", "ipv4.dscp", As::Number),
    ("ip.dsfield.ecn", "ipv4.ecn", As::Number),
    ("ip.len", "ipv4.totalLength", As::Number),
    ("ip.id", "ipv4.id", As::Number),
    ("ip.frag_offset", "ipv4.fragmentOffset", As::Per(8)),
    ("ip.ttl", "ipv4.ttl", As::Number),
    ("ip.proto", "ipv4.protocol", As::Number),
    ("ip.checksum", "ipv4.checksum", As::Hex),
    ("ip.src", "ipv4.src", As::Text),
    ("ip.dst", "ipv4.dst", As::Text),
    ("ipv6.version", "ipv6.version", As::Number),
    ("ipv6.tclass.dscp", "ipv6.dscp", As::Number),
    ("ipv6.tclass.ecn", "ipv6.ecn", As::Number),
    ("ipv6.flow", "ipv6.flowLabel", As::Number),
    ("ipv6.plen", "ipv6.payloadLength", As::Number),
    ("ipv6.nxt", "ipv6.nextHeader", As::Number),
    ("ipv6.hlim", "ipv6.hopLimit", As::Number),
    ("ipv6.src", "ipv6.src", As::Text),
    ("ipv6.dst", "ipv6.dst", As::Text),
    ("ipv6.fraghdr.offset", "extensions[].fragmentOffset", As::Per(8)),
    ("ipv6.fraghdr.ident", "extensions[].id", As::Number),
    ("ipv6.routing.type", "extensions[].routingType", As::Number),
    ("ipv6.routing.segleft", "extensions[].segmentsLeft", As::Number),
    ("ah.spi", "extensions[].spi", As::Hex),
    ("ah.sequence", "extensions[].sequence", As::Number),
    ("ah.icv", "extensions[].icv", As::Text),
    ("tcp.srcport", "tcp.srcPort", As::Number),
    ("tcp.dstport", "tcp.dstPort", As::Number),
    ("tcp.seq_raw", "tcp.seq", As::Number),
    ("tcp.ack_raw", "tcp.ack", As::Number),
    ("tcp.hdr_len", "tcp.dataOffset", As::Times(4)),
    ("tcp.window_size_value", "tcp.window", As::Number),
    ("tcp.checksum", "tcp.checksum", As::Hex),
    ("tcp.urgent_pointer", "tcp.urgent", As::Number),
    ("tcp.option_kind", "tcp.options[].kind", As::Number),
    ("tcp.options.timestamp.tsecr", "tcp.options[].echo", As::Number),
    ("tcp.options.sack_le", "tcp.options[].blocks[].left", As::Number),
    ("tcp.options.sack_re", "tcp.options[].blocks[].right", As::Number),
    ("udp.srcport", "udp.srcPort", As::Number),
    ("udp.dstport", "udp.dstPort", As::Number),
    ("udp.length", "udp.length", As::Number),
    ("udp.checksum", "udp.checksum", As::Hex),
    ("sctp.srcport", "sctp.srcPort", As::Number),
    ("sctp.dstport", "sctp.dstPort", As::Number),
    ("sctp.verification_tag", "sctp.verificationTag", As::Hex),
    ("sctp.checksum", "sctp.checksum", As::Hex),
    ("sctp.chunk_type", "sctp.chunks[].type", As::Number),
    ("sctp.chunk_flags", "sctp.chunks[].flags", As::Hex),
    ("sctp.chunk_length", "sctp.chunks[].length", As::Number),
    ("gre.flags_and_version", "gre.flags", As::Hex),
    ("gre.proto", "gre.protocol", As::Hex),
    ("gre.checksum", "gre.checksum", As::Hex),
    ("gre.key", "gre.key", As::Hex),
    ("gre.sequence_number", "gre.sequence", As::Number),
    ("vxlan.vni", "vxlan.vni", As::Number),
    ("geneve.vni", "geneve.vni", As::Number),
    ("geneve.proto_type", "geneve.protocol", As::Hex),
    ("geneve.option.class", "geneve.options[].class", As::Hex),
    ("geneve.option.type", "geneve.options[].type", As::Hex),
    ("gtp.flags", "gtpu.flags", As::Hex),
    ("gtp.message", "gtpu.messageType", As::Number),
    ("gtp.length", "gtpu.length", As::Number),
    ("gtp.teid", "gtpu.teid", As::Hex),
    ("sll.pkttype", "sll.packetType", As::Number),
    ("sll.hatype", "sll.hardwareType", As::Number),
    ("sll.halen", "sll.addressLength", As::Number),
    ("sll.ifindex", "sll.interfaceIndex", As::Number),
    ("null.family", "loopback.family", As::Number),
];

/// Flags, by the name that ours have in a list.
const FLAGS: &[(&str, &str, &str)] = &[
    ("ip.flags.rb", "ipv4.flags", "reserved"),
    ("ip.flags.df", "ipv4.flags", "DF"),
    ("ip.flags.mf", "ipv4.flags", "MF"),
    ("tcp.flags.fin", "tcp.flags", "FIN"),
    ("tcp.flags.syn", "tcp.flags", "SYN"),
    ("tcp.flags.reset", "tcp.flags", "RST"),
    ("tcp.flags.push", "tcp.flags", "PSH"),
    ("tcp.flags.ack", "tcp.flags", "ACK"),
    ("tcp.flags.urg", "tcp.flags", "URG"),
    ("tcp.flags.ece", "tcp.flags", "ECE"),
    ("tcp.flags.cwr", "tcp.flags", "CWR"),
];

/// What stands in each frame of its own packet alone: nothing put together or guessed from others.
const ALONE: &[&str] = &[
    "-o",
    "ip.defragment:FALSE",
    "-o",
    "ipv6.defragment:FALSE",
    "-o",
    "tcp.relative_sequence_numbers:FALSE",
    "-o",
    "tcp.desegment_tcp_streams:FALSE",
    "-d",
    "mpls.label==99,pwethcw",
];

fn compare(file: &str) {
    let path = data(file);
    let ours = headers(&path);
    let names: Vec<&str> = FIELDS.iter().map(|field| field.0).chain(FLAGS.iter().map(|flag| flag.0)).collect();
    let theirs = tshark::fields(&path, ALONE, &names);
    assert_eq!(ours.len(), theirs.len());
    let (mut compared, mut differ) = (0, Vec::new());
    for (frame, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
        let frame = frame + 1;
        for ((field, path, how), theirs) in FIELDS.iter().zip(theirs) {
            let ours = values(ours, path);
            let mut theirs = theirs.clone();
            if *field == "tcp.option_kind" {
                // tshark lists the padding behind the end of the options too; RFC 9293 3.1 has one end
                theirs.dedup_by(|padding, end| padding == "0" && end == "0");
            }
            let same =
                ours.len() == theirs.len() && ours.iter().zip(&theirs).all(|(ours, theirs)| agrees(theirs, ours, *how));
            if !same {
                differ.push(format!("frame {frame}: {field} {theirs:?}, {path} {ours:?}"));
            }
            compared += theirs.len();
        }
        for ((field, path, name), theirs) in FLAGS.iter().zip(&theirs[FIELDS.len()..]) {
            let ours: Vec<bool> = values(ours, path)
                .iter()
                .map(|flags| flags.as_array().unwrap().iter().any(|flag| flag == name))
                .collect();
            let theirs: Vec<bool> = theirs.iter().map(|flag| flag == "1" || flag == "True").collect();
            assert_eq!(ours, theirs, "{file} frame {frame}: {field}");
        }
    }
    assert!(differ.is_empty(), "{file}: {differ:#?}");
    println!("{file}: {} frames, {compared} values agree", ours.len());
}

#[test]
fn every_field_of_every_header_agrees_with_tshark() {
    for file in ["headers.pcap", "sll.pcap", "sll2.pcap", "raw.pcap", "null.pcap"] {
        compare(file);
    }
}

#[test]
fn vlan_tags_agree_with_tshark_outermost_first() {
    // tshark has one protocol per tag protocol; ours is one list
    let path = data("headers.pcap");
    let fields = [
        "ieee8021ad.id",
        "ieee8021ad.priority",
        "ieee8021ad.dei",
        "vlan.id",
        "vlan.priority",
        "vlan.dei",
        "vlan.etype",
    ];
    let theirs = tshark::fields(&path, ALONE, &fields);
    let mut tags = 0;
    for (ours, row) in headers(&path).iter().zip(&theirs) {
        for (ad, plain, key) in [(0, 3, "vlan[].vid"), (1, 4, "vlan[].pcp")] {
            let theirs: Vec<u64> =
                [&row[ad], &row[plain]].into_iter().flatten().map(|text| text.parse().unwrap()).collect();
            let ours: Vec<u64> = values(ours, key).iter().map(|value| value.as_u64().unwrap()).collect();
            assert_eq!(ours, theirs);
            tags += ours.len();
        }
        let theirs: Vec<bool> =
            [&row[2], &row[5]].into_iter().flatten().map(|text| text == "1" || text == "True").collect();
        let ours: Vec<bool> = values(ours, "vlan[].dei").iter().map(|value| value.as_bool().unwrap()).collect();
        assert_eq!(ours, theirs);
    }
    assert_eq!(tags, 2 * 9);
}

#[test]
fn records_are_complete_and_readable() {
    let seen = replay(&data("headers.pcap"), &[], &[("headers", &[])], &context()).unwrap();
    let text = |at: usize| seen[at - 1].records[1].2.as_str();
    assert_eq!(
        seen[0].data("headers"),
        &serde_json::json!({
            "ethernet": {"src": "02:00:00:00:00:01", "dst": "02:00:00:00:00:02", "ethtype": "0800"},
            "ipv4": {"version": 4, "ihl": 5, "dscp": 0, "ecn": 0, "totalLength": 60, "id": 1, "flags": [],
                "fragmentOffset": 0, "ttl": 64, "protocol": 6, "protocolName": "TCP", "checksum": seen[0].data("headers")["ipv4"]["checksum"],
                "src": "10.0.0.1", "dst": "10.0.0.2"},
            "tcp": {"srcPort": 28805, "dstPort": 7777, "seq": seen[0].data("headers")["tcp"]["seq"], "ack": seen[0].data("headers")["tcp"]["ack"], "dataOffset": 10,
                "flags": ["SYN"], "window": 8192, "checksum": seen[0].data("headers")["tcp"]["checksum"], "urgent": 0,
                "options": [{"kind": 2, "name": "mss", "value": 1460}, {"kind": 4, "name": "sackPermitted"},
                    {"kind": 8, "name": "timestamps", "value": 4_294_967_295_u32, "echo": 0}, {"kind": 1, "name": "nop"},
                    {"kind": 3, "name": "windowScale", "value": 7}]},
            "payloadLength": 0
        })
    );
    assert!(text(1).starts_with("10.0.0.1:28805 > 10.0.0.2:7777 TCP SYN seq="), "{}", text(1));
    assert!(text(25).starts_with("mpls 99: 10.0.1.1:"), "{}", text(25));
    assert!(text(42).starts_with("vxlan 1: vxlan 2: geneve 3: gre: 10.0.4.1:"), "{}", text(42));
    assert!(text(38).starts_with("gtpu deadbeef: 10.0.1.1:"), "{}", text(38));
}

#[test]
fn a_frame_cut_at_any_byte_gives_what_is_whole_and_says_why_it_ends() {
    use tawon::decode::layers::Layers;
    let mut file =
        tawon::task::source::capture::file::Reader::new(std::fs::File::open(data("headers.pcap")).unwrap()).unwrap();
    while let Some(packet) = file.next().unwrap() {
        let whole = Layers::new(1, packet.bytes, packet.bytes.len()).filter(Result::is_ok).count();
        for keep in 0..packet.bytes.len() {
            // cut by the capture: what is missing is truncated, never malformed
            let cut: Vec<_> = Layers::new(1, &packet.bytes[..keep], packet.bytes.len()).collect();
            let known = cut.iter().filter(|layer| layer.is_ok()).count();
            assert!(known <= whole);
            assert!(cut.iter().all(|layer| !matches!(layer, Err(tawon::decode::Error::Malformed))), "{keep}");
            // cut by the sender: malformed, never truncated
            let short = Layers::new(1, &packet.bytes[..keep], keep);
            assert!(short.into_iter().all(|layer| !matches!(layer, Err(tawon::decode::Error::Truncated))), "{keep}");
        }
    }
}

#[test]
fn a_plain_frame_is_read_in_one_go_as_it_is_step_by_step() {
    use tawon::decode::layers::{Layer, Layers};
    use tawon::decode::plain::{Plain, mapped, plain};
    fn stepwise(frame: &[u8], wire: usize) -> Option<Plain<'_>> {
        let mut layers = Layers::new(1, frame, wire);
        let kinds: Vec<_> = layers.by_ref().collect();
        let [Ok(Layer::Ethernet(_)), Ok(ip), Ok(Layer::Tcp(tcp))] = kinds[..] else { return None };
        let (src, dst) = match ip {
            Layer::Ipv4(ip) if !ip.is_fragment() && ip.total_length() != 0 => (mapped(ip.src()), mapped(ip.dst())),
            Layer::Ipv6(ip) if ip.payload_length() != 0 => (ip.src().to_bits(), ip.dst().to_bits()),
            _ => return None,
        };
        (layers.missing() == 0).then_some(Plain { src, dst, tcp })
    }
    let (mut whole, mut seen) = (0, 0);
    for capture in ["headers.pcap", "../tls/curl.pcap"] {
        let file = std::fs::File::open(data(capture)).unwrap();
        let mut file = tawon::task::source::capture::file::Reader::new(file).unwrap();
        while let Some(packet) = file.next().unwrap() {
            // as it is, followed by padding, and cut at any byte
            let padded = [packet.bytes, &[0; 7]].concat();
            whole += usize::from(plain(1, packet.bytes).is_some());
            for keep in 0..=padded.len() {
                let (frame, wire) = (&padded[..keep], padded.len());
                let (at_once, stepwise) = (plain(1, frame), stepwise(frame, wire));
                assert_eq!(format!("{at_once:?}"), format!("{stepwise:?}"), "{keep}");
                seen += usize::from(at_once.is_some());
            }
        }
    }
    // Each is one with no, some and all of its padding.
    assert!(whole >= 20 && seen >= 8 * whole, "{whole} {seen}");
}

#[test]
fn headers_of_a_frame_are_written_without_allocating() {
    let context = context();
    let mut options = crate::support::replay::options(tawon::task::find("capture").unwrap(), &[]);
    options.set("file", tawon::task::Value::Text(data("headers.pcap").to_str().unwrap().to_owned()));
    let headers = || crate::support::replay::task("headers", &context, &[]);
    let mut pipeline = tawon::pipeline::Pipeline::new(vec![headers(), Box::new(Writer::new())]);
    let mut capture = tawon::task::source::capture::Capture::open(&options, &context).unwrap();
    capture.batch(1, &mut pipeline).unwrap();
    assert_eq!(alloc::count(|| drop(capture.batch(1000, &mut pipeline))), 0);
}
