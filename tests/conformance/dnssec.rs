//! DNSSEC's records in `dns`: the examples of RFC 4034 and RFC 5155, as they stand there and as tshark
//! reads them.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::packets;
use crate::support::replay::{context, replay};
use crate::support::tshark;

const EXAMPLE: &[u8] = b"\x07example\x03com\x00";

/// The octets of hexadecimal digits.
fn hex(digits: &str) -> Vec<u8> {
    let octet = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    (0..digits.len()).step_by(2).map(octet).collect()
}

/// Type, data on the wire and what the record says of them.
fn records() -> Vec<(u16, Vec<u8>, Value)> {
    let digest = "2bb183af5f22588179a53b0a98631fad1a292118";
    let key = hex("d2b3");
    let host = [&b"\x04host"[..], EXAMPLE].concat();
    // "A MX RRSIG NSEC TYPE1234"
    let types =
        hex("000640010000000304 1b000000000000000000000000000000000000000000000000000020".replace(' ', "").as_str());
    vec![
        (
            43, // RFC 4034 5.4
            [&60_485_u16.to_be_bytes()[..], &[5, 1], &hex(digest)].concat(),
            json!({"keyTag": 60485, "algorithm": 5, "digestType": 1, "digest": digest}),
        ),
        (
            48, // RFC 4034 2.3
            [&256_u16.to_be_bytes()[..], &[3, 5], &key].concat(),
            json!({"flags": 256, "protocol": 3, "algorithm": 5, "publicKey": "0rM="}),
        ),
        (
            46, // RFC 4034 3.3
            [
                &[0, 1, 5, 3][..],
                &86_400_u32.to_be_bytes(),
                &1_048_354_263_u32.to_be_bytes(),
                &1_045_762_263_u32.to_be_bytes(),
                &2642_u16.to_be_bytes(),
                EXAMPLE,
                &key,
            ]
            .concat(),
            json!({
                "typeCovered": "A", "algorithm": 5, "labels": 3, "originalTtl": 86400,
                "expiration": "2003-03-22T17:31:03.000000000Z", "inception": "2003-02-20T17:31:03.000000000Z",
                "keyTag": 2642, "signer": "example.com", "signature": "0rM="
            }),
        ),
        (
            47, // RFC 4034 4.3
            [&host[..], &types].concat(),
            json!({"nextDomain": "host.example.com", "types": ["A", "MX", "RRSIG", "NSEC", "TYPE1234"]}),
        ),
        (
            50, // RFC 5155 appendix A
            [
                &[1, 1, 0, 12, 4][..],
                &hex("aabbccdd"),
                &[20],
                &hex("174eb2409fe28bcb4887a1836f957f0a8425e27b"),
                &hex("000722010000000290"),
            ]
            .concat(),
            json!({
                "hashAlgorithm": 1, "flags": 1, "iterations": 12, "salt": "aabbccdd",
                "nextHashedOwner": "2t7b4g4vsa5smi47k61mv5bv1a22bojr",
                "types": ["NS", "SOA", "MX", "RRSIG", "DNSKEY", "NSEC3PARAM"]
            }),
        ),
        (
            51,
            [&[1, 0, 0, 12, 4][..], &hex("aabbccdd")].concat(),
            json!({"hashAlgorithm": 1, "flags": 0, "iterations": 12, "salt": "aabbccdd"}),
        ),
        // What is not what its type says stays as it came.
        (43, vec![1, 2, 3], json!({"hex": "010203"})),
    ]
}

fn capture(records: &[(u16, Vec<u8>, Value)], name: &str) -> std::path::PathBuf {
    let mut message = vec![0, 1, 0x84, 0, 0, 0, 0, records.len() as u8, 0, 0, 0, 0];
    for (kind, rdata, _) in records {
        message.extend(EXAMPLE);
        message.extend(kind.to_be_bytes());
        message.extend([0, 1, 0, 1, 0x51, 0x80]);
        message.extend((rdata.len() as u16).to_be_bytes());
        message.extend(rdata);
    }
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let frame = packets::udp("10.0.0.53:53".parse().unwrap(), "10.0.0.1:40000".parse().unwrap(), &message);
    std::fs::write(&path, packets::pcap([(0, &frame[..])])).unwrap();
    path
}

fn data(path: &Path) -> Vec<Value> {
    let seen = replay(path, &[], &[("dns", &[])], &context()).unwrap();
    let answer = seen[0].data("dns")["answer"].as_array().unwrap().clone();
    answer.into_iter().map(|record| record["data"].clone()).collect()
}

#[test]
fn the_examples_of_the_rfcs_are_told_as_they_stand_there() {
    let records = records();
    let expected: Vec<Value> = records.iter().map(|(.., value)| value.clone()).collect();
    assert_eq!(data(&capture(&records, "dnssec.pcap")), expected);
}

/// tshark's field, which record it is of, and our key.
const FIELDS: &[(&str, usize, &str)] = &[
    ("dns.ds.key_id", 0, "keyTag"),
    ("dns.ds.algorithm", 0, "algorithm"),
    ("dns.ds.digest_type", 0, "digestType"),
    ("dns.ds.digest", 0, "digest"),
    ("dns.dnskey.flags", 1, "flags"),
    ("dns.dnskey.protocol", 1, "protocol"),
    ("dns.dnskey.algorithm", 1, "algorithm"),
    ("dns.rrsig.algorithm", 2, "algorithm"),
    ("dns.rrsig.labels", 2, "labels"),
    ("dns.rrsig.original_ttl", 2, "originalTtl"),
    ("dns.rrsig.key_tag", 2, "keyTag"),
    ("dns.rrsig.signers_name", 2, "signer"),
    ("dns.nsec.next_domain_name", 3, "nextDomain"),
    ("dns.nsec3.salt_value", 4, "salt"),
];

#[test]
fn tshark_reads_the_same_records_alike() {
    let mut records = records();
    records.truncate(5);
    let path = capture(&records, "dnssec-tshark.pcap");
    let names: Vec<&str> = FIELDS.iter().map(|field| field.0).collect();
    let theirs = tshark::fields(&path, &[], &names);
    let ours = data(&path);
    for ((field, record, key), theirs) in FIELDS.iter().zip(&theirs[0]) {
        let number =
            |text: &str| text.strip_prefix("0x").map(|digits| u64::from_str_radix(digits, 16).unwrap().to_string());
        let theirs: Vec<String> = theirs.iter().map(|text| number(text).unwrap_or(text.clone())).collect();
        let value = &ours[*record][*key];
        assert_eq!(theirs, [value.as_str().map_or_else(|| value.to_string(), str::to_owned)], "{field}");
    }
}
