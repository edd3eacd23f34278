//! What can go wrong for whoever uses the stack.

use std::io;
use std::net::SocketAddr;

/// Why a command was not carried out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SipError {
    /// A listener could not be opened.
    #[error("cannot listen on {transport} {address}: {source}; is another program using the port?")]
    Bind {
        /// `udp` or `tcp`.
        transport: Transport,
        /// The address of the configuration.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// There is no way to the Homer server that messages are to be copied to.
    #[error("messages cannot be copied to {address}: {source}")]
    Homer {
        /// As configured.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The configuration names no listener.
    #[error("no SIP listener configured: give at least one UDP or TCP address")]
    NoListener,
    /// A part of the TLS configuration cannot be used.
    #[error("TLS cannot be set up: {part}: {why}")]
    Tls {
        /// Which part: a field of [`TlsConfig`](crate::TlsConfig).
        part: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// The system gave no random seed.
    #[error("the system gave no randomness: {0}")]
    Randomness(io::Error),
    /// The dialog is over; nothing can be sent in it any more.
    #[error("the call is over")]
    Ended,
    /// The dialog is not in a state for this command.
    #[error("{0} is not possible now")]
    NotNow(&'static str),
    /// Not one of `0`–`9`, `*`, `#`, `A`–`D`.
    #[error("{0:?} is no key of a telephone")]
    Digit(char),
    /// The target of a call or transfer is no URI we can call.
    #[error("cannot call {uri}: {why}")]
    Target {
        /// What was asked for.
        uri: String,
        /// What is wrong with it.
        why: String,
    },
    /// The host of the target has no address.
    #[error("cannot find the host {host}: {why}")]
    Resolve {
        /// The name that was looked up.
        host: String,
        /// What the resolver said.
        why: String,
    },
    /// A header that the caller may not set, or whose name or value cannot stand in a message.
    #[error("header {name:?} cannot be sent: {why}")]
    Header {
        /// Its name as given.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Nothing came back from this server.
    #[error("no answer from {0}")]
    Unanswered(String),
    /// The registration to call by does not stand at the moment, or is gone.
    #[error("not registered")]
    NotRegistered,
    /// As many calls as the limit allows are up.
    #[error("too many calls: the limit is {0}")]
    TooManyCalls(usize),
    /// The host is shutting down.
    #[error("the SIP stack is shutting down")]
    Closed,
}

use super::flow::Transport;
