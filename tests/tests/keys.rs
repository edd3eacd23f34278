//! Keys on the host itself: an API key made beside a running host, secrets sealed anew under it, a start with a wrong key.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use callbox_tests::{Host, Options, peer};
use reqwest::Method;
use serde_json::json;
use std::path::Path;

/// Runs `callbox keys …` on this data, and what it says.
async fn keys(command: &[&str], data: &Path) -> String {
    let data = ["--data-dir", data.to_str().unwrap()];
    let output = peer::callbox(&[&["keys"], command, &data].concat(), &[]).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[tokio::test]
async fn keys_are_made_and_secrets_sealed_anew_while_the_host_runs() {
    let mut host = Host::start().await;
    let trunk = json!({
        "name": "pbx", "addresses": [{ "host": "192.0.2.9" }], "health": { "options_interval_s": 0 },
        "credentials": { "username": "u", "password": "trunk-password-7731" },
    });
    let trunk = host.post("/v1/trunks", &trunk).await["id"].as_str().unwrap().to_owned();
    let before = std::fs::read_to_string(host.data.join("store.key")).unwrap();
    let said = keys(&["rotate"], &host.data).await;
    assert!(said.starts_with("1 secrets are sealed with the key "), "{said}");
    let after = std::fs::read_to_string(host.data.join("store.key")).unwrap();
    assert!(after != before && after.contains(before.lines().last().unwrap()), "the old one still opens");
    // The host reads with the new key, and writes with it.
    host.ok(Method::PATCH, &format!("/v1/trunks/{trunk}"), Some(&json!({ "name": "other" }))).await;
    host.post("/v1/webhooks", &json!({ "url": "https://results.example/in" })).await;
    let said = keys(&["rotate"], &host.data).await;
    assert!(said.starts_with("2 secrets are sealed with the key "), "{said}");
    host.key = keys(&["make", "--scopes", "audit_log:read"], &host.data).await;
    let log = host.get("/v1/audit_log?action=key.created&actor=system").await;
    assert_eq!(log["data"].as_array().unwrap().len(), 2, "the first one, and this one: {log}");
    assert!(!host.log().contains("trunk-password-7731"));

    // Another host with another key says so, and changes nothing.
    let key = peer::callbox(&["keys", "new"], &[]).await;
    let key = String::from_utf8(key.stdout).unwrap().trim().to_owned();
    let data = host.data.to_str().unwrap().to_owned();
    let serve = ["serve", "--data-dir", &data, "--http", "127.0.0.1:0", "--sip", "127.0.0.1:0"];
    let refused = peer::callbox(&serve, &[("CALLBOX_STORE__KEY", &key)]).await;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    let words = said.split_whitespace().filter(|word| *word != "│").collect::<Vec<_>>().join(" ");
    assert!(!refused.status.success() && words.contains("are sealed with the key"), "{said}");
    assert!(!said.contains(&key), "{said}");
    let wrong = peer::callbox(&serve, &[("CALLBOX_STORE__KEY", "hunter2")]).await;
    let said = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(!wrong.status.success() && said.contains("not a sealing key") && !said.contains("hunter2"), "{said}");
    host.get("/v1/audit_log").await;
}

#[tokio::test]
async fn a_key_from_the_environment_is_replaced_by_another_one() {
    let folder = tempfile::tempdir().unwrap();
    let fresh = async || {
        let made = peer::callbox(&["keys", "new"], &[]).await;
        String::from_utf8(made.stdout).unwrap().trim().to_owned()
    };
    let (old, new) = (fresh().await, fresh().await);
    let start = async |key: Option<String>, env: Vec<(&'static str, String)>| {
        Host::start_with(Options { data: Some(folder.path().to_owned()), key, env, ..Options::default() }).await
    };
    let host = start(None, vec![("CALLBOX_STORE__KEY", old.clone())]).await;
    host.post("/v1/webhooks", &json!({ "url": "https://results.example/in" })).await;
    assert!(!host.data.join("store.key").exists());
    let api_key = host.key.clone();
    host.stop().await;
    let both = vec![("CALLBOX_STORE__KEY", new.clone()), ("CALLBOX_STORE__PREVIOUS_KEYS", format!("[\"{old}\"]"))];
    let host = start(Some(api_key.clone()), both.clone()).await;
    let env: Vec<(&str, &str)> = both.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let data = folder.path().to_str().unwrap();
    let rotated = peer::callbox(&["keys", "rotate", "--data-dir", data], &env).await;
    assert!(rotated.status.success(), "{}", String::from_utf8_lossy(&rotated.stderr));
    host.get("/v1/tenant").await;
    host.stop().await;
    start(Some(api_key), vec![("CALLBOX_STORE__KEY", new)]).await.get("/v1/tenant").await;
}
