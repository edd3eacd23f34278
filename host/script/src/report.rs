//! How a script ended, in words a person can read: what happened, in which
//! functions, around which import.

use crate::budget::Stop;
use crate::imports::State;
use crate::text::{printable, truncated};
use callbox_dialogue::ScriptEnd;
use std::fmt::Write as _;
use wasmtime::{FrameInfo, PoolConcurrencyLimitError, Trap, WasmBacktrace};

/// Different functions shown of a backtrace.
const FRAMES: usize = 6;
/// Bytes of one function's name.
const NAME: usize = 120;
/// Bytes of a script's own error.
const OWN_WORDS: usize = 2_000;

/// Whether a script that did not start found no room, so that the call may be
/// refused with 503 and tried again.
pub(crate) fn is_busy(error: &wasmtime::Error) -> bool {
    error.is::<PoolConcurrencyLimitError>()
}

/// The end of a script whose `run` returned.
pub(crate) fn returned(result: Result<(), String>) -> ScriptEnd {
    match result {
        Ok(()) => ScriptEnd::Returned,
        Err(message) => ScriptEnd::Failed { message: printable(&message, OWN_WORDS) },
    }
}

/// The end of a script that was stopped by the host, wherever it was.
pub(crate) fn stopped(state: &State) -> ScriptEnd {
    let place = state.current.map_or_else(|| "while it computed".to_owned(), |import| format!("in {import}"));
    ScriptEnd::Budget { message: format!("its time was over: the host stopped it {place}") }
}

/// Whether it was the session that did not go on.
pub(crate) fn is_left(error: &wasmtime::Error) -> bool {
    matches!(error.downcast_ref::<Stop>(), Some(Stop::Over))
}

/// The end of a script that could not go on.
pub(crate) fn broken_off(error: &wasmtime::Error, state: &State) -> ScriptEnd {
    let place = place(error, state);
    let told = |what: &str| format!("{what}{place}");
    if is_busy(error) {
        return ScriptEnd::NotStarted { message: format!("no free instance: {error}") };
    }
    match error.downcast_ref::<Stop>() {
        Some(Stop::Budget(what)) => return ScriptEnd::Budget { message: told(what) },
        Some(Stop::Over) => return ScriptEnd::Budget { message: told("its session is over") },
        Some(Stop::Misuse(what)) => return ScriptEnd::Trapped { message: told(what) },
        Some(Stop::Platform(what)) => {
            return ScriptEnd::Trapped {
                message: told(&format!("a fault of the platform, not of the script: {what}")),
            };
        }
        None => {}
    }
    let what = what(error);
    // A script whose memory was refused gives up in its own way: a panic, an abort.
    if let Some(denied) = state.memory.denied() {
        return ScriptEnd::Budget { message: told(&format!("{denied}; then: {what}")) };
    }
    let root = error.root_cause().to_string();
    if root.contains("fuel allocated for hostcalls") {
        return ScriptEnd::Budget { message: told("it handed over more data in one host call than is allowed") };
    }
    ScriptEnd::Trapped { message: told(&what) }
}

fn what(error: &wasmtime::Error) -> String {
    match error.downcast_ref::<Trap>() {
        Some(Trap::UnreachableCodeReached) => "it reached `unreachable` (a panic, or a failed assertion)".into(),
        Some(Trap::StackOverflow) => "its stack is exhausted (a recursion without end?)".into(),
        Some(trap) => {
            let text = trap.to_string();
            printable(text.strip_prefix("wasm trap: ").unwrap_or(&text), 200)
        }
        None => printable(&error.root_cause().to_string(), 300),
    }
}

/// Functions and imports around the end.
fn place(error: &wasmtime::Error, state: &State) -> String {
    let mut place = String::new();
    if let Some(trace) = error.downcast_ref::<WasmBacktrace>()
        && !trace.frames().is_empty()
    {
        place.push_str(", in ");
        frames(&mut place, trace.frames());
    }
    match (state.current, state.last) {
        (Some(current), _) => {
            let _ = write!(place, ", calling {current} (host call {})", state.calls);
        }
        (None, Some(last)) => {
            let _ = write!(place, ", after {last} (host call {})", state.calls);
        }
        (None, None) => place.push_str(", before its first host call"),
    }
    place
}

/// The innermost function first; a function that called itself once, with how
/// often.
fn frames(out: &mut String, frames: &[FrameInfo]) {
    let mut shown: Vec<(String, u32)> = Vec::new();
    let mut more = 0;
    for frame in frames {
        let name = function(frame);
        if let Some((_, times)) = shown.last_mut().filter(|(last, _)| *last == name) {
            *times += 1;
        } else if shown.len() < FRAMES {
            shown.push((name, 1));
        } else {
            more += 1;
        }
    }
    for (i, (name, times)) in shown.iter().enumerate() {
        let arrow = if i == 0 { "" } else { " ← " };
        let _ = write!(out, "{arrow}{name}");
        if *times > 1 {
            let _ = write!(out, " ×{times}");
        }
    }
    if more > 0 {
        let _ = write!(out, " ← {more} more");
    }
}

fn function(frame: &FrameInfo) -> String {
    let name = frame.symbols().first().and_then(|symbol| symbol.name()).or_else(|| frame.func_name());
    let mut text =
        name.map_or_else(|| format!("function {}", frame.func_index()), |name| format!("`{}`", readable(name)));
    if let Some(symbol) = frame.symbols().first()
        && let (Some(file), Some(line)) = (symbol.file(), symbol.line())
    {
        let file = file.rsplit('/').next().unwrap_or(file);
        let _ = write!(text, " ({}:{line})", printable(file, 60));
    }
    text
}

/// A function's name as its author wrote it, and nothing that moves a cursor.
pub(crate) fn readable(name: &str) -> String {
    struct Bounded(String);
    impl std::fmt::Write for Bounded {
        fn write_str(&mut self, part: &str) -> std::fmt::Result {
            let room = (2 * NAME).saturating_sub(self.0.len());
            self.0.push_str(truncated(part, room));
            if part.len() > room { Err(std::fmt::Error) } else { Ok(()) }
        }
    }
    let mut out = Bounded(String::new());
    let _ = write!(out, "{:#}", rustc_demangle::demangle(truncated(name, 1_000)));
    printable(&out.0, NAME)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_demangled_and_tame() {
        assert_eq!(readable("_ZN11appointment5greet17h0123456789abcdefE"), "appointment::greet");
        assert_eq!(readable("_RNvCskwGfYPst2Cb_3foo16example_function"), "foo::example_function");
        assert_eq!(readable("a\x1b[2Jb"), "a\u{fffd}[2Jb");
        assert!(readable(&"x".repeat(100_000)).len() <= NAME + 3);
    }
}
