//! Between the sockets of a call and its stream: what comes is opened or refused, what goes is sealed.
//!
//! Where security is on, nothing in the clear passes in either direction. With DTLS nothing passes at all until the
//! handshake is done; whom to answer in it is decided here, before anything is computed for a stranger. Keys change
//! without a gap: what the old one sealed is understood for a while, and where both change at once, the new one is used
//! when the far end shows that it has it.

use crate::command::{MediaEvent, MediaPlan};
use crate::dtls::{Credentials, Established, Handshake, Step};
use crate::rtp;
use crate::security::{DtlsRole, Fingerprint, Security};
use crate::srtp::{Protector, SrtpError, SrtpKeys, SrtpSuite, Unprotector};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// The component of a session's RTP port.
pub(crate) const RTP: usize = 0;
/// The component of its RTCP port.
pub(crate) const RTCP: usize = 1;

/// How long a replaced key is understood: as long as an answer may be sent again (64 times T1).
const GRACE: Duration = Duration::from_secs(32);
/// How long it is understood once the far end uses the new one: packets in flight.
const IN_FLIGHT: Duration = Duration::from_secs(2);
/// The longest that the old key goes on sealing where the far end does not show that it has the new one.
const SWITCH: Duration = Duration::from_millis(500);
/// Datagrams of DTLS that are looked at in a second and a component. A handshake has about ten.
const HANDSHAKES: u32 = 64;
/// The longest message of a handshake that is kept until there is a plan.
const EARLY: usize = 2_048;

/// Where a shield's own datagrams and events go.
pub(crate) trait Path {
    /// Sends a datagram from a component's port.
    fn datagram(&mut self, component: usize, to: SocketAddr, datagram: &[u8]);
    /// Reports.
    fn event(&mut self, event: MediaEvent);
}

/// Where a datagram came from, and to which of our ports.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    /// The component.
    pub(crate) which: usize,
    /// The sender.
    pub(crate) source: SocketAddr,
    /// Where the far end's audio is known to come from.
    pub(crate) heard: Option<SocketAddr>,
}

/// What a datagram was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Inbound {
    /// For the stream, in the first so many bytes; by the port it came from RTP, or RTP and RTCP on one port, or RTCP.
    Media(usize),
    /// Part of a handshake, or refused.
    Nothing,
}

/// What was refused at the edge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Refused {
    /// In the clear, forged, damaged, or from a stranger.
    pub(crate) unauthentic: u64,
    /// Authentic, but it came before.
    pub(crate) replayed: u64,
}

impl Refused {
    /// All of them.
    pub(crate) const fn sum(&self) -> u64 {
        self.unauthentic + self.replayed
    }
}

/// The state of one call.
pub(crate) struct Shield {
    security: Security,
    configured: bool,
    /// RTCP goes over the RTP port (RFC 5761).
    multiplexed: bool,
    remote: [SocketAddr; 2],
    signalling: IpAddr,
    components: [Component; 2],
    refused: Refused,
    /// The handshake has failed.
    failed: bool,
}

/// RTP or RTCP. With keys of the SDP the first serves both.
#[derive(Default)]
struct Component {
    handshake: Option<Box<Handshake>>,
    send: Option<Box<Protector>>,
    receive: Option<Box<Unprotector>>,
    /// Where the plan says that the far end is.
    target: Option<SocketAddr>,
    /// The key before, and until when it is good.
    before: Option<(Box<Unprotector>, Duration)>,
    /// The key to come, and when at the latest.
    switch: Option<(SrtpKeys, Duration)>,
    /// The beginning of a handshake that came before our side knew of one.
    early: Option<Box<(SocketAddr, Vec<u8>)>>,
    /// The second that is counted, and the datagrams of handshakes in it.
    second: (u64, u32),
}

impl Default for Shield {
    fn default() -> Self {
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        Self {
            security: Security::None,
            configured: false,
            multiplexed: false,
            remote: [nowhere; 2],
            signalling: nowhere.ip(),
            components: [Component::default(), Component::default()],
            refused: Refused::default(),
            failed: false,
        }
    }
}

impl Shield {
    /// One whose keys come from elsewhere: until then nothing passes.
    pub(crate) fn external() -> Self {
        // Whose certificate it is, and who begins, is not decided here.
        let security = Security::Dtls { role: DtlsRole::Passive, fingerprint: Fingerprint::of(&[]) };
        Self { security, configured: true, multiplexed: true, ..Self::default() }
    }

    /// The keys are there.
    pub(crate) fn establish(&mut self, now: Duration, keys: &Established) {
        self.components[RTP].install(now, keys);
    }

    /// They will never be, or are worth nothing any more.
    pub(crate) const fn fail(&mut self) {
        self.failed = true;
    }

    /// Packets go as they are.
    pub(crate) const fn is_open(&self) -> bool {
        matches!(self.security, Security::None)
    }

    /// Media may be sent.
    pub(crate) const fn is_ready(&self) -> bool {
        self.is_open() || (self.components[RTP].send.is_some() && !self.failed)
    }

    /// How what we send is protected.
    pub(crate) fn suite(&self) -> Option<SrtpSuite> {
        self.components[RTP].send.as_ref().map(|send| send.suite()).filter(|_| !self.is_open())
    }

    /// What was refused so far.
    pub(crate) const fn refused(&self) -> Refused {
        self.refused
    }

    /// Another plan.
    pub(crate) fn configure(
        &mut self,
        now: Duration,
        plan: &MediaPlan,
        credentials: &Credentials,
        path: &mut impl Path,
    ) {
        self.configured = true;
        self.multiplexed = plan.remote == plan.remote_rtcp;
        self.remote = [plan.remote, plan.remote_rtcp];
        self.signalling = plan.signalling_ip;
        let before = std::mem::replace(&mut self.security, plan.security.clone());
        match &plan.security {
            Security::None => {
                self.components = [Component::default(), Component::default()];
                self.failed = false;
            }
            Security::Sdes { send, receive } => {
                let (mut new_send, mut new_receive) = (Some(send), Some(receive));
                if let Security::Sdes { send: old_send, receive: old_receive } = &before {
                    new_send = new_send.filter(|new| *new != old_send);
                    new_receive = new_receive.filter(|new| *new != old_receive);
                }
                self.components[RTCP] = Component::default();
                self.failed = false;
                let component = &mut self.components[RTP];
                component.handshake = None;
                component.early = None;
                component.rekey(now, new_send, new_receive);
                if new_send.is_some() || new_receive.is_some() {
                    path.event(MediaEvent::SecurityEstablished { suite: send.suite() });
                }
            }
            Security::Dtls { .. } => {
                if before != self.security {
                    self.failed = false;
                }
                self.shake_hands(now, credentials, path);
            }
        }
    }

    /// Begins the handshakes that the plan asks for and that are not done or under way.
    fn shake_hands(&mut self, now: Duration, credentials: &Credentials, path: &mut impl Path) {
        let Security::Dtls { role, fingerprint } = self.security else { return };
        let count = if self.multiplexed { 1 } else { 2 };
        for which in 0..count {
            let peer = self.remote[which];
            let component = &mut self.components[which];
            // No address is a hold: it comes back to where it was.
            let moved = !peer.ip().is_unspecified() && component.target.replace(peer).is_some_and(|old| old != peer);
            if let Some(handshake) = component.handshake.as_mut().filter(|shaken| shaken.serves(role, fingerprint)) {
                match moved {
                    // The same certificate elsewhere may be another program of the far end's: its wish to begin anew
                    // is waited for, or ours is told.
                    true if handshake.is_done() && handshake.is_active() => handshake.renew(credentials, peer, now),
                    true => handshake.retarget(peer),
                    false => {}
                }
                continue;
            }
            component.handshake = Some(Box::new(Handshake::new(credentials, role, fingerprint, peer, now)));
            if let Some((source, datagram)) = component.early.take().map(|early| *early) {
                self.shake(now, Arrival { which, source, heard: None }, &datagram, credentials, path);
            }
        }
    }

    /// Takes a datagram that came.
    pub(crate) fn take(
        &mut self,
        now: Duration,
        arrival: Arrival,
        datagram: &mut [u8],
        credentials: &Credentials,
        path: &mut impl Path,
    ) -> Inbound {
        let Arrival { which, source, .. } = arrival;
        // What is what is told by the first byte (RFC 7983).
        if datagram.first().is_some_and(|first| (20..64).contains(first)) {
            if !self.configured {
                self.components[which].keep(source, datagram);
            } else if matches!(self.security, Security::Dtls { .. }) {
                self.shake(now, arrival, datagram, credentials, path);
            } else {
                self.refused.unauthentic += 1;
            }
            return Inbound::Nothing;
        }
        if self.is_open() {
            return Inbound::Media(datagram.len());
        }
        let rtcp = which == RTCP || rtp::is_rtcp(datagram);
        let component = self.component(which);
        match self.components[component].open(now, rtcp, datagram) {
            Ok(length) => Inbound::Media(length),
            Err(error) => {
                match error {
                    SrtpError::Replayed => self.refused.replayed += 1,
                    _ => self.refused.unauthentic += 1,
                }
                Inbound::Nothing
            }
        }
    }

    /// Seals a packet of ours for a component's port; none where it must not be sent.
    pub(crate) fn seal<'a>(
        &mut self,
        which: usize,
        rtcp: bool,
        packet: &[u8],
        buffer: &'a mut [u8],
    ) -> Option<&'a [u8]> {
        if self.failed {
            return None;
        }
        let component = self.component(which);
        let send = self.components[component].send.as_mut()?;
        buffer.get_mut(..packet.len())?.copy_from_slice(packet);
        let sealed = if rtcp { send.rtcp(buffer, packet.len()) } else { send.rtp(buffer, packet.len()) };
        buffer.get(..sealed.ok()?)
    }

    /// The time is `now`: handshakes go on, keys change.
    pub(crate) fn tick(&mut self, now: Duration, path: &mut impl Path) {
        if self.is_open() {
            return;
        }
        for which in [RTP, RTCP] {
            let component = &mut self.components[which];
            if component.before.as_ref().is_some_and(|(_, until)| now >= *until) {
                component.before = None;
            }
            if component.switch.as_ref().is_some_and(|(_, at)| now >= *at) {
                component.switch();
            }
            if let Some(handshake) = &mut component.handshake {
                let step = handshake.tick(now, &mut |to, datagram| path.datagram(which, to, datagram));
                self.note(now, which, step, path);
            }
        }
    }

    /// Ends handshakes with a goodbye.
    pub(crate) fn close(&mut self, path: &mut impl Path) {
        for which in [RTP, RTCP] {
            if let Some(handshake) = &mut self.components[which].handshake {
                handshake.close(&mut |to, datagram| path.datagram(which, to, datagram));
            }
        }
    }

    /// The component whose keys are for what comes and goes at this port.
    const fn component(&self, which: usize) -> usize {
        if matches!(self.security, Security::Dtls { .. }) { which } else { RTP }
    }

    /// A datagram of a handshake.
    fn shake(
        &mut self,
        now: Duration,
        arrival: Arrival,
        datagram: &[u8],
        credentials: &Credentials,
        path: &mut impl Path,
    ) {
        let Arrival { which, source, heard } = arrival;
        let host = source.ip();
        let named = self.remote.iter().any(|remote| remote.ip() == host) || self.signalling == host;
        let known = named || heard.is_some_and(|heard| heard.ip() == host);
        let component = &mut self.components[which];
        let handshake = component.handshake.as_mut().filter(|_| known && count(&mut component.second, now));
        let Some(handshake) = handshake else {
            self.refused.unauthentic += 1;
            return;
        };
        if handshake.begins_anew(datagram) {
            handshake.renew(credentials, source, now);
        }
        let step = handshake.take(now, source, datagram, &mut |to, datagram| path.datagram(which, to, datagram));
        self.note(now, which, step, path);
    }

    fn note(&mut self, now: Duration, which: usize, step: Step, path: &mut impl Path) {
        match step {
            Step::Going => {}
            Step::Done(keys) => {
                let suite = keys.send.suite();
                self.components[which].install(now, &keys);
                if which == RTP {
                    path.event(MediaEvent::SecurityEstablished { suite });
                }
            }
            Step::Failed(why) => {
                if !std::mem::replace(&mut self.failed, true) {
                    path.event(MediaEvent::SecurityFailed { why });
                }
            }
        }
    }
}

impl Component {
    /// Keys of the SDP that are new.
    fn rekey(&mut self, now: Duration, send: Option<&SrtpKeys>, receive: Option<&SrtpKeys>) {
        let mut both = false;
        if let Some(keys) = receive {
            let next = self.receive.as_ref().map_or_else(|| Unprotector::new(keys), |old| old.successor(keys));
            if let Some(old) = self.receive.replace(Box::new(next)) {
                self.before = Some((old, now + GRACE));
                both = true;
            }
        }
        match (send, &mut self.send) {
            (Some(keys), Some(_)) if both => self.switch = Some((keys.clone(), now + SWITCH)),
            (Some(keys), Some(protector)) => {
                protector.rekey(keys);
                self.switch = None;
            }
            (Some(keys), place @ None) => *place = Some(Box::new(Protector::new(keys))),
            (None, _) => {}
        }
    }

    /// Keys of a handshake: another association, whose counters begin anew.
    fn install(&mut self, now: Duration, keys: &Established) {
        self.send = Some(Box::new(Protector::new(&keys.send)));
        self.switch = None;
        let old = self.receive.replace(Box::new(Unprotector::new(&keys.receive)));
        self.before = old.map(|old| (old, now + GRACE));
    }

    /// Seals with the new key from now on.
    fn switch(&mut self) {
        if let (Some((keys, _)), Some(protector)) = (self.switch.take(), &mut self.send) {
            protector.rekey(&keys);
        }
    }

    fn open(&mut self, now: Duration, rtcp: bool, datagram: &mut [u8]) -> Result<usize, SrtpError> {
        fn open(with: &mut Unprotector, rtcp: bool, datagram: &mut [u8]) -> Result<usize, SrtpError> {
            if rtcp { with.rtcp(datagram) } else { with.rtp(datagram) }
        }
        let opened = match &mut self.receive {
            Some(receive) => open(receive, rtcp, datagram),
            None => Err(SrtpError::Unauthentic),
        };
        match (opened, &mut self.before) {
            (Ok(length), before) => {
                if let Some((_, until)) = before {
                    *until = (*until).min(now + IN_FLIGHT);
                }
                self.switch();
                Ok(length)
            }
            (Err(error), Some((old, until))) if now < *until => open(old, rtcp, datagram).map_err(|_| error),
            (Err(error), _) => Err(error),
        }
    }

    /// Keeps the beginning of a handshake: the far end's answer may be overtaken by it.
    fn keep(&mut self, source: SocketAddr, datagram: &[u8]) {
        // 22: a handshake message. The last one counts, which is the one sent again.
        if datagram.first() == Some(&22) && datagram.len() <= EARLY {
            let (from, kept) = &mut **self.early.get_or_insert_with(|| Box::new((source, Vec::new())));
            *from = source;
            kept.clear();
            kept.extend_from_slice(datagram);
        }
    }
}

/// Counts a datagram of a handshake; false where there have been too many in this second.
const fn count(second: &mut (u64, u32), now: Duration) -> bool {
    if second.0 != now.as_secs() {
        *second = (now.as_secs(), 0);
    }
    second.1 += 1;
    second.1 <= HANDSHAKES
}

#[cfg(test)]
mod tests;
