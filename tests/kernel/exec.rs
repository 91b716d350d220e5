//! Process starts and ends: each once, with all that belongs to it.

use std::collections::{HashMap, HashSet};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use serde_json::json;

use crate::agent::{Agent, Record, count, directory};
use crate::worker::{self, Worker, alias};

#[test]
fn twenty_three_processes_are_twenty_three_starts_and_ends() {
    let directory = directory("23");
    let name = worker::name("tk");
    let program = alias(&directory, &name, Path::new("/bin/sh"));
    let agent = Agent::start(&directive(&name, "meta: all"));
    let mut expected = HashMap::new();
    let before = nanoseconds();
    for turn in 0..23 {
        let (script, code, signal) = match turn % 3 {
            0 => (format!("sleep 0.05; exit {turn}"), Some(turn), None),
            1 => ("kill -9 $$".to_owned(), None, Some(9)),
            _ => (format!("exit {turn}"), Some(turn), None),
        };
        let began = Instant::now();
        let mut child = Command::new(&program)
            .arg0("sh")
            .args(["-c", &script, &format!("argument {turn}"), ""])
            .spawn()
            .expect("a shell starts");
        let pid = child.id();
        child.wait().expect("it is ours");
        expected.insert(pid, (script, turn, code, signal, began.elapsed()));
    }
    let after = nanoseconds();
    agent.until("23 ends", |records| count(records, "ended") >= 23);
    let records = agent.stop();
    assert_eq!((count(&records, "started"), count(&records, "ended"), records.len()), (23, 23, 46));
    let mut seen = HashSet::new();
    for record in &records {
        let pid = record.number("process.pid") as u32;
        let (script, turn, code, signal, took) = &expected[&pid];
        assert!(seen.insert((pid, record.text("state").to_owned())), "twice: {record:?}");
        assert_eq!(record.at("args"), &json!(["sh", "-c", script, format!("argument {turn}"), ""]));
        assert_eq!(record.text("process.name"), name);
        assert_eq!(record.number("process.ppid"), u64::from(std::process::id()));
        assert_eq!(record.number("parent.pid"), u64::from(std::process::id()));
        assert_eq!(record.number("process.uid"), 0);
        assert_eq!(Path::new(record.text("process.exe")), std::fs::canonicalize("/bin/sh").unwrap());
        assert_eq!(Path::new(record.text("process.cwd")), std::env::current_dir().unwrap());
        assert!((before..=after).contains(&record.number("tsNs")), "{record:?}");
        if record.is("ended") {
            assert_eq!(record.at("exitCode").as_i64(), code.map(i64::from), "{record:?}");
            assert_eq!(record.at("signal").as_u64(), *signal, "{record:?}");
            let duration = Duration::from_micros(record.number("durationUs"));
            let least = if turn % 3 == 0 { Duration::from_millis(50) } else { Duration::ZERO };
            // It was forked behind our beginning, and has ended before we see it.
            assert!((least..=*took).contains(&duration), "{duration:?} {took:?}");
        }
    }
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn of_a_burst_of_processes_nothing_is_lost_uncounted() {
    const BURST: usize = 10_000;
    let directory = directory("burst");
    let name = worker::name("tb");
    let program = alias(&directory, &name, Path::new("/bin/true"));
    let mut worker = Worker::start(&worker::name("tbw"), &["spawn", program.to_str().unwrap(), &BURST.to_string()]);
    let agent = Agent::start(&directive(&name, "{}"));
    worker.go();
    worker.end();
    let found = agent.wait_for_idle("exec");
    let lost = found.value("exec_msgs_lost");
    assert_eq!(found.value("exec_msgs") + lost, found.produced_all("exec"));
    assert_eq!(found.nonzero("tawon_bpf_errors_total"), []);
    assert!(found.produced("exec", "exec") >= BURST as f64 && found.produced("exec", "exit") >= BURST as f64);
    let records = agent.stop();
    if lost == 0.0 {
        assert_eq!((count(&records, "started"), count(&records, "ended")), (BURST, BURST));
    } else {
        println!("{lost} records were lost");
    }
    let pids: HashSet<u64> = records.iter().map(|record| record.number("process.pid")).collect();
    assert_eq!(pids.len() as f64 + lost, BURST as f64 + lost, "each pid once");
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn a_hundred_fresh_processes_are_matched_by_name() {
    let directory = directory("fresh");
    let name = worker::name("tf");
    let program = alias(&directory, &name, Path::new("/bin/true"));
    let agent = Agent::start(&directive(&name, "{}"));
    for _ in 0..100 {
        // Something else between, which the condition does not match.
        assert!(Command::new("/bin/true").status().unwrap().success());
        assert!(Command::new(&program).arg0("true").status().unwrap().success());
    }
    agent.until("100 ends", |records| count(records, "ended") >= 100);
    let records = agent.stop();
    assert_eq!((count(&records, "started"), count(&records, "ended")), (100, 100));
    assert!(records.iter().all(|record| record.text("process.name") == name));
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn forks_are_told_of_where_they_are_wanted() {
    let name = worker::name("tk");
    let mut worker = Worker::start(&name, &["forks", "5"]);
    let parent = u64::from(worker.pid());
    let with = directive(&name, "forks: true, meta: all");
    let without = directive(&name, "meta: all").replace("name: test", "name: without");
    let agent = Agent::start(&format!("{with}\n{without}"));
    worker.go();
    let children: Vec<u64> = worker.end().iter().map(|line| line.parse().unwrap()).collect();
    agent.until("the parent's ends", |records| {
        records.iter().filter(|record| record.is("ended") && record.number("process.pid") == parent).count() == 2
    });
    let (with, without): (Vec<Record>, Vec<Record>) =
        agent.stop().into_iter().partition(|record| record.directive == "test");
    assert_eq!(without.len(), 1, "only the end of the one that was there: {without:?}");
    assert_eq!((count(&with, "started"), count(&with, "ended")), (5, 6));
    for (turn, child) in children.iter().enumerate() {
        let of = |state| move |record: &&Record| record.is(state) && record.number("process.pid") == *child;
        let started = with.iter().find(of("started")).expect("a start");
        assert_eq!(started.number("parent.pid"), parent);
        let ended = with.iter().find(of("ended")).expect("an end");
        assert_eq!(ended.number("exitCode"), turn as u64);
    }
}

#[test]
fn processes_that_were_there_are_told_of_where_they_are_wanted() {
    let name = worker::name("te");
    let mut worker = Worker::start(&name, &["wait"]);
    let pid = u64::from(worker.pid());
    let agent = Agent::start(&directive(&name, "existing: true, meta: all"));
    agent.until("the start", |records| count(records, "started") == 1);
    worker.go();
    worker.end();
    agent.until("the end", |records| count(records, "ended") == 1);
    let records = agent.stop();
    assert_eq!(records.len(), 2);
    for record in &records {
        assert_eq!(record.number("process.pid"), pid);
        assert_eq!(record.at("args")[1], "wait");
        assert_eq!(Path::new(record.text("process.exe")), std::env::current_exe().unwrap());
        assert!(record.at("startedAt").is_string());
    }
    assert_eq!(records[1].number("exitCode"), 0);
}

#[test]
fn of_more_processes_than_one_turn_sees_to_each_is_told_of_once_to_a_directive_that_was_first_and_one_that_came_later()
{
    const FAMILY: usize = 601;
    let name = worker::name("tm");
    let mut worker = Worker::start(&name, &["family", "600"]);
    worker.line();
    let first = directive(&name, "existing: true");
    let late = first.replace("name: test", "name: late");
    let agent = Agent::start(&first);
    agent.until("all starts", |records| count(records, "started") == FAMILY);
    agent.reload(&format!("{first}\n{late}"));
    agent.until("all starts again", |records| count(records, "started") == 2 * FAMILY);
    worker.go();
    worker.end();
    agent.until("all ends", |records| count(records, "ended") == 2 * FAMILY);
    let records = agent.stop();
    assert_eq!(records.len(), 4 * FAMILY);
    let each: HashSet<_> =
        records.iter().map(|record| (&record.directive, record.number("process.pid"), record.text("state"))).collect();
    assert_eq!(each.len(), 4 * FAMILY);
}

#[test]
fn a_reused_pid_is_another_process() {
    let settings = "/proc/sys/kernel/ns_last_pid";
    let name = worker::name("tp");
    let directory = directory("reuse");
    let program = alias(&directory, &name, Path::new("/bin/true"));
    // Whoever else forks meanwhile is given pids again, too.
    let agent = Agent::alone("", &directive(&name, "{}"));
    let mut first = Command::new(&program).arg0("true").arg("first").spawn().unwrap();
    let pid = first.id();
    first.wait().unwrap();
    let mut again = None;
    for _ in 0..200 {
        if std::fs::write(settings, (pid - 1).to_string()).is_err() {
            println!("SKIPPED: a_reused_pid_is_another_process: {settings} cannot be written");
            return;
        }
        let mut child = Command::new(&program).arg0("true").arg("again").spawn().unwrap();
        child.wait().unwrap();
        if child.id() == pid {
            again = Some(pid);
            break;
        }
    }
    if again.is_none() {
        println!("SKIPPED: a_reused_pid_is_another_process: the pid was not given again in 200 tries");
        return;
    }
    agent.until("both ends", |records| of_pid(records, pid, "ended").len() == 2);
    let records = agent.stop();
    let (started, ended) = (of_pid(&records, pid, "started"), of_pid(&records, pid, "ended"));
    assert_eq!((started.len(), ended.len()), (2, 2));
    for (turn, word) in ["first", "again"].into_iter().enumerate() {
        assert_eq!((&started[turn].at("args")[1], &ended[turn].at("args")[1]), (&json!(word), &json!(word)));
    }
    assert_ne!(ended[0].text("startedAt"), ended[1].text("startedAt"));
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn a_script_is_its_interpreter_with_the_script_as_argument() {
    let directory = directory("script");
    let name = worker::name("ts");
    let script = directory.join(&name);
    // Not written here: what other tests fork meanwhile would have it open for writing, which then cannot be exec'd.
    let write = "printf '#!/bin/sh -e\nexit 3\n' > \"$0\"; chmod 755 \"$0\"";
    assert!(Command::new("sh").args(["-c", write]).arg(&script).status().unwrap().success());
    let agent = Agent::start(&directive(&name, "meta: all"));
    assert_eq!(Command::new(&script).arg("one").status().unwrap().code(), Some(3));
    agent.until("the end", |records| count(records, "ended") == 1);
    let records = agent.stop();
    assert_eq!(records.len(), 2);
    for record in &records {
        assert_eq!(record.at("args"), &json!(["/bin/sh", "-e", script.to_str().unwrap(), "one"]));
        assert_eq!(Path::new(record.text("process.exe")), std::fs::canonicalize("/bin/sh").unwrap());
    }
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn a_working_directory_that_is_the_root_is_told_of_as_a_slash() {
    let directory = directory("root");
    let name = worker::name("tr");
    let program = alias(&directory, &name, Path::new("/bin/true"));
    let root = directory.join("root");
    std::fs::create_dir(&root).unwrap();
    let mut worker = Worker::start(&worker::name("trw"), &["chroot-execs", root.to_str().unwrap(), &name]);
    let agent = Agent::start(&directive(&name, "meta: all"));
    assert!(Command::new(&program).arg0("true").current_dir("/").status().unwrap().success());
    worker.go();
    worker.end();
    agent.until("both ends", |records| count(records, "ended") == 2);
    let records = agent.stop();
    assert_eq!(records.len(), 4);
    let executables = [std::fs::canonicalize("/bin/true").unwrap(), Path::new("/").join(&name)];
    for (at, record) in records.iter().enumerate() {
        assert_eq!(record.text("process.cwd"), "/", "{record:?}");
        assert_eq!(Path::new(record.text("process.exe")), executables[at / 2]);
    }
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn a_long_path_is_told_of_whole_and_one_that_is_too_long_not_at_all() {
    let base = std::fs::canonicalize(directory("long")).unwrap();
    let name = worker::name("to");
    let long = "d".repeat(250);
    // Many directories and long ones; more bytes than the kernel shows of any path, and more than are looked at.
    let below = [vec!["d"; 110], vec![&*long; 15], vec![&*long; 17], vec!["d"; 300]];
    let tops: Vec<PathBuf> = (0..below.len()).map(|at| base.join(at.to_string())).collect();
    let mut workers: Vec<Worker> = tops
        .iter()
        .zip(&below)
        .map(|(top, below)| {
            let words = [&["execs-below", &name, top.to_str().unwrap()], below.as_slice()].concat();
            Worker::start(&worker::name("tow"), &words)
        })
        .collect();
    // Every agent of the machine counts the paths that are cut.
    let agent = Agent::alone("", &directive(&name, "meta: all"));
    for (at, mut worker) in workers.drain(..).enumerate() {
        worker.go();
        worker.end();
        agent.until("the end", |records| count(records, "ended") == at + 1);
    }
    let cut = "tawon_bpf_errors_total{module=\"exec\",program=\"tawon_sched_exec\",reason=\"path_cut\"}";
    agent.until_shows(cut, 4.0);
    let records = agent.stop();
    for (at, records) in records.chunks(2).enumerate() {
        let path = |field| records.iter().map(move |record| record.at(field).as_str().map(PathBuf::from));
        let cwd = below[at].iter().fold(tops[at].clone(), |path, name| path.join(name));
        let whole = at < 2;
        assert!(path("process.cwd").eq([whole.then(|| cwd.clone()), whole.then(|| cwd.clone())]), "{at}");
        assert!(path("process.exe").all(|exe| exe == whole.then(|| cwd.join(&name))), "{at}");
    }
    std::fs::remove_dir_all(base).unwrap();
}

#[test]
fn arguments_are_cut_at_four_kibibytes_and_secrets_are_not_shown() {
    let directory = directory("args");
    let name = worker::name("tg");
    let program = alias(&directory, &name, Path::new("/bin/true"));
    let agent = Agent::start(&directive(&name, "{}"));
    let long = "x".repeat(5000);
    let run = |arguments: &[&str]| assert!(Command::new(&program).arg0("true").args(arguments).status().is_ok());
    run(&["short", &long, "behind"]);
    run(&["--password=hunter2", "--token", "abc", "plain"]);
    run(&[&"y".repeat(4096 - 6)]);
    agent.until("three ends", |records| count(records, "ended") == 3);
    let records = agent.stop();
    let started: Vec<&Record> = records.iter().filter(|record| record.is("started")).collect();
    assert_eq!(started.len(), 3);
    let arguments = started[0].at("args").as_array().unwrap();
    assert_eq!((arguments[0].as_str(), arguments[1].as_str()), (Some("true"), Some("short")));
    assert_eq!(arguments[2].as_str().unwrap().len(), 4096 - "true\0short\0".len());
    assert_eq!((arguments.len(), started[0].at("truncated")), (3, &json!(true)));
    let secrets = started[1].at("args").to_string();
    assert!(!secrets.contains("hunter2") && !secrets.contains("abc") && secrets.contains("plain"), "{secrets}");
    assert_eq!(started[1].at("truncated"), &json!(null));
    assert_eq!(started[2].at("args")[1].as_str().unwrap().len(), 4090, "what just fits is whole");
    assert_eq!(started[2].at("truncated"), &json!(null));
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn a_process_that_takes_another_name_is_decided_anew() {
    let (before, after) = (worker::name("tn"), worker::name("tm"));
    let mut worker = Worker::start(&before, &["rename", &after]);
    let pid = u64::from(worker.pid());
    let agent = Agent::start(&directive(&after, "{}"));
    worker.go();
    worker.line();
    worker.go();
    worker.end();
    agent.until("the end", |records| count(records, "ended") == 1);
    let records = agent.stop();
    assert_eq!(records.len(), 1);
    assert_eq!((records[0].number("process.pid"), records[0].text("process.name")), (pid, &*after));
}

#[test]
fn who_was_told_of_a_start_is_told_of_the_end_under_another_name() {
    let directory = directory("names");
    let (before, after, last) = (worker::name("tn"), worker::name("tm"), worker::name("tz"));
    let program = alias(&directory, &last, Path::new("/bin/true"));
    let agent = Agent::start(&directive(&before, "threads: true, meta: all"));
    let mut renamed = Worker::start(&before, &["rename", &after]);
    let mut execs = Worker::start(&before, &["thread-execs", program.to_str().unwrap()]);
    let pids = [&renamed, &execs].map(|worker| u64::from(worker.pid()));
    renamed.go();
    renamed.line();
    renamed.go();
    renamed.end();
    execs.go();
    execs.end();
    agent.until("both ends", |records| records.iter().filter(|record| record.at("exitCode") == 0).count() == 2);
    let records = agent.stop();
    for (pid, name) in pids.into_iter().zip([after, last]) {
        let of = |state| {
            move |record: &&Record| {
                record.is(state) && record.at("process.pid") == pid && record.at("process.tid") == pid
            }
        };
        let started: Vec<&Record> = records.iter().filter(of("started")).collect();
        let [started] = started[..] else { panic!("{started:?}") };
        assert_eq!(started.text("process.name"), before);
        let ended = records.iter().rfind(of("ended")).unwrap();
        assert_eq!((ended.text("process.name"), ended.number("exitCode")), (&*name, 0));
    }
    std::fs::remove_dir_all(directory).unwrap();
}

/// `exec` of the processes of this name.
pub fn directive(name: &str, options: &str) -> String {
    format!(
        "  - name: test\n    condition: {{equal: {{field: process.name, value: {name}}}}}\n    tasks:\n      \
         - {{task: exec, config: {{{}}}}}\n      - {{task: log}}",
        options.trim_matches(['{', '}'])
    )
}

fn of_pid<'a>(records: &'a [Record], pid: u32, state: &str) -> Vec<&'a Record> {
    let wanted = |record: &&Record| record.is(state) && record.number("process.pid") == u64::from(pid);
    records.iter().filter(wanted).collect()
}

pub fn nanoseconds() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos() as u64
}
