//! The language models of a simulated call: what they answer, in order, and how fast they write.

use callbox_dialogue::llm::{Event, Message, Request, Role, ToolCall};
use callbox_dialogue::script::Handle;
use callbox_dialogue::time::Millis;
use callbox_dialogue::{HostError, Time};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};

/// When a model writes its first token, and how many it writes in a second, where nothing else is said: as one on a
/// machine of its own.
const FIRST: Millis = 300;
const PACE: u16 = 40;

/// One answer of a model. It is given once: to the first request that it fits and for which none before it does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelPlan {
    /// Only where the last turn of the conversation contains this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// What it does.
    pub does: ModelDoes,
    /// So long until its first token, or its failure.
    pub after: Millis,
    /// How fast it writes then.
    pub tokens_per_second: u16,
}

/// What a model does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelDoes {
    /// It writes.
    Writes {
        /// The text.
        text: String,
        /// Tools that it then calls, each with its arguments as it writes them.
        calls: Vec<(String, String)>,
        /// How it ends.
        then: ModelEnd,
    },
    /// It fails at once.
    Fails(HostError),
    /// It gives no sign at all.
    Never,
}

/// How what a model writes comes to its end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelEnd {
    /// As it should.
    #[default]
    Done,
    /// It says the same again and again.
    Never,
    /// It breaks off.
    Breaks(HostError),
}

impl ModelPlan {
    /// It says so.
    #[must_use]
    pub fn says(text: impl Into<String>) -> Self {
        Self::does(ModelDoes::Writes { text: text.into(), calls: Vec::new(), then: ModelEnd::Done })
    }

    /// It calls a tool.
    #[must_use]
    pub fn calls(name: impl Into<String>, arguments: impl Into<String>) -> Self {
        let calls = vec![(name.into(), arguments.into())];
        Self::does(ModelDoes::Writes { text: String::new(), calls, then: ModelEnd::Done })
    }

    /// It does so, at the usual pace.
    #[must_use]
    pub const fn does(does: ModelDoes) -> Self {
        Self { when: None, does, after: FIRST, tokens_per_second: PACE }
    }

    fn fits(&self, request: &Request) -> bool {
        let Some(when) = &self.when else { return true };
        request.messages.last().is_some_and(|last| last.text.contains(when.as_str()))
    }
}

/// The models of one call.
#[derive(Debug)]
pub(crate) struct SimModels {
    answers: BTreeMap<String, VecDeque<ModelPlan>>,
    writing: BTreeMap<Handle, Writing>,
}

/// An answer that is being written.
#[derive(Debug)]
struct Writing {
    /// When the next piece comes.
    at: Time,
    /// The rest.
    pieces: VecDeque<Event>,
    /// From one to the next.
    pause: u64,
    /// What comes when there is no more.
    again: Vec<Event>,
}

impl SimModels {
    pub(crate) fn new(plans: &BTreeMap<String, Vec<ModelPlan>>) -> Self {
        let answers = plans.iter().map(|(name, plans)| (name.clone(), plans.iter().cloned().collect()));
        Self { answers: answers.collect(), writing: BTreeMap::new() }
    }

    /// From now on a model answers so.
    pub(crate) fn change(&mut self, name: String, plans: Vec<ModelPlan>) {
        self.answers.insert(name, plans.into());
    }

    /// The answer to a request; none where nobody has said what the model answers.
    pub(crate) fn planned(&mut self, request: &Request) -> Option<ModelPlan> {
        let answers = self.answers.get_mut(&request.model)?;
        let index = answers.iter().position(|plan| plan.fits(request))?;
        answers.remove(index)
    }

    /// A model is asked, and does this; it is not there where nobody knows what it does.
    pub(crate) fn ask(&mut self, now: Time, run: Handle, model: &str, plan: Option<ModelPlan>) {
        let plan = plan.unwrap_or_else(|| {
            let error = format!("model {model}: the simulation has no answer of it");
            ModelPlan { after: 0, ..ModelPlan::does(ModelDoes::Fails(HostError::Unavailable(error))) }
        });
        let (pieces, again) = match plan.does {
            ModelDoes::Never => return,
            ModelDoes::Fails(error) => (vec![Event::Failed { error }], Vec::new()),
            ModelDoes::Writes { text, calls, then } => {
                let written = tokens(&text);
                let mut pieces = written.clone();
                pieces.extend(calls.into_iter().map(|(name, arguments)| {
                    Event::ToolCall(ToolCall { id: String::new(), name, arguments, problem: None })
                }));
                let mut again = Vec::new();
                match then {
                    ModelEnd::Done => pieces.push(Event::Done { reason: "stop".into(), usage: None }),
                    ModelEnd::Breaks(error) => pieces.push(Event::Failed { error }),
                    ModelEnd::Never => again = written,
                }
                (pieces, again)
            }
        };
        let pause = 1_000 / u64::from(plan.tokens_per_second.max(1));
        let at = now + u64::from(plan.after);
        self.writing.insert(run, Writing { at, pieces: pieces.into(), pause: pause.max(1), again });
    }

    /// Nobody wants more of it.
    pub(crate) fn stop(&mut self, run: Handle) {
        self.writing.remove(&run);
    }

    /// When the next piece comes.
    pub(crate) fn next(&self) -> Option<Time> {
        self.writing.values().map(|writing| writing.at).min()
    }

    /// The piece that is due.
    pub(crate) fn fire(&mut self, now: Time) -> Option<(Handle, Event)> {
        let (run, writing) =
            self.writing.iter_mut().filter(|(_, writing)| writing.at <= now).min_by_key(|(run, it)| (it.at, **run))?;
        let run = *run;
        if writing.pieces.is_empty() {
            writing.pieces.extend(writing.again.iter().cloned());
        }
        let piece = writing.pieces.pop_front();
        // The end comes with the last token.
        let last = matches!(writing.pieces.front(), Some(Event::Done { .. }));
        writing.at = now + if last { 0 } else { writing.pause };
        let over = matches!(piece, None | Some(Event::Done { .. } | Event::Failed { .. }));
        if over {
            self.writing.remove(&run);
        }
        piece.map(|piece| (run, piece))
    }
}

/// A text as a model writes it: word by word, and character by character where each is a word of its own.
fn tokens(text: &str) -> Vec<Event> {
    let mut tokens = Vec::new();
    for word in text.split_inclusive(char::is_whitespace) {
        let mut piece = String::new();
        for c in word.chars() {
            piece.push(c);
            if callbox_dialogue::engine::is_wide(c) {
                tokens.push(std::mem::take(&mut piece));
            }
        }
        if !piece.is_empty() {
            tokens.push(piece);
        }
    }
    tokens.into_iter().map(|text| Event::Text { text }).collect()
}

/// A conversation for a person to read, a turn a line: `user: Hello`, `assistant calls find_slots {"day":1}`.
#[must_use]
pub fn conversation(messages: &[Message]) -> String {
    let mut lines = Vec::new();
    for message in messages {
        let role = message.role.as_str();
        if !message.text.is_empty() || message.role == Role::Tool {
            lines.push(format!("{role}: {}", message.text));
        }
        lines.extend(message.tool_calls.iter().map(|call| format!("{role} calls {} {}", call.name, call.arguments)));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(last: &str) -> Request {
        let messages = vec![Message::new(Role::User, last)];
        Request { model: "assistant".into(), messages, tools: vec![], temperature: None, max_tokens: 9, extra: vec![] }
    }

    fn all(models: &mut SimModels, now: u64, asked: &Request) -> Vec<(u64, Event)> {
        let plan = models.planned(asked);
        models.ask(Time(now), Handle(1), "assistant", plan);
        let mut events = Vec::new();
        while let Some(at) = models.next().filter(|_| events.len() < 20) {
            events.extend(models.fire(at).map(|(_, event)| (at.0, event)));
        }
        models.stop(Handle(1));
        events
    }

    #[test]
    fn answers_are_given_once_in_their_order_to_whom_they_fit() {
        let plans = vec![
            ModelPlan { when: Some("Tuesday".into()), ..ModelPlan::says("Tuesday it is.") },
            ModelPlan::says("Hello there."),
        ];
        let mut models = SimModels::new(&BTreeMap::from([("assistant".into(), plans)]));
        let text = |at, text: &str| (at, Event::Text { text: text.into() });
        let done = |at| (at, Event::Done { reason: "stop".into(), usage: None });
        let hello = vec![text(300, "Hello "), text(325, "there."), done(325)];
        assert_eq!(all(&mut models, 0, &request("Hi")), hello);
        assert_eq!(all(&mut models, 1_000, &request("On Tuesday?")).len(), 4);
        assert_eq!(models.planned(&request("Hi")), None, "there is no more");
        models.ask(Time(2_000), Handle(2), "assistant", None);
        assert!(matches!(models.fire(Time(2_000)), Some((Handle(2), Event::Failed { .. }))));
    }

    #[test]
    fn a_model_that_never_stops_goes_on_until_it_is_stopped() {
        let does = ModelDoes::Writes { text: "on ".into(), calls: vec![], then: ModelEnd::Never };
        let plans = BTreeMap::from([("assistant".into(), vec![ModelPlan::does(does)])]);
        let mut models = SimModels::new(&plans);
        assert_eq!(all(&mut models, 0, &request("Hi")).len(), 20);
        assert_eq!(models.next(), None);
    }
}
