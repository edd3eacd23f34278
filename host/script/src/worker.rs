//! The compiler process: reads a request, locks itself in, compiles, writes the
//! artefact, ends.
//!
//! On standard input: one line of JSON ([`Request`]), then the component to the
//! end. On standard output: one line of JSON ([`Outcome`]), then the artefact.
//! Once the request's first line is read, the process can open nothing, start
//! nothing and write to no file; it has so much memory and so much CPU time.

use crate::engine::{Role, Tier, engine_config};
use rustix::process::{Resource, Rlimit, setrlimit};
use serde::{Deserialize, Serialize};
use std::io::{self, BufRead, Read, Write};
use std::process::ExitCode;

/// Bytes of the request's first line.
const LINE: u64 = 4_096;

/// The first line a compiler process reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Request {
    pub(crate) tier: Tier,
    /// CPU time in seconds, at least 1.
    pub(crate) cpu_s: u64,
    /// Address space in bytes.
    pub(crate) memory: u64,
    /// Give way to everybody else.
    pub(crate) background: bool,
}

/// The first line it writes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Outcome {
    /// So many bytes follow.
    Artefact(u64),
    /// The compiler refused the component.
    Refused(String),
}

/// The body of `callbox compile-worker`. To be called before anything else is
/// started: the process confines itself and ends with the compilation.
#[must_use]
pub fn compile_worker() -> ExitCode {
    match work(&mut io::stdin().lock(), &mut io::stdout().lock(), confine) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Whoever started this process reads the reason.
            let _ = writeln!(io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

fn work(
    input: &mut impl BufRead,
    output: &mut impl Write,
    confine: impl FnOnce(&Request) -> io::Result<()>,
) -> io::Result<()> {
    let mut line = Vec::new();
    input.take(LINE).read_until(b'\n', &mut line)?;
    let request: Request = serde_json::from_slice(&line)?;
    confine(&request)?;
    let mut wasm = Vec::new();
    input.read_to_end(&mut wasm)?;
    let compiled = wasmtime::Engine::new(&engine_config(request.tier, Role::Compile))
        .and_then(|engine| engine.precompile_component(&wasm));
    let (outcome, bytes) = match compiled {
        Ok(artefact) => (Outcome::Artefact(artefact.len() as u64), artefact),
        Err(error) => (Outcome::Refused(format!("{error:#}")), Vec::new()),
    };
    serde_json::to_writer(&mut *output, &outcome)?;
    output.write_all(b"\n")?;
    output.write_all(&bytes)?;
    output.flush()
}

/// Gives up everything a compiler does not need.
fn confine(request: &Request) -> io::Result<()> {
    let limit = |resource, current: u64, maximum: u64| {
        setrlimit(resource, Rlimit { current: Some(current), maximum: Some(maximum) }).map_err(io::Error::from)
    };
    rustix::thread::set_no_new_privs(true)?;
    limit(Resource::Core, 0, 0)?;
    limit(Resource::Fsize, 0, 0)?;
    limit(Resource::Nproc, 0, 0)?;
    // The three standard streams are open; nothing else can be: no file, no socket.
    limit(Resource::Nofile, 3, 3)?;
    limit(Resource::Cpu, request.cpu_s, request.cpu_s.saturating_add(1))?;
    limit(Resource::As, request.memory, request.memory)?;
    if request.background {
        rustix::process::nice(10)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    const EMPTY: &[u8] = b"\0asm\x0d\0\x01\0";

    fn request(tier: Tier) -> Request {
        Request { tier, cpu_s: 1, memory: 1, background: false }
    }

    fn asked(head: &str, wasm: &[u8]) -> io::Result<Vec<u8>> {
        let mut output = Vec::new();
        work(&mut [head.as_bytes(), b"\n", wasm].concat().as_slice(), &mut output, |_| Ok(()))?;
        Ok(output)
    }

    fn outcome(output: &[u8]) -> (Outcome, &[u8]) {
        let end = output.iter().position(|b| *b == b'\n').unwrap();
        (serde_json::from_slice(&output[..end]).unwrap(), &output[end + 1..])
    }

    #[test]
    fn an_artefact_of_the_compile_engine_loads_in_the_run_engine_of_its_tier() {
        for tier in [Tier::Winch, Tier::Cranelift] {
            let output = asked(&serde_json::to_string(&request(tier)).unwrap(), EMPTY).unwrap();
            let (outcome, bytes) = outcome(&output);
            assert_eq!(outcome, Outcome::Artefact(bytes.len() as u64));
            let engine = |tier| wasmtime::Engine::new(&engine_config(tier, Role::Run { instances: 2 })).unwrap();
            let artefact = crate::artefact::Trusted::from_compiler(bytes.to_vec());
            artefact.load(&engine(tier)).unwrap();
            let other = if tier == Tier::Winch { Tier::Cranelift } else { Tier::Winch };
            assert!(artefact.load(&engine(other)).is_err(), "tiers do not mix");
        }
    }

    #[test]
    fn what_cannot_be_compiled_is_refused_with_words() {
        let head = serde_json::to_string(&request(Tier::Winch)).unwrap();
        let output = asked(&head, b"nonsense").unwrap();
        assert!(matches!(outcome(&output), (Outcome::Refused(words), []) if !words.is_empty()));
        assert!(asked("{}", EMPTY).is_err());
        assert!(asked("", EMPTY).is_err());
        assert!(asked(&"x".repeat(10_000), EMPTY).is_err());
    }
}
