//! The keys of SRTP, as DTLS gives them.
//!
//! str0m keeps these keys for itself, and would have every packet pass through it. But whoever provides its DTLS sees
//! them: ours is that of aws-lc-rs with a tap, which keeps a copy for the session that the instance was made for.

use std::cell::RefCell;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;
use str0m::config::{CryptoProvider, DtlsCert, DtlsVersion};
use str0m::crypto::CryptoError;
use str0m::crypto::dtls::{DtlsImplError, DtlsInstance, DtlsOutput, DtlsProvider, ProtocolVersion, SrtpProfile};

/// How packets are protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// `SRTP_AES128_CM_HMAC_SHA1_80` (RFC 5764): keys of 16 bytes, salts of 14.
    AesCm128HmacSha1_80,
    /// `SRTP_AEAD_AES_128_GCM` (RFC 7714): keys of 16 bytes, salts of 12.
    AeadAes128Gcm,
    /// `SRTP_AEAD_AES_256_GCM` (RFC 7714): keys of 32 bytes, salts of 12.
    AeadAes256Gcm,
}

/// What a handshake gave.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    /// How packets are protected.
    pub profile: Profile,
    /// The client's key, the server's, the client's salt, the server's (RFC 5764 §4.2).
    pub material: Vec<u8>,
    /// We are the client.
    pub client: bool,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("profile", &self.profile).field("client", &self.client).finish_non_exhaustive()
    }
}

/// Where the keys of one instance come to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tap(Arc<Mutex<Option<Keys>>>);

impl Tap {
    /// The keys, once.
    pub(crate) fn take(&self) -> Option<Keys> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

thread_local! {
    /// The tap of the instance that this thread has made last.
    static LAST: RefCell<Option<Tap>> = const { RefCell::new(None) };
}

/// The provider of everything cryptographic, one for the process.
pub(crate) fn provider() -> &'static Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER.get_or_init(|| Arc::new(CryptoProvider { dtls_provider: &Tapped, ..plain().clone() }))
}

fn plain() -> &'static CryptoProvider {
    static PLAIN: OnceLock<CryptoProvider> = OnceLock::new();
    PLAIN.get_or_init(str0m::crypto::from_feature_flags)
}

/// Makes a key and a certificate that nobody but the SDP vouches for; none without randomness.
#[must_use]
pub fn generate_certificate() -> Option<DtlsCert> {
    plain().dtls_provider.generate_certificate()
}

/// The SHA-256 of a certificate, for `a=fingerprint`.
#[must_use]
pub fn fingerprint(certificate: &DtlsCert) -> [u8; 32] {
    plain().sha256_provider.sha256(&certificate.certificate)
}

/// Builds what makes exactly one instance of DTLS, and gives its tap.
pub(crate) fn tapped<T>(build: impl FnOnce() -> T) -> (T, Tap) {
    LAST.take();
    let built = build();
    (built, LAST.take().unwrap_or_default())
}

#[derive(Debug)]
struct Tapped;

impl DtlsProvider for Tapped {
    fn generate_certificate(&self) -> Option<DtlsCert> {
        plain().dtls_provider.generate_certificate()
    }

    fn new_dtls(
        &self,
        certificate: &DtlsCert,
        now: Instant,
        version: DtlsVersion,
        mtu: Option<usize>,
    ) -> Result<Box<dyn DtlsInstance>, CryptoError> {
        let inner = plain().dtls_provider.new_dtls(certificate, now, version, mtu)?;
        let tap = Tap::default();
        LAST.set(Some(tap.clone()));
        Ok(Box::new(Instance { inner, tap }))
    }
}

#[derive(Debug)]
struct Instance {
    inner: Box<dyn DtlsInstance>,
    tap: Tap,
}

impl DtlsInstance for Instance {
    fn set_active(&mut self, active: bool) {
        self.inner.set_active(active);
    }

    fn handle_packet(&mut self, packet: &[u8]) -> Result<(), DtlsImplError> {
        self.inner.handle_packet(packet)
    }

    fn poll_output<'a>(&mut self, buffer: &'a mut [u8]) -> DtlsOutput<'a> {
        let client = self.inner.is_active();
        let output = self.inner.poll_output(buffer);
        if let DtlsOutput::KeyingMaterial(material, profile) = &output {
            let profile = match *profile {
                SrtpProfile::AES128_CM_SHA1_80 => Some(Profile::AesCm128HmacSha1_80),
                SrtpProfile::AEAD_AES_128_GCM => Some(Profile::AeadAes128Gcm),
                SrtpProfile::AEAD_AES_256_GCM => Some(Profile::AeadAes256Gcm),
                _ => None,
            };
            let keys = profile.map(|profile| Keys { profile, material: material.as_ref().to_vec(), client });
            *self.tap.0.lock().unwrap_or_else(PoisonError::into_inner) = keys;
        }
        output
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), DtlsImplError> {
        self.inner.handle_timeout(now)
    }

    fn send_application_data(&mut self, data: &[u8]) -> Result<usize, DtlsImplError> {
        self.inner.send_application_data(data)
    }

    fn is_active(&self) -> bool {
        self.inner.is_active()
    }

    fn protocol_version(&self) -> Option<ProtocolVersion> {
        self.inner.protocol_version()
    }

    fn is_closing(&self) -> bool {
        self.inner.is_closing()
    }

    fn is_closed(&self) -> bool {
        self.inner.is_closed()
    }

    fn close(&mut self) -> Result<(), DtlsImplError> {
        self.inner.close()
    }
}
