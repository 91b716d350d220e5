//! The listener and the text of a scrape against a real Prometheus.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mio::{Events, Poll};
use tawon::http::routes::{Routes, Site};
use tawon::http::status::Status;
use tawon::http::{Scope, Server};
use tawon::metrics::Metrics;
use tawon::time::{Instant, Timestamp};

use crate::support::prometheus::Prometheus;

#[test]
fn a_real_prometheus_scrapes_the_listener_and_answers() {
    let stop = Arc::new(AtomicBool::new(false));
    let (tell, told) = std::sync::mpsc::channel();
    let serving = std::thread::spawn({
        let stop = stop.clone();
        move || serve(&stop, |at| tell.send(at).expect("awaited"))
    });
    let at: SocketAddr = told.recv().expect("bound");
    if let Some(prometheus) = Prometheus::scraping(at) {
        assert_eq!(prometheus.query("up{job='tawon'} == 1"), "1");
        assert_eq!(prometheus.query("exec_msgs"), "23");
        assert_eq!(prometheus.query("count({__name__=~'h2_.*'}) > bool 50"), "1");
        // Prometheus itself asks for gzip and keeps its connection.
        let answered = prometheus.query("tawon_listener_requests_total{handler='metrics',code='200'} > 1");
        assert!(answered.parse::<u64>().is_ok_and(|answered| answered > 1), "{answered}");
    }
    stop.store(true, Ordering::Relaxed);
    serving.join().expect("the server ends");
}

struct Hall(Metrics, std::time::Instant);

impl Site for Hall {
    fn metrics(&mut self, out: &mut Vec<u8>) {
        self.0.text(Instant(self.1.elapsed().as_nanos() as u64), out);
    }

    fn ready(&self) -> Result<(), String> {
        Ok(())
    }

    fn status(&mut self) -> Status {
        unimplemented!("is not asked for")
    }
}

fn serve(stop: &AtomicBool, bound: impl FnOnce(SocketAddr)) {
    let metrics = Metrics::new("").unwrap();
    metrics.counter("exec_msgs").inc_by(23);
    let mut poll = Poll::new().unwrap();
    let mut server = Server::new(1, &metrics);
    server.listen(poll.registry(), &[("127.0.0.1:0".parse().unwrap(), Scope::All)]).unwrap();
    bound(server.addresses().next().unwrap());
    let start = std::time::Instant::now();
    let mut hall = Hall(metrics, start);
    let mut events = Events::with_capacity(64);
    while !stop.load(Ordering::Relaxed) {
        let wait = if server.deadline() == Some(Instant(0)) { 0 } else { 50 };
        poll.poll(&mut events, Some(Duration::from_millis(wait))).unwrap();
        events.iter().for_each(|event| server.event(event));
        let now = Instant(start.elapsed().as_nanos() as u64 + 1);
        let mut routes = Routes { metrics_path: "/metrics", allow: &[], site: &mut hall };
        server.tick(now, Timestamp(0), &mut routes);
    }
}
