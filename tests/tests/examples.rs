//! Every example is as a customer would want it: admitted without a warning, right in all of its scenarios, and with a
//! scenario for everything that it can come to. `make test` has built them (`tools/guests`).
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use callbox_tests::{peer, root};
use std::path::Path;

/// The projects below `examples/`.
fn examples() -> Vec<String> {
    let folders = std::fs::read_dir(root().join("examples")).unwrap().map(|entry| entry.unwrap().path());
    let projects = folders.filter(|folder| folder.join("callbox.toml").is_file());
    let mut names: Vec<_> = projects.map(|folder| folder.file_name().unwrap().to_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

/// A command of the binary that has to succeed: what it printed.
async fn callbox(arguments: &[&str], cache: &Path) -> String {
    let env = [("XDG_CACHE_HOME", cache.to_str().unwrap()), ("NO_COLOR", "1")];
    let output = peer::callbox(arguments, &env).await;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (said, talk) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "callbox {}: {}\n{said}\n{talk}", arguments.join(" "), output.status);
    said
}

#[tokio::test]
async fn examples_are_admitted_and_pass_their_scenarios() {
    let examples = examples();
    assert_eq!(examples, ["appointment", "booking", "collections", "hours", "survey"]);
    let cache = tempfile::tempdir().unwrap();
    for example in &examples {
        let component = root().join(format!("target/guests/{example}.wasm"));
        let component = component.to_str().unwrap();
        let said = callbox(&["script", "check", component], cache.path()).await;
        assert!(said.contains(example) && !said.contains("warning:"), "{said}");

        let folder = root().join("examples").join(example);
        let folder = folder.to_str().unwrap();
        let said = callbox(&["script", "test", "--component", component, folder], cache.path()).await;
        for gap in ["no scenario reached", "not declared in callbox.toml"] {
            assert!(!said.contains(gap), "{said}");
        }
    }
}

#[tokio::test]
async fn the_overview_names_every_example() {
    let overview = std::fs::read_to_string(root().join("examples/README.md")).unwrap();
    for example in examples() {
        assert!(overview.contains(&format!("[`{example}`]({example}/)")), "{example} is not in examples/README.md");
        let folder = root().join("examples").join(&example);
        assert!(folder.join("README.md").is_file() && folder.join("scenarios").is_dir(), "{example}");
    }
}
