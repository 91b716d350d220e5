//! What hellos said lately, with what came of it. A node has few clients and servers, and most of them say
//! the same with every connection but for what is random: that is looked up first, so that fingerprints
//! are digested once and lists of names are written once.

use std::cell::RefCell;
use std::hash::BuildHasher;

use crate::decode::tls::fingerprint::{self, Ja3, Ja4};
use crate::decode::tls::{ClientHello, Extension, Extensions, ServerHello};
use crate::flow::seeded::Seeded;
use crate::task::json::Object;

pub struct Fingerprints {
    /// The last is for a hello that says too much to be kept.
    seen: Box<[Seen; SLOTS + 1]>,
    hash: Seeded,
    /// What the hello at hand says.
    said: Vec<u8>,
    /// Room for sorting code points.
    scratch: Vec<u16>,
}

/// What a hello said, and what came of it.
pub struct Seen {
    /// Empty where it is not kept.
    said: Vec<u8>,
    /// JA3S of a server's hello.
    pub ja3: Ja3,
    /// Of a client's hello alone.
    pub ja4: Ja4,
    /// Parts of its record, each empty until a destination asked for it.
    written: [RefCell<Vec<u8>>; 2],
}

impl Fingerprints {
    pub fn new() -> Fingerprints {
        let empty = |_| Seen { said: Vec::new(), ja3: [0; 32], ja4: [0; 36], written: Default::default() };
        Fingerprints {
            seen: Box::new(std::array::from_fn(empty)),
            hash: Seeded::new(),
            said: Vec::new(),
            scratch: Vec::new(),
        }
    }

    pub fn of_client(&mut self, hello: &ClientHello<'_>) -> &Seen {
        say_client(hello, &mut self.said);
        let (at, known) = self.look_up();
        let seen = &mut self.seen[at];
        if !known {
            (seen.ja3, seen.ja4) = (fingerprint::ja3(hello), fingerprint::ja4(hello, &mut self.scratch));
        }
        seen
    }

    pub fn of_server(&mut self, hello: &ServerHello<'_>) -> &Seen {
        say_server(hello, &mut self.said);
        let (at, known) = self.look_up();
        let seen = &mut self.seen[at];
        if !known {
            seen.ja3 = fingerprint::ja3s(hello);
        }
        seen
    }

    /// The slot of what is said now, and whether what came of it stands there.
    fn look_up(&mut self) -> (usize, bool) {
        let kept = self.said.len() <= MAX_SAID;
        let at = if kept { self.hash.hash_one(self.said.as_slice()) as usize % SLOTS } else { SLOTS };
        let seen = &mut self.seen[at];
        if seen.said == self.said {
            return (at, true);
        }
        seen.said.clear();
        if kept {
            seen.said.extend_from_slice(&self.said);
        }
        seen.written.iter_mut().for_each(|part| part.get_mut().clear());
        (at, false)
    }
}

impl Seen {
    /// A part of the record, which depends on nothing but what was said: as it was written before, or by
    /// `write`.
    pub fn part(&self, part: usize, o: &mut Object<'_>, write: impl FnOnce(&mut Object<'_>)) {
        let mut written = self.written[part].borrow_mut();
        if !written.is_empty() {
            return o.raw().extend_from_slice(&written);
        }
        let before = o.raw().len();
        write(o);
        if !self.said.is_empty() {
            written.extend_from_slice(o.raw().get(before..).unwrap_or_default());
        }
    }
}

/// All that fingerprints and lists depend on, each list after its length: two hellos that say the same
/// have the same. Never empty, and never what a server says.
fn say_client(hello: &ClientHello<'_>, said: &mut Vec<u8>) {
    said.clear();
    said.push(if hello.datagram { b'd' } else { b't' });
    said.extend_from_slice(&hello.legacy_version.to_be_bytes());
    for list in [
        hello.ciphers.bytes(),
        hello.groups.bytes(),
        hello.point_formats,
        hello.supported_versions.bytes(),
        hello.signature_algorithms.bytes(),
    ] {
        say_list(list, said);
    }
    hello.alpn().for_each(|protocol| say_list(protocol, said));
    // No protocol's name is empty (RFC 7301 3.1): none is left to come.
    say_list(&[], said);
    say_codes(hello.extensions, said);
}

fn say_server(hello: &ServerHello<'_>, said: &mut Vec<u8>) {
    said.clear();
    said.push(b's');
    said.extend_from_slice(&hello.legacy_version.to_be_bytes());
    said.extend_from_slice(&hello.cipher.to_be_bytes());
    say_codes(hello.extensions, said);
}

fn say_list(list: &[u8], said: &mut Vec<u8>) {
    said.extend_from_slice(&(list.len() as u16).to_be_bytes());
    said.extend_from_slice(list);
}

fn say_codes(extensions: Extensions<'_>, said: &mut Vec<u8>) {
    extensions.iter().for_each(|Extension { code, .. }| said.extend_from_slice(&code.to_be_bytes()));
}

const SLOTS: usize = 64;
/// Of what is longer, nothing is kept. As names that is 25 KiB at most.
const MAX_SAID: usize = 1024;

#[cfg(test)]
mod tests {
    use super::super::record::{Body, TlsHeaders};
    use super::*;
    use crate::pipeline::Record;

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

    /// The record of a client's hello.
    fn written(hello: ClientHello<'_>, seen: &Seen) -> String {
        let body = Body::ClientHello(hello, seen);
        let mut out = Vec::new();
        TlsHeaders { content_type: 22, version: 0x0301, handshake_type: Some(1), body, ends: None }.json(&mut out);
        String::from_utf8(out).expect("JSON")
    }

    /// Any two of them differ in something that is kept, most in one thing alone.
    #[test]
    fn what_is_known_is_what_is_made_anew() {
        let ciphers: [&[u16]; 3] = [&[0x1301], &[0x1301, 0x1302], &[0x1302, 0x1301]];
        let extensions: [&[(u16, &[u8])]; 13] = [
            &[],
            &[(16, &[0, 3, 2, b'h', b'2'])],
            &[(16, &[0, 4, 3, b'h', b'2', b'3'])],
            &[(16, &[0, 5, 2, b'h', b'2', 1, b'x'])],
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
                let anew = written(read, Fingerprints::new().of_client(&read));
                for _ in 0..2 {
                    let seen = fingerprints.of_client(&read);
                    assert_eq!((seen.ja3, seen.ja4), made);
                    assert_eq!(written(read, seen), anew, "and once more from what is kept");
                    assert!(!seen.said.is_empty() && !seen.written[0].borrow().is_empty(), "it is kept");
                }
                different.insert((made, anew));
            }
        }
        assert_eq!(different.len(), ciphers.len() * extensions.len() * 3);
    }

    #[test]
    fn what_is_known_of_a_server_is_what_is_made_anew() {
        let of = |version: u16, cipher: u16, extension: u16| {
            let body = [&version.to_be_bytes()[..], &[7; 32], &[0], &cipher.to_be_bytes(), &[0, 0, 4]].concat();
            [&body[..], &extension.to_be_bytes(), &[0, 0]].concat()
        };
        let mut fingerprints = Fingerprints::new();
        let mut different = std::collections::HashSet::new();
        for body in [of(0x0303, 1, 23), of(0x0302, 1, 23), of(0x0303, 2, 23), of(0x0303, 1, 22)] {
            let read = ServerHello::read(&body).expect("a hello");
            let made = fingerprint::ja3s(&read);
            assert_eq!(fingerprints.of_server(&read).ja3, made);
            assert_eq!(fingerprints.of_server(&read).ja3, made);
            different.insert(made);
        }
        assert_eq!(different.len(), 4);
    }

    #[test]
    fn of_a_hello_that_says_too_much_nothing_is_kept() {
        let body = hello(0x0303, &[0x1301; MAX_SAID / 2], &[]);
        let read = ClientHello::read(&body, false).expect("a hello");
        let mut fingerprints = Fingerprints::new();
        let seen = fingerprints.of_client(&read);
        assert_eq!(seen.ja3, fingerprint::ja3(&read));
        assert_eq!(written(read, seen), written(read, seen));
        assert!(fingerprints.seen.iter().all(|seen| seen.said.is_empty() && seen.written[0].borrow().is_empty()));
    }
}
