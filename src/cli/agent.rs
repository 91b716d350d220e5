//! `tawon agent`: the daemon.

use std::path::PathBuf;

use clap::Args;

use super::{Exit, refuse, tell, warn};
use crate::agent::{Agent, Setup};
use crate::config::{self, files};

/// Run the daemon: all directives of a configuration, until SIGTERM or SIGINT.
///
/// SIGHUP reads the configuration anew; directives that did not change keep running untouched.
#[derive(Args)]
#[command(after_help = "Examples:
  tawon agent --config /etc/tawon/tawon.yaml
  tawon agent --config tawon.yaml --watch --log-level debug
  kill -HUP $(pidof tawon)                   read the configuration anew")]
pub struct Arguments {
    /// The configuration; directives.d beside it is read too.
    #[arg(long, value_name = "FILE", default_value = "/etc/tawon/tawon.yaml")]
    pub config: PathBuf,
    /// Read the configuration anew whenever it changes on disk, as after SIGHUP.
    #[arg(long)]
    pub watch: bool,
}

pub fn main(arguments: &Arguments) -> Exit {
    let loaded = match config::load(&arguments.config, &files::default_tawon_id()) {
        Ok(loaded) => loaded,
        Err(problems) => return refuse(&problems, Exit::Configuration),
    };
    warn(&loaded.warnings);
    let setup = Setup { loaded, path: Some(arguments.config.clone()), watch: arguments.watch, single: false };
    let ran = Agent::new(setup).map_err(|error| error.to_string()).and_then(|mut agent| {
        log::info!("tawon {} runs", crate::metrics::VERSION);
        agent.run().map_err(|error| format!("the event loop: {error}"))
    });
    match ran {
        Ok(()) => Exit::Done,
        Err(error) => {
            tell(&format!("tawon: {error}\n"));
            Exit::Kernel
        }
    }
}
