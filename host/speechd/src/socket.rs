//! WebSockets (RFC 6455), answered from within axum.

use crate::refuse;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use futures_util::{SinkExt as _, StreamExt as _};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::collections::BTreeMap;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Bytes, Message, Utf8Bytes};

/// Bytes of a message.
const MAX_MESSAGE: usize = 1 << 20;

/// What comes over a socket.
pub(crate) enum Came {
    Text(Utf8Bytes),
    Binary(Bytes),
}

/// A client's WebSocket.
pub(crate) struct Socket(WebSocketStream<TokioIo<Upgraded>>);

impl Socket {
    /// What comes next; none when the client is gone.
    pub(crate) async fn next(&mut self) -> Option<Came> {
        loop {
            match self.0.next().await?.ok()? {
                Message::Text(text) => return Some(Came::Text(text)),
                Message::Binary(bytes) => return Some(Came::Binary(bytes)),
                Message::Close(_) => return None,
                Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
            }
        }
    }

    /// Sends JSON; whether the client is still there.
    pub(crate) async fn text(&mut self, message: &Value) -> bool {
        self.0.send(Message::text(message.to_string())).await.is_ok()
    }

    /// Sends audio; whether the client is still there.
    pub(crate) async fn binary(&mut self, bytes: Vec<u8>) -> bool {
        self.0.send(Message::binary(bytes)).await.is_ok()
    }

    /// Ends the connection as it should be ended.
    pub(crate) async fn close(mut self) {
        // The client may have been faster.
        let _ = self.0.close(None).await;
    }
}

/// Takes the connection over, if that is what the request asks for, and serves it in a task of its own.
pub(crate) fn accept<F>(mut request: Request, serve: impl FnOnce(Socket) -> F + Send + 'static) -> Response
where
    F: Future<Output = ()> + Send + 'static,
{
    let Some(accepted) = accepted(request.headers()) else {
        return refuse(StatusCode::UPGRADE_REQUIRED, "this is for WebSockets");
    };
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        match upgrade.await {
            Ok(upgraded) => {
                let config = WebSocketConfig::default()
                    .max_message_size(Some(MAX_MESSAGE))
                    .max_frame_size(Some(MAX_MESSAGE))
                    .write_buffer_size(0);
                let io = TokioIo::new(upgraded);
                serve(Socket(WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await)).await;
            }
            Err(error) => tracing::debug!(%error, "a client went before its WebSocket was open"),
        }
    });
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accepted);
    response
}

/// The answer to the client's key, if the request is one for a WebSocket.
fn accepted(headers: &HeaderMap) -> Option<HeaderValue> {
    let has = |name, token: &str| {
        let value = headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok()).unwrap_or_default();
        value.split(',').any(|part| part.trim().eq_ignore_ascii_case(token))
    };
    if !has(header::CONNECTION, "upgrade") || !has(header::UPGRADE, "websocket") {
        return None;
    }
    let key = headers.get(header::SEC_WEBSOCKET_KEY)?;
    HeaderValue::from_str(&derive_accept_key(key.as_bytes())).ok()
}

/// The parameters of a request's query: the last of each name, and all `keyterm`s.
pub(crate) fn parameters(request: &Request) -> (BTreeMap<String, String>, Vec<String>) {
    let query = request.uri().query().unwrap_or_default();
    let pairs = url::form_urlencoded::parse(query.as_bytes());
    let all: Vec<(String, String)> = pairs.map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
    let terms = all.iter().filter(|(name, _)| name == "keyterm").map(|(_, value)| value.clone()).collect();
    (all.into_iter().collect(), terms)
}
