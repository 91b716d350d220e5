//! Integers with a prefix (RFC 7541 section 5.1).

use super::Error;

/// Reads the integer whose prefix is the low `bits` bits of the byte at `at`, and moves `at` behind it.
#[inline]
pub fn read(block: &[u8], at: &mut usize, bits: u32) -> Result<usize, Error> {
    let mask = (1u8 << bits) - 1;
    let first = block.get(*at).ok_or(Error::Truncated)? & mask;
    *at += 1;
    if first < mask { Ok(usize::from(first)) } else { more(block, at, usize::from(mask)) }
}

fn more(block: &[u8], at: &mut usize, prefix: usize) -> Result<usize, Error> {
    let mut value = prefix as u64;
    for shift in (0..35).step_by(7) {
        let byte = *block.get(*at).ok_or(Error::Truncated)?;
        *at += 1;
        value += u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return if value < 1 << 31 { Ok(value as usize) } else { Err(Error::Integer) };
        }
    }
    Err(Error::Integer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_rfc_7541_appendix_c_1_are_read() {
        for (block, bits, value) in [(&[0x0a][..], 5, 10), (&[0x1f, 0x9a, 0x0a], 5, 1337), (&[0x2a], 8 - 1, 42)] {
            let mut at = 0;
            assert_eq!(read(block, &mut at, bits), Ok(value));
            assert_eq!(at, block.len());
        }
    }

    #[test]
    fn an_integer_that_is_cut_or_too_large_is_an_error() {
        assert_eq!(read(&[], &mut 0, 7), Err(Error::Truncated));
        assert_eq!(read(&[0x7f, 0x80], &mut 0, 7), Err(Error::Truncated));
        assert_eq!(read(&[0x7f, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00], &mut 0, 7), Err(Error::Integer));
        assert_eq!(read(&[0x7f, 0xff, 0xff, 0xff, 0xff, 0x0f], &mut 0, 7), Err(Error::Integer));
        assert_eq!(read(&[0x7f, 0x80, 0xff, 0xff, 0xff, 0x07], &mut 0, 7), Ok((1 << 31) - 1));
    }
}
