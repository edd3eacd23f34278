//! Tenants, their keys and limits, what they have used, and who changed what.

use crate::fixture::House;
use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};

async fn by_operator(house: &House, method: &str, path: &str, body: Option<Value>) -> Value {
    house.request(Some(&house.operator), method, path, body.as_ref()).await.ok().clone()
}

#[tokio::test]
async fn an_operator_makes_a_tenant_and_its_first_key() {
    let house = House::new().await;
    let made = by_operator(&house, "POST", "/v1/tenants", Some(json!({ "name": "Acme" }))).await;
    assert_eq!((&made["name"], &made["suspended_at"], &made["quotas"]), (&json!("Acme"), &Value::Null, &json!({})));
    let path = format!("/v1/tenants/{}", made["id"].as_str().unwrap());
    let key =
        by_operator(&house, "POST", &format!("{path}/keys"), Some(json!({ "name": "k", "scopes": ["admin"] }))).await;
    let key = key["secret"].as_str().unwrap();
    let own = house.request(Some(key), "GET", "/v1/tenant", None).await;
    assert_eq!(own.ok()["id"], made["id"]);
    // An administrator of a tenant does not run the deployment, and cannot make a key that does.
    house.request(Some(key), "GET", "/v1/tenants", None).await.problem(403, "insufficient_scope");
    let more = json!({ "name": "more", "scopes": ["operator"] });
    house.request(Some(key), "POST", "/v1/keys", Some(&more)).await.problem(403, "scopes_exceeded");
    house
        .request(Some(&house.operator), "POST", &format!("{path}/keys"), Some(&more))
        .await
        .problem(422, "invalid_input");
    let ids: Vec<Value> = by_operator(&house, "GET", "/v1/tenants", None).await["data"].as_array().unwrap().clone();
    assert_eq!(ids.iter().filter(|tenant| tenant["id"] == made["id"]).count(), 1);
    // It is in the tenant's own log who made it.
    let log = house.request(Some(key), "GET", "/v1/audit_log?action=key.created", None).await;
    assert_eq!(log.ok()["data"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_suspended_tenant_is_shut_out_until_it_is_not() {
    let house = House::new().await;
    let (tenant, key) = house.stranger().await;
    let path = format!("/v1/tenants/{tenant}");
    house.request(Some(&key), "GET", "/v1/tenant", None).await.ok();
    let suspended = by_operator(&house, "PATCH", &path, Some(json!({ "suspended": true }))).await;
    assert!(suspended["suspended_at"].is_string());
    house.request(Some(&key), "GET", "/v1/tenant", None).await.problem(401, "unauthorized");
    let again = by_operator(&house, "PATCH", &path, Some(json!({ "name": "other name" }))).await;
    assert_eq!((&again["suspended_at"], &again["name"]), (&suspended["suspended_at"], &json!("other name")));
    by_operator(&house, "PATCH", &path, Some(json!({ "suspended": null }))).await;
    house.request(Some(&key), "GET", "/v1/tenant", None).await.ok();
}

#[tokio::test]
async fn limits_are_merged_and_taken_away_by_null() {
    let house = House::new().await;
    let (tenant, _) = house.stranger().await;
    let path = format!("/v1/tenants/{tenant}");
    let limits = json!({ "quotas": { "concurrent_calls": 3, "outbound": { "allowed_prefixes": ["+49"], "minutes_per_day": 9 } } });
    assert_eq!(by_operator(&house, "PATCH", &path, Some(limits.clone())).await["quotas"], limits["quotas"]);
    let change = json!({ "quotas": { "concurrent_calls": null, "outbound": { "minutes_per_day": 5 } } });
    let expected = json!({ "outbound": { "allowed_prefixes": ["+49"], "minutes_per_day": 5 } });
    assert_eq!(by_operator(&house, "PATCH", &path, Some(change)).await["quotas"], expected);
    let wrong = json!({ "quotas": { "outbound": { "allowed_prefixes": ["49x"] }, "calls_per_second": 0 } });
    let problem = house.request(Some(&house.operator), "PATCH", &path, Some(&wrong)).await;
    let paths: Vec<&Value> =
        problem.problem(422, "invalid_input")["errors"].as_array().unwrap().iter().map(|e| &e["path"]).collect();
    assert_eq!(paths, ["quotas.calls_per_second", "quotas.outbound.allowed_prefixes[0]"]);
    let unknown = json!({ "quotas": { "call": 1 } });
    house.request(Some(&house.operator), "PATCH", &path, Some(&unknown)).await.problem(422, "invalid_input");
}

#[tokio::test]
async fn all_keys_of_a_tenant_share_its_pace() {
    let house = House::new().await;
    let (tenant, key) = house.stranger().await;
    let (_, second) = house.make_key(&tenant, &["admin"]).await;
    by_operator(
        &house,
        "PATCH",
        &format!("/v1/tenants/{tenant}"),
        Some(json!({ "quotas": { "requests_per_second": 3 } })),
    )
    .await;
    let mut limited = 0;
    for at in 0..40 {
        let key = if at % 2 == 0 { &key } else { &second };
        let answer = house.request(Some(key), "GET", "/v1/tenant", None).await;
        if answer.status == 429 {
            answer.problem(429, "rate_limited");
            assert!(answer.headers["retry-after"].to_str().unwrap().parse::<u64>().unwrap() >= 1);
            limited += 1;
        }
        house.get("/v1/tenant").await.ok();
    }
    assert!(limited > 0, "40 at once are more than 3 a second");
}

#[tokio::test]
async fn a_key_is_replaced_while_it_runs_on() {
    let house = House::new().await;
    let made = house.post("/v1/keys", json!({ "name": "crm", "scopes": ["calls:read"] })).await;
    let (id, old) = (made.json["id"].as_str().unwrap(), made.json["secret"].as_str().unwrap());
    let path = format!("/v1/keys/{id}/rotate");
    let fresh = house.post(&path, json!({ "keep_old_ms": 3_600_000 })).await;
    assert_eq!(
        (fresh.status.as_u16(), &fresh.json["scopes"], &fresh.json["name"]),
        (201, &json!(["calls:read"]), &json!("crm"))
    );
    for key in [old, fresh.json["secret"].as_str().unwrap()] {
        house.request(Some(key), "GET", "/v1/calls", None).await.ok();
    }
    let shown = house.get(&format!("/v1/keys/{id}")).await;
    assert_eq!(shown.ok()["replaced_by"], fresh.json["id"]);
    assert!(shown.json["expires_at"].is_string());
    house.post(&path, json!({})).await.problem(409, "key_over");
    // At once, and by nobody who may do less.
    let second = format!("/v1/keys/{}/rotate", fresh.json["id"].as_str().unwrap());
    let (_, weak) = house.make_key(&house.tenant, &["keys:write"]).await;
    house.request(Some(&weak), "POST", &second, Some(&json!({}))).await.problem(403, "scopes_exceeded");
    house.post(&second, json!({ "keep_old_ms": 0 })).await.ok();
    house.request(fresh.json["secret"].as_str(), "GET", "/v1/calls", None).await.problem(401, "unauthorized");
    house.post(&second, json!({ "keep_old_ms": 4_000_000_000_u32 })).await.problem(422, "invalid_input");
}

#[tokio::test]
async fn the_log_says_from_where_and_can_be_searched() {
    let house = House::new().await;
    let (key_id, key) = house.make_key(&house.tenant, &["admin"]).await;
    let body = json!({ "name": "s" }).to_string();
    let mut request = Request::post("/v1/scripts")
        .header("authorization", format!("Bearer {key}"))
        .header("content-type", "application/json")
        .header("x-request-id", "r-17")
        .header("x-forwarded-for", "198.51.100.7");
    request = request.extension(callbox_api::Peer("10.0.0.1:4000".parse().unwrap()));
    let script = house.send(request.body(Body::from(body)).unwrap()).await.ok()["id"].clone();
    let script = script.as_str().unwrap();
    for query in [
        format!("actor={key_id}"),
        format!("target={script}&action=script.created"),
        format!("actor={key_id}&from=2020-01-01T00:00:00Z&to=2200-01-01T00:00:00Z"),
    ] {
        let answer = house.get(&format!("/v1/audit_log?{query}")).await;
        let found = answer.ok()["data"].as_array().unwrap();
        assert_eq!(found.len(), 1, "{query}: {}", answer.json);
        let seen = (&found[0]["source"], &found[0]["request_id"], &found[0]["target"]);
        assert_eq!(seen, (&json!("198.51.100.7"), &json!("r-17"), &json!(script)));
    }
    let none = house.get(&format!("/v1/audit_log?actor={key_id}&to=2020-01-01T00:00:00Z")).await;
    assert_eq!(none.ok()["data"], json!([]));
    house.get("/v1/audit_log?from=yesterday").await.problem(400, "invalid_query");
}

#[tokio::test]
async fn what_was_used_is_told_by_day() {
    let house = House::new().await;
    let things = house.things(&house.tenant, &house.key).await;
    let used = house.get("/v1/usage").await;
    let used = used.ok();
    assert_eq!(
        (&used["calls_in"], &used["calls_out"], &used["storage"]["recording_bytes"]),
        (&json!(1), &json!(0), &json!(14))
    );
    assert_eq!(used["storage"]["scripts"], 1);
    assert!(used["storage"]["component_bytes"].as_u64().unwrap() > 0);
    let before = house.get("/v1/usage?from=2020-01-01T00:00:00Z&to=2020-01-31T12:00:00Z").await;
    assert_eq!((&before.ok()["calls_in"], &before.json["to"]), (&json!(0), &json!("2020-02-01T00:00:00.000Z")));
    house.get("/v1/usage?from=2020-01-02T00:00:00Z&to=2020-01-01T00:00:00Z").await.problem(422, "invalid_input");
    house.get("/v1/usage?from=2010-01-02T00:00:00Z&to=2020-01-01T00:00:00Z").await.problem(422, "invalid_input");
    let of = format!("/v1/tenants/{}/usage", things.tenant);
    assert_eq!(by_operator(&house, "GET", &of, None).await["calls_in"], 1);
}

#[tokio::test]
async fn what_a_tenant_may_not_use_any_more_is_refused_by_name() {
    let house = House::new().await;
    let (tenant, key) = house.stranger().await;
    let things = house.things(&tenant, &key).await;
    let path = format!("/v1/tenants/{tenant}");
    let limit = async |quotas: Value| by_operator(&house, "PATCH", &path, Some(json!({ "quotas": quotas }))).await;
    let post = async |path: &str, body: Value| house.request(Some(&key), "POST", path, Some(&body)).await;
    let upload = async || {
        let request = Request::post(format!("/v1/scripts/{}/versions", things.script))
            .header("authorization", format!("Bearer {key}"))
            .header("content-type", "application/wasm");
        house.send(request.body(Body::from("\0asm")).unwrap()).await
    };

    limit(json!({ "scripts": 1 })).await;
    post("/v1/scripts", json!({ "name": "more" })).await.problem(403, "scripts_exceeded");
    limit(json!({ "scripts": 2, "versions_per_script": 1 })).await;
    post("/v1/scripts", json!({ "name": "more" })).await.ok();
    upload().await.problem(403, "versions_exceeded");
    limit(json!({ "versions_per_script": null, "storage_mb": 0 })).await;
    upload().await.problem(403, "storage_exceeded");
    limit(json!({ "storage_mb": null })).await;
    // Now it is looked at, and is no component.
    assert_eq!(upload().await.status, 422);

    let place = async |to: &str| post("/v1/calls", json!({ "to": to, "number_id": things.number })).await;
    limit(json!({ "concurrent_calls": 0 })).await;
    assert!(place("sip:a@127.0.0.1:1").await.problem(429, "calls_exceeded").to_string().contains("concurrent_calls"));
    limit(json!({ "concurrent_calls": null })).await;
    // By whatever host: a number is a number.
    for to in ["sip:+881631234567@127.0.0.1:1", "sip:00881631234567;phone-context=x@127.0.0.1:1"] {
        place(to).await.problem(403, "destination_not_allowed");
    }
    limit(json!({ "outbound": { "allowed_prefixes": ["+49"], "concurrent_calls": 0 } })).await;
    place("sip:+331234567@127.0.0.1:1").await.problem(403, "destination_not_allowed");
    let full = place("sip:+493012345@127.0.0.1:1").await;
    full.problem(429, "outbound_calls_exceeded");
    assert!(full.headers.contains_key("retry-after"));
    limit(json!({ "outbound": { "concurrent_calls": null, "minutes_per_day": 0 } })).await;
    place("sip:+493012345@127.0.0.1:1").await.problem(429, "outbound_minutes_exceeded");
    // A number narrows it further.
    let narrow = json!({ "outbound": { "allowed_prefixes": ["+4930"] } });
    house.request(Some(&key), "PATCH", &format!("/v1/numbers/{}", things.number), Some(&narrow)).await.ok();
    place("sip:+498912345@127.0.0.1:1").await.problem(403, "destination_not_allowed");
    place("sip:+493012345@127.0.0.1:1").await.problem(429, "outbound_minutes_exceeded");
    // Nobody else is concerned.
    house.post("/v1/scripts", json!({ "name": "more" })).await.ok();
}

#[tokio::test]
async fn how_long_things_are_kept_is_said_for_all_numbers_and_for_one() {
    let house = House::new().await;
    let things = house.things(&house.tenant, &house.key).await;
    let send = async |method: &str, path: &str, body: Option<Value>| {
        house.request(Some(&house.key), method, path, body.as_ref()).await
    };
    let own = format!("/v1/numbers/{}/retention", things.number);
    assert_eq!(house.get("/v1/retention").await.ok()["data"], json!([]));
    send("PUT", "/v1/retention", Some(json!({ "calls_days": 400, "recordings_days": 30 }))).await.ok();
    send("PUT", &own, Some(json!({ "recordings_days": 7 }))).await.ok();
    let none = json!({ "recordings_days": null, "tapes_days": null, "deliveries_days": null, "calls_days": null });
    let rule = |number: Value, recordings: u32, calls: Value| {
        let mut rule = none.clone();
        rule["number_id"] = number;
        rule["recordings_days"] = recordings.into();
        rule["calls_days"] = calls;
        rule
    };
    let all = json!([rule(Value::Null, 30, json!(400)), rule(json!(things.number), 7, Value::Null)]);
    assert_eq!(house.get("/v1/retention").await.ok()["data"], all);
    let wrong = send("PUT", &own, Some(json!({ "calls_days": 1 }))).await;
    wrong.problem(422, "invalid_input");
    assert_eq!(wrong.json["errors"][0]["path"], "calls_days");
    send("PUT", "/v1/retention", Some(json!({ "days": 1 }))).await.problem(422, "invalid_input");
    send("PUT", "/v1/numbers/num_none/retention", Some(json!({}))).await.problem(404, "not_found");
    assert_eq!(send("DELETE", &own, None).await.status, 204);
    assert_eq!(send("DELETE", "/v1/retention", None).await.status, 204);
    assert_eq!(house.get("/v1/retention").await.ok()["data"], json!([]));
}

#[tokio::test]
async fn a_call_is_erased_when_somebody_asks_for_it() {
    let house = House::new().await;
    let script = house.post("/v1/scripts", json!({ "name": "hello" })).await.ok()["id"].as_str().unwrap().to_owned();
    let (call, recording) = house.finished_call(&house.tenant, &script, "num_1").await;
    let path = format!("/v1/calls/{call}");
    let capture = |call: &str| house.recordings.join(format!("{call}-0.pcap"));
    let unknown = callbox_store::id::new("call");
    for call in [&call, &unknown] {
        std::fs::write(capture(call), b"its packets").unwrap();
    }
    house.platform.sweep_captures().await.unwrap();
    assert_eq!((capture(&call).exists(), capture(&unknown).exists()), (true, false), "one of no call is nobody's");
    // Its recording is still being brought away.
    house.request(Some(&house.key), "DELETE", &path, None).await.problem(409, "call_unsettled");
    let (due, _) = house.store.due_recordings("test", 9).await.unwrap();
    assert_eq!(due.iter().map(|due| due.row.id.as_str()).collect::<Vec<_>>(), [&*recording]);
    house.store.recording_is_lost(&due[0], "no room").await.unwrap();
    assert_eq!(house.request(Some(&house.key), "DELETE", &path, None).await.status, 204);
    house.get(&path).await.problem(404, "not_found");
    assert_eq!(std::fs::read_dir(&house.recordings).unwrap().count(), 0);
}
