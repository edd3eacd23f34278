//! A script that is ready to run.

use crate::bindings::DialoguePre;
use crate::engine::Tier;
use crate::imports::State;
use crate::manifest::Manifest;
use arc_swap::ArcSwap;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use tokio::sync::watch;

/// A script that is ready to run. Calls share it.
pub struct Script {
    /// `sha256:` and the hexadecimal digest of the component.
    pub digest: String,
    /// What it says about itself.
    pub manifest: Manifest,
    /// Its audio files, by path.
    pub assets: BTreeMap<String, Bytes>,
    code: ArcSwap<Code>,
    optimisation: watch::Sender<Optimisation>,
}

/// Whether the optimising compiler has been at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Optimisation {
    /// Not yet.
    Pending,
    /// Calls run its code.
    Done,
    /// It could not; calls run the fast compiler's code. Says why.
    Failed(String),
}

/// Code, linked and type-checked.
pub(crate) struct Code {
    pub(crate) tier: Tier,
    pub(crate) bytes: u64,
    pub(crate) pre: DialoguePre<State>,
}

impl Script {
    pub(crate) fn new(digest: String, manifest: Manifest, assets: BTreeMap<String, Bytes>, code: Code) -> Self {
        let optimisation = if code.tier == Tier::Cranelift { Optimisation::Done } else { Optimisation::Pending };
        Self {
            digest,
            manifest,
            assets,
            code: ArcSwap::from_pointee(code),
            optimisation: watch::Sender::new(optimisation),
        }
    }

    /// Which compiler made the code that the next call runs.
    #[must_use]
    pub fn tier(&self) -> Tier {
        self.code.load().tier
    }

    /// Whether the optimising compiler has been at it.
    #[must_use]
    pub fn optimisation(&self) -> Optimisation {
        self.optimisation.borrow().clone()
    }

    /// Waits until the optimising compiler is through with it, well or badly. That
    /// may be never: when the host has too much to do, it leaves a script as it is.
    pub async fn optimised(&self) -> Optimisation {
        let mut changes = self.optimisation.subscribe();
        let settled = changes.wait_for(|now| *now != Optimisation::Pending).await;
        settled.map_or(Optimisation::Pending, |now| now.clone())
    }

    pub(crate) fn code(&self) -> Arc<Code> {
        self.code.load_full()
    }

    pub(crate) fn code_bytes(&self) -> u64 {
        self.code.load().bytes
    }

    /// From now on calls run this code; those under way keep theirs.
    pub(crate) fn replace(&self, code: Code) {
        self.code.store(Arc::new(code));
        self.optimisation.send_replace(Optimisation::Done);
    }

    pub(crate) fn not_optimised(&self, why: String) {
        self.optimisation.send_replace(Optimisation::Failed(why));
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Script")
            .field("digest", &self.digest)
            .field("name", &self.manifest.name)
            .field("tier", &self.tier())
            .finish_non_exhaustive()
    }
}
