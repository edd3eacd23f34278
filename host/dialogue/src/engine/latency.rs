//! How long a caller waits for an answer: from the end of what was said, or the key that decided, to the first packet
//! of the prompt that answers.
//!
//! The parts are the distances between moments that follow each other, so that they add up whatever a leg reports.

use super::Engine;
use crate::leg::PromptId;
use crate::record::Latency;
use crate::time::{Millis, Time};

/// A caller's turn that has no answer yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unanswered {
    /// The end of the speech, by the time of its audio; or the deciding key.
    ended: Time,
    /// When it was clear that nothing more would come.
    decided: Time,
    /// When the result was there.
    heard: Time,
    /// The last prompt that was asked for before that: no answer to it.
    before: u32,
}

impl Engine {
    /// The caller has had their turn, and the script is told now.
    pub(super) fn turn_taken(&mut self, ended: Time, decided: Time) {
        let decided = decided.min(self.now);
        let ended = ended.min(decided);
        self.unanswered = Some(Unanswered { ended, decided, heard: self.now, before: self.prompts.last_id() });
    }

    /// The first packet of a prompt has left: how long the caller has waited for it, where it answers. `asked` is when
    /// there was something to say, `ready` when it could be played.
    pub(super) fn turn_answered(&mut self, id: PromptId, asked: Option<Time>, ready: Option<Time>) -> Option<Latency> {
        let turn = self.unanswered.take_if(|turn| id.0 > turn.before)?;
        let now = self.now;
        let asked = asked.unwrap_or(now).clamp(turn.heard, now);
        let ready = ready.unwrap_or(now).clamp(asked, now);
        let ms = |from: Time, to: Time| Millis::try_from(to.since(from)).unwrap_or(Millis::MAX);
        let latency = Latency {
            endpointing_ms: ms(turn.ended, turn.decided),
            recognition_ms: ms(turn.decided, turn.heard),
            script_ms: ms(turn.heard, asked),
            first_token_ms: self.first_token(id),
            synthesis_ms: ms(asked, ready),
            playout_ms: ms(ready, now),
            total_ms: ms(turn.ended, now),
        };
        self.journal.note(now, "turn", latency.to_string());
        Some(latency)
    }
}
