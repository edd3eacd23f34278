//! Master keys, their suites, and how SDP writes them (RFC 4568 §6).

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use callbox_webrtc::Profile;
use serde::{Deserialize, Serialize};
use std::fmt::{self, Write as _};
use zeroize::Zeroize as _;

/// The longest key and salt: AES-256 and 96 bits.
const MOST: usize = 44;
/// The longest master key identifier that is understood; RFC 4568 allows 128 bytes, nobody uses more than 4.
const MOST_MKI: usize = 16;
/// No more packets may be sent under one key (RFC 3711 §9.2).
const LIFETIME: u64 = 1 << 48;

/// How packets are encrypted and authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SrtpSuite {
    /// AES-128 in counter mode, 80 bits of HMAC-SHA1 (RFC 3711): what everybody has.
    #[serde(rename = "AES_CM_128_HMAC_SHA1_80")]
    AesCm128HmacSha1_80,
    /// The same with 32 bits on RTP; RTCP keeps 80 (RFC 4568 §6.2.2).
    #[serde(rename = "AES_CM_128_HMAC_SHA1_32")]
    AesCm128HmacSha1_32,
    /// AES-128 in Galois/counter mode, 16 bytes of tag (RFC 7714).
    #[serde(rename = "AEAD_AES_128_GCM")]
    AeadAes128Gcm,
    /// AES-256 in Galois/counter mode, 16 bytes of tag (RFC 7714).
    #[serde(rename = "AEAD_AES_256_GCM")]
    AeadAes256Gcm,
}

impl SrtpSuite {
    /// All of them, the strongest first, in the order in which to offer them.
    pub const ALL: [Self; 4] =
        [Self::AeadAes256Gcm, Self::AeadAes128Gcm, Self::AesCm128HmacSha1_80, Self::AesCm128HmacSha1_32];

    /// Its name in `a=crypto` (RFC 4568 §6.2, RFC 7714 §14.2).
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AesCm128HmacSha1_80 => "AES_CM_128_HMAC_SHA1_80",
            Self::AesCm128HmacSha1_32 => "AES_CM_128_HMAC_SHA1_32",
            Self::AeadAes128Gcm => "AEAD_AES_128_GCM",
            Self::AeadAes256Gcm => "AEAD_AES_256_GCM",
        }
    }

    /// The suite of this name, whatever its case; none for those that are not spoken here (F8, the null ciphers).
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|suite| suite.name().eq_ignore_ascii_case(name))
    }

    /// Bytes of the master key.
    #[must_use]
    pub const fn key_length(self) -> usize {
        match self {
            Self::AeadAes256Gcm => 32,
            _ => 16,
        }
    }

    /// Bytes of the master salt.
    #[must_use]
    pub const fn salt_length(self) -> usize {
        match self {
            Self::AesCm128HmacSha1_80 | Self::AesCm128HmacSha1_32 => 14,
            Self::AeadAes128Gcm | Self::AeadAes256Gcm => 12,
        }
    }
}

impl From<Profile> for SrtpSuite {
    fn from(profile: Profile) -> Self {
        match profile {
            Profile::AesCm128HmacSha1_80 => Self::AesCm128HmacSha1_80,
            Profile::AeadAes128Gcm => Self::AeadAes128Gcm,
            Profile::AeadAes256Gcm => Self::AeadAes256Gcm,
        }
    }
}

impl fmt::Display for SrtpSuite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a key of an SDP is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SrtpKeyError {
    /// Not an `inline:` key; there is no other method.
    #[error("the key does not begin with `inline:`")]
    Method,
    /// Not base64.
    #[error("the key is not base64")]
    Encoding,
    /// Too long or too short for the suite.
    #[error("{suite} takes {expected} bytes of key and salt, not {actual}")]
    Length {
        /// The suite.
        suite: SrtpSuite,
        /// Its key and salt together.
        expected: usize,
        /// What was given.
        actual: usize,
    },
    /// Not a number, 0, or more than 2^48.
    #[error("the lifetime of the key is not a number of packets from 1 to 2^48")]
    Lifetime,
    /// Not `value:length`, or a length of 0 or more than 16.
    #[error("the master key identifier is not VALUE:LENGTH with a length of 1 to {MOST_MKI} bytes")]
    Mki,
    /// Several keys at once: which of them counts would be told in every packet. Nobody offers that.
    #[error("more than one key in one crypto attribute")]
    Several,
}

/// A master key and salt for one direction. Never written to a log: its `Debug` tells the suite only.
#[derive(Clone, PartialEq, Eq)]
pub struct SrtpKeys {
    suite: SrtpSuite,
    /// Away from the plans that are copied about: one place to clear.
    secret: Box<Secret>,
}

#[derive(Clone, PartialEq, Eq)]
struct Secret {
    /// Key, then salt; zeros behind.
    material: [u8; MOST],
    /// The identifier that each packet carries, and how many bytes of it; none where the length is 0.
    mki: [u8; MOST_MKI],
    mki_length: u8,
}

impl fmt::Debug for SrtpKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SrtpKeys").field("suite", &self.suite).finish_non_exhaustive()
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.material.zeroize();
    }
}

impl SrtpKeys {
    /// Random bytes that [`Self::random`] wants.
    pub const RANDOM: usize = MOST;

    /// A key from its bytes: the master key and behind it the salt.
    ///
    /// # Errors
    /// [`SrtpKeyError::Length`].
    pub fn new(suite: SrtpSuite, key_and_salt: &[u8]) -> Result<Self, SrtpKeyError> {
        let expected = suite.key_length() + suite.salt_length();
        let mut keys = Self::empty(suite);
        match keys.secret.material.get_mut(..expected) {
            Some(place) if key_and_salt.len() == expected => place.copy_from_slice(key_and_salt),
            _ => return Err(SrtpKeyError::Length { suite, expected, actual: key_and_salt.len() }),
        }
        Ok(keys)
    }

    /// A key of ours, from randomness that is used for nothing else.
    #[must_use]
    pub fn random(suite: SrtpSuite, random: &[u8; Self::RANDOM]) -> Self {
        let mut keys = Self::empty(suite);
        let length = suite.key_length() + suite.salt_length();
        keys.secret.material[..length].copy_from_slice(&random[..length]);
        keys
    }

    /// What a handshake of DTLS gave, for what we send and for what we receive (RFC 5764 §4.2): the client's key, the
    /// server's, then their salts. None where there are not as many bytes as the suite has. `client` is that we are it.
    #[must_use]
    pub fn of_handshake(suite: SrtpSuite, material: &[u8], client: bool) -> Option<(Self, Self)> {
        let (keys, salts) = material.split_at_checked(suite.key_length() * 2)?;
        let (client_key, server_key) = keys.split_at(suite.key_length());
        let (client_salt, server_salt) = salts.split_at_checked(suite.salt_length())?;
        let clients = Self::new(suite, &[client_key, client_salt].concat()).ok()?;
        let servers = Self::new(suite, &[server_key, server_salt].concat()).ok()?;
        Some(if client { (clients, servers) } else { (servers, clients) })
    }

    fn empty(suite: SrtpSuite) -> Self {
        Self { suite, secret: Box::new(Secret { material: [0; MOST], mki: [0; MOST_MKI], mki_length: 0 }) }
    }

    /// Reads the key parameter of an `a=crypto` line: `inline:KEY[|LIFETIME][|MKI:LENGTH]`. The lifetime is checked and
    /// forgotten: no call lasts 2^31 packets.
    ///
    /// # Errors
    /// [`SrtpKeyError`]: the line cannot be used; others of the offer may.
    pub fn from_inline(suite: SrtpSuite, text: &str) -> Result<Self, SrtpKeyError> {
        let method = text.get(..7).filter(|method| method.eq_ignore_ascii_case("inline:"));
        let rest = method.and_then(|_| text.get(7..)).ok_or(SrtpKeyError::Method)?.trim();
        if rest.contains(';') {
            return Err(SrtpKeyError::Several);
        }
        let mut parts = rest.split('|');
        // Padding is often forgotten.
        let key = parts.next().unwrap_or_default().trim_end_matches('=');
        let mut bytes = STANDARD_NO_PAD.decode(key).map_err(|_| SrtpKeyError::Encoding)?;
        let keys = Self::new(suite, &bytes);
        bytes.zeroize();
        let mut keys = keys?;
        let (first, second) = (parts.next(), parts.next());
        if parts.next().is_some() {
            return Err(SrtpKeyError::Mki);
        }
        let (lifetime, mki) = match (first, second) {
            (Some(only), None) if only.contains(':') => (None, Some(only)),
            both => both,
        };
        lifetime.map_or(Ok(()), check_lifetime)?;
        if let Some(mki) = mki {
            (keys.secret.mki, keys.secret.mki_length) = parse_mki(mki).ok_or(SrtpKeyError::Mki)?;
        }
        Ok(keys)
    }

    /// The key parameter for an `a=crypto` line of ours. A secret: it belongs into SDP and nowhere else.
    #[must_use]
    pub fn to_inline(&self) -> String {
        let length = self.suite.key_length() + self.suite.salt_length();
        let mut text = format!("inline:{}", STANDARD.encode(&self.secret.material[..length]));
        if self.secret.mki_length > 0 {
            // What is longer than a number of 128 bits is not taken in the first place.
            let value = self.mki().iter().fold(0_u128, |value, byte| value << 8 | u128::from(*byte));
            // Writing to a string does not fail.
            let _ = write!(text, "|{value}:{}", self.secret.mki_length);
        }
        text
    }

    /// How packets are protected with it.
    #[must_use]
    pub const fn suite(&self) -> SrtpSuite {
        self.suite
    }

    /// The master key.
    pub(crate) fn key(&self) -> &[u8] {
        &self.secret.material[..self.suite.key_length()]
    }

    /// The master salt.
    pub(crate) fn salt(&self) -> &[u8] {
        &self.secret.material[self.suite.key_length()..][..self.suite.salt_length()]
    }

    /// The identifier in each packet; mostly empty.
    pub(crate) fn mki(&self) -> &[u8] {
        &self.secret.mki[..usize::from(self.secret.mki_length)]
    }
}

fn check_lifetime(text: &str) -> Result<(), SrtpKeyError> {
    let packets = match text.strip_prefix("2^") {
        Some(power) => power.parse().ok().and_then(|power| 1_u64.checked_shl(power)),
        None => text.parse().ok(),
    };
    packets.filter(|packets| (1..=LIFETIME).contains(packets)).map(drop).ok_or(SrtpKeyError::Lifetime)
}

/// `value:length`, the value decimal.
fn parse_mki(text: &str) -> Option<([u8; MOST_MKI], u8)> {
    let (value, length) = text.split_once(':')?;
    let value: u128 = value.parse().ok()?;
    let length: usize = length.parse().ok().filter(|length| (1..=MOST_MKI).contains(length))?;
    let bytes = value.to_be_bytes();
    let (zeros, kept) = bytes.split_at(MOST_MKI - length);
    let mut mki = [0; MOST_MKI];
    mki[..length].copy_from_slice(kept);
    zeros.iter().all(|byte| *byte == 0).then_some((mki, length as u8))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;
    use proptest::prelude::*;

    const SUITE: SrtpSuite = SrtpSuite::AesCm128HmacSha1_80;
    /// The example of RFC 4568 §9.1.
    const EXAMPLE: &str = "inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj";
    const EXAMPLE_BYTES: [u8; 30] = *b"wDfvg&T+)xG7@fb5jU,RaA}\\|p0%*#";

    #[test]
    fn keys_of_an_sdp_are_read() {
        for (tail, mki) in
            [("", &[][..]), ("|2^20", &[]), ("|1048576", &[]), ("|2^20|1:4", &[0, 0, 0, 1]), ("|258:2", &[1, 2])]
        {
            let keys = SrtpKeys::from_inline(SUITE, &format!("{EXAMPLE}{tail}")).unwrap();
            assert_eq!([keys.key(), keys.salt()].concat(), EXAMPLE_BYTES);
            assert_eq!(keys.mki(), mki, "{tail}");
        }
        let padded = SrtpKeys::new(SrtpSuite::AeadAes128Gcm, &[7; 28]).unwrap();
        assert!(padded.to_inline().ends_with('='));
        assert_eq!(SrtpKeys::from_inline(padded.suite(), &padded.to_inline()), Ok(padded.clone()));
        assert_eq!(SrtpKeys::from_inline(padded.suite(), padded.to_inline().trim_end_matches('=')), Ok(padded));
    }

    #[test]
    fn what_cannot_be_used_is_refused_with_its_reason() {
        let refused = |text: &str| SrtpKeys::from_inline(SUITE, text).unwrap_err();
        assert_eq!(refused("uri:https://example"), SrtpKeyError::Method);
        assert_eq!(refused("inline:"), SrtpKeyError::Length { suite: SUITE, expected: 30, actual: 0 });
        assert_eq!(refused("inline:AAAA"), SrtpKeyError::Length { suite: SUITE, expected: 30, actual: 3 });
        assert_eq!(refused("inline:%%%%"), SrtpKeyError::Encoding);
        for lifetime in ["2^49", "2^64", "2^999", "0", "x", "", "-1"] {
            assert_eq!(refused(&format!("{EXAMPLE}|{lifetime}")), SrtpKeyError::Lifetime, "{lifetime}");
        }
        for mki in ["1:0", "1:17", "256:1", ":1", "1:", "x:1", "1:4|1"] {
            assert_eq!(refused(&format!("{EXAMPLE}|2^20|{mki}")), SrtpKeyError::Mki, "{mki}");
        }
        assert_eq!(refused(&format!("{EXAMPLE}|2^20|1:4;{EXAMPLE}|2^20|2:4")), SrtpKeyError::Several);
    }

    #[test]
    fn nothing_that_is_printed_tells_the_key() {
        let keys = SrtpKeys::from_inline(SUITE, EXAMPLE).unwrap();
        let shown = format!("{keys:?}");
        assert_eq!(shown, "SrtpKeys { suite: AesCm128HmacSha1_80, .. }");
    }

    #[test]
    fn suites_are_known_by_name() {
        for suite in SrtpSuite::ALL {
            assert_eq!(SrtpSuite::from_name(&suite.name().to_lowercase()), Some(suite));
            assert_eq!(serde_json::to_string(&suite).unwrap(), format!("\"{suite}\""));
        }
        assert_eq!(SrtpSuite::from_name("F8_128_HMAC_SHA1_80"), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(at in 0..4_usize, random in prop::array::uniform32(any::<u8>()), mki in prop::option::of((any::<u32>(), 4_u8..16))) {
            let mut bytes = [0; SrtpKeys::RANDOM];
            bytes[..32].copy_from_slice(&random);
            let keys = SrtpKeys::random(SrtpSuite::ALL[at], &bytes);
            let text = mki.map_or(keys.to_inline(), |(value, length)| format!("{}|{value}:{length}", keys.to_inline()));
            let read = SrtpKeys::from_inline(keys.suite(), &text).unwrap();
            prop_assert_eq!(read.to_inline(), text);
            prop_assert_eq!(read.key(), keys.key());
        }

        #[test]
        fn any_text_is_survived(text: String) {
            let _ = SrtpKeys::from_inline(SUITE, &text);
            let _ = SrtpKeys::from_inline(SUITE, &format!("inline:{text}"));
            let _ = SrtpKeys::from_inline(SUITE, &format!("{EXAMPLE}|{text}"));
        }
    }
}
