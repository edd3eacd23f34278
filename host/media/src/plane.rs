//! The handle to the worker threads, and the handle of a session.

use crate::bridge::Bridge;
use crate::capture::{Captures, Local};
use crate::clip::Clip;
use crate::codec::Codec;
use crate::command::{MediaCommand, MediaEvent, SessionId};
use crate::dtls::Credentials;
use crate::dtmf;
use crate::error::MediaError;
use crate::histogram::{Histogram, Percentiles};
use crate::ports::Ports;
use crate::recorder::Recorder;
use crate::security::Fingerprint;
use crate::stream::{Identity, Stream};
use crate::webrtc::gate::{Gate, PARCELS, Parcel};
use crate::webrtc::reach::{Bound, Reach};
use crate::webrtc::{
    self, Answer, Browser, IceAnswer, IceFragment, Offer, Question, Reply, WebRtcConfig, WebRtcPolicy, names,
};
use crate::worker::{Asked, Common, Gauges, Link, Opened, Opening, Order, WAKER, Worker};
use callbox_dialogue::CallId;
use callbox_webrtc::Peer;
use crossbeam_channel::{Sender, TrySendError, bounded};
use mio::{Poll, Waker};
use rustix::process::{Resource, getrlimit, setrlimit};
use serde::Serialize;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::{mpsc, oneshot};

/// Commands that may wait for one worker.
const ORDERS: usize = 8_192;
/// Commands that one session may have among them, so that a wild one does not shut out the others.
const ORDERS_A_SESSION: usize = 512;
/// Seconds from 1900, where NTP begins, to 1970.
const NTP_UNIX: u64 = 2_208_988_800;

/// How a plane is set up.
#[derive(Clone, Debug)]
pub struct MediaConfig {
    /// The address that sockets are bound to.
    pub bind: IpAddr,
    /// The address that SDP names: the public one behind a one-to-one NAT. Unspecified on a host with several: then
    /// whoever writes the SDP names the one that its far end reaches.
    pub advertise: IpAddr,
    /// The same in the other family of addresses, where far ends of both are served: every session has its ports in
    /// both, and uses that of the far end. It costs a session two more file descriptors.
    pub other: Option<OtherFamily>,
    /// Where port pairs (even RTP, odd RTCP) are taken from; keep it outside the ephemeral range. `0..=0` takes any
    /// free pair the system has, for tests.
    pub ports: RangeInclusive<u16>,
    /// Threads; 0 for one per core.
    pub workers: usize,
    /// Nothing received for so long on a call that is not held: [`MediaEvent::MediaTimeout`].
    pub media_timeout: Duration,
    /// Sessions at a time; more are [`MediaError::SessionLimit`].
    pub max_sessions: usize,
    /// How long the ports of a closed session stay bound and silent before another call gets them; less where ports
    /// are scarce.
    pub quarantine: Duration,
    /// Events that may wait for the reader of one session.
    pub event_queue: usize,
    /// How hard Opus tries, 0 to 10. It is clearer from 4 on, and costs 2.6 times as much there, 4.8 times at 10.
    pub opus_complexity: u8,
    /// How browsers reach the plane; none for not at all.
    pub webrtc: Option<WebRtcConfig>,
}

/// Addresses of a second family: IPv6 beside IPv4, or the reverse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OtherFamily {
    /// The address that sockets are bound to.
    pub bind: IpAddr,
    /// The address that SDP names; unspecified as in [`MediaConfig::advertise`].
    pub advertise: IpAddr,
}

impl Default for MediaConfig {
    fn default() -> Self {
        Self {
            bind: IpAddr::V4(Ipv4Addr::LOCALHOST),
            advertise: IpAddr::V4(Ipv4Addr::LOCALHOST),
            other: None,
            ports: 10_000..=29_999,
            workers: 0,
            media_timeout: Duration::from_secs(30),
            max_sessions: 4_000,
            quarantine: Duration::from_secs(5),
            event_queue: 256,
            opus_complexity: 0,
            webrtc: None,
        }
    }
}

/// Figures of the whole plane since it started.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PlaneStats {
    /// Sessions open now.
    pub active_sessions: usize,
    /// Port pairs of the range.
    pub port_pairs: usize,
    /// Of these, neither in use nor at rest after a call.
    pub free_port_pairs: usize,
    /// Datagrams received, strangers' included.
    pub packets_received: u64,
    /// RTP packets sent.
    pub packets_sent: u64,
    /// RTP packets that the system did not take.
    pub send_errors: u64,
    /// Datagrams that were not the far end's, or no RTP.
    pub rejected: u64,
    /// Packets left out because a thread was too late for them.
    pub skipped: u64,
    /// Datagrams of browsers that came to another thread than the one that has the session, and were handed on.
    pub handed_on: u64,
    /// How late packets left against their schedule.
    pub lateness: Percentiles,
    /// The time between two packets of a call. 20 ms at the usual packet time.
    pub gaps: Percentiles,
}

/// Handle to the worker threads. Clones are the same plane; the last one to go shuts it down.
#[derive(Clone)]
pub struct MediaPlane {
    inner: Arc<Inner>,
}

struct Inner {
    config: MediaConfig,
    common: Arc<Common>,
    workers: Arc<[Handle]>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    recorder: Mutex<Option<(Recorder, JoinHandle<()>)>>,
    captures: Mutex<Option<(Captures, JoinHandle<()>)>>,
    next_session: AtomicU64,
    stopped: AtomicBool,
}

/// The way to a worker.
pub(crate) struct Handle {
    orders: Sender<Order>,
    /// Datagrams of browsers that came to others.
    pub(crate) parcels: Option<Sender<Parcel>>,
    waker: Waker,
    gauges: Arc<Gauges>,
}

impl Handle {
    /// Gives it an order.
    pub(crate) fn order(&self, order: Order) -> Result<(), MediaError> {
        self.orders.try_send(order).map_err(|error| match error {
            TrySendError::Full(_) => MediaError::Busy,
            TrySendError::Disconnected(_) => MediaError::Stopped,
        })?;
        self.wake();
        Ok(())
    }

    /// Has it look at what waits.
    pub(crate) fn wake(&self) {
        // One wake-up is enough for all orders given until the worker looks.
        if !self.gauges.woken.swap(true, Ordering::SeqCst) {
            // It fails only when the descriptor is gone, and with it the worker.
            let _ = self.waker.wake();
        }
    }
}

impl MediaPlane {
    /// Starts the worker threads and the recorder.
    ///
    /// # Errors
    /// [`MediaError::Config`] for a port range without a pair, [`MediaError::Bind`] for an address that is not ours,
    /// [`MediaError::Start`] when the system refuses threads or descriptors.
    #[allow(clippy::disallowed_methods, reason = "the edge where the clock is read")]
    pub fn start(config: MediaConfig) -> Result<Self, MediaError> {
        let failed = |what| move |source| MediaError::Start { what, source };
        if let Some(other) = config.other
            && [other.bind, other.advertise].iter().any(|ip| ip.is_ipv4() == config.bind.is_ipv4())
        {
            let (bind, other) = (config.bind, other.bind);
            return Err(MediaError::Config(format!("{bind} and {other} are not one address of each family")));
        }
        let ports = Ports::new(config.bind, config.ports.clone())?.and_on(config.other.map(|other| other.bind));
        // An address that is not ours is told now, not with the first call.
        ports.check_address()?;
        check_room(&config, ports.count().0);
        let (recorder, recorder_thread) = Recorder::start().map_err(failed("the recorder's thread"))?;
        let (captures, captures_thread) = Captures::start().map_err(failed("the capture's thread"))?;
        let count = match config.workers {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            count => count,
        }
        .min(usize::from(u16::MAX));
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let start = Instant::now();
        let credentials = Credentials::generate(start)?;
        let (reach, bound) = match &config.webrtc {
            Some(webrtc) => {
                let (reach, bound) = Reach::bind(webrtc.clone(), count, webrtc::peers(webrtc, &credentials, start))?;
                (Some(Arc::new(reach)), bound)
            }
            None => (None, Bound::default()),
        };
        let common = Arc::new(Common {
            ports,
            quarantine: config.quarantine,
            media_timeout: config.media_timeout,
            start,
            ntp_start: crate::rtcp::ntp_span(since_1970 + Duration::from_secs(NTP_UNIX)),
            sessions: AtomicUsize::new(0),
            files: AtomicU64::new(0),
            recorder: recorder.clone(),
            captures: captures.clone(),
            unix_start: since_1970,
            credentials,
            reach,
        });
        let (mut handles, mut polls, mut threads) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..count {
            let poll = Poll::new().map_err(failed("epoll"))?;
            let waker = Waker::new(poll.registry(), WAKER).map_err(failed("an event descriptor"))?;
            let (orders, inbox) = bounded(ORDERS);
            let gauges = Arc::new(Gauges::default());
            let (parcels, parcel_inbox) = common.reach.as_ref().map(|_| bounded(PARCELS)).unzip();
            handles.push(Handle { orders, parcels, waker, gauges: Arc::clone(&gauges) });
            polls.push((poll, inbox, gauges, parcel_inbox));
        }
        // Workers pass on to each other what came to the wrong one.
        let workers: Arc<[Handle]> = handles.into();
        let (mut udp, mut tcp) = (bound.udp.into_iter(), Some(bound.tcp));
        for (n, (poll, inbox, gauges, parcels)) in polls.into_iter().enumerate() {
            let mut worker = Worker::new(poll, inbox, gauges, Arc::clone(&common));
            if let (Some(reach), Some(parcels)) = (&common.reach, parcels) {
                // One takes all connections: there are few, and each goes to the worker that has its call.
                let (udp, tcp) = (udp.next().unwrap_or_default(), tcp.take().unwrap_or_default());
                let (reach, workers) = (Arc::clone(reach), Arc::clone(&workers));
                let gate = Gate::new(n as u16, reach, udp, tcp, parcels, workers, worker.registry());
                worker = worker.with_gate(gate.map_err(failed("the port of WebRTC"))?);
            }
            let thread = std::thread::Builder::new()
                .name(format!("media-{n}"))
                .spawn(move || worker.run())
                .map_err(failed("a worker's thread"))?;
            threads.push(thread);
        }
        let inner = Inner {
            config,
            common,
            workers,
            threads: Mutex::new(threads),
            recorder: Mutex::new(Some((recorder, recorder_thread))),
            captures: Mutex::new(Some((captures, captures_thread))),
            next_session: AtomicU64::new(1),
            stopped: AtomicBool::new(false),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Binds an even RTP port and the odd RTCP port above it. They receive (and discard until
    /// [`MediaCommand::Configure`]) at once. `call` is for the logs.
    ///
    /// # Errors
    /// [`MediaError::PortsExhausted`], [`MediaError::SessionLimit`], [`MediaError::Bind`], [`MediaError::Busy`],
    /// [`MediaError::Stopped`].
    pub fn open(&self, call: &CallId) -> Result<(Session, mpsc::Receiver<MediaEvent>), MediaError> {
        let inner = &*self.inner;
        let identity = identity()?;
        let placed = self.place()?;
        let pair = inner.common.ports.open()?;
        let port = pair.port;
        let opened = self.start_session(call, placed, identity, Opened::Ports(pair), port);
        if opened.is_err() {
            inner.common.ports.release(port);
        }
        opened
    }

    /// A place for a session, and the worker that will have it.
    fn place(&self) -> Result<Placed<'_>, MediaError> {
        let inner = &*self.inner;
        if inner.stopped.load(Ordering::Relaxed) {
            return Err(MediaError::Stopped);
        }
        let limit = inner.config.max_sessions;
        let placed = Counted { common: &inner.common, kept: false };
        if inner.common.sessions.fetch_add(1, Ordering::Relaxed) >= limit {
            return Err(MediaError::SessionLimit(limit));
        }
        let sessions = |worker: &Handle| worker.gauges.sessions.load(Ordering::Relaxed);
        let least = inner.workers.iter().enumerate().min_by_key(|(_, worker)| sessions(worker));
        let (at, worker) = least.ok_or(MediaError::Stopped)?;
        Ok(Placed { counted: placed, at: at as u16, worker })
    }

    fn start_session(
        &self,
        call: &CallId,
        placed: Placed<'_>,
        identity: Identity,
        opened: Opened,
        port: u16,
    ) -> Result<(Session, mpsc::Receiver<MediaEvent>), MediaError> {
        let inner = &*self.inner;
        let Placed { mut counted, at, worker } = placed;
        // Three more places than asked for: for the ends of a recording and of a capture, and for the last event.
        let (events, receiver) = mpsc::channel(inner.config.event_queue + 3);
        let Ok(last) = events.clone().try_reserve_owned() else { return Err(MediaError::Busy) };
        let id = SessionId { worker: at, number: inner.next_session.fetch_add(1, Ordering::Relaxed) };
        let link = Arc::new(Link::default());
        let stream =
            Stream::new(identity, inner.common.media_timeout, inner.config.opus_complexity, inner.common.ntp_start);
        let call = call.0.clone();
        let MediaConfig { bind, advertise, other, .. } = inner.config;
        let seen = |bind: IpAddr, advertise: IpAddr| if bind.is_unspecified() { advertise } else { bind };
        let hosts = match (&opened, &inner.common.reach) {
            (Opened::Browser(..), Some(reach)) => reach.hosts(),
            _ => [Some(seen(bind, advertise)), other.map(|o| seen(o.bind, o.advertise))],
        };
        let local = Local { port, hosts };
        let opening = Opening { number: id.number, call, opened, stream, local, events, last, link: Arc::clone(&link) };
        worker.gauges.sessions.fetch_add(1, Ordering::Relaxed);
        if let Err(error) = worker.order(Order::Open(Box::new(opening))) {
            worker.gauges.sessions.fetch_sub(1, Ordering::Relaxed);
            return Err(error);
        }
        counted.kept = true;
        let session = Session {
            id,
            local_rtp: SocketAddr::new(advertise, port),
            local_other: other.map(|other| SocketAddr::new(other.advertise, port)),
            workers: Arc::clone(&inner.workers),
            link,
            codec: AtomicU8::new(0),
            is_webrtc: false,
        };
        Ok((session, receiver))
    }

    /// Answers a browser's offer and opens a session that waits for it. `call` is for the logs.
    ///
    /// # Errors
    /// [`MediaError::Offer`] with what is wrong, [`MediaError::WebRtcOff`], [`MediaError::SessionLimit`],
    /// [`MediaError::Busy`], [`MediaError::Stopped`].
    pub fn open_webrtc(
        &self,
        call: &CallId,
        offer: &Offer,
        policy: &WebRtcPolicy,
    ) -> Result<webrtc::Opened, MediaError> {
        let inner = &*self.inner;
        let reach = inner.common.reach.as_ref().ok_or(MediaError::WebRtcOff)?;
        let identity = identity()?;
        let placed = self.place()?;
        let (name, ice) = names::credentials(placed.at, &random()?);
        let peer = callbox_webrtc::Identity {
            ice,
            session: u64::from_be_bytes(random()?) >> 1,
            ssrc: identity.ssrc,
            cname: identity.cname.clone(),
        };
        let policy = policy.in_rtc();
        let (peer, answered) = Peer::new(&reach.peers, peer, offer.clone(), &policy, inner.common.now())?;
        let plan = webrtc::plan(&answered.agreed, None);
        let answer = Answer::new(answered, peer.credentials());
        let browser = Browser { peer, policy, names: vec![name], silent: false };
        let port = reach.udp.first().map_or(0, SocketAddr::port);
        let opened = Opened::Browser(Box::new(browser), Box::new(plan));
        let (mut session, events) = self.start_session(call, placed, identity, opened, port)?;
        session.know_codec(answer.codec);
        session.local_rtp = reach.peers.candidates.first().map_or(session.local_rtp, |first| first.address);
        session.local_other = None;
        session.is_webrtc = true;
        Ok(webrtc::Opened { session, events, answer })
    }

    /// The ports that browsers come to, as they are bound: UDP, then TCP.
    #[must_use]
    pub fn webrtc_ports(&self) -> (Vec<SocketAddr>, Vec<SocketAddr>) {
        self.inner.common.reach.as_ref().map(|reach| (reach.udp.clone(), reach.tcp.clone())).unwrap_or_default()
    }

    /// Figures of the whole plane, at this moment.
    #[must_use]
    pub fn stats(&self) -> PlaneStats {
        let workers = &self.inner.workers;
        let sum = |of: fn(&Gauges) -> &AtomicU64| workers.iter().map(|w| of(&w.gauges).load(Ordering::Relaxed)).sum();
        let percentiles = |of: fn(&Gauges) -> &Histogram| Histogram::percentiles(workers.iter().map(|w| of(&w.gauges)));
        let (port_pairs, free_port_pairs) = self.inner.common.ports.count();
        PlaneStats {
            active_sessions: self.inner.common.sessions.load(Ordering::Relaxed),
            port_pairs,
            free_port_pairs,
            packets_received: sum(|gauges| &gauges.packets_in),
            packets_sent: sum(|gauges| &gauges.packets_out),
            send_errors: sum(|gauges| &gauges.send_errors),
            rejected: sum(|gauges| &gauges.rejected),
            skipped: sum(|gauges| &gauges.skipped),
            handed_on: sum(|gauges| &gauges.handed_on),
            lateness: percentiles(|gauges| &gauges.lateness),
            gaps: percentiles(|gauges| &gauges.gaps),
        }
    }

    /// The SHA-256 fingerprint of this plane's DTLS certificate, for `a=fingerprint` of every offer and answer.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.inner.common.credentials.fingerprint()
    }

    /// Closes all sessions, finishes recordings and joins the threads. Later calls do nothing.
    pub fn shutdown(&self) {
        self.inner.shutdown();
    }
}

/// A place among the sessions; it is given back unless it is kept.
struct Counted<'a> {
    common: &'a Common,
    kept: bool,
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        if !self.kept {
            self.common.sessions.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Where a session is going to be.
struct Placed<'a> {
    counted: Counted<'a>,
    at: u16,
    worker: &'a Handle,
}

impl Inner {
    fn shutdown(&self) {
        if self.stopped.swap(true, Ordering::SeqCst) {
            return;
        }
        for worker in self.workers.iter() {
            // Waits for a place among the orders; the worker takes them until this one.
            let _ = worker.orders.send(Order::Shutdown);
            worker.wake();
        }
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a media thread had panicked");
            }
        }
        // Captures first: the last words of a session may wait for its capture, and then for its recording.
        if let Some((captures, thread)) = self.captures.lock().unwrap_or_else(PoisonError::into_inner).take() {
            captures.shutdown();
            if thread.join().is_err() {
                tracing::error!("the thread of captures had panicked");
            }
        }
        // Only now: the sessions that were just closed have given the recorder their last words.
        if let Some((recorder, thread)) = self.recorder.lock().unwrap_or_else(PoisonError::into_inner).take() {
            recorder.shutdown();
            if thread.join().is_err() {
                tracing::error!("the recorder's thread had panicked");
            }
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shutdown();
    }
}

/// Says so where ports or file descriptors cannot last for as many sessions as are allowed, and takes all descriptors
/// that may be had.
fn check_room(config: &MediaConfig, pairs: usize) {
    if pairs > 0 && pairs < config.max_sessions {
        tracing::warn!(
            pairs,
            sessions = config.max_sessions,
            "the range of RTP ports is too small for that many calls"
        );
    }
    let mut limit = getrlimit(Resource::Nofile);
    // Two a session and family, as many at rest after calls, and some for everything else.
    let sockets = if config.other.is_some() { 4 } else { 2 };
    let connections = config.webrtc.as_ref().map_or(0, |webrtc| webrtc.max_tcp as u64);
    let wanted = config.max_sessions as u64 * sockets * 2 + connections + 512;
    if limit.current.is_some_and(|current| current < wanted) {
        limit.current = Some(limit.maximum.map_or(wanted, |maximum| maximum.min(wanted)));
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::debug!(%error, "the limit of open files stays as it is");
        }
    }
    let limit = getrlimit(Resource::Nofile).current;
    if limit.is_some_and(|limit| limit < config.max_sessions as u64 * sockets + 64) {
        tracing::warn!(
            ?limit,
            sessions = config.max_sessions,
            "the limit of open files is too low for that many calls"
        );
    }
}

fn random<const N: usize>() -> Result<[u8; N], MediaError> {
    let mut random = [0; N];
    getrandom::fill(&mut random).map_err(|error| MediaError::Start { what: "random numbers", source: error.into() })?;
    Ok(random)
}

fn identity() -> Result<Identity, MediaError> {
    let random = random::<18>()?;
    let (numbers, name) = random.split_at(10);
    let mut cname = String::with_capacity(16);
    for byte in name {
        // Writing to a string does not fail.
        let _ = write!(cname, "{byte:02x}");
    }
    Ok(Identity {
        ssrc: u32::from_be_bytes([numbers[0], numbers[1], numbers[2], numbers[3]]),
        // Not too near to the wrap, for the sake of receivers that get it wrong in the beginning (RFC 3711 §3.3.1).
        sequence: u16::from_be_bytes([numbers[4], numbers[5]]) & 0x7FFF,
        timestamp: u32::from_be_bytes([numbers[6], numbers[7], numbers[8], numbers[9]]),
        cname,
    })
}

/// One call's media. Dropping it says BYE and closes the session; its last event is [`MediaEvent::Closed`].
pub struct Session {
    id: SessionId,
    local_rtp: SocketAddr,
    local_other: Option<SocketAddr>,
    workers: Arc<[Handle]>,
    link: Arc<Link>,
    /// The codec of the last plan: 1 and its place in [`Codec::ALL`].
    codec: AtomicU8,
    /// It is one of WebRTC.
    is_webrtc: bool,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("id", &self.id).field("local_rtp", &self.local_rtp).finish_non_exhaustive()
    }
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

    /// The same in the other family of addresses, where the plane serves both: the port is the same one.
    #[must_use]
    pub const fn local_other(&self) -> Option<SocketAddr> {
        self.local_other
    }

    /// Hands a command to the worker without waiting. What needs work or room, the encoding of a clip, is done here, on the
    /// caller's thread.
    ///
    /// # Errors
    /// [`MediaError::Busy`], [`MediaError::Stopped`], [`MediaError::InvalidDigits`], [`MediaError::InvalidBridge`].
    pub fn send(&self, command: MediaCommand) -> Result<(), MediaError> {
        match &command {
            MediaCommand::Configure(plan) => self.know_codec(plan.codec),
            MediaCommand::Append { clip, .. } => self.encode(clip),
            MediaCommand::SendDigits { digits } if !dtmf::sendable(digits) => {
                return Err(MediaError::InvalidDigits(digits.clone()));
            }
            MediaCommand::Bridge { with } => return self.bridge(*with),
            _ => {}
        }
        let worker = self.worker()?;
        if self.link.pending.fetch_add(1, Ordering::Relaxed) >= ORDERS_A_SESSION {
            self.link.pending.fetch_sub(1, Ordering::Relaxed);
            return Err(MediaError::Busy);
        }
        worker
            .order(Order::Command { number: self.id.number, command: Box::new(command) })
            .inspect_err(|_| _ = self.link.pending.fetch_sub(1, Ordering::Relaxed))
    }

    /// Answers a later offer of the same browser: after a change of its network, to hold or to resume. The media follows
    /// by itself.
    ///
    /// # Errors
    /// [`MediaError::NotWebRtc`], [`MediaError::Offer`], [`MediaError::Busy`], [`MediaError::Stopped`].
    pub async fn renegotiate(&self, offer: Offer) -> Result<Answer, MediaError> {
        match self.ask(Question::Offer(offer)).await? {
            Reply::Offer(answer) => {
                self.know_codec(answer.codec);
                Ok(answer)
            }
            Reply::Fragment(_) => Err(MediaError::NotWebRtc),
        }
    }

    /// Takes a fragment of ICE: candidates, or the wish to begin anew.
    ///
    /// # Errors
    /// As [`Self::renegotiate`].
    pub async fn restart_ice(&self, fragment: IceFragment) -> Result<IceAnswer, MediaError> {
        match self.ask(Question::Fragment(fragment)).await? {
            Reply::Fragment(answer) => Ok(answer),
            Reply::Offer(_) => Err(MediaError::NotWebRtc),
        }
    }

    async fn ask(&self, question: Question) -> Result<Reply, MediaError> {
        if !self.is_webrtc {
            return Err(MediaError::NotWebRtc);
        }
        let (name, credentials) = names::credentials(self.id.worker, &random()?);
        let (reply, answer) = oneshot::channel();
        let asked = Asked { number: self.id.number, question, name, credentials, reply };
        self.worker()?.order(Order::Ask(Box::new(asked)))?;
        // The session may end before it answers.
        Ok(answer.await.map_err(|_| MediaError::Stopped)??)
    }

    fn know_codec(&self, codec: Codec) {
        let place = Codec::ALL.iter().position(|known| *known == codec);
        self.codec.store(place.map_or(0, |place| place as u8 + 1), Ordering::Relaxed);
    }

    fn encode(&self, clip: &Clip) {
        let known = usize::from(self.codec.load(Ordering::Relaxed));
        match known.checked_sub(1).and_then(|place| Codec::ALL.get(place)) {
            Some(Codec::Opus) => clip.share_opus(),
            codec => _ = codec.and_then(|codec| codec.law()).map(|law| clip.encoded(law)),
        }
    }

    fn bridge(&self, with: SessionId) -> Result<(), MediaError> {
        let other = self.workers.get(usize::from(with.worker)).filter(|_| with != self.id);
        let other = other.ok_or(MediaError::InvalidBridge(with))?;
        let (here, there) = Bridge::pair();
        // Should only one side get its end, it notices at once that the other is gone.
        self.worker()?.order(Order::Join { number: self.id.number, bridge: Box::new(here) })?;
        other.order(Order::Join { number: with.number, bridge: Box::new(there) })
    }

    fn worker(&self) -> Result<&Handle, MediaError> {
        self.workers.get(usize::from(self.id.worker)).ok_or(MediaError::Stopped)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // The worker looks at this now and then, should the order find no place.
        self.link.closed.store(true, Ordering::Relaxed);
        if let Ok(worker) = self.worker() {
            let _ = worker.order(Order::Close { number: self.id.number });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl FnOnce(&mut MediaConfig)) -> String {
        let mut config = MediaConfig { ports: 0..=0, workers: 1, ..MediaConfig::default() };
        change(&mut config);
        MediaPlane::start(config).map(drop).expect_err("it cannot work").to_string()
    }

    #[test]
    fn a_configuration_that_cannot_work_is_refused_with_what_is_wrong() {
        assert!(refused(|config| config.ports = 5_001..=5_002).contains("5001-5002"));
        assert!(refused(|config| config.bind = [192, 0, 2, 1].into()).contains("192.0.2.1"));
    }

    #[test]
    fn no_two_streams_are_the_same() {
        let (one, other) = (identity().expect("random numbers"), identity().expect("random numbers"));
        assert_ne!(one.cname, other.cname);
        assert_eq!(one.cname.len(), 16);
        assert!(one.sequence < 1 << 15);
    }
}
