//! `tawon check`: what is wrong with files of configuration or of directives.

use std::path::PathBuf;

use clap::Args;

use super::{Exit, print};
use crate::config::{files, schema};

/// Validate configuration and directive files: every error, each with file:line:column.
///
/// A configuration is read with the directives.d beside it. Exits with 0, or with 1 where a file is
/// wrong or cannot be read; warnings do not change that.
#[derive(Args)]
#[command(after_help = "Examples:
  tawon check /etc/tawon/tawon.yaml
  tawon check directives.d/*.yaml
  tawon check --schema > tawon.schema.json   JSON Schema of a configuration, for editors")]
pub struct Arguments {
    /// Configurations, or files of directives.
    #[arg(value_name = "FILE", required_unless_present = "schema")]
    files: Vec<PathBuf>,
    /// Print the JSON Schema (draft 07) of a configuration instead.
    #[arg(long, conflicts_with = "files")]
    schema: bool,
}

pub fn main(arguments: &Arguments) -> Exit {
    if arguments.schema {
        return print(&format!("{:#}\n", schema::config()));
    }
    let (text, right) = report(&arguments.files);
    match print(&text) {
        Exit::Done if !right => Exit::Configuration,
        exit => exit,
    }
}

/// The findings of all files, and whether there is no error among them.
fn report(files: &[PathBuf]) -> (String, bool) {
    let mut text = String::new();
    let mut right = true;
    for file in files {
        let findings = files::check(file);
        for (problems, severity) in [(&findings.errors, "error"), (&findings.warnings, "warning")] {
            for problem in problems {
                text += &format!("{}: {severity}: {}\n", problem.place, problem.message);
            }
        }
        right &= findings.errors.is_empty();
        text += &match (findings.errors.len(), findings.warnings.len()) {
            (0, 0) => format!("{}: ok\n", file.display()),
            (0, warnings) => format!("{}: ok, {}\n", file.display(), count(warnings, "warning")),
            (errors, 0) => format!("{}: {}\n", file.display(), count(errors, "error")),
            (errors, warnings) => {
                format!("{}: {}, {}\n", file.display(), count(errors, "error"), count(warnings, "warning"))
            }
        };
    }
    (text, right)
}

fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}
