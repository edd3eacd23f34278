//! No query looks at more than it needs at a million calls. A PostgreSQL tells the plan of every statement that the store
//! really sends (`auto_explain`), with what it touched; the same statements are shown to SQLite, which decides by the
//! schema alone, so that an empty file will do.

use crate::fixture::{BEAT, call, end, number, who};
use callbox_dialogue::call::Direction;
use callbox_store::audit::AuditFilter;
use callbox_store::calls::{CallFilter, CallState};
use callbox_store::deliveries::{AttemptReport, DeliveryFilter, DeliveryState, LeaseRequest, Verdict};
use callbox_store::hosts::{Host, HostState};
use callbox_store::keys::{NewKey, Scopes};
use callbox_store::objects::Objects;
use callbox_store::outbox::NewPush;
use callbox_store::retention::Retention;
use callbox_store::revisions::Topic;
use callbox_store::scripts::NewScript;
use callbox_store::webhooks::NewWebhook;
use callbox_store::{PageRequest, Store, StoreOptions, TenantId, UnixMs};
use serde_json::Value;
use sqlx::{AssertSqlSafe, PgPool, SqlitePool};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Tables that grow with calls.
const GROWING: [&str; 6] = ["calls", "call_details", "recordings", "events", "deliveries", "attempts"];

/// Pages of 8 kB that a statement may touch, of about 100,000. A page of a list is 51 rows, each on a page of its own at
/// the worst, and what leads to them; a step of a sweep is 200 calls.
const PAGES: u64 = 2_000;

/// When the first of the million began, one a second.
const FIRST: i64 = 1_700_000_000_000;

/// The indexes are made afterwards: ten times quicker.
const LOAD: &[&str] = &[
    "INSERT INTO calls (id, tenant_id, host, state, direction, from_address, to_address, number_id, script_id,
         script_version, relation_id, external_id, created_at, answered_at, ended_at, outcome, end_reason,
         last_sequence, start)
     SELECT 'call_' || lpad(to_hex(n), 32, '0'), CASE WHEN n % 10000 = 0 THEN 'SMALL' ELSE 'LARGE' END, 'host-0',
         CASE WHEN n > 999990 THEN 'active' ELSE 'completed' END, CASE WHEN n % 5000 = 0 THEN 'outbound' ELSE 'inbound' END,
         '+49170' || n, '100', 'num_' || n % 500, 'scr_' || n % 50, 1, CASE WHEN n % 10 = 1 THEN 'rel_' || n / 100 END,
         CASE WHEN n % 2 = 1 THEN 'ext_' || n END, FIRST + n * 1000::bigint, FIRST + n * 1000::bigint,
         FIRST + n * 1000::bigint, (ARRAY['answered', 'answered', 'busy', 'no_answer', 'cancelled'])[1 + n % 5],
         'caller_hangup', 1, '{}' FROM generate_series(1, 1000000) n",
    "INSERT INTO events (id, tenant_id, call_id, sequence, type, body, created_at)
     SELECT 'evt' || substr(id, 5), tenant_id, id, 1, 'call.completed', '{\"n\": 1}', created_at FROM calls
     WHERE from_address > '+491707'",
    "INSERT INTO deliveries (id, tenant_id, event_id, endpoint, state, tries, attempts, due_at, created_at, finished_at)
     SELECT 'dlv' || substr(id, 4), tenant_id, id, 'whk_' || right(id, 1),
         CASE WHEN right(id, 3) = '000' THEN 'failed' WHEN right(id, 2) = '01' THEN 'pending' ELSE 'delivered' END, 1, 1,
         CASE WHEN right(id, 2) = '01' AND right(id, 3) <> '000' THEN created_at END, created_at, created_at FROM events",
    "INSERT INTO call_details (call_id, tenant_id, record, timeline, tape)
     SELECT call_id, tenant_id, '{}', '[]', '\\x00' FROM events",
    "INSERT INTO attempts (delivery_id, number, tenant_id, at, latency_ms) SELECT id, 1, tenant_id, created_at, 1 FROM deliveries",
    "INSERT INTO recordings (id, tenant_id, call_id, location, size, duration_ms, sha256, created_at)
     SELECT 'rec' || substr(id, 4), tenant_id, call_id, 'x.wav', 1, 1, '', created_at FROM events WHERE right(id, 1) = '1'",
    "INSERT INTO audit_log (id, tenant_id, at, actor, action, target, detail)
     SELECT 'aud' || substr(id, 4), tenant_id, created_at, 'system', 'x', '', '{}' FROM recordings",
    "INSERT INTO idempotency_keys (tenant_id, key, fingerprint, created_at)
     SELECT tenant_id, id, '', created_at FROM recordings",
];

async fn load(url: &str, large: &TenantId, small: &TenantId) {
    let pool = PgPool::connect(url).await.unwrap();
    let mut db = pool.acquire().await.unwrap();
    let run = async |db: &mut sqlx::PgConnection, sql: String| {
        sqlx::raw_sql(AssertSqlSafe(sql.as_str())).execute(db).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    };
    run(&mut db, "SET session_replication_role = replica; SET maintenance_work_mem = '128MB'".into()).await;
    let indexes: Vec<(String, String)> = sqlx::query_as(
        "SELECT indexname::text, indexdef FROM pg_indexes WHERE schemaname = 'public' AND indexname NOT LIKE '%_pkey'
         AND tablename IN ('calls', 'events', 'deliveries', 'recordings', 'audit_log', 'idempotency_keys')",
    )
    .fetch_all(&mut *db)
    .await
    .unwrap();
    for (name, _) in &indexes {
        run(&mut db, format!("DROP INDEX {name}")).await;
    }
    for sql in LOAD {
        let sql = sql.replace("LARGE", large.as_str()).replace("SMALL", small.as_str());
        run(&mut db, sql.replace("FIRST", &FIRST.to_string())).await;
    }
    for (_, definition) in indexes {
        run(&mut db, definition).await;
    }
    run(&mut db, "VACUUM ANALYZE".into()).await;
}

/// Everything that lists, filters, or works off what waits.
async fn exercise(store: &Store, tenant: &TenantId) {
    let page = PageRequest::default();
    let all = CallFilter::default;
    let at = |n: i64| Some(UnixMs(FIRST + n * 1_000));
    for filter in [
        all(),
        CallFilter { number_id: Some("num_7".into()), ..all() },
        CallFilter { script_id: Some("scr_7".into()), ..all() },
        CallFilter { direction: Some(Direction::Outbound), ..all() },
        CallFilter { direction: Some(Direction::Inbound), ..all() },
        CallFilter { state: Some(CallState::Active), ..all() },
        CallFilter { state: Some(CallState::Completed), ..all() },
        CallFilter { outcome: Some("busy".into()), ..all() },
        CallFilter { outcome: Some("failed".into()), ..all() },
        CallFilter { relation_id: Some("rel_700".into()), ..all() },
        CallFilter { external_id: Some("ext_70001".into()), ..all() },
        CallFilter { created_from: at(5_000), created_to: at(900_000), ..all() },
        CallFilter { number_id: Some("num_7".into()), created_from: at(5_000), created_to: at(900_000), ..all() },
    ] {
        let first = store.calls(tenant, &filter, &page).await.unwrap();
        if let Some(call) = first.data.first() {
            store.call(tenant, &call.id).await.unwrap();
            store.timeline(tenant, &call.id).await.unwrap();
            store.recordings(tenant, &call.id).await.unwrap();
            store.call_events(tenant, &call.id).await.unwrap();
        }
        store.calls(tenant, &filter, &PageRequest { cursor: first.next_cursor, limit: None }).await.unwrap();
    }
    store.active_calls(tenant).await.unwrap();
    let states = [DeliveryState::Pending, DeliveryState::Failed, DeliveryState::Dead, DeliveryState::Delivered];
    for state in states.map(Some).into_iter().chain([None]) {
        for endpoint in [None, Some("whk_1".to_owned()), Some("whk_none".to_owned())] {
            // Failed to one of many endpoints: as many are looked at as are in that state, or for that endpoint.
            if state.is_some() && endpoint.is_some() {
                continue;
            }
            let first = store.deliveries(tenant, &DeliveryFilter { endpoint, state }, &page).await.unwrap();
            if let Some(delivery) = first.data.first() {
                store.delivery(tenant, &delivery.id).await.unwrap();
            }
        }
    }
    let word = |word: &str| Some(word.to_owned());
    for filter in [
        AuditFilter::default(),
        AuditFilter { actor: word("system"), ..AuditFilter::default() },
        AuditFilter { action: word("nothing.happened"), ..AuditFilter::default() },
        AuditFilter { target: word("num_0"), ..AuditFilter::default() },
    ] {
        store.audit_log(tenant, &filter, &page).await.unwrap();
    }
    store.usage(tenant, UnixMs(FIRST), UnixMs(FIRST)).await.unwrap();
    store.tolls_today(tenant, Some("num_7")).await.unwrap();
    store.keys(tenant, &page).await.unwrap();
    store.numbers(tenant, &page).await.unwrap();
    store.scripts(tenant, &page).await.unwrap();
    store.webhooks(tenant, &page).await.unwrap();
    store.trunks(tenant, &page).await.unwrap();
    store.sip_accounts(tenant, &page).await.unwrap();
    store.webrtc_tokens(tenant, &page).await.unwrap();
    store.retention(tenant).await.unwrap();
    store.idempotency_begin(tenant, "k", "f").await.unwrap();
    store.idempotency_finish(tenant, "k", 200, Vec::new()).await.unwrap();
}

/// A call from its beginning to its delivery, and the work of a host.
async fn work(store: &Store, large: &TenantId) {
    store.start_host("host-1").await.unwrap();
    store.heartbeat(HostState::Up).await.unwrap();
    let made = store.create_number(large, number("100", None), &who()).await.unwrap();
    store.create_script(large, NewScript { name: "s".into(), description: None }, &who()).await.unwrap();
    store.route("100").await.unwrap();
    let new = NewWebhook {
        url: "https://results.example/in".into(),
        description: None,
        event_types: BTreeSet::from(["call.completed".to_owned()]),
        enabled: true,
    };
    let hook = store.create_webhook(large, new, &who()).await.unwrap().webhook.id;
    let new = NewKey { name: "k".into(), scopes: Scopes::admin(), expires_at: None };
    let key = store.create_key(large, new, &who()).await.unwrap();
    store.authenticate(key.secret.expose()).await.unwrap();
    // Often enough that a plan for any arguments is considered.
    for _ in 0..8 {
        let start = call(store);
        store.start_call(start.clone()).await.unwrap();
        store.mark_answered(&start, store.now()).await.unwrap();
        store.calls_elsewhere(large, start.number_id.as_deref()).await.unwrap();
        store.is_outlived(&start.id).await.unwrap();
        let push = NewPush {
            tenant_id: large.clone(),
            call_id: start.id.clone(),
            script_id: "scr_1".into(),
            push_seq: 1,
            event_id: None,
            destination: "d".into(),
            body: "{}".into(),
        };
        store.enqueue_push(push).await.unwrap();
        store.complete_call(end(&start)).await.unwrap();
        let request = LeaseRequest {
            host: "host-1".into(),
            now: store.now(),
            lease_for_ms: 1,
            limit: 40,
            per_endpoint: 8,
            busy: BTreeMap::new(),
        };
        for leased in store.lease(request).await.unwrap().items.into_iter().take(3) {
            store.delivery_target(&leased).await.unwrap();
            let verdict = Verdict::Retry { at: store.now() };
            let report =
                AttemptReport { at: store.now(), status: None, latency_ms: 1, error: None, response: None, verdict };
            store.finish_attempt(&leased, report).await.unwrap();
            store.redeliver(&leased.tenant_id, &leased.delivery_id).await.unwrap();
        }
    }
    store.replay(large, &hook, UnixMs(FIRST + 800_000_000), UnixMs(FIRST + 800_050_000)).await.unwrap();
    store.delete_number(large, &made.id, &who()).await.unwrap();
    store.delete_webhook(large, &hook, &who()).await.unwrap();
    store.revision(Topic::Trunks).await.unwrap();
    // Ten calls of a host that never came back; the first few thousand that are too old.
    let dead: Vec<Host> = store.watched_hosts().await.unwrap().into_iter().filter(|host| host.id == "host-0").collect();
    assert_eq!(store.bury(&dead[0]).await.unwrap().calls, 0, "the books of these are no documents");
    let keep =
        Retention { calls_days: Some(7), recordings_days: Some(7), tapes_days: Some(7), deliveries_days: Some(7) };
    store.put_retention(large, None, Some(keep), &who()).await.unwrap();
    store.sweep(600, |_| std::future::ready(true)).await.unwrap();
    store.idempotency_purge().await.unwrap();
}

/// A statement that was sent, and what it did.
struct Told {
    sql: String,
    pages: u64,
    plan: Value,
}

/// Every statement in the server's log with its plan, of one database.
fn told(log: &Path) -> Vec<Told> {
    let log = std::fs::read_to_string(log).unwrap();
    let mut plans: Vec<String> = Vec::new();
    let mut within = false;
    for line in log.lines() {
        match line.strip_prefix('\t') {
            Some(text) if within => plans.last_mut().unwrap().push_str(text),
            _ => within = line.ends_with("plan:"),
        }
        if within && line.ends_with("plan:") {
            plans.push(String::new());
        }
    }
    let read = |text: String| {
        let plan: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        let count = |name: &str| plan["Plan"][name].as_u64().unwrap_or(0);
        let pages = count("Shared Hit Blocks") + count("Shared Read Blocks");
        Told { sql: plan["Query Text"].as_str().unwrap_or("").to_owned(), pages, plan: plan["Plan"].clone() }
    };
    plans.into_iter().map(read).collect()
}

/// Growing tables that a plan reads from end to end.
fn scanned(plan: &Value) -> Vec<&str> {
    let own = plan["Relation Name"].as_str().filter(|table| plan["Node Type"] == "Seq Scan" && GROWING.contains(table));
    let parts = plan["Plans"].as_array().into_iter().flatten();
    own.into_iter().chain(parts.flat_map(scanned)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_statement_of_the_store_looks_at_more_than_it_needs_at_a_million_calls() {
    // Bytes sort quicker than a language, and a million are to be sorted a few times.
    let server = callbox_test_postgres::Postgres::start();
    server.run("CREATE DATABASE million TEMPLATE template0 LOCALE_PROVIDER libc LOCALE 'C'");
    let (url, folder) = (server.url("million"), tempfile::tempdir().unwrap());
    let store = Store::open(&url, folder.path()).await.unwrap();
    let large = store.default_tenant().clone();
    let small = store.create_tenant("small", &who()).await.unwrap().id;
    load(&url, &large, &small).await;
    let host = "INSERT INTO hosts (id, run, state, version, started_at, beats, heartbeat_at) VALUES ('host-0', 'r', 'up', '', 0, 0, 0)";
    sqlx::query(host).execute(&PgPool::connect(&url).await.unwrap()).await.unwrap();
    store.close().await;

    for setting in [
        "session_preload_libraries = 'auto_explain'",
        "auto_explain.log_min_duration = 0",
        "auto_explain.log_analyze = on",
        "auto_explain.log_buffers = on",
        "auto_explain.log_timing = off",
        "auto_explain.log_nested_statements = on",
        "auto_explain.log_format = 'json'",
    ] {
        server.run(&format!("ALTER DATABASE million SET {setting}"));
    }
    let options = StoreOptions { connections: 2, heartbeat: BEAT, ..StoreOptions::default() };
    let store = Store::open_with(&url, Objects::folder(folder.path()).unwrap(), options).await.unwrap();
    for tenant in [&large, &small] {
        exercise(&store, tenant).await;
    }
    work(&store, &large).await;
    store.close().await;

    let told = told(&server.folder().join("log"));
    let statements: BTreeSet<&str> = told.iter().map(|told| told.sql.as_str()).collect();
    assert!(statements.len() > 100, "{} statements: the log holds what was sent", statements.len());
    let bad: Vec<String> = told
        .iter()
        .filter(|told| told.pages > PAGES || !scanned(&told.plan).is_empty())
        .map(|told| format!("{} pages, {:?}: {}", told.pages, scanned(&told.plan), told.sql))
        .collect();
    assert!(bad.is_empty(), "{}", bad.join("\n\n"));
    no_statement_scans_a_file(&statements).await;
}

/// The plans of SQLite for the same statements.
async fn no_statement_scans_a_file(statements: &BTreeSet<&str>) {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/callbox.db", folder.path().display());
    Store::open(&url, folder.path()).await.unwrap().close().await;
    let pool = SqlitePool::connect(&url).await.unwrap();
    let mut explained = 0;
    for sql in statements {
        let sql = sql.replace("FOR UPDATE SKIP LOCKED", "").replace("FOR UPDATE", "");
        // What only a server is asked: its own checks of references, the migrations' bookkeeping, notifications.
        if ["pg_", "ONLY ", "current_", "_sqlx", "_config"].iter().any(|word| sql.contains(word)) {
            continue;
        }
        let explain = sqlx::query_as(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}")));
        let plan: Vec<(i64, i64, i64, String)> =
            explain.fetch_all(&pool).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        explained += 1;
        for (.., line) in &plan {
            let table = line.strip_prefix("SCAN ").map(|rest| rest.split(' ').next().unwrap_or(rest));
            let grows = table.is_some_and(|table| GROWING.contains(&table) || ["c", "d", "e"].contains(&table));
            assert!(!grows, "{sql}\n{plan:?}");
        }
    }
    assert!(explained > 80, "{explained}");
}
