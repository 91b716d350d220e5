//! Processes that do what tests look for: this test program itself, started under another name, which then
//! carries out one of the workloads of `work` instead of tests.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::agent::directory;

/// A process with a name of its own, so that a condition finds it alone.
pub struct Worker {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    directory: PathBuf,
}

impl Worker {
    /// Starts a workload under this name.
    pub fn start(name: &str, arguments: &[&str]) -> Worker {
        let directory = directory("worker");
        let program = alias(&directory, name, &std::env::current_exe().expect("we have one"));
        let mut child = Command::new(program)
            .args(arguments)
            .env(MARK, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a worker starts");
        let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        Worker { stdin: child.stdin.take(), child, stdout, directory }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next line that it says.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("it speaks");
        assert!(line.ends_with('\n'), "the worker ended early: {line:?}");
        line.trim_end().to_owned()
    }

    /// The numbers of the next line.
    pub fn numbers(&mut self) -> Vec<u64> {
        let line = self.line();
        line.split(' ').map(|word| word.parse().unwrap_or_else(|_| panic!("no number in {line:?}"))).collect()
    }

    /// Lets it go on where it waits.
    pub fn go(&mut self) {
        writeln!(self.stdin.as_mut().expect("it listens")).expect("it listens");
    }

    /// Waits for its end in order; what it said that nobody has read yet.
    pub fn end(mut self) -> Vec<String> {
        let lines = (&mut self.stdout).lines().collect::<Result<_, _>>().expect("it speaks");
        let status = self.child.wait().expect("it is ours");
        assert!(status.success(), "the worker: {status}, signal {:?}", status.signal());
        lines
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// A name of at most 15 bytes that no other process of the machine has.
pub fn name(stem: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{stem}{:x}x{:x}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A program under another name in a directory.
pub fn alias(directory: &std::path::Path, name: &str, program: &std::path::Path) -> PathBuf {
    assert!(name.len() <= 15, "{name} is too long for a comm");
    let path = directory.join(name);
    std::os::unix::fs::symlink(program, &path).expect("a link");
    path
}

/// Runs before main, so that a worker is an ordinary program with one thread and the arguments it was given.
#[used]
#[unsafe(link_section = ".init_array")]
static BEGIN: extern "C" fn() = begin;

extern "C" fn begin() {
    if std::env::var_os(MARK).is_some() {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        crate::work::main(&arguments);
        std::process::exit(0);
    }
}

const MARK: &str = "TAWON_TEST_WORKER";
