//! Which scenario files there are, and which script each is about.

use super::super::build::{HowToBuild, build};
use super::super::check::read as read_component;
use super::super::project;
use bytes::Bytes;
use callbox_sim::scenario::{Place, Problem, Suite};
use callbox_sim::{Stage, Theatre};
use miette::{Diagnostic, IntoDiagnostic, NamedSource, SourceSpan, WrapErr, miette};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The folder of a project in which its scenarios are.
pub(super) const FOLDER: &str = "scenarios";
/// Folders in which nobody keeps scenarios.
const PASSED_OVER: [&str; 3] = ["target", "vendor", "node_modules"];
/// Bytes of the longest line that is shown.
const LINE: usize = 1_000;
/// Folders within folders.
const DEPTH: usize = 16;

/// A scenario file, read.
pub(super) struct Kit {
    pub(super) path: PathBuf,
    pub(super) suite: Suite,
    pub(super) text: Arc<str>,
}

/// Reads all scenario files below these paths.
///
/// # Errors
/// There are none, or something in them is wrong; says what and where.
pub(super) fn read(paths: &[PathBuf]) -> miette::Result<Vec<Kit>> {
    let files = files(paths)?;
    let mut kits = Vec::new();
    let mut mistakes = Vec::new();
    for path in files {
        let name = path.display().to_string();
        let bytes = fs::read(&path).into_diagnostic().wrap_err_with(|| format!("cannot read {name}"))?;
        let text: Arc<str> = String::from_utf8_lossy(&bytes).into();
        match Suite::read(&name, &text) {
            Ok(suite) => kits.push(Kit { path, suite, text }),
            Err(problems) => mistakes.extend(problems.iter().map(|problem| mistake(problem, &text))),
        }
    }
    refuse(mistakes)?;
    Ok(kits)
}

/// The scenario files that are meant, each once, in the order in which they were named.
fn files(paths: &[PathBuf]) -> miette::Result<Vec<PathBuf>> {
    let here = [PathBuf::from(".")];
    let paths = if paths.is_empty() { &here } else { paths };
    let mut all: Vec<PathBuf> = Vec::new();
    for path in paths {
        let found;
        if path.is_dir() {
            found = below(path).into_diagnostic().wrap_err_with(|| path.display().to_string())?;
        } else if path.is_file() {
            found = vec![path.clone()];
        } else {
            return Err(miette!(
                code = "callbox::test::missing",
                help = "name a scenario file, a project's folder, or a folder with projects",
                "{} is not there",
                path.display()
            ));
        }
        if found.is_empty() {
            return Err(miette!(
                code = "callbox::test::none",
                help = format!("put YAML files into PROJECT/{FOLDER}/; docs/scenarios.md has a first one"),
                "{} has no scenarios",
                path.display()
            ));
        }
        all.extend(found.into_iter().filter(|path| !all.contains(path)).collect::<Vec<_>>());
    }
    Ok(all)
}

/// The scenario files of a project, or of a folder with projects, in an order that is always the same.
///
/// # Errors
/// A folder cannot be read.
pub(in crate::author) fn below(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    look(folder, folder.file_name().is_some_and(|name| name == FOLDER), DEPTH, &mut found)?;
    found.sort();
    Ok(found)
}

/// YAML files in folders called `scenarios`.
fn look(folder: &Path, inside: bool, depth: usize, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let (name, path) = (entry.file_name(), entry.path());
        let Some(name) = name.to_str().filter(|name| !name.starts_with('.')) else { continue };
        // `./scenarios/a.yaml` is `scenarios/a.yaml` for whoever reads it.
        let path = path.strip_prefix(".").map(Path::to_owned).unwrap_or(path);
        let kind = entry.file_type()?;
        if kind.is_dir() && depth > 0 && !PASSED_OVER.contains(&name) {
            look(&path, inside || name == FOLDER, depth - 1, found)?;
        } else if kind.is_file() && inside && (name.ends_with(".yaml") || name.ends_with(".yml")) {
            found.push(path);
        }
    }
    Ok(())
}

/// A mistake in a scenario file, with the line it is in.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("{message}")]
#[diagnostic(code(callbox::test::scenario))]
pub(super) struct Mistake {
    message: String,
    #[help]
    help: Option<String>,
    #[source_code]
    file: Option<NamedSource<Arc<str>>>,
    #[label("here")]
    at: Option<SourceSpan>,
}

/// Mistakes in scenario files.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("{}", if mistakes.len() == 1 { "a scenario file has a mistake".to_owned() } else { format!("scenario files have {} mistakes", mistakes.len()) })]
struct Mistakes {
    #[related]
    mistakes: Vec<Mistake>,
}

/// A problem as it is shown.
pub(super) fn mistake(problem: &Problem, text: &Arc<str>) -> Mistake {
    // A line that fills the screen shows nothing, and neither do its neighbours.
    let around = text.lines().skip((problem.place.line as usize).saturating_sub(2)).take(3);
    let is_shown = around.map(str::len).all(|length| length <= LINE);
    // The place stands in the message too: it is what editors and CI systems find.
    Mistake {
        message: problem.to_string(),
        help: problem.help.clone(),
        file: is_shown.then(|| NamedSource::new(&problem.file, text.clone()).with_language("yaml")),
        at: is_shown.then(|| (offset(text, problem.place), 0).into()),
    }
}

/// An error, where there is a mistake.
///
/// # Errors
/// All of them in one.
pub(super) fn refuse(mistakes: Vec<Mistake>) -> miette::Result<()> {
    if mistakes.is_empty() { Ok(()) } else { Err(Mistakes { mistakes }.into()) }
}

/// Bytes before a place.
fn offset(text: &str, place: Place) -> usize {
    let lines: usize = text.split_inclusive('\n').take(place.line as usize - 1).map(str::len).sum();
    let line = text.get(lines..).unwrap_or_default();
    lines + line.chars().take(place.column as usize - 1).take_while(|c| *c != '\n').map(char::len_utf8).sum::<usize>()
}

/// The scripts of a run: each is built and compiled once.
pub(super) struct Subjects<'a> {
    theatre: &'a Theatre,
    component: Option<&'a Path>,
    how: &'a HowToBuild,
    stages: BTreeMap<PathBuf, Stage>,
}

impl<'a> Subjects<'a> {
    pub(super) fn new(theatre: &'a Theatre, component: Option<&'a Path>, how: &'a HowToBuild) -> Self {
        Self { theatre, component, how, stages: BTreeMap::new() }
    }

    /// The script of a file: that of the command line, else that which the file names, else its project.
    ///
    /// # Errors
    /// There is none, it does not build, or the host does not take it; names the line of the file where that has to do
    /// with it.
    pub(super) async fn stage(&mut self, kit: &Kit) -> miette::Result<Stage> {
        if let Some(path) = self.component {
            return self.of(path, None).await;
        }
        if let Some((named, place)) = &kit.suite.component {
            let path = kit.path.parent().unwrap_or_else(|| Path::new("")).join(named);
            return self.of(&path, Some((kit, *place))).await;
        }
        match project_of(&kit.path) {
            Some(folder) => self.of(&folder, None).await,
            None => Err(miette!(
                code = "callbox::test::no_script",
                help =
                    format!("put it into PROJECT/{FOLDER}/, write `component: FILE` into it, or give --component FILE"),
                "{} is in no project and names no component",
                kit.path.display()
            )),
        }
    }

    async fn of(&mut self, path: &Path, named_by: Option<(&Kit, Place)>) -> miette::Result<Stage> {
        let wrong = |message: String, help: Option<String>| match named_by {
            Some((kit, place)) => {
                let problem = kit.suite.problem(place, message, help);
                mistake(&problem, &kit.text).into()
            }
            None => match help {
                Some(help) => miette!(code = "callbox::test::script", help = help, "{message}"),
                None => miette!(code = "callbox::test::script", "{message}"),
            },
        };
        let Ok(key) = path.canonicalize() else {
            let help = "build it first: callbox script build PROJECT -o FILE";
            return Err(wrong(format!("the component {} is not there", path.display()), Some(help.into())));
        };
        if let Some(stage) = self.stages.get(&key) {
            return Ok(stage.clone());
        }
        let wasm: Bytes =
            if path.is_dir() { build(path, self.how, true).await?.wasm.into() } else { read_component(path)?.into() };
        let stage = self.theatre.stage(wasm).await.map_err(|error| {
            let help = "a script exports `run` of callbox:dialogue/script@0.1.0, as `callbox script build` makes it";
            wrong(format!("{} cannot be tested: {error}", path.display()), Some(help.into()))
        })?;
        self.stages.insert(key, stage.clone());
        Ok(stage)
    }
}

/// The project a file is in.
pub(super) fn project_of(path: &Path) -> Option<PathBuf> {
    let path = path.canonicalize().ok()?;
    path.ancestors().skip(1).find(|folder| folder.join(project::FILE).is_file()).map(Path::to_owned)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn scenarios_are_the_yaml_files_of_folders_of_that_name() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for path in [
            "a/scenarios/one.yaml",
            "a/scenarios/more/two.yml",
            "a/scenarios/notes.md",
            "a/other.yaml",
            "a/target/scenarios/x.yaml",
            "b/.git/scenarios/x.yaml",
            "b/scenarios/three.yaml",
        ] {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let names = |paths: &[PathBuf]| -> Vec<String> {
            let found = files(paths).unwrap();
            found.iter().map(|path| path.strip_prefix(root).unwrap().display().to_string()).collect()
        };
        let all = ["a/scenarios/more/two.yml", "a/scenarios/one.yaml", "b/scenarios/three.yaml"];
        assert_eq!(names(&[root.to_owned()]), all);
        assert_eq!(names(&[root.join("b/scenarios"), root.join("b")]), ["b/scenarios/three.yaml"]);
        assert_eq!(names(&[root.join("a/other.yaml")]), ["a/other.yaml"]);
        // Passed over on the way, but not where somebody names it.
        assert_eq!(names(&[root.join("a/target")]), ["a/target/scenarios/x.yaml"]);
        fs::create_dir(root.join("empty")).unwrap();
        assert!(files(&[root.join("empty")]).unwrap_err().to_string().contains("no scenarios"));
        assert!(files(&[root.join("c")]).unwrap_err().to_string().contains("not there"));
    }

    #[test]
    fn places_are_found_again() {
        let text = "ä: 1\nbé: [x]\n";
        let at = |line, column| &text[offset(text, Place { line, column })..];
        assert_eq!(at(1, 1), text);
        assert_eq!(at(2, 5), "[x]\n");
        assert_eq!(at(2, 99), "\n");
        assert_eq!(at(9, 9), "");
    }
}
