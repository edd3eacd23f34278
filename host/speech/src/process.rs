//! A foreign program that may hang, crash, flood or be missing.
//!
//! It runs in a process group of its own, with an environment of its own,
//! under limits of CPU time and memory. Whatever happens to the future that
//! holds it, the group is killed with it.

use crate::error::SpeechError;
use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process_group, prlimit};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;

/// Bytes of standard error that are kept; what follows is read and dropped.
const MAX_STDERR: usize = 2_048;
/// Characters of it that a message shows.
const MAX_STDERR_LINE: usize = 200;
/// After its last output a program has so long to exit.
const EXIT_WITHIN: Duration = Duration::from_secs(2);
/// CPU seconds, address space: many times what a sentence takes (20 ms, 10 MB).
const MAX_CPU_SECONDS: u64 = 20;
const MAX_MEMORY: u64 = 1 << 30;

/// Who it is, for errors.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Program<'a> {
    pub(crate) path: &'a Path,
    pub(crate) engine: &'static str,
    pub(crate) remedy: &'static str,
}

/// A running program. Dropping it kills its group.
pub(crate) struct Running {
    child: Child,
    engine: &'static str,
    /// Taken by whoever writes; dropping it is the end of the input.
    pub(crate) stdin: Option<ChildStdin>,
    pub(crate) stdout: ChildStdout,
    stderr: JoinHandle<Vec<u8>>,
}

impl Program<'_> {
    /// Starts it, with an argument vector and never a shell.
    pub(crate) fn start(self, arguments: &[&str]) -> Result<Running, SpeechError> {
        let mut command = Command::new(self.path);
        command
            .args(arguments)
            .env_clear()
            .env("LC_ALL", "C.UTF-8")
            // espeak-ng looks for a sound server as it starts, even when it writes to a pipe. None is to keep it.
            .env("PULSE_SERVER", "unix:/dev/null")
            .env("HOME", "/nonexistent")
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        for name in ["PATH", "ESPEAK_DATA_PATH"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        let mut child = command.spawn().map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                SpeechError::EngineMissing { program: self.path.to_owned(), remedy: self.remedy }
            }
            _ => SpeechError::EngineBroken {
                engine: self.engine,
                what: format!("`{}` does not start: {error}", self.path.display()),
            },
        })?;
        limit(&child);
        let (Some(stdin), Some(stdout), Some(stderr)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(SpeechError::EngineBroken { engine: self.engine, what: "it has no pipes".to_owned() });
        };
        let stderr = tokio::spawn(keep_beginning(stderr));
        Ok(Running { child, engine: self.engine, stdin: Some(stdin), stdout, stderr })
    }

    /// Runs it without input and returns what it printed, at most `max_bytes`.
    pub(crate) async fn capture(
        self,
        arguments: &[&str],
        limit: Duration,
        max_bytes: usize,
    ) -> Result<String, SpeechError> {
        let work = async {
            let mut running = self.start(arguments)?;
            drop(running.stdin.take());
            let mut printed = Vec::new();
            let mut bounded = (&mut running.stdout).take(max_bytes as u64 + 1);
            bounded.read_to_end(&mut printed).await.map_err(|error| self.broken(&error))?;
            if printed.len() > max_bytes {
                return Err(self.broken(&format_args!("it printed more than {max_bytes} bytes")));
            }
            running.finish().await?;
            Ok(String::from_utf8_lossy(&printed).into_owned())
        };
        match tokio::time::timeout(limit, work).await {
            Ok(done) => done,
            Err(_) => Err(SpeechError::TimedOut { engine: self.engine, limit_ms: millis(limit) }),
        }
    }

    fn broken(self, what: &dyn std::fmt::Display) -> SpeechError {
        SpeechError::EngineBroken { engine: self.engine, what: what.to_string() }
    }
}

impl Running {
    /// Waits for the exit after the end of the output, and judges it.
    pub(crate) async fn finish(mut self) -> Result<(), SpeechError> {
        let status = match tokio::time::timeout(EXIT_WITHIN, self.child.wait()).await {
            Ok(Ok(status)) => status,
            Ok(Err(error)) => {
                return Err(SpeechError::EngineBroken { engine: self.engine, what: error.to_string() });
            }
            Err(_) => {
                return Err(SpeechError::TimedOut { engine: self.engine, limit_ms: millis(EXIT_WITHIN) });
            }
        };
        if status.success() {
            return Ok(());
        }
        // A child of the dead program may hold standard error open: what is there by now must do.
        let stderr = match tokio::time::timeout(Duration::from_secs(1), &mut self.stderr).await {
            Ok(Ok(kept)) => last_line(&kept),
            _ => String::new(),
        };
        Err(SpeechError::Crashed { engine: self.engine, how: how(status), stderr })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stderr.abort();
        // `id` is none once the child has been waited for; until then its number cannot belong to anybody else.
        if let Some(group) = self.child.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// Bounds what it may take. It runs for some microseconds without bounds; its
/// killer does not depend on them. File sizes are left alone: the audio library
/// it links makes a shared memory file of its own as it starts, and dies without.
fn limit(child: &Child) {
    let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    for (resource, most) in [(Resource::Cpu, MAX_CPU_SECONDS), (Resource::As, MAX_MEMORY), (Resource::Core, 0)] {
        let bound = Rlimit { current: Some(most), maximum: Some(most) };
        if pid.is_some()
            && let Err(error) = prlimit(pid, resource, bound)
        {
            tracing::debug!(?resource, %error, "a limit of a speech engine could not be set");
        }
    }
}

/// Reads to the end and keeps the first [`MAX_STDERR`] bytes.
pub(crate) async fn keep_beginning(mut stream: impl AsyncRead + Unpin) -> Vec<u8> {
    let (mut kept, mut buffer) = (Vec::new(), vec![0; 4_096]);
    while let Ok(n @ 1..) = stream.read(&mut buffer).await {
        let room = MAX_STDERR - kept.len();
        kept.extend_from_slice(&buffer[..n.min(room)]);
    }
    kept
}

/// The last line that says something, shortened, without control characters.
pub(crate) fn last_line(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let line = text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default();
    line.chars().filter(|c| !c.is_control()).take(MAX_STDERR_LINE).collect()
}

fn how(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => status.to_string(),
    }
}

pub(crate) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_the_last_line_that_says_something() {
        assert_eq!(last_line(b"one\ntwo \x1b[31mred\n\n  \n"), "two [31mred");
        assert_eq!(last_line(b""), "");
        assert_eq!(last_line(&[b'x'; 5_000]).len(), MAX_STDERR_LINE);
        assert_eq!(last_line(b"\xff\xfe"), "\u{fffd}\u{fffd}");
    }
}
