//! `--if`: a condition as one expression. `field=value`, `field~regex`, joined by `and`, `or`, `not` and
//! parentheses; `not` binds closest, then `and`, then `or`. A value ends at white space or at a
//! parenthesis that it did not open; a quoted one ('...' or "...") at its quote.

use std::rc::Rc;

use crate::config::problem::Position;
use crate::config::raw::{Entry, Node, Value};

/// The expression as the node that a file would have in its place. The error says where it stands.
pub fn parse(text: &str) -> Result<Node, (Position, String)> {
    let mut parser = Parser { text, at: 0, depth: 0 };
    let node = parser.or()?;
    parser.skip_space();
    match parser.rest() {
        "" => Ok(node),
        _ => Err(parser.expected("and, or or the end")),
    }
}

struct Parser<'a> {
    text: &'a str,
    /// In bytes.
    at: usize,
    depth: usize,
}

type Parsed = Result<Node, (Position, String)>;

impl<'a> Parser<'a> {
    fn or(&mut self) -> Parsed {
        self.joined("or", Parser::and)
    }

    fn and(&mut self) -> Parsed {
        self.joined("and", Parser::not)
    }

    fn joined(&mut self, word: &'static str, inner: fn(&mut Parser<'a>) -> Parsed) -> Parsed {
        let first = inner(self)?;
        let at = first.at;
        let mut list = vec![Rc::new(first)];
        while self.take_word(word) {
            list.push(Rc::new(inner(self)?));
        }
        match <[Rc<Node>; 1]>::try_from(list) {
            Ok([only]) => Ok(Rc::into_inner(only).unwrap_or_else(|| Node::new(at, Value::Null))),
            Err(list) => Ok(entry(at, word, Node::new(at, Value::List(list)))),
        }
    }

    fn not(&mut self) -> Parsed {
        self.skip_space();
        let at = self.position();
        self.depth += 1;
        if self.depth > DEPTH {
            return Err((at, format!("nested deeper than {DEPTH}")));
        }
        let node = if self.take_word("not") {
            entry(at, "not", self.not()?)
        } else if self.take("(") {
            let inner = self.or()?;
            if !self.take(")") {
                return Err(self.expected("and, or or \")\""));
            }
            inner
        } else {
            self.comparison()?
        };
        self.depth -= 1;
        Ok(node)
    }

    fn comparison(&mut self) -> Parsed {
        self.skip_space();
        let at = self.position();
        let length = self
            .rest()
            .find(|c: char| !(c.is_ascii_alphanumeric() || c == '.' || c == '_'))
            .unwrap_or(self.rest().len());
        let field = &self.rest()[..length];
        if field.is_empty() {
            return Err(self.expected("field=value, field~regex, not or \"(\""));
        }
        self.at += length;
        let (test, key) = if self.take("=") {
            ("equal", "value")
        } else if self.take("~") {
            ("regex", "regex")
        } else {
            return Err(self.expected(&format!("= or ~ behind {field:?}")));
        };
        self.skip_space();
        let value_at = self.position();
        let value = self.value()?;
        let text = |at, text: &str| Rc::new(Node::new(at, Value::Text(text.to_owned())));
        let fields = vec![
            Entry { key: "field".to_owned(), at, value: text(at, field) },
            Entry { key: key.to_owned(), at: value_at, value: text(value_at, value) },
        ];
        Ok(entry(at, test, Node::new(at, Value::Map(fields))))
    }

    fn value(&mut self) -> Result<&'a str, (Position, String)> {
        let rest = self.rest();
        if let Some(quote) = rest.chars().next().filter(|c| matches!(c, '\'' | '"')) {
            let end =
                rest[1..].find(quote).ok_or_else(|| (self.position(), format!("a value without a closing {quote}")))?;
            self.at += end + 2;
            return Ok(&rest[1..1 + end]);
        }
        let mut open = 0usize;
        let mut escaped = false;
        let end = rest.find(|c: char| {
            let ends = c.is_whitespace() || (c == ')' && open == 0 && !escaped);
            match c {
                '(' if !escaped => open += 1,
                ')' if !escaped => open = open.saturating_sub(1),
                _ => {}
            }
            escaped = c == '\\' && !escaped;
            ends
        });
        let value = &rest[..end.unwrap_or(rest.len())];
        if value.is_empty() {
            return Err(self.expected("a value"));
        }
        self.at += value.len();
        Ok(value)
    }

    fn take(&mut self, symbol: &str) -> bool {
        self.skip_space();
        let found = self.rest().starts_with(symbol);
        self.at += if found { symbol.len() } else { 0 };
        found
    }

    /// Takes a word that ends at white space, a parenthesis or the end.
    fn take_word(&mut self, word: &str) -> bool {
        self.skip_space();
        let behind = self.rest().strip_prefix(word);
        let found = behind.is_some_and(|behind| behind.chars().next().is_none_or(|c| c.is_whitespace() || c == '('));
        self.at += if found { word.len() } else { 0 };
        found
    }

    fn skip_space(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn position(&self) -> Position {
        Position { line: 1, column: self.text[..self.at].chars().count() as u32 + 1 }
    }

    fn expected(&mut self, what: &str) -> (Position, String) {
        self.skip_space();
        let found = self.rest().split_whitespace().next();
        let found = found.map_or_else(|| "the end".to_owned(), |word| format!("{word:?}"));
        (self.position(), format!("expected {what}, found {found}"))
    }
}

fn entry(at: Position, key: &str, value: Node) -> Node {
    Node::new(at, Value::Map(vec![Entry { key: key.to_owned(), at, value: Rc::new(value) }]))
}

const DEPTH: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::condition::{Condition, Field, Pattern};
    use crate::config::pipeline;
    use crate::config::read::Reader;

    fn condition(text: &str) -> Result<Condition, String> {
        let node = parse(text).map_err(|(at, message)| format!("{}: {message}", at.column))?;
        let mut reader = Reader::new("--if".into());
        let condition = pipeline::condition(&mut reader, &node, 1);
        condition.ok_or_else(|| reader.problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    }

    fn uid(number: u32) -> Condition {
        Condition::Equal(Field::Uid, number.to_string())
    }

    fn name(regex: &str) -> Condition {
        Condition::Regex(Field::Name, Pattern::new(regex).unwrap())
    }

    fn not(condition: Condition) -> Condition {
        Condition::Not(Box::new(condition))
    }

    #[test]
    fn not_binds_closest_then_and_then_or() {
        let (and, or) = (Condition::And, Condition::Or);
        for (text, expected) in [
            ("process.uid=0", uid(0)),
            ("not process.uid=0 and process.uid=1", and(vec![not(uid(0)), uid(1)])),
            ("process.uid=0 or process.uid=1 and process.uid=2", or(vec![uid(0), and(vec![uid(1), uid(2)])])),
            ("(process.uid=0 or process.uid=1) and process.uid=2", and(vec![or(vec![uid(0), uid(1)]), uid(2)])),
            ("process.uid=0 and process.uid=1 and process.uid=2", and(vec![uid(0), uid(1), uid(2)])),
            ("not(process.uid=0)", not(uid(0))),
            ("not not process.uid=0", not(not(uid(0)))),
            ("  ( ( process.uid = 0 ) )  ", uid(0)),
        ] {
            assert_eq!(condition(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn values_end_at_space_at_a_foreign_parenthesis_or_at_their_quote() {
        for (text, expected) in [
            ("process.name~^(amf|smf)$", name("^(amf|smf)$")),
            ("(process.name~^(amf|smf)$)", name("^(amf|smf)$")),
            (r"(process.name~a\)b)", name(r"a\)b")),
            ("process.name~'a or b'", name("a or b")),
            ("process.name~\")\"", name(r"\)")),
            ("process.name=or", Condition::Equal(Field::Name, "or".to_owned())),
            ("process.name=a=b~c", Condition::Equal(Field::Name, "a=b~c".to_owned())),
            ("pod.label=app=amf", Condition::Equal(Field::PodLabel, "app=amf".to_owned())),
            ("process.cmd=\"nginx: master process\"", Condition::Equal(Field::Cmd, "nginx: master process".to_owned())),
        ] {
            if text.contains("~\")\"") {
                assert!(condition(text).unwrap_err().contains("--if:1:14: regex:"), "{text}");
            } else {
                assert_eq!(condition(text), Ok(expected), "{text}");
            }
        }
    }

    #[test]
    fn errors_say_where_and_what_was_expected() {
        for (text, expected) in [
            ("", "1: expected field=value, field~regex, not or \"(\", found the end"),
            ("process.uid", "12: expected = or ~ behind \"process.uid\", found the end"),
            ("process.uid=", "13: expected a value, found the end"),
            ("process.uid=0 process.pid=1", "15: expected and, or or the end, found \"process.pid=1\""),
            ("process.uid=0 and", "18: expected field=value, field~regex, not or \"(\", found the end"),
            ("and process.uid=0", "5: expected = or ~ behind \"and\", found \"process.uid=0\""),
            ("(process.uid=0", "15: expected and, or or \")\", found the end"),
            ("process.uid=0)", "14: expected and, or or the end, found \")\""),
            ("process.name='a", "14: a value without a closing '"),
            ("é=1", "1: expected field=value"),
            ("process.nam=x", "--if:1:1: field: unknown field \"process.nam\"; did you mean \"process.name\"?"),
            ("process.uid=root", "--if:1:13: value: process.uid is a number from 0 to 4294967295; \"root\" is not"),
            ("process.name~[", "--if:1:14: regex: \"[\" is not a regular expression"),
        ] {
            let error = condition(text).expect_err(text);
            assert!(error.starts_with(expected), "{text}: {error}");
        }
        assert!(condition(&"(".repeat(100_000)).unwrap_err().contains("nested deeper than 32"));
        assert!(condition(&"not ".repeat(100_000)).unwrap_err().contains("nested deeper than 32"));
        let long = vec!["process.uid=0"; 10_000].join(" and ");
        assert!(matches!(condition(&long), Ok(Condition::And(list)) if list.len() == 10_000));
    }
}
