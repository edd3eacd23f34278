//! `callbox script run`: the host in one process, with one script, for a telephone on the desk.
//!
//! The very host that `callbox serve` runs, in a folder that is gone afterwards: what works here works there. Whatever is
//! dialled reaches the script. It is built and published anew when its files change; calls that run finish on the version
//! they began with.

mod calls;
mod world;

use super::bound::BindingsArgs;
use super::changes::Changes;
use super::subject::{Subject, SubjectArgs};
use super::{data, given, talk};
use crate::config::{Config, Log};
use crate::serve::{Host, Stop, Stops};
use callbox_dialogue::script::Segment;
use callbox_dialogue::setup::Fallback;
use callbox_script::Manifest;
use callbox_sim::SOURCE_TIMEOUT;
use callbox_sim::scenario::{Given, OnFailure};
use callbox_store::numbers::NewNumber;
use callbox_store::scripts::{NewScript, NewVersion};
use callbox_store::{Actor, Store, TenantId, bindings};
use miette::{IntoDiagnostic, miette};
use serde_json::{Map, Value, json};
use std::net::{IpAddr, SocketAddr};
use world::World;

/// The number that answers; what else is dialled comes to it too.
const NUMBER: &str = "1000";
/// Time running calls have when the command is ended, in ms.
const DRAIN_MS: u32 = 2_000;

/// Answer calls with a script on this machine, for a softphone on the desk.
///
/// The whole host, with nothing to set up: any number reaches the script. When the file or the project changes, it is
/// built again and answers the next call; a call that runs finishes on its own version. Each call is written down as it
/// goes on.
#[derive(Debug, clap::Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    subject: SubjectArgs,
    /// Address and port of SIP, UDP and TCP. A telephone elsewhere needs an address of this machine's network.
    #[arg(long, value_name = "ADDR", num_args = 0..=1, default_value = "127.0.0.1:5060", default_missing_value = "127.0.0.1:5060")]
    sip: SocketAddr,
    /// The address others reach this machine at, for SIP and RTP, where it is not that of --sip.
    #[arg(long, value_name = "ADDR")]
    advertise: Option<IpAddr>,
    /// Take settings, and what the script's sources answer, from a scenario file, or from one of its scenarios.
    #[arg(long, value_name = "FILE[:SCENARIO]")]
    given: Option<String>,
    #[command(flatten)]
    bindings: BindingsArgs,
    /// Log filter of the host, for example info,callbox_sip=debug
    #[arg(long, value_name = "FILTER", default_value = "error")]
    log: String,
}

/// Answers calls until it is told to stop.
///
/// # Errors
/// The script does not build or is refused, the port is taken.
pub(super) async fn run(args: &RunArgs) -> miette::Result<()> {
    let given = args.given.as_deref().map(given::read).transpose()?.unwrap_or_default();
    let bound = args.bindings.document()?;
    let subject = args.subject.component().await?;
    crate::logging::start(&Log { filter: args.log.clone(), json: false })?;
    let mut stops = Stops::listen()?;
    let mut changes = Changes::of(subject.watched()?)?;
    let folder = tempfile::tempdir().into_diagnostic()?;
    let host = Host::start(&config(args, folder.path(), &given)).await?;
    let world = World::start(&given).await.into_diagnostic()?;
    let desk = Desk::open(&host, &given, &world, bound, &subject.name).await?;
    desk.publish(&subject).await?;

    let telling = tokio::spawn(calls::tell(host.platform.clone(), host.store.clone(), desk.tenant.clone()));
    data(how_to_call(&host))?;
    let ended = loop {
        tokio::select! {
            () = stops.next() => break Ok(()),
            changed = changes.next() => if !changed { break Err(miette!("the system does not tell of changes any more")) },
        }
        // What is wrong with it now is told; what was published before goes on answering.
        let swapped = match args.subject.component().await {
            Ok(subject) => desk.publish(&subject).await,
            Err(report) => Err(report),
        };
        if let Err(report) = swapped {
            talk(format_args!("{report:?}"));
            talk("the version before goes on answering");
        }
    };
    telling.abort();
    host.stop(stops, Stop::Told).await;
    ended
}

/// A host of its own: nothing of another one's configuration, everything below one folder.
fn config(args: &RunArgs, folder: &std::path::Path, given: &Given) -> Config {
    let mut config = Config { data_dir: folder.to_owned(), ..Config::default() };
    config.http.bind = ([127, 0, 0, 1], 0).into();
    (config.sip.udp, config.sip.tcp) = (vec![args.sip], vec![args.sip]);
    config.sip.advertise = args.advertise.map(|address| address.to_string());
    config.media.bind = args.sip.ip();
    config.media.advertise = args.advertise;
    config.webrtc.enabled = false;
    config.trunks.catch_all = Some(NUMBER.into());
    // The world of the script is in this process, and the targets of its transfers on this machine.
    config.egress.allow_private = true;
    config.outbound.allowed_hosts = vec!["127.0.0.1".into(), "localhost".into(), args.sip.ip().to_string()];
    config.calls.drain_ms = DRAIN_MS;
    if let Some(limits) = given.limits {
        config.calls.grace_ms = limits.grace.map_or(config.calls.grace_ms, |span| span.0);
        config.calls.max_duration_ms = limits.max_duration.map_or(config.calls.max_duration_ms, |span| span.0);
    }
    config
}

/// What whoever has a telephone needs to know.
fn how_to_call(host: &Host) -> String {
    let addresses = host.sip.local_addrs();
    let udp = addresses.iter().find(|(transport, _)| transport.to_string().eq_ignore_ascii_case("udp"));
    udp.map_or_else(
        || "ready".into(),
        |(_, at)| format!("ready: call sip:{NUMBER}@{at} – any number does – or: callbox call sip:{NUMBER}@{at}"),
    )
}

/// The one script of the host, and where it is published.
struct Desk<'a> {
    host: &'a Host,
    given: &'a Given,
    world: &'a World,
    /// What the person binds: it goes before the world.
    bound: Value,
    tenant: TenantId,
    script: String,
}

impl<'a> Desk<'a> {
    async fn open(
        host: &'a Host,
        given: &'a Given,
        world: &'a World,
        bound: Value,
        name: &str,
    ) -> miette::Result<Self> {
        let store: &Store = &host.store;
        let tenant = store.default_tenant().clone();
        let new = NewScript { name: name.to_owned(), description: None };
        let script = store.create_script(&tenant, new, &Actor::system()).await.into_diagnostic()?.id;
        let number = NewNumber {
            address: NUMBER.into(),
            name: None,
            script_id: Some(script.clone()),
            pinned_version: None,
            fallback: fallback(given),
            language: given.language.clone(),
            max_concurrent: None,
            recording: callbox_store::numbers::Recording::Off,
            capture: false,
            trunk_id: None,
            outbound: callbox_store::quotas::OutboundQuotas::default(),
            enabled: true,
        };
        store.create_number(&tenant, number, &Actor::system()).await.into_diagnostic()?;
        Ok(Self { host, given, world, bound, tenant, script })
    }

    /// Lets a component answer from the next call on.
    async fn publish(&self, subject: &Subject) -> miette::Result<()> {
        let wasm = subject.wasm.clone();
        let scripts = &self.host.platform.rooms().scripts;
        let admission = scripts
            .admit(wasm.clone())
            .await
            .map_err(|error| miette!(code = error.code(), "{} is refused: {error}", subject.origin.display()))?;
        for stranger in given::strangers(self.given, &admission.manifest) {
            talk(format_args!("warning: {stranger}"));
        }
        let (store, actor) = (&self.host.store, Actor::system());
        let document = serde_json::to_vec(&self.bindings(&admission.manifest)).into_diagnostic()?;
        let bound = bindings::parse(&document).into_diagnostic()?;
        store.put_bindings(&self.tenant, &self.script, bound, &actor).await.into_diagnostic()?;
        let new = NewVersion {
            digest: store.put_blob(wasm).await.into_diagnostic()?,
            size: admission.size,
            manifest: serde_json::to_value(&admission.manifest).into_diagnostic()?,
            imports: admission.imports,
            checks: Value::Array(Vec::new()),
            toolchain: admission.toolchain,
            note: None,
        };
        let uploaded = store.add_version(&self.tenant, &self.script, new, &actor).await.into_diagnostic()?;
        let version = uploaded.version.version;
        store.publish(&self.tenant, &self.script, version, &actor).await.into_diagnostic()?;
        self.host.platform.rehearse(&self.tenant, &self.script, version);
        talk(format_args!("{}: version {version} answers from now on", subject.name));
        Ok(())
    }

    /// What the names of a manifest mean here: what the person says, else the world in this process.
    fn bindings(&self, manifest: &Manifest) -> Value {
        let sources = manifest.sources.keys().map(|name| {
            let answer = self.given.sources.get(name);
            let timeout =
                answer.and_then(|answer| answer.timeout).map_or(SOURCE_TIMEOUT, |span| span.0.clamp(100, 30_000));
            let on_failure = match answer.and_then(|answer| answer.on_failure).unwrap_or_default() {
                OnFailure::Continue => "continue",
                OnFailure::Fallback => "fallback",
                OnFailure::Reject => "reject",
            };
            let source = json!({"url": self.world.source(name), "timeout_ms": timeout, "on_failure": on_failure});
            (name.clone(), source)
        });
        let destinations =
            manifest.destinations.keys().map(|name| (name.clone(), json!({"url": self.world.destination(name)})));
        let settings = manifest
            .settings
            .keys()
            .filter_map(|name| Some((name.clone(), Value::String(self.given.settings.get(name)?.clone()))));
        let secrets = manifest.secrets.iter().map(|name| (name.clone(), json!("not a secret")));
        let mut bindings = json!({
            "sources": sources.collect::<Map<_, _>>(),
            "models": {},
            "destinations": destinations.collect::<Map<_, _>>(),
            "settings": settings.collect::<Map<_, _>>(),
            "secrets": secrets.collect::<Map<_, _>>(),
        });
        for (part, names) in self.bound.as_object().into_iter().flatten() {
            if let (Some(all), Some(names)) = (bindings[part].as_object_mut(), names.as_object()) {
                all.extend(names.clone());
            }
        }
        bindings
    }
}

fn fallback(given: &Given) -> Fallback {
    let Some(plan) = &given.fallback else {
        // Whoever tries a script hears that it has failed; the terminal says why.
        return Fallback { say: vec![Segment::Text("The script has failed.".into())], transfer_to: None };
    };
    Fallback { say: plan.say.iter().cloned().map(Segment::Text).collect(), transfer_to: plan.transfer_to.clone() }
}
