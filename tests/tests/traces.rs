//! OpenTelemetry: a real call is a trace at a real collector, with true times, and without a word of what was said.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use callbox_store::UnixMs;
use callbox_tests::web_caller::{self, Offering, WebCaller};
use callbox_tests::{Answer, Business, Collector, Host, Options, Phone, Span};
use serde_json::{Value, json};

const CAUSE: (&str, &str) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");

/// Unix nanoseconds of a moment of the record.
fn ns(moment: &Value) -> u64 {
    let moment: UnixMs = serde_json::from_value(moment.clone()).unwrap();
    moment.0.unsigned_abs() * 1_000_000
}

fn names<'a>(spans: &[&'a Span]) -> Vec<&'a str> {
    spans.iter().map(|span| span.name.as_str()).collect()
}

#[tokio::test]
async fn a_call_is_a_trace_and_a_turn_a_span() {
    let (mut collector, business) = (Collector::start().await, Business::start().await);
    business.answer("/early", Answer::json(json!({ "name": "Ada" })));
    let env = vec![
        ("CALLBOX_TELEMETRY__OTLP", collector.url()),
        ("CALLBOX_TELEMETRY__DELAY_MS", "50".to_owned()),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-collector-key=sesame".to_owned()),
        ("CALLBOX_STORE__HOST", "voice-1".to_owned()),
    ];
    let host = Host::start_with(Options { env, ..Options::default() }).await;
    host.publish_probe(Some(&business)).await;
    let webhook =
        json!({ "url": business.url("/webhooks"), "secret": business.secret, "event_types": ["call.completed"] });
    host.post("/v1/webhooks", &webhook).await;
    let traceparent = format!("00-{}-{}-01", CAUSE.0, CAUSE.1);
    let options = [("X-Probe-Count", "1"), ("traceparent", traceparent.as_str())];
    let mut line = Phone::new().await.dial_probe(&host, "echo", &options).await;
    line.press("42#");
    assert!(line.over().await.by_host);

    // It comes last: what is of the call itself was handed in before its record was kept.
    let delivered = collector.span("of the delivery", |span| span.name == "deliver call.completed").await;
    let root = collector.span("of the call", |span| span.name == "call inbound").await;
    let call = host.finished_call().await["record"].take();
    let id = call["call_id"].as_str().unwrap();

    // The trace is the call's id, and the far end's span is linked.
    assert_eq!(format!("call_{}", root.trace), id);
    assert_eq!((root.parent.as_str(), root.kind), ("", 2));
    assert_eq!(root.links, [(CAUSE.0.to_owned(), CAUSE.1.to_owned())]);
    assert_eq!((root.start, root.end), (ns(&call["times"]["created"]), ns(&call["times"]["ended"])));
    assert_eq!(root.attributes["callbox.call.id"], id);
    assert_eq!(root.attributes["callbox.call.end_reason"], "script_returned");
    assert_eq!(root.status, 1);
    assert!(root.events.contains(&"answered".to_owned()), "{root:?}");
    assert_eq!(root.resource["service.name"], "callbox");
    assert_eq!(root.resource["service.instance.id"], "voice-1");
    assert_eq!(root.key.as_deref(), Some("sesame"));

    // All else is below it, and within it but for the delivery.
    for span in &collector.spans {
        assert_eq!(span.trace, root.trace, "{span:?}");
        let parent = collector.spans.iter().find(|other| other.id == span.parent);
        assert!(span.id == root.id || parent.is_some(), "{span:?}");
        if let Some(parent) = parent.filter(|_| span.id != delivered.id) {
            assert!(parent.start <= span.start && span.end <= parent.end, "{span:?} in {parent:?}");
        }
    }
    assert!(delivered.start >= root.end && delivered.parent == root.id, "{delivered:?}");
    assert_eq!(delivered.attributes["http.response.status_code"], "200");
    let children = collector.children(&root);
    for name in ["ring", "context early", "script ask", "turn caller"] {
        assert!(names(&children).contains(&name), "{name} in {:?}", names(&children));
    }

    // How long the caller waited, part by part, is what the record says.
    let turns: Vec<_> =
        call["transcript"].as_array().unwrap().iter().filter(|turn| turn["latency"].is_object()).collect();
    let [turn] = turns[..] else { panic!("{turns:?}") };
    let waited = turn["latency"]["total_ms"].as_u64().unwrap();
    let of = |span: &&&Span| span.attributes.get("callbox.turn.seq") == Some(&turn["seq"].to_string());
    let span = *children.iter().find(of).unwrap();
    assert_eq!(span.name, "turn robot");
    let parts = collector.children(span);
    assert!(parts.windows(2).all(|pair| pair[0].end == pair[1].start), "{parts:?}");
    assert_eq!((parts[0].start, parts.last().unwrap().end), (span.start, span.end));
    let speaking = parts.iter().find(|part| part.name == "speaking").unwrap();
    assert_eq!(speaking.start - span.start, waited * 1_000_000);
    for part in &parts {
        let of = turn["latency"][format!("{}_ms", part.name)].as_u64();
        assert!(of.is_none_or(|ms| ms * 1_000_000 == part.end - part.start), "{part:?} of {turn}");
    }

    // Customers' systems are told whose request it is.
    let ours = format!("00-{}-{}-01", root.trace, root.id);
    for path in ["/early", "/webhooks"] {
        let received = business.next_at(path).await;
        assert_eq!(received.traceparent.as_deref(), Some(ours.as_str()), "{path}");
    }

    // And nobody is told what was said, who called, or where anything is.
    let all = format!("{:?}", collector.spans);
    let said = call["transcript"].as_array().unwrap().iter().filter_map(|turn| turn["text"].as_str());
    let said = said.filter(|text| !text.is_empty());
    for private in said.chain([call["from"].as_str().unwrap(), &business.url("/"), &business.secret, "Ada"]) {
        assert!(!all.contains(private), "{private:?} in {all}");
    }
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn the_call_of_a_page_is_linked_to_the_span_that_it_names() {
    let mut collector = Collector::start().await;
    let env = vec![("CALLBOX_TELEMETRY__OTLP", collector.url()), ("CALLBOX_TELEMETRY__DELAY_MS", "50".to_owned())];
    let host = Host::start_with(Options { env, ..Options::default() }).await;
    host.publish_probe(None).await;
    let token = web_caller::token(&host, "2000", json!({ "variables": { "X-Probe-Mode": "hello" } })).await;
    let traceparent = format!("00-{}-{}-01", CAUSE.0, CAUSE.1);
    let named = [("traceparent", traceparent.as_str())];
    let caller = WebCaller::call_with(&host, &token, Offering::new().await, &named).await;
    let root = collector.span("of the call", |span| span.name == "call inbound").await;
    assert_eq!(format!("call_{}", root.trace), caller.id());
    assert_eq!((root.parent.as_str(), root.links), ("", vec![(CAUSE.0.to_owned(), CAUSE.1.to_owned())]));
}
