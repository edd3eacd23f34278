//! The outbox worker against receivers with every fault there is.

use crate::fixture::{self, House, Lies, Receiver, answer, call, config, end, eventually, hear, local, raw, who};
use axum::body::Body;
use axum::http::Response;
use callbox_delivery::ladder::LADDER_MS;
use callbox_delivery::{Egress, EgressPolicy, OutboxWorker};
use callbox_store::bindings;
use callbox_store::deliveries::DeliveryState;
use callbox_store::outbox::NewPush;
use callbox_store::scripts::NewScript;
use futures_util::StreamExt;
use standardwebhooks::Webhook;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test]
async fn a_result_arrives_signed_and_once() {
    let house = House::new().await;
    let mut receiver = Receiver::start(|_| answer(204)).await;
    let hook = house.webhook(&receiver.url()).await;
    let worker = house.worker();
    let call = house.finish_call().await;
    let got = receiver.next().await;
    Webhook::new(hook.secret.expose()).unwrap().verify(&got.body, &got.headers).unwrap();
    let detail = house.after_attempts(&hook.webhook.id, 1).await;
    assert_eq!(detail.delivery.state, DeliveryState::Delivered);
    assert_eq!(detail.delivery.call_id, Some(call));
    assert_eq!(detail.history[0].status, Some(204));
    assert_eq!(detail.body.get().as_bytes(), got.body);
    assert_eq!(detail.delivery.event_id, got.header("webhook-id"));
    assert_eq!(worker.stats().delivered, 1);
    worker.stop().await;
    assert!(receiver.requests.try_recv().is_err());
}

#[tokio::test]
async fn a_dead_receiver_sees_the_whole_ladder_and_is_served_when_it_is_back() {
    let house = House::new().await;
    let mut receiver = Receiver::start(|n| answer(if n < 9 { 500 } else { 200 })).await;
    let hook = house.webhook(&receiver.url()).await.webhook.id;
    let worker = house.worker();
    house.finish_call().await;
    let mut seen = Vec::new();
    for step in 0..9_u32 {
        seen.push(receiver.next().await);
        let delivery = house.after_attempts(&hook, step + 1).await.delivery;
        let Some(pause) = LADDER_MS.get(step as usize) else {
            assert_eq!((delivery.state, delivery.next_attempt_at), (DeliveryState::Failed, None));
            break;
        };
        assert_eq!(delivery.state, DeliveryState::Pending);
        assert_eq!(delivery.next_attempt_at, Some(house.store.now().plus(*pause)));
        assert_eq!(delivery.last_error.as_deref(), Some("status 500"));
        house.clock.advance(*pause);
        worker.wake();
    }
    let id = house.deliveries(&hook).await[0].id.clone();
    house.store.redeliver(&house.tenant(), &id).await.unwrap();
    seen.push(receiver.next().await);
    assert_eq!(house.after_attempts(&hook, 10).await.delivery.state, DeliveryState::Delivered);
    for later in &seen[1..] {
        assert_eq!(later.body, seen[0].body);
        assert_eq!(later.header("webhook-id"), seen[0].header("webhook-id"));
        assert_ne!(later.header("webhook-signature"), seen[0].header("webhook-signature"));
    }
    worker.stop().await;
}

/// Waits until everything that is due was tried; what of it is not delivered yet.
async fn tried(house: &House, hook: &str) -> usize {
    eventually(async || {
        let now = house.store.now();
        let all = house.deliveries(hook).await;
        let mut waiting = all.iter().filter(|delivery| delivery.state != DeliveryState::Delivered);
        let count = waiting.clone().count();
        waiting.all(|delivery| delivery.next_attempt_at.is_some_and(|at| at > now)).then_some(count)
    })
    .await
}

#[tokio::test]
async fn a_receiver_that_is_away_for_an_hour_misses_nothing() {
    const MINUTE: i64 = 60_000;
    let house = House::new().await;
    let away = Arc::new(AtomicBool::new(true));
    let is_away = away.clone();
    let mut receiver = Receiver::start(move |_| answer(if is_away.load(Ordering::SeqCst) { 503 } else { 200 })).await;
    let hook = house.webhook(&receiver.url()).await.webhook.id;
    let worker = house.worker();
    let minute = async || {
        house.clock.advance(MINUTE);
        worker.wake();
        tried(&house, &hook).await
    };
    let mut calls = BTreeSet::new();
    for n in 0..60 {
        if n % 5 == 0 {
            calls.insert(house.finish_call().await);
        }
        minute().await;
    }
    assert_eq!(tried(&house, &hook).await, calls.len());
    while receiver.requests.try_recv().is_ok() {}
    away.store(false, Ordering::SeqCst);
    let mut minutes = 0;
    while minute().await > 0 {
        minutes += 1;
        // Its oldest results were put off for two hours at the last.
        assert!(minutes < 121, "{minutes} minutes");
    }
    // Each once, from now on without a failure.
    let mut came = Vec::new();
    while let Ok(got) = receiver.requests.try_recv() {
        let body: serde_json::Value = serde_json::from_slice(&got.body).unwrap();
        came.push(body["call_id"].as_str().unwrap().to_owned());
    }
    assert_eq!(came.len(), calls.len());
    assert_eq!(came.into_iter().collect::<BTreeSet<_>>(), calls);
    worker.stop().await;
}

#[tokio::test]
async fn a_receiver_that_asks_for_time_gets_it() {
    let house = House::new().await;
    let mut receiver = Receiver::start(|n| {
        let (status, wait) = [(429, "3600"), (503, "7"), (500, "3600")][n.min(2)];
        Response::builder().status(status).header("retry-after", wait).body(Body::empty()).unwrap()
    })
    .await;
    let hook = house.webhook(&receiver.url()).await.webhook.id;
    let worker = house.worker();
    house.finish_call().await;
    // An hour as asked; 30 s because the ladder says more than 7; 2 min because a 500 cannot ask.
    for (attempts, wait) in [(1, 3_600_000), (2, 30_000), (3, 120_000)] {
        receiver.next().await;
        let delivery = house.after_attempts(&hook, attempts).await.delivery;
        assert_eq!(delivery.next_attempt_at, Some(house.store.now().plus(wait)));
        house.clock.advance(wait);
        worker.wake();
    }
    worker.stop().await;
}

#[tokio::test]
async fn redirects_are_failures_and_gone_is_the_end() {
    let house = House::new().await;
    let elsewhere = Receiver::start(|_| answer(200)).await;
    let location = elsewhere.url();
    let mut moved = Receiver::start(move |_| {
        Response::builder().status(301).header("location", &location).body(Body::empty()).unwrap()
    })
    .await;
    let mut gone = Receiver::start(|_| answer(410)).await;
    let moved_id = house.webhook(&moved.url()).await.webhook.id;
    let gone_id = house.webhook(&gone.url()).await.webhook.id;
    let worker = house.worker();
    house.finish_call().await;
    moved.next().await;
    gone.next().await;
    let delivery = house.after_attempts(&moved_id, 1).await.delivery;
    assert_eq!(delivery.state, DeliveryState::Pending);
    assert_eq!(delivery.last_error.as_deref(), Some("status 301: redirects are not followed"));
    assert_eq!(house.after_attempts(&gone_id, 1).await.delivery.state, DeliveryState::Dead);
    let hook = house.store.webhook(&house.tenant(), &gone_id).await.unwrap();
    assert_eq!((hook.enabled, hook.disabled_reason.as_deref()), (false, Some("gone")));
    worker.stop().await;
    let mut elsewhere = elsewhere;
    assert!(elsewhere.requests.try_recv().is_err());
}

#[tokio::test]
async fn broken_receivers_are_named_and_cost_little() {
    let house = House::new().await;
    let hang = raw("127.0.0.1:0", |mut stream| async move {
        let mut all = Vec::new();
        let _ = stream.read_to_end(&mut all).await;
    });
    let loris = raw("127.0.0.1:0", |mut stream| async move {
        hear(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n").await;
        while stream.write_all(b"x: y\r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    });
    let slams = raw("127.0.0.1:0", |mut stream| async move { hear(&mut stream).await });
    let babbles = raw("127.0.0.1:0", |mut stream| async move {
        hear(&mut stream).await;
        let _ = stream.write_all(b"SSH-2.0-hello\r\n\r\n").await;
        let mut all = Vec::new();
        let _ = stream.read_to_end(&mut all).await;
    });
    let (hang, loris, slams, babbles) = (hang.await.0, loris.await.0, slams.await.0, babbles.await.0);
    let cases = [
        (format!("http://{hang}/"), "timeout: "),
        (format!("http://{loris}/"), "timeout: "),
        (format!("http://{slams}/"), "broken: "),
        (format!("http://{babbles}/"), "broken: "),
        (format!("https://{babbles}/"), "connect: "),
        ("http://169.254.169.254/".to_owned(), "blocked_address: "),
    ];
    let mut hooks = Vec::new();
    for (url, error) in cases {
        hooks.push((house.webhook(&url).await.webhook.id, error));
    }
    let worker = house.worker_with(|config| config.timeout = Duration::from_millis(400));
    house.finish_call().await;
    for (hook, error) in hooks {
        let delivery = house.after_attempts(&hook, 1).await.delivery;
        let got = delivery.last_error.unwrap();
        assert!(got.starts_with(error), "{got}");
        assert_eq!((delivery.state, delivery.last_status), (DeliveryState::Pending, None));
    }
    worker.stop().await;

    let egress = Egress::with_resolver(EgressPolicy::default(), Lies::new(&[&[]])).unwrap();
    let hook = house.webhook("https://gone.example/").await.webhook.id;
    let worker = OutboxWorker::start_with(house.store.clone(), egress, config());
    house.finish_call().await;
    assert!(house.after_attempts(&hook, 1).await.delivery.last_error.unwrap().starts_with("connect: "));
    worker.stop().await;
}

#[tokio::test]
async fn the_status_decides_whatever_becomes_of_the_body() {
    let house = House::new().await;
    let cut = raw("127.0.0.1:0", |mut stream| async move {
        hear(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\npart").await;
    });
    let sent = Arc::new(AtomicUsize::new(0));
    let counted = sent.clone();
    let huge = Receiver::start(move |_| {
        let counted = counted.clone();
        let chunks = futures_util::stream::repeat(()).take(1_600).map(move |()| {
            counted.fetch_add(65_536, Ordering::SeqCst);
            Ok::<_, std::io::Error>(bytes::Bytes::from(vec![b'x'; 65_536]))
        });
        Response::new(Body::from_stream(chunks))
    })
    .await;
    let cut = house.webhook(&format!("http://{}/", cut.await.0)).await.webhook.id;
    let huge_id = house.webhook(&huge.url()).await.webhook.id;
    let worker = house.worker();
    house.finish_call().await;
    for (hook, length) in [(cut, 4), (huge_id, 4_096)] {
        let detail = house.after_attempts(&hook, 1).await;
        assert_eq!(detail.delivery.state, DeliveryState::Delivered);
        assert_eq!(detail.history[0].response.as_ref().unwrap().len(), length);
    }
    worker.stop().await;
    // What fits into the sockets on the way, not the hundred megabytes.
    assert!(sent.load(Ordering::SeqCst) < 32 * 1_048_576, "{}", sent.load(Ordering::SeqCst));
}

#[tokio::test]
async fn a_receiver_that_hangs_delays_nobody_else() {
    let house = House::new().await;
    let (hanging, connections) = raw("127.0.0.1:0", |mut stream| async move {
        let mut all = Vec::new();
        let _ = stream.read_to_end(&mut all).await;
    })
    .await;
    let mut quick = Receiver::start(|_| answer(200)).await;
    let slow_id = house.webhook(&format!("http://{hanging}/")).await.webhook.id;
    house.webhook(&quick.url()).await;
    // More results than there are requests under way at once: the hanging one takes its share and no more.
    let worker = house.worker_with(|config| {
        config.in_flight = 12;
        config.timeout = Duration::from_secs(600);
    });
    for _ in 0..60 {
        house.finish_call().await;
    }
    for _ in 0..60 {
        quick.next().await;
    }
    assert!(connections.load(Ordering::SeqCst) <= 8);
    let waiting = house.deliveries(&slow_id).await;
    assert!(waiting.iter().all(|d| d.attempts == 0 && d.state != DeliveryState::Delivered));
    drop(worker);
}

#[tokio::test]
async fn both_secrets_sign_during_a_rotation() {
    let house = House::new().await;
    let mut receiver = Receiver::start(|_| answer(200)).await;
    let hook = house.webhook(&receiver.url()).await;
    let fresh = house.store.rotate_webhook_secret(&house.tenant(), &hook.webhook.id, 60_000, &who()).await.unwrap();
    let worker = house.worker();
    house.finish_call().await;
    let got = receiver.next().await;
    assert_eq!(got.header("webhook-signature").split(' ').count(), 2);
    for secret in [&hook.secret, &fresh] {
        Webhook::new(secret.expose()).unwrap().verify(&got.body, &got.headers).unwrap();
    }
    house.clock.advance(60_000);
    house.finish_call().await;
    let got = receiver.next().await;
    Webhook::new(fresh.expose()).unwrap().verify(&got.body, &got.headers).unwrap();
    assert!(Webhook::new(hook.secret.expose()).unwrap().verify(&got.body, &got.headers).is_err());
    worker.stop().await;
}

#[tokio::test]
async fn a_push_goes_where_its_destination_is_bound() {
    let house = House::new().await;
    let mut receiver = Receiver::start(|_| answer(200)).await;
    let (store, tenant) = (&house.store, house.tenant());
    let script =
        store.create_script(&tenant, NewScript { name: "s".to_owned(), description: None }, &who()).await.unwrap();
    let start = call(store);
    store.start_call(start.clone()).await.unwrap();
    let worker = house.worker();
    let push = NewPush {
        tenant_id: tenant.clone(),
        call_id: start.id.clone(),
        script_id: script.id.clone(),
        push_seq: 1,
        event_id: None,
        destination: "outcome".to_owned(),
        body: "{\"n\": 1}".to_owned(),
    };
    let id = store.enqueue_push(push).await.unwrap();
    let endpoint = format!("{}/outcome", script.id);
    // Not bound yet: it waits, and finds its way when it is.
    let waiting = house.after_attempts(&endpoint, 1).await.delivery;
    assert_eq!((waiting.state, waiting.last_error.as_deref()), (DeliveryState::Pending, Some("not_bound")));
    let document = format!(
        r#"{{"destinations": {{"outcome": {{"url": "{}", "headers": {{"X-Key": "${{k}}"}}}}}}, "secrets": {{"k": "v4lue"}}}}"#,
        receiver.url()
    );
    let input = bindings::parse(document.as_bytes()).unwrap();
    let stored = store.put_bindings(&tenant, &script.id, input, &who()).await.unwrap();
    house.clock.advance(5_000);
    worker.wake();
    let got = receiver.next().await;
    assert_eq!((got.header("webhook-id"), got.header("x-key")), (id.as_str(), "v4lue"));
    let secret = &stored.generated["destination:outcome"];
    Webhook::new(secret.expose()).unwrap().verify(&got.body, &got.headers).unwrap();
    assert!(std::str::from_utf8(&got.body).unwrap().contains(r#""data":{"destination":"outcome","body":{"n": 1}}"#));
    worker.stop().await;
}

/// A process of its own, as far as a test can have one: its store and its worker
/// live on a runtime that is thrown away in the middle of everything.
struct Process(Option<tokio::runtime::Runtime>);

impl Process {
    fn start(house: &House, claim: bool) -> Self {
        let (url, folder, clock) = (house.url.clone(), house.folder.path().to_path_buf(), house.clock.clone());
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.spawn(async move {
            let store = fixture::open(&url, &folder, clock).await;
            if claim {
                store.start_host("host-a").await.unwrap();
            }
            let _worker = OutboxWorker::start_with(store, local(), config());
            std::future::pending::<()>().await;
        });
        Self(Some(runtime))
    }

    /// Everything is dropped where it stands, and the lock on the database with it.
    async fn kill(mut self) {
        let runtime = self.0.take().unwrap();
        tokio::task::spawn_blocking(move || runtime.shutdown_timeout(Duration::from_secs(30))).await.unwrap();
    }
}

#[tokio::test]
async fn what_was_under_way_when_the_process_died_is_sent_again_as_it_was() {
    let house = House::new().await;
    let accepted = Arc::new(AtomicUsize::new(0));
    let seen = accepted.clone();
    // The first two requests are taken and never answered.
    let mut receiver = Receiver::start(move |n| {
        seen.fetch_add(1, Ordering::SeqCst);
        if n < 2 {
            Response::new(Body::from_stream(futures_util::stream::pending::<Result<bytes::Bytes, std::io::Error>>()))
        } else {
            answer(200)
        }
    })
    .await;
    let hook = house.webhook(&receiver.url()).await.webhook.id;
    house.finish_call().await;

    let first = Process::start(&house, true);
    let one = receiver.next().await;
    first.kill().await;
    // Started again under its name: at once.
    let second = Process::start(&house, true);
    let two = receiver.next().await;
    second.kill().await;
    assert_eq!((&one.body, one.header("webhook-id")), (&two.body, two.header("webhook-id")));
    // Another host takes over when the lease has run out.
    house.clock.advance(60_000);
    let third = Process::start(&house, false);
    let three = receiver.next().await;
    assert_eq!((&one.body, one.header("webhook-id")), (&three.body, three.header("webhook-id")));
    eventually(async || (house.deliveries(&hook).await[0].state == DeliveryState::Delivered).then_some(())).await;
    third.kill().await;
    assert_eq!(accepted.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_stop_waits_for_what_is_under_way_and_leaves_the_rest() {
    let house = House::new().await;
    let gate = Arc::new(tokio::sync::Notify::new());
    let opened = gate.clone();
    let mut receiver = Receiver::start(move |_| {
        let opened = opened.clone();
        let body = futures_util::stream::once(async move {
            opened.notified().await;
            Ok::<_, std::io::Error>(bytes::Bytes::from_static(b"late"))
        });
        Response::new(Body::from_stream(body))
    })
    .await;
    let hook = house.webhook(&receiver.url()).await.webhook.id;
    let worker = house.worker_with(|config| config.per_endpoint = 1);
    house.finish_call().await;
    house.finish_call().await;
    receiver.next().await;
    let stopping = tokio::spawn(worker.stop());
    gate.notify_one();
    stopping.await.unwrap();
    let states: Vec<_> = house.deliveries(&hook).await.iter().map(|d| d.state).collect();
    assert_eq!(states, [DeliveryState::Pending, DeliveryState::Delivered]);
    assert_eq!(house.store.complete_call(end(&call(&house.store))).await.map(|c| c.first), Ok(true));
}

#[tokio::test]
async fn a_flood_comes_at_its_pace_in_order_and_whole() {
    let house = House::new().await;
    let mut receiver = Receiver::start(|_| answer(204)).await;
    house.webhook(&receiver.url()).await;
    let mut calls = Vec::new();
    for _ in 0..40 {
        calls.push(house.finish_call().await);
        house.clock.advance(1);
    }
    // Far fewer than the receiver could take.
    let worker = house.worker_with(|config| (config.per_endpoint, config.per_second) = (1, 100));
    for call in calls {
        let got: serde_json::Value = serde_json::from_slice(&receiver.next().await.body).unwrap();
        assert_eq!(got["call_id"], call.as_str());
    }
    worker.stop().await;
    assert!(receiver.requests.try_recv().is_err());
}
