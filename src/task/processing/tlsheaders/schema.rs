//! The JSON Schema of the `tlsheaders` record.

use schemars::{Schema, json_schema};
use serde_json::{Value, json};

pub fn schema() -> Schema {
    json_schema!({
        "title": "tlsheaders",
        "description": "A handshake message or an alert of TLS or DTLS. Code points are names of IANA's registries, or hexadecimal digits where they have none.",
        "type": "object",
        "additionalProperties": false,
        "required": ["record"],
        "properties": {
            "record": object(json!({"type": text(), "version": text()})),
            "handshake": object(json!({"type": text()})),
            "clientHello": object(json!({
                "version": text(), "supportedVersions": texts(), "ciphers": texts(), "extensions": texts(),
                "sni": text(), "sniBase64": base64(), "alpn": texts(), "alpnBase64": {"type": "array", "items": base64()},
                "groups": texts(), "signatureAlgorithms": texts(), "sessionID": hex(), "random": hex(),
                "ja3": hex(), "ja4": text(), "ech": {"const": true}
            })),
            "serverHello": object(json!({
                "version": text(), "selectedVersion": text(), "cipher": text(), "extensions": texts(),
                "alpn": text(), "alpnBase64": base64(), "helloRetryRequest": {"const": true}, "ja3s": hex()
            })),
            "certificates": {"type": "array", "items": object(json!({
                "subject": text(), "issuer": text(), "sans": texts(), "notBefore": text(), "notAfter": text(), "sha256": hex()
            }))},
            "alert": object(json!({"level": text(), "description": text()})),
        },
    })
}

fn object(properties: Value) -> Value {
    json!({"type": "object", "additionalProperties": false, "properties": properties})
}

fn text() -> Value {
    json!({"type": "string"})
}

fn texts() -> Value {
    json!({"type": "array", "items": {"type": "string"}})
}

fn hex() -> Value {
    json!({"type": "string", "pattern": "^[0-9a-f]*$"})
}

fn base64() -> Value {
    json!({"type": "string", "contentEncoding": "base64"})
}
