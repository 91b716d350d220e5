//! The command line: arguments to a command, a command to an exit code. Results go to standard
//! output, everything else to standard error.

pub mod agent;
pub mod check;
pub mod doctor;
pub mod expression;
pub mod metrics;
pub mod run;
pub mod task_argument;
pub mod tasks;

use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::Problem;

/// How a command ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    /// Ended in order; a closed pipe on standard output too.
    Done = 0,
    /// The configuration is wrong.
    Configuration = 1,
    /// The arguments are wrong.
    Usage = 2,
    /// The kernel or the privileges do not allow it.
    Kernel = 3,
    /// A directive failed while running (`run`).
    Failed = 4,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// Reads the arguments, runs the command and says how it ended. Wrong arguments end the process with 2.
pub fn main() -> Exit {
    let arguments = Arguments::parse();
    let mut logger = env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("info"));
    if let Some(level) = arguments.log_level {
        logger.filter_level(level);
    }
    logger.init();
    crate::kernel::messages::capture();
    match arguments.command {
        Command::Agent(arguments) => agent::main(&arguments),
        Command::Run(arguments) => run::main(&arguments),
        Command::Check(arguments) => check::main(&arguments),
        Command::Doctor(arguments) => doctor::main(&arguments),
        Command::Tasks(arguments) => tasks::main(&arguments),
        Command::Metrics => metrics::main(),
    }
}

/// What the Linux kernel knows of processes, sockets and packets, as records and Prometheus metrics.
#[derive(Parser)]
#[command(name = "tawon", version, max_term_width = 100, after_help = AFTER_HELP)]
struct Arguments {
    /// Log this and what is worse: off, error, warn, info, debug, trace [default: RUST_LOG, else info].
    #[arg(long, global = true, value_name = "LEVEL")]
    log_level: Option<log::LevelFilter>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Agent(agent::Arguments),
    Run(run::Arguments),
    Check(check::Arguments),
    Doctor(doctor::Arguments),
    Tasks(tasks::Arguments),
    /// List the metrics: name, type, labels, meaning.
    #[command(after_help = "Examples:\n  tawon metrics\n  tawon metrics | grep flow_")]
    Metrics,
}

const AFTER_HELP: &str = "\
Examples:
  tawon run -t exec                          every process that starts or ends, until Ctrl-C
  tawon run -t flows --if process.name=nginx --duration 30s
  tawon check /etc/tawon/tawon.yaml          every mistake, each with file:line:column
  tawon doctor                               what this kernel and the privileges allow
  tawon agent --config /etc/tawon/tawon.yaml the daemon

Exit codes:
  0  ended in order        3  the kernel or the privileges do not allow it
  1  configuration wrong   4  a directive failed while running (run)
  2  usage";

/// Writes a command's result to standard output. A closed pipe is in order: who reads has enough.
pub fn print(text: &str) -> Exit {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            tell(&format!("tawon: standard output: {error}\n"));
            Exit::Failed
        }
        _ => Exit::Done,
    }
}

/// Writes lines to standard error. What cannot be written is nobody's to hear; the exit code still says it.
pub fn tell(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// Tells what is wrong on standard error, each on a line of its own.
pub fn refuse(problems: &[Problem], exit: Exit) -> Exit {
    problems.iter().for_each(|problem| tell(&format!("{}: error: {}\n", problem.place, problem.message)));
    exit
}

/// Tells warnings on standard error.
pub fn warn(warnings: &[Problem]) {
    warnings.iter().for_each(|problem| tell(&format!("{}: warning: {}\n", problem.place, problem.message)));
}

/// Lines of columns, each as wide as its widest cell; the last is left as it is.
fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line += &format!("{cell:<width$}  ");
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}
