//! What each room is told, from the configuration.

use crate::config::{self, Config};
use crate::webrtc;
use callbox_call::{CallPolicy, OutboundPolicy, RecordingPolicy, StoreAccounts, TrunkPolicy};
use callbox_dialogue::setup::Limits;
use callbox_media::{MediaConfig, OtherFamily};
use callbox_script::{ScriptConfig, ScriptLimits};
use callbox_sip::{
    ClientCertificates, Credentials, DialogPolicy, Dns, Homer, Pem, PublicAddress, RegistrarConfig, RegistrarRules,
    Reliable, SipConfig, SourcePolicy, Strangers, TlsConfig, TlsIdentity, Transport, Treatment,
};
use callbox_store::Store;
use callbox_store::objects::Objects;
use callbox_traces::{TraceConfig, Traces};
use ipnet::IpNet;
use miette::{Context, IntoDiagnostic, miette};
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub(crate) fn scripts(config: &Config) -> miette::Result<ScriptConfig> {
    let compiler = std::env::current_exe().into_diagnostic().wrap_err("where this program is")?;
    let mut scripts = ScriptConfig::new(config.data_dir.join("script-cache"), compiler);
    // A call that ends keeps its instance for its grace time.
    scripts.max_instances = config.calls.max.saturating_add(config.calls.max / 4).saturating_add(16);
    scripts.limits = ScriptLimits {
        cpu_per_turn_ms: config.script.cpu_per_turn_ms,
        cpu_per_call_ms: config.script.cpu_per_call_ms,
        memory: u64::from(config.script.memory_mb) << 20,
        ..scripts.limits
    };
    scripts.shape.size = upload(config);
    scripts.playable = playable;
    Ok(scripts)
}

/// Where calls are told of.
pub(crate) fn traces(config: &Config, host: &str) -> miette::Result<Traces> {
    let telemetry = &config.telemetry;
    let Some(endpoint) = &telemetry.otlp else { return Ok(Traces::off()) };
    let traces = TraceConfig {
        service: telemetry.service.clone(),
        share: telemetry.share,
        queue: telemetry.queue,
        delay: Duration::from_millis(telemetry.delay_ms.into()),
        ..TraceConfig::new(endpoint, host)
    };
    Traces::start(&traces)
        .into_diagnostic()
        .wrap_err("telemetry.otlp is the URL of a collector, for example http://127.0.0.1:4318/v1/traces")
}

/// Whether an asset can be played.
pub(crate) fn playable(file: &[u8]) -> Result<(), String> {
    callbox_media::wav::read_samples(file).map(drop).map_err(|error| error.to_string())
}

pub(crate) fn upload(config: &Config) -> u64 {
    u64::from(config.script.upload_mb) << 20
}

pub(crate) fn media(config: &Config) -> MediaConfig {
    let media = &config.media;
    MediaConfig {
        bind: media.bind,
        advertise: media.advertise.unwrap_or(media.bind),
        other: media
            .ipv6
            .map(|bind| OtherFamily { bind: bind.into(), advertise: media.advertise_ipv6.unwrap_or(bind).into() }),
        opus_complexity: media.opus_complexity,
        ports: media.first_port..=media.last_port,
        workers: match media.workers {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            workers => workers,
        },
        media_timeout: Duration::from_millis(media.timeout_ms),
        max_sessions: 2 * config.calls.max as usize,
        webrtc: webrtc::media(config),
        ..MediaConfig::default()
    }
}

pub(crate) fn sip(config: &Config, store: &Store) -> miette::Result<SipConfig> {
    let values = &config.sip;
    let mut sip = SipConfig {
        udp: values.udp.clone(),
        tcp: values.tcp.clone(),
        tls: values.tls.clone(),
        ws: values.ws.clone(),
        wss: values.wss.clone(),
        ws_origins: values.ws_origins.clone(),
        advertise: values.advertise.clone(),
        public: values.public.iter().map(public).collect::<miette::Result<_>>()?,
        dns: if values.dns.is_empty() { Dns::System } else { Dns::Servers(values.dns.clone()) },
        tls_config: tls(config)?,
        policy: DialogPolicy {
            reliable: match values.reliable {
                config::Reliable::Off => Reliable::Off,
                config::Reliable::Supported => Reliable::Supported,
                config::Reliable::Required => Reliable::Required,
            },
            session_expires_s: values.session_expires_s,
            min_se_s: values.min_se_s,
        },
        registrar: Some(RegistrarConfig {
            accounts: Arc::new(StoreAccounts::new(store.clone())),
            rules: RegistrarRules {
                realm: config.trunks.realm.clone(),
                domains: config.trunks.domains.clone(),
                ..RegistrarRules::default()
            },
        }),
        sources: sources(config)?,
        homer: values.homer.map(|address| Homer { address, id: values.homer_id, password: None }),
        ..SipConfig::default()
    };
    sip.limits.max_calls = config.calls.max as usize;
    sip.limits.invites_per_second = values.invites_per_second;
    sip.limits.requests_per_source = values.requests_per_second_per_source;
    Ok(sip)
}

/// Whom the stack serves; the networks of trunks come to it.
fn sources(config: &Config) -> miette::Result<SourcePolicy> {
    let treatment = |given| match given {
        config::Treatment::Serve => Treatment::Serve,
        config::Treatment::Drop => Treatment::Drop,
    };
    let values = &config.sources;
    let mut sources = SourcePolicy::default();
    sources.trusted.extend(networks("sources.trusted", &values.trusted)?);
    sources.denied = networks("sources.denied", &values.denied)?;
    sources.strangers = Strangers {
        calls: treatment(values.calls),
        registrations: treatment(values.registrations),
        others: treatment(values.others),
    };
    Ok(sources)
}

/// Networks as a setting names them.
///
/// # Errors
/// One is none.
pub(crate) fn networks(name: &str, given: &[String]) -> miette::Result<Vec<IpNet>> {
    let network = |text: &String| {
        let network = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        network.map_err(|_| miette!(help = "for example 10.0.0.0/8 or 2001:db8::1", "{name} has no network {text:?}"))
    };
    given.iter().map(network).collect()
}

fn public(given: &config::Public) -> miette::Result<PublicAddress> {
    let transport = Transport::named(given.transport.as_bytes())
        .ok_or_else(|| miette!(help = "udp, tcp, tls, ws or wss", "sip.public has no transport {}", given.transport))?;
    Ok(PublicAddress { transport, listener: given.listener, host: given.host.clone(), port: given.port })
}

pub(crate) fn tls(config: &Config) -> miette::Result<TlsConfig> {
    let values = &config.tls;
    let file = |path: &PathBuf| Pem::File(path.clone());
    let identity = match (&values.certificate, &values.key) {
        (Some(certificates), Some(key)) => Some(TlsIdentity { certificates: file(certificates), key: file(key) }),
        _ if values.self_signed => Some(self_signed(config)?),
        _ => None,
    };
    Ok(TlsConfig {
        identity,
        client_certificates: match values.client_certificates {
            config::ClientCertificates::Ignored => ClientCertificates::Ignored,
            config::ClientCertificates::Requested => ClientCertificates::Requested,
            config::ClientCertificates::Required => ClientCertificates::Required,
        },
        client_ca: values.client_ca.as_ref().map(file),
        extra_roots: values.extra_roots.iter().map(file).collect(),
        platform_roots: values.platform_roots,
    })
}

/// A certificate that nobody signed, made once, for whoever tries things: it encrypts, and proves nothing.
fn self_signed(config: &Config) -> miette::Result<TlsIdentity> {
    let folder = config.data_dir.join("tls");
    let (certificate, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
    if !certificate.is_file() || !key.is_file() {
        let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
        names.extend(config.sip.advertise.iter().map(|host| host.trim_matches(['[', ']']).to_owned()));
        let made = rcgen::generate_simple_self_signed(names)
            .into_diagnostic()
            .wrap_err("a certificate for the names in sip.advertise cannot be made")?;
        std::fs::create_dir_all(&folder)
            .and_then(|()| private(&key, &made.signing_key.serialize_pem()))
            .and_then(|()| std::fs::write(&certificate, made.cert.pem()))
            .into_diagnostic()
            .wrap_err_with(|| format!("the certificate cannot be kept in {}", folder.display()))?;
        tracing::warn!(folder = %folder.display(), "made a certificate that nobody signed: to try things only");
    }
    Ok(TlsIdentity { certificates: Pem::File(certificate), key: Pem::File(key) })
}

/// Writes a file that only we can read.
fn private(path: &Path, text: &str) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}

/// Where uploaded components are kept.
pub(crate) fn artefacts(config: &Config) -> miette::Result<Objects> {
    match bucket(config)? {
        Some(place) => Ok(place.under("artefacts")),
        None => Objects::folder(&config.data_dir.join("artefacts")).into_diagnostic(),
    }
}

/// Where recordings are made and kept.
pub(crate) fn recordings(config: &Config) -> miette::Result<RecordingPolicy> {
    let mut recordings = RecordingPolicy::here(config.data_dir.join("recordings")).into_diagnostic()?;
    recordings.link_ms = u64::from(config.store.link_hours) * 3_600_000;
    recordings.kept = bucket(config)?.map(|place| place.under("recordings"));
    Ok(recordings)
}

fn bucket(config: &Config) -> miette::Result<Option<Objects>> {
    let at = |url: &String| Objects::at(url).into_diagnostic().wrap_err("store.objects");
    config.store.objects.as_ref().map(at).transpose()
}

pub(crate) async fn policy(
    config: &Config,
    recordings: RecordingPolicy,
    captures: PathBuf,
    public_url: String,
    host: &str,
) -> miette::Result<CallPolicy> {
    let outbound = &config.outbound;
    let proxy = match &outbound.proxy {
        Some(proxy) => Some(resolve(proxy, config).await?),
        None => None,
    };
    let domain =
        outbound.proxy.as_deref().map(|proxy| proxy.rsplit_once(':').map_or(proxy, |(host, _)| host).to_owned());
    let credentials = match (&outbound.username, &outbound.password) {
        (Some(username), Some(password)) => {
            Some(Credentials { username: username.clone(), password: password.0.clone(), realm: None })
        }
        (None, None) => None,
        _ => return Err(miette!("outbound.username and outbound.password go together")),
    };
    Ok(CallPolicy {
        host: host.into(),
        limits: Limits {
            grace: config.calls.grace_ms,
            max_duration: config.calls.max_duration_ms,
            ..Limits::default()
        },
        max_calls: config.calls.max as usize,
        recordings,
        captures,
        public_url,
        keep_signalling: config.sip.keep_messages,
        outbound: OutboundPolicy { proxy, domain, credentials, allowed_hosts: outbound.allowed_hosts.clone() },
        trunks: TrunkPolicy {
            realm: config.trunks.realm.clone(),
            inbound: config.trunks.inbound,
            catch_all: config.trunks.catch_all.clone(),
            sources: sources(config)?,
        },
        quotas: config.quotas.clone(),
    })
}

/// The address of a SIP server, of a family that we have a listener for.
async fn resolve(proxy: &str, config: &Config) -> miette::Result<SocketAddr> {
    let with_port = if proxy.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) {
        proxy.to_owned()
    } else {
        format!("{proxy}:5060")
    };
    let mut found = tokio::net::lookup_host(&with_port)
        .await
        .into_diagnostic()
        .wrap_err_with(|| format!("outbound.proxy {proxy} cannot be resolved"))?;
    let reachable = |address: &SocketAddr| {
        config.sip.udp.iter().chain(&config.sip.tcp).any(|listener| listener.is_ipv4() == address.is_ipv4())
    };
    found.find(reachable).ok_or_else(|| {
        miette!(
            help = "add an address of its family to sip.udp or sip.tcp",
            "outbound.proxy {proxy} has no address that can be reached from those in sip.udp and sip.tcp"
        )
    })
}
