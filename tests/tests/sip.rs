//! The SIP of a host against SIPp: one scenario per behaviour, in `tests/sipp`.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use callbox_tests::{Host, Options, Phone, peer};
use serde_json::Value;

/// Runs a scenario against the probe on number 2000; the call's record.
async fn scenario(name: &str) -> Value {
    let host = Host::start().await;
    host.publish_probe(None).await;
    peer::sipp(&host, name, "2000", 1, &[]).await;
    host.finished_call().await["record"].take()
}

/// Runs a scenario after which the host knows of no call.
async fn no_call(name: &str, number: &str) {
    let host = Host::start().await;
    host.publish_probe(None).await;
    peer::sipp(&host, name, number, 1, &[]).await;
    let calls = host.get("/v1/calls").await;
    assert_eq!(calls["data"].as_array().unwrap().len(), 0, "{calls}");
}

#[tokio::test]
async fn a_call_is_answered_and_the_robot_hangs_up() {
    let record = scenario("basic").await;
    assert_eq!(record["outcome"], "answered");
    assert_eq!(record["end_reason"], "script_returned");
    assert_eq!(record["ended_by"], "script");
    assert_eq!(record["disposition"], "said");
}

#[tokio::test]
async fn a_caller_who_hangs_up_in_the_middle_heard_a_part() {
    let record = scenario("hangup_mid_prompt").await;
    assert_eq!(record["end_reason"], "caller_hangup");
    assert_eq!(record["ended_by"], "caller");
    let turn = &record["transcript"][0];
    let (said, heard) = (turn["text"].as_str().unwrap(), turn["heard_text"].as_str().unwrap());
    assert!(said.starts_with(heard) && heard.len() < said.len(), "said {said:?}, heard {heard:?}");
}

#[tokio::test]
async fn an_invite_without_an_offer_gets_ours() {
    let record = scenario("late_offer").await;
    assert_eq!(record["disposition"], "said");
    assert_eq!(record["media"]["codec"], "pcmu");
}

#[tokio::test]
async fn a_cancelled_call_ends_with_487_and_the_tag_of_the_180() {
    let record = scenario("cancel").await;
    assert_eq!(record["outcome"], "cancelled");
    assert_eq!(record["ended_by"], "caller");
    assert_eq!(record["times"]["answered"], Value::Null);
}

#[tokio::test]
async fn hold_and_resume_answer_with_the_right_directions() {
    let record = scenario("hold_resume").await;
    assert_eq!(record["end_reason"], "script_returned");
}

#[tokio::test]
async fn keys_by_info_are_keys() {
    let record = scenario("info_digits").await;
    assert_eq!(record["fields"]["digits"][0], "42");
}

#[tokio::test]
async fn a_lost_ack_ends_the_call_and_is_recorded() {
    let record = scenario("lost_ack").await;
    assert_eq!(record["end_reason"], "trunk_lost", "{record}");
    assert_eq!(record["ended_by"], "platform");
}

#[tokio::test]
async fn a_script_declines_with_its_status() {
    let record = scenario("rejected").await;
    assert_eq!(record["end_reason"], "rejected");
    assert_eq!(record["sip"]["status"], 603);
}

#[tokio::test]
async fn options_are_answered() {
    no_call("options", "2000").await;
}

#[tokio::test]
async fn a_number_nobody_has_is_not_found() {
    no_call("unknown_number", "7777").await;
}

#[tokio::test]
async fn an_offer_without_a_common_codec_is_not_acceptable() {
    no_call("no_codec", "2000").await;
}

#[tokio::test]
async fn methods_we_do_not_speak_are_refused() {
    no_call("message_refused", "2000").await;
}

#[tokio::test]
async fn a_second_answer_is_not_needed_when_the_ack_comes_late() {
    let record = scenario("late_ack").await;
    assert_eq!(record["end_reason"], "script_returned", "{record}");
}

#[tokio::test]
async fn a_bye_that_overtakes_the_ack_ends_the_call() {
    let record = scenario("early_bye").await;
    assert_eq!(record["end_reason"], "caller_hangup", "{record}");
}

#[tokio::test]
async fn answers_carry_every_via_in_order() {
    assert_eq!(scenario("multi_via").await["end_reason"], "script_returned");
}

#[tokio::test]
async fn a_recorded_route_is_the_way_of_our_bye() {
    assert_eq!(scenario("loose_route").await["end_reason"], "script_returned");
}

#[tokio::test]
async fn a_strict_route_is_obeyed_as_of_old() {
    assert_eq!(scenario("strict_route").await["end_reason"], "script_returned");
}

#[tokio::test]
async fn ringing_that_has_to_arrive_is_acknowledged() {
    assert_eq!(scenario("prack").await["end_reason"], "script_returned");
}

#[tokio::test]
async fn an_update_changes_the_session() {
    assert_eq!(scenario("update").await["end_reason"], "script_returned");
}

#[tokio::test]
async fn sessions_are_timed_as_both_sides_can_bear() {
    let host = Host::start().await;
    host.publish_probe(None).await;
    peer::sipp(&host, "session_timer", "2000", 1, &[]).await;
    assert_eq!(host.finished_call().await["record"]["end_reason"], "script_returned");
}

#[tokio::test]
async fn what_cannot_be_served_is_refused_with_what_could() {
    no_call("require_unknown", "2000").await;
}

#[tokio::test]
async fn a_caller_who_refers_us_is_told_how_it_goes() {
    let agents = Phone::new().await;
    let env = vec![("CALLBOX_OUTBOUND__ALLOWED_HOSTS", "[\"127.0.0.1\"]".to_owned())];
    let host = Host::start_with(Options { env, ..Options::default() }).await;
    host.publish_probe(None).await;
    let target = agents.uri();
    let flags = ["-key", "target", target.as_str()];
    let caller = peer::sipp(&host, "refer_in", "2000", 1, &flags);
    let agent = async {
        let line = agents.pick_up(agents.incoming().await).await;
        line.hears_for(200).await;
        line
    };
    let ((), mut agent) = tokio::join!(caller, agent);
    // The call goes on with the one it was given to.
    agent.hang_up().await;
    host.runs(0).await;
}

#[tokio::test]
async fn calls_come_over_tcp() {
    let mut host = Host::start().await;
    host.publish_probe(None).await;
    std::mem::swap(&mut host.sip, &mut host.sip_tcp);
    peer::sipp(&host, "basic", "2000", 1, &["-t", "t1"]).await;
    assert_eq!(host.finished_call().await["record"]["disposition"], "said");
}

#[tokio::test]
async fn a_hundred_calls_at_once_each_end_well() {
    let host = Host::start().await;
    host.publish_probe(None).await;
    peer::sipp(&host, "basic", "2000", 100, &["-r", "50", "-l", "100"]).await;
    let calls = host.finished_calls(100).await;
    assert_eq!(calls.len(), 100);
    assert!(calls.iter().all(|call| call["disposition"] == "said"), "{calls:?}");
}

#[tokio::test]
async fn lost_messages_are_sent_again_until_the_call_is_through() {
    let host = Host::start().await;
    host.publish_probe(None).await;
    // SIPp loses a fifth of what it sends and receives.
    peer::sipp(&host, "basic", "2000", 10, &["-lost", "20", "-r", "5"]).await;
    let calls = host.finished_calls(10).await;
    assert!(calls.iter().all(|call| call["end_reason"] == "script_returned"), "{calls:?}");
}
