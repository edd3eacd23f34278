//! The tape: every call of a script and its answer, in order.
//!
//! It is the trace of a call, and what a replay answers from. One JSON document a
//! line: first the [`Header`], then an [`Entry`] for each call. It only ever
//! grows by new kinds of calls and replies; whoever reads an older one finds what
//! was there.

use callbox_dialogue::script::{Event, Heard, Utterance};
use callbox_dialogue::{HostCall, HostReply, Reply, Time};
use serde::{Deserialize, Serialize};

/// The version of the format.
pub const FORMAT: &str = "callbox-tape/1";
/// The version of `callbox:dialogue` whose calls are on the tape.
pub const WIT_VERSION: &str = "0.1.0";
/// What stands in place of a secret.
pub const MASK: &str = "[masked]";

/// The first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// [`FORMAT`].
    pub format: String,
    /// Digest of the script's component.
    pub script: String,
    /// Version of `callbox:dialogue`.
    pub wit: String,
    /// Whether every call of the script is there. Not when the limit of bytes or
    /// entries was reached: the end is missing then.
    pub complete: bool,
}

/// A call and its answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Counts from 1.
    pub seq: u32,
    /// When it was answered.
    pub at: Time,
    /// What was asked.
    pub call: HostCall,
    /// What was answered. What the caller gave in confidence is masked.
    pub reply: Reply,
    /// Something is masked.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub masked: bool,
}

/// What is on a tape that was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tape {
    /// The first line.
    pub header: Header,
    /// Entries.
    pub entries: u32,
    /// The lines after the first.
    lines: String,
}

impl Tape {
    /// The tape as JSON lines.
    #[must_use]
    pub fn to_json_lines(&self) -> String {
        let mut out = serde_json::to_string(&self.header).unwrap_or_default();
        out.push('\n');
        out.push_str(&self.lines);
        out
    }

    /// Reads a tape.
    ///
    /// # Errors
    /// When a line is not what it should be; says which.
    pub fn read(text: &str) -> Result<(Header, Vec<Entry>), TapeError> {
        let mut lines = text.lines().enumerate();
        let wrong = |line: usize, problem: String| TapeError { line: line + 1, problem };
        let (_, first) = lines.next().ok_or_else(|| wrong(0, "the tape is empty".into()))?;
        let header: Header = serde_json::from_str(first).map_err(|error| wrong(0, error.to_string()))?;
        if header.format != FORMAT {
            let found = crate::text::printable(&header.format, 40);
            return Err(wrong(0, format!("the format is `{found}`; this host reads `{FORMAT}`")));
        }
        let mut entries = Vec::new();
        for (n, line) in lines {
            let entry: Entry = serde_json::from_str(line).map_err(|error| wrong(n, error.to_string()))?;
            if entry.seq as usize != n {
                return Err(wrong(n, format!("entry {n} is numbered {}", entry.seq)));
            }
            entries.push(entry);
        }
        Ok((header, entries))
    }
}

/// Why a tape cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the tape: {problem}")]
pub struct TapeError {
    /// Counts from 1.
    pub line: usize,
    /// What is wrong.
    pub problem: String,
}

/// Writes a tape while the script runs, line by line, so that its size is known.
#[derive(Debug)]
pub(crate) struct Recorder {
    on: bool,
    max_bytes: u64,
    max_entries: u32,
    entries: u32,
    lines: String,
    full: bool,
}

#[derive(Serialize)]
struct EntryRef<'a> {
    seq: u32,
    at: Time,
    call: &'a HostCall,
    reply: &'a Reply,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    masked: bool,
}

impl Recorder {
    pub(crate) const fn new(on: bool, max_bytes: u64, max_entries: u32) -> Self {
        Self { on, max_bytes, max_entries, entries: 0, lines: String::new(), full: false }
    }

    /// Whether the next entry is wanted.
    pub(crate) const fn wants(&self) -> bool {
        self.on && !self.full
    }

    /// Adds an entry. One that does not fit any more ends the tape.
    pub(crate) fn record(&mut self, call: &HostCall, reply: &Reply, sensitive: bool, at: Time) {
        if !self.wants() {
            return;
        }
        let masked = if sensitive { mask(reply) } else { None };
        let entry = EntryRef {
            seq: self.entries + 1,
            at,
            call,
            reply: masked.as_ref().unwrap_or(reply),
            masked: masked.is_some(),
        };
        let line = serde_json::to_string(&entry).unwrap_or_default();
        let bytes = (self.lines.len() + line.len() + 1) as u64;
        if line.is_empty() || self.entries >= self.max_entries || bytes > self.max_bytes {
            self.full = true;
            return;
        }
        self.entries += 1;
        self.lines.push_str(&line);
        self.lines.push('\n');
    }

    pub(crate) fn finish(self, script: &str) -> Tape {
        let header = Header {
            format: FORMAT.into(),
            script: script.into(),
            wit: WIT_VERSION.into(),
            complete: self.on && !self.full,
        };
        Tape { header, entries: self.entries, lines: self.lines }
    }
}

/// The reply without what the caller said or pressed; none where it says nothing
/// of the kind.
fn mask(reply: &Reply) -> Option<Reply> {
    let utterance = |u: &Utterance| Utterance { text: MASK.into(), ..u.clone() };
    let heard = |heard: &Heard| match heard {
        Heard::Speech(u) => Heard::Speech(utterance(u)),
        Heard::Digits(_) => Heard::Digits(MASK.into()),
        Heard::NoMatch(_) => Heard::NoMatch(MASK.into()),
        Heard::Nothing => Heard::Nothing,
    };
    Some(Ok(match reply.as_ref().ok()? {
        HostReply::Heard(h) => HostReply::Heard(heard(h)),
        HostReply::Answer { heard: h, prompt } => HostReply::Answer { heard: heard(h), prompt: prompt.clone() },
        HostReply::MaybeUtterance(Some(u)) => HostReply::MaybeUtterance(Some(utterance(u))),
        HostReply::Utterances(all) => HostReply::Utterances(all.iter().map(utterance).collect()),
        HostReply::MaybeEvent(Some(event)) => HostReply::MaybeEvent(Some(match event {
            Event::Digit(_) => Event::Digit('*'),
            Event::Partial(u) => Event::Partial(utterance(u)),
            Event::Message(_) => Event::Message(format!("\"{MASK}\"")),
            Event::Other(kind, _) => Event::Other(kind.clone(), format!("\"{MASK}\"")),
            Event::SpeechStarted | Event::SpeechEnded | Event::Ended(_) | Event::Draining(_) => return None,
        })),
        HostReply::Json(_) => HostReply::Json(format!("\"{MASK}\"")),
        HostReply::Text(_) => HostReply::Text(MASK.into()),
        HostReply::MaybeText(Some(_)) => HostReply::MaybeText(Some(MASK.into())),
        HostReply::Bytes(_) => HostReply::Bytes(Vec::new()),
        HostReply::Done
        | HostReply::Info(_)
        | HostReply::Handle(_)
        | HostReply::Playout(_)
        | HostReply::MaybePlayout(_)
        | HostReply::MaybeUtterance(None)
        | HostReply::Transfer(_)
        | HostReply::MaybeEvent(None)
        | HostReply::Ready(_)
        | HostReply::Flag(_)
        | HostReply::Number(_)
        | HostReply::LocalTime(_)
        | HostReply::MaybeText(None) => return None,
    }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;
    use callbox_dialogue::script::{Playout, PlayoutEnd};

    fn answer(digits: &str) -> Reply {
        let prompt = Playout { end: PlayoutEnd::Finished, played: 900, heard_text: "Your PIN?".into() };
        Ok(HostReply::Answer { heard: Heard::Digits(digits.into()), prompt })
    }

    fn recorder(bytes: u64, entries: u32) -> Recorder {
        Recorder::new(true, bytes, entries)
    }

    #[test]
    fn what_is_recorded_is_read_and_secrets_are_masked() {
        let mut tape = recorder(10_000, 10);
        tape.record(&HostCall::Answer, &Ok(HostReply::Done), true, Time(5));
        tape.record(&HostCall::AwaitQuiet, &answer("4711"), true, Time(7));
        tape.record(&HostCall::AwaitQuiet, &answer("1"), false, Time(8));
        let tape = tape.finish("sha256:00");
        let text = tape.to_json_lines();
        assert!(!text.contains("4711"));
        let (header, entries) = Tape::read(&text).unwrap();
        assert!(header.complete);
        assert_eq!(entries.len(), 3);
        assert_eq!((entries[0].seq, entries[0].at, entries[0].masked), (1, Time(5), false));
        assert!(entries[1].masked);
        assert_eq!(entries[2].reply, answer("1"));
    }

    #[test]
    fn a_full_tape_says_so_and_keeps_its_beginning() {
        for (bytes, entries) in [(10_000, 2), (130, 100)] {
            let mut tape = recorder(bytes, entries);
            for n in 0..5 {
                tape.record(&HostCall::Now, &Ok(HostReply::Number(n)), false, Time(n));
            }
            let tape = tape.finish("sha256:00");
            assert!(!tape.header.complete && tape.entries < 5 && tape.entries > 0);
            assert_eq!(Tape::read(&tape.to_json_lines()).unwrap().1.len(), tape.entries as usize);
        }
    }

    #[test]
    fn broken_tapes_are_errors_that_name_the_line() {
        let good = recorder(1_000, 9).finish("sha256:00").to_json_lines();
        let entry = r#"{"seq":2,"at":1,"call":{"call":"now"},"reply":{"Ok":{"reply":"number","value":1}}}"#;
        assert_eq!(Tape::read("").unwrap_err().line, 1);
        assert_eq!(Tape::read("{}").unwrap_err().line, 1);
        assert!(Tape::read(&good.replace("tape/1", "tape/9")).unwrap_err().problem.contains("tape/9"));
        assert_eq!(Tape::read(&format!("{good}nonsense")).unwrap_err().line, 2);
        assert!(Tape::read(&format!("{good}{entry}")).unwrap_err().problem.contains("numbered 2"));
    }
}
