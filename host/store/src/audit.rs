//! Who changed what. Rows are written in the transaction of the change itself.

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
        "INSERT INTO audit_log (id, tenant_id, at, actor, action, target, detail)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(id::new("aud"))
    .bind(tenant)
    .bind(at)
    .bind(&actor.0)
    .bind(action)
    .bind(target)
    .bind(detail.to_string())
    .execute(db)
    .await?;
    Ok(())
}

type Row = (String, UnixMs, String, String, String, String);

impl Store {
    /// The log, the newest first.
    pub async fn audit_log(&self, tenant: &TenantId, page: &PageRequest) -> Result<Page<AuditEntry>, StoreError> {
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT id, at, actor, action, target, detail FROM audit_log
             WHERE tenant_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3",
        )
        .bind(tenant)
        .bind(page.below_id("aud")?)
        .bind(page.rows())
        .fetch_all(self.readers())
        .await?;
        let entries = rows
            .into_iter()
            .map(|(id, at, actor, action, target, detail)| {
                let detail = columns::from_json("audit_log.detail", &detail)?;
                Ok(AuditEntry { id, at, actor, action, target, detail })
            })
            .collect::<Result<Vec<_>, StoreError>>()?;
        Ok(Page::cut(page, entries, |e| e.id.clone()))
    }
}
