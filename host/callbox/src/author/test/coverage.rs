//! What no scenario has reached, as far as it can be known.
//!
//! Breadcrumbs and dispositions are known where the manifest declares them; a script's code is not searched for strings,
//! since what is found there may be anything. What can happen to every call – the caller hangs up, says nothing – and to
//! every source and transfer is known anyway.

use super::super::paint::Paint;
use callbox_dialogue::leg::TransferResult;
use callbox_dialogue::record::EndedBy;
use callbox_dialogue::script::{Heard, HostCall};
use callbox_dialogue::{HostReply, Reply};
use callbox_script::Manifest;
use callbox_sim::{Sight, Told};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// Names of one kind.
type Names = BTreeSet<String>;

/// What scenarios have reached.
#[derive(Debug, Default)]
pub(super) struct Coverage {
    declared_nodes: Names,
    declared_dispositions: Names,
    declared_sources: Names,
    nodes: Names,
    dispositions: Names,
    /// Sources that answered, and that failed or were late.
    answered: Names,
    failed: Names,
    /// By breadcrumb: how what was asked there was answered.
    menus: BTreeMap<String, Answers>,
    transfers: u32,
    failed_transfers: u32,
    hang_ups: u32,
}

/// How the questions of one breadcrumb were answered.
#[derive(Debug, Default)]
struct Answers {
    keys: BTreeSet<char>,
    numbers: bool,
    speech: bool,
    silence: bool,
}

impl Coverage {
    /// What the manifest declares.
    pub(super) fn declared(&mut self, manifest: &Manifest) {
        self.declared_nodes.extend(manifest.nodes.iter().cloned());
        self.declared_dispositions.extend(manifest.dispositions.iter().cloned());
        self.declared_sources.extend(manifest.sources.keys().cloned());
    }

    /// What a call reached.
    pub(super) fn saw(&mut self, told: &Told) {
        self.dispositions.extend(told.record.disposition.clone());
        self.hang_ups += u32::from(told.record.ended_by == Some(EndedBy::Caller));
        for (_, sight) in &told.sights {
            match sight {
                Sight::TransferEnded { result, .. } => {
                    self.transfers += 1;
                    self.failed_transfers += u32::from(matches!(result, TransferResult::Failed { .. }));
                }
                Sight::Fetched { source, result } => {
                    let reached = if result.is_ok() { &mut self.answered } else { &mut self.failed };
                    reached.insert(source.clone());
                }
                _ => {}
            }
        }
        let mut node = String::new();
        for exchange in &told.trace {
            match (&exchange.call, &exchange.reply) {
                (HostCall::EnterNode { name }, Some(Ok(_))) => {
                    node.clone_from(name);
                    self.nodes.insert(name.clone());
                }
                // One that ran into its limit never answered by itself.
                (HostCall::Fetch { source, .. }, Some(Err(_))) => {
                    self.failed.insert(source.clone());
                }
                (_, Some(reply)) => self.answered_at(&node, reply, exchange.sensitive),
                _ => {}
            }
        }
    }

    fn answered_at(&mut self, node: &str, reply: &Reply, sensitive: bool) {
        let heard = match reply {
            Ok(HostReply::Heard(heard) | HostReply::Answer { heard, .. }) => heard,
            Ok(HostReply::ModelTurn(turn)) => match &turn.heard {
                Some(heard) => heard,
                None => return,
            },
            _ => return,
        };
        let answers = self.menus.entry(node.to_owned()).or_default();
        match heard {
            Heard::Digits(digits) => {
                let mut keys = digits.chars();
                match (keys.next(), keys.next()) {
                    // A key that was given in confidence is a number like any other.
                    (Some(key), None) if !sensitive => {
                        answers.keys.insert(key);
                    }
                    _ => answers.numbers = true,
                }
            }
            Heard::Speech(_) => answers.speech = true,
            Heard::Nothing => answers.silence = true,
            Heard::NoMatch(_) => {}
        }
    }

    /// The summary, where there is something to say.
    pub(super) fn tell(&self, paint: Paint) -> String {
        let mut out = String::new();
        let mut lines = |title: &str, lines: Vec<String>| {
            if lines.is_empty() {
                return;
            }
            let _ = writeln!(out, "\n{}", paint.note(title));
            for line in lines {
                let _ = writeln!(out, "  {line}");
            }
        };
        lines("no scenario reached", self.missing());
        lines("not declared in callbox.toml", self.undeclared());
        lines("how questions were answered", self.menus.iter().map(|(node, answers)| answers.tell(node)).collect());
        out.truncate(out.trim_end().len());
        out
    }

    fn missing(&self) -> Vec<String> {
        let mut missing = Vec::new();
        let mut names = |kind: &str, names: Vec<&str>| {
            if !names.is_empty() {
                missing.push(format!("{kind}: {}", names.join(", ")));
            }
        };
        names("nodes", without(&self.declared_nodes, &self.nodes));
        names("dispositions", without(&self.declared_dispositions, &self.dispositions));
        names("an answer of the sources", without(&self.declared_sources, &self.answered));
        names("a failure of the sources", without(&self.declared_sources, &self.failed));
        if self.transfers > 0 && self.failed_transfers == 0 {
            missing.push("a transfer that fails".into());
        }
        if self.hang_ups == 0 {
            missing.push("a caller who hangs up".into());
        }
        let never_silent = self.menus.iter().filter(|(_, answers)| !answers.silence);
        let silent: Vec<_> = never_silent.map(|(node, _)| place(node)).collect();
        if !silent.is_empty() {
            missing.push(format!("a caller who says nothing: {}", silent.join(", ")));
        }
        missing
    }

    /// What was reached and is in no list; only where the manifest has that list.
    fn undeclared(&self) -> Vec<String> {
        let kinds = [
            ("nodes", &self.nodes, &self.declared_nodes),
            ("dispositions", &self.dispositions, &self.declared_dispositions),
        ];
        let found = kinds.iter().filter(|(_, _, declared)| !declared.is_empty()).map(|(kind, reached, declared)| {
            let names = without(reached, declared);
            (kind, names)
        });
        found
            .filter(|(_, names)| !names.is_empty())
            .map(|(kind, names)| format!("{kind}: {}", names.join(", ")))
            .collect()
    }
}

impl Answers {
    fn tell(&self, node: &str) -> String {
        let mut how = Vec::new();
        if !self.keys.is_empty() {
            let keys: Vec<_> = self.keys.iter().map(char::to_string).collect();
            how.push(format!("keys {}", keys.join(" ")));
        }
        for (reached, what) in [(self.numbers, "numbers"), (self.speech, "speech"), (self.silence, "silence")] {
            if reached {
                how.push(what.to_owned());
            }
        }
        if how.is_empty() {
            how.push("nothing that counts".into());
        }
        format!("{}: {}", place(node), how.join(", "))
    }
}

fn place(node: &str) -> &str {
    if node.is_empty() { "before the first node" } else { node }
}

fn without<'a>(all: &'a Names, some: &'a Names) -> Vec<&'a str> {
    all.difference(some).map(String::as_str).collect()
}
