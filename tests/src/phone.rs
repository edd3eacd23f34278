//! A telephone in the test's own hands: it says and hears tones, presses keys,
//! and tells what came packet by packet. Signalling is our own stack; the audio
//! is written out here, byte by byte, so that nothing of the host judges itself.

use crate::coder::Coder;
use crate::{Host, SOON, eventually, handset};
use callbox_media::Codec;
use callbox_sip::{
    Credentials, Dialog, DialogEvent, IncomingCall, OutgoingCall, Registration, RegistrationConfig, SipConfig, SipStack,
};
use std::collections::VecDeque;
use std::f32::consts::TAU;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};

/// Samples in 20 ms.
const FRAME: usize = 160;
/// The payload type of keys in our descriptions.
const KEYS: u8 = 101;

/// A telephone on a free port of 127.0.0.1.
pub struct Phone {
    stack: SipStack,
    /// The one that it speaks.
    codec: Codec,
    incoming: tokio::sync::Mutex<mpsc::Receiver<IncomingCall>>,
}

/// One call of a telephone.
pub struct Line {
    /// To hang up or hold with.
    pub dialog: Dialog,
    /// Where the host takes this call's RTP.
    pub host_rtp: SocketAddr,
    events: mpsc::Receiver<DialogEvent>,
    shared: Arc<Mutex<Audio>>,
    pump: JoinHandle<()>,
}

/// How a call, or the attempt of one, was over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Over {
    /// The host ended it.
    pub by_host: bool,
    /// The final status of a refused INVITE.
    pub status: Option<u16>,
}

#[derive(Default)]
struct Audio {
    /// What is played, for ever or until it changes.
    sound: Vec<i16>,
    played: usize,
    /// What is said once, in place of that.
    words: VecDeque<i16>,
    /// Packets sent before one that is lost; 0 for none.
    lossy: u32,
    /// Every so many packets one is a frame late, behind its successor; 0 for none.
    shaky: u32,
    keys: Vec<char>,
    heard: Vec<u8>,
    /// The same, as it was decoded.
    samples: Vec<i16>,
    heard_keys: String,
    last_key: Option<u32>,
    sent: Vec<u8>,
}

impl Phone {
    /// A telephone that speaks PCMU, as all do.
    pub async fn new() -> Self {
        Self::speaking(Codec::Pcmu).await
    }

    /// A telephone that speaks this and nothing else. Only one that speaks PCMU has keys.
    pub async fn speaking(codec: Codec) -> Self {
        let config = SipConfig { udp: vec![([127, 0, 0, 1], 0).into()], ..SipConfig::default() };
        let (stack, incoming) = SipStack::start(config).await.unwrap();
        Self { stack, codec, incoming: tokio::sync::Mutex::new(incoming) }
    }

    /// Its address as a target.
    #[must_use]
    pub fn uri(&self) -> String {
        format!("sip:phone@{}", self.stack.local_addrs()[0].1)
    }

    /// Calls a number with this description in place of a good one: how the attempt ends.
    pub async fn try_with(&self, host: &Host, number: &str, offer: &str) -> Over {
        let call = OutgoingCall {
            target: format!("sip:{number}@{}", host.sip),
            offer: Some(offer.as_bytes().to_vec()),
            ..OutgoingCall::default()
        };
        let (_dialog, mut events) = self.stack.call(call).await.unwrap();
        over(&mut events).await
    }

    /// Where it takes calls.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.stack.local_addrs()[0].1
    }

    /// Calls a number; up, or refused.
    pub async fn dial(&self, host: &Host, number: &str, headers: &[(&str, &str)]) -> Result<Line, Over> {
        self.dial_to(&format!("sip:{number}@{}", host.sip), headers).await
    }

    /// Calls an address; up, or refused.
    pub async fn dial_to(&self, target: &str, headers: &[(&str, &str)]) -> Result<Line, Over> {
        let rtp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let call = OutgoingCall {
            target: target.to_owned(),
            from: "sip:phone@127.0.0.1".into(),
            headers: headers.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect(),
            offer: Some(self.description(&rtp).into_bytes()),
            ..OutgoingCall::default()
        };
        self.up(call, rtp).await
    }

    /// Calls an address as somebody; up as soon as there is something to hear, be it before the answer, or refused.
    pub async fn dial_from(&self, from: &str, target: &str, headers: &[(String, String)]) -> Result<Line, Over> {
        let rtp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let call = OutgoingCall {
            target: target.to_owned(),
            from: from.to_owned(),
            headers: headers.to_vec(),
            offer: Some(self.description(&rtp).into_bytes()),
            ..OutgoingCall::default()
        };
        let (dialog, mut events) = self.stack.call(call).await.unwrap();
        let heard = async {
            loop {
                match events.recv().await.expect("the call's end is told") {
                    DialogEvent::Progress { sdp: Some(sdp), .. } | DialogEvent::Answered { sdp: Some(sdp) } => {
                        return Ok(sdp);
                    }
                    DialogEvent::Ended { by_remote, status, .. } => return Err(Over { by_host: by_remote, status }),
                    _ => {}
                }
            }
        };
        let answer = timeout(SOON, heard).await.expect("the host answers in time")?;
        Ok(Line::new(self.codec, dialog, events, rtp, &answer))
    }

    async fn up(&self, call: OutgoingCall, rtp: UdpSocket) -> Result<Line, Over> {
        let (dialog, mut events) = self.stack.call(call).await.unwrap();
        let up = async {
            loop {
                match events.recv().await.expect("the call's end is told") {
                    DialogEvent::Answered { sdp } => return Ok(sdp.expect("an answer")),
                    DialogEvent::Ended { by_remote, status, .. } => return Err(Over { by_host: by_remote, status }),
                    _ => {}
                }
            }
        };
        let answer = timeout(SOON, up).await.expect("the host answers in time")?;
        Ok(Line::new(self.codec, dialog, events, rtp, &answer))
    }

    /// Calls the probe in a mode that speaks before it answers; up to its early media, which it hears.
    pub async fn dial_early(&self, host: &Host, mode: &str, options: &[(&str, &str)]) -> Line {
        let rtp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let headers = [("X-Probe-Mode", mode)].into_iter().chain(options.iter().copied());
        let call = OutgoingCall {
            target: format!("sip:2000@{}", host.sip),
            from: "sip:phone@127.0.0.1".into(),
            headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            offer: Some(self.description(&rtp).into_bytes()),
            ..OutgoingCall::default()
        };
        let (dialog, mut events) = self.stack.call(call).await.unwrap();
        let early = async {
            loop {
                match events.recv().await.expect("the call's end is told") {
                    DialogEvent::Progress { sdp: Some(sdp), .. } => return sdp,
                    other @ (DialogEvent::Answered { .. } | DialogEvent::Ended { .. }) => panic!("{other:?} before it"),
                    _ => {}
                }
            }
        };
        let answer = timeout(SOON, early).await.expect("early media comes in time");
        Line::new(self.codec, dialog, events, rtp, &answer)
    }

    /// Calls the probe in a mode, with further options.
    pub async fn dial_probe(&self, host: &Host, mode: &str, options: &[(&str, &str)]) -> Line {
        let mut headers = vec![("X-Probe-Mode", mode)];
        headers.extend(options);
        self.dial(host, "2000", &headers).await.expect("the probe answers")
    }

    /// Registers as an account of the host, until the handle is dropped.
    pub async fn register(&self, host: &Host, account: &str, password: &str) -> Registration {
        let hop = format!("sip:{};transport=udp", host.sip).parse().unwrap();
        let config = RegistrationConfig {
            aor: format!("sip:{account}@callbox"),
            outbound_proxies: vec![hop],
            credentials: Some(Credentials { username: account.into(), password: password.into(), realm: None }),
            ..RegistrationConfig::default()
        };
        self.stack.register(config).await.unwrap()
    }

    /// Calls a number by a registration; up, or refused.
    pub async fn dial_as(&self, registration: &Registration, account: &str, number: &str) -> Result<Line, Over> {
        let rtp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let call = OutgoingCall {
            target: format!("sip:{number}@callbox"),
            from: format!("sip:{account}@callbox"),
            registration: Some(registration.id()),
            offer: Some(self.description(&rtp).into_bytes()),
            ..OutgoingCall::default()
        };
        self.up(call, rtp).await
    }

    /// The next call that comes in; it does not ring yet.
    pub async fn incoming(&self) -> IncomingCall {
        let mut incoming = self.incoming.lock().await;
        timeout(SOON, incoming.recv()).await.expect("a call comes in time").expect("the stack runs")
    }

    /// The next call that comes in, whenever that is.
    pub async fn next_call(&self) -> IncomingCall {
        self.incoming.lock().await.recv().await.expect("the stack runs")
    }

    /// Answers a call.
    pub async fn pick_up(&self, call: IncomingCall) -> Line {
        let rtp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        call.dialog.answer(self.description(&rtp).into_bytes()).await.unwrap();
        Line::new(self.codec, call.dialog, call.events, rtp, &call.invite.offer.expect("an offer"))
    }

    fn description(&self, rtp: &UdpSocket) -> String {
        let at = rtp.local_addr().unwrap();
        let (number, clock) = (number(self.codec), self.codec.rtp_clock());
        let channels = if self.codec.channels_in_sdp() == 2 { "/2" } else { "" };
        let (more, keys) = match self.codec {
            Codec::Pcmu => {
                (format!(" {KEYS}"), format!("a=rtpmap:{KEYS} telephone-event/8000\r\na=fmtp:{KEYS} 0-15\r\n"))
            }
            _ => (String::new(), String::new()),
        };
        format!(
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 {}\r\nt=0 0\r\nm=audio {} RTP/AVP {number}{more}\r\n\
             a=rtpmap:{number} {}/{clock}{channels}\r\n{keys}",
            at.ip(),
            at.port(),
            self.codec.name(),
        )
    }
}

impl Line {
    fn new(
        codec: Codec,
        dialog: Dialog,
        events: mpsc::Receiver<DialogEvent>,
        rtp: UdpSocket,
        description: &[u8],
    ) -> Self {
        let host_rtp = media_address(description);
        let shared = Arc::new(Mutex::new(Audio::default()));
        let audio = shared.clone();
        let pump = handset::live(rtp, move |rtp| pump(rtp, host_rtp, audio, codec));
        Self { dialog, host_rtp, events, shared, pump }
    }

    /// Plays a tone from now on.
    pub fn sound(&self, hertz: f32) {
        // Whole periods in a second, so that it can be repeated without a click.
        let sample = |index: u16| (f32::from(index) * TAU * hertz.round() / 8_000.0).sin() * 8_000.0;
        #[allow(clippy::cast_possible_truncation, reason = "it is between -8,000 and 8,000")]
        self.play((0..8_000).map(|index| sample(index) as i16).collect());
    }

    /// Plays this from now on, again and again.
    pub fn play(&self, samples: Vec<i16>) {
        let mut audio = self.shared.lock().unwrap();
        audio.sound = samples;
        audio.played = 0;
    }

    /// Says this once, behind what is being said.
    pub fn say(&self, samples: &[i16]) {
        self.shared.lock().unwrap().words.extend(samples);
    }

    /// Waits until all is said.
    pub async fn has_said_it(&self) {
        eventually("the last word", async || self.shared.lock().unwrap().words.is_empty().then_some(())).await;
    }

    /// From now on the line loses one packet in `lossy` and shakes one in `shaky`, on their way to the host.
    pub fn is_bad(&self, lossy: u32, shaky: u32) {
        let mut audio = self.shared.lock().unwrap();
        (audio.lossy, audio.shaky) = (lossy, shaky);
    }

    /// Waits until somebody has begun to speak behind that place of all that came, be it long ago; the place.
    pub async fn hears_somebody(&self, from: usize) -> usize {
        eventually("somebody who speaks", async || find(&self.shared.lock().unwrap().heard, from, 10, speaks)).await
    }

    /// Waits until somebody has spoken behind that place of all that came, and then not for 600 ms; the place.
    pub async fn hears_out(&self, from: usize) -> usize {
        let from = self.hears_somebody(from).await;
        eventually("silence", async || find(&self.shared.lock().unwrap().heard, from, 30, is_silent)).await
    }

    /// Presses keys, one after the other.
    pub fn press(&self, keys: &str) {
        self.shared.lock().unwrap().keys.extend(keys.chars());
    }

    /// Waits until a tone was heard for the last 200 ms.
    pub async fn hears(&self, hertz: f32) {
        eventually(&format!("a tone of {hertz} Hz"), async || {
            let audio = self.shared.lock().unwrap();
            let start = audio.heard.len().checked_sub(FRAME * 10)?;
            loud(&audio.heard[start..], hertz).then_some(())
        })
        .await;
    }

    /// Waits until a tone was heard for 200 ms, be it long ago.
    pub async fn has_heard(&self, hertz: f32) {
        eventually(&format!("a tone of {hertz} Hz, at some time"), async || {
            let heard = self.heard();
            heard.windows(FRAME * 10).step_by(FRAME).any(|part| loud(part, hertz)).then_some(())
        })
        .await;
    }

    /// Waits until a tone is not heard any more.
    pub async fn hears_no(&self, hertz: f32) {
        eventually(&format!("the end of a tone of {hertz} Hz"), async || {
            let audio = self.shared.lock().unwrap();
            let start = audio.heard.len().checked_sub(FRAME * 10)?;
            (!loud(&audio.heard[start..], hertz)).then_some(())
        })
        .await;
    }

    /// Waits until so many milliseconds of audio have come since the call began.
    pub async fn hears_for(&self, ms: usize) {
        eventually("audio", async || (self.heard().len() >= ms * 8).then_some(())).await;
    }

    /// Waits until so many milliseconds of audio have been sent since the call began.
    pub async fn speaks_for(&self, ms: usize) {
        eventually("sent audio", async || (self.sent().len() >= ms * 8).then_some(())).await;
    }

    /// Waits until these keys, and no others, have been heard.
    pub async fn hears_keys(&self, keys: &str) {
        eventually(&format!("the keys {keys}"), async || {
            (self.shared.lock().unwrap().heard_keys == keys).then_some(())
        })
        .await;
    }

    /// All that came, in PCMU.
    #[must_use]
    pub fn heard(&self) -> Vec<u8> {
        self.shared.lock().unwrap().heard.clone()
    }

    /// All that came, at 8 kHz.
    #[must_use]
    pub fn heard_samples(&self) -> Vec<i16> {
        self.shared.lock().unwrap().samples.clone()
    }

    /// All that was sent, in PCMU.
    #[must_use]
    pub fn sent(&self) -> Vec<u8> {
        self.shared.lock().unwrap().sent.clone()
    }

    /// Waits until the host answers a call that is heard already.
    pub async fn answered(&mut self) {
        let answered = async {
            loop {
                match self.events.recv().await.expect("the call's end is told") {
                    DialogEvent::Answered { .. } => return,
                    DialogEvent::Ended { status, .. } => panic!("it ended with {status:?}"),
                    _ => {}
                }
            }
        };
        timeout(SOON, answered).await.expect("the host answers in time");
    }

    /// Whether the host has answered, or the call is over, and nobody has looked yet.
    pub fn is_told_more(&mut self) -> bool {
        std::iter::from_fn(|| self.events.try_recv().ok())
            .any(|event| matches!(event, DialogEvent::Answered { .. } | DialogEvent::Ended { .. }))
    }

    /// Hangs up.
    pub async fn hang_up(&mut self) {
        self.dialog.hangup(None).await.unwrap();
        self.over().await;
    }

    /// Waits for the end of the call.
    pub async fn over(&mut self) -> Over {
        over(&mut self.events).await
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.pump.abort();
    }
}

async fn over(events: &mut mpsc::Receiver<DialogEvent>) -> Over {
    let over = async {
        loop {
            if let DialogEvent::Ended { by_remote, status, .. } = events.recv().await.expect("the end is told once") {
                return Over { by_host: by_remote, status };
            }
        }
    };
    timeout(2 * SOON, over).await.expect("the call ends in time")
}

/// The payload type of a codec in our descriptions.
fn number(codec: Codec) -> u8 {
    codec.static_payload_type().unwrap_or(96)
}

fn media_address(description: &[u8]) -> SocketAddr {
    let text = std::str::from_utf8(description).unwrap();
    let line = |start: &str| text.lines().find_map(|line| line.strip_prefix(start)).unwrap();
    let port = line("m=audio ").split(' ').next().unwrap();
    format!("{}:{port}", line("c=IN IP4 ")).parse().unwrap()
}

/// Sends a frame every 20 ms and takes what comes.
async fn pump(rtp: UdpSocket, host: SocketAddr, shared: Arc<Mutex<Audio>>, codec: Codec) {
    let mut coder = Coder::new(codec);
    let ticks = codec.rtp_clock() / 50;
    let mut tick = interval(Duration::from_millis(20));
    // A machine that was busy does not make the audio shorter.
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut packet = [0; 2_048];
    let (mut sequence, mut time, mut key) = (0_u16, 0_u32, None::<(char, u32, u16)>);
    let mut late: Option<Vec<u8>> = None;
    loop {
        tokio::select! {
            _ = tick.tick() => {
                let (lossy, shaky, (kind, marker, stamp, payload)) = {
                    let mut audio = shared.lock().unwrap();
                    if key.is_none() && !audio.keys.is_empty() {
                        key = Some((audio.keys.remove(0), time, 0));
                    }
                    (audio.lossy, audio.shaky, match &mut key {
                        Some((digit, began, frames)) => {
                            *frames += 1;
                            let payload = event(*digit, *frames);
                            let told = (KEYS, *frames == 1, *began, payload);
                            // Eight frames and three times the end, then a pause of silence.
                            if *frames >= 11 {
                                key = None;
                            }
                            told
                        }
                        None => (number(codec), false, time, coder.encode(&next_frame(&mut audio))),
                    })
                };
                let mut bytes = vec![0x80, kind | if marker { 0x80 } else { 0 }];
                bytes.extend(sequence.to_be_bytes());
                bytes.extend(stamp.to_be_bytes());
                bytes.extend([1, 2, 3, 4]);
                bytes.extend(payload);
                let nth = |every: u32| every > 0 && u32::from(sequence) % every == every - 1;
                // A host that is gone is seen by its signalling.
                if nth(shaky) && late.is_none() {
                    late = Some(bytes);
                } else {
                    if !nth(lossy) {
                        let _ = rtp.send_to(&bytes, host).await;
                    }
                    if let Some(late) = late.take() {
                        let _ = rtp.send_to(&late, host).await;
                    }
                }
                sequence = sequence.wrapping_add(1);
                time = time.wrapping_add(ticks);
            }
            received = rtp.recv_from(&mut packet) => {
                let Ok((length, source)) = received else { continue };
                // Only what comes from where it was announced is heard: this port may have been another call's a moment
                // ago. An empty datagram keeps a NAT open (RFC 6263 §4.1).
                if source != host || length == 0 {
                    continue;
                }
                take(&mut shared.lock().unwrap(), &packet[..length], &mut coder);
            }
        }
    }
}

fn next_frame(audio: &mut Audio) -> [i16; FRAME] {
    let frame = if audio.words.is_empty() {
        let at = |index| audio.sound.get((audio.played + index) % audio.sound.len().max(1));
        let frame = std::array::from_fn(|index| at(index).copied().unwrap_or_default());
        audio.played += FRAME;
        frame
    } else {
        std::array::from_fn(|_| audio.words.pop_front().unwrap_or_default())
    };
    audio.sent.extend(frame.iter().map(|sample| compress(*sample)));
    frame
}

fn event(digit: char, frames: u16) -> Vec<u8> {
    let code = match digit {
        '*' => 10,
        '#' => 11,
        digit => u8::try_from(digit.to_digit(10).expect("a key")).unwrap(),
    };
    let end = if frames > 8 { 0x80 } else { 0 };
    let mut payload = vec![code, end | 10];
    payload.extend((frames.min(8) * 160).to_be_bytes());
    payload
}

fn take(audio: &mut Audio, packet: &[u8], coder: &mut Coder) {
    assert!(packet.len() >= 12 && packet[0] >> 6 == 2, "RTP");
    let stamp = u32::from_be_bytes(packet[4..8].try_into().unwrap());
    match packet[1] & 0x7f {
        kind if kind == number(coder.codec()) => {
            let samples = coder.decode(&packet[12..]);
            match coder {
                // Byte for byte: there are two zeros.
                Coder::Pcmu => audio.heard.extend(&packet[12..]),
                _ => audio.heard.extend(samples.iter().map(|sample| compress(*sample))),
            }
            audio.samples.extend(samples);
        }
        KEYS if audio.last_key != Some(stamp) => {
            audio.last_key = Some(stamp);
            audio.heard_keys.push(match packet[12] {
                10 => '*',
                11 => '#',
                code => char::from_digit(code.into(), 10).expect("a key"),
            });
        }
        KEYS => {}
        kind => panic!("payload type {kind} was not agreed on"),
    }
}

/// Behind which place so many frames that are like that follow each other first.
fn find(heard: &[u8], from: usize, frames: usize, like: impl Fn(&[u8]) -> bool) -> Option<usize> {
    let parts = heard.get(from..)?.windows(FRAME * frames).step_by(FRAME);
    parts.into_iter().position(like).map(|frame| from + FRAME * (frame + frames))
}

/// Whether most of the frames are a voice.
fn speaks(heard: &[u8]) -> bool {
    let loud = |frame: &&[u8]| frame.iter().any(|&byte| expand(byte).unsigned_abs() > 1_000);
    heard.chunks(FRAME).filter(loud).count() * 2 * FRAME > heard.len()
}

fn is_silent(heard: &[u8]) -> bool {
    heard.iter().all(|&byte| expand(byte).unsigned_abs() < 100)
}

/// Whether the tone is most of what sounds.
fn loud(pcmu: &[u8], hertz: f32) -> bool {
    let samples: Vec<f32> = pcmu.iter().map(|&byte| f32::from(expand(byte))).collect();
    let step = TAU * hertz / 8_000.0;
    let (mut real, mut imaginary, mut energy) = (0.0, 0.0, 0.0);
    for (index, sample) in samples.iter().enumerate() {
        let angle = step * f32::from(u16::try_from(index).unwrap());
        real += sample * angle.cos();
        imaginary += sample * angle.sin();
        energy += sample * sample;
    }
    let count = f32::from(u16::try_from(samples.len()).unwrap());
    energy / count > 500.0 * 500.0 && (real * real + imaginary * imaginary) * 2.0 / count > 0.5 * energy
}

/// Linear to PCMU (ITU-T G.711).
#[must_use]
pub fn compress(sample: i16) -> u8 {
    let sign = if sample < 0 { 0x80 } else { 0 };
    let magnitude = sample.unsigned_abs().min(32_635) + 132;
    let exponent = 15 - magnitude.leading_zeros() - 7;
    let mantissa = (magnitude >> (exponent + 3)) & 0x0f;
    !(sign | u8::try_from(exponent << 4).unwrap() | u8::try_from(mantissa).unwrap())
}

/// PCMU to linear.
#[must_use]
pub fn expand(byte: u8) -> i16 {
    let byte = !byte;
    let magnitude = (((i16::from(byte & 0x0f) << 3) + 132) << ((byte & 0x70) >> 4)) - 132;
    if byte & 0x80 == 0 { magnitude } else { -magnitude }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_compressed_expands_to_itself() {
        for byte in 0..=255 {
            // There are two zeros.
            assert!(compress(expand(byte)) == byte || byte == 0x7f, "{byte}");
        }
    }
}
