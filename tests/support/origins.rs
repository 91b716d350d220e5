//! Where the fields of header blocks come from: what somebody who joined at a later block can know.

/// The block that a field's name and value came from; None from the static table.
#[derive(Clone, Copy)]
pub struct Origin {
    pub name: Option<usize>,
    pub value: Option<usize>,
}

/// A second, plain reading of the representations, for origins alone.
pub struct Account {
    table: Vec<(Origin, usize)>,
    limit: usize,
}

impl Account {
    /// The origins of each field of each block. `limit`: the table's size at first.
    pub fn of<'a>(limit: usize, blocks: impl Iterator<Item = (&'a [u8], &'a [(String, String)])>) -> Vec<Vec<Origin>> {
        let mut account = Account { table: Vec::new(), limit };
        blocks.enumerate().map(|(number, (wire, fields))| account.block(number, wire, fields)).collect()
    }

    fn block(&mut self, number: usize, wire: &[u8], headers: &[(String, String)]) -> Vec<Origin> {
        let (mut at, mut origins) = (0, Vec::new());
        while at < wire.len() {
            let first = wire[at];
            let bits = if first >= 0x80 {
                7
            } else if first >= 0x40 {
                6
            } else if first >= 0x20 {
                5
            } else {
                4
            };
            let index = Self::integer(wire, &mut at, bits);
            if bits == 5 {
                self.limit = index;
                self.evict();
                continue;
            }
            let (name, value) = &headers[origins.len()];
            let origin = match index {
                0 => Origin { name: Some(number), value: None },
                1..=61 => Origin { name: None, value: None },
                _ => {
                    // An entry is seen when its insertion is, and its value came with that.
                    let Origin { name, value } = self.table[index - 62].0;
                    Origin { name: name.into_iter().chain(value).min(), value }
                }
            };
            let origin = if bits == 7 { origin } else { Origin { value: Some(number), ..origin } };
            if bits != 7 {
                for _ in 0..if index == 0 { 2 } else { 1 } {
                    let length = Self::integer(wire, &mut at, 7);
                    at += length;
                }
            }
            if bits == 6 {
                self.table.insert(0, (origin, name.len() + value.len() + 32));
                self.evict();
            }
            origins.push(origin);
        }
        origins
    }

    fn evict(&mut self) {
        while self.table.iter().map(|entry| entry.1).sum::<usize>() > self.limit {
            self.table.pop();
        }
    }

    fn integer(wire: &[u8], at: &mut usize, bits: u32) -> usize {
        let mask = (1 << bits) - 1;
        let mut value = usize::from(wire[*at]) & mask;
        *at += 1;
        let mut shift = 0;
        while value >= mask {
            let byte = usize::from(wire[*at]);
            *at += 1;
            value += (byte & 0x7f) << shift;
            shift += 7;
            if byte < 0x80 {
                break;
            }
        }
        value
    }
}
