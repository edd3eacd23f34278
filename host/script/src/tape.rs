//! The tape: every call of a script and its answer, in order.
//!
//! It is the trace of a call, and what a replay answers from. One JSON document a
//! line: first the [`Header`], then an [`Entry`] for each call that was answered,
//! at last the [`Ending`]. It only ever grows by new members and new kinds of calls
//! and replies; whoever reads an older one finds what was there. Tapes of hosts
//! before the end was written down have no `entries`, no `limits` and no last line.

use crate::config::ScriptLimits;
use crate::run::RunReason;
pub use callbox_dialogue::secrets::MASK;

use callbox_dialogue::llm::ModelTurn;
use callbox_dialogue::script::{Event, Heard, Utterance};
use callbox_dialogue::{HostCall, HostReply, Reply, ScriptEnd, Secrets, Time};
use serde::{Deserialize, Serialize};

/// The version of the format.
pub const FORMAT: &str = "callbox-tape/1";
/// The version of `callbox:dialogue` whose calls are on the tape.
pub const WIT_VERSION: &str = "0.1.0";

/// The first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// [`FORMAT`].
    pub format: String,
    /// Digest of the script's component.
    pub script: String,
    /// Version of `callbox:dialogue`.
    pub wit: String,
    /// Whether every call of the script that was answered is there. Not when the
    /// limit of bytes or entries was reached: the last ones are missing then.
    pub complete: bool,
    /// Entries that follow, and an [`Ending`] behind them: what is less has been cut
    /// off since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entries: Option<u32>,
    /// What the script might use. A replay gives it the same: what is over a limit
    /// (a line of log, a page of memory) never becomes a call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<ScriptLimits>,
}

/// A call and its answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Counts from 1.
    pub seq: u32,
    /// When it was answered.
    pub at: Time,
    /// What was asked. What the caller gave in confidence before is masked.
    pub call: HostCall,
    /// What was answered. What the caller gave in confidence is masked.
    pub reply: Reply,
    /// Something of the answer is masked.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub masked: bool,
}

/// The last line: how the script came to its end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ending {
    /// How.
    pub end: ScriptEnd,
    /// Whether that was its own doing.
    pub reason: RunReason,
    /// The call that was never answered, because the script was stopped while it
    /// waited: its time after the end of the call was over, or the fallback ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<HostCall>,
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

/// A tape that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Recording {
    /// The first line.
    pub header: Header,
    /// The calls that were answered, in order; `seq` is the index plus one.
    pub entries: Vec<Entry>,
    /// How the script ended; none on the tape of an older host.
    pub ending: Option<Ending>,
}

impl Tape {
    /// A tape with nothing on it.
    #[must_use]
    pub const fn blank(header: Header) -> Self {
        Self { header, entries: 0, lines: String::new() }
    }

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
    /// When a line is not what it should be, or lines are missing; says which.
    pub fn read(text: &str) -> Result<Recording, TapeError> {
        let wrong = |line: usize, problem: String| TapeError { line: line + 1, problem };
        let mut lines = text.lines().enumerate().peekable();
        let (_, first) = lines.next().ok_or_else(|| wrong(0, "the tape is empty".into()))?;
        let header: Header = serde_json::from_str(first).map_err(|error| wrong(0, error.to_string()))?;
        if header.format != FORMAT {
            let found = crate::text::printable(&header.format, 40);
            return Err(wrong(0, format!("the format is `{found}`; this host reads `{FORMAT}`")));
        }
        let (mut entries, mut ending) = (Vec::new(), None);
        while let Some((n, line)) = lines.next() {
            let entry = match serde_json::from_str::<Entry>(line) {
                Ok(entry) => entry,
                Err(error) => match serde_json::from_str(line) {
                    Ok(last) if lines.peek().is_none() => {
                        ending = Some(last);
                        break;
                    }
                    Ok(Ending { .. }) => return Err(wrong(n, "the script's end, with more behind it".into())),
                    Err(_) => return Err(wrong(n, error.to_string())),
                },
            };
            if entry.seq as usize != n {
                return Err(wrong(n, format!("entry {n} is numbered {}", entry.seq)));
            }
            entries.push(entry);
        }
        if let Some(announced) = header.entries {
            let found = entries.len();
            if found != announced as usize || ending.is_none() {
                let problem = format!(
                    "the tape breaks off: {announced} entries and the script's end are announced, {found} entries {}",
                    if ending.is_some() { "are there" } else { "and no end are there" }
                );
                return Err(wrong(found + 1, problem));
            }
        }
        Ok(Recording { header, entries, ending })
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
    limits: ScriptLimits,
    entries: u32,
    lines: String,
    full: bool,
    /// Asked and not answered yet.
    asked: Option<HostCall>,
    /// What the caller gave in confidence.
    secrets: Secrets,
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
    pub(crate) fn new(on: bool, limits: &ScriptLimits) -> Self {
        let (lines, secrets) = (String::new(), Secrets::default());
        Self { on, limits: limits.clone(), entries: 0, lines, full: false, asked: None, secrets }
    }

    /// Takes down a call. When the script ends before it is answered, that is how it
    /// ended.
    pub(crate) fn asks(&mut self, call: &HostCall) {
        let wanted = self.on && !self.full;
        self.asked = wanted.then(|| self.secrets.out_of_call(call));
    }

    /// Adds the answer. One that does not fit any more ends the tape.
    pub(crate) fn answered(&mut self, reply: &Reply, sensitive: bool, at: Time) {
        // Also where there is no more room: how the script ends is written all the same.
        if sensitive {
            self.secrets.remember(reply);
        }
        let Some(call) = self.asked.take() else { return };
        // A model may say again what it was told.
        let said = self.secrets.out_of_reply(reply);
        let masked = if sensitive { mask(said.as_ref().unwrap_or(reply)) } else { None }.or(said);
        let entry = EntryRef {
            seq: self.entries + 1,
            at,
            call: &call,
            reply: masked.as_ref().unwrap_or(reply),
            masked: masked.is_some(),
        };
        let line = serde_json::to_string(&entry).unwrap_or_default();
        let bytes = (self.lines.len() + line.len() + 1) as u64;
        if line.is_empty() || self.entries >= self.limits.tape_entries || bytes > self.limits.tape_bytes {
            self.full = true;
            return;
        }
        self.entries += 1;
        self.lines.push_str(&line);
        self.lines.push('\n');
    }

    /// The end: what is on the tape of a script that came to it in this way.
    pub(crate) fn finish(mut self, script: &str, end: &ScriptEnd, reason: RunReason) -> Tape {
        let mut end = end.clone();
        if let ScriptEnd::Failed { message }
        | ScriptEnd::Trapped { message }
        | ScriptEnd::Budget { message }
        | ScriptEnd::NotStarted { message } = &mut end
        {
            self.secrets.clean(message);
        }
        let ending = Ending { end, reason, pending: self.asked.take() };
        if let Some(line) = self.on.then(|| serde_json::to_string(&ending).ok()).flatten() {
            self.lines.push_str(&line);
            self.lines.push('\n');
        }
        let header = Header {
            format: FORMAT.into(),
            script: script.into(),
            wit: WIT_VERSION.into(),
            complete: self.on && !self.full,
            entries: self.on.then_some(self.entries),
            limits: self.on.then_some(self.limits),
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
        HostReply::MaybeJson(Some(json)) => HostReply::MaybeJson(Some(mask_members(json))),
        HostReply::Text(_) => HostReply::Text(MASK.into()),
        HostReply::MaybeText(Some(_)) => HostReply::MaybeText(Some(MASK.into())),
        HostReply::Bytes(_) => HostReply::Bytes(Vec::new()),
        HostReply::ModelTurn(turn) => {
            HostReply::ModelTurn(Box::new(ModelTurn { heard: turn.heard.as_ref().map(heard), ..(**turn).clone() }))
        }
        HostReply::ModelReply(_)
        | HostReply::Messages(_)
        | HostReply::Done
        | HostReply::Info(_)
        | HostReply::Handle(_)
        | HostReply::Playout(_)
        | HostReply::MaybePlayout(_)
        | HostReply::MaybeUtterance(None)
        | HostReply::MaybeJson(None)
        | HostReply::Transfer(_)
        | HostReply::MaybeEvent(None)
        | HostReply::Ready(_)
        | HostReply::Flag(_)
        | HostReply::Number(_)
        | HostReply::LocalTime(_)
        | HostReply::MaybeText(None) => return None,
    }))
}

/// JSON with every member masked, so that a script still finds them.
fn mask_members(json: &str) -> String {
    match serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(json) {
        Ok(mut members) => {
            members.values_mut().for_each(|value| *value = MASK.into());
            serde_json::Value::Object(members).to_string()
        }
        Err(_) => format!("\"{MASK}\""),
    }
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
        Recorder::new(true, &ScriptLimits { tape_bytes: bytes, tape_entries: entries, ..ScriptLimits::default() })
    }

    fn add(tape: &mut Recorder, call: &HostCall, reply: &Reply, sensitive: bool, at: Time) {
        tape.asks(call);
        tape.answered(reply, sensitive, at);
    }

    fn finished(tape: Recorder) -> Tape {
        tape.finish("sha256:00", &ScriptEnd::Returned, RunReason::Own)
    }

    #[test]
    fn what_is_recorded_is_read_and_secrets_are_masked() {
        let mut tape = recorder(10_000, 10);
        add(&mut tape, &HostCall::Answer, &Ok(HostReply::Done), true, Time(5));
        add(&mut tape, &HostCall::AwaitQuiet, &answer("4711"), true, Time(7));
        add(&mut tape, &HostCall::AwaitQuiet, &answer("1"), false, Time(8));
        let text = finished(tape).to_json_lines();
        assert!(!text.contains("4711"));
        let Recording { header, entries, ending } = Tape::read(&text).unwrap();
        assert!(header.complete && header.limits.is_some());
        assert_eq!(entries.len(), 3);
        assert_eq!((entries[0].seq, entries[0].at, entries[0].masked), (1, Time(5), false));
        assert!(entries[1].masked);
        assert_eq!(entries[2].reply, answer("1"));
        assert_eq!(ending, Some(Ending { end: ScriptEnd::Returned, reason: RunReason::Own, pending: None }));
    }

    #[test]
    fn a_secret_is_not_in_how_the_script_ended() {
        let mut tape = recorder(10_000, 10);
        add(&mut tape, &HostCall::AwaitQuiet, &answer("4711"), true, Time(7));
        let end = ScriptEnd::Failed { message: "no account for 4711".into() };
        let tape = tape.finish("sha256:0", &end, RunReason::Own);
        assert!(tape.lines.contains("no account for [masked]") && !tape.lines.contains("4711"), "{}", tape.lines);
    }

    #[test]
    fn what_a_secret_means_is_masked_and_keeps_its_shape() {
        let mut tape = recorder(10_000, 10);
        let meaning = |digits: &str| Ok(HostReply::MaybeJson(Some(format!(r#"{{"digits":"{digits}"}}"#))));
        let fetch = |pin: &str| HostCall::Fetch { source: "crm".into(), parameters: vec![("pin".into(), pin.into())] };
        add(&mut tape, &HostCall::Meaning { handle: None }, &meaning("4711"), true, Time(1));
        add(&mut tape, &fetch("4711"), &Ok(HostReply::Done), false, Time(2));
        add(&mut tape, &HostCall::Meaning { handle: None }, &Ok(HostReply::MaybeJson(None)), true, Time(3));
        let text = finished(tape).to_json_lines();
        assert!(!text.contains("4711"));
        let Recording { entries, .. } = Tape::read(&text).unwrap();
        assert_eq!((&entries[0].reply, entries[0].masked), (&meaning(MASK), true));
        assert_eq!(entries[1].call, fetch(MASK), "what was said in words is passed on in digits");
        assert!(!entries[2].masked);
    }

    #[test]
    fn a_tape_from_before_grammars_is_read() {
        let call = r#"{"call":"listen","options":{"languages":[],"hints":[],"start_timeout":5000,"end_silence":700,
            "max_length":30000,"digits":null,"speech":true,"type_ahead":false,"sensitive":false,"min_speech":200,
            "min_words":0,"partials":false,"extra":[]}}"#;
        let call: HostCall = serde_json::from_str(call).unwrap();
        assert_eq!(call, HostCall::Listen { options: Box::default() });
    }

    #[test]
    fn a_secret_is_masked_where_the_script_hands_it_on() {
        let mut tape = recorder(10_000, 10);
        let asks = |pin: &str| HostCall::Fetch { source: "crm".into(), parameters: vec![("pin".into(), pin.into())] };
        add(&mut tape, &asks("4711"), &Ok(HostReply::Done), false, Time(1));
        add(&mut tape, &HostCall::AwaitQuiet, &answer("4711"), true, Time(2));
        add(&mut tape, &asks("4711"), &Ok(HostReply::Done), false, Time(3));
        tape.asks(&asks("4711"));
        let Recording { entries, ending, .. } = Tape::read(&finished(tape).to_json_lines()).unwrap();
        // As a replay asks it, which is given the mask.
        assert_eq!([&entries[0].call, &entries[2].call], [&asks("4711"), &asks(MASK)]);
        assert_eq!(ending.unwrap().pending, Some(asks(MASK)));
        assert!(!entries[2].masked, "its answer is whole");
    }

    #[test]
    fn a_call_that_was_never_answered_is_in_the_end() {
        let mut tape = recorder(10_000, 10);
        add(&mut tape, &HostCall::Answer, &Ok(HostReply::Done), false, Time(5));
        tape.asks(&HostCall::AwaitQuiet);
        let end = ScriptEnd::Budget { message: "its time was over".into() };
        let text = tape.finish("sha256:00", &end, RunReason::Stopped).to_json_lines();
        let recording = Tape::read(&text).unwrap();
        assert_eq!(recording.entries.len(), 1);
        let ending = Ending { end, reason: RunReason::Stopped, pending: Some(HostCall::AwaitQuiet) };
        assert_eq!(recording.ending, Some(ending));
    }

    #[test]
    fn a_full_tape_says_so_and_keeps_its_beginning_and_the_end() {
        for (bytes, entries) in [(10_000, 2), (130, 100)] {
            let mut tape = recorder(bytes, entries);
            for n in 0..5 {
                add(&mut tape, &HostCall::Now, &Ok(HostReply::Number(n)), false, Time(n));
            }
            let tape = finished(tape);
            assert!(!tape.header.complete && tape.entries < 5 && tape.entries > 0);
            let recording = Tape::read(&tape.to_json_lines()).unwrap();
            assert_eq!(recording.entries.len(), tape.entries as usize);
            assert!(recording.ending.is_some());
        }
    }

    const ENTRY: &str = r#"{"seq":1,"at":1,"call":{"call":"now"},"reply":{"Ok":{"reply":"number","value":1}}}"#;

    #[test]
    fn a_tape_of_an_older_host_has_no_end_and_is_read() {
        let old = r#"{"format":"callbox-tape/1","script":"sha256:00","wit":"0.1.0","complete":true}"#;
        let recording = Tape::read(&format!("{old}\n{ENTRY}\n")).unwrap();
        assert_eq!((recording.entries.len(), recording.ending), (1, None));
        assert_eq!((recording.header.entries, recording.header.limits), (None, None));
    }

    #[test]
    fn broken_tapes_are_errors_that_name_the_line() {
        let problem = |text: &str| {
            let TapeError { line, problem } = Tape::read(text).unwrap_err();
            (line, problem)
        };
        let mut tape = recorder(1_000, 9);
        add(&mut tape, &HostCall::Now, &Ok(HostReply::Number(1)), false, Time(1));
        let good = finished(tape).to_json_lines();
        let lines: Vec<&str> = good.lines().collect();
        assert_eq!(problem("").0, 1);
        assert_eq!(problem("{}").0, 1);
        assert!(problem(&good.replace("tape/1", "tape/9")).1.contains("tape/9"));
        let (line, what) = problem(&format!("{good}nonsense"));
        assert!(line == 3 && what.contains("more behind it"), "{line} {what}");
        assert_eq!(problem(&format!("{}\n{}\nnonsense", lines[0], lines[1])).0, 3);
        assert!(problem(&good.replace("\"seq\":1", "\"seq\":2")).1.contains("numbered 2"));
        // Cut off between two lines, and within one.
        let (line, what) = problem(&format!("{}\n{}\n", lines[0], lines[1]));
        assert!(line == 3 && what.contains("no end"), "{line} {what}");
        let (line, what) = problem(&format!("{}\n{}\n", lines[0], lines[2]));
        assert!(line == 2 && what.contains("1 entries"), "{line} {what}");
        assert_eq!(problem(&good[..lines[0].len() + 30]).0, 2);
    }
}
