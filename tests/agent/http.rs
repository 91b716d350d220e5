//! The listener, the metrics and the page of the real agent.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Command, Stdio};

use tawon::metrics::catalogue::CATALOGUE;

use crate::support::agent::{Agent, free_address, get};
use crate::support::prometheus::Prometheus;
use crate::support::promtool;

#[test]
fn a_real_scrape_shows_every_metric_of_the_contract_and_promtool_finds_what_is_known() {
    let agent = Agent::start("scrape", CONFIG);
    let text = agent.metrics();
    let types: BTreeMap<&str, &str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
    for metric in CATALOGUE {
        assert_eq!(types.get(metric.name), Some(&metric.kind.name()), "{}", metric.name);
    }
    let series = text.lines().filter(|line| !line.starts_with('#')).count();
    assert!(series < 1500, "{series}");
    if let Some(promtool) = promtool::find() {
        let known: BTreeSet<String> = include_str!("../data/promtool-known.txt").lines().map(str::to_owned).collect();
        assert_eq!(promtool.check(&text), known);
    }
    assert!(agent.stop().success());
}

#[test]
fn a_real_prometheus_scrapes_the_agent_and_answers() {
    let agent = Agent::start("prometheus", CONFIG);
    let Some(prometheus) = Prometheus::scraping(agent.at) else { return };
    assert_eq!(prometheus.query("up == 1"), "1");
    let tasks = prometheus.query("count(tasks_ran_total{tawonID='node-7',task='exec'})");
    assert_eq!(tasks, "3", "completed, stopped, failed");
    assert_eq!(prometheus.query("tawon_directive_state{directive='processes',state='running'}"), "1");
}

#[test]
fn clients_that_stall_or_flood_keep_nobody_from_a_scrape() {
    let agent = Agent::start("flood", CONFIG);
    let fds = || std::fs::read_dir(format!("/proc/{}/fd", agent.pid())).expect("runs").count();
    let before = fds();
    // Half a request, an answer that is not read, silence, garbage.
    let mut stalled: Vec<TcpStream> = (0..40).map(|_| TcpStream::connect(agent.at).expect("connects")).collect();
    for (at, client) in stalled.iter_mut().enumerate() {
        match at % 4 {
            0 => client.write_all(b"GET /metrics HTT").expect("sent"),
            1 => client.write_all("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n".repeat(100).as_bytes()).expect("sent"),
            2 => client.write_all(b"\x16\x03\x01\x02\x00").expect("sent"),
            _ => {}
        }
    }
    for _ in 0..20 {
        assert_eq!(agent.get("/metrics").expect("answered beside the stalled ones").status, 200);
    }
    for _ in 0..10_000 {
        // Turned away or taken and closed; never a wait.
        drop(TcpStream::connect(agent.at));
    }
    drop(stalled);
    agent.until("as many descriptors as before", || fds() <= before + 1);
    assert_eq!(agent.get("/healthz").expect("answered").status, 200);
    assert!(agent.value("tawon_listener_requests_total{code=\"400\",handler=\"other\"}") >= Some(10.0));
}

#[test]
fn want_of_descriptors_is_told_once_and_not_at_every_try() {
    let agent = Agent::start("descriptors", CONFIG);
    let limit = |descriptors: &str| {
        let pid = agent.pid().to_string();
        let set = Command::new("prlimit").args(["--pid", &pid, &format!("--nofile={descriptors}:")]).status();
        assert!(set.is_ok_and(|status| status.success()), "prlimit");
    };
    let ask = || {
        let mut client = TcpStream::connect(agent.at).expect("connects");
        client.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
        client
    };
    let mut kept = ask();
    let mut head = || {
        let (mut got, mut buffer) = (Vec::new(), [0; 1024]);
        while !got.ends_with(b"ok\n") {
            let read = kept.read(&mut buffer).expect("answered");
            assert!(read > 0, "the connection was closed");
            got.extend_from_slice(&buffer[..read]);
        }
        kept.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
        String::from_utf8(got).expect("text")
    };
    head();
    // Those that are open stay so.
    limit("3");
    let _waiting = ask();
    let told = || agent.stderr().matches("accept failed").count();
    agent.until("out of descriptors", || told() > 0);
    // It tries ten times a second: until its clock has gone on by more than one.
    let dates = std::cell::RefCell::new(BTreeSet::new());
    agent.until("seconds later", || {
        let date = head().lines().find(|line| line.starts_with("Date: ")).map(str::to_owned);
        dates.borrow_mut().insert(date);
        dates.borrow().len() > 2
    });
    limit("1024");
    agent.until("accepting again", || agent.stderr().contains("accepts again"));
    assert_eq!(agent.get("/healthz").expect("answered").status, 200);
    assert_eq!(told(), 1, "{}", agent.stderr());
}

#[test]
fn directives_and_the_page_are_for_loopback_and_allowed_networks() {
    // Chooses the source address that a packet to the outside would have; sends nothing.
    let own = UdpSocket::bind("0.0.0.0:0").and_then(|socket| {
        socket.connect("192.0.2.1:9")?;
        socket.local_addr()
    });
    let Ok(own) = own else { return eprintln!("skipped: this machine has no address but loopback") };
    let port = TcpListener::bind("0.0.0.0:0").and_then(|free| free.local_addr()).expect("a free port").port();
    let config = |allow: &str| CONFIG.replace("listen: \"PORT\"", &format!("listen: \":{port}\"")) + allow;
    let mut agent = Agent::spawn("guarded", &config(""));
    agent.at = SocketAddr::new("127.0.0.1".parse().expect("an address"), port);
    agent.until("ready", || agent.get("/readyz").is_ok_and(|answer| answer.status == 200));
    let from_outside = |path: &str| get(SocketAddr::new(own.ip(), port), path).expect("answered").status;
    for path in ["/", "/directives"] {
        assert_eq!((agent.get(path).expect("answered").status, from_outside(path)), (200, 403), "{path}");
    }
    assert_eq!((from_outside("/metrics"), from_outside("/healthz"), from_outside("/readyz")), (200, 200, 200));
    agent.reload(&config(&format!("status: {{allow: [\"{}\"]}}\n", own.ip())));
    agent.until("let in", || from_outside("/") == 200);
    assert_eq!(from_outside("/directives"), 200);
}

#[test]
fn the_page_and_directives_tell_what_runs() {
    let agent = Agent::start("page", CONFIG);
    let json: serde_json::Value =
        serde_json::from_str(&agent.get("/directives").expect("answered").body).expect("JSON");
    assert_eq!(json["tawonID"], "node-7");
    let names: Vec<_> = json["directives"].as_array().expect("a list").iter().map(|each| &each["name"]).collect();
    assert_eq!(names, ["processes", "connections"]);
    for directive in json["directives"].as_array().expect("a list") {
        assert_eq!(directive["state"], "running");
        assert!(directive["since"].is_string() && directive["tasks"][1]["counts"]["dropped"] == 0, "{directive}");
    }
    let chromium = Command::new("chromium")
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=2000", "--dump-dom"])
        .arg(format!("http://{}/", agent.at))
        .stderr(Stdio::null())
        .output();
    let Ok(output) = chromium else { return eprintln!("skipped: chromium is not installed") };
    let page = String::from_utf8_lossy(&output.stdout).into_owned();
    for part in
        ["<h1>Tawon</h1>", ">processes<", ">connections<", ">running<", "href=\"/metrics\"", "Nothing was lost."]
    {
        assert!(page.contains(part), "{part}: {page}");
    }
}

#[test]
fn an_address_in_use_ends_the_start_and_leaves_a_reload_without_effect() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let in_use = taken.local_addr().expect("bound").to_string();
    let mut refused = Agent::spawn("taken", &CONFIG.replace("PORT", &in_use));
    assert_eq!(refused.wait().code(), Some(3));
    assert!(refused.stderr().contains(&in_use), "{}", refused.stderr());

    let agent = Agent::start("kept", CONFIG);
    agent.reload(&CONFIG.replace("PORT", &in_use));
    agent.until("failed", || agent.value("tawon_config_last_reload_successful") == Some(0.0));
    let other = free_address();
    agent.reload(&CONFIG.replace("PORT", &other.to_string()));
    agent.until("moved", || get(other, "/readyz").is_ok_and(|answer| answer.status == 200));
    agent.until("closed", || TcpStream::connect(agent.at).is_err());
    assert!(get(other, "/metrics").expect("answered").body.contains("tawon_config_last_reload_successful 1\n"));
}

#[test]
fn one_connection_is_kept_over_many_scrapes() {
    let agent = Agent::start("kept-alive", CONFIG);
    let mut client = TcpStream::connect(agent.at).expect("connects");
    for _ in 0..50 {
        client.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
        let mut got = Vec::new();
        while !got.ends_with(b"\r\n\r\nok\n") {
            let mut buffer = [0; 1024];
            let read = client.read(&mut buffer).expect("answered");
            assert!(read > 0, "the connection was closed");
            got.extend_from_slice(&buffer[..read]);
        }
    }
}

const CONFIG: &str = "
tawonID: node-7
metrics: {listen: \"PORT\"}
probes: {listen: \"PORT\"}
directives:
  - name: processes
    tasks: [{task: exec}, {task: file, config: {path: DIR/processes}}]
  - name: connections
    tasks: [{task: flows}, {task: file, config: {path: DIR/connections}}]
";
