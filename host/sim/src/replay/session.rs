//! The other side of a script that is replayed: answers from the tape while it asks what the tape has.

use super::{LookPast, Step};
use callbox_dialogue::{HostCall, HostError, HostReply, Time};
use callbox_script::{Answered, Recording, Session};
use std::sync::{Arc, Mutex, PoisonError};

/// How far a replay has come.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// The next entry of the tape, by index.
    pub(super) next: usize,
    /// What was asked that the tape does not have, or has no answer to. Nothing follows it.
    pub(super) left: Option<HostCall>,
    /// What was asked.
    pub(super) steps: Vec<Step>,
}

impl Progress {
    /// The first masked answer that was given.
    pub(super) fn masked(&self, recording: &Recording) -> Option<u32> {
        let given = self.steps.iter().filter_map(|step| match step {
            Step::Same(index) => recording.entries.get(*index),
            Step::OnlyOnTape(_) | Step::OnlyAsked(_) => None,
        });
        given.filter(|entry| entry.masked).map(|entry| entry.seq).next()
    }
}

/// Answers from a tape.
#[derive(Debug)]
pub(super) struct TapeSession {
    recording: Arc<Recording>,
    past: LookPast,
    /// The call's time at the last answer.
    at: Time,
    over: bool,
    progress: Arc<Mutex<Progress>>,
}

impl TapeSession {
    pub(super) fn new(recording: Arc<Recording>, past: LookPast) -> Self {
        Self { recording, past, at: Time::ZERO, over: false, progress: Arc::default() }
    }

    /// Where to look once the script has ended.
    pub(super) fn progress(&self) -> Arc<Mutex<Progress>> {
        self.progress.clone()
    }

    fn answer(&mut self, call: HostCall) -> Answered {
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = |call: &HostCall| !self.past.covers(call);
        let entries = &self.recording.entries;
        // Which entry answers it: the next one that counts; or, where it does not count itself, the same one before that.
        let ahead = entries[progress.next..].iter().take_while(|entry| !wanted(&entry.call)).count();
        let counts = progress.next + ahead;
        let found = match wanted(&call) {
            true => entries.get(counts).filter(|entry| entry.call == call).map(|_| counts),
            false => (progress.next..counts).find(|index| entries[*index].call == call),
        };
        match found {
            Some(index) => {
                let skipped = progress.next..index;
                progress.steps.extend(skipped.map(Step::OnlyOnTape));
                progress.steps.push(Step::Same(index));
                progress.next = index + 1;
                let entry = &entries[index];
                self.at = self.at.max(entry.at);
                Answered { reply: entry.reply.clone(), sensitive: entry.masked, at: self.at }
            }
            None if wanted(&call) => {
                progress.left = Some(call);
                self.over = true;
                Answered::plain(self.at, Err(HostError::Other("the tape is over".into())))
            }
            None => {
                progress.steps.push(Step::OnlyAsked(call));
                Answered::plain(self.at, Ok(HostReply::Done))
            }
        }
    }
}

/// What a replay came to.
pub(super) fn take(progress: &Mutex<Progress>) -> Progress {
    std::mem::take(&mut *progress.lock().unwrap_or_else(PoisonError::into_inner))
}

impl Session for TapeSession {
    async fn call(&mut self, call: HostCall) -> Answered {
        self.answer(call)
    }

    fn is_over(&self) -> bool {
        self.over
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;
    use callbox_dialogue::Reply;
    use callbox_dialogue::script::LogLevel;
    use callbox_script::Tape;

    fn log(message: &str) -> HostCall {
        HostCall::Log { level: LogLevel::Info, message: message.into() }
    }

    fn tape(calls: &[HostCall]) -> Arc<Recording> {
        let mut text = r#"{"format":"callbox-tape/1","script":"sha256:00","wit":"0.1.0","complete":true}"#.to_owned();
        for (n, call) in calls.iter().enumerate() {
            let reply: Reply =
                if *call == HostCall::Now { Ok(HostReply::Number(n as u64)) } else { Ok(HostReply::Done) };
            let (call, reply) = (serde_json::to_string(call).unwrap(), serde_json::to_string(&reply).unwrap());
            text.push_str(&format!("\n{{\"seq\":{},\"at\":{},\"call\":{call},\"reply\":{reply}}}", n + 1, n * 10));
        }
        Arc::new(Tape::read(&text).unwrap())
    }

    fn ask(recording: &Arc<Recording>, past: LookPast, calls: &[HostCall]) -> Progress {
        let mut session = TapeSession::new(recording.clone(), past);
        for call in calls {
            assert!(!session.over);
            session.answer(call.clone());
        }
        take(&session.progress())
    }

    fn shape(progress: &Progress) -> String {
        let mark = |step: &Step| match step {
            Step::Same(index) => format!("={index}"),
            Step::OnlyOnTape(index) => format!("-{index}"),
            Step::OnlyAsked(_) => "+".to_owned(),
        };
        progress.steps.iter().map(mark).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn answers_come_in_order_until_something_else_is_asked() {
        let recording = tape(&[HostCall::Answer, HostCall::Now, HostCall::Hangup]);
        let mut session = TapeSession::new(recording, LookPast::default());
        assert_eq!(session.answer(HostCall::Answer), Answered::plain(Time(0), Ok(HostReply::Done)));
        assert_eq!(session.answer(HostCall::Now), Answered::plain(Time(10), Ok(HostReply::Number(1))));
        session.answer(HostCall::Elapsed);
        assert!(session.is_over());
        let progress = take(&session.progress());
        assert_eq!((progress.next, progress.left), (2, Some(HostCall::Elapsed)));
    }

    #[test]
    fn logs_count_unless_they_are_looked_past() {
        let recording = tape(&[log("a"), HostCall::Now, log("b"), log("c"), HostCall::Hangup]);
        let asked = [log("x"), HostCall::Now, log("c"), log("d"), HostCall::Hangup];
        let strict = ask(&recording, LookPast::default(), &asked[..1]);
        assert_eq!(strict.left, Some(log("x")));
        let past = LookPast { logs: true, results: false };
        let progress = ask(&recording, past, &asked);
        assert_eq!((shape(&progress).as_str(), progress.left), ("+ -0 =1 -2 =3 + =4", None));
        // The results are another matter.
        let results = ask(&recording, past, &[HostCall::SetOptOut]);
        assert_eq!(results.left, Some(HostCall::SetOptOut));
    }

    #[test]
    fn results_that_are_looked_past_get_the_answer_of_the_tape() {
        let tag = |tag: &str| HostCall::AddTag { tag: tag.into() };
        let recording = tape(&[tag("a"), HostCall::Now]);
        let past = LookPast { logs: false, results: true };
        assert_eq!(shape(&ask(&recording, past, &[tag("a"), HostCall::Now])), "=0 =1");
        assert_eq!(shape(&ask(&recording, past, &[HostCall::Now])), "-0 =1");
        let pushed = HostCall::Push { destination: "crm".into(), body: "1".into() };
        assert_eq!(ask(&recording, past, std::slice::from_ref(&pushed)).left, Some(pushed));
    }
}
