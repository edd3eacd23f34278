//! What a fuzz caller knows of a script: what scenarios say to it, what its sources hold.

use crate::scenario::Step;
use serde_json::Value;
use std::collections::BTreeSet;

/// Texts kept of a kind.
const KEPT: usize = 512;

/// What can be said to a script, and what is known to come of it.
#[derive(Clone, Debug, Default)]
pub struct Knowledge {
    /// Keys that mean something: of scenarios, and from the values of sources.
    pub(super) keys: Vec<String>,
    /// Words that mean something.
    pub(super) phrases: Vec<String>,
    /// Breadcrumbs that scenarios expect.
    pub(super) nodes: BTreeSet<String>,
    /// Dispositions that scenarios expect.
    pub(super) dispositions: BTreeSet<String>,
    /// JSON that scenarios send to the call.
    pub(super) messages: Vec<Value>,
}

impl Knowledge {
    /// Takes in what a scenario does and expects.
    pub fn learn(&mut self, step: &Step) {
        match step {
            Step::Press(press) => keep(&mut self.keys, &press.keys),
            Step::Say(say) => keep(&mut self.phrases, &say.text),
            Step::Interrupt(interrupt) => {
                interrupt.press.iter().for_each(|keys| keep(&mut self.keys, keys));
                interrupt.say.iter().for_each(|text| keep(&mut self.phrases, text));
            }
            Step::Message(message) if self.messages.len() < KEPT && !self.messages.contains(&message.0) => {
                self.messages.push(message.0.clone());
            }
            Step::Node(name) => {
                self.nodes.insert(name.clone());
            }
            Step::Result(result) => self.dispositions.extend(result.disposition.clone()),
            Step::Source(source) => source.answers.iter().for_each(|value| self.learn_value(value)),
            _ => {}
        }
    }

    /// Takes in what a source answers: what it holds is what callers are asked for.
    pub fn learn_value(&mut self, value: &Value) {
        match value {
            Value::String(text) => self.learn_text(text),
            Value::Number(number) => self.learn_text(&number.to_string()),
            Value::Array(values) => values.iter().for_each(|value| self.learn_value(value)),
            Value::Object(map) => map.values().for_each(|value| self.learn_value(value)),
            Value::Null | Value::Bool(_) => {}
        }
    }

    fn learn_text(&mut self, text: &str) {
        if text.chars().any(char::is_alphabetic) && text.len() <= 100 {
            keep(&mut self.phrases, text);
        }
        let groups: Vec<&str> = text.split(|c: char| !c.is_ascii_digit()).filter(|group| !group.is_empty()).collect();
        let all = groups.concat();
        if all.is_empty() || all.len() > 24 {
            return;
        }
        keep(&mut self.keys, &all);
        for last in [2, 3, 4, 6] {
            if all.len() > last {
                keep(&mut self.keys, &all[all.len() - last..]);
            }
        }
        // A date, in the ways in which people key one in.
        if let [year, month, day, ..] = groups.as_slice()
            && (year.len(), month.len(), day.len()) == (4, 2, 2)
        {
            for keys in [
                format!("{day}{month}{year}"),
                format!("{month}{day}{year}"),
                format!("{day}{month}{}", &year[2..]),
                format!("{day}{month}"),
                format!("{year}{month}{day}"),
                (*year).to_owned(),
            ] {
                keep(&mut self.keys, &keys);
            }
        }
    }
}

fn keep(texts: &mut Vec<String>, text: &str) {
    // What a case of a scenario fills in is no text yet.
    if texts.len() < KEPT && !text.is_empty() && !text.contains("${") && !texts.iter().any(|known| known == text) {
        texts.push(text.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_sources_hold_is_what_callers_key_in() {
        let mut knowledge = Knowledge::default();
        knowledge.learn_value(&json!({"name": "Ada", "born": "1990-04-12", "balances": [1200.5], "gone": null}));
        for keys in ["12041990", "04121990", "120490", "1204", "1990", "12005"] {
            assert!(knowledge.keys.iter().any(|known| known == keys), "{keys}: {:?}", knowledge.keys);
        }
        assert_eq!(knowledge.phrases, ["Ada"]);
    }
}
