//! The component host: admits uploads, loads scripts, runs them.

use crate::admission::{AdmissionError, Check, Shape, admit_shape};
use crate::artefact::Trusted;
use crate::bindings::{Dialogue, DialoguePre};
use crate::budget::Turnstile;
use crate::cache::Cache;
use crate::compile::{CompileError, Compiler};
use crate::config::{MEMORY_CEILING, ScriptConfig, ScriptLimits};
use crate::engine::{Engines, Tier, carried_by_kernel, compatibility, max_map_count};
use crate::imports::State;
use crate::manifest::Manifest;
use crate::package::{self, PackageError};
use crate::run::{self, RunReason, ScriptRun, Usage};
use crate::script::{Code, Script};
use crate::session::Session;
use crate::shelf::Shelf;
use crate::tape::Recorder;
use crate::text::printable;
use bytes::Bytes;
use callbox_dialogue::{CallId, ScriptEnd};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::future::{Future, pending};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};
use wasmtime::component::{HasSelf, Linker};

/// Bytes of components waiting for the optimising compiler.
const BEHIND: u64 = 256 << 20;

/// What the API tells about an upload that was admitted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admission {
    /// `sha256:` and the hexadecimal digest of the component.
    pub digest: String,
    /// Bytes.
    pub size: u64,
    /// What it says about itself.
    pub manifest: Manifest,
    /// What it imports: what it may do.
    pub imports: Vec<String>,
    /// Paths of its audio files.
    pub assets: Vec<String>,
    /// What was looked at.
    pub checks: Vec<Check>,
    /// What built it, as it says itself.
    pub toolchain: Option<String>,
}

/// Why the host cannot start or a script cannot be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScriptError {
    /// A setting makes no sense.
    #[error("script configuration: {0}")]
    Config(String),
    /// The engines do not start: mostly too little address space for the pool.
    #[error(
        "the WebAssembly engine does not start with room for {instances} calls: {error}. Lower `max_instances`, or raise \
         the limit on address space (`ulimit -v`)"
    )]
    Engine {
        /// Instances asked for.
        instances: u32,
        /// What wasmtime says.
        error: String,
    },
    /// The folder of compiled scripts cannot be used.
    #[error("the folder of compiled scripts `{folder}`: {error}")]
    Cache {
        /// Which.
        folder: String,
        /// What the system says.
        error: std::io::Error,
    },
    /// The component could not be had.
    #[error("the component {digest} could not be read: {why}")]
    Missing {
        /// Which.
        digest: String,
        /// Why.
        why: String,
    },
    /// What was read is not the component.
    #[error("the stored component is damaged: {expected} was asked for, {found} was read")]
    Digest {
        /// Asked for.
        expected: String,
        /// Read.
        found: String,
    },
    /// It is not admitted any more, or cannot be compiled.
    #[error("the script cannot be loaded: {0}")]
    Admission(#[from] AdmissionError),
}

impl ScriptError {
    /// The stable code of the API and the documentation.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Config(_) => "script_config",
            Self::Engine { .. } => "script_engine",
            Self::Cache { .. } => "script_cache",
            Self::Missing { .. } => "script_missing",
            Self::Digest { .. } => "script_damaged",
            Self::Admission(error) => error.code(),
        }
    }
}

/// The right to run one script. Given back when dropped.
#[derive(Debug)]
pub struct Seat {
    /// Held for its drop.
    _place: OwnedSemaphorePermit,
    /// Bytes of linear memory, where they are fewer than the host's limit.
    memory: Option<u64>,
    /// CPU time of the whole call, where it is less than the host's limit.
    cpu_per_call_ms: Option<u32>,
}

impl Seat {
    /// The same place for a script that may use less than others: linear memory in bytes, CPU time of the call. What is
    /// more than the host's own limits changes nothing.
    #[must_use]
    pub fn within(self, memory: Option<u64>, cpu_per_call_ms: Option<u32>) -> Self {
        Self { memory, cpu_per_call_ms, ..self }
    }

    fn limits(&self, host: &ScriptLimits) -> ScriptLimits {
        let cpu_per_call_ms = self.cpu_per_call_ms.map_or(host.cpu_per_call_ms, |own| own.min(host.cpu_per_call_ms));
        ScriptLimits {
            memory: self.memory.map_or(host.memory, |own| own.min(host.memory)),
            cpu_per_turn_ms: host.cpu_per_turn_ms.min(cpu_per_call_ms),
            cpu_per_call_ms,
            ..host.clone()
        }
    }
}

/// The component host. Clones share it.
#[derive(Clone, Debug)]
pub struct ScriptHost {
    inner: Arc<Inner>,
}

struct Inner {
    config: ScriptConfig,
    capacity: u32,
    seats: Arc<Semaphore>,
    /// Passed by scripts that compute much.
    gate: Arc<Semaphore>,
    /// Uploads that are looked at, one at a time.
    looking: Semaphore,
    engines: Engines,
    linkers: [Linker<State>; 2],
    compatibilities: [String; 2],
    cache: Arc<Cache>,
    compiler: Compiler,
    shelf: Shelf,
    /// Components on their way through the optimising compiler, and their bytes.
    behind: Mutex<BTreeMap<String, u64>>,
    /// Components it refused, and why.
    refused: Mutex<BTreeMap<String, String>>,
}

/// What the first load of a script has at hand.
struct Fresh {
    wasm: Bytes,
    largest: Option<(String, u32)>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner").field("capacity", &self.capacity).finish_non_exhaustive()
    }
}

const fn index(tier: Tier) -> usize {
    match tier {
        Tier::Winch => 0,
        Tier::Cranelift => 1,
    }
}

impl ScriptHost {
    /// Starts the engines with their pools and opens the folder of compiled
    /// scripts.
    ///
    /// # Errors
    /// When a setting makes no sense, the pool does not fit, or the folder cannot
    /// be written.
    pub fn start(mut config: ScriptConfig) -> Result<Self, ScriptError> {
        check(&config)?;
        // What could not start need not be admitted.
        config.shape.initial_memory = config.shape.initial_memory.min(config.limits.memory);
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let carried = carried_by_kernel(max_map_count());
        let capacity = config.max_instances.min(carried);
        if capacity < config.max_instances {
            tracing::warn!(
                wanted = config.max_instances,
                capacity,
                "fewer calls than configured: raise vm.max_map_count (sysctl -w vm.max_map_count=1048576)"
            );
        }
        let engine_error =
            |error: wasmtime::Error| ScriptError::Engine { instances: capacity, error: format!("{error:#}") };
        let engines = Engines::start(capacity).map_err(engine_error)?;
        let linker = |tier| {
            let mut linker = Linker::new(engines.get(tier));
            Dialogue::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
            Ok(linker)
        };
        let linkers = [linker(Tier::Winch).map_err(engine_error)?, linker(Tier::Cranelift).map_err(engine_error)?];
        let compatibilities =
            [Tier::Winch, Tier::Cranelift].map(|tier| hex::encode(&compatibility(engines.get(tier))[..8]));
        let cache = Cache::open(&config.cache_dir, &compatibilities, config.compile.artefact)
            .map_err(|error| ScriptError::Cache { folder: config.cache_dir.display().to_string(), error })?;
        let inner = Inner {
            capacity,
            seats: Arc::new(Semaphore::new(capacity as usize)),
            // Half of the machine at most, so that the rest is there for calls.
            gate: Arc::new(Semaphore::new((cores / 2).max(1))),
            looking: Semaphore::new(1),
            engines,
            linkers,
            compatibilities,
            cache: Arc::new(cache),
            compiler: Compiler::new(config.compiler.clone(), config.compile.clone()),
            shelf: Shelf::default(),
            behind: Mutex::default(),
            refused: Mutex::default(),
            config,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Scripts that can run at a time on this machine.
    #[must_use]
    pub fn capacity(&self) -> u32 {
        self.inner.capacity
    }

    /// Scripts that run now.
    #[must_use]
    pub fn running(&self) -> u32 {
        let free = u32::try_from(self.inner.seats.available_permits()).unwrap_or(u32::MAX);
        self.inner.capacity.saturating_sub(free)
    }

    /// Takes the right to run a script, if one is free: before a call is accepted,
    /// so that one without a seat can be refused with 503 at once.
    #[must_use]
    pub fn reserve(&self) -> Option<Seat> {
        match self.inner.seats.clone().try_acquire_owned() {
            Ok(place) => Some(Seat { _place: place, memory: None, cpu_per_call_ms: None }),
            Err(TryAcquireError::NoPermits | TryAcquireError::Closed) => None,
        }
    }

    /// Whether an upload may become a script: looks at it, compiles it with the
    /// fast compiler and checks it against the interface. The optimising compiler
    /// follows in the background. The same upload again costs little.
    ///
    /// # Errors
    /// What keeps it out; see [`AdmissionError::code`].
    pub async fn admit(&self, wasm: Bytes) -> Result<Admission, AdmissionError> {
        let (digest, mut shape) = self.inner.look(&wasm).await?;
        let (assets, playable) = (shape.assets.clone(), self.inner.config.playable);
        blocking(move || all_playable(&assets, playable)).await?;
        let (code, _) = self.inner.code(&digest, &wasm).await?;
        shape.checks.push(Check::ok("compiled", format!("by {}: {} bytes of code", code.tier, code.bytes)));
        shape.checks.push(Check::ok("fits", "every function it uses has the type it expects"));
        if code.tier == Tier::Winch {
            self.optimise(&digest, &wasm, shape.largest.clone());
        }
        Ok(Admission {
            digest,
            size: wasm.len() as u64,
            manifest: shape.manifest,
            imports: shape.imports,
            assets: shape.assets.into_keys().collect(),
            checks: shape.checks,
            toolchain: shape.toolchain,
        })
    }

    /// Makes a script ready. What is in memory or in the cache is there at once;
    /// else `wasm` is asked for the component's bytes. It is asked too for what is
    /// only in the cache, for the manifest and the assets.
    ///
    /// # Errors
    /// When the bytes cannot be had, are not of this digest, or are not admitted.
    pub async fn load<F, R>(&self, wanted: &str, wasm: F) -> Result<Arc<Script>, ScriptError>
    where
        F: FnOnce() -> R + Send,
        R: Future<Output = Result<Bytes, String>> + Send,
    {
        let place = self.inner.shelf.place(wanted);
        let mut fresh = None;
        let loaded = place.get_or_try_init(|| self.make(wanted, wasm, &mut fresh)).await.cloned();
        let failed = loaded.is_err().then_some(wanted);
        drop(place);
        self.inner.shelf.tidy(failed, self.inner.config.code_memory);
        // Only now, that the script is on the shelf and can be given better code.
        if let (Ok(script), Some(fresh)) = (&loaded, fresh)
            && script.tier() == Tier::Winch
        {
            match self.inner.refusal(wanted) {
                Some(why) => script.not_optimised(why),
                None => self.optimise(wanted, &fresh.wasm, fresh.largest),
            }
        }
        loaded
    }

    async fn make<F, R>(&self, wanted: &str, wasm: F, fresh: &mut Option<Fresh>) -> Result<Arc<Script>, ScriptError>
    where
        F: FnOnce() -> R + Send,
        R: Future<Output = Result<Bytes, String>> + Send,
    {
        let wasm = wasm().await.map_err(|why| ScriptError::Missing { digest: printable(wanted, 80), why })?;
        let (expected, bytes) = (wanted.to_owned(), wasm.clone());
        let max_assets = self.inner.config.shape.assets;
        let package = blocking(move || {
            let found = digest(&bytes);
            if found != expected {
                return Err(ScriptError::Digest { expected: printable(&expected, 80), found });
            }
            Ok(package::read(&bytes, max_assets).map_err(AdmissionError::from)?)
        })
        .await?;
        let (code, shape) = self.inner.code(wanted, &wasm).await?;
        // Copies, so that the component itself need not stay in memory.
        let assets = package.assets.into_iter().map(|(path, wav)| (path, Bytes::copy_from_slice(&wav))).collect();
        *fresh = Some(Fresh { wasm, largest: shape.and_then(|shape| shape.largest) });
        Ok(Arc::new(Script::new(wanted.to_owned(), package.manifest, assets, code)))
    }

    /// Sends a component to the optimising compiler, unless it is on its way, was
    /// refused, or too many are waiting (then it is sent the next time).
    fn optimise(&self, digest: &str, wasm: &Bytes, largest: Option<(String, u32)>) {
        let inner = &self.inner;
        if !inner.config.optimise || inner.refusal(digest).is_some() {
            return;
        }
        let mut behind = inner.behind.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = wasm.len() as u64;
        if behind.contains_key(digest) || behind.values().sum::<u64>() + bytes > BEHIND {
            return;
        }
        behind.insert(digest.to_owned(), bytes);
        drop(behind);
        let (inner, digest, wasm) = (Arc::downgrade(inner), digest.to_owned(), wasm.clone());
        tokio::spawn(async move {
            let Some(inner) = inner.upgrade() else { return };
            let result = inner.optimised(&digest, &wasm).await;
            inner.behind.lock().unwrap_or_else(PoisonError::into_inner).remove(&digest);
            match result {
                Ok(code) => {
                    tracing::info!(%digest, "optimised; new calls run the new code");
                    if let Some(script) = inner.shelf.get(&digest) {
                        script.replace(code);
                    }
                }
                Err(error) => inner.not_optimised(&digest, &error, largest),
            }
        });
    }

    /// Runs a script for one call, to its end. Takes a seat first; without one the
    /// run ends as [`RunReason::NoFreeInstance`].
    pub async fn run<S: Session>(&self, script: Arc<Script>, call: CallId, session: S, tape: bool) -> ScriptRun {
        match self.reserve() {
            Some(seat) => self.run_until(seat, script, call, session, tape, pending()).await,
            None => self.no_seat(&script),
        }
    }

    /// Runs a script for one call, to its end or until `stop` is ready. Then the
    /// instance is dropped, wherever it is, and what is left is returned.
    pub async fn run_until<S: Session>(
        &self,
        seat: Seat,
        script: Arc<Script>,
        call: CallId,
        session: S,
        tape: bool,
        stop: impl Future<Output = ()> + Send,
    ) -> ScriptRun {
        let code = script.code();
        let limits = seat.limits(&self.inner.config.limits);
        let turnstile = Turnstile::new(self.inner.gate.clone());
        let run = run::run(&code.pre, &script.digest, &limits, turnstile, Box::new(session), tape, stop).await;
        drop(seat);
        match &run.end {
            ScriptEnd::Returned | ScriptEnd::Failed { .. } => {
                tracing::debug!(%call, script = %script.digest, end = ?run.end, "script ended");
            }
            ScriptEnd::Trapped { .. } | ScriptEnd::Budget { .. } | ScriptEnd::NotStarted { .. } => {
                tracing::warn!(%call, script = %script.digest, end = ?run.end, "script broke off");
            }
        }
        run
    }

    /// Makes an instance of a script and drops it, for measurements. CPU time in
    /// nanoseconds.
    ///
    /// # Errors
    /// When it cannot be made.
    pub async fn instantiate<S: Session>(&self, script: &Script, session: S) -> Result<u64, ScriptError> {
        let code = script.code();
        run::instantiate(
            &code.pre,
            &self.inner.config.limits,
            Turnstile::new(self.inner.gate.clone()),
            Box::new(session),
        )
        .await
        .map_err(|error| AdmissionError::Incompatible(format!("{error:#}")).into())
    }

    fn no_seat(&self, script: &Script) -> ScriptRun {
        let capacity = self.inner.capacity;
        let end = ScriptEnd::NotStarted { message: format!("no free instance: {capacity} scripts are running") };
        let reason = RunReason::NoFreeInstance;
        let tape = Recorder::new(false, &self.inner.config.limits).finish(&script.digest, &end, reason);
        ScriptRun { end, reason, usage: Usage::default(), tape }
    }
}

impl Inner {
    /// The best code there is for a component, compiled with the fast compiler
    /// when there is none. The shape where it had to be looked at.
    async fn code(&self, digest: &str, wasm: &Bytes) -> Result<(Code, Option<Shape>), AdmissionError> {
        for tier in [Tier::Cranelift, Tier::Winch] {
            if let Some(code) = self.cached(digest, tier).await? {
                return Ok((code, None));
            }
        }
        let (_, shape) = self.look(wasm).await?;
        let (tier, artefact) = match self.compiler.now(Tier::Winch, wasm).await {
            Ok(artefact) => (Tier::Winch, artefact),
            // What one compiler does not know the other may.
            Err(CompileError::Refused(why)) => {
                tracing::warn!(%digest, %why, "the fast compiler cannot do it; the other one is tried");
                (Tier::Cranelift, self.compiler.now(Tier::Cranelift, wasm).await?)
            }
            Err(error) => return Err(error.into()),
        };
        Ok((self.keep(digest, tier, artefact).await?, Some(shape)))
    }

    /// Looks at an upload. That takes half a second of CPU time for a large one, so
    /// one after the other.
    async fn look(&self, wasm: &Bytes) -> Result<(String, Shape), AdmissionError> {
        let _turn = self.looking.acquire().await.map_err(|closed| AdmissionError::Host(closed.to_string()))?;
        let (wasm, limits) = (wasm.clone(), self.config.shape.clone());
        blocking(move || Ok((digest(&wasm), admit_shape(&wasm, &limits)?))).await
    }

    /// Code from the cache.
    async fn cached(&self, digest: &str, tier: Tier) -> Result<Option<Code>, AdmissionError> {
        let name = self.name(digest, tier);
        let (cache, linker) = (self.cache.clone(), self.linkers[index(tier)].clone());
        let engine = self.engines.get(tier).clone();
        blocking(move || {
            let Some(artefact) = cache.load(&name) else { return Ok(None) };
            match link(&artefact, tier, &engine, &linker) {
                Ok(code) => Ok(Some(code)),
                Err(error) => {
                    tracing::warn!(%name, %error, "a compiled script does not load; it is compiled again");
                    Ok(None)
                }
            }
        })
        .await
    }

    /// Loads fresh code and puts it into the cache. A cache that cannot be written
    /// costs a compilation later, and is no reason to refuse a script.
    async fn keep(&self, digest: &str, tier: Tier, artefact: Trusted) -> Result<Code, AdmissionError> {
        let name = self.name(digest, tier);
        let (cache, linker) = (self.cache.clone(), self.linkers[index(tier)].clone());
        let engine = self.engines.get(tier).clone();
        blocking(move || {
            let code = link(&artefact, tier, &engine, &linker)?;
            if let Err(error) = cache.store(&name, &artefact) {
                tracing::error!(%name, %error, "a compiled script could not be stored; it will be compiled again");
            }
            Ok(code)
        })
        .await
    }

    async fn optimised(&self, digest: &str, wasm: &Bytes) -> Result<Code, AdmissionError> {
        if let Some(code) = self.cached(digest, Tier::Cranelift).await? {
            return Ok(code);
        }
        let artefact = self.compiler.behind(Tier::Cranelift, wasm).await?;
        self.keep(digest, Tier::Cranelift, artefact).await
    }

    fn not_optimised(&self, digest: &str, error: &AdmissionError, largest: Option<(String, u32)>) {
        let mut why = error.to_string();
        if let (AdmissionError::CompileLimit(_), Some((name, bytes))) = (error, largest) {
            why = format!("{why}; its largest function is `{name}` with {bytes} bytes");
        }
        tracing::warn!(%digest, %why, "not optimised; calls go on with the fast compiler's code");
        if let Some(script) = self.shelf.get(digest) {
            script.not_optimised(why.clone());
        }
        if error.is_temporary() {
            return;
        }
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if refused.len() >= 1_024 {
            refused.pop_first();
        }
        refused.insert(digest.to_owned(), why);
    }

    /// Why the optimising compiler does not want a component.
    fn refusal(&self, digest: &str) -> Option<String> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).get(digest).cloned()
    }

    fn name(&self, digest: &str, tier: Tier) -> String {
        Cache::name(digest, &self.compatibilities[index(tier)], tier)
    }
}

fn link(
    artefact: &Trusted,
    tier: Tier,
    engine: &wasmtime::Engine,
    linker: &Linker<State>,
) -> Result<Code, AdmissionError> {
    // It is of this engine's own kind, so what remains is the pool: too many
    // instances, memories or tables, which nesting can multiply unseen.
    let component = artefact.load(engine).map_err(|error| {
        AdmissionError::Compile(printable(&format!("it does not fit into the host: {error:#}"), 400))
    })?;
    let pre = linker
        .instantiate_pre(&component)
        .and_then(DialoguePre::new)
        .map_err(|error| AdmissionError::Incompatible(printable(&format!("{error:#}"), 400)))?;
    Ok(Code { tier, bytes: artefact.bytes().len() as u64, pre })
}

fn check(config: &ScriptConfig) -> Result<(), ScriptError> {
    let wrong = |what: &str| Err(ScriptError::Config(what.to_owned()));
    let limits = &config.limits;
    if config.max_instances == 0 {
        return wrong("`max_instances` is 0: no call could have a script");
    }
    if limits.memory > MEMORY_CEILING || limits.memory < 64 << 10 {
        return wrong("`memory` must be between 64 KiB and 128 MiB");
    }
    if limits.cpu_per_turn_ms == 0 || limits.cpu_per_call_ms < limits.cpu_per_turn_ms {
        return wrong("`cpu_per_turn_ms` must be more than 0 and no more than `cpu_per_call_ms`");
    }
    if limits.host_calls_burst == 0 || limits.host_calls_per_second == 0 {
        return wrong("`host_calls_per_second` and `host_calls_burst` must be more than 0");
    }
    Ok(())
}

/// The name of a component: `sha256:` and the hexadecimal digest.
#[must_use]
pub fn digest(wasm: &[u8]) -> String {
    use sha2::Digest as _;
    format!("sha256:{}", hex::encode(sha2::Sha256::digest(wasm)))
}

/// Work that would hold up an executor's thread.
async fn blocking<T, E>(work: impl FnOnce() -> Result<T, E> + Send + 'static) -> Result<T, E>
where
    T: Send + 'static,
    E: From<AdmissionError> + Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(AdmissionError::Host(format!("the work was broken off: {error}")).into()),
    }
}

/// Refuses the first asset that cannot be played.
fn all_playable(
    assets: &BTreeMap<String, Bytes>,
    playable: fn(&[u8]) -> Result<(), String>,
) -> Result<(), AdmissionError> {
    for (path, bytes) in assets {
        playable(bytes).map_err(|problem| PackageError::Asset { path: printable(path, 80), problem })?;
    }
    Ok(())
}
