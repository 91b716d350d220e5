//! Flow control (RFC 9113 section 5.2): what each end may send, and who went past it. Only connections
//! seen whole from their preface are judged. The two directions may be read in another order than the
//! ends saw them, so a trespass is a suspicion at first: what comes of the other direction within a
//! grace may still clear it.

use std::time::Duration;

use super::core::Core;
use super::link::Link;
use super::meters::{Meters, Violation};
use crate::time::Instant;

/// What one direction may still send, by the word of the other.
pub struct Window {
    /// Of the connection's window.
    credit: i64,
    /// SETTINGS_INITIAL_WINDOW_SIZE: the bounds of what the sender may hold for it, and the last one said.
    least: i64,
    most: i64,
    last: i64,
    /// SETTINGS frames that the sender has not acknowledged.
    unacknowledged: u32,
    suspects: Vec<Suspect>,
    /// Whether a WINDOW_UPDATE was for a stream that is not tracked yet.
    lost: bool,
    /// What WINDOW_UPDATE added to any one stream, at most.
    widest: i64,
    /// How many more SETTINGS are judged.
    looks: u8,
}

/// A window that seems to have been trespassed.
#[derive(Clone, Copy)]
struct Suspect {
    /// 0: the connection's.
    stream: u32,
    what: What,
    /// Bytes that would have to come to light to clear it.
    excess: i64,
    /// Frames that did it.
    frames: u64,
    at: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    /// More was sent than the window allowed (section 6.9.1).
    Sent,
    /// WINDOW_UPDATE made the window wider than it may be (section 6.9.1).
    Widened,
    /// SETTINGS_INITIAL_WINDOW_SIZE did (section 6.9.2), if the stream could still send.
    Adjusted,
}

impl Window {
    pub fn new() -> Window {
        Window {
            credit: INITIAL,
            least: INITIAL,
            most: INITIAL,
            last: INITIAL,
            unacknowledged: 0,
            suspects: Vec::new(),
            lost: false,
            widest: 0,
            looks: LOOKS,
        }
    }

    pub fn capacity(&self) -> usize {
        self.suspects.capacity() * size_of::<Suspect>()
    }

    /// The receiver has said the initial size of streams' windows, or sent SETTINGS without it.
    fn initial(&mut self, size: Option<u32>) {
        self.unacknowledged = self.unacknowledged.saturating_add(1);
        let Some(size) = size.map(i64::from) else { return };
        let grown = size - self.most;
        (self.least, self.most, self.last) = (self.least.min(size), self.most.max(size), size);
        if grown > 0 {
            self.clear(What::Sent, grown, |stream| stream != 0);
        }
    }

    fn acknowledged(&mut self) {
        self.unacknowledged = self.unacknowledged.saturating_sub(1);
        if self.unacknowledged == 0 {
            (self.least, self.most) = (self.last, self.last);
        }
    }

    /// Takes note of bytes sent within a window of `credit` bytes from now on.
    #[inline]
    fn sent(&mut self, stream: u32, length: u32, credit: i64, judged: bool, at: Instant) {
        if !self.suspects.is_empty() {
            self.clear(What::Widened, length.into(), |of| of == stream);
            self.clear(What::Adjusted, length.into(), |of| of == stream);
        }
        if judged && credit < 0 {
            self.suspect(Suspect { stream, what: What::Sent, excess: -credit, frames: 1, at });
        }
    }

    /// Takes note that a window was widened to `credit` bytes.
    fn widened(&mut self, stream: u32, by: u32, credit: i64, judged: bool, at: Instant) {
        self.clear(What::Sent, by.into(), |of| of == stream);
        if judged && credit > LARGEST {
            self.suspect(Suspect { stream, what: What::Widened, excess: credit - LARGEST, frames: 1, at });
        }
    }

    /// Takes note that the sender has ended or reset a stream: it may have been before a change of SETTINGS
    /// reached it, and such a stream has no window any more.
    #[inline]
    pub fn ended(&mut self, stream: u32) {
        if !self.suspects.is_empty() {
            self.clear(What::Adjusted, i64::MAX, |of| of == stream);
        }
    }

    fn clear(&mut self, what: What, bytes: i64, is_meant: impl Fn(u32) -> bool) {
        self.suspects.retain_mut(|suspect| {
            if suspect.what == what && is_meant(suspect.stream) {
                suspect.excess -= bytes;
            }
            suspect.excess > 0
        });
    }

    fn suspect(&mut self, new: Suspect) {
        let full = self.suspects.len() >= SUSPECTS;
        let same = |old: &&mut Suspect| old.stream == new.stream && old.what == new.what;
        if let Some(old) = self.suspects.iter_mut().find(same) {
            (old.excess, old.frames) = (new.excess, old.frames + 1);
        } else if !full {
            self.suspects.push(new);
        } else if let Some(first) = self.suspects.first_mut() {
            // There are so many that those past the bound count with the first.
            first.frames += 1;
        }
    }

    fn tell(&mut self, before: Option<Instant>, meters: &Meters) {
        self.suspects.retain(|suspect| {
            let told = before.is_none_or(|before| before.since(suspect.at) >= GRACE);
            if told {
                meters.violations[Violation::FlowControl as usize].inc_by(suspect.frames);
            }
            !told
        });
    }
}

impl Core {
    /// Counts what was not cleared within the grace; all of it when `over`: nothing more will come.
    #[inline]
    pub fn judge_windows(&mut self, now: Instant, over: bool, meters: &Meters) {
        for dir in &mut self.dirs {
            if !dir.window.suspects.is_empty() {
                dir.window.tell((!over).then_some(now), meters);
            }
        }
    }

    /// Bytes are missing: nobody knows any more what may be sent.
    pub fn forget_windows(&mut self) {
        self.dirs.iter_mut().for_each(|dir| dir.window.suspects = Vec::new());
    }

    /// Whether all that bears on windows was seen.
    fn knows_windows(&self) -> bool {
        let upgraded = self.upgrade.requested();
        self.preface && self.dirs.iter().all(|dir| !dir.gapped && (!dir.late || upgraded) && !dir.window.lost)
    }
}

impl Link<'_, '_> {
    /// A DATA frame of this direction: all of its payload counts (section 6.9.1).
    #[inline]
    pub fn spend(&mut self, length: u32) {
        let judged = length > 0 && self.core.knows_windows();
        let window = &mut self.core.dirs[self.dir].window;
        window.credit -= i64::from(length);
        window.sent(0, length, window.credit, judged, self.now.at);
    }

    /// The same for the stream at this place.
    #[inline]
    pub fn spend_of(&mut self, index: u32, side: usize, length: u32) {
        let judged = length > 0 && self.core.knows_windows();
        let stream = self.shared.streams.at_mut(index);
        stream.credit[side] -= i64::from(length);
        let (id, credit, judged) = (stream.id, stream.credit[side], judged && !stream.joined && !stream.gap);
        let window = &mut self.core.dirs[self.dir].window;
        window.sent(id, length, window.most.saturating_add(credit), judged, self.now.at);
    }

    /// WINDOW_UPDATE (section 6.9) for the other direction.
    pub fn widen(&mut self, id: u32, by: u32) {
        let (other, at) = (1 - self.dir, self.now.at);
        let judged = self.core.knows_windows();
        if id == 0 {
            let window = &mut self.core.dirs[other].window;
            window.credit = window.credit.saturating_add(by.into());
            return window.widened(0, by, window.credit, judged, at);
        }
        if self.refuse_idle(id) {
            return;
        }
        let Some(client) = self.core.client else {
            self.core.dirs[other].window.lost = true;
            return;
        };
        match self.shared.streams.find(self.core.flow, id) {
            Some(index) => {
                let stream = self.shared.streams.at_mut(index);
                let credit = &mut stream.credit[usize::from(client != other)];
                *credit = credit.saturating_add(by.into());
                let (credit, judged) = (*credit, judged && !stream.joined && !stream.gap);
                let window = &mut self.core.dirs[other].window;
                window.widest = window.widest.max(credit);
                window.widened(id, by, window.least.saturating_add(credit), judged, at);
            }
            None if self.may_open(id, false) => self.core.dirs[other].window.lost = true,
            None => self.core.dirs[other].window.clear(What::Sent, by.into(), |of| of == id),
        }
    }

    /// SETTINGS of this direction: the other one's streams begin with `size` bytes.
    pub fn initial_window(&mut self, size: Option<u32>) {
        let window = &mut self.core.dirs[1 - self.dir].window;
        window.initial(size);
        if let Some(size) = size.map(i64::from)
            && size + window.widest > LARGEST
        {
            self.adjust(size);
        }
    }

    /// The windows of the other direction's streams begin with `size` bytes now, those of open streams too.
    fn adjust(&mut self, size: i64) {
        let judged = self.core.knows_windows();
        let (other, at) = (1 - self.dir, self.now.at);
        let Some(side) = self.core.client.filter(|_| judged).map(|client| usize::from(client != other)) else {
            return;
        };
        let window = &mut self.core.dirs[other].window;
        let Some(looks) = window.looks.checked_sub(1) else { return };
        (window.looks, window.widest) = (looks, 0);
        let mut next = self.shared.streams.oldest_of(&self.core.own);
        while let Some(index) = next {
            let stream = self.shared.streams.at(index);
            next = stream.next_of_connection();
            // What was promised has no window before its response begins.
            if stream.joined || stream.gap || stream.pushed || stream.sides[side].over() {
                continue;
            }
            let credit = stream.credit[side];
            window.widest = window.widest.max(credit);
            let excess = credit.saturating_add(size) - LARGEST;
            if excess > 0 {
                window.suspect(Suspect { stream: stream.id, what: What::Adjusted, excess, frames: 1, at });
            }
        }
    }

    /// This direction has acknowledged the other's SETTINGS.
    pub fn settings_acknowledged(&mut self) {
        self.core.dirs[self.dir].window.acknowledged();
    }
}

/// Section 6.9.2.
const INITIAL: i64 = 65_535;
/// Section 6.9.1.
const LARGEST: i64 = (1 << 31) - 1;
/// How long what is read late may clear a suspicion.
const GRACE: Duration = Duration::from_secs(2);
/// Suspicions per direction.
const SUSPECTS: usize = 64;
/// SETTINGS for which a direction's streams are gone through: only those that look like too much are, and the
/// first of them should have ended the connection.
const LOOKS: u8 = 64;
