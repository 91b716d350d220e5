//! The JSON Schema of the `pfcp` record.

use schemars::{Schema, json_schema};
use serde_json::{Value, json};

pub fn schema() -> Schema {
    json_schema!({
        "title": "pfcp",
        "description": "A message of 3GPP TS 29.244.",
        "type": "object",
        "additionalProperties": false,
        "required": ["header", "ies"],
        "properties": {
            "seid": hex(16), "nodeId": {"type": "string"}, "nodeIdBase64": {"type": "string"},
            "cpSeid": hex(16), "upSeid": hex(16), "cause": count(),
            "teids": {"type": "array", "items": hex(8)},
            "ueIps": {"type": "array", "items": {"type": "string"}},
            "header": {
                "type": "object",
                "additionalProperties": false,
                "required": ["version", "messageType", "length", "sequence"],
                "properties": {
                    "version": count(), "messageType": count(), "messageName": {"type": "string"},
                    "length": count(), "seid": hex(16), "sequence": count(), "priority": count()
                }
            },
            "ies": {"$ref": "#/$defs/ies"},
        },
        "$defs": {
            "ies": {"type": "array", "items": {
                "type": "object",
                "additionalProperties": false,
                "required": ["type"],
                "oneOf": [{"required": ["value"]}, {"required": ["ies"]}, {"required": ["hex"]}],
                "properties": {
                    "type": count(), "name": {"type": "string"}, "enterpriseID": count(),
                    "value": {"type": "object", "description": "Keys are the TS's field names in lowerCamel."},
                    "ies": {"$ref": "#/$defs/ies"},
                    "hex": {"type": "string", "pattern": "^[0-9a-f]*$"}
                }
            }}
        },
    })
}

fn count() -> Value {
    json!({"type": "integer", "minimum": 0})
}

fn hex(digits: usize) -> Value {
    json!({"type": "string", "pattern": format!("^[0-9a-f]{{{digits}}}$")})
}
