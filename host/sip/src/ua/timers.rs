//! Session timers (RFC 4028): a session that nobody refreshes is over, however the far end went.

use super::clients::Purpose;
use super::core::Core;
use super::flow::TransactionId;
use super::leg::{By, Bye, Ending, Leg, Offered, Phase};
use super::policy::DialogPolicy;
use super::reason;
use super::reply::{Reply, put};
use super::uac::Again;
use crate::wire::{Field, Message, Method, Refresher, SessionExpires};
use std::time::{Duration, Instant};

/// The shortest `Min-SE`, which holds where none is said (RFC 4028 §5).
const DEFAULT_MIN_SE: u32 = 90;
/// Longer intervals than a week are as good as none, and must not overflow.
const MAX_INTERVAL: u32 = 7 * 24 * 3_600;
/// When a refresh that found another exchange in its way is tried again.
const BUSY: Duration = Duration::from_secs(1);

/// What a 2xx of ours says of the timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    seconds: u32,
    refresher: Refresher,
}

/// A running timer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SessionTimer {
    seconds: u32,
    /// When we refresh, where that is our part.
    refresh: Option<Instant>,
    /// When we take the far end for gone.
    expires: Instant,
}

impl SessionTimer {
    fn start(now: Instant, seconds: u32, ours: bool) -> Self {
        let seconds = seconds.clamp(1, MAX_INTERVAL);
        let interval = Duration::from_secs(seconds.into());
        // RFC 4028 §10 has the BYE of whoever does not refresh leave that much before the end.
        let margin = (interval / 3).min(Duration::from_secs(32));
        Self { seconds, refresh: ours.then(|| now + interval / 2), expires: now + interval - margin }
    }

    fn ours(&self) -> bool {
        self.refresh.is_some()
    }

    pub(crate) fn deadline(&self) -> Instant {
        self.refresh.map_or(self.expires, |refresh| refresh.min(self.expires))
    }
}

/// What we ask for in our requests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    /// 0 asks for none.
    seconds: u32,
    min: u32,
    raises: u8,
}

/// How often a far end may want it longer.
const MAX_RAISES: u8 = 3;

impl Asked {
    pub(crate) fn of(policy: &DialogPolicy) -> Self {
        let min = policy.min_se_s;
        Self {
            seconds: if policy.session_expires_s == 0 { 0 } else { policy.session_expires_s.max(min) },
            min,
            raises: 0,
        }
    }

    /// The other side wants it longer (422); false where it says nothing that we do not know.
    pub(crate) fn raise(&mut self, refusal: &Message) -> bool {
        let Some(min) = refusal.min_se().filter(|min| *min > self.min && *min <= MAX_INTERVAL) else { return false };
        if self.raises >= MAX_RAISES {
            return false;
        }
        self.raises += 1;
        self.min = min;
        self.seconds = self.seconds.max(min);
        true
    }

    /// Writes it into an INVITE outside of any dialog, in place of what was there.
    pub(crate) fn write(&self, request: &mut Message) {
        for field in [Field::SessionExpires, Field::MinSe] {
            request.headers.remove(field);
        }
        if self.seconds > 0 {
            put(&mut request.headers, Field::SessionExpires, self.seconds.to_string());
        }
        self.write_min(request);
    }

    fn write_min(&self, request: &mut Message) {
        if self.min > DEFAULT_MIN_SE {
            put(&mut request.headers, Field::MinSe, self.min.to_string());
        }
    }
}

/// What an INVITE or UPDATE gets that asks for a timer, or could; an error is its refusal. `running` is the timer that
/// the dialog has.
pub(crate) fn grant(
    policy: &DialogPolicy,
    request: &Message,
    running: Option<&SessionTimer>,
) -> Result<Option<Grant>, Reply> {
    let knows = [Field::Supported, Field::Require].iter().any(|field| request.headers.lists(*field, "timer"));
    let (min, ours) = (policy.min_se_s, policy.session_expires_s);
    let theirs = request.min_se().unwrap_or(0);
    let asked = request.session_expires().ok().flatten();
    Ok(match asked {
        // A client that does not know timers would not understand the refusal: a proxy asked in its place.
        Some(asked) if asked.seconds < min && knows => {
            return Err(Reply::new(422).header(Field::MinSe, min.to_string()));
        }
        Some(asked) => {
            let most = if ours == 0 { MAX_INTERVAL } else { ours.max(min).max(theirs) };
            let refresher = match asked.refresher {
                Some(refresher) if knows => refresher,
                _ if knows => Refresher::Uac,
                _ => Refresher::Uas,
            };
            Some(Grant { seconds: asked.seconds.max(min).min(most), refresher })
        }
        // Whoever refreshed goes on to.
        None if running.is_some() => running.map(|timer| Grant {
            seconds: timer.seconds.max(theirs),
            refresher: if timer.ours() { Refresher::Uas } else { Refresher::Uac },
        }),
        None if knows && ours > 0 => Some(Grant { seconds: ours.max(min).max(theirs), refresher: Refresher::Uac }),
        None => None,
    })
}

impl Reply {
    /// A 2xx that sets the session timer.
    pub(crate) fn granting(self, grant: Option<Grant>) -> Self {
        let Some(Grant { seconds, refresher }) = grant else { return self };
        let value = SessionExpires { seconds, refresher: Some(refresher) }.to_bytes();
        let reply = self.header(Field::SessionExpires, value);
        // §9: who has to refresh has to know of it.
        if refresher == Refresher::Uac { reply.text(Field::Require, "timer") } else { reply }
    }
}

impl Leg {
    /// Our 2xx went out.
    pub(crate) fn granted(&mut self, now: Instant, grant: Option<Grant>) {
        self.timer = grant.map(|grant| SessionTimer::start(now, grant.seconds, grant.refresher == Refresher::Uas));
    }

    /// A 2xx to an INVITE or UPDATE of ours came: what it says of the timer holds, and saying nothing means none.
    pub(crate) fn timer_taken(&mut self, core: &Core, now: Instant, response: &Message) {
        let said = response.session_expires().ok().flatten();
        self.timer = said.map(|said| {
            // A shorter timer than anybody may ask for would have us do nothing but refresh.
            let seconds = said.seconds.max(core.config.policy.min_se_s);
            SessionTimer::start(now, seconds, said.refresher != Some(Refresher::Uas))
        });
    }

    /// Writes the running timer into a re-INVITE or UPDATE.
    pub(crate) fn write_timer(&self, request: &mut Message) {
        if let Some(timer) = &self.timer {
            let refresher = if timer.ours() { Refresher::Uac } else { Refresher::Uas };
            let seconds = timer.seconds.max(self.asked.min);
            let value = SessionExpires { seconds, refresher: Some(refresher) }.to_bytes();
            put(&mut request.headers, Field::SessionExpires, value);
            self.asked.write_min(request);
        }
    }

    pub(crate) fn timer_due(&mut self, core: &mut Core, now: Instant) {
        let Some(timer) = &mut self.timer else { return };
        if self.ended || !matches!(self.phase, Phase::Up) || !matches!(self.bye, Bye::No) {
            self.timer = None;
            return;
        }
        if timer.expires <= now {
            self.timer = None;
            let end = Ending {
                by_remote: true,
                status: Some(408),
                reason: Some("nobody refreshed the session".to_owned()),
                ..Ending::default()
            };
            return self.say_goodbye(core, now, Some(reason::sip(408, "session timer expired")), end);
        }
        if timer.refresh.is_none_or(|at| at > now) {
            return;
        }
        // One at a time: the next is for its outcome to decide.
        timer.refresh = Some(timer.expires);
        self.refresh_session(core, now);
    }

    /// A refresh came to nothing: there is half of the time that is left for the next.
    pub(crate) fn refresh_failed(&mut self, now: Instant) {
        if let Some(timer) = self.timer.as_mut().filter(|timer| timer.ours()) {
            let left = timer.expires.saturating_duration_since(now);
            timer.refresh = Some(now + (left / 2).max(BUSY));
        }
    }

    /// By UPDATE where the peer takes it, since that touches no description; else by a re-INVITE with the same.
    fn refresh_session(&mut self, core: &mut Core, now: Instant) {
        if self.peer_updates {
            let Some(mut message) = self.compose(core, Method::Update) else { return };
            self.write_timer(&mut message);
            self.send(core, now, message, Purpose::Refresh);
        } else if self.offered.is_some() || self.served.is_some() || self.accepted.is_some() {
            // What is on its way refreshes as well, where it succeeds.
            if let Some(timer) = &mut self.timer {
                timer.refresh = Some(now + BUSY);
            }
        } else if self.agreed.ours().is_some() {
            self.offered = Some(Offered::new(By::Invite, None));
            self.offer_again(core, now);
        }
    }

    /// Something became of the UPDATE that refreshes the session.
    pub(crate) fn refresh_outcome(&mut self, core: &mut Core, now: Instant, outcome: Result<(&Message, u16), u16>) {
        match outcome {
            Ok((response, 200..=299)) => {
                if let Some(dialog) = &mut self.dialog {
                    dialog.refresh_target(response);
                }
                self.timer_taken(core, now, response);
            }
            Ok((response, 422)) if self.asked.raise(response) => self.refresh_session(core, now),
            Ok((_, 405 | 501)) => {
                self.peer_updates = false;
                self.refresh_session(core, now);
            }
            _ => self.refresh_failed(now),
        }
    }

    /// A 422 to a request of ours that has a timer: says whether it is worth another try, and what is asked for then.
    pub(crate) fn raised(&mut self, response: &Message) -> bool {
        self.asked.raise(response)
    }

    /// The INVITE again, with a timer that is long enough for the far end.
    pub(crate) fn timer_refused(
        &mut self,
        core: &mut Core,
        now: Instant,
        transaction: TransactionId,
        response: &Message,
    ) -> bool {
        if !self.raised(response) {
            return false;
        }
        let asked = self.asked;
        let Some(mut again) = Again::of(core, transaction) else { return false };
        asked.write(&mut again.message);
        self.invite_once_more(core, now, again);
        true
    }
}
