//! A script's project: `callbox.toml` and the assets folder.

use callbox_script::Manifest;
use miette::{Diagnostic, NamedSource, SourceSpan};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The file a project is known by.
pub(super) const FILE: &str = "callbox.toml";

/// Audio of one script; what is larger belongs on a server, not in a script.
const MAX_ASSETS: u64 = 24 << 20;

/// A project, read.
#[derive(Debug)]
pub(super) struct Project {
    /// The folder, absolute.
    pub(super) root: PathBuf,
    pub(super) manifest: Manifest,
    /// Contents of the assets folder, by path with `/` between its parts.
    pub(super) assets: BTreeMap<String, Vec<u8>>,
}

/// Why a folder is not a project.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub(super) enum ProjectError {
    #[error("{0} has no {FILE}")]
    #[diagnostic(
        code(callbox::script::no_project),
        help("name the folder of a project, or make one: callbox script new NAME")
    )]
    Missing(PathBuf),
    #[error("{message}")]
    #[diagnostic(code(callbox::script::manifest))]
    Manifest {
        message: String,
        #[source_code]
        file: Arc<NamedSource<String>>,
        #[label("here")]
        place: Option<SourceSpan>,
    },
    #[error("the assets folder: {message}")]
    #[diagnostic(code(callbox::script::assets))]
    Assets { message: String },
    #[error("cannot read {path}: {error}")]
    #[diagnostic(code(callbox::script::io))]
    Read { path: PathBuf, error: std::io::Error },
}

impl Project {
    /// Reads the project in a folder.
    ///
    /// # Errors
    /// There is none, or something in it is wrong; says where.
    pub(super) fn open(folder: &Path) -> Result<Self, ProjectError> {
        let path = folder.join(FILE);
        if !path.is_file() {
            return Err(ProjectError::Missing(folder.to_owned()));
        }
        let root = folder.canonicalize().map_err(|error| ProjectError::Read { path: folder.to_owned(), error })?;
        let text = std::fs::read_to_string(&path).map_err(|error| ProjectError::Read { path: path.clone(), error })?;
        let (manifest, assets) = parse(&path.display().to_string(), &text)?;
        let assets = match assets {
            Some(folder) => read_assets(&root, &folder)?,
            None => BTreeMap::new(),
        };
        Ok(Self { root, manifest, assets })
    }
}

/// The manifest and the name of the assets folder.
fn parse(name: &str, text: &str) -> Result<(Manifest, Option<String>), ProjectError> {
    let fail = |message: String, place: Option<Range<usize>>| ProjectError::Manifest {
        message,
        file: Arc::new(NamedSource::new(name, text.to_owned()).with_language("toml")),
        place: place.map(Into::into),
    };
    let broken = |error: toml::de::Error| fail(error.message().to_owned(), error.span());

    let mut document = DeTable::parse(text).map_err(broken)?;
    let assets = match document.get_mut().remove("assets") {
        None => None,
        Some(value) => match value.get_ref() {
            DeValue::String(folder) => Some(folder.to_string()),
            _ => return Err(fail("`assets` names a folder, in quotes".into(), Some(value.span()))),
        },
    };
    let places = document.clone();
    let manifest = Manifest::deserialize(toml::de::Deserializer::from(document)).map_err(|error| {
        // The list of what is known does not know of the one that was taken out.
        fail(error.message().replace("one of `name`, ", "one of `name`, `assets`, "), error.span())
    })?;
    // What holds for every manifest, however it was written.
    let json = manifest
        .to_json()
        .map_err(|error| fail(format!("{}: {}", error.path, error.message), place(places.get_ref(), &error.path)))?;
    let manifest = Manifest::parse(&json).map_err(|error| fail(error.to_string(), None))?;
    Ok((manifest, assets))
}

/// Where in the document a path like `sources.crm.description` or
/// `languages[1]` stands: its longest part that is there.
fn place(table: &DeTable<'_>, path: &str) -> Option<Range<usize>> {
    let (key, value) = table.iter().find(|(key, _)| {
        path.strip_prefix(key.get_ref().as_ref()).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    })?;
    let rest = &path[key.get_ref().len()..];
    Some(within(value, rest).unwrap_or_else(|| key.span()))
}

fn within(value: &Spanned<DeValue<'_>>, rest: &str) -> Option<Range<usize>> {
    if rest.is_empty() {
        return match value.get_ref() {
            DeValue::Table(_) => None,
            _ => Some(value.span()),
        };
    }
    match value.get_ref() {
        DeValue::Table(table) => place(table, rest.strip_prefix('.')?),
        DeValue::Array(array) => {
            let (index, rest) = rest.strip_prefix('[')?.split_once(']')?;
            within(array.get(index.parse::<usize>().ok()?)?, rest)
        }
        _ => None,
    }
}

/// All WAV files below a folder of the project.
fn read_assets(root: &Path, folder: &str) -> Result<BTreeMap<String, Vec<u8>>, ProjectError> {
    let fail = |message: String| ProjectError::Assets { message };
    let top = root.join(folder);
    let inside = top.canonicalize().is_ok_and(|real| real.starts_with(root));
    if !top.is_dir() || !inside {
        return Err(fail(format!("`{folder}` is not a folder of this project")));
    }
    let mut assets = BTreeMap::new();
    let mut size = 0u64;
    let mut folders = vec![(top, String::new())];
    while let Some((folder, prefix)) = folders.pop() {
        let read = |error| ProjectError::Read { path: folder.clone(), error };
        for entry in std::fs::read_dir(&folder).map_err(read)? {
            let entry = entry.map_err(read)?;
            let (path, name) = (entry.path(), entry.file_name());
            let name = name.to_str().ok_or_else(|| fail(format!("{}: the name is not Unicode", path.display())))?;
            if name.starts_with('.') {
                continue;
            }
            let kind = entry.file_type().map_err(read)?;
            if kind.is_dir() {
                folders.push((path, format!("{prefix}{name}/")));
            } else if !kind.is_file() {
                return Err(fail(format!("{}: neither a file nor a folder", path.display())));
            } else if path.extension().is_some_and(|end| end.eq_ignore_ascii_case("wav")) {
                size += entry.metadata().map_err(read)?.len();
                if size > MAX_ASSETS {
                    return Err(fail(format!("more than {} MiB of audio", MAX_ASSETS >> 20)));
                }
                let bytes = std::fs::read(&path).map_err(|error| ProjectError::Read { path: path.clone(), error })?;
                assets.insert(format!("{prefix}{name}"), bytes);
            } else {
                return Err(fail(format!("{}: only WAV files can be played", path.display())));
            }
        }
    }
    Ok(assets)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn a_full_manifest_is_read() {
        let text = r#"
            name = "reminder"
            languages = ["en"]
            headers = ["X-Relation"]
            assets = "audio"
            [sources.crm]
            prefetch = true
            [destinations.outcome]
            description = "what came of it"
            [settings.language]
            default = "en"
        "#;
        let (manifest, assets) = parse("callbox.toml", text).unwrap();
        assert_eq!(assets.as_deref(), Some("audio"));
        assert_eq!(manifest.headers, ["x-relation"]);
        assert!(manifest.sources["crm"].prefetch);
        assert_eq!(manifest.settings["language"].default.as_deref(), Some("en"));
    }

    /// Reads a wrong manifest; returns the message and the text it points at.
    fn mistake(text: &str) -> (String, String) {
        let ProjectError::Manifest { message, place, .. } = parse("callbox.toml", text).unwrap_err() else {
            panic!("another error was expected")
        };
        let at = place.map(|place| text[place.offset()..place.offset() + place.len()].to_owned());
        (message, at.unwrap_or_default())
    }

    #[test]
    fn mistakes_are_pointed_at() {
        let cases = [
            ("name = \"a\"\ncolour = 1\n", "`assets`", "colour"),
            ("name = \"a\"\nlanguages = [\"en\", \"e n\"]\n", "languages[1]", "\"e n\""),
            ("name = \"a b\"\n", "name", "\"a b\""),
            ("name = 7\n", "invalid type", "7"),
            ("name = \"a\"\n[sources.crm]\nurl = \"http://x\"\n", "url", "url"),
            ("name = \"a\"\n[settings.\"x y\"]\ndefault = \"\"\n", "settings.x y", "\"x y\""),
            ("name = \"a\"\nassets = [\"a\"]\n", "assets", "[\"a\"]"),
            ("name = \"a\n", "string", ""),
        ];
        for (text, message, at) in cases {
            let (found, pointed) = mistake(text);
            assert!(found.contains(message), "{text}: {found}");
            assert_eq!(pointed, at, "{text}: {found}");
        }
    }

    #[test]
    fn assets_are_wav_files_inside_the_project() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join("audio/en")).unwrap();
        std::fs::write(root.join("audio/en/hello.wav"), b"RIFF").unwrap();
        std::fs::write(root.join("audio/.hidden"), b"").unwrap();
        assert_eq!(read_assets(&root, "audio").unwrap(), BTreeMap::from([("en/hello.wav".into(), b"RIFF".to_vec())]));
        for folder in ["nowhere", "..", "/etc"] {
            assert!(read_assets(&root, folder).unwrap_err().to_string().contains("not a folder of this project"));
        }
        std::fs::write(root.join("audio/hello.mp3"), b"").unwrap();
        assert!(read_assets(&root, "audio").unwrap_err().to_string().contains("only WAV"));
    }
}
