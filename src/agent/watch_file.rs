//! `--watch`: whether the configuration has changed on disk. Looks at what the names lead to now, once
//! a second: that sees an editor's rename and kubelet's swap of links alike, on every file system. A thread
//! does: thousands of files take a while, and on a disk that is slow longer.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};

use crate::kernel::syscalls;

/// The thread that looks when it is asked to; dropping it ends the thread.
pub struct Watched {
    ask: Sender<()>,
    changed: Receiver<bool>,
    /// Whether a look is under way.
    looking: bool,
}

impl Watched {
    /// Looks for the first time. `woken` is called with each further look's end.
    pub fn start(main: Option<&Path>, woken: impl Fn() + Send + 'static) -> io::Result<Watched> {
        let mut files = Files::new(main);
        Watched::with(move || files.changed(), woken)
    }

    fn with(mut look: impl FnMut() -> bool + Send + 'static, woken: impl Fn() + Send + 'static) -> io::Result<Watched> {
        let (ask, asked) = channel();
        let (tell, changed) = channel();
        std::thread::Builder::new().name("watch".to_owned()).spawn(move || {
            syscalls::give_way();
            for () in asked {
                // Nobody listens any more once the loop has ended.
                let _ = tell.send(look());
                woken();
            }
        })?;
        Ok(Watched { ask, changed, looking: false })
    }

    /// Has the thread look, unless it does already.
    pub fn look(&mut self) {
        if !self.looking {
            // It lives as long as the sender does, unless it panicked: then nothing changes any more.
            self.looking = self.ask.send(()).is_ok();
        }
    }

    /// Whether a look that has come to its end found anything other than the one before it.
    pub fn changed(&mut self) -> bool {
        let Ok(changed) = self.changed.try_recv() else { return false };
        self.looking = false;
        changed
    }
}

/// The files as they were at the last look.
struct Files {
    main: PathBuf,
    seen: Marks,
    /// As they were when a change was last told of.
    told: Marks,
    /// Looks in turn that found something being written.
    unsettled: u32,
}

type Marks = BTreeMap<PathBuf, Mark>;

/// Device, inode, size, modification time.
type Mark = (u64, u64, u64, i64, i64);

impl Files {
    fn new(main: Option<&Path>) -> Files {
        let main = main.map(Path::to_owned).unwrap_or_default();
        let mut files = Files { main, seen: Marks::new(), told: Marks::new(), unsettled: 0 };
        files.seen = files.look();
        files.told.clone_from(&files.seen);
        files
    }

    /// Whether anything is other than when this was last said, and does not change any more: a file that is
    /// written in place is cut to nothing first. What never rests is told of every so often.
    fn changed(&mut self) -> bool {
        let now = self.look();
        let rests = now == self.seen;
        self.seen = now;
        self.unsettled = if rests { 0 } else { self.unsettled + 1 };
        let changed = (rests || self.unsettled >= RESTLESS) && self.seen != self.told;
        if changed {
            self.unsettled = 0;
            self.told.clone_from(&self.seen);
        }
        changed
    }

    fn look(&self) -> Marks {
        let directory = self.main.parent().unwrap_or(Path::new("")).join("directives.d");
        let entries = std::fs::read_dir(&directory).into_iter().flatten().filter_map(Result::ok);
        let files = entries.map(|entry| entry.path()).take(MOST).chain([self.main.clone()]);
        files
            .filter_map(|path| {
                let found = std::fs::metadata(&path).ok()?;
                let mark = (found.dev(), found.ino(), found.size(), found.mtime(), found.mtime_nsec());
                Some((path, mark))
            })
            .collect()
    }
}

const MOST: usize = 4096;
/// Looks after which something that keeps changing is told of.
const RESTLESS: u32 = 10;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    #[test]
    fn whoever_asks_does_not_wait_for_the_look_and_is_told_of_each_once() {
        let (go, gone) = channel::<bool>();
        let (began, beginning) = channel();
        let (wake, woken) = channel();
        let look = move || {
            began.send(()).expect("the test is there");
            gone.recv_timeout(PATIENCE).expect("who asked goes on meanwhile")
        };
        let mut watched = Watched::with(look, move || wake.send(()).expect("the test is there")).expect("a thread");
        assert!(!watched.changed(), "nobody asked yet");
        for changed in [false, true, false] {
            watched.look();
            beginning.recv_timeout(PATIENCE).expect("it looks");
            // Asked again while it looks: it is one look all the same.
            watched.look();
            assert!(!watched.changed(), "it has not looked to the end");
            go.send(changed).expect("it waits");
            woken.recv_timeout(PATIENCE).expect("it wakes whoever asked");
            assert_eq!(watched.changed(), changed);
            assert!(!watched.changed(), "told once");
        }
        assert!(beginning.try_recv().is_err(), "three looks");
    }

    #[test]
    fn a_file_that_is_written_comes_or_goes_is_a_change_and_nothing_else_is() {
        let directory = std::env::temp_dir().join(format!("tawon-watched-{}", std::process::id()));
        std::fs::create_dir_all(directory.join("directives.d")).expect("a directory");
        let (main, other) = (directory.join("tawon.yaml"), directory.join("directives.d/a.yaml"));
        std::fs::write(&main, "1").expect("writes");
        let mut files = Files::new(Some(&main));
        let mut changed = || [files.changed(), files.changed(), files.changed()];
        let once_it_rests = [false, true, false];
        assert_eq!(changed(), [false; 3]);
        std::fs::write(&main, "22").expect("writes");
        assert_eq!(changed(), once_it_rests);
        std::fs::write(&other, "1").expect("writes");
        assert_eq!(changed(), once_it_rests);
        std::fs::remove_file(&other).expect("removes");
        assert_eq!(changed(), once_it_rests);
        // Written between two looks, and back before it rests: nothing has changed.
        std::fs::rename(&main, &other).expect("renames");
        assert!(!files.changed(), "it may be in the middle of something");
        std::fs::rename(&other, &main).expect("renames");
        assert_eq!([files.changed(), files.changed()], [false, false]);
        let told = (0..2 * RESTLESS as usize).filter(|size| {
            std::fs::write(&main, "2".repeat(*size)).expect("writes");
            files.changed()
        });
        assert_eq!(told.count(), 2, "what never rests");
        std::fs::remove_dir_all(&directory).expect("removes");
    }
}
