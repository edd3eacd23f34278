//! Whether the machine keeps its time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// How often it looks.
const TICK: Duration = Duration::from_millis(10);
/// Who waits for longer than that, though it has nothing else to do, is on a machine that has too much.
const LATE: Duration = Duration::from_millis(100);

/// A thread that does nothing but look whether it is late. It ends with this.
#[derive(Debug)]
pub struct Watch {
    seen: Arc<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    worst_ms: AtomicU64,
    over: AtomicBool,
}

impl Watch {
    /// Looks from now on.
    #[must_use]
    pub fn start() -> Self {
        let seen = Arc::<Seen>::default();
        let watched = seen.clone();
        std::thread::spawn(move || {
            while !watched.over.load(Ordering::Relaxed) {
                let before = tokio::time::Instant::now();
                std::thread::sleep(TICK);
                let late = before.elapsed().saturating_sub(TICK);
                watched.worst_ms.fetch_max(u64::try_from(late.as_millis()).unwrap(), Ordering::Relaxed);
            }
        });
        Self { seen }
    }

    /// Whether somebody had to wait for the processor for so long that audio suffers.
    #[must_use]
    pub fn was_late(&self) -> bool {
        u128::from(self.seen.worst_ms.load(Ordering::Relaxed)) > LATE.as_millis()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.seen.over.store(true, Ordering::Relaxed);
    }
}
