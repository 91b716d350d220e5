//! The JSON Schema (draft 07) of a configuration file, from the tables that the reader knows keys and
//! options by. It holds what a schema can say; rules between tasks are told by `tawon check` alone.

use serde_json::{Map, Value, json};

use super::condition::Field;
use super::keys::{self, Key, Shape};
use super::main_file::ring_sources;
use super::options;
use super::raw;
use crate::task::options::REQUIRED;
use crate::task::{Opt, TASKS, Type};

/// The schema of a configuration file. `definitions` holds what refers to itself.
pub fn config() -> Value {
    let mut schema = object(keys::CONFIG);
    schema["$schema"] = json!("http://json-schema.org/draft-07/schema#");
    schema["title"] = json!("Configuration of tawon");
    schema["definitions"] = json!({
        "condition": condition(),
        "directive": directive(),
        "task": task(),
    });
    schema
}

fn object(keys: &[Key]) -> Value {
    let mut properties = Map::new();
    for key in keys {
        let mut schema = shape(key.shape);
        schema["description"] = json!(key.help);
        if let Some(default) = default(key.default) {
            schema["default"] = default;
        }
        properties.insert(key.name.to_owned(), schema);
    }
    json!({"type": ["object", "null"], "additionalProperties": false, "properties": properties})
}

fn shape(shape: Shape) -> Value {
    let listen = json!({"type": "string", "pattern": "^.*:[0-9]{1,5}$"});
    match shape {
        Shape::Of(ty) => value(ty),
        Shape::Listen => json!({"anyOf": [listen, {"type": "array", "items": listen, "maxItems": 16}]}),
        Shape::Words | Shape::Networks => {
            json!({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]})
        }
        Shape::Quantiles => json!({"type": "array", "items": {"anyOf": [
            {"type": "number", "minimum": 0, "maximum": 1}, {"type": "string", "pattern": "^[0-9.]+$"}]}}),
        Shape::PerfBufferPages => {
            let pages = json!({"anyOf": [{"const": "auto"}, digits(1, 1 << 16)]});
            let sources: Map<String, Value> = ring_sources().map(|source| (source.to_owned(), pages.clone())).collect();
            json!({"anyOf": [pages, {"type": "object", "additionalProperties": false, "properties": sources}]})
        }
        Shape::Memory => {
            json!({"anyOf": [{"type": "string", "pattern": "^([0-9]+%|[0-9]+([KMGT]i)?)$"}, {"type": "integer", "minimum": 1 << 20}]})
        }
        Shape::Time => json!({"type": "string", "format": "date-time"}),
        Shape::Map(keys) => object(keys),
        Shape::Directives => json!({"type": ["array", "null"], "items": {"$ref": "#/definitions/directive"}}),
        Shape::Condition => json!({"allOf": [{"$ref": "#/definitions/condition"}]}),
        Shape::Tasks => json!({"type": "array", "minItems": 2, "items": {"$ref": "#/definitions/task"}}),
    }
}

/// What an option may be: the YAML type itself, or a text that says the same.
fn value(ty: Type) -> Value {
    let scalar = json!(["string", "number", "boolean", "null"]);
    let words = json!({"type": ["string", "integer", "array", "null"], "items": {"type": ["string", "integer"]}});
    match ty {
        Type::Bool => {
            json!({"anyOf": [{"type": "boolean"}, {"enum": ["true", "True", "TRUE", "false", "False", "FALSE", null]}]})
        }
        Type::Count { min, max } => digits(min, max),
        Type::Size { min, max } => {
            json!({"anyOf": [{"type": "integer", "minimum": min, "maximum": max}, {"type": "string", "pattern": "^[0-9]+([KMGT]i)?$"}, {"type": "null"}]})
        }
        Type::Duration { .. } => json!({"type": ["string", "null"], "pattern": "^[0-9]+(ms|s|m|h)$"}),
        Type::Choice(choices) => {
            let choices: Vec<Value> =
                choices.iter().map(|choice| json!(choice)).chain([json!(""), Value::Null]).collect();
            json!({"enum": choices})
        }
        Type::Ports | Type::Words | Type::Meta => words,
        Type::Text | Type::Path | Type::Filter | Type::PcapFilter | Type::Regex => json!({"type": scalar}),
    }
}

fn digits(min: u64, max: u64) -> Value {
    json!({"anyOf": [{"type": "integer", "minimum": min, "maximum": max}, {"type": "string", "pattern": "^[0-9]+$"}, {"type": "null"}]})
}

/// A default as the value that YAML makes of its text.
fn default(text: &str) -> Option<Value> {
    let documents = raw::parse(text, &"".into(), &mut Vec::new())?;
    fn convert(node: &raw::Node) -> Value {
        match &node.value {
            raw::Value::Null => Value::Null,
            raw::Value::List(list) => list.iter().map(|node| convert(node)).collect(),
            raw::Value::Map(entries) => {
                entries.iter().map(|entry| (entry.key.clone(), convert(&entry.value))).collect::<Map<_, _>>().into()
            }
            raw::Value::Text(text) => match text.as_str() {
                "true" => json!(true),
                "false" => json!(false),
                text => text
                    .parse::<u64>()
                    .map(Value::from)
                    .or_else(|_| text.parse::<f64>().map(Value::from))
                    .unwrap_or_else(|_| json!(text)),
            },
        }
    }
    documents.first().map(|node| convert(node))
}

fn directive() -> Value {
    let mut schema = object(keys::DIRECTIVE);
    schema["type"] = json!("object");
    schema["required"] = json!(["name", "tasks"]);
    schema["properties"]["name"]["pattern"] =
        json!("^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$");
    schema["properties"]["name"]["maxLength"] = json!(253);
    schema
}

fn condition() -> Value {
    let fields: Vec<&str> = Field::ALL.iter().map(|(name, _)| *name).collect();
    let compare = |key: &str| {
        json!({"type": "object", "additionalProperties": false, "required": ["field", key], "properties": {
            "field": {"enum": fields}, key: {"type": ["string", "number", "boolean"]}}})
    };
    let inner = json!({"$ref": "#/definitions/condition"});
    let list = json!({"type": "array", "minItems": 1, "items": inner});
    json!({"type": "object", "additionalProperties": false, "minProperties": 1, "maxProperties": 1, "properties": {
        "equal": compare("value"), "regex": compare("regex"), "and": list, "or": list, "not": inner}})
}

fn task() -> Value {
    let names: Vec<&str> = TASKS.iter().map(|spec| spec.name).collect();
    let configs: Vec<Value> = TASKS
        .iter()
        .map(|spec| {
            let mut then = json!({"properties": {"config": options_of(spec.options)}});
            if spec.options.iter().any(|option| option.default == REQUIRED) {
                then["required"] = json!(["config"]);
            }
            json!({"if": {"properties": {"task": {"const": spec.name}}}, "then": then})
        })
        .collect();
    json!({"type": "object", "additionalProperties": false, "required": ["task"], "allOf": configs, "properties": {
        "task": {"enum": names}, "config": {"type": ["object", "null"]}}})
}

fn options_of(table: &[Opt]) -> Value {
    let properties: Map<String, Value> = table
        .iter()
        .map(|option| {
            let mut schema = value(option.ty);
            schema["description"] = json!(option.help);
            if option.default == REQUIRED {
                schema["minLength"] = json!(1);
            }
            if let Ok(Some(_)) = options::default(option) {
                schema["default"] = default(option.default).unwrap_or_default();
            }
            (option.name.to_owned(), schema)
        })
        .collect();
    let required: Vec<&str> =
        table.iter().filter(|option| option.default == REQUIRED).map(|option| option.name).collect();
    json!({"type": ["object", "null"], "additionalProperties": false, "required": required, "properties": properties})
}
