//! Fingerprints of hellos: JA3 and JA3S (MD5 over decimal code points) and JA4 (the rest of the JA4
//! family is under another licence and is not made here). GREASE is left out of all of them.

use md5::{Digest, Md5};
use sha2::Sha256;

use super::extensions::{Extensions, code, is_grease};
use super::hello::{ClientHello, ServerHello};

/// 32 hexadecimal digits.
pub type Ja3 = [u8; 32];

/// `t13d1516h2_8daaf6152771_e5627efa2ab1`.
pub type Ja4 = [u8; 36];

/// MD5 of `version,ciphers,extensions,groups,point formats`, each list joined by `-`.
pub fn ja3(hello: &ClientHello<'_>) -> Ja3 {
    let mut text = Text::<Md5>::new();
    text.decimals([hello.legacy_version]);
    text.byte(b',');
    text.decimals(hello.ciphers.iter().filter(|code| !is_grease(*code)));
    text.byte(b',');
    text.decimals(codes(&hello.extensions));
    text.byte(b',');
    text.decimals(hello.groups.iter().filter(|code| !is_grease(*code)));
    text.byte(b',');
    text.decimals(hello.point_formats.iter().map(|format| u16::from(*format)));
    text.md5()
}

/// MD5 of `version,cipher,extensions`.
pub fn ja3s(hello: &ServerHello<'_>) -> Ja3 {
    let mut text = Text::<Md5>::new();
    text.decimals([hello.legacy_version]);
    text.byte(b',');
    text.decimals([hello.cipher]);
    text.byte(b',');
    text.decimals(codes(&hello.extensions));
    text.md5()
}

/// JA4 as its text has it. `scratch` is room for sorting, kept by the caller so that nothing is
/// allocated once it has grown; what is in it does not matter.
pub fn ja4(hello: &ClientHello<'_>, scratch: &mut Vec<u16>) -> Ja4 {
    let mut ja4 = *b"t00i000000_000000000000_000000000000";
    if hello.datagram {
        ja4[0] = b'd';
    }
    ja4[1..3].copy_from_slice(&version(hello));
    if hello.extensions.find(code::SERVER_NAME).is_some() {
        ja4[3] = b'd';
    }
    scratch.clear();
    scratch.extend(hello.ciphers.iter().filter(|code| !is_grease(*code)));
    ja4[4..6].copy_from_slice(&two_digits(scratch.len()));
    if !scratch.is_empty() {
        scratch.sort_unstable();
        let mut text = Text::<Sha256>::new();
        text.hexes(scratch.iter().copied());
        text.sha256(&mut ja4[11..23]);
    }
    ja4[6..8].copy_from_slice(&two_digits(codes(&hello.extensions).count()));
    ja4[8..10].copy_from_slice(&hello.alpn().next().map_or(*b"00", alpn));
    scratch.clear();
    scratch.extend(codes(&hello.extensions).filter(|code| !matches!(*code, code::SERVER_NAME | code::ALPN)));
    if !scratch.is_empty() {
        scratch.sort_unstable();
        let mut text = Text::<Sha256>::new();
        text.hexes(scratch.iter().copied());
        let mut algorithms = hello.signature_algorithms.iter().filter(|code| !is_grease(*code)).peekable();
        if algorithms.peek().is_some() {
            text.byte(b'_');
            text.hexes(algorithms);
        }
        text.sha256(&mut ja4[24..36]);
    }
    ja4
}

/// Codes of the extensions in the order on the wire, without GREASE.
fn codes<'a>(extensions: &Extensions<'a>) -> impl Iterator<Item = u16> + use<'a> {
    extensions.iter().map(|extension| extension.code).filter(|code| !is_grease(*code))
}

/// The highest version that the client supports.
fn version(hello: &ClientHello<'_>) -> [u8; 2] {
    // Versions of DTLS count down: 0xfefd is later than 0xfeff.
    let rank = |version: &u16| if hello.datagram { !*version } else { *version };
    let supported = hello.supported_versions.iter().filter(|code| !is_grease(*code)).max_by_key(rank);
    *match supported.unwrap_or(hello.legacy_version) {
        0x0304 => b"13",
        0x0303 => b"12",
        0x0302 => b"11",
        0x0301 => b"10",
        0x0300 => b"s3",
        0x0002 => b"s2",
        0xfeff => b"d1",
        0xfefd => b"d2",
        0xfefc => b"d3",
        _ => b"00",
    }
}

/// A count of two digits, 99 at most.
fn two_digits(count: usize) -> [u8; 2] {
    let count = count.min(99) as u8;
    [b'0' + count / 10, b'0' + count % 10]
}

/// First and last character of a protocol name; of its hexadecimal form, where either is not an
/// ASCII letter or digit.
fn alpn(name: &[u8]) -> [u8; 2] {
    let (first, last) = (name.first().copied().unwrap_or_default(), name.last().copied().unwrap_or_default());
    if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() {
        return [first, last];
    }
    [HEX[usize::from(first >> 4)], HEX[usize::from(last & 0xf)]]
}

/// A text that goes into a digest by way of a small buffer.
struct Text<D: Digest> {
    digest: D,
    buffer: [u8; 512],
    used: usize,
}

impl<D: Digest> Text<D> {
    fn new() -> Text<D> {
        Text { digest: D::new(), buffer: [0; 512], used: 0 }
    }

    fn byte(&mut self, byte: u8) {
        self.bytes([byte, 0, 0, 0, 0, 0, 0, 0], 1);
    }

    /// The first `length` bytes.
    #[inline]
    fn bytes(&mut self, bytes: [u8; 8], length: usize) {
        if self.used + bytes.len() > self.buffer.len() {
            self.digest.update(&self.buffer[..self.used]);
            self.used = 0;
        }
        // All eight, which is one move; what follows is put over what is too much.
        self.buffer[self.used..self.used + bytes.len()].copy_from_slice(&bytes);
        self.used += length;
    }

    /// Decimal numbers joined by `-`.
    fn decimals(&mut self, codes: impl IntoIterator<Item = u16>) {
        for (at, code) in codes.into_iter().enumerate() {
            let digit = |unit: u16| b'0' + (code / unit % 10) as u8;
            let [a, b, c, d, e] = [digit(10_000), digit(1000), digit(100), digit(10), digit(1)];
            let (digits, length) = match code {
                0..10 => ([b'-', e, 0, 0, 0, 0, 0, 0], 2),
                10..100 => ([b'-', d, e, 0, 0, 0, 0, 0], 3),
                100..1000 => ([b'-', c, d, e, 0, 0, 0, 0], 4),
                1000..10_000 => ([b'-', b, c, d, e, 0, 0, 0], 5),
                _ => ([b'-', a, b, c, d, e, 0, 0], 6),
            };
            self.joined(at, digits, length);
        }
    }

    /// Numbers of four hexadecimal digits joined by `,`.
    fn hexes(&mut self, codes: impl Iterator<Item = u16>) {
        for (at, code) in codes.enumerate() {
            let digit = |shift: u32| HEX[usize::from(code >> shift & 0xf)];
            self.joined(at, [b',', digit(12), digit(8), digit(4), digit(0), 0, 0, 0], 5);
        }
    }

    /// What begins with its separator, which the first does without.
    #[inline]
    fn joined(&mut self, at: usize, bytes: [u8; 8], length: usize) {
        match at {
            0 => self.bytes((u64::from_le_bytes(bytes) >> 8).to_le_bytes(), length - 1),
            _ => self.bytes(bytes, length),
        }
    }

    fn finish(mut self) -> impl AsRef<[u8]> {
        self.digest.update(&self.buffer[..self.used]);
        self.digest.finalize()
    }
}

impl Text<Md5> {
    fn md5(self) -> Ja3 {
        let mut out = [0; 32];
        hex(self.finish().as_ref(), &mut out);
        out
    }
}

impl Text<Sha256> {
    fn sha256(self, out: &mut [u8]) {
        hex(self.finish().as_ref(), out);
    }
}

/// Writes as many hexadecimal digits of `bytes` as `out` has room for.
fn hex(bytes: &[u8], out: &mut [u8]) {
    for (pair, byte) in out.chunks_exact_mut(2).zip(bytes) {
        pair.copy_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 0xf)]]);
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_protocol_name_that_is_not_ascii_gives_the_ends_of_its_hexadecimal_form() {
        // The examples of JA4's text.
        for (name, expected) in [
            (&b"h2"[..], b"h2"),
            (b"http/1.1", b"h1"),
            (b"2", b"22"),
            (b"\xab", b"ab"),
            (b"\xab\xcd", b"ad"),
            (b"\x30\xab", b"3b"),
            (b"\x30\x31\xab\xcd", b"3d"),
            (b"\x30\xab\xcd\x31", b"01"),
        ] {
            assert_eq!(alpn(name), *expected, "{name:?}");
        }
    }
}
