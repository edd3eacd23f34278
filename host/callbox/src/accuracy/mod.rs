//! `callbox speech accuracy`: how well the shipped recogniser hears, on callers that flite makes.
//!
//! They are no people: the figures compare channels, kinds of answers and versions of this program with each other, and
//! say nothing about a caller in a car. What is compared is what an answer *means*.

mod corpus;

use crate::config::Config;
use crate::speech;
use callbox_grammar::{Grammar, Understanding};
use callbox_speech::recogniser::{EarLimits, Ears, Listening};
use clap::Args;
use corpus::{Channel, Clip, KINDS, Kind, OTHERS};
use jiff::civil::Date;
use miette::{IntoDiagnostic, miette};
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Measure how well callers are heard, on callers that flite makes.
#[derive(Debug, Args)]
pub(crate) struct AccuracyArgs {
    /// Voices of flite.
    #[arg(long, value_delimiter = ',', default_value = "slt,rms,awb")]
    voices: Vec<String>,
    /// The flite program.
    #[arg(long, default_value = "flite")]
    flite: PathBuf,
    /// Recognitions at once; as many as there are cores unless given.
    #[arg(long)]
    at_once: Option<usize>,
    /// What the voices pass before they are heard.
    #[arg(long, value_delimiter = ',', value_parser = Channel::parse, default_value = "wide,g711,noise20,noise10")]
    channels: Vec<Channel>,
    /// Show what was heard instead of each answer that came out wrong.
    #[arg(long)]
    mistakes: bool,
    /// Fail where fewer answers in a hundred are right, on any of the channels.
    #[arg(long, value_name = "PERCENT")]
    right: Option<f64>,
    /// Fail where more in a hundred of what is no answer are taken for one, on any of the channels.
    #[arg(long, value_name = "PERCENT")]
    accepted: Option<f64>,
}

/// What came of the answers of one kind on one channel.
#[derive(Clone, Copy, Debug, Default)]
struct Row {
    right: u32,
    /// Taken for another answer.
    wrong: u32,
    /// Taken for none.
    rejected: u32,
    /// No answers, and taken for one.
    accepted: u32,
    others: u32,
}

impl Row {
    fn add(&mut self, other: Self) {
        self.right += other.right;
        self.wrong += other.wrong;
        self.rejected += other.rejected;
        self.accepted += other.accepted;
        self.others += other.others;
    }

    const fn said(&self) -> u32 {
        self.right + self.wrong + self.rejected
    }

    fn write(&self, name: &str, out: &mut impl Write) -> std::io::Result<()> {
        let said = self.said();
        writeln!(
            out,
            "| {name:<28} | {:>3}/{said:<3} {:>5.1} % | {:>5.1} % | {:>5.1} % | {:>5.1} % |",
            self.right,
            share(self.right, said),
            share(self.wrong, said),
            share(self.rejected, said),
            share(self.accepted, self.others),
        )
    }
}

fn share(part: u32, of: u32) -> f64 {
    100.0 * f64::from(part) / f64::from(of.max(1))
}

/// One recognition.
struct Trial {
    kind: usize,
    channel: usize,
    said: &'static str,
    /// Whether it is an answer.
    answer: bool,
    voice: String,
    samples: Vec<i16>,
    grammar: Arc<Grammar>,
}

/// What came of it.
struct Outcome {
    trial: Trial,
    heard: Option<String>,
    took: Duration,
}

pub(crate) async fn run(args: AccuracyArgs) -> miette::Result<()> {
    // Nobody waits on the telephone: a slow machine makes the report late, not wrong.
    let patient = Duration::from_secs(120);
    let limits = EarLimits { wait: patient, result: patient, stall: patient, ..EarLimits::default() };
    let ears = speech::ears_within(&Config::default(), &limits)?;
    // What is missing is said before flite has spoken for a minute; and what is started once is not measured.
    for (_, checked) in ears.check().await {
        checked.into_diagnostic()?;
    }
    let at_once = args.at_once.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)).max(1);
    let trials = trials(&args)?;
    let seconds: f64 =
        trials.iter().map(|trial| trial.samples.len() as f64 / f64::from(Channel::ALL[trial.channel].rate_hz())).sum();
    let count = trials.len();
    let began = now();
    let outcomes = recognise(&ears, trials, at_once).await?;
    let wall = began.elapsed();
    let mut out = std::io::stdout().lock();
    let sums = report(&outcomes, &args, &mut out).into_diagnostic()?;
    let busy: Duration = outcomes.iter().map(|outcome| outcome.took).sum();
    writeln!(
        out,
        "\n{count} recognitions of {seconds:.0} s of audio, {at_once} at once: {:.1} a second; {:.3} s of work for a second \
         of audio, on a machine that may do other things besides",
        count as f64 / wall.as_secs_f64(),
        busy.as_secs_f64() / seconds,
    )
    .into_diagnostic()?;
    for (channel, row) in sums {
        let (right, accepted) = (share(row.right, row.said()), share(row.accepted, row.others));
        if args.right.is_some_and(|least| right < least) || args.accepted.is_some_and(|most| accepted > most) {
            let channel = channel.name();
            return Err(miette!("{channel}: {right:.1} % are right, and {accepted:.1} % of no answers were accepted"));
        }
    }
    Ok(())
}

#[allow(clippy::disallowed_methods, reason = "what is measured is how long it takes")]
fn now() -> Instant {
    Instant::now()
}

/// All that is said, on every channel.
fn trials(args: &AccuracyArgs) -> miette::Result<Vec<Trial>> {
    let mut trials = Vec::new();
    for voice in &args.voices {
        let mut others: Vec<(&'static str, Clip)> = Vec::new();
        for said in OTHERS {
            others.push((said, corpus::say(&args.flite, voice, said)?));
        }
        for (kind, Kind { name, grammar, answers }) in KINDS.iter().enumerate() {
            let grammar = Arc::new(Grammar::read(grammar).map_err(|error| miette!("{name}: {error}"))?);
            let mut clips: Vec<(&'static str, Clip)> = Vec::new();
            for said in *answers {
                clips.push((said, corpus::say(&args.flite, voice, said)?));
            }
            for (channel, way) in Channel::ALL.into_iter().enumerate().filter(|(_, way)| args.channels.contains(way)) {
                let all = clips.iter().map(|clip| (true, clip)).chain(others.iter().map(|clip| (false, clip)));
                for (answer, (said, clip)) in all {
                    let samples = way.carry(clip, trials.len() as u64);
                    trials.push(Trial {
                        kind,
                        channel,
                        said,
                        answer,
                        voice: voice.clone(),
                        samples,
                        grammar: grammar.clone(),
                    });
                }
            }
        }
    }
    Ok(trials)
}

async fn recognise(ears: &Ears, trials: Vec<Trial>, at_once: usize) -> miette::Result<Vec<Outcome>> {
    let (mut running, mut outcomes) = (JoinSet::new(), Vec::new());
    for trial in trials {
        if running.len() >= at_once
            && let Some(done) = running.join_next().await
        {
            outcomes.push(done.into_diagnostic()??);
        }
        let rate_hz = Channel::ALL[trial.channel].rate_hz();
        let what = Listening { grammar: Some(trial.grammar.clone()), rate_hz, partials: false, ..Listening::default() };
        let run = ears.listen(what);
        running.spawn(async move {
            let began = now();
            let heard = run.whole(&trial.samples, rate_hz).await.into_diagnostic()?;
            let heard = heard.into_iter().next().map(|best| best.text);
            Ok::<_, miette::Report>(Outcome { trial, heard, took: began.elapsed() })
        });
    }
    while let Some(done) = running.join_next().await {
        outcomes.push(done.into_diagnostic()??);
    }
    Ok(outcomes)
}

/// Writes the tables; the sum of each.
fn report(outcomes: &[Outcome], args: &AccuracyArgs, out: &mut impl Write) -> std::io::Result<Vec<(Channel, Row)>> {
    let mut sums = Vec::new();
    let mut rows = vec![[Row::default(); KINDS.len()]; Channel::ALL.len()];
    for Outcome { trial, heard, .. } in outcomes {
        let row = judge(trial, heard.as_deref());
        rows[trial.channel][trial.kind].add(row);
        if args.mistakes && row.right == 0 && row.wrong + row.rejected + row.accepted > 0 {
            let heard = heard.as_deref().unwrap_or("nothing");
            let channel = Channel::ALL[trial.channel].name();
            writeln!(
                out,
                "{}, {channel}, {}: `{}` was heard as `{heard}`",
                KINDS[trial.kind].name, trial.voice, trial.said
            )?;
        }
    }
    for (channel, kinds) in Channel::ALL.into_iter().zip(&rows).filter(|(channel, _)| args.channels.contains(channel)) {
        writeln!(out, "\n| {:<28} | right          | wrong   | rejected | others accepted |", channel.name())?;
        writeln!(out, "|------------------------------|----------------|---------|----------|-----------------|")?;
        let mut all = Row::default();
        for (kind, row) in KINDS.iter().zip(kinds) {
            row.write(kind.name, out)?;
            all.add(*row);
        }
        all.write("all", out)?;
        sums.push((channel, all));
    }
    Ok(sums)
}

/// Compares what was said and what was heard by what they mean.
fn judge(trial: &Trial, heard: Option<&str>) -> Row {
    let today = Date::constant(2026, 11, 21);
    let meaning = |text: &str| match trial.grammar.understand(text, "en", today) {
        Understanding::Whole { value, .. } => Some(value),
        Understanding::Begun | Understanding::Nothing => None,
    };
    let heard = heard.and_then(meaning);
    if !trial.answer {
        return Row { accepted: u32::from(heard.is_some()), others: 1, ..Row::default() };
    }
    match heard {
        None => Row { rejected: 1, ..Row::default() },
        heard if heard == meaning(trial.said) => Row { right: 1, ..Row::default() },
        Some(_) => Row { wrong: 1, ..Row::default() },
    }
}
