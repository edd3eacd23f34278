//! A live call and its tape: proven against what answered, tried with another version, made into a scenario.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use callbox_tests::{Host, clinic, guest, peer, shows};
use serde_json::json;
use std::path::Path;
use std::process::Output;

/// `callbox replay` of this call or file, with these flags: exit code, standard output, standard error.
async fn replay(host: &Host, call: &str, flags: &[&str]) -> (i32, String, String) {
    let url = format!("http://{}", host.http);
    let cache = host.data.join("author-cache");
    let env = [
        ("CALLBOX_URL", url.as_str()),
        ("CALLBOX_KEY", host.key.as_str()),
        ("XDG_CACHE_HOME", cache.to_str().unwrap()),
        ("NO_COLOR", "1"),
    ];
    let mut arguments = vec!["replay", call];
    arguments.extend(flags);
    outcome(&peer::callbox(&arguments, &env).await)
}

fn outcome(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

/// The example on a number, called by somebody who presses key 1 in the middle of the menu. The host, and the call's id.
async fn confirmed_call() -> (Host, String) {
    let (host, _business) = clinic(&json!({})).await;
    let called = peer::call(&host, "1000", &["--keys", "1", "--header", "X-Call-Relation-Id: r-1"]).await;
    assert!(called.answered, "{called:?}");
    let call = host.finished_call().await;
    assert_eq!(call["record"]["disposition"], "confirmed", "{call}");
    let id = call["id"].as_str().unwrap().to_owned();
    (host, id)
}

/// The example, saying something else in one place: as many bytes, and thanks for another thing.
fn reworded(folder: &Path) -> String {
    let mut wasm = guest("appointment");
    let (old, new) = (b"Thank you", b"Good luck");
    let at: Vec<usize> =
        wasm.windows(old.len()).enumerate().filter(|(_, part)| part == old).map(|(at, _)| at).collect();
    assert!(!at.is_empty(), "the example thanks somebody");
    for at in at {
        wasm[at..at + new.len()].copy_from_slice(new);
    }
    let file = folder.join("reworded.wasm");
    std::fs::write(&file, wasm).unwrap();
    file.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_live_call_is_proven_and_another_version_is_shown_where_it_departs() {
    let (host, id) = confirmed_call().await;
    let (code, text, errors) = replay(&host, &id, &["--trace"]).await;
    assert_eq!(code, 0, "{text}{errors}");
    assert!(text.contains("voice.ask") && text.contains("keys \"1\""), "{text}");
    assert!(text.lines().last().unwrap().starts_with("The same: "), "{text}");

    // From a file, without the server but for the component; and with both at hand.
    let folder = tempfile::tempdir().unwrap();
    let tape = folder.path().join("tape.jsonl");
    std::fs::write(&tape, host.text(&format!("/v1/calls/{id}/tape")).await).unwrap();
    let tape = tape.to_str().unwrap();
    let component = folder.path().join("appointment.wasm");
    std::fs::write(&component, guest("appointment")).unwrap();
    for flags in [&[][..], &["--component", component.to_str().unwrap(), "--key", ""]] {
        let (code, text, errors) = replay(&host, tape, flags).await;
        assert_eq!(code, 0, "{flags:?}: {text}{errors}");
    }

    let other = reworded(folder.path());
    let (code, text, errors) = replay(&host, &id, &["--with", &other]).await;
    assert_eq!(code, 3, "{text}{errors}");
    let line = |start: &str| text.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("{text}"));
    assert!(line("  tape  ").contains("voice.say \"Thank you"), "{text}");
    assert!(line("script  ").contains("voice.say \"Good luck"), "{text}");
    assert!(text.contains("calling voice.say"), "{text}");

    // The wrong component, and a tape that somebody cut.
    let (code, _, errors) = replay(&host, &id, &["--component", &other]).await;
    assert!(code == 1 && errors.contains("is not what the call ran"), "{code} {errors}");
    let whole = std::fs::read_to_string(tape).unwrap();
    let half: Vec<&str> = whole.lines().take(3).collect();
    std::fs::write(tape, half.join("\n")).unwrap();
    let (code, _, errors) = replay(&host, tape, &[]).await;
    assert!(code == 1 && errors.contains("line 4 of the tape"), "{code} {errors}");
}

#[tokio::test]
async fn a_live_call_becomes_a_test_that_passes() {
    let (host, id) = confirmed_call().await;
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(at("appointment.wasm"), guest("appointment")).unwrap();
    let flags =
        ["--to-scenario", &at("confirmed.yaml"), "--name", "key 1 confirms", "--component", &at("appointment.wasm")];
    let (code, text, errors) = replay(&host, &id, &flags).await;
    assert_eq!(code, 0, "{text}{errors}");
    let made = std::fs::read_to_string(at("confirmed.yaml")).unwrap();
    for part in ["component: appointment.wasm", "name: key 1 confirms", "name: Ada Lovelace", "disposition: confirmed"]
    {
        assert!(made.contains(part), "{part}: {made}");
    }
    let cache = at("cache");
    let test = async |file: &str| {
        outcome(&peer::callbox(&["script", "test", file], &[("XDG_CACHE_HOME", &cache), ("NO_COLOR", "1")]).await)
    };
    let (code, text, errors) = test(&at("confirmed.yaml")).await;
    assert_eq!(code, 0, "{text}{errors}\n{made}");
    // And it is one: of another version it says that something else is said.
    std::fs::rename(reworded(folder.path()), at("appointment.wasm")).unwrap();
    let (code, text, errors) = test(&at("confirmed.yaml")).await;
    assert!(code != 0 && format!("{text}{errors}").contains("Thank you"), "{code} {text}{errors}");
    // Nothing is overwritten.
    let (code, _, errors) = replay(&host, &id, &flags[..2]).await;
    assert!(code == 1 && errors.contains("overwrites nothing"), "{code} {errors}");
}

#[tokio::test]
async fn a_call_with_a_secret_says_what_cannot_be_proven() {
    let host = Host::start().await;
    host.publish_probe(None).await;
    let called = peer::call_probe(&host, "sensitive", &["--keys", "9375,4"]).await;
    assert!(called.answered);
    let call = host.finished_call().await;
    let (code, text, errors) = replay(&host, call["id"].as_str().unwrap(), &["--trace"]).await;
    assert_eq!(code, 4, "{text}{errors}");
    assert!(text.contains("Cannot be proven beyond entry") && text.contains("masked"), "{text}");
    assert!(!shows(&text, "9375"), "{text}");
}

#[tokio::test]
async fn a_call_that_was_hung_up_is_proven_to_its_end() {
    let host = Host::start().await;
    host.publish_probe(None).await;
    peer::call_probe(&host, "grace", &["--hangup-after", "1500"]).await;
    let call = host.finished_call().await;
    assert_eq!(call["record"]["end_reason"], "caller_hangup");
    let (code, text, errors) = replay(&host, call["id"].as_str().unwrap(), &[]).await;
    assert_eq!(code, 0, "{text}{errors}");
    // What is looked past is no difference either.
    let flags = ["--ignore-log", "--ignore-results"];
    let (code, text, errors) = replay(&host, call["id"].as_str().unwrap(), &flags).await;
    assert_eq!(code, 0, "{text}{errors}");
}
