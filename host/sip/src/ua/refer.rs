//! REFER: asking the peer to call somebody else, and hearing how that goes (RFC 3515, RFC 4488).

use super::SipError;
use super::clients::Purpose;
use super::core::Core;
use super::event::DialogEvent;
use super::leg::Leg;
use super::local::phrase;
use super::reply::put;
use crate::wire::{Field, HeaderName, Message, Method, NameAddr, Uri};
use bytes::Bytes;
use std::time::Instant;

/// A transfer under way: the subscription that a REFER makes.
#[derive(Debug)]
pub(crate) struct Referral {
    /// Whether its user knows the outcome.
    settled: bool,
    /// The dialog is over and the outcome still open: until then NOTIFY is answered.
    pub(crate) linger: Option<Instant>,
}

impl Referral {
    /// Whether its outcome is still to come.
    pub(crate) fn is_open(&self) -> bool {
        !self.settled
    }

    /// The transferee hangs up as soon as it talks to the new target, and its last NOTIFY may come after its BYE.
    pub(crate) fn dialog_ended(&mut self, until: Instant) {
        if !self.settled {
            self.linger = Some(until);
        }
    }
}

impl Leg {
    /// Asks the peer to call `target`.
    pub(crate) fn refer(
        &mut self,
        core: &mut Core,
        now: Instant,
        target: &Uri,
        headers: Vec<(HeaderName, Bytes)>,
    ) -> Result<(), SipError> {
        self.up()?;
        if self.referral.as_ref().is_some_and(|referral| !referral.settled) {
            return Err(SipError::NotNow("a second transfer"));
        }
        let Some(mut message) = self.compose(core, Method::Refer) else { return Err(SipError::Ended) };
        put(&mut message.headers, Field::ReferTo, NameAddr::new(None, target.clone()).to_bytes());
        put(&mut message.headers, Field::ReferredBy, self.contact.clone());
        for (name, value) in headers {
            message.headers.push_checked(name, value);
        }
        self.send(core, now, message, Purpose::Refer);
        self.referral = Some(Referral { settled: false, linger: None });
        Ok(())
    }

    /// The REFER itself was answered.
    pub(crate) fn refer_outcome(&mut self, core: &mut Core, outcome: Result<(&Message, u16), u16>) {
        match outcome {
            Ok((response, 200..=299)) => {
                let silent = response.headers.get(Field::ReferSub);
                if silent.is_some_and(|value| value.to_ascii_lowercase().starts_with(b"false")) {
                    // No NOTIFY will come (RFC 4488 §4): accepted is all there is to know.
                    self.transfer_progress(core, 200, "accepted without reports".to_owned());
                }
            }
            Ok((response, status)) => self.transfer_progress(core, status, phrase(response)),
            Err(status) => self.transfer_progress(core, status, "no response to REFER".to_owned()),
        }
    }

    /// A NOTIFY of this dialog; gives the status of its answer.
    pub(crate) fn notified(&mut self, core: &mut Core, notify: &Message) -> u16 {
        let event = notify.headers.text(Field::Event).unwrap_or_default();
        if !event.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("refer") {
            return 489;
        }
        if self.referral.is_none() {
            return 481;
        }
        if let Some((status, reason)) = sipfrag(&notify.body) {
            self.transfer_progress(core, status, reason);
        }
        let state = notify.headers.text(Field::SubscriptionState).unwrap_or_default();
        if state.trim_start().to_ascii_lowercase().starts_with("terminated")
            && self.referral.as_ref().is_some_and(|referral| !referral.settled)
        {
            self.transfer_progress(core, 500, "the far end stopped reporting".to_owned());
        }
        200
    }

    fn transfer_progress(&mut self, core: &mut Core, status: u16, reason: String) {
        let Some(referral) = self.referral.as_mut().filter(|referral| !referral.settled) else { return };
        if status >= 200 {
            referral.settled = true;
            referral.linger = None;
        }
        if !self.ended {
            core.emit(self.id, DialogEvent::ReferProgress { status, reason });
        }
        if status >= 200 {
            self.release(core);
        }
    }
}

/// The status line in a `message/sipfrag` body (RFC 3420).
pub(crate) fn sipfrag(body: &[u8]) -> Option<(u16, String)> {
    let line = body.split(|&b| b == b'\n').next()?.trim_ascii();
    let rest = line.strip_prefix(b"SIP/2.0")?.trim_ascii_start();
    let digits = rest.get(..3)?;
    let status: u16 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    let reason = String::from_utf8_lossy(rest.get(3..)?.trim_ascii()).into_owned();
    (100..700).contains(&status).then_some((status, reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_status_line_of_a_fragment() {
        assert_eq!(sipfrag(b"SIP/2.0 100 Trying\r\n"), Some((100, "Trying".into())));
        assert_eq!(sipfrag(b"SIP/2.0 486 Busy Here\r\nVia: x\r\n"), Some((486, "Busy Here".into())));
        assert_eq!(sipfrag(b"SIP/2.0 200"), Some((200, String::new())));
        for bad in [&b""[..], b"SIP/2.0", b"SIP/2.0 20", b"SIP/2.0 999 x", b"HTTP/1.1 200 OK", b"SIP/2.0 +20 x"] {
            assert_eq!(sipfrag(bad), None, "{}", String::from_utf8_lossy(bad));
        }
    }
}
