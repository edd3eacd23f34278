//! The thread on which callers speak and hear.
//!
//! A telephone has a chip that sends a packet every 20 ms, whatever else goes on. Tests share a machine with other tests;
//! so their telephones are on a thread that comes before what computes, where that is permitted, as the media threads of
//! a host do. What a caller sends is then as even as a telephone's, and what goes wrong with it is the host's.

use std::sync::LazyLock;
use tokio::net::UdpSocket;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

/// The priority of the media threads of a host.
const NICE: i32 = -10;

static HANDSETS: LazyLock<Runtime> = LazyLock::new(|| {
    let first = || {
        // Without the permission they are as late as everybody.
        let _ = rustix::process::nice(NICE);
    };
    Builder::new_multi_thread().worker_threads(1).on_thread_start(first).enable_all().build().unwrap()
});

/// Lets somebody speak and hear by this socket.
pub(crate) fn live<F>(socket: UdpSocket, life: impl FnOnce(UdpSocket) -> F + Send + 'static) -> JoinHandle<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    let socket = socket.into_std().unwrap();
    HANDSETS.spawn(async move { life(UdpSocket::from_std(socket).unwrap()).await })
}
