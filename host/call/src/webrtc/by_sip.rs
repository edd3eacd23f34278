//! A token on an INVITE: a page that calls by SIP over WebSocket calls the number of its token, whatever it dialled, and
//! also where strangers may not call.

use crate::inbound::Refusal;
use crate::platform::Platform;
use crate::trunks::Admitted;
use callbox_sip::InviteInfo;
use callbox_sip::ladder::TOKEN_HEADER;
use callbox_store::StoreError;
use callbox_store::routing::Routing;
use callbox_store::webrtc_tokens::{TokenError, WebToken};

/// The token of an INVITE.
pub(crate) fn token_of(invite: &InviteInfo) -> Option<&str> {
    invite.headers.iter().find(|(name, _)| name == TOKEN_HEADER).map(|(_, value)| value.trim())
}

/// A refusal whose `Warning` (RFC 3261 §20.43) carries the code that the same has by HTTP.
pub(crate) fn refused(status: u16, reason: &'static str, code: &str, why: String) -> Refusal {
    let headers = vec![("Warning".to_owned(), format!("399 callbox \"{code}\""))];
    Refusal { headers, ..Refusal::new(status, reason, why) }
}

impl From<TokenError> for Refusal {
    fn from(error: TokenError) -> Self {
        let why = error.to_string();
        match error {
            TokenError::Unknown => refused(403, "Token Not Valid", "token_invalid", why),
            TokenError::Expired(_) => refused(403, "Token Expired", "token_expired", why),
            TokenError::Revoked => refused(403, "Token Revoked", "token_revoked", why),
            TokenError::Spent(_) => refused(403, "Token Spent", "token_spent", why),
            TokenError::Store(error) => Self::later(format!("no token: {error}")),
        }
    }
}

impl Platform {
    /// What a token on an INVITE leads to.
    pub(crate) async fn by_token(&self, text: &str) -> Result<Admitted, Refusal> {
        let store = &self.inner.rooms.store;
        let token = store.webrtc_token_of(text).await?;
        token.check(store.now())?;
        if !token.settings.origins.is_empty() {
            // The stack does not know by which page a connection was opened; `sip.ws_origins` does, for all of them.
            let why = "a token for pages of certain origins, which are known by HTTP alone".to_owned();
            return Err(refused(403, "Token Is For HTTP", "origin_not_allowed", why));
        }
        let route = match store.route_number(&token.tenant_id, &token.number_id).await {
            Ok(Routing::Ready(route)) => *route,
            Ok(Routing::Closed { why, .. }) => return Err(Refusal::new(480, "Temporarily Unavailable", why)),
            Ok(Routing::Unknown) | Err(StoreError::NotFound { .. }) => {
                return Err(refused(410, "Gone", "number_gone", "the number of the token was taken away".into()));
            }
            Err(error) => return Err(Refusal::later(format!("no route: {error}"))),
        };
        Ok(Admitted { route, trunk: None, account: None, caller: None, token: Some(Box::new(token)) })
    }
}

/// What a token says of the call that an INVITE begins.
pub(crate) fn complete(start: &mut callbox_store::calls::CallStart, token: &WebToken) {
    let settings = &token.settings;
    start.parameters.clone_from(&settings.variables);
    start.external_id.clone_from(&settings.external_id);
    start.relation_id = super::relation_of(token).or(start.relation_id.take());
    start.caller.number = settings.caller.number.clone().or(start.caller.number.take());
    start.caller.display_name = settings.caller.display_name.clone().or(start.caller.display_name.take());
}
