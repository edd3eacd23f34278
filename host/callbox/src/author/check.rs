//! `callbox script check`: the server's admission, without the server.

use super::data;
use crate::rooms::playable;
use callbox_script::{Admission, ScriptConfig, ScriptHost, ScriptLimits, Verdict};
use miette::{Context, IntoDiagnostic, miette};
use std::path::{Path, PathBuf};

/// Look at a component as the server will when it is pushed.
#[derive(Debug, clap::Args)]
pub(crate) struct CheckArgs {
    /// The component, as `callbox script build` made it.
    file: PathBuf,
}

/// Admits the component as a server with default limits would, compiles it, and
/// prints what it is and may do.
///
/// # Errors
/// No such file, or what the server would refuse it for.
pub(super) async fn run(args: &CheckArgs) -> miette::Result<()> {
    let wasm = read(&args.file)?;
    let cache = tempfile::tempdir().into_diagnostic()?;
    let compiler = std::env::current_exe().into_diagnostic()?;
    let mut config = ScriptConfig::new(cache.path(), compiler);
    config.max_instances = 1;
    config.playable = playable;
    let limits = config.limits.clone();
    let host = ScriptHost::start(config).into_diagnostic()?;
    let admission = host
        .admit(wasm.into())
        .await
        .map_err(|error| miette!(code = error.code(), "{} is refused: {error}", args.file.display()))?;
    data(describe(&admission, &limits))
}

/// The bytes of a component.
///
/// # Errors
/// No such file.
pub(crate) fn read(file: &Path) -> miette::Result<Vec<u8>> {
    std::fs::read(file).into_diagnostic().wrap_err_with(|| format!("cannot read {}", file.display()))
}

/// What a component is and may do, for a person to read.
fn describe(admission: &Admission, limits: &ScriptLimits) -> String {
    let manifest = &admission.manifest;
    let mut text = Listing::default();
    text.line("name", [&manifest.name, manifest.version.as_deref().unwrap_or_default()].join(" ").trim());
    text.line("about", manifest.description.as_deref().unwrap_or_default());
    text.line("languages", &manifest.languages.join(", "));
    text.line("digest", &admission.digest);
    text.line("size", &format!("{} bytes", admission.size));
    text.line("built with", admission.toolchain.as_deref().unwrap_or_default());
    text.lines("may use", admission.imports.iter().map(|import| (import.as_str(), "")));
    text.lines("headers", manifest.headers.iter().map(|header| (header.as_str(), "")));
    text.lines(
        "sources",
        manifest.sources.iter().map(|(name, source)| {
            let about = source.description.as_deref().unwrap_or_default();
            (name.as_str(), if source.prefetch { format!("prefetched. {about}") } else { about.to_owned() })
        }),
    );
    text.lines(
        "models",
        manifest.models.iter().map(|(name, model)| (name.as_str(), model.description.as_deref().unwrap_or_default())),
    );
    text.lines(
        "destinations",
        manifest.destinations.iter().map(|(name, d)| (name.as_str(), d.description.as_deref().unwrap_or_default())),
    );
    text.lines(
        "settings",
        manifest.settings.iter().map(|(name, setting)| {
            let about = setting.description.as_deref().unwrap_or_default();
            (
                name.as_str(),
                setting.default.as_ref().map_or_else(|| about.to_owned(), |value| format!("= {value:?}. {about}")),
            )
        }),
    );
    text.lines("secrets", manifest.secrets.iter().map(|name| (name.as_str(), "")));
    text.lines(
        "checks",
        admission.checks.iter().map(|check| {
            let verdict = if check.verdict == Verdict::Warning { "warning: " } else { "" };
            (check.name.as_str(), format!("{verdict}{}", check.detail))
        }),
    );
    text.lines(
        "limits of a call",
        [
            ("CPU in a turn", format!("{} ms", limits.cpu_per_turn_ms)),
            ("CPU in all", format!("{} ms", limits.cpu_per_call_ms)),
            ("memory", format!("{} MiB", limits.memory >> 20)),
            ("host calls", format!("{} a second, {} at once", limits.host_calls_per_second, limits.host_calls_burst)),
            ("log", format!("{} KiB", limits.log_bytes_per_call >> 10)),
        ],
    );
    text.0.trim_end().to_owned()
}

/// Names in a column, what belongs to them beside it.
#[derive(Default)]
struct Listing(String);

impl Listing {
    /// One thing; nothing where there is nothing to say.
    fn line(&mut self, name: &str, value: &str) {
        if !value.is_empty() {
            self.0.push_str(&format!("{name:<12} {value}\n"));
        }
    }

    /// Several things of a kind, each on a line.
    fn lines<T: AsRef<str>>(&mut self, name: &str, entries: impl IntoIterator<Item = (impl AsRef<str>, T)>) {
        let entries: Vec<_> = entries.into_iter().collect();
        let width = entries.iter().map(|(entry, _)| entry.as_ref().chars().count()).max().unwrap_or_default();
        for (i, (entry, about)) in entries.iter().enumerate() {
            if i == 0 {
                self.0.push_str(&format!("{name}\n"));
            }
            let line = format!("  {:<width$}  {}", entry.as_ref(), about.as_ref());
            self.0.push_str(line.trim_end());
            self.0.push('\n');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_has_columns_and_no_empty_parts() {
        let mut text = Listing::default();
        text.line("name", "hello");
        text.line("about", "");
        text.lines("may use", [("voice", ""), ("results", "pushes")]);
        text.lines::<&str>("secrets", Vec::<(&str, &str)>::new());
        assert_eq!(text.0, "name         hello\nmay use\n  voice\n  results  pushes\n");
    }
}
