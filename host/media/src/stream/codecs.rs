//! Streams that speak all codecs, in virtual time: what goes in comes out, across loss, changes and bridges.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use super::tests::{HERE, Out, THERE, ms, play, stream};
use super::*;
use crate::Clip;
use crate::tap::Tap;
use proptest::prelude::*;
use std::sync::Arc;

/// A far end and we, both of them streams; `delay_ms` tells how long the n-th packet to us takes, none for a lost one.
pub(super) struct Call {
    pub(super) here: Stream,
    pub(super) there: Stream,
    pub(super) outs: [Out; 2],
    tap: Tap,
    under_way: Vec<(Duration, Vec<u8>)>,
    pub(super) now: Duration,
    pub(super) sent: u64,
}

fn number(codec: Codec) -> u8 {
    codec.static_payload_type().unwrap_or(111)
}

pub(super) fn plan(codec: Codec, remote: SocketAddr) -> MediaPlan {
    MediaPlan { dtmf: Some(101), ..MediaPlan::new(codec, number(codec), remote) }
}

impl Call {
    pub(super) fn new(to_us: MediaPlan, to_them: MediaPlan) -> Self {
        let (tap, heard) = Tap::new(100_000);
        let mut outs = [Out::default(), Out::default()];
        let (mut here, mut there) = (stream(1), stream(2));
        here.command(ms(0), MediaCommand::Configure(to_them), &mut outs[0]);
        here.command(ms(0), MediaCommand::Tap(Some(tap)), &mut outs[0]);
        there.command(ms(0), MediaCommand::Configure(to_us), &mut outs[1]);
        Self { here, there, outs, tap: heard, under_way: Vec::new(), now: ms(0), sent: 0 }
    }

    fn plain(codec: Codec) -> Self {
        Self::new(plan(codec, HERE), plan(codec, THERE))
    }

    /// So many times 10 ms, in which each side does what is due.
    pub(super) fn run(&mut self, tens: u64, mut delay_ms: impl FnMut(u64) -> Option<u64>) {
        for _ in 0..tens {
            self.now += ms(10);
            let now = self.now;
            let due = |period: Duration| now.as_millis().is_multiple_of(period.as_millis());
            if due(self.there.period().unwrap()) {
                self.there.tick(now, 0, &mut self.outs[1]);
                for (_, packet) in self.outs[1].rtp.drain(..) {
                    if let Some(delay) = delay_ms(self.sent) {
                        self.under_way.push((now + ms(delay), packet));
                    }
                    self.sent += 1;
                }
            }
            for (_, packet) in self.under_way.extract_if(.., |(due, _)| *due <= now) {
                self.here.rtp(now, THERE, &packet, &mut self.outs[0]);
            }
            if due(self.here.period().unwrap()) {
                self.here.tick(now, 0, &mut self.outs[0]);
            }
        }
    }

    pub(super) fn heard(&mut self) -> Vec<i16> {
        std::iter::from_fn(|| self.tap.try_next()).flat_map(|frame| frame.samples().to_vec()).collect()
    }

    pub(super) fn say(&mut self, clip: &Arc<Clip>) {
        play(&mut self.there, clip, &mut self.outs[1]);
    }
}

/// Something like a voice: a gliding pitch with overtones under a swelling level, without pauses.
pub(super) fn voice(samples: usize) -> Vec<i16> {
    let (mut phase, mut out) = (0.0_f64, Vec::new());
    for n in 0..samples {
        let time = n as f64 / 8_000.0;
        phase += (140.0 + 30.0 * (time * 2.1).sin()) * std::f64::consts::TAU / 8_000.0;
        let level = 5_000.0 + 2_000.0 * (time * 7.0).sin();
        let tones: f64 = [1.0, 0.6, 0.5, 0.3, 0.2].iter().zip(1..).map(|(a, k)| a * (phase * f64::from(k)).sin()).sum();
        out.push((level * tones) as i16);
    }
    out
}

fn tone(hertz: f64, samples: usize) -> Arc<Clip> {
    Clip::from_pcm(
        (0..samples).map(|n| ((n as f64 * hertz * std::f64::consts::TAU / 8_000.0).sin() * 8_000.0) as i16).collect(),
    )
}

pub(super) fn energy(samples: &[i16]) -> f64 {
    samples.iter().map(|sample| f64::from(*sample).powi(2)).sum::<f64>().max(1.0)
}

/// How well `heard` holds `said`, in decibels, at the shift and level at which it does so best; and that shift.
fn likeness(said: &[i16], heard: &[i16]) -> (f64, usize) {
    likeness_within(said, heard, 0..heard.len().saturating_sub(said.len() / 2).clamp(1, 2_000))
}

/// The same, wherever it is.
fn likeness_anywhere(said: &[i16], heard: &[i16]) -> (f64, usize) {
    likeness_within(said, heard, 0..heard.len() - said.len())
}

pub(super) fn likeness_within(said: &[i16], heard: &[i16], shifts: std::ops::Range<usize>) -> (f64, usize) {
    // A part of it finds the place, all of it is compared.
    let correlation = |shift: usize, most: usize, step: usize| {
        let part = &heard[shift..(shift + said.len().min(most)).min(heard.len())];
        let product: f64 = (part.iter().zip(said).step_by(step)).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
        (product, part.len())
    };
    let shift = shifts.max_by(|a, b| correlation(*a, 4_000, 3).0.total_cmp(&correlation(*b, 4_000, 3).0)).unwrap();
    let (product, length) = correlation(shift, usize::MAX, 1);
    let gain = product / energy(&said[..length]);
    let part = &heard[shift..shift + length];
    let noise: f64 = part.iter().zip(said).map(|(a, b)| (f64::from(*a) - gain * f64::from(*b)).powi(2)).sum();
    (10.0 * (gain * gain * energy(&said[..length]) / noise.max(1.0)).log10(), shift)
}

/// The largest second difference, which is what a click is.
pub(super) fn roughness(samples: &[i16]) -> i32 {
    samples.windows(3).map(|w| (i32::from(w[0]) - 2 * i32::from(w[1]) + i32::from(w[2])).abs()).max().unwrap_or(0)
}

#[test]
fn every_codec_carries_a_voice_in_packets_of_every_length() {
    let said = voice(10_000);
    let clip = Clip::from_pcm(said.clone());
    for codec in Codec::ALL {
        for ptime_ms in [10, 20, 30, 40, 50, 60] {
            let mut call = Call::new(
                MediaPlan { ptime_ms, ..plan(*codec, HERE) },
                MediaPlan { ptime_ms: 20, ..plan(*codec, THERE) },
            );
            // The delay settles in silence.
            call.run(300, |_| Some(5));
            call.heard();
            call.say(&clip);
            call.run(160, |_| Some(5));
            let stats = call.here.stats();
            let heard = call.heard();
            let (decibels, shift) = likeness(&said[400..9_000], &heard);
            // What waveform matching says of these codecs; the pitch glides, so nothing else fits by chance.
            let wanted = match codec {
                Codec::Pcmu | Codec::Pcma => 33.0,
                Codec::G722 => 30.0,
                Codec::Opus => 6.0,
                // It keeps the sound of a voice and not its waveform.
                Codec::G729 => -6.0,
            };
            assert!(decibels > wanted, "{codec} {ptime_ms} ms: {decibels} dB");
            assert!(shift < 1_600, "{codec} {ptime_ms} ms: {shift} samples late");
            assert_eq!((stats.late, stats.lost, stats.rejected), (0, 0, 0), "{codec} {ptime_ms}: {stats:?}");
        }
    }
}

#[test]
fn timestamps_run_on_the_clock_of_the_codec() {
    for (codec, step) in [(Codec::Pcma, 160), (Codec::G722, 160), (Codec::Opus, 960)] {
        let (mut stream, mut out) = (stream(1), Out::default());
        stream.command(ms(0), MediaCommand::Configure(plan(codec, THERE)), &mut out);
        stream.command(ms(0), MediaCommand::SendDigits { digits: "5".into() }, &mut out);
        for tick in 1..30 {
            stream.tick(ms(tick * 20), 0, &mut out);
        }
        let packets = out.packets();
        let (events, audio): (Vec<&rtp::Packet<'_>>, Vec<&rtp::Packet<'_>>) =
            packets.iter().partition(|packet| packet.payload_type == 101);
        assert!(audio.windows(2).all(|pair| pair[1].timestamp.wrapping_sub(pair[0].timestamp) % step == 0));
        assert_eq!(events.iter().filter(|packet| packet.payload[1] & 0x80 != 0).count(), 3);
        let last = events.last().unwrap();
        assert_eq!(u32::from(u16::from_be_bytes([last.payload[2], last.payload[3]])), 5 * step, "100 ms of {codec}");
        assert!(events.iter().all(|packet| packet.timestamp == events[0].timestamp));
    }
}

#[test]
fn loss_is_hidden() {
    let said = voice(80_000);
    let clip = Clip::from_pcm(said.clone());
    for codec in Codec::ALL {
        for lost_pct in [1, 5, 10].into_iter().filter(|_| *codec != Codec::Pcma) {
            let mut call = Call::plain(*codec);
            call.say(&clip);
            let mut seed = 7_u64;
            call.run(1_000, |_| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                ((seed >> 33) % 100 >= lost_pct).then_some(5)
            });
            let stats = call.here.stats();
            let share = stats.concealed_ms as f64 / 100.0;
            assert!(share < lost_pct as f64 * 1.8 + 0.6, "{codec} {lost_pct} %: {share} % made up, {stats:?}");
            assert!(share > lost_pct as f64 * 0.3, "{codec} {lost_pct} %: {share} % made up, {stats:?}");
            let heard = call.heard();
            // The voice never stops: wherever it was lost something like it sounds.
            let speech = &heard[2_000..70_000];
            let silent = speech.chunks(80).filter(|part| energy(part) / 80.0 < 250_000.0).count();
            assert!(silent <= 8 * lost_pct as usize, "{codec} {lost_pct} %: {silent} silent stretches of 10 ms");
        }
    }
}

#[test]
fn jitter_is_taken_up_by_delay() {
    let said = voice(160_000);
    let clip = Clip::from_pcm(said);
    for codec in [Codec::Pcmu, Codec::G722, Codec::Opus] {
        for jitter in [20, 60, 120] {
            let mut call = Call::plain(codec);
            call.say(&clip);
            let mut seed = 3_u64;
            call.run(2_000, |_| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                Some(10 + (seed >> 33) % (jitter + 1))
            });
            let stats = call.here.stats();
            let held = call.here.incoming.jitter().held_ms();
            assert!(held <= jitter as f32 + 60.0, "{codec} {jitter}: {held} ms");
            assert!(stats.concealed_ms < 1_400, "{codec} {jitter}: {stats:?}");
        }
    }
}

#[test]
fn a_far_end_that_changes_packet_time_and_codec_is_heard_without_a_seam() {
    let clip = tone(400.0, 80_000);
    for wide in [Codec::G722, Codec::Opus] {
        let formats = vec![(0, Codec::Pcmu), (8, Codec::Pcma), (number(wide), wide)];
        let ours = MediaPlan { formats, ..plan(wide, THERE) };
        let mut call = Call::new(plan(wide, HERE), ours);
        call.say(&clip);
        for (codec, ptime_ms) in [(wide, 20), (Codec::Pcmu, 20), (Codec::Pcma, 30), (wide, 60), (wide, 10)] {
            let plan = MediaPlan { ptime_ms, ..plan(codec, HERE) };
            call.there.command(call.now, MediaCommand::Configure(plan), &mut call.outs[1]);
            call.run(120, |_| Some(5));
        }
        let stats = call.here.stats();
        assert_eq!((stats.rejected, stats.lost), (0, 0), "{wide}: {stats:?}");
        let heard = call.heard();
        // Five pieces of 1.2 s, of which the first begins late.
        let speech = &heard[2_000..46_000];
        let silent = speech.chunks(80).filter(|part| energy(part) / 80.0 < 1_000_000.0).count();
        assert!(silent <= 4, "{wide}: {silent} stretches of 10 ms are missing");
        // A tone of this amplitude bends by 790; a click bends by thousands.
        let rough = speech.windows(3).filter(|window| roughness(window) > 4_000).count();
        assert!(rough == 0, "{wide}: {rough} clicks, the worst {}", roughness(speech));
    }
}

#[test]
fn a_change_of_codec_and_address_in_mid_prompt_keeps_its_place() {
    let said = voice(40_000);
    let clip = Clip::from_pcm(said.clone());
    for (first, then) in [(Codec::Pcmu, Codec::Opus), (Codec::Opus, Codec::G722), (Codec::G722, Codec::Pcma)] {
        let mut call = Call::plain(first);
        call.run(300, |_| Some(5));
        call.heard();
        call.say(&clip);
        call.run(150, |_| Some(5));
        // A re-INVITE: both sides speak another codec from now on.
        for (n, stream) in [&mut call.here, &mut call.there].into_iter().enumerate() {
            let remote = if n == 0 { THERE } else { HERE };
            stream.command(call.now, MediaCommand::Configure(plan(then, remote)), &mut call.outs[n]);
        }
        call.run(400, |_| Some(5));
        let heard = call.heard();
        let ended = call.outs[1]
            .events
            .iter()
            .any(|event| matches!(event, MediaEvent::PromptEnded { played: 5_000, complete: true, .. }));
        assert!(ended, "{first} to {then}");
        let wanted = if [first, then].contains(&Codec::Opus) { 3.0 } else { 10.0 };
        for (from, to) in [(800, 10_000), (14_000, 38_000)] {
            let (decibels, _) = likeness_anywhere(&said[from..to], &heard);
            assert!(decibels > wanted, "{first} to {then}: {decibels} dB from {from} on");
        }
        let silent = heard[2_000..38_000].chunks(80).filter(|part| energy(part) / 80.0 < 250_000.0).count();
        assert!(silent <= 4, "{first} to {then}: {silent} stretches of 10 ms are missing");
    }
}

#[test]
fn comfort_noise_fills_the_pauses_of_the_far_end() {
    for codec in [Codec::Pcma, Codec::G722] {
        let dtx = |remote| MediaPlan { comfort_noise: Some(13), dtx: true, ..plan(codec, remote) };
        let mut call = Call::new(dtx(HERE), dtx(THERE));
        call.say(&tone(400.0, 8_000));
        call.run(100, |_| Some(5));
        let before = call.sent;
        call.run(400, |_| Some(5));
        assert!((18..=23).contains(&(call.sent - before)), "{} packets in 4 s of silence", call.sent - before);
        let heard = call.heard();
        let noise = &heard[heard.len() - 16_000..];
        let level = 10.0 * (energy(noise) / noise.len() as f64).log10() - 20.0 * 32_768_f64.log10();
        // Of the noise of a wideband call half is above what a tap hears.
        let wanted = if codec == Codec::G722 { -73.0 } else { -70.0 };
        assert!((level - wanted).abs() < 1.5, "{codec}: {level} dBov");
        call.say(&tone(400.0, 8_000));
        call.run(130, |_| Some(5));
        let stats = call.here.stats();
        assert!(stats.concealed_ms <= 20, "{stats:?}");
        assert_eq!((stats.lost, stats.rejected, stats.late, stats.resyncs), (0, 0, 0, 0), "{codec}: {stats:?}");
        let heard = call.heard();
        let loud = heard.chunks(80).filter(|part| energy(part) / 80.0 > 9_000_000.0).count();
        assert!((97..=101).contains(&loud), "{codec}: {loud} stretches of 10 ms of a second");
        assert!(call.outs.iter().all(|out| !out.events.contains(&MediaEvent::MediaTimeout)));
    }
}

#[test]
fn opus_pauses_without_being_concealed() {
    let dtx = |remote| MediaPlan { dtx: true, ..plan(Codec::Opus, remote) };
    let mut call = Call::new(dtx(HERE), dtx(THERE));
    call.say(&tone(400.0, 8_000));
    call.run(100, |_| Some(5));
    let before = call.sent;
    call.run(400, |_| Some(5));
    assert!((8..=13).contains(&(call.sent - before)), "{} packets in 4 s of silence", call.sent - before);
    call.heard();
    call.say(&tone(400.0, 8_000));
    call.run(130, |_| Some(5));
    let stats = call.here.stats();
    // The last pause has been bridged for 100 ms, and nobody has said yet that it is one.
    assert!(stats.concealed_ms <= 150, "{stats:?}");
    assert_eq!((stats.lost, stats.rejected, stats.late), (0, 0, 0), "{stats:?}");
    let heard = call.heard();
    let loud = heard.chunks(80).filter(|part| energy(part) / 80.0 > 9_000_000.0).count();
    assert!((95..=102).contains(&loud), "{loud} stretches of 10 ms of a second");
}

#[test]
fn what_a_lost_packet_of_opus_said_is_told_by_the_next_one() {
    let said = voice(40_000);
    let clip = Clip::from_pcm(said.clone());
    let quality = |fec| {
        let mut call = Call::new(MediaPlan { fec, ..plan(Codec::Opus, HERE) }, plan(Codec::Opus, THERE));
        call.run(300, |_| Some(5));
        call.heard();
        call.say(&clip);
        call.run(560, |n| (n % 8 != 3).then_some(5));
        likeness(&said[800..39_000], &call.heard()).0
    };
    let (without, with) = (quality(false), quality(true));
    assert!(with > without + 0.5, "{with} dB with FEC, {without} without");
}

#[test]
fn keys_are_heard_as_tones_by_every_codec() {
    for codec in Codec::ALL {
        let mut call = Call::new(
            MediaPlan { dtmf: None, ..plan(*codec, HERE) },
            MediaPlan { detect_tones: true, dtmf: None, ..plan(*codec, THERE) },
        );
        call.run(50, |_| Some(5));
        call.there.command(call.now, MediaCommand::SendDigits { digits: "0159*#D8".into() }, &mut call.outs[1]);
        call.run(250, |_| Some(5));
        let keys: String = (call.outs[0].events.iter())
            .filter_map(|event| if let MediaEvent::Digit { digit } = event { Some(*digit) } else { None })
            .collect();
        assert_eq!(keys, "0159*#D8", "{codec}");
    }
}

#[test]
fn a_drifting_clock_is_followed_by_every_codec() {
    let clip = tone(300.0, 8_000);
    for codec in Codec::ALL {
        for fast in [false, true].into_iter().filter(|_| *codec != Codec::Pcma) {
            let mut call = Call::plain(*codec);
            // 1000 ppm, ten times what a bad telephone has: over a minute 60 ms.
            for n in 0..60_u64 {
                if n % 2 == 0 {
                    call.say(&clip);
                }
                let slip = if fast { 200 - n } else { n };
                call.run(100, |_| Some(5 + slip));
            }
            let (stats, held) = (call.here.stats(), call.here.incoming.jitter().held_ms());
            assert!(held < 70.0, "{codec}: {held} ms");
            assert!(stats.concealed_ms < 500 && stats.late < 20, "{codec} {fast}: {stats:?}");
            assert_eq!(stats.resyncs, 0, "{codec}: {stats:?}");
        }
    }
}

#[test]
fn calls_of_different_codecs_are_joined() {
    let said = voice(24_000);
    let clip = Clip::from_pcm(said.clone());
    for (from, to) in [
        (Codec::Pcmu, Codec::Opus),
        (Codec::Opus, Codec::Pcma),
        (Codec::G722, Codec::Opus),
        (Codec::Pcma, Codec::G722),
        (Codec::Pcmu, Codec::Pcma),
    ] {
        // Caller, our two legs, and whom the other leg speaks to; packets of 20 and 30 ms.
        let mut inner = Call::new(plan(from, HERE), plan(from, THERE));
        let ptime_ms = 30;
        let mut outer =
            Call::new(MediaPlan { ptime_ms, ..plan(to, HERE) }, MediaPlan { ptime_ms: 20, ..plan(to, THERE) });
        let (one, other) = Bridge::pair();
        inner.here.join(one);
        outer.there.join(other);
        inner.run(300, |_| Some(5));
        outer.run(300, |_| Some(5));
        outer.heard();
        inner.say(&clip);
        for _ in 0..380 {
            inner.run(1, |_| Some(5));
            outer.run(1, |_| Some(5));
        }
        let heard = outer.heard();
        let (decibels, _) = likeness_anywhere(&said[2_000..23_000], &heard);
        let wanted = if [from, to].contains(&Codec::Opus) { 4.0 } else { 20.0 };
        assert!(decibels > wanted, "{from} to {to}: {decibels} dB");
        inner.there.command(inner.now, MediaCommand::SendDigits { digits: "42".into() }, &mut inner.outs[1]);
        for _ in 0..100 {
            inner.run(1, |_| Some(5));
            outer.run(1, |_| Some(5));
        }
        let keys: Vec<_> =
            outer.outs[0].events.iter().filter(|event| matches!(event, MediaEvent::Digit { .. })).collect();
        assert_eq!(keys, [&MediaEvent::Digit { digit: '4' }, &MediaEvent::Digit { digit: '2' }], "{from} to {to}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    /// Any network, any codec, any packet time: nothing but the delay of the buffer stands between, time passes
    /// evenly, and what is counted makes sense.
    #[test]
    fn any_network_is_survived_by_every_codec(
        codec in 0..Codec::ALL.len(),
        ptimes in prop::collection::vec(1_u8..7, 1..4),
        network in prop::collection::vec((0_u64..300, 0_u8..20, 0_u8..20), 20..120),
        dtx: bool,
    ) {
        let codec = Codec::ALL[codec];
        let far = |ptime: u8| MediaPlan { ptime_ms: ptime * 10, dtx, comfort_noise: Some(13), fec: true, ..plan(codec, HERE) };
        let mut call = Call::new(far(ptimes[0]), plan(codec, THERE));
        // Where it is said again, packets from before may be sent.
        let clip = tone(500.0, 4_000);
        clip.share_opus();
        for ptime in &ptimes {
            call.say(&clip);
            call.there.command(call.now, MediaCommand::Configure(far(*ptime)), &mut call.outs[1]);
            call.run(100, |n| {
                let (delay, lost, storm) = network[n as usize % network.len()];
                (lost > 0).then_some(if storm == 0 { delay } else { delay % 40 })
            });
            prop_assert!(call.here.incoming.jitter().held_ms() <= 512.0);
        }
        let heard = call.heard();
        prop_assert_eq!(heard.len(), 8_000 * ptimes.len());
        // G.729 overshoots where its encoder begins anew and its decoder does not.
        let loudest = if codec == Codec::G729 { i16::MAX as u16 } else { 20_000 };
        prop_assert!(heard.iter().all(|sample| sample.unsigned_abs() <= loudest), "louder than what was said");
        let stats = call.here.stats();
        prop_assert!(stats.concealed_ms <= 1_000 * ptimes.len() as u64 && stats.rejected == 0, "{:?}", stats);
    }
}
