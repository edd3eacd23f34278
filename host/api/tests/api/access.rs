//! Who may do what: every operation of the document with every kind of key.

use crate::fixture::{House, Things};
use crate::operations;
use callbox_store::Actor;
use callbox_store::keys::{OPERATOR, RESOURCES};
use callbox_store::quotas::Quotas;
use callbox_store::tenants::NewTenant;
use std::collections::BTreeSet;

#[tokio::test]
async fn without_a_valid_key_there_is_nothing_to_see() {
    let house = House::new().await;
    let things = house.things(&house.tenant, &house.key).await;
    let (revoked, revoked_text) = house.make_key(&house.tenant, &["admin"]).await;
    house.store.revoke_key(&house.tenant, &revoked, &Actor::system()).await.unwrap();
    let expired = house.expired_key(&house.tenant).await;
    let (suspended, of_suspended) = house.stranger().await;
    let new = NewTenant { name: "gone".into(), suspended: true, quotas: Quotas::default() };
    house.store.update_tenant(&suspended, new, &Actor::system()).await.unwrap();
    let mut mistyped = house.key.clone();
    let last = if mistyped.pop() == Some('0') { '1' } else { '0' };
    mistyped.push(last);
    let before = everything(&house, &things).await;
    let bad = ["nonsense", &mistyped, &revoked_text, &expired, &of_suspended, ""];
    for operation in operations::all().iter().filter(|o| !o.is_public()) {
        for key in std::iter::once(None).chain(bad.into_iter().map(Some)) {
            let answer = house.send(operation.request(&things, key)).await;
            answer.problem(401, "unauthorized");
            assert_eq!(answer.headers["www-authenticate"], "Bearer");
        }
    }
    assert_eq!(everything(&house, &things).await, before, "nothing has changed");
}

/// What every operation that reads says of these things, in the order of their names.
async fn everything(house: &House, things: &Things) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for operation in operations::all().iter().filter(|o| o.method == "GET" && !o.is_public()) {
        let key = if operation.is_operators() { &house.operator } else { &house.key };
        let answer = house.send(operation.request(things, Some(key))).await;
        assert!(answer.status.is_success(), "{}: {}", operation.name(), answer.json);
        let mut said = answer.json;
        if operation.path.ends_with("/recordings") {
            // A link is made, and signed, each time anew.
            for recording in said["data"].as_array_mut().unwrap() {
                recording.as_object_mut().unwrap().retain(|name, _| name != "url" && name != "expires_at");
            }
        }
        // When a key was used last is no change.
        if !operation.path.contains("/keys") {
            let plain = String::from_utf8_lossy(&answer.bytes);
            all.push((operation.name(), if said.is_null() { plain.into_owned() } else { said.to_string() }));
        }
    }
    all
}

#[tokio::test]
async fn a_key_of_another_tenant_finds_nothing() {
    let house = House::new().await;
    let things = house.things(&house.tenant, &house.key).await;
    let (tenant, key) = house.stranger().await;
    let own = house.things(&tenant, &key).await;
    let ids = [
        &things.script,
        &things.number,
        &things.webhook,
        &things.trunk,
        &things.account,
        &things.delivery,
        &things.call,
        &things.recording,
        &things.key,
        &things.token,
    ];
    let before = everything(&house, &things).await;
    for operation in operations::all().iter().filter(|o| !o.is_public()) {
        let answer = house.send(operation.request(&things, Some(&key))).await;
        let name = operation.name();
        if operation.is_operators() {
            answer.problem(403, "insufficient_scope");
        } else if operation.names_a_thing() {
            answer.problem(404, "not_found");
        } else if operation.method == "GET" {
            let text = answer.ok().to_string();
            for id in ids {
                assert!(!text.contains(id.as_str()), "{name} shows {id}: {text}");
            }
        } else {
            // What it makes is its own; what it names in a body it does not find.
            let text = answer.json.to_string();
            match name.as_str() {
                "POST /v1/numbers" | "POST /v1/calls" | "POST /v1/webrtc/tokens" => {
                    let problem = answer.problem(422, "invalid_input");
                    assert_eq!(problem["errors"][0]["code"], "not_found", "{problem}");
                }
                _ => assert!(answer.status.is_success(), "{name}: {text}"),
            }
        }
        // A thing of one's own below a thing of another, and the other way round.
        if operation.path.contains("{recording}") {
            let mixed = operation.path.replace("{call}", &own.call).replace("{recording}", &things.recording);
            house.request(Some(&key), "GET", &mixed, None).await.problem(404, "not_found");
        }
    }
    // Of the tenants the operator sees the new key's name; of the things of the first one nothing has changed.
    assert_eq!(everything(&house, &things).await, before, "nothing has changed");
}

#[tokio::test]
async fn a_key_that_may_read_changes_nothing() {
    let house = House::new().await;
    let things = house.things(&house.tenant, &house.key).await;
    let scopes: Vec<String> = RESOURCES.iter().map(|resource| format!("{resource}:read")).collect();
    let scopes: Vec<&str> = scopes.iter().map(String::as_str).collect();
    let (_, key) = house.make_key(&house.tenant, &scopes).await;
    for operation in operations::all().iter().filter(|o| !o.is_public()) {
        let answer = house.send(operation.request(&things, Some(&key))).await;
        if operation.is_operators() {
            answer.problem(403, "insufficient_scope");
        } else if operation.method == "GET" {
            assert_eq!(answer.status, 200, "{}", operation.name());
        } else {
            let problem = answer.problem(403, "insufficient_scope");
            assert!(problem["detail"].as_str().unwrap().contains(":write"), "{problem}");
        }
    }
}

#[tokio::test]
async fn a_key_for_one_resource_does_not_open_another() {
    let house = House::new().await;
    let things = house.things(&house.tenant, &house.key).await;
    for resource in RESOURCES {
        let (_, key) = house.make_key(&house.tenant, &[&format!("{resource}:write")]).await;
        for operation in operations::all().iter().filter(|o| !o.is_public()) {
            let scope = operation.scope.as_deref().unwrap();
            if scope.is_empty() || scope.split(':').next() == Some(resource) {
                continue;
            }
            let answer = house.send(operation.request(&things, Some(&key))).await;
            answer.problem(403, "insufficient_scope");
        }
    }
}

#[test]
fn every_scope_of_the_document_exists() {
    let known: BTreeSet<String> =
        RESOURCES.iter().flat_map(|resource| [format!("{resource}:read"), format!("{resource}:write")]).collect();
    for operation in operations::all() {
        let Some(scope) = operation.scope else {
            assert!(!operation.path.starts_with("/v1"), "{} is open to all", operation.path);
            continue;
        };
        if operation.path.starts_with("/v1/tenants") || operation.path == "/v1/hosts" {
            assert_eq!(scope, OPERATOR, "{}", operation.path);
            continue;
        }
        assert!(scope.is_empty() || known.contains(&scope), "{scope}");
        let writes = operation.method != "GET";
        assert!(
            scope.is_empty() || scope.ends_with(if writes { ":write" } else { ":read" }),
            "{scope} {}",
            operation.path
        );
    }
}

#[tokio::test]
async fn a_key_is_good_from_its_making_to_its_revocation() {
    let house = House::new().await;
    let made = house.post("/v1/keys", serde_json::json!({ "name": "k", "scopes": ["scripts:read"] })).await;
    assert_eq!(made.status, 201);
    let (id, key) = (made.json["id"].as_str().unwrap(), made.json["secret"].as_str().unwrap());
    assert_eq!(made.headers["location"], format!("/v1/keys/{id}"));
    house.request(Some(key), "GET", "/v1/scripts", None).await.ok();
    house
        .request(Some(key), "POST", "/v1/scripts", Some(&serde_json::json!({ "name": "x" })))
        .await
        .problem(403, "insufficient_scope");
    assert!(house.delete(&format!("/v1/keys/{id}")).await.ok()["revoked_at"].is_string());
    house.request(Some(key), "GET", "/v1/scripts", None).await.problem(401, "unauthorized");
    assert!(house.delete(&format!("/v1/keys/{id}")).await.ok()["revoked_at"].is_string());
}

#[tokio::test]
async fn a_key_makes_no_stronger_one() {
    let house = House::new().await;
    let (_, key) = house.make_key(&house.tenant, &["keys:write", "calls:write"]).await;
    for (scopes, status) in [(["calls:read"], 201), (["calls:write"], 201), (["scripts:read"], 403), (["admin"], 403)] {
        let body = serde_json::json!({ "name": "k", "scopes": scopes });
        let answer = house.request(Some(&key), "POST", "/v1/keys", Some(&body)).await;
        assert_eq!(answer.status, status, "{scopes:?}");
    }
}

#[tokio::test]
async fn a_key_touches_no_stronger_one() {
    let house = House::new().await;
    let (own, key) = house.make_key(&house.tenant, &["keys:write", "calls:read"]).await;
    let (equal, _) = house.make_key(&house.tenant, &["keys:write"]).await;
    for scope in ["admin", "operator", "calls:write", "scripts:read"] {
        let (stronger, text) = house.make_key(&house.tenant, &[scope]).await;
        let path = format!("/v1/keys/{stronger}");
        house.request(Some(&key), "DELETE", &path, None).await.problem(403, "scopes_exceeded");
        let body = serde_json::json!({ "keep_old_ms": 0 });
        let rotated = house.request(Some(&key), "POST", &format!("{path}/rotate"), Some(&body)).await;
        rotated.problem(403, "scopes_exceeded");
        // Whatever it lacks otherwise, it is known.
        let answer = house.request(Some(&text), "GET", "/v1/tenant", None).await;
        assert_eq!(answer.status, 200, "{scope}: {}", answer.json);
    }
    for covered in [equal, own] {
        let revoked = house.request(Some(&key), "DELETE", &format!("/v1/keys/{covered}"), None).await;
        assert!(revoked.ok()["revoked_at"].is_string());
    }
    house.request(Some(&key), "GET", "/v1/tenant", None).await.problem(401, "unauthorized");
}

#[tokio::test]
async fn a_key_that_asks_too_often_waits_and_others_do_not() {
    let house = House::with(5).await;
    let (_, other) = house.stranger().await;
    let mut limited = None;
    for _ in 0..40 {
        let answer = house.get("/v1/tenant").await;
        if answer.status == 429 {
            limited = Some(answer);
        }
    }
    let limited = limited.expect("40 at once are more than 5 a second");
    limited.problem(429, "rate_limited");
    assert!(limited.headers["retry-after"].to_str().unwrap().parse::<u64>().unwrap() >= 1);
    house.request(Some(&other), "GET", "/v1/tenant", None).await.ok();
}

#[tokio::test]
async fn the_key_goes_into_one_header_and_nowhere_else() {
    let house = House::new().await;
    let key = &house.key;
    for path in [format!("/v1/tenant?access_token={key}"), format!("/v1/tenant?key={key}")] {
        house.request(None, "GET", &path, None).await.problem(401, "unauthorized");
    }
    let send = async |values: &[String]| {
        let mut request = axum::http::Request::builder().uri("/v1/tenant");
        for value in values {
            request = request.header("authorization", value);
        }
        house.send(request.body(axum::body::Body::empty()).unwrap()).await.status
    };
    assert_eq!(send(&[format!("Bearer {key}")]).await, 200);
    assert_eq!(send(&[format!("bearer  {key} ")]).await, 200);
    assert_eq!(send(&[format!("Basic {key}")]).await, 401);
    assert_eq!(send(std::slice::from_ref(key)).await, 401);
    assert_eq!(send(&[format!("Bearer {key}"), format!("Bearer {key}")]).await, 401);
}
