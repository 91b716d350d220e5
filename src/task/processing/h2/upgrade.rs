//! The upgrade from HTTP/1.1 to HTTP/2 in the clear (RFC 7540 section 3.2): the request that asks for it
//! becomes stream 1's.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::Shared;
use super::ids::Place;
use super::link::Link;
use super::meters::Part;
use crate::decode::hpack::Field;

/// What a flow's first bytes may turn out to be.
#[derive(Default)]
#[expect(clippy::box_collection, reason = "every connection has one and hardly any has a head: it is kept small")]
pub enum Watch {
    /// Nothing came yet.
    #[default]
    Fresh,
    /// The head of an HTTP/1.1 request so far, and the direction it comes in.
    Head(usize, Box<Vec<u8>>),
    /// A request for HTTP/2.
    Requested(Box<Vec<u8>>),
    /// No such request.
    Off,
}

impl Watch {
    /// Takes bytes of a direction that was not shown to be HTTP/2 yet.
    pub fn push(&mut self, dir: usize, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        match self {
            Watch::Fresh if bytes.starts_with(b"PRI ") => *self = Watch::Off,
            Watch::Fresh if bytes.first().is_some_and(u8::is_ascii_uppercase) => {
                *self = Watch::Head(dir, Box::default());
            }
            Watch::Head(of, _) if *of == dir => {}
            Watch::Fresh => *self = Watch::Off,
            _ => return,
        }
        let Watch::Head(_, head) = self else { return };
        let before = head.len().saturating_sub(3);
        head.extend_from_slice(bytes.get(..bytes.len().min(HEAD + 1 - head.len())).unwrap_or_default());
        if head.get(..4) == Some(b"PRI ") || head.len() > HEAD {
            *self = Watch::Off;
            return;
        }
        let end = head.get(before..).and_then(|new| new.windows(4).position(|four| four == b"\r\n\r\n"));
        if let Some(end) = end {
            let mut head = std::mem::take(&mut **head);
            head.truncate(before + end + 4);
            *self = if asks(&head) { Watch::Requested(Box::new(head)) } else { Watch::Off };
        }
    }

    /// Bytes are missing: no head can be put together any more.
    pub fn gap(&mut self) {
        if !self.requested() {
            *self = Watch::Off;
        }
    }

    pub fn requested(&self) -> bool {
        matches!(self, Watch::Requested(_))
    }

    pub fn capacity(&self) -> usize {
        match self {
            Watch::Head(_, head) | Watch::Requested(head) => head.capacity(),
            _ => 0,
        }
    }
}

/// Whether a head asks for HTTP/2.
fn asks(head: &[u8]) -> bool {
    let mut headers = [httparse::EMPTY_HEADER; FIELDS];
    let mut request = httparse::Request::new(&mut headers);
    let named = |name: &str, value: &[u8], token: &str| {
        name.eq_ignore_ascii_case("upgrade")
            && value.split(|&byte| byte == b',').any(|part| part.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
    };
    request.parse(head).is_ok_and(|status| status.is_complete())
        && request.headers.iter().any(|header| named(header.name, header.value, "h2c"))
        && request.headers.iter().any(|header| header.name.eq_ignore_ascii_case("http2-settings"))
}

impl Link<'_, '_> {
    /// HTTP/2 has come: if a request asked for it, that one is stream 1's, and its settings hold.
    pub fn upgrade_stream(&mut self) {
        let Watch::Requested(head) = &mut self.core.upgrade else { return };
        let head = std::mem::take(&mut **head);
        let mut headers = [httparse::EMPTY_HEADER; FIELDS];
        let mut request = httparse::Request::new(&mut headers);
        if request.parse(&head).is_err() {
            return;
        }
        let shared = &mut *self.shared;
        shared.draft.start(Part::Request);
        let host = request.headers.iter().find(|header| header.name.eq_ignore_ascii_case("host"));
        let pseudo: [(&[u8], &[u8]); 4] = [
            (b":method", request.method.unwrap_or_default().as_bytes()),
            (b":scheme", b"http"),
            (b":authority", host.map_or(&b""[..], |host| host.value)),
            (b":path", request.path.unwrap_or_default().as_bytes()),
        ];
        for (name, value) in pseudo {
            add(shared, name, value);
        }
        let mut settings = None;
        let mut length = 0;
        let mut lower = Vec::new();
        for header in request.headers.iter() {
            lower.clear();
            lower.extend_from_slice(header.name.as_bytes());
            lower.make_ascii_lowercase();
            match &lower[..] {
                b"http2-settings" => settings = URL_SAFE_NO_PAD.decode(header.value.trim_ascii()).ok(),
                b"connection" | b"upgrade" | b"host" => continue,
                b"content-length" => {
                    length = std::str::from_utf8(header.value).ok().and_then(|text| text.parse().ok()).unwrap_or(0);
                }
                _ => {}
            }
            add(shared, &lower, header.value);
        }
        self.core.ids[0].open(1, true);
        let index = self.open(1, Place::New);
        self.take_head(index, 0);
        let side = &mut self.shared.streams.at_mut(index).sides[0];
        side.ended = true;
        side.body.length = length;
        side.body.cut = length > 0;
        side.body.multipart.clear();
        if let (Some(settings), Some(client)) = (settings, self.core.client) {
            // They are the client's, whichever direction's frame showed who that is. The 101 has
            // acknowledged them (RFC 7540 section 3.2.1).
            let dir = std::mem::replace(&mut self.dir, client);
            self.settings(&settings);
            self.dir = 1 - client;
            self.settings_acknowledged();
            self.dir = dir;
        }
    }
}

/// Adds a field that came in the clear to the draft.
fn add(shared: &mut Shared, name: &[u8], value: &[u8]) {
    let tag = shared.names.tag(name);
    let field =
        Field { name: Some(name), value: Some(value), index: 0, never_indexed: false, tag, indexed: false, note: &[] };
    shared.draft.add(field, &shared.names);
}

/// Bytes of a request's head.
const HEAD: usize = 16 << 10;
/// Fields of a request's head.
const FIELDS: usize = 100;
