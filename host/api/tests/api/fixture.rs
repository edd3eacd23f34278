//! A host without its listener: rooms on free ports, a store in a temporary folder or on a server, as the test's root file
//! says, two tenants with keys, and one of everything.
#![allow(dead_code, reason = "each root file uses a part of it")]

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use callbox_api::{ApiConfig, WebCallConfig};
use callbox_call::{CallPolicy, OutboundPolicy, Platform, RecordingPolicy, Rooms, TrunkPolicy};
use callbox_delivery::{Egress, EgressPolicy};
use callbox_dialogue::call::{Direction, EndReason, Party, Transport};
use callbox_dialogue::record::Outcome;
use callbox_dialogue::setup::Limits;
use callbox_media::webrtc::WebRtcConfig;
use callbox_media::{MediaConfig, MediaPlane};
use callbox_script::{ScriptConfig, ScriptHost};
use callbox_sip::{SipConfig, SipStack};
use callbox_speech::{Ears, Speech, SpeechConfig};
use callbox_store::calls::CallStart;
use callbox_store::completion::{CallCompletion, NewRecording};
use callbox_store::document::{CallDocument, ScriptUsed};
use callbox_store::keys::{NewKey, Scopes};
use callbox_store::objects::Objects;
use callbox_store::quotas::Quotas;
use callbox_store::scripts::NewVersion;
use callbox_store::{Actor, Store, StoreOptions, TenantId, UnixMs, id};
use serde_json::{Value, json};
use std::path::PathBuf;
use tower::ServiceExt;

/// Where stores lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Database {
    Sqlite,
    Postgres,
}

/// What came back.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) bytes: Vec<u8>,
    pub(crate) json: Value,
}

impl Answer {
    /// It must be a problem document with this status and code.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16, code: &str) -> &Value {
        assert_eq!((self.status.as_u16(), self.json["code"].as_str()), (status, Some(code)), "{}", self.json);
        self.is_problem();
        &self.json
    }

    #[track_caller]
    pub(crate) fn is_problem(&self) {
        let problem = &self.json;
        assert_eq!(self.headers["content-type"], "application/problem+json");
        assert_eq!(problem["status"], self.status.as_u16());
        assert_eq!(problem["request_id"].as_str(), self.headers["x-request-id"].to_str().ok());
        assert!(problem["title"].is_string() && problem["detail"].is_string() && problem["errors"].is_array());
    }

    #[track_caller]
    pub(crate) fn ok(&self) -> &Value {
        assert!(self.status.is_success(), "{} {}", self.status, String::from_utf8_lossy(&self.bytes));
        &self.json
    }
}

pub(crate) struct House {
    pub(crate) router: Router,
    pub(crate) platform: Platform,
    pub(crate) store: Store,
    pub(crate) tenant: TenantId,
    /// May do everything, also with other tenants.
    pub(crate) key: String,
    /// May do nothing but run the deployment.
    pub(crate) operator: String,
    pub(crate) recordings: PathBuf,
    folder: tempfile::TempDir,
    _own: Option<callbox_test_postgres::Database>,
}

/// One of everything, by the names that paths use.
pub(crate) struct Things {
    pub(crate) script: String,
    pub(crate) number: String,
    pub(crate) webhook: String,
    pub(crate) trunk: String,
    pub(crate) account: String,
    pub(crate) delivery: String,
    pub(crate) call: String,
    pub(crate) recording: String,
    pub(crate) key: String,
    pub(crate) token: String,
    pub(crate) tenant: TenantId,
}

impl House {
    pub(crate) async fn new() -> Self {
        Self::with(0).await
    }

    /// With so many requests a second for a key.
    pub(crate) async fn with(requests_per_second: u32) -> Self {
        Self::for_pages(requests_per_second, WebCallConfig { longest_token_s: 3_600, ..WebCallConfig::default() }).await
    }

    /// The same, with what the operator settles for pages.
    pub(crate) async fn for_pages(requests_per_second: u32, webrtc: WebCallConfig) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let own = match crate::IN {
            Database::Sqlite => None,
            Database::Postgres => Some(callbox_test_postgres::Database::empty()),
        };
        let file = || format!("sqlite://{}", at("callbox.db").display());
        let url = own.as_ref().map_or_else(file, callbox_test_postgres::Database::url);
        let options = StoreOptions { connections: 6, ..StoreOptions::default() };
        let store = Store::open_with(&url, Objects::folder(&at("artefacts")).unwrap(), options).await.unwrap();
        let mut scripts = ScriptConfig::new(at("cache"), "/bin/false");
        scripts.max_instances = 4;
        let sip = SipConfig { udp: vec!["127.0.0.1:0".parse().unwrap()], ..SipConfig::default() };
        let recordings = at("recordings");
        std::fs::create_dir_all(&recordings).unwrap();
        let rooms = Rooms {
            sip: SipStack::start(sip).await.unwrap().0,
            media: MediaPlane::start(MediaConfig {
                workers: 1,
                webrtc: Some(WebRtcConfig::new("127.0.0.1:0".parse().unwrap())),
                ..MediaConfig::default()
            })
            .unwrap(),
            scripts: ScriptHost::start(scripts).unwrap(),
            speech: Speech::new(SpeechConfig::default()).unwrap(),
            ears: Ears::new([]),
            store: store.clone(),
            egress: Egress::new(EgressPolicy::new::<&str>(true, &[]).unwrap()).unwrap(),
            traces: callbox_traces::Traces::off(),
        };
        let policy = CallPolicy {
            host: "test".into(),
            limits: Limits::default(),
            max_calls: 10,
            recordings: RecordingPolicy::here(&recordings).unwrap(),
            captures: recordings.clone(),
            public_url: "http://api.example".into(),
            keep_signalling: true,
            outbound: OutboundPolicy { allowed_hosts: vec!["127.0.0.1".into()], ..OutboundPolicy::default() },
            trunks: TrunkPolicy::default(),
            quotas: Quotas::default(),
        };
        let config = ApiConfig {
            requests_per_second,
            upload_bytes: 300_000,
            try_page: false,
            trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()],
            webrtc,
        };
        let platform = Platform::new(rooms, policy);
        let router = callbox_api::router(platform.clone(), config);
        let tenant = store.default_tenant().clone();
        let (key, operator) = (String::new(), String::new());
        let mut house = Self { router, platform, store, tenant, key, operator, recordings, folder, _own: own };
        house.key = house.make_key(&house.tenant, &["admin", "operator"]).await.1;
        house.operator = house.make_key(&house.tenant, &["operator"]).await.1;
        house
    }

    /// Another tenant with a key that may do everything in it.
    pub(crate) async fn stranger(&self) -> (TenantId, String) {
        let tenant = self.store.create_tenant("other", &Actor::system()).await.unwrap().id;
        let key = self.make_key(&tenant, &["admin"]).await.1;
        (tenant, key)
    }

    /// A key whose time is over.
    pub(crate) async fn expired_key(&self, tenant: &TenantId) -> String {
        let new = NewKey { name: "old".into(), scopes: Scopes::all(), expires_at: Some(UnixMs(0)) };
        let issued = self.store.create_key(tenant, new, &Actor::system()).await.unwrap();
        issued.secret.expose().to_owned()
    }

    /// A key's id and its text.
    pub(crate) async fn make_key(&self, tenant: &TenantId, scopes: &[&str]) -> (String, String) {
        let scopes = Scopes(scopes.iter().map(ToString::to_string).collect());
        let new = NewKey { name: "test".into(), scopes, expires_at: None };
        let issued = self.store.create_key(tenant, new, &Actor::system()).await.unwrap();
        (issued.key.id, issued.secret.expose().to_owned())
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap().to_vec();
        let json = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Answer { status: parts.status, headers: parts.headers, bytes, json }
    }

    pub(crate) async fn request(&self, key: Option<&str>, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let mut request = Request::builder().method(Method::from_bytes(method.as_bytes()).unwrap()).uri(path);
        if let Some(key) = key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        let body = match body {
            Some(body) => {
                request = request.header("content-type", "application/json");
                Body::from(body.to_string())
            }
            None => Body::empty(),
        };
        self.send(request.body(body).unwrap()).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.request(Some(&self.key), "GET", path, None).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.request(Some(&self.key), "POST", path, Some(&body)).await
    }

    pub(crate) async fn patch(&self, path: &str, body: Value) -> Answer {
        self.request(Some(&self.key), "PATCH", path, Some(&body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.request(Some(&self.key), "DELETE", path, None).await
    }

    /// A version without a compiler: what admission would have made of it.
    pub(crate) async fn version(&self, tenant: &TenantId, script: &str, manifest: Value) -> u32 {
        let content = id::new("wasm").into_bytes();
        let new = NewVersion {
            size: content.len() as u64,
            digest: self.store.put_blob(content).await.unwrap(),
            manifest,
            imports: vec!["callbox:dialogue/call@0.1.0".into()],
            checks: json!([{ "name": "size", "verdict": "ok", "detail": "37 bytes" }]),
            toolchain: None,
            note: None,
        };
        self.store.add_version(tenant, script, new, &Actor::system()).await.unwrap().version.version
    }

    /// One of everything, for this key's tenant.
    pub(crate) async fn things(&self, tenant: &TenantId, key: &str) -> Things {
        let post = async |path: &str, body: Value| {
            let answer = self.request(Some(key), "POST", path, Some(&body)).await;
            answer.ok()["id"].as_str().unwrap().to_owned()
        };
        let webhook = post("/v1/webhooks", json!({ "url": "https://a.example/in" })).await;
        let script = post("/v1/scripts", json!({ "name": "hello" })).await;
        self.version(tenant, &script, json!({ "name": "hello" })).await;
        post(&format!("/v1/scripts/{script}/publish"), json!({ "version": 1 })).await;
        let address = id::new("n").replace('_', "");
        let number = post("/v1/numbers", json!({ "address": address, "script_id": script })).await;
        let health = json!({ "options_interval_s": 0 });
        let trunk = json!({ "name": "pbx", "addresses": [{ "host": "192.0.2.9" }], "health": health });
        let trunk = post("/v1/trunks", trunk).await;
        let account = json!({ "username": id::new("u"), "password": "12345678" });
        let account = post("/v1/sip-accounts", account).await;
        let (call, recording) = self.finished_call(tenant, &script, &number).await;
        let filter = callbox_store::deliveries::DeliveryFilter::default();
        let deliveries = self.store.deliveries(tenant, &filter, &Default::default()).await.unwrap();
        let delivery = deliveries.data[0].id.clone();
        let (made, _) = self.make_key(tenant, &["calls:read"]).await;
        let token = post("/v1/webrtc/tokens", json!({ "number": number })).await;
        let tenant = tenant.clone();
        Things { script, number, webhook, trunk, account, delivery, call, recording, key: made, token, tenant }
    }

    /// Where uploaded components lie.
    pub(crate) fn artefacts(&self) -> PathBuf {
        self.folder.path().join("artefacts")
    }

    /// A call that is over, with a recording.
    pub(crate) async fn finished_call(&self, tenant: &TenantId, script: &str, number: &str) -> (String, String) {
        let start = start(tenant, script, number, self.store.now());
        self.store.start_call(start.clone()).await.unwrap();
        let recording = id::new("rec");
        let location = format!("{}.wav", start.id);
        std::fs::write(self.recordings.join(&location), b"RIFF0123456789").unwrap();
        let row = NewRecording { id: recording.clone(), location, size: 14, duration_ms: 5, sha256: "00".repeat(32) };
        let mut document = CallDocument::begin(&start);
        document.outcome = Some(Outcome::Answered);
        document.end_reason = Some(EndReason::ScriptReturned);
        let id = start.id.clone();
        let completion = CallCompletion {
            start,
            document,
            timeline: Vec::new(),
            tape: Some(b"{\"tape\":1}\n".to_vec()),
            signalling: Some("{\"messages\":[],\"omitted\":0,\"webrtc\":{\"steps\":[],\"omitted\":0}}".into()),
            recordings: vec![row],
            lost_recording: None,
            pushes: Vec::new(),
        };
        self.store.complete_call(completion).await.unwrap();
        (id, recording)
    }
}

/// A call that begins.
pub(crate) fn start(tenant: &TenantId, script: &str, number: &str, at: UnixMs) -> CallStart {
    CallStart {
        id: id::new("call"),
        tenant_id: tenant.clone(),
        host: "test".into(),
        direction: Direction::Inbound,
        transport: Transport::Sip,
        caller: Party { uri: "sip:caller@a.example".into(), number: Some("+15551234567".into()), display_name: None },
        callee: Party { uri: "sip:callee@b.example".into(), number: None, display_name: Some("B".into()) },
        number_id: Some(number.to_owned()),
        trunk_id: Some("trk_1".into()),
        trunk_address: Some("192.0.2.1:5060".into()),
        script: Some(ScriptUsed { id: script.to_owned(), version: 1, digest: "sha256:00".into() }),
        relation_id: Some("r-1".into()),
        external_id: None,
        sip_call_id: Some("c-1".into()),
        parameters: None,
        created_at: at,
    }
}
