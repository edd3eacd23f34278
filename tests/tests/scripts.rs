//! Scripts that misbehave: only their own call ends, with a reason, and never in
//! dead air.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use callbox_tests::{Host, peer};
use serde_json::{Value, json};

/// A call to a misbehaving mode: its record.
async fn misbehaves(mode: &str, flags: &[&str]) -> Value {
    let host = Host::start().await;
    host.publish_probe(None).await;
    let called = peer::call_probe(&host, mode, flags).await;
    assert!(called.answered, "{called:?}");
    let record = host.finished_call().await["record"].clone();
    let apology =
        record["transcript"].as_array().unwrap().iter().any(|turn| turn["text"] == "Sorry, something went wrong.");
    assert!(apology, "the fallback was not said: {record}");
    record
}

async fn ends_with(mode: &str, reason: &str, words: &[&str]) {
    let record = misbehaves(mode, &[]).await;
    assert_eq!(record["end_reason"], reason, "{record}");
    let error = record["script_error"].as_str().unwrap_or_default();
    for word in words {
        assert!(error.contains(word), "{word:?} is not in {error:?}");
    }
}

#[tokio::test]
async fn a_trap_says_what_and_where() {
    ends_with("trap", "script_trap", &["unreachable", "script@0.1.0#run", "after voice.say"]).await;
}

#[tokio::test]
async fn a_panic_is_a_trap() {
    ends_with("panic", "script_trap", &[]).await;
}

#[tokio::test]
async fn an_error_is_in_the_scripts_own_words() {
    ends_with("error", "script_trap", &["the probe fails as it was told"]).await;
}

#[tokio::test]
async fn an_endless_loop_spends_its_budget() {
    ends_with("loop", "script_budget", &["computed for more than", "forever"]).await;
}

#[tokio::test]
async fn an_endless_recursion_is_a_trap() {
    ends_with("stack", "script_trap", &["probe::bad::dig"]).await;
}

#[tokio::test]
async fn memory_without_end_spends_its_budget() {
    ends_with("memory", "script_budget", &["memory"]).await;
}

#[tokio::test]
async fn host_calls_without_end_spend_their_budget() {
    ends_with("host-flood", "script_budget", &["calls the host more than", "clock.now"]).await;
}

#[tokio::test]
async fn a_flood_of_log_lines_is_cut_and_the_call_goes_on() {
    let host = Host::start().await;
    host.publish_probe(None).await;
    let called = peer::call_probe(&host, "log-flood", &[]).await;
    assert!(called.answered);
    let record = host.finished_call().await["record"].clone();
    assert_eq!(record["end_reason"], "script_returned", "{record}");
    assert!(host.log().len() < 4 << 20, "the log grew to {} bytes", host.log().len());
}

#[tokio::test]
async fn a_script_that_goes_on_after_the_call_is_stopped() {
    let options = callbox_tests::Options {
        env: vec![("CALLBOX_CALLS__GRACE_MS", "500".into())],
        ..callbox_tests::Options::default()
    };
    let host = Host::start_with(options).await;
    host.publish_probe(None).await;
    peer::call_probe(&host, "loop-after-end", &["--hangup-after", "800"]).await;
    let record = host.finished_call().await["record"].clone();
    assert_eq!(record["end_reason"], "caller_hangup", "{record}");
}

#[tokio::test]
async fn bad_neighbours_disturb_nobody() {
    let host = Host::start().await;
    host.publish_probe(None).await;
    let bad = async {
        for mode in ["loop", "memory", "host-flood", "log-flood", "trap", "stack"] {
            peer::call_probe(&host, mode, &[]).await;
        }
    };
    let good = peer::sipp(&host, "basic", "2000", 40, &["-r", "8"]);
    tokio::join!(bad, good);
    let calls = host.finished_calls(46).await;
    let well = calls.iter().filter(|call| call["disposition"] == "said").count();
    assert_eq!(well, 40, "{calls:?}");
}

#[tokio::test]
async fn uploads_that_are_no_scripts_are_refused_with_the_reason() {
    let host = Host::start().await;
    let script = host.post("/v1/scripts", &json!({ "name": "bad" })).await["id"].as_str().unwrap().to_owned();
    let mut cut = callbox_tests::guest("probe");
    cut.truncate(cut.len() / 2);
    for (bytes, word) in [
        (b"hello".to_vec(), "wasm"),
        (b"\0asm\x01\0\0\0".to_vec(), "component"),
        (b"\x7fELF\x02\x01\x01".to_vec(), "precompiled"),
        (cut, ""),
    ] {
        let (status, problem) = host.upload(&script, bytes).await;
        assert!(status.is_client_error(), "{status} {problem}");
        let text = problem.to_string().to_lowercase();
        assert!(text.contains(word) && problem["code"].is_string(), "{word:?} is not in {text}");
    }
}
