//! `Draft`: one decoded header block, written down as its part of the record before it is known whose
//! it is; what the stream makes use of is noted on the way.

use super::json::{self, Text};
use super::meters::{Missing, Part};
use super::names::{self, Names, Tag};
use crate::decode::hpack::{Field, Visitor};

/// A decoded block. One is used again for all blocks.
#[derive(Default)]
pub struct Draft {
    /// The fields as elements of a JSON list, each followed by a comma.
    pub text: Text,
    /// Where the last element begins, if it is one that needed no care.
    last: usize,
    /// Where an element that needs more care is put together.
    odd: Vec<u8>,
    /// Values of pseudo-headers as they stand in `text`, by tag.
    pub spans: Spans,
    pub status: Option<u16>,
    pub content_type: Option<Vec<u8>>,
    content: Vec<u8>,
    /// Whether a content-encoding other than identity was named.
    pub encoded: bool,
    /// None where there is none, or none that can be told.
    pub content_length: Option<u64>,
    /// The last content-length, in the way of `length`.
    said: Option<u64>,
    /// Whether one of them is none, or several differ.
    pub invalid_length: bool,
    pub grpc_status: Option<u32>,
    /// grpc-message as it stood, still percent-encoded.
    pub grpc_message: Vec<u8>,
    pub has_grpc_message: bool,
    pub fields: u32,
    /// Fields whose name or value is unknown.
    pub unknown: u32,
    /// The first cause for which it is not whole.
    pub missing: Option<Missing>,
    /// Tags of the pseudo-headers, as bits.
    pub pseudo: u8,
    pub multi_pseudo: bool,
    pub wrong_pseudo: bool,
    pub late_pseudo: bool,
    pub invalid_name: bool,
    pub connection_field: bool,
    /// Whether the first field's name is unknown.
    pub first_unknown: bool,
    regular: bool,
    size: usize,
    part: Option<Part>,
}

/// Where a value stands in a text.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Span {
    start: u32,
    length: u32,
    state: u8,
}

/// By pseudo-header tag, METHOD first.
pub type Spans = [Span; names::STATUS as usize + 1];

impl Span {
    pub fn new(start: usize, end: usize, text: bool) -> Span {
        Span { start: start as u32, length: (end - start) as u32, state: if text { TEXT } else { BASE64 } }
    }

    pub fn known(self) -> bool {
        self.state != 0
    }

    /// Whether it is escaped text, not base64.
    pub fn is_text(self) -> bool {
        self.state == TEXT
    }

    pub fn of(self, text: &[u8]) -> &[u8] {
        text.get(self.start as usize..(self.start + self.length) as usize).unwrap_or_default()
    }
}

impl Draft {
    /// Makes it empty for a block of this message.
    pub fn start(&mut self, part: Part) {
        let (mut text, odd, mut content, mut grpc_message) = (
            std::mem::take(&mut self.text),
            std::mem::take(&mut self.odd),
            self.content_type.take().unwrap_or_else(|| std::mem::take(&mut self.content)),
            std::mem::take(&mut self.grpc_message),
        );
        text.clear();
        content.clear();
        grpc_message.clear();
        *self = Draft { text, odd, content, grpc_message, part: Some(part), ..Draft::default() };
    }

    /// Adds a field as a decoder or an HTTP/1.1 head gives it.
    #[inline]
    pub fn add(&mut self, field: Field<'_>, names: &Names) {
        if let (0, false, Some(name), Some(value)) = (field.tag, field.note.is_empty(), field.name, field.value) {
            // One that nobody makes use of, as it was written before.
            self.fields += 1;
            self.size += name.len() + value.len() + 32;
            self.regular = true;
            match self.size > LIST {
                true => self.missing = self.missing.or(Some(Missing::Truncated)),
                false => self.text.push(field.note),
            }
            return;
        }
        self.add_any(field, names);
    }

    fn add_any(&mut self, field: Field<'_>, names: &Names) {
        self.fields += 1;
        self.size += field.name.map_or(0, <[u8]>::len) + field.value.map_or(0, <[u8]>::len) + 32;
        if field.name.is_none() {
            self.unknown += 1;
            self.missing = self.missing.or(Some(Missing::Table));
            self.first_unknown |= self.fields == 1;
        }
        let kind = field.tag & names::KIND;
        if kind == names::CONNECTION || kind == names::TE && field.value.is_some_and(|value| value != b"trailers") {
            self.connection_field = true;
        }
        self.invalid_name |= field.tag & names::INVALID != 0;
        if (names::METHOD..=names::PSEUDO).contains(&kind) {
            self.pseudo(kind);
        } else {
            self.regular |= field.name.is_some();
        }
        if self.size > LIST {
            self.last = usize::MAX;
            self.missing = self.missing.or(Some(Missing::Truncated));
            return;
        }
        self.last = self.text.len();
        let note = if field.indexed { names.static_text(field.index).unwrap_or(field.note) } else { &[] };
        let value = match field.name {
            Some(name) if !note.is_empty() => {
                let (start, end) = self.text.push_written(note, name.len());
                Span::new(start, end, true)
            }
            _ => self.write(&field, names),
        };
        if let Some(raw) = field.value {
            self.note(kind, raw, value);
        }
    }

    fn pseudo(&mut self, kind: Tag) {
        let bit = 1 << kind;
        self.multi_pseudo |= self.pseudo & bit != 0 && kind != names::PSEUDO;
        self.pseudo |= bit;
        self.late_pseudo |= self.regular;
        self.wrong_pseudo |= kind == names::PSEUDO
            || match self.part {
                Some(Part::Request) => kind == names::STATUS,
                Some(Part::Response) => kind != names::STATUS,
                _ => false,
            };
    }

    /// Writes one element and says where its value stands.
    #[inline]
    fn write(&mut self, field: &Field<'_>, names: &Names) -> Span {
        if let (false, Some(name), Some(value)) = (field.never_indexed, field.name, field.value)
            && let Some((start, end)) = self.text.push_field(name, names.shown(field.tag, value))
        {
            return Span::new(start, end, true);
        }
        self.write_odd(field, names)
    }

    #[cold]
    fn write_odd(&mut self, field: &Field<'_>, names: &Names) -> Span {
        self.last = usize::MAX;
        let text = &mut self.odd;
        text.clear();
        text.push(b'{');
        match field.name {
            Some(name) => {
                json::text_entry(text, "name", name);
            }
            None => {
                text.extend_from_slice(b"\"index\":");
                json::number(text, u64::from(field.index));
            }
        }
        let secret = field.tag & names::REDACTED != 0 || field.never_indexed || field.name.is_none();
        let mut span = Span::default();
        if let Some(value) = field.value {
            text.push(b',');
            let value = if secret && names.redact { names::HIDDEN } else { value };
            let (start, is_text) = json::text_entry(text, "value", value);
            let before = self.text.len();
            span = Span::new(before + start, before + text.len() - 1, is_text);
        }
        if field.name.is_none() {
            text.extend_from_slice(match field.value {
                Some(_) => b",\"unknown\":\"name\"",
                None => b",\"unknown\":\"both\"",
            });
        }
        if field.never_indexed {
            text.extend_from_slice(b",\"neverIndexed\":true");
        }
        text.extend_from_slice(b"},");
        self.text.push(text);
        span
    }

    /// Keeps what the stream makes use of.
    fn note(&mut self, kind: Tag, raw: &[u8], value: Span) {
        match kind {
            names::METHOD..=names::STATUS => {
                if kind == names::STATUS {
                    self.status = std::str::from_utf8(raw).ok().and_then(|text| text.parse().ok());
                }
                let span = &mut self.spans[usize::from(kind)];
                if !span.known() {
                    *span = value;
                }
            }
            names::CONTENT_TYPE if self.content_type.is_none() => {
                let mut content = std::mem::take(&mut self.content);
                content.extend_from_slice(raw);
                self.content_type = Some(content);
            }
            names::CONTENT_ENCODING => self.encoded |= !raw.eq_ignore_ascii_case(b"identity"),
            names::CONTENT_LENGTH => {
                let length = length(raw);
                self.invalid_length |= length.is_none() || self.said.is_some() && self.said != length;
                self.said = length.or(self.said);
                self.content_length = length.filter(|&length| !self.invalid_length && length < u64::MAX);
            }
            names::GRPC_STATUS => self.grpc_status = std::str::from_utf8(raw).ok().and_then(|text| text.parse().ok()),
            names::GRPC_MESSAGE if !self.has_grpc_message => {
                self.has_grpc_message = true;
                self.grpc_message.extend_from_slice(raw);
            }
            _ => {}
        }
    }

    /// Bytes that its buffers take.
    pub fn capacity(&self) -> usize {
        self.text.capacity() + self.odd.capacity() + self.content.capacity() + self.grpc_message.capacity()
    }
}

/// A draft with the names it is written by, as the HPACK decoder's visitor.
pub struct Writer<'a> {
    pub draft: &'a mut Draft,
    pub names: &'a Names,
}

impl Visitor for Writer<'_> {
    fn tag(&mut self, name: &[u8]) -> u8 {
        self.names.tag(name)
    }

    fn static_tag(&mut self, index: usize) -> u8 {
        self.names.static_tag(index)
    }

    fn field(&mut self, field: Field<'_>) {
        self.draft.add(field, self.names);
    }

    fn note(&self) -> &[u8] {
        self.draft.text.as_slice().get(self.draft.last..).unwrap_or_default()
    }
}

/// A content-length: decimal digits and nothing else, or a list of the same number, which RFC 9110 section
/// 8.6 lets pass. `u64::MAX` where it is that or more.
fn length(text: &[u8]) -> Option<u64> {
    if let Some(length) = decimal(text) {
        return Some(length);
    }
    // RFC 9113 section 8.2.1: no value begins or ends with white space.
    let bare = text.trim_ascii().len() == text.len();
    let mut members = text.split(|&byte| byte == b',').map(|member| decimal(member.trim_ascii()));
    let first = members.next().flatten().filter(|_| bare)?;
    members.all(|member| member == Some(first)).then_some(first)
}

fn decimal(text: &[u8]) -> Option<u64> {
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let add = |all: u64, &byte: &u8| all.saturating_mul(10).saturating_add(u64::from(byte - b'0'));
    digits.then(|| text.iter().fold(0, add))
}

const TEXT: u8 = 1;
const BASE64: u8 = 2;
/// A header list's size at most, reckoned as in RFC 9113 section 6.5.2; fields past it are left out.
const LIST: usize = 65_536;
