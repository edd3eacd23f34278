//! The guard in front of every request to a customer's URL: what the operator
//! allows, and the check of the URL and of each address before a connection is made.

use crate::address::{Kind, Network, NotANetwork, kind};
use std::net::IpAddr;
use url::{Host, Url};

/// Where requests may go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EgressPolicy {
    allow_private: bool,
    allow: Vec<Network>,
}

/// Why a URL or an address is refused. No text of it holds the URL: that may hold
/// secrets in its query.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Not a URL at all.
    #[error("the URL cannot be read: {0}")]
    NotAUrl(String),
    /// `file:`, `unix:`, `gopher:` …
    #[error("only http:// and https:// URLs are requested")]
    Scheme,
    /// No host, or port 0.
    #[error("the URL names no host that can be reached")]
    NoHost,
    /// `https://user:password@…`
    #[error("the URL holds a user or a password; use a header")]
    Credentials,
    /// The host is, or resolves to, a place that is not open.
    #[error("the host leads to {0}, which is not open to requests; the operator can allow its network (egress.allow)")]
    Address(IpAddr),
}

impl EgressPolicy {
    /// `allow_private` opens this machine and private networks; `allow` opens
    /// networks by name (`10.1.0.0/16`), special ones too.
    pub fn new<S: AsRef<str>>(allow_private: bool, allow: &[S]) -> Result<Self, NotANetwork> {
        let allow = allow.iter().map(|text| text.as_ref().parse()).collect::<Result<Vec<Network>, _>>()?;
        Ok(Self { allow_private, allow })
    }

    /// Whether a connection to this address may be made.
    pub fn check_address(&self, address: IpAddr) -> Result<(), Refused> {
        let canonical = address.to_canonical();
        let open = match kind(canonical) {
            Kind::Public => true,
            Kind::Private => self.allow_private,
            Kind::Special => false,
        };
        let named = || self.allow.iter().any(|network| network.contains(canonical));
        if open || named() { Ok(()) } else { Err(Refused::Address(canonical)) }
    }

    /// Reads a URL and checks all that can be checked without a resolver. Numeric
    /// hosts in any spelling (`0x7f.1`, `2130706433`, `[::ffff:127.0.0.1]`) are
    /// addresses and are checked here; names are checked when they are resolved.
    pub fn check_url(&self, text: &str) -> Result<Url, Refused> {
        let url = Url::parse(text).map_err(|error| Refused::NotAUrl(error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Refused::Scheme);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Refused::Credentials);
        }
        if url.port() == Some(0) {
            return Err(Refused::NoHost);
        }
        match url.host() {
            None | Some(Host::Domain("")) => return Err(Refused::NoHost),
            // `127.0.0.1..` is no number to the URL standard, but may be one to a resolver.
            Some(Host::Domain(name)) if name.starts_with('.') || name.contains("..") => return Err(Refused::NoHost),
            Some(Host::Domain(_)) => {}
            Some(Host::Ipv4(address)) => self.check_address(address.into())?,
            Some(Host::Ipv6(address)) => self.check_address(address.into())?,
        }
        Ok(url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numeric_hosts_in_every_spelling_are_addresses() {
        let policy = EgressPolicy::default();
        let inside = "127.0.0.1 127.1 127.0.0.1. 0x7f000001 0x7f.1 0177.0.0.1 2130706433 017700000001 0 0.0.0.0 10.1 \
            169.254.169.254 0xa9fea9fe 2852039166 [::1] [::] [::ffff:127.0.0.1] [::ffff:7f00:1] [64:ff9b::7f00:1] \
            [2002:7f00:1::] [fe80::1] [fd00::1] ①②⑦.0.0.1 127。0。0。1 %31%32%37.0.0.1";
        for host in inside.split_whitespace() {
            let refused = policy.check_url(&format!("https://{host}:8443/x?token=1")).unwrap_err();
            assert!(matches!(refused, Refused::Address(_)), "{host}: {refused}");
            assert!(!refused.to_string().contains("token"));
        }
        assert!(policy.check_url("https://8.8.8.8/").is_ok());
        assert!(policy.check_url("https://example.com/").is_ok());
    }

    #[test]
    fn other_urls_are_refused() {
        let policy = EgressPolicy::new(true, &["0.0.0.0/0"]).unwrap();
        let cases = [
            ("file:///etc/passwd", Refused::Scheme),
            ("unix:/run/docker.sock", Refused::Scheme),
            ("gopher://x/", Refused::Scheme),
            ("https://u@x/", Refused::Credentials),
            ("https://:p@x/", Refused::Credentials),
            ("https://x:0/", Refused::NoHost),
            ("https://127.0.0.1../", Refused::NoHost),
            ("https://.x/", Refused::NoHost),
        ];
        for (url, refused) in cases {
            assert_eq!(policy.check_url(url).unwrap_err(), refused, "{url}");
        }
        for bad in ["", "https://", "https://[::1", "https://x:99999/", "//x", "https://[fe80::1%25eth0]/"] {
            assert!(matches!(policy.check_url(bad), Err(Refused::NotAUrl(_))), "{bad}");
        }
    }

    #[test]
    fn the_operator_opens_what_is_named() {
        let ask = |policy: &EgressPolicy, address: &str| policy.check_address(address.parse().unwrap()).is_ok();
        let private = EgressPolicy::new::<&str>(true, &[]).unwrap();
        assert!(ask(&private, "127.0.0.1") && ask(&private, "::1") && ask(&private, "::ffff:192.168.1.1"));
        assert!(!ask(&private, "169.254.169.254") && !ask(&private, "0.0.0.0") && !ask(&private, "64:ff9b::7f00:1"));
        let named = EgressPolicy::new(false, &["10.1.0.0/16", "169.254.7.7"]).unwrap();
        assert!(ask(&named, "10.1.2.3") && ask(&named, "::ffff:10.1.2.3") && ask(&named, "169.254.7.7"));
        assert!(!ask(&named, "10.2.0.1") && !ask(&named, "127.0.0.1") && !ask(&named, "169.254.169.254"));
        assert!(EgressPolicy::new(false, &["10.1.0.0/99"]).is_err());
    }
}
