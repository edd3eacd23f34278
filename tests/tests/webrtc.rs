//! Calls from web pages by one HTTP exchange: over real sockets, from the token to the record.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use callbox_tests::web_caller::{Offering, WebCaller, post, request, token};
use callbox_tests::{Business, Host, Options, Phone, eventually, probe_bindings};
use reqwest::Method;
use serde_json::{Value, json};

async fn probe_host() -> Host {
    let host = Host::start().await;
    host.publish_probe(None).await;
    host
}

/// The steps of how a call was set up.
async fn steps(host: &Host, call: &str) -> Vec<String> {
    let exchange = host.get(&format!("/v1/calls/{call}/webrtc")).await;
    exchange["steps"].as_array().unwrap().iter().map(|step| step["what"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_page_calls_hears_presses_keys_and_the_result_is_pushed() {
    let business = Business::start().await;
    let host = Host::start().await;
    host.publish_probe(Some(&business)).await;
    let caller = WebCaller::probe(&host, "echo", &[("X-Probe-Count", "2"), ("X-Call-Relation-Id", "r-17")]).await;
    let seen = caller.sees("a prompt", |seen| seen.loud > 10 && seen.channel).await;
    assert_eq!(seen.early, 0, "no audio before the handshake is done");
    // Keys in the audio, then on the data channel.
    caller.press('4').await;
    caller.press('#').await;
    caller.sees("the keys said back", |seen| seen.said("robot").iter().any(|text| text == "You pressed 4.")).await;
    caller.say(&json!({ "type": "digits", "digits": "29#" })).await;
    let seen = caller.sees("the end", |seen| seen.states().contains(&"ended")).await;
    // On a slow machine it has rung before.
    assert!(seen.states().ends_with(&["answered", "ended"]), "{:?}", seen.messages);
    let said = seen.said("robot");
    assert!(said.contains(&"You pressed 2, 9.".to_owned()) && said.contains(&"Goodbye.".to_owned()), "{said:?}");
    let end = seen.messages.last().unwrap();
    assert_eq!((&end["reason"], &end["by"]), (&json!("script_returned"), &json!("script")));
    caller.sees("the end of the media", |seen| seen.closed).await;

    let call = host.finished_call().await;
    let record = &call["record"];
    assert_eq!(record["transport"], "webrtc", "{record}");
    assert_eq!(record["fields"]["digits"], json!(["4", "29"]), "{record}");
    assert_eq!((&record["relation_id"], &record["direction"]), (&json!("r-17"), &json!("inbound")));
    assert_eq!((&record["outcome"], &record["sip"]), (&json!("answered"), &Value::Null), "{record}");
    assert!(record["media"]["encryption"].is_string() && record["media"]["codec"] == "pcmu", "{record}");
    assert_eq!(call["id"], caller.id());
    let steps = steps(&host, caller.id()).await;
    assert_eq!(steps, ["offer", "answer", "connected", "channel_open"]);
    let exchange = host.get(&format!("/v1/calls/{}/webrtc", caller.id())).await;
    let offer = exchange["steps"][0]["text"].as_str().unwrap();
    assert!(offer.contains("a=ice-pwd:…") && offer.contains("a=fingerprint:"), "{offer}");
    // The early source was asked while nothing sounded yet, as on the telephone.
    business.next_at("/early").await;
}

#[tokio::test]
async fn what_the_token_says_is_what_the_script_is_told() {
    let host = probe_host().await;
    let number = host.get("/v1/numbers").await["data"][0]["id"].as_str().unwrap().to_owned();
    let more = json!({
        "variables": { "x-probe-mode": "info", "customer": 4711, "USER-TO-USER": "abc", "secret header": "x" },
        "caller": { "id": "visitor-1", "display_name": "Ada", "number": "+4930123456" },
        "external_id": "order-42", "relation_id": "r-1", "origins": ["https://shop.example"],
    });
    let token = token(&host, &number, more.clone()).await;
    let offering = Offering::new().await;
    let headers = [("origin", "https://shop.example"), ("user-agent", "Test/1")];
    let response = post(&host, &token, &offering.offer, &headers).await;
    assert_eq!(response.status(), 201);
    assert_eq!(response.headers()["access-control-allow-origin"], "https://shop.example");
    let exposed = response.headers()["access-control-expose-headers"].to_str().unwrap();
    assert!(["Location", "ETag", "Link"].iter().all(|name| exposed.contains(name)), "{exposed}");
    let (_seen, _media) = offering.answered(&response.text().await.unwrap());
    let call = host.finished_call().await;
    let fields = &call["record"]["fields"];
    assert_eq!(fields["parameters"], more["variables"], "{fields}");
    assert_eq!(fields["transport"], "Transport::Webrtc");
    assert_eq!(fields["caller"], json!({ "uri": "webrtc:visitor-1", "number": "+4930123456", "display_name": "Ada" }));
    let headers = fields["headers"].as_array().unwrap();
    assert_eq!(headers.len(), 2, "those that the manifest lists: {headers:?}");
    assert!(headers.contains(&json!(["user-to-user", "abc"])), "{headers:?}");
    let record = &call["record"];
    assert_eq!((&record["external_id"], &record["relation_id"]), (&json!("order-42"), &json!("r-1")));
    let step = host.get(&format!("/v1/calls/{}/webrtc", call["id"].as_str().unwrap())).await["steps"][0].take();
    assert_eq!((&step["from"], &step["client"]), (&json!("127.0.0.1"), &json!("https://shop.example Test/1")));
}

/// A problem: status and code.
async fn problem(response: reqwest::Response) -> (u16, String) {
    let status = response.status().as_u16();
    let body: Value = response.json().await.unwrap();
    assert!(body["detail"].as_str().is_some_and(|detail| detail.len() > 10), "{body}");
    (status, body["code"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_token_is_good_for_what_it_was_made_for_and_nothing_else() {
    // It is asked about as often as that takes.
    let env = vec![
        ("CALLBOX_WEBRTC__REQUESTS_PER_SECOND_PER_ADDRESS", "0".to_owned()),
        ("CALLBOX_WEBRTC__REQUESTS_PER_SECOND_PER_TOKEN", "0".to_owned()),
    ];
    let host = Host::start_with(Options { env, ..Options::default() }).await;
    host.publish_probe(None).await;
    let refused = async |token: &str, headers: &[(&str, &str)]| {
        let offering = Offering::new().await;
        problem(post(&host, token, &offering.offer, headers).await).await
    };
    let is = |status: u16, code: &str| (status, code.to_owned());
    assert_eq!(refused("", &[]).await, is(401, "token_required"));
    assert_eq!(refused("nonsense", &[]).await, is(401, "token_invalid"));
    assert_eq!(refused(&host.key, &[]).await, is(401, "token_invalid"), "a key is no token");
    let good = token(&host, "2000", json!({ "variables": { "X-Probe-Mode": "wait" } })).await;
    let (status, _) = {
        let response = request(&host, Method::GET, "/v1/numbers", &good).send().await.unwrap();
        problem(response).await
    };
    assert_eq!(status, 401, "a token is no key");
    let mut forged = good.clone();
    let last = if forged.pop() == Some('0') { '1' } else { '0' };
    forged.push(last);
    assert_eq!(refused(&forged, &[]).await, is(401, "token_invalid"));
    // For a page.
    let page = token(&host, "2000", json!({ "origins": ["https://shop.example"] })).await;
    assert_eq!(refused(&page, &[("origin", "https://evil.example")]).await, is(403, "origin_not_allowed"));
    assert_eq!(refused(&page, &[]).await, is(403, "origin_not_allowed"));
    // For a time, which comes to its end.
    let brief = token(&host, "2000", json!({ "expires_in_s": 1 })).await;
    eventually("the end of a token", async || {
        let standing = request(&host, Method::GET, "/v1/webrtc/token", &brief).send().await.unwrap();
        (standing.status() == 401).then_some(())
    })
    .await;
    assert_eq!(refused(&brief, &[]).await, is(401, "token_expired"));
    // Taken back.
    let made = host.post("/v1/webrtc/tokens", &json!({ "number": "2000" })).await;
    host.ok(Method::DELETE, &format!("/v1/webrtc/tokens/{}", made["id"].as_str().unwrap()), None).await;
    assert_eq!(refused(made["token"].as_str().unwrap(), &[]).await, is(401, "token_revoked"));
    // An offer that leads to nothing spends nothing; a call does.
    for (offer, expected) in [
        ("", is(400, "sdp_invalid")),
        ("v=0\r\nm=audio 9 RTP/AVP 0\r\n", is(422, "offer_not_acceptable")),
        ("v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\n", is(422, "offer_not_acceptable")),
        ("v=0\r\nm=audio x\r\n", is(400, "sdp_invalid")),
    ] {
        assert_eq!(problem(post(&host, &good, offer, &[]).await).await, expected, "{offer:?}");
    }
    let plain = request(&host, Method::POST, "/v1/webrtc/calls", &good).body("v=0").send().await.unwrap();
    assert_eq!(problem(plain).await, is(415, "unsupported_media_type"));
    let huge = post(&host, &good, &"a".repeat(100_000), &[]).await;
    assert_eq!(problem(huge).await, is(413, "body_too_large"));
    let caller = WebCaller::call(&host, &good, Offering::new().await).await;
    assert_eq!(refused(&good, &[]).await, is(403, "token_spent"));
    // The number is gone.
    let many = token(&host, "2000", json!({ "uses": 5 })).await;
    let number = host.get("/v1/numbers").await["data"][0]["id"].as_str().unwrap().to_owned();
    host.ok(Method::PATCH, &format!("/v1/numbers/{number}"), Some(&json!({ "enabled": false }))).await;
    assert_eq!(refused(&many, &[]).await, is(409, "number_not_ready"));
    host.ok(Method::DELETE, &format!("/v1/numbers/{number}"), None).await;
    assert_eq!(refused(&many, &[]).await, is(410, "number_gone"));
    // The call that began with the spent token goes on, and is the token's own.
    let other = request(&host, Method::DELETE, &caller.path, &many).send().await.unwrap();
    assert_eq!(problem(other).await, is(404, "not_found"));
    assert_eq!(caller.delete().await.status(), 200);
    host.finished_call().await;
    assert_eq!(problem(caller.delete().await).await, is(404, "not_found"));
    let log = host.log();
    for text in [&good, &page, &brief, &many] {
        assert!(!log.contains(text.as_str()), "a token is in the log");
    }
}

#[tokio::test]
async fn pages_may_ask_before_they_call() {
    let host = probe_host().await;
    let ask = async |path: &str| {
        let request = request(&host, Method::OPTIONS, path, "");
        let request = request.header("origin", "https://any.example").header("access-control-request-method", "POST");
        request.send().await.unwrap()
    };
    let answer = ask("/v1/webrtc/calls").await;
    assert_eq!(answer.status(), 204);
    assert_eq!(answer.headers()["accept-post"], "application/sdp");
    assert_eq!(answer.headers()["access-control-allow-origin"], "https://any.example");
    let allowed = answer.headers()["access-control-allow-headers"].to_str().unwrap();
    assert!(allowed.contains("Authorization") && allowed.contains("Traceparent"), "{allowed}");
    let answer = ask("/v1/webrtc/calls/call_1").await;
    assert!(answer.headers()["accept-patch"].to_str().unwrap().contains("application/trickle-ice-sdpfrag"));
    // The rest of the API is not for pages of others.
    assert!(ask("/v1/calls").await.headers().get("access-control-allow-origin").is_none());
    // A page that may not call can read why.
    let offering = Offering::new().await;
    let refused = post(&host, "cbt_x", &offering.offer, &[("origin", "https://any.example")]).await;
    assert_eq!(refused.headers()["access-control-allow-origin"], "https://any.example");
    assert_eq!(problem(refused).await.0, 401);
}

#[tokio::test]
async fn either_side_may_hang_up_in_its_own_way() {
    for (how, reason, by, step) in [
        ("delete", "caller_hangup", "caller", Some("hung_up")),
        ("channel", "caller_hangup", "caller", Some("hung_up")),
        ("dtls", "caller_hangup", "caller", Some("hung_up")),
        ("operator", "operator_hangup", "platform", None),
    ] {
        let host = probe_host().await;
        let caller = WebCaller::probe(&host, "grace", &[]).await;
        caller.sees("the end of the prompt", |seen| seen.said("robot") == ["Hang up, please."]).await;
        match how {
            "delete" => assert_eq!(caller.delete().await.status(), 200),
            "channel" => caller.say(&json!({ "type": "hangup" })).await,
            "dtls" => caller.closes().await,
            _ => {
                host.ok(Method::POST, &format!("/v1/calls/{}/hangup", caller.id()), None).await;
                let seen = caller.sees("its end", |seen| seen.states().contains(&"ended")).await;
                assert_eq!(seen.messages.last().unwrap()["reason"], "operator_hangup");
                caller.sees("the end of the media", |seen| seen.closed).await;
            }
        }
        let record = host.finished_call().await["record"].take();
        assert_eq!((&record["end_reason"], &record["ended_by"]), (&json!(reason), &json!(by)), "{how}: {record}");
        // The script has written down what it learnt.
        assert_eq!(record["disposition"], "written", "{how}: {record}");
        if let Some(step) = step {
            assert_eq!(steps(&host, caller.id()).await.last().map(String::as_str), Some(step), "{how}");
        }
    }
}

#[tokio::test]
async fn a_page_is_told_why_the_script_declines() {
    let host = probe_host().await;
    let caller = WebCaller::probe(&host, "reject", &[("X-Probe-Count", "486")]).await;
    let record = host.finished_call().await["record"].take();
    assert_eq!((&record["outcome"], &record["end_reason"]), (&json!("busy"), &json!("rejected")), "{record}");
    drop(caller);
}

#[tokio::test]
async fn a_page_that_vanishes_is_noticed_and_its_result_is_pushed() {
    let business = Business::start().await;
    let env = vec![("CALLBOX_MEDIA__TIMEOUT_MS", "1500".to_owned())];
    let host = Host::start_with(Options { env, ..Options::default() }).await;
    host.publish("probe", "2000", &probe_bindings(Some(&business)), &json!({})).await;
    let caller = WebCaller::probe(&host, "grace", &[]).await;
    caller.sees("the end of the prompt", |seen| seen.said("robot") == ["Hang up, please."]).await;
    caller.falls_silent().await;
    let record = host.finished_call().await["record"].take();
    assert_eq!((&record["end_reason"], &record["outcome"]), (&json!("media_timeout"), &json!("answered")), "{record}");
    assert_eq!(steps(&host, caller.id()).await.last().map(String::as_str), Some("lost"));
    business.next_at("/sink").await;
    host.runs(0).await;
}

#[tokio::test]
async fn the_call_follows_a_page_to_another_network() {
    let host = probe_host().await;
    let caller = WebCaller::probe(&host, "echo", &[("X-Probe-Count", "1")]).await;
    caller.is_up().await;
    press_whole(&caller, '7').await;
    let sdp = "application/sdp";
    let offer = caller.moves().await;
    assert_eq!(problem(caller.patch(sdp, None, offer.clone()).await).await, (428, "if_match_required".into()));
    let stale = caller.patch(sdp, Some("\"nonsense\""), offer.clone()).await;
    assert_eq!(problem(stale).await, (412, "ice_session_changed".into()));
    let renewed = caller.patch(sdp, Some("*"), offer).await;
    assert_eq!((renewed.status().as_u16(), &renewed.headers()["content-type"]), (200, &sdp.parse().unwrap()));
    let etag = renewed.headers()["etag"].to_str().unwrap().to_owned();
    assert_ne!(etag, caller.etag, "another session of ICE");
    caller.accepts(&renewed.text().await.unwrap()).await;
    // The first key was pressed on one network, the second on another.
    caller.press('#').await;
    caller.sees("the key said back", |seen| seen.said("robot").iter().any(|text| text == "You pressed 7.")).await;
    // Candidates that are trickled politely are taken; nothing that would be another call is.
    let candidate = "a=ice-ufrag:x\r\n";
    let broken = caller.patch("application/trickle-ice-sdpfrag", Some(&etag), candidate.into()).await;
    assert!(broken.status().is_client_error());
    let foreign = Offering::new().await;
    let refused = caller.patch(sdp, Some("*"), foreign.offer.clone()).await;
    assert_eq!(problem(refused).await, (422, "offer_not_acceptable".into()));
    let record = host.finished_call().await["record"].take();
    assert_eq!(record["fields"]["digits"], json!(["7"]), "{record}");
    let steps = steps(&host, caller.id()).await;
    assert_eq!(steps[..2], ["offer", "answer"]);
    assert!(
        steps.windows(2).any(|two| two == ["offer", "refused"])
            && steps.iter().filter(|step| *step == "answer").count() == 2,
        "{steps:?}"
    );
}

/// Presses a key once the robot is heard, for it may not listen before, and waits until it is over: by then the host has
/// sent half a second.
async fn press_whole(caller: &WebCaller, key: char) {
    let before = caller.sees("the question", |seen| seen.loud > 0).await.packets;
    caller.press(key).await;
    caller.sees("half a second", |seen| seen.packets >= before + 25).await;
}

/// Lines of a description that begin so.
fn lines<'a>(sdp: &'a str, starts: &[&str]) -> Vec<&'a str> {
    sdp.lines().filter(|line| starts.iter().any(|start| line.starts_with(start))).collect()
}

/// RFC 9725 §4.3: candidates that are trickled, and a restart of ICE that is told by a fragment alone.
#[tokio::test]
async fn a_fragment_is_enough_for_another_network() {
    const FRAGMENT: &str = "application/trickle-ice-sdpfrag";
    const CREDENTIALS: [&str; 2] = ["a=ice-ufrag:", "a=ice-pwd:"];
    let host = probe_host().await;
    let caller = WebCaller::probe(&host, "echo", &[("X-Probe-Count", "1")]).await;
    caller.is_up().await;
    press_whole(&caller, '7').await;
    let candidates = "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\na=candidate:1 1 udp 1 192.0.2.9 9 typ host\r\n";
    let trickled = caller.patch(FRAGMENT, Some(&caller.etag), candidates.into()).await;
    assert_eq!(trickled.status(), 204);
    assert_eq!(trickled.text().await.unwrap(), "");
    let offer = caller.moves().await;
    let fragment = [&lines(&offer, &CREDENTIALS)[..2], &["m=audio 9 UDP/TLS/RTP/SAVPF 0", ""]].concat().join("\r\n");
    let renewed = caller.patch(FRAGMENT, Some("*"), fragment.clone()).await;
    assert_eq!((renewed.status().as_u16(), &renewed.headers()["content-type"]), (200, &FRAGMENT.parse().unwrap()));
    let etag = renewed.headers()["etag"].to_str().unwrap().to_owned();
    assert_ne!(etag, caller.etag, "another session of ICE");
    let ours = renewed.text().await.unwrap();
    assert!(!lines(&ours, &["a=candidate:"]).is_empty(), "{ours}");
    // The same again begins nothing; what was said of the session before is late.
    assert_eq!(caller.patch(FRAGMENT, Some(&etag), fragment.clone()).await.status(), 204);
    let late = caller.patch(FRAGMENT, Some(&caller.etag), candidates.into()).await;
    assert_eq!(problem(late).await, (412, "ice_session_changed".into()));
    // To the browser it is the answer that it had, with other credentials.
    let fresh = lines(&ours, &CREDENTIALS);
    let line = |line: &str| match CREDENTIALS.iter().position(|name| line.starts_with(name)) {
        Some(at) => format!("{}\r\n", fresh[at]),
        None => format!("{line}\r\n"),
    };
    caller.accepts(&caller.answer.lines().map(line).collect::<String>()).await;
    caller.press('#').await;
    caller.sees("the key said back", |seen| seen.said("robot").iter().any(|text| text == "You pressed 7.")).await;
    assert_eq!(caller.delete().await.status(), 200);
    host.finished_call().await;
    let steps = steps(&host, caller.id()).await;
    assert!(steps.windows(2).any(|two| two == ["ice", "ice_answer"]), "{steps:?}");
}

/// What the operator sees of it.
#[tokio::test]
async fn calls_of_pages_are_counted() {
    let env = vec![("CALLBOX_METRICS__BIND", "127.0.0.1:0".to_owned())];
    let host = Host::start_with(Options { env, ..Options::default() }).await;
    host.publish_probe(None).await;
    let offering = Offering::new().await;
    assert_eq!(post(&host, "nonsense", &offering.offer, &[]).await.status(), 401);
    let good = token(&host, "2000", json!({ "variables": { "X-Probe-Mode": "wait" } })).await;
    assert_eq!(post(&host, &good, "v=0\r\n", &[]).await.status(), 422);
    let caller = WebCaller::call(&host, &good, offering).await;
    caller.is_up().await;
    caller.delete().await;
    host.finished_call().await;
    let address = host.ready["metrics"].as_str().unwrap();
    let text = reqwest::get(format!("http://{address}/metrics")).await.unwrap().text().await.unwrap();
    for line in [
        "callbox_webrtc_calls_total 1",
        "callbox_webrtc_connections_total{came=\"yes\"} 1",
        "callbox_webrtc_connections_total{came=\"no\"} 0",
        "callbox_webrtc_refused_total{why=\"token\"} 1",
        "callbox_webrtc_refused_total{why=\"limit\"} 0",
        "callbox_webrtc_refused_total{why=\"offer\"} 1",
    ] {
        assert!(text.lines().any(|have| have == line), "{line} in {text}");
    }
}

#[tokio::test]
async fn secrets_are_never_captioned() {
    let host = probe_host().await;
    let caller = WebCaller::probe(&host, "sensitive", &[]).await;
    caller.sees("the question", |seen| seen.channel && seen.loud > 5).await;
    caller.say(&json!({ "type": "digits", "digits": "8351" })).await;
    caller
        .sees("the next question", |seen| {
            seen.messages
                .iter()
                .any(|message| message["text"].as_str().is_some_and(|text| text.starts_with("Now press")))
        })
        .await;
    caller.press('6').await;
    let seen = caller.sees("the end", |seen| seen.states().contains(&"ended")).await;
    let told: String = seen.messages.iter().map(Value::to_string).collect();
    assert!(!told.contains("8351") && told.contains("***"), "{told}");
    let record = host.finished_call().await["record"].take();
    assert_eq!((&record["fields"]["secret_length"], &record["fields"]["open"]), (&json!(4), &json!("6")), "{record}");
    assert!(!host.get(&format!("/v1/calls/{}/webrtc", caller.id())).await.to_string().contains("8351"));
}

#[tokio::test]
async fn messages_of_a_page_reach_the_script_and_floods_do_not() {
    let host = probe_host().await;
    let caller = WebCaller::probe(&host, "events", &[]).await;
    caller.is_up().await;
    caller.say(&json!({ "type": "message", "data": { "step": 1 } })).await;
    for _ in 0..100 {
        caller.say(&json!({ "type": "message", "data": "flood" })).await;
    }
    caller.say(&json!({ "type": "nonsense" })).await;
    eventually("a call that still runs", async || {
        let timeline = host.get(&format!("/v1/calls/{}/timeline", caller.id())).await.to_string();
        timeline.contains("message").then_some(())
    })
    .await;
    caller.delete().await;
    let record = host.finished_call().await["record"].take();
    let events = record["fields"]["events"].as_array().unwrap();
    let messages: Vec<&str> =
        events.iter().filter_map(|event| event.as_str().filter(|text| text.contains("Message("))).collect();
    assert!(messages[0].contains("step"), "{messages:?}");
    assert!(messages.len() < 90, "more than a page may say in that time: {}", messages.len());
}

/// A browser cannot be referred: it gets to the target by a bridge, and back.
#[tokio::test]
async fn a_page_is_transferred_to_a_telephone() {
    let env = vec![("CALLBOX_OUTBOUND__ALLOWED_HOSTS", "[\"127.0.0.1\"]".to_owned())];
    let host = Host::start_with(Options { env, ..Options::default() }).await;
    host.publish_probe(None).await;
    let agents = Phone::new().await;
    let target = agents.uri();
    let options = [("X-Probe-Target", target.as_str()), ("X-Probe-Transfer-Mode", "refer")];
    let caller = WebCaller::probe(&host, "transfer", &options).await;
    let ringing = agents.incoming().await;
    ringing.dialog.ring().await.unwrap();
    let mut agent = agents.pick_up(ringing).await;
    agent.sound(1_000.0);
    let before = caller.seen().loud;
    caller.sees("the agent's voice", |seen| seen.loud > before + 25).await;
    caller.press('5').await;
    agent.hears_keys("5").await;
    caller.say(&json!({ "type": "digits", "digits": "6" })).await;
    agent.hears_keys("56").await;
    agent.hang_up().await;
    let seen = caller.sees("the end", |seen| seen.states().contains(&"ended")).await;
    let transfer =
        |state: &str| seen.messages.iter().any(|message| message["event"] == "transfer" && message["state"] == state);
    assert!(transfer("begun") && transfer("returned"), "{:?}", seen.messages);
    assert!(!seen.messages.iter().any(|message| message.to_string().contains(&target)), "where it goes is not told");
    let record = host.finished_call().await["record"].take();
    assert_eq!((&record["transfer"]["mode"], &record["transfer"]["outcome"]), (&json!("bridge"), &json!("returned")));
    let sip = host.get(&format!("/v1/calls/{}/sip", caller.id())).await;
    assert!(sip["messages"].as_array().unwrap().len() >= 4, "the messages of the second leg");
}

#[tokio::test]
async fn limits_come_before_anything_that_costs() {
    let env = vec![
        ("CALLBOX_CALLS__MAX", "1".to_owned()),
        ("CALLBOX_WEBRTC__REQUESTS_PER_SECOND_PER_ADDRESS", "0".to_owned()),
        ("CALLBOX_WEBRTC__REQUESTS_PER_SECOND_PER_TOKEN", "5".to_owned()),
        ("CALLBOX_WEBRTC__TURN__URLS", "[\"turn:turn.example\"]".to_owned()),
        ("CALLBOX_WEBRTC__TURN__SECRET", "12345".to_owned()),
    ];
    let host = Host::start_with(Options { env, ..Options::default() }).await;
    host.publish_probe(None).await;
    let many = token(&host, "2000", json!({ "uses": 100, "variables": { "X-Probe-Mode": "wait" } })).await;
    let caller = WebCaller::call(&host, &many, Offering::new().await).await;
    let offering = Offering::new().await;
    let full = post(&host, &many, &offering.offer, &[]).await;
    assert_eq!(full.headers()["retry-after"], "5");
    assert_eq!(problem(full).await, (503, "unavailable".into()));
    // Neither the refused call nor the looks cost a use.
    let standing: Value =
        request(&host, Method::GET, "/v1/webrtc/token", &many).send().await.unwrap().json().await.unwrap();
    assert_eq!(standing["uses_left"], 99, "{standing}");
    let turn = &standing["ice_servers"][0];
    assert_eq!(turn["urls"], json!(["turn:turn.example"]));
    assert!(turn["username"].as_str().unwrap().contains(":wrt_") && turn["credential"].as_str().unwrap().len() == 28);
    let mut limited = None;
    for _ in 0..40 {
        let answer = request(&host, Method::GET, "/v1/webrtc/token", &many).send().await.unwrap();
        if answer.status() == 429 {
            limited = Some(answer);
        }
    }
    let limited = limited.expect("40 at once are more than 5 a second");
    assert!(limited.headers().contains_key("retry-after"));
    assert_eq!(problem(limited).await.1, "rate_limited");
    drop(caller);
}

#[tokio::test]
async fn a_host_without_webrtc_says_so() {
    let env = vec![("CALLBOX_WEBRTC__ENABLED", "false".to_owned())];
    let host = Host::start_with(Options { env, ..Options::default() }).await;
    host.publish_probe(None).await;
    let (status, answer) = host.request(Method::POST, "/v1/webrtc/tokens", Some(&json!({ "number": "2000" }))).await;
    assert_eq!((status.as_u16(), &answer["code"]), (409, &json!("webrtc_off")), "{answer}");
}
