//! The books of calls: exactly one `call.completed`, sequences without a gap, orphans.

use crate::fixture::{House, T0, end};
use callbox_dialogue::call::{Direction, EndReason};
use callbox_dialogue::record::{Outcome, TimelineEntry};
use callbox_dialogue::time::Time;
use callbox_store::calls::{CallFilter, CallStart, CallState};
use callbox_store::completion::NewRecording;
use callbox_store::hosts::{HostKeeper, HostState};
use callbox_store::outbox::NewPush;
use callbox_store::{PageRequest, TenantId, UnixMs, id};
use serde_json::Value;

fn push(house: &House, call: &str, seq: u32) -> NewPush {
    NewPush {
        tenant_id: house.tenant(),
        call_id: call.to_owned(),
        script_id: id::new("scr"),
        push_seq: seq,
        event_id: None,
        destination: "outcome".to_owned(),
        body: format!("{{\"n\": {seq}}}"),
    }
}

#[tokio::test]
async fn a_call_has_one_completed_event_and_no_gap() {
    let house = House::new().await;
    let (store, tenant) = (&house.store, house.tenant());
    house.webhook(&[]).await;
    let start = house.call();
    store.start_call(start.clone()).await.unwrap();
    store.start_call(start.clone()).await.unwrap();
    house.clock.advance(1_000);
    store.mark_answered(&start, store.now()).await.unwrap();
    store.mark_answered(&start, store.now()).await.unwrap();
    let first = store.enqueue_push(push(&house, &start.id, 1)).await.unwrap();
    assert_eq!(store.enqueue_push(push(&house, &start.id, 1)).await.unwrap(), first);
    assert_eq!(first, callbox_dialogue::CallId(start.id.clone()).push_id(1));

    house.clock.advance(9_000);
    let mut completion = end(&start);
    completion.document.times.ended = Some(store.now());
    completion.document.outcome = Some(Outcome::Answered);
    completion.document.end_reason = Some(EndReason::CallerHangup);
    completion.timeline = vec![TimelineEntry { at: Time(0), kind: "created".to_owned(), detail: String::new() }];
    completion.pushes = vec![push(&house, &start.id, 1), push(&house, &start.id, 2)];
    completion.recordings = vec![NewRecording {
        id: id::new("rec"),
        location: "/recordings/x.wav".to_owned(),
        size: 10,
        duration_ms: 20,
        sha256: "00".to_owned(),
    }];
    let done = store.complete_call(completion.clone()).await.unwrap();
    assert!(done.first);
    let again = store.complete_call(completion).await.unwrap();
    assert_eq!((again.first, &again.event_id, again.sequence), (false, &done.event_id, done.sequence));

    let events = store.call_events(&tenant, &start.id).await.unwrap();
    let kinds: Vec<_> = events.iter().map(|e| (e.sequence.unwrap(), e.kind.as_str())).collect();
    let all = ["call.started", "call.answered", "call.push", "call.push", "call.completed"];
    assert_eq!(kinds, all.iter().enumerate().map(|(n, kind)| (n as i64 + 1, *kind)).collect::<Vec<_>>());
    let body: Value = serde_json::from_str(events[4].body.get()).unwrap();
    assert_eq!(body["type"], "call.completed");
    assert_eq!(body["sequence"], 5);
    assert_eq!(body["created_at"], "2026-11-21T09:05:50.000Z");
    assert_eq!(body["data"]["end_reason"], "caller_hangup");
    assert_eq!(body["data"]["from"], "+491701");
    assert_eq!(body["data"]["disposition"], Value::Null);
    let body: Value = serde_json::from_str(events[2].body.get()).unwrap();
    assert_eq!(body["data"], serde_json::json!({"destination": "outcome", "body": {"n": 1}}));

    let call = store.call(&tenant, &start.id).await.unwrap();
    assert_eq!(call.summary.state, CallState::Completed);
    assert_eq!(call.summary.answered_at, Some(UnixMs(T0.0 + 1_000)));
    assert!(call.record.unwrap().get().contains("\"end_reason\":\"caller_hangup\""));
    assert_eq!(store.tape(&tenant, &start.id).await.unwrap(), Some(vec![1, 2, 3]));
    assert_eq!(store.timeline(&tenant, &start.id).await.unwrap().len(), 1);
    assert!(store.transcript(&tenant, &start.id).await.unwrap().is_empty());
    let recordings = store.recordings(&tenant, &start.id).await.unwrap();
    assert_eq!(recordings.len(), 1);
    assert!(!serde_json::to_string(&recordings).unwrap().contains("/recordings"));
}

#[tokio::test]
async fn a_hundred_completions_at_once_make_one_event() {
    let house = House::new().await;
    let start = house.call();
    let all: Vec<_> = (0..100)
        .map(|_| {
            let (store, completion) = (house.store.clone(), end(&start));
            tokio::spawn(async move { store.complete_call(completion).await.unwrap().first })
        })
        .collect();
    let mut first = 0;
    for one in all {
        first += usize::from(one.await.unwrap());
    }
    assert_eq!(first, 1);
    assert_eq!(house.store.call_events(&house.tenant(), &start.id).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_recording_that_never_was_is_told_of_once() {
    let house = House::new().await;
    house.webhook(&["call.recording.failed"]).await;
    let (running, without) = (house.call(), house.call());
    house.store.start_call(running.clone()).await.unwrap();
    house.store.complete_call(end(&without)).await.unwrap();
    for call in [&running.id, &without.id, &without.id] {
        house.store.no_recording(call, "killed").await.unwrap();
    }
    let failed = async |call: &str| {
        let events = house.store.call_events(&house.tenant(), call).await.unwrap();
        events.iter().filter(|event| event.kind == "call.recording.failed").count()
    };
    assert_eq!((failed(&running.id).await, failed(&without.id).await), (0, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_end_at_once_are_all_counted() {
    let house = House::new().await;
    let ending: Vec<_> = (0..40)
        .map(|_| {
            let (store, completion) = (house.store.clone(), end(&house.call()));
            tokio::spawn(async move { store.complete_call(completion).await.unwrap() })
        })
        .collect();
    for one in ending {
        assert!(one.await.unwrap().first);
    }
    let used = house.store.usage(&house.tenant(), house.store.now(), house.store.now()).await.unwrap();
    assert_eq!((used.calls_in, used.calls_out), (40, 0));
}

#[tokio::test]
async fn a_push_that_is_no_json_takes_nothing_with_it() {
    let house = House::new().await;
    let start = house.call();
    house.store.start_call(start.clone()).await.unwrap();
    let mut bad = push(&house, &start.id, 1);
    bad.body = "{".to_owned();
    assert_eq!(house.store.enqueue_push(bad.clone()).await.unwrap_err().code(), "invalid_input");
    let mut completion = end(&start);
    completion.pushes = vec![bad, push(&house, &start.id, 2)];
    house.store.complete_call(completion).await.unwrap();
    let events = house.store.call_events(&house.tenant(), &start.id).await.unwrap();
    assert_eq!(events.iter().map(|e| e.kind.as_str()).collect::<Vec<_>>(), ["call.push", "call.completed"]);
    let mut late = push(&house, "call_unknown", 1);
    late.body = "1".to_owned();
    assert_eq!(house.store.enqueue_push(late).await.unwrap_err().code(), "not_found");
}

#[tokio::test]
async fn calls_of_a_dead_host_are_closed_once() {
    let house = House::new().await;
    let mut ids = Vec::new();
    for n in 0..250 {
        let mut start = house.call();
        if n == 0 {
            start.host = "host-b".to_owned();
        } else {
            ids.push(start.id.clone());
        }
        house.store.start_call(start.clone()).await.unwrap();
        if n == 1 {
            house.store.mark_answered(&start, UnixMs(T0.0 + 500)).await.unwrap();
        }
    }
    house.clock.advance(60_000);
    let house = house.reopen().await;
    let (store, tenant) = (&house.store, house.tenant());
    let recovered = store.start_host("host-a").await.unwrap();
    assert_eq!(recovered.calls, 249);
    assert_eq!(store.start_host("host-a").await.unwrap().calls, 0);
    assert_eq!(store.active_calls(&tenant).await.unwrap(), 1);
    for (at, id) in ids.iter().enumerate() {
        let events = store.call_events(&tenant, id).await.unwrap();
        assert_eq!(events.len(), 1);
        let body: Value = serde_json::from_str(events[0].body.get()).unwrap();
        assert_eq!(body["data"]["end_reason"], "platform_error");
        assert_eq!(body["data"]["ended_by"], "platform");
        assert_eq!(body["data"]["outcome"], if at == 0 { "answered" } else { "cancelled" });
        assert_eq!(body["data"]["times"]["ended"], "2026-11-21T09:06:40.000Z");
    }
}

/// A host that was taken for dead, or has said goodbye, puts a call into the books at the last moment and dies.
#[tokio::test]
async fn a_call_of_a_host_that_is_gone_already_is_closed_by_the_next_that_watches() {
    let house = House::new().await;
    let (store, tenant) = (&house.store, house.tenant());
    store.start_host("host-a").await.unwrap();
    HostKeeper::start(store.clone()).unwrap().stop().await;
    assert_eq!(store.hosts().await.unwrap()[0].state, HostState::Gone);
    store.start_host("host-b").await.unwrap();
    let (late, own) = (house.call(), CallStart { host: "host-b".to_owned(), ..house.call() });
    for start in [&late, &own] {
        store.start_call(start.clone()).await.unwrap();
    }
    let keeper = HostKeeper::start(store.clone()).unwrap();
    while store.active_calls(&tenant).await.unwrap() > 1 {
        tokio::task::yield_now().await;
    }
    let events = store.call_events(&tenant, &late.id).await.unwrap();
    let body: Value = serde_json::from_str(events[0].body.get()).unwrap();
    assert_eq!((events.len(), &body["data"]["end_reason"]), (1, &"platform_error".into()));
    assert!(store.call_events(&tenant, &own.id).await.unwrap().is_empty(), "its host lives");
    let watched: Vec<String> = store.watched_hosts().await.unwrap().into_iter().map(|host| host.id).collect();
    assert_eq!(watched, ["host-b"]);
    keeper.stop().await;
}

#[tokio::test]
async fn a_call_that_broke_off_in_a_process_that_goes_on_is_closed_once() {
    let house = House::new().await;
    let (store, tenant) = (&house.store, house.tenant());
    let (answered, unknown) = (house.call(), house.call());
    store.start_call(answered.clone()).await.unwrap();
    store.mark_answered(&answered, UnixMs(T0.0 + 500)).await.unwrap();
    for (start, outcome) in [(answered, "answered"), (unknown, "cancelled")] {
        assert!(store.close_orphan(&start, "a bug", Some(b"tape".to_vec())).await.unwrap().first);
        assert!(!store.close_orphan(&start, "a bug", None).await.unwrap().first);
        assert_eq!(store.tape(&start.tenant_id, &start.id).await.unwrap(), Some(b"tape".to_vec()));
        let record = store.call(&tenant, &start.id).await.unwrap().record.unwrap();
        let record: Value = serde_json::from_str(record.get()).unwrap();
        assert_eq!((&record["end_reason"], &record["outcome"]), (&"platform_error".into(), &outcome.into()));
        assert_eq!(store.timeline(&tenant, &start.id).await.unwrap().last().unwrap().detail, "a bug");
    }
}

#[tokio::test]
async fn calls_are_found_by_what_they_are() {
    let house = House::new().await;
    let (store, tenant) = (&house.store, house.tenant());
    let mut starts = Vec::new();
    for n in 0..10_u32 {
        let mut start = house.call();
        start.number_id = Some(format!("num_{}", n % 2));
        start.direction = if n % 3 == 0 { Direction::Outbound } else { Direction::Inbound };
        start.relation_id = (n == 4).then(|| "order-4".to_owned());
        store.start_call(start.clone()).await.unwrap();
        if n < 6 {
            let mut completion = end(&start);
            completion.document.outcome = Some(if n < 3 { Outcome::Answered } else { Outcome::Busy });
            store.complete_call(completion).await.unwrap();
        }
        starts.push(start);
        house.clock.advance(1_000);
    }
    let at = |n: i64| Some(UnixMs(T0.0 + n * 1_000));
    let all = CallFilter::default;
    let cases = [
        (all(), vec![9, 8, 7, 6, 5, 4, 3, 2, 1, 0]),
        (CallFilter { number_id: Some("num_1".to_owned()), ..all() }, vec![9, 7, 5, 3, 1]),
        (CallFilter { direction: Some(Direction::Outbound), ..all() }, vec![9, 6, 3, 0]),
        (CallFilter { state: Some(CallState::Active), ..all() }, vec![9, 8, 7, 6]),
        (CallFilter { outcome: Some("busy".to_owned()), ..all() }, vec![5, 4, 3]),
        (CallFilter { relation_id: Some("order-4".to_owned()), ..all() }, vec![4]),
        (CallFilter { created_from: at(2), created_to: at(5), ..all() }, vec![4, 3, 2]),
        (CallFilter { script_id: Some("scr_none".to_owned()), ..all() }, vec![]),
    ];
    for (filter, expected) in cases {
        let mut found = Vec::new();
        let mut page = PageRequest { cursor: None, limit: Some(2) };
        loop {
            let got = store.calls(&tenant, &filter, &page).await.unwrap();
            found.extend(got.data.iter().map(|c| starts.iter().position(|s| s.id == c.id).unwrap()));
            page.cursor = got.next_cursor;
            if page.cursor.is_none() {
                break;
            }
        }
        assert_eq!(found, expected, "{filter:?}");
    }
    let other = TenantId("ten_other".to_owned());
    assert!(store.calls(&other, &all(), &PageRequest::default()).await.unwrap().data.is_empty());
    assert_eq!(store.call(&other, &starts[0].id).await.unwrap_err().code(), "not_found");
    assert_eq!(store.tape(&other, &starts[0].id).await.unwrap_err().code(), "not_found");
}
