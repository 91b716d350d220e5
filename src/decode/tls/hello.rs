//! ClientHello, ServerHello and Certificate. A hello is checked as a whole when it is read, so that
//! its accessors cannot fail.

use super::extensions::{Extensions, U16s, code};
use crate::decode::{Error, Reader};

/// A ClientHello of TLS or DTLS (RFC 8446 section 4.1.2, RFC 6347 section 4.2.1).
#[derive(Clone, Copy, Debug)]
pub struct ClientHello<'a> {
    pub legacy_version: u16,
    pub random: &'a [u8; 32],
    pub session_id: &'a [u8],
    pub ciphers: U16s<'a>,
    pub compression_methods: &'a [u8],
    pub extensions: Extensions<'a>,
    /// Of type host_name (RFC 6066 section 3); as it stands, which need not be UTF-8.
    pub sni: Option<&'a [u8]>,
    /// Of extension 43, GREASE included; empty without it.
    pub supported_versions: U16s<'a>,
    pub groups: U16s<'a>,
    pub point_formats: &'a [u8],
    /// Of extension 13 alone.
    pub signature_algorithms: U16s<'a>,
    alpn: &'a [u8],
    /// Whether the handshake message came in DTLS.
    pub datagram: bool,
}

impl<'a> ClientHello<'a> {
    /// Reads the body of a handshake message. What ends too early inside a message that is whole
    /// breaks the protocol, so every error is `Malformed`.
    pub fn read(body: &'a [u8], datagram: bool) -> Result<ClientHello<'a>, Error> {
        let mut reader = Reader::new(body);
        ClientHello::take(&mut reader, datagram).map_err(|_| Error::Malformed)
    }

    fn take(reader: &mut Reader<'a>, datagram: bool) -> Result<ClientHello<'a>, Error> {
        let legacy_version = reader.u16()?;
        let random = random(reader)?;
        let session_id = session_id(reader)?;
        if datagram {
            reader.prefixed_u8()?; // the cookie
        }
        let ciphers = U16s::new(reader.prefixed_u16()?.take_rest())?;
        let compression_methods = reader.prefixed_u8()?.take_rest();
        let extensions = Extensions::read(reader)?;
        let mut hello = ClientHello {
            legacy_version,
            random,
            session_id,
            ciphers,
            compression_methods,
            extensions,
            sni: None,
            supported_versions: U16s::default(),
            groups: U16s::default(),
            point_formats: &[],
            signature_algorithms: U16s::default(),
            alpn: &[],
            datagram,
        };
        for extension in extensions.iter() {
            let mut data = Reader::new(extension.data);
            match extension.code {
                code::SERVER_NAME if hello.sni.is_none() => hello.sni = server_name(&mut data)?,
                code::SUPPORTED_GROUPS if hello.groups.is_empty() => {
                    hello.groups = U16s::new(whole(data.prefixed_u16()?, &data)?)?;
                }
                code::EC_POINT_FORMATS if hello.point_formats.is_empty() => {
                    hello.point_formats = whole(data.prefixed_u8()?, &data)?;
                }
                code::SIGNATURE_ALGORITHMS if hello.signature_algorithms.is_empty() => {
                    hello.signature_algorithms = U16s::new(whole(data.prefixed_u16()?, &data)?)?;
                }
                code::ALPN if hello.alpn.is_empty() => hello.alpn = protocol_names(&mut data)?,
                code::SUPPORTED_VERSIONS if hello.supported_versions.is_empty() => {
                    hello.supported_versions = U16s::new(whole(data.prefixed_u8()?, &data)?)?;
                }
                _ => {}
            }
        }
        Ok(hello)
    }

    /// The protocols offered, in order of preference (RFC 7301 section 3.1).
    pub fn alpn(&self) -> impl Iterator<Item = &'a [u8]> + Clone + use<'a> {
        names(self.alpn)
    }

    /// Whether the extension encrypted_client_hello is there, be it real or GREASE (RFC 9849).
    pub fn ech(&self) -> bool {
        self.extensions.find(code::ENCRYPTED_CLIENT_HELLO).is_some()
    }
}

/// A ServerHello, which in TLS 1.3 may be a HelloRetryRequest (RFC 8446 section 4.1.3).
#[derive(Clone, Copy, Debug)]
pub struct ServerHello<'a> {
    pub legacy_version: u16,
    pub random: &'a [u8; 32],
    pub session_id: &'a [u8],
    pub cipher: u16,
    pub extensions: Extensions<'a>,
    /// Of extension 43: what TLS 1.3 has chosen.
    pub selected_version: Option<u16>,
    pub alpn: Option<&'a [u8]>,
}

impl<'a> ServerHello<'a> {
    /// Reads the body of a handshake message; every error is `Malformed`.
    pub fn read(body: &'a [u8]) -> Result<ServerHello<'a>, Error> {
        ServerHello::take(&mut Reader::new(body)).map_err(|_| Error::Malformed)
    }

    fn take(reader: &mut Reader<'a>) -> Result<ServerHello<'a>, Error> {
        let legacy_version = reader.u16()?;
        let random = random(reader)?;
        let session_id = session_id(reader)?;
        let cipher = reader.u16()?;
        reader.u8()?; // compression method
        let extensions = Extensions::read(reader)?;
        let mut hello =
            ServerHello { legacy_version, random, session_id, cipher, extensions, selected_version: None, alpn: None };
        if let Some(data) = extensions.find(code::SUPPORTED_VERSIONS) {
            hello.selected_version = Some(Reader::new(data).u16()?);
        }
        if let Some(data) = extensions.find(code::ALPN) {
            hello.alpn = names(protocol_names(&mut Reader::new(data))?).next();
        }
        Ok(hello)
    }

    /// The version that the connection has: the selected one, else the legacy one.
    pub fn version(&self) -> u16 {
        self.selected_version.unwrap_or(self.legacy_version)
    }

    /// Told by its random, the SHA-256 of "HelloRetryRequest" (RFC 8446 section 4.1.3).
    pub fn is_hello_retry_request(&self) -> bool {
        *self.random == HELLO_RETRY_REQUEST
    }
}

/// The certificates of a Certificate message in the clear, which is TLS 1.2 or before (RFC 5246
/// section 7.4.2), in the order on the wire.
#[derive(Clone, Copy, Debug)]
pub struct Certificates<'a> {
    bytes: &'a [u8],
}

impl<'a> Certificates<'a> {
    /// Reads the body of a handshake message; every error is `Malformed`.
    pub fn read(body: &'a [u8]) -> Result<Certificates<'a>, Error> {
        let mut reader = Reader::new(body);
        let list = |reader: &mut Reader<'a>| {
            let bytes = reader.prefixed_u24()?.take_rest();
            let mut walk = Reader::new(bytes);
            while !walk.is_empty() {
                walk.prefixed_u24()?;
            }
            Ok::<_, Error>(Certificates { bytes })
        };
        match list(&mut reader) {
            Ok(certificates) if reader.is_empty() => Ok(certificates),
            _ => Err(Error::Malformed),
        }
    }

    /// Each certificate's DER.
    pub fn iter(&self) -> impl Iterator<Item = &'a [u8]> + Clone + use<'a> {
        let mut reader = Reader::new(self.bytes);
        std::iter::from_fn(move || Some(reader.prefixed_u24().ok()?.take_rest()))
    }
}

fn random<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8; 32], Error> {
    reader.take(32)?.first_chunk().ok_or(Error::Truncated)
}

fn session_id<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], Error> {
    let bytes = reader.prefixed_u8()?.take_rest();
    if bytes.len() > 32 { Err(Error::Malformed) } else { Ok(bytes) }
}

/// What `inner` holds, if it was all that `outer` had.
fn whole<'a>(inner: Reader<'a>, outer: &Reader<'_>) -> Result<&'a [u8], Error> {
    if outer.is_empty() { Ok(inner.rest()) } else { Err(Error::Malformed) }
}

/// ServerNameList: the first name of type host_name (RFC 6066 section 3).
fn server_name<'a>(data: &mut Reader<'a>) -> Result<Option<&'a [u8]>, Error> {
    if data.is_empty() {
        return Ok(None);
    }
    let mut list = Reader::new(whole(data.prefixed_u16()?, data)?);
    let mut found = None;
    while !list.is_empty() {
        let name_type = list.u8()?;
        let name = list.prefixed_u16()?.take_rest();
        if name_type == 0 && found.is_none() {
            found = Some(name);
        }
    }
    Ok(found)
}

/// ProtocolNameList, checked (RFC 7301 section 3.1).
fn protocol_names<'a>(data: &mut Reader<'a>) -> Result<&'a [u8], Error> {
    let bytes = whole(data.prefixed_u16()?, data)?;
    let mut walk = Reader::new(bytes);
    while !walk.is_empty() {
        if walk.prefixed_u8()?.is_empty() {
            return Err(Error::Malformed);
        }
    }
    Ok(bytes)
}

fn names(bytes: &[u8]) -> impl Iterator<Item = &[u8]> + Clone {
    let mut reader = Reader::new(bytes);
    std::iter::from_fn(move || Some(reader.prefixed_u8().ok()?.take_rest()))
}

const HELLO_RETRY_REQUEST: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2, 0xa2, 0x11,
    0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];
