//! `callbox script test`, as a person and as a CI system use it: the binary on real projects.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use callbox_script::package;
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;

/// Where `make` builds guests too, so that libraries are built once.
fn target_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/guests/build")
}

fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_callbox"));
    command.args(arguments).current_dir(folder);
    command.env("CALLBOX_SCRIPT_TARGET_DIR", target_dir()).env("XDG_CACHE_HOME", cache()).env("COLUMNS", "200");
    command
}

/// A cache of compiled scripts that all tests of this file share.
fn cache() -> &'static Path {
    static CACHE: OnceLock<tempfile::TempDir> = OnceLock::new();
    CACHE.get_or_init(|| tempfile::tempdir().unwrap()).path()
}

fn callbox(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = command(folder, arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

/// A new project and its component, built once for all tests.
fn component() -> &'static Path {
    static PROJECT: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, component) = PROJECT.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let (code, _, talk) = callbox(folder.path(), &["script", "new", "hello"]);
        assert_eq!(code, 0, "{talk}");
        let (code, out, talk) = callbox(folder.path(), &["script", "build", "hello"]);
        assert_eq!(code, 0, "{talk}");
        let component = folder.path().join(out.trim_end());
        (folder, component)
    });
    component
}

/// A file with these scenarios about [`component`], in a folder of its own.
fn file(scenarios: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let text = format!("component: {}\nscenarios:\n{scenarios}", component().display());
    fs::write(folder.path().join("a.yaml"), text).unwrap();
    folder
}

const PASSES: &str = "  - {name: it greets, steps: [{expect: Hello}]}\n";
const FAILS: &str =
    "  - name: it thanks\n    steps:\n      - press: \"1\"\n      - expect: Thanks you for telling me.\n";

#[test]
fn a_new_project_passes_its_own_scenarios() {
    let project = component().ancestors().nth(2).unwrap();
    let (code, out, talk) = callbox(project, &["script", "test"]);
    assert_eq!(code, 0, "{out}{talk}");
    assert!(out.starts_with("scenarios/first.yaml\n  ok    a key says what the caller thinks [liked]"), "{out}");
    assert!(out.contains("6 scenarios: 6 passed;"), "{out}");
    assert!(!out.contains('\u{1b}') && !out.contains("no scenario reached"), "{out}");
    assert!(out.ends_with("how questions were answered\n  before the first node: keys 1 2 7, silence\n"), "{out}");
    assert!(talk.contains("building hello"), "{talk}");
}

#[test]
fn what_no_scenario_reached_is_told() {
    let wasm = fs::read(component()).unwrap();
    let mut manifest = package::read(&wasm.clone().into(), 64).unwrap().manifest;
    manifest.nodes.push("menu".into());
    let folder =
        file("  - {name: a key, steps: [{expect: press 1}, {press: \"1\"}, {result: {disposition: liked}}]}\n");
    let changed = package::embed(&wasm, &manifest, &BTreeMap::new()).unwrap();
    fs::write(folder.path().join("changed.wasm"), changed).unwrap();
    let (code, out, talk) = callbox(folder.path(), &["script", "test", "a.yaml", "--component", "changed.wasm"]);
    assert_eq!(code, 0, "{out}{talk}");
    let missing = "no scenario reached\n  nodes: menu\n  dispositions: disliked\n  a caller who hangs up\n  \
                   a caller who says nothing: before the first node\n";
    assert!(out.contains(missing), "{out}");
}

#[test]
fn what_fails_is_shown_with_the_conversation() {
    let folder = file(&format!("{PASSES}{FAILS}"));
    let (code, out, talk) = callbox(folder.path(), &["script", "test", "a.yaml"]);
    assert_eq!(code, 1, "{out}{talk}");
    for words in [
        "FAIL  it thanks",
        "FAIL a.yaml › it thanks\n  a.yaml:7:9  - expect: Thanks you for telling me.\n",
        "expected the robot to say \"Thanks you for telling me.\"",
        "    - Thanks you for telling me.\n    + Thank you for telling me.\n",
        "caller  presses 1",
        "2 scenarios: 1 passed, 1 failed;",
    ] {
        assert!(out.contains(words), "`{words}` is not in\n{out}");
    }
}

#[test]
fn scenarios_are_chosen_by_their_names_and_traced() {
    let folder = file(&format!("{PASSES}{FAILS}"));
    let (code, out, talk) = callbox(folder.path(), &["script", "test", "a.yaml", "--filter", "greets", "--trace"]);
    assert_eq!(code, 0, "{out}{talk}");
    assert!(out.contains("1 scenario: 1 passed") && out.contains("voice.say \"Hello, this is hello.\""), "{out}");
    let (code, _, talk) = callbox(folder.path(), &["script", "test", "a.yaml", "--filter", "no such"]);
    assert!(code == 2 && talk.contains("no scenario contains `no such`"), "{talk}");
}

#[test]
fn a_ci_system_reads_the_report() {
    let folder = file(&format!("{PASSES}{FAILS}"));
    let (code, _, talk) = callbox(folder.path(), &["script", "test", "a.yaml", "--junit", "out/report.xml"]);
    assert_eq!(code, 1, "{talk}");
    let report = fs::read_to_string(folder.path().join("out/report.xml")).unwrap();
    for words in ["tests=\"2\"", "failures=\"1\"", "name=\"it thanks\"", "a.yaml:7: expected the robot", "presses 1"] {
        assert!(report.contains(words), "`{words}` is not in\n{report}");
    }
}

#[test]
fn what_cannot_be_tested_says_where_and_how_to_mend_it() {
    let folder = file("  - {name: it greets, steps: [{expects: Hello}]}\n  - {name: it, steps: [{press: 1}]}\n");
    let not_there = "component: nowhere.wasm\nscenarios:\n  - {name: a, steps: [{expect: b}]}\n";
    fs::write(folder.path().join("b.yaml"), not_there).unwrap();
    fs::write(folder.path().join("c.yaml"), not_there.replace("nowhere", "other")).unwrap();
    // The smallest component: of no world at all.
    fs::write(folder.path().join("other.wasm"), b"\0asm\x0d\0\x01\0").unwrap();
    fs::write(folder.path().join("d.yaml"), not_there.replace("component: nowhere.wasm\n", "")).unwrap();
    let names = format!("component: {}\ngiven: {{settings: {{a: b}}}}\nscenarios:\n{PASSES}", component().display());
    fs::write(folder.path().join("e.yaml"), names).unwrap();
    for (file, words) in [
        ("a.yaml", &["a.yaml:3:32", "unknown step `expects`", "did you mean `expect`?", "a.yaml:4:", "quotes"][..]),
        ("b.yaml", &["b.yaml:1:12", "nowhere.wasm is not there", "callbox script build"]),
        ("c.yaml", &["c.yaml:1:12", "other.wasm cannot be tested", "callbox:dialogue/script"]),
        ("d.yaml", &["d.yaml is in no project", "PROJECT/scenarios/", "--component"]),
        ("e.yaml", &["e.yaml:2:", "declares no setting `a`", "callbox.toml"]),
        ("f.yaml", &["f.yaml is not there"]),
    ] {
        let (code, out, talk) = callbox(folder.path(), &["script", "test", file]);
        assert_eq!(code, 2, "{file}: {out}{talk}");
        // Lines are broken to fit a terminal.
        let told =
            talk.split(|c: char| c.is_whitespace() || c == '│').filter(|w| !w.is_empty()).collect::<Vec<_>>().join(" ");
        for word in words {
            assert!(told.contains(word), "{file}: `{word}` is not in\n{talk}");
        }
    }
    let empty = tempfile::tempdir().unwrap();
    let (code, _, talk) = callbox(empty.path(), &["script", "test"]);
    assert!(code == 2 && talk.contains("no scenarios"), "{talk}");
}

#[test]
fn the_schema_is_printed_for_editors() {
    let (code, out, _) = callbox(Path::new("."), &["script", "test", "--schema"]);
    assert_eq!(code, 0);
    assert_eq!(
        out,
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/scenario.schema.json")).unwrap()
    );
}

/// Ends its process, however the test ends.
struct Guarded(Child);

impl Drop for Guarded {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn watching_tests_again_when_a_file_is_saved() {
    let folder = file(PASSES);
    let mut command = command(folder.path(), &["script", "test", "a.yaml", "--watch"]);
    let mut child = Guarded(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
    let mut out = BufReader::new(child.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut talk = BufReader::new(child.0.stderr.take().unwrap()).lines().map(Result::unwrap);
    let mut until = |words: &str| assert!(out.any(|line| line.contains(words)), "`{words}` did not come");
    until("1 scenario: 1 passed");
    assert!(talk.any(|line| line.contains("waiting for changes")));
    let text = fs::read_to_string(folder.path().join("a.yaml")).unwrap();
    fs::write(folder.path().join("a.yaml"), format!("{text}{FAILS}")).unwrap();
    until("2 scenarios: 1 passed, 1 failed");
    assert!(talk.any(|line| line.contains("waiting for changes")));
    fs::write(folder.path().join("a.yaml"), "nonsense").unwrap();
    assert!(talk.any(|line| line.contains("a.yaml:1:1")));
}
