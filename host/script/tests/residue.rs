//! What thousands of scripts leave behind. Alone in its process, so that nobody
//! else's memory is measured.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod guests;

use callbox_dialogue::{CallId, ScriptEnd};
use guests::{Sim, guest, start};

/// Resident memory of this process in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn scripts_that_end_badly_leave_nothing() {
    let host = start(|config| config.max_instances = 8);
    // Takes 4 MiB, writes into all of it, holds handles, traps.
    let wasm = guest(
        "(local $i i32)
        (drop (memory.grow (i32.const 64)))
        (loop $touch
            (i32.store (local.get $i) (i32.const 7))
            (br_if $touch (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 4096))) (i32.const 4000000))))
        (drop (call $after (i32.const 5)))
        (drop (call $events))
        (unreachable)",
        "",
    );
    let script = host.script(&wasm).await;
    script.optimised().await;
    let rounds = async |count: u32| {
        for _ in 0..count {
            let run = host.host.run(script.clone(), CallId("call_1".into()), Sim::default(), true).await;
            assert!(matches!(run.end, ScriptEnd::Trapped { .. }), "{:?}", run.end);
        }
    };
    rounds(300).await;
    let before = resident();
    rounds(3_000).await;
    let after = resident();
    assert!(after < before + 8 * 1_024, "{before} KiB before, {after} KiB after");
}
