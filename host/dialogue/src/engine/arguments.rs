//! What a script may hand in: sizes, characters, names. Every limit that the
//! contract names is here.

use super::wording::Wording;
use crate::script::{HostError, ListenOptions, Segment, TransferOptions};
use serde_json::value::RawValue;
use std::sync::Arc;

/// Bytes of a name: fields, tags, nodes, dispositions, settings, zones.
const NAME: usize = 128;
/// Bytes of one text.
const TEXT: usize = 8 * 1_024;
/// Bytes of all text of a prompt.
pub(super) const PROMPT_TEXT: usize = 64 * 1_024;
/// Segments of a prompt.
const SEGMENTS: usize = 64;
/// Bytes of a JSON text.
const JSON: usize = 64 * 1_024;
/// Keys of one collection, and of one `send-digits`.
pub(super) const DIGITS: usize = 64;
/// The longest silence segment.
const SILENCE: u32 = 60_000;

type Checked<T = ()> = Result<T, HostError>;

fn invalid<T>(what: impl Into<String>) -> Checked<T> {
    Err(HostError::InvalidArgument(what.into()))
}

fn too_much<T>(what: impl Into<String>) -> Checked<T> {
    Err(HostError::LimitExceeded(what.into()))
}

/// A name: 1 to 128 bytes without control characters.
pub(super) fn name(what: &str, given: &str) -> Checked {
    if given.is_empty() {
        return invalid(format!("{what}: is empty"));
    }
    line(what, given, NAME)
}

/// One line of at most `most` bytes.
fn line(what: &str, given: &str, most: usize) -> Checked {
    if given.len() > most {
        return too_much(format!("{what}: {} bytes, at most {most}", given.len()));
    }
    if given.chars().any(char::is_control) {
        return invalid(format!("{what}: holds a control character"));
    }
    Ok(())
}

/// A text of at most 8 KiB.
pub(super) fn text(what: &str, given: &str) -> Checked {
    if given.len() > TEXT {
        return too_much(format!("{what}: {} bytes, at most {TEXT}", given.len()));
    }
    Ok(())
}

/// JSON text of at most 64 KiB.
pub(super) fn json(what: &str, given: &str) -> Checked<Arc<RawValue>> {
    if given.len() > JSON {
        return too_much(format!("{what}: {} bytes of JSON, at most {JSON}", given.len()));
    }
    match serde_json::from_str::<Box<RawValue>>(given) {
        Ok(value) => Ok(Arc::from(value)),
        Err(error) => invalid(format!("{what}: is not JSON: {error}")),
    }
}

/// What is to be heard.
pub(super) fn segments(given: &[Segment], assets: &[String]) -> Checked<Wording> {
    if given.len() > SEGMENTS {
        return too_much(format!("segments: {}, at most {SEGMENTS}", given.len()));
    }
    for segment in given {
        match segment {
            Segment::Text(it) => text("text", it)?,
            Segment::Ssml(it) => text("ssml", it)?,
            Segment::Asset(path) if !assets.contains(path) => {
                return Err(HostError::NotFound(format!("asset {path:?}: the component carries no such file")));
            }
            Segment::Asset(_) => {}
            Segment::Silence(span) if *span > SILENCE => {
                return invalid(format!("silence: {span} ms, at most {SILENCE}"));
            }
            Segment::Silence(_) => {}
        }
    }
    let mut wording = Wording::default();
    wording.add(given);
    if wording.len() > PROMPT_TEXT {
        return too_much(format!("text of the prompt: {} bytes, at most {PROMPT_TEXT}", wording.len()));
    }
    Ok(wording)
}

/// Whether this is a key of a telephone, in its upper-case form.
pub(super) fn key(given: char) -> Option<char> {
    let key = given.to_ascii_uppercase();
    matches!(key, '0'..='9' | '*' | '#' | 'A'..='D').then_some(key)
}

/// What is to be sent as DTMF.
pub(super) fn digits(given: &str) -> Checked<String> {
    if given.chars().count() > DIGITS {
        return too_much(format!("digits: {}, at most {DIGITS}", given.chars().count()));
    }
    given
        .chars()
        .map(|c| if c == ',' { Some(c) } else { key(c) })
        .collect::<Option<String>>()
        .map_or_else(|| invalid("digits: only 0-9, *, #, A-D and the comma can be sent"), Ok)
}

/// How to listen, on a call in that language. Terminators come out in upper case.
pub(super) fn listening(options: &mut ListenOptions, language: &str) -> Checked {
    if let Some(digits) = &mut options.digits {
        if digits.min < 1 || digits.max < digits.min || usize::from(digits.max) > DIGITS {
            return invalid(format!(
                "digits: {} to {} of them; at least 1, at most {DIGITS}, and the least before the most",
                digits.min, digits.max
            ));
        }
        if let Some(terminator) = digits.terminator {
            match key(terminator) {
                Some(key) => digits.terminator = Some(key),
                None => return invalid(format!("digits: the terminator {terminator:?} is no key of a telephone")),
            }
        }
    } else if !options.speech {
        return invalid("listening: for digits only, but no digits were asked for; call set-digits");
    }
    if options.languages.len() > 8 || options.hints.len() > 512 || options.extra.len() > 16 {
        return too_much("listening: at most 8 languages, 512 hints and 16 extra settings");
    }
    for tag in &options.languages {
        name("language", tag)?;
    }
    if let Some(zone) = &options.zone {
        name("zone", zone)?;
    }
    if let Some(grammar) = &options.grammar {
        let checked = match &*options.languages {
            [] => grammar.check(&[language]),
            languages => grammar.check(languages),
        };
        if let Err(error) = checked {
            return invalid(format!("grammar: {error}"));
        }
    }
    for hint in &options.hints {
        line("hint", hint, 256)?;
    }
    for (setting, value) in &options.extra {
        name("extra", setting)?;
        text("extra", value)?;
        json("extra", value)?;
    }
    Ok(())
}

/// Where a call is given to. Header values cannot carry a line break, so that
/// a script cannot write SIP.
pub(super) fn transfer(target: &str, options: &TransferOptions) -> Checked {
    if target.trim().is_empty() {
        return invalid("target: is empty");
    }
    line("target", target, 1_024)?;
    if let Some(number) = &options.caller_id {
        name("caller-id", number)?;
    }
    if options.headers.len() > 16 {
        return too_much(format!("headers: {}, at most 16", options.headers.len()));
    }
    for (header, value) in &options.headers {
        let lower = header.to_ascii_lowercase();
        let token = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if !(lower.starts_with("x-") && lower.len() > 2 || lower == "user-to-user") || !lower.chars().all(token) {
            return Err(HostError::Denied(format!("header {header:?}: only X- names and User-to-User can be set")));
        }
        line("header", header, NAME)?;
        line("header value", value, 1_024)?;
    }
    Ok(())
}

/// Parameters of a context request.
pub(super) fn parameters(given: &[(String, String)]) -> Checked {
    if given.len() > 32 {
        return too_much(format!("parameters: {}, at most 32", given.len()));
    }
    for (parameter, value) in given {
        name("parameter", parameter)?;
        text(parameter, value)?;
    }
    let all: usize = given.iter().map(|(parameter, value)| parameter.len() + value.len()).sum();
    if all > 2 * TEXT {
        return too_much(format!("parameters: {all} bytes, at most {}", 2 * TEXT));
    }
    Ok(())
}
