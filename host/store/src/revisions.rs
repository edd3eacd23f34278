//! Whether what a host keeps in memory has changed: a counter per topic in the database, raised in the transaction of
//! the change, and a signal for whoever keeps it. The signal is given by this process after a change of its own, and on
//! PostgreSQL by a notification that comes with the commit of another host's ([`Listener`]). The counter is the net: a
//! host looks at it now and then.

use crate::dialect::Dialect;
use crate::writer::Db;
use crate::{Store, StoreError};
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Topic {
    /// Trunks.
    Trunks,
    /// SIP accounts.
    SipAccounts,
}

impl Topic {
    const ALL: [Self; 2] = [Self::Trunks, Self::SipAccounts];

    const fn name(self) -> &'static str {
        match self {
            Self::Trunks => "trunks",
            Self::SipAccounts => "sip_accounts",
        }
    }
}

/// The signals of one process. The number has no meaning: it changes.
pub(crate) struct Signals([watch::Sender<u64>; Topic::ALL.len()]);

impl Signals {
    pub(crate) fn new() -> Self {
        Self(Topic::ALL.map(|_| watch::Sender::new(0)))
    }

    fn give(&self, topic: Topic) {
        self.of(topic).send_modify(|count| *count = count.wrapping_add(1));
    }

    fn of(&self, topic: Topic) -> &watch::Sender<u64> {
        match topic {
            Topic::Trunks => &self.0[0],
            Topic::SipAccounts => &self.0[1],
        }
    }
}

/// Raises the counter within the transaction at hand; other hosts hear of it when that is committed.
pub(crate) async fn raise(db: &mut Db, topic: Topic) -> Result<(), StoreError> {
    sqlx::query("UPDATE revisions SET counter = counter + 1 WHERE topic = $1")
        .bind(topic.name())
        .execute(&mut *db)
        .await?;
    if let Some(notify) = Dialect::of(db).notify() {
        sqlx::query(notify).bind(CHANNEL).bind(topic.name()).execute(db).await?;
    }
    Ok(())
}

/// What changes are told on.
const CHANNEL: &str = "callbox_changes";

/// The pause before a connection that listens is tried again: what is read again then is live within a second all the same.
const AGAIN: Duration = Duration::from_millis(500);

/// Hears of the changes of all hosts on a PostgreSQL, and passes them on; ends when it is dropped.
pub(crate) struct Listener(JoinHandle<()>);

impl Listener {
    pub(crate) fn start(server: PgConnectOptions, signals: Arc<Signals>) -> Self {
        Self(tokio::spawn(listen(server, signals)))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn listen(server: PgConnectOptions, signals: Arc<Signals>) {
    let pool = PgPoolOptions::new().max_connections(1).max_lifetime(None).idle_timeout(None).connect_lazy_with(server);
    loop {
        if let Err(error) = hear(&pool, &signals).await {
            tracing::warn!(%error, "changes of other hosts are not heard of at once, but when they are looked for");
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Listens as long as the connection holds. Whatever happened before it began is read again.
async fn hear(pool: &PgPool, signals: &Signals) -> Result<(), sqlx::Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.eager_reconnect(false);
    listener.listen(CHANNEL).await?;
    Topic::ALL.into_iter().for_each(|topic| signals.give(topic));
    while let Some(heard) = listener.try_recv().await? {
        Topic::ALL.into_iter().filter(|topic| topic.name() == heard.payload()).for_each(|topic| signals.give(topic));
    }
    Ok(())
}

impl Store {
    /// How often it has changed, by whichever process.
    pub async fn revision(&self, topic: Topic) -> Result<i64, StoreError> {
        Ok(sqlx::query_scalar("SELECT counter FROM revisions WHERE topic = $1")
            .bind(topic.name())
            .fetch_one(self.readers())
            .await?)
    }

    /// Tells of every change that this process has committed, and on PostgreSQL of those of others soon after theirs.
    /// Now and then it tells of one that was none.
    #[must_use]
    pub fn changes(&self, topic: Topic) -> watch::Receiver<u64> {
        self.signals().of(topic).subscribe()
    }

    pub(crate) fn changed(&self, topic: Topic) {
        self.signals().give(topic);
    }
}
