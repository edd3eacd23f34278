//! Tenants: the customers of a deployment. One exists from the start.

use crate::writer::Db;
use crate::{Actor, Store, StoreError, TenantId, UnixMs, audit, id};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A customer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema, sqlx::FromRow)]
pub struct Tenant {
    /// `ten_…`
    pub id: TenantId,
    /// For people.
    pub name: String,
    /// When it was made.
    pub created_at: UnixMs,
}

pub(crate) async fn ensure_default(db: &mut Db, now: UnixMs) -> Result<TenantId, StoreError> {
    let find = "SELECT id FROM tenants WHERE is_default = 1";
    if let Some(found) = sqlx::query_scalar::<_, TenantId>(find).fetch_optional(&mut *db).await? {
        return Ok(found);
    }
    sqlx::query(
        "INSERT INTO tenants (id, name, is_default, created_at) VALUES ($1, 'default', 1, $2)
         ON CONFLICT DO NOTHING",
    )
    .bind(id::new("ten"))
    .bind(now)
    .execute(&mut *db)
    .await?;
    Ok(sqlx::query_scalar::<_, TenantId>(find).fetch_one(db).await?)
}

impl Store {
    /// Makes another tenant. The caller (the API) has checked that the key may.
    pub async fn create_tenant(&self, name: &str, actor: &Actor) -> Result<Tenant, StoreError> {
        let name = crate::bindings::checked_text("name", name, 100)?;
        let tenant = Tenant { id: TenantId(id::new("ten")), name, created_at: self.now() };
        let (row, actor) = (tenant.clone(), actor.clone());
        self.write(move |db| {
            Box::pin(async move {
                sqlx::query("INSERT INTO tenants (id, name, is_default, created_at) VALUES ($1, $2, 0, $3)")
                    .bind(&row.id)
                    .bind(&row.name)
                    .bind(row.created_at)
                    .execute(&mut *db)
                    .await?;
                let detail = serde_json::json!({ "name": row.name });
                audit::record(db, &row.id, row.created_at, &actor, "tenant.created", row.id.as_str(), detail).await
            })
        })
        .await?;
        Ok(tenant)
    }

    /// One tenant.
    pub async fn tenant(&self, tenant: &TenantId) -> Result<Tenant, StoreError> {
        sqlx::query_as::<_, Tenant>("SELECT id, name, created_at FROM tenants WHERE id = $1")
            .bind(tenant)
            .fetch_optional(self.readers())
            .await?
            .ok_or_else(|| StoreError::not_found("tenant", tenant.as_str()))
    }
}
