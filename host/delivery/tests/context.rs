//! The context request and the guard in front of it, against real listeners.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod fixture;

use axum::body::Body;
use axum::http::Response;
use callbox_delivery::{ContextRequest, Egress, EgressPolicy, FetchError, MAX_CONTEXT, Refused, fetch_context};
use callbox_store::bindings::Credentials;
use callbox_store::secrets::{Secret, generate_signing_secret};
use callbox_store::{Clock, SystemClock, TenantId};
use fixture::{Lies, Receiver, answer, hear, local, raw};
use serde_json::{Value, json};
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// What the stores of these tests lie in: none of them has one.
const IN: fixture::Database = fixture::Database::Sqlite;

const LIMIT: Duration = Duration::from_secs(10);

async fn ask(egress: &Egress, url: &str, limit: Duration) -> Result<String, FetchError> {
    let credentials = Credentials {
        signing: vec![generate_signing_secret().unwrap()],
        headers: vec![("authorization".to_owned(), Secret::new("Bearer s3cr3t".to_owned()))],
    };
    ask_with(egress, url, limit, &credentials).await
}

async fn ask_with(
    egress: &Egress,
    url: &str,
    limit: Duration,
    credentials: &Credentials,
) -> Result<String, FetchError> {
    let tenant_id = TenantId("ten_1".to_owned());
    let data = json!({"source": "appointment", "parameters": {"n": "1"}, "call": {"from": "+491701", "headers": {}}});
    let created_at = SystemClock.now();
    let request = ContextRequest {
        url,
        credentials,
        tenant_id: &tenant_id,
        call_id: "call_1",
        created_at,
        traceparent: None,
        data,
    };
    fetch_context(egress, request, limit).await
}

fn body(text: impl Into<Body>) -> Response<Body> {
    Response::new(text.into())
}

#[tokio::test]
async fn the_request_is_signed_and_the_answer_comes_back_as_it_is() {
    let mut receiver = Receiver::start(|_| body("{ \"name\": \"Ann\" }")).await;
    let credentials = Credentials {
        signing: vec![generate_signing_secret().unwrap()],
        headers: vec![("authorization".to_owned(), Secret::new("Bearer s3cr3t".to_owned()))],
    };
    let got = ask_with(&local(), &receiver.url(), LIMIT, &credentials).await;
    assert_eq!(got.unwrap(), "{ \"name\": \"Ann\" }");
    let request = receiver.next().await;
    let verifier = standardwebhooks::Webhook::new(credentials.signing[0].expose()).unwrap();
    verifier.verify(&request.body, &request.headers).unwrap();
    let envelope: Value = serde_json::from_slice(&request.body).unwrap();
    assert_eq!(envelope["type"], "context.request");
    assert_eq!(envelope["api_version"], "v1");
    assert_eq!(envelope["tenant_id"], "ten_1");
    assert_eq!(envelope["call_id"], "call_1");
    assert_eq!(envelope["data"]["source"], "appointment");
    assert_eq!(envelope["id"], request.header("webhook-id"));
    assert_eq!(request.header("authorization"), "Bearer s3cr3t");
    assert_eq!(request.header("content-type"), "application/json");
    assert_eq!(request.uri.query(), Some("token=s3cr3t"));
}

#[tokio::test]
async fn answers_that_are_no_context_are_typed() {
    let nowhere = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = nowhere.local_addr().unwrap();
    drop(nowhere);
    let egress = local();
    let receiver = Receiver::start(|n| match n {
        0 => answer(500),
        1 => Response::builder().status(302).header("location", "/elsewhere").body(Body::empty()).unwrap(),
        2 => body("[1]"),
        3 => body("hello"),
        4 => body(""),
        5 => body(format!("{{\"a\":\"{}\"}}", "x".repeat(MAX_CONTEXT - 8))),
        _ => body(format!("{{\"a\":\"{}\"}}", "x".repeat(MAX_CONTEXT))),
    })
    .await;
    assert_eq!(ask(&egress, &receiver.url(), LIMIT).await, Err(FetchError::Status(500)));
    assert_eq!(ask(&egress, &receiver.url(), LIMIT).await, Err(FetchError::Status(302)));
    assert_eq!(ask(&egress, &receiver.url(), LIMIT).await, Err(FetchError::NotAnObject));
    assert!(matches!(ask(&egress, &receiver.url(), LIMIT).await, Err(FetchError::NotJson(_))));
    assert!(matches!(ask(&egress, &receiver.url(), LIMIT).await, Err(FetchError::NotJson(_))));
    assert_eq!(ask(&egress, &receiver.url(), LIMIT).await.unwrap().len(), MAX_CONTEXT);
    assert_eq!(ask(&egress, &receiver.url(), LIMIT).await, Err(FetchError::TooLarge(MAX_CONTEXT)));
    for url in [format!("http://{closed}/?token=s3cr3t"), format!("https://{}/?token=s3cr3t", receiver.address)] {
        let error = ask(&egress, &url, LIMIT).await.unwrap_err();
        assert!(matches!(error, FetchError::Unreachable(_)), "{error:?}");
        assert!(!error.to_string().contains("s3cr3t"), "{error}");
    }
    let nobody = Credentials { signing: Vec::new(), headers: Vec::new() };
    assert!(matches!(ask_with(&egress, &receiver.url(), LIMIT, &nobody).await, Err(FetchError::Sign(_))));
}

#[tokio::test]
async fn a_source_that_hangs_or_dribbles_is_cut_off() {
    let hang = raw("127.0.0.1:0", |mut stream| async move {
        let mut all = Vec::new();
        let _ = stream.read_to_end(&mut all).await;
    });
    let dribble = raw("127.0.0.1:0", |mut stream| async move {
        hear(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{").await;
        while stream.write_all(b" ").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let egress = local();
    for (address, _) in [hang.await, dribble.await] {
        let answer = ask(&egress, &format!("http://{address}/"), Duration::from_millis(200)).await;
        assert_eq!(answer, Err(FetchError::TimedOut));
    }
    let (address, _) = raw("127.0.0.1:0", |mut stream| async move {
        hear(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{\"a\":").await;
    })
    .await;
    assert!(matches!(ask(&egress, &format!("http://{address}/"), LIMIT).await, Err(FetchError::Unreachable(_))));
}

#[tokio::test]
async fn nothing_inside_is_ever_connected_to() {
    let (v4, at_v4) = raw("127.0.0.1:0", |_| async {}).await;
    let v6 = raw("[::1]:0", |_| async {}).await;
    let closed = EgressPolicy::default();
    let literal = Egress::new(closed.clone()).unwrap();
    let spellings = ["127.0.0.1", "127.1", "0x7f000001", "2130706433", "0177.1", "0.0.0.0", "[::ffff:127.0.0.1]"];
    let names = ["localhost", "localhost.", "LOCALHOST", "localhost.localdomain"];
    for host in spellings.iter().chain(&names) {
        let refused = ask(&literal, &format!("http://{host}:{}/", v4.port()), LIMIT).await;
        let blocked = matches!(refused, Err(FetchError::Refused(Refused::Address(_))));
        // A name the machine does not know leads nowhere either.
        assert!(blocked || matches!(refused, Err(FetchError::Unreachable(_))), "{host}: {refused:?}");
    }
    let refused = ask(&literal, &format!("http://[::1]:{}/", v6.0.port()), LIMIT).await;
    assert!(matches!(refused, Err(FetchError::Refused(Refused::Address(_)))));

    // Names that lead inside, alone or beside an address outside.
    let inside: [&[&str]; 14] = [
        &["127.0.0.1"],
        &["8.8.8.8", "127.0.0.1"],
        &["0.0.0.0"],
        &["10.0.0.1"],
        &["172.16.0.1"],
        &["192.168.0.1"],
        &["::1"],
        &["fc00::1"],
        &["169.254.169.254"],
        &["100.64.0.1"],
        &["::ffff:127.0.0.1"],
        &["64:ff9b::7f00:1"],
        &["2002:7f00:1::1"],
        &["fe80::1"],
    ];
    for addresses in inside {
        let egress = Egress::with_resolver(closed.clone(), Lies::new(&[addresses])).unwrap();
        let refused = ask(&egress, &format!("http://crm.example:{}/", v4.port()), LIMIT).await;
        assert!(matches!(refused, Err(FetchError::Refused(Refused::Address(_)))), "{addresses:?}: {refused:?}");
    }
    let egress = Egress::with_resolver(closed, Lies::new(&[&[]])).unwrap();
    assert!(matches!(ask(&egress, "http://gone.example/", LIMIT).await, Err(FetchError::Unreachable(_))));
    assert_eq!((at_v4.load(Ordering::SeqCst), v6.1.load(Ordering::SeqCst)), (0, 0));
}

// 127.0.0.2 plays the address outside, 127.0.0.1 the one inside.
#[tokio::test]
async fn a_name_that_changes_its_mind_and_a_redirect_lead_nowhere() {
    let outside = Receiver::start_at("127.0.0.2:0", |n| {
        let head = Response::builder().header("connection", "close");
        match n {
            0 => head.body(Body::from("{}")).unwrap(),
            _ => head.status(307).header("location", "http://127.0.0.1/").body(Body::empty()).unwrap(),
        }
    })
    .await;
    let port = outside.address.port();
    let (_, inside) = raw(&format!("127.0.0.1:{port}"), |_| async {}).await;
    let policy = EgressPolicy::new(false, &["127.0.0.2"]).unwrap();
    let resolver = Lies::new(&[&["127.0.0.2"], &["127.0.0.1"], &["127.0.0.2"], &["127.0.0.1"]]);
    let egress = Egress::with_resolver(policy, resolver.clone()).unwrap();
    let url = format!("http://crm.example:{port}/");
    assert_eq!(ask(&egress, &url, LIMIT).await, Ok("{}".to_owned()));
    assert_eq!(resolver.1.load(Ordering::SeqCst), 1, "one look-up for one connection");
    let refused = ask(&egress, &url, LIMIT).await;
    assert!(matches!(refused, Err(FetchError::Refused(Refused::Address(_)))), "{refused:?}");
    assert_eq!(ask(&egress, &url, LIMIT).await, Err(FetchError::Status(307)));
    assert_eq!(inside.load(Ordering::SeqCst), 0);
}
