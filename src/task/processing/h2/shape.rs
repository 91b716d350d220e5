//! The shape of the h2 record, from which its JSON Schema is made. The record itself is written by
//! `RoundTrip`; tests read what that writes by these types, which refuse what they do not know.

use schemars::JsonSchema;
use serde::Deserialize;

/// One HTTP/2 round trip: a request with its response.
#[derive(JsonSchema, Deserialize, Debug)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct H2 {
    /// 16 hexadecimal digits.
    #[serde(rename = "flowID")]
    pub flow_id: String,
    #[serde(rename = "streamID")]
    pub stream_id: u32,
    /// Of the process watched.
    pub role: Role,
    pub partial: bool,
    /// complete, or why it is partial.
    pub reason: Reason,
    /// Whether the server pushed it.
    pub pushed: bool,
    pub started_at: Option<String>,
    /// Of the first response frame.
    pub first_byte_at: Option<String>,
    pub ended_at: Option<String>,
    pub duration_us: Option<u64>,
    /// Header fields whose name or value could not be known.
    pub unknown_fields: u64,
    pub net: Option<serde_json::Value>,
    pub process: Option<serde_json::Value>,
    pub container: Option<serde_json::Value>,
    pub pod: Option<serde_json::Value>,
    pub request: Request,
    pub response: Response,
    pub grpc: Option<Grpc>,
}

/// What the process watched is in the connection; unknown in packets, where nobody is watched.
#[derive(JsonSchema, Deserialize, PartialEq, Eq, Clone, Copy, Debug)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    Client,
    Server,
    Unknown,
}

impl Role {
    pub const fn name(self) -> &'static str {
        match self {
            Role::Client => "client",
            Role::Server => "server",
            Role::Unknown => "unknown",
        }
    }
}

/// How a round trip ended: `reason` of the record and, in this order, of h2_round_trips_emitted.
#[derive(JsonSchema, Deserialize, PartialEq, Eq, Clone, Copy, Debug)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    Complete,
    Joined,
    Timeout,
    RstStream,
    Goaway,
    ConnectionClosed,
    Evicted,
    Gap,
    Shutdown,
}

impl Reason {
    pub const fn name(self) -> &'static str {
        match self {
            Reason::Complete => "complete",
            Reason::Joined => "joined",
            Reason::Timeout => "timeout",
            Reason::RstStream => "rst_stream",
            Reason::Goaway => "goaway",
            Reason::ConnectionClosed => "connection_closed",
            Reason::Evicted => "evicted",
            Reason::Gap => "gap",
            Reason::Shutdown => "shutdown",
        }
    }

    pub const fn partial(self) -> bool {
        !matches!(self, Reason::Complete)
    }
}

#[derive(JsonSchema, Deserialize, Debug)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    pub method: Option<String>,
    pub method_base64: Option<String>,
    pub scheme: Option<String>,
    pub scheme_base64: Option<String>,
    pub authority: Option<String>,
    pub authority_base64: Option<String>,
    pub path: Option<String>,
    pub path_base64: Option<String>,
    pub headers: Option<Vec<Field>>,
    pub trailers: Option<Vec<Field>>,
    pub content_type: Option<String>,
    pub body_length: Option<u64>,
    pub body: Option<String>,
    pub body_base64: Option<String>,
    pub body_truncated: Option<bool>,
    pub parts: Option<Vec<Part>>,
}

#[derive(JsonSchema, Deserialize, Debug)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Response {
    pub status: Option<u16>,
    pub headers: Option<Vec<Field>>,
    pub trailers: Option<Vec<Field>>,
    pub content_type: Option<String>,
    pub body_length: Option<u64>,
    pub body: Option<String>,
    pub body_base64: Option<String>,
    pub body_truncated: Option<bool>,
    pub parts: Option<Vec<Part>>,
}

/// A header field, in wire order, pseudo-headers included.
#[derive(JsonSchema, Deserialize, PartialEq, Eq, Clone, Debug)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Field {
    pub name: Option<String>,
    pub name_base64: Option<String>,
    pub value: Option<String>,
    pub value_base64: Option<String>,
    /// The HPACK index, where it names an entry that was never seen.
    pub index: Option<u32>,
    pub unknown: Option<Unknown>,
    pub never_indexed: Option<bool>,
}

#[derive(JsonSchema, Deserialize, PartialEq, Eq, Clone, Copy, Debug)]
#[serde(rename_all = "lowercase")]
pub enum Unknown {
    Name,
    Both,
}

/// A part of a multipart body.
#[derive(JsonSchema, Deserialize, Debug)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Part {
    pub content_type: String,
    pub content_id: Option<String>,
    pub content_id_base64: Option<String>,
    pub length: u64,
    pub body: Option<String>,
    pub body_base64: Option<String>,
}

#[derive(JsonSchema, Deserialize, Debug)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Grpc {
    pub service: Option<String>,
    pub method: Option<String>,
    pub status: Option<u32>,
    pub message: Option<String>,
    pub message_base64: Option<String>,
    pub request_messages: Option<u64>,
    pub response_messages: Option<u64>,
}
