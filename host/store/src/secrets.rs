//! The only way to a secret value. Lists and reads of other modules never hold
//! one; whoever needs one asks a function here, by name. In the database they are
//! sealed ([`crate::vault`]).

use crate::vault::{Vault, Whose};
use crate::writer::Db;
use crate::{Store, StoreError, TenantId, UnixMs};
use base64::Engine as _;
use std::fmt;

/// A secret value. It has no `Serialize`, and its debug text does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps one.
    #[must_use]
    pub const fn new(value: String) -> Self {
        Self(value)
    }

    /// The value itself: for signing, for a request header, or to be shown once.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The owner's part of a row: what for.
pub(crate) mod name {
    /// Signs what a webhook gets.
    pub(crate) const SIGNING: &str = "signing";
    /// What a trunk signs in with at the far end.
    pub(crate) const PASSWORD: &str = "password";
    /// What a telephone's digest is checked with.
    pub(crate) const HA1_MD5: &str = "ha1:md5";
    /// The same by SHA-256.
    pub(crate) const HA1_SHA256: &str = "ha1:sha-256";

    /// Signs the context requests of a source.
    pub(crate) fn source(source: &str) -> String {
        format!("source:{source}")
    }

    /// Before the headers of a language model; it has no secret of its own, for nothing that it gets is signed.
    pub(crate) fn model(model: &str) -> String {
        format!("model:{model}")
    }

    /// Signs the pushes to a destination.
    pub(crate) fn destination(destination: &str) -> String {
        format!("destination:{destination}")
    }

    /// A header of a source or of a destination.
    pub(crate) fn header(endpoint: &str, header: &str) -> String {
        format!("{endpoint}:header:{header}")
    }

    /// A secret that the manifest names.
    pub(crate) fn named(secret: &str) -> String {
        format!("secret:{secret}")
    }
}

/// A fresh signing secret as Standard Webhooks writes them: `whsec_` and 32
/// random bytes in base64.
pub fn generate_signing_secret() -> Result<Secret, StoreError> {
    let mut bytes = [0_u8; 32];
    crate::keys::random(&mut bytes)?;
    Ok(Secret(format!("whsec_{}", base64::engine::general_purpose::STANDARD.encode(bytes))))
}

/// Whether `text` can sign: `whsec_` and 24 to 64 bytes in base64.
#[must_use]
pub fn is_signing_secret(text: &str) -> bool {
    let Some(encoded) = text.strip_prefix("whsec_") else { return false };
    base64::engine::general_purpose::STANDARD.decode(encoded).is_ok_and(|bytes| (24..=64).contains(&bytes.len()))
}

/// Keeps a secret, over one that is there.
pub(crate) async fn put(
    db: &mut Db,
    vault: &Vault,
    tenant: &TenantId,
    owner: &str,
    name: &str,
    value: &Secret,
    now: UnixMs,
) -> Result<(), StoreError> {
    let over = "DO UPDATE SET value = excluded.value, previous = NULL, previous_until = NULL, updated_at = excluded.updated_at";
    insert(db, vault, Whose { tenant, owner, name }, value, now, over).await
}

/// The same, where there is none yet.
pub(crate) async fn put_new(
    db: &mut Db,
    vault: &Vault,
    tenant: &TenantId,
    owner: &str,
    name: &str,
    value: &Secret,
    now: UnixMs,
) -> Result<(), StoreError> {
    insert(db, vault, Whose { tenant, owner, name }, value, now, "DO NOTHING").await
}

/// Keeps a secret; `over` says what becomes of one that is there.
async fn insert(
    db: &mut Db,
    vault: &Vault,
    whose: Whose<'_>,
    value: &Secret,
    now: UnixMs,
    over: &'static str,
) -> Result<(), StoreError> {
    let sealed = vault.seal(db, whose, value).await?;
    let sql = format!(
        "INSERT INTO secrets (tenant_id, owner, name, value, updated_at) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (owner, name) {over}"
    );
    sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(whose.tenant)
        .bind(whose.owner)
        .bind(whose.name)
        .bind(sealed)
        .bind(now)
        .execute(db)
        .await?;
    Ok(())
}

/// Puts a new value in place; the old one stays good until `previous_until`.
#[expect(clippy::too_many_arguments, reason = "whose it is, what, and until when")]
pub(crate) async fn rotate(
    db: &mut Db,
    vault: &Vault,
    tenant: &TenantId,
    owner: &str,
    name: &str,
    value: &Secret,
    previous_until: UnixMs,
    now: UnixMs,
) -> Result<bool, StoreError> {
    let sealed = vault.seal(db, Whose { tenant, owner, name }, value).await?;
    let changed = sqlx::query(
        "UPDATE secrets SET previous = value, previous_until = $1, value = $2, updated_at = $3
         WHERE tenant_id = $4 AND owner = $5 AND name = $6",
    )
    .bind(previous_until)
    .bind(sealed)
    .bind(now)
    .bind(tenant)
    .bind(owner)
    .bind(name)
    .execute(db)
    .await?;
    Ok(changed.rows_affected() > 0)
}

pub(crate) async fn names(db: &mut Db, tenant: &TenantId, owner: &str) -> Result<Vec<String>, StoreError> {
    Ok(sqlx::query_scalar("SELECT name FROM secrets WHERE tenant_id = $1 AND owner = $2")
        .bind(tenant)
        .bind(owner)
        .fetch_all(db)
        .await?)
}

pub(crate) async fn remove(db: &mut Db, tenant: &TenantId, owner: &str, name: &str) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM secrets WHERE tenant_id = $1 AND owner = $2 AND name = $3")
        .bind(tenant)
        .bind(owner)
        .bind(name)
        .execute(db)
        .await?;
    Ok(())
}

pub(crate) async fn remove_all(db: &mut Db, tenant: &TenantId, owner: &str) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM secrets WHERE tenant_id = $1 AND owner = $2").bind(tenant).bind(owner).execute(db).await?;
    Ok(())
}

#[derive(sqlx::FromRow)]
struct Row {
    name: String,
    value: String,
    previous: Option<String>,
    previous_until: Option<UnixMs>,
}

/// A secret, opened.
pub(crate) struct Held {
    pub(crate) name: String,
    value: Secret,
    previous: Option<(Secret, UnixMs)>,
}

impl Held {
    fn open(vault: &Vault, tenant: &TenantId, owner: &str, row: Row) -> Result<Self, StoreError> {
        let Row { name, value, previous, previous_until } = row;
        let open = |sealed: &str| vault.open(Whose { tenant, owner, name: &name }, sealed);
        let previous = match (previous, previous_until) {
            (Some(previous), Some(until)) => Some((open(&previous)?, until)),
            _ => None,
        };
        Ok(Self { value: open(&value)?, previous, name })
    }

    /// The current value and, during a rotation, the one before.
    pub(crate) fn valid(self, now: UnixMs) -> Vec<Secret> {
        let before = self.previous.filter(|(_, until)| now < *until).map(|(previous, _)| previous);
        std::iter::once(self.value).chain(before).collect()
    }
}

impl Store {
    /// Everything secret of one owner, to be used at once and dropped.
    pub(crate) async fn held_secrets(&self, tenant: &TenantId, owner: &str) -> Result<Vec<Held>, StoreError> {
        let rows = sqlx::query_as::<_, Row>(
            "SELECT name, value, previous, previous_until FROM secrets WHERE tenant_id = $1 AND owner = $2",
        )
        .bind(tenant)
        .bind(owner)
        .fetch_all(self.readers())
        .await?;
        rows.into_iter().map(|row| Held::open(self.vault(), tenant, owner, row)).collect()
    }

    pub(crate) async fn held_secret(
        &self,
        tenant: &TenantId,
        owner: &str,
        name: &str,
    ) -> Result<Vec<Secret>, StoreError> {
        let row = sqlx::query_as::<_, Row>(
            "SELECT name, value, previous, previous_until FROM secrets
             WHERE tenant_id = $1 AND owner = $2 AND name = $3",
        )
        .bind(tenant)
        .bind(owner)
        .bind(name)
        .fetch_optional(self.readers())
        .await?;
        let held = row.map(|row| Held::open(self.vault(), tenant, owner, row)).transpose()?;
        Ok(held.map(|held| held.valid(self.now())).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_in_its_debug_text() {
        let secret = generate_signing_secret().unwrap();
        assert!(is_signing_secret(secret.expose()));
        assert_eq!(format!("{secret:?}"), "Secret(…)");
    }

    #[test]
    fn only_secrets_of_the_right_length_sign() {
        for bad in ["", "whsec_", "whsec_c2hvcnQ=", "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0", "whsec_!!!!"] {
            assert!(!is_signing_secret(bad), "{bad}");
        }
        assert!(is_signing_secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"));
    }
}
