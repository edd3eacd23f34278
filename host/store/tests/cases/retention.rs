//! What is older than a rule says is swept away, and nothing else.

use crate::fixture::{House, T0, end, number, who};
use callbox_store::audit::AuditFilter;
use callbox_store::calls::CallFilter;
use callbox_store::completion::NewRecording;
use callbox_store::deliveries::DeliveryFilter;
use callbox_store::retention::{Retention, RetentionRule, Swept};
use callbox_store::{PageRequest, StoreError, id};

const DAY: i64 = 86_400_000;

/// A finished call of a number, with a recording; its id.
async fn call(house: &House, number: Option<&str>) -> String {
    let mut start = house.call();
    start.number_id = number.map(ToOwned::to_owned);
    let mut completion = end(&start);
    completion.recordings = vec![NewRecording {
        id: id::new("rec"),
        location: format!("{}.wav", start.id),
        size: 1,
        duration_ms: 1,
        sha256: "00".to_owned(),
    }];
    house.store.complete_call(completion).await.unwrap();
    start.id
}

async fn sweep(house: &House, files: &mut Vec<String>) -> Swept {
    let remove = |location: String| {
        files.push(location);
        std::future::ready(true)
    };
    house.store.sweep(10_000, remove).await.unwrap()
}

#[tokio::test]
async fn what_is_older_than_its_rule_goes_and_nothing_else() {
    let house = House::new().await;
    let (store, tenant) = (&house.store, house.tenant());
    house.webhook(&["call.completed"]).await;
    let long = store.create_number(&tenant, number("100", None), &who()).await.unwrap().id;
    let short = store.create_number(&tenant, number("200", None), &who()).await.unwrap().id;
    let keep = |recordings, calls| {
        Some(Retention {
            recordings_days: recordings,
            calls_days: calls,
            tapes_days: Some(2),
            deliveries_days: Some(8),
        })
    };
    store.put_retention(&tenant, None, keep(Some(3), Some(10)), &who()).await.unwrap();
    store.put_retention(&tenant, Some(&long), keep(None, None), &who()).await.unwrap();
    store.put_retention(&tenant, Some(&short), keep(Some(1), Some(7)), &who()).await.unwrap();
    let mut calls = Vec::new();
    for number in [None, Some("num_gone"), Some(&*long), Some(&*short)] {
        calls.push(call(&house, number).await);
    }
    let mut files = Vec::new();
    assert_eq!(sweep(&house, &mut files).await, Swept::default());
    let running = house.call();
    store.start_call(running.clone()).await.unwrap();
    // A moment after so many days: which calls are there, which have recordings, which tapes, which deliveries.
    for (day, there, recorded, taped, delivered) in [
        (1, "1111", "1110", "1111", "1111"),
        (2, "1111", "1110", "0000", "1111"),
        (4, "1111", "0010", "0000", "1111"),
        (7, "1110", "0010", "0000", "1110"),
        (9, "1110", "0010", "0000", "0000"),
        (11, "0010", "0010", "0000", "0000"),
    ] {
        house.clock.advance(day * DAY + 1 - store.now().since(T0));
        sweep(&house, &mut files).await;
        let mut seen = [String::new(), String::new(), String::new()];
        for call in &calls {
            let known = store.call(&tenant, call).await.is_ok();
            let recorded = !store.recordings(&tenant, call).await.unwrap().is_empty();
            assert_eq!(store.is_outlived(call).await.unwrap(), !recorded, "what else was recorded, on day {day}");
            let taped = store.tape(&tenant, call).await.ok().flatten().is_some();
            for (seen, is) in seen.iter_mut().zip([known, recorded, taped]) {
                seen.push(if is { '1' } else { '0' });
            }
        }
        assert_eq!(seen, [there, recorded, taped], "day {day}");
        let list = store.deliveries(&tenant, &DeliveryFilter::default(), &PageRequest::default()).await.unwrap().data;
        let has = |call: &String| list.iter().any(|delivery| delivery.call_id.as_ref() == Some(call));
        let deliveries: String = calls.iter().map(|call| if has(call) { '1' } else { '0' }).collect();
        assert_eq!(deliveries, delivered, "day {day}");
    }
    assert!(!store.is_outlived(&running.id).await.unwrap() && store.is_outlived(&id::new("call")).await.unwrap());
    files.sort();
    let mut gone: Vec<String> = [0, 1, 3].map(|n: usize| format!("{}.wav", calls[n])).to_vec();
    gone.sort();
    assert_eq!(files, gone, "each file once");
    let log = store.audit_log(&tenant, &AuditFilter::default(), &PageRequest::default()).await.unwrap().data;
    assert!(log.iter().filter(|entry| entry.action == "retention.swept").count() >= 5);
}

#[tokio::test]
async fn a_sweep_is_bounded_goes_on_and_minds_a_rule_that_changes() {
    let house = House::new().await;
    let (store, tenant) = (&house.store, house.tenant());
    for _ in 0..450 {
        store.complete_call(end(&house.call())).await.unwrap();
    }
    let recorded = call(&house, None).await;
    let all = Retention { calls_days: Some(7), ..Retention::default() };
    let tapes = Retention { tapes_days: Some(1), ..Retention::default() };
    store.put_retention(&tenant, None, Some(tapes), &who()).await.unwrap();
    house.clock.advance(30 * DAY);
    let nothing = |_: String| std::future::ready(false);
    assert_eq!(store.sweep(200, nothing).await.unwrap(), Swept { calls: 200, events: 0, more: true });
    assert_eq!(store.sweep(1_000, nothing).await.unwrap(), Swept { calls: 251, events: 0, more: false });
    assert_eq!(store.sweep(1_000, nothing).await.unwrap(), Swept::default());
    // Everything is looked at again; the file that cannot be removed keeps the calls of its step.
    store.put_retention(&tenant, None, Some(all), &who()).await.unwrap();
    assert_eq!(store.sweep(1_000, nothing).await.unwrap(), Swept { calls: 400, events: 0, more: true });
    assert!(store.call(&tenant, &recorded).await.is_ok());
    let mut files = Vec::new();
    assert_eq!(sweep(&house, &mut files).await, Swept { calls: 51, events: 0, more: false });
    assert_eq!(files, [format!("{recorded}.wav")]);
    let left = store.calls(&tenant, &CallFilter::default(), &PageRequest::default()).await.unwrap();
    assert!(left.data.is_empty());
}

#[tokio::test]
async fn rules_are_checked_listed_and_taken_away() {
    let house = House::new().await;
    let (store, tenant) = (&house.store, house.tenant());
    let wrong = Retention { tapes_days: Some(0), calls_days: Some(6), ..Retention::default() };
    let StoreError::Invalid(errors) = store.put_retention(&tenant, None, Some(wrong), &who()).await.unwrap_err() else {
        panic!()
    };
    assert_eq!(errors.iter().map(|error| error.path.as_str()).collect::<Vec<_>>(), ["tapes_days", "calls_days"]);
    let keep = Retention { tapes_days: Some(3), ..Retention::default() };
    let stranger = store.create_tenant("other", &who()).await.unwrap().id;
    let own = store.create_number(&tenant, number("100", None), &who()).await.unwrap().id;
    let theirs = store.put_retention(&stranger, Some(&own), Some(keep), &who()).await.unwrap_err();
    assert_eq!(theirs.code(), "not_found");
    store.put_retention(&tenant, Some(&own), Some(keep), &who()).await.unwrap();
    let rule = RetentionRule { number_id: Some(own.clone()), keep };
    assert_eq!(store.retention(&tenant).await.unwrap(), [rule]);
    assert_eq!(store.retention(&stranger).await.unwrap(), []);
    store.put_retention(&tenant, Some(&own), None, &who()).await.unwrap();
    assert_eq!(store.retention(&tenant).await.unwrap(), []);
}

#[tokio::test]
async fn a_call_is_erased_on_request_once_nothing_of_it_is_on_its_way() {
    let house = House::new().await;
    let (store, tenant) = (&house.store, house.tenant());
    let stranger = store.create_tenant("other", &who()).await.unwrap().id;
    let running = house.call();
    store.start_call(running.clone()).await.unwrap();
    let running = running.id;
    let kept = call(&house, None).await;
    for recording in store.due_recordings("host-a", 10).await.unwrap().0 {
        store.recording_is_ready(&recording, "", store.now()).await.unwrap();
    }
    let told = {
        house.webhook(&["call.completed"]).await;
        call(&house, None).await
    };
    let erase = async |tenant: &callbox_store::TenantId, call: &str, gone: bool| {
        store.erase_call(tenant, call, |_| std::future::ready(gone), &who()).await.map_err(|error| error.code())
    };
    assert_eq!(erase(&tenant, &running, true).await, Err("call_active"));
    assert_eq!(erase(&tenant, &told, true).await, Err("call_unsettled"));
    assert_eq!(erase(&stranger, &kept, true).await, Err("not_found"));
    assert_eq!(erase(&tenant, &kept, false).await, Err("store_unavailable"));
    assert!(store.call(&tenant, &kept).await.is_ok());
    assert_eq!(erase(&tenant, &kept, true).await, Ok(()));
    assert_eq!(erase(&tenant, &kept, true).await, Err("not_found"));
    assert!(store.recordings(&tenant, &kept).await.unwrap().is_empty());
    assert!(store.call(&tenant, &told).await.is_ok());
    let log = store.audit_log(&tenant, &AuditFilter::default(), &PageRequest::default()).await.unwrap().data;
    assert_eq!(log.iter().filter(|entry| entry.action == "call.erased" && entry.target == kept).count(), 1);
}
