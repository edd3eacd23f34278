//! What is wrong with a trunk, and where: a JSON pointer (RFC 6901) into the document for each mistake.

use crate::failover;
use crate::numbers::Normaliser;
use crate::settings::{Address, Credentials, Headers, Inbound, Registration, TrunkSettings};
use std::net::IpAddr;

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Where, as a JSON pointer: `/addresses/0/port`.
    pub pointer: String,
    /// A stable word: `invalid`, `required`, `out_of_range`, `too_many`, `forbidden`.
    pub code: &'static str,
    /// For a person, with what to do.
    pub message: String,
}

impl Mistake {
    pub(crate) fn new(pointer: impl Into<String>, code: &'static str, message: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), code, message: message.into() }
    }

    /// Where, as the API writes paths: `addresses[0].port`.
    #[must_use]
    pub fn path(&self) -> String {
        let mut path = String::new();
        for part in self.pointer.split('/').skip(1) {
            let part = part.replace("~1", "/").replace("~0", "~");
            if !path.is_empty() && part.bytes().all(|b| b.is_ascii_digit()) && !part.is_empty() {
                path.push_str(&format!("[{part}]"));
            } else {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(&part);
            }
        }
        path
    }
}

/// Most of each.
const ADDRESSES: usize = 16;
const NETWORKS: usize = 64;
const IDENTITIES: usize = 16;
const PREFIXES: usize = 64;
const HEADERS: usize = 32;
const STATUSES: usize = 32;

/// Header fields that the host writes itself, or that would change what a message means.
const FORBIDDEN: &[&str] = &[
    "accept",
    "alert-info",
    "allow",
    "allow-events",
    "authentication-info",
    "authorization",
    "call-id",
    "call-info",
    "contact",
    "content-disposition",
    "content-encoding",
    "content-length",
    "content-type",
    "cseq",
    "date",
    "event",
    "expires",
    "from",
    "identity",
    "max-forwards",
    "mime-version",
    "min-expires",
    "min-se",
    "p-asserted-identity",
    "p-preferred-identity",
    "path",
    "privacy",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-require",
    "rack",
    "reason",
    "record-route",
    "refer-to",
    "referred-by",
    "remote-party-id",
    "replaces",
    "require",
    "retry-after",
    "route",
    "rseq",
    "server",
    "service-route",
    "session-expires",
    "sip-etag",
    "sip-if-match",
    "subscription-state",
    "supported",
    "to",
    "unsupported",
    "user-agent",
    "via",
    "warning",
    "www-authenticate",
];

impl TrunkSettings {
    /// All that is wrong with it, in the order of the document. A trunk without mistakes can be used as it is.
    #[must_use]
    pub fn mistakes(&self) -> Vec<Mistake> {
        let mut found = Vec::new();
        if !is_text(&self.name, 64) || self.name.trim() != self.name {
            found.push(Mistake::new("/name", "invalid", "1 to 64 characters without control characters"));
        }
        too_many(&mut found, "/prefixes", self.prefixes.len(), PREFIXES);
        for (at, prefix) in self.prefixes.iter().enumerate() {
            let digits = prefix.strip_prefix('+').unwrap_or(prefix);
            if !(1..=15).contains(&digits.len()) || !digits.bytes().all(|b| b.is_ascii_digit()) {
                let message = "the beginning of a number: digits, with + for international ones";
                found.push(Mistake::new(format!("/prefixes/{at}"), "invalid", message));
            }
        }
        too_many(&mut found, "/addresses", self.addresses.len(), ADDRESSES);
        for (at, address) in self.addresses.iter().enumerate() {
            check_address(&mut found, &format!("/addresses/{at}"), address);
        }
        check_inbound(&mut found, &self.inbound);
        if let Some(credentials) = &self.credentials {
            check_credentials(&mut found, credentials);
        }
        if let Some(registration) = &self.registration {
            check_registration(&mut found, registration);
            if self.credentials.is_none() && registration.enabled {
                found.push(Mistake::new("/credentials", "required", "a registration needs a user name and a password"));
            }
        }
        if self.codecs.len() > 8 || has_twice(&self.codecs) {
            found.push(Mistake::new("/codecs", "invalid", "each codec once"));
        }
        if self.packet_ms.is_some_and(|ms| !(10..=60).contains(&ms) || ms % 10 != 0) {
            found.push(Mistake::new(
                "/packet_ms",
                "out_of_range",
                "10, 20, 30, 40, 50 or 60 milliseconds, or null for 20",
            ));
        }
        check_headers(&mut found, &self.headers);
        found.extend(Normaliser::new(&self.numbers).err().unwrap_or_default());
        let limits = &self.limits;
        for (name, limit, most) in [
            ("channels", limits.channels, 1_000_000),
            ("inbound_channels", limits.inbound_channels, 1_000_000),
            ("outbound_channels", limits.outbound_channels, 1_000_000),
            ("calls_per_second", limits.calls_per_second, 10_000),
        ] {
            if limit.is_some_and(|limit| !(1..=most).contains(&limit)) {
                let message = format!("1 to {most}, or null for no limit; to close a trunk, disable it");
                found.push(Mistake::new(format!("/limits/{name}"), "out_of_range", message));
            }
        }
        let health = &self.health;
        if !(5..=3_600).contains(&health.options_interval_s) && health.options_interval_s != 0 {
            let message = "5 to 3,600 seconds, or 0 for no OPTIONS";
            found.push(Mistake::new("/health/options_interval_s", "out_of_range", message));
        }
        for (name, count) in [("down_after", health.down_after), ("up_after", health.up_after)] {
            if !(1..=10).contains(&count) {
                found.push(Mistake::new(format!("/health/{name}"), "out_of_range", "1 to 10"));
            }
        }
        too_many(&mut found, "/failover_statuses", self.failover_statuses.len(), STATUSES);
        for (at, status) in self.failover_statuses.iter().enumerate() {
            if !failover::may_be_listed(*status) {
                let message = "400 to 599, but neither 401 nor 407 (answered with credentials) nor 487 (we cancelled)";
                found.push(Mistake::new(format!("/failover_statuses/{at}"), "invalid", message));
            }
        }
        found
    }
}

fn too_many(found: &mut Vec<Mistake>, pointer: &str, count: usize, most: usize) {
    if count > most {
        found.push(Mistake::new(pointer, "too_many", format!("at most {most}")));
    }
}

fn check_address(found: &mut Vec<Mistake>, pointer: &str, address: &Address) {
    if !is_host(&address.host) {
        let message = "a host name or an IP address, without scheme and port";
        found.push(Mistake::new(format!("{pointer}/host"), "invalid", message));
    }
    if address.port == Some(0) {
        found.push(Mistake::new(format!("{pointer}/port"), "out_of_range", "1 to 65,535"));
    }
}

fn check_inbound(found: &mut Vec<Mistake>, inbound: &Inbound) {
    too_many(found, "/inbound/networks", inbound.networks.len(), NETWORKS);
    for (at, network) in inbound.networks.iter().enumerate() {
        if crate::inbound::network(network).is_none() {
            let message = "an IP address or a network such as 203.0.113.0/24 or 2001:db8::/32";
            found.push(Mistake::new(format!("/inbound/networks/{at}"), "invalid", message));
        }
    }
    too_many(found, "/inbound/tls_identities", inbound.tls_identities.len(), IDENTITIES);
    for (at, identity) in inbound.tls_identities.iter().enumerate() {
        if !is_text(identity, 255) || identity.contains(char::is_whitespace) {
            let message = "a name as it stands in the certificate";
            found.push(Mistake::new(format!("/inbound/tls_identities/{at}"), "invalid", message));
        }
    }
    if inbound.account.as_deref().is_some_and(|account| !is_user(account)) {
        found.push(Mistake::new("/inbound/account", "invalid", "the user name of a SIP account"));
    }
}

fn check_credentials(found: &mut Vec<Mistake>, credentials: &Credentials) {
    // They stand between quotes in a header field.
    let quotable = |text: &str| !text.contains(['"', '\\']);
    if !is_text(&credentials.username, 128) || !quotable(&credentials.username) {
        let message = "1 to 128 characters without quotes, backslashes and control characters";
        found.push(Mistake::new("/credentials/username", "invalid", message));
    }
    if credentials.password.as_ref().is_some_and(|password| !is_text(password.expose(), 256)) {
        found.push(Mistake::new("/credentials/password", "invalid", "1 to 256 characters without control characters"));
    }
    if credentials.realm.as_deref().is_some_and(|realm| !is_text(realm, 128) || !quotable(realm)) {
        found.push(Mistake::new("/credentials/realm", "invalid", "1 to 128 characters without quotes"));
    }
}

fn check_registration(found: &mut Vec<Mistake>, registration: &Registration) {
    let aor = registration.aor.strip_prefix("sip:").or_else(|| registration.aor.strip_prefix("sips:"));
    let right = aor.and_then(|rest| rest.split_once('@')).is_some_and(|(user, host)| {
        let (host, port) = match host.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            _ => (host, None),
        };
        is_user(user) && is_host(host) && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
    });
    if !right {
        let message = "sip:user@host, without parameters";
        found.push(Mistake::new("/registration/aor", "invalid", message));
    }
    if !(60..=86_400).contains(&registration.expires_s) {
        found.push(Mistake::new("/registration/expires_s", "out_of_range", "60 to 86,400 seconds"));
    }
}

fn check_headers(found: &mut Vec<Mistake>, headers: &Headers) {
    too_many(found, "/headers/outbound", headers.outbound.len(), HEADERS);
    for (name, value) in &headers.outbound {
        let pointer = format!("/headers/outbound/{}", name.replace('~', "~0").replace('/', "~1"));
        if !is_token(name) || name.len() > 64 {
            found.push(Mistake::new(
                pointer,
                "invalid",
                "the name of a header field: at most 64 letters, digits and -",
            ));
        } else if FORBIDDEN.contains(&name.to_ascii_lowercase().as_str()) || name.len() == 1 {
            let message = "the host writes this field itself; `identity`, `privacy` and `from_user` say who calls";
            found.push(Mistake::new(pointer, "forbidden", message));
        } else if value.len() > 512 || value.chars().any(char::is_control) {
            found.push(Mistake::new(pointer, "invalid", "at most 512 bytes without control characters"));
        }
    }
    if headers.from_user.as_deref().is_some_and(|user| !is_user(user)) {
        let message = "1 to 64 letters, digits and -_.!~*'()&=+$";
        found.push(Mistake::new("/headers/from_user", "invalid", message));
    }
    if headers.from_domain.as_deref().is_some_and(|domain| !is_host(domain)) {
        found.push(Mistake::new("/headers/from_domain", "invalid", "a host name or an IP address, without a port"));
    }
}

fn has_twice<T: PartialEq>(all: &[T]) -> bool {
    all.iter().enumerate().any(|(at, one)| all[..at].contains(one))
}

/// 1 to `most` characters, none of which steers anything.
fn is_text(text: &str, most: usize) -> bool {
    !text.is_empty() && text.chars().count() <= most && !text.chars().any(char::is_control)
}

/// A user part without anything that would have to be escaped (RFC 3261 §25.1).
#[must_use]
pub fn is_user(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.!~*'()&=+$".contains(&b);
    (1..=64).contains(&text.len()) && text.bytes().all(plain)
}

/// A host name, or an IP address; an IPv6 address with or without brackets.
#[must_use]
pub fn is_host(text: &str) -> bool {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    if let Some(address) = bare {
        return address.parse::<std::net::Ipv6Addr>().is_ok();
    }
    let label = |label: &str| {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        (1..=63).contains(&label.len()) && label.bytes().all(plain) && !label.starts_with('-') && !label.ends_with('-')
    };
    let name = text.strip_suffix('.').unwrap_or(text);
    text.parse::<IpAddr>().is_ok() || (text.len() <= 255 && name.split('.').all(label))
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn mistakes(document: &Value) -> Vec<(String, &'static str)> {
        let settings: TrunkSettings = serde_json::from_value(document.clone()).unwrap();
        settings.mistakes().into_iter().map(|mistake| (mistake.pointer, mistake.code)).collect()
    }

    fn whole() -> Value {
        json!({
            "name": "carrier-a", "enabled": true, "order": 5, "prefixes": ["+49", "110"],
            "addresses": [
                { "host": "sip.carrier.example", "port": 5061, "transport": "tls", "priority": 10, "weight": 50 },
                { "host": "2001:db8::1" }, { "host": "[2001:db8::1]" },
            ],
            "inbound": { "networks": ["203.0.113.0/24", "192.0.2.1"], "tls_identities": ["sip.carrier.example"], "account": null },
            "credentials": { "username": "u", "password": "p", "realm": null },
            "registration": { "enabled": true, "aor": "sip:u@carrier.example", "expires_s": 600 },
            "codecs": ["pcma", "opus"], "codec_order": "ours", "packet_ms": 30,
            "encryption": "sdes_preferred", "encryption_offer": "two_lines", "dtmf": "info",
            "headers": { "outbound": { "X-Account": "1" }, "identity": "pai", "privacy": true, "from_user": "u", "from_domain": "a.example" },
            "numbers": { "inbound": [{ "match": "^00(\\d+)$", "replace": "+$1" }], "outbound": [], "national": { "country_code": "49" } },
            "limits": { "channels": 30, "calls_per_second": 5 },
            "health": { "options_interval_s": 30 },
            "failover_statuses": [408, 486, 503],
        })
    }

    #[test]
    fn a_whole_trunk_has_no_mistake_and_comes_back_without_its_password() {
        assert_eq!(mistakes(&whole()), []);
        assert_eq!(mistakes(&json!({ "name": "least" })), []);
        let settings: TrunkSettings = serde_json::from_value(whole()).unwrap();
        let shown = serde_json::to_value(&settings).unwrap();
        assert_eq!(shown["credentials"], json!({ "username": "u", "realm": null }));
        let again: TrunkSettings = serde_json::from_value(shown).unwrap();
        assert_eq!(again.credentials.as_ref().unwrap().password, None);
        let mut without = settings.clone();
        without.credentials.as_mut().unwrap().password = None;
        assert_eq!(again, without);
        assert!(!format!("{settings:?}").contains("\"p\""));
    }

    #[test]
    fn every_mistake_is_named_by_its_place() {
        let cases = [
            ("/name", json!("")),
            ("/name", json!(" a")),
            ("/prefixes/1", json!("+49x")),
            ("/addresses/0/host", json!("sip:carrier.example")),
            ("/addresses/0/host", json!("carrier.example:5060")),
            ("/addresses/0/host", json!("a b")),
            ("/addresses/0/port", json!(0)),
            ("/inbound/networks/1", json!("203.0.113.0/33")),
            ("/inbound/tls_identities/0", json!("a b")),
            ("/inbound/account", json!("a@b")),
            ("/credentials/username", json!("a\"b")),
            ("/credentials/password", json!("")),
            ("/credentials/realm", json!("\"")),
            ("/credentials", json!(null)),
            ("/registration/aor", json!("u@carrier.example")),
            ("/registration/aor", json!("sip:u@carrier.example;transport=tcp")),
            ("/registration/expires_s", json!(1)),
            ("/codecs", json!(["pcma", "pcma"])),
            ("/packet_ms", json!(0)),
            ("/packet_ms", json!(25)),
            ("/packet_ms", json!(70)),
            ("/headers/outbound/X-Account", json!("a\r\nVia: b")),
            ("/headers/from_user", json!("a b")),
            ("/headers/from_domain", json!("a b")),
            ("/numbers/inbound/0/match", json!("(")),
            ("/numbers/inbound/0/replace", json!("$2")),
            ("/limits/channels", json!(0)),
            ("/limits/calls_per_second", json!(0)),
            ("/health/options_interval_s", json!(1)),
            ("/failover_statuses/1", json!(401)),
            ("/failover_statuses/1", json!(603)),
        ];
        for (pointer, wrong) in cases {
            let mut document = whole();
            *document.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer}")) = wrong.clone();
            let found: Vec<String> = mistakes(&document).into_iter().map(|(at, _)| at).collect();
            assert_eq!(found, [pointer], "{wrong}");
        }
        for name in ["Via", "from", "P-Asserted-Identity", "f", "a b", "Replaces", ""] {
            let document = json!({ "name": "a", "headers": { "outbound": { name: "x" } } });
            assert_eq!(mistakes(&document).len(), 1, "{name}");
        }
    }

    #[test]
    fn a_pointer_becomes_a_path_of_the_api() {
        let path = |pointer: &str| Mistake::new(pointer, "invalid", "").path();
        assert_eq!(path("/addresses/0/port"), "addresses[0].port");
        assert_eq!(path("/name"), "name");
        assert_eq!(path("/headers/outbound/a~1b"), "headers.outbound.a/b");
    }
}
