//! Numbers: what somebody dials, and what answers.

use crate::quotas::OutboundQuotas;
use crate::writer::Db;
use crate::{
    Actor, Page, PageRequest, Store, StoreError, TenantId, UnixMs, audit, bindings, columns, id, scripts, trunks,
};
use callbox_dialogue::script::Segment;
use callbox_dialogue::setup::Fallback;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Whether the calls of a number are recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Recording {
    /// No.
    #[default]
    Off,
    /// From the answer to the end, both sides.
    On,
}

/// A number or SIP user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Number {
    /// `num_…`
    pub id: String,
    /// `+493012345`, an extension such as `100`, or a SIP user.
    pub address: String,
    /// For people.
    pub name: Option<String>,
    /// What answers; none while nothing does.
    pub script_id: Option<String>,
    /// That version; none for the published one.
    pub pinned_version: Option<u32>,
    /// What the caller gets when the script fails.
    #[schema(value_type = Object)]
    pub fallback: Fallback,
    /// BCP 47 tag; none for the script's first.
    pub language: Option<String>,
    /// Calls at once; none for no limit of its own.
    pub max_concurrent: Option<u32>,
    /// Whether calls are recorded.
    pub recording: Recording,
    /// Whether their packets are captured, to look at with Wireshark.
    pub capture: bool,
    /// By which trunk its calls go out; none for the tenant's trunks in their order.
    pub trunk_id: Option<String>,
    /// How far it may call, within what its tenant may: its own calls, and transfers of calls that it takes.
    pub outbound: OutboundQuotas,
    /// Whether it answers at all.
    pub enabled: bool,
    /// When it was made.
    pub created_at: UnixMs,
    /// When anything about it changed.
    pub updated_at: UnixMs,
}

/// A number to be made, or all that one is to be from now on.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewNumber {
    /// An E.164 number with or without `+`, or a SIP user.
    #[schema(min_length = 1, max_length = 64, example = "+493012345")]
    pub address: String,
    /// For people.
    #[serde(default)]
    #[schema(min_length = 1, max_length = 100)]
    pub name: Option<String>,
    /// What answers.
    #[serde(default)]
    pub script_id: Option<String>,
    /// That version; none for the published one.
    #[serde(default)]
    #[schema(minimum = 1)]
    pub pinned_version: Option<u32>,
    /// What the caller gets when the script fails.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub fallback: Fallback,
    /// BCP 47 tag.
    #[serde(default)]
    #[schema(pattern = "^[A-Za-z0-9-]{2,35}$", example = "en")]
    pub language: Option<String>,
    /// Calls at once, at least 1.
    #[serde(default)]
    #[schema(minimum = 1)]
    pub max_concurrent: Option<u32>,
    /// Whether calls are recorded.
    #[serde(default)]
    pub recording: Recording,
    /// Whether the packets of its calls are captured, to look at with Wireshark. They hold what was said.
    #[serde(default)]
    pub capture: bool,
    /// By which trunk its calls go out, `trk_…`; none for the tenant's trunks in their order.
    #[serde(default)]
    pub trunk_id: Option<String>,
    /// How far it may call, within what its tenant may: its own calls, and transfers of calls that it takes.
    #[serde(default)]
    pub outbound: OutboundQuotas,
    /// Whether it answers at all.
    #[serde(default = "yes")]
    pub enabled: bool,
}

const fn yes() -> bool {
    true
}

/// The key by which the router finds a number: the digits alone for anything that
/// is dialled, so that `+49…` and `49…` are the same; a SIP user as it is, case and
/// all. `;` and what follows (`phone-context`) is not part of it.
#[must_use]
pub fn route_key(user: &str) -> Option<String> {
    let user = user.split(';').next().unwrap_or_default().trim();
    let dialled = user.strip_prefix('+').unwrap_or(user);
    let is_dialled = dialled.bytes().any(|b| b.is_ascii_digit())
        && dialled.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'-' | b'.' | b' ' | b'(' | b')'));
    if is_dialled {
        let digits: String = dialled.chars().filter(char::is_ascii_digit).collect();
        return (digits.len() <= 32).then_some(digits);
    }
    // The user part of a SIP URI (RFC 3261 section 25.1), unescaped.
    let allowed = |c: char| c.is_alphanumeric() || "-_.!~*'()&=+$,?/#%".contains(c);
    let right = !user.is_empty() && user.len() <= 64 && user.chars().all(allowed);
    right.then(|| user.to_owned())
}

/// As it is shown: `+` and digits stay, separators go.
fn shown(address: &str, key: &str) -> String {
    if address.trim().starts_with('+') && key.bytes().all(|b| b.is_ascii_digit()) {
        format!("+{key}")
    } else {
        key.to_owned()
    }
}

fn check(new: &NewNumber) -> Result<String, StoreError> {
    let key = route_key(&new.address).ok_or_else(|| {
        StoreError::invalid("address", "invalid", "an E.164 number, or a SIP user of at most 64 characters")
    })?;
    if new.max_concurrent == Some(0) {
        return Err(StoreError::invalid("max_concurrent", "out_of_range", "at least 1; to close a number, disable it"));
    }
    if new.pinned_version.is_some() && new.script_id.is_none() {
        return Err(StoreError::invalid("pinned_version", "invalid", "a version needs a script_id"));
    }
    if let Some(language) = &new.language {
        let right =
            (2..=35).contains(&language.len()) && language.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if !right {
            return Err(StoreError::invalid("language", "invalid", "a BCP 47 tag such as en or cmn-CN"));
        }
    }
    if let Some(name) = &new.name {
        bindings::checked_text("name", name, 100)?;
    }
    let mut wrong = Vec::new();
    new.outbound.wrong("outbound", &mut wrong);
    if !wrong.is_empty() {
        return Err(StoreError::Invalid(wrong));
    }
    check_fallback(&new.fallback).map_err(|message| StoreError::invalid("fallback", "invalid", message))?;
    Ok(key)
}

fn check_fallback(fallback: &Fallback) -> Result<(), &'static str> {
    if fallback.say.len() > 16 {
        return Err("at most 16 segments");
    }
    for segment in &fallback.say {
        match segment {
            Segment::Text(text) | Segment::Ssml(text) if text.len() > 4_000 => {
                return Err("a text has at most 4,000 bytes");
            }
            Segment::Asset(path) if path.len() > 255 => return Err("a path has at most 255 bytes"),
            Segment::Silence(ms) if *ms > 60_000 => return Err("a silence lasts at most 60,000 ms"),
            _ => {}
        }
    }
    let target = fallback.transfer_to.as_deref();
    if target.is_some_and(|t| t.is_empty() || t.len() > 255 || t.chars().any(|c| c.is_control() || c.is_whitespace())) {
        return Err("transfer_to is a SIP URI or a number");
    }
    Ok(())
}

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    address: String,
    name: Option<String>,
    script_id: Option<String>,
    pinned_version: Option<i64>,
    fallback: String,
    language: Option<String>,
    max_concurrent: Option<i64>,
    recording: String,
    capture: i64,
    trunk_id: Option<String>,
    outbound: Option<String>,
    enabled: i64,
    created_at: UnixMs,
    updated_at: UnixMs,
}

impl Row {
    fn read(self) -> Result<Number, StoreError> {
        Ok(Number {
            id: self.id,
            address: self.address,
            name: self.name,
            script_id: self.script_id,
            pinned_version: self.pinned_version.map(columns::count32),
            fallback: columns::from_json("numbers.fallback", &self.fallback)?,
            language: self.language,
            max_concurrent: self.max_concurrent.map(columns::count32),
            recording: columns::word("numbers.recording", &self.recording)?,
            capture: self.capture != 0,
            trunk_id: self.trunk_id,
            outbound: match self.outbound {
                Some(text) => columns::from_json("numbers.outbound", &text)?,
                None => OutboundQuotas::default(),
            },
            enabled: self.enabled != 0,
            created_at: self.created_at,
            updated_at: self.updated_at,
        })
    }
}

const COLUMNS: &str = "SELECT id, address, name, script_id, pinned_version, fallback, language, max_concurrent,
    recording, capture, trunk_id, outbound, enabled, created_at, updated_at FROM numbers WHERE tenant_id = $1";

fn sql(tail: &str) -> sqlx::AssertSqlSafe<String> {
    sqlx::AssertSqlSafe(format!("{COLUMNS} {tail}"))
}

/// The trunk and the script exist, and a pinned version can answer at once.
async fn check_references(db: &mut Db, tenant: &TenantId, new: &NewNumber) -> Result<(), StoreError> {
    let wrong = |path: &str, error: StoreError| match error {
        StoreError::NotFound { .. } => StoreError::invalid(path, "not_found", error.to_string()),
        other => other,
    };
    if let Some(trunk) = &new.trunk_id {
        trunks::require(db, tenant, trunk).await.map_err(|e| wrong("trunk_id", e))?;
    }
    let Some(script) = &new.script_id else { return Ok(()) };
    scripts::require(db, tenant, script).await.map_err(|e| wrong("script_id", e))?;
    if let Some(version) = new.pinned_version {
        scripts::require_bound(db, tenant, script, version).await.map_err(|e| wrong("pinned_version", e))?;
    }
    Ok(())
}

fn taken(error: sqlx::Error) -> StoreError {
    if StoreError::is_unique_violation(&error) {
        StoreError::conflict("address_taken", "this address is in use already")
    } else {
        error.into()
    }
}

impl Store {
    /// Makes a number.
    pub async fn create_number(&self, tenant: &TenantId, new: NewNumber, actor: &Actor) -> Result<Number, StoreError> {
        let key = check(&new)?;
        let (number, t, actor, now) = (id::new("num"), tenant.clone(), actor.clone(), self.now());
        let created = number.clone();
        self.write(move |db| {
            Box::pin(async move {
                check_references(db, &t, &new).await?;
                sqlx::query(
                    "INSERT INTO numbers (id, tenant_id, address, route_key, name, script_id, pinned_version, fallback,
                                          language, max_concurrent, recording, capture, trunk_id, enabled,
                                          created_at, updated_at, outbound)
                     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $15, $16)",
                )
                .bind(&number)
                .bind(&t)
                .bind(shown(&new.address, &key))
                .bind(&key)
                .bind(&new.name)
                .bind(&new.script_id)
                .bind(new.pinned_version.map(i64::from))
                .bind(columns::to_json(&new.fallback)?)
                .bind(&new.language)
                .bind(new.max_concurrent.map(i64::from))
                .bind(columns::as_word(&new.recording)?)
                .bind(i64::from(new.capture))
                .bind(&new.trunk_id)
                .bind(i64::from(new.enabled))
                .bind(now)
                .bind(columns::to_json(&new.outbound)?)
                .execute(&mut *db)
                .await
                .map_err(taken)?;
                let detail = serde_json::json!({ "address": shown(&new.address, &key) });
                audit::record(db, &t, now, &actor, "number.created", &number, detail).await
            })
        })
        .await?;
        self.number(tenant, &created).await
    }

    /// Replaces everything about a number.
    pub async fn update_number(
        &self,
        tenant: &TenantId,
        number: &str,
        new: NewNumber,
        actor: &Actor,
    ) -> Result<Number, StoreError> {
        let key = check(&new)?;
        let (n, t, actor, now) = (number.to_owned(), tenant.clone(), actor.clone(), self.now());
        self.write(move |db| {
            Box::pin(async move {
                check_references(db, &t, &new).await?;
                let changed = sqlx::query(
                    "UPDATE numbers SET address = $1, route_key = $2, name = $3, script_id = $4, pinned_version = $5,
                            fallback = $6, language = $7, max_concurrent = $8, recording = $9, capture = $10,
                            trunk_id = $11, enabled = $12, updated_at = $13, outbound = $14
                     WHERE tenant_id = $15 AND id = $16",
                )
                .bind(shown(&new.address, &key))
                .bind(&key)
                .bind(&new.name)
                .bind(&new.script_id)
                .bind(new.pinned_version.map(i64::from))
                .bind(columns::to_json(&new.fallback)?)
                .bind(&new.language)
                .bind(new.max_concurrent.map(i64::from))
                .bind(columns::as_word(&new.recording)?)
                .bind(i64::from(new.capture))
                .bind(&new.trunk_id)
                .bind(i64::from(new.enabled))
                .bind(now)
                .bind(columns::to_json(&new.outbound)?)
                .bind(&t)
                .bind(&n)
                .execute(&mut *db)
                .await
                .map_err(taken)?;
                if changed.rows_affected() == 0 {
                    return Err(StoreError::not_found("number", &n));
                }
                let detail = serde_json::json!({ "address": shown(&new.address, &key), "enabled": new.enabled });
                audit::record(db, &t, now, &actor, "number.updated", &n, detail).await
            })
        })
        .await?;
        self.number(tenant, number).await
    }

    /// Takes a number away; calls of the past keep naming it.
    pub async fn delete_number(&self, tenant: &TenantId, number: &str, actor: &Actor) -> Result<(), StoreError> {
        let (n, t, actor, now) = (number.to_owned(), tenant.clone(), actor.clone(), self.now());
        self.write(move |db| {
            Box::pin(async move {
                let gone = sqlx::query("DELETE FROM numbers WHERE tenant_id = $1 AND id = $2")
                    .bind(&t)
                    .bind(&n)
                    .execute(&mut *db)
                    .await?;
                if gone.rows_affected() == 0 {
                    return Err(StoreError::not_found("number", &n));
                }
                audit::record(db, &t, now, &actor, "number.deleted", &n, serde_json::json!({})).await
            })
        })
        .await
    }

    /// One number.
    pub async fn number(&self, tenant: &TenantId, number: &str) -> Result<Number, StoreError> {
        sqlx::query_as::<_, Row>(sql("AND id = $2"))
            .bind(tenant)
            .bind(number)
            .fetch_optional(self.readers())
            .await?
            .ok_or_else(|| StoreError::not_found("number", number))?
            .read()
    }

    /// All numbers, the newest first.
    pub async fn numbers(&self, tenant: &TenantId, page: &PageRequest) -> Result<Page<Number>, StoreError> {
        let rows = sqlx::query_as::<_, Row>(sql("AND id < $2 ORDER BY id DESC LIMIT $3"))
            .bind(tenant)
            .bind(page.below_id("num")?)
            .bind(page.rows())
            .fetch_all(self.readers())
            .await?;
        let numbers = rows.into_iter().map(Row::read).collect::<Result<Vec<_>, _>>()?;
        Ok(Page::cut(page, numbers, |n| n.id.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_number_is_the_same_with_and_without_plus() {
        let cases = [
            ("+49 (30) 123-45", Some("493012345")),
            ("493012345", Some("493012345")),
            ("+493012345;phone-context=+44", Some("493012345")),
            ("100", Some("100")),
            ("Alice", Some("Alice")),
            ("alice", Some("alice")),
            ("sales-2", Some("sales-2")),
            ("", None),
            ("+", Some("+")),
            ("a b", None),
            ("a\r\nb", None),
        ];
        for (user, key) in cases {
            assert_eq!(route_key(user).as_deref(), key, "{user:?}");
        }
        assert_eq!(shown("+49 30 1", "49301"), "+49301");
        assert_eq!(shown("49 30 1", "49301"), "49301");
    }

    proptest! {
        #[test]
        fn keys_are_stable_and_bounded(user in ".{0,80}") {
            if let Some(key) = route_key(&user) {
                prop_assert!(!key.is_empty() && key.len() <= 64);
                prop_assert_eq!(route_key(&key), Some(key.clone()));
            }
        }
    }
}
