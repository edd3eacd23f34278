//! Who changed what, when, and from where. Rows are written in the transaction of the change itself, and never changed.

use crate::statement::Statement;
use crate::writer::Db;
use crate::{Actor, Page, PageRequest, Store, StoreError, TenantId, UnixMs, columns, id};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// One change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AuditEntry {
    /// `aud_…`
    pub id: String,
    /// When.
    pub at: UnixMs,
    /// A key's id, or `system`.
    pub actor: String,
    /// `script.published`, `key.revoked` …
    pub action: String,
    /// The id of what was changed.
    pub target: String,
    /// More, without secrets.
    pub detail: Value,
    /// The address the request came from; none for what the host did by itself.
    pub source: Option<String>,
    /// The request's name in the host's log.
    pub request_id: Option<String>,
}

/// Which changes: all given conditions hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// By this key, or `system`.
    pub actor: Option<String>,
    /// Of this kind.
    pub action: Option<String>,
    /// Of this thing.
    pub target: Option<String>,
    /// Then or later.
    pub from: Option<UnixMs>,
    /// Before.
    pub to: Option<UnixMs>,
}

pub(crate) async fn record(
    db: &mut Db,
    tenant: &TenantId,
    at: UnixMs,
    actor: &Actor,
    action: &str,
    target: &str,
    detail: Value,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO audit_log (id, tenant_id, at, actor, action, target, detail, source, request_id)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(id::new("aud"))
    .bind(tenant)
    .bind(at)
    .bind(&actor.id)
    .bind(action)
    .bind(target)
    .bind(detail.to_string())
    .bind(&actor.source)
    .bind(&actor.request_id)
    .execute(db)
    .await?;
    Ok(())
}

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    at: UnixMs,
    actor: String,
    action: String,
    target: String,
    detail: String,
    source: Option<String>,
    request_id: Option<String>,
}

impl Row {
    fn read(self) -> Result<AuditEntry, StoreError> {
        let Self { id, at, actor, action, target, detail, source, request_id } = self;
        let detail = columns::from_json("audit_log.detail", &detail)?;
        Ok(AuditEntry { id, at, actor, action, target, detail, source, request_id })
    }
}

impl Store {
    /// The log, the newest first.
    pub async fn audit_log(
        &self,
        tenant: &TenantId,
        filter: &AuditFilter,
        page: &PageRequest,
    ) -> Result<Page<AuditEntry>, StoreError> {
        let mut query = Statement::new(
            "SELECT id, at, actor, action, target, detail, source, request_id FROM audit_log WHERE tenant_id = ",
        );
        query.with("", tenant.as_str()).with(" AND id < ", page.below_id("aud")?.as_str());
        for (column, wanted) in
            [(" AND actor = ", &filter.actor), (" AND action = ", &filter.action), (" AND target = ", &filter.target)]
        {
            if let Some(wanted) = wanted {
                query.with(column, wanted.as_str());
            }
        }
        if let Some(from) = filter.from {
            query.with(" AND at >= ", from);
        }
        if let Some(to) = filter.to {
            query.with(" AND at < ", to);
        }
        query.with(" ORDER BY id DESC LIMIT ", page.rows());
        let rows: Vec<Row> = query.fetch_all(self.readers()).await?;
        let entries = rows.into_iter().map(Row::read).collect::<Result<Vec<_>, _>>()?;
        Ok(Page::cut(page, entries, |entry| entry.id.clone()))
    }
}
