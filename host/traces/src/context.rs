//! Names of traces and spans, and how they are written between systems (W3C Trace Context, level 1).

use opentelemetry::trace::{SpanContext, TraceFlags, TraceState};
use opentelemetry::{SpanId, TraceId};

/// The trace of a call: 128 bits, those of the UUIDv7 in its id, of which the last 62 are random.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallTrace([u8; 16]);

impl CallTrace {
    /// Of `call_` and 32 hex digits; none for another text.
    #[must_use]
    pub fn of(call: &str) -> Option<Self> {
        let mut id = [0; 16];
        hex::decode_to_slice(call.strip_prefix("call_")?, &mut id).ok()?;
        // Zeros are no trace, and would be no span.
        (id[8..] != [0; 8]).then_some(Self(id))
    }

    /// The header `traceparent` for a request on behalf of the call: its sender is the call's own span.
    #[must_use]
    pub fn traceparent(self) -> String {
        format!("00-{}-{}-01", hex::encode(self.0), hex::encode(self.root().to_bytes()))
    }

    /// Whether the trace is among the given share of all; the same on every host.
    pub(crate) fn is_among(self, share: f64) -> bool {
        let [.., a, b, c, d] = self.0;
        f64::from(u32::from_be_bytes([a, b, c, d])) < share * 4_294_967_296.0
    }

    pub(crate) const fn id(self) -> TraceId {
        TraceId::from_bytes(self.0)
    }

    /// The span of the call itself.
    pub(crate) const fn root(self) -> SpanId {
        SpanId::from_bytes(self.tail())
    }

    /// The nth span of the call's record. The same record gives the same spans, whoever reads it.
    pub(crate) fn child(self, n: u32) -> SpanId {
        // Never zero, and never the call's own: the first bit of a UUID's second half is set.
        let random = u64::from_be_bytes(self.tail());
        SpanId::from_bytes((random.wrapping_add(u64::from(n)) | 1 << 63).to_be_bytes())
    }

    const fn tail(self) -> [u8; 8] {
        let [.., a, b, c, d, e, f, g, h] = self.0;
        [a, b, c, d, e, f, g, h]
    }

    pub(crate) fn span(self, id: SpanId) -> SpanContext {
        SpanContext::new(self.id(), id, TraceFlags::SAMPLED, false, TraceState::default())
    }
}

/// The span that a far end names as the cause of its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remote {
    trace: [u8; 16],
    span: [u8; 8],
    flags: u8,
}

impl Remote {
    /// Reads a `traceparent`. Versions after `00` may have more behind what is known of them; what is not valid is as if
    /// there were none, as the standard wants it.
    #[must_use]
    pub fn parse(header: &str) -> Option<Self> {
        let header = header.trim();
        let known = header.get(..55)?;
        let rest = &header[55..];
        let mut parts = known.split('-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let lower = known.bytes().all(|b| matches!(b, b'-' | b'0'..=b'9' | b'a'..=b'f'));
        let fits = rest.is_empty() || (version != "00" && rest.starts_with('-'));
        if !lower || !fits || version == "ff" || parts.next().is_some() {
            return None;
        }
        let mut remote = Self { trace: [0; 16], span: [0; 8], flags: 0 };
        let (mut one, mut versions) = ([0; 1], [0; 1]);
        hex::decode_to_slice(version, &mut versions).ok()?;
        hex::decode_to_slice(trace, &mut remote.trace).ok()?;
        hex::decode_to_slice(span, &mut remote.span).ok()?;
        hex::decode_to_slice(flags, &mut one).ok()?;
        [remote.flags] = one;
        (remote.trace != [0; 16] && remote.span != [0; 8]).then_some(remote)
    }

    pub(crate) fn context(self) -> SpanContext {
        let flags = TraceFlags::new(self.flags) & TraceFlags::SAMPLED;
        let (trace, span) = (TraceId::from_bytes(self.trace), SpanId::from_bytes(self.span));
        SpanContext::new(trace, span, flags, true, TraceState::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CALL: &str = "call_019a5f0e7c1070008a2b3c4d5e6f7081";

    #[test]
    fn a_call_is_its_trace() {
        let trace = CallTrace::of(CALL).unwrap();
        assert_eq!(trace.traceparent(), "00-019a5f0e7c1070008a2b3c4d5e6f7081-8a2b3c4d5e6f7081-01");
        assert_eq!(trace.root().to_string(), "8a2b3c4d5e6f7081");
        assert_eq!(trace.child(1).to_string(), "8a2b3c4d5e6f7082");
        assert_ne!(CallTrace::of("call_019a5f0e7c107000bfffffffffffffff").unwrap().child(9), trace.root());
        for wrong in ["", "call_", "call_1", "019a5f0e7c1070008a2b3c4d5e6f7081", &CALL.replace("019a", "019g")] {
            assert_eq!(CallTrace::of(wrong), None, "{wrong}");
        }
        assert_eq!(CallTrace::of("call_019a5f0e7c1070000000000000000000"), None);
    }

    #[test]
    fn all_none_or_a_share() {
        let trace = CallTrace::of(CALL).unwrap();
        assert!(trace.is_among(1.0) && !trace.is_among(0.0));
        // 0x5e6f7081 of 2^32 is 0.369.
        assert!(trace.is_among(0.37) && !trace.is_among(0.36));
    }

    #[test]
    fn what_a_far_end_names() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let remote = Remote::parse(good).unwrap();
        let context = remote.context();
        assert_eq!(context.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(context.span_id().to_string(), "00f067aa0ba902b7");
        assert!(context.is_remote() && context.is_sampled());
        assert!(Remote::parse(&good.replace("00-4b", "cc-4b").replace("-01", "-01-what-may-come")).is_some());
        for wrong in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-600f067aa0ba902b7-01",
            "00_4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7_01",
        ] {
            assert_eq!(Remote::parse(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange(text in "\\PC{0,80}", hex in "[0-9a-f-]{50,60}") {
            let _ = (Remote::parse(&text), Remote::parse(&hex), CallTrace::of(&text));
        }

        #[test]
        fn what_we_write_we_read(call in "call_[0-9a-f]{16}[89ab][0-9a-f]{15}") {
            let trace = CallTrace::of(&call).unwrap();
            let remote = Remote::parse(&trace.traceparent()).unwrap().context();
            prop_assert_eq!(remote.trace_id(), trace.id());
            prop_assert_eq!(remote.span_id(), trace.root());
        }
    }
}
