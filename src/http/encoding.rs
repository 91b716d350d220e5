//! Content codings: whether a client wants gzip (RFC 9110 section 12.5.3), and a gzip writer
//! (RFC 1952) whose state is kept from one answer to the next.

use flate2::{Compress, Compression, Crc, FlushCompress, Status};

/// Whether the Accept-Encoding fields ask for gzip at least as much as for no coding.
pub(super) fn accepts_gzip<'a>(fields: impl Iterator<Item = &'a [u8]>) -> bool {
    let (mut gzip, mut identity, mut any) = (None, None, None);
    for element in fields.flat_map(|value| value.split(|&byte| byte == b',')) {
        let mut parts = element.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
        let coding = parts.next().unwrap_or_default();
        let Some(weight) = weight(parts) else { continue };
        if coding.eq_ignore_ascii_case(b"gzip") || coding.eq_ignore_ascii_case(b"x-gzip") {
            gzip = Some(weight);
        } else if coding.eq_ignore_ascii_case(b"identity") {
            identity = Some(weight);
        } else if coding == b"*" {
            any = Some(weight);
        }
    }
    let gzip = gzip.or(any).unwrap_or(0);
    gzip > 0 && gzip >= identity.unwrap_or(0)
}

/// The weight in thousandths, 1000 where none is given, None where it is malformed.
fn weight<'a>(mut parameters: impl Iterator<Item = &'a [u8]>) -> Option<u16> {
    let Some(parameter) = parameters.next() else { return Some(1000) };
    let digits = parameter.strip_prefix(b"q=").or_else(|| parameter.strip_prefix(b"Q="))?;
    let (whole, fraction) = match digits {
        [whole] => (whole, &[][..]),
        [whole, b'.', fraction @ ..] if fraction.len() <= 3 => (whole, fraction),
        _ => return None,
    };
    let mut value = match whole {
        b'0' => 0,
        b'1' => 1,
        _ => return None,
    };
    for at in 0..3 {
        let digit = fraction.get(at).copied().unwrap_or(b'0');
        value = value * 10 + u16::from(digit.checked_sub(b'0').filter(|digit| *digit < 10)?);
    }
    (value <= 1000).then_some(value)
}

/// A compressor that is made once, since its tables are 300 KiB.
pub(super) struct Gzip {
    deflate: Option<Compress>,
}

impl Gzip {
    pub fn new() -> Gzip {
        Gzip { deflate: None }
    }

    /// Writes `plain` as one gzip member into `out`. False where the compressor gave up.
    pub fn write(&mut self, plain: &[u8], out: &mut Vec<u8>) -> bool {
        let deflate = self.deflate.get_or_insert_with(|| Compress::new(Compression::fast(), false));
        deflate.reset();
        out.clear();
        // Deflate, no flags, no time, fastest, Unix (RFC 1952 section 2.3).
        out.extend_from_slice(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 3]);
        loop {
            out.reserve(plain.len() / 8 + 1024);
            let rest = usize::try_from(deflate.total_in()).ok().and_then(|at| plain.get(at..)).unwrap_or_default();
            match deflate.compress_vec(rest, out, FlushCompress::Finish) {
                Ok(Status::StreamEnd) => break,
                Ok(_) => {}
                Err(_) => return false,
            }
        }
        let mut crc = Crc::new();
        crc.update(plain);
        out.extend_from_slice(&crc.sum().to_le_bytes());
        out.extend_from_slice(&(plain.len() as u32).to_le_bytes());
        true
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn gzip_is_sent_only_where_the_client_prefers_it() {
        for (field, wanted) in [
            ("gzip", true),
            ("GZIP;q=0.5", true),
            ("deflate, gzip;q=1.0, *;q=0.5", true),
            ("x-gzip", true),
            ("*", true),
            ("identity;q=0.5, *;q=0.1", false),
            ("gzip;q=0", false),
            ("gzip;q=0.000", false),
            ("*;q=1, gzip;q=0", false),
            ("gzip;q=0.1, identity;q=0.9", false),
            ("gzip; q=0.9 , identity", false),
            ("deflate, br", false),
            ("gzip;q=2", false),
            ("gzip;q=abc", false),
            ("gzipped", false),
            ("", false),
        ] {
            assert_eq!(accepts_gzip([field.as_bytes()].into_iter()), wanted, "{field}");
        }
        assert!(accepts_gzip([&b"br"[..], b"gzip"].into_iter()));
    }

    #[test]
    fn what_was_compressed_is_read_again_and_the_state_starts_anew() {
        let mut gzip = Gzip::new();
        let mut out = Vec::new();
        for plain in [Vec::new(), b"tawon ".repeat(50_000), (0..=255).collect(), b"x".to_vec()] {
            assert!(gzip.write(&plain, &mut out));
            let mut again = Vec::new();
            flate2::read::GzDecoder::new(&out[..]).read_to_end(&mut again).expect("a whole member");
            assert_eq!(again, plain);
        }
    }
}
