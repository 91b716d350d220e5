//! What was written: a YAML file as a tree in which every node knows its line and column. Bounded in
//! bytes, depth and nodes, aliases expanded, so that whatever reads the tree is bounded too.

use std::collections::HashMap;
use std::collections::hash_map;
use std::io::Read;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Tag};

use super::problem::{Place, Position, Problem};

/// A value and where it stands.
#[derive(Debug)]
pub struct Node {
    pub at: Position,
    pub value: Value,
    /// How many nodes this one stands for, itself and aliases expanded included.
    weight: usize,
}

#[derive(Debug)]
pub enum Value {
    /// Nothing, `~` or `null`.
    Null,
    /// Any other scalar; what type it is depends on who reads it.
    Text(String),
    List(Vec<Rc<Node>>),
    Map(Vec<Entry>),
}

#[derive(Debug)]
pub struct Entry {
    pub key: String,
    pub at: Position,
    pub value: Rc<Node>,
}

impl Node {
    pub fn new(at: Position, value: Value) -> Node {
        Node { at, value, weight: 1 }
    }

    /// What it is, for messages.
    pub fn what(&self) -> String {
        match &self.value {
            Value::Null => "nothing".to_owned(),
            Value::Text(text) => format!("{text:?}"),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a map".to_owned(),
        }
    }

    pub fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
    }

    /// The value under a key of a map.
    pub fn find(&self, key: &str) -> Option<&Rc<Node>> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value),
            _ => None,
        }
    }

    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// Reads a file's documents. Without them (None) the last problem says why the file cannot be read
/// as YAML at all; with them, problems are keys that stand twice and the like.
pub fn read(path: &Path, problems: &mut Vec<Problem>) -> Option<Vec<Rc<Node>>> {
    let file: Arc<str> = path.to_string_lossy().into();
    match text(path) {
        Ok(text) => parse(&text, &file, problems),
        Err((position, message)) => {
            problems.push(Problem::new(Place { file, position }, message));
            None
        }
    }
}

/// Parses a file's text into its documents, as `read`.
pub fn parse(text: &str, file: &Arc<str>, problems: &mut Vec<Problem>) -> Option<Vec<Rc<Node>>> {
    let mut builder =
        Builder { file, problems, anchors: HashMap::new(), open: Vec::new(), documents: Vec::new(), nodes: 0 };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for event in Parser::new_from_str(text) {
        let result = match event {
            Ok((event, span)) => builder.event(event, position(span.start)),
            Err(error) => {
                let at = position(*error.marker());
                let of_tab = error.info().split(' ').any(|word| matches!(word, "tab" | "tabs"));
                let at = if of_tab { tab(text, at).unwrap_or(at) } else { at };
                Err((at, format!("not YAML: {}", error.info())))
            }
        };
        if let Err((at, message)) = result {
            builder.problem(at, message);
            return None;
        }
    }
    Some(builder.documents)
}

type Fatal = (Position, String);

struct Builder<'a> {
    file: &'a Arc<str>,
    problems: &'a mut Vec<Problem>,
    /// By the parser's number; an anchor whose node is not complete is not here yet.
    anchors: HashMap<usize, Rc<Node>>,
    open: Vec<Open>,
    documents: Vec<Rc<Node>>,
    nodes: usize,
}

/// A list or map that is being read.
struct Open {
    at: Position,
    anchor: usize,
    weight: usize,
    content: Content,
}

enum Content {
    List(Vec<Rc<Node>>),
    /// `seen` holds the line of each key.
    Map {
        entries: Vec<Entry>,
        seen: HashMap<String, u32>,
        key: Option<Key>,
    },
}

enum Key {
    Named(String, Position),
    /// Not a text, or there before: its value is read and dropped.
    Dropped,
}

impl Builder<'_> {
    fn event(&mut self, event: Event<'_>, at: Position) -> Result<(), Fatal> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_tag(tag.as_deref(), at);
                let null = style == ScalarStyle::Plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
                let value = if null { Value::Null } else { Value::Text(text.into_owned()) };
                self.add(Node::new(at, value), anchor)
            }
            Event::SequenceStart(anchor, tag) => {
                self.refuse_tag(tag.as_deref(), at);
                self.open(at, anchor, Content::List(Vec::new()))
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse_tag(tag.as_deref(), at);
                self.open(at, anchor, Content::Map { entries: Vec::new(), seen: HashMap::new(), key: None })
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(open) = self.open.pop() else { return Ok(()) };
                let value = match open.content {
                    Content::List(list) => Value::List(list),
                    Content::Map { entries, .. } => Value::Map(entries),
                };
                self.add(Node { at: open.at, value, weight: open.weight }, open.anchor)
            }
            Event::Alias(anchor) => match self.anchors.get(&anchor).cloned() {
                Some(node) => {
                    self.count(node.weight, at)?;
                    self.place(node, at)
                }
                None => Err((at, "an alias inside the very node that it stands for".to_owned())),
            },
            Event::DocumentStart(_) if self.documents.len() == DOCUMENTS => {
                Err((at, format!("more than {DOCUMENTS} documents")))
            }
            _ => Ok(()),
        }
    }

    fn open(&mut self, at: Position, anchor: usize, content: Content) -> Result<(), Fatal> {
        if self.open.len() == DEPTH {
            return Err((at, format!("nested deeper than {DEPTH}")));
        }
        self.open.push(Open { at, anchor, weight: 1, content });
        Ok(())
    }

    fn add(&mut self, node: Node, anchor: usize) -> Result<(), Fatal> {
        let at = node.at;
        self.count(1, at)?;
        let node = Rc::new(node);
        if anchor != 0 {
            self.anchors.insert(anchor, Rc::clone(&node));
        }
        self.place(node, at)
    }

    /// Counts nodes as they would be with every alias written out.
    fn count(&mut self, nodes: usize, at: Position) -> Result<(), Fatal> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > NODES {
            return Err((at, format!("more than {NODES} values, aliases counted each time they stand")));
        }
        Ok(())
    }

    /// Puts a complete node where it belongs: into the innermost open list or map, or as a document.
    fn place(&mut self, node: Rc<Node>, at: Position) -> Result<(), Fatal> {
        let Some(parent) = self.open.last_mut() else {
            self.documents.push(node);
            return Ok(());
        };
        parent.weight += node.weight;
        let mut problem = None;
        match &mut parent.content {
            Content::List(list) => list.push(node),
            Content::Map { entries, seen, key } => match key.take() {
                Some(Key::Named(name, at)) => entries.push(Entry { key: name, at, value: node }),
                Some(Key::Dropped) => {}
                None => match &node.value {
                    Value::Text(text) => match seen.entry(text.clone()) {
                        hash_map::Entry::Vacant(entry) => {
                            entry.insert(at.line);
                            *key = Some(Key::Named(text.clone(), at));
                        }
                        hash_map::Entry::Occupied(first) => {
                            problem = Some(format!("key {text:?} stands twice, first in line {}", first.get()));
                            *key = Some(Key::Dropped);
                        }
                    },
                    _ => {
                        problem = Some(format!("a key is a text, not {}", node.what()));
                        *key = Some(Key::Dropped);
                    }
                },
            },
        }
        if let Some(message) = problem {
            self.problem(at, message);
        }
        Ok(())
    }

    fn refuse_tag(&mut self, tag: Option<&Tag>, at: Position) {
        if let Some(tag) = tag.filter(|tag| !tag.is_yaml_core_schema()) {
            self.problem(at, format!("tags are not understood here: {tag}"));
        }
    }

    fn problem(&mut self, at: Position, message: String) {
        self.problems.push(Problem::new(Place { file: Arc::clone(self.file), position: Some(at) }, message));
    }
}

/// A file's text, or why there is none: it may be a directory, too large, not UTF-8.
fn text(path: &Path) -> Result<String, (Option<Position>, String)> {
    let failed = |error: std::io::Error| (None, format!("cannot be read: {error}"));
    // A named pipe would block on open, a device might never end.
    let kind = std::fs::metadata(path).map_err(failed)?;
    if kind.is_dir() {
        return Err((None, "is a directory, not a file".to_owned()));
    }
    if !kind.is_file() && path != Path::new(STANDARD_INPUT) {
        return Err((None, "is not a regular file".to_owned()));
    }
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(SIZE + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > SIZE {
        return Err((None, format!("is larger than {} bytes, too large for a configuration", SIZE)));
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let good = String::from_utf8_lossy(good);
        let line = good.matches('\n').count() as u32 + 1;
        let column = good.rsplit('\n').next().unwrap_or_default().chars().count() as u32 + 1;
        (Some(Position { line, column }), "is not UTF-8 from here on".to_owned())
    })
}

fn position(marker: Marker) -> Position {
    Position { line: marker.line() as u32, column: marker.col() as u32 + 1 }
}

/// The tab that an error is about: the parser may tell where the value before it begins, or what stands behind it.
fn tab(text: &str, told: Position) -> Option<Position> {
    // YAML 1.2 section 5.4: a carriage return alone ends a line too.
    let text = text.replace("\r\n", "\n");
    let mut lines = text.split(['\n', '\r']).zip(1..).skip(told.line.saturating_sub(1) as usize);
    let (first, _) = lines.next()?;
    if let Some((_, column)) = first.chars().zip(1..=told.column).filter(|(c, _)| *c == '\t').last() {
        return Some(Position { line: told.line, column });
    }
    lines.find_map(|(text, line)| {
        let (_, column) =
            text.chars().zip(1..).take_while(|(c, _)| matches!(c, ' ' | '\t')).find(|(c, _)| *c == '\t')?;
        Some(Position { line, column })
    })
}

/// A ConfigMap holds no more than this either.
const SIZE: u64 = 1 << 20;
/// Conditions nest 32 deep, two levels each.
const DEPTH: usize = 100;
const NODES: usize = 1 << 17;
const DOCUMENTS: usize = 1024;
const STANDARD_INPUT: &str = "/dev/stdin";

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (Option<Vec<Rc<Node>>>, Vec<String>) {
        let mut problems = Vec::new();
        let documents = parse(text, &"f".into(), &mut problems);
        (documents, problems.iter().map(Problem::to_string).collect())
    }

    fn problems(text: &str) -> Vec<String> {
        parsed(text).1
    }

    #[test]
    fn every_node_knows_its_line_and_column() {
        let (documents, problems) = parsed("# é\na: 1\nbé:\n  - x\n  - {c: ü, d: [1, 2]}\n---\n\"q\": ~\n");
        assert!(problems.is_empty());
        let documents = documents.unwrap();
        assert_eq!(documents.len(), 2);
        let at = |node: &Node| (node.at.line, node.at.column);
        assert_eq!(at(documents[0].find("a").unwrap()), (2, 4));
        let Value::List(list) = &documents[0].find("bé").unwrap().value else { panic!("no list") };
        assert_eq!(at(&list[0]), (4, 5));
        let inner = list[1].find("d").unwrap();
        assert_eq!(at(inner), (5, 15));
        let Value::Map(entries) = &list[1].value else { panic!("no map") };
        assert_eq!((entries[1].at.line, entries[1].at.column), (5, 12));
        assert!(documents[1].find("q").unwrap().is_null());
        assert_eq!(at(documents[1].find("q").unwrap()), (7, 6));
    }

    #[test]
    fn lines_of_a_file_from_elsewhere_are_counted_as_an_editor_does() {
        assert_eq!(
            problems("\u{feff}a: 1\r\nb:\r\n  c: 1\r\n  c: 2\r\n"),
            ["f:4:3: key \"c\" stands twice, first in line 3"]
        );
    }

    #[test]
    fn quoted_words_are_texts_and_empty_ones_are_nothing() {
        let (documents, _) = parsed("a:\nb: ''\nc: 'null'\nd: null\ne: ~\n");
        let document = &documents.unwrap()[0];
        let nulls: Vec<bool> = ["a", "b", "c", "d", "e"].map(|key| document.find(key).unwrap().is_null()).to_vec();
        assert_eq!(nulls, [true, false, false, true, true]);
    }

    #[test]
    fn keys_that_stand_twice_or_are_no_texts_are_named() {
        assert_eq!(
            problems("a: 1\nb:\n  c: 1\n  c: {x: 2}\na: 3\n"),
            ["f:4:3: key \"c\" stands twice, first in line 3", "f:5:1: key \"a\" stands twice, first in line 1",]
        );
        assert_eq!(problems("[1]: 2\n"), ["f:1:1: a key is a text, not a list"]);
        assert_eq!(problems("a: !thing 1\n"), ["f:1:4: tags are not understood here: !thing"]);
    }

    #[test]
    fn what_is_not_yaml_is_named_with_its_place() {
        for (text, start) in [
            ("a: [1, 2\nb: 3\n", "f:2:"),
            ("a: b: c\n", "f:1:"),
            ("a:\n\t- b\n", "f:2:1:"),
            ("a: x\n\tb: {}\n", "f:2:1:"),
            ("a: x\nb: y\n\tc: {}\n", "f:3:1:"),
            ("a: b\tc\n\n\td: {}\n", "f:3:1:"),
            ("a: \"x\n\ty\"\n", "f:2:1:"),
            ("z: x\ra: x\r\n\r\n\tb: {}\r\n", "f:4:1:"),
            ("a: |\n\tx\n", "f:2:1:"),
            ("\"abc\n", "f:"),
            ("a: *nowhere\n", "f:1:4"),
            ("%YAML 9\n", "f:"),
            ("}", "f:1:1"),
        ] {
            let found = problems(text);
            assert_eq!(found.len(), 1, "{text:?}: {found:?}");
            assert!(found[0].starts_with(start), "{text:?}: {found:?}");
        }
    }

    #[test]
    fn aliases_stand_for_their_node_but_never_for_a_node_around_them() {
        let (documents, _) = parsed("a: &x {k: [1, 2]}\nb: *x\n");
        let document = &documents.unwrap()[0];
        assert!(Rc::ptr_eq(document.find("a").unwrap(), document.find("b").unwrap()));
        assert_eq!(problems("a: &x\n  b: *x\n"), ["f:2:6: an alias inside the very node that it stands for"]);
        assert_eq!(problems("&x [1, *x]\n"), ["f:1:8: an alias inside the very node that it stands for"]);
    }

    #[test]
    fn a_billion_laughs_are_refused_at_the_alias_that_is_too_much() {
        let mut text = "l0: &l0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]\n".to_owned();
        for level in 1..30 {
            let below = level - 1;
            text += &format!("l{level}: &l{level} [{}]\n", vec![format!("*l{below}"); 10].join(", "));
        }
        let found = problems(&text);
        assert_eq!(found.len(), 1);
        assert!(found[0].contains("more than 131072 values"), "{found:?}");
        assert!(found[0].starts_with("f:5:") || found[0].starts_with("f:6:"), "{found:?}");
    }

    #[test]
    fn depth_and_number_of_nodes_are_bounded() {
        assert!(problems(&format!("{}1{}", "[".repeat(101), "]".repeat(101)))[0].contains("nested deeper than 100"));
        assert_eq!(problems(&"[".repeat(1000)), ["f:1:256: not YAML: recursion limit exceeded"]);
        assert!(problems(&"- ".repeat(1000))[0].contains("nested deeper than 100"));
        let deep: String = (0..200).map(|level| format!("{}a:\n", " ".repeat(level))).collect();
        assert!(problems(&deep)[0].contains("nested deeper than 100"));
        assert!(problems(&"- 1\n".repeat(200_000))[0].contains("more than 131072 values"));
        assert!(problems(&"--- 1\n".repeat(2000))[0].contains("more than 1024 documents"));
    }

    #[test]
    fn hostile_shapes_come_to_an_end() {
        let full = |unit: &str| unit.repeat(SIZE as usize / 4 / unit.len());
        for text in [
            full("["),
            full("{"),
            full("? "),
            full("- "),
            full("a: {"),
            full("\"\\u0000"),
            full("&a "),
            full("*a "),
            full("!"),
            full("|\n"),
            full("a:\n"),
            full("'"),
            full("#"),
            full(" "),
            full("\t"),
            full("\n"),
            full("a, "),
            format!("[{}", full("a,")),
            format!("{{{}", full("a: b,")),
            format!("a: >\n{}", full("  x\n\n")),
            format!("a: \"{}", full("x\n")),
            full("%TAG ! !\n"),
            full("[]"),
            full("\u{feff}"),
        ] {
            parsed(&text);
        }
    }
}
