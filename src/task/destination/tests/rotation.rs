//! A file that is rotated, moved, reached by a link or left behind by a crash.

use std::fs;
use std::io::Read;
use std::path::Path;

use super::{Dir, context, counts, emit, finish, flush, ids, to_file, until};
use crate::pipeline::Event;
use crate::task::Value;
use crate::task::destination::envelope::tests::Said;
use crate::time::{Instant, Timestamp};

#[test]
fn a_file_is_rotated_at_its_size_and_the_oldest_goes() {
    for compress in [false, true] {
        let dir = Dir::new(if compress { "gzip" } else { "plain" });
        let path = dir.0.join("records");
        let options =
            [("maxSize", Value::Size(16 << 10)), ("maxFiles", Value::Count(3)), ("compress", Value::Bool(compress))];
        let mut pipeline = to_file(&path, &options, &context("a"));
        emit(&mut pipeline, 0..2_000);
        finish(&mut pipeline);
        assert_eq!(counts(&pipeline), (2_000, 0));
        drop(pipeline);
        let suffix = if compress { ".gz" } else { "" };
        let wanted: Vec<String> = [3, 2, 1].iter().map(|at| format!("records.{at}{suffix}")).collect();
        until(|| wanted.iter().all(|name| dir.0.join(name).exists()) && dir.names().len() == 4);
        let mut got = Vec::new();
        for name in wanted.iter().map(String::as_str).chain(["records"]) {
            let mut bytes = fs::read(dir.0.join(name)).unwrap();
            if name.ends_with(".gz") {
                let packed = std::mem::take(&mut bytes);
                flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut bytes).unwrap();
            }
            assert!(bytes.len() <= 16 << 10 && !bytes.is_empty(), "{name}: {}", bytes.len());
            got.extend(ids(&bytes));
        }
        let first = got[0];
        assert!(first > 0 && first < 1_800);
        assert_eq!(got, (first..2_000).collect::<Vec<_>>(), "the newest, without a hole");
    }
}

#[test]
fn a_file_that_others_cut_or_appended_to_is_rotated_by_the_size_that_it_has() {
    let dir = Dir::new("real-size");
    let path = dir.0.join("records");
    let options = [("maxSize", Value::Size(16 << 10)), ("compress", Value::Bool(false))];
    let mut pipeline = to_file(&path, &options, &context("a"));
    for first in [0, 70, 140] {
        emit(&mut pipeline, first..first + 70);
        flush(&mut pipeline);
        assert!(fs::metadata(&path).unwrap().len() > 6 << 10, "the three of them are more than a file holds");
        assert_eq!(ids(&fs::read(&path).unwrap()), (first..first + 70).collect::<Vec<_>>());
        fs::File::options().write(true).open(&path).unwrap().set_len(0).unwrap();
    }
    assert_eq!(dir.names().len(), 1);
    // Cut within a line, and grown.
    let half = |length: usize| fs::write(&path, vec![b'x'; length]).unwrap();
    half(9);
    emit(&mut pipeline, 300..301);
    flush(&mut pipeline);
    assert!(fs::read(&path).unwrap().starts_with(b"xxxxxxxxx\n{"));
    half(16 << 10);
    emit(&mut pipeline, 301..302);
    finish(&mut pipeline);
    assert_eq!(ids(&fs::read(&path).unwrap()), [301]);
    assert_eq!(fs::metadata(dir.0.join("records.1")).unwrap().len(), 16 << 10);
    assert_eq!(counts(&pipeline), (212, 0));
}

#[test]
fn rotated_files_beyond_a_lowered_number_go_whether_the_file_is_open_or_not() {
    for compress in [false, true] {
        let dir = Dir::new(if compress { "fewer-gzip" } else { "fewer" });
        let path = dir.0.join("records");
        fs::write(dir.0.join("records.1001"), "not ours").unwrap();
        fs::write(dir.0.join("records.7.txt"), "not ours").unwrap();
        let keeping = |files: u64| {
            let options = [
                ("maxSize", Value::Size(8 << 10)),
                ("maxFiles", Value::Count(files)),
                ("compress", Value::Bool(compress)),
            ];
            to_file(&path, &options, &context("a"))
        };
        let mut pipeline = keeping(20);
        emit(&mut pipeline, 0..2_000);
        flush(&mut pipeline);
        until(|| dir.names().len() == 23);
        let mut other = keeping(7);
        emit(&mut other, 0..1);
        finish(&mut other);
        until(|| dir.names().len() == 10);
        drop((pipeline, other));
        let mut later = keeping(2);
        emit(&mut later, 0..1);
        finish(&mut later);
        until(|| dir.names().len() == 5);
        assert!(["records.1001", "records.7.txt"].iter().all(|name| dir.0.join(name).exists()));
    }
}

#[test]
fn a_link_is_followed_and_stays_whether_or_not_its_file_is_there() {
    let dir = Dir::new("link");
    fs::create_dir(dir.0.join("target")).unwrap();
    let options = [("maxSize", Value::Size(4096)), ("compress", Value::Bool(false))];
    std::os::unix::fs::symlink("hop", dir.0.join("link")).unwrap();
    std::os::unix::fs::symlink("target/records", dir.0.join("hop")).unwrap();
    for round in 0..2 {
        let mut pipeline = to_file(&dir.0.join("link"), &options, &context("a"));
        emit(&mut pipeline, 0..50);
        finish(&mut pipeline);
        assert_eq!(dir.names().len(), 3, "{round}: link, hop and target");
        for (link, to) in [("link", "hop"), ("hop", "target/records")] {
            assert_eq!(fs::read_link(dir.0.join(link)).unwrap(), Path::new(to), "{round}");
        }
        assert!(dir.0.join("target/records.1").exists(), "{round}");
    }
}

#[test]
fn a_record_larger_than_the_file_may_be_has_a_file_to_itself() {
    let dir = Dir::new("large");
    let path = dir.0.join("records");
    let options = [("maxSize", Value::Size(4096)), ("compress", Value::Bool(false))];
    let mut pipeline = to_file(&path, &options, &context("a"));
    emit(&mut pipeline, 0..1);
    let large = Said(Box::leak("x".repeat(9_000).into_boxed_str()));
    pipeline.event(&Event::new(Timestamp(1), Instant(1), &large));
    emit(&mut pipeline, 2..3);
    finish(&mut pipeline);
    assert_eq!(ids(&fs::read(dir.0.join("records.2")).unwrap()), [0]);
    assert!(fs::read(dir.0.join("records.1")).unwrap().len() > 9_000);
    assert_eq!(ids(&fs::read(&path).unwrap()), [2]);
}

#[test]
fn a_file_that_was_moved_or_removed_is_opened_anew() {
    let dir = Dir::new("moved");
    let path = dir.0.join("records");
    let mut pipeline = to_file(&path, &[], &context("a"));
    emit(&mut pipeline, 0..10);
    flush(&mut pipeline);
    fs::rename(&path, dir.0.join("aside")).unwrap();
    emit(&mut pipeline, 10..20);
    flush(&mut pipeline);
    fs::remove_file(&path).unwrap();
    emit(&mut pipeline, 20..30);
    finish(&mut pipeline);
    assert_eq!(ids(&fs::read(dir.0.join("aside")).unwrap()), (0..10).collect::<Vec<_>>());
    assert_eq!(ids(&fs::read(&path).unwrap()), (20..30).collect::<Vec<_>>());
}

#[test]
fn what_a_crash_left_half_stays_a_line_of_its_own() {
    let dir = Dir::new("crash");
    let path = dir.0.join("records");
    fs::write(&path, "{\"half").unwrap();
    let mut pipeline = to_file(&path, &[], &context("a"));
    emit(&mut pipeline, 0..3);
    finish(&mut pipeline);
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(ids(text.strip_prefix("{\"half\n").unwrap().as_bytes()), [0, 1, 2]);
}
