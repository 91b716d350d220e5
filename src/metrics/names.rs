//! Label values that come and go without end, such as names of directives: the first `DISTINCT` of a label
//! have series of their own for as long as the process lives, since a counter that left and came again
//! would have gone down; all that come later are counted together under `other`.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use super::summary::locked;

/// What one label has shown so far. A handle; clones know the same.
#[derive(Clone, Default)]
pub struct Names(Arc<Mutex<HashSet<String>>>);

impl Names {
    /// What the label says for `name`: the same each time that it is asked.
    pub fn label<'a>(&self, name: &'a str) -> &'a str {
        let mut known = locked(&self.0);
        if known.contains(name) {
            return name;
        }
        if known.len() == DISTINCT {
            return OTHER;
        }
        known.insert(name.to_owned());
        name
    }
}

/// Names of one label with series of their own.
pub const DISTINCT: usize = 256;
/// The value of all others.
pub const OTHER: &str = "other";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_256_names_keep_their_label_and_the_rest_are_other() {
        let names = Names::default();
        let all: Vec<String> = (0..1000).map(|at| format!("d{at}")).collect();
        for handle in [names.clone(), names] {
            for (at, name) in all.iter().enumerate() {
                assert_eq!(handle.label(name), if at < 256 { name } else { "other" });
            }
        }
    }
}
