//! `callbox script chat`: talk to a script in the terminal.

mod command;
mod far_end;
mod input;
mod save;
mod screen;

use super::bound::BindingsArgs;
use super::subject::SubjectArgs;
use super::{given, talk};
use command::{Entry, parse};
use far_end::{Leaving, Past, Person, Turn};
use input::{Line, Lines};
use save::Saver;
use screen::Screen;
use std::process::ExitCode;

/// Talk to a script in the terminal.
///
/// What the robot says appears as it is said; what you type is said, digits are pressed, an empty line is silence. /help
/// shows what else can be typed. Lines can come through a pipe as well; then a line that does not do what it should makes
/// the command fail in the end.
#[derive(Debug, clap::Args)]
pub(crate) struct ChatArgs {
    #[command(flatten)]
    subject: SubjectArgs,
    /// How time goes by: `step` stands still while you think; `fast` runs while the script listens; `real` is a call as
    /// it will be, where what you type interrupts.
    #[arg(long, value_enum, default_value_t = Pace::Step)]
    pace: Pace,
    /// Take what is given before the call – settings, sources, the caller – from a scenario file, or from one of its
    /// scenarios.
    #[arg(long, value_name = "FILE[:SCENARIO]")]
    given: Option<String>,
    #[command(flatten)]
    bindings: BindingsArgs,
    /// Show the script's host calls as they happen.
    #[arg(long)]
    trace: bool,
}

/// How time goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Pace {
    /// As on the telephone.
    Real,
    /// Speech takes no time, waiting does.
    Fast,
    /// Time stands still until something is typed.
    Step,
}

/// Talks until the person has had enough.
///
/// # Errors
/// No such script, or one that the server would refuse.
pub(super) async fn run(args: &ChatArgs) -> miette::Result<ExitCode> {
    // A mistake in the file is told before anything is built.
    let given = args.given.as_deref().map(given::read).transpose()?.unwrap_or_default();
    let models = args.bindings.models()?;
    let subject = args.subject.component().await?;
    let stage = subject.stage().await?;
    for stranger in given::strangers(&given, stage.manifest()).into_iter().chain(models.strangers(stage.manifest())) {
        talk(format_args!("warning: {stranger}"));
    }
    let (mut lines, above) = Lines::open()?;
    if lines.typed {
        talk(format_args!("{}: type what the caller says; /help shows what else, /quit leaves", subject.name));
    }
    let component = (!subject.is_project).then_some(subject.origin);
    let saver = Saver { stage, situation: given.situation(), given, models, component };
    let mut screen = Screen::new(above, args.trace, args.pace == Pace::Real);
    let failed = converse(saver, args.pace, &mut lines, &mut screen).await;
    // Whoever typed has seen it; a pipe has not.
    Ok(if failed && !lines.typed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Plays calls one after the other, as the person wants them. Whether a command failed.
async fn converse(mut saver: Saver, pace: Pace, lines: &mut Lines, screen: &mut Screen) -> bool {
    let mut from = Past::default();
    let mut failed = false;
    loop {
        let mut person = Person::new(lines, screen, &saver, pace, from);
        // In a box: a call holds much, and this task only this one.
        Box::pin(saver.stage.play(&saver.situation, &mut person)).await;
        let leaving = match person.leaving {
            Some(leaving) => leaving,
            None => afterwards(&mut person).await,
        };
        failed |= person.failed;
        let (turns, world) = (std::mem::take(&mut person.turns), std::mem::take(&mut person.world));
        let answers = std::mem::take(&mut person.answers);
        from = match leaving {
            Leaving::Home => return failed,
            Leaving::Again => {
                saver.keep(world);
                Past::default()
            }
            Leaving::Back { turns: kept, to } => Past { turns: back(screen, turns, kept), to, answers },
        };
    }
}

/// The turns that are kept.
fn back(screen: &mut Screen, mut turns: Vec<Turn>, kept: usize) -> Vec<Turn> {
    if let Some(turn) = turns.get(kept) {
        screen.say(&format!("── taken back: {} ──", turn.line()));
    }
    turns.truncate(kept);
    turns
}

/// The call is over; it can still be looked at, saved and taken back.
async fn afterwards(person: &mut Person<'_>) -> Leaving {
    loop {
        match person.lines.next().await {
            Line::Ended | Line::Interrupted => return Leaving::Home,
            Line::Text(line) if line.trim().is_empty() => {}
            Line::Text(line) => match parse(&line) {
                Ok(Entry::Quit) => return Leaving::Home,
                Ok(Entry::Again) => return Leaving::Again,
                Ok(Entry::Undo) => match person.without_last() {
                    Some(leaving) => return leaving,
                    None => person.mistake("there is nothing to take back"),
                },
                Ok(entry) => person.looks(entry).await,
                Err(mistake) => person.mistake(&mistake),
            },
        }
    }
}
