//! The buffer under made-up networks.

use super::*;
use proptest::prelude::*;

/// A sample that names its timestamp; never 0, and quiet enough not to matter.
fn mark(timestamp: u32) -> i16 {
    (timestamp % 20_000) as i16 + 400
}

fn packet(timestamp: u32, length: u32) -> Vec<i16> {
    (0..length).map(|n| mark(timestamp.wrapping_add(n))).collect()
}

fn pop(jitter: &mut Jitter) -> Vec<i16> {
    let mut out = vec![0; 160];
    jitter.pop(&mut out);
    out
}

#[test]
fn an_even_stream_comes_out_as_it_went_in_after_40_ms() {
    for length in [80, 160, 240, 320, 480] {
        let mut jitter = Jitter::new(Delay::fixed(320));
        let (mut sent, mut out) = (0, Vec::new());
        for tick in 1..=100 {
            while sent + length <= tick * 160 {
                jitter.insert(sent, &packet(sent, length));
                sent += length;
            }
            out.extend(pop(&mut jitter));
        }
        let first = out.iter().position(|sample| *sample == mark(0)).expect("it comes");
        assert!(first <= 320 + 480);
        for (n, sample) in out[first..].iter().enumerate().take(12_000) {
            assert_eq!(*sample, mark(n as u32), "{length}: {n}");
        }
        assert_eq!(jitter.stats(), JitterStats::default());
    }
}

#[test]
fn order_and_repetition_do_not_matter() {
    let mut jitter = Jitter::new(Delay::TELEPHONY);
    jitter.insert(0, &packet(0, 160));
    for timestamp in [480, 160, 320, 160, 480] {
        jitter.insert(timestamp, &packet(timestamp, 160));
    }
    let out: Vec<i16> = (0..6).flat_map(|_| pop(&mut jitter)).collect();
    assert_eq!(out[320..960], packet(0, 640)[..]);
}

#[test]
fn a_missing_packet_is_concealed_and_a_late_one_counted() {
    let mut jitter = Jitter::new(Delay::TELEPHONY);
    for timestamp in [0, 160, 480] {
        jitter.insert(timestamp, &packet(timestamp, 160));
    }
    for _ in 0..5 {
        pop(&mut jitter);
    }
    assert_eq!(jitter.stats().concealed, 160);
    jitter.insert(320, &packet(320, 160));
    assert_eq!(jitter.stats().late, 1);
    assert_ne!(pop(&mut jitter), vec![0; 160]);
}

#[test]
fn a_jump_in_time_begins_anew() {
    let mut jitter = Jitter::new(Delay::TELEPHONY);
    jitter.insert(0, &packet(0, 160));
    pop(&mut jitter);
    jitter.insert(1_000_000, &packet(1_000_000, 160));
    assert_eq!(jitter.stats().resyncs, 1);
    let out: Vec<i16> = (0..4).flat_map(|_| pop(&mut jitter)).collect();
    assert_eq!(out[320..480], packet(1_000_000, 160)[..]);
}

#[test]
fn a_network_that_slows_down_for_good_is_followed() {
    let mut jitter = Jitter::new(Delay::TELEPHONY);
    let mut silent = 0;
    for tick in 0..100_u32 {
        // From tick 50 on everything comes 300 ms later.
        let timestamp = if tick < 50 { Some(tick) } else { tick.checked_sub(15).filter(|t| *t >= 50) };
        if let Some(timestamp) = timestamp.map(|packet| packet * 160) {
            jitter.insert(timestamp, &packet(timestamp, 160));
        }
        let out = pop(&mut jitter);
        silent += usize::from(tick > 80 && out.contains(&0));
    }
    assert_eq!(silent, 0, "audio is back");
    assert!(jitter.stats().resyncs <= 2);
}

#[test]
fn a_far_end_that_stops_its_clock_in_silence_loses_nothing() {
    let mut jitter = Jitter::new(Delay::TELEPHONY);
    let (mut timestamp, mut out) = (0, Vec::new());
    for tick in 0..100 {
        // Talks for ten packets, is silent for ten, and goes on where it was.
        if tick % 20 < 10 {
            jitter.insert(timestamp, &packet(timestamp, 160));
            timestamp += 160;
        }
        out.extend(pop(&mut jitter));
    }
    for n in 0..50 {
        // Behind the cross-fade all of every packet is heard.
        let wanted = &packet(n * 160, 160)[40..];
        assert!(out.windows(120).any(|window| window == wanted), "packet {n}");
    }
    assert_eq!(jitter.stats().late, 0);
}

#[test]
fn a_pile_of_old_audio_does_not_delay_the_call() {
    let mut jitter = Jitter::new(Delay::TELEPHONY);
    for n in 0..50 {
        jitter.insert(n * 160, &packet(n * 160, 160));
    }
    assert!(jitter.held() <= 4_096);
    for n in 50..200 {
        jitter.insert(n * 160, &packet(n * 160, 160));
        pop(&mut jitter);
    }
    assert!(jitter.held() <= 1_600 + 160, "{} samples", jitter.held());
}

#[test]
fn the_delay_follows_the_network_in_silence() {
    let mut jitter = Jitter::new(Delay::TELEPHONY);
    // Quiet packets, 0 to 80 ms late in turns; then in time.
    for tick in 0..1_000_u32 {
        for packet in 0..=tick {
            let lateness = if packet < 500 { [0, 1, 4, 2, 3][packet as usize % 5] } else { 0 };
            if packet + lateness == tick {
                jitter.insert(packet * 160, &[10; 160]);
            }
        }
        if tick == 499 {
            let late = jitter.stats().late;
            assert!((1..=80).contains(&late), "{late} late until it had learnt");
        }
        let mut out = [0; 160];
        jitter.pop(&mut out);
        if tick == 990 {
            assert!(jitter.held() <= 400, "{} samples when all are in time", jitter.held());
        }
    }
    let late = jitter.stats().late;
    assert!(late <= 80, "{late} late in all");
}

#[test]
fn a_clock_that_drifts_is_followed() {
    for drift in [-1_i64, 1] {
        let mut jitter = Jitter::new(Delay::TELEPHONY);
        let mut sent = 0_u32;
        // 1000 ppm, ten times what a bad telephone has: a packet more or less in 1000.
        for tick in 0..20_000_i64 {
            let due = tick + drift * (tick / 1_000);
            while i64::from(sent) <= due {
                jitter.insert(sent * 160, &[10; 160]);
                sent += 1;
            }
            pop(&mut jitter);
            assert!(jitter.held() <= 1_000, "{drift}: {} samples at {tick}", jitter.held());
        }
        assert!(jitter.stats().resyncs == 0, "{drift}: {:?}", jitter.stats());
        assert!(jitter.stats().late <= 40, "{drift}: {:?}", jitter.stats());
    }
}

#[test]
fn an_event_is_silence_whichever_comes_first() {
    let mut jitter = Jitter::new(Delay::TELEPHONY);
    jitter.insert(0, &packet(0, 160));
    jitter.insert(320, &packet(320, 160));
    jitter.silence(160, 320);
    jitter.insert(160, &packet(160, 160));
    let out: Vec<i16> = (0..5).flat_map(|_| pop(&mut jitter)).collect();
    // 5 ms of the way out of the gap, in which nothing was made up, are the same as without one.
    assert_eq!(out[320..480], packet(0, 160)[..]);
    assert_eq!(out[480..], [0; 320]);
    assert_eq!(jitter.stats().concealed, 0);
}

#[test]
fn after_a_long_silence_the_delay_is_that_of_the_beginning() {
    let mut jitter = Jitter::new(Delay::TELEPHONY);
    jitter.insert(0, &packet(0, 160));
    for _ in 0..100 {
        pop(&mut jitter);
    }
    jitter.insert(16_000, &packet(16_000, 160));
    assert_eq!(jitter.held(), 480);
    assert_eq!(jitter.stats().resyncs, 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]
    /// Any network: what comes out is in order, each sample at most once, and never older than the ring.
    #[test]
    fn order_is_kept_and_delay_is_bounded(
        start: u32,
        delays in prop::collection::vec((0_u32..40, 0_u8..10, 0_u8..10), 20..400),
    ) {
        let mut jitter = Jitter::new(Delay::TELEPHONY);
        let count = delays.len() as u32;
        let (mut last, mut ended) = (None::<u32>, 0);
        for tick in 0..count + 40 {
            for (n, (delay, lost, again)) in delays.iter().enumerate() {
                let n = n as u32;
                let due = n + if *delay < 5 { *delay * 8 } else { *delay % 4 };
                if (due == tick && *lost != 0) || (*again == 0 && due + 3 == tick) {
                    let timestamp = start.wrapping_add(n * 160);
                    // Loud and unique within the run: 16 bits of the sample's place.
                    let samples: Vec<i16> = (0..160).map(|at| name(n * 160 + at)).collect();
                    jitter.insert(timestamp, &samples);
                    ended = ended.max(n + 1);
                }
            }
            prop_assert!(jitter.held() as usize <= RING);
            let before = jitter.stats().concealed;
            let out = pop(&mut jitter);
            if jitter.stats().concealed != before || out.contains(&0) {
                last = None;
                continue;
            }
            // Behind the cross-fade out of a gap the names are whole.
            for place in out[40..].iter().map(|sample| place(*sample)) {
                if let Some(last) = last.filter(|_| jitter.stats().resyncs == 0) {
                    // Names repeat every 30000 samples; in between they only rise.
                    prop_assert!((place + 30_000 - last) % 30_000 < 15_000, "{} after {}", place, last);
                }
                last = Some(place);
            }
        }
    }

    #[test]
    fn any_input_is_survived(steps in prop::collection::vec((any::<u32>(), 0_usize..3_000, 0_u8..4), 0..300)) {
        let mut jitter = Jitter::new(Delay::TELEPHONY);
        let mut out = [0; 480];
        for (timestamp, length, what) in steps {
            match what {
                0 => jitter.silence(timestamp, length as u32 * 20),
                1 => jitter.insert(timestamp, &vec![1; length]),
                2 => jitter.insert(timestamp % 8_000, &vec![1; length % 500]),
                _ => jitter.pop(&mut out[..length % 481]),
            }
            prop_assert!(jitter.held() as usize <= RING);
        }
    }
}

fn name(place: u32) -> i16 {
    (place % 30_000) as i16 + 1_000
}

fn place(name: i16) -> u32 {
    (name as u32).wrapping_sub(1_000)
}
