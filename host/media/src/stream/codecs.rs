//! Streams that speak all codecs, in virtual time: what goes in comes out, across loss, changes and bridges.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use super::tests::{HERE, Out, THERE, ms, play, stream};
use super::*;
use crate::Clip;
use crate::tap::Tap;
use std::sync::Arc;

/// A far end and we, both of them streams; `delay_ms` tells how long the n-th packet to us takes, none for a lost one.
struct Call {
    here: Stream,
    there: Stream,
    outs: [Out; 2],
    tap: Tap,
    under_way: Vec<(Duration, Vec<u8>)>,
    now: Duration,
    sent: u64,
}

fn number(codec: Codec) -> u8 {
    codec.static_payload_type().unwrap_or(111)
}

fn plan(codec: Codec, remote: SocketAddr) -> MediaPlan {
    MediaPlan { dtmf: Some(101), ..MediaPlan::new(codec, number(codec), remote) }
}

impl Call {
    fn new(to_us: MediaPlan, to_them: MediaPlan) -> Self {
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
    fn run(&mut self, tens: u64, mut delay_ms: impl FnMut(u64) -> Option<u64>) {
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

    fn heard(&mut self) -> Vec<i16> {
        std::iter::from_fn(|| self.tap.try_next()).flat_map(|frame| frame.samples).collect()
    }

    fn say(&mut self, clip: &Arc<Clip>) {
        play(&mut self.there, clip, &mut self.outs[1]);
    }
}

/// Something like a voice: a gliding pitch with overtones under a swelling level, without pauses.
fn voice(samples: usize) -> Vec<i16> {
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

fn energy(samples: &[i16]) -> f64 {
    samples.iter().map(|sample| f64::from(*sample).powi(2)).sum::<f64>().max(1.0)
}

/// How well `heard` holds `said`, in decibels, at the shift and level at which it does so best; and that shift.
fn likeness(said: &[i16], heard: &[i16]) -> (f64, usize) {
    let correlation = |shift: usize, step: usize| {
        let part = &heard[shift..(shift + said.len()).min(heard.len())];
        let product: f64 = (part.iter().zip(said).step_by(step)).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
        (product, part.len())
    };
    let last = heard.len().saturating_sub(said.len() / 2).clamp(1, 2_000);
    let shift = (0..last).max_by(|a, b| correlation(*a, 3).0.total_cmp(&correlation(*b, 3).0)).unwrap();
    let (product, length) = correlation(shift, 1);
    let gain = product / energy(&said[..length]);
    let part = &heard[shift..shift + length];
    let noise: f64 = part.iter().zip(said).map(|(a, b)| (f64::from(*a) - gain * f64::from(*b)).powi(2)).sum();
    (10.0 * (gain * gain * energy(&said[..length]) / noise.max(1.0)).log10(), shift)
}

#[test]
fn every_codec_carries_a_voice_in_packets_of_every_length() {
    let said = voice(16_000);
    let clip = Clip::from_pcm(said.clone());
    for codec in Codec::ALL {
        for ptime_ms in [10, 20, 30, 40, 50, 60] {
            let mut call = Call::new(
                MediaPlan { ptime_ms, ..plan(*codec, HERE) },
                MediaPlan { ptime_ms: 20, ..plan(*codec, THERE) },
            );
            // The delay settles in silence.
            call.run(400, |_| Some(5));
            call.heard();
            call.say(&clip);
            call.run(260, |_| Some(5));
            let stats = call.here.stats();
            let heard = call.heard();
            let (decibels, shift) = likeness(&said[400..15_000], &heard);
            // What waveform matching says of these codecs; the pitch glides, so nothing else fits by chance.
            let wanted = match codec {
                Codec::Pcmu | Codec::Pcma => 33.0,
                Codec::G722 => 30.0,
                Codec::Opus => 6.0,
                Codec::G729 => 5.0,
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
        for lost_pct in [1, 5, 10] {
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
            assert!(stats.concealed_ms < 1_600, "{codec} {jitter}: {stats:?}");
        }
    }
}
