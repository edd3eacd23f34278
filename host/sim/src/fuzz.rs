//! What the fuzz targets call: one function for each parser. They must neither panic nor run away, whatever they get.

use crate::scenario::{ScenarioFile, Suite};

/// A scenario file: calls that can be set up, or problems that say where they are.
pub fn scenario(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    match Suite::read("fuzz.yaml", &text) {
        Ok(suite) => suite.runs.iter().for_each(|run| drop(run.situation())),
        Err(problems) => {
            let placed = |place: crate::scenario::Place| place.line > 0 && place.column > 0;
            assert!(!problems.is_empty() && problems.iter().all(|problem| placed(problem.place)));
            assert!(problems.iter().all(|problem| !problem.message.is_empty()));
        }
    }
    // What can be read can be written, and is the same then.
    if let Ok(file) = ScenarioFile::read("fuzz.yaml", &text) {
        let again = ScenarioFile::read("again.yaml", &file.to_yaml());
        assert!(again.as_ref().is_ok_and(|again| *again == file), "{file:?}\n{}\n{again:?}", file.to_yaml());
    }
}
