//! The JSON Schema of the `headers` record.

use schemars::Schema;
use serde_json::{Map, Value, json};

/// The schema of the record's `data`; what is inside a tunnel has the same one.
pub fn schema() -> Schema {
    let mut properties = Map::new();
    for (name, fields) in HEADERS {
        properties.insert((*name).to_owned(), object(fields));
    }
    for (name, fields) in LISTS {
        properties.insert((*name).to_owned(), json!({"type": "array", "minItems": 1, "items": object(fields)}));
    }
    properties.insert("inner".to_owned(), json!({"$ref": "#"}));
    properties.insert("payloadLength".to_owned(), field(Type::Number));
    properties.insert("error".to_owned(), json!({"enum": ["truncated", "malformed"]}));
    let mut schema = Schema::default();
    schema.insert("title".to_owned(), json!("headers"));
    schema.insert("description".to_owned(), json!("The headers of a frame, the outermost packet's first."));
    schema.insert("type".to_owned(), json!("object"));
    schema.insert("additionalProperties".to_owned(), json!(false));
    schema.insert("properties".to_owned(), Value::Object(properties));
    schema
}

#[derive(Clone, Copy)]
enum Type {
    Number,
    /// Lower-case hexadecimal digits.
    Hex,
    Text,
    Flag,
    /// Names of flags that are set.
    Names,
    /// Objects of their own.
    Items(&'static [Field]),
}

/// Name, type, and whether it is always there.
type Field = (&'static str, Type, bool);

fn object(fields: &[Field]) -> Value {
    let properties: Map<String, Value> = fields.iter().map(|(name, ty, _)| ((*name).to_owned(), field(*ty))).collect();
    let required: Vec<&str> = fields.iter().filter(|field| field.2).map(|field| field.0).collect();
    json!({"type": "object", "additionalProperties": false, "required": required, "properties": properties})
}

fn field(ty: Type) -> Value {
    match ty {
        Type::Number => json!({"type": "integer", "minimum": 0}),
        Type::Hex => json!({"type": "string", "pattern": "^([0-9a-f]{2})*$"}),
        Type::Text => json!({"type": "string"}),
        Type::Flag => json!({"type": "boolean"}),
        Type::Names => json!({"type": "array", "items": {"type": "string"}}),
        Type::Items(fields) => json!({"type": "array", "items": object(fields)}),
    }
}

use Type::{Flag, Hex, Items, Names, Number, Text};

const HEADERS: &[(&str, &[Field])] = &[
    ("ethernet", &[("src", Text, true), ("dst", Text, true), ("ethtype", Hex, true)]),
    (
        "sll",
        &[
            ("packetType", Number, true),
            ("hardwareType", Number, true),
            ("addressLength", Number, true),
            ("address", Text, true),
            ("protocol", Hex, true),
            ("interfaceIndex", Number, false),
        ],
    ),
    ("loopback", &[("family", Number, true)]),
    (
        "ipv4",
        &[
            ("version", Number, true),
            ("ihl", Number, true),
            ("dscp", Number, true),
            ("ecn", Number, true),
            ("totalLength", Number, true),
            ("id", Number, true),
            ("flags", Names, true),
            ("fragmentOffset", Number, true),
            ("ttl", Number, true),
            ("protocol", Number, true),
            ("protocolName", Text, false),
            ("checksum", Hex, true),
            ("src", Text, true),
            ("dst", Text, true),
            ("options", Hex, false),
        ],
    ),
    (
        "ipv6",
        &[
            ("version", Number, true),
            ("dscp", Number, true),
            ("ecn", Number, true),
            ("flowLabel", Number, true),
            ("payloadLength", Number, true),
            ("nextHeader", Number, true),
            ("nextHeaderName", Text, false),
            ("hopLimit", Number, true),
            ("src", Text, true),
            ("dst", Text, true),
        ],
    ),
    (
        "gre",
        &[
            ("version", Number, true),
            ("flags", Hex, true),
            ("protocol", Hex, true),
            ("checksum", Hex, false),
            ("key", Hex, false),
            ("sequence", Number, false),
        ],
    ),
    ("vxlan", &[("flags", Hex, true), ("vni", Number, true)]),
    (
        "geneve",
        &[
            ("version", Number, true),
            ("optionsLength", Number, true),
            ("control", Flag, true),
            ("critical", Flag, true),
            ("protocol", Hex, true),
            ("vni", Number, true),
            ("options", Items(&[("class", Hex, true), ("type", Hex, true), ("data", Hex, true)]), false),
        ],
    ),
    (
        "gtpu",
        &[
            ("version", Number, true),
            ("flags", Hex, true),
            ("messageType", Number, true),
            ("length", Number, true),
            ("teid", Hex, true),
            ("sequence", Number, false),
            ("nPdu", Number, false),
            ("extensions", Items(&[("type", Hex, true), ("content", Hex, true)]), false),
        ],
    ),
    (
        "tcp",
        &[
            ("srcPort", Number, true),
            ("dstPort", Number, true),
            ("seq", Number, true),
            ("ack", Number, true),
            ("dataOffset", Number, true),
            ("flags", Names, true),
            ("reserved", Number, false),
            ("window", Number, true),
            ("checksum", Hex, true),
            ("urgent", Number, true),
            (
                "options",
                Items(&[
                    ("kind", Number, true),
                    ("name", Text, false),
                    ("value", Number, false),
                    ("echo", Number, false),
                    ("blocks", Items(&[("left", Number, true), ("right", Number, true)]), false),
                    ("data", Hex, false),
                ]),
                false,
            ),
        ],
    ),
    ("udp", &[("srcPort", Number, true), ("dstPort", Number, true), ("length", Number, true), ("checksum", Hex, true)]),
    (
        "sctp",
        &[
            ("srcPort", Number, true),
            ("dstPort", Number, true),
            ("verificationTag", Hex, true),
            ("checksum", Hex, true),
            ("chunks", Items(&[("type", Number, true), ("flags", Hex, true), ("length", Number, true)]), true),
        ],
    ),
    (
        "icmp",
        &[
            ("version", Number, true),
            ("type", Number, true),
            ("code", Number, true),
            ("checksum", Hex, true),
            ("id", Number, false),
            ("sequence", Number, false),
            ("restOfHeader", Hex, false),
        ],
    ),
];

const LISTS: &[(&str, &[Field])] = &[
    (
        "vlan",
        &[
            ("tpid", Hex, true),
            ("pcp", Number, true),
            ("dei", Flag, true),
            ("vid", Number, true),
            ("ethtype", Hex, true),
        ],
    ),
    ("mpls", &[("label", Number, true), ("trafficClass", Number, true), ("bottom", Flag, true), ("ttl", Number, true)]),
    (
        "extensions",
        &[
            ("type", Number, true),
            ("typeName", Text, false),
            ("nextHeader", Number, true),
            ("nextHeaderName", Text, false),
            ("length", Number, true),
            ("fragmentOffset", Number, false),
            ("moreFragments", Flag, false),
            ("id", Number, false),
            ("routingType", Number, false),
            ("segmentsLeft", Number, false),
            ("spi", Hex, false),
            ("sequence", Number, false),
            ("icv", Hex, false),
            ("data", Hex, false),
        ],
    ),
];
