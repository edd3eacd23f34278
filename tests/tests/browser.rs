//! A page of a customer, in a real browser: the element and the library, before a call comes about.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use axum::Router;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::routing::any;
use callbox_tests::browser::{Browser, Page, Site};
use callbox_tests::root;
use serde_json::json;
use std::process::Stdio;
use tokio::process::Command;

/// A host that says no to every call, in this way. Its address.
async fn refusing(status: u16, code: &'static str, retry_after: &'static str) -> String {
    let answer = async move |method: Method| {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("access-control-allow-origin", "*"),
            ("access-control-allow-headers", "authorization, content-type"),
            ("access-control-expose-headers", "retry-after"),
            ("content-type", "application/problem+json"),
            ("retry-after", retry_after),
        ] {
            headers.insert(name, value.parse().unwrap());
        }
        let body = json!({ "title": "No", "status": status, "code": code, "detail": format!("because of {code}") });
        let status = if method == Method::OPTIONS { StatusCode::OK } else { StatusCode::from_u16(status).unwrap() };
        (status, headers, body.to_string())
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(any(answer))).await });
    address
}

/// Calls with the button, and tells what the page shows then.
async fn notice(page: &Page) -> String {
    page.run_as_user("phone.shadowRoot.querySelector('[part=call]').click()").await;
    page.run("ended()").await;
    page.run("phone.shadowRoot.querySelector('[part=notice]').textContent").await.as_str().unwrap().to_owned()
}

#[tokio::test]
async fn what_is_embedded_is_what_the_sources_give() {
    for arguments in [["run", "check"], ["test", "--silent"]] {
        let output = Command::new("npm")
            .args(arguments)
            .current_dir(root().join("web/sdk"))
            .stdin(Stdio::null())
            .output()
            .await
            .expect("npm runs: tools/setup test installs it");
        let told = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "npm {}: {told}", arguments.join(" "));
    }
}

#[tokio::test]
async fn the_element_is_a_telephone_without_a_mouse_and_without_eyes() {
    let site = Site::customer("<callbox-call id=\"phone\" token=\"t\"></callbox-call>", None).await;
    let browser = Browser::start(None).await;
    let page = browser.open(&site.origin).await;
    let shown = page.accessible().await;
    for (role, name) in [
        ("region", "Call"),
        ("button", "Call"),
        ("log", "Captions"),
        ("group", "Keypad"),
        ("button", "5"),
        ("button", "star"),
        ("button", "hash"),
        ("button", "Mute"),
    ] {
        assert!(shown.iter().any(|one| one.0 == role && one.1 == name), "no {role} {name:?} in {shown:?}");
    }
    // The tab key: the button, the captions, one key of the keypad – arrows walk over the others –, what is below.
    let focus = "(phone.shadowRoot.activeElement?.dataset.key ?? phone.shadowRoot.activeElement?.getAttribute('part')?.split(' ')[0] ?? '')";
    let mut way = Vec::new();
    for key in ["Tab", "Tab", "Tab", "ArrowRight", "ArrowDown", "ArrowLeft", "Tab", "Tab"] {
        page.press(key).await;
        way.push(page.run(focus).await.as_str().unwrap().to_owned());
    }
    assert_eq!(way, ["call", "captions", "1", "2", "5", "4", "keypad-toggle", "captions-toggle"]);
    // What can be hidden says whether it is.
    page.press("Enter").await;
    let hidden = "[phone.shadowRoot.activeElement.getAttribute('aria-expanded'), phone.shadowRoot.querySelector('[part=captions]').hidden]";
    assert_eq!(page.run(hidden).await, json!(["false", true]));
    assert_eq!(page.console(), Vec::<String>::new(), "the policy of the page forbids nothing that the element does");
}

#[tokio::test]
async fn the_element_fits_a_telephone_and_follows_the_user() {
    let site = Site::customer("<callbox-call id=\"phone\" token=\"t\"></callbox-call>", None).await;
    let browser = Browser::start(None).await;
    let page = browser.open(&site.origin).await;
    let look = "(() => { const style = getComputedStyle(phone.shadowRoot.querySelector('.card')); \
                return [style.backgroundColor, document.documentElement.scrollWidth <= innerWidth, \
                getComputedStyle(phone.shadowRoot.querySelector('.light')).animationName]; })()";
    let media = |scheme: &str| {
        json!({ "features": [
            { "name": "prefers-color-scheme", "value": scheme }, { "name": "prefers-reduced-motion", "value": "reduce" },
        ] })
    };
    let metrics = json!({ "width": 320, "height": 640, "deviceScaleFactor": 2, "mobile": true });
    page.ask("Emulation.setDeviceMetricsOverride", metrics).await;
    page.ask("Emulation.setEmulatedMedia", media("light")).await;
    assert_eq!(page.run(look).await, json!(["rgb(255, 255, 255)", true, "none"]));
    page.ask("Emulation.setEmulatedMedia", media("dark")).await;
    assert_eq!(page.run(look).await, json!(["rgb(21, 27, 24)", true, "none"]));
    page.run("phone.setAttribute('theme', 'light')").await;
    assert_eq!(page.run(look).await[0], "rgb(255, 255, 255)");
}

#[tokio::test]
async fn what_the_host_refuses_is_told_in_words() {
    let browser = Browser::start(None).await;
    for (status, code, retry_after, told) in [
        (401, "token_expired", "", "The permission for this call has expired. Please reload the page."),
        (403, "something_else", "", "This call is not allowed."),
        (503, "overloaded", "7", "All lines are busy. Please try again in 7 s."),
        (422, "invalid_offer", "", "because of invalid_offer"),
    ] {
        let host = refusing(status, code, retry_after).await;
        let site =
            Site::customer(&format!("<callbox-call id=\"phone\" token=\"t\" server=\"{host}\"></callbox-call>"), None)
                .await;
        let page = browser.open(&site.origin).await;
        assert_eq!(notice(&page).await, told);
        let error = page.run("seen((name) => name === 'error')").await;
        assert_eq!(error["reason"], code);
    }
    // Nobody is there; a page without a token.
    for (element, told) in [
        ("server=\"http://127.0.0.1:9\" token=\"t\"", "The service cannot be reached. Are you online?"),
        ("token-url=\"/nothing\"", "The host answered 404."),
        ("", "This call is not allowed."),
    ] {
        let site = Site::customer(&format!("<callbox-call id=\"phone\" {element}></callbox-call>"), None).await;
        assert_eq!(notice(&browser.open(&site.origin).await).await, told);
    }
}

#[tokio::test]
async fn without_a_microphone_the_user_is_told_what_to_do() {
    let denied = ["--deny-permission-prompts", "--use-fake-device-for-media-stream"];
    let none = ["--use-fake-ui-for-media-stream"];
    let site = Site::customer("<callbox-call id=\"phone\" token=\"t\"></callbox-call>", None).await;
    for (flags, code) in [(denied.as_slice(), "microphone_denied"), (&none, "no_microphone")] {
        let browser = Browser::start_with(flags.iter().map(ToString::to_string)).await;
        let page = browser.open(&site.origin).await;
        let told = notice(&page).await;
        let error = page.run("seen((name) => name === 'error')").await;
        assert_eq!(error["code"], code, "{told}");
        assert!(told.contains("call again"), "{told}");
    }
}

#[tokio::test]
async fn the_library_connects_talks_and_reconnects() {
    let site = Site::customer("<script src=\"/standin.js\"></script>", None).await;
    let browser = Browser::start(None).await;
    let page = browser.open(&site.origin).await;
    let begin = "Callbox.call({ token: 't' }).then((call) => { window.call = call; \
                 for (const name of ['state', 'caption', 'ended', 'error', 'level']) call.on(name, (told) => tell(name, told)); })";
    page.run(begin).await;
    let asked = page.run("seen((name) => name === 'asked')").await;
    let wanted = json!({ "method": "POST", "path": "/v1/webrtc/calls", "token": "Bearer t", "candidates": false });
    assert_eq!(asked, wanted, "the offer goes out before candidates are looked for");
    page.run("says({ type: 'state', state: 'answered' })").await;
    page.run("state('answered')").await;
    page.run("says({ type: 'caption', role: 'robot', text: 'Hello', final: false, seq: 1 })").await;
    page.run("caption('Hello')").await;
    page.run("seen((name, level) => name === 'level' && level.output > 0.1)").await;
    page.run("call.digits('12#')").await;
    assert_eq!(page.run("seen((name) => name === 'sent')").await, json!({ "type": "digits", "digits": "12#" }));

    page.run("call.reconnect()").await;
    page.run("state('reconnecting')").await;
    page.run("state('answered', told.findIndex(([, detail]) => detail.state === 'reconnecting'))").await;
    assert_eq!(
        page.run("seen((name, { method }) => name === 'asked' && method === 'PATCH')").await["candidates"],
        false
    );
    page.run("says({ type: 'caption', role: 'robot', text: 'Still here', final: true, seq: 2 })").await;
    page.run("caption('Still here')").await;

    page.run("says({ type: 'state', state: 'ended', reason: 'script_returned' })").await;
    let ended = page.run("ended()").await;
    assert_eq!(ended, json!({ "reason": "script_returned", "by": "host", "answered": true }));
    assert_eq!(page.run("told.filter(([name]) => name === 'error').length").await, 0);
}
