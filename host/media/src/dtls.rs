//! DTLS-SRTP (RFC 5763, RFC 5764): a handshake on the media path that gives the keys of SRTP.

use crate::error::MediaError;
use crate::security::Fingerprint;
use dimpl::{Config, DtlsCertificate, certificate};
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// The longest that a handshake takes, retransmissions included.
const LIMIT: Duration = Duration::from_secs(20);
/// When what was not answered is sent again first; the time doubles from there. Telephones are near (RFC 6347 §4.2.4.1
/// would wait a second), and a caller hears nothing until the handshake is done.
const RETRANSMIT: Duration = Duration::from_millis(400);

/// Who we are in every handshake of a plane.
pub(crate) struct Credentials {
    certificate: DtlsCertificate,
    config: Arc<Config>,
    fingerprint: Fingerprint,
}

impl Credentials {
    /// Makes a key and a certificate that nobody but the SDP vouches for (RFC 5763 §5).
    ///
    /// # Errors
    /// [`MediaError::Start`] when the system has no randomness.
    pub(crate) fn generate() -> Result<Self, MediaError> {
        let failed = |error: String| MediaError::Start { what: "a DTLS certificate", source: io::Error::other(error) };
        let certificate = certificate::generate_self_signed_certificate().map_err(|error| failed(error.to_string()))?;
        let config = Config::builder().flight_start_rto(RETRANSMIT).flight_retries(5).handshake_timeout(LIMIT);
        let config = Arc::new(config.build().map_err(|error| failed(error.to_string()))?);
        let fingerprint = Fingerprint::of(&certificate.certificate);
        Ok(Self { certificate, config, fingerprint })
    }

    /// Of the certificate, for SDP.
    pub(crate) const fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }
}
