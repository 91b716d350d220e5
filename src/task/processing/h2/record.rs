//! The h2 record: one round trip, written as JSON straight from what its stream holds.

use std::net::SocketAddr;

use super::config::{BodyMode, Config};
use super::json;
use super::names;
use super::shape::{self, Reason, Role};
use super::stream::{Side, Stream};
use crate::pipeline::{Record, View};
use crate::task::Kind;
use crate::time::Timestamp;

/// Appends `,"name":`.
macro_rules! key {
    ($out:expr, $name:literal) => {
        $out.extend_from_slice(concat!(",\"", $name, "\":").as_bytes())
    };
}

/// A round trip as it is told.
pub struct RoundTrip<'a> {
    pub flow: u64,
    pub role: Role,
    pub reason: Reason,
    /// When it ended; None where no end was seen.
    pub ended: Option<Ended>,
    /// The endpoints, client first; what of them is known.
    pub ends: Ends,
    /// The groups `net` and `process` and what `meta` adds, written: `,"net":{...},"process":{...}`.
    pub(super) groups: &'a [u8],
    pub(super) stream: &'a Stream,
    pub(super) config: &'a Config,
    pub(super) dates: &'a json::Dates,
}

/// An end in wall-clock time, and how long after the first frame it was.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    pub at: Timestamp,
    pub micros: u64,
}

/// Addresses by role.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Ends {
    pub client: Option<SocketAddr>,
    pub server: Option<SocketAddr>,
}

impl RoundTrip<'_> {
    pub fn stream_id(&self) -> u32 {
        self.stream.id
    }

    /// The request's method as JSON writes it; None where it is unknown or no text.
    pub fn method(&self) -> Option<&str> {
        self.pseudo(0, names::METHOD)
    }

    pub fn authority(&self) -> Option<&str> {
        self.pseudo(0, names::AUTHORITY)
    }

    pub fn path(&self) -> Option<&str> {
        self.pseudo(0, names::PATH)
    }

    pub fn status(&self) -> Option<u16> {
        self.stream.sides[1].status
    }

    /// gRPC's status, where it is a gRPC call that told one.
    pub fn grpc_status(&self) -> Option<u32> {
        self.stream.sides[1].grpc_status
    }

    /// Whether it is a gRPC call.
    pub fn is_grpc(&self) -> bool {
        self.stream.sides.iter().any(|side| side.grpc) || self.grpc_status().is_some()
    }

    fn pseudo(&self, side: usize, tag: names::Tag) -> Option<&str> {
        let side = &self.stream.sides[side];
        let span = side.spans[usize::from(tag)];
        std::str::from_utf8(span.of(side.text.as_slice())).ok().filter(|_| span.is_text())
    }

    fn times(&self, out: &mut Vec<u8>) {
        if !self.stream.joined {
            out.extend_from_slice(b",\"startedAt\":\"");
            self.dates.write(out, self.stream.started);
            out.push(b'"');
        }
        if let Some(at) = self.stream.first_byte {
            out.extend_from_slice(b",\"firstByteAt\":\"");
            self.dates.write(out, at);
            out.push(b'"');
        }
        if let Some(ended) = self.ended {
            out.extend_from_slice(b",\"endedAt\":\"");
            self.dates.write(out, ended.at);
            out.push(b'"');
        }
        if let Some(ended) = self.ended.filter(|_| !self.stream.joined) {
            key!(out, "durationUs");
            json::number(out, ended.micros);
        }
    }

    fn side(&self, out: &mut Vec<u8>, index: usize) {
        let side = &self.stream.sides[index];
        let start = out.len();
        macro_rules! pseudo {
            ($name:literal, $tag:expr) => {
                let span = side.spans[usize::from($tag)];
                if span.known() {
                    match span.is_text() {
                        true => out.extend_from_slice(concat!(",\"", $name, "\":\"").as_bytes()),
                        false => out.extend_from_slice(concat!(",\"", $name, "Base64\":\"").as_bytes()),
                    }
                    out.extend_from_slice(span.of(side.text.as_slice()));
                    out.push(b'"');
                }
            };
        }
        if index == 0 {
            pseudo!("method", names::METHOD);
            pseudo!("scheme", names::SCHEME);
            pseudo!("authority", names::AUTHORITY);
            pseudo!("path", names::PATH);
        } else if let Some(status) = side.status {
            key!(out, "status");
            json::number(out, u64::from(status));
        }
        if side.head {
            out.extend_from_slice(b",\"headers\":[");
            out.extend_from_slice(side.headers().strip_suffix(b",").unwrap_or_default());
            out.push(b']');
        }
        if side.trailers {
            out.extend_from_slice(b",\"trailers\":[");
            out.extend_from_slice(side.trailer_fields().strip_suffix(b",").unwrap_or_default());
            out.push(b']');
        }
        if !side.content_type.is_empty() {
            out.extend_from_slice(b",\"contentType\":\"");
            // A media type is made of token characters, which JSON takes as they are.
            out.extend_from_slice(&side.content_type);
            out.push(b'"');
        }
        self.body(out, side);
        // The first comma becomes the brace.
        match out.get_mut(start) {
            Some(comma) => *comma = b'{',
            None => out.push(b'{'),
        }
        out.push(b'}');
    }

    fn body(&self, out: &mut Vec<u8>, side: &Side) {
        let body = &side.body;
        if side.head && !body.unsure {
            key!(out, "bodyLength");
            json::number(out, body.length);
        }
        if self.config.body != BodyMode::None && body.length > 0 {
            self.content(out, &body.kept, body.cut, side.encoded);
        }
        if body.cut {
            out.extend_from_slice(b",\"bodyTruncated\":true");
        }
        let mut parts = body.multipart.parts().peekable();
        if parts.peek().is_none() {
            return;
        }
        key!(out, "parts");
        let mut before = b'[';
        for part in parts {
            out.push(before);
            before = b',';
            out.extend_from_slice(b"{\"contentType\":\"");
            out.extend_from_slice(body.multipart.content_type(part));
            out.push(b'"');
            if let Some(id) = body.multipart.content_id(part) {
                out.push(b',');
                json::text_entry(out, "contentId", id);
            }
            key!(out, "length");
            json::number(out, part.length);
            if self.config.body != BodyMode::None {
                let start = (part.start as usize).min(body.kept.len());
                let end = ((part.start + part.length) as usize).min(body.kept.len());
                let kept = body.kept.get(start..end).unwrap_or_default();
                self.content(out, kept, (kept.len() as u64) < part.length, side.encoded);
            }
            out.push(b'}');
        }
        out.push(b']');
    }

    /// `,"body":"..."` or `,"bodyBase64":"..."`, as the option says.
    fn content(&self, out: &mut Vec<u8>, kept: &[u8], cut: bool, encoded: bool) {
        let text = match std::str::from_utf8(kept) {
            Ok(text) => Some(text),
            // The limit may have cut a character.
            Err(error) if cut && error.error_len().is_none() => {
                kept.get(..error.valid_up_to()).and_then(|kept| std::str::from_utf8(kept).ok())
            }
            Err(_) => None,
        };
        match text.filter(|_| !encoded) {
            Some(text) => {
                key!(out, "body");
                json::string(out, text);
            }
            None if self.config.body == BodyMode::All => {
                key!(out, "bodyBase64");
                json::base64(out, kept);
            }
            None => {}
        }
    }

    fn grpc(&self, out: &mut Vec<u8>) {
        let [request, response] = &self.stream.sides;
        let start = out.len();
        if let Some((service, method)) =
            self.path().and_then(|path| path.strip_prefix('/')).and_then(|path| path.rsplit_once('/'))
        {
            // As the path has them, which is written already.
            json::plain(json::key(out, "service"), service.as_bytes());
            json::plain(json::key(out, "method"), method.as_bytes());
        }
        if let Some(status) = response.grpc_status {
            key!(out, "status");
            json::number(out, u64::from(status));
        }
        if let Some(message) = &response.grpc_message {
            out.push(b',');
            json::text_entry(out, "message", message);
        }
        for (name, side) in [("requestMessages", request), ("responseMessages", response)] {
            if side.head && side.body.messages.on && !side.body.messages.lost {
                json::number(json::key(out, name), side.body.messages.count);
            }
        }
        match out.get_mut(start) {
            Some(comma) => *comma = b'{',
            None => out.push(b'{'),
        }
        out.push(b'}');
    }
}

impl Record for RoundTrip<'_> {
    fn kind(&self) -> Kind {
        Kind::H2
    }

    fn json(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"flowID\":\"");
        json::digits(out, &self.flow.to_be_bytes());
        out.extend_from_slice(b"\",\"streamID\":");
        json::number(out, u64::from(self.stream.id));
        key!(out, "role");
        json::plain(out, self.role.name().as_bytes());
        match self.reason.partial() {
            true => out.extend_from_slice(b",\"partial\":true,\"reason\":\""),
            false => out.extend_from_slice(b",\"partial\":false,\"reason\":\""),
        }
        out.extend_from_slice(self.reason.name().as_bytes());
        match self.stream.pushed {
            true => out.extend_from_slice(b"\",\"pushed\":true"),
            false => out.extend_from_slice(b"\",\"pushed\":false"),
        }
        self.times(out);
        key!(out, "unknownFields");
        json::number(out, u64::from(self.stream.unknown));
        out.extend_from_slice(self.groups);
        key!(out, "request");
        self.side(out, 0);
        key!(out, "response");
        self.side(out, 1);
        if self.is_grpc() {
            key!(out, "grpc");
            self.grpc(out);
        }
        out.push(b'}');
    }

    fn text(&self, out: &mut Vec<u8>) {
        let word = |out: &mut Vec<u8>, text: Option<&str>| {
            out.extend_from_slice(text.unwrap_or("?").as_bytes());
            out.push(b' ');
        };
        word(out, self.method());
        word(out, self.authority());
        word(out, self.path());
        match self.status() {
            Some(status) => json::number(out, u64::from(status)),
            None => out.push(b'?'),
        }
        if let Some(status) = self.grpc_status() {
            out.extend_from_slice(b" grpc-status=");
            json::number(out, u64::from(status));
        }
        for (side, mark) in self.stream.sides.iter().zip([" up=", " down="]) {
            if side.head && !side.body.unsure {
                out.extend_from_slice(mark.as_bytes());
                json::number(out, side.body.length);
            }
        }
        if let Some(ended) = self.ended {
            out.extend_from_slice(b" us=");
            json::number(out, ended.micros);
        }
        out.extend_from_slice(b" stream=");
        json::number(out, u64::from(self.stream.id));
        if self.reason.partial() {
            out.extend_from_slice(b" partial=");
            out.extend_from_slice(self.reason.name().as_bytes());
        }
    }

    fn view(&self) -> View<'_> {
        View::RoundTrip(self)
    }
}

/// The JSON Schema of the record.
pub fn schema() -> schemars::Schema {
    schemars::schema_for!(shape::H2)
}
