//! Our side of ICE (RFC 8445 §2.5): lite. The far end looks for ways to us, we answer its checks and use the way that it
//! chooses. A check that does not prove that it knows our password is a stranger's.

use crate::offer::IceCredentials;
use crate::rate::PerSecond;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;
use str0m::crypto::Sha1HmacProvider;
use str0m::ice::StunMessage;

/// Addresses of one far end that are believed: a browser has one for each network and protocol.
const MOST_PATHS: usize = 8;
/// Checks of one far end in a second that are looked at. A browser sends one each 50 ms while it looks for ways.
const CHECKS: u32 = 100;
/// How long checks with the credentials before a restart are answered still.
const OVERLAP: Duration = Duration::from_secs(30);
/// An answer is shorter than this.
pub(crate) const REPLY: usize = 128;

/// A way between the far end and us.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Path {
    /// Where the far end is, as we see it.
    pub far: SocketAddr,
    /// By a TCP connection that it has made, not by UDP.
    pub tcp: bool,
}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", if self.tcp { "tcp" } else { "udp" }, self.far)
    }
}

/// What came of a check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Checked {
    /// Bytes of the answer in the buffer.
    pub(crate) reply: usize,
    /// This way is the far end's.
    pub(crate) known: bool,
    /// This one is no longer, for want of place.
    pub(crate) forgotten: Option<Path>,
    /// It is the one to use from now on.
    pub(crate) selected: bool,
}

/// Credentials of both sides.
#[derive(Debug)]
struct Pair {
    ours: IceCredentials,
    theirs: IceCredentials,
}

/// The agent of one far end.
pub(crate) struct Ice {
    pair: Pair,
    /// Those before a restart, and until when.
    before: Option<(Pair, Duration)>,
    /// Ways that are believed, and when they were checked last.
    paths: Vec<(Path, Duration)>,
    selected: Option<Path>,
    /// The far end has chosen, since the last restart.
    nominated: bool,
    checks: PerSecond,
    heard: Duration,
    hmac: &'static dyn Sha1HmacProvider,
}

impl Ice {
    pub(crate) fn new(
        ours: IceCredentials,
        theirs: IceCredentials,
        hmac: &'static dyn Sha1HmacProvider,
        now: Duration,
    ) -> Self {
        Self {
            pair: Pair { ours, theirs },
            before: None,
            paths: Vec::with_capacity(MOST_PATHS),
            selected: None,
            nominated: false,
            checks: PerSecond::default(),
            heard: now,
            hmac,
        }
    }

    /// Our credentials.
    pub(crate) const fn ours(&self) -> &IceCredentials {
        &self.pair.ours
    }

    /// The far end has these already: what it says is no restart.
    pub(crate) fn is_with(&self, theirs: &IceCredentials) -> bool {
        self.pair.theirs == *theirs
    }

    /// Begins anew (RFC 8445 §9). Until the far end has chosen again, what was chosen goes on.
    pub(crate) fn restart(&mut self, ours: IceCredentials, theirs: IceCredentials, now: Duration) {
        let before = std::mem::replace(&mut self.pair, Pair { ours, theirs });
        self.before = Some((before, now + OVERLAP));
        self.nominated = false;
    }

    /// The way to use.
    pub(crate) const fn selected(&self) -> Option<Path> {
        self.selected
    }

    /// Packets from there are the far end's, if they are authentic.
    pub(crate) fn knows(&self, path: Path) -> bool {
        self.paths.iter().any(|(known, _)| *known == path)
    }

    /// All ways that are known.
    pub(crate) fn paths(&self) -> impl Iterator<Item = Path> + '_ {
        self.paths.iter().map(|(path, _)| *path)
    }

    /// When the far end last proved that it is there.
    pub(crate) const fn heard(&self) -> Duration {
        self.heard
    }

    /// Uses a way before the far end has chosen: it has begun to talk there.
    pub(crate) fn prefer(&mut self, path: Path) -> bool {
        let first = self.selected.is_none() && self.knows(path);
        if first {
            self.selected = Some(path);
        }
        first
    }

    /// A connection is gone.
    pub(crate) fn lose(&mut self, path: Path) {
        self.paths.retain(|(known, _)| *known != path);
        if self.selected == Some(path) {
            self.selected = None;
            self.nominated = false;
        }
    }

    /// Answers a check into the buffer. None where there is nothing to answer.
    pub(crate) fn check(&mut self, now: Duration, path: Path, datagram: &[u8], reply: &mut [u8]) -> Option<Checked> {
        if !self.checks.allows(now, CHECKS) {
            return None;
        }
        let message = StunMessage::parse(datagram).ok().filter(StunMessage::is_binding_request)?;
        let (ours, theirs) = message.split_username()?;
        let named = |pair: &&Pair| pair.ours.ufrag == ours && pair.theirs.ufrag == theirs;
        let before = self.before.as_ref().filter(|(_, until)| now < *until).map(|(before, _)| before);
        let pair = Some(&self.pair).filter(named).or(before.filter(named))?;
        let current = std::ptr::eq(pair, &raw const self.pair);
        let hmac = |key: &[u8], parts: &[&[u8]]| self.hmac.sha1_hmac(key, parts);
        let password = pair.ours.pwd.as_bytes();
        if !message.verify(password, hmac) {
            return None;
        }
        self.heard = now;
        // Who is lite is controlled (RFC 8445 §6.1.1): who thinks that it is too must think again.
        if message.ice_controlled().is_some() {
            let conflict = StunMessage::binding_role_conflict_reply(message.trans_id());
            let reply = conflict.to_bytes(Some(password), reply, hmac).ok()?;
            return Some(Checked { reply, ..Checked::default() });
        }
        let answer = StunMessage::binding_reply(message.trans_id(), path.far);
        let mut checked = Checked { reply: answer.to_bytes(Some(password), reply, hmac).ok()?, ..Checked::default() };
        checked.known = true;
        match self.paths.iter_mut().find(|(known, _)| *known == path) {
            Some((_, at)) => *at = now,
            None => {
                checked.forgotten = self.make_room();
                self.paths.push((path, now));
            }
        }
        // What the far end chose last counts: browsers change their minds without a restart.
        if message.use_candidate() && (current || !self.nominated) {
            self.nominated |= current;
            checked.selected = self.selected.replace(path) != Some(path);
            if current && self.before.as_ref().is_some_and(|(_, until)| now >= *until) {
                self.before = None;
            }
        }
        Some(checked)
    }

    /// Forgets the way that was not checked for the longest time, but not the one in use.
    fn make_room(&mut self) -> Option<Path> {
        if self.paths.len() < MOST_PATHS {
            return None;
        }
        let selected = self.selected;
        let unused = self.paths.iter().enumerate().filter(|(_, (path, _))| Some(*path) != selected);
        let oldest = unused.min_by_key(|(_, (_, at))| *at).map(|(place, _)| place)?;
        Some(self.paths.swap_remove(oldest).0)
    }
}

#[cfg(test)]
mod tests;
