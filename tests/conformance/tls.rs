//! TLS hellos: those of `testdata/tls` with their JA4, and those that real clients sent here against
//! tshark.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tawon::decode::tls::names;

use crate::support::replay::{self, Seen, replay};
use crate::support::tshark;

/// Where the captures are whose licence does not let the repository carry them.
fn testdata() -> Option<PathBuf> {
    let root = std::env::var_os("TAWON_TESTDATA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/testdata"), PathBuf::from);
    let tls = root.join("tls");
    if tls.is_dir() {
        return Some(tls);
    }
    eprintln!("skipped: {} is not there (TAWON_TESTDATA says where to look)", tls.display());
    None
}

#[test]
fn every_hello_of_the_test_data_has_its_sni_and_its_ja4_and_there_is_no_other() {
    let Some(tls) = testdata() else { return };
    let table = std::fs::read_to_string(tls.join("ja4.tsv")).unwrap();
    let mut expected: Vec<[String; 7]> = Vec::new();
    for line in table.lines().skip(1) {
        let cells: Vec<&str> = line.split('\t').collect();
        expected.push(std::array::from_fn(|at| cells[at].to_owned()));
    }
    let files: BTreeSet<String> = expected.iter().map(|row| row[0].clone()).collect();
    let mut found = Vec::new();
    for file in files {
        let context = replay::context();
        let seen = replay(&tls.join(&file), &[], &[("tlsheaders", &[])], &context).unwrap();
        for event in &seen {
            let hello = &event.data("tlsheaders")["clientHello"];
            if !hello.is_null() {
                found.push(row(&file, event, hello));
            }
        }
    }
    expected.sort();
    found.sort();
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(found, expected);
    }
}

/// file, src, srcport, dst, dstport, sni, ja4: as the table has them.
fn row(file: &str, event: &Seen, hello: &Value) -> [String; 7] {
    let text = &event.records.iter().find(|record| record.0 == "rawpacket").unwrap().2;
    // An interface's name may stand before them.
    let mut ends = text.split(' ').filter_map(|end| end.parse::<SocketAddr>().ok());
    let (src, dst) = (ends.next().unwrap(), ends.next().unwrap());
    let of = |key: &str| hello[key].as_str().unwrap_or_default().to_owned();
    [
        file.to_owned(),
        src.ip().to_string(),
        src.port().to_string(),
        dst.ip().to_string(),
        dst.port().to_string(),
        of("sni"),
        of("ja4"),
    ]
}

#[test]
fn hellos_of_real_clients_are_told_as_tshark_tells_them() {
    for name in CLIENTS {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tls").join(name).with_extension("pcap");
        let context = replay::context();
        let seen = replay(&file, &[], &[("tlsheaders", &[])], &context).unwrap();
        let ours: Vec<&Value> = seen.iter().map(|event| event.data("tlsheaders")).collect();
        let count = context.metrics.counters("tlsheaders_parse_total").with_label_values(&["ok"]).get();
        assert_eq!(count, ours.len() as u64, "{name}");

        let layer = if name.contains("dtls") { "dtls" } else { "tls" };
        let field = |of: &str| format!("{layer}.{of}");
        let all: Vec<String> = FIELDS.iter().map(|of| field(of)).collect();
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        let hellos = |kind: u8| {
            let filter = format!("{}=={kind}", field("handshake.type"));
            tshark::fields(&file, &["-2", "-Y", &filter], &all)
        };
        let clients: Vec<&&Value> = ours.iter().filter(|record| !record["clientHello"].is_null()).collect();
        let servers: Vec<&&Value> = ours.iter().filter(|record| !record["serverHello"].is_null()).collect();
        let (theirs, of_servers) = (hellos(1), hellos(2));
        assert!(!clients.is_empty(), "{name}");
        assert_eq!((clients.len(), servers.len()), (theirs.len(), of_servers.len()), "{name}");
        for (record, row) in clients.iter().zip(&theirs) {
            let hello = &record["clientHello"];
            assert_eq!(hello["ja3"], row[0][0].as_str(), "{name}");
            assert_eq!(texts(&hello["sni"]), row[2], "{name}");
            assert_eq!(texts(&hello["alpn"]), row[3], "{name}");
            assert_eq!(codes(&hello["ciphers"], names::cipher), numbers(&row[4]), "{name}");
            assert_eq!(codes(&hello["extensions"], names::extension), numbers(&row[5]), "{name}");
            assert_eq!(codes(&hello["groups"], names::group), numbers(&row[6]), "{name}");
            assert_eq!(hello["random"], row[7][0].as_str(), "{name}");
            assert_eq!(texts(&hello["sessionID"]), row[8], "{name}");
            assert_eq!(codes(&hello["version"], names::version), numbers(&row[9])[..1], "{name}");
            assert_eq!(codes(&hello["supportedVersions"], names::version), numbers(&row[10]), "{name}");
            assert_eq!(codes(&hello["signatureAlgorithms"], names::signature_algorithm), numbers(&row[11]), "{name}");
        }
        for (record, row) in servers.iter().zip(&of_servers) {
            let hello = &record["serverHello"];
            assert_eq!(hello["ja3s"], row[1][0].as_str(), "{name}");
            assert_eq!(texts(&hello["alpn"]), row[3], "{name}");
            assert_eq!(codes(&hello["cipher"], names::cipher), numbers(&row[4]), "{name}");
            assert_eq!(codes(&hello["extensions"], names::extension), numbers(&row[5]), "{name}");
            assert_eq!(codes(&hello["selectedVersion"], names::version), numbers(&row[10]), "{name}");
        }
    }
}

#[test]
fn certificates_alerts_and_a_retry_are_told_where_they_are_in_the_clear() {
    let of = |name: &str| {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tls").join(name);
        let seen = replay(&file, &[], &[("tlsheaders", &[])], &replay::context()).unwrap();
        seen.iter().map(|event| event.data("tlsheaders").clone()).collect::<Vec<_>>()
    };
    for name in ["curl-tls12.pcap", "openssl-tls12.pcap", "openssl-dtls.pcap", "openssl-dtls-fragments.pcap"] {
        let records = of(name);
        let certificates = records.iter().find_map(|record| record.get("certificates")).expect(name);
        assert_eq!(certificates[0]["subject"], "O=Tawon, CN=server.test", "{name}");
        assert_eq!(certificates[0]["issuer"], "O=Tawon, CN=server.test", "{name}");
        assert_eq!(certificates[0]["sans"], serde_json::json!(["server.test", "www.server.test", "127.0.0.1"]));
        assert_eq!(certificates[0]["sha256"].as_str().unwrap().len(), 64);
        assert!(certificates[0]["notBefore"].as_str().unwrap() < certificates[0]["notAfter"].as_str().unwrap());
        assert_eq!(certificates.as_array().unwrap().len(), 1, "{name}");
    }
    // The other alert of Python's is encrypted.
    let alert = |name| of(name).iter().find_map(|record| record.get("alert").cloned()).expect(name);
    assert_eq!(alert("python-refuses.pcap"), serde_json::json!({"level": "fatal", "description": "unknown_ca"}));
    assert_eq!(alert("openssl-tls10.pcap")["description"], "internal_error");
    let retry = of("openssl-retry.pcap");
    let flags: Vec<bool> = retry
        .iter()
        .filter_map(|record| record.get("serverHello"))
        .map(|hello| hello["helloRetryRequest"] == true)
        .collect();
    assert_eq!(flags, [true, false]);
    assert_eq!(retry.iter().filter(|record| record.get("clientHello").is_some()).count(), 2);
}

const CLIENTS: &[&str] = &[
    "curl",
    "curl-tls12",
    "python",
    "python-refuses",
    "gnutls-cli",
    "chromium",
    "openssl",
    "openssl-tls12",
    "openssl-tls10",
    "openssl-retry",
    "openssl-fragments",
    "openssl-dtls",
    "openssl-dtls-fragments",
    "gnutls-dtls",
];

const FIELDS: &[&str] = &[
    "handshake.ja3",
    "handshake.ja3s",
    "handshake.extensions_server_name",
    "handshake.extensions_alpn_str",
    "handshake.ciphersuite",
    "handshake.extension.type",
    "handshake.extensions_supported_group",
    "handshake.random",
    "handshake.session_id",
    "handshake.version",
    "handshake.extensions.supported_version",
    "handshake.sig_hash_alg",
];

/// A text, a list of texts, or nothing.
fn texts(value: &Value) -> Vec<String> {
    let text = |one: &Value| one.as_str().unwrap().to_owned();
    match value {
        Value::Array(list) => list.iter().map(text).collect(),
        Value::Null => Vec::new(),
        one => vec![text(one)],
    }
}

/// The code points of names, or of hexadecimal digits where they have none.
fn codes(value: &Value, name: fn(u16) -> Option<&'static str>) -> Vec<u64> {
    let code = |text: &String| match (0..=u16::MAX).find(|code| name(*code) == Some(text)) {
        Some(code) => u64::from(code),
        None => u64::from_str_radix(text, 16).unwrap_or_else(|_| panic!("{text}")),
    };
    texts(value).iter().map(code).collect()
}

fn numbers(cells: &[String]) -> Vec<u64> {
    let number = |cell: &String| match cell.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).unwrap(),
        None => cell.parse().unwrap(),
    };
    cells.iter().map(number).collect()
}
