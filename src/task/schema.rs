//! The JSON Schemas (draft 2020-12) of records: of each record type, and of a whole line.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, json_schema};
use serde_json::{Value, json};

use super::Kind;
use super::processing::{dns, ecpri, h2, headers, pfcp, tlsheaders};
use super::source::exec::record::ExecRecord;
use super::source::flows::record::FlowRecord;

/// The schema of a record type's `data`; None where it is not written down.
pub fn record(kind: Kind) -> Option<Schema> {
    match kind {
        Kind::Exec => Some(of::<ExecRecord<'_>>("exec")),
        Kind::Flow => Some(of::<FlowRecord<'_>>("flow")),
        Kind::H2 => Some(h2::schema()),
        Kind::RawPacket => Some(raw_packet()),
        Kind::TlsHeaders => Some(tlsheaders::schema()),
        Kind::Pfcp => Some(pfcp::schema()),
        Kind::Ecpri => Some(ecpri::schema()),
        Kind::Headers => Some(headers::schema()),
        Kind::Dns => Some(dns::schema()),
        _ => None,
    }
}

/// The schema of one line: the envelope, and in `data` an entry of each of these record types.
pub fn line(kinds: &[Kind]) -> Value {
    let entries: Vec<Value> = kinds
        .iter()
        .map(|kind| {
            let mut data = record(*kind).map_or_else(|| json!({"type": "object"}), Value::from);
            // With an id of its own, what it refers to is looked up in it.
            data["$id"] = json!(format!("tawon:{}", kind.name()));
            json!({
                "type": "object",
                "additionalProperties": false,
                "required": ["type", "data"],
                "properties": {"type": {"const": kind.name()}, "data": data},
            })
        })
        .collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A record of tawon",
        "type": "object",
        "additionalProperties": false,
        "required": ["timestamp", "src", "directive", "data"],
        "properties": {
            "timestamp": {
                "type": "string",
                "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{9}Z$",
            },
            "src": {
                "type": "object",
                "additionalProperties": false,
                "required": ["name", "hostname"],
                "properties": {"name": {"type": "string"}, "hostname": {"type": "string"}},
            },
            "directive": {"type": "string"},
            "data": {"type": "array", "minItems": 1, "items": {"oneOf": entries}},
        },
    })
}

/// Of a type as it is written: what may be left out is not required.
fn of<T: JsonSchema>(title: &str) -> Schema {
    let mut schema = SchemaSettings::draft2020_12().for_serialize().into_generator().into_root_schema_for::<T>();
    schema.insert("title".to_owned(), title.into());
    schema.insert("unevaluatedProperties".to_owned(), false.into());
    schema
}

fn raw_packet() -> Schema {
    json_schema!({
        "title": "rawpacket",
        "description": "A captured frame.",
        "type": "object",
        "additionalProperties": false,
        "required": ["payload", "length", "captured", "tsNs"],
        "properties": {
            "payload": {"type": "string", "contentEncoding": "base64", "description": "The frame, as far as it was captured."},
            "length": {"type": "integer", "minimum": 0, "description": "Of the frame on the wire."},
            "captured": {"type": "integer", "minimum": 0, "description": "Bytes here."},
            "tsNs": {"type": "integer", "minimum": 0, "description": "Nanoseconds since the epoch."},
            "interface": {
                "type": "object",
                "additionalProperties": false,
                "properties": {
                    "name": {"type": "string"},
                    "index": {"type": "integer", "minimum": 0},
                    "addrs": {"type": "array", "items": {"type": "string"}},
                },
            },
        },
    })
}
