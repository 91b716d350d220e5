//! What a scrape costs the event loop: the text alone, then a whole exchange on a kept connection,
//! beside a bare exchange of the same bytes on the same machine.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant as Clock};

use mio::{Events, Poll};
use tawon::http::routes::{Routes, Site};
use tawon::http::status::Status;
use tawon::http::{Scope, Server};
use tawon::metrics::{Metrics, Runs};
use tawon::time::{Instant, Timestamp};

fn main() {
    let rounds = 300;
    let mut hall = Hall(Metrics::new("").expect("no prefix"));
    Runs::new(&hall.0, "node-7").configured("processes", ["exec", "log"]);
    let mut text = Vec::new();
    let bytes_ns = time(rounds, || {
        text.clear();
        hall.metrics(&mut text);
    });
    let series = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty() && !line.starts_with(b"#")).count();

    let bare = bare_exchange(rounds, &text);
    let mut poll = Poll::new().expect("epoll");
    let mut server = Server::new(0, &hall.0);
    server
        .listen(poll.registry(), &[("127.0.0.1:0".parse().expect("an address"), Scope::All)])
        .expect("a port of the loopback address");
    let mut client = TcpStream::connect(server.addresses().next().expect("bound")).expect("connects");
    client.set_nonblocking(true).expect("a socket");
    let mut events = Events::with_capacity(16);
    let mut exchange = |coding: &str| {
        let request = format!("GET /metrics HTTP/1.1\r\nHost: a\r\nAccept-Encoding: {coding}\r\n\r\n");
        let mut got = Vec::new();
        let mut length = 0;
        let ns = time(rounds, || {
            client.write_all(request.as_bytes()).expect("a small request");
            got.clear();
            loop {
                poll.poll(&mut events, Some(Duration::ZERO)).expect("polls");
                events.iter().for_each(|event| server.event(event));
                let mut routes = Routes { metrics_path: "/metrics", allow: &[], site: &mut hall };
                server.tick(Instant(1), Timestamp(0), &mut routes);
                let mut buffer = [0; 1 << 16];
                while let Ok(read @ 1..) = client.read(&mut buffer) {
                    got.extend_from_slice(&buffer[..read]);
                }
                if whole(&got) {
                    break;
                }
            }
            length = got.len();
        });
        (ns, length)
    };
    let (plain_ns, plain) = exchange("identity");
    let (gzip_ns, gzip) = exchange("gzip");
    println!("text of {series} series, {} bytes: {bytes_ns} ns", text.len());
    println!("bare exchange of as many bytes: {bare} ns");
    println!("scrape, {plain} bytes: {plain_ns} ns, {:.2} of the bare exchange", plain_ns as f64 / bare as f64);
    println!("scrape with gzip, {gzip} bytes: {gzip_ns} ns, {:.2} of the bare exchange", gzip_ns as f64 / bare as f64);
}

struct Hall(Metrics);

impl Site for Hall {
    fn metrics(&mut self, out: &mut Vec<u8>) {
        self.0.text(Instant(1), out);
    }

    fn ready(&self) -> Result<(), String> {
        Ok(())
    }

    fn status(&mut self) -> Status {
        unimplemented!("is not asked for")
    }
}

/// The median of so many rounds in nanoseconds.
fn time(rounds: usize, mut work: impl FnMut()) -> u64 {
    let mut took: Vec<u64> = (0..rounds)
        .map(|_| {
            let start = Clock::now();
            work();
            start.elapsed().as_nanos() as u64
        })
        .collect();
    took.sort_unstable();
    took[rounds / 2]
}

fn bare_exchange(rounds: usize, bytes: &[u8]) -> u64 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut client = TcpStream::connect(listener.local_addr().expect("bound")).expect("connects");
    let (mut server, _) = listener.accept().expect("accepts");
    let mut buffer = vec![0; bytes.len()];
    time(rounds, || {
        client.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("sends");
        let mut request = [0; 18];
        server.read_exact(&mut request).expect("receives");
        server.write_all(bytes).expect("the socket's buffer holds it");
        client.read_exact(&mut buffer).expect("receives");
    })
}

fn whole(answer: &[u8]) -> bool {
    let Some(at) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { return false };
    let head = String::from_utf8_lossy(&answer[..at]);
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")?.parse::<usize>().ok());
    length.is_some_and(|length| answer.len() == at + 4 + length)
}
