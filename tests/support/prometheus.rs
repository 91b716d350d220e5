//! A real Prometheus that scrapes one address, and its query API.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::agent::{PATIENCE, free_address};

pub struct Prometheus {
    child: Child,
    at: SocketAddr,
    directory: PathBuf,
}

impl Prometheus {
    /// Starts one that scrapes `target` every second. None, with the reason printed, where the machine has none.
    pub fn scraping(target: SocketAddr) -> Option<Prometheus> {
        if Command::new("prometheus").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
            eprintln!("skipped: prometheus is not installed");
            return None;
        }
        let at = free_address();
        let directory = std::env::temp_dir().join(format!("tawon-prometheus-{}-{}", std::process::id(), at.port()));
        std::fs::create_dir_all(&directory).expect("a directory");
        let config = format!(
            "global: {{scrape_interval: 1s}}\nscrape_configs: [{{job_name: tawon, static_configs: [{{targets: ['{target}']}}]}}]\n"
        );
        std::fs::write(directory.join("prometheus.yml"), config).expect("written");
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", directory.join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", directory.join("data").display()))
            .arg(format!("--web.listen-address={at}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("prometheus starts");
        Some(Prometheus { child, at, directory })
    }

    /// Asks until the instant query gives a value, and returns its first one; a scrape that failed since its second was
    /// over has none, but for `up`. Panics after `PATIENCE`.
    pub fn query(&self, expression: &str) -> String {
        let end = Instant::now() + PATIENCE;
        let mut said = String::new();
        while Instant::now() < end {
            said = self.ask(expression).unwrap_or_else(|error| error.to_string());
            let json: serde_json::Value = serde_json::from_str(&said).unwrap_or_default();
            if let Some(value) = json["data"]["result"][0]["value"][1].as_str() {
                return value.to_owned();
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        panic!("{expression} has no value after {PATIENCE:?}: {said}");
    }

    fn ask(&self, expression: &str) -> std::io::Result<String> {
        let query: String = expression.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let mut stream = TcpStream::connect(self.at)?;
        write!(stream, "GET /api/v1/query?query={query} HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default())
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}
