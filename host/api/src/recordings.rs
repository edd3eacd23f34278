//! Recordings: listed with links, and streamed from where they are kept.

use crate::Api;
use crate::calls::find;
use crate::conversation::whole;
use crate::extract::{Json, Path, Query};
use crate::guard::Caller;
use crate::problem::Problem;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{
    ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, RANGE,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use callbox_store::recordings::{RecordingRow, RecordingState};
use callbox_store::{Page, UnixMs};
use serde::Serialize;
use utoipa::ToSchema;

/// A recording, and a link to it.
#[derive(Serialize, ToSchema)]
pub(crate) struct LinkedRecording {
    #[serde(flatten)]
    recording: RecordingRow,
    /// Gets the file without a key.
    url: String,
    /// Until then.
    expires_at: UnixMs,
}

/// List the recordings of a call
#[utoipa::path(get, path = "/v1/calls/{call}/recordings", tag = "calls", security(("api_key" = ["calls:read"])),
    params(("call" = String, Path, description = "`call_…`")),
    responses((status = 200, description = "All of them; none while the call runs", body = Page<LinkedRecording>)))]
pub(crate) async fn list(
    State(api): State<Api>,
    caller: Caller,
    Path(call): Path<String>,
) -> Result<Json<Page<LinkedRecording>>, Problem> {
    find(&api, &caller.tenant, &call).await?;
    let mut all = Vec::new();
    for recording in api.store().recordings(&caller.tenant, &call).await? {
        let (url, expires_at) = api.platform().recordings().link(&recording.id).await?;
        all.push(LinkedRecording { recording, url, expires_at });
    }
    Ok(Json(whole(all)))
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
        (status = 409, description = "`recording_not_ready`: it is on its way; try again soon"),
        (status = 410, description = "`recording_gone`: there is no file (any more)"),
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
    send(&api, &row, &headers).await
}

/// A link's query.
#[derive(Debug, serde::Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Link {
    /// Until when the link is good, Unix seconds.
    expires: i64,
    /// As we signed it.
    signature: String,
}

/// Get a recording by its link
///
/// The link is in `call.completed` and `call.recording.ready`, and in the list of a call's recordings. It needs no key and
/// expires; whoever has it can hear the recording.
#[utoipa::path(get, path = "/v1/recordings/{recording}", tag = "calls", security(("recording_link" = [])),
    params(
        ("recording" = String, Path, description = "`rec_…`"), Link,
        ("Range" = Option<String>, Header, description = "`bytes=FIRST-LAST`")),
    responses(
        (status = 200, description = "The file", content_type = "audio/wav", body = Vec<u8>),
        (status = 206, description = "The part that was asked for", content_type = "audio/wav", body = Vec<u8>),
        (status = 403, description = "`link_invalid`, `link_expired`: ask for a new one"),
        (status = 409, description = "`recording_not_ready`: it is on its way; try again soon"),
        (status = 410, description = "`recording_gone`: there is no file (any more)"),
        (status = 416, description = "`range_not_satisfiable`: the file is not so long")))]
pub(crate) async fn linked(
    State(api): State<Api>,
    Path(recording): Path<String>,
    Query(link): Query<Link>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let key = api.store().link_key().await?;
    if !key.is_ours(&recording, link.expires, &link.signature) {
        return Err(Problem::new(StatusCode::FORBIDDEN, "link_invalid", "this link is not one that we have signed"));
    }
    if api.store().now().0 / 1_000 >= link.expires {
        let detail = "this link has expired; the list of the call's recordings has a new one";
        return Err(Problem::new(StatusCode::FORBIDDEN, "link_expired", detail));
    }
    send(&api, &api.store().linked_recording(&recording).await?, &headers).await
}

/// The file of a recording, or the part of it that is asked for.
async fn send(api: &Api, row: &RecordingRow, headers: &HeaderMap) -> Result<Response, Problem> {
    let recordings = api.platform().recordings();
    let missing = || match row.state {
        RecordingState::Pending => {
            let detail = "the recording is on its way from the host that made it";
            Problem::new(StatusCode::CONFLICT, "recording_not_ready", detail)
        }
        RecordingState::Ready | RecordingState::Failed => {
            Problem::new(StatusCode::GONE, "recording_gone", "there is no file of the recording (any more)")
        }
    };
    let size = recordings.size(row).await?.ok_or_else(missing)?;
    let asked = headers.get(RANGE).and_then(|value| value.to_str().ok()).map(|text| range(text, size));
    let (status, first, length) = match asked {
        Some(Asked::Part { first, length }) => (StatusCode::PARTIAL_CONTENT, first, length),
        Some(Asked::Beyond) => {
            let detail = format!("the recording has {size} bytes");
            return Err(Problem::new(StatusCode::RANGE_NOT_SATISFIABLE, "range_not_satisfiable", detail));
        }
        Some(Asked::Whole) | None => (StatusCode::OK, 0, size),
    };
    let body = recordings.read(row, first..first + length).await?.ok_or_else(missing)?;
    let mut response = Response::new(Body::from_stream(body));
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
}
