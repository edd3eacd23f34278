//! The smaller typed values: sequence numbers, media types, and what the extensions bring.

use std::borrow::Cow;

use bytes::Bytes;

use super::message::{seconds, typed};
use super::{Field, HeaderError, Message, Method, NameAddr, Params, ValueFault, lex};

/// `CSeq` (RFC 3261 §20.16).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CSeq {
    /// The sequence number, below 2³¹.
    pub seq: u32,
    /// The method it counts for.
    pub method: Method,
}

impl CSeq {
    /// Reads a value.
    pub fn parse(raw: &Bytes) -> Result<Self, ValueFault> {
        let (seq, method) = number_then_token(raw)?;
        Ok(Self { seq: sequence(seq)?, method: Method::parse(&raw.slice_ref(method))? })
    }

    /// The value for a header.
    pub fn to_bytes(&self) -> Bytes {
        format!("{} {}", self.seq, self.method).into()
    }

    /// Checks a value against the method of its message without allocating.
    pub(crate) fn agrees(raw: &[u8], with: Option<&Method>) -> Result<bool, ValueFault> {
        let (seq, method) = number_then_token(raw)?;
        sequence(seq)?;
        if !lex::is_token(method) {
            return Err(ValueFault::Token);
        }
        Ok(with.is_none_or(|expected| expected.as_str().as_bytes() == method))
    }
}

/// `RAck`: which provisional response a PRACK confirms (RFC 3262 §7.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RAck {
    /// `RSeq` of that response.
    pub rseq: u32,
    /// `CSeq` of that response.
    pub cseq: CSeq,
}

impl RAck {
    /// Reads a value.
    pub fn parse(raw: &Bytes) -> Result<Self, ValueFault> {
        let (rseq, rest) = number_then_token(raw)?;
        let rseq = u32::try_from(rseq).map_err(|_| ValueFault::Number)?;
        Ok(Self { rseq, cseq: CSeq::parse(&raw.slice_ref(rest))? })
    }

    /// The value for a header.
    pub fn to_bytes(&self) -> Bytes {
        format!("{} {} {}", self.rseq, self.cseq.seq, self.cseq.method).into()
    }
}

/// A media type with parameters, as in `Content-Type`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaType {
    name: Bytes,
    /// Parameters such as `boundary`.
    pub params: Params,
}

impl MediaType {
    /// Reads a value.
    pub fn parse(raw: &Bytes) -> Result<Self, ValueFault> {
        let (start, end) = lex::trimmed(raw, 0, raw.iter().position(|&b| b == b';').unwrap_or(raw.len()));
        let mut halves = raw[start..end].splitn(2, |&b| b == b'/').map(lex::trim);
        match (halves.next(), halves.next()) {
            (Some(kind), Some(subtype)) if lex::is_token(kind) && lex::is_token(subtype) => {}
            _ => return Err(ValueFault::Token),
        }
        Ok(Self { name: raw.slice(start..end), params: Params::parse(raw.slice(end..))? })
    }

    /// Whether it is `kind/subtype`, without regard to case and blanks.
    pub fn is(&self, name: &str) -> bool {
        let bytes = self.name.iter().filter(|&&b| !lex::is_blank(b)).map(u8::to_ascii_lowercase);
        bytes.eq(name.bytes().map(|b| b.to_ascii_lowercase()))
    }

    /// Whether it is `kind/…`.
    pub fn is_kind(&self, kind: &str) -> bool {
        self.name.split(|&b| b == b'/').next().is_some_and(|name| lex::trim(name).eq_ignore_ascii_case(kind.as_bytes()))
    }

    /// `kind/subtype` as received.
    pub fn name(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.name)
    }
}

/// `Replaces`: the dialog that an INVITE takes the place of (RFC 3891).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replaces {
    /// `Call-ID` of the dialog.
    pub call_id: Bytes,
    /// Our tag in it.
    pub to_tag: String,
    /// The peer's tag in it.
    pub from_tag: String,
    /// Whether only a dialog that is not yet confirmed may be replaced.
    pub early_only: bool,
}

impl Replaces {
    /// Reads a value.
    pub fn parse(raw: &Bytes) -> Result<Self, ValueFault> {
        let (start, end) = lex::trimmed(raw, 0, raw.iter().position(|&b| b == b';').unwrap_or(raw.len()));
        if start == end {
            return Err(ValueFault::Empty);
        }
        let params = Params::parse(raw.slice(end..))?;
        let tag = |name| params.text(name).filter(|tag| !tag.is_empty()).ok_or(ValueFault::Parameter);
        Ok(Self {
            call_id: raw.slice(start..end),
            to_tag: tag("to-tag")?,
            from_tag: tag("from-tag")?,
            early_only: params.contains("early-only"),
        })
    }
}

/// Who sends the refreshes of a session timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refresher {
    /// The client of the transaction that set the timer.
    Uac,
    /// Its server.
    Uas,
}

/// `Session-Expires` (RFC 4028 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionExpires {
    /// Seconds until the session ends unless it is refreshed.
    pub seconds: u32,
    /// Who refreshes, when that is said.
    pub refresher: Option<Refresher>,
}

impl SessionExpires {
    /// Reads a value.
    pub fn parse(raw: &Bytes) -> Result<Self, ValueFault> {
        let end = raw.iter().position(|&b| b == b';').unwrap_or(raw.len());
        let seconds = lex::number(lex::trim(&raw[..end])).ok_or(ValueFault::Number)?;
        let params = Params::parse(raw.slice(end..))?;
        let refresher = match params.text("refresher") {
            Some(who) if who.eq_ignore_ascii_case("uac") => Some(Refresher::Uac),
            Some(who) if who.eq_ignore_ascii_case("uas") => Some(Refresher::Uas),
            _ => None,
        };
        Ok(Self { seconds: u32::try_from(seconds).unwrap_or(u32::MAX), refresher })
    }

    /// The value for a header.
    pub fn to_bytes(self) -> Bytes {
        let refresher = match self.refresher {
            Some(Refresher::Uac) => ";refresher=uac",
            Some(Refresher::Uas) => ";refresher=uas",
            None => "",
        };
        format!("{}{refresher}", self.seconds).into()
    }
}

/// One value of `Reason` (RFC 3326): why a call ended, in the words of a protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// `SIP`, `Q.850` …
    pub protocol: String,
    /// The code of that protocol.
    pub cause: Option<u16>,
    /// Text for people.
    pub text: Option<String>,
}

impl Reason {
    /// Reads one value.
    pub fn parse(raw: &Bytes) -> Result<Self, ValueFault> {
        let end = raw.iter().position(|&b| b == b';').unwrap_or(raw.len());
        let protocol = lex::trim(&raw[..end]);
        if !lex::is_token(protocol) {
            return Err(ValueFault::Token);
        }
        let params = Params::parse(raw.slice(end..))?;
        Ok(Self {
            protocol: String::from_utf8_lossy(protocol).into_owned(),
            cause: params.number("cause").and_then(|cause| u16::try_from(cause).ok()),
            text: params.text("text"),
        })
    }

    /// The value for a header; the text is quoted, and bytes that are no token are left out of the protocol.
    pub fn to_bytes(&self) -> Bytes {
        let mut out: String = self.protocol.chars().filter(|&c| c.is_ascii() && lex::is_token_byte(c as u8)).collect();
        if let Some(cause) = self.cause {
            out.push_str(&format!(";cause={cause}"));
        }
        if let Some(text) = &self.text {
            out.push_str(";text=");
            out.push_str(&lex::quoted(text));
        }
        out.into()
    }
}

impl Message {
    /// `RAck` of a PRACK.
    pub fn rack(&self) -> Result<Option<RAck>, HeaderError> {
        self.optional(Field::RAck, RAck::parse)
    }

    /// `RSeq` of a reliable provisional response.
    pub fn rseq(&self) -> Result<Option<u32>, HeaderError> {
        self.optional(Field::RSeq, |raw| {
            lex::number(raw).and_then(|seq| u32::try_from(seq).ok()).ok_or(ValueFault::Number)
        })
    }

    /// `Session-Expires`.
    pub fn session_expires(&self) -> Result<Option<SessionExpires>, HeaderError> {
        self.optional(Field::SessionExpires, SessionExpires::parse)
    }

    /// `Min-SE` in seconds.
    pub fn min_se(&self) -> Option<u32> {
        seconds(self.headers.get(Field::MinSe)?)
    }

    /// `Retry-After` in seconds.
    pub fn retry_after(&self) -> Option<u32> {
        seconds(self.headers.get(Field::RetryAfter)?)
    }

    /// `Refer-To`.
    pub fn refer_to(&self) -> Result<Option<NameAddr>, HeaderError> {
        self.optional(Field::ReferTo, NameAddr::parse)
    }

    /// `Replaces`.
    pub fn replaces(&self) -> Result<Option<Replaces>, HeaderError> {
        self.optional(Field::Replaces, Replaces::parse)
    }

    /// All readable values of `Reason`.
    pub fn reasons(&self) -> Vec<Reason> {
        self.headers.get_all(Field::Reason).filter_map(|raw| Reason::parse(&raw).ok()).collect()
    }

    fn optional<T>(
        &self,
        field: Field,
        read: impl FnOnce(&Bytes) -> Result<T, ValueFault>,
    ) -> Result<Option<T>, HeaderError> {
        self.headers.get(field).map(|raw| typed(field, read(raw))).transpose()
    }
}

/// Splits `123 rest`.
fn number_then_token(raw: &[u8]) -> Result<(u64, &[u8]), ValueFault> {
    let raw = lex::trim(raw);
    let end = raw.iter().position(|b| !b.is_ascii_digit()).unwrap_or(raw.len());
    let number = lex::number(&raw[..end]).ok_or(ValueFault::Number)?;
    let rest = lex::trim(&raw[end..]);
    if rest.len() == raw.len() - end {
        // Nothing parts the number from what follows.
        return Err(ValueFault::Token);
    }
    Ok((number, rest))
}

fn sequence(number: u64) -> Result<u32, ValueFault> {
    u32::try_from(number).ok().filter(|&seq| seq < 1 << 31).ok_or(ValueFault::Number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    #[test]
    fn cseq() {
        assert_eq!(CSeq::parse(&bytes("0009   INVITE")), Ok(CSeq { seq: 9, method: Method::Invite }));
        assert_eq!(CSeq::parse(&bytes("2147483647 X")).unwrap().seq, i32::MAX as u32);
        for (raw, fault) in [
            ("", ValueFault::Number),
            ("INVITE", ValueFault::Number),
            ("-1 INVITE", ValueFault::Number),
            ("1", ValueFault::Token),
            ("1INVITE", ValueFault::Token),
            ("1 IN VITE", ValueFault::Token),
            ("2147483648 INVITE", ValueFault::Number),
            ("36893488147419103232 REGISTER", ValueFault::Number),
        ] {
            assert_eq!(CSeq::parse(&bytes(raw)), Err(fault), "{raw}");
            assert_eq!(CSeq::agrees(raw.as_bytes(), None), Err(fault), "{raw}");
        }
        assert_eq!(CSeq::agrees(b"1 INVITE", Some(&Method::Bye)), Ok(false));
    }

    #[test]
    fn extensions() {
        let rack = RAck::parse(&bytes("776656 1 INVITE")).unwrap();
        assert_eq!((rack.rseq, rack.cseq.seq), (776656, 1));
        assert_eq!(rack.to_bytes(), "776656 1 INVITE");
        let replaces = Replaces::parse(&bytes("a@b ;to-tag=1;from-tag=2;early-only")).unwrap();
        assert_eq!((replaces.call_id.as_ref(), replaces.early_only), (&b"a@b"[..], true));
        assert_eq!(Replaces::parse(&bytes("a@b;to-tag=1")), Err(ValueFault::Parameter));
        let timer = SessionExpires::parse(&bytes("1800 ; refresher=UAS")).unwrap();
        assert_eq!(timer, SessionExpires { seconds: 1800, refresher: Some(Refresher::Uas) });
        assert_eq!(SessionExpires::parse(&timer.to_bytes()), Ok(timer));
        let reason = Reason::parse(&bytes("Q.850 ;cause=16 ;text=\"Normal, \\\"clearing\\\"\"")).unwrap();
        assert_eq!((reason.cause, reason.text.as_deref()), (Some(16), Some("Normal, \"clearing\"")));
        assert_eq!(Reason::parse(&reason.to_bytes()), Ok(reason));
    }

    #[test]
    fn media_types() {
        let kind = MediaType::parse(&bytes("Application / SDP ; charset=utf-8")).unwrap();
        assert!(kind.is("application/sdp") && kind.is_kind("application"));
        let kind = MediaType::parse(&bytes("multipart/mixed;boundary=\"a;b\"")).unwrap();
        assert_eq!(kind.params.text("boundary").as_deref(), Some("a;b"));
        assert_eq!(MediaType::parse(&bytes("text")), Err(ValueFault::Token));
    }
}
