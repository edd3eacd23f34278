//! A scenario file as a whole.

use super::cases::literal;
use super::given::Given;
use super::step::Step;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A scenario file: what is given for all of them, and the scenarios.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Callbox scenarios")]
pub struct ScenarioFile {
    /// The component to run, relative to this file. Without it: the project's own, or what the command line names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub component: Option<String>,
    /// What is settled before each call of the file.
    #[serde(default, skip_serializing_if = "is_default")]
    pub given: Given,
    /// The scenarios: one call each.
    pub scenarios: Vec<Scenario>,
}

/// One call, or one for each case.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What it shows, in a few words. Unique in its file.
    pub name: String,
    /// What is settled before the call, over what is given for the file.
    #[serde(default, skip_serializing_if = "is_default")]
    pub given: Given,
    /// What happens, in order.
    pub steps: Vec<Step>,
    /// One call for each of these. `${key}` in any text of `given` and `steps` stands for the case's value; a text that
    /// is nothing else keeps the value's type. A case may have a `name`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cases: Vec<BTreeMap<String, Value>>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Scenario {
    /// The scenario with all its texts meant as they are: none of them asks for a case. What comes from a call or from a
    /// person is made a scenario by way of this, once and as a whole.
    #[must_use]
    pub fn literally(self) -> Self {
        literally(self)
    }
}

/// With all texts meant as they are.
fn literally<T: Serialize + DeserializeOwned>(it: T) -> T {
    fn texts(value: &mut Value) {
        match value {
            Value::String(text) => *text = literal(text),
            Value::Array(all) => all.iter_mut().for_each(texts),
            Value::Object(all) => all.values_mut().for_each(texts),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
    let Ok(mut value) = serde_json::to_value(&it) else { return it };
    texts(&mut value);
    serde_json::from_value(value).unwrap_or(it)
}

impl ScenarioFile {
    /// The file with all its texts meant as they are, as [`Scenario::literally`] has it.
    #[must_use]
    pub fn literally(self) -> Self {
        literally(self)
    }

    /// The file as YAML, for a person to read and to go on with. Reading it gives the same file again.
    #[must_use]
    pub fn to_yaml(&self) -> String {
        let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
        // Only keys that are no texts and numbers that are none can fail, and there are none.
        serde_saphyr::to_string_with_options(self, options).unwrap_or_default()
    }
}

/// The JSON Schema of a scenario file (draft 2020-12), as published in `docs/scenario.schema.json`.
#[must_use]
pub fn schema() -> Value {
    let mut schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<ScenarioFile>().to_value();
    allow_case_values(&mut schema);
    if let Some(defs) = schema.get_mut("$defs").and_then(Value::as_object_mut) {
        let case_value = json!({
            "description": "The value of a case, by its key: `${key}`.",
            "type": "string",
            "pattern": r"^\$\{[^{}]+\}$",
        });
        defs.insert(CASE_VALUE.into(), case_value);
    }
    schema
}

/// The name of the schema of `${key}`.
const CASE_VALUE: &str = "CaseValue";

/// Lets `${key}` stand wherever a word, a number or a truth value is wanted that is no free text.
fn allow_case_values(schema: &mut Value) {
    if is_narrow(schema) {
        let description = schema.as_object_mut().and_then(|schema| schema.remove("description"));
        let narrow = std::mem::take(schema);
        *schema = json!({ "anyOf": [narrow, { "$ref": format!("#/$defs/{CASE_VALUE}") }] });
        if let (Some(schema), Some(description)) = (schema.as_object_mut(), description) {
            schema.insert("description".into(), description);
        }
        return;
    }
    match schema {
        Value::Object(parts) => {
            for (key, part) in parts {
                // What is below the others is no schema.
                if !matches!(key.as_str(), "required" | "examples" | "default" | "enum" | "const") {
                    allow_case_values(part);
                }
            }
        }
        Value::Array(all) => all.iter_mut().for_each(allow_case_values),
        _ => {}
    }
}

/// Whether a schema is one of a few words, of a number or of a truth value.
fn is_narrow(schema: &Value) -> bool {
    let scalar = |kind: &Value| ["boolean", "integer", "number"].iter().any(|scalar| kind == scalar);
    let words = |all: &Value| {
        all.as_array().is_some_and(|all| {
            !all.is_empty() && all.iter().all(|one| one["const"].is_string() || one["enum"].is_array())
        })
    };
    let is_type = match &schema["type"] {
        Value::Array(kinds) => kinds.iter().any(scalar),
        kind => scalar(kind),
    };
    is_type || schema["enum"].is_array() || !schema["const"].is_null() || words(&schema["oneOf"])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    const EXAMPLE: &str = r#"
component: appointment.wasm
given:
  at: 2026-12-01T09:00[Europe/Berlin]
  caller: "+4930123456"
  headers: {X-call-relation-id: r-17}
  settings: {agent: "sip:agent@pbx.example"}
  sources:
    appointment: {answers: {name: Ada, date: 2026-12-01, time: "14:30", place: Clinic}, after: 300ms}
    crm: {fails: unavailable, after: 3s}
    calendar: {never: true}
scenarios:
  - name: key 1 confirms
    steps:
      - expect: "Your appointment is"
      - expect: {matches: "^Press", within: 800ms}
      - press: "1"
      - say: yes
      - silence: 6s
      - silence: true
      - interrupt: {after: 1.2s, say: stop}
      - noise: 1s
      - message: {a: [1, null]}
      - wait: 2s
      - source: {name: crm, fails: unavailable, after: 3s}
      - transfer: {to: "sip:agent@pbx.example", answers: {status: 503, reason: Full}, after: 2s}
      - transfer: "sip:agent@pbx.example"
      - node: confirmed
      - fetched: {source: crm, parameters: {id: "7"}}
      - pushed: {to: outcome, body: {outcome: confirmed}}
      - result: {disposition: confirmed, intent: {name: keep, grade: A}, tags: [x], fields: {relation_id: r-17}, opt_out: false}
      - hang_up: true
      - ended: {by: script, reason: script_returned, outcome: answered}
    cases:
      - {name: one, key: "1", outcome: confirmed}
"#;

    #[test]
    fn the_format_is_read_and_written() {
        let read = |text: &str| {
            let options = serde_saphyr::options! { strict_booleans: true };
            serde_saphyr::from_str_with_options::<ScenarioFile>(text, options)
        };
        let file = read(EXAMPLE).unwrap();
        let steps = &file.scenarios[0].steps;
        assert_eq!(steps.len(), 19);
        assert_eq!(steps[2], Step::Press(super::super::Press::keys("1")));
        assert_eq!(steps[3], Step::Say(super::super::Say::text("yes")));
        let written = file.to_yaml();
        let again = read(&written).unwrap_or_else(|error| panic!("{error}\n{written}"));
        assert_eq!(again, file, "{written}");
    }
}
