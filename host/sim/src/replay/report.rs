//! A replay for a person to read: what came of it, its calls, and the first difference side by side.

use super::{Difference, Open, Point, Replayed, Step, Verdict};
use crate::trace::Renderer;
use callbox_dialogue::{HostCall, ScriptEnd, Time};
use callbox_script::import_name;
use serde_json::Value;
use similar::{ChangeTag, TextDiff};
use std::fmt::Write as _;

/// Calls shown before a difference.
const BEFORE: usize = 5;
/// Equal lines shown around those that differ.
const AROUND: usize = 2;
/// Characters of a line of arguments.
const WIDTH: usize = 160;
/// Characters shown before the first that differs, where a line is longer.
const LEAD: usize = 40;

impl Replayed {
    /// What came of it, in a sentence or two.
    #[must_use]
    pub fn sentence(&self) -> String {
        let mut text = match &self.verdict {
            Verdict::Same => format!("The same: {} and the end.", calls(self.same)),
            Verdict::Open(open) => {
                format!("The same as far as the tape goes: {}. {}", calls(self.same), open_sentence(open))
            }
            Verdict::Different(difference) => self.headline("Different", difference),
            Verdict::Unprovable { masked, difference } => format!(
                "Cannot be proven beyond entry {masked}: its answer is masked on the tape, so the script got `[masked]` \
                 where the caller gave something in confidence. With that it did something else. {}",
                self.headline("There:", difference)
            ),
        };
        if let (Verdict::Same | Verdict::Open(_), Some(masked)) = (&self.verdict, self.masked) {
            let _ = write!(text, " Entry {masked} is masked on the tape; nothing that was asked depends on it.");
        }
        if self.only_on_tape + self.only_asked > 0 {
            let (tape, asked) = (calls(self.only_on_tape), calls(self.only_asked));
            let _ = write!(text, " Looked past: {tape} only on the tape, {asked} only of this script.");
        }
        text
    }

    fn headline(&self, word: &str, difference: &Difference) -> String {
        let at = crate::trace::clock(self.time_after(difference.after));
        format!("{word} after {} that {} the same, {at} into the call.", calls(difference.after), are(difference.after))
    }

    /// The difference, where there is one: the calls before it, what the tape has and what the script did, and where
    /// the script was.
    #[must_use]
    pub fn difference(&self) -> Option<String> {
        let (Verdict::Different(difference) | Verdict::Unprovable { difference, .. }) = &self.verdict else {
            return None;
        };
        let mut lines = self.lines();
        let mut out = String::new();
        let before = lines.split_off(lines.len().saturating_sub(BEFORE));
        if !lines.is_empty() {
            let _ = writeln!(out, "     …");
        }
        for line in before {
            let _ = writeln!(out, "{line}");
        }
        let _ = writeln!(out, "  tape  {}", point(&difference.tape));
        let _ = writeln!(out, "script  {}", point(&difference.script));
        if let Some(place) = &difference.place {
            let _ = writeln!(out, "        {}", shown(place));
        }
        if let (Point::Call(tape) | Point::Unanswered(tape), Point::Call(script)) =
            (&difference.tape, &difference.script)
            && import_name(tape) == import_name(script)
        {
            out.push('\n');
            arguments(&mut out, tape, script);
        }
        Some(out)
    }

    /// All calls, one line each: as on the tape by the number of the entry; `+` only of this script, `-` only on the
    /// tape.
    #[must_use]
    pub fn trace(&self) -> String {
        self.lines().into_iter().fold(String::new(), |mut out, line| {
            out.push_str(&line);
            out.push('\n');
            out
        })
    }

    fn lines(&self) -> Vec<String> {
        let mut renderer = Renderer::default();
        let mut at = Time::ZERO;
        let mut line = |step: &Step| {
            let (mark, index) = match step {
                Step::Same(index) => (' ', index),
                Step::OnlyOnTape(index) => ('-', index),
                Step::OnlyAsked(call) => {
                    return format!("     +  {}  {}", crate::trace::clock(at), renderer.asked(call));
                }
            };
            let Some(entry) = self.recording.entries.get(*index) else { return String::new() };
            let asked = at;
            at = at.max(entry.at);
            let line = renderer.line(asked, at, &entry.call, &entry.reply, entry.masked);
            format!("{:>6}{mark} {line}", entry.seq)
        };
        self.steps.iter().map(&mut line).collect()
    }

    /// The call's time when so many entries were answered.
    fn time_after(&self, entries: u32) -> Time {
        let before = self.recording.entries.iter().take(entries as usize);
        before.map(|entry| entry.at).max().unwrap_or(Time::ZERO)
    }
}

fn calls(count: u32) -> String {
    if count == 1 { "1 call".into() } else { format!("{count} calls") }
}

const fn are(count: u32) -> &'static str {
    if count == 1 { "is" } else { "are" }
}

fn open_sentence(open: &Open) -> String {
    match open {
        Open::Full => "The tape was full then; what followed is not on it.".into(),
        Open::NoEnd => {
            "The script asks more; the tape is of a host that did not write down how the script ended.".into()
        }
        Open::Stopped => "There the host stopped the live call's script while it computed.".into(),
        Open::Budget(message) => {
            format!("There the live call's script was ended for its budget ({}); this one goes on.", shown(message))
        }
        Open::NotStarted(message) => format!("The live call's script could not be started: {}", shown(message)),
    }
}

fn point(point: &Point) -> String {
    match point {
        Point::Call(call) => Renderer::default().asked(call),
        Point::Unanswered(call) => format!("{}, never answered", Renderer::default().asked(call)),
        Point::End(end) => match end {
            ScriptEnd::Returned => "returns".into(),
            ScriptEnd::Failed { message } => format!("returns an error: {}", shown(message)),
            ScriptEnd::Trapped { message } => format!("traps: {}", shown(message)),
            ScriptEnd::Budget { message } => format!("is ended for its budget: {}", shown(message)),
            ScriptEnd::NotStarted { message } => format!("does not start: {}", shown(message)),
        },
    }
}

/// The arguments of two calls of one import, as JSON, where they differ.
fn arguments(out: &mut String, tape: &HostCall, script: &HostCall) {
    let (tape, script) = (pretty(tape), pretty(script));
    let diff = TextDiff::from_lines(&tape, &script);
    for (n, group) in diff.grouped_ops(AROUND).iter().enumerate() {
        if n > 0 {
            let _ = writeln!(out, "        …");
        }
        for op in group {
            let (olds, news) = (op.old_range(), op.new_range());
            for change in diff.iter_changes(op) {
                // Lines that stand for one another are cut at the same place: where they begin to differ.
                let (mark, other) = match change.tag() {
                    ChangeTag::Equal => ("      ", None),
                    ChangeTag::Delete => {
                        let nth = change.old_index().unwrap_or(olds.start) - olds.start;
                        ("  tape", news.clone().nth(nth).and_then(|index| diff.new_slice(index)))
                    }
                    ChangeTag::Insert => {
                        let nth = change.new_index().unwrap_or(news.start) - news.start;
                        ("script", olds.clone().nth(nth).and_then(|index| diff.old_slice(index)))
                    }
                };
                let _ = writeln!(out, "{mark}  {}", cut(change.value(), other));
            }
        }
    }
}

/// A line that fits: around the first character in which it differs from the other.
fn cut(line: &str, other: Option<&str>) -> String {
    let line = line.trim_end_matches('\n');
    let same = other.map_or(0, |other| line.chars().zip(other.chars()).take_while(|(a, b)| a == b).count());
    let long = line.chars().count() > WIDTH;
    let skipped = if long { same.saturating_sub(LEAD) } else { 0 };
    let mut text: String = line.chars().skip(skipped).take(WIDTH).collect();
    if skipped > 0 {
        text.insert(0, '…');
    }
    if long && skipped + WIDTH < line.chars().count() {
        text.push('…');
    }
    shown(&text)
}

/// The arguments line by line; JSON inside of a text as what it is.
fn pretty(call: &HostCall) -> String {
    let mut value = serde_json::to_value(call).unwrap_or_default();
    for key in ["value", "body"] {
        if let Some(inner) = value.get_mut(key)
            && let Some(parsed) = inner.as_str().and_then(|text| serde_json::from_str::<Value>(text).ok())
            && (parsed.is_object() || parsed.is_array())
            // Other white space is a difference too, and would not be seen.
            && serde_json::to_string(&parsed).ok().as_deref() == inner.as_str()
        {
            *inner = parsed;
        }
    }
    let mut text = serde_json::to_string_pretty(&value).unwrap_or_default();
    text.push('\n');
    text
}

/// Without what would steer a terminal.
fn shown(text: &str) -> String {
    let steers = |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().map(|c| if steers(c) { '\u{fffd}' } else { c }).collect()
}
