//! `Idempotency-Key`: the same POST does its work once.

use crate::fixture::{Answer, House};
use axum::body::Body;
use axum::http::Request;
use futures_util::future::join_all;
use serde_json::{Value, json};

async fn post(house: &House, path: &str, key: &str, body: &Value) -> Answer {
    let request = Request::post(path)
        .header("authorization", format!("Bearer {}", house.key))
        .header("content-type", "application/json")
        .header("idempotency-key", key);
    house.send(request.body(Body::from(body.to_string())).unwrap()).await
}

async fn scripts(house: &House) -> usize {
    house.get("/v1/scripts?limit=100").await.ok()["data"].as_array().unwrap().len()
}

#[tokio::test]
async fn a_hundred_at_once_make_one() {
    let house = House::new().await;
    let body = json!({ "name": "one" });
    let answers = join_all((0..100).map(|_| post(&house, "/v1/scripts", "k", &body))).await;
    let mut made = Vec::new();
    for answer in &answers {
        if answer.status == 201 {
            made.push(answer.json["id"].as_str().unwrap());
        } else {
            answer.problem(409, "idempotency_key_in_use");
            assert!(answer.headers.contains_key("retry-after"));
        }
    }
    assert!(!made.is_empty() && made.iter().all(|id| *id == made[0]), "{made:?}");
    let again = post(&house, "/v1/scripts", "k", &body).await;
    assert_eq!((again.status.as_u16(), again.json["id"].as_str()), (201, Some(made[0])));
    assert_eq!(again.headers["idempotency-replayed"], "true");
    assert_eq!(again.headers["content-type"], "application/json");
    assert_eq!(scripts(&house).await, 1);
}

#[tokio::test]
async fn a_key_is_for_one_request_of_one_tenant() {
    let house = House::new().await;
    post(&house, "/v1/scripts", "k", &json!({ "name": "one" })).await.ok();
    post(&house, "/v1/scripts", "k", &json!({ "name": "two" })).await.problem(422, "idempotency_key_reused");
    post(&house, "/v1/webhooks", "k", &json!({ "name": "one" })).await.problem(422, "idempotency_key_reused");
    assert_eq!(scripts(&house).await, 1);
    let (_, other) = house.stranger().await;
    let request = Request::post("/v1/scripts").header("authorization", format!("Bearer {other}"));
    let request = request.header("content-type", "application/json").header("idempotency-key", "k");
    let made = house.send(request.body(Body::from(json!({ "name": "one" }).to_string())).unwrap()).await;
    assert_eq!(made.status, 201);
    assert!(!made.headers.contains_key("idempotency-replayed"));
}

#[tokio::test]
async fn what_failed_may_be_tried_again_with_the_same_key() {
    let house = House::new().await;
    post(&house, "/v1/scripts", "k", &json!({ "name": "not right" })).await.problem(422, "invalid_input");
    assert_eq!(post(&house, "/v1/scripts", "k", &json!({ "name": "right" })).await.status, 201);
}

#[tokio::test]
async fn a_secret_is_shown_the_first_time_only() {
    let house = House::new().await;
    let things = house.things(&house.tenant, &house.key).await;
    for (path, body) in [
        ("/v1/keys".to_owned(), json!({ "name": "k", "scopes": ["calls:read"] })),
        ("/v1/webhooks".to_owned(), json!({ "url": "https://a.example" })),
        (format!("/v1/webhooks/{}/rotate_secret", things.webhook), json!({})),
    ] {
        let first = post(&house, &path, &path, &body).await;
        let secret = first.ok()["secret"].as_str().unwrap().to_owned();
        let again = post(&house, &path, &path, &body).await;
        assert_eq!(again.status, first.status);
        assert_eq!(again.json["id"], first.json["id"]);
        assert!(!String::from_utf8_lossy(&again.bytes).contains(&secret), "{path}");
    }
}

#[tokio::test]
async fn keys_that_are_no_keys_are_refused() {
    let house = House::new().await;
    for bad in ["", &"k".repeat(256), "k\u{e9}", "a\tb"] {
        let answer = post(&house, "/v1/scripts", bad, &json!({ "name": "one" })).await;
        answer.problem(400, "invalid_idempotency_key");
    }
    assert_eq!(scripts(&house).await, 0);
}

#[tokio::test]
async fn a_client_that_goes_away_finds_its_answer_later() {
    let house = House::new().await;
    let body = json!({ "name": "one" });
    {
        let gone = post(&house, "/v1/scripts", "k", &body);
        tokio::pin!(gone);
        // Begun, then dropped, at whatever point it is.
        for _ in 0..20 {
            tokio::select! {
                biased;
                _ = &mut gone => break,
                () = tokio::task::yield_now() => {}
            }
        }
    }
    loop {
        let answer = post(&house, "/v1/scripts", "k", &body).await;
        if answer.status == 201 {
            break;
        }
        answer.problem(409, "idempotency_key_in_use");
        tokio::task::yield_now().await;
    }
    assert_eq!(scripts(&house).await, 1);
}
