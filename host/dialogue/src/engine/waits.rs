//! The script's pending call: when it is answered, and with what.
//!
//! Nothing here is triggered by an event. After every input the engine looks
//! whether the pending call has its answer now, so that no order of events can
//! lose one.

use super::handles::Item;
use super::{Engine, Output, Timer};
use crate::leg::LegCommand;
use crate::llm::{Finish, ModelTurn};
use crate::script::{Handle, HostError, HostReply, Reply};
use crate::time::Time;

/// What the script waits for. `own` handles belong to the call itself and are
/// forgotten with its answer.
#[derive(Clone, Debug)]
pub(super) enum Pending {
    /// To know whether there is early media.
    EarlyMedia,
    /// The call to be up.
    Answer,
    /// Digits to be sent. They are sent once the call is up; then they have a
    /// number.
    Digits { digits: String, number: Option<u32> },
    /// The prompt queue to be empty.
    Quiet,
    /// A prompt.
    Playback { handle: Handle, own: bool },
    /// Room for more text, or the end of the prompt.
    Write { handle: Handle },
    /// A listening.
    Heard { handle: Handle, own: bool },
    /// A prompt and a listening.
    Ask { playback: Handle, listening: Handle },
    /// An interim hypothesis.
    Partial { handle: Handle },
    /// Nothing: the hypotheses of a result.
    Alternatives { handle: Handle },
    /// Nothing: what a result means; without a handle, that of the last blocking listening.
    Meaning { handle: Option<Handle> },
    /// A transfer.
    Transfer { handle: Handle, own: bool },
    /// A context request.
    Fetch { handle: Handle, own: bool },
    /// A model's reply.
    ModelReply { handle: Handle, own: bool },
    /// A model's reply, and what the caller says then.
    ModelTurn { reply: Handle, listening: Handle },
    /// An event.
    Event { until: Option<Time> },
    /// Time.
    Sleep { until: Time },
    /// The first of several.
    Select { handles: Vec<Handle>, until: Option<Time> },
}

/// An answer, and whether it is secret.
type Answer = Option<(Reply, bool)>;

const fn plain(reply: Reply) -> Answer {
    Some((reply, false))
}

impl Engine {
    /// Starts to wait. The answer may be there at once.
    pub(super) fn wait(&mut self, pending: Pending) {
        let until = match &pending {
            Pending::Event { until } | Pending::Select { until, .. } => *until,
            Pending::Sleep { until } => Some(*until),
            _ => None,
        };
        self.timers.put(Timer::Wait, until);
        self.pending = Some(pending);
    }

    /// Answers the pending call where it can be.
    pub(super) fn answer_pending(&mut self) {
        let Some(mut pending) = self.pending.take() else { return };
        let Some((reply, sensitive)) = self.outcome(&mut pending) else {
            self.pending = Some(pending);
            return;
        };
        match pending {
            Pending::Playback { handle, own: true }
            | Pending::Transfer { handle, own: true }
            | Pending::Fetch { handle, own: true }
            | Pending::ModelReply { handle, own: true } => {
                self.handles.remove(handle);
            }
            Pending::Heard { handle, own: true } => self.keep_meaning(handle),
            Pending::Ask { playback, listening } => {
                self.handles.remove(playback);
                self.keep_meaning(listening);
                self.drop_listening(listening);
            }
            Pending::ModelTurn { reply, listening } => {
                self.handles.remove(reply);
                self.keep_meaning(listening);
                self.leave_listening(listening);
            }
            _ => {}
        }
        for timer in [Timer::Wait, Timer::Writer, Timer::Digits] {
            self.timers.clear(timer);
        }
        if sensitive {
            self.journal.secrets.remember(&reply);
        }
        self.outputs.push_back(Output::Reply { reply, sensitive });
    }

    fn outcome(&mut self, pending: &mut Pending) -> Answer {
        match pending {
            Pending::EarlyMedia => match self.alive() {
                Err(error) => plain(Err(error)),
                Ok(()) if self.line.is_opening() => None,
                Ok(()) => plain(self.no_early_media.take().map_or(Ok(HostReply::Done), Err)),
            },
            Pending::Answer => match self.alive() {
                Err(error) => plain(Err(error)),
                Ok(()) if self.line.is_up() => plain(Ok(HostReply::Done)),
                Ok(()) => None,
            },
            Pending::Quiet => match self.alive() {
                Err(error) => plain(Err(error)),
                Ok(()) if self.prompts.is_empty() => plain(Ok(HostReply::Done)),
                Ok(()) => None,
            },
            Pending::Digits { digits, number } => self.outcome_of_digits(digits, number),
            Pending::Playback { handle, .. } => match self.handles.get(*handle) {
                Some(Item::Playback { result, .. }) => plain(result.clone()?.map(HostReply::Playout)),
                _ => unknown(*handle),
            },
            Pending::Write { handle } => self.outcome_of_write(*handle),
            Pending::Heard { handle, .. } => match self.handles.get(*handle) {
                Some(Item::Listening { result, sensitive, .. }) => {
                    Some((result.clone()?.map(HostReply::Heard), *sensitive))
                }
                _ => unknown(*handle),
            },
            Pending::Ask { playback, listening } => self.outcome_of_ask(*playback, *listening),
            Pending::Partial { handle } => {
                let Some(Item::Listening { result, sensitive, .. }) = self.handles.get(*handle) else {
                    return unknown(*handle);
                };
                let (result, sensitive) = (result.as_ref().map(|result| result.as_ref().err().cloned()), *sensitive);
                match (self.handles.take_partial(*handle), result) {
                    (_, Some(Some(error))) => plain(Err(error)),
                    // Once the result is there, what led to it is of no interest.
                    (_, Some(None)) => plain(Ok(HostReply::MaybeUtterance(None))),
                    (Some(partial), None) => Some((Ok(HostReply::MaybeUtterance(Some(partial))), sensitive)),
                    (None, None) => None,
                }
            }
            Pending::Alternatives { handle } => match self.handles.get(*handle) {
                Some(Item::Listening { alternatives, sensitive, .. }) => {
                    Some((Ok(HostReply::Utterances(alternatives.clone())), *sensitive))
                }
                _ => unknown(*handle),
            },
            Pending::Meaning { handle: None } => {
                let (meaning, sensitive) = self.meaning.clone().unzip();
                Some((Ok(HostReply::MaybeJson(meaning)), sensitive.unwrap_or(false)))
            }
            Pending::Meaning { handle: Some(handle) } => match self.handles.get(*handle) {
                Some(Item::Listening { meaning, sensitive, .. }) => {
                    Some((Ok(HostReply::MaybeJson(meaning.clone())), *sensitive))
                }
                _ => unknown(*handle),
            },
            Pending::Transfer { handle, .. } => match self.handles.get(*handle) {
                Some(Item::Transfer { result, .. }) => plain(result.clone()?.map(HostReply::Transfer)),
                _ => unknown(*handle),
            },
            Pending::Fetch { handle, .. } => match self.handles.get(*handle) {
                Some(Item::Fetch { result, .. }) => plain(result.clone()?.map(HostReply::Json)),
                _ => unknown(*handle),
            },
            Pending::ModelReply { handle, .. } => match self.handles.get(*handle) {
                Some(Item::ModelReply { result, .. }) => {
                    plain(result.clone()?.map(|reply| HostReply::ModelReply(Box::new(reply))))
                }
                _ => unknown(*handle),
            },
            Pending::ModelTurn { reply, listening } => self.outcome_of_model_turn(*reply, *listening),
            Pending::Event { until } => {
                let event = self.events.pop_front();
                let none = self.ended.is_some() || self.passed(*until);
                (event.is_some() || none).then_some((Ok(HostReply::MaybeEvent(event)), false))
            }
            Pending::Sleep { until } => {
                (self.ended.is_some() || self.passed(Some(*until))).then_some((Ok(HostReply::Done), false))
            }
            Pending::Select { handles, until } => {
                let ready: Vec<u32> = (0..)
                    .zip(handles.iter())
                    .filter(|(_, handle)| self.is_ready(**handle))
                    .map(|(index, _)| index)
                    .collect();
                let nothing = handles.is_empty() && (until.is_none() || self.ended.is_some());
                (!ready.is_empty() || nothing || self.passed(*until)).then_some((Ok(HostReply::Ready(ready)), false))
            }
        }
    }

    /// A blocking listening is over and forgotten, but for what its answer means.
    fn keep_meaning(&mut self, handle: Handle) {
        self.meaning = match self.handles.remove(handle) {
            Some(Item::Listening { meaning: Some(meaning), sensitive, .. }) => Some((meaning, sensitive)),
            _ => None,
        };
    }

    fn outcome_of_digits(&mut self, digits: &str, number: &mut Option<u32>) -> Answer {
        if let Err(error) = self.alive() {
            return plain(Err(error));
        }
        match *number {
            None if self.line.is_up() => {
                self.digits_ordered = self.digits_ordered.wrapping_add(1);
                *number = Some(self.digits_ordered);
                let count = digits.chars().count();
                let limit = 5_000 + 600 * u64::try_from(count).unwrap_or(0);
                self.timers.set(Timer::Digits, self.now + limit);
                self.journal.note(self.now, "digits_sent", format!("{count} keys and pauses"));
                self.leg(LegCommand::SendDigits { digits: digits.to_owned() });
                None
            }
            Some(number) if self.digits_late >= number => plain(Err(HostError::TimedOut)),
            Some(number) if self.digits_done >= number => plain(Ok(HostReply::Done)),
            _ => None,
        }
    }

    fn outcome_of_ask(&self, playback: Handle, listening: Handle) -> Answer {
        let Some(Item::Playback { result: played, .. }) = self.handles.get(playback) else {
            return unknown(playback);
        };
        let Some(Item::Listening { result: heard, sensitive, .. }) = self.handles.get(listening) else {
            return unknown(listening);
        };
        match (played, heard) {
            // Without its prompt the question was not put: nobody is to answer it.
            (Some(Err(error)), _) => plain(Err(error.clone())),
            (Some(Ok(_)), Some(Err(error))) => plain(Err(error.clone())),
            (Some(Ok(prompt)), Some(Ok(heard))) => {
                let answer = HostReply::Answer { heard: heard.clone(), prompt: prompt.clone() };
                Some((Ok(answer), *sensitive))
            }
            (Some(Ok(_)) | None, _) => None,
        }
    }

    fn outcome_of_model_turn(&self, reply: Handle, listening: Handle) -> Answer {
        let Some(Item::ModelReply { result, .. }) = self.handles.get(reply) else { return unknown(reply) };
        let Some(Item::Listening { result: heard, sensitive, .. }) = self.handles.get(listening) else {
            return unknown(listening);
        };
        let reply = match result.clone()? {
            Ok(reply) => reply,
            Err(error) => return plain(Err(error)),
        };
        let heard = match heard {
            Some(Ok(heard)) => Some(heard.clone()),
            Some(Err(error)) => return plain(Err(error.clone())),
            // There is nothing to answer yet.
            None if matches!(reply.finish, Finish::ToolCalls | Finish::Broken(_)) => None,
            None => return None,
        };
        Some((Ok(HostReply::ModelTurn(Box::new(ModelTurn { reply, heard }))), *sensitive))
    }

    /// Whether a wait for this would return at once.
    pub(super) fn is_ready(&self, handle: Handle) -> bool {
        if handle == Handle::EVENTS {
            return !self.events.is_empty() || self.ended.is_some();
        }
        self.handles.is_ready(handle, self.now, self.ended.is_some())
    }

    fn passed(&self, until: Option<Time>) -> bool {
        until.is_some_and(|until| self.now >= until)
    }

    /// The leg has sent digits.
    pub(super) fn on_digits_sent(&mut self) {
        if self.digits_done < self.digits_ordered {
            self.digits_done += 1;
        }
    }

    /// The leg takes too long; it is not expected to report these any more.
    pub(super) const fn on_digits_limit(&mut self) {
        self.digits_late = self.digits_ordered;
        self.digits_done = self.digits_ordered;
    }
}

/// The script names something that it does not hold.
pub(super) fn unknown(handle: Handle) -> Answer {
    plain(Err(HostError::NotFound(format!("handle {}: unknown, dropped, or of another kind", handle.0))))
}
