//! Capture files of every shape through the `capture` source, against tshark.

use std::path::{Path, PathBuf};
use std::process::Command;

use tawon::task::Value;
use tawon::task::source::capture::file::{Error, Reader};

use crate::support::packets::{self, ACK, Random};
use crate::support::replay::{Seen, context, replay};
use crate::support::{alloc, tshark};

fn scratch(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("capture_file");
    std::fs::create_dir_all(&folder).unwrap();
    folder.join(name)
}

fn read(path: &Path, set: &[(&'static str, Value)]) -> Result<Vec<Seen>, String> {
    replay(path, set, &[], &context())
}

/// 200 frames of different lengths, with times of different distances.
fn sample(name: &str) -> PathBuf {
    let mut random = Random(7);
    let (client, server) = ("10.0.0.1:1024".parse().unwrap(), "10.0.0.2:80".parse().unwrap());
    let mut time = 1_700_000_000_000_000_000;
    let frames: Vec<(u64, Vec<u8>)> = (0..200)
        .map(|at| {
            time += 1 + random.next() % 3_000_000_000;
            let length = random.below(1400);
            (time, packets::tcp(client, server, at, 0, ACK, &random.bytes(length)))
        })
        .collect();
    let path = scratch(name);
    std::fs::write(&path, packets::pcap(frames.iter().map(|(time, frame)| (*time, &frame[..])))).unwrap();
    path
}

/// Time, length, captured length and bytes of every frame, as tshark reads them.
fn as_tshark_reads(path: &Path) -> Vec<(u64, u64, u64)> {
    tshark::fields(path, &[], &["frame.time_epoch", "frame.len", "frame.cap_len"])
        .iter()
        .map(|row| {
            let (seconds, fraction) = row[0][0].split_once('.').unwrap();
            let time = seconds.parse::<u64>().unwrap() * 1_000_000_000 + fraction.parse::<u64>().unwrap();
            (time, row[1][0].parse().unwrap(), row[2][0].parse().unwrap())
        })
        .collect()
}

fn as_we_read(seen: &[Seen]) -> Vec<(u64, u64, u64)> {
    seen.iter()
        .map(|seen| {
            let data = seen.data("rawpacket");
            assert_eq!(data["tsNs"].as_u64(), Some(seen.time));
            (seen.time, data["length"].as_u64().unwrap(), data["captured"].as_u64().unwrap())
        })
        .collect()
}

/// The times of a file's frames, and why it was not read to its end.
fn frames(file: &[u8]) -> Result<(Vec<u64>, Option<Error>), Error> {
    let (mut reader, mut times) = (Reader::new(file)?, Vec::new());
    loop {
        match reader.next() {
            Ok(Some(packet)) => times.push(packet.time),
            Ok(None) => return Ok((times, None)),
            Err(error) => return Ok((times, Some(error))),
        }
    }
}

fn swapped(pcap: &[u8]) -> Vec<u8> {
    let mut bytes = pcap.to_vec();
    bytes[..4].reverse();
    bytes[4..6].reverse();
    bytes[6..8].reverse();
    bytes[8..24].chunks_mut(4).for_each(<[u8]>::reverse);
    let mut at = 24;
    while at < bytes.len() {
        let length = u32::from_le_bytes(bytes[at + 8..at + 12].try_into().unwrap()) as usize;
        bytes[at..at + 16].chunks_mut(4).for_each(<[u8]>::reverse);
        at += 16 + length;
    }
    bytes
}

#[test]
fn pcap_and_pcapng_in_both_orders_and_resolutions_are_read_as_tshark_reads_them() {
    let sample = sample("sample.pcap");
    let expected = as_tshark_reads(&sample);
    assert_eq!(expected.len(), 200);
    assert_eq!(as_we_read(&read(&sample, &[]).unwrap()), expected);
    let big = scratch("big.pcap");
    std::fs::write(&big, swapped(&std::fs::read(&sample).unwrap())).unwrap();
    assert_eq!(as_we_read(&read(&big, &[]).unwrap()), expected);
    for (kind, name) in [("pcap", "micro.pcap"), ("pcapng", "plain.pcapng"), ("nsecpcap", "nano.pcap")] {
        for cut in [&[][..], &["-s", "100"]] {
            let path = scratch(&format!("{}{name}", cut.len()));
            tshark::output(Command::new("editcap").args(cut).args(["-F", kind]).arg(&sample).arg(&path));
            assert_eq!(as_we_read(&read(&path, &[]).unwrap()), as_tshark_reads(&path), "{kind}");
        }
    }
}

#[test]
fn a_pcapng_file_of_several_interfaces_tells_which_one() {
    let one = sample("one.pcap");
    let (ethernet, raw) = (scratch("ethernet.pcapng"), scratch("raw.pcapng"));
    for (path, link, name) in [(&ethernet, "ether", "eth7"), (&raw, "rawip", "tun3")] {
        let script = "text2pcap -q -F pcapng -E $0 -N $1 - $2";
        let mut command = Command::new("sh");
        command.args([
            "-c",
            &format!("printf '0000 45 00 00 14 00 00 00 00 40 11 00 00 0a 00 00 01 0a 00 00 02\\n' | {script}"),
        ]);
        tshark::output(command.args([link, name]).arg(path));
    }
    let merged = scratch("merged.pcapng");
    tshark::output(
        Command::new("mergecap").args(["-F", "pcapng", "-I", "none", "-w"]).arg(&merged).args([&one, &ethernet, &raw]),
    );
    let seen = read(&merged, &[]).unwrap();
    assert_eq!(as_we_read(&seen), as_tshark_reads(&merged));
    let names = tshark::fields(&merged, &[], &["frame.interface_name"]);
    for (seen, row) in seen.iter().zip(&names) {
        let name = seen.data("rawpacket")["interface"]["name"].as_str();
        let known = row[0].first().map(String::as_str).filter(|name| *name != "unknown");
        assert_eq!(name, known);
    }
    assert!(seen.iter().any(|seen| seen.data("rawpacket")["interface"]["name"] == "tun3"));
    assert!(seen.iter().any(|seen| seen.records[0].2.starts_with("tun3 10.0.0.1 > 10.0.0.2 UDP, 20 bytes")));
}

#[test]
fn blocks_options_and_clocks_of_pcapng_that_no_tool_here_writes() {
    for big in [false, true] {
        let word = |value: u32| if big { value.to_be_bytes() } else { value.to_le_bytes() };
        let half = |value: u16| if big { value.to_be_bytes() } else { value.to_le_bytes() };
        let block = |kind: u32, body: &[u8]| {
            let mut body = body.to_vec();
            body.resize(body.len().next_multiple_of(4), 0);
            let length = word(12 + body.len() as u32);
            [&word(kind)[..], &length, &body, &length].concat()
        };
        let section = block(0x0a0d_0d0a, &[&word(0x1a2b_3c4d)[..], &half(1), &half(0), &[0xff; 8]].concat());
        let interface = |link: u16, snaplen: u32, options: &[(u16, &[u8])]| {
            let mut body = [&half(link)[..], &half(0), &word(snaplen)].concat();
            for (code, value) in options {
                body.extend([&half(*code)[..], &half(value.len() as u16), value].concat());
                body.resize(body.len().next_multiple_of(4), 0);
            }
            block(1, &body)
        };
        let seconds = if big { 1000_i64.to_be_bytes() } else { 1000_i64.to_le_bytes() };
        let enhanced = |id: u32, ticks: u64, frame: &[u8]| {
            let (length, high, low) = (frame.len() as u32, (ticks >> 32) as u32, ticks as u32);
            block(6, &[&word(id)[..], &word(high), &word(low), &word(length), &word(length + 3), frame].concat())
        };
        let file = [
            section.clone(),
            block(0x0bad, &[1, 2, 3]),
            interface(1, 0, &[(2, b"half"), (9, &[0x81])]),
            interface(101, 6, &[(1, b"comment"), (9, &[9]), (14, &seconds), (0, &[])]),
            enhanced(0, 5, b"\x01frame"),
            enhanced(1, 5, b"\x02packet"),
            block(2, &[&half(1)[..], &half(0), &word(0), &word(7), &word(3), &word(30), b"\x03ab"].concat()),
            // a second section begins to count its interfaces anew
            section,
            interface(228, 2, &[]),
            enhanced(0, 9, b"\x04"),
            block(3, &[&word(10)[..], b"\x05bcdefghij"].concat()),
        ]
        .concat();
        let path = scratch(if big { "odd-big.pcapng" } else { "odd-little.pcapng" });
        std::fs::write(&path, &file).unwrap();
        let seen = read(&path, &[]).unwrap();
        let expected = [
            (2_500_000_000, 9, 6, Some("half")),
            (1_000_000_000_005, 10, 7, None),
            (1_000_000_000_007, 30, 3, None),
            (9_000, 4, 1, None),
            (9_000, 10, 2, None),
        ];
        assert_eq!(as_we_read(&seen), expected.map(|(time, length, captured, _)| (time, length, captured)));
        for (seen, (.., name)) in seen.iter().zip(expected) {
            assert_eq!(seen.data("rawpacket")["interface"]["name"].as_str(), name);
        }
        // cut anywhere, what stands before is read and the rest is no error of the run
        for length in 0..file.len() {
            std::fs::write(&path, &file[..length]).unwrap();
            match read(&path, &[]) {
                Ok(some) => assert!(as_we_read(&some) == as_we_read(&seen[..some.len()]) && length >= 28),
                Err(error) => {
                    assert!(length < 28 && error.contains("neither a pcap nor a pcapng"), "{length}: {error}")
                }
            }
        }
        // and changed anywhere it is read or refused, never worse
        for at in 0..file.len() {
            for value in [0, 1, 0x80, 0xff] {
                let mut changed = file.clone();
                changed[at] = value;
                let _ = frames(&changed);
            }
        }
    }
}

#[test]
fn what_is_no_capture_file_is_told_in_one_sentence() {
    let path = scratch("text.pcap");
    for (content, told) in [
        (&b"GET / HTTP/1.1"[..], "is neither a pcap nor a pcapng file"),
        (b"", "is neither a pcap nor a pcapng file"),
        (&[0xd4, 0xc3, 0xb2, 0xa1, 2, 0], "is neither a pcap nor a pcapng file"),
    ] {
        std::fs::write(&path, content).unwrap();
        assert!(read(&path, &[]).err().unwrap().ends_with(told));
    }
    let missing = read(Path::new("/nowhere/x.pcap"), &[]).err().unwrap();
    assert!(missing.starts_with("cannot open /nowhere/x.pcap: No such file"), "{missing}");
    let mut corrupt = std::fs::read(sample("corrupt.pcap")).unwrap();
    corrupt[24 + 8 + 3] = 0xff;
    std::fs::write(&path, corrupt).unwrap();
    let error = read(&path, &[]).err().unwrap();
    assert!(error.ends_with("is corrupt at byte 24: a frame of more than 16 MiB"), "{error}");
}

#[test]
fn what_is_no_regular_file_is_refused_and_never_waited_for() {
    let (pipe, link) = (scratch("pipe"), scratch("link"));
    let _ = (std::fs::remove_file(&pipe), std::fs::remove_file(&link));
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    std::os::unix::fs::symlink(&pipe, &link).unwrap();
    for path in [pipe, link, scratch("."), PathBuf::from("/dev/zero")] {
        let (told, tells) = std::sync::mpsc::channel();
        let of_thread = path.clone();
        std::thread::spawn(move || told.send(read(&of_thread, &[]).err()));
        let error = tells.recv_timeout(std::time::Duration::from_secs(20)).expect("it is not waited for");
        assert_eq!(error, Some(format!("{} is no regular file", path.display())));
    }
    assert!(read(&scratch("nothing"), &[]).err().unwrap().starts_with("cannot open "));
}

#[test]
fn a_filter_of_libpcap_chooses_frames_of_a_file_too() {
    let sample = sample("filter.pcap");
    let filter = |text: &str| [("filter", Value::Text(text.to_owned()))];
    let count = |text: &str| read(&sample, &filter(text)).map(|seen| seen.len());
    assert_eq!(count("tcp dst port 80 and src host 10.0.0.1"), Ok(200));
    assert_eq!(count("udp"), Ok(0));
    let small = as_tshark_reads(&sample).iter().filter(|frame| frame.1 <= 700).count();
    assert_eq!(count("less 700"), Ok(small));
    let error = count("tcp port eighty and").unwrap_err();
    assert!(error.starts_with("filter \"tcp port eighty and\": "), "{error}");
    let cut = read(&sample, &[("snaplen", Value::Size(64))]).unwrap();
    assert!(cut.iter().all(|seen| seen.data("rawpacket")["captured"].as_u64().unwrap() <= 64));
}

#[test]
fn frames_of_a_file_allocate_nothing() {
    use tawon::pipeline::Pipeline;
    use tawon::task::source::capture::Capture;
    let path = sample("alloc.pcap");
    let mut options = crate::support::replay::options(tawon::task::find("capture").unwrap(), &[]);
    options.set("file", Value::Text(path.to_str().unwrap().to_owned()));
    let mut capture = Capture::open(&options, &context()).unwrap();
    let mut pipeline = Pipeline::new(vec![]);
    capture.batch(10, &mut pipeline).unwrap();
    assert_eq!(alloc::count(|| drop(capture.batch(180, &mut pipeline))), 0);
}
