//! The script's task, and its tape should the actor fail: of a call that broke off by a bug of ours it is worth most.

use callbox_script::ScriptRun;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::{JoinError, JoinHandle};
use tokio_util::sync::CancellationToken;

/// Longest wait for a script that was told to stop. It is stopped at its next tick.
const STOPS: Duration = Duration::from_secs(5);

/// The script of a call: under way, or over. Dropped with either in it, it stops the script and leaves the tape to the
/// [`Heir`].
pub(crate) struct ScriptTask {
    task: Option<JoinHandle<ScriptRun>>,
    run: Option<ScriptRun>,
    stop: CancellationToken,
    heir: Option<oneshot::Sender<Left>>,
}

enum Left {
    Runs(JoinHandle<ScriptRun>),
    Over(Box<ScriptRun>),
}

/// Who gets the tape of a call whose actor failed.
pub(crate) struct Heir(oneshot::Receiver<Left>);

impl ScriptTask {
    /// No script yet.
    pub(crate) fn new() -> (Self, Heir) {
        let (heir, left) = oneshot::channel();
        (Self { task: None, run: None, stop: CancellationToken::new(), heir: Some(heir) }, Heir(left))
    }

    /// What ends the script, wherever it is.
    pub(crate) const fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// It runs.
    pub(crate) fn begin(&mut self, task: JoinHandle<ScriptRun>) {
        self.task = Some(task);
    }

    /// Its end; pending for ever where there is none to come.
    pub(crate) async fn join(&mut self) -> Result<(), JoinError> {
        let Some(task) = &mut self.task else { return std::future::pending().await };
        let ended = task.await;
        self.task = None;
        self.run = Some(ended?);
        Ok(())
    }

    /// Whether it is under way.
    pub(crate) const fn runs(&self) -> bool {
        self.task.is_some()
    }

    /// What is left of it, once it is over.
    pub(crate) const fn run(&self) -> Option<&ScriptRun> {
        self.run.as_ref()
    }

    /// Takes what is left of it: the books are closed with it, and nobody else needs it.
    pub(crate) fn take(mut self) -> Option<ScriptRun> {
        self.run.take()
    }
}

impl Drop for ScriptTask {
    fn drop(&mut self) {
        self.stop.cancel();
        let left = match (self.task.take(), self.run.take()) {
            (Some(task), _) => Left::Runs(task),
            (None, Some(run)) => Left::Over(Box::new(run)),
            (None, None) => return,
        };
        // Nobody may be waiting: then the call ended as it should.
        let _ = self.heir.take().map(|heir| heir.send(left));
    }
}

impl Heir {
    /// The tape of the script, where there was one.
    pub(crate) async fn tape(self) -> Option<Vec<u8>> {
        let run = match self.0.await.ok()? {
            Left::Over(run) => *run,
            Left::Runs(task) => tokio::time::timeout(STOPS, task).await.ok()?.ok()?,
        };
        Some(run.tape.to_json_lines().into_bytes())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;
    use callbox_dialogue::ScriptEnd;
    use callbox_script::{RunReason, Tape, Usage, tape::Header};

    fn run() -> ScriptRun {
        let header = Header {
            format: "callbox-tape/1".into(),
            script: "sha256:00".into(),
            wit: "0.1.0".into(),
            complete: false,
            entries: None,
            limits: None,
        };
        let tape = Tape::blank(header);
        ScriptRun { end: ScriptEnd::Returned, reason: RunReason::Own, usage: Usage::default(), tape }
    }

    #[tokio::test]
    async fn the_tape_is_left_whether_the_script_runs_or_is_over() {
        let (mut task, heir) = ScriptTask::new();
        let stop = task.stop().clone();
        task.begin(tokio::spawn(async move {
            stop.cancelled().await;
            run()
        }));
        drop(task);
        assert!(heir.tape().await.is_some());

        let (mut task, heir) = ScriptTask::new();
        task.begin(tokio::spawn(async { run() }));
        task.join().await.unwrap();
        drop(task);
        assert!(heir.tape().await.is_some());
    }

    #[tokio::test]
    async fn nothing_is_left_of_a_call_that_ended_as_it_should() {
        let (mut task, heir) = ScriptTask::new();
        task.begin(tokio::spawn(async { run() }));
        task.join().await.unwrap();
        assert!(task.run().is_some() && !task.runs());
        assert!(task.take().is_some());
        assert_eq!(heir.tape().await, None);
        let (task, heir) = ScriptTask::new();
        drop(task);
        assert_eq!(heir.tape().await, None);
    }
}
