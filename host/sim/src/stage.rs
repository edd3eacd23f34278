//! Where scripts are played: the host that compiles and runs them, and one script on it.

use crate::call;
use crate::far_end::FarEnd;
use crate::situation::Situation;
use crate::told::Told;
use bytes::Bytes;
use callbox_dialogue::time::Millis;
use callbox_script::{Manifest, Script, ScriptConfig, ScriptError, ScriptHost, ScriptLimits};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Scripts that can run at a time; each takes address space and little else.
const INSTANCES: u32 = 32;

/// How scripts are compiled and run.
#[derive(Clone, Debug)]
pub struct StageOptions {
    /// Where compiled scripts are kept. Processes share it.
    pub cache: PathBuf,
    /// The program that compiles, called with the one argument `compile-worker`: see
    /// [`callbox_script::ScriptConfig::compiler`].
    pub compiler: PathBuf,
    /// What a script may use.
    pub limits: ScriptLimits,
}

impl StageOptions {
    /// With a cache and a compiler of one's own.
    #[must_use]
    pub fn new(cache: impl Into<PathBuf>, compiler: impl Into<PathBuf>) -> Self {
        Self { cache: cache.into(), compiler: compiler.into(), limits: ScriptLimits::default() }
    }

    /// With the cache of whoever works at this machine: `$XDG_CACHE_HOME/callbox/scripts`, else
    /// `~/.cache/callbox/scripts`, so that a component is compiled once for all tools and runs.
    #[must_use]
    pub fn at_home(compiler: impl Into<PathBuf>) -> Self {
        Self::new(cache_home().unwrap_or_else(std::env::temp_dir).join("callbox/scripts"), compiler)
    }
}

/// Where whoever works at this machine keeps what can be made again: `$XDG_CACHE_HOME`, else `~/.cache`.
#[must_use]
pub fn cache_home() -> Option<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path: &PathBuf| path.is_absolute());
    absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")))
}

/// Why a script cannot be played.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SimError {
    /// The host does not start, or does not take the component.
    #[error(transparent)]
    Script(#[from] ScriptError),
}

impl SimError {
    /// The stable code of the documentation.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Script(error) => error.code(),
        }
    }
}

/// The house of all stages: one component host. Clones share it.
#[derive(Clone, Debug)]
pub struct Theatre {
    host: ScriptHost,
    seats: Arc<Semaphore>,
}

impl Theatre {
    /// Starts the component host. Call it on a tokio runtime.
    ///
    /// # Errors
    /// The engines do not start, or the cache cannot be used.
    pub fn open(options: &StageOptions) -> Result<Self, SimError> {
        let mut config = ScriptConfig::new(&options.cache, &options.compiler);
        config.max_instances = INSTANCES;
        config.limits = options.limits.clone();
        config.optimise = false;
        let host = ScriptHost::start(config)?;
        let seats = Arc::new(Semaphore::new(host.capacity() as usize));
        Ok(Self { host, seats })
    }

    /// Makes a component ready: from the cache, else it is admitted and compiled.
    ///
    /// # Errors
    /// What the server would refuse the component for.
    pub async fn stage(&self, wasm: Bytes) -> Result<Stage, SimError> {
        let digest = callbox_script::digest(&wasm);
        let script = self.host.load(&digest, || async move { Ok(wasm) }).await?;
        let assets = script.assets.iter().map(|(path, file)| (path.clone(), crate::assets::length(file))).collect();
        Ok(Stage { theatre: self.clone(), script, assets: Arc::new(assets) })
    }
}

/// A script that can be played, as often as one likes and many times at once. Clones share it.
#[derive(Clone, Debug)]
pub struct Stage {
    theatre: Theatre,
    script: Arc<Script>,
    /// How long its audio files are, or what is wrong with them.
    assets: Arc<BTreeMap<String, Result<Millis, String>>>,
}

impl Stage {
    /// A component on a host of its own: what [`Theatre::open`] and [`Theatre::stage`] do.
    ///
    /// # Errors
    /// Theirs.
    pub async fn load(options: &StageOptions, wasm: Bytes) -> Result<Self, SimError> {
        Theatre::open(options)?.stage(wasm).await
    }

    /// What the script says about itself.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.script.manifest
    }

    /// `sha256:` and the hexadecimal digest of the component.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.script.digest
    }

    /// The script, for whoever runs it against something else than a simulated call.
    #[must_use]
    pub const fn script(&self) -> &Arc<Script> {
        &self.script
    }

    /// The host it runs on.
    #[must_use]
    pub const fn host(&self) -> &ScriptHost {
        &self.theatre.host
    }

    /// Plays one call to its end. Waits for a free instance where very many run at once.
    pub async fn play(&self, situation: &Situation, far_end: &mut impl FarEnd) -> Told {
        // Never closed; and a host without a free instance is told to the call as it would be live.
        let _place = self.theatre.seats.acquire().await;
        let setup = situation.setup(&self.script.manifest, self.assets.keys().cloned().collect());
        call::play(self, situation, setup, far_end).await
    }

    pub(crate) fn assets(&self) -> &BTreeMap<String, Result<Millis, String>> {
        &self.assets
    }
}
