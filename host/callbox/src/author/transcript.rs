//! How a call reads in a terminal: a time, who or what, and the words; one line each.

use super::paint::Paint;
use callbox_dialogue::Time;
use callbox_sim::trace::{clock, printable};

/// Characters of one line.
const WIDEST: usize = 4_000;

/// Who or what a line is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Label {
    /// What the robot says.
    Robot,
    /// What the caller says and presses.
    Caller,
    /// The call itself: answered, transferred, ended.
    Call,
    /// What the script left: breadcrumbs, pushes, log.
    Script,
    /// Something went wrong.
    Trouble,
}

/// Writes lines, in colour where they are read on a terminal.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paper {
    paint: Paint,
}

impl Paper {
    /// For standard output.
    pub(super) fn of_stdout() -> Self {
        Self { paint: Paint::of_standard_output() }
    }

    /// A line, without its end: `0:04.420  robot     Good morning.`
    pub(super) fn line(self, at: Time, label: Label, word: &str, text: &str) -> String {
        let colour = match label {
            Label::Robot => "36",
            Label::Caller => "32",
            Label::Call => "1",
            Label::Script => "2",
            Label::Trouble => "31",
        };
        let text = printable(text, WIDEST);
        let line = format!("{:>9}  {word:<9} {text}", clock(at));
        self.paint.with(colour, line.trim_end())
    }

    /// A line of a trace, which has its time itself.
    pub(super) fn trace(self, line: &str) -> String {
        let indent = " ".repeat(9usize.saturating_sub(line.find(' ').unwrap_or(0)));
        self.paint.with("2", format!("{indent}{}", printable(line, WIDEST)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_in_columns_and_tame() {
        let paper = Paper { paint: Paint::plain() };
        assert_eq!(
            paper.line(Time(4_420), Label::Robot, "robot", "Good\nmorning."),
            " 0:04.420  robot     Good morning."
        );
        assert_eq!(paper.line(Time(0), Label::Call, "answered", ""), " 0:00.000  answered");
        assert_eq!(paper.trace("0:04.420  call.answer → done"), " 0:04.420  call.answer → done");
        let painted = Paper { paint: Paint::always() }.line(Time(0), Label::Trouble, "log", "a\u{1b}[2Jb");
        assert_eq!(painted.matches('\u{1b}').count(), 2, "{painted:?}");
    }
}
