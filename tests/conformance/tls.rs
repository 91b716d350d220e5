//! TLS hellos: those of `testdata/tls` with their JA4, and those that real clients sent here against
//! tshark.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::replay::{self, Seen, replay};

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
    let text = &event.records.iter().find(|record| record.0 == "tlsheaders").unwrap().2;
    let mut ends = text.split(' ').step_by(2).map(|end| end.parse::<SocketAddr>().unwrap_or_else(|_| panic!("{text}")));
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
