//! Scripts and their versions: uploaded once, never changed, published and rolled
//! back with a history.

use crate::manifest::Names;
use crate::writer::Db;
use crate::{Actor, Page, PageRequest, Store, StoreError, TenantId, UnixMs, audit, bindings, columns, id, outbox};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// A script.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Script {
    /// `scr_…`
    pub id: String,
    /// Unique in its tenant.
    pub name: String,
    /// For people.
    pub description: Option<String>,
    /// The version that answers calls.
    pub published_version: Option<u32>,
    /// The newest version.
    pub latest_version: Option<u32>,
    /// When it was made.
    pub created_at: UnixMs,
    /// When anything about it changed.
    pub updated_at: UnixMs,
}

/// A script to be made, or what is to change about one.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewScript {
    /// 1 to 64 letters, digits, `_`, `-`, `.`; unique in the tenant.
    #[schema(pattern = "^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
    pub name: String,
    /// For people.
    #[serde(default)]
    #[schema(max_length = 1000)]
    pub description: Option<String>,
}

/// An uploaded component.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Version {
    /// `scr_…`
    pub script_id: String,
    /// 1, 2, 3 …
    pub version: u32,
    /// `sha256:…` of the component.
    pub digest: String,
    /// Bytes.
    pub size: u64,
    /// As the component carries it.
    pub manifest: Value,
    /// What it imports: its permissions.
    pub imports: Vec<String>,
    /// What was checked at the upload.
    pub checks: Value,
    /// What it was built with, where it says so.
    pub toolchain: Option<String>,
    /// Given with the upload.
    pub note: Option<String>,
    /// When it was uploaded.
    pub created_at: UnixMs,
    /// By which key.
    pub created_by: String,
}

/// A component that passed admission; its bytes are already a blob
/// ([`Store::put_blob`]).
#[derive(Clone, Debug, PartialEq)]
pub struct NewVersion {
    /// `sha256:…`
    pub digest: String,
    /// Bytes.
    pub size: u64,
    /// As the component carries it; sources, destinations, settings and secrets are
    /// read from it ([`Names`]).
    pub manifest: Value,
    /// What it imports.
    pub imports: Vec<String>,
    /// What was checked.
    pub checks: Value,
    /// What it was built with.
    pub toolchain: Option<String>,
    /// Given with the upload.
    pub note: Option<String>,
}

/// What came of an upload.
#[derive(Clone, Debug, PartialEq)]
pub struct Uploaded {
    /// The version that holds this component.
    pub version: Version,
    /// False when the same component was there already.
    pub created: bool,
}

/// How a version came to be live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PublicationAction {
    /// Somebody chose it.
    Publish,
    /// It was live before and was brought back.
    Rollback,
}

/// One entry of the history of what was live.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Publication {
    /// `pub_…`
    pub id: String,
    /// `scr_…`
    pub script_id: String,
    /// What went live.
    pub version: u32,
    /// How.
    pub action: PublicationAction,
    /// When.
    pub at: UnixMs,
    /// By which key.
    pub actor: String,
}

#[derive(sqlx::FromRow)]
struct ScriptRow {
    id: String,
    name: String,
    description: Option<String>,
    published_version: Option<i64>,
    latest_version: Option<i64>,
    created_at: UnixMs,
    updated_at: UnixMs,
}

impl From<ScriptRow> for Script {
    fn from(row: ScriptRow) -> Self {
        Self {
            id: row.id,
            name: row.name,
            description: row.description,
            published_version: row.published_version.map(columns::count32),
            latest_version: row.latest_version.map(columns::count32),
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

#[derive(sqlx::FromRow)]
struct VersionRow {
    script_id: String,
    version: i64,
    digest: String,
    size: i64,
    manifest: String,
    imports: String,
    checks: String,
    toolchain: Option<String>,
    note: Option<String>,
    created_at: UnixMs,
    created_by: String,
}

impl VersionRow {
    fn read(self) -> Result<Version, StoreError> {
        Ok(Version {
            script_id: self.script_id,
            version: columns::count32(self.version),
            digest: self.digest,
            size: columns::count64(self.size),
            manifest: columns::from_json("versions.manifest", &self.manifest)?,
            imports: columns::from_json("versions.imports", &self.imports)?,
            checks: columns::from_json("versions.checks", &self.checks)?,
            toolchain: self.toolchain,
            note: self.note,
            created_at: self.created_at,
            created_by: self.created_by,
        })
    }
}

#[derive(sqlx::FromRow)]
struct PublicationRow {
    id: String,
    version: i64,
    action: String,
    returns_to: Option<String>,
    at: UnixMs,
    actor: String,
}

impl PublicationRow {
    fn read(self, script: &str) -> Result<Publication, StoreError> {
        Ok(Publication {
            id: self.id,
            script_id: script.to_owned(),
            version: columns::count32(self.version),
            action: columns::word("publications.action", &self.action)?,
            at: self.at,
            actor: self.actor,
        })
    }
}

/// There is such a script, and it is not deleted.
pub(crate) async fn require(db: &mut Db, tenant: &TenantId, script: &str) -> Result<(), StoreError> {
    sqlx::query("SELECT id FROM scripts WHERE tenant_id = $1 AND id = $2 AND deleted_at IS NULL")
        .bind(tenant)
        .bind(script)
        .fetch_optional(db)
        .await?
        .map(|_| ())
        .ok_or_else(|| StoreError::not_found("script", script))
}

/// The names of a version's manifest.
pub(crate) async fn names(db: &mut Db, tenant: &TenantId, script: &str, version: u32) -> Result<Names, StoreError> {
    let manifest: Option<String> =
        sqlx::query_scalar("SELECT manifest FROM versions WHERE tenant_id = $1 AND script_id = $2 AND version = $3")
            .bind(tenant)
            .bind(script)
            .bind(i64::from(version))
            .fetch_optional(db)
            .await?;
    let manifest = manifest.ok_or_else(|| StoreError::not_found("version", &version.to_string()))?;
    columns::from_json("versions.manifest", &manifest)
}

/// Refuses a version whose manifest names something that is not bound.
pub(crate) async fn require_bound(
    db: &mut Db,
    tenant: &TenantId,
    script: &str,
    version: u32,
) -> Result<(), StoreError> {
    let names = names(db, tenant, script, version).await?;
    let unbound = names.unbound(&bindings::load(db, tenant, script).await?);
    if unbound.is_empty() { Ok(()) } else { Err(StoreError::Unbound(unbound)) }
}

async fn last_publication(db: &mut Db, tenant: &TenantId, script: &str) -> Result<Option<PublicationRow>, StoreError> {
    Ok(sqlx::query_as::<_, PublicationRow>(
        "SELECT id, version, action, returns_to, at, actor FROM publications
         WHERE tenant_id = $1 AND script_id = $2 ORDER BY id DESC LIMIT 1",
    )
    .bind(tenant)
    .bind(script)
    .fetch_optional(db)
    .await?)
}

/// Makes a version live: history, script, event and audit in one transaction.
async fn make_live(
    db: &mut Db,
    tenant: &TenantId,
    script: &str,
    row: PublicationRow,
    actor: &Actor,
) -> Result<Publication, StoreError> {
    sqlx::query(
        "INSERT INTO publications (id, tenant_id, script_id, version, action, returns_to, at, actor)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(&row.id)
    .bind(tenant)
    .bind(script)
    .bind(row.version)
    .bind(&row.action)
    .bind(&row.returns_to)
    .bind(row.at)
    .bind(&row.actor)
    .execute(&mut *db)
    .await?;
    sqlx::query("UPDATE scripts SET published_version = $1, updated_at = $2 WHERE tenant_id = $3 AND id = $4")
        .bind(row.version)
        .bind(row.at)
        .bind(tenant)
        .bind(script)
        .execute(&mut *db)
        .await?;
    let at = row.at;
    let publication = row.read(script)?;
    let kind = match publication.action {
        PublicationAction::Publish => "script.published",
        PublicationAction::Rollback => "script.rolled_back",
    };
    outbox::announce(db, tenant, kind, &columns::to_json(&publication)?, at).await?;
    let detail = serde_json::json!({ "version": publication.version });
    audit::record(db, tenant, at, actor, kind, script, detail).await?;
    Ok(publication)
}

const SCRIPT: &str = "SELECT s.id, s.name, s.description, s.published_version, s.created_at, s.updated_at,
    (SELECT MAX(version) FROM versions v WHERE v.script_id = s.id) AS latest_version
    FROM scripts s WHERE s.tenant_id = $1 AND s.deleted_at IS NULL";

const VERSION: &str = "SELECT script_id, version, digest, size, manifest, imports, checks, toolchain, note,
    created_at, created_by FROM versions WHERE tenant_id = $1 AND script_id = $2";

/// A constant of ours with a constant of ours behind it.
fn sql(head: &str, tail: &str) -> sqlx::AssertSqlSafe<String> {
    sqlx::AssertSqlSafe(format!("{head} {tail}"))
}

fn name_taken(name: &str) -> StoreError {
    StoreError::conflict("name_taken", format!("there is a script {name:?} already"))
}

fn check(new: NewScript) -> Result<NewScript, StoreError> {
    if !bindings::is_name(&new.name) {
        let message = "1 to 64 letters, digits, '_', '-', '.'; a letter or digit first";
        return Err(StoreError::invalid("name", "invalid", message));
    }
    let description = new.description.filter(|d| !d.trim().is_empty());
    let description = description.map(|d| bindings::checked_text("description", &d, 1_000)).transpose()?;
    Ok(NewScript { name: new.name, description })
}

impl Store {
    /// Makes a script without any version.
    pub async fn create_script(&self, tenant: &TenantId, new: NewScript, actor: &Actor) -> Result<Script, StoreError> {
        let new = check(new)?;
        let now = self.now();
        let script = Script {
            id: id::new("scr"),
            name: new.name,
            description: new.description,
            published_version: None,
            latest_version: None,
            created_at: now,
            updated_at: now,
        };
        let (row, tenant, actor) = (script.clone(), tenant.clone(), actor.clone());
        self.write(move |db| {
            Box::pin(async move {
                sqlx::query(
                    "INSERT INTO scripts (id, tenant_id, name, description, created_at, updated_at)
                     VALUES ($1, $2, $3, $4, $5, $5)",
                )
                .bind(&row.id)
                .bind(&tenant)
                .bind(&row.name)
                .bind(&row.description)
                .bind(now)
                .execute(&mut *db)
                .await
                .map_err(|e| if StoreError::is_unique_violation(&e) { name_taken(&row.name) } else { e.into() })?;
                let detail = serde_json::json!({ "name": row.name });
                audit::record(db, &tenant, now, &actor, "script.created", &row.id, detail).await
            })
        })
        .await?;
        Ok(script)
    }

    /// Changes name and description.
    pub async fn update_script(
        &self,
        tenant: &TenantId,
        script: &str,
        new: NewScript,
        actor: &Actor,
    ) -> Result<Script, StoreError> {
        let new = check(new)?;
        let (t, s, actor, now) = (tenant.clone(), script.to_owned(), actor.clone(), self.now());
        self.write(move |db| {
            Box::pin(async move {
                let changed = sqlx::query(
                    "UPDATE scripts SET name = $1, description = $2, updated_at = $3
                     WHERE tenant_id = $4 AND id = $5 AND deleted_at IS NULL",
                )
                .bind(&new.name)
                .bind(&new.description)
                .bind(now)
                .bind(&t)
                .bind(&s)
                .execute(&mut *db)
                .await
                .map_err(|e| if StoreError::is_unique_violation(&e) { name_taken(&new.name) } else { e.into() })?;
                if changed.rows_affected() == 0 {
                    return Err(StoreError::not_found("script", &s));
                }
                let detail = serde_json::json!({ "name": new.name });
                audit::record(db, &t, now, &actor, "script.updated", &s, detail).await
            })
        })
        .await?;
        self.script(tenant, script).await
    }

    /// Takes a script out of use. Refused while a number answers with it; calls of
    /// the past keep naming it.
    pub async fn delete_script(&self, tenant: &TenantId, script: &str, actor: &Actor) -> Result<(), StoreError> {
        let (t, s, actor, now) = (tenant.clone(), script.to_owned(), actor.clone(), self.now());
        self.write(move |db| {
            Box::pin(async move {
                require(db, &t, &s).await?;
                let used = sqlx::query("SELECT id FROM numbers WHERE tenant_id = $1 AND script_id = $2 LIMIT 1")
                    .bind(&t)
                    .bind(&s)
                    .fetch_optional(&mut *db)
                    .await?;
                if used.is_some() {
                    return Err(StoreError::conflict(
                        "in_use",
                        "a number answers with this script; change the number first",
                    ));
                }
                sqlx::query(
                    "UPDATE scripts SET deleted_at = $1, published_version = NULL WHERE tenant_id = $2 AND id = $3",
                )
                .bind(now)
                .bind(&t)
                .bind(&s)
                .execute(&mut *db)
                .await?;
                audit::record(db, &t, now, &actor, "script.deleted", &s, serde_json::json!({})).await
            })
        })
        .await
    }

    /// One script.
    pub async fn script(&self, tenant: &TenantId, script: &str) -> Result<Script, StoreError> {
        sqlx::query_as::<_, ScriptRow>(sql(SCRIPT, "AND s.id = $2"))
            .bind(tenant)
            .bind(script)
            .fetch_optional(self.readers())
            .await?
            .map(Script::from)
            .ok_or_else(|| StoreError::not_found("script", script))
    }

    /// The script of this name.
    pub async fn script_by_name(&self, tenant: &TenantId, name: &str) -> Result<Option<Script>, StoreError> {
        let row = sqlx::query_as::<_, ScriptRow>(sql(SCRIPT, "AND s.name = $2"))
            .bind(tenant)
            .bind(name)
            .fetch_optional(self.readers())
            .await?;
        Ok(row.map(Script::from))
    }

    /// All scripts, the newest first.
    pub async fn scripts(&self, tenant: &TenantId, page: &PageRequest) -> Result<Page<Script>, StoreError> {
        let rows = sqlx::query_as::<_, ScriptRow>(sql(SCRIPT, "AND s.id < $2 ORDER BY s.id DESC LIMIT $3"))
            .bind(tenant)
            .bind(page.below_id("scr")?)
            .bind(page.rows())
            .fetch_all(self.readers())
            .await?;
        let scripts = rows.into_iter().map(Script::from).collect();
        Ok(Page::cut(page, scripts, |s: &Script| s.id.clone()))
    }

    /// Adds a version, or finds the one that holds the same component. The bytes
    /// must have been stored with [`Store::put_blob`].
    pub async fn add_version(
        &self,
        tenant: &TenantId,
        script: &str,
        new: NewVersion,
        actor: &Actor,
    ) -> Result<Uploaded, StoreError> {
        serde_json::from_value::<Names>(new.manifest.clone())
            .map_err(|error| StoreError::invalid("manifest", "invalid", error.to_string()))?;
        if !self.has_blob(&new.digest).await? {
            return Err(self.artefact_error(&new.digest));
        }
        let (t, s, actor, now) = (tenant.clone(), script.to_owned(), actor.clone(), self.now());
        self.write(move |db| {
            Box::pin(async move {
                require(db, &t, &s).await?;
                let same = sqlx::query_as::<_, VersionRow>(sql(VERSION, "AND digest = $3"))
                    .bind(&t)
                    .bind(&s)
                    .bind(&new.digest)
                    .fetch_optional(&mut *db)
                    .await?;
                if let Some(row) = same {
                    return Ok(Uploaded { version: row.read()?, created: false });
                }
                let last: Option<i64> = sqlx::query_scalar("SELECT MAX(version) FROM versions WHERE script_id = $1")
                    .bind(&s)
                    .fetch_one(&mut *db)
                    .await?;
                let version = Version {
                    script_id: s.clone(),
                    version: columns::count32(last.unwrap_or(0) + 1),
                    digest: new.digest,
                    size: new.size,
                    manifest: new.manifest,
                    imports: new.imports,
                    checks: new.checks,
                    toolchain: new.toolchain,
                    note: new.note,
                    created_at: now,
                    created_by: actor.id.clone(),
                };
                insert_version(db, &t, &version).await?;
                let detail = serde_json::json!({ "version": version.version, "digest": version.digest });
                audit::record(db, &t, now, &actor, "script.uploaded", &s, detail).await?;
                Ok(Uploaded { version, created: true })
            })
        })
        .await
    }

    /// All versions of a script, the newest first.
    pub async fn versions(
        &self,
        tenant: &TenantId,
        script: &str,
        page: &PageRequest,
    ) -> Result<Page<Version>, StoreError> {
        require(&mut *self.readers().acquire().await?, tenant, script).await?;
        let rows = sqlx::query_as::<_, VersionRow>(sql(VERSION, "AND version < $3 ORDER BY version DESC LIMIT $4"))
            .bind(tenant)
            .bind(script)
            .bind(page.below_number()?)
            .bind(page.rows())
            .fetch_all(self.readers())
            .await?;
        let versions = rows.into_iter().map(VersionRow::read).collect::<Result<Vec<_>, _>>()?;
        Ok(Page::cut(page, versions, |v| v.version.to_string()))
    }

    /// One version.
    pub async fn version(&self, tenant: &TenantId, script: &str, version: u32) -> Result<Version, StoreError> {
        sqlx::query_as::<_, VersionRow>(sql(VERSION, "AND version = $3"))
            .bind(tenant)
            .bind(script)
            .bind(i64::from(version))
            .fetch_optional(self.readers())
            .await?
            .ok_or_else(|| StoreError::not_found("version", &version.to_string()))?
            .read()
    }

    /// The names of a version's manifest that nobody has bound, as `source
    /// appointment`, `secret token` …; empty when it can be published.
    pub async fn unbound(&self, tenant: &TenantId, script: &str, version: u32) -> Result<Vec<String>, StoreError> {
        let mut db = self.readers().acquire().await?;
        let names = names(&mut db, tenant, script, version).await?;
        Ok(names.unbound(&bindings::load(&mut db, tenant, script).await?))
    }

    /// Makes a version answer calls from now on. Publishing the one that is live
    /// already changes nothing and answers with its publication.
    pub async fn publish(
        &self,
        tenant: &TenantId,
        script: &str,
        version: u32,
        actor: &Actor,
    ) -> Result<Publication, StoreError> {
        let (t, s, actor, now) = (tenant.clone(), script.to_owned(), actor.clone(), self.now());
        let publication = self
            .write(move |db| {
                Box::pin(async move {
                    require(db, &t, &s).await?;
                    require_bound(db, &t, &s, version).await?;
                    let last = last_publication(db, &t, &s).await?;
                    if let Some(row) = last.as_ref().filter(|row| row.version == i64::from(version)) {
                        return Ok(Publication {
                            id: row.id.clone(),
                            script_id: s,
                            version,
                            action: columns::word("publications.action", &row.action)?,
                            at: row.at,
                            actor: row.actor.clone(),
                        });
                    }
                    let row = PublicationRow {
                        id: id::new("pub"),
                        version: i64::from(version),
                        action: "publish".to_owned(),
                        returns_to: last.map(|row| row.id),
                        at: now,
                        actor: actor.id.clone(),
                    };
                    make_live(db, &t, &s, row, &actor).await
                })
            })
            .await?;
        self.wake_outbox();
        Ok(publication)
    }

    /// Brings back what was live before. Again, and it goes one further back.
    pub async fn rollback(&self, tenant: &TenantId, script: &str, actor: &Actor) -> Result<Publication, StoreError> {
        let (t, s, actor, now) = (tenant.clone(), script.to_owned(), actor.clone(), self.now());
        let publication = self
            .write(move |db| {
                Box::pin(async move {
                    require(db, &t, &s).await?;
                    let nothing = || StoreError::conflict("nothing_to_roll_back", "no other version was live before");
                    let last = last_publication(db, &t, &s).await?.ok_or_else(nothing)?;
                    let target = last.returns_to.ok_or_else(nothing)?;
                    let target = sqlx::query_as::<_, PublicationRow>(
                        "SELECT id, version, action, returns_to, at, actor FROM publications
                         WHERE tenant_id = $1 AND id = $2",
                    )
                    .bind(&t)
                    .bind(target)
                    .fetch_one(&mut *db)
                    .await?;
                    require_bound(db, &t, &s, columns::count32(target.version)).await?;
                    let row = PublicationRow {
                        id: id::new("pub"),
                        version: target.version,
                        action: "rollback".to_owned(),
                        returns_to: target.returns_to,
                        at: now,
                        actor: actor.id.clone(),
                    };
                    make_live(db, &t, &s, row, &actor).await
                })
            })
            .await?;
        self.wake_outbox();
        Ok(publication)
    }

    /// What was live when, the newest first.
    pub async fn publications(
        &self,
        tenant: &TenantId,
        script: &str,
        page: &PageRequest,
    ) -> Result<Page<Publication>, StoreError> {
        require(&mut *self.readers().acquire().await?, tenant, script).await?;
        let rows = sqlx::query_as::<_, PublicationRow>(
            "SELECT id, version, action, returns_to, at, actor FROM publications
             WHERE tenant_id = $1 AND script_id = $2 AND id < $3 ORDER BY id DESC LIMIT $4",
        )
        .bind(tenant)
        .bind(script)
        .bind(page.below_id("pub")?)
        .bind(page.rows())
        .fetch_all(self.readers())
        .await?;
        let all = rows.into_iter().map(|row| row.read(script)).collect::<Result<Vec<_>, _>>()?;
        Ok(Page::cut(page, all, |p| p.id.clone()))
    }
}

async fn insert_version(db: &mut Db, tenant: &TenantId, version: &Version) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO versions (tenant_id, script_id, version, digest, size, manifest, imports, checks, toolchain,
                               note, created_at, created_by)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
    )
    .bind(tenant)
    .bind(&version.script_id)
    .bind(i64::from(version.version))
    .bind(&version.digest)
    .bind(columns::column(version.size))
    .bind(columns::to_json(&version.manifest)?)
    .bind(columns::to_json(&version.imports)?)
    .bind(columns::to_json(&version.checks)?)
    .bind(&version.toolchain)
    .bind(&version.note)
    .bind(version.created_at)
    .bind(&version.created_by)
    .execute(&mut *db)
    .await?;
    sqlx::query("UPDATE scripts SET updated_at = $1 WHERE tenant_id = $2 AND id = $3")
        .bind(version.created_at)
        .bind(tenant)
        .bind(&version.script_id)
        .execute(db)
        .await?;
    Ok(())
}
