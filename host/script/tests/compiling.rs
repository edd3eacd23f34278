//! The compiler process: its limits, its failures, the two tiers and the cache.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod guests;

use bytes::Bytes;
use callbox_dialogue::{CallId, HostCall, ScriptEnd};
use callbox_script::{AdmissionError, Optimisation, ScriptError, Tier};
use guests::{HELLO, Sim, TestHost, guest, start};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A host whose compiler is a shell script.
fn with_compiler(text: &str, change: impl FnOnce(&mut callbox_script::ScriptConfig)) -> TestHost {
    start(|config| {
        let program = config.cache_dir.join("compiler.sh");
        std::fs::write(&program, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
        config.compiler = program;
        change(config);
    })
}

async fn refused(host: &TestHost, wasm: Bytes) -> AdmissionError {
    host.host.admit(wasm).await.unwrap_err()
}

fn artefacts(folder: &Path) -> Vec<PathBuf> {
    let mut all: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "cwasm"))
        .collect();
    all.sort();
    all
}

#[tokio::test]
async fn the_optimised_code_takes_over() {
    let host = start(|_| ());
    let script = host.script(&guest(HELLO, "")).await;
    assert_eq!(script.optimised().await, Optimisation::Done);
    assert_eq!(script.tier(), Tier::Cranelift);
    let run = host.host.run(script, CallId("call_1".into()), Sim::default(), true).await;
    assert_eq!((run.end, run.usage.host_calls), (ScriptEnd::Returned, 1));
    let names: Vec<_> = artefacts(host.folder.path());
    let optimised = |path: &PathBuf| path.to_str().unwrap().ends_with("-cranelift.cwasm");
    assert!(names.len() == 2 && names.iter().any(optimised), "{names:?}");

    // The next host starts with it, and needs no compiler at all.
    let mut config = guests::config(&host.folder);
    config.compiler = "/nonexistent".into();
    let next =
        TestHost { host: callbox_script::ScriptHost::start(config).unwrap(), folder: tempfile::tempdir().unwrap() };
    let script = next.script(&guest(HELLO, "")).await;
    assert_eq!((script.tier(), script.optimisation()), (Tier::Cranelift, Optimisation::Done));
}

#[tokio::test]
async fn both_tiers_say_the_same_of_a_trap() {
    let wasm = guest("(call $greet) (i32.const 0)", "(func $greet (unreachable))");
    let host = start(|_| ());
    let script = host.script(&wasm).await;
    let run = |script| host.host.run(script, CallId("call_1".into()), Sim::default(), false);
    let first = run(script.clone()).await.end;
    script.optimised().await;
    assert_eq!(run(script).await.end, first);
}

#[tokio::test]
async fn both_tiers_compute_the_same_bits() {
    // A NaN is the one result whose bits WebAssembly leaves open; a tape that was recorded on one
    // tier is replayed on the other.
    let zero = "(f32.load (i32.const 0))";
    let nans = [
        format!("(f32.div {zero} {zero})"),
        "(f32.sqrt (f32.const -1))".to_owned(),
        format!("(f32.add (f32.const nan:0x200001) {zero})"),
        format!("(f32.min (f32.const nan:0x200001) {zero})"),
        "(f32.demote_f64 (f64.sub (f64.const inf) (f64.const inf)))".to_owned(),
    ];
    let calls: String = nans.iter().map(|nan| format!("(call $sleep (i32.reinterpret_f32 {nan}))")).collect();
    let host = start(|_| ());
    let script = host.script(&guest(&format!("{calls} (i32.const 0)"), "")).await;
    for tier in [Tier::Winch, Tier::Cranelift] {
        assert_eq!(script.tier(), tier);
        let session = Sim::default();
        let calls = session.calls.clone();
        host.host.run(script.clone(), CallId("call_1".into()), session, false).await;
        assert_eq!(*calls.lock().unwrap(), vec![HostCall::Sleep { delay: 0x7fc0_0000 }; nans.len()], "{tier}");
        script.optimised().await;
    }
}

#[tokio::test]
async fn a_damaged_cache_costs_a_compilation() {
    let host = start(|_| ());
    let wasm = guest(HELLO, "");
    host.script(&wasm).await.optimised().await;
    for path in artefacts(host.folder.path()) {
        let mut bytes = std::fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&path, bytes).unwrap();
    }
    let next = callbox_script::ScriptHost::start(guests::config(&host.folder)).unwrap();
    let next = TestHost { host: next, folder: tempfile::tempdir().unwrap() };
    assert_eq!(next.run(&wasm, Sim::default()).await.end, ScriptEnd::Returned);
}

#[tokio::test]
async fn a_compiler_that_hangs_is_ended() {
    let host = with_compiler("echo $$ > \"$(dirname \"$0\")/pid\"; exec /bin/sleep 1000", |config| {
        config.compile.winch.wall = Duration::from_millis(500);
    });
    let error = refused(&host, guest(HELLO, "")).await;
    assert_eq!(error.code(), "script_compile_limit", "{error}");
    let pid = std::fs::read_to_string(host.folder.path().join("pid")).unwrap();
    assert!(!Path::new("/proc").join(pid.trim()).exists(), "it is killed and gone");
}

#[tokio::test]
async fn failures_of_the_compiler_are_told_apart() {
    let cases = [
        ("exit 3", "script_host_failed", "exit status: 3"),
        ("echo broken pipe organ >&2; exit 1", "script_host_failed", "broken pipe organ"),
        ("echo thread panicked >&2; exit 101", "script_compile_failed", "crashed on it: thread panicked"),
        ("kill -ILL $$", "script_compile_failed", "signal 4"),
        ("kill -SEGV $$", "script_compile_limit", "stack or memory"),
        ("kill -XCPU $$", "script_compile_limit", "CPU time"),
        ("echo memory allocation of 5 bytes failed >&2; kill -ABRT $$", "script_compile_limit", "MiB of memory"),
        ("echo '{\"refused\":\"too \\u001b[31m odd\"}'", "script_compile_failed", "too \u{fffd}[31m odd"),
        ("echo '{\"artefact\":5}'; echo 123", "script_host_failed", "is it `callbox`?"),
        ("echo hello", "script_host_failed", "is it `callbox`?"),
        ("/bin/cat /dev/zero", "script_compile_limit", "too large when compiled"),
        ("echo '{\"artefact\":6}'; echo 12345", "script_compile_failed", "does not fit into the host"),
    ];
    for (text, code, words) in cases {
        let host = with_compiler(text, |config| config.compile.artefact = 1 << 20);
        let error = refused(&host, guest(HELLO, "")).await;
        assert!(error.code() == code && error.to_string().contains(words), "{text}: {}: {error}", error.code());
        assert!(artefacts(host.folder.path()).is_empty(), "{text}: nothing is kept");
    }
    let host = start(|config| config.compiler = "/nonexistent".into());
    let error = refused(&host, guest(HELLO, "")).await;
    assert!(error.is_temporary() && error.to_string().contains("/nonexistent"), "{error}");
}

#[tokio::test]
async fn the_compiler_has_only_so_much_memory() {
    let host = start(|config| config.compile.winch.memory = 8 << 20);
    let error = refused(&host, guest(HELLO, "")).await;
    assert!(error.code() == "script_compile_limit" && error.to_string().contains("memory"), "{error}");
}

#[tokio::test]
async fn too_many_uploads_at_once_are_told_to_come_back() {
    let host = with_compiler("exec /bin/sleep 1000", |config| {
        config.compile.waiting = 2;
        config.compile.winch.wall = Duration::from_millis(300);
    });
    let mut uploads = tokio::task::JoinSet::new();
    for n in 0..6 {
        let (host, wasm) = (host.host.clone(), guest(&format!("(i32.const 0) (drop (i32.const {n}))"), ""));
        uploads.spawn(async move { host.admit(wasm).await.unwrap_err().code() });
    }
    let mut codes = uploads.join_all().await;
    codes.sort_unstable();
    assert_eq!(codes[..3], ["script_compile_busy"; 3]);
    assert_eq!(codes[3..], ["script_compile_limit"; 3]);
}

#[tokio::test]
async fn a_cache_that_cannot_be_written_keeps_no_script_out() {
    let host = start(|_| ());
    std::fs::remove_dir_all(host.folder.path()).unwrap();
    assert_eq!(host.run(&guest(HELLO, ""), Sim::default()).await.end, ScriptEnd::Returned);
}

/// A function in which so many values are alive at once.
fn live_values(count: u32) -> String {
    let mut body = String::from("(func $bomb (param i32) (result i32)");
    for n in 0..count {
        body += &format!("(i32.mul (local.get 0) (i32.const {n}))");
    }
    body += &"i32.add ".repeat(count as usize - 1);
    body + ")"
}

#[tokio::test]
async fn what_is_too_much_for_the_optimising_compiler_stays_as_it_is() {
    let host = start(|config| {
        config.compile.cranelift.cpu = Duration::from_secs(1);
        config.compile.winch.cpu = Duration::from_secs(30);
    });
    let wasm = guest("(drop (call $bomb (i32.const 1))) (i32.const 0)", &live_values(20_000));
    let script = host.script(&wasm).await;
    assert_eq!(script.tier(), Tier::Winch);
    let Optimisation::Failed(why) = script.optimised().await else { panic!("{:?}", script.optimisation()) };
    assert!(why.contains("more than 1 s of CPU time") && why.contains("`bomb`"), "{why}");
    assert_eq!(script.tier(), Tier::Winch);
    let run = host.host.run(script, CallId("call_1".into()), Sim::default(), false).await;
    assert_eq!(run.end, ScriptEnd::Returned, "and runs");
}

#[tokio::test]
async fn bombs_end_within_their_limits() {
    let nested = |depth: usize| format!("(func $n {} {})", "(block ".repeat(depth), ")".repeat(depth));
    let table = |size| format!("(func $t (param i32) (block (br_table {} (local.get 0))))", "0 ".repeat(size));
    let loops = format!("(func $l (local {}) {} {})", "i32 ".repeat(2_000), "(loop ".repeat(1_000), ")".repeat(1_000));
    let bombs = [
        ("many functions", format!("(func $e0){}", "(func)".repeat(60_000))),
        ("more functions", format!("(func $e0){}", "(func)".repeat(100_000))),
        ("many locals", format!("(func $f (local {}))", "i64 ".repeat(49_000))),
        ("a large function", format!("(func $f {})", "nop ".repeat(1 << 20))),
        ("many nested blocks", nested(900)),
        ("a large table of branches", table(200_000)),
        ("a table of a million branches", table(1_000_000)),
        ("nested loops with many locals", loops),
    ];
    let host = start(|config| {
        config.compile.winch.cpu = Duration::from_secs(5);
        config.compile.cranelift.cpu = Duration::from_secs(1);
    });
    for (name, more) in bombs {
        match host.host.admit(guest(HELLO, &more)).await {
            Ok(_) => {}
            Err(error) => assert!(
                matches!(error.code(), "script_shape" | "script_compile_limit" | "script_compile_failed"),
                "{name}: {error}"
            ),
        }
    }
    // Each level makes sixteen of the next: 65,536 modules of a few bytes.
    let mut component = String::from("(core module $m) ");
    component += &"(core instance (instantiate $m)) ".repeat(16);
    for level in 0..3 {
        component =
            format!("(component $c{level} {component}) {}", format!("(instance (instantiate $c{level})) ").repeat(16));
    }
    let text = format!(
        r#"(component {component}
        (core module $m (memory (export "memory") 1) (func (export "run") (result i32) (i32.const 0)))
        (core instance $i (instantiate $m))
        (func $run (result (result (error string))) (canon lift (core func $i "run") (memory (core memory $i "memory"))))
        (instance $script (export "run" (func $run)))
        (export "callbox:dialogue/script@0.1.0" (instance $script)))"#
    );
    let wasm = guests::packed(&wat::parse_str(text).unwrap(), &guests::manifest());
    let error = refused(&host, wasm).await;
    assert!(matches!(error.code(), "script_compile_limit" | "script_compile_failed"), "{error}");
}

#[tokio::test]
async fn what_is_loaded_is_what_was_asked_for() {
    let host = start(|_| ());
    let (one, two) = (guest(HELLO, ""), guest("(i32.const 16)", ""));
    let digest = host.host.admit(one.clone()).await.unwrap().digest;
    let load = |wasm: Result<Bytes, String>| host.host.load(&digest, || async move { wasm });
    let missing = load(Err("disk on fire".into())).await.unwrap_err();
    assert!(matches!(&missing, ScriptError::Missing { .. }) && missing.to_string().contains("disk on fire"));
    assert!(matches!(load(Ok(two)).await.unwrap_err(), ScriptError::Digest { .. }));
    let script = load(Ok(one)).await.unwrap();
    assert_eq!(script.assets["hello.wav"].len(), 12);
    // In memory now: nobody asks for the bytes.
    let again = load(Err("not asked".into())).await.unwrap();
    assert!(std::sync::Arc::ptr_eq(&script, &again));
}

#[tokio::test]
async fn scripts_that_nobody_uses_leave_memory() {
    let host = start(|config| config.code_memory = 1);
    let (one, two) = (guest(HELLO, ""), guest("(i32.const 16)", ""));
    let first = host.script(&one).await;
    let _second = host.script(&two).await;
    let digest = first.digest.clone();
    let again = host.host.load(&digest, || async { Err("asked again".into()) }).await.unwrap_err();
    assert!(again.to_string().contains("asked again"));
    let run = host.host.run(first, CallId("call_1".into()), Sim::default(), false).await;
    assert_eq!(run.end, ScriptEnd::Returned, "a call that has it keeps it");
}
