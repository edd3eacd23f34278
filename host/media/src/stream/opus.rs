//! Calls that speak Opus: packets that they share, packets that are lost, and silence.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use super::codecs::{Call, energy, likeness_within, plan, roughness, voice};
use super::tests::{HERE, Out, THERE, ms, play, stream};
use super::*;
use crate::Clip;
use callbox_dialogue::PromptId;
use std::sync::Arc;

const PROMPT: PromptId = PromptId(1);

/// A plan as browsers wish for it.
fn opus(remote: SocketAddr) -> MediaPlan {
    MediaPlan { fec: true, ..plan(Codec::Opus, remote) }
}

/// A call in which there has been silence until its delay has settled.
fn quiet_call() -> Call {
    let mut call = Call::new(opus(HERE), opus(THERE));
    call.run(120, |_| Some(5));
    call.heard();
    call
}

fn shared(samples: Vec<i16>) -> Arc<Clip> {
    let clip = Clip::from_pcm(samples);
    clip.share_opus();
    clip
}

/// The payloads that a call sends of a clip and of so many packets of silence behind it, 500 ms of silence before.
fn sent(clip: &Arc<Clip>, complexity: u8, silence: u64) -> Vec<Vec<u8>> {
    let (mut stream, mut out) = (Stream { opus_complexity: complexity, ..stream(1) }, Out::default());
    stream.command(ms(0), MediaCommand::Configure(opus(THERE)), &mut out);
    for tick in 1..=25 {
        stream.tick(ms(tick * 20), 0, &mut out);
    }
    out.rtp.clear();
    play(&mut stream, clip, &mut out);
    for tick in 26..26 + silence + (clip.samples().len() as u64).div_ceil(160) {
        stream.tick(ms(tick * 20), 0, &mut out);
    }
    out.packets().iter().map(|packet| packet.payload.to_vec()).collect()
}

/// How loud each 20 ms are.
fn levels(heard: &[i16]) -> Vec<f64> {
    heard.chunks(160).map(|part| (energy(part) / part.len() as f64).sqrt()).collect()
}

#[test]
fn what_one_call_has_encoded_is_sent_by_the_others() {
    // Ten whole frames, and a bit that each call encodes for itself.
    let clip = shared(voice(1_650));
    let (first, second) = (sent(&clip, 0, 0), sent(&clip, 10, 0));
    assert_eq!((first.len(), second.len()), (11, 11));
    assert_eq!(first[..10], second[..10], "it was encoded already, by one that does not try as hard");
    let alone = sent(&Clip::from_pcm(voice(1_650)), 10, 0);
    assert!(first.iter().zip(&alone).all(|(shared, own)| shared != own), "which makes a difference");
}

/// What a call does with the clips of a prompt.
type Story = fn(&mut Call);

fn order(call: &mut Call, command: MediaCommand) {
    call.there.command(call.now, command, &mut call.outs[1]);
}

fn all(call: &mut Call) {
    call.run(250, |_| Some(5));
}

fn cut_off(call: &mut Call) {
    call.run(110, |_| Some(5));
    order(call, MediaCommand::Stop { prompt: PROMPT });
    call.run(50, |_| Some(5));
}

fn paused(call: &mut Call) {
    call.run(110, |_| Some(5));
    order(call, MediaCommand::Pause { prompt: PROMPT });
    call.run(40, |_| Some(5));
    order(call, MediaCommand::Resume { prompt: PROMPT });
    call.run(150, |_| Some(5));
}

fn with_a_key(call: &mut Call) {
    call.run(110, |_| Some(5));
    order(call, MediaCommand::SendDigits { digits: "5".into() });
    call.run(180, |_| Some(5));
}

/// Plays a prompt of these clips to a call that has this story.
fn tell(clips: &[Arc<Clip>], story: Story) -> Call {
    let mut call = quiet_call();
    for clip in clips {
        order(&mut call, MediaCommand::Append { prompt: PROMPT, clip: Arc::clone(clip) });
    }
    order(&mut call, MediaCommand::Complete { prompt: PROMPT });
    order(&mut call, MediaCommand::Play { prompt: PROMPT });
    story(&mut call);
    call
}

#[test]
fn where_packets_of_others_begin_and_end_nothing_is_heard_of_it() {
    let said = voice(16_000);
    // The length of the prompt's clips; the story of a call that encodes, and of one that follows it.
    let stories: [(usize, Story, Story); 7] = [
        (16_000, all, all),
        (16_000, cut_off, all),
        (1_920, cut_off, all),
        (16_000, all, cut_off),
        (16_000, all, paused),
        (16_000, all, with_a_key),
        // No whole frames: of the first clip alone packets are shared.
        (1_900, cut_off, paused),
    ];
    for (n, (length, leads, follows)) in stories.into_iter().enumerate() {
        let heard = |share: bool| {
            let clips: Vec<_> = said.chunks(length).map(|part| Clip::from_pcm(part.to_vec())).collect();
            if share {
                clips.iter().for_each(|clip| clip.share_opus());
                tell(&clips, leads);
            }
            let mut call = tell(&clips, follows);
            let stats = call.here.stats();
            assert_eq!((stats.lost, stats.late, stats.rejected), (0, 0, 0), "story {n}: {stats:?}");
            let events = std::mem::take(&mut call.outs[1].events);
            (call.heard(), events)
        };
        let ((own, own_events), (shared, events)) = (heard(false), heard(true));
        assert_eq!(events, own_events, "story {n}");
        // As loud, give or take what another encoder may make of a voice that is cut off within a period.
        let (own_levels, shared_levels) = (levels(&own), levels(&shared));
        for (at, around) in own_levels.windows(3).enumerate() {
            let (level, most) = (shared_levels[at + 1], around.iter().copied().fold(0.0, f64::max));
            let least = around.iter().copied().fold(f64::MAX, f64::min);
            assert!(level < 1.4 * most + 300.0, "story {n}: {level} and not {most} after {} ms", at * 20 + 20);
            assert!(level > 0.6 * least - 300.0, "story {n}: {level} and not {least} after {} ms", at * 20 + 20);
        }
        // And as well, before and after what happens in between.
        for (part, most) in [(400..4_400, 2_000), (11_000..15_000, 7_000)].into_iter().take(if n == 3 { 1 } else { 2 })
        {
            let like = |heard: &[i16]| likeness_within(&said[part.clone()], &heard[part.start..], 0..most).0;
            let (own, shared) = (like(&own), like(&shared));
            assert!(own > 3.0 && shared > own - 0.7, "story {n}, {part:?}: {shared} dB and not {own}");
        }
        if n < 3 {
            // Nothing is cut: nothing bends more than the voice does, 2,800 at most.
            assert!(roughness(&shared) < 3_500, "story {n}: {}, by itself {}", roughness(&shared), roughness(&own));
        }
    }
}

#[test]
fn silence_is_encoded_until_it_has_settled_and_ends_without_a_click() {
    let clip = shared(voice(8_000));
    let packets = sent(&clip, 0, 60);
    let silence = &packets[50..];
    assert!(silence[20..].iter().all(|packet| *packet == silence[20]), "all are alike");
    assert!(silence[20].len() < silence[0].len() && silence[20].len() < 20, "{} bytes", silence[20].len());

    let mut call = quiet_call();
    let again = |call: &mut Call| {
        call.say(&clip);
        call.run(130, |_| Some(5));
        call.heard()
    };
    let first = again(&mut call);
    call.run(300, |_| Some(5));
    let quiet = call.heard();
    assert!(quiet.iter().all(|sample| sample.unsigned_abs() < 20), "{:?}", quiet.iter().max());
    let second = again(&mut call);
    assert!(roughness(&first) < 3_500 && roughness(&second) < 3_500, "{} {}", roughness(&first), roughness(&second));
    let like = |heard: &[i16]| likeness_within(&voice(7_500), heard, 0..2_000).0;
    let (once, twice) = (like(&first), like(&second));
    assert!((once - twice).abs() < 0.5, "{once} and {twice} dB");
}

#[test]
fn a_lost_packet_of_another_call_is_told_by_the_next_one() {
    // Bursts of a voice, of whose beginning nothing can be guessed from what went before.
    let mut said = voice(24_000);
    for burst in said.chunks_mut(2_400) {
        burst[..1_200].fill(0);
    }
    let heard = |fec: bool, lost: Option<u64>| {
        let clip = shared(said.clone());
        let plan = |remote| MediaPlan { fec, ..opus(remote) };
        for follows in [false, true] {
            let mut call = Call::new(plan(HERE), plan(THERE));
            call.run(120, |_| Some(5));
            call.heard();
            let began = call.sent;
            call.say(&clip);
            call.run(340, |n| (!follows || (n - began) % 15 != lost.unwrap_or(99)).then_some(5));
            if follows {
                return levels(&call.heard());
            }
        }
        Vec::new()
    };
    let loudness = |fec, lost| heard(fec, lost).iter().sum::<f64>();
    // Of the 15 packets from one burst to the next the first that is all voice.
    let (whole, without, with) = (loudness(true, None), loudness(false, Some(8)), loudness(true, Some(8)));
    assert!(without < 0.5 * whole && with > 0.9 * whole, "{with} of {whole}, {without} without FEC");
}
