//! Keeping the call's record: bounded, and without secrets.

use super::wording::floor;
use crate::call::EndReason;
use crate::record::{CallRecord, EndedBy, Exchange, Role, TimelineEntry, Turn, With};
use crate::secrets::Secrets;
use crate::time::Time;

/// Entries of a timeline.
const TIMELINE: usize = 2_000;
/// Of these, kept for what matters more than logs and keys.
const RESERVED: usize = 400;
/// Bytes of one entry.
const DETAIL: usize = 1_024;
/// Bytes of all text of a transcript.
const TRANSCRIPT: usize = 1 << 20;
/// Turns of a transcript.
const TURNS: usize = 4_000;
/// Exchanges with systems outside.
const EXCHANGES: usize = 500;
/// Stands for what is secret, whatever its length.
pub(super) const MASK: &str = "***";

/// The record while it is written.
#[derive(Debug, Default)]
pub(super) struct Journal {
    pub(super) record: CallRecord,
    /// The breadcrumb.
    pub(super) node: Option<String>,
    /// What the caller gave in confidence: not noted where the script hands it on either.
    pub(super) secrets: Secrets,
    transcript_bytes: usize,
}

impl Journal {
    /// Notes what happened. `detail` must hold no secret but what the script hands on, which is taken out.
    pub(super) fn note(&mut self, at: Time, kind: &str, detail: impl Into<String>) {
        let chatter = matches!(kind, "log" | "digit" | "speech" | "message" | "node");
        let limit = if chatter { TIMELINE - RESERVED } else { TIMELINE };
        if self.record.timeline.len() >= limit {
            self.record.timeline_dropped = self.record.timeline_dropped.saturating_add(1);
            return;
        }
        let mut detail = detail.into();
        self.secrets.clean(&mut detail);
        detail.truncate(floor(&detail, DETAIL));
        self.record.timeline.push(TimelineEntry { at, kind: kind.to_owned(), detail });
    }

    /// Something outside is asked. Returns where that is noted, so that its end can be filled in; none where no more is.
    pub(super) fn asks(&mut self, at: Time, with: With, name: &str) -> Option<usize> {
        let exchanges = &mut self.record.exchanges;
        let index = exchanges.len();
        if index >= EXCHANGES {
            return None;
        }
        exchanges.push(Exchange { with, name: name.to_owned(), asked: at, over: None, failed: false });
        Some(index)
    }

    /// It has answered, or failed.
    pub(super) fn answered(&mut self, at: Time, index: Option<usize>, failed: bool) {
        let exchange = index.and_then(|index| self.record.exchanges.get_mut(index));
        if let Some(exchange) = exchange.filter(|exchange| exchange.over.is_none()) {
            (exchange.over, exchange.failed) = (Some(at), failed);
        }
    }

    /// Adds a turn and returns where it is, so that its end can be filled in.
    /// None where the transcript is full.
    pub(super) fn turn(&mut self, role: Role, text: &str, start: Time, node: Option<String>) -> Option<usize> {
        let index = self.record.transcript.len();
        if index >= TURNS || self.transcript_bytes + text.len() > TRANSCRIPT {
            self.record.timeline_dropped = self.record.timeline_dropped.saturating_add(1);
            return None;
        }
        self.transcript_bytes += text.len();
        self.record.transcript.push(Turn {
            seq: u32::try_from(index).unwrap_or(u32::MAX).saturating_add(1),
            role,
            text: text.to_owned(),
            heard_text: None,
            digits: None,
            start_ms: start.0,
            end_ms: start.0,
            node,
            interrupted_by: None,
            confidence: None,
            latency: None,
        });
        Some(index)
    }

    /// The turn at an index given by [`Self::turn`].
    pub(super) fn turn_mut(&mut self, index: Option<usize>) -> Option<&mut Turn> {
        self.record.transcript.get_mut(index?)
    }

    /// Puts more text into a turn that is still being written.
    pub(super) fn reword(&mut self, index: Option<usize>, text: &str) {
        let bytes = self.transcript_bytes;
        let Some(turn) = self.turn_mut(index) else { return };
        let after = bytes - turn.text.len() + text.len();
        if after <= TRANSCRIPT {
            text.clone_into(&mut turn.text);
            self.transcript_bytes = after;
        }
    }

    /// Why the call ends; the first reason given stays.
    pub(super) fn end_reason(&mut self, reason: EndReason) {
        self.record.end_reason.get_or_insert(reason);
    }

    /// Who ended it; the first given stays.
    pub(super) fn ended_by(&mut self, by: EndedBy) {
        self.record.ended_by.get_or_insert(by);
    }

    /// Why the script failed; the first stays.
    pub(super) fn script_error(&mut self, at: Time, mut message: String) {
        self.note(at, "script_error", message.clone());
        if self.record.script_error.is_none() {
            self.secrets.clean(&mut message);
            message.truncate(floor(&message, 8 * 1_024));
            self.record.script_error = Some(message);
        }
    }
}
