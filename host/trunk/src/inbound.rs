//! Whose trunk a call comes by: what a far end proves (its certificate, its account), else where its INVITE comes from.

use crate::settings::Inbound;
use ipnet::IpNet;
use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

/// What is known of where an INVITE comes from.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// Its address.
    pub ip: IpAddr,
    /// The names in the certificate it has proved to hold.
    pub tls_identities: &'a [String],
    /// As whom it has signed in.
    pub account: Option<SignedIn<'a>>,
    /// The trunk whose registration brought it.
    pub registration: Option<usize>,
}

/// A SIP account that has proved its password.
#[derive(Clone, Copy, Debug)]
pub struct SignedIn<'a> {
    /// Whose it is.
    pub tenant: &'a str,
    /// Its user name.
    pub username: &'a str,
}

/// By what it was known, the strongest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Proof {
    /// Its certificate.
    Certificate,
    /// Its account.
    Account,
    /// It comes by our registration, from the server we are registered with.
    Registration,
    /// Its address.
    Network,
}

/// A trunk that a call may be of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Match {
    /// Which, by its place in what [`Matcher::new`] was given.
    pub trunk: usize,
    /// By what.
    pub proof: Proof,
}

/// All trunks, by what their calls are known by.
#[derive(Clone, Debug, Default)]
pub struct Matcher {
    /// The tenant of each trunk, by its place among the tenants.
    tenants: Vec<usize>,
    /// Those places.
    places: HashMap<String, usize>,
    networks: HashMap<IpNet, Vec<usize>>,
    /// The lengths that occur: IPv4, IPv6; the longest first.
    lengths: [Vec<u8>; 2],
    identities: HashMap<String, Vec<usize>>,
    accounts: HashMap<String, Vec<usize>>,
}

/// One trunk, for [`Matcher::new`].
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// Whose it is.
    pub tenant: &'a str,
    /// What its calls are known by.
    pub inbound: &'a Inbound,
}

impl Matcher {
    /// Sorts them for looking up. Of the trunks of a tenant that a call matches equally the first counts.
    #[must_use]
    pub fn new(trunks: &[Known<'_>]) -> Self {
        let mut matcher = Self::default();
        let mut lengths = [BTreeSet::new(), BTreeSet::new()];
        for (at, known) in trunks.iter().enumerate() {
            let next = matcher.places.len();
            matcher.tenants.push(*matcher.places.entry(known.tenant.to_owned()).or_insert(next));
            for network in known.inbound.networks.iter().filter_map(|text| network(text)) {
                lengths[family(network.addr())].insert(network.prefix_len());
                matcher.networks.entry(network).or_default().push(at);
            }
            for identity in &known.inbound.tls_identities {
                matcher.identities.entry(identity.to_ascii_lowercase()).or_default().push(at);
            }
            if let Some(account) = &known.inbound.account {
                matcher.accounts.entry(account.clone()).or_default().push(at);
            }
        }
        matcher.lengths = lengths.map(|lengths| lengths.into_iter().rev().collect());
        matcher
    }

    /// The trunks that a call may be of: one of each tenant, since tenants may share a carrier – the number that was
    /// dialled tells which it is. The strongest proof first; of networks the longest. No tenant's trunk hides
    /// another's. Who has signed in as a tenant's account comes by no trunk of another: naming that account, or the
    /// network that it is in, brings nobody its calls.
    #[must_use]
    pub fn find(&self, source: Source<'_>) -> Vec<Match> {
        let mut found = Vec::new();
        let mut seen = BTreeSet::new();
        let own = |trunk: usize| {
            source.account.is_none_or(|account| self.places.get(account.tenant) == Some(&self.tenants[trunk]))
        };
        let mut take = |trunks: Option<&Vec<usize>>, proof| {
            for &trunk in trunks.into_iter().flatten() {
                if own(trunk) && seen.insert(self.tenants[trunk]) {
                    found.push(Match { trunk, proof });
                }
            }
        };
        for identity in source.tls_identities {
            take(self.identities.get(&identity.to_ascii_lowercase()), Proof::Certificate);
        }
        take(source.account.and_then(|account| self.accounts.get(account.username)), Proof::Account);
        take(source.registration.map(|trunk| vec![trunk]).as_ref(), Proof::Registration);
        let ip = source.ip.to_canonical();
        for &length in &self.lengths[family(ip)] {
            let network = IpNet::new(ip, length).ok().map(|network| network.trunc());
            take(network.and_then(|network| self.networks.get(&network)), Proof::Network);
        }
        found
    }
}

const fn family(ip: IpAddr) -> usize {
    match ip {
        IpAddr::V4(_) => 0,
        IpAddr::V6(_) => 1,
    }
}

/// A network, or one address; bits behind the prefix are ignored.
#[must_use]
pub fn network(text: &str) -> Option<IpNet> {
    let network = match text.parse::<IpAddr>() {
        Ok(ip) => IpNet::from(ip.to_canonical()),
        Err(_) => text.parse::<IpNet>().ok()?.trunc(),
    };
    Some(network)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn inbound(networks: &[&str]) -> Inbound {
        Inbound { networks: networks.iter().map(ToString::to_string).collect(), ..Inbound::default() }
    }

    fn from(ip: &str) -> Source<'static> {
        Source { ip: ip.parse().unwrap(), tls_identities: &[], account: None, registration: None }
    }

    #[test]
    fn the_longest_network_of_each_tenant_counts() {
        let all = [
            ("a", inbound(&["10.0.0.0/8"])),
            ("a", inbound(&["10.1.2.3", "2001:db8::/32"])),
            ("b", inbound(&["0.0.0.0/0"])),
            ("a", inbound(&["10.1.0.0/16"])),
        ];
        let known: Vec<_> = all.iter().map(|(tenant, inbound)| Known { tenant, inbound }).collect();
        let matcher = Matcher::new(&known);
        let trunks = |ip: &str| matcher.find(from(ip)).into_iter().map(|found| found.trunk).collect::<Vec<_>>();
        assert_eq!(trunks("10.1.2.3"), [1, 2]);
        assert_eq!(trunks("::ffff:10.1.2.3"), [1, 2]);
        assert_eq!(trunks("10.1.2.4"), [3, 2]);
        assert_eq!(trunks("10.9.9.9"), [0, 2]);
        assert_eq!(trunks("192.0.2.1"), [2]);
        assert_eq!(trunks("2001:db8::9"), [1]);
        assert_eq!(trunks("2001:db9::9"), [0_usize; 0]);
    }

    #[test]
    fn what_is_proved_counts_before_where_it_comes_from() {
        let all = [
            inbound(&["10.0.0.0/8"]),
            Inbound { tls_identities: vec!["SIP.Carrier.example".into()], ..Inbound::default() },
            Inbound { account: Some("pbx".into()), ..Inbound::default() },
            Inbound::default(),
        ];
        let known: Vec<_> = all.iter().map(|inbound| Known { tenant: "t", inbound }).collect();
        let matcher = Matcher::new(&known);
        let find =
            |source: Source<'_>| matcher.find(source).into_iter().map(|f| (f.trunk, f.proof)).collect::<Vec<_>>();
        let source = from("10.1.1.1");
        assert_eq!(find(source), [(0, Proof::Network)]);
        let tls_identities = &["sbc1.carrier.example".to_owned(), "sip.carrier.EXAMPLE".to_owned()];
        assert_eq!(find(Source { tls_identities, ..source }), [(1, Proof::Certificate)]);
        let pbx = |username| Some(SignedIn { tenant: "t", username });
        assert_eq!(find(Source { account: pbx("pbx"), ..source }), [(2, Proof::Account)]);
        assert_eq!(find(Source { registration: Some(3), ..source }), [(3, Proof::Registration)]);
        assert_eq!(find(Source { account: pbx("PBX"), ..source }), [(0, Proof::Network)]);
    }

    #[test]
    fn an_account_comes_by_no_trunk_of_another_tenant() {
        let named = Inbound { account: Some("ada".into()), ..Inbound::default() };
        let all = [("eve", named), ("eve", inbound(&["10.0.0.0/8"])), ("us", inbound(&["10.0.0.0/8"]))];
        let known: Vec<_> = all.iter().map(|(tenant, inbound)| Known { tenant, inbound }).collect();
        let matcher = Matcher::new(&known);
        let find = |tenant| {
            let account = Some(SignedIn { tenant, username: "ada" });
            matcher.find(Source { account, ..from("10.1.1.1") }).into_iter().map(|f| f.trunk).collect::<Vec<_>>()
        };
        assert_eq!((find("us"), find("others")), (vec![2], vec![]));
    }

    proptest! {
        #[test]
        fn a_lookup_finds_what_a_search_finds(
            networks in prop::collection::vec((0_u32..8, 0_u8..=32, 0_usize..3), 0..20), ip in 0_u32..8,
        ) {
            let spread = |bits: u32| std::net::Ipv4Addr::from(bits << 29 | bits);
            let texts: Vec<_> = networks.iter().map(|(bits, length, _)| format!("{}/{length}", spread(*bits))).collect();
            let inbounds: Vec<_> = texts.iter().map(|text| inbound(&[text])).collect();
            let known: Vec<_> = inbounds.iter().zip(&networks)
                .map(|(inbound, (.., tenant))| Known { tenant: ["a", "b", "c"][*tenant], inbound })
                .collect();
            let source = Source { ip: spread(ip).into(), tls_identities: &[], account: None, registration: None };
            let found = Matcher::new(&known).find(source);
            for tenant in 0..3 {
                let best = (0..networks.len())
                    .filter(|&at| networks[at].2 == tenant && network(&texts[at]).unwrap().contains(&source.ip))
                    .max_by_key(|&at| (networks[at].1, std::cmp::Reverse(at)));
                let looked_up = found.iter().find(|found| networks[found.trunk].2 == tenant).map(|found| found.trunk);
                prop_assert_eq!(looked_up, best);
            }
        }
    }
}
