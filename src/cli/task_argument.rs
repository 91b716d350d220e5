//! `-t NAME[:KEY=VALUE[,KEY=VALUE...]]`: a task as it is given on the command line. A value with a
//! comma is quoted, '...' or "..."; what stands between the quotes is taken as it is.

use std::rc::Rc;

use crate::config::problem::Position;
use crate::config::raw::{Entry, Node, Value};

/// The argument as the node that a file would have in its place; every part stands at `at`.
pub fn parse(argument: &str, at: Position) -> Result<Node, String> {
    let text = |text: &str| Rc::new(Node::new(at, Value::Text(text.to_owned())));
    let (name, options) = match argument.split_once(':') {
        Some((name, options)) => (name, Some(options)),
        None => (argument, None),
    };
    if name.is_empty() {
        return Err("a task begins with its name, as in flows or flows:interval=10s".to_owned());
    }
    let mut entries = vec![Entry { key: "task".to_owned(), at, value: text(name) }];
    if let Some(options) = options {
        let mut config: Vec<Entry> = Vec::new();
        let mut rest = options;
        loop {
            let (key, value, behind) = option(rest)?;
            if config.iter().any(|entry| entry.key == key) {
                return Err(format!("option {key:?} stands twice"));
            }
            config.push(Entry { key: key.to_owned(), at, value: text(value) });
            match behind {
                Some(behind) => rest = behind,
                None => break,
            }
        }
        entries.push(Entry { key: "config".to_owned(), at, value: Rc::new(Node::new(at, Value::Map(config))) });
    }
    Ok(Node::new(at, Value::Map(entries)))
}

/// The first option's key and value, and what stands behind the comma after it.
fn option(text: &str) -> Result<(&str, &str, Option<&str>), String> {
    let (key, rest) = text
        .split_once('=')
        .filter(|(key, _)| !key.is_empty() && !key.contains([',', '\'', '"']))
        .ok_or_else(|| format!("expected KEY=VALUE, found {text:?}"))?;
    let Some(quote) = rest.chars().next().filter(|c| matches!(c, '\'' | '"')) else {
        return Ok(match rest.split_once(',') {
            Some((value, behind)) => (key, value, Some(behind)),
            None => (key, rest, None),
        });
    };
    let (value, behind) =
        rest[1..].split_once(quote).ok_or_else(|| format!("the value of {key} has no closing {quote}"))?;
    match behind.strip_prefix(',') {
        Some(behind) => Ok((key, value, Some(behind))),
        None if behind.is_empty() => Ok((key, value, None)),
        None => Err(format!("expected a comma or the end behind the value of {key}, found {behind:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(argument: &str) -> Result<(String, Vec<(String, String)>), String> {
        let node = parse(argument, Position::default())?;
        let text = |node: &Node| node.text().unwrap_or_default().to_owned();
        let options = match node.find("config").map(|config| &config.value) {
            Some(Value::Map(entries)) => entries.iter().map(|entry| (entry.key.clone(), text(&entry.value))).collect(),
            _ => Vec::new(),
        };
        Ok((node.find("task").map(|task| text(task)).unwrap_or_default(), options))
    }

    #[test]
    fn a_task_has_a_name_and_options() {
        for (argument, name, options) in [
            ("flows", "flows", &[][..]),
            ("payload:filter=port 8080", "payload", &[("filter", "port 8080")]),
            ("a:x=1,y=2", "a", &[("x", "1"), ("y", "2")]),
            ("a:x='1,2',y=\"it's\"", "a", &[("x", "1,2"), ("y", "it's")]),
            ("a:x=", "a", &[("x", "")]),
            ("a:x='',y=", "a", &[("x", ""), ("y", "")]),
            (
                "publish:addr=nats://nats:4222,labels=a=b+c=d",
                "publish",
                &[("addr", "nats://nats:4222"), ("labels", "a=b+c=d")],
            ),
            ("a:x=it's", "a", &[("x", "it's")]),
        ] {
            let options: Vec<_> = options.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
            assert_eq!(parsed(argument), Ok((name.to_owned(), options)), "{argument}");
        }
    }

    #[test]
    fn what_is_no_task_is_refused_with_what_was_expected() {
        for (argument, expected) in [
            ("", "a task begins with its name"),
            (":x=1", "a task begins with its name"),
            ("a:", "expected KEY=VALUE, found \"\""),
            ("a:x", "expected KEY=VALUE, found \"x\""),
            ("a:x=1,", "expected KEY=VALUE, found \"\""),
            ("a:=1", "expected KEY=VALUE, found \"=1\""),
            ("a:x,y=1", "expected KEY=VALUE, found \"x,y=1\""),
            ("a:x='1", "the value of x has no closing '"),
            ("a:x='1'2", "expected a comma or the end behind the value of x, found \"2\""),
            ("a:x=1,x=2", "option \"x\" stands twice"),
        ] {
            let error = parsed(argument).expect_err(argument);
            assert!(error.contains(expected), "{argument}: {error}");
        }
    }
}
