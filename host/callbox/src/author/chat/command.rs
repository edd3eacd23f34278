//! What is typed into a chat.

use callbox_dialogue::HostError;
use callbox_dialogue::time::Millis;
use callbox_sim::scenario::Span;
use callbox_sim::{SourcePlan, TransferGoes, TransferPlan};
use serde_json::Value;
use std::path::PathBuf;

/// One line, understood.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Entry {
    /// The caller speaks.
    Say(String),
    /// The caller presses keys.
    Keys(String),
    /// The caller is silent until the robot goes on.
    Silence,
    /// The caller will break in so long after the robot's next words have begun.
    Interrupt { after: Millis, with: Voice },
    /// The caller hangs up.
    HangUp,
    /// Time passes.
    Wait(Millis),
    /// What becomes of the transfer that is under way, or of the next.
    Transfer(TransferPlan),
    /// From now on a source does this.
    Source { name: String, plan: SourcePlan },
    /// JSON for the script, as through the API.
    Message(String),
    /// Shows host calls from now on, or no more; with nothing said, those so far.
    Trace(Option<bool>),
    /// Takes the last turn back.
    Undo,
    /// Writes what happened as a scenario.
    Save { file: PathBuf, name: Option<String> },
    /// Where the call is.
    Status,
    /// What can be typed.
    Help,
    /// Begins anew.
    Again,
    /// Leaves.
    Quit,
}

/// What a caller breaks in with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Voice {
    Words(String),
    Keys(String),
}

/// What can be typed, for a person to read.
pub(super) const HELP: &str = "\
yes please             said by the caller
12#                    a line of only keys: pressed by the caller
                       an empty line: the caller is silent until the robot goes on
/say 12                said, also where it looks like keys
/keys 12#              pressed
/interrupt 1.2s yes    breaks in so long after the robot's next words have begun, with words or keys
/hangup                the caller hangs up
/wait 5s               time passes
/transfer busy         how the next transfer goes: connected, returned, busy, no_answer, never, or a SIP status; 2s after it
/source crm fails      a source from now on: fails, never, or answers {\"json\": …}; with `after 3s`
/message {\"json\": …}   what a business system sends to the script
/trace [on|off]        the host calls of the script: those so far, or from now on as they happen
/undo                  takes back what you did last; the call is played again up to there
/save FILE [NAME]      writes what happened as a scenario, and plays it to see that it passes
/status                where the call is
/again                 a new call
/quit                  leaves";

/// Reads a line.
///
/// # Errors
/// What is wrong with it, and what would be right.
pub(super) fn parse(line: &str) -> Result<Entry, String> {
    let line = line.trim();
    if line.is_empty() {
        return Ok(Entry::Silence);
    }
    let Some(command) = line.strip_prefix('/') else {
        return Ok(match keys(line) {
            Some(keys) => Entry::Keys(keys),
            None => Entry::Say(line.to_owned()),
        });
    };
    let (name, rest) = split(command);
    match name {
        "say" => words(rest).map(Entry::Say),
        "keys" | "press" => keys(rest).map(Entry::Keys).ok_or_else(|| "keys are 0-9, *, # and A-D: /keys 12#".into()),
        "silence" => plain(rest, Entry::Silence),
        "interrupt" => interrupt(rest),
        "hangup" | "hang_up" => plain(rest, Entry::HangUp),
        "wait" => span(rest).map(Entry::Wait),
        "transfer" => transfer(rest).map(Entry::Transfer),
        "source" => source(rest),
        "message" => json(rest).map(|value| Entry::Message(value.to_string())),
        "trace" => match rest {
            "" => Ok(Entry::Trace(None)),
            "on" => Ok(Entry::Trace(Some(true))),
            "off" => Ok(Entry::Trace(Some(false))),
            _ => Err("/trace on, /trace off, or /trace for the host calls so far".into()),
        },
        "undo" => plain(rest, Entry::Undo),
        "save" => {
            let (file, name) = split(rest);
            if file.is_empty() {
                return Err("/save FILE [NAME]: into which file?".into());
            }
            Ok(Entry::Save { file: file.into(), name: (!name.is_empty()).then(|| name.to_owned()) })
        }
        "status" => plain(rest, Entry::Status),
        "help" | "?" => plain(rest, Entry::Help),
        "again" | "restart" => plain(rest, Entry::Again),
        "quit" | "exit" | "q" => plain(rest, Entry::Quit),
        _ => Err(format!("there is no /{}; /help says what there is", shown(name))),
    }
}

/// The first word and what follows it.
fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    text.split_once(char::is_whitespace).map_or((text, ""), |(first, rest)| (first, rest.trim()))
}

fn plain(rest: &str, entry: Entry) -> Result<Entry, String> {
    if rest.is_empty() { Ok(entry) } else { Err(format!("`{}` is not understood here", shown(rest))) }
}

/// Keys; none where something else is among them. Spaces are left out.
fn keys(text: &str) -> Option<String> {
    let keys: String = text.chars().filter(|c| *c != ' ').map(|c| c.to_ascii_uppercase()).collect();
    // A word of letters is a word, whatever keys a telephone may have.
    let pressed = text.chars().any(|c| !c.is_ascii_alphabetic());
    let known = keys.chars().all(|c| matches!(c, '0'..='9' | '*' | '#' | 'A'..='D'));
    (!keys.is_empty() && pressed && known).then_some(keys)
}

fn words(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("what does the caller say? /say yes please".into()) } else { Ok(text.to_owned()) }
}

fn span(text: &str) -> Result<Millis, String> {
    text.parse::<Span>().map(|span| span.0).map_err(|error| error.to_string())
}

fn interrupt(rest: &str) -> Result<Entry, String> {
    let (after, with) = split(rest);
    if with.is_empty() {
        return Err("/interrupt 1.2s yes, or /interrupt 1.2s 1: after how long, and with what?".into());
    }
    let with = keys(with).map_or_else(|| Voice::Words(with.to_owned()), Voice::Keys);
    Ok(Entry::Interrupt { after: span(after)?, with })
}

/// What stands before `after SPAN` at the end, and the span.
fn with_delay(rest: &str) -> Result<(&str, Option<Millis>), String> {
    if let Some((before, delay)) = rest.rsplit_once("after ")
        && (before.is_empty() || before.ends_with(char::is_whitespace))
        && delay.starts_with(|c: char| c.is_ascii_digit())
    {
        return Ok((before.trim(), Some(span(delay.trim())?)));
    }
    Ok((rest.trim(), None))
}

fn transfer(rest: &str) -> Result<TransferPlan, String> {
    let (how, after) = with_delay(rest)?;
    let goes = match split(how) {
        ("connected", "") => TransferGoes::Connected,
        ("returned", "") => TransferGoes::Returned,
        ("busy", "") => TransferGoes::busy(),
        ("no_answer" | "no-answer", "") => TransferGoes::no_answer(),
        ("never", "") => TransferGoes::Never,
        (status, reason) => {
            let status = status.parse().ok().filter(|status| (300..700).contains(status)).ok_or_else(|| {
                "how does the transfer go? connected, returned, busy, no_answer, never, or a SIP status such as 503"
                    .to_owned()
            })?;
            TransferGoes::Failed { status, reason: if reason.is_empty() { "Failed" } else { reason }.to_owned() }
        }
    };
    let plan = TransferPlan::default();
    Ok(TransferPlan { goes, after: after.unwrap_or(plan.after), ..plan })
}

fn source(rest: &str) -> Result<Entry, String> {
    let usage = || "/source NAME fails, /source NAME never, or /source NAME answers {\"json\": …}".to_owned();
    let (name, rest) = split(rest);
    if name.is_empty() || rest.is_empty() {
        return Err(usage());
    }
    let (what, after) = with_delay(rest)?;
    let after = after.unwrap_or(0);
    let error = |error| SourcePlan::fails(error, after);
    let plan = match split(what) {
        ("fails", "" | "unavailable") => error(HostError::Unavailable(format!("source {name}: as it was told"))),
        ("fails", "timed_out" | "timed-out") => error(HostError::TimedOut),
        ("fails", "not_found" | "not-found") => error(HostError::NotFound(format!("source {name}: as it was told"))),
        ("never", "") => SourcePlan::never(),
        ("answers", value) => SourcePlan::answers(json(value)?, after),
        _ => return Err(usage()),
    };
    Ok(Entry::Source { name: name.to_owned(), plan })
}

fn json(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| format!("that is no JSON: {error}"))
}

fn shown(text: &str) -> String {
    callbox_sim::trace::printable(text, 40)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(line: &str) -> Entry {
        parse(line).unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    #[test]
    fn words_are_said_and_keys_are_pressed() {
        assert_eq!(entry("  yes, please "), Entry::Say("yes, please".into()));
        assert_eq!(entry("12#"), Entry::Keys("12#".into()));
        assert_eq!(entry("12 34 *"), Entry::Keys("1234*".into()));
        assert_eq!(entry("/keys 1a"), Entry::Keys("1A".into()));
        assert_eq!(entry("/say 12"), Entry::Say("12".into()));
        assert_eq!(entry("bad"), Entry::Say("bad".into()), "a word of letters that are keys too");
        assert_eq!(entry("12 o'clock"), Entry::Say("12 o'clock".into()));
        assert_eq!(entry(""), Entry::Silence);
        assert_eq!(entry("\t"), Entry::Silence);
    }

    #[test]
    fn commands_are_read_with_what_belongs_to_them() {
        assert_eq!(entry("/wait 1.5s"), Entry::Wait(1_500));
        let with = Voice::Words("stop it".into());
        assert_eq!(entry("/interrupt 800ms stop it"), Entry::Interrupt { after: 800, with });
        assert_eq!(entry("/interrupt 1s 1#"), Entry::Interrupt { after: 1_000, with: Voice::Keys("1#".into()) });
        let Entry::Transfer(plan) = entry("/transfer busy after 3s") else { panic!("a transfer") };
        assert_eq!((plan.goes, plan.after), (TransferGoes::busy(), 3_000));
        let Entry::Transfer(plan) = entry("/transfer 503 Full up") else { panic!("a transfer") };
        assert_eq!(plan.goes, TransferGoes::Failed { status: 503, reason: "Full up".into() });
        let Entry::Source { name, plan } = entry("/source crm answers {\"a\": \"after 3s\"} after 2s") else {
            panic!("a source")
        };
        assert_eq!((name.as_str(), plan), ("crm", SourcePlan::answers(serde_json::json!({"a": "after 3s"}), 2_000)));
        assert_eq!(entry("/source crm never"), Entry::Source { name: "crm".into(), plan: SourcePlan::never() });
        assert_eq!(entry("/message {\"a\": [1]}"), Entry::Message("{\"a\":[1]}".into()));
        let save = Entry::Save { file: "a.yaml".into(), name: Some("key 1 confirms".into()) };
        assert_eq!(entry("/save a.yaml  key 1 confirms"), save);
        assert_eq!([entry("/trace"), entry("/trace on")], [Entry::Trace(None), Entry::Trace(Some(true))]);
    }

    #[test]
    fn mistakes_say_what_would_be_right() {
        for (line, words) in [
            ("/dance", "/help"),
            ("/wait", "800ms"),
            ("/wait 5", "800ms"),
            ("/keys hello", "0-9"),
            ("/source crm", "answers"),
            ("/source crm answers {", "no JSON"),
            ("/transfer gladly", "503"),
            ("/transfer 200", "503"),
            ("/interrupt 1s", "with what"),
            ("/save", "which file"),
            ("/undo it", "not understood"),
            ("/", "/help"),
        ] {
            let error = parse(line).map(|entry| format!("{entry:?}")).unwrap_err();
            assert!(error.contains(words), "{line}: {error}");
        }
    }

    #[test]
    fn everything_in_the_help_is_a_command() {
        for line in HELP.lines().filter(|line| line.starts_with('/')) {
            let name = line.split([' ', '\n']).next().unwrap_or_default();
            let error = parse(name).err().unwrap_or_default();
            assert!(!error.contains("there is no"), "{name}: {error}");
        }
    }
}
