//! Recordings, downloaded as a customer would: left what the caller said, right
//! what the robot said, and neither where it is secret.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use callbox_tests::{Host, Line, Phone, expand, probe_bindings, raw};
use serde_json::{Value, json};

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
    let response = reqwest::Client::new().get(url).bearer_auth(&host.key).send().await.unwrap();
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
