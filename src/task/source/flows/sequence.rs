//! `Sequence`: where the next claims' flows lie, as long as that can be told from the last ones. Sockets are
//! accepted in about the order in which connections came, and flows lie in the order in which they came: then
//! the next flow is the next slot, and the index need not be asked.

use std::cell::Cell;

use crate::flow::table::Id;

/// Learns from each flow that is found. A wrong guess costs whoever relies on it a look-up, no more.
#[derive(Default)]
pub(super) struct Sequence {
    /// The slot that was guessed last, some records ahead of the one that was found last.
    guessed: Cell<u32>,
    found: u32,
    /// How often in a row a flow lay behind the one before it, more or less.
    trust: u32,
}

impl Sequence {
    /// Whether the next flow is most likely the next slot.
    #[inline]
    pub fn holds(&self) -> bool {
        self.trust >= SURE
    }

    /// The slot behind the one that was guessed last.
    #[inline]
    pub fn guess(&self) -> Id {
        let next = self.guessed.get().wrapping_add(1);
        self.guessed.set(next);
        Id::from_number(next)
    }

    /// The index was asked.
    #[inline]
    pub fn asked(&self, guess: Id) {
        self.guessed.set(guess.number());
    }

    /// A flow was found there, which had been guessed to be here.
    #[inline]
    pub fn found(&mut self, at: Id, guess: Id) {
        let follows = at.number() == self.found.wrapping_add(1);
        self.trust = match follows {
            // Guesses that have lost their place: the index has to be asked where it goes on.
            true if self.holds() && guess != at && guess != Id::NOWHERE => 0,
            true => (self.trust + 1).min(2 * SURE),
            false => self.trust / 2,
        };
        self.found = at.number();
    }
}

/// Flows that lay one behind the other before the next is guessed to do so too.
const SURE: u32 = 32;

#[cfg(test)]
mod tests {
    use super::*;

    /// Finds flows in these slots, guessed so many ahead; how many guesses were right, and whether it holds.
    fn run(sequence: &mut Sequence, slots: impl IntoIterator<Item = u32>, ahead: usize) -> (usize, bool) {
        let slots: Vec<u32> = slots.into_iter().collect();
        let (mut guesses, mut right) = (Vec::new(), 0);
        for (at, slot) in slots.iter().enumerate() {
            while let Some(asked) = slots.get(guesses.len()).filter(|_| guesses.len() <= at + ahead) {
                let of_index = Id::from_number(*asked);
                guesses.push(match sequence.holds() {
                    true => (sequence.guess(), true),
                    false => {
                        sequence.asked(of_index);
                        (of_index, false)
                    }
                });
            }
            let (guess, by_sequence) = guesses[at];
            right += usize::from(by_sequence && guess.number() == *slot);
            sequence.found(Id::from_number(*slot), guess);
        }
        (right, sequence.holds())
    }

    #[test]
    fn slots_in_a_row_are_guessed_after_a_while_and_until_they_go_on_elsewhere() {
        let mut sequence = Sequence::default();
        assert_eq!(run(&mut sequence, 7..1007, 16), (1000 - SURE as usize - 16 - 1, true));
        // One is left out: what is guessed is learnt anew.
        let (right, holds) = run(&mut sequence, (1007..1500).chain(1501..2000), 16);
        assert!(holds && (900..960).contains(&right), "{right}");
        let (right, holds) = run(&mut sequence, (0..100).map(|at| at * 37 % 100), 16);
        assert!(!holds && right == 0, "{right}");
    }

    #[test]
    fn what_changed_places_now_and_then_does_not_end_it() {
        let mut row: Vec<u32> = (0..1000).collect();
        (100..1000).step_by(200).for_each(|at| row.swap(at, at + 1));
        let (right, holds) = run(&mut Sequence::default(), row, 16);
        assert!(holds && right > 600, "{right}");
    }

    #[test]
    fn a_flow_that_the_index_does_not_know_yet_is_learnt_from_all_the_same() {
        let mut sequence = Sequence::default();
        (1..100).for_each(|at| sequence.found(Id::from_number(at), Id::NOWHERE));
        assert!(sequence.holds());
    }
}
