//! Between the words of the WIT and the words of the engine. Nothing is decided
//! here.

use crate::bindings::callbox::dialogue::{call, clock, events, log, types, voice};
use callbox_dialogue::script::{
    BargeIn, Event, Heard, LocalTime, LogLevel, Playout, PlayoutEnd, Queueing, Segment, TransferMode, TransferOutcome,
    Utterance,
};
use callbox_dialogue::{CallInfo, Direction, EndCause, HostError, Party, Transport};

impl From<HostError> for types::Error {
    fn from(error: HostError) -> Self {
        match error {
            HostError::Ended(cause) => Self::Ended(cause.into()),
            HostError::InvalidArgument(text) => Self::InvalidArgument(text),
            HostError::Denied(text) => Self::Denied(text),
            HostError::NotFound(text) => Self::NotFound(text),
            HostError::LimitExceeded(text) => Self::LimitExceeded(text),
            HostError::TimedOut => Self::TimedOut,
            HostError::Unavailable(text) => Self::Unavailable(text),
            HostError::Other(text) => Self::Other(text),
        }
    }
}

impl From<EndCause> for types::EndCause {
    fn from(cause: EndCause) -> Self {
        match cause {
            EndCause::RemoteHangup => Self::RemoteHangup,
            EndCause::LocalHangup => Self::LocalHangup,
            EndCause::Transferred => Self::Transferred,
            EndCause::NetworkFailure => Self::NetworkFailure,
            EndCause::Operator(text) => Self::Operator(text),
            EndCause::Other(text) => Self::Other(text),
        }
    }
}

impl From<CallInfo> for call::Info {
    fn from(info: CallInfo) -> Self {
        Self {
            id: info.id.0,
            direction: match info.direction {
                Direction::Inbound => call::Direction::Inbound,
                Direction::Outbound => call::Direction::Outbound,
            },
            transport: match info.transport {
                Transport::Sip => call::Transport::Sip,
                Transport::Webrtc => call::Transport::Webrtc,
                Transport::Simulated => call::Transport::Simulated,
            },
            caller: info.caller.into(),
            callee: info.callee.into(),
            language: info.language,
            headers: info.headers,
            parameters: info.parameters,
        }
    }
}

impl From<Party> for call::Party {
    fn from(party: Party) -> Self {
        Self { uri: party.uri, number: party.number, display_name: party.display_name }
    }
}

impl From<call::TransferMode> for TransferMode {
    fn from(mode: call::TransferMode) -> Self {
        match mode {
            call::TransferMode::Refer => Self::Refer,
            call::TransferMode::Bridge => Self::Bridge,
        }
    }
}

impl From<TransferOutcome> for call::TransferOutcome {
    fn from(outcome: TransferOutcome) -> Self {
        match outcome {
            TransferOutcome::Connected => Self::Connected,
            TransferOutcome::Failed(status, reason) => Self::Failed((status, reason)),
            TransferOutcome::Returned => Self::Returned,
        }
    }
}

impl From<voice::Segment> for Segment {
    fn from(segment: voice::Segment) -> Self {
        match segment {
            voice::Segment::Text(text) => Self::Text(text),
            voice::Segment::Ssml(text) => Self::Ssml(text),
            voice::Segment::Asset(path) => Self::Asset(path),
            voice::Segment::Silence(ms) => Self::Silence(ms),
        }
    }
}

impl From<voice::BargeIn> for BargeIn {
    fn from(flags: voice::BargeIn) -> Self {
        Self { speech: flags.contains(voice::BargeIn::SPEECH), digits: flags.contains(voice::BargeIn::DIGITS) }
    }
}

impl From<voice::Queueing> for Queueing {
    fn from(queueing: voice::Queueing) -> Self {
        match queueing {
            voice::Queueing::Append => Self::Append,
            voice::Queueing::Replace => Self::Replace,
        }
    }
}

impl From<Playout> for voice::Playout {
    fn from(playout: Playout) -> Self {
        Self {
            end: match playout.end {
                PlayoutEnd::Finished => voice::PlayoutEnd::Finished,
                PlayoutEnd::CutBySpeech => voice::PlayoutEnd::CutBySpeech,
                PlayoutEnd::CutByDigits => voice::PlayoutEnd::CutByDigits,
                PlayoutEnd::Stopped => voice::PlayoutEnd::Stopped,
            },
            played: playout.played,
            heard_text: playout.heard_text,
        }
    }
}

impl From<Utterance> for voice::Utterance {
    fn from(utterance: Utterance) -> Self {
        Self {
            text: utterance.text,
            confidence: utterance.confidence,
            language: utterance.language,
            start: utterance.start,
            end: utterance.end,
        }
    }
}

impl From<Heard> for voice::Heard {
    fn from(heard: Heard) -> Self {
        match heard {
            Heard::Speech(utterance) => Self::Speech(utterance.into()),
            Heard::Digits(digits) => Self::Digits(digits),
            Heard::Nothing => Self::Nothing,
            Heard::NoMatch(what) => Self::NoMatch(what),
        }
    }
}

impl From<Event> for events::Event {
    fn from(event: Event) -> Self {
        match event {
            Event::Digit(digit) => Self::Digit(digit),
            Event::SpeechStarted => Self::SpeechStarted,
            Event::SpeechEnded => Self::SpeechEnded,
            Event::Partial(utterance) => Self::Partial(utterance.into()),
            Event::Message(json) => Self::Message(json),
            Event::Ended(cause) => Self::Ended(cause.into()),
            Event::Draining(ms) => Self::Draining(ms),
            Event::Other(kind, json) => Self::Other((kind, json)),
        }
    }
}

impl From<LocalTime> for clock::LocalTime {
    fn from(time: LocalTime) -> Self {
        Self {
            year: time.year,
            month: time.month,
            day: time.day,
            weekday: time.weekday,
            hour: time.hour,
            minute: time.minute,
            second: time.second,
            utc_offset: time.utc_offset,
        }
    }
}

impl From<log::Level> for LogLevel {
    fn from(level: log::Level) -> Self {
        match level {
            log::Level::Debug => Self::Debug,
            log::Level::Info => Self::Info,
            log::Level::Warn => Self::Warn,
            log::Level::Error => Self::Error,
        }
    }
}
