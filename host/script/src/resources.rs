//! What stands behind the handles a script holds.

#![allow(unreachable_pub, reason = "the generated bindings name these types with `pub use`")]

use crate::text::truncated;
use callbox_dialogue::HostError;
use callbox_dialogue::script::{DigitOptions, Handle, ListenOptions, TransferMode, TransferOptions};
use callbox_dialogue::time::Millis;
use callbox_grammar::Grammar;

/// Something to wait for.
#[derive(Debug)]
pub struct Pollable {
    pub(crate) handle: Handle,
    /// It is the thing itself (a timer), and not a view of a playback or the
    /// like, whose own resource releases it.
    pub(crate) owned: bool,
}

/// A transfer under way.
#[derive(Debug)]
pub struct Transferring(pub(crate) Handle);

/// A prompt that is queued, playing or over.
#[derive(Debug)]
pub struct Playback(pub(crate) Handle);

/// A prompt that is being written.
#[derive(Debug)]
pub struct SpeechWriter(pub(crate) Handle);

/// A listening under way.
#[derive(Debug)]
pub struct Listening(pub(crate) Handle);

/// A request under way.
#[derive(Debug)]
pub struct Fetching(pub(crate) Handle);

/// A conversation with a language model.
#[derive(Debug)]
pub struct Conversation(pub(crate) Handle);

/// A model's reply under way.
#[derive(Debug)]
pub struct Replying(pub(crate) Handle);

/// Entries of a list of options.
const ENTRIES: usize = 256;
/// Bytes of a short text: a name, a language, a phrase.
pub(crate) const SHORT: usize = 1_024;
/// Bytes of JSON text.
pub(crate) const JSON: usize = 64 << 10;

/// Keeps the first thing that was wrong with options until they are used: setters
/// have no way to say it, and nothing a script may meet should trap.
#[derive(Debug, Default)]
struct Problem(Option<String>);

impl Problem {
    fn note(&mut self, problem: impl FnOnce() -> String) {
        self.0.get_or_insert_with(problem);
    }

    fn check(&self) -> Result<(), HostError> {
        match &self.0 {
            Some(problem) => Err(HostError::InvalidArgument(problem.clone())),
            None => Ok(()),
        }
    }

    /// Whether a text may be taken.
    fn text(&mut self, what: &str, text: &str, most: usize) -> bool {
        if text.len() > most {
            self.note(|| format!("{what} has {} bytes; at most {most} are allowed", text.len()));
        }
        text.len() <= most
    }

    /// Whether a list may have so many entries.
    fn entries(&mut self, what: &str, count: usize) -> bool {
        if count > ENTRIES {
            self.note(|| format!("{what} has {count} entries; at most {ENTRIES} are allowed"));
        }
        count <= ENTRIES
    }
}

/// Options of a transfer while the script fills them in.
#[derive(Debug)]
pub struct TransferOptionsBuilder {
    options: TransferOptions,
    problem: Problem,
}

impl TransferOptionsBuilder {
    pub(crate) fn new(mode: TransferMode) -> Self {
        let options = TransferOptions { mode, ring_timeout: 30_000, caller_id: None, headers: Vec::new() };
        Self { options, problem: Problem::default() }
    }

    pub(crate) fn options(&self) -> Result<TransferOptions, HostError> {
        self.problem.check()?;
        Ok(self.options.clone())
    }

    pub(crate) fn set_ring_timeout(&mut self, limit: Millis) {
        self.options.ring_timeout = limit;
    }

    pub(crate) fn set_caller_id(&mut self, number: String) {
        if self.problem.text("transfer-options.set-caller-id: the number", &number, SHORT) {
            self.options.caller_id = Some(number);
        }
    }

    pub(crate) fn set_header(&mut self, name: String, value: String) {
        const WHAT: &str = "transfer-options.set-header";
        // RFC 3261 section 25.1, `token`; a value must not end the line.
        let token = |c: char| c.is_ascii_alphanumeric() || "-.!%*_+`'~".contains(c);
        let lower = name.to_ascii_lowercase();
        if !(lower.starts_with("x-") || lower == "user-to-user") || !name.chars().all(token) {
            let shown = truncated(&name, 60).to_owned();
            self.problem.note(|| format!("{WHAT}: `{shown}`: only `X-` names and `User-to-User` may be set"));
        } else if value.chars().any(char::is_control) {
            self.problem.note(|| format!("{WHAT}: the value of `{name}` contains control characters"));
        } else if self.problem.text(WHAT, &name, SHORT)
            && self.problem.text(WHAT, &value, SHORT)
            && self.problem.entries(WHAT, self.options.headers.len() + 1)
        {
            self.options.headers.push((name, value));
        }
    }
}

/// Options of a listening while the script fills them in.
#[derive(Debug, Default)]
pub struct ListenOptionsBuilder {
    options: ListenOptions,
    problem: Problem,
}

impl ListenOptionsBuilder {
    pub(crate) fn options(&self) -> Result<Box<ListenOptions>, HostError> {
        self.problem.check()?;
        Ok(Box::new(self.options.clone()))
    }

    pub(crate) fn set_languages(&mut self, tags: Vec<String>) {
        if self.texts("listen-options.set-languages", &tags) {
            self.options.languages = tags;
        }
    }

    pub(crate) fn set_hints(&mut self, phrases: Vec<String>) {
        if self.texts("listen-options.set-hints", &phrases) {
            self.options.hints = phrases;
        }
    }

    pub(crate) fn set_digits(&mut self, min: u8, max: u8, terminator: Option<char>, digit_timeout: Millis) {
        const WHAT: &str = "listen-options.set-digits";
        let key = |c: char| c.is_ascii_digit() || matches!(c, '*' | '#' | 'A'..='D');
        if min == 0 || max > 64 || min > max {
            self.problem.note(|| format!("{WHAT}: {min} to {max} digits; 1 to 64 are possible, the smaller first"));
        } else if let Some(c) = terminator.filter(|c| !key(*c)) {
            self.problem.note(|| format!("{WHAT}: `{}` is not a key", c.escape_default()));
        } else {
            self.options.digits = Some(DigitOptions { min, max, terminator, digit_timeout });
        }
    }

    pub(crate) fn set_extra(&mut self, name: String, value: String) {
        const WHAT: &str = "listen-options.set-extra";
        if self.problem.text(WHAT, &name, SHORT) && self.problem.text(WHAT, &value, JSON) {
            self.options.extra.retain(|(other, _)| *other != name);
            let bytes: usize = self.options.extra.iter().map(|(_, value)| value.len()).sum();
            if bytes + value.len() > JSON {
                self.problem.note(|| format!("{WHAT}: more than {JSON} bytes in all"));
            } else if self.problem.entries(WHAT, self.options.extra.len() + 1) {
                self.options.extra.push((name, value));
            }
        }
    }

    pub(crate) fn set_grammar(&mut self, json: &str) {
        const WHAT: &str = "listen-options.set-grammar";
        if self.problem.text(WHAT, json, JSON) {
            match Grammar::read(json) {
                Ok(grammar) => self.options.grammar = Some(grammar),
                Err(error) => self.problem.note(|| format!("{WHAT}: {error}")),
            }
        }
    }

    pub(crate) fn set_zone(&mut self, zone: String) {
        if self.problem.text("listen-options.set-zone", &zone, SHORT) {
            self.options.zone = Some(zone);
        }
    }

    /// The plain ones.
    pub(crate) const fn plain(&mut self) -> &mut ListenOptions {
        &mut self.options
    }

    fn texts(&mut self, what: &str, texts: &[String]) -> bool {
        self.problem.entries(what, texts.len()) && texts.iter().all(|text| self.problem.text(what, text, SHORT))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(fill: impl FnOnce(&mut ListenOptionsBuilder)) -> String {
        let mut options = ListenOptionsBuilder::default();
        fill(&mut options);
        options.options().map_or_else(|error| error.to_string(), |_| String::new())
    }

    #[test]
    fn the_first_mistake_in_options_is_told_when_they_are_used() {
        assert_eq!(problem(|o| o.set_digits(1, 4, Some('#'), 3_000)), "");
        assert!(problem(|o| o.set_digits(0, 4, None, 1)).contains("0 to 4"));
        assert!(problem(|o| o.set_digits(5, 4, None, 1)).contains("5 to 4"));
        assert!(problem(|o| o.set_digits(1, 65, None, 1)).contains("64"));
        assert!(problem(|o| o.set_digits(1, 4, Some('x'), 1)).contains("`x` is not a key"));
        assert!(problem(|o| o.set_hints(vec!["x".into(); 257])).contains("257 entries"));
        assert!(problem(|o| o.set_hints(vec!["x".repeat(1_025)])).contains("1025 bytes"));
        assert!(problem(|o| o.set_extra("a".into(), "x".repeat(JSON + 1))).contains("bytes"));
        assert_eq!(problem(|o| o.set_grammar(r#"{"answer":{"kind":"yes-no"}}"#)), "");
        assert!(problem(|o| o.set_grammar(r#"{"answer":{"kind":"mood"}}"#)).contains("`mood`"));
        assert!(problem(|o| o.set_grammar(&" ".repeat(JSON + 1))).contains("bytes"));
        let two = problem(|o| {
            o.set_digits(0, 0, None, 1);
            o.set_languages(vec!["x".repeat(2_000)]);
        });
        assert!(two.contains("set-digits"), "{two}");
    }

    #[test]
    fn headers_of_a_transfer_cannot_smuggle_others() {
        let refused = |name: &str, value: &str| {
            let mut options = TransferOptionsBuilder::new(TransferMode::Refer);
            options.set_header(name.into(), value.into());
            options.options().is_err()
        };
        assert!(!refused("X-Reason", "moved"));
        assert!(!refused("user-to-user", "00AB;encoding=hex"));
        for (name, value) in [("Via", "x"), ("X-A: b\r\nVia", "x"), ("X-A", "b\r\nVia: x"), ("X-Ä", "x"), ("", "x")] {
            assert!(refused(name, value), "{name}: {value}");
        }
    }
}
