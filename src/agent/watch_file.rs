//! `--watch`: whether the configuration has changed on disk. Looks at what the names lead to now, once
//! a second: that sees an editor's rename and kubelet's swap of links alike, on every file system.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The files as they were at the last look.
pub struct Watched {
    main: PathBuf,
    seen: BTreeMap<PathBuf, Mark>,
}

/// Device, inode, size, modification time.
type Mark = (u64, u64, u64, i64, i64);

impl Watched {
    pub fn new(main: Option<&Path>) -> Watched {
        let mut watched = Watched { main: main.map(Path::to_owned).unwrap_or_default(), seen: BTreeMap::new() };
        watched.seen = watched.look();
        watched
    }

    /// Whether anything is other than at the last look.
    pub fn changed(&mut self) -> bool {
        let now = self.look();
        let changed = now != self.seen;
        self.seen = now;
        changed
    }

    fn look(&self) -> BTreeMap<PathBuf, Mark> {
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
