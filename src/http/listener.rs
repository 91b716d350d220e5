//! The HTTP server as a part of the one event loop: it takes readiness and time, and calls a
//! `Handler` for each request. It never waits for a client: at most `CONNECTIONS` of them, 8 KiB of
//! head, 5 s to send a request, 10 s to take an answer, a few answers per turn of the loop. Nor do the
//! clients of one listener keep those of another out: each has `OWN` connections that no other gets.
//!
//! The loop calls `event` for each readiness of a token that the server `owns`, `tick` once per turn,
//! and wakes up for `deadline`.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::time::Duration;

use mio::event::Event;
use mio::net::TcpListener;
use mio::{Interest, Registry, Token};
use prometheus::IntCounterVec;
use socket2::SockRef;

use super::Handler;
use super::connection::{Answers, Connection, Fate};
use super::socket;
use crate::config::Listen;
use crate::metrics::Metrics;
use crate::time::{Instant, Timestamp};

/// What a listener is for, and so what is answered on its connections.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    /// metrics.listen: everything.
    All,
    /// probes.listen: /healthz and /readyz.
    Probes,
}

/// Why an address could not be taken.
#[derive(Debug)]
pub struct Error {
    pub address: Listen,
    pub cause: io::Error,
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "listen on {}: {}", self.address, self.cause)
    }
}

impl std::error::Error for Error {}

/// Listeners and connections.
pub struct Server {
    tokens: Range<usize>,
    /// The loop's, from the first `listen` on: a copy at each turn would take a descriptor, and without
    /// any left nobody would be answered.
    registry: Option<Registry>,
    listeners: Vec<Option<Listener>>,
    connections: Vec<Option<Connection>>,
    answers: Answers,
    /// Whether something is left to do without waiting for readiness or time.
    due: bool,
    /// When a time limit next runs out.
    next: Option<Instant>,
}

struct Listener {
    /// As it was asked for; `socket` knows what it became.
    address: Listen,
    scope: Scope,
    socket: TcpListener,
    /// Whether connections may wait to be accepted.
    readable: bool,
    /// No accept before this: the process ran out of descriptors.
    rest: Option<Instant>,
    /// Whether the last accept failed so.
    failing: bool,
}

impl Server {
    /// How many tokens the server takes of the loop's.
    pub const TOKENS: usize = LISTENERS + CONNECTIONS;

    /// A server without listeners that takes the tokens `first..first + TOKENS`.
    pub fn new(first: usize, metrics: &Metrics) -> Server {
        let requests: IntCounterVec = metrics.counters("tawon_listener_requests_total");
        Server {
            tokens: first..first + Self::TOKENS,
            registry: None,
            listeners: (0..LISTENERS).map(|_| None).collect(),
            connections: (0..CONNECTIONS).map(|_| None).collect(),
            answers: Answers::new(requests),
            due: false,
            next: None,
        }
    }

    /// Makes `wanted` the addresses that are listened on: new ones are bound before those that are no
    /// longer wanted are closed, and one that stays is left alone. The same address twice is one
    /// socket for both scopes. On an error everything stays as it was.
    pub fn listen(&mut self, registry: &Registry, wanted: &[(Listen, Scope)]) -> Result<(), Error> {
        let wanted = merged(wanted);
        let mut bound: Vec<(usize, Listener)> = Vec::new();
        for &(address, scope) in &wanted {
            if self.listeners.iter().flatten().any(|old| old.address == address) {
                continue;
            }
            let fail = |cause| Error { address, cause };
            if self.registry.is_none() {
                self.registry = Some(registry.try_clone().map_err(fail)?);
            }
            let free = |at: &usize| !bound.iter().any(|(taken, _)| taken == at);
            let slot = (0..LISTENERS).filter(|at| self.listeners[*at].is_none()).find(free);
            let slot = slot.ok_or_else(|| fail(io::Error::other(format!("at most {LISTENERS} addresses"))))?;
            let mut socket = self.bind(address, &wanted).map_err(fail)?;
            registry.register(&mut socket, Token(self.tokens.start + slot), Interest::READABLE).map_err(fail)?;
            bound.push((slot, Listener { address, scope, socket, readable: true, rest: None, failing: false }));
        }
        for (at, slot) in self.listeners.iter_mut().enumerate() {
            let Some(old) = slot else { continue };
            let of_this = self.connections.iter_mut().flatten().filter(|connection| connection.listener == Some(at));
            match wanted.iter().find(|(address, _)| *address == old.address) {
                Some((_, scope)) => {
                    old.scope = *scope;
                    of_this.for_each(|connection| connection.scope = *scope);
                }
                None => {
                    *slot = None;
                    of_this.for_each(Connection::end_soon);
                }
            }
        }
        for (slot, listener) in bound {
            self.listeners[slot] = Some(listener);
        }
        self.due = true;
        Ok(())
    }

    /// The addresses as they are bound, with the port that the system chose where 0 was asked for.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.listeners.iter().flatten().filter_map(|listener| listener.socket.local_addr().ok())
    }

    /// Connections that are held now.
    pub fn open(&self) -> usize {
        self.connections.iter().flatten().count()
    }

    /// Whether an event of this token is the server's.
    pub fn owns(&self, token: Token) -> bool {
        self.tokens.contains(&token.0)
    }

    /// Notes what is ready; `tick` acts on it.
    pub fn event(&mut self, event: &Event) {
        let Some(at) = event.token().0.checked_sub(self.tokens.start) else { return };
        if at < LISTENERS {
            if let Some(Some(listener)) = self.listeners.get_mut(at) {
                listener.readable = true;
                self.due = true;
            }
        } else if let Some(Some(connection)) = self.connections.get_mut(at - LISTENERS) {
            let broken = event.is_error() || event.is_read_closed() || event.is_write_closed();
            connection.ready(event.is_readable() || broken, event.is_writable() || broken);
            self.due = true;
        }
    }

    /// When `tick` next has something to do: at once where it left something undone.
    pub fn deadline(&self) -> Option<Instant> {
        if self.due { Some(Instant(0)) } else { self.next }
    }

    /// Accepts, reads, answers and writes what can be without waiting, and ends what took too long.
    /// `now` and `wall` are the present.
    pub fn tick(&mut self, now: Instant, wall: Timestamp, handler: &mut dyn Handler) {
        if !self.due && self.next.is_none_or(|next| next > now) {
            return;
        }
        self.due = false;
        self.accept(now);
        self.answers.turn(wall, self.connections.iter().flatten().map(Connection::unsent).sum());
        // Begins behind the one that was last answered, so that none starves the others.
        let first = self.answers.after % CONNECTIONS;
        for at in (first..CONNECTIONS).chain(0..first) {
            let Some(connection) = &mut self.connections[at] else { continue };
            let left = self.answers.left;
            match connection.drive(now, &mut self.answers, handler) {
                Fate::Waits => {}
                Fate::HasMore => self.due = true,
                Fate::Ended => self.connections[at] = None,
            }
            if self.answers.left < left {
                self.answers.after = at + 1;
            }
        }
        let rests = self.listeners.iter().flatten().filter_map(|listener| listener.rest);
        self.next = self.connections.iter().flatten().map(Connection::deadline).chain(rests).min();
    }

    /// Closes every listener and connection.
    pub fn close(&mut self) {
        self.listeners.iter_mut().for_each(|slot| *slot = None);
        self.connections.iter_mut().for_each(|slot| *slot = None);
        (self.due, self.next) = (false, None);
    }

    fn accept(&mut self, now: Instant) {
        // A share each, or a flood of one would leave none for those behind it.
        let share = ACCEPTS_PER_TURN / self.listeners.iter().flatten().count().max(1);
        for at in 0..LISTENERS {
            let mut budget = share;
            while let Some(listener) = &mut self.listeners[at] {
                if listener.rest.is_some_and(|until| until > now) || !listener.readable {
                    break;
                }
                listener.rest = None;
                if budget == 0 {
                    self.due = true;
                    break;
                }
                budget -= 1;
                match listener.socket.accept() {
                    Ok((stream, peer)) => {
                        listener.fails(None);
                        let scope = listener.scope;
                        self.take(stream, peer.ip().to_canonical(), at, scope, now);
                    }
                    Err(error) => match error.kind() {
                        io::ErrorKind::WouldBlock => listener.readable = false,
                        io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted => {}
                        _ => {
                            listener.fails(Some(&error));
                            listener.rest = Some(now + ACCEPT_REST);
                        }
                    },
                }
            }
        }
    }

    fn take(&mut self, mut stream: mio::net::TcpStream, peer: IpAddr, listener: usize, scope: Scope, now: Instant) {
        let Some(at) = self.room(listener) else {
            self.answers.refuse(&mut stream);
            return;
        };
        // Drops the idle one first, whose token the new one gets.
        self.connections[at] = None;
        // An answer is one write; waiting for more to send would only delay its end.
        let _ = stream.set_nodelay(true);
        let interest = Interest::READABLE | Interest::WRITABLE;
        let token = Token(self.tokens.start + LISTENERS + at);
        if self.registry.as_ref().is_some_and(|registry| registry.register(&mut stream, token, interest).is_ok()) {
            let age = self.answers.stamp();
            self.connections[at] = Some(Connection::new(stream, peer, listener, scope, age, now));
            self.due = true;
        }
    }

    /// Where a further connection of this listener goes: a free place that is not kept for another
    /// listener, or that of the connection longest idle among those that hold no place kept for another.
    fn room(&self, listener: usize) -> Option<usize> {
        let mut held = [0; LISTENERS];
        let with = self.connections.iter().flatten().filter_map(|connection| connection.listener);
        with.for_each(|at| held[at] += 1);
        let others = (0..LISTENERS).filter(|at| *at != listener && self.listeners[*at].is_some());
        let kept: usize = others.map(|at| OWN.saturating_sub(held[at])).sum();
        if CONNECTIONS - self.open() > kept {
            return self.connections.iter().position(Option::is_none);
        }
        self.most_idle(|of| of.is_none_or(|at| at == listener || held[at] > OWN))
    }

    /// A connection that waits for its next request, or whose answer is out: the one longest so, of
    /// the listeners that `may` lose one.
    fn most_idle(&self, may: impl Fn(Option<usize>) -> bool) -> Option<usize> {
        let held = self.connections.iter().enumerate().filter_map(|(at, slot)| Some((at, slot.as_ref()?)));
        let idle = held
            .filter(|(_, connection)| may(connection.listener))
            .filter_map(|(at, connection)| connection.idle_since().map(|since| (since, at)));
        idle.min().map(|(_, at)| at)
    }

    /// Binds an address that is new. Where one of our own that goes away is in its way (`:80` to
    /// `127.0.0.1:80`), both share the port until the old one is closed.
    fn bind(&self, address: Listen, wanted: &[(Listen, Scope)]) -> io::Result<TcpListener> {
        let error = match socket::listen(address, false) {
            Ok(socket) => return Ok(TcpListener::from_std(socket.into())),
            Err(error) => error,
        };
        let leaves = |old: &&Listener| {
            old.socket.local_addr().is_ok_and(|bound| bound.port() == address.port())
                && !wanted.iter().any(|(wanted, _)| *wanted == old.address)
        };
        let leaving: Vec<&Listener> = self.listeners.iter().flatten().filter(leaves).collect();
        if error.kind() != io::ErrorKind::AddrInUse || leaving.is_empty() {
            return Err(error);
        }
        for old in &leaving {
            socket::share(SockRef::from(&old.socket), true)?;
        }
        let shared = socket::listen(address, true);
        for old in &leaving {
            socket::share(SockRef::from(&old.socket), false)?;
        }
        let socket = shared?;
        socket::share(SockRef::from(&socket), false)?;
        Ok(TcpListener::from_std(socket.into()))
    }
}

impl Listener {
    /// Notes why nothing can be accepted, and tells it where that is news.
    fn fails(&mut self, error: Option<&io::Error>) {
        match (error, std::mem::replace(&mut self.failing, error.is_some())) {
            (Some(error), false) => log::warn!("accept failed address={} error={error}", self.address),
            (None, true) => log::info!("accepts again address={}", self.address),
            _ => {}
        }
    }
}

/// Each address once; an address of both scopes serves all.
fn merged(wanted: &[(Listen, Scope)]) -> Vec<(Listen, Scope)> {
    let mut merged: Vec<(Listen, Scope)> = Vec::new();
    for &(address, scope) in wanted {
        match merged.iter_mut().find(|(other, _)| *other == address && address.port() != 0) {
            Some((_, other)) if scope == Scope::All => *other = Scope::All,
            Some(_) => {}
            None => merged.push((address, scope)),
        }
    }
    merged
}

/// Old and new addresses together, while a reload replaces them.
const LISTENERS: usize = 16;
const CONNECTIONS: usize = 64;
/// Of them, for each listener alone: a kubelet's probes or two scrapers at once.
const OWN: usize = 4;
const _: () = assert!(OWN * LISTENERS <= CONNECTIONS);
const ACCEPTS_PER_TURN: usize = 64;
const ACCEPT_REST: Duration = Duration::from_millis(100);
