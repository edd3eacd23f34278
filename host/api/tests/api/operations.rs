//! Every operation of the document, as a request that works.

use crate::fixture::{House, Things};
use axum::body::Body;
use axum::http::Request;
use callbox_store::keys::OPERATOR;
use serde_json::{Value, json};

/// An operation.
#[derive(Clone, Debug)]
pub(crate) struct Operation {
    /// `GET` …
    pub(crate) method: String,
    /// With `{…}`.
    pub(crate) path: String,
    /// What it needs; none for anybody, empty for any key.
    pub(crate) scope: Option<String>,
    /// Whether it takes a body.
    pub(crate) has_body: bool,
}

/// All of them.
pub(crate) fn all() -> Vec<Operation> {
    let document: Value = serde_json::from_str(&callbox_api::openapi()).unwrap();
    let mut all = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            // What visitors do with their tokens is in `web_calls`.
            if operation["security"][0]["webrtc_token"].is_array() {
                continue;
            }
            // What a link opens is in `recordings`.
            if operation["security"][0]["recording_link"].is_array() {
                continue;
            }
            let scope = operation["security"][0]["api_key"].as_array();
            all.push(Operation {
                method: method.to_ascii_uppercase(),
                path: path.clone(),
                scope: scope.map(|scopes| scopes.first().map_or("", |s| s.as_str().unwrap()).to_owned()),
                has_body: operation.get("requestBody").is_some(),
            });
        }
    }
    assert!(all.len() > 40, "{}", all.len());
    all
}

impl Operation {
    pub(crate) fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    pub(crate) fn is_public(&self) -> bool {
        self.scope.is_none()
    }

    /// Whether it is for whoever runs the deployment.
    pub(crate) fn is_operators(&self) -> bool {
        self.scope.as_deref() == Some(OPERATOR)
    }

    /// Whether it names something of a tenant.
    pub(crate) fn names_a_thing(&self) -> bool {
        self.path.contains('{')
    }

    /// The path with these things in it.
    pub(crate) fn path_to(&self, things: &Things) -> String {
        let values = [
            ("{script}", things.script.as_str()),
            ("{version}", "1"),
            ("{number}", &things.number),
            ("{trunk}", &things.trunk),
            ("{account}", &things.account),
            ("{webhook}", &things.webhook),
            ("{delivery}", &things.delivery),
            ("{call}", &things.call),
            ("{recording}", &things.recording),
            ("{key}", &things.key),
            ("{token}", &things.token),
            ("{tenant}", things.tenant.as_str()),
        ];
        let path = values.iter().fold(self.path.clone(), |path, (name, value)| path.replace(name, value));
        assert!(!path.contains('{'), "a new kind of thing: {path}");
        path
    }

    /// A body that is right. A new operation with a body must be added here.
    pub(crate) fn body(&self, things: &Things) -> Option<Value> {
        if !self.has_body || self.path.ends_with("/versions") {
            return None;
        }
        Some(match self.name().as_str() {
            "POST /v1/scripts" => json!({ "name": "another", "description": "what it does" }),
            "PATCH /v1/scripts/{script}" => json!({ "description": "changed" }),
            "PUT /v1/scripts/{script}/bindings" => json!({
                "sources": { "crm": { "url": "https://a.example", "timeout_ms": 500, "on_failure": "reject", "headers": { "x-a": "${token}" } } },
                "destinations": { "out": { "url": "https://a.example", "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" } },
                "settings": { "language": "en" },
                "secrets": { "token": "abc" },
            }),
            "POST /v1/scripts/{script}/publish" => json!({ "version": 1 }),
            "POST /v1/numbers" => json!({
                "address": "+493012345", "name": "desk", "script_id": things.script, "language": "en",
                "fallback": { "say": [{ "text": "sorry" }, { "silence": 100 }], "transfer_to": "+4930" },
                "max_concurrent": 3, "recording": "on", "enabled": true,
            }),
            "POST /v1/trunks" => json!({
                "name": "carrier-a", "enabled": true, "order": 10, "prefixes": ["+49"],
                "addresses": [{ "host": "192.0.2.1", "port": 5061, "transport": "tls", "priority": 1, "weight": 1 }],
                "inbound": { "networks": ["203.0.113.0/24"], "tls_identities": ["sip.carrier.example"], "account": null },
                "credentials": { "username": "u", "password": "abc", "realm": null },
                "registration": { "enabled": false, "aor": "sip:u@carrier.example", "expires_s": 600 },
                "codecs": ["pcma"], "codec_order": "ours", "packet_ms": 30, "encryption": "sdes",
                "encryption_offer": "two_lines", "dtmf": "rfc4733",
                "headers": { "outbound": { "X-A": "b" }, "identity": "pai", "privacy": false },
                "numbers": { "inbound": [{ "match": "00(.*)", "replace": "+$1" }], "national": { "country_code": "49" } },
                "limits": { "channels": 3, "calls_per_second": 5 }, "health": { "options_interval_s": 0 },
                "failover_statuses": [503],
            }),
            "PATCH /v1/trunks/{trunk}" => json!({ "limits": { "channels": 5 } }),
            "POST /v1/sip-accounts" => json!({
                "username": "desk-1", "password": "12345678", "display_name": "Desk", "caller_id": "+4930", "enabled": true,
            }),
            "PATCH /v1/sip-accounts/{account}" => json!({ "display_name": "Desk" }),
            "POST /v1/webrtc/tokens" => json!({
                "number": things.number, "variables": { "a": "b", "n": [1] }, "expires_in_s": 60, "uses": 2,
                "origins": ["https://shop.example"], "external_id": "e", "relation_id": "r",
                "caller": { "id": "customer-1", "display_name": "Ada", "number": "+4930123456" },
            }),
            "PATCH /v1/numbers/{number}" => json!({ "name": "desk", "enabled": true }),
            "POST /v1/webhooks" => json!({
                "url": "https://a.example/in", "event_types": ["call.completed"], "description": "crm", "enabled": true,
                "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            }),
            "PATCH /v1/webhooks/{webhook}" => json!({ "description": "changed" }),
            "POST /v1/webhooks/{webhook}/rotate_secret" => json!({ "keep_old_ms": 1000 }),
            "POST /v1/webhooks/{webhook}/replay" => {
                json!({ "from": "2026-01-01T00:00:00Z", "to": "2100-01-01T00:00:00.000+01:00" })
            }
            "POST /v1/calls" => json!({
                "to": "sip:a@127.0.0.1:1", "script_id": things.script, "version": 1, "parameters": { "a": [1, null] },
                "external_id": "e", "relation_id": "r",
            }),
            "POST /v1/calls/{call}/messages" => json!({ "any": ["thing"] }),
            "PUT /v1/retention" => {
                json!({ "recordings_days": 30, "tapes_days": 9, "deliveries_days": 9, "calls_days": 99 })
            }
            "PUT /v1/numbers/{number}/retention" => json!({ "recordings_days": null }),
            "POST /v1/keys" => json!({ "name": "k", "scopes": ["calls:read"], "expires_at": "2100-01-01T00:00:00Z" }),
            "POST /v1/keys/{key}/rotate" => json!({ "keep_old_ms": 1000 }),
            "POST /v1/tenants" => json!({
                "name": "acme", "suspended": false,
                "quotas": {
                    "concurrent_calls": 5, "calls_per_second": 5, "requests_per_second": 5, "script_memory_mb": 16,
                    "script_cpu_per_call_ms": 1000, "scripts": 5, "versions_per_script": 5, "storage_mb": 5,
                    "outbound": {
                        "allowed_prefixes": ["+49"], "denied_prefixes": ["+49900"], "minutes_per_day": 5,
                        "calls_per_minute": 5, "concurrent_calls": 5,
                    },
                },
            }),
            "PATCH /v1/tenants/{tenant}" => json!({ "quotas": { "concurrent_calls": 7 } }),
            "POST /v1/tenants/{tenant}/keys" => json!({ "name": "k", "scopes": ["admin"] }),
            other => panic!("a new operation without a body here: {other}"),
        })
    }

    /// The request, complete.
    pub(crate) fn request(&self, things: &Things, key: Option<&str>) -> Request<Body> {
        let mut request = Request::builder().method(self.method.as_str()).uri(self.path_to(things));
        if let Some(key) = key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        let (kind, body) = match self.body(things) {
            Some(body) => ("application/json", Body::from(body.to_string())),
            None if self.has_body => ("application/wasm", Body::from("\0asm")),
            None => ("application/json", Body::empty()),
        };
        request.header("content-type", kind).body(body).unwrap()
    }
}

#[tokio::test]
async fn every_operation_is_routed() {
    let house = House::new().await;
    let things = house.things(&house.tenant, &house.key).await;
    for operation in all() {
        let answer = house.send(operation.request(&things, None)).await;
        if operation.is_public() {
            assert_eq!(answer.status, 200, "{}", operation.name());
        } else {
            answer.problem(401, "unauthorized");
        }
    }
}
