//! Files for browsers, from the binary itself: the library that pages call with (`/sdk`), and the page to try it out (`/try`).
//!
//! The page is no part of the API and has no rights of its own: whoever uses it types an API key, which the page keeps in the
//! tab's `sessionStorage` and sends as every other client does. Nothing is fetched from anywhere else, and the policy that
//! comes with the page lets it run nothing that is not from here.

use axum::Router;
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::Redirect;
use axum::routing::get;

/// A file: where it is served, its type, what is in it.
type File = (&'static str, &'static str, &'static str);

const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";

/// The library: an ES module, and the same for a script tag. For pages of all origins.
const SDK: &[File] = &[
    ("/sdk/callbox.js", JAVASCRIPT, include_str!("../../../web/sdk/dist/callbox.js")),
    ("/sdk/callbox.global.js", JAVASCRIPT, include_str!("../../../web/sdk/dist/callbox.global.js")),
];

/// The page.
const PAGE: &[File] = &[
    ("/try", HTML, include_str!("../../../web/try/index.html")),
    ("/try/try.css", CSS, include_str!("../../../web/try/try.css")),
    ("/try/try.js", JAVASCRIPT, include_str!("../../../web/try/try.js")),
    ("/try/api.js", JAVASCRIPT, include_str!("../../../web/try/api.js")),
    ("/try/dom.js", JAVASCRIPT, include_str!("../../../web/try/dom.js")),
    ("/try/panels.js", JAVASCRIPT, include_str!("../../../web/try/panels.js")),
];

/// What the page may do: run and load what is from here, and use the microphone. No inline script or style, no frame, no
/// form that leaves.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
    media-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'";

const PERMISSIONS_POLICY: HeaderName = HeaderName::from_static("permissions-policy");
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");

/// The library for everybody, and the page where the operator wants it.
pub(crate) fn pages(try_page: bool) -> Router {
    let mut routes = Router::new();
    for file in SDK {
        let more = [
            (ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
            (RESOURCE_POLICY, "cross-origin"),
            (CACHE_CONTROL, "public, max-age=3600"),
        ];
        routes = serve(routes, file, &more);
    }
    if try_page {
        for file in PAGE {
            let more = [
                (CONTENT_SECURITY_POLICY, POLICY),
                (PERMISSIONS_POLICY, "microphone=(self), camera=(), geolocation=()"),
                (OPENER_POLICY, "same-origin"),
                (RESOURCE_POLICY, "same-origin"),
                (REFERRER_POLICY, "no-referrer"),
                // The next version of the host brings the next version of the page.
                (CACHE_CONTROL, "no-cache"),
            ];
            routes = serve(routes, file, &more);
        }
        routes = routes.route("/try/", get(async || Redirect::permanent("/try")));
    }
    routes
}

fn serve(routes: Router, (path, kind, text): &'static File, more: &[(HeaderName, &'static str)]) -> Router {
    let mut headers: HeaderMap =
        more.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    routes.route(path, get(async move || (headers, *text)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;
    use axum::body::Body;
    use axum::http::{Request, StatusCode};
    use axum::response::Response;
    use tower::ServiceExt;

    async fn ask(try_page: bool, path: &str) -> Response {
        pages(try_page).oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap()
    }

    #[tokio::test]
    async fn the_page_is_there_only_where_it_is_wanted() {
        for (path, ..) in PAGE {
            assert_eq!(ask(false, path).await.status(), StatusCode::NOT_FOUND, "{path}");
            let served = ask(true, path).await;
            assert_eq!(served.status(), StatusCode::OK, "{path}");
            assert!(served.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap().contains("script-src 'self';"));
        }
        assert_eq!(ask(true, "/try/").await.headers()["location"], "/try");
    }

    #[tokio::test]
    async fn the_library_is_there_for_pages_of_all_origins() {
        for (path, kind, text) in SDK {
            let served = ask(false, path).await;
            assert_eq!(served.headers()[ACCESS_CONTROL_ALLOW_ORIGIN], "*");
            assert_eq!(served.headers()[CONTENT_TYPE], *kind);
            assert!(text.contains("callbox-call"), "{path} is not the library");
        }
    }

    #[test]
    fn the_page_needs_nothing_that_its_policy_forbids_or_that_is_elsewhere() {
        let served: Vec<&str> = SDK.iter().chain(PAGE).map(|(path, ..)| *path).collect();
        for (path, kind, text) in PAGE {
            for forbidden in ["http://", "https://", "style=", "innerHTML", "<style", "javascript:", " onclick="] {
                assert!(!text.contains(forbidden), "{path} has {forbidden}");
            }
            // Every file that is named is served.
            let named = text.split('"').filter(|text| text.starts_with("/try/") || text.starts_with("/sdk/"));
            for name in named.filter(|_| *kind != CSS) {
                assert!(served.contains(&name), "{path} wants {name}");
            }
        }
    }
}
