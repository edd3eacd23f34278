//! Calls as they go on, line by line.

use super::super::data;
use super::super::transcript::{Label, Paper};
use callbox_call::Platform;
use callbox_dialogue::record::{Role, TimelineEntry, Turn};
use callbox_dialogue::{CallId, Time};
use callbox_store::calls::{CallFilter, CallSummary};
use callbox_store::{PageRequest, Store, StoreError, TenantId};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::sleep;

/// How often it is looked what is new.
const LOOK: Duration = Duration::from_millis(100);
/// Calls that are looked at.
const CALLS: u32 = 100;

/// Writes down all calls of a tenant, until it is dropped.
pub(super) async fn tell(platform: Platform, store: Store, tenant: TenantId) {
    let mut teller = Teller { platform, store, tenant, paper: Paper::of_stdout(), told: BTreeMap::new(), count: 0 };
    loop {
        if let Err(error) = teller.look().await {
            tracing::error!(%error, "calls cannot be looked at");
        }
        sleep(LOOK).await;
    }
}

struct Teller {
    platform: Platform,
    store: Store,
    tenant: TenantId,
    paper: Paper,
    told: BTreeMap<String, Told>,
    count: u32,
}

/// What was told of a call.
#[derive(Default)]
struct Told {
    number: u32,
    turns: usize,
    happenings: usize,
    over: bool,
}

impl Teller {
    async fn look(&mut self) -> Result<(), StoreError> {
        let page = PageRequest { cursor: None, limit: Some(CALLS) };
        let calls = self.store.calls(&self.tenant, &CallFilter::default(), &page).await?.data;
        // The oldest first.
        for call in calls.iter().rev() {
            if !self.told.contains_key(&call.id) {
                self.count += 1;
                let told = Told { number: self.count, ..Told::default() };
                self.told.insert(call.id.clone(), told);
                let version = call.script_version.map(|version| format!(", version {version}")).unwrap_or_default();
                let heading = format!("call {} from {} to {}{version}", self.count, call.from, call.to);
                say(&callbox_sim::trace::printable(&heading, 300));
            }
            self.follow(call).await?;
        }
        self.told.retain(|id, told| !told.over || calls.iter().any(|call| call.id == *id));
        Ok(())
    }

    async fn follow(&mut self, call: &CallSummary) -> Result<(), StoreError> {
        let id = CallId(call.id.clone());
        let Some(mut told) = self.told.remove(&call.id) else { return Ok(()) };
        if !told.over {
            // Asked before the snapshot: what is not open then has all of it in the store.
            told.over = !self.platform.is_open(&self.tenant, &id);
            if told.over {
                let (turns, happenings) = (
                    self.store.transcript(&self.tenant, &call.id).await?,
                    self.store.timeline(&self.tenant, &call.id).await?,
                );
                self.show(&mut told, &turns, &happenings);
                let call = self.store.call(&self.tenant, &call.id).await?.summary;
                let mut line = format!("call {} is over", told.number);
                for (what, value) in [("outcome", &call.outcome), ("disposition", &call.disposition)] {
                    if let Some(value) = value {
                        line.push_str(&format!(", {what} {value}"));
                    }
                }
                say(&callbox_sim::trace::printable(&line, 300));
            } else if let Ok(snapshot) = self.platform.snapshot(&self.tenant, &id).await {
                self.show(&mut told, &snapshot.record.transcript, &snapshot.record.timeline);
            }
        }
        self.told.insert(call.id.clone(), told);
        Ok(())
    }

    /// Shows what is new of a call, in order.
    fn show(&self, told: &mut Told, turns: &[Turn], happenings: &[TimelineEntry]) {
        let new = turns.get(told.turns..).unwrap_or_default();
        let mut lines: Vec<(Time, String)> = new.iter().map(|turn| self.turn(turn)).collect();
        let new = happenings.get(told.happenings..).unwrap_or_default();
        lines.extend(new.iter().filter_map(|entry| Some((entry.at, self.happening(entry)?))));
        (told.turns, told.happenings) = (turns.len(), happenings.len());
        lines.sort_by_key(|(at, _)| *at);
        for (_, line) in lines {
            say(&format!("{} {line}", told.number));
        }
    }

    fn turn(&self, turn: &Turn) -> (Time, String) {
        let at = Time(turn.start_ms);
        let line = match turn.role {
            Role::Robot => self.paper.line(at, Label::Robot, "robot", &turn.text),
            Role::Caller => {
                let text = turn.digits.as_ref().map_or_else(|| turn.text.clone(), |digits| format!("presses {digits}"));
                self.paper.line(at, Label::Caller, "caller", &text)
            }
        };
        (at, line)
    }

    /// The line of a happening, where the turns do not tell of it.
    fn happening(&self, entry: &TimelineEntry) -> Option<String> {
        let label = match entry.kind.as_str() {
            "ringing" | "early_media" | "answered" | "transfer" | "ended" | "drain" | "message" => Label::Call,
            "node" | "push" | "fetch" | "fetched" | "log" => Label::Script,
            "prompt_failed" | "recogniser_failed" | "script_error" | "script_stopped" | "fallback" | "leg_silent" => {
                Label::Trouble
            }
            _ => return None,
        };
        Some(self.paper.line(entry.at, label, &entry.kind, &entry.detail))
    }
}

fn say(line: &str) {
    // Nobody may be looking.
    let _ = data(line);
}
