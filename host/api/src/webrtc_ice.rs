//! The STUN and TURN servers that browsers are told of, and credentials for them that are good for a while.
//!
//! A credential is made in the manner of the TURN REST draft (draft-uberti-behave-turn-rest-00), which coturn and others
//! understand (`use-auth-secret`): the user name is the end of its time and a name, the password is HMAC-SHA1 of that
//! under a secret which the host and the TURN server share. So no password of the operator leaves the house.

use axum::http::HeaderValue;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::Serialize;
use sha1::Sha1;
use std::fmt;
use utoipa::ToSchema;

/// The operator's servers.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct IceConfig {
    /// `stun:stun.example.com:3478`.
    pub stun: Vec<String>,
    /// `turn:turn.example.com:3478?transport=udp`, `turns:…`.
    pub turn: Vec<String>,
    /// What the TURN servers and this host share; none for servers that ask nobody.
    pub secret: Option<String>,
    /// How long a credential is good, in seconds: longer than calls last.
    pub ttl_s: u32,
}

impl fmt::Debug for IceConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IceConfig").field("stun", &self.stun).field("turn", &self.turn).finish_non_exhaustive()
    }
}

/// A server as a browser wants it: an `RTCIceServer`.
#[derive(Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct IceServer {
    /// `stun:`, `turn:` or `turns:`.
    #[schema(example = json!(["turn:turn.example.com:3478?transport=udp"]))]
    pub(crate) urls: Vec<String>,
    /// For TURN: the end of its time, and a name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "1795252540:wrt_0192…")]
    pub(crate) username: Option<String>,
    /// For TURN: a password that is good until then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) credential: Option<String>,
}

impl IceConfig {
    /// The servers for whoever has this name, at this time in Unix seconds.
    pub(crate) fn servers(&self, name: &str, now_s: i64) -> Vec<IceServer> {
        let mut servers = Vec::new();
        if !self.stun.is_empty() {
            servers.push(IceServer { urls: self.stun.clone(), username: None, credential: None });
        }
        if !self.turn.is_empty() {
            let username = format!("{}:{name}", now_s.saturating_add(self.ttl_s.into()));
            let credential = self.secret.as_deref().and_then(|secret| credential(secret, &username));
            let username = credential.as_ref().map(|_| username);
            servers.push(IceServer { urls: self.turn.clone(), username, credential });
        }
        servers
    }
}

/// Base64 of HMAC-SHA1.
fn credential(secret: &str, username: &str) -> Option<String> {
    // HMAC takes keys of any length.
    let mut mac = Hmac::<Sha1>::new_from_slice(secret.as_bytes()).ok()?;
    mac.update(username.as_bytes());
    Some(STANDARD.encode(mac.finalize().into_bytes()))
}

/// The same as `Link` headers (RFC 9725 §4.6): one for each URL.
pub(crate) fn links(servers: &[IceServer]) -> Vec<HeaderValue> {
    let link = |server: &IceServer, url: &String| {
        let mut text = format!("<{url}>; rel=\"ice-server\"");
        if let (Some(username), Some(credential)) = (&server.username, &server.credential) {
            text.push_str(&format!(
                "; username=\"{username}\"; credential=\"{credential}\"; credential-type=\"password\""
            ));
        }
        // The operator's URLs were looked at when the host was started.
        HeaderValue::from_str(&text).ok()
    };
    servers.iter().flat_map(|server| server.urls.iter().filter_map(|url| link(server, url))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> IceConfig {
        IceConfig {
            stun: vec!["stun:s.example".into()],
            turn: vec!["turn:t.example?transport=udp".into(), "turns:t.example:443".into()],
            secret: Some("north".into()),
            ttl_s: 600,
        }
    }

    /// By `printf '1000600:wrt_1' | openssl dgst -sha1 -hmac north -binary | base64`.
    #[test]
    fn a_credential_is_what_a_turn_server_computes() {
        let servers = config().servers("wrt_1", 1_000_000);
        assert_eq!((servers.len(), servers[0].username.as_deref()), (2, None));
        assert_eq!(servers[1].username.as_deref(), Some("1000600:wrt_1"));
        assert_eq!(servers[1].credential.as_deref(), Some("Er+JyF6/nS/3rD+s6ZmvzQX5T14="));
        assert!(!format!("{:?}", config()).contains("north"));
    }

    #[test]
    fn links_carry_what_the_servers_are() {
        let servers = config().servers("wrt_1", 0);
        let links = links(&servers);
        let texts: Vec<&str> = links.iter().map(|link| link.to_str().unwrap()).collect();
        assert_eq!(texts[0], "<stun:s.example>; rel=\"ice-server\"");
        assert!(
            texts[2].starts_with("<turns:t.example:443>; rel=\"ice-server\"; username=\"600:wrt_1\"; credential=\"")
        );
        let open = IceConfig { secret: None, ..config() };
        assert_eq!(open.servers("x", 0)[1].username, None, "servers that ask nobody");
        assert!(IceConfig::default().servers("x", 0).is_empty());
    }
}
