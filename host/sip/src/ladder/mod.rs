//! SIP in the open: the messages of a call as they went over the wire, as a ladder that people read and as data.
//!
//! What is secret is taken out when a [`Rung`] is made, and nowhere later: the answers to digest challenges, keys of
//! SRTP in a session description, and digits that travel in a body. Everything else is what was sent and received.

mod redact;

pub use redact::TOKEN_HEADER;
pub(crate) use redact::redact;

use crate::ua::Transport;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;
use std::net::SocketAddr;

/// One message, as the edge saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TracedMessage {
    /// When, in microseconds since 1970.
    pub at_us: u64,
    /// We sent it; else we received it.
    pub sent: bool,
    /// How it travelled.
    pub transport: Transport,
    /// Our address.
    pub local: SocketAddr,
    /// The peer's.
    pub remote: SocketAddr,
    /// All of it.
    pub bytes: Bytes,
}

/// The messages of one dialog.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SipTrace {
    /// In the order in which they were sent and received.
    pub messages: Vec<TracedMessage>,
    /// Messages of a very long or very large dialog that were not kept, from its middle.
    pub omitted: u64,
}

/// A message of a ladder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rung {
    /// When, in microseconds since 1970.
    pub at_us: u64,
    /// We sent it; else we received it.
    pub sent: bool,
    /// `udp`, `tcp`, `tls`, `ws`, `wss`.
    pub transport: String,
    /// Our address.
    pub local: SocketAddr,
    /// The peer's.
    pub remote: SocketAddr,
    /// The `Call-ID`: a call that was bridged has two.
    pub call_id: String,
    /// The first line: method and URI, or status and reason.
    pub start: String,
    /// The number and method of `CSeq`, which tie responses to their requests.
    pub cseq: String,
    /// The whole message as text; secrets are `…`.
    pub message: String,
}

/// The messages of a call, in the order of time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ladder {
    /// The messages.
    pub messages: Vec<Rung>,
    /// Messages that were not kept, from the middle of a very long dialog.
    pub omitted: u64,
}

/// A session description as text, without its secrets: keys of SRTP, passwords of ICE.
#[must_use]
pub fn without_secrets(description: &str) -> String {
    redact::description(description)
}

impl Rung {
    /// Reads what a ladder shows from a message, and takes its secrets out.
    #[must_use]
    pub fn new(message: &TracedMessage) -> Self {
        let text = redact(&message.bytes);
        let head = text.split("\r\n\r\n").next().unwrap_or_default();
        let start = head.lines().next().unwrap_or_default();
        let start = start.strip_prefix("SIP/2.0 ").or_else(|| start.strip_suffix(" SIP/2.0")).unwrap_or(start);
        Self {
            at_us: message.at_us,
            sent: message.sent,
            transport: message.transport.to_string(),
            local: message.local,
            remote: message.remote,
            call_id: field(head, &["call-id", "i"]).to_owned(),
            start: start.trim().to_owned(),
            cseq: field(head, &["cseq"]).to_owned(),
            message: text,
        }
    }

    /// What stands on its arrow: `INVITE (1) sdp`, `200 OK (1 INVITE) sdp`.
    fn label(&self) -> String {
        let (number, method) = self.cseq.split_once(char::is_whitespace).unwrap_or((&self.cseq, ""));
        let is_response = self.start.starts_with(|c: char| c.is_ascii_digit());
        let mut label = match (is_response, self.start.split_once(' ')) {
            (false, Some((name, _))) => format!("{name} ({number})"),
            _ => format!("{} ({number} {})", self.start, method.trim()),
        };
        let head = self.message.split("\r\n\r\n").next().unwrap_or_default();
        if let Some(kind) = field(head, &["content-type", "c"]).split([';', '/']).nth(1) {
            label.push(' ');
            label.push_str(kind);
        }
        label.chars().filter(|c| !c.is_control()).take(60).collect()
    }
}

impl Ladder {
    /// The ladder of a call, whose parts – its own dialog, that of a bridge – are merged by time.
    #[must_use]
    pub fn new(traces: &[SipTrace]) -> Self {
        let mut messages: Vec<Rung> = traces.iter().flat_map(|trace| &trace.messages).map(Rung::new).collect();
        // Stable: what one dialog did in one microsecond keeps its order.
        messages.sort_by_key(|rung| rung.at_us);
        Self { messages, omitted: traces.iter().map(|trace| trace.omitted).sum() }
    }

    /// For a terminal: a column for us and one for each far end, an arrow a message, the time since the first.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        let Some(first) = self.messages.first() else { return "no SIP message was kept\n".into() };
        let mut calls: Vec<&str> = Vec::new();
        for rung in &self.messages {
            if !calls.contains(&rung.call_id.as_str()) {
                calls.push(&rung.call_id);
            }
        }
        for (index, call_id) in calls.iter().enumerate() {
            let mut rungs = self.messages.iter().filter(|rung| rung.call_id == *call_id);
            let Some(rung) = rungs.next() else { continue };
            let mark = mark(calls.len(), index);
            let shown: String = call_id.chars().filter(|c| !c.is_control()).take(80).collect();
            // Writing to a string does not fail.
            let _ = writeln!(
                out,
                "{mark}{} (Callbox) and {} (far end) over {}, Call-ID {shown}",
                rung.local, rung.remote, rung.transport
            );
        }
        out.push('\n');
        for rung in &self.messages {
            let index = calls.iter().position(|call_id| *call_id == rung.call_id).unwrap_or_default();
            let ms = rung.at_us.saturating_sub(first.at_us);
            let time = format!("{:>4}.{:03} s", ms / 1_000_000, ms / 1_000 % 1_000);
            let label = rung.label();
            let line = "─".repeat(62_usize.saturating_sub(label.chars().count()));
            let arrow = if rung.sent { format!("─ {label} {line}►") } else { format!("◄ {label} {line}─") };
            let _ = writeln!(out, "{time}  {}Callbox {arrow} far end", mark(calls.len(), index));
        }
        if self.omitted > 0 {
            let _ = writeln!(out, "\n{} messages from the middle were not kept", self.omitted);
        }
        out
    }
}

/// Names a dialog where there are several.
fn mark(dialogs: usize, index: usize) -> String {
    if dialogs < 2 { String::new() } else { format!("[{}] ", index + 1) }
}

/// The value of the first header of one of these names, in lower case.
fn field<'a>(head: &'a str, names: &[&str]) -> &'a str {
    let of = |line: &'a str| {
        let (name, value) = line.split_once(':')?;
        let name = name.trim_end();
        names.iter().any(|wanted| wanted.eq_ignore_ascii_case(name)).then(|| value.trim())
    };
    head.lines().skip(1).find_map(of).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(at_us: u64, sent: bool, text: &str) -> TracedMessage {
        TracedMessage {
            at_us,
            sent,
            transport: Transport::Udp,
            local: "192.0.2.1:5060".parse().unwrap(),
            remote: "192.0.2.2:5062".parse().unwrap(),
            bytes: Bytes::from(text.replace('\n', "\r\n")),
        }
    }

    fn trace() -> SipTrace {
        let invite =
            "INVITE sip:100@192.0.2.1 SIP/2.0\nCall-ID: one\nCSeq: 1 INVITE\nContent-Type: application/sdp\n\nv=0\n";
        let ok = "SIP/2.0 200 OK\ni: one\nCSeq: 1 INVITE\nc: application/sdp\n\nv=0\n";
        let bye = "BYE sip:x@192.0.2.1 SIP/2.0\nCall-ID : one\nCSeq: 2 BYE\n\n";
        SipTrace {
            messages: vec![message(5, false, invite), message(1_234_005, true, ok), message(2_000_005, false, bye)],
            omitted: 0,
        }
    }

    #[test]
    fn a_ladder_reads_like_the_call() {
        let text = Ladder::new(&[trace()]).to_text();
        let lines: Vec<&str> = text.lines().collect();
        assert!(
            lines[0].contains("192.0.2.1:5060 (Callbox) and 192.0.2.2:5062 (far end) over udp, Call-ID one"),
            "{text}"
        );
        assert!(lines[2].starts_with("   0.000 s  Callbox ◄ INVITE (1) sdp ─"), "{text}");
        assert!(lines[3].starts_with("   1.234 s  Callbox ─ 200 OK (1 INVITE) sdp ─"), "{text}");
        assert!(lines[4].starts_with("   2.000 s  Callbox ◄ BYE (2) ─"), "{text}");
    }

    #[test]
    fn two_dialogs_are_told_apart_and_merged_by_time() {
        let mut other = trace();
        for message in &mut other.messages {
            message.at_us += 1;
            let text = String::from_utf8(message.bytes.to_vec()).unwrap().replace("one", "two");
            message.bytes = Bytes::from(text);
        }
        let ladder = Ladder::new(&[trace(), SipTrace { omitted: 3, ..other }]);
        let ids: Vec<&str> = ladder.messages.iter().map(|rung| rung.call_id.as_str()).collect();
        assert_eq!(ids, ["one", "two", "one", "two", "one", "two"]);
        let text = ladder.to_text();
        assert!(text.contains("[2] Callbox ◄ BYE"), "{text}");
        assert!(text.ends_with("3 messages from the middle were not kept\n"), "{text}");
    }

    #[test]
    fn nothing_a_peer_writes_breaks_a_line_of_the_terminal() {
        let evil = message(1, false, "INVITE\u{1b}[2J sip:x SIP/2.0\nCall-ID: a\u{7}b\nCSeq: 1 INV\u{1b}c\n\n");
        let text = Ladder::new(&[SipTrace { messages: vec![evil], omitted: 0 }]).to_text();
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
    }

    #[test]
    fn no_bytes_are_too_strange() {
        for bytes in [&b""[..], b"\r\n\r\n", b"\xff\xfe\r\n", b"SIP/2.0 ", b":::\r\n:\r\n"] {
            let strange = TracedMessage { bytes: Bytes::copy_from_slice(bytes), ..message(1, true, "") };
            let ladder = Ladder::new(&[SipTrace { messages: vec![strange], omitted: 0 }]);
            assert_eq!(ladder.to_text().lines().count(), 3);
        }
    }
}
