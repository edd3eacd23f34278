//! Recordings: listed, and streamed from their folder.

use crate::Api;
use crate::calls::find;
use crate::conversation::whole;
use crate::extract::{Json, Path};
use crate::guard::Caller;
use crate::problem::Problem;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{
    ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, RANGE,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use callbox_store::Page;
use callbox_store::calls::RecordingRow;
use std::io::{ErrorKind, SeekFrom};
use std::path::{Component, Path as FilePath, PathBuf};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};

/// Bytes read at a time.
const CHUNK: usize = 64 * 1024;

/// List the recordings of a call
#[utoipa::path(get, path = "/v1/calls/{call}/recordings", tag = "calls", security(("api_key" = ["calls:read"])),
    params(("call" = String, Path, description = "`call_…`")),
    responses((status = 200, description = "All of them; none while the call runs", body = Page<RecordingRow>)))]
pub(crate) async fn list(
    State(api): State<Api>,
    caller: Caller,
    Path(call): Path<String>,
) -> Result<Json<Page<RecordingRow>>, Problem> {
    find(&api, &caller.tenant, &call).await?;
    Ok(Json(whole(api.store().recordings(&caller.tenant, &call).await?)))
}

/// Get a recording
///
/// A WAV file with two channels: left the caller, right the robot. One range of bytes can be asked for.
#[utoipa::path(get, path = "/v1/calls/{call}/recordings/{recording}", tag = "calls",
    security(("api_key" = ["calls:read"])),
    params(
        ("call" = String, Path, description = "`call_…`"),
        ("recording" = String, Path, description = "`rec_…`"),
        ("Range" = Option<String>, Header, description = "`bytes=FIRST-LAST`")),
    responses(
        (status = 200, description = "The file", content_type = "audio/wav", body = Vec<u8>),
        (status = 206, description = "The part that was asked for", content_type = "audio/wav", body = Vec<u8>),
        (status = 410, description = "`recording_gone`: the file is not there any more"),
        (status = 416, description = "`range_not_satisfiable`: the file is not so long")))]
pub(crate) async fn read(
    State(api): State<Api>,
    caller: Caller,
    Path((call, recording)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let row = api.store().recording(&caller.tenant, &recording).await?;
    if row.call_id != call {
        return Err(Problem::not_found("the call has no such recording"));
    }
    let path = place(api.platform().recordings(), &row.location)?;
    let gone = || Problem::new(StatusCode::GONE, "recording_gone", "the recording's file is not there any more");
    let mut file = File::open(&path).await.map_err(|error| match error.kind() {
        ErrorKind::NotFound => gone(),
        _ => Problem::internal(format_args!("opening {}: {error}", path.display())),
    })?;
    let size = file.metadata().await.map_err(Problem::internal)?.len();
    let asked = headers.get(RANGE).and_then(|value| value.to_str().ok()).map(|text| range(text, size));
    let (status, first, length) = match asked {
        Some(Asked::Part { first, length }) => (StatusCode::PARTIAL_CONTENT, first, length),
        Some(Asked::Beyond) => {
            let detail = format!("the recording has {size} bytes");
            return Err(Problem::new(StatusCode::RANGE_NOT_SATISFIABLE, "range_not_satisfiable", detail));
        }
        Some(Asked::Whole) | None => (StatusCode::OK, 0, size),
    };
    if first > 0 {
        file.seek(SeekFrom::Start(first)).await.map_err(Problem::internal)?;
    }
    let mut response = Response::new(stream(file, length));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("audio/wav"));
    headers.insert(CONTENT_LENGTH, length.into());
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    let text = |text: String| HeaderValue::from_str(&text).map_err(Problem::internal);
    headers.insert(CONTENT_DISPOSITION, text(format!("attachment; filename=\"{}.wav\"", row.id))?);
    headers.insert(ETAG, text(format!("\"{}\"", row.sha256))?);
    if status == StatusCode::PARTIAL_CONTENT {
        headers.insert(CONTENT_RANGE, text(format!("bytes {first}-{}/{size}", first + length - 1))?);
    }
    Ok(response)
}

/// The file of a location: a plain name in the folder of recordings.
fn place(folder: &FilePath, location: &str) -> Result<PathBuf, Problem> {
    let mut parts = FilePath::new(location).components();
    match (parts.next(), parts.next()) {
        (Some(Component::Normal(name)), None) => Ok(folder.join(name)),
        _ => Err(Problem::internal(format_args!("a recording's location is no plain name: {location:?}"))),
    }
}

/// What a `Range` header comes to (RFC 9110 section 14).
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// No range that we serve: the whole file, as the RFC allows.
    Whole,
    Part {
        first: u64,
        length: u64,
    },
    /// None of it exists.
    Beyond,
}

pub(crate) fn range(text: &str, size: u64) -> Asked {
    let Some((first, last)) = text.strip_prefix("bytes=").and_then(|spec| spec.split_once('-')) else {
        return Asked::Whole;
    };
    let (first, last) = (first.trim(), last.trim());
    let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<u64>().ok()).flatten();
    let (first, end) = match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => (first, last.saturating_add(1).min(size)),
        (Some(first), None) if last.is_empty() => (first, size),
        (None, Some(count)) if first.is_empty() && count > 0 => (size.saturating_sub(count), size),
        (None, Some(0)) if first.is_empty() => return Asked::Beyond,
        _ => return Asked::Whole,
    };
    if first >= end { Asked::Beyond } else { Asked::Part { first, length: end - first } }
}

/// So many bytes of a file, a piece at a time.
pub(crate) fn stream(file: File, length: u64) -> Body {
    Body::from_stream(futures_util::stream::try_unfold((file, length), async |(mut file, left)| {
        if left == 0 {
            return Ok::<_, std::io::Error>(None);
        }
        let mut chunk = vec![0; CHUNK.min(usize::try_from(left).unwrap_or(CHUNK))];
        let count = file.read(&mut chunk).await?;
        if count == 0 {
            // Shorter than it was: the client must not take it for whole.
            return Err(ErrorKind::UnexpectedEof.into());
        }
        chunk.truncate(count);
        Ok(Some((Bytes::from(chunk), (file, left - count as u64))))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_the_rfc_says() {
        let part = |first, length| Asked::Part { first, length };
        let cases = [
            ("bytes=0-99", part(0, 100)),
            ("bytes=900-", part(900, 100)),
            ("bytes=-100", part(900, 100)),
            ("bytes=-5000", part(0, 1000)),
            ("bytes=990-5000", part(990, 10)),
            ("bytes=0-18446744073709551615", part(0, 1000)),
            ("bytes=1000-", Asked::Beyond),
            ("bytes=-0", Asked::Beyond),
            ("bytes=5-1", Asked::Whole),
            ("bytes=0-1,5-6", Asked::Whole),
            ("bytes=", Asked::Whole),
            ("bytes=-", Asked::Whole),
            ("bytes=+1-2", Asked::Whole),
            ("seconds=0-1", Asked::Whole),
            ("bytes=99999999999999999999-", Asked::Whole),
        ];
        for (text, asked) in cases {
            assert_eq!(range(text, 1000), asked, "{text}");
        }
        assert_eq!(range("bytes=0-", 0), Asked::Beyond);
    }

    #[test]
    fn a_location_cannot_leave_the_folder() {
        let folder = FilePath::new("/recordings");
        assert_eq!(place(folder, "a.wav").ok(), Some("/recordings/a.wav".into()));
        for bad in ["", "..", "../a", "/etc/passwd", "a/b", "."] {
            assert!(place(folder, bad).is_err(), "{bad:?}");
        }
    }
}
