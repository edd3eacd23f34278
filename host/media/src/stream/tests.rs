//! Streams in virtual time: with each other over a simulated line, and with packets made by hand.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use super::*;
use crate::clip::Clip;
use crate::codec::Law;
use crate::rtp::HEADER;
use crate::tap::Tap;
use callbox_dialogue::PromptId;
use std::sync::Arc;

pub(super) const HERE: SocketAddr =
    SocketAddr::V4(std::net::SocketAddrV4::new(std::net::Ipv4Addr::new(10, 0, 0, 1), 4_000));
pub(super) const THERE: SocketAddr =
    SocketAddr::V4(std::net::SocketAddrV4::new(std::net::Ipv4Addr::new(10, 0, 0, 2), 5_000));
const PROMPT: PromptId = PromptId(1);

/// What a stream put out.
#[derive(Default)]
pub(super) struct Out {
    pub(super) rtp: Vec<(SocketAddr, Vec<u8>)>,
    pub(super) rtcp: Vec<(SocketAddr, Vec<u8>, bool)>,
    pub(super) kept_open: Vec<SocketAddr>,
    pub(super) events: Vec<MediaEvent>,
}

impl Output for Out {
    fn rtp(&mut self, to: SocketAddr, packet: &[u8]) -> bool {
        self.rtp.push((to, packet.to_vec()));
        true
    }

    fn rtcp(&mut self, to: SocketAddr, packet: &[u8], from_rtp_port: bool) {
        self.rtcp.push((to, packet.to_vec(), from_rtp_port));
    }

    fn keep_open(&mut self, to: SocketAddr) {
        self.kept_open.push(to);
    }

    fn event(&mut self, event: MediaEvent) {
        self.events.push(event);
    }
}

impl Out {
    pub(super) fn packets(&self) -> Vec<rtp::Packet<'_>> {
        self.rtp.iter().map(|(_, packet)| rtp::parse(packet).unwrap()).collect()
    }
}

pub(super) fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn plan(remote: SocketAddr) -> MediaPlan {
    MediaPlan { dtmf: Some(101), ..MediaPlan::new(Codec::Pcmu, 0, remote) }
}

pub(super) fn stream(ssrc: u32) -> Stream {
    let identity = Identity { ssrc, sequence: 65_530, timestamp: u32::MAX - 1_000, cname: "test".into() };
    Stream::new(identity, Duration::from_secs(30), 0, 1 << 60)
}

/// A configured stream and what it puts out.
fn call(plan: MediaPlan) -> (Stream, Out) {
    let (mut stream, mut out) = (stream(1), Out::default());
    stream.command(ms(0), MediaCommand::Configure(plan), &mut out);
    (stream, out)
}

pub(super) fn play(stream: &mut Stream, clip: &Arc<Clip>, out: &mut Out) {
    stream.command(ms(0), MediaCommand::Append { prompt: PROMPT, clip: Arc::clone(clip) }, out);
    stream.command(ms(0), MediaCommand::Complete { prompt: PROMPT }, out);
    stream.command(ms(0), MediaCommand::Play { prompt: PROMPT }, out);
}

fn packet(payload_type: u8, ssrc: u32, sequence: u16, timestamp: u32, payload: &[u8]) -> Vec<u8> {
    let mut header = [0; HEADER];
    rtp::write_header(&mut header, false, payload_type, sequence, timestamp, ssrc);
    [&header, payload].concat()
}

fn ramp(samples: i32) -> Arc<Clip> {
    Clip::from_pcm((0..samples).map(|n| (n * n % 20_011 - 10_000) as i16).collect())
}

/// Two streams and the line between them, which takes `delay` each way.
struct Line {
    streams: [Stream; 2],
    outs: [Out; 2],
    delay: Duration,
    /// When, to whom, and whether it is RTCP.
    under_way: Vec<(Duration, usize, bool, Vec<u8>)>,
    now: Duration,
}

impl Line {
    fn new(delay: Duration) -> Self {
        let mut line = Self {
            streams: [stream(1), stream(2)],
            outs: [Out::default(), Out::default()],
            delay,
            under_way: Vec::new(),
            now: ms(0),
        };
        for (n, remote) in [THERE, HERE].into_iter().enumerate() {
            line.streams[n].command(ms(0), MediaCommand::Configure(plan(remote)), &mut line.outs[n]);
        }
        line
    }

    /// One packet time; `lost` tells which RTP packets, by their number, do not arrive.
    fn tick(&mut self, lost: impl Fn(u64) -> bool) {
        self.now += ms(20);
        let addresses = [HERE, THERE];
        for (_, to, rtcp, packet) in self.under_way.extract_if(.., |(due, ..)| *due <= self.now) {
            let from = addresses[1 - to];
            match rtcp {
                true => self.streams[to].rtcp(self.now, SocketAddr::new(from.ip(), from.port() + 1), &packet),
                false => self.streams[to].rtp(self.now, from, &packet, &mut self.outs[to]),
            }
        }
        for n in 0..2 {
            let count = self.outs[n].rtp.len();
            self.streams[n].tick(self.now, 0, &mut self.outs[n]);
            for (number, (to, packet)) in self.outs[n].rtp.iter().enumerate().skip(count) {
                assert_eq!(*to, addresses[1 - n]);
                if !lost(number as u64) {
                    self.under_way.push((self.now + self.delay, 1 - n, false, packet.clone()));
                }
            }
            for (to, packet, _) in self.outs[n].rtcp.drain(..) {
                assert_eq!(to.port(), addresses[1 - n].port() + 1);
                self.under_way.push((self.now + self.delay, 1 - n, true, packet));
            }
        }
    }
}

#[test]
fn a_key_is_pressed_once_however_late_its_packets_are() {
    let (mut stream, mut out) = call(plan(THERE));
    stream.command(ms(0), MediaCommand::SendDigits { digits: "775".into() }, &mut out);
    for n in 0..60 {
        // The machine is too late for packet times in the middle of a key.
        stream.tick(ms(20 * n), if n % 3 == 1 { 2 } else { 0 }, &mut out);
    }
    let (mut receiver, mut keys) = (dtmf::Receiver::default(), String::new());
    for packet in out.packets().iter().filter(|packet| packet.payload_type == 101) {
        receiver.packet(packet.ssrc, packet.timestamp, packet.marker, packet.payload, |key| keys.push(key));
    }
    assert_eq!(keys, "775");
}

#[test]
fn what_is_lost_and_how_long_it_takes_is_measured() {
    let mut line = Line::new(ms(60));
    for _ in 0..1_000 {
        line.tick(|number| number % 20 == 7);
    }
    for stream in &line.streams {
        let stats = stream.stats();
        assert!((stats.loss_pct - 5.0).abs() < 0.2, "{stats:?}");
        assert_eq!(stats.packets_received + stats.lost, 997, "three are under way");
        assert!((stats.remote_loss_pct.unwrap() - 5.0).abs() < 1.0, "{stats:?}");
        assert!((stats.rtt_ms.unwrap() - 120.0).abs() < 1.0, "{stats:?}");
        assert!((3.4..3.9).contains(&stats.mos), "{stats:?}");
        assert_eq!((stats.late, stats.duplicates, stats.rejected, stats.resyncs), (0, 0, 0, 0));
        assert!(stats.concealed_ms > 0 && stats.jitter_ms < 1.0);
    }
}

#[test]
fn a_prompt_is_heard_sample_by_sample_after_the_line_and_the_buffer() {
    let mut line = Line::new(ms(20));
    let (tap, mut heard) = Tap::new(1_000);
    line.streams[1].command(ms(0), MediaCommand::Tap(Some(tap)), &mut line.outs[1]);
    let clip = ramp(4_000);
    play(&mut line.streams[0], &clip, &mut line.outs[0]);
    for _ in 0..60 {
        line.tick(|_| false);
    }
    let samples: Vec<i16> =
        std::iter::from_fn(|| heard.try_next()).flat_map(|frame| frame.samples().to_vec()).collect();
    let expected: Vec<i16> = clip.encoded(Law::Mu).iter().map(|byte| Law::Mu.decode_sample(*byte)).collect();
    let at = samples.windows(4_000).position(|window| window == expected).expect("all of it, in one piece");
    // 20 ms of line, 40 ms of buffer, and the tick in which it is taken out.
    assert!((480..=640).contains(&at), "after {at} samples");
}

#[test]
fn a_machine_that_was_late_moves_the_timestamp_on() {
    let (mut stream, mut out) = call(plan(THERE));
    let clip = ramp(800);
    play(&mut stream, &clip, &mut out);
    for (now, skipped) in [(20, 0), (40, 0), (140, 3), (160, 0), (180, 0)] {
        stream.tick(ms(now), skipped, &mut out);
    }
    let packets = out.packets();
    let steps: Vec<u32> = packets.windows(2).map(|pair| pair[1].timestamp.wrapping_sub(pair[0].timestamp)).collect();
    assert_eq!(steps, [160, 640, 160, 160]);
    assert!(packets.windows(2).all(|pair| pair[1].sequence == pair[0].sequence.wrapping_add(1)));
    assert_eq!(packets.iter().map(|packet| packet.marker).collect::<Vec<_>>(), [true, false, true, false, false]);
    let bytes: Vec<u8> = packets.iter().flat_map(|packet| packet.payload).copied().collect();
    assert_eq!(bytes, clip.encoded(Law::Mu), "nothing of the prompt is lost");
    assert_eq!(stream.stats().skipped, 3);
    assert!((stream.stats().max_gap_ms - 100.0).abs() < 0.1);
}

#[test]
fn keys_interrupt_the_audio_and_the_clock_goes_on() {
    let (mut stream, mut out) = call(plan(THERE));
    let clip = ramp(3_200);
    play(&mut stream, &clip, &mut out);
    for tick in 1..=60 {
        if tick == 6 {
            stream.command(ms(100), MediaCommand::SendDigits { digits: "4#".into() }, &mut out);
        }
        stream.tick(ms(tick * 20), 0, &mut out);
    }
    let packets = out.packets();
    let (events, audio): (Vec<&rtp::Packet<'_>>, Vec<&rtp::Packet<'_>>) =
        packets.iter().partition(|packet| packet.payload_type == 101);
    let keys: Vec<u8> = events
        .chunk_by(|a, b| a.timestamp == b.timestamp)
        .map(|press| {
            assert!(press[0].marker && press[1..].iter().all(|packet| !packet.marker));
            assert_eq!(press.iter().filter(|packet| packet.payload[1] & 0x80 != 0).count(), 3);
            press[0].payload[0]
        })
        .collect();
    assert_eq!(keys, [4, 11]);
    for packet in &audio {
        let place = packets.iter().position(|other| other == *packet).unwrap() as u32;
        assert_eq!(packet.timestamp, packets[0].timestamp.wrapping_add(place * 160), "one clock for all");
    }
    let loud: Vec<u8> = audio.iter().flat_map(|packet| packet.payload).copied().collect();
    let bytes = clip.encoded(Law::Mu);
    assert_eq!(loud[..800], bytes[..800]);
    assert!(loud.windows(2_400).any(|window| window == &bytes[800..]), "the prompt waited");
    let sent = out.events.iter().position(|event| *event == MediaEvent::DigitsSent).unwrap();
    assert_eq!(out.events[sent + 1], MediaEvent::PromptEnded { prompt: PROMPT, played: 400, complete: true });
}

#[test]
fn without_events_keys_are_tones() {
    let (mut stream, mut out) = call(MediaPlan { dtmf: None, ..plan(THERE) });
    stream.command(ms(0), MediaCommand::SendDigits { digits: "1".into() }, &mut out);
    for tick in 1..=10 {
        stream.tick(ms(tick * 20), 0, &mut out);
    }
    let loud = out.packets().iter().filter(|packet| packet.payload.iter().any(|byte| *byte != 0xFF)).count();
    assert_eq!(loud, 5);
    assert!(out.events.contains(&MediaEvent::DigitsSent));
}

#[test]
fn nothing_goes_to_an_address_that_is_none() {
    for remote in [SocketAddr::from(([0, 0, 0, 0], 5_000)), SocketAddr::new(THERE.ip(), 0)] {
        let (mut stream, mut out) = call(plan(THERE));
        stream.tick(ms(20), 0, &mut out);
        stream.rtp(ms(21), THERE, &packet(0, 9, 1, 0, &[0x80; 160]), &mut out);
        stream.command(ms(30), MediaCommand::Configure(MediaPlan { remote, ..plan(THERE) }), &mut out);
        for tick in 2..500 {
            stream.rtp(
                ms(tick * 20),
                SocketAddr::new(THERE.ip(), 77),
                &packet(0, 9, tick as u16, 0, &[0x80; 160]),
                &mut out,
            );
            stream.tick(ms(tick * 20), 0, &mut out);
        }
        assert_eq!((out.rtp.len(), out.rtcp.len()), (1, 0), "{remote}");
        stream.command(ms(10_000), MediaCommand::Configure(plan(THERE)), &mut out);
        stream.tick(ms(10_020), 0, &mut out);
        assert_eq!(out.rtp.last().map(|(to, _)| *to), Some(THERE), "resumed");
    }
}

#[test]
fn while_held_reports_go_on_and_nobody_waits_for_audio() {
    let (mut stream, mut out) = call(MediaPlan { send: false, ..plan(THERE) });
    for tick in 1..=3_000 {
        stream.tick(ms(tick * 20), 0, &mut out);
    }
    assert!(out.rtp.is_empty());
    // Each 5 s on the average, never at the same distance twice.
    assert!((9..=16).contains(&out.rtcp.len()), "{} in a minute", out.rtcp.len());
    assert_eq!(out.kept_open, [THERE; 4], "the way through NATs is kept open");
    assert!(out.rtcp.iter().all(|(to, packet, muxed)| to.port() == 5_001 && packet[1] == 201 && !muxed));
    assert!(out.events.is_empty());
}

#[test]
fn silence_of_the_far_end_is_told_and_comfort_noise_is_no_silence() {
    let (mut stream, mut out) = call(plan(THERE));
    for tick in 1..=2_000 {
        if tick % 400 == 0 && tick <= 1_600 {
            stream.rtp(ms(tick * 20), THERE, &packet(13, 9, (tick / 400) as u16, 0, &[40]), &mut out);
        }
        stream.tick(ms(tick * 20), 0, &mut out);
    }
    assert_eq!(out.events, [MediaEvent::Latched { remote: THERE }], "8 s between two is fine");
    for tick in 2_001..=6_000 {
        stream.tick(ms(tick * 20), 0, &mut out);
    }
    assert_eq!(out.events[1..], [MediaEvent::MediaTimeout]);
}

#[test]
fn who_pauses_is_there_as_long_as_its_reports_are() {
    let (mut stream, mut out) = call(plan(THERE));
    let mut theirs = [0; crate::rtcp::MAX_REPORT];
    let report = crate::rtcp::Report { ssrc: 9, cname: "x", ntp: 1 << 40, sender: None, heard: None, bye: false };
    let length = crate::rtcp::write(&report, &mut theirs);
    let reports = SocketAddr::new(THERE.ip(), 5_001);
    let minute = |stream: &mut Stream, out: &mut Out, from: u64| {
        for tick in from..from + 3_000 {
            if tick % 250 == 0 {
                stream.rtcp(ms(tick * 20), reports, &theirs[..length]);
                // A stranger's report counts for nothing.
                stream.rtcp(ms(tick * 20), SocketAddr::from(([6, 6, 6, 6], 5_001)), &theirs[..length]);
            }
            stream.tick(ms(tick * 20), 0, out);
        }
    };
    stream.rtp(ms(1), THERE, &packet(13, 9, 1, 0, &[40]), &mut out);
    minute(&mut stream, &mut out, 1);
    assert_eq!(out.events, [MediaEvent::Latched { remote: THERE }]);
    assert_eq!(stream.stats().rejected, 12);
    // Who was talking and falls silent is gone, whatever its reports say.
    stream.rtp(ms(60_030), THERE, &packet(0, 9, 2, 160, &[0x80; 160]), &mut out);
    minute(&mut stream, &mut out, 3_002);
    assert_eq!(out.events[1..], [MediaEvent::MediaTimeout]);
}

#[test]
fn the_record_tells_what_each_interval_was_like_on_both_sides() {
    let mut line = Line::new(ms(40));
    for tick in 0..1_500_u64 {
        // A bad spell of ten seconds.
        line.tick(|n| (500..1_000).contains(&tick) && n % 5 == 0);
    }
    let stats = line.streams[0].stats();
    let history = stats.history;
    assert!((4..=10).contains(&history.intervals), "{history:?}");
    let loss = history.loss_pct.unwrap();
    assert!(loss.min < 1.0 && loss.max > 10.0 && (loss.min..loss.max).contains(&loss.avg), "{loss:?}");
    let mos = history.mos.unwrap();
    assert!(mos.max > 4.2 && mos.min < 3.6, "{mos:?}");
    let rtt = history.rtt_ms.unwrap();
    assert!((60.0..120.0).contains(&rtt.min) && (60.0..120.0).contains(&rtt.max), "{rtt:?}");
    assert!(history.remote_loss_pct.unwrap().max > 10.0 && history.remote_jitter_ms.is_some());
    assert!(stats.remote_mos.is_some_and(|mos| (1.0..=4.5).contains(&mos)) && stats.remote_jitter_ms.is_some());
}

#[test]
fn both_laws_are_understood_and_other_payloads_are_not() {
    let (mut stream, mut out) = call(plan(THERE));
    let (tap, mut heard) = Tap::new(100);
    stream.command(ms(0), MediaCommand::Tap(Some(tap)), &mut out);
    let level = 8_000;
    for n in 0..4_u16 {
        let codec = Codec::G711[usize::from(n % 2)];
        let payload = [codec.law().unwrap().encode_sample(level); 160];
        stream.rtp(
            ms(u64::from(n)),
            THERE,
            &packet(codec.static_payload_type().unwrap(), 9, n, u32::from(n) * 160, &payload),
            &mut out,
        );
    }
    for (payload_type, length) in [(3, 160), (96, 160), (0, 0), (0, 1_700), (101, 3)] {
        stream.rtp(ms(5), THERE, &packet(payload_type, 9, 4, 640, &vec![1; length]), &mut out);
    }
    for tick in 1..=6 {
        stream.tick(ms(tick * 20), 0, &mut out);
    }
    let samples: Vec<i16> =
        std::iter::from_fn(|| heard.try_next()).flat_map(|frame| frame.samples().to_vec()).collect();
    assert!(samples[320..960].iter().all(|sample| (sample - level).abs() < 300), "{samples:?}");
    assert_eq!(stream.stats().rejected, 5);
}

#[test]
fn the_tone_of_a_key_is_not_heard_beside_its_event() {
    let (mut stream, mut out) = call(plan(THERE));
    let (tap, mut heard) = Tap::new(100);
    stream.command(ms(0), MediaCommand::Tap(Some(tap)), &mut out);
    for n in 0..10_u16 {
        let timestamp = u32::from(n) * 160;
        let now = ms(u64::from(n) * 20 + 1);
        stream.rtp(now, THERE, &packet(0, 9, n * 2, timestamp, &[0x80; 160]), &mut out);
        if (2..6).contains(&n) {
            let event = Event { code: 5, end: n == 5, volume: 10, duration: (n - 1) * 160 };
            stream.rtp(now, THERE, &packet(101, 9, n * 2 + 1, 320, &event.write()), &mut out);
        }
        stream.tick(ms(u64::from(n) * 20 + 20), 0, &mut out);
    }
    let samples: Vec<i16> =
        std::iter::from_fn(|| heard.try_next()).flat_map(|frame| frame.samples().to_vec()).collect();
    let first = samples.iter().position(|sample| *sample != 0).unwrap();
    assert!(samples[first..first + 320].iter().all(|sample| *sample > 30_000));
    assert!(samples[first + 320..first + 960].iter().all(|sample| *sample == 0), "the key");
    assert_eq!(out.events.iter().filter(|event| **event == MediaEvent::Digit { digit: '5' }).count(), 1);
}

#[test]
fn another_stream_of_the_same_far_end_is_followed() {
    let (mut stream, mut out) = call(plan(THERE));
    for n in 0..50_u16 {
        let (ssrc, timestamp) = if n < 25 { (9, u32::from(n) * 160) } else { (10, 77_777_777 + u32::from(n) * 160) };
        stream.rtp(
            ms(u64::from(n) * 20),
            THERE,
            &packet(0, ssrc, n + if n < 25 { 0 } else { 9_000 }, timestamp, &[0x80; 160]),
            &mut out,
        );
        stream.tick(ms(u64::from(n) * 20 + 10), 0, &mut out);
    }
    let stats = stream.stats();
    assert_eq!((stats.packets_received, stats.lost, stats.rejected), (50, 0, 0));
    assert!(stream.incoming.jitter().held() > 0, "its audio is in the buffer");
}

#[test]
fn reports_and_audio_may_share_a_port() {
    let (mut stream, mut out) = call(MediaPlan { remote_rtcp: THERE, ..plan(THERE) });
    // Audio comes from elsewhere: reports go there too.
    let nat = SocketAddr::new(THERE.ip(), 6_666);
    stream.rtp(ms(1), nat, &packet(0, 9, 1, 0, &[0x80; 160]), &mut out);
    for tick in 1..=300 {
        stream.tick(ms(tick * 20), 0, &mut out);
    }
    let (to, report, muxed) = &out.rtcp[0];
    assert_eq!((*to, *muxed), (nat, true));
    let sent = crate::rtcp::read(report, 9).unwrap();
    assert!(sent.about_us.is_some(), "about their stream");
    let mut theirs = [0; crate::rtcp::MAX_REPORT];
    let report = crate::rtcp::Report { ssrc: 9, cname: "x", ntp: 1 << 40, sender: None, heard: None, bye: false };
    let length = crate::rtcp::write(&report, &mut theirs);
    stream.rtp(ms(6_100), nat, &theirs[..length], &mut out);
    assert_eq!(stream.stats().rejected, 0);
    stream.rtp(ms(6_100), SocketAddr::from(([1, 2, 3, 4], 5)), &theirs[..length], &mut out);
    assert_eq!(stream.stats().rejected, 1, "a stranger's report");
}

#[test]
fn behind_a_nat_reports_follow_the_audio() {
    let mut far = plan(THERE);
    far.signalling_ip = std::net::IpAddr::from([192, 0, 2, 7]);
    let (mut stream, mut out) = call(far);
    let (audio, reports) = (SocketAddr::from(([192, 0, 2, 7], 1_000)), SocketAddr::from(([192, 0, 2, 7], 1_001)));
    stream.rtp(ms(1), audio, &packet(0, 9, 1, 0, &[0x80; 160]), &mut out);
    let targets = |stream: &mut Stream, out: &mut Out, from: u64| {
        out.rtcp.clear();
        for tick in from..from + 300 {
            stream.tick(ms(tick * 20), 0, out);
        }
        out.rtcp[0].0
    };
    assert_eq!(targets(&mut stream, &mut out, 1), SocketAddr::new(THERE.ip(), 5_001), "what signalling says");
    let mut theirs = [0; crate::rtcp::MAX_REPORT];
    let report = crate::rtcp::Report { ssrc: 9, cname: "x", ntp: 1 << 40, sender: None, heard: None, bye: false };
    let length = crate::rtcp::write(&report, &mut theirs);
    // Another program of that host says something: not the stream that is heard.
    let foreign = crate::rtcp::Report { ssrc: 666, ..report };
    let mut others = [0; crate::rtcp::MAX_REPORT];
    let others_length = crate::rtcp::write(&foreign, &mut others);
    stream.rtcp(ms(6_050), SocketAddr::new(audio.ip(), 4), &others[..others_length]);
    assert_eq!(targets(&mut stream, &mut out, 310), SocketAddr::new(THERE.ip(), 5_001));
    stream.rtcp(ms(12_200), reports, &theirs[..length]);
    assert_eq!(targets(&mut stream, &mut out, 620), reports);
    stream.rtcp(ms(18_900), SocketAddr::new(audio.ip(), 4), &others[..others_length]);
    assert_eq!(targets(&mut stream, &mut out, 950), reports);
}

#[test]
fn packets_before_the_plan_are_forgotten() {
    let (mut stream, mut out) = (stream(1), Out::default());
    for n in 0..50 {
        stream.rtp(ms(n), THERE, &packet(0, 9, n as u16, n as u32 * 160, &[0x80; 160]), &mut out);
    }
    assert_eq!(stream.tick(ms(60), 0, &mut out), None);
    assert!(out.rtp.is_empty() && out.events.is_empty());
    assert_eq!(stream.stats().packets_received, 0);
    assert_eq!(stream.period(), None);
}
