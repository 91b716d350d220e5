//! How much memory there is for `limits.memory`: the cgroup's limit, or the machine's where it has none.

use std::path::{Path, PathBuf};

use crate::config::Config;
use crate::task::Stage;

/// What each processing task may hold: an equal part of `limits.memory`, among those that may ever run.
pub fn share(config: &Config) -> u64 {
    let running = config.directives.iter().filter(|directive| directive.enabled);
    let tasks = running.flat_map(|directive| &directive.tasks);
    let holders = tasks.filter(|task| task.spec.stage() == Stage::Processing).count();
    config.limits.memory.bytes(available()) / holders.max(1) as u64
}

/// Bytes.
pub fn available() -> u64 {
    let machine = machine().unwrap_or(u64::MAX);
    cgroup_limit().map_or(machine, |limit| limit.min(machine))
}

fn machine() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    Some(total.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}

/// The lowest limit on the way from our cgroup to the root, of version 2 or of version 1's controller.
fn cgroup_limit() -> Option<u64> {
    let own = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let lines = own.lines().filter_map(|line| line.split_once(':')?.1.split_once(':'));
    let limits = lines.filter_map(|(controllers, path)| match controllers {
        "" => lowest(Path::new("/sys/fs/cgroup"), path, "memory.max"),
        _ if controllers.split(',').any(|name| name == "memory") => {
            lowest(Path::new("/sys/fs/cgroup/memory"), path, "memory.limit_in_bytes")
        }
        _ => None,
    });
    limits.min()
}

fn lowest(root: &Path, path: &str, file: &str) -> Option<u64> {
    let leaf: PathBuf = root.join(path.trim_start_matches('/'));
    let limits = leaf.ancestors().take_while(|at| at.starts_with(root)).filter_map(|at| {
        // "max" is no limit, and version 1 writes one that no machine reaches.
        std::fs::read_to_string(at.join(file)).ok()?.trim().parse::<u64>().ok()
    });
    limits.min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::main_file::defaults;
    use crate::config::{Directive, Memory, TaskConfig};
    use crate::task::{Options, find};

    #[test]
    fn memory_is_shared_by_the_processing_tasks_of_enabled_directives() {
        let directive = |enabled: bool, tasks: &[&str]| Directive {
            name: tasks.concat(),
            enabled,
            start_at: None,
            stop_at: None,
            duration: None,
            condition: None,
            tasks: tasks
                .iter()
                .map(|name| TaskConfig { spec: find(name).expect("it is one"), options: Options::default() })
                .collect(),
        };
        let mut config = defaults("node-7");
        config.limits.memory = Memory::Bytes(600);
        assert_eq!(share(&config), 600);
        config.directives = vec![
            directive(true, &["capture", "dns", "log"]),
            directive(false, &["capture", "pfcp", "log"]),
            directive(true, &["capture", "h2", "tlsheaders", "file"]),
        ];
        assert_eq!(share(&config), 200);
    }

    #[test]
    fn the_machine_bounds_what_is_available() {
        let available = available();
        assert!(available > 1 << 20);
        assert!(available <= machine().expect("there is a /proc/meminfo"));
    }
}
