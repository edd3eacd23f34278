//! Leasing, reporting, redelivery, replay.

use crate::fixture::{House, T0, end, who};
use callbox_store::deliveries::{
    AttemptReport, DeliveryFilter, DeliveryState, LeaseRequest, Leased, Leases, OutboxState, Target, Verdict,
};
use callbox_store::outbox::{NewPush, destination_endpoint};
use callbox_store::webhooks::NewWebhook;
use callbox_store::{PageRequest, Store};
use std::collections::BTreeMap;

async fn lease(store: &Store, per_endpoint: usize, limit: usize, busy: &[(&str, usize)]) -> Leases {
    let request = LeaseRequest {
        host: "host-a".to_owned(),
        now: store.now(),
        lease_for_ms: 30_000,
        limit,
        per_endpoint,
        busy: busy.iter().map(|(e, n)| ((*e).to_owned(), *n)).collect::<BTreeMap<_, _>>(),
    };
    store.lease(request).await.unwrap()
}

fn report(store: &Store, status: u16, verdict: Verdict) -> AttemptReport {
    AttemptReport {
        at: store.now(),
        status: Some(status),
        latency_ms: 3,
        error: None,
        response: Some("ok".to_owned()),
        verdict,
    }
}

async fn only(store: &Store) -> Leased {
    let mut leases = lease(store, 8, 100, &[]).await;
    assert_eq!(leases.items.len(), 1);
    leases.items.remove(0)
}

#[tokio::test]
async fn a_delivery_is_leased_once_and_again_after_a_crash() {
    let house = House::new().await;
    let (store, tenant) = (&house.store, house.tenant());
    let hook = house.webhook(&["call.completed"]).await;
    store.complete_call(end(&house.call())).await.unwrap();
    let first = only(store).await;
    assert_eq!((first.endpoint.as_str(), first.tries), (hook.webhook.id.as_str(), 0));
    assert_eq!(lease(store, 8, 100, &[]).await, Leases { items: vec![], next_due: Some(T0.plus(30_000)) });
    assert_eq!(lease(store, 8, 100, &[(&hook.webhook.id, 0)]).await, Leases::default());

    house.clock.advance(30_000);
    let second = only(store).await;
    assert_eq!((&second.event_id, &second.body), (&first.event_id, &first.body));
    assert_ne!(second.lease, first.lease);
    // The one that was slow comes back: its failure counts for nothing, its success does.
    let later = store.now().plus(99_000);
    store.finish_attempt(&first, report(store, 500, Verdict::Retry { at: later })).await.unwrap();
    let shown = store.delivery(&tenant, &first.delivery_id).await.unwrap();
    assert_eq!((shown.delivery.state, shown.delivery.attempts), (DeliveryState::Leased, 1));
    store.finish_attempt(&first, report(store, 200, Verdict::Delivered)).await.unwrap();
    store.finish_attempt(&second, report(store, 500, Verdict::Failed)).await.unwrap();
    let shown = store.delivery(&tenant, &first.delivery_id).await.unwrap();
    assert_eq!((shown.delivery.state, shown.delivery.attempts), (DeliveryState::Delivered, 3));
    assert_eq!(shown.history.iter().map(|a| a.number).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(lease(store, 8, 100, &[]).await, Leases::default());
}

#[tokio::test]
async fn what_is_open_is_told_with_how_long_it_has_been_due() {
    let house = House::new().await;
    let store = &house.store;
    assert_eq!(store.outbox_state().await.unwrap(), OutboxState::default());
    for _ in 0..2 {
        house.webhook(&[]).await;
    }
    store.complete_call(end(&house.call())).await.unwrap();
    house.clock.advance(700);
    assert_eq!(store.outbox_state().await.unwrap(), OutboxState { endpoints: 2, overdue_ms: 700 });
    // In the worker's hands: nothing waits.
    lease(store, 8, 100, &[]).await;
    assert_eq!(store.outbox_state().await.unwrap(), OutboxState { endpoints: 2, overdue_ms: 0 });
}

#[tokio::test]
async fn a_restart_frees_what_was_leased() {
    let house = House::new().await;
    house.webhook(&[]).await;
    let start = house.call();
    house.store.complete_call(end(&start)).await.unwrap();
    let before = only(&house.store).await;
    let house = house.reopen().await;
    assert_eq!(house.store.start_host("host-a").await.unwrap().deliveries, 1);
    assert_eq!(only(&house.store).await.body, before.body);
}

#[tokio::test]
async fn the_backlog_of_one_endpoint_does_not_delay_another() {
    let house = House::new().await;
    let store = &house.store;
    let (slow, quick) = (house.webhook(&["call.completed"]).await, house.webhook(&["call.started"]).await);
    for _ in 0..50 {
        store.complete_call(end(&house.call())).await.unwrap();
    }
    house.clock.advance(1);
    store.start_call(house.call()).await.unwrap();
    let leases = lease(store, 4, 100, &[]).await;
    let count = |id: &str| leases.items.iter().filter(|l| l.endpoint == id).count();
    assert_eq!((count(&slow.webhook.id), count(&quick.webhook.id)), (4, 1));
    // The slow one is full: nothing of its backlog is looked at, nor does it make the worker spin.
    assert_eq!(lease(store, 4, 100, &[(&slow.webhook.id, 0)]).await.items, []);
    assert_eq!(lease(store, 4, 100, &[(&slow.webhook.id, 1)]).await.items.len(), 1);
    // Cut short by the limit: more is due at once.
    assert_eq!(lease(store, 60, 2, &[]).await.next_due, Some(store.now()));
}

#[tokio::test]
async fn what_failed_can_be_sent_again_with_the_same_bytes() {
    let house = House::new().await;
    let (store, tenant) = (&house.store, house.tenant());
    house.webhook(&["call.completed"]).await;
    store.complete_call(end(&house.call())).await.unwrap();
    let first = only(store).await;
    store.finish_attempt(&first, report(store, 500, Verdict::Failed)).await.unwrap();
    let failed = DeliveryFilter { endpoint: Some(first.endpoint.clone()), state: Some(DeliveryState::Failed) };
    assert_eq!(store.deliveries(&tenant, &failed, &PageRequest::default()).await.unwrap().data.len(), 1);
    assert_eq!(lease(store, 8, 8, &[]).await, Leases::default());
    house.clock.advance(86_400_000);
    let queued = store.redeliver(&tenant, &first.delivery_id).await.unwrap();
    assert_eq!((queued.state, queued.next_attempt_at), (DeliveryState::Pending, Some(store.now())));
    let second = only(store).await;
    assert_eq!((second.event_id, second.body, second.tries), (first.event_id, first.body, 0));
    assert_eq!(store.redeliver(&tenant, "dlv_none").await.unwrap_err().code(), "not_found");
}

#[tokio::test]
async fn a_period_can_be_replayed_to_a_webhook_that_came_later() {
    let house = House::new().await;
    let (store, tenant) = (&house.store, house.tenant());
    for _ in 0..450 {
        store.complete_call(end(&house.call())).await.unwrap();
    }
    house.clock.advance(10_000);
    store.complete_call(end(&house.call())).await.unwrap();
    let hook = house.webhook(&[]).await.webhook.id;
    assert_eq!(lease(store, 8, 8, &[]).await.items, []);
    assert_eq!(store.replay(&tenant, &hook, T0, T0.plus(1)).await.unwrap(), 450);
    assert_eq!(store.replay(&tenant, &hook, T0, T0.plus(20_000)).await.unwrap(), 451);
    let page = PageRequest { cursor: None, limit: Some(200) };
    assert!(store.deliveries(&tenant, &DeliveryFilter::default(), &page).await.unwrap().has_more);
    assert_eq!(lease(store, 1_000, 1_000, &[]).await.items.len(), 451);
}

#[tokio::test]
async fn a_receiver_that_is_gone_is_switched_off() {
    let house = House::new().await;
    let (store, tenant) = (&house.store, house.tenant());
    let hook = house.webhook(&[]).await.webhook;
    for _ in 0..3 {
        store.complete_call(end(&house.call())).await.unwrap();
    }
    let first = lease(store, 1, 1, &[]).await.items.remove(0);
    store.finish_attempt(&first, report(store, 410, Verdict::Gone)).await.unwrap();
    let off = store.webhook(&tenant, &hook.id).await.unwrap();
    assert_eq!((off.enabled, off.disabled_reason.as_deref()), (false, Some("gone")));
    let dead = DeliveryFilter { endpoint: None, state: Some(DeliveryState::Dead) };
    assert_eq!(store.deliveries(&tenant, &dead, &PageRequest::default()).await.unwrap().data.len(), 3);
    assert!(matches!(store.delivery_target(&first).await.unwrap(), Target::Gone("endpoint_disabled")));
    assert_eq!(store.replay(&tenant, &hook.id, T0, T0.plus(1)).await.unwrap_err().code(), "webhook_disabled");

    let on = NewWebhook { url: hook.url, description: None, event_types: hook.event_types, enabled: true };
    assert_eq!(store.update_webhook(&tenant, &hook.id, on, &who()).await.unwrap().disabled_reason, None);
    assert_eq!(store.replay(&tenant, &hook.id, T0, T0.plus(1)).await.unwrap(), 3);
    store.delete_webhook(&tenant, &hook.id, &who()).await.unwrap();
    assert_eq!(lease(store, 8, 8, &[]).await, Leases::default());
    assert!(matches!(store.delivery_target(&first).await.unwrap(), Target::Gone("endpoint_deleted")));
}

#[tokio::test]
async fn two_secrets_sign_during_a_rotation() {
    let house = House::new().await;
    let (store, tenant) = (&house.store, house.tenant());
    let hook = house.webhook(&[]).await;
    store.complete_call(end(&house.call())).await.unwrap();
    let leased = only(store).await;
    let fresh = store.rotate_webhook_secret(&tenant, &hook.webhook.id, 3_600_000, &who()).await.unwrap();
    let signing = async || match store.delivery_target(&leased).await.unwrap() {
        Target::Send { signing, .. } => signing,
        other => panic!("{other:?}"),
    };
    assert_eq!(signing().await, [fresh.clone(), hook.secret]);
    house.clock.advance(3_600_000);
    assert_eq!(signing().await, std::slice::from_ref(&fresh));
    assert_eq!(store.webhook_secret(&tenant, &hook.webhook.id).await.unwrap(), fresh);
}

#[tokio::test]
async fn a_push_finds_its_destination_when_it_is_sent() {
    let house = House::new().await;
    let script = house.script("s").await;
    let start = house.call();
    house.store.start_call(start.clone()).await.unwrap();
    let push = NewPush {
        tenant_id: house.tenant(),
        call_id: start.id,
        script_id: script.id.clone(),
        push_seq: 1,
        event_id: Some("evt_given".to_owned()),
        destination: "outcome".to_owned(),
        body: "[1]".to_owned(),
    };
    assert_eq!(house.store.enqueue_push(push).await.unwrap(), "evt_given");
    let leased = only(&house.store).await;
    assert_eq!(leased.endpoint, destination_endpoint(&script.id, "outcome"));
    assert!(matches!(house.store.delivery_target(&leased).await.unwrap(), Target::Missing("not_bound")));
    house
        .bind(&script, r#"{"destinations": {"outcome": {"url": "https://x.example/", "headers": {"X-Key": "1"}}}}"#)
        .await;
    let Target::Send { url, signing, headers } = house.store.delivery_target(&leased).await.unwrap() else { panic!() };
    assert_eq!((url.as_str(), signing.len(), headers.len()), ("https://x.example/", 1, 1));
}
