//! What the answers to OPTIONS say about an address: a small machine with hysteresis, so that one lost packet takes
//! nothing down and one lucky answer brings nothing up.

use crate::settings::Health;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How an address is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = TrunkHealthState)]
pub enum State {
    /// Nobody has asked yet, or nobody asks: it is used.
    #[default]
    Unknown,
    /// It answers.
    Up,
    /// It failed a moment ago, or has just come back: used after the others of its priority.
    Degraded,
    /// It is not used while another is.
    Down,
}

/// What came of one question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// An answer with this status. Any is a sign of life – a far end may refuse OPTIONS – but 408, 500, 502, 503 and 504:
    /// those say that something behind it does not work, or that it wants no calls.
    Answered(u16),
    /// No answer, or no way there.
    Silent,
}

impl Probe {
    /// Whether calls may be expected to get through.
    #[must_use]
    pub const fn is_good(self) -> bool {
        match self {
            Self::Answered(status) => !matches!(status, 408 | 500 | 502 | 503 | 504),
            Self::Silent => false,
        }
    }
}

/// The longest pause between questions while it is not clear how an address is, in milliseconds.
const SOON_MS: u64 = 5_000;

/// The machine of one address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    state: State,
    /// Good or bad answers in a row that speak against the state.
    streak: u8,
}

/// A state that has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// It was so.
    pub from: State,
    /// It is so.
    pub to: State,
}

impl Machine {
    /// How the address is.
    #[must_use]
    pub const fn state(&self) -> State {
        self.state
    }

    /// Takes in what came of a question; the change, where the state has changed.
    pub fn probed(&mut self, probe: Probe, settings: &Health) -> Option<Change> {
        let from = self.state;
        let (state, streak) = match (self.state, probe.is_good()) {
            (State::Unknown | State::Up, true) => (State::Up, 0),
            (State::Unknown | State::Up, false) => fall(0, settings),
            (State::Degraded, true) => (State::Up, 0),
            (State::Degraded, false) => fall(self.streak, settings),
            (State::Down, true) if self.streak + 1 >= settings.up_after => (State::Up, 0),
            (State::Down, true) => (State::Down, self.streak + 1),
            (State::Down, false) => (State::Down, 0),
        };
        (self.state, self.streak) = (state, streak);
        (from != state).then_some(Change { from, to: state })
    }

    /// When the next question is due, after this one, in milliseconds; none where nothing is to be asked.
    #[must_use]
    pub fn pause_ms(&self, settings: &Health) -> Option<u64> {
        let regular = u64::from(settings.options_interval_s) * 1_000;
        let pause = match self.state {
            State::Up => regular,
            State::Unknown | State::Degraded | State::Down => regular.min(SOON_MS),
        };
        (regular > 0).then_some(pause)
    }
}

fn fall(streak: u8, settings: &Health) -> (State, u8) {
    let streak = streak.saturating_add(1);
    if streak >= settings.down_after { (State::Down, 0) } else { (State::Degraded, streak) }
}

/// How a trunk is, by its addresses: up while any can be used.
#[must_use]
pub fn of_trunk(addresses: impl IntoIterator<Item = State>) -> State {
    let mut all = Vec::from_iter(addresses);
    // The best one counts.
    all.sort_by_key(|state| match state {
        State::Up => 0,
        State::Unknown => 1,
        State::Degraded => 2,
        State::Down => 3,
    });
    match (all.first(), all.last()) {
        (Some(State::Up | State::Unknown), Some(State::Degraded | State::Down)) => State::Degraded,
        (Some(best), _) => *best,
        (None, _) => State::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn run(probes: &str, settings: &Health) -> Vec<State> {
        let mut machine = Machine::default();
        let probe = |letter| if letter == '+' { Probe::Answered(200) } else { Probe::Silent };
        probes.chars().filter_map(|letter| machine.probed(probe(letter), settings).map(|change| change.to)).collect()
    }

    #[test]
    fn it_takes_several_to_change_a_mind() {
        use State::{Degraded, Down, Up};
        let settings = Health { options_interval_s: 30, down_after: 3, up_after: 2 };
        assert_eq!(run("++++", &settings), [Up]);
        assert_eq!(run("+-+", &settings), [Up, Degraded, Up]);
        assert_eq!(run("+--+---", &settings), [Up, Degraded, Up, Degraded, Down]);
        assert_eq!(run("---+-++", &settings), [Degraded, Down, Up]);
        let hasty = Health { down_after: 1, up_after: 1, ..settings };
        assert_eq!(run("+-+-", &hasty), [Up, Down, Up, Down]);
    }

    #[test]
    fn a_refusal_is_a_sign_of_life_and_503_is_not() {
        for status in [200, 401, 403, 404, 405, 481, 486, 501, 603] {
            assert!(Probe::Answered(status).is_good(), "{status}");
        }
        for status in [408, 500, 502, 503, 504] {
            assert!(!Probe::Answered(status).is_good(), "{status}");
        }
    }

    #[test]
    fn doubt_is_cleared_up_soon() {
        let settings = Health::default();
        let mut machine = Machine::default();
        assert_eq!(machine.pause_ms(&settings), Some(5_000));
        machine.probed(Probe::Answered(200), &settings);
        assert_eq!(machine.pause_ms(&settings), Some(30_000));
        machine.probed(Probe::Silent, &settings);
        assert_eq!(machine.pause_ms(&settings), Some(5_000));
        assert_eq!(machine.pause_ms(&Health { options_interval_s: 0, ..settings }), None);
    }

    #[test]
    fn a_trunk_is_up_while_an_address_is() {
        use State::{Degraded, Down, Unknown, Up};
        for (addresses, trunk) in [
            (vec![], Unknown),
            (vec![Up, Up], Up),
            (vec![Down, Up], Degraded),
            (vec![Down, Down], Down),
            (vec![Degraded, Down], Degraded),
            (vec![Unknown, Unknown], Unknown),
        ] {
            assert_eq!(of_trunk(addresses.clone()), trunk, "{addresses:?}");
        }
    }

    proptest! {
        #[test]
        fn down_needs_as_many_failures_in_a_row_as_set_and_up_as_many_answers(
            probes in prop::collection::vec(any::<bool>(), 0..60), down_after in 1_u8..6, up_after in 1_u8..6,
        ) {
            let settings = Health { options_interval_s: 10, down_after, up_after };
            let mut machine = Machine::default();
            let (mut bad, mut good) = (0, 0);
            for ok in probes {
                (bad, good) = if ok { (0, good + 1) } else { (bad + 1, 0) };
                let change = machine.probed(if ok { Probe::Answered(200) } else { Probe::Silent }, &settings);
                match change {
                    Some(Change { to: State::Down, .. }) => prop_assert!(bad >= down_after),
                    Some(Change { from: State::Down, to }) => prop_assert!(to == State::Up && good >= up_after),
                    _ => {}
                }
                if bad >= down_after {
                    prop_assert_eq!(machine.state(), State::Down);
                }
            }
        }
    }
}
