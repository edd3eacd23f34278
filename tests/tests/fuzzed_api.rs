//! The API as its own document describes it, asked by Schemathesis: what it generates from the document finds no 5xx, no
//! status, header or body that the document does not know.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use callbox_tests::{Host, Options};
use serde_json::json;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;
use tokio::time::timeout;

/// What is looked at in every answer.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,\
                      response_headers_conformance,unsupported_method";
/// Requests for one operation in the last phase: together with the others about six thousand.
const EXAMPLES: &str = "20";
/// It ends by itself long before.
const LONGEST: Duration = Duration::from_secs(900);

/// How bodies are sent that are no JSON: as they are made up.
const HOOKS: &str = r#"
import schemathesis

@schemathesis.serializer("application/wasm", "application/sdp", "application/trickle-ice-sdpfrag")
def as_it_is(ctx, value):
    return value if isinstance(value, bytes) else str(value).encode()
"#;

/// Things by the names that paths use, so that not every request ends with 404.
async fn things(host: &Host) -> Vec<(&'static str, String)> {
    let id = async |path: &str, body| host.post(path, &body).await["id"].as_str().unwrap().to_owned();
    let script = id("/v1/scripts", json!({ "name": "fuzzed" })).await;
    let number = id("/v1/numbers", json!({ "address": "4711" })).await;
    let trunk = json!({ "name": "pbx", "addresses": [{ "host": "192.0.2.9" }], "health": { "options_interval_s": 0 } });
    let trunk = id("/v1/trunks", trunk).await;
    let account = id("/v1/sip-accounts", json!({ "username": "ada", "password": "12345678" })).await;
    let webhook = id("/v1/webhooks", json!({ "url": "https://results.example/in", "enabled": false })).await;
    let tenant = id("/v1/tenants", json!({ "name": "other" })).await;
    let key = id("/v1/keys", json!({ "name": "k", "scopes": ["calls:read"] })).await;
    let token = id("/v1/webrtc/tokens", json!({ "number": number })).await;
    vec![
        ("script", script),
        ("number", number),
        ("trunk", trunk),
        ("account", account),
        ("webhook", webhook),
        ("tenant", tenant),
        ("key", key),
        ("token", token),
    ]
}

#[tokio::test]
async fn what_the_document_makes_up_finds_nothing_that_it_does_not_say() {
    let unlimited = |name| (name, "0".to_owned());
    let options = Options {
        env: vec![
            unlimited("CALLBOX_HTTP__REQUESTS_PER_SECOND"),
            unlimited("CALLBOX_WEBRTC__REQUESTS_PER_SECOND_PER_ADDRESS"),
            unlimited("CALLBOX_WEBRTC__REQUESTS_PER_SECOND_PER_TOKEN"),
        ],
        guarded: true,
        ..Options::default()
    };
    let host = Host::start_with(options).await;
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("schemathesis.toml");
    let known = things(&host).await;
    let known: Vec<String> = known.iter().map(|(name, id)| format!("\"path.{name}\" = \"{id}\"\n")).collect();
    std::fs::write(&config, format!("[parameters]\n{}", known.concat())).unwrap();
    std::fs::write(folder.path().join("hooks.py"), HOOKS).unwrap();
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/python/bin/python");
    let schemathesis = Command::new(python)
        .args(["-m", "schemathesis.cli", "--config-file"])
        .arg(&config)
        .args(["run", &format!("http://{}/openapi.json", host.http)])
        .args(["--header", &format!("Authorization: Bearer {}", host.key)])
        .args(["--checks", CHECKS, "--phases", "examples,coverage,fuzzing", "--max-examples", EXAMPLES])
        .args([
            "--seed",
            "20261121",
            "--workers",
            "2",
            "--no-shrink",
            "--generation-database",
            "none",
            "--warnings",
            "off",
        ])
        .args(["--continue-on-failure", "--no-color"])
        .env("SCHEMATHESIS_HOOKS", "hooks")
        .env("PYTHONPATH", folder.path())
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = timeout(LONGEST, schemathesis).await.expect("it ends").expect("`tools/setup test` installs it");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    // It has asked, and was let in.
    host.get("/v1/tenant").await;
    let (log, database) = (host.log(), std::fs::read(host.data.join("callbox.db")).unwrap());
    assert!(!log.contains("panic"), "{log}");
    // Whatever was made up on the way, no secret that the host made lies open.
    for secret in ["whsec_", &host.key] {
        assert!(!log.contains(secret), "{secret} is in the log");
        assert!(
            !database.windows(secret.len()).any(|window| window == secret.as_bytes()),
            "{secret} is in the database"
        );
    }
}
