//! The bytes of a file in blocks, read ahead by a thread of their own where there is more than one: the
//! kernel copies the next block while frames of the last are worked on. Bounded to `BLOCKS`; what fails
//! is told where it stands, behind the bytes before it.

use std::io::{self, ErrorKind, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

/// A source's blocks in order.
pub(super) enum Blocks<R> {
    Here {
        source: R,
        spare: Vec<u8>,
        /// Set where a thread is worth its cost behind a first block that is full.
        start: Option<Start<R>>,
    },
    Ahead(Ahead),
    End,
}

/// The ends of a thread that reads.
pub(super) struct Ahead {
    full: Receiver<io::Result<Block>>,
    empty: SyncSender<Vec<u8>>,
}

/// Starts the thread, or gives the source back.
type Start<R> = fn(R) -> Result<Ahead, R>;

/// A buffer, and where its bytes end that begin at `HEAD`.
struct Block {
    buffer: Vec<u8>,
    end: usize,
}

impl<R: Read + Send + 'static> Blocks<R> {
    pub fn ahead(source: R) -> Blocks<R> {
        Blocks::Here { source, spare: Vec::new(), start: Some(start) }
    }
}

impl<R: Read> Blocks<R> {
    pub fn new(source: R) -> Blocks<R> {
        Blocks::Here { source, spare: Vec::new(), start: None }
    }

    /// Puts bytes behind those from `from` to `to` of a buffer, which stay but may move, also to another
    /// buffer. How many they are; 0 at the end.
    pub fn more(&mut self, buffer: &mut Vec<u8>, from: &mut usize, to: &mut usize) -> io::Result<usize> {
        let block = match self {
            Blocks::Here { source, spare, .. } => Block::read(std::mem::take(spare), source)?,
            Blocks::Ahead(ahead) => ahead.full.recv().map_err(io::Error::other)??,
            Blocks::End => return Ok(0),
        };
        let read = block.end - HEAD;
        if read == 0 {
            *self = Blocks::End;
            return Ok(0);
        }
        let unused = block.behind(buffer, from, to);
        *self = match std::mem::replace(self, Blocks::End) {
            Blocks::Here { source, start: Some(start), .. } if read == BLOCK => match start(source) {
                Ok(ahead) => Blocks::Ahead(ahead),
                Err(source) => Blocks::Here { source, spare: unused, start: None },
            },
            Blocks::Here { source, start, .. } => Blocks::Here { source, spare: whole(unused), start },
            Blocks::Ahead(ahead) => {
                // Nobody takes it any more behind the last block.
                let _ = ahead.empty.try_send(unused);
                Blocks::Ahead(ahead)
            }
            Blocks::End => Blocks::End,
        };
        Ok(read)
    }
}

fn start<R: Read + Send + 'static>(source: R) -> Result<Ahead, R> {
    let (full_in, full) = sync_channel(BLOCKS);
    let (empty, empty_out) = sync_channel(BLOCKS);
    // The source follows, so that it is not lost where there is no thread to be had.
    let (hand, taken) = sync_channel(1);
    let work = move || {
        if let Ok(source) = taken.recv() {
            read_all(source, &empty_out, &full_in);
        }
    };
    if thread::Builder::new().name("capture-file".to_owned()).spawn(work).is_err() {
        return Err(source);
    }
    match hand.send(source) {
        Ok(()) => {
            (1..BLOCKS).for_each(|_| drop(empty.try_send(Vec::new())));
            Ok(Ahead { full, empty })
        }
        Err(returned) => Err(returned.0),
    }
}

/// The thread: to the end, the first error, or until nobody takes blocks any more.
fn read_all(mut source: impl Read, empty: &Receiver<Vec<u8>>, full: &SyncSender<io::Result<Block>>) {
    while let Ok(buffer) = empty.recv() {
        let block = Block::read(buffer, &mut source);
        let last = block.as_ref().map_or(true, |block| block.end == HEAD);
        if full.send(block).is_err() || last {
            return;
        }
    }
}

impl Block {
    /// One read: what comes slowly, as through a pipe, is not waited for until a block is full.
    fn read(buffer: Vec<u8>, source: &mut impl Read) -> io::Result<Block> {
        let mut buffer = whole(buffer);
        loop {
            match source.read(&mut buffer[HEAD..]) {
                Ok(read) => return Ok(Block { buffer, end: HEAD + read }),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Joins its bytes to those of `into`; gives back the buffer that is no longer needed.
    fn behind(mut self, into: &mut Vec<u8>, from: &mut usize, to: &mut usize) -> Vec<u8> {
        let kept = *to - *from;
        if kept <= HEAD {
            self.buffer[HEAD - kept..HEAD].copy_from_slice(&into[*from..*to]);
            std::mem::swap(into, &mut self.buffer);
            (*from, *to) = (HEAD - kept, self.end);
        } else {
            // Part of a frame larger than any that a network carries.
            into.copy_within(*from..*to, 0);
            into.truncate(kept);
            into.extend_from_slice(&self.buffer[HEAD..self.end]);
            (*from, *to) = (0, into.len());
        }
        self.buffer
    }
}

/// A buffer for a block, this one if it is.
fn whole(buffer: Vec<u8>) -> Vec<u8> {
    if buffer.len() == HEAD + BLOCK { buffer } else { vec![0; HEAD + BLOCK] }
}

/// Bytes of a block.
const BLOCK: usize = 1 << 20;
/// Room before them for what is left of the block before.
const HEAD: usize = 64 << 10;
/// Buffers: one that is worked on and those that are read ahead.
const BLOCKS: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives so many bytes, each a function of its place, in reads of every length, and then an error.
    struct Slow {
        at: usize,
        length: usize,
        random: u64,
    }

    impl Read for Slow {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let wanted = match self.random >> 61 {
                0 => return Err(ErrorKind::Interrupted.into()),
                1 => (self.random >> 40) as usize % 70_000 + 1,
                _ => into.len(),
            };
            let read = if self.at == 0 { into.len() } else { wanted.min(into.len()) }.min(self.length - self.at);
            if read == 0 {
                return Err(io::Error::other("the disk is gone"));
            }
            into[..read].iter_mut().enumerate().for_each(|(at, byte)| *byte = byte_at(self.at + at));
            self.at += read;
            Ok(read)
        }
    }

    fn byte_at(at: usize) -> u8 {
        (at ^ (at >> 8) ^ (at >> 16)) as u8
    }

    #[test]
    fn bytes_come_in_order_whatever_is_kept_and_an_error_comes_behind_them() {
        let slow = || Slow { at: 0, length: 12 << 20, random: 7 };
        for mut blocks in [Blocks::new(slow()), Blocks::ahead(slow())] {
            let (mut buffer, mut from, mut to, mut seen, mut round) = (Vec::new(), 0, 0, 0, 0);
            let error = loop {
                let before = to - from;
                match blocks.more(&mut buffer, &mut from, &mut to) {
                    Ok(read) => assert_eq!(to - from, before + read),
                    Err(error) => break error,
                }
                assert!(buffer[from..to].iter().enumerate().all(|(at, byte)| *byte == byte_at(seen + at)));
                // Now and then more is kept than there is room for in front of a block.
                let kept = [0, 1, HEAD, HEAD + 1, 3 * HEAD][round % 5].min(to - from);
                seen += to - from - kept;
                from = to - kept;
                round += 1;
            };
            assert_eq!(error.to_string(), "the disk is gone");
            assert_eq!(seen + (to - from), 12 << 20);
        }
    }

    #[test]
    fn a_file_ends_once_and_for_all() {
        for length in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 9 * BLOCK] {
            let bytes: Vec<u8> = (0..length).map(byte_at).collect();
            let mut blocks = Blocks::ahead(io::Cursor::new(bytes.clone()));
            let (mut buffer, mut from, mut to) = (Vec::new(), 0, 0);
            while blocks.more(&mut buffer, &mut from, &mut to).unwrap() > 0 {}
            assert_eq!(buffer.get(from..to).unwrap_or_default(), bytes);
            assert_eq!(blocks.more(&mut buffer, &mut from, &mut to).unwrap(), 0);
        }
    }
}
