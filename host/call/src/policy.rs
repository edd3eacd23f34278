//! How media is spoken with the far end of a leg, as its trunk wants it.

use callbox_sip::sdp::{Codec, CodecOrder, Encryption};

/// What a leg offers and accepts. The default suits a far end of which nothing is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LegPolicy {
    /// What is spoken, the best first; none for everything that is built in.
    pub codecs: Vec<Codec>,
    /// Whose order of codecs counts when the far end offers.
    pub codec_order: CodecOrder,
    /// Whether media is encrypted, and how.
    pub encryption: Encryption,
    /// How keys are heard and sent.
    pub dtmf: DtmfManner,
    /// Whether what a target plays before it answers (183) is heard.
    pub early_media: bool,
    /// Milliseconds of audio that we ask the far end to put into a packet, 10 to 60; none for 20.
    pub ptime_ms: Option<u8>,
}

impl Default for LegPolicy {
    fn default() -> Self {
        Self {
            codecs: Vec::new(),
            codec_order: CodecOrder::default(),
            encryption: Encryption::default(),
            dtmf: DtmfManner::Auto,
            early_media: true,
            ptime_ms: None,
        }
    }
}

/// How keys are heard and sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DtmfManner {
    /// As RFC 4733 events where both sides speak them; otherwise keys are heard as INFO or as tones, whichever comes
    /// first, and sent as tones.
    #[default]
    Auto,
    /// As RFC 4733 events.
    Rfc4733,
    /// As SIP INFO (`application/dtmf-relay`).
    Info,
    /// As tones in the audio.
    Inband,
}
