//! Configuration: defaults, then a file, then the environment, then flags; the
//! later wins.
//!
//! * The file is `--config FILE`, else `/etc/callbox/host.toml` and then
//!   `./callbox-host.toml`, where they exist. (`callbox.toml` is a script's
//!   manifest.)
//! * The environment: `CALLBOX_` and the path of the value with `__` between
//!   its parts, for example `CALLBOX_HTTP__BIND=0.0.0.0:8080`.
//! * Flags are those of `callbox serve --help`.

use crate::rooms;
use crate::speech::Speech;
use crate::webrtc::WebRtc;
use callbox_call::{InboundPolicy, TrunkPolicy};
use callbox_delivery::WorkerConfig;
use callbox_media::MediaConfig;
use callbox_sip::SipLimits;
use callbox_store::quotas::Quotas;
use callbox_store::{KeySource, SealingKey, StoreOptions};
use callbox_traces::TraceConfig;
use figment::providers::{Env, Format, Serialized, Toml};
use figment::{Figment, Source};
use miette::{Context, Diagnostic, IntoDiagnostic, miette};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Everything `callbox serve` can be told.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// Where the database, scripts, recordings and caches live, unless said otherwise below.
    pub(crate) data_dir: PathBuf,
    pub(crate) http: Http,
    pub(crate) sip: Sip,
    pub(crate) tls: Tls,
    pub(crate) media: Media,
    pub(crate) webrtc: WebRtc,
    pub(crate) store: Store,
    pub(crate) speech: Speech,
    pub(crate) script: Script,
    pub(crate) egress: Egress,
    pub(crate) delivery: Delivery,
    pub(crate) outbound: Outbound,
    pub(crate) sources: Sources,
    pub(crate) trunks: Trunks,
    pub(crate) calls: Calls,
    /// What a tenant may use, unless it has its own limits.
    pub(crate) quotas: Quotas,
    pub(crate) metrics: Metrics,
    pub(crate) telemetry: Telemetry,
    pub(crate) log: Log,
}

/// Figures for Prometheus.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Metrics {
    /// Where `GET /metrics` is served, for example `127.0.0.1:9464`; nowhere unless given. Not for strangers.
    pub(crate) bind: Option<SocketAddr>,
}

/// Traces for an OpenTelemetry collector.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Telemetry {
    /// Where traces are sent, by OTLP over HTTP, for example `http://127.0.0.1:4318/v1/traces`; nowhere unless given. Headers
    /// come from `OTEL_EXPORTER_OTLP_HEADERS`.
    pub(crate) otlp: Option<String>,
    /// `service.name` of what is sent.
    pub(crate) service: String,
    /// The share of calls that are traced, 0 to 1.
    pub(crate) share: f64,
    /// Spans that wait for the collector at most; what is more is dropped and counted.
    pub(crate) queue: usize,
    /// How long spans wait for others to go with them.
    pub(crate) delay_ms: u32,
}

/// Bringing results to customers' systems.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Delivery {
    /// Requests that begin in a second for one endpoint, from this host; 0 for no limit. What is more waits in the outbox.
    pub(crate) requests_per_second: u32,
}

/// The REST API.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Http {
    /// Address and port.
    pub(crate) bind: SocketAddr,
    /// The API's own address in documents, for example `https://calls.example.com`.
    pub(crate) public_url: Option<String>,
    /// Where the other hosts of a deployment reach the API of this one, for example `http://10.0.0.11:8080`: they pass on
    /// what they are asked about calls that run here, with the keys. By default the address in `bind`, where that is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) peer_url: Option<String>,
    /// Requests a second of one key.
    pub(crate) requests_per_second: u32,
    /// Proxies (`10.0.0.0/8`) before the API: what they write into `X-Forwarded-For` is believed.
    pub(crate) trusted_proxies: Vec<String>,
    /// Whether `/try` is served, the page to call scripts from a browser. Whoever uses it needs an API key. Unless said
    /// otherwise: where `bind` is a loopback address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) try_page: Option<bool>,
}

impl Http {
    /// Whether `/try` is served.
    pub(crate) fn try_page(&self) -> bool {
        self.try_page.unwrap_or_else(|| self.bind.ip().is_loopback())
    }
}

/// Signalling.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Sip {
    /// UDP addresses to listen on.
    pub(crate) udp: Vec<SocketAddr>,
    /// TCP addresses to listen on.
    pub(crate) tcp: Vec<SocketAddr>,
    /// TLS addresses to listen on, usually port 5061; needs a certificate in `[tls]`.
    pub(crate) tls: Vec<SocketAddr>,
    /// Addresses to take SIP over WebSocket on (RFC 7118).
    pub(crate) ws: Vec<SocketAddr>,
    /// Addresses to take SIP over secure WebSocket on; needs a certificate in `[tls]`.
    pub(crate) wss: Vec<SocketAddr>,
    /// Web pages that may open WebSockets, by their origin (`https://phone.example`); empty for all.
    pub(crate) ws_origins: Vec<String>,
    /// The address or name others reach us at, where it differs from the bound one.
    pub(crate) advertise: Option<String>,
    /// The same for single listeners, where they differ from each other.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) public: Vec<Public>,
    /// Name servers (`address:port`); empty for those of the system.
    pub(crate) dns: Vec<SocketAddr>,
    /// Whether provisional responses are acknowledged (PRACK): `off`, `supported`, `required`.
    pub(crate) reliable: Reliable,
    /// Seconds after which a call that nobody refreshes is over (RFC 4028); 0 asks for no such timer.
    pub(crate) session_expires_s: u32,
    /// The shortest such timer that is accepted, at least 90.
    pub(crate) min_se_s: u32,
    /// Keep the SIP messages of each call with its record, without their secrets.
    pub(crate) keep_messages: bool,
    /// A Homer server (`address:port`) that gets a copy of every SIP message (HEP), without its secrets.
    pub(crate) homer: Option<SocketAddr>,
    /// The number by which it knows this host.
    pub(crate) homer_id: u32,
    /// New calls a second before 503.
    pub(crate) invites_per_second: u32,
    /// New requests a second from one address; what is above is dropped. 0 for no limit.
    pub(crate) requests_per_second_per_source: u32,
}

/// How one SIP listener is reached.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Public {
    /// `udp`, `tcp`, `tls`, `ws` or `wss`.
    pub(crate) transport: String,
    /// The listener's address, as given above.
    pub(crate) listener: SocketAddr,
    /// The address or name that peers are told.
    pub(crate) host: String,
    /// The port that they are told, where it is another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) port: Option<u16>,
}

/// Whether provisional responses are acknowledged (RFC 3262).
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reliable {
    /// Never.
    Off,
    /// Where the far end knows how.
    #[default]
    Supported,
    /// Always.
    Required,
}

/// Who we are in TLS, and whom we believe. Certificates are read again on SIGHUP.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Tls {
    /// Our certificate chain, PEM.
    pub(crate) certificate: Option<PathBuf>,
    /// Its key, PEM.
    pub(crate) key: Option<PathBuf>,
    /// Without a certificate: make one that nobody has signed, in the data directory. To try things; a trunk will
    /// not believe it.
    pub(crate) self_signed: bool,
    /// Whether those who connect show a certificate: `ignored`, `requested`, `required`.
    pub(crate) client_certificates: ClientCertificates,
    /// The authorities that those certificates have to be from, PEM.
    pub(crate) client_ca: Option<PathBuf>,
    /// Authorities believed when we connect, besides those of the system, PEM.
    pub(crate) extra_roots: Vec<PathBuf>,
    /// Whether the authorities of the system are believed when we connect.
    pub(crate) platform_roots: bool,
}

/// Whether those who connect show a certificate.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ClientCertificates {
    /// They are not asked.
    #[default]
    Ignored,
    /// One that is shown has to be good.
    Requested,
    /// Without one there is no connection.
    Required,
}

/// Audio.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Media {
    /// Address to receive RTP on.
    pub(crate) bind: IpAddr,
    /// The address others send RTP to, where it differs from the bound one.
    pub(crate) advertise: Option<IpAddr>,
    /// Besides an IPv4 address in `bind`: an IPv6 address to receive RTP on, so that far ends of both are served.
    pub(crate) ipv6: Option<Ipv6Addr>,
    /// The IPv6 address others send RTP to, where it differs from the bound one.
    pub(crate) advertise_ipv6: Option<Ipv6Addr>,
    /// How hard Opus tries, 0 to 10: docs/webrtc.md says what that is worth, and what it costs.
    pub(crate) opus_complexity: u8,
    /// First port; outside 32768-60999, where the kernel takes its own.
    pub(crate) first_port: u16,
    /// Last port.
    pub(crate) last_port: u16,
    /// Worker threads; 0 for one per core.
    pub(crate) workers: usize,
    /// A call without RTP ends after so long.
    pub(crate) timeout_ms: u64,
}

/// The database.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Store {
    /// `sqlite:///path/file.db`, or for several hosts `postgres://user@server/database?sslmode=verify-full`; by default
    /// `callbox.db` in the data directory. A password is better given by `CALLBOX_STORE__URL`, or in `~/.pgpass`.
    pub(crate) url: Option<String>,
    /// Connections to a PostgreSQL, at most.
    pub(crate) connections: u32,
    /// The name of this host among those on the same PostgreSQL, its own and the same at every start; by default the
    /// machine's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) host: Option<String>,
    /// The pause between two signs of life of this host on a PostgreSQL; others take it for dead after ten of theirs. The
    /// same for all hosts.
    pub(crate) heartbeat_ms: u32,
    /// What seals the secrets in it (`cbs_…`); better given by `CALLBOX_STORE__KEY`. Unless it is given: the first key of
    /// the file below. All hosts of one database need the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<Secret>,
    /// Keys that are accepted besides, while the one above is brought in: `callbox keys rotate`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) previous_keys: Vec<Secret>,
    /// The file with such keys; by default `store.key` in the data directory, made at the first start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key_file: Option<PathBuf>,
    /// Where uploaded components and recordings are kept: `s3://BUCKET/PREFIX`, with region, endpoint and credentials from
    /// the environment by S3's own names (`AWS_REGION`, `AWS_ENDPOINT_URL`, `AWS_ACCESS_KEY_ID`, …), or `file:///FOLDER`;
    /// by default the data directory. Several hosts need a place that all of them reach.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) objects: Option<String>,
    /// How long the links to recordings are good, in hours.
    pub(crate) link_hours: u32,
}

/// Limits of scripts.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Script {
    /// CPU time between two host calls.
    pub(crate) cpu_per_turn_ms: u32,
    /// CPU time of a whole call.
    pub(crate) cpu_per_call_ms: u32,
    /// Linear memory of one instance.
    pub(crate) memory_mb: u32,
    /// Largest upload.
    pub(crate) upload_mb: u32,
}

/// Requests to customers' systems.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Egress {
    /// Allow every private and local address. For tests and closed networks.
    pub(crate) allow_private: bool,
    /// Networks to allow although they are private, for example `10.1.0.0/16`.
    pub(crate) allow: Vec<String>,
}

/// Calls we place.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Outbound {
    /// Numbers go to this SIP server: `host:port`.
    pub(crate) proxy: Option<String>,
    /// Name for digest authentication.
    pub(crate) username: Option<String>,
    /// Password for digest authentication; better given by `CALLBOX_OUTBOUND__PASSWORD`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) password: Option<Secret>,
    /// Hosts that a SIP URI given by the API or a script may name. `*` allows all.
    pub(crate) allowed_hosts: Vec<String>,
}

/// Trunks and telephones.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Trunks {
    /// The realm in which telephones sign in. After a change each SIP account needs its password again.
    pub(crate) realm: String,
    /// `open`: any number can be called from anywhere. `known`: by trunks and by telephones that signed in; a stranger
    /// gets 403.
    pub(crate) inbound: InboundPolicy,
    /// The number that answers calls to numbers that nobody has; none refuses them with 404.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) catch_all: Option<String>,
    /// Host names that are ours besides the realm: a call whose `From` names one of them has to be a telephone's that
    /// signs in.
    pub(crate) domains: Vec<String>,
}

/// Whom SIP is spoken with.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Sources {
    /// Networks (`10.0.0.0/8`, `2001:db8::1`) without limits per source, besides this machine and the networks of trunks: proxies in front of the
    /// host, whose callers all come from one address.
    pub(crate) trusted: Vec<String>,
    /// Networks whose packets are dropped unread.
    pub(crate) denied: Vec<String>,
    /// New calls of strangers: `serve`, or `drop` them as if nobody were here.
    pub(crate) calls: Treatment,
    /// Their REGISTER.
    pub(crate) registrations: Treatment,
    /// Their OPTIONS, and everything else.
    pub(crate) others: Treatment,
}

/// What becomes of a stranger's request.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Treatment {
    /// Served, within the limits.
    #[default]
    Serve,
    /// Dropped without a word.
    Drop,
}

/// Limits of calls.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Calls {
    /// Calls at once.
    pub(crate) max: u32,
    /// Longest call.
    pub(crate) max_duration_ms: u32,
    /// Time a script has after the call.
    pub(crate) grace_ms: u32,
    /// Time running calls have after SIGTERM.
    pub(crate) drain_ms: u32,
}

/// What is logged.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Log {
    /// A filter as of `tracing`, for example `info,callbox_sip=debug`.
    pub(crate) filter: String,
    /// One JSON object per line instead of text.
    pub(crate) json: bool,
}

/// A value that is not printed.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub(crate) struct Secret(pub(crate) String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl Serialize for Secret {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Only figment serialises a configuration, and it has to carry the value.
        serializer.serialize_str(&self.0)
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: "callbox-data".into(),
            http: Http::default(),
            sip: Sip::default(),
            tls: Tls::default(),
            media: Media::default(),
            webrtc: WebRtc::default(),
            store: Store::default(),
            speech: Speech::default(),
            script: Script::default(),
            egress: Egress::default(),
            delivery: Delivery::default(),
            outbound: Outbound::default(),
            sources: Sources::default(),
            trunks: Trunks::default(),
            calls: Calls::default(),
            quotas: Quotas::default(),
            metrics: Metrics::default(),
            telemetry: Telemetry::default(),
            log: Log::default(),
        }
    }
}

impl Default for Telemetry {
    fn default() -> Self {
        let usual = TraceConfig::new("", "");
        let delay_ms = u32::try_from(usual.delay.as_millis()).unwrap_or(u32::MAX);
        Self { otlp: None, service: usual.service, share: usual.share, queue: usual.queue, delay_ms }
    }
}

impl Default for Delivery {
    fn default() -> Self {
        Self { requests_per_second: WorkerConfig::new("").per_second }
    }
}

impl Default for Http {
    fn default() -> Self {
        Self {
            bind: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            public_url: None,
            peer_url: None,
            requests_per_second: 50,
            trusted_proxies: Vec::new(),
            try_page: None,
        }
    }
}

impl Default for Sip {
    fn default() -> Self {
        let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 5060));
        Self {
            udp: vec![any],
            tcp: vec![any],
            tls: Vec::new(),
            ws: Vec::new(),
            wss: Vec::new(),
            ws_origins: Vec::new(),
            advertise: None,
            public: Vec::new(),
            dns: Vec::new(),
            reliable: Reliable::default(),
            session_expires_s: 1_800,
            min_se_s: 90,
            keep_messages: true,
            homer: None,
            homer_id: 2_001,
            invites_per_second: 400,
            requests_per_second_per_source: SipLimits::default().requests_per_source,
        }
    }
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            certificate: None,
            key: None,
            self_signed: false,
            client_certificates: ClientCertificates::default(),
            client_ca: None,
            extra_roots: Vec::new(),
            platform_roots: true,
        }
    }
}

impl Default for Media {
    fn default() -> Self {
        Self {
            bind: Ipv4Addr::UNSPECIFIED.into(),
            advertise: None,
            ipv6: None,
            advertise_ipv6: None,
            opus_complexity: MediaConfig::default().opus_complexity,
            first_port: 10_000,
            last_port: 29_999,
            workers: 0,
            timeout_ms: 60_000,
        }
    }
}

impl Default for Store {
    fn default() -> Self {
        let StoreOptions { connections, heartbeat, .. } = StoreOptions::default();
        Self {
            url: None,
            connections,
            host: None,
            heartbeat_ms: u32::try_from(heartbeat.as_millis()).unwrap_or(u32::MAX),
            key: None,
            previous_keys: Vec::new(),
            key_file: None,
            objects: None,
            link_hours: 7 * 24,
        }
    }
}

impl Default for Script {
    fn default() -> Self {
        Self { cpu_per_turn_ms: 200, cpu_per_call_ms: 10_000, memory_mb: 64, upload_mb: 32 }
    }
}

impl Default for Trunks {
    fn default() -> Self {
        let TrunkPolicy { realm, inbound, catch_all, .. } = TrunkPolicy::default();
        Self { realm, inbound, catch_all, domains: Vec::new() }
    }
}

impl Default for Calls {
    fn default() -> Self {
        Self { max: 2_000, max_duration_ms: 3_600_000, grace_ms: 5_000, drain_ms: 60_000 }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { filter: "info".into(), json: false }
    }
}

impl Config {
    /// Reads all layers. `flags` are the values given on the command line.
    pub(crate) fn load(file: Option<&Path>, flags: impl Serialize) -> miette::Result<Self> {
        let mut layers = Figment::from(Serialized::defaults(Self::default()));
        match file {
            Some(path) if !path.is_file() => {
                return Err(miette!(help = "give an existing file to --config", "there is no file {}", path.display()));
            }
            Some(path) => layers = layers.merge(Toml::file_exact(path)),
            None => {
                for path in ["/etc/callbox/host.toml", "callbox-host.toml"] {
                    if Path::new(path).is_file() {
                        layers = layers.merge(Toml::file_exact(path));
                    }
                }
            }
        }
        layers = layers.merge(Env::prefixed("CALLBOX_").ignore(OTHER_VARIABLES).split("__"));
        for path in TEXTS {
            // Else a password of digits would be a number, and told to be wrong.
            if let Ok(text) = std::env::var(variable(path)) {
                layers = layers.merge((path, text));
            }
        }
        layers = layers.merge(Serialized::globals(flags));
        let config: Self = layers.extract().map_err(|error| ConfigError::from(&error))?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> miette::Result<()> {
        if self.media.first_port >= self.media.last_port {
            return Err(miette!(
                help = "for example first_port = 10000, last_port = 29999",
                "media.first_port ({}) must be below media.last_port ({})",
                self.media.first_port,
                self.media.last_port
            ));
        }
        if self.media.ipv6.is_some() && self.media.bind.is_ipv6() {
            return Err(miette!(
                help = "media.bind is the IPv4 address then, or leave media.ipv6 out",
                "media.bind and media.ipv6 are both IPv6 addresses"
            ));
        }
        let sip = &self.sip;
        if [&sip.udp, &sip.tcp, &sip.tls, &sip.ws, &sip.wss].iter().all(|addresses| addresses.is_empty()) {
            return Err(miette!(help = "for example sip.udp = [\"0.0.0.0:5060\"]", "no SIP address to listen on"));
        }
        self.webrtc.check()?;
        self.speech.check()?;
        self.quotas.check().into_diagnostic()?;
        self.tls.check(!sip.tls.is_empty() || !sip.wss.is_empty())?;
        if self.store.connections < 2 {
            return Err(miette!(help = "one to read and one to write", "store.connections is less than 2"));
        }
        if !(0.0..=1.0).contains(&self.telemetry.share) {
            return Err(miette!(
                help = "1 for all calls",
                "telemetry.share ({}) is not from 0 to 1",
                self.telemetry.share
            ));
        }
        if !(100..=60_000).contains(&self.store.heartbeat_ms) {
            return Err(miette!(
                help = "between 100 and 60000; 1000 unless there is a reason",
                "store.heartbeat_ms cannot be {}",
                self.store.heartbeat_ms
            ));
        }
        if self.calls.max == 0 {
            return Err(miette!(help = "for example calls.max = 2000", "calls.max is 0: no call would be taken"));
        }
        Ok(())
    }

    /// All values in force, as a file would give them; secrets are left out.
    pub(crate) fn to_toml(&self) -> miette::Result<String> {
        let mut shown = self.clone();
        shown.outbound.password = None;
        shown.store.url = shown.store.url.as_deref().map(callbox_store::without_password);
        shown.store.key = None;
        shown.store.previous_keys = Vec::new();
        shown.webrtc.turn.secret = None;
        shown.speech = shown.speech.without_secrets();
        toml::to_string_pretty(&shown).map_err(|error| miette!("the configuration cannot be written: {error}"))
    }

    /// What opens the secrets in the database.
    pub(crate) fn sealing_keys(&self) -> miette::Result<KeySource> {
        let Store { key, previous_keys, key_file, .. } = &self.store;
        if key.is_none() && !previous_keys.is_empty() {
            return Err(miette!(help = "give store.key, too", "store.previous_keys stand behind store.key"));
        }
        let keys = key.iter().chain(previous_keys).map(|key| SealingKey::parse(&key.0));
        let keys = keys.collect::<Result<Vec<_>, _>>().into_diagnostic().wrap_err("store.key, store.previous_keys")?;
        if keys.is_empty() {
            return Ok(KeySource::File(key_file.clone().unwrap_or_else(|| self.data_dir.join("store.key"))));
        }
        Ok(KeySource::Given(keys))
    }

    /// Opens the database.
    pub(crate) async fn open_store(&self) -> miette::Result<callbox_store::Store> {
        let keys = Some(self.sealing_keys()?);
        let heartbeat = Duration::from_millis(self.store.heartbeat_ms.into());
        let options = StoreOptions { keys, connections: self.store.connections, heartbeat, ..StoreOptions::default() };
        callbox_store::Store::open_with(&self.store_url(), rooms::artefacts(self)?, options).await.into_diagnostic()
    }

    /// What this host is called on its database. One that is alone on a file needs no name of its own.
    pub(crate) fn host_name(&self) -> String {
        let machine = || std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
        let named = self.store.host.clone().or_else(|| machine().filter(|_| !self.store_url().starts_with("sqlite:")));
        named.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).unwrap_or_else(|| "host".to_owned())
    }

    /// The database's URL.
    pub(crate) fn store_url(&self) -> String {
        self.store.url.clone().unwrap_or_else(|| format!("sqlite://{}", self.data_dir.join("callbox.db").display()))
    }
}

impl Tls {
    fn check(&self, listening: bool) -> miette::Result<()> {
        if self.certificate.is_some() != self.key.is_some() {
            return Err(miette!(help = "give both as PEM files", "tls.certificate and tls.key go together"));
        }
        if listening && self.certificate.is_none() && !self.self_signed {
            return Err(miette!(
                help = "give tls.certificate and tls.key; or, to try things, tls.self_signed = true",
                "sip.tls and sip.wss need a certificate"
            ));
        }
        if self.client_ca.is_none() && !matches!(self.client_certificates, ClientCertificates::Ignored) {
            return Err(miette!(
                help = "tls.client_ca is a PEM file with the authorities that sign them",
                "tls.client_certificates needs tls.client_ca"
            ));
        }
        Ok(())
    }
}

/// Variables of other commands, which are no part of the host's configuration.
const OTHER_VARIABLES: &[&str] = &["url", "key", "config", "call_password", "script_target_dir", "speechd_key"];

/// Values that are text, whatever they look like.
const TEXTS: [&str; 21] = [
    "data_dir",
    "sip.advertise",
    "tls.certificate",
    "tls.key",
    "tls.client_ca",
    "http.public_url",
    "http.peer_url",
    "store.url",
    "store.host",
    "store.key",
    "store.key_file",
    "speech.espeak",
    "speech.cache_dir",
    "outbound.proxy",
    "outbound.username",
    "outbound.password",
    "trunks.realm",
    "webrtc.turn.secret",
    "telemetry.otlp",
    "telemetry.service",
    "log.filter",
];

/// The variable of a value.
fn variable(path: &str) -> String {
    format!("CALLBOX_{}", path.to_ascii_uppercase().replace('.', "__"))
}

/// A value that cannot be used, with its place.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("the configuration is not valid: {what}")]
#[diagnostic(
    code(callbox::config),
    help("`callbox serve --help` lists the values; later layers win: file, CALLBOX_… variables, flags")
)]
struct ConfigError {
    what: String,
}

impl From<&figment::Error> for ConfigError {
    fn from(error: &figment::Error) -> Self {
        let path = error.path.join(".").to_lowercase();
        let place = error.metadata.as_ref().map_or_else(String::new, |metadata| match &metadata.source {
            Some(Source::File(file)) => format!(" in {}", file.display()),
            _ => format!(" in the {}", metadata.name),
        });
        let at = if path.is_empty() { path } else { format!("{path}: ") };
        Self { what: format!("{at}{}{place}", error.kind) }
    }
}
