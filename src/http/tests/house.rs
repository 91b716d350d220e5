//! A server on real sockets whose loop and clock the test turns, and what it shows.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use mio::{Events, Poll};

use crate::config::{Listen, Network};
use crate::http::listener::{Scope, Server};
use crate::http::routes::{Routes, Site};
use crate::http::status::{Config, Counts, Directive, Runs, Status, Task};
use crate::metrics::Metrics;
use crate::pipeline::{End, State};
use crate::time::{Instant, Timestamp};

/// A server with its loop, turned by the test.
pub struct House {
    pub poll: Poll,
    events: Events,
    pub server: Server,
    metrics: Metrics,
    pub hall: Hall,
    /// Where its first listener is reached.
    pub at: SocketAddr,
    now: Instant,
}

/// What the server shows.
pub struct Hall {
    /// Of /metrics.
    pub body: Vec<u8>,
    pub ready: Result<(), &'static str>,
    /// Of a directive.
    pub name: String,
}

impl Site for Hall {
    fn metrics(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.body);
    }

    fn ready(&self) -> Result<(), String> {
        self.ready.map_err(str::to_owned)
    }

    fn status(&mut self) -> Status {
        status(&self.name)
    }
}

impl House {
    pub fn new() -> House {
        House::listening(&[("127.0.0.1:0", Scope::All)])
    }

    pub fn listening(at: &[(&str, Scope)]) -> House {
        let metrics = Metrics::new("").unwrap();
        let poll = Poll::new().unwrap();
        let mut server = Server::new(100, &metrics);
        server.listen(poll.registry(), &listens(at)).unwrap();
        let bound = server.addresses().next().unwrap();
        let loopback = if bound.is_ipv6() { "::1" } else { "127.0.0.1" };
        let body = b"# HELP x y\n# TYPE x counter\nx 1\n".repeat(100);
        let hall = Hall { body, ready: Ok(()), name: "processes".to_owned() };
        let at = SocketAddr::new(loopback.parse().unwrap(), bound.port());
        House { poll, events: Events::with_capacity(256), server, metrics, hall, at, now: Instant(1 << 40) }
    }

    pub fn connect(&mut self) -> TcpStream {
        let client = TcpStream::connect(self.at).unwrap();
        client.set_nonblocking(false).unwrap();
        client
    }

    /// Waits, without a turn, until what a client sent is where the server finds it: on a busy machine the kernel may
    /// bring it there later.
    pub fn until_arrived(&self, client: &TcpStream) {
        let hexadecimal = |port: u16| format!(":{port:04X}");
        let (own, peer) = (hexadecimal(client.local_addr().unwrap().port()), hexadecimal(self.at.port()));
        let end = std::time::Instant::now() + PATIENCE;
        // Local end, remote end, state, bytes that are not acknowledged.
        let arrived = || {
            let sockets = std::fs::read_to_string("/proc/net/tcp").unwrap();
            sockets.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).any(|of| {
                of[1].ends_with(&own) && of[2].ends_with(&peer) && of[3] == "01" && of[4].starts_with("00000000:")
            })
        };
        while !arrived() {
            assert!(std::time::Instant::now() < end, "nothing arrives");
        }
    }

    /// One turn of the loop, at the present time.
    pub fn turn(&mut self) {
        let wait = if self.server.deadline() == Some(Instant(0)) { 0 } else { 2 };
        self.poll.poll(&mut self.events, Some(Duration::from_millis(wait))).unwrap();
        for event in &self.events {
            assert!(self.server.owns(event.token()));
            self.server.event(event);
        }
        let allow: &[Network] = &[];
        let mut routes = Routes { metrics_path: "/metrics", allow, site: &mut self.hall };
        self.server.tick(self.now, Timestamp(784_111_777_000_000_000), &mut routes);
    }

    pub fn until(&mut self, mut done: impl FnMut(&mut House) -> bool) {
        let end = std::time::Instant::now() + PATIENCE;
        while !done(self) {
            assert!(std::time::Instant::now() < end, "did not come about in {PATIENCE:?}");
            self.turn();
        }
    }

    /// Lets time pass and everything happen that is due.
    pub fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        for _ in 0..5 {
            self.turn();
        }
    }

    /// Sends one request on a connection of its own and reads until the server closes it.
    pub fn ask(&mut self, request: &str) -> String {
        let mut client = self.connect();
        let _ = client.write_all(request.as_bytes());
        self.read(&mut client, |_| false)
    }

    pub fn read(&mut self, client: &mut TcpStream, done: impl Fn(&str) -> bool) -> String {
        String::from_utf8(self.bytes(client, |got| std::str::from_utf8(got).is_ok_and(&done))).unwrap()
    }

    /// Reads until `done` or the end of the connection.
    pub fn bytes(&mut self, client: &mut TcpStream, done: impl Fn(&[u8]) -> bool) -> Vec<u8> {
        client.set_nonblocking(true).unwrap();
        let (mut got, mut buffer) = (Vec::new(), vec![0; 1 << 16]);
        let mut over = false;
        self.until(|_| {
            loop {
                match client.read(&mut buffer) {
                    Ok(0) => over = true,
                    Ok(read) => {
                        got.extend_from_slice(&buffer[..read]);
                        continue;
                    }
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                    Err(_) => over = true,
                }
                return over || done(&got);
            }
        });
        client.set_nonblocking(false).unwrap();
        got
    }

    pub fn open(&self) -> usize {
        self.server.open()
    }

    pub fn count(&self, handler: &str, code: &str) -> u64 {
        self.metrics.counters("tawon_listener_requests_total").with_label_values(&[handler, code]).get()
    }
}

const PATIENCE: Duration = Duration::from_secs(120);

pub fn listens(at: &[(&str, Scope)]) -> Vec<(Listen, Scope)> {
    at.iter().map(|(text, scope)| (text.parse().unwrap(), *scope)).collect()
}

fn status(name: &str) -> Status {
    let start = Timestamp(1_795_363_199_000_000_000);
    let now = Timestamp(start.0 + 7_384_000_000_000);
    let counts = |list: &[(&'static str, u64)]| Counts(list.iter().map(|(name, n)| ((*name).into(), *n)).collect());
    let task = |task: &str, list| Task { task: task.to_owned(), counts: counts(list) };
    let directive = Directive {
        name: name.to_owned(),
        origin: Some("/etc/tawon/tawon.yaml:21".to_owned()),
        state: State::Running,
        status: None,
        since: start,
        starts_at: None,
        ends_at: None,
        next_try_at: None,
        last_error: None,
        runs: Runs::default(),
        tasks: vec![task("exec", &[("records", 48_211)]), task("log", &[("written", 48_200), ("dropped", 11)])],
        counts: counts(&[]),
    };
    let failed = Directive {
        name: "sbi".to_owned(),
        state: State::Ended,
        status: Some(End::Failed),
        next_try_at: Some(Timestamp(now.0 + 64_000_000_000)),
        last_error: Some("payload: attach: EPERM".to_owned()),
        runs: Runs { failed: 7, ..Runs::default() },
        tasks: vec![task("payload", &[]), task("h2", &[]), task("publish", &[])],
        ..directive.clone()
    };
    let scheduled = Directive {
        name: "night".to_owned(),
        state: State::Scheduled,
        starts_at: Some(Timestamp(now.0 + 3_600_000_000_000)),
        ..directive.clone()
    };
    Status {
        tawon_id: "node-7".to_owned(),
        hostname: "worker-7.example".to_owned(),
        version: "0.1.0",
        revision: "1a2b3c4",
        started_at: start,
        now,
        ready: true,
        config: Config {
            path: Some("/etc/tawon/tawon.yaml".to_owned()),
            loaded_at: Some(start),
            error: Some("/etc/tawon/tawon.yaml:14:9: unknown key `taks`; nearest is `tasks`".to_owned()),
            restart_required: true,
        },
        directives: vec![directive, failed, scheduled],
        losses: counts(&[("exec_msgs_lost", 1_234_567), ("flow_msgs_lost", 0)]),
    }
}
