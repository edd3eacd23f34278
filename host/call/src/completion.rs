//! What is left of a call, put together from the engine's record, the media
//! plane's statistics, the script's run and the recordings.

use crate::leg::Closing;
use crate::recordings::{Recordings, describe};
use crate::signalling::Signalling;
use callbox_dialogue::record::TimelineEntry;
use callbox_dialogue::{CallId, CallRecord};
use callbox_script::ScriptRun;
use callbox_store::UnixMs;
use callbox_store::calls::CallStart;
use callbox_store::completion::{CallCompletion, NewRecording};
use callbox_store::document::{CallDocument, RecordingLink, UsageFacts};
use std::io;

/// Everything the books are closed with, but the pushes.
pub(crate) fn of(
    start: &CallStart,
    record: &CallRecord,
    run: Option<ScriptRun>,
    closing: Closing,
    recorded: Recorded,
    signalling: &Signalling,
) -> CallCompletion {
    let mut document = CallDocument::from_record(start, record);
    if let (Some(sip), Some(transport)) = (&mut document.sip, closing.transport) {
        sip.transport = Some(transport.to_string());
    }
    document.media = closing.stats.as_ref().and_then(|stats| serde_json::to_value(stats).ok());
    document.usage = run.as_ref().map(|run| UsageFacts {
        script_us: run.usage.cpu_us,
        fuel: None,
        peak_memory: run.usage.peak_memory,
    });
    let (recordings, lost_recording) = match recorded {
        Recorded::Nothing => (Vec::new(), None),
        Recorded::Lost(why) => (Vec::new(), Some(why)),
        Recorded::File { recording, url, expires_at } => {
            document.recordings.push(RecordingLink {
                id: recording.id.clone(),
                url,
                expires_at,
                size: recording.size,
                duration_ms: recording.duration_ms,
                sha256: recording.sha256.clone(),
            });
            (vec![recording], None)
        }
    };
    if let Some(used) = closing.trunk {
        document.trunk_id = Some(used.trunk);
        document.trunk_address = Some(used.address);
    }
    let mut timeline = record.timeline.clone();
    if let Some(error) = lost_recording.clone() {
        let at = record.ended.unwrap_or_default();
        timeline.push(TimelineEntry { at, kind: "recording_failed".into(), detail: error });
    }
    CallCompletion {
        start: start.clone(),
        document,
        timeline,
        tape: run.map(|run| run.tape.to_json_lines().into_bytes()),
        // What the dialog said last, the answer to a BYE, has come while the rest was written.
        signalling: signalling.record().and_then(|record| serde_json::to_string(&record).ok()),
        recordings,
        lost_recording,
        pushes: Vec::new(),
    }
}

/// What was recorded of a call.
#[derive(Clone, Debug)]
pub(crate) enum Recorded {
    /// It was not to be.
    Nothing,
    /// There is none where there should be one, and why.
    Lost(String),
    /// A file, and where to get it.
    File { recording: NewRecording, url: String, expires_at: Option<UnixMs> },
}

/// What was recorded, with its checksum.
pub(crate) async fn recorded(call: &CallId, closing: &Closing, recordings: &Recordings) -> Recorded {
    let Some(path) = closing.recording.clone() else {
        return closing.recording_error.clone().map_or(Recorded::Nothing, Recorded::Lost);
    };
    let read = tokio::task::spawn_blocking(move || describe(&path)).await;
    match read.map_err(io::Error::other).flatten() {
        Ok(recording) => {
            let (url, expires_at) = match recordings.link(&recording.id).await {
                Ok((url, expires)) => (url, Some(expires)),
                Err(error) => {
                    tracing::warn!(%error, "the link to a recording in its call's record needs a key");
                    (recordings.address(call, &recording.id), None)
                }
            };
            Recorded::File { recording, url, expires_at }
        }
        Err(error) => {
            tracing::error!(%error, "a recording cannot be read");
            Recorded::Lost(error.to_string())
        }
    }
}
