//! Replaces (RFC 3891): a new call that takes the place of one that is up, at the end of an attended transfer.

use super::event::Replaced;
use super::flow::LegId;
use super::leg::Phase;
use super::reply::Reply;
use super::{Endpoint, SipError};
use crate::wire::{Field, HeaderName, Message, Uri};
use bytes::Bytes;
use std::fmt::Write as _;
use std::time::Instant;

impl Endpoint {
    /// The leg whose place an INVITE wants to take, by the rules of RFC 3891 §3.
    ///
    /// # Errors
    /// The refusal: 400 for a header that does not read, 481 for a dialog that is not ours, or rings here, 486 for one
    /// that was answered meanwhile, 603 for one that is over.
    pub(super) fn replaced_by(&self, invite: &Message) -> Result<Option<Replaced>, Reply> {
        if invite.headers.lines(Field::Replaces).nth(1).is_some() {
            return Err(Reply::new(400).reason(Some("Two Replaces".to_owned())));
        }
        let wanted = invite.replaces().map_err(|_| Reply::new(400).reason(Some("Bad Replaces".to_owned())))?;
        let Some(wanted) = wanted else { return Ok(None) };
        let found = self.dialogs.get(&(wanted.call_id.clone(), wanted.to_tag.clone()));
        let leg = found.and_then(|id| self.legs.get(id));
        // RFC 2543 peers had no tags; "0" stands for that.
        let tag = Some(wanted.from_tag.as_str());
        let is_with = |leg: &&super::leg::Leg| leg.is_with(tag) || (tag == Some("0") && leg.is_with(None));
        let leg = leg.filter(is_with).ok_or_else(|| Reply::new(481))?;
        let early = match leg.phase {
            _ if leg.ended => return Err(Reply::new(603)),
            Phase::Down => return Err(Reply::new(603)),
            Phase::Up if wanted.early_only => return Err(Reply::new(486)),
            Phase::Up => false,
            Phase::Ringing(_) => return Err(Reply::new(481)),
            Phase::Calling(_) => true,
        };
        Ok(Some(Replaced { leg: leg.id, call_id: leg.name().into_owned(), early }))
    }

    /// What an INVITE to our peer has to say to take the place of this leg.
    ///
    /// # Errors
    /// [`SipError::Ended`], and [`SipError::NotNow`] before there is a dialog.
    pub fn replaces_value(&self, leg: LegId) -> Result<String, SipError> {
        let leg = self.legs.get(&leg).filter(|leg| !leg.ended).ok_or(SipError::Ended)?;
        let dialog = leg.dialog.as_ref().filter(|_| matches!(leg.phase, Phase::Up));
        let dialog = dialog.ok_or(SipError::NotNow("a transfer to a call that is not up"))?;
        // Seen from the peer, whose own tag is the one in `To` (RFC 3891 §4).
        let theirs = dialog.remote_tag.as_deref().unwrap_or("0");
        Ok(format!("{};to-tag={theirs};from-tag={}", leg.name(), leg.local_tag))
    }

    /// Asks the peer of `leg` to take over the call with the peer of `other` (RFC 5589 §7).
    ///
    /// # Errors
    /// As [`refer`](Self::refer), and [`replaces_value`](Self::replaces_value) of the other leg.
    pub fn refer_replacing(
        &mut self,
        now: Instant,
        leg: LegId,
        other: LegId,
        headers: Vec<(HeaderName, Bytes)>,
    ) -> Result<(), SipError> {
        let value = self.replaces_value(other)?;
        let target = self.legs.get(&other).and_then(|leg| leg.dialog.as_ref()).map(|dialog| dialog.target().clone());
        let target = target.ok_or(SipError::Ended)?.as_request_target();
        let text = format!("{}?Replaces={}", target.text(), escaped(&value));
        let uri = Uri::from_text(&text).map_err(|fault| SipError::Target { uri: text, why: fault.to_string() })?;
        self.refer(now, leg, &uri, headers)
    }
}

/// As the value of a header inside a URI (RFC 3261 §19.1.1, `hvalue`).
fn escaped(value: &str) -> String {
    value.bytes().fold(String::with_capacity(value.len() + 16), |mut out, b| {
        if b.is_ascii_alphanumeric() || b"-_.!~*'()[]/?:+$".contains(&b) {
            out.push(char::from(b));
        } else {
            // Writing to a string does not fail.
            let _ = write!(out, "%{b:02X}");
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_escaped_reads_as_it_was() {
        let value = "a b%\u{e9}@h;to-tag=1=;from-tag=?&2";
        let uri = Uri::from_text(&format!("sip:h?Replaces={}", escaped(value))).unwrap();
        assert_eq!(uri.header("Replaces").as_deref(), Some(value.as_bytes()));
    }
}
