//! How an attempt to parse ended, and its counter `*_parse_total{status}`.

use prometheus::IntCounter;

use crate::metrics::Metrics;

/// The `status` of an attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    Ok,
    /// The capture cut it.
    Truncated,
    /// It breaks the protocol.
    Malformed,
    /// A version or a type that the parser does not know.
    Unsupported,
    /// It is another protocol.
    NotMatching,
}

impl Status {
    const ALL: [(Status, &'static str); 5] = [
        (Status::Ok, "ok"),
        (Status::Truncated, "truncated"),
        (Status::Malformed, "malformed"),
        (Status::Unsupported, "unsupported"),
        (Status::NotMatching, "not_matching"),
    ];
}

/// The handles of one task's counter.
pub struct Counts([IntCounter; 5]);

impl Counts {
    /// `name` is that of a counter in the catalogue whose one label is `status`.
    pub fn new(metrics: &Metrics, name: &str) -> Counts {
        let family = metrics.counters(name);
        Counts(Status::ALL.map(|(_, label)| family.with_label_values(&[label])))
    }

    pub fn add(&self, status: Status) {
        self.0[status as usize].inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_status_moves_the_counter_of_its_own_name() {
        let metrics = Metrics::new("").unwrap();
        let counts = Counts::new(&metrics, "pfcp_parse_total");
        for (times, (status, _)) in Status::ALL.into_iter().enumerate() {
            (0..=times).for_each(|_| counts.add(status));
        }
        for (times, (_, label)) in Status::ALL.into_iter().enumerate() {
            let value = metrics.counters("pfcp_parse_total").with_label_values(&[label]).get();
            assert_eq!(value, times as u64 + 1, "{label}");
        }
    }
}
