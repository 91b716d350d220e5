//! BPF statistics follow the sysctl while the agent runs, and no counter goes down.

use std::collections::BTreeMap;
use std::process::Command;

use crate::support::agent::Agent;

#[test]
fn statistics_follow_the_sysctl_and_no_reload_lowers_a_counter() {
    let Some(sysctl) = Sysctl::take() else { return };
    sysctl.set("0");
    let agent = Agent::start("bpf-stats", &both());
    let runs = || series(&agent, "bpf_run_counter");
    agent.until("off", || agent.value("tawon_bpf_stats_enabled") == Some(0.0));
    let loaded = runs();
    assert!(
        loaded.keys().any(|labels| labels.contains("exec")) && loaded.keys().any(|labels| labels.contains("flows"))
    );
    assert!(loaded.values().all(|runs| *runs == 0.0), "nothing is counted yet: {loaded:?}");
    assert!(series(&agent, "bpf_cpu_usage").is_empty(), "unknown is not 0");
    assert!(agent.metrics().contains("# TYPE bpf_cpu_usage gauge\n"));

    sysctl.set("1");
    agent.until("usage of every program", || {
        assert!(Command::new("/bin/true").status().is_ok());
        series(&agent, "bpf_cpu_usage").len() == loaded.len() && runs().values().sum::<f64>() > 0.0
    });
    let counted = runs();
    agent
        .until("observed", || series(&agent, "bpf_cpu_usage_histogram_count").values().all(|observed| *observed > 1.0));

    // The process table reads the exec programs' records for every source, so that those stay.
    agent.reload(&config(&[EXEC]));
    let attached = || series(&agent, "bpf_probes_attached");
    agent.until("flows unloaded", || !attached().keys().any(|labels| labels.contains("module=\"flows\"")));
    assert_not_lower(&counted, &runs());
    agent.reload(&both());
    agent.until("flows loaded again", || {
        series(&agent, "tawon_directive_state").get("{directive=\"connections\",state=\"running\"}") == Some(&1.0)
            && attached().keys().any(|labels| labels.contains("module=\"flows\""))
    });
    assert_not_lower(&counted, &runs());

    sysctl.set("0");
    agent.until("absent again", || series(&agent, "bpf_cpu_usage").is_empty());
    assert_not_lower(&counted, &runs());
    assert!(agent.stop().success());
}

fn assert_not_lower(before: &BTreeMap<String, f64>, after: &BTreeMap<String, f64>) {
    for (labels, runs) in before {
        assert!(after.get(labels) >= Some(runs), "{labels}: {runs} before, {:?} after", after.get(labels));
    }
}

/// The series of one name in a scrape: labels as written, and value.
fn series(agent: &Agent, name: &str) -> BTreeMap<String, f64> {
    let text = agent.metrics();
    let lines = text.lines().filter_map(|line| line.strip_prefix(name)?.rsplit_once(' '));
    lines
        .filter(|(labels, _)| labels.starts_with('{'))
        .map(|(labels, value)| (labels.to_owned(), value.parse().expect("a number")))
        .collect()
}

fn both() -> String {
    config(&[EXEC, FLOWS])
}

fn config(directives: &[&str]) -> String {
    let head = "metrics: {listen: \"PORT\"}\nprobes: {listen: \"PORT\"}\nbpf: {statsInterval: 100ms}\ndirectives:\n";
    format!("{head}{}", directives.concat())
}

const EXEC: &str = "  - {name: processes, tasks: [{task: exec}, {task: file, config: {path: /dev/null}}]}\n";
const FLOWS: &str = "  - {name: connections, tasks: [{task: flows}, {task: file, config: {path: /dev/null}}]}\n";

/// kernel.bpf_stats_enabled, given back as it was found.
struct Sysctl(String);

impl Sysctl {
    const PATH: &str = "/proc/sys/kernel/bpf_stats_enabled";

    /// None, with the reason printed, where it may not be written.
    fn take() -> Option<Sysctl> {
        let found = std::fs::read_to_string(Self::PATH).ok()?;
        if let Err(error) = std::fs::write(Self::PATH, &found) {
            eprintln!("skipped: {}: {error}", Self::PATH);
            return None;
        }
        Some(Sysctl(found))
    }

    fn set(&self, value: &str) {
        std::fs::write(Self::PATH, value).expect("was written before");
    }
}

impl Drop for Sysctl {
    fn drop(&mut self) {
        let _ = std::fs::write(Self::PATH, &self.0);
    }
}
