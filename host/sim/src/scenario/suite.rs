//! A scenario file, read, its cases filled in, and checked: what can be run.

use super::cases::{Case, fill};
use super::file::ScenarioFile;
use super::given::Given;
use super::order;
use super::problem::{Fault, Place, Problem, shown, suggest};
use super::reading::read;
use super::step::Step;
use super::tree::{Kind, Tree};
use callbox_script::Manifest;
use std::collections::BTreeMap;

/// Calls of one file.
const MAX_RUNS: usize = 10_000;
/// Values of one file, its cases filled in.
const MAX_VALUES: usize = 1_000_000;
/// Problems that are told of one file.
const MAX_PROBLEMS: usize = 20;

/// The calls that a scenario file asks for.
#[derive(Clone, Debug)]
pub struct Suite {
    /// The file, as it was named.
    pub file: String,
    /// The component that the file names, as it is written there, and where.
    pub component: Option<(String, Place)>,
    /// One call each, in the order of the file.
    pub runs: Vec<Run>,
    mentions: Vec<Mention>,
}

/// One call: a scenario, or one case of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// The scenario's name; with that of the case, where there is one: `scenario [case]`.
    pub name: String,
    /// Where the scenario stands.
    pub place: Place,
    /// What is settled before the call: the file's and the scenario's in one.
    pub given: Given,
    /// What happens, in order.
    pub steps: Vec<PlacedStep>,
}

/// A step and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct PlacedStep {
    /// The step.
    pub step: Step,
    /// The verb's place.
    pub place: Place,
}

/// What a name that a scenario uses stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kinship {
    Source,
    Model,
    Setting,
    Destination,
    Header,
}

/// A name that only makes sense if the script's manifest has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Mention {
    place: Place,
    kind: Kinship,
    name: String,
}

impl ScenarioFile {
    /// Reads a file as it stands, without filling in its cases. `name` is how errors call it.
    ///
    /// # Errors
    /// The first thing that is not as the format has it, with its place and the fix.
    pub fn read(name: &str, text: &str) -> Result<Self, Problem> {
        let tree = Tree::read(text).map_err(|fault| fault.of(name))?;
        read(&tree).map_err(|fault| fault.of(name))
    }
}

impl Suite {
    /// Reads a file, fills in its cases, and checks everything that can be known without its script. `name` is how
    /// errors call it.
    ///
    /// # Errors
    /// What is wrong, each with its place and the fix; at most 20 of them.
    pub fn read(name: &str, text: &str) -> Result<Self, Vec<Problem>> {
        let tree = Tree::read(text).map_err(|fault| vec![fault.of(name)])?;
        let mut reader = Reader { faults: Vec::new(), runs: Vec::new(), mentions: Vec::new(), budget: MAX_VALUES };
        let component = reader.file(&tree);
        let Reader { mut faults, runs, mut mentions, .. } = reader;
        if faults.is_empty() {
            mentions.sort();
            mentions.dedup();
            return Ok(Self { file: name.to_owned(), component, runs, mentions });
        }
        let mut problems: Vec<_> = faults.drain(..).map(|fault| fault.of(name)).collect();
        problems.sort_by_key(|problem| problem.place);
        // The cases of one scenario make the same mistake again and again.
        problems.dedup_by(|one, other| one.place == other.place);
        problems.truncate(MAX_PROBLEMS);
        Err(problems)
    }

    /// What does not go together with the script's manifest: sources, settings, destinations and headers that it does
    /// not declare.
    #[must_use]
    pub fn check_against(&self, manifest: &Manifest) -> Vec<Problem> {
        let unknown = self.mentions.iter().filter_map(|Mention { place, kind, name }| {
            let (what, section, known): (_, _, Vec<&str>) = match kind {
                Kinship::Source => ("data source", "sources", keys(&manifest.sources)),
                Kinship::Model => ("language model", "models", keys(&manifest.models)),
                Kinship::Setting => ("setting", "settings", keys(&manifest.settings)),
                Kinship::Destination => ("destination", "destinations", keys(&manifest.destinations)),
                Kinship::Header => ("header", "headers", manifest.headers.iter().map(String::as_str).collect()),
            };
            let there = known.iter().any(|known| match kind {
                Kinship::Header => known.eq_ignore_ascii_case(name),
                _ => known == name,
            });
            if there {
                return None;
            }
            let help = match suggest(name, known.iter().copied()) {
                Some(help) if help.starts_with("did you mean") => help,
                _ => format!("declare it in callbox.toml, in `{section}`, or take it out here"),
            };
            let message = format!("the script `{}` declares no {what} `{}`", shown(&manifest.name), shown(name));
            Some(Fault::new(message).help(help).at(*place).of(&self.file))
        });
        unknown.take(MAX_PROBLEMS).collect()
    }

    /// A problem at a place of this file.
    #[must_use]
    pub fn problem(&self, place: Place, message: impl Into<String>, help: Option<String>) -> Problem {
        Problem { file: self.file.clone(), place, message: message.into(), help }
    }
}

fn keys<T>(map: &BTreeMap<String, T>) -> Vec<&str> {
    map.keys().map(String::as_str).collect()
}

/// Reads a file part by part, so that one mistake does not hide the next.
struct Reader {
    faults: Vec<Fault>,
    runs: Vec<Run>,
    mentions: Vec<Mention>,
    budget: usize,
}

impl Reader {
    /// Takes a value, or notes what is wrong.
    fn noted<T>(&mut self, result: Result<T, Fault>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(fault) => {
                self.faults.push(fault);
                None
            }
        }
    }

    fn file(&mut self, tree: &Tree) -> Option<(String, Place)> {
        const KNOWN: [&str; 3] = ["component", "given", "scenarios"];
        if !self.is_map(tree, &KNOWN, "a scenario file") {
            return None;
        }
        let component = tree.get("component").and_then(|tree| {
            let path: String = self.noted(read(tree))?;
            Some((path, tree.at))
        });
        let given = tree.get("given");
        let Some(list) = tree.get("scenarios") else {
            self.faults.push(
                Fault::new("`scenarios` is missing")
                    .help("write for example\nscenarios:\n  - name: it says hello\n    steps:\n      - expect: Hello")
                    .at(tree.at),
            );
            return component;
        };
        let Kind::List(list) = &list.kind else {
            self.faults.push(
                Fault::new(format!("{} stands where a list of scenarios is expected", list.describe()))
                    .help("each scenario begins with a dash: `- name: …`")
                    .at(list.at),
            );
            return component;
        };
        let mut names: BTreeMap<String, Place> = BTreeMap::new();
        for scenario in list {
            self.scenario(scenario, given, &mut names);
        }
        component
    }

    /// Whether it is a map of known keys; notes what is not.
    fn is_map(&mut self, tree: &Tree, known: &[&'static str], what: &str) -> bool {
        let Kind::Map(entries) = &tree.kind else {
            let fault = Fault::new(format!("{} stands where {what} is expected", tree.describe()));
            self.faults.push(fault.at(tree.at));
            return false;
        };
        for (key, _) in entries {
            if !known.contains(&key.text.as_str()) {
                let fault = Fault::new(format!("unknown field `{}` of {what}", shown(&key.text)));
                let help = suggest(&key.text, known.iter().copied());
                self.faults.push(Fault { help, ..fault }.at(key.at));
            }
        }
        true
    }

    fn scenario(&mut self, tree: &Tree, file_given: Option<&Tree>, names: &mut BTreeMap<String, Place>) {
        const KNOWN: [&str; 4] = ["name", "given", "steps", "cases"];
        if !self.is_map(tree, &KNOWN, "a scenario") {
            return;
        }
        let name = match tree.get("name") {
            None => Err(Fault::new("`name` is missing").help("say in a few words what the scenario shows").at(tree.at)),
            Some(name) => read::<String>(name),
        };
        let Some(name) = self.noted(name) else { return };
        let place = tree.place(&["name"]);
        if let Some(other) = names.insert(name.clone(), place) {
            let fault = Fault::new(format!("there is another scenario `{}` in line {}", shown(&name), other.line));
            self.faults.push(fault.help("give each its own name").at(place));
        }
        let Some(steps) = tree.get("steps") else {
            self.faults.push(Fault::new(format!("the scenario `{}` has no `steps`", shown(&name))).at(tree.at));
            return;
        };
        let cases = match tree.get("cases").map(|cases| (&cases.kind, cases)) {
            None => Vec::new(),
            Some((Kind::List(list), _)) if !list.is_empty() => list.iter().map(Case::of).collect(),
            Some((_, cases)) => {
                vec![Err(Fault::new(format!("{} stands where a list of cases is expected", cases.describe()))
                    .help("write for example - {name: one, key: \"1\"}")
                    .at(cases.at))]
            }
        };
        if cases.is_empty() {
            self.run(name, place, [file_given, tree.get("given")], steps, None);
            return;
        }
        for case in cases {
            if let Some(case) = self.noted(case) {
                let name = format!("{name} [{}]", case.name());
                self.run(name, place, [file_given, tree.get("given")], steps, Some(case));
            }
        }
    }

    /// One call, its case filled in.
    fn run(&mut self, name: String, place: Place, given: [Option<&Tree>; 2], steps: &Tree, case: Option<Case<'_>>) {
        if self.runs.len() >= MAX_RUNS {
            if self.runs.len() == MAX_RUNS && self.faults.is_empty() {
                let fault = Fault::new(format!("the file asks for more than {MAX_RUNS} calls"));
                self.faults.push(fault.help("split it").at(place));
            }
            return;
        }
        let mut both = Given::default();
        for tree in given.into_iter().flatten() {
            let filled = fill(tree, case, &mut self.budget);
            let Some(tree) = self.noted(filled) else { return };
            let Some(given) = self.noted(read::<Given>(&tree)) else { return };
            let wrong = order::given(&given, &tree);
            self.faults.extend(wrong);
            self.mention(&tree);
            both = given.over(both);
        }
        let filled = fill(steps, case, &mut self.budget);
        let Some(steps) = self.noted(filled) else { return };
        let Kind::List(list) = &steps.kind else {
            let fault = Fault::new(format!("{} stands where a list of steps is expected", steps.describe()));
            self.faults.push(fault.help("each step begins with a dash: `- expect: …`").at(steps.at));
            return;
        };
        let mut placed = Vec::with_capacity(list.len());
        for tree in list {
            let Some(step) = self.noted(read::<Step>(tree)) else { continue };
            let wrong = order::step(&step, tree);
            self.faults.extend(wrong);
            self.mentioned_by(&step, tree);
            placed.push(PlacedStep { step, place: tree.at });
        }
        if placed.len() == list.len() {
            let wrong = order::steps(&both, &placed, steps.at);
            self.faults.extend(wrong);
        }
        self.runs.push(Run { name, place, given: both, steps: placed });
    }

    /// Names of the manifest in what is given.
    fn mention(&mut self, given: &Tree) {
        for (field, kind) in [
            ("sources", Kinship::Source),
            ("models", Kinship::Model),
            ("settings", Kinship::Setting),
            ("headers", Kinship::Header),
        ] {
            if let Some(Kind::Map(entries)) = given.get(field).map(|tree| &tree.kind) {
                let names = entries.iter().map(|(key, _)| Mention { place: key.at, kind, name: key.text.clone() });
                self.mentions.extend(names);
            }
        }
    }

    /// Names of the manifest in a step.
    fn mentioned_by(&mut self, step: &Step, tree: &Tree) {
        let (kind, name, place) = match step {
            Step::Source(change) => (Kinship::Source, &change.name, tree.place(&["source", "name"])),
            Step::Fetched(fetched) => (Kinship::Source, &fetched.source, tree.place(&["fetched", "source"])),
            Step::Model(change) => (Kinship::Model, &change.name, tree.place(&["model", "name"])),
            Step::Asked(asked) => (Kinship::Model, &asked.model, tree.place(&["asked", "model"])),
            Step::Pushed(pushed) => (Kinship::Destination, &pushed.to, tree.place(&["pushed", "to"])),
            _ => return,
        };
        self.mentions.push(Mention { place, kind, name: name.clone() });
    }
}
