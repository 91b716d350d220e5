//! The envelope of records: one JSON object around everything that an event's chain holds.

use std::io::Write;

use crate::pipeline::Event;
use crate::task::{Context, json};
use crate::time::Timestamp;

/// Writes envelopes of one directive.
pub struct Envelope {
    /// What stands between the timestamp and the first record.
    middle: Vec<u8>,
    /// The directive's name, for text.
    directive: Vec<u8>,
    /// The second that `text` holds, since most records share theirs with the one before.
    second: Option<u64>,
    /// `2026-11-22T16:00:00`
    text: Vec<u8>,
}

impl Envelope {
    pub fn new(context: &Context) -> Envelope {
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let middle = format!(
            "\",\"src\":{{\"name\":{},\"hostname\":{}}},\"directive\":{},\"data\":[",
            quoted(&context.tawon_id),
            quoted(&context.hostname),
            quoted(&context.directive),
        );
        Envelope {
            middle: middle.into_bytes(),
            directive: context.directive.as_bytes().to_vec(),
            second: None,
            text: Vec::with_capacity(32),
        }
    }

    /// Appends the object, without a line end. Does not allocate once `out` has grown.
    pub fn json(&mut self, event: &Event<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"timestamp\":\"");
        self.timestamp(event.timestamp, out);
        out.extend_from_slice(&self.middle);
        let mut first = true;
        event.walk(&mut |record| {
            out.extend_from_slice(if first { b"{\"type\":\"" } else { b",{\"type\":\"" });
            first = false;
            out.extend_from_slice(record.kind().name().as_bytes());
            out.extend_from_slice(b"\",\"data\":");
            record.json(out);
            out.push(b'}');
        });
        out.extend_from_slice(b"]}");
    }

    /// Appends one readable line without its end: time, directive, each record's phrase. What could
    /// move a terminal's cursor or begin a line is written as `?`.
    pub fn text(&mut self, event: &Event<'_>, out: &mut Vec<u8>) {
        self.timestamp(event.timestamp, out);
        out.push(b' ');
        out.extend_from_slice(&self.directive);
        let mut before: &[u8] = b" ";
        event.walk(&mut |record| {
            out.extend_from_slice(before);
            before = b"; ";
            out.extend_from_slice(record.kind().name().as_bytes());
            out.push(b' ');
            let start = out.len();
            record.text(out);
            printable(out.get_mut(start..).unwrap_or_default());
        });
    }

    fn timestamp(&mut self, at: Timestamp, out: &mut Vec<u8>) {
        let second = at.0 / NANOS;
        if self.second != Some(second) {
            self.text.clear();
            // Writing into memory cannot fail.
            let _ = write!(self.text, "{}", Timestamp(second * NANOS));
            self.text.truncate(SECOND_LEN);
            self.second = Some(second);
        }
        out.extend_from_slice(&self.text);
        out.push(b'.');
        json::nine_digits(out, (at.0 % NANOS) as u32);
        out.push(b'Z');
    }
}

/// Replaces C0 and C1 control characters.
fn printable(text: &mut [u8]) {
    for at in 0..text.len() {
        let c1 = text[at] == 0xc2 && matches!(text.get(at + 1), Some(0x80..=0x9f));
        if text[at].is_ascii_control() {
            text[at] = b'?';
        } else if c1 {
            text[at..at + 2].fill(b'?');
        }
    }
}

const NANOS: u64 = 1_000_000_000;
/// Of `2026-11-22T16:00:00`.
const SECOND_LEN: usize = 19;

#[cfg(test)]
pub(in crate::task::destination) mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::metrics::Metrics;
    use crate::pipeline::Record;
    use crate::task::Kind;
    use crate::time::Instant;

    /// A record that says what it was made with.
    pub(in crate::task::destination) struct Said(pub &'static str);

    impl Record for Said {
        fn kind(&self) -> Kind {
            Kind::Exec
        }

        fn json(&self, out: &mut Vec<u8>) {
            crate::task::record::json_into(&serde_json::json!({ "said": self.0 }), out);
        }

        fn text(&self, out: &mut Vec<u8>) {
            out.extend_from_slice(self.0.as_bytes());
        }
    }

    pub(in crate::task::destination) fn context(directive: &str) -> Context {
        Context {
            tawon_id: "node-7".into(),
            hostname: "worker \"7\"".into(),
            directive: directive.into(),
            metrics: Arc::new(Metrics::new("").unwrap()),
            redact: Arc::new([]),
            packets: false,
            memory: 1 << 30,
        }
    }

    #[test]
    fn the_envelope_is_the_one_of_the_specification() {
        let mut envelope = Envelope::new(&context("sbi"));
        let (first, second) = (Said("a"), Said("b"));
        for nanos in [1_795_363_199_000_000_007, 1_795_363_199_999_999_999, 1_795_363_200_123_456_789] {
            let source = Event::new(Timestamp(nanos), Instant(1), &first);
            let event = source.with(&second);
            let mut out = Vec::new();
            envelope.json(&event, &mut out);
            let json: serde_json::Value = serde_json::from_slice(&out).unwrap();
            let wanted = serde_json::json!({
                "timestamp": Timestamp(nanos).to_string(),
                "src": {"name": "node-7", "hostname": "worker \"7\""},
                "directive": "sbi",
                "data": [{"type": "exec", "data": {"said": "a"}}, {"type": "exec", "data": {"said": "b"}}]
            });
            assert_eq!(json, wanted);
        }
    }

    #[test]
    fn text_is_one_line_whatever_the_record_holds() {
        let mut envelope = Envelope::new(&context("sbi"));
        let record = Said("a\nb\x1b[2J\u{9b}1m caf\u{e9}");
        let mut out = Vec::new();
        envelope.text(&Event::new(Timestamp(0), Instant(1), &record), &mut out);
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text, "1970-01-01T00:00:00.000000000Z sbi exec a?b?[2J??1m caf\u{e9}");
    }
}
