//! The WebRTC leg: carries out the engine's commands on a media session that a browser or an app has come to by one
//! HTTP exchange, and reports what it sees.
//!
//! The way for the audio is open before the script has answered, so ringing is a word on the data channel and early
//! media is the audio itself. Nothing is said before the browser can hear it: the call is up when it was answered and its
//! packets are protected, whichever comes last.

use super::{CONNECT, IfMatch, Renewal, RenewalError, Renewed, Tally, What};
use crate::bridge::BridgeRequest;
use crate::leg::{Audio, Closing, Giving, LegSignal, SIGNALS, Senses};
use crate::outbound::Dial;
use crate::signalling::Signalling;
use callbox_dialogue::CallRecord;
use callbox_dialogue::call::{EndCause, EndReason, Evidence};
use callbox_dialogue::leg::{LegCommand, LegEvent, TransferId};
use callbox_dialogue::script::TransferMode;
use callbox_media::webrtc::IceAnswer;
use callbox_media::{MediaCommand, MediaEvent, Session};
use callbox_script::Script;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};

/// How long a page that is told of the end may take to go.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// What others tell a leg by HTTP.
#[derive(Debug)]
pub(crate) enum WebCommand {
    /// ICE begins anew, or all of it is described again.
    Renew { renewal: Box<Renewal>, if_match: IfMatch, reply: oneshot::Sender<Result<Renewed, RenewalError>> },
    /// The caller hangs up.
    HangUp,
}

/// Something a leg has to look at.
pub(crate) enum WebHappening {
    Media(MediaEvent),
    Signal(LegSignal),
    /// The media plane dropped the session without a last word.
    MediaLost,
    /// The browser did not get through to its media in time.
    Late,
}

/// What a leg is made of.
pub(crate) struct WebLegParts {
    pub(crate) media: Session,
    pub(crate) media_events: mpsc::Receiver<MediaEvent>,
    /// The name of its session of ICE.
    pub(crate) ice_session: String,
    pub(crate) senses: Senses,
    /// Where audio assets come from; none when it could not be loaded.
    pub(crate) script: Option<Arc<Script>>,
    pub(crate) dial: Dial,
    /// Where the call is recorded, where it is.
    pub(crate) recording: Option<PathBuf>,
    /// Whether its packets are captured from the beginning.
    pub(crate) capture: bool,
    /// The moment of `dial.created`.
    pub(crate) began: Instant,
    /// For the operator's figures.
    pub(crate) tally: Arc<Tally>,
}

/// One WebRTC leg.
pub(crate) struct WebLeg {
    audio: Audio,
    signals: mpsc::Receiver<LegSignal>,
    signal_sender: mpsc::Sender<LegSignal>,
    ice_session: String,
    dial: Dial,
    giving: Giving,
    /// Packets are protected: the browser hears us.
    connected: bool,
    /// The script wants to be heard before it answers.
    early: bool,
    /// The script has answered.
    taken: bool,
    answered: bool,
    ended: bool,
    /// Nobody is there any more who could be told.
    gone: bool,
    began: Instant,
    tally: Arc<Tally>,
}

impl WebLeg {
    pub(crate) fn new(parts: WebLegParts) -> Self {
        let (signal_sender, signals) = mpsc::channel(SIGNALS);
        if parts.capture {
            parts.dial.packets.begin_with(&parts.media);
        }
        let media = (parts.media, parts.media_events);
        Self {
            audio: Audio::new(media, parts.senses, parts.script, parts.recording, signal_sender.clone()),
            signals,
            signal_sender,
            ice_session: parts.ice_session,
            dial: parts.dial,
            giving: Giving::default(),
            connected: false,
            early: false,
            taken: false,
            answered: false,
            ended: false,
            gone: false,
            began: parts.began,
            tally: parts.tally,
        }
    }

    /// Captures the packets of the call from now on; those of a transfer that is under way already are not among them.
    pub(crate) fn capture(&self) {
        self.dial.packets.begin_with(&self.audio.media);
    }

    /// What is kept of its signalling.
    pub(crate) fn signalling(&self) -> Signalling {
        self.dial.signalling.clone()
    }

    /// What the engine is to be told, in order.
    pub(crate) fn report(&mut self) -> Option<LegEvent> {
        self.audio.reports.pop_front()
    }

    /// What the page says to the script: JSON.
    pub(crate) fn message(&mut self) -> Option<String> {
        self.audio.messages.pop_front()
    }

    /// Tells the page what it does not know yet.
    pub(crate) fn tell(&mut self, record: &CallRecord) {
        self.audio.tell_page(record);
    }

    /// Waits for something to look at. Cancel-safe.
    pub(crate) async fn next(&mut self) -> WebHappening {
        tokio::select! {
            biased;
            event = self.audio.next() => event.map_or(WebHappening::MediaLost, WebHappening::Media),
            Some(signal) = self.signals.recv() => WebHappening::Signal(signal),
            () = sleep_until(self.began + CONNECT), if !self.connected && !self.ended => WebHappening::Late,
        }
    }

    pub(crate) fn handle(&mut self, happening: WebHappening) {
        match happening {
            WebHappening::Media(event) => {
                if let Some(event) = self.audio.event(event) {
                    self.media_event(event);
                }
            }
            // What is left of it is of a call that we place.
            WebHappening::Signal(signal) => drop(self.audio.signal(signal, &mut self.giving)),
            WebHappening::MediaLost => self.audio.ended(),
            WebHappening::Late => self.never_came("the browser did not get through to its media in time".into()),
        }
        self.face_faults();
    }

    /// A call whose media does not do what it is told is better over than silent, or recorded against its will.
    fn face_faults(&mut self) {
        let Some(why) = self.audio.take_fault().filter(|_| !self.ended) else { return };
        tracing::error!(call = %self.dial.call, why, "a call is ended: it cannot go on as it should");
        self.over(EndCause::Other(why), Evidence::default(), Some(EndReason::PlatformError));
    }

    /// Carries out a command of the engine.
    pub(crate) fn command(&mut self, command: LegCommand) {
        if self.ended {
            return;
        }
        match command {
            // The page is told by the record; it may play what ringing sounds like where it is.
            LegCommand::Ring => {}
            LegCommand::EarlyMedia => {
                self.early = true;
                self.opened();
            }
            LegCommand::Answer => {
                self.taken = true;
                self.opened();
            }
            LegCommand::Reject { status, reason } => {
                let evidence = Evidence { sip_status: Some(status), sip_reason: reason, q850: None };
                self.over(EndCause::LocalHangup, evidence, None);
            }
            LegCommand::Hangup => self.over(EndCause::LocalHangup, Evidence::default(), None),
            // A browser is asked to call nobody: the engine knows that, and asks for a bridge.
            LegCommand::Transfer { transfer, target, mode: _, ring_timeout, caller_id, headers } => {
                let ring_timeout = Duration::from_millis(ring_timeout.into());
                self.transfer(transfer, BridgeRequest { target, caller_id, headers, ring_timeout });
            }
            LegCommand::CancelTransfer { transfer } => {
                let cancelled = self.giving.cancel(transfer);
                self.audio.reports.extend(cancelled);
            }
            audio => drop(self.audio.command(audio)),
        }
        self.face_faults();
    }

    /// The way is open, or is to be opened: what both allow happens.
    fn opened(&mut self) {
        if !self.connected || self.ended {
            return;
        }
        if std::mem::take(&mut self.early) {
            self.audio.reports.push_back(LegEvent::EarlyMedia);
        }
        if self.taken && !std::mem::replace(&mut self.answered, true) {
            self.audio.is_up();
            self.audio.reports.push_back(LegEvent::Answered);
        }
    }

    fn media_event(&mut self, event: MediaEvent) {
        match event {
            MediaEvent::SecurityEstablished { suite } => {
                self.step(What::Connected, &suite.to_string());
                if !std::mem::replace(&mut self.connected, true) {
                    self.tally.connected();
                }
                self.opened();
            }
            // Protected once, DTLS ends by the far end's will, whatever it was that noticed.
            MediaEvent::SecurityFailed { why } if self.connected => {
                self.gone = true;
                self.caller_hangs_up(&why);
            }
            MediaEvent::SecurityFailed { why } => self.never_came(why),
            MediaEvent::MediaTimeout => {
                self.gone = true;
                self.step(What::Lost, "");
                self.over(EndCause::NetworkFailure, Evidence::default(), Some(EndReason::MediaTimeout));
            }
            MediaEvent::Left => {
                self.gone = true;
                self.caller_hangs_up("by the end of DTLS");
            }
            MediaEvent::Digit { digit } => self.audio.reports.push_back(LegEvent::Digit { digit }),
            MediaEvent::Channel { open } => {
                self.audio.channel.opened(open);
                self.step(if open { What::ChannelOpen } else { What::ChannelClosed }, "");
            }
            MediaEvent::Message(text) => {
                let hangs_up = self.audio.page_says(&text, &self.giving);
                if hangs_up {
                    self.caller_hangs_up("on the data channel");
                }
            }
            _ => {}
        }
    }

    fn never_came(&mut self, why: String) {
        tracing::info!(call = %self.dial.call, why, "a browser did not get through to its media");
        self.step(What::Failed, &why);
        self.tally.failed();
        let evidence = Evidence { sip_reason: Some(why), ..Evidence::default() };
        self.over(EndCause::NetworkFailure, evidence, Some(EndReason::MediaTimeout));
    }

    fn caller_hangs_up(&mut self, how: &str) {
        if !self.ended {
            self.step(What::HungUp, how);
            self.over(EndCause::RemoteHangup, Evidence::default(), None);
        }
    }

    /// Carries out what came by HTTP.
    pub(crate) async fn web(&mut self, command: WebCommand) {
        match command {
            WebCommand::HangUp => self.caller_hangs_up("by DELETE"),
            WebCommand::Renew { renewal, if_match, reply } => {
                let renewed = self.renew(*renewal, &if_match).await;
                // Nobody waiting any more is fine.
                let _ = reply.send(renewed);
            }
        }
    }

    async fn renew(&mut self, renewal: Renewal, if_match: &IfMatch) -> Result<Renewed, RenewalError> {
        if self.ended {
            return Err(RenewalError::Over);
        }
        if let IfMatch::Session(known) = if_match
            && *known != self.ice_session
        {
            return Err(RenewalError::Stale);
        }
        let Renewal { kind, text } = renewal;
        self.step(kind.step(), &text);
        let media = self.audio.media.clone();
        let renewed = match kind {
            super::RenewalKind::Offer(offer) => media.renegotiate(offer).await.map(Renewed::Answer),
            super::RenewalKind::Ice(fragment) => media.restart_ice(fragment).await.map(Renewed::Ice),
        };
        match &renewed {
            Ok(Renewed::Answer(answer)) => {
                self.ice_session.clone_from(&answer.ice_session);
                self.step(What::Answer, &answer.sdp);
            }
            Ok(Renewed::Ice(IceAnswer::Restarted { fragment, ice_session })) => {
                self.ice_session.clone_from(ice_session);
                self.step(What::IceAnswer, fragment);
            }
            Ok(Renewed::Ice(IceAnswer::Unchanged)) => {}
            Err(error) => self.step(What::Refused, &error.to_string()),
        }
        Ok(renewed?)
    }

    fn transfer(&mut self, id: TransferId, request: BridgeRequest) {
        match self.giving.target(id, TransferMode::Bridge, &request, &self.dial) {
            Ok(target) => {
                let signals = self.signal_sender.clone();
                self.giving.bridge(id, target, request, &self.dial, &self.audio.media, signals);
            }
            Err(refused) => self.audio.reports.push_back(refused),
        }
    }

    /// The call is over: nothing of the far end follows.
    fn over(&mut self, cause: EndCause, evidence: Evidence, reason: Option<EndReason>) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let left = self.giving.caller_left();
        self.audio.reports.extend(left);
        // The page may take a moment to be gone, and what is said there then is not for us.
        let _ = self.audio.media.send(MediaCommand::StopRecording);
        self.audio.reports.push_back(LegEvent::Ended { cause, evidence, reason });
    }

    pub(super) fn step(&self, what: What, text: &str) {
        let since = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        let at = self.dial.created.saturating_mul(1_000).saturating_add(since);
        self.dial.signalling.step(at, what, text, |_| {});
    }

    /// Ends what is left and waits for the recording and the statistics.
    pub(crate) async fn close(self) -> Closing {
        let Self { mut audio, giving, answered, gone, .. } = self;
        drop(giving);
        if audio.channel.is_open() && !gone {
            // A page that is told of the end goes by itself. Closing at once could take the word back on its way.
            let leaves = async {
                while let Some(event) = audio.next().await {
                    if matches!(audio.event(event), Some(MediaEvent::Left | MediaEvent::SecurityFailed { .. })) {
                        break;
                    }
                }
            };
            let _ = timeout(LAST_WORDS, leaves).await;
        }
        audio.close(answered).await
    }
}
