//! TLS: who we are, and whom we believe (RFC 3261 §26.3, RFC 5922).

use std::fmt;
use std::path::PathBuf;

/// PEM text, from a file that is read again at each reload, or given as it is.
#[derive(Clone, PartialEq, Eq)]
pub enum Pem {
    /// Read from here.
    File(PathBuf),
    /// The text itself.
    Text(Vec<u8>),
}

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            // It may be a key.
            Self::Text(_) => f.write_str("Text(..)"),
        }
    }
}

/// A certificate with its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsIdentity {
    /// The chain, ours first.
    pub certificates: Pem,
    /// The key of the first of them (PKCS #8, SEC1 or PKCS #1).
    pub key: Pem,
}

/// Whether peers that connect to us have to show a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientCertificates {
    /// They are not asked for one.
    #[default]
    Ignored,
    /// They are asked; one that is shown has to be good.
    Requested,
    /// Without a good one there is no connection.
    Required,
}

/// Who we are in TLS, and whom we believe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsConfig {
    /// Our certificate: for those who connect to us, and shown to those we connect to where they ask. Needed for
    /// listeners of `tls` and `wss`.
    pub identity: Option<TlsIdentity>,
    /// Whether peers that connect to us have to show a certificate. Anything but `Ignored` needs `client_ca`.
    pub client_certificates: ClientCertificates,
    /// The authorities whose certificates peers that connect to us may show.
    pub client_ca: Option<Pem>,
    /// Authorities that we believe when we connect, besides those of the platform.
    pub extra_roots: Vec<Pem>,
    /// Whether the authorities of the platform are believed when we connect.
    pub platform_roots: bool,
}

impl Default for TlsConfig {
    fn default() -> Self {
        Self {
            identity: None,
            client_certificates: ClientCertificates::default(),
            client_ca: None,
            extra_roots: Vec::new(),
            platform_roots: true,
        }
    }
}
