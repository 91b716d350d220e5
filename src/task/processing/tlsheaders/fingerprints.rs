//! The fingerprints of the ClientHellos seen lately. A node has few clients, and most of them say the
//! same with every connection but for what is random: what all fingerprints of a hello are made of is
//! looked up first, so that its texts are made and digested once.

use std::hash::BuildHasher;

use crate::decode::tls::fingerprint::{self, Ja3, Ja4};
use crate::decode::tls::{ClientHello, Extension};
use crate::flow::seeded::Seeded;

pub struct Fingerprints {
    seen: Box<[Seen; SLOTS]>,
    hash: Seeded,
    /// What the hello at hand says.
    said: Vec<u8>,
    /// Room for sorting code points.
    scratch: Vec<u16>,
}

/// What a hello said, and what came of it.
struct Seen {
    said: Vec<u8>,
    ja3: Ja3,
    ja4: Ja4,
}

impl Fingerprints {
    pub fn new() -> Fingerprints {
        let empty = || Seen { said: Vec::new(), ja3: [0; 32], ja4: [0; 36] };
        Fingerprints {
            seen: Box::new(std::array::from_fn(|_| empty())),
            hash: Seeded::new(),
            said: Vec::new(),
            scratch: Vec::new(),
        }
    }

    pub fn of(&mut self, hello: &ClientHello<'_>) -> (Ja3, Ja4) {
        say(hello, &mut self.said);
        let seen = &mut self.seen[self.hash.hash_one(self.said.as_slice()) as usize % SLOTS];
        if seen.said == self.said {
            return (seen.ja3, seen.ja4);
        }
        let (ja3, ja4) = (fingerprint::ja3(hello), fingerprint::ja4(hello, &mut self.scratch));
        if self.said.len() <= MAX_SAID {
            seen.said.clear();
            seen.said.extend_from_slice(&self.said);
            (seen.ja3, seen.ja4) = (ja3, ja4);
        }
        (ja3, ja4)
    }
}

/// All that the fingerprints depend on, each list after its length: two hellos that say the same have
/// the same fingerprints. Never empty.
fn say(hello: &ClientHello<'_>, said: &mut Vec<u8>) {
    let alpn = hello.alpn().next();
    said.clear();
    said.extend_from_slice(&[u8::from(hello.datagram), u8::from(alpn.is_some())]);
    said.extend_from_slice(&hello.legacy_version.to_be_bytes());
    for list in [
        hello.ciphers.bytes(),
        hello.groups.bytes(),
        hello.point_formats,
        hello.supported_versions.bytes(),
        hello.signature_algorithms.bytes(),
        alpn.unwrap_or_default(),
    ] {
        said.extend_from_slice(&(list.len() as u16).to_be_bytes());
        said.extend_from_slice(list);
    }
    hello.extensions.iter().for_each(|Extension { code, .. }| said.extend_from_slice(&code.to_be_bytes()));
}

const SLOTS: usize = 64;
/// Of what is longer, nothing is kept.
const MAX_SAID: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    /// A hello with these lists.
    fn hello(version: u16, ciphers: &[u16], extensions: &[(u16, &[u8])]) -> Vec<u8> {
        let mut body = version.to_be_bytes().to_vec();
        body.extend_from_slice(&[7; 32]);
        body.push(0);
        body.extend_from_slice(&(2 * ciphers.len() as u16).to_be_bytes());
        body.extend(ciphers.iter().flat_map(|cipher| cipher.to_be_bytes()));
        body.extend_from_slice(&[1, 0]);
        let data: Vec<u8> = extensions
            .iter()
            .flat_map(|(code, data)| [&code.to_be_bytes()[..], &(data.len() as u16).to_be_bytes(), data].concat())
            .collect();
        body.extend_from_slice(&(data.len() as u16).to_be_bytes());
        body.extend(data);
        body
    }

    /// Any two of them differ in something that a fingerprint tells of, most in one thing alone.
    #[test]
    fn what_is_known_is_what_is_made_anew() {
        let ciphers: [&[u16]; 3] = [&[0x1301], &[0x1301, 0x1302], &[0x1302, 0x1301]];
        let extensions: [&[(u16, &[u8])]; 12] = [
            &[],
            &[(16, &[0, 3, 2, b'h', b'2'])],
            &[(16, &[0, 4, 3, b'h', b'2', b'3'])],
            &[(10, &[0, 2, 0, 29])],
            &[(10, &[0, 2, 0, 30])],
            &[(11, &[1, 0])],
            &[(11, &[1, 1])],
            &[(13, &[0, 2, 4, 3])],
            &[(13, &[0, 2, 4, 4])],
            &[(43, &[2, 3, 4])],
            &[(43, &[2, 3, 2])],
            &[(0, &[]), (10, &[0, 2, 0, 29])],
        ];
        let mut fingerprints = Fingerprints::new();
        let mut scratch = Vec::new();
        let mut different = std::collections::HashSet::new();
        for (ciphers, extensions) in ciphers.iter().flat_map(|c| extensions.iter().map(move |e| (c, e))) {
            for (version, datagram) in [(0x0303, false), (0x0301, false), (0x0303, true)] {
                let mut body = hello(version, ciphers, extensions);
                if datagram {
                    body.insert(35, 0); // no cookie
                }
                let read = ClientHello::read(&body, datagram).expect("a hello");
                let made = (fingerprint::ja3(&read), fingerprint::ja4(&read, &mut scratch));
                assert_eq!(fingerprints.of(&read), made);
                assert!(fingerprints.seen.iter().any(|seen| seen.said == fingerprints.said), "it is kept");
                assert_eq!(fingerprints.of(&read), made, "and found");
                different.insert(made);
            }
        }
        assert_eq!(different.len(), ciphers.len() * extensions.len() * 3);
    }

    #[test]
    fn of_a_hello_that_says_too_much_nothing_is_kept() {
        let body = hello(0x0303, &[0x1301; MAX_SAID / 2], &[]);
        let read = ClientHello::read(&body, false).expect("a hello");
        let mut fingerprints = Fingerprints::new();
        let (ja3, _) = fingerprints.of(&read);
        assert_eq!(ja3, fingerprint::ja3(&read));
        assert!(fingerprints.seen.iter().all(|seen| seen.said.is_empty()));
    }
}
