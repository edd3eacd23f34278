//! The component of a version, given back as it was uploaded: for a replay, or for
//! whoever lost the build.

use crate::Api;
use crate::extract::Path;
use crate::guard::Caller;
use crate::problem::Problem;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;

/// Get the component of a version
///
/// The bytes that were uploaded. The `ETag` is their digest, in quotes: whoever has it already gets 304. Compare it
/// with what arrived.
#[utoipa::path(get, path = "/v1/scripts/{script}/versions/{version}/component", tag = "scripts",
    security(("api_key" = ["scripts:read"])),
    params(
        ("script" = String, Path, description = "`scr_…`"),
        ("version" = u32, Path, description = "1, 2, 3 …"),
        ("If-None-Match" = Option<String>, Header, description = "`\"sha256:…\"`: what you have")),
    responses(
        (status = 200, description = "The component", content_type = "application/wasm", body = Vec<u8>),
        (status = 304, description = "You have it")))]
pub(crate) async fn read(
    State(api): State<Api>,
    caller: Caller,
    Path((script, version)): Path<(String, u32)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    // A version of a script that is gone is not shown any more.
    let name = api.store().script(&caller.tenant, &script).await?.name;
    let version = api.store().version(&caller.tenant, &script, version).await?;
    let tag = format!("\"{}\"", version.digest);
    let text = |text: &str| HeaderValue::from_str(text).map_err(Problem::internal);
    let known = headers.get_all(IF_NONE_MATCH).iter().any(|value| matches(value, &tag));
    let mut response = if known {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        let (size, bytes) = api.store().read_blob(&version.digest).await?;
        if size != version.size {
            return Err(Problem::internal(format_args!("{} has {size} bytes, not {}", version.digest, version.size)));
        }
        // A piece at a time: a component may be large, and who asks for it slow.
        let mut response = Response::new(Body::from_stream(bytes));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/wasm"));
        headers.insert(CONTENT_LENGTH, size.into());
        let file = format!("attachment; filename=\"{name}-{}.wasm\"", version.version);
        headers.insert(CONTENT_DISPOSITION, text(&file)?);
        response
    };
    response.headers_mut().insert(ETAG, text(&tag)?);
    // It never changes; but it is the tenant's own, and a script may be taken out of use.
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    Ok(response)
}

/// Whether an `If-None-Match` names it (RFC 9110 section 13.1.2): weakly compared, `*` names all.
fn matches(value: &HeaderValue, tag: &str) -> bool {
    let Ok(value) = value.to_str() else { return false };
    value.split(',').map(str::trim).any(|one| one == "*" || one.strip_prefix("W/").unwrap_or(one) == tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_has_is_recognised() {
        let tag = "\"sha256:00\"";
        for (value, known) in [
            ("\"sha256:00\"", true),
            ("W/\"sha256:00\"", true),
            ("\"a\", \"sha256:00\"", true),
            ("*", true),
            ("sha256:00", false),
            ("\"sha256:0\"", false),
            ("", false),
        ] {
            assert_eq!(matches(&HeaderValue::from_static(value), tag), known, "{value}");
        }
    }
}
