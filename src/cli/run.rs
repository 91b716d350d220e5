//! `tawon run`: one temporary directive in the foreground. Here its arguments become a directive.

use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use clap::Args;

use super::{Exit, expression, print, refuse, task_argument, tell, warn};
use crate::agent::summary::Failure;
use crate::agent::{Agent, Setup};
use crate::config::files::Loaded;
use crate::config::pipeline::{self, Origin};
use crate::config::problem::{Place, Position};
use crate::config::raw::{Node, Value};
use crate::config::read::{self, Reader};
use crate::config::{Condition, Config, Directive, Problem, files, main_file, write};
use crate::task::{self, Stage};

/// Run one temporary directive in the foreground, until its time is over or Ctrl-C.
///
/// Records go to standard output, one JSON object each; progress and a summary of counts and losses
/// go to standard error. Without a destination, log is added.
#[derive(Args)]
#[command(after_help = "A task is NAME[:KEY=VALUE[,KEY=VALUE...]]; a value with a comma is quoted, '...' or \"...\".
A condition takes field=value, field~regex, and, or, not and parentheses; `tawon tasks` lists tasks.

Examples:
  tawon run -t exec --duration 30s
  tawon run -t flows:filter='port 443 and not net 10.0.0.0/8',interval=10s
  tawon run -t flows --if 'process.name~^(amf|smf)$ and not process.uid=0'
  tawon run -t flows -t log:format=text
  tawon run -t flows --print > directives.d/flows.yaml    the same as a directive for the agent
  tawon run -f directives.d/flows.yaml")]
pub struct Arguments {
    /// A task of the pipeline, in order: a source, processing tasks, destinations.
    #[arg(
        short,
        long = "task",
        value_name = "NAME[:KEY=VALUE,...]",
        required_unless_present = "file",
        conflicts_with = "file"
    )]
    task: Vec<String>,
    /// Which processes it is for; all without.
    #[arg(long = "if", value_name = "CONDITION", conflicts_with = "file")]
    condition: Option<String>,
    /// Run the directive of a file instead.
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// How long it runs, as in 300ms, 30s, 5m or 2h.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    duration: Option<Duration>,
    /// Take everything of this configuration but its directives.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print it as a directive for a file, and do not run it.
    #[arg(long)]
    print: bool,
}

/// What is to be run: settings with the one directive in them.
#[derive(Clone, PartialEq, Debug)]
pub struct Request {
    /// Without `--config` the defaults, and nothing listens.
    pub config: Config,
    pub warnings: Vec<Problem>,
}

impl Request {
    /// The directive that is to be run.
    pub fn directive(&self) -> Option<&Directive> {
        self.config.directives.first()
    }
}

pub fn main(arguments: &Arguments) -> Exit {
    let request = match request(arguments) {
        Ok(request) => request,
        Err((problems, exit)) => return refuse(&problems, exit),
    };
    warn(&request.warnings);
    if let Some(directive) = request.directive().filter(|_| arguments.print) {
        return print(&write::directive(directive));
    }
    execute(request)
}

/// Runs the directive to its end and tells on standard error what became of it.
fn execute(request: Request) -> Exit {
    let loaded = Loaded::from(request.config);
    let mut agent = match Agent::new(Setup { loaded, path: None, watch: false, single: true }) {
        Ok(agent) => agent,
        Err(error) => {
            tell(&format!("tawon: {error}\n"));
            return Exit::Kernel;
        }
    };
    if let Err(error) = agent.run() {
        tell(&format!("tawon: the event loop: {error}\n"));
        return Exit::Kernel;
    }
    let summary = agent.summary();
    tell(&summary.text);
    match summary.failure {
        None => Exit::Done,
        Some(Failure::Forbidden) => Exit::Kernel,
        Some(Failure::Running) => Exit::Failed,
    }
}

/// Arguments to what is to be run. The errors come with the exit code: arguments that are wrong are
/// a matter of usage, files that are wrong one of configuration.
pub fn request(arguments: &Arguments) -> Result<Request, (Vec<Problem>, Exit)> {
    let wrong = |problems| (problems, Exit::Configuration);
    let (mut directive, mut warnings) = match &arguments.file {
        Some(file) => {
            let (directives, warnings) = files::load_directives(file).map_err(wrong)?;
            match <[Directive; 1]>::try_from(directives) {
                Ok([directive]) => (directive, warnings),
                Err(several) => {
                    let place = Place { file: file.to_string_lossy().into(), position: None };
                    let message = format!("holds {} directives; run takes one", several.len());
                    return Err(wrong(vec![Problem::new(place, message)]));
                }
            }
        }
        None => from_arguments(arguments).map_err(|problems| (problems, Exit::Usage))?,
    };
    directive.enabled = true;
    directive.duration = arguments.duration.or(directive.duration);
    let mut config = match &arguments.config {
        Some(file) => {
            let settings = files::load_settings(file, &files::default_tawon_id()).map_err(wrong)?;
            warnings.extend(settings.warnings);
            settings.config
        }
        None => {
            let mut config = main_file::defaults(&files::default_tawon_id());
            config.metrics.listen.clear();
            config.probes.listen.clear();
            config
        }
    };
    config.directives = vec![directive];
    Ok(Request { config, warnings })
}

fn from_arguments(arguments: &Arguments) -> Result<(Directive, Vec<Problem>), Vec<Problem>> {
    let mut problems = Vec::new();
    let condition = arguments.condition.as_deref().and_then(|text| condition(text, &mut problems));
    let mut reader = Reader::new("-t".into());
    let mut tasks = Vec::new();
    for (index, argument) in arguments.task.iter().enumerate() {
        let at = reader.argument(format!("-t {argument}"));
        match task_argument::parse(argument, at) {
            Ok(task) => tasks.push(Rc::new(task)),
            Err(message) => reader.problem(at, message),
        }
        let name = argument.split(':').next().unwrap_or_default();
        let is_last = index + 1 == arguments.task.len();
        if is_last && task::find(name).is_some_and(|spec| spec.stage() != Stage::Destination) {
            tasks.extend(task_argument::parse("log", at).ok().map(Rc::new));
        }
    }
    let tasks = if reader.problems.is_empty() {
        let list = Node::new(Position::default(), Value::List(tasks));
        pipeline::tasks(&mut reader, &list, arguments.condition.is_some(), Origin::Node)
    } else {
        None
    };
    problems.append(&mut reader.problems);
    match tasks {
        Some(tasks) if problems.is_empty() => {
            let name = "run".to_owned();
            let directive =
                Directive { name, enabled: true, start_at: None, stop_at: None, duration: None, condition, tasks };
            Ok((directive, reader.warnings))
        }
        _ => Err(problems),
    }
}

fn condition(text: &str, problems: &mut Vec<Problem>) -> Option<Condition> {
    let mut reader = Reader::new("--if".into());
    let condition = match expression::parse(text) {
        Ok(node) => pipeline::condition(&mut reader, &node, 1),
        Err((at, message)) => {
            reader.problem(at, message);
            None
        }
    };
    problems.append(&mut reader.problems);
    condition
}

fn duration(text: &str) -> Result<Duration, String> {
    read::duration(text, *pipeline::DURATIONS.start(), *pipeline::DURATIONS.end())
}
