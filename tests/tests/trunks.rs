//! Calls by carriers and telephones: whose they are, where they get to, and what becomes of them when a way is down.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use callbox_sip::RegistrationState;
use callbox_tests::peer::Callee;
use callbox_tests::{Business, Carrier, Host, Manners, Options, Phone, SOON, eventually, header, probe_bindings, raw};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::timeout;

/// A host where strangers do not call in.
async fn closed() -> Host {
    let env = vec![("CALLBOX_TRUNKS__INBOUND", "known".into())];
    Host::start_with(Options { env, ..Options::default() }).await
}

fn address(carrier: &Carrier) -> Value {
    json!({ "host": "127.0.0.1", "port": carrier.address.port(), "transport": "udp" })
}

/// A trunk that is not asked how it is, unless `more` says so. Its id.
async fn trunk(host: &Host, addresses: &[Value], more: Value) -> String {
    let mut body = json!({ "name": "carrier", "addresses": addresses, "health": { "options_interval_s": 0 } });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let id = host.post("/v1/trunks", &body).await["id"].as_str().unwrap().to_owned();
    status(host, &id, |status| status["in_service"] == true).await;
    id
}

/// The status of a trunk, once it is as it should be.
async fn status(host: &Host, trunk: &str, right: impl Fn(&Value) -> bool) -> Value {
    eventually("the status of the trunk", async || {
        let status = host.get(&format!("/v1/trunks/{trunk}/status")).await;
        right(&status).then_some(status)
    })
    .await
}

fn from_here() -> Value {
    json!({ "networks": ["127.0.0.1"] })
}

async fn place(host: &Host, script: &str, to: &str) -> String {
    let placed = host.post("/v1/calls", &json!({ "to": to, "script_id": script })).await;
    placed["id"].as_str().unwrap().to_owned()
}

async fn record(host: &Host) -> Value {
    host.finished_call().await["record"].take()
}

// ---- calls that come in

#[tokio::test]
async fn a_carrier_is_known_by_its_address_and_its_numbers_are_made_ours() {
    let host = closed().await;
    host.publish("probe", "493012345", &probe_bindings(None), &json!({})).await;
    let stranger = raw::ask_invite(host.sip, "493012345", "stranger").await;
    assert!(stranger.starts_with("SIP/2.0 403"), "{stranger}");
    let trunk =
        trunk(&host, &[], json!({ "inbound": from_here(), "numbers": { "national": { "country_code": "49" } } })).await;
    let other = raw::ask_invite(host.sip, "3012345", "extension").await;
    assert!(other.starts_with("SIP/2.0 404"), "nobody's extension: {other}");
    let mut line = Phone::new().await.dial(&host, "03012345", &[("X-Probe-Mode", "hello")]).await.unwrap();
    assert!(line.over().await.by_host);
    let record = record(&host).await;
    assert_eq!((&record["outcome"], &record["trunk_id"]), (&json!("answered"), &json!(trunk)), "{record}");
    assert!(record["trunk_address"].as_str().unwrap().contains("127.0.0.1:"), "{record}");
    let channels = status(&host, &trunk, |status| status["channels"]["inbound"] == 0).await["channels"].take();
    assert_eq!(channels["inbound_total"], 1);
}

#[tokio::test]
async fn another_tenants_number_is_not_reached_by_a_trunk() {
    let host = closed().await;
    host.publish("probe", "1000", &probe_bindings(None), &json!({})).await;
    let ours = trunk(&host, &[], json!({ "inbound": from_here() })).await;
    let tenant = host.post("/v1/tenants", &json!({ "name": "other" })).await["id"].as_str().unwrap().to_owned();
    let key = host.post(&format!("/v1/tenants/{tenant}/keys"), &json!({ "name": "k", "scopes": ["admin"] })).await;
    let key = key["secret"].as_str().unwrap().to_owned();
    let mut host = host;
    let own_key = std::mem::replace(&mut host.key, key);
    host.publish("probe", "2000", &probe_bindings(None), &json!({})).await;
    let refused = raw::ask_invite(host.sip, "2000", "foreign").await;
    assert!(refused.starts_with("SIP/2.0 404"), "{refused}");
    // It is once that tenant says that the carrier is its own, too; and what is ours stays ours.
    trunk(&host, &[], json!({ "inbound": { "networks": ["127.0.0.0/8"] } })).await;
    for number in ["2000", "1000"] {
        let mut line = Phone::new().await.dial(&host, number, &[("X-Probe-Mode", "hello")]).await.unwrap();
        assert!(line.over().await.by_host);
    }
    host.key = own_key;
    let calls = host.finished_calls(1).await;
    let call = host.get(&format!("/v1/calls/{}", calls[0]["id"].as_str().unwrap())).await;
    assert_eq!((calls.len(), &call["record"]["trunk_id"]), (1, &json!(ours)), "{call}");
}

#[tokio::test]
async fn a_trunk_has_its_channels_and_no_more() {
    let carrier = Carrier::start(Manners::default()).await;
    let host = closed().await;
    let script = host.publish_probe(None).await;
    let limits = json!({ "inbound": from_here(), "limits": { "channels": 1 } });
    let trunk = trunk(&host, &[address(&carrier)], limits).await;
    let phone = Phone::new().await;
    let mut line = phone.dial_probe(&host, "wait", &[]).await;
    let refused = phone.dial(&host, "2000", &[]).await.err().unwrap();
    assert_eq!(refused.status, Some(486));
    let body = json!({ "to": "+493012345", "script_id": script });
    let (code, problem) = host.request(Method::POST, "/v1/calls", Some(&body)).await;
    assert_eq!((code.as_u16(), &problem["code"]), (409, &json!("trunk_busy")), "{problem}");
    line.hang_up().await;
    let channels = status(&host, &trunk, |status| status["channels"]["inbound"] == 0).await["channels"].take();
    assert_eq!((&channels["refused_total"], &channels["limit"]), (&json!(2), &json!(1)), "{channels}");
    place(&host, &script, "+493012345").await;
    carrier.gets("INVITE", 1).await;
}

// ---- calls that go out

#[tokio::test]
async fn a_carrier_is_told_who_calls_and_asked_for_nothing_twice() {
    let callee = Callee::start("callee_401").await;
    let host = Host::start().await;
    let script = host.publish_probe(None).await;
    let port: u16 = callee.address.rsplit_once(':').unwrap().1.parse().unwrap();
    let credentials = json!({ "credentials": { "username": "desk", "password": "open sesame" } });
    let id = trunk(&host, &[json!({ "host": "127.0.0.1", "port": port })], credentials).await;
    place(&host, &script, "+493012345").await;
    // SIPp computes the digest itself.
    callee.done().await;
    let record = record(&host).await;
    assert_eq!((&record["outcome"], &record["trunk_id"]), (&json!("answered"), &json!(id)), "{record}");
    assert_eq!(record["to"], "+493012345", "{record}");
    assert!(!host.log().contains("sesame"));
}

/// The lines of a description that begin so.
fn lines<'a>(message: &'a str, starts: &str) -> Vec<&'a str> {
    message.lines().filter(|line| line.starts_with(starts)).collect()
}

/// Without its port: `m=audio … RTP/AVP 0`.
fn without_port(line: &str) -> String {
    let words: Vec<&str> = line.split(' ').collect();
    [&words[..1], &words[2..]].concat().join(" ")
}

#[tokio::test]
async fn a_trunk_is_spoken_to_as_it_wants_in_offers_and_in_answers() {
    let carrier = Carrier::start(Manners::default()).await;
    let host = closed().await;
    let script = host.publish_probe(None).await;
    trunk(
        &host,
        &[address(&carrier)],
        json!({ "inbound": from_here(), "codecs": ["pcma", "pcmu"], "codec_order": "ours", "packet_ms": 40, "dtmf": "info" }),
    )
    .await;
    // What we offer.
    place(&host, &script, "+493012345").await;
    let invite = carrier.gets("INVITE", 1).await;
    let media: Vec<String> = lines(&invite, "m=").into_iter().map(without_port).collect();
    assert_eq!(media, ["m=audio RTP/AVP 8 0"], "{invite}");
    assert_eq!(lines(&invite, "a=ptime:"), ["a=ptime:40"], "{invite}");
    // What we answer: our order, keys by INFO alone, one line of audio, and each line in its place (RFC 3264 §6).
    let offer = "m=video 9 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\nm=audio 9 RTP/AVP 0 8 101\r\n\
                 a=rtpmap:101 telephone-event/8000\r\nm=audio 11 RTP/AVP 8\r\n";
    let answer = raw::ask_offer(host.sip, "2000", "wishes", offer).await;
    assert!(answer.starts_with("SIP/2.0 200"), "{answer}");
    let media = lines(&answer, "m=");
    assert_eq!(media.len(), 3, "{answer}");
    assert_eq!((media[0], without_port(media[1]).as_str()), ("m=video 0 RTP/AVP 96", "m=audio RTP/AVP 8"), "{answer}");
    assert!(!media[1].starts_with("m=audio 0 ") && media[2] == "m=audio 0 RTP/AVP 8", "{answer}");
    assert_eq!(lines(&answer, "a=ptime:"), ["a=ptime:40"], "{answer}");

    // Encryption that is preferred, for far ends that cannot do with one line of both.
    let two =
        json!({ "name": "two", "prefixes": ["+44"], "encryption": "sdes_preferred", "encryption_offer": "two_lines" });
    trunk(&host, &[address(&carrier)], two).await;
    place(&host, &script, "+4420").await;
    let invite = carrier.gets("INVITE", 2).await;
    let media: Vec<String> = lines(&invite, "m=").into_iter().map(without_port).collect();
    assert_eq!(media.len(), 2, "{invite}");
    assert!(media[0].starts_with("m=audio RTP/SAVP ") && media[1].starts_with("m=audio RTP/AVP "), "{invite}");
    assert!(!lines(&invite, "a=crypto:").is_empty(), "{invite}");
}

#[tokio::test]
async fn a_fault_before_the_answer_goes_on_and_a_person_who_is_busy_is_believed() {
    let first = Carrier::start(Manners { invite: 503, ..Manners::default() }).await;
    let second = Carrier::start(Manners { invite: 486, ..Manners::default() }).await;
    let third = Carrier::start(Manners::default()).await;
    let mut addresses = [address(&first), address(&second), address(&third)];
    for (at, address) in addresses.iter_mut().enumerate() {
        address["priority"] = json!(at);
    }
    let host = Host::start().await;
    let script = host.publish_probe(None).await;
    let number = host.post("/v1/numbers", &json!({ "address": "+498912345", "script_id": script })).await;
    let more = json!({
        "headers": { "identity": "pai", "outbound": { "X-Account": "7" }, "from_domain": "us.example" },
        "numbers": { "national": { "country_code": "49" }, "outbound_as": "national" },
    });
    let id = trunk(&host, &addresses, more).await;
    host.post("/v1/calls", &json!({ "to": "+493012345", "number_id": number["id"] })).await;
    let record = record(&host).await;
    assert_eq!((&record["outcome"], &record["sip"]["status"]), (&json!("busy"), &json!(486)), "{record}");
    assert_eq!(record["trunk_address"], format!("udp {}", second.address), "{record}");
    assert_eq!((first.got("INVITE").len(), second.got("INVITE").len(), third.got("INVITE").len()), (1, 1, 0));
    let invite = second.gets("INVITE", 1).await;
    assert!(invite.starts_with(&format!("INVITE sip:03012345@{} ", second.address)), "{invite}");
    assert!(header(&invite, "From").starts_with("<sip:08912345@us.example>"), "{invite}");
    assert_eq!(header(&invite, "P-Asserted-Identity"), "<sip:08912345@us.example>");
    assert_eq!(header(&invite, "X-Account"), "7");
    let status = status(&host, &id, |status| status["channels"]["outbound"] == 0).await;
    assert_eq!(
        (&status["channels"]["failed_over_total"], &status["channels"]["outbound_total"]),
        (&json!(1), &json!(2))
    );
    assert!(status["last_errors"][0]["error"].as_str().unwrap().contains("503"), "{status}");
}

#[tokio::test]
async fn a_transfer_takes_the_same_ways() {
    let first = Carrier::start(Manners { invite: 503, ..Manners::default() }).await;
    let second = Carrier::start(Manners { invite: 480, ..Manners::default() }).await;
    let host = Host::start().await;
    host.publish_probe(None).await;
    trunk(&host, &[address(&first), address(&second)], json!({ "failover_statuses": [503, 480] })).await;
    let options = [("X-Probe-Target", "+493012345"), ("X-Probe-Transfer-Mode", "bridge")];
    let mut line = Phone::new().await.dial_probe(&host, "transfer", &options).await;
    assert!(line.over().await.by_host);
    let record = record(&host).await;
    assert_eq!(record["end_reason"], "script_returned", "{record}");
    assert_eq!((first.got("INVITE").len(), second.got("INVITE").len()), (1, 1), "{record}");
}

#[tokio::test]
async fn an_address_that_is_down_is_left_out_and_a_trunk_that_is_down_is_told_of() {
    let first = Carrier::start(Manners { options: 503, ..Manners::default() }).await;
    let second = Carrier::start(Manners::default()).await;
    let mut addresses = [address(&first), address(&second)];
    addresses[0]["priority"] = json!(1);
    let business = Business::start().await;
    let host = Host::start().await;
    let script = host.publish_probe(None).await;
    let types = ["trunk.down", "trunk.up"];
    let hook = json!({ "url": business.url("/hook"), "secret": business.secret, "event_types": types });
    host.post("/v1/webhooks", &hook).await;
    let health = json!({ "health": { "options_interval_s": 5, "down_after": 1, "up_after": 1 } });
    let id = trunk(&host, &addresses, health).await;
    let seen = status(&host, &id, |status| {
        status["addresses"][0]["state"] == "down" && status["addresses"][1]["state"] == "up"
    });
    let seen = seen.await;
    assert_eq!((&seen["state"], &seen["addresses"][0]["last_status"]), (&json!("degraded"), &json!(503)), "{seen}");
    assert!(seen["addresses"][1]["rtt_ms"].is_u64(), "{seen}");
    place(&host, &script, "+493012345").await;
    second.gets("INVITE", 1).await;
    assert_eq!(first.got("INVITE").len(), 0);
    second.change(|manners| manners.options = 503);
    let told = business.next_at("/hook").await.body;
    assert_eq!((&told["type"], &told["data"]["trunk_id"]), (&json!("trunk.down"), &json!(id)), "{told}");
    assert_eq!((&told["call_id"], &told["data"]["state"]), (&Value::Null, &json!("down")), "{told}");
    first.change(|manners| manners.options = 200);
    let told = business.next_at("/hook").await.body;
    assert_eq!(told["type"], "trunk.up", "{told}");
}

// ---- registrations

#[tokio::test]
async fn a_trunk_that_registers_is_called_and_calls_by_its_registrar() {
    let carrier = Carrier::start(Manners { user: Some("desk"), register: 403, ..Manners::default() }).await;
    let business = Business::start().await;
    let host = closed().await;
    let script = host.publish_probe(None).await;
    let hook = json!({
        "url": business.url("/hook"), "secret": business.secret, "event_types": ["trunk.registration_failed"],
    });
    host.post("/v1/webhooks", &hook).await;
    let more = json!({
        "credentials": { "username": "desk", "password": "open sesame" },
        "registration": { "aor": "sip:desk@carrier.test", "expires_s": 300 },
    });
    let id = trunk(&host, &[address(&carrier)], more).await;
    let told = business.next_at("/hook").await.body;
    assert_eq!(
        (&told["type"], &told["data"]["registration"]["status"]),
        (&json!("trunk.registration_failed"), &json!(403))
    );
    // A change of the trunk registers anew.
    carrier.change(|manners| manners.register = 200);
    host.ok(Method::PATCH, &format!("/v1/trunks/{id}"), Some(&json!({ "registration": { "expires_s": 600 } }))).await;
    let seen = status(&host, &id, |status| status["registration"]["state"] == "registered").await;
    assert!(seen["registration"]["until"].is_string(), "{seen}");
    let register = carrier.got("REGISTER").into_iter().next_back().unwrap();
    let contact = header(&register, "Contact").split(['<', '>']).nth(1).unwrap().to_owned();

    // It calls what was registered; whom the caller wants stands in `To`.
    let answer = carrier.call(host.sip, &contact, "2000", "inward").await;
    assert!(answer.starts_with("SIP/2.0 200"), "{answer}");
    let stranger = raw::ask_invite(host.sip, "2000", "stranger").await;
    assert!(stranger.starts_with("SIP/2.0 403"), "{stranger}");

    place(&host, &script, "+493012345").await;
    let invite = carrier.gets("INVITE", 2).await;
    assert!(invite.starts_with("INVITE sip:+493012345@carrier.test "), "{invite}");
    assert!(header(&invite, "Authorization").contains("username=\"desk\""), "{invite}");

    // Taken away, it is taken back.
    host.ok(Method::DELETE, &format!("/v1/trunks/{id}"), None).await;
    eventually("a REGISTER that removes the contact", async || {
        let all = carrier.got("REGISTER");
        all.iter()
            .any(|register| header(register, "Expires") == "0" || header(register, "Contact").contains("expires=0"))
            .then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_telephone_registers_calls_a_script_and_is_called() {
    let host = closed().await;
    let script = host.publish_probe(None).await;
    let account =
        json!({ "username": "ada", "password": "open sesame", "display_name": "Ada", "caller_id": "+493055555" });
    let account = host.post("/v1/sip-accounts", &account).await;
    let phone = Phone::new().await;
    let wrong = phone.register(&host, "ada", "close sesame").await;
    let mut state = wrong.state();
    let failed = state.wait_for(|state| matches!(state, RegistrationState::Failed { .. }));
    timeout(SOON, failed).await.expect("a wrong password is refused in time").unwrap();
    drop(wrong);

    let phone = Phone::new().await;
    let registration = phone.register(&host, "ada", "open sesame").await;
    let mut state = registration.state();
    let registered = state.wait_for(|state| matches!(state, RegistrationState::Registered { .. }));
    timeout(SOON, registered).await.expect("it is registered in time").unwrap();
    let account = host.get(&format!("/v1/sip-accounts/{}", account["id"].as_str().unwrap())).await;
    assert_eq!(account["contacts"][0]["transport"], "udp", "{account}");

    let mut line = phone.dial_as(&registration, "ada", "2000").await.unwrap();
    // To know what the call is named by is not enough to take its place.
    let replaces = line.dialog.replaces_value().await.unwrap();
    let stranger = Phone::new().await.dial(&host, "2000", &[("Replaces", &replaces)]).await.err().unwrap();
    assert_eq!(stranger.status, Some(403));
    line.hears_for(200).await;
    line.hang_up().await;
    let inbound = record(&host).await;
    assert_eq!(inbound["from"], "+493055555", "{inbound}");
    assert_eq!(inbound["caller"]["display_name"], "Ada", "{inbound}");

    for to in ["ada", "sip:ada@callbox"] {
        let id = place(&host, &script, to).await;
        let ringing = timeout(SOON, phone.incoming()).await.unwrap();
        let mut line = phone.pick_up(ringing).await;
        line.hears_for(200).await;
        line.hang_up().await;
        let done = eventually("the call's end", async || {
            let call = host.get(&format!("/v1/calls/{id}")).await;
            (call["state"] == "completed").then_some(call)
        });
        assert_eq!(done.await["record"]["outcome"], "answered");
    }
}
