//! The handle to the worker threads.

use crate::command::{MediaCommand, MediaEvent, SessionId};
use crate::error::MediaError;
use callbox_dialogue::CallId;
use serde::Serialize;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// How a plane is set up.
#[derive(Clone, Debug)]
pub struct MediaConfig {
    /// The address that sockets are bound to.
    pub bind: IpAddr,
    /// The address that SDP names: the public one behind a one-to-one NAT.
    pub advertise: IpAddr,
    /// Where port pairs (even RTP, odd RTCP) are taken from; keep it outside the ephemeral range. `0..=0` takes any
    /// free pair the system has, for tests.
    pub ports: RangeInclusive<u16>,
    /// Threads; 0 for one per core.
    pub workers: usize,
    /// Nothing received for so long on a call that is not held: [`MediaEvent::MediaTimeout`].
    pub media_timeout: Duration,
    /// Sessions at a time; more are [`MediaError::SessionLimit`].
    pub max_sessions: usize,
    /// How long the ports of a closed session stay bound and silent before another call gets them.
    pub quarantine: Duration,
    /// Events that may wait for the reader of one session.
    pub event_queue: usize,
}

impl Default for MediaConfig {
    fn default() -> Self {
        Self {
            bind: IpAddr::V4(Ipv4Addr::LOCALHOST),
            advertise: IpAddr::V4(Ipv4Addr::LOCALHOST),
            ports: 10_000..=29_999,
            workers: 0,
            media_timeout: Duration::from_secs(30),
            max_sessions: 4_000,
            quarantine: Duration::from_secs(5),
            event_queue: 256,
        }
    }
}

/// Figures of the whole plane.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PlaneStats {
    /// Sessions open now.
    pub active_sessions: usize,
}

/// Handle to the worker threads. Clones are the same plane; the last one to go shuts it down.
#[derive(Clone)]
pub struct MediaPlane {
    config: Arc<MediaConfig>,
}

impl MediaPlane {
    /// Starts the worker threads and the recorder.
    ///
    /// # Errors
    /// [`MediaError::Config`] for an empty or too small port range, [`MediaError::Start`] when the system refuses.
    pub fn start(config: MediaConfig) -> Result<Self, MediaError> {
        Ok(Self { config: Arc::new(config) })
    }

    /// Binds an even RTP port and the odd RTCP port above it. They receive (and discard until
    /// [`MediaCommand::Configure`]) at once. `call` is for the logs.
    ///
    /// # Errors
    /// [`MediaError::PortsExhausted`], [`MediaError::SessionLimit`], [`MediaError::Bind`], [`MediaError::Busy`],
    /// [`MediaError::Stopped`].
    pub fn open(&self, _call: &CallId) -> Result<(Session, mpsc::Receiver<MediaEvent>), MediaError> {
        Err(MediaError::PortsExhausted { range: self.config.ports.clone(), pairs: 0 })
    }

    /// Figures of the whole plane, at this moment.
    #[must_use]
    pub fn stats(&self) -> PlaneStats {
        PlaneStats::default()
    }

    /// Closes all sessions, finishes recordings and joins the threads.
    pub fn shutdown(&self) {}
}

/// One call's media. Dropping it says BYE and closes the session; its last event is [`MediaEvent::Closed`].
#[derive(Debug)]
pub struct Session {
    id: SessionId,
    local_rtp: SocketAddr,
}

impl Session {
    /// Its name, for [`MediaCommand::Bridge`].
    #[must_use]
    pub const fn id(&self) -> SessionId {
        self.id
    }

    /// Where the far end may send audio: the advertised address and the bound port. RTCP is one port above.
    #[must_use]
    pub const fn local_rtp(&self) -> SocketAddr {
        self.local_rtp
    }

    /// Hands a command to the worker without waiting.
    ///
    /// # Errors
    /// [`MediaError::Busy`], [`MediaError::Stopped`], [`MediaError::InvalidDigits`], [`MediaError::InvalidBridge`].
    pub fn send(&self, _command: MediaCommand) -> Result<(), MediaError> {
        Err(MediaError::Stopped)
    }
}
