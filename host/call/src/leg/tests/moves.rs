//! Transfers by the far end, blind and attended, with a third party that is as real as the others.

use super::*;
use callbox_dialogue::leg::TransferId;
use callbox_sip::sdp::{Encryption, Keying};
use callbox_store::trunks::{OwnedTrunk, Trunk};
use callbox_store::{Actor, UnixMs};
use callbox_trunk::gate;
use serde_json::{Value, json};

/// The one whom the caller hands us to.
struct Agent {
    stack: SipStack,
    calls: mpsc::Receiver<IncomingCall>,
}

impl Agent {
    async fn new() -> Self {
        let (stack, calls) = stack(Reliable::default()).await;
        Self { stack, calls }
    }

    fn uri(&self) -> String {
        format!("sip:agent@{}", self.stack.local_addrs()[0].1)
    }
}

/// A call that has been taken, with what keeps it.
struct Taken {
    dialog: Dialog,
    events: mpsc::Receiver<DialogEvent>,
    _media: Session,
}

async fn take(plane: &MediaPlane, call: IncomingCall) -> Taken {
    let (media, _) = plane.open(&CallId("call_agent".into())).unwrap();
    let terms = Terms { created: 2, ..Terms::default() };
    let source = call.invite.source.ip();
    let mut negotiation = Negotiation::inbound(&media, call.invite.offer.as_deref(), source, &terms).unwrap();
    call.dialog.answer(negotiation.for_answer(&media).unwrap()).await.unwrap();
    Taken { dialog: call.dialog, events: call.events, _media: media }
}

async fn soon<T>(wanted: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(20), wanted).await.unwrap()
}

/// How the transfer that the caller asked for goes, to its outcome.
async fn outcome(events: &mut mpsc::Receiver<DialogEvent>) -> u16 {
    let outcome = async {
        loop {
            match events.recv().await.unwrap() {
                DialogEvent::ReferProgress { status, .. } if status >= 200 => return status,
                DialogEvent::Ended { .. } => panic!("the call is over, and the outcome unknown"),
                _ => {}
            }
        }
    };
    soon(outcome).await
}

/// Runs the leg until `other` is done; it reports nothing meanwhile.
async fn while_running<T>(leg: &mut SipLeg, other: impl Future<Output = T>) -> T {
    let mut other = std::pin::pin!(soon(other));
    loop {
        // As its actor does: what happens is looked at in full.
        let happening = tokio::select! {
            done = &mut other => return done,
            happening = leg.next() => happening,
        };
        leg.handle(happening).await;
        assert!(leg.report().is_none(), "nobody has to be told");
    }
}

#[tokio::test]
async fn a_blind_transfer_by_the_far_end_is_followed() {
    let (mut house, mut agent) = (answered().await, Agent::new().await);
    house.caller.refer(&agent.uri(), Vec::new()).await.unwrap();
    let call = while_running(&mut house.leg, agent.calls.recv()).await.unwrap();
    assert!(call.invite.headers.iter().any(|(name, _)| name == "referred-by"), "{:?}", call.invite.headers);
    let mut taken = take(&house.plane, call).await;
    assert_eq!(while_running(&mut house.leg, outcome(&mut house.caller_events)).await, 200);
    let over = async { while !matches!(house.caller_events.recv().await, Some(DialogEvent::Ended { .. }) | None) {} };
    while_running(&mut house.leg, over).await;
    // The call is with the agent now: its end is the end.
    let confirmed = async { while !matches!(taken.events.recv().await.unwrap(), DialogEvent::Confirmed { .. }) {} };
    while_running(&mut house.leg, confirmed).await;
    taken.dialog.hangup(None).await.unwrap();
    assert!(matches!(house.reported().await, LegEvent::Ended { cause: EndCause::RemoteHangup, .. }));
}

/// Most transfer and hang up in one breath.
#[tokio::test]
async fn a_far_end_that_hangs_up_after_its_transfer_does_not_end_the_call() {
    let (mut house, mut agent) = (answered().await, Agent::new().await);
    house.caller.refer(&agent.uri(), Vec::new()).await.unwrap();
    let call = while_running(&mut house.leg, agent.calls.recv()).await.unwrap();
    house.caller.hangup(None).await.unwrap();
    let parted = async {
        while house.leg.parting.is_none() {
            let happening = house.leg.next().await;
            house.leg.handle(happening).await;
        }
    };
    soon(parted).await;
    let mut taken = take(&house.plane, call).await;
    let confirmed = async { while !matches!(taken.events.recv().await.unwrap(), DialogEvent::Confirmed { .. }) {} };
    while_running(&mut house.leg, confirmed).await;
    let moved = async {
        while house.leg.parting.is_some() {
            let happening = house.leg.next().await;
            house.leg.handle(happening).await;
        }
    };
    soon(moved).await;
    house.leg.command(LegCommand::Hangup).await;
    assert!(matches!(house.reported().await, LegEvent::Ended { cause: EndCause::LocalHangup, .. }));
    soon(async { while !matches!(taken.events.recv().await.unwrap(), DialogEvent::Ended { .. }) {} }).await;
}

#[tokio::test]
async fn a_target_that_does_not_take_the_call_leaves_it_as_it_is() {
    let (mut house, mut agent) = (answered().await, Agent::new().await);
    house.caller.refer(&agent.uri(), Vec::new()).await.unwrap();
    let call = while_running(&mut house.leg, agent.calls.recv()).await.unwrap();
    call.dialog.reject(486, None, Vec::new()).await.unwrap();
    assert_eq!(while_running(&mut house.leg, outcome(&mut house.caller_events)).await, 486);
    house.caller.hangup(None).await.unwrap();
    assert!(matches!(house.reported().await, LegEvent::Ended { cause: EndCause::RemoteHangup, .. }));
}

#[tokio::test]
async fn a_transfer_to_where_nobody_may_call_is_declined() {
    let mut house = answered().await;
    for target in ["sip:premium@evil.example", "sip:+4990012345@evil.example", "sip:ada@callbox"] {
        house.caller.refer(target, Vec::new()).await.unwrap();
        assert_eq!(while_running(&mut house.leg, outcome(&mut house.caller_events)).await, 603, "{target}");
    }
}

/// RFC 5589 §7: the caller has talked to the agent, and connects the two.
#[tokio::test]
async fn a_call_goes_on_with_whom_takes_the_place_of_its_far_end() {
    let (mut house, agent) = (answered().await, Agent::new().await);
    let replaces = house.caller.replaces_value().await.unwrap();
    let (media, _) = house.plane.open(&CallId("call_agent".into())).unwrap();
    let (_, offer) = Negotiation::outbound(&media, &Terms { created: 2, ..Terms::default() });
    let place = |value: String, offer: Vec<u8>| OutgoingCall {
        target: format!("sip:1000@{}", house.stacks[0].local_addrs()[0].1),
        headers: vec![("Replaces".into(), value)],
        offer: Some(offer),
        ..OutgoingCall::default()
    };
    let (dialog, mut events) = agent.stack.call(place(replaces, offer)).await.unwrap();
    let incoming = soon(house.incoming.recv()).await.unwrap();
    let leg = incoming.invite.replaces.as_ref().unwrap().leg;
    house.places.hand_over(leg, incoming).await;
    let answered = async { while !matches!(events.recv().await.unwrap(), DialogEvent::Answered { .. }) {} };
    while_running(&mut house.leg, answered).await;
    let over = async { while !matches!(house.caller_events.recv().await, Some(DialogEvent::Ended { .. }) | None) {} };
    while_running(&mut house.leg, over).await;
    dialog.hangup(None).await.unwrap();
    assert!(matches!(house.reported().await, LegEvent::Ended { cause: EndCause::RemoteHangup, .. }));
}

/// What the new far end cannot have is refused, and the call goes on as it was.
#[tokio::test]
async fn an_offer_that_cannot_be_met_takes_nobodys_place() {
    let (mut house, agent) = (answered().await, Agent::new().await);
    let replaces = house.caller.replaces_value().await.unwrap();
    let call = OutgoingCall {
        target: format!("sip:1000@{}", house.stacks[0].local_addrs()[0].1),
        headers: vec![("Replaces".into(), replaces)],
        offer: Some(b"v=0\r\nc=IN IP4 127.0.0.1\r\nm=video 4000 RTP/AVP 31\r\n".to_vec()),
        ..OutgoingCall::default()
    };
    let (_dialog, mut events) = agent.stack.call(call).await.unwrap();
    let incoming = soon(house.incoming.recv()).await.unwrap();
    let leg = incoming.invite.replaces.as_ref().unwrap().leg;
    house.places.hand_over(leg, incoming).await;
    let refused = async {
        loop {
            if let DialogEvent::Ended { status, .. } = events.recv().await.unwrap() {
                return status;
            }
        }
    };
    assert_eq!(while_running(&mut house.leg, refused).await, Some(488));
    house.caller.hangup(None).await.unwrap();
    assert!(matches!(house.reported().await, LegEvent::Ended { cause: EndCause::RemoteHangup, .. }));
    // A place that is not there any more.
    drop(house.leg);
    assert!(house.places.is_empty());
}

/// What has to be encrypted with a far end has to be when it hands the call on to itself.
#[tokio::test]
async fn a_transfer_back_to_the_far_end_gives_up_no_encryption() {
    let (mut house, mut agent) = (answered().await, Agent::new().await);
    let manners = LegPolicy { encryption: Encryption::required(Keying::Sdes), ..LegPolicy::default() };
    house.leg.dial.far_end_is("127.0.0.1".into(), false, &manners);
    house.caller.refer(&agent.uri(), Vec::new()).await.unwrap();
    let call = while_running(&mut house.leg, agent.calls.recv()).await.unwrap();
    let offer = String::from_utf8(call.invite.offer.unwrap()).unwrap();
    assert!(offer.contains(" RTP/SAVP ") && !offer.contains(" RTP/AVP "), "{offer}");
}

#[tokio::test]
async fn a_trunk_is_free_when_the_call_is_over_though_its_script_runs_on() {
    let mut house = answered().await;
    let settings = serde_json::from_value(json!({ "name": "carrier", "limits": { "channels": 1 } })).unwrap();
    let trunk = Trunk { id: "trk_1".into(), settings, created_at: UnixMs(0), updated_at: UnixMs(0) };
    let owned = OwnedTrunk { tenant_id: house.leg.dial.tenant.clone(), trunk, password: None };
    let trunk = Arc::new(crate::trunks::LiveTrunk::new(owned, None));
    house.leg.placed.permit = Some(trunk.enter(gate::Direction::Inbound).unwrap());
    assert!(trunk.enter(gate::Direction::Inbound).is_err());
    house.caller.hangup(None).await.unwrap();
    assert!(matches!(house.reported().await, LegEvent::Ended { .. }));
    assert!(trunk.enter(gate::Direction::Inbound).is_ok());
}

/// A trunk with these addresses in this order, in service.
async fn trunk(house: &House, agents: [&Agent; 2]) {
    let dial = &house.leg.dial;
    let address = |(priority, agent): (usize, &Agent)| {
        let port = agent.stack.local_addrs()[0].1.port();
        json!({ "host": "127.0.0.1", "port": port, "transport": "udp", "priority": priority })
    };
    let addresses: Vec<Value> = agents.into_iter().enumerate().map(address).collect();
    let settings = json!({ "name": "carrier", "addresses": addresses, "health": { "options_interval_s": 0 } });
    dial.store.create_trunk(&dial.tenant, serde_json::from_value(settings).unwrap(), &Actor::system()).await.unwrap();
    soon(async {
        while !dial.trunks.serves(&dial.tenant) {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn whom_one_way_has_rung_for_nothing_is_not_rung_by_another() {
    let (mut house, mut first, mut second) = (answered().await, Agent::new().await, Agent::new().await);
    trunk(&house, [&first, &second]).await;
    for (rings, goes_on) in [(false, true), (true, false)] {
        let transfer = TransferId(u32::from(rings));
        house
            .leg
            .command(LegCommand::Transfer {
                transfer,
                target: "+493012345".into(),
                mode: TransferMode::Bridge,
                ring_timeout: 20_000,
                caller_id: None,
                headers: Vec::new(),
            })
            .await;
        let call = while_running(&mut house.leg, first.calls.recv()).await.unwrap();
        if rings {
            call.dialog.ring().await.unwrap();
        }
        call.dialog.reject(408, None, Vec::new()).await.unwrap();
        if goes_on {
            let call = while_running(&mut house.leg, second.calls.recv()).await.unwrap();
            call.dialog.reject(486, None, Vec::new()).await.unwrap();
        }
        let LegEvent::TransferEnded { result: TransferResult::Failed { status, .. }, .. } = house.reported().await
        else {
            panic!("it failed");
        };
        assert_eq!(status, if goes_on { 486 } else { 408 });
    }
    assert!(second.calls.try_recv().is_err());
}
