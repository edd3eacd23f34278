//! What the far end is told about who calls: `From`, the identity header, and privacy.

use crate::settings::{Headers, IdentityManner};

/// A caller without a number (RFC 3323 §4.1.1.3).
pub const ANONYMOUS: &str = "sip:anonymous@anonymous.invalid";

/// What an INVITE says about who calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallerHeaders {
    /// The URI of `From`.
    pub from: String,
    /// The display name in `From`.
    pub display_name: Option<String>,
    /// Further header fields: identity, privacy, and the fixed ones of the trunk.
    pub headers: Vec<(String, String)>,
}

impl Headers {
    /// What is sent for this caller, a number or a plain user name; none for a caller without one. `domain` is the host
    /// of the URIs.
    #[must_use]
    pub fn present(&self, caller: Option<&str>, domain: &str) -> CallerHeaders {
        let user = self.from_user.as_deref().or(caller);
        let from = user.filter(|_| !self.privacy).map_or_else(|| ANONYMOUS.into(), |user| uri(user, domain));
        let identity = caller.or(self.from_user.as_deref()).map(|user| uri(user, domain));
        let mut headers = Vec::new();
        let mut put = |name: &str, value: String| headers.push((name.to_owned(), value));
        if let Some(identity) = identity {
            let privacy = if self.privacy { "full" } else { "off" };
            match self.identity {
                IdentityManner::From => {}
                IdentityManner::Pai => put("P-Asserted-Identity", format!("<{identity}>")),
                IdentityManner::Ppi => put("P-Preferred-Identity", format!("<{identity}>")),
                IdentityManner::Rpid => {
                    put("Remote-Party-ID", format!("<{identity}>;party=calling;screen=yes;privacy={privacy}"));
                }
            }
        }
        if self.privacy {
            put("Privacy", "id".into());
        }
        headers.extend(self.outbound.iter().map(|(name, value)| (name.clone(), value.clone())));
        CallerHeaders { from, display_name: self.privacy.then(|| "Anonymous".into()), headers }
    }
}

/// The user is escaped as RFC 3261 §25.1 asks.
fn uri(user: &str, domain: &str) -> String {
    let mut escaped = String::with_capacity(user.len());
    for byte in user.bytes() {
        match byte {
            byte if byte.is_ascii_alphanumeric() || b"-_.!~*'()&=+$,".contains(&byte) => escaped.push(byte.into()),
            byte => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    format!("sip:{escaped}@{domain}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn present(identity: IdentityManner, privacy: bool, caller: Option<&str>) -> (String, Vec<String>) {
        let outbound = [("X-Account".to_owned(), "7".to_owned())].into();
        let headers = Headers { identity, privacy, outbound, ..Headers::default() };
        let shown = headers.present(caller, "carrier.example");
        (shown.from, shown.headers.into_iter().map(|(name, value)| format!("{name}: {value}")).collect())
    }

    #[test]
    fn each_manner_says_who_calls_in_its_header() {
        let us = "sip:+4930@carrier.example";
        for (manner, header) in [
            (IdentityManner::Pai, "P-Asserted-Identity: <sip:+4930@carrier.example>"),
            (IdentityManner::Ppi, "P-Preferred-Identity: <sip:+4930@carrier.example>"),
            (IdentityManner::Rpid, "Remote-Party-ID: <sip:+4930@carrier.example>;party=calling;screen=yes;privacy=off"),
        ] {
            let (from, headers) = present(manner, false, Some("+4930"));
            assert_eq!((from.as_str(), headers), (us, vec![header.to_owned(), "X-Account: 7".to_owned()]));
        }
        assert_eq!(present(IdentityManner::From, false, Some("+4930")), (us.into(), vec!["X-Account: 7".into()]));
    }

    #[test]
    fn a_private_caller_is_known_to_the_far_end_alone() {
        let (from, headers) = present(IdentityManner::Pai, true, Some("+4930"));
        assert_eq!(from, ANONYMOUS);
        assert_eq!(headers[..2], ["P-Asserted-Identity: <sip:+4930@carrier.example>", "Privacy: id"]);
        let (from, headers) = present(IdentityManner::From, true, Some("+4930"));
        assert_eq!((from.as_str(), headers[0].as_str()), (ANONYMOUS, "Privacy: id"));
    }

    #[test]
    fn nobody_is_anonymous_and_nothing_breaks_out_of_the_uri() {
        assert_eq!(present(IdentityManner::Pai, false, None).0, ANONYMOUS);
        let (from, _) = present(IdentityManner::From, false, Some("a>;tag=1\r\nX: @ü"));
        assert_eq!(from, "sip:a%3E%3Btag=1%0D%0AX%3A%20%40%C3%BC@carrier.example");
        let headers = Headers { from_user: Some("login".into()), identity: IdentityManner::Pai, ..Headers::default() };
        let shown = headers.present(Some("+4930"), "a.example");
        assert_eq!(shown.from, "sip:login@a.example");
        assert_eq!(shown.headers[0].1, "<sip:+4930@a.example>");
    }
}
