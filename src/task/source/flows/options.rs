//! What a directive's `flows` was configured with.

use std::time::Duration;

use super::tracked::Tracked;
use crate::config::Filter;
use crate::time::Instant;

/// Which flows, and when they are told of.
pub struct Options {
    filter: Option<Filter>,
    pub tcp: bool,
    pub udp: bool,
    interval: Option<Duration>,
    pub udp_idle: Duration,
    /// When the next `ongoing` records are due.
    pub due: Option<Instant>,
}

impl Options {
    /// The error is one sentence.
    pub fn new(options: &crate::task::Options, now: Instant) -> Result<Options, String> {
        let filter = options.text("filter").filter(|text| !text.is_empty());
        let protocols = options.text("protocols").unwrap_or("tcp+udp");
        let interval = options.duration("interval");
        Ok(Options {
            filter: filter.map(str::parse).transpose()?,
            tcp: protocols.contains("tcp"),
            udp: protocols.contains("udp"),
            interval,
            udp_idle: options.duration("udpIdle").unwrap_or(UDP_IDLE),
            due: interval.map(|interval| now + interval),
        })
    }

    /// Whether `ongoing` records are due. The next are, in step with the first, however late it is now.
    pub fn is_due(&mut self, now: Instant) -> bool {
        let (Some(at), Some(interval)) = (self.due, self.interval) else { return false };
        if at > now {
            return false;
        }
        let late = now.since(at).as_nanos() / interval.as_nanos().max(1);
        self.due = Some(at + interval * (late as u32 + 1));
        true
    }

    pub fn passes(&self, flow: &Tracked) -> bool {
        let wanted = if flow.is_udp() { self.udp } else { self.tcp };
        wanted
            && self.filter.as_ref().is_none_or(|filter| {
                let (src, dst) = flow.ends();
                filter.matches(src, dst, flow.kernel.protocol)
                    || flow.kernel.direction == 0 && filter.matches(dst, src, flow.kernel.protocol)
            })
    }
}

pub const UDP_IDLE: Duration = Duration::from_secs(30);
