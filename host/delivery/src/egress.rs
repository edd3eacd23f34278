//! The HTTP client for customers' systems. A host is resolved once per connection,
//! every address it has is checked, and the connection goes to a checked one: what
//! a name server says a second later changes nothing. Redirects are not followed,
//! proxies from the environment are not used, answers are read up to a limit.

use crate::guard::{EgressPolicy, Refused};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use std::error::Error;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Addresses of one name that are looked at.
const MAX_ADDRESSES: usize = 32;
/// Look-ups at once: each holds a thread until the system's resolver gives up.
const MAX_LOOKUPS: usize = 256;
const CONNECT: Duration = Duration::from_secs(5);

/// Finds the addresses of a host.
pub trait Resolver: Send + Sync + 'static {
    /// All addresses of `host`.
    fn resolve(&self, host: &str) -> Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;
}

/// The resolver of the operating system.
#[derive(Clone, Debug)]
pub struct SystemResolver(Arc<Semaphore>);

impl Default for SystemResolver {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_LOOKUPS)))
    }
}

impl Resolver for SystemResolver {
    fn resolve(&self, host: &str) -> Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>> {
        let (host, turns) = (host.to_owned(), self.0.clone());
        Box::pin(async move {
            let turn = turns.acquire_owned().await.map_err(io::Error::other)?;
            tokio::task::spawn_blocking(move || {
                let found = (host.as_str(), 0).to_socket_addrs().map(|all| all.map(|a| a.ip()).collect());
                drop(turn);
                found
            })
            .await?
        })
    }
}

/// A resolver whose answers are checked before anybody connects.
struct Guarded {
    resolver: Arc<dyn Resolver>,
    policy: EgressPolicy,
}

impl reqwest::dns::Resolve for Guarded {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let (found, policy) = (self.resolver.resolve(name.as_str()), self.policy.clone());
        Box::pin(async move {
            let mut addresses = found.await?;
            if addresses.is_empty() {
                return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address").into());
            }
            addresses.truncate(MAX_ADDRESSES);
            // One bad address spoils the name: it is either broken or an attack.
            for address in &addresses {
                policy.check_address(*address)?;
            }
            let addresses = addresses.into_iter().map(|ip| SocketAddr::new(ip, 0));
            Ok(Box::new(addresses) as reqwest::dns::Addrs)
        })
    }
}

/// Why there was no answer. No text holds the URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EgressError {
    /// The guard said no.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The whole exchange took too long.
    #[error("no answer in time")]
    TimedOut,
    /// The name cannot be resolved, nobody listens, or TLS failed.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// The connection broke, or what came is not HTTP.
    #[error("the exchange broke: {0}")]
    Broken(String),
    /// The answer is longer than the limit.
    #[error("the answer is longer than {0} bytes")]
    TooLarge(usize),
    /// A header cannot be sent.
    #[error("the header {0:?} cannot be sent")]
    Header(String),
}

impl EgressError {
    /// Stable, for attempts and logs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Refused(Refused::Address(_)) => "blocked_address",
            Self::Refused(_) => "bad_url",
            Self::TimedOut => "timeout",
            Self::Connect(_) => "connect",
            Self::Broken(_) => "broken",
            Self::TooLarge(_) => "too_large",
            Self::Header(_) => "bad_header",
        }
    }
}

/// The client cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the HTTP client cannot be made: {0}")]
pub struct ClientError(String);

/// What to send.
pub(crate) struct Post<'a> {
    pub(crate) url: &'a str,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Bytes,
    /// From here to the last byte that is wanted.
    pub(crate) timeout: Duration,
}

/// What came, with the rest of it still to be read.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<String>,
    /// In lower case.
    pub(crate) content_type: Option<String>,
    response: reqwest::Response,
}

impl Answer {
    /// The whole body, up to a limit.
    pub(crate) async fn body(mut self, limit: usize) -> Result<Vec<u8>, EgressError> {
        let mut body = Vec::new();
        while let Some(chunk) = self.response.chunk().await.map_err(explain)? {
            if body.len() + chunk.len() > limit {
                return Err(EgressError::TooLarge(limit));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    /// The body as it comes, up to a limit.
    pub(crate) fn stream(self, limit: usize) -> impl Stream<Item = Result<Bytes, EgressError>> + Send {
        let mut read = 0;
        self.response.bytes_stream().map(move |chunk| {
            let chunk = chunk.map_err(explain)?;
            read += chunk.len();
            if read > limit { Err(EgressError::TooLarge(limit)) } else { Ok(chunk) }
        })
    }

    /// The beginning of the body, as far as it comes within `patience`. What follows
    /// is not read.
    pub(crate) async fn beginning(mut self, limit: usize, patience: Duration) -> Vec<u8> {
        let mut body = Vec::new();
        let read = async {
            while let Ok(Some(chunk)) = self.response.chunk().await {
                body.extend_from_slice(&chunk[..chunk.len().min(limit - body.len())]);
                if body.len() >= limit {
                    break;
                }
            }
        };
        // Late is as good as short: only the beginning is for people to read.
        let _ = tokio::time::timeout(patience, read).await;
        body
    }
}

/// The way out. Cloning gives another handle to the same connections.
#[derive(Clone, Debug)]
pub struct Egress {
    client: reqwest::Client,
    policy: EgressPolicy,
}

impl Egress {
    /// A client that keeps to `policy`.
    pub fn new(policy: EgressPolicy) -> Result<Self, ClientError> {
        Self::with_resolver(policy, Arc::new(SystemResolver::default()))
    }

    /// The same, with names resolved elsewhere.
    pub fn with_resolver(policy: EgressPolicy, resolver: Arc<dyn Resolver>) -> Result<Self, ClientError> {
        let builder = || {
            reqwest::Client::builder()
                .dns_resolver(Guarded { resolver: resolver.clone(), policy: policy.clone() })
                .redirect(reqwest::redirect::Policy::none())
                .no_proxy()
                .referer(false)
                .connect_timeout(CONNECT)
                .pool_max_idle_per_host(4)
                .pool_idle_timeout(Duration::from_secs(20))
                .user_agent(concat!("callbox/", env!("CARGO_PKG_VERSION")))
        };
        let client = builder().build().or_else(|error| {
            // Without root certificates plain HTTP still works; https:// is refused request by request.
            let error = describe(&error);
            tracing::error!(%error, "no https:// receiver can be verified: install the package ca-certificates");
            builder().tls_certs_only(Vec::<reqwest::Certificate>::new()).build()
        });
        let client = client.map_err(|error| ClientError(describe(&error)))?;
        Ok(Self { client, policy })
    }

    /// Sends and waits for the head of the answer.
    async fn send(&self, post: Post<'_>) -> Result<Answer, EgressError> {
        let url = self.policy.check_url(post.url)?;
        let mut headers = HeaderMap::new();
        for (name, value) in post.headers {
            let wrong = || EgressError::Header(name.clone());
            let mut value = HeaderValue::from_str(&value).map_err(|_| wrong())?;
            value.set_sensitive(true);
            headers.insert(HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?, value);
        }
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let response = self.client.post(url).headers(headers).body(post.body).send().await.map_err(explain)?;
        let retry_after = response.headers().get(RETRY_AFTER).and_then(|v| v.to_str().ok()).map(str::to_owned);
        let content_type = response.headers().get(CONTENT_TYPE).and_then(|v| v.to_str().ok());
        let content_type = content_type.map(str::to_ascii_lowercase);
        Ok(Answer { status: response.status().as_u16(), retry_after, content_type, response })
    }

    /// Sends, and lets `read` take what it wants of the answer, all within the time.
    pub(crate) async fn exchange<T, F>(&self, post: Post<'_>, read: impl FnOnce(Answer) -> F) -> Result<T, EgressError>
    where
        F: Future<Output = Result<T, EgressError>>,
    {
        let timeout = post.timeout;
        let whole = async { read(self.send(post).await?).await };
        tokio::time::timeout(timeout, whole).await.unwrap_or(Err(EgressError::TimedOut))
    }
}

/// The causes of an error, without the URL.
fn describe(error: &reqwest::Error) -> String {
    let mut cause = error.source();
    let mut parts = Vec::new();
    while let Some(error) = cause {
        parts.push(error.to_string());
        cause = error.source();
    }
    let text = if parts.is_empty() { "unknown".to_owned() } else { parts.join(": ") };
    text.chars().take(300).collect()
}

fn explain(error: reqwest::Error) -> EgressError {
    let error = error.without_url();
    let mut cause: Option<&(dyn Error + 'static)> = error.source();
    while let Some(inner) = cause {
        if let Some(refused) = inner.downcast_ref::<Refused>() {
            return refused.clone().into();
        }
        cause = inner.source();
    }
    if error.is_timeout() {
        EgressError::TimedOut
    } else if error.is_connect() {
        EgressError::Connect(describe(&error))
    } else {
        EgressError::Broken(describe(&error))
    }
}
