//! What is secret is shown when it is made, and never again.

use crate::fixture::House;
use crate::operations;
use serde_json::json;

#[tokio::test]
async fn no_answer_shows_a_stored_secret() {
    let house = House::new().await;
    let things = house.things(&house.tenant, &house.key).await;
    let signing = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let bindings = format!("/v1/scripts/{}/bindings", things.script);
    let stored = house
        .request(
            Some(&house.key),
            "PUT",
            &bindings,
            Some(&json!({
                "sources": { "crm": { "url": "https://a.example", "secret": signing, "headers": { "X-Token": "header-5ecret" } } },
                "destinations": { "out": { "url": "https://a.example" } },
                "secrets": { "token": "named-5ecret" },
            })),
        )
        .await;
    let generated = stored.ok()["generated_secrets"]["destination:out"].as_str().unwrap().to_owned();
    assert!(!stored.json.to_string().contains("5ecret") && !stored.json.to_string().contains(signing));
    let webhook = house.post("/v1/webhooks", json!({ "url": "https://a.example", "secret": signing })).await;
    assert_eq!(webhook.ok()["secret"], signing);
    let made = house.post("/v1/webhooks", json!({ "url": "https://a.example" })).await.json["secret"].take();
    let rotate = format!("/v1/webhooks/{}/rotate_secret", things.webhook);
    let rotated = house.request(Some(&house.key), "POST", &rotate, None).await;
    let rotated = rotated.ok()["secret"].as_str().unwrap().to_owned();
    let key = house.post("/v1/keys", json!({ "name": "k", "scopes": ["admin"] })).await.json["secret"].take();
    let hidden = [
        signing.to_owned(),
        "5ecret".to_owned(),
        generated,
        rotated,
        made.as_str().unwrap().to_owned(),
        key.as_str().unwrap().to_owned(),
        house.key.clone(),
    ];
    // The same bindings again: what was stored stays, and is not told.
    let again = json!({
        "sources": { "crm": { "url": "https://a.example", "headers": { "x-token": null } } },
        "destinations": { "out": { "url": "https://a.example" } },
        "secrets": { "token": null },
    });
    let again = house.request(Some(&house.key), "PUT", &bindings, Some(&again)).await;
    assert_eq!(again.ok()["generated_secrets"], json!({}));
    let mut texts = vec![("PUT bindings".to_owned(), again.json.to_string())];
    for operation in operations::all().iter().filter(|o| o.method == "GET") {
        let path = operation.path_to(&things);
        for path in [path.clone(), format!("{path}?limit=100")] {
            texts.push((path.clone(), String::from_utf8_lossy(&house.get(&path).await.bytes).into_owned()));
        }
    }
    texts.push((
        "PATCH".into(),
        house.patch(&format!("/v1/webhooks/{}", things.webhook), json!({})).await.json.to_string(),
    ));
    for (path, text) in texts {
        for secret in &hidden {
            assert!(!text.contains(secret.as_str()), "{path} shows a secret");
        }
    }
}

#[tokio::test]
async fn a_mistake_does_not_repeat_the_secret() {
    let house = House::new().await;
    let things = house.things(&house.tenant, &house.key).await;
    let bindings = format!("/v1/scripts/{}/bindings", things.script);
    for body in [
        json!({ "secrets": "my-5ecret" }),
        json!({ "secrets": { "token": ["my-5ecret"] } }),
        json!({ "sources": { "crm": { "url": "https://a.example", "secret": "my-5ecret" } } }),
        json!({ "sources": { "crm": { "url": "https://a.example", "headers": { "a": "my-5ecret\u{1}" } } } }),
        json!({ "sources": { "crm": { "url": "https://u:my-5ecret@a.example" } } }),
    ] {
        let answer = house.request(Some(&house.key), "PUT", &bindings, Some(&body)).await;
        answer.problem(422, "invalid_input");
        assert!(!answer.json.to_string().contains("5ecret"), "{}", answer.json);
    }
}

#[tokio::test]
async fn a_change_keeps_what_it_does_not_name() {
    let house = House::new().await;
    let things = house.things(&house.tenant, &house.key).await;
    let number = format!("/v1/numbers/{}", things.number);
    let before = house.get(&number).await.json;
    let fallback = json!({ "say": [{ "text": "sorry" }], "transfer_to": "+4930" });
    house.patch(&number, json!({ "fallback": fallback, "recording": "on", "language": "en" })).await.ok();
    let after = house.patch(&number, json!({ "fallback": { "transfer_to": null }, "language": null })).await.json;
    assert_eq!(after["fallback"], json!({ "say": [{ "text": "sorry" }], "transfer_to": null }));
    assert_eq!((&after["recording"], &after["language"]), (&json!("on"), &json!(null)));
    for kept in ["id", "address", "script_id", "enabled", "created_at"] {
        assert_eq!(after[kept], before[kept], "{kept}");
    }
    assert_eq!(house.delete(&number).await.status, 204);
    house.get(&number).await.problem(404, "not_found");
    let script = format!("/v1/scripts/{}", things.script);
    let changed = house.patch(&script, json!({ "name": "renamed" })).await.json;
    assert_eq!((&changed["name"], &changed["published_version"]), (&json!("renamed"), &json!(1)));
    assert_eq!(house.delete(&script).await.status, 204);
    house.get(&script).await.problem(404, "not_found");
    house.get(&format!("{script}/versions/1")).await.problem(404, "not_found");
}
