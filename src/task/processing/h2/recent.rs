//! `Recent`: texts judged not long ago, each with what was found. What peers send again and again, as they
//! do media types and the heads of parts, is then compared and not read anew.

/// At most `KEPT` texts of at most `LONGEST` bytes; the one kept longest makes room. What was found of them
/// owns nothing, so that nothing is allocated once they are full.
pub struct Recent<T> {
    kept: Vec<(Vec<u8>, T)>,
    next: usize,
}

impl<T> Default for Recent<T> {
    fn default() -> Recent<T> {
        Recent { kept: Vec::new(), next: 0 }
    }
}

impl<T: Copy> Recent<T> {
    #[inline]
    pub fn find(&self, text: &[u8]) -> Option<T> {
        self.kept.iter().find(|(kept, _)| kept == text).map(|(_, found)| *found)
    }

    /// Keeps what was found of a text that is not kept.
    pub fn keep(&mut self, text: &[u8], found: T) {
        if text.len() > LONGEST {
            return;
        }
        if self.kept.len() < KEPT {
            self.kept.push((with(Vec::with_capacity(LONGEST), text), found));
        } else if let Some(slot) = self.kept.get_mut(self.next) {
            let room = std::mem::take(&mut slot.0);
            *slot = (with(room, text), found);
            self.next = (self.next + 1) % KEPT;
        }
    }
}

/// Where a part of a text stands in it.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    start: u32,
    length: u32,
}

impl Place {
    /// `part` is borrowed from `text`.
    pub fn new(part: &[u8], text: &[u8]) -> Place {
        let start = part.as_ptr().addr().wrapping_sub(text.as_ptr().addr());
        Place { start: start as u32, length: part.len() as u32 }
    }

    #[inline]
    pub fn of(self, text: &[u8]) -> &[u8] {
        text.get(self.start as usize..).and_then(|rest| rest.get(..self.length as usize)).unwrap_or_default()
    }
}

fn with(mut room: Vec<u8>, text: &[u8]) -> Vec<u8> {
    room.clear();
    room.extend_from_slice(text);
    room
}

const KEPT: usize = 8;
const LONGEST: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_that_of_the_part() {
        let text = b"multipart/related; boundary=b";
        for (start, end) in [(0, 0), (0, 29), (10, 17), (28, 29), (29, 29)] {
            assert_eq!(Place::new(&text[start..end], text).of(text), &text[start..end]);
        }
    }

    #[test]
    fn the_last_texts_are_found_and_no_others() {
        let mut recent = Recent::default();
        let text = |at: usize| format!("text {at}").into_bytes();
        for at in 0..100 {
            assert_eq!(recent.find(&text(at)), None);
            recent.keep(&text(at), at);
            for before in 0..=at {
                assert_eq!(recent.find(&text(before)), (before + KEPT > at).then_some(before));
            }
        }
        recent.keep(&[b'x'; LONGEST + 1], 1);
        assert_eq!(recent.find(&[b'x'; LONGEST + 1]), None);
        assert!(recent.kept.iter().all(|(text, _)| text.capacity() == LONGEST));
    }
}
