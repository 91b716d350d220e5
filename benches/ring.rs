//! CPU time per event of the whole path of flows (wait, drain, order, decode, flow table, process
//! table, counters; no destination) beside libbpf's own consumer, whose callback reads the record. The same BPF
//! program makes the same 64-byte records for both, in turns, woken once per `BATCH` records. Claims come in
//! about the order of their flows, which the limit is for; scattered ones show what memory costs at worst:
//! 65 536 flows is what `limits.flows` is by default. An argument that is part of a line's name leaves the
//! other lines out.

use std::ffi::{c_int, c_void};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use libbpf_rs::{AsRawLibbpf, MapCore, MapFlags, Object, ObjectBuilder};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use std::os::fd::{AsFd, AsRawFd};
use tawon::kernel::abi;
use tawon::kernel::merge::{Merge, Reader};
use tawon::kernel::ring::Rings;
use tawon::metrics::Metrics;
use tawon::pipeline::Pipeline;
use tawon::task::source::{World, flows};

#[path = "../tests/support/records.rs"]
mod records;

use records::Around;

fn main() {
    let quick = !std::env::args().any(|arg| arg == "--bench");
    let object = match compile() {
        Ok(object) => object,
        Err(error) => return println!("SKIPPED: ring: {error}"),
    };
    println!("{:<44}{:>10}{:>10}{:>8}", "64-byte claims, ns of CPU per event", "tawon", "libbpf", "ratio");
    let sizes: &[u64] = if quick { &[10_000] } else { &[10_000, 65_536, 1_000_000] };
    let rounds = if quick { 40 } else { 8000 };
    let only = std::env::args().skip(1).find(|arg| !arg.starts_with('-')).unwrap_or_default();
    for &flows in sizes {
        for order in [Order::First, Order::Arrival, Order::Scattered] {
            let name = format!("{flows} flows, {}", order.name());
            if name.contains(&only) {
                measure(&object, flows, order, rounds, &name);
            }
        }
    }
    println!("limit 3, aim 2; scattered claims, which do not come from a kernel, are the worst case");
    // Nothing of it is needed any more, and nothing else hangs on it.
    let _ = std::fs::remove_file(object);
}

/// Which flows the records are of.
#[derive(Clone, Copy, PartialEq)]
enum Order {
    /// Each has just arrived and is claimed for the first time: it is announced.
    First,
    /// In the order in which they arrived, again and again.
    Arrival,
    /// All over the table.
    Scattered,
}

impl Order {
    const fn name(self) -> &'static str {
        match self {
            Order::First => "just arrived",
            Order::Arrival => "again, in order of arrival",
            Order::Scattered => "again, scattered",
        }
    }
}

fn measure(object: &Path, flows: u64, order: Order, rounds: u64, name: &str) {
    let (mut ours, mut theirs) = (Ours::new(object, flows), Theirs::new(object));
    let (mut of_ours, mut of_theirs) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let first = round * BATCH;
        if order == Order::First {
            ours.arrive(first, flows);
        }
        let call =
            [BATCH, first, flows, u64::from(order == Order::Scattered), records::FIRST_PID.into(), OWNERS.into()];
        produce(&ours.object, &call);
        of_ours.push(cpu(|| ours.consume()));
        produce(&theirs.object, &call);
        of_theirs.push(cpu(|| theirs.consume()));
    }
    let expected = rounds * BATCH;
    assert_eq!((ours.read, theirs.read), (expected, expected), "every record is read");
    let (ours, theirs) = (median(of_ours) / BATCH as f64, median(of_theirs) / BATCH as f64);
    println!("{:<44}{ours:>10.1}{theirs:>10.1}{:>8.2}", name, ours / theirs);
}

/// The agent's path.
struct Ours {
    object: Object,
    rings: Rings,
    poll: Poll,
    events: Events,
    merge: Merge,
    engine: flows::Engine,
    around: Around,
    read: u64,
}

impl Ours {
    fn new(object: &Path, flows: u64) -> Ours {
        let object = load(object);
        let rings = Rings::perf(PAGES, BATCH as u32).unwrap();
        let Rings::Perf(all) = &rings else { unreachable!("perf rings were asked for") };
        let map = object.maps().find(|map| map.name() == "tawon_events").unwrap();
        let poll = Poll::new().unwrap();
        for ring in all {
            let fd = ring.descriptor().as_raw_fd();
            map.update(&ring.cpu.to_ne_bytes(), &fd.to_ne_bytes(), MapFlags::ANY).unwrap();
            poll.registry().register(&mut SourceFd(&fd), Token(0), Interest::READABLE).unwrap();
        }
        let metrics = Metrics::new("").unwrap();
        let mut ours = Ours {
            object,
            rings,
            poll,
            events: Events::with_capacity(64),
            merge: Merge::default(),
            engine: records::flows_engine(&metrics, flows as usize + 1, Pipeline::default()),
            around: Around::new(OWNERS),
            read: 0,
        };
        for at in 0..flows {
            let mut world = ours.around.world();
            ours.engine.record(abi::bytes(&records::flow(records::ARRIVED, at, 1)), &mut world);
            let claim = records::claim(
                records::CLAIMED,
                records::number(at),
                0,
                records::FIRST_PID + (at % u64::from(OWNERS)) as u32,
                1,
            );
            ours.engine.record(abi::bytes(&claim), &mut world);
        }
        // What nobody claimed within a second is looked at then: nothing is left of that.
        ours.around.now += 10 * records::SECOND;
        ours.engine.tick(&mut ours.around.world());
        ours
    }

    /// The flows that the next batch is of have ended, and others came in their place.
    fn arrive(&mut self, first: u64, flows: u64) {
        for at in (first..first + BATCH).map(|at| at % flows) {
            let mut world = self.around.world();
            let flow = records::flow(records::ARRIVED, at, 1);
            self.engine.record(abi::bytes(&records::ended(flow, 1)), &mut world);
            self.engine.record(abi::bytes(&flow), &mut world);
        }
        self.engine.tick(&mut self.around.world());
    }

    fn consume(&mut self) {
        self.poll.poll(&mut self.events, Some(Duration::ZERO)).unwrap();
        let now = tawon::kernel::syscalls::clock(libc::CLOCK_MONOTONIC);
        let (engine, mut world) = (&mut self.engine, self.around.world());
        let mut reader = Engine(engine, &mut world);
        let drained = self.merge.drain(&mut [Some(&mut self.rings)], now, &mut reader);
        engine.gauges();
        self.read += drained.records as u64;
    }
}

/// What takes the records, as in the agent.
struct Engine<'a, 'w>(&'a mut flows::Engine, &'a mut World<'w>);

impl Reader for Engine<'_, '_> {
    fn note(&self, _: usize, bytes: &[u8]) -> u32 {
        self.0.note(bytes)
    }

    fn fetch(&self, _: usize, hint: u32) -> u32 {
        self.0.fetch(hint)
    }

    fn record(&mut self, _: usize, bytes: &[u8], hint: u32) {
        self.0.record_at(bytes, hint, self.1);
    }
}

/// libbpf's consumer.
struct Theirs {
    object: Object,
    buffer: *mut libbpf_sys::perf_buffer,
    count: *mut u64,
    read: u64,
}

impl Theirs {
    fn new(object: &Path) -> Theirs {
        let object = load(object);
        let map = object.maps().find(|map| map.name() == "tawon_events").unwrap().as_fd().as_raw_fd();
        let options = libbpf_sys::perf_buffer_opts {
            sz: size_of::<libbpf_sys::perf_buffer_opts>() as _,
            sample_period: BATCH as u32,
            ..Default::default()
        };
        let count = Box::into_raw(Box::new(0));
        // SAFETY: the callback matches, and gets a pointer that lives as long as the buffer.
        let buffer = unsafe {
            libbpf_sys::perf_buffer__new(map, PAGES as _, Some(sample), None, count.cast(), &raw const options)
        };
        assert!(!buffer.is_null(), "perf_buffer__new");
        Theirs { object, buffer, count, read: 0 }
    }

    fn consume(&mut self) {
        // SAFETY: the buffer lives until drop; the callback writes only to `count`.
        unsafe {
            assert!(libbpf_sys::perf_buffer__poll(self.buffer, 0) >= 0, "perf_buffer__poll");
            self.read = *self.count;
        }
    }
}

impl Drop for Theirs {
    fn drop(&mut self) {
        // SAFETY: both were made by `new` and are used by nobody else.
        unsafe {
            libbpf_sys::perf_buffer__free(self.buffer);
            drop(Box::from_raw(self.count));
        }
    }
}

/// Reads the record, as the least of consumers would.
unsafe extern "C" fn sample(count: *mut c_void, _cpu: c_int, data: *mut c_void, size: u32) {
    // SAFETY: the context given to perf_buffer__new, and `size` bytes of a record.
    unsafe {
        std::hint::black_box(data.cast::<[u64; 8]>().read_unaligned());
        *count.cast::<u64>() += u64::from(size >= 64);
    }
}

fn load(object: &Path) -> Object {
    let mut open = ObjectBuilder::default().open_file(object).unwrap();
    for mut map in open.maps_mut().filter(|map| map.name() == "tawon_ring") {
        map.set_autocreate(false).unwrap();
    }
    open.load().unwrap()
}

/// Runs the program on this CPU.
fn produce(object: &Object, call: &[u64; 6]) {
    let program = object.progs().next().unwrap();
    let mut options = libbpf_sys::bpf_test_run_opts {
        sz: size_of::<libbpf_sys::bpf_test_run_opts>() as _,
        ctx_in: call.as_ptr().cast(),
        ctx_size_in: size_of_val(call) as u32,
        ..Default::default()
    };
    // SAFETY: the options and what they point to outlive the call.
    let error = unsafe { libbpf_sys::bpf_prog_test_run_opts(program.as_fd().as_raw_fd(), &raw mut options) };
    assert_eq!(error, 0, "BPF_PROG_TEST_RUN");
    let _ = program.as_libbpf_object();
}

/// Compiles benches/ring.bpf.c into the target directory.
fn compile() -> Result<PathBuf, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let object = std::env::temp_dir().join(format!("tawon-ring-{}.bpf.o", std::process::id()));
    let clang = std::env::var("CLANG").ok();
    let names = clang.into_iter().chain((14..=30).rev().map(|v| format!("clang-{v}"))).chain(["clang".to_owned()]);
    for name in names {
        let arch = if cfg!(target_arch = "x86_64") { ("x86", "x86_64") } else { ("arm64", "aarch64") };
        let status = Command::new(&name)
            .args(["-target", "bpf", "-O2", "-g", "-c", "-o"])
            .arg(&object)
            .arg(format!("-D__TARGET_ARCH_{}", arch.0))
            .args(
                [format!("bpf/lib/vmlinux/{}", arch.1), "include".into(), "bpf".into()]
                    .map(|dir| format!("-I{}", root.join(dir).display())),
            )
            .arg(root.join("benches/ring.bpf.c"))
            .status();
        match status {
            Ok(status) if status.success() => return Ok(object),
            Ok(_) => return Err(format!("{name} does not compile benches/ring.bpf.c")),
            Err(_) => {}
        }
    }
    Err("no clang".to_owned())
}

/// Nanoseconds of CPU that this thread used.
fn cpu(work: impl FnOnce()) -> f64 {
    let before = tawon::kernel::syscalls::clock(libc::CLOCK_THREAD_CPUTIME_ID);
    work();
    (tawon::kernel::syscalls::clock(libc::CLOCK_THREAD_CPUTIME_ID) - before) as f64
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

/// Records per wake-up: the agent's.
const BATCH: u64 = 128;
const PAGES: u32 = 64;
const OWNERS: u32 = 64;
