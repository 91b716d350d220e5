//! `tawon tasks`: the tasks and their options, from the table that the parser uses.

use clap::Args;

use super::{Exit, print, table, tell};
use crate::config::{problem, units};
use crate::task::options::REQUIRED;
use crate::task::{self, Kind, Opt, Spec, Stage, TASKS, Type, schema};

/// List the tasks, or show one with its options, defaults and record types.
#[derive(Args)]
#[command(after_help = "Examples:
  tawon tasks
  tawon tasks flows
  tawon tasks h2 --schema                    JSON Schema of the records that h2 gives
  tawon tasks --schema                       JSON Schema of a line, whatever its records")]
pub struct Arguments {
    /// One task.
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Print the JSON Schema (draft 2020-12) of the task's records; without NAME of a whole line.
    #[arg(long)]
    schema: bool,
}

pub fn main(arguments: &Arguments) -> Exit {
    let Some(name) = &arguments.name else {
        return match arguments.schema {
            true => print(&format!("{:#}\n", schema::line(&all_kinds()))),
            false => print(&overview()),
        };
    };
    let Some(spec) = task::find(name) else {
        let hint = problem::suggestion(name, TASKS.iter().map(|spec| spec.name));
        tell(&format!("tawon: unknown task {name:?}{hint}\n"));
        return Exit::Usage;
    };
    if !arguments.schema {
        return print(&details(spec));
    }
    match spec.emits.first().map(|kind| schema::record(*kind)) {
        Some(Some(schema)) => print(&format!("{:#}\n", schema.as_value())),
        Some(None) => {
            tell(&format!("tawon: the schema of the records of {name} is not written down\n"));
            Exit::Usage
        }
        None => {
            tell(&format!("tawon: {name} gives no records of its own\n"));
            Exit::Usage
        }
    }
}

/// The record types that the tasks of this build give.
fn all_kinds() -> Vec<Kind> {
    let mut kinds: Vec<Kind> = TASKS.iter().flat_map(|spec| spec.emits).copied().collect();
    kinds.dedup();
    kinds
}

fn overview() -> String {
    let row = |cells: [&str; 5]| cells.map(str::to_owned).to_vec();
    let mut rows = vec![row(["TASK", "STAGE", "TAKES", "GIVES", "WHAT IT DOES"])];
    rows.extend(TASKS.iter().map(|spec| row([spec.name, stage(spec), &takes(spec), &kinds(spec.emits), spec.help])));
    table(&rows)
}

fn details(spec: &Spec) -> String {
    let mut text = format!("{}: {}\n\n", spec.name, spec.help);
    let mut facts = vec![vec!["stage".to_owned(), stage(spec).to_owned()]];
    facts.push(vec!["takes".to_owned(), takes(spec)]);
    facts.push(vec!["gives".to_owned(), kinds(spec.emits)]);
    if spec.needs_condition {
        facts.push(vec!["condition".to_owned(), "required".to_owned()]);
    }
    text += &table(&facts);
    if spec.options.is_empty() {
        return text + "\nNo options.\n";
    }
    let mut rows = vec![["OPTION", "VALUE", "DEFAULT", "MEANING"].map(str::to_owned).to_vec()];
    rows.extend(spec.options.iter().map(|option| {
        vec![option.name.to_owned(), form(option.ty), default(option).to_owned(), option.help.to_owned()]
    }));
    text + "\n" + &table(&rows)
}

fn stage(spec: &Spec) -> &'static str {
    match spec.stage() {
        Stage::Source => "source",
        Stage::Processing => "processing",
        Stage::Destination => "destination",
    }
}

fn takes(spec: &Spec) -> String {
    match spec.stage() {
        Stage::Destination if spec.accepts.is_empty() => "all".to_owned(),
        _ => kinds(spec.accepts),
    }
}

fn kinds(kinds: &[Kind]) -> String {
    let names: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
    if names.is_empty() { "-".to_owned() } else { names.join(", ") }
}

fn default(option: &Opt) -> &'static str {
    match option.default {
        "" => "-",
        REQUIRED => "required",
        text => text,
    }
}

/// What an option's text may be.
fn form(ty: Type) -> String {
    match ty {
        Type::Bool => "true|false".to_owned(),
        Type::Count { min, max } => format!("number {min}..{max}"),
        Type::Size { min, max } => format!("size {}..{}", units::size_text(min), units::size_text(max)),
        Type::Duration { min, max } => {
            format!("duration {}..{}", units::duration_text(min), units::duration_text(max))
        }
        Type::Text => "text".to_owned(),
        Type::Path => "path".to_owned(),
        Type::Choice(choices) => choices.join("|"),
        Type::Filter => "filter".to_owned(),
        Type::PcapFilter => "pcap filter".to_owned(),
        Type::Ports => "ports, a+b".to_owned(),
        Type::Words => "words, a+b".to_owned(),
        Type::Regex => "regular expression".to_owned(),
        Type::Meta => "groups, a+b".to_owned(),
    }
}
