//! TLS: who we are, and whom we believe (RFC 3261 §26.3, RFC 5922).

use crate::ua::SipError;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_platform_verifier::Verifier;
use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use tokio_rustls::{TlsAcceptor, TlsConnector};

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

/// A configuration that was read and checked.
pub(crate) struct Tls {
    acceptor: Option<TlsAcceptor>,
    /// Or why we cannot connect: nobody to believe.
    connector: Result<TlsConnector, String>,
}

/// The configuration in force. A new one counts for the connections that follow.
pub(crate) struct CurrentTls(Mutex<Arc<Tls>>);

impl fmt::Debug for CurrentTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CurrentTls")
    }
}

impl CurrentTls {
    pub(crate) fn new(tls: Tls) -> Self {
        Self(Mutex::new(Arc::new(tls)))
    }

    pub(crate) fn replace(&self, tls: Tls) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(tls);
    }

    fn get(&self) -> Arc<Tls> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// For those who connect to us; none without a certificate of ours.
    pub(crate) fn acceptor(&self) -> Option<TlsAcceptor> {
        self.get().acceptor.clone()
    }

    /// For those we connect to.
    pub(crate) fn connector(&self) -> Result<TlsConnector, String> {
        self.get().connector.clone()
    }
}

impl Tls {
    /// Reads all files. Blocks for as long as the disk takes.
    ///
    /// # Errors
    /// [`SipError::Tls`] with the part of the configuration that cannot be used.
    pub(crate) fn load(config: &TlsConfig) -> Result<Self, SipError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let ours = config.identity.as_ref().map(read_identity).transpose()?;
        let acceptor = match &ours {
            Some((chain, key)) => Some(acceptor(config, &provider, chain.clone(), key.clone_key())?),
            None => None,
        };
        let mut extra = Vec::new();
        for pem in &config.extra_roots {
            extra.extend(certificates("extra_roots", pem)?);
        }
        let verifier = verifier(config.platform_roots, extra, &provider)?;
        let connector = match verifier {
            Ok(verifier) => Ok(connector(verifier, &provider, ours)?),
            Err(why) => Err(why),
        };
        Ok(Self { acceptor, connector })
    }

    /// Whether listeners can be served.
    pub(crate) fn accepts(&self) -> bool {
        self.acceptor.is_some()
    }
}

fn failed(part: &'static str, why: impl fmt::Display) -> SipError {
    SipError::Tls { part, why: why.to_string() }
}

fn acceptor(
    config: &TlsConfig,
    provider: &Arc<CryptoProvider>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<TlsAcceptor, SipError> {
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| failed("identity", error))?;
    let builder = if config.client_certificates == ClientCertificates::Ignored {
        builder.with_no_client_auth()
    } else {
        let pem = config.client_ca.as_ref();
        let pem = pem.ok_or_else(|| failed("client_ca", "it is needed where certificates of clients are asked for"))?;
        let roots = Arc::new(roots("client_ca", certificates("client_ca", pem)?)?);
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider.clone());
        let verifier = match config.client_certificates {
            ClientCertificates::Required => verifier,
            _ => verifier.allow_unauthenticated(),
        };
        builder.with_client_cert_verifier(verifier.build().map_err(|error| failed("client_ca", error))?)
    };
    let server = builder.with_single_cert(chain, key).map_err(|error| failed("identity", error))?;
    Ok(TlsAcceptor::from(Arc::new(server)))
}

/// Whom we believe; the inner error says why nobody, which only matters once somebody is to be called by TLS.
fn verifier(
    platform: bool,
    extra: Vec<CertificateDer<'static>>,
    provider: &Arc<CryptoProvider>,
) -> Result<Result<Arc<dyn ServerCertVerifier>, String>, SipError> {
    if platform {
        match Verifier::new_with_extra_roots(extra.clone(), provider.clone()) {
            Ok(verifier) => return Ok(Ok(Arc::new(verifier))),
            Err(error) if extra.is_empty() => return Ok(Err(format!("the platform has no authorities: {error}"))),
            Err(error) => tracing::warn!(%error, "the platform has no authorities; only tls.extra_roots are believed"),
        }
    }
    if extra.is_empty() {
        return Ok(Err("no authority is believed: give extra_roots, or allow those of the platform".to_owned()));
    }
    let roots = Arc::new(roots("extra_roots", extra)?);
    let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider.clone()).build();
    Ok(Ok(verifier.map_err(|error| failed("extra_roots", error))?))
}

fn connector(
    verifier: Arc<dyn ServerCertVerifier>,
    provider: &Arc<CryptoProvider>,
    ours: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
) -> Result<TlsConnector, SipError> {
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| failed("identity", error))?
        // Not less strict than the default: it is the platform's own rules, with the operator's roots added.
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let client = match ours {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key).map_err(|error| failed("identity", error))?,
        None => builder.with_no_client_auth(),
    };
    Ok(TlsConnector::from(Arc::new(client)))
}

impl Pem {
    fn read(&self, part: &'static str) -> Result<Cow<'_, [u8]>, SipError> {
        match self {
            Self::Text(text) => Ok(Cow::Borrowed(text)),
            Self::File(path) => std::fs::read(path)
                .map(Cow::Owned)
                .map_err(|error| failed(part, format_args!("{} cannot be read: {error}", path.display()))),
        }
    }
}

fn certificates(part: &'static str, pem: &Pem) -> Result<Vec<CertificateDer<'static>>, SipError> {
    let text = pem.read(part)?;
    let found = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>();
    let found = found.map_err(|error| failed(part, format_args!("it is no PEM: {error}")))?;
    if found.is_empty() {
        return Err(failed(part, "it holds no certificate in PEM (-----BEGIN CERTIFICATE-----)"));
    }
    Ok(found)
}

fn read_identity(identity: &TlsIdentity) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), SipError> {
    let chain = certificates("identity", &identity.certificates)?;
    // What the key's text is must not stand in an error.
    let key = PrivateKeyDer::from_pem_slice(&identity.key.read("identity")?)
        .map_err(|_| failed("identity", "the key is no private key in PEM (-----BEGIN PRIVATE KEY-----)"))?;
    Ok((chain, key))
}

fn roots(part: &'static str, certificates: Vec<CertificateDer<'static>>) -> Result<RootCertStore, SipError> {
    let mut store = RootCertStore::empty();
    for certificate in certificates {
        store.add(certificate).map_err(|error| failed(part, error))?;
    }
    Ok(store)
}

/// The SIP identities of a verified certificate (RFC 5922 §7.1): the hosts of its `sip:` URIs without user; where there
/// is none of them, its DNS names. In lower case.
pub(crate) fn identities(chain: Option<&[CertificateDer<'_>]>) -> Vec<String> {
    let Some(Ok(certificate)) = chain.and_then(<[_]>::first).map(webpki::EndEntityCert::try_from) else {
        return Vec::new();
    };
    let uris: Vec<String> = certificate.valid_uri_names().filter_map(sip_host).collect();
    if uris.is_empty() { certificate.valid_dns_names().map(str::to_ascii_lowercase).collect() } else { uris }
}

fn sip_host(uri: &str) -> Option<String> {
    let rest = uri.get(..4).filter(|scheme| scheme.eq_ignore_ascii_case("sip:")).map(|_| &uri[4..])?;
    // With a user it names a person, not a server.
    (!rest.is_empty() && !rest.contains(['@', ';', '?'])).then(|| rest.to_ascii_lowercase())
}
