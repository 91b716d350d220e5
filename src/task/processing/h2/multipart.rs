//! Multipart bodies (RFC 2046 section 5.1), split as they stream. Nothing of the parts is copied but
//! their heads: a part is a range of its body.

use super::content::Media;
use super::meters::ContentTypes;
use super::recent::Place;

/// One body being split. Its buffers are used again for the next.
#[derive(Default)]
pub struct Multipart {
    /// The delimiters of the levels: two hyphens and the boundary.
    delimiters: [Vec<u8>; DEPTH],
    /// How many levels are open.
    depth: usize,
    state: State,
    /// The part's head, or with parts their types and ids.
    head: Vec<u8>,
    texts: Vec<u8>,
    parts: Vec<Part>,
    /// The part that is open on each level.
    open: [Option<usize>; DEPTH],
    /// Bytes of the body so far.
    at: u64,
    /// Where the content before a line ends, if the line is a delimiter.
    cut: u64,
    /// How much of a delimiter the line is so far, and for which levels.
    matched: usize,
    alive: u8,
    carriage_return: bool,
}

/// One part: where it lies in the body, and where its type and id lie in `texts`.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    pub start: u64,
    pub length: u64,
    content_type: (u32, u32),
    content_id: Option<(u32, u32)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
enum State {
    /// No multipart body.
    #[default]
    Off,
    /// Content, or what stands before the first delimiter.
    Content,
    /// Behind a delimiter of this level, so many hyphens.
    Tail(u8, u8),
    Head,
    /// Behind the last delimiter.
    Closed,
    Failed,
}

/// What a part's head says, by places in it.
#[derive(Clone, Copy)]
pub struct Head {
    /// The value of its Content-Type.
    content_type: Option<(Place, Media)>,
    content_id: Option<Place>,
    /// The counter of its type.
    counter: usize,
}

/// That a body is not what it says, or too much of it.
#[derive(Debug)]
pub struct Failure;

impl Multipart {
    /// Begins a body with this boundary.
    pub fn start(&mut self, boundary: &[u8]) {
        self.clear();
        self.state = State::Content;
        self.push(boundary);
        self.line();
    }

    /// Ends all use of it for a body.
    pub fn clear(&mut self) {
        self.state = State::Off;
        self.head.clear();
        self.texts.clear();
        self.parts.clear();
        (self.depth, self.open, self.at) = (0, [None; DEPTH], 0);
        self.carriage_return = false;
    }

    pub fn is_on(&self) -> bool {
        self.state != State::Off
    }

    /// Gives up: bytes of the body are missing.
    pub fn abandon(&mut self) {
        if self.is_on() {
            self.state = State::Failed;
            self.parts.clear();
        }
    }

    /// Takes the next bytes of the body; the types of parts are counted. Fails once at most.
    pub fn push_bytes(&mut self, mut bytes: &[u8], types: &mut ContentTypes) -> Result<(), Failure> {
        while !bytes.is_empty() {
            let used = match self.state {
                State::Off | State::Closed | State::Failed => bytes.len(),
                State::Content if self.alive == 0 => self.skip_line(bytes),
                State::Content => self.compare(bytes),
                State::Tail(level, hyphens) => self.tail(bytes, usize::from(level), hyphens)?,
                State::Head => self.head(bytes, types)?,
            };
            self.at += used as u64;
            bytes = bytes.get(used..).unwrap_or_default();
        }
        Ok(())
    }

    /// The body has ended. A missing last delimiter is accepted, a missing first one is not.
    pub fn finish(&mut self) -> Result<(), Failure> {
        match self.state {
            State::Off | State::Closed | State::Failed => return Ok(()),
            _ if self.parts.is_empty() => return self.fail(),
            _ => {}
        }
        self.close_parts(0, self.at);
        self.state = State::Closed;
        Ok(())
    }

    /// The parts, in order, with those of a nested multipart body behind it.
    pub fn parts(&self) -> impl Iterator<Item = &Part> {
        self.parts.iter()
    }

    pub fn content_type(&self, part: &Part) -> &[u8] {
        self.text(part.content_type)
    }

    pub fn content_id(&self, part: &Part) -> Option<&[u8]> {
        part.content_id.map(|range| self.text(range))
    }

    /// Bytes that its buffers take.
    pub fn capacity(&self) -> usize {
        let delimiters: usize = self.delimiters.iter().map(Vec::capacity).sum();
        delimiters + self.head.capacity() + self.texts.capacity() + self.parts.capacity() * size_of::<Part>()
    }

    /// Content up to the next line's start.
    fn skip_line(&mut self, bytes: &[u8]) -> usize {
        let Some(end) = memchr::memchr(b'\n', bytes) else {
            self.carriage_return = bytes.last() == Some(&b'\r');
            return bytes.len();
        };
        let before =
            end.checked_sub(1).and_then(|at| bytes.get(at)).map_or(self.carriage_return, |&byte| byte == b'\r');
        self.carriage_return = false;
        if before {
            self.line();
            self.cut = self.at + end as u64 - 1;
        }
        end + 1
    }

    /// The next byte of a line that may be a delimiter.
    fn compare(&mut self, bytes: &[u8]) -> usize {
        let Some(&byte) = bytes.first() else { return 0 };
        let outer = &self.delimiters[0];
        if self.matched == 0 && self.depth == 1 && self.alive == 1 && bytes.starts_with(outer) {
            // What lies whole in the bytes, as nearly all do.
            self.matched = outer.len();
            self.state = State::Tail(0, 0);
            return self.matched;
        }
        let mut full = None;
        for level in 0..self.depth {
            let delimiter = &self.delimiters[level];
            if self.alive >> level & 1 != 0 {
                if delimiter.get(self.matched) != Some(&byte) {
                    self.alive &= !(1 << level);
                } else if self.matched + 1 == delimiter.len() {
                    full = Some(level);
                }
            }
        }
        if self.alive == 0 {
            // It may be a line end, which `skip_line` looks for.
            return 0;
        }
        self.matched += 1;
        if let Some(level) = full {
            self.state = State::Tail(level as u8, 0);
        }
        1
    }

    /// Behind a delimiter: two hyphens close its level, white space may stand before the line's end.
    fn tail(&mut self, bytes: &[u8], level: usize, hyphens: u8) -> Result<usize, Failure> {
        match (bytes.first(), hyphens) {
            (Some(b'-'), 0) => self.state = State::Tail(level as u8, 1),
            (Some(b'-'), 1) => {
                self.close_parts(level, self.cut);
                self.depth = level;
                self.alive = 0;
                self.state = if level == 0 { State::Closed } else { State::Content };
                if self.parts.is_empty() {
                    self.fail()?;
                }
            }
            (Some(b' ' | b'\t' | b'\r'), 0) => {}
            (Some(b'\n'), 0) => {
                self.close_parts(level, self.cut);
                self.depth = level + 1;
                self.head.clear();
                self.state = State::Head;
            }
            _ => {
                self.state = State::Content;
                self.alive = 0;
                return Ok(0);
            }
        }
        Ok(1)
    }

    /// The head of a part, up to the empty line.
    fn head(&mut self, bytes: &[u8], types: &mut ContentTypes) -> Result<usize, Failure> {
        if self.head.is_empty()
            && let Some(end) = head_length(bytes)
        {
            // What lies whole in the bytes, as nearly all do.
            self.begin_part(bytes.get(..end).unwrap_or_default(), self.at + end as u64, types)?;
            return Ok(end);
        }
        let end = memchr::memchr(b'\n', bytes).map_or(bytes.len(), |at| at + 1);
        if self.head.len() + end > HEAD {
            self.fail()?;
        }
        self.head.extend_from_slice(bytes.get(..end).unwrap_or_default());
        let line_ended = self.head.ends_with(b"\n");
        if line_ended && ends(&self.head) {
            let head = std::mem::take(&mut self.head);
            let begun = self.begin_part(&head, self.at + end as u64, types);
            self.head = head;
            begun?;
        }
        Ok(end)
    }

    fn begin_part(&mut self, head: &[u8], start: u64, types: &mut ContentTypes) -> Result<(), Failure> {
        if self.parts.len() == PARTS {
            return self.fail();
        }
        let Head { content_type, content_id, counter } =
            types.heads.find(head).unwrap_or_else(|| Head::read(head, types));
        types.count(counter);
        let value = content_type.map(|(value, media)| (value.of(head), media));
        let content_type = self.keep(value.map_or(PLAIN, |(value, media)| media.essence(value)));
        if let Some(essence) = self.texts.get_mut(content_type.0 as usize..) {
            essence.make_ascii_lowercase();
        }
        let content_id = content_id.map(|id| self.keep(id.of(head)));
        let nested = value.and_then(|(value, media)| media.boundary(value).filter(|_| media.multipart));
        let part = Part { start, length: 0, content_type, content_id };
        let level = self.depth - 1;
        self.open[level] = Some(self.parts.len());
        self.parts.push(part);
        self.state = State::Content;
        let result = match nested {
            Some(_) if self.depth == DEPTH => self.fail(),
            Some(boundary) => {
                self.push(boundary);
                Ok(())
            }
            None => Ok(()),
        };
        self.line();
        self.cut = start;
        result
    }

    /// Ends the parts that are open on `level` and below.
    fn close_parts(&mut self, level: usize, end: u64) {
        for open in self.open.iter_mut().skip(level) {
            if let Some(part) = open.take().and_then(|index| self.parts.get_mut(index)) {
                part.length = end.saturating_sub(part.start);
            }
        }
    }

    /// A line begins, which may be any open level's delimiter.
    fn line(&mut self) {
        (self.matched, self.alive, self.carriage_return) = (0, (1 << self.depth) - 1, false);
        self.cut = self.at;
    }

    fn push(&mut self, boundary: &[u8]) {
        if let Some(delimiter) = self.delimiters.get_mut(self.depth) {
            delimiter.clear();
            delimiter.extend_from_slice(b"--");
            delimiter.extend_from_slice(boundary);
            self.depth += 1;
        }
    }

    fn keep(&mut self, text: &[u8]) -> (u32, u32) {
        let start = self.texts.len() as u32;
        self.texts.extend_from_slice(text);
        (start, self.texts.len() as u32)
    }

    fn text(&self, (start, end): (u32, u32)) -> &[u8] {
        self.texts.get(start as usize..end as usize).unwrap_or_default()
    }

    fn fail(&mut self) -> Result<(), Failure> {
        self.abandon();
        Err(Failure)
    }
}

impl Head {
    #[cold]
    fn read(head: &[u8], types: &mut ContentTypes) -> Head {
        let (mut content_type, mut content_id) = (None, None);
        for line in head.split(|&byte| byte == b'\n') {
            let Some(colon) = line.iter().position(|&byte| byte == b':') else { continue };
            let (name, value) = line.split_at(colon);
            let value = value.get(1..).unwrap_or_default().trim_ascii();
            if name.eq_ignore_ascii_case(b"content-type") && content_type.is_none() {
                content_type = Media::of(value, types).map(|media| (Place::new(value, head), media));
            } else if name.eq_ignore_ascii_case(b"content-id") && content_id.is_none() {
                content_id = Some(Place::new(value, head));
            }
        }
        let counter = content_type.map_or_else(|| types.counter(PLAIN), |(_, media)| media.counter);
        let read = Head { content_type, content_id, counter };
        types.heads.keep(head, read);
        read
    }
}

/// Whether lines that end here are all of a part's head.
fn ends(head: &[u8]) -> bool {
    head.len() <= 2 || head.ends_with(b"\n\r\n") || head.ends_with(b"\n\n")
}

/// The length of a head that `bytes` begin with, if all of it is there and not too long.
fn head_length(bytes: &[u8]) -> Option<usize> {
    let within = bytes.get(..bytes.len().min(HEAD))?;
    let mut lines = memchr::memchr_iter(b'\n', within).map(|at| at + 1);
    lines.find(|&end| within.get(..end).is_some_and(ends))
}

/// What a part is that does not say (RFC 2045 section 5.2).
const PLAIN: &[u8] = b"text/plain";
/// Levels of nesting.
const DEPTH: usize = 2;
/// Parts of one body, nested ones included.
const PARTS: usize = 64;
/// Bytes of a part's head.
const HEAD: usize = 8192;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    /// Parts as type, id and content, whatever the cuts are.
    fn split(boundary: &str, body: &str) -> Result<Parts, Failure> {
        let mut types = super::super::meters::Meters::new(&Metrics::new("").unwrap()).content_types;
        let mut results = Vec::new();
        for cut in 1..=body.len().clamp(1, 120) {
            results.push(split_by(boundary, body, cut, &mut types));
        }
        let same = |one: &Result<Vec<_>, Failure>, two: &Result<Vec<_>, Failure>| match (one, two) {
            (Ok(one), Ok(two)) => one == two,
            (one, two) => one.is_err() && two.is_err(),
        };
        assert!(results.iter().all(|result| same(result, &results[0])));
        results.swap_remove(0)
    }

    type Parts = Vec<(String, Option<String>, String)>;

    fn split_by(boundary: &str, body: &str, cut: usize, types: &mut ContentTypes) -> Result<Parts, Failure> {
        let mut multipart = Multipart::default();
        multipart.start(boundary.as_bytes());
        for piece in body.as_bytes().chunks(cut) {
            multipart.push_bytes(piece, types)?;
        }
        multipart.finish()?;
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let content = |part: &Part| body[part.start as usize..(part.start + part.length) as usize].to_owned();
        let named = |part| (text(multipart.content_type(part)), multipart.content_id(part).map(text), content(part));
        Ok(multipart.parts().map(named).collect())
    }

    fn part(kind: &str, id: Option<&str>, content: &str) -> (String, Option<String>, String) {
        (kind.into(), id.map(str::to_owned), content.into())
    }

    #[test]
    fn parts_are_split_at_their_delimiters_alone() {
        let body = "preamble --b\r\n--b\r\nContent-Type: Application/JSON; x=y\r\nContent-Id: one\r\n\r\n{\"a\":1}\r\n--b \t\r\n\r\n\
                    \r\n--bx\r\n-- \n--b\n\r\r\n--b--\r\nepilogue\r\n--b\r\n";
        let parts = split("b", body).unwrap();
        assert_eq!(
            parts,
            [part("application/json", Some("one"), "{\"a\":1}"), part("text/plain", None, "\r\n--bx\r\n-- \n--b\n\r")]
        );
    }

    #[test]
    fn nested_bodies_are_split_too_and_an_outer_delimiter_ends_them() {
        let body = "--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\n\r\n1\r\n--c\r\n\r\n2\r\n--b\r\n\r\n3\r\n--b--";
        let parts = split("b", body).unwrap();
        let contents: Vec<_> = parts.iter().map(|part| part.2.as_str()).collect();
        assert_eq!(contents, ["--c\r\n\r\n1\r\n--c\r\n\r\n2", "1", "2", "3"]);
        let deep = "--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\nContent-Type: multipart/mixed; boundary=d\r\n\r\n";
        assert!(split("b", deep).is_err());
    }

    #[test]
    fn a_missing_last_delimiter_is_accepted_and_a_missing_first_one_is_not() {
        assert_eq!(split("b", "--b\r\n\r\nrest\r\n").unwrap(), [part("text/plain", None, "rest\r\n")]);
        assert_eq!(split("b", "--b\r\n\r\n\r\n--b--").unwrap(), [part("text/plain", None, "")]);
        assert!(split("b", "nothing\r\n--c\r\n\r\n").is_err());
        assert!(split("b", "--b--\r\n").is_err());
        assert!(split("b", &"--b\r\n\r\nx\r\n".repeat(65)).is_err());
        assert_eq!(split("b", &"--b\r\n\r\nx\r\n".repeat(64)).unwrap().len(), 64);
    }
}
