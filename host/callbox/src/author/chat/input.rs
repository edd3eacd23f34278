//! Where lines come from: a terminal, with editing and a history, or whatever standard input is.

use miette::{Context, IntoDiagnostic};
use rustyline::error::ReadlineError;
use rustyline::history::MemHistory;
use rustyline::{Config, Editor, ExternalPrinter};
use std::io::{BufRead, IsTerminal};
use tokio::sync::mpsc;

/// Bytes of a line that are looked at.
const LINE: usize = 16 << 10;
/// What stands before a line that is typed.
const PROMPT: &str = "> ";

/// What somebody typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// A line.
    Text(String),
    /// No more lines come.
    Ended,
    /// Ctrl-C.
    Interrupted,
}

/// The lines. Read by a thread of their own, one each time one is asked for.
#[derive(Debug)]
pub(super) struct Lines {
    wanted: std::sync::mpsc::Sender<()>,
    lines: mpsc::Receiver<Line>,
    /// Asked for, and not here yet.
    asked: bool,
    /// Whether a person types them.
    pub(super) typed: bool,
}

/// What can print above the line that is being typed.
pub(super) type Above = Box<dyn ExternalPrinter + Send>;

impl Lines {
    /// Opens standard input. With what prints above the line, on a terminal.
    ///
    /// # Errors
    /// The terminal cannot be used.
    pub(super) fn open() -> miette::Result<(Self, Option<Above>)> {
        let (wanted, wants) = std::sync::mpsc::channel();
        let (sender, lines) = mpsc::channel(1);
        let typed = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
        let mut above: Option<Above> = None;
        let read: Box<dyn FnMut() -> Line + Send> = if typed {
            let broken = || "the terminal cannot be used";
            let mut editor = Editor::<(), MemHistory>::with_history(Config::default(), MemHistory::new())
                .into_diagnostic()
                .wrap_err_with(broken)?;
            above = Some(Box::new(editor.create_external_printer().into_diagnostic().wrap_err_with(broken)?));
            Box::new(move || match editor.readline(PROMPT) {
                Ok(line) => {
                    // Without a history it goes on as well.
                    let _ = editor.add_history_entry(line.as_str());
                    Line::Text(line)
                }
                Err(ReadlineError::Interrupted) => Line::Interrupted,
                Err(_) => Line::Ended,
            })
        } else {
            Box::new(|| from_pipe(&mut std::io::stdin().lock()))
        };
        std::thread::Builder::new()
            .name("chat-lines".into())
            .spawn(move || serve(&wants, &sender, read))
            .into_diagnostic()?;
        Ok((Self { wanted, lines, asked: false, typed }, above))
    }

    /// The next line. Dropped while it waits, it goes on waiting the next time.
    pub(super) async fn next(&mut self) -> Line {
        if !self.asked {
            self.asked = self.wanted.send(()).is_ok();
        }
        let line = self.lines.recv().await.unwrap_or(Line::Ended);
        self.asked = false;
        line
    }
}

fn serve(wants: &std::sync::mpsc::Receiver<()>, lines: &mpsc::Sender<Line>, mut read: Box<dyn FnMut() -> Line + Send>) {
    while wants.recv().is_ok() {
        if lines.blocking_send(read()).is_err() {
            return;
        }
    }
}

/// A line of what is no terminal; what is too long is cut, what is no Unicode replaced.
fn from_pipe(input: &mut impl BufRead) -> Line {
    let mut line = Vec::new();
    loop {
        let (used, done) = match input.fill_buf() {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(_) => return Line::Ended,
            Ok([]) if line.is_empty() => return Line::Ended,
            Ok([]) => (0, true),
            Ok(bytes) => {
                let end = bytes.iter().position(|byte| *byte == b'\n');
                let part = &bytes[..end.unwrap_or(bytes.len())];
                line.extend_from_slice(&part[..part.len().min(LINE.saturating_sub(line.len()))]);
                (end.map_or(bytes.len(), |end| end + 1), end.is_some())
            }
        };
        input.consume(used);
        if done {
            return Line::Text(String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_pipe_are_read_whole_and_bounded() {
        let long = [b"x".repeat(100_000).as_slice(), b"\r\n\n7\nlast"].concat();
        let mut input = long.as_slice();
        let mut lines = Vec::new();
        loop {
            match from_pipe(&mut input) {
                Line::Text(line) => lines.push(line),
                end => {
                    assert_eq!(end, Line::Ended);
                    break;
                }
            }
        }
        assert_eq!(lines[0].len(), LINE);
        assert_eq!(lines[1..], ["", "7", "last"]);
    }
}
