//! What language models answered: given to the scenario as they wrote it.

use super::Maker;
use crate::scenario::{ModelAnswer, ModelCall, ModelFailure};
use callbox_dialogue::llm::{Finish, ModelReply};
use callbox_dialogue::script::{Handle, ListenOptions, Playout};
use callbox_dialogue::{HostCall, HostError, HostReply, Reply, Time};
use std::collections::BTreeMap;

/// About how long a simulated model takes to its first word.
const FIRST: u64 = 300;

/// Conversations and replies under way, by the name of their model.
pub(super) type Names = BTreeMap<Handle, String>;

impl Maker<'_> {
    /// Takes in what a model did. False where it is something else.
    pub(super) fn models(&mut self, call: &HostCall, reply: &Reply, now: Time, masked: bool) -> bool {
        match (call, reply) {
            (HostCall::OpenConversation { model }, Ok(HostReply::Handle(handle))) => {
                self.models.insert(*handle, model.clone());
            }
            (
                HostCall::StartModelReply { handle, .. } | HostCall::StartComplete { handle },
                Ok(HostReply::Handle(reply)),
            ) => {
                if let Some(model) = self.models.get(handle).cloned() {
                    self.models.insert(*reply, model);
                }
            }
            (
                HostCall::ModelReply { handle, .. }
                | HostCall::Complete { handle }
                | HostCall::AwaitModelReply { handle }
                | HostCall::CancelModelReply { handle },
                Ok(HostReply::ModelReply(said)),
            ) => {
                self.answered(*handle, said);
                if let Some(playout) = &said.playout {
                    let begun = now.0.saturating_sub(playout.played.into());
                    self.model_spoke(said, playout, Time(begun));
                }
            }
            (HostCall::AskModel { handle, options, .. }, Ok(HostReply::ModelTurn(turn))) => {
                self.answered(*handle, &turn.reply);
                if let Some(playout) = &turn.reply.playout {
                    let begun = self.at.max(self.quiet) + FIRST;
                    self.model_spoke(&turn.reply, playout, begun);
                }
                if let Some(heard) = &turn.heard {
                    let options: &ListenOptions = options;
                    self.heard(heard, options, self.at, now, masked);
                }
            }
            (
                HostCall::ModelReply { handle, .. }
                | HostCall::AskModel { handle, .. }
                | HostCall::Complete { handle }
                | HostCall::AwaitModelReply { handle },
                Err(error @ (HostError::TimedOut | HostError::Unavailable(_))),
            ) => {
                let fails = match error {
                    HostError::TimedOut => ModelFailure::TimedOut,
                    _ => ModelFailure::Unavailable,
                };
                self.model_answer(*handle, ModelAnswer { fails: Some(fails), ..ModelAnswer::default() });
            }
            _ => return false,
        }
        true
    }

    fn answered(&mut self, handle: Handle, reply: &ModelReply) {
        let calls = reply.tool_calls.iter().map(|call| ModelCall {
            name: call.name.clone(),
            // What was wrong with it is not on the tape; that it was no JSON object may be said again.
            arguments: match &call.problem {
                Some(problem) => problem.as_str().into(),
                None => serde_json::from_str(&call.arguments).unwrap_or_default(),
            },
        });
        let breaks = match &reply.finish {
            Finish::Broken(HostError::TimedOut) => Some(ModelFailure::TimedOut),
            Finish::Broken(_) => Some(ModelFailure::Unavailable),
            _ => None,
        };
        let says = (!reply.text.is_empty() || reply.tool_calls.is_empty()).then(|| reply.text.clone());
        self.model_answer(handle, ModelAnswer { says, calls: calls.collect(), breaks, ..ModelAnswer::default() });
    }

    fn model_answer(&mut self, handle: Handle, answer: ModelAnswer) {
        if let Some(model) = self.models.get(&handle).cloned() {
            self.given.models.entry(model).or_default().push(answer);
        }
    }

    /// Of a text that grows, the first sentence is what is expected.
    fn model_spoke(&mut self, reply: &ModelReply, playout: &Playout, begun: Time) {
        let first = reply.text.split_inclusive(['.', '?', '!', '。', '？', '！']).next().unwrap_or_default();
        self.says(first.trim());
        self.up(self.at);
        self.played(begun, playout, &[]);
    }
}
