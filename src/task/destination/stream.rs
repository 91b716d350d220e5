//! Outputs that have no size: standard output, a pipe, a terminal, a device.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Seek, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::writer::{Output, Progress, Step};

/// An open descriptor that takes lines one after the other.
pub(super) struct Stream {
    file: File,
    /// What was written last ended within a line.
    within: bool,
    /// The rest of that line was given up: what follows begins on a line of its own.
    torn: bool,
    /// A write may wait for a reader: it is asked before whether it would, and small enough not to.
    may_block: bool,
}

impl Stream {
    /// Of a descriptor that somebody else opened.
    pub fn new(file: File) -> Stream {
        let may_block = !file.metadata().is_ok_and(|is| is.is_file());
        Stream { file, within: false, torn: false, may_block }
    }

    /// A device or pipe of which we have an open file of our own.
    pub fn open(path: &Path) -> io::Result<Stream> {
        let file = OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)?;
        Ok(Stream { may_block: false, ..Stream::new(file) })
    }

    /// Standard output, past the standard library's lock and buffer.
    pub fn stdout() -> io::Result<Stream> {
        let file = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        let is = file.metadata()?.file_type();
        // O_NONBLOCK would hold for all who share the open file, the shell among them.
        match is.is_fifo() || is.is_char_device() {
            true => Stream::open(Path::new("/proc/self/fd/1")).or_else(|_| Ok(Stream::new(file))),
            false => Ok(Stream::new(file)),
        }
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.may_block {
            return self.file.write(bytes);
        }
        if !can_write(&self.file, Duration::ZERO) {
            return Err(ErrorKind::WouldBlock.into());
        }
        // pipe(7): so much finds room where there is any.
        self.file.write(bytes.get(..libc::PIPE_BUF).unwrap_or(bytes))
    }
}

impl Output for Stream {
    fn write(&mut self, lines: &[u8]) -> Progress {
        if let Err(step) = self.mend() {
            return Progress { written: 0, skipped: 0, step };
        }
        let mut written = 0;
        while let Some(rest) = lines.get(written..).filter(|rest| !rest.is_empty()) {
            let error = match self.put(rest) {
                Ok(0) => ErrorKind::WriteZero.into(),
                Ok(more) => {
                    written += more;
                    self.within = lines.get(written - 1) != Some(&b'\n');
                    continue;
                }
                Err(error) => error,
            };
            let step = match step(error) {
                Step::Done => continue,
                Step::Blocked => return Progress { written, skipped: 0, step: Step::Blocked },
                step => step,
            };
            let whole = whole_lines(lines.get(..written).unwrap_or_default());
            if whole < written && cut(&self.file, written - whole) {
                self.within = false;
            }
            self.tear();
            return Progress { written: whole, skipped: 0, step };
        }
        Progress { written, skipped: 0, step: Step::Done }
    }

    fn wait(&mut self, most: Duration) -> bool {
        can_write(&self.file, most)
    }

    fn tear(&mut self) {
        self.torn = self.within;
    }
}

impl Stream {
    /// Ends the line whose rest was given up.
    fn mend(&mut self) -> Result<(), Step> {
        while self.torn {
            match self.put(b"\n") {
                Ok(1) => (self.torn, self.within) = (false, false),
                Ok(_) => return Err(Step::Blocked),
                Err(error) => match step(error) {
                    Step::Done => {}
                    step => return Err(step),
                },
            }
        }
        Ok(())
    }
}

/// A named pipe: waits for a reader, and for the next one when it has gone.
pub(super) struct Fifo {
    path: PathBuf,
    open: Option<Stream>,
}

impl Fifo {
    pub fn new(path: PathBuf) -> Fifo {
        Fifo { path, open: None }
    }

    /// None while nobody reads. Not blocking, or the open would wait for a reader.
    fn open(&self) -> io::Result<Option<Stream>> {
        match Stream::open(&self.path) {
            Ok(stream) if stream.file.metadata()?.file_type().is_fifo() => Ok(Some(stream)),
            Ok(_) => Err(io::Error::other("is no pipe any more")),
            Err(error) if error.raw_os_error() == Some(libc::ENXIO) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Output for Fifo {
    fn write(&mut self, lines: &[u8]) -> Progress {
        let nothing = |step| Progress { written: 0, skipped: 0, step };
        let mut stream = match self.open.take().map_or_else(|| self.open(), |stream| Ok(Some(stream))) {
            Ok(Some(stream)) => stream,
            Ok(None) => return nothing(Step::Blocked),
            Err(error) => return nothing(Step::Failed(error)),
        };
        let Progress { written, step, .. } = match stream.mend() {
            Ok(()) => stream.write(lines),
            // What the line's end was for has gone with its reader.
            Err(Step::Gone) => return nothing(Step::Blocked),
            Err(step) => nothing(step),
        };
        match step {
            Step::Done | Step::Blocked => {
                self.open = Some(stream);
                Progress { written, skipped: 0, step }
            }
            step => {
                // The next reader begins with a whole line; the one that was cut is lost.
                let behind = lines.get(written..).unwrap_or_default();
                let skipped = if stream.within { first_line(behind) } else { 0 };
                Progress { written, skipped, step: if let Step::Gone = step { Step::Blocked } else { step } }
            }
        }
    }

    fn wait(&mut self, most: Duration) -> bool {
        match &mut self.open {
            Some(stream) => stream.wait(most),
            None => {
                std::thread::sleep(most);
                false
            }
        }
    }

    fn tear(&mut self) {
        self.open.iter_mut().for_each(Stream::tear);
    }
}

/// Whether a write would do something at once, be it to fail; waits for that, but not for longer than this.
fn can_write(file: &File, most: Duration) -> bool {
    let most = PollTimeout::try_from(most).unwrap_or(PollTimeout::ZERO);
    poll(&mut [PollFd::new(file.as_fd(), PollFlags::POLLOUT)], most).is_ok_and(|ready| ready > 0)
}

/// Takes back the last bytes that were written, where the output is a file that nobody else has written behind
/// them or cut.
pub(super) fn cut(mut file: &File, bytes: usize) -> bool {
    // Of a file that is appended to, too, this is where the last write ended.
    let Ok(end) = file.stream_position() else { return false };
    let ours = file.metadata().is_ok_and(|now| now.is_file() && now.len() == end);
    let start = end.saturating_sub(bytes as u64);
    ours && file.set_len(start).is_ok() && file.seek(io::SeekFrom::Start(start)).is_ok()
}

/// What an error of write(2) means; `Done` for one that is none.
fn step(error: io::Error) -> Step {
    match error.kind() {
        ErrorKind::Interrupted => Step::Done,
        ErrorKind::WouldBlock => Step::Blocked,
        ErrorKind::BrokenPipe => Step::Gone,
        _ => Step::Failed(error),
    }
}

/// How many of these bytes are whole lines.
pub(super) fn whole_lines(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1)
}

/// The length of the first line, its end included.
pub(super) fn first_line(bytes: &[u8]) -> usize {
    bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |at| at + 1)
}
