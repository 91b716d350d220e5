//! `tawon metrics`: the catalogue, from the table that registers the metrics.

use super::{Exit, print, table};
use crate::metrics::catalogue::CATALOGUE;

pub fn main() -> Exit {
    let mut rows = vec![["METRIC", "TYPE", "LABELS", "MEANING"].map(str::to_owned).to_vec()];
    rows.extend(CATALOGUE.iter().map(|metric| {
        let labels = if metric.labels.is_empty() { "-".to_owned() } else { metric.labels.join(",") };
        vec![metric.name.to_owned(), metric.kind.name().to_owned(), labels, metric.help.to_owned()]
    }));
    print(&table(&rows))
}
