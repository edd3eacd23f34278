//! One caller: its checks, its handshake, its channel. Told what came and what time it is, it says what to send.

use crate::answer::{self, Agreement, Candidate, Local, Policy};
use crate::channel::{LABEL, Outbox};
use crate::ice::{Ice, Path, REPLY};
use crate::keys::{self, Keys, Tap};
use crate::offer::{IceCredentials, IceFragment, Offer, OfferError, Setup};
use crate::rate::{PerSecond, Rate};
use crate::stun;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use str0m::channel::ChannelId;
use str0m::config::{DtlsCert, Fingerprint};
use str0m::ice::{StunMessage, TransId};
use str0m::net::{Protocol, Receive};
use str0m::{Event, IceCreds, Input, Rtc, RtcError};

/// Datagrams of DTLS in a second that are looked at before the handshake is done. It has about ten.
const HANDSHAKE_RATE: u32 = 64;
/// And after it: more than the fullest data channel has at the rate of its messages.
const CHANNEL_RATE: u32 = 1_000;
/// str0m is asked to do DTLS and SCTP and knows one way, which never changes: these two addresses of nobody (RFC 5737).
const INNER_FAR: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)), 9);
const INNER_NEAR: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2)), 9);

/// What all peers of a plane share.
#[derive(Clone, Debug)]
pub struct PeerConfig {
    /// Our certificate and its key.
    pub certificate: DtlsCert,
    /// Its SHA-256.
    pub fingerprint: [u8; 32],
    /// How we are reached, the best first; at least one.
    pub candidates: Vec<Candidate>,
    /// Bytes of the longest message on a data channel, either way.
    pub max_message: usize,
    /// Messages that come in a second, and as many more at once.
    pub messages_per_second: u32,
    /// The longest from the answer to the end of the handshake.
    pub connect_timeout: Duration,
    /// The moment from which times are counted.
    pub start: Instant,
}

/// What is random about a peer.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Our credentials for ICE.
    pub ice: IceCredentials,
    /// The number of the session in `o=`.
    pub session: u64,
    /// The stream that we send.
    pub ssrc: u32,
    /// Its canonical name.
    pub cname: String,
}

/// What a peer wants done, or has to tell.
#[derive(Debug, PartialEq, Eq)]
pub enum Output<'a> {
    /// Send this.
    Datagram {
        /// Where to.
        to: Path,
        /// What.
        bytes: &'a [u8],
    },
    /// What comes from there is this caller's from now on. Said with every check: whoever else has named the address
    /// meanwhile, which takes no more than writing it into a packet, has it only until then.
    Known(Path),
    /// What comes from there is nobody's any more.
    Forgotten(Path),
    /// Audio goes there from now on, and is to be expected from there.
    Selected(Path),
    /// The handshake is done: the far end is who the offer says, and these are the keys. Once.
    Connected(Keys),
    /// It will not be done. Nothing more comes.
    Failed(String),
    /// The data channel is open, or is no longer.
    Channel(bool),
    /// A message came on it.
    Message(String),
    /// The far end has ended the session. Nothing more comes.
    Left,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Connecting,
    Connected,
    /// Failed, or left.
    Over,
}

/// One caller.
pub struct Peer {
    rtc: Rtc,
    tap: Tap,
    start: Instant,
    /// When str0m wants to know the time.
    next: Duration,
    ice: Ice,
    session: u64,
    ssrc: u32,
    cname: String,
    offer: Offer,
    /// How often we have described the session.
    version: u64,
    state: State,
    deadline: Duration,
    /// The handshake has somewhere to go.
    has_way: bool,
    /// Datagrams of DTLS.
    dtls: PerSecond,
    has_data: bool,
    channel: Option<ChannelId>,
    outbox: Outbox,
    rate: Rate,
    max_message: usize,
    dropped: u64,
}

/// What opening a session, or an offer after the first, gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// The answer.
    pub sdp: String,
    /// What is settled.
    pub agreed: Agreement,
}

impl Peer {
    /// Answers an offer. From now on the far end may come.
    ///
    /// # Errors
    /// [`OfferError::NoCodec`].
    pub fn new(
        config: &PeerConfig,
        identity: Identity,
        offer: Offer,
        policy: &Policy,
        now: Duration,
    ) -> Result<(Self, Answered), OfferError> {
        let agreed = answer::agree(&offer, policy)?;
        let provider = keys::provider();
        let at = config.start + now;
        let builder = Rtc::builder()
            .clear_codecs()
            .clear_extension_map()
            .set_ice_lite(true)
            .set_rtp_mode(true)
            .set_stats_interval(None)
            .set_crypto_provider(provider.clone())
            .set_dtls_cert(config.certificate.clone())
            .set_sctp_max_message_size(u32::try_from(config.max_message).unwrap_or(u32::MAX))
            .set_local_ice_credentials(inner_credentials());
        let (mut rtc, tap) = keys::tapped(|| builder.build(at));
        if let Ok(near) = str0m::Candidate::host(INNER_NEAR, "udp") {
            rtc.add_local_candidate(near);
        }
        let active = offer.setup == Setup::Passive;
        let mut direct = rtc.direct_api();
        direct.set_ice_controlling(false);
        direct.set_remote_ice_credentials(inner_credentials());
        direct.set_remote_fingerprint(Fingerprint { hash_func: "sha-256".into(), bytes: offer.fingerprint.to_vec() });
        let Identity { ice, session, ssrc, cname } = identity;
        let ice = Ice::new(ice, offer.ice.clone(), provider.sha1_hmac_provider, now);
        let mut peer = Self {
            rtc,
            tap,
            start: config.start,
            next: now,
            ice,
            session,
            ssrc,
            cname,
            offer,
            version: 1,
            state: State::Connecting,
            deadline: now + config.connect_timeout,
            has_way: false,
            dtls: PerSecond::default(),
            has_data: false,
            channel: None,
            outbox: Outbox::default(),
            rate: Rate::new(config.messages_per_second, now),
            max_message: config.max_message,
            dropped: 0,
        };
        // It fails only where a handshake cannot even be begun, which the deadline tells.
        if peer.rtc.handle_input(Input::Timeout(at)).is_ok() && peer.rtc.direct_api().start_dtls(active).is_ok() {
            peer.begin_data();
        }
        let sdp = peer.describe(config, &agreed, policy);
        Ok((peer, Answered { sdp, agreed }))
    }

    /// Answers a later offer of the same far end: another network, a hold. New `credentials` of ours are for the case
    /// that it begins ICE anew.
    ///
    /// # Errors
    /// [`OfferError::Changed`] where it would be another call; [`OfferError::NoCodec`]. Then everything stays as it is.
    pub fn renegotiate(
        &mut self,
        config: &PeerConfig,
        credentials: IceCredentials,
        offer: Offer,
        policy: &Policy,
        now: Duration,
    ) -> Result<Answered, OfferError> {
        if offer.fingerprint != self.offer.fingerprint {
            return Err(OfferError::Changed("the certificate"));
        }
        if offer.audio != self.offer.audio || offer.audio().mid != self.offer.audio().mid {
            return Err(OfferError::Changed("the section of the audio"));
        }
        let agreed = answer::agree(&offer, policy)?;
        if !self.ice.is_with(&offer.ice) {
            self.ice.restart(credentials, offer.ice.clone(), now);
        }
        // The roles in the handshake are those of the first offer, whatever a later one proposes (RFC 8842 §5.5).
        let setup = self.offer.setup;
        self.offer = Offer { setup, ..offer };
        self.begin_data();
        self.version += 1;
        Ok(Answered { sdp: self.describe(config, &agreed, policy), agreed })
    }

    /// Takes a fragment of ICE. Gives our side where it begins anew.
    pub fn restart_ice(
        &mut self,
        config: &PeerConfig,
        credentials: IceCredentials,
        fragment: IceFragment,
        now: Duration,
    ) -> Option<String> {
        let theirs = fragment.ice.filter(|theirs| !self.ice.is_with(theirs))?;
        self.ice.restart(credentials, theirs, now);
        Some(answer::write_fragment(&self.offer, &self.local(config)))
    }

    fn begin_data(&mut self) {
        if self.offer.data.is_some() && !std::mem::replace(&mut self.has_data, true) {
            // Who is the client of DTLS begins.
            self.rtc.direct_api().start_sctp(self.offer.setup == Setup::Passive);
        }
    }

    fn describe(&self, config: &PeerConfig, agreed: &Agreement, policy: &Policy) -> String {
        answer::write(&self.offer, agreed, policy.dtx, &self.local(config))
    }

    fn local<'a>(&'a self, config: &'a PeerConfig) -> Local<'a> {
        Local {
            candidates: &config.candidates,
            ice: self.ice.ours(),
            fingerprint: &config.fingerprint,
            ssrc: self.ssrc,
            cname: &self.cname,
            session: self.session,
            version: self.version,
            max_message: self.max_message,
        }
    }

    /// Our credentials for ICE: `a=ice-ufrag` names this peer in the checks that come.
    #[must_use]
    pub const fn credentials(&self) -> &IceCredentials {
        self.ice.ours()
    }

    /// Where audio goes.
    #[must_use]
    pub const fn selected(&self) -> Option<Path> {
        self.ice.selected()
    }

    /// Whether packets from there are this caller's, should they be authentic.
    #[must_use]
    pub fn knows(&self, path: Path) -> bool {
        self.ice.knows(path)
    }

    /// All ways that are known: what is to be forgotten with it.
    pub fn paths(&self) -> impl Iterator<Item = Path> + '_ {
        self.ice.paths()
    }

    /// When a check last proved that the far end is there (RFC 7675).
    #[must_use]
    pub const fn heard(&self) -> Duration {
        self.ice.heard()
    }

    /// The keys are there: audio may pass.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.state == State::Connected
    }

    /// Messages that were not delivered, in either direction.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped + self.outbox.len() as u64
    }

    /// A connection of the far end's is gone.
    pub fn lose(&mut self, path: Path) {
        self.ice.lose(path);
    }

    /// Takes a datagram that is STUN or DTLS; anything else is not for a peer.
    pub fn take(&mut self, now: Duration, from: Path, datagram: &[u8], out: &mut impl FnMut(Output<'_>)) {
        if self.state == State::Over {
            return;
        }
        if stun::is_stun(datagram) {
            self.check(now, from, datagram, out);
        } else if stun::is_dtls(datagram) && self.ice.knows(from) {
            let most = if self.state == State::Connected { CHANNEL_RATE } else { HANDSHAKE_RATE };
            if !self.dtls.allows(now, most) {
                return;
            }
            if self.ice.prefer(from) {
                self.select(now, from, out);
            }
            self.input(now, datagram, out);
        }
    }

    fn check(&mut self, now: Duration, from: Path, datagram: &[u8], out: &mut impl FnMut(Output<'_>)) {
        let mut reply = [0; REPLY];
        let Some(checked) = self.ice.check(now, from, datagram, &mut reply) else { return };
        if let Some(path) = checked.forgotten {
            out(Output::Forgotten(path));
        }
        if checked.known {
            out(Output::Known(from));
        }
        out(Output::Datagram { to: from, bytes: &reply[..checked.reply] });
        if checked.selected {
            self.select(now, from, out);
        }
    }

    fn select(&mut self, now: Duration, path: Path, out: &mut impl FnMut(Output<'_>)) {
        out(Output::Selected(path));
        if !std::mem::replace(&mut self.has_way, true) {
            // To str0m this is the check that chooses its only way.
            let IceCreds { ufrag, pass } = inner_credentials();
            let name = format!("{ufrag}:{ufrag}");
            let check = StunMessage::binding_request(&name, TransId::new(), true, 1, 1, true);
            let hmac = keys::provider().sha1_hmac_provider;
            let mut buffer = [0; 256];
            let written = check.to_bytes(Some(pass.as_bytes()), &mut buffer, |key, parts| hmac.sha1_hmac(key, parts));
            if let Ok(length) = written {
                self.input(now, &buffer[..length], out);
            }
        }
    }

    fn input(&mut self, now: Duration, datagram: &[u8], out: &mut impl FnMut(Output<'_>)) {
        // What str0m cannot even name is dropped.
        let Ok(receive) = Receive::new(Protocol::Udp, INNER_FAR, INNER_NEAR, datagram) else { return };
        let taken = self.rtc.handle_input(Input::Receive(self.start + now, receive));
        self.go_on(now, taken, out);
    }

    /// The time is `now`.
    pub fn tick(&mut self, now: Duration, out: &mut impl FnMut(Output<'_>)) {
        if self.state == State::Connecting && now >= self.deadline {
            let why = match (self.ice.paths().next(), self.has_way) {
                (None, _) => "nobody came: no check of ICE reached us in time",
                (Some(_), false) => "ICE has not chosen a way in time",
                (Some(_), true) => "no DTLS handshake in time",
            };
            self.fail(why.into(), out);
        }
        if self.state != State::Over && now >= self.next {
            let taken = self.rtc.handle_input(Input::Timeout(self.start + now));
            self.go_on(now, taken, out);
        }
    }

    /// Sends a message, or lets it wait for the channel. Where there is none, it is dropped and counted.
    pub fn send(&mut self, now: Duration, message: String, out: &mut impl FnMut(Output<'_>)) {
        let may = self.state != State::Over && self.has_data && message.len() <= self.max_message();
        if !may || !self.outbox.push(message) {
            self.dropped += 1;
            return;
        }
        self.flush(now, out);
    }

    fn max_message(&self) -> usize {
        let theirs = self.offer.data.and_then(|at| self.offer.sections.get(at)).map_or(0, |data| data.max_message);
        self.max_message.min(theirs as usize)
    }

    fn flush(&mut self, now: Duration, out: &mut impl FnMut(Output<'_>)) {
        while let Some(channel) = self.channel
            && let Some(message) = self.outbox.first()
        {
            match self.rtc.channel(channel).map(|mut channel| channel.write(false, message.as_bytes())) {
                // It has room again when the far end has taken what is on its way.
                None | Some(Ok(false)) => return,
                Some(Ok(true)) => {}
                Some(Err(_)) => self.dropped += 1,
            }
            self.outbox.remove_first();
            // str0m wants to be asked after each change.
            self.drain(now, out);
        }
    }

    /// Says goodbye to who is there.
    pub fn close(&mut self, now: Duration, out: &mut impl FnMut(Output<'_>)) {
        if self.state == State::Connected && self.rtc.close().is_ok() {
            self.state = State::Over;
            // Only datagrams are of interest now.
            self.drain(now, &mut |output| {
                if matches!(output, Output::Datagram { .. }) {
                    out(output);
                }
            });
        }
        self.state = State::Over;
    }

    fn go_on(&mut self, now: Duration, taken: Result<(), RtcError>, out: &mut impl FnMut(Output<'_>)) {
        match taken {
            Ok(()) => {
                self.drain(now, out);
                self.flush(now, out);
            }
            // A record that is not of this session, or damaged, is no reason to end it. A handshake that cannot go on
            // is ended by its deadline.
            Err(error) => {
                tracing::debug!(%error, "a datagram of DTLS is not understood");
                self.drain(now, out);
            }
        }
    }

    fn drain(&mut self, now: Duration, out: &mut impl FnMut(Output<'_>)) {
        loop {
            match self.rtc.poll_output() {
                Ok(str0m::Output::Timeout(at)) => {
                    self.next = at.saturating_duration_since(self.start);
                    break;
                }
                Ok(str0m::Output::Transmit(transmit)) => {
                    // Its answers to our own check, and reports of streams that it does not have, go nowhere.
                    if let Some(to) = self.ice.selected().filter(|_| stun::is_dtls(&transmit.contents)) {
                        out(Output::Datagram { to, bytes: &transmit.contents });
                    }
                }
                Ok(str0m::Output::Event(event)) => self.event(now, event, out),
                Err(error) => {
                    self.fail(error.to_string(), out);
                    break;
                }
            }
        }
    }

    fn event(&mut self, now: Duration, event: Event, out: &mut impl FnMut(Output<'_>)) {
        match event {
            Event::Connected if self.state == State::Connecting => {
                // The certificate has been compared with the offer's: without one nothing is established.
                let verified = self.rtc.direct_api().remote_dtls_fingerprint().is_some();
                match self.tap.take().filter(|_| verified) {
                    Some(keys) => {
                        self.state = State::Connected;
                        out(Output::Connected(keys));
                    }
                    None => self.fail("no SRTP suite in common, or no certificate".into(), out),
                }
            }
            Event::ChannelOpen(id, label) if label == LABEL && self.channel.is_none() => {
                self.channel = Some(id);
                out(Output::Channel(true));
            }
            Event::ChannelOpen(id, _) => self.rtc.direct_api().close_data_channel(id),
            Event::ChannelClose(id) if self.channel == Some(id) => {
                self.channel = None;
                out(Output::Channel(false));
            }
            Event::ChannelData(data) if self.channel == Some(data.id) => {
                let short = !data.binary && data.data.len() <= self.max_message && self.rate.allows(now);
                match String::from_utf8(data.data).ok().filter(|_| short) {
                    Some(message) => out(Output::Message(message)),
                    None => self.dropped += 1,
                }
            }
            Event::Closed if self.state != State::Over => {
                self.state = State::Over;
                out(Output::Left);
            }
            _ => {}
        }
    }

    fn fail(&mut self, why: String, out: &mut impl FnMut(Output<'_>)) {
        if self.state != State::Over {
            self.state = State::Over;
            out(Output::Failed(why));
        }
    }
}

/// What str0m and we know each other by. Nothing from the network is ever compared with it.
fn inner_credentials() -> IceCreds {
    IceCreds { ufrag: "inner".into(), pass: "between-str0m-and-us-alone".into() }
}
