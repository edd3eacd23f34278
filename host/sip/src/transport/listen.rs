//! Opening the listeners.

use super::accept::{self, Door, Handshakes};
use super::connections::Connections;
use super::local::LocalAddresses;
use super::stack::{PublicAddress, SipConfig};
use super::{Control, public_host, udp};
use crate::ua::{Listener, SipError, Transport};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// The open listeners. Their readers run until the tasks are dropped.
#[derive(Default)]
pub(crate) struct Listening {
    pub(crate) listeners: Vec<Listener>,
    /// By listener index; `None` for those with connections.
    pub(crate) sockets: Vec<Option<std::net::UdpSocket>>,
    pub(crate) tasks: JoinSet<()>,
}

/// Opens all listeners of the configuration.
///
/// # Errors
/// [`SipError::Bind`] naming the address that is taken or not ours, [`SipError::NoListener`],
/// [`SipError::Target`] for a public host that is none.
pub(crate) fn open(
    config: &SipConfig,
    connections: &Arc<Connections>,
    control: &mpsc::Sender<Control>,
) -> Result<Listening, SipError> {
    let mut listening = Listening::default();
    for &address in &config.udp {
        let bind = |source| SipError::Bind { transport: Transport::Udp, address, source };
        let (socket, sender) = udp::bind(address).map_err(bind)?;
        let bound = socket.local_addr().map_err(bind)?;
        let reader = udp::Reader {
            socket,
            listener: listening.listeners.len(),
            ingress: connections.ingress.clone(),
            locals: LocalAddresses::new(bound),
            limits: config.limits.clone(),
            sources: config.sources.clone(),
            control: control.clone(),
        };
        listening.tasks.spawn(reader.run());
        listening.add(Transport::Udp, address, bound, Some(sender), &config.public)?;
    }
    let handshakes = Arc::new(Handshakes::default());
    let origins: Arc<[String]> = config.ws_origins.clone().into();
    for (transport, addresses) in [
        (Transport::Tcp, &config.tcp),
        (Transport::Tls, &config.tls),
        (Transport::Ws, &config.ws),
        (Transport::Wss, &config.wss),
    ] {
        for &address in addresses {
            let bind = |source| SipError::Bind { transport, address, source };
            let listener = accept::bind(address).map_err(bind)?;
            let bound = listener.local_addr().map_err(bind)?;
            let door = Door {
                transport,
                index: listening.listeners.len(),
                connections: connections.clone(),
                handshakes: handshakes.clone(),
                origins: origins.clone(),
            };
            listening.tasks.spawn(accept::accept(listener, door));
            listening.add(transport, address, bound, None, &config.public)?;
        }
    }
    if listening.listeners.is_empty() { Err(SipError::NoListener) } else { Ok(listening) }
}

impl Listening {
    fn add(
        &mut self,
        transport: Transport,
        configured: SocketAddr,
        bound: SocketAddr,
        socket: Option<std::net::UdpSocket>,
        public: &[PublicAddress],
    ) -> Result<(), SipError> {
        let public = public.iter().find(|public| public.transport == transport && public.listener == configured);
        let public = public.map(|public| {
            let host = public_host(&public.host)?;
            Ok(public.port.map_or_else(|| host.clone(), |port| format!("{host}:{port}")))
        });
        self.listeners.push(Listener { transport, address: bound, public: public.transpose()? });
        self.sockets.push(socket);
        Ok(())
    }
}
