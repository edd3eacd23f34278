//! `/save`: what happened, as a scenario that is shown to pass.

use super::super::bound::Models;
use crate::beside::beside;
use callbox_dialogue::Time;
use callbox_dialogue::llm::Request;
use callbox_sim::draft::draft;
use callbox_sim::model::ModelPlan;
use callbox_sim::scenario::{Given, ModelAnswer, ScenarioFile, SourceAnswer, Span, Suite, tell};
use callbox_sim::{REACTION, Sight, Situation, SourcePlan, Stage};
use std::path::{Path, PathBuf};

/// Knows what a chat was about.
pub(super) struct Saver {
    pub(super) stage: Stage,
    pub(super) given: Given,
    pub(super) situation: Situation,
    /// Who is asked where the situation has no answer of a language model.
    pub(super) models: Models,
    /// The component, where it is not that of a project.
    pub(super) component: Option<PathBuf>,
}

impl Saver {
    /// How long the caller thinks, in ms.
    pub(super) fn reaction(&self) -> u64 {
        self.given.reaction.unwrap_or(Span(REACTION)).millis()
    }

    /// How fast everybody speaks.
    pub(super) const fn words_a_minute(&self) -> u16 {
        self.situation.words_a_minute
    }

    /// What sources were told to do holds for the calls that follow.
    pub(super) fn keep(&mut self, sources: Vec<(String, SourcePlan)>) {
        for (name, plan) in sources {
            self.given.sources.insert(name.clone(), SourceAnswer::of(&plan));
            self.situation.sources.insert(name, plan);
        }
    }

    /// Writes what was seen into a new file, and plays it. Says what was written.
    ///
    /// # Errors
    /// The file is there already or cannot be written, or what was written does not pass.
    pub(super) async fn save(
        &self,
        file: &Path,
        name: Option<&str>,
        sights: &[(Time, Sight)],
        answers: &[(Request, ModelPlan)],
    ) -> Result<String, String> {
        let name = name.map_or_else(|| named_after(file), ToOwned::to_owned);
        let mut given = self.given.clone();
        for (request, plan) in answers {
            given.models.entry(request.model.clone()).or_default().push(ModelAnswer::of(plan));
        }
        let scenario = draft(&name, &given, sights);
        let steps = scenario.steps.len();
        let written = ScenarioFile {
            component: self.component.as_deref().map(|component| beside(file, component)),
            given: Given::default(),
            scenarios: vec![scenario],
        };
        let text = written.to_yaml();
        let shown = file.display();
        let new = std::fs::File::options().write(true).create_new(true).open(file);
        let mut new = new.map_err(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => format!("{shown} is there already; choose another name"),
            _ => format!("{shown} cannot be written: {error}"),
        })?;
        std::io::Write::write_all(&mut new, text.as_bytes())
            .map_err(|error| format!("{shown} cannot be written: {error}"))?;
        self.prove(file, &text).await?;
        Ok(format!("saved {shown}: \"{name}\", {steps} steps; played again, it passes"))
    }

    /// Plays what was written.
    async fn prove(&self, file: &Path, text: &str) -> Result<(), String> {
        let shown = file.display();
        let name = shown.to_string();
        let suite = Suite::read(&name, text)
            .map_err(|problems| format!("{shown} is written, and cannot be read:\n{}", tell(&problems)))?;
        for run in &suite.runs {
            if let Some(failure) = run.play(&self.stage).await.failure {
                let came = failure.came.map(|came| format!("; {came}")).unwrap_or_default();
                let problem = suite.problem(failure.place, format!("{}{came}", failure.message), None);
                return Err(format!(
                    "{shown} is written, and does not pass: a scenario's caller cannot do just this\n{problem}"
                ));
            }
        }
        Ok(())
    }
}

/// A scenario's name from that of its file.
fn named_after(file: &Path) -> String {
    let stem = file.file_stem().map(|stem| stem.to_string_lossy().replace(['_', '-'], " "));
    stem.filter(|stem| !stem.trim().is_empty()).unwrap_or_else(|| "from a chat".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scenario_is_named_after_its_file() {
        assert_eq!(named_after(Path::new("tests/key-1_confirms.yaml")), "key 1 confirms");
        assert_eq!(named_after(Path::new(".yaml")), ".yaml");
    }
}
