//! Takes away what is older than the rules of its tenant say: `callbox_store::retention`.

use callbox_call::Platform;
use callbox_store::{Store, StoreError};
use std::time::Duration;

/// Between two sweeps, unless the last one has left something.
const EVERY: Duration = Duration::from_secs(300);
/// Then so long, which leaves the database to calls.
const SOON: Duration = Duration::from_secs(5);
/// Calls in one sweep.
const MOST: u64 = 2_000;

/// Sweeps until the store is closed.
pub(crate) async fn run(store: Store, platform: Platform) {
    loop {
        let recordings = platform.recordings();
        let pause = match store.sweep(MOST, async move |location: String| recordings.remove(&location).await).await {
            Ok(swept) if swept.more => SOON,
            Ok(_) => EVERY,
            Err(StoreError::Closed) => return,
            Err(error) => {
                tracing::warn!(code = error.code(), %error, "what is old cannot be swept away");
                EVERY
            }
        };
        if let Err(error) = platform.sweep_captures().await {
            tracing::warn!(code = error.code(), %error, "old captures cannot be swept away");
        }
        tokio::time::sleep(pause).await;
    }
}
