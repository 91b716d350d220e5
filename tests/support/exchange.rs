//! HTTP/2 exchanges in one shape, whoever tells of them: our records, tshark, nghttp's log.

use std::collections::BTreeMap;
use std::path::Path;

use tawon::task::processing::h2::shape::{Field, H2};

use super::{h2, namespace, stories, tshark};

/// A client's port and a stream.
pub type Key = (u16, u32);
pub type Exchanges = BTreeMap<Key, Exchange>;
pub type Fields = Vec<(String, String)>;

#[derive(Default, Clone, PartialEq, Eq, Debug)]
pub struct Exchange {
    pub request: Message,
    pub response: Message,
}

/// Header lists in order, interim ones left out: the head, then trailers if there are any.
#[derive(Default, Clone, PartialEq, Eq, Debug)]
pub struct Message {
    pub blocks: Vec<Fields>,
    pub body: u64,
}

impl Exchange {
    /// The first value of a field of the request's head.
    pub fn asked(&self, name: &str) -> Option<&str> {
        let fields = self.request.blocks.first()?;
        fields.iter().find(|field| field.0 == name).map(|field| field.1.as_str())
    }

    fn side(&mut self, response: bool) -> &mut Message {
        if response { &mut self.response } else { &mut self.request }
    }

    fn block(&mut self, response: bool, fields: Fields) {
        let interim = fields.first().is_some_and(|first| first.0 == ":status" && first.1.starts_with('1'));
        if !interim {
            self.side(response).blocks.push(fields);
        }
    }
}

/// The h2 records that the agent wrote into a file of the folder, held against their shape.
pub fn records(folder: &Path, file: &str) -> Vec<H2> {
    let data = |line: &serde_json::Value| {
        let of = line["data"].as_array().unwrap().iter().find(|record| record["type"] == "h2").unwrap();
        h2::read(of["data"].to_string().as_bytes())
    };
    namespace::records(folder, file).iter().map(data).collect()
}

/// A client's port as its record tells it.
pub fn port(record: &H2) -> u16 {
    record.net.as_ref().unwrap()["clientPort"].as_u64().unwrap() as u16
}

/// What records say; what pseudo-headers and status say beside the lists must be the same.
pub fn told(records: &[H2]) -> Exchanges {
    let list = |fields: &Option<Vec<Field>>| -> Option<Fields> {
        let known = |field: &Field| (field.name.clone().expect("known"), field.value.clone().expect("known"));
        fields.as_ref().map(|fields| fields.iter().map(known).collect())
    };
    let mut all = Exchanges::new();
    for record in records {
        let (request, response) = (&record.request, &record.response);
        let exchange = Exchange {
            request: Message {
                blocks: list(&request.headers).into_iter().chain(list(&request.trailers)).collect(),
                body: request.body_length.unwrap(),
            },
            response: Message {
                blocks: list(&response.headers).into_iter().chain(list(&response.trailers)).collect(),
                body: response.body_length.unwrap(),
            },
        };
        for (name, shown) in [
            (":method", &request.method),
            (":scheme", &request.scheme),
            (":authority", &request.authority),
            (":path", &request.path),
        ] {
            assert_eq!(exchange.asked(name), shown.as_deref(), "{name}");
        }
        let status = exchange.response.blocks[0].iter().find(|field| field.0 == ":status").unwrap();
        assert_eq!(status.1, response.status.unwrap().to_string());
        assert_eq!(all.insert((port(record), record.stream_id), exchange), None, "one record per stream");
    }
    all
}

/// What tshark sees, which takes the port's connections for `protocol` at first. Bodies are those of DATA
/// frames without padding.
pub fn seen(capture: &Path, port: u16, protocol: &str) -> Exchanges {
    let decode = format!("tcp.port=={port},{protocol}");
    let rows = tshark::fields(
        capture,
        &["-d", &decode, "-Y", "http2"],
        &[
            "tcp.srcport",
            "tcp.dstport",
            "http2.type",
            "http2.streamid",
            "http2.header.count",
            "http2.header.name",
            "http2.header.value",
            "http2.length",
            "http2.flags",
            "http2.padding",
            "http2.push_promise.promised_stream_id",
        ],
    );
    let mut all = Exchanges::new();
    let mut blocks = BTreeMap::<(u16, bool), Fields>::new();
    for row in rows {
        let response = row[0][0] == port.to_string();
        let client: u16 = row[usize::from(response)][0].parse().unwrap();
        let number = |column: usize, at: usize| -> u64 {
            let text = row[column][at].trim_start_matches("0x");
            u64::from_str_radix(text, if text == row[column][at] { 10 } else { 16 }).unwrap()
        };
        let (mut fields, mut counts, mut promises) = (row[5].iter().zip(&row[6]), 0, 0);
        // Of a frame without DATA's padding flag there is none.
        let mut paddings = 0;
        for at in 0..row[2].len() {
            let (kind, stream, flags) = (number(2, at), number(3, at) as u32, number(8, at));
            let padding = if matches!(kind, 0 | 1 | 5) && flags & 0x8 != 0 {
                paddings += 1;
                1 + number(9, paddings - 1)
            } else {
                0
            };
            match kind {
                0 => all.entry((client, stream)).or_default().side(response).body += number(7, at) - padding,
                // Each frame of a block tells the fields that end in it.
                1 | 5 | 9 => {
                    let count = number(4, counts) as usize;
                    counts += 1;
                    let part = fields.by_ref().take(count).map(|(name, value)| (name.clone(), value.clone()));
                    blocks.entry((client, response)).or_default().extend(part);
                    let to = match kind {
                        5 => {
                            promises += 1;
                            (client, number(10, promises - 1) as u32)
                        }
                        _ => (client, stream),
                    };
                    if flags & 0x4 != 0 {
                        let block = blocks.remove(&(client, response)).unwrap();
                        all.entry(to).or_default().block(response && kind != 5, block);
                    }
                }
                _ => {}
            }
        }
        assert!(fields.next().is_none(), "all fields are somebody's");
    }
    all
}

/// A header block as it stands on the wire, with the fields that tshark decodes it to.
pub struct Block {
    pub stream: u32,
    pub wire: Vec<u8>,
    pub fields: Fields,
}

/// The blocks of a direction of the capture's connection to `port`, which is its only one and has none
/// that takes more than one frame.
pub fn blocks(capture: &Path, port: u16, response: bool) -> Vec<Block> {
    let decode = format!("tcp.port=={port},http2");
    let way = if response { "tcp.srcport" } else { "tcp.dstport" };
    let filter = format!("http2.type==1 && {way}=={port}");
    let rows = tshark::fields(
        capture,
        &["-d", &decode, "-Y", &filter],
        &[
            "http2.type",
            "http2.streamid",
            "http2.headers",
            "http2.header.count",
            "http2.header.name",
            "http2.header.value",
        ],
    );
    let mut all = Vec::new();
    for [kinds, streams, wires, counts, names, values] in rows.iter().map(|row| row.first_chunk().unwrap()) {
        let streams = kinds.iter().zip(streams).filter(|(kind, _)| *kind == "1").map(|(_, stream)| stream);
        let mut fields = names.iter().cloned().zip(values.iter().cloned());
        for ((stream, wire), count) in streams.zip(wires).zip(counts) {
            all.push(Block {
                stream: stream.parse().unwrap(),
                wire: stories::bytes(wire).unwrap(),
                fields: fields.by_ref().take(count.parse().unwrap()).collect(),
            });
        }
    }
    all
}

/// What `nghttp -v` says of one connection, by stream.
pub fn logged(log: &str) -> BTreeMap<u32, Exchange> {
    let mut all = BTreeMap::<u32, Exchange>::new();
    let mut received = BTreeMap::<u32, Fields>::new();
    let field = |text: &str| -> Option<(String, String)> {
        let (name, value) = text.get(1..)?.split_once(':')?;
        Some((format!("{}{name}", &text[..1]), value.trim_start().to_owned()))
    };
    let number = |text: &str, name: &str| -> Option<u64> {
        let rest = text.split_once(name)?.1.strip_prefix('=')?;
        rest.split(|other: char| !other.is_ascii_digit()).next()?.parse().ok()
    };
    let mut frame: Option<(&str, bool, u32)> = None;
    for line in log.lines() {
        let Some(event) = line.strip_prefix('[').and_then(|line| line.split_once("] ")).map(|line| line.1) else {
            // What a frame's line goes on with.
            let line = line.trim();
            match frame {
                Some(("HEADERS", true, stream)) if !line.is_empty() && !line.starts_with([';', '(']) => {
                    let blocks = &mut all.entry(stream).or_default().request.blocks;
                    blocks.last_mut().unwrap().extend(field(line));
                }
                Some(("DATA", sent, stream)) => {
                    all.get_mut(&stream).unwrap().side(!sent).body -= number(line, "padlen").unwrap_or(0);
                }
                Some(("PUSH_PROMISE", _, stream)) => {
                    if let Some(promised) = number(line, "promised_stream_id") {
                        let fields = received.remove(&stream).unwrap();
                        all.entry(promised as u32).or_default().block(false, fields);
                    }
                }
                _ => {}
            }
            continue;
        };
        frame = None;
        let (way, rest) = event.split_once(' ').unwrap_or((event, ""));
        let sent = way == "send";
        let stream = number(rest, "stream_id").unwrap_or(0) as u32;
        if let Some((_, text)) = rest.strip_prefix("(stream_id=").and_then(|rest| rest.split_once(") ")) {
            received.entry(stream).or_default().extend(field(text));
        } else if let Some((kind, _)) = rest.split_once(" frame ") {
            frame = Some((kind, sent, stream));

            match kind {
                "HEADERS" if sent => {
                    all.entry(stream).or_default().request.blocks.push(Fields::new());
                }
                "HEADERS" => {
                    let fields = received.remove(&stream).unwrap_or_default();
                    all.entry(stream).or_default().block(true, fields);
                }
                "DATA" => all.entry(stream).or_default().side(!sent).body += number(rest, "length").unwrap(),
                _ => {}
            }
        }
    }
    all
}
