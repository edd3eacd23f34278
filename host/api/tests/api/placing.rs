//! Calls placed through the API, to a socket of ours.

use crate::fixture::House;
use axum::body::Body;
use axum::http::Request;
use futures_util::future::join_all;
use serde_json::json;
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::time::timeout;

#[tokio::test]
async fn a_call_is_placed_watched_and_written_down() {
    let house = House::new().await;
    let things = house.things(&house.tenant, &house.key).await;
    let phone = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let to = format!("sip:ada@{}", phone.local_addr().unwrap());
    let body = json!({
        "to": to, "script_id": things.script, "parameters": { "name": "Ada" }, "external_id": "e-1", "relation_id": "r-9",
    });
    let placed = house.post("/v1/calls", body).await;
    assert_eq!(placed.status, 201, "{}", placed.json);
    let id = placed.json["id"].as_str().unwrap();
    let path = format!("/v1/calls/{id}");
    assert_eq!(placed.headers["location"], path.as_str());
    assert_eq!(placed.json["external_id"], "e-1");
    let mut datagram = [0; 4_096];
    let length = timeout(Duration::from_secs(60), phone.recv(&mut datagram)).await.unwrap().unwrap();
    assert!(datagram[..length].starts_with(b"INVITE sip:ada@"), "{}", String::from_utf8_lossy(&datagram[..length]));
    // Whatever state it is in, every part of it answers, and the record only grows.
    for part in ["", "/transcript", "/timeline", "/events", "/recordings"] {
        house.get(&format!("{path}{part}")).await.ok();
    }
    assert_eq!(house.get(&path).await.ok()["record"]["relation_id"], "r-9");
    let (_, stranger) = house.stranger().await;
    house.request(Some(&stranger), "GET", &path, None).await.problem(404, "not_found");
    house.request(Some(&stranger), "POST", &format!("{path}/hangup"), None).await.problem(404, "not_found");
    let over = timeout(Duration::from_secs(100), async {
        loop {
            house.request(Some(&house.key), "POST", &format!("{path}/hangup"), None).await;
            let call = house.get(&path).await;
            if call.ok()["state"] == "completed" {
                return call.json;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let call = over.await.expect("it ends");
    assert_eq!(call["start"]["parameters"]["name"], "Ada");
    assert_eq!(call["record"]["direction"], "outbound");
    assert!(call["record"]["end_reason"].is_string(), "{call}");
    house.request(Some(&house.key), "POST", &format!("{path}/hangup"), None).await.problem(409, "call_not_active");
}

#[tokio::test]
async fn the_same_call_asked_for_many_times_at_once_is_one_call() {
    let house = House::new().await;
    let things = house.things(&house.tenant, &house.key).await;
    let phone = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let to = format!("sip:ada@{}", phone.local_addr().unwrap());
    let body = json!({ "to": to, "script_id": things.script }).to_string();
    let place = || {
        let request = Request::post("/v1/calls").header("authorization", format!("Bearer {}", house.key));
        let request = request.header("content-type", "application/json").header("idempotency-key", "order 42");
        house.send(request.body(Body::from(body.clone())).unwrap())
    };
    let answers = join_all((0..100).map(|_| place())).await;
    let placed: Vec<&str> = answers.iter().filter(|a| a.status == 201).filter_map(|a| a.json["id"].as_str()).collect();
    assert!(!placed.is_empty() && placed.iter().all(|id| *id == placed[0]));
    assert!(answers.iter().all(|a| a.status == 201 || a.status == 409));
    assert_eq!(house.get("/v1/calls?direction=outbound").await.ok()["data"].as_array().unwrap().len(), 1);
}
