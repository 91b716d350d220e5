//! TLS 1.0 to 1.3 and DTLS as they stand in the clear: records, handshake messages, hellos,
//! certificates, alerts (RFC 5246, RFC 8446, RFC 6347, RFC 9147), and the fingerprints of hellos. Views
//! on the bytes; nothing is decrypted and nothing allocates. Putting messages together that run over
//! several records is the caller's part.

mod ciphers;
mod extensions;
pub mod fingerprint;
mod hello;
pub mod names;
mod record;
mod registry;

pub use extensions::{Extension, Extensions, U16s, is_grease};
pub use hello::{Certificates, ClientHello, ServerHello};
pub use record::{Alert, DtlsHandshake, DtlsRecord, Handshake, Record, content, handshake};
