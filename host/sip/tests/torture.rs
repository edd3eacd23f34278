//! The messages of RFC 4475 and hundreds of thousands of mutations of them, thrown at an endpoint with a call up.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod lab;

use bytes::Bytes;
use callbox_sip::SipLimits;
use callbox_sip::ua::{Incoming, fuzz};
use lab::{ANSWER, Bench, Dice, LIFE, SDP, request, to_tag, trusting};
use std::path::Path;
use std::time::Duration;

fn corpus() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rfc4475");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "dat"))
        .map(|path| (path.file_stem().unwrap().to_string_lossy().into_owned(), std::fs::read(&path).unwrap()))
        .collect();
    files.sort();
    files
}

fn put(bench: &mut Bench, bytes: &[u8]) -> Vec<String> {
    bench.take();
    let (now, flow) = (bench.now, bench.way);
    bench.act(|end, _| end.receive(now, Incoming { bytes: Bytes::copy_from_slice(bytes), flow, age: Duration::ZERO }));
    bench.names()
}

/// Changes a few bytes of a message, or cuts, doubles and mixes its lines.
fn mutate(dice: &mut Dice, seeds: &[Vec<u8>]) -> Vec<u8> {
    let pick = |dice: &mut Dice, n: usize| usize::try_from(dice.below(n as u64)).unwrap();
    let mut bytes = seeds[pick(dice, seeds.len())].clone();
    for _ in 0..=dice.below(4) {
        let at = pick(dice, bytes.len().max(1));
        match dice.below(6) {
            0 if !bytes.is_empty() => bytes[at] = u8::try_from(dice.below(256)).unwrap(),
            1 => bytes.truncate(at),
            2 => bytes.insert(at.min(bytes.len()), b"\r\n:;<>\"%@=, \0"[pick(dice, 13)]),
            3 => {
                let end = at + pick(dice, bytes.len() - at.min(bytes.len()) + 1);
                let piece = bytes[at.min(bytes.len())..end.min(bytes.len())].to_vec();
                bytes.splice(at.min(bytes.len())..at.min(bytes.len()), piece);
            }
            4 => {
                let other = &seeds[pick(dice, seeds.len())];
                let from = pick(dice, other.len().max(1));
                let end = (from + 60).min(other.len());
                bytes.splice(at.min(bytes.len())..at.min(bytes.len()), other[from..end].iter().copied());
            }
            _ => {
                let end = (at + pick(dice, 30)).min(bytes.len());
                bytes.drain(at.min(bytes.len())..end);
            }
        }
    }
    bytes
}

#[test]
fn a_call_survives_a_hail_of_broken_messages() {
    hail(40_000);
}

/// A million of them: about half a minute. `make torture`.
#[test]
#[ignore = "takes half a minute, and finds what the first of them do not only once in a while: make torture"]
fn a_call_survives_a_million_broken_messages() {
    hail(1_000_000);
}

fn hail(rounds: u64) {
    let limits =
        SipLimits { requests_per_source: 0, invites_per_second: 1_000, max_calls: 200, ..SipLimits::default() };
    let mut bench = Bench::with(limits);
    // Whoever sends so much rubbish is blocked soon; this is about what happens until then.
    bench.act(|end, _| end.set_sources(&trusting("10.0.0.0/8")));
    bench.put(&request("INVITE", 1, "inv", None, SDP, "v=0\n"));
    let leg = bench.calls[0].0;
    bench.act(|end, now| end.answer(now, leg, Bytes::from_static(ANSWER))).unwrap();
    let tag = to_tag(bench.last()).unwrap();
    bench.put(&request("ACK", 1, "ack", Some(&tag), "", ""));

    let lines = |text: String| text.replace('\n', "\r\n").into_bytes();
    let mut seeds: Vec<Vec<u8>> = corpus().into_iter().map(|(_, bytes)| bytes).collect();
    for method in ["INVITE", "INFO", "UPDATE", "NOTIFY", "REFER", "OPTIONS", "ACK", "CANCEL", "PRACK"] {
        seeds.push(lines(request(method, 5, "seed", Some(&tag), SDP, "v=0\n")));
        // A dialog of its own, whose BYE may succeed.
        let other = |message: String| lines(message.replace("bench@lab", "other@lab"));
        seeds.push(other(request(method, 5, method, None, SDP, "v=0\n")));
    }
    let mut dice = Dice::new(7);
    for round in 0..rounds {
        let bytes = mutate(&mut dice, &seeds);
        let start = bytes.iter().position(|b| !b"\r\n".contains(b)).unwrap_or_default();
        let is_ack = bytes[start..].starts_with(b"ACK ");
        let is_bye = bytes[start..].starts_with(b"BYE ");
        let answers = put(&mut bench, &bytes);
        assert!(answers.len() <= 3, "round {round}: {answers:?}");
        assert!(!is_ack || answers.iter().all(|a| a.starts_with("BYE")), "an ACK was answered: {answers:?}");
        if is_bye {
            continue;
        }
        for (new, _) in std::mem::take(&mut bench.calls).into_iter().filter(|(new, _)| *new != leg) {
            // The user of these calls hangs up; what the script of ours would do is of no matter.
            let _ = bench.act(|end, now| end.hang_up(now, new, None));
        }
        // An offer that got through the mutations is open: its user refuses it.
        let _ = bench.act(|end, now| end.answer_reinvite(now, leg, Err(488)));
        bench.run(Duration::from_millis(20));
        let (legs, clients, servers) = bench.end.remembered();
        assert!(legs <= 200 && clients <= 400 && servers <= 8_000, "round {round}: {legs} {clients} {servers}");
    }
    // The call has seen CSeq numbers of all sizes; a BYE with the largest ends it.
    bench.run(Duration::from_secs(2));
    let bye = request("BYE", 2_147_483_647, "end", Some(&tag), "", "");
    let answers = put(&mut bench, &lines(bye));
    assert_eq!(answers.last().map(|a| &a[..3]), Some("200"), "{answers:?}");
    bench.run(LIFE * 2);
    bench.must_be_clean();
    assert!(bench.end.stats().parse_errors > 1_000 && bench.end.stats().messages_received > rounds);
}

/// The fuzz target `endpoint` on its corpus and on mutations of it, the same on every run.
#[test]
fn stories_of_the_corpus_and_their_mutations() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/endpoint");
    let mut seeds: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    seeds.sort();
    let seeds: Vec<Vec<u8>> = seeds.into_iter().map(|path| std::fs::read(path).unwrap()).collect();
    assert!(seeds.len() >= 3);
    for seed in &seeds {
        assert!(fuzz::endpoint(seed) > 0, "a seed that reaches no call is no seed");
    }
    let mut dice = Dice::new(11);
    let calls: usize = (0..5_000).map(|_| fuzz::endpoint(&mutate(&mut dice, &seeds))).sum();
    assert!(calls > 2_500, "most mutations still make calls: {calls}");
}
