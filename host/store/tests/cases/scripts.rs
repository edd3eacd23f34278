//! Scripts, versions, bindings, numbers and the route from a number to a script.

use crate::fixture::{House, number, who};
use callbox_store::audit::AuditFilter;
use callbox_store::routing::Routing;
use callbox_store::scripts::{NewScript, PublicationAction};
use callbox_store::{Page, PageRequest, StoreError, TenantId};
use serde_json::json;

const BINDINGS: &str = r#"{
    "sources": {"appointment": {"url": "https://crm.example/appointment", "timeout_ms": 1500, "on_failure": "fallback",
        "headers": {"Authorization": "Bearer ${token}"}}},
    "destinations": {"outcome": {"url": "https://crm.example/outcome", "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}},
    "settings": {"language": "en"},
    "secrets": {"token": "s3cr3t"}
}"#;

fn manifest() -> serde_json::Value {
    json!({
        "name": "appointment", "languages": ["en", "cmn"], "headers": ["x-customer"],
        "sources": {"appointment": {"prefetch": true, "description": "what is booked"}},
        "destinations": {"outcome": {"description": "what came of it"}},
        "settings": {"language": {"description": "…"}, "greeting": {"default": "Hello", "description": "…"}},
        "secrets": ["token"],
    })
}

#[tokio::test]
async fn the_same_component_is_one_version() {
    let house = House::new().await;
    let script = house.script("appointment").await;
    assert_eq!(house.version(&script, "one", json!({})).await, 1);
    assert_eq!(house.version(&script, "two", json!({})).await, 2);
    assert_eq!(house.version(&script, "one", json!({})).await, 1);
    let all = house.store.versions(&house.tenant(), &script.id, &PageRequest::default()).await.unwrap();
    assert_eq!(all.data.iter().map(|v| v.version).collect::<Vec<_>>(), [2, 1]);
    let other = house.script("other").await;
    assert_eq!(house.version(&other, "one", json!({})).await, 1);
    assert_eq!(house.store.blob(&all.data[1].digest).await.unwrap(), b"one");
}

#[tokio::test]
async fn a_version_waits_for_its_names() {
    let house = House::new().await;
    let (store, tenant) = (&house.store, house.tenant());
    let script = house.script("appointment").await;
    let version = house.version(&script, "one", manifest()).await;
    let names = ["source appointment", "destination outcome", "setting language", "secret token"];
    assert_eq!(store.unbound(&tenant, &script.id, version).await.unwrap(), names);
    let refused = store.publish(&tenant, &script.id, version, &who()).await.unwrap_err();
    assert_eq!(refused, StoreError::Unbound(names.map(str::to_owned).to_vec()));

    let stored = house.bind(&script, BINDINGS).await;
    assert_eq!(stored.generated.keys().collect::<Vec<_>>(), ["source:appointment"]);
    store.publish(&tenant, &script.id, version, &who()).await.unwrap();
    assert_eq!(store.script(&tenant, &script.id).await.unwrap().published_version, Some(1));

    let without = callbox_store::bindings::parse(b"{}").unwrap();
    let refused = store.put_bindings(&tenant, &script.id, without, &who()).await.unwrap_err();
    assert_eq!(refused.code(), "binding_in_use");
}

#[tokio::test]
async fn secrets_go_in_and_only_come_out_where_they_are_asked_for() {
    let house = House::new().await;
    let (store, tenant) = (&house.store, house.tenant());
    let script = house.script("appointment").await;
    let first = house.bind(&script, BINDINGS).await;
    let shown =
        format!("{:?} {}", first, serde_json::to_string(&store.bindings(&tenant, &script.id).await.unwrap()).unwrap());
    assert!(!shown.contains("s3cr3t") && !shown.contains("MfKQ9r8"), "{shown}");

    let credentials = store.source_credentials(&tenant, &script.id, "appointment").await.unwrap();
    assert_eq!(credentials.headers.len(), 1);
    assert_eq!(credentials.headers[0].1.expose(), "Bearer s3cr3t");
    assert_eq!(credentials.signing, [first.generated["source:appointment"].clone()]);

    // Again, without any secret: all keep their values, nothing is generated.
    let again = house
        .bind(
            &script,
            r#"{"sources": {"appointment": {"url": "https://crm.example/v2", "headers": {"authorization": null}}},
                "destinations": {"outcome": {"url": "https://crm.example/outcome"}},
                "settings": {"language": "en"}, "secrets": {"token": null}}"#,
        )
        .await;
    assert!(again.generated.is_empty());
    let kept = store.source_credentials(&tenant, &script.id, "appointment").await.unwrap();
    assert_eq!(kept.headers[0].1.expose(), "Bearer s3cr3t");
    let push = store.destination_credentials(&tenant, &script.id, "outcome").await.unwrap();
    assert_eq!(push.signing[0].expose(), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");

    // Another tenant sees nothing of it.
    let other = TenantId("ten_other".to_owned());
    assert_eq!(store.bindings(&other, &script.id).await.unwrap_err().code(), "not_found");
    assert!(store.source_credentials(&other, &script.id, "appointment").await.unwrap().signing.is_empty());

    // What is no longer named is gone.
    house.bind(&script, "{}").await;
    assert!(store.source_credentials(&tenant, &script.id, "appointment").await.unwrap().headers.is_empty());
}

#[tokio::test]
async fn rolling_back_goes_back_step_by_step() {
    let house = House::new().await;
    let (store, tenant) = (&house.store, house.tenant());
    let script = house.script("s").await;
    for content in ["one", "two", "three"] {
        let version = house.version(&script, content, json!({})).await;
        store.publish(&tenant, &script.id, version, &who()).await.unwrap();
    }
    let mut live = Vec::new();
    for _ in 0..2 {
        live.push(store.rollback(&tenant, &script.id, &who()).await.unwrap().version);
    }
    assert_eq!(live, [2, 1]);
    assert_eq!(store.rollback(&tenant, &script.id, &who()).await.unwrap_err().code(), "nothing_to_roll_back");
    store.publish(&tenant, &script.id, 3, &who()).await.unwrap();
    store.publish(&tenant, &script.id, 3, &who()).await.unwrap();
    assert_eq!(store.rollback(&tenant, &script.id, &who()).await.unwrap().version, 1);
    let history = store.publications(&tenant, &script.id, &PageRequest::default()).await.unwrap();
    assert_eq!(history.data.iter().map(|p| p.version).collect::<Vec<_>>(), [1, 3, 1, 2, 3, 2, 1]);
    assert_eq!(history.data[0].action, PublicationAction::Rollback);
    let log = store.audit_log(&tenant, &AuditFilter::default(), &PageRequest::default()).await.unwrap();
    assert_eq!(log.data.iter().filter(|e| e.action == "script.rolled_back").count(), 3);
    assert_eq!(log.data.iter().filter(|e| e.action == "script.published").count(), 4);
}

#[tokio::test]
async fn a_number_leads_to_everything_a_call_needs() {
    let house = House::new().await;
    let (store, tenant) = (&house.store, house.tenant());
    assert_eq!(store.route("+4930123").await.unwrap(), Routing::Unknown);
    let script = house.script("appointment").await;
    let made = store.create_number(&tenant, number("+49 30 123", Some(&script)), &who()).await.unwrap();
    assert_eq!(made.address, "+4930123");
    assert!(matches!(store.route("4930123").await.unwrap(), Routing::Closed { why: "not_published", .. }));

    let version = house.version(&script, "one", manifest()).await;
    house.bind(&script, BINDINGS).await;
    store.publish(&tenant, &script.id, version, &who()).await.unwrap();
    for user in ["4930123", "+4930123", "+4930123;phone-context=x"] {
        let Routing::Ready(route) = store.route(user).await.unwrap() else { panic!("{user}") };
        assert_eq!((route.version, route.language.as_str()), (1, "en"));
        assert_eq!(route.number_id.as_deref(), Some(made.id.as_str()));
        assert!(route.sources()["appointment"].prefetch);
        assert_eq!(route.sources()["appointment"].timeout, 1_500);
        assert_eq!(route.destinations(), ["outcome"]);
        assert_eq!(route.settings()["greeting"], "Hello");
        assert_eq!(store.blob(&route.digest).await.unwrap(), b"one");
    }

    // Pinned to the first while the second is live.
    let second = house.version(&script, "two", manifest()).await;
    store.publish(&tenant, &script.id, second, &who()).await.unwrap();
    let mut pinned = number("+4930123", Some(&script));
    pinned.pinned_version = Some(1);
    store.update_number(&tenant, &made.id, pinned.clone(), &who()).await.unwrap();
    let Routing::Ready(route) = store.route("4930123").await.unwrap() else { panic!() };
    assert_eq!(route.version, 1);
    assert_eq!(store.route_script(&tenant, &script.id, None).await.unwrap().version, 2);
    assert_eq!(store.route_script(&tenant, &script.id, Some(9)).await.unwrap_err().code(), "not_found");

    pinned.enabled = false;
    store.update_number(&tenant, &made.id, pinned, &who()).await.unwrap();
    assert!(matches!(store.route("4930123").await.unwrap(), Routing::Closed { why: "disabled", .. }));
    assert_eq!(store.delete_script(&tenant, &script.id, &who()).await.unwrap_err().code(), "in_use");
}

#[tokio::test]
async fn addresses_are_unique_and_users_keep_their_case() {
    let house = House::new().await;
    let (store, tenant) = (&house.store, house.tenant());
    store.create_number(&tenant, number("+4930123", None), &who()).await.unwrap();
    let taken = store.create_number(&tenant, number("4930123", None), &who()).await.unwrap_err();
    assert_eq!(taken.code(), "address_taken");
    store.create_number(&tenant, number("Alice", None), &who()).await.unwrap();
    store.create_number(&tenant, number("alice", None), &who()).await.unwrap();
    assert!(matches!(store.route("alice").await.unwrap(), Routing::Closed { why: "no_script", .. }));
    assert_eq!(store.route("ALICE").await.unwrap(), Routing::Unknown);
}

#[tokio::test]
async fn lists_come_in_pages() {
    let house = House::new().await;
    let (store, tenant) = (&house.store, house.tenant());
    for n in 0..7 {
        house.script(&format!("s{n}")).await;
    }
    let mut request = PageRequest { cursor: None, limit: Some(3) };
    let mut seen = Vec::new();
    loop {
        let page: Page<_> = store.scripts(&tenant, &request).await.unwrap();
        assert_eq!(page.has_more, page.next_cursor.is_some());
        seen.extend(page.data.into_iter().map(|s| s.name));
        request.cursor = page.next_cursor;
        if request.cursor.is_none() {
            break;
        }
    }
    assert_eq!(seen, ["s6", "s5", "s4", "s3", "s2", "s1", "s0"]);
    request.cursor = Some("scr_' OR 1=1".to_owned());
    assert_eq!(store.scripts(&tenant, &request).await.unwrap_err(), StoreError::InvalidCursor);
    let again = NewScript { name: "s1".to_owned(), description: None };
    assert_eq!(store.create_script(&tenant, again, &who()).await.unwrap_err().code(), "name_taken");
}
