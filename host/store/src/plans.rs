//! Every query that runs per call or per delivery finds its rows by an index, also
//! at a million calls: asserted on the plans of SQLite.

use crate::dialect::Dialect;
use crate::{Store, deliveries, routing, webrtc_tokens};

/// The plan's lines, none of which may scan a table that grows.
async fn plan(store: &Store, sql: &str) -> String {
    let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"));
    let rows: Vec<(i64, i64, i64, String)> = sqlx::query_as(explain).fetch_all(store.readers()).await.unwrap();
    rows.into_iter().map(|(.., line)| line).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn no_query_of_a_call_scans_a_table() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open("sqlite::memory:", folder.path()).await.unwrap();
    let list = "SELECT id FROM calls WHERE tenant_id = 't'";
    let page = "AND (created_at, id) < (1, 'x') ORDER BY created_at DESC, id DESC LIMIT 51";
    let lease = deliveries::lease_sql(Dialect::Sqlite);
    let queries = [
        format!("{} WHERE n.route_key = '1'", routing::BY_NUMBER),
        deliveries::OPEN.to_owned(),
        lease.clone(),
        "UPDATE deliveries SET state = 'dead' WHERE endpoint = 'e' AND tenant_id = 't' AND due_at IS NOT NULL".to_owned(),
        "UPDATE deliveries SET state = 'pending' WHERE leased_by = 'h'".to_owned(),
        "SELECT id FROM sip_accounts WHERE username = 'u' AND realm = 'r' AND enabled = 1".to_owned(),
        "SELECT id FROM sip_accounts WHERE tenant_id = 't' AND username = 'u'".to_owned(),
        "SELECT counter FROM revisions WHERE topic = 'trunks'".to_owned(),
        "SELECT COUNT(*) FROM numbers WHERE tenant_id = 't' AND trunk_id = 'k'".to_owned(),
        "SELECT id FROM calls WHERE host = 'h' AND state = 'active' AND id > 'x' ORDER BY id LIMIT 100".to_owned(),
        "SELECT id FROM events WHERE tenant_id = 't' AND call_id = 'c' ORDER BY sequence".to_owned(),
        "SELECT id FROM events WHERE call_id = 'c' AND push_seq = 1".to_owned(),
        "SELECT id FROM events WHERE tenant_id = 't' AND (created_at, id) > (1, 'x') AND created_at < 9 ORDER BY created_at, id LIMIT 200".to_owned(),
        "SELECT id, event_types FROM webhooks WHERE tenant_id = 't' AND enabled = 1 ORDER BY id".to_owned(),
        "SELECT id FROM deliveries WHERE tenant_id = 't' AND endpoint = 'e' AND id < 'x' ORDER BY id DESC LIMIT 51".to_owned(),
        "SELECT number FROM attempts WHERE tenant_id = 't' AND delivery_id = 'd' ORDER BY number DESC LIMIT 200".to_owned(),
        "SELECT id FROM audit_log WHERE tenant_id = 't' AND id < 'x' ORDER BY id DESC LIMIT 51".to_owned(),
        "SELECT id FROM audit_log WHERE tenant_id = 't' AND action = 'a' AND id < 'x' ORDER BY id DESC LIMIT 51".to_owned(),
        "SELECT id FROM audit_log WHERE tenant_id = 't' AND actor = 'a' AND id < 'x' ORDER BY id DESC LIMIT 51".to_owned(),
        "SELECT id FROM audit_log WHERE tenant_id = 't' AND target = 'a' AND id < 'x' ORDER BY id DESC LIMIT 51".to_owned(),
        "SELECT k.id FROM keys k JOIN tenants t ON t.id = k.tenant_id WHERE k.id = 'k'".to_owned(),
        "SELECT SUM(ms) FROM tolls WHERE tenant_id = 't' AND day = 1".to_owned(),
        "SELECT SUM(calls_in) FROM usage WHERE tenant_id = 't' AND day >= 1 AND day <= 2".to_owned(),
        "SELECT SUM(size) FROM versions WHERE tenant_id = 't'".to_owned(),
        "SELECT SUM(size) FROM recordings WHERE tenant_id = 't'".to_owned(),
        "SELECT name FROM secrets WHERE owner > 'o' OR (owner = 'o' AND name > 'n') ORDER BY owner, name LIMIT 200".to_owned(),
        "SELECT name FROM secrets WHERE tenant_id = 't' AND owner = 'o'".to_owned(),
        "SELECT id FROM webrtc_tokens WHERE id = 'i'".to_owned(),
        webrtc_tokens::OVER.to_owned(),
        "SELECT id FROM numbers WHERE tenant_id = 't' AND (id = 'n' OR route_key = '1')".to_owned(),
        "SELECT id FROM webrtc_tokens WHERE tenant_id = 't' AND id < 'x' ORDER BY id DESC LIMIT 51".to_owned(),
        format!("{list} {page}"),
        format!("{list} AND number_id = 'n' {page}"),
        format!("{list} AND script_id = 's' {page}"),
        format!("{list} AND outcome = 'answered' {page}"),
        format!("{list} AND created_at >= 1 AND created_at < 2 ORDER BY created_at DESC, id DESC LIMIT 51"),
    ];
    for sql in queries {
        let plan = plan(&store, &sql).await;
        // The recursion over endpoints scans its own queue of one row, a lease what it has found.
        let own = |line: &str| matches!(line, "SCAN open" | "SCAN due") || line.contains("CONSTANT ROW");
        let scans = plan.lines().filter(|line| line.starts_with("SCAN ") && !own(line));
        assert_eq!(scans.count(), 0, "{sql}\n{plan}");
        assert!(!plan.contains("USE TEMP B-TREE FOR ORDER BY") || sql == lease, "{sql}\n{plan}");
    }
}
