//! The catalogue against the contract, and the text of a scrape against Prometheus's own parser.

use std::collections::{BTreeMap, BTreeSet};

use tawon::metrics::catalogue::{self, CATALOGUE, Kind};
use tawon::metrics::{Metrics, Runs, TaskRun, bpf_stats};
use tawon::pipeline::{End, State};
use tawon::time::Instant;

use crate::support::promtool;

#[test]
fn the_catalogue_says_what_the_contract_says() {
    let mut rows = CONTRACT.lines().map(|line| line.split('\t').collect::<Vec<_>>());
    assert_eq!(rows.next().as_deref(), Some(&["group", "type", "name", "labels", "meaning"][..]));
    let own: Vec<_> = CATALOGUE.iter().filter(|metric| metric.group == "own").collect();
    let mut count = 0;
    for (row, metric) in rows.zip(CATALOGUE) {
        let labels = if metric.labels.is_empty() { "-".to_owned() } else { metric.labels.join(",") };
        assert_eq!(row, [metric.group, metric.kind.name(), metric.name, &labels, metric.help]);
        if let Some((_, bounds)) = row[4].split_once("bucket bounds ") {
            let bounds = bounds.trim_end_matches('.').split(", ").map(|bound| bound.parse().unwrap());
            assert_eq!(metric.kind, Kind::Histogram(Box::leak(bounds.collect::<Vec<f64>>().into())));
        }
        count += 1;
    }
    assert_eq!((count, CATALOGUE.len()), (76, 76 + own.len()));
    assert!(own.iter().all(|metric| metric.name.starts_with("tawon_")));
}

#[test]
fn all_76_show_from_the_first_scrape_with_their_types_and_presets() {
    let metrics = Metrics::new("").unwrap();
    let text = scrape(&metrics);
    let types: BTreeMap<&str, &str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
    for metric in CATALOGUE {
        assert_eq!(types.get(metric.name), Some(&metric.kind.name()), "{}", metric.name);
        assert!(text.contains(&format!("# HELP {} {}\n", metric.name, metric.help)), "{}", metric.name);
        if metric.labels.is_empty() && metric.group != "own" {
            let zero = match metric.kind {
                Kind::Histogram(_) => format!("\n{}_count 0\n", metric.name),
                _ => format!("\n{} 0\n", metric.name),
            };
            assert!(text.contains(&zero), "{}", metric.name);
        }
    }
    for series in [
        "payload_task_total{status=\"no_start\"} 0",
        "flows_task_total{status=\"filtered\"} 0",
        "ecpri_parse_total{status=\"not_matching\"} 0",
        "h2_incoming_frames{dismissed=\"true\",type=\"unknown\"} 0",
        "h2_round_trips_emitted{partial=\"false\",reason=\"complete\"} 0",
        "h2_content_types{type=\"other\"} 0",
        "h2_conn_dir_buffer_bucket{direction=\"server\",le=\"500\"} 0",
    ] {
        assert!(text.lines().any(|line| line == series), "{series}");
    }
    assert!(!text.contains("partial=\"false\",reason=\"gap\""));
    assert!(text.contains("\nprocess_resident_memory_bytes ") && text.contains("\ntawon_build_info{"));
}

#[test]
fn a_prefix_stands_before_the_contract_s_names_and_not_before_the_agent_s_own() {
    let text = scrape(&Metrics::new("tw").unwrap());
    for name in ["tw_payload_msgs 0", "tw_directive_duration_seconds summary", "tw_bpf_cpu_usage gauge"] {
        assert!(text.contains(name), "{name}");
    }
    assert!(text.contains("\ntawon_config_restart_required 0\n") && !text.contains("tw_tawon_"));
    assert!(!text.contains("\npayload_msgs "));
    assert!(Metrics::new("no-dash").is_err());
}

#[test]
fn runs_show_at_0_when_configured_and_count_when_they_end() {
    let metrics = Metrics::new("").unwrap();
    metrics.show_quantiles(&[0.5, 0.99]);
    let runs = Runs::new(&metrics, "node-7");
    runs.configured("sbi", ["payload", "log"]);
    runs.state("sbi", Some(State::Running));
    let before = scrape(&metrics);
    for line in [
        "directives_ran_total{status=\"failed\",tawonID=\"node-7\"} 0",
        "directive_duration_seconds_count{tawonID=\"node-7\"} 0",
        "tasks_ran_total{status=\"stopped\",task=\"log\",tawonID=\"node-7\"} 0",
        "task_duration_seconds_sum{tawonID=\"node-7\",task=\"payload\"} 0",
        "tawon_directive_runs_total{directive=\"sbi\",status=\"completed\"} 0",
        "tawon_directive_state{directive=\"sbi\",state=\"running\"} 1",
        "tawon_directive_state{directive=\"sbi\",state=\"ended\"} 0",
    ] {
        assert!(before.lines().any(|shown| shown == line), "{line}");
    }
    assert!(!before.contains("quantile="));
    let took = std::time::Duration::from_millis(1500);
    let tasks = ["payload", "log"].map(|task| TaskRun { task, end: End::Completed, took });
    runs.ended("sbi", End::Completed, took, &tasks, Instant(1));
    runs.state("sbi", None);
    let after = scrape(&metrics);
    for line in [
        "directives_ran_total{status=\"completed\",tawonID=\"node-7\"} 1",
        "directive_duration_seconds{tawonID=\"node-7\",quantile=\"0.99\"} 1.5",
        "task_duration_seconds{tawonID=\"node-7\",task=\"log\",quantile=\"0.5\"} 1.5",
        "task_duration_seconds_count{tawonID=\"node-7\",task=\"log\"} 1",
    ] {
        assert!(after.lines().any(|shown| shown == line), "{line}");
    }
    assert!(!after.contains("tawon_directive_state{"));
}

#[test]
fn promtool_finds_exactly_what_is_known_of_a_whole_scrape() {
    let Some(promtool) = promtool::find() else { return };
    let metrics = whole();
    let found = promtool.check(&scrape(&metrics));
    let known: BTreeSet<String> = KNOWN.lines().map(str::to_owned).collect();
    assert_eq!(found, known);
    // Before anything ran nothing else is wrong.
    assert!(promtool.check(&scrape(&Metrics::new("").unwrap())).is_subset(&known));
}

#[test]
fn a_scrape_stays_under_1500_series() {
    let metrics = whole();
    let text = scrape(&metrics);
    let series = text.lines().filter(|line| !line.starts_with('#')).count();
    assert!(series < 1500, "{series}");
}

/// Every family with a series.
fn whole() -> Metrics {
    let metrics = Metrics::new("").unwrap();
    metrics.show_quantiles(&[0.5, 0.9, 0.99]);
    let runs = Runs::new(&metrics, "node-7");
    runs.configured("processes", ["exec", "log"]);
    runs.configured("connections", ["flows", "log"]);
    runs.state("processes", Some(State::Running));
    runs.ended("processes", End::Stopped, std::time::Duration::from_secs(1), &[], Instant(1));
    let mut stats = bpf_stats::BpfStats::new(&metrics);
    let programs = [("exec", "tawon_exec_exec"), ("flows", "tawon_flows_state")];
    let programs = programs.map(|(module, name)| bpf_stats::Program {
        id: 1,
        module,
        name,
        run_cnt: 1,
        run_time_ns: 1,
        misses: 0,
    });
    for now in [1, 2] {
        stats.sample(Instant(now), true, &programs);
    }
    metrics.gauges("bpf_probes_attached").with_label_values(&["flows", "tawon_flows_state"]).set(1);
    // The agent's own that nothing above has touched.
    for metric in CATALOGUE.iter().filter(|metric| metric.group == "own" && !metric.labels.is_empty()) {
        let values: Vec<&str> = metric.labels.iter().map(|_| "x").collect();
        match catalogue::find(metric.name).unwrap().kind {
            Kind::Counter => metrics.counters(metric.name).with_label_values(&values).inc(),
            Kind::Gauge => metrics.gauges(metric.name).with_label_values(&values).set(1),
            kind => panic!("{}: {kind:?}", metric.name),
        }
    }
    metrics
}

fn scrape(metrics: &Metrics) -> String {
    let mut text = Vec::new();
    metrics.text(Instant(1), &mut text);
    String::from_utf8(text).unwrap()
}

const CONTRACT: &str = include_str!("../data/metrics.tsv");
const KNOWN: &str = include_str!("../data/promtool-known.txt");
