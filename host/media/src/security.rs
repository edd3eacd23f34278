//! What offer and answer agreed on to protect a call's packets.

use crate::srtp::SrtpKeys;
use sha2::{Digest as _, Sha256, Sha384, Sha512};
use std::fmt;
use std::str::FromStr;

/// How the packets of a call are protected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Security {
    /// They are not: RTP/AVP.
    #[default]
    None,
    /// With the keys of offer and answer (RFC 4568).
    Sdes {
        /// The key of our SDP: what we send.
        send: SrtpKeys,
        /// The key of the far end's SDP: what it sends.
        receive: SrtpKeys,
    },
    /// With keys of a DTLS handshake on the media path (RFC 5763). Nothing is sent or heard before it is done.
    Dtls {
        /// Our side of it.
        role: DtlsRole,
        /// Of the far end's certificate, as its SDP says.
        fingerprint: Fingerprint,
    },
}

/// Who begins a DTLS handshake (`a=setup`, RFC 4145).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DtlsRole {
    /// We do: our SDP says `active`.
    Active,
    /// The far end does: our SDP says `passive`, or `actpass` and its answer `active`.
    Passive,
}

/// A hash of a certificate (`a=fingerprint`, RFC 8122).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint {
    hash: Hash,
    /// The digest; zeros behind.
    bytes: [u8; 64],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    const ALL: [Self; 3] = [Self::Sha256, Self::Sha384, Self::Sha512];

    const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha-256",
            Self::Sha384 => "sha-384",
            Self::Sha512 => "sha-512",
        }
    }

    const fn length(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }
}

/// Why a fingerprint of an SDP is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FingerprintError {
    /// A hash for which certificates can be forged, or that nobody uses.
    #[error("a {0:?} fingerprint does not prove who the far end is: sha-256, sha-384 or sha-512 is needed")]
    Hash(String),
    /// Not pairs of hexadecimal digits with colons, or not as many as the hash has.
    #[error("the {0} fingerprint is not its digest in pairs of hexadecimal digits")]
    Digest(&'static str),
}

impl Fingerprint {
    /// The SHA-256 fingerprint of a certificate in DER.
    #[must_use]
    pub fn of(certificate: &[u8]) -> Self {
        Self::with(Hash::Sha256, certificate)
    }

    /// Whether this certificate is the one that the fingerprint was made of.
    #[must_use]
    pub fn matches(&self, certificate: &[u8]) -> bool {
        // Public on both sides: nothing is told by the time that a comparison takes.
        *self == Self::with(self.hash, certificate)
    }

    fn with(hash: Hash, certificate: &[u8]) -> Self {
        let mut bytes = [0; 64];
        match hash {
            Hash::Sha256 => bytes[..32].copy_from_slice(&Sha256::digest(certificate)),
            Hash::Sha384 => bytes[..48].copy_from_slice(&Sha384::digest(certificate)),
            Hash::Sha512 => bytes.copy_from_slice(&Sha512::digest(certificate)),
        }
        Self { hash, bytes }
    }
}

impl fmt::Display for Fingerprint {
    /// As behind `a=fingerprint:`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.hash.name())?;
        for (n, byte) in self.bytes[..self.hash.length()].iter().enumerate() {
            write!(f, "{}{byte:02X}", if n == 0 { ' ' } else { ':' })?;
        }
        Ok(())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    /// Reads what stands behind `a=fingerprint:`.
    fn from_str(text: &str) -> Result<Self, FingerprintError> {
        let mut words = text.split_ascii_whitespace();
        let name = words.next().unwrap_or_default();
        let hash = Hash::ALL.into_iter().find(|hash| hash.name().eq_ignore_ascii_case(name));
        let hash = hash.ok_or_else(|| FingerprintError::Hash(name.chars().take(16).collect()))?;
        let wrong = FingerprintError::Digest(hash.name());
        let mut bytes = [0; 64];
        let mut pairs = words.next().unwrap_or_default().split(':');
        for byte in &mut bytes[..hash.length()] {
            let pair = pairs.next().filter(|pair| pair.len() == 2 && pair.bytes().all(|c| c.is_ascii_hexdigit()));
            *byte = pair.and_then(|pair| u8::from_str_radix(pair, 16).ok()).ok_or_else(|| wrong.clone())?;
        }
        if pairs.next().is_some() || words.next().is_some() {
            return Err(wrong);
        }
        Ok(Self { hash, bytes })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn fingerprints_are_read_as_they_are_written() {
        for hash in Hash::ALL {
            let one = Fingerprint::with(hash, b"certificate");
            let text = one.to_string();
            assert_eq!(text.parse(), Ok(one));
            assert_eq!(text.to_lowercase().parse(), Ok(one));
            assert!(one.matches(b"certificate") && !one.matches(b"another"));
        }
    }

    #[test]
    fn weak_or_broken_ones_are_refused_with_the_reason() {
        let refused = |text: &str| text.parse::<Fingerprint>().unwrap_err();
        let sha1 = "SHA-1 4A:AD:B9:B1:3F:82:18:3B:54:02:12:DF:3E:5D:49:6B:19:E5:7C:AB";
        assert!(refused(sha1).to_string().contains("SHA-1"));
        let good = Fingerprint::of(b"x").to_string();
        for broken in
            [&good[..good.len() - 1], &good[..good.len() - 3], "sha-256", &format!("{good}:00"), &format!("{good} x")]
        {
            assert_eq!(refused(broken), FingerprintError::Digest("sha-256"), "{broken}");
        }
        assert_eq!(refused(&good.replacen(':', ":+", 1)), FingerprintError::Digest("sha-256"));
        assert!(matches!(refused(""), FingerprintError::Hash(_)));
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text: String) {
            let _ = text.parse::<Fingerprint>();
            let _ = format!("sha-256 {text}").parse::<Fingerprint>();
        }
    }
}
