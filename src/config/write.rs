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
    let text = serde_yaml::to_string(&map).unwrap_or_default();
    if !text.contains(SEPARATORS) {
        return text;
    }
    // Line breaks to YAML 1.1, by which it is written, and none to 1.2, by which it is read: as JSON, which
    // is YAML too, with their escapes.
    let text = serde_json::to_string_pretty(&map).unwrap_or_default();
    SEPARATORS.iter().fold(text, |text, &c| text.replace(c, &format!("\\u{:04x}", u32::from(c)))) + "\n"
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

/// LINE SEPARATOR and PARAGRAPH SEPARATOR.
const SEPARATORS: [char; 2] = ['\u{2028}', '\u{2029}'];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::condition::Field;
    use crate::config::read::Reader;
    use crate::config::{pipeline, raw};

    fn read(text: &str) -> Option<Directive> {
        let mut reader = Reader::new("f".into());
        let documents = raw::parse(text, &"f".into(), &mut reader.problems)?;
        let directive = pipeline::directive(&mut reader, documents.first()?);
        directive.filter(|_| reader.problems.is_empty() && documents.len() == 1)
    }

    #[test]
    fn texts_of_all_characters_come_back_as_they_were() {
        let plain = read("{name: a, tasks: [{task: exec}, {task: log}]}").expect("a directive");
        let ranges = [1..0x180, 0x2000..0x2070, 0xd7f0..0xe010, 0xfef0..0xff10, 0xfff0..0x1_0010];
        for c in ranges.into_iter().flatten().filter_map(char::from_u32) {
            for value in ["{c}", "a{c}b", "{c} a", "a {c}", "{c}{c}\n", "{c}\u{2028}{c}", " \u{2029}\n{c}"] {
                let value = value.replace("{c}", &c.to_string());
                let condition = Some(Condition::Equal(Field::Exe, value.clone()));
                let wanted = Directive { condition, ..plain.clone() };
                assert_eq!(read(&directive(&wanted)), Some(wanted), "{value:?}");
            }
        }
    }
}
