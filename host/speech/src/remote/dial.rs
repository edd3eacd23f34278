//! Connections to providers: one HTTP client and one TLS configuration for all
//! of them.

use super::{Key, Provider, ProviderFailure, shorten};
use crate::process::millis;
use futures_util::{SinkExt as _, StreamExt as _};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::Verifier;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Bytes, Message, Utf8Bytes};
use url::Url;

/// Longest message of a WebSocket: two seconds of 48 kHz, in base64, and room to spare.
const MAX_MESSAGE: usize = 1 << 20;
/// Bytes of an answer that says what went wrong.
const MAX_WORDS: usize = 4_096;
/// How long an unkind server may take to take what we send.
const WRITE: Duration = Duration::from_secs(5);

/// TLS or the HTTP client cannot be set up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("connections to speech providers cannot be made: {0}")]
pub struct DialerError(String);

/// Connects to providers. Cheap to clone.
#[derive(Clone)]
pub struct Dialer {
    http: reqwest::Client,
    tls: TlsConnector,
}

impl std::fmt::Debug for Dialer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dialer").finish_non_exhaustive()
    }
}

impl Dialer {
    /// Believes the authorities of the platform, unless `platform` says no, and those in `roots` (PEM files).
    ///
    /// # Errors
    /// A file that cannot be read or holds no certificate.
    pub fn new(platform: bool, roots: &[PathBuf]) -> Result<Self, DialerError> {
        let fail = |what: &dyn std::fmt::Display| DialerError(what.to_string());
        let mut extra = Vec::new();
        for path in roots {
            let named = |what: &dyn std::fmt::Display| DialerError(format!("{}: {what}", path.display()));
            let found = CertificateDer::pem_file_iter(path).map_err(|error| named(&error))?;
            let before = extra.len();
            for certificate in found {
                extra.push(certificate.map_err(|error| named(&error))?);
            }
            if extra.len() == before {
                return Err(named(&"no certificate in PEM"));
            }
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| fail(&error))?;
        let mut store = RootCertStore::empty();
        for certificate in &extra {
            store.add(certificate.clone()).map_err(|error| fail(&error))?;
        }
        let platform = if platform { Verifier::new_with_extra_roots(extra, provider).ok() } else { None };
        let tls = match platform {
            // Not less strict than the default: it is the platform's own rules, with the operator's roots added.
            Some(verifier) => builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)),
            // A machine without authorities still speaks with those that the operator named, and without TLS.
            None => builder.with_root_certificates(store),
        };
        let tls = tls.with_no_client_auth();
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls.clone())
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .referer(false)
            .pool_max_idle_per_host(16)
            .pool_idle_timeout(Duration::from_secs(30))
            .user_agent(AGENT)
            .build()
            .map_err(|error| fail(&error.without_url()))?;
        Ok(Self { http, tls: TlsConnector::from(Arc::new(tls)) })
    }

    /// A request to a provider, with its key.
    pub(super) fn post(&self, provider: &Provider, url: Url) -> reqwest::RequestBuilder {
        let request = self.http.post(url);
        match bearer(provider.key.as_ref()) {
            Some(value) => request.header(AUTHORIZATION, value),
            None => request,
        }
    }

    /// Sends a request and returns what begins to come, if its status is a success.
    pub(super) async fn exchange(
        &self,
        provider: &Provider,
        request: reqwest::RequestBuilder,
    ) -> Result<Body, ProviderFailure> {
        let limit = provider.patience.connect + provider.patience.first;
        let limit_ms = millis(limit);
        let answer = match timeout(limit, request.send()).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(ProviderFailure::of_http(error, limit_ms)),
            Err(_) => return Err(ProviderFailure::TimedOut { what: "the answer", limit_ms }),
        };
        let status = answer.status();
        let header = |name| answer.headers().get(name).and_then(|v: &HeaderValue| v.to_str().ok()).map(str::to_owned);
        if !status.is_success() {
            let retry_after = header(RETRY_AFTER);
            let words = beginning(answer, provider.patience.stall).await;
            return Err(ProviderFailure::of_status(status.as_u16(), retry_after.as_deref(), &words));
        }
        let content_type = header(CONTENT_TYPE).unwrap_or_default().to_ascii_lowercase();
        Ok(Body { content_type, answer, patience: provider.patience.stall, read: 0 })
    }

    /// Opens a WebSocket, with what stands in `Authorization`.
    pub(super) async fn websocket(
        &self,
        provider: &Provider,
        url: &Url,
        authorization: Option<HeaderValue>,
    ) -> Result<Socket, ProviderFailure> {
        let limit = provider.patience.connect;
        let open = self.open(url, authorization);
        match timeout(limit, open).await {
            Ok(opened) => opened,
            Err(_) => Err(ProviderFailure::TimedOut { what: "connecting", limit_ms: millis(limit) }),
        }
    }

    async fn open(&self, url: &Url, authorization: Option<HeaderValue>) -> Result<Socket, ProviderFailure> {
        let unreachable = |what: &dyn std::fmt::Display| ProviderFailure::Unreachable(shorten(&what.to_string()));
        let host = url.host_str().ok_or_else(|| unreachable(&"the URL has no host"))?;
        let bare = host.trim_matches(['[', ']']);
        let port = url.port_or_known_default().ok_or_else(|| unreachable(&"the URL has no port"))?;
        let mut request = url.as_str().into_client_request().map_err(|error| unreachable(&error))?;
        request.headers_mut().insert(reqwest::header::USER_AGENT, HeaderValue::from_static(AGENT));
        if let Some(value) = authorization {
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        let tcp = TcpStream::connect((bare, port)).await.map_err(|error| unreachable(&error))?;
        // Small messages that somebody waits for.
        let _ = tcp.set_nodelay(true);
        let stream: Box<dyn Stream> = if url.scheme() == "wss" {
            let name = ServerName::try_from(bare.to_owned()).map_err(|error| unreachable(&error))?;
            Box::new(self.tls.connect(name, tcp).await.map_err(|error| unreachable(&error))?)
        } else {
            Box::new(tcp)
        };
        let config = WebSocketConfig::default()
            .max_message_size(Some(MAX_MESSAGE))
            .max_frame_size(Some(MAX_MESSAGE))
            .write_buffer_size(0)
            .max_write_buffer_size(2 * MAX_MESSAGE);
        let opened = tokio_tungstenite::client_async_with_config(request, stream, Some(config)).await;
        let (socket, _) = opened.map_err(ProviderFailure::of_websocket)?;
        Ok(Socket { socket })
    }
}

const AGENT: &str = concat!("callbox/", env!("CARGO_PKG_VERSION"));

/// `Bearer KEY`.
pub(super) fn bearer(key: Option<&Key>) -> Option<HeaderValue> {
    credentials("Bearer", key)
}

/// `SCHEME KEY`, in a header value that is not printed.
pub(super) fn credentials(scheme: &str, key: Option<&Key>) -> Option<HeaderValue> {
    // Who reads the configuration has refused keys that no header can carry.
    let mut value = HeaderValue::from_str(&format!("{scheme} {}", key?.expose())).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// The beginning of a body, for people.
async fn beginning(mut answer: reqwest::Response, patience: Duration) -> String {
    let mut words = Vec::new();
    let read = async {
        while let Ok(Some(piece)) = answer.chunk().await {
            words.extend_from_slice(&piece[..piece.len().min(MAX_WORDS - words.len())]);
            if words.len() >= MAX_WORDS {
                break;
            }
        }
    };
    // What has come by then must do.
    let _ = timeout(patience, read).await;
    String::from_utf8_lossy(&words).into_owned()
}

/// The body of an answer, as it comes.
pub(super) struct Body {
    /// In lower case, with its parameters.
    pub(super) content_type: String,
    answer: reqwest::Response,
    patience: Duration,
    read: usize,
}

impl Body {
    /// The next piece; none at the end.
    pub(super) async fn next(&mut self, limit: usize) -> Result<Option<Bytes>, ProviderFailure> {
        let limit_ms = millis(self.patience);
        match timeout(self.patience, self.answer.chunk()).await {
            Ok(Ok(None)) => Ok(None),
            Ok(Ok(Some(piece))) => {
                self.read = self.read.saturating_add(piece.len());
                if self.read > limit {
                    return Err(ProviderFailure::TooMuch { what: "an answer", limit });
                }
                Ok(Some(piece))
            }
            Ok(Err(error)) => Err(ProviderFailure::of_http(error, limit_ms)),
            Err(_) => Err(ProviderFailure::TimedOut { what: "the next piece", limit_ms }),
        }
    }

    /// All of it.
    pub(super) async fn whole(mut self, limit: usize) -> Result<Vec<u8>, ProviderFailure> {
        let mut body = Vec::new();
        while let Some(piece) = self.next(limit).await? {
            body.extend_from_slice(&piece);
        }
        Ok(body)
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// What comes over a WebSocket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Came {
    Text(Utf8Bytes),
    Binary(Bytes),
    /// The far end is done; its words, if it had any.
    Closed {
        /// As it should be: 1000.
        normally: bool,
        reason: String,
    },
}

/// A WebSocket to a provider. Dropping it ends the connection.
pub(super) struct Socket {
    socket: WebSocketStream<Box<dyn Stream>>,
}

impl Socket {
    /// Sends a JSON text.
    pub(super) async fn text(&mut self, message: &serde_json::Value) -> Result<(), ProviderFailure> {
        self.send(Message::text(message.to_string())).await
    }

    /// Sends audio.
    pub(super) async fn binary(&mut self, bytes: Vec<u8>) -> Result<(), ProviderFailure> {
        self.send(Message::binary(bytes)).await
    }

    async fn send(&mut self, message: Message) -> Result<(), ProviderFailure> {
        match timeout(WRITE, self.socket.send(message)).await {
            Ok(sent) => sent.map_err(ProviderFailure::of_websocket),
            Err(_) => Err(ProviderFailure::TimedOut { what: "taking what we sent", limit_ms: millis(WRITE) }),
        }
    }

    /// What comes next, however long it takes. Safe to cancel.
    pub(super) async fn next(&mut self) -> Result<Came, ProviderFailure> {
        loop {
            return Ok(match self.socket.next().await {
                Some(Ok(Message::Text(text))) => Came::Text(text),
                Some(Ok(Message::Binary(bytes))) => Came::Binary(bytes),
                Some(Ok(Message::Close(frame))) => {
                    let (code, reason) =
                        frame.map_or((1_000, String::new()), |frame| (u16::from(frame.code), shorten(&frame.reason)));
                    let reason = if code == 1_000 || !reason.is_empty() { reason } else { format!("code {code}") };
                    Came::Closed { normally: code == 1_000, reason }
                }
                // Answered by the library.
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => continue,
                Some(Err(error)) => return Err(ProviderFailure::of_websocket(error)),
                None => Came::Closed { normally: false, reason: String::new() },
            });
        }
    }

    /// What comes next, within a time.
    pub(super) async fn next_within(&mut self, what: &'static str, limit: Duration) -> Result<Came, ProviderFailure> {
        match timeout(limit, self.next()).await {
            Ok(came) => came,
            Err(_) => Err(ProviderFailure::TimedOut { what, limit_ms: millis(limit) }),
        }
    }

    /// Says goodbye, without waiting for an answer.
    pub(super) async fn close(mut self) {
        let _ = timeout(Duration::from_millis(200), self.socket.close(None)).await;
    }
}
