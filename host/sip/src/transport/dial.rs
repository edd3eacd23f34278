//! Connections that we open.

use super::connections::Slot;
use super::local::LocalAddresses;
use super::stream;
use crate::ua::{Flow, Transport};
use rustls::pki_types::ServerName;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long a connection may take to be opened, TLS included.
const PATIENCE: Duration = Duration::from_secs(10);

/// Opens the connection and serves it. The slot tells whoever waits when it comes to nothing.
pub(crate) async fn run(slot: Slot, flow: Flow) {
    let remote = slot.remote;
    let opened = timeout(PATIENCE, TcpStream::connect(remote)).await;
    let stream = match opened.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
        Ok(stream) => stream,
        Err(error) => return tracing::debug!(%remote, transport = %flow.transport, %error, "no connection"),
    };
    let _ = stream.set_nodelay(true);
    let local = stream.local_addr().map_or_else(
        |_| LocalAddresses::new(flow.local).towards(remote),
        // Our listener's port, not the one the system chose for this connection.
        |local| SocketAddr::new(local.ip(), flow.local.port()),
    );
    let flow = Flow { local, remote, connection: Some(slot.id), redial: None, ..flow };
    if flow.transport == Transport::Tcp {
        let (reader, writer) = stream.into_split();
        return stream::serve(slot, reader, writer, flow).await;
    }
    let shaken = timeout(PATIENCE, shake(&slot, stream, &flow)).await;
    match shaken.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
        Ok(stream) => {
            let (reader, writer) = tokio::io::split(stream);
            stream::serve(slot, reader, writer, flow).await;
        }
        // Told aloud: a certificate that does not fit is for the operator to mend.
        Err(error) => tracing::warn!(%remote, %error, "no TLS connection"),
    }
}

async fn shake(slot: &Slot, stream: TcpStream, flow: &Flow) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let connections = &slot.connections;
    let connector = connections.tls.connector().map_err(io::Error::other)?;
    let name = match flow.name {
        Some(name) => {
            let name =
                connections.names.get(name).ok_or_else(|| io::Error::other("the name of the peer is forgotten"))?;
            ServerName::try_from(name.as_ref()).map_err(io::Error::other)?.to_owned()
        }
        None => ServerName::from(slot.remote.ip()),
    };
    connector.connect(name, stream).await
}
