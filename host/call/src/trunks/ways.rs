//! The ways to a callee, and the attempts to reach it by one after the other.

use super::{LiveTrunk, Permit};
use crate::negotiation::{Negotiation, Terms};
use crate::outbound::{By, Dial, Target, bracketed};
use crate::policy::LegPolicy;
use crate::tolls::{Toll, TollRefusal};
use callbox_media::Session;
use callbox_sip::{BoundContact, Dialog, DialogEvent, OutgoingCall, RegistrationId, SipError};
use callbox_store::StoreError;
use callbox_trunk::caller::ANONYMOUS;
use callbox_trunk::failover::{self, Refused};
use callbox_trunk::gate::{Closed, Direction};
use callbox_trunk::select;
use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Ways to one callee at most: trunks and addresses that are down take half a minute each.
const WAYS: usize = 16;
/// A telephone that does not answer, cannot be reached or is broken: the account's next one may take the call.
const NEXT_PHONE: [u16; 6] = [408, 480, 500, 502, 503, 504];

/// What is asked of a call besides its target.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ask {
    /// Who is shown as the caller: a number or a plain name; none for nobody.
    pub(crate) caller: Option<String>,
    /// This trunk and no other, for numbers.
    pub(crate) trunk: Option<String>,
    /// Further header fields.
    pub(crate) headers: Vec<(String, String)>,
    /// How long it may ring.
    pub(crate) ring_timeout: Duration,
}

/// Why there is no way to a callee.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoWay {
    /// The trunk that was asked for is not there.
    #[error("there is no trunk {0:?} in service")]
    NoTrunk(String),
    /// None of the tenant's trunks is for this number.
    #[error("no trunk is for {0:?}")]
    NoTrunkFor(String),
    /// No such account.
    #[error("there is no SIP account {0:?}")]
    NoAccount(String),
    /// No telephone of the account is registered.
    #[error("no telephone of the SIP account {0:?} is registered")]
    NotRegistered(String),
    /// Every trunk has as many calls as it may.
    #[error("every trunk has as many calls as it may")]
    Busy,
    /// The tenant may not call there, or not now.
    #[error(transparent)]
    Barred(#[from] TollRefusal),
    /// The database does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The call could not be begun by any way.
    #[error(transparent)]
    Sip(#[from] SipError),
}

impl NoWay {
    /// The status of a call that could not be placed for that reason.
    pub(crate) fn status(&self) -> u16 {
        match self {
            Self::NoTrunk(_) | Self::NoTrunkFor(_) | Self::NoAccount(_) => 404,
            Self::NotRegistered(_) => 480,
            Self::Barred(refusal) => refusal.status(),
            Self::Busy | Self::Store(_) => 503,
            Self::Sip(_) => 500,
        }
    }
}

/// One way.
struct Way {
    call: OutgoingCall,
    /// Where it leads, as far as is known, for our address as it is seen from there.
    remote: IpAddr,
    policy: LegPolicy,
    /// The trunk, and which of its addresses; none of them for the server that it is registered with.
    trunk: Option<OfTrunk>,
    /// After which statuses the next way is tried.
    failover: Vec<u16>,
}

/// A trunk, and which of its addresses.
type OfTrunk = (Arc<LiveTrunk>, Option<usize>);

/// By what a call goes out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TrunkUsed {
    pub(crate) trunk: String,
    pub(crate) address: String,
}

/// An INVITE on its way.
pub(crate) struct Attempt {
    pub(crate) dialog: Dialog,
    pub(crate) events: mpsc::Receiver<DialogEvent>,
    pub(crate) negotiation: Negotiation,
    pub(crate) policy: LegPolicy,
    pub(crate) used: Option<TrunkUsed>,
    /// Who is called and who is shown as the caller, as URIs.
    pub(crate) to: String,
    pub(crate) from: String,
    /// The call's place in its trunk, to be kept as long as the dialog.
    pub(crate) permit: Option<Permit>,
}

/// The ways that are left.
pub(crate) struct Attempts {
    dial: Dial,
    ways: VecDeque<Way>,
    headers: Vec<(String, String)>,
    ring_timeout: Duration,
    /// What is charged for the call, by whichever way it goes.
    toll: Option<Arc<Toll>>,
    /// The way that is being tried.
    current: Option<(Option<OfTrunk>, Vec<u16>)>,
}

impl Dial {
    /// The ways to a target, the best first. Whoever wants to call the telephone network passes here, and its gate.
    pub(crate) async fn attempts(&self, target: &Target, ask: Ask) -> Result<Attempts, NoWay> {
        let (ways, number) = match &target.by {
            By::Account(username) => (self.phones(username, &ask).await?, None),
            // By that trunk and no other.
            By::Number(number) if ask.trunk.is_some() => (self.trunks(number, &ask)?, Some(number.clone())),
            By::Number(number) => match self.phones(number, &ask).await {
                Ok(ways) => (ways, None),
                Err(NoWay::NoAccount(_)) => (self.trunks(number, &ask)?, Some(number.clone())),
                Err(other) => return Err(other),
            },
            By::Uri | By::Referred | By::Proxy => (vec![self.operator(target, &ask)].into(), target.number()),
        };
        let toll = match number {
            Some(number) => Some(Arc::new(self.tolls.begin(&self.payer, &number).await?)),
            None => None,
        };
        let Ask { headers, ring_timeout, .. } = ask;
        Ok(Attempts { dial: self.clone(), ways, headers, ring_timeout, toll, current: None })
    }

    /// What the operator provides for everybody. The far end itself is spoken to as it wants, so that nothing which has to
    /// be encrypted is said in the clear after a transfer.
    fn operator(&self, target: &Target, ask: &Ask) -> Way {
        let peers = [&self.peer, &self.peer_name];
        let back = peers.into_iter().flatten().any(|peer| peer.eq_ignore_ascii_case(&target.host));
        Way {
            call: self.policy.outgoing(target, ask.caller.as_deref()),
            remote: self.policy.remote(target),
            policy: if back { self.manners.clone() } else { LegPolicy::default() },
            trunk: None,
            failover: Vec::new(),
        }
    }

    /// The tenant's trunks.
    fn trunks(&self, number: &str, ask: &Ask) -> Result<VecDeque<Way>, NoWay> {
        let trunks = match &ask.trunk {
            Some(id) => vec![self.trunks.find(&self.tenant, id).ok_or_else(|| NoWay::NoTrunk(id.clone()))?],
            None => self.trunks.for_number(&self.tenant, number),
        };
        let mut ways = VecDeque::new();
        for trunk in trunks {
            if let Some(registration) = trunk.registration() {
                ways.extend(by_trunk(&trunk, None, Some(registration), number, ask.caller.as_deref()));
                // Its one server is the one that it is registered with.
                if trunk.settings.addresses.len() <= 1 {
                    continue;
                }
            }
            for at in select::order(&trunk.settings.addresses, |at| trunk.state_of(at), luck) {
                ways.extend(by_trunk(&trunk, Some(at), None, number, ask.caller.as_deref()));
            }
        }
        ways.truncate(WAYS);
        if ways.is_empty() { Err(NoWay::NoTrunkFor(number.to_owned())) } else { Ok(ways) }
    }

    /// The telephones of an account, the one that wants to be called first.
    async fn phones(&self, username: &str, ask: &Ask) -> Result<VecDeque<Way>, NoWay> {
        let account = self.store.sip_account_named(&self.tenant, username).await?;
        let account = account.filter(|account| account.enabled);
        let account = account.ok_or_else(|| NoWay::NoAccount(username.to_owned()))?;
        let from = ask.caller.as_ref().map_or_else(|| ANONYMOUS.into(), |caller| uri_of(caller, &self.realm));
        let phone = |contact: BoundContact| Way {
            remote: contact.source.ip(),
            call: OutgoingCall { contact: Some(contact), from: from.clone(), ..OutgoingCall::default() },
            policy: LegPolicy::default(),
            trunk: None,
            failover: NEXT_PHONE.to_vec(),
        };
        let ways: VecDeque<Way> = self.stack.contacts(&account.id).await.into_iter().map(phone).take(WAYS).collect();
        if ways.is_empty() { Err(NoWay::NotRegistered(username.to_owned())) } else { Ok(ways) }
    }
}

/// The way to a number by one address of a trunk, or by the server that it is registered with.
fn by_trunk(
    trunk: &Arc<LiveTrunk>,
    at: Option<usize>,
    registration: Option<RegistrationId>,
    number: &str,
    caller: Option<&str>,
) -> Option<Way> {
    let address = at.and_then(|at| trunk.settings.addresses.get(at));
    let (number, caller) = (trunk.normaliser.outbound(number), caller.map(|caller| trunk.normaliser.outbound(caller)));
    // A registrar's own domain, where we are one of its users; else the machine that is asked.
    let aor = trunk.registers().and_then(|registration| registration.aor.split_once('@'));
    let host = aor.map(|(_, host)| host.to_owned()).or_else(|| Some(address?.host_and_port()))?;
    let domain = trunk.settings.domain().unwrap_or_else(|| host.clone());
    let shown = trunk.settings.headers.present(caller.as_deref(), &domain);
    Some(Way {
        call: OutgoingCall {
            target: format!("sip:{number}@{host}"),
            from: shown.from,
            display_name: shown.display_name,
            proxy: at.and_then(|at| trunk.next_hop(at)),
            registration,
            credentials: trunk.credentials.clone(),
            headers: shown.headers,
            ..OutgoingCall::default()
        },
        remote: address.and_then(|address| address.host.parse().ok()).unwrap_or(OUTSIDE),
        policy: trunk.policy.clone(),
        trunk: Some((trunk.clone(), at)),
        failover: trunk.settings.failover_statuses.clone(),
    })
}

/// TEST-NET-1 (RFC 5737): stands for the world outside; nothing is sent there.
pub(crate) const OUTSIDE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// A number below `below`. Without randomness the first way is as good as any.
fn luck(below: u32) -> u32 {
    getrandom::u32().map_or(0, |drawn| drawn % below.max(1))
}

impl Attempts {
    /// Tries the ways that are left until an INVITE is on its way.
    pub(crate) async fn next(&mut self, media: &Session) -> Result<Attempt, NoWay> {
        let mut why = None;
        while let Some(way) = self.ways.pop_front() {
            let permit = match way.trunk.as_ref().map(|(trunk, _)| trunk.enter(Direction::Outbound)).transpose() {
                Ok(permit) => permit,
                Err(Closed::Channels | Closed::Rate { .. }) => {
                    // Another address of the same trunk has no more room.
                    let full = way.trunk.as_ref().map(|(trunk, _)| trunk.id.clone());
                    self.ways.retain(|other| other.trunk.as_ref().map(|(trunk, _)| trunk.id.clone()) != full);
                    why.get_or_insert(NoWay::Busy);
                    continue;
                }
            };
            let permit = match permit {
                Some(permit) => Some(permit.with(self.toll.clone())),
                None => Permit::charged(self.toll.clone()),
            };
            let Way { mut call, remote, policy, trunk, failover } = way;
            let address = self.dial.stack.media_address(remote);
            let Dial { stack, media: plane, created, .. } = &self.dial;
            let terms = Terms::new(stack, plane, address, *created, policy.clone());
            let (negotiation, offer) = Negotiation::outbound(media, &terms);
            call.headers.extend(self.headers.iter().cloned());
            call.offer = Some(offer);
            call.ring_timeout = self.ring_timeout;
            let to = call.contact.as_ref().map_or_else(|| call.target.clone(), |contact| contact.uri.clone());
            let from = call.from.clone();
            match self.dial.stack.call(call).await {
                Ok((dialog, events)) => {
                    let used = trunk.as_ref().map(|(trunk, at)| TrunkUsed {
                        trunk: trunk.id.clone(),
                        address: match at.and_then(|at| trunk.settings.addresses.get(at)) {
                            Some(address) => address.to_string(),
                            None => trunk.registers().map(|wanted| wanted.aor.clone()).unwrap_or_default(),
                        },
                    });
                    if let Some(TrunkUsed { trunk, address }) = &used {
                        tracing::info!(call = %self.dial.call, sip_call = dialog.id(), trunk, address, "a call goes out by a trunk");
                    }
                    self.current = Some((trunk, failover));
                    return Ok(Attempt { dialog, events, negotiation, policy, used, to, from, permit });
                }
                Err(error) => {
                    tracing::warn!(call = %self.dial.call, %error, "a way to the callee cannot be tried");
                    self.note(trunk.as_ref(), &error.to_string());
                    why = Some(NoWay::Sip(error));
                }
            }
        }
        Err(why.unwrap_or(NoWay::Busy))
    }

    /// Whether another way is tried after this final status, which came before an answer, and maybe after it `rang`.
    pub(crate) fn goes_on(&mut self, status: u16, rang: bool) -> bool {
        let Some((trunk, failover)) = self.current.take() else { return false };
        // Another telephone of an account is another place, where somebody may be.
        let rang = rang && trunk.is_some();
        if !failover::tries_next(&failover, Refused { status, answered: false, rang }) {
            return false;
        }
        self.note(trunk.as_ref(), &format!("an INVITE was refused with {status}"));
        if self.ways.is_empty() {
            return false;
        }
        if let Some((trunk, _)) = &trunk {
            trunk.failed_over();
        }
        tracing::info!(
            call = %self.dial.call,
            trunk = trunk.as_ref().map(|(trunk, _)| trunk.id.as_str()),
            status,
            "another way to the callee is tried"
        );
        true
    }

    fn note(&self, trunk: Option<&OfTrunk>, what: &str) {
        if let Some((trunk, at)) = trunk {
            trunk.fault(*at, what, self.dial.store.now());
        }
    }
}

/// `sip:user@host`, for what has a host in the operator's words.
pub(crate) fn uri_of(user: &str, host: &str) -> String {
    format!("sip:{user}@{}", bracketed(host))
}
