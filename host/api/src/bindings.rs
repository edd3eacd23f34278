//! Bindings: what the names of a script's manifest mean here.

use crate::Api;
use crate::extract::{Json, Path};
use crate::guard::Caller;
use crate::problem::Problem;
use axum::extract::State;
use callbox_store::bindings::{Bindings, BindingsInput};
use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// Read the bindings
///
/// Secrets are never shown, only which ones are set.
#[utoipa::path(get, path = "/v1/scripts/{script}/bindings", tag = "scripts",
    security(("api_key" = ["scripts:read"])),
    params(("script" = String, Path, description = "`scr_…`")),
    responses((status = 200, description = "They", body = Bindings)))]
pub(crate) async fn read(
    State(api): State<Api>,
    caller: Caller,
    Path(script): Path<String>,
) -> Result<Json<Bindings>, Problem> {
    Ok(Json(api.store().bindings(&caller.tenant, &script).await?))
}

/// Bindings that were just stored.
#[derive(Serialize, ToSchema)]
pub(crate) struct BindingsStored {
    #[serde(flatten)]
    bindings: Bindings,
    /// Signing secrets that were made because none was given, by `source:NAME` or `destination:NAME`. Shown this once.
    generated_secrets: BTreeMap<String, String>,
}

/// Replace the bindings
///
/// The whole document: what is left out is unbound. A secret or header value that is `null` or left out keeps its stored
/// value. Refused where the version that answers calls would lose a name.
#[utoipa::path(put, path = "/v1/scripts/{script}/bindings", tag = "scripts",
    security(("api_key" = ["scripts:write"])),
    params(("script" = String, Path, description = "`scr_…`")),
    request_body(content = BindingsInput, example = json!({
        "sources": {"appointment": {"url": "https://crm.example.com/context", "timeout_ms": 2000, "on_failure": "continue",
            "headers": {"authorization": "Bearer ${crm_token}"}}},
        "models": {"assistant": {"url": "https://llm.example.com/v1/chat/completions", "model": "qwen3-8b",
            "headers": {"authorization": "Bearer ${llm_key}"}, "max_tokens": 300, "tokens_per_call": 50000}},
        "destinations": {"outcome": {"url": "https://crm.example.com/outcome"}},
        "settings": {"language": "en"},
        "secrets": {"crm_token": "4f1c9a0e", "llm_key": "sk-4f1c"}
    })),
    responses(
        (status = 200, description = "As they are now", body = BindingsStored),
        (status = 409, description = "`binding_in_use`: the version that answers calls needs a name that would be gone")))]
pub(crate) async fn replace(
    State(api): State<Api>,
    caller: Caller,
    Path(script): Path<String>,
    Json(input): Json<BindingsInput>,
) -> Result<Json<BindingsStored>, Problem> {
    let stored = api.store().put_bindings(&caller.tenant, &script, input, &caller.actor).await?;
    let shown = |(name, secret): (String, callbox_store::secrets::Secret)| (name, secret.expose().to_owned());
    let generated_secrets = stored.generated.into_iter().map(shown).collect();
    Ok(Json(BindingsStored { bindings: stored.bindings, generated_secrets }))
}
