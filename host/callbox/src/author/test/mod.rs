//! `callbox script test`: plays scenario files against the very component that will answer the telephone.

mod coverage;
mod gather;
mod junit;
mod show;
mod watch;

use super::build::HowToBuild;
use super::paint::Paint;
use super::{data, talk};
use callbox_sim::scenario::{self, Run, Suite, Verdict};
use callbox_sim::{Stage, StageOptions, Theatre};
use coverage::Coverage;
pub(super) use gather::below as scenario_files;
use gather::{Kit, Subjects};
use miette::{IntoDiagnostic, WrapErr, miette};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// At least one scenario failed.
const FAILED: u8 = 1;
/// Nothing could be tested: no scenario, a mistake in a file, a script that does not build.
const CANNOT: u8 = 2;

/// Play scenarios against a script, without a telephone
///
/// A project's scenarios are the YAML files in its folder `scenarios`. The project is built first. Time is virtual: a
/// ten-minute call takes milliseconds. The format: docs/scenarios.md.
///
/// Exits with 0 when all scenarios passed, with 1 when one failed, with 2 when nothing could be tested.
#[derive(Clone, Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct TestArgs {
    /// Scenario files, projects, or folders with projects; the project in this folder by default
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Test this component instead of what the files and their projects name
    #[arg(long, value_name = "FILE")]
    component: Option<PathBuf>,
    /// Play only scenarios whose `file › name` contains this
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Write a report for a CI system
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Stay, and test again whenever a file changes
    #[arg(long, conflicts_with = "junit")]
    watch: bool,
    /// Show every host call of each scenario, with its virtual time
    #[arg(long)]
    trace: bool,
    /// Print the JSON Schema of scenario files, for editors
    #[arg(long)]
    schema: bool,
    #[command(flatten)]
    how: HowToBuild,
}

/// One call to play.
#[derive(Clone)]
struct Job {
    /// Which file, among those that were read.
    suite: usize,
    run: Run,
    stage: Stage,
}

/// What came of a call, and how long it took to play.
struct Played {
    suite: usize,
    run: Run,
    verdict: Verdict,
    took: Duration,
}

/// Tests, once or until it is stopped.
///
/// # Errors
/// Never: what cannot be tested is told, and is the exit code.
pub(super) async fn run(args: &TestArgs) -> miette::Result<ExitCode> {
    if args.schema {
        let schema = serde_json::to_string_pretty(&scenario::schema()).into_diagnostic()?;
        data(schema)?;
        return Ok(ExitCode::SUCCESS);
    }
    let compiler = std::env::current_exe().into_diagnostic().wrap_err("where this program is")?;
    let theatre = match Theatre::open(&StageOptions::at_home(compiler)) {
        Ok(theatre) => theatre,
        Err(error) => {
            told(&miette!(code = error.code(), "{error}"));
            return Ok(CANNOT.into());
        }
    };
    if args.watch {
        return watch::run(args, &theatre).await;
    }
    Ok(match once(args, &theatre).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => FAILED.into(),
        Err(report) => {
            told(&report);
            CANNOT.into()
        }
    })
}

/// Tells why something could not be tested.
fn told(report: &miette::Report) {
    talk(format_args!("{report:?}"));
}

/// Tests once; whether all scenarios passed.
///
/// # Errors
/// Nothing could be tested.
async fn once(args: &TestArgs, theatre: &Theatre) -> miette::Result<bool> {
    let kits = gather::read(&args.paths)?;
    let mut subjects = Subjects::new(theatre, args.component.as_deref(), &args.how);
    let mut jobs = Vec::new();
    let mut strangers = Vec::new();
    let mut coverage = Coverage::default();
    for (index, Kit { suite, text, .. }) in kits.iter().enumerate() {
        let wanted: Vec<_> = suite.runs.iter().filter(|run| is_wanted(args, suite, run)).collect();
        if wanted.is_empty() {
            continue;
        }
        let stage = subjects.stage(&kits[index]).await?;
        coverage.declared(stage.manifest());
        strangers
            .extend(suite.check_against(stage.manifest()).into_iter().map(|problem| gather::mistake(&problem, text)));
        jobs.extend(wanted.into_iter().map(|run| Job { suite: index, run: run.clone(), stage: stage.clone() }));
    }
    gather::refuse(strangers)?;
    if jobs.is_empty() {
        return Err(match &args.filter {
            Some(filter) => miette!(code = "callbox::test::none", "no scenario contains `{filter}` in its name"),
            None => miette!(code = "callbox::test::none", "the files have no scenarios"),
        });
    }

    let paint = Paint::of_standard_output();
    let width = show::width(jobs.iter().map(|job| job.run.name.as_str()));
    let began = Instant::now();
    let mut all = Vec::with_capacity(jobs.len());
    let mut playing = play(jobs);
    let mut file = None;
    while let Some(played) = playing.next().await? {
        let suite = &kits[played.suite].suite;
        if file != Some(played.suite) {
            file = Some(played.suite);
            data(paint.bold(&suite.file))?;
        }
        data(show::line(&played, width, paint))?;
        if args.trace {
            data(show::trace(&played.verdict.told))?;
        }
        coverage.saw(&played.verdict.told);
        all.push(played);
    }
    let took = began.elapsed();
    for played in all.iter().filter(|played| played.verdict.failure.is_some()) {
        let Kit { suite, text, .. } = &kits[played.suite];
        data(show::failure(suite, text, played, paint))?;
    }
    data(show::summary(&all, took, paint))?;
    if args.filter.is_none() {
        let found = coverage.tell(paint);
        if !found.is_empty() {
            data(found)?;
        }
    }
    if let Some(path) = &args.junit {
        junit::write(path, &kits, &all)?;
    }
    Ok(all.iter().all(|played| played.verdict.failure.is_none()))
}

fn is_wanted(args: &TestArgs, suite: &Suite, run: &Run) -> bool {
    args.filter.as_ref().is_none_or(|filter| format!("{} › {}", suite.file, run.name).contains(filter.as_str()))
}

/// Calls that are played on all cores, and handed out in their order.
struct Playing {
    tasks: JoinSet<(usize, Played)>,
    /// Done, and not handed out yet.
    done: Vec<Option<Played>>,
    next: usize,
}

fn play(jobs: Vec<Job>) -> Playing {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let places = Arc::new(Semaphore::new(cores));
    let done = jobs.iter().map(|_| None).collect();
    let mut tasks = JoinSet::new();
    for (index, Job { suite, run, stage }) in jobs.into_iter().enumerate() {
        let places = places.clone();
        tasks.spawn(async move {
            // Never closed.
            let _place = places.acquire().await;
            let began = Instant::now();
            let verdict = run.play(&stage).await;
            (index, Played { suite, run, verdict, took: began.elapsed() })
        });
    }
    Playing { tasks, done, next: 0 }
}

impl Playing {
    /// The next call in the order of the files; none after the last.
    async fn next(&mut self) -> miette::Result<Option<Played>> {
        while let Some(slot) = self.done.get_mut(self.next) {
            if let Some(played) = slot.take() {
                self.next += 1;
                return Ok(Some(played));
            }
            match self.tasks.join_next().await {
                Some(Ok((index, played))) => self.done[index] = Some(played),
                Some(Err(error)) => {
                    return Err(miette!(code = "callbox::test::broken", "a scenario broke off: {error}"));
                }
                None => return Ok(None),
            }
        }
        Ok(None)
    }
}
