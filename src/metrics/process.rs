//! The usual `process_*` metrics, from /proc/self at each scrape.

use std::collections::HashMap;
use std::fs;

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Counter, Gauge, Metric, MetricFamily, MetricType};

/// A collector of what the kernel knows of this process. What cannot be read is left out.
pub(super) struct ProcessCollector {
    descs: Vec<Desc>,
    start: Option<f64>,
}

impl ProcessCollector {
    pub fn new() -> Result<ProcessCollector, prometheus::Error> {
        let desc = |&(name, _, help): &(&str, _, &str)| Desc::new(name.into(), help.into(), Vec::new(), HashMap::new());
        Ok(ProcessCollector { descs: FAMILIES.iter().map(desc).collect::<Result<_, _>>()?, start: start_time() })
    }
}

impl Collector for ProcessCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
        let values = [
            stat_field(&stat, UTIME).zip(stat_field(&stat, STIME)).map(|(user, system)| (user + system) / TICKS),
            open_fds(),
            limits
                .lines()
                .find_map(|line| line.strip_prefix("Max open files"))
                .and_then(|rest| rest.split_whitespace().next()?.parse().ok()),
            status_field(&status, "VmSize:").map(|kib| kib * 1024.0),
            status_field(&status, "VmRSS:").map(|kib| kib * 1024.0),
            self.start,
            status_field(&status, "Threads:"),
        ];
        let known = FAMILIES.iter().zip(values).filter_map(|(family, value)| Some((family, value?)));
        known.map(|((name, kind, help), value)| family(name, *kind, help, value)).collect()
    }
}

fn family(name: &str, kind: MetricType, help: &str, value: f64) -> MetricFamily {
    let mut metric = Metric::default();
    if kind == MetricType::COUNTER {
        let mut counter = Counter::default();
        counter.set_value(value);
        metric.set_counter(counter);
    } else {
        let mut gauge = Gauge::default();
        gauge.set_value(value);
        metric.set_gauge(gauge);
    }
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family.set_metric(vec![metric]);
    family
}

/// A numbered field of /proc/PID/stat (proc_pid_stat(5), from 1), behind the name in parentheses.
fn stat_field(stat: &str, number: usize) -> Option<f64> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(number.checked_sub(3)?)?.parse().ok()
}

fn status_field(status: &str, name: &str) -> Option<f64> {
    let rest = status.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

fn open_fds() -> Option<f64> {
    // The directory's size is the number of descriptors from Linux 6.2 on, 0 before.
    match fs::metadata("/proc/self/fd").ok()?.len() {
        0 => Some(fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1) as f64),
        count => Some(count as f64),
    }
}

/// Seconds since the epoch: the boot's and the ticks from there.
fn start_time() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let system = fs::read_to_string("/proc/stat").ok()?;
    let boot: f64 = system.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(boot + stat_field(&stat, STARTTIME)? / TICKS)
}

const UTIME: usize = 14;
const STIME: usize = 15;
const STARTTIME: usize = 22;
/// USER_HZ: what /proc counts in, whatever the kernel's own HZ.
const TICKS: f64 = 100.0;

/// In the order of the values in `collect`.
const FAMILIES: [(&str, MetricType, &str); 7] = [
    ("process_cpu_seconds_total", MetricType::COUNTER, "Total user and system CPU time spent in seconds."),
    ("process_open_fds", MetricType::GAUGE, "Number of open file descriptors."),
    ("process_max_fds", MetricType::GAUGE, "Maximum number of open file descriptors."),
    ("process_virtual_memory_bytes", MetricType::GAUGE, "Virtual memory size in bytes."),
    ("process_resident_memory_bytes", MetricType::GAUGE, "Resident memory size in bytes."),
    ("process_start_time_seconds", MetricType::GAUGE, "Start time of the process since unix epoch in seconds."),
    ("process_threads", MetricType::GAUGE, "Number of OS threads in the process."),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_about_this_process_is_read() {
        let families = ProcessCollector::new().unwrap().collect();
        assert_eq!(families.len(), FAMILIES.len());
        let value = |name: &str| {
            let metric = &families.iter().find(|family| family.name() == name).unwrap().get_metric()[0];
            metric.get_gauge().get_value() + metric.get_counter().get_value()
        };
        assert!(value("process_resident_memory_bytes") > 1e6);
        assert!(value("process_virtual_memory_bytes") >= value("process_resident_memory_bytes"));
        assert!(value("process_start_time_seconds") > 1.7e9);
        assert!(value("process_open_fds") >= 3.0 && value("process_max_fds") >= value("process_open_fds"));
        assert!(value("process_threads") >= 1.0);
    }

    #[test]
    fn a_name_with_spaces_and_parentheses_shifts_no_field() {
        let stat = "42 (a) b (c) S 1 42 42 0 -1 0 0 0 0 0 700 300 0 0 20 0 1 0 5000 1 1";
        assert_eq!(stat_field(stat, UTIME), Some(700.0));
        assert_eq!(stat_field(stat, STARTTIME), Some(5000.0));
    }
}
