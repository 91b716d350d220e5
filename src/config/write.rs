//! Writes a directive as YAML that reads back as the same directive.

use serde_yaml::{Mapping, Value as Yaml};

use super::condition::Condition;
use super::{Directive, TaskConfig, options, units};
use crate::task::Value;

/// A directive as it would stand in a file of `directives.d`. Options that have their default are left out.
/// A namespace in the name becomes a part of it, since a file's directives have none.
pub fn directive(directive: &Directive) -> String {
    let mut map = Mapping::new();
    let mut set = |key: &str, value: Yaml| map.insert(key.into(), value);
    let name = directive.name.replace('/', ".");
    let name = if name.len() > 253 { directive.name.rsplit('/').next().unwrap_or_default() } else { &name };
    set("name", name.into());
    if !directive.enabled {
        set("enabled", false.into());
    }
    for (key, time) in [("startAt", directive.start_at), ("stopAt", directive.stop_at)] {
        if let Some(time) = time {
            set(key, time.to_string().into());
        }
    }
    if let Some(duration) = directive.duration {
        set("duration", units::duration_text(duration).into());
    }
    if let Some(condition) = &directive.condition {
        set("condition", condition_value(condition));
    }
    set("tasks", Yaml::Sequence(directive.tasks.iter().map(task).collect()));
    // Strings, lists and maps of strings always can be written.
    serde_yaml::to_string(&map).unwrap_or_default()
}

fn task(task: &TaskConfig) -> Yaml {
    let mut config = Mapping::new();
    for option in task.spec.options {
        let value = task.options.iter().find(|(name, _)| *name == option.name).map(|(_, value)| value);
        let default = options::default(option).ok().flatten();
        if value != default.as_ref() {
            config.insert(option.name.into(), value.map_or_else(|| "".into(), option_value));
        }
    }
    let mut map = Mapping::from_iter([("task".into(), task.spec.name.into())]);
    if !config.is_empty() {
        map.insert("config".into(), config.into());
    }
    map.into()
}

fn option_value(value: &Value) -> Yaml {
    match value {
        Value::Bool(flag) => (*flag).into(),
        Value::Count(count) => (*count).into(),
        Value::Size(bytes) => units::size_text(*bytes).into(),
        Value::Duration(duration) => units::duration_text(*duration).into(),
        Value::Text(text) => text.as_str().into(),
        Value::Ports(ports) => Yaml::Sequence(ports.iter().map(|port| (*port).into()).collect()),
        Value::Words(words) => Yaml::Sequence(words.iter().map(|word| word.as_str().into()).collect()),
    }
}

fn condition_value(condition: &Condition) -> Yaml {
    let list = |conditions: &[Condition]| Yaml::Sequence(conditions.iter().map(condition_value).collect());
    let compare = |field: &str, key: &str, value: &str| {
        Mapping::from_iter([("field".into(), field.into()), (key.into(), value.into())]).into()
    };
    let (key, value): (&str, Yaml) = match condition {
        Condition::Equal(field, value) => ("equal", compare(field.name(), "value", value)),
        Condition::Regex(field, pattern) => ("regex", compare(field.name(), "regex", pattern.regex().as_str())),
        Condition::And(all) => ("and", list(all)),
        Condition::Or(any) => ("or", list(any)),
        Condition::Not(inner) => ("not", condition_value(inner)),
    };
    Mapping::from_iter([(key.into(), value)]).into()
}
