//! What this kernel and this process's privileges allow, and what would mend what they do not.

use std::path::Path;

use super::load;

/// Version and patch level of the running kernel: (6, 18). (0, 0) where it cannot be told.
pub fn release() -> (u32, u32) {
    let text = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = text.trim().split(|c: char| !c.is_ascii_digit()).map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// From here on a task may give way to another in the middle of a tracing program.
pub const PREEMPTIBLE: (u32, u32) = (7, 0);

/// From here on a task may sleep in a function with fexit, as in accept(2), while that is taken away: before, it
/// could return to memory that was freed.
pub const SLEEPERS_RETURN: (u32, u32) = (5, 12);

/// What is known without loading anything.
pub struct Features {
    pub release: String,
    /// Whether the kernel tells its types, without which no program can be fitted to it.
    pub btf: bool,
    /// Whether static tracepoints can be attached to: tracefs is mounted and readable.
    pub tracefs: bool,
    pub unified_cgroup: bool,
    /// kernel.perf_event_paranoid; None where it cannot be read.
    pub perf_event_paranoid: Option<i32>,
    /// kernel.unprivileged_bpf_disabled.
    pub unprivileged_bpf_disabled: Option<i32>,
    /// The mode in brackets of /sys/kernel/security/lockdown.
    pub lockdown: Option<String>,
    /// CapEff of this process.
    capabilities: u64,
}

impl Features {
    pub fn read() -> Features {
        let text = |path: &str| std::fs::read_to_string(path).ok();
        let number = |path: &str| text(path)?.trim().parse().ok();
        let status = text("/proc/self/status").unwrap_or_default();
        let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
        let lockdown = text("/sys/kernel/security/lockdown");
        Features {
            release: text("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
            btf: Path::new("/sys/kernel/btf/vmlinux").exists(),
            tracefs: TRACEFS.iter().any(|path| std::fs::read_dir(Path::new(path).join("events/syscalls")).is_ok()),
            unified_cgroup: load::unified_cgroup().is_some(),
            perf_event_paranoid: number("/proc/sys/kernel/perf_event_paranoid"),
            unprivileged_bpf_disabled: number("/proc/sys/kernel/unprivileged_bpf_disabled"),
            lockdown: lockdown.and_then(|modes| Some(modes.split_once('[')?.1.split_once(']')?.0.to_owned())),
            capabilities: effective.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or_default(),
        }
    }

    /// Those of `wanted` that this process does not have. SYS_ADMIN stands in for BPF and PERFMON.
    pub fn missing(&self, wanted: &[Capability]) -> Vec<&'static str> {
        let has = |bit: u32| self.capabilities >> bit & 1 == 1;
        let granted = |capability: &&Capability| has(capability.bit) || capability.in_sys_admin && has(SYS_ADMIN.bit);
        wanted.iter().filter(|capability| !granted(capability)).map(|capability| capability.name).collect()
    }

    /// What to do about those that are missing; None where none is.
    pub fn remedy(&self, wanted: &[Capability]) -> Option<String> {
        let missing = self.missing(wanted);
        (!missing.is_empty()).then(|| {
            format!(
                "{} missing: run as root, or grant it (securityContext.capabilities.add, setcap)",
                missing.join(" and ")
            )
        })
    }

    /// What keeps kernel sources from being loaded, each with the way out; empty where nothing is known to.
    pub fn obstacles(&self) -> Vec<String> {
        let mut found = Vec::new();
        if !self.btf {
            found.push(
                "the kernel has no BTF (/sys/kernel/btf/vmlinux): one with CONFIG_DEBUG_INFO_BTF=y is needed"
                    .to_owned(),
            );
        }
        found.extend(self.remedy(&[BPF, PERFMON]));
        if let Some(mode) = self.lockdown.as_deref().filter(|mode| *mode == "confidentiality") {
            found.push(format!(
                "lockdown={mode} forbids reading kernel memory: boot without it, or with lockdown=integrity"
            ));
        }
        found
    }

    /// What makes kernel sources see less, each with the way out.
    pub fn shortcomings(&self) -> Vec<String> {
        let mut found = Vec::new();
        if !self.tracefs {
            found.push(match self.missing(&[DAC_READ_SEARCH]).is_empty() {
                true => "tracefs is not mounted: mount -t tracefs tracefs /sys/kernel/tracing".to_owned(),
                false => "tracefs is not readable: grant CAP_DAC_READ_SEARCH, or mount -t tracefs tracefs /sys/kernel/tracing".to_owned(),
            });
        }
        if !self.unified_cgroup {
            found.push(
                "no cgroup version 2 hierarchy is mounted: mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified".to_owned(),
            );
        }
        let missing = self.missing(&[NET_ADMIN]);
        if !missing.is_empty() {
            found.push("CAP_NET_ADMIN missing: cgroup programs cannot be attached".to_owned());
        }
        if self.perf_event_paranoid.is_some_and(|level| level > 2) && !self.missing(&[SYS_ADMIN]).is_empty() {
            found.push(
                "kernel.perf_event_paranoid is above 2: records come by a BPF ring buffer; sysctl kernel.perf_event_paranoid=2, or CAP_SYS_ADMIN, gives perf rings"
                    .to_owned(),
            );
        }
        found
    }
}

/// A capability by its number in linux/capability.h.
pub struct Capability {
    bit: u32,
    name: &'static str,
    in_sys_admin: bool,
}

pub const BPF: Capability = Capability { bit: 39, name: "CAP_BPF", in_sys_admin: true };
pub const PERFMON: Capability = Capability { bit: 38, name: "CAP_PERFMON", in_sys_admin: true };
pub const NET_ADMIN: Capability = Capability { bit: 12, name: "CAP_NET_ADMIN", in_sys_admin: true };
pub const NET_RAW: Capability = Capability { bit: 13, name: "CAP_NET_RAW", in_sys_admin: false };
pub const DAC_READ_SEARCH: Capability = Capability { bit: 2, name: "CAP_DAC_READ_SEARCH", in_sys_admin: false };
pub const SYS_ADMIN: Capability = Capability { bit: 21, name: "CAP_SYS_ADMIN", in_sys_admin: false };
const TRACEFS: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];
