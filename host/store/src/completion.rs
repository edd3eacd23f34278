//! Closing the books of a call: record, timeline, tape, recordings, what the script
//! still had to push, and exactly one `call.completed`, in one transaction.

use crate::calls::{self, CallStart};
use crate::document::CallDocument;
use crate::outbox::{self, CheckedPush, NewEvent, NewPush};
use crate::writer::Db;
use crate::{Store, StoreError, UnixMs, columns, id, recordings, usage, webhooks};
use callbox_dialogue::record::TimelineEntry;
use std::time::Duration;

/// The end of a call.
#[derive(Clone, Debug)]
pub struct CallCompletion {
    /// As it was given to [`Store::start_call`]. Where that never succeeded, the row
    /// is made now.
    pub start: CallStart,
    /// What is left of it.
    pub document: CallDocument,
    /// What happened, in order.
    pub timeline: Vec<TimelineEntry>,
    /// Every host call and its answer.
    pub tape: Option<Vec<u8>>,
    /// Its SIP messages, JSON.
    pub signalling: Option<String>,
    /// Files that were recorded.
    pub recordings: Vec<NewRecording>,
    /// Why there is no recording of a call that should have one.
    pub lost_recording: Option<String>,
    /// All pushes of the script; those stored already stay as they are.
    pub pushes: Vec<NewPush>,
}

/// A recorded file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRecording {
    /// `rec_…`
    pub id: String,
    /// The name of its file in the host's folder of recordings.
    pub location: String,
    /// Bytes.
    pub size: u64,
    /// How long it sounds.
    pub duration_ms: u64,
    /// Of the file, hex.
    pub sha256: String,
}

/// What came of closing a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completed {
    /// The id of `call.completed`.
    pub event_id: String,
    /// Its sequence number. Only `call.recording.…` may follow.
    pub sequence: i64,
    /// False when the call was closed before: nothing was changed.
    pub first: bool,
}

#[derive(Clone)]
pub(crate) struct Closing {
    start: CallStart,
    document: CallDocument,
    record: String,
    timeline: String,
    tape: Option<Vec<u8>>,
    signalling: Option<String>,
    recordings: Vec<NewRecording>,
    lost_recording: Option<String>,
    pushes: Vec<CheckedPush>,
}

impl Closing {
    /// All that can be done outside the writer. A push that cannot be stored is
    /// left out rather than the whole call lost.
    pub(crate) fn prepare(completion: CallCompletion) -> Result<Self, StoreError> {
        let checked = |push: NewPush| {
            let (call, seq) = (push.call_id.clone(), push.push_seq);
            outbox::check(push)
                .inspect_err(|error| tracing::warn!(%call, seq, %error, "a push was left out of the record"))
                .ok()
        };
        Ok(Self {
            record: columns::to_json(&completion.document)?,
            timeline: columns::to_json(&completion.timeline)?,
            start: completion.start,
            document: completion.document,
            tape: completion.tape,
            signalling: completion.signalling,
            recordings: completion.recordings,
            lost_recording: completion.lost_recording,
            pushes: completion.pushes.into_iter().filter_map(checked).collect(),
        })
    }
}

async fn known(db: &mut Db, start: &CallStart) -> Result<Option<Completed>, StoreError> {
    let row: Option<(String, Option<i64>)> = sqlx::query_as(
        "SELECT id, sequence FROM events WHERE tenant_id = $1 AND call_id = $2 AND type = 'call.completed'",
    )
    .bind(&start.tenant_id)
    .bind(&start.id)
    .fetch_optional(db)
    .await?;
    Ok(row.map(|(event_id, sequence)| Completed { event_id, sequence: sequence.unwrap_or(0), first: false }))
}

/// Makes a call that runs one that is over; the sequence number of its end, or none where it does not run.
async fn end(
    db: &mut Db,
    start: &CallStart,
    document: &CallDocument,
    ended: UnixMs,
) -> Result<Option<i64>, StoreError> {
    let outcome = document.outcome.map(|outcome| columns::as_word(&outcome)).transpose()?.unwrap_or_default();
    let sequence = sqlx::query_scalar(
        "UPDATE calls SET state = 'completed', answered_at = COALESCE($1, answered_at), ended_at = $2, outcome = $3,
                end_reason = $4, disposition = $5, last_sequence = last_sequence + 1
         WHERE tenant_id = $6 AND id = $7 AND state = 'active' RETURNING last_sequence",
    )
    .bind(document.times.answered)
    .bind(ended)
    .bind(outcome)
    .bind(document.end_reason.map(|reason| reason.as_str()))
    .bind(&document.disposition)
    .bind(&start.tenant_id)
    .bind(&start.id)
    .fetch_optional(db)
    .await?;
    Ok(sequence)
}

/// Closes a call within the transaction at hand.
pub(crate) async fn close(db: &mut Db, closing: Closing, now: UnixMs) -> Result<Completed, StoreError> {
    let Closing { start, document, record, timeline, tape, signalling, recordings, lost_recording, pushes } = closing;
    let ended = document.times.ended.unwrap_or(now);
    // A call that runs and has nothing more to push is closed by the very statement that keeps others from it.
    let mut sequence = if pushes.is_empty() { end(db, &start, &document, ended).await? } else { None };
    if sequence.is_none() {
        calls::insert(db, &start).await?;
        outbox::lock(db, &start.tenant_id, &start.id).await?;
        if let Some(done) = known(db, &start).await? {
            return Ok(done);
        }
        for push in pushes {
            outbox::push(db, push, now).await?;
        }
        sequence = end(db, &start, &document, ended).await?;
    }
    // Closed without its event: only if somebody changed the file by hand.
    let sequence = sequence.ok_or_else(|| StoreError::Internal(format!("call {} is not active", start.id)))?;
    sqlx::query(
        "INSERT INTO call_details (call_id, tenant_id, record, timeline, tape, signalling)
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(&start.id)
    .bind(&start.tenant_id)
    .bind(&record)
    .bind(timeline)
    .bind(tape)
    .bind(signalling)
    .execute(&mut *db)
    .await?;
    for recording in &recordings {
        recordings::insert(db, &start.tenant_id, &start.id, &start.host, recording, now).await?;
    }
    let endpoints = webhooks::subscribers(db, &start.tenant_id, "call.completed").await?;
    let event = NewEvent {
        id: id::new("evt"),
        tenant: &start.tenant_id,
        call: Some(&start.id),
        sequence: Some(sequence),
        push_seq: None,
        kind: "call.completed",
        data: &record,
        at: now,
    };
    outbox::put(db, &event, &endpoints).await?;
    if let Some(why) = lost_recording {
        recordings::tell_lost(db, &start.tenant_id, &start.id, None, &why, now).await?;
    }
    // The one row that calls share: whoever waits for it waits until this is committed, so it comes last.
    usage::count(db, &start, &document, ended).await?;
    Ok(Completed { event_id: event.id, sequence, first: true })
}

impl Store {
    /// Closes a call. Doing it again changes nothing and answers with what was
    /// stored the first time.
    pub async fn complete_call(&self, completion: CallCompletion) -> Result<Completed, StoreError> {
        let (closing, now) = (Closing::prepare(completion)?, self.now());
        let done = self.write_beside(move |db| Box::pin(close(db, closing, now))).await?;
        self.wake_outbox();
        Ok(done)
    }

    /// The same, again and again while the disk is full or the database does not
    /// answer, with pauses of 0.1 s to 5 s. For the end of a call, when its result has
    /// nowhere else to go; drop the future to give up.
    pub async fn complete_call_at_last(&self, completion: CallCompletion) -> Result<Completed, StoreError> {
        let mut pause = Duration::from_millis(100);
        loop {
            match self.complete_call(completion.clone()).await {
                Err(error) if error.is_transient() => {
                    let call = completion.start.id.as_str();
                    tracing::error!(call, code = error.code(), %error, "the record of a call waits to be stored");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_secs(5));
                }
                other => return other,
            }
        }
    }
}
