//! Names of code points, from IANA's TLS registries. Where a code point has no name the number stands.

use super::ciphers::CIPHERS;
use super::registry::{Registry, pages};

/// A protocol version (RFC 8446 section 4.1.2, RFC 9147 section 5.3).
pub fn version(code: u16) -> Option<&'static str> {
    Some(match code {
        0x0002 => "SSL 2.0",
        0x0300 => "SSL 3.0",
        0x0301 => "TLS 1.0",
        0x0302 => "TLS 1.1",
        0x0303 => "TLS 1.2",
        0x0304 => "TLS 1.3",
        0xfeff => "DTLS 1.0",
        0xfefd => "DTLS 1.2",
        0xfefc => "DTLS 1.3",
        _ => return None,
    })
}

/// TLS ContentType.
pub fn content_type(code: u8) -> Option<&'static str> {
    Some(match code {
        20 => "change_cipher_spec",
        21 => "alert",
        22 => "handshake",
        23 => "application_data",
        24 => "heartbeat",
        25 => "tls12_cid",
        26 => "ack",
        _ => return None,
    })
}

/// TLS HandshakeType.
pub fn handshake_type(code: u8) -> Option<&'static str> {
    Some(match code {
        0 => "hello_request",
        1 => "client_hello",
        2 => "server_hello",
        3 => "hello_verify_request",
        4 => "new_session_ticket",
        5 => "end_of_early_data",
        6 => "hello_retry_request",
        8 => "encrypted_extensions",
        9 => "request_connection_id",
        10 => "new_connection_id",
        11 => "certificate",
        12 => "server_key_exchange",
        13 => "certificate_request",
        14 => "server_hello_done",
        15 => "certificate_verify",
        16 => "client_key_exchange",
        17 => "client_certificate_request",
        20 => "finished",
        21 => "certificate_url",
        22 => "certificate_status",
        23 => "supplemental_data",
        24 => "key_update",
        25 => "compressed_certificate",
        26 => "ekt_key",
        67 => "next_protocol",
        254 => "message_hash",
        _ => return None,
    })
}

/// Alert level.
pub fn alert_level(code: u8) -> Option<&'static str> {
    Some(match code {
        1 => "warning",
        2 => "fatal",
        _ => return None,
    })
}

/// Alert description.
pub fn alert_description(code: u8) -> Option<&'static str> {
    ALERTS.binary_search_by_key(&code, |entry| entry.0).ok().map(|at| ALERTS[at].1)
}

/// Cipher suite.
pub fn cipher(code: u16) -> Option<&'static str> {
    CIPHER.name(code)
}

/// ExtensionType.
pub fn extension(code: u16) -> Option<&'static str> {
    EXTENSION.name(code)
}

/// Supported group.
pub fn group(code: u16) -> Option<&'static str> {
    GROUP.name(code)
}

/// SignatureScheme.
pub fn signature_algorithm(code: u16) -> Option<&'static str> {
    SIGNATURE_ALGORITHM.name(code)
}

pub static CIPHER: Registry<{ CIPHERS.len() }, { pages(CIPHERS) }> = Registry::new(CIPHERS);
pub static EXTENSION: Registry<{ EXTENSIONS.len() }, { pages(EXTENSIONS) }> = Registry::new(EXTENSIONS);
pub static GROUP: Registry<{ GROUPS.len() }, { pages(GROUPS) }> = Registry::new(GROUPS);
pub static SIGNATURE_ALGORITHM: Registry<{ SIGNATURE_SCHEMES.len() }, { pages(SIGNATURE_SCHEMES) }> =
    Registry::new(SIGNATURE_SCHEMES);

#[rustfmt::skip]
static ALERTS: &[(u8, &str)] = &[
    (0, "close_notify"), (10, "unexpected_message"), (20, "bad_record_mac"), (21, "decryption_failed"),
    (22, "record_overflow"), (30, "decompression_failure"), (40, "handshake_failure"), (41, "no_certificate"),
    (42, "bad_certificate"), (43, "unsupported_certificate"), (44, "certificate_revoked"),
    (45, "certificate_expired"), (46, "certificate_unknown"), (47, "illegal_parameter"), (48, "unknown_ca"),
    (49, "access_denied"), (50, "decode_error"), (51, "decrypt_error"), (52, "too_many_cids_requested"),
    (60, "export_restriction"), (70, "protocol_version"), (71, "insufficient_security"), (80, "internal_error"),
    (86, "inappropriate_fallback"), (90, "user_canceled"), (100, "no_renegotiation"), (109, "missing_extension"),
    (110, "unsupported_extension"), (111, "certificate_unobtainable"), (112, "unrecognized_name"),
    (113, "bad_certificate_status_response"), (114, "bad_certificate_hash_value"), (115, "unknown_psk_identity"),
    (116, "certificate_required"), (117, "general_error"), (120, "no_application_protocol"), (121, "ech_required"),
];

#[rustfmt::skip]
const EXTENSIONS: &[(u16, &str)] = &[
    (0, "server_name"), (1, "max_fragment_length"), (2, "client_certificate_url"), (3, "trusted_ca_keys"),
    (4, "truncated_hmac"), (5, "status_request"), (6, "user_mapping"), (7, "client_authz"), (8, "server_authz"),
    (9, "cert_type"), (10, "supported_groups"), (11, "ec_point_formats"), (12, "srp"),
    (13, "signature_algorithms"), (14, "use_srtp"), (15, "heartbeat"),
    (16, "application_layer_protocol_negotiation"), (17, "status_request_v2"),
    (18, "signed_certificate_timestamp"), (19, "client_certificate_type"), (20, "server_certificate_type"),
    (21, "padding"), (22, "encrypt_then_mac"), (23, "extended_master_secret"), (24, "token_binding"),
    (25, "cached_info"), (26, "tls_lts"), (27, "compress_certificate"), (28, "record_size_limit"),
    (29, "pwd_protect"), (30, "pwd_clear"), (31, "password_salt"), (32, "ticket_pinning"),
    (33, "tls_cert_with_extern_psk"), (34, "delegated_credential"), (35, "session_ticket"), (36, "TLMSP"),
    (37, "TLMSP_proxying"), (38, "TLMSP_delegate"), (39, "supported_ekt_ciphers"), (41, "pre_shared_key"),
    (42, "early_data"), (43, "supported_versions"), (44, "cookie"), (45, "psk_key_exchange_modes"),
    (47, "certificate_authorities"), (48, "oid_filters"), (49, "post_handshake_auth"),
    (50, "signature_algorithms_cert"), (51, "key_share"), (52, "transparency_info"),
    (53, "connection_id_deprecated"), (54, "connection_id"), (55, "external_id_hash"), (56, "external_session_id"),
    (57, "quic_transport_parameters"), (58, "ticket_request"), (59, "dnssec_chain"),
    (60, "sequence_number_encryption_algorithms"), (61, "rrc"), (62, "tls_flags"), (13_172, "next_protocol_negotiation"),
    (17_513, "application_settings_old"), (17_613, "application_settings"), (30_031, "channel_id_old"),
    (30_032, "channel_id"), (64_768, "ech_outer_extensions"), (65_037, "encrypted_client_hello"),
    (65_281, "renegotiation_info"),
];

#[rustfmt::skip]
const GROUPS: &[(u16, &str)] = &[
    (1, "sect163k1"), (2, "sect163r1"), (3, "sect163r2"), (4, "sect193r1"), (5, "sect193r2"), (6, "sect233k1"),
    (7, "sect233r1"), (8, "sect239k1"), (9, "sect283k1"), (10, "sect283r1"), (11, "sect409k1"), (12, "sect409r1"),
    (13, "sect571k1"), (14, "sect571r1"), (15, "secp160k1"), (16, "secp160r1"), (17, "secp160r2"),
    (18, "secp192k1"), (19, "secp192r1"), (20, "secp224k1"), (21, "secp224r1"), (22, "secp256k1"),
    (23, "secp256r1"), (24, "secp384r1"), (25, "secp521r1"), (26, "brainpoolP256r1"), (27, "brainpoolP384r1"),
    (28, "brainpoolP512r1"), (29, "x25519"), (30, "x448"), (31, "brainpoolP256r1tls13"),
    (32, "brainpoolP384r1tls13"), (33, "brainpoolP512r1tls13"), (34, "GC256A"), (35, "GC256B"), (36, "GC256C"),
    (37, "GC256D"), (38, "GC512A"), (39, "GC512B"), (40, "GC512C"), (41, "curveSM2"), (256, "ffdhe2048"),
    (257, "ffdhe3072"), (258, "ffdhe4096"), (259, "ffdhe6144"), (260, "ffdhe8192"), (512, "MLKEM512"),
    (513, "MLKEM768"), (514, "MLKEM1024"), (4587, "SecP256r1MLKEM768"), (4588, "X25519MLKEM768"),
    (4589, "SecP384r1MLKEM1024"), (25_497, "X25519Kyber768Draft00"), (25_498, "SecP256r1Kyber768Draft00"),
    (0xff01, "arbitrary_explicit_prime_curves"), (0xff02, "arbitrary_explicit_char2_curves"),
];

#[rustfmt::skip]
const SIGNATURE_SCHEMES: &[(u16, &str)] = &[
    (0x0201, "rsa_pkcs1_sha1"), (0x0202, "dsa_sha1"), (0x0203, "ecdsa_sha1"), (0x0301, "rsa_sha224"),
    (0x0302, "dsa_sha224"), (0x0303, "ecdsa_sha224"), (0x0401, "rsa_pkcs1_sha256"), (0x0402, "dsa_sha256"),
    (0x0403, "ecdsa_secp256r1_sha256"), (0x0420, "rsa_pkcs1_sha256_legacy"), (0x0501, "rsa_pkcs1_sha384"),
    (0x0502, "dsa_sha384"), (0x0503, "ecdsa_secp384r1_sha384"), (0x0520, "rsa_pkcs1_sha384_legacy"),
    (0x0601, "rsa_pkcs1_sha512"), (0x0602, "dsa_sha512"), (0x0603, "ecdsa_secp521r1_sha512"),
    (0x0620, "rsa_pkcs1_sha512_legacy"), (0x0704, "eccsi_sha256"), (0x0705, "iso_ibs1"), (0x0706, "iso_ibs2"),
    (0x0707, "iso_chinese_ibs"), (0x0708, "sm2sig_sm3"), (0x0709, "gostr34102012_256a"),
    (0x070a, "gostr34102012_256b"), (0x070b, "gostr34102012_256c"), (0x070c, "gostr34102012_256d"),
    (0x070d, "gostr34102012_512a"), (0x070e, "gostr34102012_512b"), (0x070f, "gostr34102012_512c"),
    (0x0804, "rsa_pss_rsae_sha256"), (0x0805, "rsa_pss_rsae_sha384"), (0x0806, "rsa_pss_rsae_sha512"),
    (0x0807, "ed25519"), (0x0808, "ed448"), (0x0809, "rsa_pss_pss_sha256"), (0x080a, "rsa_pss_pss_sha384"),
    (0x080b, "rsa_pss_pss_sha512"), (0x081a, "ecdsa_brainpoolP256r1tls13_sha256"),
    (0x081b, "ecdsa_brainpoolP384r1tls13_sha384"), (0x081c, "ecdsa_brainpoolP512r1tls13_sha512"),
    (0x0904, "mldsa44"), (0x0905, "mldsa65"), (0x0906, "mldsa87"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_in_order_so_that_the_search_finds_every_row() {
        for table in [CIPHERS, EXTENSIONS, GROUPS, SIGNATURE_SCHEMES] {
            assert!(table.is_sorted_by(|a, b| a.0 < b.0));
            for (code, name) in table {
                let mut item = Vec::new();
                let found = match table {
                    _ if table == CIPHERS => (cipher(*code), CIPHER.item(*code)),
                    _ if table == EXTENSIONS => (extension(*code), EXTENSION.item(*code)),
                    _ if table == GROUPS => (group(*code), GROUP.item(*code)),
                    _ => (signature_algorithm(*code), SIGNATURE_ALGORITHM.item(*code)),
                };
                found.1.unwrap().append(&mut item);
                assert_eq!((found.0, item), (Some(*name), format!(",{name:?}").into_bytes()));
            }
        }
        let known = |name: fn(u16) -> Option<&'static str>| (0..=u16::MAX).filter_map(name).count();
        assert_eq!(known(cipher), CIPHERS.len());
        assert_eq!(known(extension), EXTENSIONS.len());
        assert_eq!(known(group), GROUPS.len());
        assert_eq!(known(signature_algorithm), SIGNATURE_SCHEMES.len());
        let names: std::collections::HashSet<_> = CIPHERS.iter().map(|entry| entry.1).collect();
        assert_eq!(names.len(), CIPHERS.len());
        assert!(ALERTS.is_sorted_by(|a, b| a.0 < b.0));
        assert_eq!(cipher(0x1301), Some("TLS_AES_128_GCM_SHA256"));
        assert_eq!(cipher(0x0a0a), None);
    }
}
