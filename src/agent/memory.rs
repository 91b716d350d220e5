//! How much memory there is for `limits.memory`: the cgroup's limit, or the machine's where it has none.

use std::path::{Path, PathBuf};

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

    #[test]
    fn the_machine_bounds_what_is_available() {
        let available = available();
        assert!(available > 1 << 20);
        assert!(available <= machine().expect("there is a /proc/meminfo"));
    }
}
