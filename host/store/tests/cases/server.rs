//! What happens to a server: it goes away for a while and comes back, it refuses, it is asked by several at once.

use crate::fixture::{House, call, end};
use callbox_store::objects::Objects;
use callbox_store::revisions::Topic;
use callbox_store::{Store, StoreError, StoreOptions};
use callbox_test_postgres::Postgres;
use std::time::Duration;

#[tokio::test]
async fn a_database_that_is_away_for_a_while_loses_nothing_that_was_accepted() {
    let server = Postgres::start();
    server.run("CREATE DATABASE callbox");
    let folder = tempfile::tempdir().unwrap();
    let options = StoreOptions { patience: Duration::from_millis(200), ..StoreOptions::default() };
    let store =
        Store::open_with(&server.url("callbox"), Objects::folder(folder.path()).unwrap(), options).await.unwrap();
    let (accepted, begun) = (call(&store), call(&store));
    store.complete_call(end(&accepted)).await.unwrap();
    store.start_call(begun.clone()).await.unwrap();
    let mut changes = store.changes(Topic::Trunks);
    let told = *changes.wait_for(|told| *told >= 1).await.unwrap();
    server.stop();
    // Whoever waits is told, in a bounded time, that it may do later.
    let error = store.start_call(call(&store)).await.unwrap_err();
    assert!(error.is_transient(), "{error:?}");
    let error = store.call(&begun.tenant_id, &begun.id).await.unwrap_err();
    assert!(error.is_transient(), "{error:?}");
    let waiting = {
        let (store, completion) = (store.clone(), end(&begun));
        tokio::spawn(async move { store.complete_call_at_last(completion).await })
    };
    server.come_back();
    assert!(waiting.await.unwrap().unwrap().first);
    for start in [&accepted, &begun] {
        let events = store.call_events(&start.tenant_id, &start.id).await.unwrap();
        assert_eq!(events.iter().filter(|event| event.kind == "call.completed").count(), 1);
    }
    store.check().await.unwrap();
    // What others have changed meanwhile is read again.
    changes.wait_for(|now| *now > told).await.unwrap();
}

#[tokio::test]
async fn what_keeps_a_server_from_being_used_is_told_without_its_password() {
    let server = callbox_test_postgres::shared();
    let folder = tempfile::tempdir().unwrap();
    let error = Store::open(&server.url("nobody_made_this"), folder.path()).await.unwrap_err();
    assert!(matches!(error, StoreError::BadUrl { .. }), "{error:?}");
    let nobody = "postgres://callbox:hunter2@127.0.0.1:1/x?sslmode=disable";
    let error = Store::open(nobody, folder.path()).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)) && !format!("{error:?}").contains("hunter2"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_that_start_at_once_make_one_schema_one_tenant_and_one_key() {
    let server = callbox_test_postgres::shared();
    server.run("CREATE DATABASE at_once");
    let folder = tempfile::tempdir().unwrap();
    let open = || {
        let (url, path) = (server.url("at_once"), folder.path().to_owned());
        tokio::spawn(async move {
            let store = Store::open(&url, &path).await.unwrap();
            (store.default_tenant().clone(), store.bootstrap_key().await.unwrap().is_some())
        })
    };
    let (a, b, c) = tokio::join!(open(), open(), open());
    let all = [a.unwrap(), b.unwrap(), c.unwrap()];
    assert!(all.iter().all(|(tenant, _)| *tenant == all[0].0));
    assert_eq!(all.iter().filter(|(_, made)| *made).count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hosts_that_close_the_same_call_close_it_once() {
    let house = House::new().await;
    let other = house.another().await;
    for _ in 0..20 {
        let start = house.call();
        house.store.start_call(start.clone()).await.unwrap();
        let close = |store: &Store| {
            let (store, completion) = (store.clone(), end(&start));
            tokio::spawn(async move { store.complete_call(completion).await.unwrap().first })
        };
        let (a, b, c) = tokio::join!(close(&house.store), close(&other), close(&other));
        let first = [a.unwrap(), b.unwrap(), c.unwrap()].into_iter().filter(|first| *first).count();
        assert_eq!(first, 1);
        assert_eq!(house.store.call_events(&house.tenant(), &start.id).await.unwrap().len(), 1);
    }
}
