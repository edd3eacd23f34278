//! The SIP leg: carries out the engine's commands on a dialog and a media
//! session, and reports what both of them see.
//!
//! It knows offer and answer, prompts, transfers and the order in which a call
//! is torn down. It knows no rule of the dialogue.

mod audio;
mod browser;
mod giving;
mod moves;
mod redial;
#[cfg(test)]
mod tests;

pub(crate) use self::audio::{Audio, Senses};
use self::browser::Page;
pub(crate) use self::giving::{Giving, failed};
pub(crate) use self::redial::{Placed, Redialled};
use crate::bridge::{BridgeEnd, BridgeRequest, INCOMPATIBLE, KEY_MS, NOT_ACCEPTABLE_HERE};
use crate::hearing::Words;
use crate::negotiation::Negotiation;
use crate::outbound::Dial;
use crate::policy::{DtmfManner, LegPolicy};
use crate::signalling::Signalling;
use crate::takeover::{Following, Moved, Place, Referral, Stayed};
use crate::trunks::TrunkUsed;
use callbox_dialogue::CallRecord;
use callbox_dialogue::call::{Direction, EndCause, EndReason, Evidence};
use callbox_dialogue::leg::{LegCommand, LegEvent, TransferId};
use callbox_dialogue::script::{HostError, TransferMode};
use callbox_media::{MediaEvent, MediaStats, Session};
use callbox_script::Script;
use callbox_sip::{Dialog, DialogEvent, IncomingCall, Transport};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

/// Reports of the tasks of one leg on their way.
pub(crate) const SIGNALS: usize = 64;
/// What a comma among digits means.
const COMMA: Duration = Duration::from_millis(500);
/// From one key that is sent as a message to the next.
const KEY_GAP: Duration = Duration::from_millis(250);

/// What the tasks of a leg tell it.
pub(crate) enum LegSignal {
    /// From the rendering of a prompt.
    Prompt(LegEvent),
    /// From the recognition of what the caller says.
    Words(Box<Words>),
    /// All digits of an order have left as messages.
    DigitsSent,
    /// A bridged transfer came to its end.
    Bridge(TransferId, BridgeEnd),
    /// Another way to the callee was tried.
    Redialled(Box<Redialled>),
}

/// Something a leg has to look at.
pub(crate) enum Happening {
    Dialog(DialogEvent),
    Media(MediaEvent),
    Signal(LegSignal),
    /// An INVITE that takes the place of the dialog.
    Replaced(Box<IncomingCall>),
    /// What came of a transfer by the far end.
    Referred(Result<Box<Moved>, Stayed>),
    /// The media of a browser did not come in time.
    Late,
    /// The stack dropped the dialog without a last word.
    Lost,
    /// The media plane dropped the session without a last word.
    MediaLost,
}

/// What a leg leaves behind.
#[derive(Debug, Default)]
pub(crate) struct Closing {
    /// What carried the signalling.
    pub(crate) transport: Option<Transport>,
    pub(crate) stats: Option<MediaStats>,
    pub(crate) recording: Option<PathBuf>,
    pub(crate) recording_error: Option<String>,
    /// By which trunk the call went out, where we placed it by one.
    pub(crate) trunk: Option<TrunkUsed>,
}

/// What a leg is made of.
pub(crate) struct LegParts {
    pub(crate) dialog: Dialog,
    pub(crate) dialog_events: mpsc::Receiver<DialogEvent>,
    pub(crate) media: Session,
    pub(crate) media_events: mpsc::Receiver<MediaEvent>,
    pub(crate) negotiation: Negotiation,
    /// How the far end wants to be spoken to.
    pub(crate) policy: LegPolicy,
    pub(crate) senses: Senses,
    /// Where audio assets come from; none when it could not be loaded.
    pub(crate) script: Option<Arc<Script>>,
    pub(crate) dial: Dial,
    /// How it went out, where we placed it, and its place in its trunk.
    pub(crate) placed: Placed,
    pub(crate) direction: Direction,
    /// Where the call is recorded, where it is.
    pub(crate) recording: Option<PathBuf>,
    /// Whether its packets are captured from the beginning.
    pub(crate) capture: bool,
}

/// One SIP leg.
pub(crate) struct SipLeg {
    dialog: Dialog,
    dialog_events: mpsc::Receiver<DialogEvent>,
    audio: Audio,
    signals: mpsc::Receiver<LegSignal>,
    signal_sender: mpsc::Sender<LegSignal>,
    negotiation: Negotiation,
    policy: LegPolicy,
    /// The caller was offered early media.
    early: bool,
    answered: bool,
    page: Page,
    ended: bool,
    giving: Giving,
    /// The manner in which the caller's keys come. The first one seen counts, since some phones
    /// send both.
    keys: Option<Keys>,
    /// Digits that leave as messages.
    sending: Option<AbortOnDropHandle<()>>,
    dial: Dial,
    placed: Placed,
    /// Another way to the callee is being tried.
    redialling: bool,
    /// Where an INVITE finds this call to take the place of its dialog.
    place: Place,
    /// The far end transfers the call.
    referral: Following,
    /// It has hung up meanwhile.
    parting: Option<(EndCause, Evidence)>,
    direction: Direction,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Keys {
    /// RFC 4733, or tones.
    Audio,
    /// RFC 6086.
    Info,
}

impl SipLeg {
    pub(crate) fn new(parts: LegParts) -> Self {
        let (signal_sender, signals) = mpsc::channel(SIGNALS);
        parts.dial.signalling.add(&parts.dialog);
        if parts.capture {
            parts.dial.packets.begin_with(&parts.media);
        }
        let place = parts.dial.places.of(&parts.dialog, &parts.dial.tenant);
        let media = (parts.media, parts.media_events);
        Self {
            audio: Audio::new(media, parts.senses, parts.script, parts.recording, signal_sender.clone()),
            dialog: parts.dialog,
            dialog_events: parts.dialog_events,
            signals,
            signal_sender,
            negotiation: parts.negotiation,
            policy: parts.policy,
            early: false,
            answered: false,
            page: Page::default(),
            ended: false,
            giving: Giving::default(),
            keys: None,
            sending: None,
            dial: parts.dial,
            placed: parts.placed,
            redialling: false,
            place,
            referral: Following::default(),
            parting: None,
            direction: parts.direction,
        }
    }

    /// Captures the packets of the call from now on; those of a transfer that is under way already are not among them.
    pub(crate) fn capture(&self) {
        self.dial.packets.begin_with(&self.audio.media);
    }

    /// The SIP messages of the call.
    pub(crate) fn signalling(&self) -> Signalling {
        self.dial.signalling.clone()
    }

    /// What the engine is to be told, in order.
    pub(crate) fn report(&mut self) -> Option<LegEvent> {
        self.audio.reports.pop_front()
    }

    /// What the page at the far end says to the script, where there is one: JSON.
    pub(crate) fn message(&mut self) -> Option<String> {
        self.audio.messages.pop_front()
    }

    /// Tells the page at the far end what it does not know yet, where there is one.
    pub(crate) fn tell(&mut self, record: &CallRecord) {
        self.audio.tell_page(record);
    }

    /// Waits for something to look at. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Happening {
        tokio::select! {
            biased;
            event = self.audio.next() => event.map_or(Happening::MediaLost, Happening::Media),
            Some(signal) = self.signals.recv() => Happening::Signal(signal),
            incoming = self.place.wanted(), if self.answered && !self.ended => Happening::Replaced(Box::new(incoming)),
            () = self.page.late(), if !self.ended => Happening::Late,
            outcome = self.referral.outcome(), if !self.ended => Happening::Referred(outcome.map(Box::new)),
            event = self.dialog_events.recv(), if !self.ended && !self.redialling && self.parting.is_none() => event.map_or(Happening::Lost, Happening::Dialog),
        }
    }

    pub(crate) async fn handle(&mut self, happening: Happening) {
        match happening {
            Happening::Media(MediaEvent::MediaTimeout) => self.media_timeout().await,
            Happening::Media(MediaEvent::SecurityFailed { why }) if self.page.connected => self.page_left(&why).await,
            Happening::Media(MediaEvent::SecurityFailed { why }) => self.incompatible(why).await,
            Happening::Media(event) => self.media_event(event).await,
            Happening::Dialog(event) => self.dialog_event(event).await,
            Happening::Signal(signal) => {
                if let Some(redialled) = self.audio.signal(signal, &mut self.giving) {
                    self.redialled(*redialled);
                }
            }
            Happening::Replaced(incoming) => self.replaced(*incoming).await,
            Happening::Referred(outcome) => self.referred(outcome.map(|moved| *moved)).await,
            Happening::Late => self.incompatible("the browser did not get through to its media".into()).await,
            Happening::Lost => self.over(EndCause::NetworkFailure, Evidence::default(), Some(EndReason::TrunkLost)),
            Happening::MediaLost => self.audio.ended(),
        }
        self.face_faults().await;
    }

    /// A call whose media does not do what it is told is better over than silent, or recorded against its will.
    async fn face_faults(&mut self) {
        let Some(why) = self.audio.take_fault().or_else(|| self.negotiation.take_fault()) else { return };
        if self.ended {
            return;
        }
        tracing::error!(sip_call = self.dialog.id(), why, "a call is ended: it cannot go on as it should");
        self.hang_up(Some((41, "internal error".into()))).await;
        self.over(EndCause::Other(why), Evidence::default(), Some(EndReason::PlatformError));
    }

    /// Carries out a command of the engine.
    pub(crate) async fn command(&mut self, command: LegCommand) {
        if self.ended {
            return;
        }
        match command {
            LegCommand::Ring => self.note(self.dialog.ring().await, "ring"),
            LegCommand::EarlyMedia => self.open_early().await,
            LegCommand::Answer => self.answer().await,
            LegCommand::Reject { status, reason } => {
                self.note(self.dialog.reject(status, reason, Vec::new()).await, "reject");
            }
            LegCommand::Hangup => {
                self.gives_up();
                self.parts();
                self.hang_up(None).await;
            }
            LegCommand::SendDigits { digits } if self.policy.dtmf == DtmfManner::Info => self.send_by_info(digits),
            LegCommand::Transfer { transfer, target, mode, ring_timeout, caller_id, headers } => {
                let ring_timeout = Duration::from_millis(ring_timeout.into());
                let request = BridgeRequest { target, caller_id, headers, ring_timeout };
                self.start_transfer(transfer, mode, request).await;
            }
            LegCommand::CancelTransfer { transfer } => {
                let cancelled = self.giving.cancel(transfer);
                self.audio.reports.extend(cancelled);
            }
            audio => drop(self.audio.command(audio)),
        }
        self.face_faults().await;
    }

    /// Lets the caller hear us before the call is answered (RFC 3261 §13.3.1.1, RFC 3960).
    async fn open_early(&mut self) {
        let error = match self.negotiation.for_early_media(&self.audio.media) {
            None => "the call is being answered".to_owned(),
            Some(sdp) => match self.dialog.progress(sdp).await {
                Ok(()) => {
                    self.early = true;
                    if self.negotiation.agreed() {
                        self.early_agreed();
                    }
                    // Else the answer to our offer comes with the PRACK.
                    return;
                }
                Err(error) => error.to_string(),
            },
        };
        let error = HostError::Unavailable(format!("no audio before the answer: {error}"));
        self.audio.reports.push_back(LegEvent::EarlyMediaFailed { error });
    }

    /// The answer to the offer that went with our 183.
    async fn early_answer(&mut self, sdp: &[u8]) {
        match self.negotiation.confirmed(Some(sdp), &self.audio.media) {
            Ok(()) => self.audio.reports.push_back(LegEvent::EarlyMedia),
            Err(error) => self.incompatible(format!("the far end's early answer cannot be used: {error}")).await,
        }
    }

    async fn answer(&mut self) {
        let Some(sdp) = self.negotiation.for_answer(&self.audio.media) else { return };
        let result = self.dialog.answer(sdp).await;
        self.note(result, "answer");
        if self.negotiation.is_browser() {
            self.page.is_expected();
        }
    }

    async fn media_event(&mut self, event: MediaEvent) {
        match self.audio.event(event) {
            Some(MediaEvent::Digit { digit }) => self.digit(digit, Keys::Audio),
            // The far end's audio is here before its ACK: it hears us. What we call, and who gets early media, may be
            // heard before the call is answered.
            Some(MediaEvent::Latched { .. }) if self.direction == Direction::Inbound && !self.early => self.up(),
            Some(event) => self.page_event(event).await,
            None => {}
        }
    }

    async fn media_timeout(&mut self) {
        if self.answered && !self.ended && !self.referral.is_under_way() {
            self.hang_up(None).await;
            self.over(EndCause::NetworkFailure, Evidence::default(), Some(EndReason::MediaTimeout));
        }
    }

    async fn dialog_event(&mut self, event: DialogEvent) {
        match event {
            DialogEvent::Ringing => {
                self.placed.rang = true;
                self.audio.reports.push_back(LegEvent::Ringing);
            }
            DialogEvent::Progress { sdp, branch } => {
                self.placed.rang = true;
                if let Some(sdp) = sdp {
                    // So that its audio has found its way, and its keys are agreed on, when the call is answered.
                    self.negotiation.early(&sdp, branch, &self.audio.media);
                }
                self.audio.reports.push_back(LegEvent::Ringing);
            }
            DialogEvent::Answered { sdp } | DialogEvent::Confirmed { sdp } => self.confirmed(sdp).await,
            DialogEvent::Reinvite { sdp } => self.reinvite(sdp).await,
            DialogEvent::Digit { digit, .. } => self.digit(digit, Keys::Info),
            DialogEvent::ReferProgress { status, reason } => {
                let over = self.giving.refer_progress(status, reason);
                self.audio.reports.extend(over);
            }
            DialogEvent::ReferRequested { target, replaces, referred_by } => {
                let referral = Referral { target, replaces, referred_by };
                // The media of a browser speaks to that browser alone.
                let browser = self.negotiation.is_browser();
                let free = self.answered && !self.ended && !self.referral.is_under_way() && !browser;
                self.referral.begin(referral, free, &self.dial, &self.audio.media, &self.dialog).await;
            }
            DialogEvent::EarlyAnswer { sdp } => self.early_answer(&sdp).await,
            DialogEvent::EarlyOffer { .. }
            | DialogEvent::ReinviteAnswered { .. }
            | DialogEvent::ReinviteFailed { .. } => {}
            DialogEvent::Ended { by_remote, status, reason, q850, .. } => {
                // A call we placed and nobody took ended by its status; a call that was ours to answer, or
                // was up, is lost when nobody answers our messages any more.
                let placed = self.direction == Direction::Outbound && !self.answered;
                let cause = match (by_remote, status) {
                    (_, Some(408)) if !placed => EndCause::NetworkFailure,
                    (true, _) => EndCause::RemoteHangup,
                    (false, _) => EndCause::LocalHangup,
                };
                let evidence = Evidence { sip_status: status, sip_reason: reason, q850 };
                if self.referral.is_under_way() {
                    // Whoever transfers a call hangs up at once: it goes on with whom we call.
                    self.parting = Some((cause, evidence));
                } else if !self.redials(&evidence) {
                    self.over(cause, evidence, None);
                }
            }
        }
    }

    /// The far end has the call: by its ACK, or by its 2xx.
    async fn confirmed(&mut self, sdp: Option<Vec<u8>>) {
        match self.negotiation.confirmed(sdp.as_deref(), &self.audio.media) {
            Ok(()) => self.up(),
            Err(error) => self.incompatible(format!("the far end's answer cannot be used: {error}")).await,
        }
    }

    /// Nothing can be heard, or not in the way that is required: no call.
    async fn incompatible(&mut self, why: String) {
        if self.ended {
            return;
        }
        tracing::warn!(sip_call = self.dialog.id(), why, "the media of a call cannot be had as it must be");
        self.hang_up(Some(INCOMPATIBLE.into())).await;
        let (cause, _) = INCOMPATIBLE.into();
        let evidence =
            Evidence { sip_status: Some(NOT_ACCEPTABLE_HERE), sip_reason: Some(why.clone()), q850: Some(cause) };
        self.over(EndCause::Other(why), evidence, None);
    }

    /// Audio may flow both ways.
    fn up(&mut self) {
        if self.answered || self.ended || !self.negotiation.settled() {
            return;
        }
        if self.negotiation.is_browser() && !self.page.connected {
            return;
        }
        self.answered = true;
        self.placed.attempts = None;
        if let Some(permit) = &self.placed.permit {
            permit.answered();
        }
        self.audio.is_up();
        self.audio.reports.push_back(LegEvent::Answered);
    }

    async fn reinvite(&mut self, sdp: Option<Vec<u8>>) {
        self.negotiation.reinvite(sdp.as_deref(), &self.audio.media, &self.dialog).await;
        // Another device may answer from now on, with keys of another manner.
        self.keys = None;
    }

    fn digit(&mut self, digit: char, manner: Keys) {
        let wanted = match self.policy.dtmf {
            DtmfManner::Auto => None,
            DtmfManner::Rfc4733 | DtmfManner::Inband => Some(Keys::Audio),
            DtmfManner::Info => Some(Keys::Info),
        };
        if wanted.is_some_and(|wanted| wanted != manner) {
            return;
        }
        if *self.keys.get_or_insert(manner) != manner {
            return;
        }
        if manner == Keys::Info {
            self.giving.key(digit);
        }
        self.audio.reports.push_back(LegEvent::Digit { digit });
    }

    /// Digits as messages, one after the other.
    fn send_by_info(&mut self, digits: String) {
        let (dialog, signals) = (self.dialog.clone(), self.signal_sender.clone());
        let sending = async move {
            for digit in digits.chars() {
                if digit != ','
                    && let Err(error) = dialog.info_digit(digit, KEY_MS).await
                {
                    tracing::warn!(sip_call = dialog.id(), %error, "a digit is not sent");
                }
                sleep(if digit == ',' { COMMA } else { KEY_GAP }).await;
            }
            // A closed channel means that the call is over.
            let _ = signals.send(LegSignal::DigitsSent).await;
        };
        self.sending = Some(AbortOnDropHandle::new(tokio::spawn(sending)));
    }

    /// The call is over: nothing of the dialog follows.
    fn over(&mut self, cause: EndCause, evidence: Evidence, reason: Option<EndReason>) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        self.referral.give_up();
        // The script has its grace time yet; the trunk is free.
        self.placed.permit = None;
        let left = self.giving.caller_left();
        self.audio.reports.extend(left);
        self.audio.reports.push_back(LegEvent::Ended { cause, evidence, reason });
    }

    // ---- transfers

    async fn start_transfer(&mut self, id: TransferId, mode: TransferMode, request: BridgeRequest) {
        let target = match self.giving.target(id, mode, &request, &self.dial) {
            Ok(target) => target,
            Err(refused) => return self.audio.reports.push_back(refused),
        };
        match mode {
            TransferMode::Refer => match self.dialog.refer(&target.uri, request.headers).await {
                Ok(()) => self.giving.referred(id),
                Err(error) => self.audio.reports.push_back(failed(id, 500, &error.to_string())),
            },
            TransferMode::Bridge => {
                let signals = self.signal_sender.clone();
                self.giving.bridge(id, target, request, &self.dial, &self.audio.media, signals);
            }
        }
    }

    // ---- small things

    async fn hang_up(&self, reason: Option<(u8, String)>) {
        self.note(self.dialog.hangup(reason).await, "hang up");
    }

    fn note<E: std::fmt::Display>(&self, result: Result<(), E>, what: &str) {
        if let Err(error) = result {
            // The dialog reports its end itself.
            tracing::warn!(sip_call = self.dialog.id(), %error, "the dialog could not {what}");
        }
    }

    /// Ends what is left and waits for the recording and the statistics.
    pub(crate) async fn close(mut self) -> Closing {
        if !self.ended {
            self.hang_up(None).await;
        }
        self.audio.closing.transport = self.dialog.trace().get().messages.first().map(|message| message.transport);
        let Self { mut audio, giving, answered, placed, .. } = self;
        audio.closing.trunk = placed.used;
        drop(giving);
        audio.close(answered).await
    }
}
