//! The `dns` task against tshark: captures from outside, live answers of dnsmasq to dig over UDP and
//! TCP, and streams cut, joined and lost in every way.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::packets::{self, ACK, SYN};
use crate::support::replay::{context, replay};
use crate::support::tshark;

fn scratch(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("dns");
    std::fs::create_dir_all(&folder).unwrap();
    folder.join(name)
}

fn messages(path: &Path) -> Vec<Value> {
    let seen = replay(path, &[], &[("dns", &[])], &context()).unwrap();
    seen.iter().map(|seen| seen.data("dns").clone()).collect()
}

fn texts(path: &Path) -> Vec<String> {
    let seen = replay(path, &[], &[("dns", &[])], &context()).unwrap();
    seen.iter().map(|seen| seen.records.last().unwrap().2.clone()).collect()
}

/// The resource records of all messages, in their order.
fn resources(messages: &[Value]) -> Vec<&Value> {
    let sections = messages.iter().flat_map(|message| ["answer", "authority", "additional"].map(|key| &message[key]));
    sections.flat_map(|section| section.as_array().unwrap()).collect()
}

/// What stands under `data` of the records of one type.
fn of_type<'a>(resources: &[&'a Value], kind: &str, key: &str) -> Vec<&'a Value> {
    resources.iter().filter(|one| one["type"] == kind).map(|one| &one["data"][key]).collect()
}

/// As tshark writes a value.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) if text == "." => "<Root>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Bool(flag) => flag.to_string(),
        other => other.to_string(),
    }
}

const TYPES: &[(&str, u16)] = &[
    ("A", 1),
    ("NS", 2),
    ("CNAME", 5),
    ("SOA", 6),
    ("PTR", 12),
    ("HINFO", 13),
    ("MX", 15),
    ("TXT", 16),
    ("AAAA", 28),
    ("TYPE65280", 65_280),
    ("SRV", 33),
    ("NAPTR", 35),
    ("SSHFP", 44),
    ("TLSA", 52),
    ("HTTPS", 65),
    ("ANY", 255),
    ("CAA", 257),
];

fn type_number(value: &Value) -> String {
    let name = value.as_str().unwrap();
    TYPES.iter().find(|(known, _)| *known == name).unwrap_or_else(|| panic!("type {name}")).1.to_string()
}

const OPCODES: &[&str] = &["QUERY", "IQUERY", "STATUS", "", "NOTIFY", "UPDATE"];
const RCODES: &[&str] = &["NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"];
const FLAGS: &[(&str, u16)] =
    &[("AA", 0x400), ("TC", 0x200), ("RD", 0x100), ("RA", 0x80), ("Z", 0x40), ("AD", 0x20), ("CD", 0x10)];

/// The 16 bits behind the id, put together again from what the record says.
fn flags(message: &Value) -> String {
    let position = |key: &str, names: &[&str]| names.iter().position(|name| message[key] == *name).unwrap() as u16;
    let set = message["flags"].as_array().unwrap();
    let flags: u16 = FLAGS.iter().filter(|(name, _)| set.contains(&Value::from(*name))).map(|(_, bit)| bit).sum();
    let response = u16::from(message["response"] == true) << 15;
    format!("0x{:04x}", response | position("opcode", OPCODES) << 11 | flags | position("rcode", RCODES))
}

const DATA: &[(&str, &str, &str)] = &[
    ("dns.a", "A", "address"),
    ("dns.aaaa", "AAAA", "address"),
    ("dns.cname", "CNAME", "target"),
    ("dns.ns", "NS", "target"),
    ("dns.ptr.domain_name", "PTR", "target"),
    ("dns.mx.preference", "MX", "preference"),
    ("dns.mx.mail_exchange", "MX", "exchange"),
    ("dns.soa.mname", "SOA", "mname"),
    ("dns.soa.rname", "SOA", "rname"),
    ("dns.soa.serial_number", "SOA", "serial"),
    ("dns.soa.refresh_interval", "SOA", "refresh"),
    ("dns.soa.retry_interval", "SOA", "retry"),
    ("dns.soa.expire_limit", "SOA", "expire"),
    ("dns.soa.minimum_ttl", "SOA", "minimum"),
    ("dns.srv.priority", "SRV", "priority"),
    ("dns.srv.weight", "SRV", "weight"),
    ("dns.srv.port", "SRV", "port"),
    ("dns.srv.target", "SRV", "target"),
    ("dns.naptr.order", "NAPTR", "order"),
    ("dns.naptr.preference", "NAPTR", "preference"),
    ("dns.naptr.flags", "NAPTR", "flags"),
    ("dns.naptr.service", "NAPTR", "services"),
    ("dns.naptr.regex", "NAPTR", "regexp"),
    ("dns.naptr.replacement", "NAPTR", "replacement"),
    ("dns.caa.tag", "CAA", "tag"),
    ("dns.caa.value", "CAA", "value"),
    ("dns.sshfp.algorithm", "SSHFP", "algorithm"),
    ("dns.sshfp.fingerprint.type", "SSHFP", "fingerprintType"),
    ("dns.sshfp.fingerprint", "SSHFP", "fingerprint"),
    ("dns.tlsa.certificate_usage", "TLSA", "usage"),
    ("dns.tlsa.selector", "TLSA", "selector"),
    ("dns.tlsa.matching_type", "TLSA", "matchingType"),
    ("dns.tlsa.certificate_association_data", "TLSA", "data"),
    ("dns.svcb.svcpriority", "HTTPS", "priority"),
    ("dns.svcb.targetname", "HTTPS", "target"),
];

const FIELDS: &[&str] = &[
    "dns.id",
    "dns.flags",
    "dns.qry.name",
    "dns.qry.type",
    "dns.resp.name",
    "dns.resp.type",
    "dns.resp.ttl",
    "dns.txt",
    "dns.rr.udp_payload_size",
    "dns.resp.edns0_version",
    "dns.resp.z.do",
    "dns.opt.code",
    "dns.a",
    "dns.aaaa",
    "dns.cname",
    "dns.ns",
    "dns.ptr.domain_name",
    "dns.mx.preference",
    "dns.mx.mail_exchange",
    "dns.soa.mname",
    "dns.soa.rname",
    "dns.soa.serial_number",
    "dns.soa.refresh_interval",
    "dns.soa.retry_interval",
    "dns.soa.expire_limit",
    "dns.soa.minimum_ttl",
    "dns.srv.priority",
    "dns.srv.weight",
    "dns.srv.port",
    "dns.srv.target",
    "dns.naptr.order",
    "dns.naptr.preference",
    "dns.naptr.flags",
    "dns.naptr.service",
    "dns.naptr.regex",
    "dns.naptr.replacement",
    "dns.caa.tag",
    "dns.caa.value",
    "dns.sshfp.algorithm",
    "dns.sshfp.fingerprint.type",
    "dns.sshfp.fingerprint",
    "dns.tlsa.certificate_usage",
    "dns.tlsa.selector",
    "dns.tlsa.matching_type",
    "dns.tlsa.certificate_association_data",
    "dns.svcb.svcpriority",
    "dns.svcb.targetname",
];

fn compare(path: &Path) -> usize {
    let ours = messages(path);
    let mut rows = tshark::fields(path, &["-Y", "dns"], FIELDS);
    // all values of one field over the whole file
    let mut theirs = |field: &str| -> Vec<String> {
        let at = FIELDS.iter().position(|known| *known == field).unwrap_or_else(|| panic!("{field}"));
        rows.iter_mut().flat_map(|row| std::mem::take(&mut row[at])).collect()
    };
    let resources = resources(&ours);
    let of_messages = |key: &str| ours.iter().map(|message| text(&message[key])).collect::<Vec<_>>();
    let mut compared = 0;
    let mut same = |field: &str, ours: Vec<String>, theirs: Vec<String>| {
        let differ = ours.iter().zip(&theirs).position(|(ours, theirs)| ours != theirs);
        let around = |all: &[String]| differ.and_then(|at| all.get(at).cloned());
        assert_eq!(
            (around(&ours), ours.len()),
            (around(&theirs), theirs.len()),
            "{} {field} {differ:?}",
            path.display()
        );
        compared += ours.len();
    };
    let number = |digits: String| u16::from_str_radix(digits.trim_start_matches("0x"), 16).unwrap().to_string();
    same("dns.id", of_messages("id"), theirs("dns.id").into_iter().map(number).collect());
    same("dns.flags", ours.iter().map(flags).collect(), theirs("dns.flags"));
    let questions: Vec<&Value> = ours.iter().flat_map(|one| one["question"].as_array().unwrap()).collect();
    same("dns.qry.name", questions.iter().map(|one| text(&one["name"])).collect(), theirs("dns.qry.name"));
    same("dns.qry.type", questions.iter().map(|one| type_number(&one["type"])).collect(), theirs("dns.qry.type"));
    // OPT, whose name is the root, stands among the additional records there, and in `edns` here; of SRV
    // tshark has the name in parts
    let named = resources.iter().filter(|one| one["type"] != "SRV").map(|one| text(&one["name"])).collect();
    same("dns.resp.name", named, theirs("dns.resp.name").into_iter().filter(|name| name != "<Root>").collect());
    let types = resources.iter().map(|one| type_number(&one["type"])).collect();
    same("dns.resp.type", types, theirs("dns.resp.type").into_iter().filter(|kind| kind != "41").collect());
    same("dns.resp.ttl", resources.iter().map(|one| text(&one["ttl"])).collect(), theirs("dns.resp.ttl"));
    for (field, kind, key) in DATA {
        same(field, of_type(&resources, kind, key).into_iter().map(text).collect(), theirs(field));
    }
    let words = |value: &Value| value.as_array().unwrap().iter().map(text).collect::<Vec<_>>();
    same("dns.txt", of_type(&resources, "TXT", "text").into_iter().flat_map(words).collect(), theirs("dns.txt"));
    let edns: Vec<&Value> = ours.iter().filter_map(|one| one.get("edns")).collect();
    same(
        "dns.rr.udp_payload_size",
        edns.iter().map(|one| text(&one["udpSize"])).collect(),
        theirs("dns.rr.udp_payload_size"),
    );
    same(
        "dns.resp.edns0_version",
        edns.iter().map(|one| text(&one["version"])).collect(),
        theirs("dns.resp.edns0_version"),
    );
    let dos: Vec<String> =
        theirs("dns.resp.z.do").iter().map(|flag| (flag == "1" || flag == "True").to_string()).collect();
    same("dns.resp.z.do", edns.iter().map(|one| text(&one["do"])).collect(), dos);
    let options: Vec<String> =
        edns.iter().flat_map(|one| one["options"].as_array().unwrap()).map(|one| text(&one["code"])).collect();
    same("dns.opt.code", options, theirs("dns.opt.code"));
    println!("{}: {} messages, {compared} values agree", path.display(), ours.len());
    ours.len()
}

#[test]
fn captures_from_outside_agree_with_tshark() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/dns");
    for name in ["a-and-ns.pcap", "dns.pcap", "nxdomain.pcap"] {
        assert!(compare(&data.join(name)) > 0, "{name}");
    }
}

/// In a network namespace of its own: dnsmasq answers dig over UDP and TCP on loopback.
const LIVE: &str = r#"
set -e
ip link set lo up
tcpdump -q -i lo -w "$1" -U port 53 2>"$1.log" &
dump=$!
dnsmasq --keep-in-foreground --no-resolv --no-hosts --listen-address=127.0.0.1 --bind-interfaces --user=root --pid-file= \
    --host-record=host.example,192.0.2.1,2001:db8::1 --address=/wild.example/192.0.2.7 --address=/gone.example/ \
    --cname=alias.example,host.example --mx-host=example,mail.example,10 --srv-host=_sip._udp.example,host.example,5060,1,2 \
    --txt-record=text.example,one,'two words',"$(printf '%0200d' 7)" --ptr-record=1.2.0.192.in-addr.arpa,host.example \
    --naptr-record=example,10,20,u,E2U+sip,'!^.*$!sip:info@example!' --caa-record=example,0,issue,ca.example \
    --dns-rr=ssh.example,44,01:01:00112233445566778899aabbccddeeff00112233 --dns-rr=tls.example,52,030101aabbccdd \
    --dns-rr=web.example,65,00010000010003026832 --dns-rr=odd.example,65280,0011 --auth-zone=zone.example --auth-server=ns.zone.example \
    --auth-soa=2024010101,hostmaster.zone.example,1200,120,604800 --host-record=www.zone.example,192.0.2.9 2>"$1.dnsmasq" &
dns=$!
trap 'kill $dns $dump 2>/dev/null || true' EXIT
i=0
until grep -q listening "$1.log" && dig +time=1 +tries=1 @127.0.0.1 ready.example >/dev/null 2>&1; do
    i=$((i + 1)); [ $i -lt 100 ]; sleep 0.1
done
for how in "" +tcp +dnssec +noedns +subnet=192.0.2.0/24 +cd +nocookie; do
    for what in "host.example A" "host.example AAAA" "alias.example A" "example MX" "_sip._udp.example SRV" "text.example TXT" \
        "1.2.0.192.in-addr.arpa PTR" "example NAPTR" "example CAA" "ssh.example SSHFP" "tls.example TLSA" "web.example HTTPS" \
        "odd.example TYPE65280" "gone.example A" "refused.test A" "www.zone.example A" "host.example ANY"; do
        dig $how +time=2 @127.0.0.1 $what >/dev/null
    done
done
dig +tcp +keepopen @127.0.0.1 host.example A alias.example A example MX >/dev/null
dig +time=2 @127.0.0.1 done.example A >/dev/null
frames() { tcpdump -n -r "$1" "udp $2 port 53" 2>/dev/null; }
i=0
until frames "$1" dst | grep -q done.example && [ "$(frames "$1" dst | wc -l)" -eq "$(frames "$1" src | wc -l)" ]; do
    i=$((i + 1)); [ $i -lt 100 ]; sleep 0.1
done
"#;

#[test]
fn live_answers_to_dig_agree_with_tshark() {
    let path = scratch("live.pcap");
    let _ = std::fs::remove_file(&path);
    let log = scratch("live.pcap.log");
    let _ = std::fs::remove_file(log);
    tshark::output(Command::new("unshare").args(["-n", "sh", "-c", LIVE, "sh"]).arg(&path));
    let count = compare(&path);
    // 7 ways of 17 questions, one to see that it answers, 3 on one connection, one to end: twice each
    assert!(count >= 2 * (7 * 17 + 1 + 3 + 1), "{count}");
    let text = texts(&path);
    assert!(
        text.iter()
            .any(|text| text.contains("127.0.0.1:53 > ")
                && text.ends_with("NOERROR host.example A, 1 answers 192.0.2.1"))
    );
    assert!(text.iter().any(|text| text.ends_with(" NXDOMAIN gone.example A, 0 answers")), "{text:#?}");
}

fn query(id: u16, name: &str) -> Vec<u8> {
    let mut bytes = [&id.to_be_bytes()[..], &[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]].concat();
    for label in name.split('.') {
        bytes.push(label.len() as u8);
        bytes.extend(label.as_bytes());
    }
    bytes.extend([0, 0, 1, 0, 1]);
    bytes
}

fn prefixed(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u16).to_be_bytes(), message].concat()
}

fn ends() -> (SocketAddr, SocketAddr) {
    ("10.0.0.1:40000".parse().unwrap(), "10.0.0.53:53".parse().unwrap())
}

/// The ids that come of frames, and the counter's moves by status.
fn ids(name: &str, frames: &[Vec<u8>]) -> (Vec<u64>, [u64; 4]) {
    let path = scratch(name);
    let times = (0..).map(|at| 1_000_000_000_000 + at * 1_000_000);
    std::fs::write(&path, packets::pcap(times.zip(frames).map(|(time, frame)| (time, &frame[..])))).unwrap();
    let context = context();
    let seen = replay(&path, &[], &[("dns", &[])], &context).unwrap();
    let counter = context.metrics.counters("tawon_dns_parse_total");
    let counts =
        ["ok", "truncated", "malformed", "not_matching"].map(|status| counter.with_label_values(&[status]).get());
    (seen.iter().map(|seen| seen.data("dns")["id"].as_u64().unwrap()).collect(), counts)
}

#[test]
fn names_are_escaped_so_that_they_cannot_be_mistaken() {
    let (client, server) = ends();
    let mut message = query(9, "?");
    message.splice(12..14, [&[8][..], b"a.b\\ c\"\xff", &[7], b"example"].concat());
    let path = scratch("names.pcap");
    std::fs::write(&path, packets::pcap([(0, &packets::udp(client, server, &message)[..])])).unwrap();
    assert_eq!(messages(&path)[0]["question"][0]["name"], "a\\.b\\\\\\032c\"\\255.example");
    assert_eq!(texts(&path)[0], "10.0.0.1:40000 > 10.0.0.53:53 DNS 9 QUERY a\\.b\\\\\\032c\"\\255.example A");
}

#[test]
fn messages_of_a_tcp_stream_are_found_however_it_is_cut() {
    let (client, server) = ends();
    let stream: Vec<u8> = (1..=5).flat_map(|id| prefixed(&query(id, &format!("name-{id}.example")))).collect();
    for step in 1..=stream.len() {
        let mut frames = vec![packets::tcp(client, server, 99, 0, SYN, b"")];
        for (at, part) in stream.chunks(step).enumerate() {
            frames.push(packets::tcp(client, server, 100 + (at * step) as u32, 0, ACK, part));
        }
        assert_eq!(ids("cut.pcap", &frames), (vec![1, 2, 3, 4, 5], [5, 0, 0, 0]), "{step}");
    }
}

#[test]
fn a_gap_within_a_message_loses_that_message_alone() {
    let (client, server) = ends();
    let parts: Vec<Vec<u8>> = (1..=3).map(|id| prefixed(&query(id, "example"))).collect();
    let length = parts[0].len() as u32;
    let stream = parts.concat();
    let tcp =
        |from: u32, to: u32| packets::tcp(client, server, 100 + from, 0, ACK, &stream[from as usize..to as usize]);
    let hello = packets::tcp(client, server, 99, 0, SYN, b"");
    let ack = packets::tcp(server, client, 500, 100 + stream.len() as u32, ACK, b"");
    let total = stream.len() as u32;
    let frames = [hello.clone(), tcp(0, length + 5), tcp(length + 9, total), ack.clone()];
    assert_eq!(ids("gap.pcap", &frames), (vec![1, 3], [2, 1, 0, 0]));
    // over the edge of a message nobody knows where the next begins
    let frames = [hello, tcp(0, length - 2), tcp(length + 2, total), ack];
    assert_eq!(ids("gap.pcap", &frames), (vec![], [0, 1, 0, 0]));
}

#[test]
fn a_connection_joined_in_its_middle_is_read_only_from_the_begin_of_a_message() {
    let (client, server) = ends();
    let stream = prefixed(&query(7, "example"));
    let whole = [packets::tcp(client, server, 100, 0, ACK, &stream)];
    assert_eq!(ids("joined.pcap", &whole), (vec![7], [1, 0, 0, 0]));
    let middle = [packets::tcp(client, server, 100, 0, ACK, &stream[9..])];
    assert_eq!(ids("joined.pcap", &middle), (vec![], [0, 0, 0, 1]));
}

#[test]
fn every_cut_of_a_message_is_counted_and_two_in_one_datagram_are_not() {
    let (client, server) = ends();
    let message = query(3, "www.example");
    let other: SocketAddr = "10.0.0.53:5000".parse().unwrap();
    for keep in 1..message.len() {
        let frames = [packets::udp(client, server, &message[..keep])];
        assert_eq!(ids("short.pcap", &frames), (vec![], [0, 0, 1, 0]), "{keep}");
        let frame = packets::udp(client, server, &message);
        let path = scratch("snap.pcap");
        std::fs::write(&path, packets::pcap([(0, &frame[..])])).unwrap();
        let context = context();
        let snaplen = tawon::task::Value::Size((frame.len() - message.len() + keep) as u64);
        let seen = replay(&path, &[("snaplen", snaplen)], &[("dns", &[])], &context).unwrap();
        assert!(seen.is_empty());
        assert_eq!(context.metrics.counters("tawon_dns_parse_total").with_label_values(&["truncated"]).get(), 1);
    }
    assert_eq!(ids("port.pcap", &[packets::udp(client, other, &message)]), (vec![], [0; 4]));
}

#[test]
fn names_that_compress_in_circles_and_lists_that_claim_too_much_are_malformed() {
    let (client, server) = ends();
    let mut circle = query(1, "example");
    circle.truncate(12);
    circle.extend([0xc0, 12, 0, 1, 0, 1]);
    let mut forward = query(2, "example");
    forward.truncate(12);
    forward.extend([0xc0, 18, 0, 1, 0, 1, 0]);
    let mut claims = query(3, "example");
    claims[6..8].copy_from_slice(&[0xff, 0xff]);
    let frames = [circle, forward, claims].map(|message| packets::udp(client, server, &message));
    assert_eq!(ids("circle.pcap", &frames), (vec![], [0, 0, 3, 0]));
}
