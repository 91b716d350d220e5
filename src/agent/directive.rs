//! A directive's life: when it starts, when it ends, when a failed one is tried again. It is told what
//! happened and what time it is, and says what to do; it reads no clock and runs no task.
//!
//! ```text
//! Scheduled -- startAt --> Running -- stopAt, duration, end(), fail() --> Ending -- drained() --> Ended
//!                             ^                                                                     |
//!                             +---------------- back-off after a failure ---------------------------+
//! ```

use std::time::Duration;

use crate::config::Directive;
use crate::pipeline::End;
use crate::time::{Instant, Timestamp};

/// Both clocks, read at one moment. The wall clock decides about startAt and stopAt, the monotonic
/// one about durations and back-off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Now {
    pub wall: Timestamp,
    pub mono: Instant,
}

/// One directive from when it is first read until it is removed or changed.
#[derive(Clone, Debug)]
pub struct Life {
    enabled: bool,
    start_at: Option<Timestamp>,
    stop_at: Option<Timestamp>,
    duration: Option<Duration>,
    /// When a duration without startAt began: when the sources of the first run were attached.
    began: Option<Instant>,
    state: State,
    /// Since when it is in this state.
    since: Timestamp,
    /// Of the next failure.
    back_off: Duration,
    retry_at: Option<Instant>,
    error: Option<String>,
    runs: u64,
}

/// Where a directive stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// startAt is ahead, or `poll` has not been asked yet.
    Scheduled,
    Running {
        from: Instant,
    },
    /// Its sources detach and what they left is drained.
    Ending {
        from: Instant,
        why: End,
    },
    Ended(End),
}

impl State {
    /// As `/directives` and `tawon_directive_state` show it.
    pub const fn shown(self) -> crate::pipeline::State {
        match self {
            State::Scheduled => crate::pipeline::State::Scheduled,
            State::Running { .. } | State::Ending { .. } => crate::pipeline::State::Running,
            State::Ended(_) => crate::pipeline::State::Ended,
        }
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        self.shown().name()
    }
}

/// What is to be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Make the tasks and attach the sources: a run begins.
    Start,
    /// Detach, drain and flush, then call `drained`: its time is over.
    End,
}

/// A run that has ended, to be counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Run {
    pub status: End,
    pub length: Duration,
}

impl Life {
    pub fn new(directive: &Directive, now: Now) -> Life {
        Life {
            enabled: directive.enabled,
            start_at: directive.start_at,
            stop_at: directive.stop_at,
            duration: directive.duration,
            began: None,
            state: if directive.enabled { State::Scheduled } else { State::Ended(End::Stopped) },
            since: now.wall,
            back_off: FIRST_BACK_OFF,
            retry_at: None,
            error: None,
            runs: 0,
        }
    }

    /// What is to be done now. To be asked when `deadline` is due, and at least once a second, since
    /// the wall clock may be set.
    pub fn poll(&mut self, now: Now) -> Option<Action> {
        match self.state {
            State::Scheduled if self.is_over(now) => {
                self.enter(State::Ended(End::Completed), now);
                None
            }
            State::Scheduled if self.start_at.is_none_or(|start| start <= now.wall) => Some(self.start(now)),
            State::Running { .. } if self.is_over(now) => {
                self.end(End::Completed, now);
                Some(Action::End)
            }
            State::Ended(End::Failed) if self.retry_at.is_some_and(|at| at <= now.mono) => {
                self.retry_at = None;
                (!self.is_over(now)).then(|| self.start(now))
            }
            _ => None,
        }
    }

    /// When `poll` next has something to do, as far as the wall clock keeps its pace.
    pub fn deadline(&self, now: Now) -> Option<Instant> {
        let on_wall = |at: Timestamp| now.mono + Duration::from_nanos(at.0.saturating_sub(now.wall.0));
        match self.state {
            State::Scheduled => Some(self.start_at.map_or(now.mono, on_wall)),
            State::Running { .. } => match self.end_on_wall() {
                Some(end) => Some(on_wall(end)),
                None => self.began.zip(self.duration).map(|(began, duration)| began + duration),
            },
            State::Ended(_) => self.retry_at,
            State::Ending { .. } => None,
        }
    }

    /// The sources are attached: the run counts from here, and so does a duration without startAt where
    /// this is the first run. To be called after `Start`, however long loading took.
    pub fn attached(&mut self, now: Now) {
        if let State::Running { from } = &mut self.state {
            *from = now.mono;
            self.since = now.wall;
            self.began.get_or_insert(now.mono);
        }
    }

    /// Its source came to its end (Completed), or it is not wanted any more (Stopped). True where a run
    /// is to be drained now; a failure that waits for its retry is not tried again after Stopped.
    pub fn end(&mut self, why: End, now: Now) -> bool {
        match self.state {
            State::Running { from } => {
                self.enter(State::Ending { from, why }, now);
                true
            }
            State::Scheduled => {
                self.enter(State::Ended(why), now);
                false
            }
            State::Ending { .. } => false,
            State::Ended(_) => {
                self.retry_at = None;
                false
            }
        }
    }

    /// A task could not start or failed for good: `end` with the reason. True where the reason is
    /// another than that of the failure before, and so worth a line in the log.
    pub fn fail(&mut self, error: String, now: Now) -> bool {
        let news = self.error.as_ref() != Some(&error);
        self.error = Some(error);
        match self.state {
            // A failure while draining turns the run into a failed one.
            State::Running { from } | State::Ending { from, .. } => {
                self.enter(State::Ending { from, why: End::Failed }, now);
            }
            State::Scheduled | State::Ended(_) => {}
        }
        news
    }

    /// The run is drained and flushed. None where there was none.
    pub fn drained(&mut self, now: Now) -> Option<Run> {
        let State::Ending { from, why } = self.state else { return None };
        let length = now.mono.since(from);
        self.enter(State::Ended(why), now);
        if why == End::Failed {
            if length >= LONGEST_BACK_OFF {
                self.back_off = FIRST_BACK_OFF;
            }
            self.retry_at = Some(now.mono + self.back_off);
            self.back_off = (self.back_off * 2).min(LONGEST_BACK_OFF);
        }
        Some(Run { status: why, length })
    }

    pub fn state(&self) -> State {
        self.state
    }

    /// Since when it is in this state.
    pub fn since(&self) -> Timestamp {
        self.since
    }

    /// Of the newest failure.
    pub fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    /// How many runs have begun.
    pub fn runs(&self) -> u64 {
        self.runs
    }

    /// Whether readiness need not wait for it: it runs, waits for its time, has ended, or has failed.
    pub fn is_settled(&self, now: Now) -> bool {
        match self.state {
            State::Scheduled => self.start_at.is_some_and(|start| start > now.wall),
            _ => true,
        }
    }

    pub fn is_enabled(&self) -> bool {
        self.enabled
    }

    fn start(&mut self, now: Now) -> Action {
        self.runs += 1;
        self.enter(State::Running { from: now.mono }, now);
        Action::Start
    }

    fn enter(&mut self, state: State, now: Now) {
        self.state = state;
        self.since = now.wall;
    }

    fn is_over(&self, now: Now) -> bool {
        match self.end_on_wall() {
            Some(end) => end <= now.wall,
            None => self.began.zip(self.duration).is_some_and(|(began, duration)| began + duration <= now.mono),
        }
    }

    /// stopAt, which wins over duration; or the end of the window that startAt and duration make.
    fn end_on_wall(&self) -> Option<Timestamp> {
        let window = || {
            let length = u64::try_from(self.duration?.as_nanos()).unwrap_or(u64::MAX);
            Some(Timestamp(self.start_at?.0.saturating_add(length)))
        };
        self.stop_at.or_else(window)
    }
}

const FIRST_BACK_OFF: Duration = Duration::from_secs(1);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;
    /// The wall clock when the monotonic one is 0.
    const EPOCH: u64 = 1_800_000_000 * S;

    fn at(seconds: u64) -> Now {
        Now { wall: Timestamp(EPOCH + seconds * S), mono: Instant(seconds * S) }
    }

    fn directive() -> Directive {
        Directive {
            name: "a".to_owned(),
            enabled: true,
            start_at: None,
            stop_at: None,
            duration: None,
            condition: None,
            tasks: Vec::new(),
        }
    }

    fn wall(seconds: u64) -> Option<Timestamp> {
        Some(at(seconds).wall)
    }

    fn seconds(seconds: u64) -> Option<Duration> {
        Some(Duration::from_secs(seconds))
    }

    /// Asks every second from `from` to `to` and notes what was to be done when. Sources attach at once.
    fn actions(life: &mut Life, from: u64, to: u64) -> Vec<(u64, Action)> {
        (from..=to).filter_map(|second| start(life, at(second)).map(|action| (second, action))).collect()
    }

    fn start(life: &mut Life, now: Now) -> Option<Action> {
        let action = life.poll(now);
        if action == Some(Action::Start) {
            life.attached(now);
        }
        action
    }

    fn run(status: End, length: u64) -> Option<Run> {
        Some(Run { status, length: Duration::from_secs(length) })
    }

    #[test]
    fn without_times_it_runs_from_the_start_until_it_is_stopped() {
        let mut life = Life::new(&directive(), at(5));
        assert_eq!((life.state().name(), life.is_settled(at(5))), ("scheduled", false));
        assert_eq!(life.deadline(at(5)), Some(at(5).mono));
        assert_eq!(actions(&mut life, 5, 100), [(5, Action::Start)]);
        assert_eq!((life.state().name(), life.deadline(at(100))), ("running", None));
        assert!(life.end(End::Stopped, at(100)));
        assert!(!life.end(End::Stopped, at(100)), "a second stop finds nothing to drain");
        assert_eq!((life.state().name(), life.poll(at(101))), ("running", None), "while it drains");
        assert_eq!(life.drained(at(102)), run(End::Stopped, 97));
        assert_eq!(life.drained(at(102)), None);
        assert_eq!((life.state(), life.since(), life.runs()), (State::Ended(End::Stopped), at(102).wall, 1));
        assert_eq!(actions(&mut life, 102, 1000), []);
        assert_eq!(life.deadline(at(102)), None);
    }

    #[test]
    fn a_duration_without_start_at_counts_from_the_first_run() {
        let mut life = Life::new(&Directive { duration: seconds(30), ..directive() }, at(5));
        assert_eq!(actions(&mut life, 5, 34), [(5, Action::Start)]);
        assert_eq!(life.deadline(at(34)), Some(at(35).mono));
        assert_eq!(actions(&mut life, 35, 100), [(35, Action::End)]);
        assert_eq!(life.drained(at(36)), run(End::Completed, 31));
        assert_eq!(actions(&mut life, 36, 1000), [], "it has ended and does not run again");
    }

    #[test]
    fn loading_programs_takes_nothing_from_a_run_and_its_duration() {
        let mut life = Life::new(&Directive { duration: seconds(2), ..directive() }, at(0));
        assert_eq!(life.poll(at(0)), Some(Action::Start));
        assert_eq!((0..60).find_map(|second| life.poll(at(second))), None, "while its programs are loaded");
        life.attached(at(60));
        assert_eq!(life.deadline(at(60)), Some(at(62).mono));
        assert_eq!(actions(&mut life, 60, 100), [(62, Action::End)]);
        assert_eq!(life.drained(at(62)), run(End::Completed, 2));
        let mut window = Life::new(&Directive { start_at: wall(0), duration: seconds(2), ..directive() }, at(0));
        assert_eq!(window.poll(at(0)), Some(Action::Start));
        assert_eq!(window.poll(at(2)), Some(Action::End), "a window is absolute");
    }

    #[test]
    fn start_at_with_duration_is_an_absolute_window() {
        let window = Directive { start_at: wall(10), duration: seconds(20), ..directive() };
        let mut early = Life::new(&window, at(0));
        assert!(early.is_settled(at(0)), "readiness does not wait for a time ahead");
        assert_eq!(early.deadline(at(4)), Some(at(10).mono));
        assert_eq!(actions(&mut early, 0, 50), [(10, Action::Start), (30, Action::End)]);
        let mut within = Life::new(&window, at(25));
        assert_eq!(actions(&mut within, 25, 50), [(25, Action::Start), (30, Action::End)]);
        let mut late = Life::new(&window, at(30));
        assert_eq!(actions(&mut late, 30, 50), []);
        assert_eq!((late.state(), late.runs()), (State::Ended(End::Completed), 0));
        assert_eq!(late.drained(at(50)), None, "a run that never was is not counted");
    }

    #[test]
    fn stop_at_wins_over_duration_whether_it_is_earlier_or_later() {
        for (stop, duration) in [(10, 20), (20, 10)] {
            let mut life =
                Life::new(&Directive { stop_at: wall(stop), duration: seconds(duration), ..directive() }, at(0));
            assert_eq!(actions(&mut life, 0, 50), [(0, Action::Start), (stop, Action::End)]);
        }
    }

    #[test]
    fn the_wall_clock_being_set_moves_the_times_that_are_told_by_it() {
        let mut life = Life::new(&Directive { start_at: wall(100), duration: seconds(10), ..directive() }, at(0));
        assert_eq!(life.poll(at(1)), None);
        let set = |second: u64| Now { mono: at(second).mono, wall: at(second + 99).wall };
        assert_eq!(start(&mut life, set(2)), Some(Action::Start));
        assert_eq!(life.deadline(set(2)), Some(at(11).mono));
        let mut relative = Life::new(&Directive { duration: seconds(10), ..directive() }, at(0));
        assert_eq!(start(&mut relative, at(0)), Some(Action::Start));
        assert_eq!(relative.poll(set(9)), None, "a duration is not told by the wall clock");
        assert_eq!(relative.poll(set(10)), Some(Action::End));
    }

    #[test]
    fn a_failed_one_is_tried_again_after_one_second_doubling_to_five_minutes() {
        let mut life = Life::new(&directive(), at(0));
        let mut now = 0;
        assert_eq!(start(&mut life, at(now)), Some(Action::Start));
        for (attempt, back_off) in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300].into_iter().enumerate() {
            assert_eq!(life.fail("no BTF".to_owned(), at(now)), attempt == 0, "the same error is news once");
            assert_eq!(life.drained(at(now)), run(End::Failed, 0));
            assert_eq!((life.state(), life.error()), (State::Ended(End::Failed), Some("no BTF")));
            assert_eq!(life.deadline(at(now)), Some(at(now + back_off).mono));
            assert_eq!(actions(&mut life, now, now + back_off), [(now + back_off, Action::Start)]);
            now += back_off;
        }
        assert!(life.fail("another".to_owned(), at(now)));
        assert_eq!(life.runs(), 12);
    }

    #[test]
    fn a_run_that_lasted_begins_its_back_off_anew() {
        let mut life = Life::new(&directive(), at(0));
        for (from, length, back_off) in [(0, 0, 1), (1, 0, 2), (3, 299, 4), (306, 300, 1)] {
            assert_eq!(start(&mut life, at(from)), Some(Action::Start));
            life.fail("x".to_owned(), at(from + length));
            life.drained(at(from + length));
            assert_eq!(life.deadline(at(from + length)), Some(at(from + length + back_off).mono));
        }
    }

    #[test]
    fn a_failed_one_is_not_tried_again_once_its_time_is_over_or_it_is_stopped() {
        let mut life = Life::new(&Directive { duration: seconds(2), ..directive() }, at(0));
        assert_eq!(start(&mut life, at(0)), Some(Action::Start));
        life.fail("x".to_owned(), at(1));
        life.drained(at(1));
        assert_eq!(actions(&mut life, 1, 100), []);
        assert_eq!(life.state(), State::Ended(End::Failed));
        let mut stopped = Life::new(&directive(), at(0));
        assert_eq!(start(&mut stopped, at(0)), Some(Action::Start));
        stopped.fail("x".to_owned(), at(0));
        stopped.drained(at(0));
        assert!(!stopped.end(End::Stopped, at(0)), "there is no run to drain");
        assert_eq!(actions(&mut stopped, 0, 100), []);
    }

    #[test]
    fn a_failure_while_draining_makes_the_run_a_failed_one() {
        let mut life = Life::new(&directive(), at(0));
        life.poll(at(0));
        assert!(life.end(End::Completed, at(5)));
        life.fail("disk full".to_owned(), at(6));
        assert_eq!(life.drained(at(7)), run(End::Failed, 7));
    }

    #[test]
    fn a_disabled_one_never_runs_and_a_scheduled_one_that_is_stopped_neither() {
        let mut life = Life::new(&Directive { enabled: false, ..directive() }, at(0));
        assert_eq!((life.state(), life.is_settled(at(0))), (State::Ended(End::Stopped), true));
        assert_eq!(actions(&mut life, 0, 100), []);
        let mut scheduled = Life::new(&Directive { start_at: wall(10), ..directive() }, at(0));
        assert!(!scheduled.end(End::Stopped, at(5)));
        assert_eq!(actions(&mut scheduled, 5, 100), []);
        assert_eq!((scheduled.state(), scheduled.runs()), (State::Ended(End::Stopped), 0));
    }

    #[test]
    fn times_at_the_end_of_their_range_do_not_overflow() {
        let far = Directive { start_at: Some(Timestamp(u64::MAX - 1)), duration: Some(Duration::MAX), ..directive() };
        let mut life = Life::new(&far, at(0));
        assert_eq!(life.poll(at(0)), None);
        assert!(life.deadline(at(0)).is_some());
        let mut forever = Life::new(&Directive { duration: Some(Duration::MAX), ..directive() }, at(0));
        assert_eq!(actions(&mut forever, 0, 10), [(0, Action::Start)]);
    }
}
