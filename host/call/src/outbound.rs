//! Calls we place: whom they may go to, and how.

use crate::negotiation::Terms;
use crate::packets::Packets;
use crate::policy::LegPolicy;
use crate::signalling::Signalling;
use crate::takeover::Places;
use crate::tolls::{Payer, Tolls};
use crate::trunks::{OUTSIDE, TrunkBook, uri_of};
use callbox_dialogue::CallId;
pub(crate) use callbox_dialogue::leg::is_caller_id;
use callbox_dialogue::script::TransferMode;
use callbox_media::MediaPlane;
use callbox_sip::wire::{Scheme, Uri};
use callbox_sip::{Credentials, NextHop, OutgoingCall, SipStack};
use callbox_store::{Store, TenantId};
use callbox_trunk::check::is_user;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// A caller without a number (RFC 3323 §4.1.1.3).
pub(crate) const ANONYMOUS: &str = "sip:anonymous@anonymous.invalid";

/// What the operator allows and provides for calls we place.
#[derive(Clone, Debug, Default)]
pub struct OutboundPolicy {
    /// Numbers go to this SIP server.
    pub proxy: Option<SocketAddr>,
    /// Its name in URIs; the address where there is none.
    pub domain: Option<String>,
    /// For its challenges.
    pub credentials: Option<Credentials>,
    /// Hosts that a SIP URI may name. `*` allows all.
    pub allowed_hosts: Vec<String>,
}

/// Whom to call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// A SIP URI.
    pub(crate) uri: String,
    /// Its host, an IPv6 address without brackets.
    pub(crate) host: String,
    /// By what it is reached.
    pub(crate) by: By,
}

/// By what a target is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// The host in its URI.
    Uri,
    /// The same, on the word of a stranger: with nobody's credentials.
    Referred,
    /// The operator's own server.
    Proxy,
    /// The trunks of the tenant; or its telephone whose account has this number for a name.
    Number(String),
    /// The tenant's telephones that are registered with this account.
    Account(String),
}

/// What a leg needs to place a call of its own.
#[derive(Clone)]
pub(crate) struct Dial {
    pub(crate) stack: SipStack,
    pub(crate) media: MediaPlane,
    pub(crate) policy: Arc<OutboundPolicy>,
    pub(crate) call: CallId,
    /// Whose call it is.
    pub(crate) tenant: TenantId,
    /// The tenant's trunks, among all.
    pub(crate) trunks: TrunkBook,
    /// Where telephones' accounts are.
    pub(crate) store: Store,
    /// The host in the URIs of telephones.
    pub(crate) realm: String,
    /// What the target of a bridge sees as the caller: a number or a plain name; none for nobody.
    pub(crate) caller: Option<String>,
    /// By this trunk alone numbers are called, where the number of the call says so.
    pub(crate) trunk: Option<String>,
    /// What is called at the tenant's expense goes through here.
    pub(crate) tolls: Tolls,
    /// At whose expense, and how far.
    pub(crate) payer: Arc<Payer>,
    /// Where the far end is, as we know it: a bridge may go back there.
    pub(crate) peer: Option<String>,
    /// What the far end calls itself. It may be asked to call there by REFER, which is its own affair; we would not
    /// call there ourselves on the word of a stranger.
    pub(crate) peer_name: Option<String>,
    /// How the far end wants to be spoken to, wherever it asks to be called.
    pub(crate) manners: LegPolicy,
    /// The far end is one of the tenant's own: a trunk, or a telephone that has signed in.
    pub(crate) known: bool,
    /// Where an INVITE finds the call whose place it takes.
    pub(crate) places: Places,
    /// When the call was created, in Unix milliseconds.
    pub(crate) created: u64,
    /// Where the dialogs of the call are kept for its ladder.
    pub(crate) signalling: Signalling,
    /// Where its packets are captured.
    pub(crate) packets: Packets,
}

impl Target {
    /// It is reached by what the tenant has set up itself.
    pub(crate) fn is_own(&self) -> bool {
        matches!(self.by, By::Number(_) | By::Account(_))
    }

    /// The telephone number that is called, where it is one: also behind a host that somebody has named.
    pub(crate) fn number(&self) -> Option<String> {
        match &self.by {
            By::Account(_) => None,
            By::Number(number) => Some(number.clone()),
            By::Uri | By::Referred | By::Proxy => {
                let uri = Uri::from_text(&self.uri).ok()?;
                let user = uri.user_text()?;
                // What follows are parameters of the number (RFC 3261 §19.1.6).
                dialled(user.split(';').next().unwrap_or_default())
            }
        }
    }
}

impl OutboundPolicy {
    /// The target of a URI or a number, where it is allowed. The `peers` are allowed besides; a number goes to the
    /// first of them where the operator has no server.
    pub(crate) fn resolve(&self, target: &str, peers: &[&str]) -> Option<Target> {
        let target = target.trim();
        if !target.contains(':') {
            return self.resolve_number(target, peers.first().copied());
        }
        // The parser that the stack dials by: what it takes for the host is what counts.
        let uri = Uri::from_text(target).ok().filter(|uri| uri.scheme() == Scheme::Sip)?;
        let host = bare(uri.host());
        let allowed =
            self.allowed_hosts.iter().any(|allowed| allowed == "*" || bare(allowed).eq_ignore_ascii_case(host));
        let peer = peers.iter().any(|peer| peer.eq_ignore_ascii_case(host));
        (allowed || peer).then(|| Target { uri: target.to_owned(), host: host.to_owned(), by: By::Uri })
    }

    /// The same for a target that a stranger names: a SIP URI, which is called without our credentials.
    pub(crate) fn referred(&self, target: &str, peers: &[&str]) -> Option<Target> {
        let target = self.resolve(target, peers).filter(|target| target.by == By::Uri)?;
        Some(Target { by: By::Referred, ..target })
    }

    fn resolve_number(&self, target: &str, peer: Option<&str>) -> Option<Target> {
        let number = dialled(target)?;
        let host = match (&self.domain, self.proxy) {
            (Some(domain), _) => domain.clone(),
            (None, Some(proxy)) => proxy.to_string(),
            (None, None) => bracketed(peer?),
        };
        let uri = format!("sip:{number}@{host}");
        let host = uri_host(&uri)?;
        Some(Target { uri, host, by: if self.proxy.is_some() { By::Proxy } else { By::Uri } })
    }

    /// The call to a target. The operator's credentials are for the operator's server alone: anybody else could ask
    /// for them.
    pub(crate) fn outgoing(&self, target: &Target, caller: Option<&str>) -> OutgoingCall {
        let by_proxy = target.by == By::Proxy;
        let server = target.by == By::Uri
            && self.domain.as_deref().is_some_and(|domain| bare(domain).eq_ignore_ascii_case(&target.host));
        OutgoingCall {
            target: target.uri.clone(),
            from: caller.map_or_else(|| ANONYMOUS.into(), |caller| self.shown(caller)),
            proxy: self.proxy.filter(|_| by_proxy).map(NextHop::from),
            credentials: self.credentials.clone().filter(|_| by_proxy || server),
            ..OutgoingCall::default()
        }
    }

    /// Where a target is, as far as is known: its own address, the operator's server, or somewhere outside.
    pub(crate) fn remote(&self, target: &Target) -> IpAddr {
        let proxy = self.proxy.filter(|_| target.by == By::Proxy).map(|proxy| proxy.ip());
        proxy.or_else(|| target.host.parse().ok()).unwrap_or(OUTSIDE)
    }

    /// What others see of a number of ours: a SIP URI, or only its user where we have no name; the stack completes it.
    pub(crate) fn shown(&self, user: &str) -> String {
        match (&self.domain, self.proxy) {
            (Some(domain), _) => format!("sip:{user}@{domain}"),
            (None, Some(proxy)) => format!("sip:{user}@{}", bracketed(&proxy.ip().to_string())),
            (None, None) => user.to_owned(),
        }
    }
}

impl Dial {
    /// The target that a far end refers us to, where it is allowed. A stranger may send us no further than to itself, or
    /// to where the operator lets calls go, and never at the operator's expense.
    pub(crate) fn referred(&self, target: &str) -> Option<Target> {
        if self.known {
            return self.resolve(target, TransferMode::Bridge);
        }
        let peers: Vec<&str> = self.peer.as_deref().into_iter().collect();
        self.policy.referred(target, &peers)
    }

    /// The far end is another now.
    pub(crate) fn far_end_is(&mut self, peer: String, known: bool, manners: &LegPolicy) {
        (self.peer, self.peer_name, self.known) = (Some(peer), None, known);
        self.manners = manners.clone();
    }

    /// What a new negotiation of the call goes into, with a far end that sees us at `address`.
    pub(crate) fn terms(&self, address: Option<IpAddr>, policy: LegPolicy) -> Terms {
        // One millisecond on: another name for the session than that with the far end it had.
        Terms::new(&self.stack, &self.media, address, self.created + 1, policy)
    }

    /// The target of a transfer or of a call through the API, where it is allowed.
    pub(crate) fn resolve(&self, target: &str, mode: TransferMode) -> Option<Target> {
        let text = target.trim();
        if let Some(account) = self.account(text) {
            let uri = uri_of(&account, &self.realm);
            return Some(Target { uri, host: self.realm.clone(), by: By::Account(account) });
        }
        if let Some(number) = dialled(text).filter(|_| !text.contains(':') && self.trunks.serves(&self.tenant)) {
            let trunk = match &self.trunk {
                Some(id) => self.trunks.find(&self.tenant, id),
                None => self.trunks.for_number(&self.tenant, &number).into_iter().next(),
            };
            // What a far end that is asked to call there itself has to know; our own INVITE says what each trunk wants.
            let domain = trunk.and_then(|trunk| trunk.settings.domain()).unwrap_or_else(|| self.realm.clone());
            let uri = uri_of(&number, &domain);
            let host = uri_host(&uri).unwrap_or(domain);
            return Some(Target { uri, host, by: By::Number(number) });
        }
        let named = self.peer_name.as_deref().filter(|_| mode == TransferMode::Refer);
        let peers: Vec<&str> = named.into_iter().chain(self.peer.as_deref()).collect();
        self.policy.resolve(target, &peers)
    }

    /// The user name of a telephone: `sip:ada@` and our realm, or a plain name. A name of digits alone may be a number.
    fn account(&self, target: &str) -> Option<String> {
        if !target.contains(':') {
            return (is_user(target) && dialled(target).is_none()).then(|| target.to_owned());
        }
        let uri = Uri::from_text(target).ok().filter(|uri| matches!(uri.scheme(), Scheme::Sip | Scheme::Sips))?;
        let ours = uri.host().eq_ignore_ascii_case(&self.realm) && uri.port().is_none();
        uri.user_text().filter(|user| ours && is_user(user))
    }
}

/// A number as somebody writes it, without what is only for the eye.
fn dialled(target: &str) -> Option<String> {
    let number: String = target.chars().filter(|c| !matches!(c, ' ' | '-' | '(' | ')' | '.')).collect();
    let digits = number.strip_prefix('+').unwrap_or(&number);
    let is_number = (1..=32).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    is_number.then_some(number)
}

/// The host of a SIP URI, an IPv6 address without brackets.
pub(crate) fn uri_host(uri: &str) -> Option<String> {
    let uri = Uri::from_text(uri).ok()?;
    Some(bare(uri.host())).filter(|host| !host.is_empty()).map(ToOwned::to_owned)
}

fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

pub(crate) fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(allowed: &[&str], proxy: Option<&str>) -> OutboundPolicy {
        OutboundPolicy {
            proxy: proxy.map(|p| p.parse().unwrap()),
            allowed_hosts: allowed.iter().map(ToString::to_string).collect(),
            credentials: Some(Credentials { username: "us".into(), password: "secret".into(), realm: None }),
            ..OutboundPolicy::default()
        }
    }

    #[test]
    fn a_uri_goes_only_where_the_operator_or_the_far_end_is() {
        let uri = |policy: &OutboundPolicy, target: &str| policy.resolve(target, &["pbx.example"]).map(|t| t.uri);
        let closed = policy(&[], None);
        let fine = "sip:agent@pbx.example:5060;transport=tcp";
        assert_eq!(uri(&closed, fine).as_deref(), Some(fine));
        for refused in [
            "sip:agent@evil.example",
            "sip:pbx.example@evil.example",
            "sip:a@evil.example;x=@pbx.example",
            // The user ends at the first `@`, whatever stands in it.
            "sip:pbx.example;x@evil.example",
            "sip:pbx.example?x@evil.example",
            "sip:pbx.example:5060@evil.example",
            "sips:a@pbx.example",
            "tel:+123",
            "sip:",
            "sip:a@pbx.example\r\nX: y",
        ] {
            assert_eq!(uri(&closed, refused), None, "{refused}");
        }
        assert_eq!(uri(&policy(&["*"], None), "sip:a@anywhere").as_deref(), Some("sip:a@anywhere"));
        let six = "sip:a@[2001:db8::1]:5060";
        for allowed in ["2001:db8::1", "[2001:db8::1]"] {
            assert_eq!(uri(&policy(&[allowed], None), six).as_deref(), Some(six));
        }
    }

    #[test]
    fn a_number_goes_to_the_operators_server_or_back_to_the_far_end() {
        let number = |policy: &OutboundPolicy, peers: &[&str]| policy.resolve("+49 (30) 123-45", peers).map(|t| t.uri);
        assert_eq!(number(&policy(&[], Some("10.0.0.1:5060")), &[]).as_deref(), Some("sip:+493012345@10.0.0.1:5060"));
        assert_eq!(number(&policy(&[], None), &["pbx.example"]).as_deref(), Some("sip:+493012345@pbx.example"));
        assert_eq!(number(&policy(&[], None), &["::1"]).as_deref(), Some("sip:+493012345@[::1]"));
        assert_eq!(number(&policy(&[], None), &[]), None);
    }

    #[test]
    fn credentials_go_to_the_operators_server_alone() {
        let mut policy = policy(&["other.example", "sip.operator.example"], Some("10.0.0.1:5060"));
        policy.domain = Some("sip.operator.example".into());
        let given = |target: &str| {
            let target = policy.resolve(target, &[]).unwrap();
            policy.outgoing(&target, None).credentials.is_some()
        };
        assert!(given("+493012345"));
        assert!(given("sip:agent@sip.operator.example"));
        assert!(!given("sip:agent@other.example"));
        // Whoever calls in may name the operator's server in a REFER; its calls are not the operator's.
        let referred = policy.referred("sip:+900123@sip.operator.example", &[]).unwrap();
        assert_eq!(policy.outgoing(&referred, None).credentials, None);
    }

    #[test]
    fn a_caller_id_is_a_number_or_a_plain_name() {
        for fine in ["+493012345", "1000", "front-desk"] {
            assert!(is_caller_id(fine), "{fine}");
        }
        for wrong in ["", "a@b", "a b", "a>;tag=1", "a\r\nX: y"] {
            assert!(!is_caller_id(wrong), "{wrong}");
        }
    }
}
