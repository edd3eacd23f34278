//! How a script ended, in words a person can read: what happened, in which
//! functions and lines, around which import.
//!
//! Functions have names where the component kept its `name` section, and lines
//! where it kept its DWARF; both go through compilation into the artefact.

use crate::budget::Stop;
use crate::imports::State;
use crate::text::{printable, truncated};
use callbox_dialogue::ScriptEnd;
use std::fmt::Write as _;
use wasmtime::{FrameInfo, FrameSymbol, PoolConcurrencyLimitError, Trap, WasmBacktrace};

/// How the message of a panic begins.
const PANICKED: &str = "panicked at ";
/// Different functions shown of a backtrace.
const FRAMES: usize = 8;
/// Bytes of one function's name.
const NAME: usize = 120;
/// Bytes of a source file's path.
const PATH: usize = 60;
/// Bytes of a script's own error.
const OWN_WORDS: usize = 2_000;
/// Bytes of what a script said before it gave up.
const LAST_WORDS: usize = 600;

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

/// What begins the end of a script whose session was over; the place follows.
pub(crate) const LEFT: &str = "its session is over, ";

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
        Some(Stop::Over) => return ScriptEnd::Budget { message: told(LEFT.trim_end_matches(", ")) },
        Some(Stop::Misuse(what)) => return ScriptEnd::Trapped { message: told(what) },
        Some(Stop::Platform(what)) => {
            return ScriptEnd::Trapped {
                message: told(&format!("a fault of the platform, not of the script: {what}")),
            };
        }
        None => {}
    }
    let what = what(error, state.last_words.as_deref());
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

fn what(error: &wasmtime::Error, last_words: Option<&str>) -> String {
    match (error.downcast_ref::<Trap>(), last_words) {
        // The SDK writes a panic's message to the log; what follows is the instruction that gives up.
        (Some(Trap::UnreachableCodeReached), Some(words)) if words.starts_with(PANICKED) => {
            format!("it {}", printable(words, LAST_WORDS))
        }
        (Some(Trap::UnreachableCodeReached), Some(words)) => {
            format!("it gave up (`unreachable`) with the words: {}", printable(words, LAST_WORDS))
        }
        (Some(Trap::UnreachableCodeReached), None) => {
            "it reached `unreachable` (a panic, or a failed assertion)".into()
        }
        (Some(Trap::StackOverflow), _) => "its stack is exhausted (a recursion without end?)".into(),
        (Some(trap), _) => {
            let text = trap.to_string();
            printable(text.strip_prefix("wasm trap: ").unwrap_or(&text), 200)
        }
        (None, _) => printable(&error.root_cause().to_string(), 300),
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
        (None, Some((last, number))) => {
            let _ = write!(place, ", after {last} (host call {number})");
        }
        (None, None) => place.push_str(", before its first host call"),
    }
    place
}

/// The innermost function first, those it was inlined into after it; a function
/// that called itself once, with how often. What a language does between a
/// mistake and the trap is left out.
fn frames(out: &mut String, frames: &[FrameInfo]) {
    let functions: Vec<String> = frames.iter().flat_map(functions).collect();
    // Before the first function with a name there are only the steps that lead from a module out to an import.
    let named = functions.iter().position(|function| function.starts_with('`')).unwrap_or(0);
    let own = functions.iter().skip(named).position(|function| !is_machinery(function)).map_or(0, |own| named + own);
    let mut shown: Vec<(&str, u32)> = Vec::new();
    let mut more = 0;
    for name in &functions[own..] {
        if let Some((_, times)) = shown.last_mut().filter(|(last, _)| last == name) {
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

/// The function of a frame, after those of the author's that were inlined into it at this place.
fn functions(frame: &FrameInfo) -> Vec<String> {
    let Some((own, inlined)) = frame.symbols().split_last() else {
        return vec![function(frame, frame.func_name(), None)];
    };
    let mut functions: Vec<String> = inlined
        .iter()
        .filter(|symbol| !symbol.file().is_some_and(is_glue))
        .map(|symbol| function(frame, symbol.name().map(without_arguments), Some(symbol)))
        .collect();
    // The name in the module is the whole one, the one in the DWARF the last part of it.
    functions.push(function(frame, frame.func_name().or_else(|| own.name()), Some(own)));
    functions
}

fn function(frame: &FrameInfo, name: Option<&str>, symbol: Option<&FrameSymbol>) -> String {
    let mut text =
        name.map_or_else(|| format!("function {}", frame.func_index()), |name| format!("`{}`", readable(name)));
    if let Some((file, line)) = symbol.and_then(|symbol| symbol.file().zip(symbol.line())) {
        let _ = write!(text, " ({}:{line})", short_path(file));
    }
    text
}

/// Whether a source file holds what an author does not think of when looking for a mistake, once it is inlined: the
/// standard library, and how the SDK enters a script.
fn is_glue(file: &str) -> bool {
    ["/library/core/", "/library/alloc/", "/library/std/"].iter().any(|part| file.contains(part))
        || ["guest-sdk/rust/src/start.rs", "guest-sdk/rust/src/bindings.rs"].iter().any(|end| file.ends_with(end))
}

/// A name of the DWARF without the types it was made for.
fn without_arguments(name: &str) -> &str {
    match name.find('<') {
        Some(at) if at > 0 => &name[..at],
        _ => name,
    }
}

/// A source file's path from `src/` on – where a project lies on its author's
/// disk is nobody's business –, else its name.
fn short_path(path: &str) -> String {
    let start = path.rfind("/src/").or_else(|| path.rfind('/')).map_or(0, |at| at + 1);
    let path = &path[start..];
    let mut cut = path.len().saturating_sub(PATH);
    while !path.is_char_boundary(cut) {
        cut += 1;
    }
    printable(&path[cut..], PATH)
}

/// Whether a function, as [`function`] shows it, is what Rust runs between a
/// panic's cause and the trap.
fn is_machinery(function: &str) -> bool {
    const RUST: [&str; 9] = [
        "__rustc::",
        "std::panicking::",
        "std::sys::",
        "std::process::abort",
        "core::panicking::",
        "core::option::unwrap_failed",
        "core::option::expect_failed",
        "core::result::unwrap_failed",
        "alloc::raw_vec::handle_error",
    ];
    function.strip_prefix('`').is_some_and(|name| RUST.iter().any(|machinery| name.starts_with(machinery)))
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
    fn paths_begin_where_the_project_does() {
        assert_eq!(short_path("/home/ada/clumsy/src/words/de.rs"), "src/words/de.rs");
        assert_eq!(short_path("src/lib.rs"), "lib.rs");
        assert_eq!(short_path("/rustc/0123/library/core/src/option.rs"), "src/option.rs");
        assert_eq!(short_path("main.c"), "main.c");
        assert_eq!(short_path(""), "");
        assert!(short_path(&format!("/src/{}", "ä".repeat(500))).len() <= PATH + 3);
    }

    #[test]
    fn a_panic_s_own_machinery_is_known() {
        assert!(is_machinery("`core::panicking::panic_fmt`"));
        assert!(is_machinery("`std::panicking::panic_handler::{closure#0}` (src/panicking.rs:1)"));
        assert!(!is_machinery("`clumsy::core::panicking`"));
        assert!(!is_machinery("function 7"));
    }

    #[test]
    fn names_are_demangled_and_tame() {
        assert_eq!(readable("_ZN11appointment5greet17h0123456789abcdefE"), "appointment::greet");
        assert_eq!(readable("_RNvCskwGfYPst2Cb_3foo16example_function"), "foo::example_function");
        assert_eq!(readable("a\x1b[2Jb"), "a\u{fffd}[2Jb");
        assert!(readable(&"x".repeat(100_000)).len() <= NAME + 3);
    }
}
