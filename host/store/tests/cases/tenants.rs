//! A tenant's walls: everything another tenant has is not there.

use crate::fixture::{House, T0, end, number, who};
use callbox_store::audit::AuditFilter;
use callbox_store::calls::CallFilter;
use callbox_store::deliveries::DeliveryFilter;
use callbox_store::keys::{NewKey, Scopes};
use callbox_store::outbox::NewPush;
use callbox_store::scripts::NewScript;
use callbox_store::sip_accounts::NewSipAccount;
use callbox_store::webhooks::NewWebhook;
use callbox_store::{PageRequest, StoreError, bindings};
use callbox_trunk::settings::Password;

#[tokio::test]
async fn nothing_of_one_tenant_is_seen_or_changed_by_another() {
    let house = House::new().await;
    let (store, mine) = (&house.store, house.tenant());
    let theirs = store.create_tenant("theirs", &who()).await.unwrap().id;
    let script = house.script("s").await;
    house.version(&script, "one", serde_json::json!({})).await;
    house.version(&script, "two", serde_json::json!({})).await;
    store.publish(&mine, &script.id, 1, &who()).await.unwrap();
    store.publish(&mine, &script.id, 2, &who()).await.unwrap();
    let num = store.create_number(&mine, number("100", Some(&script)), &who()).await.unwrap();
    let hook = house.webhook(&[]).await.webhook;
    let new_key = || NewKey { name: "k".to_owned(), scopes: Scopes::admin(), expires_at: None };
    let key = store.create_key(&mine, new_key(), &who()).await.unwrap().key;
    let trunk: callbox_trunk::TrunkSettings = serde_json::from_value(serde_json::json!({ "name": "a" })).unwrap();
    let trk = store.create_trunk(&mine, trunk.clone(), &who()).await.unwrap();
    let phone = || NewSipAccount {
        username: "ada".to_owned(),
        password: Some(Password::new("12345678".to_owned())),
        display_name: None,
        caller_id: None,
        enabled: true,
    };
    let acc = store.create_sip_account(&mine, phone(), "r", &who()).await.unwrap();
    let start = house.call();
    store.start_call(start.clone()).await.unwrap();
    store.complete_call(end(&start)).await.unwrap();
    let page = PageRequest::default();
    let delivery = store.deliveries(&mine, &DeliveryFilter::default(), &page).await.unwrap().data.remove(0);

    // Lists are empty.
    assert!(store.scripts(&theirs, &page).await.unwrap().data.is_empty());
    assert!(store.script_by_name(&theirs, "s").await.unwrap().is_none());
    assert!(store.numbers(&theirs, &page).await.unwrap().data.is_empty());
    assert!(store.trunks(&theirs, &page).await.unwrap().data.is_empty());
    assert!(store.sip_accounts(&theirs, &page).await.unwrap().data.is_empty());
    assert!(store.sip_account_named(&theirs, "ada").await.unwrap().is_none());
    assert!(store.webhooks(&theirs, &page).await.unwrap().data.is_empty());
    assert!(store.keys(&theirs, &page).await.unwrap().data.is_empty());
    assert!(store.calls(&theirs, &CallFilter::default(), &page).await.unwrap().data.is_empty());
    assert!(store.deliveries(&theirs, &DeliveryFilter::default(), &page).await.unwrap().data.is_empty());
    assert!(store.recordings(&theirs, &start.id).await.unwrap().is_empty());
    assert!(store.call_events(&theirs, &start.id).await.unwrap().is_empty());
    assert_eq!(store.active_calls(&theirs).await.unwrap(), 0);
    let log = store.audit_log(&theirs, &AuditFilter::default(), &page).await.unwrap().data;
    assert_eq!(log.iter().map(|e| e.action.as_str()).collect::<Vec<_>>(), ["tenant.created"]);

    // Reads and changes find nothing.
    let hook_change = || NewWebhook {
        url: "https://evil.example/".to_owned(),
        description: None,
        event_types: hook.event_types.clone(),
        enabled: true,
    };
    let script_change = || NewScript { name: "evil".to_owned(), description: None };
    let none = bindings::parse(b"{}").unwrap();
    let push = NewPush {
        tenant_id: theirs.clone(),
        call_id: start.id.clone(),
        script_id: script.id.clone(),
        push_seq: 1,
        event_id: None,
        destination: "d".to_owned(),
        body: "1".to_owned(),
    };
    let (s, n, h, c, who) = (&script.id, &num.id, &hook.id, &start.id, who());
    let refused: Vec<(&str, Option<StoreError>)> = vec![
        ("script", store.script(&theirs, s).await.err()),
        ("update_script", store.update_script(&theirs, s, script_change(), &who).await.err()),
        ("delete_script", store.delete_script(&theirs, s, &who).await.err()),
        ("versions", store.versions(&theirs, s, &page).await.err()),
        ("version", store.version(&theirs, s, 1).await.err()),
        ("unbound", store.unbound(&theirs, s, 1).await.err()),
        ("publish", store.publish(&theirs, s, 1, &who).await.err()),
        ("rollback", store.rollback(&theirs, s, &who).await.err()),
        ("publications", store.publications(&theirs, s, &page).await.err()),
        ("bindings", store.bindings(&theirs, s).await.err()),
        ("put_bindings", store.put_bindings(&theirs, s, none, &who).await.err()),
        ("number", store.number(&theirs, n).await.err()),
        ("update_number", store.update_number(&theirs, n, number("100", None), &who).await.err()),
        ("delete_number", store.delete_number(&theirs, n, &who).await.err()),
        ("route_number", store.route_number(&theirs, n).await.err()),
        ("route_script", store.route_script(&theirs, s, None).await.err()),
        ("trunk", store.trunk(&theirs, &trk.id).await.err()),
        ("update_trunk", store.update_trunk(&theirs, &trk.id, trunk.clone(), &who).await.err()),
        ("delete_trunk", store.delete_trunk(&theirs, &trk.id, &who).await.err()),
        ("sip_account", store.sip_account(&theirs, &acc.id).await.err()),
        ("update_sip_account", store.update_sip_account(&theirs, &acc.id, phone(), "r", &who).await.err()),
        ("delete_sip_account", store.delete_sip_account(&theirs, &acc.id, &who).await.err()),
        ("webhook", store.webhook(&theirs, h).await.err()),
        ("webhook_secret", store.webhook_secret(&theirs, h).await.err()),
        ("update_webhook", store.update_webhook(&theirs, h, hook_change(), &who).await.err()),
        ("rotate", store.rotate_webhook_secret(&theirs, h, 0, &who).await.err()),
        ("delete_webhook", store.delete_webhook(&theirs, h, &who).await.err()),
        ("replay", store.replay(&theirs, h, T0, T0.plus(1)).await.err()),
        ("key", store.key(&theirs, &key.id).await.err()),
        ("rotate_key", store.rotate_key(&theirs, &key.id, 0, &who).await.err()),
        ("revoke_key", store.revoke_key(&theirs, &key.id, &who).await.err()),
        ("call", store.call(&theirs, c).await.err()),
        ("timeline", store.timeline(&theirs, c).await.err()),
        ("transcript", store.transcript(&theirs, c).await.err()),
        ("tape", store.tape(&theirs, c).await.err()),
        ("recording", store.recording(&theirs, "rec_1").await.err()),
        ("delivery", store.delivery(&theirs, &delivery.id).await.err()),
        ("redeliver", store.redeliver(&theirs, &delivery.id).await.err()),
        ("push", store.enqueue_push(push).await.err()),
    ];
    for (what, error) in refused {
        assert_eq!(error.map(|e| e.code()), Some("not_found"), "{what}");
    }
    // A number of theirs cannot answer with a script of mine.
    let stolen = store.create_number(&theirs, number("200", Some(&script)), &who).await.unwrap_err();
    assert_eq!(stolen.code(), "invalid_input");

    // Nor can it go out by a trunk of mine.
    let mut by_mine = number("201", None);
    by_mine.trunk_id = Some(trk.id.clone());
    assert_eq!(store.create_number(&theirs, by_mine, &who).await.unwrap_err().code(), "invalid_input");

    // And mine is as it was.
    assert_eq!(store.script(&mine, s).await.unwrap().published_version, Some(2));
    assert_eq!(store.number(&mine, n).await.unwrap(), num);
    assert_eq!(store.trunk(&mine, &trk.id).await.unwrap(), trk);
    assert_eq!(store.sip_account(&mine, &acc.id).await.unwrap(), acc);
    assert_eq!(store.webhook(&mine, h).await.unwrap(), hook);
    assert_eq!(store.key(&mine, &key.id).await.unwrap().revoked_at, None);
    assert_eq!(store.call_events(&mine, c).await.unwrap().len(), 2);
    assert_eq!(store.delivery(&mine, &delivery.id).await.unwrap().delivery, delivery);
}
