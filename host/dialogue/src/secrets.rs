//! What a caller gave in confidence, so that it stays a secret when the script passes it on: as a parameter of a
//! request, in a field, in a line of its log.
//!
//! Looked for is what was heard, as it was heard. What a script makes of it – its last two digits, a date with dashes –
//! is the script's own affair.

use crate::llm::{ModelReply, ToolCall};
use crate::script::{Heard, HostCall, HostReply, Prompt, Reply, Segment};
use serde_json::Value;
use std::borrow::Cow;

/// What stands in place of a secret, where that is a text and not keys.
pub const MASK: &str = "[masked]";

/// Different secrets that are looked for; a call has few.
const MOST: usize = 64;
/// A secret as short as this is hidden only where it stands alone: the key `1` would take every 1 with it.
const SHORT: usize = 2;

/// Secrets of one call.
#[derive(Clone, Debug, Default)]
pub struct Secrets(Vec<String>);

impl Secrets {
    /// Notes a secret.
    pub fn hide(&mut self, secret: &str) {
        let known = self.0.iter().any(|known| known == secret);
        if !known && !secret.is_empty() && secret != MASK && self.0.len() < MOST {
            self.0.push(secret.to_owned());
            // The longest first, so that none leaves a part of another.
            self.0.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        }
    }

    /// Notes what a sensitive answer ([`crate::Output::Reply`]) holds.
    pub fn remember(&mut self, reply: &Reply) {
        let Ok(reply) = reply else { return };
        match reply {
            HostReply::Heard(heard) | HostReply::Answer { heard, .. } => match heard {
                Heard::Speech(utterance) => self.hide(&utterance.text),
                Heard::Digits(text) | Heard::NoMatch(text) => self.hide(text),
                Heard::Nothing => {}
            },
            HostReply::ModelTurn(turn) => {
                if let Some(heard) = turn.heard.clone() {
                    self.remember(&Ok(HostReply::Heard(heard)));
                }
            }
            HostReply::MaybeUtterance(Some(utterance)) => self.hide(&utterance.text),
            HostReply::Utterances(all) => all.iter().for_each(|utterance| self.hide(&utterance.text)),
            HostReply::MaybeText(Some(text)) | HostReply::Text(text) | HostReply::Json(text) => self.hide(text),
            // What was said as words is written as digits here.
            HostReply::MaybeJson(Some(text)) => match serde_json::from_str::<Value>(text) {
                Ok(Value::Object(members)) => members.values().for_each(|value| match value {
                    Value::String(text) => self.hide(text),
                    Value::Number(number) => self.hide(&number.to_string()),
                    _ => {}
                }),
                _ => self.hide(text),
            },
            _ => {}
        }
    }

    /// The text with [`MASK`] in place of every secret.
    #[must_use]
    pub fn out_of<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut text = Cow::Borrowed(text);
        for secret in &self.0 {
            if text == secret.as_str() {
                return MASK.into();
            }
            // A text in JSON.
            if text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) == Some(secret) {
                return format!("\"{MASK}\"").into();
            }
            if secret.chars().count() > SHORT && text.contains(secret.as_str()) {
                text = text.replace(secret.as_str(), MASK).into();
            }
        }
        text
    }

    /// Puts [`MASK`] in place of every secret.
    pub fn clean(&self, text: &mut String) {
        let without = self.out_of(text);
        if without != text.as_str() {
            *text = without.into_owned();
        }
    }

    /// The call with [`MASK`] in place of every secret. Names of the manifest – sources, settings, fields – are no
    /// place for one.
    #[must_use]
    pub fn out_of_call(&self, call: &HostCall) -> HostCall {
        let mut masked = call.clone();
        if self.0.is_empty() {
            return masked;
        }
        let clean = |text: &mut String| self.clean(text);
        let clean_prompt = |prompt: &mut Prompt| {
            for segment in &mut prompt.segments {
                if let Segment::Text(text) | Segment::Ssml(text) = segment {
                    clean(text);
                }
            }
        };
        match &mut masked {
            HostCall::Say { prompt } | HostCall::StartSay { prompt } | HostCall::Ask { prompt, .. } => {
                clean_prompt(prompt);
            }
            HostCall::Write { text, .. } => clean(text),
            HostCall::Reject { reason: Some(reason), .. } => clean(reason),
            HostCall::SendDigits { digits } => clean(digits),
            HostCall::StartTransfer { target, options } | HostCall::Transfer { target, options } => {
                clean(target);
                options.headers.iter_mut().for_each(|(_, value)| clean(value));
            }
            HostCall::Fetch { parameters, .. } | HostCall::StartFetch { parameters, .. } => {
                parameters.iter_mut().for_each(|(_, value)| clean(value));
            }
            HostCall::AddMessage { text, .. } | HostCall::AddToolResult { content: text, .. } => clean(text),
            HostCall::SetField { value, .. } => clean(value),
            HostCall::SetDisposition { disposition: text }
            | HostCall::AddTag { tag: text }
            | HostCall::Push { body: text, .. }
            | HostCall::Log { message: text, .. } => clean(text),
            _ => {}
        }
        masked
    }

    /// The answer with [`MASK`] in place of every secret that the robot said again, or a model that was told; none where
    /// it holds none.
    #[must_use]
    pub fn out_of_reply(&self, reply: &Reply) -> Option<Reply> {
        if self.0.is_empty() {
            return None;
        }
        let clean = |text: &mut String| self.clean(text);
        let clean_calls = |calls: &mut Vec<ToolCall>| calls.iter_mut().for_each(|call| clean(&mut call.arguments));
        let clean_reply = |reply: &mut ModelReply| {
            clean(&mut reply.text);
            clean_calls(&mut reply.tool_calls);
            reply.playout.iter_mut().for_each(|playout| clean(&mut playout.heard_text));
        };
        let mut masked = reply.as_ref().ok()?.clone();
        match &mut masked {
            HostReply::ModelReply(reply) => clean_reply(reply),
            HostReply::ModelTurn(turn) => clean_reply(&mut turn.reply),
            HostReply::Playout(playout)
            | HostReply::MaybePlayout(Some(playout))
            | HostReply::Answer { prompt: playout, .. } => clean(&mut playout.heard_text),
            HostReply::Messages(all) => all.iter_mut().for_each(|message| {
                clean(&mut message.text);
                clean_calls(&mut message.tool_calls);
            }),
            _ => return None,
        }
        let masked = Ok(masked);
        (masked != *reply).then_some(masked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::{LogLevel, Playout, PlayoutEnd};

    fn secrets(all: &[&str]) -> Secrets {
        let mut secrets = Secrets::default();
        all.iter().for_each(|secret| secrets.hide(secret));
        secrets
    }

    #[test]
    fn a_secret_is_taken_out_wherever_it_is_passed_on() {
        let secrets = secrets(&["4711", "47110815"]);
        let fetch = |pin: &str| HostCall::Fetch { source: "crm".into(), parameters: vec![("pin".into(), pin.into())] };
        assert_eq!(secrets.out_of_call(&fetch("4711")), fetch(MASK));
        assert_eq!(secrets.out_of_call(&fetch("12")), fetch("12"));
        assert_eq!(secrets.out_of("4711 or 47110815"), format!("{MASK} or {MASK}"));
        assert_eq!(secrets.out_of("\"4711\""), format!("\"{MASK}\""));
        let log = |words: &str| HostCall::Log { level: LogLevel::Info, message: words.into() };
        assert_eq!(secrets.out_of_call(&log("pin 4711")), log(&format!("pin {MASK}")));
        assert_eq!(Secrets::default().out_of_call(&log("pin 4711")), log("pin 4711"));
    }

    #[test]
    fn what_was_heard_of_a_prompt_with_a_secret_is_masked_like_the_prompt() {
        let heard = |text: &str| {
            Ok(HostReply::Playout(Playout { end: PlayoutEnd::Finished, played: 900, heard_text: text.into() }))
        };
        assert_eq!(secrets(&["4711"]).out_of_reply(&heard("It is 4711.")), Some(heard("It is [masked].")));
        assert_eq!(secrets(&["4711"]).out_of_reply(&heard("Thank you.")), None);
    }

    #[test]
    fn a_model_that_says_a_secret_again_is_masked_too() {
        let call =
            ToolCall { id: "a".into(), name: "check".into(), arguments: r#"{"pin":"4711"}"#.into(), problem: None };
        let reply = ModelReply {
            text: "Your pin is 4711.".into(),
            playout: None,
            tool_calls: vec![call],
            finish: crate::llm::Finish::ToolCalls,
        };
        let reply = Ok(HostReply::ModelReply(Box::new(reply)));
        let masked = secrets(&["4711"]).out_of_reply(&reply).map(|reply| format!("{reply:?}")).unwrap_or_default();
        assert!(masked.contains("Your pin is [masked].") && !masked.contains("4711"), "{masked}");
        assert_eq!(secrets(&["0815"]).out_of_reply(&reply), None);
        let add = |text: &str| HostCall::AddMessage {
            handle: crate::script::Handle(1),
            role: crate::llm::Role::User,
            text: text.into(),
        };
        assert_eq!(secrets(&["4711"]).out_of_call(&add("it is 4711")), add("it is [masked]"));
    }

    #[test]
    fn a_secret_of_one_key_hides_itself_and_not_every_such_digit() {
        let secrets = secrets(&["1"]);
        assert_eq!(secrets.out_of("1"), MASK);
        assert_eq!(secrets.out_of("2101"), "2101");
    }

    #[test]
    fn no_caller_makes_the_list_long() {
        let mut secrets = Secrets::default();
        (0..10_000).for_each(|n| secrets.hide(&n.to_string()));
        assert_eq!(secrets.0.len(), MOST);
    }
}
