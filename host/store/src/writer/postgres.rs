//! The writers of a host on PostgreSQL: a few tasks with a connection each, which they make when they need one and
//! again when it breaks. Every job is a transaction (`READ COMMITTED`). One that collides with another's, or whose
//! connection breaks before it is committed, is run again; a break in the middle of the commit leaves open whether it
//! was, and is told as [`StoreError::Unavailable`].

use super::{Db, Job, Message, Turn, execute};
use crate::dialect::Dialect;
use crate::error::StoreError;
use sqlx::any::AnyConnectOptions;
use sqlx::{ConnectOptions, Connection};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

/// How often a job is tried that meets others, or a broken connection.
const TRIES: u32 = 6;
/// A connection is there within this time, or not at all.
const CONNECT: Duration = Duration::from_secs(5);
/// A job is done within this time. The database's own limits are shorter; this is for one that does not answer at all.
const LONGEST: Duration = Duration::from_secs(30);

type Jobs = Arc<Mutex<mpsc::Receiver<Message>>>;

/// How the database is reached.
#[derive(Clone)]
pub(super) struct Reach {
    pub(super) options: AnyConnectOptions,
    /// How long a job waits for one that is not.
    pub(super) patience: Duration,
}

pub(super) async fn serve(reach: Reach, connections: u32, jobs: mpsc::Receiver<Message>) {
    let jobs = Arc::new(Mutex::new(jobs));
    let mut writers = JoinSet::new();
    for _ in 0..connections.max(1) {
        let writer = Writer { reach: reach.clone(), connection: None };
        writers.spawn(write(writer, jobs.clone()));
    }
    let mut closing: Vec<oneshot::Sender<()>> = Vec::new();
    while let Some(ended) = writers.join_next().await {
        match ended {
            Ok(reply) => closing.extend(reply),
            Err(error) => {
                // A job panicked: its caller is told that the store is closed; the others go on.
                tracing::error!(%error, "a writer failed");
                let writer = Writer { reach: reach.clone(), connection: None };
                writers.spawn(write(writer, jobs.clone()));
            }
        }
    }
    for reply in closing {
        let _ = reply.send(());
    }
}

/// Takes jobs until the store is closed; whom to tell then.
async fn write(mut writer: Writer, jobs: Jobs) -> Option<oneshot::Sender<()>> {
    let mut closing = None;
    loop {
        let next = {
            let mut jobs = jobs.lock().await;
            let next = jobs.recv().await;
            if matches!(next, Some(Message::Close(_))) {
                // What is queued is still done.
                jobs.close();
            }
            next
        };
        match next {
            Some(Message::Job(turn, job)) => writer.settle(turn, job).await,
            Some(Message::Close(reply)) => closing = Some(reply),
            None => break,
        }
    }
    if let Some(db) = writer.connection {
        let _ = db.close().await;
    }
    closing
}

/// Why an attempt came to nothing.
enum Failure {
    /// Nothing was kept, and another try may do.
    Again(StoreError),
    /// That is the answer.
    Final(StoreError),
}

struct Writer {
    reach: Reach,
    connection: Option<Db>,
}

impl Writer {
    /// Runs a job until it is committed or there is no point in it.
    async fn settle(&mut self, turn: Turn, mut job: Box<dyn Job>) {
        let mut tries = 0;
        let outcome = loop {
            tries += 1;
            match self.attempt(turn, job.as_mut(), tries < TRIES).await {
                Ok(()) => break Ok(()),
                Err(Failure::Again(error)) if tries < TRIES => {
                    tracing::debug!(tries, %error, "a write is tried again");
                    sleep(pause(tries)).await;
                }
                Err(Failure::Again(error) | Failure::Final(error)) => break Err(error),
            }
        };
        job.done(outcome);
    }

    async fn attempt(&mut self, turn: Turn, job: &mut dyn Job, keep: bool) -> Result<(), Failure> {
        let mut db = match self.connection.take() {
            Some(db) => db,
            None => connect(&self.reach).await.map_err(Failure::Final)?,
        };
        let Ok((outcome, whole)) = timeout(LONGEST, transaction(&mut db, turn, job, keep)).await else {
            // The connection is dropped, and the database with it rolls back, unless it was committing.
            return Err(Failure::Final(StoreError::Unavailable(format!("no answer within {LONGEST:?}"))));
        };
        if whole {
            self.connection = Some(db);
        }
        outcome
    }
}

/// The pause before another try: two that met do not meet again.
fn pause(tries: u32) -> Duration {
    let mut byte = [0_u8; 1];
    // Without randomness they may meet once more: worse, but right.
    let _ = getrandom::fill(&mut byte);
    Duration::from_millis(u64::from(byte[0]) * u64::from(1_u32 << tries.min(5)) / 64)
}

async fn connect(reach: &Reach) -> Result<Db, StoreError> {
    let began = Instant::now();
    let mut pause = Duration::from_millis(50);
    loop {
        let connected = timeout(CONNECT, async {
            let mut db = reach.options.connect().await?;
            execute(&mut db, Dialect::Postgres.for_writing()).await?;
            Ok::<_, sqlx::Error>(db)
        });
        let error = match connected.await {
            Ok(Ok(db)) => return Ok(db),
            Ok(Err(error)) => StoreError::from(error),
            Err(_) => StoreError::Unavailable(format!("no connection within {CONNECT:?}")),
        };
        if !error.is_transient() || began.elapsed() + pause >= reach.patience {
            return Err(error);
        }
        sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(1));
    }
}

/// One transaction, and whether the connection may be used again.
async fn transaction(db: &mut Db, turn: Turn, job: &mut dyn Job, keep: bool) -> (Result<(), Failure>, bool) {
    let begin = match turn {
        Turn::Alone => Dialect::Postgres.begin_alone(),
        Turn::Beside => "BEGIN",
    };
    let done = match execute(db, begin).await {
        Ok(()) => job.run(db, keep).await,
        Err(error) => Err(StoreError::from(error)),
    };
    if let Err(error) = done {
        let whole = execute(db, "ROLLBACK").await.is_ok();
        // A connection that broke has committed nothing.
        let again = !whole || matches!(error, StoreError::Collision(_));
        return (Err(if again { Failure::Again(error) } else { Failure::Final(error) }), whole);
    }
    match execute(db, "COMMIT").await {
        Ok(()) => (Ok(()), true),
        Err(error) => {
            let error = StoreError::from(error);
            if matches!(error, StoreError::Collision(_)) {
                return (Err(Failure::Again(error)), true);
            }
            let error = if error.is_transient() { error } else { StoreError::Unavailable(error.to_string()) };
            (Err(Failure::Final(error)), false)
        }
    }
}
