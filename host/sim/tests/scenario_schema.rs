//! The published schema is the one of the types, and every scenario file of the examples is one by the types.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use callbox_sim::scenario::{Suite, schema, tell};
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[test]
fn the_published_schema_is_up_to_date() {
    let path = root().join("docs/scenario.schema.json");
    let current = serde_json::to_string_pretty(&schema()).unwrap() + "\n";
    if std::env::var_os("CALLBOX_UPDATE").is_some() {
        fs::write(&path, &current).unwrap();
    }
    let published = fs::read_to_string(&path).unwrap();
    assert!(published == current, "run this test with CALLBOX_UPDATE=1, and look at what changes");
}

#[test]
fn everything_in_the_schema_is_described() {
    let schema = schema();
    let file = "file".to_owned();
    let types = schema["$defs"].as_object().unwrap().iter().chain([(&file, &schema)]);
    let mut fields = 0;
    for (name, of) in types {
        for (field, of) in of["properties"].as_object().into_iter().flatten() {
            fields += 1;
            assert!(of["description"].is_string(), "{name}.{field} has no description: {of}");
        }
    }
    assert!(fields > 60, "{fields} fields were found");
    let steps = schema["$defs"]["Step"]["oneOf"].as_array().unwrap();
    assert!(steps.len() > 20 && steps.iter().all(|step| step["description"].is_string()), "{steps:?}");
}

#[test]
fn the_scenarios_of_the_examples_and_of_new_projects_are_scenarios() {
    let folders = fs::read_dir(root().join("examples")).unwrap().map(|entry| entry.unwrap().path().join("scenarios"));
    let files = folders.filter_map(|folder| fs::read_dir(folder).ok()).flatten().map(|file| file.unwrap().path());
    for path in files.chain([root().join("host/callbox/src/author/template/first.yaml.txt")]) {
        let name = path.display().to_string();
        let suite = Suite::read(&name, &fs::read_to_string(&path).unwrap());
        assert!(!suite.unwrap_or_else(|wrong| panic!("{}", tell(&wrong))).runs.is_empty(), "{name}");
    }
}
