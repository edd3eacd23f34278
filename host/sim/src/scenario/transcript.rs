//! A simulated call for a person to read: what was said, done and noted, in order.

use super::span::Span;
use crate::far_end::{Act, Sight};
use crate::trace::printable;
use callbox_dialogue::leg::TransferResult;
use callbox_dialogue::{EndReason, ScriptEnd, Secrets, Time};
use callbox_script::tape::MASK;
use std::borrow::Cow;

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

/// The lines of a call. What the caller gives in confidence is masked, also where the script passes it on.
#[must_use]
pub fn transcript(sights: &[(Time, Sight)]) -> Vec<Line> {
    let mut teller = Teller::default();
    sights.iter().filter_map(|(at, sight)| teller.line(*at, sight)).collect()
}

/// Tells a call line by line, as it is seen. It is shown all that is seen, so that it knows what is secret.
#[derive(Clone, Debug, Default)]
pub struct Teller {
    /// What the caller gives now is secret.
    masked: bool,
    secrets: Secrets,
}

impl Teller {
    /// The line of what was seen, where there is one.
    pub fn line(&mut self, at: Time, sight: &Sight) -> Option<Line> {
        match sight {
            Sight::Masked { on } => self.masked = *on,
            Sight::Replied { reply, sensitive: true } => self.secrets.remember(reply),
            _ => {}
        }
        let (speaker, text) = line(sight, self.masked)?;
        Some(Line { at, speaker, text: printable(&self.clean(&text), LONGEST) })
    }

    /// A text without what the caller gave in confidence.
    #[must_use]
    pub fn clean<'a>(&self, text: &'a str) -> Cow<'a, str> {
        self.secrets.out_of(text)
    }
}

fn line(sight: &Sight, masked: bool) -> Option<(Speaker, String)> {
    Some(match sight {
        Sight::Ringing => (Speaker::Call, "rings".into()),
        Sight::EarlyMedia => (Speaker::Call, "audio before the answer".into()),
        Sight::Answered => (Speaker::Call, "answered".into()),
        Sight::PromptStarted { text, .. } | Sight::PromptGrew { text, .. } => (Speaker::Robot, text.clone()),
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
            (Speaker::Script, format!("transfers to {target} by {}", mode.as_str()))
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
        Sight::AsksModel { request } => {
            let last = request.messages.last().map(|last| format!(": {} \"{}\"", last.role.as_str(), last.text));
            (Speaker::Script, format!("asks the model {}{}", request.model, last.unwrap_or_default()))
        }
        Sight::Pushed(push) => (Speaker::Script, format!("pushes to {}: {}", push.destination, push.body)),
        Sight::Logged(line) => (Speaker::Log, format!("{}: {}", line.level.as_str(), line.message)),
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
        Act::Source { .. } | Act::Model { .. } | Act::Transfer(_) => return None,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::far_end::LogLine;
    use callbox_dialogue::HostReply;
    use callbox_dialogue::script::{Heard, LogLevel};

    #[test]
    fn a_secret_is_told_neither_when_it_is_given_nor_when_it_is_passed_on() {
        let pressed = |digit| Sight::Did { act: Act::Press { digit } };
        let heard = Ok(HostReply::Heard(Heard::Digits("4711".into())));
        let log = LogLine { at: Time(3), level: LogLevel::Info, message: "the pin is 4711\u{202e}\n".into() };
        let sights = [
            Sight::Masked { on: true },
            pressed('4'),
            Sight::Masked { on: false },
            Sight::Replied { reply: heard, sensitive: true },
            Sight::Fetch { source: "crm".into(), parameters: vec![("pin".into(), "4711".into())] },
            Sight::Logged(log),
            pressed('4'),
        ];
        let lines = transcript(&sights.map(|sight| (Time(3), sight)));
        let texts: Vec<_> = lines.iter().map(|line| line.text.as_str()).collect();
        assert_eq!(
            texts,
            ["presses [masked]", "asks the source crm pin=[masked]", "info: the pin is [masked]\u{fffd} ", "presses 4"]
        );
    }
}
