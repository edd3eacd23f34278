//! The packets of a call as a file for Wireshark: its SIP messages, and its media where that was captured.

use crate::Api;
use crate::calls::{Accepted, find, reached};
use crate::extract::{Json, Path};
use crate::guard::Caller;
use crate::problem::Problem;
use crate::signalling::kept;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::IntoResponse;
use bytes::Bytes;
use callbox_dialogue::CallId;
use callbox_media::pcap::{self, Record, Records};
use callbox_sip::ladder::Ladder;
use futures_util::stream;
use std::fs::File;
use std::io::{self, BufReader, Write};
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::mpsc;

/// Bytes handed on at a time.
const CHUNK: usize = 64 * 1024;
/// Chunks that wait for a slow reader.
const CHUNKS: usize = 4;

/// Capture the packets of a call
///
/// From now on, until the call ends: what its media session sends and receives, SRTP in the clear, with what the script
/// calls secret as zeros. A call is captured from its beginning where its number says so, or whoever placed it.
#[utoipa::path(post, path = "/v1/calls/{call}/capture", tag = "calls", security(("api_key" = ["calls:write"])),
    params(("call" = String, Path, description = "`call_…`")),
    responses(
        (status = 202, description = "It is captured", body = Accepted),
        (status = 409, description = "`call_not_active`: it is over; or the first request with this Idempotency-Key still runs")))]
pub(crate) async fn begin(
    State(api): State<Api>,
    caller: Caller,
    Path(call): Path<String>,
) -> Result<impl IntoResponse, Problem> {
    let told = api.platform().capture(&caller.tenant, &CallId(call.clone()));
    reached(&api, &caller.tenant, &call, told).await?;
    Ok((StatusCode::ACCEPTED, Json(Accepted { call_id: call })))
}

/// The packets of a call
///
/// A pcap file: its SIP messages without their secrets, as datagrams whatever they travelled over, and its media where that
/// was captured. While the call runs, what there is so far.
#[utoipa::path(get, path = "/v1/calls/{call}/pcap", tag = "calls", security(("api_key" = ["calls:read"])),
    params(("call" = String, Path, description = "`call_…`")),
    responses(
        (status = 200, description = "The file", content_type = "application/vnd.tcpdump.pcap", body = Vec<u8>),
        (status = 404, description = "There is no such call, or nothing of it was kept")))]
pub(crate) async fn read(
    State(api): State<Api>,
    caller: Caller,
    Path(call): Path<String>,
) -> Result<impl IntoResponse, Problem> {
    find(&api, &caller.tenant, &call).await?;
    let ladder = kept(&api, &caller.tenant, &call).await?.map(|record| record.ladder);
    let files = api.platform().captured(&CallId(call.clone()));
    if ladder.is_none() && files.is_empty() {
        return Err(Problem::not_found("neither the SIP messages of this call nor its packets were kept"));
    }
    let name = format!("attachment; filename=\"{call}.pcap\"");
    let headers = HeaderMap::from_iter([
        (CONTENT_TYPE, HeaderValue::from_static("application/vnd.tcpdump.pcap")),
        (CONTENT_DISPOSITION, HeaderValue::from_str(&name).map_err(Problem::internal)?),
    ]);
    Ok((headers, merged(ladder.unwrap_or_default(), files)))
}

/// Merges by time while it is read, off the executor.
fn merged(ladder: Ladder, files: Vec<PathBuf>) -> Body {
    let (chunks, receiver) = mpsc::channel(CHUNKS);
    tokio::task::spawn_blocking(move || {
        let mut sources: Vec<Box<dyn Iterator<Item = Record>>> = vec![Box::new(signalling(ladder))];
        for path in files {
            match File::open(&path).and_then(|file| Records::new(BufReader::new(file))) {
                Ok(records) => sources.push(Box::new(records)),
                Err(error) => tracing::warn!(path = %path.display(), %error, "a capture cannot be read"),
            }
        }
        let mut out = Chunks { chunks, bytes: Vec::with_capacity(CHUNK) };
        // It fails where nobody reads any more.
        let _ = pcap::merge(sources, &mut out).and_then(|()| out.flush());
    });
    let next = |mut receiver: mpsc::Receiver<Bytes>| async {
        let chunk = receiver.recv().await?;
        Some((Ok::<_, io::Error>(chunk), receiver))
    };
    Body::from_stream(stream::unfold(receiver, next))
}

/// The messages as datagrams.
fn signalling(ladder: Ladder) -> impl Iterator<Item = Record> {
    ladder.messages.into_iter().enumerate().map(|(n, rung)| {
        let (from, to) = if rung.sent { (rung.local, rung.remote) } else { (rung.remote, rung.local) };
        let at = Duration::from_micros(rung.at_us);
        let mut bytes = Vec::new();
        pcap::record(&mut bytes, at, from, to, rung.message.as_bytes(), usize::MAX, n as u16);
        Record { at, bytes }
    })
}

/// Hands on what is written, a chunk at a time.
struct Chunks {
    chunks: mpsc::Sender<Bytes>,
    bytes: Vec<u8>,
}

impl Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        if self.bytes.len() >= CHUNK {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let chunk = std::mem::replace(&mut self.bytes, Vec::with_capacity(CHUNK));
        self.chunks.blocking_send(chunk.into()).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}
