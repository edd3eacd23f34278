//! A leg between a real stack and a real media plane, with its dialog and its media dying under it.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod early;
mod moves;

use super::*;
use crate::negotiation::Terms;
use crate::outbound::OutboundPolicy;
use crate::quotas::Refusals;
use crate::signalling::Signalling;
use crate::takeover::Places;
use crate::tolls::{Payer, Tolls};
use crate::trunks::TrunkBook;
use callbox_dialogue::CallId;
use callbox_dialogue::leg::{PromptId, TransferResult, VoiceSettings};
use callbox_media::{MediaConfig, MediaPlane};
use callbox_sip::overload::SourcePolicy;
use callbox_sip::{DialogPolicy, OutgoingCall, Reliable, SipConfig, SipStack};
use callbox_speech::{Ears, Speech, SpeechConfig};
use callbox_store::Store;
use callbox_store::quotas::OutboundQuotas;
use tokio::time::timeout;

struct House {
    leg: SipLeg,
    caller: Dialog,
    caller_events: mpsc::Receiver<DialogEvent>,
    /// Of both.
    plane: MediaPlane,
    caller_media: Session,
    /// Of the caller, where it made the offer.
    offered: Option<Negotiation>,
    /// Further calls to us.
    incoming: mpsc::Receiver<IncomingCall>,
    places: Places,
    /// Ours and the caller's.
    stacks: [SipStack; 2],
}

async fn stack(reliable: Reliable) -> (SipStack, mpsc::Receiver<IncomingCall>) {
    let udp = vec!["127.0.0.1:0".parse().unwrap()];
    let policy = DialogPolicy { reliable, ..DialogPolicy::default() };
    SipStack::start(SipConfig { udp, policy, ..SipConfig::default() }).await.unwrap()
}

/// A call that has come in and was not answered yet.
async fn ringing() -> House {
    ringing_from(true, Reliable::default()).await
}

/// The same of a caller that makes an offer or leaves that to us, and takes reliable provisional responses or not.
async fn ringing_from(offers: bool, reliable: Reliable) -> House {
    let id = CallId("call_test".into());
    let ((ours, mut incoming), (theirs, _)) = (stack(Reliable::default()).await, stack(reliable).await);
    let plane = MediaPlane::start(MediaConfig { ports: 0..=0, workers: 1, ..MediaConfig::default() }).unwrap();
    let (caller_media, _) = plane.open(&id).unwrap();
    let terms = Terms { created: 1, ..Terms::default() };
    let (offered, offer) = Negotiation::outbound(&caller_media, &terms);
    let (offered, offer) = (offers.then_some(offered), offers.then_some(offer));
    let target = format!("sip:1000@{}", ours.local_addrs()[0].1);
    let call = OutgoingCall { target, offer, ..OutgoingCall::default() };
    let (caller, caller_events) = theirs.call(call).await.unwrap();
    let call = incoming.recv().await.unwrap();
    let places = Places::default();
    let (media, media_events) = plane.open(&id).unwrap();
    let source = call.invite.source.ip();
    let negotiation = Negotiation::inbound(&media, call.invite.offer.as_deref(), source, &terms).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open("sqlite::memory:", folder.path()).await.unwrap();
    let leg = SipLeg::new(LegParts {
        dialog: call.dialog,
        dialog_events: call.events,
        media,
        media_events,
        negotiation,
        policy: LegPolicy::default(),
        senses: Senses {
            speech: Speech::new(SpeechConfig::default()).unwrap(),
            ears: Ears::new([]),
            language: "en".into(),
        },
        script: None,
        dial: Dial {
            stack: ours.clone(),
            media: plane.clone(),
            policy: Arc::new(OutboundPolicy { allowed_hosts: vec!["127.0.0.1".into()], ..OutboundPolicy::default() }),
            call: id,
            tenant: store.default_tenant().clone(),
            tolls: Tolls::new(store.clone(), "host".into(), Refusals::new(store.clone())),
            payer: Arc::new(Payer::new(store.default_tenant().clone(), &OutboundQuotas::default(), None, Vec::new())),
            trunks: TrunkBook::open(store.clone(), ours.clone(), SourcePolicy::default()),
            store,
            realm: "callbox".into(),
            caller: None,
            trunk: None,
            peer: None,
            peer_name: None,
            manners: LegPolicy::default(),
            known: false,
            places: places.clone(),
            created: 1,
            signalling: Signalling::new(true),
            packets: crate::packets::Packets::new(&std::env::temp_dir(), &CallId("call_test".into())),
        },
        placed: Placed::default(),
        direction: Direction::Inbound,
        recording: None,
        capture: false,
    });
    let stacks = [ours, theirs];
    House { leg, caller, caller_events, plane, caller_media, offered, incoming, places, stacks }
}

async fn answered() -> House {
    let mut house = ringing().await;
    house.leg.command(LegCommand::Answer).await;
    assert!(matches!(house.reported().await, LegEvent::Answered));
    house
}

impl House {
    /// The next report.
    async fn reported(&mut self) -> LegEvent {
        let report = async {
            loop {
                if let Some(report) = self.leg.report() {
                    return report;
                }
                let happening = self.leg.next().await;
                self.leg.handle(happening).await;
            }
        };
        timeout(Duration::from_secs(20), report).await.unwrap()
    }

    async fn caller_is_told(&mut self) {
        let over = async { while !matches!(self.caller_events.recv().await.unwrap(), DialogEvent::Ended { .. }) {} };
        timeout(Duration::from_secs(20), over).await.unwrap();
    }
}

#[tokio::test]
async fn a_call_whose_media_dies_is_ended() {
    let mut house = answered().await;
    let plane = house.plane.clone();
    tokio::task::spawn_blocking(move || plane.shutdown()).await.unwrap();
    let LegEvent::Ended { reason, cause, .. } = house.reported().await else { panic!("not its end") };
    assert_eq!(reason, Some(EndReason::PlatformError));
    assert!(matches!(cause, EndCause::Other(_)), "{cause:?}");
    house.caller_is_told().await;
    let closing = house.leg.close().await;
    assert!(closing.stats.is_some());
}

#[tokio::test]
async fn what_a_dead_media_plane_is_told_fails_loudly() {
    let mut house = ringing().await;
    let plane = house.plane.clone();
    tokio::task::spawn_blocking(move || plane.shutdown()).await.unwrap();
    // What is recorded although it is secret, or goes on although it was stopped, would be worse than no call.
    house.leg.command(LegCommand::Mask { on: true }).await;
    assert!(matches!(house.reported().await, LegEvent::Ended { reason: Some(EndReason::PlatformError), .. }));
    house.caller_is_told().await;
}

#[tokio::test]
async fn a_caller_who_gives_up_is_reported_once() {
    let mut house = ringing().await;
    house.leg.command(LegCommand::Ring).await;
    house.caller.hangup(None).await.unwrap();
    let LegEvent::Ended { cause, evidence, .. } = house.reported().await else { panic!("not its end") };
    assert_eq!((cause, evidence.sip_status), (EndCause::RemoteHangup, Some(487)));
    // Late commands do nothing, and nothing follows.
    house.leg.command(LegCommand::Answer).await;
    house.leg.command(LegCommand::Hangup).await;
    assert!(house.leg.report().is_none());
    house.leg.close().await;
}

#[tokio::test]
async fn a_prompt_that_cannot_be_fed_is_reported() {
    let mut house = ringing().await;
    let plane = house.plane.clone();
    tokio::task::spawn_blocking(move || plane.shutdown()).await.unwrap();
    let (prompt, voice) = (PromptId(1), VoiceSettings::default());
    let segments = vec![callbox_dialogue::script::Segment::Silence(20)];
    house.leg.audio.prompts.prepare(prompt, segments, voice, false);
    loop {
        match house.leg.next().await {
            Happening::Signal(LegSignal::Prompt(event)) => {
                assert!(matches!(event, LegEvent::PrepareFailed { prompt: PromptId(1), .. }), "{event:?}");
                break;
            }
            Happening::Media(_) => {}
            _ => panic!("something else"),
        }
        house.leg.audio.over = true;
    }
}

#[tokio::test]
async fn transfers_that_are_not_allowed_are_refused_at_once() {
    let mut house = answered().await;
    for (target, caller_id) in [("sip:agent@evil.example", None), ("+491234", None), ("sip:a@127.0.0.1", Some("a@b"))] {
        house
            .leg
            .command(LegCommand::Transfer {
                transfer: TransferId(1),
                target: target.into(),
                mode: TransferMode::Bridge,
                ring_timeout: 1_000,
                caller_id: caller_id.map(ToOwned::to_owned),
                headers: Vec::new(),
            })
            .await;
        let LegEvent::TransferEnded { result, .. } = house.reported().await else { panic!("not its outcome") };
        assert!(matches!(result, TransferResult::Failed { status: 403, .. }), "{target}: {result:?}");
    }
    house.leg.close().await;
}
