//! Who may call from a page: the token, the page's origin, and how often, looked at before anything else of a request is
//! read.

use crate::Api;
use crate::guard::{KeyId, Pace, bearer};
use crate::problem::Problem;
use crate::webrtc_cors::is_call;
use axum::extract::{FromRequestParts, Request};
use axum::http::header::{ORIGIN, USER_AGENT};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use callbox_media::webrtc::network_of;
use callbox_store::webrtc_tokens::{self, TokenError, WebToken};
use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// For whom a proxy asks.
pub(crate) const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// Bytes of what a client says of itself that are kept.
const CLIENT: usize = 400;

/// What the operator settles for calls from pages.
#[derive(Clone, Debug, Default)]
pub struct WebCallConfig {
    /// Requests a second from one address, and twice as many saved up; 0 for no limit.
    pub requests_per_second_per_address: u32,
    /// Requests a second with one token, and twice as many saved up; 0 for no limit.
    pub requests_per_second_per_token: u32,
    /// The longest that a token can be good, in seconds.
    pub longest_token_s: u32,
    /// STUN and TURN servers for browsers.
    pub ice: crate::IceConfig,
}

/// How often visitors may ask.
#[derive(Debug)]
pub(crate) struct Paces {
    address: Pace,
    token: Pace,
}

impl Paces {
    pub(crate) fn new(config: &WebCallConfig) -> Self {
        Self {
            address: Pace::saving(config.requests_per_second_per_address, 2, "your address"),
            token: Pace::saving(config.requests_per_second_per_token, 2, "this token"),
        }
    }

    /// By the whole text, not by the id in it: that is no secret, and who knows it alone must not use up the pace of
    /// who holds the token.
    fn check_token(&self, holder: &[u8; 32]) -> Result<(), Problem> {
        self.token.check(&hex::encode(&holder[..16]))
    }
}

/// Where a connection comes from: put into the extensions of every request by the listener.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// Who calls, as far as the token says.
#[derive(Clone, Debug)]
pub(crate) struct Visitor {
    /// Looked at, where a call is to begin with it; else only its shape was.
    pub(crate) token: Option<WebToken>,
    /// What is kept of its text.
    pub(crate) holder: [u8; 32],
    /// Where the request came from.
    pub(crate) from: IpAddr,
    /// The page, and what it runs in.
    pub(crate) client: Option<String>,
}

impl Visitor {
    /// The token, where a call is to begin with it.
    pub(crate) fn take_token(&mut self) -> Result<WebToken, Problem> {
        self.token.take().ok_or_else(|| Problem::internal("a token that was not looked at"))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Visitor {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Self>().cloned().ok_or_else(missing)
    }
}

fn missing() -> Problem {
    let detail = "send a token as `Authorization: Bearer cbt_…`; POST /v1/webrtc/tokens makes one";
    Problem::new(StatusCode::UNAUTHORIZED, "token_required", detail)
}

impl From<TokenError> for Problem {
    fn from(error: TokenError) -> Self {
        let text = error.to_string();
        match error {
            TokenError::Unknown => Self::new(StatusCode::UNAUTHORIZED, "token_invalid", text),
            TokenError::Expired(_) => Self::new(StatusCode::UNAUTHORIZED, "token_expired", text),
            TokenError::Revoked => Self::new(StatusCode::UNAUTHORIZED, "token_revoked", text),
            TokenError::Spent(_) => Self::new(StatusCode::FORBIDDEN, "token_spent", text),
            TokenError::Store(error) => error.into(),
        }
    }
}

/// Lets through who holds a token. A call of its own, which may have outlived the token, is the handler's affair.
pub(crate) async fn guard(api: Api, mut request: Request, next: Next) -> Response {
    // A call that has begun is reached by its own path.
    let begins = !is_call(request.uri().path());
    let peer = request.extensions().get::<Peer>().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0.ip());
    match admit(&api, request.headers(), peer, begins).await {
        Ok(visitor) => {
            let id = visitor.token.as_ref().map(|token| KeyId(token.id.clone()));
            request.extensions_mut().insert(visitor);
            let mut response = next.run(request).await;
            if let Some(id) = id {
                response.extensions_mut().insert(id);
            }
            response
        }
        Err(problem) => {
            if matches!(problem.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
                api.platform().count_refused_token();
            }
            problem.into_response()
        }
    }
}

async fn admit(api: &Api, headers: &HeaderMap, peer: IpAddr, begins: bool) -> Result<Visitor, Problem> {
    let from = address(peer, headers, &api.inner.config.trusted_proxies);
    let paces = &api.inner.paces;
    paces.address.check(&network_of(from).to_string())?;
    let text = bearer(headers).ok_or_else(missing)?;
    webrtc_tokens::parse(text).ok_or(TokenError::Unknown)?;
    let holder = webrtc_tokens::hash(text);
    let origin = headers.get(ORIGIN).and_then(|origin| origin.to_str().ok());
    let client = client(origin, headers);
    if !begins {
        paces.check_token(&holder)?;
        return Ok(Visitor { token: None, holder, from, client });
    }
    let token = api.store().webrtc_token_of(text).await?;
    paces.check_token(&holder)?;
    token.check(api.store().now())?;
    if !token.admits(origin) {
        let detail = match origin {
            Some(_) => "this token is not for pages of your origin: name the origin when it is made",
            None => "this token is for pages of certain origins, and the request names none",
        };
        return Err(Problem::new(StatusCode::FORBIDDEN, "origin_not_allowed", detail));
    }
    Ok(Visitor { token: Some(token), holder, from, client })
}

fn client(origin: Option<&str>, headers: &HeaderMap) -> Option<String> {
    let agent = headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok());
    let words: Vec<&str> = origin.into_iter().chain(agent).collect();
    let text: String = words.join(" ").chars().take(CLIENT).collect();
    (!text.is_empty()).then_some(text)
}

/// Where a request comes from. A proxy of the operator's says so; whoever else writes such a header is not believed.
pub(crate) fn address(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let is_ours = |address: IpAddr| trusted.iter().any(|network| network.contains(&address));
    let mut at = peer.to_canonical();
    // Each proxy adds whom it heard; the last one is next to us.
    let lines = headers.get_all(FORWARDED_FOR).iter().filter_map(|line| line.to_str().ok());
    let hops: Vec<&str> = lines.flat_map(|line| line.split(',')).map(str::trim).collect();
    for hop in hops.iter().rev() {
        if !is_ours(at) {
            break;
        }
        let bare = hop.trim_start_matches('[').split(']').next().unwrap_or(hop);
        let before = bare.parse().or_else(|_| hop.parse::<SocketAddr>().map(|address| address.ip()));
        let Ok(before) = before else { break };
        at = before.to_canonical();
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(peer: &str, forwarded: &[&str], trusted: &[&str]) -> String {
        let trusted: Vec<IpNet> = trusted.iter().map(|network| network.parse().unwrap()).collect();
        let mut headers = HeaderMap::new();
        for line in forwarded {
            headers.append(FORWARDED_FOR, line.parse().unwrap());
        }
        address(peer.parse().unwrap(), &headers, &trusted).to_string()
    }

    #[test]
    fn only_our_proxies_say_for_whom_they_ask() {
        let proxies = ["10.0.0.0/8"];
        assert_eq!(seen("203.0.113.1", &["198.51.100.7"], &proxies), "203.0.113.1", "a stranger's word");
        assert_eq!(seen("10.0.0.1", &["198.51.100.7"], &proxies), "198.51.100.7");
        assert_eq!(seen("10.0.0.1", &[], &proxies), "10.0.0.1");
        assert_eq!(seen("10.0.0.1", &["1.1.1.1, 198.51.100.7"], &proxies), "198.51.100.7", "what the client wrote");
        assert_eq!(seen("10.0.0.1", &["198.51.100.7", "10.0.0.2"], &proxies), "198.51.100.7", "two of ours");
        assert_eq!(seen("10.0.0.1", &["[2001:db8::1]:443"], &proxies), "2001:db8::1");
        assert_eq!(seen("10.0.0.1", &["198.51.100.7:80"], &proxies), "198.51.100.7");
        assert_eq!(seen("10.0.0.1", &["unknown"], &proxies), "10.0.0.1");
        assert_eq!(seen("::ffff:10.0.0.1", &["198.51.100.7"], &proxies), "198.51.100.7");
    }

    #[test]
    fn who_knows_the_id_of_a_token_does_not_use_up_its_pace() {
        let made = |secret: &str| {
            let body = format!("cbt_{}_{}", "0".repeat(32), secret.repeat(48));
            format!("{body}{}", &hex::encode(webrtc_tokens::hash(&body))[..8])
        };
        let (good, forged) = (made("1"), made("2"));
        assert_eq!(webrtc_tokens::parse(&good), webrtc_tokens::parse(&forged));
        assert!(webrtc_tokens::parse(&good).is_some());
        let config = WebCallConfig { requests_per_second_per_token: 1, ..WebCallConfig::default() };
        let paces = Paces::new(&config);
        let forged = webrtc_tokens::hash(&forged);
        assert!((0..10).any(|_| paces.check_token(&forged).is_err()));
        assert!(paces.check_token(&webrtc_tokens::hash(&good)).is_ok());
    }

    #[test]
    fn a_network_of_ipv6_is_one_neighbour() {
        let near = |text: &str| network_of(text.parse().unwrap()).to_string();
        assert_eq!(near("2001:db8:1:2:3:4:5:6"), near("2001:db8:1:2::9"));
        assert_ne!(near("2001:db8:1:2::1"), near("2001:db8:1:3::1"));
        assert_eq!(near("192.0.2.7"), "192.0.2.7");
    }
}
