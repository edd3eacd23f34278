//! Webhooks: where a tenant's results go.

use crate::secrets::{self, Secret, name};
use crate::writer::Db;
use crate::{Actor, Page, PageRequest, Store, StoreError, TenantId, UnixMs, audit, bindings, columns, deliveries, id};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use utoipa::ToSchema;

/// What a webhook can ask for.
pub const EVENT_TYPES: &[&str] = &[
    "call.started",
    "call.answered",
    "call.turn",
    "call.transferred",
    "call.completed",
    "call.recording.ready",
    "call.recording.failed",
    "script.published",
    "script.rolled_back",
    "trunk.down",
    "trunk.up",
    "trunk.registration_failed",
    "quota.exceeded",
];

/// Only for those who name them: there are many.
pub const OPT_IN_TYPES: &[&str] = &["call.turn"];

/// Webhooks of one tenant at most: each gets every event.
const MAX_WEBHOOKS: i64 = 1_000;

/// A receiver of events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Webhook {
    /// `whk_…`
    pub id: String,
    /// Where events are posted.
    pub url: String,
    /// For people.
    pub description: Option<String>,
    /// Which ones; empty for all but the opt-in ones (`call.turn`).
    pub event_types: BTreeSet<String>,
    /// Whether it gets anything.
    pub enabled: bool,
    /// Why the platform switched it off: `gone` after a 410.
    pub disabled_reason: Option<String>,
    /// When it was switched off.
    pub disabled_at: Option<UnixMs>,
    /// When it was made.
    pub created_at: UnixMs,
    /// When anything about it changed.
    pub updated_at: UnixMs,
}

/// A webhook to be made, or all that one is to be from now on.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewWebhook {
    /// `https://…`, without user and password.
    pub url: String,
    /// For people.
    #[serde(default)]
    pub description: Option<String>,
    /// Which events; empty for all but the opt-in ones.
    #[serde(default)]
    pub event_types: BTreeSet<String>,
    /// Whether it gets anything.
    #[serde(default = "yes")]
    pub enabled: bool,
}

const fn yes() -> bool {
    true
}

/// A webhook that was just made. The secret can be read again with
/// [`Store::webhook_secret`].
#[derive(Clone, Debug)]
pub struct IssuedWebhook {
    /// The row.
    pub webhook: Webhook,
    /// `whsec_…`
    pub secret: Secret,
}

pub(crate) fn wants(event_types: &BTreeSet<String>, kind: &str) -> bool {
    if event_types.is_empty() { !OPT_IN_TYPES.contains(&kind) } else { event_types.contains(kind) }
}

fn check(mut new: NewWebhook) -> Result<NewWebhook, StoreError> {
    if let Some(error) = bindings::check_url("url", &new.url) {
        return Err(StoreError::Invalid(vec![error]));
    }
    if let Some(unknown) = new.event_types.iter().find(|t| !EVENT_TYPES.contains(&t.as_str())) {
        let unknown: String = unknown.chars().take(64).collect();
        return Err(StoreError::invalid("event_types", "invalid", format!("there is no event type {unknown:?}")));
    }
    new.description = new.description.filter(|d| !d.trim().is_empty());
    new.description = new.description.map(|d| bindings::checked_text("description", &d, 1_000)).transpose()?;
    Ok(new)
}

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    url: String,
    description: Option<String>,
    event_types: String,
    enabled: i64,
    disabled_reason: Option<String>,
    disabled_at: Option<UnixMs>,
    created_at: UnixMs,
    updated_at: UnixMs,
}

impl Row {
    fn read(self) -> Result<Webhook, StoreError> {
        Ok(Webhook {
            id: self.id,
            url: self.url,
            description: self.description,
            event_types: columns::from_json("webhooks.event_types", &self.event_types)?,
            enabled: self.enabled != 0,
            disabled_reason: self.disabled_reason,
            disabled_at: self.disabled_at,
            created_at: self.created_at,
            updated_at: self.updated_at,
        })
    }
}

const COLUMNS: &str = "SELECT id, url, description, event_types, enabled, disabled_reason, disabled_at, created_at,
    updated_at FROM webhooks WHERE tenant_id = $1";

fn sql(tail: &str) -> sqlx::AssertSqlSafe<String> {
    sqlx::AssertSqlSafe(format!("{COLUMNS} {tail}"))
}

/// The ids of those who want this kind of event now.
pub(crate) async fn subscribers(db: &mut Db, tenant: &TenantId, kind: &str) -> Result<Vec<String>, StoreError> {
    let [wanting] = subscribers_of(db, tenant, [kind]).await?;
    Ok(wanting)
}

/// The same for several kinds at once.
pub(crate) async fn subscribers_of<const N: usize>(
    db: &mut Db,
    tenant: &TenantId,
    kinds: [&str; N],
) -> Result<[Vec<String>; N], StoreError> {
    let all: Vec<(String, String)> =
        sqlx::query_as("SELECT id, event_types FROM webhooks WHERE tenant_id = $1 AND enabled = 1 ORDER BY id")
            .bind(tenant)
            .fetch_all(db)
            .await?;
    let mut wanting = [const { Vec::new() }; N];
    for (id, event_types) in all {
        let event_types = columns::from_json("webhooks.event_types", &event_types)?;
        for (kind, wanting) in kinds.iter().zip(&mut wanting) {
            if wants(&event_types, kind) {
                wanting.push(id.clone());
            }
        }
    }
    Ok(wanting)
}

/// Switches a webhook off because of what its receiver said.
pub(crate) async fn disable(
    db: &mut Db,
    tenant: &TenantId,
    webhook: &str,
    reason: &str,
    now: UnixMs,
) -> Result<(), StoreError> {
    let changed = sqlx::query(
        "UPDATE webhooks SET enabled = 0, disabled_reason = $1, disabled_at = $2, updated_at = $2
         WHERE tenant_id = $3 AND id = $4 AND enabled = 1",
    )
    .bind(reason)
    .bind(now)
    .bind(tenant)
    .bind(webhook)
    .execute(&mut *db)
    .await?;
    if changed.rows_affected() > 0 {
        deliveries::give_up_all(db, tenant, webhook, "endpoint_disabled", now).await?;
        let detail = serde_json::json!({ "reason": reason });
        audit::record(db, tenant, now, &Actor::system(), "webhook.disabled", webhook, detail).await?;
    }
    Ok(())
}

impl Store {
    /// Makes a webhook and its signing secret.
    pub async fn create_webhook(
        &self,
        tenant: &TenantId,
        new: NewWebhook,
        actor: &Actor,
    ) -> Result<IssuedWebhook, StoreError> {
        self.create_webhook_with_secret(tenant, new, None, actor).await
    }

    /// The same with a signing secret of one's own (`whsec_…`), where one is given.
    pub async fn create_webhook_with_secret(
        &self,
        tenant: &TenantId,
        new: NewWebhook,
        given: Option<Secret>,
        actor: &Actor,
    ) -> Result<IssuedWebhook, StoreError> {
        let new = check(new)?;
        let secret = match given {
            Some(secret) if secrets::is_signing_secret(secret.expose()) => secret,
            Some(_) => {
                let message = "must be whsec_ and 24 to 64 bytes in base64";
                return Err(StoreError::invalid("secret", "invalid", message));
            }
            None => secrets::generate_signing_secret()?,
        };
        let now = self.now();
        let webhook = Webhook {
            id: id::new("whk"),
            url: new.url,
            description: new.description,
            event_types: new.event_types,
            enabled: new.enabled,
            disabled_reason: None,
            disabled_at: None,
            created_at: now,
            updated_at: now,
        };
        let (row, signing, t, actor) = (webhook.clone(), secret.clone(), tenant.clone(), actor.clone());
        let vault = self.vault().clone();
        self.write(move |db| {
            Box::pin(async move {
                let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM webhooks WHERE tenant_id = $1")
                    .bind(&t)
                    .fetch_one(&mut *db)
                    .await?;
                if count >= MAX_WEBHOOKS {
                    let message = format!("a tenant has at most {MAX_WEBHOOKS} webhooks");
                    return Err(StoreError::conflict("too_many_webhooks", message));
                }
                sqlx::query(
                    "INSERT INTO webhooks (id, tenant_id, url, description, event_types, enabled, created_at, updated_at)
                     VALUES ($1, $2, $3, $4, $5, $6, $7, $7)",
                )
                .bind(&row.id)
                .bind(&t)
                .bind(&row.url)
                .bind(&row.description)
                .bind(columns::to_json(&row.event_types)?)
                .bind(i64::from(row.enabled))
                .bind(now)
                .execute(&mut *db)
                .await?;
                secrets::put(db, &vault, &t, &row.id, name::SIGNING, &signing, now).await?;
                audit::record(db, &t, now, &actor, "webhook.created", &row.id, serde_json::json!({})).await
            })
        })
        .await?;
        Ok(IssuedWebhook { webhook, secret })
    }

    /// Replaces everything about a webhook but its secrets. Switching it on again
    /// clears the reason why it was off; switching it off ends what was under way.
    pub async fn update_webhook(
        &self,
        tenant: &TenantId,
        webhook: &str,
        new: NewWebhook,
        actor: &Actor,
    ) -> Result<Webhook, StoreError> {
        let new = check(new)?;
        let (t, w, actor, now) = (tenant.clone(), webhook.to_owned(), actor.clone(), self.now());
        self.write(move |db| {
            Box::pin(async move {
                let changed = sqlx::query(
                    "UPDATE webhooks SET url = $1, description = $2, event_types = $3, enabled = $4,
                            disabled_reason = CASE WHEN $4 = 1 THEN NULL ELSE disabled_reason END,
                            disabled_at = CASE WHEN $4 = 1 THEN NULL ELSE COALESCE(disabled_at, $5) END,
                            updated_at = $5
                     WHERE tenant_id = $6 AND id = $7",
                )
                .bind(&new.url)
                .bind(&new.description)
                .bind(columns::to_json(&new.event_types)?)
                .bind(i64::from(new.enabled))
                .bind(now)
                .bind(&t)
                .bind(&w)
                .execute(&mut *db)
                .await?;
                if changed.rows_affected() == 0 {
                    return Err(StoreError::not_found("webhook", &w));
                }
                if !new.enabled {
                    deliveries::give_up_all(db, &t, &w, "endpoint_disabled", now).await?;
                }
                let detail = serde_json::json!({ "enabled": new.enabled });
                audit::record(db, &t, now, &actor, "webhook.updated", &w, detail).await
            })
        })
        .await?;
        self.webhook(tenant, webhook).await
    }

    /// Takes a webhook away, with its secrets. What was under way is given up; the
    /// deliveries of the past stay readable.
    pub async fn delete_webhook(&self, tenant: &TenantId, webhook: &str, actor: &Actor) -> Result<(), StoreError> {
        let (t, w, actor, now) = (tenant.clone(), webhook.to_owned(), actor.clone(), self.now());
        self.write(move |db| {
            Box::pin(async move {
                let gone = sqlx::query("DELETE FROM webhooks WHERE tenant_id = $1 AND id = $2")
                    .bind(&t)
                    .bind(&w)
                    .execute(&mut *db)
                    .await?;
                if gone.rows_affected() == 0 {
                    return Err(StoreError::not_found("webhook", &w));
                }
                secrets::remove_all(db, &t, &w).await?;
                deliveries::give_up_all(db, &t, &w, "endpoint_deleted", now).await?;
                audit::record(db, &t, now, &actor, "webhook.deleted", &w, serde_json::json!({})).await
            })
        })
        .await
    }

    /// One webhook.
    pub async fn webhook(&self, tenant: &TenantId, webhook: &str) -> Result<Webhook, StoreError> {
        sqlx::query_as::<_, Row>(sql("AND id = $2"))
            .bind(tenant)
            .bind(webhook)
            .fetch_optional(self.readers())
            .await?
            .ok_or_else(|| StoreError::not_found("webhook", webhook))?
            .read()
    }

    /// All webhooks, the newest first.
    pub async fn webhooks(&self, tenant: &TenantId, page: &PageRequest) -> Result<Page<Webhook>, StoreError> {
        let rows = sqlx::query_as::<_, Row>(sql("AND id < $2 ORDER BY id DESC LIMIT $3"))
            .bind(tenant)
            .bind(page.below_id("whk")?)
            .bind(page.rows())
            .fetch_all(self.readers())
            .await?;
        let webhooks = rows.into_iter().map(Row::read).collect::<Result<Vec<_>, _>>()?;
        Ok(Page::cut(page, webhooks, |w| w.id.clone()))
    }

    /// The signing secret of a webhook, for whoever may write webhooks.
    pub async fn webhook_secret(&self, tenant: &TenantId, webhook: &str) -> Result<Secret, StoreError> {
        self.webhook(tenant, webhook).await?;
        let mut held = self.held_secret(tenant, webhook, name::SIGNING).await?;
        if held.is_empty() { Err(StoreError::not_found("secret", webhook)) } else { Ok(held.swap_remove(0)) }
    }

    /// Makes a new signing secret; the old one signs too for so long (at most a week).
    pub async fn rotate_webhook_secret(
        &self,
        tenant: &TenantId,
        webhook: &str,
        keep_old_ms: i64,
        actor: &Actor,
    ) -> Result<Secret, StoreError> {
        let secret = secrets::generate_signing_secret()?;
        let (t, w, actor, now, value) = (tenant.clone(), webhook.to_owned(), actor.clone(), self.now(), secret.clone());
        let until = now.plus(keep_old_ms.clamp(0, 7 * 86_400_000));
        let vault = self.vault().clone();
        self.write(move |db| {
            Box::pin(async move {
                if !secrets::rotate(db, &vault, &t, &w, name::SIGNING, &value, until, now).await? {
                    return Err(StoreError::not_found("webhook", &w));
                }
                let detail = serde_json::json!({ "previous_until": until });
                audit::record(db, &t, now, &actor, "webhook.secret_rotated", &w, detail).await
            })
        })
        .await?;
        Ok(secret)
    }
}
