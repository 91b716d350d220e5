//! Signals as a descriptor of the loop.

use std::io;

use mio::{Interest, Registry, Token};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook_mio::v1_0::Signals as Source;

/// What signals asked for since the last look.
#[derive(Clone, Copy, Default, Debug)]
pub struct Asked {
    pub reload: bool,
    /// How many times the end was asked for.
    pub end: u32,
}

pub struct Signals {
    source: Source,
    terminal: bool,
}

impl Signals {
    /// Where there is a `terminal` to be lost, SIGHUP says that it is, unless nohup asked for that to be ignored;
    /// else it asks for the configuration to be read anew.
    pub fn new(registry: &Registry, token: Token, terminal: bool) -> io::Result<Signals> {
        let mut source = Source::new([SIGINT, SIGTERM])?;
        if !terminal || !is_ignored(SIGHUP) {
            source.add_signal(SIGHUP)?;
        }
        registry.register(&mut source, token, Interest::READABLE)?;
        Ok(Signals { source, terminal })
    }

    pub fn take(&mut self) -> Asked {
        let mut asked = Asked::default();
        for signal in self.source.pending() {
            match signal {
                SIGHUP if !self.terminal => asked.reload = true,
                _ => asked.end += 1,
            }
        }
        asked
    }
}

/// Whether whoever started us had this signal ignored. False where /proc does not tell.
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok());
    ignored.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}
