//! What a new configuration changes: directives that stay untouched, end, or start; settings that
//! apply live, and those that wait for a restart.

use std::collections::HashMap;

use crate::config::{Config, Directive};

/// The steps from one configuration to the next.
#[derive(Clone, PartialEq, Debug)]
pub struct Plan {
    /// Names of directives to end as stopped: removed ones, and changed ones, which are in `start` too.
    pub stop: Vec<String>,
    /// New and changed directives, in the order of the configuration.
    pub start: Vec<Directive>,
    /// Names of those that keep running, or having ended, untouched.
    pub keep: Vec<String>,
    pub changed: Changed,
    /// Whether the new configuration says something that only a restart applies.
    pub restart_required: bool,
    /// What is in effect once the plan is carried out: the new configuration, but for what waits for a restart.
    pub config: Config,
}

/// Which settings that apply live have changed.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Changed {
    /// metrics.listen or probes.listen.
    pub listeners: bool,
    pub metrics_path: bool,
    pub quantiles: bool,
    /// redact or redactArgs.
    pub redact: bool,
    pub stats_interval: bool,
    pub enable_stats: bool,
    pub limits: bool,
    pub status: bool,
}

/// Compares what is in effect with what was read anew. Unchanged means equal after validation.
pub fn plan(in_effect: &Config, next: Config) -> Plan {
    let before: HashMap<&str, &Directive> =
        in_effect.directives.iter().map(|directive| (directive.name.as_str(), directive)).collect();
    let after: HashMap<&str, &Directive> =
        next.directives.iter().map(|directive| (directive.name.as_str(), directive)).collect();
    let is_kept = |directive: &&Directive| before.get(directive.name.as_str()) == Some(directive);
    let names = |directive: &Directive| directive.name.clone();
    let keep = next.directives.iter().filter(is_kept).map(names).collect();
    let start = next.directives.iter().filter(|directive| !is_kept(directive)).cloned().collect();
    let is_gone = |directive: &&Directive| after.get(directive.name.as_str()) != Some(directive);
    let stop = in_effect.directives.iter().filter(is_gone).map(names).collect();
    let changed = Changed {
        listeners: in_effect.metrics.listen != next.metrics.listen || in_effect.probes != next.probes,
        metrics_path: in_effect.metrics.path != next.metrics.path,
        quantiles: in_effect.metrics.quantiles != next.metrics.quantiles,
        redact: in_effect.redact != next.redact || in_effect.redact_args != next.redact_args,
        stats_interval: in_effect.bpf.stats_interval != next.bpf.stats_interval,
        enable_stats: in_effect.bpf.enable_stats != next.bpf.enable_stats,
        limits: in_effect.limits != next.limits,
        status: in_effect.status != next.status,
    };
    let mut config = next.clone();
    config.tawon_id.clone_from(&in_effect.tawon_id);
    config.metrics.prefix.clone_from(&in_effect.metrics.prefix);
    config.bpf.perf_buffer_pages.clone_from(&in_effect.bpf.perf_buffer_pages);
    config.bpf.transport = in_effect.bpf.transport;
    let restart_required = config != next;
    Plan { stop, start, keep, changed, restart_required, config }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::main_file::defaults;
    use crate::config::{Listen, Memory, PerfBufferPages, Transport};

    fn with(directives: &[(&str, u64)]) -> Config {
        let directive = |&(name, seconds): &(&str, u64)| Directive {
            name: name.to_owned(),
            enabled: true,
            start_at: None,
            stop_at: None,
            duration: Some(std::time::Duration::from_secs(seconds)),
            condition: None,
            tasks: Vec::new(),
        };
        Config { directives: directives.iter().map(directive).collect(), ..defaults("node-7") }
    }

    #[test]
    fn unchanged_directives_are_kept_whatever_their_order() {
        let plan = plan(&with(&[("a", 1), ("b", 1), ("c", 1)]), with(&[("d", 1), ("c", 1), ("b", 2)]));
        assert_eq!(plan.keep, ["c"]);
        assert_eq!(plan.stop, ["a", "b"]);
        let start: Vec<&str> = plan.start.iter().map(|directive| directive.name.as_str()).collect();
        assert_eq!(start, ["d", "b"]);
        assert_eq!((plan.changed, plan.restart_required), (Changed::default(), false));
    }

    #[test]
    fn the_same_configuration_changes_nothing() {
        let config = with(&[("a", 1), ("b", 1)]);
        let plan = plan(&config, config.clone());
        assert_eq!((plan.stop.len(), plan.start.len(), plan.keep.len()), (0, 0, 2));
        assert_eq!((plan.changed, plan.restart_required, plan.config), (Changed::default(), false, config));
    }

    #[test]
    fn each_live_setting_is_noticed_and_takes_effect() {
        let base = with(&[]);
        let change = |edit: fn(&mut Config)| {
            let mut next = base.clone();
            edit(&mut next);
            let plan = plan(&base, next.clone());
            assert!(!plan.restart_required && plan.config == next);
            plan.changed
        };
        let none = Changed::default();
        for (changed, expected) in [
            (change(|c| c.metrics.listen = vec![Listen::All(1)]), Changed { listeners: true, ..none }),
            (change(|c| c.probes.listen = vec![Listen::All(1)]), Changed { listeners: true, ..none }),
            (change(|c| c.metrics.path = "/m".to_owned()), Changed { metrics_path: true, ..none }),
            (change(|c| c.metrics.quantiles.clear()), Changed { quantiles: true, ..none }),
            (change(|c| c.redact.clear()), Changed { redact: true, ..none }),
            (change(|c| c.redact_args = None), Changed { redact: true, ..none }),
            (change(|c| c.bpf.stats_interval *= 2), Changed { stats_interval: true, ..none }),
            (change(|c| c.bpf.enable_stats = true), Changed { enable_stats: true, ..none }),
            (change(|c| c.limits.memory = Memory::Percent(1)), Changed { limits: true, ..none }),
            (change(|c| c.status.allow = vec!["10.0.0.0/8".parse().unwrap()]), Changed { status: true, ..none }),
        ] {
            assert_eq!(changed, expected);
        }
    }

    #[test]
    fn what_needs_a_restart_stays_as_it_was_until_then_or_until_it_is_taken_back() {
        let base = with(&[]);
        let edits: [fn(&mut Config); 4] = [
            |c| c.tawon_id = "other".to_owned(),
            |c| c.metrics.prefix = "tw".to_owned(),
            |c| c.bpf.perf_buffer_pages = PerfBufferPages { all: Some(8), ..Default::default() },
            |c| c.bpf.transport = Transport::Ring,
        ];
        for edit in edits {
            let mut next = base.clone();
            edit(&mut next);
            let first = plan(&base, next.clone());
            assert!(first.restart_required && first.config == base && first.changed == Changed::default());
            assert!(plan(&first.config, next).restart_required, "asked again, it is still required");
            assert!(!plan(&first.config, base.clone()).restart_required);
        }
    }
}
