//! What may call in, and where it gets to.
//!
//! What is known to come by a trunk, or from a telephone that signed in, reaches the numbers of its own tenant, and no
//! other's. A stranger is refused where the operator says so; elsewhere every number can be called from anywhere, and
//! whose network a call comes from changes nothing for the numbers of others: no tenant shuts another's callers out by
//! naming their network as its own.

use super::{InboundPolicy, LiveTrunk, Permit};
use crate::inbound::Refusal;
use crate::platform::Platform;
use crate::policy::LegPolicy;
use crate::webrtc;
use callbox_sip::InviteInfo;
use callbox_store::TenantId;
use callbox_store::routing::{Route, Routing};
use callbox_store::sip_accounts::SipAccount;
use callbox_store::webrtc_tokens::WebToken;
use callbox_trunk::gate::{Closed, Direction};
use callbox_trunk::inbound::{Proof, SignedIn};
use std::sync::Arc;

/// A call that may come in.
pub(crate) struct Admitted {
    pub(crate) route: Route,
    /// By which trunk it comes, and its place there.
    pub(crate) trunk: Option<(Arc<LiveTrunk>, Permit)>,
    /// The telephone that calls.
    pub(crate) account: Option<SipAccount>,
    /// Who calls, as we write numbers, where the trunk says how its far end writes them.
    pub(crate) caller: Option<String>,
    /// The token of a page, which is to be spent.
    pub(crate) token: Option<Box<WebToken>>,
}

impl Admitted {
    /// How its far end wants to be spoken to.
    pub(crate) fn policy(&self) -> LegPolicy {
        self.trunk.as_ref().map(|(trunk, _)| trunk.policy.clone()).unwrap_or_default()
    }

    /// The id of its trunk.
    pub(crate) fn trunk_id(&self) -> Option<String> {
        self.trunk.as_ref().map(|(trunk, _)| trunk.id.clone())
    }
}

/// Who sends an INVITE, as far as it is known.
struct Sender {
    account: Option<(TenantId, SipAccount)>,
    trunks: Vec<(Arc<LiveTrunk>, Proof)>,
}

impl Sender {
    /// Who has proved who it is stays with its own.
    fn proved(&self) -> bool {
        self.account.is_some() || self.trunks.iter().any(|(_, proof)| *proof != Proof::Network)
    }

    fn is_stranger(&self) -> bool {
        self.account.is_none() && self.trunks.is_empty()
    }

    fn is_of(&self, tenant: &TenantId) -> bool {
        let account = self.account.as_ref().is_some_and(|(owner, _)| owner == tenant);
        account || self.trunks.iter().any(|(trunk, _)| trunk.tenant == *tenant)
    }
}

impl Platform {
    async fn sender(&self, invite: &InviteInfo) -> Result<Sender, Refusal> {
        let store = &self.inner.rooms.store;
        let account = match &invite.account {
            Some(id) => store
                .signed_in(id)
                .await
                .map_err(|error| Refusal::later(format!("no account: {error}")))?
                .map(Some)
                .ok_or_else(|| Refusal::new(403, "Forbidden", "the account was taken away"))?,
            None => None,
        };
        let signed_in = account.as_ref();
        let signed_in =
            signed_in.map(|(tenant, account)| SignedIn { tenant: tenant.as_str(), username: &account.username });
        let trunks = self.inner.trunks.of_call(invite, signed_in);
        Ok(Sender { account, trunks })
    }

    /// Whether an INVITE may take the place of a call of this tenant (RFC 3891 §3): to know the names of the dialog is
    /// not enough where strangers may not call, nor for those of another tenant.
    pub(crate) async fn may_replace(&self, invite: &InviteInfo, tenant: &TenantId) -> Result<(), Refusal> {
        let sender = self.sender(invite).await?;
        let open = self.inner.policy.trunks.inbound == InboundPolicy::Open && !sender.proved();
        if open || sender.is_of(tenant) {
            return Ok(());
        }
        Err(Refusal::new(403, "Forbidden", "it would take the place of a call that is not its own"))
    }

    /// Finds what answers an INVITE, or why nothing does.
    pub(crate) async fn admit(&self, invite: &InviteInfo) -> Result<Admitted, Refusal> {
        if let Some(token) = webrtc::token_of(invite) {
            return self.by_token(token).await;
        }
        let sender = self.sender(invite).await?;
        let (proved, stranger) = (sender.proved(), sender.is_stranger());
        let Sender { account, trunks } = sender;
        for (trunk, proof) in &trunks {
            if let Some(admitted) = self.by_trunk(invite, trunk, *proof).await? {
                return Ok(admitted);
            }
        }
        let user = invite.request_user.as_deref().unwrap_or_default();
        if let Some((tenant, account)) = account {
            let route = self.route(user, Some(&tenant)).await?.ok_or_else(|| no_number(user))?;
            return Ok(Admitted {
                route,
                trunk: None,
                caller: account.caller_id.clone(),
                account: Some(account),
                token: None,
            });
        }
        match self.inner.policy.trunks.inbound {
            InboundPolicy::Known if stranger => {
                return Err(Refusal::new(403, "Forbidden", "a stranger, and only trunks and telephones may call"));
            }
            InboundPolicy::Open if !proved => {}
            InboundPolicy::Open | InboundPolicy::Known => return Err(no_number(user)),
        }
        let route = self.route(user, None).await?.ok_or_else(|| no_number(user))?;
        Ok(Admitted { route, trunk: None, account: None, caller: None, token: None })
    }

    /// The call by this trunk, where the number is one of its tenant.
    async fn by_trunk(
        &self,
        invite: &InviteInfo,
        trunk: &Arc<LiveTrunk>,
        proof: Proof,
    ) -> Result<Option<Admitted>, Refusal> {
        // A registrar calls the contact that we registered; whom the caller wants is in `To` then.
        let dialled = match proof {
            Proof::Registration => &invite.to.user,
            Proof::Certificate | Proof::Account | Proof::Network => &invite.request_user,
        };
        let number = trunk.normaliser.inbound(dialled.as_deref().unwrap_or_default());
        let Some(route) = self.route(&number, Some(&trunk.tenant)).await? else { return Ok(None) };
        let permit = trunk.enter(Direction::Inbound).map_err(|closed| match closed {
            Closed::Channels => {
                Refusal::new(486, "Busy Here", format!("trunk {} has as many calls as it may", trunk.id))
            }
            Closed::Rate { retry_in_ms } => {
                let seconds = retry_in_ms.div_ceil(1_000).max(1);
                let why = format!("trunk {} begins more calls than it may", trunk.id);
                Refusal { headers: vec![("Retry-After".into(), seconds.to_string())], ..Refusal::later(why) }
            }
        })?;
        let caller = invite.from.user.as_deref().map(|user| trunk.normaliser.inbound(user));
        Ok(Some(Admitted { route, trunk: Some((trunk.clone(), permit)), account: None, caller, token: None }))
    }

    /// What answers at a number; of the tenant's alone, where one is given.
    async fn route(&self, user: &str, tenant: Option<&TenantId>) -> Result<Option<Route>, Refusal> {
        let theirs = |owner: &TenantId| tenant.is_none_or(|tenant| tenant == owner);
        let store = &self.inner.rooms.store;
        let found = match (store.route(user).await, &self.inner.policy.trunks.catch_all) {
            (Ok(Routing::Unknown), Some(number)) => store.route(number).await,
            (found, _) => found,
        };
        match found {
            Ok(Routing::Ready(route)) => Ok(theirs(&route.tenant_id).then_some(*route)),
            Ok(Routing::Closed { tenant_id, why, .. }) if theirs(&tenant_id) => {
                Err(Refusal::new(480, "Temporarily Unavailable", why))
            }
            Ok(Routing::Closed { .. } | Routing::Unknown) => Ok(None),
            Err(error) => Err(Refusal::later(format!("no route: {error}"))),
        }
    }
}

fn no_number(user: &str) -> Refusal {
    Refusal::new(404, "Not Found", format!("no number {user:?} that may be called from there"))
}
