//! Colours, for terminals alone.

use std::fmt::Display;
use std::io::IsTerminal;

/// Whether there are colours.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paint {
    on: bool,
}

impl Paint {
    /// For a terminal whose owner has nothing against colours (<https://no-color.org>).
    pub(super) fn of_standard_output() -> Self {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            on: std::io::stdout().is_terminal() && !unwanted && std::env::var_os("TERM").is_none_or(|t| t != "dumb"),
        }
    }

    /// As if there were a terminal.
    #[cfg(test)]
    pub(super) const fn always() -> Self {
        Self { on: true }
    }

    /// For a file.
    pub(super) const fn plain() -> Self {
        Self { on: false }
    }

    /// In this colour (SGR codes of ECMA-48).
    pub(super) fn with(self, code: &str, text: impl Display) -> String {
        if self.on { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_string() }
    }

    pub(super) fn bold(self, text: impl Display) -> String {
        self.with("1", text)
    }

    pub(super) fn dim(self, text: impl Display) -> String {
        self.with("2", text)
    }

    pub(super) fn good(self, text: impl Display) -> String {
        self.with("32", text)
    }

    pub(super) fn bad(self, text: impl Display) -> String {
        self.with("31", text)
    }

    pub(super) fn note(self, text: impl Display) -> String {
        self.with("33", text)
    }

    /// A piece of a line that differs from its counterpart.
    pub(super) fn marked(self, bad: bool, text: impl Display) -> String {
        self.with(if bad { "31;1;4" } else { "32;1;4" }, text)
    }
}
