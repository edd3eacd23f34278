//! What a script says about itself and what it asks for, by name.
//!
//! The manifest travels as JSON in the component's custom section
//! `callbox:manifest`. It declares names; the deployment binds them to addresses
//! and secrets. Nothing here is secret.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Bytes of a manifest.
pub const MAX_BYTES: usize = 64 << 10;

/// What a script says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// 1 to 64 letters, digits, `-`, `_`, `.`.
    pub name: String,
    /// The author's own version, free text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// One or two sentences.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// BCP 47 tags of what it can speak, the preferred first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub languages: Vec<String>,
    /// SIP headers it wants to see. Lower case after reading.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<String>,
    /// Data sources, by name (`context.fetch`).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sources: BTreeMap<String, SourceDeclaration>,
    /// Language models, by name (`llm.conversation`).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub models: BTreeMap<String, ModelDeclaration>,
    /// Destinations, by name (`results.push`).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub destinations: BTreeMap<String, DestinationDeclaration>,
    /// Settings, by name (`settings.get`).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub settings: BTreeMap<String, SettingDeclaration>,
    /// Names of secrets that its sources and destinations need.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<String>,
    /// Its breadcrumbs (`results.enter-node`), so that a test run can tell which of them no scenario has reached. Nothing
    /// else depends on it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<String>,
    /// Its dispositions (`results.set-disposition`), likewise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dispositions: Vec<String>,
    /// What it says in every call, word for word: rendered ahead, so that nobody waits for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prompts: Vec<PromptDeclaration>,
}

/// Something a script says often. It is found ready where it is said in the same words, language, voice and rate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PromptDeclaration {
    /// The text, as for `voice.segment.text`.
    pub text: String,
    /// BCP 47; the first of `languages` where it is not given, and `en` where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// The voice, where it is not the usual one of the language.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub voice: Option<String>,
    /// Words a minute, where it is not the usual rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<u16>,
}

/// A data source, as the script sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceDeclaration {
    /// Ask for it as soon as the call comes in.
    #[serde(default)]
    pub prefetch: bool,
    /// What it is for, for whoever binds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// A language model, as the script sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelDeclaration {
    /// What it is for, for whoever binds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// A destination, as the script sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DestinationDeclaration {
    /// What it is for, for whoever binds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// A setting.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SettingDeclaration {
    /// The value where the deployment gives none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
    /// What it is for, for whoever sets it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// What is wrong with a manifest, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {message}")]
pub struct ManifestError {
    /// For example `sources.crm.prefetch`; `.` for the document.
    pub path: String,
    /// What is wrong and what is expected.
    pub message: String,
}

impl Manifest {
    /// Reads JSON and checks every name, length and count.
    ///
    /// # Errors
    /// The first thing that is wrong, with its path.
    pub fn parse(json: &[u8]) -> Result<Self, ManifestError> {
        if json.len() > MAX_BYTES {
            return Err(fail(".", format!("{} bytes; a manifest has at most {MAX_BYTES}", json.len())));
        }
        let mut reader = serde_json::Deserializer::from_slice(json);
        let mut manifest: Self = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
            let path = error.path().to_string();
            fail(&path, crate::text::printable(&error.into_inner().to_string(), 300))
        })?;
        reader.end().map_err(|error| fail(".", format!("there is something after the document: {error}")))?;
        for header in &mut manifest.headers {
            header.make_ascii_lowercase();
        }
        manifest.check()?;
        Ok(manifest)
    }

    /// As compact JSON, for the custom section.
    ///
    /// # Errors
    /// What [`Self::parse`] would find.
    pub fn to_json(&self) -> Result<Vec<u8>, ManifestError> {
        let json = serde_json::to_vec(self).map_err(|error| fail(".", error.to_string()))?;
        Self::parse(&json)?;
        Ok(json)
    }

    fn check(&self) -> Result<(), ManifestError> {
        name("name", &self.name)?;
        text("version", self.version.as_deref(), 64)?;
        text("description", self.description.as_deref(), 1_024)?;
        count("languages", self.languages.len(), 32)?;
        for (i, tag) in self.languages.iter().enumerate() {
            language(&format!("languages[{i}]"), tag)?;
        }
        count("headers", self.headers.len(), 32)?;
        for (i, header) in self.headers.iter().enumerate() {
            header_name(&format!("headers[{i}]"), header)?;
        }
        count("sources", self.sources.len(), 32)?;
        for (key, source) in &self.sources {
            name(&format!("sources.{}", shown(key)), key)?;
            text(&format!("sources.{key}.description"), source.description.as_deref(), 1_024)?;
        }
        count("models", self.models.len(), 8)?;
        for (key, model) in &self.models {
            name(&format!("models.{}", shown(key)), key)?;
            text(&format!("models.{key}.description"), model.description.as_deref(), 1_024)?;
        }
        count("destinations", self.destinations.len(), 32)?;
        for (key, destination) in &self.destinations {
            name(&format!("destinations.{}", shown(key)), key)?;
            text(&format!("destinations.{key}.description"), destination.description.as_deref(), 1_024)?;
        }
        count("settings", self.settings.len(), 128)?;
        for (key, setting) in &self.settings {
            name(&format!("settings.{}", shown(key)), key)?;
            text(&format!("settings.{key}.description"), setting.description.as_deref(), 1_024)?;
            text(&format!("settings.{key}.default"), setting.default.as_deref(), 8_192)?;
        }
        count("secrets", self.secrets.len(), 32)?;
        for (i, secret) in self.secrets.iter().enumerate() {
            name(&format!("secrets[{i}]"), secret)?;
        }
        count("prompts", self.prompts.len(), 256)?;
        for (i, prompt) in self.prompts.iter().enumerate() {
            text(&format!("prompts[{i}].text"), Some(&prompt.text), 2_048)?;
            text(&format!("prompts[{i}].voice"), prompt.voice.as_deref(), 128)?;
            if let Some(tag) = &prompt.language {
                language(&format!("prompts[{i}].language"), tag)?;
            }
        }
        for (section, words) in [("nodes", &self.nodes), ("dispositions", &self.dispositions)] {
            count(section, words.len(), 256)?;
            for (i, word) in words.iter().enumerate() {
                let path = format!("{section}[{i}]");
                text(&path, Some(word), 128)?;
                if word.is_empty() || words[..i].contains(word) {
                    return Err(fail(&path, "is empty, or there twice"));
                }
            }
        }
        Ok(())
    }
}

fn fail(path: &str, message: impl Into<String>) -> ManifestError {
    ManifestError { path: crate::text::printable(path, 120), message: message.into() }
}

fn shown(key: &str) -> String {
    crate::text::printable(key, 40)
}

fn count(path: &str, found: usize, most: usize) -> Result<(), ManifestError> {
    if found > most {
        return Err(fail(path, format!("{found} entries; at most {most}")));
    }
    Ok(())
}

fn name(path: &str, value: &str) -> Result<(), ManifestError> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if value.is_empty() || value.len() > 64 || !value.chars().all(good) {
        return Err(fail(path, "a name has 1 to 64 of the characters a-z, A-Z, 0-9, `-`, `_`, `.`"));
    }
    Ok(())
}

fn text(path: &str, value: Option<&str>, most: usize) -> Result<(), ManifestError> {
    let Some(value) = value else { return Ok(()) };
    if value.len() > most {
        return Err(fail(path, format!("{} bytes; at most {most}", value.len())));
    }
    if value.chars().any(|c| c.is_control() && c != '\n' && c != '\t') {
        return Err(fail(path, "contains control characters"));
    }
    Ok(())
}

fn language(path: &str, tag: &str) -> Result<(), ManifestError> {
    let parts = tag.split('-');
    if tag.len() > 35
        || parts.clone().any(|p| p.is_empty() || p.len() > 8 || !p.chars().all(|c| c.is_ascii_alphanumeric()))
    {
        return Err(fail(path, "not a BCP 47 tag; write for example `en`, `en-GB`, `zh-CN`"));
    }
    Ok(())
}

fn header_name(path: &str, header: &str) -> Result<(), ManifestError> {
    // RFC 3261 section 25.1, `token`.
    let good = |c: char| c.is_ascii_alphanumeric() || "-.!%*_+`'~".contains(c);
    if header.is_empty() || header.len() > 64 || !header.chars().all(good) {
        return Err(fail(path, "not the name of a SIP header"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn reads_a_full_manifest_and_writes_it_back() {
        let json = br#"{"name":"appointment","version":"1.2","languages":["en","zh-CN"],"headers":["X-Customer-Id","User-to-User"],
            "sources":{"appointment":{"prefetch":true,"description":"the visit"}},"models":{"assistant":{"description":"talks"}},"destinations":{"outcome":{}},
            "settings":{"language":{"default":"en"}},"secrets":["crm"],"nodes":["hello","menu"],"dispositions":["done"],
            "prompts":[{"text":"Good morning.","language":"en-GB"},{"text":"Bye.","voice":"house/anna","rate":160}]}"#;
        let manifest = Manifest::parse(json).unwrap();
        assert_eq!(manifest.headers, ["x-customer-id", "user-to-user"]);
        assert!(manifest.sources["appointment"].prefetch);
        assert_eq!(Manifest::parse(&manifest.to_json().unwrap()).unwrap(), manifest);
    }

    #[test]
    fn says_where_the_mistake_is() {
        let cases: &[(&str, &str)] = &[
            (r#"{"name":"a","sources":{"crm":{"prefetch":"yes"}}}"#, "sources.crm.prefetch"),
            (r#"{"name":"a","sources":{"crm":{"url":"http://x"}}}"#, "sources.crm.url"),
            (r#"{"name":"a","colour":1}"#, "colour"),
            (r#"{"name":"a","models":{"assistant":{"url":"http://x"}}}"#, "models.assistant.url"),
            (r#"{"name":""}"#, "name"),
            (r#"{"version":"1"}"#, "."),
            (r#"{"name":"a","languages":["en","e n"]}"#, "languages[1]"),
            (r#"{"name":"a","headers":["X-A\r\nVia: x"]}"#, "headers[0]"),
            (r#"{"name":"a","settings":{"../x":{}}}"#, "settings.../x"),
            (r#"{"name":"a","description":"a\u0007"}"#, "description"),
            (r#"{"name":"a","nodes":["a","b","a"]}"#, "nodes[2]"),
            (r#"{"name":"a","prompts":[{"text":"x","language":"no such"}]}"#, "prompts[0].language"),
            (r#"{"name":"a","prompts":[{"text":"x"},{}]}"#, "prompts[1]"),
            (r#"{"name":"a","dispositions":[""]}"#, "dispositions[0]"),
            (r#"{"name":"a"} x"#, "."),
            ("", "."),
        ];
        for (json, path) in cases {
            let error = Manifest::parse(json.as_bytes()).unwrap_err();
            assert_eq!(&error.path, path, "{json}: {error}");
        }
        assert_eq!(Manifest::parse(&vec![b' '; MAX_BYTES + 1]).unwrap_err().path, ".");
    }
}
