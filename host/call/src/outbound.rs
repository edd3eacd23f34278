//! Calls we place: whom they may go to, and how.

use crate::bridge::BridgeRequest;
use callbox_dialogue::CallId;
use callbox_media::MediaPlane;
use callbox_sip::sdp::SessionIds;
use callbox_sip::{Credentials, OutgoingCall, SipStack};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

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
    /// It is a number, for the operator's own server.
    by_proxy: bool,
}

/// What a leg needs to place a call of its own.
#[derive(Clone)]
pub(crate) struct Dial {
    pub(crate) stack: SipStack,
    pub(crate) media: MediaPlane,
    pub(crate) policy: Arc<OutboundPolicy>,
    pub(crate) call: CallId,
    /// Our side's URI in this call.
    pub(crate) from: String,
    /// The host of the far end: calls may go back there.
    pub(crate) peer_host: Option<String>,
    pub(crate) ids: SessionIds,
    /// Our address as the far end sees it.
    pub(crate) address: Option<IpAddr>,
}

impl OutboundPolicy {
    /// The target of a URI or a number, where it is allowed. `peer_host` is allowed besides.
    pub(crate) fn resolve(&self, target: &str, peer_host: Option<&str>) -> Option<Target> {
        let target = target.trim();
        if let Some(rest) = target.strip_prefix("sip:") {
            let host = host_of(rest)?;
            let allowed = self.allowed_hosts.iter().any(|allowed| allowed == "*" || allowed.eq_ignore_ascii_case(host));
            let peer = peer_host.is_some_and(|peer| peer.eq_ignore_ascii_case(host));
            return (allowed || peer).then(|| Target { uri: target.to_owned(), by_proxy: false });
        }
        let number: String = target.chars().filter(|c| !matches!(c, ' ' | '-' | '(' | ')' | '.')).collect();
        let digits = number.strip_prefix('+').unwrap_or(&number);
        let is_number = (1..=32).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
        if !is_number {
            return None;
        }
        let host = match (&self.domain, self.proxy) {
            (Some(domain), _) => domain.clone(),
            (None, Some(proxy)) => proxy.to_string(),
            // Without a server of our own, a number only makes sense to the far end (REFER).
            (None, None) => peer_host?.to_owned(),
        };
        Some(Target { uri: format!("sip:{number}@{host}"), by_proxy: self.proxy.is_some() })
    }

    /// The call to a target.
    pub(crate) fn outgoing(&self, target: Target, from: String, offer: Vec<u8>) -> OutgoingCall {
        OutgoingCall {
            target: target.uri,
            from,
            proxy: self.proxy.filter(|_| target.by_proxy),
            credentials: self.credentials.clone(),
            offer: Some(offer),
            ..OutgoingCall::default()
        }
    }
}

impl Dial {
    pub(crate) fn resolve(&self, target: &str) -> Option<Target> {
        self.policy.resolve(target, self.peer_host.as_deref())
    }

    /// The second leg of a bridge.
    pub(crate) fn outgoing(&self, target: Target, request: BridgeRequest, offer: Vec<u8>) -> OutgoingCall {
        let from = match &request.caller_id {
            Some(number) => format!("sip:{number}@{}", self.policy.domain.as_deref().unwrap_or("callbox.invalid")),
            None => self.from.clone(),
        };
        OutgoingCall {
            headers: request.headers,
            ring_timeout: request.ring_timeout,
            ..self.policy.outgoing(target, from, offer)
        }
    }
}

/// The host of what follows `sip:`, without port and parameters.
/// The host of a SIP URI.
pub(crate) fn uri_host(uri: &str) -> Option<&str> {
    host_of(uri.strip_prefix("sip:").or_else(|| uri.strip_prefix("sips:"))?)
}

fn host_of(rest: &str) -> Option<&str> {
    let rest = rest.split([';', '?']).next()?;
    let rest = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    let host = match rest.strip_prefix('[') {
        Some(v6) => v6.split_once(']')?.0,
        None => rest.split(':').next()?,
    };
    (!host.is_empty()).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(allowed: &[&str], proxy: Option<&str>) -> OutboundPolicy {
        OutboundPolicy {
            proxy: proxy.map(|p| p.parse().unwrap()),
            allowed_hosts: allowed.iter().map(ToString::to_string).collect(),
            ..OutboundPolicy::default()
        }
    }

    #[test]
    fn a_uri_goes_only_where_the_operator_or_the_far_end_is() {
        let uri = |policy: &OutboundPolicy, target: &str| policy.resolve(target, Some("pbx.example")).map(|t| t.uri);
        let closed = policy(&[], None);
        assert_eq!(uri(&closed, "sip:agent@pbx.example:5060;transport=tcp").as_deref(), Some("sip:agent@pbx.example:5060;transport=tcp"));
        assert_eq!(uri(&closed, "sip:agent@evil.example"), None);
        assert_eq!(uri(&closed, "sip:pbx.example@evil.example"), None);
        assert_eq!(uri(&closed, "sip:a@evil.example;x=@pbx.example"), None);
        assert_eq!(uri(&policy(&["*"], None), "sip:a@anywhere").as_deref(), Some("sip:a@anywhere"));
        assert_eq!(uri(&policy(&["2001:db8::1"], None), "sip:a@[2001:db8::1]:5060").as_deref(), Some("sip:a@[2001:db8::1]:5060"));
        assert_eq!(uri(&closed, "tel:+123"), None);
        assert_eq!(uri(&closed, "sip:"), None);
    }

    #[test]
    fn a_number_goes_to_the_operators_server_or_back_to_the_far_end() {
        let number = |policy: &OutboundPolicy, peer| policy.resolve("+49 (30) 123-45", peer).map(|t| t.uri);
        assert_eq!(number(&policy(&[], Some("10.0.0.1:5060")), None).as_deref(), Some("sip:+493012345@10.0.0.1:5060"));
        assert_eq!(number(&policy(&[], None), Some("pbx.example")).as_deref(), Some("sip:+493012345@pbx.example"));
        assert_eq!(number(&policy(&[], None), None), None);
    }
}
