//! One answer, filled by a handler, written by the server.

use std::io::Write;

use super::request::Framing;
use crate::time::Timestamp;

/// An answer. The server keeps one and its buffer for all.
pub struct Response {
    pub status: u16,
    /// `handler` of tawon_listener_requests_total.
    pub handler: &'static str,
    pub content_type: &'static str,
    /// Further fields, each ended by CRLF.
    pub fields: &'static str,
    pub body: Vec<u8>,
}

impl Response {
    pub(super) fn new() -> Response {
        Response { status: 200, handler: OTHER, content_type: TEXT, fields: "", body: Vec::new() }
    }

    /// As it was made, with the buffer's room kept unless one answer was huge.
    pub(super) fn clear(&mut self) {
        let mut body = std::mem::take(&mut self.body);
        body.clear();
        body.shrink_to(KEEP);
        *self = Response { body, ..Response::new() };
    }

    /// A refusal or a plain word: the status and one line that says why.
    pub fn plain(&mut self, status: u16, line: &str) {
        self.status = status;
        self.content_type = TEXT;
        self.body.clear();
        self.body.extend_from_slice(line.as_bytes());
        self.body.push(b'\n');
    }

    /// The status line and fields of this answer with a body of `length` bytes.
    pub(super) fn head(&self, out: &mut Vec<u8>, wall: Timestamp, framing: &Framing, length: usize, gzip: Vary) {
        out.clear();
        // Writing into memory cannot fail.
        let _ = write!(out, "HTTP/1.1 {} {}\r\n", self.status, reason(self.status));
        if let Ok(date) = jiff::Timestamp::from_nanosecond(i128::from(wall.0)) {
            let _ = write!(out, "Date: {}\r\n", date.strftime("%a, %d %b %Y %H:%M:%S GMT"));
        }
        let _ = write!(out, "Content-Type: {}\r\nContent-Length: {length}\r\n", self.content_type);
        let connection = match (framing.keep_alive, framing.old) {
            (false, _) => "Connection: close\r\n",
            (true, true) => "Connection: keep-alive\r\n",
            (true, false) => "",
        };
        let coding = match gzip {
            Vary::Never => "",
            Vary::Plain => "Vary: Accept-Encoding\r\n",
            Vary::Gzip => "Vary: Accept-Encoding\r\nContent-Encoding: gzip\r\n",
        };
        let _ = write!(out, "{connection}{coding}X-Content-Type-Options: nosniff\r\n{}\r\n", self.fields);
    }
}

/// Whether a body is one of two codings, and which.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Vary {
    /// Too short to gain.
    Never,
    Plain,
    Gzip,
}

pub const TEXT: &str = "text/plain; charset=utf-8";
/// The handler of what no route answers.
pub const OTHER: &str = "other";

/// RFC 9110 section 15.
pub(super) const fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        411 => "Length Required",
        413 => "Content Too Large",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "Unknown",
    }
}

const KEEP: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_carries_date_length_and_the_fate_of_the_connection() {
        let mut response = Response::new();
        response.plain(404, "nothing here");
        let framing = Framing { head: 0, body: 0, keep_alive: false, old: false, bodiless: false, gzip: false };
        let mut head = Vec::new();
        response.head(&mut head, Timestamp(784_111_777_000_000_000), &framing, response.body.len(), Vary::Never);
        assert_eq!(
            String::from_utf8(head).unwrap(),
            "HTTP/1.1 404 Not Found\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
             Content-Type: text/plain; charset=utf-8\r\nContent-Length: 13\r\nConnection: close\r\n\
             X-Content-Type-Options: nosniff\r\n\r\n"
        );
    }
}
