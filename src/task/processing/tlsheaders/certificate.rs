//! What is told of a certificate: names, validity, digest. What `x509-parser` cannot read is told by
//! its digest alone.

use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};
use x509_parser::time::ASN1Time;

use crate::task::json;
use crate::time::Timestamp;

/// Appends one certificate as a JSON object.
pub fn json(der: &[u8], out: &mut Vec<u8>) {
    json::object(out, |o| {
        if let Ok((_, certificate)) = X509Certificate::from_der(der) {
            o.string("subject", &certificate.subject().to_string());
            o.string("issuer", &certificate.issuer().to_string());
            let names = subject_alternative_names(&certificate);
            if !names.is_empty() {
                o.array("sans", |array| names.iter().for_each(|name| json::string(array.item(), name)));
            }
            for (key, time) in
                [("notBefore", certificate.validity().not_before), ("notAfter", certificate.validity().not_after)]
            {
                o.string(key, &rfc3339(time));
            }
        }
        o.hex("sha256", &Sha256::digest(der));
    });
}

/// Appends what an engineer looks for first.
pub fn text(der: &[u8], out: &mut Vec<u8>) {
    let Ok((_, certificate)) = X509Certificate::from_der(der) else { return };
    let sans = subject_alternative_names(&certificate).join(",");
    let not_after = rfc3339(certificate.validity().not_after);
    for (label, value) in [
        ("subject", certificate.subject().to_string()),
        ("issuer", certificate.issuer().to_string()),
        ("sans", sans),
        ("notAfter", not_after),
    ] {
        out.extend_from_slice(format!(" {label}={value:?}").as_bytes());
    }
}

/// Names of RFC 5280 section 4.2.1.6: DNS names, mail addresses and URIs as they are, addresses as text.
fn subject_alternative_names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return Vec::new() };
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(text) | GeneralName::RFC822Name(text) | GeneralName::URI(text) => Some((*text).to_owned()),
        GeneralName::IPAddress(bytes) => match <[u8; 4]>::try_from(*bytes) {
            Ok(v4) => Some(std::net::Ipv4Addr::from(v4).to_string()),
            Err(_) => <[u8; 16]>::try_from(*bytes).ok().map(|v6| std::net::Ipv6Addr::from(v6).to_string()),
        },
        _ => None,
    };
    extension.value.general_names.iter().filter_map(name).collect()
}

/// A second of UTC. Certificates may lie before the epoch or in far years, so this is not `Timestamp`'s
/// range: those are written as what their parser says.
fn rfc3339(time: ASN1Time) -> String {
    match u64::try_from(time.timestamp()).ok().and_then(|seconds| seconds.checked_mul(1_000_000_000)) {
        Some(nanos) => Timestamp(nanos).to_string().replace(".000000000Z", "Z"),
        None => time.to_string(),
    }
}
