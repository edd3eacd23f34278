//! Bad scripts: each ends with a stated reason within its budget, and nobody else
//! notices.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod guests;

use callbox_dialogue::{CallId, HostCall, ScriptEnd};
use callbox_script::ScriptRun;
use guests::{HELLO, Sim, TestHost, guest, start};
use std::sync::Arc;

/// Endless, without a host call.
const SPIN: &str = "(loop $again (br $again)) (unreachable)";

fn budget(run: &ScriptRun) -> &str {
    let ScriptEnd::Budget { message } = &run.end else { panic!("{:?}", run.end) };
    message
}

fn trap(run: &ScriptRun) -> &str {
    let ScriptEnd::Trapped { message } = &run.end else { panic!("{:?}", run.end) };
    message
}

async fn run(run: &str, more: &str) -> ScriptRun {
    start(|_| ()).run(&guest(run, more), Sim::default()).await
}

#[tokio::test]
async fn a_trap_names_functions_and_imports() {
    let greet = "(func $greet (param i32) (if (local.get 0) (then (unreachable))))";
    let early = run("(call $greet (i32.const 1)) (i32.const 0)", greet).await;
    assert_eq!(
        trap(&early),
        "it reached `unreachable` (a panic, or a failed assertion), in `greet` ← `run`, before its first host call"
    );
    let say = "(call $say (i32.const 256) (i32.const 1) (i32.const 2) (i32.const 1024))";
    let late = run(&format!("{say} (call $greet (i32.const 1)) (i32.const 0)"), greet).await;
    assert!(trap(&late).ends_with("in `greet` ← `run`, after voice.say (host call 1)"), "{}", trap(&late));
}

#[tokio::test]
async fn the_last_words_of_a_script_are_told_with_its_trap_and_earlier_ones_are_not() {
    let error = "(call $log (i32.const 3) (i32.const 64) (i32.const 5))";
    let gave_up = run(&format!("{error} (unreachable)"), "").await;
    assert_eq!(
        trap(&gave_up),
        "it gave up (`unreachable`) with the words: Hello, in `run`, before its first host call"
    );
    let say = "(call $say (i32.const 256) (i32.const 1) (i32.const 2) (i32.const 1024))";
    for before in [format!("{error} {say}"), "(call $log (i32.const 2) (i32.const 64) (i32.const 5))".to_owned()] {
        let run = run(&format!("{before} (unreachable)"), "").await;
        assert!(trap(&run).starts_with("it reached `unreachable`"), "{}", trap(&run));
    }
}

#[tokio::test]
async fn other_traps_are_told_too() {
    let divide = run("(i32.div_u (i32.const 1) (i32.load (i32.const 0)))", "").await;
    assert!(trap(&divide).starts_with("integer divide by zero, in `run`"), "{}", trap(&divide));
    let bounds = run("(i32.load (i32.const 65536))", "").await;
    assert!(trap(&bounds).contains("out of bounds memory access"), "{}", trap(&bounds));
    let handle = run("(call $pollable_block (i32.const 12345)) (i32.const 0)", "").await;
    assert!(trap(&handle).contains("12345"), "{}", trap(&handle));
    let pointer = run("(call $log (i32.const 0) (i32.const 65530) (i32.const 100)) (i32.const 0)", "").await;
    assert!(trap(&pointer).contains("out of bounds"), "{}", trap(&pointer));
    let start = run(HELLO, "(func $boom (unreachable)) (start $boom)").await;
    assert!(trap(&start).contains("in `boom`, before its first host call"), "{}", trap(&start));
    assert_eq!(start.usage.host_calls, 0);
}

#[tokio::test]
async fn an_endless_recursion_is_a_trap() {
    let run = run("(call $deeper)", "(func $deeper (result i32) (i32.add (call $deeper) (i32.const 1)))").await;
    let message = trap(&run);
    assert!(message.contains("stack is exhausted") && message.contains("`deeper` ×"), "{message}");
}

#[tokio::test]
async fn an_endless_loop_spends_its_turn_and_no_more() {
    let start_too = format!("(func $boom (result i32) {SPIN}) (func $start (drop (call $boom))) (start $start)");
    for (body, more) in [(SPIN, ""), (HELLO, start_too.as_str())] {
        let run = run(body, more).await;
        assert!(budget(&run).starts_with("it computed for more than 200 ms"), "{}", budget(&run));
        let ms = run.usage.cpu_us / 1_000;
        assert!((200..1_000).contains(&ms), "{ms} ms");
    }
    let named = run("(call $spin)", &format!("(func $spin (result i32) {SPIN})")).await;
    assert!(budget(&named).contains("in `spin` ← `run`"), "{}", budget(&named));
}

#[tokio::test]
async fn waiting_in_between_does_not_extend_the_call() {
    // 20 turns of about 5 million iterations each; the call's budget ends it.
    let run = "(local $i i32)
        (loop $turn
            (local.set $i (i32.const 0))
            (loop $work (br_if $work (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 5000000))))
            (call $sleep (i32.const 1))
            (br $turn))
        (unreachable)";
    let host = start(|config| {
        config.limits.cpu_per_turn_ms = 200;
        config.limits.cpu_per_call_ms = 200;
        config.limits.host_calls_burst = 1_000_000;
    });
    let run = host.run(&guest(run, ""), Sim { step: 1, ..Sim::default() }).await;
    assert!(budget(&run).contains("200 ms of CPU time in this call"), "{}", budget(&run));
    assert!(run.usage.host_calls > 1);
}

#[tokio::test]
async fn a_flood_of_host_calls_ends() {
    let run = run("(loop $again (drop (call $now)) (br $again)) (unreachable)", "").await;
    assert!(budget(&run).contains("more than 500 times a second"), "{}", budget(&run));
    assert!(budget(&run).contains("calling clock.now"), "{}", budget(&run));
    assert_eq!(run.usage.host_calls, 2_000, "the burst, and time stands still");
}

#[tokio::test]
async fn a_steady_pace_of_host_calls_does_not() {
    let run = "(local $i i32)
        (loop $again
            (drop (call $now))
            (br_if $again (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 20000))))
        (i32.const 0)";
    let host = start(|config| config.limits.cpu_per_turn_ms = 10_000);
    let run = host.run(&guest(run, ""), Sim { step: 2, ..Sim::default() }).await;
    assert_eq!((run.end, run.usage.host_calls), (ScriptEnd::Returned, 20_000));
}

#[tokio::test]
async fn a_flood_of_log_is_dropped_and_counted_and_spends_the_turn() {
    let session = Sim::default();
    let calls = session.calls.clone();
    let wasm =
        guest("(loop $again (call $log (i32.const 1) (i32.const 0) (i32.const 8000)) (br $again)) (unreachable)", "");
    let run = start(|_| ()).run(&wasm, session).await;
    assert!(budget(&run).contains("200 ms"), "{}", budget(&run));
    let mut bytes = 0;
    for call in calls.lock().unwrap().iter() {
        let HostCall::Log { message, .. } = call else { panic!("{call:?}") };
        assert!(message.len() <= 4_096 + 3);
        bytes += message.len();
    }
    assert!(bytes <= (256 << 10) + 3 * 64 && bytes > 200 << 10, "{bytes} bytes of log went through");
    assert!(run.usage.log_dropped > 1_000, "{}", run.usage.log_dropped);
}

#[tokio::test]
async fn a_short_burst_of_log_is_all_there() {
    let run = "(local $i i32)
        (loop $again
            (call $log (i32.const 1) (i32.const 64) (i32.const 5))
            (br_if $again (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 400))))
        (i32.const 0)";
    let run = start(|_| ()).run(&guest(run, ""), Sim::default()).await;
    assert_eq!((run.end, run.usage.host_calls, run.usage.log_dropped), (ScriptEnd::Returned, 400, 0));
}

#[tokio::test]
async fn memory_ends_at_the_limit() {
    // Takes what it gets, page by page, and touches it.
    let greedy = "(loop $more
            (if (i32.ne (memory.grow (i32.const 16)) (i32.const -1))
                (then (i32.store (i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 4)) (i32.const 1)) (br $more))))";
    let content = run(&format!("{greedy} (i32.const 0)"), "").await;
    assert_eq!(content.end, ScriptEnd::Returned, "a script that copes may go on");
    assert_eq!(content.usage.peak_memory, (64 << 20) - 15 * 65_536);
    let panics = run(&format!("{greedy} (unreachable)"), "").await;
    let message = budget(&panics);
    assert!(message.contains("65536 KiB are allowed") && message.contains("unreachable"), "{message}");
    let logs = "(call $log (i32.const 3) (i32.const 64) (i32.const 5))";
    let tells = run(&format!("{greedy} {logs} (unreachable)"), "").await;
    assert!(budget(&tells).contains("65536 KiB"), "{}", budget(&tells));
    let unrelated = run(&format!("{greedy} (drop (call $now)) (unreachable)"), "").await;
    assert!(trap(&unrelated).starts_with("it reached `unreachable`"), "{}", trap(&unrelated));
}

#[tokio::test]
async fn a_script_that_starts_with_too_much_is_refused_also_when_it_was_admitted_before() {
    let one = "(memory (export \"memory\") 1)";
    let wat = guests::module("(i32.const 0)", "").replace(one, "(memory (export \"memory\") 17)");
    let wasm = guests::packed(&guests::encode(&wat), &guests::manifest());
    let host = start(|_| ());
    let digest = host.host.admit(wasm.clone()).await.unwrap().digest;

    let mut config = guests::config(&host.folder);
    config.limits.memory = 1 << 20;
    let small = callbox_script::ScriptHost::start(config).unwrap();
    let error = small.admit(wasm.clone()).await.unwrap_err();
    assert!(error.to_string().contains("bytes of initial memory"), "{error}");
    let script = small.load(&digest, || async move { Ok(wasm) }).await.unwrap();
    let run = small.run(script, CallId("call_1".into()), Sim::default(), false).await;
    assert!(budget(&run).contains("1088 KiB") && budget(&run).contains("1024 KiB"), "{}", budget(&run));
}

#[tokio::test]
async fn tables_end_at_the_limit() {
    let run = run(
        "(loop $more (br_if $more (i32.ne (table.grow $t (ref.null func) (i32.const 1000)) (i32.const -1))))
        (if (i32.gt_u (table.size $t) (i32.const 30000)) (then (unreachable)))
        (i32.const 0)",
        "(table $t 10 funcref)",
    )
    .await;
    assert_eq!(run.end, ScriptEnd::Returned);
}

#[tokio::test]
async fn handles_end_at_the_limit() {
    let timers = run("(loop $more (drop (call $after (i32.const 1))) (br $more)) (unreachable)", "").await;
    assert!(budget(&timers).contains("more than 256 handles"), "{}", budget(&timers));
    // Where the script can be told, it is: the 257th has an error (here: in byte 1024).
    let told = run(
        "(local $i i32)
        (loop $more
            (call $start_say (i32.const 256) (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 1024))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $more (i32.eqz (i32.load8_u (i32.const 1024)))))
        (if (i32.ne (local.get $i) (i32.const 257)) (then (unreachable)))
        (i32.const 0)",
        "",
    )
    .await;
    assert_eq!((told.end, told.usage.host_calls), (ScriptEnd::Returned, 256));
}

#[tokio::test]
async fn too_large_texts_are_told_and_huge_ones_end_the_script() {
    let say = |bytes: u32| {
        format!(
            "(drop (memory.grow (i32.const 100)))
            (i32.store (i32.const 260) (i32.const 0))
            (i32.store (i32.const 264) (i32.const {bytes}))
            (call $say (i32.const 256) (i32.const 1) (i32.const 0) (i32.const 1024))
            (i32.mul (i32.load8_u (i32.const 1024)) (i32.const 16))"
        )
    };
    let fits = run(&say(8 << 10), "").await;
    assert_eq!(fits.end, ScriptEnd::Returned);
    let told = run(&say(9 << 10), "").await;
    assert_eq!((told.end, told.usage.host_calls), (ScriptEnd::Failed { message: "Hello".into() }, 0));
    let huge = run(&say(5 << 20), "").await;
    assert!(budget(&huge).contains("more data in one host call"), "{}", budget(&huge));
    // The same by a list that claims 20 million segments, all of them the same place.
    let list =
        run("(call $say (i32.const 256) (i32.const 20000000) (i32.const 0) (i32.const 1024)) (i32.const 0)", "").await;
    assert!(matches!(list.end, ScriptEnd::Budget { .. } | ScriptEnd::Trapped { .. }), "{:?}", list.end);
    let random = run("(call $bytes (i32.const 2000) (i32.const 1024)) (i32.const 0)", "").await;
    assert!(trap(&random).starts_with("random.bytes was asked for 2000 bytes"), "{}", trap(&random));
}

/// Runs so many copies of a guest at once and gives their ends.
async fn crowd(host: &Arc<TestHost>, wasm: &bytes::Bytes, copies: u32, session: fn() -> Sim) -> Vec<ScriptRun> {
    let script = host.script(wasm).await;
    let mut runs = tokio::task::JoinSet::new();
    for _ in 0..copies {
        let (host, script) = (host.clone(), script.clone());
        runs.spawn(async move { host.host.run(script, CallId("call_1".into()), session(), false).await });
    }
    runs.join_all().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_good_calls_go_on_among_bad_ones() {
    let host = Arc::new(start(|config| config.limits.cpu_per_turn_ms = 20));
    // Forty turns with a bit of work in each.
    let good = guest(
        "(local $i i32)
        (loop $turn
            (call $say (i32.const 256) (i32.const 1) (i32.const 2) (i32.const 1024))
            (call $sleep (i32.const 20))
            (br_if $turn (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 40))))
        (i32.const 0)",
        "",
    );
    let bad = [
        guest(SPIN, ""),
        guest("(call $deeper)", "(func $deeper (result i32) (i32.add (call $deeper) (i32.const 1)))"),
        guest("(loop $again (drop (call $now)) (br $again)) (unreachable)", ""),
        guest("(loop $again (call $log (i32.const 1) (i32.const 0) (i32.const 60000)) (br $again)) (unreachable)", ""),
        guest("(loop $again (drop (memory.grow (i32.const 16))) (br $again)) (unreachable)", ""),
    ];
    let quiet = || Sim { step: 20, yields: true, ..Sim::default() };
    let good = crowd(&host, &good, 100, quiet);
    let bad = futures(&host, &bad);
    let (good, bad) = tokio::join!(good, bad);
    assert_eq!(good.len(), 100);
    for run in good {
        assert_eq!((run.end, run.usage.host_calls), (ScriptEnd::Returned, 80));
    }
    assert_eq!(bad.len(), 100);
    for run in bad {
        assert!(matches!(run.end, ScriptEnd::Budget { .. } | ScriptEnd::Trapped { .. }), "{:?}", run.end);
        assert!(run.usage.cpu_us < 500_000, "{} µs", run.usage.cpu_us);
    }
    assert_eq!(host.host.running(), 0);
}

/// Twenty copies of each.
async fn futures(host: &Arc<TestHost>, guests: &[bytes::Bytes]) -> Vec<ScriptRun> {
    let mut all = Vec::new();
    for wasm in guests {
        all.extend(crowd(host, wasm, 20, Sim::default).await);
    }
    all
}

/// One thread, twenty endless loops, and a script that computes little: it has
/// the thread whenever it wants, because the loops queue for one place.
#[tokio::test]
async fn a_crowd_that_computes_makes_way() {
    let host = Arc::new(start(|_| ()));
    let spin = host.script(&guest(SPIN, "")).await;
    let good = host.script(&guest(&format!("{} (i32.const 0)", "(call $sleep (i32.const 1))".repeat(20)), "")).await;
    let ended = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let mut loops = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (host, spin, ended) = (host.clone(), spin.clone(), ended.clone());
        loops.spawn(async move {
            let run = host.host.run(spin, CallId("call_1".into()), Sim::default(), false).await;
            ended.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            assert!(budget(&run).contains("200 ms"));
        });
    }
    let session = Sim { step: 1, yields: true, ..Sim::default() };
    let (through, so_far) = (host.clone(), ended.clone());
    let good = tokio::spawn(async move {
        let run = through.host.run(good, CallId("call_2".into()), session, false).await;
        (run.end, so_far.load(std::sync::atomic::Ordering::Relaxed))
    });
    let (end, before) = good.await.unwrap();
    assert_eq!(end, ScriptEnd::Returned);
    assert!(before < 5, "{before} of 20 loops had spent their 200 ms before a script of 20 short turns was through");
    loops.join_all().await;
}
