//! From what was dialled to everything a call needs, in one query.

use crate::bindings::Bindings;
use crate::manifest::Names;
use crate::numbers::{Recording, route_key};
use crate::quotas::{OutboundQuotas, Quotas};
use crate::{Store, StoreError, TenantId, UnixMs, columns};
use callbox_dialogue::llm::Model;
use callbox_dialogue::setup::{Fallback, Source};
use serde_json::Value;
use std::collections::BTreeMap;

/// What is to answer a call.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// Whose call it is.
    pub tenant_id: TenantId,
    /// `num_…`; none for a call placed with a script alone.
    pub number_id: Option<String>,
    /// The number as it is shown.
    pub address: Option<String>,
    /// `scr_…`
    pub script_id: String,
    /// The script's name.
    pub script_name: String,
    /// Pinned, or the published one.
    pub version: u32,
    /// `sha256:…`: load it with [`Store::blob`].
    pub digest: String,
    /// As the component carries it.
    pub manifest: Value,
    /// The manifest's names.
    pub names: Names,
    /// What they mean; no secret.
    pub bindings: Bindings,
    /// What the caller gets when the script fails.
    pub fallback: Fallback,
    /// The number's language, else the script's first, else `en`.
    pub language: String,
    /// Calls at once.
    pub max_concurrent: Option<u32>,
    /// Whether the call is recorded.
    pub recording: Recording,
    /// Whether its packets are captured.
    pub capture: bool,
    /// `trk_…`: by which trunk its calls go out; none for the tenant's.
    pub trunk_id: Option<String>,
    /// What the tenant may use, where that is not what the deployment has for all.
    pub quotas: Quotas,
    /// How far the number may call, within that.
    pub outbound: OutboundQuotas,
}

impl Route {
    /// The sources as the engine wants them: those the manifest declares and the
    /// deployment binds.
    #[must_use]
    pub fn sources(&self) -> BTreeMap<String, Source> {
        let bound = |(name, declared): (&String, &crate::manifest::SourceName)| {
            let binding = self.bindings.sources.get(name)?;
            let source =
                Source { prefetch: declared.prefetch, timeout: binding.timeout_ms, on_failure: binding.on_failure };
            Some((name.clone(), source))
        };
        self.names.sources.iter().filter_map(bound).collect()
    }

    /// The language models, likewise.
    #[must_use]
    pub fn models(&self) -> BTreeMap<String, Model> {
        let bound = |name: &String| Some((name.clone(), self.bindings.models.get(name)?.limits()));
        self.names.models.keys().filter_map(bound).collect()
    }

    /// The destinations as the engine wants them.
    #[must_use]
    pub fn destinations(&self) -> Vec<String> {
        self.names.destinations.keys().filter(|n| self.bindings.destinations.contains_key(*n)).cloned().collect()
    }

    /// The settings with the manifest's defaults filled in.
    #[must_use]
    pub fn settings(&self) -> BTreeMap<String, String> {
        self.names.settings(&self.bindings.settings)
    }
}

/// What the router found.
#[derive(Clone, Debug, PartialEq)]
pub enum Routing {
    /// No such number: 404.
    Unknown,
    /// There is one that does not answer now: 480.
    Closed {
        /// Whose it is.
        tenant_id: TenantId,
        /// `num_…`
        number_id: String,
        /// `disabled`, `no_script`, `not_published`, `tenant_suspended`.
        why: &'static str,
    },
    /// This answers.
    Ready(Box<Route>),
}

#[derive(sqlx::FromRow)]
struct Row {
    tenant_id: TenantId,
    number_id: Option<String>,
    address: Option<String>,
    fallback: Option<String>,
    language: Option<String>,
    max_concurrent: Option<i64>,
    recording: Option<String>,
    capture: i64,
    trunk_id: Option<String>,
    enabled: i64,
    script_id: Option<String>,
    script_name: Option<String>,
    version: Option<i64>,
    digest: Option<String>,
    manifest: Option<String>,
    bindings: Option<String>,
    quotas: String,
    suspended_at: Option<UnixMs>,
    outbound: Option<String>,
}

impl Row {
    fn read(self) -> Result<Routing, StoreError> {
        let number_id = self.number_id.clone().unwrap_or_default();
        let tenant_id = self.tenant_id.clone();
        let closed = move |why| Ok(Routing::Closed { tenant_id, number_id, why });
        if self.suspended_at.is_some() {
            return closed("tenant_suspended");
        }
        if self.enabled == 0 {
            return closed("disabled");
        }
        let (Some(script_id), Some(script_name)) = (self.script_id, self.script_name) else {
            return closed("no_script");
        };
        let (Some(version), Some(digest), Some(manifest)) = (self.version, self.digest, self.manifest) else {
            return closed("not_published");
        };
        let manifest: Value = columns::from_json("versions.manifest", &manifest)?;
        let names: Names = serde_json::from_value(manifest.clone())
            .map_err(|error| StoreError::unreadable("versions.manifest", error))?;
        let read = |text: Option<String>| text.map(|t| columns::from_json("bindings.document", &t)).transpose();
        let language = self.language.or_else(|| names.languages.first().cloned());
        Ok(Routing::Ready(Box::new(Route {
            tenant_id: self.tenant_id,
            number_id: self.number_id,
            address: self.address,
            script_id,
            script_name,
            version: columns::count32(version),
            digest,
            manifest,
            names,
            bindings: read(self.bindings)?.unwrap_or_default(),
            fallback: match self.fallback {
                Some(text) => columns::from_json("numbers.fallback", &text)?,
                None => Fallback::default(),
            },
            language: language.unwrap_or_else(|| "en".to_owned()),
            max_concurrent: self.max_concurrent.map(columns::count32),
            recording: match self.recording {
                Some(text) => columns::word("numbers.recording", &text)?,
                None => Recording::Off,
            },
            capture: self.capture != 0,
            trunk_id: self.trunk_id,
            quotas: columns::from_json("tenants.quotas", &self.quotas)?,
            outbound: match self.outbound {
                Some(text) => columns::from_json("numbers.outbound", &text)?,
                None => OutboundQuotas::default(),
            },
        })))
    }
}

pub(crate) const BY_NUMBER: &str =
    "SELECT n.tenant_id, n.id AS number_id, n.address, n.fallback, n.language, n.max_concurrent,
        n.recording, n.capture, n.trunk_id, n.enabled, s.id AS script_id, s.name AS script_name, v.version, v.digest, v.manifest,
        b.document AS bindings, t.quotas, t.suspended_at, n.outbound
    FROM numbers n
    JOIN tenants t ON t.id = n.tenant_id
    LEFT JOIN scripts s ON s.id = n.script_id AND s.deleted_at IS NULL
    LEFT JOIN versions v ON v.script_id = s.id AND v.version = COALESCE(n.pinned_version, s.published_version)
    LEFT JOIN bindings b ON b.script_id = s.id";

impl Store {
    /// What answers at this user part of a request URI (or the digits of a `tel:`
    /// URI). The only read that starts without a tenant: the number tells it.
    pub async fn route(&self, user_part: &str) -> Result<Routing, StoreError> {
        let Some(key) = route_key(user_part) else { return Ok(Routing::Unknown) };
        let row = sqlx::query_as::<_, Row>(sqlx::AssertSqlSafe(format!("{BY_NUMBER} WHERE n.route_key = $1")))
            .bind(key)
            .fetch_optional(self.readers())
            .await?;
        row.map_or(Ok(Routing::Unknown), Row::read)
    }

    /// The same for a number of one's own, for calls placed from it.
    pub async fn route_number(&self, tenant: &TenantId, number: &str) -> Result<Routing, StoreError> {
        let by_id = format!("{BY_NUMBER} WHERE n.tenant_id = $1 AND n.id = $2");
        let row = sqlx::query_as::<_, Row>(sqlx::AssertSqlSafe(by_id))
            .bind(tenant)
            .bind(number)
            .fetch_optional(self.readers())
            .await?;
        row.map_or_else(|| Err(StoreError::not_found("number", number)), Row::read)
    }

    /// A script without a number, for calls placed through the API: this version,
    /// or the published one. Refused while names of the manifest are not bound.
    pub async fn route_script(
        &self,
        tenant: &TenantId,
        script: &str,
        version: Option<u32>,
    ) -> Result<Route, StoreError> {
        let row = sqlx::query_as::<_, Row>(
            "SELECT s.tenant_id, NULL AS number_id, NULL AS address, NULL AS fallback, NULL AS language,
                    NULL AS max_concurrent, NULL AS recording, 0 AS capture, NULL AS trunk_id, 1 AS enabled,
                    s.id AS script_id, s.name AS script_name,
                    v.version, v.digest, v.manifest, b.document AS bindings, t.quotas, t.suspended_at,
                    NULL AS outbound
             FROM scripts s
             JOIN tenants t ON t.id = s.tenant_id
             LEFT JOIN versions v ON v.script_id = s.id AND v.version = COALESCE($3, s.published_version)
             LEFT JOIN bindings b ON b.script_id = s.id
             WHERE s.tenant_id = $1 AND s.id = $2 AND s.deleted_at IS NULL",
        )
        .bind(tenant)
        .bind(script)
        .bind(version.map(i64::from))
        .fetch_optional(self.readers())
        .await?
        .ok_or_else(|| StoreError::not_found("script", script))?;
        match (row.read()?, version) {
            (Routing::Closed { why: why @ "tenant_suspended", .. }, _) => {
                Err(StoreError::conflict(why, "the tenant is suspended: its scripts place no calls"))
            }
            (Routing::Ready(route), _) => match route.names.unbound(&route.bindings) {
                unbound if unbound.is_empty() => Ok(*route),
                unbound => Err(StoreError::Unbound(unbound)),
            },
            (_, Some(version)) => Err(StoreError::not_found("version", &version.to_string())),
            (_, None) => Err(StoreError::conflict("not_published", "no version of this script is published")),
        }
    }
}
