//! Trunks: the carriers and PBXs of a tenant. What one is, and what is wrong with one, is settled in `callbox-trunk`;
//! here they are kept, their passwords apart.

use crate::revisions::{self, Topic};
use crate::secrets::{self, Secret, name};
use crate::vault::Vault;
use crate::writer::Db;
use crate::{Actor, FieldError, Page, PageRequest, Store, StoreError, TenantId, UnixMs, audit, columns, id, outbox};
use callbox_trunk::TrunkSettings;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// Trunks of one tenant at most: every host keeps all of them in memory.
const MAX_TRUNKS: i64 = 200;

/// A carrier or a PBX.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Trunk {
    /// `trk_…`
    pub id: String,
    /// What it is; never with the password.
    #[serde(flatten)]
    pub settings: TrunkSettings,
    /// When it was made.
    pub created_at: UnixMs,
    /// When anything about it changed.
    pub updated_at: UnixMs,
}

/// A trunk with whose it is and its password, for the host that runs calls over it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedTrunk {
    /// Whose it is.
    pub tenant_id: TenantId,
    /// It.
    pub trunk: Trunk,
    /// For the far end's challenges.
    pub password: Option<Secret>,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    tenant_id: TenantId,
    settings: String,
    created_at: UnixMs,
    updated_at: UnixMs,
}

impl Row {
    fn read(self) -> Result<Trunk, StoreError> {
        Ok(Trunk {
            id: self.id,
            settings: columns::from_json("trunks.settings", &self.settings)?,
            created_at: self.created_at,
            updated_at: self.updated_at,
        })
    }
}

const COLUMNS: &str = "SELECT id, tenant_id, settings, created_at, updated_at FROM trunks";

fn sql(tail: &str) -> sqlx::AssertSqlSafe<String> {
    sqlx::AssertSqlSafe(format!("{COLUMNS} {tail}"))
}

fn check(settings: &TrunkSettings) -> Result<(), StoreError> {
    let mistakes = settings.mistakes();
    if mistakes.is_empty() {
        return Ok(());
    }
    let error = |mistake: callbox_trunk::Mistake| FieldError::new(mistake.path(), mistake.code, mistake.message);
    Err(StoreError::Invalid(mistakes.into_iter().map(error).collect()))
}

fn taken(error: sqlx::Error) -> StoreError {
    if StoreError::is_unique_violation(&error) {
        StoreError::conflict("name_taken", "a trunk of this name exists already")
    } else {
        error.into()
    }
}

/// Puts the password in its place: the one that was given, the one that is there, or none where none is wanted.
async fn keep_password(
    db: &mut Db,
    vault: &Vault,
    tenant: &TenantId,
    trunk: &str,
    settings: &TrunkSettings,
    now: UnixMs,
) -> Result<(), StoreError> {
    let Some(credentials) = &settings.credentials else {
        return secrets::remove(db, tenant, trunk, name::PASSWORD).await;
    };
    if let Some(password) = &credentials.password {
        let password = Secret::new(password.expose().to_owned());
        return secrets::put(db, vault, tenant, trunk, name::PASSWORD, &password, now).await;
    }
    let held = secrets::names(db, tenant, trunk).await?;
    if held.iter().any(|held| held == name::PASSWORD) {
        return Ok(());
    }
    Err(StoreError::invalid("credentials.password", "required", "must be given; it is stored apart and never shown"))
}

/// The trunk is one of the tenant's: for what names one.
pub(crate) async fn require(db: &mut Db, tenant: &TenantId, trunk: &str) -> Result<(), StoreError> {
    let found: Option<i64> = sqlx::query_scalar("SELECT 1 FROM trunks WHERE tenant_id = $1 AND id = $2")
        .bind(tenant)
        .bind(trunk)
        .fetch_optional(db)
        .await?;
    found.map(drop).ok_or_else(|| StoreError::not_found("trunk", trunk))
}

impl Store {
    /// Makes a trunk.
    pub async fn create_trunk(
        &self,
        tenant: &TenantId,
        settings: TrunkSettings,
        actor: &Actor,
    ) -> Result<Trunk, StoreError> {
        check(&settings)?;
        let (trunk, t, actor, now) = (id::new("trk"), tenant.clone(), actor.clone(), self.now());
        let created = trunk.clone();
        let vault = self.vault().clone();
        self.write(move |db| {
            Box::pin(async move {
                let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM trunks WHERE tenant_id = $1")
                    .bind(&t)
                    .fetch_one(&mut *db)
                    .await?;
                if count >= MAX_TRUNKS {
                    let message = format!("a tenant has at most {MAX_TRUNKS} trunks");
                    return Err(StoreError::conflict("too_many_trunks", message));
                }
                sqlx::query(
                    "INSERT INTO trunks (id, tenant_id, name, enabled, settings, created_at, updated_at)
                     VALUES ($1, $2, $3, $4, $5, $6, $6)",
                )
                .bind(&trunk)
                .bind(&t)
                .bind(&settings.name)
                .bind(i64::from(settings.enabled))
                .bind(columns::to_json(&settings)?)
                .bind(now)
                .execute(&mut *db)
                .await
                .map_err(taken)?;
                keep_password(db, &vault, &t, &trunk, &settings, now).await?;
                revisions::raise(db, Topic::Trunks).await?;
                let detail = serde_json::json!({ "name": settings.name, "enabled": settings.enabled });
                audit::record(db, &t, now, &actor, "trunk.created", &trunk, detail).await
            })
        })
        .await?;
        self.changed(Topic::Trunks);
        self.trunk(tenant, &created).await
    }

    /// Replaces everything about a trunk. Without a password in the credentials the one before stays.
    pub async fn update_trunk(
        &self,
        tenant: &TenantId,
        trunk: &str,
        settings: TrunkSettings,
        actor: &Actor,
    ) -> Result<Trunk, StoreError> {
        check(&settings)?;
        let (id, t, actor, now) = (trunk.to_owned(), tenant.clone(), actor.clone(), self.now());
        let vault = self.vault().clone();
        self.write(move |db| {
            Box::pin(async move {
                let changed = sqlx::query(
                    "UPDATE trunks SET name = $1, enabled = $2, settings = $3, updated_at = $4
                     WHERE tenant_id = $5 AND id = $6",
                )
                .bind(&settings.name)
                .bind(i64::from(settings.enabled))
                .bind(columns::to_json(&settings)?)
                .bind(now)
                .bind(&t)
                .bind(&id)
                .execute(&mut *db)
                .await
                .map_err(taken)?;
                if changed.rows_affected() == 0 {
                    return Err(StoreError::not_found("trunk", &id));
                }
                keep_password(db, &vault, &t, &id, &settings, now).await?;
                revisions::raise(db, Topic::Trunks).await?;
                let detail = serde_json::json!({ "name": settings.name, "enabled": settings.enabled });
                audit::record(db, &t, now, &actor, "trunk.updated", &id, detail).await
            })
        })
        .await?;
        self.changed(Topic::Trunks);
        self.trunk(tenant, trunk).await
    }

    /// Takes a trunk away, with its password. Refused while a number names it. Calls that run go on; calls of the past
    /// keep naming it.
    pub async fn delete_trunk(&self, tenant: &TenantId, trunk: &str, actor: &Actor) -> Result<(), StoreError> {
        let (id, t, actor, now) = (trunk.to_owned(), tenant.clone(), actor.clone(), self.now());
        self.write(move |db| {
            Box::pin(async move {
                require(db, &t, &id).await?;
                let used: i64 =
                    sqlx::query_scalar("SELECT COUNT(*) FROM numbers WHERE tenant_id = $1 AND trunk_id = $2")
                        .bind(&t)
                        .bind(&id)
                        .fetch_one(&mut *db)
                        .await?;
                if used > 0 {
                    let message = format!("{used} numbers place their calls by this trunk: change them first");
                    return Err(StoreError::conflict("in_use", message));
                }
                sqlx::query("DELETE FROM trunks WHERE tenant_id = $1 AND id = $2")
                    .bind(&t)
                    .bind(&id)
                    .execute(&mut *db)
                    .await?;
                secrets::remove_all(db, &t, &id).await?;
                revisions::raise(db, Topic::Trunks).await?;
                audit::record(db, &t, now, &actor, "trunk.deleted", &id, serde_json::json!({})).await
            })
        })
        .await?;
        self.changed(Topic::Trunks);
        Ok(())
    }

    /// One trunk.
    pub async fn trunk(&self, tenant: &TenantId, trunk: &str) -> Result<Trunk, StoreError> {
        sqlx::query_as::<_, Row>(sql("WHERE tenant_id = $1 AND id = $2"))
            .bind(tenant)
            .bind(trunk)
            .fetch_optional(self.readers())
            .await?
            .ok_or_else(|| StoreError::not_found("trunk", trunk))?
            .read()
    }

    /// All trunks of a tenant, the newest first.
    pub async fn trunks(&self, tenant: &TenantId, page: &PageRequest) -> Result<Page<Trunk>, StoreError> {
        let rows = sqlx::query_as::<_, Row>(sql("WHERE tenant_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3"))
            .bind(tenant)
            .bind(page.below_id("trk")?)
            .bind(page.rows())
            .fetch_all(self.readers())
            .await?;
        let trunks = rows.into_iter().map(Row::read).collect::<Result<Vec<_>, _>>()?;
        Ok(Page::cut(page, trunks, |trunk| trunk.id.clone()))
    }

    /// The enabled trunks of all tenants with their passwords, in the order of their making: for the host, which finds
    /// a call's tenant by its trunk. One that this version cannot read is left out, and the others work.
    pub async fn trunks_in_service(&self) -> Result<Vec<OwnedTrunk>, StoreError> {
        let rows = sqlx::query_as::<_, Row>(sql("WHERE enabled = 1 ORDER BY id")).fetch_all(self.readers()).await?;
        let mut trunks = Vec::with_capacity(rows.len());
        for row in rows {
            let (id, tenant_id) = (row.id.clone(), row.tenant_id.clone());
            let trunk = match row.read() {
                Ok(trunk) => trunk,
                Err(error) => {
                    tracing::error!(trunk = id, %error, "a trunk cannot be read: it is out of service");
                    continue;
                }
            };
            let password = match trunk.settings.credentials {
                Some(_) => match self.held_secret(&tenant_id, &id, name::PASSWORD).await {
                    Ok(held) => held.into_iter().next(),
                    Err(error @ (StoreError::Corrupt(_) | StoreError::Key(_))) => {
                        tracing::error!(trunk = id, %error, "a trunk's password cannot be read: it is out of service");
                        continue;
                    }
                    Err(error) => return Err(error),
                },
                None => None,
            };
            trunks.push(OwnedTrunk { tenant_id, trunk, password });
        }
        Ok(trunks)
    }

    /// `trunk.up`, `trunk.down`, `trunk.registration_failed` or `quota.exceeded`, for whoever wants it. The id, or none
    /// when nobody does.
    pub async fn emit_event(
        &self,
        tenant: &TenantId,
        kind: &'static str,
        data: &Value,
    ) -> Result<Option<String>, StoreError> {
        let (t, data, now) = (tenant.clone(), data.to_string(), self.now());
        let id = self
            .write_beside(move |db| {
                Box::pin(async move { outbox::announce_to_subscribers(db, &t, kind, &data, now).await })
            })
            .await?;
        if id.is_some() {
            self.wake_outbox();
        }
        Ok(id)
    }
}
