//! `Link`: one direction of a connection while its bytes are handled. Here are the checks that a frame
//! must pass before it is handed on, each with its counter.

use super::Shared;
use super::core::{Assembling, Core, Now};
use super::framer::{Action, Frames, Proof, is_block};
use super::meters::{Missing, Violation, slot};
use crate::decode::http2::{Header, Type, flag, fragment, settings};
use crate::pipeline::Next;

/// A direction with all that handling its bytes needs.
pub struct Link<'a, 'n> {
    pub core: &'a mut Core,
    pub shared: &'a mut Shared,
    pub next: &'a mut Next<'n>,
    pub dir: usize,
    pub now: Now,
}

impl Frames for Link<'_, '_> {
    fn proven(&mut self, proof: Proof) {
        let first_connection = !self.core.proven();
        let dir = &mut self.core.dirs[self.dir];
        if !dir.proven {
            dir.proven = true;
            self.shared.meters.framer_flows.inc();
            if first_connection {
                self.shared.meters.flower_flows.inc();
            }
            dir.late = proof == Proof::Frames { first: false };
        }
        if let Proof::Preface { first } = proof
            && !self.core.dirs[self.dir].begun
        {
            self.core.direct = first && self.core.started && !self.core.dirs[self.dir].gapped;
            self.core.dirs[self.dir].gapped = false;
            self.core.preface = true;
            if self.core.client.is_none() {
                self.decide(self.dir);
            }
        }
        if self.core.client.is_some() || self.core.failed {
            self.begin(self.dir);
        }
    }

    fn ignored(&mut self) {
        self.shared.meters.ignored.inc();
    }

    fn overflowed(&mut self) {
        self.shared.meters.buffer_overflow[slot(Type(u8::MAX))].inc();
    }

    fn header(&mut self, header: &Header) -> Action {
        let (kind, length) = (header.kind, header.length as usize);
        let meters = &self.shared.meters;
        let dir = &mut self.core.dirs[self.dir];
        dir.refused = true;
        if dir.assembling.is_some_and(|block| kind != Type::CONTINUATION || block.stream != header.stream) {
            // RFC 9113 section 6.10: nothing may come between the frames of a block.
            meters.violation(Violation::Continuation);
            let lost = dir.assembling.take().is_some_and(|block| block.lost);
            if !lost {
                self.lose_block(None, Missing::Malformed);
            }
        }
        let meters = &self.shared.meters;
        let dir = &mut self.core.dirs[self.dir];
        if !kind.known() {
            meters.invalid_type.inc();
            return Action::Skip;
        }
        if header.flags & !kind.flags() != 0 {
            meters.invalid_flags[slot(kind)].inc();
        }
        if header.stream != 0 && header.stream.is_multiple_of(2) {
            meters.server_stream[slot(kind)].inc();
        }
        let carries_block = matches!(kind, Type::HEADERS | Type::PUSH_PROMISE);
        match kind.names_stream() {
            Some(true) if header.stream == 0 => {
                meters.zero_stream[slot(kind)].inc();
                self.core.opening_lost |= kind == Type::PUSH_PROMISE;
                // Its block is decoded nevertheless: the encoder's table went on with it.
                if !carries_block || length == 0 {
                    return self.refuse(header);
                }
            }
            Some(false) if header.stream != 0 => {
                meters.violation(Violation::StreamId);
                return Action::Skip;
            }
            _ => dir.refused = false,
        }
        let framed = header.has(flag::PADDED) || header.has(flag::PRIORITY);
        match kind {
            Type::DATA => return self.data_header(header),
            Type::HEADERS if length == 0 && framed => {
                meters.empty_payload[slot(kind)].inc();
                return self.refuse(header);
            }
            Type::PRIORITY
            | Type::RST_STREAM
            | Type::PUSH_PROMISE
            | Type::PING
            | Type::GOAWAY
            | Type::WINDOW_UPDATE
                if length == 0 =>
            {
                meters.empty_payload[slot(kind)].inc();
                return self.refuse(header);
            }
            Type::GOAWAY if length < 8 => {
                meters.invalid_goaway.inc();
                return self.refuse(header);
            }
            Type::RST_STREAM if length < 4 => {
                meters.invalid_rst.inc();
                return self.refuse(header);
            }
            _ if length > self.shared.config.frame_buffer => {
                meters.payload_overflow[slot(kind)].inc();
                if carries_block {
                    self.assemble(header, true);
                    self.lose_block(Some(*header), Missing::Truncated);
                } else if kind == Type::CONTINUATION {
                    self.overflow_block();
                }
                self.core.dirs[self.dir].refused = true;
                return Action::Skip;
            }
            _ if !header.fits() => {
                meters.violation(Violation::FrameSize);
                if carries_block {
                    self.assemble(header, true);
                    self.lose_block(Some(*header), Missing::Malformed);
                }
                self.core.dirs[self.dir].refused = true;
                return Action::Skip;
            }
            Type::CONTINUATION => return self.continuation_header(header),
            _ => {}
        }
        match kind {
            Type::PRIORITY | Type::PING | Type::ALTSVC | Type::ORIGIN => Action::Skip,
            _ => Action::Hold,
        }
    }

    fn frame(&mut self, header: &Header, payload: &[u8]) {
        let refused = self.core.dirs[self.dir].refused;
        match header.kind {
            Type::WINDOW_UPDATE => {
                // Section 6.9: an increment of 0 is an error.
                match payload.iter().fold(0, |all, &byte| all << 8 | u32::from(byte)) & 0x7fff_ffff {
                    0 => self.shared.meters.violation(Violation::WindowUpdate),
                    by => self.widen(header.stream, by),
                }
                self.shared.meters.frame(header.kind, true);
            }
            Type::PRIORITY_UPDATE => {
                if self.core.client.is_none() {
                    self.decide(self.dir);
                }
                self.shared.meters.frame(header.kind, true);
            }
            Type::SETTINGS if header.has(flag::ACK) => {
                self.settings_acknowledged();
                self.shared.meters.frame(header.kind, true);
            }
            Type::SETTINGS => {
                self.settings(payload);
                self.hand(header, payload, refused);
            }
            Type::HEADERS | Type::PUSH_PROMISE => {
                if fragment(header, payload).is_none() {
                    self.shared.meters.violation(Violation::Padding);
                    self.shared.meters.frame(header.kind, true);
                    self.assemble(header, true);
                    self.lose_block(Some(*header), Missing::Malformed);
                    return;
                }
                self.assemble(header, false);
                self.hand(header, payload, refused);
            }
            Type::CONTINUATION => {
                if header.has(flag::END_HEADERS) {
                    self.core.dirs[self.dir].assembling = None;
                } else if let Some(block) = &mut self.core.dirs[self.dir].assembling {
                    block.held += payload.len();
                }
                self.hand(header, payload, refused);
            }
            _ => self.hand(header, payload, refused),
        }
    }

    fn part(&mut self, _header: &Header, bytes: &[u8]) {
        self.data_part(bytes);
    }

    fn lost(&mut self, header: &Header, count: u32) {
        match header.kind {
            Type::DATA => self.data_lost(count),
            Type::HEADERS | Type::PUSH_PROMISE => {
                self.assemble(header, true);
                self.lose_block(Some(*header), Missing::Evicted);
            }
            Type::CONTINUATION => {
                if let Some(block) = &mut self.core.dirs[self.dir].assembling {
                    block.lost = true;
                }
                self.lose_block(None, Missing::Evicted);
            }
            _ => {}
        }
    }

    fn end(&mut self, header: &Header, whole: bool) {
        let refused = self.core.dirs[self.dir].refused;
        if header.kind == Type::DATA {
            return self.data_end(header, whole);
        }
        if whole {
            // What is skipped is either refused or of a type that nobody waits for.
            self.shared.meters.frame(header.kind, true);
        }
        if header.kind == Type::CONTINUATION && refused && header.has(flag::END_HEADERS) {
            self.core.dirs[self.dir].assembling = None;
        }
    }

    fn lost_framing(&mut self, inside: Option<&Header>) {
        let dir = &mut self.core.dirs[self.dir];
        let in_block = dir.assembling.take().map(|block| !block.lost);
        let held = inside.is_some_and(is_block) && !dir.refused;
        if in_block.unwrap_or(held) {
            self.lose_block(None, Missing::Gap);
            self.gap(false);
        } else {
            self.gap(true);
        }
    }

    fn max_frame(&self) -> u32 {
        self.core.max_frame
    }
}

impl Link<'_, '_> {
    fn data_header(&mut self, header: &Header) -> Action {
        let meters = &self.shared.meters;
        let too_long = header.length > self.core.max_frame;
        if header.length == 0 && header.has(flag::PADDED) {
            meters.violation(Violation::Padding);
        } else if header.length == 0 && !header.has(flag::END_STREAM) {
            meters.empty_data.inc();
        } else if too_long {
            meters.payload_overflow[slot(Type::DATA)].inc();
        }
        if header.stream != 0 {
            self.spend(header.length);
        }
        let empty = header.length == 0 && (header.has(flag::PADDED) || !header.has(flag::END_STREAM));
        self.core.dirs[self.dir].refused = empty || too_long;
        if self.core.client.is_none() && !self.core.failed && !too_long {
            return Action::Hold;
        }
        self.data_start(header, empty || too_long);
        if too_long { Action::Skip } else { Action::Pass }
    }

    fn continuation_header(&mut self, header: &Header) -> Action {
        let limit = self.shared.config.frame_buffer;
        let dir = &mut self.core.dirs[self.dir];
        match &mut dir.assembling {
            None => {
                dir.refused = true;
                self.shared.meters.violation(Violation::Continuation);
                Action::Skip
            }
            Some(block) if block.lost => {
                dir.refused = true;
                Action::Skip
            }
            Some(block) if block.held + header.length as usize > limit => {
                dir.refused = true;
                self.shared.meters.buffer_overflow[slot(Type::CONTINUATION)].inc();
                self.overflow_block();
                Action::Skip
            }
            Some(_) => Action::Hold,
        }
    }

    /// The block outgrew what may be held; the rest of it is left out.
    fn overflow_block(&mut self) {
        match &mut self.core.dirs[self.dir].assembling {
            Some(block) if !block.lost => {
                block.lost = true;
                self.lose_block(None, Missing::Truncated);
            }
            Some(_) => {}
            None => {
                self.shared.meters.violation(Violation::Continuation);
            }
        }
    }

    /// A frame that begins a block was refused without reading it.
    fn refuse(&mut self, header: &Header) -> Action {
        if matches!(header.kind, Type::HEADERS | Type::PUSH_PROMISE) {
            self.core.opening_lost = true;
            if !header.has(flag::END_HEADERS) {
                self.assemble(header, true);
                self.lose_block(None, Missing::Malformed);
            }
        }
        self.core.dirs[self.dir].refused = true;
        Action::Skip
    }

    /// Takes note that a block has begun, unless its first frame is all of it.
    fn assemble(&mut self, header: &Header, lost: bool) {
        let open = !header.has(flag::END_HEADERS) && header.kind != Type::CONTINUATION;
        let block = Assembling { stream: header.stream, held: header.length as usize, lost };
        self.core.dirs[self.dir].assembling = open.then_some(block);
    }

    /// What holds for both directions from here on, whoever the client is.
    pub fn settings(&mut self, payload: &[u8]) {
        use crate::decode::http2::Setting;
        let mut window = None;
        for setting in settings(payload) {
            if !setting.valid() {
                self.shared.meters.violation(Violation::Settings);
                continue;
            }
            match setting.id {
                Setting::MAX_FRAME_SIZE => self.core.max_frame = self.core.max_frame.max(setting.value),
                Setting::INITIAL_WINDOW_SIZE => window = Some(setting.value),
                Setting::HEADER_TABLE_SIZE => self.table_size(setting.value),
                _ => {}
            }
        }
        self.initial_window(window);
        // Without that setting the size stays what it was, or what it begins with.
        if self.core.dirs[self.dir].table_size.is_none() {
            self.table_size(INITIAL_TABLE);
        }
    }

    fn table_size(&mut self, size: u32) {
        let dir = &mut self.core.dirs[self.dir];
        let largest = dir.table_size.unwrap_or(INITIAL_TABLE).max(size);
        dir.table_size = Some(largest);
        self.limit_table(1 - self.dir);
    }

    /// The limit of a direction's size updates: only where everything that the other end has said is
    /// known.
    pub fn limit_table(&mut self, dir: usize) {
        let other = &self.core.dirs[1 - dir];
        let known = self.core.preface && !other.gapped && !other.late;
        let limit = other.table_size.filter(|_| known);
        self.core.dirs[dir].decoder.limit(limit);
    }
}

/// SETTINGS_HEADER_TABLE_SIZE before any SETTINGS (RFC 9113 section 6.5.2).
const INITIAL_TABLE: u32 = 4096;
