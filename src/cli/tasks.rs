//! `tawon tasks`: the tasks and their options, from the table that the parser uses.

use clap::Args;

use super::{Exit, print, table};
use crate::config::{problem, units};
use crate::task::options::REQUIRED;
use crate::task::{self, Kind, Opt, Spec, Stage, TASKS, Type};

/// List the tasks, or show one with its options, defaults and record types.
#[derive(Args)]
#[command(after_help = "Examples:
  tawon tasks
  tawon tasks flows")]
pub struct Arguments {
    /// One task.
    #[arg(value_name = "NAME")]
    name: Option<String>,
}

pub fn main(arguments: &Arguments) -> Exit {
    let Some(name) = &arguments.name else { return print(&overview()) };
    match task::find(name) {
        Some(spec) => print(&details(spec)),
        None => {
            let hint = problem::suggestion(name, TASKS.iter().map(|spec| spec.name));
            eprintln!("tawon: unknown task {name:?}{hint}");
            Exit::Usage
        }
    }
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
