//! The early dialogs of an outgoing call: one INVITE may ring in many places (RFC 3261 §13.2.2.4), each of which counts
//! its reliable provisional responses by itself (RFC 3262 §4).

use super::SipError;
use super::agreed::Agreed;
use super::clients::Purpose;
use super::core::Core;
use super::event::DialogEvent;
use super::flow::{Flow, TransactionId};
use super::leg::{Leg, Phase};
use super::reply::put;
use super::uac::{Calling, attach};
use crate::dialog::DialogState;
use crate::wire::{CSeq, Field, Message, Method, RAck};
use bytes::Bytes;
use std::time::Instant;

/// Early dialogs that one INVITE may have; forks beyond it ring unseen.
const MAX_EARLY: usize = 8;

/// One early dialog.
#[derive(Debug)]
pub(crate) struct Early {
    tag: String,
    /// Its number, counted from 0.
    branch: u8,
    pub(crate) dialog: DialogState,
    /// `RSeq` of the last reliable provisional response.
    rseq: Option<u32>,
    /// The answer that came before the 2xx.
    answer: Option<Bytes>,
    /// A network said that it may not be heard before the 2xx (RFC 5009).
    hushed: bool,
    /// Whether offer and answer are exchanged for good, so that another offer may be made.
    pub(crate) agreed: bool,
    /// Their offer, and the provisional response that brought it, whose PRACK has to bring our answer.
    owed: Option<(Bytes, RAck)>,
    /// Whether it takes UPDATE.
    pub(crate) updates: bool,
}

impl Early {
    /// Whether it is the dialog with the peer of this tag.
    pub(crate) fn is(&self, tag: Option<&str>) -> bool {
        Some(self.tag.as_str()) == tag
    }
}

/// All early dialogs of one INVITE.
#[derive(Debug, Default)]
pub(crate) struct Forks {
    early: Vec<Early>,
    branches: u8,
    /// The tag of the one whose session the leg keeps as agreed on: the first that was.
    session: Option<String>,
}

impl Forks {
    pub(crate) fn with(&self, tag: Option<&str>) -> Option<&Early> {
        self.early.iter().find(|early| early.is(tag))
    }

    fn with_mut(&mut self, tag: Option<&str>) -> Option<&mut Early> {
        self.early.iter_mut().find(|early| early.is(tag))
    }

    /// The dialog of this tag.
    pub(crate) fn dialog(&mut self, tag: Option<&str>) -> Option<&mut DialogState> {
        self.with_mut(tag).map(|early| &mut early.dialog)
    }

    /// The one whose session is agreed on: offers go to it, and are taken from it.
    pub(crate) fn agreed(&self) -> Option<&Early> {
        self.with(self.session.as_deref()).filter(|early| early.agreed)
    }

    fn take(&mut self, tag: Option<&str>) -> Option<Early> {
        let at = self.early.iter().position(|early| early.is(tag))?;
        Some(self.early.swap_remove(at))
    }

    /// They belong to an INVITE that is tried again elsewhere.
    fn clear(&mut self) {
        self.early.clear();
        self.session = None;
    }

    /// The early dialog that a provisional response belongs to, new or known.
    fn met(&mut self, request: &Message, local_tag: &str, response: &Message, flow: Flow) -> Option<&mut Early> {
        let tag = response.to().ok()?.tag()?;
        if let Some(at) = self.early.iter().position(|early| early.tag == tag) {
            return self.early.get_mut(at);
        }
        if self.early.len() >= MAX_EARLY {
            return None;
        }
        let dialog = DialogState::from_response(request, local_tag.to_owned(), response, flow).ok()?;
        let branch = self.branches;
        self.branches = self.branches.saturating_add(1);
        let early = Early {
            tag,
            branch,
            dialog,
            rseq: None,
            answer: None,
            hushed: false,
            agreed: false,
            owed: None,
            updates: false,
        };
        self.early.push(early);
        self.early.last_mut()
    }
}

/// Whether the networks between let the far end be heard before the answer, where one of them says so (RFC 5009 §8). It
/// says so for each media line; ours are of one stream.
fn leave(response: &Message) -> Option<bool> {
    let said = response.headers.get_all(Field::PEarlyMedia);
    let said = said.filter_map(|value| match value.trim_ascii().to_ascii_lowercase().as_slice() {
        b"sendrecv" | b"sendonly" => Some(true),
        b"recvonly" | b"inactive" => Some(false),
        _ => None,
    });
    said.reduce(|one, other| one || other)
}

/// What the 2xx of a branch goes on from.
#[derive(Debug, Default)]
pub(crate) struct Before {
    pub(crate) answer: Option<Bytes>,
    pub(crate) agreed: bool,
    /// Whether what the leg keeps as agreed on is the session with it, and not with another branch.
    pub(crate) kept: bool,
    /// Their offer that our user has not answered.
    pub(crate) owed: Option<Bytes>,
}

impl Leg {
    /// A provisional response to our INVITE, other than 100.
    pub(crate) fn early_came(&mut self, core: &mut Core, now: Instant, response: &Message, status: u16, flow: Flow) {
        let Phase::Calling(Calling { invite, forks, .. }) = &mut self.phase else { return };
        let Some(client) = core.clients.get(*invite) else { return };
        let (Ok(cseq), offer) = (client.request.cseq(), client.request.sdp().found()) else { return };
        let rseq = response.rseq().ok().flatten().filter(|_| response.headers.lists(Field::Require, "100rel"));
        let sdp = response.sdp().found();
        let tag = response.to().ok().and_then(|to| to.tag());
        let others_agreed =
            forks.early.iter().any(|early| Some(&early.tag) != tag.as_ref() && (early.agreed || early.owed.is_some()));
        let early = forks.met(&client.request, &self.local_tag, response, flow);
        if early.is_none() && tag.is_some() {
            // One branch too many, or one that cannot be read.
            return;
        }
        let branch = early.as_ref().map_or(0, |early| early.branch);
        let mut event = match &sdp {
            Some(sdp) => DialogEvent::Progress { sdp: Some(sdp.to_vec()), branch },
            None => DialogEvent::Ringing,
        };
        let (mut prack, mut agreed) = (None, false);
        if let Some(early) = early {
            early.dialog.refresh_target(response);
            if response.headers.contains(Field::Allow) {
                early.updates = response.headers.lists(Field::Allow, "UPDATE");
            }
            if let Some(rseq) = rseq {
                // §4: a repetition, or one that overtook another and will come again.
                if early.rseq.is_some_and(|last| rseq != last.wrapping_add(1)) {
                    return;
                }
                let rack = RAck { rseq, cseq: CSeq { seq: cseq.seq, method: Method::Invite } };
                match (&sdp, &offer) {
                    (Some(theirs), None) if !early.agreed => {
                        // Nobody could answer a second one with the first open: that branch is left to give up (§3).
                        if others_agreed || early.owed.is_some() {
                            return;
                        }
                        early.rseq = Some(rseq);
                        early.owed = Some((theirs.clone(), rack.clone()));
                        event = DialogEvent::EarlyOffer { sdp: theirs.to_vec() };
                        if self.ended {
                            prack = Some(rack);
                        }
                    }
                    _ => {
                        early.rseq = Some(rseq);
                        prack = Some(rack);
                    }
                }
            } else if offer.is_none() && sdp.is_some() {
                // An offer has to come reliably (RFC 3261 §13.2.1); such a preview means nothing.
                event = DialogEvent::Ringing;
            }
            let hushed = early.hushed;
            early.hushed = leave(response).map_or(hushed, |leave| !leave);
            if let (Some(theirs), Some(ours)) = (&sdp, &offer) {
                early.answer = Some(Bytes::copy_from_slice(theirs));
                early.agreed |= rseq.is_some();
                if early.agreed && !others_agreed {
                    self.agreed.got(ours, theirs);
                    agreed = true;
                }
            }
            match (&event, &early.answer) {
                (DialogEvent::Progress { .. }, _) if early.hushed => event = DialogEvent::Ringing,
                // What was described before may be heard now.
                (DialogEvent::Ringing, Some(answer)) if hushed && !early.hushed => {
                    event = DialogEvent::Progress { sdp: Some(answer.to_vec()), branch };
                }
                _ => {}
            }
        }
        if agreed && let Phase::Calling(calling) = &mut self.phase {
            calling.forks.session.clone_from(&tag);
        }
        if let Some(rack) = prack {
            self.prack(core, now, tag.as_deref(), &rack, None);
        }
        if status == 199 {
            // RFC 6228: that branch is over; nobody rings.
            if let Phase::Calling(calling) = &mut self.phase {
                calling.forks.take(tag.as_deref());
            }
            return;
        }
        if !self.ended {
            core.emit(self.id, event);
        }
    }

    /// Acknowledges a reliable provisional response. PRACK is a request of its own, which repeats itself where needed.
    fn prack(&mut self, core: &mut Core, now: Instant, tag: Option<&str>, rack: &RAck, sdp: Option<Bytes>) {
        let Some(mut message) = self.compose_towards(core, Method::Prack, tag) else { return };
        put(&mut message.headers, Field::RAck, rack.to_bytes());
        attach(&mut message, sdp);
        self.send(core, now, message, Purpose::Prack);
    }

    /// Our answer to an offer that came in a reliable provisional response; `None` where none waits for it.
    pub(crate) fn answer_early(&mut self, core: &mut Core, now: Instant, sdp: &Bytes) -> Option<Result<(), SipError>> {
        let Phase::Calling(calling) = &mut self.phase else { return None };
        let early = calling.forks.early.iter_mut().find(|early| early.owed.is_some())?;
        let (offer, rack) = early.owed.take()?;
        early.agreed = true;
        let tag = early.tag.clone();
        calling.forks.session = Some(tag.clone());
        self.agreed.given(&offer, sdp);
        self.prack(core, now, Some(&tag), &rack, Some(sdp.clone()));
        Some(Ok(()))
    }

    /// Makes the dialog of a 2xx out of what its branch was before: the counters go on, the routes are read anew
    /// (RFC 3261 §13.2.2.4).
    pub(crate) fn branch_answered(&mut self, dialog: &mut DialogState) -> Before {
        let Phase::Calling(calling) = &mut self.phase else { return Before::default() };
        let early = calling.forks.take(dialog.remote_tag.as_deref());
        self.left = calling.forks.early.iter().map(|other| (other.tag.clone(), other.dialog.last_cseq())).collect();
        let Some(early) = early else { return Before::default() };
        dialog.goes_on_from(&early.dialog);
        self.peer_updates = early.updates;
        let kept = calling.forks.session.as_ref() == Some(&early.tag);
        Before { answer: early.answer, agreed: early.agreed, kept, owed: early.owed.map(|(offer, _)| offer) }
    }

    /// The number of our last request to a branch that was left for another.
    pub(crate) fn sent_to(&self, tag: Option<&str>) -> u32 {
        self.left.iter().find(|(left, _)| Some(left.as_str()) == tag).map_or(0, |(_, seq)| *seq)
    }

    /// The dialog with the peer of this tag, early or not.
    pub(crate) fn dialog_with(&mut self, tag: Option<&str>) -> Option<&mut DialogState> {
        match (&mut self.dialog, &mut self.phase) {
            (Some(dialog), _) => dialog.is_with(tag).then_some(dialog),
            (None, Phase::Calling(calling)) => calling.forks.dialog(tag),
            (None, _) => None,
        }
    }

    /// The tag of the peer that offers of ours go to: of the dialog, or of the branch that agreed on a session.
    pub(crate) fn partner(&self) -> Option<Option<String>> {
        match (&self.dialog, &self.phase) {
            (Some(dialog), _) => Some(dialog.remote_tag.clone()),
            (None, Phase::Calling(calling)) => calling.forks.agreed().map(|early| Some(early.tag.clone())),
            (None, _) => None,
        }
    }

    /// Forgets the branches of an INVITE that is tried again elsewhere.
    pub(crate) fn start_over(&mut self, invite: TransactionId) {
        if let Phase::Calling(calling) = &mut self.phase {
            calling.invite = invite;
            calling.forks.clear();
        }
    }

    /// The server that rang refused after all, and another is tried: what was agreed on with the first is void.
    pub(crate) fn tried_elsewhere(&mut self) {
        if let Phase::Calling(calling) = &mut self.phase {
            calling.forks.clear();
            self.agreed = Agreed::default();
        }
    }
}
