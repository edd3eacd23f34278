//! Secrets at rest: sealed in the database, opened by the right key alone, sealed anew while others use them.

use crate::fixture::{House, T0, who};
use callbox_store::objects::Objects;
use callbox_store::sip_accounts::NewSipAccount;
use callbox_store::{KeySource, SealingKey, Store, StoreError, StoreOptions};
use callbox_trunk::settings::Password;
use std::os::unix::fs::PermissionsExt as _;

/// Kinds of secrets, each with a text that is nowhere else.
const BOUND: &str = "bound-secret-5417";
const HEADER: &str = "header-secret-2290";
const PASSWORD: &str = "trunk-password-8846";

struct Kept {
    script: String,
    webhook: String,
    signing: String,
}

/// One secret of every kind.
async fn keep(house: &House) -> Kept {
    let (store, tenant) = (&house.store, house.tenant());
    let script = house.script("s").await;
    let manifest = serde_json::json!({
        "sources": { "crm": {} }, "destinations": { "out": {} }, "secrets": ["token"],
    });
    house.version(&script, "one", manifest).await;
    let bindings = format!(
        r#"{{"sources": {{"crm": {{"url": "https://crm.example/", "headers": {{"x-key": "{HEADER}"}}}}}},
             "destinations": {{"out": {{"url": "https://out.example/"}}}}, "secrets": {{"token": "{BOUND}"}}}}"#
    );
    house.bind(&script, &bindings).await;
    let issued = house.webhook(&[]).await;
    let trunk = serde_json::json!({ "name": "a", "credentials": { "username": "u", "password": PASSWORD } });
    store.create_trunk(&tenant, serde_json::from_value(trunk).unwrap(), &who()).await.unwrap();
    let phone = NewSipAccount {
        username: "ada".to_owned(),
        password: Some(Password::new("12345678".to_owned())),
        display_name: None,
        caller_id: None,
        enabled: true,
    };
    store.create_sip_account(&tenant, phone, "r", &who()).await.unwrap();
    Kept { script: script.id, webhook: issued.webhook.id, signing: issued.secret.expose().to_owned() }
}

/// All of them, opened.
async fn opened(store: &Store, kept: &Kept) -> Vec<String> {
    let tenant = store.default_tenant().clone();
    let source = store.source_credentials(&tenant, &kept.script, "crm").await.unwrap();
    let destination = store.destination_credentials(&tenant, &kept.script, "out").await.unwrap();
    let trunks = store.trunks_in_service().await.unwrap();
    let account = store.digest_account("ada", "r").await.unwrap().unwrap();
    let signing = store.webhook_secret(&tenant, &kept.webhook).await.unwrap();
    let first = |all: &[callbox_store::secrets::Secret]| all[0].expose().to_owned();
    vec![
        first(&source.signing),
        source.headers[0].1.expose().to_owned(),
        first(&destination.signing),
        trunks[0].password.as_ref().unwrap().expose().to_owned(),
        account.ha1_md5.expose().to_owned(),
        account.ha1_sha256.expose().to_owned(),
        signing.expose().to_owned(),
    ]
}

async fn open(house: &House, keys: KeySource) -> Result<Store, StoreError> {
    let options = StoreOptions { keys: Some(keys), connections: 2, ..StoreOptions::default() };
    Store::open_with(&house.url, Objects::folder(&house.folder.path().join("artefacts")).unwrap(), options).await
}

/// The key in the house's file.
fn key_of(house: &House) -> SealingKey {
    let text = std::fs::read_to_string(house.folder.path().join("artefacts/store.key")).unwrap();
    SealingKey::parse(text.lines().find(|line| line.starts_with("cbs_")).unwrap()).unwrap()
}

#[tokio::test]
async fn no_secret_is_in_the_database_in_the_clear() {
    let house = House::new().await;
    let kept = keep(&house).await;
    let secrets = opened(&house.store, &kept).await;
    assert_eq!((secrets[1].as_str(), secrets[3].as_str()), (HEADER, PASSWORD));
    assert_eq!(secrets[6], kept.signing);
    house.store.rotate_webhook_secret(&house.tenant(), &kept.webhook, 60_000, &who()).await.unwrap();
    house.store.close().await;
    assert!(house.holds("sealed:1:").await && house.holds(&kept.webhook).await, "it is looked for where it would be");
    for secret in secrets.iter().map(String::as_str).chain([BOUND, "12345678"]) {
        // Nor without its prefix.
        let bare = secret.strip_prefix("whsec_").unwrap_or(secret);
        assert!(!house.holds(bare).await, "{bare} lies in the database");
    }
    let key = std::fs::metadata(house.folder.path().join("artefacts/store.key")).unwrap();
    assert_eq!(key.permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn a_database_of_before_is_sealed_at_the_next_start() {
    let house = House::new().await;
    let kept = keep(&house).await;
    house.store.close().await;
    // As an older version left it.
    let plain = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let before = "a-secret-of-before-1234";
    house.sql("DELETE FROM sealing").await;
    house.sql(&format!("DELETE FROM secrets WHERE owner <> '{}'", kept.webhook)).await;
    let until = T0.0 + 1_000;
    house.sql(&format!("UPDATE secrets SET value = '{plain}', previous = '{before}', previous_until = {until}")).await;
    assert!(house.holds(plain).await);
    let house = house.reopen().await;
    let tenant = house.tenant();
    assert_eq!(house.store.webhook_secret(&tenant, &kept.webhook).await.unwrap().expose(), plain);
    for gone in [plain, before] {
        assert!(!house.holds(gone).await, "{gone} lies in the database");
    }
}

#[tokio::test]
async fn a_wrong_key_is_said_at_the_start_and_destroys_nothing() {
    let house = House::new().await;
    let kept = keep(&house).await;
    let secrets = opened(&house.store, &kept).await;
    let other = SealingKey::generate().unwrap();
    let error = open(&house, KeySource::Given(vec![other.clone()])).await.unwrap_err();
    assert_eq!(error.code(), "store_key");
    let text = error.to_string();
    assert!(text.contains(other.id()) && text.contains("store.key"), "{text}");
    assert!(!text.contains(&other.text().expose()[4..]), "{text}");
    // Nor is a key file made for a database that has its key.
    let missing = house.folder.path().join("elsewhere.key");
    assert_eq!(open(&house, KeySource::File(missing.clone())).await.unwrap_err().code(), "store_key");
    assert!(!missing.exists());
    let again = open(&house, KeySource::Given(vec![key_of(&house)])).await.unwrap();
    assert_eq!(opened(&again, &kept).await, secrets);
    again.close().await;
}

#[tokio::test]
async fn everything_is_sealed_anew_while_another_host_runs() {
    let house = House::new().await;
    let kept = keep(&house).await;
    let other = house.another().await;
    let secrets = opened(&other, &kept).await;
    let rotated = house.store.rotate_sealing_key().await.unwrap();
    assert!(rotated.secrets >= 6 && rotated.key != rotated.before, "{rotated:?}");
    // The other one has never heard of it: it reads, and what it writes is sealed with the new key.
    assert_eq!(opened(&other, &kept).await, secrets);
    let fresh = other.rotate_webhook_secret(&house.tenant(), &kept.webhook, 60_000, &who()).await.unwrap();
    assert_eq!(house.store.webhook_secret(&house.tenant(), &kept.webhook).await.unwrap(), fresh);
    let again = house.store.rotate_sealing_key().await.unwrap();
    assert_eq!(again.before, rotated.key);
    assert!(opened(&other, &kept).await.contains(&fresh.expose().to_owned()));
    let file = std::fs::read_to_string(house.folder.path().join("artefacts/store.key")).unwrap();
    let keys = file.lines().filter(|line| line.starts_with("cbs_")).count();
    assert_eq!(keys, 2, "the first key opens nothing any more");
    other.close().await;
    house.store.close().await;
    assert!(!house.holds(fresh.expose()).await);
}

#[tokio::test]
async fn a_key_from_the_configuration_is_replaced_by_another_one() {
    let house = House::new().await;
    let kept = keep(&house).await;
    let secrets = opened(&house.store, &kept).await;
    house.store.close().await;
    let (old, new) = (key_of(&house), SealingKey::generate().unwrap());
    let given =
        async |keys: &[&SealingKey]| open(&house, KeySource::Given(keys.iter().copied().cloned().collect())).await;
    let alone = given(&[&old]).await.unwrap();
    assert_eq!(alone.rotate_sealing_key().await.unwrap_err().code(), "same_key");
    let both = given(&[&new, &old]).await.unwrap();
    let rotated = both.rotate_sealing_key().await.unwrap();
    assert_eq!((rotated.key.as_str(), rotated.before.as_str()), (new.id(), old.id()));
    let after = given(&[&new]).await.unwrap();
    assert_eq!(opened(&after, &kept).await, secrets);
    assert_eq!(given(&[&old]).await.unwrap_err().code(), "store_key");
    for store in [alone, both, after] {
        store.close().await;
    }
}
