//! SIP accounts: telephones of a tenant that register here and are known by digest authentication.
//!
//! A password is never kept. What is kept are the hashes that digest works with (HA1, RFC 7616 §3.4.2), one for MD5 and
//! one for SHA-256. Both are made of the user name, the *realm* and the password: when the operator changes the host's
//! realm, they are worth nothing, and each account needs its password again. Until then it cannot sign in, and its
//! `realm` shows why.

use crate::revisions::{self, Topic};
use crate::secrets::{self, Secret, name};
use crate::vault::Vault;
use crate::writer::Db;
use crate::{Actor, FieldError, Page, PageRequest, Store, StoreError, TenantId, UnixMs, audit, bindings, id};
use callbox_trunk::check::is_user;
use callbox_trunk::settings::Password;
use md5::Md5;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

/// Accounts of one tenant at most.
const MAX_ACCOUNTS: i64 = 10_000;

/// A telephone's account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SipAccount {
    /// `acc_…`
    pub id: String,
    /// What it registers as, and signs in with; unique on this host.
    pub username: String,
    /// The realm its password was given for. Where it is not the host's (any more), give the password again.
    pub realm: String,
    /// The name that is shown.
    pub display_name: Option<String>,
    /// The number or name its calls come from; none for the user name.
    pub caller_id: Option<String>,
    /// Whether it can sign in.
    pub enabled: bool,
    /// When it was made.
    pub created_at: UnixMs,
    /// When anything about it changed.
    pub updated_at: UnixMs,
}

/// An account to be made, or all that one is to be from now on.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"username": "ada", "password": "a long one", "display_name": "Ada"}))]
pub struct NewSipAccount {
    /// Letters, digits and `-_.!~*'()&=+$`.
    #[schema(min_length = 1, max_length = 64, example = "ada")]
    pub username: String,
    /// At least 8 characters. Goes in and is never shown or kept: only its hashes are. Left out in a change that keeps
    /// the user name, the one before stays.
    #[serde(default)]
    #[schema(write_only, value_type = Option<String>, min_length = 8, max_length = 256)]
    pub password: Option<Password>,
    /// The name that is shown.
    #[serde(default)]
    #[schema(min_length = 1, max_length = 100)]
    pub display_name: Option<String>,
    /// The number or name its calls come from; none for the user name.
    #[serde(default)]
    #[schema(min_length = 1, max_length = 64, example = "+493012345")]
    pub caller_id: Option<String>,
    /// Whether it can sign in.
    #[serde(default = "yes")]
    pub enabled: bool,
}

const fn yes() -> bool {
    true
}

/// An account as whoever checks a digest needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DigestAccount {
    /// Whose it is.
    pub tenant_id: TenantId,
    /// It.
    pub account: SipAccount,
    /// MD5 of `username:realm:password`, hex.
    pub ha1_md5: Secret,
    /// SHA-256 of the same, hex.
    pub ha1_sha256: Secret,
}

fn check(new: &NewSipAccount) -> Result<(), StoreError> {
    let mut wrong = Vec::new();
    if !is_user(&new.username) {
        let message = "1 to 64 letters, digits and -_.!~*'()&=+$";
        wrong.push(FieldError::new("username", "invalid", message));
    }
    if let Some(password) = &new.password {
        let text = password.expose();
        if !(8..=256).contains(&text.chars().count()) || text.chars().any(char::is_control) {
            wrong.push(FieldError::new("password", "invalid", "8 to 256 characters without control characters"));
        }
    }
    if new.caller_id.as_deref().is_some_and(|caller| !is_user(caller)) {
        wrong.push(FieldError::new("caller_id", "invalid", "a number, or a plain name"));
    }
    if let Some(name) = &new.display_name
        && let Err(StoreError::Invalid(errors)) = bindings::checked_text("display_name", name, 100)
    {
        wrong.extend(errors);
    }
    if wrong.is_empty() { Ok(()) } else { Err(StoreError::Invalid(wrong)) }
}

/// MD5 and SHA-256 of `username:realm:password`, in hex.
fn ha1(username: &str, realm: &str, password: &Password) -> (Secret, Secret) {
    let text = format!("{username}:{realm}:{}", password.expose());
    (Secret::new(hex::encode(Md5::digest(&text))), Secret::new(hex::encode(Sha256::digest(&text))))
}

async fn keep_hashes(
    db: &mut Db,
    vault: &Vault,
    tenant: &TenantId,
    account: &str,
    (md5, sha256): &(Secret, Secret),
    now: UnixMs,
) -> Result<(), StoreError> {
    secrets::put(db, vault, tenant, account, name::HA1_MD5, md5, now).await?;
    secrets::put(db, vault, tenant, account, name::HA1_SHA256, sha256, now).await
}

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    tenant_id: TenantId,
    username: String,
    realm: String,
    display_name: Option<String>,
    caller_id: Option<String>,
    enabled: i64,
    created_at: UnixMs,
    updated_at: UnixMs,
}

impl Row {
    fn read(self) -> SipAccount {
        SipAccount {
            id: self.id,
            username: self.username,
            realm: self.realm,
            display_name: self.display_name,
            caller_id: self.caller_id,
            enabled: self.enabled != 0,
            created_at: self.created_at,
            updated_at: self.updated_at,
        }
    }
}

pub(crate) const COLUMNS: &str = "SELECT id, tenant_id, username, realm, display_name, caller_id, enabled, created_at,
    updated_at FROM sip_accounts";

fn sql(tail: &str) -> sqlx::AssertSqlSafe<String> {
    sqlx::AssertSqlSafe(format!("{COLUMNS} {tail}"))
}

fn taken(error: sqlx::Error) -> StoreError {
    if StoreError::is_unique_violation(&error) {
        StoreError::conflict("username_taken", "this user name is in use already on this host")
    } else {
        error.into()
    }
}

impl Store {
    /// Makes an account that signs in at this realm.
    pub async fn create_sip_account(
        &self,
        tenant: &TenantId,
        new: NewSipAccount,
        realm: &str,
        actor: &Actor,
    ) -> Result<SipAccount, StoreError> {
        check(&new)?;
        let Some(password) = &new.password else {
            return Err(StoreError::invalid("password", "required", "must be given; only its hashes are kept"));
        };
        let hashes = ha1(&new.username, realm, password);
        let now = self.now();
        let account = SipAccount {
            id: id::new("acc"),
            username: new.username,
            realm: realm.to_owned(),
            display_name: new.display_name,
            caller_id: new.caller_id,
            enabled: new.enabled,
            created_at: now,
            updated_at: now,
        };
        let (row, t, actor) = (account.clone(), tenant.clone(), actor.clone());
        let vault = self.vault().clone();
        self.write(move |db| {
            Box::pin(async move {
                let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM sip_accounts WHERE tenant_id = $1")
                    .bind(&t)
                    .fetch_one(&mut *db)
                    .await?;
                if count >= MAX_ACCOUNTS {
                    let message = format!("a tenant has at most {MAX_ACCOUNTS} SIP accounts");
                    return Err(StoreError::conflict("too_many_sip_accounts", message));
                }
                sqlx::query(
                    "INSERT INTO sip_accounts (id, tenant_id, username, realm, display_name, caller_id, enabled,
                                               created_at, updated_at)
                     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8)",
                )
                .bind(&row.id)
                .bind(&t)
                .bind(&row.username)
                .bind(&row.realm)
                .bind(&row.display_name)
                .bind(&row.caller_id)
                .bind(i64::from(row.enabled))
                .bind(now)
                .execute(&mut *db)
                .await
                .map_err(taken)?;
                keep_hashes(db, &vault, &t, &row.id, &hashes, now).await?;
                revisions::raise(db, Topic::SipAccounts).await?;
                let detail = serde_json::json!({ "username": row.username });
                audit::record(db, &t, now, &actor, "sip_account.created", &row.id, detail).await
            })
        })
        .await?;
        self.changed(Topic::SipAccounts);
        Ok(account)
    }

    /// Replaces everything about an account. A new password is for this realm; without one the hashes stay, and with
    /// them the realm they are for. Another user name needs the password, which the hashes are made of too.
    pub async fn update_sip_account(
        &self,
        tenant: &TenantId,
        account: &str,
        new: NewSipAccount,
        realm: &str,
        actor: &Actor,
    ) -> Result<SipAccount, StoreError> {
        check(&new)?;
        let current = self.sip_account(tenant, account).await?;
        if new.password.is_none() && new.username != current.username {
            let message = "another user name needs the password again";
            return Err(StoreError::invalid("password", "required", message));
        }
        let hashes = new.password.as_ref().map(|password| ha1(&new.username, realm, password));
        let realm = if hashes.is_some() { realm.to_owned() } else { current.realm };
        let (a, t, actor, now) = (account.to_owned(), tenant.clone(), actor.clone(), self.now());
        let vault = self.vault().clone();
        self.write(move |db| {
            Box::pin(async move {
                // The realm and the name that the hashes are for: another change may have come between.
                let changed = sqlx::query(
                    "UPDATE sip_accounts SET username = $1, realm = $2, display_name = $3, caller_id = $4, enabled = $5,
                            updated_at = $6
                     WHERE tenant_id = $7 AND id = $8 AND ($9 = 1 OR (username = $1 AND realm = $2))",
                )
                .bind(&new.username)
                .bind(&realm)
                .bind(&new.display_name)
                .bind(&new.caller_id)
                .bind(i64::from(new.enabled))
                .bind(now)
                .bind(&t)
                .bind(&a)
                .bind(i64::from(hashes.is_some()))
                .execute(&mut *db)
                .await
                .map_err(taken)?;
                if changed.rows_affected() == 0 {
                    return Err(StoreError::not_found("SIP account", &a));
                }
                if let Some(hashes) = &hashes {
                    keep_hashes(db, &vault, &t, &a, hashes, now).await?;
                }
                revisions::raise(db, Topic::SipAccounts).await?;
                let detail = serde_json::json!({
                    "username": new.username, "enabled": new.enabled, "password_changed": hashes.is_some(),
                });
                audit::record(db, &t, now, &actor, "sip_account.updated", &a, detail).await
            })
        })
        .await?;
        self.changed(Topic::SipAccounts);
        self.sip_account(tenant, account).await
    }

    /// Takes an account away: it cannot sign in any more.
    pub async fn delete_sip_account(&self, tenant: &TenantId, account: &str, actor: &Actor) -> Result<(), StoreError> {
        let (a, t, actor, now) = (account.to_owned(), tenant.clone(), actor.clone(), self.now());
        self.write(move |db| {
            Box::pin(async move {
                let gone = sqlx::query("DELETE FROM sip_accounts WHERE tenant_id = $1 AND id = $2")
                    .bind(&t)
                    .bind(&a)
                    .execute(&mut *db)
                    .await?;
                if gone.rows_affected() == 0 {
                    return Err(StoreError::not_found("SIP account", &a));
                }
                secrets::remove_all(db, &t, &a).await?;
                revisions::raise(db, Topic::SipAccounts).await?;
                audit::record(db, &t, now, &actor, "sip_account.deleted", &a, serde_json::json!({})).await
            })
        })
        .await?;
        self.changed(Topic::SipAccounts);
        Ok(())
    }

    /// One account.
    pub async fn sip_account(&self, tenant: &TenantId, account: &str) -> Result<SipAccount, StoreError> {
        let row = sqlx::query_as::<_, Row>(sql("WHERE tenant_id = $1 AND id = $2"))
            .bind(tenant)
            .bind(account)
            .fetch_optional(self.readers())
            .await?;
        row.map(Row::read).ok_or_else(|| StoreError::not_found("SIP account", account))
    }

    /// The account of a tenant that has this user name.
    pub async fn sip_account_named(&self, tenant: &TenantId, username: &str) -> Result<Option<SipAccount>, StoreError> {
        let row = sqlx::query_as::<_, Row>(sql("WHERE tenant_id = $1 AND username = $2"))
            .bind(tenant)
            .bind(username)
            .fetch_optional(self.readers())
            .await?;
        Ok(row.map(Row::read))
    }

    /// All accounts of a tenant, the newest first.
    pub async fn sip_accounts(&self, tenant: &TenantId, page: &PageRequest) -> Result<Page<SipAccount>, StoreError> {
        let rows = sqlx::query_as::<_, Row>(sql("WHERE tenant_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3"))
            .bind(tenant)
            .bind(page.below_id("acc")?)
            .bind(page.rows())
            .fetch_all(self.readers())
            .await?;
        Ok(Page::cut(page, rows.into_iter().map(Row::read).collect(), |account| account.id.clone()))
    }

    /// Whose account has this id, and it: for a call that signed in as it. Starts without a tenant: the account tells it.
    pub async fn signed_in(&self, account: &str) -> Result<Option<(TenantId, SipAccount)>, StoreError> {
        let row = sqlx::query_as::<_, Row>(sql("WHERE id = $1 AND enabled = 1"))
            .bind(account)
            .fetch_optional(self.readers())
            .await?;
        Ok(row.map(|row| (row.tenant_id.clone(), row.read())))
    }

    /// Who signs in with this name at this realm: an enabled account whose hashes are for the realm. Starts without a
    /// tenant: the account tells it.
    pub async fn digest_account(&self, username: &str, realm: &str) -> Result<Option<DigestAccount>, StoreError> {
        let row = sqlx::query_as::<_, Row>(sql("WHERE username = $1 AND realm = $2 AND enabled = 1"))
            .bind(username)
            .bind(realm)
            .fetch_optional(self.readers())
            .await?;
        let Some(row) = row else { return Ok(None) };
        let (tenant_id, account) = (row.tenant_id.clone(), row.read());
        let (mut ha1_md5, mut ha1_sha256) = (None, None);
        let now = self.now();
        for held in self.held_secrets(&tenant_id, &account.id).await? {
            match held.name.as_str() {
                name::HA1_MD5 => ha1_md5 = held.valid(now).into_iter().next(),
                name::HA1_SHA256 => ha1_sha256 = held.valid(now).into_iter().next(),
                _ => {}
            }
        }
        let (Some(ha1_md5), Some(ha1_sha256)) = (ha1_md5, ha1_sha256) else { return Ok(None) };
        Ok(Some(DigestAccount { tenant_id, account, ha1_md5, ha1_sha256 }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hashes_are_those_of_the_rfc() {
        // RFC 7616 §3.9.1 gives these parts; the hashes are of `username:realm:password`.
        let (md5, sha256) = ha1("Mufasa", "http-auth@example.org", &Password::new("Circle of Life".into()));
        assert_eq!(md5.expose(), "3d78807defe7de2157e2b0b6573a855f");
        assert_eq!(sha256.expose(), "7987c64c30e25f1b74be53f966b49b90f2808aa92faf9a00262392d7b4794232");
    }
}
