//! Tokens of web pages and apps: what lets their visitors call one number.

use crate::Api;
use crate::extract::{Json, ListQuery, Path, Query};
use crate::guard::Caller;
use crate::intake::Remembered;
use crate::problem::Problem;
use crate::webrtc_ice::IceServer;
use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::IntoResponse;
use callbox_call::webrtc::VisitError;
use callbox_store::webrtc_tokens::{NewWebToken, TokenCaller, TokenSettings, WebToken};
use callbox_store::{Page, UnixMs};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// How long a token is good where nothing is said.
const USUAL_S: u32 = 600;

/// A token to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "number": "+493012345", "variables": {"customer": "4711"}, "origins": ["https://shop.example"], "expires_in_s": 600, "uses": 1
}))]
pub(crate) struct MakeToken {
    /// Whom its holder may call: `num_…`, or what is dialled.
    number: String,
    /// A JSON object for the script (`call.get-info().parameters`). A text whose name is that of a header which the
    /// script's manifest lists is there as that header, too.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    variables: Option<Value>,
    /// How long it is good, in seconds: 600 unless given. A call that has begun goes on.
    #[serde(default)]
    #[schema(minimum = 1, default = 600)]
    expires_in_s: Option<u32>,
    /// Pages that may use it, by their origin; empty for all, and for apps.
    #[serde(default)]
    #[schema(max_items = 20, example = json!(["https://shop.example"]))]
    origins: Vec<String>,
    /// Calls that may be made with it: 1 unless given.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 100_000, default = 1)]
    uses: Option<u32>,
    /// Who calls, as the script and the books see it.
    #[serde(default)]
    caller: TokenCaller,
    /// Your own name for the calls.
    #[serde(default)]
    #[schema(max_length = 255)]
    external_id: Option<String>,
    /// Ties calls together.
    #[serde(default)]
    #[schema(max_length = 255)]
    relation_id: Option<String>,
}

impl MakeToken {
    pub(crate) fn checked(self, longest_s: u32) -> Result<NewWebToken, Problem> {
        let seconds = self.expires_in_s.unwrap_or(USUAL_S.min(longest_s));
        if !(1..=longest_s).contains(&seconds) {
            return Err(Problem::field("expires_in_s", "out_of_range", format!("1 to {longest_s} on this host")));
        }
        Ok(NewWebToken {
            number: self.number,
            settings: TokenSettings {
                variables: self.variables.filter(|variables| !variables.is_null()),
                origins: self.origins,
                caller: self.caller,
                external_id: self.external_id,
                relation_id: self.relation_id,
            },
            uses: self.uses.unwrap_or(1),
            lifetime_ms: i64::from(seconds) * 1_000,
        })
    }
}

/// A token, without its text.
#[derive(Serialize, ToSchema)]
#[schema(as = WebToken)]
pub(crate) struct TokenView {
    /// `wrt_…`
    id: String,
    /// `num_…`
    number_id: String,
    /// For the script.
    #[schema(value_type = Option<Object>)]
    variables: Option<Value>,
    /// Pages that may use it; empty for all.
    origins: Vec<String>,
    /// Calls that may be made with it.
    uses: u32,
    /// Calls that were.
    used: u32,
    /// Who calls.
    caller: TokenCaller,
    /// The customer's own name for the calls.
    external_id: Option<String>,
    /// Ties calls together.
    relation_id: Option<String>,
    /// When it was made.
    created_at: UnixMs,
    /// From then on it is refused.
    expires_at: UnixMs,
    /// From then on it is refused.
    revoked_at: Option<UnixMs>,
}

impl From<WebToken> for TokenView {
    fn from(token: WebToken) -> Self {
        let TokenSettings { variables, origins, caller, external_id, relation_id } = token.settings;
        Self {
            id: token.id,
            number_id: token.number_id,
            variables,
            origins,
            uses: token.uses,
            used: token.used,
            caller,
            external_id,
            relation_id,
            created_at: token.created_at,
            expires_at: token.expires_at,
            revoked_at: token.revoked_at,
        }
    }
}

/// A token that was just made.
#[derive(Serialize, ToSchema)]
#[schema(as = WebTokenMade)]
pub(crate) struct TokenMade {
    #[serde(flatten)]
    token_view: TokenView,
    /// `cbt_…`, for the page: `Authorization: Bearer`. Shown this once; only its hash is stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    /// For `new RTCPeerConnection({iceServers})`. Empty where the operator has none: who can reach the host needs none.
    ice_servers: Vec<IceServer>,
}

/// Make a token
///
/// For a web page or an app: with it, and without any key, its holder calls this one number. Make it on your server when
/// a visitor asks for a call, and give it to the page.
#[utoipa::path(post, path = "/v1/webrtc/tokens", tag = "webrtc", security(("api_key" = ["webrtc_tokens:write"])),
    request_body = MakeToken,
    responses(
        (status = 201, description = "Made", body = TokenMade),
        (status = 409, description = "`webrtc_off`: the host takes no calls by WebRTC; or the first request with this Idempotency-Key still runs")))]
pub(crate) async fn create(
    State(api): State<Api>,
    caller: Caller,
    Json(new): Json<MakeToken>,
) -> Result<impl IntoResponse, Problem> {
    if !api.platform().takes_webrtc() {
        return Err(VisitError::Off.into());
    }
    let new = new.checked(api.inner.config.webrtc.longest_token_s)?;
    let issued = api.store().create_webrtc_token(&caller.tenant, new, &caller.actor).await?;
    let location = [(LOCATION, format!("/v1/webrtc/tokens/{}", issued.token.id))];
    let ice_servers = api.ice_servers(&issued.token.id);
    let mut made = TokenMade { token_view: issued.token.into(), token: None, ice_servers: Vec::new() };
    let remembered = serde_json::to_vec(&made).map_err(Problem::internal)?;
    (made.token, made.ice_servers) = (Some(issued.secret.expose().to_owned()), ice_servers);
    Ok((StatusCode::CREATED, location, Extension(Remembered(remembered.into())), Json(made)))
}

/// List tokens
///
/// Those that are over are listed for a day.
#[utoipa::path(get, path = "/v1/webrtc/tokens", tag = "webrtc", security(("api_key" = ["webrtc_tokens:read"])),
    params(ListQuery),
    responses((status = 200, description = "A page", body = Page<TokenView>)))]
pub(crate) async fn list(
    State(api): State<Api>,
    caller: Caller,
    Query(page): Query<ListQuery>,
) -> Result<Json<Page<TokenView>>, Problem> {
    let page = api.store().webrtc_tokens(&caller.tenant, &page.into()).await?;
    let data = page.data.into_iter().map(TokenView::from).collect();
    Ok(Json(Page { data, next_cursor: page.next_cursor, has_more: page.has_more }))
}

/// Read a token
#[utoipa::path(get, path = "/v1/webrtc/tokens/{token}", tag = "webrtc", security(("api_key" = ["webrtc_tokens:read"])),
    params(("token" = String, Path, description = "`wrt_…`")),
    responses((status = 200, description = "It, without its text", body = TokenView)))]
pub(crate) async fn read(
    State(api): State<Api>,
    caller: Caller,
    Path(token): Path<String>,
) -> Result<Json<TokenView>, Problem> {
    Ok(Json(api.store().webrtc_token(&caller.tenant, &token).await?.into()))
}

/// Revoke a token
///
/// It is refused from now on; calls that run go on. Revoking it again changes nothing.
#[utoipa::path(delete, path = "/v1/webrtc/tokens/{token}", tag = "webrtc", security(("api_key" = ["webrtc_tokens:write"])),
    params(("token" = String, Path, description = "`wrt_…`")),
    responses((status = 200, description = "Revoked", body = TokenView)))]
pub(crate) async fn revoke(
    State(api): State<Api>,
    caller: Caller,
    Path(token): Path<String>,
) -> Result<Json<TokenView>, Problem> {
    Ok(Json(api.store().revoke_webrtc_token(&caller.tenant, &token, &caller.actor).await?.into()))
}
