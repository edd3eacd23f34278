//! The client side: answers challenges, and remembers them for later requests.

use super::{Challenge, Credentials, MAX_REALMS, Proof};
use crate::wire::{Field, Message, Method, lex};
use bytes::Bytes;

/// New nonces in a row that are taken from a realm that calls each one stale at once.
pub(super) const MAX_STALE: u8 = 2;

/// Why a request cannot be tried again with credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// The response asks for nothing we can answer: no Digest, only hashes and modes that are not spoken here, or only
    /// realms that the credentials are not for.
    #[error("no challenge that can be answered; MD5, SHA-256, SHA-512-256 with qop=auth are known")]
    NoChallenge,
    /// The realm has seen the credentials and asks again: user name or password are wrong.
    #[error("user name or password refused")]
    Refused,
}
/// The client side for one user: remembers the challenges of a dialog or registration and counts their use, so that
/// later requests carry credentials at once.
#[derive(Clone, Debug)]
pub struct Client {
    credentials: Credentials,
    realms: Vec<Realm>,
}

#[derive(Clone, Debug)]
struct Realm {
    challenge: Challenge,
    /// Requests that carried its nonce.
    count: u32,
    /// Nonces before this one that were stale at their first use.
    stale: u8,
}

impl Client {
    /// A client that has not been challenged.
    pub fn new(credentials: Credentials) -> Self {
        Self { credentials, realms: Vec::new() }
    }

    /// Takes a 401 or 407. For each realm the strongest challenge counts.
    ///
    /// # Errors
    /// [`DigestError`]: the request is not to be tried again.
    pub fn challenged(&mut self, response: &Message) -> Result<(), DigestError> {
        let ours = |challenge: &Challenge| {
            let realm = self.credentials.realm.as_ref();
            realm.is_none_or(|realm| realm.as_bytes() == &challenge.realm[..])
        };
        let challenges = Challenge::all(response).into_iter().filter(ours).collect::<Vec<_>>();
        let mut taken: Vec<(Bytes, bool)> = Vec::new();
        let mut any_new = false;
        for challenge in challenges {
            let key = (challenge.realm.clone(), challenge.proxy);
            if taken.contains(&key) {
                continue;
            }
            taken.push(key);
            let same =
                |known: &Realm| known.challenge.realm == challenge.realm && known.challenge.proxy == challenge.proxy;
            match self.realms.iter().position(same) {
                Some(at) => {
                    let known = &mut self.realms[at];
                    // A new nonce without `stale` right after credentials were used means: wrong. Old servers forget
                    // to say `stale` when a nonce runs out, but only for one that served before.
                    let repeated = known.count > 0 && known.challenge.nonce == challenge.nonce;
                    let first_use = known.count == 1;
                    if repeated || (first_use && (!challenge.stale || known.stale >= MAX_STALE)) {
                        return Err(DigestError::Refused);
                    }
                    let stale = if first_use { known.stale + 1 } else { 0 };
                    *known = Realm { challenge, count: 0, stale };
                }
                None if self.realms.len() < MAX_REALMS => self.realms.push(Realm { challenge, count: 0, stale: 0 }),
                None => continue,
            }
            any_new = true;
        }
        if any_new { Ok(()) } else { Err(DigestError::NoChallenge) }
    }

    /// The credentials for a request: `Authorization` and `Proxy-Authorization` lines for every realm that asked.
    /// `uri` is the request URI as it will be written; `cnonce` is random, at least 64 bits, in token characters.
    pub fn authorize(&mut self, method: &Method, uri: &[u8], cnonce: &str) -> Vec<(Field, Bytes)> {
        let credentials = &self.credentials;
        let lines = self.realms.iter_mut().map(|realm| {
            realm.count = realm.count.saturating_add(1);
            let field = if realm.challenge.proxy { Field::ProxyAuthorization } else { Field::Authorization };
            (field, authorization(&realm.challenge, credentials, realm.count, method, uri, cnonce))
        });
        lines.collect()
    }
}
fn authorization(
    challenge: &Challenge,
    credentials: &Credentials,
    count: u32,
    method: &Method,
    uri: &[u8],
    cnonce: &str,
) -> Bytes {
    let username = lex::quoted(&credentials.username);
    let proof = Proof {
        username: &username.as_bytes()[1..username.len() - 1],
        realm: &challenge.realm,
        nonce: &challenge.nonce,
        method: method.as_str().as_bytes(),
        uri,
        auth: challenge.qop.then(|| (format!("{count:08x}"), cnonce.as_bytes())),
    };
    let response = proof.response(challenge.algorithm, credentials.password.as_bytes());
    let mut out = Vec::with_capacity(320);
    let mut push = |pieces: &[&[u8]]| pieces.iter().for_each(|piece| out.extend_from_slice(piece));
    push(&[b"Digest username=", username.as_bytes(), b", realm=\"", proof.realm, b"\", nonce=\"", proof.nonce]);
    push(&[b"\", uri=\"", uri, b"\", response=\"", response.as_bytes(), b"\""]);
    if challenge.names_algorithm {
        push(&[b", algorithm=", challenge.algorithm.name().as_bytes()]);
    }
    if let Some((count, cnonce)) = &proof.auth {
        push(&[b", cnonce=\"", cnonce, b"\", qop=auth, nc=", count.as_bytes()]);
    }
    if let Some(opaque) = &challenge.opaque {
        push(&[b", opaque=\"", opaque, b"\""]);
    }
    out.into()
}
