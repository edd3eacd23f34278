//! API keys: `cbk_` + id + `_` + secret + checksum. Shown once; what is stored is
//! the SHA-256 of the whole text. The checksum lets a mistyped key be refused
//! without a look into the database.

use crate::quotas::Quotas;
use crate::secrets::Secret;
use crate::writer::Db;
use crate::{Actor, Page, PageRequest, Store, StoreError, TenantId, UnixMs, audit, columns, id};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use subtle::ConstantTimeEq;
use utoipa::ToSchema;

/// Resources that a scope may name, each with `:read` and `:write`.
pub const RESOURCES: &[&str] = &[
    "scripts",
    "numbers",
    "calls",
    "webhooks",
    "trunks",
    "sip_accounts",
    "webrtc_tokens",
    "keys",
    "audit_log",
    "usage",
    "retention",
];

/// The scope of whoever runs the deployment: makes tenants, and settles what each may use. `admin`, which is everything
/// of one tenant, does not include it.
pub const OPERATOR: &str = "operator";

/// Longest time that a key runs on beside the one made in its place.
const MAX_OVERLAP_MS: i64 = 30 * 86_400_000;

/// A key's `last_used_at` is at most so much behind.
const LAST_USED_STEP_MS: i64 = 60_000;

/// What a key may do: `scripts:write`, `calls:read` …, `admin` for everything of its tenant, `operator` for the
/// deployment's tenants. `write` includes `read`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct Scopes(pub BTreeSet<String>);

impl Scopes {
    /// Everything.
    #[must_use]
    pub fn admin() -> Self {
        Self(BTreeSet::from(["admin".to_owned()]))
    }

    /// Everything, of the deployment too: for the first key of all.
    #[must_use]
    pub fn all() -> Self {
        Self(BTreeSet::from(["admin".to_owned(), OPERATOR.to_owned()]))
    }

    /// Whether `scope`, for example `calls:read`, is allowed.
    #[must_use]
    pub fn allow(&self, scope: &str) -> bool {
        let implied = scope.strip_suffix(":read").map(|resource| format!("{resource}:write"));
        let by_admin = self.0.contains("admin") && scope != OPERATOR;
        by_admin || self.0.contains(scope) || implied.is_some_and(|w| self.0.contains(&w))
    }

    /// Whether nothing in `other` goes beyond these: a key cannot make a stronger one.
    #[must_use]
    pub fn cover(&self, other: &Self) -> bool {
        other.0.iter().all(|scope| self.allow(scope))
    }

    fn check(&self) -> Result<(), StoreError> {
        if self.0.is_empty() {
            return Err(StoreError::invalid("scopes", "required", "a key without scopes can do nothing"));
        }
        for scope in &self.0 {
            let known = matches!(scope.as_str(), "admin" | OPERATOR)
                || scope
                    .split_once(':')
                    .is_some_and(|(r, verb)| RESOURCES.contains(&r) && matches!(verb, "read" | "write"));
            if !known {
                return Err(StoreError::invalid("scopes", "invalid", format!("there is no scope {scope:?}")));
            }
        }
        Ok(())
    }
}

/// A key as it can be listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Key {
    /// `key_…`
    pub id: String,
    /// For people.
    pub name: String,
    /// What it may do.
    pub scopes: Scopes,
    /// When it was made.
    pub created_at: UnixMs,
    /// From then on it is refused.
    pub expires_at: Option<UnixMs>,
    /// To the minute.
    pub last_used_at: Option<UnixMs>,
    /// From then on it is refused.
    pub revoked_at: Option<UnixMs>,
    /// The key that was made in its place.
    pub replaced_by: Option<String>,
}

/// A key to be made.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewKey {
    /// For people, 1 to 100 characters.
    #[schema(min_length = 1, max_length = 100)]
    pub name: String,
    /// What it may do.
    pub scopes: Scopes,
    /// When it ends by itself.
    #[serde(default)]
    pub expires_at: Option<UnixMs>,
}

/// A key that was just made. The secret cannot be read again.
#[derive(Clone, Debug)]
pub struct IssuedKey {
    /// The row.
    pub key: Key,
    /// The text for `Authorization: Bearer`.
    pub secret: Secret,
}

/// Who is asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Whose data it may touch.
    pub tenant_id: TenantId,
    /// `key_…`
    pub key_id: String,
    /// What it may do.
    pub scopes: Scopes,
    /// Requests a second of all keys of the tenant together, where the tenant has its own limit.
    pub requests_per_second: Option<u32>,
}

impl Identity {
    /// For the audit log.
    #[must_use]
    pub fn actor(&self) -> Actor {
        Actor::key(&self.key_id)
    }
}

/// Why a key was refused. The answer to the client is the same for all; the
/// reason is for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not the shape of a key, or mistyped.
    #[error("not a key")]
    Malformed,
    /// Never issued.
    #[error("unknown key")]
    Unknown,
    /// Revoked.
    #[error("revoked key")]
    Revoked,
    /// Past its end.
    #[error("expired key")]
    Expired,
    /// Its tenant is suspended.
    #[error("key of a suspended tenant")]
    Suspended,
}

/// Why there is no [`Identity`].
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum AuthError {
    /// 401.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// 503 or 500: nothing is said about the key.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Fills with randomness of the operating system.
pub(crate) fn random(bytes: &mut [u8]) -> Result<(), StoreError> {
    getrandom::fill(bytes).map_err(|error| StoreError::Unavailable(format!("no randomness: {error}")))
}

const ID: usize = 32;
const SECRET: usize = 48;
const CHECKSUM: usize = 8;

/// How a secret that is also a name is written: the prefix, the hex digits of an id, `_`, a secret, a checksum.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TokenText {
    /// Of the text: `cbk_`.
    pub(crate) prefix: &'static str,
    /// Of the id inside it: `key`.
    pub(crate) kind: &'static str,
}

const KEY: TokenText = TokenText { prefix: "cbk_", kind: "key" };

fn checksum(text: &str) -> String {
    hex::encode(&Sha256::digest(text.as_bytes())[..CHECKSUM / 2])
}

/// The id (`key_…`) inside the text of a key, where shape and checksum are right.
#[must_use]
pub fn parse(text: &str) -> Option<String> {
    KEY.parse(text)
}

impl TokenText {
    /// The id inside, where shape and checksum are right.
    pub(crate) fn parse(&self, text: &str) -> Option<String> {
        if text.len() != self.prefix.len() + ID + 1 + SECRET + CHECKSUM || !text.is_ascii() {
            return None;
        }
        let (body, sum) = text.split_at(text.len() - CHECKSUM);
        let (id, secret) = body.strip_prefix(self.prefix)?.split_once('_')?;
        let id = format!("{}_{id}", self.kind);
        let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        let right = id::is(self.kind, &id)
            && secret.len() == SECRET
            && secret.bytes().all(hex)
            && bool::from(checksum(body).as_bytes().ct_eq(sum.as_bytes()));
        right.then_some(id)
    }

    /// A fresh secret around an id of this kind.
    pub(crate) fn issue(&self, id: &str) -> Result<Secret, StoreError> {
        let mut random_bytes = [0_u8; SECRET / 2];
        random(&mut random_bytes)?;
        let id = id.split_once('_').map_or(id, |(_, digits)| digits);
        let body = format!("{}{id}_{}", self.prefix, hex::encode(random_bytes));
        let sum = checksum(&body);
        Ok(Secret::new(body + &sum))
    }
}

/// What is kept of such a text.
pub(crate) fn sha256(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    name: String,
    scopes: String,
    created_at: UnixMs,
    expires_at: Option<UnixMs>,
    last_used_at: Option<UnixMs>,
    revoked_at: Option<UnixMs>,
    replaced_by: Option<String>,
}

impl Row {
    fn read(self) -> Result<Key, StoreError> {
        Ok(Key {
            id: self.id,
            name: self.name,
            scopes: columns::from_json("keys.scopes", &self.scopes)?,
            created_at: self.created_at,
            expires_at: self.expires_at,
            last_used_at: self.last_used_at,
            revoked_at: self.revoked_at,
            replaced_by: self.replaced_by,
        })
    }
}

#[derive(sqlx::FromRow)]
struct AuthRow {
    tenant_id: TenantId,
    hash: Vec<u8>,
    scopes: String,
    expires_at: Option<UnixMs>,
    last_used_at: Option<UnixMs>,
    revoked_at: Option<UnixMs>,
    suspended_at: Option<UnixMs>,
    quotas: String,
}

async fn insert(db: &mut Db, tenant: &TenantId, issued: &IssuedKey, actor: &Actor) -> Result<(), StoreError> {
    let key = &issued.key;
    sqlx::query(
        "INSERT INTO keys (id, tenant_id, name, hash, scopes, created_at, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(&key.id)
    .bind(tenant)
    .bind(&key.name)
    .bind(sha256(issued.secret.expose()).to_vec())
    .bind(columns::to_json(&key.scopes)?)
    .bind(key.created_at)
    .bind(key.expires_at)
    .execute(&mut *db)
    .await?;
    let detail = serde_json::json!({ "name": key.name, "scopes": key.scopes });
    audit::record(db, tenant, key.created_at, actor, "key.created", &key.id, detail).await
}

impl Store {
    fn make_key(&self, new: NewKey) -> Result<IssuedKey, StoreError> {
        let name = crate::bindings::checked_text("name", &new.name, 100)?;
        new.scopes.check()?;
        let id = id::new("key");
        let secret = KEY.issue(&id)?;
        let key = Key {
            id,
            name,
            scopes: new.scopes,
            created_at: self.now(),
            expires_at: new.expires_at,
            last_used_at: None,
            revoked_at: None,
            replaced_by: None,
        };
        Ok(IssuedKey { key, secret })
    }

    /// Makes a key. Check with [`Scopes::cover`] that the asker may.
    pub async fn create_key(&self, tenant: &TenantId, new: NewKey, actor: &Actor) -> Result<IssuedKey, StoreError> {
        let issued = self.make_key(new)?;
        let (row, tenant, actor) = (issued.clone(), tenant.clone(), actor.clone());
        self.write(move |db| Box::pin(async move { insert(db, &tenant, &row, &actor).await })).await?;
        Ok(issued)
    }

    /// The first administrator's key: made once, while there is no key at all. The
    /// program prints it; later starts get `None`.
    pub async fn bootstrap_key(&self) -> Result<Option<IssuedKey>, StoreError> {
        let issued = self.make_key(NewKey { name: "bootstrap".to_owned(), scopes: Scopes::all(), expires_at: None })?;
        let (row, tenant) = (issued.clone(), self.default_tenant().clone());
        let made = self
            .write(move |db| {
                Box::pin(async move {
                    let any = sqlx::query("SELECT id FROM keys LIMIT 1").fetch_optional(&mut *db).await?;
                    if any.is_some() {
                        return Ok(false);
                    }
                    insert(db, &tenant, &row, &Actor::system()).await?;
                    Ok(true)
                })
            })
            .await?;
        Ok(made.then_some(issued))
    }

    /// Who holds this key. One look by primary keys, no cache: a revocation counts
    /// from the moment it is stored.
    pub async fn authenticate(&self, text: &str) -> Result<Identity, AuthError> {
        let key_id = parse(text).ok_or(Refusal::Malformed)?;
        let row = sqlx::query_as::<_, AuthRow>(
            "SELECT k.tenant_id, k.hash, k.scopes, k.expires_at, k.last_used_at, k.revoked_at, t.suspended_at, t.quotas
             FROM keys k JOIN tenants t ON t.id = k.tenant_id WHERE k.id = $1",
        )
        .bind(&key_id)
        .fetch_optional(self.readers())
        .await
        .map_err(StoreError::from)?;
        let given = sha256(text);
        let Some(row) = row else { return Err(Refusal::Unknown.into()) };
        if !bool::from(given.as_slice().ct_eq(row.hash.as_slice())) {
            return Err(Refusal::Unknown.into());
        }
        let now = self.now();
        if row.revoked_at.is_some() {
            return Err(Refusal::Revoked.into());
        }
        if row.expires_at.is_some_and(|end| now >= end) {
            return Err(Refusal::Expired.into());
        }
        // Whoever runs the deployment can always mend what is suspended.
        let scopes: Scopes = columns::from_json("keys.scopes", &row.scopes)?;
        if row.suspended_at.is_some() && !scopes.allow(OPERATOR) {
            return Err(Refusal::Suspended.into());
        }
        let quotas: Quotas = columns::from_json("tenants.quotas", &row.quotas)?;
        if row.last_used_at.is_none_or(|last| now.since(last) >= LAST_USED_STEP_MS) {
            let id = key_id.clone();
            self.write_some_time(move |db| {
                Box::pin(async move {
                    sqlx::query("UPDATE keys SET last_used_at = $1 WHERE id = $2")
                        .bind(now)
                        .bind(id)
                        .execute(db)
                        .await?;
                    Ok(())
                })
            });
        }
        let requests_per_second = quotas.requests_per_second;
        Ok(Identity { tenant_id: row.tenant_id, key_id, scopes, requests_per_second })
    }

    /// All keys, revoked ones too, the newest first.
    pub async fn keys(&self, tenant: &TenantId, page: &PageRequest) -> Result<Page<Key>, StoreError> {
        let rows = sqlx::query_as::<_, Row>(
            "SELECT id, name, scopes, created_at, expires_at, last_used_at, revoked_at, replaced_by FROM keys
             WHERE tenant_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3",
        )
        .bind(tenant)
        .bind(page.below_id("key")?)
        .bind(page.rows())
        .fetch_all(self.readers())
        .await?;
        let keys = rows.into_iter().map(Row::read).collect::<Result<Vec<_>, _>>()?;
        Ok(Page::cut(page, keys, |k| k.id.clone()))
    }

    /// One key.
    pub async fn key(&self, tenant: &TenantId, key: &str) -> Result<Key, StoreError> {
        sqlx::query_as::<_, Row>(
            "SELECT id, name, scopes, created_at, expires_at, last_used_at, revoked_at, replaced_by FROM keys
             WHERE tenant_id = $1 AND id = $2",
        )
        .bind(tenant)
        .bind(key)
        .fetch_optional(self.readers())
        .await?
        .ok_or_else(|| StoreError::not_found("key", key))?
        .read()
    }

    /// Makes a key that may do the same, in the place of this one, which runs on for so long (at most 30 days) and not
    /// beyond its own end. Check with [`Scopes::cover`] that the asker may.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] where it is revoked, over, or replaced already.
    pub async fn rotate_key(
        &self,
        tenant: &TenantId,
        key: &str,
        keep_old_ms: i64,
        actor: &Actor,
    ) -> Result<IssuedKey, StoreError> {
        let old = self.key(tenant, key).await?;
        let now = self.now();
        let over = || StoreError::conflict("key_over", "this key is revoked, over, or replaced already: make another");
        if old.revoked_at.is_some() || old.replaced_by.is_some() || old.expires_at.is_some_and(|end| now >= end) {
            return Err(over());
        }
        let kept_until = now.plus(keep_old_ms.clamp(0, MAX_OVERLAP_MS));
        let until = old.expires_at.map_or(kept_until, |end| end.min(kept_until));
        let issued = self.make_key(NewKey { name: old.name, scopes: old.scopes, expires_at: old.expires_at })?;
        let (row, t, k, actor) = (issued.clone(), tenant.clone(), key.to_owned(), actor.clone());
        self.write(move |db| {
            Box::pin(async move {
                let changed = sqlx::query(
                    "UPDATE keys SET expires_at = $1, replaced_by = $2
                     WHERE tenant_id = $3 AND id = $4 AND revoked_at IS NULL AND replaced_by IS NULL",
                )
                .bind(until)
                .bind(&row.key.id)
                .bind(&t)
                .bind(&k)
                .execute(&mut *db)
                .await?;
                if changed.rows_affected() == 0 {
                    return Err(over());
                }
                insert(db, &t, &row, &actor).await?;
                let detail = serde_json::json!({ "replaced_by": row.key.id, "until": until });
                audit::record(db, &t, now, &actor, "key.rotated", &k, detail).await
            })
        })
        .await?;
        Ok(issued)
    }

    /// Ends a key at once. Revoking it again changes nothing.
    pub async fn revoke_key(&self, tenant: &TenantId, key: &str, actor: &Actor) -> Result<Key, StoreError> {
        let (t, k, actor, now) = (tenant.clone(), key.to_owned(), actor.clone(), self.now());
        self.write(move |db| {
            Box::pin(async move {
                let changed = sqlx::query(
                    "UPDATE keys SET revoked_at = $1 WHERE tenant_id = $2 AND id = $3 AND revoked_at IS NULL",
                )
                .bind(now)
                .bind(&t)
                .bind(&k)
                .execute(&mut *db)
                .await?;
                if changed.rows_affected() > 0 {
                    audit::record(db, &t, now, &actor, "key.revoked", &k, serde_json::json!({})).await?;
                }
                Ok(())
            })
        })
        .await?;
        self.key(tenant, key).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_key_is_recognised_and_one_wrong_letter_is_not() {
        let id = id::new("key");
        let text = KEY.issue(&id).unwrap().expose().to_owned();
        assert_eq!(parse(&text), Some(id));
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] = if bytes[at] == b'1' { b'2' } else { b'1' };
            assert_eq!(parse(std::str::from_utf8(&bytes).unwrap()), None, "at {at}");
        }
    }

    #[test]
    fn scopes_imply() {
        let some = Scopes(BTreeSet::from(["calls:write".to_owned(), "scripts:read".to_owned()]));
        assert!(some.allow("calls:read") && some.allow("calls:write") && some.allow("scripts:read"));
        assert!(!some.allow("scripts:write") && !some.allow("admin") && !some.allow("keys:read"));
        assert!(Scopes::admin().cover(&some) && !some.cover(&Scopes::admin()));
        assert!(!Scopes::admin().allow(OPERATOR) && !Scopes::admin().cover(&Scopes::all()));
        let operator = Scopes(BTreeSet::from([OPERATOR.to_owned()]));
        assert!(operator.allow(OPERATOR) && !operator.allow("calls:read") && Scopes::all().cover(&operator));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,120}") {
            prop_assert_eq!(parse(&text), None);
        }
    }
}
