//! What the operator knows about the sources of messages: who is trusted, who is not served, and what becomes of
//! everybody else.

use ipnet::IpNet;
use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;

/// Whom the stack serves. It can be changed while it runs ([`SipStack::sources`](crate::SipStack::sources)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourcePolicy {
    /// Networks of trunks, of proxies in front of the host, of the operator: no limit per source counts for them, they
    /// are never taken for scanners, and they are served whatever `strangers` says. What proxies pass on comes from
    /// one address for all callers, so each proxy belongs in here. By default the machine itself: `127.0.0.1` and `::1`.
    pub trusted: Vec<IpNet>,
    /// Networks whose packets are dropped unread. Trusted ones win.
    pub denied: Vec<IpNet>,
    /// What becomes of new requests of everybody else.
    pub strangers: Strangers,
    /// Whole words in `User-Agent`, or in the display name of `From`, by which tools that look for victims name themselves;
    /// in any case. Whoever uses one is not answered and blocked.
    pub scanners: Vec<String>,
}

/// What becomes of new requests of sources that are neither trusted nor have authenticated. What belongs to a call
/// that is up, and responses to requests of ours, are always served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Strangers {
    /// INVITE.
    pub calls: Treatment,
    /// REGISTER. Telephones that come from anywhere begin with it; who registered is no stranger any more.
    pub registrations: Treatment,
    /// OPTIONS and everything else.
    pub others: Treatment,
}

impl Strangers {
    /// Everything is served, within the limits: for hosts that take calls from the whole world.
    pub const SERVE: Self = Self { calls: Treatment::Serve, registrations: Treatment::Serve, others: Treatment::Serve };
    /// Nothing is: for hosts whose peers are all known. To anybody else there is no SIP here.
    pub const DROP: Self = Self { calls: Treatment::Drop, registrations: Treatment::Drop, others: Treatment::Drop };
}

impl Default for Strangers {
    fn default() -> Self {
        Self::SERVE
    }
}

/// One half of [`Strangers`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Treatment {
    /// Served, within the limits.
    #[default]
    Serve,
    /// Dropped without a word, as if nobody were here.
    Drop,
}

/// How the tools in circulation call themselves. `sipsak` and `SIPp` are not among them: operators use those.
const SCANNERS: [&str; 15] = [
    "friendly-scanner",
    "friendly-request",
    "sipvicious",
    "sipcli",
    "sip-scan",
    "sipscan",
    "sundayddr",
    "pplsip",
    "vaxsipuseragent",
    "vaxipuseragent",
    "gulp",
    "iwar",
    "smap",
    "sippts",
    "mr.sip",
];

impl Default for SourcePolicy {
    fn default() -> Self {
        let here = |address: [u8; 4]| IpNet::from(IpAddr::from(address));
        Self {
            trusted: vec![here([127, 0, 0, 1]), IpNet::from(IpAddr::from(1_u128.to_be_bytes()))],
            denied: Vec::new(),
            strangers: Strangers::default(),
            scanners: SCANNERS.map(str::to_owned).to_vec(),
        }
    }
}

/// The policy as it is asked: once per message, however many networks there are.
#[derive(Debug, Default)]
pub(crate) struct Known {
    trusted: Networks,
    denied: Networks,
    pub(crate) strangers: Strangers,
    /// In lower case.
    scanners: Vec<String>,
}

impl Known {
    pub(crate) fn new(policy: &SourcePolicy) -> Self {
        Self {
            trusted: Networks::new(&policy.trusted),
            denied: Networks::new(&policy.denied),
            strangers: policy.strangers,
            // An empty word would be in every header.
            scanners: policy.scanners.iter().filter(|s| !s.is_empty()).map(|s| s.to_ascii_lowercase()).collect(),
        }
    }

    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.contain(address)
    }

    pub(crate) fn denies(&self, address: IpAddr) -> bool {
        self.denied.contain(address) && !self.trusts(address)
    }

    /// Whether a tool that looks for victims names itself here, in a word of its own: some of the names are parts of
    /// names of people.
    pub(crate) fn names_scanner(&self, text: &str) -> bool {
        let text = text.to_ascii_lowercase();
        let whole = |at: usize, word: &str| {
            let (before, after) = (text[..at].chars().next_back(), text[at + word.len()..].chars().next());
            ![before, after].into_iter().flatten().any(char::is_alphanumeric)
        };
        self.scanners.iter().any(|word| text.match_indices(word.as_str()).any(|(at, word)| whole(at, word)))
    }
}

/// Networks by the length of their prefix: as many look-ups as there are lengths, however many networks.
#[derive(Debug, Default)]
struct Networks {
    by_length: BTreeMap<(bool, u8), HashSet<IpAddr>>,
}

impl Networks {
    fn new(networks: &[IpNet]) -> Self {
        let mut by_length: BTreeMap<_, HashSet<_>> = BTreeMap::new();
        for network in networks {
            let key = (network.addr().is_ipv4(), network.prefix_len());
            by_length.entry(key).or_default().insert(network.network());
        }
        Self { by_length }
    }

    fn contain(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.by_length.iter().any(|(&(v4, length), networks)| {
            v4 == address.is_ipv4()
                && IpNet::new(address, length).is_ok_and(|around| networks.contains(&around.network()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn networks_contain_what_is_in_them() {
        let list = ["203.0.113.0/24", "203.0.113.77/32", "10.1.2.3/8", "2001:db8::/32"];
        let networks = Networks::new(&list.map(|text| text.parse().unwrap()));
        for inside in ["203.0.113.0", "203.0.113.255", "10.255.0.1", "2001:db8:1::1", "::ffff:203.0.113.9"] {
            assert!(networks.contain(ip(inside)), "{inside}");
        }
        for outside in ["203.0.112.255", "11.0.0.0", "2001:db9::1", "127.0.0.1"] {
            assert!(!networks.contain(ip(outside)), "{outside}");
        }
        assert!(Networks::new(&["0.0.0.0/0".parse().unwrap()]).contain(ip("198.51.100.1")));
        assert!(!Networks::new(&["0.0.0.0/0".parse().unwrap()]).contain(ip("2001:db8::1")));
    }

    #[test]
    fn trust_wins_and_this_machine_has_it() {
        let policy = SourcePolicy { denied: vec!["0.0.0.0/0".parse().unwrap()], ..SourcePolicy::default() };
        let known = Known::new(&policy);
        assert!(known.trusts(ip("127.0.0.1")) && known.trusts(ip("::1")) && !known.denies(ip("127.0.0.1")));
        assert!(known.denies(ip("127.0.0.2")));
    }

    #[test]
    fn scanners_are_known_by_their_words() {
        let known = Known::new(&SourcePolicy::default());
        assert!(known.names_scanner("Friendly-Scanner") && known.names_scanner("\"sipvicious\" <sip:100@1.1.1.1>"));
        assert!(known.names_scanner("VaxSIPUserAgent/3.1") && known.names_scanner("sip: smap"));
        for innocent in ["Linphone/5.1.65", "", "Ravi Tiwari", "Vismap GmbH", "Gulper", "ésmap"] {
            assert!(!known.names_scanner(innocent), "{innocent}");
        }
        let none = SourcePolicy { scanners: vec![String::new()], ..SourcePolicy::default() };
        assert!(!Known::new(&none).names_scanner("friendly-scanner"));
    }
}
