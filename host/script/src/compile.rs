//! Compiling in another process, under limits, one at a time for each tier.

use crate::admission::AdmissionError;
use crate::artefact::Trusted;
use crate::config::{CompileLimits, TierLimits};
use crate::engine::Tier;
use crate::text::printable;
use crate::worker::{Outcome, Request};
use bytes::Bytes;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use tokio::sync::Semaphore;

/// Bytes of the outcome's line.
const LINE: u64 = 64 << 10;
/// Bytes kept of what a dying compiler says.
const LAST_WORDS: u64 = 2_048;
/// Signals that tell why a compiler died.
const SIGABRT: i32 = 6;
const SIGBUS: i32 = 7;
const SIGKILL: i32 = 9;
const SIGSEGV: i32 = 11;
const SIGXCPU: i32 = 24;

/// Why there is no artefact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CompileError {
    /// The compiler says no.
    Refused(String),
    /// It spent its time or memory.
    Limit(String),
    /// It crashed on this component.
    Crashed(String),
    /// Too many are waiting.
    Busy,
    /// It could not be started, or broke off without a reason.
    Host(String),
}

impl From<CompileError> for AdmissionError {
    fn from(error: CompileError) -> Self {
        match error {
            CompileError::Refused(why) => Self::Compile(why),
            CompileError::Crashed(why) => Self::Compile(format!("the compiler crashed on it: {why}")),
            CompileError::Limit(why) => Self::CompileLimit(why),
            CompileError::Busy => Self::Busy,
            CompileError::Host(why) => Self::Host(why),
        }
    }
}

/// Starts compiler processes.
#[derive(Debug)]
pub(crate) struct Compiler {
    program: PathBuf,
    limits: CompileLimits,
    winch: Semaphore,
    cranelift: Semaphore,
    waiting: AtomicU32,
}

impl Compiler {
    pub(crate) fn new(program: PathBuf, limits: CompileLimits) -> Self {
        Self { program, limits, winch: Semaphore::new(1), cranelift: Semaphore::new(1), waiting: AtomicU32::new(0) }
    }

    /// Compiles for somebody who waits. There is a limit on how many may wait.
    pub(crate) async fn now(&self, tier: Tier, wasm: &Bytes) -> Result<Trusted, CompileError> {
        let _place = Place::take(&self.waiting, self.limits.waiting)?;
        let _turn = self.winch.acquire().await.map_err(|closed| CompileError::Host(closed.to_string()))?;
        self.compile(tier, wasm, false).await
    }

    /// Compiles behind everything else.
    pub(crate) async fn behind(&self, tier: Tier, wasm: &Bytes) -> Result<Trusted, CompileError> {
        let _turn = self.cranelift.acquire().await.map_err(|closed| CompileError::Host(closed.to_string()))?;
        self.compile(tier, wasm, true).await
    }

    async fn compile(&self, tier: Tier, wasm: &Bytes, background: bool) -> Result<Trusted, CompileError> {
        // Whoever waits gets no more than the fast compiler's time.
        let limits = if background { self.limits.cranelift } else { self.limits.winch };
        let mut child = Command::new(&self.program)
            .arg("compile-worker")
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| {
                CompileError::Host(format!("cannot start the compiler `{}`: {error}", self.program.display()))
            })?;
        let request = Request { tier, cpu_s: limits.cpu.as_secs().max(1), memory: limits.memory, background };
        let talk = converse(&mut child, &request, wasm, self.limits.artefact);
        match tokio::time::timeout(limits.wall, talk).await {
            Ok(Ok(talked)) => understand(talked, limits),
            Ok(Err(error)) => Err(CompileError::Host(format!("talking to the compiler failed: {error}"))),
            Err(_) => {
                // Killed and gone before its place is given to the next.
                child
                    .kill()
                    .await
                    .map_err(|error| CompileError::Host(format!("the compiler cannot be ended: {error}")))?;
                Err(CompileError::Limit(format!("the compiler took more than {} s", limits.wall.as_secs_f32())))
            }
        }
    }
}

/// One of those who wait.
struct Place<'a>(&'a AtomicU32);

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicU32, most: u32) -> Result<Self, CompileError> {
        if waiting.fetch_add(1, Ordering::Relaxed) > most {
            waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(CompileError::Busy);
        }
        Ok(Self(waiting))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a compiler process left.
struct Talked {
    status: ExitStatus,
    output: Vec<u8>,
    last_words: String,
    /// It wrote more than allowed.
    too_much: bool,
}

async fn converse(child: &mut Child, request: &Request, wasm: &[u8], max_artefact: u64) -> io::Result<Talked> {
    let missing = || io::Error::other("a pipe is missing");
    let mut stdin = child.stdin.take().ok_or_else(missing)?;
    let stdout = child.stdout.take().ok_or_else(missing)?;
    let stderr = child.stderr.take().ok_or_else(missing)?;
    let head = serde_json::to_vec(request)?;
    let send = async move {
        // A compiler that dies early closes the pipe; its status tells more than
        // that.
        let _ = stdin.write_all(&head).await;
        let _ = stdin.write_all(b"\n").await;
        let _ = stdin.write_all(wasm).await;
    };
    let most = max_artefact.saturating_add(LINE);
    let receive = async {
        let mut output = Vec::new();
        stdout.take(most + 1).read_to_end(&mut output).await.map(|_| output)
    };
    let listen = async {
        let mut words = Vec::new();
        let mut stderr = stderr;
        let _ = (&mut stderr).take(LAST_WORDS).read_to_end(&mut words).await;
        // So that it does not block on what nobody keeps.
        let _ = tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await;
        words
    };
    let ((), output, words) = tokio::join!(send, receive, listen);
    let output = output?;
    let too_much = output.len() as u64 > most;
    if too_much {
        child.start_kill()?;
    }
    let status = child.wait().await?;
    Ok(Talked { status, output, last_words: printable(String::from_utf8_lossy(&words).trim(), 400), too_much })
}

fn understand(talked: Talked, limits: TierLimits) -> Result<Trusted, CompileError> {
    let Talked { status, mut output, last_words, too_much } = talked;
    if too_much {
        return Err(CompileError::Limit("its code is too large when compiled".into()));
    }
    if !status.success() {
        let out_of_memory = last_words.contains("memory allocation of") || last_words.contains("out of memory");
        return Err(match status.signal() {
            Some(SIGXCPU | SIGKILL) => {
                CompileError::Limit(format!("the compiler used more than {} s of CPU time", limits.cpu.as_secs()))
            }
            Some(SIGABRT) | None if out_of_memory => {
                CompileError::Limit(format!("the compiler needs more than {} MiB of memory", limits.memory >> 20))
            }
            // A stack that cannot grow ends like this, whichever limit it met.
            Some(SIGSEGV | SIGBUS) => CompileError::Limit("the compiler ran out of stack or memory".into()),
            Some(signal) => CompileError::Crashed(format!("signal {signal}; {last_words}")),
            None if status.code() == Some(101) => CompileError::Crashed(last_words),
            None => CompileError::Host(format!("the compiler ended with {status}: {last_words}")),
        });
    }
    let line = output.iter().position(|byte| *byte == b'\n');
    let outcome = line.and_then(|end| serde_json::from_slice::<Outcome>(&output[..end]).ok());
    match (line, outcome) {
        (Some(end), Some(Outcome::Artefact(bytes))) if (output.len() - end - 1) as u64 == bytes => {
            output.drain(..=end);
            Ok(Trusted::from_compiler(output))
        }
        (_, Some(Outcome::Refused(why))) => Err(CompileError::Refused(printable(&why, 600))),
        _ => Err(CompileError::Host("the compiler's answer is not what it should be; is it `callbox`?".into())),
    }
}
