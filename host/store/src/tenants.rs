//! Tenants: the customers of a deployment. One exists from the start.

use crate::quotas::Quotas;
use crate::writer::Db;
use crate::{Actor, Page, PageRequest, Store, StoreError, TenantId, UnixMs, audit, bindings, columns, id};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A customer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Tenant {
    /// `ten_…`
    pub id: TenantId,
    /// For people.
    pub name: String,
    /// When it was made.
    pub created_at: UnixMs,
    /// Since then its keys are refused and its numbers do not answer.
    pub suspended_at: Option<UnixMs>,
    /// What it may use, where that is not what the deployment has for all.
    pub quotas: Quotas,
}

/// A tenant to be made, or all that one is to be from now on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTenant {
    /// For people, 1 to 100 characters.
    #[schema(min_length = 1, max_length = 100)]
    pub name: String,
    /// Whether its keys are refused and its numbers do not answer. Calls that run go on.
    #[serde(default)]
    pub suspended: bool,
    /// What it may use, where that is not what the deployment has for all.
    #[serde(default)]
    pub quotas: Quotas,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: TenantId,
    name: String,
    created_at: UnixMs,
    suspended_at: Option<UnixMs>,
    quotas: String,
}

impl Row {
    fn read(self) -> Result<Tenant, StoreError> {
        let Self { id, name, created_at, suspended_at, quotas } = self;
        Ok(Tenant { id, name, created_at, suspended_at, quotas: columns::from_json("tenants.quotas", &quotas)? })
    }
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
    /// Makes another tenant of this name. The caller (the API) has checked that the key may.
    pub async fn create_tenant(&self, name: &str, actor: &Actor) -> Result<Tenant, StoreError> {
        let new = NewTenant { name: name.to_owned(), suspended: false, quotas: Quotas::default() };
        self.add_tenant(new, actor).await
    }

    /// Makes another tenant. The caller (the API) has checked that the key may.
    pub async fn add_tenant(&self, new: NewTenant, actor: &Actor) -> Result<Tenant, StoreError> {
        let name = bindings::checked_text("name", &new.name, 100)?;
        new.quotas.check()?;
        let now = self.now();
        let suspended_at = new.suspended.then_some(now);
        let tenant = Tenant { id: TenantId(id::new("ten")), name, created_at: now, suspended_at, quotas: new.quotas };
        let (row, actor) = (tenant.clone(), actor.clone());
        self.write(move |db| {
            Box::pin(async move {
                sqlx::query(
                    "INSERT INTO tenants (id, name, is_default, created_at, suspended_at, quotas)
                     VALUES ($1, $2, 0, $3, $4, $5)",
                )
                .bind(&row.id)
                .bind(&row.name)
                .bind(row.created_at)
                .bind(row.suspended_at)
                .bind(columns::to_json(&row.quotas)?)
                .execute(&mut *db)
                .await?;
                let detail = serde_json::json!({ "name": row.name, "quotas": row.quotas });
                audit::record(db, &row.id, row.created_at, &actor, "tenant.created", row.id.as_str(), detail).await
            })
        })
        .await?;
        Ok(tenant)
    }

    /// Replaces everything about a tenant. The change is in the tenant's own log. The caller (the API) has checked that
    /// the key may.
    pub async fn update_tenant(&self, tenant: &TenantId, new: NewTenant, actor: &Actor) -> Result<Tenant, StoreError> {
        let name = bindings::checked_text("name", &new.name, 100)?;
        new.quotas.check()?;
        let (t, actor, now) = (tenant.clone(), actor.clone(), self.now());
        self.write(move |db| {
            Box::pin(async move {
                // Who is suspended already stays so since then.
                let changed = sqlx::query(
                    "UPDATE tenants SET name = $1, quotas = $2,
                            suspended_at = CASE WHEN $3 = 0 THEN NULL ELSE COALESCE(suspended_at, $4) END
                     WHERE id = $5",
                )
                .bind(&name)
                .bind(columns::to_json(&new.quotas)?)
                .bind(i64::from(new.suspended))
                .bind(now)
                .bind(&t)
                .execute(&mut *db)
                .await?;
                if changed.rows_affected() == 0 {
                    return Err(StoreError::not_found("tenant", t.as_str()));
                }
                let detail = serde_json::json!({ "name": name, "suspended": new.suspended, "quotas": new.quotas });
                audit::record(db, &t, now, &actor, "tenant.updated", t.as_str(), detail).await
            })
        })
        .await?;
        self.tenant(tenant).await
    }

    /// One tenant.
    pub async fn tenant(&self, tenant: &TenantId) -> Result<Tenant, StoreError> {
        sqlx::query_as::<_, Row>("SELECT id, name, created_at, suspended_at, quotas FROM tenants WHERE id = $1")
            .bind(tenant)
            .fetch_optional(self.readers())
            .await?
            .ok_or_else(|| StoreError::not_found("tenant", tenant.as_str()))?
            .read()
    }

    /// All tenants, the newest first: for whoever runs the deployment.
    pub async fn tenants(&self, page: &PageRequest) -> Result<Page<Tenant>, StoreError> {
        let rows = sqlx::query_as::<_, Row>(
            "SELECT id, name, created_at, suspended_at, quotas FROM tenants WHERE id < $1 ORDER BY id DESC LIMIT $2",
        )
        .bind(page.below_id("ten")?)
        .bind(page.rows())
        .fetch_all(self.readers())
        .await?;
        let tenants = rows.into_iter().map(Row::read).collect::<Result<Vec<_>, _>>()?;
        Ok(Page::cut(page, tenants, |tenant| tenant.id.0.clone()))
    }
}
