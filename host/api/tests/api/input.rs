//! Bad input: a problem document that says where the mistake is, and nothing done.

use crate::fixture::House;
use crate::operations;
use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};

#[tokio::test]
async fn each_mistake_is_named_with_its_place() {
    let house = House::new().await;
    let things = house.things(&house.tenant, &house.key).await;
    let script = format!("/v1/scripts/{}", things.script);
    let number = format!("/v1/numbers/{}", things.number);
    let webhook = format!("/v1/webhooks/{}", things.webhook);
    let bindings = format!("{script}/bindings");
    let calls = "/v1/calls";
    let cases: Vec<(&str, &str, Value, &str, &str)> = vec![
        ("POST", "/v1/scripts", json!({}), "name", "required"),
        ("POST", "/v1/scripts", json!([]), "", "invalid"),
        ("POST", "/v1/scripts", json!("x"), "", "invalid"),
        ("POST", "/v1/scripts", json!({ "name": 5 }), "name", "invalid"),
        ("POST", "/v1/scripts", json!({ "name": "a b" }), "name", "invalid"),
        ("POST", "/v1/scripts", json!({ "name": "x", "nmae": 1 }), "nmae", "unknown_field"),
        ("POST", "/v1/scripts", json!({ "name": "x", "description": "a\u{7}" }), "description", "invalid"),
        ("PATCH", &script, json!({ "name": null }), "name", "required"),
        ("PATCH", &script, json!({ "id": "scr_1" }), "id", "unknown_field"),
        ("PATCH", &script, json!({ "published_version": 1 }), "published_version", "unknown_field"),
        ("PATCH", &script, json!({ "nmae": null }), "nmae", "unknown_field"),
        ("PATCH", &script, json!([]), "", "invalid"),
        ("POST", "/v1/numbers", json!({ "address": "" }), "address", "invalid"),
        ("POST", "/v1/numbers", json!({ "address": "1", "max_concurrent": 0 }), "max_concurrent", "out_of_range"),
        ("POST", "/v1/numbers", json!({ "address": "1", "max_concurrent": -1 }), "max_concurrent", "invalid"),
        ("POST", "/v1/numbers", json!({ "address": "1", "max_concurrent": 1e99 }), "max_concurrent", "invalid"),
        ("POST", "/v1/numbers", json!({ "address": "1", "recording": "both" }), "recording", "invalid"),
        ("POST", "/v1/numbers", json!({ "address": "1", "script_id": "scr_0" }), "script_id", "not_found"),
        (
            "POST",
            "/v1/numbers",
            json!({ "address": "1", "script_id": things.script, "pinned_version": 9 }),
            "pinned_version",
            "not_found",
        ),
        (
            "POST",
            "/v1/numbers",
            json!({ "address": "1", "fallback": { "say": [{ "txt": "a" }] } }),
            "fallback.say[0]",
            "invalid",
        ),
        ("POST", "/v1/numbers", json!({ "address": "1", "fallback": { "sya": [] } }), "fallback.sya", "unknown_field"),
        ("PATCH", &number, json!({ "enabled": "yes" }), "enabled", "invalid"),
        ("PATCH", &number, json!({ "created_at": "2026-01-01T00:00:00Z" }), "created_at", "unknown_field"),
        ("POST", "/v1/webhooks", json!({ "url": "ftp://a.example" }), "url", "invalid"),
        ("POST", "/v1/webhooks", json!({ "url": "https://u:p@a.example" }), "url", "invalid"),
        ("POST", "/v1/webhooks", json!({ "url": "https://a.example", "events": [] }), "events", "unknown_field"),
        ("POST", "/v1/webhooks", json!({ "url": "https://a.example", "event_types": ["x"] }), "event_types", "invalid"),
        ("POST", "/v1/webhooks", json!({ "url": "https://a.example", "secret": "short" }), "secret", "invalid"),
        ("PATCH", &webhook, json!({ "url": null }), "url", "required"),
        ("PUT", &bindings, json!({ "sources": { "a": {} } }), "sources.a.url", "required"),
        ("PUT", &bindings, json!({ "sources": { "a": { "url": "x" } } }), "sources.a.url", "invalid"),
        (
            "PUT",
            &bindings,
            json!({ "sources": { "a": { "url": "https://a.example", "on_failure": "hope" } } }),
            "sources.a.on_failure",
            "invalid",
        ),
        (
            "PUT",
            &bindings,
            json!({ "destinations": { "a b": { "url": "https://a.example" } } }),
            "destinations.a b",
            "invalid",
        ),
        ("PUT", &bindings, json!({ "secrets": { "a": 5 } }), "secrets.a", "invalid"),
        ("PUT", &bindings, json!({ "secrets": { "a": null } }), "secret:a", "required"),
        ("POST", calls, json!({ "to": "+1" }), "number_id", "required"),
        ("POST", calls, json!({ "to": "+1", "number_id": "a", "script_id": "b" }), "script_id", "invalid"),
        ("POST", calls, json!({ "to": "+1", "number_id": "num_0" }), "number_id", "not_found"),
        ("POST", calls, json!({ "to": "+1", "script_id": "scr_0" }), "script_id", "not_found"),
        ("POST", calls, json!({ "to": "+1", "script_id": things.script, "version": 9 }), "version", "not_found"),
        ("POST", calls, json!({ "to": "sip:a\r\nX: y@127.0.0.1", "script_id": things.script }), "to", "invalid"),
        ("POST", calls, json!({ "to": "a".repeat(256), "script_id": things.script }), "to", "invalid"),
        ("POST", "/v1/keys", json!({ "name": "k", "scopes": [] }), "scopes", "required"),
        ("POST", "/v1/keys", json!({ "name": "k", "scopes": ["calls:dance"] }), "scopes", "invalid"),
        ("POST", "/v1/keys", json!({ "name": "", "scopes": ["calls:read"] }), "name", "required"),
        (
            "POST",
            "/v1/keys",
            json!({ "name": "k", "scopes": ["calls:read"], "expires_at": "soon" }),
            "expires_at",
            "invalid",
        ),
    ];
    for (method, path, body, field, code) in cases {
        let answer = house.request(Some(&house.key), method, path, Some(&body)).await;
        let problem = answer.problem(422, "invalid_input");
        let error = &problem["errors"][0];
        assert_eq!(
            (error["path"].as_str(), error["code"].as_str()),
            (Some(field), Some(code)),
            "{method} {path} {body}: {problem}"
        );
    }
}

#[tokio::test]
async fn what_contradicts_the_store_is_a_conflict() {
    let house = House::new().await;
    let things = house.things(&house.tenant, &house.key).await;
    let script = format!("/v1/scripts/{}", things.script);
    house.post("/v1/scripts", json!({ "name": "hello" })).await.problem(409, "name_taken");
    house.delete(&script).await.problem(409, "in_use");
    house
        .request(Some(&house.key), "POST", &format!("{script}/rollback"), None)
        .await
        .problem(409, "nothing_to_roll_back");
    let needs = json!({ "name": "hello", "sources": { "crm": {} }, "secrets": ["token"] });
    let version = house.version(&house.tenant, &things.script, needs).await;
    let answer = house.post(&format!("{script}/publish"), json!({ "version": version })).await;
    let problem = answer.problem(409, "unbound_names");
    assert_eq!(problem["errors"].as_array().unwrap().len(), 2, "{problem}");
    house.post(&format!("{script}/publish"), json!({ "version": 99 })).await.problem(404, "not_found");
    let number = house.get(&format!("/v1/numbers/{}", things.number)).await.json;
    house.post("/v1/numbers", json!({ "address": number["address"] })).await.problem(409, "address_taken");
    let path = format!("/v1/calls/{}", things.call);
    house.post(&format!("{path}/messages"), json!(1)).await.problem(409, "call_not_active");
    house.request(Some(&house.key), "POST", &format!("{path}/hangup"), None).await.problem(409, "call_not_active");
    let forbidden = json!({ "to": "sip:a@10.9.8.7", "script_id": things.script });
    house.post("/v1/calls", forbidden).await.problem(403, "target_not_allowed");
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_before_anything_else() {
    let house = House::new().await;
    let things = house.things(&house.tenant, &house.key).await;
    let send = async |path: &str, kind: Option<&str>, body: Vec<u8>| {
        let mut request =
            Request::builder().method("POST").uri(path).header("authorization", format!("Bearer {}", house.key));
        if let Some(kind) = kind {
            request = request.header("content-type", kind);
        }
        house.send(request.body(Body::from(body)).unwrap()).await
    };
    let (scripts, versions) = ("/v1/scripts", format!("/v1/scripts/{}/versions", things.script));
    let json = Some("application/json");
    for kind in
        [None, Some("text/plain"), Some("application/x-www-form-urlencoded"), Some("application/wasm"), Some("")]
    {
        send(scripts, kind, b"{\"name\":\"x\"}".to_vec()).await.problem(415, "unsupported_media_type");
    }
    assert_eq!(send(scripts, Some("Application/JSON; charset=utf-8"), b"{\"name\":\"x\"}".to_vec()).await.status, 201);
    for broken in [&b"{"[..], b"", b"{\"name\":}", b"{\"name\":\"a\"} x", b"\xff\xfe", b"{\"name\":\"\xff\"}", b"nul"] {
        send(scripts, json, broken.to_vec()).await.problem(400, "invalid_json");
    }
    send(scripts, json, b"{\"name\":\"a\",\"name\":\"b\"}".to_vec()).await.problem(422, "invalid_input");
    let deep = "[".repeat(100_000);
    send(scripts, json, deep.clone().into_bytes()).await.problem(422, "invalid_input");
    send("/v1/calls", json, format!("{{\"parameters\":{deep}").into_bytes()).await.problem(400, "invalid_json");
    let message = format!("/v1/calls/{}/messages", things.call);
    send(&message, json, deep.into_bytes()).await.problem(400, "invalid_json");
    let long = format!("{{\"name\":\"{}\"}}", "a".repeat(200_000));
    send(scripts, json, long.into_bytes()).await.problem(413, "body_too_large");
    send(&versions, Some("application/wasm"), vec![0; 300_001]).await.problem(413, "body_too_large");
    send(&versions, json, b"{}".to_vec()).await.problem(415, "unsupported_media_type");
    for (upload, code) in [
        (&b"hello"[..], "script_not_wasm"),
        (b"", "script_not_wasm"),
        (b"\x7fELF\x02", "script_precompiled"),
        (b"\0asm\x01\0\0\0", "script_core_module"),
    ] {
        send(&versions, Some("application/wasm"), upload.to_vec()).await.problem(422, code);
    }
    let noted = format!("{versions}?note={}", "a".repeat(1_001));
    send(&noted, Some("application/wasm"), b"x".to_vec()).await.problem(422, "invalid_input");
    // A body without an announced length, beyond the limit.
    let chunks = (0..100).map(|_| Ok::<_, std::io::Error>(vec![b' '; 4_096]));
    let body = Body::from_stream(futures_util::stream::iter(chunks));
    let request = Request::post(scripts).header("authorization", format!("Bearer {}", house.key));
    let request = request.header("content-type", "application/json").body(body).unwrap();
    house.send(request).await.problem(413, "body_too_large");
    // One that breaks off.
    let chunks = [Ok(&b"{"[..]), Err(std::io::Error::other("gone"))];
    let request = Request::post(scripts).header("authorization", format!("Bearer {}", house.key));
    let body = Body::from_stream(futures_util::stream::iter(chunks));
    let request = request.header("content-type", "application/json").body(body).unwrap();
    house.send(request).await.problem(400, "body_broken");
}

#[tokio::test]
async fn unknown_paths_and_methods_are_problems_too() {
    let house = House::new().await;
    for path in ["/", "/v1", "/v2/scripts", "/v1/nothing", "/v1/scripts/", "/v1/calls/a/b/c", "/%00", "/v1/%ff"] {
        house.get(path).await.problem(404, "not_found");
    }
    // A path that cannot be decoded names nothing.
    house.get("/v1/scripts/%ff").await.problem(404, "not_found");
    house.get("/v1/scripts/%00").await.problem(404, "not_found");
    house.get("/v1/scripts/a/versions/99999999999").await.problem(404, "not_found");
    house.get("/v1/scripts/a/versions/-1").await.problem(404, "not_found");
    for (method, path) in
        [("PUT", "/v1/scripts"), ("DELETE", "/v1/calls"), ("OPTIONS", "/v1/keys"), ("TRACE", "/healthz")]
    {
        let answer = house.request(Some(&house.key), method, path, None).await;
        answer.problem(405, "method_not_allowed");
        assert!(answer.headers["allow"].to_str().unwrap().contains("GET"));
    }
    assert_eq!(house.request(Some(&house.key), "HEAD", "/v1/tenant", None).await.status, 200);
    assert_eq!(house.request(None, "HEAD", "/v1/tenant", None).await.status, 401);
}

#[tokio::test]
async fn queries_are_looked_at() {
    let house = House::new().await;
    for operation in operations::all().iter().filter(|o| o.method == "GET" && !o.names_a_thing() && !o.is_public()) {
        // What is no list, or always whole.
        if matches!(operation.path.as_str(), "/v1/tenant" | "/v1/usage" | "/v1/retention" | "/v1/hosts") {
            continue;
        }
        for query in [
            "limit=0",
            "limit=101",
            "limit=x",
            "limit=",
            "limit=-1",
            "unknown=1",
            "limit=1&limit=2",
            "limit=4294967297",
        ] {
            let answer = house.get(&format!("{}?{query}", operation.path)).await;
            let problem = answer.problem(400, "invalid_query");
            assert_eq!(problem["errors"].as_array().unwrap().len(), 1, "{problem}");
        }
        for cursor in ["x", "", "scr_", "call_0", "0.call_0", "%00"] {
            let answer = house.get(&format!("{}?cursor={cursor}", operation.path)).await;
            answer.problem(400, "invalid_cursor");
        }
    }
    for query in ["state=done", "direction=up", "created_from=now", "created_to=1"] {
        house.get(&format!("/v1/calls?{query}")).await.problem(400, "invalid_query");
    }
    house.get("/v1/deliveries?state=lost").await.problem(400, "invalid_query");
}

#[tokio::test]
async fn a_request_has_a_name() {
    let house = House::new().await;
    let named = async |name: &str| {
        let request = Request::get("/healthz").header("x-request-id", name).body(Body::empty()).unwrap();
        house.send(request).await.headers["x-request-id"].to_str().unwrap().to_owned()
    };
    assert_eq!(named("abc-1.2_3").await, "abc-1.2_3");
    for odd in ["a b", "", "a\"b", &"a".repeat(65), house.key.as_str(), "cbk_x"] {
        let name = named(odd).await;
        assert!(name.starts_with("req_"), "{odd} became {name}");
    }
}
