//! A regular file that is rotated: when the next record would not fit, `path` becomes `path.1`, what
//! was `path.1` becomes `path.2`, and so on; the oldest goes. Rotated files are gzipped by a thread of
//! their own. A record is in the file whole or not at all.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, ErrorKind, Read, Seek, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::stream::{cut, first_line, whole_lines};
use super::writer::{Output, Progress, Step};

/// What can be set. Shared with the tasks, so that the newest setting holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Settings {
    /// Bytes of the file before it is rotated; a record that is larger has a file to itself.
    pub max_size: u64,
    /// Rotated files that are kept.
    pub max_files: u64,
    pub compress: bool,
}

pub(super) struct Rotating {
    path: PathBuf,
    settings: Arc<Mutex<Settings>>,
    open: Option<Open>,
    compressor: Option<JoinHandle<()>>,
    /// No rotated file has a greater number.
    highest: u64,
}

struct Open {
    file: File,
    size: u64,
    /// Device and inode: whether the path still means this file.
    id: (u64, u64),
    /// It ends within a line: what follows begins on a line of its own.
    torn: bool,
}

impl Rotating {
    /// Opens or creates the file, to be appended to.
    pub fn open(path: PathBuf, settings: Arc<Mutex<Settings>>) -> io::Result<Rotating> {
        let open = Some(Open::new(&path)?);
        let mut rotating = Rotating { path, settings, open, compressor: None, highest: MOST_FILES };
        // What an earlier process was about to compress when it ended.
        let _ = fs::remove_file(rotating.numbered(1, HALF));
        let first = rotating.numbered(1, "");
        if rotating.settings().compress && first.exists() {
            rotating.compress(first);
        }
        Ok(rotating)
    }

    fn settings(&self) -> Settings {
        *self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The file to write to, opened anew where somebody has moved or removed it.
    fn current(&mut self) -> io::Result<&mut Open> {
        let there = fs::metadata(&self.path).ok();
        let open = match (self.open.take(), there) {
            (Some(mut open), Some(there)) if open.id == (there.dev(), there.ino()) => {
                open.look(there.len())?;
                open
            }
            _ => Open::new(&self.path)?,
        };
        Ok(self.open.insert(open))
    }

    fn rotate(&mut self) -> io::Result<()> {
        let Settings { max_files, compress, .. } = self.settings();
        // The names may not move under the one that compresses.
        if let Some(compressor) = self.compressor.take() {
            let _ = compressor.join();
        }
        for suffix in ["", GZIPPED] {
            missing_is_fine(fs::remove_file(self.numbered(max_files, suffix)))?;
        }
        for number in (1..max_files).rev() {
            for suffix in ["", GZIPPED] {
                missing_is_fine(fs::rename(self.numbered(number, suffix), self.numbered(number + 1, suffix)))?;
            }
        }
        let first = self.numbered(1, "");
        fs::rename(&self.path, &first)?;
        self.open = None;
        if compress {
            self.compress(first);
        }
        Ok(())
    }

    /// Removes what was kept while more files were to be kept than now.
    fn keep(&mut self, max_files: u64) {
        for number in max_files + 1..=self.highest {
            for suffix in ["", GZIPPED] {
                let rotated = self.numbered(number, suffix);
                if let Err(error) = missing_is_fine(fs::remove_file(&rotated)) {
                    log::warn!("rotated file is not removed path={} error={error}", rotated.display());
                }
            }
        }
        self.highest = max_files;
    }

    /// Gzips a rotated file beside the writing; where that fails it stays as it is.
    fn compress(&mut self, plain: PathBuf) {
        let (half, whole) = (self.numbered(1, HALF), self.numbered(1, GZIPPED));
        let work = move || {
            if let Err(error) = gzip(&plain, &half).and_then(|()| fs::rename(&half, &whole)) {
                log::warn!("rotated file is not compressed path={} error={error}", plain.display());
                let _ = fs::remove_file(&half);
                return;
            }
            let _ = fs::remove_file(&plain);
        };
        self.compressor = std::thread::Builder::new().name("gzip".to_owned()).spawn(work).ok();
    }

    /// `path.1.gz` and the like.
    fn numbered(&self, number: u64, suffix: &str) -> PathBuf {
        let mut name = OsString::from(&self.path);
        name.push(format!(".{number}{suffix}"));
        PathBuf::from(name)
    }
}

impl Output for Rotating {
    fn write(&mut self, lines: &[u8]) -> Progress {
        let Settings { max_size, max_files, .. } = self.settings();
        if max_files != self.highest {
            self.keep(max_files);
        }
        let mut written = 0;
        while let Some(rest) = lines.get(written..).filter(|rest| !rest.is_empty()) {
            let failed = |written, error| Progress { written, skipped: 0, step: Step::Failed(error) };
            let open = match self.current() {
                Ok(open) => open,
                Err(error) => return failed(written, error),
            };
            let room = usize::try_from(max_size.saturating_sub(open.size)).unwrap_or(usize::MAX);
            let fits = match rest.get(..room) {
                None => rest.len(),
                Some(front) => whole_lines(front),
            };
            let part = match fits {
                0 if open.size == 0 => first_line(rest),
                0 => match self.rotate() {
                    Ok(()) => continue,
                    Err(error) => return failed(written, error),
                },
                fits => fits,
            };
            let (stands, error) = open.append(rest.get(..part).unwrap_or_default());
            written += stands;
            if let Some(error) = error {
                return failed(written, error);
            }
        }
        Progress { written, skipped: 0, step: Step::Done }
    }
}

impl Drop for Rotating {
    fn drop(&mut self) {
        if let Some(compressor) = self.compressor.take() {
            let _ = compressor.join();
        }
    }
}

impl Open {
    fn new(path: &Path) -> io::Result<Open> {
        // Records hold what others said in private.
        let file = OpenOptions::new().append(true).read(true).create(true).mode(0o640).open(path)?;
        let is = file.metadata()?;
        if !is.is_file() {
            return Err(io::Error::other("is no regular file any more"));
        }
        let mut open = Open { file, size: 0, id: (is.dev(), is.ino()), torn: false };
        // A crash may have cut the last record of an earlier process.
        open.look(is.len())?;
        Ok(open)
    }

    /// Sees how the file ends if it is not of the size that it was left with, as when somebody has emptied it.
    fn look(&mut self, size: u64) -> io::Result<()> {
        if size == self.size {
            return Ok(());
        }
        let mut last = [b'\n'];
        if let Some(before) = size.checked_sub(1) {
            // Nothing is there where it was emptied just now, which the next look sees.
            let _ = self.file.read_at(&mut last, before)?;
        }
        (self.size, self.torn) = (size, last != [b'\n']);
        Ok(())
    }

    /// Appends whole lines. Says how many bytes of them stand, to the end of a line, and what stopped it.
    fn append(&mut self, lines: &[u8]) -> (usize, Option<io::Error>) {
        if self.torn {
            match self.file.write(b"\n") {
                Ok(written) => (self.torn, self.size) = (written == 0, self.size + written as u64),
                Err(error) => return (0, Some(error)),
            }
        }
        let mut written = 0;
        let error = loop {
            let Some(rest) = lines.get(written..).filter(|rest| !rest.is_empty()) else {
                self.size += written as u64;
                return (written, None);
            };
            match self.file.write(rest) {
                Ok(0) => break ErrorKind::WriteZero.into(),
                Ok(more) => written += more,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => break error,
            }
        };
        let whole = whole_lines(lines.get(..written).unwrap_or_default());
        self.size += whole as u64;
        if whole < written && !cut(&self.file, written - whole) {
            // Cannot be taken back, unless somebody has emptied the file: how it ends is looked at next time.
            self.size += (written - whole) as u64;
            self.torn = true;
        }
        (whole, Some(error))
    }
}

fn gzip(plain: &Path, into: &Path) -> io::Result<()> {
    let mut from = File::open(plain)?;
    from.rewind()?;
    let to = OpenOptions::new().write(true).create(true).truncate(true).mode(0o640).open(into)?;
    let mut encoder = GzEncoder::new(BufWriter::new(to), Compression::fast());
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = from.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        encoder.write_all(buffer.get(..read).unwrap_or_default())?;
    }
    encoder.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
}

fn missing_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// Of `Settings::max_files`.
pub(super) const MOST_FILES: u64 = 1000;
const GZIPPED: &str = ".gz";
/// A gzip file that is not whole yet.
const HALF: &str = ".gz.part";
