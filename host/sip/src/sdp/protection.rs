//! How the packets of a line are protected: keys in the description (RFC 4568), or fingerprints for a handshake in the
//! media (RFC 5763); what we accept, and what we say.

use std::fmt::{self, Write as _};

use callbox_media::{DtlsRole, Fingerprint, Security, SrtpKeys, SrtpSuite};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::remote::{Line, Profile};
use super::{Keying, LocalMedia, Need, OfferStyle, SdpError};

/// What the keys of one session are made of. Never written to a log.
#[derive(Clone)]
pub struct Secrets {
    seed: [u8; 32],
    /// The far end's keys that ours have answered; new ones of it get new ones of ours.
    generation: u64,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secrets").finish_non_exhaustive()
    }
}

impl Secrets {
    /// From 32 random bytes that are used for nothing else.
    #[must_use]
    pub fn new(seed: [u8; 32]) -> Self {
        Self { seed, generation: 0 }
    }

    /// Our key for a suite; the same until [`Self::renew`].
    fn key(&self, suite: SrtpSuite) -> SrtpKeys {
        let mut random = [0; SrtpKeys::RANDOM];
        for (block, bytes) in random.chunks_mut(32).enumerate() {
            // Keys of any length are taken.
            let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.seed) else { continue };
            mac.update(suite.name().as_bytes());
            mac.update(&self.generation.to_be_bytes());
            mac.update(&[block as u8]);
            let derived = mac.finalize().into_bytes();
            bytes.copy_from_slice(&derived[..bytes.len()]);
        }
        SrtpKeys::random(suite, &random)
    }

    fn renew(&mut self) {
        self.generation += 1;
    }
}

/// A line of `a=crypto` that can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Crypto {
    pub(super) tag: u32,
    pub(super) keys: SrtpKeys,
}

impl Crypto {
    /// Reads `1 AES_CM_128_HMAC_SHA1_80 inline:… [session parameters]`. None for one that must not be used: a suite
    /// that is not spoken here, keys that do not read, or a session parameter that is not understood and not marked as
    /// one that may be ignored (RFC 4568 §5.1.2, §6.3).
    pub(super) fn read(value: &str) -> Option<Self> {
        let mut words = value.split_ascii_whitespace();
        let tag = words.next().filter(|tag| tag.len() <= 9)?.parse().ok()?;
        let suite = SrtpSuite::from_name(words.next()?)?;
        let keys = SrtpKeys::from_inline(suite, words.next()?).ok()?;
        // A hint for the replay window, and a rate of 0, which is the default, change nothing.
        let fine = |word: &str| word.starts_with('-') || word.starts_with("WSH=") || word == "KDR=0";
        words.all(fine).then_some(Self { tag, keys })
    }
}

/// Who begins the handshake (`a=setup`, RFC 4145 §4), as one side says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Setup {
    /// The other side may choose.
    ActPass,
    /// The one who says it.
    Active,
    /// The other side.
    Passive,
    /// Nobody, for now.
    Hold,
}

impl Setup {
    pub(super) fn read(value: &str) -> Option<Self> {
        [Self::ActPass, Self::Active, Self::Passive, Self::Hold]
            .into_iter()
            .find(|setup| setup.as_str().eq_ignore_ascii_case(value))
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::ActPass => "actpass",
            Self::Active => "active",
            Self::Passive => "passive",
            Self::Hold => "holdconn",
        }
    }
}

/// What a line of ours says about its protection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Protection {
    pub(super) crypto: Vec<Crypto>,
    pub(super) dtls: Option<(Setup, Fingerprint)>,
}

impl Protection {
    pub(super) fn write(&self, out: &mut String) {
        // Writing to a string does not fail.
        for Crypto { tag, keys } in &self.crypto {
            let _ = write!(out, "a=crypto:{tag} {} {}\r\n", keys.suite(), keys.to_inline());
        }
        if let Some((setup, fingerprint)) = &self.dtls {
            let _ = write!(out, "a=fingerprint:{fingerprint}\r\na=setup:{}\r\n", setup.as_str());
        }
    }

    /// Keys in the description: all suites that are worth offering, the best first. Whoever speaks the short tag of
    /// `_32` speaks the long one too.
    fn sdes(secrets: &Secrets) -> Vec<Crypto> {
        let worth = |suite: &SrtpSuite| *suite != SrtpSuite::AesCm128HmacSha1_32;
        let suites = SrtpSuite::ALL.into_iter().filter(worth);
        (1..).zip(suites).map(|(tag, suite)| Crypto { tag, keys: secrets.key(suite) }).collect()
    }
}

/// The lines of a first offer: for each its transport, and what it says about protection.
pub(super) fn offered(local: &LocalMedia, secrets: Option<&Secrets>) -> Vec<(&'static str, Protection)> {
    let plain = || ("RTP/AVP", Protection::default());
    let wanted = local.encryption;
    let sdes = secrets.filter(|_| wanted.keying != Keying::Dtls).map(Protection::sdes);
    let dtls = local.fingerprint.filter(|_| wanted.keying != Keying::Sdes).map(|print| (Setup::ActPass, print));
    let alone = || match (&sdes, dtls) {
        (Some(crypto), _) => ("RTP/SAVP", Protection { crypto: crypto.clone(), dtls: None }),
        (None, dtls) => ("UDP/TLS/RTP/SAVP", Protection { crypto: Vec::new(), dtls }),
    };
    match (wanted.need, wanted.style) {
        (Need::Off | Need::Accepted, _) => vec![plain()],
        (Need::Required, _) => vec![alone()],
        (Need::Preferred, OfferStyle::OneLine) => {
            vec![("RTP/AVP", Protection { crypto: sdes.unwrap_or_default(), dtls })]
        }
        (Need::Preferred, OfferStyle::TwoLines) => vec![alone(), plain()],
    }
}

/// What a later offer says on a line whose protection is agreed: the same manner, and our key again.
pub(super) fn offered_again(
    local: &LocalMedia,
    agreed: &Security,
    said: &Protection,
    secrets: Option<&Secrets>,
) -> Protection {
    match agreed {
        Security::None => Protection::default(),
        Security::Sdes { send, .. } => {
            let tag = said.crypto.first().map_or(1, |crypto| crypto.tag);
            let others = secrets.map(Protection::sdes).unwrap_or_default();
            let others = others.into_iter().filter(|other| other.keys.suite() != send.suite());
            let free = (1..).filter(|number| *number != tag);
            let others = free.zip(others).map(|(tag, other)| Crypto { tag, ..other });
            let first = Crypto { tag, keys: send.clone() };
            Protection { crypto: std::iter::once(first).chain(others).collect(), dtls: None }
        }
        // Whoever answers keeps the part it has (RFC 8842 §5.3).
        Security::Dtls { .. } => {
            Protection { crypto: Vec::new(), dtls: local.fingerprint.map(|print| (Setup::ActPass, print)) }
        }
    }
}

/// Chooses how a line of an offer is protected, and what our answer says about it.
pub(super) fn answered(
    local: &LocalMedia,
    line: &Line,
    before: Option<&Security>,
    secrets: Option<&mut Secrets>,
) -> Result<(Security, Protection), SdpError> {
    let profile = line.profile.ok_or_else(|| SdpError::Transport(line.proto.clone()))?;
    let wanted = local.encryption;
    if wanted.need == Need::Off {
        return match profile {
            Profile::Plain => Ok((Security::None, Protection::default())),
            Profile::Secure | Profile::Tls => Err(SdpError::Transport(line.proto.clone())),
        };
    }
    let dtls = local.fingerprint.filter(|_| wanted.keying != Keying::Sdes).and_then(|ours| {
        let fingerprint = line.fingerprint?;
        let role = role_of_answer(line.setup.unwrap_or(Setup::Active), fingerprint, before)?;
        let setup = if role == DtlsRole::Active { Setup::Active } else { Setup::Passive };
        let said = Protection { crypto: Vec::new(), dtls: Some((setup, ours)) };
        Some((Security::Dtls { role, fingerprint }, said))
    });
    if let Some(chosen) = dtls {
        return Ok(chosen);
    }
    let sdes = line.crypto.first().filter(|_| wanted.keying != Keying::Dtls && profile != Profile::Tls).zip(secrets);
    if let Some((Crypto { tag, keys: receive }, secrets)) = sdes {
        // A new key is a new stream, maybe of another device that knows nothing of how often our packet numbers
        // have wrapped: ours begins anew, too.
        if matches!(before, Some(Security::Sdes { receive: before, .. }) if before != receive) {
            secrets.renew();
        }
        let send = secrets.key(receive.suite());
        let said = Protection { crypto: vec![Crypto { tag: *tag, keys: send.clone() }], dtls: None };
        return Ok((Security::Sdes { send, receive: receive.clone() }, said));
    }
    match (profile, wanted.need) {
        (Profile::Plain, Need::Required) => Err(SdpError::Unprotected),
        (Profile::Plain, _) => Ok((Security::None, Protection::default())),
        (Profile::Secure | Profile::Tls, _) => Err(SdpError::Keys(line.proto.clone())),
    }
}

/// Our part in the handshake: as it was where the far end leaves the choice and is the same as before, else ours to
/// begin, since then it can begin before the answer has arrived (RFC 5763 §5).
fn role_of_answer(theirs: Setup, print: Fingerprint, before: Option<&Security>) -> Option<DtlsRole> {
    match (theirs, before) {
        (Setup::Hold, _) => None,
        (Setup::Active, _) => Some(DtlsRole::Passive),
        (Setup::Passive, _) => Some(DtlsRole::Active),
        (Setup::ActPass, Some(Security::Dtls { role, fingerprint })) if *fingerprint == print => Some(*role),
        (Setup::ActPass, _) => Some(DtlsRole::Active),
    }
}

/// Reads how the answer protects the line that we offered with `proto`.
pub(super) fn accepted(
    local: &LocalMedia,
    line: &Line,
    ours: &Protection,
    profile: Option<Profile>,
) -> Result<Security, SdpError> {
    if line.profile.is_none() {
        return Err(SdpError::Transport(line.proto.clone()));
    }
    if let Some((fingerprint, _)) = line.fingerprint.zip(ours.dtls) {
        // The offer said `actpass`: without a word, or with a wrong one, it is ours to begin.
        let role = match line.setup {
            Some(Setup::Active) => DtlsRole::Passive,
            Some(Setup::Hold) => return Err(SdpError::Keys(line.proto.clone())),
            Some(Setup::Passive | Setup::ActPass) | None => DtlsRole::Active,
        };
        return Ok(Security::Dtls { role, fingerprint });
    }
    // The tag says which of ours was chosen (RFC 4568 §5.1.3). There are answers that count anew; the suite tells.
    let chosen = line.crypto.iter().find_map(|theirs| {
        let same_suite = |mine: &&Crypto| mine.keys.suite() == theirs.keys.suite();
        let mine = ours.crypto.iter().find(|mine| mine.tag == theirs.tag).filter(same_suite);
        mine.or_else(|| ours.crypto.iter().find(same_suite)).map(|mine| (mine, theirs))
    });
    if let Some((mine, theirs)) = chosen {
        return Ok(Security::Sdes { send: mine.keys.clone(), receive: theirs.keys.clone() });
    }
    let plain = profile == Some(Profile::Plain) && line.profile == Some(Profile::Plain);
    match (plain, local.encryption.need) {
        (false, _) => Err(SdpError::Keys(line.proto.clone())),
        (true, Need::Required) => Err(SdpError::Unprotected),
        (true, _) => Ok(Security::None),
    }
}
