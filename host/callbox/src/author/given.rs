//! `--given FILE[:SCENARIO]`: what is settled before a call, out of a scenario file.

use callbox_script::Manifest;
use callbox_sim::scenario::{Given, ScenarioFile, Suite, tell};
use miette::{Context, IntoDiagnostic, miette};
use std::path::Path;

/// What a file gives, or one of its scenarios.
///
/// # Errors
/// No such file or scenario, or a mistake in it; says where.
pub(super) fn read(argument: &str) -> miette::Result<Given> {
    let (path, scenario) = split(argument, |path| Path::new(path).is_file());
    let text = std::fs::read_to_string(path).into_diagnostic().wrap_err_with(|| format!("cannot read {path}"))?;
    let Some(scenario) = scenario else {
        return ScenarioFile::read(path, &text).map(|file| file.given).map_err(|problem| mistakes(&[problem]));
    };
    let suite = Suite::read(path, &text).map_err(|problems| mistakes(&problems))?;
    let found = suite.runs.iter().find(|run| run.name == scenario);
    found.map(|run| run.given.clone()).ok_or_else(|| {
        let names: String = suite.runs.iter().take(50).map(|run| format!("\n  {}", run.name)).collect();
        miette!(
            code = "callbox::scenario::unknown",
            help = format!("there are{names}"),
            "{path} has no scenario `{scenario}`"
        )
    })
}

/// What is given and the script does not know of: nothing will ever ask for it.
pub(super) fn strangers(given: &Given, manifest: &Manifest) -> Vec<String> {
    given.situation().strangers(manifest)
}

fn mistakes(problems: &[callbox_sim::scenario::Problem]) -> miette::Report {
    miette!(code = "callbox::scenario::invalid", "{}", tell(problems))
}

/// The file and the scenario: a file may have a colon in its name, a scenario too.
fn split(argument: &str, is_file: impl Fn(&str) -> bool) -> (&str, Option<&str>) {
    if is_file(argument) {
        return (argument, None);
    }
    let mut colons = argument.match_indices(':').map(|(at, _)| (&argument[..at], Some(&argument[at + 1..])));
    colons.find(|(path, _)| is_file(path)).unwrap_or((argument, None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_scenarios_may_have_colons() {
        let files = |path: &str| ["a.yaml", "b:c.yaml"].contains(&path);
        assert_eq!(split("a.yaml", files), ("a.yaml", None));
        assert_eq!(split("a.yaml:one: two", files), ("a.yaml", Some("one: two")));
        assert_eq!(split("b:c.yaml", files), ("b:c.yaml", None));
        assert_eq!(split("b:c.yaml:x", files), ("b:c.yaml", Some("x")));
        assert_eq!(split("no.yaml:x", files), ("no.yaml:x", None));
    }
}
