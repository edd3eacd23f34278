//! `callbox script chat` through a pipe: what a person would type, and what is left of it.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use callbox_speechd::{Script, Server, Settings};
use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const GIVEN: &str = r#"
given:
  settings: {agent: "sip:agent@pbx.example"}
  sources:
    appointment: {answers: {name: Ada, date: "2026-12-01", time: "14:30", place: Clinic}, after: 300ms}
scenarios:
  - name: nobody knows
    given: {sources: {appointment: {fails: unavailable}}}
    steps: [expect: Hello]
"#;

struct Desk {
    folder: tempfile::TempDir,
    wasm: PathBuf,
}

impl Desk {
    /// The example, built, and what is given to it.
    fn new() -> Self {
        Self::with("examples/appointment")
    }

    /// A script, built, and what is given to the example.
    fn with(script: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(script);
        let wasm = folder.path().join(project.file_name().unwrap()).with_extension("wasm");
        let desk = Self { folder, wasm };
        let arguments = ["script", "build", project.to_str().unwrap(), "-o", desk.wasm.to_str().unwrap()];
        let built = desk.callbox(&arguments, "");
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        std::fs::write(desk.folder.path().join("given.yaml"), GIVEN).unwrap();
        desk
    }

    fn callbox(&self, arguments: &[&str], input: &str) -> Output {
        let mut child = Command::new(env!("CARGO_BIN_EXE_callbox"))
            .args(arguments)
            .current_dir(self.folder.path())
            .env("CALLBOX_SCRIPT_TARGET_DIR", Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/guests/build"))
            .env("XDG_CACHE_HOME", self.folder.path())
            .env("NO_COLOR", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }

    /// A chat: its lines, and whether it says that all went well.
    fn chat(&self, more: &[&str], input: &str) -> (Vec<String>, bool) {
        let arguments = [&["script", "chat", self.wasm.to_str().unwrap()], more].concat();
        let output = self.callbox(&arguments, input);
        let text = String::from_utf8(output.stdout).unwrap();
        (text.lines().map(ToOwned::to_owned).collect(), output.status.success())
    }
}

fn position(lines: &[String], part: &str) -> usize {
    lines.iter().position(|line| line.contains(part)).unwrap_or_else(|| panic!("{part:?} is not in {lines:#?}"))
}

#[test]
fn a_call_is_talked_through_taken_back_and_saved_as_a_scenario_that_passes() {
    let desk = Desk::new();
    // A wrong key, silence, a transfer that is taken back, and the key that confirms.
    let typed = "/status\n7\n\n/transfer busy\n3\n/undo\n/undo\n1\n/save it-confirms.yaml\n";
    let (lines, well) = desk.chat(&["--given", "given.yaml"], typed);
    assert!(well, "{lines:#?}");
    let order = [
        "0:00.300  robot     Hello, Ada.",
        "robot     To confirm it, press 1.",
        "the script waits since",
        "caller    presses 7",
        "I did not understand that.",
        "robot     I did not hear you.",
        "transfers to sip:agent@pbx.example",
        "failed: 486 Busy Here",
        "taken back: 3",
        "taken back: /transfer busy",
        "caller    presses 1",
        "robot     Thank you, it is confirmed.",
        "pushes to outcome: {\"outcome\":\"confirmed\"",
        "over by script: script_returned",
        "played again, it passes",
    ];
    let mut rest = lines.as_slice();
    for part in order {
        rest = &rest[position(rest, part) + 1..];
    }

    let saved = std::fs::read_to_string(desk.folder.path().join("it-confirms.yaml")).unwrap();
    let file = callbox_sim::scenario::ScenarioFile::read("it-confirms.yaml", &saved).unwrap();
    assert_eq!(file.component.as_deref(), Some("appointment.wasm"));
    let verbs: Vec<_> = file.scenarios[0].steps.iter().map(callbox_sim::scenario::Step::verb).collect();
    assert!(
        verbs.contains(&"press") && verbs.contains(&"silence") && verbs.ends_with(&["result", "ended"]),
        "{verbs:?}"
    );
    assert!(!verbs.contains(&"transfer"), "what was taken back did not happen");
    let tested = desk.callbox(&["script", "test", "it-confirms.yaml"], "");
    assert!(tested.status.success(), "{}", String::from_utf8_lossy(&tested.stdout));
}

#[test]
fn the_same_typed_twice_is_the_same_call() {
    let desk = Desk::new();
    let typed = "/trace on\n2\n";
    let one = desk.chat(&["--given", "given.yaml"], typed);
    assert_eq!(one, desk.chat(&["--given", "given.yaml"], typed));
    assert!(one.0.iter().any(|line| line.contains("voice.ask \"To confirm it, press 1.")), "{one:#?}");
}

#[test]
fn a_scenario_gives_its_situation_and_mistakes_make_the_command_fail() {
    let desk = Desk::new();
    let (lines, well) = desk.chat(&["--given", "given.yaml:nobody knows"], "/dance\n/save given.yaml\n");
    assert!(!well);
    position(&lines, "I cannot see its details just now.");
    position(&lines, "/help says what there is");
    position(&lines, "given.yaml is there already");
    let output = desk.callbox(&["script", "chat", "appointment.wasm", "--given", "given.yaml:nobody"], "");
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && words.contains("nobody knows"), "{words}");
}

#[test]
fn whoever_has_no_more_to_say_hangs_up() {
    let desk = Desk::new();
    let (lines, well) = desk.chat(&["--given", "given.yaml"], "");
    assert!(well, "{lines:#?}");
    assert!(position(&lines, "hangs up") < position(&lines, "over by caller: caller_hangup"), "{lines:#?}");
    position(&lines, "pushes to outcome: {\"outcome\":\"hung_up\"");
}

const MODEL: &str = r#"
answers:
  - { when: story, says: "Once upon a time there was a king. He had a castle on a hill. That is all." }
  - { when: go on, calls: [{ name: note, arguments: { text: the king } }] }
  - { after: note, says: "It is noted. Press a key." }
  - { when: away, says: "I am here." }
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_language_model_talks_and_what_it_said_is_saved() {
    let script = Script::parse(MODEL).unwrap();
    let settings = Settings { key: Some("s3cr3t".into()), script, ..Settings::default() };
    let model = Server::start(([127, 0, 0, 1], 0).into(), settings).await.unwrap();
    let desk = Desk::with("tests/guests/talk");
    let bindings = json!({
        "models": {"assistant": {
            "url": model.url("http", "/v1/chat/completions"),
            "model": "storyteller",
            "headers": {"authorization": "Bearer ${key}"},
        }},
        "secrets": {"key": "s3cr3t"},
    });
    std::fs::write(desk.folder.path().join("bindings.json"), bindings.to_string()).unwrap();
    let (lines, well) = desk.chat(&["--bindings", "bindings.json"], "5\n/undo\n6\n7\n/save king.yaml\n");
    assert!(well, "{lines:#?}");
    let mut rest = lines.as_slice();
    for part in [
        "robot     Once upon a time there was a king.",
        "robot     He had a castle on a hill.",
        "robot     That is all.",
        "caller    presses 5",
        "robot     It is noted.",
        "robot     Press a key.",
        "taken back: 5",
        "caller    presses 6",
        "robot     Press a key.",
        "over by script: script_returned",
        "played again, it passes",
    ] {
        rest = &rest[position(rest, part) + 1..];
    }
    // What was asked before was not asked again.
    let asked = reqwest::Client::new().get(model.url("http", "/requests")).bearer_auth("s3cr3t");
    let asked: Vec<Value> = asked.send().await.unwrap().json().await.unwrap();
    assert_eq!(asked.len(), 4, "{asked:#?}");
    // The scenario needs no model.
    drop(model);
    let tested = desk.callbox(&["script", "test", "king.yaml"], "");
    assert!(tested.status.success(), "{}", String::from_utf8_lossy(&tested.stdout));
}

#[test]
fn bindings_that_are_wrong_are_refused_before_anything_is_built() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bindings.json");
    std::fs::write(&path, r#"{"models": {"assistant": {"url": "file:///x", "model": "m"}}}"#).unwrap();
    for command in ["chat", "run"] {
        let output = Command::new(env!("CARGO_BIN_EXE_callbox"))
            .args(["script", command, "nowhere.wasm", "--bindings", path.to_str().unwrap()])
            .output()
            .unwrap();
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && words.contains("models.assistant.url"), "{command}: {words}");
    }
}
