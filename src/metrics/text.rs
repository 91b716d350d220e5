//! The text of a scrape: format 0.0.4 (Prometheus, "Exposition formats").

use prometheus::{Encoder, TextEncoder};

use super::Metrics;
use super::catalogue::CATALOGUE;
use super::summary::locked;
use crate::time::Instant;

impl Metrics {
    /// Appends every family as it stands at `now`. Families that have no series yet show their HELP
    /// and TYPE alone, so that all of the catalogue is there from the first scrape.
    pub fn text(&self, now: Instant, out: &mut Vec<u8>) {
        locked(&self.view).now = now;
        let families = self.gather();
        let start = out.len();
        if let Err(error) = TextEncoder::new().encode(&families, out) {
            // The encoder refuses only families without name or series, which are never gathered.
            log::error!("metrics could not be written error={error}");
            out.truncate(start);
        }
        for metric in CATALOGUE {
            let name = self.shown_name(metric);
            if families.binary_search_by(|family| family.name().cmp(&name)).is_err() {
                for part in ["# HELP ", &name, " ", metric.help, "\n# TYPE ", &name, " ", metric.kind.name(), "\n"] {
                    out.extend_from_slice(part.as_bytes());
                }
            }
        }
    }
}
