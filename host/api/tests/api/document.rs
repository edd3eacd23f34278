//! The OpenAPI document says all, and only what is true.

use crate::fixture::{House, start};
use callbox_dialogue::Time;
use callbox_dialogue::call::{Evidence, Party};
use callbox_dialogue::record::{
    CallRecord, EndedBy, Intent, Latency, Outcome, Role, TimelineEntry, TransferRecord, Turn,
};
use callbox_dialogue::script::{Segment, TransferMode};
use callbox_dialogue::setup::Fallback;
use callbox_store::TenantId;
use callbox_store::UnixMs;
use callbox_store::document::{CallDocument, RecordingLink, UsageFacts};
use serde_json::{Value, json};
use std::collections::BTreeSet;

fn document() -> Value {
    serde_json::from_str(&callbox_api::openapi()).unwrap()
}

/// Calls `see` with every object of a JSON value.
fn walk(value: &Value, see: &mut impl FnMut(&serde_json::Map<String, Value>)) {
    match value {
        Value::Object(object) => {
            see(object);
            object.values().for_each(|value| walk(value, see));
        }
        Value::Array(array) => array.iter().for_each(|value| walk(value, see)),
        _ => {}
    }
}

#[test]
fn it_is_whole() {
    let document = document();
    assert_eq!(document["openapi"], "3.1.0");
    let mut names = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let name = operation["operationId"].as_str().unwrap();
            assert!(names.insert(name.to_owned()), "two operations are called {name}");
            assert!(operation["summary"].is_string(), "{method} {path} has no summary");
            for (status, response) in operation["responses"].as_object().unwrap() {
                assert!(!response["description"].as_str().unwrap().is_empty());
                if status.starts_with(['4', '5']) {
                    let problem = &response["content"]["application/problem+json"]["schema"]["$ref"];
                    assert_eq!(problem, "#/components/schemas/Problem", "{method} {path} {status}");
                }
            }
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                assert!(parameter["description"].is_string(), "{method} {path}: {parameter}");
            }
        }
    }
    let mut references = BTreeSet::new();
    walk(&document, &mut |object| {
        if let Some(Value::String(reference)) = object.get("$ref") {
            references.insert(reference.clone());
        }
    });
    for reference in references {
        let target = document.pointer(reference.trim_start_matches('#'));
        assert!(target.is_some(), "{reference} leads nowhere");
    }
}

#[tokio::test]
async fn it_is_served_and_can_be_browsed_without_the_network() {
    let house = House::new().await;
    let served = house.request(None, "GET", "/openapi.json", None).await;
    assert_eq!(*served.ok(), document());
    assert_eq!(house.request(None, "GET", "/docs", None).await.headers["location"], "/docs/");
    let page = house.request(None, "GET", "/docs/", None).await;
    let html = String::from_utf8(page.bytes).unwrap();
    assert!(page.headers["content-security-policy"].to_str().unwrap().starts_with("default-src 'self'"));
    assert!(!html.contains("http://") && !html.contains("https://"), "{html}");
    let sources: Vec<&str> = html.split("src=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert!(sources.len() >= 3, "{sources:?}");
    for source in sources {
        let path = format!("/docs/{}", source.trim_start_matches("./"));
        assert_eq!(house.request(None, "GET", &path, None).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn health_is_told_to_anybody() {
    let house = House::new().await;
    assert_eq!(house.request(None, "GET", "/healthz", None).await.ok()["status"], "ok");
    assert_eq!(house.request(None, "GET", "/readyz", None).await.ok()["calls"], 0);
    // Another, since what the database said is remembered for a second.
    let house = House::new().await;
    house.store.close().await;
    assert_eq!(house.request(None, "GET", "/healthz", None).await.status, 200);
    let answer = house.request(None, "GET", "/readyz", None).await;
    answer.problem(503, "results_not_stored");
    assert!(answer.headers.contains_key("retry-after"));
}

/// Every member that is written is described, and every one described can be written.
fn fits(schemas: &Value, schema: &Value, written: &Value, path: &str) {
    let schema = match schema["$ref"].as_str() {
        Some(reference) => &schemas[reference.rsplit('/').next().unwrap()],
        None => match schema["oneOf"].as_array() {
            // `null`, or this.
            Some(either) => either.iter().find(|one| one["type"] != "null").unwrap(),
            None => schema,
        },
    };
    if let Some(reference) = schema["$ref"].as_str() {
        return fits(schemas, &schemas[reference.rsplit('/').next().unwrap()], written, path);
    }
    match (schema["properties"].as_object(), written) {
        (Some(described), Value::Object(written)) => {
            let names = |map: &serde_json::Map<String, Value>| map.keys().cloned().collect::<BTreeSet<_>>();
            assert_eq!(names(described), names(written), "{path}");
            for (name, value) in written {
                fits(schemas, &described[name], value, &format!("{path}.{name}"));
            }
        }
        (None, Value::Array(items)) => {
            items.iter().for_each(|item| fits(schemas, &schema["items"], item, &format!("{path}[]")));
        }
        _ => {}
    }
}

#[test]
fn what_other_rooms_write_is_what_is_described() {
    let tenant = TenantId("ten_1".into());
    let mut call = start(&tenant, "scr_1", "num_1", UnixMs(0));
    for party in [&mut call.caller, &mut call.callee] {
        *party = Party { uri: "u".into(), number: Some("n".into()), display_name: Some("d".into()) };
    }
    let turn = Turn {
        seq: 1,
        role: Role::Caller,
        text: "t".into(),
        heard_text: Some("h".into()),
        digits: Some("1".into()),
        start_ms: 0,
        end_ms: 1,
        node: Some("n".into()),
        interrupted_by: Some("digits".into()),
        confidence: Some(0.5),
        latency: Some(Latency { first_token_ms: Some(1), ..Latency::default() }),
    };
    let entry = TimelineEntry { at: Time(1), kind: "k".into(), detail: "d".into() };
    let record = CallRecord {
        outcome: Some(Outcome::Answered),
        ended_by: Some(EndedBy::Script),
        evidence: Evidence { sip_status: Some(200), sip_reason: None, q850: Some(16) },
        intent: Some(Intent { name: "n".into(), grade: Some('A') }),
        transfer: Some(TransferRecord { target: "t".into(), mode: TransferMode::Refer, at: Time(1), outcome: None }),
        transcript: vec![turn.clone()],
        timeline: vec![entry.clone()],
        ..CallRecord::default()
    };
    let mut whole = CallDocument::from_record(&call, &record);
    whole.recordings.push(RecordingLink {
        id: "r".into(),
        url: "u".into(),
        expires_at: None,
        size: 1,
        duration_ms: 1,
        sha256: "s".into(),
    });
    whole.usage = Some(UsageFacts::default());
    let fallback = Fallback { say: vec![Segment::Text("t".into())], transfer_to: Some("+1".into()) };
    let schemas = &document()["components"]["schemas"];
    for (name, written) in [
        ("CallRecord", json!(whole)),
        ("Turn", json!(turn)),
        ("Latency", json!(turn.latency)),
        ("TimelineEntry", json!(entry)),
        ("Fallback", json!(fallback)),
    ] {
        fits(schemas, &schemas[name], &written, name);
    }
    let check = json!({ "name": "size", "verdict": "ok", "detail": "d" });
    assert!(serde_json::from_value::<callbox_script::Check>(check.clone()).is_ok());
    fits(schemas, &schemas["Check"], &check, "Check");
    let words: BTreeSet<&str> = schemas["Segment"]["oneOf"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["properties"].as_object().unwrap().keys().next().unwrap().as_str())
        .collect();
    assert_eq!(words, BTreeSet::from(["asset", "silence", "ssml", "text"]));
}
