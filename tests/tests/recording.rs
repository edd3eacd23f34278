//! Recordings, downloaded as a customer would: left what the caller said, right
//! what the robot said, and neither where it is secret.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use callbox_tests::{Bucket, Business, Host, Line, Options, Phone, eventually, expand, probe_bindings, raw};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

async fn recording_host() -> Host {
    let host = Host::start().await;
    host.publish("probe", "2000", &probe_bindings(None), &json!({ "recording": "on" })).await;
    host
}

/// Both channels of the only recording of the only call.
async fn download(host: &Host) -> (Value, Vec<i16>, Vec<i16>) {
    let record = host.finished_call().await["record"].take();
    let link = record["recordings"][0].clone();
    let url = link["url"].as_str().unwrap_or_else(|| panic!("no recording in {record}"));
    let response = reqwest::Client::new().get(url).send().await.unwrap();
    assert!(response.status().is_success());
    assert_eq!(response.headers()["content-type"], "audio/wav");
    let file = response.bytes().await.unwrap();
    assert_eq!(file.len() as u64, link["size"], "{link}");
    // 16-bit PCM, two channels, 8 kHz: "fmt " at 12, its values from 20 on, samples from 44.
    let number = |at: usize| u16::from_le_bytes([file[at], file[at + 1]]);
    assert_eq!((&file[..4], &file[8..16]), (&b"RIFF"[..], &b"WAVEfmt "[..]));
    assert_eq!((number(20), number(22), number(24), number(34)), (1, 2, 8_000, 16));
    assert_eq!(&file[36..40], b"data");
    let pairs = file[44..].chunks_exact(4);
    let sample = |bytes: &[u8]| i16::from_le_bytes([bytes[0], bytes[1]]);
    let (left, right): (Vec<i16>, Vec<i16>) = pairs.map(|pair| (sample(&pair[..2]), sample(&pair[2..]))).unzip();
    let ms = link["duration_ms"].as_u64().unwrap();
    assert!(ms.abs_diff(left.len() as u64 / 8) <= 20, "{ms} ms, {} samples", left.len());
    (record, left, right)
}

/// The part of a stream that sounds.
fn sounding(pcmu: &[u8]) -> Vec<i16> {
    let samples: Vec<i16> = pcmu.iter().map(|&byte| expand(byte)).collect();
    let first = samples.iter().position(|sample| sample.unsigned_abs() > 8).unwrap();
    let last = samples.iter().rposition(|sample| sample.unsigned_abs() > 8).unwrap();
    samples[first..=last].to_vec()
}

/// Where `part` begins in `all`.
fn find(all: &[i16], part: &[i16]) -> Option<usize> {
    all.windows(part.len()).position(|window| window == part)
}

/// Noise of a few seconds: each 20 ms of it is like no other.
fn noise() -> Vec<i16> {
    let mut dice = raw::Dice::new(9);
    (0..8_000 * 5).map(|_| i16::try_from(dice.roll(8_000)).unwrap() - 4_000).collect()
}

async fn over(mut line: Line) -> (Vec<u8>, Vec<u8>) {
    assert!(line.over().await.by_host);
    (line.sent(), line.heard())
}

#[tokio::test]
async fn a_recording_is_what_both_sides_heard() {
    let host = recording_host().await;
    let phone = Phone::new().await;
    let line =
        phone.dial_probe(&host, "hello", &[("X-Probe-Text", "This is what the robot has to say. It is long.")]).await;
    line.play(noise());
    let (sent, heard) = over(line).await;
    let (record, left, right) = download(&host).await;
    assert_eq!(record["recordings"].as_array().unwrap().len(), 1);

    // Right: every sample the robot played, in one piece, where the machine kept up.
    let played = sounding(&heard);
    assert!(played.len() > 8_000, "{} samples are no sentence", played.len());
    if record["media"]["skipped"] == 0 {
        let at = find(&right, &played).expect("what was played is in the right channel");
        assert!(right[..at].iter().all(|sample| sample.unsigned_abs() <= 8), "something else sounds before");
    } else {
        in_order(&right, &played, "right");
    }

    // Left: what was sent, frame by frame, in order and in time; the jitter buffer may have left out a few.
    let sent: Vec<i16> = sent.iter().map(|&byte| expand(byte)).collect();
    in_order(&left, &sent[1_600..sent.len() - 2_400], "left");
}

/// Frame after frame of `part` is in `all`, but for a few, and at the same pace.
fn in_order(all: &[i16], part: &[i16], channel: &str) {
    let (mut from, mut offsets) = (0, Vec::new());
    let frames: Vec<&[i16]> = part.chunks_exact(160).collect();
    for (index, frame) in frames.iter().enumerate() {
        let window = &all[from..(from + 8_000).min(all.len())];
        if let Some(place) = find(window, frame) {
            offsets.push((from + place).cast_signed() - (index * 160).cast_signed());
            from += place + 160;
        }
    }
    assert!(
        offsets.len() * 100 >= frames.len() * 85,
        "{} of {} frames are in the {channel} channel",
        offsets.len(),
        frames.len()
    );
    let spread = offsets.iter().max().unwrap() - offsets.iter().min().unwrap();
    assert!(spread <= 8 * 400, "the {channel} channel drifts by {spread} samples");
}

#[tokio::test]
async fn what_is_secret_is_not_recorded() {
    let host = recording_host().await;
    let phone = Phone::new().await;
    let line = phone.dial_probe(&host, "sensitive", &[]).await;
    line.play(noise());
    line.hears_for(1_000).await;
    line.press("9375");
    // The second question, which is no secret.
    line.hears_for(6_000).await;
    line.press("4");
    let (sent, _) = over(line).await;
    let (record, left, _) = download(&host).await;
    assert_eq!(record["fields"]["secret_length"], 4, "{record}");
    let loud = |frame: &[i16]| frame.iter().any(|sample| sample.unsigned_abs() > 100);
    let frames: Vec<bool> = left.chunks_exact(160).map(loud).collect();
    // While the secret was asked for – half a second and more into the call – the caller is not to be heard, neither
    // voice nor keys; afterwards again.
    let masked = &frames[10..50];
    assert!(masked.iter().all(|loud| !loud), "the caller is heard in a secret: {masked:?}");
    let open = frames.iter().rev().take(40).filter(|loud| **loud).count();
    assert!(open > 20, "the caller is not heard after the secret: {frames:?}");
    assert!(sent.len() > 8_000);
}

#[tokio::test]
async fn a_number_that_is_not_recorded_has_no_recording() {
    let host = Host::start().await;
    host.publish_probe(None).await;
    Phone::new().await.dial_probe(&host, "hello", &[]).await.over().await;
    let call = host.finished_call().await;
    assert_eq!(call["record"]["recordings"], json!([]));
    let listed = host.get(&format!("/v1/calls/{}/recordings", call["id"].as_str().unwrap())).await;
    assert_eq!(listed["data"], json!([]));
    let files = std::fs::read_dir(host.data.join("recordings")).unwrap().count();
    assert_eq!(files, 0);
}

/// Files in a folder.
fn files(folder: &Path) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}

/// A host that keeps its files in a bucket, with a webhook for all that is told of calls.
async fn bucket_host(bucket: &Bucket, business: &Business, data: Option<PathBuf>) -> Host {
    let host = Host::start_with(Options { env: bucket.env(), data, ..Options::default() }).await;
    host.publish("probe", "2000", &probe_bindings(None), &json!({ "recording": "on" })).await;
    host.post("/v1/webhooks", &json!({ "url": business.url("/webhooks"), "secret": business.secret })).await;
    host
}

/// The next event of this type.
async fn told(business: &Business, kind: &str) -> Value {
    loop {
        let mut event = business.next_at("/webhooks").await.body;
        if event["type"] == kind {
            return event["data"].take();
        }
    }
}

#[tokio::test]
async fn recordings_go_to_a_bucket_also_when_it_is_away_for_a_while() {
    let business = Business::start().await;
    let mut bucket = Bucket::start().await;
    let host = bucket_host(&bucket, &business, None).await;
    let phone = Phone::new().await;
    let call = async || assert!(phone.dial_probe(&host, "hello", &[]).await.over().await.by_host);
    call().await;
    let completed = told(&business, "call.completed").await;
    let ready = told(&business, "call.recording.ready").await;
    assert_eq!(ready["recording_id"], completed["recordings"][0]["id"]);
    assert_eq!(ready["sha256"], completed["recordings"][0]["sha256"]);
    let file = reqwest::get(ready["url"].as_str().unwrap()).await.unwrap().bytes().await.unwrap();
    assert_eq!(callbox_store::blobs::digest(&file), format!("sha256:{}", ready["sha256"].as_str().unwrap()));
    let folder = host.data.join("recordings");
    eventually("an empty folder", async || (files(&folder) == 0).then_some(())).await;

    bucket.stop();
    call().await;
    let completed = told(&business, "call.completed").await;
    // Meanwhile the host that made it serves it.
    let url = completed["recordings"][0]["url"].as_str().unwrap().to_owned();
    assert_eq!(
        reqwest::get(&url).await.unwrap().bytes().await.unwrap().len() as u64,
        completed["recordings"][0]["size"]
    );
    bucket.again().await;
    let ready = told(&business, "call.recording.ready").await;
    assert_eq!(ready["recording_id"], completed["recordings"][0]["id"]);
    eventually("an empty folder", async || (files(&folder) == 0).then_some(())).await;
    assert_eq!(reqwest::get(&url).await.unwrap().bytes().await.unwrap().len() as u64, ready["size"]);
}

#[tokio::test]
async fn a_recording_of_a_host_that_was_killed_is_its_calls_all_the_same() {
    let business = Business::start().await;
    let bucket = Bucket::start().await;
    let data = tempfile::tempdir().unwrap();
    let host = bucket_host(&bucket, &business, Some(data.path().to_path_buf())).await;
    let phone = Phone::new().await;
    let line = phone.dial_probe(&host, "hello", &[("X-Probe-Text", &"This goes on and on. ".repeat(20))]).await;
    let folder = host.data.join("recordings");
    // More than its header is on the disk.
    let sound = async || {
        let file = std::fs::read_dir(&folder).unwrap().next()?.unwrap();
        (file.metadata().unwrap().len() > 44).then_some(())
    };
    eventually("a second of sound", sound).await;
    let again =
        Options { data: Some(host.data.clone()), key: Some(host.key.clone()), env: bucket.env(), ..Options::default() };
    host.kill().await;
    drop(line);
    let host = Host::start_with(again).await;
    let completed = told(&business, "call.completed").await;
    assert_eq!((&completed["end_reason"], &completed["recordings"]), (&json!("platform_error"), &json!([])));
    let ready = told(&business, "call.recording.ready").await;
    assert_eq!(ready["call_id"], completed["call_id"]);
    let file = reqwest::get(ready["url"].as_str().unwrap()).await.unwrap().bytes().await.unwrap();
    assert_eq!((&file[..4], file.len() as u64), (&b"RIFF"[..], ready["size"].as_u64().unwrap()));
    eventually("an empty folder", async || (files(&host.data.join("recordings")) == 0).then_some(())).await;
}
