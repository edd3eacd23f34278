//! Payload types: which number stands for what, and how it is written (RFC 3551, RFC 3555, RFC 7587, RFC 4733, RFC 3389).

use std::fmt::Write as _;

use callbox_media::Codec;

/// What a payload type stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Payload {
    Audio(Codec),
    /// telephone-event, on that clock.
    Events(u32),
    /// Comfort noise, on that clock.
    Noise(u32),
    /// Something that is not spoken here, but has the number.
    Other,
}

/// The numbers that a dialog has given out, none twice. One that is taken stands for the same until the end
/// (RFC 3264 §8.3.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Numbers(Vec<(u8, Payload)>);

impl Payload {
    /// What a format without `a=rtpmap` stands for.
    pub(super) fn statically(number: u8) -> Option<Self> {
        if number == 13 {
            return Some(Self::Noise(8000));
        }
        Codec::ALL.iter().copied().find(|codec| codec.static_payload_type() == Some(number)).map(Self::Audio)
    }

    /// Reads `0 PCMU/8000[/1]`.
    pub(super) fn read(rtpmap: &str) -> Option<(u8, Self)> {
        let (number, encoding) = rtpmap.split_once(char::is_whitespace)?;
        let number = number.parse::<u8>().ok().filter(|&number| number < 128)?;
        let mut words = encoding.trim().split('/').map(str::trim);
        let (name, clock, channels) = (words.next()?, words.next(), words.next());
        // Seen without its clock, which then is that of every telephone.
        let clock = clock.map_or(Some(8000), |clock| clock.parse().ok());
        let mono = matches!(channels, None | Some("1" | ""));
        let payload = match (name, clock) {
            (_, None) => Self::Other,
            (name, Some(clock)) if name.eq_ignore_ascii_case("telephone-event") => Self::Events(clock),
            (name, Some(clock)) if name.eq_ignore_ascii_case("CN") && mono => Self::Noise(clock),
            (name, Some(clock)) => {
                // Opus says two channels, whatever it carries; there are senders who forget that.
                let fits = |codec: &Codec| {
                    name.eq_ignore_ascii_case(codec.name())
                        && clock == codec.rtp_clock()
                        && (mono || codec.channels_in_sdp() == 2 && channels == Some("2"))
                };
                Codec::ALL.iter().copied().find(fits).map_or(Self::Other, Self::Audio)
            }
        };
        Some((number, payload))
    }

    /// Writes its `a=rtpmap` and what belongs to it.
    pub(super) fn write(self, number: u8, out: &mut String) {
        // Writing to a string does not fail.
        let _ = match self {
            Self::Audio(codec) => {
                let (name, clock) = (codec.name(), codec.rtp_clock());
                let channels = if codec.channels_in_sdp() == 1 { "" } else { "/2" };
                let _ = write!(out, "a=rtpmap:{number} {name}/{clock}{channels}\r\n");
                match codec {
                    // What we play is no wider, and what is lost is found in the packet behind.
                    Codec::Opus => write!(
                        out,
                        "a=fmtp:{number} minptime=10;useinbandfec=1;maxplaybackrate=16000;sprop-maxcapturerate=16000\r\n"
                    ),
                    Codec::G729 => write!(out, "a=fmtp:{number} annexb=no\r\n"),
                    Codec::Pcmu | Codec::Pcma | Codec::G722 => Ok(()),
                }
            }
            Self::Events(clock) => {
                write!(out, "a=rtpmap:{number} telephone-event/{clock}\r\na=fmtp:{number} 0-15\r\n")
            }
            Self::Noise(clock) => write!(out, "a=rtpmap:{number} CN/{clock}\r\n"),
            Self::Other => Ok(()),
        };
    }

    /// The number it has where nothing speaks against it.
    fn usual(self) -> u8 {
        match self {
            Self::Audio(codec) => codec.static_payload_type().unwrap_or(111),
            Self::Events(8000) => super::DTMF_PAYLOAD_TYPE,
            Self::Events(_) => 110,
            Self::Noise(8000) => 13,
            Self::Noise(_) | Self::Other => 118,
        }
    }
}

impl Numbers {
    /// What the far end says a number stands for. What it said or we said before loses: it will use the new one.
    pub(super) fn learn(&mut self, number: u8, payload: Payload) {
        match self.0.iter_mut().find(|(other, _)| *other == number) {
            Some(known) => known.1 = payload,
            None => self.0.push((number, payload)),
        }
    }

    /// The number of a payload: the one it has, its usual one, or the first that is free. None when all are taken.
    pub(super) fn of(&mut self, payload: Payload) -> Option<u8> {
        if let Some((number, _)) = self.0.iter().find(|(_, other)| *other == payload) {
            return Some(*number);
        }
        let free = |number: &u8| self.0.iter().all(|(other, _)| other != number);
        let number = Some(payload.usual()).filter(free).or_else(|| (96..128).find(free))?;
        self.0.push((number, payload));
        Some(number)
    }
}
