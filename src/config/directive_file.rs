//! Files of directives: one, a list, several documents, and `Directive` or `ClusterDirective` objects
//! as they stand in a cluster.

use super::Directive;
use super::keys::{self, names};
use super::pipeline::{self, Origin, dns_subdomain};
use super::problem::Position;
use super::raw::{Node, Value};
use super::read::{Map, Reader};

/// A directive and where its name stands.
pub struct Placed {
    pub directive: Directive,
    pub at: Position,
}

/// The name of a directive that may itself be wrong, and where it stands.
pub struct Declared {
    pub name: String,
    pub at: Position,
}

/// Reads all directives of a document. What is wrong is in the reader.
pub fn document(reader: &mut Reader, node: &Node, to: &mut Vec<Placed>) {
    match &node.value {
        Value::Null => {}
        Value::List(list) => list.iter().for_each(|item| one(reader, item, to)),
        _ if node.find("kind").and_then(|kind| kind.text()) == Some("List") => items(reader, node, to),
        _ => one(reader, node, to),
    }
}

/// The names of a document's directives as far as they can be read, of those that are wrong too.
pub fn declared(node: &Node, to: &mut Vec<Declared>) {
    let mut name = |node: &Node| {
        let metadata = node.find("metadata");
        let Some(written) = metadata.map_or_else(|| node.find("name"), |metadata| metadata.find("name")) else {
            return;
        };
        let namespace = metadata.and_then(|metadata| metadata.find("namespace")).and_then(|name| name.text());
        let name = match (namespace, written.text()) {
            (Some(namespace), Some(name)) => format!("{namespace}/{name}"),
            (None, Some(name)) => name.to_owned(),
            (_, None) => return,
        };
        if name.len() <= 2 * 253 {
            to.push(Declared { name, at: written.at });
        }
    };
    match (&node.value, node.find("items").map(|items| &items.value)) {
        (Value::List(list), _) | (_, Some(Value::List(list))) => list.iter().for_each(|item| name(item)),
        _ => name(node),
    }
}

/// Whether a document is meant as directives rather than as a configuration.
pub fn looks_like_directives(node: &Node) -> bool {
    matches!(node.value, Value::List(_))
        || ["name", "tasks", "task", "condition", "apiVersion", "kind", "metadata", "spec"]
            .iter()
            .any(|key| node.find(key).is_some())
}

/// A `List`, as `kubectl get -o yaml` writes several objects.
fn items(reader: &mut Reader, node: &Node, to: &mut Vec<Placed>) {
    let Some(map) = reader.map(node, "a List", keys::LIST) else { return };
    word(reader, map, "a List", "apiVersion", &["v1"]);
    let Some(items) = map.find("items") else { return reader.problem(map.at(), "a List without items") };
    for item in reader.list(items, "items", false).unwrap_or_default() {
        one(reader, item, to);
    }
}

fn one(reader: &mut Reader, node: &Node, to: &mut Vec<Placed>) {
    let is_object = ["apiVersion", "kind", "metadata", "spec"].iter().any(|key| node.find(key).is_some());
    let directive = if is_object { object(reader, node) } else { pipeline::directive(reader, node) };
    let name = node.find("metadata").and_then(|metadata| metadata.find("name")).or_else(|| node.find("name"));
    let at = name.map_or(node.at, |name| name.at);
    to.extend(directive.map(|directive| Placed { directive, at }));
}

fn object(reader: &mut Reader, node: &Node) -> Option<Directive> {
    let map = reader.map(node, "an object", keys::OBJECT)?;
    let version = word(reader, map, "an object", "apiVersion", &[API_VERSION]);
    let kind = word(reader, map, "an object", "kind", &["Directive", "ClusterDirective"]);
    let (name, namespace) = match map.find("metadata") {
        Some(metadata) => identity(reader, metadata, kind == Some("ClusterDirective")),
        None => {
            reader.problem(map.at(), "an object without metadata");
            (None, None)
        }
    };
    let Some(spec) = map.find("spec") else {
        reader.problem(map.at(), "an object without spec");
        return None;
    };
    warn_of_cluster_keys(reader, spec);
    let directive_keys = names(keys::DIRECTIVE).filter(|key| *key != "name");
    let known: Vec<&str> = directive_keys.chain(keys::CLUSTER_ONLY.iter().copied()).collect();
    let spec = reader.map(spec, "spec", &known)?;
    let key = name.map(|name| match &namespace {
        Some(namespace) => format!("{namespace}/{name}"),
        None => name,
    });
    let origin = namespace.as_deref().map_or(Origin::Node, Origin::Namespace);
    let directive = pipeline::body(reader, spec, key, origin);
    version.and(kind).and(directive)
}

/// One of the words that a key may have.
fn word<'n>(reader: &mut Reader, map: Map<'n>, what: &str, key: &str, known: &[&str]) -> Option<&'n str> {
    let Some(node) = map.find(key) else {
        reader.problem(map.at(), format!("{what} without {key}"));
        return None;
    };
    let text = reader.text(node, key)?;
    if !known.contains(&text) {
        reader.problem(node.at, format!("{key}: expected {}, found {text:?}", known.join(" or ")));
        return None;
    }
    Some(text)
}

/// Name and namespace. Whatever else an API server puts into metadata is none of ours.
fn identity(reader: &mut Reader, metadata: &Node, cluster: bool) -> (Option<String>, Option<String>) {
    if !matches!(metadata.value, Value::Map(_)) {
        reader.problem(metadata.at, format!("metadata: expected a map, found {}", metadata.what()));
        return (None, None);
    }
    let mut part = |key: &str| {
        let node = metadata.find(key).filter(|node| !node.is_null())?;
        Some(reader.parsed(node, &format!("metadata.{key}"), dns_subdomain))
    };
    let (name, namespace) = (part("name"), part("namespace"));
    if name.is_none() {
        reader.problem(metadata.at, "metadata without a name");
    }
    if cluster && let (Some(_), Some(node)) = (&namespace, metadata.find("namespace")) {
        reader.problem(node.at, "a ClusterDirective has no namespace");
    }
    (name.flatten(), namespace.flatten())
}

fn warn_of_cluster_keys(reader: &mut Reader, spec: &Node) {
    let Value::Map(entries) = &spec.value else { return };
    let ignored: Vec<_> = entries.iter().filter(|entry| keys::CLUSTER_ONLY.contains(&entry.key.as_str())).collect();
    if let Some(first) = ignored.first() {
        let names: Vec<&str> = ignored.iter().map(|entry| entry.key.as_str()).collect();
        reader.warn(first.at, format!("ignored, since it only makes sense in a cluster: {}", names.join(", ")));
    }
}

/// Group and version of the objects.
pub const API_VERSION: &str = "tawon.mantisnet.com/v1alpha1";
