//! What came of a scenario.

use super::matching::DiffLine;
use super::player::Player;
use super::problem::Place;
use super::suite::Run;
use crate::stage::Stage;
use crate::told::Told;
use callbox_dialogue::Time;

/// What came of one call of a scenario.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// Why it failed; none where everything was as expected.
    pub failure: Option<Failure>,
    /// What is left of the call.
    pub told: Told,
}

/// Why a scenario failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The step.
    pub place: Place,
    /// The call's time at which it was settled.
    pub at: Time,
    /// What was expected.
    pub message: String,
    /// What came, in words.
    pub came: Option<String>,
    /// How the two differ.
    pub diff: Vec<DiffLine>,
}

impl Failure {
    pub(super) const fn new(place: Place, at: Time, message: String) -> Self {
        Self { place, at, message, came: None, diff: Vec::new() }
    }

    pub(super) fn came(mut self, came: impl Into<String>) -> Self {
        self.came = Some(came.into());
        self
    }

    pub(super) fn diff(mut self, diff: Vec<DiffLine>) -> Self {
        self.diff = diff;
        self
    }
}

impl Run {
    /// Plays the call on a stage.
    pub async fn play(&self, stage: &Stage) -> Verdict {
        let situation = self.situation();
        let mut player = Player::new(self);
        let told = stage.play(&situation, &mut player).await;
        Verdict { failure: player.finish(&told), told }
    }
}
