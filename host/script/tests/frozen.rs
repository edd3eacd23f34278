//! Components built against every published version of `callbox:dialogue`, kept
//! as they were: each must be admitted and run for ever.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod guests;

use callbox_dialogue::{HostCall, ScriptEnd};
use guests::{Sim, start};

#[tokio::test]
async fn published_versions_still_run() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/frozen");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let session = Sim::default();
        let calls = session.calls.clone();
        let run = start(|_| ()).run(&std::fs::read(&path).unwrap().into(), session).await;
        assert_eq!(run.end, ScriptEnd::Returned, "{}", path.display());
        assert!(calls.lock().unwrap().iter().any(|call| matches!(call, HostCall::Say { .. })), "{}", path.display());
        count += 1;
    }
    assert!(count >= 1);
}
