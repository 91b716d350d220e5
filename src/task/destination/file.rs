//! `file`: records as JSON lines in a file that is rotated, or through a pipe or device that is not.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::lines::Lines;
use super::rotate::{MOST_FILES, Rotating, Settings};
use super::stream::{Fifo, Stream};
use super::writer::{Output, Sink};
use super::{MAX_QUEUE, max_queue};
use crate::pipeline::Task;
use crate::task::options::REQUIRED;
use crate::task::{Build, Context, Opt, Options, Spec, Type};

pub static SPEC: Spec = Spec {
    name: "file",
    help: "Writes records to a file, one JSON line each, and rotates it.",
    options: &[
        Opt { name: "path", ty: Type::Path, default: REQUIRED, help: "The file; its directory must be there." },
        Opt {
            name: "maxSize",
            ty: Type::Size { min: 4096, max: 1 << 50 },
            default: "100Mi",
            help: "Size at which the file is rotated to PATH.1, PATH.1 to PATH.2 and so on.",
        },
        Opt {
            name: "maxFiles",
            ty: Type::Count { min: 1, max: MOST_FILES },
            default: "5",
            help: "Rotated files to keep.",
        },
        Opt { name: "compress", ty: Type::Bool, default: "true", help: "Gzip rotated files: PATH.1.gz." },
        MAX_QUEUE,
    ],
    accepts: &[],
    emits: &[],
    needs_condition: false,
    build: Build::Destination(build),
};

fn build(options: &Options, context: &Context) -> Result<Box<dyn Task>, String> {
    let path = Path::new(options.text("path").unwrap_or_default());
    let path = canonical(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let settings = Settings {
        max_size: options.number("maxSize").unwrap_or(100 << 20),
        max_files: options.number("maxFiles").unwrap_or(5),
        compress: options.flag("compress"),
    };
    let key = format!("file:{}", path.display());
    let settings = shared(&key, settings);
    let sink = Sink::open(&key, max_queue(options), &context.metrics, || {
        output(&path, settings).map_err(|error| format!("{}: {error}", path.display()))
    })?;
    Ok(Box::new(Lines::new(sink, context, false)))
}

fn output(path: &Path, settings: Arc<Mutex<Settings>>) -> io::Result<Box<dyn Output>> {
    let kind = match fs::metadata(path) {
        Ok(is) => is.file_type(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(Box::new(Rotating::open(path.to_owned(), settings)?));
        }
        Err(error) => return Err(error),
    };
    if kind.is_file() {
        Ok(Box::new(Rotating::open(path.to_owned(), settings)?))
    } else if kind.is_fifo() {
        Ok(Box::new(Fifo::new(path.to_owned())))
    } else if kind.is_char_device() {
        Ok(Box::new(Stream::open(path)?))
    } else {
        let what = if kind.is_dir() { "a directory" } else { "neither a file nor a pipe" };
        Err(io::Error::other(format!("is {what}")))
    }
}

/// The path by which a file is known, however it was written; the file itself need not be there. A link is
/// followed, to where its file would be made: a rotation would take the link's place.
fn canonical(path: &Path) -> io::Result<PathBuf> {
    // The link of /proc behind /dev/stdout leads to a pipe that has no name: what it reads as is another file's, if
    // anyone's.
    if let Some(is) = fs::metadata(path).ok().filter(|is| !is.is_file()) {
        let same = |there: fs::Metadata| (there.dev(), there.ino()) == (is.dev(), is.ino());
        let named = fs::canonicalize(path).ok().filter(|named| fs::metadata(named).is_ok_and(same));
        return Ok(named.unwrap_or_else(|| path.to_owned()));
    }
    let mut path = path.to_owned();
    for _ in 0..LINKS {
        match fs::canonicalize(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            found => return found,
        }
        let name = path.file_name().ok_or(io::ErrorKind::NotFound)?;
        let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let directory = fs::canonicalize(directory)?;
        match fs::read_link(directory.join(name)) {
            Ok(target) => path = directory.join(target),
            Err(_) => return Ok(directory.join(name)),
        }
    }
    Err(io::Error::from_raw_os_error(libc::ELOOP))
}

/// The settings of a file that is written already, set anew, or new ones.
fn shared(key: &str, settings: Settings) -> Arc<Mutex<Settings>> {
    let mut files = FILES.lock().unwrap_or_else(PoisonError::into_inner);
    files.retain(|(_, settings)| settings.strong_count() > 0);
    if let Some(there) = files.iter().find(|(of, _)| of == key).and_then(|(_, there)| there.upgrade()) {
        *there.lock().unwrap_or_else(PoisonError::into_inner) = settings;
        return there;
    }
    let settings = Arc::new(Mutex::new(settings));
    files.push((key.to_owned(), Arc::downgrade(&settings)));
    settings
}

/// path_resolution(7) follows as many.
const LINKS: usize = 40;
static FILES: Mutex<Vec<(String, Weak<Mutex<Settings>>)>> = Mutex::new(Vec::new());
