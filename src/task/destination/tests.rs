//! Records through the writer's thread to real files, pipes and devices: each arrives whole or is
//! counted as dropped.

mod rotation;

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant as Clock};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::envelope::tests::{Said, context};
use super::lines::Lines;
use super::stream::Stream;
use super::writer::Sink;
use super::{file, log};
use crate::metrics::names::DISTINCT;
use crate::pipeline::{End, Event, Pipeline, Task};
use crate::task::{Build, Context, Options, Value};
use crate::time::{Instant, Timestamp};

#[test]
fn every_record_is_a_line_of_the_file() {
    let dir = Dir::new("every");
    let path = dir.0.join("records");
    let mut pipeline = to_file(&path, &[], &context("a"));
    emit(&mut pipeline, 0..5_000);
    finish(&mut pipeline);
    assert_eq!(ids(&fs::read(&path).unwrap()), (0..5_000).collect::<Vec<_>>());
    assert_eq!(counts(&pipeline), (5_000, 0));
}

#[test]
fn a_lone_record_is_due_within_50_milliseconds_of_the_loop_s_time() {
    let dir = Dir::new("lone");
    let path = dir.0.join("records");
    let mut pipeline = to_file(&path, &[], &context("a"));
    pipeline.tick(Instant(1_000_000_000));
    assert_eq!(pipeline.deadline(), None);
    emit(&mut pipeline, 0..1);
    assert_eq!(pipeline.deadline(), Some(Instant(1_050_000_000)));
    pipeline.tick(Instant(1_049_999_999));
    assert!(pipeline.deadline().is_some());
    pipeline.tick(Instant(1_050_000_000));
    assert_eq!(pipeline.deadline(), None);
    until(|| ids(&fs::read(&path).unwrap()) == [0]);
}

#[test]
fn batches_wake_the_writer_when_they_are_many_or_their_first_line_is_due() {
    let dir = Dir::new("wake");
    let path = dir.0.join("records");
    // Room for all of them, however late the writer comes.
    let mut pipeline = to_file(&path, &[("maxQueue", Value::Size(64 << 20))], &context("a"));
    let lines = || fs::read(&path).unwrap().iter().filter(|byte| **byte == b'\n').count();
    // 8 MiB: what is left of it when the writer has gone to sleep is less than is worth a wake-up.
    emit(&mut pipeline, 0..60_000);
    until(|| lines() >= 50_000);
    pipeline.tick(Instant(50_000_000));
    assert_eq!(pipeline.deadline(), None);
    until(|| lines() == 60_000);
    // One batch alone.
    emit(&mut pipeline, 0..1_500);
    pipeline.tick(Instant(100_000_000));
    until(|| lines() == 61_500);
}

#[test]
fn directives_that_share_a_file_share_its_lines_and_count_their_own() {
    let dir = Dir::new("shared");
    let path = dir.0.join("records");
    let both = context("a");
    fs::create_dir(dir.0.join("sub")).unwrap();
    let mut first = to_file(&path, &[], &both);
    let mut second = to_file(&dir.0.join("sub/../records"), &[], &both);
    for at in 0..500 {
        emit(&mut first, at * 10..at * 10 + 10);
        emit(&mut second, 100_000 + at * 20..100_000 + at * 20 + 20);
    }
    finish(&mut first);
    drop(first);
    finish(&mut second);
    let mut got = ids(&fs::read(&path).unwrap());
    got.sort_unstable();
    assert_eq!(got, (0..5_000).chain(100_000..110_000).collect::<Vec<_>>());
    assert_eq!(counts(&second), (10_000, 0));
    let records = both.metrics.counters("tawon_sink_records_total");
    let sink = format!("file:{}", path.display());
    assert_eq!(records.with_label_values(&[&sink, "written"]).get(), 15_000);
    assert_eq!(both.metrics.gauges("tawon_sink_queue_bytes").with_label_values(&[&sink]).get(), 0);
}

#[test]
fn files_that_come_and_go_are_counted_together_once_there_were_many() {
    let dir = Dir::new("many");
    let many = context("a");
    for at in 0..DISTINCT {
        many.metrics.sinks.label(&format!("file:/{at}"));
    }
    for name in ["first", "second"] {
        let mut pipeline = to_file(&dir.0.join(name), &[], &many);
        emit(&mut pipeline, 0..10);
        finish(&mut pipeline);
    }
    let families = many.metrics.gather();
    let records = families.iter().find(|family| family.name() == "tawon_sink_records_total").unwrap();
    assert_eq!(records.get_metric().len(), 2, "written and dropped of `other`");
    let records = many.metrics.counters("tawon_sink_records_total");
    assert_eq!(records.with_label_values(&["other", "written"]).get(), 20);
}

#[test]
fn a_full_disk_loses_whole_records_counted_and_recovers() {
    let dir = Dir::new("full");
    let Some(_mount) = Mount::tmpfs(&dir.0, "size=128k") else { return };
    let path = dir.0.join("records");
    let mut pipeline = to_file(&path, &[], &context("a"));
    emit(&mut pipeline, 0..2_000);
    flush(&mut pipeline);
    let kept = ids(&fs::read(&path).unwrap());
    let (written, dropped) = counts(&pipeline);
    assert!(written > 100 && dropped > 100, "{written} {dropped}");
    assert_eq!((kept.len() as u64, written + dropped), (written, 2_000));
    // Somebody makes room: the file goes, the next records are in a new one.
    fs::remove_file(&path).unwrap();
    emit(&mut pipeline, 2_000..2_100);
    finish(&mut pipeline);
    assert_eq!(ids(&fs::read(&path).unwrap()), (2_000..2_100).collect::<Vec<_>>());
    assert_eq!(counts(&pipeline), (written + 100, dropped));
}

#[test]
fn a_file_that_was_emptied_holds_whole_records_alone_when_the_disk_is_full_again() {
    let dir = Dir::new("emptied");
    let Some(_mount) = Mount::tmpfs(&dir.0, "size=128k") else { return };
    let path = dir.0.join("records");
    let mut pipeline = to_file(&path, &[], &context("a"));
    let (mut written, mut dropped) = (0, 0);
    for (round, full) in [(0, false), (1, true), (2, true), (3, false)] {
        let first = round * 10_000;
        emit(&mut pipeline, first..first + if full { 2_000 } else { 500 });
        flush(&mut pipeline);
        let lines = fs::read(&path).unwrap();
        assert!(lines.len() <= 128 << 10 && !lines.contains(&0), "{round}: {}", lines.len());
        let kept = ids(&lines);
        let before = written;
        (written, dropped) = counts(&pipeline);
        assert_eq!(kept.len() as u64, written - before, "{round}");
        assert!(kept.iter().all(|id| *id >= first), "{round}");
        assert_eq!(dropped > 0, round > 0);
        File::options().write(true).open(&path).unwrap().set_len(0).unwrap();
    }
    assert_eq!(written + dropped, 5_000);
}

#[test]
fn standard_output_on_a_full_disk_holds_whole_records_alone() {
    let dir = Dir::new("full-stdout");
    let Some(_mount) = Mount::tmpfs(&dir.0, "size=128k") else { return };
    let path = dir.0.join("out");
    let mut pipeline = through("full-stdout", File::create(&path).unwrap(), 8 << 20);
    emit(&mut pipeline, 0..2_000);
    flush(&mut pipeline);
    let (written, dropped) = counts(&pipeline);
    assert!(written > 100 && dropped > 100, "{written} {dropped}");
    assert_eq!(ids(&fs::read(&path).unwrap()).len() as u64, written);
    File::options().write(true).open(&path).unwrap().set_len(0).unwrap();
    emit(&mut pipeline, 2_000..2_100);
    finish(&mut pipeline);
    assert_eq!(counts(&pipeline), (written + 100, dropped));
}

#[test]
fn devices_are_written_without_rotation_and_their_errors_are_counted() {
    for (path, written, dropped) in [("/dev/null", 500, 0), ("/dev/full", 0, 500)] {
        let options = [("maxSize", Value::Size(4096))];
        let mut pipeline = to_file(Path::new(path), &options, &context("a"));
        emit(&mut pipeline, 0..500);
        finish(&mut pipeline);
        assert_eq!(counts(&pipeline), (written, dropped), "{path}");
        assert!(!pipeline.finished());
    }
}

#[test]
fn a_pipe_without_a_name_is_written_through_the_link_of_proc() {
    let dir = Dir::new("proc");
    let link = dir.0.join("stdout");
    let (mut reader, writer) = std::io::pipe().unwrap();
    let behind = format!("/proc/self/fd/{}", writer.as_raw_fd());
    std::os::unix::fs::symlink(&behind, &link).unwrap();
    for (at, path) in [Path::new(&behind), &link].into_iter().enumerate() {
        let mut pipeline = to_file(path, &[], &context("a"));
        emit(&mut pipeline, at as u64 * 100..at as u64 * 100 + 100);
        finish(&mut pipeline);
        assert_eq!(counts(&pipeline), (100, 0), "{}", path.display());
    }
    drop(writer);
    let mut got = Vec::new();
    reader.read_to_end(&mut got).unwrap();
    assert_eq!(ids(&got), (0..200).collect::<Vec<_>>());
}

#[test]
fn a_named_pipe_is_one_output_however_its_path_is_written() {
    let dir = Dir::new("named");
    let (path, link) = (dir.0.join("pipe"), dir.0.join("link"));
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let _reader = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(&path).unwrap();
    let both = context("a");
    for path in [&path, &link] {
        let mut pipeline = to_file(path, &[], &both);
        emit(&mut pipeline, 0..10);
        finish(&mut pipeline);
    }
    let sink = format!("file:{}", path.display());
    assert_eq!(both.metrics.counters("tawon_sink_records_total").with_label_values(&[&sink, "written"]).get(), 20);
}

#[test]
fn what_cannot_be_a_file_is_refused_with_its_reason() {
    let dir = Dir::new("refused");
    for (path, reason) in [(dir.0.clone(), "is a directory"), (dir.0.join("no/such"), "No such file")] {
        let error = build(&file::SPEC.build, &[("path", text(&path))], &context("a")).err().unwrap();
        assert!(error.contains(reason) && error.contains(&*path.to_string_lossy()), "{error}");
    }
}

#[test]
fn a_pipe_waits_for_its_reader_and_each_reader_begins_with_a_whole_line() {
    let dir = Dir::new("fifo");
    let path = dir.0.join("pipe");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    let mut pipeline = to_file(&path, &[], &context("a"));
    emit(&mut pipeline, 0..4_000);
    pipeline.tick(Instant(u64::MAX));
    assert!(!pipeline.drained());
    let mut first = BufReader::with_capacity(100, File::open(&path).unwrap());
    let mut line = String::new();
    for id in 0..1_000 {
        line.clear();
        first.read_line(&mut line).unwrap();
        assert_eq!(ids(line.as_bytes()), [id]);
    }
    // More is written than the pipe holds, so the writer stands within a line when the reader goes.
    drop(first);
    until(|| counts(&pipeline).1 == 1);
    let mut rest = Vec::new();
    // Who has read all of it must not wait for more: the writer may not have said yet that it was the last.
    let mut second = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(&path).unwrap();
    finish_while(&mut pipeline, || {
        let mut buffer = [0; 4096];
        let read = second.read(&mut buffer).unwrap_or(0);
        rest.extend_from_slice(&buffer[..read]);
    });
    drop(pipeline);
    read_until_closed(&mut second, &mut rest);
    let rest = ids(&rest);
    assert!(!rest.is_empty() && rest.windows(2).all(|two| two[1] == two[0] + 1) && rest.last() == Some(&3_999));
}

#[test]
fn a_closed_pipe_ends_the_task_and_what_comes_after_is_dropped() {
    let (reader, writer) = std::io::pipe().unwrap();
    let ours = writer.try_clone().unwrap();
    let mut pipeline = through("closed", File::from(OwnedFd::from(writer)), 1 << 20);
    emit(&mut pipeline, 0..10);
    flush(&mut pipeline);
    assert!(!pipeline.finished());
    drop(reader);
    // Another test may be starting a program, which has the reader until it is that program.
    until(|| {
        let mut pipe = [PollFd::new(ours.as_fd(), PollFlags::empty())];
        poll(&mut pipe, PollTimeout::ZERO) == Ok(1) && pipe[0].revents() == Some(PollFlags::POLLERR)
    });
    emit(&mut pipeline, 10..20);
    flush(&mut pipeline);
    assert!(pipeline.finished());
    emit(&mut pipeline, 20..30);
    finish(&mut pipeline);
    assert_eq!(counts(&pipeline), (10, 20));
}

#[test]
fn a_reader_that_stands_still_costs_records_but_never_the_loop_or_memory() {
    let (mut reader, writer) = std::io::pipe().unwrap();
    let limit = 256 << 10;
    let mut pipeline = through("still", File::from(OwnedFd::from(writer)), limit);
    emit(&mut pipeline, 0..20_000);
    pipeline.tick(Instant(u64::MAX));
    assert!(pipeline.congested() && !pipeline.drained());
    let (_, dropped) = counts(&pipeline);
    assert!(dropped > 10_000);
    let got = std::thread::spawn(move || {
        let mut got = Vec::new();
        reader.read_to_end(&mut got).unwrap();
        got
    });
    finish(&mut pipeline);
    let (written, dropped) = counts(&pipeline);
    drop(pipeline);
    let got = got.join().unwrap();
    assert!(got.len() <= limit + (128 << 10), "{}", got.len());
    assert_eq!((ids(&got).len() as u64, written + dropped), (written, 20_000));
}

#[test]
fn what_no_reader_takes_is_dropped_when_it_is_given_up_and_nothing_stays_behind() {
    let dir = Dir::new("abandoned");
    let path = dir.0.join("pipe");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    let (mut reader, writer) = std::io::pipe().unwrap();
    let writer = File::from(OwnedFd::from(writer));
    let of_fifo = context("a");
    let of_pipe = context("a");
    let sink = Sink::open("abandoned", 8 << 20, &of_pipe.metrics, || Ok(Box::new(Stream::new(writer)))).unwrap();
    let to_pipe = Pipeline::new(vec![Box::new(Lines::new(sink, &of_pipe, false))]);
    for (mut pipeline, context) in [(to_file(&path, &[], &of_fifo), of_fifo), (to_pipe, of_pipe)] {
        emit(&mut pipeline, 0..5_000);
        pipeline.close(End::Stopped, Instant(1));
        assert!(!pipeline.drained());
        assert!(pipeline.abandon());
        until(|| pipeline.drained());
        assert!(!pipeline.abandon(), "it was before");
        let (written, dropped) = counts(&pipeline);
        assert!(dropped > 0 && written + dropped == 5_000, "{written} {dropped}");
        drop(pipeline);
        // The thread takes the gauge with it.
        until(|| context.metrics.gather().iter().all(|family| family.name() != "tawon_sink_queue_bytes"));
    }
    let mut got = Vec::new();
    reader.read_to_end(&mut got).unwrap();
    assert!(!got.is_empty(), "what the pipe could hold");
}

#[test]
fn what_follows_a_line_whose_rest_was_given_up_is_a_line_of_its_own() {
    let dir = Dir::new("torn");
    let path = dir.0.join("pipe");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    let mut reader = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(&path).unwrap();
    let mut first = to_file(&path, &[], &context("a"));
    let mut second = to_file(&path, &[], &context("b"));
    emit(&mut first, 0..4_000);
    first.tick(Instant(u64::MAX));
    until(|| counts(&first).0 > 0);
    assert!(first.abandon());
    until(|| first.drained());
    let (written, _) = counts(&first);
    emit(&mut second, 5_000..5_001);
    second.close(End::Stopped, Instant(1));
    let (mut got, mut buffer) = (Vec::new(), [0; 4096]);
    until(|| {
        let read = reader.read(&mut buffer).unwrap_or(0);
        got.extend_from_slice(&buffer[..read]);
        got.ends_with(b"}\n") && second.drained()
    });
    let text = String::from_utf8(got).unwrap();
    let whole = |line: &&str| serde_json::from_str::<serde_json::Value>(line).is_ok();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.iter().copied().filter(|line| whole(line)).count() as u64, written + 1);
    assert!(lines.len() as u64 <= written + 2 && whole(lines.last().unwrap()));
    assert_eq!(counts(&second), (1, 0));
}

#[test]
fn a_source_that_pauses_while_congested_loses_nothing() {
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut pipeline = through("paused", File::from(OwnedFd::from(writer)), 256 << 10);
    let (begin, begun) = std::sync::mpsc::channel();
    let got = std::thread::spawn(move || {
        begun.recv().unwrap();
        let (mut got, mut buffer) = (Vec::new(), [0; 8192]);
        loop {
            let read = reader.read(&mut buffer).unwrap();
            if read == 0 {
                return got;
            }
            got.extend_from_slice(&buffer[..read]);
            std::thread::yield_now();
        }
    });
    let mut paused = 0;
    for at in 0..400 {
        emit(&mut pipeline, at * 100..at * 100 + 100);
        while pipeline.congested() {
            if paused == 0 {
                begin.send(()).unwrap();
            }
            paused += 1;
            std::thread::yield_now();
        }
    }
    finish(&mut pipeline);
    assert_eq!(counts(&pipeline), (40_000, 0));
    drop(pipeline);
    assert_eq!(ids(&got.join().unwrap()), (0..40_000).collect::<Vec<_>>());
    assert!(paused > 0, "there was more than finds room where nobody reads");
}

#[test]
fn a_pipe_that_does_not_block_is_written_whole() {
    let (writer, reader) = mio::unix::pipe::new().unwrap();
    let mut pipeline = through("nonblocking", File::from(OwnedFd::from(writer)), 8 << 20);
    let mut reader = File::from(OwnedFd::from(reader));
    emit(&mut pipeline, 0..3_000);
    let mut got = Vec::new();
    finish_while(&mut pipeline, || {
        let mut buffer = [0; 4096];
        let read = reader.read(&mut buffer).unwrap_or(0);
        got.extend_from_slice(&buffer[..read]);
    });
    drop(pipeline);
    read_until_closed(&mut reader, &mut got);
    assert_eq!(ids(&got), (0..3_000).collect::<Vec<_>>());
}

#[test]
fn the_log_takes_both_formats() {
    for format in ["json", "text"] {
        let options = [("format", Value::Text(format.to_owned()))];
        assert!(build(&log::SPEC.build, &options, &context("a")).is_ok());
    }
}

fn to_file(path: &Path, options: &[(&'static str, Value)], context: &Context) -> Pipeline {
    let path = [("path", text(path)), ("maxSize", Value::Size(100 << 20)), ("maxFiles", Value::Count(5))];
    let options: Vec<_> = path.into_iter().chain(options.iter().cloned()).collect();
    Pipeline::new(vec![build(&file::SPEC.build, &options, context).unwrap()])
}

/// A pipeline whose lines go to an open descriptor.
fn through(key: &str, file: File, limit: usize) -> Pipeline {
    let context = context("a");
    let sink = Sink::open(key, limit, &context.metrics, || Ok(Box::new(Stream::new(file)))).unwrap();
    Pipeline::new(vec![Box::new(Lines::new(sink, &context, false))])
}

fn build(how: &Build, options: &[(&'static str, Value)], context: &Context) -> Result<Box<dyn Task>, String> {
    let Build::Destination(build) = how else { panic!("a destination") };
    let mut set = Options::default();
    options.iter().for_each(|(name, value)| set.set(name, value.clone()));
    build(&set, context)
}

fn text(path: &Path) -> Value {
    Value::Text(path.to_str().unwrap().to_owned())
}

/// Records that say their number as their time.
fn emit(pipeline: &mut Pipeline, numbers: std::ops::Range<u64>) {
    for number in numbers {
        pipeline.event(&Event::new(Timestamp(number), Instant(number), &Said("what was said")));
    }
}

/// The numbers of records; every line must be whole.
fn ids(lines: &[u8]) -> Vec<u64> {
    let text = std::str::from_utf8(lines).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'), "half a line at the end");
    text.lines()
        .map(|line| {
            let json: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
            let stamp = json["timestamp"].as_str().unwrap().to_owned();
            let (rest, nanos) = stamp.trim_end_matches('Z').split_once('.').unwrap();
            assert_eq!(rest, "1970-01-01T00:00:00");
            nanos.parse().unwrap()
        })
        .collect()
}

fn counts(pipeline: &Pipeline) -> (u64, u64) {
    let (mut written, mut dropped) = (0, 0);
    pipeline.counts(&mut |_, name, count| match name {
        "written" => written = count,
        _ => dropped = count,
    });
    (written, dropped)
}

/// Hands the batch over and waits until it is dealt with.
fn flush(pipeline: &mut Pipeline) {
    pipeline.tick(Instant(u64::MAX));
    until(|| pipeline.drained());
}

fn finish(pipeline: &mut Pipeline) {
    finish_while(pipeline, || std::thread::sleep(Duration::from_millis(1)));
}

fn finish_while(pipeline: &mut Pipeline, mut work: impl FnMut()) {
    pipeline.close(End::Stopped, Instant(1));
    until(|| {
        work();
        pipeline.drained()
    });
}

/// Reads what does not block until nobody writes any more.
fn read_until_closed(reader: &mut File, got: &mut Vec<u8>) {
    let mut buffer = [0; 4096];
    until(|| match reader.read(&mut buffer) {
        Ok(0) => true,
        Ok(read) => {
            got.extend_from_slice(&buffer[..read]);
            false
        }
        Err(_) => false,
    });
}

fn until(mut done: impl FnMut() -> bool) {
    let end = Clock::now() + PATIENCE;
    while !done() {
        assert!(Clock::now() < end, "did not come about in {PATIENCE:?}");
        std::thread::yield_now();
    }
}

const PATIENCE: Duration = Duration::from_secs(120);

/// A directory of its own, removed behind the test.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Dir {
        let path = std::env::temp_dir().join(format!("tawon-destination-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Dir(fs::canonicalize(path).unwrap())
    }

    fn names(&self) -> Vec<PathBuf> {
        fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().path()).collect()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

struct Mount(PathBuf);

impl Mount {
    /// None, with the reason printed, where mounting is not allowed.
    fn tmpfs(at: &Path, options: &str) -> Option<Mount> {
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tawon-test"]).arg(at).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Mount(at.to_owned()));
        }
        eprintln!("skipped: mounting a tmpfs is not allowed here");
        None
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazily: the writer may have the file open for a moment longer.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
