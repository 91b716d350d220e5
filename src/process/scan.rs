//! What /proc tells of a process that was there before the agent. Blocks: runs in a thread.

use std::os::unix::ffi::{OsStrExt, OsStringExt};

use super::{Caps, Namespaces, Process};

/// A process as /proc shows it, and its cgroup path. None where it has gone or is a kernel thread.
pub struct Scanned {
    pub process: Process,
    pub cgroup: String,
}

/// Reads /proc/PID. Fields that may not be read stay unknown.
pub fn scan(pid: u32) -> Option<Scanned> {
    let read = |file: &str| std::fs::read(format!("/proc/{pid}/{file}"));
    let link =
        |file: &str| std::fs::read_link(format!("/proc/{pid}/{file}")).map(|path| path.into_os_string().into_vec());
    let namespace = |name: &str| {
        let link = link(&format!("ns/{name}")).ok()?;
        // "net:[4026531840]"
        let digits = link.split(|byte| *byte == b'[').nth(1)?.strip_suffix(b"]")?;
        std::str::from_utf8(digits).ok()?.parse().ok()
    };
    let stat = Stat::parse(&read("stat").ok()?)?;
    let status = read("status").ok()?;
    let status = String::from_utf8_lossy(&status);
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
    let mut cmd = read("cmdline").unwrap_or_default();
    let cmd_truncated = cmd.len() > ARGS;
    cmd.truncate(ARGS);
    let namespaces = namespace("net").map(|net| Namespaces {
        pid: namespace("pid_for_children").or_else(|| namespace("pid")).unwrap_or_default(),
        net,
        mnt: namespace("mnt").unwrap_or_default(),
        user: namespace("user").unwrap_or_default(),
        uts: namespace("uts").unwrap_or_default(),
        ipc: namespace("ipc").unwrap_or_default(),
        cgroup: namespace("cgroup").unwrap_or_default(),
    });
    let mask = |name: &str| u64::from_str_radix(field(name)?, 16).ok();
    // Real, effective, saved, file system.
    let id = |name: &str| field(name)?.split_whitespace().next()?.parse().ok();
    Some(Scanned {
        process: Process {
            pid,
            ppid: stat.ppid,
            start: stat.start,
            name: stat.comm,
            exe: link("exe").unwrap_or_default(),
            cmd,
            cmd_truncated,
            cwd: link("cwd").unwrap_or_default(),
            uid: id("Uid"),
            gid: id("Gid"),
            namespaces,
            caps: mask("CapEff").zip(mask("CapPrm")).map(|(effective, permitted)| Caps { effective, permitted }),
            ..Process::default()
        },
        cgroup: cgroup(&read("cgroup").unwrap_or_default()),
    })
}

/// The pids that /proc lists now.
pub fn pids() -> std::io::Result<Vec<u32>> {
    let entries = std::fs::read_dir("/proc")?;
    Ok(entries.filter_map(|entry| std::str::from_utf8(entry.ok()?.file_name().as_bytes()).ok()?.parse().ok()).collect())
}

struct Stat {
    comm: Vec<u8>,
    ppid: u32,
    /// Nanoseconds of CLOCK_BOOTTIME, cut to ticks of 10 ms (USER_HZ is 100 on every architecture here).
    start: u64,
}

impl Stat {
    /// `pid (comm) state ppid ...`: comm may hold spaces and parentheses, so it ends at the last one.
    fn parse(stat: &[u8]) -> Option<Stat> {
        let open = stat.iter().position(|&byte| byte == b'(')?;
        let close = stat.iter().rposition(|&byte| byte == b')')?;
        let rest = std::str::from_utf8(stat.get(close + 2..)?).ok()?;
        let mut fields = rest.split(' ');
        let ppid = fields.nth(1)?.parse().ok()?;
        let ticks: u64 = fields.nth(17)?.parse().ok()?;
        Some(Stat { comm: stat.get(open + 1..close)?.to_vec(), ppid, start: ticks * 10_000_000 })
    }
}

/// The path in the unified hierarchy where that is not its root, else of version 1's memory or cpu
/// controller: as the kernel side chooses.
fn cgroup(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let lines = || text.lines().filter_map(|line| line.split_once(':')?.1.split_once(':'));
    let unified = lines().find(|(controllers, path)| controllers.is_empty() && *path != "/");
    let by = |name: &str| lines().find(|(controllers, _)| controllers.split(',').any(|controller| controller == name));
    unified.or_else(|| by("memory")).or_else(|| by("cpu")).map_or(String::new(), |(_, path)| path.to_owned())
}

const ARGS: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comm_may_hold_anything() {
        let stat = Stat::parse(b"42 (a) b (c) S 7 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987 10 11 1844 1 1 0 0")
            .expect("parses");
        assert_eq!((stat.comm.as_slice(), stat.ppid, stat.start), (&b"a) b (c"[..], 7, 9_870_000_000));
    }

    #[test]
    fn this_process_is_found_as_it_is() {
        let own = scan(std::process::id()).expect("we are there");
        let exe = std::env::current_exe().expect("we have one");
        assert_eq!(own.process.exe, exe.as_os_str().as_bytes());
        assert_eq!(own.process.args().count(), std::env::args().count());
        assert!(own.process.namespaces.is_some_and(|ns| ns.net != 0 && ns.pid != 0));
        assert!(pids().expect("/proc lists").contains(&std::process::id()));
    }

    #[test]
    fn the_unified_path_wins_unless_it_is_the_root() {
        assert_eq!(cgroup(b"3:memory:/docker/x\n1:name=systemd:/y\n0::/\n"), "/docker/x");
        assert_eq!(cgroup(b"0::/user.slice/z\n"), "/user.slice/z");
        assert_eq!(cgroup(b"4:cpu,cpuacct:/q\n0::/\n"), "/q");
        assert_eq!(cgroup(b""), "");
    }
}
