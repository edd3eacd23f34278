//! The language models of one call: requests under way, and what comes back, in order.

use crate::context::ContextFetcher;
use callbox_dialogue::llm::{Event, Request};
use callbox_dialogue::script::{Handle, HostError};
use std::collections::BTreeMap;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};

/// Events on their way to the actor; a model that is faster waits.
const EVENTS: usize = 64;

/// The models of one call. Dropping them breaks every request off.
pub(crate) struct Models {
    fetcher: ContextFetcher,
    tasks: JoinSet<Handle>,
    running: BTreeMap<Handle, AbortHandle>,
    tell: mpsc::Sender<(Handle, Event)>,
    told: mpsc::Receiver<(Handle, Event)>,
}

impl Models {
    pub(crate) fn new(fetcher: ContextFetcher) -> Self {
        let (tell, told) = mpsc::channel(EVENTS);
        Self { fetcher, tasks: JoinSet::new(), running: BTreeMap::new(), tell, told }
    }

    /// Asks a model. What it does comes out of [`Self::next`].
    pub(crate) fn ask(&mut self, run: Handle, request: Request) {
        let (fetcher, tell) = (self.fetcher.clone(), self.tell.clone());
        let task = self.tasks.spawn(async move {
            let failed = match fetcher.ask_model(&request).await {
                Ok((mut answer, mut watch)) => {
                    let mut good = true;
                    while let Some(event) = answer.next().await {
                        watch.sign();
                        if let Event::Failed { error } = &event {
                            tracing::warn!(call = fetcher.call(), model = request.model, %error, "a model broke off");
                            good = false;
                        }
                        if tell.send((run, event)).await.is_err() {
                            return run;
                        }
                    }
                    watch.over(good);
                    return run;
                }
                Err(error) => error,
            };
            // Nobody listens any more: the call is over.
            let _ = tell.send((run, Event::Failed { error: failed })).await;
            run
        });
        self.running.insert(run, task);
    }

    /// Breaks a request off: its connection is closed.
    pub(crate) fn stop(&mut self, run: Handle) {
        if let Some(task) = self.running.remove(&run) {
            task.abort();
        }
    }

    /// What a model does next; never, where none is asked. Cancel-safe.
    pub(crate) async fn next(&mut self) -> (Handle, Event) {
        loop {
            tokio::select! {
                biased;
                Some(event) = self.told.recv() => return event,
                Some(ended) = self.tasks.join_next_with_id() => match ended {
                    Ok((_, run)) => {
                        self.running.remove(&run);
                    }
                    // Stopped, or a bug of ours, of which the engine is told like of any failure.
                    Err(error) => {
                        let run = self.running.iter().find(|(_, task)| task.id() == error.id()).map(|(run, _)| *run);
                        if let Some(run) = run {
                            self.running.remove(&run);
                            let error = HostError::Unavailable("the request to the model failed inside the host".into());
                            return (run, Event::Failed { error });
                        }
                    }
                },
                else => std::future::pending().await,
            }
        }
    }
}
