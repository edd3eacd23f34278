//! Bindings: what the names of a script's manifest mean in this deployment.
//!
//! A document that somebody sends ([`BindingsInput`]) may hold secrets: signing
//! secrets, header values, named secrets. They are taken out, kept apart, and never
//! come back: what is read ([`Bindings`]) says only which ones are set. A secret
//! that is left out keeps its value; a signing secret that never had one is
//! generated and told once.

use crate::manifest::Names;
use crate::secrets::{self, Secret, name};
use crate::vault::Vault;
use crate::writer::Db;
use crate::{Actor, FieldError, Store, StoreError, TenantId, UnixMs, audit, columns};
use callbox_dialogue::llm::Model;
use callbox_dialogue::setup::SourcePolicy;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use utoipa::ToSchema;

/// Longest document, bytes.
pub const MAX_DOCUMENT: usize = 64 * 1024;
const MAX_NAMES: usize = 64;
const MAX_HEADERS: usize = 32;
const MAX_VALUE: usize = 4_096;
const MAX_URL: usize = 2_048;
/// A source without `timeout_ms`.
const DEFAULT_TIMEOUT_MS: u32 = 2_000;
/// Longest wait for a source: a caller listens to silence meanwhile.
const MAX_TIMEOUT_MS: u32 = 30_000;

/// Bindings as somebody sends them.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BindingsInput {
    /// Context sources by name.
    #[serde(default)]
    pub sources: BTreeMap<String, SourceInput>,
    /// Language models by name.
    #[serde(default)]
    pub models: BTreeMap<String, ModelInput>,
    /// Destinations by name.
    #[serde(default)]
    pub destinations: BTreeMap<String, DestinationInput>,
    /// Settings by name.
    #[serde(default)]
    pub settings: BTreeMap<String, String>,
    /// Named secrets; write-only. `null` keeps the stored value.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, Option<String>>, write_only)]
    pub secrets: BTreeMap<String, Option<SecretInput>>,
}

/// A secret on its way in.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub struct SecretInput(String);

impl std::fmt::Debug for SecretInput {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretInput(…)")
    }
}

/// A context source as somebody sends it.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceInput {
    /// `https://…`, without user and password.
    pub url: String,
    /// Longest wait, 100 to 30,000; none for 2,000.
    #[serde(default)]
    pub timeout_ms: Option<u32>,
    /// What happens when it is late or broken: `continue`, `fallback`, `reject`.
    #[serde(default)]
    #[schema(value_type = String)]
    pub on_failure: SourcePolicy,
    /// Extra request headers; values are write-only, may hold `${NAME}` of a named
    /// secret, and `null` keeps the stored value.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, Option<String>>)]
    pub headers: BTreeMap<String, Option<SecretInput>>,
    /// `whsec_…`, signs the requests; write-only. None keeps the stored one or makes one.
    #[serde(default)]
    #[schema(value_type = Option<String>, write_only)]
    pub secret: Option<SecretInput>,
}

/// A language model as somebody sends it: any server that speaks OpenAI's protocol.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelInput {
    /// Of its chat completions: `https://…/v1/chat/completions`, without user and password.
    pub url: String,
    /// The server's name of the model.
    pub model: String,
    /// Extra request headers, the key among them, as in a source: `{"authorization": "Bearer ${llm_key}"}`.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, Option<String>>)]
    pub headers: BTreeMap<String, Option<SecretInput>>,
    /// The longest reply in tokens, 1 to 16,384; none for 512.
    #[serde(default)]
    pub max_tokens: Option<u32>,
    /// Longest wait for its next sign, the first token and each that follows: 500 to 60,000; none for 5,000.
    #[serde(default)]
    pub patience_ms: Option<u32>,
    /// Longest time for a whole reply, 1,000 to 300,000; none for 60,000.
    #[serde(default)]
    pub timeout_ms: Option<u32>,
    /// Tokens that one call may use, read and written, 1 to 10,000,000; none for 50,000.
    #[serde(default)]
    pub tokens_per_call: Option<u64>,
}

/// A destination as somebody sends it.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DestinationInput {
    /// `https://…`, without user and password.
    pub url: String,
    /// As in a source.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, Option<String>>)]
    pub headers: BTreeMap<String, Option<SecretInput>>,
    /// As in a source.
    #[serde(default)]
    #[schema(value_type = Option<String>, write_only)]
    pub secret: Option<SecretInput>,
}

/// Bindings as they are read: no secret, only the names of those that are set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Bindings {
    /// Context sources by name.
    #[serde(default)]
    pub sources: BTreeMap<String, SourceBinding>,
    /// Language models by name.
    #[serde(default)]
    pub models: BTreeMap<String, ModelBinding>,
    /// Destinations by name.
    #[serde(default)]
    pub destinations: BTreeMap<String, DestinationBinding>,
    /// Settings by name.
    #[serde(default)]
    pub settings: BTreeMap<String, String>,
    /// Named secrets that have a value.
    #[serde(default)]
    pub secrets: BTreeSet<String>,
}

/// A bound source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SourceBinding {
    /// Where it is asked.
    pub url: String,
    /// Longest wait.
    pub timeout_ms: u32,
    /// What happens when it is late or broken.
    #[schema(value_type = String)]
    pub on_failure: SourcePolicy,
    /// Names of the extra request headers, in lower case.
    #[serde(default)]
    pub headers: BTreeSet<String>,
}

/// A bound language model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ModelBinding {
    /// Of its chat completions.
    pub url: String,
    /// The server's name of the model.
    pub model: String,
    /// Names of the extra request headers, in lower case.
    #[serde(default)]
    pub headers: BTreeSet<String>,
    /// The longest reply in tokens.
    pub max_tokens: u32,
    /// Longest wait for its next sign.
    pub patience_ms: u32,
    /// Longest time for a whole reply.
    pub timeout_ms: u32,
    /// Tokens that one call may use.
    pub tokens_per_call: u64,
}

impl ModelBinding {
    /// What the engine keeps.
    #[must_use]
    pub const fn limits(&self) -> Model {
        Model {
            max_tokens: self.max_tokens,
            patience: self.patience_ms,
            timeout: self.timeout_ms,
            tokens_per_call: self.tokens_per_call,
        }
    }
}

/// A bound destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DestinationBinding {
    /// Where pushes go.
    pub url: String,
    /// Names of the extra request headers, in lower case.
    #[serde(default)]
    pub headers: BTreeSet<String>,
}

/// What came of storing bindings.
#[derive(Clone, Debug)]
pub struct StoredBindings {
    /// As they read from now on.
    pub bindings: Bindings,
    /// Signing secrets that were made, by `source:NAME` or `destination:NAME`. To
    /// be shown once.
    pub generated: BTreeMap<String, Secret>,
}

/// What a request to a customer's system needs beyond its body.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// Sign with each: the current one first.
    pub signing: Vec<Secret>,
    /// Extra request headers, named secrets filled in.
    pub headers: Vec<(String, Secret)>,
}

/// Reads a document. All that is wrong with it is in the error.
pub fn parse(document: &[u8]) -> Result<BindingsInput, StoreError> {
    if document.len() > MAX_DOCUMENT {
        return Err(StoreError::invalid("", "too_long", format!("more than {MAX_DOCUMENT} bytes")));
    }
    let input: BindingsInput =
        serde_json::from_slice(document).map_err(|error| StoreError::invalid("", "invalid", error.to_string()))?;
    input.check()?;
    Ok(input)
}

/// Whether customers may name something so: a letter or digit first, then those,
/// `_`, `-`, `.`; at most 64.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    text.len() <= 64
        && bytes.next().is_some_and(|b| b.is_ascii_alphanumeric())
        && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
}

/// A text for people: trimmed, not empty, bounded, without control characters.
pub(crate) fn checked_text(path: &str, text: &str, max: usize) -> Result<String, StoreError> {
    let text = text.trim();
    if text.is_empty() {
        return Err(StoreError::invalid(path, "required", "must not be empty"));
    }
    if text.chars().count() > max {
        return Err(StoreError::invalid(path, "too_long", format!("at most {max} characters")));
    }
    if text.chars().any(char::is_control) {
        return Err(StoreError::invalid(path, "invalid", "must not hold control characters"));
    }
    Ok(text.to_owned())
}

/// Checks the address of a customer's system. Which hosts may be reached is not
/// decided here but when the request is made, by the delivery room.
pub(crate) fn check_url(path: &str, text: &str) -> Option<FieldError> {
    let wrong = |message: &str| Some(FieldError::new(path, "invalid", message));
    if text.len() > MAX_URL {
        return Some(FieldError::new(path, "too_long", format!("at most {MAX_URL} bytes")));
    }
    let Ok(url) = url::Url::parse(text) else { return wrong("not a URL") };
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return wrong("must begin with https:// or http:// and a host");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return wrong("must not hold a user or a password; use a header");
    }
    if url.fragment().is_some() {
        return wrong("must not hold a fragment");
    }
    None
}

/// Headers that the platform sets itself or that would change how the request is read.
const OWN_HEADERS: &[&str] = &[
    "connection",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
];

fn is_header_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 64
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
        && !OWN_HEADERS.contains(&text.to_ascii_lowercase().as_str())
        && !text.to_ascii_lowercase().starts_with("webhook-")
}

fn is_header_value(text: &str) -> bool {
    text.len() <= MAX_VALUE && text.bytes().all(|b| b == b'\t' || (b' '..=b'~').contains(&b))
}

/// Names inside `${…}`.
fn references(text: &str) -> impl Iterator<Item = &str> {
    text.split("${").skip(1).filter_map(|rest| rest.split_once('}').map(|(name, _)| name))
}

/// Puts named secrets in place of `${NAME}`; an unknown name stays as it is.
fn fill(text: &str, named: &BTreeMap<&str, &Secret>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        out.push_str(before);
        match after.split_once('}').map(|(n, tail)| (named.get(n), tail)) {
            Some((Some(secret), tail)) => {
                out.push_str(secret.expose());
                rest = tail;
            }
            _ => {
                out.push_str("${");
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

impl BindingsInput {
    /// All that is wrong, or nothing.
    pub fn check(&self) -> Result<(), StoreError> {
        let mut errors = Vec::new();
        let counts = [
            ("sources", self.sources.len()),
            ("models", self.models.len()),
            ("destinations", self.destinations.len()),
            ("settings", self.settings.len()),
            ("secrets", self.secrets.len()),
        ];
        for (path, count) in counts {
            if count > MAX_NAMES {
                errors.push(FieldError::new(path, "too_many", format!("at most {MAX_NAMES}")));
            }
        }
        let names = self.sources.keys().map(|n| ("sources", n));
        let names = names.chain(self.models.keys().map(|n| ("models", n)));
        let names = names.chain(self.destinations.keys().map(|n| ("destinations", n)));
        let names = names.chain(self.settings.keys().map(|n| ("settings", n)));
        let names = names.chain(self.secrets.keys().map(|n| ("secrets", n)));
        for (part, name) in names.filter(|(_, n)| !is_name(n)) {
            let shown: String = name.chars().take(64).collect();
            let message = "a name has 1 to 64 letters, digits, '_', '-', '.'";
            errors.push(FieldError::new(format!("{part}.{shown}"), "invalid", message));
        }
        for (name, source) in &self.sources {
            let path = format!("sources.{name}");
            self.check_endpoint(&path, &source.url, &source.headers, source.secret.as_ref(), &mut errors);
            if source.timeout_ms.is_some_and(|t| !(100..=MAX_TIMEOUT_MS).contains(&t)) {
                let message = format!("100 to {MAX_TIMEOUT_MS}");
                errors.push(FieldError::new(format!("{path}.timeout_ms"), "out_of_range", message));
            }
        }
        for (name, model) in &self.models {
            let path = format!("models.{name}");
            self.check_endpoint(&path, &model.url, &model.headers, None, &mut errors);
            if model.model.is_empty() || model.model.len() > 256 || model.model.chars().any(char::is_control) {
                let message = "1 to 256 bytes without control characters";
                errors.push(FieldError::new(format!("{path}.model"), "invalid", message));
            }
            let ranges = [
                ("max_tokens", model.max_tokens.map(u64::from), 1..=16_384),
                ("patience_ms", model.patience_ms.map(u64::from), 500..=60_000),
                ("timeout_ms", model.timeout_ms.map(u64::from), 1_000..=300_000),
                ("tokens_per_call", model.tokens_per_call, 1..=10_000_000),
            ];
            for (member, value, range) in ranges {
                if value.is_some_and(|value| !range.contains(&value)) {
                    let message = format!("{} to {}", range.start(), range.end());
                    errors.push(FieldError::new(format!("{path}.{member}"), "out_of_range", message));
                }
            }
        }
        for (name, destination) in &self.destinations {
            let path = format!("destinations.{name}");
            let secret = destination.secret.as_ref();
            self.check_endpoint(&path, &destination.url, &destination.headers, secret, &mut errors);
        }
        for (name, value) in &self.settings {
            if value.len() > MAX_VALUE {
                errors.push(FieldError::new(
                    format!("settings.{name}"),
                    "too_long",
                    format!("at most {MAX_VALUE} bytes"),
                ));
            }
        }
        for (name, value) in &self.secrets {
            if value.as_ref().is_some_and(|v| v.0.is_empty() || !is_header_value(&v.0)) {
                let message = format!("1 to {MAX_VALUE} printable ASCII characters");
                errors.push(FieldError::new(format!("secrets.{name}"), "invalid", message));
            }
        }
        if errors.is_empty() { Ok(()) } else { Err(StoreError::Invalid(errors)) }
    }

    fn check_endpoint(
        &self,
        path: &str,
        url: &str,
        headers: &BTreeMap<String, Option<SecretInput>>,
        secret: Option<&SecretInput>,
        errors: &mut Vec<FieldError>,
    ) {
        errors.extend(check_url(&format!("{path}.url"), url));
        if headers.len() > MAX_HEADERS {
            errors.push(FieldError::new(format!("{path}.headers"), "too_many", format!("at most {MAX_HEADERS}")));
        }
        let mut seen = BTreeSet::new();
        for (name, value) in headers {
            let shown: String = name.chars().take(64).collect();
            let at = format!("{path}.headers.{shown}");
            if !is_header_name(name) || !seen.insert(name.to_ascii_lowercase()) {
                errors.push(FieldError::new(&at, "invalid", "not a header that can be set, or set twice"));
            }
            let Some(value) = value else { continue };
            if !is_header_value(&value.0) {
                errors.push(FieldError::new(&at, "invalid", format!("at most {MAX_VALUE} printable ASCII characters")));
            }
            for unknown in references(&value.0).filter(|n| !self.secrets.contains_key(*n)) {
                let shown: String = unknown.chars().take(64).collect();
                errors.push(FieldError::new(&at, "unknown_name", format!("there is no secret {shown:?} in `secrets`")));
            }
        }
        if secret.is_some_and(|s| !secrets::is_signing_secret(&s.0)) {
            let message = "must be whsec_ and 24 to 64 bytes in base64";
            errors.push(FieldError::new(format!("{path}.secret"), "invalid", message));
        }
    }

    /// The language models, and what their requests need: for whoever tries a script and stores nothing. A header whose
    /// value is left out is not sent.
    #[must_use]
    pub fn into_models(self) -> BTreeMap<String, (ModelBinding, Credentials)> {
        let (bindings, kept) = self.split();
        let kept: Vec<(String, Secret)> =
            kept.into_iter().filter_map(|(name, value)| Some((name, Secret::new(value?.0)))).collect();
        let held = || kept.iter().map(|(name, value)| (name.clone(), vec![value.clone()]));
        let models = bindings.models.into_iter();
        models
            .map(|(name, model)| {
                let needs = credentials(&name::model(&name), held());
                (name, (model, needs))
            })
            .collect()
    }

    /// Takes the secrets out: the document to store, and each secret's name with
    /// its value, or none to keep what is there.
    fn split(self) -> (Bindings, Vec<(String, Option<SecretInput>)>) {
        let mut kept = Vec::new();
        let mut bindings = Bindings { settings: self.settings, ..Bindings::default() };
        let take_headers = |endpoint: &str, headers: BTreeMap<String, Option<SecretInput>>, kept: &mut Vec<_>| {
            let mut names = BTreeSet::new();
            for (header, value) in headers {
                let header = header.to_ascii_lowercase();
                kept.push((name::header(endpoint, &header), value));
                names.insert(header);
            }
            names
        };
        let take = |endpoint: String,
                    headers: BTreeMap<String, Option<SecretInput>>,
                    secret: Option<SecretInput>,
                    kept: &mut Vec<_>| {
            let names = take_headers(&endpoint, headers, kept);
            kept.push((endpoint, secret));
            names
        };
        for (source, input) in self.sources {
            let headers = take(name::source(&source), input.headers, input.secret, &mut kept);
            let timeout_ms = input.timeout_ms.unwrap_or(DEFAULT_TIMEOUT_MS);
            let binding = SourceBinding { url: input.url, timeout_ms, on_failure: input.on_failure, headers };
            bindings.sources.insert(source, binding);
        }
        for (model, input) in self.models {
            let headers = take_headers(&name::model(&model), input.headers, &mut kept);
            let usual = Model::default();
            let binding = ModelBinding {
                url: input.url,
                model: input.model,
                headers,
                max_tokens: input.max_tokens.unwrap_or(usual.max_tokens),
                patience_ms: input.patience_ms.unwrap_or(usual.patience),
                timeout_ms: input.timeout_ms.unwrap_or(usual.timeout),
                tokens_per_call: input.tokens_per_call.unwrap_or(usual.tokens_per_call),
            };
            bindings.models.insert(model, binding);
        }
        for (destination, input) in self.destinations {
            let headers = take(name::destination(&destination), input.headers, input.secret, &mut kept);
            bindings.destinations.insert(destination, DestinationBinding { url: input.url, headers });
        }
        for (secret, value) in self.secrets {
            kept.push((name::named(&secret), value));
            bindings.secrets.insert(secret);
        }
        (bindings, kept)
    }
}

pub(crate) async fn load(db: &mut Db, tenant: &TenantId, script: &str) -> Result<Bindings, StoreError> {
    let text: Option<String> =
        sqlx::query_scalar("SELECT document FROM bindings WHERE tenant_id = $1 AND script_id = $2")
            .bind(tenant)
            .bind(script)
            .fetch_optional(db)
            .await?;
    text.map_or_else(|| Ok(Bindings::default()), |text| columns::from_json("bindings.document", &text))
}

/// Refuses bindings that would leave a version without a name while calls use it.
async fn check_in_use(db: &mut Db, tenant: &TenantId, script: &str, new: &Bindings) -> Result<(), StoreError> {
    let live: Vec<(i64, String)> = sqlx::query_as(
        "SELECT v.version, v.manifest FROM versions v
         WHERE v.tenant_id = $1 AND v.script_id = $2
           AND (v.version = (SELECT published_version FROM scripts WHERE id = $2)
                OR v.version IN (SELECT pinned_version FROM numbers WHERE script_id = $2))",
    )
    .bind(tenant)
    .bind(script)
    .fetch_all(db)
    .await?;
    for (version, manifest) in live {
        let names: Names = columns::from_json("versions.manifest", &manifest)?;
        let unbound = names.unbound(new);
        if !unbound.is_empty() {
            let message = format!("version {version} is live and needs: {}", unbound.join(", "));
            return Err(StoreError::conflict("binding_in_use", message));
        }
    }
    Ok(())
}

async fn store(
    db: &mut Db,
    vault: &Vault,
    tenant: &TenantId,
    script: &str,
    input: BindingsInput,
    now: UnixMs,
    actor: &Actor,
) -> Result<StoredBindings, StoreError> {
    crate::scripts::require(db, tenant, script).await?;
    let (bindings, kept) = input.split();
    check_in_use(db, tenant, script, &bindings).await?;
    let mut before: BTreeSet<String> = secrets::names(db, tenant, script).await?.into_iter().collect();
    let mut generated = BTreeMap::new();
    let mut missing = Vec::new();
    for (secret_name, value) in kept {
        let known = before.remove(&secret_name);
        let signs = !secret_name.starts_with("secret:") && !secret_name.contains(":header:");
        match value {
            Some(value) => secrets::put(db, vault, tenant, script, &secret_name, &Secret::new(value.0), now).await?,
            None if known => {}
            None if signs => {
                let secret = secrets::generate_signing_secret()?;
                secrets::put(db, vault, tenant, script, &secret_name, &secret, now).await?;
                generated.insert(secret_name, secret);
            }
            None => missing.push(FieldError::new(secret_name, "required", "has no stored value to keep")),
        }
    }
    if !missing.is_empty() {
        return Err(StoreError::Invalid(missing));
    }
    for gone in before {
        secrets::remove(db, tenant, script, &gone).await?;
    }
    sqlx::query(
        "INSERT INTO bindings (script_id, tenant_id, document, updated_at, updated_by) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (script_id) DO UPDATE
         SET document = excluded.document, updated_at = excluded.updated_at, updated_by = excluded.updated_by",
    )
    .bind(script)
    .bind(tenant)
    .bind(columns::to_json(&bindings)?)
    .bind(now)
    .bind(&actor.id)
    .execute(&mut *db)
    .await?;
    let detail = serde_json::json!({
        "sources": bindings.sources.keys().collect::<Vec<_>>(),
        "models": bindings.models.keys().collect::<Vec<_>>(),
        "destinations": bindings.destinations.keys().collect::<Vec<_>>(),
        "settings": bindings.settings.keys().collect::<Vec<_>>(),
        "secrets": bindings.secrets,
    });
    audit::record(db, tenant, now, actor, "bindings.updated", script, detail).await?;
    Ok(StoredBindings { bindings, generated })
}

impl Store {
    /// Replaces the bindings of a script; secrets that are left out stay.
    pub async fn put_bindings(
        &self,
        tenant: &TenantId,
        script: &str,
        input: BindingsInput,
        actor: &Actor,
    ) -> Result<StoredBindings, StoreError> {
        input.check()?;
        let (tenant, script, actor, now) = (tenant.clone(), script.to_owned(), actor.clone(), self.now());
        let vault = self.vault().clone();
        self.write(move |db| Box::pin(async move { store(db, &vault, &tenant, &script, input, now, &actor).await }))
            .await
    }

    /// The bindings of a script; empty ones where none were stored.
    pub async fn bindings(&self, tenant: &TenantId, script: &str) -> Result<Bindings, StoreError> {
        let mut db = self.readers().acquire().await?;
        crate::scripts::require(&mut db, tenant, script).await?;
        load(&mut db, tenant, script).await
    }

    /// Secrets for a context request: keep them no longer than the request.
    pub async fn source_credentials(
        &self,
        tenant: &TenantId,
        script: &str,
        source: &str,
    ) -> Result<Credentials, StoreError> {
        self.credentials(tenant, script, &name::source(source)).await
    }

    /// Secrets for a language model, its key among them: keep them no longer than the request.
    pub async fn model_credentials(
        &self,
        tenant: &TenantId,
        script: &str,
        model: &str,
    ) -> Result<Credentials, StoreError> {
        self.credentials(tenant, script, &name::model(model)).await
    }

    /// Secrets for a push: keep them no longer than the request.
    pub async fn destination_credentials(
        &self,
        tenant: &TenantId,
        script: &str,
        destination: &str,
    ) -> Result<Credentials, StoreError> {
        self.credentials(tenant, script, &name::destination(destination)).await
    }

    async fn credentials(&self, tenant: &TenantId, script: &str, endpoint: &str) -> Result<Credentials, StoreError> {
        let now = self.now();
        let held = self.held_secrets(tenant, script).await?;
        Ok(credentials(endpoint, held.into_iter().map(|held| (held.name.clone(), held.valid(now)))))
    }
}

/// What the requests to one endpoint need, of all secrets by their names and with their values, the current one first.
fn credentials(endpoint: &str, held: impl Iterator<Item = (String, Vec<Secret>)>) -> Credentials {
    let mut signing = Vec::new();
    let mut raw_headers = Vec::new();
    let mut named = Vec::new();
    for (held_name, mut values) in held {
        if held_name == endpoint {
            signing = values;
        } else if let Some(secret) = held_name.strip_prefix("secret:") {
            named.push((secret.to_owned(), values.swap_remove(0)));
        } else if let Some(header) = held_name.strip_prefix(endpoint).and_then(|r| r.strip_prefix(":header:")) {
            raw_headers.push((header.to_owned(), values.swap_remove(0)));
        }
    }
    let named: BTreeMap<&str, &Secret> = named.iter().map(|(n, s)| (n.as_str(), s)).collect();
    let filled = |(header, value): (String, Secret)| (header, Secret::new(fill(value.expose(), &named)));
    Credentials { signing, headers: raw_headers.into_iter().map(filled).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(document: &str) -> Vec<String> {
        match parse(document.as_bytes()) {
            Err(StoreError::Invalid(errors)) => errors.into_iter().map(|e| format!("{} {}", e.path, e.code)).collect(),
            Err(other) => vec![other.to_string()],
            Ok(_) => Vec::new(),
        }
    }

    #[test]
    fn a_document_says_all_that_is_wrong() {
        assert_eq!(
            errors(r#"{"sources":{"a":{"url":"https://x.example/c?t=1","headers":{"X-A":"1"}}}}"#),
            Vec::<String>::new()
        );
        assert_eq!(errors("{"), [" invalid"]);
        assert_eq!(errors(r#"{"what":1}"#), [" invalid"]);
        assert_eq!(
            errors(
                r#"{"sources":{"a":{"url":"ftp://x","timeout_ms":1,"headers":{"Host":"x","X-A":"${none}","B":"a\nb"}}},
                    "destinations":{"-b":{"url":"https://u:p@x/","secret":"whsec_short"}}, "secrets":{"s":""}}"#
            ),
            [
                "destinations.-b invalid",
                "sources.a.url invalid",
                "sources.a.headers.B invalid",
                "sources.a.headers.Host invalid",
                "sources.a.headers.X-A unknown_name",
                "sources.a.timeout_ms out_of_range",
                "destinations.-b.url invalid",
                "destinations.-b.secret invalid",
                "secrets.s invalid"
            ]
        );
    }

    #[test]
    fn named_secrets_are_filled_in() {
        let token = Secret::new("t0k3n${token}".to_owned());
        let named = BTreeMap::from([("token", &token)]);
        assert_eq!(fill("Bearer ${token}!", &named), "Bearer t0k3n${token}!");
        assert_eq!(fill("${other} ${ ${token}", &named), "${other} ${ t0k3n${token}");
        assert_eq!(fill("plain", &named), "plain");
    }

    #[test]
    fn a_model_has_its_key_without_a_store() {
        let document = r#"{"models": {"assistant": {"url": "https://llm.example/v1/chat/completions", "model": "m",
            "headers": {"Authorization": "Bearer ${key}", "X-Kept": null}}}, "secrets": {"key": "s3cr3t"}}"#;
        let models = parse(document.as_bytes()).unwrap().into_models();
        let (binding, needs) = &models["assistant"];
        assert_eq!((binding.model.as_str(), binding.patience_ms), ("m", Model::default().patience));
        let headers: Vec<_> = needs.headers.iter().map(|(name, value)| (name.as_str(), value.expose())).collect();
        assert_eq!(headers, [("authorization", "Bearer s3cr3t")]);
    }

    #[test]
    fn secrets_do_not_show_in_debug_texts() {
        let document = r#"{"destinations":{"d":{"url":"https://x","secret":"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}},
            "secrets":{"s":"hunter2"}}"#;
        let shown = format!("{:?}", parse(document.as_bytes()).unwrap());
        assert!(!shown.contains("whsec_") && !shown.contains("hunter2"), "{shown}");
    }
}
