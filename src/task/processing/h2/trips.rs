//! The round tripper: opens streams, tells of each of them once, and keeps their number bounded.

use super::core::Now;
use super::ids::{Missed, Place};
use super::link::Link;
use super::meters::{Part, Violation};
use super::record::{Ended, Ends, RoundTrip};
use super::shape::{Reason, Role};
use super::stream::Stream;
use crate::pipeline::Event;
use crate::process::metadata::{ContainerView, Meta, PodView, ProcessView};
use crate::task::json;
use crate::task::record::json_into;

/// How a stream came to its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum How {
    /// Both ends said END_STREAM.
    InOrder,
    RstStream,
    Goaway,
    ConnectionClosed,
    Evicted,
    Timeout,
    Shutdown,
}

impl Link<'_, '_> {
    /// The stream of a HEADERS frame, opened if this is its first; None where it is over. `opens`: the
    /// frame comes from the end that opens such streams.
    pub fn stream(&mut self, id: u32, opens: bool) -> Option<u32> {
        // The server opens its streams by promises, whose id is even; its HEADERS answer.
        self.find_or_open(id, opens, opens || id.is_multiple_of(2))
    }

    /// The stream of a DATA frame, which opens none but those whose opening was missed.
    pub fn stream_of_data(&mut self, id: u32) -> Option<u32> {
        self.find_or_open(id, false, self.opens(id))
    }

    fn find_or_open(&mut self, id: u32, opens: bool, same: bool) -> Option<u32> {
        if let Some(index) = self.find(id) {
            let stream = self.shared.streams.at_mut(index);
            (stream.last, stream.last_at) = (self.now.timestamp, self.now.at);
            self.shared.streams.touch(&mut self.core.own, index);
            return Some(index);
        }
        // A client does not open even streams, whatever it sends on them.
        let opens = opens && id.is_multiple_of(2) == (self.part() == Part::Response);
        let ids = &mut self.core.ids[usize::from(id.is_multiple_of(2))];
        let place = ids.place(id, opens, same);
        if place == Place::Over {
            return None;
        }
        ids.open(id, opens);
        Some(self.open(id, place))
    }

    /// Whether this direction's end is the one that opens such streams.
    fn opens(&self, id: u32) -> bool {
        self.core.client.is_some_and(|client| (client == self.dir) != id.is_multiple_of(2))
    }

    /// Counts a frame of a stream that is certainly idle (section 5.1): all that this end has opened was
    /// seen, and this stream was not opened. Of the other end nobody can say it: its frame may only have
    /// been read before the one that opened the stream. Says whether it was so.
    pub fn refuse_idle(&self, id: u32) -> bool {
        let ids = &self.core.ids[usize::from(id.is_multiple_of(2))];
        let idle = self.opens(id) && ids.never_opened(id) && self.core.knows_openings();
        if idle {
            self.shared.meters.violation(Violation::StreamId);
        }
        idle
    }

    /// Whether a frame of this stream would open it.
    pub fn may_open(&self, id: u32, opens: bool) -> bool {
        self.core.ids[usize::from(id.is_multiple_of(2))].place(id, opens, false) != Place::Over
    }

    /// The stream's place, if it is tracked.
    fn find(&mut self, id: u32) -> Option<u32> {
        let (recent, index) = self.core.recent;
        if recent == id && self.is_at(index, id) {
            return Some(index);
        }
        let index = self.shared.streams.find(self.core.flow, id)?;
        self.core.recent = (id, index);
        Some(index)
    }

    /// Whether this stream is still at this place.
    pub fn is_at(&self, index: u32, id: u32) -> bool {
        self.shared.streams.holds(index, self.core.flow, id)
    }

    pub fn open(&mut self, id: u32, place: Place) -> u32 {
        if self.core.own.count >= self.shared.config.max_streams
            && let Some(oldest) = self.shared.streams.oldest_of(&self.core.own)
        {
            self.close(oldest, How::Evicted);
        }
        let index = self.shared.streams.open(&mut self.core.own, self.core.flow, id);
        let Now { timestamp, at } = self.now;
        let stream = self.shared.streams.at_mut(index);
        (stream.started, stream.started_at, stream.last, stream.last_at) = (timestamp, at, timestamp, at);
        stream.pushed = id.is_multiple_of(2);
        match place {
            Place::Missed(Missed::Joined) => {
                stream.joined = true;
                stream.sides.iter_mut().for_each(|side| side.may_have_ended = true);
            }
            Place::Missed(Missed::Gap) => {
                stream.gap = true;
                stream.sides[0].may_have_ended = true;
            }
            // A push whose promise was read later or never: its request is over by its nature.
            _ => stream.sides[0].may_have_ended = stream.pushed,
        }
        self.core.recent = (id, index);
        self.shared.meters.opened.inc();
        self.shared.meters.streams.add(1);
        self.recount(index);
        index
    }

    /// Takes up what the stream's buffers have grown by.
    pub fn recount(&mut self, index: u32) {
        self.core.own_bytes = self.core.own_bytes.wrapping_add_signed(self.shared.streams.at_mut(index).recount());
    }

    /// RST_STREAM (RFC 9113 section 6.4). Says whether it was of use.
    pub fn rst_stream(&mut self, id: u32) -> bool {
        if self.refuse_idle(id) {
            return false;
        }
        self.core.dirs[self.dir].window.ended(id);
        let Some(index) = self.find_or_open(id, false, self.opens(id)) else { return false };
        self.close(index, How::RstStream);
        true
    }

    /// GOAWAY (section 6.8): streams of the other end above `last` were not and will not be handled.
    pub fn goaway(&mut self, last: u32) {
        let by_server = self.part() == Part::Response;
        let mut next = self.shared.streams.oldest_of(&self.core.own);
        while let Some(index) = next {
            let stream = self.shared.streams.at(index);
            let (id, after) = (stream.id, stream.next_of_connection());
            if id > last && by_server != id.is_multiple_of(2) {
                self.close(index, How::Goaway);
            }
            next = after;
        }
    }

    /// Ends all streams of the connection.
    pub fn close_all(&mut self, how: How) {
        while let Some(index) = self.shared.streams.oldest_of(&self.core.own) {
            self.close(index, how);
        }
    }

    /// Tells of a stream and lets it go.
    pub fn close(&mut self, index: u32, how: How) {
        let meters = &self.shared.meters;
        let stream = self.shared.streams.at(index);
        let reason = reason(stream, how);
        meters.emitted[reason as usize].inc();
        meters.streams.add(-1);
        match reason {
            Reason::Timeout => meters.expired.inc(),
            Reason::RstStream => meters.terminated[0].inc(),
            Reason::Goaway => meters.terminated[1].inc(),
            Reason::ConnectionClosed => meters.terminated[2].inc(),
            Reason::Evicted => meters.terminated[3].inc(),
            Reason::Gap => meters.terminated[4].inc(),
            Reason::Complete | Reason::Joined | Reason::Shutdown => {}
        }
        if self.core.groups.is_empty() {
            self.write_groups();
        }
        let stream = self.shared.streams.at(index);
        let seen = !matches!(how, How::Evicted | How::Timeout | How::Shutdown);
        let record = RoundTrip {
            flow: self.core.flow,
            role: self.role(),
            reason,
            ended: seen.then(|| Ended {
                at: self.now.timestamp,
                micros: self.now.at.since(stream.started_at).as_micros() as u64,
            }),
            ends: self.ends(),
            groups: &self.core.groups,
            stream,
            config: &self.shared.config,
            dates: &self.shared.dates,
        };
        let (timestamp, at) = if seen { (self.now.timestamp, self.now.at) } else { (stream.last, stream.last_at) };
        self.next.event(&Event::new(timestamp, at, &record));
        let id = stream.id;
        self.core.ids[usize::from(id.is_multiple_of(2))].close(id);
        self.core.own_bytes = self.core.own_bytes.saturating_sub(stream.counted());
        self.shared.streams.close(&mut self.core.own, index);
    }

    /// Who talks to whom, as far as it is known.
    fn ends(&self) -> Ends {
        let Some(net) = self.core.net else { return Ends::default() };
        let local = net.local.map(|addr| std::net::SocketAddr::new(addr, net.local_port));
        match self.core.client {
            Some(super::core::TX) => Ends { client: local, server: Some(net.peer) },
            Some(_) => Ends { client: Some(net.peer), server: local },
            None => Ends::default(),
        }
    }

    /// Writes `net` with the roles, `process` and what else `meta` names, once per connection.
    fn write_groups(&mut self) {
        let ends = self.ends();
        let out = &mut self.core.groups;
        if let Some(net) = &self.core.net {
            out.extend_from_slice(b",\"net\":");
            json_into(net, out);
            out.pop();
            let port = if self.core.client == Some(super::core::TX) { net.local_port } else { net.peer.port() };
            let other = if self.core.client == Some(super::core::TX) { net.peer.port() } else { net.local_port };
            for (end, name, port_name, port) in
                [(ends.client, "clientAddr", "clientPort", port), (ends.server, "serverAddr", "serverPort", other)]
            {
                if let Some(end) = end {
                    json_into(&end.ip().to_canonical(), json::key(out, name));
                }
                json::number(json::key(out, port_name), u64::from(port));
            }
            out.push(b'}');
        }
        if let Some((process, meta)) = &self.core.process {
            let meta = *meta;
            if meta.any(Meta::PROCESS) {
                out.extend_from_slice(b",\"process\":");
                json_into(&ProcessView { process, tid: None, meta }, out);
            }
            if let Some(container) = process.container.as_deref().filter(|_| meta.any(Meta::CONTAINER)) {
                out.extend_from_slice(b",\"container\":");
                json_into(&ContainerView { container, meta }, out);
            }
            if let Some(pod) = process.pod.as_deref().filter(|_| meta.any(Meta::POD)) {
                out.extend_from_slice(b",\"pod\":");
                json_into(&PodView { pod, meta }, out);
            }
        }
    }
}

/// The reason of the record: in order wins over a gap only where the stream began before the join, since
/// nobody can say that it was whole anyway.
fn reason(stream: &Stream, how: How) -> Reason {
    match how {
        How::InOrder if stream.joined => Reason::Joined,
        _ if stream.gap => Reason::Gap,
        How::InOrder => Reason::Complete,
        How::RstStream => Reason::RstStream,
        How::Goaway => Reason::Goaway,
        How::ConnectionClosed => Reason::ConnectionClosed,
        How::Evicted => Reason::Evicted,
        How::Timeout => Reason::Timeout,
        How::Shutdown => Reason::Shutdown,
    }
}

/// `Role` is what labels count by.
const _: () = assert!(Role::Unknown as usize == 2);
