//! From what is known of a call to its spans: a pure function.
//!
//! ```text
//! call inbound ─┬─ ring
//!               ├─ turn robot ─┬─ endpointing ┐
//!               ├─ turn caller ├─ recognition │ how long the caller waited for the answer,
//!               │              ├─ script      │ in parts that add up
//!               │              ├─ synthesis   │
//!               │              ├─ playout     ┘
//!               │              └─ speaking
//!               ├─ context NAME, model NAME
//!               ├─ script NAME         a host call that waited
//!               └─ deliver EVENT       an attempt, also of another host, hours later
//! ```

use crate::context::{CallTrace, Remote};
use callbox_dialogue::call::{Direction, EndReason, Transport};
use callbox_dialogue::record::{Exchange, Latency, Role, Turn, With};
use callbox_dialogue::{CallRecord, HostCall, Time};
use opentelemetry::trace::{Event, Link, SpanKind, Status};
use opentelemetry::{InstrumentationScope, KeyValue, SpanId, Value};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use std::borrow::Cow;
use std::time::{Duration, SystemTime};

/// Spans of one call: what is more is counted on its own span (`callbox.spans_left_out`).
const MAX_SPANS: u32 = 1_000;
/// Kinds of the timeline that are events of the call's span. None of them says what was said.
const EVENTS: [&str; 9] = [
    "ringing",
    "early_media",
    "answered",
    "transfer",
    "recogniser_failed",
    "drain",
    "fallback",
    "script_ended",
    "leg_silent",
];

/// A call that is over.
#[derive(Clone, Copy, Debug)]
pub struct CallSpans<'a> {
    /// `call_…`
    pub call: &'a str,
    /// `ten_…`
    pub tenant: &'a str,
    /// Who placed it.
    pub direction: Direction,
    /// How the other party was connected.
    pub transport: Transport,
    /// `num_…`
    pub number: Option<&'a str>,
    /// `trk_…`
    pub trunk: Option<&'a str>,
    /// `scr_…` and its version.
    pub script: Option<(&'a str, u32)>,
    /// The record's time zero.
    pub created: SystemTime,
    /// What became of it.
    pub record: &'a CallRecord,
    /// What its script waited for.
    pub host_calls: &'a [HostCallSpan],
    /// The far end's own span, or that of the API's caller, where they name one.
    pub cause: Option<Remote>,
}

/// A host call and how long it took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostCallSpan {
    /// See [`HostCallSpan::name`].
    pub name: &'static str,
    /// When the script asked.
    pub asked: Time,
    /// When it was answered.
    pub answered: Time,
}

impl HostCallSpan {
    /// What a host call that may wait is called; none for those that are answered at once.
    #[must_use]
    pub const fn name(call: &HostCall) -> Option<&'static str> {
        Some(match call {
            HostCall::Answer => "answer",
            HostCall::Transfer { .. } | HostCall::AwaitTransfer { .. } => "transfer",
            HostCall::Say { .. } | HostCall::AwaitPlayback { .. } | HostCall::AwaitQuiet => "say",
            HostCall::Write { .. } => "write",
            HostCall::Listen { .. } | HostCall::AwaitListening { .. } | HostCall::NextPartial { .. } => "listen",
            HostCall::Ask { .. } => "ask",
            HostCall::NextEvent { .. } => "event",
            HostCall::Sleep { .. } => "sleep",
            HostCall::Select { .. } => "select",
            HostCall::Fetch { .. } | HostCall::AwaitFetch { .. } => "fetch",
            HostCall::ModelReply { .. } | HostCall::Complete { .. } | HostCall::AwaitModelReply { .. } => "model",
            HostCall::AskModel { .. } => "ask-model",
            _ => return None,
        })
    }
}

/// An attempt to deliver an event of a call.
#[derive(Clone, Copy, Debug)]
pub struct Delivery<'a> {
    /// `call_…`
    pub call: &'a str,
    /// `ten_…`
    pub tenant: &'a str,
    /// `dlv_…`
    pub delivery: &'a str,
    /// `evt_…`
    pub event: &'a str,
    /// `call.completed` …
    pub kind: &'a str,
    /// A webhook's id, or `SCRIPT/DESTINATION`.
    pub endpoint: &'a str,
    /// Attempts before it.
    pub tries: u32,
    /// When it began.
    pub began: SystemTime,
    /// To the answer, or to the failure.
    pub took: Duration,
    /// HTTP status, where there was an answer.
    pub status: Option<u16>,
    /// The receiver took it.
    pub delivered: bool,
}

fn text(key: &'static str, value: &str) -> KeyValue {
    KeyValue::new(key, value.to_owned())
}

fn count(key: &'static str, value: impl TryInto<i64>) -> KeyValue {
    KeyValue::new(key, Value::I64(value.try_into().unwrap_or(i64::MAX)))
}

fn scope() -> InstrumentationScope {
    InstrumentationScope::builder("callbox").with_version(env!("CARGO_PKG_VERSION")).build()
}

/// A span of a trace without events and links.
fn span(
    trace: CallTrace,
    (id, parent): (SpanId, SpanId),
    (name, kind): (Cow<'static, str>, SpanKind),
    (start_time, end_time): (SystemTime, SystemTime),
    attributes: Vec<KeyValue>,
    status: Status,
) -> SpanData {
    SpanData {
        span_context: trace.span(id),
        parent_span_id: parent,
        parent_span_is_remote: false,
        span_kind: kind,
        name,
        start_time,
        end_time: end_time.max(start_time),
        attributes,
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status,
        instrumentation_scope: scope(),
    }
}

impl Delivery<'_> {
    pub(crate) fn span(&self, trace: CallTrace) -> SpanData {
        let mut attributes = vec![
            text("callbox.call.id", self.call),
            text("callbox.tenant.id", self.tenant),
            text("callbox.delivery.id", self.delivery),
            text("callbox.event.id", self.event),
            text("callbox.event.type", self.kind),
            text("callbox.endpoint", self.endpoint),
            count("callbox.delivery.tries", self.tries),
        ];
        attributes.extend(self.status.map(|status| count("http.response.status_code", status)));
        let status = if self.delivered { Status::Ok } else { Status::error("not delivered") };
        let mut id = [0; 8];
        // Without randomness the span may be taken for another of its trace: worse, but no reason to fail.
        let _ = getrandom::fill(&mut id);
        id[0] |= 1;
        let ids = (SpanId::from_bytes(id), trace.root());
        let named = (format!("deliver {}", self.kind).into(), SpanKind::Client);
        span(trace, ids, named, (self.began, self.began + self.took), attributes, status)
    }
}

impl CallSpans<'_> {
    pub(crate) fn spans(&self, trace: CallTrace) -> Vec<SpanData> {
        let mut all = Made { trace, zero: self.created, spans: Vec::new(), made: 0 };
        let root = trace.root();
        let ring = self.record.answered.unwrap_or_else(|| self.end());
        all.add(root, "ring", SpanKind::Internal, (Time::ZERO, ring), Vec::new(), Status::Unset);
        for turn in &self.record.transcript {
            all.turn(turn);
        }
        for exchange in &self.record.exchanges {
            all.exchange(exchange, self.end());
        }
        for call in self.host_calls {
            let name = format!("script {}", call.name);
            all.add(root, name, SpanKind::Internal, (call.asked, call.answered), Vec::new(), Status::Unset);
        }
        let left_out = all.made.saturating_sub(MAX_SPANS - 1);
        let mut spans = all.spans;
        spans.push(self.root(trace, left_out));
        spans
    }

    /// When the call was over.
    fn end(&self) -> Time {
        let last = || self.record.timeline.last().map(|entry| entry.at);
        self.record.ended.or_else(last).unwrap_or_default()
    }

    fn root(&self, trace: CallTrace, left_out: u32) -> SpanData {
        let record = self.record;
        let (direction, kind) = match self.direction {
            Direction::Inbound => ("inbound", SpanKind::Server),
            Direction::Outbound => ("outbound", SpanKind::Client),
        };
        let transport = match self.transport {
            Transport::Sip => "sip",
            Transport::Webrtc => "webrtc",
            Transport::Simulated => "simulated",
        };
        let mut attributes = vec![
            text("callbox.call.id", self.call),
            text("callbox.tenant.id", self.tenant),
            text("callbox.call.direction", direction),
            text("callbox.call.transport", transport),
            count("callbox.call.turns", record.transcript.len()),
        ];
        for (key, id) in [("callbox.number.id", self.number), ("callbox.trunk.id", self.trunk)] {
            attributes.extend(id.map(|id| text(key, id)));
        }
        if let Some((script, version)) = self.script {
            attributes.extend([text("callbox.script.id", script), count("callbox.script.version", version)]);
        }
        attributes.extend(record.end_reason.map(|reason| text("callbox.call.end_reason", reason.as_str())));
        attributes.extend(record.evidence.sip_status.map(|status| count("callbox.sip.status", status)));
        attributes.extend(record.talk_ms().map(|ms| count("callbox.call.talk_ms", ms)));
        if left_out > 0 {
            attributes.push(count("callbox.spans_left_out", left_out));
        }
        let status = record.end_reason.map_or(Status::Unset, status_of);
        let times = (self.created, at(self.created, self.end()));
        let named = (format!("call {direction}").into(), kind);
        let mut root = span(trace, (trace.root(), SpanId::INVALID), named, times, attributes, status);
        let events = record.timeline.iter().filter_map(|entry| {
            let name = EVENTS.iter().find(|kind| **kind == entry.kind)?;
            Some(Event::new(*name, at(self.created, entry.at), Vec::new(), 0))
        });
        root.events.events = events.take(100).collect();
        root.links.links = self.cause.map(|cause| Link::with_context(cause.context())).into_iter().collect();
        root
    }
}

/// Calls that ended as nobody wanted them to end.
fn status_of(reason: EndReason) -> Status {
    match reason {
        EndReason::ScriptTrap
        | EndReason::ScriptBudget
        | EndReason::MediaTimeout
        | EndReason::ContextFailed
        | EndReason::ProviderError
        | EndReason::PlatformError
        | EndReason::TrunkLost => Status::error(reason.as_str()),
        _ => Status::Ok,
    }
}

fn at(zero: SystemTime, time: Time) -> SystemTime {
    // A time that no clock can hold is that of the beginning.
    zero.checked_add(Duration::from_millis(time.0)).unwrap_or(zero)
}

/// The spans of a call while they are made.
struct Made {
    trace: CallTrace,
    zero: SystemTime,
    spans: Vec<SpanData>,
    /// Those that there would be without a limit.
    made: u32,
}

impl Made {
    fn add(
        &mut self,
        parent: SpanId,
        name: impl Into<Cow<'static, str>>,
        kind: SpanKind,
        (from, to): (Time, Time),
        attributes: Vec<KeyValue>,
        status: Status,
    ) -> SpanId {
        self.made += 1;
        let id = self.trace.child(self.made);
        if self.made < MAX_SPANS {
            let times = (at(self.zero, from), at(self.zero, to));
            self.spans.push(span(self.trace, (id, parent), (name.into(), kind), times, attributes, status));
        }
        id
    }

    fn turn(&mut self, turn: &Turn) {
        let role = match turn.role {
            Role::Robot => "robot",
            Role::Caller => "caller",
        };
        let mut attributes = vec![
            count("callbox.turn.seq", turn.seq),
            text("callbox.turn.role", role),
            count("callbox.turn.characters", turn.text.chars().count()),
        ];
        let heard = turn.heard_text.as_ref().map(|heard| heard.chars().count());
        attributes.extend(heard.map(|heard| count("callbox.turn.heard_characters", heard)));
        attributes.extend(turn.interrupted_by.as_deref().map(|by| text("callbox.turn.interrupted_by", by)));
        let by_keys = turn.role == Role::Caller && turn.digits.is_some();
        attributes.extend(by_keys.then(|| text("callbox.turn.by", "digits")));
        let (starts, ends) = (Time(turn.start_ms), Time(turn.end_ms.max(turn.start_ms)));
        let waited = turn.latency.map_or(0, |latency| u64::from(latency.total_ms));
        let begins = starts - waited;
        let (name, root) = (format!("turn {role}"), self.trace.root());
        let id = self.add(root, name, SpanKind::Internal, (begins, ends), attributes, Status::Unset);
        if let Some(latency) = turn.latency {
            let spoken = self.parts(id, begins, &latency);
            self.add(id, "speaking", SpanKind::Internal, (spoken, ends), Vec::new(), Status::Unset);
        }
    }

    /// The parts of how long a caller waited, one after the other; when the first packet left.
    fn parts(&mut self, turn: SpanId, begins: Time, latency: &Latency) -> Time {
        let first = latency.first_token_ms.map(|ms| count("callbox.model.first_token_ms", ms));
        let mut from = begins;
        for (name, ms) in parts(latency) {
            let to = from + u64::from(ms);
            if ms > 0 {
                let attributes = first.clone().filter(|_| name == "script").into_iter().collect();
                self.add(turn, name, SpanKind::Internal, (from, to), attributes, Status::Unset);
            }
            from = to;
        }
        from
    }

    fn exchange(&mut self, exchange: &Exchange, end: Time) {
        let (word, key) = match exchange.with {
            With::Source => ("context", "callbox.source"),
            With::Model => ("model", "callbox.model"),
        };
        let status = if exchange.failed { Status::error("failed") } else { Status::Ok };
        // What was never answered was waited for until the call was over.
        let (over, status) = match exchange.over {
            Some(over) => (over, status),
            None => (end.max(exchange.asked), Status::Unset),
        };
        let (name, attributes) = (format!("{word} {}", exchange.name), vec![text(key, &exchange.name)]);
        self.add(self.trace.root(), name, SpanKind::Client, (exchange.asked, over), attributes, status);
    }
}

/// The parts of a latency by name, in their order.
fn parts(latency: &Latency) -> [(&'static str, u32); 5] {
    [
        ("endpointing", latency.endpointing_ms),
        ("recognition", latency.recognition_ms),
        ("script", latency.script_ms),
        ("synthesis", latency.synthesis_ms),
        ("playout", latency.playout_ms),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use callbox_dialogue::record::TimelineEntry;
    use proptest::prelude::*;
    use std::collections::HashSet;

    const CALL: &str = "call_019a5f0e7c1070008a2b3c4d5e6f7081";

    fn turn(role: Role, start_ms: u64, end_ms: u64, latency: Option<Latency>) -> Turn {
        let (text, digits) = ("My name is Ada".to_owned(), None);
        let (heard_text, node, interrupted_by, confidence) = (None, Some("secret node".into()), None, None);
        Turn { seq: 1, role, text, heard_text, digits, start_ms, end_ms, node, interrupted_by, confidence, latency }
    }

    fn latency([endpointing_ms, recognition_ms, script_ms, synthesis_ms, playout_ms]: [u32; 5]) -> Latency {
        let total_ms = endpointing_ms + recognition_ms + script_ms + synthesis_ms + playout_ms;
        let first_token_ms = Some(3);
        Latency { endpointing_ms, recognition_ms, script_ms, first_token_ms, synthesis_ms, playout_ms, total_ms }
    }

    fn spans(record: &CallRecord, host_calls: &[HostCallSpan]) -> Vec<SpanData> {
        let call = CallSpans {
            call: CALL,
            tenant: "ten_1",
            direction: Direction::Inbound,
            transport: Transport::Sip,
            number: Some("num_1"),
            trunk: None,
            script: Some(("scr_1", 7)),
            created: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000),
            record,
            host_calls,
            cause: Remote::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        };
        call.spans(CallTrace::of(CALL).unwrap())
    }

    /// In milliseconds of the call.
    fn times(span: &SpanData) -> (u64, u64) {
        let ms = |at: SystemTime| {
            let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis();
            u64::try_from(since).unwrap() - 1_700_000_000_000
        };
        (ms(span.start_time), ms(span.end_time))
    }

    #[test]
    fn a_call_is_told_without_its_words() {
        let exchange =
            |with, name: &str, over, failed| Exchange { with, name: name.into(), asked: Time(5), over, failed };
        let record = CallRecord {
            answered: Some(Time(40)),
            ended: Some(Time(9_000)),
            end_reason: Some(EndReason::ScriptTrap),
            script_error: Some("Ada".into()),
            transcript: vec![
                turn(Role::Caller, 1_000, 2_000, None),
                turn(Role::Robot, 2_700, 4_000, Some(latency([300, 100, 200, 90, 10]))),
            ],
            timeline: ["answered", "heard", "fallback"]
                .map(|kind| TimelineEntry { at: Time(40), kind: kind.into(), detail: "Ada".into() })
                .to_vec(),
            exchanges: vec![
                exchange(With::Source, "customer", Some(Time(65)), false),
                exchange(With::Model, "assistant", None, false),
                exchange(With::Source, "desk", Some(Time(6)), true),
            ],
            ..CallRecord::default()
        };
        let host_call = HostCallSpan { name: "ask", asked: Time(20), answered: Time(900) };
        let spans = spans(&record, &[host_call]);
        let told: Vec<_> = spans.iter().map(|span| (span.name.as_ref(), times(span))).collect();
        let expected = [
            ("ring", (0, 40)),
            ("turn caller", (1_000, 2_000)),
            ("turn robot", (2_000, 4_000)),
            ("endpointing", (2_000, 2_300)),
            ("recognition", (2_300, 2_400)),
            ("script", (2_400, 2_600)),
            ("synthesis", (2_600, 2_690)),
            ("playout", (2_690, 2_700)),
            ("speaking", (2_700, 4_000)),
            ("context customer", (5, 65)),
            ("model assistant", (5, 9_000)),
            ("context desk", (5, 6)),
            ("script ask", (20, 900)),
            ("call inbound", (0, 9_000)),
        ];
        assert_eq!(told, expected);
        let root = spans.last().unwrap();
        assert_eq!(root.status, Status::error("script_trap"));
        assert_eq!(root.links[0].span_context.span_id().to_string(), "00f067aa0ba902b7");
        let events: Vec<_> = root.events.iter().map(|event| event.name.as_ref()).collect();
        assert_eq!(events, ["answered", "fallback"]);
        let all = format!("{spans:?}");
        for word in ["Ada", "secret node"] {
            assert!(!all.contains(word), "{all}");
        }
    }

    #[test]
    fn a_call_without_end_has_spans_within_bounds() {
        let turns = (0..2_000).map(|n| turn(Role::Robot, n, n, None)).collect();
        let record = CallRecord { transcript: turns, ..CallRecord::default() };
        let spans = spans(&record, &[]);
        assert_eq!(spans.len(), MAX_SPANS as usize);
        let root = spans.last().unwrap();
        assert!(root.attributes.contains(&count("callbox.spans_left_out", 1_002)), "{:?}", root.attributes);
    }

    proptest! {
        #[test]
        fn parts_fill_their_turn_and_every_parent_is_there(
            parts in any::<[u16; 5]>(), before in 0_u64..100_000, speaks in 0_u64..100_000, ends in any::<Option<u64>>()
        ) {
            let latency = latency(parts.map(u32::from));
            let starts = before + u64::from(latency.total_ms);
            let transcript = vec![turn(Role::Robot, starts, starts + speaks, Some(latency)); 3];
            let spans = spans(&CallRecord { transcript, ended: ends.map(Time), ..CallRecord::default() }, &[]);
            let ids: HashSet<_> = spans.iter().map(|span| span.span_context.span_id()).collect();
            prop_assert_eq!(ids.len(), spans.len(), "no id twice");
            let roots = spans.iter().filter(|span| span.parent_span_id == SpanId::INVALID).count();
            prop_assert_eq!(roots, 1);
            for span in &spans {
                prop_assert!(span.end_time >= span.start_time);
                prop_assert!(span.parent_span_id == SpanId::INVALID || ids.contains(&span.parent_span_id));
                if span.name == "turn robot" {
                    let of = |inner: &&SpanData| inner.parent_span_id == span.span_context.span_id();
                    let inner: Vec<_> = spans.iter().filter(of).map(times).collect();
                    prop_assert!(inner.windows(2).all(|pair| pair[0].1 == pair[1].0), "{:?}", inner);
                    prop_assert_eq!((inner[0].0, inner[inner.len() - 1].1), times(span));
                }
            }
        }
    }
}
