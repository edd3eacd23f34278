//! Lists: every row once, the newest first, with filters.

use crate::fixture::House;
use serde_json::{Value, json};

fn ids(page: &Value) -> Vec<String> {
    page["data"].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
}

async fn walk(house: &House, path: &str, limit: usize) -> Vec<String> {
    let mut all = Vec::new();
    let mut cursor = String::new();
    loop {
        let separator = if path.contains('?') { '&' } else { '?' };
        let answer = house.get(&format!("{path}{separator}limit={limit}{cursor}")).await;
        let page = answer.ok();
        let rows = ids(page);
        assert!(rows.len() <= limit);
        all.extend(rows);
        assert_eq!(page["has_more"].as_bool().unwrap(), page["next_cursor"].is_string());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return all,
        }
    }
}

#[tokio::test]
async fn pages_hold_every_row_once() {
    let house = House::new().await;
    let mut made = Vec::new();
    for n in 0..7 {
        let script = house.post("/v1/scripts", json!({ "name": format!("s{n}") })).await;
        made.push(script.ok()["id"].as_str().unwrap().to_owned());
    }
    made.reverse();
    for limit in [1, 2, 3, 6, 7, 8, 100] {
        assert_eq!(walk(&house, "/v1/scripts", limit).await, made, "{limit}");
    }
    // What is made meanwhile does not move the pages.
    let first = house.get("/v1/scripts?limit=3").await.json;
    house.post("/v1/scripts", json!({ "name": "late" })).await.ok();
    let rest = house.get(&format!("/v1/scripts?cursor={}", first["next_cursor"].as_str().unwrap())).await.json;
    assert_eq!([ids(&first), ids(&rest)].concat(), made);
}

#[tokio::test]
async fn calls_are_found_by_what_is_known_of_them() {
    let house = House::new().await;
    let things = house.things(&house.tenant, &house.key).await;
    let (second, _) = house.finished_call(&house.tenant, &things.script, "num_other").await;
    let at = async |query: String| walk(&house, &format!("/v1/calls?{query}"), 1).await;
    let both = vec![second.clone(), things.call.clone()];
    assert_eq!(walk(&house, "/v1/calls?state=completed", 1).await, both);
    assert_eq!(at(format!("number_id={}", things.number)).await, std::slice::from_ref(&things.call));
    assert_eq!(at(format!("script_id={}", things.script)).await, both);
    assert_eq!(at("direction=inbound&outcome=answered&relation_id=r-1".into()).await, both);
    assert_eq!(at("created_from=2020-01-01T00:00:00Z&created_to=2100-01-01T00:00:00%2B02:00".into()).await, both);
    for nothing in
        ["state=active", "direction=outbound", "outcome=busy", "external_id=x", "created_to=2020-01-01T00:00:00Z"]
    {
        assert!(at(nothing.into()).await.is_empty(), "{nothing}");
    }
    let delivered = walk(&house, "/v1/deliveries?state=pending", 2).await;
    assert_eq!(walk(&house, &format!("/v1/webhooks/{}/deliveries", things.webhook), 2).await, delivered);
    assert_eq!(walk(&house, &format!("/v1/deliveries?endpoint={}", things.webhook), 100).await, delivered);
    assert!(delivered.contains(&things.delivery));
}

#[tokio::test]
async fn a_call_that_is_over_shows_all_of_it() {
    let house = House::new().await;
    let things = house.things(&house.tenant, &house.key).await;
    let path = format!("/v1/calls/{}", things.call);
    let call = house.get(&path).await.json;
    assert_eq!((call["state"].as_str(), call["outcome"].as_str()), (Some("completed"), Some("answered")));
    assert_eq!(call["record"]["end_reason"], "script_returned");
    assert_eq!(call["start"]["relation_id"], "r-1");
    for part in ["transcript", "timeline"] {
        assert_eq!(house.get(&format!("{path}/{part}")).await.ok()["data"], json!([]));
    }
    let events = house.get(&format!("{path}/events")).await.json;
    let kinds: Vec<&str> = events["data"].as_array().unwrap().iter().map(|e| e["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["call.started", "call.completed"]);
    assert_eq!(events["data"][1]["body"]["data"], call["record"]);
    let tape = house.get(&format!("{path}/tape")).await;
    assert_eq!(
        (tape.headers["content-type"].to_str().unwrap(), tape.bytes),
        ("application/x-ndjson", b"{\"tape\":1}\n".to_vec())
    );
    let recordings = house.get(&format!("{path}/recordings")).await.json;
    assert_eq!(ids(&recordings), std::slice::from_ref(&things.recording));
    assert!(recordings["data"][0].get("location").is_none(), "where files lie is nobody's business");
}

#[tokio::test]
async fn a_recording_is_served_whole_and_in_parts() {
    let house = House::new().await;
    let things = house.things(&house.tenant, &house.key).await;
    let path = format!("/v1/calls/{}/recordings/{}", things.call, things.recording);
    let part = async |range: &str| {
        let request = axum::http::Request::get(&path).header("authorization", format!("Bearer {}", house.key));
        house.send(request.header("range", range).body(axum::body::Body::empty()).unwrap()).await
    };
    let whole = house.get(&path).await;
    assert_eq!((whole.status.as_u16(), whole.bytes.as_slice()), (200, &b"RIFF0123456789"[..]));
    assert_eq!(
        (&whole.headers["content-type"], &whole.headers["content-length"]),
        (&"audio/wav".parse().unwrap(), &"14".parse().unwrap())
    );
    let middle = part("bytes=4-6").await;
    assert_eq!((middle.status.as_u16(), middle.bytes.as_slice()), (206, &b"012"[..]));
    assert_eq!(middle.headers["content-range"], "bytes 4-6/14");
    assert_eq!(part("bytes=-2").await.bytes, b"89");
    assert_eq!(part("bytes=9-3").await.bytes, whole.bytes);
    part("bytes=14-").await.problem(416, "range_not_satisfiable");
    // The link that the list has for it needs no key, and nobody can make one.
    let listed = house.get(&format!("/v1/calls/{}/recordings", things.call)).await.json["data"][0].take();
    let link = listed["url"].as_str().unwrap().strip_prefix("http://api.example").unwrap().to_owned();
    let open = async |link: &str| house.request(None, "GET", link, None).await;
    assert_eq!(open(&link).await.bytes, whole.bytes);
    let (ours, expires) = (link.split_once('?').unwrap().0, listed["expires_at"].as_str().unwrap());
    assert!(expires > "2026", "{listed}");
    open(ours).await.problem(400, "invalid_query");
    open(&link.replace("signature=", "signature=0")).await.problem(403, "link_invalid");
    open(&link.replace("expires=", "expires=1")).await.problem(403, "link_invalid");
    let expired = house.store.link_key().await.unwrap().link(&things.recording, callbox_store::UnixMs(1_000));
    open(&expired).await.problem(403, "link_expired");
    // While it is on its way only the host that made it has it; a recording that is lost is gone.
    std::fs::remove_file(house.recordings.join(format!("{}.wav", things.call))).unwrap();
    house.get(&path).await.problem(409, "recording_not_ready");
    let due = house.store.due_recordings("test", 10).await.unwrap().0.remove(0);
    house.store.recording_is_lost(&due, "the disk is gone").await.unwrap();
    house.get(&path).await.problem(410, "recording_gone");
    open(&link).await.problem(410, "recording_gone");
}

#[tokio::test]
async fn a_component_is_given_back_as_it_was_uploaded() {
    let house = House::new().await;
    let things = house.things(&house.tenant, &house.key).await;
    let version = format!("/v1/scripts/{}/versions/1", things.script);
    let about = house.get(&version).await;
    let path = format!("{version}/component");
    let whole = house.get(&path).await;
    let digest = about.ok()["digest"].as_str().unwrap();
    assert_eq!(callbox_store::blobs::digest(&whole.bytes), digest);
    let header = |name: &str| whole.headers[name].to_str().unwrap();
    assert_eq!((whole.status.as_u16(), header("content-type")), (200, "application/wasm"));
    assert_eq!(header("etag"), format!("\"{digest}\""));
    assert_eq!(header("content-length"), whole.bytes.len().to_string());
    assert_eq!(header("content-disposition"), "attachment; filename=\"hello-1.wasm\"");

    let again = async |etag: &str| {
        let request = axum::http::Request::get(&path).header("authorization", format!("Bearer {}", house.key));
        house.send(request.header("if-none-match", etag).body(axum::body::Body::empty()).unwrap()).await
    };
    let same = again(header("etag")).await;
    assert_eq!((same.status.as_u16(), same.bytes.len(), &same.headers["etag"]), (304, 0, &whole.headers["etag"]));
    assert_eq!(again("\"sha256:00\"").await.status, 200);

    house.get(&format!("/v1/scripts/{}/versions/2/component", things.script)).await.problem(404, "not_found");
    // Damaged on the disk: nobody gets half of it for whole.
    let hex = digest.strip_prefix("sha256:").unwrap();
    std::fs::write(house.artefacts().join(&hex[..2]).join(hex), b"\0asm").unwrap();
    house.get(&path).await.problem(500, "internal");
}
