//! What is left of a call, put together from the engine's record, the media
//! plane's statistics, the script's run and the recordings.

use crate::leg::Closing;
use crate::signalling::Signalling;
use callbox_dialogue::CallRecord;
use callbox_dialogue::record::TimelineEntry;
use callbox_script::ScriptRun;
use callbox_store::calls::CallStart;
use callbox_store::completion::{CallCompletion, NewRecording};
use callbox_store::document::{CallDocument, RecordingLink, UsageFacts};
use sha2::{Digest, Sha256};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Everything the books are closed with, but the pushes.
pub(crate) fn of(
    start: &CallStart,
    record: &CallRecord,
    run: Option<ScriptRun>,
    closing: Closing,
    recordings: Vec<NewRecording>,
    signalling: &Signalling,
    public_url: &str,
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
    document.recordings = recordings
        .iter()
        .map(|recording| RecordingLink {
            id: recording.id.clone(),
            url: format!("{public_url}/v1/calls/{}/recordings/{}", start.id, recording.id),
            expires_at: None,
            size: recording.size,
            duration_ms: recording.duration_ms,
            sha256: recording.sha256.clone(),
        })
        .collect();
    if let Some(used) = closing.trunk {
        document.trunk_id = Some(used.trunk);
        document.trunk_address = Some(used.address);
    }
    let mut timeline = record.timeline.clone();
    if let Some(error) = closing.recording_error {
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
        pushes: Vec::new(),
    }
}

/// The recordings that were made, with their checksums.
pub(crate) async fn recordings(closing: &Closing) -> Vec<NewRecording> {
    let Some(recording) = closing.recording.clone() else { return Vec::new() };
    let path = recording.path.clone();
    let checksum = tokio::task::spawn_blocking(move || sha256(&path)).await;
    match checksum {
        Ok(Ok(sha256)) => vec![NewRecording {
            id: callbox_store::id::new("rec"),
            location: location(&recording.path),
            size: recording.bytes,
            duration_ms: recording.duration_ms,
            sha256,
        }],
        Ok(Err(error)) => {
            tracing::error!(path = %recording.path.display(), %error, "a recording cannot be read");
            Vec::new()
        }
        Err(error) => {
            tracing::error!(%error, "a recording's checksum failed");
            Vec::new()
        }
    }
}

/// Recordings are found by their name in the folder of recordings, wherever that is mounted.
fn location(path: &Path) -> String {
    path.file_name().map_or_else(PathBuf::new, PathBuf::from).display().to_string()
}

fn sha256(path: &Path) -> io::Result<String> {
    let mut file = std::fs::File::open(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex::encode(hash.finalize())),
            count => hash.update(&buffer[..count]),
        }
    }
}
