//! Calls given away and calls placed: REFER, the bridge, and what far ends
//! answer to our own INVITE.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use callbox_sip::DialogEvent;
use callbox_tests::peer::{self, Callee};
use callbox_tests::{Host, Line, Options, Over, Phone, SOON};
use serde_json::{Value, json};
use tokio::time::timeout;

async fn probe_host() -> Host {
    let host = Host::start().await;
    host.publish_probe(None).await;
    host
}

// ---- REFER

async fn refer(scenario: &str) -> Value {
    let host = probe_host().await;
    peer::sipp(&host, scenario, "2000", 1, &[]).await;
    host.finished_call().await["record"].take()
}

#[tokio::test]
async fn a_far_end_that_takes_the_refer_has_the_call() {
    let record = refer("refer_accepted").await;
    assert_eq!(record["end_reason"], "transfer_completed", "{record}");
    assert_eq!(record["ended_by"], "script");
    assert_eq!(record["outcome"], "answered");
    assert_eq!(record["transfer"]["outcome"], "connected", "{record}");
    assert_eq!(record["transfer"]["mode"], "refer");
    assert_eq!(record["transfer"]["target"], "sip:agent@127.0.0.1:5099");
}

/// The script has its caller again and says so before it ends.
fn is_back(record: &Value, status: &str) {
    assert_eq!(record["end_reason"], "script_returned", "{record}");
    assert!(record["fields"]["transfer"].to_string().contains(status), "{record}");
    let last = record["transcript"].as_array().unwrap().last().unwrap();
    assert_eq!(last["text"], "It did not work.", "{record}");
    assert_eq!(last["heard_text"], "It did not work.", "{record}");
}

#[tokio::test]
async fn a_refused_refer_gives_the_caller_back() {
    is_back(&refer("refer_refused").await, "603");
}

#[tokio::test]
async fn a_busy_target_of_a_refer_gives_the_caller_back() {
    is_back(&refer("refer_busy").await, "486");
}

// ---- the bridge

/// A caller of the probe in a bridge to a phone.
async fn bridged(host: &Host) -> (Phone, Phone, Line, Line) {
    let (callers, agents) = (Phone::new().await, Phone::new().await);
    let target = agents.uri();
    let line =
        callers.dial_probe(host, "transfer", &[("X-Probe-Target", &target), ("X-Probe-Transfer-Mode", "bridge")]).await;
    let ringing = agents.incoming().await;
    ringing.dialog.ring().await.unwrap();
    let agent = agents.pick_up(ringing).await;
    (callers, agents, line, agent)
}

#[tokio::test]
async fn both_sides_of_a_bridge_hear_each_other_and_each_others_keys() {
    let host = probe_host().await;
    let (_callers, _agents, mut caller, mut agent) = bridged(&host).await;
    caller.sound(400.0);
    agent.sound(1_000.0);
    tokio::join!(caller.hears(1_000.0), agent.hears(400.0));
    caller.press("19*");
    agent.hears_keys("19*").await;
    agent.press("#0");
    caller.hears_keys("#0").await;
    // What changes on one side changes on the other.
    caller.sound(1_500.0);
    agent.hears(1_500.0).await;

    agent.hang_up().await;
    caller.hears_no(1_000.0).await;
    assert!(caller.over().await.by_host);
    let record = host.finished_call().await["record"].take();
    assert_eq!(record["fields"]["transfer"], "Ok(Returned)", "{record}");
    assert_eq!(record["transfer"]["outcome"], "returned", "{record}");
    assert_eq!(record["end_reason"], "script_returned", "{record}");
    let last = record["transcript"].as_array().unwrap().last().unwrap();
    assert_eq!(last["heard_text"], "You are back.", "{record}");
}

#[tokio::test]
async fn a_caller_who_hangs_up_in_a_bridge_ends_both_legs() {
    let host = probe_host().await;
    let (_callers, _agents, mut caller, mut agent) = bridged(&host).await;
    caller.sound(400.0);
    agent.hears(400.0).await;
    caller.hang_up().await;
    assert!(agent.over().await.by_host);
    let record = host.finished_call().await["record"].take();
    assert_eq!(record["transfer"]["outcome"], "connected", "{record}");
    assert_eq!(record["end_reason"], "transfer_completed", "{record}");
    host.runs(0).await;
}

/// A bridge to a target of SIPp that does not take the call.
async fn bridge_to(scenario: &str) -> Value {
    let host = probe_host().await;
    let callee = Callee::start(scenario).await;
    let target = format!("sip:agent@{}", callee.address);
    let phone = Phone::new().await;
    let mut line =
        phone.dial_probe(&host, "transfer", &[("X-Probe-Target", &target), ("X-Probe-Transfer-Mode", "bridge")]).await;
    assert!(line.over().await.by_host);
    callee.done().await;
    host.finished_call().await["record"].take()
}

#[tokio::test]
async fn a_bridge_to_somebody_busy_gives_the_caller_back() {
    is_back(&bridge_to("callee_busy").await, "486");
}

#[tokio::test]
async fn a_bridge_to_somebody_who_declines_gives_the_caller_back() {
    is_back(&bridge_to("callee_declines").await, "603");
}

#[tokio::test]
async fn a_bridge_that_nobody_takes_is_cancelled_after_its_ringing_time() {
    let host = probe_host().await;
    let (callers, agents) = (Phone::new().await, Phone::new().await);
    let target = agents.uri();
    let options =
        [("X-Probe-Target", target.as_str()), ("X-Probe-Transfer-Mode", "bridge"), ("X-Probe-Delay-Ms", "1500")];
    let mut caller = callers.dial_probe(&host, "transfer", &options).await;
    let mut ringing = agents.incoming().await;
    ringing.dialog.ring().await.unwrap();
    let cancelled = timeout(SOON, async {
        loop {
            if let DialogEvent::Ended { by_remote, .. } = ringing.events.recv().await.unwrap() {
                return by_remote;
            }
        }
    });
    assert!(cancelled.await.expect("the CANCEL comes in time"));
    assert!(caller.over().await.by_host);
    let record = host.finished_call().await["record"].take();
    let status = record["fields"]["transfer"].to_string();
    is_back(&record, if status.contains("408") { "408" } else { "487" });
}

#[tokio::test]
async fn a_caller_who_leaves_while_the_target_rings_cancels_it() {
    let host = probe_host().await;
    let (callers, agents) = (Phone::new().await, Phone::new().await);
    let target = agents.uri();
    let options = [("X-Probe-Target", target.as_str()), ("X-Probe-Transfer-Mode", "bridge")];
    let mut caller = callers.dial_probe(&host, "transfer", &options).await;
    let mut ringing = agents.incoming().await;
    ringing.dialog.ring().await.unwrap();
    caller.hang_up().await;
    let ended = timeout(SOON, async { while ringing.events.recv().await.is_some() {} });
    ended.await.expect("the second leg is cancelled in time");
    let record = host.finished_call().await["record"].take();
    assert_eq!(record["end_reason"], "caller_hangup", "{record}");
    assert!(record["transfer"]["outcome"].to_string().contains("487"), "{record}");
}

// ---- toll fraud

#[tokio::test]
async fn a_target_that_is_not_allowed_is_not_called() {
    let host = probe_host().await;
    let agents = Phone::new().await;
    // The host is 127.0.0.1 by another name, so that a call that is placed all the same arrives.
    let target = agents.uri().replace("127.0.0.1", "localhost");
    for mode in ["bridge", "refer"] {
        let phone = Phone::new().await;
        let mut line =
            phone.dial_probe(&host, "transfer", &[("X-Probe-Target", &target), ("X-Probe-Transfer-Mode", mode)]).await;
        assert!(line.over().await.by_host);
    }
    for call in host.finished_calls(2).await {
        let id = call["id"].as_str().unwrap();
        is_back(&host.get(&format!("/v1/calls/{id}")).await["record"], "403");
    }
    let silence = timeout(std::time::Duration::from_millis(1), agents.incoming()).await;
    assert!(silence.is_err(), "a target was called that is not allowed");
}

#[tokio::test]
async fn a_callers_own_words_do_not_allow_a_target() {
    let host = probe_host().await;
    let agents = Phone::new().await;
    let target = agents.uri().replace("127.0.0.1", "localhost");
    // `From` is whatever the caller writes: naming the target's host there must not open it.
    let to = format!("X-Probe-Target: {target}");
    let flags = ["--from", "sip:me@localhost", "--header", &to, "--header", "X-Probe-Transfer-Mode: bridge"];
    peer::call_probe(&host, "transfer", &flags).await;
    is_back(&host.finished_call().await["record"], "403");
}

// ---- calls placed

async fn place(scenario: &str, env: &[(&'static str, String)], to: impl Fn(&str) -> String, extra: Value) -> Value {
    let callee = Callee::start(scenario).await;
    let mut options = Options { env: env.to_vec(), ..Options::default() };
    options.env.push(("CALLBOX_OUTBOUND__ALLOWED_HOSTS", "[\"127.0.0.1\"]".into()));
    options.env.push(("CALLBOX_OUTBOUND__PROXY", callee.address.clone()));
    let host = Host::start_with(options).await;
    let script = host.publish_probe(None).await;
    let mut body = json!({ "to": to(&callee.address), "script_id": script });
    body.as_object_mut().unwrap().extend(extra.as_object().cloned().unwrap_or_default());
    host.post("/v1/calls", &body).await;
    callee.done().await;
    host.finished_call().await["record"].take()
}

fn uri(address: &str) -> String {
    format!("sip:agent@{address}")
}

fn credentials() -> Vec<(&'static str, String)> {
    vec![("CALLBOX_OUTBOUND__USERNAME", "desk".into()), ("CALLBOX_OUTBOUND__PASSWORD", "open sesame".into())]
}

#[tokio::test]
async fn a_number_goes_to_the_proxy_with_the_right_credentials() {
    for scenario in ["callee_401", "callee_407"] {
        let record = place(scenario, &credentials(), |_| "+493012345".into(), json!({})).await;
        assert_eq!(record["outcome"], "answered", "{scenario}: {record}");
        assert_eq!(record["to"], "+493012345", "{record}");
        assert!(!record.to_string().contains("sesame"), "{record}");
    }
}

#[tokio::test]
async fn a_challenge_without_credentials_is_the_calls_end() {
    let callee = Callee::start("callee_401").await;
    let env = vec![("CALLBOX_OUTBOUND__PROXY", callee.address.clone())];
    let host = Host::start_with(Options { env, ..Options::default() }).await;
    let script = host.publish_probe(None).await;
    host.post("/v1/calls", &json!({ "to": "100", "script_id": script })).await;
    let record = host.finished_call().await["record"].take();
    assert_eq!(record["sip"]["status"], 401, "{record}");
    assert_eq!(record["times"]["answered"], Value::Null, "{record}");
    assert_ne!(record["outcome"], "answered", "{record}");
}

#[tokio::test]
async fn what_a_callee_answers_is_the_calls_outcome() {
    for (scenario, outcome, status) in [
        ("callee_busy", "busy", 486),
        ("callee_unknown", "invalid_number", 404),
        ("callee_declines", "refused", 603),
        ("callee_broken", "network_error", 500),
    ] {
        let record = place(scenario, &[], uri, json!({})).await;
        assert_eq!(record["outcome"], outcome, "{scenario}: {record}");
        assert_eq!(record["sip"]["status"], status, "{scenario}: {record}");
        assert_eq!(record["times"]["answered"], Value::Null, "{scenario}: {record}");
        if scenario == "callee_busy" {
            assert_eq!(record["sip"]["q850"], 17, "{record}");
        }
    }
}

#[tokio::test]
async fn a_call_that_is_ended_while_it_rings_is_cancelled() {
    let agents = Phone::new().await;
    let env = vec![("CALLBOX_OUTBOUND__ALLOWED_HOSTS", "[\"127.0.0.1\"]".into())];
    let host = Host::start_with(Options { env, ..Options::default() }).await;
    let script = host.publish_probe(None).await;
    let placed = host.post("/v1/calls", &json!({ "to": agents.uri(), "script_id": script })).await;
    let mut ringing = agents.incoming().await;
    ringing.dialog.ring().await.unwrap();
    let id = placed["id"].as_str().unwrap();
    host.post(&format!("/v1/calls/{id}/hangup"), &json!({})).await;
    let ended = timeout(SOON, async { while ringing.events.recv().await.is_some() {} });
    ended.await.expect("the CANCEL comes in time");
    let record = host.finished_call().await["record"].take();
    assert_eq!(record["outcome"], "cancelled", "{record}");
    assert_eq!(record["end_reason"], "operator_hangup", "{record}");
}

#[tokio::test]
async fn a_callee_that_hangs_up_ends_the_call() {
    let agents = Phone::new().await;
    let env = vec![("CALLBOX_OUTBOUND__ALLOWED_HOSTS", "[\"127.0.0.1\"]".into())];
    let host = Host::start_with(Options { env, ..Options::default() }).await;
    let script = host.publish("probe", "2000", &callbox_tests::probe_bindings(None), &json!({})).await;
    host.post("/v1/calls", &json!({ "to": agents.uri(), "script_id": script })).await;
    let mut line = agents.pick_up(agents.incoming().await).await;
    line.hears_for(200).await;
    line.dialog.hangup(None).await.unwrap();
    assert_eq!(line.over().await, Over { by_host: false, status: None });
    let record = host.finished_call().await["record"].take();
    assert_eq!(record["outcome"], "answered", "{record}");
    assert_eq!(record["end_reason"], "caller_hangup", "{record}");
}
