//! A real browser: Debian's Chromium without a window, driven over the DevTools protocol.
//!
//! Whatever a test waits for is awaited by a promise in the page; nothing sleeps. Everything a page writes to its console is
//! kept, and told when a test fails.

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

/// A browser starts slowly where everything else runs too.
const START: Duration = Duration::from_secs(60);
/// The longest wait within a page: a whole call.
const LONG: Duration = Duration::from_secs(90);

type Socket = WebSocketStream<TcpStream>;

/// What is under way, and what was told.
#[derive(Default)]
struct Shared {
    asked: HashMap<u64, oneshot::Sender<Value>>,
    /// Console and uncaught errors, by session.
    console: Vec<(String, String)>,
}

/// A running browser with a profile of its own.
pub struct Browser {
    wire: Arc<Wire>,
    _child: Child,
    _profile: TempDir,
}

struct Wire {
    out: tokio::sync::Mutex<(SplitSink<Socket, Message>, u64)>,
    shared: Arc<Mutex<Shared>>,
}

impl Browser {
    /// Starts one whose microphone plays this WAV file, once; silence where there is none. Whoever asks for the microphone
    /// gets it.
    pub async fn start(microphone: Option<&Path>) -> Self {
        let sound = microphone.map(|path| format!("--use-file-for-fake-audio-capture={}%noloop", path.display()));
        let flags = ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"];
        Self::start_with(flags.into_iter().map(ToOwned::to_owned).chain(sound)).await
    }

    /// Starts one with these flags besides those that a test machine needs.
    pub async fn start_with(flags: impl IntoIterator<Item = String>) -> Self {
        let profile = tempfile::tempdir().unwrap();
        let mut child = Command::new("chromium")
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
            .args(["--disable-dev-shm-usage", "--autoplay-policy=no-user-gesture-required"])
            // Loopback is a network like any other here.
            .args(["--allow-loopback-in-peer-connection", "--remote-debugging-port=0"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .args(flags)
            .arg("about:blank")
            .env("HOME", profile.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("chromium starts: tools/setup test installs it");
        let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
        let listening = async {
            let mut before = Vec::new();
            while let Some(line) = said.next_line().await.unwrap() {
                if let Some(url) = line.strip_prefix("DevTools listening on ") {
                    return url.trim().to_owned();
                }
                before.push(line);
            }
            panic!("chromium did not start: {}", before.join("\n"));
        };
        let url = timeout(START, listening).await.expect("chromium starts in time");
        // What it says on is read, so that it can go on saying it.
        tokio::spawn(async move { while let Ok(Some(_)) = said.next_line().await {} });
        let address = url.trim_start_matches("ws://").split('/').next().unwrap();
        let stream = TcpStream::connect(address).await.unwrap();
        let (socket, _) = client_async(&url, stream).await.unwrap();
        let (out, incoming) = socket.split();
        let shared = Arc::<Mutex<Shared>>::default();
        tokio::spawn(listen(incoming, shared.clone()));
        let wire = Arc::new(Wire { out: tokio::sync::Mutex::new((out, 0)), shared });
        Self { wire, _child: child, _profile: profile }
    }

    /// Opens a page, and returns when it is loaded.
    pub async fn open(&self, url: &str) -> Page {
        let made = self.wire.ask(None, "Target.createTarget", json!({ "url": "about:blank" })).await;
        let target = json!({ "targetId": made["targetId"], "flatten": true });
        let attached = self.wire.ask(None, "Target.attachToTarget", target).await;
        let session = attached["sessionId"].as_str().unwrap().to_owned();
        let page = Page { wire: self.wire.clone(), session };
        page.ask("Runtime.enable", json!({})).await;
        page.ask("Log.enable", json!({})).await;
        page.ask("Page.enable", json!({})).await;
        page.go(url).await;
        page
    }
}

async fn listen(mut incoming: SplitStream<Socket>, shared: Arc<Mutex<Shared>>) {
    while let Some(Ok(message)) = incoming.next().await {
        let Ok(text) = message.to_text() else { continue };
        let Ok(mut value) = serde_json::from_str::<Value>(text) else { continue };
        let mut shared = shared.lock().unwrap();
        if let Some(asked) = value["id"].as_u64().and_then(|id| shared.asked.remove(&id)) {
            // Whoever asked may have given up.
            let _ = asked.send(value);
            continue;
        }
        let session = value["sessionId"].as_str().unwrap_or_default().to_owned();
        let told = match value["method"].as_str() {
            Some("Runtime.consoleAPICalled") => value["params"]["args"].take(),
            Some("Runtime.exceptionThrown") => value["params"]["exceptionDetails"].take(),
            Some("Log.entryAdded") => value["params"]["entry"].take(),
            _ => continue,
        };
        shared.console.push((session, told.to_string()));
    }
}

impl Wire {
    async fn ask(&self, session: Option<&str>, method: &str, params: Value) -> Value {
        let (sender, answer) = oneshot::channel();
        {
            let (out, last) = &mut *self.out.lock().await;
            *last += 1;
            self.shared.lock().unwrap().asked.insert(*last, sender);
            let mut message = json!({ "id": *last, "method": method, "params": &params });
            if let Some(session) = session {
                message["sessionId"] = session.into();
            }
            out.send(Message::text(message.to_string())).await.expect("the browser runs");
        }
        let mut answer =
            timeout(LONG, answer).await.unwrap_or_else(|_| panic!("{method} is not answered: {params}")).unwrap();
        assert!(answer["error"].is_null(), "{method}: {}", answer["error"]);
        answer["result"].take()
    }
}

/// A page of a browser.
pub struct Page {
    wire: Arc<Wire>,
    session: String,
}

impl Page {
    /// A command of the DevTools protocol.
    pub async fn ask(&self, method: &str, params: Value) -> Value {
        self.wire.ask(Some(&self.session), method, params).await
    }

    /// Goes somewhere else, and returns when that is loaded.
    pub async fn go(&self, url: &str) {
        let gone = self.ask("Page.navigate", json!({ "url": url })).await;
        assert!(gone["errorText"].is_null(), "{url}: {}", gone["errorText"]);
        let loaded = "new Promise((done) => document.readyState === 'complete' ? done() : addEventListener('load', () => done()))";
        self.run(loaded).await;
    }

    /// Runs an expression, waits for what it promises, and returns it. Panics where it throws.
    pub async fn run(&self, expression: &str) -> Value {
        self.run_as(expression, false).await
    }

    /// The same as if the user had just done something: some doors open only then.
    pub async fn run_as_user(&self, expression: &str) -> Value {
        self.run_as(expression, true).await
    }

    async fn run_as(&self, expression: &str, user: bool) -> Value {
        let params = json!({
            "expression": expression, "awaitPromise": true, "returnByValue": true, "userGesture": user,
        });
        let mut answer = self.ask("Runtime.evaluate", params).await;
        let thrown = &answer["exceptionDetails"];
        assert!(thrown.is_null(), "{expression}\nthrew {thrown}\nthe page told {:#?}", self.console());
        answer["result"]["value"].take()
    }

    /// Presses a key of the keyboard, as a person does: it goes to what has the focus.
    pub async fn press(&self, key: &str) {
        let (code, text, number) = match key {
            "Tab" => ("Tab", "", 9),
            "Enter" => ("Enter", "\r", 13),
            " " => ("Space", " ", 32),
            "ArrowLeft" | "ArrowUp" | "ArrowRight" | "ArrowDown" => (
                key,
                "",
                37 + ["ArrowLeft", "ArrowUp", "ArrowRight", "ArrowDown"].iter().position(|k| *k == key).unwrap(),
            ),
            _ => ("", key, usize::from(key.as_bytes()[0])),
        };
        let mut event = json!({ "type": "keyDown", "key": key, "code": code, "windowsVirtualKeyCode": number });
        if !text.is_empty() {
            event["text"] = text.into();
        }
        self.ask("Input.dispatchKeyEvent", event.clone()).await;
        event["type"] = "keyUp".into();
        event.as_object_mut().unwrap().remove("text");
        self.ask("Input.dispatchKeyEvent", event).await;
    }

    /// What the page wrote to its console so far, and what it threw.
    #[must_use]
    pub fn console(&self) -> Vec<String> {
        let shared = self.wire.shared.lock().unwrap();
        shared.console.iter().filter(|(session, _)| *session == self.session).map(|(_, told)| told.clone()).collect()
    }

    /// What assistive technology is told: role and name of everything that has one, in order.
    pub async fn accessible(&self) -> Vec<(String, String)> {
        self.ask("Accessibility.enable", json!({})).await;
        let tree = self.ask("Accessibility.getFullAXTree", json!({})).await;
        let shown = tree["nodes"].as_array().unwrap().iter().filter(|node| node["ignored"] != true);
        let text = |value: &Value| value["value"].as_str().unwrap_or_default().to_owned();
        shown.map(|node| (text(&node["role"]), text(&node["name"]))).collect()
    }
}

/// A web server on a port of its own, with these pages: an origin.
pub struct Site {
    /// `http://127.0.0.1:…`
    pub origin: String,
}

impl Site {
    /// Serves files by their path: type, content.
    pub async fn serve(files: &[(&'static str, &'static str, String)]) -> Self {
        let files: HashMap<&str, (&str, String)> =
            files.iter().map(|(path, kind, text)| (*path, (*kind, text.clone()))).collect();
        let app = axum::Router::new().fallback(async move |uri: axum::http::Uri| match files.get(uri.path()) {
            Some((kind, text)) => Ok(([("content-type", *kind)], text.clone())),
            None => Err(axum::http::StatusCode::NOT_FOUND),
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { origin }
    }

    /// A customer's page: this element, and the library by its script tag from `library`, a host, or from the page's own
    /// origin. Its policy is the strictest that such a page can have.
    pub async fn customer(element: &str, library: Option<&str>) -> Self {
        let scripts = library.unwrap_or_default();
        let policy = format!(
            "default-src 'none'; script-src 'self' {scripts}; connect-src *; media-src blob:; \
             require-trusted-types-for 'script'"
        );
        let library = library.map_or_else(|| "/callbox.js".to_owned(), |host| format!("{host}/sdk/callbox.global.js"));
        let html = format!(
            "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>A customer</title>\
             <meta http-equiv=\"Content-Security-Policy\" content=\"{policy}\"><script src=\"/page.js\"></script>\
             <script src=\"{library}\"></script></head><body><main><h1>A customer</h1>{element}</main></body></html>"
        );
        let file = |path: &str| std::fs::read_to_string(crate::root().join(path)).unwrap();
        Self::serve(&[
            ("/", "text/html", html),
            ("/page.js", "text/javascript", file("tests/web/page.js")),
            ("/capture.js", "text/javascript", file("tests/web/capture.js")),
            ("/standin.js", "text/javascript", file("tests/web/standin.js")),
            ("/callbox.js", "text/javascript", file("web/sdk/dist/callbox.global.js")),
        ])
        .await
    }
}
