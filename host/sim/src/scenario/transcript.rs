//! A simulated call for a person to read: what was said, done and noted, in order.

use super::span::Span;
use crate::far_end::{Act, Sight};
use callbox_dialogue::leg::TransferResult;
use callbox_dialogue::script::{LogLevel, TransferMode};
use callbox_dialogue::{EndReason, ScriptEnd, Time};
use callbox_script::tape::MASK;

/// Characters of one line.
const LONGEST: usize = 400;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// When.
    pub at: Time,
    /// Who or what.
    pub speaker: Speaker,
    /// What, without an end of line or anything that moves a cursor.
    pub text: String,
}

/// Who or what a line is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaker {
    /// The script speaks.
    Robot,
    /// The caller says or does something.
    Caller,
    /// The script does something else.
    Script,
    /// The script's log.
    Log,
    /// The line: ringing, answered, the end.
    Call,
}

impl Speaker {
    /// As a word of six letters at most.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Robot => "robot",
            Self::Caller => "caller",
            Self::Script => "script",
            Self::Log => "log",
            Self::Call => "call",
        }
    }
}

/// The lines of a call. What the caller gives in confidence is masked.
#[must_use]
pub fn transcript(sights: &[(Time, Sight)]) -> Vec<Line> {
    let mut masked = false;
    let mut lines = Vec::new();
    for (at, sight) in sights {
        if let Sight::Masked { on } = sight {
            masked = *on;
        }
        lines.extend(Line::of(*at, sight, masked));
    }
    lines
}

impl Line {
    /// The line of what was seen, where there is one. `masked` while what the caller gives is secret: since the last
    /// [`Sight::Masked`].
    #[must_use]
    pub fn of(at: Time, sight: &Sight, masked: bool) -> Option<Self> {
        let (speaker, text) = line(sight, masked)?;
        Some(Self { at, speaker, text: on_one_line(&text) })
    }
}

fn on_one_line(text: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    let mut line: String = text.chars().take(LONGEST).map(plain).collect();
    if text.chars().nth(LONGEST).is_some() {
        line.push('…');
    }
    line
}

fn line(sight: &Sight, masked: bool) -> Option<(Speaker, String)> {
    Some(match sight {
        Sight::Ringing => (Speaker::Call, "rings".into()),
        Sight::EarlyMedia => (Speaker::Call, "audio before the answer".into()),
        Sight::Answered => (Speaker::Call, "answered".into()),
        Sight::PromptStarted { text, .. } => (Speaker::Robot, text.clone()),
        Sight::PromptEnded { complete: false, heard_text, interrupted_by, played, .. } => {
            let by = interrupted_by.as_deref().map(|by| format!(" by {by}")).unwrap_or_default();
            (Speaker::Robot, format!("(cut off{by} after {}; heard: \"{heard_text}\")", Span(*played)))
        }
        Sight::Heard { text, digits } => {
            let heard = digits.as_ref().map_or_else(|| format!("\"{text}\""), |digits| format!("the keys {digits}"));
            (Speaker::Script, format!("hears {heard}"))
        }
        Sight::Digits { digits } => (Speaker::Script, format!("sends the keys {digits}")),
        Sight::Transfer { target, mode, .. } => {
            let by = if *mode == TransferMode::Refer { "refer" } else { "bridge" };
            (Speaker::Script, format!("transfers to {target} by {by}"))
        }
        Sight::Joined { .. } => (Speaker::Call, "the target is there".into()),
        Sight::TransferEnded { result, .. } => (Speaker::Call, transfer_ended(result)),
        Sight::Fetch { source, parameters } => {
            let parameters: String = parameters.iter().map(|(name, value)| format!(" {name}={value}")).collect();
            (Speaker::Script, format!("asks the source {source}{parameters}"))
        }
        Sight::Fetched { source, result } => {
            let result = result.as_ref().map_or_else(ToString::to_string, Clone::clone);
            (Speaker::Call, format!("{source} answers {result}"))
        }
        Sight::Pushed(push) => (Speaker::Script, format!("pushes to {}: {}", push.destination, push.body)),
        Sight::Logged(line) => (Speaker::Log, format!("{}: {}", level(line.level), line.message)),
        Sight::Node { name } => (Speaker::Script, format!("node {name}")),
        Sight::Did { act } => (Speaker::Caller, did(act, masked)?),
        Sight::Hint { text } => (Speaker::Call, format!("note: {text}")),
        Sight::ScriptEnded { end } => (Speaker::Script, script_ended(end)?),
        Sight::Ended { by, reason } => {
            let by = by.map(|by| format!(" by {}", format!("{by:?}").to_lowercase())).unwrap_or_default();
            (Speaker::Call, format!("over{by}: {}", EndReason::as_str(*reason)))
        }
        _ => return None,
    })
}

fn did(act: &Act, masked: bool) -> Option<String> {
    let secret = |text: &str| if masked { MASK.to_owned() } else { text.to_owned() };
    Some(match act {
        Act::Press { digit } => format!("presses {}", secret(&digit.to_string())),
        Act::Say(saying) => format!("\"{}\"", secret(&saying.text)),
        Act::Noise { length } => format!("makes a noise for {}", Span(*length)),
        Act::HangUp => "hangs up".into(),
        Act::Ring => "rings".into(),
        Act::Answer => "picks up".into(),
        Act::Refuse { status, reason } => format!("does not take the call: {status} {reason}"),
        Act::Message { json } => format!("sends the message {}", secret(json)),
        Act::OperatorHangUp { .. } => "(an operator ends the call)".into(),
        Act::Drain { within } => format!("(the host goes down within {})", Span(*within)),
        Act::FailRecogniser { error } => format!("(the recogniser fails: {error})"),
        Act::Source { .. } | Act::Transfer(_) => return None,
    })
}

fn transfer_ended(result: &TransferResult) -> String {
    match result {
        TransferResult::Connected => "transferred".into(),
        TransferResult::Returned => "the target hung up; the caller is back".into(),
        TransferResult::Failed { status, reason } => format!("the transfer failed: {status} {reason}"),
    }
}

fn script_ended(end: &ScriptEnd) -> Option<String> {
    Some(match end {
        ScriptEnd::Returned => return None,
        ScriptEnd::Failed { message } => format!("fails: {message}"),
        ScriptEnd::Trapped { message } => format!("traps: {message}"),
        ScriptEnd::Budget { message } => format!("is stopped: {message}"),
        ScriptEnd::NotStarted { message } => format!("cannot be started: {message}"),
    })
}

const fn level(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Debug => "debug",
        LogLevel::Info => "info",
        LogLevel::Warn => "warn",
        LogLevel::Error => "error",
    }
}
