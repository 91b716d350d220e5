//! Claims of UDP sockets. A socket has as many flows as peers, and who sends or receives on it first claims
//! all of them: so many that a turn of the loop claims a part, and `work` the rest. Whatever happens to a flow
//! of the rest finds it claimed: that is done before.

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use super::desk::{Desk, SOURCE};
use super::engine::Engine;
use super::tracked::{Claimed, Tracked};
use crate::flow::number::BuildNumber;
use crate::flow::table::Id;
use crate::kernel::abi;
use crate::process::Process;
use crate::task::source::World;
use crate::time::Instant;

/// What is left of claims.
#[derive(Default)]
pub(super) struct Claims {
    /// By socket; none without a flow.
    rests: HashMap<u64, Rest, BuildNumber>,
    /// Their sockets, in the order of the claims.
    order: VecDeque<u64>,
    /// The turn of the last claim, and how many flows beside the first of each claim it may still see to.
    turn: Instant,
    room: usize,
}

struct Rest {
    claim: abi::Claim,
    /// As it was at the claim: it may have ended since.
    owner: Option<Rc<Process>>,
    /// Directives that were ending already.
    leaving: u64,
    /// The first flow of the rest.
    next: u64,
}

impl Claims {
    pub fn is_empty(&self) -> bool {
        self.rests.is_empty()
    }

    pub fn clear(&mut self) {
        *self = Claims::default();
    }

    /// A flow leaves its socket's chain.
    #[inline]
    pub fn unchain(&mut self, flow: &Tracked) {
        if let Some(rest) = self.rests.get_mut(&flow.kernel.sock)
            && rest.next == flow.kernel.flow
        {
            rest.next = flow.next_of_socket;
        }
    }
}

impl Engine {
    /// Somebody sent or received first on a socket.
    #[inline(never)] // the others have no use for a second copy of what it does
    pub(super) fn claim_socket(&mut self, claim: &abi::Claim, world: &mut World<'_>) {
        // Each claim finds what the one before it has made of every flow. There is hardly ever a second.
        let mut all = usize::MAX;
        self.claim_rest(claim.sock, &mut all, world);
        if std::mem::replace(&mut self.claims.turn, world.now) != world.now {
            self.claims.room = ROOM;
        }
        let mut next = self.sockets.get(&claim.sock).copied().unwrap_or_default();
        let mut left = self.claims.room + 1;
        while let Some(flow) = self.table.get(&next) {
            let Some(fewer) = left.checked_sub(1) else {
                let owner = world.processes.table.find(claim.tgid, Some(claim.process_start));
                let owner = owner.map(|entry| entry.process.clone());
                let rest = Rest { claim: *claim, owner, leaving: self.leaving, next };
                self.claims.rests.insert(claim.sock, rest);
                self.claims.order.push_back(claim.sock);
                break;
            };
            left = fewer;
            let number = next;
            next = flow.next_of_socket;
            self.claim_flow(number, Id::NOWHERE, claim, world);
        }
        self.claims.room = left.min(self.claims.room);
    }

    /// Goes on with what is left of claims, for at most `left` flows.
    pub(super) fn claim_rests(&mut self, left: &mut usize, world: &mut World<'_>) {
        while let Some(&sock) = self.claims.order.front().filter(|_| *left > 0) {
            self.claim_rest(sock, left, world);
        }
    }

    fn claim_rest(&mut self, sock: u64, left: &mut usize, world: &mut World<'_>) {
        let Some(Rest { claim, owner, leaving, next }) = self.claims.rests.get_mut(&sock) else { return };
        let (claim, owner, leaving, mut next) = (*claim, owner.take(), *leaving, *next);
        let masks = masks(&claim, owner.as_ref(), world);
        while *left > 0 && next != 0 {
            let (table, mut desk) = self.split();
            desk.leaving = leaving;
            let Some(flow) = table.touch_mut(&next) else { break };
            *left -= 1;
            let number = std::mem::replace(&mut next, flow.next_of_socket);
            desk.claim_for(flow, &claim, owner.clone(), masks, world);
            if flow.mask == 0 && claim.header.mask == 0 {
                self.let_go(number, world);
            }
        }
        match self.claims.rests.get_mut(&sock) {
            Some(rest) if *left == 0 && next != 0 => (rest.owner, rest.next) = (owner, next),
            _ => {
                self.claims.rests.remove(&sock);
                self.claims.order.retain(|other| *other != sock);
            }
        }
    }

    /// Claims a flow that is among the rest of a claim. It may be one that has been seen to.
    #[cold]
    pub(super) fn claim_late(&mut self, flow: &mut Tracked, world: &World<'_>) {
        let Some(rest) = self.claims.rests.get(&flow.kernel.sock).filter(|_| flow.is_udp()) else { return };
        let Rest { claim, owner, leaving, .. } = rest;
        let seen_to = (flow.tgid, flow.tid, flow.start) == (claim.tgid, claim.tid, claim.process_start);
        if seen_to && flow.claimed != Claimed::Not {
            return;
        }
        let (claim, owner, leaving) = (*claim, owner.clone(), *leaving);
        let masks = masks(&claim, owner.as_ref(), world);
        Desk { leaving, ..self.desk() }.claim_for(flow, &claim, owner, masks, world);
    }

    /// Whether a flow that nobody has claimed yet is among the rest of a claim.
    pub(super) fn is_being_claimed(&self, flow: &Tracked) -> bool {
        !self.claims.is_empty() && flow.is_udp() && self.claims.rests.contains_key(&flow.kernel.sock)
    }
}

/// The directives that want what the owner claims.
fn masks(claim: &abi::Claim, owner: Option<&Rc<Process>>, world: &World<'_>) -> u64 {
    match (owner, Claimed::by(&claim.header)) {
        (Some(owner), _) => world.processes.watchers.decide(owner)[SOURCE],
        (None, Claimed::By) => claim.header.mask,
        (None, _) => world.processes.watchers.unconditional()[SOURCE],
    }
}

/// Flows that one turn claims, beside the first of each claim and before `work`.
const ROOM: usize = 256;
