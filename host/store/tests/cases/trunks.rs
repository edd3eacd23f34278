//! Trunks and SIP accounts: kept apart by tenant, their secrets apart from them, and told of when they change.

use crate::fixture::{Database, House, number, who};
use callbox_store::revisions::Topic;
use callbox_store::sip_accounts::NewSipAccount;
use callbox_store::{PageRequest, StoreError};
use callbox_trunk::TrunkSettings;
use callbox_trunk::settings::Password;
use serde_json::{Value, json};

fn trunk(name: &str, more: Value) -> TrunkSettings {
    let mut document = json!({ "name": name, "addresses": [{ "host": "sip.carrier.example" }] });
    document.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(document).unwrap()
}

fn account(username: &str, password: Option<&str>) -> NewSipAccount {
    NewSipAccount {
        username: username.to_owned(),
        password: password.map(|text| Password::new(text.to_owned())),
        display_name: None,
        caller_id: None,
        enabled: true,
    }
}

fn credentials(password: Option<&str>) -> Value {
    json!({ "credentials": { "username": "u", "password": password } })
}

#[tokio::test]
async fn a_trunk_keeps_its_password_until_another_is_given() {
    let house = House::new().await;
    let (store, t) = (&house.store, house.tenant());
    let missing = store.create_trunk(&t, trunk("a", credentials(None)), &who()).await.unwrap_err();
    let StoreError::Invalid(errors) = missing else { panic!("{missing}") };
    assert_eq!(errors[0].path, "credentials.password");
    let made = store.create_trunk(&t, trunk("a", credentials(Some("one 5ecret"))), &who()).await.unwrap();
    let password = async || {
        let mut all = store.trunks_in_service().await.unwrap();
        assert_eq!((all.len(), &all[0].tenant_id), (1, &t));
        all.remove(0).password.map(|password| password.expose().to_owned())
    };
    assert_eq!(password().await.as_deref(), Some("one 5ecret"));
    for text in [serde_json::to_string(&made).unwrap(), format!("{:?}", store.trunks_in_service().await.unwrap())] {
        assert!(!text.contains("5ecret"), "{text}");
    }
    store.update_trunk(&t, &made.id, trunk("b", credentials(None)), &who()).await.unwrap();
    assert_eq!(password().await.as_deref(), Some("one 5ecret"));
    store.update_trunk(&t, &made.id, trunk("b", credentials(Some("two"))), &who()).await.unwrap();
    assert_eq!(password().await.as_deref(), Some("two"));
    store.update_trunk(&t, &made.id, trunk("b", json!({})), &who()).await.unwrap();
    assert_eq!(password().await, None);
    let again = store.update_trunk(&t, &made.id, trunk("b", credentials(None)), &who()).await.unwrap_err();
    assert_eq!(again.code(), "invalid_input", "the one before is gone");
    store.update_trunk(&t, &made.id, trunk("b", json!({ "enabled": false })), &who()).await.unwrap();
    assert!(store.trunks_in_service().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_trunk_that_is_wrong_is_refused_with_all_that_is_wrong() {
    let house = House::new().await;
    let (store, t) = (&house.store, house.tenant());
    let wrong = trunk("a", json!({ "addresses": [{ "host": "a b", "port": 0 }], "failover_statuses": [603] }));
    let StoreError::Invalid(errors) = store.create_trunk(&t, wrong, &who()).await.unwrap_err() else { panic!() };
    let paths: Vec<&str> = errors.iter().map(|error| error.path.as_str()).collect();
    assert_eq!(paths, ["addresses[0].host", "addresses[0].port", "failover_statuses[0]"]);
    store.create_trunk(&t, trunk("a", json!({})), &who()).await.unwrap();
    let twice = store.create_trunk(&t, trunk("a", json!({})), &who()).await.unwrap_err();
    assert_eq!(twice.code(), "name_taken");
}

#[tokio::test]
async fn a_trunk_that_a_number_names_stays() {
    let house = House::new().await;
    let (store, t) = (&house.store, house.tenant());
    let made = store.create_trunk(&t, trunk("a", json!({})), &who()).await.unwrap();
    let mut new = number("100", None);
    new.trunk_id = Some(made.id.clone());
    let named = store.create_number(&t, new.clone(), &who()).await.unwrap();
    assert_eq!(named.trunk_id.as_ref(), Some(&made.id));
    assert_eq!(store.delete_trunk(&t, &made.id, &who()).await.unwrap_err().code(), "in_use");
    new.trunk_id = None;
    store.update_number(&t, &named.id, new, &who()).await.unwrap();
    store.delete_trunk(&t, &made.id, &who()).await.unwrap();
    assert_eq!(store.trunk(&t, &made.id).await.unwrap_err().code(), "not_found");
}

#[tokio::test]
async fn a_change_is_told_here_and_counted_for_others() {
    let house = House::new().await;
    let (store, t) = (&house.store, house.tenant());
    let (mut trunks, mut accounts) = (store.changes(Topic::Trunks), store.changes(Topic::SipAccounts));
    let before = store.revision(Topic::Trunks).await.unwrap();
    let made = store.create_trunk(&t, trunk("a", json!({})), &who()).await.unwrap();
    assert!(trunks.has_changed().unwrap());
    trunks.mark_unchanged();
    store.create_trunk(&t, trunk("a", json!({})), &who()).await.unwrap_err();
    if crate::IN == Database::Sqlite {
        // A server tells of changes of others, and to be sure when it begins.
        assert!(!trunks.has_changed().unwrap(), "nothing was changed");
        assert!(!accounts.has_changed().unwrap());
    }
    store.update_trunk(&t, &made.id, trunk("b", json!({})), &who()).await.unwrap();
    store.delete_trunk(&t, &made.id, &who()).await.unwrap();
    assert_eq!(store.revision(Topic::Trunks).await.unwrap(), before + 3);
    accounts.mark_unchanged();
    store.create_sip_account(&t, account("ada", Some("12345678")), "r", &who()).await.unwrap();
    assert!(accounts.has_changed().unwrap());
    accounts.mark_unchanged();
}

#[tokio::test]
async fn an_account_signs_in_at_the_realm_its_password_was_given_for() {
    let house = House::new().await;
    let (store, t) = (&house.store, house.tenant());
    let no_password = store.create_sip_account(&t, account("ada", None), "r", &who()).await.unwrap_err();
    assert_eq!(no_password.code(), "invalid_input");
    let ada = store.create_sip_account(&t, account("ada", Some("my 5ecret word")), "r", &who()).await.unwrap();
    let taken = store.create_sip_account(&t, account("ada", Some("12345678")), "r", &who()).await.unwrap_err();
    assert_eq!(taken.code(), "username_taken");
    let found = store.digest_account("ada", "r").await.unwrap().unwrap();
    assert_eq!((&found.account, &found.tenant_id), (&ada, &t));
    assert_eq!((found.ha1_md5.expose().len(), found.ha1_sha256.expose().len()), (32, 64));
    assert!(!format!("{found:?}").contains("5ecret"));
    assert_eq!(store.digest_account("ada", "other").await.unwrap(), None);
    assert_eq!(store.digest_account("Ada", "r").await.unwrap(), None);

    // The host has another realm now: what does not touch the password does not touch the realm either.
    let renamed = NewSipAccount { display_name: Some("Ada".into()), ..account("ada", None) };
    let kept = store.update_sip_account(&t, &ada.id, renamed, "other", &who()).await.unwrap();
    assert_eq!((kept.realm.as_str(), kept.display_name.as_deref()), ("r", Some("Ada")));
    let moved = store.update_sip_account(&t, &ada.id, account("eve", None), "r", &who()).await.unwrap_err();
    assert_eq!(moved.code(), "invalid_input", "the hashes are for the old name");
    let again = account("ada", Some("my 5ecret word"));
    store.update_sip_account(&t, &ada.id, again, "other", &who()).await.unwrap();
    assert!(store.digest_account("ada", "other").await.unwrap().is_some());
    assert_eq!(store.digest_account("ada", "r").await.unwrap(), None);

    let off = NewSipAccount { enabled: false, ..account("ada", None) };
    store.update_sip_account(&t, &ada.id, off, "other", &who()).await.unwrap();
    assert_eq!(store.digest_account("ada", "other").await.unwrap(), None);
    store.delete_sip_account(&t, &ada.id, &who()).await.unwrap();
    assert_eq!(store.sip_account(&t, &ada.id).await.unwrap_err().code(), "not_found");
}

#[tokio::test]
async fn a_trunk_event_is_written_for_whoever_wants_it() {
    let house = House::new().await;
    let (store, t) = (&house.store, house.tenant());
    let data = json!({ "trunk_id": "trk_1" });
    assert_eq!(store.emit_event(&t, "trunk.down", &data).await.unwrap(), None);
    house.webhook(&["trunk.down"]).await;
    assert!(store.emit_event(&t, "trunk.down", &data).await.unwrap().is_some());
    assert_eq!(store.emit_event(&t, "trunk.up", &data).await.unwrap(), None);
    let deliveries = store.deliveries(&t, &Default::default(), &PageRequest::default()).await.unwrap().data;
    assert_eq!(deliveries.len(), 1);
}
