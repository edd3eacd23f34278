//! The listener: HTTP/1.1 with a limit of connections, and of time for a
//! request's head, so that slow clients cost little.

use crate::webrtc_guard::Peer;
use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use socket2::SockRef;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What one listener takes on.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// Connections at once; more wait in the listener's queue.
    connections: usize,
    /// Longest time for a request's head, and for a connection without a request.
    head: Duration,
    /// A client that takes nothing of an answer for so long is gone.
    unread: Duration,
    /// Largest head of a request.
    head_bytes: usize,
}

const LIMITS: Limits = Limits {
    connections: 1_024,
    head: Duration::from_secs(15),
    unread: Duration::from_secs(30),
    head_bytes: 32 * 1024,
};

/// Serves `router` until `stop`; then takes no more connections, and returns when
/// the requests at hand are answered.
pub async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) {
    serve_within(LIMITS, listener, router, stop).await;
}

async fn serve_within(limits: Limits, listener: TcpListener, router: Router, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(limits.connections));
    let connections = TaskTracker::new();
    loop {
        let accepted = async {
            // The semaphore is never closed.
            let place = places.clone().acquire_owned().await.ok()?;
            Some((place, listener.accept().await))
        };
        let (place, stream) = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accepted => match accepted {
                Some((place, Ok((stream, _)))) => (place, stream),
                Some((_, Err(error))) => {
                    // Mostly: no file descriptor is free. It passes, and must not spin.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
                None => break,
            },
        };
        let (router, stop) = (router.clone(), stop.clone());
        connections.spawn(async move {
            connection(limits, stream, router, stop).await;
            drop(place);
        });
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

async fn connection(limits: Limits, stream: TcpStream, router: Router, stop: CancellationToken) {
    // Both only make it better.
    let _ = stream.set_nodelay(true);
    let _ = SockRef::from(&stream).set_tcp_user_timeout(Some(limits.unread));
    let peer = stream.peer_addr().map(Peer).ok();
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        if let Some(peer) = peer {
            request.extensions_mut().insert(peer);
        }
        router.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_buf_size(limits.head_bytes)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "a connection ended early");
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;
    use axum::routing::get;
    use std::net::SocketAddr;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::Notify;
    use tokio::task::JoinHandle;
    use tokio::time::timeout;

    const SOON: Duration = Duration::from_secs(10);

    async fn served(limits: Limits, router: Router) -> (SocketAddr, CancellationToken, JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
        let serving = tokio::spawn(serve_within(limits, listener, router, stop.clone()));
        (address, stop, serving)
    }

    fn hello() -> Router {
        Router::new().route("/", get(async || "hello"))
    }

    async fn read(stream: &mut TcpStream) -> String {
        let mut all = Vec::new();
        // A reset says the same as an end.
        let _ = timeout(SOON, stream.read_to_end(&mut all)).await.expect("it is closed in time");
        String::from_utf8(all).unwrap()
    }

    async fn ask(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        read(&mut stream).await
    }

    const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";

    #[tokio::test]
    async fn a_slow_head_and_an_idle_connection_are_closed() {
        let (address, ..) = served(Limits { head: Duration::from_millis(100), ..LIMITS }, hello()).await;
        for begun in ["", "GET", "GET / HTTP/1.1\r\nhost: a\r\n", "GET / HTTP/1.1\r\nhost: a\r\n\r\n"] {
            let answer = ask(address, begun).await;
            assert_eq!(answer.contains("200 OK"), begun.ends_with("\r\n\r\n"), "{begun:?}: {answer}");
        }
        assert!(ask(address, GET).await.ends_with("hello"));
    }

    #[tokio::test]
    async fn a_head_that_does_not_end_is_refused() {
        let (address, ..) = served(Limits { head_bytes: 8_192, ..LIMITS }, hello()).await;
        let long = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "a".repeat(20_000));
        let answer = ask(address, &long).await;
        assert!(answer.is_empty() || answer.contains(" 431 "), "{answer}");
        let many = format!("GET / HTTP/1.1\r\nhost: a\r\n{}\r\n", "x: y\r\n".repeat(1_000));
        let answer = ask(address, &many).await;
        assert!(answer.is_empty() || answer.contains(" 431 "), "{answer}");
        assert!(ask(address, GET).await.ends_with("hello"));
    }

    #[tokio::test]
    async fn more_connections_than_places_wait() {
        let limits = Limits { connections: 1, head: Duration::from_millis(200), ..LIMITS };
        let (address, ..) = served(limits, hello()).await;
        let mut idle = TcpStream::connect(address).await.unwrap();
        assert!(ask(address, GET).await.ends_with("hello"), "served when the idle one has lost its place");
        assert_eq!(read(&mut idle).await, "");
    }

    #[tokio::test]
    async fn a_stop_answers_what_is_at_hand() {
        let (begun, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let slow = {
            let (begun, go) = (begun.clone(), go.clone());
            async move || {
                begun.notify_one();
                go.notified().await;
                "done"
            }
        };
        let (address, stop, serving) = served(LIMITS, Router::new().route("/", get(slow))).await;
        let answer = tokio::spawn(ask(address, "GET / HTTP/1.1\r\nhost: a\r\n\r\n"));
        begun.notified().await;
        stop.cancel();
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
        go.notify_one();
        assert!(answer.await.unwrap().ends_with("done"));
        timeout(SOON, serving).await.expect("it ends").unwrap();
    }
}
