//! SIP accounts: telephones that register here.

use crate::Api;
use crate::extract::{Json, ListQuery, Patch, Path, Query};
use crate::guard::Caller;
use crate::problem::Problem;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::IntoResponse;
use callbox_store::sip_accounts::{NewSipAccount, SipAccount};
use callbox_store::{Page, UnixMs};
use serde::Serialize;
use utoipa::ToSchema;

/// What is to change about one.
pub(crate) type SipAccountPatch = Patch<NewSipAccount>;

/// What of an account can be changed.
pub(crate) const CHANGEABLE: &[&str] = &["username", "password", "display_name", "caller_id", "enabled"];

/// Make a SIP account
///
/// A telephone registers with the user name and the password at the address of this host, and calls the tenant's
/// numbers. `POST /v1/calls` calls it by its user name.
#[utoipa::path(post, path = "/v1/sip-accounts", tag = "trunks", security(("api_key" = ["sip_accounts:write"])),
    request_body = NewSipAccount,
    responses((status = 201, description = "Made", body = SipAccount)))]
pub(crate) async fn create(
    State(api): State<Api>,
    caller: Caller,
    Json(new): Json<NewSipAccount>,
) -> Result<impl IntoResponse, Problem> {
    let realm = api.platform().realm();
    let account = api.store().create_sip_account(&caller.tenant, new, realm, &caller.actor).await?;
    Ok((StatusCode::CREATED, [(LOCATION, format!("/v1/sip-accounts/{}", account.id))], Json(account)))
}

/// List SIP accounts
#[utoipa::path(get, path = "/v1/sip-accounts", tag = "trunks", security(("api_key" = ["sip_accounts:read"])),
    params(ListQuery),
    responses((status = 200, description = "A page", body = Page<SipAccount>)))]
pub(crate) async fn list(
    State(api): State<Api>,
    caller: Caller,
    Query(page): Query<ListQuery>,
) -> Result<Json<Page<SipAccount>>, Problem> {
    Ok(Json(api.store().sip_accounts(&caller.tenant, &page.into()).await?))
}

/// An account, and where it is registered.
#[derive(Serialize, ToSchema)]
#[schema(as = RegisteredSipAccount)]
pub(crate) struct AccountView {
    #[serde(flatten)]
    account: SipAccount,
    /// Its telephones that are registered now, the most wanted first. After a restart of the host they come again within
    /// their time.
    contacts: Vec<Contact>,
}

/// A registered telephone.
#[derive(Serialize, ToSchema)]
#[schema(as = SipContact)]
struct Contact {
    /// What it wants to be called by. The telephone chooses it.
    uri: String,
    /// Where its registration came from.
    source: String,
    /// `udp`, `tcp`, `tls`, `ws` or `wss`.
    transport: String,
    /// What it says it is.
    user_agent: Option<String>,
    /// The device, the same after it was switched off and on.
    instance: Option<String>,
    /// It is registered until then, unless it asks again.
    expires_at: UnixMs,
}

/// Read a SIP account
///
/// With the telephones that are registered as it.
#[utoipa::path(get, path = "/v1/sip-accounts/{account}", tag = "trunks", security(("api_key" = ["sip_accounts:read"])),
    params(("account" = String, Path, description = "`acc_…`")),
    responses((status = 200, description = "It, without the password", body = AccountView)))]
pub(crate) async fn read(
    State(api): State<Api>,
    caller: Caller,
    Path(account): Path<String>,
) -> Result<Json<AccountView>, Problem> {
    let account = api.store().sip_account(&caller.tenant, &account).await?;
    let now = api.store().now();
    let contacts = api.platform().rooms().sip.contacts(&account.id).await.into_iter();
    let contacts = contacts.map(|contact| Contact {
        uri: contact.uri,
        source: contact.source.to_string(),
        transport: contact.transport.to_string(),
        user_agent: contact.user_agent,
        instance: contact.instance,
        expires_at: now.plus(i64::try_from(contact.expires_in.as_millis()).unwrap_or(i64::MAX)),
    });
    Ok(Json(AccountView { contacts: contacts.collect(), account }))
}

/// Change a SIP account
///
/// A JSON merge patch: what is left out stays, `null` takes away. Another user name needs the password again.
#[utoipa::path(patch, path = "/v1/sip-accounts/{account}", tag = "trunks", security(("api_key" = ["sip_accounts:write"])),
    params(("account" = String, Path, description = "`acc_…`")),
    request_body = SipAccountPatch,
    responses(
        (status = 200, description = "As it is now", body = SipAccount),
        (status = 409, description = "The user name is taken")))]
pub(crate) async fn change(
    State(api): State<Api>,
    caller: Caller,
    Path(account): Path<String>,
    patch: SipAccountPatch,
) -> Result<Json<SipAccount>, Problem> {
    let current = api.store().sip_account(&caller.tenant, &account).await?;
    let new = patch.apply(&current, CHANGEABLE)?;
    let realm = api.platform().realm();
    Ok(Json(api.store().update_sip_account(&caller.tenant, &account, new, realm, &caller.actor).await?))
}

/// Take a SIP account away
///
/// It cannot sign in any more, and is not called.
#[utoipa::path(delete, path = "/v1/sip-accounts/{account}", tag = "trunks", security(("api_key" = ["sip_accounts:write"])),
    params(("account" = String, Path, description = "`acc_…`")),
    responses((status = 204, description = "Gone")))]
pub(crate) async fn delete(
    State(api): State<Api>,
    caller: Caller,
    Path(account): Path<String>,
) -> Result<StatusCode, Problem> {
    api.store().delete_sip_account(&caller.tenant, &account, &caller.actor).await?;
    Ok(StatusCode::NO_CONTENT)
}
