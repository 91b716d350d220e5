//! The Huffman code of RFC 7541 appendix B, decoded twelve bits at a time: one look-up gives up to two
//! symbols. The code is canonical, so its lengths are all that stands here; tables are made of them at
//! compile time.

use super::Error;

/// What the decoding of `length` bytes needs: the shortest code has five bits, and symbols are written in
/// pairs.
pub const fn bound(length: usize) -> usize {
    length * 8 / 5 + 2
}

/// Decodes `from` into the start of `to`, which must hold `bound(from.len())` bytes, and says how many
/// bytes it became. Padding must be the start of the end-of-string code and shorter than a byte
/// (RFC 7541 section 5.2).
pub fn decode(from: &[u8], to: &mut [u8]) -> Result<usize, Error> {
    let (mut bit, mut out) = (0, 0);
    // Whole words: four look-ups take at most 48 of the 57 bits or more that a word still has.
    while let Some(word) = from.get(bit / 8..).and_then(|rest| rest.first_chunk::<8>()) {
        let mut word = u64::from_be_bytes(*word) << (bit % 8);
        for turn in 0..4 {
            let pair = pair(word);
            if pair.bits() == 0 {
                // Only a fresh word has all the bits of the longest code.
                if turn > 0 {
                    break;
                }
                let (symbol, length) = long(word)?;
                *to.get_mut(out).ok_or(Error::Huffman)? = symbol;
                out += 1;
                bit += length;
                break;
            }
            *to.get_mut(out..).and_then(<[u8]>::first_chunk_mut).ok_or(Error::Huffman)? = pair.symbols();
            out += pair.count();
            bit += pair.bits();
            word <<= pair.bits();
        }
    }
    // The last bytes, fewer than eight, followed by ones as in padding: zeros where all is turned over.
    let mut left = from.len() * 8 - bit;
    let mut turned = !ahead(from, bit);
    while left > 0 {
        let pair = pair(!turned);
        if pair.bits().wrapping_sub(1) < left {
            *to.get_mut(out..).and_then(<[u8]>::first_chunk_mut).ok_or(Error::Huffman)? = pair.symbols();
            out += pair.count();
            left -= pair.bits();
            turned <<= pair.bits();
            continue;
        }
        if padding(!turned, left) {
            break;
        }
        let (symbol, length) = one(!turned)?;
        left = left.checked_sub(length).ok_or(Error::Huffman)?;
        *to.get_mut(out).ok_or(Error::Huffman)? = symbol;
        out += 1;
        turned <<= length;
    }
    Ok(out)
}

/// Whether `from` is a whole Huffman string, without writing it anywhere.
pub fn check(from: &[u8]) -> Result<(), Error> {
    let mut bit = 0;
    loop {
        let (word, left) = (ahead(from, bit), from.len() * 8 - bit);
        if padding(word, left) {
            return Ok(());
        }
        match one(word)? {
            (_, length) if length > left => return Err(Error::Huffman),
            (_, length) => bit += length,
        }
    }
}

/// At least 57 bits from `bit` on, the first of them the highest, with ones behind the end.
#[inline]
fn ahead(from: &[u8], bit: usize) -> u64 {
    let rest = from.get(bit / 8..).unwrap_or_default();
    let left = from.len() * 8 - bit;
    if let Some(word) = rest.first_chunk::<8>() {
        return u64::from_be_bytes(*word) << (bit % 8) | ((1 << (bit % 8)) - 1);
    }
    // Fewer than 64 bits are left; of the last bytes those before them are shifted out.
    let word = if let Some(last) = from.last_chunk::<8>() {
        u64::from_be_bytes(*last)
    } else if let (Some(first), Some(last)) = (from.first_chunk::<4>(), from.last_chunk::<4>()) {
        u64::from(u32::from_be_bytes(*first)) << (8 * (from.len() - 4)) | u64::from(u32::from_be_bytes(*last))
    } else {
        from.iter().fold(0, |word, &byte| word << 8 | u64::from(byte))
    };
    match left {
        0 => !0,
        _ => word << (64 - left) | ((1 << (64 - left)) - 1),
    }
}

/// Whether the `left` bits of `word` are padding (RFC 7541 section 5.2).
fn padding(word: u64, left: usize) -> bool {
    left < 8 && (left == 0 || word >> (64 - left) == (1 << left) - 1)
}

/// The first symbol of `word`, which starts at its highest bit, and its length in bits.
fn one(word: u64) -> Result<(u8, usize), Error> {
    match pair(word) {
        Pair(0) => long(word),
        pair => Ok((pair.symbols()[0], usize::from(LENGTHS[usize::from(pair.symbols()[0])]))),
    }
}

/// The same for a code longer than the window: in a canonical code, of those of one length the first
/// is known and the others count up from it.
#[cold]
fn long(word: u64) -> Result<(u8, usize), Error> {
    for length in WINDOW + 1..=LONGEST {
        let code = (word >> (64 - length)) as u32;
        let (first, index) = (CANONICAL.first[length], CANONICAL.index[length]);
        let count = CANONICAL.index[length + 1] - index;
        if code >= first && code - first < u32::from(count) {
            let symbol = CANONICAL.symbols[usize::from(index) + (code - first) as usize];
            // RFC 7541 section 5.2: a string that holds the end-of-string symbol is an error.
            return u8::try_from(symbol).map(|symbol| (symbol, length)).map_err(|_| Error::Huffman);
        }
    }
    Err(Error::Huffman)
}

const WINDOW: usize = 12;
const LONGEST: usize = 30;

/// What the next bits of the window say: up to two symbols, the first one lowest, how many of them lie
/// wholly in the window, and their bits. 0 when not even one does.
#[derive(Clone, Copy)]
struct Pair(u32);

impl Pair {
    #[inline]
    fn symbols(self) -> [u8; 2] {
        (self.0 as u16).to_le_bytes()
    }

    #[inline]
    fn count(self) -> usize {
        (self.0 >> 16 & 0xff) as usize
    }

    #[inline]
    fn bits(self) -> usize {
        (self.0 >> 24) as usize
    }
}

#[inline]
fn pair(word: u64) -> Pair {
    PAIRS[(word >> (64 - WINDOW)) as usize]
}

/// Symbols in the order of their codes, with the first code and its place for each length.
struct Canonical {
    first: [u32; LONGEST + 2],
    index: [u16; LONGEST + 2],
    symbols: [u16; 257],
}

static PAIRS: [Pair; 1 << WINDOW] = pairs();
static CANONICAL: Canonical = canonical();

const fn canonical() -> Canonical {
    let mut made = Canonical { first: [0; LONGEST + 2], index: [0; LONGEST + 2], symbols: [0; 257] };
    let (mut code, mut next) = (0u32, 0u16);
    let mut length = 1;
    while length <= LONGEST {
        made.first[length] = code;
        made.index[length] = next;
        let mut symbol = 0;
        while symbol < 257 {
            if LENGTHS[symbol] as usize == length {
                made.symbols[next as usize] = symbol as u16;
                next += 1;
                code += 1;
            }
            symbol += 1;
        }
        code <<= 1;
        length += 1;
    }
    made.index[LONGEST + 1] = next;
    made
}

const fn pairs() -> [Pair; 1 << WINDOW] {
    let canonical = canonical();
    // The one code that starts each window, if it is short enough.
    let mut single = [(0u8, 0u8); 1 << WINDOW];
    let mut length = 1;
    while length <= WINDOW {
        let (mut at, end) = (canonical.index[length], canonical.index[length + 1]);
        let mut code = canonical.first[length] as usize;
        while at < end {
            let (mut slot, stop) = (code << (WINDOW - length), (code + 1) << (WINDOW - length));
            while slot < stop {
                single[slot] = (canonical.symbols[at as usize] as u8, length as u8);
                slot += 1;
            }
            at += 1;
            code += 1;
        }
        length += 1;
    }
    let mut made = [Pair(0); 1 << WINDOW];
    let mut slot = 0;
    while slot < 1 << WINDOW {
        let (symbol, bits) = single[slot];
        if bits != 0 {
            let (second, more) = single[slot << bits & ((1 << WINDOW) - 1)];
            let both = more != 0 && (bits + more) as usize <= WINDOW;
            let (count, bits) = if both { (2, bits + more) } else { (1, bits) };
            made[slot] = Pair(u32::from_le_bytes([symbol, second, count, bits]));
        }
        slot += 1;
    }
    made
}

/// The length of each symbol's code in bits; the last is the end of the string.
#[rustfmt::skip]
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
];

#[cfg(test)]
mod tests {
    use super::*;

    /// Codes by the definition, bit by bit.
    fn encode(text: &[u8]) -> Vec<u8> {
        let mut bits = Vec::new();
        for &byte in text {
            let at = CANONICAL.symbols.iter().position(|&symbol| symbol == u16::from(byte)).unwrap();
            let length = usize::from(LENGTHS[usize::from(byte)]);
            let code = CANONICAL.first[length] + (at as u32 - u32::from(CANONICAL.index[length]));
            bits.extend((0..length).rev().map(|bit| code >> bit & 1));
        }
        bits.resize(bits.len().div_ceil(8) * 8, 1);
        bits.chunks(8).map(|byte| byte.iter().fold(0, |all, &bit| all << 1 | bit as u8)).collect()
    }

    fn decoded(from: &[u8]) -> Result<Vec<u8>, Error> {
        let mut to = vec![0; bound(from.len())];
        let length = decode(from, &mut to)?;
        assert_eq!(check(from), Ok(()));
        to.truncate(length);
        Ok(to)
    }

    #[test]
    fn every_pair_of_symbols_comes_back_at_every_length() {
        for first in 0..=255u8 {
            for second in 0..=255u8 {
                let text = [first, second];
                assert_eq!(decoded(&encode(&text)).as_deref(), Ok(&text[..]));
            }
        }
        for short in 0..40 {
            for rare in 0..=255 {
                let text = [vec![b'0'; short], vec![rare, rare], vec![b'a'; 9]].concat();
                assert_eq!(decoded(&encode(&text)), Ok(text));
            }
        }
        let text: Vec<u8> = (0..2000u32).map(|i| ((i * 7919) >> 3) as u8).collect();
        for length in 0..300 {
            assert_eq!(decoded(&encode(&text[..length])).as_deref(), Ok(&text[..length]));
        }
        assert_eq!(decoded(&encode(&text)).as_deref(), Ok(&text[..]));
    }

    #[test]
    fn padding_of_a_byte_or_of_zeros_and_the_end_of_string_symbol_are_errors() {
        for wrong in [&[0xff][..], &[0x1f, 0xff], &[0x00], &[0xff, 0xff, 0xff, 0xfc], &[0xff, 0xff, 0xff, 0xff]] {
            assert_eq!(decode(wrong, &mut [0; 16]), Err(Error::Huffman), "{wrong:x?}");
            assert_eq!(check(wrong), Err(Error::Huffman), "{wrong:x?}");
            let mut long = encode(&[b'0'; 160]);
            assert_eq!(long.len(), 100);
            long.extend(wrong);
            assert_eq!(decode(&long, &mut [0; 300]), Err(Error::Huffman), "{wrong:x?}");
            assert_eq!(check(&long), Err(Error::Huffman), "{wrong:x?}");
        }
    }
}
