//! The JSON Schema of the `ecpri` record.

use schemars::{Schema, json_schema};
use serde_json::{Map, Value, json};

pub fn schema() -> Schema {
    json_schema!({
        "title": "ecpri",
        "description": "A message of eCPRI 2.0; its body by its type.",
        "type": "object",
        "additionalProperties": false,
        "required": ["header", "payloadLength"],
        "properties": {
            "header": {
                "type": "object",
                "additionalProperties": false,
                "required": ["revision", "concatenated", "messageType", "payloadSize"],
                "properties": {
                    "revision": count(), "concatenated": {"type": "boolean"}, "messageType": count(),
                    "messageName": {"type": "string"}, "payloadSize": count()
                }
            },
            "pcID": hex(), "rtcID": hex(), "seqID": count(),
            "eAxC": counts(&["duPortID", "bandSectorID", "ccID", "ruPortID"], &[]),
            "sequenceID": count(), "eBit": {"type": "boolean"}, "subsequenceID": count(),
            "rma": {"type": "object", "properties": {"address": hex()}},
            "owd": {"type": "object"},
            "reset": counts(&["resetID", "codeOp"], &["codeOpName"]),
            "event": {"type": "object"},
            "iwfStartUp": {"type": "object"},
            "iwfDelayControl": counts(&["delayControlID", "actionType", "delayA", "delayB"], &["actionTypeName"]),
            "payloadLength": count(),
        },
    })
}

fn counts(numbers: &[&str], texts: &[&str]) -> Value {
    let mut properties = Map::new();
    properties.extend(numbers.iter().map(|key| ((*key).to_owned(), count())));
    properties.extend(texts.iter().map(|key| ((*key).to_owned(), json!({"type": "string"}))));
    json!({"type": "object", "additionalProperties": false, "properties": properties})
}

fn count() -> Value {
    json!({"type": "integer", "minimum": 0})
}

fn hex() -> Value {
    json!({"type": "string", "pattern": "^[0-9a-f]+$"})
}
