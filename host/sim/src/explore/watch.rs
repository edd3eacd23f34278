//! Sees when the robot leaves its caller alone: says and hears nothing, or the same again and again.

use super::finding::Finding;
use crate::far_end::{Act, Sight};
use callbox_dialogue::script::{Handle, HostReply};
use callbox_dialogue::time::Millis;
use callbox_dialogue::{HostCall, Time};
use callbox_script::import_name;

/// How often the same prompt may be said to somebody who does nothing.
const SAME: usize = 10;
/// Different prompts that are counted.
const PROMPTS: usize = 256;

/// Watches a call.
#[derive(Debug)]
pub(super) struct Watch {
    dead_after: Millis,
    /// The robot speaks.
    sounding: bool,
    pub(super) listening: bool,
    pub(super) up: bool,
    pub(super) over: bool,
    /// A transfer, or keys that the robot presses, are under way.
    pub(super) busy: bool,
    waits: Option<HostCall>,
    node: Option<String>,
    last: String,
    /// Since when nobody says, hears or waits for anything that brings the call on.
    idle_since: Time,
    /// How often each prompt was said since the caller did something.
    same: Vec<(String, usize)>,
    /// What was seen already.
    endless: Option<Finding>,
}

impl Watch {
    pub(super) fn new(dead_after: Millis) -> Self {
        Self {
            dead_after,
            sounding: false,
            listening: false,
            up: false,
            over: false,
            busy: false,
            waits: None,
            node: None,
            last: String::new(),
            idle_since: Time::ZERO,
            same: Vec::new(),
            endless: None,
        }
    }

    /// What there is to see in a call that is over.
    pub(super) fn find<'a>(dead_after: Millis, sights: impl IntoIterator<Item = &'a (Time, Sight)>) -> Option<Finding> {
        let mut watch = Self::new(dead_after);
        for (at, sight) in sights {
            let found = watch.finding(Some(*at));
            if found.is_some() {
                return found;
            }
            watch.saw(*at, sight);
        }
        watch.endless
    }

    /// What is wrong already, or will be if nothing happens before `next`.
    pub(super) fn finding(&self, next: Option<Time>) -> Option<Finding> {
        if self.endless.is_some() {
            return self.endless.clone();
        }
        let bound = self.idle_since + u64::from(self.dead_after);
        let dead = self.is_idle() && next.is_none_or(|next| next >= bound);
        let waits = self.waits.as_ref().map_or("nothing", import_name);
        let said = Some(self.last.as_str());
        dead.then(|| Finding::dead_end(self.idle_since, self.dead_after, self.node.as_deref(), waits, said))
    }

    /// Whether nobody says, hears or waits for anything that would bring the call on.
    fn is_idle(&self) -> bool {
        let waits_for_events = match &self.waits {
            Some(HostCall::NextEvent { .. }) => true,
            Some(HostCall::Select { handles, .. }) => handles.contains(&Handle::EVENTS),
            _ => false,
        };
        let waits = self.waits.is_some() && !waits_for_events;
        self.up && !self.over && !self.busy && !self.sounding && !self.listening && waits
    }

    pub(super) fn saw(&mut self, at: Time, sight: &Sight) {
        let idle = self.is_idle();
        self.take_in(at, sight);
        if !idle || !self.is_idle() {
            self.idle_since = at;
        }
    }

    fn take_in(&mut self, at: Time, sight: &Sight) {
        match sight {
            Sight::Answered | Sight::EarlyMedia => self.up = true,
            Sight::PromptStarted { text, .. } => {
                self.sounding = true;
                self.count(at, text);
            }
            Sight::PromptEnded { text, .. } => {
                self.sounding = false;
                self.last.clone_from(text);
            }
            Sight::Listening { .. } => self.listening = true,
            Sight::Transfer { .. } | Sight::Digits { .. } => self.busy = true,
            Sight::TransferEnded { .. } => self.busy = false,
            Sight::Asked { call } => self.waits = Some(call.clone()),
            Sight::Replied { reply, .. } => {
                if matches!(self.waits.take(), Some(HostCall::SendDigits { .. })) {
                    self.busy = false;
                }
                if matches!(reply, Ok(HostReply::Heard(_) | HostReply::Answer { .. }) | Err(_)) {
                    self.listening = false;
                }
            }
            Sight::Did { act: Act::Press { .. } | Act::Say(_) | Act::Noise { .. } | Act::Message { .. } } => {
                self.same.clear();
            }
            Sight::Node { name } => self.node = Some(name.clone()),
            Sight::Ended { .. } => self.over = true,
            Sight::ScriptEnded { .. } => self.waits = None,
            _ => {}
        }
    }

    fn count(&mut self, at: Time, text: &str) {
        let known = self.same.iter().position(|(said, _)| said == text);
        let place = known.or_else(|| {
            let room = self.same.len() < PROMPTS;
            room.then(|| self.same.push((text.to_owned(), 0))).map(|()| self.same.len() - 1)
        });
        let Some((_, times)) = place.and_then(|place| self.same.get_mut(place)) else { return };
        *times += 1;
        let times = *times;
        if times > SAME && !text.is_empty() && self.endless.is_none() {
            self.endless = Some(Finding::endless(at, times, text, self.node.as_deref()));
        }
    }
}
