//! The hosts that run calls on one database: who they are, whether they live, and who closes the calls of one that
//! does not.
//!
//! A host takes its name with [`Store::start_host`], and from then on lets its counter rise ([`HostKeeper`]). Every host
//! watches the counters of the others. One whose counter stands still for [`SILENCE`] heartbeats is taken for dead: its
//! calls are closed (`end_reason: platform_error`) and its deliveries are free again. Silence is measured by the clock
//! of whoever watches, which never goes back, and only while it can look: after a time without the database everybody
//! begins anew. A host that was only frozen finds its calls closed when it comes back; what it closes then changes
//! nothing ([`crate::completion::Completed::first`]). One that wrote a call into the books after that, and then fell silent
//! for good, is buried again: a host is watched as long as it has calls that run.

use crate::dialect::Dialect;
use crate::recovery::{self, Recovered};
use crate::writer::Db;
use crate::{Store, StoreError, TenantId, UnixMs, columns, id};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use utoipa::ToSchema;

/// Heartbeats that a host may leave out before it is taken for dead: ten seconds, with one a second.
pub const SILENCE: u32 = 10;

/// What a host does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum HostState {
    /// Takes calls.
    Up,
    /// Ends those it has, and takes no others.
    Draining,
    /// Has stopped, or is taken for dead.
    Gone,
}

/// A host as others see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Host {
    /// Its name.
    pub id: String,
    /// `run_…`: changes with every start.
    pub run: String,
    /// What it does.
    pub state: HostState,
    /// Where others reach its API.
    pub address: Option<String>,
    /// Of its program.
    pub version: String,
    /// When it started.
    pub started_at: UnixMs,
    /// Rises while it lives.
    #[serde(skip)]
    pub beats: i64,
    /// When it did last, by its own clock.
    pub heartbeat_at: UnixMs,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    run: String,
    state: String,
    address: Option<String>,
    version: String,
    started_at: UnixMs,
    beats: i64,
    heartbeat_at: UnixMs,
}

impl Row {
    fn read(self) -> Result<Host, StoreError> {
        Ok(Host {
            id: self.id,
            run: self.run,
            state: columns::word("hosts.state", &self.state)?,
            address: self.address,
            version: self.version,
            started_at: self.started_at,
            beats: self.beats,
            heartbeat_at: self.heartbeat_at,
        })
    }
}

const COLUMNS: &str = "SELECT id, run, state, address, version, started_at, beats, heartbeat_at FROM hosts";

/// Who runs a call, or ran it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Runner {
    /// Its name.
    pub host: String,
    /// Where others reach its API, where it has said so.
    pub address: Option<String>,
    /// Whether the call runs.
    pub active: bool,
}

/// Calls that run on other hosts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Elsewhere {
    /// Of a tenant.
    pub tenant: u32,
    /// Of these, those of a number.
    pub number: u32,
}

/// The name that this process has taken.
#[derive(Clone, Debug)]
pub(crate) struct Taken {
    pub(crate) host: String,
    pub(crate) run: String,
}

/// How a host stands with the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It lives and they know.
    Known,
    /// It was taken for dead, its calls that run were closed, and it is known again.
    WasTakenForDead,
    /// Another process has taken its name: nothing it writes about its calls will count. It should end.
    Replaced,
}

/// Judges who is silent, among those who are watched. Knows nothing of the database.
#[derive(Debug, Default)]
pub struct Watch {
    seen: HashMap<String, Seen>,
    last: Option<Instant>,
}

#[derive(Debug)]
struct Seen {
    run: String,
    beats: i64,
    silent: Duration,
}

impl Watch {
    /// Looks at them ([`Store::watched_hosts`]) at a moment, with this time between heartbeats; who is dead by now. Who
    /// looks later than it should counts the time only in part: it may have been away itself, or the database.
    pub fn look(&mut self, hosts: &[Host], heartbeat: Duration, now: Instant) -> Vec<Host> {
        let step = self.last.map_or(Duration::ZERO, |last| now.saturating_duration_since(last)).min(heartbeat * 2);
        self.last = Some(now);
        self.seen.retain(|id, _| hosts.iter().any(|host| host.id == *id));
        let mut dead = Vec::new();
        for host in hosts {
            let fresh = || Seen { run: host.run.clone(), beats: host.beats, silent: Duration::ZERO };
            let seen = self.seen.entry(host.id.clone()).or_insert_with(fresh);
            if seen.beats == host.beats && seen.run == host.run {
                seen.silent += step;
            } else {
                *seen = fresh();
            }
            if seen.silent >= heartbeat * SILENCE {
                dead.push(host.clone());
                if host.state == HostState::Gone {
                    // Should one of its calls be such that it cannot be closed, nobody tries every second.
                    seen.silent = Duration::ZERO;
                }
            }
        }
        dead
    }
}

async fn read(db: &mut Db, host: &str, tail: &str) -> Result<Option<Host>, StoreError> {
    let sql = format!("{COLUMNS} WHERE id = $1 {tail}");
    let row: Option<Row> = sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(host).fetch_optional(db).await?;
    row.map(Row::read).transpose()
}

/// Takes a name for a run that begins.
pub(crate) async fn take(db: &mut Db, taken: &Taken, address: Option<&str>, now: UnixMs) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO hosts (id, run, state, address, version, started_at, beats, heartbeat_at)
         VALUES ($1, $2, 'up', $3, $4, $5, 0, $5)
         ON CONFLICT (id) DO UPDATE SET run = excluded.run, state = 'up', address = excluded.address,
             version = excluded.version, started_at = excluded.started_at, beats = hosts.beats + 1,
             heartbeat_at = excluded.heartbeat_at",
    )
    .bind(&taken.host)
    .bind(&taken.run)
    .bind(address)
    .bind(env!("CARGO_PKG_VERSION"))
    .bind(now)
    .execute(db)
    .await?;
    Ok(())
}

impl Store {
    /// All hosts that ever had a name here, by name.
    ///
    /// # Errors
    /// What the database says.
    pub async fn hosts(&self) -> Result<Vec<Host>, StoreError> {
        let sql = format!("{COLUMNS} ORDER BY id LIMIT 1000");
        let rows: Vec<Row> = sqlx::query_as(sqlx::AssertSqlSafe(sql)).fetch_all(self.readers()).await?;
        rows.into_iter().map(Row::read).collect()
    }

    /// Those that others watch: all that have neither said goodbye nor been buried, and of the others those that calls
    /// are still kept for.
    ///
    /// # Errors
    /// What the database says.
    pub async fn watched_hosts(&self) -> Result<Vec<Host>, StoreError> {
        let sql = format!(
            "{COLUMNS} WHERE state <> 'gone'
                 OR (SELECT id FROM calls WHERE host = hosts.id AND state = 'active' LIMIT 1) IS NOT NULL
             ORDER BY id LIMIT 1000"
        );
        let rows: Vec<Row> = sqlx::query_as(sqlx::AssertSqlSafe(sql)).fetch_all(self.readers()).await?;
        rows.into_iter().map(Row::read).collect()
    }

    /// The name that this process has taken; none before [`Store::start_host`].
    #[must_use]
    pub fn host_name(&self) -> Option<String> {
        self.taken().ok().map(|taken| taken.host)
    }

    /// Who runs a tenant's call, or ran it; none where that is this host, or one that is gone, or there is no such call.
    ///
    /// # Errors
    /// What the database says.
    pub async fn runner(&self, tenant: &TenantId, call: &str) -> Result<Option<Runner>, StoreError> {
        let Some(here) = self.host_name().filter(|_| self.inner.file.is_none()) else { return Ok(None) };
        let row: Option<(String, Option<String>, String)> = sqlx::query_as(
            "SELECT hosts.id, hosts.address, calls.state FROM calls JOIN hosts ON hosts.id = calls.host
             WHERE calls.tenant_id = $1 AND calls.id = $2 AND calls.host <> $3 AND hosts.state <> 'gone'",
        )
        .bind(tenant)
        .bind(call)
        .bind(here)
        .fetch_optional(self.readers())
        .await?;
        Ok(row.map(|(host, address, state)| Runner { host, address, active: state == "active" }))
    }

    /// How many calls of a tenant, and of one of its numbers, run on other hosts: as the books say, which they are in
    /// before they are answered. What only this host can run costs no query.
    ///
    /// # Errors
    /// What the database says.
    pub async fn calls_elsewhere(&self, tenant: &TenantId, number: Option<&str>) -> Result<Elsewhere, StoreError> {
        let Some(here) = self.host_name().filter(|_| self.inner.file.is_none()) else {
            return Ok(Elsewhere::default());
        };
        let (tenant, number): (i64, i64) = sqlx::query_as(
            "SELECT COUNT(*), COUNT(CASE WHEN number_id = $3 THEN 1 END) FROM calls
             WHERE tenant_id = $1 AND state = 'active' AND host <> $2",
        )
        .bind(tenant)
        .bind(here)
        .bind(number.unwrap_or_default())
        .fetch_one(self.readers())
        .await?;
        Ok(Elsewhere { tenant: columns::count32(tenant), number: columns::count32(number) })
    }

    /// Whether a process lives that has this name: its counter rises while we wait. Nobody waits for a host that said
    /// goodbye, or for the only process that can use a file.
    pub(crate) async fn is_alive(&self, host: &str) -> Result<bool, StoreError> {
        let find = async || {
            let mut db = self.readers().acquire().await.map_err(StoreError::from)?;
            read(&mut db, host, "").await
        };
        let Some(before) = find().await?.filter(|host| host.state != HostState::Gone) else { return Ok(false) };
        if self.inner.file.is_some() {
            return Ok(false);
        }
        for _ in 0..10 {
            sleep(self.inner.heartbeat / 4).await;
            let now = find().await?;
            if now.is_some_and(|now| now.run != before.run || now.beats != before.beats) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Tells the others that this host lives, and what it does.
    ///
    /// # Errors
    /// [`StoreError::Internal`] before [`Store::start_host`]; what the database says.
    pub async fn heartbeat(&self, state: HostState) -> Result<Standing, StoreError> {
        let taken = self.taken()?;
        let (word, now) = (columns::as_word(&state)?, self.now());
        self.write_beside(move |db| {
            Box::pin(async move {
                let tail = Dialect::of(db).for_update();
                let Some(before) = read(db, &taken.host, tail).await? else { return Ok(Standing::Replaced) };
                if before.run != taken.run {
                    return Ok(Standing::Replaced);
                }
                sqlx::query("UPDATE hosts SET beats = beats + 1, heartbeat_at = $1, state = $2 WHERE id = $3")
                    .bind(now)
                    .bind(word)
                    .bind(&taken.host)
                    .execute(db)
                    .await?;
                let dead = before.state == HostState::Gone;
                Ok(if dead { Standing::WasTakenForDead } else { Standing::Known })
            })
        })
        .await
    }

    /// Tells the others not to wait for this host, which has no calls any more; false where it has.
    async fn goodbye(&self) -> Result<bool, StoreError> {
        let host = self.taken()?.host;
        let left: Option<String> =
            sqlx::query_scalar("SELECT id FROM calls WHERE host = $1 AND state = 'active' LIMIT 1")
                .bind(host)
                .fetch_optional(self.readers())
                .await?;
        if left.is_none() {
            self.heartbeat(HostState::Gone).await?;
        }
        Ok(left.is_none())
    }

    /// Closes the calls of a host that is dead, unless it has given a sign since it was `seen`, or another does it just
    /// now. Whoever dies in the middle of it leaves the rest to the next.
    ///
    /// # Errors
    /// What the database says.
    pub async fn bury(&self, seen: &Host) -> Result<Recovered, StoreError> {
        let mut recovered = Recovered::default();
        let mut after = Some(String::new());
        while let Some(start) = after {
            let (seen, now) = (seen.clone(), self.now());
            let step =
                self.write_beside(move |db| Box::pin(async move { bury_some(db, &seen, start, now).await })).await?;
            recovered.calls += step.closed;
            recovered.deliveries += step.freed;
            after = step.next;
        }
        if recovered != Recovered::default() {
            self.wake_outbox();
        }
        Ok(recovered)
    }

    pub(crate) fn taken(&self) -> Result<Taken, StoreError> {
        let taken = self.inner.taken.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        taken.clone().ok_or_else(|| StoreError::Internal("start_host comes first".to_owned()))
    }

    pub(crate) fn new_run(host: &str) -> Taken {
        Taken { host: host.to_owned(), run: id::new("run") }
    }
}

#[derive(Default)]
struct Buried {
    closed: usize,
    freed: u64,
    /// Where to go on; none when nothing is left to do.
    next: Option<String>,
}

/// One step, in one transaction, which holds the host's row: nobody else closes its calls meanwhile, and it cannot
/// give a sign.
async fn bury_some(db: &mut Db, seen: &Host, after: String, now: UnixMs) -> Result<Buried, StoreError> {
    let skip = Dialect::of(db).skip_locked();
    let Some(host) = read(db, &seen.id, skip).await? else { return Ok(Buried::default()) };
    if host.run != seen.run || host.beats != seen.beats {
        return Ok(Buried::default());
    }
    let (closed, next) = recovery::close_some(db, &seen.id, after, now, SILENT).await?;
    if next.is_some() {
        return Ok(Buried { closed, freed: 0, next });
    }
    let freed = recovery::free(db, &seen.id, now).await?;
    if host.state != HostState::Gone {
        sqlx::query("UPDATE hosts SET state = 'gone' WHERE id = $1").bind(&seen.id).execute(db).await?;
        tracing::warn!(host = seen.id, "a host is silent and taken for dead: its calls are closed");
    }
    Ok(Buried { closed, freed, next: None })
}

/// Why a call of a dead host ended.
const SILENT: &str = "the host that ran the call was silent; closed by another";

/// Keeps a host known to the others and watches them: a task that beats and looks. Dropping it stops both, and the
/// others take the host for dead after a while; [`HostKeeper::stop`] says goodbye.
#[derive(Debug)]
pub struct HostKeeper {
    store: Store,
    state: watch::Sender<HostState>,
    standing: watch::Receiver<Standing>,
    tasks: [JoinHandle<()>; 2],
}

impl HostKeeper {
    /// Starts both for the host that [`Store::start_host`] has made this process.
    ///
    /// # Errors
    /// [`StoreError::Internal`] before [`Store::start_host`].
    pub fn start(store: Store) -> Result<Self, StoreError> {
        store.taken()?;
        let (state, told) = watch::channel(HostState::Up);
        let (stand, standing) = watch::channel(Standing::Known);
        let tasks = [tokio::spawn(beat(store.clone(), told, stand)), tokio::spawn(look(store.clone()))];
        Ok(Self { store, state, standing, tasks })
    }

    /// Tells the others that this host takes no calls any more.
    pub fn draining(&self) {
        self.state.send_replace(HostState::Draining);
    }

    /// How the host stands, and when that changes.
    #[must_use]
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.clone()
    }

    /// Stops both. Says goodbye, so that nobody has to wait for a sign of this host, unless calls of it are left: those
    /// are closed by another when it has been silent for long enough, or by its next start.
    pub async fn stop(self) {
        for task in &self.tasks {
            task.abort();
        }
        match self.store.goodbye().await {
            Ok(true) => {}
            Ok(false) => tracing::warn!("calls are left whose books others have to close"),
            Err(error) => tracing::warn!(%error, "the other hosts could not be told that this one stops"),
        }
    }
}

impl Drop for HostKeeper {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

async fn beat(store: Store, mut state: watch::Receiver<HostState>, standing: watch::Sender<Standing>) {
    let mut ticks = interval(store.inner.heartbeat);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let now = *state.borrow_and_update();
        match store.heartbeat(now).await {
            Ok(stands) => {
                if stands != Standing::Known && stands != *standing.borrow() {
                    tracing::error!(?stands, "this host was not seen by the others for a while, or has lost its name");
                }
                standing.send_if_modified(|before| std::mem::replace(before, stands) != stands);
            }
            Err(StoreError::Closed) => return,
            Err(error) => tracing::warn!(code = error.code(), %error, "no heartbeat"),
        }
        tokio::select! {
            _ = ticks.tick() => {}
            changed = state.changed() => if changed.is_err() { return },
        }
    }
}

async fn look(store: Store) {
    let mut ticks = interval(store.inner.heartbeat);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut watch = Watch::default();
    loop {
        ticks.tick().await;
        let hosts = match store.watched_hosts().await {
            Ok(hosts) => hosts,
            Err(StoreError::Closed) => return,
            Err(error) => {
                tracing::warn!(code = error.code(), %error, "the other hosts cannot be seen");
                continue;
            }
        };
        let Ok(own) = store.taken() else { return };
        for dead in watch.look(&hosts, store.inner.heartbeat, Instant::now()) {
            if dead.id == own.host {
                continue;
            }
            match store.bury(&dead).await {
                Ok(recovered) if recovered.calls > 0 => {
                    tracing::warn!(host = dead.id, calls = recovered.calls, "closed the calls of a dead host");
                }
                Ok(_) => {}
                Err(error) => tracing::warn!(host = dead.id, %error, "the calls of a dead host cannot be closed yet"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BEAT: Duration = Duration::from_secs(1);

    fn host(id: &str, run: &str, beats: i64) -> Host {
        Host {
            id: id.to_owned(),
            run: run.to_owned(),
            state: HostState::Up,
            address: None,
            version: String::new(),
            started_at: UnixMs(0),
            beats,
            heartbeat_at: UnixMs(0),
        }
    }

    #[test]
    fn who_is_silent_for_long_is_dead_once() {
        let (mut watch, start) = (Watch::default(), Instant::now());
        for second in 0..60 {
            let at = start + BEAT * second;
            let alive = host("alive", "r", i64::from(second));
            let dead = watch.look(&[alive, host("silent", "r", 7)], BEAT, at);
            assert_eq!(dead.len(), usize::from(second >= SILENCE), "after {second} s");
            assert!(dead.iter().all(|dead| dead.id == "silent"));
        }
        assert!(watch.look(&[], BEAT, start + BEAT * 61).is_empty(), "it is not watched any more");
        let mut gone = host("gone", "r", 7);
        gone.state = HostState::Gone;
        let dead = (62..=92).map(|second| watch.look(std::slice::from_ref(&gone), BEAT, start + BEAT * second).len());
        assert_eq!(dead.sum::<usize>(), 3, "one with calls left is buried again, and not every second");
        assert!(watch.look(&[host("silent", "r2", 7)], BEAT, start + BEAT * 93).is_empty(), "it has started again");
    }

    #[test]
    fn time_in_which_nobody_could_look_does_not_count() {
        let (mut watch, start) = (Watch::default(), Instant::now());
        assert!(watch.look(&[host("a", "r", 1)], BEAT, start).is_empty());
        // The database was away for an hour: nobody could give a sign, and nobody see one.
        assert!(watch.look(&[host("a", "r", 1)], BEAT, start + BEAT * 3_600).is_empty());
        assert!(watch.look(&[host("a", "r", 2)], BEAT, start + BEAT * 3_601).is_empty());
    }

    proptest! {
        /// However looks and signs fall: one that gives a sign in time is never dead, one that gives none is in the end.
        #[test]
        fn who_gives_signs_lives(gaps in proptest::collection::vec((0_u64..5_000, any::<bool>()), 1..200)) {
            let (mut watch, mut now, mut beats, mut silent) = (Watch::default(), Instant::now(), 0, 0);
            watch.look(&[host("a", "r", beats)], BEAT, now);
            for (gap, sign) in gaps {
                now += Duration::from_millis(gap);
                beats += i64::from(sign);
                silent = if sign { 0 } else { silent + gap.min(2_000) };
                let dead = watch.look(&[host("a", "r", beats)], BEAT, now);
                prop_assert_eq!(!dead.is_empty(), silent >= 10_000);
            }
        }
    }
}
