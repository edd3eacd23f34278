//! Leave to be heard before the answer (RFC 5009), from both sides.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod lab;

use bytes::Bytes;
use callbox_sip::ua::DialogEvent;
use callbox_sip::{DialogPolicy, Reliable, SipLimits};
use lab::{ANSWER, Bench, OFFER, PLAIN, SDP, header, invite, request, response};

#[test]
fn where_leave_has_to_be_asked_for_it_is() {
    let offer = std::str::from_utf8(OFFER).unwrap();
    for (caller, asked) in [
        ("P-Early-Media: supported\n", true),
        ("P-Early-Media: gated, Supported\nSupported: 100rel\n", true),
        ("P-Early-Media: gated\n", false),
        ("", false),
    ] {
        let policy = DialogPolicy { reliable: Reliable::Supported, ..PLAIN };
        let mut bench = Bench::with_policy(SipLimits::default(), policy);
        bench.put(&request("INVITE", 1, "inv", None, &format!("{SDP}{caller}"), offer));
        let leg = bench.calls[0].0;
        bench.act(|end, now| end.ring(now, leg)).unwrap();
        assert_eq!(header(bench.last(), "P-Early-Media"), None, "ringing is not heard: {caller}");
        bench.act(|end, now| end.progress(now, leg, Bytes::from_static(ANSWER))).unwrap();
        assert!(bench.last().starts_with("SIP/2.0 183"), "{}", bench.last());
        assert_eq!(header(bench.last(), "P-Early-Media"), asked.then_some("sendrecv"), "{caller}");
    }
}

#[test]
fn who_may_not_be_heard_rings() {
    let mut bench = Bench::new();
    bench.act(|end, now| end.invite(now, invite(1, 0, Some(OFFER)))).unwrap();
    let invite = bench.take().pop().unwrap();
    let mut says = |status: &str, tag: &str, leave: &str, described: bool| {
        let sdp = if described { SDP } else { "" };
        let body = if described { std::str::from_utf8(ANSWER).unwrap() } else { "" };
        let extra = format!("Contact: <sip:{tag}@10.0.0.1:5060>\n{leave}{sdp}");
        bench.put(&response(&invite, status, tag, &extra, body));
        bench.events.last().cloned().unwrap()
    };
    let heard = |branch| DialogEvent::Progress { sdp: Some(ANSWER.to_vec()), branch };
    let progress = "183 Session Progress";
    assert_eq!(says(progress, "bob", "P-Early-Media: inactive\n", true), DialogEvent::Ringing);
    assert_eq!(says(progress, "bob", "", true), DialogEvent::Ringing, "it was said before");
    assert_eq!(says("180 Ringing", "bob", "P-Early-Media: gated, future\n", false), DialogEvent::Ringing);
    assert_eq!(says("180 Ringing", "bob", "P-Early-Media: sendonly, gated\n", false), heard(0), "it may now");
    assert_eq!(says("180 Ringing", "bob", "P-Early-Media: sendrecv\n", false), DialogEvent::Ringing, "nothing new");
    // Each branch of a fork has its own leave, and who says nothing of it is heard.
    assert_eq!(says(progress, "eve", "P-Early-Media: RecvOnly\n", true), DialogEvent::Ringing);
    assert_eq!(says(progress, "joe", "", true), heard(2));
    // The answer is the answer.
    assert_eq!(says("200 OK", "eve", "", false), DialogEvent::Answered { sdp: Some(ANSWER.to_vec()) });
}
