//! SIP over WebSocket (RFC 7118): the upgrade of a connection, and serving it.

use super::connections::{Connections, Slot, wrote};
use super::ingress::Arrival;
use super::keepalive::Keepalive;
use crate::ua::Flow;
use crate::wire::MAX_MESSAGE;
use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::{HeaderMap, HeaderValue, StatusCode, header};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

/// How long one message may take to be written.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest time between two pings: proxies of the web close what is silent for a minute.
const PING: Duration = Duration::from_secs(30);

/// Answers the HTTP request that opens a WebSocket.
///
/// # Errors
/// What is no such request, does not offer the sub-protocol `sip` (RFC 7118 §4.2: 400), or comes from a web page that
/// is not among `origins` (403).
pub(crate) async fn upgrade<S>(stream: S, origins: &[String]) -> io::Result<WebSocketStream<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let config = WebSocketConfig::default()
        .read_buffer_size(4_096)
        .write_buffer_size(0)
        .max_write_buffer_size(4 * MAX_MESSAGE)
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE));
    #[allow(clippy::result_large_err, reason = "the library asks for it")]
    let check = |request: &Request, mut response: Response| match admits(request.headers(), origins) {
        Ok(()) => {
            response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("sip"));
            Ok(response)
        }
        Err((status, why)) => {
            let mut refusal = ErrorResponse::new(Some(why.to_owned()));
            *refusal.status_mut() = status;
            Err(refusal)
        }
    };
    tokio_tungstenite::accept_hdr_async_with_config(stream, check, Some(config)).await.map_err(io::Error::other)
}

fn admits(headers: &HeaderMap, origins: &[String]) -> Result<(), (StatusCode, &'static str)> {
    let offered = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|line| line.to_str().ok());
    if !offered.flat_map(|line| line.split(',')).any(|name| name.trim().eq_ignore_ascii_case("sip")) {
        return Err((StatusCode::BAD_REQUEST, "offer the sub-protocol sip (RFC 7118)"));
    }
    // Only browsers send it, and they cannot lie about it (RFC 6455 §10.2).
    match headers.get(header::ORIGIN) {
        Some(origin) if !origins.is_empty() => {
            let known = origins.iter().any(|known| origin.as_bytes().eq_ignore_ascii_case(known.as_bytes()));
            if known { Ok(()) } else { Err((StatusCode::FORBIDDEN, "this web page may not call here")) }
        }
        _ => Ok(()),
    }
}

/// Reads and writes until either side has enough.
pub(crate) async fn serve<S>(mut slot: Slot, socket: WebSocketStream<S>, flow: Flow)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut sink, stream) = socket.split();
    let (control, mut controls) = mpsc::channel::<Message>(4);
    let connections = slot.connections.clone();
    let mut writing = None;
    let (queue, written) = (&mut slot.queue, &mut slot.written);
    let write = async {
        loop {
            let sent = tokio::select! {
                out = queue.recv() => {
                    let Some(out) = out else { return };
                    let bytes = writing.insert(out).bytes.clone();
                    send(&mut sink, message(bytes)).await
                }
                Some(message) = controls.recv() => send(&mut sink, message).await,
            };
            if !sent {
                return;
            }
            if let Some(out) = writing.take() {
                wrote(written, &out);
            }
        }
    };
    let keepalive =
        Keepalive::strict(Instant::now(), slot.id, connections.keepalive.min(PING), connections.limits.tcp_idle);
    let read = read(stream, flow, &connections, control, keepalive);
    tokio::select! {
        () = write => {}
        () = read => {}
    }
    drop(slot);
    if let Some(unsent) = writing {
        connections.unsent(unsent);
    }
    let _ = timeout(Duration::from_millis(100), sink.close()).await;
}

async fn send<S>(sink: &mut SplitSink<WebSocketStream<S>, Message>, message: Message) -> bool
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    matches!(timeout(PATIENCE, sink.send(message)).await, Ok(Ok(())))
}

/// Text where it is text: browsers show it, and some clients know nothing else.
fn message(bytes: Bytes) -> Message {
    match Utf8Bytes::try_from(bytes.clone()) {
        Ok(text) => Message::Text(text),
        Err(_) => Message::Binary(bytes),
    }
}

async fn read<S>(
    mut stream: SplitStream<WebSocketStream<S>>,
    flow: Flow,
    connections: &Connections,
    control: mpsc::Sender<Message>,
    mut keepalive: Keepalive,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        let bytes = match timeout_at(keepalive.next(), stream.next()).await {
            Ok(Some(Ok(message))) => {
                keepalive.heard(Instant::now());
                match message {
                    Message::Text(text) => Bytes::from(text),
                    Message::Binary(bytes) => bytes,
                    Message::Pong(_) => {
                        keepalive.ponged();
                        continue;
                    }
                    // Answered by the library, with the next thing that is read or written.
                    Message::Ping(_) | Message::Frame(_) => continue,
                    Message::Close(_) => return,
                }
            }
            Ok(Some(Err(error))) => {
                if !matches!(error, Error::ConnectionClosed | Error::AlreadyClosed) {
                    tracing::debug!(remote = %flow.remote, %error, "a WebSocket broke");
                }
                return;
            }
            Ok(None) => return,
            Err(_) => {
                if !keepalive.due(Instant::now()) {
                    return;
                }
                let _ = control.try_send(Message::Ping(Bytes::new()));
                continue;
            }
        };
        keepalive.message();
        if bytes.iter().all(|&b| matches!(b, b'\r' | b'\n')) {
            // The keep-alive of streams, which some clients send here, too.
            if bytes.len() == 4 {
                let _ = control.try_send(Message::Text(Utf8Bytes::from_static("\r\n")));
            }
            continue;
        }
        connections.ingress.push_or_wait(Arrival { bytes, flow, at: super::now() }).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted(lines: &[(&'static str, &'static str)], origins: &[&str]) -> u16 {
        let origins: Vec<String> = origins.iter().map(|&origin| origin.to_owned()).collect();
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        admits(&headers, &origins).map_or_else(|(status, _)| status.as_u16(), |()| 101)
    }

    #[test]
    fn the_sub_protocol_and_the_origin_decide() {
        let sip = ("sec-websocket-protocol", "chat, SIP");
        assert_eq!(admitted(&[sip], &[]), 101);
        assert_eq!(admitted(&[("sec-websocket-protocol", "chat"), ("sec-websocket-protocol", "sip")], &[]), 101);
        assert_eq!(admitted(&[("sec-websocket-protocol", "sipx")], &[]), 400);
        assert_eq!(admitted(&[], &[]), 400);
        let page = ("origin", "https://phone.example");
        assert_eq!(admitted(&[sip, page], &[]), 101);
        assert_eq!(admitted(&[sip, page], &["https://PHONE.example"]), 101);
        assert_eq!(admitted(&[sip, page], &["https://other.example"]), 403);
        assert_eq!(admitted(&[sip], &["https://other.example"]), 101, "no browser");
    }
}
