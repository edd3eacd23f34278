//! Digest authentication (RFC 3261 §22, RFC 7616, RFC 8760): answering challenges and making them.
//!
//! MD5, SHA-256 and SHA-512-256, with `qop=auth` or, for old servers, without. Time and randomness come from the
//! caller. The server keeps no state: a nonce is a time under a key.

use std::fmt;

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;
use sha2::{Digest, Sha256, Sha512_256};
use subtle::ConstantTimeEq;

use crate::wire::{Field, Message, Method, ValueFault, lex};

/// Realms of one call that are answered: the far end and the proxies on the way. More are ignored.
const MAX_REALMS: usize = 4;
/// New nonces in a row that are taken from a realm that calls each one stale at once.
const MAX_STALE: u8 = 2;

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

/// Why a request cannot be tried again with credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// The response asks for nothing we can answer: no Digest, or only hashes and modes that are not spoken here.
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
        let challenges = Challenge::all(response);
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
        let who = algorithm.hash(&[self.username, self.realm, password]);
        let what = algorithm.hash(&[self.method, self.uri]);
        match &self.auth {
            Some((count, cnonce)) => {
                algorithm.hash(&[who.as_bytes(), self.nonce, count.as_bytes(), cnonce, b"auth", what.as_bytes()])
            }
            None => algorithm.hash(&[who.as_bytes(), self.nonce, what.as_bytes()]),
        }
    }
}

/// What a server makes of the credentials in a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The password is right and the nonce is ours and fresh.
    Accepted {
        /// Whose password it was.
        username: String,
    },
    /// Nothing for our realm that could be checked: challenge.
    Missing,
    /// The nonce is too old or not ours: challenge with `stale`, so that the client tries again without asking a person.
    Stale,
    /// Unknown user or wrong password; the two look alike in result and time.
    Refused,
}

/// The server side. Nonces are stateless: the time of the challenge under an HMAC. A captured answer can be replayed
/// for the same request URI until its nonce is too old, so keep `lifetime` short where that matters.
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

impl Server {
    /// A server for `realm` (quotes, backslashes and control characters are left out). `key` is random and the same
    /// on all hosts that serve the realm; `lifetime` is in seconds.
    pub fn new(realm: &str, key: [u8; 32], lifetime: u64) -> Self {
        let realm = realm.chars().filter(|&c| !c.is_control() && c != '"' && c != '\\').collect();
        Self { realm, key, lifetime }
    }

    /// The challenge lines for a 401 or 407, one for each hash, the strongest first (RFC 8760 §2.3). `now` is in
    /// seconds since any fixed day.
    pub fn challenge(&self, now: u64, stale: bool) -> Vec<Bytes> {
        let nonce = self.nonce(now);
        let stale = if stale { ", stale=true" } else { "" };
        let line = |algorithm: Algorithm| {
            format!(
                "Digest realm=\"{}\", nonce=\"{nonce}\", qop=\"auth\", algorithm={}{stale}",
                self.realm,
                algorithm.name()
            )
        };
        Algorithm::ALL.into_iter().map(|algorithm| line(algorithm).into()).collect()
    }

    /// Checks the credentials in the lines of `field` (`Authorization` or `Proxy-Authorization`) of a request.
    /// `password` finds the password of a user.
    pub fn verify(
        &self,
        request: &Message,
        field: Field,
        now: u64,
        password: impl Fn(&str) -> Option<String>,
    ) -> Verdict {
        let (Some(method), Some(uri)) = (request.method(), request.request_uri()) else { return Verdict::Missing };
        let ours = request.headers.lines(field).take(4 * MAX_REALMS).find_map(|raw| {
            let params = DigestParams::parse(raw).ok()??;
            (params.get("realm")?.as_ref() == self.realm.as_bytes()).then_some(params)
        });
        ours.and_then(|params| self.judge(&params, method, uri.as_bytes(), now, password)).unwrap_or(Verdict::Missing)
    }

    /// `None` when a part is missing or the request is another than the one that was signed.
    fn judge(
        &self,
        params: &DigestParams,
        method: &Method,
        uri: &[u8],
        now: u64,
        password: impl Fn(&str) -> Option<String>,
    ) -> Option<Verdict> {
        let algorithm = match params.get("algorithm") {
            Some(name) => Algorithm::find(name)?,
            None => Algorithm::Md5,
        };
        // We always ask for qop=auth; an answer without it could be replayed for other counts.
        if !params.get("qop")?.eq_ignore_ascii_case(b"auth") || params.get("uri")?.as_ref() != uri {
            return None;
        }
        let count = params.get("nc").filter(|count| count.len() == 8 && count.iter().all(u8::is_ascii_hexdigit))?;
        let (nonce, username) = (params.get("nonce")?, params.get("username")?);
        let proof = Proof {
            username,
            realm: self.realm.as_bytes(),
            nonce,
            method: method.as_str().as_bytes(),
            uri,
            auth: Some((String::from_utf8_lossy(count).into_owned(), params.get("cnonce")?)),
        };
        let quoted = [b"\"", username.as_ref(), b"\""].concat();
        let name = String::from_utf8_lossy(&lex::unquoted(&quoted)).into_owned();
        let known = password(&name);
        // An unknown user costs the same hashes as a known one.
        let expected = proof.response(algorithm, known.as_deref().unwrap_or_default().as_bytes());
        let given = params.get("response")?.to_ascii_lowercase();
        let right = bool::from(expected.as_bytes().ct_eq(&given)) & known.is_some();
        Some(match (self.is_fresh(nonce, now), right) {
            (false, _) => Verdict::Stale,
            (true, true) => Verdict::Accepted { username: name },
            (true, false) => Verdict::Refused,
        })
    }

    fn nonce(&self, now: u64) -> String {
        format!("{now:016x}{}", hex::encode(self.seal(now)))
    }

    fn is_fresh(&self, nonce: &[u8], now: u64) -> bool {
        let time = nonce.get(..16).and_then(|time| std::str::from_utf8(time).ok());
        let Some(time) = time.and_then(|time| u64::from_str_radix(time, 16).ok()) else { return false };
        let ours = bool::from(self.nonce(time).as_bytes().ct_eq(nonce));
        // A second of the future is another host's clock.
        ours && time <= now.saturating_add(1) && now.saturating_sub(time) <= self.lifetime
    }

    fn seal(&self, now: u64) -> [u8; 16] {
        let mut seal = [0; 16];
        // An HMAC takes a key of any length.
        if let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.key) {
            mac.update(&now.to_be_bytes());
            mac.update(self.realm.as_bytes());
            seal.copy_from_slice(&mac.finalize().into_bytes()[..16]);
        }
        seal
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{StartLine, Uri};

    fn bytes(text: &str) -> Bytes {
        Bytes::copy_from_slice(text.as_bytes())
    }

    fn response(lines: &[(Field, &str)]) -> Message {
        let mut response = Message {
            start: StartLine::Response { status: 401, reason: String::new() },
            headers: Default::default(),
            body: Bytes::new(),
        };
        for (field, value) in lines {
            response.headers.push(*field, bytes(value)).unwrap();
        }
        response
    }

    fn alice() -> Client {
        Client::new(Credentials { username: "alice".to_owned(), password: "secret".to_owned() })
    }

    /// RFC 7616 §3.9 (with erratum 4897), RFC 2617 §3.5, RFC 2069.
    #[test]
    fn published_vectors() {
        let mufasa = |nonce, auth| Proof {
            username: b"Mufasa",
            realm: b"http-auth@example.org",
            nonce,
            method: b"GET",
            uri: b"/dir/index.html",
            auth,
        };
        let nonce = b"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v";
        let auth = Some(("00000001".to_owned(), &b"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"[..]));
        let proof = mufasa(nonce, auth);
        assert_eq!(proof.response(Algorithm::Md5, b"Circle of Life"), "8ca523f5e9506fed4657c9700eebdbec");
        assert_eq!(
            proof.response(Algorithm::Sha256, b"Circle of Life"),
            "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"
        );
        let old = Proof {
            realm: b"testrealm@host.com",
            auth: Some(("00000001".to_owned(), b"0a4f113b")),
            ..mufasa(b"dcd98b7102dd2f0e8b11d0f600bfb0c093", None)
        };
        assert_eq!(old.response(Algorithm::Md5, b"Circle Of Life"), "6629fae49393a05397450978507c4ef1");
        let older = Proof { auth: None, ..old };
        assert_eq!(older.response(Algorithm::Md5, b"Circle Of Life"), "670fd8c2df070c60b045671b8b24ff02");
        let doe = Proof {
            username: "J\u{e4}s\u{f8}n Doe".as_bytes(),
            realm: b"api@example.org",
            nonce: b"5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK",
            method: b"GET",
            uri: b"/doe.json",
            auth: Some(("00000001".to_owned(), b"NTg6RKcb9boFIAS3KrFK9BGeh+iDa/sm6jUMp2wds69v")),
        };
        assert_eq!(
            doe.response(Algorithm::Sha512_256, b"Secret, or not?"),
            "3798d4131c277846293534c3edc11bd8a5e4cdcbff78b05db9d95eeb1cec68a5"
        );
    }

    #[test]
    fn challenges_come_strongest_first_and_unknown_ones_not_at_all() {
        let found = Challenge::all(&response(&[
            (Field::WwwAuthenticate, "Digest realm=\"a\", nonce=\"1\", qop=\"auth,auth-int\""),
            (Field::WwwAuthenticate, "Digest realm=\"a\", nonce=\"2\", algorithm=SHA-512-256, qop=\"auth\""),
            (
                Field::WwwAuthenticate,
                "digest algorithm=sha-256,realm=\"a, \\\"b\\\"\" ,nonce=\"3\",stale=TRUE,opaque=\"\"",
            ),
            (Field::WwwAuthenticate, "Digest realm=\"a\", nonce=\"4\", qop=\"auth-int\""),
            (Field::WwwAuthenticate, "Digest realm=\"a\", nonce=\"5\", algorithm=AKAv1-MD5"),
            (Field::WwwAuthenticate, "NoOneKnowsThisScheme opaque-data=here"),
            (Field::WwwAuthenticate, "Digest realm=\"a\""),
            (Field::WwwAuthenticate, "Digest realm=\"a, nonce=\"6\""),
            (Field::WwwAuthenticate, "Digest"),
        ]));
        let nonces: Vec<_> = found.iter().map(|challenge| (challenge.nonce.as_ref(), challenge.algorithm)).collect();
        assert_eq!(nonces, [(&b"2"[..], Algorithm::Sha512_256), (b"3", Algorithm::Sha256), (b"1", Algorithm::Md5)]);
        assert_eq!(found[1].realm.as_ref(), br#"a, \"b\""#);
        assert!(found[1].stale && !found[1].qop && found[1].opaque.as_deref() == Some(b""));
    }

    #[test]
    fn a_client_answers_counts_and_gives_up() {
        let mut client = alice();
        assert_eq!(client.challenged(&response(&[])), Err(DigestError::NoChallenge));
        let first = response(&[
            (Field::WwwAuthenticate, "Digest realm=\"r\", nonce=\"1\", qop=\"auth\", algorithm=SHA-256, opaque=\"o\""),
            (Field::WwwAuthenticate, "Digest realm=\"r\", nonce=\"1\", qop=\"auth\", algorithm=MD5"),
            (Field::ProxyAuthenticate, "Digest realm=\"p\", nonce=\"9\""),
        ]);
        client.challenged(&first).unwrap();
        let lines = client.authorize(&Method::Invite, b"sip:a@h", "c1");
        assert_eq!(lines.len(), 2);
        let (field, line) = &lines[0];
        assert_eq!(*field, Field::Authorization);
        let expected = Proof {
            username: b"alice",
            realm: b"r",
            nonce: b"1",
            method: b"INVITE",
            uri: b"sip:a@h",
            auth: Some(("00000001".to_owned(), b"c1")),
        };
        let expected = expected.response(Algorithm::Sha256, b"secret");
        assert_eq!(
            line,
            &format!(
                "Digest username=\"alice\", realm=\"r\", nonce=\"1\", uri=\"sip:a@h\", response=\"{expected}\", \
                 algorithm=SHA-256, cnonce=\"c1\", qop=auth, nc=00000001, opaque=\"o\""
            )
        );
        assert_eq!(lines[1].0, Field::ProxyAuthorization);
        assert!(!lines[1].1.windows(3).any(|three| three == b"nc=" || three == b"alg"), "{:?}", lines[1].1);
        // The same realm asks again: wrong password. With `stale` it is only the nonce.
        assert_eq!(client.clone().challenged(&first), Err(DigestError::Refused));
        let stale = response(&[(Field::WwwAuthenticate, "Digest realm=\"r\", nonce=\"2\", qop=auth, stale=true")]);
        client.challenged(&stale).unwrap();
        let again = client.authorize(&Method::Bye, b"sip:a@h", "c2");
        assert!(again[0].1.ends_with(b"cnonce=\"c2\", qop=auth, nc=00000001"), "{:?}", again[0].1);
        let later = client.authorize(&Method::Bye, b"sip:a@h", "c3");
        assert!(later[0].1.ends_with(b"nc=00000002"));
        // A nonce that served runs out without a word about it.
        let silent = response(&[(Field::WwwAuthenticate, "Digest realm=\"r\", nonce=\"3\", qop=auth")]);
        client.challenged(&silent).unwrap();
    }

    #[test]
    fn a_server_that_calls_every_nonce_stale_is_not_asked_for_ever() {
        let mut client = alice();
        let challenge = |nonce: u32| {
            response(&[(Field::WwwAuthenticate, &format!("Digest realm=\"r\", nonce=\"{nonce}\", stale=true"))])
        };
        let tries = (0..100)
            .take_while(|nonce| {
                let taken = client.challenged(&challenge(*nonce)).is_ok();
                client.authorize(&Method::Invite, b"sip:a@h", "c");
                taken
            })
            .count();
        assert_eq!(tries, 1 + usize::from(MAX_STALE));
    }

    fn request(client: &mut Client, method: Method) -> Message {
        let uri = Uri::from_text("sip:+1@h").unwrap();
        let lines = client.authorize(&method, uri.as_bytes(), "abc");
        let mut request = Message::request(method, uri);
        for (field, line) in lines {
            request.headers.push(field, line).unwrap();
        }
        request
    }

    #[test]
    fn server_and_client_agree() {
        let server = Server::new("call\"box", [7; 32], 60);
        let passwords = |user: &str| (user == "alice" || user == "a\"b").then(|| "secret".to_owned());
        let challenged = |client: &mut Client, now, line: usize| {
            let lines = server.challenge(now, false);
            client
                .challenged(&response(&[(Field::WwwAuthenticate, std::str::from_utf8(&lines[line]).unwrap())]))
                .unwrap();
        };
        let check = |request: &Message, now| server.verify(request, Field::Authorization, now, passwords);
        for line in 0..3 {
            let mut client = alice();
            challenged(&mut client, 1000, line);
            let good = request(&mut client, Method::Register);
            assert_eq!(check(&good, 1000), Verdict::Accepted { username: "alice".to_owned() });
            assert_eq!(check(&good, 1060), Verdict::Accepted { username: "alice".to_owned() });
            assert_eq!(check(&good, 1061), Verdict::Stale);
            assert_eq!(check(&good, 998), Verdict::Stale);
            let other_key = Server::new("callbox", [8; 32], 60);
            assert_eq!(other_key.verify(&good, Field::Authorization, 1000, passwords), Verdict::Stale);
            let other_realm = Server::new("elsewhere", [7; 32], 60);
            assert_eq!(other_realm.verify(&good, Field::Authorization, 1000, passwords), Verdict::Missing);
            let mut moved = good.clone();
            moved.start = StartLine::Request { method: Method::Register, uri: Uri::from_text("sip:+2@h").unwrap() };
            assert_eq!(check(&moved, 1000), Verdict::Missing);
            moved.start = StartLine::Request { method: Method::Invite, uri: Uri::from_text("sip:+1@h").unwrap() };
            assert_eq!(check(&moved, 1000), Verdict::Refused);
        }
        for (username, password, verdict) in [
            ("alice", "Secret", Verdict::Refused),
            ("nobody", "", Verdict::Refused),
            ("a\"b", "secret", Verdict::Accepted { username: "a\"b".to_owned() }),
        ] {
            let mut client = Client::new(Credentials { username: username.to_owned(), password: password.to_owned() });
            challenged(&mut client, 1000, 0);
            assert_eq!(check(&request(&mut client, Method::Register), 1000), verdict, "{username}");
        }
        assert_eq!(check(&request(&mut alice(), Method::Register), 1000), Verdict::Missing);
    }

    #[test]
    fn nothing_secret_is_printed() {
        assert!(!format!("{:?}", alice()).contains("secret"));
        assert!(!format!("{:?}", Server::new("r", [77; 32], 1)).contains("77"));
    }
}
