//! What a scenario's caller has seen of its call so far, sorted by kind, and what of it has been expected already.

use crate::far_end::{Sight, awaits_the_caller};
use crate::model::conversation;
use callbox_dialogue::leg::PromptId;
use callbox_dialogue::script::{HostCall, LogLevel, TransferMode};
use callbox_dialogue::{ScriptEnd, Time};
use serde_json::Value;

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) prompts: Vec<Prompt>,
    /// Prompts that were expected, or passed over on the way to one that was.
    pub(super) prompts_taken: usize,
    /// The prompt that sounds.
    pub(super) sounding: Option<usize>,
    /// When the last prompt was over.
    pub(super) quiet_since: Time,
    /// When there was audio for the first time.
    pub(super) up: Option<Time>,
    /// It was the robot's turn at least once: it spoke, or waits for the caller.
    pub(super) turn: bool,
    /// The script waits for the caller right now.
    pub(super) awaited: bool,
    /// The caller has spoken, and the script was not told yet.
    pub(super) unheard: bool,
    pub(super) transferring: bool,
    pub(super) nodes: Queue<String>,
    pub(super) transfers: Queue<(String, TransferMode)>,
    pub(super) digits: Queue<String>,
    pub(super) fetches: Vec<Once<Fetch>>,
    /// Models, and the conversations they were given.
    pub(super) asks: Vec<Once<(String, String)>>,
    pub(super) pushes: Vec<Once<(String, Value)>>,
    pub(super) logs: Vec<Once<(LogLevel, String)>>,
    /// When the call was over.
    pub(super) ended: Option<Time>,
    pub(super) script_end: Option<ScriptEnd>,
}

/// A source and the parameters of the request.
pub(super) type Fetch = (String, Vec<(String, String)>);

/// Something the robot says.
#[derive(Debug)]
pub(super) struct Prompt {
    id: PromptId,
    pub(super) text: String,
    pub(super) heard: String,
    pub(super) started: Time,
    pub(super) ended: Option<Time>,
    pub(super) complete: bool,
}

/// Things that are expected in their order.
#[derive(Debug)]
pub(super) struct Queue<T> {
    pub(super) all: Vec<(Time, T)>,
    pub(super) taken: usize,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { all: Vec::new(), taken: 0 }
    }
}

impl<T> Queue<T> {
    /// Those that were not expected yet.
    pub(super) fn rest(&self) -> &[(Time, T)] {
        self.all.get(self.taken..).unwrap_or_default()
    }

    /// Takes the next that is so, and passes over those before it. When it came; none where there is none.
    pub(super) fn take(&mut self, is: impl Fn(&T) -> bool) -> Option<Time> {
        let (index, at) =
            self.rest().iter().enumerate().find_map(|(index, (at, what))| is(what).then_some((index, *at)))?;
        self.taken += index + 1;
        Some(at)
    }
}

/// Things that are expected in any order, each once.
#[derive(Debug)]
pub(super) struct Once<T> {
    pub(super) at: Time,
    pub(super) what: T,
    pub(super) taken: bool,
}

impl<T> Once<T> {
    const fn new(at: Time, what: T) -> Self {
        Self { at, what, taken: false }
    }
}

/// Takes the first that is so and was not taken yet. When it came; none where there is none.
pub(super) fn take_once<T>(all: &mut [Once<T>], is: impl Fn(&T) -> bool) -> Option<Time> {
    let found = all.iter_mut().find(|one| !one.taken && is(&one.what))?;
    found.taken = true;
    Some(found.at)
}

impl Seen {
    pub(super) fn saw(&mut self, at: Time, sight: &Sight) {
        match sight {
            Sight::EarlyMedia | Sight::Answered => {
                self.up.get_or_insert(at);
            }
            Sight::PromptStarted { prompt, text } => {
                self.turn = true;
                self.unheard = false;
                self.sounding = Some(self.prompts.len());
                let (text, heard) = (text.clone(), String::new());
                self.prompts.push(Prompt { id: *prompt, text, heard, started: at, ended: None, complete: false });
            }
            Sight::PromptEnded { prompt, text, heard_text, complete, .. } => {
                self.quiet_since = at;
                let sounding = self.sounding.take().and_then(|index| self.prompts.get_mut(index));
                if let Some(known) = sounding.filter(|known| known.id == *prompt) {
                    (known.text, known.heard) = (text.clone(), heard_text.clone());
                    (known.ended, known.complete) = (Some(at), *complete);
                }
            }
            Sight::Listening { .. } => self.turn = true,
            Sight::Heard { .. } => self.unheard = false,
            Sight::Asked { call } => {
                self.awaited = awaits_the_caller(call);
                self.turn |= matches!(call, HostCall::NextEvent { .. });
            }
            Sight::Replied { .. } => self.awaited = false,
            Sight::Digits { digits } => self.digits.all.push((at, digits.clone())),
            Sight::Transfer { target, mode, .. } => {
                self.transferring = true;
                self.transfers.all.push((at, (target.clone(), *mode)));
            }
            Sight::TransferEnded { .. } => self.transferring = false,
            Sight::Fetch { source, parameters } => {
                self.fetches.push(Once::new(at, (source.clone(), parameters.clone())));
            }
            Sight::AsksModel { request } => {
                self.asks.push(Once::new(at, (request.model.clone(), conversation(&request.messages))));
            }
            Sight::Pushed(push) => {
                // Scripts may push what is no JSON only where the engine does: never.
                let body = serde_json::from_str(&push.body).unwrap_or_else(|_| Value::String(push.body.clone()));
                self.pushes.push(Once::new(at, (push.destination.clone(), body)));
            }
            Sight::Logged(line) => self.logs.push(Once::new(at, (line.level, line.message.clone()))),
            Sight::Node { name } => self.nodes.all.push((at, name.clone())),
            Sight::ScriptEnded { end } => self.script_end = Some(end.clone()),
            Sight::Ended { .. } => {
                self.ended.get_or_insert(at);
            }
            _ => {}
        }
    }
}
