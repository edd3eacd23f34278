//! What is said on the data channel of a call.
//!
//! To the page goes what it may know: what the robot says and what was heard, how the call stands, and that a person is
//! being fetched. All of it is read off the call's record, in which secrets are masked already; nothing else of the
//! script – its log, its breadcrumbs, its sources, where it transfers to – is for a stranger's eyes. From the page come
//! keys, messages for the script, and the end. What else comes is passed over.

use callbox_dialogue::CallRecord;
use callbox_dialogue::record::Turn;
use callbox_dialogue::script::TransferOutcome;
use callbox_dialogue::time::Time;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

/// Keys in one message.
const KEYS: usize = 64;

/// What a page asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Keys, as if they had been pressed.
    Digits(String),
    /// JSON for the script.
    Message(String),
    /// The caller hangs up.
    Hangup,
}

/// A message of a page.
#[derive(Deserialize)]
struct FromPage<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(default)]
    digits: Option<String>,
    #[serde(default, borrow)]
    data: Option<&'a RawValue>,
}

/// How the call stands, as the page was told last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    #[default]
    Begun,
    Ringing,
    Answered,
    Ended,
}

/// The channel of one call.
#[derive(Debug, Default)]
pub(crate) struct Channel {
    open: bool,
    state: State,
    /// Turns of the transcript that were told at least once.
    turns: usize,
    /// Those that may change yet, and the length of their text when it was told.
    unfinished: Vec<(usize, usize)>,
    /// The transfer that was told, by when it began, and whether its outcome was.
    transfer: Option<(Time, bool)>,
}

/// Reads what a page says; none where it is nothing that we know.
pub(crate) fn read(text: &str) -> Option<Wish> {
    let message: FromPage<'_> = serde_json::from_str(text).ok()?;
    match message.kind {
        "digits" => {
            let digits = message.digits?;
            let is_key = |b: u8| matches!(b, b'0'..=b'9' | b'*' | b'#' | b'A'..=b'D');
            let right = (1..=KEYS).contains(&digits.len()) && digits.bytes().all(is_key);
            right.then_some(Wish::Digits(digits))
        }
        "message" => message.data.map(|data| Wish::Message(data.get().to_owned())),
        "hangup" => Some(Wish::Hangup),
        _ => None,
    }
}

impl Channel {
    pub(crate) fn opened(&mut self, open: bool) {
        self.open = open;
    }

    pub(crate) const fn is_open(&self) -> bool {
        self.open
    }

    /// What the page has not been told of the call: messages, in order.
    pub(crate) fn catch_up(&mut self, record: &CallRecord) -> Vec<String> {
        let mut news = Vec::new();
        self.state_of(record, State::Ringing, &mut news);
        self.state_of(record, State::Answered, &mut news);
        self.captions(&record.transcript, record.ended.is_some(), &mut news);
        self.transfer_of(record, &mut news);
        self.state_of(record, State::Ended, &mut news);
        news
    }

    fn state_of(&mut self, record: &CallRecord, state: State, news: &mut Vec<String>) {
        let (since, name) = match state {
            State::Begun => return,
            State::Ringing => (record.ringing, "ringing"),
            State::Answered => (record.answered, "answered"),
            State::Ended => (record.ended, "ended"),
        };
        if since.is_none() || self.state >= state {
            return;
        }
        self.state = state;
        let mut message = json!({ "type": "state", "state": name });
        if state == State::Ended {
            message["reason"] = json!(record.end_reason.map(|reason| reason.as_str()));
            message["by"] = json!(record.ended_by);
        }
        news.push(message.to_string());
    }

    fn captions(&mut self, transcript: &[Turn], over: bool, news: &mut Vec<String>) {
        self.unfinished.retain_mut(|(at, told)| {
            let Some(turn) = transcript.get(*at) else { return false };
            let finished = over || turn.is_over();
            if finished || turn.text.len() != *told {
                *told = turn.text.len();
                news.push(caption(turn, finished));
            }
            !finished
        });
        for (at, turn) in transcript.iter().enumerate().skip(self.turns) {
            let finished = over || turn.is_over();
            if !finished {
                self.unfinished.push((at, turn.text.len()));
            }
            news.push(caption(turn, finished));
        }
        self.turns = self.turns.max(transcript.len());
    }

    fn transfer_of(&mut self, record: &CallRecord, news: &mut Vec<String>) {
        let Some(transfer) = &record.transfer else { return };
        let event = |state: &str| json!({ "type": "event", "event": "transfer", "state": state }).to_string();
        if self.transfer.is_none_or(|(at, _)| at != transfer.at) {
            self.transfer = Some((transfer.at, false));
            news.push(event("begun"));
        }
        if let (Some((_, told @ false)), Some(outcome)) = (&mut self.transfer, &transfer.outcome) {
            *told = true;
            news.push(event(match outcome {
                TransferOutcome::Connected => "connected",
                TransferOutcome::Failed(..) => "failed",
                TransferOutcome::Returned => "returned",
            }));
        }
    }
}

fn caption(turn: &Turn, finished: bool) -> String {
    let text = turn.heard_text.as_deref().filter(|_| finished).unwrap_or(&turn.text);
    let mut message = json!({ "type": "caption", "seq": turn.seq, "role": turn.role, "text": text, "final": finished });
    if let Some(digits) = &turn.digits {
        message["digits"] = json!(digits);
    }
    message.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use callbox_dialogue::call::EndReason;
    use callbox_dialogue::record::{EndedBy, Role, TransferRecord};
    use callbox_dialogue::script::TransferMode;
    use serde_json::Value;

    fn turn(seq: u32, role: Role, text: &str) -> Turn {
        Turn {
            seq,
            role,
            text: text.into(),
            heard_text: None,
            digits: None,
            start_ms: 0,
            end_ms: 0,
            node: Some("a secret node".into()),
            interrupted_by: None,
            confidence: None,
            latency: None,
        }
    }

    fn news(channel: &mut Channel, record: &CallRecord) -> Vec<Value> {
        channel.catch_up(record).iter().map(|text| serde_json::from_str(text).unwrap()).collect()
    }

    #[test]
    fn a_page_is_told_everything_once() {
        let (mut channel, mut record) = (Channel::default(), CallRecord::default());
        assert!(news(&mut channel, &record).is_empty());
        record.ringing = Some(Time(1));
        record.answered = Some(Time(2));
        record.transcript.push(turn(1, Role::Robot, "Hello"));
        let states = [
            json!({ "type": "state", "state": "ringing" }),
            json!({ "type": "state", "state": "answered" }),
            json!({ "type": "caption", "seq": 1, "role": "robot", "text": "Hello", "final": false }),
        ];
        assert_eq!(news(&mut channel, &record), states);
        assert!(news(&mut channel, &record).is_empty());
        // A prompt that is written while it is spoken grows; a caller cuts it.
        record.transcript[0].text = "Hello there, Ada".into();
        assert_eq!(news(&mut channel, &record)[0]["text"], "Hello there, Ada");
        record.transcript[0].heard_text = Some("Hello there".into());
        record.transcript.push(Turn { digits: Some("***".into()), ..turn(2, Role::Caller, "") });
        let heard = news(&mut channel, &record);
        assert_eq!(
            heard[0],
            json!({ "type": "caption", "seq": 1, "role": "robot", "text": "Hello there", "final": true })
        );
        assert_eq!(heard[1]["digits"], "***");
        // What was cut by the end of the call is final as far as it is known.
        record.transcript.push(turn(3, Role::Robot, "Good"));
        assert_eq!(news(&mut channel, &record)[0]["final"], false);
        record.ended = Some(Time(9));
        record.end_reason = Some(EndReason::CallerHangup);
        record.ended_by = Some(EndedBy::Caller);
        let end = news(&mut channel, &record);
        assert_eq!(end[0]["final"], true);
        assert_eq!(end[1], json!({ "type": "state", "state": "ended", "reason": "caller_hangup", "by": "caller" }));
        assert!(news(&mut channel, &record).is_empty());
    }

    #[test]
    fn a_transfer_is_told_without_where_it_goes() {
        let (mut channel, mut record) = (Channel::default(), CallRecord::default());
        let transfer = |at, outcome| {
            let target = "sip:agent@secret.example".into();
            Some(TransferRecord { target, mode: TransferMode::Bridge, at: Time(at), outcome })
        };
        record.transfer = transfer(1, None);
        let event = |state: &str| json!({ "type": "event", "event": "transfer", "state": state });
        assert_eq!(news(&mut channel, &record), [event("begun")]);
        record.transfer = transfer(1, Some(TransferOutcome::Failed(486, "Busy".into())));
        assert_eq!(news(&mut channel, &record), [event("failed")]);
        record.transfer = transfer(2, Some(TransferOutcome::Connected));
        assert_eq!(news(&mut channel, &record), [event("begun"), event("connected")]);
        assert!(news(&mut channel, &record).is_empty());
    }

    #[test]
    fn what_a_page_says_is_taken_or_passed_over() {
        for (text, wish) in [
            (r#"{"type":"digits","digits":"12#A"}"#, Some(Wish::Digits("12#A".into()))),
            (r#"{"type":"message","data":{"a": [1,null]}}"#, Some(Wish::Message(r#"{"a": [1,null]}"#.into()))),
            (r#"{"type":"message","data":"x"}"#, Some(Wish::Message(r#""x""#.into()))),
            (r#"{"type":"hangup","more":1}"#, Some(Wish::Hangup)),
            (r#"{"type":"digits","digits":"1x"}"#, None),
            (r#"{"type":"digits","digits":""}"#, None),
            (r#"{"type":"digits"}"#, None),
            (r#"{"type":"message"}"#, None),
            (r#"{"type":"later"}"#, None),
            (r#"{"type":7}"#, None),
            ("[]", None),
            ("", None),
        ] {
            assert_eq!(read(text), wish, "{text}");
        }
        let many = format!(r#"{{"type":"digits","digits":"{}"}}"#, "1".repeat(KEYS + 1));
        assert_eq!(read(&many), None);
        let deep = format!(r#"{{"type":"message","data":{}}}"#, "[".repeat(100_000));
        assert_eq!(read(&deep), None);
    }
}
