//! Whether what a host keeps in memory has changed: a counter per topic in the database, raised in the transaction of
//! the change, and a signal for the hosts of this process. A host of another process looks at the counter now and then.

use crate::writer::Db;
use crate::{Store, StoreError};
use tokio::sync::watch;

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

    fn of(&self, topic: Topic) -> &watch::Sender<u64> {
        match topic {
            Topic::Trunks => &self.0[0],
            Topic::SipAccounts => &self.0[1],
        }
    }
}

/// Raises the counter within the transaction at hand.
pub(crate) async fn raise(db: &mut Db, topic: Topic) -> Result<(), StoreError> {
    sqlx::query("UPDATE revisions SET counter = counter + 1 WHERE topic = $1").bind(topic.name()).execute(db).await?;
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

    /// Tells of every change that this process has committed.
    #[must_use]
    pub fn changes(&self, topic: Topic) -> watch::Receiver<u64> {
        self.signals().of(topic).subscribe()
    }

    pub(crate) fn changed(&self, topic: Topic) {
        self.signals().of(topic).send_modify(|count| *count = count.wrapping_add(1));
    }
}
