//! The server side: makes challenges and checks what comes back, without keeping anything of either.

use super::{Algorithm, DigestParams, MAX_REALMS, Proof};
use crate::wire::{Field, Message, Method, Uri, lex};
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::fmt;
use std::net::IpAddr;
use subtle::ConstantTimeEq;

/// What is offered, the strongest first (RFC 8760 §2.3). SHA-512-256 would need a third stored hash for each account,
/// and no phone asks for it.
const OFFERED: [Algorithm; 2] = [Algorithm::Sha256, Algorithm::Md5];
/// Longer user names are those of nobody; they are not to be copied, logged or looked up.
const MAX_USERNAME: usize = 128;
/// What an unknown user is checked against, so that it takes the same work as a known one.
const NOBODY: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Challenges for one realm. A nonce is the time it was made, a number, and an HMAC of both, the realm and the
/// source's address: whoever listens elsewhere cannot use it.
#[derive(Clone)]
pub struct Server {
    realm: String,
    key: [u8; 32],
    lifetime: u64,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("realm", &self.realm).field("lifetime", &self.lifetime).finish_non_exhaustive()
    }
}

/// Which nonce credentials were made with: the second it was issued, and its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Nonce {
    /// Seconds since the day that the caller counts from.
    pub issued: u64,
    /// Random, so that two nonces of one second are two.
    pub number: u32,
}

/// What a request brings.
#[derive(Debug)]
pub enum Presented {
    /// Nothing for our realm that could be checked: challenge.
    Missing,
    /// The nonce is too old or not ours: challenge with `stale`, so that the client tries again without asking a
    /// person.
    Stale,
    /// Credentials with a fresh nonce of ours; whether they are right is seen when the account is known.
    Signed(Box<Signed>),
}

/// Credentials to be checked.
pub struct Signed {
    /// Whose they claim to be.
    pub username: String,
    /// With which nonce.
    pub nonce: Nonce,
    /// How often the client used it, this time included.
    pub count: u32,
    algorithm: Algorithm,
    realm: String,
    method: Method,
    params: DigestParams,
}

impl fmt::Debug for Signed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signed").field("username", &self.username).field("nonce", &self.nonce).finish_non_exhaustive()
    }
}

impl Signed {
    /// The hash that the client chose.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Whether the credentials are those of the account whose hash ([`Algorithm::secret`]) this is. `None` costs the
    /// same time and is never right.
    #[must_use]
    pub fn proves(&self, secret: Option<&str>) -> bool {
        let part = |name| self.params.get(name).map(|value| value.as_ref()).unwrap_or_default();
        let proof = Proof {
            username: part("username"),
            realm: self.realm.as_bytes(),
            nonce: part("nonce"),
            method: self.method.as_str().as_bytes(),
            uri: part("uri"),
            auth: Some((String::from_utf8_lossy(part("nc")).into_owned(), part("cnonce"))),
        };
        let expected = proof.response_of(self.algorithm, &secret.unwrap_or(NOBODY).to_ascii_lowercase());
        let given = part("response").to_ascii_lowercase();
        bool::from(expected.as_bytes().ct_eq(&given)) & secret.is_some()
    }
}

impl Server {
    /// A server for `realm` (quotes, backslashes and control characters are left out). `key` is random and the same
    /// on all hosts that serve the realm; `lifetime` is in seconds.
    pub fn new(realm: &str, key: [u8; 32], lifetime: u64) -> Self {
        let realm = realm.chars().filter(|&c| !c.is_control() && c != '"' && c != '\\').collect();
        Self { realm, key, lifetime }
    }

    /// The realm as it stands in challenges.
    #[must_use]
    pub fn realm(&self) -> &str {
        &self.realm
    }

    /// The challenge lines for a 401 or 407 to `source`, one for each hash; `md5_alone` is for clients that cannot stand
    /// another beside it. `now` is in seconds since any fixed day, `number` random.
    pub fn challenge(&self, now: u64, number: u32, source: IpAddr, stale: bool, md5_alone: bool) -> Vec<Bytes> {
        let nonce = self.nonce(Nonce { issued: now, number }, source);
        let stale = if stale { ", stale=true" } else { "" };
        let line = |algorithm: Algorithm| {
            format!(
                "Digest realm=\"{}\", nonce=\"{nonce}\", qop=\"auth\", algorithm={}{stale}",
                self.realm,
                algorithm.name()
            )
        };
        let offered = OFFERED.into_iter().filter(|algorithm| !md5_alone || *algorithm == Algorithm::Md5);
        offered.map(|algorithm| line(algorithm).into()).collect()
    }

    /// Whether a request brings credentials for our realm at all, right or wrong.
    #[must_use]
    pub fn addressed(&self, request: &Message) -> bool {
        self.credentials(request).is_some()
    }

    /// Reads the credentials for our realm in `Authorization` or `Proxy-Authorization`.
    pub fn read(&self, request: &Message, now: u64, source: IpAddr) -> Presented {
        let (Some(method), Some(uri)) = (request.method(), request.request_uri()) else { return Presented::Missing };
        self.credentials(request)
            .and_then(|params| self.judge(params, method, uri, now, source))
            .unwrap_or(Presented::Missing)
    }

    fn credentials(&self, request: &Message) -> Option<DigestParams> {
        [Field::Authorization, Field::ProxyAuthorization].into_iter().find_map(|field| {
            request.headers.lines(field).take(4 * MAX_REALMS).find_map(|raw| {
                let params = DigestParams::parse(raw).ok()??;
                (params.get("realm")?.as_ref() == self.realm.as_bytes()).then_some(params)
            })
        })
    }

    /// `None` when a part is missing or the request is another than the one that was signed.
    fn judge(&self, params: DigestParams, method: &Method, uri: &Uri, now: u64, source: IpAddr) -> Option<Presented> {
        let algorithm = match params.get("algorithm") {
            Some(name) => Algorithm::find(name)?,
            None => Algorithm::Md5,
        };
        // We always ask for qop=auth; an answer without it could be replayed for other counts.
        if !OFFERED.contains(&algorithm)
            || !params.get("qop")?.eq_ignore_ascii_case(b"auth")
            || !same_resource(params.get("uri")?, uri)
        {
            return None;
        }
        let count = params.get("nc").filter(|count| count.len() == 8 && count.iter().all(u8::is_ascii_hexdigit))?;
        let count = u32::from_str_radix(std::str::from_utf8(count).ok()?, 16).ok()?;
        params.get("cnonce")?;
        params.get("response")?;
        let quoted =
            [b"\"", params.get("username").filter(|name| name.len() <= MAX_USERNAME)?.as_ref(), b"\""].concat();
        let username = String::from_utf8(lex::unquoted(&quoted).into_owned()).ok()?;
        let Some(nonce) = self.fresh(params.get("nonce")?, now, source) else { return Some(Presented::Stale) };
        let (realm, method) = (self.realm.clone(), method.clone());
        Some(Presented::Signed(Box::new(Signed { username, nonce, count, algorithm, realm, method, params })))
    }

    fn nonce(&self, nonce: Nonce, source: IpAddr) -> String {
        format!("{:016x}{:08x}{}", nonce.issued, nonce.number, hex::encode(self.seal(nonce, source)))
    }

    fn fresh(&self, written: &[u8], now: u64, source: IpAddr) -> Option<Nonce> {
        let part = |range: std::ops::Range<usize>| std::str::from_utf8(written.get(range)?).ok();
        let issued = u64::from_str_radix(part(0..16)?, 16).ok()?;
        let number = u32::from_str_radix(part(16..24)?, 16).ok()?;
        let nonce = Nonce { issued, number };
        let ours = bool::from(self.nonce(nonce, source).as_bytes().ct_eq(written));
        // A second of the future is another host's clock.
        let young = issued <= now.saturating_add(1) && now.saturating_sub(issued) <= self.lifetime;
        (ours && young).then_some(nonce)
    }

    fn seal(&self, nonce: Nonce, source: IpAddr) -> [u8; 16] {
        let mut seal = [0; 16];
        // An HMAC takes a key of any length.
        if let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.key) {
            mac.update(&nonce.issued.to_be_bytes());
            mac.update(&nonce.number.to_be_bytes());
            match source.to_canonical() {
                IpAddr::V4(v4) => mac.update(&v4.octets()),
                IpAddr::V6(v6) => mac.update(&v6.octets()),
            }
            mac.update(self.realm.as_bytes());
            seal.copy_from_slice(&mac.finalize().into_bytes()[..16]);
        }
        seal
    }
}

/// Whether credentials made for `signed` are for this request. A proxy may have changed the host on the way; whom the
/// request is for, it must not (RFC 7616 §3.4.6 leaves that to us).
fn same_resource(signed: &Bytes, uri: &Uri) -> bool {
    signed == uri.as_bytes() || Uri::parse(signed).is_ok_and(|signed| signed.user_text() == uri.user_text())
}
