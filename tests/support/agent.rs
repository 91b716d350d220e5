//! The real agent with a configuration of the test's, on loopback ports of its own.

#![allow(dead_code)] // each program uses a part of it

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

pub struct Agent {
    child: Child,
    /// Where its metrics are.
    pub at: SocketAddr,
    /// Holds `tawon.yaml`, `stdout`, `stderr` and what the configuration writes; removed behind it.
    pub directory: PathBuf,
}

impl Agent {
    /// Starts the agent and waits until it is ready. `DIR` in the configuration becomes the directory,
    /// `PORT` the address of metrics and probes.
    pub fn start(name: &str, config: &str) -> Agent {
        let agent = Agent::spawn(name, config);
        agent.until("ready", || agent.get("/readyz").is_ok_and(|answer| answer.status == 200));
        agent
    }

    /// The same without waiting.
    pub fn spawn(name: &str, config: &str) -> Agent {
        Agent::spawn_with(name, config, &[])
    }

    /// The same with further arguments.
    pub fn spawn_with(name: &str, config: &str, arguments: &[&str]) -> Agent {
        let at = free_address();
        let directory = std::env::temp_dir().join(format!("tawon-agent-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("a directory");
        let file = directory.join("tawon.yaml");
        std::fs::write(&file, filled(config, at, &directory)).expect("written");
        let output = |name: &str| std::fs::File::create(directory.join(name)).expect("created");
        let child = Command::new(env!("CARGO_BIN_EXE_tawon"))
            .args(["agent", "--config"])
            .arg(&file)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(output("stdout"))
            .stderr(output("stderr"))
            .spawn()
            .expect("the agent starts");
        Agent { child, at, directory }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Writes another configuration and sends SIGHUP.
    pub fn reload(&self, config: &str) {
        std::fs::write(self.directory.join("tawon.yaml"), filled(config, self.at, &self.directory)).expect("written");
        self.signal("HUP");
    }

    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name]).arg(self.pid().to_string()).status();
        assert!(sent.is_ok_and(|status| status.success()), "signal {name}");
    }

    /// SIGTERM; the exit status of an end in order.
    pub fn stop(mut self) -> ExitStatus {
        self.signal("TERM");
        self.wait()
    }

    /// The exit status, which must come in time.
    pub fn wait(&mut self) -> ExitStatus {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status;
            }
            assert!(Instant::now() < end, "the agent does not end: {}", self.stderr());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn get(&self, path: &str) -> std::io::Result<Answer> {
        get(self.at, path)
    }

    /// A scrape.
    pub fn metrics(&self) -> String {
        self.get("/metrics").expect("a scrape").body
    }

    /// The value of one series in a scrape, written as there.
    pub fn value(&self, series: &str) -> Option<f64> {
        let text = self.metrics();
        text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
    }

    pub fn stderr(&self) -> String {
        std::fs::read_to_string(self.directory.join("stderr")).unwrap_or_default()
    }

    /// Waits for a condition; panics after `PATIENCE` with what the agent said.
    pub fn until(&self, what: &str, mut done: impl FnMut() -> bool) {
        let end = Instant::now() + PATIENCE;
        while !done() {
            assert!(Instant::now() < end, "not {what} after {PATIENCE:?}: {}", self.stderr());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

/// How long anything may take: long enough for a machine that others keep busy.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// One GET on a connection of its own.
pub fn get(at: SocketAddr, path: &str) -> std::io::Result<Answer> {
    let mut stream = TcpStream::connect(at)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let (head, body) = text.split_once("\r\n\r\n").ok_or(std::io::ErrorKind::UnexpectedEof)?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_default();
    Ok(Answer { status, head: head.to_owned(), body: body.to_owned() })
}

/// An address of the loopback interface that nobody else has or gets: of this process, and with a port that is not given
/// to whoever asks for any.
pub fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(20_000);
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    let ip = Ipv4Addr::new(127, 64 + high, middle, low);
    let mut addresses =
        std::iter::repeat_with(|| SocketAddr::from((ip, NEXT.fetch_add(1, Ordering::Relaxed)))).take(10_000);
    // Somebody may listen on a port of all addresses.
    addresses.find(|at| TcpListener::bind(at).is_ok()).expect("a free port")
}

fn filled(config: &str, at: SocketAddr, directory: &Path) -> String {
    config.replace("PORT", &at.to_string()).replace("DIR", &directory.display().to_string())
}
