//! The trace of a call for a person to read: one line for each host call of the
//! script, with the call's time, what was asked and what was answered, in short.
//!
//! One renderer for all who show one – `--trace`, chat, replay, explore – so that
//! the same call reads the same everywhere. The script's own log stands in its
//! place. What the caller gave in confidence is never shown, neither where the
//! script is told it nor where it passes it on.
//!
//! ```
//! use callbox_dialogue::{HostCall, HostReply, Time};
//! use callbox_sim::trace::Renderer;
//!
//! let mut trace = Renderer::default();
//! let call = HostCall::Sleep { delay: 1_500 };
//! let line = trace.line(Time(2_000), Time(3_500), &call, &Ok(HostReply::Done), false);
//! assert_eq!(line, "0:02.000  wait.sleep 1.5 s → done (1.5 s)");
//! ```

use crate::told::Exchange;
use callbox_dialogue::llm::{Finish, ModelReply, Setting};
use callbox_dialogue::script::{
    BargeIn, DigitOptions, Event, Handle, Heard, ListenOptions, Playout, PlayoutEnd, Prompt, Queueing, Segment,
    TransferMode, TransferOptions, TransferOutcome, Utterance,
};
use callbox_dialogue::{
    CallInfo, Direction, EndCause, HostCall, HostError, HostReply, Reply, Secrets, Time, Transport,
};
use callbox_script::import_name;
use callbox_script::tape::MASK;
use std::fmt::Write as _;

/// Characters of one text, of one piece of JSON.
const TEXT: usize = 72;
/// Characters of a log line.
const LOG: usize = 400;

/// Writes the lines of one call's trace, in order. It remembers what was secret,
/// so that it stays so when the script passes it on.
#[derive(Clone, Debug, Default)]
pub struct Renderer {
    secrets: Secrets,
}

impl Renderer {
    /// One line, without an end of line: when the call was asked, what, and the
    /// answer with how long it took (where it took time). `sensitive` as
    /// [`callbox_script::Answered`] has it.
    pub fn line(&mut self, asked: Time, answered: Time, call: &HostCall, reply: &Reply, sensitive: bool) -> String {
        let mut line = format!("{}  {}", clock(asked), self.asked(call));
        if !is_plain(call, reply) {
            let _ = write!(line, " → {}", self.answered(reply, sensitive));
        }
        let took = answered.since(asked);
        if took > 0 {
            let _ = write!(line, " ({})", span(took));
        }
        line
    }

    /// The line of one host call of a simulated call.
    pub fn exchange(&mut self, exchange: &Exchange) -> String {
        let Exchange { asked, answered, call, reply, sensitive } = exchange;
        match (answered, reply) {
            (Some(answered), Some(reply)) => self.line(*asked, *answered, call, reply, *sensitive),
            _ => format!("{}  {} → no answer any more", clock(*asked), self.asked(call)),
        }
    }

    /// What was asked: the import's name as the author knows it, and its
    /// arguments in short. A log line is its level and its words.
    #[must_use]
    pub fn asked(&self, call: &HostCall) -> String {
        let arguments = self.arguments(call);
        match call {
            HostCall::Log { level, message } => format!("log {}: {}", level.as_str(), self.plain(message, LOG)),
            _ if arguments.is_empty() => import_name(call).to_owned(),
            _ => format!("{} {arguments}", import_name(call)),
        }
    }

    /// What was answered, in short.
    pub fn answered(&mut self, reply: &Reply, sensitive: bool) -> String {
        if sensitive {
            self.secrets.remember(reply);
        }
        match reply {
            Ok(reply) => self.reply(reply, sensitive),
            Err(error) => format!("error: {}", self.error(error)),
        }
    }

    /// Notes a secret that became known elsewhere, so that it is hidden from here
    /// on.
    pub fn hide(&mut self, secret: &str) {
        self.secrets.hide(secret);
    }

    fn arguments(&self, call: &HostCall) -> String {
        match call {
            HostCall::Reject { status, reason } => match reason {
                Some(reason) => format!("{status} {}", self.quoted(reason)),
                None => status.to_string(),
            },
            HostCall::SendDigits { digits } => self.quoted(digits),
            HostCall::StartTransfer { target, options } | HostCall::Transfer { target, options } => {
                self.transfer(target, options)
            }
            HostCall::SetDefault { name, value } => format!("{} = {}", self.word(name), self.quoted(value)),
            HostCall::Say { prompt } | HostCall::StartSay { prompt } => self.prompt(prompt),
            HostCall::Ask { prompt, options } => format!("{}; {}", self.prompt(prompt), listening(options)),
            HostCall::Listen { options } | HostCall::StartListen { options } => listening(options),
            HostCall::OpenWriter { barge_in } => barge(*barge_in).unwrap_or_default().to_owned(),
            HostCall::Write { handle, text } => format!("{} {}", number(*handle), self.quoted(text)),
            HostCall::AwaitTransfer { handle }
            | HostCall::CancelTransfer { handle }
            | HostCall::AwaitPlayback { handle }
            | HostCall::StopPlayback { handle }
            | HostCall::FinishWriter { handle }
            | HostCall::AwaitListening { handle }
            | HostCall::NextPartial { handle }
            | HostCall::Alternatives { handle }
            | HostCall::StopListening { handle }
            | HostCall::Meaning { handle: Some(handle) }
            | HostCall::IsReady { handle }
            | HostCall::Release { handle }
            | HostCall::AwaitFetch { handle }
            | HostCall::Complete { handle }
            | HostCall::StartComplete { handle }
            | HostCall::AwaitModelReply { handle }
            | HostCall::CancelModelReply { handle }
            | HostCall::ModelMessages { handle } => number(*handle),
            HostCall::NextEvent { timeout } => within(*timeout),
            HostCall::EnableEvent { kind } => self.word(kind),
            HostCall::After { delay } | HostCall::Sleep { delay } => span(u64::from(*delay)),
            HostCall::Select { handles, timeout } => {
                let handles: Vec<_> = handles.iter().take(8).map(|handle| number(*handle)).collect();
                [handles.join(" "), within(*timeout)].join(" ").trim().to_owned()
            }
            HostCall::LocalTime { zone } => self.word(zone),
            HostCall::RandomBytes { count } => count.to_string(),
            HostCall::Fetch { source, parameters } | HostCall::StartFetch { source, parameters } => {
                let mut text = self.word(source);
                for (name, value) in parameters.iter().take(8) {
                    let _ = write!(text, " {}={}", self.word(name), self.quoted(value));
                }
                text
            }
            HostCall::OpenConversation { model } => self.word(model),
            HostCall::AddMessage { handle, role, text } => {
                format!("{} {} {}", number(*handle), role.as_str(), self.quoted(text))
            }
            HostCall::AddTool { handle, tool } => format!("{} {}", number(*handle), self.word(&tool.name)),
            HostCall::AddToolResult { handle, id, content } => {
                format!("{} {} {}", number(*handle), self.word(id), self.quoted(content))
            }
            HostCall::SetModel { handle, setting } => match setting {
                Setting::Temperature(degree) => format!("{} {degree}", number(*handle)),
                Setting::MaxTokens(tokens) => format!("{} {tokens}", number(*handle)),
                Setting::Extra(name, value) => {
                    format!("{} {} = {}", number(*handle), self.word(name), self.json(value))
                }
            },
            HostCall::ModelReply { handle, barge_in } | HostCall::StartModelReply { handle, barge_in } => {
                barge(*barge_in).map_or_else(|| number(*handle), |barge| format!("{}, {barge}", number(*handle)))
            }
            HostCall::AskModel { handle, barge_in, options } => {
                let barge = barge(*barge_in).map_or_else(String::new, |barge| format!(", {barge}"));
                format!("{}{barge}; {}", number(*handle), listening(options))
            }
            HostCall::SetField { name, value } => format!("{} = {}", self.word(name), self.json(value)),
            HostCall::SetDisposition { disposition } => self.word(disposition),
            HostCall::SetIntent { name, grade } => match grade {
                Some(grade) => format!("{}, grade {}", self.word(name), self.plain(&grade.to_string(), 1)),
                None => self.word(name),
            },
            HostCall::AddTag { tag } => self.word(tag),
            HostCall::EnterNode { name } | HostCall::GetSetting { name } => self.word(name),
            HostCall::Push { destination, body } => format!("{} {}", self.word(destination), self.json(body)),
            HostCall::Log { message, .. } => self.plain(message, LOG),
            HostCall::GetInfo
            | HostCall::Ring
            | HostCall::EarlyMedia
            | HostCall::Answer
            | HostCall::Hangup
            | HostCall::AwaitQuiet
            | HostCall::Meaning { handle: None }
            | HostCall::Now
            | HostCall::Elapsed
            | HostCall::RandomNumber
            | HostCall::SetOptOut => String::new(),
        }
    }

    fn reply(&self, reply: &HostReply, sensitive: bool) -> String {
        match reply {
            HostReply::Done => "done".into(),
            HostReply::Info(info) => self.info(info),
            HostReply::Handle(handle) => number(*handle),
            HostReply::Playout(playout) | HostReply::MaybePlayout(Some(playout)) => self.playout(playout),
            HostReply::MaybePlayout(None) => "nothing yet".into(),
            HostReply::Heard(heard) => self.heard(heard, sensitive),
            HostReply::Answer { heard, prompt } => {
                format!("{}; prompt {}", self.heard(heard, sensitive), self.playout(prompt))
            }
            HostReply::MaybeUtterance(Some(utterance)) => self.utterance(utterance, sensitive),
            HostReply::MaybeUtterance(None)
            | HostReply::MaybeText(None)
            | HostReply::MaybeJson(None)
            | HostReply::MaybeEvent(None) => "none".into(),
            HostReply::Utterances(all) => {
                let all: Vec<_> = all.iter().take(4).map(|utterance| self.utterance(utterance, sensitive)).collect();
                if all.is_empty() { "none".into() } else { all.join(" | ") }
            }
            HostReply::Transfer(outcome) => match outcome {
                TransferOutcome::Connected => "connected".into(),
                TransferOutcome::Returned => "the caller is back".into(),
                TransferOutcome::Failed(status, reason) => format!("failed: {status} {}", self.word(reason)),
            },
            HostReply::MaybeEvent(Some(event)) => self.event(event, sensitive),
            HostReply::Ready(indexes) => {
                let indexes: Vec<_> = indexes.iter().take(8).map(u32::to_string).collect();
                if indexes.is_empty() { "none is ready".into() } else { format!("ready: {}", indexes.join(", ")) }
            }
            HostReply::Flag(yes) => if *yes { "yes" } else { "no" }.into(),
            HostReply::Number(number) => number.to_string(),
            HostReply::Bytes(bytes) => format!("{} bytes", bytes.len()),
            HostReply::LocalTime(time) => {
                let (year, month, day) = (time.year, time.month, time.day);
                let (hour, minute, second) = (time.hour, time.minute, time.second);
                let (sign, offset) = (if time.utc_offset < 0 { '-' } else { '+' }, time.utc_offset.unsigned_abs());
                format!(
                    "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{sign}{:02}:{:02}",
                    offset / 60,
                    offset % 60
                )
            }
            HostReply::Json(_) | HostReply::MaybeJson(Some(_)) | HostReply::Text(_) | HostReply::MaybeText(Some(_))
                if sensitive =>
            {
                MASK.into()
            }
            HostReply::Json(text) | HostReply::MaybeJson(Some(text)) => self.json(text),
            HostReply::Text(text) | HostReply::MaybeText(Some(text)) => self.quoted(text),
            HostReply::ModelReply(reply) => self.model_reply(reply),
            HostReply::ModelTurn(turn) => match &turn.heard {
                Some(heard) => format!("{}; then {}", self.model_reply(&turn.reply), self.heard(heard, sensitive)),
                None => self.model_reply(&turn.reply),
            },
            HostReply::Messages(all) => format!("{} turns", all.len()),
        }
    }

    fn model_reply(&self, reply: &ModelReply) -> String {
        let mut text = if reply.text.is_empty() { String::new() } else { self.quoted(&reply.text) };
        if let Some(playout) = &reply.playout {
            let _ = write!(text, " {}", self.playout(playout));
        }
        for call in reply.tool_calls.iter().take(4) {
            let problem = call.problem.as_ref().map_or("", |_| " (broken)");
            let _ = write!(text, " calls {} {}{problem}", self.word(&call.name), self.json(&call.arguments));
        }
        match &reply.finish {
            Finish::Done | Finish::ToolCalls | Finish::Interrupted => {}
            Finish::Length => text.push_str(", cut at its limit"),
            Finish::Broken(error) => {
                let _ = write!(text, ", broke off: {}", self.error(error));
            }
            Finish::Other(word) => {
                let _ = write!(text, ", {}", self.word(word));
            }
        }
        text.trim_start().to_owned()
    }

    fn info(&self, info: &CallInfo) -> String {
        let direction = match info.direction {
            Direction::Inbound => "inbound",
            Direction::Outbound => "outbound",
        };
        let over = match info.transport {
            Transport::Sip => "SIP",
            Transport::Webrtc => "WebRTC",
            Transport::Simulated => "simulated",
        };
        let name = |party: &callbox_dialogue::Party| self.word(party.number.as_deref().unwrap_or(&party.uri));
        format!(
            "{direction} ({over}) from {} to {}, {}",
            name(&info.caller),
            name(&info.callee),
            self.word(&info.language)
        )
    }

    fn transfer(&self, target: &str, options: &TransferOptions) -> String {
        let mode = match options.mode {
            TransferMode::Refer => "by REFER",
            TransferMode::Bridge => "bridged",
        };
        format!("{} {mode}, rings {}", self.word(target), span(u64::from(options.ring_timeout)))
    }

    fn prompt(&self, prompt: &Prompt) -> String {
        let mut parts: Vec<String> = prompt
            .segments
            .iter()
            .take(8)
            .map(|segment| match segment {
                Segment::Text(text) | Segment::Ssml(text) => self.quoted(text),
                Segment::Asset(path) => format!("[{}]", self.word(path)),
                Segment::Silence(ms) => format!("[silence {}]", span(u64::from(*ms))),
            })
            .collect();
        if prompt.segments.len() > parts.len() {
            parts.push("…".into());
        }
        let mut text = parts.join(" ");
        if let Some(barge) = barge(prompt.barge_in) {
            let _ = write!(text, ", {barge}");
        }
        if prompt.queueing == Queueing::Replace {
            text.push_str(", in place of what is queued");
        }
        text
    }

    fn playout(&self, playout: &Playout) -> String {
        let played = span(u64::from(playout.played));
        let cut = match playout.end {
            PlayoutEnd::Finished => return format!("played to its end, {played}"),
            PlayoutEnd::CutBySpeech => "cut by speech",
            PlayoutEnd::CutByDigits => "cut by a key",
            PlayoutEnd::Stopped => "stopped",
        };
        if playout.heard_text.is_empty() {
            return format!("{cut} after {played}");
        }
        // Its end is where it was cut.
        format!("{cut} after {played}, heard {}", self.end_of(&playout.heard_text))
    }

    fn heard(&self, heard: &Heard, sensitive: bool) -> String {
        match heard {
            Heard::Speech(utterance) => format!("said {}", self.utterance(utterance, sensitive)),
            Heard::Digits(_) if sensitive => format!("keys {MASK}"),
            Heard::Digits(digits) => format!("keys {}", self.quoted(digits)),
            Heard::Nothing => "heard nothing".into(),
            Heard::NoMatch(_) if sensitive => format!("no match {MASK}"),
            Heard::NoMatch(given) if given.is_empty() => "no match".into(),
            Heard::NoMatch(given) => format!("no match {}", self.quoted(given)),
        }
    }

    fn utterance(&self, utterance: &Utterance, sensitive: bool) -> String {
        if sensitive { MASK.to_owned() } else { self.quoted(&utterance.text) }
    }

    fn event(&self, event: &Event, sensitive: bool) -> String {
        match event {
            Event::Digit(_) if sensitive => format!("key {MASK}"),
            Event::Digit(digit) => format!("key {}", self.plain(&digit.to_string(), 1)),
            Event::SpeechStarted => "speech started".into(),
            Event::SpeechEnded => "speech ended".into(),
            Event::Partial(utterance) => format!("partly said {}", self.utterance(utterance, sensitive)),
            Event::Message(_) if sensitive => format!("message {MASK}"),
            Event::Message(json) => format!("message {}", self.json(json)),
            Event::Ended(cause) => format!("the call ended: {}", self.cause(cause)),
            Event::Draining(ms) => format!("the host goes down in {}", span(u64::from(*ms))),
            Event::Other(kind, _) if sensitive => format!("{} {MASK}", self.word(kind)),
            Event::Other(kind, json) => format!("{} {}", self.word(kind), self.json(json)),
        }
    }

    fn error(&self, error: &HostError) -> String {
        match error {
            HostError::Ended(cause) => format!("ended ({})", self.cause(cause)),
            other => self.plain(&other.to_string(), 2 * TEXT),
        }
    }

    fn cause(&self, cause: &EndCause) -> String {
        match cause {
            EndCause::RemoteHangup => "the far end hung up".into(),
            EndCause::LocalHangup => "the script hung up".into(),
            EndCause::Transferred => "transferred".into(),
            EndCause::NetworkFailure => "network failure".into(),
            EndCause::Operator(why) | EndCause::Other(why) => self.plain(why, TEXT),
        }
    }

    /// In quotes.
    fn quoted(&self, text: &str) -> String {
        format!("\"{}\"", self.plain(text, TEXT))
    }

    /// The end of a text, in quotes.
    fn end_of(&self, text: &str) -> String {
        let text = self.secrets.out_of(text);
        let count = text.chars().count();
        if count <= TEXT {
            return format!("\"{}\"", printable(&text, TEXT));
        }
        let end: String = text.chars().skip(count - TEXT).collect();
        format!("\"…{}\"", printable(&end, TEXT))
    }

    /// A name: as it is, in quotes where it would not be seen as one.
    fn word(&self, text: &str) -> String {
        let plain = self.plain(text, TEXT);
        if plain.is_empty() || plain.contains(' ') { format!("\"{plain}\"") } else { plain }
    }

    /// JSON as it is, with the space between its parts left out.
    fn json(&self, text: &str) -> String {
        match serde_json::from_str::<serde_json::Value>(text) {
            Ok(value) => self.plain(&value.to_string(), TEXT),
            Err(_) => self.plain(text, TEXT),
        }
    }

    fn plain(&self, text: &str, most: usize) -> String {
        printable(&self.secrets.out_of(text), most)
    }
}

/// A time of the call: `0:03.250`, `1:02:03.004`.
#[must_use]
pub fn clock(at: Time) -> String {
    let (seconds, ms) = (at.0 / 1_000, at.0 % 1_000);
    let (minutes, seconds) = (seconds / 60, seconds % 60);
    let (hours, of_hour) = (minutes / 60, minutes % 60);
    if hours > 0 {
        format!("{hours}:{of_hour:02}:{seconds:02}.{ms:03}")
    } else {
        format!("{of_hour}:{seconds:02}.{ms:03}")
    }
}

/// A span in milliseconds as one says it: `250 ms`, `1.5 s`, `2 min 30 s`.
#[must_use]
pub fn span(ms: u64) -> String {
    if ms < 1_000 {
        return format!("{ms} ms");
    }
    let tenths = ms / 100;
    let seconds = |tenths: u64| match tenths % 10 {
        0 => format!("{} s", tenths / 10),
        tenth => format!("{}.{tenth} s", tenths / 10),
    };
    match tenths / 600 {
        0 => seconds(tenths),
        minutes if tenths.is_multiple_of(600) => format!("{minutes} min"),
        minutes => format!("{minutes} min {}", seconds(tenths % 600)),
    }
}

/// Text fit for a terminal: on one line, nothing that moves a cursor or turns a
/// line around, at most so many characters; what is cut off is marked.
#[must_use]
pub fn printable(text: &str, most: usize) -> String {
    let mut out = String::new();
    for (n, c) in text.chars().enumerate() {
        if n >= most {
            out.push('…');
            break;
        }
        out.push(match c {
            '\n' | '\r' | '\t' => ' ',
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
            c if c.is_control() => '\u{fffd}',
            c => c,
        });
    }
    out
}

/// Whether the answer goes without saying.
const fn is_plain(call: &HostCall, reply: &Reply) -> bool {
    matches!(
        (call, reply),
        (
            HostCall::Log { .. }
                | HostCall::Release { .. }
                | HostCall::EnterNode { .. }
                | HostCall::SetField { .. }
                | HostCall::SetDisposition { .. }
                | HostCall::SetIntent { .. }
                | HostCall::AddTag { .. }
                | HostCall::SetOptOut
                | HostCall::SetDefault { .. }
                | HostCall::AddMessage { .. }
                | HostCall::AddTool { .. }
                | HostCall::AddToolResult { .. }
                | HostCall::SetModel { .. },
            Ok(HostReply::Done)
        )
    )
}

fn number(handle: Handle) -> String {
    if handle == Handle::EVENTS { "#events".into() } else { format!("#{}", handle.0) }
}

fn within(timeout: Option<u32>) -> String {
    timeout.map_or_else(String::new, |ms| format!("within {}", span(u64::from(ms))))
}

const fn barge(barge_in: BargeIn) -> Option<&'static str> {
    match (barge_in.speech, barge_in.digits) {
        (false, false) => None,
        (true, false) => Some("speech interrupts"),
        (false, true) => Some("keys interrupt"),
        (true, true) => Some("speech and keys interrupt"),
    }
}

fn listening(options: &ListenOptions) -> String {
    let mut parts = Vec::new();
    if options.speech {
        parts.push(
            options
                .grammar
                .as_ref()
                .map_or_else(|| "speech".to_owned(), |grammar| format!("speech ({})", grammar.answer.kind())),
        );
    }
    if let Some(DigitOptions { min, max, terminator, .. }) = options.digits {
        let count = if min == max { max.to_string() } else { format!("{min} to {max}") };
        let keys = if max == 1 { "1 key".to_owned() } else { format!("{count} keys") };
        parts.push(terminator.map_or(keys.clone(), |end| format!("{keys} to {}", printable(&end.to_string(), 1))));
    }
    let mut text = format!("listens for {}", if parts.is_empty() { "nothing".into() } else { parts.join(" or ") });
    let _ = write!(text, " within {}", span(u64::from(options.start_timeout)));
    if options.type_ahead {
        text.push_str(", type-ahead");
    }
    if options.sensitive {
        text.push_str(", sensitive");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use callbox_dialogue::script::LogLevel;

    fn say(text: &str) -> HostCall {
        HostCall::Say {
            prompt: Prompt {
                segments: vec![Segment::Asset("chime.wav".into()), Segment::Silence(200), Segment::Text(text.into())],
                barge_in: BargeIn { speech: false, digits: true },
                queueing: Queueing::Append,
            },
        }
    }

    fn keys(digits: &str) -> Reply {
        let prompt = Playout { end: PlayoutEnd::CutByDigits, played: 1_240, heard_text: "Your PIN".into() };
        Ok(HostReply::Answer { heard: Heard::Digits(digits.into()), prompt })
    }

    fn ask(sensitive: bool) -> HostCall {
        let HostCall::Say { prompt } = say("Your PIN, please.") else { unreachable!("made above") };
        let digits = DigitOptions { min: 4, max: 8, terminator: Some('#'), digit_timeout: 2_000 };
        let options = ListenOptions { digits: Some(digits), speech: false, sensitive, ..ListenOptions::default() };
        HostCall::Ask { prompt, options: Box::new(options) }
    }

    #[test]
    fn a_line_has_time_question_answer_and_how_long_it_took() {
        let mut trace = Renderer::default();
        let played =
            Ok(HostReply::Playout(Playout { end: PlayoutEnd::Finished, played: 2_300, heard_text: "Hello.".into() }));
        assert_eq!(
            trace.line(Time(1_000), Time(3_300), &say("Hello."), &played, false),
            "0:01.000  voice.say [chime.wav] [silence 200 ms] \"Hello.\", keys interrupt → played to its end, 2.3 s (2.3 s)"
        );
        assert_eq!(
            trace.line(Time(3_300), Time(9_540), &ask(false), &keys("4711"), false),
            "0:03.300  voice.ask [chime.wav] [silence 200 ms] \"Your PIN, please.\", keys interrupt; listens for 4 to 8 keys \
             to # within 5 s → keys \"4711\"; prompt cut by a key after 1.2 s, heard \"Your PIN\" (6.2 s)"
        );
    }

    #[test]
    fn what_goes_without_saying_is_not_said_and_errors_always_are() {
        let mut trace = Renderer::default();
        let node = HostCall::EnterNode { name: "menu".into() };
        assert_eq!(
            trace.line(Time(0), Time(0), &node, &Ok(HostReply::Done), false),
            "0:00.000  results.enter-node menu"
        );
        let refused = Err(HostError::LimitExceeded("1000 nodes".into()));
        let line = trace.line(Time(0), Time(0), &node, &refused, false);
        assert_eq!(line, "0:00.000  results.enter-node menu → error: limit exceeded: 1000 nodes");
        let log = HostCall::Log { level: LogLevel::Warn, message: "no appointment:\n\x1b[2Jgone".into() };
        let line = trace.line(Time(61_002), Time(61_002), &log, &Ok(HostReply::Done), false);
        assert_eq!(line, "1:01.002  log warn: no appointment: \u{fffd}[2Jgone");
    }

    #[test]
    fn a_secret_is_shown_neither_where_it_is_heard_nor_where_it_is_passed_on() {
        let mut trace = Renderer::default();
        let mut lines = vec![trace.line(Time(0), Time(1), &ask(true), &keys("4711"), true)];
        for call in [
            HostCall::Fetch { source: "crm".into(), parameters: vec![("pin".into(), "4711".into())] },
            HostCall::Push { destination: "out".into(), body: r#"{"note": "pin 4711 given"}"#.into() },
            HostCall::Log { level: LogLevel::Info, message: "the pin was 4711".into() },
            HostCall::SetField { name: "pin".into(), value: "\"4711\"".into() },
        ] {
            lines.push(trace.line(Time(1), Time(1), &call, &Ok(HostReply::Done), false));
        }
        for line in &lines {
            assert!(!line.contains("4711") && line.contains(MASK), "{line}");
        }
    }

    #[test]
    fn a_secret_of_one_key_hides_itself_and_not_every_such_digit() {
        let mut trace = Renderer::default();
        trace.hide("1");
        let fetch = HostCall::Fetch { source: "crm".into(), parameters: vec![("key".into(), "1".into())] };
        assert_eq!(trace.asked(&fetch), format!("context.fetch crm key=\"{MASK}\""));
        let fetch = HostCall::Fetch { source: "crm".into(), parameters: vec![("year".into(), "2101".into())] };
        assert_eq!(trace.asked(&fetch), "context.fetch crm year=\"2101\"");
    }

    #[test]
    fn long_texts_are_short_and_a_cut_prompt_shows_where_it_was_cut() {
        let mut trace = Renderer::default();
        let long = "word ".repeat(100) + "last";
        assert!(trace.asked(&say(&long)).chars().count() < 160);
        let playout = Playout { end: PlayoutEnd::CutBySpeech, played: 30_000, heard_text: long };
        let answer = trace.answered(&Ok(HostReply::Playout(playout)), false);
        assert!(answer.starts_with("cut by speech after 30 s, heard \"…") && answer.ends_with("last\""), "{answer}");
    }

    #[test]
    fn times_and_spans_are_as_one_says_them() {
        assert_eq!(clock(Time(0)), "0:00.000");
        assert_eq!(clock(Time(3_723_004)), "1:02:03.004");
        assert_eq!(
            [0, 999, 1_000, 1_250, 60_000, 90_500].map(span),
            ["0 ms", "999 ms", "1 s", "1.2 s", "1 min", "1 min 30.5 s"]
        );
    }
}
