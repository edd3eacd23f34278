//! `callbox replay --to-scenario`: a real call as a regression test, which is run at once.

use super::ReplayArgs;
use crate::beside::beside;
use callbox_script::Recording;
use callbox_sim::Stage;
use callbox_sim::replay::scenario::{FromTape, from_tape};
use callbox_sim::scenario::{Suite, tell};
use callbox_sim::trace::printable;
use miette::{IntoDiagnostic, WrapErr, miette};
use std::fmt::Write as _;
use std::io::Write;
use std::path::Path;

/// Writes the scenario to this file and plays it. Whether it holds.
///
/// # Errors
/// The file is there already, or cannot be written.
pub(super) async fn write(
    args: &ReplayArgs,
    file: &Path,
    recording: &Recording,
    stage: &Stage,
) -> miette::Result<bool> {
    let mut made = from_tape(recording, stage.manifest(), &name(args));
    made.file.component = args.with.as_ref().or(args.component.as_ref()).map(|component| beside(file, component));
    let text = text(args, &made);
    let mut target = std::fs::File::create_new(file).into_diagnostic().wrap_err_with(|| {
        format!("cannot make {}: a scenario is written to a new file, and overwrites nothing", file.display())
    })?;
    target.write_all(text.as_bytes()).into_diagnostic()?;

    let mut out = std::io::stdout().lock();
    for note in &made.notes {
        writeln!(out, "note: {note}").into_diagnostic()?;
    }
    let suite = Suite::read(&file.display().to_string(), &text)
        .map_err(|problems| miette!(code = "callbox::replay::scenario", "{}", tell(&problems)))?;
    drop(out);
    let Some(run) = suite.runs.first() else {
        return Err(miette!(code = "callbox::replay::scenario", "{} has no scenario", file.display()));
    };
    let verdict = run.play(stage).await;
    let mut out = std::io::stdout().lock();
    let steps = run.steps.len();
    let Some(failure) = verdict.failure else {
        writeln!(out, "{}: {steps} steps, and they hold in the simulator", file.display()).into_diagnostic()?;
        return Ok(true);
    };
    let failed = run.steps.iter().position(|step| step.place == failure.place);
    let place = match failed.and_then(|index| Some((index + 1, made.entries.get(index)?))) {
        Some((step, entry)) => format!("step {step} of {steps} (entry {entry} of the tape)"),
        None => "the end".to_owned(),
    };
    writeln!(
        out,
        "{}:{}: the simulator departs from the live call at {place}: {}",
        file.display(),
        failure.place.line,
        failure.message
    )
    .into_diagnostic()?;
    if let Some(came) = failure.came {
        writeln!(out, "  {came}").into_diagnostic()?;
    }
    Ok(false)
}

/// What the scenario is called.
fn name(args: &ReplayArgs) -> String {
    args.name.clone().unwrap_or_else(|| {
        let path = Path::new(&args.call);
        let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        format!("as in {}", stem.unwrap_or_else(|| args.call.clone()))
    })
}

/// The file, with where it comes from.
fn text(args: &ReplayArgs, made: &FromTape) -> String {
    let one_line = |text: &str| printable(text, usize::MAX);
    let mut text = format!("# Made by `callbox replay --to-scenario` from {}.\n", one_line(&args.call));
    for note in &made.notes {
        let _ = writeln!(text, "# Note: {}.", one_line(note));
    }
    text.push_str(&made.file.to_yaml());
    text
}
