//! `Registry`, code points and their names with an index over them: a hello names a hundred, and a search
//! for each would be most of what its record costs.

use crate::decode::padded::Padded;

/// `ROWS` names of 16-bit code points that have `PAGES` different high octets.
pub struct Registry<const ROWS: usize, const PAGES: usize> {
    names: &'static [(u16, &'static str)],
    /// Each name as an item of a list in JSON, its comma before it.
    items: [Padded; ROWS],
    /// By high octet, one more than the place in `rows`; 0 where it has no names.
    pages: [u8; 256],
    /// By low octet, one more than the place in `names`; 0 where it has no name.
    rows: [[u16; 256]; PAGES],
}

impl<const ROWS: usize, const PAGES: usize> Registry<ROWS, PAGES> {
    /// `names` in order of code points, of names that need no escaping.
    pub(super) const fn new(names: &'static [(u16, &'static str)]) -> Registry<ROWS, PAGES> {
        let (mut items, mut pages, mut rows) = ([Padded::EMPTY; ROWS], [0; 256], [[0; 256]; PAGES]);
        let (mut row, mut used) = (0, 0);
        while row < names.len() {
            let (code, name) = names[row];
            let [high, low] = code.to_be_bytes();
            if pages[high as usize] == 0 {
                used += 1;
                pages[high as usize] = used;
            }
            rows[pages[high as usize] as usize - 1][low as usize] = row as u16 + 1;
            items[row] = Padded::new(&[",\"", name, "\""]);
            row += 1;
        }
        assert!(names.len() == ROWS && used as usize == PAGES);
        Registry { names, items, pages, rows }
    }

    #[inline]
    pub fn name(&self, code: u16) -> Option<&'static str> {
        self.names.get(self.row(code)?).map(|(_, name)| *name)
    }

    /// The name between quotes, with a comma before it.
    #[inline]
    pub fn item(&self, code: u16) -> Option<&Padded> {
        self.items.get(self.row(code)?)
    }

    #[inline]
    fn row(&self, code: u16) -> Option<usize> {
        let [high, low] = code.to_be_bytes();
        let page = usize::from(self.pages[usize::from(high)]).checked_sub(1)?;
        usize::from(self.rows.get(page)?[usize::from(low)]).checked_sub(1)
    }
}

/// How many different high octets there are.
pub(super) const fn pages(names: &[(u16, &str)]) -> usize {
    let (mut row, mut pages) = (0, 0);
    while row < names.len() {
        if row == 0 || names[row].0 >> 8 != names[row - 1].0 >> 8 {
            pages += 1;
        }
        row += 1;
    }
    pages
}
