//! The `tlsheaders` record. Code points are written by their names in IANA's registries,
//! or as four hexadecimal digits where they have none (GREASE among them).

use crate::decode::padded::Padded;
use crate::decode::tls::{Alert, Certificates, ClientHello, Extensions, ServerHello, names};
use crate::pipeline::Record;
use crate::task::Kind;
use crate::task::json::{self, Object};
use crate::task::processing::text;
use crate::task::processing::tlsheaders::certificate;
use crate::task::processing::tlsheaders::fingerprints::Seen;
use crate::task::record::{Direction, Net};

/// One handshake message or alert.
pub struct TlsHeaders<'a> {
    pub content_type: u8,
    /// Of the record layer.
    pub version: u16,
    pub handshake_type: Option<u8>,
    pub body: Body<'a>,
    /// Who sent it to whom, for the readable form, where no record before it tells.
    pub ends: Option<(Net, Direction)>,
}

pub enum Body<'a> {
    ClientHello(ClientHello<'a>, &'a Seen),
    ServerHello(ServerHello<'a>, &'a Seen),
    Certificates(Certificates<'a>),
    Alert(Alert),
    /// A message of which only its type is told.
    None,
}

impl Record for TlsHeaders<'_> {
    fn kind(&self) -> Kind {
        Kind::TlsHeaders
    }

    fn json(&self, out: &mut Vec<u8>) {
        json::object(out, |o| {
            o.object("record", |o| {
                code(o, "type", names::content_type(self.content_type), u16::from(self.content_type));
                version(o, "version", self.version);
            });
            if let Some(handshake_type) = self.handshake_type {
                o.object("handshake", |o| {
                    code(o, "type", names::handshake_type(handshake_type), u16::from(handshake_type));
                });
            }
            match &self.body {
                Body::ClientHello(hello, seen) => o.object("clientHello", |o| client_hello(o, hello, seen)),
                Body::ServerHello(hello, seen) => o.object("serverHello", |o| server_hello(o, hello, seen)),
                Body::Certificates(certificates) => o.array("certificates", |array| {
                    certificates.iter().for_each(|der| certificate::json(der, array.item()));
                }),
                Body::Alert(alert) => o.object("alert", |o| {
                    code(o, "level", names::alert_level(alert.level), u16::from(alert.level));
                    code(o, "description", names::alert_description(alert.description), u16::from(alert.description));
                }),
                Body::None => {}
            }
        });
    }

    fn text(&self, out: &mut Vec<u8>) {
        text::ends(out, self.ends);
        match &self.body {
            Body::ClientHello(hello, seen) => {
                out.extend_from_slice(b"TLS client_hello");
                if let Some(sni) = hello.sni {
                    out.extend_from_slice(b" sni=");
                    text::printable(out, sni);
                }
                named(out, " versions=", hello.supported_versions.iter().filter_map(names::version));
                if hello.supported_versions.is_empty() {
                    named(out, " version=", names::version(hello.legacy_version).into_iter());
                }
                list(out, b" alpn=", hello.alpn());
                if hello.ech() {
                    out.extend_from_slice(b" ech");
                }
                out.extend_from_slice(b" ja4=");
                out.extend_from_slice(&seen.ja4);
            }
            Body::ServerHello(hello, seen) => {
                let retry: &[u8] =
                    if hello.is_hello_retry_request() { b"hello_retry_request" } else { b"server_hello" };
                out.extend_from_slice(b"TLS ");
                out.extend_from_slice(retry);
                named(out, " version=", names::version(hello.version()).into_iter());
                named(out, " cipher=", names::cipher(hello.cipher).into_iter());
                list(out, b" alpn=", hello.alpn.into_iter());
                out.extend_from_slice(b" ja3s=");
                out.extend_from_slice(&seen.ja3);
            }
            Body::Certificates(certificates) => {
                out.extend_from_slice(b"TLS certificate");
                if let Some(der) = certificates.iter().next() {
                    certificate::text(der, out);
                }
            }
            Body::Alert(alert) => {
                out.extend_from_slice(b"TLS alert ");
                out.extend_from_slice(names::alert_level(alert.level).unwrap_or("?").as_bytes());
                out.push(b' ');
                match names::alert_description(alert.description) {
                    Some(name) => out.extend_from_slice(name.as_bytes()),
                    None => json::number(out, u64::from(alert.description)),
                }
            }
            Body::None => {
                out.extend_from_slice(b"TLS ");
                let name = self.handshake_type.and_then(names::handshake_type).unwrap_or("?");
                out.extend_from_slice(name.as_bytes());
            }
        }
    }
}

fn client_hello(o: &mut Object<'_>, hello: &ClientHello<'_>, seen: &Seen) {
    seen.part(0, o, |o| {
        version(o, "version", hello.legacy_version);
        if !hello.supported_versions.is_empty() {
            o.array("supportedVersions", |array| {
                hello.supported_versions.iter().for_each(|code| array.name_or_code(names::version(code), code));
            });
        }
        items(o, "ciphers", hello.ciphers.iter(), |code| names::CIPHER.item(code));
        extensions(o, hello.extensions);
    });
    if let Some(sni) = hello.sni {
        o.text("sni", sni);
    }
    seen.part(1, o, |o| {
        if hello.alpn().next().is_some() {
            o.texts("alpn", hello.alpn());
        }
        if !hello.groups.is_empty() {
            items(o, "groups", hello.groups.iter(), |code| names::GROUP.item(code));
        }
        if !hello.signature_algorithms.is_empty() {
            let name = |code| names::SIGNATURE_ALGORITHM.item(code);
            items(o, "signatureAlgorithms", hello.signature_algorithms.iter(), name);
        }
    });
    if !hello.session_id.is_empty() {
        o.hex("sessionID", hello.session_id);
    }
    o.hex("random", hello.random);
    ascii(o, "ja3", &seen.ja3);
    ascii(o, "ja4", &seen.ja4);
    if hello.ech() {
        o.flag("ech", true);
    }
}

fn server_hello(o: &mut Object<'_>, hello: &ServerHello<'_>, seen: &Seen) {
    version(o, "version", hello.legacy_version);
    if let Some(selected) = hello.selected_version {
        version(o, "selectedVersion", selected);
    }
    seen.part(0, o, |o| {
        code(o, "cipher", names::cipher(hello.cipher), hello.cipher);
        extensions(o, hello.extensions);
    });
    if let Some(alpn) = hello.alpn {
        o.text("alpn", alpn);
    }
    if hello.is_hello_retry_request() {
        o.flag("helloRetryRequest", true);
    }
    ascii(o, "ja3s", &seen.ja3);
}

fn extensions(o: &mut Object<'_>, extensions: Extensions<'_>) {
    let codes = extensions.iter().map(|extension| extension.code);
    items(o, "extensions", codes, |code| names::EXTENSION.item(code));
}

/// A list of names, each as its registry has it prepared, or of code points that have none.
fn items(
    o: &mut Object<'_>,
    key: &str,
    codes: impl Iterator<Item = u16>,
    item: impl Fn(u16) -> Option<&'static Padded>,
) {
    o.array(key, |array| {
        codes.for_each(|code| match item(code) {
            Some(item) => array.prepared(item),
            None => array.name_or_code(None, code),
        });
    });
}

fn version(o: &mut Object<'_>, key: &str, code: u16) {
    self::code(o, key, names::version(code), code);
}

fn code(o: &mut Object<'_>, key: &str, name: Option<&str>, code: u16) {
    json::name_or_code(o.key(key), name, code);
}

/// Digits and letters.
fn ascii(o: &mut Object<'_>, key: &str, value: &[u8]) {
    // JA4 holds two bytes of a protocol name, which are ASCII letters or digits by its own rule.
    json::plain(o.key(key), value);
}

/// Names, a version's without its space.
fn named<'a>(out: &mut Vec<u8>, label: &str, names: impl Iterator<Item = &'a str>) {
    for (at, name) in names.enumerate() {
        out.extend_from_slice(if at == 0 { label } else { "," }.as_bytes());
        out.extend(name.bytes().filter(|byte| *byte != b' '));
    }
}

fn list<'a>(out: &mut Vec<u8>, label: &[u8], values: impl Iterator<Item = &'a [u8]>) {
    for (at, value) in values.enumerate() {
        out.extend_from_slice(if at == 0 { label } else { b"," });
        text::printable(out, value);
    }
}
