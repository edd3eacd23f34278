//! What is wrong with a call.

use crate::told::Told;
use callbox_dialogue::time::Millis;
use callbox_dialogue::{ScriptEnd, Time};
use serde::Serialize;
use std::fmt;

/// What stands before the line of a source.
const SOURCE: &str = ".rs:";

/// What kind of thing is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The script trapped: a panic, unreachable code, an access out of bounds.
    Trap,
    /// The script returned an error while the call was up.
    Error,
    /// The script spent a budget: CPU time, memory, host calls. A loop without an end mostly.
    Budget,
    /// Nothing is said and nothing is listened for while the call is up.
    DeadEnd,
    /// The robot says the same again and again to somebody who does nothing.
    Loop,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Trap => "trap",
            Self::Error => "error",
            Self::Budget => "budget spent",
            Self::DeadEnd => "dead end",
            Self::Loop => "endless loop",
        })
    }
}

/// Something that is wrong with a script, as one call has shown it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What kind.
    pub kind: Kind,
    /// In words.
    pub what: String,
    /// When.
    pub at: Time,
    /// The same for calls that show the same.
    pub(super) key: String,
    /// The prompt behind which nothing came.
    pub(super) behind: Option<String>,
}

impl Finding {
    /// Nothing is said and nothing listened for.
    pub(super) fn dead_end(since: Time, bound: Millis, node: Option<&str>, waits: &str, said: Option<&str>) -> Self {
        let place = place(node, said);
        let seconds = bound / 1_000;
        let what =
            format!("nothing is said and nothing listened for during {seconds} s{place}; the script waits in {waits}");
        let key = format!("{}|{waits}|{}", node.unwrap_or_default(), form(said));
        Self { kind: Kind::DeadEnd, what, at: since, key, behind: said.map(ToOwned::to_owned) }
    }

    /// The same again and again.
    pub(super) fn endless(at: Time, times: usize, said: &str, node: Option<&str>) -> Self {
        let what = format!("{said:?} is said {times} times to a caller who does nothing, and there is no end to it");
        let key = format!("{}|{}", node.unwrap_or_default(), form(Some(said)));
        Self { kind: Kind::Loop, what, at, key, behind: None }
    }

    /// What the script's own end tells. An error after the end of the call is most often that very end, handed on.
    pub(super) fn of(told: &Told) -> Option<Self> {
        told.record.script_error.as_ref()?;
        let (kind, message) = match &told.run.end {
            ScriptEnd::Trapped { message } => (Kind::Trap, message),
            ScriptEnd::Failed { message } => (Kind::Error, message),
            ScriptEnd::Budget { message } => (Kind::Budget, message),
            ScriptEnd::NotStarted { .. } | ScriptEnd::Returned => return None,
        };
        let node = told.nodes().last();
        let what = format!("{}{}", message.trim(), place(node, None));
        // The same trap has the same trace. The same budget is spent in many places.
        let key = match kind {
            Kind::Budget => format!("{}|{}", node.unwrap_or_default(), gist(&outermost(message))),
            _ => gist(message),
        };
        Some(Self { kind, what, at: told.ended, key, behind: None })
    }

    /// Whether another call shows the same.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.kind == other.kind && self.key == other.key
    }
}

fn place(node: Option<&str>, said: Option<&str>) -> String {
    let node = node.map(|node| format!(" at node {node:?}")).unwrap_or_default();
    let said = said.filter(|said| !said.is_empty()).map(|said| format!(" after {said:?}")).unwrap_or_default();
    format!("{node}{said}")
}

/// A text without its numbers, so that two amounts do not make two prompts.
pub(super) fn form(text: Option<&str>) -> String {
    let mut form = String::new();
    for c in text.unwrap_or_default().chars() {
        match c {
            '0'..='9' if form.ends_with('#') => {}
            '0'..='9' => form.push('#'),
            c => form.push(c),
        }
    }
    form
}

/// The message of a spent budget with the outermost two functions of its trace: in which of the inner ones a loop is
/// stopped is chance.
fn outermost(message: &str) -> String {
    let Some((what, trace)) = message.split_once(", in ") else { return message.to_owned() };
    let frames: Vec<&str> = trace.split(" ← ").collect();
    let kept = &frames[frames.len().saturating_sub(2)..];
    format!("{what}, in {}", kept.join(" ← "))
}

/// A message without its numbers and what it quotes, so that two names do not make two findings; with the lines of
/// sources, which do.
fn gist(message: &str) -> String {
    let mut quoted = false;
    let unquoted: String = message
        .chars()
        .filter(|c| {
            quoted ^= *c == '"';
            !quoted || *c == '"'
        })
        .collect();
    let mut parts = unquoted.split(SOURCE);
    let mut gist = form(parts.next());
    for part in parts {
        let line = part.find(|c: char| !c.is_ascii_digit() && c != ':').unwrap_or(part.len());
        gist.push_str(SOURCE);
        gist.push_str(&part[..line]);
        gist.push_str(&form(Some(&part[line..])));
    }
    gist
}

#[cfg(test)]
mod tests {
    use super::{gist, outermost};

    #[test]
    fn what_differs_in_numbers_and_quotes_is_the_same() {
        let error = |zone: &str| gist(&format!("zone \"{zone}\" in line 12 is not known"));
        assert_eq!(error("Mars"), error(""));
        assert_eq!(error("Mars"), "zone \"\" in line # is not known");
        assert_ne!(gist("a trap"), gist("another"));
        let panic =
            |line: u32, index: u32| gist(&format!("panicked at src/lib.rs:{line}:5: index {index} of 3, after 7"));
        assert_eq!(panic(12, 4), panic(12, 50));
        assert_ne!(panic(12, 4), panic(13, 4), "two places are two mistakes");
    }

    #[test]
    fn a_loop_is_one_wherever_it_is_stopped() {
        let spent =
            |inner: &str| outermost(&format!("too long, in {inner}`run` (src/lib.rs:16) ← `#run` (src/lib.rs:2)"));
        assert_eq!(spent("`malloc` ← `to_owned` ← "), spent("`free` ← "));
        assert_eq!(spent(""), spent("`free` ← "));
        assert_eq!(outermost("too many calls"), "too many calls");
    }
}
