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

pub struct Signals(Source);

impl Signals {
    pub fn new(registry: &Registry, token: Token) -> io::Result<Signals> {
        let mut source = Source::new([SIGHUP, SIGINT, SIGTERM])?;
        registry.register(&mut source, token, Interest::READABLE)?;
        Ok(Signals(source))
    }

    pub fn take(&mut self) -> Asked {
        let mut asked = Asked::default();
        for signal in self.0.pending() {
            match signal {
                SIGHUP => asked.reload = true,
                _ => asked.end += 1,
            }
        }
        asked
    }
}
