//! A real browser calls: what it hears, what it presses, what becomes of it when its network changes, and who may not.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use callbox_tests::browser::{Browser, Site};
use callbox_tests::visitor::{ALIKE, KEPT, heard, likeness, returned, synthesised, token, visitor};
use callbox_tests::{Host, NUMBER, Options, SOON, clinic, root};
use serde_json::json;
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

#[tokio::test]
async fn the_comparison_tells_words_from_others() {
    let [one, other] =
        ["Hello, Ada. This is a reminder of your appointment.", "Please press a key, then the hash key, now."];
    let (one, other) = (synthesised(one).await, synthesised(other).await);
    let silence = vec![0.0; 2 * KEPT];
    let around = |voice: &[f32]| [&silence, voice, &silence].concat();
    assert!(likeness(&one, &around(&one)) > 0.99);
    // Softer, and with a piece that came too late.
    let mut worse: Vec<f32> = one.iter().map(|sample| sample / 3.0).collect();
    worse[KEPT / 2..KEPT / 2 + KEPT / 20].fill(0.0);
    assert!(likeness(&one, &around(&worse)) > 0.9);
    // A tenth slower.
    let slower: Vec<f32> = (0..one.len() * 11 / 10).map(|at| one[at * 10 / 11]).collect();
    assert!(likeness(&one, &around(&slower)) > 0.9);
    for wrong in [around(&other), silence.repeat(3)] {
        let likeness = likeness(&one, &wrong);
        assert!(likeness < 0.65, "{likeness:.2}");
    }
}

#[tokio::test]
async fn a_page_calls_the_example_with_the_keyboard() {
    let (host, business) = clinic(&json!({})).await;
    let (site, _browser, page) = visitor(&host).await;
    let more = json!({ "origins": [site.origin], "uses": 1, "variables": { "X-Call-Relation-Id": "page-1" } });
    token(&host, &page, NUMBER, &more).await;

    // The button has the focus after one step, and keeps it.
    page.press("Tab").await;
    page.press("Enter").await;
    page.run("state('connecting').then(() => capture(phone.call))").await;
    page.run("state('answered')").await;
    let greeting = page.run("caption('Hello, Ada Lovelace')").await;
    let menu = page.run("caption('confirm')").await;
    // The captions are one step from there, the keypad two.
    page.press("Tab").await;
    page.press("Tab").await;
    page.press("Enter").await;
    let goodbye = page.run("caption('Goodbye')").await;
    returned(&page).await;

    // The business system has it.
    let outcome = business.next_at("/outcome").await.body["data"]["body"].clone();
    assert_eq!(outcome["outcome"], "confirmed");
    assert_eq!(outcome["relation_id"], "page-1");
    let record = host.finished_call().await["record"].take();
    assert_eq!(record["transport"], "webrtc", "{record}");
    assert_eq!(record["end_reason"], "script_returned", "{record}");
    assert!(record["media"]["packets_received"].as_u64().unwrap() > 0, "{record}");

    // The captions are the transcript.
    let shown =
        page.run("[...phone.shadowRoot.querySelectorAll('.captions p')].map((row) => row.lastChild.textContent)").await;
    let shown: Vec<&str> = shown.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
    let said = record["transcript"].as_array().unwrap().iter();
    let said = said.map(|turn| turn["heard_text"].as_str().or(turn["text"].as_str()).unwrap_or_default());
    let said: Vec<&str> = said.collect();
    let same = shown.iter().zip(&said).all(|(shown, said)| shown == said || said.is_empty());
    assert!(same && shown.len() == said.len(), "{shown:?} is not {said:?}");

    // The page heard what was synthesised. A machine that is too busy drops some of what it plays, but not all of it.
    let sound = heard(&page).await;
    let mut all = Vec::new();
    for caption in [greeting, menu, goodbye] {
        all.push(likeness(&synthesised(caption["text"].as_str().unwrap()).await, &sound));
    }
    assert!(all.iter().any(|likeness| *likeness > ALIKE), "what was heard is not what was said: {all:?}");
    // And nothing is left of it: no microphone, no connection.
    assert_eq!(page.run("phone.call.connection.connectionState").await, "closed");
    assert_eq!(page.run("told.filter(([name]) => name === 'error').length").await, 0);
}

#[tokio::test]
async fn a_caller_hangs_up_in_the_page_and_by_leaving_it() {
    let (host, business) = clinic(&json!({})).await;
    let (_site, _browser, page) = visitor(&host).await;
    token(&host, &page, NUMBER, &json!({ "uses": 2 })).await;
    page.press("Tab").await;
    page.press("Enter").await;
    page.run("caption('Hello, Ada')").await;
    page.press("Enter").await;
    let ended = page.run("ended()").await;
    assert_eq!(ended, json!({ "reason": "caller_hangup", "by": "caller", "answered": true }));
    assert_eq!(business.next_at("/outcome").await.body["data"]["body"]["outcome"], "hung_up");

    page.run("window.from = told.length").await;
    page.press("Enter").await;
    page.run("caption('Hello, Ada', from)").await;
    page.go("about:blank").await;
    assert_eq!(business.next_at("/outcome").await.body["data"]["body"]["outcome"], "hung_up");
    for call in host.finished_calls(2).await {
        assert_eq!(call["end_reason"], "caller_hangup", "{call}");
    }
}

#[tokio::test]
async fn a_token_is_for_its_page_its_time_and_its_uses() {
    let (host, _business) = clinic(&json!({})).await;
    let (_site, _browser, page) = visitor(&host).await;
    let refused = async |told: &str, reason: &str| {
        page.run("window.from = told.length").await;
        page.run("phone.start()").await;
        let error = page.run("seen((name) => name === 'error', from)").await;
        assert_eq!(
            (error["code"].as_str(), error["reason"].as_str()),
            (Some("token_refused"), Some(reason)),
            "{error}"
        );
        let notice = page.run("phone.shadowRoot.querySelector('[part=notice]').textContent").await;
        assert_eq!(notice, told);
    };
    token(&host, &page, NUMBER, &json!({ "origins": ["https://another.example"] })).await;
    refused("This page is not allowed to make this call.", "origin_not_allowed").await;

    token(&host, &page, NUMBER, &json!({ "uses": 1 })).await;
    page.run("phone.start()").await;
    page.run("state('answered')").await;
    page.run("phone.hangUp()").await;
    refused("The permission for this call was used already. Please reload the page.", "token_spent").await;

    token(&host, &page, NUMBER, &json!({ "expires_in_s": 1 })).await;
    let over = format!(
        "(async () => {{ const headers = {{ authorization: `Bearer ${{phone.getAttribute('token')}}` }}; \
           while ((await fetch('http://{}/v1/webrtc/token', {{ headers }})).status !== 401) \
             await new Promise((next) => setTimeout(next, 250)); }})()",
        host.http
    );
    page.run(&over).await;
    refused("The permission for this call has expired. Please reload the page.", "token_expired").await;

    page.run("phone.setAttribute('token', 'cbt_nothing')").await;
    refused("This call is not allowed.", "token_invalid").await;
    assert_eq!(host.finished_calls(1).await.len(), 1, "what is refused is no call");
}

#[tokio::test]
async fn a_page_that_exists_already_calls_by_sip() {
    let env = vec![("CALLBOX_SIP__WS", "[\"127.0.0.1:0\"]".to_owned())];
    let host = Host::start_with(Options { env, ..Options::default() }).await;
    host.publish_probe(None).await;
    let library = std::fs::read_to_string(root().join("target/web/jssip.js"));
    let site = Site::serve(&[
        ("/", "text/html", "<!doctype html><script src=jssip.js></script><script src=page.js></script>".to_owned()),
        ("/jssip.js", "text/javascript", library.expect("tools/setup test fetches JsSIP")),
        ("/page.js", "text/javascript", std::fs::read_to_string(root().join("tests/web/jssip.page.js")).unwrap()),
    ])
    .await;
    let browser = Browser::start(None).await;
    let page = browser.open(&site.origin).await;
    let headers =
        ["X-Business-Id: b-1", "X-App-Id: a-1", "X-Robot-Id: r-1", "X-Call-Relation-Id: c-1", "X-Probe-Mode: info"];
    let asked = json!({
        "server": format!("ws://{}", host.listener("ws")), "target": "sip:2000@example.com", "headers": headers,
    });
    let told = page.run(&format!("callBySip({asked})")).await;
    assert_eq!(told["events"], json!(["accepted", "confirmed", "ended"]), "{told}");
    assert_eq!(told["connection"], "connected", "{told}");
    assert!(told["heard"].as_u64().unwrap() > 0, "{told}");
    let record = host.finished_call().await["record"].take();
    assert_eq!(record["end_reason"], "script_returned", "{record}");
    assert_eq!(record["sip"]["transport"], "ws", "{record}");
    assert_eq!(record["relation_id"], "c-1", "{record}");
    let fields = record["fields"].to_string();
    for value in ["b-1", "a-1", "r-1", "c-1"] {
        assert!(fields.contains(value), "{value} in {fields}");
    }
}

#[tokio::test]
async fn ice_begins_anew_when_the_page_asks() {
    let (host, business) = clinic(&json!({})).await;
    let (_site, _browser, page) = visitor(&host).await;
    token(&host, &page, NUMBER, &json!({})).await;
    page.press("Tab").await;
    page.press("Enter").await;
    page.run("caption('Hello, Ada')").await;
    let transport = "phone.call.connection.getStats().then((all) => [...all.values()].find((one) => one.type === 'transport'))\
                     .then((one) => [one.iceLocalUsernameFragment, one.dtlsState])";
    let before = page.run(transport).await;
    page.run("window.from = told.length").await;
    page.run("phone.call.reconnect()").await;
    page.run("state('reconnecting', from)").await;
    page.run("state('answered', from)").await;
    let after = page.run(transport).await;
    assert_ne!(before[0], after[0], "another session of ICE");
    assert_eq!(after[1], "connected", "and the same of DTLS");
    page.run("caption('confirm')").await;
    page.run("phone.call.digits('1')").await;
    returned(&page).await;
    assert_eq!(business.next_at("/outcome").await.body["data"]["body"]["outcome"], "confirmed");
}

#[tokio::test]
async fn a_newcomer_tries_a_script_out() {
    let (host, _business) = clinic(&json!({})).await;
    let browser = Browser::start(None).await;
    let page = browser.open(&format!("http://{}/try", host.http)).await;
    let shown = |id: &str| format!("until(() => !document.getElementById('{id}').hidden)");
    page.run(
        "window.until = (check) => new Promise((done) => { \
           const watch = new MutationObserver(() => look()); \
           const look = () => { if (check()) { watch.disconnect(); done(true); } }; \
           watch.observe(document, { subtree: true, childList: true, attributes: true, characterData: true }); look(); })",
    )
    .await;
    // A wrong key is refused in words; the right one shows the numbers.
    page.run(&shown("enter")).await;
    for key in ["cbk_wrong", &host.key] {
        page.run(&format!("document.getElementById('key').value = {}", json!(key))).await;
        page.run_as_user("document.querySelector('#enter button').click()").await;
        page.run(&shown(if key == host.key { "desk" } else { "refused" })).await;
    }
    let choice = page.run("document.getElementById('number').selectedOptions[0].textContent").await;
    assert!(choice.as_str().unwrap().starts_with(NUMBER), "{choice}");
    let text = |id: &str, words: &str| {
        format!("until(() => document.getElementById('{id}').textContent.includes({}))", json!(words))
    };
    page.run_as_user("phone.shadowRoot.querySelector('[part=call]').click()").await;
    page.run(&text("signalling", "DTLS are done")).await;
    // The menu is being said: from then on it listens.
    page.run("until(() => /menu.*prompt started/.test(document.getElementById('timeline').textContent))").await;
    page.run("phone.call.digits('1')").await;
    page.run(&text("context", "Ada Lovelace")).await;
    page.run(&text("result", "disposition: confirmed")).await;
    page.run(&text("result", "delivered")).await;
    assert_eq!(page.run("phone.call.ended.reason").await, "script_returned");
    // The key is nowhere that others look.
    let seen =
        page.run("[location.href, document.cookie, JSON.stringify(localStorage), document.body.textContent]").await;
    assert!(!seen.to_string().contains(&host.key), "{seen}");
    // Its policy forbids nothing that it does.
    let refused: Vec<_> = page.console().into_iter().filter(|told| told.contains("Content Security Policy")).collect();
    assert_eq!(refused, Vec::<String>::new());
}

const TEXT: &str =
    "The train to Cambridge leaves at 14:35 from platform 9. Please have your ticket ready for the guard.";

#[tokio::test]
async fn where_udp_does_not_pass_a_call_takes_tcp() {
    let host = Host::start().await;
    host.publish_probe(None).await;
    let (_site, _browser, page) = visitor(&host).await;
    token(&host, &page, "2000", &json!({ "variables": { "X-Probe-Text": TEXT } })).await;
    // A page that is told of no way by UDP is one whose firewall lets none through.
    let closed = "window.fetch = ((fetch) => async (...asked) => { \
                    const answer = await fetch(...asked); \
                    const text = (await answer.text()).split('\\r\\n').filter((line) => !/^a=candidate:.* udp /i.test(line)).join('\\r\\n'); \
                    return new Response(answer.status === 204 ? null : text, answer); })(window.fetch)";
    page.run(closed).await;
    page.press("Tab").await;
    page.press("Enter").await;
    page.run("state('connecting').then(() => capture(phone.call))").await;
    let said = page.run("seen((name, detail) => name === 'caption' && detail.role === 'robot')").await;
    let way = "phone.call.connection.getStats().then((all) => [...all.values()].find((one) => one.type === 'transport'))\
               .then(async (one) => { const all = await phone.call.connection.getStats(); \
                 return all.get(all.get(one.selectedCandidatePairId).remoteCandidateId).protocol; })";
    assert_eq!(page.run(way).await, "tcp");
    returned(&page).await;
    let likeness = likeness(&synthesised(said["text"].as_str().unwrap()).await, &heard(&page).await);
    assert!(likeness > ALIKE, "what was heard is not {said}: {likeness:.2}");
}

/// What a datagram on a WebRTC port is, by its first byte (RFC 7983).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Datagram {
    Stun,
    /// Whether a record in it ends a handshake or is protected: ChangeCipherSpec, or DTLS 1.3's own header.
    Dtls {
        protected: bool,
    },
    Media,
}

fn datagram(bytes: &[u8]) -> Datagram {
    match bytes[0] {
        0..=3 => Datagram::Stun,
        128..=191 => Datagram::Media,
        20..=63 => {
            let mut rest = bytes;
            let mut protected = false;
            while rest.len() > 13 {
                protected |= rest[0] == 20 || rest[0] >= 32;
                // The header of 1.3 has other lengths: what follows it in a datagram is protected, too.
                let length =
                    if rest[0] >= 32 { rest.len() } else { 13 + usize::from(u16::from_be_bytes([rest[11], rest[12]])) };
                rest = &rest[length.min(rest.len())..];
            }
            Datagram::Dtls { protected }
        }
        other => panic!("a datagram that begins with {other}"),
    }
}

#[tokio::test]
async fn no_media_passes_before_the_handshake_is_done() {
    let host = Host::start().await;
    host.publish_probe(None).await;
    let address = host.ready["webrtc"]["udp"][0].as_str().unwrap_or_else(|| panic!("{}", host.ready)).to_owned();
    let port = address.rsplit(':').next().unwrap().to_owned();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("call.pcapng");
    let mut sniffer = Command::new("dumpcap")
        .args(["-q", "-i", "lo", "-f", &format!("udp port {port}"), "-w"])
        .arg(&file)
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("dumpcap runs: tools/setup test installs it");
    let mut told = BufReader::new(sniffer.stderr.take().unwrap()).lines();
    let begun = async {
        while let Some(line) = told.next_line().await.unwrap() {
            if line.starts_with("File:") {
                return;
            }
        }
        panic!("dumpcap captures nothing");
    };
    timeout(SOON, begun).await.unwrap();
    let (_site, _browser, page) = visitor(&host).await;
    token(&host, &page, "2000", &json!({})).await;
    page.press("Tab").await;
    page.press("Enter").await;
    returned(&page).await;
    Command::new("kill").args(["-INT", &sniffer.id().unwrap().to_string()]).status().await.unwrap();
    timeout(SOON, sniffer.wait()).await.unwrap().unwrap();

    let output = Command::new("tshark")
        .arg("-r")
        .arg(&file)
        .args(["-T", "fields", "-e", "udp.srcport", "-e", "udp.payload"])
        .output()
        .await
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let packets: Vec<(bool, Datagram)> = text
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .map(|(source, payload)| {
            let byte = |at: usize| u8::from_str_radix(&payload[2 * at..2 * at + 2], 16).unwrap();
            let bytes: Vec<u8> = (0..payload.len() / 2).map(byte).collect();
            (source == port, datagram(&bytes))
        })
        .collect();
    let first = packets.iter().position(|(_, kind)| *kind == Datagram::Media).expect("media passed");
    for from_host in [true, false] {
        let done = packets[..first].contains(&(from_host, Datagram::Dtls { protected: true }));
        assert!(done, "media before {from_host} was done: {:?}", &packets[..=first]);
        let all = packets.iter().filter(|packet| **packet == (from_host, Datagram::Media)).count();
        assert!(all > 20, "{all} packets of media from the host: {from_host}");
    }
}
