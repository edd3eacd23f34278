//! Trunks and SIP accounts through the API: what is asked for is what is kept, and no password comes back.

use crate::fixture::House;
use serde_json::{Value, json};

fn carrier() -> Value {
    json!({
        "name": "carrier", "addresses": [{ "host": "192.0.2.1" }],
        "credentials": { "username": "u", "password": "my-5ecret" }, "health": { "options_interval_s": 0 },
    })
}

#[tokio::test]
async fn a_trunk_is_made_read_changed_and_taken_away() {
    let house = House::new().await;
    let made = house.post("/v1/trunks", carrier()).await;
    assert_eq!(made.status, 201, "{}", made.json);
    let id = made.json["id"].as_str().unwrap();
    let path = format!("/v1/trunks/{id}");
    assert_eq!(made.headers["location"], path.as_str());
    assert_eq!(made.json["failover_statuses"], json!([408, 500, 502, 503, 504]));
    assert_eq!(made.json["credentials"], json!({ "username": "u", "realm": null }));
    // A change keeps what it does not name, the password too.
    let limits = json!({ "limits": { "channels": 3 }, "credentials": { "realm": "carrier" } });
    let changed = house.patch(&path, limits).await;
    assert_eq!(changed.ok()["limits"]["channels"], 3);
    assert_eq!(changed.json["credentials"], json!({ "username": "u", "realm": "carrier" }));
    assert_eq!(changed.json["addresses"], made.json["addresses"]);
    let password = house.store.trunks_in_service().await.unwrap().remove(0).password;
    assert_eq!(password.unwrap().expose(), "my-5ecret");
    // What is taken away needs it again.
    house.patch(&path, json!({ "credentials": null })).await.ok();
    let problem = house.patch(&path, json!({ "credentials": { "username": "u" } })).await;
    assert_eq!(problem.problem(422, "invalid_input")["errors"][0]["path"], "credentials.password");
    assert_eq!(house.get("/v1/trunks").await.ok()["data"].as_array().unwrap().len(), 1);
    assert_eq!(house.delete(&path).await.status, 204);
    house.get(&path).await.problem(404, "not_found");
}

#[tokio::test]
async fn a_mistake_is_named_by_its_place_and_repeats_no_password() {
    let house = House::new().await;
    for (change, path) in [
        (json!({ "addresses": [{ "host": "a b" }] }), "addresses[0].host"),
        (json!({ "addresses": [{ "host": "a", "transport": "sctp" }] }), "addresses[0].transport"),
        (json!({ "numbers": { "inbound": [{ "match": "(", "replace": "" }] } }), "numbers.inbound[0].match"),
        (json!({ "headers": { "outbound": { "Via": "x" } } }), "headers.outbound.Via"),
        (json!({ "credentials": { "username": "u", "password": "my-5ecret\u{7}" } }), "credentials.password"),
        (json!({ "credentials": { "username": "u", "password": ["my-5ecret"] } }), "credentials.password"),
        (json!({ "registration": { "aor": "nobody" } }), "registration.aor"),
        (json!({ "failover_statuses": [200] }), "failover_statuses[0]"),
        (json!({ "colour": "red" }), "colour"),
    ] {
        let mut body = carrier();
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let answer = house.post("/v1/trunks", body).await;
        assert_eq!(answer.problem(422, "invalid_input")["errors"][0]["path"], path, "{}", answer.json);
        assert!(!answer.json.to_string().contains("5ecret"), "{}", answer.json);
    }
    house.post("/v1/trunks", carrier()).await.ok();
    house.post("/v1/trunks", carrier()).await.problem(409, "name_taken");
}

#[tokio::test]
async fn a_telephone_gets_an_account() {
    let house = House::new().await;
    let body = json!({ "username": "ada", "password": "my-5ecret", "display_name": "Ada" });
    let made = house.post("/v1/sip-accounts", body.clone()).await;
    assert_eq!((made.status.as_u16(), made.json["realm"].as_str()), (201, Some("callbox")), "{}", made.json);
    assert!(!made.json.to_string().contains("5ecret"));
    let path = format!("/v1/sip-accounts/{}", made.json["id"].as_str().unwrap());
    house.post("/v1/sip-accounts", body).await.problem(409, "username_taken");
    assert_eq!(house.patch(&path, json!({ "display_name": null })).await.ok()["display_name"], Value::Null);
    assert!(house.store.digest_account("ada", "callbox").await.unwrap().is_some());
    house.patch(&path, json!({ "username": "eve" })).await.problem(422, "invalid_input");
    house.patch(&path, json!({ "username": "eve", "password": "another one" })).await.ok();
    assert!(house.store.digest_account("ada", "callbox").await.unwrap().is_none());
    house.patch(&path, json!({ "enabled": false })).await.ok();
    assert!(house.store.digest_account("eve", "callbox").await.unwrap().is_none());
    for (field, wrong) in [("username", json!("a@b")), ("password", json!("short")), ("caller_id", json!("a b"))] {
        let mut body = json!({ "username": "bob", "password": "12345678" });
        body[field] = wrong;
        let answer = house.post("/v1/sip-accounts", body).await;
        assert_eq!(answer.problem(422, "invalid_input")["errors"][0]["path"], field);
    }
    assert_eq!(house.delete(&path).await.status, 204);
    house.get(&path).await.problem(404, "not_found");
}
