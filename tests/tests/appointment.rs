//! The example over a real call, every way it can go; each time the customer's
//! system gets one outcome. The ways run side by side: each is mostly waiting.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use callbox_tests::{Answer, Business, Host, NUMBER, Phone, clinic, eventually, expand, peer};
use serde_json::{Value, json};

/// What is left of the only call: its record, and the one outcome that was pushed.
async fn result(host: &Host, business: &Business) -> (Value, Value) {
    let record = host.finished_call().await["record"].take();
    let push = business.next_at("/outcome").await;
    assert_eq!(push.body["call_id"], record["call_id"], "{}", push.body);
    let outcome = push.body["data"]["body"].clone();
    assert_eq!(record["disposition"], outcome["outcome"], "{record}");
    (record, outcome)
}

/// A call with these keys.
async fn call(settings: Value, keys: &str) -> (Value, Value) {
    let (host, business) = clinic(&settings).await;
    let called = peer::call(&host, NUMBER, &["--keys", keys, "--header", "X-Call-Relation-Id: r-1"]).await;
    assert!(called.answered, "{called:?}");
    let (record, outcome) = result(&host, &business).await;
    assert_eq!(record["end_reason"], "script_returned", "{record}");
    assert_eq!(outcome["relation_id"], "r-1");
    (record, outcome)
}

/// Waits until the menu of the only running call is being said: from then on it listens.
async fn menu(host: &Host) {
    eventually("the menu", async || {
        let calls = host.get("/v1/calls?state=active").await;
        let id = calls["data"].get(0)?["id"].as_str()?.to_owned();
        let timeline = host.get(&format!("/v1/calls/{id}/timeline")).await;
        let entries = timeline["data"].as_array()?.clone();
        let at = entries.iter().position(|entry| entry["kind"] == "node" && entry["detail"] == "menu")?;
        entries[at..].iter().any(|entry| entry["kind"] == "prompt_started").then_some(())
    })
    .await;
}

fn said(record: &Value) -> Vec<String> {
    let robot = record["transcript"].as_array().unwrap().iter().filter(|turn| turn["role"] == "robot");
    robot.map(|turn| turn["text"].as_str().unwrap().to_owned()).collect()
}

fn last(record: &Value) -> String {
    said(record).pop().unwrap()
}

#[tokio::test]
async fn what_the_keys_do() {
    tokio::join!(
        key_1_confirms(),
        key_2_asks_for_another_time(),
        a_key_cuts_the_menu_off(),
        a_wrong_key_is_told_and_asked_again(),
        key_3_has_no_meaning_where_nobody_is_there(),
    );
}

#[tokio::test]
async fn a_call_without_a_good_key() {
    tokio::join!(
        wrong_keys_without_end_are_given_up(),
        silence_is_asked_again_and_given_up(),
        a_caller_who_hangs_up_is_an_outcome_too(),
        without_context_it_says_so(),
    );
}

#[tokio::test]
async fn when_a_person_is_wanted() {
    tokio::join!(
        key_3_leads_to_a_person(),
        a_caller_who_hangs_up_on_the_person_was_transferred(),
        a_person_who_does_not_pick_up_is_excused(),
        without_context_a_person_can_still_help(),
    );
}

async fn key_1_confirms() {
    let (record, outcome) = call(json!({}), "1").await;
    assert_eq!(outcome["outcome"], "confirmed");
    assert_eq!(outcome["appointment"]["name"], "Ada Lovelace");
    assert_eq!(record["fields"]["appointment"]["place"], "Analytical Clinic");
    assert_eq!(record["intent"], json!({ "name": "keep_appointment", "grade": "A" }));
    assert!(said(&record)[0].contains("Hello, Ada Lovelace"), "{record}");
    assert_eq!(last(&record), "Thank you, it is confirmed. Goodbye.");
    let nodes: Vec<&Value> = record["transcript"].as_array().unwrap().iter().map(|turn| &turn["node"]).collect();
    assert_eq!(nodes.first().unwrap().as_str(), Some("greeting"));
    assert_eq!(nodes.last().unwrap().as_str(), Some("confirmed"));
}

async fn key_2_asks_for_another_time() {
    let (record, outcome) = call(json!({}), "2").await;
    assert_eq!(outcome["outcome"], "move_requested");
    assert_eq!(record["intent"]["name"], "move_appointment");
    assert_eq!(record["tags"], json!(["call_back"]));
}

async fn a_key_cuts_the_menu_off() {
    let (host, business) = clinic(&json!({})).await;
    let mut line = Phone::new().await.dial(&host, NUMBER, &[]).await.unwrap();
    menu(&host).await;
    line.press("1");
    assert!(line.over().await.by_host);
    let (record, outcome) = result(&host, &business).await;
    assert_eq!(outcome["outcome"], "confirmed", "{record}");
    let turns = record["transcript"].as_array().unwrap();
    assert!(turns.iter().any(|turn| turn["interrupted_by"] == "digits"), "{record}");
}

async fn a_wrong_key_is_told_and_asked_again() {
    let (record, outcome) = call(json!({}), "7,1").await;
    assert_eq!(outcome["outcome"], "confirmed", "{record}");
    assert!(said(&record).iter().any(|text| text.contains("I did not understand that.")), "{record}");
}

async fn key_3_has_no_meaning_where_nobody_is_there() {
    let (record, outcome) = call(json!({}), "3,2").await;
    assert_eq!(outcome["outcome"], "move_requested", "{record}");
    assert!(!said(&record).iter().any(|text| text.contains("talk to a person")), "{record}");
}

async fn wrong_keys_without_end_are_given_up() {
    let (record, outcome) = call(json!({}), "7,8,9,7,8,9").await;
    assert_eq!(outcome["outcome"], "no_answer", "{record}");
    assert_eq!(record["tags"], json!(["not_understood"]), "{record}");
    assert_eq!(last(&record), "We will try again another time. Goodbye.");
}

async fn silence_is_asked_again_and_given_up() {
    let (record, outcome) = call(json!({}), "").await;
    assert_eq!(outcome["outcome"], "no_answer", "{record}");
    assert_eq!(record["tags"], json!(["silence"]), "{record}");
    let asked = said(&record).iter().filter(|text| text.contains("To confirm it, press 1.")).count();
    assert!(asked >= 2, "{record}");
    assert!(said(&record).iter().any(|text| text.contains("I did not hear you.")), "{record}");
}

async fn a_caller_who_hangs_up_is_an_outcome_too() {
    let (host, business) = clinic(&json!({})).await;
    peer::call(&host, NUMBER, &["--hangup-after", "1500"]).await;
    let (record, outcome) = result(&host, &business).await;
    assert_eq!(outcome["outcome"], "hung_up");
    assert_eq!(record["end_reason"], "caller_hangup", "{record}");
}

async fn key_3_leads_to_a_person() {
    let agents = Phone::new().await;
    let (host, business) = clinic(&json!({ "agent": agents.uri() })).await;
    let caller = peer::call(&host, NUMBER, &["--keys", "3"]);
    let agent = async {
        let mut line = agents.pick_up(agents.incoming().await).await;
        line.sound(800.0);
        line.hears_for(500).await;
        line.hang_up().await;
    };
    let (called, ()) = tokio::join!(caller, agent);
    assert!(called.answered);
    let (record, outcome) = result(&host, &business).await;
    assert_eq!(outcome["outcome"], "transferred", "{record}");
    assert_eq!(record["transfer"]["outcome"], "returned", "{record}");
    assert_eq!(record["intent"]["name"], "talk_to_person");
    assert_eq!(last(&record), "Thank you for calling. Goodbye.");
}

async fn a_caller_who_hangs_up_on_the_person_was_transferred() {
    let agents = Phone::new().await;
    let callers = Phone::new().await;
    let (host, business) = clinic(&json!({ "agent": agents.uri() })).await;
    let mut caller = callers.dial(&host, NUMBER, &[]).await.unwrap();
    menu(&host).await;
    caller.press("3");
    let mut agent = agents.pick_up(agents.incoming().await).await;
    caller.sound(800.0);
    agent.hears(800.0).await;
    caller.hang_up().await;
    assert!(agent.over().await.by_host);
    let (record, outcome) = result(&host, &business).await;
    assert_eq!(outcome["outcome"], "transferred", "{record}");
    assert_eq!(record["end_reason"], "transfer_completed", "{record}");
}

async fn a_person_who_does_not_pick_up_is_excused() {
    let agents = Phone::new().await;
    let (host, business) = clinic(&json!({ "agent": agents.uri() })).await;
    let caller = peer::call(&host, NUMBER, &["--keys", "3"]);
    let agent = async {
        let ringing = agents.incoming().await;
        ringing.dialog.reject(486, None, Vec::new()).await.unwrap();
    };
    tokio::join!(caller, agent);
    let (record, outcome) = result(&host, &business).await;
    assert_eq!(outcome["outcome"], "person_unavailable", "{record}");
    assert_eq!(record["tags"], json!(["call_back"]));
    assert!(last(&record).contains("nobody can take your call"), "{record}");
}

async fn without_context_it_says_so() {
    let (host, business) = clinic(&json!({})).await;
    business.answer("/appointment", Answer { status: 500, ..Answer::json(json!({})) });
    peer::call(&host, NUMBER, &[]).await;
    let (record, outcome) = result(&host, &business).await;
    assert_eq!(outcome, json!({ "outcome": "no_details", "relation_id": null, "appointment": null }));
    assert_eq!(record["tags"], json!(["no_context"]));
    assert_eq!(last(&record), "Please call us back later. Goodbye.");
}

async fn without_context_a_person_can_still_help() {
    let agents = Phone::new().await;
    let (host, business) = clinic(&json!({ "agent": agents.uri() })).await;
    business.answer("/appointment", Answer::json(json!({ "unexpected": true })));
    let caller = peer::call(&host, NUMBER, &["--keys", "3"]);
    let agent = async {
        let mut line = agents.pick_up(agents.incoming().await).await;
        line.hears_for(200).await;
        line.hang_up().await;
    };
    tokio::join!(caller, agent);
    let (record, outcome) = result(&host, &business).await;
    assert_eq!(outcome["outcome"], "transferred", "{record}");
}

#[tokio::test]
async fn it_speaks_mandarin_by_its_setting() {
    let (host, business) = clinic(&json!({ "language": "zh" })).await;
    let phone = Phone::new().await;
    let mut line = phone.dial(&host, NUMBER, &[]).await.unwrap();
    menu(&host).await;
    line.press("1");
    assert!(line.over().await.by_host);
    let (record, outcome) = result(&host, &business).await;
    assert_eq!(outcome["outcome"], "confirmed", "{record}");
    let said = said(&record);
    assert!(said[0].contains("您好，Ada Lovelace"), "{said:?}");
    assert!(said.iter().any(|text| text.contains("确认请按1，改期请按2")), "{said:?}");
    assert_eq!(last(&record), "谢谢您，预约已确认。再见。");
    // Words were spoken, not only a chime.
    let heard = line.heard();
    let loud = |frame: &[u8]| frame.iter().map(|&byte| u32::from(expand(byte).unsigned_abs())).sum::<u32>() / 160 > 300;
    let frames = heard.chunks_exact(160).filter(|frame| loud(frame)).count();
    assert!(frames > 200, "{frames} frames of speech");
}
