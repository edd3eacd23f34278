//! `callbox script explore`: many random callers against a script, and what they find.

use super::subject::SubjectArgs;
use super::test::scenario_files;
use super::{data, talk};
use crate::beside::beside;
use callbox_script::Manifest;
use callbox_sim::Stage;
use callbox_sim::explore::{Base, Found, Knowledge, Options, Progress, Report, explore};
use callbox_sim::scenario::{ScenarioFile, Span, Suite, tell};
use indicatif::{ProgressBar, ProgressStyle};
use miette::{Context, IntoDiagnostic, miette};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use tokio::time::Instant;

/// Something was found.
const FOUND: u8 = 1;
/// Nothing could be explored.
const CANNOT: u8 = 2;
/// Lines of a finding that are shown; a trap's trace has many.
const LINES: usize = 12;

/// Let many random callers loose on a script
///
/// They press the keys that are offered or others, talk, stay silent, break in, hang up; sources answer, fail and are
/// late; transfers go every way. What leads somewhere new is remembered and gone on from. Found are traps, errors, spent
/// budgets, dead ends (nothing said, nothing listened for) and endless loops: each once, with the shortest call that
/// shows it, written as a scenario that fails until the script is mended.
///
/// Prints the file with these scenarios. Exits with 0 when nothing was found, with 1 when something was, with 2 when
/// nothing could be explored.
#[derive(Clone, Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct ExploreArgs {
    #[command(flatten)]
    subject: SubjectArgs,
    /// Where all randomness comes from: the same seed finds the same, another one something else
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Calls to play
    #[arg(long, value_name = "N", default_value_t = 2_000)]
    calls: u64,
    /// No new callers after so long, for example 30s or 5m
    #[arg(long, value_name = "TIME")]
    time: Option<Span>,
    /// Scenario files: callers start from what they give, say what they say, and what they expect is to be reached.
    /// Those of the project by default
    #[arg(long, value_name = "FILE")]
    scenarios: Vec<PathBuf>,
    /// How long nothing may be said and nothing listened for
    #[arg(long, value_name = "TIME", default_value = "10s")]
    silence: Span,
    /// Where the scenarios of what was found go
    #[arg(long, value_name = "FILE", default_value = "found.yaml")]
    out: PathBuf,
}

/// Explores.
///
/// # Errors
/// Never: what cannot be explored is told, and is the exit code.
pub(super) async fn run(args: &ExploreArgs) -> miette::Result<ExitCode> {
    Ok(explored(args).await.unwrap_or_else(|report| {
        talk(format_args!("{report:?}"));
        CANNOT.into()
    }))
}

/// Explores.
///
/// # Errors
/// There is no such script, it is not one, or a scenario file has mistakes.
async fn explored(args: &ExploreArgs) -> miette::Result<ExitCode> {
    let subject = args.subject.component().await?;
    let stage = subject.stage().await?;
    let files = match args.scenarios.as_slice() {
        [] if subject.is_project => scenario_files(&subject.origin).into_diagnostic()?,
        files => files.to_vec(),
    };
    let mut bases = Vec::new();
    let mut knows = Knowledge::default();
    for file in &files {
        let suite = read(file, &stage)?;
        suite.runs.iter().flat_map(|run| &run.steps).for_each(|placed| knows.learn(&placed.step));
        bases.extend(suite.runs.iter().filter_map(Base::of));
    }

    talk(format_args!("exploring {} with seed {}", subject.name, args.seed));
    if let Some(hint) = hint(stage.manifest(), &bases) {
        talk(hint);
    }
    let options = Options { seed: args.seed, calls: args.calls, dead_after: args.silence.0 };
    let until = args.time.map(|time| Instant::now() + Duration::from_millis(time.millis()));
    let bar = bar(args.calls)?;
    let began = Instant::now();
    let report = explore(&stage, bases, knows, &options, |progress| {
        show(&bar, progress);
        until.is_none_or(|until| Instant::now() < until)
    })
    .await;
    bar.finish_and_clear();
    talk(told(&report, began.elapsed()));
    if report.found.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let component = (!subject.is_project).then(|| beside(&args.out, &subject.origin));
    write(args, component, &report.found)?;
    data(args.out.display())?;
    Ok(FOUND.into())
}

/// What keeps callers from coming far: sources of which no scenario says what they answer.
fn hint(manifest: &Manifest, bases: &[Base]) -> Option<String> {
    let is_planned = |source: &String| bases.iter().any(|base| base.situation.sources.contains_key(source));
    let unplanned: Vec<&str> =
        manifest.sources.keys().filter(|source| !is_planned(source)).map(String::as_str).collect();
    (!unplanned.is_empty()).then(|| {
        format!(
            "note: no scenario says what these sources answer, so callers get nothing or {{}} from them and may not come \
             far: {}\n      write one with `given: {{sources: …}}` (docs/scenarios.md), and name its file with --scenarios",
            unplanned.join(", ")
        )
    })
}

fn read(file: &Path, stage: &Stage) -> miette::Result<Suite> {
    let name = file.display().to_string();
    let text = fs::read_to_string(file).into_diagnostic().wrap_err_with(|| format!("cannot read {name}"))?;
    let mistakes = |problems: &[_]| miette!(code = "callbox::explore::scenario", "{}", tell(problems));
    let suite = Suite::read(&name, &text).map_err(|problems| mistakes(&problems))?;
    match suite.check_against(stage.manifest()) {
        strangers if strangers.is_empty() => Ok(suite),
        strangers => Err(mistakes(&strangers)),
    }
}

fn bar(calls: u64) -> miette::Result<ProgressBar> {
    let style = ProgressStyle::with_template("{bar:24} {pos}/{len} calls, {msg}").into_diagnostic()?;
    Ok(ProgressBar::new(calls).with_style(style))
}

fn show(bar: &ProgressBar, progress: &Progress) {
    let Progress { calls, ways, nodes, findings } = *progress;
    bar.set_position(calls);
    bar.set_message(format!("{ways} ways, {nodes} nodes, {findings} found"));
}

/// What it came to, for a person to read.
fn told(report: &Report, took: Duration) -> String {
    let mut text = format!("{} calls in {:.1} s, {} ways through it\n", report.calls, took.as_secs_f32(), report.ways);
    let counts = |all: Vec<(&str, u64)>| {
        let all: Vec<String> = all.iter().map(|(name, times)| format!("{name} {times}")).collect();
        all.join(", ")
    };
    let names = |all: &std::collections::BTreeMap<String, u64>| {
        counts(all.iter().map(|(name, times)| (name.as_str(), *times)).collect())
    };
    let unreached: Vec<&str> =
        report.unreached_nodes.iter().chain(&report.unreached_dispositions).map(String::as_str).collect();
    for (what, list) in [
        ("ended by", counts(report.reasons.iter().map(|(name, times)| (*name, *times)).collect())),
        ("nodes", names(&report.nodes)),
        ("outcomes", names(&report.dispositions)),
        ("never reached", unreached.join(", ")),
    ] {
        if !list.is_empty() {
            let _ = writeln!(text, "{what:<14} {list}");
        }
    }
    for found in &report.found {
        text.push('\n');
        text.push_str(&finding(found));
    }
    if report.found.is_empty() {
        text.push_str("nothing is wrong, as far as these callers could see");
    }
    text.trim_end().to_owned()
}

fn finding(found: &Found) -> String {
    let Found { finding, times, scenario, proven } = found;
    let mut lines = finding.what.lines();
    let first = lines.next().unwrap_or_default();
    let mut text = format!("{}: {first}\n", finding.kind);
    for line in lines.take(LINES) {
        let _ = writeln!(text, "  {line}");
    }
    let calls = if *times == 1 { "1 call".to_owned() } else { format!("{times} calls") };
    let shown = if *proven {
        match scenario.steps.len() {
            1 => "shown by a scenario of 1 step".to_owned(),
            steps => format!("shown by a scenario of {steps} steps"),
        }
    } else {
        "the scenario does not show it: it depends on times that a scenario cannot tell".to_owned()
    };
    let _ = writeln!(text, "  in {calls}; {shown}");
    text
}

fn write(args: &ExploreArgs, component: Option<String>, found: &[Found]) -> miette::Result<()> {
    let mut file = ScenarioFile { component, ..ScenarioFile::default() };
    for found in found {
        let mut scenario = found.scenario.clone();
        // Names are unique in a file.
        let same = file.scenarios.iter().filter(|other| other.name.starts_with(&scenario.name)).count();
        if same > 0 {
            let _ = write!(scenario.name, " ({})", same + 1);
        }
        file.scenarios.push(scenario);
    }
    let head = format!(
        "# Found by `callbox script explore --seed {} --calls {}`. Each fails until the script is mended.\n",
        args.seed, args.calls
    );
    let out = &args.out;
    fs::write(out, head + &file.to_yaml()).into_diagnostic().wrap_err_with(|| format!("cannot write {}", out.display()))
}
