//! The thread for what blocks in the kernel and is not on the path: loading and attaching, detaching,
//! walks of iterators, the look through /proc. Requests are carried out in their order; what comes of
//! them is fetched by `result` after the waker has woken the loop.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use mio::Waker;

use crate::kernel::iter::Walk;
use crate::kernel::load::{Error, Links, Module, Plan, Shared, Sizes};
use crate::kernel::{abi, syscalls};
use crate::process::Process;
use crate::process::scan::{self, Scanned};

/// Which kernel source; its index in the watch map's masks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hooks {
    Exec = 0,
    Flows = 1,
}

impl Hooks {
    pub const ALL: [Hooks; 2] = [Hooks::Exec, Hooks::Flows];

    pub const fn name(self) -> &'static str {
        match self {
            Hooks::Exec => "exec",
            Hooks::Flows => "flows",
        }
    }
}

enum Request {
    Load(Hooks, &'static Plan, Sizes),
    Detach(Hooks, Links),
    Walk(Purpose, Walk),
    Pids,
    /// What takes a while to drop: an object's maps, thousands of compiled conditions.
    Drop(Box<dyn Send>),
}

/// What a walk is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// Sockets older than the agent or the directive.
    Existing,
    /// Statistics of open flows.
    Ongoing,
    /// Which flows are still open, after records were lost.
    Lost,
    /// Flows whose sockets went without a word.
    Gone,
}

pub enum Done {
    /// With the processes that were there when exec was loaded.
    Loaded(Hooks, Result<(Box<Module>, Vec<Scanned>), Error>),
    /// Programs whose detach failed.
    Detached(Hooks, Vec<String>),
    /// What was told, and the CLOCK_MONOTONIC before which the walk began.
    Walked(Purpose, Vec<u8>, u64),
    /// The pids that there are, and the CLOCK_BOOTTIME before which the look began.
    Pids(HashSet<u32>, u64),
}

/// The thread's end that the loop holds; dropping it ends the thread after what it was asked.
pub struct Loader {
    requests: Sender<Request>,
    results: Receiver<Done>,
}

impl Loader {
    pub fn start(waker: Arc<Waker>) -> std::io::Result<Loader> {
        let (requests, asked) = channel::<Request>();
        let (done, results) = channel();
        std::thread::Builder::new().name("loader".to_owned()).spawn(move || {
            let mut shared = Shared::default();
            for request in asked {
                perform(request, &mut shared, &mut |result| {
                    // Nobody listens any more once the loop has ended.
                    let _ = done.send(result);
                    let _ = waker.wake();
                });
            }
        })?;
        Ok(Loader { requests, results })
    }

    pub fn load(&self, hooks: Hooks, plan: &'static Plan, sizes: Sizes) {
        self.ask(Request::Load(hooks, plan, sizes));
    }

    pub fn detach(&self, hooks: Hooks, links: Links) {
        self.ask(Request::Detach(hooks, links));
    }

    pub fn walk(&self, purpose: Purpose, walk: Walk) {
        self.ask(Request::Walk(purpose, walk));
    }

    pub fn pids(&self) {
        self.ask(Request::Pids);
    }

    pub fn free(&self, what: impl Send + 'static) {
        self.ask(Request::Drop(Box::new(what)));
    }

    pub fn result(&self) -> Option<Done> {
        self.results.try_recv().ok()
    }

    fn ask(&self, request: Request) {
        // The thread lives as long as the sender does, unless it panicked, and then so do we.
        let _ = self.requests.send(request);
    }
}

fn perform(request: Request, shared: &mut Shared, done: &mut dyn FnMut(Done)) {
    match request {
        Request::Load(hooks, plan, sizes) => {
            let loaded = Module::load(plan, &sizes, shared).map(|module| {
                let scanned = if hooks == Hooks::Exec { there_already(&module) } else { Vec::new() };
                (Box::new(module), scanned)
            });
            done(Done::Loaded(hooks, loaded));
        }
        Request::Detach(hooks, links) => done(Done::Detached(hooks, links.detach())),
        Request::Walk(purpose, walk) => {
            let before = syscalls::clock(libc::CLOCK_MONOTONIC);
            let told = walk.run().unwrap_or_else(|error| {
                log::warn!("a walk of the kernel's tables failed walk={purpose:?} error={error}");
                Vec::new()
            });
            done(Done::Walked(purpose, told, before));
        }
        Request::Pids => {
            let before = syscalls::clock(libc::CLOCK_BOOTTIME);
            if let Ok(pids) = scan::pids() {
                done(Done::Pids(pids.into_iter().collect(), before));
            }
        }
        Request::Drop(what) => drop(what),
    }
}

/// Gives every process that is there an entry in the watch map and reads what /proc tells of it.
fn there_already(module: &Module) -> Vec<Scanned> {
    let told = match module.walk("tawon_tasks", None).map(|walk| walk.run()) {
        Some(Ok(told)) => told,
        _ => return Vec::new(),
    };
    let tasks = told.chunks_exact(size_of::<abi::Task>()).filter_map(abi::read::<abi::Task>);
    tasks
        .map(|task| match scan::scan(task.tgid) {
            // The kernel's start time, which is exact.
            Some(mut scanned) => {
                scanned.process.start = task.start;
                scanned
            }
            // It ended meanwhile: its end is to be told all the same.
            None => Scanned {
                process: Process { pid: task.tgid, start: task.start, ..Process::default() },
                cgroup: String::new(),
            },
        })
        .collect()
}
