//! What a person reads: a line a scenario, what failed with the conversation around it, and the sum.

use super::super::paint::Paint;
use super::Played;
use callbox_dialogue::Time;
use callbox_sim::Told;
use callbox_sim::scenario::{DiffLine, Line, Side, Suite, transcript};
use callbox_sim::trace::Renderer;
use std::fmt::Write as _;
use std::time::Duration;

/// Lines of a conversation that are shown of a failure.
const LINES: usize = 24;
/// Characters of the longest name for which the times stand in a column.
const NAMES: usize = 80;

/// How wide the column of the names is.
pub(super) fn width<'a>(names: impl Iterator<Item = &'a str>) -> usize {
    names.map(|name| name.chars().count()).filter(|count| *count <= NAMES).max().unwrap_or(0)
}

/// One scenario: what came of it, its name, its virtual and its real time.
pub(super) fn line(played: &Played, width: usize, paint: Paint) -> String {
    let name = &played.run.name;
    let verdict = if played.verdict.failure.is_none() { paint.good("ok  ") } else { paint.bad("FAIL") };
    let times = format!("{:>8}  {:>7}", clock(played.verdict.told.ended), real(played.took));
    let gap = " ".repeat(width.saturating_sub(name.chars().count()));
    format!("  {verdict}  {name}{gap} {}", paint.dim(times))
}

/// A failed scenario: the step, what was expected and what came, and the conversation up to there.
pub(super) fn failure(suite: &Suite, text: &str, played: &Played, paint: Paint) -> String {
    let Some(failure) = &played.verdict.failure else { return String::new() };
    let place = failure.place;
    let mut out = String::new();
    let title = format!("{} › {}", suite.file, played.run.name);
    let _ = writeln!(out, "\n{} {}", paint.bad("FAIL"), paint.bold(title));
    let source = text.lines().nth(place.line as usize - 1).unwrap_or_default().trim();
    let _ = writeln!(out, "  {}:{}:{}  {}", suite.file, place.line, place.column, paint.dim(source));
    let _ = writeln!(out, "  {}", failure.message);
    for line in failure.came.iter().flat_map(|came| came.lines()) {
        let _ = writeln!(out, "  {line}");
    }
    for line in &failure.diff {
        let _ = writeln!(out, "    {}", diff_line(line, paint));
    }
    out.push('\n');
    let lines = transcript(&played.verdict.told.sights);
    let hidden = lines.len().saturating_sub(LINES);
    if hidden > 0 {
        let _ = writeln!(out, "    {}", paint.dim(format_args!("({hidden} lines before; --trace shows every call)")));
    }
    // Where it failed, for failures that are known only when the call is over.
    let reached = lines.iter().rposition(|line| line.at <= failure.at);
    for (index, line) in lines.iter().enumerate().skip(hidden) {
        let here = reached == Some(index);
        let _ = writeln!(out, "  {} {}", if here { paint.bad(">") } else { " ".into() }, spoken(line, paint));
    }
    out.truncate(out.trim_end().len());
    out
}

fn spoken(line: &Line, paint: Paint) -> String {
    let time = format!("{:>7}", clock(line.at));
    format!("{}  {:<6}  {}", paint.dim(time), line.speaker.word(), line.text)
}

fn diff_line(line: &DiffLine, paint: Paint) -> String {
    let sign = match line.side {
        Side::Expected => '-',
        Side::Came => '+',
        Side::Both => ' ',
    };
    let bad = line.side == Side::Expected;
    let any_marked = line.pieces.iter().any(|(_, marked)| *marked);
    let mut text = String::new();
    for (piece, marked) in &line.pieces {
        match (any_marked, marked) {
            (true, true) => text.push_str(&paint.marked(bad, piece)),
            (true, false) => text.push_str(piece),
            (false, _) if line.side == Side::Both => text.push_str(piece),
            (false, _) => text.push_str(&if bad { paint.bad(piece) } else { paint.good(piece) }),
        }
    }
    let sign = match line.side {
        Side::Expected => paint.bad(sign),
        Side::Came => paint.good(sign),
        Side::Both => sign.to_string(),
    };
    format!("{sign} {text}")
}

/// How many passed, how long they talked, how long that took.
pub(super) fn summary(all: &[Played], took: Duration, paint: Paint) -> String {
    let failed = all.iter().filter(|played| played.verdict.failure.is_some()).count();
    let virtually: u64 = all.iter().map(|played| played.verdict.told.ended.0).sum();
    let count = if all.len() == 1 { "1 scenario".to_owned() } else { format!("{} scenarios", all.len()) };
    let passed = paint.good(format_args!("{} passed", all.len() - failed));
    let failed = if failed > 0 { format!(", {}", paint.bad(format_args!("{failed} failed"))) } else { String::new() };
    let times = format!("{} of conversation in {}", clock(Time(virtually)), real(took));
    format!("\n{count}: {passed}{failed}; {times}")
}

/// Every host call of a call, with its virtual time.
pub(super) fn trace(told: &Told) -> String {
    let mut renderer = Renderer::default();
    let mut out = String::new();
    for exchange in &told.trace {
        let _ = writeln!(out, "        {}", renderer.exchange(exchange));
    }
    out.truncate(out.trim_end().len());
    out
}

/// A call's time: minutes, seconds, tenths.
pub(super) fn clock(at: Time) -> String {
    let tenths = at.0 / 100;
    let (seconds, tenths) = (tenths / 10, tenths % 10);
    match seconds / 3_600 {
        0 => format!("{}:{:02}.{tenths}", seconds / 60, seconds % 60),
        hours => format!("{hours}:{:02}:{:02}.{tenths}", seconds / 60 % 60, seconds % 60),
    }
}

fn real(took: Duration) -> String {
    match took.as_micros() {
        us if us < 10_000 => format!("{}.{} ms", us / 1_000, us / 100 % 10),
        us if us < 1_000_000 => format!("{} ms", us / 1_000),
        us => format!("{}.{:02} s", us / 1_000_000, us / 10_000 % 100),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        assert_eq!(
            [0, 8_240, 61_000, 3_725_900].map(|ms| clock(Time(ms))),
            ["0:00.0", "0:08.2", "1:01.0", "1:02:05.9"]
        );
        let real_times = [900, 12_345, 1_234_567].map(|us| real(Duration::from_micros(us)));
        assert_eq!(real_times, ["0.9 ms", "12 ms", "1.23 s"]);
    }

    #[test]
    fn differences_are_signed() {
        let line = |side| DiffLine { side, pieces: vec![("same ".into(), false), ("other".into(), true)] };
        let shown = [Side::Expected, Side::Came, Side::Both].map(|side| diff_line(&line(side), Paint::plain()));
        assert_eq!(shown, ["- same other", "+ same other", "  same other"]);
    }

    #[test]
    fn one_long_name_does_not_move_all_times() {
        let long = "x".repeat(200);
        assert_eq!(width(["one", "three", &long].into_iter()), 5);
    }
}
