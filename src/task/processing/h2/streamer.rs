//! The streamer: frames to messages. It puts header blocks together and decodes them, tells heads from
//! trailers, and hands on bodies.

use super::content::Media;
use super::core::{Block, Data};
use super::fields::Writer;
use super::link::Link;
use super::meters::{Missing, Part, Violation};
use super::names;
use super::trips::How;
use crate::decode::hpack::Decoder;
use crate::decode::http2::{Header, Type, flag, fragment};

impl Link<'_, '_> {
    /// A frame, once it is known who the client is.
    pub fn take(&mut self, header: &Header, payload: &[u8], refused: bool) {
        self.core.streams_at = self.now.at;
        match header.kind {
            Type::DATA => {
                self.data_start(header, refused);
                self.data_part(payload);
                self.data_end(header, true);
            }
            Type::RST_STREAM => {
                let dismissed = refused || !self.rst_stream(header.stream);
                self.shared.meters.frame(header.kind, dismissed);
            }
            Type::GOAWAY => {
                self.shared.meters.frame(header.kind, refused);
                if let Some(&[a, b, c, d]) = payload.first_chunk::<4>() {
                    self.goaway(u32::from_be_bytes([a, b, c, d]) & 0x7fff_ffff);
                }
            }
            Type::HEADERS | Type::PUSH_PROMISE | Type::CONTINUATION => {
                let taken = self.block_frame(header, payload, refused);
                self.shared.meters.frame(header.kind, !taken);
            }
            _ => self.shared.meters.frame(header.kind, refused),
        }
    }

    /// Adds a frame to its block, and decodes that when it is whole. Says whether it was of use.
    pub fn block_frame(&mut self, header: &Header, payload: &[u8], refused: bool) -> bool {
        let end = header.has(flag::END_HEADERS);
        let Some((bytes, promised)) = fragment(header, payload) else { return false };
        match header.kind {
            Type::HEADERS | Type::PUSH_PROMISE if end => self.block(header, promised, refused, bytes),
            Type::HEADERS | Type::PUSH_PROMISE => {
                let block = &mut self.core.dirs[self.dir].block;
                (block.header, block.promised, block.refused) = (Some(*header), promised, refused);
                block.bytes.clear();
                block.bytes.extend_from_slice(bytes);
                !refused && !self.over(header, promised)
            }
            Type::CONTINUATION => {
                let block = &mut self.core.dirs[self.dir].block;
                let Some(first) = block.header else { return false };
                block.bytes.extend_from_slice(bytes);
                let (promised, refused) = (block.promised, block.refused);
                if !end {
                    return !refused && !self.over(&first, promised);
                }
                let block = std::mem::take(block);
                let taken = self.block(&first, promised, refused, &block.bytes);
                let mut bytes = block.bytes;
                bytes.clear();
                self.core.dirs[self.dir].block = Block { bytes, ..Block::default() };
                taken
            }
            _ => false,
        }
    }

    /// Whether the block's stream is over already.
    fn over(&self, header: &Header, promised: Option<u32>) -> bool {
        let id = promised.unwrap_or(header.stream);
        let opens = promised.is_some() || self.part() == Part::Request;
        self.core.client.is_none()
            || self.shared.streams.find(self.core.flow, id).is_none() && !self.may_open(id, opens)
    }

    /// A whole block: decodes it whatever becomes of its stream, then gives it to that.
    fn block(&mut self, header: &Header, promised: Option<u32>, refused: bool, bytes: &[u8]) -> bool {
        let part = match (header.kind, self.part()) {
            (Type::PUSH_PROMISE, Part::Response) => Part::Request,
            (_, part) => part,
        };
        let shared = &mut *self.shared;
        let dir = &mut self.core.dirs[self.dir];
        shared.draft.start(part);
        let mut writer = Writer { draft: &mut shared.draft, names: &shared.names };
        if dir.decoder.decode(bytes, &mut shared.scratch, &mut writer).is_err() {
            // What the fields before may lack counts less than that the table is lost.
            shared.draft.missing = shared.draft.missing.or(Some(Missing::Malformed));
            dir.decoder.reset();
            shared.meters.resets.inc();
        } else if shared.draft.fields == 0 {
            shared.meters.empty_headers[part as usize].inc();
        }
        let (draft, meters) = (&shared.draft, &shared.meters);
        if let Some(why) = draft.missing {
            meters.missing(part, why);
        }
        if draft.wrong_pseudo {
            meters.wrong_pseudo[part as usize].inc();
        }
        if draft.multi_pseudo {
            meters.multi_pseudo[part as usize].inc();
        }
        for (wrong, what) in [
            (draft.late_pseudo, Violation::PseudoOrder),
            (draft.invalid_name, Violation::FieldName),
            (draft.connection_field, Violation::ConnectionField),
        ] {
            if wrong {
                meters.violation(what);
            }
        }
        if refused || self.core.client.is_none() || header.stream == 0 {
            return false;
        }
        match promised {
            Some(promised) => self.promise(promised),
            None => self.message(header),
        }
    }

    /// The block cannot be had: its stream opens nevertheless, with nothing in it.
    pub fn block_lost(&mut self, header: Option<Header>, why: Missing) {
        let part = self.part();
        self.shared.meters.missing(part, why);
        self.reset_decoder();
        let dir = &mut self.core.dirs[self.dir];
        let first = dir.block.header.take().filter(|_| !dir.block.refused).or(header);
        dir.block.bytes.clear();
        if let Some(header) = first.filter(|header| header.kind == Type::HEADERS && header.stream != 0)
            && why != Missing::Gap
            && part != Part::Unknown
        {
            self.shared.draft.start(part);
            self.shared.draft.missing = Some(why);
            self.message(&header);
        }
    }

    /// Empties the direction's table: what is in it can no longer be known.
    pub fn reset_decoder(&mut self) {
        self.core.dirs[self.dir].decoder.reset();
        self.shared.meters.resets.inc();
    }

    /// Gives the direction's table back, if there is anything in it.
    pub fn forget_table(&mut self) {
        let dir = &mut self.core.dirs[self.dir];
        if dir.begun && dir.decoder.capacity() > 0 {
            dir.decoder = Decoder::joined();
            self.shared.meters.resets.inc();
        }
    }

    /// PUSH_PROMISE (RFC 9113 section 8.4): a request that the server makes up.
    fn promise(&mut self, promised: u32) -> bool {
        if self.part() != Part::Response || promised == 0 || !promised.is_multiple_of(2) {
            self.shared.meters.violation(Violation::StreamId);
            return false;
        }
        let Some(index) = self.stream(promised, true) else { return false };
        if self.shared.streams.at(index).sides[0].head {
            self.shared.meters.duplicate(0, false);
            return false;
        }
        self.check_said_length();
        self.take_head(index, 0);
        self.shared.streams.at_mut(index).sides[0].ended = true;
        true
    }

    /// HEADERS: a head, an interim response or trailers.
    fn message(&mut self, header: &Header) -> bool {
        let side = usize::from(self.part() == Part::Response);
        let Some(index) = self.stream(header.stream, side == 0) else {
            // A stream that this end may not open is open for it all the same.
            let ids = &self.core.ids[usize::from(header.stream.is_multiple_of(2))];
            self.core.opening_lost |= ids.never_opened(header.stream);
            return false;
        };
        let end = header.has(flag::END_STREAM);
        let draft = &self.shared.draft;
        let stream = self.shared.streams.at_mut(index);
        if side == 1 && stream.first_byte.is_none() {
            stream.first_byte = Some(self.now.timestamp);
        }
        let known = &mut stream.sides[side];
        known.may_have_ended = false;
        let dir = &self.core.dirs[self.dir];
        // Where the message's head may have been missed, a block without pseudo-headers is its trailers.
        let began_before = stream.joined || stream.gap || !dir.whole;
        let headed = draft.pseudo != 0 || draft.first_unknown;
        let interim = side == 1 && draft.status.is_some_and(|status| (100..200).contains(&status));
        let mut taken = true;
        if known.ended {
            taken = false;
            match draft.pseudo != 0 {
                true => self.shared.meters.duplicate(side, false),
                false => self.shared.meters.violation(Violation::StreamClosed),
            }
        } else if known.trailers {
            taken = false;
            match draft.pseudo != 0 {
                true => self.shared.meters.duplicate(side, false),
                false => self.shared.meters.violation(Violation::Trailers),
            }
        } else if !known.head && interim {
            // Section 8.1: interim responses come before the final one.
        } else if !known.head && (headed || !began_before) {
            self.check_head(side);
            self.take_head(index, side);
        } else if known.head && draft.pseudo != 0 {
            if side == 1
                && known.status.is_none()
                && known.body.length == 0
                && !known.spans.iter().any(|span| span.known())
            {
                // The head before it had a status that is unknown: it may have been an interim one.
                self.take_head(index, side);
            } else {
                taken = false;
                self.shared.meters.duplicate(side, false);
            }
        } else {
            if !end && draft.missing.is_none() {
                // Section 8.1: nothing comes behind trailers.
                self.shared.meters.violation(Violation::Trailers);
            }
            let (gapped, stream) = (dir.gapped, self.shared.streams.at_mut(index));
            stream.miss_head(side, gapped);
            stream.unknown += draft.unknown;
            stream.sides[side].take_trailers(draft);
        }
        self.recount(index);
        if end {
            self.end_side(index, side);
        }
        taken
    }

    /// Counts a head that lacks what every head has (sections 8.3.1, 8.3.2).
    fn check_head(&self, side: usize) {
        self.check_said_length();
        let draft = &self.shared.draft;
        let has = |tag: names::Tag| draft.pseudo & 1 << tag != 0;
        let whole = match side {
            0 => {
                let connects = draft.spans[usize::from(names::METHOD)].of(draft.text.as_slice()) == b"CONNECT";
                has(names::METHOD)
                    && if connects { has(names::AUTHORITY) } else { has(names::PATH) && has(names::SCHEME) }
            }
            _ => has(names::STATUS),
        };
        if !whole && draft.unknown == 0 && draft.missing.is_none() && draft.fields > 0 && !draft.wrong_pseudo {
            self.shared.meters.violation(Violation::MissingPseudo);
        }
    }

    /// Counts a head whose content-length is none (RFC 9110 section 8.6), or says several.
    fn check_said_length(&self) {
        let draft = &self.shared.draft;
        if draft.invalid_length && draft.missing != Some(Missing::Malformed) {
            self.shared.meters.violation(Violation::ContentLength);
        }
    }

    /// Makes the draft a message's head.
    pub fn take_head(&mut self, index: u32, side: usize) {
        let shared = &mut *self.shared;
        let draft = &mut shared.draft;
        let stream = shared.streams.at_mut(index);
        stream.unknown += draft.unknown;
        let message = &mut stream.sides[side];
        message.take_head(draft);
        let mut grpc = draft.content_type.is_none() && draft.unknown > 0;
        message.content_type.clear();
        if let Some(value) = &draft.content_type {
            let types = &mut shared.meters.content_types;
            match Media::of(value, types) {
                None => shared.meters.content_type_failure.inc(),
                Some(media) => {
                    message.content_type.extend_from_slice(media.essence(value));
                    message.content_type.make_ascii_lowercase();
                    types.count(media.counter);
                    message.grpc = media.grpc;
                    grpc |= message.grpc;
                    match (media.multipart, media.boundary(value)) {
                        (true, Some(boundary)) => message.body.multipart.start(boundary),
                        (true, None) => shared.meters.content_type_failure.inc(),
                        (false, _) => {}
                    }
                }
            }
        }
        message.body.messages.on = grpc;
        self.recount(index);
    }

    pub fn data_start(&mut self, header: &Header, refused: bool) {
        let mut data = Data { id: header.stream, refused, left: header.length, ..Data::default() };
        if !header.has(flag::PADDED) {
            data.padding = Some(0);
        }
        if self.core.client.is_some() {
            self.core.streams_at = self.now.at;
            let side = usize::from(self.part() == Part::Response);
            // A frame that was refused for its length has an end and a length nevertheless.
            let stream = self.stream_of_data(header.stream).filter(|_| !refused || header.length > 0);
            data.stream = stream;
            if stream.is_none() && !refused {
                self.refuse_idle(header.stream);
            }
            if let Some(index) = stream {
                let stream = self.shared.streams.at_mut(index);
                let message = &mut stream.sides[side];
                if message.ended || message.trailers {
                    self.shared.meters.duplicate(side, true);
                    data.stream = None;
                } else {
                    message.may_have_ended = false;
                    self.spend_of(index, side, header.length);
                    let stream = self.shared.streams.at_mut(index);
                    if !self.core.dirs[self.dir].whole {
                        stream.miss_head(side, self.core.dirs[self.dir].gapped);
                    }
                    if side == 1 && stream.first_byte.is_none() {
                        stream.first_byte = Some(self.now.timestamp);
                    }
                    if refused {
                        let content = (!header.has(flag::PADDED)).then_some(u64::from(header.length));
                        stream.sides[side].body.lose(content);
                    }
                }
            }
        }
        self.core.dirs[self.dir].data = data;
    }

    pub fn data_part(&mut self, mut bytes: &[u8]) {
        let data = &mut self.core.dirs[self.dir].data;
        if data.padding.is_none()
            && let Some((&padding, rest)) = bytes.split_first()
        {
            bytes = rest;
            data.left -= 1;
            data.padding = Some(padding);
            if u32::from(padding) > data.left {
                // Section 6.1: padding of the payload's length or more is an error.
                self.shared.meters.violation(Violation::Padding);
                (data.refused, data.left, data.stream) = (true, 0, None);
            } else {
                data.left -= u32::from(padding);
            }
        }
        let data = &mut self.core.dirs[self.dir].data;
        let content = bytes.get(..bytes.len().min(data.left as usize)).unwrap_or_default();
        data.left -= content.len() as u32;
        let (data, side) = (*data, usize::from(self.part() == Part::Response));
        let Some(index) = data.stream.filter(|&index| self.is_at(index, data.id)) else { return };
        if content.is_empty() || data.refused {
            return;
        }
        let shared = &mut *self.shared;
        let body = &mut shared.streams.at_mut(index).sides[side].body;
        if body.multipart.is_on() {
            if body.length == 0 {
                shared.meters.multipart_bodies.inc();
            }
            if body.multipart.push_bytes(content, &mut shared.meters.content_types).is_err() {
                shared.meters.multipart_failure.inc();
            }
        }
        body.push(content, shared.config.body, shared.config.max_body);
    }

    /// Bytes of the DATA frame being read are missing, their number is known.
    pub fn data_lost(&mut self, count: u32) {
        let data = &mut self.core.dirs[self.dir].data;
        let content = data.padding.map(|_| count.min(data.left));
        data.left -= count.min(data.left);
        // The padding's length may be among what is missing: then nobody knows where content ends.
        let (data, side) = (*data, usize::from(self.part() == Part::Response));
        self.core.dirs[self.dir].data.padding = data.padding.or(Some(0));
        if let Some(index) = data.stream.filter(|&index| self.is_at(index, data.id)) {
            let stream = self.shared.streams.at_mut(index);
            stream.gap = true;
            stream.sides[side].body.lose(content.map(u64::from));
        }
    }

    pub fn data_end(&mut self, header: &Header, whole: bool) {
        let data = std::mem::take(&mut self.core.dirs[self.dir].data);
        let stream = data.stream.filter(|&index| self.is_at(index, data.id));
        if whole {
            self.shared.meters.frame(header.kind, data.refused || stream.is_none());
        }
        let Some(index) = stream else { return };
        self.recount(index);
        if header.has(flag::END_STREAM) {
            self.end_side(index, usize::from(self.part() == Part::Response));
        }
    }

    /// END_STREAM.
    fn end_side(&mut self, index: u32, side: usize) {
        let message = &mut self.shared.streams.at_mut(index).sides[side];
        let body = &mut message.body;
        if !message.ended && body.length > 0 && body.multipart.finish().is_err() {
            self.shared.meters.multipart_failure.inc();
        }
        message.ended = true;
        let id = self.shared.streams.at(index).id;
        self.core.dirs[self.dir].window.ended(id);
        self.check_length(index, side);
        if self.shared.streams.at(index).sides.iter().all(|side| side.over()) {
            self.close(index, How::InOrder);
        }
    }

    /// Section 8.1.1: what content-length says is what DATA brought, but for messages that are defined as
    /// having no content.
    fn check_length(&self, index: u32, side: usize) {
        let stream = self.shared.streams.at(index);
        let message = &stream.sides[side];
        let Some(said) = message.content_length.filter(|_| !stream.joined && !stream.gap && !message.body.unsure)
        else {
            return;
        };
        let request = &stream.sides[0];
        let bare = side == 1 && {
            let method = request.spans[usize::from(names::METHOD)];
            let about = matches!(method.of(request.text.as_slice()), b"HEAD" | b"CONNECT") || !method.known();
            about || message.status.is_none_or(|status| status == 204 || status == 304)
        };
        if message.body.length != said && !(bare && message.body.length == 0) {
            self.shared.meters.violation(Violation::ContentLength);
        }
    }

    /// Framing of this direction was lost: what its streams still had to say may be.
    pub fn stream_gap(&mut self) {
        let Some(client) = self.core.client else { return };
        let side = usize::from(client != self.dir);
        self.core.ids[side].miss(super::ids::Missed::Gap);
        self.core.dirs[self.dir].data = Data::default();
        let mut next = self.shared.streams.oldest_of(&self.core.own);
        while let Some(index) = next {
            let stream = self.shared.streams.at_mut(index);
            if !stream.sides[side].ended {
                stream.gap = true;
                stream.sides[side].may_have_ended = true;
                stream.sides[side].body.lose(None);
            }
            next = stream.next_of_connection();
        }
    }
}
