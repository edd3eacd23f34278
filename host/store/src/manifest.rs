//! What the store needs of a script's manifest: the names that a deployment binds.
//! The script room owns the manifest's full shape; unknown members are ignored here.

use crate::bindings::Bindings;
use serde::Deserialize;
use std::collections::BTreeMap;

/// The names a manifest declares.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Names {
    /// The script's own name.
    #[serde(default)]
    pub name: String,
    /// BCP 47 tags, the default first.
    #[serde(default)]
    pub languages: Vec<String>,
    /// SIP headers it wants to see.
    #[serde(default)]
    pub headers: Vec<String>,
    /// Context sources.
    #[serde(default)]
    pub sources: BTreeMap<String, SourceName>,
    /// Language models.
    #[serde(default)]
    pub models: BTreeMap<String, serde::de::IgnoredAny>,
    /// Destinations of pushes.
    #[serde(default)]
    pub destinations: BTreeMap<String, serde::de::IgnoredAny>,
    /// Settings.
    #[serde(default)]
    pub settings: BTreeMap<String, SettingName>,
    /// Secrets that the host puts into requests.
    #[serde(default)]
    pub secrets: Vec<String>,
}

/// A context source of a manifest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct SourceName {
    /// Asked for as soon as the call comes in.
    #[serde(default)]
    pub prefetch: bool,
}

/// A setting of a manifest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct SettingName {
    /// Used where the deployment gives no value.
    #[serde(default)]
    pub default: Option<String>,
}

impl Names {
    /// The names that mean nothing yet, as `source appointment`, `secret token` …
    #[must_use]
    pub fn unbound(&self, bindings: &Bindings) -> Vec<String> {
        let sources = self.sources.keys().filter(|n| !bindings.sources.contains_key(*n));
        let models = self.models.keys().filter(|n| !bindings.models.contains_key(*n));
        let destinations = self.destinations.keys().filter(|n| !bindings.destinations.contains_key(*n));
        let settings = self
            .settings
            .iter()
            .filter(|(n, s)| s.default.is_none() && !bindings.settings.contains_key(*n))
            .map(|(n, _)| n);
        let secrets = self.secrets.iter().filter(|n| !bindings.secrets.contains(*n));
        let mut all: Vec<String> = sources.map(|n| format!("source {n}")).collect();
        all.extend(models.map(|n| format!("model {n}")));
        all.extend(destinations.map(|n| format!("destination {n}")));
        all.extend(settings.map(|n| format!("setting {n}")));
        all.extend(secrets.map(|n| format!("secret {n}")));
        all
    }

    /// The settings with the manifest's defaults filled in.
    #[must_use]
    pub fn settings(&self, given: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let pick = |(name, setting): (&String, &SettingName)| {
            let value = given.get(name).or(setting.default.as_ref())?;
            Some((name.clone(), value.clone()))
        };
        self.settings.iter().filter_map(pick).collect()
    }
}
