//! What a session is told and what it reports.

use crate::clip::Clip;
use crate::codec::Codec;
use crate::quality::History;
use crate::security::Security;
use crate::srtp::SrtpSuite;
use crate::tap::TapSender;
use callbox_dialogue::PromptId;
use callbox_dialogue::time::Millis;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

/// The name of a session, unique within its plane for the life of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId {
    pub(crate) worker: u16,
    pub(crate) number: u64,
}

impl std::fmt::Display for SessionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.worker, self.number)
    }
}

/// What offer and answer agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaPlan {
    /// What we send.
    pub codec: Codec,
    /// The payload type of `codec`, as the far end numbered it.
    pub payload_type: u8,
    /// In what the far end may send, by the payload types that we named; `payload_type` always, and both laws of
    /// G.711 by their static ones unless these are named otherwise.
    pub formats: Vec<(u8, Codec)>,
    /// The payload type of telephone-event on the clock of `codec` ([`Codec::rtp_clock`]). Without it digits are sent
    /// as tones in the audio.
    pub dtmf: Option<u8>,
    /// Payload types under which the far end may send telephone-events beside `dtmf`: where it numbers them in
    /// another way than we do, or where there is one for each clock.
    pub events: Vec<u8>,
    /// The payload type of comfort noise (RFC 3389), where the far end takes it: 13. What comes as 13 is understood
    /// in any case.
    pub comfort_noise: Option<u8>,
    /// While there is nothing to say, next to nothing is sent: comfort noise where it is agreed, the pauses of Opus
    /// where that is spoken. Off, silence is sent like speech, which keeps the windows of all NATs open.
    pub dtx: bool,
    /// Opus carries each packet's audio once more, at less quality, in the one behind it (`useinbandfec`).
    pub fec: bool,
    /// Listen for keys as tones in the audio, where they do not come as events.
    pub detect_tones: bool,
    /// Where the far end wants audio. An unspecified address or port 0 means: nowhere (RFC 2543 hold).
    pub remote: SocketAddr,
    /// Where it wants RTCP; the same as `remote` for rtcp-mux.
    pub remote_rtcp: SocketAddr,
    /// Where its signalling comes from: audio from there is believed as if SDP had named it (NAT).
    pub signalling_ip: IpAddr,
    /// We send audio. Off while the far end holds us.
    pub send: bool,
    /// We expect audio. Off while we hold the far end.
    pub receive: bool,
    /// Milliseconds of audio in a packet we send: 10 to 60, in steps of 10; anything else is brought there.
    pub ptime_ms: u8,
    /// How packets are protected. A plan that repeats the keys or the fingerprint of the one before goes on with what
    /// is established (hold, resume); another one re-keys.
    pub security: Security,
}

impl MediaPlan {
    /// The plainest: this codec both ways between here and there in the clear, packets of 20 ms, keys as tones, RTCP one port
    /// above and signalling from the same host.
    #[must_use]
    pub fn new(codec: Codec, payload_type: u8, remote: SocketAddr) -> Self {
        Self {
            codec,
            payload_type,
            formats: vec![(payload_type, codec)],
            dtmf: None,
            events: Vec::new(),
            comfort_noise: None,
            dtx: false,
            fec: false,
            detect_tones: false,
            remote,
            remote_rtcp: SocketAddr::new(remote.ip(), remote.port().saturating_add(1)),
            signalling_ip: remote.ip(),
            send: true,
            receive: true,
            ptime_ms: 20,
            security: Security::None,
        }
    }
}

/// What a session is told. Commands of one session are carried out in order, before the next packet leaves.
#[derive(Clone, Debug)]
pub enum MediaCommand {
    /// The first answer, hold, resume, a change of codec or address. From the first one on, silence is sent where
    /// there is nothing else to send, so that the far end sees a live stream.
    Configure(MediaPlan),
    /// More audio for a prompt, which exists from its first mention on.
    Append {
        /// The prompt.
        prompt: PromptId,
        /// What comes next in it.
        clip: Arc<Clip>,
    },
    /// The prompt has all its audio.
    Complete {
        /// The prompt.
        prompt: PromptId,
    },
    /// Play it from its beginning, in the next packet; behind what is playing, if anything is.
    Play {
        /// The prompt.
        prompt: PromptId,
    },
    /// Stop it before the next packet, or forget it. [`MediaEvent::PromptEnded`] follows if it was playing or queued.
    Stop {
        /// The prompt.
        prompt: PromptId,
    },
    /// Hold the prompt that plays, from the next packet on: silence, or what the other side of a bridge says, until it is
    /// resumed or stopped. One that waits behind it waits on; one that is still to be played begins held.
    Pause {
        /// The prompt.
        prompt: PromptId,
    },
    /// Go on with it in the next packet, with the very sample at which it stopped.
    Resume {
        /// The prompt.
        prompt: PromptId,
    },
    /// Send DTMF behind what is being sent; a prompt that plays waits meanwhile. [`MediaEvent::DigitsSent`] follows.
    SendDigits {
        /// `0`-`9`, `*`, `#`, `A`-`D`; `,` pauses 500 ms. At most [`crate::dtmf::MAX_DIGITS`].
        digits: String,
    },
    /// What the caller says and presses is secret: it is silence in the recording.
    Mask(bool),
    /// Record both sides into a WAV file of 16 bits and two channels: left the caller, right the robot. Replaces a
    /// recording under way.
    Record {
        /// The file, created or truncated; its folder must exist.
        path: PathBuf,
    },
    /// Finish the recording. [`MediaEvent::RecordingDone`] follows.
    StopRecording,
    /// Join two sessions of this plane: what each hears, the other says, digits included. One command joins both.
    /// A prompt or digits of its own go before what the other side says.
    Bridge {
        /// The other.
        with: SessionId,
    },
    /// Part them again. Either side may say so.
    Unbridge,
    /// Hand what is received, decoded, to a reader, 20 ms at a time; none ends it. Frames the reader does not take in
    /// time are dropped and counted.
    Tap(Option<TapSender>),
    /// Tell when the caller begins and ceases to speak ([`MediaEvent::SpeechStarted`], [`MediaEvent::SpeechEnded`]) from
    /// now on, and hand what is said to a reader. Replaces the reader before.
    Listen {
        /// Gets what was heard from half a second before the caller begins to speak, and everything from there on; of
        /// somebody who speaks already, from the beginning, as far as half a second reaches back. Nothing that went to
        /// the reader before. At 16 kHz where the call's codec has that. None where nobody makes words of it.
        tap: Option<TapSender>,
    },
    /// Listen no more. [`MediaEvent::SpeechEnded`] follows where somebody was speaking.
    Deafen,
    /// Write every datagram that the session's sockets send and receive into a pcap file, from now on: with what
    /// strangers send, before it is judged. Replaces a capture under way. The payload of RTP is zeros while what the
    /// caller says is secret ([`Self::Mask`]). [`MediaEvent::CaptureDone`] follows, at the latest with the session's
    /// end.
    Capture {
        /// The file, created or truncated; its folder must exist.
        path: PathBuf,
        /// Write what was protected in the clear, as it was before or after, for those who listen to it. Else the
        /// file holds what is on the wire.
        decrypted: bool,
    },
    /// Finish the capture.
    StopCapture,
    /// Send a text message on the data channel of a WebRTC session; it waits for the channel to open. Without one, or
    /// behind too many that wait, it is dropped and counted.
    Message(String),
}

/// What a session reports.
#[derive(Clone, Debug, PartialEq)]
pub enum MediaEvent {
    /// The first packet of a prompt left.
    PromptStarted {
        /// The prompt.
        prompt: PromptId,
    },
    /// A prompt is over.
    PromptEnded {
        /// The prompt.
        prompt: PromptId,
        /// Audio of it that left.
        played: Millis,
        /// That was all of it.
        complete: bool,
    },
    /// The far end pressed a key. Reported once, with the first packet that tells of it.
    Digit {
        /// `0`-`9`, `*`, `#`, `A`-`D`.
        digit: char,
    },
    /// The caller has begun to speak: told of voices alone, not of noise, tones, music without a pause or the echo of our
    /// own prompt, as far as these can be told apart. A cough is told too: whether a sound is long enough to matter
    /// is for others to decide.
    SpeechStarted {
        /// Since it began, counted from when that sound reached us.
        ago_ms: Millis,
    },
    /// The caller has stopped, for longer than the pause within a word.
    SpeechEnded {
        /// Since the last of it, counted from when that sound reached us.
        ago_ms: Millis,
    },
    /// All digits of a [`MediaCommand::SendDigits`] have been sent.
    DigitsSent,
    /// The far end's audio comes from here; we send there from now on.
    Latched {
        /// The source.
        remote: SocketAddr,
    },
    /// Nothing has been received for the configured time although the call is not held. Once per silence.
    MediaTimeout,
    /// A recording is complete on disk.
    RecordingDone {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
        /// Its length.
        duration_ms: u64,
    },
    /// A recording could not be begun or went wrong on the way: what was written until then is a valid file.
    RecordingFailed {
        /// The file.
        path: PathBuf,
        /// What failed, for the record.
        error: String,
    },
    /// Packets are protected in both directions from now on.
    SecurityEstablished {
        /// How.
        suite: SrtpSuite,
    },
    /// The handshake that was to give the keys has failed: nothing will ever be sent or heard. The call must end.
    SecurityFailed {
        /// What was wrong, for the record.
        why: String,
    },
    /// The data channel of a WebRTC session is open, or is no longer.
    Channel {
        /// It is open.
        open: bool,
    },
    /// A text message came on it.
    Message(String),
    /// The far end of a WebRTC session has ended it by itself (DTLS `close_notify`): nothing more will come. The call
    /// must end.
    Left,
    /// A capture is complete on disk, or has ended at its limit of size.
    CaptureDone {
        /// The file.
        path: PathBuf,
        /// Datagrams in it.
        packets: u64,
        /// Datagrams that are not, because the disk was too slow or the file full.
        dropped: u64,
    },
    /// A capture could not be begun or went wrong on the way.
    CaptureFailed {
        /// The file.
        path: PathBuf,
        /// What failed, for the record.
        error: String,
    },
    /// The session is over; the last event.
    Closed(MediaStats),
}

/// What a session sent and received, and how well.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MediaStats {
    /// What we sent last.
    pub codec: Option<Codec>,
    /// How packets were protected at the end; none where they were not.
    #[serde(default)]
    pub encryption: Option<SrtpSuite>,
    /// Where audio came from at the end.
    pub remote: Option<SocketAddr>,
    /// RTP packets sent, telephone-events included.
    pub packets_sent: u64,
    /// RTP payload bytes sent.
    pub bytes_sent: u64,
    /// Packets the system did not take.
    pub send_errors: u64,
    /// RTP packets accepted.
    pub packets_received: u64,
    /// RTP payload bytes accepted.
    pub bytes_received: u64,
    /// Packets that never came, by sequence number.
    pub lost: u64,
    /// Packets that came after their turn to be played.
    pub late: u64,
    /// Packets that came again.
    pub duplicates: u64,
    /// Packets that were not RTP, not of the agreed payload types, or not from the far end.
    pub rejected: u64,
    /// Packets that were not protected with the agreed key: in the clear, forged, or a stranger's.
    #[serde(default)]
    pub unauthentic: u64,
    /// Protected packets that came again.
    #[serde(default)]
    pub replayed: u64,
    /// Times the jitter buffer started anew: another stream, a jump in time, a stall.
    pub resyncs: u64,
    /// Milliseconds of audio made up for what was missing.
    pub concealed_ms: u64,
    /// Keys heard.
    pub digits_received: u32,
    /// Interarrival jitter (RFC 3550 A.8), the last estimate.
    pub jitter_ms: f32,
    /// Received packets lost, in percent of those expected.
    pub loss_pct: f32,
    /// What the far end reported as lost of ours, in percent, last.
    pub remote_loss_pct: Option<f32>,
    /// The jitter it reported of ours, in milliseconds, last.
    #[serde(default)]
    pub remote_jitter_ms: Option<f32>,
    /// The score of what the far end heard, by its reports.
    #[serde(default)]
    pub remote_mos: Option<f32>,
    /// Round trip by RTCP, the last measurement.
    pub rtt_ms: Option<f32>,
    /// Mean opinion score of what we heard, by the E-model (ITU-T G.107): 1 to 4.4.
    pub mos: f32,
    /// The intervals between reports: least, mean and most of each figure.
    #[serde(default)]
    pub history: Box<History>,
    /// The longest time between two packets we sent without a pause ordered.
    pub max_gap_ms: f32,
    /// Packets left out because the machine was late; the timestamp tells the far end.
    pub skipped: u64,
    /// Events that the reader was too slow for.
    pub events_dropped: u64,
    /// Messages of a data channel that were not delivered, in either direction: too long, too many, or no channel.
    #[serde(default)]
    pub messages_dropped: u64,
}
