//! Several hosts on one database: one that dies, one that is only frozen, changes that all hear of, work that is shared.

use crate::fixture::{House, end, who};
use callbox_store::calls::CallStart;
use callbox_store::deliveries::LeaseRequest;
use callbox_store::hosts::{Elsewhere, Host, HostKeeper, HostState, Standing};
use callbox_store::revisions::Topic;
use callbox_store::{Store, StoreError};
use std::collections::{BTreeMap, BTreeSet};

async fn host(store: &Store, name: &str) -> Host {
    store.hosts().await.unwrap().into_iter().find(|host| host.id == name).unwrap()
}

/// Waits for the others' judgement.
async fn until_gone(store: &Store, name: &str) {
    while host(store, name).await.state != HostState::Gone {
        tokio::task::yield_now().await;
    }
}

async fn begin(store: &Store, house: &House, host: &str) -> CallStart {
    let start = CallStart { host: host.to_owned(), ..house.call() };
    store.start_call(start.clone()).await.unwrap();
    start
}

async fn end_reasons(store: &Store, start: &CallStart) -> Vec<String> {
    let events = store.call_events(&start.tenant_id, &start.id).await.unwrap();
    let completed = events.iter().filter(|event| event.kind == "call.completed");
    let body = |body: &str| serde_json::from_str::<serde_json::Value>(body).unwrap();
    completed.map(|event| body(event.body.get())["data"]["end_reason"].as_str().unwrap_or("").to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_calls_of_a_host_that_dies_are_closed_once_by_the_others() {
    let house = House::new().await;
    house.webhook(&["call.completed"]).await;
    let (dead, b, c) = (&house.store, house.another().await, house.another().await);
    dead.start_host("host-a").await.unwrap();
    let mut starts = Vec::new();
    for _ in 0..130 {
        starts.push(begin(dead, &house, "host-a").await);
    }
    dead.complete_call(end(&starts[0])).await.unwrap();
    let in_hand = lease(dead, "host-a", 8).await;
    assert_eq!(in_hand.len(), 1);
    b.start_host("host-b").await.unwrap();
    c.start_host("host-c").await.unwrap();
    let alive = begin(&b, &house, "host-b").await;
    let keepers = [HostKeeper::start(b.clone()).unwrap(), HostKeeper::start(c.clone()).unwrap()];
    until_gone(&b, "host-a").await;
    for start in &starts[1..] {
        assert_eq!(end_reasons(&b, start).await, ["platform_error"]);
    }
    assert_eq!(end_reasons(&b, &starts[0]).await, [""]);
    assert_eq!(end_reasons(&b, &alive).await, [""; 0], "its host lives");
    let free = lease(&b, "host-b", 200).await;
    assert!(free.iter().any(|delivery| *delivery == in_hand[0]), "what it had in hand is taken by another");
    for (keeper, name) in keepers.into_iter().zip(["host-b", "host-c"]) {
        assert_eq!(*keeper.standing().borrow(), Standing::Known);
        keeper.stop().await;
        let left = if name == "host-b" { HostState::Up } else { HostState::Gone };
        assert_eq!(host(&b, name).await.state, left, "one with calls does not say goodbye");
    }
}

#[tokio::test]
async fn calls_of_other_hosts_are_counted_until_they_are_over() {
    let house = House::new().await;
    let (a, b) = (&house.store, house.another().await);
    let (tenant, number) = (house.tenant(), Some("num_1"));
    assert_eq!(b.calls_elsewhere(&tenant, number).await.unwrap(), Elsewhere::default(), "it has no name yet");
    a.start_host("host-a").await.unwrap();
    b.start_host("host-b").await.unwrap();
    let on_number = CallStart { number_id: number.map(ToOwned::to_owned), ..house.call() };
    a.start_call(on_number.clone()).await.unwrap();
    begin(a, &house, "host-a").await;
    begin(&b, &house, "host-b").await;
    assert_eq!(b.calls_elsewhere(&tenant, number).await.unwrap(), Elsewhere { tenant: 2, number: 1 });
    assert_eq!(a.calls_elsewhere(&tenant, None).await.unwrap(), Elsewhere { tenant: 1, number: 0 });
    a.complete_call(end(&on_number)).await.unwrap();
    assert_eq!(b.calls_elsewhere(&tenant, number).await.unwrap(), Elsewhere { tenant: 1, number: 0 });
    let other = a.create_tenant("other", &who()).await.unwrap().id;
    assert_eq!(b.calls_elsewhere(&other, number).await.unwrap(), Elsewhere::default());
}

#[tokio::test]
async fn a_host_that_was_only_frozen_writes_no_second_completion() {
    let house = House::new().await;
    let (frozen, other) = (&house.store, house.another().await);
    frozen.start_host("host-a").await.unwrap();
    assert_eq!(frozen.heartbeat(HostState::Up).await.unwrap(), Standing::Known);
    let start = begin(frozen, &house, "host-a").await;
    other.start_host("host-b").await.unwrap();
    let keeper = HostKeeper::start(other.clone()).unwrap();
    until_gone(&other, "host-a").await;
    assert!(!frozen.complete_call(end(&start)).await.unwrap().first);
    assert_eq!(end_reasons(frozen, &start).await, ["platform_error"]);
    assert_eq!(frozen.heartbeat(HostState::Up).await.unwrap(), Standing::WasTakenForDead);
    assert_eq!(frozen.heartbeat(HostState::Draining).await.unwrap(), Standing::Known);
    assert_eq!(host(frozen, "host-a").await.state, HostState::Draining);
    keeper.stop().await;
}

#[tokio::test]
async fn who_gives_a_sign_just_in_time_is_not_buried() {
    let house = House::new().await;
    let (slow, other) = (&house.store, house.another().await);
    slow.start_host("host-a").await.unwrap();
    let start = begin(slow, &house, "host-a").await;
    let seen = host(&other, "host-a").await;
    slow.heartbeat(HostState::Up).await.unwrap();
    assert_eq!(other.bury(&seen).await.unwrap().calls, 0);
    assert_eq!(end_reasons(slow, &start).await, [""; 0]);
    let seen = host(&other, "host-a").await;
    let (one, two) = tokio::join!(other.bury(&seen), other.bury(&seen));
    assert_eq!(one.unwrap().calls + two.unwrap().calls, 1);
}

#[tokio::test]
async fn one_name_is_one_process() {
    let house = House::new().await;
    let (first, second) = (&house.store, house.another().await);
    first.start_host("host-a").await.unwrap();
    let keeper = HostKeeper::start(first.clone()).unwrap();
    let refused = second.start_host("host-a").await.unwrap_err();
    assert!(matches!(&refused, StoreError::InUse(what) if what.contains("host-a")), "{refused}");
    assert!(HostKeeper::start(second.clone()).is_err());
    keeper.stop().await;
    second.start_host_at("host-a", Some("http://10.0.0.2:8080")).await.unwrap();
    assert_eq!(host(first, "host-a").await.address.as_deref(), Some("http://10.0.0.2:8080"));
    // The first was frozen while the second made sure that nobody is there.
    assert_eq!(first.heartbeat(HostState::Up).await.unwrap(), Standing::Replaced);
}

#[tokio::test]
async fn all_hosts_hear_of_a_change() {
    let house = House::new().await;
    let other = house.another().await;
    let (mut trunks, mut accounts) = (other.changes(Topic::Trunks), other.changes(Topic::SipAccounts));
    // When it begins to listen it tells once of everything, of trunks first.
    accounts.wait_for(|told| *told >= 1).await.unwrap();
    let settings = serde_json::from_value(serde_json::json!({ "name": "a" })).unwrap();
    house.store.create_trunk(&house.tenant(), settings, &who()).await.unwrap();
    trunks.wait_for(|told| *told >= 2).await.unwrap();
    assert_eq!(other.trunks_in_service().await.unwrap().len(), 1);
}

async fn lease(store: &Store, host: &str, per_endpoint: usize) -> Vec<String> {
    let request = LeaseRequest {
        host: host.to_owned(),
        now: store.now(),
        lease_for_ms: 60_000,
        limit: 1_000,
        per_endpoint,
        busy: BTreeMap::new(),
    };
    let leases = store.lease(request).await.unwrap();
    leases.items.into_iter().map(|leased| leased.delivery_id).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_share_the_outbox_and_load_a_receiver_no_more_than_one() {
    let house = House::new().await;
    for _ in 0..3 {
        house.webhook(&["call.completed"]).await;
    }
    for _ in 0..100 {
        house.store.complete_call(end(&house.call())).await.unwrap();
    }
    let hosts = [house.store.clone(), house.another().await, house.another().await];
    let mut taken = BTreeSet::new();
    let racing: Vec<_> = hosts
        .iter()
        .enumerate()
        .map(|(n, store)| {
            let store = store.clone();
            tokio::spawn(async move { lease(&store, &format!("host-{n}"), 40).await })
        })
        .collect();
    for one in racing {
        for delivery in one.await.unwrap() {
            assert!(taken.insert(delivery.clone()), "{delivery} was leased twice");
        }
    }
    assert!(taken.len() >= 3 * 40);
    // From here on each endpoint has as much under way as it may have.
    assert_eq!(lease(&house.store, "host-3", 40).await, Vec::<String>::new());
}
