//! Content-Type values (RFC 9110 section 8.3.1): media type and the boundary parameter.

use super::meters::ContentTypes;
use super::recent::Place;

/// What a value says, by places in it.
#[derive(Clone, Copy)]
pub struct Media {
    essence: Place,
    boundary: Option<Place>,
    pub multipart: bool,
    pub grpc: bool,
    /// The counter of its type.
    pub counter: usize,
}

impl Media {
    /// Reads a value, unless that was done not long ago. None where it is no media type.
    #[inline]
    pub fn of(value: &[u8], types: &mut ContentTypes) -> Option<Media> {
        types.recent.find(value).or_else(|| Media::read(value, types))
    }

    #[cold]
    fn read(value: &[u8], types: &mut ContentTypes) -> Option<Media> {
        let parsed = ContentType::parse(value)?;
        let media = Media {
            essence: Place::new(parsed.essence, value),
            boundary: parsed.boundary.map(|boundary| Place::new(boundary, value)),
            multipart: parsed.is_multipart(),
            grpc: parsed.is_grpc(),
            counter: types.counter(parsed.essence),
        };
        types.recent.keep(value, media);
        Some(media)
    }

    /// Type and subtype as they stand in the value.
    pub fn essence(self, value: &[u8]) -> &[u8] {
        self.essence.of(value)
    }

    pub fn boundary(self, value: &[u8]) -> Option<&[u8]> {
        Some(self.boundary?.of(value))
    }
}

/// A parsed value.
#[derive(PartialEq, Eq, Debug)]
pub struct ContentType<'a> {
    /// Type and subtype as they stand, without parameters.
    pub essence: &'a [u8],
    /// The boundary parameter, quotes taken off; escapes in it stay.
    pub boundary: Option<&'a [u8]>,
}

impl<'a> ContentType<'a> {
    /// None where it is no media type.
    pub fn parse(value: &'a [u8]) -> Option<ContentType<'a>> {
        let value = value.trim_ascii_start();
        let slash = token(value)?;
        let subtype = token(value.get(slash..)?.strip_prefix(b"/")?)?;
        let (essence, rest) = value.split_at_checked(slash + 1 + subtype)?;
        let mut rest = rest.trim_ascii_start();
        if essence.len() > ESSENCE || rest.first().is_some_and(|&byte| byte != b';') {
            return None;
        }
        let mut boundary = None;
        while let Some(parameter) = rest.strip_prefix(b";") {
            let parameter = parameter.trim_ascii_start();
            let end = parameter.iter().position(|&byte| matches!(byte, b'=' | b';')).unwrap_or(parameter.len());
            let (name, after) = parameter.split_at(end);
            let (value, after) = match after.strip_prefix(b"=") {
                Some(after) => parameter_value(after)?,
                // An empty parameter between semicolons.
                None if name.trim_ascii().is_empty() => (&b""[..], after),
                None => return None,
            };
            if boundary.is_none() && name.trim_ascii().eq_ignore_ascii_case(b"boundary") {
                boundary = Some(value).filter(|value| (1..=70).contains(&value.len()));
            }
            rest = after;
        }
        Some(ContentType { essence, boundary })
    }

    pub fn is_multipart(&self) -> bool {
        self.essence.get(..10).is_some_and(|start| start.eq_ignore_ascii_case(b"multipart/"))
    }

    pub fn is_grpc(&self) -> bool {
        let named = |start: &[u8]| start.eq_ignore_ascii_case(b"application/grpc");
        self.essence.get(..16).is_some_and(named) && matches!(self.essence.get(16), None | Some(b'+'))
    }
}

/// A token or quoted string, and what follows it up to the next semicolon.
fn parameter_value(from: &[u8]) -> Option<(&[u8], &[u8])> {
    let Some(quoted) = from.strip_prefix(b"\"") else {
        let end = from.iter().position(|&byte| byte == b';').unwrap_or(from.len());
        let (value, rest) = from.split_at(end);
        return Some((value.trim_ascii(), rest));
    };
    let mut escaped = false;
    let end = quoted.iter().position(|&byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    })?;
    let (value, rest) = quoted.split_at(end);
    let rest = rest.get(1..)?.trim_ascii_start();
    (rest.is_empty() || rest.starts_with(b";")).then_some((value, rest))
}

/// The length of the token (RFC 9110 section 5.6.2) that the text begins with, if it does.
fn token(text: &[u8]) -> Option<usize> {
    let length = text.iter().position(|&byte| !TOKEN[usize::from(byte)]).unwrap_or(text.len());
    (length > 0).then_some(length)
}

static TOKEN: [bool; 256] = {
    let mut token = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        token[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let others = b"!#$%&'*+-.^_`|~";
    let mut at = 0;
    while at < others.len() {
        token[others[at] as usize] = true;
        at += 1;
    }
    token
};

/// A longer media type is none that anybody registered (RFC 6838 section 4.2: 127 and 127).
pub const ESSENCE: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types_are_told_from_what_is_none() {
        for (value, essence, boundary) in [
            ("text/html", "text/html", None),
            ("Text/HTML ; charset=utf-8", "Text/HTML", None),
            ("multipart/related; boundary=abc", "multipart/related", Some("abc")),
            ("multipart/related;type=\"a;b\"; Boundary=\"--x y\" ;", "multipart/related", Some("--x y")),
            ("multipart/mixed; boundary=", "multipart/mixed", None),
        ] {
            let parsed = ContentType::parse(value.as_bytes()).unwrap();
            assert_eq!(parsed.essence, essence.as_bytes());
            assert_eq!(parsed.boundary, boundary.map(str::as_bytes), "{value}");
        }
        for value in ["", "text", "text/", "/html", "te xt/html", "text/html; x", "text/html; x=\"y", "a/b/c"] {
            assert_eq!(ContentType::parse(value.as_bytes()), None, "{value}");
        }
    }

    #[test]
    fn grpc_and_multipart_are_known_by_their_types() {
        let parse = |value: &'static str| ContentType::parse(value.as_bytes()).unwrap();
        assert!(parse("application/grpc").is_grpc());
        assert!(parse("application/grpc+proto; x=y").is_grpc());
        assert!(!parse("application/grpc-web").is_grpc());
        assert!(parse("Multipart/Related; boundary=x").is_multipart());
        assert!(!parse("text/multipart").is_multipart());
    }
}
