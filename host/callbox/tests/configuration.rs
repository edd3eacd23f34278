//! What the environment says is taken as it is meant.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::process::{Command, Output};

fn config(variables: &[(&str, &str)]) -> Output {
    // Away from files that would be read.
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_callbox"));
    command.arg("config").current_dir(folder.path()).envs(variables.iter().copied());
    command.output().unwrap()
}

#[test]
fn texts_that_look_like_numbers_are_texts() {
    let output = config(&[
        ("CALLBOX_OUTBOUND__USERNAME", "1001"),
        ("CALLBOX_OUTBOUND__PASSWORD", "987654"),
        ("CALLBOX_DATA_DIR", "2026"),
        ("CALLBOX_LOG__FILTER", "true"),
    ]);
    let (text, told) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{told}");
    for line in ["username = \"1001\"", "data_dir = \"2026\"", "filter = \"true\""] {
        assert!(text.contains(line), "{text}");
    }
    assert!(!text.contains("987654"), "{text}");
}

#[test]
fn variables_of_other_commands_do_no_harm() {
    let output =
        config(&[("CALLBOX_CALL_PASSWORD", "x"), ("CALLBOX_URL", "http://127.0.0.1"), ("CALLBOX_KEY", "cbk_x")]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_host_that_could_take_no_call_is_refused() {
    let output = config(&[("CALLBOX_CALLS__MAX", "0")]);
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("calls.max"));
}
