//! One client's connection: requests in, answers out, one at a time and in order. What a client sends
//! ahead waits in 8 KiB here and then in its own socket.

use std::io::{self, IoSlice, Read, Write};
use std::net::{IpAddr, Shutdown};
use std::time::Duration;

use mio::net::TcpStream;
use prometheus::IntCounterVec;

use super::encoding::Gzip;
use super::listener::Scope;
use super::request::{Framing, MAX_HEAD, empty_lines, parse, wants_head};
use super::response::{Vary, reason};
use super::{Handler, Response};
use crate::time::{Instant, Timestamp};

pub(super) struct Connection {
    stream: TcpStream,
    peer: IpAddr,
    /// Index of the listener that took it, as long as that is there.
    pub listener: Option<usize>,
    pub scope: Scope,
    /// When it was taken or last answered, in the order of all connections.
    age: u64,
    readable: bool,
    writable: bool,
    /// The peer sends no more.
    ended: bool,
    /// Received and not yet taken as a request; at most MAX_HEAD.
    input: Vec<u8>,
    /// Bytes of the last request's body that are still to be passed over.
    skip: u64,
    /// What the socket did not take at once, from `sent` on.
    output: Vec<u8>,
    sent: usize,
    /// No further request after the answer.
    last: bool,
    phase: Phase,
    deadline: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// A request is due by the deadline.
    Reads,
    /// Between requests.
    Idle,
    /// The answer must be out by the deadline.
    Writes,
    /// The last answer is out; so many more bytes are read and forgotten, since closing on unread
    /// bytes resets the connection and takes the answer from the peer (RFC 9112 section 9.6).
    Lingers(usize),
}

/// What becomes of a connection that was driven.
pub(super) enum Fate {
    /// For readiness or its deadline.
    Waits,
    /// There is a request that had to wait for the next turn.
    HasMore,
    Ended,
}

impl Connection {
    pub fn new(stream: TcpStream, peer: IpAddr, listener: usize, scope: Scope, age: u64, now: Instant) -> Connection {
        Connection {
            stream,
            peer,
            listener: Some(listener),
            scope,
            age,
            readable: true,
            writable: true,
            ended: false,
            input: Vec::new(),
            skip: 0,
            output: Vec::new(),
            sent: 0,
            last: false,
            phase: Phase::Reads,
            deadline: now + SEND_LIMIT,
        }
    }

    pub fn ready(&mut self, readable: bool, writable: bool) {
        self.readable |= readable;
        self.writable |= writable;
    }

    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Bytes of an answer that wait for the peer.
    pub fn unsent(&self) -> usize {
        self.output.len() - self.sent
    }

    /// Its listener has gone: the answer to come is the last one, and without one it ends.
    pub fn end_soon(&mut self) {
        self.last = true;
        self.listener = None;
        if self.phase == Phase::Idle {
            self.deadline = Instant(0);
        }
    }

    /// When it fell idle, in the order of `age`; None while a request or an answer is on its way.
    pub fn idle_since(&self) -> Option<u64> {
        matches!(self.phase, Phase::Idle | Phase::Lingers(_)).then_some(self.age)
    }

    /// Does what can be done now.
    pub fn drive(&mut self, now: Instant, answers: &mut Answers, handler: &mut dyn Handler) -> Fate {
        loop {
            let step = match self.phase {
                Phase::Writes => self.write(now),
                Phase::Lingers(left) => self.linger(left),
                Phase::Reads | Phase::Idle => self.read(now, answers, handler),
            };
            match step {
                Ok(Step::Goes) => {}
                Ok(Step::HasMore) => return Fate::HasMore,
                Ok(Step::Waits) if self.deadline > now => return Fate::Waits,
                Ok(Step::Waits) if self.phase == Phase::Reads => {
                    // A first request that never came whole; nobody reads what follows a silent one.
                    self.refuse(408, now, answers);
                }
                Ok(Step::Waits | Step::Ends) | Err(_) => return Fate::Ended,
            }
        }
    }

    fn read(&mut self, now: Instant, answers: &mut Answers, handler: &mut dyn Handler) -> io::Result<Step> {
        self.fill()?;
        self.pass_over_body();
        self.input.drain(..empty_lines(&self.input));
        // A CR may be half of a further empty line.
        let begun = !matches!(self.input[..], [] | [b'\r']);
        if !begun && self.ended {
            return Ok(Step::Ends);
        }
        if !begun && self.readable && self.deadline > now {
            // The buffer was full of what says nothing; the rest waits for its turn, if there is one.
            return Ok(Step::HasMore);
        }
        if self.phase == Phase::Idle {
            if !begun {
                return Ok(Step::Waits);
            }
            self.phase = Phase::Reads;
            self.deadline = now + SEND_LIMIT;
        }
        if answers.left == 0 {
            return Ok(Step::HasMore);
        }
        let (peer, scope) = (self.peer, self.scope);
        match parse(&self.input, peer, scope, |request, framing| {
            answers.fill(handler, request);
            framing
        }) {
            Ok(Some(mut framing)) => {
                framing.keep_alive &= !self.last;
                self.input.drain(..framing.head);
                self.skip = framing.body;
                self.answer(framing, now, answers)?;
                Ok(Step::Goes)
            }
            Ok(None) if self.ended => Ok(Step::Ends),
            Ok(None) => Ok(Step::Waits),
            Err(status) => {
                self.refuse(status, now, answers);
                Ok(Step::Goes)
            }
        }
    }

    /// Reads until the buffer is full or the socket empty.
    fn fill(&mut self) -> io::Result<()> {
        let mut bytes = [0; MAX_HEAD];
        while self.readable && !self.ended {
            let room = MAX_HEAD - self.input.len();
            if room == 0 {
                break;
            }
            match self.stream.read(&mut bytes[..room]) {
                Ok(0) => self.ended = true,
                Ok(read) => self.input.extend_from_slice(&bytes[..read]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.readable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            if self.skip > 0 {
                self.pass_over_body();
            }
        }
        Ok(())
    }

    fn pass_over_body(&mut self) {
        let here = usize::try_from(self.skip).unwrap_or(usize::MAX).min(self.input.len());
        self.input.drain(..here);
        self.skip -= here as u64;
    }

    fn refuse(&mut self, status: u16, now: Instant, answers: &mut Answers) {
        answers.response.clear();
        answers.response.plain(status, reason(status));
        let bodiless = wants_head(&self.input);
        let framing = Framing { head: 0, body: 0, keep_alive: false, old: false, bodiless, gzip: false };
        self.input = Vec::new();
        if self.answer(framing, now, answers).is_err() {
            self.phase = Phase::Lingers(0);
        }
    }

    /// Sends the filled answer, or as much as the socket takes now.
    fn answer(&mut self, framing: Framing, now: Instant, answers: &mut Answers) -> io::Result<()> {
        answers.left = answers.left.saturating_sub(1);
        self.age = answers.stamp();
        self.last |= !framing.keep_alive;
        self.phase = Phase::Writes;
        self.deadline = now + TAKE_LIMIT;
        let (head, body) = answers.encode(&framing);
        let mut sent = 0;
        while sent < head.len() + body.len() {
            let rest = [
                IoSlice::new(head.get(sent..).unwrap_or_default()),
                IoSlice::new(&body[sent.saturating_sub(head.len())..]),
            ];
            match self.stream.write_vectored(&rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => sent += written,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.writable = false;
                    self.output.extend_from_slice(head.get(sent..).unwrap_or_default());
                    self.output.extend_from_slice(&body[sent.saturating_sub(head.len())..]);
                    answers.held += self.output.len();
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn write(&mut self, now: Instant) -> io::Result<Step> {
        while self.sent < self.output.len() {
            if !self.writable {
                // A peer that has gone for good shows as an error of the write, or by the deadline.
                return Ok(if self.deadline > now { Step::Waits } else { Step::Ends });
            }
            match self.stream.write(&self.output[self.sent..]) {
                Ok(0) => return Ok(Step::Ends),
                Ok(written) => self.sent += written,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        (self.output, self.sent) = (Vec::new(), 0);
        if self.last {
            self.stream.shutdown(Shutdown::Write)?;
            self.phase = Phase::Lingers(LINGER_BYTES);
            self.deadline = now + LINGER_LIMIT;
        } else {
            self.phase = Phase::Idle;
            self.deadline = now + IDLE_LIMIT;
        }
        Ok(Step::Goes)
    }

    fn linger(&mut self, mut left: usize) -> io::Result<Step> {
        let mut bytes = [0; MAX_HEAD];
        while self.readable && left > 0 {
            match self.stream.read(&mut bytes) {
                Ok(0) => return Ok(Step::Ends),
                Ok(read) => left = left.saturating_sub(read),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.readable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.phase = Phase::Lingers(left);
        Ok(if left == 0 { Step::Ends } else { Step::Waits })
    }
}

enum Step {
    /// On to what follows.
    Goes,
    Waits,
    HasMore,
    Ends,
}

/// What all connections share to make answers: buffers, the compressor, the budget of a turn.
pub(super) struct Answers {
    pub response: Response,
    head: Vec<u8>,
    packed: Vec<u8>,
    gzip: Gzip,
    requests: IntCounterVec,
    wall: Timestamp,
    /// How many answers may still be made in this turn.
    pub left: usize,
    /// The slot behind the one that was answered last.
    pub after: usize,
    /// Connections taken and answers made.
    stamps: u64,
    /// Bytes of answers that wait for their peers.
    held: usize,
}

impl Answers {
    pub fn new(requests: IntCounterVec) -> Answers {
        Answers {
            response: Response::new(),
            head: Vec::new(),
            packed: Vec::new(),
            gzip: Gzip::new(),
            requests,
            wall: Timestamp(0),
            left: 0,
            after: 0,
            stamps: 0,
            held: 0,
        }
    }

    /// The next position in the order of what happened.
    pub fn stamp(&mut self) -> u64 {
        self.stamps += 1;
        self.stamps
    }

    /// Begins a turn of the loop.
    pub fn turn(&mut self, wall: Timestamp, held: usize) {
        (self.wall, self.held, self.left) = (wall, held, ANSWERS_PER_TURN);
    }

    fn fill(&mut self, handler: &mut dyn Handler, request: &super::Request<'_>) {
        self.response.clear();
        if self.held > HELD_LIMIT && request.scope != Scope::Probes {
            // Peers that ask and do not read: their answers would pile up here. Those about health are
            // too short for that, and whoever asks for metrics must not keep them away.
            return self.response.plain(503, "too many answers wait to be read");
        }
        handler.answer(request, &mut self.response);
    }

    /// The head and body to send, and counts the answer.
    fn encode(&mut self, framing: &Framing) -> (&[u8], &[u8]) {
        let response = &self.response;
        let code = CODES.iter().find(|(status, _)| *status == response.status).map_or("other", |(_, text)| text);
        self.requests.with_label_values(&[response.handler, code]).inc();
        let vary = match (response.body.len() >= GZIP_FROM, framing.gzip) {
            (false, _) => Vary::Never,
            (true, true) if self.gzip.write(&response.body, &mut self.packed) => Vary::Gzip,
            (true, _) => Vary::Plain,
        };
        let body = if vary == Vary::Gzip { &self.packed } else { &response.body };
        response.head(&mut self.head, self.wall, framing, body.len(), vary);
        (&self.head, if framing.bodiless { &[] } else { body })
    }

    /// Turns a client away for whom there is no room.
    pub fn refuse(&mut self, stream: &mut TcpStream) {
        self.requests.with_label_values(&[super::response::OTHER, "503"]).inc();
        // Best effort: a fresh socket has room for this, and nothing may wait for it.
        let _ = stream.write(BUSY);
        let _ = stream.shutdown(Shutdown::Both);
    }
}

const BUSY: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: 1\r\nConnection: close\r\n\r\n";

const CODES: &[(u16, &str)] = &[
    (200, "200"),
    (400, "400"),
    (401, "401"),
    (403, "403"),
    (404, "404"),
    (405, "405"),
    (408, "408"),
    (411, "411"),
    (413, "413"),
    (431, "431"),
    (500, "500"),
    (503, "503"),
    (505, "505"),
];

/// For a whole request, from its first byte; the first one from the connection's start.
const SEND_LIMIT: Duration = Duration::from_secs(5);
/// For the peer to take an answer.
const TAKE_LIMIT: Duration = Duration::from_secs(10);
/// Between requests: longer than the scrape interval of any common configuration.
const IDLE_LIMIT: Duration = Duration::from_secs(150);
const LINGER_LIMIT: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 256 * 1024;
/// A scrape is about a millisecond of work: the rings are looked at between this many.
const ANSWERS_PER_TURN: usize = 4;
const HELD_LIMIT: usize = 16 << 20;
const GZIP_FROM: usize = 1024;
