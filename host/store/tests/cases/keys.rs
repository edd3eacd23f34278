//! Keys, idempotency keys, tenants.

use crate::fixture::{House, T0, who};
use callbox_store::idempotency::Begin;
use callbox_store::keys::{AuthError, NewKey, Refusal, Scopes};
use callbox_store::{PageRequest, UnixMs};
use std::collections::BTreeSet;

fn new(scope: &str) -> NewKey {
    NewKey { name: "shop".to_owned(), scopes: Scopes(BTreeSet::from([scope.to_owned()])), expires_at: None }
}

#[tokio::test]
async fn the_first_key_is_made_once() {
    let house = House::new().await;
    let first = house.store.bootstrap_key().await.unwrap().unwrap();
    assert!(house.store.bootstrap_key().await.unwrap().is_none());
    let house = house.reopen().await;
    assert!(house.store.bootstrap_key().await.unwrap().is_none());
    let who = house.store.authenticate(first.secret.expose()).await.unwrap();
    assert_eq!(who.tenant_id, house.tenant());
    assert!(who.scopes.allow("scripts:write"));
    let listed =
        serde_json::to_string(&house.store.keys(&house.tenant(), &PageRequest::default()).await.unwrap()).unwrap();
    assert!(!listed.contains(first.secret.expose()) && !listed.contains("hash"), "{listed}");
}

#[tokio::test]
async fn keys_end() {
    let house = House::new().await;
    let (store, tenant) = (&house.store, house.tenant());
    let refused = async |text: &str| match store.authenticate(text).await {
        Err(AuthError::Refused(why)) => Some(why),
        Ok(_) => None,
        Err(error) => panic!("{error}"),
    };
    let issued = store.create_key(&tenant, new("calls:read"), &who()).await.unwrap();
    let text = issued.secret.expose();
    assert_eq!(refused(text).await, None);
    store.revoke_key(&tenant, &issued.key.id, &who()).await.unwrap();
    assert_eq!(refused(text).await, Some(Refusal::Revoked));

    let mut short = new("calls:read");
    short.expires_at = Some(UnixMs(T0.0 + 1_000));
    let short = store.create_key(&tenant, short, &who()).await.unwrap();
    assert_eq!(refused(short.secret.expose()).await, None);
    house.clock.advance(1_000);
    assert_eq!(refused(short.secret.expose()).await, Some(Refusal::Expired));

    // A key of another house has the right shape and is unknown; so is a text that is none.
    let other = House::new().await.store.bootstrap_key().await.unwrap().unwrap();
    assert_eq!(refused(other.secret.expose()).await, Some(Refusal::Unknown));
    assert_eq!(refused("cbk_").await, Some(Refusal::Malformed));
    assert_eq!(store.create_key(&tenant, new("calls:everything"), &who()).await.unwrap_err().code(), "invalid_input");
}

#[tokio::test]
async fn when_a_key_was_used_is_known_to_the_minute() {
    let house = House::in_order().await;
    let issued = house.store.bootstrap_key().await.unwrap().unwrap();
    let used = async || {
        // The note is written some time; the writer works in order, so a write behind it waits for it.
        house.store.check().await.unwrap();
        house.store.key(&house.tenant(), &issued.key.id).await.unwrap().last_used_at
    };
    assert_eq!(used().await, None);
    for (advance, expected) in [(0, T0), (30_000, T0), (30_000, T0.plus(60_000))] {
        house.clock.advance(advance);
        house.store.authenticate(issued.secret.expose()).await.unwrap();
        assert_eq!(used().await, Some(expected));
    }
}

#[tokio::test]
async fn the_same_request_is_done_once() {
    let house = House::new().await;
    let (store, tenant) = (&house.store, house.tenant());
    let racing: Vec<_> = (0..100)
        .map(|_| {
            let (store, tenant) = (store.clone(), tenant.clone());
            tokio::spawn(async move { store.idempotency_begin(&tenant, "k", "POST /calls 1").await.unwrap() })
        })
        .collect();
    let mut new = 0;
    for one in racing {
        match one.await.unwrap() {
            Begin::New => new += 1,
            other => assert_eq!(other, Begin::Running),
        }
    }
    assert_eq!(new, 1);
    store.idempotency_finish(&tenant, "k", 201, b"{}".to_vec()).await.unwrap();
    let begin = async |print: &str| store.idempotency_begin(&tenant, "k", print).await.unwrap();
    assert_eq!(begin("POST /calls 1").await, Begin::Replay { status: 201, body: b"{}".to_vec() });
    assert_eq!(begin("POST /calls 2").await, Begin::Mismatch);
    house.clock.advance(24 * 3_600_000);
    assert_eq!(begin("POST /calls 2").await, Begin::New);
    store.idempotency_abandon(&tenant, "k").await.unwrap();
    assert_eq!(begin("POST /calls 3").await, Begin::New);
    assert_eq!(store.idempotency_begin(&tenant, "", "x").await.unwrap_err().code(), "invalid_input");
}
