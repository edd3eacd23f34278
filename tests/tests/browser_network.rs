//! A browser whose network changes. By itself in this file: browsers look at all networks of the machine, and those of other
//! tests would follow the change, too.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use callbox_tests::visitor::{ALIKE, heard, likeness, synthesised, token, visitor};
use callbox_tests::{Host, Net, Options, probe_bindings};
use serde_json::json;

const NUMBER: &str = "1000";

#[tokio::test]
async fn a_call_outlives_its_network() {
    let Some(net) = Net::new() else { return };
    let inside = Some((net.name.clone(), net.far));
    let mut host = Host::start_with(Options { inside, sip: Some(net.far), ..Options::default() }).await;
    let mut bindings = probe_bindings(None);
    bindings["settings"] = json!({ "mode": "long", "count": "9" });
    host.publish("probe", NUMBER, &bindings, &json!({})).await;
    let (_site, _browser, page) = visitor(&host).await;
    token(&host, &page, NUMBER, &json!({})).await;
    page.press("Tab").await;
    page.press("Enter").await;
    page.run("state('connecting').then(() => capture(phone.call))").await;
    let said = page.run("seen((name, detail) => name === 'caption' && detail.role === 'robot')").await;

    page.run("window.from = told.length").await;
    let net = tokio::task::spawn_blocking(move || {
        net.change();
        net
    });
    page.run("state('reconnecting', from)").await;
    page.run("state('answered', from)").await;
    host.reconnect();
    // The voice goes on over the new way: it is heard saying the same again …
    page.run("heard(true)").await;
    page.run("talked(3_000)").await;
    let again: String = said["text"].as_str().unwrap().split_inclusive(". ").take(2).collect();
    let likeness = likeness(&heard(&page).await, &synthesised(&again).await);
    assert!(likeness > ALIKE, "what was heard is not what is said: {likeness:.2}");
    // … and a key cuts it off.
    page.run("phone.call.digits('5')").await;
    page.run("ended()").await;
    let record = host.finished_call().await["record"].take();
    assert_eq!(record["fields"]["playout"]["end"], "cut_by_digits", "{record}");
    assert_eq!(record["end_reason"], "script_returned", "{record}");
    let patched = page.run("phone.call.exchanges.some(({ method, status }) => method === 'PATCH' && status === 200)");
    assert_eq!(patched.await, true);
    drop(net.await.unwrap());
}
