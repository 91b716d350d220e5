//! Outputs that have no size: standard output, a pipe, a terminal, a device.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Seek, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::PathBuf;

use super::writer::{Output, Progress, Step};

/// An open descriptor that takes lines one after the other.
pub(super) struct Stream {
    file: File,
    /// What was written last ended within a line.
    within: bool,
    /// The rest of that line was given up: what follows begins on a line of its own.
    torn: bool,
}

impl Stream {
    pub fn new(file: File) -> Stream {
        Stream { file, within: false, torn: false }
    }

    /// Standard output, past the standard library's lock and buffer.
    pub fn stdout() -> io::Result<Stream> {
        Ok(Stream::new(io::stdout().as_fd().try_clone_to_owned()?.into()))
    }
}

impl Output for Stream {
    fn write(&mut self, lines: &[u8]) -> Progress {
        if self.torn {
            match self.file.write(b"\n") {
                Ok(1) => (self.torn, self.within) = (false, false),
                Ok(_) => return Progress { written: 0, skipped: 0, step: Step::Blocked },
                Err(error) => return Progress { written: 0, skipped: 0, step: step(error) },
            }
        }
        let mut written = 0;
        while let Some(rest) = lines.get(written..).filter(|rest| !rest.is_empty()) {
            let error = match self.file.write(rest) {
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
            if whole < written && self.cut(written - whole) {
                self.within = false;
            }
            self.torn = self.within;
            return Progress { written: whole, skipped: 0, step };
        }
        Progress { written, skipped: 0, step: Step::Done }
    }
}

impl Stream {
    /// Takes the last bytes back, where the output is a file that nobody else has written behind us.
    fn cut(&mut self, bytes: usize) -> bool {
        let Ok(end) = self.file.stream_position() else { return false };
        let ours = self.file.metadata().is_ok_and(|now| now.is_file() && now.len() == end);
        let start = end.saturating_sub(bytes as u64);
        ours && self.file.set_len(start).is_ok() && self.file.seek(io::SeekFrom::Start(start)).is_ok()
    }
}

/// A named pipe: waits for a reader, and for the next one when it has gone.
pub(super) struct Fifo {
    path: PathBuf,
    open: Option<File>,
    /// What was written last ended within a line.
    within: bool,
}

impl Fifo {
    pub fn new(path: PathBuf) -> Fifo {
        Fifo { path, open: None, within: false }
    }

    /// None while nobody reads. Not blocking, or the open would wait for a reader.
    fn open(&self) -> io::Result<Option<File>> {
        match OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(&self.path) {
            Ok(file) if file.metadata()?.file_type().is_fifo() => Ok(Some(file)),
            Ok(_) => Err(io::Error::other("is no pipe any more")),
            Err(error) if error.raw_os_error() == Some(libc::ENXIO) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Output for Fifo {
    fn write(&mut self, lines: &[u8]) -> Progress {
        let mut file = match self.open.take().map_or_else(|| self.open(), |file| Ok(Some(file))) {
            Ok(Some(file)) => file,
            Ok(None) => return Progress { written: 0, skipped: 0, step: Step::Blocked },
            Err(error) => return Progress { written: 0, skipped: 0, step: Step::Failed(error) },
        };
        let mut written = 0;
        while let Some(rest) = lines.get(written..).filter(|rest| !rest.is_empty()) {
            let step = match file.write(rest) {
                Ok(more) => {
                    written += more;
                    self.within = written > 0 && lines.get(written - 1) != Some(&b'\n');
                    continue;
                }
                Err(error) => step(error),
            };
            let (whole, behind) = lines.split_at(whole_lines(lines.get(..written).unwrap_or_default()));
            let step = match step {
                Step::Done => continue,
                Step::Blocked => {
                    self.open = Some(file);
                    return Progress { written, skipped: 0, step: Step::Blocked };
                }
                Step::Gone => Step::Blocked,
                step => step,
            };
            // The next reader begins with a whole line; the one that was cut is lost.
            let skipped = if self.within { first_line(behind) } else { 0 };
            self.within = false;
            return Progress { written: whole.len(), skipped, step };
        }
        self.open = Some(file);
        Progress { written, skipped: 0, step: Step::Done }
    }
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
