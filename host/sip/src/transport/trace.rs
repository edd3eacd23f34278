//! Keeps the messages of the calls that are up, for their ladders.
//!
//! A message costs a look for its `Call-ID` and a reference to the bytes that were sent or received anyway. Only calls
//! that exist are kept: a flood of refused requests leaves nothing.

use super::hep::Hep;
use crate::ladder::{SipTrace, TracedMessage};
use crate::ua::{Flow, LegId};
use bytes::Bytes;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The first messages of a dialog, which are always kept: how it came about.
const HEAD: usize = 32;
/// The last ones, which are kept as well: how it ended.
const TAIL: usize = 96;
/// Bytes that the first ones may hold, and the last ones.
const BYTES: usize = 128 << 10;
/// Lines of a message among which its `Call-ID` is looked for.
const LINES: usize = 256;

/// The messages of one dialog while it goes on. It does not keep the dialog up; clones are the same.
#[derive(Clone, Debug, Default)]
pub struct DialogTrace(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    head: Vec<TracedMessage>,
    head_bytes: usize,
    tail: VecDeque<TracedMessage>,
    tail_bytes: usize,
    omitted: u64,
}

impl DialogTrace {
    /// What there is so far.
    #[must_use]
    pub fn get(&self) -> SipTrace {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        SipTrace { messages: kept.head.iter().chain(&kept.tail).cloned().collect(), omitted: kept.omitted }
    }

    fn push(&self, message: TracedMessage) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(message);
    }
}

impl Kept {
    fn push(&mut self, message: TracedMessage) {
        let size = message.bytes.len();
        if self.tail.is_empty() && self.head.len() < HEAD && self.head_bytes + size <= BYTES {
            self.head_bytes += size;
            self.head.push(message);
            return;
        }
        self.tail_bytes += size;
        self.tail.push_back(message);
        while self.tail.len() > TAIL || self.tail_bytes > BYTES {
            let Some(oldest) = self.tail.pop_front() else { break };
            self.tail_bytes -= oldest.bytes.len();
            self.omitted += 1;
        }
    }
}

/// The traces of the calls that are up, by `Call-ID`.
#[derive(Debug, Default)]
pub(crate) struct Traces {
    /// With the leg that was the first of that name. Another of the same name keeps its beginning alone: whoever copies a
    /// `Call-ID` neither reads what follows in the first call nor takes it away.
    by_call: HashMap<Bytes, (LegId, DialogTrace)>,
    /// The message that is being handled, and what was sent for it: the beginning of a call, should it be one.
    candidate: Option<(Bytes, Vec<TracedMessage>)>,
    hep: Option<Hep>,
}

impl Traces {
    /// None so far; messages are copied to a Homer server where there is one.
    pub(crate) fn new(hep: Option<Hep>) -> Self {
        Self { hep, ..Self::default() }
    }

    fn copy(&mut self, sent: bool, flow: &Flow, call_id: &[u8], bytes: &[u8]) {
        if let Some(hep) = &mut self.hep {
            hep.copy(Duration::from_micros(unix_us()), sent, flow, call_id, bytes);
        }
    }

    /// A message came in; it is being handled until [`Self::handled`].
    pub(crate) fn received(&mut self, flow: &Flow, bytes: &Bytes) {
        let Some(call_id) = call_id(bytes) else { return };
        self.copy(false, flow, &bytes[call_id.clone()], bytes);
        if let Some((_, trace)) = self.by_call.get(&bytes[call_id.clone()]) {
            trace.push(traced(false, flow, bytes));
        }
        if bytes.starts_with(b"INVITE ") {
            self.candidate = Some((bytes.slice(call_id), vec![traced(false, flow, bytes)]));
        }
    }

    /// A message goes out.
    pub(crate) fn sent(&mut self, flow: &Flow, bytes: &Bytes) {
        let Some(call_id) = call_id(bytes) else { return };
        let call_id = &bytes[call_id];
        self.copy(true, flow, call_id, bytes);
        if let Some((_, trace)) = self.by_call.get(call_id) {
            trace.push(traced(true, flow, bytes));
        }
        if let Some((candidate, messages)) = &mut self.candidate
            && *candidate == call_id
            && messages.len() < HEAD
        {
            messages.push(traced(true, flow, bytes));
        }
    }

    /// A dialog begins, with the message that is being handled where it is the one that began it.
    pub(crate) fn begin(&mut self, leg: LegId, call_id: &str) -> DialogTrace {
        let trace = DialogTrace::default();
        if let Some((_, messages)) = self.candidate.take_if(|(candidate, _)| *candidate == call_id.as_bytes()) {
            messages.into_iter().for_each(|message| trace.push(message));
        }
        self.by_call.entry(Bytes::copy_from_slice(call_id.as_bytes())).or_insert_with(|| (leg, trace.clone()));
        trace
    }

    /// Everything that the message led to is done.
    pub(crate) fn handled(&mut self) {
        self.candidate = None;
    }

    /// Nothing of the dialog follows.
    pub(crate) fn end(&mut self, leg: LegId, call_id: &str) {
        if self.by_call.get(call_id.as_bytes()).is_some_and(|(first, _)| *first == leg) {
            self.by_call.remove(call_id.as_bytes());
        }
    }
}

fn traced(sent: bool, flow: &Flow, bytes: &Bytes) -> TracedMessage {
    TracedMessage {
        at_us: unix_us(),
        sent,
        transport: flow.transport,
        local: flow.local,
        remote: flow.remote,
        bytes: bytes.clone(),
    }
}

#[allow(clippy::disallowed_methods, reason = "the edge where the clock is read")]
fn unix_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// Where the value of `Call-ID` stands, at a glance: the message is parsed elsewhere.
fn call_id(message: &[u8]) -> Option<std::ops::Range<usize>> {
    let mut start = 0;
    for line in message.split(|&byte| byte == b'\n').take(LINES) {
        let trimmed = line.trim_ascii_end();
        if trimmed.is_empty() {
            return None;
        }
        if let Some(value) = value(trimmed) {
            let (value_start, end) = (start + value, start + trimmed.len());
            return (value_start < end).then_some(value_start..end);
        }
        start += line.len() + 1;
    }
    None
}

/// Where the value begins in a line that is a `Call-ID`.
fn value(line: &[u8]) -> Option<usize> {
    // The only headers that begin so are Call-ID, Call-Info and the short form; most lines end here.
    if !matches!(line.first(), Some(b'C' | b'c' | b'I' | b'i')) {
        return None;
    }
    let colon = line.iter().position(|&byte| byte == b':')?;
    let name = line[..colon].trim_ascii_end();
    let is_call_id = name.eq_ignore_ascii_case(b"call-id") || name.eq_ignore_ascii_case(b"i");
    let blank = line[colon + 1..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    is_call_id.then_some(colon + 1 + blank)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ua::Transport;

    fn flow() -> Flow {
        let address = "127.0.0.1:5060".parse().unwrap();
        Flow::new(Transport::Udp, 0, address, address)
    }

    fn message(start: &str, call_id: &str) -> Bytes {
        Bytes::from(format!("{start}\r\nVia: x\r\nCall-ID: {call_id}\r\nCSeq: 1 X\r\n\r\n"))
    }

    #[test]
    fn a_call_id_is_found_however_it_is_written() {
        for head in ["Call-ID: a@b", "call-id:a@b", "i : a@b", "CALL-ID:   a@b  ", "Call-Info: x\r\nCall-ID: a@b"] {
            let text = format!("INVITE sip:x SIP/2.0\r\nVia: x\r\n{head}\r\n\r\nCall-ID: body");
            let found = call_id(text.as_bytes()).map(|range| &text[range]);
            assert_eq!(found, Some("a@b"), "{head}");
        }
        for text in ["", "\r\n", "INVITE\r\n\r\nCall-ID: body", "INVITE\nCall-ID:\n\n", "I\nC\n:"] {
            assert_eq!(call_id(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn a_call_is_kept_from_its_invite_on_and_a_refused_one_not_at_all() {
        let mut traces = Traces::default();
        traces.received(&flow(), &message("INVITE sip:x SIP/2.0", "a"));
        traces.sent(&flow(), &message("SIP/2.0 100 Trying", "a"));
        let trace = traces.begin(LegId(1), "a");
        traces.handled();
        traces.sent(&flow(), &message("SIP/2.0 200 OK", "a"));
        traces.received(&flow(), &message("INVITE sip:x SIP/2.0", "refused"));
        traces.sent(&flow(), &message("SIP/2.0 503 Full", "refused"));
        traces.handled();
        traces.received(&flow(), &message("ACK sip:x SIP/2.0", "a"));
        let kept = trace.get();
        assert_eq!(kept.messages.iter().map(|m| m.sent).collect::<Vec<_>>(), [false, true, true, false]);
        assert!(traces.candidate.is_none() && traces.by_call.len() == 1);
        traces.end(LegId(1), "a");
        assert!(traces.by_call.is_empty());
        assert_eq!(trace.get().messages.len(), 4, "whoever holds it still has it");
    }

    #[test]
    fn a_copied_call_id_takes_nothing_away() {
        let mut traces = Traces::default();
        let first = traces.begin(LegId(1), "a");
        traces.received(&flow(), &message("INVITE sip:copy SIP/2.0", "a"));
        let copy = traces.begin(LegId(2), "a");
        traces.handled();
        traces.sent(&flow(), &message("INFO sip:secret SIP/2.0", "a"));
        traces.end(LegId(2), "a");
        traces.sent(&flow(), &message("BYE sip:x SIP/2.0", "a"));
        assert_eq!(copy.get().messages.len(), 1, "its INVITE");
        assert!(first.get().messages.last().unwrap().bytes.starts_with(b"BYE"));
        traces.end(LegId(1), "a");
        assert!(traces.by_call.is_empty());
    }

    #[test]
    fn a_dialog_without_end_keeps_its_beginning_and_its_end() {
        let mut traces = Traces::default();
        let trace = traces.begin(LegId(1), "a");
        for n in 0..1_000 {
            traces.sent(&flow(), &message(&format!("INFO sip:{n} SIP/2.0"), "a"));
        }
        let kept = trace.get();
        assert_eq!(kept.messages.len(), HEAD + TAIL);
        assert_eq!(kept.omitted, 1_000 - (HEAD + TAIL) as u64);
        assert!(kept.messages[0].bytes.starts_with(b"INFO sip:0 "));
        assert!(kept.messages.last().unwrap().bytes.starts_with(b"INFO sip:999 "));
        // Large ones are fewer.
        let large = Bytes::from(format!("INFO sip:x SIP/2.0\r\nCall-ID: a\r\n\r\n{}", "x".repeat(60_000)));
        for _ in 0..100 {
            traces.sent(&flow(), &large);
        }
        let bytes: usize = trace.get().messages.iter().map(|m| m.bytes.len()).sum();
        assert!(bytes <= 2 * BYTES, "{bytes}");
    }
}
