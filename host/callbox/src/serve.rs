//! `callbox serve`: puts the rooms together, keeps them running, and takes them
//! down in order.

use crate::config::Config;
use crate::{rooms, speech, webrtc};
use callbox_api::ApiConfig;
use callbox_call::{Platform, Rooms};
use callbox_delivery::{Egress, EgressPolicy, OutboxWorker, WorkerConfig, WorkerGauge};
use callbox_media::MediaPlane;
use callbox_script::ScriptHost;
use callbox_sip::{SipStack, SipStats, TlsConfig};
use callbox_speech::Speech;
use callbox_store::Store;
use callbox_store::hosts::{HostKeeper, Standing};
use callbox_traces::Traces;
use clap::Args;
use miette::{Context, IntoDiagnostic, miette};
use serde::Serialize;
use serde_json::{Value, json};
use std::io::{IsTerminal, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Run the host: SIP, RTP, scripts, REST
///
/// Every value of the configuration can be given in a file, by a variable, or, for the most used ones, by a flag; the
/// later wins. The file is --config, else /etc/callbox/host.toml and ./callbox-host.toml. A variable is CALLBOX_ and the
/// value's path, with two underscores between its parts: CALLBOX_SIP__INVITES_PER_SECOND=100. `callbox config` prints all
/// values in force.
#[derive(Args, Debug)]
pub(crate) struct ServeArgs {
    /// Configuration file (TOML)
    #[arg(long)]
    config: Option<PathBuf>,
    #[command(flatten)]
    flags: Flags,
}

/// Flags that stand for values of the configuration.
#[derive(Args, Debug)]
pub(crate) struct Flags {
    /// Where the database, scripts, recordings and caches live [default: callbox-data]
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// Address and port of the REST API [default: 127.0.0.1:8080]
    #[arg(long)]
    http: Option<SocketAddr>,
    /// Address and port of SIP, for UDP and TCP; RTP is received on the same address [default: 0.0.0.0:5060]
    #[arg(long)]
    sip: Option<SocketAddr>,
    /// Address and port of SIP over TLS [default: none]. Without a certificate in the configuration one is made that
    /// nobody signed
    #[arg(long)]
    sip_tls: Option<SocketAddr>,
    /// The address others reach us at, for SIP and RTP
    #[arg(long)]
    advertise: Option<IpAddr>,
    /// Ports for RTP, FIRST-LAST [default: 10000-29999]
    #[arg(long, value_parser = ports)]
    rtp_ports: Option<(u16, u16)>,
    /// Let requests to customers' URLs reach private and local addresses
    #[arg(long)]
    allow_private: bool,
    /// Log filter, for example info,callbox_sip=debug
    #[arg(long)]
    log: Option<String>,
}

fn ports(text: &str) -> Result<(u16, u16), String> {
    let (first, last) = text.split_once('-').ok_or("write it as FIRST-LAST")?;
    let port = |text: &str| text.trim().parse::<u16>().map_err(|_| format!("{text} is no port"));
    Ok((port(first)?, port(last)?))
}

impl Serialize for Flags {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut layer = json!({});
        let mut set = |path: [&str; 2], value: Value| layer[path[0]][path[1]] = value;
        if let Some(http) = self.http {
            set(["http", "bind"], json!(http));
        }
        if let Some(sip) = self.sip {
            set(["sip", "udp"], json!([sip]));
            set(["sip", "tcp"], json!([sip]));
            set(["media", "bind"], json!(sip.ip()));
            if sip.port() == 0 {
                // Whoever wants any free port wants no fixed one beside it.
                set(["webrtc", "port"], json!(0));
            }
        }
        if let Some(tls) = self.sip_tls {
            set(["sip", "tls"], json!([tls]));
            set(["tls", "self_signed"], json!(true));
        }
        if let Some(address) = self.advertise {
            set(["sip", "advertise"], json!(address));
            set(["media", "advertise"], json!(address));
        }
        if let Some((first, last)) = self.rtp_ports {
            set(["media", "first_port"], json!(first));
            set(["media", "last_port"], json!(last));
        }
        if self.allow_private {
            set(["egress", "allow_private"], json!(true));
        }
        if let Some(filter) = &self.log {
            set(["log", "filter"], json!(filter));
        }
        if let Some(data_dir) = &self.data_dir {
            layer["data_dir"] = json!(data_dir);
        }
        layer.serialize(serializer)
    }
}

impl ServeArgs {
    pub(crate) fn load(&self) -> miette::Result<Config> {
        Config::load(self.config.as_deref(), &self.flags)
    }
}

/// Runs the host until it is told to stop.
pub(crate) async fn run(args: ServeArgs) -> miette::Result<()> {
    let config = args.load()?;
    crate::logging::start(&config.log)?;
    // Before anybody is told that it is ready.
    let stops = Stops::listen()?;
    let host = Host::start(&config).await?;
    if let Some(key) = host.store.bootstrap_key().await.into_diagnostic()? {
        let secret = key.secret.expose();
        announce(&json!({"event": "first_key", "key": secret}), &format!("First API key, shown once: {secret}"));
    }
    let (event, text) = &host.ready;
    announce(event, text);
    let stopped = host.until_told_to_stop(stops).await?;
    announce(&stopped, "Stopped.");
    Ok(())
}

/// SIGTERM and SIGINT.
pub(crate) struct Stops {
    term: Signal,
    interrupt: Signal,
}

impl Stops {
    pub(crate) fn listen() -> miette::Result<Self> {
        let signal = |kind| signal(kind).into_diagnostic().wrap_err("signals cannot be received");
        Ok(Self { term: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Why a host goes down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// It was told to. Calls have their time.
    Told,
    /// Its API ended by itself. Calls have their time.
    WithoutHttp,
    /// Another process has its name, and has closed the books of its calls.
    Replaced,
}

/// Returns when another process has taken this host's name.
async fn replaced(mut standing: watch::Receiver<Standing>) {
    if standing.wait_for(|standing| *standing == Standing::Replaced).await.is_err() {
        // Nobody keeps it known any more: it stops for another reason.
        std::future::pending().await
    }
}

/// All rooms, put together.
pub(crate) struct Host {
    pub(crate) platform: Platform,
    pub(crate) store: Store,
    pub(crate) sip: SipStack,
    media: MediaPlane,
    outbox: OutboxWorker,
    traces: Traces,
    http: tokio::task::JoinHandle<()>,
    stop_http: CancellationToken,
    drain: Duration,
    /// What whoever started it is told: as JSON, and in words.
    ready: (Value, String),
    /// Tells other hosts that this one lives.
    keeper: HostKeeper,
    /// What goes on beside calls, and after the next start where it did not end.
    _background: [AbortOnDrop; 2],
}

impl Host {
    /// Starts everything; calls are answered from now on.
    pub(crate) async fn start(config: &Config) -> miette::Result<Self> {
        let data = &config.data_dir;
        let captures = data.join("captures");
        for folder in [data, &captures] {
            std::fs::create_dir_all(folder)
                .into_diagnostic()
                .wrap_err_with(|| format!("the folder {} cannot be made", folder.display()))?;
        }
        let store = config.open_store().await?;
        let recordings = rooms::recordings(config)?;
        let name = config.host_name();
        let listener = TcpListener::bind(config.http.bind).await.into_diagnostic().wrap_err_with(|| {
            format!(
                "the API cannot listen on {}: another program may use the port; choose one with --http",
                config.http.bind
            )
        })?;
        let address = listener.local_addr().into_diagnostic()?;
        let bound = (!address.ip().is_unspecified()).then(|| format!("http://{address}"));
        let reached = config.http.peer_url.clone().or(bound);
        let recovered = store.start_host_at(&name, reached.as_deref()).await.into_diagnostic()?;
        if recovered.calls > 0 {
            tracing::warn!(calls = recovered.calls, "closed calls that the last run left behind");
        }
        let keeper = HostKeeper::start(store.clone()).into_diagnostic()?;
        let speech = speech::voices(config)?;
        tokio::spawn(try_voices(speech.clone()));
        let ears = speech::ears(config)?;
        // What takes them long – a process, a dictionary – the first caller does not wait for.
        ears.wake();
        let scripts = ScriptHost::start(rooms::scripts(config)?).into_diagnostic()?;
        let media = MediaPlane::start(rooms::media(config)).into_diagnostic()?;
        let (webrtc_udp, webrtc_tcp) = media.webrtc_ports();
        let (sip, incoming) = SipStack::start(rooms::sip(config, &store)?).await.into_diagnostic()?;
        tokio::spawn(renew_certificates(sip.clone(), rooms::tls(config)?));
        let egress =
            Egress::new(EgressPolicy::new(config.egress.allow_private, &config.egress.allow).into_diagnostic()?)
                .into_diagnostic()?;
        let traces = rooms::traces(config, &name)?;
        let rooms = Rooms {
            sip: sip.clone(),
            media: media.clone(),
            scripts,
            speech,
            ears,
            store: store.clone(),
            egress: egress.clone(),
            traces: traces.clone(),
        };
        let public_url = config.http.public_url.clone().unwrap_or_else(|| format!("http://{address}"));
        let platform = Platform::new(rooms, rooms::policy(config, recordings, captures, public_url, &name).await?);
        let background = [
            AbortOnDrop(tokio::spawn(platform.keep_recordings())),
            AbortOnDrop(tokio::spawn(crate::sweep::run(store.clone(), platform.clone()))),
        ];
        let worker = WorkerConfig {
            per_second: config.delivery.requests_per_second,
            traces: traces.clone(),
            ..WorkerConfig::new(&name)
        };
        let outbox = OutboxWorker::start_with(store.clone(), egress, worker);
        let stop_http = CancellationToken::new();
        let api = callbox_api::router(
            platform.clone(),
            ApiConfig {
                requests_per_second: config.http.requests_per_second,
                upload_bytes: rooms::upload(config),
                try_page: config.http.try_page(),
                trusted_proxies: rooms::networks("http.trusted_proxies", &config.http.trusted_proxies)?,
                webrtc: webrtc::api(config),
            },
        );
        let http = tokio::spawn(callbox_api::serve(listener, api, stop_http.clone()));
        let metrics = match config.metrics.bind {
            Some(bind) => Some(serve_metrics(bind, &platform, outbox.gauge(), &stop_http).await?),
            None => None,
        };
        let answering = platform.clone();
        tokio::spawn(async move { answering.serve(incoming).await });
        let addresses: Vec<String> =
            sip.local_addrs().iter().map(|(transport, address)| format!("{transport} {address}")).collect();
        tracing::info!(http = %address, sip = addresses.join(", "), webrtc = ?webrtc_udp, "ready");
        let ready = (
            json!({
                "event": "ready", "http": address, "sip": addresses, "metrics": metrics,
                "webrtc": {"udp": webrtc_udp, "tcp": webrtc_tcp},
            }),
            format!(
                "Ready. API http://{address}/v1, its documentation http://{address}/docs,{} SIP {}",
                if config.http.try_page() {
                    format!(" calls from a browser http://{address}/try,")
                } else {
                    String::new()
                },
                addresses.join(", ")
            ),
        );
        let drain = Duration::from_millis(config.calls.drain_ms.into());
        Ok(Self {
            platform,
            store,
            sip,
            media,
            outbox,
            traces,
            http,
            stop_http,
            drain,
            ready,
            keeper,
            _background: background,
        })
    }

    /// Runs until it is told to stop, and takes everything down in order. What it counted, as JSON.
    pub(crate) async fn until_told_to_stop(mut self, mut stops: Stops) -> miette::Result<Value> {
        let (why, failed) = tokio::select! {
            () = stops.next() => (Stop::Told, None),
            ended = &mut self.http => (Stop::WithoutHttp, Some(miette!("the API ended by itself: {ended:?}"))),
            () = replaced(self.keeper.standing()) => (Stop::Replaced, Some(miette!(
                code = "callbox::serve::replaced",
                help = "store.host gives each host a name of its own; a host that was frozen for long, and was started again \
                    meanwhile, has to end",
                "another host has taken the name of this one on the database"
            ))),
        };
        let stopped = self.stop(stops, why).await;
        failed.map_or(Ok(stopped), Err)
    }

    /// Takes everything down in order: calls first, which have their time unless `stops` or the reason say otherwise.
    /// What was counted, as JSON.
    pub(crate) async fn stop(self, mut stops: Stops, why: Stop) -> Value {
        let Self { platform, store, sip, media, outbox, traces, http, stop_http, drain, keeper, ready: _, _background } =
            self;
        keeper.draining();
        tracing::info!(calls = platform.calls(), "stopping: no new calls; again to end those that run");
        let drained = platform.drain(drain);
        tokio::pin!(drained);
        let at_once = async {
            // The books of its calls are closed by now: nobody gains by going on.
            if why != Stop::Replaced {
                stops.next().await;
            }
        };
        tokio::select! {
            // No new calls, before those that run are ended.
            biased;
            () = &mut drained => {}
            () = at_once => {
                platform.end_all("the host is going down");
                tokio::select! {
                    () = &mut drained => {}
                    () = stops.next() => left(&platform),
                    () = tokio::time::sleep(PATIENCE) => left(&platform),
                }
            }
        }
        stop_http.cancel();
        if why != Stop::WithoutHttp && tokio::time::timeout(Duration::from_secs(5), http).await.is_err() {
            tracing::warn!("requests were still being answered");
        }
        outbox.stop().await;
        // After the last call and the last delivery. A thread waits for the collector, no task.
        let sent = tokio::task::spawn_blocking(move || traces.stop(TRACES_SENT)).await;
        if let Err(error) = sent {
            tracing::error!(%error, "the last traces were not sent");
        }
        let (signalling, audio) = (sip.stats(), media.stats());
        sip.shutdown().await;
        media.shutdown();
        keeper.stop().await;
        store.close().await;
        tracing::info!("stopped");
        json!({"event": "stopped", "sip": counted(&signalling), "media": audio})
    }
}

/// Has each voice say a word. No call waits for that: a provider may be slow.
async fn try_voices(speech: Speech) {
    for (voice, checked) in speech.check().await {
        match checked {
            Ok(version) => tracing::info!(voice, version, "the voice works"),
            Err(error) => tracing::error!(voice, %error, "the voice does not work: without another prompts fail"),
        }
    }
}

/// Reads the certificates again at every SIGHUP, so that renewing them costs no call.
async fn renew_certificates(sip: SipStack, tls: TlsConfig) {
    let mut hangups = match signal(SignalKind::hangup()) {
        Ok(hangups) => hangups,
        Err(error) => return tracing::error!(%error, "SIGHUP cannot be received: certificates need a restart"),
    };
    while hangups.recv().await.is_some() {
        match sip.reload_tls(tls.clone()).await {
            Ok(()) => tracing::info!("certificates were read again"),
            Err(error) => tracing::error!(%error, "certificates were not read again: those in force stay"),
        }
    }
}

/// Serves the figures beside the API; says where.
async fn serve_metrics(
    bind: SocketAddr,
    platform: &Platform,
    deliveries: WorkerGauge,
    stop: &CancellationToken,
) -> miette::Result<SocketAddr> {
    let listener = TcpListener::bind(bind).await.into_diagnostic().wrap_err_with(|| {
        format!("metrics cannot be served on {bind}: another program may use the port; metrics.bind says which")
    })?;
    let address = listener.local_addr().into_diagnostic()?;
    tokio::spawn(callbox_api::serve(listener, callbox_api::metrics(platform.clone(), deliveries), stop.clone()));
    tracing::info!(%address, "figures for Prometheus at /metrics");
    Ok(address)
}

/// How long calls that were ended at once may take: their scripts' grace time, a far end that does not answer, a
/// database that does not answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long the collector may take for the last traces.
const TRACES_SENT: Duration = Duration::from_secs(3);

fn left(platform: &Platform) {
    tracing::error!(calls = platform.calls(), "not waiting any longer; the next start closes the books of these calls");
}

/// A task that ends with whoever holds this.
struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Says something to whoever started the host: text on a terminal, JSON lines elsewhere.
fn announce(event: &Value, text: &str) {
    let mut out = std::io::stdout();
    let told = if out.is_terminal() { writeln!(out, "{text}") } else { writeln!(out, "{event}") };
    // Whoever started the host may not listen any more: no reason to stop, or to stop badly.
    if let Err(error) = told {
        tracing::debug!(%error, "stdout takes nothing");
    }
}

/// What the stack counted from its start to its end.
fn counted(sip: &SipStats) -> Value {
    let counts = &sip.endpoint;
    json!({
        "messages_received": counts.messages_received,
        "messages_sent": counts.messages_sent,
        "retransmissions_received": counts.retransmissions_received,
        "retransmissions_sent": counts.retransmissions_sent,
        "parse_errors": counts.parse_errors,
        "strays": counts.strays,
        "calls_in": counts.calls_in,
        "calls_out": counts.calls_out,
        "shed": {
            "draining": counts.shed_draining,
            "stale": counts.shed_stale,
            "calls": counts.shed_calls,
            "rate": counts.shed_rate,
            "unclaimed": sip.calls_unclaimed,
        },
        "dropped": {
            "source": counts.dropped_source,
            "dialog": counts.dropped_dialog,
            "queue_known": sip.ingress_dropped_known,
            "queue_new": sip.ingress_dropped_new,
        },
        "send_failures": sip.send_failures,
    })
}

/// Whether a folder can be written to.
pub(crate) fn writable(folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    tempfile::tempfile_in(folder).map(drop)
}
