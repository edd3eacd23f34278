//! Takes away what is older than the rules of its tenant say: `callbox_store::retention`.

use callbox_store::{Store, StoreError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Between two sweeps, unless the last one has left something.
const EVERY: Duration = Duration::from_secs(300);
/// Then so long, which leaves the database to calls.
const SOON: Duration = Duration::from_secs(5);
/// Calls in one sweep.
const MOST: u64 = 2_000;

/// Sweeps until the store is closed.
pub(crate) async fn run(store: Store, recordings: PathBuf) {
    loop {
        let folder = &recordings;
        let pause = match store.sweep(MOST, |location| remove(folder, location)).await {
            Ok(swept) if swept.more => SOON,
            Ok(_) => EVERY,
            Err(StoreError::Closed) => return,
            Err(error) => {
                tracing::warn!(code = error.code(), %error, "what is old cannot be swept away");
                EVERY
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// Whether a recording is gone: one that was gone before is.
async fn remove(folder: &Path, location: String) -> bool {
    // The name alone: whatever the row says, nothing outside of the folder is touched.
    let Some(name) = Path::new(&location).file_name() else { return true };
    let path = folder.join(name);
    match tokio::fs::remove_file(&path).await {
        Ok(()) => true,
        Err(error) if error.kind() == ErrorKind::NotFound => true,
        Err(error) => {
            tracing::error!(path = %path.display(), %error, "a recording cannot be removed");
            false
        }
    }
}
