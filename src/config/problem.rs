//! What is wrong with a configuration, and where: `file:line:column: message`.

use std::fmt;
use std::sync::Arc;

/// One error or warning.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Problem {
    pub place: Place,
    /// One sentence without a full stop.
    pub message: String,
}

impl Problem {
    pub fn new(place: Place, message: impl Into<String>) -> Problem {
        let mut message = message.into();
        if message.len() > MESSAGE {
            message.truncate(message.floor_char_boundary(MESSAGE));
            message.push('…');
        }
        Problem { place, message }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

/// A file, or an argument as it was written; and where in it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Place {
    pub file: Arc<str>,
    pub position: Option<Position>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        match self.position {
            Some(Position { line, column }) => write!(f, ":{line}:{column}"),
            None => Ok(()),
        }
    }
}

/// Both counted from 1, the column in characters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub struct Position {
    pub line: u32,
    pub column: u32,
}

/// `; did you mean "listen"?` where a known word is near, else `; known are ...`.
pub fn suggestion<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    match nearest(word, &known) {
        Some(near) => format!("; did you mean {near:?}?"),
        None if known.is_empty() => "; none are known here".to_owned(),
        None => format!("; known are {}", known.join(", ")),
    }
}

/// The known word that the fewest edits lead to, if few enough for a slip.
fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    if word.len() > WORD {
        return None;
    }
    let lower = word.to_lowercase();
    known
        .iter()
        .map(|&candidate| (distance(&lower, &candidate.to_lowercase()), candidate))
        .filter(|&(edits, candidate)| edits <= candidate.chars().count().max(word.chars().count()).div_ceil(3))
        .min_by_key(|&(edits, _)| edits)
        .map(|(_, candidate)| candidate)
}

/// Insertions, deletions, substitutions and swaps of neighbours that make `b` of `a`.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before_last = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let substituted = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = substituted.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before_last[j - 2] + 1);
            }
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

/// Longer words are no slips of the pen, and comparing them costs time.
const WORD: usize = 64;
const MESSAGE: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_answered_with_the_nearest_known_word() {
        let known = ["listen", "path", "prefix", "quantiles", "startAt", "stopAt"];
        for (word, near) in [
            ("lisen", "listen"),
            ("Listen", "listen"),
            ("patch", "path"),
            ("prefxi", "prefix"),
            ("startat", "startAt"),
            ("stopat", "stopAt"),
            ("quantile", "quantiles"),
        ] {
            assert_eq!(suggestion(word, known), format!("; did you mean {near:?}?"));
        }
        for word in ["", "colour", "x", "非常", &"listen".repeat(1000)] {
            assert_eq!(suggestion(word, known), "; known are listen, path, prefix, quantiles, startAt, stopAt");
        }
    }

    #[test]
    fn problems_sort_by_file_then_line_then_column() {
        let at = |file: &str, line, column| Place { file: file.into(), position: Some(Position { line, column }) };
        let mut places = [at("b", 1, 1), at("a", 10, 1), at("a", 9, 2), at("a", 9, 1)];
        places.sort();
        let texts: Vec<String> = places.iter().map(Place::to_string).collect();
        assert_eq!(texts, ["a:9:1", "a:9:2", "a:10:1", "b:1:1"]);
    }

    #[test]
    fn a_message_is_cut_between_characters() {
        let place = Place { file: "f".into(), position: None };
        let problem = Problem::new(place, "é".repeat(2000));
        assert!(problem.message.ends_with("é…"));
        assert!(problem.message.len() <= MESSAGE + '…'.len_utf8());
    }
}
