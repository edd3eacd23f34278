//! Trunks and SIP accounts through the API: what is asked for is what is kept, and no password comes back.

use crate::fixture::House;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::time::timeout;

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
    // Its health is not asked for: it is in service, and nothing is known of it.
    // (What serves it follows a change a moment later.)
    let as_changed = |status: &Value| status["in_service"] == true && status["channels"]["limit"] == 3;
    let status = eventually(&house, &format!("{path}/status"), as_changed).await;
    assert_eq!(status["state"], "unknown", "{status}");
    assert_eq!(status["addresses"][0]["host"], "192.0.2.1");
    // What is taken away needs it again.
    house.patch(&path, json!({ "credentials": null })).await.ok();
    let problem = house.patch(&path, json!({ "credentials": { "username": "u" } })).await;
    assert_eq!(problem.problem(422, "invalid_input")["errors"][0]["path"], "credentials.password");
    assert_eq!(house.get("/v1/trunks").await.ok()["data"].as_array().unwrap().len(), 1);
    assert_eq!(house.delete(&path).await.status, 204);
    house.get(&path).await.problem(404, "not_found");
}

/// What a path says, once it is as it should be.
async fn eventually(house: &House, path: &str, right: impl Fn(&Value) -> bool) -> Value {
    let look = async {
        loop {
            let answer = house.get(path).await;
            if right(answer.ok()) {
                return answer.json;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(60), look).await.expect("in time")
}

#[tokio::test]
async fn a_number_is_called_by_the_tenants_trunk_and_no_other() {
    let house = House::new().await;
    let things = house.things(&house.tenant, &house.key).await;
    let carrier = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let trunk = json!({
        "name": "carrier", "prefixes": ["+49"], "health": { "options_interval_s": 0 },
        "addresses": [{ "host": "127.0.0.1", "port": carrier.local_addr().unwrap().port(), "transport": "udp" }],
        "numbers": { "national": { "country_code": "49" }, "outbound_as": "national" },
    });
    let trunk = house.post("/v1/trunks", trunk).await.ok()["id"].as_str().unwrap().to_owned();
    let status = format!("/v1/trunks/{trunk}/status");
    eventually(&house, &status, |status| status["in_service"] == true).await;
    let place = async |more: Value| {
        let mut body = json!({ "to": "+49 30 12345", "script_id": things.script });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        house.post("/v1/calls", body).await
    };
    let placed = place(json!({})).await;
    assert_eq!(placed.status, 201, "{}", placed.json);
    let mut datagram = [0; 4_096];
    let length = timeout(Duration::from_secs(60), carrier.recv(&mut datagram)).await.unwrap().unwrap();
    let invite = String::from_utf8_lossy(&datagram[..length]).into_owned();
    assert!(invite.starts_with("INVITE sip:03012345@127.0.0.1:"), "{invite}");
    let start = house.get(&format!("/v1/calls/{}", placed.json["id"].as_str().unwrap())).await.json["start"].take();
    assert_eq!(start["trunk_id"], trunk.as_str(), "{start}");
    assert!(start["trunk_address"].as_str().unwrap().starts_with("udp 127.0.0.1:"), "{start}");
    assert_eq!(house.get(&status).await.json["channels"]["outbound_total"], 1);
    let unknown = place(json!({ "trunk_id": "trk_0" })).await;
    assert_eq!(unknown.problem(422, "invalid_input")["errors"][0]["path"], "trunk_id");
    let no_number = place(json!({ "to": "sip:a@127.0.0.1", "trunk_id": trunk })).await;
    assert_eq!(no_number.problem(422, "invalid_input")["errors"][0]["path"], "trunk_id");
    let (_, stranger) = house.stranger().await;
    house.request(Some(&stranger), "GET", &status, None).await.problem(404, "not_found");
}

#[tokio::test]
async fn an_account_is_called_by_its_name_where_a_telephone_is_registered() {
    let house = House::new().await;
    let things = house.things(&house.tenant, &house.key).await;
    house.post("/v1/sip-accounts", json!({ "username": "ada", "password": "12345678" })).await.ok();
    let place = async |to: &str| house.post("/v1/calls", json!({ "to": to, "script_id": things.script })).await;
    for to in ["ada", "sip:ada@callbox"] {
        place(to).await.problem(409, "account_not_registered");
    }
    for to in ["eve", "sip:eve@callbox"] {
        place(to).await.problem(403, "target_not_allowed");
    }
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
