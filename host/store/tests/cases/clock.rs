//! A wall clock that was wrong and is put right, in either direction: nothing waits for a time that will not come, nothing
//! is in two hands at once, and nothing is lost.

use crate::fixture::{House, end};
use callbox_store::Store;
use callbox_store::completion::NewRecording;
use callbox_store::deliveries::{AttemptReport, LeaseRequest, Leased, Verdict};
use std::collections::BTreeMap;

const HOUR: i64 = 3_600_000;
const YEAR: i64 = 365 * 24 * HOUR;

async fn lease(store: &Store) -> Vec<Leased> {
    let request = LeaseRequest {
        host: "host-a".to_owned(),
        now: store.now(),
        lease_for_ms: 60_000,
        limit: 100,
        per_endpoint: 8,
        busy: BTreeMap::new(),
    };
    store.lease(request).await.unwrap().items
}

async fn report(store: &Store, leased: &Leased, verdict: Verdict) {
    let report = AttemptReport { at: store.now(), status: None, latency_ms: 1, error: None, response: None, verdict };
    store.finish_attempt(leased, report).await.unwrap();
}

#[tokio::test]
async fn what_a_clock_from_the_future_put_off_is_due() {
    let house = House::new().await;
    house.webhook(&["call.completed"]).await;
    let store = &house.store;
    house.clock.advance(YEAR);
    let recording =
        NewRecording { id: "rec_1".into(), location: "x.wav".into(), size: 1, duration_ms: 1, sha256: String::new() };
    let mut ahead = end(&house.call());
    ahead.recordings = vec![recording];
    store.complete_call(ahead).await.unwrap();
    let failed = lease(store).await.remove(0);
    report(store, &failed, Verdict::Retry { at: store.now().plus(30_000) }).await;
    house.clock.advance(-YEAR);
    store.complete_call(end(&house.call())).await.unwrap();
    // What is due by the right clock first, then what would be in a year.
    let now = lease(store).await;
    assert_eq!(now.len(), 1);
    assert_ne!(now[0].delivery_id, failed.delivery_id);
    report(store, &now[0], Verdict::Delivered).await;
    let later = lease(store).await;
    assert_eq!(later.iter().map(|leased| &leased.delivery_id).collect::<Vec<_>>(), [&failed.delivery_id]);
    assert!(lease(store).await.is_empty(), "it is in hand, by the clock that is right");
    report(store, &later[0], Verdict::Delivered).await;
    assert_eq!(store.due_recordings("host-a", 10).await.unwrap().0.len(), 1);
}

#[tokio::test]
async fn a_lease_survives_a_step_back_and_ends_with_one_forward() {
    let house = House::new().await;
    house.webhook(&["call.completed"]).await;
    let store = &house.store;
    store.complete_call(end(&house.call())).await.unwrap();
    let first = lease(store).await.remove(0);
    house.clock.advance(-HOUR);
    assert!(lease(store).await.is_empty());
    // What comes now does not wait for the hour to be over.
    store.complete_call(end(&house.call())).await.unwrap();
    // Of an endpoint the longest due goes first; this one's time has come by either clock.
    assert_eq!(lease(store).await.len(), 1);
    house.clock.advance(2 * HOUR);
    let again = lease(store).await;
    assert!(again.iter().any(|leased| leased.delivery_id == first.delivery_id), "its holder may be dead");
    // Whoever was only slow brings the good news all the same, and once.
    report(store, &first, Verdict::Delivered).await;
    house.clock.advance(HOUR);
    assert!(lease(store).await.iter().all(|leased| leased.delivery_id != first.delivery_id));
}
