//! What a host and its recogniser process say to each other.
//!
//! On each connexion, both ways: one byte for the kind, the length of what
//! follows in four bytes (little-endian), and so many bytes: JSON, or samples.
//! A length over the limit of its kind is refused before anything is read.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io::{self, Read, Write};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// The kind of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// Host to process, once at its start: a [`super::Setting`].
    Setting = b'S',
    /// Process to host, once: a [`Hello`].
    Hello = b'H',
    /// Host to process, the first of a recognition: a [`Job`].
    Job = b'J',
    /// Host to process: samples, 16 bit, little-endian.
    Audio = b'A',
    /// Host to process: the utterance is over.
    End = b'E',
    /// Process to host: a [`Said`] that may change.
    Partial = b'P',
    /// Process to host: all [`Said`], the best first; the last frame.
    Final = b'F',
    /// Process to host: a [`Fault`]; the last frame.
    Fault = b'X',
    /// Host to process, the first and only one of a render: a [`SpeakJob`].
    Speak = b'K',
    /// Process to host: samples a second in four bytes (little-endian), and samples as of [`Kind::Audio`].
    Spoken = b'W',
    /// Process to host: nothing more is spoken; the last frame.
    Silence = b'Z',
}

impl Kind {
    const ALL: [Self; 11] = [
        Self::Setting,
        Self::Hello,
        Self::Job,
        Self::Audio,
        Self::End,
        Self::Partial,
        Self::Final,
        Self::Fault,
        Self::Speak,
        Self::Spoken,
        Self::Silence,
    ];

    fn read(byte: u8) -> io::Result<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == byte).ok_or_else(|| broken(format!("a frame of kind {byte}")))
    }

    /// Bytes that may follow.
    const fn most(self) -> usize {
        match self {
            Self::Job => 8 << 20,
            Self::Setting | Self::Audio | Self::Hello | Self::Fault | Self::Spoken => 64 << 10,
            Self::Partial | Self::Final | Self::Speak => 256 << 10,
            Self::End | Self::Silence => 0,
        }
    }
}

/// What a process says when it is ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Hello {
    /// The engine, with the version of its library and of its model.
    Ready(String),
    /// The same for one that speaks.
    Voice {
        /// As above.
        version: String,
        /// How many speakers it has.
        speakers: u32,
    },
    /// It cannot be used.
    Fault(Fault),
}

/// Words, and the ways to say each in the model's phones.
pub(crate) type Sounds = Vec<(String, Vec<String>)>;

/// What is to be recognised.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Job {
    /// Samples a second: 8 000 or 16 000.
    pub(crate) rate_hz: u32,
    /// Whether [`Kind::Partial`] is wanted.
    pub(crate) partials: bool,
    /// The language of the result, BCP 47.
    pub(crate) language: String,
    /// A grammar, for engines that have them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) jsgf: Option<String>,
    /// Every word of the grammar.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) words: Sounds,
    /// Words to expect, for engines that take them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) hints: Vec<String>,
}

/// What is to be said.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct SpeakJob {
    /// Words, for models that read.
    pub(crate) text: String,
    /// What is spoken of them, in the phonetic alphabet, for models that do not.
    pub(crate) phonemes: Option<String>,
    /// The number of the speaker.
    pub(crate) speaker: u32,
    /// Of the model's own pace.
    pub(crate) speed: f32,
}

/// A hypothesis.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Said {
    pub(crate) text: String,
    pub(crate) confidence: Option<f32>,
    pub(crate) words: Vec<SaidWord>,
    /// BCP 47, where the engine has found out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) language: Option<String>,
}

/// A word of a hypothesis; times in milliseconds of the audio.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct SaidWord {
    pub(crate) text: String,
    pub(crate) start: u32,
    pub(crate) end: u32,
    pub(crate) confidence: Option<f32>,
}

/// Why the process cannot do something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "snake_case")]
pub(crate) enum Fault {
    /// A library or a model is not there.
    Missing {
        /// What was looked for, and where.
        what: String,
        /// What to do.
        remedy: String,
    },
    /// Something does not work.
    Broken {
        /// What happened.
        what: String,
    },
    /// The grammar is refused.
    BadGrammar {
        /// Why.
        what: String,
    },
}

fn broken(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn head(kind: Kind, length: usize) -> io::Result<[u8; 5]> {
    let short = u32::try_from(length).ok().filter(|_| length <= kind.most());
    let [a, b, c, d] = short.ok_or_else(|| broken(format!("a {kind:?} of {length} bytes")))?.to_le_bytes();
    Ok([kind as u8, a, b, c, d])
}

fn read_head([kind, a, b, c, d]: [u8; 5]) -> io::Result<(Kind, usize)> {
    let kind = Kind::read(kind)?;
    match usize::try_from(u32::from_le_bytes([a, b, c, d])) {
        Ok(length) if length <= kind.most() => Ok((kind, length)),
        _ => Err(broken(format!("a {kind:?} that is too long"))),
    }
}

/// What the bytes of a frame say.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> io::Result<T> {
    serde_json::from_slice(bytes).map_err(io::Error::from)
}

/// Writes a frame of JSON.
pub(crate) fn say<T: Serialize>(to: &mut impl Write, kind: Kind, what: &T) -> io::Result<()> {
    put(to, kind, &serde_json::to_vec(what)?)
}

/// Reads the next frame into `bytes`; none at the end.
pub(crate) fn hear(from: &mut impl Read, bytes: &mut Vec<u8>) -> io::Result<Option<Kind>> {
    let mut start = [0; 5];
    match from.read_exact(&mut start) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let (kind, length) = read_head(start)?;
    bytes.resize(length, 0);
    from.read_exact(bytes)?;
    Ok(Some(kind))
}

/// Writes a frame of bytes.
pub(crate) fn put(to: &mut impl Write, kind: Kind, bytes: &[u8]) -> io::Result<()> {
    to.write_all(&head(kind, bytes.len())?)?;
    to.write_all(bytes)?;
    to.flush()
}

/// The same for the host, which never waits: a frame of JSON.
pub(crate) async fn tell<T: Serialize>(to: &mut (impl AsyncWrite + Unpin), kind: Kind, what: &T) -> io::Result<()> {
    send(to, kind, &serde_json::to_vec(what)?).await
}

/// A frame of bytes.
pub(crate) async fn send(to: &mut (impl AsyncWrite + Unpin), kind: Kind, bytes: &[u8]) -> io::Result<()> {
    let start = head(kind, bytes.len())?;
    // In one write, so that a frame of audio is one system call.
    let mut frame = Vec::with_capacity(start.len() + bytes.len());
    frame.extend_from_slice(&start);
    frame.extend_from_slice(bytes);
    to.write_all(&frame).await
}

/// The next frame; none at the end.
pub(crate) async fn listen(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<(Kind, Vec<u8>)>> {
    let mut start = [0; 5];
    match from.read_exact(&mut start).await {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let (kind, length) = read_head(start)?;
    let mut bytes = vec![0; length];
    from.read_exact(&mut bytes).await?;
    Ok(Some((kind, bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_said_is_heard() {
        let said = Said {
            text: "yes".to_owned(),
            confidence: Some(0.5),
            words: vec![SaidWord::default()],
            language: Some("en".to_owned()),
        };
        let mut wire = Vec::new();
        say(&mut wire, Kind::Partial, &said).unwrap();
        say(&mut wire, Kind::Fault, &Fault::Broken { what: "x".to_owned() }).unwrap();
        let (mut rest, mut bytes) = (wire.as_slice(), Vec::new());
        assert_eq!(hear(&mut rest, &mut bytes).unwrap(), Some(Kind::Partial));
        assert_eq!(parse::<Said>(&bytes).unwrap(), said);
        assert_eq!(hear(&mut rest, &mut bytes).unwrap(), Some(Kind::Fault));
        assert_eq!(hear(&mut rest, &mut bytes).unwrap(), None);
    }

    #[test]
    fn a_length_is_believed_up_to_the_limit_of_its_kind() {
        for kind in Kind::ALL {
            let most = u32::try_from(kind.most()).unwrap().to_le_bytes();
            assert_eq!(read_head([kind as u8, most[0], most[1], most[2], most[3]]).unwrap(), (kind, kind.most()));
            assert!(read_head([kind as u8, 0xff, 0xff, 0xff, 0xff]).is_err());
            assert!(head(kind, kind.most() + 1).is_err());
        }
        assert!(read_head([b'?', 0, 0, 0, 0]).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_do_harm(wire in prop::collection::vec(any::<u8>(), 0..200)) {
            let (mut rest, mut bytes) = (wire.as_slice(), Vec::new());
            while let Ok(Some(_)) = hear(&mut rest, &mut bytes) {
                let _ = parse::<Said>(&bytes);
                let _ = parse::<Job>(&bytes);
                let _ = parse::<Hello>(&bytes);
                let _ = parse::<SpeakJob>(&bytes);
            }
        }
    }
}
