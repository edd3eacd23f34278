//! One body per fuzz target, as in the store room.

use crate::address::{Kind, Network, kind};
use crate::guard::EgressPolicy;

/// URLs: whatever passes the guard has a host that is a name or a public address.
pub fn url(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let Ok(url) = EgressPolicy::default().check_url(&text) else { return };
    assert!(matches!(url.scheme(), "http" | "https"));
    assert!(url.username().is_empty() && url.password().is_none());
    match url.host() {
        Some(url::Host::Domain(name)) => {
            // What a resolver would take for a number must not have passed as a name.
            assert!(name.trim_end_matches('.').parse::<std::net::IpAddr>().is_err(), "{name}");
            assert!(!name.is_empty());
        }
        Some(url::Host::Ipv4(address)) => assert_eq!(kind(address.into()), Kind::Public),
        Some(url::Host::Ipv6(address)) => assert_eq!(kind(address.into()), Kind::Public),
        None => panic!("no host passed the guard"),
    }
}

/// Networks of the operator, and `Retry-After`.
pub fn network(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(network) = text.parse::<Network>() {
        let again: Result<Network, _> = network.to_string().parse();
        assert_eq!(again, Ok(network));
    }
    if let Some(ms) = crate::ladder::retry_after(&text, callbox_store::UnixMs(0)) {
        assert!((0..=crate::ladder::MAX_RETRY_AFTER_MS).contains(&ms));
    }
}
