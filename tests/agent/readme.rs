//! Every command of README.md is run, in order, as a reader would type it.
//!
//! A block of ```sh is one script; of ```console each line after `$ ` is a command and the rest is what it may print.
//! A comment on the line before a block says what is special about it:
//!
//! - `<!-- test: serves 9990 -->`: it keeps running until it is interrupted; later blocks run beside it. It must answer
//!   `GET /metrics` on that port, and end with exit code 0 when the next such block begins or the file ends.
//! - `<!-- test: skip WHY -->`: it cannot run here.
//!
//! Blocks of ```yaml with `directives:` must pass `tawon check`. A block without a language is output, and not run.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

#[test]
fn every_command_of_the_readme_works() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("README.md")).unwrap();
    let blocks = blocks(&text);
    assert!(blocks.iter().any(|block| block.language == "sh" || block.language == "console"), "no commands found");
    let mut serving: Option<Serving> = None;
    for block in &blocks {
        match (block.language.as_str(), &block.note) {
            ("sh" | "console", Note::Skip(why)) => {
                println!(
                    "SKIPPED PART: README.md:{}: {}: {why}",
                    block.line,
                    block.text.lines().next().unwrap_or_default()
                );
            }
            ("sh" | "console", Note::Serves(port)) => {
                if let Some(before) = serving.take() {
                    before.interrupt();
                }
                serving = Some(Serving::start(block, *port));
            }
            ("sh" | "console", Note::None) => run_to_the_end(block),
            ("yaml", _) if block.text.contains("directives:") => check_configuration(block),
            ("yaml" | "json" | "text" | "", _) => {}
            (other, _) => panic!("README.md:{}: a block of {other:?} is neither run nor known as output", block.line),
        }
    }
    if let Some(last) = serving {
        last.interrupt();
    }
}

#[test]
fn blocks_are_found_with_their_language_and_their_note() {
    let text = "a\n```sh\nx\ny\n```\n<!-- test: serves 9990 -->\n```console\n$ one \\\n  two\nout\n$ three\n```\n\
        <!-- test: skip no cluster -->\n\n```sh\nhelm\n```\n    ```sh\n```yaml\nk: v\n```\n";
    let found: Vec<_> = blocks(text).into_iter().map(|b| (b.line, b.language, b.note, b.text)).collect();
    let expected = [
        (3, "sh", Note::None, "x\ny\n"),
        (8, "console", Note::Serves(9990), "one \\\n  two\nthree\n"),
        (16, "sh", Note::Skip("no cluster".into()), "helm\n"),
        (20, "yaml", Note::None, "k: v\n"),
    ];
    assert_eq!(found, expected.map(|(line, language, note, text)| (line, language.into(), note, text.to_owned())));
}

/// One fenced block; of a console only what was typed.
struct Block {
    /// Of its first line within the fences, from 1.
    line: usize,
    language: String,
    note: Note,
    text: String,
}

#[derive(Clone, PartialEq, Debug)]
enum Note {
    None,
    Serves(u16),
    Skip(String),
}

fn blocks(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut note = Note::None;
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        if let Some(said) = line.strip_prefix("<!-- test: ").and_then(|rest| rest.strip_suffix(" -->")) {
            note = match said.split_once(' ') {
                Some(("serves", port)) => Note::Serves(port.parse().expect("a port")),
                Some(("skip", why)) => Note::Skip(why.to_owned()),
                _ => panic!("README.md:{}: {said:?} is no note", number + 1),
            };
        } else if let Some(language) = line.strip_prefix("```") {
            let body: Vec<&str> = lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```").collect();
            let text = if language == "console" { typed(&body) } else { body.join("\n") + "\n" };
            let note = std::mem::replace(&mut note, Note::None);
            blocks.push(Block { line: number + 2, language: language.to_owned(), note, text });
        } else if !line.is_empty() {
            assert_eq!(note, Note::None, "README.md:{}: a note without a block", number + 1);
        }
    }
    blocks
}

/// What follows `$ `, with continued lines.
fn typed(lines: &[&str]) -> String {
    let mut commands = String::new();
    let mut continued = false;
    for line in lines {
        let command = if continued { Some(*line) } else { line.strip_prefix("$ ") };
        if let Some(command) = command {
            commands.push_str(command);
            commands.push('\n');
        }
        continued = command.is_some_and(|command| command.ends_with('\\'));
    }
    commands
}

/// The script in the project's directory, `tawon` being the program under test, its output in a file.
fn shell(block: &Block) -> (Child, PathBuf) {
    let log = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("readme-{}.log", block.line));
    let output = std::fs::File::create(&log).unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_tawon")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    let child = Command::new("bash")
        .args(["-euo", "pipefail", "-c", &block.text])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("PATH", path)
        .stdin(Stdio::null())
        .stdout(output.try_clone().unwrap())
        .stderr(output)
        .process_group(0)
        .spawn()
        .unwrap();
    (child, log)
}

fn run_to_the_end(block: &Block) {
    let (mut child, log) = shell(block);
    let ended = wait(&mut child, DEADLINE);
    if ended != Some(0) {
        signal(&child, "KILL");
        panic!("README.md:{}: exit code {ended:?}\n{}\n{}", block.line, block.text, tail(&log));
    }
}

fn check_configuration(block: &Block) {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("readme-{}.yaml", block.line));
    std::fs::write(&file, &block.text).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_tawon")).arg("check").arg(&file).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "README.md:{}: {said}{}", block.line, String::from_utf8_lossy(&output.stdout));
}

/// A block that keeps running.
struct Serving {
    child: Child,
    log: PathBuf,
    line: usize,
}

impl Serving {
    fn start(block: &Block, port: u16) -> Serving {
        assert!(metrics(port).is_none(), "something already listens on port {port}");
        let (child, log) = shell(block);
        let mut serving = Serving { child, log, line: block.line };
        let deadline = Instant::now() + DEADLINE;
        while metrics(port).is_none_or(|answer| !answer.starts_with("HTTP/1.1 200 ")) {
            let ended = serving.child.try_wait().unwrap();
            if ended.is_some() || Instant::now() > deadline {
                panic!("README.md:{}: {ended:?} without /metrics on {port}\n{}", block.line, tail(&serving.log));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        serving
    }

    /// As Ctrl-C does: to the whole process group.
    fn interrupt(mut self) {
        signal(&self.child, "INT");
        let ended = wait(&mut self.child, Duration::from_secs(120));
        assert_eq!(ended, Some(0), "README.md:{}: after Ctrl-C\n{}", self.line, tail(&self.log));
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            signal(&self.child, "KILL");
        }
    }
}

/// The exit code; None when it was killed or is still running at the deadline.
fn wait(child: &mut Child, within: Duration) -> Option<i32> {
    let deadline = Instant::now() + within;
    loop {
        match child.try_wait().unwrap() {
            Some(status) => return status.code(),
            None if Instant::now() > deadline => return None,
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

fn signal(child: &Child, name: &str) {
    let _ = Command::new("kill").args([&format!("-{name}"), "--", &format!("-{}", child.id())]).status();
}

/// The first bytes that a scrape is answered with.
fn metrics(port: u16) -> Option<String> {
    let mut peer = TcpStream::connect(("127.0.0.1", port)).ok()?;
    peer.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    peer.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = Vec::new();
    peer.take(64).read_to_end(&mut answer).ok()?;
    Some(String::from_utf8_lossy(&answer).into_owned())
}

/// The end of a log.
fn tail(log: &Path) -> String {
    let text = String::from_utf8_lossy(&std::fs::read(log).unwrap_or_default()).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}

/// A block may build the whole project.
const DEADLINE: Duration = Duration::from_secs(900);
