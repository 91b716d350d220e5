//! One request head: what RFC 9112 allows, within 8 KiB and 64 fields. Anything else is a status.

use std::net::IpAddr;

use super::encoding::accepts_gzip;
use super::listener::Scope;

/// Bytes of a request line and its fields, the blank line included.
pub const MAX_HEAD: usize = 8 * 1024;

/// Bytes of a request's body that are passed over so that the connection can stay; a longer one is refused.
pub const MAX_BODY: u64 = 64 * 1024;

/// A request as a handler sees it. Its body, if any, is never read.
pub struct Request<'a> {
    /// As sent: methods are case-sensitive (RFC 9110 section 9.1).
    pub method: &'a str,
    /// Without query, scheme and authority.
    pub path: &'a str,
    /// Who asks; an IPv4-mapped address as IPv4.
    pub peer: IpAddr,
    /// What the listener that took the connection is for.
    pub scope: Scope,
    fields: &'a [httparse::Header<'a>],
}

impl<'a> Request<'a> {
    /// The first field of this name, in whatever case.
    pub fn field(&self, name: &str) -> Option<&'a [u8]> {
        self.fields.iter().find(|field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value)
    }
}

/// What the head says about the message and the connection (RFC 9112 sections 6 and 9.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Framing {
    /// Bytes of the head.
    pub head: usize,
    /// Bytes of body behind it.
    pub body: u64,
    pub keep_alive: bool,
    /// Whether the client speaks HTTP/1.0, which has to be told that the connection stays.
    pub old: bool,
    /// HEAD: the answer has no body.
    pub bodiless: bool,
    pub gzip: bool,
}

/// Looks at what came so far. `None` asks for more; an error is the status of the refusal, behind
/// which the connection cannot go on.
pub(super) fn parse<R>(
    input: &[u8],
    peer: IpAddr,
    scope: Scope,
    whole: impl FnOnce(&Request<'_>, Framing) -> R,
) -> Result<Option<R>, u16> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    let head = match request.parse(input.get(..MAX_HEAD).unwrap_or(input)) {
        Ok(httparse::Status::Complete(head)) => head,
        Ok(httparse::Status::Partial) if input.len() >= MAX_HEAD => return Err(431),
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(431),
        Err(httparse::Error::Version) => return Err(505),
        Err(_) => return Err(400),
    };
    let (Some(method), Some(target), Some(version)) = (request.method, request.path, request.version) else {
        return Err(400);
    };
    let fields = &*request.headers;
    let old = version == 0;
    let hosts = fields.iter().filter(|field| field.name.eq_ignore_ascii_case("host")).count();
    if hosts > 1 || (hosts == 0 && !old) {
        return Err(400); // RFC 9112 section 3.2
    }
    let framing = Framing {
        head,
        body: body_length(fields)?,
        keep_alive: keep_alive(fields, old),
        old,
        bodiless: method == "HEAD",
        gzip: accepts_gzip(values(fields, "accept-encoding")),
    };
    let request = Request { method, path: path(target), peer, scope, fields };
    Ok(Some(whole(&request, framing)))
}

/// Bytes of the empty lines in front of a request line, which some clients send behind a body and which
/// say nothing (RFC 9112 section 2.2).
pub(super) fn empty_lines(input: &[u8]) -> usize {
    let mut rest = input;
    while let Some(behind) = rest.strip_prefix(b"\r\n").or_else(|| rest.strip_prefix(b"\n")) {
        rest = behind;
    }
    input.len() - rest.len()
}

/// Whether a request that is not taken as one asks for the head alone (RFC 9110 section 9.3.2): its
/// client awaits no body, whatever else is wrong with it or still missing.
pub(super) fn wants_head(input: &[u8]) -> bool {
    input.starts_with(b"HEAD ")
}

/// RFC 9112 section 6.3. A body of unknown length is refused rather than followed.
fn body_length(fields: &[httparse::Header<'_>]) -> Result<u64, u16> {
    let mut lengths = values(fields, "content-length");
    let first = lengths.next();
    if values(fields, "transfer-encoding").next().is_some() {
        // Both at once is how requests are smuggled (section 6.1).
        return Err(if first.is_some() { 400 } else { 411 });
    }
    let Some(first) = first else { return Ok(0) };
    if lengths.any(|other| other != first) {
        return Err(400);
    }
    if first.is_empty() || !first.iter().all(u8::is_ascii_digit) {
        return Err(400);
    }
    match std::str::from_utf8(first).ok().and_then(|digits| digits.parse().ok()) {
        Some(length) if length <= MAX_BODY => Ok(length),
        _ => Err(413),
    }
}

/// RFC 9112 section 9.3.
fn keep_alive(fields: &[httparse::Header<'_>], old: bool) -> bool {
    let says = |option: &str| {
        values(fields, "connection")
            .flat_map(|value| value.split(|&byte| byte == b','))
            .any(|word| word.trim_ascii().eq_ignore_ascii_case(option.as_bytes()))
    };
    !says("close") && (!old || says("keep-alive"))
}

/// The path of an origin-form or absolute-form target (RFC 9112 section 3.2).
fn path(target: &str) -> &str {
    let target = target.split(['?', '#']).next().unwrap_or(target);
    let Some((scheme, rest)) = target.split_once("://") else { return target };
    if target.starts_with('/') || !(scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https")) {
        return target;
    }
    rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/")
}

fn values<'a>(fields: &'a [httparse::Header<'a>], name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    fields.iter().filter(move |field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value.trim_ascii())
}

const MAX_FIELDS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn framing(head: &str) -> Result<Option<Framing>, u16> {
        parse(head.as_bytes(), IpAddr::from([127, 0, 0, 1]), Scope::All, |_, framing| framing)
    }

    fn path_of(head: &str) -> String {
        parse(head.as_bytes(), IpAddr::from([127, 0, 0, 1]), Scope::All, |request, _| request.path.to_owned())
            .expect("parses")
            .expect("whole")
    }

    #[test]
    fn a_head_is_taken_when_it_is_whole_and_not_before() {
        let head = "GET /metrics?x=1 HTTP/1.1\r\nHost: a\r\n\r\n";
        for cut in 0..head.len() {
            assert_eq!(framing(&head[..cut]), Ok(None), "{cut}");
        }
        let framing = framing(&format!("{head}GET / HTTP/1.1\r\n")).unwrap().unwrap();
        assert_eq!((framing.head, framing.body, framing.keep_alive), (head.len(), 0, true));
        assert_eq!(path_of(head), "/metrics");
        assert_eq!(path_of("GET http://node:9990/metrics?a HTTP/1.1\r\nHost: node\r\n\r\n"), "/metrics");
        assert_eq!(path_of("GET http://node HTTP/1.1\r\nHost: node\r\n\r\n"), "/");
        assert_eq!(path_of("GET /x://y HTTP/1.1\r\nHost: node\r\n\r\n"), "/x://y");
    }

    #[test]
    fn connections_stay_as_the_version_and_the_connection_field_say() {
        for (head, stays) in [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", true),
            ("GET / HTTP/1.1\r\nHost: a\r\nConnection: foo, Close\r\n\r\n", false),
            ("GET / HTTP/1.0\r\n\r\n", false),
            ("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", true),
            ("GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", false),
        ] {
            assert_eq!(framing(head).unwrap().unwrap().keep_alive, stays, "{head}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_by_its_status() {
        for (head, status) in [
            ("\x16\x03\x01\x02\x00\x01", 400),
            ("GET / HTTP/1.1\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", 411),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 65537\r\n\r\n", 413),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999\r\n\r\n", 413),
            ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        ] {
            assert_eq!(framing(head), Err(status), "{head:?}");
        }
        let long = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", "y".repeat(MAX_HEAD));
        assert_eq!(framing(&long), Err(431));
        let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(64));
        assert_eq!(framing(&many), Err(431));
        let fits = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "y".repeat(MAX_HEAD - 32));
        assert_eq!(framing(&fits).unwrap().unwrap().head, MAX_HEAD);
    }
}
