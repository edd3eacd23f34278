//! `--bindings FILE`: what the names of a script mean, in the document that a deployment takes (`PUT …/bindings`).

use callbox_delivery::{Egress, EgressPolicy, ModelRequest, ask_model};
use callbox_dialogue::HostError;
use callbox_dialogue::llm::{Event, Request};
use callbox_script::Manifest;
use callbox_sim::model::{ModelDoes, ModelEnd, ModelPlan};
use callbox_store::bindings::{self, BindingsInput, Credentials, ModelBinding};
use miette::{Context, IntoDiagnostic};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// Where the bindings of a script are.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct BindingsArgs {
    /// Bind names of the script as a deployment does, by a JSON file with what `PUT /v1/scripts/{script}/bindings` takes:
    /// its language models are asked for true. A chat uses nothing else of it.
    #[arg(long, value_name = "FILE")]
    bindings: Option<PathBuf>,
}

impl BindingsArgs {
    /// The document, which is a good one; empty where no file is named.
    ///
    /// # Errors
    /// The file cannot be read, or something is wrong in it; says where.
    pub(super) fn document(&self) -> miette::Result<Value> {
        let Some(path) = &self.bindings else { return Ok(Value::Object(serde_json::Map::new())) };
        let (bytes, _) = read(path)?;
        serde_json::from_slice(&bytes).into_diagnostic()
    }

    /// The language models that it binds.
    ///
    /// # Errors
    /// As for [`Self::document`].
    pub(super) fn models(&self) -> miette::Result<Models> {
        let bound = match &self.bindings {
            Some(path) => read(path)?.1.into_models(),
            None => BTreeMap::new(),
        };
        // Whoever types may ask whom they like, a model on this machine above all.
        let policy = EgressPolicy::new::<&str>(true, &[]).into_diagnostic()?;
        Ok(Models { bound, egress: Egress::new(policy).into_diagnostic()? })
    }
}

fn read(path: &Path) -> miette::Result<(Vec<u8>, BindingsInput)> {
    let bytes = std::fs::read(path).into_diagnostic().wrap_err_with(|| format!("cannot read {}", path.display()))?;
    let input = bindings::parse(&bytes).into_diagnostic().wrap_err_with(|| path.display().to_string())?;
    Ok((bytes, input))
}

/// Language models that are really there.
pub(super) struct Models {
    bound: BTreeMap<String, (ModelBinding, Credentials)>,
    egress: Egress,
}

impl Models {
    /// Those that the script does not know of: nothing will ever ask them.
    pub(super) fn strangers(&self, manifest: &Manifest) -> Vec<String> {
        let unknown = self.bound.keys().filter(|name| !manifest.models.contains_key(*name));
        unknown.map(|name| format!("the script has no model `{name}`")).collect()
    }

    /// Asks a model, waits for all of its answer, and tells it as it came; none where it is not bound.
    pub(super) async fn answer(&self, request: &Request) -> Option<ModelPlan> {
        let (binding, credentials) = self.bound.get(&request.model)?;
        let ask = ModelRequest { url: &binding.url, model: &binding.model, credentials, request };
        let limit = Duration::from_millis(binding.timeout_ms.into());
        let mut heard = Heard::new(Instant::now());
        let over = timeout(limit, async {
            let mut answer = match ask_model(&self.egress, ask, limit).await {
                Ok(answer) => answer,
                Err(error) => return heard.fails(error.into()),
            };
            while let Some(event) = answer.next().await {
                heard.take(event, Instant::now());
            }
        });
        if over.await.is_err() {
            heard.fails(HostError::TimedOut);
        }
        Some(heard.plan())
    }
}

/// What a model has done so far.
struct Heard {
    asked: Instant,
    /// When it gave its first sign, and its last.
    signs: Option<(Instant, Instant)>,
    text: String,
    calls: Vec<(String, String)>,
    failed: Option<HostError>,
}

impl Heard {
    fn new(asked: Instant) -> Self {
        Self { asked, signs: None, text: String::new(), calls: Vec::new(), failed: None }
    }

    fn take(&mut self, event: Event, now: Instant) {
        match event {
            Event::Text { text } => self.text.push_str(&text),
            Event::ToolCall(call) => self.calls.push((call.name, call.arguments)),
            Event::Failed { error } => self.failed = Some(error),
            Event::Done { .. } => {}
        }
        self.signs = Some((self.signs.map_or(now, |(first, _)| first), now));
    }

    fn fails(&mut self, error: HostError) {
        self.failed = Some(error);
    }

    fn plan(self) -> ModelPlan {
        let thought = self.signs.map_or(Duration::ZERO, |(first, _)| first - self.asked);
        let words = self.text.split_whitespace().count();
        let took = self.signs.map_or(Duration::ZERO, |(first, last)| last - first);
        // Faster than anybody listens, where it came all at once.
        let pace = if took.is_zero() { 1_000.0 } else { words as f64 / took.as_secs_f64() };
        let does = match self.failed {
            Some(error) if self.text.trim().is_empty() => ModelDoes::Fails(error),
            failed => {
                let then = failed.map_or(ModelEnd::Done, ModelEnd::Breaks);
                ModelDoes::Writes { text: self.text, calls: self.calls, then }
            }
        };
        ModelPlan {
            after: u32::try_from(thought.as_millis()).unwrap_or(u32::MAX),
            tokens_per_second: pace.clamp(1.0, 1_000.0) as u16,
            ..ModelPlan::does(does)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_told_as_it_came() {
        let asked = Instant::now();
        let mut heard = Heard::new(asked);
        let mut now = asked + Duration::from_millis(400);
        for word in ["Good ", "day. ", "For ", "which ", "day?"] {
            heard.take(Event::Text { text: word.into() }, now);
            now += Duration::from_millis(250);
        }
        heard.take(Event::Done { reason: "stop".into(), usage: None }, now);
        let plan = heard.plan();
        assert_eq!((plan.after, plan.tokens_per_second), (400, 4));
        let text = "Good day. For which day?".to_owned();
        assert_eq!(plan.does, ModelDoes::Writes { text, calls: Vec::new(), then: ModelEnd::Done });

        let mut away = Heard::new(asked);
        away.fails(HostError::TimedOut);
        assert_eq!(away.plan().does, ModelDoes::Fails(HostError::TimedOut));
    }
}
