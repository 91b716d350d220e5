//! The real agent, started for one test, with the records that it writes and the metrics that it shows.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::agent::free_address;
use crate::support::syscalls;

pub struct Agent {
    child: Child,
    directory: PathBuf,
    settings: String,
    at: SocketAddr,
    told: Arc<Told>,
    _lock: File,
}

/// One record: the first part of its `data`.
#[derive(Clone, Debug)]
pub struct Record {
    pub directive: String,
    pub data: Value,
}

#[derive(Default)]
struct Told {
    records: Mutex<Vec<Record>>,
    more: Condvar,
}

/// The series of one scrape, each under its name with labels.
pub struct Scrape(BTreeMap<String, f64>);

impl Agent {
    /// Starts it with these directives (a YAML list, whose last tasks are `log`) and waits until it is ready.
    pub fn start(directives: &str) -> Agent {
        Agent::with("", directives)
    }

    /// The same with further settings.
    pub fn with(settings: &str, directives: &str) -> Agent {
        let lock = beside_others();
        Agent::begin(settings, directives, lock, &[])
    }

    /// The same where tracefs is not mounted, so that system calls cannot be hooked.
    pub fn without_tracefs(directives: &str) -> Agent {
        let lock = beside_others();
        let unmount = "umount -l /sys/kernel/tracing; umount -l /sys/kernel/debug; exec \"$0\" \"$@\"";
        Agent::begin("", directives, lock, &["unshare", "-m", "sh", "-c", unmount])
    }

    /// The same while no other test runs an agent, for workloads that would disturb it.
    pub fn alone(settings: &str, directives: &str) -> Agent {
        let lock = without_others();
        Agent::begin(settings, directives, lock, &[])
    }

    /// Started by `wrapper`, which becomes it.
    fn begin(settings: &str, directives: &str, lock: File, wrapper: &[&str]) -> Agent {
        let directory = directory("agent");
        let at = free_address();
        let settings =
            format!("tawonID: test\nmetrics: {{listen: \"{at}\"}}\nprobes: {{listen: \"{at}\"}}\n{settings}\n");
        let config = directory.join("tawon.yaml");
        write_config(&config, &settings, directives);
        let stderr = File::create(directory.join("stderr")).expect("a log");
        let whole = [wrapper, &[env!("CARGO_BIN_EXE_tawon")]].concat();
        let mut child = Command::new(whole[0])
            .args(&whole[1..])
            .args(["agent", "--log-level", "debug", "--config"])
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .expect("tawon starts");
        let told = Arc::new(Told::default());
        let (stdout, writer) = (child.stdout.take().expect("it is piped"), told.clone());
        std::thread::spawn(move || {
            for line in BufReader::with_capacity(1 << 20, stdout).lines().map_while(Result::ok) {
                // Only an agent that was killed leaves half a line.
                let Ok(mut line) = serde_json::from_str::<Value>(&line) else { continue };
                let directive = line["directive"].as_str().expect("a directive").to_owned();
                let data = line["data"][0]["data"].take();
                writer.records.lock().unwrap().push(Record { directive, data });
                writer.more.notify_all();
            }
        });
        let agent = Agent { child, directory, settings, at, told, _lock: lock };
        agent.wait_until_ready();
        agent
    }

    /// Waits until every directive that is to run does, or has been reported as failed.
    pub fn wait_until_ready(&self) {
        self.wait("the agent is ready", || self.get("/readyz").is_some_and(|(status, _)| status == 200));
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Writes another list of directives and has it read.
    pub fn reload(&self, directives: &str) {
        write_config(&self.directory.join("tawon.yaml"), &self.settings, directives);
        syscalls::kill(self.pid(), libc::SIGHUP).expect("it runs");
    }

    /// How many records it has written.
    pub fn records(&self) -> usize {
        self.told.records.lock().unwrap().len()
    }

    /// Stops it in its tracks, until `thaw`.
    pub fn freeze(&self) {
        syscalls::kill(self.pid(), libc::SIGSTOP).expect("it runs");
        let state = || std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap_or_default();
        self.wait("it stands still", || state().contains(") T "));
    }

    pub fn thaw(&self) {
        syscalls::kill(self.pid(), libc::SIGCONT).expect("it runs");
    }

    /// Waits until the records of now satisfy `enough`.
    pub fn until(&self, what: &str, enough: impl Fn(&[Record]) -> bool) -> Vec<Record> {
        let end = Instant::now() + patience();
        let mut records = self.told.records.lock().unwrap();
        while !enough(&records) {
            let left = end.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero(),
                "not within {:?}: {what}; {} records{}",
                patience(),
                records.len(),
                tail(&records)
            );
            records = self.told.more.wait_timeout(records, left).unwrap().0;
        }
        records.clone()
    }

    /// Waits until `condition` holds.
    pub fn wait(&self, what: &str, condition: impl Fn() -> bool) {
        let end = Instant::now() + patience();
        while !condition() {
            assert!(Instant::now() < end, "not within {:?}: {what}\n{}", patience(), self.stderr());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until a series has this value.
    pub fn until_shows(&self, series: &str, value: f64) {
        self.wait(&format!("{series} {value}"), || self.scrape().opt(series) == Some(value));
    }

    pub fn scrape(&self) -> Scrape {
        let (status, text) = self.get("/metrics").expect("the agent answers");
        assert_eq!(status, 200, "{text}");
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        Scrape(
            lines
                .map(|line| {
                    let (series, value) = line.rsplit_once(' ').expect("a series and its value");
                    (series.to_owned(), value.parse().expect("a number"))
                })
                .collect(),
        )
    }

    /// Waits until all that a module's kernel side produced has been read or counted as lost.
    pub fn wait_for_idle(&self, module: &str) -> Scrape {
        let prefix = if module == "flows" { "flow" } else { module };
        let (read, lost) = (format!("{prefix}_msgs"), format!("{prefix}_msgs_lost"));
        let end = Instant::now() + patience();
        loop {
            let now = self.scrape();
            if now.value(&read) + now.value(&lost) == now.produced_all(module) {
                return now;
            }
            assert!(
                Instant::now() < end,
                "{module} never comes to rest: read {}, lost {}, produced {}",
                now.value(&read),
                now.value(&lost),
                now.produced_all(module)
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Ends it in order; every record that it wrote.
    pub fn stop(mut self) -> Vec<Record> {
        syscalls::kill(self.pid(), libc::SIGTERM).expect("it runs");
        let end = Instant::now() + patience();
        while self.child.try_wait().expect("it is ours").is_none() {
            assert!(Instant::now() < end, "the agent does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
        let status = self.child.wait().expect("it is ours");
        assert!(status.success(), "{status}\n{}", self.stderr());
        // The reader is at the end once nobody else holds the list.
        while Arc::strong_count(&self.told) > 1 {
            assert!(Instant::now() < end, "standard output does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
        std::mem::take(&mut self.told.records.lock().unwrap())
    }

    pub fn stderr(&self) -> String {
        std::fs::read_to_string(self.directory.join("stderr")).unwrap_or_default()
    }

    fn get(&self, path: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(self.at).ok()?;
        stream.set_read_timeout(Some(patience())).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: tawon\r\nConnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let shown = self.get("/metrics").map(|(_, text)| text).unwrap_or_default();
            let moved = |line: &&str| !line.starts_with("bpf_") && !line.starts_with('#') && !line.ends_with(" 0");
            let moved: Vec<&str> = shown.lines().filter(moved).collect();
            eprintln!("the agent said:\n{}\nand shows:\n{}", self.stderr(), moved.join("\n"));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

impl Scrape {
    pub fn opt(&self, series: &str) -> Option<f64> {
        self.0.get(series).copied()
    }

    pub fn value(&self, series: &str) -> f64 {
        self.opt(series).unwrap_or_else(|| panic!("no series {series}"))
    }

    /// Series of a metric that are not 0.
    pub fn nonzero(&self, metric: &str) -> Vec<(&str, f64)> {
        let named = |series: &str| series.split('{').next() == Some(metric);
        self.0.iter().filter(|(series, value)| named(series) && **value != 0.0).map(|(s, v)| (&**s, *v)).collect()
    }

    /// What went wrong in the kernel, but for events left out that are made good later: an accept is told of at the
    /// close, an owner of datagrams at the next one.
    pub fn missed(&self) -> Vec<(&str, f64)> {
        let later = ["_accept", "tawon_sent", "tawon_received"];
        let made_good = |s: &str| s.contains("recursion_miss") && later.iter().any(|program| s.contains(program));
        self.nonzero("tawon_bpf_errors_total").into_iter().filter(|(series, _)| !made_good(series)).collect()
    }

    /// What the kernel side of a module produced of a kind.
    pub fn produced(&self, module: &str, kind: &str) -> f64 {
        self.value(&format!("tawon_bpf_records_total{{kind=\"{kind}\",module=\"{module}\"}}"))
    }

    /// What it produced of all kinds.
    pub fn produced_all(&self, module: &str) -> f64 {
        let of = format!("module=\"{module}\"");
        let named = |series: &str| series.starts_with("tawon_bpf_records_total{") && series.contains(&of);
        self.0.iter().filter(|(series, _)| named(series)).map(|(_, value)| value).sum()
    }
}

impl Record {
    pub fn text(&self, field: &str) -> &str {
        self.at(field).as_str().unwrap_or_else(|| panic!("no text {field}: {}", self.data))
    }

    pub fn number(&self, field: &str) -> u64 {
        self.at(field).as_u64().unwrap_or_else(|| panic!("no number {field}: {}", self.data))
    }

    /// A field, or one within an object as in `process.pid`; null where it is absent.
    pub fn at(&self, field: &str) -> &Value {
        field.split('.').fold(&self.data, |value, name| &value[name])
    }

    pub fn is(&self, state: &str) -> bool {
        self.at("state") == state
    }
}

/// How many records are in a state.
pub fn count(records: &[Record], state: &str) -> usize {
    records.iter().filter(|record| record.is(state)).count()
}

/// How long anything may take: long enough for an emulated machine.
pub fn patience() -> Duration {
    Duration::from_secs(180)
}

/// A directory of this test's own.
pub fn directory(name: &str) -> PathBuf {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("tawon-kernel-{}-{name}-{number}", std::process::id()));
    std::fs::create_dir_all(&path).expect("a directory");
    path
}

/// For tests that start agents or load programs in other ways, or connect: while it is held, no test has an agent `alone`.
pub fn beside_others() -> File {
    let lock = lock();
    lock.lock_shared().expect("a shared lock");
    lock
}

/// For workloads that every agent of the machine sees, of tests that start one in other ways.
pub fn without_others() -> File {
    let lock = lock();
    lock.lock().expect("a lock");
    lock
}

/// Tests may be threads of one process, or processes of their own.
fn lock() -> File {
    File::create(std::env::temp_dir().join("tawon-kernel-tests.lock")).expect("a file")
}

fn write_config(path: &std::path::Path, settings: &str, directives: &str) {
    let fresh = path.with_extension("new");
    std::fs::write(&fresh, format!("{settings}directives:\n{directives}\n")).expect("written");
    std::fs::rename(fresh, path).expect("renamed");
}

fn tail(records: &[Record]) -> String {
    records.iter().rev().take(8).fold(String::new(), |mut all, record| {
        let _ = write!(all, "\n{}: {}", record.directive, record.data);
        all
    })
}
