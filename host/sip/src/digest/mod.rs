//! Digest authentication (RFC 3261 §22, RFC 7616, RFC 8760): answering challenges and making them.
//!
//! MD5, SHA-256 and SHA-512-256, with `qop=auth` or, for old servers, without. Time and randomness come from the
//! caller. [`Client`] answers; [`Server`] asks and checks, with nonces that are a time under a key, and [`Replays`]
//! remembers which of them were used.

mod client;
mod replays;
mod server;

pub use client::{Client, DigestError};
pub use replays::Replays;
pub use server::{Nonce, Presented, Server, Signed};

use std::fmt;

use bytes::Bytes;
use md5::Md5;
use sha2::{Digest, Sha256, Sha512_256};

use crate::wire::{Field, Message, ValueFault, lex};

/// Realms of one call that are answered: the far end and the proxies on the way. More are ignored.
const MAX_REALMS: usize = 4;

/// A hash that digests are made with, the weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// What every server speaks, and too weak to choose.
    Md5,
    /// SHA-256.
    Sha256,
    /// SHA-512/256.
    Sha512_256,
}

impl Algorithm {
    /// All, the strongest first.
    pub const ALL: [Self; 3] = [Self::Sha512_256, Self::Sha256, Self::Md5];

    /// The name in headers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Md5 => "MD5",
            Self::Sha256 => "SHA-256",
            Self::Sha512_256 => "SHA-512-256",
        }
    }

    /// `H(user:realm:password)` in lower-case hex: what a server may keep instead of the password (RFC 7616 §3.4.2).
    #[must_use]
    pub fn secret(self, username: &str, realm: &str, password: &str) -> String {
        self.hash(&[username.as_bytes(), realm.as_bytes(), password.as_bytes()])
    }

    fn find(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| name.eq_ignore_ascii_case(algorithm.name().as_bytes()))
    }

    /// The hash of the parts with colons between them, in lower-case hex.
    fn hash(self, parts: &[&[u8]]) -> String {
        let text = parts.join(&b":"[..]);
        match self {
            Self::Md5 => hex::encode(Md5::digest(text)),
            Self::Sha256 => hex::encode(Sha256::digest(text)),
            Self::Sha512_256 => hex::encode(Sha512_256::digest(text)),
        }
    }
}

/// A user name and a password. The password is not printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user name, often the number of a trunk.
    pub username: String,
    /// The password.
    pub password: String,
    /// Only challenges of this realm are answered; none for whoever asks.
    pub realm: Option<String>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("username", &self.username).finish_non_exhaustive()
    }
}

/// The parameters after `Digest`, quotes off, escapes kept: digests are made of the text between the quotes
/// (RFC 7616 §3.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DigestParams(Vec<(Bytes, Bytes)>);

impl DigestParams {
    /// Reads the value of a challenge or of credentials; `None` when the scheme is another one (RFC 4475 §3.3.7).
    ///
    /// # Errors
    /// Parameters that do not read.
    pub fn parse(raw: &Bytes) -> Result<Option<Self>, ValueFault> {
        let (start, end) = lex::trimmed(raw, 0, raw.len());
        let scheme_end = raw[start..end].iter().position(|&b| lex::is_blank(b)).map_or(end, |len| start + len);
        if !raw[start..scheme_end].eq_ignore_ascii_case(b"Digest") {
            return Ok(None);
        }
        let params = raw.slice(scheme_end..end);
        let mut found = Vec::new();
        for (start, end) in lex::Split::new(&params, b',').filter(|(start, end)| start < end) {
            let pair = &params[start..end];
            let equal = pair.iter().position(|&b| b == b'=').ok_or(ValueFault::Parameter)?;
            let (name, value) = (lex::trim(&pair[..equal]), lex::trim(&pair[equal + 1..]));
            if !lex::is_token(name) {
                return Err(ValueFault::Parameter);
            }
            let value = match value {
                [b'"', ..] if lex::quoted_end(value, 0) == Some(value.len()) => &value[1..value.len() - 1],
                [b'"', ..] => return Err(ValueFault::OpenQuote),
                // Quoted, as we would repeat them, these would end or open something.
                value if value.iter().any(|&b| lex::is_blank(b) || matches!(b, b'"' | b'\\')) => {
                    return Err(ValueFault::Parameter);
                }
                value => value,
            };
            found.push((params.slice_ref(name), params.slice_ref(value)));
        }
        Ok(Some(Self(found)))
    }

    /// A parameter by name, without regard to case.
    pub fn get(&self, name: &str) -> Option<&Bytes> {
        self.0.iter().find(|(found, _)| found.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value)
    }
}

/// What a server asks a client to prove.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// Which password is meant.
    pub realm: Bytes,
    /// The server's number.
    pub nonce: Bytes,
    /// To be repeated.
    pub opaque: Option<Bytes>,
    /// The hash to use.
    pub algorithm: Algorithm,
    /// Whether `algorithm` was written, and so must be in the answer.
    names_algorithm: bool,
    /// `qop=auth`; without it the answer is that of RFC 2069.
    pub qop: bool,
    /// The password was right and the nonce too old: try again with this one.
    pub stale: bool,
    /// From `Proxy-Authenticate`.
    pub proxy: bool,
}

impl Challenge {
    /// Reads a `WWW-Authenticate` or `Proxy-Authenticate` value. `None` for what cannot be answered: another scheme,
    /// an unknown hash, only `auth-int`, or a part missing.
    pub fn parse(raw: &Bytes, proxy: bool) -> Option<Self> {
        let params = DigestParams::parse(raw).ok()??;
        let algorithm = match params.get("algorithm") {
            Some(name) => Algorithm::find(name)?,
            None => Algorithm::Md5,
        };
        let qop = match params.get("qop") {
            Some(list) => {
                if !list.split(|&b| b == b',').any(|option| lex::trim(option).eq_ignore_ascii_case(b"auth")) {
                    return None;
                }
                true
            }
            None => false,
        };
        Some(Self {
            realm: params.get("realm")?.clone(),
            nonce: params.get("nonce").filter(|nonce| !nonce.is_empty())?.clone(),
            opaque: params.get("opaque").cloned(),
            algorithm,
            names_algorithm: params.get("algorithm").is_some(),
            qop,
            stale: params.get("stale").is_some_and(|stale| stale.eq_ignore_ascii_case(b"true")),
            proxy,
        })
    }

    /// All challenges of a response that can be answered, the strongest first.
    pub fn all(response: &Message) -> Vec<Self> {
        let mut found: Vec<Self> = [(Field::WwwAuthenticate, false), (Field::ProxyAuthenticate, true)]
            .into_iter()
            .flat_map(|(field, proxy)| {
                response.headers.lines(field).filter_map(move |raw| Self::parse(raw, proxy)).take(4 * MAX_REALMS)
            })
            .collect();
        found.sort_by_key(|challenge| std::cmp::Reverse(challenge.algorithm));
        found
    }
}

/// What goes into a digest besides the password.
struct Proof<'a> {
    username: &'a [u8],
    realm: &'a [u8],
    nonce: &'a [u8],
    method: &'a [u8],
    uri: &'a [u8],
    /// `nc` and `cnonce` of `qop=auth`.
    auth: Option<(String, &'a [u8])>,
}

impl Proof<'_> {
    /// RFC 7616 §3.4.1.
    fn response(&self, algorithm: Algorithm, password: &[u8]) -> String {
        self.response_of(algorithm, &algorithm.hash(&[self.username, self.realm, password]))
    }

    /// The same with the hash of user, realm and password.
    fn response_of(&self, algorithm: Algorithm, who: &str) -> String {
        let what = algorithm.hash(&[self.method, self.uri]);
        match &self.auth {
            Some((count, cnonce)) => {
                algorithm.hash(&[who.as_bytes(), self.nonce, count.as_bytes(), cnonce, b"auth", what.as_bytes()])
            }
            None => algorithm.hash(&[who.as_bytes(), self.nonce, what.as_bytes()]),
        }
    }
}

#[cfg(test)]
mod tests;
