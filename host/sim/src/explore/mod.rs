//! The fuzz caller: many random but plausible callers, and what they find.
//!
//! A caller presses the keys that are offered or others, says what is expected or something else, stays silent, breaks
//! in, hangs up; sources answer, fail, are late; transfers go every way. What leads somewhere new – a breadcrumb, a
//! prompt behind a prompt, a way to end – is remembered, and later callers begin like that and go on in their own way:
//! so they come deep into a dialogue that nobody described.
//!
//! All of it follows from the seed. What is found is found once, shrunk to few turns, and written as a scenario.

mod caller;
mod choice;
mod circumstances;
mod finding;
mod knowledge;
mod shrink;
mod turn;
mod watch;
mod written;

pub use circumstances::Base;
pub use finding::{Finding, Kind};
pub use knowledge::Knowledge;

use self::caller::{Caller, Choose};
use self::choice::{Again, Dice, Fuzz};
use self::circumstances::Circumstances;
use self::turn::{Does, Turn};
use self::watch::Watch;
use crate::far_end::Sight;
use crate::scenario::Scenario;
use crate::stage::Stage;
use crate::told::Told;
use callbox_dialogue::Time;
use callbox_dialogue::script::HostReply;
use callbox_dialogue::time::Millis;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use tokio::task::JoinSet;

/// Calls that are played before what they found is looked at: so many can run at once, and the order of what is
/// learnt does not depend on which is over first.
const BATCH: u64 = 16;
/// Calls that lead somewhere new and are remembered.
const CORPUS: usize = 1_024;
/// Findings that are looked into.
const FINDINGS: usize = 64;

/// How to explore.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where all randomness comes from.
    pub seed: u64,
    /// Calls at most.
    pub calls: u64,
    /// How long nothing may be said and nothing listened for.
    pub dead_after: Millis,
}

impl Default for Options {
    fn default() -> Self {
        Self { seed: 0, calls: 2_000, dead_after: 10_000 }
    }
}

/// How far an exploration is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Calls so far.
    pub calls: u64,
    /// Different things that were seen: breadcrumbs, prompts behind prompts, ends.
    pub ways: usize,
    /// Breadcrumbs that were reached.
    pub nodes: usize,
    /// Different findings.
    pub findings: usize,
}

/// What an exploration came to.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Calls that were played, beside those for shrinking.
    pub calls: u64,
    /// Different things that were seen.
    pub ways: usize,
    /// What is wrong, in the order in which it was found.
    pub found: Vec<Found>,
    /// Breadcrumbs that were reached, and by how many calls.
    pub nodes: BTreeMap<String, u64>,
    /// Dispositions that calls ended with, and how many.
    pub dispositions: BTreeMap<String, u64>,
    /// Reasons for the end (`end_reason`), and how many.
    pub reasons: BTreeMap<&'static str, u64>,
    /// Breadcrumbs that scenarios expect and no call reached.
    pub unreached_nodes: Vec<String>,
    /// Dispositions that scenarios expect and no call ended with.
    pub unreached_dispositions: Vec<String>,
}

/// Something wrong, and how to see it.
#[derive(Clone, Debug)]
pub struct Found {
    /// What.
    pub finding: Finding,
    /// How many calls have shown it.
    pub times: u64,
    /// The call that shows it, in few steps.
    pub scenario: Scenario,
    /// The scenario was read as it is written, played, and has shown the same.
    pub proven: bool,
}

/// A call as it can be played again.
#[derive(Clone, Debug)]
struct Call {
    circumstances: Circumstances,
    turns: Vec<Turn>,
}

/// What is left of a call that was played.
struct Played {
    call: Call,
    told: Told,
    finding: Option<Finding>,
}

/// What all calls share.
#[derive(Clone)]
struct Ground {
    stage: Stage,
    bases: Arc<Vec<Base>>,
    knows: Arc<Knowledge>,
    dead_after: Millis,
}

impl Ground {
    async fn play(&self, circumstances: Circumstances, chooser: impl Choose) -> Played {
        let situation = circumstances.situation(&self.bases);
        let mut caller = Caller::new(chooser, self.dead_after);
        let told = self.stage.play(&situation, &mut caller).await;
        let finding = self.finding(&told);
        let mut turns = caller.turns;
        // Whoever does nothing more is silent anyway.
        while turns.last().is_some_and(|turn| turn.does == Does::Silence) {
            turns.pop();
        }
        Played { call: Call { circumstances, turns }, told, finding }
    }

    /// What is wrong with a call.
    fn finding(&self, told: &Told) -> Option<Finding> {
        Watch::find(self.dead_after, &told.sights).or_else(|| Finding::of(told)).or_else(|| {
            // Abandoned on the way to it, when nothing else was to come.
            let idle = told.abandoned.is_some().then_some((Time(u64::MAX), Sight::Hint { text: String::new() }));
            idle.and_then(|end| Watch::find(self.dead_after, told.sights.iter().chain([&end])))
        })
    }

    /// Plays a call once more.
    async fn again(&self, call: &Call) -> Played {
        self.play(call.circumstances.clone(), Again::new(&call.turns)).await
    }

    /// Plays the nth call.
    async fn explore(&self, seed: u64, n: u64, from: Option<Call>) -> Played {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        bytes[8..16].copy_from_slice(&n.to_le_bytes());
        let mut dice = Dice(ChaCha8Rng::from_seed(bytes));
        let anew = Circumstances::random(&mut dice, &self.bases, self.stage.manifest());
        let (circumstances, before) = match from {
            None => (anew, Vec::new()),
            Some(Call { circumstances, mut turns }) => {
                turns.truncate(dice.below(turns.len() + 1));
                (if dice.percent(75) { circumstances } else { anew }, turns)
            }
        };
        let fuzz = Fuzz::new(&before, dice, self.knows.clone());
        self.play(circumstances, fuzz).await
    }
}

/// Explores a script. `bases` is what calls start from, at least one; `knows` what is known of the script. `progress` is
/// told how far it is, and says whether to go on.
pub async fn explore(
    stage: &Stage,
    bases: Vec<Base>,
    mut knows: Knowledge,
    options: &Options,
    mut progress: impl FnMut(&Progress) -> bool,
) -> Report {
    let bases = if bases.is_empty() { vec![Base::default()] } else { bases };
    bases.iter().for_each(|base| knows.learn_base(base));
    let ground = Ground {
        stage: stage.clone(),
        bases: Arc::new(bases),
        knows: Arc::new(knows),
        dead_after: options.dead_after.max(1_000),
    };
    let mut dice = Dice(ChaCha8Rng::seed_from_u64(options.seed));
    let mut learnt = Learnt::default();
    while learnt.report.calls < options.calls {
        let first = learnt.report.calls;
        let batch = BATCH.min(options.calls - first);
        let mut calls = JoinSet::new();
        for n in first..first + batch {
            let (ground, seed, from) = (ground.clone(), options.seed, learnt.beginning(&mut dice));
            calls.spawn(async move { (n, ground.explore(seed, n, from).await) });
        }
        let mut played = BTreeMap::new();
        while let Some(done) = calls.join_next().await {
            // A call that panics is a bug of ours; what the others found is worth more than its trace.
            played.extend(done.ok());
        }
        learnt.report.calls += batch;
        played.into_values().for_each(|played| learnt.learn(played));
        if !progress(&learnt.progress()) {
            break;
        }
    }
    learnt.report(&ground).await
}

/// What is known so far.
#[derive(Default)]
struct Learnt {
    report: Report,
    ways: BTreeSet<u64>,
    /// Calls that led somewhere new.
    corpus: Vec<Call>,
    findings: Vec<(Finding, Call, u64)>,
}

impl Learnt {
    /// How the next call begins.
    fn beginning(&self, dice: &mut Dice) -> Option<Call> {
        if self.corpus.is_empty() || dice.percent(25) {
            return None;
        }
        // The later ones are the deeper ones.
        let place = dice.below(self.corpus.len()).max(dice.below(self.corpus.len()));
        self.corpus.get(place).cloned()
    }

    fn learn(&mut self, played: Played) {
        let Played { call, told, finding } = played;
        let nodes: BTreeSet<&str> = told.nodes().collect();
        for node in nodes {
            *self.report.nodes.entry(node.to_owned()).or_default() += 1;
        }
        if let Some(disposition) = &told.record.disposition {
            *self.report.dispositions.entry(disposition.clone()).or_default() += 1;
        }
        if let Some(reason) = told.record.end_reason {
            *self.report.reasons.entry(reason.as_str()).or_default() += 1;
        }
        let before = self.ways.len();
        self.ways.extend(ways(&told));
        if self.ways.len() > before && self.corpus.len() < CORPUS {
            self.corpus.push(call.clone());
        }
        let Some(finding) = finding else { return };
        if let Some((_, shortest, times)) = self.findings.iter_mut().find(|(known, ..)| known.is(&finding)) {
            *times += 1;
            if call.turns.len() < shortest.turns.len() {
                *shortest = call;
            }
        } else if self.findings.len() < FINDINGS {
            self.findings.push((finding, call, 1));
        }
    }

    fn progress(&self) -> Progress {
        Progress {
            calls: self.report.calls,
            ways: self.ways.len(),
            nodes: self.report.nodes.len(),
            findings: self.findings.len(),
        }
    }

    /// Shrinks what was found, and counts what was not reached.
    async fn report(self, ground: &Ground) -> Report {
        let Self { mut report, ways, findings, .. } = self;
        report.ways = ways.len();
        for (finding, call, times) in findings {
            let call = shrink::shrink(ground, call, &finding).await;
            let played = ground.again(&call).await;
            let finding = played.finding.filter(|again| again.is(&finding)).unwrap_or(finding);
            let (scenario, proven) = written::proven(ground, &call, &finding).await;
            report.found.push(Found { finding, times, scenario, proven });
        }
        let missing = |wanted: &BTreeSet<String>, got: &BTreeMap<String, u64>| {
            wanted.iter().filter(|name| !got.contains_key(*name)).cloned().collect()
        };
        report.unreached_nodes = missing(&ground.knows.nodes, &report.nodes);
        report.unreached_dispositions = missing(&ground.knows.dispositions, &report.dispositions);
        report
    }
}

/// What a call has led to, each as a number: breadcrumbs and what was said behind them, prompts behind prompts, what
/// the host refused, how it ended.
fn ways(told: &Told) -> Vec<u64> {
    let number = |way: &dyn Fn(&mut DefaultHasher)| {
        // The same in every process of the same build: a seed finds the same again.
        let mut hasher = DefaultHasher::new();
        way(&mut hasher);
        hasher.finish()
    };
    let mut ways = Vec::new();
    let mut node = "";
    let mut before = String::new();
    for (_, sight) in &told.sights {
        match sight {
            Sight::Node { name } => {
                ways.push(number(&|hasher| ("node", node, name).hash(hasher)));
                node = name;
            }
            Sight::PromptStarted { text, .. } => {
                let text = finding::form(Some(text));
                ways.push(number(&|hasher| ("prompt", node, &before, &text).hash(hasher)));
                before = text;
            }
            Sight::Replied { reply: Err(error), .. } => {
                ways.push(number(&|hasher| ("error", node, std::mem::discriminant(error)).hash(hasher)));
            }
            Sight::Replied { reply: Ok(HostReply::Transfer(outcome)), .. } => {
                ways.push(number(&|hasher| ("transfer", node, std::mem::discriminant(outcome)).hash(hasher)));
            }
            _ => {}
        }
    }
    let record = &told.record;
    let end = record.end_reason.map(|reason| reason.as_str());
    ways.push(number(&|hasher| ("end", node, end, &record.disposition).hash(hasher)));
    for (name, value) in &record.fields {
        ways.push(number(&|hasher| ("field", name, finding::form(Some(value.get()))).hash(hasher)));
    }
    ways
}
