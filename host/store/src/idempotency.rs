//! `Idempotency-Key`: the same POST twice does its work once and gets the same answer.

use crate::writer::Db;
use crate::{Store, StoreError, TenantId, UnixMs, columns};

/// How long an answer is remembered.
pub const REMEMBERED_MS: i64 = 24 * 3_600_000;
/// After so long a request without an answer is taken for dead.
const RUNNING_MS: i64 = 5 * 60_000;

/// Keys forgotten in one step.
const STEP: i64 = 100;

/// What to do with a request that carries a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begin {
    /// Do the work, then call [`Store::idempotency_finish`], or
    /// [`Store::idempotency_abandon`] when it failed for a passing reason.
    New,
    /// It was done: give this answer.
    Replay {
        /// HTTP status.
        status: u16,
        /// As it was sent.
        body: Vec<u8>,
    },
    /// The first request still runs: 409.
    Running,
    /// The key was used for something else: 422.
    Mismatch,
}

type Row = (String, Option<i64>, Option<Vec<u8>>, UnixMs);

impl Store {
    /// Claims a key. `fingerprint` is of method, path and body.
    pub async fn idempotency_begin(
        &self,
        tenant: &TenantId,
        key: &str,
        fingerprint: &str,
    ) -> Result<Begin, StoreError> {
        if key.is_empty() || key.len() > 255 || !key.bytes().all(|b| (b' '..=b'~').contains(&b)) {
            return Err(StoreError::invalid("Idempotency-Key", "invalid", "1 to 255 printable ASCII characters"));
        }
        let (t, key, fingerprint, now) = (tenant.clone(), key.to_owned(), fingerprint.to_owned(), self.now());
        self.write_beside(move |db| {
            Box::pin(async move {
                sqlx::query(
                    "DELETE FROM idempotency_keys WHERE tenant_id = $1 AND key = $2
                     AND (created_at <= $3 OR (status IS NULL AND created_at <= $4))",
                )
                .bind(&t)
                .bind(&key)
                .bind(now.plus(-REMEMBERED_MS))
                .bind(now.plus(-RUNNING_MS))
                .execute(&mut *db)
                .await?;
                let claimed = sqlx::query(
                    "INSERT INTO idempotency_keys (tenant_id, key, fingerprint, created_at) VALUES ($1, $2, $3, $4)
                     ON CONFLICT (tenant_id, key) DO NOTHING",
                )
                .bind(&t)
                .bind(&key)
                .bind(&fingerprint)
                .bind(now)
                .execute(&mut *db)
                .await?;
                if claimed.rows_affected() > 0 {
                    return Ok(Begin::New);
                }
                let (known, status, body, _): Row = sqlx::query_as(
                    "SELECT fingerprint, status, response, created_at FROM idempotency_keys WHERE tenant_id = $1 AND key = $2",
                )
                .bind(&t)
                .bind(&key)
                .fetch_one(db)
                .await?;
                Ok(match (known == fingerprint, status) {
                    (false, _) => Begin::Mismatch,
                    (true, None) => Begin::Running,
                    (true, Some(status)) => Begin::Replay {
                        status: u16::try_from(columns::count32(status)).unwrap_or(500),
                        body: body.unwrap_or_default(),
                    },
                })
            })
        })
        .await
    }

    /// Remembers the answer of a claimed key.
    pub async fn idempotency_finish(
        &self,
        tenant: &TenantId,
        key: &str,
        status: u16,
        body: Vec<u8>,
    ) -> Result<(), StoreError> {
        let (t, key) = (tenant.clone(), key.to_owned());
        self.write_beside(move |db| {
            Box::pin(async move {
                sqlx::query(
                    "UPDATE idempotency_keys SET status = $1, response = $2
                     WHERE tenant_id = $3 AND key = $4 AND status IS NULL",
                )
                .bind(i64::from(status))
                .bind(body)
                .bind(t)
                .bind(key)
                .execute(db)
                .await?;
                Ok(())
            })
        })
        .await
    }

    /// Gives a claimed key back: nothing was done.
    pub async fn idempotency_abandon(&self, tenant: &TenantId, key: &str) -> Result<(), StoreError> {
        let (t, key) = (tenant.clone(), key.to_owned());
        self.write_beside(move |db| {
            Box::pin(async move {
                sqlx::query("DELETE FROM idempotency_keys WHERE tenant_id = $1 AND key = $2 AND status IS NULL")
                    .bind(t)
                    .bind(key)
                    .execute(db)
                    .await?;
                Ok(())
            })
        })
        .await
    }

    /// Forgets what is older than [`REMEMBERED_MS`]; call it now and then.
    pub async fn idempotency_purge(&self) -> Result<u64, StoreError> {
        let before = self.now().plus(-REMEMBERED_MS);
        let mut forgotten = 0;
        loop {
            let gone = self.write_beside(move |db| Box::pin(purge_some(db, before))).await?;
            forgotten += gone;
            if gone < STEP.unsigned_abs() {
                return Ok(forgotten);
            }
        }
    }
}

async fn purge_some(db: &mut Db, before: UnixMs) -> Result<u64, StoreError> {
    let gone = sqlx::query(
        "DELETE FROM idempotency_keys WHERE (tenant_id, key) IN
             (SELECT tenant_id, key FROM idempotency_keys WHERE created_at <= $1 ORDER BY created_at LIMIT $2)",
    )
    .bind(before)
    .bind(STEP)
    .execute(db)
    .await?;
    Ok(gone.rows_affected())
}
