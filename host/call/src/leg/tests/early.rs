//! Heard before it is answered.

use super::*;
use callbox_dialogue::script::Segment;

/// The bodies of our responses of this status to the INVITE, in order.
fn bodies(leg: &SipLeg, status: &str) -> Vec<String> {
    let messages = leg.dialog.trace().get().messages;
    let ours = messages.iter().filter(|message| message.sent).map(|message| String::from_utf8_lossy(&message.bytes));
    let ours = ours.filter(|text| text.starts_with(&format!("SIP/2.0 {status} ")) && text.contains(" INVITE\r\n"));
    ours.map(|text| text.split_once("\r\n\r\n").unwrap().1.to_owned()).collect()
}

impl House {
    /// The description that the caller is told before the answer.
    async fn progress(&mut self) -> Vec<u8> {
        let told = async {
            loop {
                match self.caller_events.recv().await.unwrap() {
                    DialogEvent::Progress { sdp: Some(sdp), .. } | DialogEvent::EarlyOffer { sdp } => return sdp,
                    DialogEvent::Answered { .. } | DialogEvent::Ended { .. } => panic!("no early media"),
                    _ => {}
                }
            }
        };
        timeout(Duration::from_secs(20), told).await.unwrap()
    }

    /// Lets the leg work until the caller is told its status or answer.
    async fn caller_gets(&mut self) -> DialogEvent {
        loop {
            tokio::select! {
                event = self.caller_events.recv() => {
                    let event = event.unwrap();
                    if matches!(event, DialogEvent::Answered { .. } | DialogEvent::Ended { .. }) {
                        return event;
                    }
                }
                happening = self.leg.next() => self.leg.handle(happening).await,
            }
        }
    }

    /// What the caller answers to our offer.
    fn answer_to(&self, offer: &[u8]) -> Vec<u8> {
        let (ip, terms) = (self.caller_media.local_rtp().ip(), Terms { created: 2, ..Terms::default() });
        let mut negotiation = Negotiation::inbound(&self.caller_media, Some(offer), ip, &terms).unwrap();
        negotiation.for_answer(&self.caller_media).unwrap()
    }

    /// Plays 40 ms of silence to its end.
    async fn plays(&mut self, prompt: PromptId) {
        let (segments, voice) = (vec![Segment::Silence(40)], VoiceSettings::default());
        self.leg.command(LegCommand::Prepare { prompt, segments, voice, open: false }).await;
        while !matches!(self.reported().await, LegEvent::Prepared { .. }) {}
        self.leg.command(LegCommand::Play { prompt, by_speech: false }).await;
        loop {
            match self.reported().await {
                LegEvent::PromptEnded { complete, .. } => break assert!(complete),
                LegEvent::Answered => panic!("nobody answered"),
                _ => {}
            }
        }
    }
}

/// RFC 3261 §13.3.1.1: what goes unreliably before the 2xx stands in the 2xx again; RFC 6337 §2.2: what went reliably
/// does not. In neither case is the audio of the caller an answer of ours.
#[tokio::test]
async fn the_caller_hears_us_before_the_answer() {
    for reliable in [Reliable::Off, Reliable::Supported] {
        let mut house = ringing_from(true, reliable).await;
        house.leg.command(LegCommand::EarlyMedia).await;
        assert_eq!(house.reported().await, LegEvent::EarlyMedia);
        let sdp = house.progress().await;
        assert!(house.offered.as_mut().unwrap().early(&sdp, 0, &house.caller_media));
        let latched = async {
            loop {
                let happening = house.leg.next().await;
                let latched = matches!(happening, Happening::Media(MediaEvent::Latched { .. }));
                house.leg.handle(happening).await;
                if latched {
                    break;
                }
            }
        };
        timeout(Duration::from_secs(20), latched).await.expect("the caller's audio comes");
        assert_eq!(house.leg.report(), None);
        house.plays(PromptId(1)).await;
        assert!(!house.leg.answered);

        house.leg.command(LegCommand::Answer).await;
        assert!(matches!(house.caller_gets().await, DialogEvent::Answered { .. }));
        assert_eq!(house.reported().await, LegEvent::Answered);
        let early = bodies(&house.leg, "183");
        assert_eq!(early[0].as_bytes(), sdp);
        let last = if reliable == Reliable::Off { early[0].clone() } else { String::new() };
        assert_eq!(bodies(&house.leg, "200"), [last], "{reliable:?}");
        house.leg.close().await;
    }
}

#[tokio::test]
async fn a_call_that_was_heard_early_can_be_refused() {
    let mut house = ringing_from(true, Reliable::Off).await;
    house.leg.command(LegCommand::EarlyMedia).await;
    assert_eq!(house.reported().await, LegEvent::EarlyMedia);
    house.plays(PromptId(1)).await;
    house.leg.command(LegCommand::Reject { status: 486, reason: None }).await;
    let LegEvent::Ended { evidence, .. } = house.reported().await else { panic!("not its end") };
    assert_eq!(evidence.sip_status, Some(486));
    assert!(matches!(house.caller_gets().await, DialogEvent::Ended { status: Some(486), .. }));
    let closing = house.leg.close().await;
    assert!(closing.stats.is_some_and(|stats| stats.packets_sent > 0), "it was heard");
}

/// RFC 3262 §5: without an offer in the INVITE ours goes with the 183, and its answer comes with the PRACK.
#[tokio::test]
async fn a_caller_without_an_offer_answers_ours_early() {
    let mut house = ringing_from(false, Reliable::Supported).await;
    house.leg.command(LegCommand::EarlyMedia).await;
    assert_eq!(house.leg.report(), None, "nobody hears us yet");
    let offer = house.progress().await;
    let answer = house.answer_to(&offer);
    house.caller.ack(answer).await.unwrap();
    assert_eq!(house.reported().await, LegEvent::EarlyMedia);
    house.plays(PromptId(1)).await;
    house.leg.command(LegCommand::Answer).await;
    assert!(matches!(house.caller_gets().await, DialogEvent::Answered { .. }));
    assert_eq!(house.reported().await, LegEvent::Answered);
    assert_eq!(bodies(&house.leg, "200"), [""], "all is agreed");
    house.leg.close().await;
}

#[tokio::test]
async fn a_caller_that_takes_no_early_offer_is_answered_as_ever() {
    let mut house = ringing_from(false, Reliable::Off).await;
    house.leg.command(LegCommand::EarlyMedia).await;
    let LegEvent::EarlyMediaFailed { error } = house.reported().await else { panic!("not refused") };
    assert!(matches!(error, HostError::Unavailable(_)), "{error}");
    house.leg.command(LegCommand::Answer).await;
    let DialogEvent::Answered { sdp: Some(offer) } = house.caller_gets().await else { panic!("no offer of ours") };
    let answer = house.answer_to(&offer);
    house.caller.ack(answer).await.unwrap();
    assert_eq!(house.reported().await, LegEvent::Answered);
    house.leg.close().await;
}
