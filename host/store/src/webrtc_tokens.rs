//! Tokens of web pages and apps: each lets its holder call one number, for a while and so many times.
//!
//! `cbt_` + id + `_` + secret + checksum, as an API key is made. Shown once; what is stored is the SHA-256 of the whole
//! text. A token that is over is kept for a day, so that whoever comes with it is told why it is refused, and then swept
//! away when new ones are made.

use crate::keys::TokenText;
use crate::secrets::Secret;
use crate::writer::Db;
use crate::{
    Actor, FieldError, Page, PageRequest, Store, StoreError, TenantId, UnixMs, audit, bindings, columns, id, numbers,
};
use callbox_trunk::numbers::is_e164;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use subtle::ConstantTimeEq;
use utoipa::ToSchema;

/// Calls that one token may make, at most.
pub const MAX_USES: u32 = 100_000;
/// Origins of one token.
pub const MAX_ORIGINS: usize = 20;
/// Bytes of its variables, as JSON.
pub const MAX_VARIABLES: usize = 16 * 1_024;
/// Bytes of an origin, and of the names of a call.
const MAX_TEXT: usize = 255;
/// How long a token that is over is remembered.
const REMEMBERED_MS: i64 = 24 * 3_600_000;
/// Tokens that are swept away when one is made: more than are made.
const SWEPT: i64 = 64;

/// Who calls with a token, as the script and the books see it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenCaller {
    /// Your own name for the visitor: the caller's address is `webrtc:` and this; without it, the token's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 100, example = "customer-4711")]
    pub id: Option<String>,
    /// The name that is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 100, example = "Ada")]
    pub display_name: Option<String>,
    /// The visitor's telephone number, where you know it: E.164.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^\\+[0-9]{7,15}$", example = "+4930123456")]
    pub number: Option<String>,
}

/// What a token's calls begin with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TokenSettings {
    /// A JSON object for the script: `call.get-info().parameters`.
    pub variables: Option<Value>,
    /// Pages that may use it, `https://shop.example`; none for all, and for apps.
    pub origins: Vec<String>,
    /// Who calls.
    pub caller: TokenCaller,
    /// The customer's own name for the calls.
    pub external_id: Option<String>,
    /// Ties calls together.
    pub relation_id: Option<String>,
}

/// A token to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewWebToken {
    /// `num_…`, or what is dialled.
    pub number: String,
    /// What its calls begin with.
    pub settings: TokenSettings,
    /// Calls that may be made with it.
    pub uses: u32,
    /// How long it is good.
    pub lifetime_ms: i64,
}

/// A token as it can be listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebToken {
    /// `wrt_…`
    pub id: String,
    /// Whose it is.
    pub tenant_id: TenantId,
    /// `num_…`
    pub number_id: String,
    /// What its calls begin with.
    pub settings: TokenSettings,
    /// Calls that may be made with it.
    pub uses: u32,
    /// Calls that were.
    pub used: u32,
    /// When it was made.
    pub created_at: UnixMs,
    /// From then on it is refused.
    pub expires_at: UnixMs,
    /// From then on it is refused.
    pub revoked_at: Option<UnixMs>,
}

/// A token that was just made. Its text cannot be read again.
#[derive(Clone, Debug)]
pub struct IssuedWebToken {
    /// The row.
    pub token: WebToken,
    /// The text for `Authorization: Bearer`.
    pub secret: Secret,
}

/// Why a token is refused. Whoever holds its text may know.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TokenError {
    /// Not a token, or one that was never made, or was swept away long after its end.
    #[error("the token is not valid")]
    Unknown,
    /// Past its end.
    #[error("the token expired at {0}: ask whoever made it for another")]
    Expired(UnixMs),
    /// Taken back.
    #[error("the token was revoked")]
    Revoked,
    /// All its calls were made.
    #[error("the token was for {0} call(s), and that is how many were made with it: ask whoever made it for another")]
    Spent(u32),
    /// Nothing is said about the token.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a token's text looks like.
const TEXT: TokenText = TokenText { prefix: "cbt_", kind: "wrt" };

/// The id (`wrt_…`) inside the text of a token, where shape and checksum are right.
#[must_use]
pub fn parse(text: &str) -> Option<String> {
    TEXT.parse(text)
}

/// What is kept of a token's text.
#[must_use]
pub fn hash(text: &str) -> [u8; 32] {
    crate::keys::sha256(text)
}

/// An origin as browsers write it (RFC 6454 §6.2): scheme and host in lower case, no default port, no path.
///
/// # Errors
/// In words, where it is none.
pub fn origin(text: &str) -> Result<String, &'static str> {
    const WRONG: &str = "an origin is a scheme and a host, and a port where it is not the usual: https://shop.example";
    if text.len() > MAX_TEXT {
        return Err(WRONG);
    }
    let url = url::Url::parse(text).map_err(|_| WRONG)?;
    let bare = matches!(url.path(), "" | "/")
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    let host = url.host_str().filter(|host| !host.is_empty() && !host.contains('*')).ok_or(WRONG)?;
    if !bare {
        return Err(WRONG);
    }
    Ok(match url.port() {
        Some(port) => format!("{}://{host}:{port}", url.scheme()),
        None => format!("{}://{host}", url.scheme()),
    })
}

impl WebToken {
    /// Whether a page of this origin may use it; none for what is no page, or does not say.
    #[must_use]
    pub fn admits(&self, given: Option<&str>) -> bool {
        let origins = &self.settings.origins;
        origins.is_empty() || given.and_then(|given| origin(given).ok()).is_some_and(|given| origins.contains(&given))
    }

    /// Whether a call may be made with it now.
    ///
    /// # Errors
    /// Why not.
    pub const fn check(&self, now: UnixMs) -> Result<(), TokenError> {
        if self.revoked_at.is_some() {
            return Err(TokenError::Revoked);
        }
        if now.0 >= self.expires_at.0 {
            return Err(TokenError::Expired(self.expires_at));
        }
        if self.used >= self.uses {
            return Err(TokenError::Spent(self.uses));
        }
        Ok(())
    }
}

fn check(new: &NewWebToken) -> Result<TokenSettings, StoreError> {
    let mut wrong = Vec::new();
    let mut settings = new.settings.clone();
    if !(1..=MAX_USES).contains(&new.uses) {
        wrong.push(FieldError::new("uses", "out_of_range", format!("1 to {MAX_USES}")));
    }
    if settings.origins.len() > MAX_ORIGINS {
        wrong.push(FieldError::new("origins", "too_many", format!("at most {MAX_ORIGINS}")));
    }
    for (at, text) in settings.origins.iter_mut().enumerate() {
        match origin(text) {
            Ok(as_written) => *text = as_written,
            Err(why) => wrong.push(FieldError::new(format!("origins[{at}]"), "invalid", why)),
        }
    }
    if let Some(variables) = &settings.variables {
        if !variables.is_object() {
            wrong.push(FieldError::new("variables", "invalid", "expected an object"));
        } else if variables.to_string().len() > MAX_VARIABLES {
            wrong.push(FieldError::new("variables", "too_long", format!("at most {MAX_VARIABLES} bytes of JSON")));
        }
    }
    let caller = &settings.caller;
    for (path, text, max) in [
        ("caller.id", &caller.id, 100),
        ("caller.display_name", &caller.display_name, 100),
        ("external_id", &settings.external_id, MAX_TEXT),
        ("relation_id", &settings.relation_id, MAX_TEXT),
    ] {
        if let Some(text) = text
            && let Err(StoreError::Invalid(errors)) = bindings::checked_text(path, text, max)
        {
            wrong.extend(errors);
        }
    }
    if caller.id.as_ref().is_some_and(|id| id.contains(char::is_whitespace)) {
        wrong.push(FieldError::new("caller.id", "invalid", "must not hold spaces"));
    }
    if caller.number.as_ref().is_some_and(|number| !number.strip_prefix('+').is_some_and(is_e164)) {
        wrong.push(FieldError::new("caller.number", "invalid", "expected an E.164 number: +4930123456"));
    }
    if wrong.is_empty() { Ok(settings) } else { Err(StoreError::Invalid(wrong)) }
}

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    tenant_id: TenantId,
    number_id: String,
    hash: Vec<u8>,
    settings: String,
    uses: i64,
    used: i64,
    created_at: UnixMs,
    expires_at: UnixMs,
    revoked_at: Option<UnixMs>,
}

impl Row {
    fn read(self) -> Result<WebToken, StoreError> {
        Ok(WebToken {
            settings: columns::from_json("webrtc_tokens.settings", &self.settings)?,
            id: self.id,
            tenant_id: self.tenant_id,
            number_id: self.number_id,
            uses: columns::count32(self.uses),
            used: columns::count32(self.used),
            created_at: self.created_at,
            expires_at: self.expires_at,
            revoked_at: self.revoked_at,
        })
    }
}

const COLUMNS: &str = "SELECT id, tenant_id, number_id, hash, settings, uses, used, created_at, expires_at, revoked_at FROM webrtc_tokens";

/// What is swept away.
pub(crate) const OVER: &str = "SELECT id FROM webrtc_tokens WHERE expires_at <= $1 LIMIT $2";

async fn number_of(db: &mut Db, tenant: &TenantId, number: &str) -> Result<String, StoreError> {
    let key = numbers::route_key(number).unwrap_or_default();
    let found: Option<String> =
        sqlx::query_scalar("SELECT id FROM numbers WHERE tenant_id = $1 AND (id = $2 OR route_key = $3)")
            .bind(tenant)
            .bind(number)
            .bind(key)
            .fetch_optional(db)
            .await?;
    found.ok_or_else(|| {
        StoreError::invalid("number", "not_found", "there is no such number: its id, or what is dialled")
    })
}

impl Store {
    /// Makes a token, and sweeps away some that are over.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] with everything that is wrong, the number that is not there included.
    pub async fn create_webrtc_token(
        &self,
        tenant: &TenantId,
        new: NewWebToken,
        actor: &Actor,
    ) -> Result<IssuedWebToken, StoreError> {
        let settings = check(&new)?;
        let id = id::new(TEXT.kind);
        let secret = TEXT.issue(&id)?;
        let now = self.now();
        let token = WebToken {
            id,
            tenant_id: tenant.clone(),
            number_id: String::new(),
            settings,
            uses: new.uses,
            used: 0,
            created_at: now,
            expires_at: now.plus(new.lifetime_ms),
            revoked_at: None,
        };
        let (mut row, number, actor, hash) = (token, new.number, actor.clone(), hash(secret.expose()).to_vec());
        let token = self
            .write_beside(move |db| {
                Box::pin(async move {
                    row.number_id = number_of(db, &row.tenant_id, &number).await?;
                    sqlx::query(sqlx::AssertSqlSafe(format!("DELETE FROM webrtc_tokens WHERE id IN ({OVER})")))
                        .bind(now.plus(-REMEMBERED_MS))
                        .bind(SWEPT)
                        .execute(&mut *db)
                        .await?;
                    sqlx::query(
                        "INSERT INTO webrtc_tokens (id, tenant_id, number_id, hash, settings, uses, created_at, expires_at)
                         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
                    )
                    .bind(&row.id)
                    .bind(&row.tenant_id)
                    .bind(&row.number_id)
                    .bind(hash)
                    .bind(columns::to_json(&row.settings)?)
                    .bind(i64::from(row.uses))
                    .bind(now)
                    .bind(row.expires_at)
                    .execute(&mut *db)
                    .await?;
                    // The variables are the visitor's own, and the log is for ever.
                    let detail = serde_json::json!({
                        "number_id": row.number_id,
                        "uses": row.uses,
                        "expires_at": row.expires_at,
                        "origins": row.settings.origins,
                    });
                    audit::record(db, &row.tenant_id, now, &actor, "webrtc_token.created", &row.id, detail).await?;
                    Ok(row)
                })
            })
            .await?;
        Ok(IssuedWebToken { token, secret })
    }

    /// The token with this text. It starts without a tenant: the token tells it. Whether a call may be made with it now
    /// says [`WebToken::check`].
    ///
    /// # Errors
    /// [`TokenError::Unknown`], or what the database says.
    pub async fn webrtc_token_of(&self, text: &str) -> Result<WebToken, TokenError> {
        let id = parse(text).ok_or(TokenError::Unknown)?;
        let row = sqlx::query_as::<_, Row>(sqlx::AssertSqlSafe(format!("{COLUMNS} WHERE id = $1")))
            .bind(id)
            .fetch_optional(self.readers())
            .await
            .map_err(StoreError::from)?
            .ok_or(TokenError::Unknown)?;
        if !bool::from(hash(text).as_slice().ct_eq(row.hash.as_slice())) {
            return Err(TokenError::Unknown);
        }
        Ok(row.read()?)
    }

    /// Takes one use of a token for a call that begins: of two that come at once with the last one, one gets it.
    ///
    /// # Errors
    /// What has changed since the token was looked at.
    pub async fn spend_webrtc_token(&self, token: &WebToken) -> Result<(), TokenError> {
        let (id, now) = (token.id.clone(), self.now());
        let spent = self
            .write_beside(move |db| {
                Box::pin(async move {
                    let changed = sqlx::query(
                        "UPDATE webrtc_tokens SET used = used + 1
                         WHERE id = $1 AND used < uses AND revoked_at IS NULL AND expires_at > $2",
                    )
                    .bind(id)
                    .bind(now)
                    .execute(db)
                    .await?;
                    Ok(changed.rows_affected() > 0)
                })
            })
            .await?;
        if spent {
            return Ok(());
        }
        let row = sqlx::query_as::<_, Row>(sqlx::AssertSqlSafe(format!("{COLUMNS} WHERE id = $1")))
            .bind(&token.id)
            .fetch_optional(self.readers())
            .await
            .map_err(StoreError::from)?;
        match row {
            Some(row) => row.read()?.check(now).and(Err(TokenError::Spent(token.uses))),
            None => Err(TokenError::Unknown),
        }
    }

    /// Gives a use back: no call came of it. Lost when the database has too much to do.
    pub fn give_back_webrtc_token(&self, id: &str) {
        let id = id.to_owned();
        self.write_some_time(move |db| {
            Box::pin(async move {
                sqlx::query("UPDATE webrtc_tokens SET used = used - 1 WHERE id = $1 AND used > 0")
                    .bind(id)
                    .execute(db)
                    .await?;
                Ok(())
            })
        });
    }

    /// All tokens that are not swept away, the newest first.
    pub async fn webrtc_tokens(&self, tenant: &TenantId, page: &PageRequest) -> Result<Page<WebToken>, StoreError> {
        let sql = format!("{COLUMNS} WHERE tenant_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3");
        let rows = sqlx::query_as::<_, Row>(sqlx::AssertSqlSafe(sql))
            .bind(tenant)
            .bind(page.below_id(TEXT.kind)?)
            .bind(page.rows())
            .fetch_all(self.readers())
            .await?;
        let tokens = rows.into_iter().map(Row::read).collect::<Result<Vec<_>, _>>()?;
        Ok(Page::cut(page, tokens, |token| token.id.clone()))
    }

    /// One token.
    pub async fn webrtc_token(&self, tenant: &TenantId, token: &str) -> Result<WebToken, StoreError> {
        sqlx::query_as::<_, Row>(sqlx::AssertSqlSafe(format!("{COLUMNS} WHERE tenant_id = $1 AND id = $2")))
            .bind(tenant)
            .bind(token)
            .fetch_optional(self.readers())
            .await?
            .ok_or_else(|| StoreError::not_found("token", token))?
            .read()
    }

    /// Ends a token at once. Calls that run go on. Revoking it again changes nothing.
    pub async fn revoke_webrtc_token(
        &self,
        tenant: &TenantId,
        token: &str,
        actor: &Actor,
    ) -> Result<WebToken, StoreError> {
        let (t, id, actor, now) = (tenant.clone(), token.to_owned(), actor.clone(), self.now());
        self.write(move |db| {
            Box::pin(async move {
                let changed = sqlx::query(
                    "UPDATE webrtc_tokens SET revoked_at = $1 WHERE tenant_id = $2 AND id = $3 AND revoked_at IS NULL",
                )
                .bind(now)
                .bind(&t)
                .bind(&id)
                .execute(&mut *db)
                .await?;
                if changed.rows_affected() > 0 {
                    audit::record(db, &t, now, &actor, "webrtc_token.revoked", &id, serde_json::json!({})).await?;
                }
                Ok(())
            })
        })
        .await?;
        self.webrtc_token(tenant, token).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_token_is_no_key_and_a_key_no_token() {
        let text = TEXT.issue(&id::new("wrt")).unwrap().expose().to_owned();
        assert!(parse(&text).is_some() && crate::keys::parse(&text).is_none());
        let swapped = text.replacen("cbt_", "cbk_", 1);
        assert!(parse(&swapped).is_none() && crate::keys::parse(&swapped).is_none(), "the checksum covers the prefix");
    }

    #[test]
    fn origins_are_compared_as_browsers_write_them() {
        for (given, written) in [
            ("https://Shop.Example", "https://shop.example"),
            ("https://shop.example/", "https://shop.example"),
            ("https://shop.example:443", "https://shop.example"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("http://[::1]:8080", "http://[::1]:8080"),
            ("capacitor://localhost", "capacitor://localhost"),
            ("https://bücher.example", "https://xn--bcher-kva.example"),
        ] {
            assert_eq!(origin(given).as_deref(), Ok(written), "{given}");
        }
        let wrong =
            ["", "null", "*", "https://*.example", "shop.example", "https://a.example/path", "https://u@a.example"];
        for wrong in wrong.into_iter().chain(["https://a.example?q", "file:///x", "mailto:a@b"]) {
            assert!(origin(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,120}") {
            prop_assert_eq!(parse(&text), None);
            if let Ok(written) = origin(&text) {
                prop_assert_eq!(origin(&written), Ok(written.clone()));
            }
        }
    }
}
